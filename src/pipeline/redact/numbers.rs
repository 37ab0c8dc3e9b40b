//! Runs of digit groups, which is what cards and phone numbers are looked for in.
//!
//! A run is digits in groups with one to three of ` `, `-`, `.`, `/`, `(` and `)` between them. It
//! never spans lines, commas or letters.

/// The most separators between two groups of a run, in bytes.
const MAX_SEPARATOR_BYTES: usize = 3;

/// Where a group of digits is, in bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Gives every run of a text, in order.
pub(super) fn for_each_run(text: &str, mut each: impl FnMut(Run<'_>)) {
    let bytes = text.as_bytes();
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let start = at + offset;
        let len = bytes[start..].iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len() - start);
        let goes_on = groups.last().is_some_and(|last| {
            let between = &bytes[last.end..start];
            between.len() <= MAX_SEPARATOR_BYTES && between.iter().all(|b| b" -./()".contains(b))
        });
        if !goes_on && !groups.is_empty() {
            each(Run { text, groups: &groups });
            groups.clear();
        }
        groups.push(Group { start, end: start + len });
        at = start + len;
    }
    if !groups.is_empty() {
        each(Run { text, groups: &groups });
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
