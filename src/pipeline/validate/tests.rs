use std::sync::LazyLock;

use proptest::prelude::*;

use super::{RejectionReason as Reason, *};

const NOW: Micros = Micros(1_795_500_000_000_000);
const NOW_SECONDS: i64 = 1_795_500_000;
const ID: &str = "018f3c2e-7b1a-7c3d-9e4f-0123456789ab";

fn typed(text: &str, language: &str) -> ReceivedPayload<'static> {
    ReceivedPayload::TypedText { text: RawText::new(kept(text)), language: kept(language) }
}

fn shown(suggestion_id: &str) -> ReceivedPayload<'static> {
    ReceivedPayload::SuggestionShown {
        suggestion_id: kept(suggestion_id),
        text: RawText::new("How about Tuesday?"),
        language: "",
        latency_ms: u32::MAX,
        position: 2,
    }
}

fn feedback(action: i32, rating: i32) -> ReceivedPayload<'static> {
    ReceivedPayload::SuggestionFeedback {
        suggestion_id: "s-1",
        action,
        rating,
        final_text: RawText::default(),
        comment: RawText::default(),
    }
}

fn preference(language: &str, previous: &str) -> ReceivedPayload<'static> {
    ReceivedPayload::LanguagePreference { language: kept(language), previous_language: kept(previous) }
}

fn good() -> Received<'static> {
    Received {
        event_id: ID,
        user_id: RawUserId::new("u-1"),
        occurred_at: Some((NOW_SECONDS - 1, 123_456_789)),
        session_id: "s:1.a_b-C",
        interaction_id: "",
        feature: "reply (beta)",
        model: "org/model-7b:q4+lora",
        client_name: "editor-web",
        client_version: "1.2.3+build.5",
        platform: "iOS 17.4",
        jurisdiction: "us-ca",
        global_privacy_control: true,
        payload: Some(typed("hello", "EN-us")),
    }
}

/// What is checked here lives as long as the program, so that it can be put together anywhere.
fn kept(text: impl Into<String>) -> &'static str {
    text.into().leak()
}

static TENANT: LazyLock<Tenant> = LazyLock::new(|| Tenant::new("acme"));

fn check(received: Received<'static>) -> Result<Valid<'static>, Violation> {
    Validator::new(Limits::default()).validate(&TENANT, received, NOW)
}

fn with(change: impl FnOnce(&mut Received<'static>)) -> Result<Valid<'static>, Violation> {
    let mut received = good();
    change(&mut received);
    check(received)
}

fn reason(result: Result<Valid<'static>, Violation>) -> Option<Reason> {
    result.err().map(|violation| violation.reason)
}

#[test]
fn a_good_event_keeps_what_it_said() {
    let valid = check(good()).unwrap();
    assert_eq!(valid.context.tenant.as_str(), "acme");
    assert_eq!(valid.context.event_id.to_string(), ID);
    assert_eq!(valid.context.occurred_at, Micros((NOW_SECONDS - 1) * 1_000_000 + 123_456));
    assert_eq!(valid.context.received_at, NOW);
    assert_eq!(valid.context.jurisdiction.as_str(), "US-CA");
    assert!(valid.context.global_privacy_control);
    assert_eq!(valid.user_id.expose(), "u-1");
    let Payload::TypedText { text, language } = valid.payload else { panic!("another payload") };
    assert_eq!((text.expose(), &*language), ("hello", "en-US"));
}

#[test]
fn event_ids() {
    for good in [ID, &ID.to_uppercase(), "f47ac10b-58cc-4372-a567-0e02b2c3d479"] {
        assert_eq!(reason(with(|event| event.event_id = kept(good))), None, "{good}");
    }
    let braced = format!("{{{ID}}}");
    let urn = format!("urn:uuid:{ID}");
    let simple = ID.replace('-', "");
    let nil = "00000000-0000-0000-0000-000000000000";
    for bad in ["", "1", nil, &braced, &urn, &simple, &ID[1..], "018f3c2e-7b1a-7c3d-9e4f-0123456789ag"] {
        assert_eq!(reason(with(|event| event.event_id = kept(bad))), Some(Reason::InvalidEventId), "{bad}");
    }
}

#[test]
fn user_ids() {
    for (user, expected) in [
        ("a", None),
        ("日本", None),
        (kept("x".repeat(256)), None),
        (kept("x".repeat(257)), Some(Reason::InvalidUserId)),
        ("", Some(Reason::InvalidUserId)),
        (" \t", Some(Reason::InvalidUserId)),
    ] {
        assert_eq!(reason(with(|event| event.user_id = RawUserId::new(user))), expected);
    }
}

#[test]
fn ids_and_fields() {
    for (value, id_ok, field_ok) in [
        ("", true, true),
        ("A.b_c:d-9", true, true),
        ("two words", false, true),
        ("a/b+(c)", false, true),
        ("anna@example.com", false, false),
        ("anna＠example.com", false, false),
        ("naïve", false, false),
        ("a\nb", false, false),
        ("a,b", false, false),
    ] {
        let id = |reason: Reason| if id_ok { None } else { Some(reason) };
        let field = if field_ok { None } else { Some(Reason::InvalidField) };
        assert_eq!(reason(with(|e| e.session_id = value)), id(Reason::InvalidSessionId), "{value}");
        assert_eq!(reason(with(|e| e.interaction_id = value)), id(Reason::InvalidInteractionId));
        assert_eq!(reason(with(|e| e.feature = value)), field, "{value}");
        assert_eq!(reason(with(|e| e.model = value)), field);
        assert_eq!(reason(with(|e| e.client_name = value)), field);
        assert_eq!(reason(with(|e| e.client_version = value)), field);
        assert_eq!(reason(with(|e| e.platform = value)), field);
        let suggestion = if value.is_empty() { Some(Reason::InvalidSuggestionId) } else { None }
            .or(id(Reason::InvalidSuggestionId));
        assert_eq!(reason(with(|e| e.payload = Some(shown(value)))), suggestion, "{value}");
    }
    let long = |n| kept("x".repeat(n));
    assert_eq!(reason(with(|e| e.session_id = long(128))), None);
    assert_eq!(reason(with(|e| e.session_id = long(129))), Some(Reason::InvalidSessionId));
    assert_eq!(reason(with(|e| e.interaction_id = long(129))), Some(Reason::InvalidInteractionId));
    assert_eq!(reason(with(|e| e.payload = Some(shown(long(129))))), Some(Reason::InvalidSuggestionId));
    assert_eq!(reason(with(|e| e.feature = long(128))), None);
    assert_eq!(reason(with(|e| e.platform = long(129))), Some(Reason::InvalidField));
}

#[test]
fn times() {
    let at = |seconds, nanos| reason(with(|event| event.occurred_at = Some((seconds, nanos))));
    let out = Some(Reason::TimeOutOfRange);
    const AHEAD: i64 = 5 * 60;
    const OLD: i64 = 30 * 86_400;
    assert_eq!(at(NOW_SECONDS + AHEAD, 0), None);
    assert_eq!(at(NOW_SECONDS + AHEAD, 1_000), out);
    assert_eq!(at(NOW_SECONDS - OLD, 0), None);
    assert_eq!(at(NOW_SECONDS - OLD - 1, 999_999_999), out);
    assert_eq!(at(NOW_SECONDS, -1), out);
    assert_eq!(at(NOW_SECONDS, 1_000_000_000), out);
    for seconds in [i64::MIN, i64::MAX, 0] {
        assert_eq!(at(seconds, 0), out);
    }
    assert_eq!(reason(with(|event| event.occurred_at = None)), out);
    // Limits so wide that nothing is out of range must not let an unstorable time in.
    let limits = Limits { max_ahead: Duration::MAX, max_age: Duration::MAX, ..Limits::default() };
    let wide = Validator::new(limits);
    for (seconds, ok) in [(i64::MAX, false), (i64::MIN, false), (0, true)] {
        let received = Received { occurred_at: Some((seconds, 0)), ..good() };
        assert_eq!(wide.validate(&Tenant::new("a"), received, NOW).is_ok(), ok);
    }
}

#[test]
fn payloads() {
    let payload = |payload| reason(with(|event| event.payload = payload));
    assert_eq!(payload(None), Some(Reason::MissingPayload));
    assert_eq!(payload(Some(shown("s-1"))), None);
    for (action, rating, expected) in [
        (1, -1, None),
        (5, 1, None),
        (0, 0, Some(Reason::UnknownEnumValue)),
        (6, 0, Some(Reason::UnknownEnumValue)),
        (-1, 0, Some(Reason::UnknownEnumValue)),
        (3, 2, Some(Reason::InvalidRating)),
        (3, -2, Some(Reason::InvalidRating)),
        // 257 is 1 in eight bits.
        (3, 257, Some(Reason::InvalidRating)),
    ] {
        assert_eq!(payload(Some(feedback(action, rating))), expected, "{action} {rating}");
    }
    for (language, previous, expected) in [
        ("de", "", None),
        ("de", "pt-BR", None),
        ("", "de", Some(Reason::InvalidLanguage)),
        ("de_DE", "", Some(Reason::InvalidLanguage)),
        ("de", "x", Some(Reason::InvalidLanguage)),
    ] {
        assert_eq!(payload(Some(preference(language, previous))), expected, "{language} {previous}");
    }
    assert_eq!(payload(Some(typed("x", ""))), None);
    assert_eq!(payload(Some(typed("x", "not a tag"))), Some(Reason::InvalidLanguage));
}

#[test]
fn texts() {
    let text = |len| RawText::new(kept("x".repeat(len)));
    assert_eq!(reason(with(|e| e.payload = Some(typed(&"x".repeat(64 * 1024), "")))), None);
    let over = 64 * 1024 + 1;
    let long = [
        typed(&"x".repeat(over), ""),
        ReceivedPayload::SuggestionShown {
            suggestion_id: "s",
            text: text(over),
            language: "",
            latency_ms: 0,
            position: 0,
        },
        ReceivedPayload::SuggestionFeedback {
            suggestion_id: "s",
            action: 1,
            rating: 0,
            final_text: text(over),
            comment: text(0),
        },
        ReceivedPayload::SuggestionFeedback {
            suggestion_id: "s",
            action: 1,
            rating: 0,
            final_text: text(0),
            comment: text(over),
        },
    ];
    for payload in long {
        assert_eq!(reason(with(|e| e.payload = Some(payload))), Some(Reason::TextTooLong));
    }
}

#[test]
fn messages_name_the_rule_and_not_the_value() {
    let message = |result: Result<Valid<'_>, Violation>| result.unwrap_err().message;
    for message in [
        message(with(|e| e.event_id = "canary")),
        message(with(|e| e.user_id = RawUserId::new(kept("canary".repeat(99))))),
        message(with(|e| e.session_id = "canary canary")),
        message(with(|e| e.feature = "canary@canary")),
        message(with(|e| e.jurisdiction = "canary")),
        message(with(|e| e.payload = Some(typed("", "canary canary")))),
        message(with(|e| e.payload = Some(typed(&"canary".repeat(20_000), "")))),
    ] {
        assert!(!message.contains("canary") && !message.is_empty(), "{message}");
    }
    let old = message(with(|e| e.occurred_at = Some((0, 0))));
    assert_eq!(old, "occurred_at may be at most 30 days old");
    let ahead = message(with(|e| e.occurred_at = Some((NOW_SECONDS * 2, 0))));
    assert_eq!(ahead, "occurred_at may be at most 5 minutes ahead of the collector's clock");
}

#[test]
fn too_many_events() {
    let validator = Validator::new(Limits { max_events: 2, ..Limits::default() });
    assert_eq!(validator.check_index(1), Ok(()));
    assert_eq!(validator.check_index(2).unwrap_err().reason, Reason::TooManyEvents);
    assert_eq!(validator.check_index(u32::MAX).unwrap_err().reason, Reason::TooManyEvents);
}

fn any_payload() -> impl Strategy<Value = Option<ReceivedPayload<'static>>> {
    let raw = |text: String| RawText::new(kept(text));
    prop_oneof![
        Just(None),
        (any::<String>(), any::<String>())
            .prop_map(move |(text, language)| ReceivedPayload::TypedText {
                text: raw(text),
                language: kept(language),
            })
            .prop_map(Some),
        (any::<String>(), any::<i32>(), any::<i32>(), any::<String>())
            .prop_map(move |(suggestion_id, action, rating, text)| {
                ReceivedPayload::SuggestionFeedback {
                    suggestion_id: kept(suggestion_id),
                    action,
                    rating,
                    final_text: raw(text),
                    comment: RawText::default(),
                }
            })
            .prop_map(Some),
        (any::<String>(), "[a-zA-Z0-9-]{0,70}")
            .prop_map(|(language, previous)| preference(&previous, &language))
            .prop_map(Some),
    ]
}

proptest! {
    #[test]
    fn never_panics(
        ids in prop::array::uniform4(any::<String>()),
        fields in prop::array::uniform6(any::<String>()),
        occurred_at in any::<Option<(i64, i32)>>(),
        now in any::<i64>(),
        payload in any_payload(),
    ) {
        let [event_id, user_id, session_id, interaction_id] = ids.each_ref().map(String::as_str);
        let [feature, model, client_name, client_version, platform, jurisdiction] =
            fields.each_ref().map(String::as_str);
        let user_id = RawUserId::new(user_id);
        // As sent, and with what comes first made good, so that the later checks are reached.
        let received = Received {
            event_id, user_id, session_id, interaction_id, occurred_at, feature, model, client_name,
            client_version, platform, jurisdiction, global_privacy_control: false,
            payload: payload.clone(),
        };
        let validator = Validator::new(Limits::default());
        let _ = validator.validate(&TENANT, received, Micros(now));
        let _ = check(Received { payload, ..good() });
    }

    #[test]
    fn language_tags_never_panic_and_are_stable(tag in "[a-zA-Z0-9xX-]{0,40}") {
        if let Some(canonical) = canonical_tag(&tag) {
            prop_assert!(canonical.eq_ignore_ascii_case(&tag));
            let again = canonical_tag(&canonical);
            prop_assert_eq!(again.as_deref(), Some(&*canonical));
        }
    }
}
