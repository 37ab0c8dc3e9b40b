use std::sync::Mutex;

use crate::{
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    event::{EventType, Payload, RawText, RawUserId, ReceivedPayload, Stamp, SubjectId},
};

use super::*;

const NOW: Micros = Micros(1_795_500_000_000_000);

/// A question: subject, kind, feature, jurisdiction, Global Privacy Control.
type Question = (SubjectId, EventType, String, String, bool);

/// Says yes to everything and remembers what it was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<Question>>);

impl ConsentView for Asked {
    fn decide(&self, subject: &SubjectId, facts: &ConsentFacts<'_>, received_at: Micros) -> Stamp {
        assert_eq!(received_at, NOW);
        self.0.lock().unwrap().push((
            *subject,
            facts.event_type,
            facts.feature.to_owned(),
            facts.jurisdiction.to_string(),
            facts.gpc,
        ));
        Stamp {
            training_scope: TrainingScope::FirstParty,
            reason: EligibilityReason::Granted,
            state: ConsentState::Granted,
            source: Source::UserSetting,
            consent_version: 7,
            policy_version: "2026-01".into(),
            policy_digest: "00".into(),
        }
    }
}

fn pipeline(limits: Limits) -> (Pipeline, Arc<Asked>, Arc<Pseudonymiser>) {
    let asked = Arc::new(Asked::default());
    let key = PseudonymKey::generate().unwrap();
    let pseudonymiser = Arc::new(Pseudonymiser::new(&key));
    let redactor = Arc::new(Redactor::new());
    (Pipeline::new(limits, Arc::clone(&pseudonymiser), asked.clone(), redactor), asked, pseudonymiser)
}

fn event(n: u8, user: &str, text: &str) -> Received {
    Received {
        event_id: format!("018f3c2e-7b1a-7c3d-9e4f-0000000000{n:02x}"),
        user_id: RawUserId::new(user.to_owned()),
        occurred_at: Some((NOW.0 / 1_000_000, 0)),
        session_id: "s-1".to_owned(),
        interaction_id: "i-1".to_owned(),
        feature: "compose".to_owned(),
        model: "m".to_owned(),
        client_name: "web".to_owned(),
        client_version: "1".to_owned(),
        platform: "web".to_owned(),
        jurisdiction: "de".to_owned(),
        global_privacy_control: true,
        payload: Some(ReceivedPayload::TypedText {
            text: RawText::new(text.to_owned()),
            language: "de".to_owned(),
        }),
    }
}

#[test]
fn an_event_passes_all_stages() {
    let (pipeline, asked, pseudonymiser) = pipeline(Limits::default());
    let tenant = Tenant::new("acme");
    let outcome =
        pipeline.run(&tenant, vec![event(1, "anna_42", "anna_42 here, a@x.de or b@x.de, or a@x.de")], NOW);
    assert_eq!(outcome.rejected, []);
    let [row] = &outcome.accepted[..] else { panic!("one row") };
    let subject = pseudonymiser.subject(&tenant, &RawUserId::new("anna_42".to_owned()));
    assert_eq!(row.subject_id, subject);
    assert_eq!(&row.pseudonym_key_id, pseudonymiser.key_id());
    assert_eq!(row.stamp.consent_version, 7);
    assert_eq!(row.context.received_at, NOW);
    assert_eq!(row.redactions, [("EMAIL", 3), ("USER", 1)]);
    assert_eq!(row.redaction_version, RULES_VERSION);
    let Payload::TypedText { text, .. } = &row.payload else { panic!("another payload") };
    assert_eq!(text.as_str(), "<USER> here, <EMAIL_1> or <EMAIL_2>, or <EMAIL_1>");
    let asked = asked.0.lock().unwrap();
    assert_eq!(asked[..], [(subject, EventType::TypedText, "compose".to_owned(), "DE".to_owned(), true)]);
}

#[test]
fn a_bad_event_does_not_take_the_good_ones_with_it() {
    let (pipeline, asked, _) = pipeline(Limits { max_events: 3, ..Limits::default() });
    let bad = Received { user_id: RawUserId::new(String::new()), ..event(2, "", "x") };
    let nameless = Received { event_id: "é".repeat(100), ..event(5, "u-5", "x") };
    let received = vec![event(1, "u-1", "x"), bad, event(3, "u-3", "x"), event(4, "u-4", "x"), nameless];
    let ids: Vec<String> = received.iter().map(|event| event.event_id.clone()).collect();
    let outcome = pipeline.run(&Tenant::new("acme"), received, NOW);

    let accepted: Vec<String> =
        outcome.accepted.iter().map(|event| event.context.event_id.to_string()).collect();
    assert_eq!(accepted, [ids[0].clone(), ids[2].clone()]);
    // Nobody is asked about an event that is not taken.
    assert_eq!(asked.0.lock().unwrap().len(), 2);
    let rejected: Vec<_> = outcome
        .rejected
        .iter()
        .map(|rejection| (rejection.index, rejection.event_id.as_str(), rejection.reason))
        .collect();
    assert_eq!(
        rejected,
        [
            (1, ids[1].as_str(), RejectionReason::InvalidUserId),
            (3, ids[3].as_str(), RejectionReason::TooManyEvents),
            (4, "é".repeat(64).as_str(), RejectionReason::TooManyEvents),
        ]
    );
    assert!(outcome.rejected.iter().all(|rejection| !rejection.message.is_empty()));
}

#[test]
fn every_text_is_redacted_and_every_id_is_rid_of_the_user() {
    let (pipeline, _, pseudonymiser) = pipeline(Limits::default());
    let tenant = Tenant::new("acme");
    let mut shown = event(1, "anna_42", "");
    shown.session_id = "s-anna_42:1".to_owned();
    shown.interaction_id = "anna_42".to_owned();
    let mut feedback = shown.clone();
    let raw = |text: &str| RawText::new(text.to_owned());
    shown.payload = Some(ReceivedPayload::SuggestionShown {
        suggestion_id: "anna_42.s.1".to_owned(),
        text: raw("call +14155550132"),
        language: String::new(),
        latency_ms: 12,
        position: 3,
    });
    feedback.payload = Some(ReceivedPayload::SuggestionFeedback {
        suggestion_id: "anna_42.s.1".to_owned(),
        action: 2,
        rating: 1,
        final_text: raw("call 4111111111111111"),
        comment: raw("sent by anna@x.de"),
    });
    let outcome = pipeline.run(&tenant, vec![shown, feedback], NOW);
    let pseudonym =
        pseudonymiser.subject(&tenant, &RawUserId::new("anna_42".to_owned())).as_uuid().simple().to_string();
    let [shown, feedback] = &outcome.accepted[..] else { panic!("two rows") };
    assert_eq!(shown.context.session_id, format!("s-{pseudonym}:1"));
    assert_eq!(shown.context.interaction_id, pseudonym);
    let Payload::SuggestionShown { suggestion_id, text, latency_ms: 12, position: 3, .. } = &shown.payload
    else {
        panic!("another payload")
    };
    assert_eq!(text.as_str(), "call <PHONE_1>");
    let Payload::SuggestionFeedback { suggestion_id: same, final_text, comment, rating: 1, .. } =
        &feedback.payload
    else {
        panic!("another payload")
    };
    assert_eq!(suggestion_id, &format!("{pseudonym}.s.1"));
    assert_eq!(same, suggestion_id);
    assert_eq!((final_text.as_str(), comment.as_str()), ("call <CARD_1>", "sent by <EMAIL_1>"));
    assert_eq!(feedback.redactions, [("EMAIL", 1), ("CARD", 1)]);
    assert!(!format!("{outcome:?}").contains("anna"));
}

#[test]
fn an_id_that_is_made_from_a_user_id_with_other_separators_is_rid_of_it_too() {
    let (pipeline, _, _) = pipeline(Limits::default());
    for (user, session) in [
        ("Maria.Gonzalez@Example.com", "s-maria.gonzalez_example.com-1"),
        ("Maria.Gonzalez@Example.com", "maria.gonzalez-example.com"),
        ("auth0|4711abc", "auth0_4711abc:7"),
        ("auth0|4711abc", "s.auth0.4711abc"),
        ("maría josé", "s-mar_a_jos_"),
    ] {
        let mut event = event(1, user, "x");
        event.session_id = session.to_owned();
        let outcome = pipeline.run(&Tenant::new("acme"), vec![event], NOW);
        let [row] = &outcome.accepted[..] else { panic!("{:?}", outcome.rejected) };
        let stored = row.context.session_id.to_lowercase();
        for part in ["maria", "gonzalez", "4711abc", "jos"] {
            assert!(!stored.contains(part), "{user}: {session} is stored as {stored}");
        }
    }
}

#[test]
fn what_was_received_does_not_show_in_debug() {
    let (pipeline, _, _) = pipeline(Limits::default());
    let mut canary = event(1, "canary-user", "canary text");
    canary.event_id = "canary".to_owned();
    let outcome = pipeline.run(&Tenant::new("acme"), vec![canary], NOW);
    assert_eq!(outcome.rejected.len(), 1);
    assert!(!format!("{outcome:?}").contains("canary"));
}
