//! The engine's library: pinned, fetched once, kept in the user's cache folder.
//!
//! ```text
//! CACHE/assent/chdb/VERSION/libchdb.so    whole, or not there
//!                          /.lock         held by whoever installs
//!                          /.partial-*    an installation under way, or one that was cut off
//! ```
//!
//! The library appears under its name by a rename, after its tarball's SHA-512 was found right and
//! its bytes were fsynced, so a reader needs no lock. Many processes may install at once (test
//! binaries do): one works, the others wait for it and find the library.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    INSTEAD,
    fetch::{self, FetchError},
    lock,
    unpack::{self, UnpackError},
};

const LIBRARY: &str = "libchdb.so";
const PARTIAL: &str = ".partial-";

/// A package as it was when it was pinned.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) tarball_bytes: u64,
    /// In hexadecimal; npm's `integrity` is the same in base64.
    pub(super) tarball_sha512: &'static str,
    pub(super) library_bytes: u64,
}

/// The package for this platform. The engine exists for others too, but only what has been seen
/// and run is pinned.
pub(super) fn pinned() -> Result<&'static Package, PackageError> {
    const LINUX_X64_GNU: Package = Package {
        name: "@chdb/lib-linux-x64-gnu",
        version: "26.7.3-stable.1",
        tarball_bytes: 177_817_999,
        tarball_sha512: "5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35\
                         a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7",
        library_bytes: 566_330_096,
    };
    if cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        Ok(&LINUX_X64_GNU)
    } else {
        Err(PackageError::Platform { os: std::env::consts::OS, arch: std::env::consts::ARCH })
    }
}

/// A library that is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Nothing is pinned for this machine.
    #[error(
        "no ClickHouse engine is pinned for {os} on {arch} (only for Linux with glibc on x86_64): {INSTEAD}"
    )]
    Platform {
        /// The operating system.
        os: &'static str,
        /// The processor.
        arch: &'static str,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` says where the cache is.
    #[error("there is no cache folder for the ClickHouse engine: set XDG_CACHE_HOME or HOME, or {INSTEAD}")]
    NoCache,
    /// The cache folder could not be used.
    #[error("cannot {action} {}", path.display())]
    Cache {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The download failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What was downloaded is wrong, or does not fit on the disk.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The thread that unpacks panicked.
    #[error("unpacking ended early")]
    UnpackTask(#[source] tokio::task::JoinError),
}

/// The user's cache folder, by the XDG rules: a relative `XDG_CACHE_HOME` does not count.
pub(super) fn user_cache_dir(
    var: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Result<PathBuf, PackageError> {
    let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or(PackageError::NoCache)
}

/// The library's path; installs it first when it is not there.
///
/// Dropping the future ends the download or the unpacking, and leaves nothing that is taken for
/// whole.
pub(super) async fn library(
    package: &'static Package,
    cache: &Path,
    shown: bool,
) -> Result<PathBuf, PackageError> {
    install(package, cache, shown, async |folder: &Path| fetch::npm_pack(package, folder, shown).await).await
}

async fn install(
    package: &'static Package,
    cache: &Path,
    shown: bool,
    fetch: impl AsyncFnOnce(&Path) -> Result<PathBuf, FetchError>,
) -> Result<PathBuf, PackageError> {
    let folder = cache.join("assent/chdb").join(package.version);
    let library = folder.join(LIBRARY);
    // Before anything is created: a cache that holds the library may be read-only.
    if is_whole(package, &library) {
        return Ok(library);
    }
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| PackageError::Cache { action, path, source }
    };
    std::fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
    let lock_path = folder.join(".lock");
    let lock =
        File::options().create(true).append(true).open(&lock_path).map_err(failed("open", &lock_path))?;
    if !lock::acquire(&lock, Some(std::time::Duration::ZERO)).await.map_err(failed("lock", &lock_path))? {
        tracing::info!(folder = %folder.display(), "waiting for another process that installs the ClickHouse engine");
        lock::acquire(&lock, None).await.map_err(failed("lock", &lock_path))?;
    }
    if is_whole(package, &library) {
        return Ok(library);
    }
    remove_partial(&folder).map_err(failed("clean", &folder))?;

    let partial = folder.join(format!("{PARTIAL}{}", uuid::Uuid::now_v7()));
    let download = partial.join("download");
    std::fs::create_dir_all(&download).map_err(failed("create", &download))?;
    let cleanup = RemoveOnDrop(partial.clone());
    let tarball = fetch(&download).await?;

    let cancel = CancelOnDrop(Arc::default());
    let cancelled = Arc::clone(&cancel.0);
    let target = library.clone();
    tokio::task::spawn_blocking(move || {
        // The lock and the folder stay until this thread is done with them, cancelled or not.
        let (_lock, _cleanup) = (lock, cleanup);
        unpack::unpack(package, &tarball, &partial.join(LIBRARY), &target, &cancelled, shown)
    })
    .await
    .map_err(PackageError::UnpackTask)??;
    Ok(library)
}

/// Whether the library is there. Only whole ones get their name; the length catches a disk that
/// lost some of it since.
fn is_whole(package: &Package, library: &Path) -> bool {
    std::fs::metadata(library).is_ok_and(|found| found.is_file() && found.len() == package.library_bytes)
}

/// Removes what installations that were cut off have left. Only under the lock.
fn remove_partial(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(PARTIAL.as_bytes()) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next installation.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "package_tests.rs"]
mod tests;
