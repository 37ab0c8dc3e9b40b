//! One real ClickHouse for the whole run, and a database for each test.

use std::{
    path::{Path, PathBuf},
    sync::{LazyLock, mpsc},
    time::Duration,
};

use assent::clickhouse::{
    Client, Options,
    local::{LocalOptions, LocalServer},
    migrations,
};
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{binary, eventually};

const ROLES: &str = include_str!("../../schemas/users.d/assent.xml");
/// A user with no rights but those of who moves withdrawn rows.
const RECONCILER: &str = "<clickhouse><users><reconciler><password></password>
    <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT assent_reconciler</query></grants></reconciler></users></clickhouse>";

/// The server of this run.
pub(crate) struct SharedServer {
    pub(crate) url: String,
    pub(crate) data_dir: PathBuf,
}

/// Started by the first test that asks. It ends with this process, whose pipe is its lifeline.
pub(crate) fn shared_server() -> &'static SharedServer {
    static SERVER: LazyLock<SharedServer> = LazyLock::new(|| start(""));
    &SERVER
}

/// Another one: the shipped grants are of the database `assent`, and a test that reads as one of the roles may need
/// it for itself.
#[allow(dead_code)] // The integration tests alone need it.
pub(crate) fn readers_server() -> &'static SharedServer {
    static SERVER: LazyLock<SharedServer> = LazyLock::new(|| start("-readers"));
    &SERVER
}

fn start(suffix: &str) -> SharedServer {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    remove_left_behind(base);
    let data_dir = base.join(format!("clickhouse-{}{suffix}", std::process::id()));
    let mut options = LocalOptions::new(data_dir.clone(), binary().to_owned());
    options.users_xml = vec![
        ("assent.xml".to_owned(), ROLES.to_owned()),
        ("reconciler.xml".to_owned(), RECONCILER.to_owned()),
    ];
    let (started, url) = mpsc::sync_channel(1);
    // A runtime of its own: those of the tests end with them.
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(
            async move {
                let server = LocalServer::start(options).await.unwrap();
                started.send(server.url()).unwrap();
                std::future::pending::<()>().await;
            },
        );
    });
    SharedServer { url: url.recv().expect("the ClickHouse server did not start"), data_dir }
}

/// Data of runs whose process is gone.
fn remove_left_behind(base: &Path) {
    for entry in std::fs::read_dir(base).unwrap().filter_map(Result::ok) {
        let name = entry.file_name().into_string().unwrap_or_default();
        let pid = name
            .strip_prefix("clickhouse-")
            .and_then(|name| name.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another run may be removing it as well.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A database on the shared server.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) client: Client,
}

/// What most tests look at.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Row {
    pub(crate) event_id: Uuid,
    pub(crate) scope: String,
    pub(crate) reason: String,
}

impl Row {
    /// Scope and reason.
    pub(crate) fn stamp(&self) -> (&str, &str) {
        (&self.scope, &self.reason)
    }
}

#[derive(Deserialize)]
struct Count {
    n: u64,
}

impl Database {
    /// A migrated one.
    pub(crate) async fn new() -> Self {
        let database = Self::named(&format!("t_{}", Uuid::now_v7().simple()));
        migrations::migrate(&database.client).await.unwrap();
        database
    }

    /// One of that name, as it is.
    pub(crate) fn named(name: &str) -> Self {
        let url = shared_server().url.clone();
        let client = Self::client_as(&url, name, "default");
        Self { name: name.to_owned(), url, client }
    }

    /// The database `assent` of the server for readers, migrated.
    #[allow(dead_code)] // The integration tests alone need it.
    pub(crate) async fn of_readers() -> Self {
        let url = readers_server().url.clone();
        let client = Self::client_as(&url, "assent", "default");
        let database = Self { name: "assent".to_owned(), url, client };
        migrations::migrate(&database.client).await.unwrap();
        database
    }

    /// Brings the rollups up to date, which otherwise happens every few minutes.
    #[allow(dead_code)] // The integration tests alone need it.
    pub(crate) async fn refresh_rollups(&self) {
        for view in ["copies", "days", "due", "features", "consent"] {
            for what in ["REFRESH", "WAIT"] {
                let sql = format!("SYSTEM {what} VIEW rollup_{view}_refresh");
                self.client.execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    pub(crate) fn client_as(url: &str, database: &str, user: &str) -> Client {
        Client::new(&Options {
            url: url.to_owned(),
            database: database.to_owned(),
            user: user.to_owned(),
            password: "".into(),
            insert_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(30),
        })
        .unwrap()
    }

    pub(crate) async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Vec<T> {
        self.client.query_rows(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// How many rows a table expression has.
    pub(crate) async fn count(&self, from: &str) -> u64 {
        self.rows::<Count>(&format!("SELECT count() AS n FROM {from}")).await[0].n
    }

    /// Waits until `events` has that many rows, retries of clients counted as they came.
    pub(crate) async fn wait_for_rows(&self, rows: u64) {
        eventually(
            &format!("{rows} rows"),
            || async move { (self.count("events").await >= rows).then_some(()) },
        )
        .await;
    }

    /// Waits until the events are readable, and gives them, each once, in the order of the ids.
    pub(crate) async fn wait_for(&self, ids: &[Uuid]) -> Vec<Row> {
        let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
        let sql = format!(
            "SELECT event_id, toString(training_scope) AS scope, toString(eligibility_reason) AS reason
             FROM events FINAL WHERE event_id IN ({list})"
        );
        let found = eventually("the events", || async {
            let rows: Vec<Row> = self.rows(&sql).await;
            (rows.len() >= ids.len()).then_some(rows)
        })
        .await;
        ids.iter().map(|id| found.iter().find(|row| row.event_id == *id).unwrap().clone()).collect()
    }
}
