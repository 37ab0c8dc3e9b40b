//! The policy: what silence means where, and what no consent can allow.
//!
//! ```text
//! files ─▶ source ─▶ set: versions by date ─▶ store: the one in force ─▶ stamps, seals
//!            ▲                     └─▶ archive: a copy of each ─▶ record: the table `policies`
//!          reload
//! ```
//!
//! A version is a TOML file, whose form `docs/consent.md` describes. Several may lie side by side;
//! the one in force when an event is received decides on it.

use std::{collections::BTreeSet, fmt, sync::Arc};

use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::ConsentScope;
use crate::event::{EventType, Jurisdiction, Micros};

mod archive;
mod countries;
mod date;
mod explain;
mod file;
mod places;
mod record;
mod reload;
mod set;
mod source;
mod store;

pub use archive::PolicyArchive;
pub use places::{PlaceRule, RuleOrigin};
pub use record::PolicyRecorder;
pub use reload::PolicyReloader;
pub use set::{PolicySet, PolicySetError};
pub use source::{PolicySource, SourceError};
pub use store::PolicyStore;

use file::{File, GpcDenies, Terms};
use places::Places;

/// The shipped default.
const BUILTIN: &str = include_str!("../../../policies/opt-in-everywhere.toml");

/// What silence means. Of two, the smaller is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceMeans {
    /// No.
    OptIn,
    /// Yes.
    OptOut,
}

impl SilenceMeans {
    /// As in policy files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OptIn => "opt_in",
            Self::OptOut => "opt_out",
        }
    }

    fn stricter(self, other: Self) -> Self {
        self.min(other)
    }
}

/// A policy that cannot be used. It is refused whole.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A key that no policy has, or a value that the key cannot have.
    #[error("{key}: {message}")]
    Key {
        /// The path of the key, such as `jurisdictions.UK`.
        key: String,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl PolicyError {
    fn key(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Key { key: key.into(), message: message.into() }
    }
}

/// Something for each scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByScope<T> {
    first_party: T,
    affiliates: T,
}

impl<T: Copy> ByScope<T> {
    const fn of(&self, scope: ConsentScope) -> T {
        match scope {
            ConsentScope::FirstParty => self.first_party,
            ConsentScope::Affiliates => self.affiliates,
        }
    }
}

type Rule = ByScope<SilenceMeans>;
/// What it leaves out is as in the next wider rule.
type PartialRule = ByScope<Option<SilenceMeans>>;

/// One version of the policy.
#[derive(Clone, Debug)]
pub struct Policy {
    version: Arc<str>,
    digest: Arc<str>,
    effective_from: Micros,
    body: Arc<str>,
    places: Places,
    gpc_denies: GpcDenies,
    terms: Terms,
    excluded_types: Vec<EventType>,
    excluded_features: BTreeSet<String>,
}

impl Policy {
    /// The shipped default: opt-in everywhere.
    #[must_use]
    pub fn builtin() -> Self {
        match Self::parse(BUILTIN) {
            Ok(policy) => policy,
            // It is part of the program; a test reads it.
            Err(error) => unreachable!("the shipped policy cannot be used: {error}"),
        }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// It is refused whole, with the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file = File::read(text)?;
        Ok(Self {
            effective_from: file.effective_from()?,
            version: file.version.into(),
            digest: sha256_hex(text.as_bytes()).into(),
            body: text.into(),
            places: Places::new(file.default, &file.groups, &file.jurisdictions)?,
            gpc_denies: file.gpc.denies,
            terms: Terms::from_section(file.terms)?,
            excluded_types: file.exclude.event_types()?,
            excluded_features: file.exclude.features()?,
        })
    }

    /// The version, as in the table `policies`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of the file, in lower-case hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The same, for stamps, of which there are many.
    #[must_use]
    pub const fn shared_digest(&self) -> &Arc<str> {
        &self.digest
    }

    /// The file.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }

    /// From when on it is in force.
    #[must_use]
    pub const fn effective_from(&self) -> Micros {
        self.effective_from
    }

    /// The same for people: `2026-01-31`, or `2026-01-31T07:00:00Z`.
    #[must_use]
    pub fn since(&self) -> impl fmt::Display {
        date::Utc(self.effective_from)
    }

    /// What silence means for a scope, in a place.
    #[must_use]
    pub fn silence(&self, place: Jurisdiction, scope: ConsentScope) -> SilenceMeans {
        self.places.silence(place, scope)
    }

    /// The same with the rule that says so: that of the subdivision, else of the country, else the
    /// strictest of its groups, else the default. An unknown place gets the strictest rule of all.
    #[must_use]
    pub fn place_rule(&self, place: Jurisdiction, scope: ConsentScope) -> PlaceRule {
        self.places.rule(place, scope)
    }

    /// Whether a Global Privacy Control signal is a no to a scope.
    #[must_use]
    pub fn gpc_denies(&self, scope: ConsentScope) -> bool {
        scope == ConsentScope::Affiliates || self.gpc_denies == GpcDenies::All
    }

    /// Whether a yes to these terms still counts.
    #[must_use]
    pub fn terms_count(&self, terms: &str) -> bool {
        self.terms.count(terms)
    }

    /// The terms that the policy knows, the oldest first.
    #[must_use]
    pub fn terms(&self) -> &[String] {
        &self.terms.versions
    }

    /// The oldest terms to which a yes counts; `None` when a yes to any terms does.
    #[must_use]
    pub fn oldest_terms(&self) -> Option<&str> {
        self.terms.oldest.map(|oldest| self.terms.versions[oldest].as_str())
    }

    /// Whether no consent can make such an event eligible.
    #[must_use]
    pub fn excludes(&self, event_type: EventType, feature: &str) -> bool {
        self.excluded_types.contains(&event_type) || self.excluded_features.contains(feature)
    }

    /// The kinds of event that no consent can make eligible.
    #[must_use]
    pub fn excluded_event_types(&self) -> &[EventType] {
        &self.excluded_types
    }

    /// The features whose events no consent can make eligible, in order.
    pub fn excluded_features(&self) -> impl Iterator<Item = &str> {
        self.excluded_features.iter().map(String::as_str)
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
