//! The queries of docs/queries.md answer their questions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    harness::Database,
    sample::{Numbers, Row, date, insert, row},
};

const QUERIES: &str = include_str!("../../docs/queries.md");

type Answer = BTreeMap<String, f64>;

fn fixture() -> Vec<Row> {
    let mut numbers = Numbers(3);
    let mut rows = Vec::new();
    for n in 0..300 {
        let event_type =
            ["typed_text", "suggestion_shown", "suggestion_feedback", "language_preference"][n % 4];
        rows.push(row(2 + numbers.below(5)).with(|row| {
            row.event_type = event_type;
            row.feature = numbers.one(&["compose", "reply"]);
            row.model = numbers.one(&["quill-2", "quill-3"]);
            row.client_name = numbers.one(&["editor-web", "ios"]);
            row.jurisdiction = numbers.one(&["DE", "US-CA", ""]);
            row.session_id = format!("s-{}", numbers.below(20));
            row.language = numbers.one(&["en", "de", "pt-BR"]);
            if numbers.below(3) == 0 {
                (row.training_scope, row.eligibility_reason, row.consent_state) =
                    ("none", "denied", "denied");
            } else if numbers.below(2) == 0 {
                row.training_scope = "first_party";
            }
            match event_type {
                "typed_text" if numbers.below(2) == 0 => {
                    row.redactions = [("EMAIL", 2), ("PERSON", 1)].into()
                }
                "suggestion_shown" => {
                    row.suggestion_id = format!("g-{n}");
                    row.latency_ms = u32::try_from(numbers.below(900)).unwrap();
                    row.position = u32::try_from(numbers.below(3)).unwrap();
                    row.text = "abc".to_owned();
                }
                "suggestion_feedback" => {
                    row.suggestion_id = format!("g-{}", n - 1);
                    row.language = "";
                    row.feedback_action =
                        numbers.one(&["accepted", "accepted_with_edits", "rejected", "ignored", "reported"]);
                    row.rating = numbers.one(&[-1, 0, 1]);
                    row.text = numbers.one(&["abcd", "abxyz", "abc"]).to_owned();
                }
                "language_preference" => row.previous_language = numbers.one(&["fr", "es"]),
                _ => {}
            }
        }));
    }
    // A feedback comes on the day of its suggestion.
    for n in (2..300).step_by(4) {
        rows[n].received_at = rows[n - 1].received_at;
    }
    rows
}

/// For each key, the sum of the numerators by that of the denominators.
fn ratio<'a>(
    rows: impl Iterator<Item = &'a Row>,
    key: impl Fn(&Row) -> String,
    parts: impl Fn(&Row) -> (f64, f64),
) -> Answer {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for row in rows {
        let (of, by) = parts(row);
        let sum = sums.entry(key(row)).or_default();
        *sum = (sum.0 + of, sum.1 + by);
    }
    sums.into_iter().map(|(key, (of, by))| (key, of / by)).collect()
}

fn count<'a>(rows: impl Iterator<Item = &'a Row>, key: impl Fn(&Row) -> String) -> Answer {
    let mut counts = Answer::new();
    rows.for_each(|row| *counts.entry(key(row)).or_default() += 1.0);
    counts
}

fn distinct<'a>(rows: impl Iterator<Item = (String, String)> + 'a) -> Answer {
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    rows.for_each(|(key, value)| {
        sets.entry(key).or_default().insert(value);
    });
    sets.into_iter().map(|(key, set)| (key, f64::from(u32::try_from(set.len()).unwrap()))).collect()
}

fn expected(rows: &[Row]) -> Vec<Answer> {
    let of = |kind: &'static str| rows.iter().filter(move |row| row.event_type == kind);
    let (typed, shown) = (|| of("typed_text"), || of("suggestion_shown"));
    let (feedback, languages) = (|| of("suggestion_feedback"), || of("language_preference"));
    let yes = |is: bool| f64::from(u8::from(is));
    let taken = |row: &Row| row.feedback_action.starts_with("accepted");
    let position: BTreeMap<_, _> = shown().map(|row| (row.suggestion_id.as_str(), row.position)).collect();
    let distance = |row: &Row| match row.text.as_str() {
        "abcd" => 1.0,
        "abxyz" => 3.0,
        _ => 0.0,
    };
    let mut slowest = Answer::new();
    shown().for_each(|row| {
        let most = slowest.entry(row.model.to_owned()).or_default();
        *most = most.max(f64::from(row.latency_ms));
    });
    let mut found = Answer::new();
    typed().flat_map(|row| &row.redactions).for_each(|(entity, times)| {
        *found.entry((*entity).to_owned()).or_default() += f64::from(*times);
    });
    // The rollup has people by day, scope, reason, jurisdiction; each group for itself.
    let groups = distinct(rows.iter().map(|row| {
        (format!("{} {} {}", row.training_scope, row.day(), row.jurisdiction), row.subject_id.to_string())
    }));
    let mut people = Answer::new();
    groups.into_iter().for_each(|(group, number)| {
        let most = people.entry(group.split(' ').next().unwrap().to_owned()).or_default();
        *most = most.max(number);
    });
    vec![
        count(shown(), |row| row.feature.to_owned()),
        ratio(feedback(), |row| row.model.to_owned(), |row| (yes(taken(row)), 1.0)),
        count(shown(), |row| row.language.to_owned()),
        ratio(
            rows.iter().filter(|row| row.event_type.starts_with("suggestion")),
            |row| row.client_name.to_owned(),
            |row| (yes(row.feedback_action == "reported"), 0.0),
        )
        .into_keys()
        .map(|client| {
            let reported =
                feedback().filter(|row| row.feedback_action == "reported" && row.client_name == client);
            (client.clone(), reported.map(|_| 1.0).sum())
        })
        .collect(),
        ratio(
            rows.iter().filter(|row| row.event_type.starts_with("suggestion")),
            |row| row.feature.to_owned(),
            |row| (yes(row.event_type == "suggestion_feedback"), yes(row.event_type == "suggestion_shown")),
        ),
        ratio(
            feedback().filter(|row| row.feedback_action == "accepted_with_edits"),
            |row| row.model.to_owned(),
            |row| (distance(row), 1.0),
        ),
        slowest,
        ratio(
            feedback().filter(|row| row.rating != 0),
            |row| row.model.to_owned(),
            |row| (f64::from(row.rating), 1.0),
        ),
        ratio(
            feedback(),
            |row| position[row.suggestion_id.as_str()].to_string(),
            |row| (yes(taken(row)), 1.0),
        ),
        distinct(
            feedback().filter(|row| taken(row)).map(|row| (row.feature.to_owned(), row.session_id.clone())),
        ),
        count(typed(), |row| row.language.to_owned()),
        count(languages(), |row| format!("{} to {}", row.previous_language, row.language)),
        ratio(typed(), |row| row.language.to_owned(), |row| (yes(!row.redactions.is_empty()), 1.0)),
        found,
        count(rows.iter(), |row| row.training_scope.to_owned()),
        count(rows.iter(), |row| row.eligibility_reason.to_owned()),
        ratio(rows.iter(), |row| row.jurisdiction.to_owned(), |row| (yes(row.training_scope != "none"), 1.0)),
        count(rows.iter(), |row| row.consent_state.to_owned()),
        people,
        count(rows.iter(), |row| date(row.day())),
    ]
}

#[tokio::test]
async fn each_question_gets_its_answer() {
    let database = Database::of_readers().await;
    let rows = fixture();
    insert(&database, &rows).await;
    // Retries, which count once.
    insert(&database, &rows[..40]).await;
    database.refresh_rollups().await;
    let analyst = Database::client_as(&database.url, "assent", "analyst");
    let queries: Vec<_> =
        QUERIES.split("```sql\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    let expected = expected(&rows);
    assert_eq!((queries.len(), expected.len()), (20, 20));
    for (sql, expected) in queries.iter().zip(expected) {
        let mut text = Vec::new();
        let read = analyst.query_chunks(sql, &[], "JSONCompactEachRow", |chunk| {
            text.extend_from_slice(chunk);
            Ok(())
        });
        read.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let answer: Answer = String::from_utf8(text)
            .unwrap()
            .lines()
            .map(|line| {
                let [key, value] = &serde_json::from_str::<Vec<Value>>(line).unwrap()[..] else {
                    panic!("{sql}")
                };
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                (key, value.as_f64().unwrap())
            })
            .collect();
        assert!(
            !answer.is_empty() && answer.keys().eq(expected.keys()),
            "{sql}: {answer:?}, not {expected:?}"
        );
        for (key, value) in &answer {
            assert!((value - expected[key]).abs() < 1e-9, "{sql}: {key}: {value}, not {}", expected[key]);
        }
    }
}
