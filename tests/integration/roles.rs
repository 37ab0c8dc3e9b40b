//! Readers get what they may have, and the server itself refuses the rest.

use assent::{
    clickhouse::migrations,
    ingress::proto::{ConsentScope, ConsentState},
};
use serde::Deserialize;

use crate::harness::{Database, Setup, change, event};

const ACCESS_DENIED: u32 = 497;

#[derive(Debug, Deserialize)]
struct Anything {}

#[tokio::test]
async fn each_role_reads_its_own_and_nothing_else() {
    // The shipped roles are of the database `assent`.
    let database = Database::named("assent");
    migrations::migrate(&database.client).await.unwrap();
    let collector = Setup::new(&database).start_ready().await;
    let client = collector.client().await;
    for scope in [ConsentScope::FirstParty, ConsentScope::Affiliates] {
        client.set_consent(change("both", scope, ConsentState::Granted)).await.unwrap();
    }
    client.set_consent(change("first", ConsentScope::FirstParty, ConsentState::Granted)).await.unwrap();
    let ids = collector.send(vec![event("both"), event("first"), event("nobody")]).await;
    database.wait_for(&ids).await;

    let may = [
        ("ml_first_party", "SELECT * FROM training_first_party", 2),
        ("ml_affiliates", "SELECT * FROM training_affiliates", 1),
        ("analyst", "SELECT feature, language, training_scope FROM typed_texts", 3),
        ("analyst", "SELECT * FROM feature_daily", 0),
        (
            "analyst",
            "SELECT reason FROM (SELECT eligibility_reason AS reason FROM consent_coverage_daily)",
            3,
        ),
        ("privacy", "SELECT * FROM events", 3),
        ("privacy", "SELECT * FROM consent_changes", 3),
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
        ("ml_first_party", "SELECT * FROM consent_changes"),
        ("ml_first_party", "SELECT * FROM consent_current"),
        ("ml_first_party", "SELECT * FROM typed_texts"),
        ("ml_first_party", "INSERT INTO consent_changes (tenant) VALUES ('local')"),
        ("ml_first_party", "ALTER TABLE events DELETE WHERE 1"),
        ("ml_affiliates", "SELECT * FROM training_first_party"),
        ("ml_affiliates", "SELECT * FROM events"),
        ("analyst", "SELECT text FROM typed_texts"),
        ("analyst", "SELECT subject_id FROM typed_texts"),
        ("analyst", "SELECT comment FROM suggestion_feedback"),
        ("analyst", "SELECT final_text FROM suggestion_feedback"),
        ("analyst", "SELECT text FROM suggestions_shown"),
        ("analyst", "SELECT count() FROM events"),
        ("analyst", "SELECT * FROM training_first_party"),
        ("analyst", "SELECT * FROM consent_changes"),
        ("privacy", "TRUNCATE TABLE events"),
        ("privacy", "INSERT INTO consent_changes (tenant) VALUES ('local')"),
        ("privacy", "DROP TABLE consent_changes"),
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

#[test]
fn the_roles_as_xml_and_as_sql_are_the_same() {
    let xml = include_str!("../../schemas/users.d/assent.xml");
    let sql = include_str!("../../schemas/roles.sql");
    let mut role = "";
    let mut from_xml = Vec::new();
    for line in xml.lines().map(str::trim) {
        let element = line.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        if let Some(name) = element.filter(|name| name.starts_with("assent_")) {
            role = name;
            from_xml.push(format!("CREATE ROLE IF NOT EXISTS {role};"));
        }
        if let Some(grant) = line.strip_prefix("<query>").and_then(|rest| rest.strip_suffix("</query>")) {
            from_xml.push(format!("{grant} TO {role};"));
        }
    }
    let from_sql: Vec<_> = sql.lines().filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
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
