//! Errors to gRPC statuses: the one place that decides what a client is told.
//!
//! A client learns what to do, never what went wrong inside. What a retry may help gets
//! UNAVAILABLE, or RESOURCE_EXHAUSTED with `RetryInfo`; what it cannot gets INVALID_ARGUMENT.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    consent::LedgerError,
    ingress::admission::{ShareSpent, flight::FlightError},
    pipeline::AuthError,
    privacy::erasure::ErasureError,
    spool::AppendError,
};

/// How long a client should stay away when the disk is full: about as long as delivery takes to
/// empty a segment.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(2);
/// How long when memory is full: a few commits.
const RETRY_WHEN_BUSY: Duration = Duration::from_millis(100);
/// How long when there is more to do than can be done: about as long as it takes to do what waits.
const RETRY_WHEN_OVERLOADED: Duration = Duration::from_secs(1);

/// How long when the ledger cannot be reached.
const RETRY_LEDGER: Duration = Duration::from_secs(1);

/// The request had no key, or one that nobody holds.
#[must_use]
pub fn unauthenticated(error: &AuthError) -> Status {
    Status::unauthenticated(error.to_string())
}

/// The request is about somebody's privacy, and its key is none for that.
#[must_use]
pub fn not_for_privacy(error: &AuthError) -> Status {
    match error {
        AuthError::NotForPrivacy => Status::permission_denied(error.to_string()),
        AuthError::Missing | AuthError::Unknown => unauthenticated(error),
    }
}

/// An erasure could not be recorded or read.
#[must_use]
pub fn erasure(error: &ErasureError) -> Status {
    match error {
        ErasureError::Ledger(LedgerError::ForeignKey) => ledger(&LedgerError::ForeignKey),
        ErasureError::RequestReused => Status::already_exists(
            "request_id was used for the erasure of another person; give every request an id of its own",
        ),
        ErasureError::NotAllowed(_) => Status::failed_precondition(
            "this collector's ClickHouse user may not do this; its operator has to give erasure.clickhouse_user the \
             role assent_eraser",
        ),
        ErasureError::Ledger(_) | ErasureError::ClickHouse(_) | ErasureError::Slow { .. } => {
            Status::with_error_details(
                Code::Unavailable,
                "nobody knows whether the erasure was recorded; send the same request again, with the same request_id",
                ErrorDetails::with_retry_info(Some(RETRY_LEDGER)),
            )
        }
    }
}

/// A field of a request has a value that it cannot have.
#[must_use]
pub fn invalid_argument(field: &str, rule: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, rule);
    let message = if rule.starts_with(field) { rule.to_owned() } else { format!("{field} {rule}") };
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// What a request is told that cannot be read at all.
const UNREADABLE: &str = "the request cannot be read: it is larger than this collector takes, or not a message \
    of assent.v1; sending it again does not help";

/// A request of a stream that could not be read.
#[must_use]
pub fn unreadable(status: Status) -> Status {
    if is_about_reading(status.code(), !status.details().is_empty()) {
        Status::invalid_argument(UNREADABLE)
    } else {
        status
    }
}

/// A request that is not one message.
#[must_use]
pub fn unreadable_request() -> Status {
    Status::invalid_argument(UNREADABLE)
}

/// The transport library answers a request that is too large with OUT_OF_RANGE or, when it grows too
/// large on decompression, RESOURCE_EXHAUSTED, and one that is no message with INTERNAL. None of them
/// gets better by a retry, which is what a client must know. This program's own statuses of these
/// codes carry details.
fn is_about_reading(code: Code, has_details: bool) -> bool {
    match code {
        Code::OutOfRange | Code::Internal => true,
        Code::ResourceExhausted => !has_details,
        _ => false,
    }
}

/// The same for a request that is the only one of its call, which no service gets to see.
pub fn rewrite_unreadable<B>(mut response: http::Response<B>) -> http::Response<B> {
    let headers = response.headers_mut();
    let code = headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    let has_details = headers.contains_key(Status::GRPC_STATUS_DETAILS);
    if code.is_some_and(|code| is_about_reading(code, has_details)) {
        // Cannot fail: the message is ASCII.
        let _ = Status::invalid_argument(UNREADABLE).add_header(headers);
    }
    response
}

/// The events could not be made durable.
#[must_use]
pub fn append(error: &AppendError) -> Status {
    match error {
        AppendError::Full => exhausted("the spool is full; try again later", RETRY_WHEN_FULL),
        AppendError::QueueFull => exhausted("too much is in flight; slow down", RETRY_WHEN_BUSY),
        AppendError::TooLarge { .. } => Status::invalid_argument(
            "the request is too large to be written at once; send fewer events in one",
        ),
        AppendError::Poisoned(_) | AppendError::Closed => {
            Status::unavailable("this collector no longer takes events; try another, or try again later")
        }
    }
}

/// The collector wants no more on this stream: it stops, or the stream is old. What was read before is
/// answered.
#[must_use]
pub fn end_of_stream() -> Status {
    Status::unavailable("this stream has ended; open another, and send there what has no answer yet")
}

/// The tenant has its share, and others may still send.
#[must_use]
pub fn share_spent(spent: ShareSpent) -> Status {
    match spent {
        ShareSpent::Spool => exhausted(
            "this tenant has its share of a spool that fills up; try again later, or more slowly",
            RETRY_WHEN_FULL,
        ),
        ShareSpent::Pending => {
            exhausted("this tenant has its share of what is in flight; slow down", RETRY_WHEN_BUSY)
        }
    }
}

/// There is no memory for the request.
#[must_use]
pub fn in_flight(error: FlightError) -> Status {
    match error {
        FlightError::ShareSpent => exhausted(
            "this connection or tenant has its share of what may be in flight; finish requests, or slow down",
            RETRY_WHEN_BUSY,
        ),
        FlightError::Full => exhausted("too much is in flight; slow down", RETRY_WHEN_BUSY),
    }
}

/// More comes than can be worked on.
#[must_use]
pub fn overloaded() -> Status {
    exhausted(
        "this collector has more to do than it can; try another, or try again later",
        RETRY_WHEN_OVERLOADED,
    )
}

/// The request took too long to arrive.
#[must_use]
pub fn receive_timeout() -> Status {
    Status::deadline_exceeded(
        "the request did not arrive whole within this collector's time (ingress.receive_timeout); send it again, \
         in smaller parts if the line is slow",
    )
}

fn exhausted(message: &str, retry_after: Duration) -> Status {
    Status::with_error_details(
        Code::ResourceExhausted,
        message,
        ErrorDetails::with_retry_info(Some(retry_after)),
    )
}

/// The ledger could not be written or read.
#[must_use]
pub fn ledger(error: &LedgerError) -> Status {
    let unavailable = |message: &str| {
        let details = ErrorDetails::with_retry_info(Some(RETRY_LEDGER));
        Status::with_error_details(Code::Unavailable, message, details)
    };
    match error {
        LedgerError::OutcomeUnknown { .. } => unavailable(
            "nobody knows whether the change was recorded; send it again (a no already holds on this collector)",
        ),
        LedgerError::NotRecorded(_) | LedgerError::Overtaken => {
            unavailable("the change was not recorded; send it again (a no already holds on this collector)")
        }
        LedgerError::Loading => unavailable(
            "this collector is still loading; send the change again (a no already holds on this collector)",
        ),
        LedgerError::Read(_) | LedgerError::Unknown { .. } => {
            unavailable("the consent ledger cannot be read; try again")
        }
        LedgerError::ForeignKey => Status::failed_precondition(
            "this collector lacks a pseudonym key that is in use, or begins its ring with a retired one; use another \
             collector, and give this one the others' pseudonym.key_file",
        ),
        LedgerError::RequestReused => Status::already_exists(
            "request_id was used for another change of this person; give every change an id of its own",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_spool_says_when_to_come_back() {
        let status = append(&AppendError::Full);
        assert_eq!(status.code(), Code::ResourceExhausted);
        let retry = status.get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(RETRY_WHEN_FULL));
    }

    #[test]
    fn whoever_is_refused_for_want_of_room_is_told_when_to_come_back() {
        let refused = [
            append(&AppendError::Full),
            append(&AppendError::QueueFull),
            share_spent(ShareSpent::Spool),
            share_spent(ShareSpent::Pending),
            in_flight(FlightError::ShareSpent),
            in_flight(FlightError::Full),
            overloaded(),
        ];
        for status in refused {
            assert_eq!(status.code(), Code::ResourceExhausted);
            assert!(status.get_details_retry_info().unwrap().retry_delay.is_some(), "{status:?}");
            // And none of it is taken for a request that cannot be read.
            assert_eq!(unreadable(status).code(), Code::ResourceExhausted);
        }
    }

    #[test]
    fn a_dead_writer_is_unavailable_and_not_internal() {
        assert_eq!(append(&AppendError::Closed).code(), Code::Unavailable);
    }
}
