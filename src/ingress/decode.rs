//! Events off the wire, borrowed from the message that holds them.
//!
//! The transport library's decoder makes a `String` of each field, which costs as much as all that is done
//! with an event afterwards. This one reads the same bytes and leaves the texts where they are. It takes
//! and refuses what the library's takes and refuses, which property tests hold it to: of a
//! field that comes twice the last one counts, two messages in one field are merged, unknown fields are
//! skipped, groups too, and text must be UTF-8. See "Encoding" in the documentation of Protocol Buffers.
//!
//! Nothing is checked beyond that: rules are the validator's.

use crate::event::{RawText, RawUserId, Received, ReceivedPayload};

/// The deepest nesting of groups that is skipped, as in the library.
const MAX_GROUP_DEPTH: u32 = 100;
/// The largest number of a field (2^29 - 1).
const MAX_FIELD: u64 = (1 << 29) - 1;

/// A message that is none of this contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not a CollectRequest")]
pub struct DecodeError;

/// The events of a `CollectRequest`, in their order.
///
/// # Errors
/// The message, or an event in it, is malformed; then none of it counts.
pub fn events(message: &[u8]) -> Result<Vec<Received<'_>>, DecodeError> {
    // By the length of the first event: most requests hold events of one kind of client.
    let mut events = Vec::new();
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => {
                let event = reader.bytes(kind)?;
                if events.capacity() == 0 {
                    events.reserve((message.len() / (event.len() + 3)).clamp(1, 1024));
                }
                events.push(self::event(event)?);
            }
            _ => reader.skip(field, kind, 0)?,
        }
    }
    Ok(events)
}

fn event(message: &[u8]) -> Result<Received<'_>, DecodeError> {
    let mut event = Received::default();
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => event.event_id = reader.text(kind)?,
            2 => event.user_id = RawUserId::new(reader.text(kind)?),
            3 => {
                let at = event.occurred_at.get_or_insert_default();
                timestamp(reader.bytes(kind)?, at)?;
            }
            4 => event.session_id = reader.text(kind)?,
            5 => event.interaction_id = reader.text(kind)?,
            6 => event.feature = reader.text(kind)?,
            7 => event.model = reader.text(kind)?,
            8 => client(reader.bytes(kind)?, &mut event)?,
            9 => event.jurisdiction = reader.text(kind)?,
            10 => event.global_privacy_control = reader.varint_of(kind)? != 0,
            20 => typed_text(reader.bytes(kind)?, &mut event.payload)?,
            21 => suggestion_shown(reader.bytes(kind)?, &mut event.payload)?,
            22 => suggestion_feedback(reader.bytes(kind)?, &mut event.payload)?,
            23 => language_preference(reader.bytes(kind)?, &mut event.payload)?,
            _ => reader.skip(field, kind, 0)?,
        }
    }
    Ok(event)
}

fn timestamp(message: &[u8], (seconds, nanos): &mut (i64, i32)) -> Result<(), DecodeError> {
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => *seconds = reader.varint_of(kind)?.cast_signed(),
            2 => *nanos = reader.int32(kind)?,
            _ => reader.skip(field, kind, 0)?,
        }
    }
    Ok(())
}

fn client<'a>(message: &'a [u8], event: &mut Received<'a>) -> Result<(), DecodeError> {
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => event.client_name = reader.text(kind)?,
            2 => event.client_version = reader.text(kind)?,
            3 => event.platform = reader.text(kind)?,
            _ => reader.skip(field, kind, 0)?,
        }
    }
    Ok(())
}

fn typed_text<'a>(message: &'a [u8], payload: &mut Option<ReceivedPayload<'a>>) -> Result<(), DecodeError> {
    let (mut text, mut language) = match payload {
        Some(ReceivedPayload::TypedText { text, language }) => (*text, *language),
        _ => Default::default(),
    };
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => text = RawText::new(reader.text(kind)?),
            2 => language = reader.text(kind)?,
            _ => reader.skip(field, kind, 0)?,
        }
    }
    *payload = Some(ReceivedPayload::TypedText { text, language });
    Ok(())
}

fn suggestion_shown<'a>(
    message: &'a [u8],
    payload: &mut Option<ReceivedPayload<'a>>,
) -> Result<(), DecodeError> {
    let (mut suggestion_id, mut text, mut language, mut latency_ms, mut position) = match payload {
        Some(ReceivedPayload::SuggestionShown { suggestion_id, text, language, latency_ms, position }) => {
            (*suggestion_id, *text, *language, *latency_ms, *position)
        }
        _ => Default::default(),
    };
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => suggestion_id = reader.text(kind)?,
            2 => text = RawText::new(reader.text(kind)?),
            3 => language = reader.text(kind)?,
            4 => latency_ms = reader.uint32(kind)?,
            5 => position = reader.uint32(kind)?,
            _ => reader.skip(field, kind, 0)?,
        }
    }
    *payload = Some(ReceivedPayload::SuggestionShown { suggestion_id, text, language, latency_ms, position });
    Ok(())
}

fn suggestion_feedback<'a>(
    message: &'a [u8],
    payload: &mut Option<ReceivedPayload<'a>>,
) -> Result<(), DecodeError> {
    let (mut suggestion_id, mut action, mut rating, mut final_text, mut comment) = match payload {
        Some(ReceivedPayload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment }) => {
            (*suggestion_id, *action, *rating, *final_text, *comment)
        }
        _ => Default::default(),
    };
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => suggestion_id = reader.text(kind)?,
            2 => action = reader.int32(kind)?,
            3 => rating = reader.int32(kind)?,
            4 => final_text = RawText::new(reader.text(kind)?),
            5 => comment = RawText::new(reader.text(kind)?),
            _ => reader.skip(field, kind, 0)?,
        }
    }
    *payload =
        Some(ReceivedPayload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment });
    Ok(())
}

fn language_preference<'a>(
    message: &'a [u8],
    payload: &mut Option<ReceivedPayload<'a>>,
) -> Result<(), DecodeError> {
    let (mut language, mut previous_language) = match payload {
        Some(ReceivedPayload::LanguagePreference { language, previous_language }) => {
            (*language, *previous_language)
        }
        _ => Default::default(),
    };
    let mut reader = Reader { rest: message };
    while let Some((field, kind)) = reader.key()? {
        match field {
            1 => language = reader.text(kind)?,
            2 => previous_language = reader.text(kind)?,
            _ => reader.skip(field, kind, 0)?,
        }
    }
    *payload = Some(ReceivedPayload::LanguagePreference { language, previous_language });
    Ok(())
}

/// How a field's value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Varint,
    Fixed64,
    Bytes,
    StartGroup,
    EndGroup,
    Fixed32,
}

/// A message, read from the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next field's number and kind; none at the end.
    #[inline]
    fn key(&mut self) -> Result<Option<(u32, Kind)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let kind = match key & 7 {
            0 => Kind::Varint,
            1 => Kind::Fixed64,
            2 => Kind::Bytes,
            3 => Kind::StartGroup,
            4 => Kind::EndGroup,
            5 => Kind::Fixed32,
            _ => return Err(DecodeError),
        };
        match key >> 3 {
            field @ 1..=MAX_FIELD => Ok(Some((field as u32, kind))),
            _ => Err(DecodeError),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            // Of the tenth byte there is room for one bit.
            if at == 9 && byte > 1 {
                return Err(DecodeError);
            }
            n |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(n);
            }
        }
        Err(DecodeError)
    }

    #[inline]
    fn varint_of(&mut self, kind: Kind) -> Result<u64, DecodeError> {
        if kind == Kind::Varint { self.varint() } else { Err(DecodeError) }
    }

    /// The wire has 64 bits for it, of which these count.
    #[inline]
    fn int32(&mut self, kind: Kind) -> Result<i32, DecodeError> {
        Ok(self.varint_of(kind)? as i32)
    }

    #[inline]
    fn uint32(&mut self, kind: Kind) -> Result<u32, DecodeError> {
        Ok(self.varint_of(kind)? as u32)
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(len).map_err(|_| DecodeError)?;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn bytes(&mut self, kind: Kind) -> Result<&'a [u8], DecodeError> {
        if kind != Kind::Bytes {
            return Err(DecodeError);
        }
        let len = self.varint()?;
        self.take(len)
    }

    #[inline]
    fn text(&mut self, kind: Kind) -> Result<&'a str, DecodeError> {
        simdutf8::basic::from_utf8(self.bytes(kind)?).map_err(|_| DecodeError)
    }

    fn skip(&mut self, field: u32, kind: Kind, depth: u32) -> Result<(), DecodeError> {
        match kind {
            Kind::Varint => drop(self.varint()?),
            Kind::Fixed64 => drop(self.take(8)?),
            Kind::Fixed32 => drop(self.take(4)?),
            Kind::Bytes => drop(self.bytes(kind)?),
            Kind::EndGroup => return Err(DecodeError),
            Kind::StartGroup => {
                if depth == MAX_GROUP_DEPTH {
                    return Err(DecodeError);
                }
                loop {
                    match self.key()?.ok_or(DecodeError)? {
                        (end, Kind::EndGroup) if end == field => break,
                        (inner, kind) => self.skip(inner, kind, depth + 1)?,
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
