//! Who writes: people with a place, a language, a client and a consent.

use assent::ingress::proto;
use fastrand::Rng;

use super::{
    text::pick,
    texts::{LANGUAGES, Language},
};
use crate::scenario::Scenario;

const CLIENTS: [(&str, &str, &str); 5] = [
    ("editor-web", "5.12.0", "web"),
    ("editor-web", "5.11.3", "web"),
    ("editor-mobile", "2.40.1", "ios"),
    ("editor-mobile", "2.39.0", "android"),
    ("office-addin", "1.8.2", "windows"),
];

/// What a person said before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes to the product itself.
    FirstParty,
    /// Yes to affiliates too.
    Affiliates,
    /// No.
    Denied,
    /// Nothing.
    Silent,
}

impl Answer {
    /// Whether events may train at all, under a policy that takes silence for a no.
    pub(crate) const fn eligible(self) -> bool {
        matches!(self, Self::FirstParty | Self::Affiliates)
    }
}

/// A person.
pub(crate) struct Person {
    pub(crate) user_id: String,
    pub(crate) jurisdiction: &'static str,
    pub(crate) answer: Answer,
    pub(super) language: &'static Language,
    pub(super) client: proto::Client,
    pub(super) global_privacy_control: bool,
    pub(super) session_id: String,
}

/// Everyone of a scenario; the same for the same seed.
pub(crate) fn people(scenario: &Scenario) -> Vec<Person> {
    let mut rng = Rng::with_seed(scenario.seed);
    (0..scenario.people).map(|index| person(scenario, index, &mut rng)).collect()
}

fn person(scenario: &Scenario, index: u32, rng: &mut Rng) -> Person {
    let language = &LANGUAGES[language(rng)];
    let (name, version, platform) = CLIENTS[rng.usize(..CLIENTS.len())];
    // Some products know people by a number, some by an address.
    let user_id = if rng.u8(..10) < 7 {
        format!("u-{:07}", 1_000_000 + index)
    } else {
        format!("writer.{index}@example.com")
    };
    Person {
        user_id,
        jurisdiction: pick(language.places, rng),
        answer: answer(scenario, index),
        language,
        client: proto::Client { name: name.into(), version: version.into(), platform: platform.into() },
        global_privacy_control: rng.f64() < scenario.global_privacy_control.get(),
        session_id: format!("s-{index}-{:08x}", rng.u32(..)),
    }
}

/// Half of all people write in the first language, half of the rest in the second, and so on.
fn language(rng: &mut Rng) -> usize {
    (0..LANGUAGES.len() - 1).find(|_| rng.bool()).unwrap_or(LANGUAGES.len() - 1)
}

/// By number and not by lot, so that the shares are exact.
fn answer(scenario: &Scenario, index: u32) -> Answer {
    let place = (f64::from(index) + 0.5) / f64::from(scenario.people);
    let mix = scenario.consent;
    let (granted, affiliates, denied) = (mix.granted.get(), mix.affiliates.get(), mix.denied.get());
    match place {
        _ if place < affiliates => Answer::Affiliates,
        _ if place < granted => Answer::FirstParty,
        _ if place < granted + denied => Answer::Denied,
        _ => Answer::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consent_mix_is_exact_and_everyone_is_someone_else() {
        let scenario = Scenario::parse(include_str!("../../scenarios/smoke.toml")).unwrap();
        let people = people(&scenario);
        let count = |answer| people.iter().filter(|person| person.answer == answer).count();
        assert_eq!(count(Answer::Affiliates), 40);
        assert_eq!(count(Answer::FirstParty), 80);
        assert_eq!(count(Answer::Denied), 30);
        assert_eq!(count(Answer::Silent), 50);
        let ids: std::collections::HashSet<_> = people.iter().map(|person| &person.user_id).collect();
        assert_eq!(ids.len(), people.len());
    }
}
