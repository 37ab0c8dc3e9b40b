//! Raw text and raw user ids reach no disk, no log, no metric and no table.

use std::{fs, path::Path};

use assent::ingress::{
    client::ClientError,
    proto::{ConsentScope, ConsentState, SuggestionFeedback, SuggestionShown, event::Payload},
};
use serde::Deserialize;

use crate::harness::{Database, Fault, Proxy, Setup, change, event, shared_server};

/// What must be nowhere: user ids, one of them an address, and addresses in texts.
const CANARIES: [&str; 6] = [
    "canary-user-4711",
    "canary.person@example.com",
    "typed.canary@example.org",
    "shown.canary@example.org",
    "final.canary@example.org",
    "comment.canary@example.org",
];

fn assert_clean(bytes: &[u8], wherever: &dyn std::fmt::Display) {
    for canary in CANARIES {
        let found = memchr::memmem::find(bytes, canary.as_bytes());
        assert!(found.is_none(), "{canary} is in {wherever}");
    }
}

/// Looks into every file below a folder, and counts them.
fn assert_clean_files(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += assert_clean_files(&path);
        } else if let Ok(bytes) = fs::read(&path) {
            // ClickHouse may have merged it away in between.
            assert_clean(&bytes, &path.display());
            files += 1;
        }
    }
    files
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[tokio::test]
async fn nothing_personal_is_left_behind_anywhere() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let setup = Setup::new(&database).via(&proxy.url);
    let collector = setup.start_ready().await;
    let client = collector.client().await;
    let mut events = Vec::new();
    for user in ["canary-user-4711", "canary.person@example.com"] {
        let mut request = change(user, ConsentScope::FirstParty, ConsentState::Granted);
        request.evidence = format!("shown to {user}, copy to typed.canary@example.org");
        request.actor = user.to_owned();
        client.set_consent(request).await.unwrap();
        let about = |text: &str| format!("{user} wrote {text} today");
        events.extend([
            event(user).text(&about("typed.canary@example.org")),
            event(user).payload(Payload::SuggestionShown(SuggestionShown {
                suggestion_id: "s-canary-user-4711".to_owned(),
                text: about("shown.canary@example.org"),
                ..SuggestionShown::default()
            })),
            event(user).payload(Payload::SuggestionFeedback(SuggestionFeedback {
                suggestion_id: "s-canary-user-4711".to_owned(),
                action: 2,
                final_text: about("final.canary@example.org"),
                comment: about("comment.canary@example.org"),
                ..SuggestionFeedback::default()
            })),
        ]);
    }
    // Session ids that are built from a user id.
    let events = events
        .into_iter()
        .map(|event| {
            event.with(|event| {
                if event.user_id == "canary-user-4711" {
                    event.session_id = "canary-user-4711:9".to_owned();
                } else if let Some(
                    Payload::SuggestionShown(SuggestionShown { suggestion_id, .. })
                    | Payload::SuggestionFeedback(SuggestionFeedback { suggestion_id, .. }),
                ) = &mut event.payload
                {
                    "s-1".clone_into(suggestion_id);
                }
            })
        })
        .collect();
    // Undelivered, so that it all lies in the spool.
    proxy.set(Fault::Refuse);
    let ids = collector.send(events).await;
    // Bad requests, whose errors must not repeat them either.
    let bad = event("canary.person@example.com").with(|event| {
        "typed.canary@example.org".clone_into(&mut event.event_id);
        "shown.canary@example.org".clone_into(&mut event.session_id);
    });
    let answer = client.collect(vec![bad.build()]).await.unwrap();
    assert!(!answer.rejected[0].message.contains("canary"));
    let mut refused = change("canary.person@example.com", ConsentScope::FirstParty, ConsentState::Granted);
    "canary.person@example.com".clone_into(&mut refused.jurisdiction);
    let ClientError::Status(status) = client.set_consent(refused).await.unwrap_err() else {
        panic!("a status")
    };
    assert!(!status.message().contains("canary"));
    assert!(assert_clean_files(&setup.data_dir()) >= 4, "spool, state, key, id");

    proxy.set(Fault::None);
    database.wait_for(&ids).await;
    assert_clean_files(&setup.data_dir());
    assert_clean_files(&shared_server().data_dir);
    assert_clean(setup.log().as_bytes(), &"the log");
    assert_clean(collector.metrics().await.as_bytes(), &"the metrics");
    // Files of ClickHouse are compressed, so its tables are read as well.
    for table in ["events", "consent_changes"] {
        let rows: Vec<Text> = database.rows(&format!("SELECT toString(tuple(*)) AS text FROM {table}")).await;
        assert!(!rows.is_empty());
        for row in rows {
            assert_clean(row.text.as_bytes(), &table);
        }
    }
}

#[tokio::test]
async fn the_key_is_made_private_and_another_one_s_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    collector.kill();
    let key = setup.data_dir().join("keys/pseudonym.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let id = fs::read_to_string(&key).unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(database.count(&format!("events WHERE pseudonym_key_id = '{id}'")).await, 1);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = setup
        .command(&["serve", "--grpc-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("chmod 600"));
}

/// The library's SQL function `file()` takes any path, for any user.
#[tokio::test]
async fn the_local_server_reads_no_files_but_its_own() {
    let database = Database::new().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "a key").unwrap();
    let own_environment = format!("/proc/{}/environ", std::process::id());
    for path in [secret.path().to_str().unwrap(), "/etc/hostname", "/etc/passwd", &own_environment] {
        for user in ["default", "ml_first_party", "privacy"] {
            let client = Database::client_as(&database.url, &database.name, user);
            let sql = format!("SELECT file('{path}') AS text");
            let refused = client.query_rows::<Text>(&sql, &[]).await.map(drop);
            assert!(refused.is_err(), "{user} read {path}");
        }
    }
    // What it may read of itself holds nothing of ours.
    let environment: Vec<Text> = database.rows("SELECT file('/proc/self/environ') AS text").await;
    assert!(!environment[0].text.contains("CARGO"), "{}", environment[0].text);
}
