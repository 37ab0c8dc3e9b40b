//! What else may become of withdrawn rows, and who may do it.

use assent::{ingress::proto::ConsentState, privacy::withdrawal::Mode};

use super::*;
use crate::harness::{Fault, Proxy, Setup, event};

#[tokio::test]
async fn a_purge_removes_what_may_train_nobody_and_moves_the_rest() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    for user in ["all", "affiliates", "stays"] {
        grant_both(&collector, user).await;
    }
    say(&collector, "first", FIRST, ConsentState::Granted).await;
    let users = ["all", "affiliates", "stays", "first", "silent"];
    // A user's own id would be redacted.
    let ids = collector.send(users.map(|user| event(user).text(&format!("x{user}"))).to_vec()).await;
    database.wait_for(&ids).await;
    say(&collector, "all", FIRST, ConsentState::Denied).await;
    say(&collector, "affiliates", AFFILIATES, ConsentState::Denied).await;
    say(&collector, "first", FIRST, ConsentState::Unset).await;
    let before = shows(&database, "training_first_party").await;
    assert_eq!(before.0, 2);
    let reconciler = reconciler(&database, Mode::Purge);
    let due = reconciler.look().await.unwrap();
    assert_eq!((due.rows, due.subjects), (3, 3));
    reconciler.copy(&due.partitions).await.unwrap();
    let done = reconciler.remove(&due.partitions).await.unwrap().unwrap();
    assert_eq!((done.rows_moved, done.rows_purged), (1, 2));
    wait_for_parts(&database, &[("affiliates", 1), ("first_party", 1), ("none", 1)]).await;
    assert_eq!(shows(&database, "training_first_party").await, before);
    assert_eq!(database.count("typed_texts WHERE text IN ('xaffiliates', 'xstays', 'xsilent')").await, 3);
    assert_eq!(database.count("typed_texts").await, 3);
    assert_eq!(reconciler.look().await.unwrap().rows, 0);
}

/// The retry of a client under a new yes is another row of the same key.
#[tokio::test]
async fn a_purge_leaves_a_retry_that_came_under_a_new_yes() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    // Both are to be there when the purge comes.
    database.client.execute("SYSTEM STOP MERGES events").await.unwrap();
    let retried = event("ann");
    for (state, rows) in [(ConsentState::Granted, 1), (ConsentState::Denied, 1), (ConsentState::Granted, 2)] {
        say(&collector, "ann", FIRST, state).await;
        if state == ConsentState::Granted {
            collector.send(vec![retried.clone()]).await;
        }
        database.wait_for_rows(rows).await;
    }
    let reconciler = reconciler(&database, Mode::Purge);
    let due = reconciler.look().await.unwrap();
    assert_eq!(due.rows, 1);
    reconciler.copy(&due.partitions).await.unwrap();
    reconciler.remove(&due.partitions).await.unwrap().unwrap();
    database.client.execute("SYSTEM START MERGES events").await.unwrap();
    reconciler.wait_for_mutations().await.unwrap();
    assert_eq!(database.count("events").await, 1);
    assert_eq!(database.count("training_first_party").await, 1);
}

#[tokio::test]
async fn future_only_leaves_rows_where_they_are_and_hides_them_all_the_same() {
    let database = Database::new().await;
    let future_only = "[withdrawal]\ninterval = \"100ms\"\ndeadline = \"1s\"\nmode = \"future_only\"\n";
    let collector = Setup::new(&database).config(future_only).start_ready().await;
    say(&collector, "ann", FIRST, ConsentState::Granted).await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    let later = collector.send(vec![event("ann")]).await;
    assert_eq!(database.wait_for(&later).await[0].stamp(), ("none", "denied"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(on_disk(&database).await, [("first_party".to_owned(), 1), ("none".to_owned(), 1)]);
    assert_eq!(database.count("withdrawal_passes").await, 0);
    assert_eq!(database.count("training_first_party").await, 0);
}

/// Received under a yes, and sealed after a no: it never gets into an eligible partition, so that there is nothing to
/// be moved.
#[tokio::test]
async fn what_is_sealed_after_a_no_never_lies_in_an_eligible_partition() {
    let database = Database::new().await;
    let late = "[withdrawal]\ninterval = \"12h\"\n[delivery]\nmax_age = \"3s\"\n";
    let collector = Setup::new(&database).config(late).start_ready().await;
    say(&collector, "ann", FIRST, ConsentState::Granted).await;
    let ids = collector.send(vec![event("ann"), event("ann")]).await;
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    for row in database.wait_for(&ids).await {
        assert_eq!(row.stamp(), ("none", "withdrawn_before_write"));
    }
    assert_eq!(reconciler(&database, Mode::Move).look().await.unwrap().rows, 0);
}

/// Sealed before a no, and inserted after it, by an insert that took long.
#[tokio::test]
async fn what_is_inserted_after_a_no_is_hidden_at_once_and_moved() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let collector = Setup::new(&database).via(&proxy.url).config(AT_ONCE).start_ready().await;
    say(&collector, "ann", FIRST, ConsentState::Granted).await;
    proxy.set(Fault::HoldFirstInsert);
    let ids = collector.send(vec![event("ann")]).await;
    eventually("an insert under way", || async { (proxy.held() == 1).then_some(()) }).await;
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    // Passes have gone by that found nothing.
    tokio::time::sleep(Duration::from_secs(1)).await;
    database.client.execute("SYSTEM STOP MERGES events").await.unwrap();
    proxy.release();
    assert_eq!(database.wait_for(&ids).await.len(), 1);
    assert_eq!(database.count("training_first_party").await, 0);
    eventually("a copy of it", || async {
        (database.wait_for(&ids).await[0].stamp() == ("none", "withdrawn")).then_some(())
    })
    .await;
    assert_eq!(database.count("events WHERE training_scope = 'first_party'").await, 1);
    database.client.execute("SYSTEM START MERGES events").await.unwrap();
    wait_for_parts(&database, &[("none", 1)]).await;
}

#[tokio::test]
async fn what_is_not_moved_in_time_is_said_and_measured() {
    let database = Database::new().await;
    let one = Setup::new(&database).config(AT_ONCE);
    let collector = one.start_ready().await;
    say(&collector, "ann", FIRST, ConsentState::Granted).await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    database.client.execute("SYSTEM STOP MERGES events").await.unwrap();
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    eventually("the row that is due", || async {
        (collector.metric("assent_withdrawal_rows_due").await == Some(1.0)).then_some(())
    })
    .await;
    // The collector that works waits for the mutation; another one of the deployment tells.
    let other = one.beside().start_ready().await;
    eventually("the deadline that was missed", || async {
        let late =
            other.metric("assent_withdrawal_oldest_seconds").await.is_some_and(|seconds| seconds > 1.0);
        (late && other.metric("assent_withdrawal_subjects_due").await == Some(1.0)).then_some(())
    })
    .await;
    // It is not a reason to be taken out of service.
    other.wait_until_serving().await;
    database.client.execute("SYSTEM START MERGES events").await.unwrap();
    wait_for_parts(&database, &[("none", 1)]).await;
    eventually("that all is well again", || async {
        (other.metric("assent_withdrawal_oldest_seconds").await == Some(0.0)).then_some(())
    })
    .await;
}
