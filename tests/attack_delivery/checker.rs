//! What must hold of what was sent and the rows that came of it. A pure function.

use std::fmt;

use crate::{
    event::{Key, Kind},
    history::{History, Record},
    rows::{Found, Place, Rows},
};

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Acknowledged, and not visible.
    Lost,
    /// More than one row where it counts once.
    CountsTwice,
    /// More rows on the disk than requests that may have been taken: delivery inserted one twice.
    InsertedTwice,
    /// There, and nobody sent it, or it was refused or rejected each time.
    NeverTaken,
    /// Not what was sent.
    Altered,
    /// In a view that is not its own.
    WrongView,
    /// Its copies are not decided by the narrowest of them.
    Widened,
    /// Good and rejected, or bad and not.
    Misjudged,
    /// An answer that no client should get.
    Complaint,
}

/// A finding.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) fault: Fault,
    pub(crate) key: Option<Key>,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, key, what } = self;
        write!(f, "{fault:?}")?;
        if let Some(Key { tenant, id }) = key {
            write!(f, " event {id} of tenant {tenant}")?;
        }
        write!(f, ": {what}")
    }
}

/// Everything that does not hold.
pub(crate) fn check(history: &History, rows: &Rows) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    for complaint in &history.complaints {
        findings.add(Fault::Complaint, None, complaint.clone());
    }
    if rows.foreign > 0 {
        findings.add(Fault::NeverTaken, None, format!("{} rows of other tenants", rows.foreign));
    }
    for (key, record) in &history.events {
        if (record.rejected > 0) != record.is_bad || (record.is_bad && record.acknowledged > 0) {
            // A bad one of which no answer is known was not judged.
            if record.rejected > 0 || record.acknowledged > 0 {
                findings.add(Fault::Misjudged, Some(*key), format!("{record:?}"));
            }
        }
        presence(*key, record, rows, &mut findings);
    }
    let places = [&rows.stored, &rows.counted].into_iter().chain(&rows.views).chain(&rows.training);
    for (place, name) in places.zip(names()) {
        for (key, found) in place {
            one(*key, found, name, history, &mut findings);
        }
    }
    for (key, stored) in &rows.stored {
        if rows.counted.get(key).is_some_and(|counted| counted.narrowest != stored.narrowest) {
            findings.add(Fault::Widened, Some(*key), "events FINAL shows a wider copy".to_owned());
        }
    }
    for (n, training) in rows.training.iter().enumerate() {
        for key in training.keys() {
            let needed = i8::try_from(n).unwrap_or_default() + 1;
            if rows.stored.get(key).is_none_or(|stored| stored.narrowest < needed) {
                findings.add(Fault::Widened, Some(*key), "a view for training shows it".to_owned());
            }
        }
    }
    for key in &history.narrow {
        let places = [&rows.counted].into_iter().chain(&rows.views);
        if places.filter_map(|place| place.get(key)).any(|found| found.narrowest > 0) {
            findings.add(Fault::Widened, Some(*key), "one of its requests came after a no".to_owned());
        }
    }
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, fault: Fault, key: Option<Key>, what: String) {
        self.0.push(Finding { fault, key, what });
    }
}

/// The places in the order of [`check`].
fn names() -> impl Iterator<Item = &'static str> {
    ["events", "events FINAL"]
        .into_iter()
        .chain(Kind::ALL.map(Kind::view))
        .chain(["training_first_party", "training_affiliates"])
}

/// An acknowledged event is in all three places that it has to be in.
fn presence(key: Key, record: &Record, rows: &Rows, findings: &mut Findings) {
    // What is in one of them has to be in all.
    if record.acknowledged == 0 && !rows.stored.contains_key(&key) {
        return;
    }
    let view = Kind::ALL.iter().zip(&rows.views).find(|(kind, _)| **kind == record.kind);
    let places: [(&str, Option<&Place>); 3] = [
        ("events", Some(&rows.stored)),
        ("events FINAL", Some(&rows.counted)),
        (record.kind.view(), view.map(|(_, place)| place)),
    ];
    for (name, place) in places {
        if place.is_none_or(|place| !place.contains_key(&key)) {
            findings.add(Fault::Lost, Some(key), format!("not in {name}; {record:?}"));
        }
    }
}

/// What is in a place was sent, is what was sent, and is there as often as it may be.
fn one(key: Key, found: &Found, place: &str, history: &History, findings: &mut Findings) {
    let Some(record) = history.events.get(&key) else {
        findings.add(Fault::NeverTaken, Some(key), format!("{place} has it, and nobody sent it"));
        return;
    };
    if record.most_copies() == 0 || record.is_bad {
        findings.add(Fault::NeverTaken, Some(key), format!("{place} has it; {record:?}"));
    } else if place == "events" && found.copies > u32::from(record.most_copies()) {
        let what = format!("{} rows; {record:?}", found.copies);
        findings.add(Fault::InsertedTwice, Some(key), what);
    } else if place != "events" && found.copies > 1 {
        findings.add(Fault::CountsTwice, Some(key), format!("{} rows in {place}", found.copies));
    }
    if found.digest != Some(record.digest) {
        findings.add(Fault::Altered, Some(key), format!("in {place}: {found:?}; {record:?}"));
    }
    let is_view = Kind::ALL.iter().any(|kind| kind.view() == place);
    if is_view && place != record.kind.view() {
        findings.add(Fault::WrongView, Some(key), format!("{place} has it; {record:?}"));
    }
}

#[cfg(test)]
mod tests;
