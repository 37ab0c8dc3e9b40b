//! The rollups say what the rows say, whatever happened to those: retries, withdrawals, erasures.

use std::collections::BTreeMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::{
    harness::{Database, eventually},
    sample::{DAY, Numbers, Row, date, insert, row, today},
};

#[derive(Debug, PartialEq, Deserialize)]
struct Feature {
    day: String,
    language: String,
    shown: u64,
    accepted: u64,
    accepted_with_edits: u64,
    rejected: u64,
    ignored: u64,
    reported: u64,
    acceptance_rate: Option<f64>,
    latency_ms_p50: Option<f64>,
    edit_distances: u64,
    edit_distance_avg: Option<f64>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Coverage {
    day: String,
    scope: String,
    reason: String,
    events: u64,
    people: u64,
}

async fn features(database: &Database) -> Vec<Feature> {
    database.rows("SELECT * FROM feature_daily ORDER BY day, language").await
}

async fn coverage(database: &Database) -> Vec<Coverage> {
    let sql = "SELECT day, training_scope AS scope, eligibility_reason AS reason, events, people
        FROM consent_coverage_daily ORDER BY day, training_scope, eligibility_reason";
    database.rows(sql).await
}

fn shown(days_ago: u64, id: &str, text: &str) -> Row {
    row(days_ago).with(|row| {
        row.event_type = "suggestion_shown";
        row.suggestion_id = id.to_owned();
        row.text = text.to_owned();
        row.latency_ms = 100;
        row.language = "de";
    })
}

fn feedback(days_ago: u64, id: &str, action: &'static str, text: &str) -> Row {
    row(days_ago).with(|row| {
        row.event_type = "suggestion_feedback";
        row.suggestion_id = id.to_owned();
        row.text = text.to_owned();
        row.feedback_action = action;
        row.language = "";
    })
}

#[tokio::test]
async fn features_count_each_event_once_and_know_their_suggestions() {
    let database = Database::new().await;
    let rows = [
        shown(2, "s-1", "Grüße"),
        shown(2, "s-2", "hello"),
        shown(2, "s-3", "hello"),
        feedback(2, "s-1", "accepted_with_edits", "Grüsse!"),
        // On the day after its suggestion.
        feedback(1, "s-2", "rejected", ""),
        feedback(1, "s-3", "accepted", ""),
        // Of one that nobody has seen.
        feedback(1, "s-9", "accepted_with_edits", "a text"),
    ];
    insert(&database, &rows).await;
    database.refresh_rollups().await;
    let expected = || {
        let none = || Feature {
            day: date(today() - 1),
            language: String::new(),
            shown: 0,
            accepted: 0,
            accepted_with_edits: 0,
            rejected: 0,
            ignored: 0,
            reported: 0,
            acceptance_rate: Some(1.0),
            latency_ms_p50: None,
            edit_distances: 0,
            edit_distance_avg: None,
        };
        [
            Feature {
                day: date(today() - 2),
                language: "de".to_owned(),
                shown: 3,
                accepted_with_edits: 1,
                latency_ms_p50: Some(100.0),
                edit_distances: 1,
                // ß to ss, and an exclamation mark.
                edit_distance_avg: Some(3.0),
                ..none()
            },
            Feature { accepted_with_edits: 1, ..none() },
            Feature {
                language: "de".to_owned(),
                accepted: 1,
                rejected: 1,
                acceptance_rate: Some(0.5),
                ..none()
            },
        ]
    };
    assert_eq!(features(&database).await, expected());

    // Retries, one in the same partition, one in another, one on another day.
    insert(&database, &[rows[0].clone(), rows[3].copy("none", 0), rows[4].copy("first_party", 1)]).await;
    insert(&database, &[rows[1].copy("affiliates", 2)]).await;
    for _ in 0..2 {
        database.refresh_rollups().await;
        assert_eq!(features(&database).await, expected());
        database.client.execute("OPTIMIZE TABLE events FINAL").await.unwrap();
    }
}

/// What the rollup has to say: each event once, on the first of its days, by its narrowest copy.
fn model(rows: &[Row]) -> Vec<Coverage> {
    let rank =
        |row: &Row| ["none", "first_party", "affiliates"].iter().position(|it| *it == row.training_scope);
    let mut events: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        events.entry((row.tenant, row.event_id)).or_default().push(row);
    }
    let mut groups: BTreeMap<_, (u64, Vec<Uuid>)> = BTreeMap::new();
    for copies in events.values() {
        let day = copies.iter().map(|row| row.day()).min().unwrap();
        let narrowest = copies.iter().min_by_key(|row| rank(row)).unwrap();
        let group = groups
            .entry((date(day), rank(narrowest), narrowest.training_scope, narrowest.eligibility_reason))
            .or_default();
        group.0 += 1;
        group.1.push(narrowest.subject_id);
    }
    let mut coverage: Vec<_> = groups
        .into_iter()
        .map(|((day, rank, scope, reason), (events, mut people))| {
            people.sort();
            people.dedup();
            let people = people.len() as u64;
            (rank, Coverage { day, scope: scope.to_owned(), reason: reason.to_owned(), events, people })
        })
        .collect();
    coverage.sort_by(|a, b| (&a.1.day, a.0, &a.1.reason).cmp(&(&b.1.day, b.0, &b.1.reason)));
    coverage.into_iter().map(|(_, coverage)| coverage).collect()
}

#[tokio::test]
async fn coverage_stays_right_under_retries_a_withdrawal_and_an_erasure() {
    let database = Database::new().await;
    let mut numbers = Numbers(7);
    let people: Vec<_> = (0..12).map(|_| Uuid::now_v7()).collect();
    let mut rows = Vec::new();
    for _ in 0..400 {
        let days_ago = 2 + numbers.below(4);
        let first = row(days_ago).with(|row| row.subject_id = numbers.one(&people));
        let scope = numbers.one(&["none", "first_party", "affiliates"]);
        rows.push(first.copy(scope, 0));
    }
    insert(&database, &rows).await;
    database.refresh_rollups().await;
    assert_eq!(coverage(&database).await, model(&rows));

    // Retries: anywhere, and under any consent.
    for _ in 0..100 {
        let of = numbers.below(400);
        let of = &rows[usize::try_from(of).unwrap()];
        let scope = numbers.one(&["none", of.training_scope]);
        rows.push(of.copy(scope, numbers.below(3)));
    }
    insert(&database, &rows[400..]).await;
    database.refresh_rollups().await;
    assert_eq!(coverage(&database).await, model(&rows));

    // A withdrawal moves a person's rows: they are in both places for a while, and count once.
    let gone = people[0];
    let moved: Vec<_> = rows
        .iter()
        .filter(|row| row.subject_id == gone && row.training_scope != "none")
        .map(|row| row.copy("none", 0).with(|row| row.eligibility_reason = "withdrawn"))
        .collect();
    assert!(moved.len() > 10);
    insert(&database, &moved).await;
    database.refresh_rollups().await;
    rows.extend(moved);
    let between = coverage(&database).await;
    assert_eq!(between.iter().map(|it| it.events).sum::<u64>(), 400);
    let sql = format!(
        "ALTER TABLE events DELETE WHERE subject_id = '{gone}' AND training_scope != 'none' SETTINGS mutations_sync = 1"
    );
    database.client.execute(&sql).await.unwrap();
    rows.retain(|row| row.subject_id != gone || row.training_scope == "none");
    // Of two in one place the last counts; which reason that is, is not what this is about.
    let by_scope = |coverage: Vec<Coverage>| {
        let mut sums = BTreeMap::new();
        for it in coverage {
            *sums.entry((it.day, it.scope)).or_insert(0) += it.events;
        }
        sums
    };
    database.refresh_rollups().await;
    let after = coverage(&database).await;
    assert!(after.iter().any(|it| it.reason == "withdrawn"));
    assert_eq!(by_scope(after), by_scope(model(&rows)));

    // An erasure takes a person out of all days.
    for sql in [
        format!("ALTER TABLE events DELETE WHERE subject_id = '{gone}' SETTINGS mutations_sync = 1"),
        format!("DELETE FROM events WHERE subject_id = '{}'", people[1]),
    ] {
        database.client.execute(&sql).await.unwrap();
    }
    rows.retain(|row| row.subject_id != gone && row.subject_id != people[1]);
    database.refresh_rollups().await;
    assert_eq!(coverage(&database).await, model(&rows));

    // Of a day without rows nothing is left.
    let day = rows.iter().map(Row::day).min().unwrap();
    let sql = format!(
        "ALTER TABLE events DELETE WHERE toDate(received_at) = '{}' SETTINGS mutations_sync = 1",
        date(day)
    );
    database.client.execute(&sql).await.unwrap();
    let last: Vec<_> = rows.iter().filter(|row| row.day() != day).cloned().collect();
    database.refresh_rollups().await;
    let left = coverage(&database).await;
    assert!(left.iter().all(|it| it.day != date(day)), "{left:?}");
    assert_eq!(left, model(&last));
}

#[tokio::test]
async fn only_days_that_changed_are_computed_and_at_most_some_at_a_time() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Day {
        day: String,
    }
    let database = Database::new().await;
    let due = async || database.rows::<Day>("SELECT toString(day) AS day FROM rollup_due ORDER BY day").await;
    let rows: Vec<_> = (1..=40).map(|ago| row(ago).with(|row| row.received_at -= DAY * 2)).collect();
    insert(&database, &rows).await;
    database.refresh_rollups().await;
    assert_eq!(due().await.len(), 32);
    assert_eq!(database.count("consent_coverage_daily").await, 32);
    database.refresh_rollups().await;
    assert_eq!(due().await.len(), 8);
    assert_eq!(coverage(&database).await, model(&rows));
    database.refresh_rollups().await;
    assert_eq!(due().await, []);
    // What is deleted elsewhere gives the parts of this day other names, and leaves them as they are.
    let sql = format!(
        "ALTER TABLE events DELETE WHERE event_id = '{}' SETTINGS mutations_sync = 1",
        rows[4].event_id
    );
    database.client.execute(&sql).await.unwrap();
    insert(&database, &[row(9)]).await;
    database.refresh_rollups().await;
    assert_eq!(due().await, [Day { day: date(today() - 9) }]);
    assert_eq!(database.count("consent_coverage_daily").await, 39);
}

/// Nobody has to refresh them. Every five minutes, which is too long for a test.
#[tokio::test]
async fn the_rollups_refresh_themselves_one_after_the_other() {
    let database = Database::new().await;
    for (view, after) in [
        ("days", ""),
        ("due", " DEPENDS ON rollup_days_refresh"),
        ("features", " DEPENDS ON rollup_due_refresh"),
        ("consent", " DEPENDS ON rollup_due_refresh"),
    ] {
        let sql = format!("ALTER TABLE rollup_{view}_refresh MODIFY REFRESH EVERY 1 SECOND{after}");
        database.client.execute(&sql).await.unwrap();
    }
    for n in 1..=2 {
        insert(&database, &[shown(1, &format!("s-{n}"), "hello")]).await;
        eventually("the rollups", || async {
            let features = features(&database).await;
            let events = coverage(&database).await.iter().map(|it| it.events).sum::<u64>();
            (features.len() == 1 && features[0].shown == n && events == n).then_some(())
        })
        .await;
    }
    // The server is shared.
    for view in ["days", "due", "features", "consent"] {
        database.client.execute(&format!("SYSTEM STOP VIEW rollup_{view}_refresh")).await.unwrap();
    }
}
