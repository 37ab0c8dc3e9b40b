//! A request that is encoded once and sent many times, each time with ids and times of its own.

use assent::ingress::proto::{self, event::Payload};
use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::{
    Generated,
    ids::{ID_CHARS, Ids},
    moment::{self, MOMENT_BYTES},
};

/// gRPC puts a flag and a length before each message.
pub(crate) const PREFIX_BYTES: usize = 5;
/// The tag of `CollectRequest.events`.
const EVENTS_TAG: u8 = 0x0a;

/// A `CollectRequest` with its gRPC prefix.
pub(crate) struct Body {
    framed: Box<[u8]>,
    marks: Box<[Mark]>,
    /// Of its events, those whose author's answer makes them eligible.
    pub(crate) eligible: u32,
    /// What people wrote, in all of its events.
    pub(crate) text_bytes: u32,
}

/// What is to be written into an event.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Where the 36 characters of its id begin.
    id: u32,
    /// Where the fields of its `occurred_at` begin.
    moment: u32,
    /// How long before the request it happened.
    age_micros: u32,
}

impl Body {
    /// Encodes events. Ids and times are placeholders until [`stamped`](Self::stamped).
    pub(super) fn new(events: impl Iterator<Item = Generated>) -> Self {
        let mut framed = vec![0; PREFIX_BYTES];
        let mut marks = Vec::new();
        let (mut eligible, mut text_bytes) = (0, 0);
        for Generated { event, age_micros, eligible: is_eligible } in events {
            let encoded = event.encode_to_vec();
            framed.push(EVENTS_TAG);
            // Writing to a Vec cannot fail.
            let _ = prost::encode_length_delimiter(encoded.len(), &mut framed);
            marks.push(Mark { age_micros, ..mark(&event, framed.len()) });
            framed.extend_from_slice(&encoded);
            eligible += u32::from(is_eligible);
            text_bytes += text(&event).len();
        }
        let bytes = narrow(framed.len() - PREFIX_BYTES);
        framed[1..PREFIX_BYTES].copy_from_slice(&bytes.to_be_bytes());
        Self { framed: framed.into(), marks: marks.into(), eligible, text_bytes: narrow(text_bytes) }
    }

    pub(crate) const fn framed_bytes(&self) -> usize {
        self.framed.len()
    }

    pub(crate) fn events(&self) -> u32 {
        narrow(self.marks.len())
    }

    /// A copy to send at `unix_micros`, the only one that is made of it on this side of the kernel.
    pub(crate) fn stamped(&self, ids: &mut Ids, unix_micros: u64) -> Bytes {
        let mut copy = BytesMut::from(&*self.framed);
        for mark in &self.marks {
            let id = copy[mark.id as usize..].first_chunk_mut::<ID_CHARS>();
            if let Some(id) = id {
                ids.write(unix_micros / 1_000, id);
            }
            let moment = copy[mark.moment as usize..].first_chunk_mut::<MOMENT_BYTES>();
            if let Some(moment) = moment {
                moment::write(unix_micros - u64::from(mark.age_micros), moment);
            }
        }
        copy.freeze()
    }
}

/// Where id and time of an event lie that begins at `start`. Fields are encoded in the order of their numbers: the id
/// comes first, then the author, then the time.
fn mark(event: &proto::Event, start: usize) -> Mark {
    let head = proto::Event {
        event_id: event.event_id.clone(),
        user_id: event.user_id.clone(),
        ..proto::Event::default()
    };
    Mark {
        // Behind a tag and a length of one byte each.
        id: narrow(start + 2),
        moment: narrow(start + head.encoded_len() + 2),
        age_micros: 0,
    }
}

/// Sizes in a request, which events_per_request and the longest text keep far below 4 GiB.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// What ends up in the column `text`.
fn text(event: &proto::Event) -> &str {
    match &event.payload {
        Some(Payload::TypedText(typed)) => &typed.text,
        Some(Payload::SuggestionShown(shown)) => &shown.text,
        Some(Payload::SuggestionFeedback(feedback)) => &feedback.final_text,
        Some(Payload::LanguagePreference(_)) | None => "",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::{
        generate::{Generator, people},
        scenario::Scenario,
    };

    /// Tags of `Event`.
    const EVENT_ID_TAG: u8 = 0x0a;
    const OCCURRED_AT_TAG: u8 = 0x1a;
    const NOW: u64 = 1_790_000_000_123_456;

    fn generated(events: usize) -> Vec<Generated> {
        let scenario = Scenario::parse(include_str!("../../scenarios/smoke.toml")).unwrap();
        let people = Arc::new(people(&scenario));
        let mut generator = Generator::new(&scenario, people);
        (0..events).map(|_| generator.next()).collect()
    }

    fn decode(framed: &Bytes) -> proto::CollectRequest {
        let message = framed.slice(PREFIX_BYTES..);
        assert_eq!(framed[..PREFIX_BYTES], [&[0][..], &(message.len() as u32).to_be_bytes()].concat());
        proto::CollectRequest::decode(message).unwrap()
    }

    #[test]
    fn only_ids_and_times_differ_from_what_was_made() {
        let made: Vec<proto::Event> = generated(300).into_iter().map(|it| it.event).collect();
        let body = Body::new(generated(300).into_iter());
        let mut ids = Ids::new();
        let mut seen = HashSet::new();
        for send in 0..3 {
            let now = NOW + send * 250_000;
            let sent = decode(&body.stamped(&mut ids, now)).events;
            assert_eq!((sent.len(), body.events()), (made.len(), 300));
            for (sent, made) in sent.into_iter().zip(&made) {
                assert!(seen.insert(sent.event_id.clone()), "{} twice", sent.event_id);
                let at = sent.occurred_at.unwrap();
                let age = now as i64 - (at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000);
                assert!((5_000..3_300_000).contains(&age), "{age} µs ago");
                let stamp = proto::Event {
                    event_id: sent.event_id.clone(),
                    occurred_at: sent.occurred_at,
                    ..made.clone()
                };
                assert_eq!(sent, stamp);
            }
        }
        assert_eq!(seen.len(), 900);
    }

    #[test]
    fn marks_lie_behind_their_tags_whatever_the_author_is_called() {
        for user in ["", "u", &"long".repeat(64)] {
            let mut events = generated(1);
            events[0].event.user_id = user.to_owned();
            let body = Body::new(events.into_iter());
            let Mark { id, moment, .. } = body.marks[0];
            let before = |at: u32| [body.framed[at as usize - 2], body.framed[at as usize - 1]];
            assert_eq!(before(id), [EVENT_ID_TAG, ID_CHARS as u8]);
            assert_eq!(before(moment), [OCCURRED_AT_TAG, MOMENT_BYTES as u8]);
            assert_eq!(decode(&body.stamped(&mut Ids::new(), NOW)).events[0].user_id, user);
        }
    }
}
