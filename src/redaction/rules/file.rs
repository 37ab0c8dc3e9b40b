//! The form of a file of rules.

use serde::Deserialize;

/// A file of rules, as TOML: `version`, and any number of `[[rule]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    /// Names this state of the rules; a part of `redaction_version`. Any change of what is found changes it.
    pub version: String,
    /// The rules, in any order.
    #[serde(default, rename = "rule")]
    pub rules: Vec<RuleEntry>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleEntry {
    /// Names the rule within its file; for messages.
    pub name: String,
    /// What is found, as in placeholders: `[A-Z][A-Z0-9_]*`.
    pub entity: String,
    /// What it is and where its form is written down, for people.
    #[serde(default)]
    pub description: String,
    /// The languages or countries that it is for, for people; empty for all.
    #[serde(default)]
    pub languages: Vec<String>,
    /// A recogniser that is built in, in the place of a pattern.
    #[serde(default)]
    pub recogniser: Option<String>,
    /// What must stand right before the pattern; it stays in the text.
    #[serde(default)]
    pub lead: Option<String>,
    /// Characters that must stand right before the pattern and are taken out with it, such as `@`.
    #[serde(default)]
    pub before: Option<String>,
    /// What is taken out: a regular expression over bytes (no Unicode classes, no look-around), tried at the
    /// beginning of words and numbers alone, within [`super::MAX_MATCH_BYTES`]. The match must end
    /// where a word does.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Characters with which a match goes on for as long as they come: for tokens of any length.
    #[serde(default)]
    pub extend: Option<String>,
    /// A named check of what matched; see [`super::super::validators`].
    #[serde(default)]
    pub validator: Option<String>,
    /// Words or phrases of which one must stand near, in lower case; empty for no such demand.
    #[serde(default)]
    pub context: Vec<String>,
    /// How many bytes before the match the context may be.
    #[serde(default = "default_reach")]
    pub reach_before: usize,
    /// How many bytes after the match the context may be.
    #[serde(default)]
    pub reach_after: usize,
    /// Words or phrases of which none may stand right before the match, within three words.
    #[serde(default)]
    pub not_after: Vec<String>,
    /// Of rules that take the same characters the highest says what they are.
    #[serde(default = "default_priority")]
    pub priority: u8,
    /// Texts in which it finds what stands between `»` and `«`, and nothing else of its entity.
    pub hits: Vec<String>,
    /// Texts in which it finds nothing.
    pub misses: Vec<String>,
}

const fn default_reach() -> usize {
    40
}

const fn default_priority() -> u8 {
    50
}

impl RulesFile {
    /// Reads a file of rules.
    ///
    /// # Errors
    /// When it is not TOML of this form.
    pub fn parse(text: &str) -> Result<Self, super::RulesError> {
        Ok(toml::from_str(text).map_err(Box::new)?)
    }
}
