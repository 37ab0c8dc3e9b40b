//! Reads the log in order, a large piece at a time, and gives space back.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Position,
    frame::{self, Frame, Header},
    fs::{File, read_up_to},
    log::Broken,
    quarantine::{self, DamagedRange},
    scan::{Item, Scan},
    segment,
    store::{Segment, Store, guard},
    writer::{Control, Left},
};

/// Read from the disk at a time, if there is so much.
const CHUNK_BYTES: usize = 64 << 10;

/// A read that failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk fails.
    #[error("the spool's segment {path} cannot be read: {source}")]
    Io {
        /// The segment's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Damaged bytes cannot be put aside, so they are not stepped over.
    #[error("damaged bytes of the spool's segment {path} cannot be copied to its quarantine: {source}")]
    Quarantine {
        /// The segment's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No frame starts there: the position is not of this spool.
    #[error("position {position} of the spool lies within the frame that starts at {frame}")]
    WithinFrame {
        /// What was asked for.
        position: Position,
        /// Where the frame around it starts.
        frame: Position,
    },
}

/// Segments that could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be removed, or not durably: {source}")]
pub struct ReleaseError {
    path: PathBuf,
    source: io::Error,
}

/// Reads what is durable. All methods that touch the disk block.
pub struct Reader {
    store: Arc<Store>,
    writer: Arc<dyn Control>,
    left: Arc<Left>,
    cache: Mutex<Cache>,
    damaged_ranges: AtomicU64,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("spool_id", &self.spool_id()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(store: Arc<Store>, writer: Arc<dyn Control>, left: Arc<Left>) -> Self {
        Self { store, writer, left, cache: Mutex::default(), damaged_ranges: AtomicU64::new(0) }
    }

    /// Everything before it is durable, as the [policy](super::FsyncPolicy) defines it, and can be
    /// read.
    #[must_use]
    pub fn durable_end(&self) -> Position {
        self.store.durable_end()
    }

    /// Resolves when more than what lies before `position` is durable; never, if the writer ends
    /// before that.
    pub async fn wait_durable_past(&self, position: Position) {
        // The sender is in the store that this holds, so waiting cannot fail.
        let _ = self.store.watch_durable().wait_for(|end| *end > position).await;
    }

    /// The first frame at `from` or above, among what is durable. Damage on the way is copied to
    /// quarantine, logged, counted and stepped over.
    ///
    /// # Errors
    /// The disk fails, or `from` is within a frame.
    pub fn read_from(&self, from: Position) -> Result<Option<Frame>, ReadError> {
        let mut cache = guard(&self.cache);
        let mut at = from;
        loop {
            let durable = self.durable_end();
            let Some(segment) = self.store.locate(at) else { return Ok(None) };
            let end = segment.end().min(durable);
            at = at.max(Position(segment.base.0 + segment::HEADER_BYTES as u64));
            if at >= end {
                if segment.end() >= durable {
                    return Ok(None);
                }
                at = segment.end();
                continue;
            }
            let io = |source| ReadError::Io { path: self.store.path(segment.base), source };
            match cache.frame_at(&self.store, segment, at, end).map_err(io)? {
                Some(frame) => return Ok(Some(frame)),
                None => at = self.step_over(&mut cache, segment, at, end)?,
            }
        }
    }

    /// What to go on with after no frame was found at `at`.
    fn step_over(
        &self,
        cache: &mut Cache,
        segment: Segment,
        at: Position,
        end: Position,
    ) -> Result<Position, ReadError> {
        // It may have been read badly; the next look is at the disk.
        *cache = Cache::default();
        let store = &*self.store;
        let path = store.path(segment.base);
        let io = |source| ReadError::Io { path: path.clone(), source };
        let file = store.fs.open_read(&path).map_err(io)?;
        let mut scan = Scan::new(&*file, store.spool_id, segment.base, end);
        while let Some(item) = scan.next().map_err(io)? {
            if item.end() <= at {
                continue;
            }
            match item {
                Item::Frame(header) if header.position == at => return Ok(at),
                Item::Frame(header) => {
                    return Err(ReadError::WithinFrame { position: at, frame: header.position });
                }
                Item::Damage { start, end, .. } => {
                    let range = DamagedRange { start, end };
                    // On a full disk too: delivery has to get past it to make room.
                    let keep = || quarantine::keep(&*store.fs, &store.dir, &*file, segment.base, range);
                    let new = store
                        .reserve
                        .with(keep)
                        .map_err(|source| ReadError::Quarantine { path: path.clone(), source })?;
                    if new {
                        self.damaged_ranges.fetch_add(1, Ordering::Relaxed);
                        tracing::error!(
                            start = start.0,
                            end = end.0,
                            segment = %path.display(),
                            "a part of the spool is damaged; it was put into quarantine and left out"
                        );
                    }
                    return Ok(end);
                }
            }
        }
        Ok(end)
    }

    /// Nobody will read below `up_to` any more: removes the segments that lie wholly below it,
    /// and says how many bytes came free. The active segment stays; when all of it is released, the
    /// writer begins another soon and removes it, or this does if the writer was closed.
    ///
    /// # Errors
    /// A file cannot be removed; the next call tries again.
    pub fn release(&self, up_to: Position) -> Result<u64, ReleaseError> {
        guard(&self.cache).forget_below(up_to);
        let before = self.store.bytes();
        let mut freed = self.store.release(up_to).map_err(|(path, source)| ReleaseError { path, source })?;
        if self.store.all_released() {
            let dir = &self.store.dir;
            let failed = |broken: Broken| ReleaseError { path: dir.clone(), source: broken.source };
            if self.left.give_back().map_err(failed)? {
                freed = before.saturating_sub(self.store.bytes());
            } else {
                self.writer.nudge();
            }
        }
        Ok(freed)
    }

    /// Has the writer begin a new segment with the next append, or as soon as all is released, so that the files of
    /// what is there now can go when it is released, and not only when the segment is full.
    pub fn ask_for_new_segment(&self) {
        self.store.ask_for_new_segment();
        self.writer.nudge();
    }

    /// Whether no file is left with a frame that begins before a position. The quarantine is not looked at.
    #[must_use]
    pub fn is_gone_before(&self, position: Position) -> bool {
        self.store.is_gone_before(position)
    }

    /// Waits until the writer has done all that it has to do now, or has ended.
    #[cfg(test)]
    pub(super) fn wait_until_writer_rests(&self) {
        self.writer.wait_until_resting();
    }

    /// The spool's own id: positions mean nothing in another spool.
    #[must_use]
    pub fn spool_id(&self) -> Uuid {
        self.store.spool_id
    }

    /// The size of all segments. The quarantine is not counted.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.store.bytes()
    }

    /// How many damaged ranges this reader has put into quarantine, beyond those that recovery
    /// reported.
    #[must_use]
    pub fn damaged_ranges(&self) -> u64 {
        self.damaged_ranges.load(Ordering::Relaxed)
    }
}

/// The piece of the log that was read last.
#[derive(Default)]
struct Cache {
    file: Option<(Position, Box<dyn File>)>,
    /// Where `bytes` starts.
    start: Position,
    bytes: Bytes,
}

impl Cache {
    /// Lets go of what lies wholly below a position, the file above all: one that was removed keeps its
    /// blocks for as long as it is open.
    fn forget_below(&mut self, up_to: Position) {
        if Position(self.start.0 + self.bytes.len() as u64) <= up_to {
            *self = Self::default();
        }
    }

    /// The frame at `at`, or `None` when there is none. `end` is where the segment is good to.
    fn frame_at(
        &mut self,
        store: &Store,
        segment: Segment,
        at: Position,
        end: Position,
    ) -> io::Result<Option<Frame>> {
        let head = self.get(store, segment, at, end, frame::HEADER_BYTES)?;
        let Some(header) = Header::decode(&head, store.spool_id, at) else { return Ok(None) };
        let frame_len = usize::try_from(header.frame_len()).unwrap_or(usize::MAX);
        let bytes = self.get(store, segment, at, end, frame_len)?;
        let Some(payload) =
            bytes.len().checked_sub(frame::HEADER_BYTES).map(|_| bytes.slice(frame::HEADER_BYTES..))
        else {
            return Ok(None);
        };
        if !header.matches(&payload) {
            return Ok(None);
        }
        let next = Position(at.0 + header.frame_len());
        Ok(Some(Frame { position: at, next, seq: header.seq, payload }))
    }

    /// `len` bytes at `at`; fewer where the segment ends.
    fn get(
        &mut self,
        store: &Store,
        segment: Segment,
        at: Position,
        end: Position,
        len: usize,
    ) -> io::Result<Bytes> {
        let left = usize::try_from(end.0 - at.0).unwrap_or(usize::MAX);
        let len = len.min(left);
        // Positions are those of the whole log, so a piece of another segment never matches.
        let skip = at.0.checked_sub(self.start.0).and_then(|it| usize::try_from(it).ok());
        let held = skip.and_then(|skip| self.bytes.get(skip..)).unwrap_or_default();
        if held.len() < len {
            let mut bytes = vec![0; len.max(CHUNK_BYTES).min(left)];
            let kept = held.len();
            bytes[..kept].copy_from_slice(held);
            let file = match &mut self.file {
                Some((base, file)) if *base == segment.base => file,
                other => {
                    let file = store.fs.open_read(&store.path(segment.base))?;
                    &mut other.insert((segment.base, file)).1
                }
            };
            let offset = at.0 - segment.base.0 + kept as u64;
            let read = read_up_to(&**file, &mut bytes[kept..], offset)?;
            bytes.truncate(kept + read);
            (self.start, self.bytes) = (at, bytes.into());
        }
        let skip = usize::try_from(at.0 - self.start.0).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(self.bytes.slice(skip..self.bytes.len().min(skip + len)))
    }
}
