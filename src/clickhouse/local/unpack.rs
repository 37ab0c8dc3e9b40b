//! From a tarball to a library that can be trusted: digest first, then one member, then a rename.

use std::{
    fs::{File, Permissions},
    io::{self, Read, Seek as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use flate2::read::GzDecoder;
use ring::digest::{Context, SHA512};

use super::{package::Package, progress::Progress};

/// The one member that is unpacked.
pub(super) const MEMBER: &str = "package/libchdb.so";
const BUFFER_BYTES: usize = 1 << 20;

/// A tarball that was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Not the bytes that were pinned.
    #[error("the downloaded {name} has the SHA-512 {found}, expected {expected}; it was not unpacked")]
    WrongDigest {
        /// The package.
        name: &'static str,
        /// The pinned digest.
        expected: &'static str,
        /// The tarball's.
        found: String,
    },
    /// The member is not there, or is not as long as it was pinned to be.
    #[error("the tarball holds no {MEMBER} of {expected} bytes")]
    NoLibrary {
        /// The pinned length.
        expected: u64,
    },
    /// Whoever wanted it has gone.
    #[error("unpacking was cancelled")]
    Cancelled,
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Checks a tarball, and puts its library at `target`, whole or not at all. Blocks; stops early
/// when `cancelled` is set. `partial` is a file in the target's own folder to write to.
pub(super) fn unpack(
    package: &Package,
    tarball: &Path,
    partial: &Path,
    target: &Path,
    cancelled: &AtomicBool,
    shown: bool,
) -> Result<(), UnpackError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| UnpackError::Io { action, path, source }
    };
    let mut source = File::open(tarball).map_err(failed("open", tarball))?;
    let found = sha512(&mut source, cancelled).map_err(failed("read", tarball))?;
    check_cancelled(cancelled)?;
    if found != package.tarball_sha512 {
        return Err(UnpackError::WrongDigest { name: package.name, expected: package.tarball_sha512, found });
    }
    source.rewind().map_err(failed("read", tarball))?;

    let no_library = || UnpackError::NoLibrary { expected: package.library_bytes };
    let mut archive = tar::Archive::new(GzDecoder::new(source));
    let entries = archive.entries().map_err(failed("read", tarball))?;
    for entry in entries {
        let mut entry = entry.map_err(failed("read", tarball))?;
        if entry.path_bytes() != MEMBER.as_bytes() {
            continue;
        }
        if entry.size() != package.library_bytes {
            return Err(no_library());
        }
        let progress = Progress::start("unpacking the ClickHouse engine", package.library_bytes, shown);
        let mut library = File::create(partial).map_err(failed("create", partial))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut written = 0;
        loop {
            check_cancelled(cancelled)?;
            let count = entry.read(&mut buffer).map_err(failed("read", tarball))?;
            if count == 0 {
                break;
            }
            library.write_all(&buffer[..count]).map_err(failed("write", partial))?;
            written += count as u64;
            progress.set(written);
        }
        if written != package.library_bytes {
            return Err(no_library());
        }
        library.set_permissions(Permissions::from_mode(0o555)).map_err(failed("protect", partial))?;
        library.sync_all().map_err(failed("fsync", partial))?;
        std::fs::rename(partial, target).map_err(failed("move to its place", partial))?;
        let folder = target.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("fsync", folder))?;
        return Ok(());
    }
    Err(no_library())
}

fn check_cancelled(cancelled: &AtomicBool) -> Result<(), UnpackError> {
    if cancelled.load(Ordering::Relaxed) { Err(UnpackError::Cancelled) } else { Ok(()) }
}

/// The digest of the rest of a file, in hexadecimal. Ends early, with a digest of no worth, when
/// cancelled.
fn sha512(file: &mut File, cancelled: &AtomicBool) -> io::Result<String> {
    let mut context = Context::new(&SHA512);
    let mut buffer = vec![0; BUFFER_BYTES];
    while !cancelled.load(Ordering::Relaxed) {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        context.update(&buffer[..count]);
    }
    Ok(hex(context.finish().as_ref()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
