//! The policy: what silence means where, and what no consent can allow. A TOML file; its form is
//! described in `docs/consent.md`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::ConsentScope;
use crate::{
    clickhouse::{Client, Error},
    event::{EventType, Jurisdiction},
};

/// The shipped default.
const BUILTIN: &str = include_str!("../../policies/opt-in-everywhere.toml");

/// What silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceMeans {
    /// No.
    OptIn,
    /// Yes.
    OptOut,
}

impl SilenceMeans {
    /// The answer that silence is taken for.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::OptIn => "no",
            Self::OptOut => "yes",
        }
    }
}

/// A policy that cannot be used. It is refused whole.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, or a key or value that no policy has.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A key of `jurisdictions` is not a code.
    #[error(
        "jurisdictions.{0}: is not an ISO 3166-1 alpha-2 code (DE) or a 3166-2 one (US-CA) in upper case"
    )]
    Jurisdiction(String),
    /// A rule for a place and its terms do not fit together.
    #[error("terms.oldest: {0:?} is not among terms.versions")]
    Oldest(String),
    /// The same terms twice: which are older?
    #[error("terms.versions: {0:?} is there twice")]
    TermsTwice(String),
    /// A kind of event that does not exist.
    #[error(
        "exclude.event_types: {0:?} is not typed_text, suggestion_shown, suggestion_feedback or language_preference"
    )]
    EventType(String),
    /// A name that says nothing.
    #[error("version: must not be empty")]
    NoVersion,
    /// A date that is none.
    #[error("effective_from: {0:?} is not a date of the form 2026-01-31")]
    Date(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: String,
    effective_from: String,
    default: Rule,
    #[serde(default)]
    gpc: Gpc,
    #[serde(default)]
    terms: Terms,
    #[serde(default)]
    jurisdictions: BTreeMap<String, PartialRule>,
    #[serde(default)]
    exclude: Exclude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    first_party: SilenceMeans,
    affiliates: SilenceMeans,
}

/// What it leaves out is as in the country, or as in the default.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartialRule {
    first_party: Option<SilenceMeans>,
    affiliates: Option<SilenceMeans>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gpc {
    denies: GpcDenies,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GpcDenies {
    #[default]
    Affiliates,
    All,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    versions: Vec<String>,
    oldest: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exclude {
    #[serde(default)]
    event_types: Vec<String>,
    #[serde(default)]
    features: BTreeSet<String>,
}

/// STANDIN
pub struct PlaceRule {
    /// means
    pub means: SilenceMeans,
    /// from
    pub from: String,
}

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    version: Arc<str>,
    digest: Arc<str>,
    effective_from: String,
    body: Arc<str>,
    default: Rule,
    places: HashMap<Jurisdiction, Rule>,
    gpc_denies: GpcDenies,
    /// The terms to which a yes counts; `None` when any do.
    counting_terms: Option<BTreeSet<String>>,
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
        let file: File = toml::from_str(text)?;
        if file.version.trim().is_empty() {
            return Err(PolicyError::NoVersion);
        }
        if !is_date(&file.effective_from) {
            return Err(PolicyError::Date(file.effective_from));
        }
        let excluded_types = file
            .exclude
            .event_types
            .into_iter()
            .map(|name| {
                EventType::ALL
                    .into_iter()
                    .find(|kind| kind.as_str() == name)
                    .ok_or(PolicyError::EventType(name))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            version: file.version.into(),
            digest: sha256_hex(text).into(),
            effective_from: file.effective_from,
            body: text.into(),
            default: file.default,
            places: places(file.default, &file.jurisdictions)?,
            gpc_denies: file.gpc.denies,
            counting_terms: counting_terms(file.terms)?,
            excluded_types,
            excluded_features: file.exclude.features,
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

    /// What silence means for a scope, in a place: the rule of the subdivision, else that of the
    /// country, else the default. An unknown place gets the strictest rule of all.
    #[must_use]
    pub fn silence(&self, place: Jurisdiction, scope: ConsentScope) -> SilenceMeans {
        let rule = if place.is_unknown() {
            self.strictest()
        } else {
            let places = &self.places;
            *places.get(&place).or_else(|| places.get(&place.country())).unwrap_or(&self.default)
        };
        match scope {
            ConsentScope::FirstParty => rule.first_party,
            ConsentScope::Affiliates => rule.affiliates,
        }
    }

    /// STANDIN
    #[must_use]
    pub fn place_rule(&self, place: Jurisdiction, scope: ConsentScope) -> PlaceRule {
        PlaceRule { means: self.silence(place, scope), from: format!("jurisdictions.{}", place.as_str()) }
    }

    fn strictest(&self) -> Rule {
        let strictest = |silence: fn(&Rule) -> SilenceMeans| {
            let mut rules = self.places.values().chain([&self.default]);
            if rules.any(|rule| silence(rule) == SilenceMeans::OptIn) {
                SilenceMeans::OptIn
            } else {
                SilenceMeans::OptOut
            }
        };
        Rule {
            first_party: strictest(|rule| rule.first_party),
            affiliates: strictest(|rule| rule.affiliates),
        }
    }

    /// Whether a Global Privacy Control signal is a no to a scope.
    #[must_use]
    pub fn gpc_denies(&self, scope: ConsentScope) -> bool {
        scope == ConsentScope::Affiliates || self.gpc_denies == GpcDenies::All
    }

    /// Whether a yes to these terms still counts.
    #[must_use]
    pub fn terms_count(&self, terms: &str) -> bool {
        self.counting_terms.as_ref().is_none_or(|counting| counting.contains(terms))
    }

    /// Whether no consent can make such an event eligible.
    #[must_use]
    pub fn excludes(&self, event_type: EventType, feature: &str) -> bool {
        self.excluded_types.contains(&event_type) || self.excluded_features.contains(feature)
    }
}

fn places(
    default: Rule,
    jurisdictions: &BTreeMap<String, PartialRule>,
) -> Result<HashMap<Jurisdiction, Rule>, PolicyError> {
    let mut places = HashMap::new();
    // In order, so that a country comes before its subdivisions.
    for (code, rule) in jurisdictions {
        let place = Jurisdiction::parse(code)
            .filter(|place| !place.is_unknown() && place.as_str() == code)
            .ok_or_else(|| PolicyError::Jurisdiction(code.clone()))?;
        let around = places.get(&place.country()).copied().unwrap_or(default);
        let first_party = rule.first_party.unwrap_or(around.first_party);
        let affiliates = rule.affiliates.unwrap_or(around.affiliates);
        places.insert(place, Rule { first_party, affiliates });
    }
    Ok(places)
}

fn counting_terms(terms: Terms) -> Result<Option<BTreeSet<String>>, PolicyError> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = terms.versions.iter().find(|version| !seen.insert(version.as_str())) {
        return Err(PolicyError::TermsTwice(twice.clone()));
    }
    let Some(oldest) = terms.oldest else { return Ok(None) };
    let Some(from) = terms.versions.iter().position(|version| *version == oldest) else {
        return Err(PolicyError::Oldest(oldest));
    };
    Ok(Some(terms.versions.into_iter().skip(from).collect()))
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |at: usize, digits: usize| {
        let part = parts.get(at).filter(|part| part.len() == digits)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u32>().ok())?
    };
    parts.len() == 3
        && number(0, 4).is_some_and(|year| (1970..=2149).contains(&year))
        && number(1, 2).is_some_and(|month| (1..=12).contains(&month))
        && number(2, 2).is_some_and(|day| (1..=31).contains(&day))
}

fn sha256_hex(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The policy in force, for everybody who decides.
#[derive(Debug)]
pub struct PolicyStore(ArcSwap<Policy>);

impl PolicyStore {
    /// Puts a policy into force.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self(ArcSwap::from_pointee(policy))
    }

    /// The policy in force.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        self.0.load_full()
    }
}

#[derive(Deserialize)]
struct Known {
    known: u8,
}

#[derive(Serialize)]
struct Row<'a> {
    version: &'a str,
    digest: &'a str,
    effective_from: &'a str,
    body: &'a str,
}

/// Keeps a policy in the table `policies`, where its digest is not there yet.
///
/// # Errors
/// ClickHouse cannot be asked or written to.
pub async fn record_policy(client: &Client, policy: &Policy) -> Result<(), Error> {
    let known: Vec<Known> = client
        .query_rows(
            "SELECT toUInt8(count() > 0) AS known FROM policies WHERE digest = {digest:String}",
            &[("digest", &policy.digest)],
        )
        .await?;
    if known.first().is_some_and(|it| it.known == 1) {
        return Ok(());
    }
    let row = serde_json::to_vec(&Row {
        version: &policy.version,
        digest: &policy.digest,
        effective_from: &policy.effective_from,
        body: &policy.body,
    })?;
    client
        .insert_json("policies", "(version, digest, effective_from, body)", row.into(), &policy.digest, &[])
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "version = \"t\"\neffective_from = \"2026-01-01\"\n[default]\nfirst_party = \"opt_in\"\naffiliates = \"opt_in\"\n";

    fn place(code: &str) -> Jurisdiction {
        Jurisdiction::parse(code).unwrap()
    }

    #[test]
    fn the_shipped_policies_can_be_used() {
        let builtin = Policy::builtin();
        for code in ["", "DE", "US", "US-CA"] {
            for scope in ConsentScope::ALL {
                assert_eq!(builtin.silence(place(code), scope), SilenceMeans::OptIn, "{code}");
            }
        }
        assert!(builtin.terms_count("") && builtin.terms_count("2024-09"));
        assert!(
            !builtin.gpc_denies(ConsentScope::FirstParty) && builtin.gpc_denies(ConsentScope::Affiliates)
        );

        let mixed = Policy::parse(include_str!("../../policies/mixed-jurisdictions.toml")).unwrap();
        let first = |code| mixed.silence(place(code), ConsentScope::FirstParty);
        assert_eq!(first("US"), SilenceMeans::OptOut);
        assert_eq!(first("US-TX"), SilenceMeans::OptOut);
        assert_eq!(first("US-CA"), SilenceMeans::OptIn);
        assert_eq!(first("DE"), SilenceMeans::OptIn);
        assert_eq!(mixed.silence(place("US"), ConsentScope::Affiliates), SilenceMeans::OptIn);
        assert!(mixed.terms_count("2024-09") && !mixed.terms_count("2023-11") && !mixed.terms_count(""));
    }

    #[test]
    fn an_unknown_place_gets_the_strictest_rule_even_where_the_default_is_lax() {
        let lax = BASE.replace("opt_in", "opt_out");
        assert_eq!(
            Policy::parse(&lax).unwrap().silence(place(""), ConsentScope::FirstParty),
            SilenceMeans::OptOut
        );
        let one_strict = format!("{lax}[jurisdictions.DE]\nfirst_party = \"opt_in\"\n");
        let policy = Policy::parse(&one_strict).unwrap();
        assert_eq!(policy.silence(place(""), ConsentScope::FirstParty), SilenceMeans::OptIn);
        assert_eq!(policy.silence(place("FR"), ConsentScope::FirstParty), SilenceMeans::OptOut);
    }

    #[test]
    fn a_subdivision_takes_what_it_leaves_out_from_its_country() {
        let text = format!(
            "{BASE}[jurisdictions.US]\nfirst_party = \"opt_out\"\naffiliates = \"opt_out\"\n[jurisdictions.US-CA]\naffiliates = \"opt_in\"\n"
        );
        let policy = Policy::parse(&text).unwrap();
        assert_eq!(policy.silence(place("US-CA"), ConsentScope::FirstParty), SilenceMeans::OptOut);
        assert_eq!(policy.silence(place("US-CA"), ConsentScope::Affiliates), SilenceMeans::OptIn);
    }

    #[test]
    fn a_policy_with_anything_wrong_is_refused_whole() {
        for (wrong, said) in [
            ("[jurisdictions.Germany]\n", "jurisdictions.Germany"),
            ("[jurisdictions.de]\n", "jurisdictions.de"),
            ("[exclude]\nevent_types = [\"typing\"]\n", "typing"),
            ("[terms]\nversions = [\"1\"]\noldest = \"2\"\n", "terms.oldest"),
            ("[terms]\nversions = [\"1\", \"1\"]\n", "twice"),
            ("[gpc]\ndenies = \"nothing\"\n", "denies"),
            ("[defaults]\n", "defaults"),
        ] {
            let error = Policy::parse(&format!("{BASE}{wrong}")).unwrap_err().to_string();
            assert!(error.contains(said), "{wrong}: {error}");
        }
        for date in ["2026-13-01", "2026-1-1", "soon", "2026-01-32", "0001-01-01"] {
            assert!(matches!(Policy::parse(&BASE.replace("2026-01-01", date)), Err(PolicyError::Date(_))));
        }
    }

    #[test]
    fn the_digest_is_of_the_file() {
        let one = Policy::parse(BASE).unwrap();
        assert_eq!(one.digest().len(), 64);
        assert_ne!(one.digest(), Policy::parse(&format!("{BASE}# a comment\n")).unwrap().digest());
    }
}
