//! A dataset that is brought up to date.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use assent::export::Manifest;

use super::{World, ended, ids, killed::started, pseudonym, succeeded};

fn inodes(dir: &Path) -> BTreeMap<String, u64> {
    let (manifest, _) = Manifest::read(dir).unwrap();
    let inode = |file: &str| fs::metadata(dir.join(file)).unwrap().ino();
    manifest.shards.iter().map(|shard| (shard.file.clone(), inode(&shard.file))).collect()
}

#[tokio::test]
async fn it_drops_what_was_taken_back_adds_what_is_new_and_names_its_parent() {
    let world = World::new(2_000).await;
    succeeded(&mut world.create("set"));
    let (parent, parent_digest) = Manifest::read(&world.path("set")).unwrap();
    let before = inodes(&world.path("set"));

    // Nothing new: the same shards, as of a later time.
    let said = succeeded(&mut world.refresh("set"));
    assert!(said.contains(&format!("{} shards are those of the dataset before", before.len())), "{said}");
    assert_eq!(inodes(&world.path("set")), before);
    let (same, same_digest) = Manifest::read(&world.path("set")).unwrap();
    let named = same.parent.unwrap();
    assert_eq!((named.export_id, named.manifest_sha256), (parent.export_id, parent_digest));
    assert!(same.consent_watermark > parent.consent_watermark && same.export_id != parent.export_id);

    // One person's row in some shards alone, and rows that came late.
    let rare =
        "INSERT INTO events SELECT * REPLACE (toUUID('00000000-0000-4000-8000-000000000777') AS subject_id,
        toUUID(concat(substring(toString(event_id), 1, 24), '000000000777')) AS event_id)
        FROM events WHERE training_scope = 'first_party' ORDER BY toUInt128(event_id) LIMIT 3";
    world.database.client.execute(rare).await.unwrap();
    succeeded(&mut world.refresh("set"));
    let with_rare = inodes(&world.path("set"));
    assert!(with_rare.keys().filter(|file| before.contains_key(*file)).count() >= before.len() - 2);
    assert!(world.contents("set").await.iter().any(|row| row.subject_id == pseudonym(777)));
    world.withdraw(777).await;
    world.add(500, "first_party", "2026-03-01").await;
    fs::write(world.path("set/withdrawn.parquet"), b"of an earlier check").unwrap();
    succeeded(&mut world.refresh("set"));
    let rows = world.contents("set").await;
    assert!(rows.iter().all(|row| row.subject_id != pseudonym(777)));
    assert_eq!(ids(&rows), world.shown().await);
    assert_eq!(rows.len(), 2_500);
    let after = inodes(&world.path("set"));
    let kept = after.iter().filter(|(file, inode)| with_rare.get(*file) == Some(inode)).count();
    assert!(kept > before.len() / 2, "{kept} of {} shards are kept", before.len());
    assert!(!world.path("set/withdrawn.parquet").exists() && !world.path("set.partial").exists());
    succeeded(&mut world.verify("set"));

    // Each is recorded with its parent.
    let chain = format!(
        "exports WHERE state = 'issued' AND manifest_sha256 = '{same_digest}' AND parent_export_id = '{}'",
        parent.export_id
    );
    assert_eq!(world.database.count(&chain).await, 1);
    assert_eq!(world.database.count("exports WHERE state = 'issued'").await, 4);
}

#[tokio::test]
async fn it_reaches_to_a_later_day_when_it_is_told_to() {
    let world = World::new(600).await;
    succeeded(&mut world.create("set"));
    world.add(300, "first_party", "2026-03-04").await;
    succeeded(&mut world.refresh("set"));
    assert_eq!(world.contents("set").await.len(), 600);
    succeeded(world.refresh("set").args(["--to", "2026-03-05"]));
    assert_eq!(world.contents("set").await.len(), 800);
    let (manifest, _) = Manifest::read(&world.path("set")).unwrap();
    assert_eq!(manifest.selection.to_day.to_string(), "2026-03-05");
    let (code, said) = ended(&world.refresh("set").args(["--to", "2026-02-01"]).output().unwrap());
    assert!(code == 1 && said.contains("no day is from 2026-03-01 to 2026-02-01"), "{said}");
}

#[tokio::test]
async fn the_old_dataset_is_whole_until_the_new_one_is_and_foreign_files_are_left_alone() {
    let world = World::new(3_000).await;
    succeeded(&mut world.create("set"));
    let old = fs::read(world.path("set/manifest.json")).unwrap();
    // Everybody's shards have to be made again.
    world.withdraw(1).await;
    let shards = Manifest::read(&world.path("set")).unwrap().0.shards.len();
    let mut child = started(&world, "set", world.refresh("set"), shards + 3).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read(world.path("set/manifest.json")).unwrap(), old);
    assert_eq!(world.contents("set").await.len(), 3_000);
    assert_eq!(ended(&world.verify("set").output().unwrap()).0, 3);

    // A refresh removes the old dataset, and nothing that it has not made.
    fs::write(world.path("set/notes.txt"), b"mine").unwrap();
    let (code, said) = ended(&world.refresh("set").output().unwrap());
    assert!(code == 1 && said.contains("notes.txt") && said.contains("move it elsewhere"), "{said}");
    fs::remove_file(world.path("set/notes.txt")).unwrap();

    succeeded(&mut world.refresh("set"));
    assert_eq!(ids(&world.contents("set").await), world.shown().await);
    assert!(!world.path("set.partial").exists());
    // A folder that is no dataset is not made one.
    fs::create_dir(world.path("other")).unwrap();
    let (code, said) = ended(&world.refresh("other").output().unwrap());
    assert!(code == 1 && said.contains("there is no dataset"), "{said}");
    assert!(!world.path("other.partial").exists());
}
