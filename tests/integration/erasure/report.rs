//! What is held about a person, read out.

use serde_json::Value;

use super::*;

async fn report(collector: &Collector, user: &str) -> Value {
    let mut text = Vec::new();
    let taken = collector
        .client()
        .await
        .report_subject::<assent::ingress::client::ClientError>(user.to_owned(), |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })
        .await;
    taken.unwrap();
    serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)))
}

fn rows<'a>(report: &'a Value, table: &str) -> &'a Vec<Value> {
    report["tables"][table].as_array().unwrap()
}

#[tokio::test]
async fn everything_that_is_held_about_a_person_is_read_out_and_nothing_of_others() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let collector = setup.start_ready().await;
    grant(&collector, "ann").await;
    grant(&collector, "ben").await;
    let mut ids = collector.send(one_of_each("ann", "what \"ann\"\nwrites {x}")).await;
    ids.extend(collector.send(one_of_each("ben", "what ben writes")).await);
    // More than one piece.
    ids.extend(collector.send((0..3_000).map(|n| event("ann").text(&format!("text {n}"))).collect()).await);
    database.wait_for(&ids).await;
    let found = report(&collector, "ann").await;
    let subject = subject_of(&collector, "ann").await.to_string();
    assert_eq!(found["subject_ids"][0], subject);
    let events = rows(&found, "events");
    assert_eq!(events.len(), 3_004);
    assert!(events.iter().all(|row| row["subject_id"] == subject));
    let typed = events.iter().find(|row| row["text"] == "what \"ann\"\nwrites {x}");
    assert_eq!(typed.unwrap()["event_type"], "typed_text");
    let changes = rows(&found, "consent_changes");
    assert_eq!(changes.len(), 2);
    assert!(changes[0]["evidence"].as_str().unwrap().contains("canary-evidence"));
    assert_eq!(rows(&report(&collector, "nobody").await, "events").len(), 0);

    // By the command, to a file that nobody else can read.
    let file = setup.data_dir().join("ann.json");
    let command = |user: &str| {
        let mut command = setup.command(&["subject", "report", "--user", user]);
        command.arg("--out").arg(&file).args(["--grpc-addr", &collector.grpc]);
        command.output().unwrap()
    };
    let written = command("ann");
    assert!(written.status.success(), "{written:?}");
    let text = std::fs::read(&file).unwrap();
    assert_eq!(rows(&serde_json::from_slice(&text).unwrap(), "events").len(), 3_004);
    assert!(!command("ben").status.success(), "it is not overwritten");
    assert_eq!(std::fs::read(&file).unwrap(), text);

    let erasure = erase(&collector, "ann").await;
    completed(&collector, &erasure).await;
    let after = report(&collector, "ann").await;
    assert_eq!((rows(&after, "events").len(), rows(&after, "consent_changes").len()), (0, 0));
    assert_eq!(rows(&report(&collector, "ben").await, "events").len(), 4);
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let collector = setup.start_ready().await;
    grant(&collector, "ann").await;
    let ids = collector.send(one_of_each("ann", "a text")).await;
    database.wait_for(&ids).await;
    let tables = ["events", "consent_changes", "erasures", "erasure_subjects", "erasure_steps"];
    let mut before = Vec::new();
    for table in tables {
        before.push(contents(&database, table).await);
    }
    let output = setup
        .command(&["erase", "--user", "ann", "--dry-run", "--grpc-addr", &collector.grpc])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("4 rows of events"), "{text}");
    assert!(text.contains("2 rows of consent_changes") && text.contains("nothing was changed"), "{text}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (table, before) in tables.into_iter().zip(before) {
        assert_eq!(contents(&database, table).await, before, "{table}");
    }
    // And then in earnest, waited for.
    let output = setup
        .command(&["erase", "--user", "ann", "--actor", "officer 7", "--grpc-addr", &collector.grpc])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("table events: 4 rows found, 4 removed") && text.contains("completed"), "{text}");
    assert_eq!(database.count("events").await, 0);
}
