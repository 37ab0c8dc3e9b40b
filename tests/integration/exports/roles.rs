//! Who may export what, and what nobody gets to see.

use std::fs;

use assent::export::Manifest;

use super::{ended, succeeded};
use crate::harness::{Database, Setup};

/// What the server answers to somebody with another role, and what an ML role needs besides its own. On the database that
/// the shipped roles are of, with some rows that either scope may train on.
pub(crate) async fn exports_go_by_the_roles(database: &Database) {
    let setup = Setup::new(database);
    let dir = tempfile::tempdir().unwrap();
    let export = |user: &str, scope: &str, name: &str| {
        let days = ["--from", "2020-01-01", "--to", "2100-12-31"];
        let mut command = setup.command(&[&["export", "--scope", scope], &days[..]].concat());
        command.args(["--clickhouse-url", &database.url, "--clickhouse-database", &database.name]);
        command.args(["--clickhouse-user", user]).arg("--out").arg(dir.path().join(name));
        command
    };
    for (user, scope, view) in [
        ("ml_first_party", "affiliates", "training_affiliates_range"),
        ("ml_affiliates", "first-party", "training_first_party_range"),
        ("analyst", "first-party", "training_first_party_range"),
        ("exporter", "first-party", "training_first_party_range"),
    ] {
        let (code, said) = ended(&export(user, scope, "set").output().unwrap());
        assert_eq!(code, 1, "{said}");
        for word in [user, view, "may not read", &format!("assent_ml_{}", scope.replace('-', "_"))] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    // Nothing is read that would not be recorded.
    let (code, said) = ended(&export("ml_first_party", "first-party", "set").output().unwrap());
    assert!(code == 1 && said.contains("--recorder-user") && said.contains("assent_exporter"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of what was refused");

    for (user, scope, view) in [
        ("ml_first_party", "first-party", "training_first_party"),
        ("ml_affiliates", "affiliates", "training_affiliates"),
    ] {
        succeeded(export(user, scope, user).args(["--recorder-user", "exporter"]));
        let (manifest, digest) = Manifest::read(&dir.path().join(user)).unwrap();
        assert_eq!(manifest.rows, database.count(view).await);
        assert!(manifest.rows > 0);
        let issued = format!("exports WHERE manifest_sha256 = '{digest}' AND created_by = '{user}'");
        assert_eq!(database.count(&issued).await, 1);
        // Who reads the view alone can check, and is not told what became of rows.
        let mut verify = setup.command(&["export", "verify"]);
        verify.arg(dir.path().join(user)).args([
            "--clickhouse-url",
            &database.url,
            "--clickhouse-user",
            user,
        ]);
        succeeded(&mut verify);
    }

    // A password is repeated nowhere.
    let (code, said) = ended(
        &export("default", "first-party", "secret")
            .args(["--clickhouse-password", "hunter2-reader"])
            .output()
            .unwrap(),
    );
    assert!(code == 1 && !said.contains("hunter2"), "{said}");
    let (code, said) = ended(
        &export("default", "first-party", "secret")
            .args(["--recorder-user", "default"])
            .env("ASSENT_RECORDER_PASSWORD", "hunter2-recorder")
            .output()
            .unwrap(),
    );
    assert!(code == 1 && !said.contains("hunter2"), "{said}");
    succeeded(
        export("default", "first-party", "secret")
            .args(["--recorder-user", "exporter"])
            .env("ASSENT_LOG", "trace"),
    );
    for file in ["manifest.json", "README.md"] {
        let text = fs::read_to_string(dir.path().join("secret").join(file)).unwrap();
        assert!(!text.contains("hunter2") && !text.contains(&database.url), "{file}");
    }
}
