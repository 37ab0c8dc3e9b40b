//! Words of the wire to the product's own and back. Events come in by `decode`.

use crate::{
    consent::{ConsentScope, ConsentState, Source},
    event::Micros,
    ingress::proto,
    pipeline::{Rejection, RejectionReason},
};

/// A rejection for the wire.
#[must_use]
pub fn rejected(rejection: Rejection) -> proto::RejectedEvent {
    proto::RejectedEvent {
        index: rejection.index,
        event_id: rejection.event_id,
        reason: rejection_reason(rejection.reason).into(),
        message: rejection.message,
    }
}

const fn rejection_reason(reason: RejectionReason) -> proto::RejectionReason {
    match reason {
        RejectionReason::InvalidEventId => proto::RejectionReason::InvalidEventId,
        RejectionReason::InvalidUserId => proto::RejectionReason::InvalidUserId,
        RejectionReason::InvalidSessionId => proto::RejectionReason::InvalidSessionId,
        RejectionReason::InvalidInteractionId => proto::RejectionReason::InvalidInteractionId,
        RejectionReason::InvalidSuggestionId => proto::RejectionReason::InvalidSuggestionId,
        RejectionReason::MissingPayload => proto::RejectionReason::MissingPayload,
        RejectionReason::InvalidLanguage => proto::RejectionReason::InvalidLanguage,
        RejectionReason::UnknownEnumValue => proto::RejectionReason::UnknownEnumValue,
        RejectionReason::InvalidRating => proto::RejectionReason::InvalidRating,
        RejectionReason::TextTooLong => proto::RejectionReason::TextTooLong,
        RejectionReason::TimeOutOfRange => proto::RejectionReason::TimeOutOfRange,
        RejectionReason::TooManyEvents => proto::RejectionReason::TooManyEvents,
        RejectionReason::InvalidJurisdiction => proto::RejectionReason::InvalidJurisdiction,
        RejectionReason::InvalidField => proto::RejectionReason::InvalidField,
        RejectionReason::RefusedPersonalData => proto::RejectionReason::RefusedPersonalData,
    }
}

/// A scope off the wire; `None` when it is unspecified or unknown.
#[must_use]
pub fn scope_in(scope: i32) -> Option<ConsentScope> {
    match proto::ConsentScope::try_from(scope).ok()? {
        proto::ConsentScope::Unspecified => None,
        proto::ConsentScope::FirstParty => Some(ConsentScope::FirstParty),
        proto::ConsentScope::Affiliates => Some(ConsentScope::Affiliates),
    }
}

/// A scope for the wire.
#[must_use]
pub const fn scope_out(scope: ConsentScope) -> proto::ConsentScope {
    match scope {
        ConsentScope::FirstParty => proto::ConsentScope::FirstParty,
        ConsentScope::Affiliates => proto::ConsentScope::Affiliates,
    }
}

/// A state off the wire; `None` when it is unspecified or unknown.
#[must_use]
pub fn state_in(state: i32) -> Option<ConsentState> {
    match proto::ConsentState::try_from(state).ok()? {
        proto::ConsentState::Unspecified => None,
        proto::ConsentState::Unset => Some(ConsentState::Unset),
        proto::ConsentState::Granted => Some(ConsentState::Granted),
        proto::ConsentState::Denied => Some(ConsentState::Denied),
    }
}

/// A state for the wire.
#[must_use]
pub const fn state_out(state: ConsentState) -> proto::ConsentState {
    match state {
        ConsentState::Unset => proto::ConsentState::Unset,
        ConsentState::Granted => proto::ConsentState::Granted,
        ConsentState::Denied => proto::ConsentState::Denied,
    }
}

/// A source off the wire: a change is the person's own unless it says otherwise. `None` when it is
/// unknown, or the policy's default, which nobody can set.
#[must_use]
pub fn source_in(source: i32) -> Option<Source> {
    match proto::ConsentSource::try_from(source).ok()? {
        proto::ConsentSource::Unspecified | proto::ConsentSource::UserSetting => Some(Source::UserSetting),
        proto::ConsentSource::Admin => Some(Source::Admin),
        proto::ConsentSource::Import => Some(Source::Import),
        proto::ConsentSource::GpcSignal => Some(Source::GpcSignal),
        proto::ConsentSource::PolicyDefault => None,
    }
}

/// A source for the wire.
#[must_use]
pub const fn source_out(source: Source) -> proto::ConsentSource {
    match source {
        Source::PolicyDefault => proto::ConsentSource::PolicyDefault,
        Source::UserSetting => proto::ConsentSource::UserSetting,
        Source::Admin => proto::ConsentSource::Admin,
        Source::Import => proto::ConsentSource::Import,
        Source::GpcSignal => proto::ConsentSource::GpcSignal,
    }
}

/// A time for the wire.
#[must_use]
pub fn timestamp(at: Micros) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.0.div_euclid(1_000_000),
        nanos: i32::try_from(at.0.rem_euclid(1_000_000) * 1_000).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_the_epoch_has_positive_nanos() {
        let at = timestamp(Micros(-1));
        assert_eq!((at.seconds, at.nanos), (-1, 999_999_000));
    }

    #[test]
    fn what_the_wire_may_not_set_is_refused() {
        assert_eq!(scope_in(0), None);
        assert_eq!(scope_in(99), None);
        assert_eq!(state_in(0), None);
        assert_eq!(source_in(proto::ConsentSource::PolicyDefault.into()), None);
        assert_eq!(source_in(0), Some(Source::UserSetting));
    }

    #[test]
    fn consent_words_survive_the_way_out_and_in() {
        for scope in ConsentScope::ALL {
            assert_eq!(scope_in(scope_out(scope).into()), Some(scope));
        }
        for state in ConsentState::ALL {
            assert_eq!(state_in(state_out(state).into()), Some(state));
        }
    }
}
