//! Events and changes of consent, as clients make them.

use std::time::SystemTime;

use assent::ingress::proto::{self, event::Payload};
use uuid::Uuid;

/// An event in the making: a typed text unless it is told otherwise.
#[derive(Clone)]
pub(crate) struct EventBuilder(proto::Event);

/// An event of a user.
pub(crate) fn event(user_id: &str) -> EventBuilder {
    EventBuilder(proto::Event {
        event_id: Uuid::now_v7().to_string(),
        user_id: user_id.to_owned(),
        occurred_at: Some(SystemTime::now().into()),
        session_id: "s-1".to_owned(),
        interaction_id: "i-1".to_owned(),
        feature: "compose".to_owned(),
        model: "quill-2".to_owned(),
        client: Some(proto::Client {
            name: "editor-web".to_owned(),
            version: "4.18".to_owned(),
            platform: "web".to_owned(),
        }),
        payload: Some(Payload::TypedText(proto::TypedText {
            text: "a text".to_owned(),
            language: "en".to_owned(),
        })),
        ..proto::Event::default()
    })
}

impl EventBuilder {
    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.0.payload = Some(payload);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        let text = proto::TypedText { text: text.to_owned(), language: "en".to_owned() };
        self.payload(Payload::TypedText(text))
    }

    pub(crate) fn jurisdiction(mut self, code: &str) -> Self {
        code.clone_into(&mut self.0.jurisdiction);
        self
    }

    pub(crate) fn gpc(mut self) -> Self {
        self.0.global_privacy_control = true;
        self
    }

    /// Anything else.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut proto::Event)) -> Self {
        change(&mut self.0);
        self
    }

    pub(crate) fn build(self) -> proto::Event {
        self.0
    }
}

/// A person's own change of consent.
pub(crate) fn change(
    user_id: &str,
    scope: proto::ConsentScope,
    state: proto::ConsentState,
) -> proto::SetConsentRequest {
    proto::SetConsentRequest {
        user_id: user_id.to_owned(),
        scope: scope.into(),
        state: state.into(),
        ..proto::SetConsentRequest::default()
    }
}
