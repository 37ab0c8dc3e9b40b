//! A policy file's form, and the checks of it that concern one section alone.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::{Table, Value};

use super::{PartialRule, PolicyError, Rule, date};
use crate::{
    event::{EventType, Micros},
    pipeline::validate,
};

/// The longest name of a version.
const MAX_VERSION_BYTES: usize = 128;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: String,
    /// TOML knows dates too; both ways of writing one mean the same.
    effective_from: Value,
    pub(super) default: Rule,
    #[serde(default)]
    pub(super) gpc: Gpc,
    #[serde(default)]
    pub(super) terms: TermsSection,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) jurisdictions: BTreeMap<String, PartialRule>,
    #[serde(default)]
    pub(super) exclude: Exclude,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gpc {
    pub(super) denies: GpcDenies,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GpcDenies {
    #[default]
    Affiliates,
    All,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TermsSection {
    versions: Vec<String>,
    oldest: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exclude {
    #[serde(default)]
    event_types: Vec<String>,
    #[serde(default)]
    pub(super) features: BTreeSet<String>,
}

impl File {
    pub(super) fn read(text: &str) -> Result<Self, PolicyError> {
        let table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
        let file: Self = serde_path_to_error::deserialize(table).map_err(|error| {
            let path = error.path().to_string();
            let key = if path == "." { "the file".to_owned() } else { path };
            PolicyError::key(key, error.inner().message())
        })?;
        let version = file.version.trim();
        if version.is_empty() {
            return Err(PolicyError::key("version", "must not be empty"));
        }
        if version.len() > MAX_VERSION_BYTES || version.chars().any(char::is_control) {
            return Err(PolicyError::key(
                "version",
                format!("must be a line of at most {MAX_VERSION_BYTES} bytes"),
            ));
        }
        Ok(file)
    }

    pub(super) fn effective_from(&self) -> Result<Micros, PolicyError> {
        effective_from(&self.effective_from)
    }
}

/// What a copy of a policy is recorded under. Asks for no more than that, so that a copy which an
/// older version of this program made is recorded whatever has become of the form since.
pub(super) fn read_name(text: &str) -> Option<(String, Micros)> {
    #[derive(Deserialize)]
    struct Name {
        version: String,
        effective_from: Value,
    }
    let name: Name = toml::from_str(text).ok()?;
    Some((name.version, effective_from(&name.effective_from).ok()?))
}

fn effective_from(value: &Value) -> Result<Micros, PolicyError> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    date::parse(&text).ok_or_else(|| {
        let message = format!(
            "{text:?} is neither a day of the form 2026-01-31 nor a time with an offset, such as \
             2026-01-31T08:00:00+01:00"
        );
        PolicyError::key("effective_from", message)
    })
}

/// In one line, unlike TOML's own report, which draws: it also goes into logs.
fn syntax(text: &str, error: &toml::de::Error) -> PolicyError {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count()) + 1;
    PolicyError::Syntax { line, column, message: error.message().replace('\n', "; ") }
}

/// The terms of use.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// All that the file names, the oldest first.
    pub(super) versions: Vec<String>,
    /// Which of them is the oldest that counts; `None` when a yes to any terms does.
    pub(super) oldest: Option<usize>,
}

/// What no client can send would never match, and whoever wrote it would think that it does.
fn sendable<'a>(key: &str, names: impl IntoIterator<Item = &'a String>) -> Result<(), PolicyError> {
    for name in names {
        if name.is_empty() {
            return Err(PolicyError::key(key, "holds an empty name, which matches nothing"));
        }
        if name.trim() != name {
            return Err(PolicyError::key(key, format!("{name:?} begins or ends with a space")));
        }
        validate::field("it", name).map_err(|rule| {
            PolicyError::key(key, format!("{name:?} is nothing that a client can send: {}", rule.message))
        })?;
    }
    Ok(())
}

impl Terms {
    pub(super) fn from_section(terms: TermsSection) -> Result<Self, PolicyError> {
        sendable("terms.versions", &terms.versions)?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = terms.versions.iter().find(|version| !seen.insert(version.as_str())) {
            return Err(PolicyError::key("terms.versions", format!("{twice:?} is there twice")));
        }
        let oldest = match terms.oldest {
            None => None,
            Some(oldest) => {
                let at = terms.versions.iter().position(|version| *version == oldest);
                let missing =
                    || PolicyError::key("terms.oldest", format!("{oldest:?} is not among terms.versions"));
                Some(at.ok_or_else(missing)?)
            }
        };
        Ok(Self { versions: terms.versions, oldest })
    }

    pub(super) fn count(&self, terms: &str) -> bool {
        self.oldest.is_none_or(|oldest| self.versions[oldest..].iter().any(|version| version == terms))
    }
}

impl Exclude {
    pub(super) fn features(self) -> Result<BTreeSet<String>, PolicyError> {
        sendable("exclude.features", &self.features)?;
        Ok(self.features)
    }

    pub(super) fn event_types(&self) -> Result<Vec<EventType>, PolicyError> {
        let known = |name: &String| EventType::ALL.into_iter().find(|kind| kind.as_str() == name);
        let kinds = EventType::ALL.map(EventType::as_str).join(", ");
        self.event_types
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let key = format!("exclude.event_types[{at}]");
                known(name).ok_or_else(|| PolicyError::key(key, format!("{name:?} is none of {kinds}")))
            })
            .collect()
    }
}
