//! A client's retry counts once, whatever the collector and the consent at the retry.

use assent::ingress::proto::{ConsentScope, ConsentState};

use crate::harness::{Database, Setup, change, event};

const VIEWS: [&str; 3] = ["events FINAL", "typed_texts", "training_first_party"];

#[tokio::test]
async fn the_same_event_counts_once_on_one_collector_and_on_two() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    let b = one.beside().start_ready().await;
    a.client()
        .await
        .set_consent(change("ann", ConsentScope::FirstParty, ConsentState::Granted))
        .await
        .unwrap();
    // Both have heard of it when an event of each is eligible; until then a retry could be narrower.
    for collector in [&a, &b] {
        crate::harness::eventually("an eligible event", || async {
            let ids =
                collector.send(vec![event("ann").with(|event| event.session_id = "warm".to_owned())]).await;
            (database.wait_for(&ids).await[0].scope == "first_party").then_some(())
        })
        .await;
    }
    let before = database.count("events").await;
    let retried = event("ann").text("once");
    for collector in [&a, &a, &b] {
        collector.send(vec![retried.clone(), retried.clone()]).await;
    }
    database.wait_for_rows(before + 6).await;
    for view in VIEWS {
        let once = format!("(SELECT * FROM {view}) WHERE text = 'once'");
        assert_eq!(database.count(&once).await, 1, "{view}");
    }
    // Merges keep it so.
    database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
    for view in VIEWS.into_iter().chain(["events"]) {
        let once = format!("(SELECT * FROM {view}) WHERE text = 'once'");
        assert_eq!(database.count(&once).await, 1, "{view}");
    }
}

#[tokio::test]
async fn of_a_retry_with_another_consent_the_narrower_scope_wins() {
    use ConsentState::{Denied, Granted};
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let client = collector.client().await;
    let first = ConsentScope::FirstParty;
    let mut sent = 0;
    for (user, states) in [("narrower", [Granted, Denied]), ("wider", [Denied, Granted])] {
        let retried = event(user).text(user);
        for state in states {
            client.set_consent(change(user, first, state)).await.unwrap();
            collector.send(vec![retried.clone()]).await;
            sent += 1;
            // Sealed, so that the next change comes too late for this copy.
            database.wait_for_rows(sent).await;
        }
    }
    // The two copies lie in two partitions, which no merge brings together: the view must.
    assert_eq!(database.count("events WHERE training_scope = 'first_party'").await, 2);
    database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
    assert_eq!(database.count("events").await, 4);
    assert_eq!(database.count("events FINAL").await, 2);
    assert_eq!(database.count("typed_texts WHERE training_scope = 'none'").await, 2);
    assert_eq!(database.count("training_first_party").await, 0);
    // A filter on the partition must not hide the narrower copy either.
    assert_eq!(database.count("events FINAL WHERE training_scope = 'first_party'").await, 0);
    assert_eq!(database.count("typed_texts WHERE training_scope = 'first_party'").await, 0);
}

#[tokio::test]
async fn events_of_two_tenants_may_have_one_id() {
    let database = Database::new().await;
    let tenant = |name: &str, key: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[tenants]]\nname = \"{name}\"\napi_key_sha256 = [\"{hex}\"]\n")
    };
    let config = tenant("a", "key-a") + &tenant("b", "key-b");
    let collector = Setup::new(&database).config(&config).start_ready().await;
    let same = event("ann").build();
    for key in ["key-a", "key-b"] {
        let key = key.into();
        let client = assent::ingress::client::Client::connect(&collector.grpc, Some(&key)).await.unwrap();
        assert_eq!(client.collect(vec![same.clone()]).await.unwrap().accepted, 1);
    }
    database.wait_for_rows(2).await;
    assert_eq!(database.count("events FINAL").await, 2);
    assert_eq!(database.count("(SELECT DISTINCT subject_id FROM events)").await, 2);
    let unknown =
        assent::ingress::client::Client::connect(&collector.grpc, Some(&"key-c".into())).await.unwrap();
    for client in [unknown, collector.client().await] {
        let error = client.collect(vec![same.clone()]).await.unwrap_err();
        let assent::ingress::client::ClientError::Status(status) = error else { panic!("{error}") };
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
    }
}
