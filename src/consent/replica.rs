//! What this collector knows of the ledger, in memory: a snapshot, then its tail.
//!
//! A refresh that started at local time *q* and succeeded shows every change that was acknowledged
//! before *q*, so it moves the *watermark* to *q*. No clock is compared with another machine's: *q*
//! is this process's monotonic clock, and how far the tail has to read back is said in the ledger's
//! own time, which each refresh brings along.
//!
//! A row of the ledger carries the time at which its insert began, and shows up when the insert
//! commits. The tail therefore reads back to [`ReplicaOptions::overlap`] before the last refresh,
//! which is longer than the ledger lets an insert take, and applies rows it knows again; the newest
//! version of a (subject, scope) wins whatever the order.
//!
//! Nothing of this is kept on disk: a view that outlived its process would outlive its truth.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Consent, ConsentScope, ConsentState, Decision, EligibilityReason, Known, Policy, ScopeConsent, Source,
    decide,
};
use crate::{
    clickhouse::{Client, Error},
    delivery::frame::SealRecord,
    event::SubjectId,
    pipeline::ConsentFacts,
};

mod rows;

use rows::{Row, Rows};

/// How a replica is kept.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaOptions {
    /// The time from one refresh to the next.
    pub refresh_interval: Duration,
    /// The oldest view that may still make a row eligible.
    pub max_staleness: Duration,
    /// How far back the tail reads.
    pub overlap: Duration,
}

/// A power of two: the shard of a subject is the end of its pseudonym, which is as good as random.
const SHARDS: usize = 64;
/// The longest pause after a refresh that failed.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// Terms beyond this many are not told apart any more, and then do not count where the policy says
/// which do. The limit is what fits into [`Said`].
const MAX_TERMS: u16 = (1 << Said::TERMS_BITS) - 1;

/// What a person said of one scope, in 8 bytes: tens of millions of people have one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    /// Of the newest change.
    version: u32,
    /// How many versions ago the newest change was that was not a yes; [`Said::NEVER`] if none was.
    /// What lies further back counts as just so far back: nearer than it was, which is the careful side.
    since_no: u16,
    /// From the lowest bit: state, source, and the index into [`Terms`].
    packed: u16,
}

impl Default for Said {
    fn default() -> Self {
        Self { version: 0, since_no: Self::NEVER, packed: 0 }
    }
}

impl Said {
    const STATE_BITS: u16 = 2;
    const SOURCE_BITS: u16 = 3;
    const TERMS_BITS: u16 = u16::BITS as u16 - Self::STATE_BITS - Self::SOURCE_BITS;
    const NEVER: u16 = u16::MAX;

    fn new(version: u32, state: ConsentState, source: Source, terms: u16) -> Self {
        let packed = state as u16
            | (source as u16) << Self::STATE_BITS
            | terms << (Self::STATE_BITS + Self::SOURCE_BITS);
        let since_no = if state == ConsentState::Granted { Self::NEVER } else { 0 };
        Self { version, since_no, packed }
    }

    fn state(self) -> ConsentState {
        let bits = self.packed & ((1 << Self::STATE_BITS) - 1);
        ConsentState::ALL.into_iter().find(|state| *state as u16 == bits).unwrap_or(ConsentState::Denied)
    }

    fn source(self) -> Source {
        let bits = self.packed >> Self::STATE_BITS & ((1 << Self::SOURCE_BITS) - 1);
        Source::ALL.into_iter().find(|source| *source as u16 == bits).unwrap_or_default()
    }

    const fn terms(self) -> u16 {
        self.packed >> (Self::STATE_BITS + Self::SOURCE_BITS)
    }

    /// The version of the newest change that was not a yes.
    fn no_version(self) -> Option<u32> {
        (self.since_no != Self::NEVER).then(|| self.version.saturating_sub(self.since_no.into()))
    }

    /// Both changes, in whatever order they came in. Two collectors may give one version at once; then
    /// the one that says less counts, everywhere.
    fn merged(self, other: Self) -> Self {
        let rank = |said: Self| (said.version, caution(said.state()));
        let newest = if rank(other) > rank(self) { other } else { self };
        let no = self.no_version().max(other.no_version());
        let since_no = no.map_or(Self::NEVER, |no| {
            u16::try_from(newest.version - no).unwrap_or(Self::NEVER).min(Self::NEVER - 1)
        });
        Self { since_no, ..newest }
    }
}

const fn caution(state: ConsentState) -> u8 {
    match state {
        ConsentState::Granted => 0,
        ConsentState::Unset => 1,
        ConsentState::Denied => 2,
    }
}

/// What a person said: first party, affiliates.
type Entry = [Said; 2];

const fn slot(scope: ConsentScope) -> usize {
    match scope {
        ConsentScope::FirstParty => 0,
        ConsentScope::Affiliates => 1,
    }
}

/// Versions of terms, each kept once. The first is "nobody noted which".
#[derive(Debug)]
struct Terms {
    texts: Vec<Arc<str>>,
    index_of: HashMap<Arc<str>, u16>,
}

impl Terms {
    fn new() -> Self {
        Self { texts: vec!["".into()], index_of: HashMap::from([("".into(), 0)]) }
    }

    fn index_of(&mut self, text: &str) -> u16 {
        if let Some(&index) = self.index_of.get(text) {
            return index;
        }
        let index = u16::try_from(self.texts.len()).unwrap_or(MAX_TERMS).min(MAX_TERMS);
        if index < MAX_TERMS {
            let text: Arc<str> = text.into();
            self.index_of.insert(Arc::clone(&text), index);
            self.texts.push(text);
        }
        index
    }

    fn text(&self, index: u16) -> Arc<str> {
        self.texts.get(usize::from(index)).cloned().unwrap_or_else(|| "(one of many)".into())
    }
}

struct Inner {
    options: ReplicaOptions,
    /// The keys whose pseudonyms this collector can make. Subjects under another key cannot be
    /// recognised, so their opt-outs would be missed.
    key_ids: Vec<String>,
    foreign_key: AtomicBool,
    shards: Vec<RwLock<HashMap<SubjectId, Entry>>>,
    terms: RwLock<Terms>,
    watermark: watch::Sender<Option<Instant>>,
    wanted: Notify,
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
    /// An empty view, which knows nothing and says so.
    #[must_use]
    pub fn new(options: ReplicaOptions, key_ids: Vec<String>) -> Self {
        Self(Arc::new(Inner {
            options,
            key_ids,
            foreign_key: AtomicBool::new(false),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            terms: RwLock::new(Terms::new()),
            watermark: watch::Sender::new(None),
            wanted: Notify::new(),
        }))
    }

    /// Keeps the view up to date until told to stop.
    pub async fn run(self, client: Client, stop: CancellationToken) {
        let mut tail = Tail::default();
        let mut failures: u32 = 0;
        loop {
            let started = Instant::now();
            let refreshed = tokio::select! {
                refreshed = self.refresh(&client, &mut tail) => refreshed,
                () = stop.cancelled() => return,
            };
            let pause = match refreshed {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!("the view of consent is up to date again");
                    }
                    failures = 0;
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

    async fn refresh(&self, client: &Client, tail: &mut Tail) -> Result<(), Error> {
        // What is read before it fails is true all the same, and is kept.
        let mut rows = Rows::default();
        let since = tail.since_us.to_string();
        let mut ledger_now_us = None;
        client
            .query_chunks(rows::QUERY, &[("since", &since)], "RowBinary", |chunk| {
                rows.read(chunk, |row| {
                    ledger_now_us = Some(row.ledger_now_us);
                    self.apply_row(&row);
                });
                Ok(())
            })
            .await?;
        if let Some(now_us) = ledger_now_us {
            let overlap_us = i64::try_from(self.0.options.overlap.as_micros()).unwrap_or(i64::MAX);
            tail.since_us = now_us.saturating_sub(overlap_us).max(tail.since_us);
        }
        Ok(())
    }

    fn apply_row(&self, row: &Row<'_>) {
        if !self.0.key_ids.iter().any(|known| known == row.pseudonym_key_id)
            && !self.0.foreign_key.swap(true, Ordering::Relaxed)
        {
            tracing::error!(
                key_id = row.pseudonym_key_id,
                "the ledger has consent under a pseudonym key that this collector does not hold; consent is \
                 unknown until it does: give all collectors of this database the same pseudonym.key_file"
            );
        }
        self.apply(row.subject_id, row.scope, row.state, row.source, row.terms, row.version);
    }

    /// Takes one change into the view, unless a newer one is known.
    pub(super) fn apply(
        &self,
        subject: SubjectId,
        scope: ConsentScope,
        state: ConsentState,
        source: Source,
        terms: &str,
        version: u32,
    ) {
        let known_terms = read(&self.0.terms).index_of.get(terms).copied();
        let terms = known_terms.unwrap_or_else(|| write(&self.0.terms).index_of(terms));
        let said = Said::new(version, state, source, terms);
        let mut shard = write(self.shard(&subject));
        let before = &mut shard.entry(subject).or_default()[slot(scope)];
        *before = before.merged(said);
    }

    fn shard(&self, subject: &SubjectId) -> &RwLock<HashMap<SubjectId, Entry>> {
        &self.0.shards[usize::from(subject.as_bytes()[15]) % SHARDS]
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

    fn knows_all_keys(&self) -> bool {
        !self.0.foreign_key.load(Ordering::Relaxed)
    }

    /// How many people have ever said anything.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.0.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// What the view shows of a person, fresh or not.
    #[must_use]
    pub fn known(&self, subject: &SubjectId) -> Known {
        let Some(entry) = read(self.shard(subject)).get(subject).copied() else { return Known::default() };
        let terms = read(&self.0.terms);
        let [first_party, affiliates] = entry.map(|said| ScopeConsent {
            state: said.state(),
            source: said.source(),
            terms: terms.text(said.terms()),
            version: said.version,
        });
        Known { first_party, affiliates }
    }

    /// A person's consent as an event that is received now may rely on it.
    #[must_use]
    pub fn consent(&self, subject: &SubjectId) -> Consent {
        if self.is_fresh() { Consent::Known(self.known(subject)) } else { Consent::Unknown }
    }

    /// The second decision on a row that was eligible at receipt. The caller has waited until the
    /// watermark passed that receipt, so the view is newer than the row, however old it is.
    ///
    /// A "no" that came after what the row's stamp took into account narrows it, though a "yes" may
    /// have come after that: the row may have been written in between.
    #[must_use]
    pub fn decide_for_seal(&self, policy: &Policy, record: &SealRecord) -> Decision {
        if !self.knows_all_keys() {
            return Decision::none(EligibilityReason::ConsentUnknown);
        }
        let said_no_since = |scope| {
            let shard = read(self.shard(&record.subject_id));
            let no = shard.get(&record.subject_id).and_then(|entry| entry[slot(scope)].no_version());
            // A "yes" and a "no" of one version were made at once, and then the "no" counts. A row that
            // stands on silence may have the version of the taking back which left it.
            let own_counts = record.reason == EligibilityReason::Granted;
            no.is_some_and(|no| no > record.consent_version || (own_counts && no == record.consent_version))
        };
        if said_no_since(ConsentScope::FirstParty) {
            return Decision::none(EligibilityReason::WithdrawnBeforeWrite);
        }
        let facts = ConsentFacts {
            event_type: record.event_type,
            feature: &record.feature,
            jurisdiction: record.jurisdiction,
            gpc: record.gpc,
        };
        let mut known = self.known(&record.subject_id);
        if said_no_since(ConsentScope::Affiliates) {
            known.affiliates.state = ConsentState::Denied;
        }
        decide(&Consent::Known(known), policy, &facts)
    }
}

/// Where the next refresh begins to read.
#[derive(Debug, Default)]
struct Tail {
    /// In the ledger's time, microseconds since the epoch.
    since_us: i64,
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    // Every write is one assignment or insertion: a panic in between leaves nothing half done.
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
