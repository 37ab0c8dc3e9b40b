//! Looks at a spool without touching it, also while a collector uses it.

use std::{fmt, io, path::Path};

use uuid::Uuid;

use super::{
    Position,
    fs::{Fs, Real},
    quarantine::{self, DamagedRange},
    recovery::{Found, OpenError, failed, find_segments, read_id},
    reserve::RESERVE_FILE,
    scan::{Item, Scan},
    segment::{self, Invalid},
};

/// What lies in a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The spool's id, if anything says it.
    pub spool_id: Option<Uuid>,
    /// Its segments, the oldest first.
    pub segments: Vec<SegmentInfo>,
    /// A frame that is being written, or whose write was cut short: where it starts, and its bytes.
    pub torn_tail: Option<(Position, u64)>,
    /// What no frame can be read from.
    pub damaged: Vec<DamagedRange>,
    /// The size of the reserve; none if it was given up, or could not be made.
    pub reserve_bytes: Option<u64>,
    /// The files in the quarantine and their sizes, by name; those of others are among them.
    pub quarantine: Vec<(String, u64)>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Where it starts.
    pub base: Position,
    /// The size of its file.
    pub bytes: u64,
    /// Whole frames.
    pub frames: u64,
    /// The number of the first whole frame.
    pub first_seq: Option<u64>,
    /// The number of the last whole frame.
    pub last_seq: Option<u64>,
    /// How it is.
    pub state: SegmentState,
}

/// How a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Every byte is accounted for.
    Sound,
    /// Its end is being written, or was torn.
    TornTail,
    /// Parts of it are damaged.
    Damaged,
    /// It has another version, or is of another spool; nothing else is known of it.
    Unknown,
}

/// A spool that cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It was never used.
    #[error("there is no spool in this folder")]
    Missing,
    /// The disk fails.
    #[error(transparent)]
    Disk(#[from] OpenError),
}

/// Reads all of a spool and says what is in it.
///
/// # Errors
/// There is no spool, or the disk fails.
pub fn inspect(dir: &Path) -> Result<Inspection, InspectError> {
    inspect_on(&Real, dir)
}

/// [`inspect`] on any file system.
pub(super) fn inspect_on(fs: &dyn Fs, dir: &Path) -> Result<Inspection, InspectError> {
    match find(fs, dir) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            // Removed by a collector since it was listed, as a rule; or the folder is not there.
            match fs.list(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(InspectError::Missing),
                _ => Ok(find(fs, dir)?),
            }
        }
        found => Ok(found?),
    }
}

fn find(fs: &dyn Fs, dir: &Path) -> Result<Inspection, OpenError> {
    let found = find_segments(fs, dir)?;
    let said = read_id(fs, dir)?;
    let spool_id = said.or_else(|| found.iter().find_map(|it| it.header.ok()).map(|it| it.spool_id));
    let mut inspection = Inspection {
        spool_id,
        segments: Vec::new(),
        torn_tail: None,
        damaged: Vec::new(),
        reserve_bytes: files_in(fs, dir)?.into_iter().find(|it| it.0 == RESERVE_FILE).map(|it| it.1),
        quarantine: files_in(fs, &dir.join(quarantine::DIR))?,
    };
    for (at, it) in found.iter().enumerate() {
        inspection.add(fs, dir, it, at + 1 == found.len())?;
    }
    Ok(inspection)
}

/// The files of a folder, by name; none if it is not there.
fn files_in(fs: &dyn Fs, dir: &Path) -> Result<Vec<(String, u64)>, OpenError> {
    let entries = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(failed("listing", dir))?,
    };
    let mut files: Vec<_> = entries.into_iter().map(|it| (it.name, it.len)).collect();
    files.sort();
    Ok(files)
}

impl Inspection {
    fn add(&mut self, fs: &dyn Fs, dir: &Path, found: &Found, newest: bool) -> Result<(), OpenError> {
        let base = found.segment.base;
        let path = dir.join(segment::file_name(base));
        let mut info = SegmentInfo {
            base,
            bytes: found.segment.len,
            frames: 0,
            first_seq: None,
            last_seq: None,
            state: SegmentState::Sound,
        };
        let foreign = |id: Uuid| found.header.is_ok_and(|it| it.spool_id != id);
        let known = !matches!(found.header, Err(Invalid::Version(_)));
        let Some(spool_id) = self.spool_id.filter(|id| known && !foreign(*id)) else {
            info.state = SegmentState::Unknown;
            self.segments.push(info);
            return Ok(());
        };
        if found.header.is_err() {
            info.state = SegmentState::Damaged;
            let end = Position(base.0 + segment::HEADER_BYTES as u64).min(found.segment.end());
            self.damaged.push(DamagedRange { start: base, end });
        }
        let file = fs.open_read(&path).map_err(failed("opening", &path))?;
        let mut scan = Scan::new(&*file, spool_id, base, found.segment.end());
        while let Some(item) = scan.next().map_err(failed("reading", &path))? {
            match item {
                Item::Frame(header) => {
                    info.frames += 1;
                    info.first_seq.get_or_insert(header.seq);
                    info.last_seq = Some(header.seq);
                }
                Item::Damage { start, end, torn: true } if newest => {
                    self.torn_tail = Some((start, end.0 - start.0));
                    if info.state == SegmentState::Sound {
                        info.state = SegmentState::TornTail;
                    }
                }
                Item::Damage { start, end, .. } => {
                    self.damaged.push(DamagedRange { start, end });
                    info.state = SegmentState::Damaged;
                }
            }
        }
        self.segments.push(info);
        Ok(())
    }
}

impl fmt::Display for SegmentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sound => "sound",
            Self::TornTail => "torn tail",
            Self::Damaged => "damaged",
            Self::Unknown => "not readable by this program, or of another spool",
        })
    }
}

/// For people: lines for the spool, one for each segment, for each damaged range and for each file in
/// quarantine.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.spool_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        let bytes: u64 = self.segments.iter().map(|it| it.bytes).sum();
        let frames: u64 = self.segments.iter().map(|it| it.frames).sum();
        writeln!(f, "spool             {id}")?;
        writeln!(f, "on disk           {} segments, {frames} frames, {bytes} bytes", self.segments.len())?;
        match self.reserve_bytes {
            Some(bytes) => writeln!(f, "reserve           {bytes} bytes")?,
            None => writeln!(f, "reserve           none: the disk is full, or was when it was needed")?,
        }
        if !self.segments.is_empty() {
            writeln!(f, "\n{:>20}  {:>12}  {:>8}  {:>21}  state", "segment", "bytes", "frames", "numbers")?;
        }
        for it in &self.segments {
            let numbers = match (it.first_seq, it.last_seq) {
                (Some(first), Some(last)) => format!("{first}-{last}"),
                _ => "-".to_owned(),
            };
            writeln!(
                f,
                "{:>20}  {:>12}  {:>8}  {numbers:>21}  {}",
                it.base.0, it.bytes, it.frames, it.state
            )?;
        }
        writeln!(f)?;
        if let Some((start, bytes)) = self.torn_tail {
            writeln!(
                f,
                "unfinished write  {bytes} bytes at {start}: in progress, or cut short and never acknowledged"
            )?;
        }
        for DamagedRange { start, end } in &self.damaged {
            writeln!(f, "damaged           {} bytes from {start} to {end}", end.0 - start.0)?;
        }
        for (name, bytes) in &self.quarantine {
            writeln!(f, "in quarantine     {bytes} bytes in {name}")?;
        }
        Ok(())
    }
}
