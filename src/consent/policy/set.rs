//! The versions of a policy, side by side, by date.

use std::{path::PathBuf, sync::Arc};

use super::{
    Policy, PolicyError, date,
    source::{Fingerprint, SourceError, Texts},
};
use crate::event::Micros;

/// Versions that cannot be used. They are refused together.
#[derive(Debug, thiserror::Error)]
pub enum PolicySetError {
    /// The files cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// One of them is not a policy.
    #[error("{}{source}", .path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    Policy {
        /// Its file.
        path: Option<PathBuf>,
        /// What is wrong with it.
        source: PolicyError,
    },
    /// Two that cannot be told apart.
    #[error("{second}: {key}: {value:?} is that of {first} too", first = .first.display(), second = .second.display())]
    Twice {
        /// The key that must differ.
        key: &'static str,
        /// Its value.
        value: String,
        /// The file that comes first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// All of them lie in the future.
    #[error("no version is in force yet; the first, {version:?}, will be from {} on", date::Utc(*.from))]
    NotYet {
        /// The first to come.
        version: String,
        /// From when on it will be in force.
        from: Micros,
    },
}

/// A version, and where it was read.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) policy: Arc<Policy>,
    pub(super) file: Option<PathBuf>,
}

/// One or more versions of a policy, in the order in which they come into force.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// Never empty, and of different dates and names.
    versions: Vec<Version>,
    fingerprint: Fingerprint,
}

impl PolicySet {
    /// The shipped default alone.
    #[must_use]
    pub fn builtin() -> Self {
        Self::of_one(Policy::builtin())
    }

    /// One version alone.
    #[must_use]
    pub fn of_one(policy: Policy) -> Self {
        let fingerprint = Texts(vec![(None, policy.body().to_owned())]).fingerprint();
        Self { versions: vec![Version { policy: Arc::new(policy), file: None }], fingerprint }
    }

    pub(super) fn from_texts(texts: Texts, now: Micros) -> Result<Self, PolicySetError> {
        let fingerprint = texts.fingerprint();
        let mut versions = Vec::with_capacity(texts.0.len());
        for (file, text) in texts.0 {
            match Policy::parse(&text) {
                Ok(policy) => versions.push(Version { policy: Arc::new(policy), file }),
                Err(source) => return Err(PolicySetError::Policy { path: file, source }),
            }
        }
        versions.sort_by_key(|version| version.policy.effective_from());
        refuse_twice(&versions)?;
        let set = Self { versions, fingerprint };
        // The shipped default asks nobody for the time.
        let dated = set.versions.iter().any(|version| version.file.is_some());
        if dated && set.in_force(now).is_none() {
            let first = set.at(now);
            return Err(PolicySetError::NotYet {
                version: first.version().to_owned(),
                from: first.effective_from(),
            });
        }
        Ok(set)
    }

    /// The version in force at a time: the newest whose date has come.
    #[must_use]
    pub fn in_force(&self, at: Micros) -> Option<&Arc<Policy>> {
        let begun = self.begun(at);
        begun.checked_sub(1).map(|newest| &self.versions[newest].policy)
    }

    /// The same; before the first date, the first version. That is asked for only about a time that
    /// lies before these versions were loaded.
    #[must_use]
    pub fn at(&self, at: Micros) -> &Arc<Policy> {
        &self.versions[self.begun(at).saturating_sub(1)].policy
    }

    /// The version that comes into force next.
    #[must_use]
    pub fn next_after(&self, at: Micros) -> Option<&Arc<Policy>> {
        self.versions.get(self.begun(at)).map(|version| &version.policy)
    }

    /// All of them, by date.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.versions.iter().map(|version| &version.policy)
    }

    pub(super) fn versions(&self) -> &[Version] {
        &self.versions
    }

    pub(super) const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// How many of them have come into force by then.
    fn begun(&self, at: Micros) -> usize {
        self.versions.partition_point(|version| version.policy.effective_from() <= at)
    }
}

fn refuse_twice(versions: &[Version]) -> Result<(), PolicySetError> {
    let twice = |key, value: String, first: &Version, second: &Version| {
        let path = |version: &Version| version.file.clone().unwrap_or_default();
        Err(PolicySetError::Twice { key, value, first: path(first), second: path(second) })
    };
    for pair in versions.windows(2) {
        if pair[0].policy.effective_from() == pair[1].policy.effective_from() {
            return twice("effective_from", pair[1].policy.since().to_string(), &pair[0], &pair[1]);
        }
    }
    let mut by_name: Vec<&Version> = versions.iter().collect();
    by_name.sort_by_key(|version| version.policy.version());
    for pair in by_name.windows(2) {
        if pair[0].policy.version() == pair[1].policy.version() {
            return twice("version", pair[1].policy.version().to_owned(), pair[0], pair[1]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(version: &str, from: &str) -> String {
        format!(
            "version = \"{version}\"\neffective_from = \"{from}\"\n[default]\nfirst_party = \"opt_in\"\naffiliates = \"opt_in\"\n"
        )
    }

    fn set(versions: &[(&str, &str)], now: &str) -> Result<PolicySet, PolicySetError> {
        let texts = versions.iter().map(|(version, from)| {
            (Some(PathBuf::from(format!("{version}-{from}.toml"))), text(version, from))
        });
        PolicySet::from_texts(Texts(texts.collect()), date::parse(now).unwrap())
    }

    #[test]
    fn the_newest_version_whose_date_has_come_is_in_force() {
        let versions = [("c", "2026-03-01T00:00:00+01:00"), ("a", "2026-01-01"), ("b", "2026-02-01")];
        let set = set(&versions, "2026-02-15").unwrap();
        assert_eq!(set.policies().map(|policy| policy.version()).collect::<Vec<_>>(), ["a", "b", "c"]);
        for (at, current, next) in [
            ("2025-12-31T23:59:59.999999Z", None, Some("a")),
            ("2026-01-01", Some("a"), Some("b")),
            ("2026-01-31T23:59:59.999999Z", Some("a"), Some("b")),
            ("2026-02-01", Some("b"), Some("c")),
            ("2026-02-28T22:59:59.999999Z", Some("b"), Some("c")),
            ("2026-02-28T23:00:00Z", Some("c"), None),
            ("2148-12-31", Some("c"), None),
        ] {
            let at = date::parse(at).unwrap();
            let name = |policy: Option<&Arc<Policy>>| policy.map(|policy| policy.version().to_owned());
            assert_eq!(name(set.in_force(at)).as_deref(), current);
            assert_eq!(name(set.next_after(at)).as_deref(), next);
            assert_eq!(set.at(at).version(), current.unwrap_or("a"));
        }
    }

    #[test]
    fn versions_that_cannot_be_told_apart_are_refused() {
        let error =
            set(&[("a", "2026-01-01"), ("b", "2026-01-01T01:00:00+01:00")], "2026-02-01").unwrap_err();
        assert!(error.to_string().contains("b-2026-01-01T01:00:00+01:00.toml: effective_from"), "{error}");
        let error = set(&[("a", "2026-01-01"), ("b", "2026-01-02"), ("a", "2026-01-03")], "2026-02-01");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("version") && error.contains("a-2026-01-01.toml"), "{error}");
    }

    #[test]
    fn a_set_of_which_nothing_is_in_force_yet_is_refused_and_says_from_when_on() {
        let versions = [("b", "2026-03-01"), ("a", "2026-02-01T08:00:00Z")];
        let error = set(&versions, "2026-02-01T07:59:59.999999Z").unwrap_err().to_string();
        assert!(error.contains("\"a\"") && error.contains("2026-02-01T08:00:00Z"), "{error}");
        assert!(set(&versions, "2026-02-01T08:00:00Z").is_ok());
        assert_eq!(PolicySet::builtin().at(Micros(0)).version(), "opt-in-everywhere-1");
        let builtin = super::super::PolicySource::Builtin.load(Micros(0)).unwrap();
        assert_eq!(builtin.fingerprint(), PolicySet::builtin().fingerprint());
    }

    #[test]
    fn one_that_is_wrong_takes_all_with_it_and_is_named() {
        let texts = vec![
            (Some("good.toml".into()), text("a", "2026-01-01")),
            (Some("bad.toml".into()), text("b", "2026-02-30")),
        ];
        let error = PolicySet::from_texts(Texts(texts), Micros::now()).unwrap_err().to_string();
        assert!(error.starts_with("bad.toml: effective_from: "), "{error}");
    }
}
