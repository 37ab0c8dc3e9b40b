//! What runs the server: a binary where there is one, the library elsewhere.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    LocalOptions,
    package::{self, PackageError},
};

/// What runs the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A `clickhouse` binary, as `clickhouse server`.
    Binary(PathBuf),
    /// The engine's shared library, in a child of ours.
    Library(PathBuf),
}

/// Nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The binary that was asked for is not a program.
    #[error("{} is not an executable file; name a `clickhouse` binary", path.display())]
    NotExecutable {
        /// What was asked for.
        path: PathBuf,
    },
    /// There is no binary, and no library either.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// Chooses in the documented order; may download.
pub(super) async fn choose(options: &LocalOptions) -> Result<Engine, EngineError> {
    if let Some(path) = &options.clickhouse_binary {
        // Absolute, since the child has a working directory of its own.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        return if is_executable(&path) {
            Ok(Engine::Binary(path))
        } else {
            Err(EngineError::NotExecutable { path })
        };
    }
    if let Some(path) = on_path("clickhouse", std::env::var_os("PATH").as_deref()) {
        return Ok(Engine::Binary(path));
    }
    let package = package::pinned()?;
    let cache = match &options.cache_dir {
        Some(cache) => cache.clone(),
        None => package::user_cache_dir(|name| std::env::var_os(name))?,
    };
    let cache = std::path::absolute(&cache).unwrap_or(cache);
    Ok(Engine::Library(package::library(package, &cache, options.progress).await?))
}

/// The first executable of that name; relative entries of `PATH` do not count.
fn on_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn the_first_executable_on_path_is_found() {
        let root = tempfile::tempdir().unwrap();
        let folders = ["a", "b", "c"].map(|name| root.path().join(name));
        for (folder, mode) in folders.iter().zip([0o644, 0o755, 0o755]) {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("clickhouse"), "").unwrap();
            std::fs::set_permissions(folder.join("clickhouse"), Permissions::from_mode(mode)).unwrap();
        }
        let path = std::env::join_paths(&folders).unwrap();
        assert_eq!(on_path("clickhouse", Some(&path)), Some(folders[1].join("clickhouse")));
        assert_eq!(on_path("clickhouse-of-another-name", Some(&path)), None);
        assert_eq!(on_path("clickhouse", None), None);
    }

    #[tokio::test]
    async fn a_binary_that_was_asked_for_must_be_one() {
        let root = tempfile::tempdir().unwrap();
        let mut options = LocalOptions::new(root.path().to_owned(), PathBuf::new());
        options.clickhouse_binary = Some(root.path().join("missing"));
        let error = choose(&options).await.unwrap_err();
        assert!(matches!(error, EngineError::NotExecutable { .. }), "{error}");
    }
}
