//! Damaged bytes are kept: copied out of the way, so that a person can look at what they were after
//! the segment is gone.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    Position,
    fs::{File, Fs, append_all, read_up_to},
    segment,
};

/// The folder in a spool's folder. Others may keep what they refuse there too.
const DIR: &str = "quarantine";
const CHUNK_BYTES: usize = 1 << 20;

/// A range of positions that no frame could be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// Where it starts.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
}

fn path(dir: &Path, range: DamagedRange) -> PathBuf {
    dir.join(DIR).join(format!("spool-{:020}-{:020}.damaged", range.start.0, range.end.0))
}

/// Copies a range of the segment at `base` into quarantine; `false` when it is there already.
pub(super) fn keep(
    fs: &dyn Fs,
    dir: &Path,
    file: &dyn File,
    base: Position,
    range: DamagedRange,
) -> io::Result<bool> {
    let kept = path(dir, range);
    match fs.open_read(&kept) {
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs.create_dir(&dir.join(DIR))?;
    let tmp = kept.with_extension("tmp");
    match fs.remove(&tmp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copy = fs.create_new(&tmp)?;
    let mut offset = range.start.0 - base.0;
    let mut left = range.end.0 - range.start.0;
    let mut buf = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX))];
    while left > 0 {
        let part = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = read_up_to(file, &mut buf[..part], offset)?;
        if read == 0 {
            break;
        }
        append_all(&*copy, &buf[..read], &[])?;
        offset += read as u64;
        left -= read as u64;
    }
    copy.sync_data()?;
    // The name appears when the copy is whole.
    fs.rename(&tmp, &kept)?;
    fs.sync_dir(&dir.join(DIR))?;
    Ok(true)
}

/// Moves the whole segment at `base` into quarantine.
pub(super) fn keep_segment(fs: &dyn Fs, dir: &Path, base: Position) -> io::Result<()> {
    let name = segment::file_name(base);
    fs.create_dir(&dir.join(DIR))?;
    fs.rename(&dir.join(&name), &dir.join(DIR).join(&name))?;
    // In this order, a crash in between leaves it in one of the two places or in both.
    fs.sync_dir(&dir.join(DIR))?;
    fs.sync_dir(dir)
}

/// A damaged part of a spool, kept in its quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPart {
    /// The file's name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// The damaged parts in the quarantine of the spool in `dir`, by name.
///
/// # Errors
/// The folder cannot be read. That there is none is no error.
pub fn damaged(dir: &Path) -> io::Result<Vec<DamagedPart>> {
    let entries = match super::fs::Real.list(&dir.join(DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_damaged = |name: &str| name.ends_with(".damaged") || segment::parse_file_name(name).is_some();
    let mut parts: Vec<_> = entries
        .into_iter()
        .filter(|entry| is_damaged(&entry.name))
        .map(|entry| DamagedPart { name: entry.name, bytes: entry.len })
        .collect();
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(parts)
}
