//! Where the messages of a gRPC body begin and end, without decoding them.
//!
//! A message has a prefix of five bytes, a flag and its length in big-endian order; see "Length-Prefixed-Message" in
//! gRPC over HTTP/2.

/// The flag and the length.
const PREFIX_BYTES: usize = 5;

/// Follows a body piece by piece.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    /// Between messages, or within a prefix.
    Prefix { have: usize, bytes: [u8; PREFIX_BYTES] },
    /// Within a message.
    Message { left: u32 },
}

/// What a piece did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Advance {
    /// The length of the message that it began and did not end.
    pub(super) begun: Option<u32>,
    /// How many messages it ended.
    pub(super) ended: u32,
}

impl Framing {
    pub(super) const fn new() -> Self {
        Self::Prefix { have: 0, bytes: [0; PREFIX_BYTES] }
    }

    /// Whether the body may end here.
    pub(super) const fn is_between(self) -> bool {
        matches!(self, Self::Prefix { have: 0, .. })
    }

    pub(super) fn advance(&mut self, mut piece: &[u8]) -> Advance {
        let mut advance = Advance::default();
        while !piece.is_empty() {
            match self {
                Self::Prefix { have, bytes } => {
                    let n = (PREFIX_BYTES - *have).min(piece.len());
                    bytes[*have..*have + n].copy_from_slice(&piece[..n]);
                    *have += n;
                    piece = &piece[n..];
                    if *have == PREFIX_BYTES {
                        let [_, len @ ..] = *bytes;
                        let len = u32::from_be_bytes(len);
                        if len == 0 {
                            advance.ended += 1;
                            *self = Self::new();
                        } else {
                            advance.begun = Some(len);
                            *self = Self::Message { left: len };
                        }
                    }
                }
                Self::Message { left } => {
                    // At most `left`, so it fits.
                    let n = u32::try_from(piece.len()).unwrap_or(u32::MAX).min(*left);
                    *left -= n;
                    piece = &piece[n as usize..];
                    if *left == 0 {
                        advance.begun = None;
                        advance.ended += 1;
                        *self = Self::new();
                    }
                }
            }
        }
        advance
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(lens: &[u32]) -> Vec<u8> {
        lens.iter()
            .flat_map(|len| {
                let mut message = vec![0];
                message.extend_from_slice(&len.to_be_bytes());
                message.resize(5 + *len as usize, 7);
                message
            })
            .collect()
    }

    #[test]
    fn a_message_that_is_begun_is_told_with_its_length() {
        let body = body(&[3, 0, 1000]);
        let mut framing = Framing::new();
        assert_eq!(framing.advance(&body[..4]), Advance::default());
        assert!(!framing.is_between());
        assert_eq!(framing.advance(&body[4..6]), Advance { begun: Some(3), ended: 0 });
        assert_eq!(framing.advance(&body[6..20]), Advance { begun: Some(1000), ended: 2 });
        assert_eq!(framing.advance(&body[20..]), Advance { begun: None, ended: 1 });
        assert!(framing.is_between());
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_the_same_messages(
            lens in prop::collection::vec(0..200_u32, 0..20),
            cuts in prop::collection::vec(1..64_usize, 1..200),
        ) {
            let body = body(&lens);
            let mut framing = Framing::new();
            let (mut rest, mut ended, mut open) = (&body[..], 0, None);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                rest = after;
                let advance = framing.advance(piece);
                ended += advance.ended;
                if advance.ended > 0 {
                    open = None;
                }
                open = advance.begun.or(open);
                let given = body.len() - rest.len();
                let (mut n, mut at) = (0, 0);
                while lens.get(n).is_some_and(|len| at + 5 + *len as usize <= given) {
                    at += 5 + lens[n] as usize;
                    n += 1;
                }
                prop_assert_eq!(ended as usize, n);
                let into = given - at;
                prop_assert_eq!(framing.is_between(), into == 0);
                prop_assert_eq!(open, (into >= 5).then(|| lens[n]));
            }
        }
    }
}
