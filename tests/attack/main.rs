//! An attack on consent: three collectors on one ClickHouse, people whose consent changes through any of
//! them while their events arrive at any other, kill -9, and a way to ClickHouse that delays, cuts and
//! loses. A checker with the history of all requests says what must not have happened.
//!
//! All randomness comes from one seed, which is printed, and each actor has a generator of its own. Played
//! again, a seed gives the same people, the same plans and the same faults in the same order of connections.
//! It does not give the same timing: which request meets which fault depends on the machine, so a
//! seed that failed may need some tries to fail again. More seconds make it likelier.
//!
//! `ATTACK_SEED`, `ATTACK_SECONDS`, `ATTACK_USERS` and `ATTACK_ROUNDS` are described in `docs/consent.md`.

// A test that cannot go on fails; clippy.toml allows it within `#[test]` alone.
#![allow(clippy::unwrap_used)]

mod actors;
mod chaos_proxy;
mod checker;
mod faults;
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
mod run;

use options::Options;
use run::{Outcome, attack};

/// The findings that are told in full.
const TOLD: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn consent_holds() {
    let options = Options::from_env();
    for round in 0..options.rounds {
        assert_holds(&options.with_seed(options.seed.wrapping_add(round))).await;
    }
}

/// Attacks once; fails when anything does not hold, or too little happened.
#[allow(clippy::print_stdout)] // What a person who runs it wants to see.
async fn assert_holds(options: &Options) {
    println!("attack: {options}");
    let Outcome { violations, history, report } = attack(options).await;
    println!("{report}");
    let told: Vec<String> =
        violations.iter().take(TOLD).map(|violation| report::explain(violation, &history)).collect();
    assert!(
        violations.is_empty(),
        "{} findings, of which the first:\n{}\n{report}\nlogs: {}\nagain: {options}",
        violations.len(),
        told.join("\n"),
        options.logs().display(),
    );
    assert!(
        report.lacks().is_empty(),
        "too little happened to prove anything:\n{}\n{report}\nagain, with more ATTACK_SECONDS: {options}",
        report.lacks().join("\n"),
    );
}
