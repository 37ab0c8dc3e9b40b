//! A power cut at ClickHouse takes nothing back that it has confirmed: counted in its own syncs.

use assent::clickhouse::{
    Durability, InsertQuorum,
    columns::INSERT_COLUMNS,
    compressed::compress,
    durability::{self, Lack},
    local::{LocalOptions, LocalServer},
    migrations,
};
use serde::Deserialize;

use crate::{
    blocks::block_of,
    harness::{Database, Fault, Proxy, Setup, binary, event, eventually},
};

const ROLES: &str = include_str!("../../schemas/users.d/assent.xml");
/// A user with no rights but a collector's.
const COLLECTOR: &str = "<clickhouse><users><collector><password></password>
    <networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
    <grants><query>GRANT assent_collector</query></grants></collector></users></clickhouse>";

/// A server that nobody else uses, so that what it counts is what the test did.
struct Alone {
    server: LocalServer,
    database: Database,
    _dir: tempfile::TempDir,
}

impl Alone {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = LocalOptions::new(dir.path().to_owned(), binary().to_owned());
        options.users_xml = [("assent.xml", ROLES), ("collector.xml", COLLECTOR)]
            .map(|(name, xml)| (name.to_owned(), xml.to_owned()))
            .to_vec();
        let server = LocalServer::start(options).await.unwrap();
        let (name, url) = ("assent".to_owned(), server.url());
        let client = Database::client_as(&url, &name, "default");
        migrations::migrate(&client).await.unwrap();
        let database = Database { name, url, client };
        let alone = Self { server, database, _dir: dir };
        // As on a server that nobody has configured: that of assent fsyncs by itself.
        for table in ["events", "consent_changes", "policies"] {
            alone
                .set(
                    table,
                    "fsync_after_insert = 0, fsync_part_directory = 0, min_rows_to_fsync_after_merge = 0",
                )
                .await;
        }
        alone
    }

    async fn set(&self, table: &str, settings: &str) {
        let sql = format!("ALTER TABLE {table} MODIFY SETTING {settings}");
        self.database.client.execute(&sql).await.unwrap();
    }

    /// How many files and folders it has fsynced so far.
    async fn syncs(&self) -> (u64, u64) {
        #[derive(Deserialize)]
        struct Syncs {
            files: u64,
            folders: u64,
        }
        let sql = "SELECT sumIf(value, event = 'FileSync') AS files, sumIf(value, event = 'DirectorySync') AS folders
            FROM system.events";
        let syncs = self.database.rows::<Syncs>(sql).await.remove(0);
        (syncs.files, syncs.folders)
    }

    /// The syncs of something.
    async fn syncs_of(&self, work: impl Future<Output = ()>) -> (u64, u64) {
        let before = self.syncs().await;
        work.await;
        let after = self.syncs().await;
        (after.0 - before.0, after.1 - before.1)
    }

    async fn insert_event(&self, token: &str) {
        let body = [compress(&block_of(3)).into()];
        self.database.client.insert_native("events", INSERT_COLUMNS, &body, token, &[]).await.unwrap();
    }

    async fn insert_no(&self, version: u32) {
        let body = format!(r#"{{"tenant":"acme","state":"denied","consent_version":{version}}}"#);
        let (columns, token) = ("(tenant, state, consent_version)", version.to_string());
        self.database.client.insert_json("consent_changes", columns, body.into(), &token, &[]).await.unwrap();
    }

    async fn merge(&self) {
        self.database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_fsync_what_they_confirm_and_what_they_merge() {
    let alone = Alone::start().await;
    let client = &alone.database.client;
    let check = |durability, quorum| async move {
        durability::check(client, durability, quorum).await.unwrap().unwrap()
    };
    assert_eq!(alone.syncs_of(alone.insert_event("1")).await, (0, 0));
    assert_eq!(alone.syncs_of(alone.insert_event("2")).await, (0, 0));
    assert_eq!(alone.syncs_of(alone.merge()).await, (0, 0));
    assert_eq!(alone.syncs_of(alone.insert_no(1)).await, (0, 0));
    let state = check(Durability::Fsync, InsertQuorum::None).await;
    assert!(!state.fsyncs);
    let lacking =
        |lack: &Lack| matches!(lack, Lack::Fsync { table, off } if table == "events" && off.len() == 3);
    assert!(state.lacks.iter().any(lacking) && state.lacks.len() == 3, "{state:?}");

    let changed = durability::apply(client, Durability::Fsync).await.unwrap();
    assert!(
        ["events", "consent_changes"].iter().all(|table| changed.contains(&(*table).to_owned())),
        "{changed:?}"
    );
    let state = check(Durability::Fsync, InsertQuorum::Auto).await;
    assert!(
        state.fsyncs && state.lacks.iter().all(|lack| matches!(lack, Lack::Replicas { .. })),
        "{state:?}"
    );
    assert_eq!(durability::apply(client, Durability::Fsync).await.unwrap(), [""; 0]);
    // A collector's own rights are enough to look, and not to change.
    let collector = Database::client_as(&alone.database.url, &alone.database.name, "collector");
    let seen = durability::check(&collector, Durability::Fsync, InsertQuorum::Auto).await.unwrap().unwrap();
    assert!(seen.fsyncs && seen.lacks.len() >= 3, "{seen:?}");
    durability::apply(&collector, Durability::Server).await.unwrap_err();
    for token in ["3", "4"] {
        let (files, folders) = alone.syncs_of(alone.insert_event(token)).await;
        assert!(files >= 5 && folders >= 1, "{files} files and {folders} folders of an insert");
    }
    let (files, folders) = alone.syncs_of(alone.merge()).await;
    assert!(files >= 5 && folders >= 1, "{files} files and {folders} folders of a merge");
    // A no that was acknowledged holds after a power cut too.
    let (files, folders) = alone.syncs_of(alone.insert_no(2)).await;
    assert!(files >= 5 && folders >= 1, "{files} files and {folders} folders of a change of consent");
    alone.server.stop().await;
}

#[tokio::test]
async fn migrate_sets_what_is_configured_and_a_collector_tells_when_it_is_not() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let migrate = |durability: &str| {
        let url = ["migrate", "--clickhouse-url", &database.url, "--clickhouse-database", &database.name];
        let mut command = setup.command(&url);
        let done = command.env("ASSENT_CLICKHOUSE__DURABILITY", durability).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let told = migrate("fsync");
    assert!(told.contains("events fsyncs what it writes") && told.contains("consent_changes"), "{told}");
    let own =
        "system.tables WHERE database = currentDatabase() AND engine_full LIKE '%fsync_after_insert = 1%'";
    let all = "system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'
               AND NOT startsWith(name, 'rollup_') AND NOT startsWith(name, '.')";
    let all = database.count(all).await;
    assert!(all >= 11, "{all}");
    assert_eq!(database.count(own).await, all);
    assert!(!migrate("fsync").contains("fsyncs"), "there is nothing left to do");
    let collector = setup.start_ready().await;
    let gauges = async |collector: &crate::harness::Collector| {
        eventually("what is known of durability", || async {
            let metrics = collector.metrics().await;
            let gauge =
                |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            Some::<(u8, u8)>((
                gauge("assent_clickhouse_fsyncs ")?,
                gauge("assent_clickhouse_durable_as_configured ")?,
            ))
        })
        .await
    };
    assert_eq!(gauges(&collector).await, (1, 1));
    drop(collector);

    // Somebody who knows better.
    let off = "ALTER TABLE events MODIFY SETTING fsync_after_insert = 0";
    database.client.execute(off).await.unwrap();
    let collector = setup.start_ready().await;
    assert_eq!(gauges(&collector).await, (0, 0));
    let log = setup.log();
    assert!(log.contains("events without fsync_after_insert") && log.contains("assent migrate"), "{log}");
    drop(collector);
    let collector = setup.clone().config("[clickhouse]\ndurability = \"server\"\n").start_ready().await;
    assert_eq!(gauges(&collector).await, (0, 1));
    drop(collector);

    assert!(migrate("server").contains("events fsyncs what the server is configured to"));
    assert_eq!(database.count(own).await, 0);
    let collector = setup.start_ready().await;
    assert_eq!(gauges(&collector).await, (1, 1), "the server of the tests fsyncs by itself");
}

/// What ClickHouse confirms after a try of unknown outcome has to be looked for, with a collector's own
/// rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_collectors_rights_are_enough_to_look_for_its_rows() {
    let alone = Alone::start().await;
    let proxy = Proxy::start(&alone.database.url, Fault::LoseInsertRepliesOnce).await;
    let setup = Setup::new(&alone.database).via(&proxy.url).env("ASSENT_CLICKHOUSE__USER", "collector");
    let collector = setup.start_ready().await;
    let ids = collector.send((0..20).map(|_| event("ann")).collect()).await;
    alone.database.wait_for(&ids).await;
    eventually("a repeated insert that is confirmed", || async {
        collector.metrics().await.contains("assent_rows_delivered_total 20").then_some(())
    })
    .await;
    assert!(proxy.lost() > 0);
    assert_eq!(alone.database.count("events").await, 20, "they were found, and not inserted once more");
    assert!(!setup.log().contains("cannot be looked up"));
}
