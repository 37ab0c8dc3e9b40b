//! The policy in people's words, for `assent check-config`.

use std::fmt::Write as _;

use super::{Policy, PolicySet, RuleOrigin, SilenceMeans};
use crate::{
    consent::ConsentScope,
    event::{EventType, Jurisdiction, Micros},
};

impl PolicySet {
    /// Which versions there are, which of them is in force, and what that one says, line by line.
    #[must_use]
    pub fn explain(&self, now: Micros) -> String {
        let mut text = String::new();
        let current = self.at(now);
        line(&mut text, format_args!("policy {}, in force since {}", current.version(), current.since()));
        line(&mut text, format_args!("  sha256 {}", current.digest()));
        line(&mut text, format_args!(""));
        line(&mut text, format_args!("versions, by date:"));
        for version in self.versions() {
            let policy = &version.policy;
            let state = if policy.digest() == current.digest() {
                "in force"
            } else if policy.effective_from() > now {
                "to come"
            } else {
                "past"
            };
            let file = version.file.as_ref().map_or_else(
                || "compiled in".to_owned(),
                // A name may hold anything, a line break too.
                |file| format!("{file:?}"),
            );
            line(
                &mut text,
                format_args!(
                    "  {}  {}  {state}  {file}  sha256 {}",
                    policy.since(),
                    policy.version(),
                    policy.digest()
                ),
            );
        }
        line(&mut text, format_args!(""));
        text.push_str(&current.explain());
        for version in self.versions().iter().filter(|it| it.policy.effective_from() > now) {
            let policy = &version.policy;
            line(&mut text, format_args!(""));
            line(&mut text, format_args!("from {}, {}:", policy.since(), policy.version()));
            text.push_str(&policy.explain());
        }
        text
    }
}

impl Policy {
    /// What it says, line by line.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("what silence means:"));
        let rows = self.silence_rows();
        let widths: [usize; 2] =
            [0, 1].map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        for [place, first_party, affiliates] in &rows {
            let [of_place, of_first] = widths;
            line(&mut text, format_args!("  {place:of_place$}  {first_party:of_first$}  {affiliates}"));
        }
        for group in self.places.groups().iter().filter(|group| !group.builtin) {
            let members: Vec<&str> = group.members.iter().map(Jurisdiction::as_str).collect();
            line(&mut text, format_args!("  {} is {}", group.name, members.join(" ")));
        }
        line(&mut text, format_args!(""));
        let signal = if self.gpc_denies(ConsentScope::FirstParty) {
            "a no to both scopes"
        } else {
            "a no to affiliates, and says nothing about first_party"
        };
        line(&mut text, format_args!("a Global Privacy Control signal is {signal}"));
        line(&mut text, format_args!("{}", self.terms_in_words()));
        line(&mut text, format_args!("{}", self.exclusions_in_words()));
        text
    }

    /// Place, first party, affiliates: a heading, then from the widest place to the narrowest.
    fn silence_rows(&self) -> Vec<[String; 3]> {
        let rule = |of: super::Rule| ConsentScope::ALL.map(|scope| in_words(of.of(scope)));
        let mut rows = vec![["".to_owned(), "first_party".to_owned(), "affiliates".to_owned()]];
        let mut push = |place: String, [first_party, affiliates]: [String; 2]| {
            rows.push([place, first_party, affiliates]);
        };
        push("everywhere else (default)".to_owned(), rule(self.places.default_rule()));
        for group in self.places.groups() {
            let said = ConsentScope::ALL
                .map(|scope| group.rule.of(scope).map_or_else(|| "as elsewhere".to_owned(), in_words));
            push(format!("{} ({} countries)", group.name, group.members.len()), said);
        }
        for (place, _) in self.places.own() {
            let said = ConsentScope::ALL.map(|scope| {
                let rule = self.place_rule(place, scope);
                match rule.from {
                    RuleOrigin::Place(_) => in_words(rule.means),
                    from => format!("{}, by {from}", in_words(rule.means)),
                }
            });
            push(place.to_string(), said);
        }
        push("nobody knows where (the strictest of all)".to_owned(), rule(self.places.strictest_rule()));
        rows
    }

    fn terms_in_words(&self) -> String {
        let quoted =
            |terms: &[String]| terms.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(", ");
        match self.terms.oldest {
            None => "a yes counts whatever terms it was said to".to_owned(),
            Some(oldest) => {
                let (outdated, counting) = self.terms.versions.split_at(oldest);
                let mut text = format!("a yes counts if it was said to the terms {}", quoted(counting));
                if !outdated.is_empty() {
                    let _ = write!(text, "; one to {} does not any more", quoted(outdated));
                }
                text + "; one to any other terms does not"
            }
        }
    }

    fn exclusions_in_words(&self) -> String {
        let types =
            self.excluded_types.iter().map(|kind| format!("events of the type {}", EventType::as_str(*kind)));
        let features = self.excluded_features().map(|feature| format!("the feature {feature:?}"));
        let all: Vec<String> = types.chain(features).collect();
        if all.is_empty() {
            "nothing is excluded whatever was said".to_owned()
        } else {
            format!("never used for training, whatever was said: {}", all.join(", "))
        }
    }
}

fn in_words(means: SilenceMeans) -> String {
    let word = match means {
        SilenceMeans::OptIn => "no",
        SilenceMeans::OptOut => "yes",
    };
    format!("{word} ({})", means.as_str())
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(content);
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_explained_in_words() {
        let policy = Policy::parse(include_str!("../../../policies/mixed-jurisdictions.toml")).unwrap();
        let text = PolicySet::of_one(policy).explain(Micros::now());
        for said in [
            "policy mixed-2026-01, in force since 2026-01-01\n",
            "EEA (30 countries)",
            "US-CA",
            "yes (opt_out)",
            "no (opt_in), by default",
            "nobody knows where",
            "a no to affiliates",
            "terms \"2024-09\"; one to \"2023-11\" does not any more",
            "the feature \"private_notes\"",
        ] {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    }

    #[test]
    fn versions_are_told_apart_by_their_dates() {
        let set = PolicySet::builtin();
        let text = set.explain(Micros::now());
        assert!(text.contains("opt-in-everywhere-1  in force  compiled in"), "{text}");
        assert!(text.contains("any terms") || text.contains("whatever terms"), "{text}");
        assert!(text.contains("nothing is excluded"), "{text}");
    }
}
