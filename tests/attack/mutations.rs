//! The attack on collectors that go without a safeguard must find what that safeguard is for.

use std::time::Duration;

use assent::mutation::Mutation;

use crate::{
    assert_holds,
    checker::Kind,
    options::Options,
    report,
    run::{Outcome, attack},
};

/// Seeds that are tried before the attack counts as blind.
const MAX_ROUNDS: u64 = 4;
/// As long as a round lasts unless told otherwise.
const SECONDS: u64 = 8;

/// Longer than some refreshes, and shorter than the ledger's patience.
const COMMIT: Duration = Duration::from_millis(1_000);

fn options(mutation: Option<Mutation>) -> Options {
    let mut options = Options::from_env();
    if std::env::var_os("ATTACK_SECONDS").is_none() {
        options.seconds = SECONDS;
    }
    // Without an overlap the tail still reads from about the last refresh but one.
    options.commit = COMMIT;
    options.mutation = mutation.map(Mutation::as_str);
    options
}

#[allow(clippy::print_stdout)] // What a person who runs it wants to see.
async fn assert_found(mutation: Mutation) {
    let options = options(Some(mutation));
    let mut reports = String::new();
    for round in 0..MAX_ROUNDS {
        let options = options.with_seed(options.seed.wrapping_add(round));
        println!("attack without a safeguard: {options}");
        let Outcome { violations, history, report } = attack(&options).await;
        let of_kind: Vec<_> = violations.iter().filter(|it| it.kind == Kind::EligibleAfterDenial).collect();
        if let Some(first) = of_kind.first() {
            println!("{report}{} found, such as\n{}", of_kind.len(), report::explain(first, &history));
            return;
        }
        reports.push_str(&report.to_string());
    }
    panic!("{mutation:?} was not noticed in {MAX_ROUNDS} rounds:\n{reports}\nagain: {options}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_watermark_wait() {
    assert_found(Mutation::NoWatermarkWait).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_overlap() {
    assert_found(Mutation::NoOverlap).await;
}

/// What is found is the safeguard's absence, and not this build or this attack.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_with_all_safeguards() {
    assert_holds(&options(None)).await;
}
