//! What was found of what is labelled, and what of that which was taken is labelled.

use std::{fmt, ops::Range};

/// How much of one label was found.
#[derive(Default)]
pub(crate) struct Score {
    spans: usize,
    found: usize,
    as_such: usize,
    chars: usize,
    chars_found: usize,
}

impl Score {
    /// Counts a span, given what was taken of its text. Says whether all of it but spaces and punctuation
    /// was taken, as whatever it was.
    pub(crate) fn add(
        &mut self,
        text: &[char],
        span: Range<usize>,
        label: &str,
        taken: &[(Range<usize>, &str)],
    ) -> bool {
        let counts: Vec<usize> = span.clone().filter(|&at| text[at].is_alphanumeric()).collect();
        let is_taken = |at: usize| taken.iter().any(|(range, _)| range.contains(&at));
        let chars_found = counts.iter().filter(|&&at| is_taken(at)).count();
        self.spans += 1;
        self.chars += counts.len();
        self.chars_found += chars_found;
        let found = chars_found == counts.len();
        self.found += usize::from(found);
        let overlaps = |range: &Range<usize>| range.start < span.end && span.start < range.end;
        let as_such =
            found && taken.iter().any(|(range, entity)| overlaps(range) && names(label).contains(entity));
        self.as_such += usize::from(as_such);
        found
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6} {:>8.3} {:>8.3} {:>8.3}",
            self.spans,
            share(self.found, self.spans),
            share(self.as_such, self.spans),
            share(self.chars_found, self.chars),
        )
    }
}

/// What was taken as one entity.
#[derive(Default)]
pub(crate) struct Taken {
    spans: usize,
    right: usize,
    chars: usize,
    chars_right: usize,
}

impl Taken {
    /// Counts a span; it is right when some of it is labelled.
    pub(crate) fn add(&mut self, span: Range<usize>, is_labelled: &[bool]) {
        let right = is_labelled[span.clone()].iter().filter(|&&labelled| labelled).count();
        self.spans += 1;
        self.right += usize::from(right > 0);
        self.chars += span.len();
        self.chars_right += right;
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spans, right, chars, chars_right } = *self;
        write!(f, "{spans:>6} {:>8.3} {:>8.3}", share(right, spans), share(chars_right, chars))
    }
}

/// What this product calls a label of presidio-research.
fn names(label: &str) -> &'static [&'static str] {
    match label {
        "EMAIL_ADDRESS" => &["EMAIL"],
        "CREDIT_CARD" => &["CARD"],
        "PHONE_NUMBER" => &["PHONE"],
        "IBAN_CODE" => &["IBAN"],
        "IP_ADDRESS" => &["IP_ADDRESS"],
        "US_SSN" => &["US_SSN", "US_ITIN"],
        "US_DRIVER_LICENSE" => &["DRIVER_LICENSE"],
        "DOMAIN_NAME" | "URL" => &["URL"],
        "PERSON" | "TITLE" | "PREFIX" => &["PERSON"],
        "ADDRESS" | "STREET_ADDRESS" => &["ADDRESS"],
        "LOCATION" | "GPE" => &["LOCATION", "ADDRESS"],
        "ORGANIZATION" => &["ORGANIZATION"],
        "DATE_TIME" => &["DATE_OF_BIRTH"],
        _ => &[],
    }
}

fn share(some: usize, all: usize) -> f64 {
    percent(some, all) / 100.0
}

/// Hundredths; 0 of nothing.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn percent(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 * 100.0 / all as f64 }
}
