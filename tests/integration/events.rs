//! Every kind of event arrives with every field, in the partition that its author's consent says.

use assent::ingress::proto::{
    self, ConsentScope, ConsentState, FeedbackAction, LanguagePreference, SuggestionFeedback,
    SuggestionShown, event::Payload,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::harness::{Database, Setup, change, event};

#[derive(Debug, PartialEq, Deserialize)]
struct Whole {
    event_id: Uuid,
    kind: String,
    day_is_of_receipt: bool,
    sealed_after_receipt: bool,
    occurred_at_us: i64,
    tenant: String,
    session_id: String,
    interaction_id: String,
    feature: String,
    model: String,
    client: (String, String, String),
    jurisdiction: String,
    gpc: bool,
    language: String,
    previous_language: String,
    text: String,
    suggestion_id: String,
    latency_ms: u32,
    position: u32,
    action: String,
    rating: i8,
    comment: String,
    redactions: std::collections::BTreeMap<String, u16>,
}

const WHOLE: &str = "SELECT event_id, toString(event_type) AS kind,
    toBool(_partition_value.2 = toYYYYMMDD(received_at)) AS day_is_of_receipt,
    toBool(sealed_at >= received_at) AS sealed_after_receipt,
    toUnixTimestamp64Micro(occurred_at) AS occurred_at_us, tenant, session_id, interaction_id, feature, model,
    (client_name, client_version, platform) AS client, jurisdiction, global_privacy_control AS gpc, language,
    previous_language, text, suggestion_id, latency_ms, position, toString(feedback_action) AS action, rating,
    comment, redactions
    FROM events ORDER BY event_type";

#[tokio::test]
async fn all_kinds_arrive_with_all_fields() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let occurred = prost_types::Timestamp { seconds: now_seconds() - 60, nanos: 123_456_789 };
    let base = |interaction: &str| {
        let interaction = interaction.to_owned();
        event("ann").jurisdiction("us-ca").gpc().with(|event| {
            event.occurred_at = Some(occurred);
            event.interaction_id = interaction;
        })
    };
    let events = vec![
        base("i-1").text("Grüße an a@example.com, b@example.com und a@example.com 🙂"),
        base("i-2").payload(Payload::SuggestionShown(SuggestionShown {
            suggestion_id: "s.1".to_owned(),
            text: "Call +14155550132".to_owned(),
            language: "EN-us".to_owned(),
            latency_ms: 4_000_000_000,
            position: 3,
        })),
        base("i-3").payload(Payload::SuggestionFeedback(SuggestionFeedback {
            suggestion_id: "s.1".to_owned(),
            action: FeedbackAction::AcceptedWithEdits.into(),
            rating: -1,
            final_text: "final".to_owned(),
            comment: "mail me: c@example.com".to_owned(),
        })),
        base("").payload(Payload::LanguagePreference(LanguagePreference {
            language: "pt-BR".to_owned(),
            previous_language: "en".to_owned(),
        })),
    ];
    let ids = collector.send(events).await;
    database.wait_for(&ids).await;
    let rows: Vec<Whole> = database.rows(WHOLE).await;
    assert_eq!(rows.len(), 4);
    for (row, id) in rows.iter().zip(&ids) {
        assert_eq!(row.event_id, *id);
        assert!(row.day_is_of_receipt && row.sealed_after_receipt, "{row:?}");
        assert_eq!(row.occurred_at_us, occurred.seconds * 1_000_000 + 123_456);
        assert_eq!((row.tenant.as_str(), row.session_id.as_str()), ("local", "s-1"));
        assert_eq!((row.feature.as_str(), row.model.as_str()), ("compose", "quill-2"));
        assert_eq!(row.client, ("editor-web".to_owned(), "4.18".to_owned(), "web".to_owned()));
        assert_eq!((row.jurisdiction.as_str(), row.gpc), ("US-CA", true));
    }
    let [typed, shown, feedback, language] = &rows[..] else { panic!("four rows") };
    assert_eq!(typed.text, "Grüße an <EMAIL_1>, <EMAIL_2> und <EMAIL_1> 🙂");
    assert_eq!(typed.redactions, [("EMAIL".to_owned(), 3)].into());
    assert_eq!((typed.kind.as_str(), typed.interaction_id.as_str()), ("typed_text", "i-1"));
    assert_eq!((shown.text.as_str(), shown.language.as_str()), ("Call <PHONE_1>", "en-US"));
    assert_eq!((shown.latency_ms, shown.position, shown.suggestion_id.as_str()), (4_000_000_000, 3, "s.1"));
    assert_eq!((feedback.action.as_str(), feedback.rating), ("accepted_with_edits", -1));
    assert_eq!((feedback.text.as_str(), feedback.comment.as_str()), ("final", "mail me: <EMAIL_1>"));
    assert_eq!((language.language.as_str(), language.previous_language.as_str()), ("pt-BR", "en"));
    assert_eq!((language.interaction_id.as_str(), language.text.as_str()), ("", ""));

    database.refresh_rollups().await;
    for (view, rows) in [
        ("typed_texts", 1),
        ("suggestions_shown", 1),
        ("suggestion_feedback", 1),
        ("language_preferences", 1),
        // A feedback counts with its suggestion, and has its language.
        (
            "feature_daily WHERE shown = 1 AND accepted_with_edits = 1 AND acceptance_rate = 1 AND language = 'en-US'",
            1,
        ),
        ("consent_coverage_daily", 1),
        ("training_first_party", 0),
        ("training_affiliates", 0),
    ] {
        assert_eq!(database.count(view).await, rows, "{view}");
    }
}

fn now_seconds() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs().try_into().unwrap()
}

/// A person, and what an event of theirs must be stamped with.
struct Case {
    user: &'static str,
    said: &'static [(ConsentScope, ConsentState, &'static str)],
    place: &'static str,
    gpc: bool,
    stamp: (&'static str, &'static str),
}

const fn case(
    user: &'static str,
    said: &'static [(ConsentScope, ConsentState, &'static str)],
    place: &'static str,
    gpc: bool,
    stamp: (&'static str, &'static str),
) -> Case {
    Case { user, said, place, gpc, stamp }
}

const CASES: [Case; 12] = {
    use ConsentScope::{Affiliates, FirstParty};
    use ConsentState::{Denied, Granted};
    const FIRST: &[(ConsentScope, ConsentState, &str)] = &[(FirstParty, Granted, "2024-09")];
    const BOTH: &[(ConsentScope, ConsentState, &str)] =
        &[(FirstParty, Granted, "2024-09"), (Affiliates, Granted, "2024-09")];
    [
        case("silent in the EU", &[], "DE", false, ("none", "unset_opt_in")),
        case("silent nobody knows where", &[], "", false, ("none", "unset_opt_in")),
        case("silent where that is a yes", &[], "US", false, ("first_party", "granted_by_default")),
        case("silent in a stricter part of it", &[], "US-CA", false, ("none", "unset_opt_in")),
        case("silent in a part without a rule", &[], "US-TX", false, ("first_party", "granted_by_default")),
        case("silent with a signal", &[], "US", true, ("first_party", "granted_by_default")),
        case("first party", FIRST, "DE", false, ("first_party", "granted")),
        case("affiliates alone", &[(Affiliates, Granted, "2024-09")], "DE", false, ("none", "unset_opt_in")),
        case("both", BOTH, "DE", false, ("affiliates", "granted")),
        case("both, with a signal", BOTH, "DE", true, ("first_party", "granted")),
        case(
            "no where silence is a yes",
            &[(FirstParty, Denied, "2024-09")],
            "US",
            false,
            ("none", "denied"),
        ),
        case("old terms", &[(FirstParty, Granted, "2023-11")], "DE", false, ("none", "policy_outdated")),
    ]
};

#[tokio::test]
async fn every_state_of_consent_gets_its_partition_and_reason() {
    let database = Database::new().await;
    let collector = Setup::new(&database).policy("mixed-jurisdictions.toml").start_ready().await;
    let client = collector.client().await;
    for Case { user, said, place, .. } in CASES {
        for &(scope, state, terms) in said {
            let mut request = change(user, scope, state);
            terms.clone_into(&mut request.policy_version);
            place.clone_into(&mut request.jurisdiction);
            client.set_consent(request).await.unwrap();
        }
    }
    let events = CASES.iter().map(|case| {
        let event = event(case.user).jurisdiction(case.place);
        if case.gpc { event.gpc() } else { event }
    });
    let ids = collector.send(events.collect()).await;
    let rows = database.wait_for(&ids).await;
    for (row, case) in rows.iter().zip(&CASES) {
        assert_eq!(row.stamp(), case.stamp, "{}", case.user);
    }
    let misplaced = database.count("events WHERE _partition_value.1 != CAST(training_scope, 'Int8')").await;
    assert_eq!(misplaced, 0, "a row lies in the partition of its scope");

    // What the views let through is what is eligible, and no more.
    assert_eq!(database.count("training_first_party").await, 6);
    assert_eq!(database.count("training_affiliates").await, 1);
    // The answer to "what would happen now" agrees.
    for Case { user, place, gpc, stamp, .. } in CASES {
        if !gpc {
            let now = client
                .get_consent(proto::GetConsentRequest {
                    user_id: user.to_owned(),
                    jurisdiction: place.to_owned(),
                })
                .await
                .unwrap();
            assert_eq!((now.training_scope.as_str(), now.eligibility_reason.as_str()), stamp, "{user}");
        }
    }
}
