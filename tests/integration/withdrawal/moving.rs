//! Moving: what goes where, and what is left behind by a kill.

use assent::{ingress::proto::ConsentState, privacy::withdrawal::Mode};

use super::*;
use crate::harness::{Setup, event};

#[tokio::test]
async fn a_denial_takes_rows_out_of_the_views_at_once_and_then_out_of_the_partitions() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    for user in ["leaves", "stays"] {
        grant_both(&collector, user).await;
    }
    let mut ids = collector.send(vec![event("leaves"), event("leaves"), event("stays")]).await;
    say(&collector, "first", FIRST, ConsentState::Granted).await;
    ids.extend(collector.send(vec![event("first"), event("silent")]).await);
    database.wait_for(&ids).await;
    assert_eq!(database.count("training_first_party").await, 4);
    for user in ["leaves", "first"] {
        say(&collector, user, FIRST, ConsentState::Denied).await;
    }
    // At once, and nothing has moved.
    assert_eq!(database.count("training_first_party").await, 1);
    assert_eq!(database.count("training_affiliates").await, 1);
    wait_for_parts(&database, &[("affiliates", 3), ("first_party", 1), ("none", 1)]).await;

    let started = Setup::new(&database).config(AT_ONCE);
    drop(collector);
    // Another key would be another deployment, so that the collector does not start to serve; what is moved is
    // moved by whoever it is.
    let other = started.start().await;
    wait_for_parts(&database, &[("affiliates", 1), ("none", 4)]).await;
    let rows = database.wait_for(&ids).await;
    let stamps: Vec<_> = rows.iter().map(|row| row.stamp()).collect();
    assert_eq!(
        stamps,
        [
            ("none", "withdrawn"),
            ("none", "withdrawn"),
            ("affiliates", "granted"),
            ("none", "withdrawn"),
            ("none", "unset_opt_in")
        ]
    );
    assert_eq!(database.count("typed_texts").await, 5);
    // A copy says where it comes from, and keeps what the row was stamped with.
    let moved = "events WHERE moved_from = 'affiliates' AND consent_state = 'granted' AND consent_version > 0
        AND moved_at > received_at AND sealed_at > '2020-01-01' AND text = 'a text'";
    assert_eq!(database.count(moved).await, 2);
    assert_eq!(database.count("events WHERE moved_from = 'none' AND moved_at = toDateTime64(0, 6)").await, 2);
    eventually("metrics of what was done", || async {
        let moved = other.metric("assent_withdrawal_rows_total{outcome=\"moved\"}").await;
        let due = other.metric("assent_withdrawal_rows_due").await;
        (moved == Some(3.0) && due == Some(0.0)).then_some(())
    })
    .await;
    let passes = "withdrawal_passes FINAL WHERE state = 'finished' AND rows_due = 0";
    eventually("the record of the pass", || async {
        let recorded = database.count(&format!("{passes} AND rows_moved = 3 AND mutations > 0")).await;
        (recorded == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_denial_of_affiliates_leaves_first_party_its_rows() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    grant_both(&collector, "ann").await;
    let ids = collector.send(vec![event("ann"), event("ann").text("another")]).await;
    database.wait_for(&ids).await;
    say(&collector, "ann", AFFILIATES, ConsentState::Denied).await;
    let before = shows(&database, "training_first_party").await;
    assert_eq!((before.0, database.count("training_affiliates").await), (2, 0));

    let reconciler = reconciler(&database, Mode::Move);
    let due = reconciler.look().await.unwrap();
    assert_eq!((due.rows, due.subjects), (2, 1));
    reconciler.copy(&due.partitions).await.unwrap();
    // Both are there, and count once.
    assert_eq!(on_disk(&database).await, [("affiliates".to_owned(), 2), ("first_party".to_owned(), 2)]);
    assert_eq!(shows(&database, "training_first_party").await, before);
    assert_eq!(reconciler.remove(&due.partitions).await.unwrap().unwrap().rows_moved, 2);
    wait_for_parts(&database, &[("first_party", 2)]).await;
    assert_eq!(shows(&database, "training_first_party").await, before);
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("first_party", "granted"));

    // And a denial of first party takes them on from there.
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    assert_eq!(database.count("training_first_party").await, 0);
    let due = reconciler.look().await.unwrap();
    reconciler.copy(&due.partitions).await.unwrap();
    reconciler.remove(&due.partitions).await.unwrap().unwrap();
    wait_for_parts(&database, &[("none", 2)]).await;
    assert_eq!(database.wait_for(&ids).await[1].stamp(), ("none", "withdrawn"));
    assert_eq!(reconciler.look().await.unwrap().rows, 0);
}

/// With merges stopped a mutation is taken and not carried out: the state that a kill leaves.
#[tokio::test]
async fn killed_between_copy_and_removal_every_view_shows_every_row_once() {
    let database = Database::new().await;
    let one = Setup::new(&database).config(NEVER);
    let collector = one.start_ready().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let user = format!("user-{n}");
        grant_both(&collector, &user).await;
        ids.extend(collector.send(vec![event(&user).text(&user), event(&user).text("twice")]).await);
    }
    database.wait_for(&ids).await;
    for (user, scope) in [("user-0", FIRST), ("user-1", AFFILIATES), ("user-2", FIRST)] {
        say(&collector, user, scope, ConsentState::Denied).await;
    }
    let views = ["typed_texts", "training_first_party", "training_affiliates"];
    let mut before = Vec::new();
    for view in views {
        before.push(shows(&database, view).await);
    }
    assert_eq!(before.iter().map(|it| it.0).collect::<Vec<_>>(), [12, 8, 6]);
    collector.kill();

    database.client.execute("SYSTEM STOP MERGES events").await.unwrap();
    let moving = one.clone().config(AT_ONCE);
    let collector = moving.start_ready().await;
    eventually("a mutation", || async {
        let under_way =
            "system.mutations WHERE database = currentDatabase() AND table = 'events' AND NOT is_done";
        (database.count(under_way).await == 1).then_some(())
    })
    .await;
    collector.kill();
    let copies = database.count("events WHERE moved_from != 'none'").await;
    assert!(copies > 0, "nothing was copied");
    assert_eq!(database.count("events").await, 12 + copies);
    for (view, before) in views.iter().zip(&before) {
        assert_eq!(shows(&database, view).await, *before, "{view} in between");
    }
    // Started again with the mutation still under way, it adds none, and copies nothing twice.
    let collector = moving.start_ready().await;
    eventually("a pass that waits", || async {
        let waiting = "withdrawal_passes FINAL WHERE state = 'running'";
        (database.count(waiting).await == 2).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(database.count("events").await, 12 + copies);
    let mutations = "system.mutations WHERE database = currentDatabase() AND table = 'events'";
    let asked = database.count(&format!("{mutations} AND command LIKE '%DELETE%'")).await;
    assert_eq!(asked, 1);

    database.client.execute("SYSTEM START MERGES events").await.unwrap();
    wait_for_parts(&database, &[("affiliates", 6), ("first_party", 2), ("none", 4)]).await;
    for (view, before) in views.iter().zip(&before) {
        assert_eq!(shows(&database, view).await, *before, "{view} afterwards");
    }
    drop(collector);
}

#[tokio::test]
async fn only_what_has_a_copy_is_removed_whatever_comes_in_between() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    grant_both(&collector, "ann").await;
    let ids = collector.send(vec![event("ann"), event("ann").text("late")]).await;
    database.wait_for(&ids).await;
    // One of them comes late, as one does that was sealed before the denial and inserted after it.
    let late = format!("event_id = '{}'", ids[1]);
    database
        .client
        .execute("CREATE TABLE kept AS events ENGINE = MergeTree ORDER BY event_id")
        .await
        .unwrap();
    database.client.execute(&format!("INSERT INTO kept SELECT * FROM events WHERE {late}")).await.unwrap();
    let delete = format!("ALTER TABLE events DELETE WHERE {late} SETTINGS mutations_sync = 1");
    database.client.execute(&delete).await.unwrap();
    say(&collector, "ann", FIRST, ConsentState::Denied).await;

    let reconciler = reconciler(&database, Mode::Move);
    let due = reconciler.look().await.unwrap();
    assert_eq!(due.rows, 1);
    // Nothing has a copy: nothing is removed.
    assert!(reconciler.remove(&due.partitions).await.unwrap().is_none());
    reconciler.copy(&due.partitions).await.unwrap();
    database
        .client
        .execute("INSERT INTO events SELECT * FROM kept SETTINGS insert_deduplicate = 0")
        .await
        .unwrap();
    assert_eq!(database.count("typed_texts").await, 2);
    reconciler.remove(&due.partitions).await.unwrap().unwrap();
    reconciler.wait_for_mutations().await.unwrap();
    assert_eq!(database.count("typed_texts").await, 2, "the late row was lost");
    // And at once hidden, and moved by the next pass.
    assert_eq!(database.count("training_first_party").await, 0);
    let due = reconciler.look().await.unwrap();
    assert_eq!(due.rows, 1);
    reconciler.copy(&due.partitions).await.unwrap();
    reconciler.remove(&due.partitions).await.unwrap().unwrap();
    wait_for_parts(&database, &[("none", 2)]).await;
    assert_eq!(database.count("typed_texts WHERE eligibility_reason = 'withdrawn'").await, 2);
}

#[tokio::test]
async fn two_at_once_and_retries_of_clients_move_every_event_once() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    grant_both(&collector, "ann").await;
    let retried = event("ann").text("retried");
    for _ in 0..3 {
        collector.send(vec![retried.clone()]).await;
    }
    let ids = collector.send((0..20).map(|n| event("ann").text(&format!("text {n}"))).collect()).await;
    database.wait_for(&ids).await;
    database.wait_for_rows(23).await;
    say(&collector, "ann", FIRST, ConsentState::Denied).await;

    let (a, b) = (reconciler(&database, Mode::Move), reconciler(&database, Mode::Move));
    let due = a.look().await.unwrap();
    assert_eq!(due.rows, 23);
    let (one, other) = tokio::join!(a.copy(&due.partitions), b.copy(&due.partitions));
    one.unwrap();
    other.unwrap();
    assert_eq!(database.count("typed_texts").await, 21);
    let (one, other) = tokio::join!(a.remove(&due.partitions), b.remove(&due.partitions));
    one.unwrap();
    other.unwrap();
    a.wait_for_mutations().await.unwrap();
    assert_eq!(database.count("typed_texts").await, 21);
    assert_eq!(database.count("events WHERE training_scope != 'none'").await, 0);
    database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
    wait_for_parts(&database, &[("none", 21)]).await;
    // A copy of the client that comes once more, after all of that, changes nothing.
    collector.send(vec![retried]).await;
    database.wait_for_rows(22).await;
    assert_eq!(database.count("typed_texts").await, 21);
}

#[tokio::test]
async fn what_is_said_while_rows_are_moved_counts() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    grant_both(&collector, "ann").await;
    let first = collector.send(vec![event("ann").text("before")]).await;
    database.wait_for(&first).await;
    say(&collector, "ann", AFFILIATES, ConsentState::Denied).await;
    let reconciler = reconciler(&database, Mode::Move);
    let due = reconciler.look().await.unwrap();
    reconciler.copy(&due.partitions).await.unwrap();
    // A denial of the rest, and a new yes to everything with a new row, between copy and removal.
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    assert_eq!(database.count("training_first_party").await, 0);
    grant_both(&collector, "ann").await;
    let second = collector.send(vec![event("ann").text("after")]).await;
    database.wait_for(&second).await;
    reconciler.remove(&due.partitions).await.unwrap().unwrap();
    reconciler.wait_for_mutations().await.unwrap();
    assert_eq!(database.count("training_first_party").await, 1);
    let due = reconciler.look().await.unwrap();
    assert_eq!(due.rows, 1, "the copy for first party is to move on");
    reconciler.copy(&due.partitions).await.unwrap();
    reconciler.remove(&due.partitions).await.unwrap().unwrap();
    reconciler.wait_for_mutations().await.unwrap();
    // The yes brings nothing back, and what was written under it stays where it is.
    assert_eq!(database.wait_for(&first).await[0].stamp(), ("none", "withdrawn"));
    assert_eq!(database.wait_for(&second).await[0].stamp(), ("affiliates", "granted"));
    for view in ["training_first_party", "training_affiliates"] {
        assert_eq!(database.count(&format!("{view} WHERE text = 'after'")).await, 1, "{view}");
        assert_eq!(database.count(view).await, 1, "{view}");
    }
    assert_eq!(reconciler.look().await.unwrap().rows, 0);
}

#[tokio::test]
async fn nothing_is_moved_of_somebody_who_is_being_erased() {
    let database = Database::new().await;
    let collector = Setup::new(&database).config(NEVER).start_ready().await;
    say(&collector, "ann", FIRST, ConsentState::Granted).await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    say(&collector, "ann", FIRST, ConsentState::Denied).await;
    let reconciler = reconciler(&database, Mode::Move);
    let mut due = reconciler.look().await.unwrap();
    assert_eq!(due.rows, 1);
    let erasure = |state: &str| {
        format!(
            "INSERT INTO erasures (erasure_id, tenant, state, requested_at)
             SELECT toUUID('01a00000-0000-7000-8000-000000000000'), tenant, '{state}', now64(6)
             FROM events LIMIT 1"
        )
    };
    let subject = "INSERT INTO erasure_subjects (erasure_id, tenant, subject_id, below_version)
                   SELECT toUUID('01a00000-0000-7000-8000-000000000000'), tenant, subject_id, 0 FROM events LIMIT 1";
    database.client.execute(subject).await.unwrap();
    assert_eq!(reconciler.look().await.unwrap().rows, 0, "whom an erasure is about is there before it is");
    database.client.execute(&erasure("running")).await.unwrap();
    assert_eq!(reconciler.look().await.unwrap().rows, 0);
    reconciler.copy(&due.partitions).await.unwrap();
    assert_eq!(database.count("events").await, 1, "a copy of what is being erased");
    database.client.execute(&erasure("completed")).await.unwrap();
    due = reconciler.look().await.unwrap();
    assert_eq!(due.rows, 1, "who came back after an erasure is withdrawn as others are");
}
