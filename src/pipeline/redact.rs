//! Takes personal data out of an event's texts. What is found, and how, is [`crate::redaction`]'s; this stage
//! knows which texts of an event are searched.

use std::{collections::HashMap, sync::Arc};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::{
    event::{Payload, RawText, RawUserId, Redacted, RedactedText, Tagged, Tenant},
    redaction::{
        Action, Actions, Author, Counts, Engine, Entity, Hasher, RulesError, SHIPPED_RULES,
        rules::file::RulesFile,
    },
};

use super::{RejectionReason, Violation};

pub use crate::redaction::RULES_VERSION;

/// The stage: the shipped rules, and what tenants add to them.
#[derive(Clone, Debug)]
pub struct Redactor {
    shipped: Rules,
    tenants: HashMap<Tenant, Rules>,
}

/// What a tenant's texts are redacted by.
#[derive(Clone, Debug)]
struct Rules {
    engine: Engine,
    /// As in the column `redaction_version`.
    version: Arc<str>,
    /// All that decides what is found and what becomes of it, in words.
    body: Arc<str>,
}

/// What a tenant adds to the shipped rules.
#[derive(Clone, Debug, Default)]
pub struct TenantRules {
    /// Files of rules: what each is called, and its text.
    pub files: Vec<(String, String)>,
    /// What is done with what is found, by the entity's name.
    pub actions: Vec<(String, Action)>,
    /// Hashes what is to be hashed; without it, such data gets a placeholder.
    pub hasher: Option<Hasher>,
}

/// Why a tenant's rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TenantRulesError {
    /// A file is wrong.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: RulesError,
    },
    /// The rules do not go together with the shipped ones.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A rule does not do as its examples say.
    #[error("{file}: {what}")]
    Example {
        /// Which file.
        file: String,
        /// The example and what was found.
        what: String,
    },
    /// No rule finds it.
    #[error("there is no entity `{0}`: no rule finds it; see `assent redact --list`")]
    Entity(String),
}

/// The rules of one tenant cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("of tenant {tenant}: {source}")]
pub struct RedactorError {
    /// Whose.
    pub tenant: String,
    /// Why.
    #[source]
    pub source: Box<TenantRulesError>,
}

/// Rules as they are recorded beside the rows that they redacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesRecord {
    /// Their version, as in the column `redaction_version`.
    pub version: String,
    /// SHA-256 of the body, in hexadecimal digits.
    pub digest: String,
    /// The rules themselves.
    pub body: String,
}

impl Rules {
    fn shipped() -> Self {
        let body: String = SHIPPED_RULES.iter().map(|(_, text)| *text).collect();
        Self { engine: Engine::shipped(), version: RULES_VERSION.into(), body: body.into() }
    }

    /// The version is the shipped one's with a digest of what is added, so that rows tell which it was.
    fn of_tenant(
        more: &TenantRules,
        compiled: &[(Vec<(String, String)>, Engine)],
    ) -> Result<Self, TenantRulesError> {
        let parsed = more.files.iter().map(|(file, text)| {
            RulesFile::parse(text).map_err(|source| TenantRulesError::File { file: file.clone(), source })
        });
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        let known: Vec<&str> = parsed.iter().flat_map(|file| &file.rules).map(|rule| &*rule.entity).collect();
        let entity = |name: &String| {
            let is_known = known.contains(&name.as_str()) || Engine::shipped().finds(name);
            Entity::named(name).filter(|_| is_known).ok_or_else(|| TenantRulesError::Entity(name.clone()))
        };
        let actions = more.actions.iter().map(|(name, action)| Ok((entity(name)?, *action)));
        let actions = actions.collect::<Result<Vec<_>, TenantRulesError>>()?;
        let actions = Actions::new(actions, more.hasher.clone());
        let engine = match compiled.iter().find(|(files, _)| *files == more.files) {
            Some((_, engine)) => engine.with_actions(actions),
            None => Engine::new(&parsed, actions)?,
        };
        for ((file, _), rules) in more.files.iter().zip(&parsed) {
            if let Some(what) = rules.rules.iter().flat_map(|rule| engine.check(rule)).next() {
                return Err(TenantRulesError::Example { file: file.clone(), what });
            }
        }
        let mut body = String::new();
        for (name, action) in &more.actions {
            body.push_str(&format!("# {name}: {}\n", format!("{action:?}").to_lowercase()));
        }
        body.extend(more.files.iter().map(|(_, text)| text.as_str()));
        let version = format!("{RULES_VERSION}+{}", &sha256_hex(&body)[..8]);
        let body = format!("{}{body}", Self::shipped().body);
        Ok(Self { engine, version: version.into(), body: body.into() })
    }

    fn record(&self) -> RulesRecord {
        let Self { version, body, .. } = self;
        RulesRecord { version: version.to_string(), digest: sha256_hex(body), body: body.to_string() }
    }

    fn search<'a>(
        &self,
        text: RawText<'a>,
        author: Option<&Author<'_>>,
    ) -> (RedactedText<'a>, Counts, Option<Entity>) {
        let outcome = self.engine.redact(text.expose(), author);
        (RedactedText::from_redactor(outcome.text), outcome.counts, outcome.refused)
    }
}

fn sha256_hex(text: &str) -> String {
    super::pseudonymise::hex_of(digest(&SHA256, text.as_bytes()).as_ref())
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl Redactor {
    /// Takes the rules of [`RULES_VERSION`] into use, for everyone.
    #[must_use]
    pub fn new() -> Self {
        Self { shipped: Rules::shipped(), tenants: HashMap::new() }
    }

    /// The same, with what some tenants add.
    ///
    /// # Errors
    /// When a tenant's rules are wrong, with the tenant's name.
    pub fn with_tenants<'a>(
        tenants: impl IntoIterator<Item = (&'a str, &'a TenantRules)>,
    ) -> Result<Self, RedactorError> {
        let mut with_rules = HashMap::new();
        // Tenants with the same files share what is compiled.
        let mut compiled = vec![(Vec::new(), Engine::shipped())];
        for (name, more) in tenants {
            let rules = Rules::of_tenant(more, &compiled)
                .map_err(|source| RedactorError { tenant: name.to_owned(), source: Box::new(source) })?;
            if compiled.iter().all(|(files, _)| *files != more.files) {
                compiled.push((more.files.clone(), rules.engine.clone()));
            }
            with_rules.insert(Tenant::new(name), rules);
        }
        Ok(Self { shipped: Rules::shipped(), tenants: with_rules })
    }

    /// All rules that an event may be redacted by, for the record.
    #[must_use]
    pub fn records(&self) -> Vec<RulesRecord> {
        let mut records: Vec<_> =
            [&self.shipped].into_iter().chain(self.tenants.values()).map(Rules::record).collect();
        records.sort_by(|a, b| a.version.cmp(&b.version));
        records.dedup();
        records
    }

    /// What redacts a tenant's texts.
    #[must_use]
    pub fn engine_of(&self, tenant: &Tenant) -> &Engine {
        &self.rules_of(tenant).engine
    }

    fn rules_of(&self, tenant: &Tenant) -> &Rules {
        if self.tenants.is_empty() {
            return &self.shipped;
        }
        self.tenants.get(tenant).unwrap_or(&self.shipped)
    }

    /// Redacts a text whose author is not known here, by the shipped rules.
    #[must_use]
    pub fn redact<'a>(&self, text: RawText<'a>) -> (RedactedText<'a>, Counts) {
        let (text, counts, _) = self.shipped.search(text, None);
        (text, counts)
    }

    /// Redacts the evidence or the actor of a consent change, the user id of 3 bytes and more
    /// included; a shorter one only when it is the whole text. A change of consent is never refused for what is in it.
    #[must_use]
    pub fn redact_evidence<'a>(
        &self,
        tenant: &Tenant,
        text: RawText<'a>,
        user_id: RawUserId<'_>,
    ) -> RedactedText<'a> {
        self.rules_of(tenant).search(text, Some(&Author::of_evidence(user_id.expose()))).0
    }

    /// Redacts every free text of an event, its author's user id of 4 bytes and more included.
    ///
    /// # Errors
    /// When a text holds what the tenant does not take.
    pub(super) fn redact_event<'a>(
        &'a self,
        tagged: Tagged<'a>,
        author: &Author<'_>,
    ) -> Result<Redacted<'a>, Violation> {
        let rules = self.rules_of(tagged.event.context.tenant);
        let (mut counts, mut refused) = (Counts::default(), None);
        let mut redact = |text: RawText<'a>| {
            let (text, found, unwanted) = rules.search(text, Some(author));
            counts.merge(&found);
            refused = refused.or(unwanted);
            text
        };
        let Tagged { event, stamp } = tagged;
        let payload = match event.payload {
            Payload::TypedText { text, language } => Payload::TypedText { text: redact(text), language },
            Payload::SuggestionShown { suggestion_id, text, language, latency_ms, position } => {
                let text = redact(text);
                Payload::SuggestionShown { suggestion_id, text, language, latency_ms, position }
            }
            Payload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment } => {
                let (final_text, comment) = (redact(final_text), redact(comment));
                Payload::SuggestionFeedback { suggestion_id, action, rating, final_text, comment }
            }
            Payload::LanguagePreference { language, previous_language } => {
                Payload::LanguagePreference { language, previous_language }
            }
        };
        if let Some(entity) = refused {
            return Err(Violation {
                reason: RejectionReason::RefusedPersonalData,
                message: format!(
                    "a text holds {}, and this tenant's redaction settings refuse such events",
                    entity.as_str()
                ),
            });
        }
        Ok(Redacted {
            context: event.context,
            subject_id: event.subject_id,
            pseudonym_key_id: event.pseudonym_key_id,
            stamp,
            payload,
            redactions: counts.iter().collect(),
            redaction_version: &rules.version,
        })
    }
}

#[cfg(test)]
mod tests;
