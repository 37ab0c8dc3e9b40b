//! How long ClickHouse keeps rows and texts: TTLs of `events`, which `assent migrate` sets as configured.
//!
//! As with [durability](super::durability) this is no migration, since it can be changed. Everything of a day goes at
//! the same time, so a partition is dropped whole where all of it has one life; a text that goes before its row is
//! written out of the part once. What is set is recorded in the table `retention`, for readers, and because the
//! rollups keep what days came to before their rows go.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Deserialize, Serialize};

use super::{Client, Error};

/// The types of events, in the order of [`Plan`].
pub const EVENT_TYPES: [&str; 4] =
    ["typed_text", "suggestion_shown", "suggestion_feedback", "language_preference"];
/// The scopes, in the order of [`Plan`]: from the narrowest.
pub const SCOPES: [&str; 3] = ["none", "first_party", "affiliates"];
/// The longest life that is not for ever. ClickHouse's `DateTime` ends in 2106.
pub const MAX_DAYS: u16 = 20_000;

/// The columns that are emptied when a text's life ends.
const TEXTS: [&str; 2] = ["text", "comment"];
/// What never ends ends here.
const NEVER: &str = "toDateTime('2106-01-01 00:00:00', 'UTC')";

/// How long rows of one type and scope are kept, in days after the day of their receipt (UTC); `None` for
/// ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The rows.
    pub rows: Option<u16>,
    /// Their texts and comments; never longer than the rows.
    pub text: Option<u16>,
}

/// How long rows are kept, by type and scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of [`EVENT_TYPES`] and [`SCOPES`].
    pub kept: [[Kept; SCOPES.len()]; EVENT_TYPES.len()],
}

impl Plan {
    /// The expressions of what goes when: of rows, and of texts where they go before their rows. None where all
    /// is kept.
    fn ttls(&self) -> (Option<String>, Option<String>) {
        let sooner = |kept: &Kept| kept.text.filter(|text| kept.rows.is_none_or(|rows| *text < rows));
        (self.ttl(|kept| kept.rows), self.ttl(sooner))
    }

    fn ttl(&self, days: impl Fn(&Kept) -> Option<u16>) -> Option<String> {
        let mut cases = String::new();
        for (scope_index, scope) in SCOPES.iter().enumerate() {
            let mut by_days: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
            for (kept, event_type) in self.kept.iter().zip(EVENT_TYPES) {
                if let Some(days) = days(&kept[scope_index]) {
                    by_days.entry(days).or_default().push(event_type);
                }
            }
            for (days, types) in by_days {
                let _ = write!(cases, "training_scope = '{scope}'");
                match types[..] {
                    _ if types.len() == EVENT_TYPES.len() => {}
                    // A lone text after IN would be taken for the name of a table, of which there is one such.
                    [one] => {
                        let _ = write!(cases, " AND event_type = '{one}'");
                    }
                    _ => {
                        let list = types.iter().map(|it| format!("'{it}'")).collect::<Vec<_>>().join(", ");
                        let _ = write!(cases, " AND event_type IN ({list})");
                    }
                }
                // At the end of the last day, for all rows of the day at once.
                let days = u32::from(days) + 1;
                let _ = write!(cases, ", toDateTime(toDate(received_at) + toIntervalDay({days}), 'UTC'), ");
            }
        }
        (!cases.is_empty()).then(|| format!("multiIf({cases}{NEVER})"))
    }

    /// Whether a part is dropped whole or not at all. Where it is not so, ClickHouse writes it anew without what has
    /// gone, and drops it all the same when nothing is left.
    fn only_drops_parts(&self) -> bool {
        let (_, text) = self.ttls();
        let first = &self.kept[0];
        text.is_none() && self.kept.iter().all(|of| of.iter().zip(first).all(|(a, b)| a.rows == b.rows))
    }

    fn recorded(&self) -> Vec<Recorded> {
        let mut rows = Vec::new();
        for (kept, event_type) in self.kept.iter().zip(EVENT_TYPES) {
            for (kept, scope) in kept.iter().zip(SCOPES) {
                rows.push(Recorded {
                    training_scope: scope.to_owned(),
                    event_type: event_type.to_owned(),
                    rows_days: kept.rows.unwrap_or(0),
                    text_days: kept.text.or(kept.rows).unwrap_or(0),
                });
            }
        }
        rows
    }
}

/// A row of the table `retention`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
struct Recorded {
    training_scope: String,
    event_type: String,
    rows_days: u16,
    text_days: u16,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

/// Brings the TTLs of `events` to what is asked for, and says whether that changed anything. While everything is to
/// be kept and was before, a TTL that somebody else has set stays. What is too old already goes in the background.
///
/// # Errors
/// See [`Error`]; the user needs the right to alter the table.
pub async fn apply(client: &Client, plan: &Plan) -> Result<bool, Error> {
    let sql = "SELECT training_scope, event_type, rows_days, text_days FROM retention FINAL";
    let mut before: Vec<Recorded> = client.query_rows(sql, &[]).await?;
    if before.is_empty() && *plan == Plan::default() {
        return Ok(false);
    }
    let mut asked = plan.recorded();
    before.sort();
    asked.sort();
    // First, so that the rollups keep what days came to before anything goes.
    let mut changed = before != asked;
    if changed {
        record(client, &asked).await?;
    }
    let sql = "SELECT create_table_query AS text FROM system.tables
        WHERE database = currentDatabase() AND name = 'events'";
    let table = one(client, sql, &[]).await?;
    // The times by which rows go are computed from few columns; nothing else is read or written for that.
    let settings =
        [("ttl_only_drop_parts", u8::from(plan.only_drops_parts())), ("materialize_ttl_recalculate_only", 1)];
    let settings = settings.map(|(name, value)| format!("{name} = {value}"));
    if settings.iter().any(|setting| !table.contains(setting.as_str())) {
        client.execute(&format!("ALTER TABLE events MODIFY SETTING {}", settings.join(", "))).await?;
        changed = true;
    }
    let (rows, text) = plan.ttls();
    let mut alterations = Vec::new();
    let text = formatted(client, text).await?;
    for column in TEXTS {
        let own = ttl_of_column(&table, column);
        match &text {
            Some(ttl) if own != Some(ttl) => alterations.push(format!("MODIFY COLUMN {column} TTL {ttl}")),
            None if own.is_some() => alterations.push(format!("MODIFY COLUMN {column} REMOVE TTL")),
            _ => {}
        }
    }
    // Last: what follows the TTL of a table after a comma is one more TTL.
    let rows = formatted(client, rows).await?;
    let own = ttl_of_rows(&table);
    match &rows {
        Some(ttl) if own != Some(ttl) => alterations.push(format!("MODIFY TTL {ttl}")),
        None if own.is_some() => alterations.push("REMOVE TTL".to_owned()),
        _ => {}
    }
    // At once: after a merge by one of them, ClickHouse waits for hours before it merges a partition for the next.
    if !alterations.is_empty() {
        client.execute(&format!("ALTER TABLE events {}", alterations.join(", "))).await?;
        changed = true;
    }
    Ok(changed)
}

/// Records what holds from now on, and from which day on everything is there by what held before.
async fn record(client: &Client, asked: &[Recorded]) -> Result<(), Error> {
    let values: Vec<_> = asked
        .iter()
        .map(|it| {
            format!("('{}', '{}', {}, {})", it.training_scope, it.event_type, it.rows_days, it.text_days)
        })
        .collect();
    let sql = format!(
        "INSERT INTO retention (training_scope, event_type, rows_days, text_days, complete_from)
        SELECT c1, c2, c3, c4, (SELECT first_day FROM rollup_first_day)
        FROM values('c1 String, c2 String, c3 UInt16, c4 UInt16', {})",
        values.join(", ")
    );
    client.execute(&sql).await
}

/// An expression as the server writes it, so that it can be compared with what a table has.
async fn formatted(client: &Client, expression: Option<String>) -> Result<Option<String>, Error> {
    let Some(expression) = expression else { return Ok(None) };
    let sql = "SELECT formatQuerySingleLine({query:String}) AS text";
    let query = one(client, sql, &[("query", &format!("SELECT {expression}"))]).await?;
    Ok(Some(query.strip_prefix("SELECT ").unwrap_or(&query).to_owned()))
}

async fn one(client: &Client, sql: &str, params: &[(&str, &str)]) -> Result<String, Error> {
    let rows: Vec<Text> = client.query_rows(sql, params).await?;
    Ok(rows.into_iter().next().map(|row| row.text).unwrap_or_default())
}

/// The TTL of a table's rows, from what makes the table.
fn ttl_of_rows(table: &str) -> Option<&str> {
    let (_, engine) = table.rsplit_once(" ENGINE = ")?;
    let (_, ttl) = engine.split_once(" TTL ")?;
    Some(ttl.rsplit_once(" SETTINGS ").map_or(ttl, |(ttl, _)| ttl))
}

/// The TTL of a column, from what makes the table.
fn ttl_of_column<'a>(table: &'a str, column: &str) -> Option<&'a str> {
    let (columns, _) = table.rsplit_once(" ENGINE = ")?;
    let (_, column) = columns.split_once(&format!("`{column}` "))?;
    let column = column.split(", `").next()?;
    let (_, ttl) = column.split_once(" TTL ")?;
    Some(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniform(none: Option<u16>, first_party: Option<u16>, affiliates: Option<u16>) -> Plan {
        let of = |rows| Kept { rows, text: None };
        Plan { kept: [[of(none), of(first_party), of(affiliates)]; 4] }
    }

    #[test]
    fn what_is_kept_for_ever_has_no_end() {
        assert_eq!(Plan::default().ttls(), (None, None));
        // A text that is kept no shorter than its row goes with it.
        let mut plan = uniform(Some(10), None, None);
        plan.kept[0][0].text = Some(10);
        assert_eq!(plan.ttls().1, None);
    }

    #[test]
    fn parts_are_dropped_whole_where_all_of_them_has_one_life() {
        let mut plan = uniform(Some(100), Some(60), None);
        assert!(plan.only_drops_parts());
        assert_eq!(
            plan.ttls().0.unwrap(),
            "multiIf(training_scope = 'none', toDateTime(toDate(received_at) + toIntervalDay(101), 'UTC'), \
             training_scope = 'first_party', toDateTime(toDate(received_at) + toIntervalDay(61), 'UTC'), \
             toDateTime('2106-01-01 00:00:00', 'UTC'))"
        );
        plan.kept[3][1].rows = Some(50);
        assert!(!plan.only_drops_parts());
        let rows = plan.ttls().0.unwrap();
        assert!(
            rows.contains("training_scope = 'first_party' AND event_type = 'language_preference', "),
            "{rows}"
        );
        let mut plan = uniform(Some(100), Some(60), None);
        plan.kept[0][2].text = Some(5);
        assert!(!plan.only_drops_parts());
        assert!(plan.ttls().1.unwrap().contains("'affiliates' AND event_type = 'typed_text', "));
    }

    #[test]
    fn a_table_tells_its_ttls() {
        let table = "CREATE TABLE d.events (`text` String CODEC(ZSTD(1)) TTL f(a, 'x'), `comment` String) \
            ENGINE = ReplacingMergeTree(n) ORDER BY t TTL g(b), 'y' SETTINGS s = 1, t = 2";
        assert_eq!(ttl_of_rows(table), Some("g(b), 'y'"));
        assert_eq!(ttl_of_column(table, "text"), Some("f(a, 'x')"));
        assert_eq!(ttl_of_column(table, "comment"), None);
        assert_eq!(ttl_of_rows(&table.replace(" TTL g(b), 'y'", "")), None);
    }
}
