//! Rows of `events` as a test likes them, without a collector: of past days, of several copies.

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::harness::Database;

/// The rules that redacted the rows; [`insert`] makes them known.
pub(crate) const RULES: &str = "rules-1";
pub(crate) const DAY: u64 = 86_400;

/// A row. Times are seconds since 1970, UTC.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) training_scope: &'static str,
    pub(crate) eligibility_reason: &'static str,
    pub(crate) consent_state: &'static str,
    pub(crate) consent_source: &'static str,
    pub(crate) consent_version: u32,
    pub(crate) policy_version: &'static str,
    pub(crate) jurisdiction: &'static str,
    #[serde(serialize_with = "as_time")]
    pub(crate) received_at: u64,
    #[serde(serialize_with = "as_time")]
    pub(crate) occurred_at: u64,
    #[serde(serialize_with = "as_time")]
    pub(crate) sealed_at: u64,
    pub(crate) tenant: &'static str,
    pub(crate) subject_id: Uuid,
    pub(crate) event_id: Uuid,
    pub(crate) session_id: String,
    pub(crate) feature: &'static str,
    pub(crate) model: &'static str,
    pub(crate) client_name: &'static str,
    pub(crate) event_type: &'static str,
    pub(crate) language: &'static str,
    pub(crate) previous_language: &'static str,
    pub(crate) text: String,
    pub(crate) suggestion_id: String,
    pub(crate) latency_ms: u32,
    pub(crate) position: u32,
    pub(crate) feedback_action: &'static str,
    pub(crate) rating: i8,
    pub(crate) comment: String,
    pub(crate) redactions: BTreeMap<&'static str, u16>,
    pub(crate) redaction_version: &'static str,
}

/// ClickHouse takes a whole number for ticks.
#[allow(clippy::trivially_copy_pass_by_ref)] // As serde wants it.
fn as_time<S: Serializer>(seconds: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{seconds}.000000"))
}

/// A typed text of somebody who has agreed to both scopes, received at noon so many days ago.
pub(crate) fn row(days_ago: u64) -> Row {
    let received_at = (today() - days_ago) * DAY + DAY / 2;
    Row {
        training_scope: "affiliates",
        eligibility_reason: "granted",
        consent_state: "granted",
        consent_source: "user_setting",
        consent_version: 1,
        policy_version: "2026-01",
        jurisdiction: "DE",
        received_at,
        occurred_at: received_at - 1,
        sealed_at: received_at + 1,
        tenant: "local",
        subject_id: Uuid::now_v7(),
        event_id: Uuid::now_v7(),
        session_id: "s-1".to_owned(),
        feature: "compose",
        model: "quill-2",
        client_name: "editor-web",
        event_type: "typed_text",
        language: "en",
        previous_language: "",
        text: "a text".to_owned(),
        suggestion_id: String::new(),
        latency_ms: 0,
        position: 0,
        feedback_action: "",
        rating: 0,
        comment: String::new(),
        redactions: BTreeMap::new(),
        redaction_version: RULES,
    }
}

impl Row {
    /// Anything else.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Another copy of the event, in another scope and a number of days later.
    pub(crate) fn copy(&self, scope: &'static str, days_later: u64) -> Self {
        self.clone().with(|row| {
            row.training_scope = scope;
            if scope == "none" {
                (row.eligibility_reason, row.consent_state) = ("denied", "denied");
            }
            row.received_at += days_later * DAY;
            row.sealed_at += days_later * DAY + 1;
        })
    }

    /// Days since 1970.
    pub(crate) fn day(&self) -> u64 {
        self.received_at / DAY
    }
}

/// Days since 1970.
pub(crate) fn today() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs() / DAY
}

/// A number of days since 1970 as a date.
pub(crate) fn date(days: u64) -> String {
    // Howard Hinnant's civil_from_days, for days after 1970.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Puts rows into `events`, in one insert, and makes their rules known.
pub(crate) async fn insert(database: &Database, rows: &[Row]) {
    let lines = rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect::<Vec<_>>().join("\n");
    let token = Uuid::now_v7().to_string();
    database.client.insert_json("events", "", lines.into(), &token, &[]).await.unwrap();
    let rules = format!("{{\"version\":\"{RULES}\"}}");
    database.client.insert_json("redaction_rules", "", rules.into(), "rules", &[]).await.unwrap();
}

/// A small generator of numbers that are as good as random, the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // Knuth's MMIX constants; the upper bits are the better ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// One of them.
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

#[test]
fn a_date_is_a_date() {
    for (days, text) in
        [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_785, "2026-11-28")]
    {
        assert_eq!(date(days), text);
    }
}
