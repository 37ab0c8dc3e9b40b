//! An attack on delivery: kill -9 of collectors and of ClickHouse at any time, answers that are lost after
//! an insert took effect, inserts that arrive when nobody waits for them any more, a ClickHouse that is away
//! while much spools, a disk that is full, the same requests to two collectors, and ends in good order, over
//! and over. All of it with real processes, and clients that send and retry all the time.
//!
//! After each a [checker] holds what the clients know of each event against what is in ClickHouse: what was
//! acknowledged is visible, once, as it was sent; what was refused is not there; and of what was sent once there is one
//! row on the disk, unmerged, since a second one would be delivery's own doing.
//!
//! All randomness comes from one seed, which is printed. It gives the same plans, not the same timing: a
//! seed that failed may need some tries to fail again.
//!
//! The variables are described in `docs/attack-delivery.md`.

// A test that cannot go on fails; clippy.toml allows it within `#[test]` alone.
#![allow(clippy::unwrap_used)]

mod arena;
mod checker;
mod disk;
mod event;
mod fleet;
// Other tests use more of it.
#[allow(dead_code, unused_imports)]
#[path = "../harness/mod.rs"]
mod harness;
mod history;
#[cfg(feature = "mutations")]
mod mutations;
mod options;
mod report;
mod rows;
mod scenarios;
mod sender;
mod server;
mod way;
