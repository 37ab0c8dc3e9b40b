//! Fetching the package with npm, which knows the user's registry, proxy and certificates.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::process::Command;

use super::{INSTEAD, package::Package, progress::Progress};

/// How often the growing files are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How much of npm's complaint is passed on.
const COMPLAINT_LINES: usize = 6;

/// A package that did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no npm.
    #[error(
        "the ClickHouse engine comes from npm, and there is no `npm` on PATH: install Node.js, or {INSTEAD}"
    )]
    NpmMissing,
    /// npm could not be run.
    #[error("cannot run npm")]
    Npm(#[source] io::Error),
    /// npm failed; most often there is no network.
    #[error(
        "npm could not fetch {spec} ({status}); check the network and npm's registry, or {INSTEAD}. npm said:\n{complaint}"
    )]
    NpmFailed {
        /// What was asked for.
        spec: String,
        /// How npm ended.
        status: ExitStatus,
        /// The first lines of its stderr.
        complaint: String,
    },
    /// npm succeeded without leaving one tarball behind.
    #[error("npm left {found} tarballs in place of one for {spec}")]
    NoTarball {
        /// What was asked for.
        spec: String,
        /// How many there are.
        found: usize,
    },
    /// The folder could not be read or made.
    #[error("cannot use the download folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Fetches a package's tarball into `folder`, an empty one of its own. Dropping the future ends npm.
pub(super) async fn npm_pack(package: &Package, folder: &Path, shown: bool) -> Result<PathBuf, FetchError> {
    let progress = Progress::start("downloading the ClickHouse engine", package.tarball_bytes, shown);
    let spec = format!("{}@{}", package.name, package.version);
    let child = Command::new("npm")
        .arg("pack")
        .arg(&spec)
        .arg("--loglevel=error")
        // A cache of its own: its growth is what the bar shows, and it is gone afterwards.
        .arg("--cache")
        .arg(folder.join("npm-cache"))
        // No project's .npmrc or package.json is in the way here.
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FetchError::NpmMissing,
            _ => FetchError::Npm(error),
        })?;
    let mut ended = std::pin::pin!(child.wait_with_output());
    let mut look = tokio::time::interval(LOOK);
    let output = loop {
        tokio::select! {
            output = &mut ended => break output.map_err(FetchError::Npm)?,
            // A few dozen files: not worth a thread.
            _ = look.tick() => progress.set(bytes_under(folder)),
        }
    };
    if !output.status.success() {
        // The cause comes first, general advice after it.
        let stderr = String::from_utf8_lossy(&output.stderr);
        let complaint = stderr.lines().take(COMPLAINT_LINES).collect::<Vec<_>>().join("\n");
        return Err(FetchError::NpmFailed { spec, status: output.status, complaint });
    }
    the_tarball(folder, spec)
}

fn the_tarball(folder: &Path, spec: String) -> Result<PathBuf, FetchError> {
    let failed = |source| FetchError::Folder { path: folder.to_owned(), source };
    let mut tarballs = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "tgz") {
            tarballs.push(path);
        }
    }
    match <[PathBuf; 1]>::try_from(tarballs) {
        Ok([tarball]) => Ok(tarball),
        Err(tarballs) => Err(FetchError::NoTarball { spec, found: tarballs.len() }),
    }
}

/// The size of everything under a folder; what vanishes meanwhile counts as nothing.
fn bytes_under(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_under(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tarball_is_found_beside_other_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("npm-debug.log"), "x").unwrap();
        assert!(matches!(
            the_tarball(folder.path(), String::new()),
            Err(FetchError::NoTarball { found: 0, .. })
        ));
        std::fs::write(folder.path().join("a.tgz"), "x").unwrap();
        assert_eq!(the_tarball(folder.path(), String::new()).unwrap(), folder.path().join("a.tgz"));
        std::fs::write(folder.path().join("b.tgz"), "x").unwrap();
        assert!(matches!(
            the_tarball(folder.path(), String::new()),
            Err(FetchError::NoTarball { found: 2, .. })
        ));
    }

    #[test]
    fn growth_is_seen_in_nested_folders() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("npm-cache")).unwrap();
        std::fs::write(folder.path().join("npm-cache/part"), [0; 70]).unwrap();
        std::fs::write(folder.path().join("whole.tgz"), [0; 7]).unwrap();
        assert_eq!(bytes_under(folder.path()), 77);
    }
}
