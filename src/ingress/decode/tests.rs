//! What this decoder makes of a message is what the library's makes of it.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::ingress::proto::{
    Client, CollectRequest, Event, LanguagePreference, SuggestionFeedback, SuggestionShown, TypedText,
    event::Payload,
};

/// What the library makes of a message, in the form of this decoder.
fn of(event: &Event) -> Received<'_> {
    static NONE: Client = Client { name: String::new(), version: String::new(), platform: String::new() };
    let client = event.client.as_ref().unwrap_or(&NONE);
    Received {
        event_id: &event.event_id,
        user_id: RawUserId::new(&event.user_id),
        occurred_at: event.occurred_at.map(|at| (at.seconds, at.nanos)),
        session_id: &event.session_id,
        interaction_id: &event.interaction_id,
        feature: &event.feature,
        model: &event.model,
        client_name: &client.name,
        client_version: &client.version,
        platform: &client.platform,
        jurisdiction: &event.jurisdiction,
        global_privacy_control: event.global_privacy_control,
        payload: event.payload.as_ref().map(|payload| match payload {
            Payload::TypedText(it) => {
                ReceivedPayload::TypedText { text: RawText::new(&it.text), language: &it.language }
            }
            Payload::SuggestionShown(it) => ReceivedPayload::SuggestionShown {
                suggestion_id: &it.suggestion_id,
                text: RawText::new(&it.text),
                language: &it.language,
                latency_ms: it.latency_ms,
                position: it.position,
            },
            Payload::SuggestionFeedback(it) => ReceivedPayload::SuggestionFeedback {
                suggestion_id: &it.suggestion_id,
                action: it.action,
                rating: it.rating,
                final_text: RawText::new(&it.final_text),
                comment: RawText::new(&it.comment),
            },
            Payload::LanguagePreference(it) => ReceivedPayload::LanguagePreference {
                language: &it.language,
                previous_language: &it.previous_language,
            },
        }),
    }
}

/// Both decoders on the same bytes.
fn agree(message: &[u8]) -> Result<(), TestCaseError> {
    match (CollectRequest::decode(message), events(message)) {
        (Ok(theirs), Ok(ours)) => {
            let theirs: Vec<_> = theirs.events.iter().map(of).collect();
            // The texts too, which a `Debug` would not show.
            prop_assert!(theirs == ours, "{:?} and {:?}", theirs, ours);
        }
        (Err(_), Err(DecodeError)) => {}
        (theirs, ours) => prop_assert!(false, "{:?} and {:?}", theirs.is_ok(), ours.is_ok()),
    }
    Ok(())
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let text = "[a-z ]{0,9}|\\PC{0,40}";
    prop_oneof![
        (text, text).prop_map(|(text, language)| Payload::TypedText(TypedText { text, language })),
        (text, text, text, any::<u32>(), any::<u32>()).prop_map(
            |(suggestion_id, text, language, latency_ms, position)| {
                let shown = SuggestionShown { suggestion_id, text, language, latency_ms, position };
                Payload::SuggestionShown(shown)
            }
        ),
        (text, any::<i32>(), any::<i32>(), text, text).prop_map(
            |(suggestion_id, action, rating, final_text, comment)| {
                let feedback = SuggestionFeedback { suggestion_id, action, rating, final_text, comment };
                Payload::SuggestionFeedback(feedback)
            }
        ),
        (text, text).prop_map(|(language, previous_language)| {
            Payload::LanguagePreference(LanguagePreference { language, previous_language })
        }),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let text = || "[a-z0-9-]{0,40}|\\PC{0,9}";
    let texts = prop::collection::vec(text(), 10);
    let at = proptest::option::of((any::<i64>(), any::<i32>()));
    (texts, at, any::<bool>(), any::<bool>(), proptest::option::of(any_payload())).prop_map(
        |(texts, at, gpc, has_client, payload)| {
            let mut texts = texts.into_iter();
            let mut next = || texts.next().unwrap_or_default();
            Event {
                event_id: next(),
                user_id: next(),
                occurred_at: at.map(|(seconds, nanos)| prost_types::Timestamp { seconds, nanos }),
                session_id: next(),
                interaction_id: next(),
                feature: next(),
                model: next(),
                client: has_client.then(|| Client { name: next(), version: next(), platform: next() }),
                jurisdiction: next(),
                global_privacy_control: gpc,
                payload,
            }
        },
    )
}

proptest! {
    #[test]
    fn messages_are_read_alike(request in prop::collection::vec(any_event(), 0..4)) {
        let count = request.len();
        let message = CollectRequest { events: request }.encode_to_vec();
        prop_assert_eq!(events(&message).map(|events| events.len()), Ok(count));
        agree(&message)?;
    }

    /// Two encodings in one message are a message, whose fields come twice and are merged.
    #[test]
    fn fields_that_come_twice_are_merged_alike(one in any_event(), two in any_event()) {
        let event = [one.encode_to_vec(), two.encode_to_vec()].concat();
        let mut message = vec![0x0a];
        prost::encoding::encode_varint(event.len() as u64, &mut message);
        message.extend_from_slice(&event);
        prop_assert_eq!(events(&message).map(|events| events.len()), Ok(1));
        agree(&message)?;
    }

    #[test]
    fn what_is_damaged_is_refused_alike(
        request in prop::collection::vec(any_event(), 1..3),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = CollectRequest { events: request }.encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        agree(&message)?;
        agree(&message[..cut.index(message.len() + 1)])?;
    }

    #[test]
    fn any_bytes_are_read_alike(message in prop::collection::vec(any::<u8>(), 0..64)) {
        agree(&message)?;
        // As an event, where more is known of the fields.
        let mut event = vec![0x0a];
        prost::encoding::encode_varint(message.len() as u64, &mut event);
        event.extend_from_slice(&message);
        agree(&event)?;
    }
}

#[test]
fn unknown_fields_and_groups_are_skipped() {
    // Fields 31 (varint), 32 (64 bits), 33 (bytes), 34 (32 bits), 35 (a group with a group in it); then an event id.
    let mut event = vec![0xf8, 0x01, 0x96, 0x01, 0x81, 0x02, 1, 2, 3, 4, 5, 6, 7, 8, 0x8a, 0x02, 1, 9];
    event.extend([0x95, 0x02, 1, 2, 3, 4, 0x9b, 0x02, 0x0b, 0x08, 0x01, 0x0c, 0x9c, 0x02, 0x0a, 1, b'x']);
    let mut message = vec![0x0a, event.len() as u8];
    message.extend(&event);
    assert_eq!(events(&message).unwrap(), [Received { event_id: "x", ..Received::default() }]);
    agree(&message).unwrap();
    // A group that does not end, one that ends with another's number, and one too deep.
    for wrong in [&[0x9b, 0x02][..], &[0x9b, 0x02, 0x0c], &[0x9c, 0x02], &[0x0b; 200]] {
        assert_eq!(events(wrong), Err(DecodeError));
        agree(wrong).unwrap();
    }
}

#[test]
fn a_message_is_not_shown() {
    let request = crate::ingress::request::CollectRequest::new("secret".into());
    assert_eq!(format!("{request:?}"), "CollectRequest(6 bytes)");
}
