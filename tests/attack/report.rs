//! What happened in an attack, as a table, and whether it was enough to prove anything.

use std::{collections::HashMap, fmt, time::Duration};

use assent::consent::TrainingScope;
use uuid::Uuid;

use crate::{
    chaos_proxy::Done,
    checker::{Final, Rows, Violation, is_by_a_yes_that_raced},
    faults::Kind,
    fleet::Fleet,
    history::{Answer, Change, History},
};

/// An event that begins so soon after an acknowledged "no" came from another collector has raced it.
const RACE: Duration = Duration::from_secs(1);
/// What is told of a person before a finding.
const EXCERPT: usize = 40;

/// Counts by name, in their order, and which of them may not be too low.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    lines: Vec<(String, u64, Option<u64>)>,
}

impl Report {
    pub(crate) fn of(history: &History, rows: &Rows, finals: &[Final], fleet: &Fleet) -> Self {
        let mut report = Self::default();
        let scopes: HashMap<Uuid, TrainingScope> = rows.counted.iter().copied().collect();
        let events = || history.events.values();
        let with_scope = |wanted| scopes.values().filter(|scope| **scope >= wanted).count() as u64;
        let acknowledged = events().filter(|event| event.is_acknowledged()).count() as u64;
        report.add("events", history.events.len() as u64);
        report.at_least("  acknowledged", acknowledged, 200);
        report.at_least("  sent again", events().filter(|event| event.tries.len() > 1).count() as u64, 1);
        report.at_least("  eligible for first party", with_scope(TrainingScope::FirstParty), 30);
        report.at_least("  eligible for affiliates", with_scope(TrainingScope::Affiliates), 8);
        report.at_least("  in training_first_party", rows.first_party.len() as u64, 1);
        report.at_least("  in training_affiliates", rows.affiliates.len() as u64, 1);
        report.add("  eligible by a yes that was answered before a no it raced", gave_way(history, &scopes));
        let raced = races(history);
        report.at_least("  begun within 1 s after a no, elsewhere", raced.0, 40);
        report.at_least("  of these, of somebody who had said yes before", raced.1, 20);
        let changes =
            |fits: &dyn Fn(&Change) -> bool| history.changes.iter().filter(|c| fits(c)).count() as u64;
        report.add("changes of consent", history.changes.len() as u64);
        report.at_least(
            "  yes, acknowledged",
            changes(&|c| !c.is_no() && c.answer.acknowledged().is_some()),
            20,
        );
        report.at_least(
            "  no, acknowledged",
            changes(&|c| c.is_no() && c.answer.acknowledged().is_some()),
            20,
        );
        report.at_least("  of unknown outcome", changes(&|c| matches!(c.answer, Answer::Failed(_))), 1);
        report.add("  without an answer", changes(&|c| c.answer == Answer::None));
        report.at_least("kill -9", fleet.kills(), 1);
        report.add(
            "outages of the way to ClickHouse",
            fleet.tally.outages.load(std::sync::atomic::Ordering::Relaxed),
        );
        for kind in Kind::ALL {
            report.at_least(kind.as_str(), fleet.tally.get(kind, Done::Forwarded), 20);
            report.at_least("  late", fleet.tally.get(kind, Done::Late), 1);
            report.add("  answers lost", fleet.tally.get(kind, Done::Lost));
            report.add("  cut", fleet.tally.get(kind, Done::Cut));
        }
        report.at_least("people asked about when all was quiet", finals.len() as u64, 10);
        report
    }

    fn add(&mut self, name: &str, count: u64) {
        self.lines.push((name.to_owned(), count, None));
    }

    /// With less than that the attack was none.
    fn at_least(&mut self, name: &str, count: u64, least: u64) {
        self.lines.push((name.to_owned(), count, Some(least)));
    }

    /// What happened too seldom.
    pub(crate) fn lacks(&self) -> Vec<String> {
        let lacking = self.lines.iter().filter(|(_, count, least)| least.is_some_and(|least| *count < least));
        lacking
            .map(|(name, count, least)| format!("{}: {count}, of {}", name.trim(), least.unwrap_or_default()))
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, count, _)| writeln!(f, "{count:>9}  {name}"))
    }
}

/// Eligible events of [`is_by_a_yes_that_raced`].
fn gave_way(history: &History, scopes: &HashMap<Uuid, TrainingScope>) -> u64 {
    let changes = history.changes_by_user();
    let eligible = scopes.iter().filter(|(_, scope)| **scope != TrainingScope::None);
    let events = eligible.filter_map(|(id, _)| history.events.get(id));
    events
        .filter(|event| {
            changes.get(&event.user).is_some_and(|changes| is_by_a_yes_that_raced(changes, event))
        })
        .count() as u64
}

/// Events that began soon after a "no" which another collector had acknowledged, and those of them whose
/// author had said yes at all.
fn races(history: &History) -> (u64, u64) {
    let changes = history.changes_by_user();
    let mut raced = (0, 0);
    for event in history.events.values() {
        let Some(changes) = changes.get(&event.user) else { continue };
        let hit = event.tries.iter().any(|tried| {
            changes.iter().any(|change| {
                let acknowledged =
                    change.answer.acknowledged().filter(|_| change.is_no() && change.via != tried.via);
                acknowledged.is_some_and(|at| at < tried.began && tried.began.0 - at.0 < RACE)
            })
        });
        if hit {
            raced.0 += 1;
            let began = event.tries[0].began;
            raced.1 +=
                u64::from(changes.iter().any(|change| !change.is_no() && change.answer.ended() < began));
        }
    }
    raced
}

/// A finding with what its person and its event went through.
pub(crate) fn explain(violation: &Violation, history: &History) -> String {
    let mut lines = vec![violation.to_string()];
    let event = violation.event.and_then(|id| history.events.get(&id));
    for tried in event.into_iter().flat_map(|event| &event.tries) {
        lines.push(format!("    sent to collector {} at {:?}: {:?}", tried.via, tried.began, tried.answer));
    }
    let changes = history.changes_by_user();
    let changes = violation.user.and_then(|user| changes.get(&user)).map(Vec::as_slice).unwrap_or_default();
    for change in &changes[changes.len().saturating_sub(EXCERPT)..] {
        let Change { scope, state, via, began, answer, .. } = change;
        let (scope, state) = (scope.as_str(), state.as_str());
        lines.push(format!("    {scope} {state} through collector {via} at {began:?}: {answer:?}"));
    }
    lines.join("\n")
}
