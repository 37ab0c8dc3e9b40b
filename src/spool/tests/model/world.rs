//! A spool, the disk it is on, a reader that keeps its state as delivery does, and what is known of
//! every item that was ever sent.

use std::collections::BTreeMap;

use super::*;
use crate::spool::{DamagedRange, ReadError};

/// What is known of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It must be there, once.
    Acknowledged,
    /// Acknowledged, and a power cut may have taken it.
    AtRisk,
    /// Its frame has a flipped bit. It may be there; if it is not, the frame is in quarantine.
    Damaged(DamagedRange),
    /// Sent, with no answer that says what came of it.
    Unknown,
    /// It was refused, or was seen to be lost: it must never show.
    Gone,
}

/// What the reader keeps on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    /// Everything before it is done with.
    cursor: u64,
    /// Everything before it may have been read.
    planned: u64,
    /// Items below this number are done with.
    done: u64,
}

impl State {
    const LEN: usize = 200;
    const BEGINNING: Self = Self { cursor: 0, planned: 0, done: 0 };

    fn encode(self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [self.cursor, self.planned, self.done].iter().flat_map(|it| it.to_le_bytes()).collect();
        bytes.resize(Self::LEN, b's');
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        assert_eq!(bytes.len(), Self::LEN, "the state is whole or as it was");
        let number = |at: usize| u64::from_le_bytes(*bytes[8 * at..].first_chunk().unwrap());
        Self { cursor: number(0), planned: number(1), done: number(2) }
    }
}

fn state_path() -> PathBuf {
    Path::new(DIR).join("delivery.json")
}

fn item(number: usize, bytes: usize) -> Vec<u8> {
    let mut item = u32::try_from(number).unwrap().to_le_bytes().to_vec();
    item.resize(4 + bytes, u8::try_from(number % 251).unwrap());
    item
}

/// The number of an item, all of which must be as it was sent.
fn number_of(found: &[u8]) -> usize {
    let number = usize::try_from(u32::from_le_bytes(*found.first_chunk().unwrap())).unwrap();
    assert_eq!(found, item(number, found.len() - 4), "an item was altered");
    number
}

fn numbers_in(frame: &Frame) -> Vec<usize> {
    items(&frame.payload).iter().map(|it| number_of(it)).collect()
}

pub(super) struct World {
    fs: FaultFs,
    options: Options,
    spool: Option<Spool>,
    fates: Vec<Fate>,
    /// Items that the reader was given.
    shown: Vec<bool>,
    state: State,
    /// The states that may be on the disk: the last one that was kept, and those that failed since.
    kept: Vec<State>,
    /// Where each frame that was ever planned for starts, and its first item.
    seen: BTreeMap<Position, usize>,
    /// Something else than a torn end can be on the disk.
    holes: bool,
    /// Somebody else may have taken what the reserve gave up, or a copy of damage has.
    squeezed: bool,
    /// Headers of segments that had to be begun beyond the limit.
    extra_bytes: u64,
}

impl World {
    pub(super) fn new(fsync: FsyncPolicy) -> Self {
        let options = Options {
            max_bytes: 6000,
            segment_bytes: 700,
            group_bytes: 300,
            reserve_bytes: 1500,
            // Segments this small are given back at once.
            idle_rotation: Duration::from_secs(3600),
            fsync,
            ..options()
        };
        let mut world = Self {
            fs: FaultFs::new(),
            options,
            spool: None,
            fates: Vec::new(),
            shown: Vec::new(),
            state: State::BEGINNING,
            kept: vec![State::BEGINNING],
            seen: BTreeMap::new(),
            holes: false,
            squeezed: false,
            extra_bytes: 0,
        };
        world.spool = Some(world.open().unwrap());
        world
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn open(&self) -> Result<Spool, OpenError> {
        open_with(&self.fs, self.options.clone(), self.state.planned)
    }

    /// The writer's own work is done before anything else is, so that a case is the same every time.
    fn settle(&self) {
        self.spool().reader.wait_until_writer_rests();
    }

    fn append(&mut self, count: usize, bytes: usize) {
        let first = self.fates.len();
        let mut appends: Vec<_> = (first..first + count)
            .map(|number| {
                let appender = self.spool().appender.clone();
                Box::pin(async move { appender.append(item(number, bytes)).await })
            })
            .collect();
        let mut answers = vec![None; count];
        for (append, answer) in appends.iter_mut().zip(&mut answers) {
            if let Poll::Ready(ready) = poll_once(append) {
                *answer = Some(ready);
            }
        }
        for (append, answer) in appends.into_iter().zip(answers) {
            self.shown.push(false);
            self.fates.push(match answer.unwrap_or_else(|| block_on(append)) {
                Ok(_) => Fate::Acknowledged,
                Err(AppendError::Poisoned(_)) => Fate::Unknown,
                Err(_) => Fate::Gone,
            });
        }
        self.settle();
    }

    /// Keeps the reader's state. It fails only if the disk does, or is full and the reserve spent.
    fn keep(&mut self, state: State) -> Result<(), std::io::Error> {
        let spent = self.spool().reserve.is_spent();
        // Nothing is appended that takes the room of a reserve that was given up.
        self.squeezed = spent && (self.squeezed || self.holes);
        let kept = self.spool().reserve.write_atomically(&state_path(), &state.encode());
        match &kept {
            Ok(()) => (self.state, self.kept) = (state, vec![state]),
            Err(error) => {
                assert!(
                    self.squeezed || error.kind() != std::io::ErrorKind::StorageFull,
                    "the reserve is for this"
                );
                self.kept.push(state);
            }
        }
        kept
    }

    /// What can be read from the cursor on; `None` if the disk did not let us.
    fn read(&mut self) -> Option<Vec<Frame>> {
        let end = self.spool().reader.durable_end().0;
        if end > self.state.planned {
            // What is handed out is known to be before it is.
            self.keep(State { planned: end, ..self.state }).ok()?;
        }
        let mut frames = Vec::new();
        let mut at = Position(self.state.cursor);
        loop {
            match self.spool().reader.read_from(at) {
                Ok(Some(frame)) => {
                    at = frame.next;
                    frames.push(frame);
                }
                Ok(None) => return Some(frames),
                Err(error @ ReadError::WithinFrame { .. }) => panic!("{error}"),
                Err(_) => return None,
            }
        }
    }

    /// Everything that can be read is what the model allows, and nothing is missing that must be there.
    fn check(&mut self) -> Option<Vec<Frame>> {
        let frames = self.read()?;
        let mut next = usize::try_from(self.state.done).unwrap();
        for frame in &frames {
            assert!(frame.position.0 >= self.state.cursor);
            let numbers = numbers_in(frame);
            let first = *self.seen.entry(frame.position).or_insert(numbers[0]);
            assert_eq!(first, numbers[0], "position {} was read and used again", frame.position);
            for number in numbers {
                assert!(number >= next, "item {number} is out of order or there twice");
                self.may_be_missing(next..number);
                assert_ne!(self.fates[number], Fate::Gone, "item {number} was refused or lost, and is there");
                self.shown[number] = true;
                next = number + 1;
            }
        }
        self.may_be_missing(next..self.fates.len());
        let bytes = self.spool().reader.bytes_on_disk();
        assert!(bytes <= self.options.max_bytes + self.extra_bytes, "{bytes} bytes");
        Some(frames)
    }

    fn may_be_missing(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            match self.fates[number] {
                // Not everything is shown yet where not everything is synced.
                Fate::Acknowledged if self.is_behind() => {}
                Fate::Acknowledged => panic!("item {number} was acknowledged and is lost"),
                Fate::Damaged(range) => {
                    assert!(self.is_quarantined(range), "item {number} is missing in silence");
                }
                Fate::AtRisk | Fate::Unknown | Fate::Gone => {}
            }
        }
    }

    /// Whether there is more in the log than is shown.
    fn is_behind(&self) -> bool {
        let end = crate::spool::inspect::inspect_on(&self.fs, Path::new(DIR))
            .map(|it| it.segments.iter().map(|it| it.base.0 + it.bytes).max().unwrap_or(0));
        matches!(self.options.fsync, FsyncPolicy::Interval(_))
            // With the power off it is not known.
            && end.map_or(true, |end| end > self.spool().reader.durable_end().0)
    }

    /// Whether a copy of the range is in quarantine, by itself, in a larger one or with its segment.
    fn is_quarantined(&self, range: DamagedRange) -> bool {
        let dir = Path::new(DIR).join("quarantine");
        self.fs.files().iter().filter(|(path, _)| path.parent() == Some(&dir)).any(|(path, len)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let kept = if let Some(base) = segment::parse_file_name(name) {
                DamagedRange { start: base, end: Position(base.0 + len) }
            } else {
                let Some(bounds) = name.strip_prefix("spool-").and_then(|it| it.strip_suffix(".damaged"))
                else {
                    return false;
                };
                let (start, end) = bounds.split_once('-').unwrap();
                let position = |it: &str| Position(it.parse().unwrap());
                assert_eq!(*len, position(end).0 - position(start).0, "a copy is whole");
                DamagedRange { start: position(start), end: position(end) }
            };
            kept.start <= range.start && range.end <= kept.end
        })
    }

    /// As delivery does: a durable state first, then what lies before it goes.
    fn release(&mut self, percent: usize) {
        let Some(frames) = self.check() else { return };
        let Some(frame) = (frames.len() * percent / 100).checked_sub(1).map(|at| &frames[at]) else { return };
        let last = numbers_in(frame).pop().unwrap();
        let state = State { cursor: frame.next.0, done: last as u64 + 1, ..self.state };
        if self.keep(state).is_err() {
            return;
        }
        // What fails here is tried again by the next.
        let _ = self.spool().reader.release(frame.next);
        self.settle();
        self.spool().reserve.refill();
    }

    fn act(&mut self, during: During) {
        match during {
            During::Append => self.append(3, 120),
            During::Release => {
                self.release(60);
                self.release(100);
            }
            During::Close => block_on(self.spool.as_mut().unwrap().writer.close()),
        }
    }

    /// The state is one of those that may be there.
    fn load(&mut self) {
        let found = self.fs.content(&state_path()).map_or(State::BEGINNING, |it| State::decode(&it));
        assert!(self.kept.contains(&found), "{found:?}, not {:?}", self.kept);
        self.state = found;
    }

    /// The spool is opened on what is there now; nothing that was on the disk may be missing then.
    fn restart_on(&mut self, fs: FaultFs, start: Start) {
        self.spool = None;
        self.fs = fs;
        self.load();
        let before = segments(&self.fs).len();
        let first = match start {
            Start::Plain => self.open(),
            Start::CutPower { after, .. } | Start::Kill { after } => {
                self.fs.cut_power_after(after);
                self.open()
            }
            Start::Fail { call, skip } => {
                self.fs.fail_once(call, skip, Errno::IO);
                self.open()
            }
        };
        let again = match (start, first) {
            (Start::CutPower { seed, .. }, _) => Some(self.fs.crash(seed)),
            (Start::Kill { .. }, _) => Some(self.fs.kill()),
            (_, Ok(spool)) => {
                self.spool = Some(spool);
                None
            }
            (Start::Fail { .. }, Err(_)) => Some(self.fs.kill()),
            (Start::Plain, Err(error)) => {
                assert!(error.is_out_of_space(), "{error}");
                Some(self.fs.kill())
            }
        };
        if let Some(fs) = again {
            self.fs = fs;
            self.load();
            self.spool = match self.open() {
                Err(error) if error.is_out_of_space() => {
                    self.fs.set_capacity(None);
                    Some(self.open().unwrap())
                }
                opened => Some(opened.unwrap()),
            };
        }
        // Opening may have needed the reserve itself, or had no room to make it.
        self.squeezed = true;
        // Opening has made durable what the folder holds.
        self.kept = vec![self.state];
        self.fs.repair();
        self.after_failed_sync();
        // A start that was cut short may have begun a segment, and the next one another.
        let more = segments(&self.fs).len().saturating_sub(before);
        self.extra_bytes += (more * segment::HEADER_BYTES) as u64;
        let recovery = &self.spool().recovery;
        assert!(self.holes || recovery.missing_frames == 0, "{recovery:?}");
        let end = self.spool().reader.durable_end().0;
        assert!(end >= self.state.planned, "{end} is below what was handed out");
        let _ = self.spool().reader.release(Position(self.state.cursor));
        self.settle();
        self.resolve();
    }

    /// What was in doubt is there now or is not, and stays so. Not after a failed sync: what only the
    /// system's memory holds is gone with the next power cut.
    fn resolve(&mut self) {
        let Some(frames) = self.check() else { return };
        if self.fs.has_unwritten() {
            return;
        }
        let there: std::collections::BTreeSet<usize> = frames.iter().flat_map(numbers_in).collect();
        for number in usize::try_from(self.state.done).unwrap()..self.fates.len() {
            let fate = &mut self.fates[number];
            if matches!(fate, Fate::AtRisk | Fate::Unknown) {
                *fate = if there.contains(&number) { Fate::Acknowledged } else { Fate::Gone };
            }
        }
    }

    /// What a power cut may take.
    fn risk(&mut self, spare_shown: bool) {
        for (fate, shown) in self.fates.iter_mut().zip(&self.shown) {
            if *fate == Fate::Acknowledged && !(spare_shown && *shown) {
                *fate = Fate::AtRisk;
            }
        }
    }

    fn cut_power(&mut self, seed: u64, start: Start) {
        match self.options.fsync {
            FsyncPolicy::EveryCommit => {}
            FsyncPolicy::Interval(_) => {
                self.risk(true);
                self.holes = true;
            }
            FsyncPolicy::Never => {
                self.risk(false);
                self.holes = true;
            }
        }
        if self.fs.has_unwritten() {
            self.holes = true;
        }
        let survived = self.fs.crash(seed);
        self.restart_on(survived, start);
    }

    fn flip(&mut self, file: usize, offset: usize, bit: u8, open: bool) {
        self.fs.set_capacity(None);
        let fs = self.fs.kill();
        self.restart_on(fs, Start::Plain);
        let frames = frames_from(&self.spool().reader, 0);
        let files = self.fs.files();
        let (path, len) = &files[file % files.len()];
        if *len == 0 || *path == state_path() {
            return;
        }
        let offset = offset as u64 % len;
        self.holes = true;
        self.fs.flip_bit(path, offset, bit);
        let base = path.file_name().and_then(|it| segment::parse_file_name(it.to_str().unwrap()));
        if let (Some(base), true) = (base, path.parent() == Some(Path::new(DIR))) {
            let at = Position(base.0 + offset);
            for frame in frames.iter().filter(|it| it.position <= at && at < it.next) {
                let range = DamagedRange { start: frame.position, end: frame.next };
                for number in numbers_in(frame) {
                    self.fates[number] = Fate::Damaged(range);
                }
            }
        }
        if !open {
            let fs = self.fs.kill();
            self.restart_on(fs, Start::Plain);
        }
        self.check();
    }

    pub(super) fn run(&mut self, op: &Op) {
        match *op {
            Op::Append { items, bytes } => self.append(items, bytes),
            Op::CutPower { after, seed, during, start } => {
                self.fs.cut_power_after(after);
                self.act(during);
                self.cut_power(seed, start);
            }
            Op::Kill { start } => {
                let found = self.fs.kill();
                self.restart(found, start);
            }
            Op::Reopen { start } => {
                let fs = self.fs.clone();
                self.restart(fs, start);
            }
            Op::FailSync { errno } => {
                self.fs.fail_syncs(Some(if errno { Errno::IO } else { Errno::NOSPC }));
                self.append(2, 60);
                self.after_failed_sync();
                let found = self.fs.kill();
                self.restart_on(found, Start::Plain);
            }
            Op::Fail { call, skip, during } => {
                self.fs.fail_once(call, skip, Errno::IO);
                self.act(during);
                self.fs.repair();
                self.after_failed_sync();
                if self.spool().appender.poisoned().is_some() || matches!(during, During::Close) {
                    let found = self.fs.kill();
                    self.restart_on(found, Start::Plain);
                }
            }
            Op::Read => drop(self.check()),
            Op::Release(percent) => self.release(percent),
            Op::Room(room) => {
                self.squeezed = true;
                self.fs.set_capacity(room.map(|room| self.fs.used_bytes() + room));
            }
            Op::ShortIo(most) => self.fs.short_io(most),
            Op::Flip { file, offset, bit, open } => self.flip(file, offset, bit, open),
        }
    }

    /// Without a sync of every commit, acknowledged items may be in memory alone now.
    fn after_failed_sync(&mut self) {
        if self.fs.has_unwritten() {
            self.holes = true;
            if self.options.fsync != FsyncPolicy::EveryCommit {
                self.risk(true);
            }
        }
    }

    fn restart(&mut self, fs: FaultFs, start: Start) {
        if let Start::CutPower { .. } = start {
            // It may come before opening has synced what a kill had left unsynced.
            match self.options.fsync {
                FsyncPolicy::EveryCommit => {}
                FsyncPolicy::Interval(_) => self.risk(true),
                FsyncPolicy::Never => self.risk(false),
            }
            self.holes |= self.options.fsync != FsyncPolicy::EveryCommit || fs.has_unwritten();
        }
        self.restart_on(fs, start);
    }

    /// Whatever happened, it goes on.
    pub(super) fn end(mut self) {
        self.fs.set_capacity(None);
        let fs = self.fs.kill();
        self.restart_on(fs, Start::Plain);
        self.check().unwrap();
        self.release(100);
        self.append(1, 10);
        assert_eq!(self.fates.last(), Some(&Fate::Acknowledged));
        self.check().unwrap();
    }
}
