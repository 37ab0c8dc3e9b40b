//! The configuration: a TOML file, then `ASSENT_…` environment variables, then flags.
//!
//! It is parsed and checked whole before anything binds or connects. Each section has a default for
//! every key, an unknown key is an error, and an error names the path of its key. A key
//! `section.key` is set by the environment variable `ASSENT_SECTION__KEY`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

pub mod units;

use units::{ByteSize, Secret, Span};

use crate::{pipeline, spool};

/// The prefix of environment variables.
const ENV_PREFIX: &str = "ASSENT_";

/// The whole configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the spool, the key, and the local ClickHouse's data lie.
    pub data_dir: PathBuf,
    /// The gRPC listener.
    pub ingress: Ingress,
    /// The HTTP listener for health and metrics.
    pub admin: Admin,
    /// The ClickHouse server to write to.
    pub clickhouse: ClickHouse,
    /// The local ClickHouse of `dev` and `demo`.
    pub local_clickhouse: LocalClickHouse,
    /// The view of consent.
    pub consent: Consent,
    /// What silence means, and the rest of the policy.
    pub policy: PolicyFile,
    /// The key of the pseudonyms.
    pub pseudonym: Pseudonym,
    /// The durable queue.
    pub spool: Spool,
    /// From the spool to ClickHouse.
    pub delivery: Delivery,
    /// Who may send. With none, everyone is the tenant `local`, on loopback alone.
    pub tenants: Vec<TenantConfig>,
    /// Logs.
    pub telemetry: Telemetry,
}

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
}

/// The local ClickHouse of `dev` and `demo`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalClickHouse {
    /// Its HTTP port; 0 picks a free one.
    pub http_port: u16,
    /// Its native port; 0 picks a free one.
    pub tcp_port: u16,
}

/// The view of consent that every collector keeps.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consent {
    /// How often the ledger's tail is read.
    pub refresh_interval: Span,
    /// The oldest view that may still make a row eligible.
    pub max_staleness: Span,
    /// The longest time that a ledger write may take; the tail re-reads more than that.
    pub ledger_timeout: Span,
}

/// Where the policy comes from.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFile {
    /// The policy file; without one, the shipped `opt-in-everywhere`.
    pub file: Option<PathBuf>,
}

/// The key of the pseudonyms.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pseudonym {
    /// The key file; `DATA_DIR/keys/pseudonym.key` when not given. Made with mode 0600 when it does
    /// not exist. Collectors that share a ClickHouse must share the key.
    pub key_file: Option<PathBuf>,
    /// The key itself, in the key file's form; best given by `ASSENT_PSEUDONYM__KEY`.
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
    /// The most bytes of one insert.
    pub max_bytes: ByteSize,
    /// How long a row may wait for company.
    pub max_age: Span,
    /// The longest pause between two tries of an insert.
    pub max_backoff: Span,
    /// How long a stopping collector tries to deliver what is spooled; the rest keeps in the spool.
    pub drain_timeout: Span,
}

/// A tenant and its API keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TenantConfig {
    /// Its name, as in the column `tenant`.
    pub name: String,
    /// SHA-256 of each of its API keys, 64 hexadecimal digits.
    pub api_key_sha256: Vec<String>,
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

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there, or cannot be read.
    #[error("the configuration file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not TOML: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key has a value that it cannot have.
    #[error("{key}: {message}")]
    Key {
        /// The path of the key, such as `ingress.grpc_addr`.
        key: String,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl ConfigError {
    /// An error of one key.
    pub fn key(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Key { key: key.into(), message: message.into() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./.assent"),
            ingress: Ingress::default(),
            admin: Admin::default(),
            clickhouse: ClickHouse::default(),
            local_clickhouse: LocalClickHouse::default(),
            consent: Consent::default(),
            policy: PolicyFile::default(),
            pseudonym: Pseudonym::default(),
            spool: Spool::default(),
            delivery: Delivery::default(),
            tenants: Vec::new(),
            telemetry: Telemetry::default(),
        }
    }
}

const fn seconds(n: u64) -> Span {
    Span(Duration::from_secs(n))
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
        }
    }
}

impl Default for LocalClickHouse {
    fn default() -> Self {
        Self { http_port: 8123, tcp_port: 9000 }
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

impl Default for Spool {
    fn default() -> Self {
        Self {
            segment_bytes: ByteSize(64 << 20),
            max_bytes: ByteSize(10 << 30),
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
            max_bytes: ByteSize(48 << 20),
            max_age: seconds(1),
            max_backoff: seconds(15),
            drain_timeout: seconds(10),
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned(), log_format: LogFormat::Text }
    }
}

impl Config {
    /// Reads the file, lays the environment over it and the flags over both, and checks the whole.
    ///
    /// `flags` are pairs of a key's path and its value.
    ///
    /// # Errors
    /// The first key, in the order of the sections, that cannot be used.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: Vec<(&str, Value)>,
    ) -> Result<Self, ConfigError> {
        let mut table = match file {
            None => Table::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
                toml::from_str(&text).map_err(|source| ConfigError::Syntax {
                    path: path.to_owned(),
                    source: Box::new(source),
                })?
            }
        };
        let defaults = Defaults::new();
        for (name, text) in env {
            if let Some(key) = env_key(&name) {
                let value = env_value(&text, defaults.get(&key));
                set(&mut table, &key, value)?;
            }
        }
        for (key, value) in flags {
            set(&mut table, key, value)?;
        }
        let url_given = table.get("clickhouse").and_then(|section| section.get("url")).is_some();
        let mut config: Self = serde_path_to_error::deserialize(table).map_err(|error| {
            let path = error.path().to_string();
            let message = error.inner().message().to_owned();
            ConfigError::key(if path == "." { "the configuration".to_owned() } else { path }, message)
        })?;
        config.clickhouse.url_given = url_given;
        config.validate()?;
        Ok(config)
    }

    /// The checks that a type cannot make.
    fn validate(&self) -> Result<(), ConfigError> {
        let ingress = &self.ingress;
        let beyond_loopback = !ingress.grpc_addr.ip().is_loopback();
        if beyond_loopback && self.tenants.is_empty() && !ingress.insecure_no_auth {
            return Err(ConfigError::key(
                "ingress.grpc_addr",
                format!(
                    "{} is beyond loopback, and no tenant has an API key: add [[tenants]] with \
                     api_key_sha256, or set ingress.insecure_no_auth",
                    ingress.grpc_addr
                ),
            ));
        }
        if beyond_loopback && ingress.tls.is_none() && !ingress.insecure_no_tls {
            return Err(ConfigError::key(
                "ingress.grpc_addr",
                format!(
                    "{} is beyond loopback, without TLS: set ingress.tls.cert_file and \
                     ingress.tls.key_file, or ingress.insecure_no_tls behind a proxy that ends TLS",
                    ingress.grpc_addr
                ),
            ));
        }
        if !self.admin.addr.ip().is_loopback() && !self.admin.insecure_listen_beyond_loopback {
            return Err(ConfigError::key(
                "admin.addr",
                format!(
                    "{} is beyond loopback, and the admin listener has neither TLS nor authentication: \
                     set admin.insecure_listen_beyond_loopback if nobody else can reach it",
                    self.admin.addr
                ),
            ));
        }
        let url = self.clickhouse.url.parse::<http::Uri>().ok();
        let Some(url) = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https"))) else {
            return Err(ConfigError::key("clickhouse.url", "is not an http:// or https:// URL"));
        };
        // It is printed and logged, which a password must not be.
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(ConfigError::key(
                "clickhouse.url",
                "must not hold a user or a password: set clickhouse.user and clickhouse.password",
            ));
        }
        if !self.pseudonym.key.is_empty() {
            pipeline::PseudonymKey::from_text(self.pseudonym.key.0.expose_secret())
                .map_err(|error| ConfigError::key("pseudonym.key", error.to_string()))?;
        }
        EnvFilter::try_new(&self.telemetry.log)
            .map_err(|error| ConfigError::key("telemetry.log", format!("is not a log filter: {error}")))?;
        let name_ok = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        if !name_ok(&self.clickhouse.database) {
            return Err(ConfigError::key("clickhouse.database", "is not a name of letters, digits and _"));
        }
        if self.consent.max_staleness < self.consent.refresh_interval {
            return Err(ConfigError::key(
                "consent.max_staleness",
                "is shorter than consent.refresh_interval, so that no view would ever be fresh",
            ));
        }
        for (key, span) in [
            ("consent.refresh_interval", self.consent.refresh_interval),
            ("consent.ledger_timeout", self.consent.ledger_timeout),
            ("clickhouse.insert_timeout", self.clickhouse.insert_timeout),
            ("clickhouse.query_timeout", self.clickhouse.query_timeout),
            ("delivery.max_backoff", self.delivery.max_backoff),
        ] {
            if span.0.is_zero() {
                return Err(ConfigError::key(key, "is zero"));
            }
        }
        if self.ingress.max_text_bytes > self.ingress.max_request_bytes {
            return Err(ConfigError::key(
                "ingress.max_text_bytes",
                "is larger than ingress.max_request_bytes",
            ));
        }
        if self.ingress.max_request_bytes.0 > 256 << 20 {
            return Err(ConfigError::key("ingress.max_request_bytes", "is larger than 256MiB"));
        }
        if self.spool.segment_bytes > self.spool.max_bytes {
            return Err(ConfigError::key("spool.segment_bytes", "is larger than spool.max_bytes"));
        }
        if self.delivery.max_rows == 0 {
            return Err(ConfigError::key("delivery.max_rows", "is zero"));
        }
        pipeline::Credentials::new(&self.tenant_keys())
            .map_err(|error| ConfigError::key("tenants", error.to_string()))?;
        Ok(())
    }

    /// The tenants in the form that the authenticator takes.
    #[must_use]
    pub fn tenant_keys(&self) -> Vec<pipeline::TenantKeys> {
        self.tenants
            .iter()
            .map(|tenant| pipeline::TenantKeys {
                tenant: tenant.name.clone(),
                key_digests: tenant.api_key_sha256.clone(),
            })
            .collect()
    }

    /// The validator's limits.
    #[must_use]
    pub fn limits(&self) -> pipeline::Limits {
        pipeline::Limits {
            max_text_bytes: usize::try_from(self.ingress.max_text_bytes.0).unwrap_or(usize::MAX),
            max_events: self.ingress.max_events_per_request,
            max_ahead: self.ingress.max_ahead.0,
            max_age: self.ingress.max_age.0,
        }
    }

    /// Where the pseudonym key lies.
    #[must_use]
    pub fn pseudonym_key_file(&self) -> PathBuf {
        self.pseudonym.key_file.clone().unwrap_or_else(|| self.data_dir.join("keys").join("pseudonym.key"))
    }

    /// Where the spool lies.
    #[must_use]
    pub fn spool_dir(&self) -> PathBuf {
        self.data_dir.join("spool")
    }

    /// The spool's options.
    #[must_use]
    pub fn spool_options(&self) -> spool::Options {
        let mut options = spool::Options::new(self.spool_dir());
        options.segment_bytes = self.spool.segment_bytes.0;
        options.max_bytes = self.spool.max_bytes.0;
        options.max_pending_bytes = usize::try_from(self.spool.max_pending_bytes.0).unwrap_or(usize::MAX);
        options.fsync = match self.spool.fsync {
            Fsync::EveryCommit => spool::FsyncPolicy::EveryCommit,
            Fsync::Interval => spool::FsyncPolicy::Interval(self.spool.fsync_interval.0),
            Fsync::Never => spool::FsyncPolicy::Never,
        };
        options
    }

    /// The consent replica's options.
    #[must_use]
    pub fn replica_options(&self) -> crate::consent::ReplicaOptions {
        crate::consent::ReplicaOptions {
            refresh_interval: self.consent.refresh_interval.0,
            max_staleness: self.consent.max_staleness.0,
            // Longer than any ledger write may take, so that a late one is not missed.
            overlap: self.consent.ledger_timeout.0 * 3,
        }
    }

    /// Delivery's options.
    #[must_use]
    pub fn delivery_options(&self) -> crate::delivery::Options {
        crate::delivery::Options {
            max_rows: self.delivery.max_rows,
            max_bytes: self.delivery.max_bytes.0,
            max_age: self.delivery.max_age.0,
            max_backoff: self.delivery.max_backoff.0,
            quarantine_dir: self.spool_dir().join("quarantine"),
        }
    }

    /// The ClickHouse client's options.
    #[must_use]
    pub fn clickhouse_options(&self) -> crate::clickhouse::Options {
        crate::clickhouse::Options {
            url: self.clickhouse.url.clone(),
            database: self.clickhouse.database.clone(),
            user: self.clickhouse.user.clone(),
            password: self.clickhouse.password.0.clone(),
            insert_timeout: self.clickhouse.insert_timeout.0,
            query_timeout: self.clickhouse.query_timeout.0,
        }
    }
}

/// `ASSENT_SECTION__KEY` as `section.key`. A variable without `__` belongs to a flag.
fn env_key(name: &str) -> Option<String> {
    let rest = name.strip_prefix(ENV_PREFIX)?;
    rest.contains("__").then(|| rest.to_ascii_lowercase().replace("__", "."))
}

/// The defaults as TOML: they show which keys hold numbers and truth values.
struct Defaults(Table);

impl Defaults {
    fn new() -> Self {
        Self(Table::try_from(Config::default()).unwrap_or_default())
    }

    fn get(&self, key: &str) -> Option<&Value> {
        let (section, rest) = key.split_once('.')?;
        self.0.get(section)?.get(rest)
    }
}

/// A variable's text as a value of the kind that its key holds. A password of digits stays a text.
fn env_value(text: &str, default: Option<&Value>) -> Value {
    let as_text = || Value::String(text.to_owned());
    match default {
        Some(Value::Integer(_)) => text.parse().map_or_else(|_| as_text(), Value::Integer),
        Some(Value::Boolean(_)) => text.parse().map_or_else(|_| as_text(), Value::Boolean),
        _ => as_text(),
    }
}

/// Puts a value at a path, making tables on the way.
fn set(table: &mut Table, key: &str, value: Value) -> Result<(), ConfigError> {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    match inner {
        Value::Table(inner) => set(inner, rest, value),
        _ => Err(ConfigError::key(section, "is a single value, not a section")),
    }
}

#[cfg(test)]
mod tests;
