//! What must hold of a history and the rows that came of it. Pure functions.
//!
//! All times are of one process's monotonic clock, and only intervals are compared: a request takes
//! effect somewhere between its beginning and its end. Requests that overlap may have happened in
//! either order, so a finding here is one under every order.
//!
//! A change whose outcome is unknown may have been made. It ended all the same when its caller was told:
//! nobody works on it after that, so a "no" that begins later is above it. Without an answer
//! it never ended.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use assent::consent::{ConsentScope, TrainingScope};
use uuid::Uuid;

use crate::history::{Answer, Change, Event, History, Moment};

/// What is in ClickHouse when all is delivered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// How many rows `events` has of an event.
    pub(crate) raw: HashMap<Uuid, u64>,
    /// `events FINAL`, row by row.
    pub(crate) counted: Vec<(Uuid, TrainingScope)>,
    /// Why these have their scopes.
    pub(crate) reasons: HashMap<Uuid, String>,
    /// `training_first_party`, row by row.
    pub(crate) first_party: Vec<Uuid>,
    /// `training_affiliates`, row by row.
    pub(crate) affiliates: Vec<Uuid>,
}

/// What was asked when the faults were over.
#[derive(Clone, Debug)]
pub(crate) struct Final {
    pub(crate) user: u32,
    /// The decision of today that each collector's `GetConsent` names, where it was asked.
    pub(crate) decided: Vec<TrainingScope>,
    /// An event sent to each collector, which nothing was under way beside.
    pub(crate) probes: Vec<Uuid>,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Eligible, though it began after an acknowledged "no" and no "yes" can have come after that.
    EligibleAfterDenial,
    /// Eligible, though every "yes" began after it was acknowledged.
    EligibleByLaterOptIn,
    /// Acknowledged, and not there.
    Lost,
    /// There more often than it was sent, or more than once where it counts once.
    Twice,
    /// There, and nobody sent it.
    NeverSent,
    /// In a view for training, though a "no" came after it.
    ShownAfterWithdrawal,
    /// In a view for training, and not eligible.
    ShownNotEligible,
    /// Good, and refused.
    Refused,
    /// Collectors do not agree on a person when all is quiet.
    Disagreement,
}

/// A finding.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    /// Of whom and what.
    pub(crate) user: Option<u32>,
    pub(crate) event: Option<Uuid>,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, user, event, what } = self;
        write!(f, "{kind:?}")?;
        if let Some(user) = user {
            write!(f, " user-{user}")?;
        }
        if let Some(event) = event {
            write!(f, " event {event}")?;
        }
        write!(f, ": {what}")
    }
}

fn found(kind: Kind, user: Option<u32>, event: Option<Uuid>, what: impl Into<String>) -> Violation {
    Violation { kind, user, event, what: what.into() }
}

/// Everything that does not hold.
pub(crate) fn check(history: &History, rows: &Rows, finals: &[Final]) -> Vec<Violation> {
    let changes = history.changes_by_user();
    let of_user = |user: u32| changes.get(&user).map(Vec::as_slice).unwrap_or_default();
    let mut violations = refused(history);
    violations.extend(presence(history, rows));
    let scopes: HashMap<Uuid, TrainingScope> = rows.counted.iter().copied().collect();
    for (id, scope) in &rows.counted {
        let Some(event) = history.events.get(id) else { continue };
        for needed in needs(*scope) {
            if let Some(kind) = eligibility(of_user(event.user), event, *needed) {
                let what =
                    format!("its training scope is {}, and {} may not be", scope.as_str(), needed.as_str());
                violations.push(found(kind, Some(event.user), Some(*id), what));
            }
        }
    }
    for (view, scope) in
        [(&rows.first_party, TrainingScope::FirstParty), (&rows.affiliates, TrainingScope::Affiliates)]
    {
        for id in view {
            let Some(event) = history.events.get(id) else { continue };
            if scopes.get(id).is_none_or(|stored| *stored < scope) {
                let what = format!("the view {} has it, and its row is narrower", scope.as_str());
                violations.push(found(Kind::ShownNotEligible, Some(event.user), Some(*id), what));
            }
            if !may_be_shown(of_user(event.user), event, needs(scope)) {
                let what = format!("the view {} has it", scope.as_str());
                violations.push(found(Kind::ShownAfterWithdrawal, Some(event.user), Some(*id), what));
            }
        }
    }
    violations
        .extend(finals.iter().filter_map(|last| agreement(of_user(last.user), last, &scopes, &rows.reasons)));
    violations
}

/// The scopes that a person must have said yes to.
fn needs(scope: TrainingScope) -> &'static [ConsentScope] {
    match scope {
        TrainingScope::None => &[],
        TrainingScope::FirstParty => &ConsentScope::ALL[..1],
        TrainingScope::Affiliates => &ConsentScope::ALL,
    }
}

fn refused(history: &History) -> Vec<Violation> {
    let refusal = |answer: &Answer| match answer {
        Answer::Refused(message) => Some(message.clone()),
        _ => None,
    };
    let changes = history.changes.iter().filter_map(|change| {
        refusal(&change.answer).map(|message| found(Kind::Refused, Some(change.user), None, message))
    });
    let events = history.events.iter().flat_map(|(id, event)| {
        event.tries.iter().filter_map(|tried| {
            refusal(&tried.answer).map(|message| found(Kind::Refused, Some(event.user), Some(*id), message))
        })
    });
    changes.chain(events).collect()
}

/// Every acknowledged event is there and counts once, and nothing else is.
fn presence(history: &History, rows: &Rows) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (id, event) in &history.events {
        if event.is_acknowledged() && !rows.raw.contains_key(id) {
            violations.push(found(Kind::Lost, Some(event.user), Some(*id), format!("{:?}", event.tries)));
        }
    }
    for (id, copies) in &rows.raw {
        match history.events.get(id) {
            None => violations.push(found(Kind::NeverSent, None, Some(*id), "")),
            Some(event) if *copies > event.tries.len() as u64 => {
                let what = format!("{copies} rows of {} requests", event.tries.len());
                violations.push(found(Kind::Twice, Some(event.user), Some(*id), what));
            }
            Some(_) => {}
        }
    }
    let counted: Vec<Uuid> = rows.counted.iter().map(|(id, _)| *id).collect();
    for (name, ids) in [
        ("events FINAL", &counted),
        ("training_first_party", &rows.first_party),
        ("training_affiliates", &rows.affiliates),
    ] {
        let mut seen = HashSet::new();
        for id in ids {
            if !seen.insert(*id) {
                violations.push(found(Kind::Twice, None, Some(*id), format!("more than once in {name}")));
            }
        }
    }
    violations
}

/// Why an event that is eligible for a scope may not be. Of an event's rows the narrowest counts, so
/// each request of it that was acknowledged, and so has its row, has to allow it.
fn eligibility(changes: &[&Change], event: &Event, scope: ConsentScope) -> Option<Kind> {
    let acknowledged: Vec<(Moment, Moment)> =
        event.tries.iter().filter_map(|tried| Some((tried.began, tried.answer.acknowledged()?))).collect();
    if !acknowledged.is_empty() {
        return acknowledged.into_iter().find_map(|(began, ended)| forbidden(changes, scope, began, ended));
    }
    // Any of them may be the one that is there.
    let first = event.tries.iter().map(|tried| tried.began).min()?;
    forbidden(changes, scope, first, Moment::NEVER)
}

/// Why an event that was received between two moments may not be eligible.
fn forbidden(changes: &[&Change], scope: ConsentScope, began: Moment, ended: Moment) -> Option<Kind> {
    let of_scope = || changes.iter().filter(|change| change.scope == scope);
    let can_have_said_yes = || {
        of_scope().filter(|change| {
            !change.is_no() && change.began < ended && !matches!(change.answer, Answer::Refused(_))
        })
    };
    if can_have_said_yes().next().is_none() {
        return Some(Kind::EligibleByLaterOptIn);
    }
    let last_no = of_scope()
        .filter(|change| change.is_no() && change.answer.acknowledged().is_some_and(|at| at < began))
        .map(|change| change.began)
        .max()?;
    let after = |change: &&&Change| change.answer.ended() >= last_no;
    (!can_have_said_yes().any(|change| after(&change))).then_some(Kind::EligibleAfterDenial)
}

/// Whether an event that is eligible is so by a "yes" which was answered before a "no" that it raced. Either
/// order of the two is right, so this is no finding; how often it happens is worth knowing.
pub(crate) fn is_by_a_yes_that_raced(changes: &[&Change], event: &Event) -> bool {
    let Some((began, ended)) =
        event.tries.iter().find_map(|tried| Some((tried.began, tried.answer.acknowledged()?)))
    else {
        return false;
    };
    let of_scope = || changes.iter().filter(|change| change.scope == ConsentScope::FirstParty);
    let told = of_scope()
        .filter(|change| change.is_no())
        .filter_map(|change| change.answer.acknowledged().filter(|at| *at < began))
        .max();
    let mut yes = of_scope().filter(|change| !change.is_no() && change.began < ended);
    told.is_some_and(|told| yes.all(|change| change.answer.ended() < told))
}

/// Whether a view may show an event: one of the requests that it was in has no "no" after it.
fn may_be_shown(changes: &[&Change], event: &Event, scopes: &[ConsentScope]) -> bool {
    event.tries.iter().any(|tried| {
        // Received before its request ended, or at no known time.
        let received_by = tried.answer.acknowledged().unwrap_or(Moment::NEVER);
        !changes.iter().any(|change| {
            scopes.contains(&change.scope)
                && change.is_no()
                && change.answer.acknowledged().is_some()
                && received_by < change.began
        })
    })
}

/// When all is quiet, no collector makes more of an event than it answers, and all do the same.
fn agreement(
    changes: &[&Change],
    last: &Final,
    scopes: &HashMap<Uuid, TrainingScope>,
    reasons: &HashMap<Uuid, String>,
) -> Option<Violation> {
    let stamped: Vec<Option<TrainingScope>> = last.probes.iter().map(|id| scopes.get(id).copied()).collect();
    let everything = || stamped.iter().flatten().chain(&last.decided);
    // A "no" that the ledger did not take holds on the collector that was asked, and nowhere else; or the
    // ledger took it after all, even now: what a slow network still holds arrives when it arrives.
    let may_differ = changes.iter().any(|change| change.is_no() && change.answer.acknowledged().is_none());
    let differs = everything().max() != everything().min();
    let wider_than_answered =
        last.decided.iter().zip(&stamped).any(|(decided, stamp)| stamp.is_some_and(|stamp| stamp > *decided));
    (wider_than_answered || (differs && !may_differ)).then(|| {
        let why: Vec<_> = last.probes.iter().filter_map(|id| reasons.get(id)).collect();
        let what = format!("GetConsent says {:?}, and events became {stamped:?} ({why:?})", last.decided);
        found(Kind::Disagreement, Some(last.user), last.probes.first().copied(), what)
    })
}

#[cfg(test)]
mod tests;
