//! Consent-stamped telemetry ingestion for AI-assisted writing, into ClickHouse.
//!
//! An event's way, module by module:
//!
//! ```text
//! client ── gRPC ─▶ ingress ─▶ pipeline: authenticate ▸ validate ▸ pseudonymise ▸ tag ▸ redact
//!                                   ▼
//!                   spool (segments on disk, group-commit fsync) ─▶ acknowledge
//!                                   ▼
//!       delivery: read ▸ wait for the consent watermark ▸ seal ▸ batch ─▶ clickhouse
//!                                   ▲
//!                 consent: ledger in ClickHouse ─▶ replica in memory
//! ```
//!
//! [`event`] holds the stages of an event as types; [`app`] puts everything together and takes it
//! down again; [`cli`] is the command line.

pub mod admin;
pub mod app;
pub mod cli;
pub mod clickhouse;
pub mod config;
pub mod consent;
pub mod delivery;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod ingress;
#[cfg(feature = "mutations")]
pub mod mutation;
pub mod pipeline;
pub mod privacy;
pub mod redaction;
pub mod rulebook;
pub mod spool;
pub mod telemetry;
