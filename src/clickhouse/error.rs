//! What a failure of ClickHouse means: whether it took effect, and whether trying again can help.

use std::error::Error as _;

/// The longest part of a server's message that is kept. Some messages repeat the whole query.
const MAX_MESSAGE_BYTES: usize = 600;

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// It had no effect, and may work later: try again.
    Transient,
    /// Whether it had an effect is not known: send the same bytes again, under the same token.
    Ambiguous,
    /// The server will never take this: trying again does not help.
    Permanent,
}

/// A query or an insert that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configured URL is not one.
    #[error("{url:?} is not the URL of a ClickHouse server's HTTP interface")]
    Url {
        /// The URL.
        url: String,
    },
    /// No connection could be made, so nothing was sent.
    #[error("ClickHouse cannot be reached: {}", root_cause(.0))]
    Unreachable(#[source] clickhouse::error::Error),
    /// The connection broke, or the answer did not come in time.
    #[error("the connection to ClickHouse broke before the answer came: {}", root_cause(.0))]
    Interrupted(#[source] clickhouse::error::Error),
    /// No answer in time.
    #[error("ClickHouse did not answer in time")]
    TimedOut,
    /// The server refused, with its code and the beginning of its message.
    #[error("ClickHouse answered with code {code}: {message}")]
    Server {
        /// See ClickHouse's `ErrorCodes.cpp`.
        code: u32,
        /// What it said.
        message: String,
    },
    /// An answer that is none of ClickHouse's: a proxy in between, perhaps.
    #[error("the answer is not ClickHouse's: {0}")]
    NotClickHouse(String),
    /// An answer in another form than was asked for.
    #[error("ClickHouse's answer cannot be read")]
    Answer(#[from] serde_json::Error),
    /// An answer whose bytes are not those that were asked for.
    #[error("ClickHouse's answer cannot be read: {0}")]
    Malformed(&'static str),
    /// What the client library refused before anything was sent.
    #[error("the request could not be made")]
    Request(#[source] clickhouse::error::Error),
}

/// Codes by which a server refuses the data itself. Whatever else it may say (a missing table or
/// right, too many parts, no memory, a code that is not known here) can change with time, and
/// giving acknowledged rows up for it would lose them.
const REFUSES_DATA: [u32; 21] = [
    6,   // CANNOT_PARSE_TEXT
    8,   // THERE_IS_NO_COLUMN
    26,  // CANNOT_PARSE_QUOTED_STRING
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    36,  // BAD_ARGUMENTS
    38,  // CANNOT_PARSE_DATE
    41,  // CANNOT_PARSE_DATETIME
    50,  // UNKNOWN_TYPE
    53,  // TYPE_MISMATCH
    69,  // ARGUMENT_OUT_OF_BOUND
    70,  // CANNOT_CONVERT_TYPE
    72,  // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    128, // TOO_LARGE_ARRAY_SIZE
    131, // TOO_LARGE_STRING_SIZE
    190, // SIZES_OF_ARRAYS_DONT_MATCH
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376, // CANNOT_PARSE_UUID
    469, // VIOLATED_CONSTRAINT
    691, // UNKNOWN_ELEMENT_OF_ENUM
];

/// Codes by which a server says that it has too much to do.
const OVERLOADED: [u32; 7] = [
    201, // QUOTA_EXCEEDED
    202, // TOO_MANY_SIMULTANEOUS_QUERIES
    241, // MEMORY_LIMIT_EXCEEDED
    252, // TOO_MANY_PARTS
    364, // RECEIVED_ERROR_TOO_MANY_REQUESTS
    439, // CANNOT_SCHEDULE_TASK
    745, // SERVER_OVERLOADED
];

/// What a message goes on with when it repeats values of the rows. They are people's texts, which have no
/// place in a log.
const BEFORE_VALUES: [&str; 2] = [". Column values:", ": (while reading the value"];

/// Codes after which an insert may have taken effect, in part or whole.
const OUTCOME_UNKNOWN: [u32; 7] = [
    33,  // CANNOT_READ_ALL_DATA: a body that was cut on its way looks like this
    159, // TIMEOUT_EXCEEDED
    209, // SOCKET_TIMEOUT
    210, // NETWORK_ERROR
    319, // UNKNOWN_STATUS_OF_INSERT
    394, // QUERY_WAS_CANCELLED
    734, // QUERY_WAS_CANCELLED_BY_CLIENT
];

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Server { code, .. } if REFUSES_DATA.contains(code) => ErrorClass::Permanent,
            Self::Server { code, .. } if OUTCOME_UNKNOWN.contains(code) => ErrorClass::Ambiguous,
            Self::Interrupted(_)
            | Self::TimedOut
            | Self::NotClickHouse(_)
            | Self::Answer(_)
            | Self::Malformed(_) => ErrorClass::Ambiguous,
            Self::Server { .. } | Self::Unreachable(_) | Self::Url { .. } | Self::Request(_) => {
                ErrorClass::Transient
            }
        }
    }

    /// Whether the server, or a proxy in front of it, has too much to do: fewer requests help it.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        match self {
            Self::Server { code, .. } => OVERLOADED.contains(code),
            Self::NotClickHouse(_) => true,
            _ => false,
        }
    }

    /// The server's code, if it was the server that refused.
    #[must_use]
    pub const fn code(&self) -> Option<u32> {
        match self {
            Self::Server { code, .. } => Some(*code),
            _ => None,
        }
    }
}

impl From<clickhouse::error::Error> for Error {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error as Library;
        match error {
            Library::BadResponse(text) => of_response(&text),
            Library::TimedOut => Self::TimedOut,
            Library::Network(_) if never_connected(&error) => Self::Unreachable(error),
            Library::Network(_) | Library::Decompression(_) => Self::Interrupted(error),
            other => Self::Request(other),
        }
    }
}

/// The code is read as a number: `Code: 117` must not pass for a part of `Code: 1170`.
pub(super) fn of_response(text: &str) -> Error {
    let parsed = text.trim_start().strip_prefix("Code: ").and_then(|rest| {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (code, rest) = rest.split_at(digits);
        Some((code.parse().ok()?, rest))
    });
    match parsed {
        Some((code, rest)) => {
            let message = rest.trim_start_matches(['.', ' ']).trim_start_matches("DB::Exception: ");
            Error::Server { code, message: shortened(without_values(message)) }
        }
        None => Error::NotClickHouse(shortened(text)),
    }
}

fn without_values(message: &str) -> &str {
    BEFORE_VALUES.iter().fold(message, |message, mark| message.split(mark).next().unwrap_or(message))
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    let mut end = text.len().min(MAX_MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

fn never_connected(error: &clickhouse::error::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

fn root_cause(error: &clickhouse::error::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u32) -> Error {
        of_response(&format!("Code: {code}. DB::Exception: no good. (NAME) (version 26.7)"))
    }

    #[test]
    fn a_code_is_read_as_a_number() {
        let error = server(117);
        assert_eq!((error.code(), error.class()), (Some(117), ErrorClass::Permanent));
        assert_eq!(error.to_string(), "ClickHouse answered with code 117: no good. (NAME) (version 26.7)");
        assert_eq!(server(1170).class(), ErrorClass::Transient);
    }

    #[test]
    fn what_time_can_heal_is_never_permanent() {
        // No table, no database, no right, no such user, too many parts, no memory, read-only, overload.
        for code in [60, 81, 497, 516, 252, 241, 164, 202, 16] {
            assert_eq!(server(code).class(), ErrorClass::Transient, "{code}");
        }
        for code in [159, 319] {
            assert_eq!(server(code).class(), ErrorClass::Ambiguous, "{code}");
        }
    }

    #[test]
    fn values_of_rows_are_left_out_of_messages() {
        let error = of_response(
            "Code: 469. DB::Exception: Constraint `c` for table t is violated at row 1. Expression: (a != 'x'). \
             Column values: text = 'dear diary'. (VIOLATED_CONSTRAINT)",
        );
        assert!(error.to_string().ends_with("Expression: (a != 'x')"), "{error}");
    }

    #[test]
    fn too_much_to_do_is_told_from_other_faults() {
        for code in [202, 241, 252] {
            assert!(server(code).is_overload(), "{code}");
            assert_eq!(server(code).class(), ErrorClass::Transient, "{code}");
        }
        assert!(!server(60).is_overload() && !Error::TimedOut.is_overload());
    }

    #[test]
    fn an_answer_of_something_else_is_not_taken_for_a_refusal() {
        let error = of_response("<html>502 Bad Gateway</html>");
        assert_eq!((error.code(), error.class()), (None, ErrorClass::Ambiguous));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let Error::Server { message, .. } = of_response(&format!("Code: 6. {}", "ä".repeat(1_000))) else {
            panic!("not the server's")
        };
        assert!(message.len() <= MAX_MESSAGE_BYTES + '…'.len_utf8() && message.ends_with('…'));
    }
}
