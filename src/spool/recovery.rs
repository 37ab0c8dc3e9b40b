//! Opening a spool: what is on the disk is checked to the last byte before anything is added to it.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use super::{
    Position,
    fs::{File, Fs, is_out_of_space, read_up_to, write_atomically_on},
    log::create_segment,
    quarantine::{self, DamagedRange},
    scan::{Item, Scan},
    segment::{self, Header, Invalid},
    store::{Contents, Segment},
};

/// The file that holds the spool's id as text.
pub(super) const ID_FILE: &str = "spool.id";

/// What opening a spool found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Segments that hold frames.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Bytes of torn writes at the end of the log, which were cut off. None of it was acknowledged.
    pub truncated_bytes: u64,
    /// What is damaged, and was put into quarantine now or before.
    pub quarantined: Vec<DamagedRange>,
    /// Frames whose numbers are missing between the first and the last, those in damaged ranges
    /// included.
    pub missing_frames: u64,
}

/// A spool that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An option has a value that it cannot have.
    #[error("the spool's option {option} {rule}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What it has to be.
        rule: &'static str,
    },
    /// Another process, or this one, has it open.
    #[error("the spool {dir} is in use{}: stop that collector, or use another data folder", by(.pid))]
    Locked {
        /// The spool's folder.
        dir: PathBuf,
        /// The process that said it has it open.
        pid: Option<u32>,
    },
    /// A newer version of this program wrote it.
    #[error(
        "{path} has version {version} of the spool's format, and this program knows version 1: run the newer program"
    )]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Somebody mixed the files of two spools.
    #[error(
        "{path} belongs to spool {found}, and the folder to spool {expected}: move it away, or back to where it was"
    )]
    ForeignSegment {
        /// The segment.
        path: PathBuf,
        /// The id in it.
        found: Uuid,
        /// The id of the others.
        expected: Uuid,
    },
    /// The disk fails.
    #[error("{path}: {doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no thread for the writer.
    #[error("the spool's writer cannot be started: {0}")]
    Thread(#[source] io::Error),
}

impl OpenError {
    /// The disk is full, which giving up the reserve may change.
    pub(super) fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_out_of_space(source))
    }
}

fn by(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" by process {pid}")).unwrap_or_default()
}

pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { doing, path, source }
}

/// A spool that is ready to go on.
pub(super) struct Recovered {
    pub(super) contents: Contents,
    pub(super) active: Segment,
    pub(super) file: Box<dyn File>,
    pub(super) next_seq: u64,
    pub(super) report: RecoveryReport,
}

/// A segment as it was found.
pub(super) struct Found {
    pub(super) segment: Segment,
    pub(super) header: Result<Header, Invalid>,
}

/// The segments of a folder in their order, with their headers.
pub(super) fn find_segments(fs: &dyn Fs, dir: &Path) -> Result<Vec<Found>, OpenError> {
    let entries = fs.list(dir).map_err(failed("listing", dir))?;
    let mut segments: Vec<_> = entries
        .iter()
        .filter_map(|entry| {
            segment::parse_file_name(&entry.name).map(|base| Segment { base, len: entry.len })
        })
        .collect();
    segments.sort_by_key(|it| it.base);
    segments
        .into_iter()
        .map(|segment| {
            let path = dir.join(segment::file_name(segment.base));
            let mut bytes = [0; segment::HEADER_BYTES];
            let file = fs.open_read(&path).map_err(failed("opening", &path))?;
            let read = read_up_to(&*file, &mut bytes, 0).map_err(failed("reading", &path))?;
            Ok(Found { segment, header: Header::decode(&bytes[..read], segment.base) })
        })
        .collect()
}

/// The id that the folder's file says; `None` when there is none, or when it is damaged.
pub(super) fn read_id(fs: &dyn Fs, dir: &Path) -> Result<Option<Uuid>, OpenError> {
    let path = dir.join(ID_FILE);
    let mut bytes = [0; 64];
    let file = match fs.open_read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("opening", &path))?,
    };
    let read = read_up_to(&*file, &mut bytes, 0).map_err(failed("reading", &path))?;
    Ok(std::str::from_utf8(&bytes[..read]).ok().and_then(|text| Uuid::parse_str(text.trim()).ok()))
}

/// Finds the id, and refuses what is not this program's to touch. Nothing is changed before this
/// has passed.
fn identify(fs: &dyn Fs, dir: &Path, found: &[Found]) -> Result<Uuid, OpenError> {
    let said = read_id(fs, dir)?;
    let mut id = said;
    for Found { segment, header } in found {
        let path = || dir.join(segment::file_name(segment.base));
        match header {
            Err(Invalid::Damaged) => {}
            Err(Invalid::Version(version)) => {
                return Err(OpenError::Version { path: path(), version: *version });
            }
            Ok(header) => {
                let expected = *id.get_or_insert(header.spool_id);
                if header.spool_id != expected {
                    return Err(OpenError::ForeignSegment { path: path(), found: header.spool_id, expected });
                }
            }
        }
    }
    let id = id.unwrap_or_else(Uuid::now_v7);
    if said != Some(id) {
        let path = dir.join(ID_FILE);
        write_atomically_on(fs, &path, id.to_string().as_bytes()).map_err(failed("writing", &path))?;
    }
    Ok(id)
}

/// Brings a spool's folder into order. The caller holds its lock.
pub(super) fn recover(fs: &Arc<dyn Fs>, dir: &Path, min_next: Position) -> Result<Recovered, OpenError> {
    let found = find_segments(&**fs, dir)?;
    let spool_id = identify(&**fs, dir, &found)?;
    let mut walk = Walk {
        fs: &**fs,
        dir,
        spool_id,
        min_next,
        segments: VecDeque::new(),
        next_seq: None,
        end: Position(0),
        durable_end: Position(0),
        appendable: false,
        report: RecoveryReport::default(),
    };
    for (at, it) in found.iter().enumerate() {
        let next_base = found.get(at + 1).map(|next| next.segment.base);
        walk.segment(it, next_base)?;
    }
    walk.finish()
}

struct Walk<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    spool_id: Uuid,
    min_next: Position,
    segments: VecDeque<Segment>,
    /// The number after the last one seen.
    next_seq: Option<u64>,
    /// Every position below it was used.
    end: Position,
    durable_end: Position,
    /// The last segment seen can be written on.
    appendable: bool,
    report: RecoveryReport,
}

impl Walk<'_> {
    fn segment(&mut self, found: &Found, next_base: Option<Position>) -> Result<(), OpenError> {
        let newest = next_base.is_none();
        let base = found.segment.base;
        let path = self.dir.join(segment::file_name(base));
        self.appendable = false;
        if newest && found.header.is_err() && found.segment.len <= segment::HEADER_BYTES as u64 {
            // A crash while it was begun: no frame is written before the header is durable.
            self.report.truncated_bytes += found.segment.len;
            self.fs.remove(&path).map_err(failed("removing", &path))?;
            return self.fs.sync_dir(self.dir).map_err(failed("syncing", self.dir));
        }
        let file = self.fs.open_append(&path).map_err(failed("opening", &path))?;
        // Where the next segment starts, this one ends, whatever somebody has added to it.
        let end = next_base.map_or(found.segment.end(), |next| found.segment.end().min(next));
        let mut kept = Segment { base, len: end.0 - base.0 };
        let mut damage = Vec::new();
        if found.header.is_err() {
            let head_end = Position(base.0 + segment::HEADER_BYTES as u64).min(end);
            damage.push(DamagedRange { start: base, end: head_end });
        }
        if let Ok(header) = found.header {
            self.expect(header.first_seq);
        }
        let frames_before = self.report.frames;
        let mut scan = Scan::new(&*file, self.spool_id, base, end);
        let mut clean_end = found.header.is_ok();
        while let Some(item) = scan.next().map_err(failed("reading", &path))? {
            match item {
                Item::Frame(header) => {
                    self.expect(header.seq);
                    self.next_seq = Some(header.seq.saturating_add(1));
                    self.report.frames += 1;
                    clean_end = true;
                }
                // What was handed out was durable once, so it is not a write cut short.
                Item::Damage { start, end, torn: true } if newest && start >= self.min_next => {
                    self.report.truncated_bytes += end.0 - start.0;
                    kept.len = start.0 - base.0;
                    file.set_len(kept.len).map_err(failed("truncating", &path))?;
                }
                Item::Damage { start, end, .. } => {
                    damage.push(DamagedRange { start, end });
                    clean_end = false;
                }
            }
        }
        if end < found.segment.end() {
            damage.push(DamagedRange { start: end, end: found.segment.end() });
        }
        self.end = self.end.max(end.min(kept.end()));
        let has_frames = self.report.frames > frames_before;
        if found.header.is_err() && !has_frames {
            drop(file);
            self.report.quarantined.push(DamagedRange { start: base, end: found.segment.end() });
            return quarantine::keep_segment(self.fs, self.dir, base).map_err(failed("quarantining", &path));
        }
        for range in damage {
            quarantine::keep(self.fs, self.dir, &*file, base, range)
                .map_err(failed("quarantining", &path))?;
            self.report.quarantined.push(range);
        }
        if newest {
            // A kill leaves what was written and not synced; it must not be shown before it is
            // durable.
            file.sync_data().map_err(failed("syncing", &path))?;
            self.appendable = clean_end && found.header.is_ok();
        }
        if kept.len > segment::HEADER_BYTES as u64 {
            self.durable_end = kept.end();
        } else {
            self.durable_end = self.durable_end.max(base);
        }
        self.report.segments += u64::from(has_frames);
        self.segments.push_back(kept);
        Ok(())
    }

    /// The next frame's number is to be `seq`; what lies between it and the last one is missing.
    fn expect(&mut self, seq: u64) {
        if let Some(expected) = self.next_seq {
            self.report.missing_frames += seq.saturating_sub(expected);
        }
        self.next_seq = Some(seq);
    }

    fn finish(mut self) -> Result<Recovered, OpenError> {
        let next_seq = self.next_seq.unwrap_or(0);
        let going_on =
            self.segments.back().copied().filter(|it| self.appendable && it.end() >= self.min_next);
        let (active, file) = if let Some(active) = going_on {
            let path = self.dir.join(segment::file_name(active.base));
            (active, self.fs.open_append(&path).map_err(failed("opening", &path))?)
        } else {
            let base = self.end.max(self.min_next);
            let path = self.dir.join(segment::file_name(base));
            let file = create_segment(self.fs, self.dir, self.spool_id, base, next_seq)
                .map_err(failed("beginning", &path))?;
            let active = Segment { base, len: segment::HEADER_BYTES as u64 };
            self.segments.push_back(active);
            self.durable_end = base;
            (active, file)
        };
        self.fs.sync_dir(self.dir).map_err(failed("syncing", self.dir))?;
        let contents =
            Contents { spool_id: self.spool_id, segments: self.segments, durable_end: self.durable_end };
        Ok(Recovered { contents, active, file, next_seq, report: self.report })
    }
}
