//! `assent export verify` and `revocations`: what a dataset is worth today.

use std::fs;

use assent::export::Manifest;
use serde_json::Value;

use super::{World, ended, ids, pseudonym, subject, succeeded};

#[tokio::test]
async fn what_is_damaged_is_refused_file_by_file() {
    let world = World::new(3_000).await;
    succeeded(&mut world.create("set"));
    let said = succeeded(&mut world.verify("set"));
    assert!(said.contains("all of them may be trained on"), "{said}");
    let (manifest, _) = Manifest::read(&world.path("set")).unwrap();
    let file = &manifest.shards[2].file;
    let path = world.path("set").join(file);
    let whole = fs::read(&path).unwrap();

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x10;
    for (damaged, word) in [(flipped, "SHA-256"), (whole[..whole.len() - 1].to_vec(), "bytes")] {
        fs::write(&path, &damaged).unwrap();
        let (code, said) = ended(&world.verify("set").output().unwrap());
        assert!(code == 4 && said.contains(file.as_str()) && said.contains(word), "{code}: {said}");
    }
    fs::remove_file(&path).unwrap();
    let (code, said) = ended(&world.verify("set").output().unwrap());
    assert!(code == 4 && said.contains(file.as_str()), "{code}: {said}");
    fs::write(&path, &whole).unwrap();
    succeeded(&mut world.verify("set"));

    // What reads the folder would read it too.
    let stray = world.path("set/data/more.parquet");
    fs::write(&stray, &whole).unwrap();
    let (code, said) = ended(&world.verify("set").output().unwrap());
    assert!(code == 4 && said.contains("data/more.parquet"), "{code}: {said}");
    fs::remove_file(&stray).unwrap();

    let manifest_path = world.path("set/manifest.json");
    let text = fs::read_to_string(&manifest_path).unwrap();
    let forged = text.replacen(&format!("\"file\": \"{file}\""), "\"file\": \"data/../../x.parquet\"", 1);
    let other = text.replacen("\"format_version\": 1", "\"format_version\": 2", 1);
    assert!(forged != text && other != text);
    for (content, word) in
        [(&forged[..], "no name of a shard"), (&other, "format"), (&text[..text.len() / 2], "not a manifest")]
    {
        fs::write(&manifest_path, content).unwrap();
        let (code, said) = ended(&world.verify("set").output().unwrap());
        assert!(code == 4 && said.contains(word), "{code}: {said}");
    }
    fs::remove_file(&manifest_path).unwrap();
    let (code, said) = ended(&world.verify("set").output().unwrap());
    assert!(code == 4 && said.contains("there is no dataset"), "{code}: {said}");
}

#[tokio::test]
async fn withdrawn_and_erased_rows_are_listed_and_told_apart() {
    let world = World::new(4_000).await;
    succeeded(&mut world.create("set"));
    let all = world.contents("set").await;
    world.withdraw(5).await;
    let erase =
        format!("ALTER TABLE events DELETE WHERE subject_id = {} SETTINGS mutations_sync = 2", subject("6"));
    world.database.client.execute(&erase).await.unwrap();

    let (code, said) = ended(&world.verify("set").output().unwrap());
    assert_eq!(code, 3, "{said}");
    let mut expected: Vec<_> = [(5, "withdrawn"), (6, "erased")]
        .into_iter()
        .flat_map(|(person, status)| {
            let of = all.iter().filter(move |row| row.subject_id == pseudonym(person));
            of.map(move |row| super::Ids { status: status.to_owned(), ..row.clone() })
        })
        .collect();
    assert_eq!(expected.len(), 80);
    assert!(
        said.contains("withdrawn: 40") && said.contains("erased: 40") && said.contains("80 of 4000 rows"),
        "{said}"
    );
    let mut listed = world.read(&world.path("set/withdrawn.parquet")).await;
    for rows in [&mut listed, &mut expected] {
        rows.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    }
    assert_eq!(listed, expected);
    let mut left: Vec<_> =
        fs::read_dir(world.path("set")).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["README.md", "data", "manifest.json", "withdrawn.parquet"]);
    // The list is no part of the dataset, and does no harm.
    assert_eq!(ended(&world.verify("set").output().unwrap()).0, 3);

    // Elsewhere, when the dataset is not to be touched.
    let list = world.path("list.parquet");
    assert_eq!(ended(&world.verify("set").arg("--list").arg(&list).output().unwrap()).0, 3);
    assert_eq!(ids(&world.read(&list).await).len(), 80);
}

#[tokio::test]
async fn rows_of_rules_that_were_revoked_may_not_be_used_either() {
    let world = World::new(500).await;
    succeeded(&mut world.create("set"));
    world
        .database
        .client
        .execute("INSERT INTO redaction_rules_revoked (version, reason) VALUES ('r1', 'r')")
        .await
        .unwrap();
    let (code, said) = ended(&world.verify("set").output().unwrap());
    assert!(code == 3 && said.contains("withdrawn: 500"), "{code}: {said}");
}

#[tokio::test]
async fn revocations_are_given_out_once_for_a_cursor() {
    let world = World::new(2_000).await;
    succeeded(&mut world.create("set"));
    let all = world.contents("set").await;
    let of = |person: u64| {
        let rows = all.iter().filter(move |row| row.subject_id == pseudonym(person));
        rows.map(|row| row.event_id.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let poll = |cursor: Option<&str>| {
        let mut command = world.export(&["revocations"]);
        command.arg("--since").arg(world.path("set/manifest.json"));
        if let Some(cursor) = cursor {
            command.arg("--cursor").arg(world.path(cursor));
        }
        let said = succeeded(&mut command);
        let mut lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.pop().unwrap();
        assert_eq!(last["type"], "cursor");
        assert_eq!(last["new"], lines.len());
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        assert!(lines.iter().all(|line| line["type"] == "revocation" && line["status"] == "withdrawn"));
        let ids: std::collections::BTreeSet<_> = lines.iter().map(|line| text(line, "event_id")).collect();
        (ids, last["revoked"].as_u64().unwrap(), text(&last, "watermark"))
    };
    let (none, revoked, first) = poll(Some("cursor"));
    assert!(none.is_empty() && revoked == 0);
    world.withdraw(3).await;
    let (new, revoked, second) = poll(Some("cursor"));
    assert_eq!((new, revoked), (of(3), 20));
    assert!(first < second);
    world.withdraw(4).await;
    assert_eq!(poll(Some("cursor")).0, of(4));
    assert_eq!(poll(Some("cursor")).0.len(), 0);
    // Another pipeline has its own, and without one everything is given.
    assert_eq!(poll(Some("another")).0.len(), 40);
    assert_eq!(poll(None).0.len(), 40);

    // A refreshed dataset has another manifest.
    succeeded(&mut world.refresh("set"));
    let mut command = world.export(&["revocations"]);
    command.arg("--since").arg(world.path("set")).arg("--cursor").arg(world.path("cursor"));
    let (code, said) = ended(&command.output().unwrap());
    assert!(code == 1 && said.contains("of another dataset"), "{said}");
    assert_eq!(poll(Some("cursor-2")).1, 0);
}
