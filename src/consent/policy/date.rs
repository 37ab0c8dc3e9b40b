//! When a policy comes into force: a date, or a time with its offset (RFC 3339).

use std::fmt;

use crate::event::Micros;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;
/// The years that the column `policies.effective_from` can hold whole.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=2148;

/// Reads `2026-01-31`, which is that day's midnight in UTC, or `2026-01-31T08:00:00+01:00`.
pub(super) fn parse(text: &str) -> Option<Micros> {
    let (date, rest) = text.as_bytes().split_at_checked(10)?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    if !YEARS.contains(&year) || !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let since_midnight = match rest {
        [] => 0,
        [b'T' | b't' | b' ', time @ ..] => time_of_day(time)?,
        _ => return None,
    };
    let at = days_since_epoch(year, month, day) * MICROS_PER_DAY + since_midnight;
    YEARS.contains(&civil(at).0).then_some(Micros(at))
}

/// Microseconds from midnight in UTC; the offset may put it into the day before or after.
fn time_of_day(time: &[u8]) -> Option<i64> {
    let (clock, rest) = time.split_at_checked(8)?;
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let seconds = of_clock(number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?)?;
    let (fraction, offset) = match rest {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=6).contains(&digits) {
                return None;
            }
            let (fraction, offset) = rest.split_at(digits);
            let missing = u32::try_from(6 - digits).ok()?;
            (number(fraction)? * 10_i64.pow(missing), offset)
        }
        _ => (0, rest),
    };
    let offset = match *offset {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let seconds = of_clock(number(&[h1, h2])?, number(&[m1, m2])?, 0)?;
            if sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    Some((seconds - offset) * MICROS_PER_SECOND + fraction)
}

fn of_clock(hours: i64, minutes: i64, seconds: i64) -> Option<i64> {
    (hours < 24 && minutes < 60 && seconds < 60).then_some(hours * 3600 + minutes * 60 + seconds)
}

/// At most nine digits.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, byte| byte.is_ascii_digit().then(|| n * 10 + i64::from(byte - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counted in years that begin in March, so that a leap day is a year's last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_before_year = year * 365 + year / 4 - year / 100 + year / 400;
    // 719,468 days lie between the first of March of the year 0 and the epoch.
    days_before_year + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day in UTC of a time.
fn civil(at: i64) -> (i64, i64, i64) {
    let days = at.div_euclid(MICROS_PER_DAY) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    (era * 400 + year_of_era + year, month, day)
}

/// The day in UTC, as `2026-01-31`.
pub(super) fn day(at: Micros) -> String {
    let (year, month, day) = civil(at.0);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A time as people read it: `2026-01-31` at midnight, else `2026-01-31T07:00:00Z`.
pub(super) struct Utc(pub(super) Micros);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_midnight = self.0.0.rem_euclid(MICROS_PER_DAY);
        f.write_str(&day(self.0))?;
        if since_midnight == 0 {
            return Ok(());
        }
        let (seconds, micros) = (since_midnight / MICROS_PER_SECOND, since_midnight % MICROS_PER_SECOND);
        write!(f, "T{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        f.write_str("Z")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_date_is_its_midnight_and_a_time_has_an_offset() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2026-01-31", 1_769_817_600),
            ("2024-02-29", 1_709_164_800),
            ("2000-02-29", 951_782_400),
            ("2026-01-31T00:00:00Z", 1_769_817_600),
            ("2026-01-31t00:00:00z", 1_769_817_600),
            ("2026-01-31 01:00:00+01:00", 1_769_817_600),
            ("2026-01-30T19:30:00-04:30", 1_769_817_600),
            ("2026-02-01T00:00:00+05:45", 1_769_883_300),
            ("1970-01-01T23:59:59-23:59", 172_739),
        ] {
            assert_eq!(parse(text), Some(Micros(seconds * MICROS_PER_SECOND)), "{text}");
        }
        assert_eq!(parse("1970-01-01T00:00:00.25Z"), Some(Micros(250_000)));
        assert_eq!(parse("1970-01-01T00:00:00.000001Z"), Some(Micros(1)));
    }

    #[test]
    fn what_is_no_day_or_time_is_refused() {
        for text in [
            "",
            "soon",
            "2026-1-1",
            "2026-00-01",
            "2026-13-01",
            "2026-01-00",
            "2026-01-32",
            "2026-02-29",
            "2026-02-31",
            "2026-04-31",
            "2100-02-29",
            "0001-01-01",
            "1969-12-31",
            "2149-01-01",
            "+026-01-01",
            "2026-01-31T",
            "2026-01-31T08:00Z",
            "2026-01-31T08:00:00",
            "2026-01-31T24:00:00Z",
            "2026-01-31T08:60:00Z",
            "2026-01-31T08:00:60Z",
            "2026-01-31T08:00:00.Z",
            "2026-01-31T08:00:00.1234567Z",
            "2026-01-31T08:00:00+24:00",
            "2026-01-31T08:00:00+0100",
            "2026-01-31T08:00:00Zulu",
            "1970-01-01T00:00:00+00:01",
            "２０２６-01-31",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_is_shown_as_it_can_be_written() {
        for text in
            ["1970-01-01", "2024-02-29", "2026-12-31", "2026-01-31T07:05:09Z", "2026-03-01T00:00:00.000250Z"]
        {
            assert_eq!(Utc(parse(text).unwrap()).to_string(), text);
        }
        assert_eq!(day(parse("2026-02-01T00:00:00+01:00").unwrap()), "2026-01-31");
    }

    proptest! {
        #[test]
        fn every_time_can_be_shown_and_read_back(at in 0_i64..5_600_000_000_000_000) {
            prop_assert_eq!(parse(&Utc(Micros(at)).to_string()), Some(Micros(at)));
        }

        #[test]
        fn nothing_panics(text in "[0-9TZtz:+. -]{0,40}") {
            let _ = parse(&text);
        }
    }
}
