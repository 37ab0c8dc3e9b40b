//! Withdrawn rows leave the eligible partitions, and every view shows every row once all the while.

mod faults;
mod model;
mod modes;
mod moving;
mod watch;

use std::time::Duration;

use assent::{
    clickhouse::{Client, InsertQuorum, Options as ClientOptions},
    ingress::proto::{ConsentScope, ConsentState},
    privacy::withdrawal::{Mode, Options, Reconciler},
};
use serde::Deserialize;

use crate::harness::{Collector, Database, change, eventually};

const FIRST: ConsentScope = ConsentScope::FirstParty;
const AFFILIATES: ConsentScope = ConsentScope::Affiliates;

/// A pass is made all the time, and each batch is small.
const AT_ONCE: &str = "[withdrawal]\ninterval = \"100ms\"\ndeadline = \"1s\"\nbatch_rows = 3\n";
/// None is made after the first.
const NEVER: &str = "[withdrawal]\ninterval = \"12h\"\n";

/// What one makes by itself, step by step.
fn reconciler(database: &Database, mode: Mode) -> Reconciler {
    let client = Client::new(&ClientOptions {
        url: database.url.clone(),
        database: database.name.clone(),
        user: "default".to_owned(),
        password: "".into(),
        insert_timeout: Duration::from_secs(60),
        query_timeout: Duration::from_secs(60),
    });
    let options = Options {
        mode,
        deadline: Duration::from_secs(60),
        interval: Duration::from_secs(1),
        batch_rows: 100,
        insert_quorum: InsertQuorum::None,
    };
    Reconciler::new(options, client.unwrap(), "a test".to_owned())
}

async fn say(collector: &Collector, user: &str, scope: ConsentScope, state: ConsentState) {
    collector.client().await.set_consent(change(user, scope, state)).await.unwrap();
}

async fn grant_both(collector: &Collector, user: &str) {
    for scope in [FIRST, AFFILIATES] {
        say(collector, user, scope, ConsentState::Granted).await;
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Part {
    scope: String,
    rows: u64,
}

/// The rows of each scope's partitions, as the parts on the disk have them.
async fn on_disk(database: &Database) -> Vec<(String, u64)> {
    let sql = "SELECT extract(partition, '[a-z_]+') AS scope, sum(rows) AS rows FROM system.parts
        WHERE database = currentDatabase() AND table = 'events' AND active GROUP BY scope HAVING rows > 0 ORDER BY scope";
    database.rows::<Part>(sql).await.into_iter().map(|part| (part.scope, part.rows)).collect()
}

/// Waits until the active parts have these rows of these scopes, and no others.
async fn wait_for_parts(database: &Database, expected: &[(&str, u64)]) {
    let mut last = Vec::new();
    eventually(&format!("parts as {expected:?}"), || async {
        let now = on_disk(database).await;
        now.iter().map(|(scope, rows)| (scope.as_str(), *rows)).eq(expected.iter().copied()).then_some(now)
    })
    .await
    .clone_into(&mut last);
    assert_eq!(last.len(), expected.len());
}

/// The sum of all that a view shows, and how many rows that is: two that are the same show the same.
async fn shows(database: &Database, view: &str) -> (u64, u64) {
    #[derive(Deserialize)]
    struct Shown {
        rows: u64,
        sum: u64,
    }
    let sql = format!(
        "SELECT count() AS rows, groupBitXor(cityHash64(tenant, subject_id, event_id, text, received_at)) AS sum
         FROM {view}"
    );
    let shown: Vec<Shown> = database.rows(&sql).await;
    (shown[0].rows, shown[0].sum)
}
