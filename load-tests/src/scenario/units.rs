//! What a scenario's numbers are: a rate, a part of a whole.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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
pub(crate) struct Share(pub(super) f64);

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
