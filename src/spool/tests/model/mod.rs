//! The spool against a model, with all that a disk can do to it among the operations.
//!
//! The model is a list of what was sent and what came of it ([`world`]). A failing case prints its
//! operations; give it a test of its own below. `SPOOL_MODEL_CASES` says how many cases are tried
//! (`just model-spool`).

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::spool::fs::fault::Call;

mod world;

use world::World;

/// What is going on when the power goes or a call fails.
#[derive(Clone, Copy, Debug)]
enum During {
    /// Three appends.
    Append,
    /// All is read and released, in two steps, and the last segment given back.
    Release,
    /// A clean end.
    Close,
}

/// What happens while the spool is opened again, before it is opened once more.
#[derive(Clone, Copy, Debug)]
enum Start {
    Plain,
    CutPower { after: u32, seed: u64 },
    Kill { after: u32 },
    Fail { call: Call, skip: u32 },
}

#[derive(Clone, Debug)]
enum Op {
    /// Appends so many items of this size at once.
    Append { items: usize, bytes: usize },
    /// The power goes after so many more changes; what was not synced until then may be lost.
    CutPower { after: u32, seed: u64, during: During, start: Start },
    /// The process is killed: nothing is lost, and nothing is synced.
    Kill { start: Start },
    /// A clean end and another start.
    Reopen { start: Start },
    /// Syncs fail, and somebody kills the process: what it wrote can be read, and is not on the disk.
    FailSync { errno: bool },
    /// One call fails, and it goes on, or somebody kills the process.
    Fail { call: Call, skip: u32, during: During },
    /// Reads all that is durable.
    Read,
    /// Releases this share, in percent, of what can be read.
    Release(usize),
    /// The disk has this much room left, until the next such operation.
    Room(Option<u64>),
    /// Reads and writes come short and are interrupted.
    ShortIo(Option<usize>),
    /// A bit of a file flips, while the spool is open or while it is not.
    Flip { file: usize, offset: usize, bit: u8, open: bool },
}

fn call() -> impl Strategy<Value = Call> {
    proptest::sample::select(&Call::ALL[..])
}

fn during() -> impl Strategy<Value = During> {
    prop_oneof![3 => Just(During::Append), 2 => Just(During::Release), 1 => Just(During::Close)]
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        4 => Just(Start::Plain),
        2 => (0..12_u32, any::<u64>()).prop_map(|(after, seed)| Start::CutPower { after, seed }),
        1 => (0..12_u32).prop_map(|after| Start::Kill { after }),
        1 => (call(), 0..6_u32).prop_map(|(call, skip)| Start::Fail { call, skip }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..5_usize, 0..250_usize).prop_map(|(items, bytes)| Op::Append { items, bytes }),
        4 => (0..16_u32, any::<u64>(), during(), start())
            .prop_map(|(after, seed, during, start)| Op::CutPower { after, seed, during, start }),
        1 => start().prop_map(|start| Op::Kill { start }),
        1 => start().prop_map(|start| Op::Reopen { start }),
        1 => any::<bool>().prop_map(|errno| Op::FailSync { errno }),
        2 => (call(), 0..6_u32, during()).prop_map(|(call, skip, during)| Op::Fail { call, skip, during }),
        2 => Just(Op::Read),
        2 => (0..=100_usize).prop_map(Op::Release),
        1 => Just(Op::Release(100)),
        2 => prop_oneof![
            2 => Just(None),
            1 => (0..64_u64).prop_map(Some),
            1 => (0..600_u64).prop_map(Some),
        ]
        .prop_map(Op::Room),
        1 => proptest::option::weighted(0.5, 5..60_usize).prop_map(Op::ShortIo),
        1 => (any::<usize>(), any::<usize>(), 0..8_u8, any::<bool>())
            .prop_map(|(file, offset, bit, open)| Op::Flip { file, offset, bit, open }),
    ]
}

fn run(fsync: FsyncPolicy, ops: &[Op]) {
    let mut world = World::new(fsync);
    for op in ops {
        world.run(op);
    }
    world.end();
}

/// Cases of each test: a few seconds in all, unless somebody asks for more.
fn cases() -> u32 {
    std::env::var("SPOOL_MODEL_CASES").map_or(256, |it| it.parse().expect("SPOOL_MODEL_CASES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn synced_nothing_acknowledged_is_lost_or_doubled(ops in proptest::collection::vec(op(), 1..40)) {
        run(FsyncPolicy::EveryCommit, &ops);
    }

    #[test]
    fn at_intervals_a_kill_loses_nothing_and_a_power_cut_nothing_that_was_shown(
        ops in proptest::collection::vec(op(), 1..40),
        at_once in any::<bool>(),
    ) {
        let interval = if at_once { Duration::ZERO } else { Duration::from_secs(3600) };
        run(FsyncPolicy::Interval(interval), &ops);
    }

    #[test]
    fn unsynced_a_kill_loses_nothing_and_a_power_cut_neither_doubles_nor_reorders(
        ops in proptest::collection::vec(op(), 1..40),
    ) {
        run(FsyncPolicy::Never, &ops);
    }
}
