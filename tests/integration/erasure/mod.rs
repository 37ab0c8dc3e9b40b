//! Erasing people, while events flow, collectors die and inserts are repeated; and reading out what is held about them.

use std::time::Duration;

use assent::ingress::proto::{
    self, ConsentScope, ConsentState, ErasureState, GetConsentRequest, SuggestionFeedback, SuggestionShown,
    event::Payload,
};
use serde::Deserialize;
use uuid::Uuid;

use crate::harness::{Collector, Database, EventBuilder, Setup, change, event, eventually};

mod clean;
mod faults;
mod report;
mod who;

/// What is asked of a collector for the tests: soon, and forgotten as soon as it is done.
const SOON: &str = "[erasure]\ninterval = \"200ms\"\ngrace = \"0s\"\n[delivery]\nmax_backoff = \"200ms\"\n";
/// The same, and whom it is about is kept.
const KEPT: &str = "[erasure]\ninterval = \"200ms\"\n[delivery]\nmax_backoff = \"200ms\"\n";

/// A database whose tables remove replaced parts at once, and not after minutes.
async fn database() -> Database {
    let database = Database::new().await;
    for table in ["events", "consent_changes", "erasure_subjects"] {
        let sql = format!(
            "ALTER TABLE {table} MODIFY SETTING old_parts_lifetime = 1, cleanup_delay_period = 1,
             cleanup_delay_period_random_add = 0, max_cleanup_delay_period = 1"
        );
        database.client.execute(&sql).await.unwrap();
    }
    database
}

fn request(user_id: &str) -> proto::EraseUserRequest {
    proto::EraseUserRequest { user_id: user_id.to_owned(), ..proto::EraseUserRequest::default() }
}

async fn erase(collector: &Collector, user_id: &str) -> proto::Erasure {
    let erasure = collector.client().await.erase_user(request(user_id)).await.unwrap();
    assert_eq!(erasure.state, ErasureState::Running as i32);
    erasure
}

/// Waits until an erasure is completed.
async fn completed(collector: &Collector, erasure: &proto::Erasure) -> proto::Erasure {
    until(collector, erasure, "a completed erasure", |it| it.state == ErasureState::Completed as i32).await
}

/// Waits until nothing is kept any more of whom it was about.
async fn forgotten(collector: &Collector, erasure: &proto::Erasure) -> proto::Erasure {
    until(collector, erasure, "a forgotten erasure", |it| it.forgotten_at.is_some()).await
}

async fn until(
    collector: &Collector,
    erasure: &proto::Erasure,
    what: &str,
    is_so: impl Fn(&proto::Erasure) -> bool,
) -> proto::Erasure {
    let client = collector.client().await;
    eventually(what, || async {
        let now = client.get_erasure(erasure.erasure_id.clone()).await.unwrap();
        is_so(&now).then_some(now)
    })
    .await
}

/// Rows found and removed in a step.
fn step(erasure: &proto::Erasure, name: &str) -> Option<(u64, u64)> {
    let step = erasure.steps.iter().find(|it| it.step == name)?;
    Some((step.rows_found, step.rows_removed))
}

async fn subject_of(collector: &Collector, user_id: &str) -> Uuid {
    let query = GetConsentRequest { user_id: user_id.to_owned(), ..GetConsentRequest::default() };
    Uuid::parse_str(&collector.client().await.get_consent(query).await.unwrap().subject_id).unwrap()
}

/// Of a person; with the tombstones of erasures.
async fn rows_of(database: &Database, table: &str, subject: Uuid) -> u64 {
    database.count(&format!("{table} WHERE subject_id = '{subject}'")).await
}

async fn grant(collector: &Collector, user_id: &str) {
    for scope in [ConsentScope::FirstParty, ConsentScope::Affiliates] {
        let mut yes = change(user_id, scope, ConsentState::Granted);
        yes.evidence = format!("switch shown, {user_id} canary-evidence");
        collector.client().await.set_consent(yes).await.unwrap();
    }
}

/// One event of each kind.
fn one_of_each(user_id: &str, text: &str) -> Vec<EventBuilder> {
    vec![
        event(user_id).text(text),
        event(user_id).payload(Payload::SuggestionShown(SuggestionShown {
            suggestion_id: "s-1".to_owned(),
            text: text.to_owned(),
            ..SuggestionShown::default()
        })),
        event(user_id).payload(Payload::SuggestionFeedback(SuggestionFeedback {
            suggestion_id: "s-1".to_owned(),
            action: 2,
            final_text: text.to_owned(),
            comment: text.to_owned(),
            ..SuggestionFeedback::default()
        })),
        event(user_id).payload(Payload::LanguagePreference(proto::LanguagePreference {
            language: "de".to_owned(),
            previous_language: "en".to_owned(),
        })),
    ]
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

/// Everything that is in a table, to compare.
async fn contents(database: &Database, from: &str) -> Vec<String> {
    let sql = format!("SELECT toString(tuple(*)) AS text FROM {from} ORDER BY text");
    database.rows::<Text>(&sql).await.into_iter().map(|row| row.text).collect()
}

#[tokio::test]
async fn a_person_is_erased_from_everything_and_nobody_else_is_touched() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let first = setup.start_ready().await;
    let second = setup.beside().config(SOON).start_ready().await;
    for user in ["ann", "ben"] {
        grant(&first, user).await;
    }
    let mut ids = Vec::new();
    for collector in [&first, &second] {
        ids.extend(collector.send(one_of_each("ann", "ann writes this")).await);
        ids.extend(collector.send(one_of_each("ben", "ben writes that")).await);
    }
    database.wait_for(&ids).await;
    let [ann, ben] = [subject_of(&first, "ann").await, subject_of(&first, "ben").await];
    let of_ben = |table: &str| format!("{table} WHERE subject_id = '{ben}'");
    let before =
        [contents(&database, &of_ben("events")).await, contents(&database, &of_ben("consent_changes")).await];
    assert_eq!((before[0].len(), before[1].len()), (8, 2));
    // While it is carried out.
    let more = first.send((0..50).map(|n| event("ben").text(&format!("text {n}"))).collect()).await;

    let erasure = erase(&first, "ann").await;
    // Asked of the other one.
    let done = completed(&second, &erasure).await;
    assert_eq!(step(&done, "table events"), Some((8, 8)));
    assert_eq!(step(&done, "table consent_changes"), Some((2, 2)));
    assert!(step(&done, "verified").is_some() && step(&done, "files removed").is_some(), "{done:?}");
    assert!(done.waiting_for.is_empty() && done.completed_at.is_some());
    forgotten(&second, &erasure).await;
    for table in ["events", "consent_changes", "erasure_subjects", "erasures"] {
        assert_eq!(rows_of(&database, table, ann).await, 0, "{table}");
    }
    database.wait_for(&more).await;
    assert_eq!(contents(&database, &of_ben("consent_changes")).await, before[1]);
    let left = contents(&database, &of_ben("events")).await;
    assert!(before[0].iter().all(|row| left.contains(row)) && left.len() == 58);
}

#[tokio::test]
async fn who_comes_back_starts_as_unknown_and_keeps_what_they_do_then() {
    let database = database().await;
    let setup = Setup::new(&database).config(KEPT);
    let collector = setup.start_ready().await;
    let other = setup.beside().config(KEPT).start_ready().await;
    grant(&collector, "ann").await;
    let ids = collector.send(vec![event("ann"), event("ann")]).await;
    database.wait_for(&ids).await;
    let ann = subject_of(&collector, "ann").await;
    let erasure = erase(&collector, "ann").await;
    // No client is told of a person who is not known.
    let query = || GetConsentRequest { user_id: "ann".to_owned(), ..GetConsentRequest::default() };
    for asked in [&collector, &other] {
        let client = asked.client().await;
        let consent = eventually("consent that is unknown", || async {
            let consent = client.get_consent(query()).await.unwrap();
            (consent.training_scope == "none").then_some(consent)
        })
        .await;
        assert_eq!(consent.eligibility_reason, "unset_opt_in");
        assert!(consent.scopes.iter().all(|it| it.record.is_none()), "{consent:?}");
    }
    // At once, while it is still carried out; on the other one it has to be known by then.
    eventually("an erasure that the other one knows", || async {
        let explained = other.client().await.get_consent(query()).await.unwrap();
        (explained.training_scope == "none").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = other.send(vec![event("ann").text("new and without consent")]).await;
    let yes = collector.client().await;
    let granted =
        yes.set_consent(change("ann", ConsentScope::FirstParty, ConsentState::Granted)).await.unwrap();
    assert!(granted.consent_version > 2, "versions go on: {granted:?}");
    let eligible = collector.send(vec![event("ann").text("new and with consent")]).await;
    completed(&collector, &erasure).await;
    let rows = database.wait_for(&[after[0], eligible[0]]).await;
    assert_eq!(rows[0].stamp(), ("none", "unset_opt_in"));
    assert_eq!(rows[1].stamp(), ("first_party", "granted"));
    assert_eq!(rows_of(&database, "events", ann).await, 2, "and nothing of before");
    assert_eq!(database.count(&format!("training_first_party WHERE subject_id = '{ann}'")).await, 1);
    // A "no" holds as ever.
    let no = change("ann", ConsentScope::FirstParty, ConsentState::Denied);
    collector.client().await.set_consent(no).await.unwrap();
    assert_eq!(database.count(&format!("training_first_party WHERE subject_id = '{ann}'")).await, 0);

    // Erased again: another erasure, which takes what came since.
    let again = erase(&other, "ann").await;
    assert_ne!(again.erasure_id, erasure.erasure_id);
    let again = completed(&other, &again).await;
    assert_eq!(step(&again, "table events"), Some((2, 2)));
    assert_eq!(rows_of(&database, "events", ann).await, 0);
}

#[tokio::test]
async fn one_request_is_one_erasure_however_often_it_is_sent() {
    let database = database().await;
    let setup = Setup::new(&database).config(SOON);
    let first = setup.start_ready().await;
    let second = setup.beside().config(SOON).start_ready().await;
    let ids = first.send(vec![event("ann"), event("ben")]).await;
    database.wait_for(&ids).await;
    let request = |user: &str| proto::EraseUserRequest {
        request_id: Uuid::from_u128(7).to_string(),
        actor: "ann, by the form".to_owned(),
        ..request(user)
    };
    let (one, two) =
        tokio::join!(async { first.client().await.erase_user(request("ann")).await.unwrap() }, async {
            second.client().await.erase_user(request("ann")).await.unwrap()
        },);
    assert_eq!(one.erasure_id, two.erasure_id);
    let reused = first.client().await.erase_user(request("ben")).await.unwrap_err();
    assert!(reused.to_string().contains("another person"), "{reused}");
    let done = completed(&first, &one).await;
    assert_eq!(step(&done, "table events"), Some((1, 1)));
    assert!(!done.actor.contains("ann") && done.actor.contains("by the form"), "{}", done.actor);
    let again = second.client().await.erase_user(request("ann")).await.unwrap();
    assert_eq!((again.erasure_id, again.state), (one.erasure_id, ErasureState::Completed as i32));
    assert_eq!(database.count("erasures FINAL").await, 1);
    assert_eq!(database.count("events").await, 1);
}
