//! The bundled interactions: `demo/` as types, checked as a whole. The form of the files is
//! described in `demo/README.md`.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

const PEOPLE: &str = include_str!("../../../demo/people.toml");
const SCRIPT: &str = include_str!("../../../demo/script.toml");
const INTERACTIONS: [(&str, &str); 9] = [
    ("interactions/de.toml", include_str!("../../../demo/interactions/de.toml")),
    ("interactions/en.toml", include_str!("../../../demo/interactions/en.toml")),
    ("interactions/es.toml", include_str!("../../../demo/interactions/es.toml")),
    ("interactions/fr.toml", include_str!("../../../demo/interactions/fr.toml")),
    ("interactions/hi.toml", include_str!("../../../demo/interactions/hi.toml")),
    ("interactions/it.toml", include_str!("../../../demo/interactions/it.toml")),
    ("interactions/ja.toml", include_str!("../../../demo/interactions/ja.toml")),
    ("interactions/pl.toml", include_str!("../../../demo/interactions/pl.toml")),
    ("interactions/pt-BR.toml", include_str!("../../../demo/interactions/pt-BR.toml")),
];

/// Data that cannot be played. The bundled data is tested, so people who run the demo never see one.
#[derive(Debug, thiserror::Error)]
pub(super) enum BundleError {
    /// Not TOML, or not of the form.
    #[error("{file} of the demo's data is not of the form that demo/README.md describes")]
    Form {
        /// The file.
        file: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Somebody does something and is not one of the people.
    #[error("{file}: {user_id:?} is not in people.toml")]
    UnknownPerson {
        /// The file.
        file: String,
        /// Who.
        user_id: String,
    },
    /// An interaction is to happen in an act that the script does not have.
    #[error("{file}: there is no act {act} in script.toml")]
    UnknownAct {
        /// The file.
        file: String,
        /// Which one, from 1.
        act: usize,
    },
    /// Two people of one id.
    #[error("people.toml: {user_id:?} is there twice")]
    DuplicatePerson {
        /// Who.
        user_id: String,
    },
    /// One text twice.
    #[error("{file}: interaction {index} has the text of another one")]
    DuplicateText {
        /// The file.
        file: String,
        /// Which one in the file, from 1.
        index: usize,
    },
    /// The marked personal data is not in the text.
    #[error("{file}: interaction {index} marks personal data that its text does not have")]
    PersonalNotInText {
        /// The file.
        file: String,
        /// Which one in the file, from 1.
        index: usize,
    },
}

/// Everything that the demo plays.
#[derive(Debug)]
pub(super) struct Bundle {
    /// The people, in the order of the file.
    pub(super) people: Vec<Person>,
    /// What happens, in order.
    pub(super) acts: Vec<Act>,
}

/// Somebody who writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    /// The tenant's own id.
    pub(super) user_id: String,
    /// Where the person is.
    pub(super) jurisdiction: String,
    /// The app that the person uses.
    pub(super) client: App,
    /// Whether the app sends a Global Privacy Control signal.
    #[serde(default)]
    pub(super) global_privacy_control: bool,
    /// The person's consent in words.
    pub(super) situation: String,
}

/// An app that sends events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum App {
    EditorWeb,
    MobileIos,
    MobileAndroid,
    OfficeAddin,
}

/// A part of the script: changes first, then what people write under them.
#[derive(Debug)]
pub(super) struct Act {
    /// What it is about.
    pub(super) title: String,
    /// Changes of consent, in order.
    pub(super) consent: Vec<ConsentChange>,
    /// Languages that people choose.
    pub(super) preferences: Vec<Preference>,
    /// What people write, the languages mixed.
    pub(super) interactions: Vec<Interaction>,
}

/// A change of a person's consent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentChange {
    pub(super) user_id: String,
    pub(super) scope: Scope,
    pub(super) state: State,
    pub(super) source: Source,
    /// The version of the terms that the person was shown.
    pub(super) terms: String,
    pub(super) evidence: String,
    /// Who made the change, when it was not the person.
    #[serde(default = "itself")]
    pub(super) actor: String,
}

/// The scope of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    FirstParty,
    Affiliates,
}

/// The state that a scope changes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Granted,
    Denied,
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Source {
    UserSetting,
    Admin,
    Import,
}

/// A language that a person chooses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Preference {
    pub(super) user_id: String,
    pub(super) language: String,
    #[serde(default)]
    pub(super) previous_language: String,
}

/// Typed text, suggestion, and mostly feedback.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interaction {
    /// From 1.
    act: usize,
    pub(super) user_id: String,
    pub(super) feature: String,
    pub(super) model: String,
    pub(super) text: String,
    /// The file's.
    #[serde(skip)]
    pub(super) language: String,
    /// The parts of `text` that are personal data.
    #[serde(default)]
    pub(super) personal: Vec<String>,
    pub(super) suggestion: String,
    /// When it is not that of `text`.
    pub(super) suggestion_language: Option<String>,
    pub(super) latency_ms: u32,
    #[serde(default)]
    pub(super) position: u32,
    /// `None`: no feedback.
    pub(super) action: Option<Action>,
    #[serde(default)]
    pub(super) rating: i32,
    #[serde(default)]
    pub(super) final_text: String,
    #[serde(default)]
    pub(super) comment: String,
}

/// What a person does with a suggestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Accepted,
    AcceptedWithEdits,
    Rejected,
    Ignored,
    Reported,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeopleFile {
    person: Vec<Person>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFile {
    act: Vec<ScriptAct>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptAct {
    title: String,
    #[serde(default)]
    consent: Vec<ConsentChange>,
    #[serde(default)]
    preference: Vec<Preference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InteractionsFile {
    language: String,
    interaction: Vec<Interaction>,
}

fn itself() -> String {
    "self".to_owned()
}

impl Bundle {
    /// The data that comes with the program.
    ///
    /// # Errors
    /// It is broken, which the tests rule out.
    pub(super) fn load() -> Result<Self, BundleError> {
        Self::parse(PEOPLE, SCRIPT, &INTERACTIONS)
    }

    fn parse(people: &str, script: &str, interactions: &[(&str, &str)]) -> Result<Self, BundleError> {
        let PeopleFile { person: people } = read("people.toml", people)?;
        let ScriptFile { act } = read("script.toml", script)?;
        let mut known = HashSet::new();
        for person in &people {
            if !known.insert(person.user_id.as_str()) {
                return Err(BundleError::DuplicatePerson { user_id: person.user_id.clone() });
            }
        }
        let check_person = |file: &str, user_id: &str| {
            if known.contains(user_id) {
                return Ok(());
            }
            Err(BundleError::UnknownPerson { file: file.to_owned(), user_id: user_id.to_owned() })
        };

        let mut acts: Vec<Act> = Vec::with_capacity(act.len());
        for ScriptAct { title, consent, preference: preferences } in act {
            let named = consent.iter().map(|it| &it.user_id).chain(preferences.iter().map(|it| &it.user_id));
            for user_id in named {
                check_person("script.toml", user_id)?;
            }
            acts.push(Act { title, consent, preferences, interactions: Vec::new() });
        }

        let mut texts = HashSet::new();
        let mut placed: Vec<(f64, Interaction)> = Vec::new();
        for (file, content) in interactions {
            let InteractionsFile { language, interaction } = read(file, content)?;
            let mut in_act: HashMap<usize, u32> = HashMap::new();
            for it in &interaction {
                *in_act.entry(it.act).or_default() += 1;
            }
            let mut seen: HashMap<usize, u32> = HashMap::new();
            for (index, mut it) in (1..).zip(interaction) {
                check_person(file, &it.user_id)?;
                if it.act == 0 || it.act > acts.len() {
                    return Err(BundleError::UnknownAct { file: (*file).to_owned(), act: it.act });
                }
                if !texts.insert(it.text.clone()) {
                    return Err(BundleError::DuplicateText { file: (*file).to_owned(), index });
                }
                if it.personal.iter().any(|personal| !it.text.contains(personal.as_str())) {
                    return Err(BundleError::PersonalNotInText { file: (*file).to_owned(), index });
                }
                it.language.clone_from(&language);
                // Its place in its file's part of the act, from 0 to 1, mixes the languages evenly.
                let before = seen.entry(it.act).or_default();
                let place = f64::from(*before) / f64::from(in_act.get(&it.act).copied().unwrap_or(1));
                *before += 1;
                placed.push((place, it));
            }
        }
        placed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        for (_, it) in placed {
            acts[it.act - 1].interactions.push(it);
        }
        Ok(Self { people, acts })
    }

    /// All interactions, act by act.
    pub(super) fn interactions(&self) -> impl Iterator<Item = &Interaction> {
        self.acts.iter().flat_map(|act| &act.interactions)
    }

    /// A person and the place in [`Self::people`].
    pub(super) fn person(&self, user_id: &str) -> Option<(usize, &Person)> {
        self.people.iter().enumerate().find(|(_, person)| person.user_id == user_id)
    }
}

fn read<T: for<'a> Deserialize<'a>>(file: &str, content: &str) -> Result<T, BundleError> {
    toml::from_str(content)
        .map_err(|source| BundleError::Form { file: file.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests;
