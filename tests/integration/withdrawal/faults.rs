//! What a pass meets besides kills: answers that get lost, mutations that fail, other collectors that are at it.

use assent::ingress::proto::ConsentState;

use super::*;
use crate::harness::{Fault, Proxy, Setup, event};

/// A database with a row that is due, and the collector that took it.
async fn one_due() -> (Database, Setup, Collector) {
    let database = Database::new().await;
    let setup = Setup::new(&database).config(NEVER);
    let collector = setup.start_ready().await;
    say(&collector, "ann", FIRST, ConsentState::Granted).await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    (database, setup, collector)
}

#[tokio::test]
async fn a_copy_whose_answer_is_lost_is_not_made_again() {
    let (database, setup, collector) = one_due().await;
    let proxy = Proxy::start(&database.url, Fault::LoseInsertReplies).await;
    let moving = setup.beside().via(&proxy.url).config(AT_ONCE).start().await;
    eventually("copies that are tried again", || async {
        let failures = moving.metric("assent_withdrawal_failures_total").await;
        (failures >= Some(3.0) && proxy.lost() >= 3).then_some(())
    })
    .await;
    assert_eq!(database.count("events WHERE moved_from = 'first_party'").await, 1);
    assert_eq!(database.count("events").await, 2);
    assert_eq!(database.count("typed_texts").await, 1);
    proxy.set(Fault::None);
    wait_for_parts(&database, &[("none", 1)]).await;
    assert_eq!(database.count("typed_texts").await, 1);
    drop(collector);
}

#[tokio::test]
async fn a_mutation_that_fails_is_waited_for_and_said() {
    let (database, setup, collector) = one_due().await;
    let failing = "ALTER TABLE events DELETE WHERE throwIf(rating = 0, 'no') = 1
        SETTINGS mutations_sync = 0, validate_mutation_query = 0";
    database.client.execute(failing).await.unwrap();
    let setup = setup.beside().config(AT_ONCE);
    let moving = setup.start().await;
    eventually("passes that fail", || async {
        (moving.metric("assent_withdrawal_failures_total").await >= Some(2.0)).then_some(())
    })
    .await;
    assert!(setup.log().contains("latest_fail_reason"), "{}", setup.log());
    // No more mutations on top of it, and nothing is shown.
    let mutations =
        "system.mutations WHERE database = currentDatabase() AND table = 'events' AND NOT is_done";
    assert_eq!(database.count(mutations).await, 1);
    assert_eq!(database.count("training_first_party").await, 0);
    let kill = format!("KILL MUTATION WHERE database = '{}' AND table = 'events'", database.name);
    database.client.execute(&kill).await.unwrap();
    wait_for_parts(&database, &[("none", 1)]).await;
    drop(collector);
}

#[tokio::test]
async fn one_collector_works_at_a_time_until_nothing_is_heard_of_it() {
    let (database, setup, collector) = one_due().await;
    // Those that the collector made at its start are forgotten, so that only the other one's counts.
    database.client.execute("TRUNCATE TABLE withdrawal_passes").await.unwrap();
    let claim = |updated: &str| {
        format!(
            "INSERT INTO withdrawal_passes (pass_id, collector_id, mode, state, updated_at, rows_due, subjects_due, oldest_at)
             VALUES ('01a00000-0000-7000-8000-000000000001', 'another', 'move', 'running', {updated}, 5, 2,
                     now64(6) - INTERVAL 1 HOUR)"
        )
    };
    database.client.execute(&claim("now64(6) - INTERVAL 50 SECOND")).await.unwrap();
    let moving = setup.beside().config(AT_ONCE).start().await;
    // It tells what the other one found.
    eventually("what the other one found", || async {
        let due = moving.metric("assent_withdrawal_rows_due").await;
        let oldest = moving.metric("assent_withdrawal_oldest_seconds").await;
        (due == Some(5.0) && oldest > Some(3_600.0)).then_some(())
    })
    .await;
    assert_eq!(on_disk(&database).await, [("first_party".to_owned(), 1)]);
    assert_eq!(database.count("withdrawal_passes").await, 1);
    // Ten seconds later it has been silent for a minute.
    wait_for_parts(&database, &[("none", 1)]).await;
    drop(collector);
}
