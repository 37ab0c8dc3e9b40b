//! What ClickHouse has to have done with an insert before it confirms it, so that a power cut does not
//! take back what delivery has let go of.
//!
//! Two things, each configured by itself (docs/adr/0008-durability-at-clickhouse.md):
//!
//! - [`Durability`]: the tables fsync what they write. `assent migrate` [applies](apply) it to every table
//!   of the database, outside of the numbered migrations: it can be changed, and they cannot.
//! - [`InsertQuorum`]: so many replicas have the insert. It goes with each insert.
//!
//! A collector may not change tables. It [watches] that they are as it was told, and says so when not.
//!
//! [watches]: Watch

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Client, Error};
use crate::telemetry;

/// How often the tables are looked at.
const INTERVAL: Duration = Duration::from_secs(60);
/// How soon again when they could not be looked at, or are not there yet.
const RETRY: Duration = Duration::from_secs(2);

/// The server's code for a right that a user has not.
const ACCESS_DENIED: u32 = 497;

/// Without it an insert is confirmed while it lies in the memory of the operating system.
const AFTER_INSERT: &str = "fsync_after_insert";
/// The same for the entries of its files in their folder, and for the part's name.
const DIRECTORY: &str = "fsync_part_directory";
/// Parts that were merged go away, and some servers do not keep them for a while.
const AFTER_MERGE: &str = "min_rows_to_fsync_after_merge";
/// What another replica sent counts for its quorum.
const AFTER_FETCH: &str = "min_compressed_bytes_to_fsync_after_fetch";
/// All of them; each is on when it is 1.
const SETTINGS: [&str; 4] = [AFTER_INSERT, DIRECTORY, AFTER_MERGE, AFTER_FETCH];

/// What a table does before it confirms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// It fsyncs what an insert, a merge or a mutation writes. A power cut loses nothing that was
    /// confirmed.
    Fsync,
    /// What the server's own configuration says. By default that is nothing, and a power cut may lose
    /// what was confirmed in the minutes before.
    Server,
}

/// How many replicas must have an insert before it is confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "NumberOrText", into = "NumberOrText")]
pub enum InsertQuorum {
    /// The one that it was sent to.
    #[default]
    None,
    /// So many, two at least.
    Replicas(u32),
    /// More than half of them.
    Auto,
}

/// A quorum that is none.
#[derive(Debug, thiserror::Error)]
#[error("is neither 0 (no quorum) nor a number of replicas from 2 on nor \"auto\" (more than half of them)")]
pub struct QuorumError;

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u32),
    Text(String),
}

impl TryFrom<NumberOrText> for InsertQuorum {
    type Error = QuorumError;

    fn try_from(value: NumberOrText) -> Result<Self, QuorumError> {
        match value {
            NumberOrText::Number(0) => Ok(Self::None),
            // To ClickHouse a quorum of one is none.
            NumberOrText::Number(replicas @ 2..) => Ok(Self::Replicas(replicas)),
            NumberOrText::Text(text) if text == "auto" => Ok(Self::Auto),
            NumberOrText::Number(_) | NumberOrText::Text(_) => Err(QuorumError),
        }
    }
}

impl From<InsertQuorum> for NumberOrText {
    fn from(quorum: InsertQuorum) -> Self {
        match quorum {
            InsertQuorum::None => Self::Number(0),
            InsertQuorum::Replicas(replicas) => Self::Number(replicas),
            InsertQuorum::Auto => Self::Text("auto".to_owned()),
        }
    }
}

impl InsertQuorum {
    /// The settings of an insert whose client waits for `timeout`.
    ///
    /// The server gives up somewhat earlier, so that what the client hears is the server's word. Either
    /// way nobody knows whether the insert will stay, and it is sent again under its token.
    #[must_use]
    pub fn settings(self, timeout: Duration) -> Vec<(&'static str, String)> {
        let quorum = match self {
            Self::None => return Vec::new(),
            Self::Replicas(replicas) => replicas.to_string(),
            Self::Auto => "auto".to_owned(),
        };
        vec![
            ("insert_quorum", quorum),
            ("insert_quorum_timeout", (timeout * 9 / 10).as_millis().to_string()),
            // Several collectors insert at once.
            ("insert_quorum_parallel", "1".to_owned()),
        ]
    }
}

/// What a table lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It does not fsync all that it writes.
    Fsync {
        /// The table.
        table: String,
        /// The settings that are off.
        off: Vec<&'static str>,
    },
    /// It has no replicas, so that a quorum means nothing.
    Replicas {
        /// The table.
        table: String,
    },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fsync { table, off } => write!(f, "{table} without {}", off.join(" and ")),
            Self::Replicas { table } => write!(f, "{table} without replicas"),
        }
    }
}

#[derive(Deserialize)]
struct Table {
    name: String,
    engine: String,
    engine_full: String,
}

impl Table {
    fn is_replicated(&self) -> bool {
        // Of the cloud's engine every insert is on shared storage.
        self.engine.starts_with("Replicated") || self.engine.starts_with("Shared")
    }

    /// The settings that matter to it.
    fn settings(&self) -> impl Iterator<Item = &'static str> {
        let replicated = self.is_replicated();
        SETTINGS.into_iter().filter(move |name| replicated || *name != AFTER_FETCH)
    }

    /// Its own value of a setting.
    fn own(&self, name: &str) -> Option<&str> {
        let (_, settings) = self.engine_full.rsplit_once(" SETTINGS ")?;
        settings
            .split(',')
            .filter_map(|setting| setting.split_once('='))
            .find_map(|(own, value)| (own.trim() == name).then_some(value.trim()))
    }
}

#[derive(Deserialize)]
struct OfServer {
    name: String,
    value: String,
    replicated: bool,
}

/// The database's tables that hold data, as far as this user may see them. Rollups are left out, and the tables
/// that one is computed into before it takes the place of the last: what a power cut takes of them is computed
/// again.
async fn tables(client: &Client) -> Result<Vec<Table>, Error> {
    let sql = "SELECT name, engine, engine_full FROM system.tables
        WHERE database = currentDatabase() AND engine LIKE '%MergeTree'
          AND NOT startsWith(name, 'rollup_') AND NOT startsWith(name, '.')
        ORDER BY name";
    client.query_rows(sql, &[]).await
}

fn is_on(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// Brings the tables' own settings to what is asked for, and gives the tables that were changed.
///
/// # Errors
/// See [`Error`]; the user needs the right to alter the tables.
pub async fn apply(client: &Client, durability: Durability) -> Result<Vec<String>, Error> {
    let mut changed = Vec::new();
    for table in tables(client).await? {
        if let Some(sql) = alteration(&table, durability) {
            client.execute(&sql).await?;
            changed.push(table.name);
        }
    }
    Ok(changed)
}

/// What to run, if the table is not as it should be. It can be run twice.
fn alteration(table: &Table, durability: Durability) -> Option<String> {
    let name = &table.name;
    match durability {
        Durability::Fsync => {
            let missing = |setting: &&str| !table.own(setting).is_some_and(is_on);
            let missing: Vec<_> = table.settings().filter(missing).map(|it| format!("{it} = 1")).collect();
            (!missing.is_empty())
                .then(|| format!("ALTER TABLE `{name}` MODIFY SETTING {}", missing.join(", ")))
        }
        Durability::Server => {
            let own: Vec<_> = SETTINGS.into_iter().filter(|setting| table.own(setting).is_some()).collect();
            (!own.is_empty()).then(|| format!("ALTER TABLE `{name}` RESET SETTING {}", own.join(", ")))
        }
    }
}

/// How the tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether all of them fsync all that they write.
    pub fsyncs: bool,
    /// What they lack of what was asked for.
    pub lacks: Vec<Lack>,
}

/// Looks at the tables; `None` when there are none that this user may see.
///
/// # Errors
/// See [`Error`].
pub async fn check(
    client: &Client,
    durability: Durability,
    quorum: InsertQuorum,
) -> Result<Option<State>, Error> {
    let tables = tables(client).await?;
    if tables.is_empty() {
        return Ok(None);
    }
    let names = SETTINGS.map(|name| format!("'{name}'")).join(", ");
    let sql = format!(
        "SELECT name, value, false AS replicated FROM system.merge_tree_settings WHERE name IN ({names})
        UNION ALL
        SELECT name, value, true AS replicated FROM system.replicated_merge_tree_settings WHERE name IN ({names})"
    );
    let defaults: Vec<OfServer> = match client.query_rows(&sql, &[]).await {
        // A role from before this was looked at. Then the tables' own word is all there is.
        Err(error) if error.code() == Some(ACCESS_DENIED) => Vec::new(),
        answer => answer?,
    };
    let defaults = defaults.into_iter().map(|it| ((it.name, it.replicated), it.value)).collect();
    Ok(Some(state(&tables, &defaults, durability, quorum)))
}

fn state(
    tables: &[Table],
    defaults: &BTreeMap<(String, bool), String>,
    durability: Durability,
    quorum: InsertQuorum,
) -> State {
    let mut state = State { fsyncs: true, lacks: Vec::new() };
    for table in tables {
        let is_off = |name: &&str| {
            let default = defaults.get(&((*name).to_owned(), table.is_replicated())).map(String::as_str);
            !table.own(name).or(default).is_some_and(is_on)
        };
        let off: Vec<_> = table.settings().filter(is_off).collect();
        state.fsyncs &= off.is_empty();
        let table_name = || table.name.clone();
        if durability == Durability::Fsync && !off.is_empty() {
            state.lacks.push(Lack::Fsync { table: table_name(), off });
        }
        if quorum != InsertQuorum::None && !table.is_replicated() {
            state.lacks.push(Lack::Replicas { table: table_name() });
        }
    }
    state
}

/// Watches over the tables of a collector.
pub struct Watch {
    client: Client,
    durability: Durability,
    quorum: InsertQuorum,
}

impl Watch {
    /// A watch that has not looked yet.
    #[must_use]
    pub const fn new(client: Client, durability: Durability, quorum: InsertQuorum) -> Self {
        Self { client, durability, quorum }
    }

    /// Looks again and again until `stop`. What is not as it should be shows in a metric, and in the
    /// log when it changes.
    pub async fn run(self, stop: CancellationToken) {
        let mut told = None;
        loop {
            let pause = match check(&self.client, self.durability, self.quorum).await {
                Ok(None) => RETRY,
                Ok(Some(state)) => {
                    telemetry::clickhouse_durability(state.fsyncs, state.lacks.is_empty());
                    if told.as_ref() != Some(&state) {
                        self.tell(&state);
                        told = Some(state);
                    }
                    INTERVAL
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot look at how durable the tables are");
                    RETRY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn tell(&self, state: &State) {
        let lacks: Vec<_> = state.lacks.iter().map(ToString::to_string).collect();
        if lacks.is_empty() {
            tracing::info!(fsyncs = state.fsyncs, insert_quorum = ?self.quorum, "the tables are as durable as configured");
        } else {
            tracing::error!(
                lacks = lacks.join(", "),
                "a power cut at ClickHouse can lose what it has confirmed; run `assent migrate` with this configuration"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(engine: &str, settings: &str) -> Table {
        Table {
            name: "events".to_owned(),
            engine: engine.to_owned(),
            engine_full: format!(
                "{engine}(narrowness) ORDER BY x SETTINGS index_granularity = 8192{settings}"
            ),
        }
    }

    fn alter(engine: &str, settings: &str, durability: Durability) -> Option<String> {
        alteration(&table(engine, settings), durability)
    }

    const ALL: &str =
        ", fsync_after_insert = 1, fsync_part_directory = true, min_rows_to_fsync_after_merge = 1";

    #[test]
    fn a_table_gets_what_it_lacks_and_no_more() {
        use Durability::{Fsync, Server};
        assert_eq!(
            alter("MergeTree", "", Fsync).unwrap(),
            "ALTER TABLE `events` MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1, \
             min_rows_to_fsync_after_merge = 1"
        );
        // Merges of a million rows alone are not all of them.
        let partly = ALL.replace("merge = 1", "merge = 1000000");
        assert_eq!(
            alter("MergeTree", &partly, Fsync).unwrap(),
            "ALTER TABLE `events` MODIFY SETTING min_rows_to_fsync_after_merge = 1"
        );
        assert_eq!(alter("ReplacingMergeTree", ALL, Fsync), None);
        assert_eq!(
            alter("ReplicatedReplacingMergeTree", ALL, Fsync).unwrap(),
            "ALTER TABLE `events` MODIFY SETTING min_compressed_bytes_to_fsync_after_fetch = 1"
        );
        assert_eq!(alter("MergeTree", "", Server), None);
        assert_eq!(
            alter("MergeTree", ", fsync_after_insert = 0, fsync_part_directory = 1", Server).unwrap(),
            "ALTER TABLE `events` RESET SETTING fsync_after_insert, fsync_part_directory"
        );
    }

    fn state_of(tables: &[Table], durability: Durability, quorum: InsertQuorum) -> State {
        // As of a server that fsyncs the folders of what has no replicas, and nothing else.
        let defaults = [false, true]
            .into_iter()
            .flat_map(|replicated| {
                SETTINGS.map(|name| {
                    let value = u8::from(name == DIRECTORY && !replicated).to_string();
                    ((name.to_owned(), replicated), value)
                })
            })
            .collect();
        state(tables, &defaults, durability, quorum)
    }

    #[test]
    fn what_a_table_does_not_say_the_server_does() {
        let lacking = |off: &[&'static str]| Lack::Fsync { table: "events".to_owned(), off: off.to_vec() };
        let state = |engine: &str, settings: &str| {
            state_of(&[table(engine, settings)], Durability::Fsync, InsertQuorum::None)
        };
        assert_eq!(state("MergeTree", "").lacks, [lacking(&[AFTER_INSERT, AFTER_MERGE])]);
        assert_eq!(state("ReplicatedMergeTree", "").lacks, [lacking(&SETTINGS)]);
        // The table's own word beats the server's.
        let never = ", fsync_after_insert = 1, min_rows_to_fsync_after_merge = 1, fsync_part_directory = 0";
        assert_eq!(state("MergeTree", never).lacks, [lacking(&[DIRECTORY])]);
        assert_eq!(state("MergeTree", ALL), State { fsyncs: true, lacks: Vec::new() });
        assert_eq!(
            state("MergeTree", "").lacks[0].to_string(),
            "events without fsync_after_insert and \
            min_rows_to_fsync_after_merge"
        );
    }

    #[test]
    fn what_is_left_to_the_server_is_no_lack_and_shows_all_the_same() {
        let state = state_of(&[table("MergeTree", "")], Durability::Server, InsertQuorum::None);
        assert_eq!(state, State { fsyncs: false, lacks: Vec::new() });
    }

    #[test]
    fn a_quorum_without_replicas_is_none() {
        let tables = [table("MergeTree", ALL), table("ReplicatedMergeTree", ALL)];
        let state = state_of(&tables, Durability::Server, InsertQuorum::Auto);
        assert_eq!(state.lacks, [Lack::Replicas { table: "events".to_owned() }]);
    }

    #[test]
    fn an_insert_says_how_many_must_have_it_and_for_how_long_it_waits() {
        let timeout = Duration::from_secs(60);
        let settings = |quorum: InsertQuorum| {
            let settings = quorum.settings(timeout);
            settings.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(settings(InsertQuorum::None), [""; 0]);
        assert_eq!(
            settings(InsertQuorum::Replicas(2)),
            ["insert_quorum=2", "insert_quorum_timeout=54000", "insert_quorum_parallel=1"]
        );
        assert_eq!(settings(InsertQuorum::Auto)[0], "insert_quorum=auto");
    }
}
