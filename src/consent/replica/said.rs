//! What a person said: tens of millions of people have one each, in 13 bytes.

use crate::consent::{ConsentState, Source};

/// The newest change of a scope, and how long ago the newest was that was not a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Of the newest change.
    version: u32,
    /// From the lowest bit: state, source, and the index into [`super::Terms`].
    packed: u16,
    /// How many changes ago the newest was that was not a yes, in versions; [`Said::NEVER`] if none was.
    /// What lies further back than fits counts as just so far back: nearer than it was, which is the
    /// careful side.
    since_no: u8,
}

/// What a person said: first party, affiliates.
pub(super) type Entry = [Said; 2];

/// An entry in few bytes, which may lie anywhere.
#[derive(Clone, Copy)]
pub(super) struct PackedEntry([u8; 13]);

impl PackedEntry {
    /// Of somebody who said nothing.
    pub(super) const NOTHING: Self =
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, Said::NEVER | Said::NEVER << 4]);
}

impl From<Entry> for PackedEntry {
    fn from([first, second]: Entry) -> Self {
        let mut bytes = [0; 13];
        bytes[..4].copy_from_slice(&first.version.to_ne_bytes());
        bytes[4..8].copy_from_slice(&second.version.to_ne_bytes());
        bytes[8..10].copy_from_slice(&first.packed.to_ne_bytes());
        bytes[10..12].copy_from_slice(&second.packed.to_ne_bytes());
        bytes[12] = first.since_no | second.since_no << 4;
        Self(bytes)
    }
}

impl From<PackedEntry> for Entry {
    fn from(PackedEntry(bytes): PackedEntry) -> Self {
        let version =
            |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let packed = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        [
            Said { version: version(0), packed: packed(8), since_no: bytes[12] & 0xf },
            Said { version: version(4), packed: packed(10), since_no: bytes[12] >> 4 },
        ]
    }
}

impl Default for Said {
    fn default() -> Self {
        Self { version: 0, packed: 0, since_no: Self::NEVER }
    }
}

impl Said {
    const STATE_BITS: u16 = 2;
    const SOURCE_BITS: u16 = 3;
    const TERMS_BITS: u16 = u16::BITS as u16 - Self::STATE_BITS - Self::SOURCE_BITS;
    /// The largest index of terms.
    pub(super) const MAX_TERMS: u16 = (1 << Self::TERMS_BITS) - 1;
    /// The largest that half a byte holds.
    const NEVER: u8 = 0xf;

    pub(super) fn new(version: u32, state: ConsentState, source: Source, terms: u16) -> Self {
        let packed = state as u16
            | (source as u16) << Self::STATE_BITS
            | terms << (Self::STATE_BITS + Self::SOURCE_BITS);
        let since_no = if state == ConsentState::Granted { Self::NEVER } else { 0 };
        Self { version, packed, since_no }
    }

    pub(super) const fn version(self) -> u32 {
        self.version
    }

    pub(super) fn state(self) -> ConsentState {
        let bits = self.packed & ((1 << Self::STATE_BITS) - 1);
        ConsentState::ALL.get(usize::from(bits)).copied().unwrap_or(ConsentState::Denied)
    }

    pub(super) fn source(self) -> Source {
        let bits = self.packed >> Self::STATE_BITS & ((1 << Self::SOURCE_BITS) - 1);
        Source::ALL.get(usize::from(bits)).copied().unwrap_or_default()
    }

    pub(super) const fn terms(self) -> u16 {
        self.packed >> (Self::STATE_BITS + Self::SOURCE_BITS)
    }

    /// The version of the newest change that was not a yes.
    pub(super) fn no_version(self) -> Option<u32> {
        (self.since_no != Self::NEVER).then(|| self.version().saturating_sub(self.since_no.into()))
    }

    /// Both changes, in whatever order they came in. Two collectors may give one version at once; then
    /// the one that says less counts, everywhere.
    pub(super) fn merged(self, other: Self) -> Self {
        let rank = |said: Self| (said.version(), caution(said.state()));
        let newest = if rank(other) > rank(self) { other } else { self };
        let no = self.no_version().max(other.no_version());
        let since_no = no.map_or(Self::NEVER, |no| {
            u8::try_from(newest.version() - no).unwrap_or(Self::NEVER).min(Self::NEVER - 1)
        });
        Self { since_no, ..newest }
    }
}

const fn caution(state: ConsentState) -> u8 {
    match state {
        ConsentState::Granted => 0,
        ConsentState::Unset => 1,
        ConsentState::Denied => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_of_long_ago_is_never_forgotten() {
        let mut said = Said::new(1, ConsentState::Denied, Source::Admin, 7);
        for version in [2, 14, 15, 16, 17, 70_000, 200_000] {
            said = said.merged(Said::new(version, ConsentState::Granted, Source::Import, Said::MAX_TERMS));
            // Nearer than it was, never further: a row is narrowed too often at worst.
            assert!(said.no_version().is_some_and(|no| (1..version).contains(&no)), "{version}");
        }
        assert_eq!(
            (said.state(), said.source(), said.terms()),
            (ConsentState::Granted, Source::Import, Said::MAX_TERMS)
        );
        assert_eq!(Said::default().no_version(), None);
    }

    #[test]
    fn a_no_of_not_so_long_ago_is_known_to_the_version() {
        let no = Said::new(1, ConsentState::Denied, Source::Admin, 0);
        for version in [2, 10, 15] {
            let said = no.merged(Said::new(version, ConsentState::Granted, Source::Admin, 0));
            assert_eq!(said.no_version(), Some(1));
        }
    }

    #[test]
    fn words_are_numbered_by_their_place() {
        for (n, state) in ConsentState::ALL.into_iter().enumerate() {
            assert_eq!((state as usize, Said::new(1, state, Source::Admin, 0).state()), (n, state));
        }
        for (n, source) in Source::ALL.into_iter().enumerate() {
            assert_eq!(
                (source as usize, Said::new(1, ConsentState::Granted, source, 0).source()),
                (n, source)
            );
        }
    }

    #[test]
    fn an_entry_survives_its_packing() {
        let entry = [
            Said::new(u32::MAX, ConsentState::Denied, Source::GpcSignal, Said::MAX_TERMS),
            Said::new(1, ConsentState::Unset, Source::Admin, 3).merged(Said::new(
                9,
                ConsentState::Granted,
                Source::Import,
                0,
            )),
        ];
        assert_eq!(Entry::from(PackedEntry::NOTHING), Entry::default());
        for entry in [entry, [entry[1], entry[0]], Entry::default()] {
            assert_eq!(Entry::from(PackedEntry::from(entry)), entry);
        }
    }
}
