//! Datasets for training: Parquet shards and a manifest, out of a training view.
//!
//! ```text
//! plan a gap ─▶ stream a range of ids into a shard ─▶ journal ─┐ until no gap is left
//!      ▲                                                       │
//!      └──── drop what consent no longer covers ◀── audit each ┘ ─▶ manifest ─▶ record ─▶ put in place
//! ```
//!
//! - [`range`] cuts the space of event ids, [`shard`] writes what ClickHouse streams of one range, [`footer`] counts
//!   its rows;
//! - [`audit`] lets the server read a shard beside the view as it is now: what it holds, and what of it was taken
//!   back. Export, [`verify`], refresh and [`revocations`] all go by it;
//! - [`journal`] and [`place`] make an export that was killed go on, and a dataset appear at once;
//! - [`build`] does all that in order. [`query`] has the SQL, [`manifest`] and [`card`] describe a dataset to programs
//!   and to people, [`record`] tells `exports`.
//!
//! No Parquet is decoded here: ClickHouse writes and reads it. Why it is built so: docs/adr/0013-exports.md.

pub mod audit;
pub mod build;
pub mod card;
pub mod day;
pub mod footer;
pub mod journal;
pub mod manifest;
pub mod place;
mod progress;
pub mod query;
pub mod range;
pub mod record;
pub mod revocations;
pub mod shard;
pub mod verify;

pub use build::{BuildError, Report, create, refresh};
pub use card::CARD_FILE;
pub use day::Day;
pub use journal::Job;
pub use manifest::{MANIFEST_FILE, Manifest, ManifestError, Parent, Shard, Tally};
pub use query::{Scope, Selection};
pub use range::IdRange;
pub use revocations::{RevocationsError, revocations};
pub use verify::{VerifyError, verify};

use crate::clickhouse::{self, Client, ExternalClient, ExternalError};

/// The folder of the shards.
pub const DATA_DIR: &str = "data";
/// What a shard's file begins with in a manifest.
pub const DATA_PREFIX: &str = "data/";
/// Where `verify` lists rows, unless it is told otherwise.
pub const WITHDRAWN_FILE: &str = "withdrawn.parquet";

/// How to reach the server that a dataset comes from.
#[derive(Clone, Debug)]
pub struct Source {
    client: Client,
    external: ExternalClient,
    user: String,
}

impl Source {
    /// As the user of these options, whose `query_timeout` is how long the server may be silent.
    ///
    /// # Errors
    /// The URL is not one, or there are no certificates to check servers by.
    pub fn new(options: &clickhouse::Options) -> Result<Self, ExternalError> {
        Ok(Self {
            // Parquet is compressed.
            client: Client::new(options)?.without_compression(),
            external: ExternalClient::new(options)?,
            user: options.user.clone(),
        })
    }

    /// Says what to do about a view that could not be read.
    fn explain(&self, scope: Scope, source: clickhouse::Error) -> ReadError {
        let (view, user) = (scope.view(), self.user.clone());
        match source.code() {
            Some(ACCESS_DENIED) => ReadError::Refused { view, user, scope: scope.as_str(), source },
            Some(UNKNOWN_TABLE | UNKNOWN_DATABASE) => ReadError::NoView { view, source },
            _ => ReadError::ClickHouse { view, source },
        }
    }
}

const ACCESS_DENIED: u32 = 497;
const UNKNOWN_TABLE: u32 = 60;
const UNKNOWN_DATABASE: u32 = 81;

/// A view that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The user has no right to.
    #[error(
        "the ClickHouse user {user:?} may not read {view}: exports of {scope} take the role assent_ml_{scope} \
         (schemas/roles.sql)"
    )]
    Refused {
        /// The view.
        view: &'static str,
        /// As whom it was tried.
        user: String,
        /// The scope.
        scope: &'static str,
        /// What the server said.
        source: clickhouse::Error,
    },
    /// It is not there.
    #[error("{view} is not there: run `assent migrate`")]
    NoView {
        /// The view.
        view: &'static str,
        /// What the server said.
        source: clickhouse::Error,
    },
    /// Anything else.
    #[error("{view} cannot be read")]
    ClickHouse {
        /// The view.
        view: &'static str,
        /// Why.
        source: clickhouse::Error,
    },
}
