//! Versions of the policy: loaded while a collector runs, in force from their dates, kept for ever.

use std::{fs, path::Path, process::Output, time::SystemTime};

use tempfile::TempDir;

use crate::harness::{Collector, Database, Fault, Proxy, Setup, event, eventually};

/// Looks for changes often, and at ClickHouse's absence without haste.
const CONFIG: &str = "[policy]\nreload_interval = \"100ms\"\n[consent]\nmax_staleness = \"60s\"\n";

/// A version in which silence means the same everywhere.
fn version(name: &str, from: &str, silence: &str) -> String {
    format!(
        "version = \"{name}\"\neffective_from = \"{from}\"\n[default]\nfirst_party = \"{silence}\"\naffiliates = \"opt_in\"\n"
    )
}

fn seconds_from_now(seconds: i64) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
    prost_types::Timestamp { seconds: now + seconds, nanos: 0 }.to_string()
}

fn folder(versions: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in versions {
        fs::write(dir.path().join(file), text).unwrap();
    }
    dir
}

async fn until_said(setup: &Setup, what: &str) {
    eventually(what, || async { setup.log().contains(what).then_some(()) }).await;
}

async fn until_metric(collector: &Collector, line: &str) {
    eventually(line, || async { collector.metrics().await.lines().any(|it| it == line).then_some(()) }).await;
}

/// Rows of a user that carry the digest of a recorded version of that name.
async fn stamped(database: &Database, feature: &str, version: &str) -> u64 {
    let join = format!(
        "events AS e INNER JOIN (SELECT DISTINCT version, digest FROM policies) AS p ON p.digest = e.policy_digest
         WHERE e.feature = '{feature}' AND p.version = '{version}'"
    );
    database.count(&join).await
}

fn check_config(setup: &Setup, policy: &Path) -> Output {
    setup.command(&["check-config"]).arg("--policy").arg(policy).output().unwrap()
}

#[tokio::test]
async fn a_version_comes_into_force_by_its_date_and_does_not_reach_back() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let policies = folder(&[("1.toml", &version("lax", "2026-01-01", "opt_out"))]);
    let setup = Setup::new(&database).via(&proxy.url).config(CONFIG).policy_path(policies.path());
    let collector = setup.start_ready().await;

    // From here on nothing is sealed, so the first row is still in the spool when the policy changes.
    proxy.set(Fault::Refuse);
    let before =
        collector.send(vec![event("ann").jurisdiction("US").with(|it| it.feature = "before".into())]).await;
    fs::write(policies.path().join("2.toml"), version("strict", &seconds_from_now(3), "opt_in")).unwrap();
    until_said(&setup, "loaded the policy anew").await;
    until_said(&setup, "another policy is in force version=\"strict\"").await;
    let after =
        collector.send(vec![event("ann").jurisdiction("US").with(|it| it.feature = "after".into())]).await;
    proxy.set(Fault::None);

    let rows = database.wait_for(&[before, after].concat()).await;
    assert_eq!(rows[0].stamp(), ("first_party", "granted_by_default"), "sealed by the policy of its receipt");
    assert_eq!(rows[1].stamp(), ("none", "unset_opt_in"));
    for (feature, version) in [("before", "lax"), ("after", "strict")] {
        eventually("the version of the stamp", || async {
            (stamped(&database, feature, version).await == 1).then_some(())
        })
        .await;
    }
    until_metric(&collector, "assent_policy_reloads_total{outcome=\"loaded\"} 1").await;
    until_metric(&collector, "assent_policy_invalid 0").await;
}

#[tokio::test]
async fn a_bad_change_is_refused_loudly_and_the_old_policy_stays() {
    let database = Database::new().await;
    let policies = folder(&[("p.toml", &version("good", "2026-01-01", "opt_out"))]);
    let file = policies.path().join("p.toml");
    let setup = Setup::new(&database).config(CONFIG).policy_path(&file);
    let collector = setup.start_ready().await;
    until_metric(&collector, "assent_policy_invalid 0").await;

    let bad =
        format!("{}[jurisdictions.UK]\nfirst_party = \"opt_in\"\n", version("bad", "2026-01-02", "opt_in"));
    fs::write(&file, bad).unwrap();
    until_metric(&collector, "assent_policy_invalid 1").await;
    let log = setup.log();
    let complaints: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    for said in ["p.toml", "jurisdictions.UK", "GB", "still_in_force=\"good\""] {
        assert!(complaints[0].contains(said), "{said}: {complaints:?}");
    }
    let ids = collector.send(vec![event("ann").jurisdiction("US")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("first_party", "granted_by_default"));

    // It is not there at all for a while.
    fs::remove_file(&file).unwrap();
    until_metric(&collector, "assent_policy_reloads_total{outcome=\"refused\"} 2").await;
    let ids = collector.send(vec![event("ann").jurisdiction("US")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("first_party", "granted_by_default"));

    fs::write(&file, version("better", "2026-01-02", "opt_in")).unwrap();
    until_metric(&collector, "assent_policy_invalid 0").await;
    until_metric(&collector, "assent_policy_reloads_total{outcome=\"loaded\"} 1").await;
    let ids = collector.send(vec![event("ann").jurisdiction("US")]).await;
    assert_eq!(database.wait_for(&ids).await[0].stamp(), ("none", "unset_opt_in"));
    assert_eq!(database.count("policies WHERE version = 'bad'").await, 0);
}

#[tokio::test]
async fn a_policy_that_clickhouse_never_saw_is_recorded_after_a_restart_with_another() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let one = folder(&[("p.toml", &version("one", "2026-01-01", "opt_in"))]);
    let setup = Setup::new(&database).via(&proxy.url).config(CONFIG);
    let collector = setup.clone().policy_path(one.path()).start().await;
    collector.send(vec![event("ann")]).await;
    collector.kill();
    proxy.set(Fault::None);
    let other = folder(&[("p.toml", &version("other", "2026-01-01", "opt_in"))]);
    let _collector = setup.policy_path(other.path()).start_ready().await;
    let intact = "policies WHERE version IN ('one', 'other') AND hex(SHA256(body)) = upper(digest)";
    eventually("both policies", || async { (database.count(intact).await == 2).then_some(()) }).await;
    database.wait_for_rows(1).await;
    assert_eq!(database.count("policies").await, 2);
}

#[tokio::test]
async fn check_config_explains_the_versions_and_the_one_in_force() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let policies = folder(&[
        ("old.toml", &version("old", "2026-01-01", "opt_out")),
        ("new.toml", &version("new", "2026-02-01T00:00:00+01:00", "opt_in")),
        ("future.toml", &version("future", "2140-01-01", "opt_in")),
        (".draft.toml", "not yet"),
    ]);
    let checked = check_config(&setup, policies.path());
    assert!(checked.status.success(), "{checked:?}");
    let text = String::from_utf8(checked.stdout).unwrap();
    for said in [
        "# policy new, in force since 2026-01-31T23:00:00Z",
        "old  past",
        "future  to come",
        "nobody knows where",
        "Global Privacy Control",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
    toml::from_str::<toml::Table>(&text).unwrap();

    for (wrong, said) in [
        (version("bad", "2026-02-31", "opt_in"), "effective_from"),
        (version("old", "2026-03-01", "opt_in"), "old.toml"),
        (version("[", "2026-03-01", "perhaps"), "default.first_party"),
    ] {
        fs::write(policies.path().join("wrong.toml"), wrong).unwrap();
        let refused = check_config(&setup, policies.path());
        assert_eq!(refused.status.code(), Some(64), "{said}");
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert!(stderr.contains("wrong.toml") && stderr.contains(said), "{stderr}");
    }
}

#[tokio::test]
async fn a_collector_does_not_start_before_a_policy_is_in_force() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let policies = folder(&[("p.toml", &version("future", "2140-01-01T08:00:00+01:00", "opt_in"))]);
    let serve = setup
        .command(&["serve", "--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
        .args(["--clickhouse-url", &database.url, "--policy"])
        .arg(policies.path())
        .output()
        .unwrap();
    for refused in [serve, check_config(&setup, policies.path())] {
        assert_eq!(refused.status.code(), Some(64), "{refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("policy.file") && said.contains("2140-01-01T07:00:00Z"), "{said}");
    }
    assert!(!setup.data_dir().exists(), "nothing was made");
}
