//! How long rows and texts are kept: the section, and what it comes to for each scope and type of event.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ConfigError, units::Span};
use crate::clickhouse::retention::{EVENT_TYPES, Kept, MAX_DAYS, Plan, SCOPES};

const DAY: Duration = Duration::from_secs(86_400);

/// How long rows and texts are kept in ClickHouse. `assent migrate` sees to it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Rows, by their scope.
    pub rows: Lives,
    /// Texts and comments, which are empty from then on; as long as their rows when not given.
    pub text: Lives,
    /// What is otherwise for a type of event.
    pub event_types: OfEventTypes,
}

/// A life for each scope; for ever when not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lives {
    /// Of what may train nothing. Not shorter than the others, and `ingress.max_age` besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub none: Option<Life>,
    /// Of what may train first party models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_party: Option<Life>,
    /// Of what may train affiliates' models too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affiliates: Option<Life>,
}

/// What is otherwise for each type of event.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OfEventTypes {
    /// Typed texts.
    pub typed_text: OfEventType,
    /// Suggestions that were shown.
    pub suggestion_shown: OfEventType,
    /// What people made of suggestions.
    pub suggestion_feedback: OfEventType,
    /// Chosen languages.
    pub language_preference: OfEventType,
}

/// What is otherwise for a type of event; as for all types when not given.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OfEventType {
    /// Its rows.
    pub rows: Lives,
    /// Its texts and comments.
    pub text: Lives,
}

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Life {
    /// So many days after the day on which it was received.
    Days(u16),
    /// For ever.
    Forever,
}

/// A life that is none.
#[derive(Debug, thiserror::Error)]
#[error("is neither a number of days from 1d to {MAX_DAYS}d nor \"forever\"")]
pub struct LifeError;

impl FromStr for Life {
    type Err = LifeError;

    fn from_str(text: &str) -> Result<Self, LifeError> {
        if text == "forever" {
            return Ok(Self::Forever);
        }
        let Span(span) = text.parse().map_err(|_| LifeError)?;
        let days = u16::try_from(span.as_secs() / DAY.as_secs()).map_err(|_| LifeError)?;
        if !(1..=MAX_DAYS).contains(&days) || span != DAY * u32::from(days) {
            return Err(LifeError);
        }
        Ok(Self::Days(days))
    }
}

impl TryFrom<String> for Life {
    type Error = LifeError;

    fn try_from(text: String) -> Result<Self, LifeError> {
        text.parse()
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(f, "{days}d"),
            Self::Forever => f.write_str("forever"),
        }
    }
}

impl From<Life> for String {
    fn from(life: Life) -> Self {
        life.to_string()
    }
}

impl Life {
    const fn days(self) -> Option<u16> {
        match self {
            Self::Days(days) => Some(days),
            Self::Forever => None,
        }
    }
}

impl Lives {
    const fn in_order(&self) -> [Option<Life>; 3] {
        [self.none, self.first_party, self.affiliates]
    }
}

impl Retention {
    /// What it comes to. An event may come twice, within `max_age` of each other and under two consents, and the
    /// narrower of its rows hides the other: so it has to be there for as long as the other is.
    ///
    /// # Errors
    /// A narrower scope's rows would go before a wider one's.
    pub fn plan(&self, max_age: Duration) -> Result<Plan, ConfigError> {
        let of_types = &self.event_types;
        let types = [
            &of_types.typed_text,
            &of_types.suggestion_shown,
            &of_types.suggestion_feedback,
            &of_types.language_preference,
        ];
        let mut plan = Plan::default();
        for (type_index, own) in types.into_iter().enumerate() {
            for scope in 0..SCOPES.len() {
                let life = |own: &Lives, all: &Lives| {
                    let (own, all) = (own.in_order()[scope], all.in_order()[scope]);
                    own.or(all).and_then(Life::days)
                };
                plan.kept[type_index][scope] =
                    Kept { rows: life(&own.rows, &self.rows), text: life(&own.text, &self.text) };
            }
            narrower_lives_longer(EVENT_TYPES[type_index], &plan.kept[type_index], max_age)?;
        }
        Ok(plan)
    }
}

fn narrower_lives_longer(
    event_type: &str,
    kept: &[Kept; SCOPES.len()],
    max_age: Duration,
) -> Result<(), ConfigError> {
    // A day of its own for what is received around midnight.
    let apart = max_age.as_secs().div_ceil(DAY.as_secs()) + 1;
    for narrow in 0..SCOPES.len() {
        for wide in narrow + 1..SCOPES.len() {
            let needed = kept[wide].rows.map(|days| u64::from(days) + apart);
            let short = match (kept[narrow].rows, needed) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(days), Some(needed)) => u64::from(days) < needed,
            };
            if short {
                let needed = needed.map_or_else(|| "forever".to_owned(), |days| format!("{days}d at least"));
                let (narrow, wide) = (SCOPES[narrow], SCOPES[wide]);
                return Err(ConfigError::key(
                    format!("retention.rows.{narrow}"),
                    format!(
                        "rows of {event_type} have to be kept longer in {narrow} than in {wide} ({needed}): a row \
                         in {narrow} can be what keeps another copy of its event out of {wide}; their texts \
                         may go sooner, by retention.text.{narrow}"
                    ),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_AGE: Duration = Duration::from_secs(30 * 86_400);

    fn plan(toml: &str) -> Result<Plan, String> {
        let retention: Retention = toml::from_str(toml).map_err(|error| error.to_string())?;
        retention.plan(MAX_AGE).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_keeps_everything() {
        assert_eq!(plan("").unwrap(), Plan::default());
    }

    #[test]
    fn a_type_of_event_may_be_kept_otherwise() {
        let toml = "rows = { none = \"131d\", first_party = \"100d\", affiliates = \"69d\" }
            text.none = \"7d\"
            event_types.language_preference = { rows.none = \"forever\", text.first_party = \"9d\" }";
        let kept = plan(toml).unwrap().kept;
        let of = |rows, text| Kept { rows, text };
        assert_eq!(kept[0], [of(Some(131), Some(7)), of(Some(100), None), of(Some(69), None)]);
        assert_eq!(kept[3], [of(None, Some(7)), of(Some(100), Some(9)), of(Some(69), None)]);
    }

    #[test]
    fn a_row_never_outlives_the_narrower_copy_that_hides_it() {
        for (toml, wrong) in [
            ("rows = { none = \"400d\" }", true),
            ("rows = { none = \"400d\", first_party = \"365d\", affiliates = \"365d\" }", true),
            ("rows = { none = \"400d\", first_party = \"369d\", affiliates = \"338d\" }", false),
            ("rows = { none = \"400d\", first_party = \"370d\", affiliates = \"338d\" }", true),
            ("rows = { first_party = \"365d\" }", true),
            ("rows = { affiliates = \"365d\" }", false),
            ("event_types.typed_text.rows = { none = \"30d\" }", true),
            ("text = { none = \"1d\" }", false),
        ] {
            let answer = plan(toml);
            assert_eq!(answer.is_err(), wrong, "{toml}: {answer:?}");
            assert!(answer.is_ok() || answer.unwrap_err().starts_with("retention.rows."), "{toml}");
        }
    }

    #[test]
    fn a_life_is_a_number_of_days() {
        for life in ["1d", "365d", "20000d", "forever"] {
            assert_eq!(life.parse::<Life>().unwrap().to_string(), life);
        }
        assert_eq!("48h".parse::<Life>().unwrap(), Life::Days(2));
        for wrong in ["", "0d", "20001d", "36h", "99999999d", "never", "1"] {
            assert!(wrong.parse::<Life>().is_err(), "{wrong}");
        }
    }
}
