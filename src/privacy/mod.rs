//! What a person may ask for: to be erased, and to see what is held about them.
//!
//! [`erasure`] removes a person from every table, spool and quarantine, and proves it by a record; [`subject`] reads
//! out everything that the tables hold about one. `docs/privacy.md` says in prose what holds.

pub mod erasure;
pub mod subject;

use crate::pipeline::Subjects;

/// Pseudonyms as parameters of a query: its text, which ClickHouse may log, names none of them.
#[derive(Debug)]
struct ByParameters {
    /// What stands for them in the query.
    list: String,
    params: Vec<(String, String)>,
}

impl ByParameters {
    fn new(subjects: &Subjects) -> Self {
        let params: Vec<_> =
            (0..).zip(subjects).map(|(n, id): (u32, _)| (format!("subject{n}"), id.to_string())).collect();
        let list = params.iter().map(|(name, _)| format!("{{{name}:UUID}}")).collect::<Vec<_>>().join(", ");
        Self { list, params }
    }

    /// All of them, and one more.
    fn with<'a>(&'a self, other: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
        let own = self.params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain([other]).collect()
    }
}
