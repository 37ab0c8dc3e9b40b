//! What this collector knows of the ledger, in memory: a snapshot, then its tail.
//!
//! A refresh that started at local time *q* and succeeded shows every change that was acknowledged
//! before *q*, so it moves the *watermark* to *q*. No clock is compared with another machine's: *q*
//! is this process's monotonic clock, and how far the tail has to read back is said in the ledger's
//! own time, which each refresh brings along.
//!
//! A row of the ledger carries the time at which its insert began, and shows up when the insert
//! commits. The tail therefore reads back to [`ReplicaOptions::overlap`] before the last refresh,
//! which is longer than the ledger lets an insert take, whatever its clock did in between
//! ([`tail`]), and applies rows it knows again; the newest version of a (subject, scope) wins
//! whatever the order.
//!
//! Nothing is read whole: a piece of an answer is applied while the next one comes in, on a thread
//! that may block, and a ledger of any length loads as long as its rows keep coming.
//!
//! Nothing of this is kept on disk: a view that outlived its process would outlive its truth.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{
    Consent, ConsentScope, ConsentState, Decision, EligibilityReason, Known, Policy, ScopeConsent, Source,
    TrainingScope, decide_scope, decision::decide_by,
};
use crate::{
    clickhouse::{Client, Error},
    delivery::frame::SealRecord,
    event::SubjectId,
    pipeline::{ConsentFacts, Subjects},
    telemetry,
};

mod apply;
mod erased;
mod held;
pub(super) mod keys;
mod map;
mod rows;
mod said;
mod tail;
mod terms;

use apply::Applier;
pub(super) use erased::ERASED;
pub use erased::Erased;
use held::Held;
use keys::Keys;
use map::SubjectMap;
use said::{Entry, Said};
use tail::{Sample, Tail};
use terms::Terms;

/// The longest `consent.ledger_timeout`.
pub const MAX_LEDGER_TIMEOUT: Duration = Duration::from_secs(10);

/// How far back the tail of every collector reads: further than an acknowledged write can take,
/// whatever the collector that wrote it is configured to. A write takes two timeouts at most: it is
/// tried again until the first is over, and the last try has one of its own, to which
/// `max_execution_time` bounds the server as well. The third is for servers that are slow to notice
/// their limit, and for nodes whose clocks differ a little.
pub const OVERLAP: Duration = MAX_LEDGER_TIMEOUT.saturating_mul(3);

/// How a replica is kept.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaOptions {
    /// The time from one refresh to the next.
    pub refresh_interval: Duration,
    /// The oldest view that may still make a row eligible.
    pub max_staleness: Duration,
    /// How far back the tail reads; [`OVERLAP`] in a collector.
    pub overlap: Duration,
}

/// The longest pause after a refresh that failed.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// Pieces of an answer that wait to be applied, of about a megabyte each.
const MAX_WAITING_PIECES: usize = 2;
const fn slot(scope: ConsentScope) -> usize {
    match scope {
        ConsentScope::FirstParty => 0,
        ConsentScope::Affiliates => 1,
    }
}

fn merge(entry: &mut Entry, (scope, said): &(ConsentScope, Said)) {
    let known = &mut entry[slot(*scope)];
    *known = known.merged(*said);
}

struct Inner {
    options: ReplicaOptions,
    /// The keys whose pseudonyms this collector can make. Subjects under another key cannot be
    /// recognised, so their opt-outs would be missed.
    keys: Keys,
    subjects: SubjectMap,
    terms: Terms,
    watermark: watch::Sender<Option<Instant>>,
    wanted: Notify,
    held: Mutex<Vec<Held>>,
    erased: Erased,
}

/// The view. Clones share it.
#[derive(Clone)]
pub struct Replica(Arc<Inner>);

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("watermark", &*self.0.watermark.borrow()).finish_non_exhaustive()
    }
}

impl Replica {
    /// An empty view, which knows nothing and says so. `key_ids` are those of the ring, the current one first.
    #[must_use]
    pub fn new(options: ReplicaOptions, key_ids: Vec<String>) -> Self {
        Self(Arc::new(Inner {
            options,
            keys: Keys::new(key_ids),
            subjects: SubjectMap::new(),
            terms: Terms::new(),
            watermark: watch::Sender::new(None),
            wanted: Notify::new(),
            held: Mutex::default(),
            erased: Erased::default(),
        }))
    }

    /// Keeps the view up to date until told to stop.
    pub async fn run(self, client: Client, stop: CancellationToken) {
        let mut tail = Tail::new(self.0.options.overlap);
        let mut failures: u32 = 0;
        let mut announced = false;
        loop {
            let started = Instant::now();
            let refreshed = tokio::select! {
                refreshed = self.refresh(&client, &mut tail, failures > 0) => refreshed,
                () = stop.cancelled() => return,
            };
            let pause = match refreshed {
                Ok(complete) => {
                    if failures > 0 {
                        tracing::info!("the view of consent is up to date again");
                    }
                    failures = 0;
                    telemetry::consent_refreshed(started.elapsed());
                    if !complete {
                        continue;
                    }
                    // Not before it is sure that this collector's key is one of those in use, or the first: a stranger
                    // would shut everybody else out. What was acknowledged by somebody who does not hold the key was
                    // acknowledged before it was announced, so a refresh that begins after that shows it.
                    if !announced && self.knows_all_keys() {
                        match keys::announce(&client, self.0.keys.current()).await {
                            Ok(()) => {
                                announced = true;
                                continue;
                            }
                            Err(error) => {
                                tracing::warn!(
                                    %error,
                                    "it cannot be recorded which pseudonym key this collector stamps with; events are \
                                     eligible for nothing until then"
                                );
                                tokio::select! {
                                    () = tokio::time::sleep(MAX_BACKOFF) => continue,
                                    () = stop.cancelled() => return,
                                }
                            }
                        }
                    }
                    self.hold_on(started);
                    self.0.watermark.send_replace(Some(started));
                    tokio::select! {
                        () = tokio::time::sleep(self.0.options.refresh_interval) => {}
                        () = self.0.wanted.notified() => {}
                        () = stop.cancelled() => return,
                    }
                    continue;
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(
                            %error,
                            "the consent ledger cannot be read; events are taken and are eligible for nothing \
                             while the view is stale"
                        );
                    }
                    failures = failures.saturating_add(1);
                    (self.0.options.refresh_interval * failures.min(16)).min(MAX_BACKOFF)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Reads what is new; whether it has read far enough to move the watermark.
    async fn refresh(&self, client: &Client, tail: &mut Tail, after_failure: bool) -> Result<bool, Error> {
        let started = Instant::now();
        let since = tail.begin(started);
        // The server need not work longer on a tail than its reader waits. The whole ledger takes as long as
        // it takes, and so does a tail that has grown long or was too long for that limit before.
        let bounded = since.is_some() && !after_failure;
        let limit = if bounded { client.query_timeout().as_secs_f64() } else { 0.0 };
        let since_us = since.unwrap_or(0).to_string();
        let mut answer = client.query_stream(
            &rows::query(&self.0.keys.held_array()),
            &[("since", &since_us)],
            "RowBinary",
            &[("max_execution_time", &limit.to_string())],
        )?;
        let (pieces, waiting) = mpsc::channel(MAX_WAITING_PIECES);
        let applier = Applier::new(self.clone(), since.is_none());
        let applied = spawn_blocking(move || applier.apply_pieces(waiting));
        let mut answered = None;
        while let Some(piece) = answer.next().await? {
            answered.get_or_insert_with(Instant::now);
            if pieces.send(piece).await.is_err() {
                // It found something that it cannot read, and says so below.
                break;
            }
        }
        drop(pieces);
        let applied = match applied.await {
            Ok(applied) => applied,
            // It is never aborted, so it panicked, and so does who waits for it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let ledger_us = applied.map_err(|rows::Malformed(what)| Error::Malformed(what))?;
        let answered = answered.unwrap_or_else(Instant::now);
        let finished = tail.finish(since, Sample { started, answered, ledger_us });
        if let Some(stepped_us) = finished.stepped_us {
            tracing::warn!(
                seconds = stepped_us / 1_000_000,
                read_again = !finished.complete,
                "the clock of the consent ledger's server was set; let it be slewed, not stepped"
            );
        }
        Ok(finished.complete)
    }

    /// Takes one change into the view, unless a newer one is known.
    pub fn apply(
        &self,
        subject: SubjectId,
        scope: ConsentScope,
        state: ConsentState,
        source: Source,
        terms: &str,
        version: u32,
    ) {
        let said = Said::new(version, state, source, self.0.terms.index_of(terms));
        self.0.subjects.update(&subject, |entry| merge(entry, &(scope, said)));
    }

    /// Asks for a refresh now, instead of at the end of the interval.
    pub fn request_refresh(&self) {
        self.0.wanted.notify_one();
    }

    /// The local time up to which every acknowledged change is known; none while loading.
    #[must_use]
    pub fn watermark(&self) -> watch::Receiver<Option<Instant>> {
        self.0.watermark.subscribe()
    }

    /// How old the view is; none while loading.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.0.watermark.borrow().map(|at| at.elapsed())
    }

    /// Whether the view may make rows eligible.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.age().is_some_and(|age| age <= self.0.options.max_staleness) && self.knows_all_keys()
    }

    /// Whether the people of the ledger are known under this collector's keys; nobody can say while the
    /// view has never been loaded.
    pub(super) fn knows_people(&self) -> Option<bool> {
        if self.knows_all_keys() { self.age().map(|_| true) } else { Some(false) }
    }

    fn knows_all_keys(&self) -> bool {
        self.0.keys.are_known()
    }

    /// How many people have ever said anything; one who has pseudonyms under several keys counts for each.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.0.subjects.subjects()
    }

    /// How much memory they take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.subjects.bytes()
    }

    /// What the view shows of a person under all of their pseudonyms, fresh or not. The newest version counts,
    /// and of two with one version the one that says less.
    #[must_use]
    pub fn known(&self, subjects: &Subjects) -> Known {
        let entries = subjects.iter().filter_map(|subject| self.0.subjects.get(subject));
        let newest = entries.reduce(|[first, second], [first_too, second_too]| {
            [first.merged(first_too), second.merged(second_too)]
        });
        newest.map_or_else(Known::default, |entry| self.spelled_out(entry))
    }

    fn spelled_out(&self, entry: Entry) -> Known {
        let terms = &self.0.terms;
        let [first_party, affiliates] = entry.map(|said| ScopeConsent {
            state: said.state(),
            source: said.source(),
            terms: terms.text(said.terms()),
            version: said.version(),
        });
        Known { first_party, affiliates }
    }

    /// A person's consent as an event that is received now may rely on it.
    #[must_use]
    pub fn consent(&self, subjects: &Subjects) -> Consent {
        if self.is_fresh() { Consent::Known(self.known(subjects)) } else { Consent::Unknown }
    }

    /// Who was erased, of whom rows may still come.
    #[must_use]
    pub fn erased(&self) -> &Erased {
        &self.0.erased
    }

    /// The second decision on a row that was eligible at receipt. The caller has waited until the
    /// watermark passed that receipt, so the view is newer than the row, however old it is.
    ///
    /// A "no" that came after what the row's stamp took into account narrows it, though a "yes" may
    /// have come after that: the row may have been written in between.
    #[must_use]
    pub fn decide_for_seal(&self, policy: &Policy, record: &SealRecord<'_>) -> Decision {
        if !self.knows_all_keys() {
            return Decision::none(EligibilityReason::ConsentUnknown);
        }
        let entry = self.0.subjects.get(&record.subject_id).unwrap_or_default();
        let said_no_since = |scope| {
            // A "yes" and a "no" of one version were made at once, and then the "no" counts. A row that
            // stands on silence may have the version of the taking back which left it.
            let own_counts = record.reason == EligibilityReason::Granted;
            entry[slot(scope)]
                .no_version()
                .is_some_and(|no| no > record.consent_version || (own_counts && no == record.consent_version))
        };
        if said_no_since(ConsentScope::FirstParty) {
            return Decision::none(EligibilityReason::WithdrawnBeforeWrite);
        }
        let facts = ConsentFacts {
            event_type: record.event_type,
            feature: record.feature,
            jurisdiction: record.jurisdiction,
            gpc: record.gpc,
        };
        let mut known = self.spelled_out(entry);
        if said_no_since(ConsentScope::Affiliates) {
            known.affiliates.state = ConsentState::Denied;
        }
        let nothing_known = ConsentScope::ALL.map(|scope| *known.scope(scope) == ScopeConsent::default());
        let answered_before = |scope: ConsentScope| {
            self.0.keys.are_several()
                && nothing_known[slot(scope)]
                && record.consent_version > 0
                && record.training_scope as i8 >= scope as i8
                // An `affiliates` row names the weaker of two answers: the other one may be a yes.
                && (record.reason == EligibilityReason::Granted || record.training_scope > TrainingScope::FirstParty)
        };
        let consent = Consent::Known(known);
        decide_by(|scope| match decide_scope(&consent, policy, &facts, scope) {
            EligibilityReason::UnsetOptIn if answered_before(scope) => record.reason,
            reason => reason,
        })
    }
}

#[cfg(test)]
mod tests;
