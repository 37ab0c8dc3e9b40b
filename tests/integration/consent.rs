//! Opt-outs and opt-ins across collectors, and what happens when the ledger is away.

use assent::ingress::{
    client::ClientError,
    proto::{ConsentScope, ConsentState, GetConsentRequest, ListConsentHistoryRequest},
};

use crate::harness::{Database, Fault, Proxy, Setup, change, event, eventually};

const FIRST: ConsentScope = ConsentScope::FirstParty;

#[tokio::test]
async fn an_acknowledged_opt_out_holds_on_every_collector_at_once() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    let b = one.beside().start_ready().await;
    let client = a.client().await;
    let mut before = Vec::new();
    let mut after = Vec::new();
    for n in 0..40 {
        let user = format!("user-{n}");
        client.set_consent(change(&user, FIRST, ConsentState::Granted)).await.unwrap();
        before.extend(a.send(vec![event(&user)]).await);
        client.set_consent(change(&user, FIRST, ConsentState::Denied)).await.unwrap();
        // The other collector has certainly not heard of it yet.
        after.extend(b.send(vec![event(&user)]).await);
    }
    for row in database.wait_for(&after).await {
        assert_eq!(row.scope, "none", "received after the opt-out was acknowledged: {row:?}");
    }
    database.wait_for(&before).await;
    // What was written before is out of the views, at once.
    assert_eq!(database.count("training_first_party").await, 0);
}

#[tokio::test]
async fn an_opt_in_makes_nothing_eligible_that_came_before_it() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    let b = one.beside().start_ready().await;
    let client = a.client().await;
    let mut before = Vec::new();
    for n in 0..40 {
        let user = format!("user-{n}");
        before.extend(b.send(vec![event(&user)]).await);
        client.set_consent(change(&user, FIRST, ConsentState::Granted)).await.unwrap();
    }
    for row in database.wait_for(&before).await {
        assert_eq!(row.stamp(), ("none", "unset_opt_in"));
    }
    // And what comes after it becomes eligible, once the other collector has heard of it.
    eventually("an eligible event", || async {
        let ids = b.send(vec![event("user-0")]).await;
        let rows = database.wait_for(&ids).await;
        (rows[0].stamp() == ("first_party", "granted")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_is_not_undone_by_a_later_yes() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let client = collector.client().await;
    client.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    let first = collector.send(vec![event("ann")]).await;
    database.wait_for(&first).await;
    assert_eq!(database.count("training_first_party").await, 1);
    client.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap();
    assert_eq!(database.count("training_first_party").await, 0);
    client.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    assert_eq!(database.count("training_first_party").await, 0);
    let second = collector.send(vec![event("ann")]).await;
    database.wait_for(&second).await;
    let eligible = format!("training_first_party WHERE event_id = '{}'", second[0]);
    assert_eq!(database.count(&eligible).await, 1);
    assert_eq!(database.count("training_first_party").await, 1);
}

#[tokio::test]
async fn affiliates_can_be_taken_back_alone() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let client = collector.client().await;
    for scope in [FIRST, ConsentScope::Affiliates] {
        client.set_consent(change("ann", scope, ConsentState::Granted)).await.unwrap();
    }
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    assert_eq!(database.count("training_affiliates").await, 1);
    client.set_consent(change("ann", ConsentScope::Affiliates, ConsentState::Denied)).await.unwrap();
    assert_eq!(database.count("training_affiliates").await, 0);
    assert_eq!(database.count("training_first_party").await, 1);
}

#[tokio::test]
async fn a_denial_holds_here_though_the_ledger_is_away() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    // The view must not go stale in between, or everything would be unknown anyway.
    let setup = Setup::new(&database).via(&proxy.url).config("[consent]\nmax_staleness = \"10m\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    client.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    client.set_consent(change("ben", FIRST, ConsentState::Granted)).await.unwrap();

    proxy.set(Fault::Refuse);
    for state in [ConsentState::Denied, ConsentState::Granted] {
        let user = if state == ConsentState::Denied { "ann" } else { "cleo" };
        let error = client.set_consent(change(user, FIRST, state)).await.unwrap_err();
        let ClientError::Status(status) = error else { panic!("{error}") };
        assert_eq!(status.code(), tonic::Code::Unavailable);
    }
    let ids = collector.send(vec![event("ann"), event("ben"), event("cleo")]).await;
    proxy.set(Fault::None);
    let rows = database.wait_for(&ids).await;
    let stamps: Vec<_> = rows.iter().map(|row| row.stamp()).collect();
    assert_eq!(stamps, [("none", "denied"), ("first_party", "granted"), ("none", "unset_opt_in")]);
    // A later yes is above the denial that never reached the ledger.
    client.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    let ids = collector.send(vec![event("ann")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("first_party", "granted"));
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_in_the_ledger_once() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::LoseLedgerReplies).await;
    let setup = Setup::new(&database)
        .via(&proxy.url)
        .config("[consent]\nledger_timeout = \"2s\"\nmax_staleness = \"10m\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    let answer = client.set_consent(change("ann", FIRST, ConsentState::Granted)).await;
    let Err(ClientError::Status(status)) = answer else { panic!("its reply was lost") };
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(proxy.lost() > 1, "the same was tried again");
    assert_eq!(database.count("consent_changes").await, 1);
    proxy.set(Fault::None);
    client.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap();
    assert_eq!(database.count("consent_changes").await, 2);
}

#[tokio::test]
async fn a_stale_view_makes_nothing_eligible() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    // Long enough that a busy machine alone never makes the view stale.
    let setup = Setup::new(&database).via(&proxy.url).config("[consent]\nmax_staleness = \"2s\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    client.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    proxy.set(Fault::Refuse);
    collector.wait_until_not_serving().await;
    let ids = collector.send(vec![event("ann")]).await;
    proxy.set(Fault::None);
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("none", "consent_unknown"));
    collector.wait_until_serving().await;
    let ids = collector.send(vec![event("ann")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("first_party", "granted"));
}

#[tokio::test]
async fn a_collector_with_another_key_makes_nothing_eligible() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    a.client().await.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    // Not `beside`: a key of its own.
    let stranger = Setup::new(&database).policy("mixed-jurisdictions.toml");
    let b = stranger.start().await;
    let ids = eventually("the view of consent", || async {
        let ids = b.send(vec![event("ben").jurisdiction("US")]).await;
        stranger.log().contains("pseudonym key").then_some(ids)
    })
    .await;
    let more = b.send(vec![event("ben").jurisdiction("US")]).await;
    for row in database.wait_for(&[ids, more].concat()).await {
        assert_eq!(row.scope, "none", "{row:?}");
    }
    b.wait_until_not_serving().await;
}

#[tokio::test]
async fn history_comes_in_pages_newest_first_with_redacted_evidence() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let client = collector.client().await;
    for n in 0..5 {
        let state = if n % 2 == 0 { ConsentState::Granted } else { ConsentState::Denied };
        let mut request = change("ann@example.com", FIRST, state);
        request.evidence = format!("dialog {n}, shown to ann@example.com");
        request.actor = "ann@example.com".to_owned();
        request.jurisdiction = "de".to_owned();
        let record = client.set_consent(request).await.unwrap();
        assert_eq!(record.consent_version, n + 1);
        assert!(record.recorded_at.is_some());
    }
    let mut query = ListConsentHistoryRequest {
        user_id: "ann@example.com".to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let mut versions = Vec::new();
    loop {
        let page = client.consent_history(query.clone()).await.unwrap();
        for record in &page.records {
            assert!(!format!("{record:?}").contains("ann@"), "{record:?}");
            assert!(record.evidence.starts_with("dialog") && record.jurisdiction == "DE");
        }
        versions.extend(page.records.iter().map(|record| record.consent_version));
        query.page_token = page.next_page_token;
        if query.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(versions, [5, 4, 3, 2, 1]);
    // Where the person is, is known from the newest record.
    let now = client
        .get_consent(GetConsentRequest { user_id: "ann@example.com".to_owned(), jurisdiction: String::new() })
        .await
        .unwrap();
    assert_eq!((now.training_scope.as_str(), now.eligibility_reason.as_str()), ("first_party", "granted"));
    assert_eq!(now.scopes[0].record.as_ref().unwrap().consent_version, 5);
    assert_eq!(database.count("consent_current").await, 1);
    assert_eq!(database.count("consent_current WHERE state = 'granted' AND consent_version = 5").await, 1);
}

#[tokio::test]
async fn changes_at_once_on_two_collectors_leave_both_with_one_view() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    let b = one.beside().start_ready().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    for n in 0..20 {
        let user = format!("user-{n}");
        let (yes, no) = tokio::join!(
            at_a.set_consent(change(&user, FIRST, ConsentState::Granted)),
            at_b.set_consent(change(&user, FIRST, ConsentState::Denied)),
        );
        let (yes, no) = (yes.unwrap(), no.unwrap());
        // Either order is right, but all must agree, and with one version the no counts.
        let expected = if yes.consent_version > no.consent_version { "granted" } else { "denied" };
        let query = || GetConsentRequest { user_id: user.clone(), jurisdiction: String::new() };
        for client in [&at_a, &at_b] {
            assert_eq!(client.get_consent(query()).await.unwrap().eligibility_reason, expected);
        }
        let ids = [a.send(vec![event(&user)]).await, b.send(vec![event(&user)]).await].concat();
        let rows = database.wait_for(&ids).await;
        if expected == "denied" {
            assert!(rows.iter().all(|row| row.scope == "none"), "{rows:?}");
        }
    }
}

#[tokio::test]
async fn what_was_written_between_a_no_and_a_yes_is_never_eligible() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    let b = one.beside().start_ready().await;
    let client = a.client().await;
    let mut between = Vec::new();
    for n in 0..30 {
        let user = format!("user-{n}");
        client.set_consent(change(&user, FIRST, ConsentState::Granted)).await.unwrap();
        // The other collector has heard of the yes when an event there is stamped with it.
        if n == 0 {
            eventually("an eligible event", || async {
                let ids = b.send(vec![event(&user)]).await;
                (database.wait_for(&ids).await[0].scope == "first_party").then_some(())
            })
            .await;
        }
        client.set_consent(change(&user, FIRST, ConsentState::Denied)).await.unwrap();
        between.extend(b.send(vec![event(&user)]).await);
        client.set_consent(change(&user, FIRST, ConsentState::Granted)).await.unwrap();
    }
    for row in database.wait_for(&between).await {
        assert_eq!(row.scope, "none", "written after a no: {row:?}");
    }
}

#[tokio::test]
async fn a_denial_that_a_yes_overtook_counts_all_the_same() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let one = Setup::new(&database).config("[consent]\nmax_staleness = \"10m\"\nledger_timeout = \"10s\"\n");
    let a = one.start_ready().await;
    let b = one.beside().via(&proxy.url).start_ready().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    at_a.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();

    // The denial has its version, and its row is held on the way to the ledger.
    proxy.set(Fault::HoldLedgerInserts);
    let denial =
        tokio::spawn(async move { at_b.set_consent(change("ann", FIRST, ConsentState::Denied)).await });
    eventually("the held row", || async { (proxy.held() == 1).then_some(()) }).await;
    for scope in [FIRST, ConsentScope::Affiliates] {
        at_a.set_consent(change("ann", scope, ConsentState::Granted)).await.unwrap();
    }
    let ids = a.send(vec![event("ann")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("affiliates", "granted"));
    assert_eq!(database.count("training_affiliates").await, 1);

    proxy.release();
    denial.await.unwrap().unwrap();
    // From the acknowledgement on, the no holds, for what was written and for what will be.
    let query = GetConsentRequest { user_id: "ann".to_owned(), jurisdiction: String::new() };
    assert_eq!(at_a.get_consent(query).await.unwrap().training_scope, "none");
    for view in ["training_first_party", "training_affiliates"] {
        assert_eq!(database.count(view).await, 0, "{view}");
    }
    let ids = a.send(vec![event("ann")]).await;
    assert_eq!(database.wait_for(&ids).await[0].scope, "none");
}

#[tokio::test]
async fn metrics_tell_how_the_view_of_consent_is() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let collector = Setup::new(&database).via(&proxy.url).start().await;
    let loading = eventually("the first gauges", || async {
        let metrics = collector.metrics().await;
        metric(&metrics, "assent_consent_replica_age_seconds").is_some().then_some(metrics)
    })
    .await;
    assert_eq!(metric(&loading, "assent_consent_replica_age_seconds"), Some(f64::INFINITY));
    // What is received now waits for the view.
    collector.send(vec![event("ann")]).await;
    eventually("a lag", || async {
        metric(&collector.metrics().await, "assent_consent_watermark_lag_seconds").filter(|lag| *lag > 0.5)
    })
    .await;

    proxy.set(Fault::None);
    collector.wait_until_serving().await;
    collector.client().await.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    database.wait_for_rows(1).await;
    let metrics = eventually("a person in the view, and no lag", || async {
        let metrics = collector.metrics().await;
        let there = metric(&metrics, "assent_consent_subjects") == Some(1.0)
            && metric(&metrics, "assent_consent_watermark_lag_seconds") == Some(0.0);
        there.then_some(metrics)
    })
    .await;
    let value = |name: &str| metric(&metrics, name).unwrap_or_else(|| panic!("{name} in\n{metrics}"));
    assert!(value("assent_consent_replica_age_seconds") < 60.0);
    assert!(value("assent_consent_replica_bytes") > 0.0);
    assert!(value("assent_consent_refresh_duration_seconds_count") >= 1.0);
    assert!(value("assent_consent_hold_seconds_count") >= 1.0);
    assert!(value("assent_consent_hold_seconds_sum") > 0.5);
}

/// The value of a metric without labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
