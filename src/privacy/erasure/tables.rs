//! The tables that hold rows of people: counting, removing and searching.
//!
//! Which tables those are is asked of ClickHouse: all that store data and have a column `subject_id`. So a table that is
//! added later is not forgotten. Statements name no pseudonym: ClickHouse writes mutations to its disk and keeps them.
//! They take them from `erasure_subjects`.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use uuid::Uuid;

use super::{ErasureError, Step, records::id_list, tombstone};
use crate::{
    clickhouse::{Client, Error},
    consent::ConsentScope,
    event::Tenant,
    pipeline::Subjects,
    privacy::ByParameters,
};

/// Whom erasures are about, which is removed last.
const SUBJECTS: &str = "erasure_subjects";
/// What an erasure leaves in the ledger, which is removed last too.
const TOMBSTONE: &str = "(state = 'unset' AND source = 'policy_default')";
/// The table that has those.
const LEDGER: &str = "consent_changes";
/// How often is asked whether a mutation has ended, the first time and later.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_secs(2);
/// How long a mutation is waited for; then the next round waits on.
const PATIENCE: Duration = Duration::from_secs(600);

/// Which rows of a person are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// All that were stamped before the erasure was known, and those of which nobody can say it.
    All,
    /// Those that were certainly stamped before: somebody who came back may have others since.
    CertainlyBefore,
}

impl What {
    /// A stamp of a stale view has the version 0.
    const fn lowest_version(self) -> u32 {
        match self {
            Self::All => 0,
            Self::CertainlyBefore => 1,
        }
    }
}

/// A table with rows of people.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Table {
    pub(super) name: String,
    has_tenant: u8,
    has_version: u8,
}

#[derive(Deserialize)]
struct Count {
    erasure_id: Uuid,
    rows: u64,
}

#[derive(Deserialize)]
struct Rows {
    rows: u64,
}

#[derive(Deserialize)]
struct Mutations {
    rows: u64,
    failure: String,
}

#[derive(Deserialize)]
struct Column {
    table: String,
    name: String,
}

/// All of a database.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    client: Client,
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

impl Table {
    /// Whether its rows say how old they are.
    pub(super) const fn tells_versions(&self) -> bool {
        self.has_version == 1
    }

    /// Which rows go, of these erasures. They are told by what erasures say of whose they are and how old, and by nothing
    /// that a statement would have to name.
    fn condition(&self, database: &str, erasures: &[Uuid], what: What) -> String {
        let below = format!(
            "SELECT toString(tenant) AS tenant, subject_id, max(below_version) AS below
             FROM {}.{SUBJECTS} WHERE erasure_id IN ({}) GROUP BY tenant, subject_id HAVING below > 0",
            quoted(database),
            id_list(erasures)
        );
        let from = what.lowest_version();
        let but = if self.name == LEDGER { format!(" AND NOT {TOMBSTONE}") } else { String::new() };
        match (self.has_tenant == 1, self.has_version == 1) {
            (true, true) => format!(
                "(toString(tenant), subject_id, consent_version) IN
                     (SELECT tenant, subject_id, arrayJoin(range(toUInt32({from}), below)) FROM ({below})){but}"
            ),
            (true, false) => {
                format!("(toString(tenant), subject_id) IN (SELECT tenant, subject_id FROM ({below})){but}")
            }
            (false, _) => format!("subject_id IN (SELECT subject_id FROM ({below})){but}"),
        }
    }
}

impl Tables {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Those with rows of people.
    pub(super) async fn of_people(&self) -> Result<Vec<Table>, Error> {
        let sql = format!(
            "SELECT c.table AS name, max(c.name = 'tenant') AS has_tenant,
                max(c.name = 'consent_version') AS has_version
             FROM system.columns AS c
             INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
             WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree'
               AND t.name NOT IN ('{SUBJECTS}', 'erasures')
             GROUP BY c.table HAVING max(c.name = 'subject_id') = 1 ORDER BY name"
        );
        self.client.query_rows(&sql, &[]).await
    }

    /// How many rows each holds of a person.
    pub(super) async fn count_of(&self, tenant: &Tenant, subjects: &Subjects) -> Result<Vec<Step>, Error> {
        let by_parameters = ByParameters::new(subjects);
        let mut steps = Vec::new();
        for table in self.of_people().await? {
            let of_tenant = if table.has_tenant == 1 { " AND tenant = {tenant:String}" } else { "" };
            let but = if table.name == LEDGER { format!(" AND NOT {TOMBSTONE}") } else { String::new() };
            let sql = format!(
                "SELECT count() AS rows FROM {} WHERE subject_id IN ({}){of_tenant}{but}",
                quoted(&table.name),
                by_parameters.list
            );
            let params = by_parameters.with(("tenant", tenant.as_str()));
            let counted = self.client.query_rows::<Rows>(&sql, &params).await?;
            steps.push(Step {
                step: format!("table {}", table.name),
                rows_found: counted.first().map_or(0, |it| it.rows),
                rows_removed: 0,
                at_us: 0,
            });
        }
        Ok(steps)
    }

    /// How many rows of a table each of these erasures is about; those with none are not listed.
    pub(super) async fn count(
        &self,
        table: &Table,
        erasures: &[Uuid],
        what: What,
    ) -> Result<BTreeMap<Uuid, u64>, Error> {
        let tenant = if table.has_tenant == 1 { "AND s.tenant = e.tenant" } else { "" };
        let version = match what.lowest_version() {
            _ if table.has_version == 0 => String::new(),
            from => format!("AND e.consent_version >= {from} AND e.consent_version < s.below"),
        };
        let but = if table.name == LEDGER {
            "AND NOT (e.state = 'unset' AND e.source = 'policy_default')"
        } else {
            ""
        };
        let sql = format!(
            "SELECT s.erasure_id AS erasure_id, count() AS rows
             FROM {} AS e
             INNER JOIN
             (
                SELECT erasure_id, tenant, subject_id, max(below_version) AS below FROM {SUBJECTS}
                WHERE erasure_id IN ({}) GROUP BY erasure_id, tenant, subject_id HAVING below > 0
             ) AS s ON s.subject_id = e.subject_id {tenant}
             WHERE 1 {version} {but} GROUP BY s.erasure_id",
            quoted(&table.name),
            id_list(erasures)
        );
        let counts = self.client.query_rows::<Count>(&sql, &[]).await?;
        Ok(counts.into_iter().map(|it| (it.erasure_id, it.rows)).collect())
    }

    /// Removes the rows of these erasures from a table, and waits until it is done.
    pub(super) async fn remove(
        &self,
        table: &Table,
        erasures: &[Uuid],
        what: What,
    ) -> Result<(), ErasureError> {
        self.delete(&table.name, &table.condition(self.client.database(), erasures, what)).await
    }

    async fn delete(&self, table: &str, condition: &str) -> Result<(), ErasureError> {
        // The subquery gives the same on every replica: it reads a table that nobody changes for these erasures.
        let sql = format!(
            "ALTER TABLE {} DELETE WHERE {condition}
             SETTINGS mutations_sync = 0, allow_nondeterministic_mutations = 1",
            quoted(table)
        );
        self.client.execute(&sql).await?;
        self.wait_for_mutations(table).await
    }

    /// Waits until no mutation of erasures is under way in a table.
    pub(super) async fn wait_for_mutations(&self, table: &str) -> Result<(), ErasureError> {
        let started = std::time::Instant::now();
        let mut pause = FIRST_LOOK;
        let mut told = false;
        loop {
            let sql = format!(
                "SELECT count() AS rows, anyLast(latest_fail_reason) AS failure FROM system.mutations
                 WHERE database = currentDatabase() AND table = {{table:String}} AND NOT is_done
                   AND (command LIKE '%{SUBJECTS}%' OR command LIKE '%policy_default%')"
            );
            let under_way = self.client.query_rows::<Mutations>(&sql, &[("table", table)]).await?;
            match under_way.first() {
                Some(it) if it.rows > 0 => {
                    if !it.failure.is_empty() && !told {
                        told = true;
                        tracing::error!(
                            table,
                            reason = it.failure,
                            "ClickHouse cannot remove rows of people who are erased; it tries again"
                        );
                    }
                }
                _ => return Ok(()),
            }
            if started.elapsed() > PATIENCE {
                return Err(ErasureError::Slow { table: table.to_owned() });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Searches every column that holds an id for the pseudonyms of these erasures, in all tables but those where they
    /// are expected; gives how many rows have one. What [`count`](Self::count) finds is not searched again.
    pub(super) async fn search(&self, erasures: &[Uuid]) -> Result<u64, Error> {
        let sql = format!(
            "SELECT c.table AS table, c.name AS name FROM system.columns AS c
             INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
             WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree' AND t.name != '{SUBJECTS}'
               AND c.type IN ('UUID', 'Nullable(UUID)') AND NOT (c.name = 'subject_id' AND t.name != 'erasures')
             ORDER BY table, name"
        );
        let mut found = 0;
        for Column { table, name } in self.client.query_rows::<Column>(&sql, &[]).await? {
            let sql = format!(
                "SELECT count() AS rows FROM {} WHERE {} IN
                     (SELECT subject_id FROM {SUBJECTS} WHERE erasure_id IN ({}))",
                quoted(&table),
                quoted(&name),
                id_list(erasures)
            );
            found += self.client.query_rows::<Rows>(&sql, &[]).await?.first().map_or(0, |it| it.rows);
        }
        Ok(found)
    }

    /// How many parts are still on the disk that were replaced up to then, of the tables with rows of people.
    pub(super) async fn parts_left(&self, tables: &[Table], until_us: i64) -> Result<u64, Error> {
        let names: Vec<String> = tables.iter().map(|table| format!("'{}'", table.name)).collect();
        let sql = format!(
            "SELECT count() AS rows FROM system.parts
             WHERE database = currentDatabase() AND table IN ({}) AND NOT active
               AND remove_time <= fromUnixTimestamp64Micro({until_us})",
            names.join(", ")
        );
        Ok(self.client.query_rows::<Rows>(&sql, &[]).await?.first().map_or(0, |it| it.rows))
    }

    /// Removes what was kept of these erasures: the tombstones, then whom they are about.
    pub(super) async fn forget(&self, erasures: &[Uuid]) -> Result<(), ErasureError> {
        let ids = id_list(erasures);
        let tombstones: Vec<Uuid> =
            erasures.iter().flat_map(|id| ConsentScope::ALL.map(|scope| tombstone(*id, scope))).collect();
        let tombstones = id_list(&tombstones);
        self.delete(
            LEDGER,
            // Also those that were copied under another key since: they keep the request's id.
            &format!("{TOMBSTONE} AND request_id IN ({tombstones})"),
        )
        .await?;
        let sql =
            format!("ALTER TABLE {SUBJECTS} DELETE WHERE erasure_id IN ({ids}) SETTINGS mutations_sync = 2");
        Ok(self.client.execute(&sql).await?)
    }
}
