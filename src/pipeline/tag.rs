//! Stamps an event with the consent that its author had given when it was received.
//!
//! The decision is the consent module's; this stage asks for it with what it depends on.

use super::Subjects;
use crate::event::{EventType, Jurisdiction, Micros, Pseudonymous, Stamp, Tagged};

/// What a decision depends on, apart from the person's consent and the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentFacts<'a> {
    /// The kind of the event.
    pub event_type: EventType,
    /// The product's feature.
    pub feature: &'a str,
    /// Where the person is.
    pub jurisdiction: Jurisdiction,
    /// Whether the client sent a Global Privacy Control signal.
    pub gpc: bool,
}

/// Consent as this collector knows it, with its policies.
pub trait ConsentView: Send + Sync {
    /// What decides on the events of one request, under the policy in force at their receipt. It must not
    /// block, and must answer "unknown", never "yes", if the view is stale or still loading: what
    /// holds for all of a request is found out once.
    fn at(&self, received_at: Micros) -> Decide<'_>;
}

/// Decides who may train on an event of the person with these pseudonyms.
pub type Decide<'a> = Box<dyn Fn(&Subjects, &ConsentFacts<'_>) -> Stamp + 'a>;

/// Decides and stamps. `subjects` are the author's pseudonyms: what the author said may lie under any of them.
#[must_use]
pub fn tag<'a>(event: Pseudonymous<'a>, subjects: &Subjects, decide: &Decide<'_>) -> Tagged<'a> {
    let stamp = decide(
        subjects,
        &ConsentFacts {
            event_type: event.payload.event_type(),
            feature: event.context.feature,
            jurisdiction: event.context.jurisdiction,
            gpc: event.context.global_privacy_control,
        },
    );
    Tagged { event, stamp }
}
