//! The same events as log records of OpenTelemetry, for a collector that is not this one, as its clients would put
//! them: a text is a record's body, the app that sent it the resource, what ties records together their trace, and
//! every other field that is set an attribute of its name.
//!
//! The messages are those of `opentelemetry/proto/collector/logs/v1` and what it imports, as far as they are used.

use assent::ingress::proto::{
    Client, CollectRequest, Event, FeedbackAction, LanguagePreference, SuggestionFeedback, SuggestionShown,
    TypedText, event::Payload,
};
use prost::{Message, Oneof};

/// `SEVERITY_NUMBER_INFO`.
const INFO: i32 = 9;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
const TRACE_ID_CHARS: usize = 32;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportLogsServiceRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    pub(crate) log_records: Vec<LogRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(crate) time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub(crate) severity_number: i32,
    #[prost(message, optional, tag = "5")]
    pub(crate) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) trace_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    pub(crate) value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Value {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
}

/// The request of the same events, those of one app after those of another.
pub(crate) fn logs(request: CollectRequest) -> ExportLogsServiceRequest {
    let mut by_client: Vec<(Client, Vec<LogRecord>)> = Vec::new();
    for mut event in request.events {
        let client = event.client.take().unwrap_or_default();
        let record = record(event);
        match by_client.iter_mut().find(|(other, _)| *other == client) {
            Some((_, records)) => records.push(record),
            None => by_client.push((client, vec![record])),
        }
    }
    let resource_logs = by_client
        .into_iter()
        .map(|(client, log_records)| ResourceLogs {
            resource: Some(resource(client)),
            scope_logs: vec![ScopeLogs { log_records }],
        })
        .collect();
    ExportLogsServiceRequest { resource_logs }
}

fn resource(Client { name, version, platform }: Client) -> Resource {
    let mut attributes = Attributes::default();
    attributes.text("service.name", name);
    attributes.text("service.version", version);
    attributes.text("platform", platform);
    Resource { attributes: attributes.0 }
}

fn record(event: Event) -> LogRecord {
    let mut attributes = Attributes::default();
    attributes.text("event_id", event.event_id);
    attributes.text("user_id", event.user_id);
    attributes.text("session_id", event.session_id);
    let trace_id = trace_id(&event.interaction_id);
    if trace_id.is_empty() {
        attributes.text("interaction_id", event.interaction_id);
    }
    attributes.text("feature", event.feature);
    attributes.text("model", event.model);
    attributes.text("jurisdiction", event.jurisdiction);
    if event.global_privacy_control {
        attributes.push("global_privacy_control", Value::Bool(true));
    }
    let text = event.payload.map_or_else(String::new, |payload| attributes.payload(payload));
    let at = event.occurred_at.unwrap_or_default();
    let (seconds, nanos) =
        (u64::try_from(at.seconds).unwrap_or_default(), u64::try_from(at.nanos).unwrap_or_default());
    LogRecord {
        time_unix_nano: seconds * NANOS_PER_SECOND + nanos,
        severity_number: INFO,
        body: Some(AnyValue { value: Some(Value::String(text)) }),
        attributes: attributes.0,
        trace_id,
    }
}

/// The sixteen bytes of an id that is written as such; empty when it is not.
fn trace_id(interaction_id: &str) -> Vec<u8> {
    if interaction_id.len() != TRACE_ID_CHARS {
        return Vec::new();
    }
    u128::from_str_radix(interaction_id, 16).map_or_else(|_| Vec::new(), |id| id.to_be_bytes().to_vec())
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn push(&mut self, key: &str, value: Value) {
        self.0.push(KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) });
    }

    /// Not when it is empty: an event says nothing then, and takes no bytes for it.
    fn text(&mut self, key: &str, text: String) {
        if !text.is_empty() {
            self.push(key, Value::String(text));
        }
    }

    /// All of a payload but the text, which is given back.
    fn payload(&mut self, payload: Payload) -> String {
        match payload {
            Payload::TypedText(TypedText { text, language }) => {
                self.text("event_type", "typed_text".to_owned());
                self.text("language", language);
                text
            }
            Payload::SuggestionShown(SuggestionShown {
                suggestion_id,
                text,
                language,
                latency_ms,
                position,
            }) => {
                self.text("event_type", "suggestion_shown".to_owned());
                self.text("suggestion_id", suggestion_id);
                self.text("language", language);
                self.push("latency_ms", Value::Int(latency_ms.into()));
                self.push("position", Value::Int(position.into()));
                text
            }
            Payload::SuggestionFeedback(feedback) => {
                let action = FeedbackAction::try_from(feedback.action).unwrap_or_default();
                let SuggestionFeedback { suggestion_id, rating, final_text, comment, .. } = feedback;
                self.text("event_type", "suggestion_feedback".to_owned());
                self.text("suggestion_id", suggestion_id);
                self.text("action", action.as_str_name().to_owned());
                self.push("rating", Value::Int(rating.into()));
                self.text("comment", comment);
                final_text
            }
            Payload::LanguagePreference(LanguagePreference { language, previous_language }) => {
                self.text("event_type", "language_preference".to_owned());
                self.text("language", language);
                self.text("previous_language", previous_language);
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn event(app: &str, payload: Payload) -> Event {
        Event {
            event_id: "0190a5b0-0000-7000-8000-000000000001".to_owned(),
            user_id: "ana".to_owned(),
            occurred_at: Some(Timestamp { seconds: 1_790_000_000, nanos: 500_000_007 }),
            interaction_id: "000102030405060708090a0b0c0d0e0f".to_owned(),
            client: Some(Client { name: app.to_owned(), ..Client::default() }),
            payload: Some(payload),
            ..Event::default()
        }
    }

    fn typed(text: &str) -> Payload {
        Payload::TypedText(TypedText { text: text.to_owned(), language: "en".to_owned() })
    }

    /// As a receiver sees it.
    fn received(events: Vec<Event>) -> Vec<ResourceLogs> {
        let request = logs(CollectRequest { events });
        ExportLogsServiceRequest::decode(request.encode_to_vec().as_slice()).unwrap().resource_logs
    }

    fn only_record(event: Event) -> LogRecord {
        received(vec![event])[0].scope_logs[0].log_records[0].clone()
    }

    fn pairs(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
        attributes
            .iter()
            .map(|it| match &it.value.as_ref().unwrap().value {
                Some(Value::String(text)) => (it.key.as_str(), text.as_str()),
                other => panic!("{other:?} is no string"),
            })
            .collect()
    }

    #[test]
    fn a_text_is_the_body_and_all_else_an_attribute() {
        let record = only_record(event("editor", typed("hello there")));
        assert_eq!(record.time_unix_nano, 1_790_000_000_500_000_007);
        assert_eq!(record.body.unwrap().value, Some(Value::String("hello there".to_owned())));
        assert_eq!(record.trace_id, (0..16).collect::<Vec<u8>>());
        let expected = [
            ("event_id", "0190a5b0-0000-7000-8000-000000000001"),
            ("user_id", "ana"),
            ("event_type", "typed_text"),
            ("language", "en"),
        ];
        assert_eq!(pairs(&record.attributes), expected);
    }

    #[test]
    fn an_app_is_a_resource_of_its_records() {
        let events = [("a", "1"), ("b", "2"), ("a", "3")].map(|(app, text)| event(app, typed(text))).to_vec();
        let received = received(events);
        let apps: Vec<_> = received
            .iter()
            .map(|it| (pairs(&it.resource.as_ref().unwrap().attributes), it.scope_logs[0].log_records.len()))
            .collect();
        assert_eq!(apps, [(vec![("service.name", "a")], 2), (vec![("service.name", "b")], 1)]);
    }

    #[test]
    fn an_id_that_is_no_trace_stays_as_it_is() {
        let mut event = event("editor", typed("hello there"));
        event.interaction_id = "chat-7".to_owned();
        let record = only_record(event);
        assert!(record.trace_id.is_empty());
        assert!(pairs(&record.attributes).contains(&("interaction_id", "chat-7")));
    }

    #[test]
    fn numbers_stay_numbers() {
        let feedback = SuggestionFeedback {
            suggestion_id: "s".to_owned(),
            action: FeedbackAction::Rejected.into(),
            rating: -1,
            ..SuggestionFeedback::default()
        };
        let record = only_record(event("editor", Payload::SuggestionFeedback(feedback)));
        let rating = record.attributes.iter().find(|it| it.key == "rating").unwrap();
        assert_eq!(rating.value.as_ref().unwrap().value, Some(Value::Int(-1)));
    }

    /// The bytes of a record with a time and a body, by the field numbers of `logs.proto` and `common.proto`.
    #[test]
    fn a_record_has_the_bytes_that_its_schema_says() {
        let record = LogRecord {
            time_unix_nano: 1,
            body: Some(AnyValue { value: Some(Value::String("a".to_owned())) }),
            ..LogRecord::default()
        };
        assert_eq!(record.encode_to_vec(), b"\x09\x01\0\0\0\0\0\0\0\x2a\x03\x0a\x01a");
    }
}
