//! `assent export`: datasets for training, out of ClickHouse, and whether they may still be used.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use secrecy::SecretString;

use crate::{
    clickhouse,
    config::{
        Config,
        units::{ByteSize, Span},
    },
    export::{
        self, Day, MANIFEST_FILE, Report, Scope, Selection, Source, WITHDRAWN_FILE, build,
        record::Recorder,
        revocations::Line,
        verify::{Verified, VerifyError},
    },
};

/// The exit code of a dataset with rows that may no longer be trained on.
const EXIT_REVOKED: u8 = 3;
/// That of one that is damaged, or none.
const EXIT_DAMAGED: u8 = 4;
/// The smallest bound of a shard: what a Parquet file of no rows takes, and some.
const MIN_SHARD_BYTES: ByteSize = ByteSize(64 << 10);
/// The largest. ClickHouse takes a form of 1 GiB at most, and holds the shard in memory.
const MAX_SHARD_BYTES: ByteSize = ByteSize(512 << 20);

/// Make a dataset of the rows that may train a model, as Parquet with a manifest
///
/// Reads as the ClickHouse user of the configuration, who needs the ML role of the scope and nothing else. Killed or
/// failed, it goes on when the same command is run again. DIR appears when the dataset is whole.
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(super) struct Export {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    create: Option<Create>,
    #[command(flatten)]
    making: Making,
    /// How long ClickHouse may be silent before that is an error
    #[arg(long, global = true, value_name = "SPAN", default_value = "10m")]
    patience: Span,
}

/// What a new dataset is of.
#[derive(Debug, Args)]
struct Create {
    /// Who is to train on it
    #[arg(long, value_enum)]
    scope: Scope,
    /// The first day of receipt (UTC), such as 2026-01-01
    #[arg(long, value_name = "DAY")]
    from: Day,
    /// The last day of receipt (UTC), itself included
    #[arg(long, value_name = "DAY")]
    to: Day,
    /// The folder that the dataset becomes
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// How a dataset is made and recorded.
#[derive(Debug, Args)]
struct Making {
    /// The longest shard. ClickHouse holds one in memory when it checks it
    #[arg(long, global = true, value_name = "SIZE", default_value = "128MiB")]
    max_shard_bytes: ByteSize,
    /// The ClickHouse user who records the export, with the role assent_exporter [default: the one who reads]
    #[arg(long, global = true, env = "ASSENT_RECORDER_USER", value_name = "USER")]
    recorder_user: Option<String>,
    /// That user's password; the environment variable keeps it out of the process list
    #[arg(
        long,
        global = true,
        env = "ASSENT_RECORDER_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        requires = "recorder_user"
    )]
    recorder_password: Option<SecretString>,
    /// Leave no record of the export in ClickHouse
    #[arg(long, global = true, conflicts_with = "recorder_user")]
    unrecorded: bool,
}

/// What can be done with a dataset.
#[derive(Debug, Subcommand)]
enum Action {
    /// Check a dataset's files, and every row against today's consent
    ///
    /// Exit code 3 when rows may no longer be trained on, which are then listed; 4 when the dataset is damaged or has no
    /// manifest.
    Verify {
        /// The dataset
        dir: PathBuf,
        /// Where such rows are listed [default: DIR/withdrawn.parquet]
        #[arg(long, value_name = "FILE")]
        list: Option<PathBuf>,
    },
    /// Bring a dataset up to date: without what was taken back, with what is new
    ///
    /// The old one stays in its place until the new one is whole; then both are exchanged in one step.
    Refresh {
        /// The dataset
        dir: PathBuf,
        /// A later last day of receipt than it has
        #[arg(long, value_name = "DAY")]
        to: Option<Day>,
    },
    /// Print the rows of a dataset that may no longer be used, as lines of JSON, and how far that goes
    Revocations {
        /// The dataset's manifest, beside its data
        #[arg(long, value_name = "MANIFEST")]
        since: PathBuf,
        /// Remembers what was printed, so that each row is printed once
        #[arg(long, value_name = "FILE")]
        cursor: Option<PathBuf>,
    },
}

/// A dataset was looked at and is not to be used as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// Rows were taken back.
    #[error("{revoked} of {rows} rows may no longer be trained on; `assent export refresh` drops them")]
    Revoked {
        /// How many.
        revoked: u64,
        /// Of how many.
        rows: u64,
    },
    /// It is damaged, or none.
    #[error(transparent)]
    Damaged(VerifyError),
}

impl Unusable {
    /// The exit code that says so.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Revoked { .. } => EXIT_REVOKED,
            Self::Damaged(_) => EXIT_DAMAGED,
        }
    }
}

pub(super) async fn run(config: &Config, command: Export) -> anyhow::Result<()> {
    let clickhouse = clickhouse::Options { query_timeout: command.patience.0, ..config.clickhouse_options() };
    let source = Source::new(&clickhouse)?;
    match (command.action, command.create) {
        (None, None) => anyhow::bail!("nothing to do: see `assent export --help`"),
        (None, Some(Create { scope, from, to, out })) => {
            let options = command.making.options(source, clickhouse)?;
            let selection = Selection { scope, from_day: from, to_day: to };
            let report = export::create(&options, selection, &out).await.context("no dataset was made")?;
            describe(&report, &out);
            Ok(())
        }
        (Some(Action::Refresh { dir, to }), _) => {
            let options = command.making.options(source, clickhouse)?;
            let report = export::refresh(&options, &dir, to).await.context("the dataset is as it was")?;
            describe(&report, &dir);
            Ok(())
        }
        (Some(Action::Verify { dir, list }), _) => {
            let list = list.unwrap_or_else(|| dir.join(WITHDRAWN_FILE));
            match export::verify(&source, &dir, &list).await {
                Ok(verified) => judge(&verified, &list),
                Err(error) if error.is_damage() => Err(Unusable::Damaged(error).into()),
                Err(error) => Err(error.into()),
            }
        }
        (Some(Action::Revocations { since, cursor }), _) => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            let print = |line: Option<&Line<'_>>| match line {
                Some(line) => {
                    serde_json::to_writer(&mut out, line)?;
                    out.write_all(b"\n")
                }
                None => out.flush(),
            };
            Ok(export::revocations(&source, &since, cursor.as_deref(), print).await?)
        }
    }
}

impl Making {
    fn options(self, source: Source, reader: clickhouse::Options) -> anyhow::Result<build::Options> {
        if self.max_shard_bytes < MIN_SHARD_BYTES || MAX_SHARD_BYTES < self.max_shard_bytes {
            anyhow::bail!("--max-shard-bytes is not between {MIN_SHARD_BYTES} and {MAX_SHARD_BYTES}");
        }
        let recorder = match (self.unrecorded, self.recorder_user) {
            (true, _) => None,
            (false, None) => Some(Recorder::new(&reader)?),
            (false, Some(user)) => {
                let password = self.recorder_password.unwrap_or_else(|| SecretString::from(""));
                Some(Recorder::new(&clickhouse::Options {
                    user,
                    password,
                    query_timeout: Duration::from_secs(30),
                    ..reader
                })?)
            }
        };
        Ok(build::Options { source, recorder, max_shard_bytes: self.max_shard_bytes.0 })
    }
}

fn describe(report: &Report, out: &Path) {
    let manifest = &report.manifest;
    println!(
        "{}: {} rows in {} shards, {} bytes",
        out.display(),
        manifest.rows,
        manifest.shards.len(),
        manifest.bytes
    );
    if report.resumed > 0 {
        println!("{} shards were there from a run before", report.resumed);
    }
    if manifest.parent.is_some() {
        println!("{} shards are those of the dataset before", report.reused);
    }
    println!("consent as of {} UTC", manifest.consent_watermark);
    println!("export {}, {} with SHA-256 {}", manifest.export_id, MANIFEST_FILE, report.manifest_sha256);
}

fn judge(verified: &Verified, list: &Path) -> anyhow::Result<()> {
    println!("{} rows, checked against consent as of {} UTC", verified.rows, verified.watermark);
    if verified.revoked == 0 {
        println!("all of them may be trained on");
        return Ok(());
    }
    for (status, rows) in &verified.by_status {
        println!("{}: {rows}", status.as_str());
    }
    println!("listed in {}", list.display());
    if verified.listed < verified.revoked {
        println!("of these, {} are listed: do not use the dataset at all before a refresh", verified.listed);
    }
    Err(Unusable::Revoked { revoked: verified.revoked, rows: verified.rows }.into())
}
