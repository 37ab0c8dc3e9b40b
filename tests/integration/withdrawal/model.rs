//! Rows and answers of every kind that there can be, by chance: what is due is what the views hide for their author's
//! sake, no row more and none less.

use assent::privacy::withdrawal::Mode;

use super::*;

/// Of 3,000 events of 60 people, every twentieth of them twice, on three days; what is eligible stands on a yes or on
/// silence, and on any version up to 6.
const EVENTS: &str = "INSERT INTO events (training_scope, eligibility_reason, consent_version, received_at, tenant,
        subject_id, event_id, event_type, text, redaction_version)
    SELECT scope, if(scope = 'none', 'denied', if(rand(2) % 3 = 0, 'granted_by_default', 'granted')), 1 + rand(3) % 6,
           toDateTime64('2026-11-20 12:00:00', 6, 'UTC') + toIntervalDay(rand(4) % 3), if(rand(5) % 2 = 0, 'a', 'b'),
           toUUID(concat('00000000-0000-4000-8000-0000000000', leftPad(toString(10 + number % 60), 2, '0'))),
           toUUID(concat('01a00000-0000-7000-8000-', leftPad(toString(intDiv(number * 20, 21)), 12, '0'))),
           'typed_text', toString(number), 'known'
    FROM (SELECT number, ['none', 'first_party', 'affiliates'][1 + rand(1) % 3] AS scope FROM numbers(3000))
    SETTINGS optimize_on_insert = 0";

/// Of two in three of them.
const ANSWERS: &str =
    "INSERT INTO consent_changes (tenant, subject_id, scope, state, consent_version, consent_id)
    SELECT if(rand(1) % 2 = 0, 'a', 'b'),
           toUUID(concat('00000000-0000-4000-8000-0000000000', leftPad(toString(10 + rand(2) % 40), 2, '0'))),
           ['first_party', 'affiliates'][1 + rand(3) % 2], ['unset', 'granted', 'denied'][1 + rand(4) % 3],
           1 + rand(5) % 6, generateUUIDv4()
    FROM numbers(120)";

#[tokio::test]
async fn what_is_due_is_what_the_views_hide_for_the_authors_sake() {
    for round in 0..2 {
        let database = Database::new().await;
        database.client.execute(EVENTS).await.unwrap();
        database.client.execute(ANSWERS).await.unwrap();
        database.client.execute("INSERT INTO redaction_rules (version) VALUES ('known')").await.unwrap();
        let training = ["training_first_party", "training_affiliates"];
        let all = shows(&database, "typed_texts").await;
        let keys = "CREATE TABLE once ENGINE = MergeTree ORDER BY tuple() AS
            SELECT tenant, event_id FROM events GROUP BY ALL HAVING count() = 1";
        database.client.execute(keys).await.unwrap();
        let once = training
            .map(|view| format!("{view} WHERE (tenant, event_id) IN (SELECT tenant, event_id FROM once)"));
        let mut before = Vec::new();
        for view in &once {
            before.push(shows(&database, view).await);
        }
        assert!(all.0 > 2_000 && before.iter().all(|shown| shown.0 > 100), "{all:?} {before:?}");

        let reconciler = reconciler(&database, Mode::Move);
        let mut rounds = 0;
        let mut due = reconciler.look().await.unwrap();
        assert!(due.rows > 200 && due.oldest_at.is_some(), "{due:?}");
        while due.rows > 0 {
            // Some of the partitions; the others come later.
            let (some, _) = due.partitions.split_at(due.partitions.len().div_ceil(2));
            reconciler.copy(some).await.unwrap();
            assert_eq!(
                shows(&database, "typed_texts").await.0,
                all.0,
                "an event is there twice, or not at all"
            );
            reconciler.remove(some).await.unwrap().unwrap();
            reconciler.wait_for_mutations().await.unwrap();
            assert_eq!(shows(&database, "typed_texts").await.0, all.0);
            due = reconciler.look().await.unwrap();
            rounds += 1;
            assert!(rounds < 20, "{due:?}");
        }
        // Of a retry the narrower copy counts, so a retry goes with its event: exact is what came once.
        for (view, before) in once.iter().zip(&before) {
            assert_eq!(shows(&database, view).await, *before, "round {round}: {view}");
        }
        // And nothing is left in the eligible partitions that is in no view.
        for (view, scopes) in training.iter().zip(["'first_party', 'affiliates'", "'affiliates'"]) {
            let hidden = format!(
                "events FINAL WHERE training_scope IN ({scopes}) AND (tenant, event_id) NOT IN
                 (SELECT tenant, event_id FROM {view})"
            );
            assert_eq!(database.count(&hidden).await, 0, "round {round}: {view} hides what is not due");
        }
        assert!(reconciler.remove(&due.partitions).await.unwrap().is_none());
    }
}
