//! A day of receipt, in UTC.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A day as `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

/// What is no day.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a day such as 2026-01-31, from 1970 to 2148")]
pub struct NotADay(String);

impl FromStr for Day {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let parsed = || {
            let bytes = text.as_bytes();
            let sound = bytes.len() == 10
                && bytes.iter().enumerate().all(|(at, byte)| match at {
                    4 | 7 => *byte == b'-',
                    _ => byte.is_ascii_digit(),
                });
            if !sound {
                return None;
            }
            let (year, month, day): (u16, u8, u8) =
                (text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 => 28 + u8::from(leap),
                4 | 6 | 9 | 11 => 30,
                1..=12 => 31,
                _ => return None,
            };
            // The years of ClickHouse's Date.
            ((1970..2149).contains(&year) && (1..=days).contains(&day)).then_some(Self { year, month, day })
        };
        parsed().ok_or_else(|| NotADay(text.to_owned()))
    }
}

impl TryFrom<String> for Day {
    type Error = NotADay;

    fn try_from(text: String) -> Result<Self, NotADay> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for day in ["1970-01-01", "2024-02-29", "2026-12-31", "2000-02-29"] {
            assert_eq!(day.parse::<Day>().unwrap().to_string(), day);
        }
        for text in [
            "",
            "2026-02-29",
            "2100-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-00-10",
            "2026-04-31",
            "1969-12-31",
            "+026-01-01",
            "2026-01-01'",
            "２０26-01",
            "2149-01-01",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
        assert!("2025-12-31".parse::<Day>().unwrap() < "2026-01-01".parse().unwrap());
    }
}
