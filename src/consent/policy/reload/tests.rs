use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

fn text(version: &str, from: &str) -> String {
    format!(
        "version = \"{version}\"\neffective_from = \"{from}\"\n[default]\nfirst_party = \"opt_in\"\naffiliates = \"opt_in\"\n"
    )
}

struct Fixture {
    dir: TempDir,
    reloader: PolicyReloader,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("versions")).unwrap();
        fs::write(dir.path().join("versions/a.toml"), text("a", "2026-01-01")).unwrap();
        let source = PolicySource::Path(dir.path().join("versions"));
        let set = source.load(Micros::now()).unwrap();
        let store = Arc::new(PolicyStore::new(set));
        let archive = PolicyArchive::in_data_dir(dir.path());
        let reloader = PolicyReloader::new(source, store, archive, Duration::from_secs(5));
        Self { dir, reloader }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.dir.path()).join("versions").join(name)
    }

    /// The version in force after a look, and whether the files are refused.
    async fn look(&mut self) -> (String, bool) {
        self.reloader.look().await;
        (self.reloader.store.current().version().to_owned(), self.reloader.refused.is_some())
    }
}

#[tokio::test]
async fn a_good_change_comes_into_force_and_a_bad_one_leaves_all_as_it_was() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.look().await, ("a".to_owned(), false));
    fixture.write("b.toml", &text("b", "2026-01-02"));
    assert_eq!(fixture.look().await, ("b".to_owned(), false));
    assert_eq!(fixture.reloader.archive.digests().unwrap().len(), 2);

    for bad in ["version = ", &text("a", "2026-01-03"), &text("c", "2026-01-02")] {
        fixture.write("c.toml", bad);
        assert_eq!(fixture.look().await, ("b".to_owned(), true), "{bad}");
        assert_eq!(fixture.look().await, ("b".to_owned(), true), "{bad}");
    }
    assert_eq!(fixture.reloader.archive.digests().unwrap().len(), 2, "what was refused is not kept");
    fs::remove_file(fixture.path("c.toml")).unwrap();
    assert_eq!(fixture.look().await, ("b".to_owned(), false));
}

#[tokio::test]
async fn files_that_vanish_or_lie_in_the_future_are_refused() {
    let mut fixture = Fixture::new();
    fs::remove_file(fixture.path("a.toml")).unwrap();
    assert_eq!(fixture.look().await, ("a".to_owned(), true));
    fixture.write("a.toml", &text("a", "2140-01-01"));
    assert_eq!(fixture.look().await, ("a".to_owned(), true));
    assert!(fixture.reloader.refused.as_ref().unwrap().contains("2140-01-01"));
    fixture.write("a.toml", &text("a", "2026-01-01"));
    assert_eq!(fixture.look().await, ("a".to_owned(), false));
}

#[tokio::test]
async fn without_a_copy_nothing_comes_into_force_until_there_is_one() {
    let mut fixture = Fixture::new();
    let blocked = fixture.dir.path().join("policies");
    fs::write(&blocked, "in the way").unwrap();
    fixture.write("a.toml", &text("b", "2026-01-01"));
    assert_eq!(fixture.look().await, ("a".to_owned(), true));
    fs::remove_file(&blocked).unwrap();
    assert_eq!(fixture.look().await, ("b".to_owned(), false), "the files need not change for it");
}
