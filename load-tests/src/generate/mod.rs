//! Makes events as an editor with suggestions would send them: a person types, mostly gets a suggestion or two, and
//! mostly says something about one of them; now and then a language is changed.

use std::{collections::VecDeque, sync::Arc};

use assent::ingress::proto::{self, FeedbackAction, event::Payload};
use fastrand::Rng;
use uuid::Uuid;

mod body;
mod ids;
mod moment;
mod people;
mod pool;
mod text;
mod texts;

pub(crate) use body::PREFIX_BYTES;
pub(crate) use people::{Answer, Person, people};
pub(crate) use pool::{Batch, Pool};

use crate::scenario::{Scenario, TextRange};
use text::{compose, pick};
use texts::{COMMENTS, EDITS, LANGUAGES};

const FEATURES: [&str; 5] = ["compose", "reply", "rewrite", "summarise", "translate"];
const MODELS: [&str; 3] = ["quill-2-small", "quill-2-large", "lingua-1"];

/// Of a hundred interactions, those that only change the language.
const LANGUAGE_CHANGES: u8 = 2;
/// Of a hundred typed texts, those that get a suggestion.
const SUGGESTED: u8 = 75;
/// Of a hundred suggestions, those with a second one beside them.
const SECOND_SUGGESTION: u8 = 30;
/// Of a hundred suggestions, those that somebody reacts to.
const REACTED: u8 = 80;

/// How long before its request an event happened, in microseconds.
const AGE_MICROS: std::ops::Range<u32> = 5_000..3_000_000;
/// The moment of every event until its request is sent.
const SOME_TIME_MICROS: u64 = 1_790_000_000_500_000;

/// An event, and what is known about it that is not on the wire.
pub(crate) struct Generated {
    /// Its id and time are placeholders, of the width that real ones have.
    pub(crate) event: proto::Event,
    /// How long before its request it happened.
    pub(crate) age_micros: u32,
    /// Whether its author's answer makes it eligible.
    pub(crate) eligible: bool,
}

/// An endless source of events.
pub(crate) struct Generator {
    people: Arc<Vec<Person>>,
    texts: Vec<TextRange>,
    contacts: f64,
    rng: Rng,
    waiting: VecDeque<Generated>,
}

impl Generator {
    pub(crate) fn new(scenario: &Scenario, people: Arc<Vec<Person>>) -> Self {
        Self {
            people,
            texts: scenario.text.clone(),
            contacts: scenario.contacts.get(),
            rng: Rng::with_seed(scenario.seed.wrapping_add(1)),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn next(&mut self) -> Generated {
        loop {
            match self.waiting.pop_front() {
                Some(event) => return event,
                None => self.interact(),
            }
        }
    }

    /// One person's turn: one to four events.
    fn interact(&mut self) {
        let people = Arc::clone(&self.people);
        let person = &people[self.rng.usize(..people.len())];
        let interaction = self.id();
        if self.percent(LANGUAGE_CHANGES) {
            let before = LANGUAGES[self.rng.usize(..LANGUAGES.len())].tag;
            let change = proto::LanguagePreference {
                language: person.language.tag.to_owned(),
                previous_language: before.to_owned(),
            };
            self.push(person, &interaction, "settings", "", Payload::LanguagePreference(change));
            return;
        }
        let feature = pick(&FEATURES, &mut self.rng);
        let model = pick(&MODELS, &mut self.rng);
        let language = person.language.tag;
        let text = self.text(person);
        let typed = proto::TypedText { text, language: language.to_owned() };
        self.push(person, &interaction, feature, "", Payload::TypedText(typed));
        if !self.percent(SUGGESTED) {
            return;
        }
        let latency_ms = self.rng.u32(120..2_500);
        let suggestions = 1 + u32::from(self.percent(SECOND_SUGGESTION));
        let mut last = (String::new(), String::new());
        for position in 0..suggestions {
            let suggestion_id = self.id();
            let text = self.text(person);
            last = (suggestion_id.clone(), text.clone());
            let shown = proto::SuggestionShown {
                suggestion_id,
                text,
                language: language.to_owned(),
                latency_ms,
                position,
            };
            self.push(person, &interaction, feature, model, Payload::SuggestionShown(shown));
        }
        if self.percent(REACTED) {
            let feedback = self.feedback(last);
            self.push(person, &interaction, feature, model, Payload::SuggestionFeedback(feedback));
        }
    }

    fn feedback(&mut self, (suggestion_id, text): (String, String)) -> proto::SuggestionFeedback {
        let (action, rating, final_text) = match self.rng.u8(..100) {
            0..45 => (FeedbackAction::Accepted, 1, String::new()),
            45..65 => (FeedbackAction::AcceptedWithEdits, 1, text + pick(EDITS, &mut self.rng)),
            65..80 => (FeedbackAction::Rejected, -1, String::new()),
            80..99 => (FeedbackAction::Ignored, 0, String::new()),
            _ => (FeedbackAction::Reported, -1, String::new()),
        };
        let comment = if self.percent(8) { pick(COMMENTS, &mut self.rng).to_owned() } else { String::new() };
        proto::SuggestionFeedback { suggestion_id, action: action.into(), rating, final_text, comment }
    }

    fn push(&mut self, person: &Person, interaction: &str, feature: &str, model: &str, payload: Payload) {
        let event = proto::Event {
            event_id: Uuid::nil().hyphenated().to_string(),
            user_id: person.user_id.clone(),
            occurred_at: Some(moment::timestamp(SOME_TIME_MICROS)),
            session_id: person.session_id.clone(),
            interaction_id: interaction.to_owned(),
            feature: feature.to_owned(),
            model: model.to_owned(),
            client: Some(person.client.clone()),
            jurisdiction: person.jurisdiction.to_owned(),
            global_privacy_control: person.global_privacy_control,
            payload: Some(payload),
        };
        let age_micros = self.rng.u32(AGE_MICROS);
        self.waiting.push_back(Generated { event, age_micros, eligible: person.answer.eligible() });
    }

    /// The id of an interaction or a suggestion.
    fn id(&mut self) -> String {
        format!("{:032x}", self.rng.u128(..))
    }

    fn text(&mut self, person: &Person) -> String {
        let wanted = self.text_bytes();
        let contact = self.rng.f64() < self.contacts;
        compose(person.language, wanted, contact, &mut self.rng)
    }

    fn text_bytes(&mut self) -> usize {
        let mut place = self.rng.f64();
        let range = self.texts.iter().find(|range| {
            place -= range.share.get();
            place < 0.0
        });
        // The shares add up to 1 but for rounding.
        let bytes = range.or(self.texts.last()).map_or(0, |it| self.rng.u64(it.from.0..=it.to.0));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn percent(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator() -> Generator {
        let scenario = Scenario::parse(include_str!("../../scenarios/smoke.toml")).unwrap();
        let people = Arc::new(people(&scenario));
        Generator::new(&scenario, people)
    }

    #[test]
    fn all_kinds_come_in_proportion() {
        let mut generator = generator();
        let mut kinds = [0_u32; 4];
        let mut eligible = 0;
        for _ in 0..10_000 {
            let next = generator.next();
            eligible += u32::from(next.eligible);
            let kind = match next.event.payload.unwrap() {
                Payload::TypedText(_) => 0,
                Payload::SuggestionShown(_) => 1,
                Payload::SuggestionFeedback(_) => 2,
                Payload::LanguagePreference(_) => 3,
            };
            kinds[kind] += 1;
        }
        let [typed, shown, feedback, language] = kinds;
        assert!((3_000..5_000).contains(&typed), "{kinds:?}");
        assert!((3_000..5_000).contains(&shown), "{kinds:?}");
        assert!((1_500..3_500).contains(&feedback), "{kinds:?}");
        assert!((20..300).contains(&language), "{kinds:?}");
        assert!((5_500..6_500).contains(&eligible), "{eligible} of 10,000");
    }

    #[test]
    fn texts_keep_to_the_longest_range() {
        let mut generator = generator();
        for _ in 0..5_000 {
            if let Some(Payload::TypedText(typed)) = generator.next().event.payload {
                assert!((17..=4 << 10).contains(&typed.text.len()), "{}", typed.text.len());
            }
        }
    }
}
