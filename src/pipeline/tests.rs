use std::{borrow::Cow, sync::Mutex};

use crate::{
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    event::{EventType, Payload, RawText, RawUserId, ReceivedPayload, RedactedText, Stamp, SubjectId},
};

use super::*;

const NOW: Micros = Micros(1_795_500_000_000_000);

/// A question: subject, kind, feature, jurisdiction, Global Privacy Control.
type Question = (SubjectId, EventType, String, String, bool);

/// Says yes to everything and remembers what it was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<Question>>);

impl ConsentView for Asked {
    fn at(&self, received_at: Micros) -> Decide<'_> {
        assert_eq!(received_at, NOW);
        Box::new(|subject, facts| {
            self.0.lock().unwrap().push((
                subject.current(),
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
        })
    }
}

fn pipeline(limits: Limits) -> (Pipeline, Arc<Asked>, Arc<Pseudonymiser>) {
    let asked = Arc::new(Asked::default());
    let key = PseudonymKey::generate().unwrap();
    let pseudonymiser = Arc::new(Pseudonymiser::new(&key));
    let redactor = Arc::new(Redactor::new());
    (Pipeline::new(limits, Arc::clone(&pseudonymiser), asked.clone(), redactor), asked, pseudonymiser)
}

/// An id that lives as long as the program.
fn id(n: u8) -> &'static str {
    format!("018f3c2e-7b1a-7c3d-9e4f-0000000000{n:02x}").leak()
}

/// What a test looks at of an event after the last stage.
#[derive(Clone, Debug)]
struct Row {
    event_id: String,
    subject_id: SubjectId,
    pseudonym_key_id: String,
    stamp: Stamp,
    received_at: Micros,
    session_id: String,
    interaction_id: String,
    payload: Payload<'static, String>,
    redactions: Vec<(&'static str, u16)>,
    redaction_version: String,
}

impl Row {
    fn of(event: &Redacted<'_>) -> Self {
        let Redacted { context, subject_id, pseudonym_key_id, stamp, payload, redactions, redaction_version } =
            event;
        Self {
            event_id: context.event_id.to_string(),
            subject_id: *subject_id,
            pseudonym_key_id: (*pseudonym_key_id).to_owned(),
            stamp: stamp.clone(),
            received_at: context.received_at,
            session_id: context.session_id.to_string(),
            interaction_id: context.interaction_id.to_string(),
            payload: owned(payload),
            redactions: redactions.clone(),
            redaction_version: (*redaction_version).to_owned(),
        }
    }
}

fn owned(payload: &Payload<'_, RedactedText<'_>>) -> Payload<'static, String> {
    let own = |text: &str| Cow::Owned(text.to_owned());
    match payload {
        Payload::TypedText { text, language } => {
            Payload::TypedText { text: text.as_str().to_owned(), language: own(language) }
        }
        Payload::SuggestionShown { suggestion_id, text, language, latency_ms, position } => {
            Payload::SuggestionShown {
                suggestion_id: own(suggestion_id),
                text: text.as_str().to_owned(),
                language: own(language),
                latency_ms: *latency_ms,
                position: *position,
            }
        }
        Payload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment } => {
            Payload::SuggestionFeedback {
                suggestion_id: own(suggestion_id),
                action: *action,
                rating: *rating,
                final_text: final_text.as_str().to_owned(),
                comment: comment.as_str().to_owned(),
            }
        }
        Payload::LanguagePreference { language, previous_language } => {
            Payload::LanguagePreference { language: own(language), previous_language: own(previous_language) }
        }
    }
}

/// Runs events through, and gives what was accepted and what was not.
fn run(pipeline: &Pipeline, tenant: &Tenant, events: Vec<Received<'_>>) -> (Vec<Row>, Vec<Rejection>) {
    let mut rows = Vec::new();
    let outcome = pipeline.run(tenant, events, NOW, |event| rows.push(Row::of(event)));
    assert_eq!(outcome.accepted as usize, rows.len());
    (rows, outcome.rejected)
}

fn event<'a>(n: u8, user: &'a str, text: &'a str) -> Received<'a> {
    Received {
        event_id: id(n),
        user_id: RawUserId::new(user),
        occurred_at: Some((NOW.0 / 1_000_000, 0)),
        session_id: "s-1",
        interaction_id: "i-1",
        feature: "compose",
        model: "m",
        client_name: "web",
        client_version: "1",
        platform: "web",
        jurisdiction: "de",
        global_privacy_control: true,
        payload: Some(ReceivedPayload::TypedText { text: RawText::new(text), language: "de" }),
    }
}

#[test]
fn an_event_passes_all_stages() {
    let (pipeline, asked, pseudonymiser) = pipeline(Limits::default());
    let tenant = Tenant::new("acme");
    let (rows, rejected) =
        run(&pipeline, &tenant, vec![event(1, "anna_42", "anna_42 here, a@x.de or b@x.de, or a@x.de")]);
    assert_eq!(rejected, []);
    let [row] = &rows[..] else { panic!("one row") };
    let subject = pseudonymiser.subjects(&tenant, RawUserId::new("anna_42")).current();
    assert_eq!(row.subject_id, subject);
    assert_eq!(row.pseudonym_key_id, **pseudonymiser.key_id());
    assert_eq!(row.stamp.consent_version, 7);
    assert_eq!(row.received_at, NOW);
    assert_eq!(row.redactions, [("EMAIL", 3), ("USER", 1)]);
    assert_eq!(row.redaction_version, RULES_VERSION);
    let Payload::TypedText { text, .. } = &row.payload else { panic!("another payload") };
    assert_eq!(text, "<USER> here, <EMAIL_1> or <EMAIL_2>, or <EMAIL_1>");
    let asked = asked.0.lock().unwrap();
    assert_eq!(asked[..], [(subject, EventType::TypedText, "compose".to_owned(), "DE".to_owned(), true)]);
}

#[test]
fn a_bad_event_does_not_take_the_good_ones_with_it() {
    let (pipeline, asked, _) = pipeline(Limits { max_events: 3, ..Limits::default() });
    let long = "é".repeat(100);
    let bad = Received { user_id: RawUserId::new(""), ..event(2, "", "x") };
    let nameless = Received { event_id: &long, ..event(5, "u-5", "x") };
    let received = vec![event(1, "u-1", "x"), bad, event(3, "u-3", "x"), event(4, "u-4", "x"), nameless];
    let ids: Vec<&str> = received.iter().map(|event| event.event_id).collect();
    let (rows, rejections) = run(&pipeline, &Tenant::new("acme"), received);

    let accepted: Vec<&str> = rows.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(accepted, [ids[0], ids[2]]);
    // Nobody is asked about an event that is not taken.
    assert_eq!(asked.0.lock().unwrap().len(), 2);
    let rejected: Vec<_> = rejections
        .iter()
        .map(|rejection| (rejection.index, rejection.event_id.as_str(), rejection.reason))
        .collect();
    assert_eq!(
        rejected,
        [
            (1, ids[1], RejectionReason::InvalidUserId),
            (3, ids[3], RejectionReason::TooManyEvents),
            (4, "é".repeat(64).as_str(), RejectionReason::TooManyEvents),
        ]
    );
    assert!(rejections.iter().all(|rejection| !rejection.message.is_empty()));
}

#[test]
fn every_text_is_redacted_and_every_id_is_rid_of_the_user() {
    let (pipeline, _, pseudonymiser) = pipeline(Limits::default());
    let tenant = Tenant::new("acme");
    let mut shown = event(1, "anna_42", "");
    shown.session_id = "s-anna_42:1";
    shown.interaction_id = "anna_42";
    let mut feedback = shown.clone();
    let raw = |text: &'static str| RawText::new(text);
    shown.payload = Some(ReceivedPayload::SuggestionShown {
        suggestion_id: "anna_42.s.1",
        text: raw("call +14155550132"),
        language: "",
        latency_ms: 12,
        position: 3,
    });
    feedback.payload = Some(ReceivedPayload::SuggestionFeedback {
        suggestion_id: "anna_42.s.1",
        action: 2,
        rating: 1,
        final_text: raw("call 4111111111111111"),
        comment: raw("sent by anna@x.de"),
    });
    let (rows, _) = run(&pipeline, &tenant, vec![shown, feedback]);
    let pseudonym =
        pseudonymiser.subjects(&tenant, RawUserId::new("anna_42")).current().as_uuid().simple().to_string();
    let [shown, feedback] = &rows[..] else { panic!("two rows") };
    assert_eq!(shown.session_id, format!("s-{pseudonym}:1"));
    assert_eq!(shown.interaction_id, pseudonym);
    let Payload::SuggestionShown { suggestion_id, text, latency_ms: 12, position: 3, .. } = &shown.payload
    else {
        panic!("another payload")
    };
    assert_eq!(text, "call <PHONE_1>");
    let Payload::SuggestionFeedback { suggestion_id: same, final_text, comment, rating: 1, .. } =
        &feedback.payload
    else {
        panic!("another payload")
    };
    assert_eq!(suggestion_id, &format!("{pseudonym}.s.1"));
    assert_eq!(same, suggestion_id);
    assert_eq!((&**final_text, &**comment), ("call <CARD_1>", "sent by <EMAIL_1>"));
    assert_eq!(feedback.redactions, [("CARD", 1), ("EMAIL", 1)]);
    assert!(!format!("{rows:?}").contains("anna"));
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
        event.session_id = session;
        let (rows, rejected) = run(&pipeline, &Tenant::new("acme"), vec![event]);
        let [row] = &rows[..] else { panic!("{rejected:?}") };
        let stored = row.session_id.to_lowercase();
        for part in ["maria", "gonzalez", "4711abc", "jos"] {
            assert!(!stored.contains(part), "{user}: {session} is stored as {stored}");
        }
    }
}

#[test]
fn what_was_received_does_not_show_in_debug() {
    let (pipeline, _, _) = pipeline(Limits::default());
    let mut canary = event(1, "canary-user", "canary text");
    canary.event_id = "canary";
    let outcome = pipeline.run(&Tenant::new("acme"), vec![canary], NOW, |_| panic!("it is bad"));
    assert_eq!(outcome.rejected.len(), 1);
    assert!(!format!("{outcome:?}").contains("canary"));
}
