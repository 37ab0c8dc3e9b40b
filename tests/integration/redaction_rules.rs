//! No row is eligible that known rules did not redact, whoever wrote it, and however it came there.

use std::process::Output;

use assent::{
    ingress::proto::{ConsentScope, ConsentState},
    pipeline::{RULES_VERSION, RulesRecord},
};
use uuid::Uuid;

use crate::harness::{Collector, Database, Fault, Proxy, Setup, change, event, eventually};

const VIOLATED_CONSTRAINT: u32 = 469;
/// In brackets, since the names in a condition would be those that REPLACE gives.
const OWN_ROWS: &str = "(SELECT * FROM events WHERE collector_id != '' AND redaction_version LIKE '2026%')";
const VIEWS: [&str; 2] = ["training_first_party", "training_affiliates"];

/// How many rows the two training views show.
async fn shown(database: &Database) -> [u64; 2] {
    [database.count(VIEWS[0]).await, database.count(VIEWS[1]).await]
}

async fn wait_until_shown(database: &Database, expected: [u64; 2]) {
    eventually(&format!("{expected:?} rows in the training views"), || async {
        (shown(database).await == expected).then_some(())
    })
    .await;
}

async fn grant_everything(collector: &Collector, user: &str) {
    let client = collector.client().await;
    for scope in [ConsentScope::FirstParty, ConsentScope::Affiliates] {
        client.set_consent(change(user, scope, ConsentState::Granted)).await.unwrap();
    }
}

/// `assent redaction …` on the test's database.
fn redaction(setup: &Setup, database: &Database, words: &[&str]) -> Output {
    let mut command = setup.command(&[&["redaction"], words].concat());
    command.args(["--clickhouse-url", &database.url, "--clickhouse-database", &database.name]);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

/// Copies the collectors' own rows under ids of their own, as if something else had redacted them.
fn copies(version: &str) -> String {
    format!(
        "INSERT INTO events SELECT * REPLACE ('{version}' AS redaction_version, generateUUIDv4() AS event_id)
         FROM {OWN_ROWS}"
    )
}

#[tokio::test]
async fn a_collector_records_its_rules_once_and_before_its_rows_come() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    grant_everything(&collector, "ann").await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    assert_eq!(shown(&database).await, [1, 1]);
    let sound =
        format!("redaction_rules WHERE version = '{RULES_VERSION}' AND hex(SHA256(body)) = upper(digest)");
    assert_eq!(database.count(&sound).await, 1);
    // Neither a restart nor a collector beside it records them again.
    let _beside = setup.beside().start_ready().await;
    drop(collector);
    let again = setup.start_ready().await;
    let ids = again.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    assert_eq!(database.count("redaction_rules").await, 1);
}

#[tokio::test]
async fn no_row_becomes_eligible_by_rules_that_nobody_knows() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    grant_everything(&collector, "ann").await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;

    // Nothing redacted it: the table itself refuses it, and takes it when it is not eligible.
    let error = database.client.execute(&copies("")).await.unwrap_err();
    assert_eq!(error.code(), Some(VIOLATED_CONSTRAINT), "{error}");
    assert_eq!(database.count("events").await, 1);
    let withheld = copies("").replace("REPLACE (", "REPLACE ('none' AS training_scope, ");
    database.client.execute(&withheld).await.unwrap();
    assert_eq!(database.count("events").await, 2);

    // Names near the known one, and one that matches everything where a pattern would be looked for.
    for version in [
        "1999-01-01.1",
        " ",
        "%",
        &format!("{RULES_VERSION} "),
        &RULES_VERSION[1..],
        &format!("{RULES_VERSION}\\0"),
    ] {
        database.client.execute(&copies(version)).await.unwrap();
        assert_eq!(shown(&database).await, [1, 1], "{version:?}");
    }
    // A record without a name makes nothing known.
    database.client.execute("INSERT INTO redaction_rules (version, digest) VALUES ('', 'd')").await.unwrap();
    database.client.execute("ALTER TABLE events DROP CONSTRAINT eligible_is_redacted").await.unwrap();
    database.client.execute(&copies("")).await.unwrap();
    assert_eq!(shown(&database).await, [1, 1]);

    // The narrower copy of an event hides it, though its own rules are unknown.
    let narrower = format!(
        "INSERT INTO events SELECT * REPLACE ('none' AS training_scope, 'unknown' AS redaction_version)
         FROM {OWN_ROWS}"
    );
    database.client.execute(&narrower).await.unwrap();
    assert_eq!(shown(&database).await, [0, 0]);
}

#[tokio::test]
async fn a_version_that_is_revoked_trains_nothing_any_more() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    grant_everything(&collector, "ann").await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    database.client.execute(&copies("2020-01-01.1")).await.unwrap();
    let record = "INSERT INTO redaction_rules (version, digest) VALUES ('2020-01-01.1', 'd')";
    database.client.execute(record).await.unwrap();
    assert_eq!(shown(&database).await, [2, 2]);

    // A slip of the pen revokes nothing, and tells what there is.
    let refused = redaction(&setup, &database, &["revoke", "2020-01-01.2", "--reason", "takes too little"]);
    let said = text(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains(RULES_VERSION) && said.contains("--unrecorded"),
        "{said}"
    );
    assert!(
        !redaction(&setup, &database, &["revoke", "2020-01-01.1"]).status.success(),
        "a reason is asked for"
    );
    assert_eq!(shown(&database).await, [2, 2]);

    let revoked = redaction(&setup, &database, &["revoke", "2020-01-01.1", "--reason", "takes too little"]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    assert_eq!(shown(&database).await, [1, 1], "the other version's row alone");
    // What is recorded again stays revoked.
    database.client.execute(record).await.unwrap();
    assert_eq!(shown(&database).await, [1, 1]);
    let listed = text(&redaction(&setup, &database, &["versions"]).stdout);
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert!(listed.contains("revoked") && listed.contains(": takes too little"), "{listed}");

    // A collector that uses a revoked version goes on, tells so, and adds nothing that may train.
    assert!(redaction(&setup, &database, &["revoke", RULES_VERSION, "--reason", "r"]).status.success());
    assert_eq!(shown(&database).await, [0, 0]);
    drop(collector);
    let collector = setup.start_ready().await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    assert_eq!(shown(&database).await, [0, 0]);
    eventually("a word about it", || async {
        setup.log().contains("the redaction rules in use were revoked").then_some(())
    })
    .await;

    // Ahead of the first collector that has it.
    let ahead = ["revoke", "2030-01-01.1", "--unrecorded", "--reason", "r"];
    assert!(redaction(&setup, &database, &ahead).status.success());
    database
        .client
        .execute("INSERT INTO redaction_rules (version, digest) VALUES ('2030-01-01.1', 'd')")
        .await
        .unwrap();
    database.client.execute(&copies("2030-01-01.1")).await.unwrap();
    assert_eq!(shown(&database).await, [0, 0]);
}

#[tokio::test]
async fn rows_of_rules_that_are_recorded_late_become_eligible_then() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let setup = Setup::new(&database).via(&proxy.url);
    let collector = setup.start_ready().await;
    grant_everything(&collector, "ann").await;
    let ids = collector.send(vec![event("ann")]).await;
    database.wait_for(&ids).await;
    // An older version of the program left a row behind, and never reached ClickHouse with its rules.
    database.client.execute(&copies("2020-01-01.1")).await.unwrap();
    assert_eq!(shown(&database).await, [1, 1]);
    let old =
        RulesRecord { version: "2020-01-01.1".to_owned(), digest: "d".to_owned(), body: "b".to_owned() };
    assent::rulebook::RulesArchive::in_data_dir(&setup.data_dir()).keep(&[old]).unwrap();

    // While ClickHouse is away nothing is known of it, and the collector starts all the same.
    collector.kill();
    proxy.set(Fault::Refuse);
    let collector = setup.start().await;
    collector.send(vec![event("ann").with(|it| it.event_id = Uuid::now_v7().to_string())]).await;
    assert_eq!(database.count("redaction_rules").await, 1);
    proxy.set(Fault::None);
    wait_until_shown(&database, [2, 2]).await;
    assert_eq!(database.count("redaction_rules").await, 2);
}

#[tokio::test]
async fn a_collector_without_the_right_to_record_delivers_and_nothing_of_it_is_eligible() {
    let database = Database::new().await;
    // As if its role were from before there was this table: it cannot write there.
    database.client.execute("RENAME TABLE redaction_rules TO elsewhere").await.unwrap();
    let setup = Setup::new(&database);
    let collector = setup.start_ready().await;
    grant_everything(&collector, "ann").await;
    let ids = collector.send(vec![event("ann")]).await;
    let rows = database.wait_for(&ids).await;
    assert_eq!(rows[0].stamp(), ("affiliates", "granted"));
    eventually("a word about it", || async {
        setup.log().contains("rows of rules that are not recorded are in no training view").then_some(())
    })
    .await;
    database.client.execute("RENAME TABLE elsewhere TO redaction_rules").await.unwrap();
    wait_until_shown(&database, [1, 1]).await;
}

/// Two tenants of one collector: one takes no cards and has its e-mail addresses hashed.
#[tokio::test]
async fn a_tenant_says_what_becomes_of_what_is_found() {
    use assent::ingress::{client::Client, proto};
    let database = Database::new().await;
    let tenant = |name: &str, more: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, format!("key-{name}").as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("[[tenants]]\nname = \"{name}\"\napi_key_sha256 = [\"{hex}\"]\n{more}")
    };
    let strict = "redaction = { actions = { CARD = \"drop\", EMAIL = \"hash\" } }\n";
    let config = tenant("strict", strict) + &tenant("plain", "");
    let collector = Setup::new(&database).config(&config).start_ready().await;
    let text = |text: &str| event("ann").text(text).build();
    for name in ["strict", "plain"] {
        let client = Client::connect(&collector.grpc, Some(&format!("key-{name}").into())).await.unwrap();
        let events =
            vec![text("to bob@example.org"), text("card 4111 1111 1111 1111"), text("again bob@example.org")];
        let response = client.collect(events).await.unwrap();
        let reasons: Vec<_> =
            response.rejected.iter().map(|rejected| (rejected.index, rejected.reason())).collect();
        if name == "strict" {
            assert_eq!(reasons, [(1, proto::RejectionReason::RefusedPersonalData)]);
            assert!(response.rejected[0].message.contains("CARD"), "{:?}", response.rejected[0].message);
        } else {
            assert_eq!(reasons, []);
        }
    }
    database.wait_for_rows(5).await;
    let hashes = "extract(text, '<EMAIL:[a-p]{16}>') AS hash";
    let count = |of: &str| {
        let of = of.to_owned();
        let database = &database;
        async move { database.count(&of).await }
    };
    assert_eq!(count(&format!("(SELECT DISTINCT {hashes} FROM events WHERE hash != '')")).await, 1);
    assert_eq!(count("events WHERE tenant = 'strict' AND text LIKE '%<EMAIL:%'").await, 2);
    assert_eq!(count("events WHERE tenant = 'plain' AND text LIKE '%<EMAIL\\\\_1>%'").await, 2);
    assert_eq!(count("events WHERE tenant = 'plain' AND text LIKE '%<CARD\\\\_1>%'").await, 1);
    // Each has its own version, and both are known.
    assert_eq!(count("(SELECT DISTINCT redaction_version FROM events)").await, 2);
    assert_eq!(count("events WHERE redaction_version NOT IN (SELECT version FROM redaction_rules)").await, 0);
}
