//! A request of 500 events, as an editor sends them: the kinds in the proportions of one, in three languages.

use assent::{
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    event::{Micros, Stamp},
    ingress::proto::{
        Client, CollectRequest, Event, SuggestionFeedback, SuggestionShown, TypedText, event::Payload,
    },
    pipeline::{ConsentView, Decide},
};
use uuid::Uuid;

use crate::texts::{self, Language, Size};

/// How many events the request has.
pub(crate) const EVENTS: u64 = 500;

/// The request. Its events happened now, so that they are valid for some days.
pub(crate) fn request() -> CollectRequest {
    let short = Size::ALL[0];
    let texts: Vec<String> =
        Language::ALL.iter().flat_map(|&language| texts::clean(language, short)).collect();
    let seconds = Micros::now().0 / 1_000_000;
    let event = |n: usize| {
        let text = texts[n * 31 % texts.len()].clone();
        let (suggestion_id, language) = (format!("sg-{}", n / 3), ["en", "ru", "ja"][n % 3].to_owned());
        let payload = match n % 5 {
            0 | 1 => Payload::TypedText(TypedText { text, language }),
            2 | 3 => Payload::SuggestionShown(SuggestionShown {
                suggestion_id,
                text,
                language,
                latency_ms: 40 + n as u32,
                position: n as u32 % 3,
            }),
            _ => Payload::SuggestionFeedback(SuggestionFeedback {
                suggestion_id,
                action: 1,
                rating: 1,
                final_text: text,
                comment: String::new(),
            }),
        };
        Event {
            event_id: Uuid::now_v7().to_string(),
            user_id: format!("user-{}", n * 7_919 % 1_000),
            occurred_at: Some(prost_types::Timestamp { seconds, nanos: 123_000_000 }),
            session_id: format!("s-{:08x}", n / 40),
            interaction_id: format!("i-{:08x}", n / 3),
            feature: ["compose", "reply", "summary"][n % 3].to_owned(),
            model: "quill-2".to_owned(),
            client: Some(Client {
                name: "editor-web".to_owned(),
                version: "4.18.2".to_owned(),
                platform: "web".to_owned(),
            }),
            jurisdiction: ["DE", "US-CA", "IN", "BR"][n % 4].to_owned(),
            global_privacy_control: n.is_multiple_of(33),
            payload: Some(payload),
        }
    };
    CollectRequest { events: (0..EVENTS as usize).map(event).collect() }
}

/// Says yes to three of five people.
pub(crate) struct View;

impl ConsentView for View {
    fn at(&self, _: Micros) -> Decide<'_> {
        Box::new(|subject, _| {
            let yes = subject.current().as_bytes()[0] % 5 < 3;
            Stamp {
                training_scope: if yes { TrainingScope::FirstParty } else { TrainingScope::None },
                reason: if yes { EligibilityReason::Granted } else { EligibilityReason::UnsetOptIn },
                state: if yes { ConsentState::Granted } else { ConsentState::Unset },
                source: Source::UserSetting,
                consent_version: 3,
                policy_version: "2026-01".into(),
                policy_digest: "00".into(),
            }
        })
    }
}
