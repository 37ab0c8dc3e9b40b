//! From the spool to ClickHouse under faults.

use crate::harness::{Database, EventBuilder, Fault, Proxy, Setup, event, eventually};

#[tokio::test]
async fn an_insert_whose_answer_is_lost_counts_once() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::LoseInsertReplies).await;
    let setup = Setup::new(&database).via(&proxy.url).config("[delivery]\nmax_backoff = \"200ms\"\n");
    let collector = setup.start_ready().await;
    let ids = collector.send((0..20).map(|_| event("ann")).collect()).await;
    eventually("three lost answers", || async { (proxy.lost() >= 3).then_some(()) }).await;
    // And a kill in the middle of it: the plan is repeated after the restart.
    collector.kill();
    let lost = proxy.lost();
    let _collector = setup.start_ready().await;
    eventually("another lost answer", || async { (proxy.lost() > lost).then_some(()) }).await;
    proxy.set(Fault::None);
    database.wait_for(&ids).await;
    let delivered = eventually("the end of the plan", || async {
        let inspected = setup.command(&["spool", "inspect"]).output().unwrap();
        let text = String::from_utf8(inspected.stdout).unwrap();
        text.contains("insert under way  none").then_some(text)
    })
    .await;
    assert_eq!(database.count("events").await, 20, "{delivered}");
}

#[tokio::test]
async fn a_schema_that_is_not_there_yet_is_waited_for() {
    let database = Database::named(&format!("t_{}", uuid::Uuid::now_v7().simple()));
    let setup = Setup::new(&database);
    let collector = setup.start().await;
    let ids = collector.send(vec![event("ann")]).await;
    collector.wait_until_not_serving().await;
    let migrated = setup
        .command(&["migrate", "--clickhouse-url", &database.url, "--clickhouse-database", &database.name])
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    assert_eq!(database.wait_for(&ids).await.len(), 1);
    collector.wait_until_serving().await;
    assert_eq!(quarantined(&setup), 0, "nothing is given up for a missing table");
}

/// What a collector of the program of 2026-11-24 left in its spool: a frame of version 1 and one of version 2, each
/// with the same twelve events.
const SPOOL_OF_BEFORE: [(&str, &[u8]); 2] = [
    ("spool.id", include_bytes!("fixtures/spool-of-before/spool.id")),
    ("00000000000000000000.seg", include_bytes!("fixtures/spool-of-before/00000000000000000000.seg")),
];

#[tokio::test]
async fn a_spool_that_an_older_version_left_is_delivered() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Row {
        n: u64,
        feature: String,
        text: String,
        scope: String,
        reason: String,
        sealed: u8,
    }
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let spool = setup.data_dir().join("spool");
    std::fs::create_dir_all(&spool).unwrap();
    for (name, bytes) in SPOOL_OF_BEFORE {
        std::fs::write(spool.join(name), bytes).unwrap();
    }
    let collector = setup.start_ready().await;
    // And with what this version writes after it, in the same spool.
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    database.wait_for_rows(25).await;
    let rows: Vec<Row> = database
        .rows(
            "SELECT count() AS n, any(feature) AS feature, any(text) AS text,
               any(toString(training_scope)) AS scope, any(toString(eligibility_reason)) AS reason,
               min(sealed_at) > '2026-11-24 00:00:00' AS sealed
             FROM events WHERE collector_id = 'c1' GROUP BY event_id ORDER BY event_id DESC",
        )
        .await;
    assert_eq!(rows.len(), 12);
    for (number, row) in (1..).zip(rows) {
        assert_eq!((row.n, row.sealed), (2, 1), "both versions have it, sealed here");
        assert_eq!(row.feature, format!("feature-{}", number % 7));
        match number % 4 {
            0 => assert_eq!(row.text, "typed ".repeat(number)),
            1 => assert_eq!(row.text, "shown"),
            2 => assert_eq!(row.text, "final"),
            _ => assert_eq!(row.text, ""),
        }
        // Two of three were eligible when they came, and nobody has said yes here.
        assert_eq!(row.scope, "none");
        assert_eq!(row.reason == "withdrawn_before_write", number % 3 != 0, "{number}: {}", row.reason);
    }
    assert_eq!(quarantined(&setup), 0);
    assert_eq!(database.count("events").await, 25);
}

/// The text lines of a command on a collector's data.
fn output(setup: &Setup, database: &Database, command: &[&str]) -> (bool, String) {
    let output = setup
        .command(command)
        .args(["--clickhouse-url", &database.url, "--clickhouse-database", &database.name])
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
    (output.status.success(), text)
}

fn feature(name: &'static str) -> EventBuilder {
    event("ann").with(|event| event.feature = name.to_owned())
}

const NO_POISON: &str = "ALTER TABLE events ADD CONSTRAINT no_poison CHECK feature != 'poison'";

#[tokio::test]
async fn of_rows_that_clickhouse_refuses_for_good_only_those_are_kept_back() {
    let database = Database::new().await;
    database.client.execute(NO_POISON).await.unwrap();
    let setup = Setup::new(&database);
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let away = setup.clone().via(&proxy.url);
    let collector = away.start().await;
    // Several frames, and in each good and bad ones, so that they come into one insert.
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let ids = collector
            .send((0..40).map(|n| feature(if n % 17 == 3 { "poison" } else { "compose" })).collect())
            .await;
        for (n, id) in ids.into_iter().enumerate() {
            if n % 17 == 3 { bad.push(id) } else { good.push(id) }
        }
    }
    proxy.set(Fault::None);
    database.wait_for(&good).await;
    let listed = eventually("the bad rows in quarantine", || async {
        let (listed, text) = output(&setup, &database, &["spool", "quarantine", "list", "--rows"]);
        (listed && text.starts_with(&format!("{} refused rows", bad.len()))).then_some(text)
    })
    .await;
    for id in &bad {
        assert!(listed.contains(&id.to_string()), "{listed}");
    }
    assert!(listed.contains("code 469") && !listed.contains("a text"), "{listed}");
    assert!(!good.iter().any(|id| listed.contains(&id.to_string())), "{listed}");
    assert_eq!(database.count("events").await, good.len() as u64, "none of the good ones came twice");
    let quarantined = format!("assent_rows_quarantined_total {}", bad.len());
    assert!(collector.metrics().await.contains(&quarantined));
    assert!(setup.log().contains("refused rows for good"));

    // They are refused again while the reason is there, and the collector may run meanwhile.
    let (replayed, text) = output(&setup, &database, &["spool", "quarantine", "replay"]);
    assert!(!replayed && text.contains("0 rows inserted, 15 refused again"), "{text}");
    database.client.execute("ALTER TABLE events DROP CONSTRAINT no_poison").await.unwrap();
    let (replayed, text) = output(&setup, &database, &["spool", "quarantine", "replay", "nothing"]);
    assert!(!replayed && text.contains("there is no nothing in quarantine"), "{text}");
    let (replayed, text) = output(&setup, &database, &["spool", "quarantine", "replay"]);
    assert!(replayed && text.contains("15 rows inserted, 0 refused again"), "{text}");
    database.wait_for(&bad).await;
    assert_eq!(database.count("events").await, (good.len() + bad.len()) as u64);
    let (_, text) = output(&setup, &database, &["spool", "quarantine", "list"]);
    assert!(text.starts_with("0 refused rows"), "{text}");
}

#[tokio::test]
async fn a_kill_while_a_refused_insert_is_taken_apart_doubles_and_loses_nothing() {
    let database = Database::new().await;
    database.client.execute(NO_POISON).await.unwrap();
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let setup = Setup::new(&database).via(&proxy.url).config("[delivery]\nmax_backoff = \"200ms\"\n");
    let collector = setup.start().await;
    let ids = collector
        .send((0..64).map(|n| feature(if n % 10 == 0 { "poison" } else { "compose" })).collect())
        .await;
    // Every part of it is inserted twice or more, and the collector dies again and again meanwhile.
    proxy.set(Fault::LoseInsertRepliesOnce);
    let mut collector = collector;
    for _ in 0..5 {
        let lost = proxy.lost();
        eventually("lost answers", || async { (proxy.lost() >= lost + 4).then_some(()) }).await;
        collector.kill();
        collector = setup.start().await;
    }
    proxy.set(Fault::None);
    eventually("the end of the plan", || async {
        output(&setup, &database, &["spool", "inspect"]).1.contains("insert under way  none").then_some(())
    })
    .await;
    assert_eq!(database.count("events").await, 57, "each good row is there once, physically");
    assert_eq!(database.count("(SELECT DISTINCT event_id FROM events)").await, 57);
    let (_, listed) = output(&setup, &database, &["spool", "quarantine", "list", "--rows"]);
    assert!(listed.starts_with("7 refused rows"), "{listed}");
    for id in ids.iter().step_by(10) {
        assert!(listed.contains(&id.to_string()), "{listed}");
    }
}

fn quarantined(setup: &Setup) -> usize {
    let files = std::fs::read_dir(setup.data_dir().join("spool/quarantine"));
    let is_reason = |file: &std::fs::DirEntry| file.path().extension().is_some_and(|it| it == "json");
    files.map_or(0, |files| files.filter(|file| is_reason(file.as_ref().unwrap())).count())
}

#[tokio::test]
async fn a_replay_of_rows_that_were_kept_together_leaves_only_those_to_blame() {
    let database = Database::new().await;
    // Everything is refused, so that the search is given up and rows stay together.
    database.client.execute("ALTER TABLE events ADD CONSTRAINT none CHECK feature = ''").await.unwrap();
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    let names = |n| if n == 777 { "poison" } else { "compose" };
    let ids = collector.send((0..1_500).map(|n| feature(names(n))).collect()).await;
    eventually("all rows in quarantine", || async {
        let (_, text) = output(&setup, &database, &["spool", "quarantine", "list"]);
        text.starts_with("1500 refused rows").then_some(())
    })
    .await;
    assert!(quarantined(&setup) < 1_000, "the search was given up");
    database.client.execute("ALTER TABLE events DROP CONSTRAINT none").await.unwrap();
    database.client.execute(NO_POISON).await.unwrap();
    let (replayed, text) = output(&setup, &database, &["spool", "quarantine", "replay"]);
    assert!(!replayed && text.contains("1499 rows inserted, 1 refused again"), "{text}");
    assert_eq!(database.count("events").await, 1_499);
    let (_, text) = output(&setup, &database, &["spool", "quarantine", "list", "--rows"]);
    assert!(
        text.starts_with("1 refused rows in 1 entries") && text.contains(&ids[777].to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn several_inserts_are_in_flight_and_may_end_in_any_order() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::HoldFirstInsert).await;
    let setup = Setup::new(&database)
        .via(&proxy.url)
        .config("[delivery]\nmax_rows = 10\nmax_in_flight = 3\nmax_age = \"10ms\"\n");
    let collector = setup.start_ready().await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.extend(collector.send((0..10).map(|_| event("ann")).collect()).await);
    }
    // One of the first three stands still; the others pass it.
    database.wait_for_rows(110).await;
    assert_eq!(proxy.held(), 1);
    eventually("inserts that wait for the one that stands still", || async {
        let inspected = output(&setup, &database, &["spool", "inspect"]).1;
        let states = |state| inspected.lines().filter(|line| line.ends_with(state)).count();
        (states(": under way") == 1 && states(": done") >= 9).then_some(())
    })
    .await;
    // After a kill the one that stood still is repeated; those that passed it are not there twice.
    collector.kill();
    proxy.release();
    let _collector = setup.start_ready().await;
    assert_eq!(database.wait_for(&ids).await.len(), 120);
    eventually("the end of the plans", || async {
        output(&setup, &database, &["spool", "inspect"]).1.contains("insert under way  none").then_some(())
    })
    .await;
    assert_eq!(database.count("events").await, 120);
}
