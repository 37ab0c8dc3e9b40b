//! A scenario: what is sent, how fast, by whom. Units are types, an unknown key is an error, and the whole is
//! checked before anything starts.

use std::{fmt, path::PathBuf, time::Duration};

use assent::config::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};

mod check;
#[cfg(test)]
mod tests;
mod units;

pub(crate) use units::{Rate, Share};

/// A scenario file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) rate: Rate,
    /// How long events are sent at that rate.
    pub(crate) duration: Span,
    pub(crate) events_per_request: u32,
    /// HTTP/2 connections, which the requests use in turn.
    pub(crate) connections: u32,
    /// Requests under way at once. When there are as many, the next is sent late, and its latency still counts
    /// from when it should have been.
    #[serde(default = "default_max_in_flight")]
    pub(crate) max_in_flight: u32,
    /// Authors, each with a consent, a place, a language and a client.
    pub(crate) people: u32,
    /// How requests go to the collector.
    #[serde(default)]
    pub(crate) call: Call,
    #[serde(default)]
    pub(crate) compression: Compression,
    /// Of the texts, those with an e-mail address or a phone number in them.
    #[serde(default = "default_contacts")]
    pub(crate) contacts: Share,
    /// Of the people, those whose client sends a Global Privacy Control signal.
    #[serde(default = "default_gpc")]
    pub(crate) global_privacy_control: Share,
    /// The same seed makes the same people and texts. Event ids are new in each run.
    #[serde(default = "default_seed")]
    pub(crate) seed: u64,
    /// How long one attempt of a request may take.
    #[serde(default = "default_request_timeout")]
    pub(crate) request_timeout: Span,
    /// How long acknowledged events may take until they can be read, and how long sending may take beyond
    /// `duration`.
    #[serde(default = "default_visible_timeout")]
    pub(crate) visible_timeout: Span,
    /// The pause between two looks at how many rows can be read.
    #[serde(default = "default_look_every")]
    pub(crate) look_every: Span,
    pub(crate) consent: ConsentMix,
    #[serde(default)]
    pub(crate) retry: Retry,
    /// Who sends; without any, everybody is the collector's tenant `local`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tenant: Vec<TenantShare>,
    /// What comes after `duration`, to see how fast the collector recovers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calm: Option<Calm>,
    /// What has to hold when more is sent than the machine takes. With it, refusals are expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<Limits>,
    /// Who is slow beside those who are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slow_clients: Option<SlowClients>,
    /// Changes of consent while events are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) consent_churn: Option<ConsentChurn>,
    /// Configuration of the collector, in its own form.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub(crate) collector: toml::Table,
    /// How long texts are; the shares add up to 1.
    pub(crate) text: Vec<TextRange>,
}

/// A tenant, with an API key of its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantShare {
    pub(crate) name: String,
    /// Of the requests.
    pub(crate) share: Share,
}

/// A second phase.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calm {
    pub(crate) rate: Rate,
    pub(crate) duration: Span,
}

/// What an overload may do.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// The 99th percentile of what was acknowledged, from its due time.
    pub(crate) acknowledged_p99: Span,
    /// The most that the collector may have resident.
    pub(crate) collector_memory: ByteSize,
    /// From the start of the calm phase until the last refusal.
    pub(crate) recovery: Span,
}

/// Connections that take their time. They send requests of up to a hundred events, one after the other, until the last
/// measured one is answered.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlowClients {
    /// Connections that send a request a piece at a time.
    pub(crate) writers: u32,
    /// Connections that take an answer a byte at a time.
    pub(crate) readers: u32,
    /// What a writer sends at a time.
    pub(crate) piece: ByteSize,
    /// Between two pieces, or two bytes.
    pub(crate) pause: Span,
}

/// People who said yes say no and yes again, in turn.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsentChurn {
    pub(crate) changes_per_second: u32,
}

/// Shares of the people. Who is in none of them says nothing.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsentMix {
    /// Grant first-party training.
    pub(crate) granted: Share,
    /// Grant affiliates too; part of `granted`.
    #[serde(default)]
    pub(crate) affiliates: Share,
    /// Say no.
    #[serde(default)]
    pub(crate) denied: Share,
}

/// Texts of a length between two bounds, evenly.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextRange {
    /// Of all texts.
    pub(crate) share: Share,
    pub(crate) from: ByteSize,
    pub(crate) to: ByteSize,
}

/// What a client does with `RESOURCE_EXHAUSTED` and `UNAVAILABLE`. A pause that the collector asks for counts;
/// otherwise it doubles with each attempt.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Retry {
    /// The first one included.
    pub(crate) max_attempts: u32,
    pub(crate) first_pause: Span,
    pub(crate) max_pause: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            first_pause: Span(Duration::from_millis(50)),
            max_pause: Span(Duration::from_secs(2)),
        }
    }
}

/// A method of the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    /// A call for each request.
    #[default]
    Collect,
    /// One stream for each connection, which requests follow each other on.
    CollectStream,
}

/// How a request is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

const fn default_max_in_flight() -> u32 {
    64
}
const fn default_contacts() -> Share {
    Share(0.1)
}
const fn default_gpc() -> Share {
    Share(0.03)
}
const fn default_seed() -> u64 {
    1
}
const fn default_request_timeout() -> Span {
    Span(Duration::from_secs(10))
}
const fn default_look_every() -> Span {
    Span(Duration::from_millis(50))
}
const fn default_visible_timeout() -> Span {
    Span(Duration::from_secs(30))
}

/// A scenario that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScenarioError {
    #[error("the scenario {} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the scenario cannot be used")]
    Syntax(#[from] Box<toml::de::Error>),
    #[error("the scenario cannot be used: {key}: {message}")]
    Key { key: &'static str, message: String },
}

impl Scenario {
    pub(crate) fn read(path: &std::path::Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(Box::new)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Events of the whole run.
    pub(crate) fn events(&self) -> u64 {
        crate::schedule::Timetable::new(self).requests() * u64::from(self.events_per_request)
    }
}
