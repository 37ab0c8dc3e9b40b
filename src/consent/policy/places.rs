//! What silence means where: the rule of the subdivision, else of the country, else of the groups
//! that the country is in (scope by scope the strictest of them), else the default.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use super::{ByScope, PartialRule, PolicyError, Rule, SilenceMeans, countries};
use crate::{consent::ConsentScope, event::Jurisdiction};

/// The longest name of a group.
const MAX_GROUP_NAME_BYTES: usize = 64;

/// What silence means in a place for a scope, and which rule of the policy says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceRule {
    /// What it means.
    pub means: SilenceMeans,
    /// The rule.
    pub from: RuleOrigin,
}

/// A rule of a policy, for people: shown as the path of its key, and why it applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleOrigin {
    /// That of the place itself.
    Place(Jurisdiction),
    /// That of the country which the place is a part of.
    Country(Jurisdiction),
    /// That of a group which the country is in, and the country.
    Group(Arc<str>, Jurisdiction),
    /// The default.
    Default,
    /// The strictest of all, since nobody knows where the person is.
    Strictest,
}

impl fmt::Display for RuleOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(place) => write!(f, "jurisdictions.{place}"),
            Self::Country(place) => write!(f, "jurisdictions.{} (country of {place})", place.country()),
            // The place is the group itself.
            Self::Group(name, country) if **name == *country.as_str() => write!(f, "jurisdictions.{name}"),
            Self::Group(name, country) => write!(f, "jurisdictions.{name} (group of {country})"),
            Self::Default => f.write_str("default"),
            Self::Strictest => f.write_str("the strictest of all rules (the place is unknown)"),
        }
    }
}

/// A group that has a rule.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) rule: PartialRule,
    /// In order.
    pub(super) members: Vec<Jurisdiction>,
    /// Whether every policy knows it.
    pub(super) builtin: bool,
}

/// All rules of a policy.
#[derive(Clone, Debug)]
pub(super) struct Places {
    default: Rule,
    strictest: Rule,
    /// Of countries and subdivisions, what they say themselves.
    own: BTreeMap<Jurisdiction, PartialRule>,
    groups: Vec<Group>,
    /// By country: for each scope, the strictest that its groups say, and the number of the first
    /// group that says so.
    by_groups: HashMap<Jurisdiction, ByScope<Option<(SilenceMeans, usize)>>>,
    /// Countries that the file names, which makes codes that are free for everybody's use known.
    named: HashSet<Jurisdiction>,
}

/// Where a rule was found.
#[derive(Clone, Copy)]
enum Level {
    Own,
    Country,
    Group(usize),
    Default,
    Strictest,
}

impl Places {
    /// Checks and resolves `[groups]` and `[jurisdictions]`.
    pub(super) fn new(
        default: Rule,
        groups: &BTreeMap<String, Vec<String>>,
        jurisdictions: &BTreeMap<String, PartialRule>,
    ) -> Result<Self, PolicyError> {
        let mut known = defined_groups(groups)?;
        let mut own = BTreeMap::new();
        let mut in_use = Vec::new();
        for (name, rule) in jurisdictions {
            let key = || format!("jurisdictions.{name}");
            if rule.first_party.is_none() && rule.affiliates.is_none() {
                return Err(PolicyError::key(key(), "says nothing: give first_party, affiliates or both"));
            }
            if let Some((builtin, members)) = known.remove(name.as_str()) {
                in_use.push(Group { name: name.as_str().into(), rule: *rule, members, builtin });
            } else {
                own.insert(place(name).map_err(|message| PolicyError::key(key(), message))?, *rule);
            }
        }
        if let Some(name) = groups.keys().find(|name| known.contains_key(name.as_str())) {
            let message = "has no rule in [jurisdictions]: give it one, or leave it out";
            return Err(PolicyError::key(format!("groups.{name}"), message));
        }
        let named = own
            .keys()
            .filter(|place| **place == place.country())
            .chain(in_use.iter().flat_map(|group| &group.members))
            .copied()
            .collect();
        let strictest = ConsentScope::ALL.map(|scope| {
            let said = own.values().chain(in_use.iter().map(|group| &group.rule));
            said.filter_map(|rule| rule.of(scope)).fold(default.of(scope), SilenceMeans::stricter)
        });
        let [first_party, affiliates] = strictest;
        Ok(Self {
            default,
            strictest: Rule { first_party, affiliates },
            own,
            by_groups: by_groups(&in_use),
            groups: in_use,
            named,
        })
    }

    pub(super) fn silence(&self, place: Jurisdiction, scope: ConsentScope) -> SilenceMeans {
        self.find(place, scope).0
    }

    pub(super) fn rule(&self, place: Jurisdiction, scope: ConsentScope) -> PlaceRule {
        let (means, level) = self.find(place, scope);
        let from = match level {
            Level::Own => RuleOrigin::Place(place),
            Level::Country => RuleOrigin::Country(place),
            Level::Group(at) => RuleOrigin::Group(Arc::clone(&self.groups[at].name), place.country()),
            Level::Default => RuleOrigin::Default,
            Level::Strictest => RuleOrigin::Strictest,
        };
        PlaceRule { means, from }
    }

    /// Asked for every event whose author has said nothing.
    fn find(&self, place: Jurisdiction, scope: ConsentScope) -> (SilenceMeans, Level) {
        let said = |place| self.own.get(&place).and_then(|rule| rule.of(scope));
        if let Some(means) = said(place) {
            return (means, Level::Own);
        }
        let country = place.country();
        if let Some(means) = said(country) {
            return (means, Level::Country);
        }
        if let Some((means, at)) = self.by_groups.get(&country).and_then(|groups| groups.of(scope)) {
            return (means, Level::Group(at));
        }
        let known =
            countries::is_assigned(country) || self.named.contains(&country) || self.own.contains_key(&place);
        if known {
            (self.default.of(scope), Level::Default)
        } else {
            (self.strictest.of(scope), Level::Strictest)
        }
    }

    pub(super) const fn default_rule(&self) -> Rule {
        self.default
    }

    pub(super) const fn strictest_rule(&self) -> Rule {
        self.strictest
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Countries and subdivisions that have rules of their own, in order.
    pub(super) fn own(&self) -> impl Iterator<Item = (Jurisdiction, PartialRule)> {
        self.own.iter().map(|(place, rule)| (*place, *rule))
    }
}

fn by_groups(groups: &[Group]) -> HashMap<Jurisdiction, ByScope<Option<(SilenceMeans, usize)>>> {
    let mut by_country: HashMap<_, ByScope<Option<(SilenceMeans, usize)>>> = HashMap::new();
    for (at, group) in groups.iter().enumerate() {
        // A group whose name has the form of a country's code can be a person's place: an app that
        // knows no more says EU.
        let itself = Jurisdiction::parse(&group.name);
        for country in group.members.iter().copied().chain(itself) {
            let strictest = by_country.entry(country).or_default();
            for (of_country, of_group) in [
                (&mut strictest.first_party, group.rule.first_party),
                (&mut strictest.affiliates, group.rule.affiliates),
            ] {
                if let Some(means) = of_group
                    && of_country.is_none_or(|(so_far, _)| means < so_far)
                {
                    *of_country = Some((means, at));
                }
            }
        }
    }
    by_country
}

/// By name: whether every policy knows it, and its members.
type Groups<'a> = BTreeMap<&'a str, (bool, Vec<Jurisdiction>)>;

fn defined_groups(defined: &BTreeMap<String, Vec<String>>) -> Result<Groups<'_>, PolicyError> {
    let mut groups: Groups<'_> = countries::BUILTIN_GROUPS
        .iter()
        .map(|(name, lists)| {
            let mut members: Vec<_> = countries::listed(lists).collect();
            members.sort_unstable();
            (*name, (true, members))
        })
        .collect();
    for (name, codes) in defined {
        let refused = |message: String| Err(PolicyError::key(format!("groups.{name}"), message));
        if groups.contains_key(name.as_str()) {
            return refused("is built in and cannot be defined anew: choose another name".to_owned());
        }
        let form = !name.is_empty()
            && name.len() <= MAX_GROUP_NAME_BYTES
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !form {
            return refused(format!(
                "a group's name is made of at most {MAX_GROUP_NAME_BYTES} letters, digits and _, and starts with a letter"
            ));
        }
        if Jurisdiction::parse(name).is_some() {
            return refused("has the form of a country's code: choose a longer name".to_owned());
        }
        if codes.is_empty() {
            return refused("is empty".to_owned());
        }
        groups.insert(name, (false, members(name, codes)?));
    }
    Ok(groups)
}

/// The countries of a group that a file defines. A built-in group among them stands for its own.
fn members(name: &str, codes: &[String]) -> Result<Vec<Jurisdiction>, PolicyError> {
    let mut members = Vec::new();
    for (at, code) in codes.iter().enumerate() {
        let refused = |message: String| Err(PolicyError::key(format!("groups.{name}[{at}]"), message));
        if codes[..at].contains(code) {
            return refused(format!("{code:?} is there twice"));
        }
        if let Some((_, lists)) = countries::BUILTIN_GROUPS.iter().find(|(builtin, _)| builtin == code) {
            members.extend(countries::listed(lists));
            continue;
        }
        match place(code) {
            Ok(place) if place == place.country() => members.push(place),
            Ok(_) => return refused(format!("{code:?} is a part of a country; groups hold countries")),
            Err(message) => return refused(format!("{code:?} {message}")),
        }
    }
    members.sort_unstable();
    members.dedup();
    Ok(members)
}

/// Reads a country or a part of one as a policy has to write it, or says what is wrong.
fn place(code: &str) -> Result<Jurisdiction, String> {
    let Some(place) = Jurisdiction::parse(code).filter(|place| !place.is_unknown()) else {
        return Err("is neither a country (DE), nor a part of one (US-CA), nor a group".to_owned());
    };
    if place.as_str() != code {
        return Err(format!("has to be in upper case: {place}"));
    }
    let country = place.country();
    if countries::is_assigned(country) || countries::is_user_assigned(country) {
        return Ok(place);
    }
    let country = country.as_str();
    Err(match countries::meant(country) {
        Some(meant) => format!("{country} is not an assigned country code of ISO 3166-1; write {meant}"),
        None => format!("{country} is not an assigned country code of ISO 3166-1"),
    })
}

#[cfg(test)]
mod tests;
