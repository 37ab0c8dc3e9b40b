//! A real ClickHouse with nothing to install, for `dev`, `demo` and the tests.
//!
//! A `clickhouse` binary is used where there is one. Otherwise the engine comes as a shared
//! library, fetched once ([`package`]), and is served by this program's own binary, re-executed
//! ([`child`]). Either way the server is a child process that ends with its parent, listens on
//! loopback alone and keeps its data under one directory ([`server`]).
//!
//! ```text
//! LocalOptions ▸ engine (binary | library ◂ package ◂ fetch, unpack) ▸ config ▸ server ▸ child
//! ```
//!
//! This is not how to run ClickHouse in production: users have no passwords, and there is one
//! node.

use std::{path::PathBuf, time::Duration};

mod child;
mod config;
mod confine;
mod engine;
mod fetch;
mod lock;
mod package;
mod ports;
mod probe;
mod progress;
mod server;
mod unpack;

pub use child::{SUBCOMMAND, run_child};
pub use config::ConfigError;
pub use engine::{Engine, EngineError};
pub use fetch::FetchError;
pub use package::PackageError;
pub use ports::PortError;
pub use server::{LocalServer, LocalServerError};
pub use unpack::UnpackError;

/// What a user can do where the library is not to be had.
const INSTEAD: &str = "put a `clickhouse` binary on PATH, or name a running server with --clickhouse-url";

/// What a local server needs to know.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// Where data, logs and the generated configuration live. Created when missing; one server at
    /// a time.
    pub data_dir: PathBuf,
    /// The HTTP port on 127.0.0.1; 0 picks a free one.
    pub http_port: u16,
    /// The native protocol's port on 127.0.0.1; 0 picks a free one.
    pub tcp_port: u16,
    /// This program's own binary, which must answer to [`SUBCOMMAND`] with [`run_child`].
    pub executable: PathBuf,
    /// Where the engine's library is kept: by default `$XDG_CACHE_HOME` or `~/.cache`.
    pub cache_dir: Option<PathBuf>,
    /// A `clickhouse` binary; by default the first on `PATH`, then the library.
    pub clickhouse_binary: Option<PathBuf>,
    /// Files for `users.d`, by name (`assent.xml`) and content. When there are any, they are taken
    /// for the shipped roles, and example users that hold these roles are added.
    pub users_xml: Vec<(String, String)>,
    /// How far the server stands back where the processor is short, as in nice(2): 0 does not, 19 the furthest.
    pub niceness: u8,
    /// How long the server may take until it answers.
    pub start_timeout: Duration,
    /// Whether to show on stderr how a download gets on.
    pub progress: bool,
}

impl LocalOptions {
    /// Free ports, no roles, the default cache.
    #[must_use]
    pub fn new(data_dir: PathBuf, executable: PathBuf) -> Self {
        Self {
            data_dir,
            http_port: 0,
            tcp_port: 0,
            executable,
            cache_dir: None,
            clickhouse_binary: None,
            users_xml: Vec::new(),
            niceness: 0,
            start_timeout: Duration::from_secs(60),
            progress: true,
        }
    }
}
