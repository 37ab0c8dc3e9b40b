//! The bundle as requests: every act's consent changes and events, with fresh ids and times.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::bundle::{Act, Action, App, Bundle, ConsentChange, Interaction, Person, Scope, Source, State};
use crate::ingress::proto::{self, event::Payload};

/// Events in one request.
const EVENTS_PER_REQUEST: usize = 64;
/// How long ago the first act seems to have begun.
const SPAN: Duration = Duration::from_secs(6 * 60 * 60);
/// How long ago the last interaction seems to have begun: its feedback must not lie ahead.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// The requests of an act.
pub(super) struct Scene<'a> {
    /// What it is about.
    pub(super) title: &'a str,
    /// Changes of consent, to be made one after the other, before the events.
    pub(super) consent: Vec<proto::SetConsentRequest>,
    /// Batches of events.
    pub(super) requests: Vec<Vec<proto::Event>>,
}

impl Scene<'_> {
    /// How many events it has.
    pub(super) fn events(&self) -> usize {
        self.requests.iter().map(Vec::len).sum()
    }
}

/// One run of the demo. Its id begins every session id and interaction id, so that a run's rows can be told
/// from those of earlier runs.
#[derive(Clone, Debug)]
pub(super) struct Run(String);

impl Run {
    /// A run that begins now.
    pub(super) fn new() -> Self {
        // The random end of a version 7 UUID: its beginning is the time, the same for two runs at once.
        let id = Uuid::now_v7().simple().to_string();
        Self(format!("demo-{}", &id[id.len() - 10..]))
    }

    /// What all its session ids begin with; no other run's do.
    pub(super) fn prefix(&self) -> String {
        format!("{}-", self.0)
    }

    /// The sitting of a person (by place among the people) in an act (from 0).
    pub(super) fn session_id(&self, person: usize, act: usize) -> String {
        format!("{}-p{person:02}-a{}", self.0, act + 1)
    }

    /// An interaction, by its place among all.
    pub(super) fn interaction_id(&self, index: usize) -> String {
        format!("{}-i{index:04}", self.0)
    }
}

/// All acts, in order, as seen from `now`.
pub(super) fn play<'a>(bundle: &'a Bundle, run: &Run, now: SystemTime) -> Vec<Scene<'a>> {
    let people: HashMap<&str, (usize, &Person)> =
        bundle.people.iter().enumerate().map(|(index, it)| (it.user_id.as_str(), (index, it))).collect();
    let begin = now - SPAN;
    let length = (SPAN - MARGIN) / u32::try_from(bundle.acts.len().max(1)).unwrap_or(u32::MAX);
    let mut from = begin;
    let mut index = 0;
    let mut scenes = Vec::with_capacity(bundle.acts.len());
    for (number, act) in bundle.acts.iter().enumerate() {
        let writer = Writer { run, people: &people, act: number };
        let events = writer.events(act, index, from, length);
        scenes.push(Scene {
            title: &act.title,
            consent: act.consent.iter().map(|change| consent(change, &people)).collect(),
            requests: events.chunks(EVENTS_PER_REQUEST).map(<[_]>::to_vec).collect(),
        });
        index += act.interactions.len();
        from += length;
    }
    scenes
}

/// Makes the events of one act.
struct Writer<'a> {
    run: &'a Run,
    people: &'a HashMap<&'a str, (usize, &'a Person)>,
    act: usize,
}

impl Writer<'_> {
    fn events(&self, act: &Act, first_index: usize, from: SystemTime, length: Duration) -> Vec<proto::Event> {
        let mut events: Vec<_> = act
            .preferences
            .iter()
            .map(|it| {
                let payload = Payload::LanguagePreference(proto::LanguagePreference {
                    language: it.language.clone(),
                    previous_language: it.previous_language.clone(),
                });
                self.event(&it.user_id, from, payload)
            })
            .collect();
        let pause = length / u32::try_from(act.interactions.len().max(1)).unwrap_or(u32::MAX);
        let mut at = from;
        for (place, it) in act.interactions.iter().enumerate() {
            let interaction_id = self.run.interaction_id(first_index + place);
            for mut event in self.interaction(it, at) {
                event.interaction_id.clone_from(&interaction_id);
                event.feature.clone_from(&it.feature);
                event.model.clone_from(&it.model);
                events.push(event);
            }
            at += pause;
        }
        events
    }

    fn interaction(&self, it: &Interaction, at: SystemTime) -> Vec<proto::Event> {
        let suggestion_id = format!("s-{}", Uuid::now_v7().simple());
        let suggestion_language = it.suggestion_language.as_ref().unwrap_or(&it.language);
        let shown_at = at + Duration::from_millis(it.latency_ms.into());
        let typed =
            Payload::TypedText(proto::TypedText { text: it.text.clone(), language: it.language.clone() });
        let shown = Payload::SuggestionShown(proto::SuggestionShown {
            suggestion_id: suggestion_id.clone(),
            text: it.suggestion.clone(),
            language: suggestion_language.clone(),
            latency_ms: it.latency_ms,
            position: it.position,
        });
        let mut events = vec![self.event(&it.user_id, at, typed), self.event(&it.user_id, shown_at, shown)];
        if let Some(action) = it.action {
            let feedback = Payload::SuggestionFeedback(proto::SuggestionFeedback {
                suggestion_id,
                action: feedback_action(action).into(),
                rating: it.rating,
                final_text: it.final_text.clone(),
                comment: it.comment.clone(),
            });
            events.push(self.event(&it.user_id, shown_at + reading_time(&it.suggestion), feedback));
        }
        events
    }

    fn event(&self, user_id: &str, at: SystemTime, payload: Payload) -> proto::Event {
        let (index, person) = self.people.get(user_id).copied().unzip();
        proto::Event {
            event_id: Uuid::now_v7().to_string(),
            user_id: user_id.to_owned(),
            occurred_at: Some(at.into()),
            session_id: self.run.session_id(index.unwrap_or_default(), self.act),
            client: person.map(|person| client(person.client)),
            jurisdiction: person.map(|person| person.jurisdiction.clone()).unwrap_or_default(),
            global_privacy_control: person.is_some_and(|person| person.global_privacy_control),
            payload: Some(payload),
            ..proto::Event::default()
        }
    }
}

/// How long somebody looks at a suggestion: about 20 characters a second, and a moment to choose.
fn reading_time(suggestion: &str) -> Duration {
    let characters = u64::try_from(suggestion.chars().count()).unwrap_or(u64::MAX);
    Duration::from_millis(characters.saturating_mul(50).saturating_add(1_500).min(60_000))
}

fn consent(change: &ConsentChange, people: &HashMap<&str, (usize, &Person)>) -> proto::SetConsentRequest {
    let person = people.get(change.user_id.as_str()).map(|(_, person)| *person);
    proto::SetConsentRequest {
        user_id: change.user_id.clone(),
        scope: match change.scope {
            Scope::FirstParty => proto::ConsentScope::FirstParty,
            Scope::Affiliates => proto::ConsentScope::Affiliates,
        }
        .into(),
        state: match change.state {
            State::Granted => proto::ConsentState::Granted,
            State::Denied => proto::ConsentState::Denied,
        }
        .into(),
        policy_version: change.terms.clone(),
        source: match change.source {
            Source::UserSetting => proto::ConsentSource::UserSetting,
            Source::Admin => proto::ConsentSource::Admin,
            Source::Import => proto::ConsentSource::Import,
        }
        .into(),
        jurisdiction: person.map(|it| it.jurisdiction.clone()).unwrap_or_default(),
        evidence: change.evidence.clone(),
        actor: change.actor.clone(),
        // Were the answer lost, the same change could be sent again and would be recorded once.
        request_id: Uuid::now_v7().to_string(),
        client: person.map(|it| client(it.client)),
        ..proto::SetConsentRequest::default()
    }
}

const fn feedback_action(action: Action) -> proto::FeedbackAction {
    match action {
        Action::Accepted => proto::FeedbackAction::Accepted,
        Action::AcceptedWithEdits => proto::FeedbackAction::AcceptedWithEdits,
        Action::Rejected => proto::FeedbackAction::Rejected,
        Action::Ignored => proto::FeedbackAction::Ignored,
        Action::Reported => proto::FeedbackAction::Reported,
    }
}

fn client(app: App) -> proto::Client {
    let (name, version, platform) = match app {
        App::EditorWeb => ("editor-web", "4.18.2", "web"),
        App::MobileIos => ("mobile-ios", "3.9.0", "ios"),
        App::MobileAndroid => ("mobile-android", "3.9.1", "android"),
        App::OfficeAddin => ("office-addin", "2.5.0", "windows"),
    };
    proto::Client { name: name.to_owned(), version: version.to_owned(), platform: platform.to_owned() }
}

#[cfg(test)]
mod tests;
