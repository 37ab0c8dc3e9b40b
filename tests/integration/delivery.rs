//! From the spool to ClickHouse under faults.

use crate::harness::{Database, Fault, Proxy, Setup, event, eventually};

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
    assert!(!setup.data_dir().join("spool/quarantine").exists(), "nothing is given up for a missing table");
}

#[tokio::test]
async fn rows_that_clickhouse_refuses_for_good_are_kept_and_do_not_hold_up_the_rest() {
    let database = Database::new().await;
    let constraint = "ALTER TABLE events ADD CONSTRAINT no_poison CHECK feature != 'poison'";
    database.client.execute(constraint).await.unwrap();
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    collector.send(vec![event("ann").with(|event| event.feature = "poison".to_owned())]).await;
    let good = collector.send(vec![event("ben")]).await;
    assert_eq!(database.wait_for(&good).await.len(), 1);
    let quarantine = setup.data_dir().join("spool/quarantine");
    let files = eventually("the quarantine", || async {
        let files: Vec<_> = std::fs::read_dir(&quarantine).ok()?.map(|entry| entry.unwrap().path()).collect();
        (files.len() >= 2).then_some(files)
    })
    .await;
    let reason = files.iter().find(|file| file.extension().is_some_and(|it| it == "json")).unwrap();
    let reason: serde_json::Value = serde_json::from_slice(&std::fs::read(reason).unwrap()).unwrap();
    assert_eq!(reason["clickhouse_code"], 469);
    assert!(collector.metrics().await.contains("assent_rows_quarantined_total 1"));
    assert!(setup.log().contains("refused rows for good"));
    // What is kept can be inserted once the reason is gone.
    let rows = files.iter().find(|file| file.extension().is_some_and(|it| it == "native")).unwrap();
    database.client.execute("ALTER TABLE events DROP CONSTRAINT no_poison").await.unwrap();
    let body = std::fs::read(rows).unwrap().into();
    let columns = reason["columns"].as_str().unwrap();
    database.client.insert_native("events", columns, body, "replayed", &[]).await.unwrap();
    assert_eq!(database.count("events WHERE feature = 'poison'").await, 1);
}
