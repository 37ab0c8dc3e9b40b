//! Runs of digit groups, which is what cards and phone numbers are looked for in.
//!
//! A run is digits in groups with one to three of ` `, `-`, `.`, `/`, `(` and `)` between them. It
//! never spans lines, commas or letters.

/// The most separators between two groups of a run, in bytes.
const MAX_SEPARATOR_BYTES: usize = 3;
/// Bytes in which a digit is looked for at a time.
const PIECE_BYTES: usize = 32;
/// Groups that are kept without an allocation. What people write for one number has fewer.
const FEW_GROUPS: usize = 16;

/// Where a group of digits is, in bytes of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A run and the text around it. Groups are named by their index.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) text: &'a str,
    pub(super) groups: &'a [Group],
}

/// Gives every run of a text that has so many digits, in order.
pub(super) fn for_each_run(text: &str, min_digits: usize, mut each: impl FnMut(Run<'_>)) {
    let bytes = text.as_bytes();
    let mut groups = Groups::default();
    let (mut digits, mut at) = (0, 0);
    while let Some(start) = next_digit(bytes, at) {
        let len = bytes[start..].iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len() - start);
        // `at` is where the last group ends.
        let between = &bytes[at..start];
        let goes_on = between.len() <= MAX_SEPARATOR_BYTES && between.iter().all(|b| b" -./()".contains(b));
        if !goes_on {
            if digits >= min_digits {
                each(Run { text, groups: groups.as_slice() });
            }
            groups.clear();
            digits = 0;
        }
        groups.push(Group { start, end: start + len });
        digits += len;
        at = start + len;
    }
    if digits >= min_digits {
        each(Run { text, groups: groups.as_slice() });
    }
}

/// Where the first digit at or after a place is.
fn next_digit(bytes: &[u8], from: usize) -> Option<usize> {
    // No branches within a piece, so that the compiler can take many bytes at a time.
    let holds_digit = |piece: &[u8]| piece.iter().fold(false, |any, b| any | b.is_ascii_digit());
    let pieces = bytes[from..].chunks(PIECE_BYTES).position(holds_digit)?;
    let start = from + pieces * PIECE_BYTES;
    bytes[start..].iter().position(u8::is_ascii_digit).map(|offset| start + offset)
}

/// The groups of one run.
#[derive(Default)]
struct Groups {
    few: [Group; FEW_GROUPS],
    len: usize,
    /// All of them, when they are more than a few.
    many: Vec<Group>,
}

impl Groups {
    fn push(&mut self, group: Group) {
        if let Some(place) = self.few.get_mut(self.len) {
            *place = group;
            self.len += 1;
            return;
        }
        if self.many.is_empty() {
            self.many.extend(self.few);
        }
        self.many.push(group);
    }

    fn clear(&mut self) {
        self.len = 0;
        self.many.clear();
    }

    fn as_slice(&self) -> &[Group] {
        if self.many.is_empty() { &self.few[..self.len] } else { &self.many }
    }
}

impl<'a> Run<'a> {
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn is_last(&self, group: usize) -> bool {
        group + 1 == self.len()
    }

    /// The digits of a group.
    pub(super) fn digits(&self, group: usize) -> &'a [u8] {
        let Group { start, end } = self.groups[group];
        &self.text.as_bytes()[start..end]
    }

    pub(super) fn width(&self, group: usize) -> usize {
        self.groups[group].end - self.groups[group].start
    }

    /// What stands between a group and the next; empty after the last.
    pub(super) fn separator(&self, group: usize) -> &'a str {
        self.groups.get(group + 1).map_or("", |next| &self.text[self.groups[group].end..next.start])
    }

    /// All digits of some groups, in order.
    pub(super) fn digits_of(&self, first: usize, last: usize) -> impl Iterator<Item = u8> + use<'a> {
        let run = *self;
        (first..=last).flat_map(move |group| run.digits(group).iter().copied())
    }

    /// How many digits some groups have.
    pub(super) fn total(&self, first: usize, last: usize) -> usize {
        (first..=last).map(|group| self.width(group)).sum()
    }

    /// The text before a group.
    pub(super) fn before(&self, group: usize) -> &'a str {
        &self.text[..self.groups[group].start]
    }

    /// The text after a group.
    pub(super) fn after(&self, group: usize) -> &'a str {
        &self.text[self.groups[group].end..]
    }
}
