//! Consent: who said what about training on their writing, and what follows from it.
//!
//! ```text
//! SetConsent ─▶ ledger ─▶ consent_changes (ClickHouse) ─▶ replica: tail, watermark ─┐
//!                                                              policy ───────────────┴▶ decision
//! ```
//!
//! [`vocabulary`] has the words, [`policy`] what silence means where, [`decision`] the pure function
//! from both to a stamp, [`explain`] the same in words, [`ledger`] the append-only record, [`receipt`]
//! what a person gets of it, [`replica`] what a collector knows of it, and [`rekey`] puts it under a new key. `docs/consent.md` says in
//! prose what holds.

pub mod decision;
pub mod explain;
pub mod ledger;
pub mod policy;
pub mod receipt;
pub mod rekey;
pub mod replica;
mod terms;
pub mod view;
pub mod vocabulary;

pub use decision::{Consent, Decision, Known, Rule, ScopeConsent, decide, decide_scope, seal};
pub use ledger::{Change, ClientInfo, Ledger, LedgerError, Record};
pub use policy::{Policy, PolicyError, PolicySet, PolicyStore};
pub use replica::{Erased, MAX_LEDGER_TIMEOUT, OVERLAP, Replica, ReplicaOptions};
pub use terms::TermsVersion;
pub use view::StampingView;
pub use vocabulary::{ConsentScope, ConsentState, EligibilityReason, Source, TrainingScope};
