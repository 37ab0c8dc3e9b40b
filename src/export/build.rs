//! Makes a dataset, or brings one up to date: the steps, in order.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use uuid::Uuid;

use super::{
    CARD_FILE, DATA_DIR, DATA_PREFIX, Day, IdRange, Job, Manifest, ManifestError, Parent, ReadError,
    Selection, Shard, Source, Tally,
    audit::{Audit, audit},
    card::card,
    journal::Journal,
    manifest::{Creator, Partition, Policy},
    place::{PlaceError, Workplace, foreign, io_error, sync_dir},
    progress::Progress,
    query::{self, Column, Hello},
    range::Plan,
    record::{RecordError, Recorder},
    shard::{StreamError, Streamed, digest_of, stream},
};
use crate::clickhouse::{self, ExternalError};

/// How many bytes a row is taken for before any is known.
const GUESSED_ROW_BYTES: u64 = 400;
/// How often shards are made again because of what was taken back while they were.
const ROUNDS: u32 = 3;
/// The pauses before a query is sent again that a fault of the network ended.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];
/// A shard that is being written.
const UNFINISHED: &str = ".unfinished";

/// How a dataset is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it comes from.
    pub source: Source,
    /// Who records it; nobody, if that is wanted.
    pub recorder: Option<Recorder>,
    /// The longest shard.
    pub max_shard_bytes: u64,
}

/// A dataset that was made.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it holds.
    pub manifest: Manifest,
    /// The SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// How many shards an earlier run had finished.
    pub resumed: usize,
    /// How many shards are those of the parent.
    pub reused: usize,
}

/// A dataset that could not be made. What is done is kept: the same command goes on.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The days are the wrong way round.
    #[error("no day is from {from} to {to}")]
    Days {
        /// The first.
        from: Day,
        /// The last.
        to: Day,
    },
    /// The view cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The export cannot be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The place cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file cannot be written or read.
    #[error("{} cannot be written or read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A shard cannot be looked at.
    #[error("the server cannot read the shard {}", path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ExternalError,
    },
    /// The server reads something else out of a shard than it wrote.
    #[error("{} has {rows} rows by its footer, and the server reads {read}", path.display())]
    Miscounted {
        /// The file.
        path: PathBuf,
        /// As it was written.
        rows: u64,
        /// As it was read.
        read: u64,
    },
}

/// Makes a dataset in a folder that is not there yet.
///
/// # Errors
/// See [`BuildError`].
pub async fn create(options: &Options, selection: Selection, out: &Path) -> Result<Report, BuildError> {
    run(options, selection, out, None).await
}

/// Brings a dataset up to date: without what was taken back, with what is new, and to a later day if that is given.
///
/// # Errors
/// See [`BuildError`].
pub async fn refresh(options: &Options, dir: &Path, to_day: Option<Day>) -> Result<Report, BuildError> {
    let (manifest, sha256) = Manifest::read(dir)?;
    let selection = Selection { to_day: to_day.unwrap_or(manifest.selection.to_day), ..manifest.selection };
    run(options, selection, dir, Some(Old { manifest, sha256 })).await
}

/// The dataset that is brought up to date.
struct Old {
    manifest: Manifest,
    sha256: String,
}

async fn run(
    options: &Options,
    selection: Selection,
    out: &Path,
    old: Option<Old>,
) -> Result<Report, BuildError> {
    let (from, to) = (selection.from_day, selection.to_day);
    if to < from {
        return Err(BuildError::Days { from, to });
    }
    let explain = |error| options.source.explain(selection.scope, error);
    // Who may not read the view learns so before anything is made.
    let hello = query::hello(&options.source.client).await.map_err(explain)?;
    let schema = query::schema(&options.source.client, &selection).await.map_err(explain)?;
    let place = Workplace::open(out)?;
    let resumed =
        Journal::resume(place.partial()).map_err(io_error("reading the journal in", place.partial()))?;
    if let Some(journal) = &resumed
        && let Some(issued) = journal.issued()
        && let Ok((manifest, sha256)) = Manifest::read(place.out())
        && sha256 == issued
    {
        // It was killed after it had put the dataset in its place.
        let reused = journal.finished().iter().filter(|it| it.reused).count();
        let resumed = manifest.shards.len();
        place.remove()?;
        return Ok(Report { manifest, manifest_sha256: sha256, resumed, reused });
    }
    let fresh = resumed.is_none();
    let journal = begin(&place, selection, old.as_ref(), resumed, &hello);
    let journal = match journal {
        Ok(journal) => journal,
        Err(error) => {
            if fresh {
                place.remove()?;
            }
            return Err(error);
        }
    };
    if let Some(recorder) = &options.recorder
        && let Err(error) = recorder.begun(journal.job(), &hello.user).await
    {
        if fresh {
            place.remove()?;
        }
        return Err(error.into());
    }
    let mut build = Build {
        options,
        rows_per_shard: (options.max_shard_bytes / GUESSED_ROW_BYTES).max(1),
        audits: BTreeMap::new(),
        place,
        journal,
        old,
        hello,
        schema,
    };
    let resumed = build.take_over()?;
    build.reuse()?;
    build.fill().await?;
    let watermark = build.audit().await?;
    build.issue(watermark, resumed).await
}

/// Begins a journal, or goes on with one that is of the same dataset.
fn begin(
    place: &Workplace,
    selection: Selection,
    old: Option<&Old>,
    resumed: Option<Journal>,
    hello: &Hello,
) -> Result<Journal, BuildError> {
    let parent =
        old.map(|old| Parent { export_id: old.manifest.export_id, manifest_sha256: old.sha256.clone() });
    match old {
        None => place.must_be_free()?,
        Some(old) => {
            let beside = foreign(place.out(), &old.manifest)?;
            if let Some(path) = beside.into_iter().next() {
                return Err(PlaceError::Foreign { path: place.out().join(path) }.into());
            }
        }
    }
    if let Some(journal) = resumed {
        let begun = journal.job();
        if begun.selection != selection || begun.parent != parent {
            let Selection { scope, from_day, to_day } = begun.selection;
            let of = if begun.parent.is_some() { "refresh" } else { "export" };
            let begun = format!("{of} of {} from {from_day} to {to_day}", scope.as_str());
            return Err(PlaceError::Other { partial: place.partial().to_owned(), begun }.into());
        }
        return Ok(journal);
    }
    let job = Job { export_id: Uuid::now_v7(), selection, parent, started_at: hello.now.clone() };
    let begun = Journal::begin(place.partial(), job);
    Ok(begun.map_err(io_error("writing the journal in", place.partial()))?)
}

/// A dataset in the making.
struct Build<'a> {
    options: &'a Options,
    place: Workplace,
    journal: Journal,
    old: Option<Old>,
    hello: Hello,
    schema: Vec<Column>,
    rows_per_shard: u64,
    /// By file.
    audits: BTreeMap<String, Audit>,
}

impl Build<'_> {
    fn selection(&self) -> Selection {
        self.journal.job().selection
    }

    fn path(&self, file: &str) -> PathBuf {
        self.place.dataset().join(file)
    }

    fn journal_error(&self) -> impl FnOnce(io::Error) -> PlaceError + use<> {
        io_error("writing the journal in", self.place.partial())
    }

    /// Keeps the shards of an earlier run that are whole, and says how many they are.
    fn take_over(&mut self) -> Result<usize, BuildError> {
        for shard in self.shards() {
            if !is_whole(&self.path(&shard.file), &shard) {
                tracing::warn!(file = shard.file, "a shard of an earlier run is damaged; it is made again");
                let failed = self.journal_error();
                self.journal.drop_range(shard.range).map_err(failed)?;
            }
        }
        let shards = self.shards();
        self.place.keep_only(shards.iter().map(|shard| shard.file.as_str()))?;
        Ok(shards.len())
    }

    fn shards(&self) -> Vec<Shard> {
        self.journal.finished().iter().map(|it| it.shard.clone()).collect()
    }

    /// Takes the parent's shards for the gaps. The audit says which of them can stay.
    fn reuse(&mut self) -> Result<(), BuildError> {
        let Some(old) = &self.old else { return Ok(()) };
        let gaps = self.journal.gaps();
        let shards: Vec<_> = old
            .manifest
            .shards
            .iter()
            .filter(|it| gaps.iter().any(|gap| gap.holds(&it.range)))
            .cloned()
            .collect();
        for shard in shards {
            let (from, to) = (self.place.out().join(&shard.file), self.path(&shard.file));
            if !is_whole(&from, &shard) {
                tracing::warn!(file = shard.file, "a shard of the dataset is damaged; it is made again");
                continue;
            }
            // A link costs nothing; not every file system has them.
            if fs::hard_link(&from, &to).is_err() {
                copy(&from, &to).map_err(|source| BuildError::File { path: to.clone(), source })?;
            }
            let failed = self.journal_error();
            self.journal.add(shard, true).map_err(failed)?;
        }
        Ok(sync_dir(&self.place.dataset().join(DATA_DIR))?)
    }

    /// Makes shards until none is missing.
    async fn fill(&mut self) -> Result<(), BuildError> {
        let mut plans = Vec::new();
        for gap in self.journal.gaps() {
            plans.push(self.plan(gap).await?);
        }
        if plans.is_empty() {
            return Ok(());
        }
        let mut progress = Progress::start("exporting");
        progress.expect(plans.iter().map(Plan::rows).sum());
        plans.reverse();
        while let Some(mut plan) = plans.pop() {
            let range = plan.next(self.rows_per_shard);
            let rows = self.rows_per_shard.min(plan.rows());
            // One id cannot be cut, however long its rows are.
            let max_bytes = if plan.is_of_one_id() { u64::MAX } else { self.options.max_shard_bytes };
            match self.stream(range, max_bytes, rows, &progress).await? {
                Some((rows, bytes)) => {
                    progress.done(rows, bytes);
                    self.learn(rows, bytes);
                    if plan.advance(range) {
                        plans.push(plan);
                    }
                }
                None => {
                    self.rows_per_shard = (rows / 2).max(1);
                    if plan.next(self.rows_per_shard) != range {
                        plans.push(plan);
                        continue;
                    }
                    // The sample is too coarse here.
                    let finer = self.plan(range).await?;
                    if plan.advance(range) {
                        plans.push(plan);
                    }
                    plans.push(finer);
                }
            }
        }
        Ok(())
    }

    async fn plan(&self, gap: IdRange) -> Result<Plan, BuildError> {
        let selection = self.selection();
        let client = &self.options.source.client;
        let sampled = again(async || query::sample(client, &selection, gap).await).await;
        let sampled = sampled.map_err(|error| self.explain(error))?;
        tracing::debug!(rows = sampled.rows, sample = sampled.ids.len(), first = %gap.first, "planned");
        Ok(Plan::new(gap, sampled.rows, sampled.ids))
    }

    fn explain(&self, error: clickhouse::Error) -> ReadError {
        self.options.source.explain(self.selection().scope, error)
    }

    /// Makes the shard of a range, and gives its rows and bytes; none when it would be too large.
    async fn stream(
        &mut self,
        range: IdRange,
        max_bytes: u64,
        expected_rows: u64,
        progress: &Progress,
    ) -> Result<Option<(u64, u64)>, BuildError> {
        let sql = self.selection().rows(range);
        let unfinished = self.path(DATA_DIR).join(UNFINISHED);
        let client = &self.options.source.client;
        let streamed = again(async || {
            let shown = |bytes| progress.within(bytes, expected_rows);
            stream(client, &sql, &unfinished, max_bytes, shown).await
        })
        .await;
        let (digest, rows) = match streamed {
            Ok(Streamed::Whole { digest, rows }) => (digest, rows),
            Ok(Streamed::TooLarge) => return Ok(None),
            Err(StreamError::ClickHouse(error)) => return Err(self.explain(error).into()),
            Err(StreamError::File(source)) => return Err(BuildError::File { path: unfinished, source }),
        };
        // Sorted by name, they are in the order of their ids. The digest tells it from any other's.
        let file = format!("{DATA_PREFIX}shard-{}-{}.parquet", range.first, &digest.sha256[..16]);
        let path = self.path(&file);
        fs::rename(&unfinished, &path).map_err(io_error("naming", &path))?;
        sync_dir(&self.path(DATA_DIR))?;
        tracing::debug!(file, rows, bytes = digest.bytes, "a shard is whole");
        let shard = Shard { file, range, rows, bytes: digest.bytes, sha256: digest.sha256 };
        let failed = self.journal_error();
        self.journal.add(shard, false).map_err(failed)?;
        Ok(Some((rows, digest.bytes)))
    }

    /// The next shard gets as many rows as are likely to fit.
    fn learn(&mut self, rows: u64, bytes: u64) {
        if rows > 0 {
            let fit =
                self.options.max_shard_bytes as u128 * u128::from(rows) * 7 / (u128::from(bytes.max(1)) * 10);
            let fit = u64::try_from(fit).unwrap_or(u64::MAX);
            // In a small shard, what every file has besides its rows counts for much.
            self.rows_per_shard = fit.clamp(1, self.rows_per_shard.saturating_mul(4));
        }
    }

    /// Looks at every shard beside the view as it is now, and makes those again of which something was taken back, and
    /// of the parent's those to which something was added. Gives the time as of which that holds of all of them: each
    /// was read, or looked at and found good, after it.
    async fn audit(&mut self) -> Result<String, BuildError> {
        let hello = query::hello(&self.options.source.client).await;
        let watermark = hello.map_err(|error| self.explain(error))?.now;
        for round in 1..=ROUNDS {
            let unseen: Vec<_> = self
                .journal
                .finished()
                .iter()
                .filter(|it| !self.audits.contains_key(&it.shard.file))
                .cloned()
                .collect();
            let mut progress = Progress::start("checking");
            progress.expect(unseen.iter().map(|it| it.shard.rows).sum());
            for pair in unseen.chunks(2) {
                // Taking a shard in keeps one processor of the server busy, and most have two.
                let (first, second) = tokio::join!(self.audit_one(&pair[0].shard), async {
                    match pair.get(1) {
                        Some(it) => self.audit_one(&it.shard).await.map(Some),
                        None => Ok(None),
                    }
                });
                for (it, audit) in pair.iter().zip([Some(first?), second?].into_iter().flatten()) {
                    let outdated = audit.revoked > 0 || it.reused && self.has_more(&it.shard, &audit).await?;
                    if outdated && round < ROUNDS {
                        let failed = self.journal_error();
                        self.journal.drop_range(it.shard.range).map_err(failed)?;
                    } else {
                        self.audits.insert(it.shard.file.clone(), audit);
                    }
                    progress.done(it.shard.rows, it.shard.bytes);
                }
            }
            drop(progress);
            if self.journal.gaps().is_empty() {
                break;
            }
            self.fill().await?;
        }
        Ok(watermark)
    }

    async fn audit_one(&self, shard: &Shard) -> Result<Audit, BuildError> {
        let (path, selection) = (self.path(&shard.file), self.selection());
        let external = &self.options.source.external;
        let audited = again(async || audit(external, &selection, shard.range, &path).await).await;
        match audited {
            Ok(audit) if audit.rows == shard.rows => {
                tracing::debug!(file = shard.file, revoked = audit.revoked, "a shard is checked");
                Ok(audit)
            }
            Ok(audit) => Err(BuildError::Miscounted { path, rows: shard.rows, read: audit.rows }),
            Err(source) => Err(BuildError::Audit { path, source }),
        }
    }

    /// Whether the view shows more of a range than the shard has.
    async fn has_more(&self, shard: &Shard, audit: &Audit) -> Result<bool, BuildError> {
        let selection = self.selection();
        let client = &self.options.source.client;
        let shown = again(async || query::count(client, &selection, shard.range).await).await;
        Ok(shown.map_err(|error| self.explain(error))? > audit.rows - audit.revoked)
    }

    /// Writes the manifest, records it, and puts the dataset in its place.
    async fn issue(mut self, watermark: String, resumed: usize) -> Result<Report, BuildError> {
        let hello = query::hello(&self.options.source.client).await;
        let now = hello.map_err(|error| self.explain(error))?.now;
        let manifest = self.manifest(watermark, now);
        let dataset = self.place.dataset();
        self.place.keep_only(manifest.shards.iter().map(|shard| shard.file.as_str()))?;
        let card_path = dataset.join(CARD_FILE);
        crate::spool::fs::write_atomically(&card_path, card(&manifest).as_bytes())
            .map_err(|source| BuildError::File { path: card_path, source })?;
        sync_dir(&self.path(DATA_DIR))?;
        // Last of all: what has a manifest is whole.
        let sha256 = manifest.write(&dataset)?;
        if let Some(recorder) = &self.options.recorder {
            recorder.issued(&manifest, &sha256).await?;
        }
        let failed = self.journal_error();
        self.journal.issue(sha256.clone()).map_err(failed)?;
        self.place.put_in_place(self.old.is_some())?;
        let reused = self.journal.finished().iter().filter(|it| it.reused).count();
        self.place.remove()?;
        Ok(Report { manifest, manifest_sha256: sha256, resumed, reused })
    }

    fn manifest(&mut self, watermark: String, now: String) -> Manifest {
        let job = self.journal.job().clone();
        let shards = self.shards();
        let mut tally = Tally::default();
        for shard in &shards {
            tally.merge(self.audits.remove(&shard.file).unwrap_or_default().tally);
        }
        let (format, format_version) = Manifest::form();
        Manifest {
            format,
            format_version,
            export_id: job.export_id,
            parent: job.parent,
            selection: job.selection,
            query: job.selection.rows(IdRange::ALL),
            recorded: self.options.recorder.is_some(),
            started_at: job.started_at,
            consent_watermark: watermark,
            created_at: now,
            creator: Creator {
                program: format!("assent {}", env!("CARGO_PKG_VERSION")),
                clickhouse_user: self.hello.user.clone(),
                clickhouse_version: self.hello.version.clone(),
            },
            rows: shards.iter().map(|shard| shard.rows).sum(),
            bytes: shards.iter().map(|shard| shard.bytes).sum(),
            partitions: tally
                .partitions
                .into_iter()
                .map(|((training_scope, day), rows)| Partition { training_scope, day, rows })
                .collect(),
            policies: tally
                .policies
                .into_iter()
                .map(|((policy_version, policy_digest), rows)| Policy { policy_version, policy_digest, rows })
                .collect(),
            redaction_versions: tally.redaction_versions,
            counts: tally.counts,
            schema: self.schema.clone(),
            shards,
        }
    }
}

/// Whether a file is what is said of it.
fn is_whole(path: &Path, shard: &Shard) -> bool {
    digest_of(path).is_ok_and(|digest| digest.bytes == shard.bytes && digest.sha256 == shard.sha256)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    fs::File::open(to)?.sync_all()
}

/// What may have gone wrong at the server, or on the way to it.
trait OfClickHouse {
    fn of_clickhouse(&self) -> Option<&clickhouse::Error>;
}

impl OfClickHouse for clickhouse::Error {
    fn of_clickhouse(&self) -> Option<&clickhouse::Error> {
        Some(self)
    }
}

impl OfClickHouse for StreamError {
    fn of_clickhouse(&self) -> Option<&clickhouse::Error> {
        match self {
            Self::ClickHouse(error) => Some(error),
            Self::File(_) => None,
        }
    }
}

impl OfClickHouse for ExternalError {
    fn of_clickhouse(&self) -> Option<&clickhouse::Error> {
        match self {
            Self::ClickHouse(error) => Some(error),
            _ => None,
        }
    }
}

/// Tries again what a fault of the network ended. What the server refused, it would refuse again.
async fn again<T, E: OfClickHouse>(mut work: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    use clickhouse::Error::{Interrupted, NotClickHouse, TimedOut, Unreachable};
    for pause in PAUSES {
        let error = match work().await {
            Err(error) => error,
            done => return done,
        };
        match error.of_clickhouse() {
            Some(fault @ (Unreachable(_) | Interrupted(_) | TimedOut | NotClickHouse(_))) => {
                tracing::warn!(error = %fault, "a query did not come to its end; trying again");
                tokio::time::sleep(pause).await;
            }
            _ => return Err(error),
        }
    }
    work().await
}
