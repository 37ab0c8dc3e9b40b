//! A pseudonym key is replaced while people's consent changes: no "no" is lost, whatever the order.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use assent::{
    ingress::{
        client::{Client, ClientError},
        proto::{
            ConsentScope, ConsentState, GetConsentRequest, ListConsentHistoryRequest, SetConsentRequest,
        },
    },
    pipeline::PseudonymKey,
};
use serde::Deserialize;
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::{self, Collector, Database, Fault, Proxy, Setup, event, eventually};

mod leaving;

const FIRST: ConsentScope = ConsentScope::FirstParty;

/// To terms that count under both policies.
fn change(user: &str, scope: ConsentScope, state: ConsentState) -> SetConsentRequest {
    SetConsentRequest { policy_version: "2024-09".to_owned(), ..harness::change(user, scope, state) }
}

/// Two keys, and files of rings made of them.
struct Keys {
    old: PseudonymKey,
    new: PseudonymKey,
    dir: TempDir,
}

impl Keys {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { old: PseudonymKey::generate().unwrap(), new: PseudonymKey::generate().unwrap(), dir }
    }

    /// The setup with a ring, the current key first.
    fn ring(&self, setup: &Setup, keys: &[&PseudonymKey]) -> Setup {
        let file = self.file(keys);
        setup.clone().env("ASSENT_PSEUDONYM__KEY_FILE", file.to_str().unwrap())
    }

    fn file(&self, keys: &[&PseudonymKey]) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt as _;
        let name: Vec<&str> = keys.iter().map(|key| key.id()).collect();
        let path = self.dir.path().join(name.join("-"));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        keys.iter().for_each(|key| file.write_all(key.to_text().as_bytes()).unwrap());
        path
    }

    fn only_old(&self, setup: &Setup) -> Setup {
        self.ring(setup, &[&self.old])
    }

    fn new_second(&self, setup: &Setup) -> Setup {
        self.ring(setup, &[&self.old, &self.new])
    }

    fn new_first(&self, setup: &Setup) -> Setup {
        self.ring(setup, &[&self.new, &self.old])
    }

    fn only_new(&self, setup: &Setup) -> Setup {
        self.ring(setup, &[&self.new])
    }
}

/// `assent` with a subcommand, on that database.
fn run(
    database: &Database,
    setup: &Setup,
    subcommand: &[&str],
    key_file: &std::path::Path,
    input: &str,
) -> Output {
    let mut child = command(database, setup, subcommand, key_file).spawn().unwrap();
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn command(
    database: &Database,
    setup: &Setup,
    subcommand: &[&str],
    key_file: &std::path::Path,
) -> std::process::Command {
    let mut command = setup.command(subcommand);
    command
        .args(["--clickhouse-url", &database.url, "--clickhouse-database", &database.name, "--log", "trace"])
        .env("ASSENT_PSEUDONYM__KEY_FILE", key_file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn rekey(database: &Database, setup: &Setup, keys: &Keys, ids: &str) -> String {
    let done = run(
        database,
        setup,
        &["pseudonyms", "rekey", "--tenant", "local", "--user-ids", "-"],
        &keys.file(&[&keys.new, &keys.old]),
        ids,
    );
    let said = String::from_utf8(done.stdout).unwrap();
    let logged = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}{logged}");
    for id in ids.lines() {
        assert!(!logged.contains(id) && !said.contains(id), "{id} is in {said}{logged}");
    }
    said
}

fn retire(database: &Database, setup: &Setup, keys: &Keys, leaving: &str) -> Output {
    run(
        database,
        setup,
        &["pseudonyms", "retire", keys.old.id(), "--reason", "test", "--leaving-behind", leaving],
        &keys.file(&[&keys.new]),
        "",
    )
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn reason_of(client: &Client, user: &str) -> String {
    let query = GetConsentRequest { user_id: user.to_owned(), jurisdiction: String::new() };
    client.get_consent(query).await.unwrap().eligibility_reason
}

async fn versions_of(client: &Client, user: &str, page_size: u32) -> Vec<u32> {
    let mut query =
        ListConsentHistoryRequest { user_id: user.to_owned(), page_size, page_token: String::new() };
    let mut versions = Vec::new();
    loop {
        let page = client.consent_history(query.clone()).await.unwrap();
        versions.extend(page.records.iter().map(|record| u32::try_from(record.consent_version).unwrap()));
        if page.next_page_token.is_empty() {
            return versions;
        }
        query.page_token = page.next_page_token;
    }
}

async fn refused(client: &Client, request: SetConsentRequest) -> tonic::Code {
    let Err(ClientError::Status(status)) = client.set_consent(request).await else { panic!("not refused") };
    status.code()
}

/// Scope, reason and key of an event's row.
async fn stamp_of(database: &Database, collector: &Collector, user: &str) -> (String, String, String) {
    #[derive(Deserialize)]
    struct Key {
        key: String,
    }
    let ids = collector.send(vec![event(user)]).await;
    let row = database.wait_for(&ids).await.remove(0);
    let sql = format!("SELECT toString(pseudonym_key_id) AS key FROM events WHERE event_id = '{}'", ids[0]);
    (row.scope, row.reason, database.rows::<Key>(&sql).await.remove(0).key)
}

async fn shown(database: &Database) -> u64 {
    database.count("training_first_party").await
}

#[tokio::test]
async fn what_was_said_before_a_rotation_holds_after_it_and_reaches_what_was_written_before() {
    let database = Database::new().await;
    let (keys, base) = (Keys::make(), Setup::new(&database).policy("mixed-jurisdictions.toml"));
    let collector = keys.only_old(&base).start_ready().await;
    let client = collector.client().await;
    client.set_consent(change("yes", FIRST, ConsentState::Granted)).await.unwrap();
    client.set_consent(change("later-no", FIRST, ConsentState::Granted)).await.unwrap();
    client.set_consent(change("no", FIRST, ConsentState::Granted)).await.unwrap();
    client.set_consent(change("no", FIRST, ConsentState::Denied)).await.unwrap();
    let before = stamp_of(&database, &collector, "later-no").await;
    assert_eq!(before, ("first_party".to_owned(), "granted".to_owned(), keys.old.id().to_owned()));
    assert_eq!(shown(&database).await, 1);
    assert!(collector.terminate().await.success());

    for (round, setup) in [keys.new_second(&base), keys.new_first(&base)].into_iter().enumerate() {
        let collector = setup.start_ready().await;
        let client = collector.client().await;
        let current = [keys.old.id(), keys.new.id()][round];
        // Silence would be a yes here, so a no that is missed shows.
        let us = |user: &str| event(user).jurisdiction("US");
        // And a no elsewhere, so that a yes that is missed at the seal shows.
        let ids = collector.send(vec![us("no"), event("yes"), us("nobody")]).await;
        let rows = database.wait_for(&ids).await;
        let stamps: Vec<_> = rows.iter().map(|row| row.stamp()).collect();
        let expected =
            [("none", "denied"), ("first_party", "granted"), ("first_party", "granted_by_default")];
        assert_eq!(stamps, expected, "round {round}");
        let of_key = format!(
            "events WHERE pseudonym_key_id = '{current}' AND event_id IN ('{}', '{}')",
            ids[0], ids[1]
        );
        assert_eq!(database.count(&of_key).await, 2, "round {round}");
        assert_eq!(reason_of(&client, "no").await, "denied");
        assert_eq!(reason_of(&client, "yes").await, "granted");
        if round == 0 {
            assert!(collector.terminate().await.success());
            continue;
        }
        // A no under the new key takes out what was written under the old one.
        let before = shown(&database).await;
        client.set_consent(change("later-no", FIRST, ConsentState::Denied)).await.unwrap();
        assert_eq!(shown(&database).await, before - 1);
        client.set_consent(change("later-no", FIRST, ConsentState::Granted)).await.unwrap();
        assert_eq!(shown(&database).await, before - 1, "a later yes does not bring it back");
        assert_eq!(versions_of(&client, "later-no", 1).await, [3, 2, 1], "each change once, on pages of one");
        assert_eq!(versions_of(&client, "later-no", 100).await, [3, 2, 1], "and on one page");
        assert_eq!(versions_of(&client, "no", 100).await, [2, 1]);
    }
}

#[tokio::test]
async fn a_no_after_the_rotation_reaches_spool_frames_of_the_old_key() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let (keys, base) = (Keys::make(), Setup::new(&database));
    let patient = base.via(&proxy.url).config("[consent]\nmax_staleness = \"10m\"\n");
    let collector = keys.only_old(&patient).start_ready().await;
    let client = collector.client().await;
    for user in ["ann", "ben"] {
        client.set_consent(change(user, FIRST, ConsentState::Granted)).await.unwrap();
    }
    // Taken, and not delivered before somebody with the new key has a no.
    proxy.set(Fault::Refuse);
    let ids = collector.send(vec![event("ann"), event("ben")]).await;
    collector.kill();
    let other = keys.new_first(&Setup::new(&database)).start_ready().await;
    other.client().await.set_consent(change("ann", FIRST, ConsentState::Denied)).await.unwrap();

    // Without the old key, nobody knows of that no any more.
    let mut process = keys.only_new(&patient).spawn();
    let status = eventually("its end", || {
        let ended = process.ended();
        async move { ended }
    })
    .await;
    assert_eq!(status.code(), Some(64));
    assert!(patient.log().contains("the spool has events"), "{}", patient.log());

    proxy.set(Fault::None);
    let collector = keys.new_first(&patient).start_ready().await;
    let rows = database.wait_for(&ids).await;
    assert_eq!(rows[0].stamp(), ("none", "withdrawn_before_write"));
    assert_eq!(rows[1].stamp(), ("first_party", "granted"));
    drop(collector);
}

#[tokio::test]
async fn collectors_are_restarted_one_after_the_other_and_agree_at_every_step() {
    let database = Database::new().await;
    let (keys, base) = (Keys::make(), Setup::new(&database));
    let other = Setup::new(&database);
    let mut a = keys.only_old(&base).start_ready().await;
    let mut b = keys.only_old(&other).start_ready().await;
    a.client().await.set_consent(change("old", FIRST, ConsentState::Denied)).await.unwrap();
    type Ring = fn(&Keys, &Setup) -> Setup;
    let steps: [(Ring, Ring); 4] = [
        (Keys::new_second, Keys::only_old),
        (Keys::new_second, Keys::new_second),
        (Keys::new_first, Keys::new_second),
        (Keys::new_first, Keys::new_first),
    ];
    for (step, (ring_a, ring_b)) in steps.into_iter().enumerate() {
        if step != 1 && step != 3 {
            assert!(a.terminate().await.success());
            a = ring_a(&keys, &base).start_ready().await;
        } else {
            assert!(b.terminate().await.success());
            b = ring_b(&keys, &other).start_ready().await;
        }
        for (n, (asked, elsewhere)) in [(&a, &b), (&b, &a)].into_iter().enumerate() {
            let user = format!("user-{step}-{n}");
            let client = asked.client().await;
            for state in
                [ConsentState::Granted, ConsentState::Denied, ConsentState::Granted, ConsentState::Denied]
            {
                client.set_consent(change(&user, FIRST, state)).await.unwrap();
                if state == ConsentState::Denied {
                    let ids =
                        [elsewhere.send(vec![event(&user)]).await, asked.send(vec![event(&user)]).await];
                    for row in database.wait_for(&ids.concat()).await {
                        assert_eq!(row.scope, "none", "step {step}: {row:?}");
                    }
                }
            }
            // Both say the same, each change once.
            for client in [client, elsewhere.client().await] {
                assert_eq!(reason_of(&client, &user).await, "denied", "step {step}");
                assert_eq!(versions_of(&client, &user, 3).await, [4, 3, 2, 1], "step {step}");
                assert_eq!(reason_of(&client, "old").await, "denied", "step {step}");
            }
        }
        a.wait_until_serving().await;
        b.wait_until_serving().await;
    }
}

#[tokio::test]
async fn who_lacks_a_key_that_others_stamp_with_records_nothing_and_makes_nothing_eligible() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let (keys, base) = (Keys::make(), Setup::new(&database));
    let behind = keys.only_old(&base.clone().config("[consent]\nmax_staleness = \"10m\"\n").via(&proxy.url));
    let a = behind.start_ready().await;
    let at_a = a.client().await;
    at_a.set_consent(change("ann", FIRST, ConsentState::Granted)).await.unwrap();

    // The step in between was left out: another collector begins to stamp with a key that this one lacks, while a no
    // is on its way. Its row gets there, and is not acknowledged: the other one's rows would not hear of it.
    proxy.set(Fault::HoldLedgerInserts);
    let request = SetConsentRequest {
        request_id: Uuid::now_v7().to_string(),
        ..change("ann", FIRST, ConsentState::Denied)
    };
    let sent = request.clone();
    let held = tokio::spawn(async move { at_a.set_consent(sent).await });
    eventually("the insert to be held", || async { (proxy.held() > 0).then_some(()) }).await;
    let b = keys.new_first(&Setup::new(&database)).start_ready().await;
    proxy.release();
    let Err(ClientError::Status(status)) = held.await.unwrap() else { panic!("it was acknowledged") };
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    proxy.set(Fault::None);
    a.wait_until_not_serving().await;
    assert_eq!(
        refused(&a.client().await, change("ben", FIRST, ConsentState::Granted)).await,
        tonic::Code::FailedPrecondition
    );
    let ids = a.send(vec![event("ann"), event("ben")]).await;
    for row in database.wait_for(&ids).await {
        assert_eq!(row.scope, "none");
    }

    // Sent again where it belongs, it is the same change, and lies under both keys.
    let record = b.client().await.set_consent(request.clone()).await.unwrap();
    assert_eq!(record.consent_version, 2);
    assert_eq!(b.client().await.set_consent(request).await.unwrap(), record);
    assert_eq!(database.count("consent_changes WHERE state = 'denied'").await, 2);
    assert_eq!(
        database.count("(SELECT DISTINCT consent_id FROM consent_changes WHERE state = 'denied')").await,
        1
    );
    assert_eq!(versions_of(&b.client().await, "ann", 100).await, [2, 1]);
    assert_eq!(stamp_of(&database, &b, "ann").await.1, "denied");
}

#[tokio::test]
async fn a_request_is_recorded_once_though_it_is_sent_again_across_a_rotation() {
    let database = Database::new().await;
    let (keys, base) = (Keys::make(), Setup::new(&database));
    let request = |user: &str, state| SetConsentRequest {
        request_id: Uuid::now_v7().to_string(),
        ..change(user, FIRST, state)
    };
    let requests = [request("ann", ConsentState::Denied), request("ben", ConsentState::Granted)];
    let mut first = Vec::new();
    for setup in [keys.only_old(&base), keys.new_second(&base), keys.new_first(&base), keys.new_second(&base)]
    {
        let collector = setup.start_ready().await;
        let client = collector.client().await;
        for (n, request) in requests.iter().enumerate() {
            let mut record = client.set_consent(request.clone()).await.unwrap();
            // Of the answering collector's current key.
            record.subject_id = String::new();
            match first.get(n) {
                None => first.push(record),
                Some(first) => assert_eq!(&record, first),
            }
            assert_eq!(versions_of(&client, &request.user_id, 100).await, [1]);
        }
        assert!(collector.terminate().await.success());
    }
    // At once at two collectors with the keys in another order.
    let a = keys.new_second(&base).start_ready().await;
    let b = keys.new_first(&Setup::new(&database)).start_ready().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    for n in 0..10 {
        let request = request(&format!("user-{n}"), [ConsentState::Granted, ConsentState::Denied][n % 2]);
        let (one, other) = tokio::join!(at_a.set_consent(request.clone()), at_b.set_consent(request.clone()));
        assert_eq!(one.unwrap().consent_id, other.unwrap().consent_id);
        assert_eq!(versions_of(&at_a, &request.user_id, 100).await, [1]);
    }
    assert_eq!(database.count("consent_changes").await, 2 * 2 + 10 * 2);
}

#[tokio::test]
async fn opposite_changes_at_two_collectors_leave_one_truth_under_both_keys() {
    let database = Database::new().await;
    let keys = Arc::new(Keys::make());
    let (one, other) = (Setup::new(&database), Setup::new(&database));
    let a = keys.new_second(&one).start_ready().await;
    let b = keys.new_first(&other).start_ready().await;
    let (at_a, at_b) = (a.client().await, b.client().await);
    for n in 0..15 {
        let user = format!("user-{n}");
        let (yes, no) = tokio::join!(
            at_a.set_consent(change(&user, FIRST, ConsentState::Granted)),
            at_b.set_consent(change(&user, FIRST, ConsentState::Denied)),
        );
        let (yes, no) = (yes.unwrap(), no.unwrap());
        let expected = if yes.consent_version > no.consent_version { "granted" } else { "denied" };
        assert_eq!(reason_of(&at_a, &user).await, expected);
        assert_eq!(reason_of(&at_b, &user).await, expected);
        if expected == "denied" {
            let ids = [a.send(vec![event(&user)]).await, b.send(vec![event(&user)]).await].concat();
            for row in database.wait_for(&ids).await {
                assert_eq!(row.scope, "none", "{row:?}");
            }
        }
    }
    // The newest is the same under both keys for everybody.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let newest = "(SELECT consent_id, count() AS n FROM consent_current GROUP BY consent_id HAVING n != 2)";
    assert_eq!(database.count(newest).await, 0);
}
