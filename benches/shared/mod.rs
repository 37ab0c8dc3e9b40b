//! What benches of ClickHouse share: a server, and events in the form in which delivery sends them.

// Each bench needs a part of it.
#![allow(dead_code)]

use std::{path::Path, sync::Arc, time::Duration};

use assent::{
    clickhouse::{
        Client, Options, columns, compressed,
        local::{LocalOptions, LocalServer},
        migrations,
    },
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    delivery::{EventEncoder, EventEncoders},
    event::{Micros, RawText, RawUserId, Received, ReceivedPayload, Stamp, Tenant},
    pipeline::{ConsentView, Decide, Limits, Pipeline, PseudonymKey, Pseudonymiser, Redactor},
    spool::GroupEncoder as _,
};
use serde::Deserialize;
use uuid::Uuid;

/// Events of one block, as a commit of the spool makes them.
const BLOCK_EVENTS: usize = 1_000;
/// Of `/proc/PID/stat`: `USER_HZ` is 100 on Linux, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// Whether somebody may train on an event: three of ten, by the pseudonym, but for whoever has said no.
struct Mixed {
    says_no: bool,
}

impl ConsentView for Mixed {
    fn at(&self, _: Micros) -> Decide<'_> {
        Box::new(|subject, _| {
            let yes = subject.current().as_bytes()[0] < 77 && !self.says_no;
            Stamp {
                training_scope: if yes { TrainingScope::FirstParty } else { TrainingScope::None },
                reason: if yes { EligibilityReason::Granted } else { EligibilityReason::Denied },
                state: if yes { ConsentState::Granted } else { ConsentState::Denied },
                source: Source::UserSetting,
                consent_version: 1,
                policy_version: "opt-in-everywhere-1".into(),
                policy_digest: "00".into(),
            }
        })
    }
}

/// Makes the body of an insert.
pub(crate) struct Maker {
    yes: Pipeline,
    no: Pipeline,
}

impl Maker {
    pub(crate) fn new() -> Self {
        let key = PseudonymKey::generate().unwrap();
        let (pseudonymiser, redactor) = (Arc::new(Pseudonymiser::new(&key)), Arc::new(Redactor::new()));
        let pipeline = |says_no| {
            let view = Arc::new(Mixed { says_no });
            Pipeline::new(Limits::default(), Arc::clone(&pseudonymiser), view, Arc::clone(&redactor))
        };
        Self { yes: pipeline(false), no: pipeline(true) }
    }

    /// Blocks of these events, compressed as delivery has them; of the retries, the authors of the first half have
    /// said no meanwhile.
    pub(crate) fn body(&self, events: &[(usize, Uuid)], retries: &[(usize, Uuid)]) -> Vec<bytes::Bytes> {
        let (no, yes) = retries.split_at(retries.len() / 2);
        let mut body = Vec::new();
        let mut head = Vec::new();
        let tenant = Tenant::new("acme");
        let (encoders, mut encoder) = (EventEncoders::new("bench"), EventEncoder::new("bench"));
        for (pipeline, events) in [(&self.yes, events), (&self.yes, yes), (&self.no, no)] {
            for block in events.chunks(BLOCK_EVENTS) {
                let mut batch = encoders.encoder();
                for (n, id) in block {
                    let texts = Texts::new(*n, *id);
                    let outcome =
                        pipeline.run(&tenant, [texts.event(*n)], Micros::now(), |event| batch.push(event));
                    assert!(outcome.rejected.is_empty());
                }
                encoder.push(batch.finish());
                let frame = assent::delivery::frame::Frame::parse(&encoder.finish().into()).unwrap();
                for block in frame.blocks {
                    head.clear();
                    columns::put_head(&mut head, block.columns, &block.scopes, &block.reasons, 0);
                    body.extend([compressed::compress(&head).into(), block.rest]);
                }
            }
        }
        body
    }
}

/// What an event borrows.
struct Texts {
    event_id: String,
    user_id: String,
    session_id: String,
    interaction_id: String,
    text: String,
}

impl Texts {
    fn new(n: usize, id: Uuid) -> Self {
        Self {
            event_id: id.to_string(),
            user_id: format!("user-{}", n * 7_919 % 20_000),
            session_id: Uuid::from_u128((n / 40) as u128).to_string(),
            interaction_id: Uuid::from_u128((n / 3) as u128).to_string(),
            text: format!("the meeting of week {} has been moved to room {}, see you there", n % 53, n),
        }
    }

    fn event(&self, n: usize) -> Received<'_> {
        Received {
            event_id: &self.event_id,
            user_id: RawUserId::new(&self.user_id),
            occurred_at: Some((Micros::now().0 / 1_000_000, 0)),
            session_id: &self.session_id,
            interaction_id: &self.interaction_id,
            feature: ["compose", "reply", "summary"][n % 3],
            model: "quill-2",
            client_name: "editor-web",
            client_version: "4.18",
            platform: "web",
            jurisdiction: ["DE", "US-CA", "IN", "BR"][n % 4],
            global_privacy_control: false,
            payload: Some(ReceivedPayload::TypedText { text: RawText::new(&self.text), language: "en" }),
        }
    }
}

/// A real ClickHouse of the bench's own, with our tables.
pub(crate) struct Server {
    pub(crate) server: LocalServer,
    pub(crate) client: Client,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
struct Number {
    n: u64,
}

impl Server {
    /// CPU seconds that the process has taken so far.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.server.pid())).unwrap();
        // After the command's name, which may hold anything: utime and stime are the fields 14 and 15.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / TICKS_PER_SECOND
    }

    /// The one text of a query's one row, called `text`.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.client.query_rows::<Text>(sql, &[]).await.unwrap().remove(0).text
    }

    /// The one number of a query's one row, called `n`.
    pub(crate) async fn number(&self, sql: &str) -> u64 {
        self.client.query_rows::<Number>(sql, &[]).await.unwrap()[0].n
    }
}

/// Starts it.
pub(crate) async fn start(dir: &Path) -> Server {
    let options = LocalOptions::new(dir.to_owned(), env!("CARGO_BIN_EXE_assent").into());
    let server = LocalServer::start(options).await.unwrap();
    let client = Client::new(&Options {
        url: server.url(),
        database: "assent".to_owned(),
        user: "default".to_owned(),
        password: "".into(),
        insert_timeout: Duration::from_secs(600),
        query_timeout: Duration::from_secs(600),
    })
    .unwrap();
    migrations::migrate(&client).await.unwrap();
    Server { server, client }
}
