//! What has to hold beyond what the types say.

use std::time::Duration;

use super::{ConsentMix, Scenario, ScenarioError};

/// A run must end, and fit on a small machine.
const MAX_EVENTS: u64 = 100_000_000;
const MAX_DURATION: Duration = Duration::from_secs(60 * 60);
const MAX_EVENTS_PER_REQUEST: u32 = 10_000;
const MAX_CONNECTIONS: u32 = 20_000;
const MAX_SLOW_CLIENTS: u32 = 1_000;
const MAX_SLOW_PAUSE: Duration = Duration::from_secs(5);
const MAX_CHANGES_PER_SECOND: u32 = 10_000;
const MAX_IN_FLIGHT: u32 = 4_096;
const MAX_PEOPLE: u32 = 100_000;
const MAX_TEXT_BYTES: u64 = 64 << 10;
const MIN_LOOK: Duration = Duration::from_millis(10);
const MAX_LOOK: Duration = Duration::from_secs(5);
const MAX_ATTEMPTS: u32 = 100;

impl Scenario {
    /// What a type cannot check.
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
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
        rule(
            (MIN_LOOK..=MAX_LOOK).contains(&self.look_every.0),
            "look_every",
            "is not between 10 ms, which keeps ClickHouse busy, and 5 s, which sees nothing",
        )?;
        if let Some(calm) = self.calm {
            rule(!calm.duration.0.is_zero(), "calm.duration", "is zero")?;
            rule(calm.duration.0 <= MAX_DURATION, "calm.duration", "is longer than an hour")?;
        }
        if let Some(slow) = self.slow_clients {
            between(
                "slow_clients.writers + readers",
                slow.writers.saturating_add(slow.readers),
                MAX_SLOW_CLIENTS,
            )?;
            rule(slow.piece.0 > 0, "slow_clients.piece", "is zero")?;
            rule(
                slow.pause.0 <= MAX_SLOW_PAUSE,
                "slow_clients.pause",
                "is longer than 5 s, which is not slow but away",
            )?;
        }
        if let Some(churn) = self.consent_churn {
            between("consent_churn.changes_per_second", churn.changes_per_second, MAX_CHANGES_PER_SECOND)?;
            rule(
                self.tenant.is_empty(),
                "consent_churn",
                "does not go with [[tenant]]: it is the tenant `local` whose people change",
            )?;
            rule(
                self.consent.granted.0 * f64::from(self.people) >= 1.0,
                "consent_churn",
                "needs people who said yes (consent.granted)",
            )?;
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
}
