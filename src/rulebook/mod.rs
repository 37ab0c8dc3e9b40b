//! Which rules redacted a row, as far as readers of ClickHouse are concerned.
//!
//! ```text
//! pipeline::Redactor::records ─▶ archive: a copy of each ─▶ record: the table `redaction_rules`
//!                                            an operator ─▶ revoke: the table `redaction_rules_revoked`
//! ```
//!
//! A row names the version of the rules that redacted it (`redaction_version`). The training views show
//! a row only while that version is in the first table and not in the second. Everything fails towards
//! "not eligible": a version that is not recorded yet hides its rows, and a revoked one stays revoked.

mod archive;
mod record;
mod revoke;

pub use archive::{ArchiveError, RulesArchive};
pub use record::RulesRecorder;
pub use revoke::{KnownVersion, RevokeError, list, revoke};
