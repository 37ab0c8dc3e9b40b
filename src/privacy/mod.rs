//! What a person may ask for: to be erased, and to see what is held about them.
//!
//! [`erasure`] removes a person from every table, spool and quarantine, and proves it by a record; [`subject`] reads
//! out everything that the tables hold about one. `docs/privacy.md` says in prose what holds.

pub mod erasure;
pub mod subject;
