//! Everything that the tables hold about a person, as one JSON object that is written while ClickHouse is still
//! reading: it may be of any length, and a piece of it is in memory at a time.
//!
//! Which tables those are is asked of ClickHouse, as for an erasure: all that have a column `subject_id`.

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    clickhouse::{Client, Error, client::Pieces},
    event::{Micros, SubjectId, Tenant},
    pipeline::Subjects,
    privacy::ByParameters,
};

/// The form of the object.
const FORMAT: &str = "assent-subject-report-1";
/// The longest piece that is handed on.
const PIECE_BYTES: usize = 256 << 10;
/// What is said of what is not in it.
const NOT_INCLUDED: &str = "events that collectors have taken and not delivered yet, as a rule of the last seconds; \
    rows in a collector's quarantine; what was exported or read before";

/// A report under way.
pub struct Report {
    client: Client,
    tenant: Tenant,
    subjects: ByParameters,
    /// Tables that are still to come, the next one last.
    tables: Vec<Table>,
    rows: Option<Rows>,
    state: State,
}

enum State {
    Head(Vec<SubjectId>),
    Tables { any: bool },
    Done,
}

/// Rows of a table that come in.
struct Rows {
    pieces: Pieces,
    /// A row has ended, and nothing came after it yet.
    row_ended: bool,
    left: Bytes,
}

#[derive(Deserialize)]
struct Table {
    name: String,
    has_tenant: u8,
}

impl Report {
    /// Begins one. `client` may read all tables.
    ///
    /// # Errors
    /// ClickHouse does not say which tables there are.
    pub async fn begin(client: Client, tenant: Tenant, subjects: &Subjects) -> Result<Self, Error> {
        let sql = "SELECT c.table AS name, max(c.name = 'tenant') AS has_tenant
            FROM system.columns AS c
            INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
            WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree' AND t.name != 'erasures'
            GROUP BY c.table HAVING max(c.name = 'subject_id') = 1 ORDER BY name DESC";
        let tables = client.query_rows::<Table>(sql, &[]).await?;
        let state = State::Head(subjects.as_slice().to_vec());
        Ok(Self { client, tenant, subjects: ByParameters::new(subjects), tables, rows: None, state })
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// ClickHouse cannot be read on. What came before is not a whole object then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match &self.state {
            State::Head(subjects) => {
                let head = self.head(subjects)?;
                self.state = State::Tables { any: false };
                return Ok(Some(head));
            }
            State::Done => return Ok(None),
            State::Tables { .. } => {}
        }
        if let Some(rows) = &mut self.rows {
            if let Some(piece) = rows.next().await? {
                return Ok(Some(piece));
            }
            self.rows = None;
            return Ok(Some(Bytes::from_static(b"]")));
        }
        let Some(table) = self.tables.pop() else {
            self.state = State::Done;
            return Ok(Some(Bytes::from_static(b"\n}}\n")));
        };
        self.begin_table(&table).map(Some)
    }

    fn head(&self, subjects: &[SubjectId]) -> Result<Bytes, Error> {
        let ids: Vec<String> = subjects.iter().map(ToString::to_string).collect();
        let head = serde_json::json!({
            "format": FORMAT,
            "tenant": self.tenant.as_str(),
            "subject_ids": ids,
            "issued_at": Micros::now().to_string(),
            "not_included": NOT_INCLUDED,
        });
        let mut text = serde_json::to_string(&head)?;
        // The object goes on.
        text.pop();
        text.push_str(",\"tables\":{");
        Ok(text.into())
    }

    fn begin_table(&mut self, table: &Table) -> Result<Bytes, Error> {
        let name = format!("`{}`", table.name.replace('\\', "\\\\").replace('`', "\\`"));
        let of_tenant = if table.has_tenant == 1 { " AND tenant = {tenant:String}" } else { "" };
        // Not what an earlier erasure left, which is nothing that anybody said.
        let but = if table.name == "consent_changes" {
            " AND NOT (state = 'unset' AND source = 'policy_default')"
        } else {
            ""
        };
        let sql =
            format!("SELECT * FROM {name} WHERE subject_id IN ({}){of_tenant}{but}", self.subjects.list);
        let pieces = self.client.query_stream(
            &sql,
            &self.subjects.with(("tenant", self.tenant.as_str())),
            "JSONEachRow",
            &[("output_format_json_quote_64bit_integers", "0"), ("date_time_output_format", "iso")],
        )?;
        self.rows = Some(Rows { pieces, row_ended: false, left: Bytes::new() });
        let comma = if matches!(self.state, State::Tables { any: true }) { "," } else { "" };
        self.state = State::Tables { any: true };
        Ok(format!("{comma}\n{}:[\n", serde_json::to_string(&table.name)?).into())
    }
}

impl Rows {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.left.is_empty() {
            match self.pieces.next().await? {
                Some(piece) => self.left = piece,
                None => return Ok(None),
            }
        }
        let piece = self.left.split_to(self.left.len().min(PIECE_BYTES));
        Ok(Some(as_array(&piece, &mut self.row_ended)))
    }
}

/// Rows, one a line, as members of an array. A row of JSON has no line break within.
fn as_array(piece: &[u8], row_ended: &mut bool) -> Bytes {
    let mut members = Vec::with_capacity(piece.len() + 64);
    for line in piece.split_inclusive(|byte| *byte == b'\n') {
        if std::mem::take(row_ended) {
            members.extend_from_slice(b",\n");
        }
        match line.strip_suffix(b"\n") {
            Some(row) => {
                members.extend_from_slice(row);
                *row_ended = true;
            }
            None => members.extend_from_slice(line),
        }
    }
    members.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_members_wherever_pieces_end() {
        let rows = "{\"a\":1}\n{\"a\":\"\\n{x\"}\n{\"a\":{\"b\":2}}\n";
        for len in 1..rows.len() {
            let mut ended = false;
            let pieces: Vec<u8> =
                rows.as_bytes().chunks(len).flat_map(|piece| as_array(piece, &mut ended)).collect();
            let array = format!("[{}]", String::from_utf8(pieces).unwrap());
            let parsed: Vec<serde_json::Value> = serde_json::from_str(&array).unwrap();
            assert_eq!(parsed.len(), 3, "{array}");
            assert_eq!(parsed[1]["a"], "\n{x");
        }
    }
}
