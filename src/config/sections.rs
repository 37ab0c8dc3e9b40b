//! The sections of the configuration and their defaults. What a key means stands here and nowhere else.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::redaction::Action;

use super::units::{ByteSize, Secret, Span};

/// The gRPC listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingress {
    /// Where it listens; port 0 picks a free one.
    pub grpc_addr: SocketAddr,
    /// The largest request, compressed or not.
    pub max_request_bytes: ByteSize,
    /// The events of one request that are looked at; those after are rejected one by one.
    pub max_events_per_request: u32,
    /// The longest text of an event.
    pub max_text_bytes: ByteSize,
    /// How far ahead of this collector's clock an event may lie.
    pub max_ahead: Span,
    /// How old an event may be.
    pub max_age: Span,
    /// Requests under way at once on one connection.
    pub max_concurrent_streams: u32,
    /// How old a connection or a `CollectStream` gets, give or take a tenth, before clients are asked to
    /// make another, so that they come to collectors that are new behind a balancer of connections;
    /// without it, any age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connection_age: Option<Span>,
    /// How long a collector that was told to stop goes on serving while it says that it is not ready, so
    /// that balancers send nobody any more; 5 s when not given, and nothing on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_grace: Option<Span>,
    /// Connections at once; those beyond are closed as soon as they are made. What clients sent and nobody has
    /// read yet is 1 MiB of each at most.
    pub max_connections: u32,
    /// What requests may take in memory while they arrive: their length, and 32 KiB each. From half of it on,
    /// connections and tenants get shares of it; beyond it, requests are refused. What is accepted waits about as long
    /// as the collector takes to work through so much.
    pub max_in_flight_bytes: ByteSize,
    /// How long a request, or a message of a stream, may take to arrive whole.
    pub receive_timeout: Span,
    /// Certificate and key; without them, plain text on loopback alone.
    pub tls: Option<Tls>,
    /// Allows a listener beyond loopback without TLS.
    pub insecure_no_tls: bool,
    /// Allows a listener beyond loopback without API keys.
    pub insecure_no_auth: bool,
}

/// Certificate and key of the gRPC listener, PEM.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// The HTTP listener for health and metrics.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens; port 0 picks a free one.
    pub addr: SocketAddr,
    /// Allows it beyond loopback. It has neither TLS nor authentication, and shows counts alone.
    pub insecure_listen_beyond_loopback: bool,
}

/// The ClickHouse server to write to.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouse {
    /// Its HTTP interface.
    pub url: String,
    /// Whether somebody gave the URL; `dev` and `demo` bring a server of their own if not.
    #[serde(skip)]
    pub url_given: bool,
    /// The database of all tables.
    pub database: String,
    /// The user; needs the role `assent_collector`.
    pub user: String,
    /// The user's password; best given by `ASSENT_CLICKHOUSE__PASSWORD`.
    pub password: Secret,
    /// How long one insert may take.
    pub insert_timeout: Span,
    /// How long one query may take.
    pub query_timeout: Span,
    /// What the tables do before they confirm an insert. `assent migrate` sees to it; a collector says so
    /// when they don't.
    pub durability: Durability,
    /// How many replicas must have an insert before it is confirmed: 0 for no quorum, a number from 2
    /// on, or `auto` for more than half. Means nothing without Replicated tables.
    pub insert_quorum: InsertQuorum,
}

pub use crate::clickhouse::{Durability, InsertQuorum};

/// The local ClickHouse of `dev` and `demo`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalClickHouse {
    /// Its HTTP port; 0 picks a free one.
    pub http_port: u16,
    /// Its native port; 0 picks a free one.
    pub tcp_port: u16,
    /// How far it stands back where the collector wants the same processors, as in nice(2): 0 does not, 19
    /// the furthest. Inserting and merging can wait, a client that waits for its acknowledgement should not.
    pub niceness: u8,
}

/// The view of consent that every collector keeps.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consent {
    /// How often the ledger's tail is read.
    pub refresh_interval: Span,
    /// The oldest view that may still make a row eligible.
    pub max_staleness: Span,
    /// The longest time that a try of a ledger write may take; 10 s at most, since every collector's tail
    /// re-reads three times as much.
    pub ledger_timeout: Span,
}

pub use crate::consent::receipt::Controller;

/// Where the policy comes from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFile {
    /// The policy file, or a folder with one for each version; without it, the shipped
    /// `opt-in-everywhere`.
    pub file: Option<PathBuf>,
    /// How often the file or folder is looked at for changes.
    pub reload_interval: Span,
}

/// The key of the pseudonyms.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pseudonym {
    /// The key file; `DATA_DIR/keys/pseudonym.key` when not given. Made with mode 0600 when it does
    /// not exist. Collectors that share a ClickHouse must share the key.
    pub key_file: Option<PathBuf>,
    /// The key itself, in the key file's form (one key; several are refused); best given by `ASSENT_PSEUDONYM__KEY`.
    pub key: Secret,
}

/// The durable queue.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// A segment file is closed when it is larger.
    pub segment_bytes: ByteSize,
    /// The most that may lie on disk; beyond it, requests are refused until delivery has caught up.
    pub max_bytes: ByteSize,
    /// From here on, a tenant that holds its share is refused, so that there is room for the others; four fifths
    /// of `max_bytes` when not given. It means nothing where there is one tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_bytes: Option<ByteSize>,
    /// The most that may wait in memory for the next commit.
    pub max_pending_bytes: ByteSize,
    /// When a commit is made durable.
    pub fsync: Fsync,
    /// The time between two fsyncs with `fsync = "interval"`.
    pub fsync_interval: Span,
}

/// When a commit is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// Before the acknowledgement. Loses nothing.
    EveryCommit,
    /// Every so often. A power cut loses what was acknowledged since; kill -9 loses nothing.
    Interval,
    /// When the system likes. A power cut may lose anything undelivered; kill -9 loses nothing.
    Never,
}

/// From the spool to ClickHouse.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// The most rows of one insert.
    pub max_rows: u32,
    /// The most bytes of one insert, compressed as they lie in the spool. A row of typed text takes about 200.
    pub max_bytes: ByteSize,
    /// The most inserts that are under way at once, each with up to `max_bytes` in memory.
    pub max_in_flight: u32,
    /// How long a row may wait for company.
    pub max_age: Span,
    /// The longest pause between two tries of an insert.
    pub max_backoff: Span,
    /// How long a stopping collector answers and delivers, after `ingress.drain_grace`; the rest keeps
    /// in the spool.
    pub drain_timeout: Span,
}

/// How people are erased.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Erasure {
    /// The time between two rounds, each of which removes the rows of all open erasures from the tables by one
    /// mutation a table.
    pub interval: Span,
    /// How long whom an erasure is about is kept after it was completed, so that rows which a collector that nobody
    /// knew of brings later are dropped.
    pub grace: Span,
    /// The ClickHouse user that removes rows and reads reports; needs the role `assent_eraser`. That of
    /// `clickhouse.user` when empty.
    pub clickhouse_user: String,
    /// Its password; best given by `ASSENT_ERASURE__CLICKHOUSE_PASSWORD`.
    pub clickhouse_password: Secret,
    /// How long one of its queries may take, or a report may be silent.
    pub query_timeout: Span,
}

/// A tenant and its API keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// Its name, as in the column `tenant`.
    pub name: String,
    /// SHA-256 of each of its API keys, 64 hexadecimal digits.
    pub api_key_sha256: Vec<String>,
    /// The same of keys that may erase its people and read what is held about them, besides all that an API key may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub privacy_key_sha256: Vec<String>,
    /// Who decides about the processing, for receipts; that of the top level when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// What is found in its texts and what becomes of it, besides what the top level says.
    #[serde(default, skip_serializing_if = "Redaction::is_empty")]
    pub redaction: Redaction,
}

/// What is found in texts besides what the shipped rules find, and what becomes of what is found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redaction {
    /// Files of rules, at most 256 KiB each; docs/redaction.md has their form.
    pub rules_files: Vec<PathBuf>,
    /// By the name of what is found: `placeholder` (without this), `hash`, or `drop` the event.
    pub actions: BTreeMap<String, Action>,
}

impl Redaction {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules_files.is_empty() && self.actions.is_empty()
    }
}

/// Logs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// What is logged, in the form of `tracing`'s `EnvFilter`.
    pub log: String,
    /// How it is written.
    pub log_format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

const fn seconds(n: u64) -> Span {
    Span(Duration::from_secs(n))
}

/// What a balancer that asks every two seconds needs to hear it twice.
const DRAIN_GRACE: Duration = Duration::from_secs(5);

impl Ingress {
    /// How long a collector that was told to stop goes on serving.
    #[must_use]
    pub fn drain_grace(&self) -> Duration {
        let default = if self.grpc_addr.ip().is_loopback() { Duration::ZERO } else { DRAIN_GRACE };
        self.drain_grace.map_or(default, |span| span.0)
    }
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            grpc_addr: SocketAddr::from(([127, 0, 0, 1], 50051)),
            max_request_bytes: ByteSize(8 << 20),
            max_events_per_request: 10_000,
            max_text_bytes: ByteSize(64 << 10),
            max_ahead: seconds(5 * 60),
            max_age: seconds(30 * 86_400),
            max_concurrent_streams: 256,
            max_connection_age: None,
            drain_grace: None,
            max_connections: 1024,
            max_in_flight_bytes: ByteSize(32 << 20),
            receive_timeout: seconds(60),
            tls: None,
            insecure_no_tls: false,
            insecure_no_auth: false,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { addr: SocketAddr::from(([127, 0, 0, 1], 9464)), insecure_listen_beyond_loopback: false }
    }
}

impl Default for ClickHouse {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".to_owned(),
            url_given: false,
            database: "assent".to_owned(),
            user: "default".to_owned(),
            password: Secret::default(),
            insert_timeout: seconds(60),
            query_timeout: seconds(30),
            durability: Durability::Fsync,
            insert_quorum: InsertQuorum::None,
        }
    }
}

impl Default for LocalClickHouse {
    fn default() -> Self {
        Self { http_port: 8123, tcp_port: 9000, niceness: 10 }
    }
}

impl Default for Consent {
    fn default() -> Self {
        Self {
            refresh_interval: Span(Duration::from_millis(200)),
            max_staleness: seconds(5),
            ledger_timeout: seconds(5),
        }
    }
}

impl Default for PolicyFile {
    fn default() -> Self {
        Self { file: None, reload_interval: seconds(5) }
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            segment_bytes: ByteSize(64 << 20),
            max_bytes: ByteSize(10 << 30),
            soft_bytes: None,
            max_pending_bytes: ByteSize(32 << 20),
            fsync: Fsync::EveryCommit,
            fsync_interval: Span(Duration::from_millis(100)),
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            max_rows: 100_000,
            max_bytes: ByteSize(32 << 20),
            max_in_flight: 3,
            max_age: seconds(1),
            max_backoff: seconds(15),
            drain_timeout: seconds(10),
        }
    }
}

impl Default for Erasure {
    fn default() -> Self {
        Self {
            interval: seconds(30),
            grace: seconds(7 * 86_400),
            clickhouse_user: String::new(),
            clickhouse_password: Secret::default(),
            query_timeout: seconds(10 * 60),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned(), log_format: LogFormat::Text }
    }
}
