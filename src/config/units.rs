//! Units as types, so that a configuration says `64MiB` and `200ms` and cannot be misread.

use std::{fmt, str::FromStr, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// A number of bytes: `512`, `64KiB`, `128MiB`, `10GiB`. Powers of 1024 alone, so that nobody has to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "IntOrText", into = "String")]
pub struct ByteSize(pub u64);

/// A span of time: `200ms`, `5s`, `30m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// A text with a unit that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

/// TOML and the environment give a plain number as an integer and the rest as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum IntOrText {
    Int(u64),
    Text(String),
}

const BYTE_UNITS: [(&str, u64); 5] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1)];
const SPAN_UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

fn parse(text: &str, units: &[(&str, u64)], expected: &'static str) -> Result<u64, UnitError> {
    let fail = || UnitError { text: text.to_owned(), expected };
    let trimmed = text.trim();
    let digits = trimmed.len() - trimmed.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| fail())?;
    let unit = unit.trim();
    let factor = units.iter().find(|(name, _)| *name == unit).ok_or_else(fail)?.1;
    number.checked_mul(factor).ok_or_else(fail)
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &BYTE_UNITS, "a size such as 512, 64KiB, 128MiB or 10GiB").map(Self)
    }
}

impl TryFrom<IntOrText> for ByteSize {
    type Error = UnitError;

    fn try_from(value: IntOrText) -> Result<Self, UnitError> {
        match value {
            IntOrText::Int(bytes) => Ok(Self(bytes)),
            IntOrText::Text(text) => text.parse(),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = BYTE_UNITS[..4]
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &SPAN_UNITS_MS, "a time span such as 200ms, 5s, 30m, 24h or 30d")
            .map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl TryFrom<String> for Span {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (unit, factor) = SPAN_UNITS_MS
            .iter()
            .rev()
            .find(|(_, factor)| ms >= *factor && ms.is_multiple_of(*factor))
            .unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", ms / factor)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// A secret of the configuration. Printed and serialised as stars, never as itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub SecretString);

impl Secret {
    /// Whether nothing was configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.expose_secret().is_empty()
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "********" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed_with_their_unit() {
        for (text, bytes) in [("512", 512), ("64KiB", 65_536), ("128 MiB", 128 << 20), ("10GiB", 10 << 30)] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
        assert_eq!(ByteSize(0).to_string(), "0B");
        for wrong in ["", "MiB", "10MB", "1.5GiB", "-1", "99999999999GiB"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_read_and_printed_with_their_unit() {
        for (text, ms) in [("200ms", 200), ("5s", 5_000), ("30m", 1_800_000), ("30d", 2_592_000_000)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.0, Duration::from_millis(ms), "{text}");
            assert_eq!(span.to_string(), text);
        }
        for wrong in ["", "5", "5 years", "s"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret(SecretString::from("hunter2"));
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"********\"");
    }
}
