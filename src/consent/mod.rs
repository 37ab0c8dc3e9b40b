//! Consent: who said what about training on their writing, and what follows from it.
//!
//! ```text
//! SetConsent ─▶ ledger ─▶ consent_changes (ClickHouse) ─▶ replica: tail, watermark ─┐
//!                                                              policy ───────────────┴▶ decision
//! ```
//!
//! [`vocabulary`] has the words, [`policy`] what silence means where, [`decision`] the pure function
//! from both to a stamp, [`ledger`] the append-only record, and [`replica`] what a collector knows of
//! it. `docs/consent.md` says in prose what holds.

pub mod decision;
pub mod ledger;
pub mod policy;
pub mod replica;
pub mod view;
pub mod vocabulary;

pub use decision::{Consent, Decision, Known, ScopeConsent, decide, decide_scope, seal};
pub use ledger::{Change, Ledger, LedgerError, Record};
pub use policy::{Policy, PolicyError, PolicyStore, record_policy};
pub use replica::{MAX_LEDGER_TIMEOUT, OVERLAP, Replica, ReplicaOptions};
pub use view::StampingView;
pub use vocabulary::{ConsentScope, ConsentState, EligibilityReason, Source, TrainingScope};
