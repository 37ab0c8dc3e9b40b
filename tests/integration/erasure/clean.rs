//! Nothing is left, in no column of no table and in no file.

use super::*;
use crate::{
    canary::scan::Scan,
    harness::{Fault, Proxy, shared_server},
};

/// A pseudonym as ClickHouse stores it: each half from its end.
fn stored(subject: Uuid) -> Vec<u8> {
    let mut bytes = subject.as_bytes().to_vec();
    bytes[..8].reverse();
    bytes[8..].reverse();
    bytes
}

/// What is looked for: texts, and the pseudonym in every form.
fn scan_for(subject: Uuid) -> Scan {
    let mut scan = Scan::new(&[
        "zebrafinch marmalade".to_owned(),
        "quincunx parsnip".to_owned(),
        subject.to_string(),
        subject.simple().to_string(),
    ]);
    scan.also(subject.as_bytes(), "the pseudonym's bytes");
    scan.also(&stored(subject), "the pseudonym's bytes as ClickHouse has them");
    scan
}

#[tokio::test]
async fn no_column_and_no_file_holds_anything_of_a_person_who_was_erased() {
    let database = database().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let setup = Setup::new(&database).via(&proxy.url).config(SOON);
    let collector = setup.start_ready().await;
    let mut yes = change("ann", ConsentScope::FirstParty, ConsentState::Granted);
    "quincunx parsnip".clone_into(&mut yes.evidence);
    collector.client().await.set_consent(yes).await.unwrap();
    let ann = subject_of(&collector, "ann").await;
    let ids = collector
        .send(one_of_each("ann", "zebrafinch marmalade"))
        .await
        .into_iter()
        .chain(collector.send(one_of_each("ben", "something else")).await)
        .collect::<Vec<_>>();
    database.wait_for(&ids).await;
    // Rows of theirs that only the spool has.
    proxy.set(Fault::Refuse);
    collector.send(one_of_each("ann", "zebrafinch marmalade")).await;
    let of_ben = collector.send(vec![event("ben").text("beside it")]).await;

    let mut before = scan_for(ann);
    before.tables(&database).await;
    assert!(before.has_found_in("events") && before.has_found_in("consent_changes"), "{:?}", before.found);
    let mut before = scan_for(ann);
    before.folder(&setup.data_dir());
    assert!(before.has_found_in("spool"), "{:?}", before.found);
    let mut before = scan_for(ann);
    before.folder(&shared_server().data_dir);
    assert!(before.has_found_in("compressed in"), "{:?}", before.found);

    proxy.set(Fault::None);
    let erasure = eventually("an erasure that is recorded", || async {
        let request =
            proto::EraseUserRequest { request_id: Uuid::from_u128(9).to_string(), ..request("ann") };
        collector.client().await.erase_user(request).await.ok()
    })
    .await;
    let done = forgotten(&collector, &erasure).await;
    // Delivered before it was known, or dropped: it is gone in either case.
    let removed = step(&done, "table events").unwrap().1 + step(&done, "spool").unwrap().1;
    assert_eq!(removed, 8, "{done:?}");
    database.wait_for(&of_ben).await;

    let mut after = scan_for(ann);
    assert!(after.tables(&database).await > 0);
    after.folder(&setup.data_dir());
    after.bytes(setup.log().as_bytes(), "the log");
    after.bytes(collector.metrics().await.as_bytes(), "the metrics");
    after.assert_clean();
    // The parts that the last mutation replaced go a moment later.
    eventually("files without a trace", || async {
        let mut files = scan_for(ann);
        files.folder(&shared_server().data_dir);
        assert!(files.files > 0 && files.frames > 0);
        if !files.found.is_empty() {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        files.found.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn rows_in_quarantine_are_erased_too() {
    let database = database().await;
    database.client.execute("ALTER TABLE events ADD CONSTRAINT none CHECK feature = ''").await.unwrap();
    let setup = Setup::new(&database).config(SOON);
    let collector = setup.start_ready().await;
    let ann = subject_of(&collector, "ann").await;
    collector.send(vec![event("ann"), event("ben"), event("ann"), event("ben")]).await;
    let quarantine = setup.data_dir().join("spool/quarantine");
    let files = |ending: &str| {
        let files = std::fs::read_dir(&quarantine).into_iter().flatten().filter_map(Result::ok);
        files.filter(|it| it.path().extension().is_some_and(|it| it == ending)).count()
    };
    eventually("rows in quarantine", || async { (files("json") == 4).then_some(()) }).await;
    // Nobody can say whose rows lie there.
    let damaged = quarantine.join("spool-00000000000000000001-00000000000000000002.damaged");
    std::fs::write(&damaged, b"x").unwrap();
    let erasure = erase(&collector, "ann").await;
    let waiting = until(&collector, &erasure, "a step that says why it waits", |it| {
        step(it, "quarantine damaged").is_some()
    })
    .await;
    assert_eq!(waiting.waiting_for.len(), 1);
    assert!(setup.log().contains("damaged pieces of the spool may hold rows"));
    std::fs::remove_file(&damaged).unwrap();
    let done = completed(&collector, &erasure).await;
    assert_eq!(step(&done, "spool"), Some((2, 2)), "{done:?}");
    assert_eq!((files("json"), files("native")), (2, 2));
    let mut scan = scan_for(ann);
    scan.folder(&setup.data_dir());
    scan.assert_clean();
    database.client.execute("ALTER TABLE events DROP CONSTRAINT none").await.unwrap();
    let replay = setup
        .command(&["spool", "quarantine", "replay", "--clickhouse-url", &database.url])
        .args(["--clickhouse-database", &database.name])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&replay.stdout).contains("2 rows inserted"), "{replay:?}");
    assert_eq!(database.count("events").await, 2);
    assert_eq!(rows_of(&database, "events", ann).await, 0);
}
