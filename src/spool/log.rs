//! The end of the log: appends frames, begins segments, syncs.

use std::{io, path::Path, sync::Arc};

use uuid::Uuid;

use super::{
    Position,
    frame::{self, Header},
    fs::{File, Fs, append_all, is_out_of_space},
    segment,
    store::{Segment, Store},
};

/// An append that did not happen.
#[derive(Debug)]
pub(super) enum LogError {
    /// No room, on the disk or below the limit. The log is as it was.
    Full,
    /// See there.
    Broken(Broken),
}

/// Nobody knows what is on the disk now. The log must not be used any more.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) doing: &'static str,
    pub(super) source: io::Error,
}

impl From<Broken> for LogError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Where the room for a segment comes from.
#[derive(Clone, Copy, Debug)]
enum Room {
    BesideReserve,
    /// From the reserve, if there is no other.
    Reserve,
}

fn broken(doing: &'static str) -> impl FnOnce(io::Error) -> Broken {
    move |source| Broken { doing, source }
}

/// The active segment, open for appending.
#[derive(Debug)]
pub(super) struct Log {
    store: Arc<Store>,
    file: Box<dyn File>,
    active: Segment,
    next_seq: u64,
    segment_bytes: u64,
    /// Something was written that was not synced.
    unsynced: bool,
}

impl Log {
    pub(super) fn new(
        store: Arc<Store>,
        file: Box<dyn File>,
        active: Segment,
        next_seq: u64,
        segment_bytes: u64,
    ) -> Self {
        // Space is given back by the segment: a few of them must fit below the limit.
        let segment_bytes = segment_bytes.min(store.max_bytes / 4);
        Self { store, file, active, next_seq, segment_bytes, unsynced: false }
    }

    /// Writes one frame with one call of the system, as a rule.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), LogError> {
        let frame_bytes = (frame::HEADER_BYTES + payload.len()) as u64;
        let appended = self.try_append(payload, frame_bytes);
        self.store.note_lack(match appended {
            Err(LogError::Full) => with_header(frame_bytes),
            _ => 0,
        });
        appended
    }

    fn try_append(&mut self, payload: &[u8], frame_bytes: u64) -> Result<(), LogError> {
        self.make_room(frame_bytes)?;
        let full = self.active.len + frame_bytes > self.segment_bytes;
        if self.has_frames() && (self.store.is_new_segment_asked() || full) {
            self.rotate(Room::BesideReserve)?;
        }
        let header = Header::of(self.active.end(), self.next_seq, payload);
        let header = header.encode(self.store.spool_id);
        match self.store.reserve.beside(frame_bytes, || append_all(&*self.file, &header, payload)) {
            Ok(()) => {}
            Err(error) if is_out_of_space(&error) => {
                self.file.set_len(self.active.len).map_err(broken("cutting off a partial frame"))?;
                return Err(LogError::Full);
            }
            Err(error) => return Err(broken("writing")(error).into()),
        }
        self.unsynced = true;
        self.next_seq += 1;
        self.active.len += frame_bytes;
        self.store.grew(self.active.len);
        Ok(())
    }

    /// Makes durable what was appended, and lets readers see it.
    pub(super) fn sync(&mut self) -> Result<(), Broken> {
        if self.unsynced {
            self.file.sync_data().map_err(broken("syncing"))?;
            self.unsynced = false;
            self.publish();
        }
        Ok(())
    }

    /// Where the next frame would start, in this segment.
    pub(super) fn end(&self) -> Position {
        self.active.end()
    }

    /// Lets readers see what was appended.
    pub(super) fn publish(&self) {
        self.store.publish(self.active.end());
    }

    /// Whether all that was appended is released, and there is something to give back.
    pub(super) fn is_delivered(&self) -> bool {
        self.has_frames() && self.store.all_released()
    }

    /// Whether the active segment is worth the syncs of another, or somebody asked for another.
    pub(super) fn is_large(&self) -> bool {
        self.active.len > self.segment_bytes / 16 || self.store.is_new_segment_asked()
    }

    /// Begins a segment and removes those before it, all of which is delivered. `false` when the disk
    /// has no room for the new one.
    pub(super) fn give_back(&mut self) -> Result<bool, Broken> {
        // It takes a block and gives many, so the reserve is there again right after.
        match self.rotate(Room::Reserve) {
            Ok(()) => {}
            Err(LogError::Full) => return Ok(false),
            Err(LogError::Broken(broken)) => return Err(broken),
        }
        if let Err((path, error)) = self.store.release(Position(0)) {
            // It is tried again with the next release.
            tracing::warn!(%error, path = %path.display(), "a delivered segment of the spool cannot be removed");
        }
        self.store.reserve.refill();
        Ok(true)
    }

    fn has_frames(&self) -> bool {
        self.active.len > segment::HEADER_BYTES as u64
    }

    /// Every append leaves room for one more segment header, so that a new segment can always be
    /// begun below the limit.
    fn make_room(&mut self, frame_bytes: u64) -> Result<(), LogError> {
        let needed = with_header(frame_bytes);
        if self.store.bytes() + needed <= self.store.max_bytes {
            return Ok(());
        }
        if !self.store.has_room_for(needed) {
            return Err(LogError::Full);
        }
        // Only a segment that is not the active one can be removed.
        if self.has_frames() && self.store.all_released() {
            self.rotate(Room::BesideReserve)?;
        }
        if let Err((path, error)) = self.store.release(Position(0)) {
            tracing::warn!(%error, path = %path.display(), "a delivered segment of the spool cannot be removed");
            return Err(LogError::Full);
        }
        Ok(())
    }

    fn rotate(&mut self, room: Room) -> Result<(), LogError> {
        // Recovery relies on it: only the newest segment can have a torn end.
        self.sync()?;
        let base = self.active.end();
        let store = &self.store;
        let create = || create_segment(&*store.fs, &store.dir, store.spool_id, base, self.next_seq);
        let created = match room {
            Room::BesideReserve => store.reserve.beside(segment::HEADER_BYTES as u64, create),
            Room::Reserve => store.reserve.with(create),
        };
        self.file = created.map_err(|error| {
            if is_out_of_space(&error) { LogError::Full } else { broken("beginning a segment")(error).into() }
        })?;
        self.active = Segment { base, len: segment::HEADER_BYTES as u64 };
        self.store.rotated(base, self.active.len);
        Ok(())
    }
}

/// What an append may take: its frame, and the header of a segment for it.
fn with_header(frame_bytes: u64) -> u64 {
    frame_bytes + segment::HEADER_BYTES as u64
}

/// Begins a segment, durably. When that fails, there is no such file afterwards, also not after a
/// crash; when that cannot be had either, the error is another than that of a full disk.
pub(super) fn create_segment(
    fs: &dyn Fs,
    dir: &Path,
    spool_id: Uuid,
    base: Position,
    first_seq: u64,
) -> io::Result<Box<dyn File>> {
    let path = dir.join(segment::file_name(base));
    let file = fs.create_new(&path)?;
    let header = segment::Header { spool_id, base, first_seq }.encode();
    let begun = append_all(&*file, &header, &[])
        .and_then(|()| file.sync_data())
        // The name must be durable before a frame in the file is acknowledged.
        .and_then(|()| fs.sync_dir(dir));
    match begun {
        Ok(()) => Ok(file),
        Err(error) => {
            // The segment before it may grow beyond this base. A name that came back would cut it off
            // there.
            fs.remove(&path).and_then(|()| fs.sync_dir(dir)).map_err(io::Error::other)?;
            Err(error)
        }
    }
}
