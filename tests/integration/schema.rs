//! Migrations: twice, at once, and against what somebody changed.

use assent::clickhouse::migrations::{MigrateError, migrate};
use uuid::Uuid;

use crate::harness::Database;

fn unmigrated() -> Database {
    Database::named(&format!("t_{}", Uuid::now_v7().simple()))
}

#[tokio::test]
async fn a_second_run_does_nothing() {
    let database = unmigrated();
    let first = migrate(&database.client).await.unwrap();
    assert!(first.applied.len() >= 5 && first.already_applied == 0);
    let second = migrate(&database.client).await.unwrap();
    assert_eq!((second.applied.len(), second.already_applied), (0, first.applied.len()));
}

#[tokio::test]
async fn many_may_migrate_at_once() {
    let database = unmigrated();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let client = database.client.clone();
        tasks.spawn(async move { migrate(&client).await.unwrap() });
    }
    tasks.join_all().await;
    assert_eq!(database.count("events").await, 0);
    let expected = migrate(&database.client).await.unwrap().already_applied as u64;
    assert_eq!(database.count("schema_migrations FINAL").await, expected);
}

#[tokio::test]
async fn a_migration_that_was_applied_in_another_form_is_refused() {
    let database = Database::new().await;
    database
        .client
        .execute("ALTER TABLE schema_migrations UPDATE checksum = 'other' WHERE name = '0002_consent' SETTINGS mutations_sync = 1")
        .await
        .unwrap();
    let error = migrate(&database.client).await.unwrap_err();
    assert!(matches!(&error, MigrateError::Changed { name, .. } if name == "0002_consent"), "{error}");
}

#[tokio::test]
async fn the_policy_in_use_is_kept_with_its_digest() {
    let database = Database::new().await;
    let setup = crate::harness::Setup::new(&database).policy("mixed-jurisdictions.toml");
    let collector = setup.start_ready().await;
    let ids = collector.send(vec![crate::harness::event("ann")]).await;
    database.wait_for(&ids).await;
    let join = "events AS e INNER JOIN policies AS p ON p.digest = e.policy_digest
        WHERE p.version = 'mixed-2026-01' AND hex(SHA256(p.body)) = upper(p.digest)";
    crate::harness::eventually("the policy", || async { (database.count(join).await == 1).then_some(()) })
        .await;
    // A restart does not record it again.
    drop(collector);
    let _again = setup.start_ready().await;
    assert_eq!(database.count("policies").await, 1);
}
