//! Readers get what they may have, and the server itself refuses the rest.

use assent::{
    clickhouse::migrations,
    ingress::{
        client::ClientError,
        proto::{ConsentScope, ConsentState, EraseUserRequest},
    },
};
use serde::Deserialize;

use crate::{
    exports::exports_go_by_the_roles,
    harness::{Collector, Database, Setup, change, event, eventually},
};

const ACCESS_DENIED: u32 = 497;
const READONLY: u32 = 164;

#[derive(Debug, Deserialize)]
struct Anything {}

/// The shipped roles are of the database `assent`, which all of this test shares: collectors with
/// keys of their own would not trust each other's consent.
#[tokio::test]
async fn readers_get_what_they_may_have_and_the_server_refuses_the_rest() {
    let database = Database::named("assent");
    migrations::migrate(&database.client).await.unwrap();
    let by_role = "[erasure]\ninterval = \"200ms\"\nclickhouse_user = \"eraser\"\n";
    let collector = Setup::new(&database).config(by_role).start_ready().await;
    each_role_reads_its_own_and_nothing_else(&database, &collector).await;
    exports_go_by_the_roles(&database).await;
    neither_errors_nor_settings_tell_what_a_view_does_not_show(&database, &collector).await;
    the_role_that_erases_is_enough_for_it(&database, &collector).await;
    withdrawn_rows_are_moved_by_a_user_of_its_own(&database, &collector).await;
}

/// With its role alone it does all that it has to, and nothing else.
async fn withdrawn_rows_are_moved_by_a_user_of_its_own(database: &Database, collector: &Collector) {
    let due = database.count("events WHERE training_scope != 'none'").await;
    let reconciler = Setup::new(database)
        .config("[withdrawal]\ninterval = \"100ms\"\ndeadline = \"1s\"\nuser = \"reconciler\"\n")
        .start()
        .await;
    let client = collector.client().await;
    client.set_consent(change("first", ConsentScope::FirstParty, ConsentState::Denied)).await.unwrap();
    // The one before, and the one of `withdrawer`.
    eventually("rows that are moved", || async {
        (database.count("events WHERE training_scope != 'none'").await == due - 2).then_some(())
    })
    .await;
    assert_eq!(reconciler.metric("assent_withdrawal_failures_total").await.unwrap_or(0.0), 0.0);
    drop(reconciler);
    let user = Database::client_as(&database.url, "assent", "reconciler");
    for sql in [
        "INSERT INTO consent_changes (tenant) VALUES ('local')",
        "ALTER TABLE consent_changes DELETE WHERE 1",
        "ALTER TABLE withdrawal_passes DELETE WHERE 1",
        "ALTER TABLE events UPDATE text = '' WHERE 1",
        "TRUNCATE TABLE events",
        "INSERT INTO erasures (tenant) VALUES ('local')",
    ] {
        let refused = user.execute(sql).await.map_err(|error| error.code());
        assert_eq!(refused, Err(Some(ACCESS_DENIED)), "{sql}");
    }
}

async fn each_role_reads_its_own_and_nothing_else(database: &Database, collector: &Collector) {
    let client = collector.client().await;
    for scope in [ConsentScope::FirstParty, ConsentScope::Affiliates] {
        client.set_consent(change("both", scope, ConsentState::Granted)).await.unwrap();
    }
    client.set_consent(change("first", ConsentScope::FirstParty, ConsentState::Granted)).await.unwrap();
    let ids = collector.send(vec![event("both"), event("first"), event("nobody")]).await;
    database.wait_for(&ids).await;
    database.refresh_rollups().await;
    let days = "from_day = '2020-01-01', to_day = '2100-01-01'";
    let first_party_days = format!("SELECT * FROM training_first_party_days({days})");
    let affiliates_days = format!("SELECT * FROM training_affiliates_days({days})");

    let may = [
        ("ml_first_party", "SELECT * FROM training_first_party", 2),
        ("ml_affiliates", "SELECT * FROM training_affiliates", 1),
        ("ml_first_party", &first_party_days, 2),
        ("ml_affiliates", &affiliates_days, 1),
        ("analyst", "SELECT * FROM retention", 0),
        ("analyst", "SELECT feature, language, training_scope FROM typed_texts", 3),
        ("analyst", "SELECT * FROM feature_daily", 0),
        (
            "analyst",
            "SELECT reason FROM (SELECT eligibility_reason AS reason FROM consent_coverage_daily)",
            3,
        ),
        ("privacy", "SELECT * FROM events", 3),
        ("privacy", "SELECT * FROM consent_changes", 3),
        ("privacy", "SELECT DISTINCT version FROM redaction_rules", 1),
        ("privacy", "SELECT * FROM redaction_rules_revoked", 0),
        ("eraser", "SELECT * FROM events", 3),
        ("eraser", "SELECT table FROM system.mutations WHERE database = 'assent' AND table = 'none'", 0),
        ("eraser", "SELECT name FROM system.parts WHERE table = 'none'", 0),
    ];
    for (user, sql, rows) in may {
        let client = Database::client_as(&database.url, "assent", user);
        let read = client.query_rows::<Anything>(sql, &[]).await;
        assert_eq!(
            read.unwrap_or_else(|error| panic!("{user}: {sql}: {error}")).len(),
            rows,
            "{user}: {sql}"
        );
    }

    let may_not = [
        ("ml_first_party", "SELECT count() FROM events"),
        ("ml_first_party", "SELECT text FROM events LIMIT 1"),
        ("ml_first_party", "SELECT * FROM training_affiliates"),
        ("ml_first_party", &affiliates_days),
        ("ml_first_party", "SELECT * FROM feature_daily"),
        ("ml_first_party", "SELECT * FROM rollup_features"),
        ("ml_first_party", "SELECT * FROM consent_changes"),
        ("ml_first_party", "SELECT * FROM consent_current"),
        ("ml_first_party", "SELECT * FROM typed_texts"),
        ("ml_first_party", "INSERT INTO consent_changes (tenant) VALUES ('local')"),
        ("ml_first_party", "ALTER TABLE events DELETE WHERE 1"),
        // Who may write these says which rows are eligible.
        ("ml_first_party", "INSERT INTO redaction_rules (version) VALUES ('mine')"),
        ("ml_first_party", "SELECT * FROM redaction_rules"),
        ("analyst", "INSERT INTO redaction_rules (version) VALUES ('mine')"),
        ("privacy", "INSERT INTO redaction_rules (version) VALUES ('mine')"),
        ("privacy", "INSERT INTO redaction_rules_revoked (version) VALUES ('mine')"),
        ("privacy", "ALTER TABLE redaction_rules_revoked DELETE WHERE 1"),
        ("privacy", "ALTER TABLE events DROP CONSTRAINT eligible_is_redacted"),
        ("privacy", "TRUNCATE TABLE redaction_rules_revoked"),
        ("ml_affiliates", "SELECT * FROM training_first_party"),
        ("ml_affiliates", &first_party_days),
        ("ml_affiliates", "SELECT * FROM events"),
        (
            "ml_affiliates",
            "SELECT * FROM training_first_party_range(first_id = '00000000-0000-0000-0000-000000000000', \
            last_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff', from_day = '2020-01-01', to_day = '2100-01-01')",
        ),
        ("ml_first_party", "SELECT * FROM exports"),
        ("ml_first_party", "INSERT INTO exports (created_by) VALUES ('me')"),
        ("exporter", "SELECT * FROM exports"),
        ("exporter", "ALTER TABLE exports DELETE WHERE 1"),
        ("exporter", "SELECT * FROM training_first_party"),
        ("exporter", "INSERT INTO consent_changes (tenant) VALUES ('local')"),
        ("analyst", "SELECT text FROM typed_texts"),
        ("analyst", "SELECT subject_id FROM typed_texts"),
        ("analyst", "SELECT comment FROM suggestion_feedback"),
        ("analyst", "SELECT final_text FROM suggestion_feedback"),
        ("analyst", "SELECT text FROM suggestions_shown"),
        ("analyst", "SELECT count() FROM events"),
        ("analyst", "SELECT * FROM training_first_party"),
        ("analyst", &first_party_days),
        ("analyst", "SELECT * FROM rollup_features"),
        ("analyst", "SELECT * FROM rollup_consent"),
        ("analyst", "SYSTEM REFRESH VIEW rollup_consent_refresh"),
        ("analyst", "ALTER TABLE rollup_consent_refresh MODIFY REFRESH EVERY 1 YEAR"),
        ("analyst", "INSERT INTO retention (rows_days) VALUES (1)"),
        ("analyst", "SELECT * FROM consent_changes"),
        ("analyst", "SYSTEM STOP MERGES events"),
        // What others ask, and whom mutations erase.
        ("analyst", "SELECT * FROM system.processes"),
        ("analyst", "SELECT * FROM system.mutations"),
        ("analyst", "SELECT * FROM system.parts_columns"),
        ("ml_first_party", "SELECT * FROM system.mutations"),
        ("privacy", "TRUNCATE TABLE events"),
        ("privacy", "INSERT INTO withdrawal_passes (pass_id) VALUES (generateUUIDv4())"),
        ("analyst", "SELECT * FROM withdrawal_passes"),
        ("ml_first_party", "SELECT * FROM withdrawal_passes"),
        ("privacy", "INSERT INTO consent_changes (tenant) VALUES ('local')"),
        ("privacy", "DROP TABLE consent_changes"),
        ("privacy", "ALTER TABLE events DELETE WHERE 1"),
        ("privacy", "INSERT INTO erasures (tenant) VALUES ('local')"),
        ("eraser", "ALTER TABLE events UPDATE text = '' WHERE 1"),
        ("eraser", "INSERT INTO events (tenant) VALUES ('local')"),
        ("eraser", "INSERT INTO erasure_steps (step) VALUES ('verified')"),
        ("eraser", "TRUNCATE TABLE events"),
        ("eraser", "DROP TABLE consent_changes"),
        ("ml_first_party", "SELECT * FROM erasure_subjects"),
        ("analyst", "SELECT * FROM erasure_subjects"),
    ];
    for (user, sql) in may_not {
        let client = Database::client_as(&database.url, "assent", user);
        let error = if sql.starts_with("SELECT") {
            client.query_rows::<Anything>(sql, &[]).await.map(drop).unwrap_err()
        } else {
            client.execute(sql).await.unwrap_err()
        };
        assert_eq!(error.code(), Some(ACCESS_DENIED), "{user}: {sql}: {error}");
    }
}

/// A reader's own condition must not be tried on rows that the view does not show, and no setting
/// may bring them back.
async fn neither_errors_nor_settings_tell_what_a_view_does_not_show(
    database: &Database,
    collector: &Collector,
) {
    let client = collector.client().await;
    let first = ConsentScope::FirstParty;
    for scope in [first, ConsentScope::Affiliates] {
        client.set_consent(change("withdrawer", scope, ConsentState::Granted)).await.unwrap();
    }
    let ids =
        collector.send(vec![event("withdrawer").text("SECRETWD"), event("silent").text("SECRETNONE")]).await;
    database.wait_for(&ids).await;
    client.set_consent(change("withdrawer", first, ConsentState::Denied)).await.unwrap();

    for (user, view) in [("ml_first_party", "training_first_party"), ("ml_affiliates", "training_affiliates")]
    {
        let reader = Database::client_as(&database.url, "assent", user);
        for condition in [
            "text LIKE 'SECRET%' AND toUInt8(text) = 1",
            "throwIf(text LIKE 'SECRET%') = 0 AND text LIKE 'SECRET%'",
            "event_type = 'typed_text' AND startsWith(text, 'SECRET') AND toDate(text) > '2020-01-01'",
        ] {
            let sql = format!("SELECT event_id FROM {view} WHERE {condition}");
            let rows = reader.query_rows::<Anything>(&sql, &[]).await;
            assert_eq!(rows.unwrap_or_else(|error| panic!("{sql}: {error}")).len(), 0, "{sql}");
        }
        for setting in [
            "additional_table_filters = {'assent.consent_changes': '0'}",
            "additional_table_filters = {'assent.events': 'throwIf(text LIKE \\'SECRET%\\') = 0'}",
            "additional_result_filter = '1'",
            "do_not_merge_across_partitions_select_final = 1",
            "final = 1",
            "readonly = 0",
            "allow_experimental_analyzer = 0",
        ] {
            let sql = format!("SELECT event_id FROM {view} SETTINGS {setting}");
            let refused = reader.query_rows::<Anything>(&sql, &[]).await.map(drop).unwrap_err();
            assert_eq!(refused.code(), Some(READONLY), "{user}: {setting}: {refused}");
        }
        let sql = format!("SELECT event_id FROM {view} SETTINGS max_threads = 1, max_execution_time = 10");
        reader.query_rows::<Anything>(&sql, &[]).await.unwrap();
    }
    let analyst = Database::client_as(&database.url, "assent", "analyst");
    let sql = "SELECT * FROM consent_coverage_daily
        SETTINGS additional_table_filters = {'assent.events': 'text LIKE \\'SECRET%\\''}";
    let refused = analyst.query_rows::<Anything>(sql, &[]).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), Some(READONLY), "{refused}");
}

/// The collector erases as a user with that role and no other.
async fn the_role_that_erases_is_enough_for_it(database: &Database, collector: &Collector) {
    let client = collector.client().await;
    let before = database.count("events").await;
    let request = EraseUserRequest { user_id: "both".to_owned(), ..EraseUserRequest::default() };
    let erasure = client.erase_user(request).await.unwrap();
    eventually("an erasure that is verified", || async {
        let now = client.get_erasure(erasure.erasure_id.clone()).await.unwrap();
        now.steps.iter().any(|step| step.step == "verified").then_some(())
    })
    .await;
    assert_eq!(database.count("events").await, before - 1);
    let mut report = Vec::new();
    client
        .report_subject::<ClientError>("first".to_owned(), |piece| {
            report.extend_from_slice(piece);
            Ok(())
        })
        .await
        .unwrap();
    assert!(String::from_utf8(report).unwrap().contains("\"events\":[\n{"));
}

#[test]
fn the_roles_as_xml_and_as_sql_are_the_same() {
    let xml = include_str!("../../schemas/users.d/assent.xml");
    let sql = include_str!("../../schemas/roles.sql");
    let mut role = "";
    let mut from_xml = Vec::new();
    let roles = xml.split_once("<roles>").unwrap().1;
    for line in roles.lines().map(str::trim) {
        let element = line.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        if let Some(name) = element.filter(|name| name.starts_with("assent_")) {
            role = name;
            from_xml.push(format!("CREATE ROLE IF NOT EXISTS {role};"));
        }
        if let Some(grant) = line.strip_prefix("<query>").and_then(|rest| rest.strip_suffix("</query>")) {
            from_xml.push(format!("{grant} TO {role};"));
        }
    }
    let (roles, profile) = sql.split_once("CREATE SETTINGS PROFILE").unwrap();
    let from_sql: Vec<_> = roles.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    assert_eq!(from_xml, from_sql);

    let from_xml: Vec<_> = xml
        .lines()
        .filter_map(|line| line.trim().split_once("><changeable_in_readonly/>"))
        .map(|(name, _)| name.trim_start_matches('<'))
        .collect();
    let from_sql: Vec<_> = profile
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').strip_suffix(" CHANGEABLE_IN_READONLY"))
        .collect();
    assert!(!from_xml.is_empty());
    assert_eq!(from_xml, from_sql);
}

#[test]
fn no_grant_of_the_analyst_names_text_or_a_person() {
    let xml = include_str!("../../schemas/users.d/assent.xml");
    let analyst = xml.split("<assent_analyst>").nth(1).unwrap().split("</assent_analyst>").next().unwrap();
    for word in ["subject_id", "comment", "final_text", " text,", "(text", " text)"] {
        assert!(!analyst.contains(word), "{word}");
    }
}

#[test]
fn only_collectors_may_say_which_rules_are_known_and_nobody_takes_a_revocation_back() {
    let sql = include_str!("../../schemas/roles.sql");
    let about: Vec<_> = sql.lines().filter(|line| line.contains("redaction_rules")).collect();
    assert_eq!(
        about,
        [
            "GRANT SELECT, INSERT ON assent.redaction_rules TO assent_collector;",
            "GRANT SELECT ON assent.redaction_rules_revoked TO assent_collector;"
        ]
    );
}
