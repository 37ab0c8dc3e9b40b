use std::sync::atomic::AtomicUsize;

use flate2::{Compression, write::GzEncoder};

use super::*;
use crate::clickhouse::local::{
    lock::is_pending,
    unpack::{MEMBER, hex},
};

/// A tarball as npm makes them, with the given library in it.
fn tarball(library: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in [("package/package.json", &b"{}"[..]), (MEMBER, library)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append_data(&mut header, path, content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn package_for(tarball: &[u8], library_bytes: usize) -> &'static Package {
    let digest = ring::digest::digest(&ring::digest::SHA512, tarball);
    Box::leak(Box::new(Package {
        name: "@test/library",
        version: "1.2.3",
        tarball_bytes: tarball.len() as u64,
        tarball_sha512: hex(digest.as_ref()).leak(),
        library_bytes: library_bytes as u64,
    }))
}

fn library_bytes() -> Vec<u8> {
    (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn deliver(content: &[u8]) -> impl AsyncFnOnce(&Path) -> Result<PathBuf, FetchError> {
    async move |folder: &Path| {
        let path = folder.join("library.tgz");
        std::fs::write(&path, content).unwrap();
        Ok(path)
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_library_is_installed_and_nothing_else_stays() {
    let cache = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let tarball = tarball(&content);
    let package = package_for(&tarball, content.len());
    let library = install(package, cache.path(), false, deliver(&tarball)).await.unwrap();
    assert_eq!(library, cache.path().join("assent/chdb/1.2.3/libchdb.so"));
    assert!(std::fs::read(&library).unwrap() == content);
    assert_eq!(names_in(library.parent().unwrap()), [".lock", "libchdb.so"]);
}

#[tokio::test]
async fn a_cached_library_is_used_without_lock_or_download() {
    let cache = tempfile::tempdir().unwrap();
    let package = package_for(b"", 4);
    let folder = cache.path().join("assent/chdb/1.2.3");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(LIBRARY), b"four").unwrap();
    let fetch = async |_: &Path| -> Result<PathBuf, FetchError> { panic!("it is there already") };
    install(package, cache.path(), false, fetch).await.unwrap();
    assert_eq!(names_in(&folder), ["libchdb.so"]);
}

#[tokio::test]
async fn a_wrong_digest_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let mut tarball = tarball(&content);
    let package = package_for(&tarball, content.len());
    *tarball.last_mut().unwrap() ^= 1;
    let error = install(package, cache.path(), false, deliver(&tarball)).await.unwrap_err();
    assert!(matches!(&error, PackageError::Unpack(UnpackError::WrongDigest { .. })), "{error}");
    assert_eq!(names_in(&cache.path().join("assent/chdb/1.2.3")), [".lock"]);
}

#[tokio::test]
async fn a_tarball_without_the_expected_library_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let tarball = tarball(&content);
    let package = package_for(&tarball, content.len() + 1);
    let error = install(package, cache.path(), false, deliver(&tarball)).await.unwrap_err();
    assert!(matches!(&error, PackageError::Unpack(UnpackError::NoLibrary { .. })), "{error}");
    assert_eq!(names_in(&cache.path().join("assent/chdb/1.2.3")), [".lock"]);
}

#[tokio::test]
async fn what_an_interrupted_installation_left_is_neither_used_nor_kept() {
    let cache = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let tarball = tarball(&content);
    let package = package_for(&tarball, content.len());
    let folder = cache.path().join("assent/chdb/1.2.3");
    // A download cut off, an unpacking cut off, and a library that a failing disk has shortened.
    std::fs::create_dir_all(folder.join(".partial-1/download")).unwrap();
    std::fs::write(folder.join(".partial-1/download/library.tgz"), &tarball[..1000]).unwrap();
    std::fs::write(folder.join(".partial-1/libchdb.so"), &content[..1000]).unwrap();
    std::fs::write(folder.join("libchdb.so"), &content[..1000]).unwrap();
    let library = install(package, cache.path(), false, deliver(&tarball)).await.unwrap();
    assert!(std::fs::read(&library).unwrap() == content);
    assert_eq!(names_in(&folder), [".lock", "libchdb.so"]);
}

#[tokio::test]
async fn a_failed_download_leaves_nothing_and_can_be_repeated() {
    let cache = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let tarball = tarball(&content);
    let package = package_for(&tarball, content.len());
    let fails = async |_: &Path| Err(FetchError::NpmMissing);
    let error = install(package, cache.path(), false, fails).await.unwrap_err();
    assert!(error.to_string().contains("--clickhouse-url"), "{error}");
    assert_eq!(names_in(&cache.path().join("assent/chdb/1.2.3")), [".lock"]);
    install(package, cache.path(), false, deliver(&tarball)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_at_once_fetch_once() {
    let cache = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let tarball = tarball(&content);
    let package = package_for(&tarball, content.len());
    let fetched = AtomicUsize::new(0);
    let arrived = tokio::sync::Notify::new();
    let go_on = tokio::sync::Notify::new();
    let fetch = async |folder: &Path| {
        fetched.fetch_add(1, Ordering::SeqCst);
        arrived.notify_one();
        go_on.notified().await;
        deliver(&tarball)(folder).await
    };
    let first = install(package, cache.path(), false, &fetch);
    let second = async {
        // Begins in the middle of the first one's download.
        arrived.notified().await;
        let mut second = std::pin::pin!(install(package, cache.path(), false, &fetch));
        assert!(is_pending(second.as_mut()).await);
        go_on.notify_one();
        second.await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_dropped_installation_frees_the_lock_and_its_files() {
    let cache = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let tarball = tarball(&content);
    let package = package_for(&tarball, content.len());
    let never = async |_: &Path| std::future::pending().await;
    {
        let mut dropped = std::pin::pin!(install(package, cache.path(), false, never));
        assert!(is_pending(dropped.as_mut()).await);
    }
    assert_eq!(names_in(&cache.path().join("assent/chdb/1.2.3")), [".lock"]);
    install(package, cache.path(), false, deliver(&tarball)).await.unwrap();
}

#[test]
fn a_cancelled_unpacking_leaves_no_library() {
    let folder = tempfile::tempdir().unwrap();
    let content = library_bytes();
    let packed = tarball(&content);
    let package = package_for(&packed, content.len());
    let (source, partial, target) =
        (folder.path().join("a.tgz"), folder.path().join("partial"), folder.path().join("libchdb.so"));
    std::fs::write(&source, &packed).unwrap();
    let cancelled = AtomicBool::new(true);
    let result = unpack::unpack(package, &source, &partial, &target, &cancelled, false);
    assert!(matches!(result, Err(UnpackError::Cancelled)));
    assert!(!target.exists());
}

#[test]
fn the_cache_folder_follows_the_xdg_rules() {
    let vars = |xdg: Option<&'static str>, home: Option<&'static str>| {
        user_cache_dir(move |name| if name == "HOME" { home } else { xdg }.map(Into::into))
    };
    assert_eq!(vars(Some("/x"), Some("/h")).unwrap(), Path::new("/x"));
    assert_eq!(vars(Some("relative"), Some("/h")).unwrap(), Path::new("/h/.cache"));
    assert_eq!(vars(None, Some("/h")).unwrap(), Path::new("/h/.cache"));
    assert!(matches!(vars(Some(""), None), Err(PackageError::NoCache)));
}

#[test]
fn the_pinned_digest_is_a_sha512() {
    if let Ok(package) = pinned() {
        assert_eq!(package.tarball_sha512.len(), 128);
        assert!(package.tarball_sha512.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
    }
}
