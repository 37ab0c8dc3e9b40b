//! From the spool to ClickHouse.
//!
//! One loop plans, and keeps a few inserts in flight:
//!
//! 1. Note how far the spool is durable, and the local time; wait until the consent watermark has
//!    passed that time, so that every change acknowledged before the receipt of any of these rows
//!    is known (`horizon`).
//! 2. Read frames ([`frame`]) up to the limits of an insert, and decide their eligible rows again
//!    ([`seal`](mod@seal)). Their blocks are compressed already; what may be narrowed lies apart.
//! 3. Make the plan durable ([`state`]), then insert under a token that depends on positions alone
//!    (`insert`). What is transient or unknown is tried again for ever, byte for byte, with fewer
//!    inserts in flight while ClickHouse is overloaded (`pace`). After a restart the plans on disk are
//!    carried out before new ones are made. When an insert that may have been there before is
//!    confirmed, its rows are looked for (`proof`).
//! 4. What ClickHouse refuses for good is halved until it takes all but the rows to blame ([`split`]),
//!    and those are put into quarantine ([`quarantine`]). The halves are part of the plan, so a
//!    restart goes on with the same halves.
//! 5. Make the cursor durable, and let the spool remove what lies before it. Inserts may end in any
//!    order; the cursor passes an insert when all before it have ended too.
//!
//! On a full disk, state and quarantine are written with the room of the spool's reserve. If that is spent
//! too, delivery waits for room.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    clickhouse::Client,
    consent::{PolicyStore, Replica},
    spool::{self, Position},
};

mod background;
pub(crate) mod backoff;
mod batch;
mod body;
mod encoded;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod horizon;
mod insert;
mod pace;
mod proof;
pub mod quarantine;
mod run;
pub mod seal;
mod search;
pub mod split;
pub mod state;

pub use body::BodyError;
pub use encoded::{EncodedEvents, EventBatch, EventEncoders};
pub use frame::EventEncoder;
pub use state::{StateError, StateFile};

/// How delivery batches and retries.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most rows of one insert.
    pub max_rows: u32,
    /// The most bytes of one insert, compressed as they lie in the spool.
    pub max_bytes: u64,
    /// The most inserts that are under way at once.
    pub max_in_flight: usize,
    /// How long a row may wait for company.
    pub max_age: Duration,
    /// The longest pause between two tries.
    pub max_backoff: Duration,
    /// Where refused rows are kept.
    pub quarantine_dir: PathBuf,
}

/// What delivery cannot go on after.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Its state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The spool cannot be read.
    #[error("the spool cannot be read")]
    Read(#[from] spool::ReadError),
    /// A frame cannot be understood.
    #[error("the frame at {position} of the spool cannot be delivered")]
    Frame {
        /// Where it is.
        position: u64,
        /// Why.
        source: frame::FrameError,
    },
    /// A refused block cannot be taken apart, or not be put aside.
    #[error("an insert from {start} to {end} was refused, and its blocks cannot be taken apart")]
    Block {
        /// Where the insert starts in the spool.
        start: u64,
        /// Where it ends.
        end: u64,
        /// Why.
        source: BodyError,
    },
    /// The plan on disk does not fit the spool.
    #[error(
        "the plan of an insert from {start} to {end} does not fit the frames in the spool; \
         somebody changed the spool's files while assent was down"
    )]
    PlanMismatch {
        /// Where the plan starts.
        start: u64,
        /// Where the plan ends.
        end: u64,
    },
    /// Refused rows cannot be put aside.
    #[error("refused rows cannot be kept in {path}: {source}")]
    Quarantine {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A blocking task panicked.
    #[error("a part of delivery panicked")]
    Panicked(#[from] tokio::task::JoinError),
    /// What prepares inserts panicked.
    #[error(transparent)]
    Worker(#[from] background::WorkerPanicked),
    /// There is no room for a thread.
    #[error("the thread that prepares inserts cannot be started")]
    Thread(#[source] std::io::Error),
    /// The spool was swapped for another one.
    #[error(
        "delivery's state belongs to another spool: put the spool's folder back, or remove delivery.json in it"
    )]
    OtherSpool,
}

/// What delivery is put together from.
pub struct Parts {
    /// How it batches and retries.
    pub options: Options,
    /// Where the rows go.
    pub client: Client,
    /// Where they come from.
    pub reader: Arc<spool::Reader>,
    /// What the state is written with on a full disk.
    pub reserve: spool::Reserve,
    /// Where the state lies.
    pub file: StateFile,
    /// The state, as it was found there.
    pub state: state::State,
    /// The view of consent that rows are sealed against.
    pub replica: Replica,
    /// The policies that decide at the seal.
    pub policies: Arc<PolicyStore>,
}

/// Delivery, ready to run.
pub struct Delivery {
    options: Options,
    client: Client,
    reader: Arc<spool::Reader>,
    reserve: spool::Reserve,
    file: StateFile,
    state: state::State,
    /// The state as it is on the disk; none if that is not known.
    stored: Option<state::State>,
    /// Everything before it belongs to a plan, or is done.
    planned: Position,
    /// Where those plans start whose inserts are in flight.
    under_way: HashSet<u64>,
    /// Where those plans start that were found on the disk and not begun again yet.
    inherited: HashSet<u64>,
    /// How far rows of the erased are looked for.
    search: search::Search,
    pace: Arc<pace::Pace>,
    background: background::Background,
    replica: Replica,
    policies: Arc<PolicyStore>,
    cursor: watch::Sender<Position>,
    horizon: horizon::Horizon,
    finished: CancellationToken,
}

/// Watches and ends a delivery that runs.
#[derive(Clone, Debug)]
pub struct Handle {
    cursor: watch::Receiver<Position>,
    held_since: watch::Receiver<Option<Instant>>,
    finish: CancellationToken,
    finished: CancellationToken,
}

impl Handle {
    /// Everything before it is in ClickHouse, or in quarantine.
    #[must_use]
    pub fn cursor(&self) -> Position {
        *self.cursor.borrow()
    }

    /// Since when durable rows have been waiting for the consent watermark; none when none waits.
    #[must_use]
    pub fn held_since(&self) -> Option<Instant> {
        *self.held_since.borrow()
    }

    /// Asks delivery to end once all that is durable in the spool is delivered. Nothing may be
    /// appended any more.
    pub fn finish(&self) {
        self.finish.cancel();
    }

    /// Resolves when delivery has ended.
    pub async fn finished(&self) {
        self.finished.cancelled().await;
    }
}
