//! The configuration: a TOML file, then `ASSENT_…` environment variables, then flags.
//!
//! It is parsed and checked whole before anything binds or connects. Each section has a default for
//! every key, an unknown key is an error, and an error names the path of its key. A key
//! `section.key` is set by the environment variable `ASSENT_SECTION__KEY`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

mod retention;
mod sections;
pub mod units;

pub use retention::{Life, Lives, OfEventType, OfEventTypes, Retention};
pub use sections::{
    Admin, ClickHouse, Consent, Controller, Delivery, Durability, Erasure, Fsync, Ingress, InsertQuorum,
    LocalClickHouse, LogFormat, PolicyFile, Pseudonym, Redaction, Spool, Telemetry, TenantConfig, Tls,
    Withdrawal, WithdrawalMode,
};

use crate::{
    consent,
    ingress::{admission, arrival, codec},
    pipeline::{self, authenticate::LOCAL_TENANT},
    spool,
};

/// The prefix of environment variables.
const ENV_PREFIX: &str = "ASSENT_";
/// Younger connections would be made for their own sake.
const MIN_CONNECTION_AGE: Duration = Duration::from_millis(100);
/// More often, looking at the policy's files would be work for its own sake.
const MIN_POLICY_RELOAD: Duration = Duration::from_millis(100);

/// Each insert in flight holds up to `delivery.max_bytes` in memory.
const MAX_INSERTS_IN_FLIGHT: u32 = 64;

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
    /// Who decides about the processing, as receipts of consent name them.
    pub controller: Controller,
    /// The key of the pseudonyms.
    pub pseudonym: Pseudonym,
    /// What is found in all texts besides what the shipped rules find, and what becomes of it.
    pub redaction: Redaction,
    /// The durable queue.
    pub spool: Spool,
    /// From the spool to ClickHouse.
    pub delivery: Delivery,
    /// What becomes of stored rows when their author takes consent back.
    pub withdrawal: Withdrawal,
    /// How people are erased.
    pub erasure: Erasure,
    /// How long rows and texts are kept.
    pub retention: Retention,
    /// Who may send. With none, everyone is the tenant `local`, on loopback alone.
    pub tenants: Vec<TenantConfig>,
    /// Logs.
    pub telemetry: Telemetry,
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
    /// The file is not TOML. The line is not repeated: it may hold a key or a password.
    #[error("the configuration file {path} is not TOML: line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// Why.
        message: String,
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
            controller: Controller::default(),
            pseudonym: Pseudonym::default(),
            redaction: Redaction::default(),
            spool: Spool::default(),
            delivery: Delivery::default(),
            withdrawal: Withdrawal::default(),
            erasure: Erasure::default(),
            retention: Retention::default(),
            tenants: Vec::new(),
            telemetry: Telemetry::default(),
        }
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
                toml::from_str(&text).map_err(|error| ConfigError::Syntax {
                    path: path.to_owned(),
                    line: line_of(&text, &error),
                    message: error.message().to_owned(),
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
            pipeline::KeyRing::from_text(self.pseudonym.key.0.expose_secret())
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
        if self.local_clickhouse.niceness > 19 {
            return Err(ConfigError::key(
                "local_clickhouse.niceness",
                "is more than 19, the lowest priority",
            ));
        }
        if self.consent.max_staleness < self.consent.refresh_interval {
            return Err(ConfigError::key(
                "consent.max_staleness",
                "is shorter than consent.refresh_interval, so that no view would ever be fresh",
            ));
        }
        if self.policy.reload_interval.0 < MIN_POLICY_RELOAD {
            return Err(ConfigError::key("policy.reload_interval", "is shorter than 100ms"));
        }
        for (key, span) in [
            ("erasure.interval", self.erasure.interval),
            ("erasure.query_timeout", self.erasure.query_timeout),
            ("consent.refresh_interval", self.consent.refresh_interval),
            ("consent.ledger_timeout", self.consent.ledger_timeout),
            ("clickhouse.insert_timeout", self.clickhouse.insert_timeout),
            ("clickhouse.query_timeout", self.clickhouse.query_timeout),
            ("delivery.max_backoff", self.delivery.max_backoff),
            ("ingress.receive_timeout", self.ingress.receive_timeout),
        ] {
            if span.0.is_zero() {
                return Err(ConfigError::key(key, "is zero"));
            }
        }
        if self.consent.ledger_timeout.0 > consent::MAX_LEDGER_TIMEOUT {
            return Err(ConfigError::key(
                "consent.ledger_timeout",
                format!(
                    "is longer than {} s; the collectors' views of consent would miss writes that take so long",
                    consent::MAX_LEDGER_TIMEOUT.as_secs()
                ),
            ));
        }
        if self.ingress.max_connection_age.is_some_and(|age| age.0 < MIN_CONNECTION_AGE) {
            return Err(ConfigError::key("ingress.max_connection_age", "is shorter than 100ms"));
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
        // A message's length is taken while the request counts for itself.
        if self.ingress.max_in_flight_bytes.0 < self.ingress.max_request_bytes.0 + arrival::REQUEST_BYTES {
            return Err(ConfigError::key(
                "ingress.max_in_flight_bytes",
                "is too small for one request of ingress.max_request_bytes and 32 KiB besides",
            ));
        }
        if self.ingress.max_events_per_request as usize > codec::MAX_FIELDS {
            return Err(ConfigError::key("ingress.max_events_per_request", "is larger than 131072"));
        }
        if self.ingress.max_connections == 0 {
            return Err(ConfigError::key("ingress.max_connections", "is zero"));
        }
        if self.spool.soft_bytes.is_some_and(|soft| soft.0 == 0 || soft >= self.spool.max_bytes) {
            return Err(ConfigError::key("spool.soft_bytes", "is not between zero and spool.max_bytes"));
        }
        if self.spool.segment_bytes > self.spool.max_bytes {
            return Err(ConfigError::key("spool.segment_bytes", "is larger than spool.max_bytes"));
        }
        if self.delivery.max_rows == 0 {
            return Err(ConfigError::key("delivery.max_rows", "is zero"));
        }
        if !(1..=MAX_INSERTS_IN_FLIGHT).contains(&self.delivery.max_in_flight) {
            return Err(ConfigError::key(
                "delivery.max_in_flight",
                format!("is not between 1 and {MAX_INSERTS_IN_FLIGHT}"),
            ));
        }
        self.withdrawal.validate()?;
        self.retention.plan(self.ingress.max_age.0)?;
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
                privacy_key_digests: tenant.privacy_key_sha256.clone(),
            })
            .collect()
    }

    /// What is found in the texts of each tenant that has anything but the shipped rules, and what becomes of it.
    #[must_use]
    pub fn redaction_of_tenants(&self) -> Vec<(&str, Redaction)> {
        let open = [(LOCAL_TENANT, Redaction::default())];
        let listed = self.tenants.iter().map(|tenant| (tenant.name.as_str(), tenant.redaction.clone()));
        let tenants: Vec<_> =
            if self.tenants.is_empty() { open.into_iter().collect() } else { listed.collect() };
        let with_all = tenants.into_iter().map(|(name, own)| {
            let mut all = self.redaction.clone();
            all.rules_files.extend(own.rules_files);
            all.actions.extend(own.actions);
            (name, all)
        });
        with_all.filter(|(_, redaction)| !redaction.is_empty()).collect()
    }

    /// Who decides about the processing of a tenant's data.
    #[must_use]
    pub fn controllers(&self) -> crate::consent::receipt::Controllers {
        let own = |tenant: &TenantConfig| Some((tenant.name.clone(), tenant.controller.clone()?));
        crate::consent::receipt::Controllers {
            of_tenants: self.tenants.iter().filter_map(own).collect(),
            of_others: self.controller.clone(),
        }
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

    /// Where what cannot be delivered lies.
    #[must_use]
    pub fn quarantine_dir(&self) -> PathBuf {
        self.spool_dir().join("quarantine")
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

    /// How much may arrive at once.
    #[must_use]
    pub fn arrival_options(&self) -> arrival::Options {
        arrival::Options {
            max_in_flight_bytes: self.ingress.max_in_flight_bytes.0,
            max_request_bytes: self.ingress.max_request_bytes.0,
            receive_timeout: self.ingress.receive_timeout.0,
        }
    }

    /// The budgets that tenants share.
    #[must_use]
    pub fn admission_options(&self) -> admission::Options {
        let max_bytes = self.spool.max_bytes.0;
        admission::Options {
            soft_spool_bytes: self.spool.soft_bytes.map_or(max_bytes - max_bytes / 5, |soft| soft.0),
            max_spool_bytes: max_bytes,
            max_pending_bytes: self.spool.max_pending_bytes.0,
        }
    }

    /// Where the policy comes from.
    #[must_use]
    pub fn policy_source(&self) -> crate::consent::policy::PolicySource {
        use crate::consent::policy::PolicySource;
        self.policy.file.clone().map_or(PolicySource::Builtin, PolicySource::Path)
    }

    /// The consent replica's options.
    #[must_use]
    pub fn replica_options(&self) -> consent::ReplicaOptions {
        let options = consent::ReplicaOptions {
            refresh_interval: self.consent.refresh_interval.0,
            max_staleness: self.consent.max_staleness.0,
            overlap: consent::OVERLAP,
        };
        #[cfg(feature = "mutations")]
        let options = crate::mutation::of_replica(options);
        options
    }

    /// Delivery's options.
    #[must_use]
    pub fn delivery_options(&self) -> crate::delivery::Options {
        crate::delivery::Options {
            max_rows: self.delivery.max_rows,
            max_bytes: self.delivery.max_bytes.0,
            max_in_flight: usize::try_from(self.delivery.max_in_flight).unwrap_or(usize::MAX),
            max_age: self.delivery.max_age.0,
            max_backoff: self.delivery.max_backoff.0,
            quarantine_dir: self.quarantine_dir(),
        }
    }

    /// How withdrawn rows are moved.
    #[must_use]
    pub const fn withdrawal_options(&self) -> crate::privacy::withdrawal::Options {
        crate::privacy::withdrawal::Options {
            mode: self.withdrawal.mode,
            deadline: self.withdrawal.deadline.0,
            interval: self.withdrawal.interval.0,
            batch_rows: self.withdrawal.batch_rows,
            insert_quorum: self.clickhouse.insert_quorum,
        }
    }

    /// The options of the client that moves them.
    #[must_use]
    pub fn withdrawal_clickhouse_options(&self) -> crate::clickhouse::Options {
        let mut options = self.clickhouse_options();
        options.query_timeout = crate::privacy::withdrawal::STATEMENT_TIMEOUT;
        if !self.withdrawal.user.is_empty() {
            options.user.clone_from(&self.withdrawal.user);
            options.password = self.withdrawal.password.0.clone();
        }
        options
    }

    /// The options of the ClickHouse client that erases.
    #[must_use]
    pub fn eraser_options(&self) -> crate::clickhouse::Options {
        let mut options = self.clickhouse_options();
        if !self.erasure.clickhouse_user.is_empty() {
            options.user.clone_from(&self.erasure.clickhouse_user);
            options.password = self.erasure.clickhouse_password.0.clone();
        }
        options.query_timeout = self.erasure.query_timeout.0;
        options
    }

    /// How erasures are carried out.
    #[must_use]
    pub fn erasure_options(&self) -> crate::privacy::erasure::Options {
        crate::privacy::erasure::Options { interval: self.erasure.interval.0, grace: self.erasure.grace.0 }
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

/// The line, from 1, on which a text stops being TOML.
fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let start = error.span().map_or(0, |span| span.start);
    1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count()
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
