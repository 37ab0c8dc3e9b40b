//! The schema, brought up to date: `schemas/migrations/NNNN_name.sql`, in order, each recorded with
//! its checksum in `schema_migrations`.
//!
//! Several collectors may migrate at once, and a migration that was cut short is begun again: every
//! statement in them must be one that can be repeated (`IF [NOT] EXISTS`). A file that
//! was applied is never changed; what it lacks comes in a later one.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{Client, Error};

/// A file of `schemas/migrations`.
#[derive(Clone, Copy, Debug)]
struct Migration {
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($($name:literal),* $(,)?) => {
        [$(Migration {
            name: $name,
            sql: include_str!(concat!("../../schemas/migrations/", $name, ".sql")),
        }),*]
    };
}

const MIGRATIONS: [Migration; 13] = migrations![
    "0001_events",
    "0002_consent",
    "0003_records",
    "0004_views",
    "0005_rollups",
    "0006_consent_evidence",
    "0007_compact_parts",
    "0008_redaction_rules",
    "0009_pseudonym_keys",
    "0010_readers",
    "0011_exports",
    "0012_erasure",
    "0013_withdrawal"
];

/// Stands in a migration for the database's name, where ClickHouse does not put it in by itself: in calls of
/// parameterised views, which it takes for functions, and in what is compared with system tables.
const DATABASE: &str = "{database}";

const RECORD_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations
    (
        name       String,
        checksum   String,
        applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
    )
    ENGINE = ReplacingMergeTree
    ORDER BY name";

/// The oldest server on which views count an event once by its narrowest scope: older ones prune
/// partitions before FINAL, and so lose sight of the narrower copy (docs/adr/0006-events-table.md).
const OLDEST_SERVER: (u32, u32) = (26, 3);

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The migrations that were applied, in order.
    pub applied: Vec<String>,
    /// How many had been applied before.
    pub already_applied: usize,
}

/// A schema that could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A statement failed.
    #[error("{step} failed")]
    Statement {
        /// The migration, or what was done around it.
        step: String,
        /// Why.
        source: Error,
    },
    /// The server is too old to keep what the views promise.
    #[error(
        "ClickHouse {version} is too old: before {}.{} a view can show a row as eligible whose narrower copy \
         lies in another partition", OLDEST_SERVER.0, OLDEST_SERVER.1
    )]
    TooOld {
        /// What the server says it is.
        version: String,
    },
    /// A migration was changed after it had been applied.
    #[error(
        "{name} was applied in another form ({applied}, and this program has {known}): \
         the database was migrated by another build; use that one, or a newer one"
    )]
    Changed {
        /// The migration.
        name: String,
        /// The checksum that was recorded.
        applied: String,
        /// The checksum of this program's.
        known: String,
    },
}

#[derive(Deserialize)]
struct Server {
    version: String,
}

#[derive(Deserialize, Serialize)]
struct Applied {
    name: String,
    checksum: String,
}

/// Makes the database if it is missing, and applies what is.
///
/// # Errors
/// A statement failed, or an applied migration is not the one that this program knows.
pub async fn migrate(client: &Client) -> Result<Report, MigrateError> {
    let failed = |step: &str| {
        let step = step.to_owned();
        move |source| MigrateError::Statement { step, source }
    };
    let servers: Vec<Server> = client
        .query_rows_outside("SELECT version() AS version")
        .await
        .map_err(failed("asking for the version"))?;
    if let Some(Server { version }) = servers.into_iter().find(|server| !is_new_enough(&server.version)) {
        return Err(MigrateError::TooOld { version });
    }
    client.create_database().await.map_err(failed("making the database"))?;
    client.execute(RECORD_TABLE).await.map_err(failed("making schema_migrations"))?;
    let applied: Vec<Applied> = client
        .query_rows("SELECT DISTINCT name, checksum FROM schema_migrations", &[])
        .await
        .map_err(failed("reading schema_migrations"))?;
    let mut report = Report::default();
    for migration in MIGRATIONS {
        let known = checksum(migration.sql);
        if let Some(before) = applied.iter().find(|it| it.name == migration.name) {
            if before.checksum != known {
                let (name, applied) = (before.name.clone(), before.checksum.clone());
                return Err(MigrateError::Changed { name, applied, known });
            }
            report.already_applied += 1;
            continue;
        }
        for statement in statements(migration.sql) {
            let statement = statement.replace(DATABASE, client.database());
            client.execute(&statement).await.map_err(failed(migration.name))?;
        }
        let row = serde_json::to_vec(&Applied { name: migration.name.to_owned(), checksum: known })
            .map_err(|error| failed(migration.name)(error.into()))?;
        client
            .insert_json("schema_migrations", "(name, checksum)", row.into(), migration.name, &[])
            .await
            .map_err(failed(migration.name))?;
        report.applied.push(migration.name.to_owned());
    }
    Ok(report)
}

/// A version that cannot be read is let through: a build of somebody's own knows better.
fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST_SERVER,
        _ => true,
    }
}

fn checksum(sql: &str) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, sql.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The statements of a file: what stands between semicolons that end a line. The files hold no such
/// line within a text or a comment, which a test sees to.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n").map(str::trim).filter(|statement| {
        statement.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_can_be_repeated() {
        for migration in MIGRATIONS {
            let statements: Vec<_> = statements(migration.sql).collect();
            assert!(!statements.is_empty(), "{}", migration.name);
            for statement in statements {
                let code: Vec<&str> = statement
                    .lines()
                    .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"))
                    .collect();
                let first = code.first().copied().unwrap_or_default();
                let repeatable = if first.starts_with("ALTER") {
                    let kinds = ["ADD ", "DROP ", "MATERIALIZE ", "MODIFY SETTING "];
                    let actions: Vec<_> =
                        code.iter().filter(|line| kinds.iter().any(|it| line.contains(it))).collect();
                    let done_again = ["EXISTS ", "MATERIALIZE", "MODIFY SETTING "];
                    !actions.is_empty()
                        && actions.iter().all(|it| done_again.iter().any(|again| it.contains(again)))
                } else {
                    first.starts_with("CREATE OR REPLACE VIEW")
                        || first.starts_with("CREATE") && first.contains("IF NOT EXISTS")
                };
                assert!(repeatable, "{}: {first}", migration.name);
                let starts = ["CREATE", "ALTER"];
                let statements =
                    code.iter().filter(|line| starts.iter().any(|it| line.starts_with(it))).count();
                assert_eq!(statements, 1, "{first}");
            }
        }
    }

    #[test]
    fn every_file_is_in_the_list_and_in_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/migrations");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<_> = MIGRATIONS.iter().map(|it| format!("{}.sql", it.name)).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn a_server_must_be_new_enough_for_the_views() {
        for (version, enough) in [
            ("26.7.2.1", true),
            ("26.3.1.1", true),
            ("26.2.9.9", false),
            ("25.12.1.1", false),
            ("27.1", true),
            ("head", true),
        ] {
            assert_eq!(is_new_enough(version), enough, "{version}");
        }
    }

    #[test]
    fn statements_end_where_a_line_ends_with_a_semicolon() {
        let sql = "-- a; b\nCREATE A (x DEFAULT ';');\n\n-- only a comment\n;\nCREATE B\n;\n";
        assert_eq!(statements(sql).collect::<Vec<_>>(), ["-- a; b\nCREATE A (x DEFAULT ';')", "CREATE B"]);
    }
}
