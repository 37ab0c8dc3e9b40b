//! One process at a time: an exclusive lock on a file in the spool's folder. The system drops it
//! when its holder ends, however that happens.

use std::path::Path;

use super::{
    fs::{Fs, Held, read_up_to},
    recovery::OpenError,
};

/// The file that is locked. It holds the process id of the last holder, as text.
pub(super) const LOCK_FILE: &str = "spool.lock";

/// Takes the lock, or says who has it.
pub(super) fn acquire(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn Held>, OpenError> {
    let path = dir.join(LOCK_FILE);
    match fs.lock(&path) {
        Ok(Some(held)) => Ok(held),
        Ok(None) => Err(OpenError::Locked { dir: dir.to_owned(), pid: holder(fs, &path) }),
        Err(source) => Err(OpenError::Io { doing: "locking", path, source }),
    }
}

/// For the error message alone; whoever cannot be named stays unnamed.
fn holder(fs: &dyn Fs, path: &Path) -> Option<u32> {
    let file = fs.open_read(path).ok()?;
    let mut bytes = [0; 16];
    let read = read_up_to(&*file, &mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes[..read]).ok()?.parse().ok()
}
