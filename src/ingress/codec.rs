//! Messages as Protocol Buffers, with a limit to how many fields one may have.
//!
//! A decoded event takes some hundred bytes however little was sent of it, and an empty one is sent in
//! two: 8 MiB of empty events would be gigabytes in memory. So the fields of a message are counted
//! before it is decoded. They are skipped over by their lengths, which costs next to nothing.

use std::marker::PhantomData;

use bytes::Buf;
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use super::request::CollectRequest;

/// The most fields of a message, its events among them. Those of an event are not counted: none of them
/// repeats.
pub(crate) const MAX_FIELDS: usize = 1 << 17;

/// [`tonic_prost::ProstCodec`] with the limit.
#[derive(Debug)]
pub(crate) struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: FromWire + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> BoundedDecoder<U> {
        BoundedDecoder(PhantomData)
    }
}

/// What can be made of a message.
pub(crate) trait FromWire: Sized {
    /// Takes all of a buffer, which is one message.
    fn from_wire(message: impl Buf) -> Result<Self, prost::DecodeError>;
}

impl<M: Message + Default> FromWire for M {
    fn from_wire(message: impl Buf) -> Result<Self, prost::DecodeError> {
        M::decode(message)
    }
}

impl FromWire for CollectRequest {
    fn from_wire(mut message: impl Buf) -> Result<Self, prost::DecodeError> {
        // The library's buffer gives a part of itself away, so nothing is copied.
        Ok(Self::new(message.copy_to_bytes(message.remaining())))
    }
}

/// Counts, then decodes.
#[derive(Debug)]
pub(crate) struct BoundedDecoder<U>(PhantomData<U>);

impl<U: FromWire> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The message lies in one piece: the library gathers it before it calls.
        if has_more_fields(buf.chunk(), MAX_FIELDS) {
            return Err(Status::out_of_range("too many fields"));
        }
        // As the library's own decoder says it; the client gets another status.
        U::from_wire(buf).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// Whether a message has more than `most` fields at its top. What is no message is left to the decoder.
fn has_more_fields(mut message: &[u8], most: usize) -> bool {
    let mut fields = 0;
    while !message.is_empty() {
        fields += 1;
        if fields > most {
            return true;
        }
        let Ok(key) = prost::encoding::decode_varint(&mut message) else { return false };
        let skipped = match key & 7 {
            0 => match prost::encoding::decode_varint(&mut message) {
                Ok(_) => 0,
                Err(_) => return false,
            },
            1 => 8,
            2 => match prost::encoding::decode_varint(&mut message) {
                Ok(len) => usize::try_from(len).unwrap_or(usize::MAX),
                Err(_) => return false,
            },
            5 => 4,
            // Groups, which this contract has none of.
            _ => return false,
        };
        match message.get(skipped..) {
            Some(rest) => message = rest,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::proto::{CollectRequest, Event, event::Payload};

    #[test]
    fn events_are_counted_and_what_is_in_them_is_not() {
        let full = Event {
            user_id: "ann".to_owned(),
            occurred_at: Some(prost_types::Timestamp { seconds: 1, nanos: 2 }),
            global_privacy_control: true,
            payload: Some(Payload::TypedText(Default::default())),
            ..Event::default()
        };
        for event in [Event::default(), full] {
            let request = CollectRequest { events: vec![event; 100] }.encode_to_vec();
            assert!(!has_more_fields(&request, 100));
            assert!(has_more_fields(&request, 99));
        }
    }

    #[test]
    fn every_kind_of_field_is_skipped() {
        // Fields 2 (varint), 3 (64 bits), 4 (32 bits), 5 (bytes).
        let message = [0x10, 0x96, 0x01, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x25, 1, 2, 3, 4, 0x2a, 2, 9, 9];
        assert!(has_more_fields(&message, 3) && !has_more_fields(&message, 4));
        // Cut off anywhere, it is the decoder's.
        for end in 0..message.len() {
            assert!(!has_more_fields(&message[..end], 4));
        }
        assert!(!has_more_fields(&[0xff; 64], 4));
    }

    #[test]
    fn what_a_message_can_become_is_bounded() {
        // Decoded, and rejected one by one.
        let event = size_of::<crate::event::Received<'_>>();
        let rejected = size_of::<crate::ingress::proto::RejectedEvent>() + 256;
        assert!(MAX_FIELDS * (event + rejected) < 256 << 20, "{event} {rejected}");
    }
}
