//! What stages work with and on, beside the request and the texts: the same in every run.

use std::sync::Arc;

use assent::{
    consent::{Consent, ConsentState, Known, ScopeConsent, Source},
    delivery::{EventBatch, EventEncoders},
    event::{EventType, Jurisdiction, Redacted},
    pipeline::{ConsentFacts, Limits, Pipeline, PseudonymKey, Pseudonymiser, Redactor},
};

use crate::events::View;

/// A typical author: one whose id does not occur in the texts.
pub(crate) const AUTHOR: &str = "user-48213";

/// What tenants take for the id of the person with this number.
pub(crate) type UserId = fn(u64) -> String;

/// Their kinds.
pub(crate) const USER_IDS: [(&str, UserId); 3] = [
    ("handle", |n| format!("user-{n}")),
    ("uuid", |n| uuid::Uuid::from_u128(u128::from(n) << 64 | 0x4000_8000).to_string()),
    ("email", |n| format!("firstname.lastname.{n}@department.example.com")),
];

/// The ids of 64 people.
pub(crate) fn user_ids(id: UserId) -> Vec<String> {
    (0..64).map(|n| id(n * 7_919)).collect()
}

/// With a key that everybody knows: a random one would make each run decide and compress something else.
pub(crate) fn pseudonymiser() -> Pseudonymiser {
    const KEY: &str =
        "assent-pseudonym-v1 6af9ecb8 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    Pseudonymiser::new(&PseudonymKey::from_text(KEY).unwrap())
}

/// All stages.
pub(crate) fn pipeline() -> Pipeline {
    let (view, redactor) = (Arc::new(View), Arc::new(Redactor::new()));
    Pipeline::new(Limits::default(), Arc::new(pseudonymiser()), view, redactor)
}

/// What people have said.
pub(crate) fn consents() -> [(&'static str, Consent); 3] {
    [("granted", ConsentState::Granted), ("denied", ConsentState::Denied), ("silence", ConsentState::Unset)]
        .map(|(name, state)| {
            let said = ScopeConsent { state, source: Source::UserSetting, version: 3, ..Default::default() };
            (name, Consent::Known(Known { first_party: said.clone(), affiliates: said }))
        })
}

/// What a decision is about.
pub(crate) fn facts() -> ConsentFacts<'static> {
    ConsentFacts {
        event_type: EventType::TypedText,
        feature: "compose",
        jurisdiction: Jurisdiction::parse("DE").unwrap(),
        gpc: false,
    }
}

/// Events as columns.
pub(crate) fn batch(encoders: &EventEncoders, events: &[Redacted<'_>]) -> EventBatch {
    let mut batch = encoders.encoder();
    events.iter().for_each(|event| batch.push(event));
    batch
}
