//! Rows taken out of a block are to ClickHouse the rows that they were in it.

use std::{ops::Range, slice::from_ref, sync::Arc};

use assent::{
    clickhouse::{
        columns::{self, BlockEncoder, INSERT_COLUMNS},
        compressed::{compress, decompress},
        native::take_rows,
    },
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    event::{Micros, RawText, RawUserId, Received, ReceivedPayload, Stamp, Tenant},
    pipeline::{ConsentView, Decide, Limits, Pipeline, PseudonymKey, Pseudonymiser, Redactor},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use uuid::Uuid;

use crate::harness::Database;

const ROWS: u32 = 60;

/// Says yes to some.
struct SomeOfThem;

impl ConsentView for SomeOfThem {
    fn at(&self, _: Micros) -> Decide<'_> {
        Box::new(|_, facts| {
            let (training_scope, reason) = match facts.feature.len() % 3 {
                0 => (TrainingScope::None, EligibilityReason::UnsetOptIn),
                1 => (TrainingScope::FirstParty, EligibilityReason::GrantedByDefault),
                _ => (TrainingScope::Affiliates, EligibilityReason::Granted),
            };
            Stamp {
                training_scope,
                reason,
                state: ConsentState::Granted,
                source: Source::UserSetting,
                consent_version: 7,
                policy_version: "2024-09".into(),
                policy_digest: facts.feature.into(),
            }
        })
    }
}

fn received(n: u32, now: Micros) -> Received<'static> {
    // What an event borrows lives as long as the program.
    let kept = |text: String| -> &'static str { text.leak() };
    let text = |text: String| RawText::new(text.leak());
    let payload = match n % 4 {
        0 => ReceivedPayload::TypedText {
            text: text(format!("Grüße {n}, {}", "a@example.com +14155550132 ".repeat((n % 3) as usize))),
            language: "de",
        },
        1 => ReceivedPayload::SuggestionShown {
            suggestion_id: kept(format!("s.{n}")),
            text: text("long ".repeat(200)),
            language: "en-US",
            latency_ms: n,
            position: n % 5,
        },
        2 => ReceivedPayload::SuggestionFeedback {
            suggestion_id: kept(format!("s.{n}")),
            action: 1,
            rating: -1,
            final_text: RawText::default(),
            comment: RawText::new("mail b@example.com"),
        },
        _ => ReceivedPayload::LanguagePreference { language: "pt-BR", previous_language: "en" },
    };
    Received {
        event_id: kept(Uuid::now_v7().to_string()),
        user_id: RawUserId::new(kept(format!("user {}", n % 9))),
        occurred_at: Some((now.0 / 1_000_000, 123_456_789)),
        session_id: kept(format!("s-{}", n % 4)),
        interaction_id: kept(format!("i-{n}")),
        feature: kept("compose".repeat(1 + (n % 7) as usize)),
        model: kept(format!("quill-{}", n % 3)),
        client_name: "web",
        client_version: kept(format!("4.{n}")),
        platform: "",
        jurisdiction: if n.is_multiple_of(2) { "US-CA" } else { "de" },
        global_privacy_control: n.is_multiple_of(5),
        payload: Some(payload),
    }
}

/// Events that went through the pipeline, as a block that was sealed.
pub(crate) fn block_of(rows: u32) -> Vec<u8> {
    let key = PseudonymKey::generate().unwrap();
    let pipeline = Pipeline::new(
        Limits::default(),
        Arc::new(Pseudonymiser::new(&key)),
        Arc::new(SomeOfThem),
        Arc::new(Redactor::new()),
    );
    let now = Micros::now();
    let events = (0..rows).map(|n| received(n, now));
    let mut encoder = BlockEncoder::new("c1");
    let tenant = Tenant::new("acme");
    let outcome = pipeline.run(&tenant, events, now, |event| encoder.push(event));
    assert!(outcome.rejected.is_empty());
    encoder.finish().native(now.0 + 1)
}

async fn inserted(bodies: Vec<Vec<u8>>) -> Vec<serde_json::Value> {
    let database = Database::new().await;
    for (n, body) in bodies.into_iter().enumerate() {
        let token = n.to_string();
        let body = [compress(&body).into()];
        database.client.insert_native("events", INSERT_COLUMNS, &body, &token, &[]).await.unwrap();
    }
    database.rows("SELECT * FROM events ORDER BY toString(event_id)").await
}

fn take(block: &[u8], rows: &[Range<u32>]) -> Vec<u8> {
    take_rows(block, rows).unwrap()
}

#[tokio::test]
async fn rows_taken_apart_make_the_same_table() {
    let block = block_of(ROWS);
    let expected = inserted(vec![block.clone()]).await;
    assert_eq!(expected.len(), ROWS as usize);

    // Every row by itself, the blocks strung together in one insert.
    let singly: Vec<Vec<u8>> = (0..ROWS).map(|row| take(&block, from_ref(&(row..row + 1)))).collect();
    assert_eq!(inserted(vec![singly.concat()]).await, expected);

    // One row out of the middle, as a refused one is; and every third out of the rest, as one person's are.
    let (thirds, others): (Vec<_>, Vec<_>) =
        (0..ROWS).filter(|&row| row != 31).map(|row| row..row + 1).partition(|row| row.start % 3 == 0);
    let bodies = vec![take(&block, from_ref(&(31..32))), take(&block, &thirds), take(&block, &others)];
    assert_eq!(inserted(bodies).await, expected);

    // And what is told about the rows is what is in the table.
    let mut told = columns::describe_rows(&block).unwrap();
    told.sort_by_key(|row| row.event_id);
    for (told, row) in told.iter().zip(&expected) {
        let event_type = told.event_type.map(|it| it.as_str());
        assert_eq!(row["event_id"], told.event_id.to_string());
        assert_eq!((row["event_type"].as_str(), row["tenant"].as_str()), (event_type, Some("acme")));
    }
}

#[tokio::test]
async fn compressed_frames_are_those_of_clickhouse() {
    // Its own answers are in the form in which it takes inserts: both ends have to mean the same.
    let database = Database::new().await;
    let query = "SELECT+repeat('to+be+or+not+to+be,+',100000)+FORMAT+RawBLOB";
    let address = database.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /?compress=1&query={query} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
    let expected = b"to be or not to be, ".repeat(100_000);
    assert_eq!(decompress(&answer[body..], expected.len()).unwrap(), expected);

    // What comes in many pieces, and frames that end in the middle of a value, make the same rows.
    let block = block_of(ROWS);
    let whole = inserted(vec![block.clone()]).await;
    let frames: Vec<u8> = block.chunks(777).flat_map(compress).collect();
    let pieces: Vec<_> = frames.chunks(500).map(bytes::Bytes::copy_from_slice).collect();
    let database = Database::new().await;
    database.client.insert_native("events", INSERT_COLUMNS, &pieces, "1", &[]).await.unwrap();
    assert_eq!(
        database.rows::<serde_json::Value>("SELECT * FROM events ORDER BY toString(event_id)").await,
        whole
    );

    // And what is damaged on the way is refused, not written.
    let mut damaged = frames;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let pieces = [damaged.into()];
    database.client.insert_native("events", INSERT_COLUMNS, &pieces, "2", &[]).await.unwrap_err();
    assert_eq!(database.count("events").await, u64::from(ROWS));
}
