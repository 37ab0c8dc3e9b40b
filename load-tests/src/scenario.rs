//! A scenario: what is sent, how fast, by whom. Units are types, an unknown key is an error, and the whole is
//! checked before anything starts.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use assent::config::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};

/// A run must end, and fit on a small machine.
const MAX_EVENTS: u64 = 100_000_000;
const MAX_DURATION: Duration = Duration::from_secs(60 * 60);
const MAX_EVENTS_PER_REQUEST: u32 = 10_000;
const MAX_CONNECTIONS: u32 = 256;
const MAX_IN_FLIGHT: u32 = 4_096;
const MAX_PEOPLE: u32 = 100_000;
const MAX_TEXT_BYTES: u64 = 64 << 10;
const MAX_ATTEMPTS: u32 = 100;

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

/// `2000 events/s` or `20 requests/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Rate {
    /// Events a second.
    Events(u32),
    /// Requests a second, whatever is in them.
    Requests(u32),
}

/// A text that is not a rate.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a rate such as \"2000 events/s\" or \"20 requests/s\"")]
pub(crate) struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let fail = || RateError(text.to_owned());
        let (number, unit) = text.trim().split_once(' ').ok_or_else(fail)?;
        let number: u32 = number.parse().map_err(|_| fail())?;
        match (number, unit.trim()) {
            (1.., "events/s") => Ok(Self::Events(number)),
            (1.., "requests/s") => Ok(Self::Requests(number)),
            _ => Err(fail()),
        }
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        text.parse()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events(number) => write!(f, "{number} events/s"),
            Self::Requests(number) => write!(f, "{number} requests/s"),
        }
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// A part of a whole, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(try_from = "f64", into = "f64")]
pub(crate) struct Share(f64);

/// A number that is not a share.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a share, which is 0 to 1")]
pub(crate) struct ShareError(f64);

impl Share {
    pub(crate) const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = ShareError;

    fn try_from(share: f64) -> Result<Self, ShareError> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(ShareError(share)) }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
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

    /// What a type cannot check.
    fn check(&self) -> Result<(), ScenarioError> {
        let between = |key, value: u32, most: u32| match value {
            1.. if value <= most => Ok(()),
            _ => Err(ScenarioError::Key { key, message: format!("{value} is not between 1 and {most}") }),
        };
        let rule = |holds: bool, key, message: &str| {
            if holds { Ok(()) } else { Err(ScenarioError::Key { key, message: message.to_owned() }) }
        };
        between("events_per_request", self.events_per_request, MAX_EVENTS_PER_REQUEST)?;
        between("connections", self.connections, MAX_CONNECTIONS)?;
        between("max_in_flight", self.max_in_flight, MAX_IN_FLIGHT)?;
        between("people", self.people, MAX_PEOPLE)?;
        between("retry.max_attempts", self.retry.max_attempts, MAX_ATTEMPTS)?;
        rule(!self.duration.0.is_zero(), "duration", "is zero")?;
        rule(self.duration.0 <= MAX_DURATION, "duration", "is longer than an hour")?;
        rule(!self.request_timeout.0.is_zero(), "request_timeout", "is zero")?;
        if let Some(calm) = self.calm {
            rule(!calm.duration.0.is_zero(), "calm.duration", "is zero")?;
            rule(calm.duration.0 <= MAX_DURATION, "calm.duration", "is longer than an hour")?;
        }
        let shares = self.tenant.iter().map(|tenant| tenant.share.0).sum::<f64>();
        rule(
            self.tenant.is_empty() || (shares - 1.0).abs() < 1e-6,
            "tenant",
            "the shares do not add up to 1",
        )?;
        rule(self.events() <= MAX_EVENTS, "rate", "more than a hundred million events in one run")?;
        let ConsentMix { granted, affiliates, denied } = self.consent;
        rule(
            affiliates <= granted,
            "consent.affiliates",
            "is more than consent.granted, of which it is a part",
        )?;
        rule(granted.0 + denied.0 <= 1.0 + 1e-9, "consent", "granted and denied are more than everyone")?;
        rule(
            (self.text.iter().map(|range| range.share.0).sum::<f64>() - 1.0).abs() < 1e-6,
            "text",
            "the shares do not add up to 1",
        )?;
        rule(
            self.text.iter().all(|range| range.from <= range.to && range.to.0 <= MAX_TEXT_BYTES),
            "text",
            "a range goes up, to 64KiB at most",
        )
    }

    /// Events of the whole run.
    pub(crate) fn events(&self) -> u64 {
        crate::schedule::Timetable::new(self).requests() * u64::from(self.events_per_request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOKE: &str = include_str!("../scenarios/smoke.toml");
    const THROUGHPUT: &str = include_str!("../scenarios/throughput.toml");
    const OVERLOAD: &str = include_str!("../scenarios/overload.toml");

    #[test]
    fn the_shipped_scenarios_can_be_used() {
        let smoke = Scenario::parse(SMOKE).unwrap();
        assert_eq!(smoke.rate, Rate::Events(2_000));
        assert_eq!(smoke.events(), 10_000);
        assert_eq!(smoke.text[2].to, ByteSize(4 << 10));
        let throughput = Scenario::parse(THROUGHPUT).unwrap();
        assert!(throughput.events() > smoke.events());
        let overload = Scenario::parse(OVERLOAD).unwrap();
        assert!(overload.limits.is_some() && overload.calm.is_some() && overload.tenant.len() > 1);
        for (from, to) in [("share = 0.9", "share = 0.8"), ("duration = \"20s\"", "duration = \"0s\"")] {
            let changed = OVERLOAD.replacen(from, to, 1);
            assert_ne!(changed, OVERLOAD, "{from} is not there");
            assert!(Scenario::parse(&changed).is_err(), "{to} was taken");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        for (extra, whole) in [
            ("colour = 1\n", format!("colour = 1\n{SMOKE}")),
            ("[consent]\nmaybe = 0.1", SMOKE.replace("[consent]", "[consent]\nmaybe = 0.1")),
        ] {
            let error = Scenario::parse(&whole).unwrap_err();
            let ScenarioError::Syntax(why) = error else { panic!("{extra}: {error}") };
            assert!(why.to_string().contains("unknown field"), "{extra}: {why}");
        }
    }

    #[test]
    fn a_value_that_makes_no_sense_is_an_error() {
        for (from, to) in [
            ("rate = \"2000 events/s\"", "rate = 2000"),
            ("rate = \"2000 events/s\"", "rate = \"0 events/s\""),
            ("rate = \"2000 events/s\"", "rate = \"2000/s\""),
            ("rate = \"2000 events/s\"", "rate = \"4000000000 events/s\""),
            ("duration = \"5s\"", "duration = \"0s\""),
            ("duration = \"5s\"", "duration = \"2h\""),
            ("events_per_request = 100", "events_per_request = 0"),
            ("events_per_request = 100", "events_per_request = 10001"),
            ("people = 200", "people = 0"),
            ("compression = \"none\"", "compression = \"lzma\""),
            ("granted = 0.6", "granted = 1.5"),
            ("granted = 0.6", "granted = 0.9"),
            ("affiliates = 0.2", "affiliates = 0.7"),
            ("share = 0.75", "share = 0.5"),
            ("to = \"240B\"", "to = \"10B\""),
            ("to = \"4KiB\"", "to = \"1MiB\""),
        ] {
            let changed = SMOKE.replacen(from, to, 1);
            assert_ne!(changed, SMOKE, "{from} is not there");
            assert!(Scenario::parse(&changed).is_err(), "{to} was taken");
        }
    }

    #[test]
    fn rates_print_as_they_are_written() {
        for text in ["2000 events/s", "20 requests/s"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }
}
