//! An export that is killed, and what people say meanwhile.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::{Child, Command, Stdio},
};

use assent::export::Manifest;

use super::{World, ended, ids, pseudonym, sha256, succeeded};
use crate::harness::eventually;

/// How many shards the journal of a dataset in the making has.
pub(super) fn journalled(world: &World, name: &str) -> usize {
    let journal =
        fs::read_to_string(world.path(&format!("{name}.partial/journal.jsonl"))).unwrap_or_default();
    journal.lines().filter(|line| line.starts_with("{\"shard\"")).count()
}

/// Starts it and waits until some shards are finished.
pub(super) async fn started(world: &World, name: &str, mut command: Command, shards: usize) -> Child {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("some shards", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was to be killed");
        let there = (journalled(world, name) >= shards).then_some(());
        async move { there }
    })
    .await;
    child
}

#[tokio::test]
async fn after_kill_9_it_goes_on_and_heeds_what_was_said_meanwhile() {
    let world = World::new(4_000).await;
    let mut child = started(&world, "set", world.create("set"), 4).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!world.path("set").exists(), "there is no dataset without its manifest");
    let partial = world.path("set.partial/dataset/data");
    let before: Vec<_> = fs::read_dir(&partial)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("shard-"))
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().ino()))
        .collect();
    assert!(before.len() >= 4);
    // One that was cut off, and one that nobody knows of.
    fs::write(partial.join(".unfinished"), b"PAR1").unwrap();
    fs::write(partial.join("shard-stray.parquet"), b"PAR1").unwrap();

    // Other options are another dataset.
    let mut other = world.export(&["--scope", "first-party", "--from", "2026-03-01", "--to", "2026-03-02"]);
    let (code, said) = ended(&other.arg("--out").arg(world.path("set")).output().unwrap());
    assert!(code == 1 && said.contains("with other options"), "{said}");

    // A shard that the disk has damaged is made again, and so are those with rows of somebody who says no now.
    let damaged = partial.join(&before[0].0);
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[100] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    let said = succeeded(&mut world.create("set"));
    let kept = before[1..]
        .iter()
        .filter(|(name, inode)| {
            fs::metadata(world.path("set/data").join(name)).is_ok_and(|file| file.ino() == *inode)
        })
        .count();
    assert_eq!(kept, before.len() - 1, "finished shards are kept as they are");
    assert!(said.contains(" shards were there from a run before"), "{said}");
    assert_eq!(ids(&world.contents("set").await), world.shown().await);
    assert_eq!(world.database.count("exports WHERE state = 'begun'").await, 1);
    assert_eq!(world.database.count("exports WHERE state = 'issued'").await, 1);
    assert!(!world.path("set.partial").exists());
}

#[tokio::test]
async fn what_is_taken_back_between_two_runs_is_not_in_the_dataset() {
    let world = World::new(3_000).await;
    let mut child = started(&world, "set", world.create("set"), 4).await;
    child.kill().unwrap();
    child.wait().unwrap();
    world.withdraw(11).await;
    // Merges change where rows lie, and nothing else.
    world.database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
    succeeded(&mut world.create("set"));
    let rows = world.contents("set").await;
    assert!(rows.iter().all(|row| row.subject_id != pseudonym(11)));
    assert_eq!(ids(&rows), world.shown().await);
    succeeded(&mut world.verify("set"));
}

#[tokio::test]
async fn an_opt_out_while_it_runs_holds_for_what_was_read_before_it() {
    let world = World::new(4_000).await;
    let mut child = started(&world, "set", world.create("set"), 3).await;
    world.withdraw(23).await;
    assert!(!world.path("set").exists(), "it is still under way");
    assert!(child.wait().unwrap().success());
    let rows = world.contents("set").await;
    assert!(rows.iter().all(|row| row.subject_id != pseudonym(23)), "read before, and dropped at the end");
    assert_eq!(ids(&rows), world.shown().await);
    let (manifest, _) = Manifest::read(&world.path("set")).unwrap();
    let heeded = format!("consent_changes WHERE recorded_at < '{}'", manifest.consent_watermark);
    assert_eq!(world.database.count(&heeded).await, 1);
}

/// Whenever it is killed there is either no dataset, or all of it; a run that is let through makes it.
#[tokio::test]
async fn killed_again_and_again_it_comes_to_an_end() {
    let world = World::new(2_000).await;
    let mut shards = 1;
    for _ in 0..200 {
        let mut child = world.create("set").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let ended = eventually("a shard more, or the end", || {
            let ended = child.try_wait().unwrap();
            let more = journalled(&world, "set") >= shards;
            async move { (more || ended.is_some()).then_some(ended) }
        })
        .await;
        if let Some(status) = ended {
            // It was killed between putting the dataset in its place and cleaning up, or has done both.
            assert!(status.success() || world.path("set").exists());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        shards = journalled(&world, "set") + 7;
        if world.path("set").exists() {
            assert_eq!(ids(&world.contents("set").await), world.shown().await);
        }
    }
    assert_eq!(ids(&world.contents("set").await), world.shown().await);
    let manifest = fs::read(world.path("set/manifest.json")).unwrap();
    let issued = format!("exports WHERE manifest_sha256 = '{}'", sha256(&manifest));
    assert_eq!(world.database.count(&issued).await, 1);
}
