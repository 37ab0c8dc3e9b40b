//! A request of 500 events, as an editor sends them: the kinds in the proportions of one, in three languages. It is the
//! same in every run.

use assent::{
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    event::{Micros, Stamp},
    ingress::proto::{
        Client, CollectRequest, Event, SuggestionFeedback, SuggestionShown, TypedText, event::Payload,
    },
    pipeline::{ConsentView, Decide},
};

use crate::texts::{self, Language, Size};

/// How many events the request has.
pub(crate) const EVENTS: u64 = 500;
/// When the request arrives.
pub(crate) const NOW: Micros = Micros(1_767_225_600_000_000);

/// The request. Its events happened a second before it arrives.
pub(crate) fn request() -> CollectRequest {
    let short = Size::ALL[0];
    let texts: Vec<String> =
        Language::ALL.iter().flat_map(|&language| texts::clean(language, short)).collect();
    let seconds = NOW.0 / 1_000_000 - 1;
    // Ids are all but random, which is what they compress like.
    let mut random = fastrand::Rng::with_seed(EVENTS);
    let mut event = |n: usize| {
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
            event_id: event_id(&mut random),
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
    CollectRequest { events: (0..EVENTS as usize).map(&mut event).collect() }
}

/// A UUID of version 7, of a client that made it as the event happened.
fn event_id(random: &mut fastrand::Rng) -> String {
    let mut bytes = [0; 10];
    random.fill(&mut bytes);
    let millis = NOW.0.unsigned_abs() / 1_000 - 1_000 + random.u64(..1_000);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().to_string()
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
