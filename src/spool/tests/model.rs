//! The spool against a model, with power cuts, kills and full disks among the operations.
//!
//! The model is a list of what was sent and what came of it. A failing case prints its operations;
//! give it a test of its own below.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    /// Appends these many items of this size at once.
    Append { items: usize, bytes: usize },
    /// The power goes after so many more writes and syncs; what was sent until then may be lost.
    CutPower { after: u32, seed: u64 },
    /// The process is killed: nothing is lost, and nothing is synced.
    Kill,
    /// A sync fails, and somebody kills the process: what it wrote is there, and not synced.
    FailSync,
    /// A clean end and another start.
    Reopen,
    /// Reads all that is durable.
    Read,
    /// Releases this share, in percent, of what was read.
    Release(usize),
    /// The disk has this much room left, until the next such operation.
    Room(Option<u64>),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..5_usize, 0..250_usize).prop_map(|(items, bytes)| Op::Append { items, bytes }),
        3 => (0..12_u32, any::<u64>()).prop_map(|(after, seed)| Op::CutPower { after, seed }),
        1 => Just(Op::Kill),
        2 => Just(Op::FailSync),
        1 => Just(Op::Reopen),
        2 => Just(Op::Read),
        2 => (0..=100_usize).prop_map(Op::Release),
        1 => proptest::option::weighted(0.5, 0..300_u64).prop_map(Op::Room),
    ]
}

/// What is known of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acknowledged,
    /// Sent, and refused: it must never show.
    Refused,
    /// Sent, with no answer that says what came of it.
    Unknown,
}

struct World {
    fs: FaultFs,
    options: Options,
    spool: Option<Spool>,
    fates: Vec<Fate>,
    /// The reader's place: what was released, made durable elsewhere as delivery does.
    cursor: Position,
    /// Items before it were read and released.
    done: usize,
    /// Where each frame that was ever read starts, and its first item.
    seen: BTreeSet<(Position, usize)>,
    highest: Position,
}

impl World {
    fn new(fsync: FsyncPolicy) -> Self {
        let mut world = Self {
            fs: FaultFs::new(),
            options: Options { max_bytes: 6000, segment_bytes: 700, group_bytes: 300, fsync, ..options() },
            spool: None,
            fates: Vec::new(),
            cursor: Position(0),
            done: 0,
            seen: BTreeSet::new(),
            highest: Position(0),
        };
        world.start();
        world
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn start(&mut self) {
        self.spool = None;
        let opened = open_with(&self.fs, self.options.clone(), self.cursor.0).unwrap();
        self.spool = Some(opened);
    }

    fn append(&mut self, count: usize, bytes: usize) {
        let first = self.fates.len();
        let mut appends: Vec<_> = (first..first + count)
            .map(|number| {
                let mut item = u32::try_from(number).unwrap().to_le_bytes().to_vec();
                item.resize(4 + bytes, 0xa5);
                let appender = self.spool().appender.clone();
                Box::pin(async move { appender.append(item).await })
            })
            .collect();
        let mut answers = vec![None; count];
        for (append, answer) in appends.iter_mut().zip(&mut answers) {
            if let Poll::Ready(ready) = poll_once(append) {
                *answer = Some(ready);
            }
        }
        for (append, answer) in appends.into_iter().zip(answers) {
            self.fates.push(match answer.unwrap_or_else(|| block_on(append)) {
                Ok(_) => Fate::Acknowledged,
                Err(AppendError::Poisoned(_)) => Fate::Unknown,
                Err(_) => Fate::Refused,
            });
        }
    }

    /// Everything that can be read from the cursor on is what the model allows; gives the frames.
    fn read(&mut self) -> Vec<Frame> {
        let frames = frames_from(&self.spool().reader, self.cursor.0);
        let mut next = self.done;
        for frame in &frames {
            assert!(frame.position >= self.cursor);
            let numbers: Vec<usize> = items(&frame.payload)
                .iter()
                .map(|item| usize::try_from(u32::from_le_bytes(*item.first_chunk().unwrap())).unwrap())
                .collect();
            let at = self.seen.range((frame.position, 0)..=(frame.position, usize::MAX)).next();
            assert!(at.is_none_or(|at| at.1 == numbers[0]), "a position that was read was used again");
            self.seen.insert((frame.position, numbers[0]));
            for number in numbers {
                assert!(number >= next, "item {number} is out of order or there twice");
                let lost: Vec<_> =
                    (next..number).filter(|it| self.fates[*it] == Fate::Acknowledged).collect();
                assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
                assert_ne!(self.fates[number], Fate::Refused, "item {number} was refused and is there");
                next = number + 1;
            }
        }
        frames
    }

    /// Nothing acknowledged is missing at the end either.
    fn check(&mut self) {
        let frames = self.read();
        let last = frames.iter().flat_map(|it| items(&it.payload)).next_back();
        let next = last.map_or(self.done, |item| {
            usize::try_from(u32::from_le_bytes(*item.first_chunk().unwrap())).unwrap() + 1
        });
        let missing = (next..self.fates.len()).find(|it| self.fates[*it] == Fate::Acknowledged);
        assert_eq!(missing, None, "acknowledged and not to be read");
        let end = self.spool().reader.durable_end();
        assert!(end >= self.highest, "the durable end went back from {} to {end}", self.highest);
        assert!(self.spool().reader.bytes_on_disk() <= self.options.max_bytes);
    }

    fn release(&mut self, percent: usize) {
        let frames = self.read();
        let Some(frame) = (frames.len() * percent / 100).checked_sub(1).map(|at| &frames[at]) else { return };
        let item = items(&frame.payload).pop().unwrap();
        self.done = usize::try_from(u32::from_le_bytes(*item.first_chunk().unwrap())).unwrap() + 1;
        self.cursor = frame.next;
        self.highest = frame.next;
        self.spool().reader.release(self.cursor).unwrap();
    }

    /// Everything that the disk holds is readable again, and the cursor is made known anew.
    fn restart_on(&mut self, fs: FaultFs) {
        self.spool = None;
        self.fs = fs;
        self.start();
        assert_eq!(self.spool().recovery.missing_frames, 0);
        self.spool().reader.release(self.cursor).unwrap();
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Append { items, bytes } => self.append(*items, *bytes),
            Op::CutPower { after, seed } => {
                self.fs.cut_power_after(*after);
                self.append(3, 120);
                let survived = self.fs.crash(*seed);
                self.restart_on(survived);
            }
            Op::FailSync => {
                self.fs.fail_syncs(Some(Errno::IO));
                self.append(2, 60);
                let found = self.fs.kill();
                self.restart_on(found);
            }
            Op::Kill => {
                let found = self.fs.kill();
                self.restart_on(found);
            }
            Op::Reopen => {
                self.fs.set_capacity(None);
                let fs = self.fs.clone();
                self.restart_on(fs);
            }
            Op::Read => self.check(),
            Op::Release(percent) => self.release(*percent),
            Op::Room(room) => self.fs.set_capacity(room.map(|room| self.fs.used_bytes() + room)),
        }
    }
}

fn run(fsync: FsyncPolicy, ops: &[Op]) {
    let mut world = World::new(fsync);
    for op in ops {
        world.run(op);
    }
    let fs = world.fs.clone();
    fs.set_capacity(None);
    world.restart_on(fs);
    world.check();
    // Whatever happened, it goes on.
    world.release(100);
    world.append(1, 10);
    assert_eq!(world.fates.last(), Some(&Fate::Acknowledged));
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_or_doubled(ops in proptest::collection::vec(op(), 1..40)) {
        run(FsyncPolicy::EveryCommit, &ops);
    }
}
