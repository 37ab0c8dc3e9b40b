//! What writer and reader share: the segments that there are, and how far they are durable.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Position,
    fs::{Fs, Held},
    reserve::Reserve,
    segment,
};

/// A segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) base: Position,
    /// Bytes of the file, header included.
    pub(super) len: u64,
}

impl Segment {
    pub(super) fn end(&self) -> Position {
        Position(self.base.0 + self.len)
    }
}

#[derive(Debug)]
struct State {
    /// In the order of their positions, and never empty: the last one is being written.
    segments: VecDeque<Segment>,
    /// Nobody reads below it any more.
    released: Position,
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|it| it.len).sum()
    }

    fn active(&self) -> Segment {
        self.segments.back().copied().unwrap_or(Segment { base: Position(0), len: 0 })
    }

    /// The oldest segment, if it may go.
    fn removable(&self) -> Option<Segment> {
        let oldest = *self.segments.front()?;
        (self.segments.len() > 1 && oldest.end() <= self.released).then_some(oldest)
    }

    fn all_released(&self) -> bool {
        self.active().end() <= self.released
    }
}

/// What opening a spool found in it.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) spool_id: Uuid,
    /// In the order of their positions; the last one is to be written.
    pub(super) segments: VecDeque<Segment>,
    pub(super) durable_end: Position,
}

/// The segments of an open spool.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) spool_id: Uuid,
    pub(super) max_bytes: u64,
    pub(super) reserve: Reserve,
    state: Mutex<State>,
    /// Held while files are removed: one at a time, and never with `state`, for which the writer
    /// would have to wait.
    removing: Mutex<()>,
    /// It lives as long as any reader, so waiting on it cannot fail.
    durable: watch::Sender<Position>,
    /// What the writer last had no room for, 0 when it had.
    lacking_bytes: AtomicU64,
    /// The next append begins a segment.
    new_segment_asked: AtomicBool,
    /// Nobody else may write or remove while anyone here can.
    _lock: Box<dyn Held>,
}

impl Store {
    pub(super) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        contents: Contents,
        max_bytes: u64,
        reserve: Reserve,
        lock: Box<dyn Held>,
    ) -> Self {
        let Contents { spool_id, segments, durable_end } = contents;
        Self {
            fs,
            dir: dir.to_owned(),
            spool_id,
            max_bytes,
            reserve,
            state: Mutex::new(State { segments, released: Position(0) }),
            removing: Mutex::new(()),
            durable: watch::Sender::new(durable_end),
            lacking_bytes: AtomicU64::new(0),
            new_segment_asked: AtomicBool::new(false),
            _lock: lock,
        }
    }

    pub(super) fn path(&self, base: Position) -> PathBuf {
        self.dir.join(segment::file_name(base))
    }

    pub(super) fn durable_end(&self) -> Position {
        *self.durable.borrow()
    }

    pub(super) fn watch_durable(&self) -> watch::Receiver<Position> {
        self.durable.subscribe()
    }

    /// Readers may read up to `end` from now on.
    pub(super) fn publish(&self, end: Position) {
        self.durable.send_replace(end);
    }

    /// The active segment has this length now.
    pub(super) fn grew(&self, len: u64) {
        if let Some(active) = guard(&self.state).segments.back_mut() {
            active.len = len;
        }
    }

    /// Another segment is the active one now.
    pub(super) fn rotated(&self, base: Position, len: u64) {
        self.new_segment_asked.store(false, Ordering::Relaxed);
        guard(&self.state).segments.push_back(Segment { base, len });
    }

    /// The segment that holds a position, or else the first one above it.
    pub(super) fn locate(&self, position: Position) -> Option<Segment> {
        let state = guard(&self.state);
        let at = state.segments.partition_point(|it| it.end() <= position);
        state.segments.get(at).copied()
    }

    pub(super) fn bytes(&self) -> u64 {
        guard(&self.state).bytes()
    }

    /// Whether no segment is left with a frame that begins before a position.
    pub(super) fn is_gone_before(&self, position: Position) -> bool {
        let has_frames = |it: &Segment| it.len > segment::HEADER_BYTES as u64;
        guard(&self.state).segments.iter().all(|it| it.base >= position || !has_frames(it))
    }

    /// Has the writer begin a segment with the next append, or as soon as all is released, however short the active
    /// one is.
    pub(super) fn ask_for_new_segment(&self) {
        self.new_segment_asked.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked for a new segment.
    pub(super) fn is_new_segment_asked(&self) -> bool {
        self.new_segment_asked.load(Ordering::Relaxed)
    }

    /// Whether `more` bytes fit below the limit, once what is released is removed.
    pub(super) fn has_room_for(&self, more: u64) -> bool {
        let state = guard(&self.state);
        let taken = if state.all_released() {
            segment::HEADER_BYTES as u64
        } else {
            let kept = state.segments.iter().rev().take_while(|it| it.end() > state.released);
            kept.map(|it| it.len).sum()
        };
        taken + more <= self.max_bytes
    }

    /// Whether all that was written is released, so that the active segment could be replaced.
    pub(super) fn all_released(&self) -> bool {
        guard(&self.state).all_released()
    }

    pub(super) fn note_lack(&self, bytes: u64) {
        self.lacking_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether the limit is reached; from memory, without asking the disk.
    pub(super) fn is_over_limit(&self) -> bool {
        let lacking = self.lacking_bytes.load(Ordering::Relaxed);
        lacking > 0 && !self.has_room_for(lacking)
    }

    /// Whether what the writer last had no room for still has none. It asks the disk only after
    /// something was refused, or while the reserve is spent.
    pub(super) fn is_full(&self) -> bool {
        let lacking = self.lacking_bytes.load(Ordering::Relaxed);
        let ask_disk = lacking > 0 || self.reserve.is_spent();
        self.is_over_limit() || ask_disk && self.reserve.lacks(lacking)
    }

    /// Removes the segments that lie wholly below `up_to`, except the active one; says how many
    /// bytes came free.
    pub(super) fn release(&self, up_to: Position) -> Result<u64, (PathBuf, io::Error)> {
        let _one_at_a_time = guard(&self.removing);
        {
            let mut state = guard(&self.state);
            // What was not shown to anybody cannot be done with.
            state.released = state.released.max(up_to.min(self.durable_end()));
        }
        let mut freed = 0;
        loop {
            let Some(segment) = guard(&self.state).removable() else { break };
            let path = self.path(segment.base);
            match self.fs.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((path, error)),
                _ => {}
            }
            // One at a time: a crash may leave any of several removals undone, and the gap would look
            // like a loss.
            self.fs.sync_dir(&self.dir).map_err(|error| (self.dir.clone(), error))?;
            guard(&self.state).segments.pop_front();
            freed += segment.len;
        }
        Ok(freed)
    }
}

/// Locks. A panic elsewhere does not matter: whatever is behind these locks is changed in single
/// steps that cannot panic half way.
pub(super) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::fs::fault::FaultFs;

    fn store(lens: &[u64]) -> Store {
        let fs = FaultFs::new();
        let dir = Path::new("/spool");
        fs.create_dir(dir).unwrap();
        let mut base = Position(0);
        let mut segments = VecDeque::new();
        for len in lens {
            fs.create_new(&dir.join(segment::file_name(base))).unwrap();
            segments.push_back(Segment { base, len: *len });
            base = Position(base.0 + len);
        }
        let lock = fs.lock(&dir.join("lock")).unwrap().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(fs);
        let reserve = Reserve::find(&fs, dir, 0).unwrap();
        let contents = Contents { spool_id: Uuid::nil(), segments, durable_end: base };
        Store::new(fs, dir, contents, 1000, reserve, lock)
    }

    #[test]
    fn only_whole_segments_below_are_removed_and_never_the_active_one() {
        let store = store(&[100, 200, 300]);
        assert_eq!(store.release(Position(99)).unwrap(), 0);
        assert_eq!(store.release(Position(299)).unwrap(), 100);
        assert_eq!(store.bytes(), 500);
        assert_eq!(store.release(Position(0)).unwrap(), 0, "what is released stays released");
        assert_eq!(store.release(Position(10_000)).unwrap(), 200);
        let left = store.fs.list(&store.dir).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].name, segment::file_name(Position(300)));
    }

    #[test]
    fn a_position_is_located_in_its_segment_or_in_the_next() {
        let store = store(&[100, 200]);
        let base_of = |at| store.locate(Position(at)).map(|it| it.base.0);
        assert_eq!([base_of(0), base_of(99), base_of(100), base_of(299)], [0, 0, 100, 100].map(Some));
        assert_eq!(base_of(300), None);
    }

    #[test]
    fn what_is_released_counts_as_room_before_it_is_removed() {
        let store = store(&[100, 200, 300]);
        assert!(store.has_room_for(400) && !store.has_room_for(401));
        store.state.lock().unwrap().released = Position(100);
        assert!(store.has_room_for(500) && !store.has_room_for(501));
        store.state.lock().unwrap().released = Position(600);
        assert!(store.has_room_for(936) && !store.has_room_for(937), "the active one can be replaced");
    }
}
