//! Datasets: whole or not there, bounded, resumable, and without a row that consent no longer covers.

mod killed;
mod refreshed;
mod roles;
mod verified;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use assent::{
    clickhouse::{ExternalClient, ExternalError, ExternalTable, Options},
    export::Manifest,
};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use tempfile::TempDir;

use crate::harness::{Database, Setup};

pub(crate) use roles::exports_go_by_the_roles;

/// Small enough that some thousand rows make many shards.
const SHARD_BYTES: u64 = 64 << 10;

/// A database with eligible rows, and a folder for datasets.
struct World {
    database: Database,
    dir: TempDir,
    setup: Setup,
}

impl World {
    /// With so many eligible rows by a hundred people, of three days, and half as many that are not.
    async fn new(rows: u64) -> Self {
        let database = Database::new().await;
        database
            .client
            .execute("INSERT INTO redaction_rules (version, digest) VALUES ('r1', 'd')")
            .await
            .unwrap();
        let setup = Setup::new(&database);
        let world = Self { database, dir: tempfile::tempdir().unwrap(), setup };
        world.add(rows, "first_party", "2026-03-01").await;
        world.add(rows / 2, "none", "2026-03-01").await;
        world
    }

    /// Adds rows of that scope, of the day and the two after it.
    async fn add(&self, rows: u64, scope: &str, day: &str) {
        let reason = if scope == "none" { "denied" } else { "granted" };
        self.database
            .client
            .execute(&format!(
                "INSERT INTO events (training_scope, eligibility_reason, consent_state, consent_source, consent_version,
                     policy_version, policy_digest, jurisdiction, received_at, occurred_at, sealed_at, tenant,
                     subject_id, event_id, session_id, feature, event_type, language, text, redactions,
                     redaction_version)
                 SELECT '{scope}', '{reason}', 'granted', 'user_setting', 1, 'terms-1', 'digest-1', 'DE',
                     toDateTime64('{day} 12:00:00', 6, 'UTC') + toIntervalDay(number % 3) AS at, at, at, 'local',
                     {}, generateUUIDv7(number), 's', ['compose', 'reply'][number % 2 + 1],
                     'typed_text', ['en', 'de', 'no'][number % 3 + 1], randomPrintableASCII(200),
                     map('EMAIL', toUInt16(number % 3)), 'r1'
                 FROM numbers({rows})",
                subject("number % 100")
            ))
            .await
            .unwrap();
    }

    /// Somebody says no.
    async fn withdraw(&self, person: u64) {
        self.database
            .client
            .execute(&format!(
                "INSERT INTO consent_changes (tenant, subject_id, scope, state, source, consent_version)
                 SELECT 'local', {}, 'first_party', 'denied', 'user_setting', 2",
                subject(&person.to_string())
            ))
            .await
            .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `assent export …` on this database, as the user who may everything.
    fn export(&self, words: &[&str]) -> Command {
        let mut command = self.setup.command(&[&["export"], words].concat());
        command.args(["--clickhouse-url", &self.database.url, "--clickhouse-database", &self.database.name]);
        command
    }

    /// The command that makes a dataset of the three days, in many small shards.
    fn create(&self, name: &str) -> Command {
        let mut command =
            self.export(&["--scope", "first-party", "--from", "2026-03-01", "--to", "2026-03-03"]);
        command.arg("--out").arg(self.path(name)).args(["--max-shard-bytes", &SHARD_BYTES.to_string()]);
        command
    }

    fn refresh(&self, name: &str) -> Command {
        let mut command = self.export(&["refresh"]);
        command.arg(self.path(name)).args(["--max-shard-bytes", &SHARD_BYTES.to_string()]);
        command
    }

    fn verify(&self, name: &str) -> Command {
        let mut command = self.export(&["verify"]);
        command.arg(self.path(name));
        command
    }

    /// The events that the training view shows of those days.
    async fn shown(&self) -> BTreeSet<String> {
        let sql = "SELECT toString(event_id) AS event_id, toString(subject_id) AS subject_id, '' AS status
                   FROM training_first_party WHERE toDate(received_at) BETWEEN '2026-03-01' AND '2026-03-03'";
        self.database.rows::<Ids>(sql).await.into_iter().map(|row| row.event_id).collect()
    }

    /// The rows of a Parquet file.
    async fn read(&self, file: &Path) -> Vec<Ids> {
        let client = ExternalClient::new(&Options {
            url: self.database.url.clone(),
            database: self.database.name.clone(),
            user: "default".to_owned(),
            password: "".into(),
            insert_timeout: Duration::from_secs(30),
            query_timeout: Duration::from_secs(30),
        })
        .unwrap();
        let structure = "event_id String, subject_id String, status String";
        let table = ExternalTable { name: "file", structure, format: "Parquet", file };
        let mut answer = Vec::new();
        client
            .query_chunks("SELECT * FROM file", table, "JSONEachRow", |piece| {
                answer.extend_from_slice(piece);
                Ok::<_, ExternalError>(())
            })
            .await
            .unwrap();
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// Checks a dataset against its manifest, file by file, and gives the events in it.
    async fn contents(&self, name: &str) -> Vec<Ids> {
        let dir = self.path(name);
        let (manifest, _) = Manifest::read(&dir).unwrap();
        let mut rows = Vec::new();
        let mut files = BTreeSet::new();
        for shard in &manifest.shards {
            let path = dir.join(&shard.file);
            let bytes = fs::read(&path).unwrap();
            assert_eq!((bytes.len() as u64, sha256(&bytes)), (shard.bytes, shard.sha256.clone()));
            assert!(shard.bytes <= SHARD_BYTES, "{} has {} bytes", shard.file, shard.bytes);
            let read = self.read(&path).await;
            assert_eq!(read.len() as u64, shard.rows, "{}", shard.file);
            rows.extend(read);
            files.insert(path);
        }
        let there = fs::read_dir(dir.join("data")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files, there);
        assert_eq!(manifest.rows, rows.len() as u64);
        rows
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Ids {
    event_id: String,
    subject_id: String,
    status: String,
}

fn ids(rows: &[Ids]) -> BTreeSet<String> {
    let ids: BTreeSet<_> = rows.iter().map(|row| row.event_id.clone()).collect();
    assert_eq!(ids.len(), rows.len(), "no event twice");
    ids
}

/// The pseudonym of a person by number, as SQL.
fn subject(number: &str) -> String {
    format!("toUUID(concat('00000000-0000-4000-8000-', leftPad(toString({number}), 12, '0')))")
}

fn pseudonym(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The exit code, and all that was said.
fn ended(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

fn succeeded(command: &mut Command) -> String {
    let (code, said) = ended(&command.output().unwrap());
    assert_eq!(code, 0, "{said}");
    said
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Recorded {
    state: String,
    scope: String,
    rows: u64,
    bytes: u64,
    shards: u64,
    manifest: String,
    manifest_sha256: String,
    created_by: String,
}

#[tokio::test]
async fn a_dataset_is_what_its_manifest_and_the_view_say() {
    let world = World::new(3_000).await;
    // Days beside those that are asked for.
    world.add(300, "first_party", "2026-03-04").await;
    // A retry under another consent, received on another day: the narrower copy hides the first.
    world
        .database
        .client
        .execute(
            "INSERT INTO events SELECT * REPLACE ('none' AS training_scope, received_at + toIntervalDay(30) AS
             received_at)
             FROM (SELECT * FROM events WHERE training_scope = 'first_party' ORDER BY toUInt128(event_id) LIMIT 10)",
        )
        .await
        .unwrap();
    world.withdraw(7).await;
    let shown = world.shown().await;
    // Neither the rows of somebody who said no, one of which is among those, nor the ten that are hidden.
    assert_eq!(shown.len(), 3_000 - 30 - 9);
    let said = succeeded(&mut world.create("set"));
    assert!(said.contains(&format!("{} rows", shown.len())), "{said}");
    assert_eq!(ids(&world.contents("set").await), shown);
    assert!(!world.path("set.partial").exists());

    let (manifest, digest) = Manifest::read(&world.path("set")).unwrap();
    assert!(manifest.shards.len() > 5, "{}", manifest.shards.len());
    let text = fs::read_to_string(world.path("set/manifest.json")).unwrap();
    assert_eq!(sha256(text.as_bytes()), digest);
    let rows = shown.len() as u64;
    for counts in [&manifest.counts.feature, &manifest.counts.language, &manifest.redaction_versions] {
        assert_eq!(counts.values().sum::<u64>(), rows);
    }
    assert_eq!(manifest.counts.language.keys().collect::<Vec<_>>(), ["de", "en", "no"]);
    assert_eq!(manifest.counts.eligibility_reason, BTreeMap::from([("granted".to_owned(), rows)]));
    assert_eq!(manifest.partitions.iter().map(|it| it.rows).sum::<u64>(), rows);
    let days: Vec<_> = manifest.partitions.iter().map(|it| it.day.as_str()).collect();
    assert_eq!(days, ["2026-03-01", "2026-03-02", "2026-03-03"]);
    assert_eq!((manifest.policies.len(), manifest.policies[0].policy_digest.as_str()), (1, "digest-1"));
    let columns: Vec<_> = manifest.schema.iter().map(|column| column.name.as_str()).collect();
    assert!(columns.contains(&"text") && columns.contains(&"redactions") && manifest.parent.is_none());
    assert!(
        manifest.started_at < manifest.consent_watermark && manifest.consent_watermark < manifest.created_at
    );

    let card = fs::read_to_string(world.path("set/README.md")).unwrap();
    assert!(
        card.starts_with("---\n") && card.contains("path: data/*.parquet") && card.contains("- \"no\"\n"),
        "{card}"
    );

    // What left is recorded, word for word.
    let recorded: Vec<Recorded> = world
        .database
        .rows(
            "SELECT toString(state) AS state, toString(scope) AS scope, rows, bytes, shards, manifest,
             manifest_sha256, created_by FROM exports ORDER BY state",
        )
        .await;
    assert_eq!(recorded.len(), 2);
    assert_eq!((recorded[0].state.as_str(), recorded[0].rows), ("begun", 0));
    let expected = Recorded {
        state: "issued".to_owned(),
        scope: "first_party".to_owned(),
        rows,
        bytes: manifest.bytes,
        shards: manifest.shards.len() as u64,
        manifest: text,
        manifest_sha256: digest,
        created_by: "default".to_owned(),
    };
    assert_eq!(recorded[1], expected);

    // As docs/export.md asks for it.
    let documented = include_str!("../../../docs/export.md");
    let sql = documented.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let finished: Vec<serde_json::Value> = world.database.rows(sql).await;
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0]["finished"], serde_json::json!(1));

    // It is not overwritten.
    let (code, said) = ended(&world.create("set").output().unwrap());
    assert!(code == 1 && said.contains("is there already"), "{said}");
    assert_eq!(ids(&world.contents("set").await), shown);
    assert!(!world.path("set.partial").exists());
}

#[tokio::test]
async fn a_dataset_of_nothing_is_one_all_the_same() {
    let world = World::new(0).await;
    succeeded(world.create("set").arg("--unrecorded"));
    let (manifest, _) = Manifest::read(&world.path("set")).unwrap();
    assert_eq!((manifest.rows, manifest.shards.len(), manifest.recorded), (0, 1, false));
    assert_eq!(world.contents("set").await, []);
    assert_eq!(world.database.count("exports").await, 0);
    succeeded(&mut world.verify("set"));
}

#[tokio::test]
async fn a_shard_is_bounded_though_a_few_rows_are_far_larger_than_the_others() {
    let world = World::new(1_000).await;
    // Each more than half a shard.
    world
        .database
        .client
        .execute(
            "INSERT INTO events SELECT * REPLACE (generateUUIDv7() AS event_id, randomPrintableASCII(40000) AS text)
             FROM events WHERE training_scope = 'first_party' LIMIT 12",
        )
        .await
        .unwrap();
    world.add(1_000, "first_party", "2026-03-01").await;
    succeeded(&mut world.create("set"));
    let rows = world.contents("set").await;
    assert_eq!((ids(&rows), rows.len()), (world.shown().await, 2_012));
}
