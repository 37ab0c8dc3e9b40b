//! One change is one record: request ids, evidence, receipts, and decisions explained.

use assent::ingress::{
    client::ClientError,
    proto::{self, ConsentScope, ConsentState, ExplainDecisionRequest, RuleOutcome, SetConsentRequest},
};
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Database, Fault, Proxy, Setup, change, eventually};

const FIRST: ConsentScope = ConsentScope::FirstParty;

fn with_id(request_id: Uuid, change: SetConsentRequest) -> SetConsentRequest {
    SetConsentRequest { request_id: request_id.to_string(), ..change }
}

async fn state_of(client: &assent::ingress::client::Client, user: &str) -> String {
    let query = proto::GetConsentRequest { user_id: user.to_owned(), jurisdiction: String::new() };
    client.get_consent(query).await.unwrap().eligibility_reason
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_recorded_once_and_undoes_nothing() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    let b = one.beside().start_ready().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    let (no, yes) = (Uuid::now_v7(), Uuid::now_v7());
    let denial = with_id(no, change("ann", FIRST, ConsentState::Denied));
    let first = at_a.set_consent(denial.clone()).await.unwrap();
    assert_eq!(first.request_id, no.to_string());
    assert_eq!(at_a.set_consent(denial.clone()).await.unwrap(), first);
    at_a.set_consent(with_id(yes, change("ann", FIRST, ConsentState::Granted))).await.unwrap();
    // A late copy of the denial, at another collector, does not come after the yes.
    assert_eq!(at_b.set_consent(denial).await.unwrap(), first);
    assert_eq!(state_of(&at_a, "ann").await, "granted");
    assert_eq!(state_of(&at_b, "ann").await, "granted");
    assert_eq!(database.count("consent_changes").await, 2);
    // Without an id, every call is a change of its own.
    for _ in 0..2 {
        at_a.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap();
    }
    assert_eq!(database.count("consent_changes").await, 4);
}

#[tokio::test]
async fn one_request_at_two_collectors_at_once_is_recorded_once() {
    let database = Database::new().await;
    let one = Setup::new(&database);
    let a = one.start_ready().await;
    let b = one.beside().start_ready().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    for n in 0..25 {
        let state = [ConsentState::Granted, ConsentState::Denied, ConsentState::Unset][n % 3];
        let request = with_id(Uuid::now_v7(), change(&format!("user-{n}"), FIRST, state));
        let (one, other) = tokio::join!(at_a.set_consent(request.clone()), at_b.set_consent(request.clone()));
        assert_eq!(one.unwrap(), other.unwrap(), "both answer with the one record");
    }
    assert_eq!(database.count("consent_changes").await, 25);
}

#[tokio::test]
async fn an_id_of_another_change_is_refused() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let client = collector.client().await;
    let id = Uuid::now_v7();
    client.set_consent(with_id(id, change("ann", FIRST, ConsentState::Granted))).await.unwrap();
    for other in [
        change("ann", FIRST, ConsentState::Denied),
        change("ann", ConsentScope::Affiliates, ConsentState::Granted),
    ] {
        let Err(ClientError::Status(status)) = client.set_consent(with_id(id, other)).await else { panic!() };
        assert_eq!(status.code(), tonic::Code::AlreadyExists);
    }
    assert_eq!(state_of(&client, "ann").await, "granted");
    // Ids are a person's own.
    client.set_consent(with_id(id, change("ben", FIRST, ConsentState::Denied))).await.unwrap();
    assert_eq!(database.count("consent_changes").await, 2);
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_answered_when_it_is_sent_again() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::LoseLedgerReplies).await;
    let setup = Setup::new(&database)
        .via(&proxy.url)
        .config("[consent]\nledger_timeout = \"2s\"\nmax_staleness = \"10m\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    for (user, state) in [("ann", ConsentState::Denied), ("ben", ConsentState::Granted)] {
        let request = with_id(Uuid::now_v7(), change(user, FIRST, state));
        proxy.set(Fault::LoseLedgerReplies);
        let Err(ClientError::Status(status)) = client.set_consent(request.clone()).await else { panic!() };
        assert_eq!(status.code(), tonic::Code::Unavailable);
        proxy.set(Fault::None);
        let record = client.set_consent(request).await.unwrap();
        assert_eq!(record.consent_version, 1);
        assert!(record.recorded_at.is_some());
    }
    assert_eq!(database.count("consent_changes").await, 2);
}

#[tokio::test]
async fn who_takes_a_yes_back_has_none_though_the_ledger_is_away() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let setup = Setup::new(&database).via(&proxy.url).config("[consent]\nmax_staleness = \"10m\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    client.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    proxy.set(Fault::Refuse);
    client.set_consent(change("ann", FIRST, ConsentState::Unset)).await.unwrap_err();
    let ids = collector.send(vec![crate::harness::event("ann")]).await;
    proxy.set(Fault::None);
    assert_eq!(database.wait_for(&ids).await[0].scope, "none");
    // Sent again, it is what it said.
    client.set_consent(change("ann", FIRST, ConsentState::Unset)).await.unwrap();
    let ids = collector.send(vec![crate::harness::event("ann")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("none", "unset_opt_in"));
}

#[tokio::test]
async fn evidence_says_what_was_shown_in_which_language_by_which_client() {
    let database = Database::new().await;
    let controller = "[controller]\nname = \"Acme\"\ncontact = \"privacy@acme.example\"\naffiliates = [\"Acme Labs\"]\n\
        withdrawal_method = \"the same switch\"\n";
    let collector = Setup::new(&database).config(controller).start_ready().await;
    let client = collector.client().await;
    let shown = SetConsentRequest {
        evidence: "the dialog, to ann@example.com".to_owned(),
        actor: "self".to_owned(),
        policy_version: "2026-01".to_owned(),
        jurisdiction: "DE".to_owned(),
        language: "de-at".to_owned(),
        client: Some(proto::Client {
            name: "editor-web".to_owned(),
            version: "4.18".to_owned(),
            platform: "web".to_owned(),
        }),
        ..change("ann", FIRST, ConsentState::Granted)
    };
    let record = client.set_consent(shown.clone()).await.unwrap();
    assert_eq!(record.language, "de-AT");
    assert_eq!(record.client, shown.client);
    assert_eq!(
        client
            .set_consent(SetConsentRequest { language: String::new(), ..shown.clone() })
            .await
            .unwrap()
            .language,
        ""
    );
    for (field, bad) in [
        ("language", SetConsentRequest { language: "no language".to_owned(), ..shown.clone() }),
        ("request_id", SetConsentRequest { request_id: "1".to_owned(), ..shown.clone() }),
        ("request_id", with_id(Uuid::nil(), shown.clone())),
        (
            "client.name",
            SetConsentRequest {
                client: Some(proto::Client { name: "ann@example.com".to_owned(), ..Default::default() }),
                ..shown.clone()
            },
        ),
    ] {
        let Err(ClientError::Status(status)) = client.set_consent(bad).await else { panic!("{field}") };
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{}", status.message());
    }
    client.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap();
    let receipt: Value =
        serde_json::from_str(&client.consent_receipt("ann".to_owned()).await.unwrap()).unwrap();
    let first = &receipt["pii_processing"][0];
    assert_eq!((&first["scope"], &first["state"]), (&"first_party".into(), &"denied".into()));
    let events = first["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["event_state"], "consent given");
    assert_eq!(events[0]["client"]["name"], "editor-web");
    assert_eq!(events[0]["language"], "de-AT");
    assert_eq!(events[0]["terms_version"], "2026-01");
    assert!(events[0]["event_time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(events[2]["event_state"], "consent withdrawn");
    assert_eq!(first["purposes"][0]["withdrawal_method"], "the same switch");
    assert_eq!(receipt["party_identification"][0]["party_name"], "Acme");
    assert_eq!(receipt["decision_now"]["eligibility_reason"], "denied");
    assert!(!receipt.to_string().contains("ann@"), "{receipt}");
}

#[tokio::test]
async fn a_decision_is_explained_rule_by_rule() {
    let database = Database::new().await;
    let setup = Setup::new(&database).policy("mixed-jurisdictions.toml");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    let ask = |jurisdiction: &str, feature: &str, gpc| {
        let query = ExplainDecisionRequest {
            user_id: "ann".to_owned(),
            jurisdiction: jurisdiction.to_owned(),
            event_type: "suggestion_shown".to_owned(),
            feature: feature.to_owned(),
            global_privacy_control: gpc,
        };
        let client = client.clone();
        async move {
            let answer = client.explain_decision(query).await.unwrap();
            let decided = |scope: usize| {
                let rules = &answer.scopes[scope].rules;
                assert_eq!(rules.len(), 8);
                rules.iter().find(|rule| rule.outcome() == RuleOutcome::Decided).unwrap().number
            };
            (answer.training_scope.clone(), answer.eligibility_reason.clone(), decided(0), decided(1))
        }
    };
    let answer = |scope: &str, reason: &str, first, affiliates| {
        (scope.to_owned(), reason.to_owned(), first, affiliates)
    };
    assert_eq!(ask("US", "compose", false).await, answer("first_party", "granted_by_default", 8, 7));
    assert_eq!(ask("US", "compose", true).await, answer("first_party", "granted_by_default", 8, 4));
    assert_eq!(ask("DE", "compose", false).await, answer("none", "unset_opt_in", 7, 7));
    assert_eq!(ask("US", "private_notes", false).await, answer("none", "excluded_by_policy", 2, 2));
    let outdated = SetConsentRequest {
        policy_version: "2023-11".to_owned(),
        ..change("ann", FIRST, ConsentState::Granted)
    };
    client.set_consent(outdated).await.unwrap();
    assert_eq!(ask("US", "compose", false).await, answer("none", "policy_outdated", 5, 7));
    client.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap();
    assert_eq!(ask("US", "compose", true).await, answer("none", "denied", 3, 4));
    let bad = ExplainDecisionRequest {
        user_id: "ann".to_owned(),
        event_type: "typing".to_owned(),
        ..Default::default()
    };
    let Err(ClientError::Status(status)) = client.explain_decision(bad).await else { panic!() };
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    // What the command line shows is the same.
    let mut command =
        setup.command(&["consent", "explain", "--user", "ann", "--jurisdiction", "US", "--gpc"]);
    let shown = command.args(["--grpc-addr", &collector.grpc]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("=> 3. the person said no: denied by user_setting (version 2)"), "{shown}");
}

#[tokio::test]
async fn a_stale_view_is_what_explains_a_no() {
    let database = Database::new().await;
    let reads = Proxy::start(&database.url, Fault::None).await;
    let setup = Setup::new(&database).via(&reads.url).config("[consent]\nmax_staleness = \"2s\"\n");
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    reads.set(Fault::Refuse);
    collector.wait_until_not_serving().await;
    // The ledger itself can be asked again a moment before the view has caught up, or not at all.
    let query = ExplainDecisionRequest { user_id: "ann".to_owned(), ..Default::default() };
    let Err(ClientError::Status(status)) = client.explain_decision(query.clone()).await else { panic!() };
    assert_eq!(status.code(), tonic::Code::Unavailable);
    reads.set(Fault::None);
    eventually("a view that is fresh", || async {
        let answer = client.explain_decision(query.clone()).await.ok()?;
        (answer.eligibility_reason == "unset_opt_in").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_slow_copy_of_a_request_does_not_undo_what_came_after_it() {
    let database = Database::new().await;
    let one = Setup::new(&database).config("[consent]\nledger_timeout = \"10s\"\nmax_staleness = \"10m\"\n");
    let a = one.start_ready().await;
    let at_a = a.client().await;
    for (user, state) in [("ann", ConsentState::Denied), ("ben", ConsentState::Unset)] {
        let proxy = Proxy::start(&database.url, Fault::None).await;
        let b = one.beside().via(&proxy.url).start_ready().await;
        let at_b = b.client().await;
        let no = with_id(Uuid::now_v7(), change(user, FIRST, state));
        proxy.set(Fault::HoldLedgerInserts);
        let slow = tokio::spawn({
            let (at_b, no) = (at_b.clone(), no.clone());
            async move { at_b.set_consent(no).await }
        });
        eventually("the held row", || async { (proxy.held() == 1).then_some(()) }).await;
        let first = at_a.set_consent(no.clone()).await.unwrap();
        at_a.set_consent(change(user, FIRST, ConsentState::Granted)).await.unwrap();
        proxy.release();
        assert_eq!(slow.await.unwrap().unwrap(), first);
        assert_eq!(state_of(&at_a, user).await, "granted");
        assert_eq!(at_a.set_consent(no).await.unwrap(), first);
    }
    assert_eq!(database.count("consent_changes").await, 4);
}

#[tokio::test]
async fn a_no_that_failed_holds_above_a_yes_that_was_not_known_here() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let one = Setup::new(&database).config("[consent]\nmax_staleness = \"10m\"\n");
    let a = one.start_ready().await;
    let b = one.beside().via(&proxy.url).start_ready().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    proxy.set(Fault::Refuse);
    at_a.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    at_b.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap_err();
    proxy.set(Fault::None);
    // The view has caught up when it knows of somebody else's yes that came later.
    at_a.set_consent(change("ben", FIRST, ConsentState::Granted)).await.unwrap();
    eventually("a view that has caught up", || async {
        let ids = b.send(vec![crate::harness::event("ben")]).await;
        (database.wait_for(&ids).await[0].scope == "first_party").then_some(())
    })
    .await;
    let ids = b.send(vec![crate::harness::event("ann")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("none", "denied"));
    // That collector says so, too.
    assert_eq!(state_of(&at_b, "ann").await, "denied");
    let query = ExplainDecisionRequest { user_id: "ann".to_owned(), ..Default::default() };
    assert_eq!(at_b.explain_decision(query).await.unwrap().eligibility_reason, "denied");
    // What is made after it ends it, wherever it is made.
    at_a.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    eventually("an eligible event", || async {
        let ids = b.send(vec![crate::harness::event("ann")]).await;
        (database.wait_for(&ids).await[0].scope == "first_party").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_collector_with_another_key_records_nothing() {
    let database = Database::new().await;
    let a = Setup::new(&database).start_ready().await;
    let at_a = a.client().await;
    at_a.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();
    // Not `beside`: a key of its own.
    let stranger = Setup::new(&database);
    let b = stranger.start().await;
    let at_b = b.client().await;
    eventually("a refusal", || async {
        match at_b.set_consent(change("ben", FIRST, ConsentState::Granted)).await {
            Err(ClientError::Status(status)) if status.code() == tonic::Code::FailedPrecondition => Some(()),
            // Until its view is loaded, nobody can say.
            Err(ClientError::Status(status)) if status.code() == tonic::Code::Unavailable => None,
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(database.count("consent_changes").await, 1);
    let ids = a.send(vec![crate::harness::event("ann")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("first_party", "granted"));
}
