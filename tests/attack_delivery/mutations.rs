//! The attack on collectors that go without a safeguard must find what that safeguard is for.

use std::time::Duration;

use assent::mutation::Mutation;

use crate::{
    arena::Arena,
    checker::Fault,
    scenarios::{kills, replies},
};

/// Rounds before the attack counts as blind.
const MAX_ROUNDS: u64 = 6;
/// The kills of a round.
const KILLS: u64 = 10;
/// How long a round's way is rough.
const SPAN: Duration = Duration::from_secs(4);

/// How it is attacked.
#[derive(Clone, Copy)]
enum Attack {
    Kills,
    Replies,
}

#[allow(clippy::print_stdout)] // What a person who runs it wants to see.
async fn assert_found(mutation: Mutation, attack: Attack, fault: Fault) {
    let mut arena = Arena::enter_without(mutation.as_str(), Some(mutation.as_str())).await;
    for round in 1..=MAX_ROUNDS {
        let findings = match attack {
            Attack::Kills => kills::round(&mut arena, KILLS).await,
            Attack::Replies => replies::round(&mut arena, SPAN).await,
        };
        let of_kind: Vec<_> = findings.iter().filter(|finding| finding.fault == fault).collect();
        if let Some(first) = of_kind.first() {
            println!("{mutation:?}: {} found in round {round}, such as {first}", of_kind.len());
            return;
        }
    }
    panic!("{mutation:?} was not noticed in {MAX_ROUNDS} rounds; again: {}", arena.options);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token() {
    assert_found(Mutation::NoToken, Attack::Replies, Fault::InsertedTwice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plan() {
    assert_found(Mutation::NoPlan, Attack::Kills, Fault::InsertedTwice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_cursor() {
    assert_found(Mutation::EarlyCursor, Attack::Kills, Fault::Lost).await;
}

/// What is found is the safeguard's absence, and not this build or this attack.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_with_all_safeguards() {
    let mut arena = Arena::enter("all_safeguards").await;
    kills::round(&mut arena, KILLS).await;
    replies::round(&mut arena, SPAN).await;
}
