//! What happens to an event between the wire and the spool, stage by stage, with no I/O.
//!
//! ```text
//! authenticate ▸ validate ▸ pseudonymise ▸ tag ▸ redact
//! ```
//!
//! [`authenticate`] works on a request and runs before its body is looked at; the other stages work
//! on one event each, in [`Pipeline::run`]. An event is tagged after it is pseudonymised because
//! consent is held by pseudonym. A bad event never takes the good ones of its request with it.

use std::{fmt, sync::Arc};

use crate::event::{Micros, Received, Redacted, Tenant};

pub mod authenticate;
pub mod language;
pub mod pseudonymise;
pub mod redact;
pub mod tag;
pub mod validate;

pub use authenticate::{AuthError, Credentials, CredentialsError, TenantKeys};
pub use pseudonymise::{KeyError, KeyRing, PseudonymKey, Pseudonymiser, RingError, Subjects};
pub use redact::{RULES_VERSION, Redactor, RedactorError, RulesRecord, TenantRules, TenantRulesError};
pub use tag::{ConsentFacts, ConsentView, Decide};
pub use validate::{Limits, RejectionReason, Validator, Violation};

/// The characters of an event id that a rejection repeats.
const ECHOED_ID_CHARS: usize = 64;

/// The stages, in the order in which an event passes them.
pub struct Pipeline {
    validator: Validator,
    pseudonymiser: Arc<Pseudonymiser>,
    consent: Arc<dyn ConsentView>,
    redactor: Arc<Redactor>,
}

/// What became of a request's events.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many events went through all stages.
    pub accepted: u32,
    /// The others, in the order of the request.
    pub rejected: Vec<Rejection>,
}

/// An event that was not taken, and why.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Index of the event in the request, from 0.
    pub index: u32,
    /// The event's id as it was sent, cut to 64 characters. For the client alone: it was not
    /// checked, so `Debug` leaves it out.
    pub event_id: String,
    /// The rule that it broke.
    pub reason: RejectionReason,
    /// The rule in words. Never holds a value that the client sent.
    pub message: String,
}

impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The id was not checked: a client may have put anything there.
        write!(f, "Rejection({}, {})", self.index, self.reason.as_str())
    }
}

impl Pipeline {
    /// Puts the stages together. The consent service shares the pseudonymiser and the redactor.
    #[must_use]
    pub fn new(
        limits: Limits,
        pseudonymiser: Arc<Pseudonymiser>,
        consent: Arc<dyn ConsentView>,
        redactor: Arc<Redactor>,
    ) -> Self {
        Self { validator: Validator::new(limits), pseudonymiser, consent, redactor }
    }

    /// Takes a request's events through all stages, one after the other, and hands each that was accepted
    /// to `take`. `now` is this collector's clock.
    pub fn run<'a>(
        &'a self,
        tenant: &'a Tenant,
        received: impl IntoIterator<Item = Received<'a>>,
        now: Micros,
        mut take: impl FnMut(&Redacted<'a>),
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let decide = self.consent.at(now);
        let mut last = None;
        for (index, event) in (0_u32..).zip(received) {
            let event_id = event.event_id;
            let valid =
                self.validator.check_index(index).and_then(|()| self.validator.validate(tenant, event, now));
            let redacted = valid.and_then(|valid| {
                let (pseudonymous, author, subjects) = self.pseudonymiser.pseudonymise(valid, &mut last);
                let tagged = tag::tag(pseudonymous, subjects, &decide);
                self.redactor.redact_event(tagged, &author)
            });
            match redacted {
                Ok(redacted) => {
                    take(&redacted);
                    outcome.accepted += 1;
                }
                Err(Violation { reason, message }) => {
                    let event_id = event_id.chars().take(ECHOED_ID_CHARS).collect();
                    outcome.rejected.push(Rejection { index, event_id, reason, message });
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
