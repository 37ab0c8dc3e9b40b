//! The spool: a log on disk that holds what is acknowledged until ClickHouse has it.
//!
//! [`Appender`] hands items to one [writer](WriterHandle) thread, which lets a [`GroupEncoder`] make
//! one frame of all that waits, writes it, syncs, and answers everybody at once. A [`Reader`] reads
//! durable frames in order and releases what was delivered; whole segments are removed. The spool
//! knows nothing of what its frames hold.
//!
//! # The format, version 1
//!
//! Numbers are unsigned and little-endian, checksums too. A checksum is CRC-32C: polynomial
//! `0x1edc6f41`, bits reflected (`0x82f63b78`), begun with and finally inverted by `0xffffffff`. That
//! of the nine bytes `123456789` is `0xe3069283`.
//!
//! ## The folder
//!
//! | file | what |
//! |---|---|
//! | `BASE.seg` | a segment; BASE is its base position in exactly 20 decimal digits |
//! | `spool.id` | the spool's id: a UUID as 36 characters in lower case, a space, and the checksum of the 36 as eight hexadecimal digits in lower case, the highest first. Made at the first opening, never changed |
//! | `spool.lock` | locked (`flock`, exclusive) by the process that has the spool open; holds its process id |
//! | `reserve` | [`Options::reserve_bytes`] of no meaning, whose blocks are given up when the disk is full |
//! | `quarantine/spool-START-END.damaged` | a copy of the bytes from position START to before END, 20 digits each |
//! | `quarantine/BASE.seg` | a segment that held no frame at all and no header |
//! | `delivery.json` | not the spool's, but of use to whoever reads one: see [below](#reading-a-spool) |
//!
//! Files of other names, `*.tmp` among them, are none of the spool's. A `spool.id` that is missing or
//! does not match its checksum is made anew from any valid header of a segment.
//!
//! ## Positions
//!
//! A position is a byte offset in a log without end, below 2^64. The byte at offset *n* of the segment
//! with base *b* has position *b + n*, headers included. Bases rise; a segment ends where its file
//! does or where the next one starts, whichever is lower. The next one starts there or higher: the
//! positions in between were given up after damage, or when the caller of [`open`] said that they had
//! been used. Such a gap is no loss. No position is ever used for two frames that anybody could have
//! read, which is why the opener says how far positions were used.
//!
//! ## A segment
//!
//! A header of 64 bytes, then frames without gaps or padding, perhaps none.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `ASSENTSP` |
//! | 8 | 4 | version of the format, 1 |
//! | 12 | 4 | written as 0, and not looked at |
//! | 16 | 16 | the spool's id, its first character's byte first (RFC 9562) |
//! | 32 | 8 | base position |
//! | 40 | 8 | number of the first frame, also if there is none yet |
//! | 48 | 12 | written as 0, and not looked at |
//! | 60 | 4 | checksum of bytes 0 to 59 |
//!
//! A header is valid if the magic, the checksum and the version are right and the base is that of the
//! file's name. A segment is begun when the next frame would make the last one larger than
//! [`Options::segment_bytes`]; one with a single frame may be larger.
//!
//! ## A frame
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `AFRM` |
//! | 4 | 4 | length of the payload, 256 MiB (2^28) at most; 0 is possible |
//! | 8 | 8 | position of the frame's first byte |
//! | 16 | 8 | number: one more than that of the frame before it, in this segment or the last |
//! | 24 | 4 | checksum of the payload |
//! | 28 | 4 | checksum of the 16 bytes of the spool's id followed by bytes 0 to 27 |
//! | 32 | … | payload |
//!
//! A frame's header is valid at a position if the magic, the length's limit, the position and the
//! header's checksum are right; the frame is valid if all of its payload is there too, before the end
//! of the segment, and matches its checksum. The position and the id make it valid in one place of one
//! spool only. So no payload can hold what passes for a frame, and no old block of the disk can either.
//!
//! ## Reading a spool
//!
//! 1. List the segments in the order of their bases. If any header has the right magic and checksum
//!    and a version that is not known, or a valid one has another id than the rest, leave the spool
//!    alone.
//! 2. Go through each segment from its offset 64, also if its header is not valid: its base is in its
//!    name, and the id in `spool.id` or in another header. (A newest segment with no valid header and 64
//!    bytes at most never held a frame.)
//! 3. Where a valid frame starts, take it and go on behind it.
//! 4. Where none does, the bytes from there to the next place where a valid frame starts, or to the end
//!    of the segment, are *damaged*. The search for it begins one byte further on; but if the header is
//!    valid and all bytes of the payload are there, behind them, since its length can be trusted. Damage
//!    at the end of the newest segment may be a frame that is being written: look again later.
//! 5. Numbers that are missing between two frames, or between a frame and the number in a valid header
//!    before or behind it, are frames that are lost, in a damaged range or with a segment that somebody
//!    removed. A number is used again only after a loss at the very end, and never
//!    by two valid frames of a spool.
//!
//! What is delivered is not marked in the spool. Whoever reads it keeps a position and calls
//! [`Reader::release`]; segments below that may or may not be gone. Delivery keeps it in `delivery.json`
//! in the same folder: frames that start below its `cursor` are in ClickHouse or in quarantine, the
//! others may or may not be. What a payload holds is said in `delivery::frame`.
//!
//! ## Other versions
//!
//! Of all versions to come, these stay as they are: the names of segments, `spool.id` and `spool.lock`;
//! a header's magic, the place of its version, and the checksum of its first 60 bytes in the four
//! behind them. All else may change, the length of the header and the layout of frames included. The
//! bytes that are not looked at may get a meaning in version 1, if a program that does not know it loses
//! nothing by it.
//!
//! A segment is of one version from its start to its end and is never rewritten. A newer program reads
//! what older ones wrote, segment by segment, and begins a new segment instead of going on with one of
//! theirs. An older program does not open a spool with a segment that it does not know. So an upgrade
//! needs nothing, and a way back needs a spool that the newer program has drained.
//!
//! ## Order of writes
//!
//! 1. A segment's header is written and synced, then its folder, before a frame is written to it.
//! 2. A frame is one append. The next one is not begun before it is synced, under
//!    [`FsyncPolicy::EveryCommit`].
//! 3. A segment is synced before the next one is begun, under every policy.
//! 4. A segment is removed only when all of it was released, the oldest first, and durably before the
//!    next one is. The newest stays. When all that was appended is released, another is begun, so that
//!    the last one with frames can be removed too: at once if it is larger than a sixteenth of
//!    [`Options::segment_bytes`], else when nothing was appended for [`Options::idle_rotation`], and at
//!    a clean end.
//! 5. An append for which there is no room is cut off again, and a segment that could not be begun is
//!    removed, durably. Any other fault of the disk, a failed sync above all, ends the writer for
//!    good: what the system kept is not known. That holds too for a sync that fails for want of room,
//!    as it may where blocks are allocated late (NFS, quotas, btrfs): the pages are gone. Opening the
//!    spool anew reads what the system kept. What is only in its memory by then was not acknowledged,
//!    and is damage if a power cut takes it.
//!
//! ## A full disk
//!
//! What was acknowledged stays; appends are refused ([`AppendError::Full`]), and each tries anew, so
//! room is noticed by itself. Delivery must go on, since it makes room. Its state is written with
//! [`Reserve::write_atomically`], which gives the reserve up; so does opening, if it has to begin a
//! segment, and whoever copies what is damaged to the quarantine. While the reserve is missing, nothing is appended before it
//! could be made anew. It is made, or checked, at every opening, and a full disk does not prevent that
//! opening.
//!
//! ## Recovery
//!
//! Opening reads every byte that is there.
//!
//! - A damaged range (see [Reading](#reading-a-spool)) is *torn* if it is the end of the newest segment,
//!   starts at or above all positions that were handed out (`min_next` of [`open`]), and is shorter than a
//!   frame's header, or a valid header whose payload the file's end cuts short, or nothing but zeros. It is
//!   cut off, and its positions are used again: no such write was ever acknowledged. A frame of full length
//!   that does not match its checksum is not torn, since it may have been acknowledged.
//! - Every other damaged range is copied to the quarantine and left out. The bytes stay where they
//!   are, frames around them are kept, and nothing is written to that segment any more if its end is damaged.
//! - A newest segment without a valid header and not longer than one is removed; it never held a frame.
//! - Any other header that is not valid is a damaged range of its own. If the segment has no
//!   valid frame either, the file is moved to the quarantine.
//! - What is kept of the newest segment, and the folder, are synced before any of it is shown to a
//!   reader.
//! - Opening can be cut short anywhere, by a kill, a power cut or a full disk, and begun anew.
//!
//! ## Limits
//!
//! All segments together hold [`Options::max_bytes`] at most, but for headers of segments that opening had
//! to begin; the reserve comes on top. What waits in memory is limited by [`Options::max_pending_bytes`].
//! The quarantine is not limited by itself; it holds what was in segments before.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

mod frame;
pub mod fs;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod inspect;
mod lock;
mod log;
mod quarantine;
mod queue;
mod reader;
mod recovery;
mod reserve;
mod scan;
mod segment;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use frame::Frame;
pub use fs::is_out_of_space;
pub use inspect::{InspectError, Inspection, SegmentInfo, SegmentState, inspect};
pub use quarantine::{DamagedPart, DamagedRange, damaged};
pub use queue::{AppendError, Appender, Coming, Expected};
pub use reader::{ReadError, Reader, ReleaseError};
pub use recovery::{OpenError, RecoveryReport};
pub use reserve::Reserve;
pub use writer::WriterHandle;

use fs::{Fs, Real};
use log::Log;
use queue::Queue;
use store::Store;
use writer::Left;

/// A place in the log: a byte offset that is never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a commit counts as durable.
///
/// Whatever the policy: nothing is read twice, out of order or altered, a kill of the process loses
/// nothing, and a loss in the middle is reported when the spool is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsyncPolicy {
    /// When it is synced. Nothing that was acknowledged is ever lost.
    EveryCommit,
    /// When it is written; it is synced within this time, and shown to readers only then. A power
    /// cut may lose what was acknowledged since the last sync, all or any part of it; it loses nothing
    /// that a reader was shown, unless the disk had failed to sync it before.
    Interval(Duration),
    /// When it is written; segments are synced when they are full and at a clean end. A power cut
    /// may lose any part of what was acknowledged since, shown to readers or not.
    Never,
}

/// How a spool is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its folder. It is made if it is missing.
    pub dir: PathBuf,
    /// A segment is not continued beyond this; at most a quarter of `max_bytes` is used.
    pub segment_bytes: u64,
    /// The most that all segments together may take.
    pub max_bytes: u64,
    /// What is put by on the disk for delivery's state, beside `max_bytes`; 0 for nothing. The state
    /// must fit into it.
    pub reserve_bytes: u64,
    /// The most that a frame's payload may take, 256 MiB at most.
    pub max_frame_bytes: u32,
    /// The most that may wait in memory, the commit under way included.
    pub max_pending_bytes: usize,
    /// A commit takes more items until it has so many bytes.
    pub group_bytes: usize,
    /// The longest that a commit waits for items, while more are [expected](Expected) than it has.
    pub gather: Duration,
    /// The least time between the beginnings of two commits while each holds many items.
    pub pace: Duration,
    /// When a commit counts as durable.
    pub fsync: FsyncPolicy,
    /// When all is released and nothing was appended for so long, the active segment is given back
    /// too. If it is larger than a sixteenth of `segment_bytes`, that is done at once.
    pub idle_rotation: Duration,
}

impl Options {
    /// The defaults, for a folder.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            segment_bytes: 64 << 20,
            max_bytes: 10 << 30,
            reserve_bytes: 4 << 20,
            max_frame_bytes: 32 << 20,
            max_pending_bytes: 64 << 20,
            group_bytes: 4 << 20,
            gather: Duration::from_millis(25),
            pace: Duration::from_millis(3),
            fsync: FsyncPolicy::EveryCommit,
            idle_rotation: Duration::from_secs(10),
        }
    }

    /// The least that `max_bytes` can be, so that every spool can hold a frame.
    const LEAST_MAX_BYTES: u64 = 1024;

    fn check(&self) -> Result<(), OpenError> {
        let wrong = |option, rule| Err(OpenError::Option { option, rule });
        if self.max_bytes < Self::LEAST_MAX_BYTES {
            return wrong("max_bytes", "must be 1024 at least");
        }
        if self.max_frame_bytes == 0 || self.max_frame_bytes > frame::MAX_PAYLOAD_BYTES {
            return wrong("max_frame_bytes", "must be between 1 and 256 MiB");
        }
        if self.segment_bytes == 0 {
            return wrong("segment_bytes", "must not be 0");
        }
        if self.max_pending_bytes == 0 {
            return wrong("max_pending_bytes", "must not be 0");
        }
        Ok(())
    }

    /// What fits into a frame, and with it into a spool that is otherwise empty: beside the frame
    /// there are a segment's header and room for another.
    fn max_payload_bytes(&self) -> usize {
        let headers = (frame::HEADER_BYTES + 2 * segment::HEADER_BYTES) as u64;
        let most = u64::from(self.max_frame_bytes).min(self.max_bytes - headers);
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

/// Makes one frame's payload of many items. It is used by the writer's thread alone.
pub trait GroupEncoder: Send + 'static {
    /// What is appended.
    type Item: Send + 'static;

    /// About how many bytes an item takes, in memory and in a payload.
    fn item_bytes(item: &Self::Item) -> usize;

    /// Adds an item.
    fn push(&mut self, item: Self::Item);

    /// About how long the payload would be now.
    fn len_bytes(&self) -> usize;

    /// Whether there is nothing to write.
    fn is_empty(&self) -> bool;

    /// Gives the payload, and starts anew.
    fn finish(&mut self) -> Vec<u8>;
}

/// An open spool.
#[derive(Debug)]
pub struct Opened<T> {
    /// Appends.
    pub appender: Appender<T>,
    /// Reads and releases. The spool stays locked until this and the writer are gone.
    pub reader: Reader,
    /// Writes delivery's state on a full disk too.
    pub reserve: Reserve,
    /// What was found.
    pub recovery: RecoveryReport,
    /// Holds the thread that writes.
    pub writer: WriterHandle,
}

/// Opens a spool, or makes it. Reads all that is in it, so this blocks. Positions below `min_next`
/// were used before, whatever the disk says, and are not used again; what lies below it is kept.
///
/// # Errors
/// See [`OpenError`].
pub fn open<E: GroupEncoder>(
    options: Options,
    encoder: E,
    min_next: Position,
) -> Result<Opened<E::Item>, OpenError> {
    open_on(Arc::new(Real), options, encoder, min_next)
}

/// [`open`] on any file system.
fn open_on<E: GroupEncoder>(
    fs: Arc<dyn Fs>,
    options: Options,
    encoder: E,
    min_next: Position,
) -> Result<Opened<E::Item>, OpenError> {
    options.check()?;
    let dir = &options.dir;
    fs.create_dir(dir).map_err(|source| OpenError::Io { doing: "making", path: dir.clone(), source })?;
    let lock = lock::acquire(&*fs, dir)?;
    let reserve = Reserve::find(&fs, dir, options.reserve_bytes).map_err(recovery::failed("listing", dir))?;
    let found = match recovery::recover(&fs, dir, min_next) {
        // Recovery can be begun anew wherever it was cut short.
        Err(error) if error.is_out_of_space() && reserve.give_up().is_ok() => {
            recovery::recover(&fs, dir, min_next)?
        }
        recovered => recovered?,
    };
    reserve.make().map_err(recovery::failed("making the reserve", dir))?;
    if found.report.missing_frames > 0 {
        tracing::error!(
            frames = found.report.missing_frames,
            dir = %dir.display(),
            "frames are missing from the spool; they are in its quarantine, or somebody removed files"
        );
    }
    let store = Arc::new(Store::new(fs, dir, found.contents, options.max_bytes, reserve.clone(), lock));
    let log = Log::new(Arc::clone(&store), found.file, found.active, found.next_seq, options.segment_bytes);
    let queue = Arc::new(Queue::new(options.max_pending_bytes));
    let max_payload_bytes = options.max_payload_bytes();
    let rules = writer::Rules {
        fsync: options.fsync,
        // Sizes are estimates: half of what a frame can hold is left for what they miss.
        group_bytes: options.group_bytes.min(max_payload_bytes / 2),
        max_payload_bytes,
        gather: options.gather,
        pace: options.pace,
        idle: options.idle_rotation,
    };
    let left = Arc::new(Left::default());
    let writer = writer::start(encoder, log, Arc::clone(&queue), rules, Arc::clone(&left))
        .map_err(OpenError::Thread)?;
    let reader = Reader::new(Arc::clone(&store), queue.clone(), left);
    let appender = Appender::new(queue, store, E::item_bytes, max_payload_bytes);
    Ok(Opened { appender, reader, reserve, recovery: found.report, writer })
}
