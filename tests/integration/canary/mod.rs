//! Raw text and raw user ids reach no disk, no log, no metric, no error and no table, whatever way they come in and
//! whatever goes wrong on it.
//!
//! One collector, with its log at TRACE for everything, its libraries included. The product has no exporter of
//! traces; the spans and events of `tracing`, of which one would be made, are all in that log.
//!
//! Not here: a disk that is full (a spool at its limit is), which takes root, and what the kernel swaps or dumps.

mod raw;
pub(crate) mod scan;
mod words;

use std::{fs, time::Duration};

use assent::ingress::{
    client::{Client, ClientError},
    proto::{
        self, CollectRequest, ConsentScope, ConsentState, Event, RejectionReason, SuggestionFeedback,
        SuggestionShown, TypedText, collector_service_client::CollectorServiceClient, event::Payload,
    },
};
use prost::Message as _;
use scan::Scan;
use tokio_stream::StreamExt as _;
use tonic::{Request, Status, codec::CompressionEncoding, metadata::MetadataValue};
use words::Words;

use crate::harness::{
    Collector, Database, EventBuilder, Fault, Proxy, Setup, change, channel, event, eventually, shared_server,
};

const COLLECT: &str = "/assent.v1.CollectorService/Collect";
const SET_CONSENT: &str = "/assent.v1.ConsentService/SetConsent";
const KEY: &str = "key-of-greedy";
const OTHER_KEY: &str = "key-of-modest";
const MAX_EVENTS: usize = 30;
const CONFIG: &str = r#"
[ingress]
max_events_per_request = 30
max_request_bytes = "256KiB"
max_text_bytes = "32KiB"
[delivery]
max_backoff = "200ms"
[[tenants]]
name = "greedy"
api_key_sha256 = ["d85a491ac04a8d8d7473c33e15166aa2b8ded8371254473d5a8b61e9fe7098e1"]
[[tenants]]
name = "modest"
api_key_sha256 = ["1dd9439121930df00c1763e7ef3e595c801805ca3576391f67f5cccd2f036495"]
"#;

/// What came back to clients: never what they sent.
#[derive(Default)]
struct Answers(String);

impl Answers {
    fn add(&mut self, answer: &impl std::fmt::Debug) {
        self.0.push_str(&format!("{answer:?}\n"));
    }

    /// A status, in full.
    fn refused(&mut self, status: &Status) {
        self.add(status);
        self.0.push_str(status.message());
        self.0.push_str(&String::from_utf8_lossy(status.details()));
    }

    fn refusal<T>(&mut self, answer: Result<T, ClientError>) {
        match answer.map(drop).unwrap_err() {
            ClientError::Status(status) => self.refused(&status),
            other => panic!("{other}"),
        }
    }
}

fn build(events: Vec<EventBuilder>) -> Vec<Event> {
    events.into_iter().map(EventBuilder::build).collect()
}

fn with_key<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {KEY}")).unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn consents(client: &Client, words: &mut Words, answers: &mut Answers, user: &str) {
    for scope in [ConsentScope::FirstParty, ConsentScope::Affiliates] {
        let mut request = change(user, scope, ConsentState::Granted);
        request.evidence = words.text(user);
        request.actor = words.text(user);
        client.set_consent(request).await.unwrap();
    }
    // Each has one wrong thing, and secrets everywhere else.
    let breaks: [fn(&mut proto::SetConsentRequest, String); 6] = [
        |it, word| it.jurisdiction = word,
        |it, word| it.request_id = word,
        |it, word| it.language = format!("{word} {word}"),
        |it, word| it.policy_version = format!("{word} \n {word}"),
        |it, word| it.user_id = word.repeat(20),
        |it, word| it.client = Some(proto::Client { name: format!("{word} @"), ..proto::Client::default() }),
    ];
    for broken in breaks {
        let mut request = change(&words.secret(), ConsentScope::FirstParty, ConsentState::Granted);
        request.evidence = words.secret();
        request.actor = words.secret();
        broken(&mut request, words.secret());
        answers.refusal(client.set_consent(request).await);
    }
}

async fn reads_of_consent(
    client: &Client,
    other: &Client,
    words: &mut Words,
    answers: &mut Answers,
    user: &str,
) {
    for client in [client, other] {
        answers.add(
            &client
                .get_consent(proto::GetConsentRequest { user_id: user.to_owned(), ..Default::default() })
                .await,
        );
        let history = proto::ListConsentHistoryRequest { user_id: user.to_owned(), ..Default::default() };
        answers.add(&client.consent_history(history).await);
        let explain = proto::ExplainDecisionRequest { user_id: user.to_owned(), ..Default::default() };
        answers.add(&client.explain_decision(explain).await);
        answers.add(&client.consent_receipt(user.to_owned()).await);
    }
    let page = proto::ListConsentHistoryRequest {
        user_id: user.to_owned(),
        page_token: words.secret(),
        ..Default::default()
    };
    answers.refusal(client.consent_history(page).await);
}

async fn accepted(collector: &Collector, words: &mut Words, answers: &mut Answers, user: &str) -> usize {
    let client = collector.client_with_key(KEY).await;
    let mut sent = 0;
    let mut events = build(words.events(user));
    sent += events.len();
    answers.add(&client.collect(events).await.unwrap());
    let plain = CollectorServiceClient::new(channel(&collector.grpc).await.unwrap());
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        events = build(words.events(user));
        sent += events.len();
        let mut client = plain.clone().send_compressed(encoding).accept_compressed(encoding);
        answers.add(&client.collect(with_key(CollectRequest { events })).await.unwrap().into_inner());
    }
    let requests: Vec<_> = (0..3).map(|_| CollectRequest { events: build(words.events(user)) }).collect();
    sent += requests.iter().map(|it| it.events.len()).sum::<usize>();
    let mut stream =
        plain.clone().collect_stream(with_key(tokio_stream::iter(requests))).await.unwrap().into_inner();
    while let Some(answer) = stream.next().await {
        answers.add(&answer.unwrap());
    }
    sent
}

/// An event for each reason, with canaries in all its other fields.
/// Gives how many good ones there were between them.
async fn rejected(client: &Client, words: &mut Words, answers: &mut Answers) -> usize {
    type Break = Box<dyn Fn(&mut Event, String)>;
    let shown = |change: fn(&mut SuggestionShown, String)| -> Break {
        Box::new(move |event, word| {
            if let Some(Payload::SuggestionShown(shown)) = &mut event.payload {
                change(shown, word);
            }
        })
    };
    let feedback = |action: i32, rating: i32| -> Break {
        Box::new(move |event, word| {
            event.payload = Some(Payload::SuggestionFeedback(SuggestionFeedback {
                suggestion_id: word.clone(),
                action,
                rating,
                final_text: word.clone(),
                comment: word,
            }));
        })
    };
    let all: Vec<(Break, RejectionReason)> = vec![
        (Box::new(|it, word| it.event_id = word), RejectionReason::InvalidEventId),
        (Box::new(|it, word| it.user_id = word.repeat(17)), RejectionReason::InvalidUserId),
        (
            Box::new(|it, word| it.session_id = format!("{word}@example.org")),
            RejectionReason::InvalidSessionId,
        ),
        (Box::new(|it, word| it.interaction_id = format!("a {word}")), RejectionReason::InvalidInteractionId),
        (shown(|it, word| it.suggestion_id = format!("{word} {word}")), RejectionReason::InvalidSuggestionId),
        (Box::new(|it, _| it.payload = None), RejectionReason::MissingPayload),
        (shown(|it, word| it.language = format!("not {word}")), RejectionReason::InvalidLanguage),
        (feedback(99, 0), RejectionReason::UnknownEnumValue),
        (feedback(1, 7), RejectionReason::InvalidRating),
        (shown(|it, word| it.text = word.repeat(3_000)), RejectionReason::TextTooLong),
        (
            Box::new(|it, word| {
                let text = TypedText { text: word.repeat(3_000), language: "en".to_owned() };
                it.payload = Some(Payload::TypedText(text));
            }),
            RejectionReason::TextTooLong,
        ),
        (Box::new(|it, _| it.occurred_at = None), RejectionReason::TimeOutOfRange),
        (Box::new(|it, word| it.jurisdiction = word), RejectionReason::InvalidJurisdiction),
        (Box::new(|it, word| it.feature = format!("{word}@example.org")), RejectionReason::InvalidField),
        (
            Box::new(|it, word| {
                it.client = Some(proto::Client { platform: format!("é {word}"), ..Default::default() })
            }),
            RejectionReason::InvalidField,
        ),
    ];
    let mut events = Vec::new();
    for (broken, _) in &all {
        let mut event = words.full();
        broken(&mut event, words.secret());
        events.push(event);
    }
    // The index alone counts for those that are too many.
    while events.len() < MAX_EVENTS {
        events.push(event("nobody").build());
    }
    events.extend([words.full(), words.full()]);
    let answer = client.collect(events).await.unwrap();
    let reasons: Vec<_> = answer.rejected.iter().map(proto::RejectedEvent::reason).collect();
    let mut expected: Vec<_> = all.iter().map(|(_, reason)| *reason).collect();
    expected.extend([RejectionReason::TooManyEvents; 2]);
    assert_eq!(reasons, expected);
    for rejected in &answer.rejected {
        // The id goes back to who sent it, and nowhere else.
        answers.add(&rejected.message);
    }
    answer.accepted as usize
}

async fn refused(collector: &Collector, words: &mut Words, answers: &mut Answers) {
    let client = collector.client_with_key(KEY).await;
    let mut events: Vec<Event> = Vec::new();
    while events.iter().map(Event::encoded_len).sum::<usize>() < 300 << 10 {
        let text = words.secret().repeat(1_000);
        events.push(event(&words.secret()).text(&text).build());
    }
    answers.refusal(client.collect(events.clone()).await);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client =
            CollectorServiceClient::new(channel(&collector.grpc).await.unwrap()).send_compressed(encoding);
        answers
            .refused(&client.collect(with_key(CollectRequest { events: events.clone() })).await.unwrap_err());
    }
    // Nobody, or somebody else: the body is refused unread, and so is what was meant to be a key.
    let wrong = words.secret();
    for key in [None, Some(wrong.as_str())] {
        for path in [COLLECT, SET_CONSENT] {
            let message = CollectRequest { events: vec![words.full()] }.encode_to_vec();
            answers.refused(&raw::call(&collector.grpc, path, key, &message).await.unwrap_err());
        }
    }
    let unknown = "/assent.v1.CollectorService/Nothing";
    let message = words.secret().into_bytes();
    answers.refused(&raw::call(&collector.grpc, unknown, Some(KEY), &message).await.unwrap_err());
}

/// Bytes that are no messages, or hold more than they should. Gives how many events were taken.
async fn malformed(collector: &Collector, words: &mut Words, answers: &mut Answers) -> usize {
    for path in [COLLECT, SET_CONSENT] {
        let whole = CollectRequest { events: vec![words.full()] }.encode_to_vec();
        let mut not_utf8 = event(&words.secret()).build();
        not_utf8.payload = None;
        let text = [words.secret().as_bytes(), b"\xff\xfe", words.secret().as_bytes()].concat();
        let mut not_utf8 = not_utf8.encode_to_vec();
        not_utf8.extend(raw::field(20, &raw::field(1, &text)));
        let bad_user = [field_of_text(words, 2), raw::field(2, &text)].concat();
        for message in [
            words.secret().into_bytes(),
            whole[..whole.len() - 3].to_owned(),
            raw::field(1, &not_utf8),
            raw::field(1, &bad_user),
            [b"\x0a\xff\xff\xff\xff\x0f".as_slice(), words.secret().as_bytes()].concat(),
        ] {
            match raw::call(&collector.grpc, path, Some(KEY), &message).await {
                Err(status) => answers.refused(&status),
                Ok(answer) => {
                    let answer = proto::CollectResponse::decode(answer.as_slice()).unwrap();
                    assert_eq!(answer.accepted, 0, "{answer:?}");
                    answer.rejected.iter().for_each(|it| answers.add(&it.message));
                }
            }
        }
    }
    // Fields that nobody knows are skipped, also in an event that is taken.
    let mut known = event("nobody").build().encode_to_vec();
    known.extend(field_of_text(words, 99));
    let mut message = raw::field(1, &known);
    message.extend(field_of_text(words, 77));
    let answer = raw::call(&collector.grpc, COLLECT, Some(KEY), &message).await.unwrap();
    assert_eq!(proto::CollectResponse::decode(answer.as_slice()).unwrap().accepted, 1);
    1
}

fn field_of_text(words: &mut Words, number: u32) -> Vec<u8> {
    raw::field(number, words.secret().as_bytes())
}

/// kill -9 while requests arrive.
async fn killed_at_receipt(setup: &Setup, collector: Collector, words: &mut Words, user: &str) -> Collector {
    let client = collector.client_with_key(KEY).await;
    let mut sending = tokio::task::JoinSet::new();
    let mut batches = Vec::new();
    for _ in 0..20 {
        batches.push(build(words.events(user)));
    }
    let (told, mut first) = tokio::sync::mpsc::channel(20);
    for batch in batches {
        let (client, told) = (client.clone(), told.clone());
        sending.spawn(async move {
            let answered = client.collect(batch).await.is_ok();
            let _ = told.send(answered).await;
        });
    }
    // In the middle: some are answered, and the others are not.
    assert_eq!(first.recv().await, Some(true));
    collector.kill();
    sending.join_all().await;
    setup.start().await
}

fn output(setup: &Setup, database: &Database, words: &[&str]) -> String {
    let output = setup
        .command(words)
        .args(["--clickhouse-url", &database.url, "--clickhouse-database", &database.name, "--log", "trace"])
        .output()
        .unwrap();
    [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat()
}

#[tokio::test]
async fn no_canary_is_left_anywhere() {
    let database = Database::new().await;
    // A row that ClickHouse refuses for good, with a message that repeats its text.
    let poison = "ALTER TABLE events ADD CONSTRAINT no_poison CHECK NOT startsWith(text, 'POISON')";
    database.client.execute(poison).await.unwrap();
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let temp = tempfile::tempdir().unwrap();
    let setup = Setup::new(&database)
        .via(&proxy.url)
        .config(CONFIG)
        .logs("trace")
        .env("TMPDIR", temp.path().to_str().unwrap())
        .env("RUST_BACKTRACE", "full");
    let collector = setup.start_ready().await;
    let (mut words, mut answers) = (Words::default(), Answers::default());
    let client = collector.client_with_key(KEY).await;
    let other = collector.client_with_key(OTHER_KEY).await;
    let users = [words.secret(), format!("{}@example.com", words.secret())];

    let mut rows = 0;
    for user in &users {
        consents(&client, &mut words, &mut answers, user).await;
        reads_of_consent(&client, &other, &mut words, &mut answers, user).await;
        rows += accepted(&collector, &mut words, &mut answers, user).await;
    }
    rows += rejected(&client, &mut words, &mut answers).await;
    refused(&collector, &mut words, &mut answers).await;
    rows += malformed(&collector, &mut words, &mut answers).await;
    database.wait_for_rows(rows as u64).await;

    // ClickHouse is away, for consent too; what is taken lies in the spool.
    proxy.set(Fault::Refuse);
    accepted(&collector, &mut words, &mut answers, &users[0]).await;
    let mut unheard = change(&users[1], ConsentScope::FirstParty, ConsentState::Denied);
    unheard.evidence = words.text(&users[1]);
    answers.refusal(client.set_consent(unheard).await);
    let poisoned = (0..3)
        .map(|_| event(&users[0]).text(&format!("POISON {} {}", words.prose(), words.text(&users[0]))))
        .collect();
    answers.add(&client.collect(build(poisoned)).await.unwrap());
    let mut scan = Scan::new(&words.secret);
    scan.folder(&setup.data_dir());
    scan.assert_clean();
    assert!(scan.frames > 0, "blocks in the spool were looked into");
    let mut said = output(&setup, &database, &["spool", "inspect"]);

    // Killed in the middle of receipts, then of an insert that stands still.
    let collector = killed_at_receipt(&setup, collector, &mut words, &users[0]).await;
    drop(collector);
    proxy.set(Fault::HoldFirstInsert);
    let collector = setup.start().await;
    eventually("an insert that stands still", || async { (proxy.held() > 0).then_some(()) }).await;
    said += &output(&setup, &database, &["spool", "inspect"]);
    collector.kill();
    proxy.set(Fault::None);
    let collector = setup.start_ready().await;
    let listed = eventually("the refused rows in quarantine", || async {
        let listed = output(&setup, &database, &["spool", "quarantine", "list", "--rows"]);
        listed.contains("3 refused rows").then_some(listed)
    })
    .await;
    said += &listed;
    said += &output(&setup, &database, &["spool", "quarantine", "replay"]);
    for path in ["/metrics", "/readyz", "/livez", "/nothing"] {
        said += &collector.get(path).await;
    }
    eventually("the end of all inserts", || async {
        output(&setup, &database, &["spool", "inspect"]).contains("insert under way  none").then_some(())
    })
    .await;

    // Its libraries too said what they do.
    let log = setup.log();
    assert!(log.contains("TRACE") && log.contains(" h2::") && log.len() > 100_000, "{} bytes", log.len());
    let mut scan = Scan::new(&words.secret);
    scan.bytes(log.as_bytes(), "the log");
    scan.bytes(said.as_bytes(), "what was printed");
    scan.bytes(answers.0.as_bytes(), "the answers to clients");
    scan.folder(&setup.data_dir());
    scan.folder(temp.path());
    scan.folder(&shared_server().data_dir);
    assert!(scan.tables(&database).await > rows, "all tables were read");
    assert!(scan.files > 50 && scan.frames > 50, "{} files, {} frames", scan.files, scan.frames);
    scan.assert_clean();

    // What is stored, and is nobody else's to see. The quarantine's reason is ClickHouse's, without the values.
    let mut scan = Scan::new(&words.prose);
    scan.bytes(log.as_bytes(), "the log");
    scan.bytes(said.as_bytes(), "what was printed");
    for key in [KEY, OTHER_KEY] {
        assert!(!log.contains(key) && !said.contains(key), "a key is in the log");
    }
    scan.assert_clean();
    // Texts did get through, so the scan had something to look at.
    let mut stored = Scan::new(&words.prose);
    stored.tables(&database).await;
    assert!(stored.found.len() > 20, "{}", stored.found.len());
}

/// What a spool at its limit refuses was never written, and is in nothing that is said about it.
#[tokio::test]
async fn what_a_full_spool_refuses_is_nowhere() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::Refuse).await;
    let small = "[spool]\nmax_bytes = \"4MiB\"\nsegment_bytes = \"1MiB\"\n";
    let setup = Setup::new(&database).via(&proxy.url).config(small).logs("trace");
    let collector = setup.start().await;
    let (mut words, mut answers) = (Words::default(), Answers::default());
    let user = words.secret();
    let client = collector.client().await;
    // Letters at random cannot be compressed.
    let filler = || (0..20_000).map(|_| fastrand::lowercase()).collect::<String>();
    let mut refused = 0;
    for _ in 0..1_000 {
        let marker = Words::default().secret();
        let text = format!("{marker} {} {marker} {}", words.text(&user), filler());
        // Another person's id is found in a text only if it is an address, so the first one's is not in this.
        let hers = format!("by {marker}");
        match client.collect(vec![event(&user).text(&text).build(), event(&marker).text(&hers).build()]).await
        {
            Ok(answer) => answers.add(&answer),
            Err(error) => {
                answers.refusal(Err::<(), _>(error));
                words.secret.push(marker);
                refused += 1;
                if refused == 5 {
                    break;
                }
            }
        }
    }
    assert_eq!(refused, 5, "the spool is full");
    let mut scan = Scan::new(&words.secret);
    scan.bytes(setup.log().as_bytes(), "the log");
    scan.bytes(answers.0.as_bytes(), "the answers to clients");
    scan.bytes(output(&setup, &database, &["spool", "inspect"]).as_bytes(), "what was printed");
    scan.bytes(collector.metrics().await.as_bytes(), "the metrics");
    scan.folder(&setup.data_dir());
    assert!(scan.frames > 20, "{} frames", scan.frames);
    scan.assert_clean();
}

/// A scan that cannot fail proves nothing: what is put in plain, into a block of the spool, into a table and into the
/// log is found in each.
#[tokio::test]
async fn what_is_planted_is_found() {
    let database = Database::new().await;
    let proxy = Proxy::start(&database.url, Fault::None).await;
    let setup = Setup::new(&database).via(&proxy.url).logs("trace");
    let collector = setup.start_ready().await;
    let mut words = Words::default();
    let word = words.prose();
    // No literal of LZ4's: both halves were there before.
    let (head, tail) = word.split_at(8);
    proxy.set(Fault::Refuse);
    let text = format!("{head} . {tail} . {word}");
    let ids = collector.send(vec![event("ann").text(&text)]).await;

    let mut spool = Scan::new(&words.prose);
    spool.folder(&setup.data_dir());
    assert!(spool.has_found_in("what is compressed in"), "{:?}", spool.found);
    let plainly =
        spool.found.keys().filter(|(wherever, _)| !wherever.contains("what is compressed in")).count();
    assert_eq!(plainly, 0, "{:?}", spool.found);

    proxy.set(Fault::None);
    database.wait_for(&ids).await;
    let mut table = Scan::new(&words.prose);
    table.tables(&database).await;
    assert!(table.has_found_in(".events"), "{:?}", table.found);

    let plain = setup.data_dir().join("deep/down");
    fs::create_dir_all(&plain).unwrap();
    fs::write(plain.join("notes"), format!("x{word}y")).unwrap();
    fs::write(plain.join(&word), "").unwrap();
    let mut files = Scan::new(&words.prose);
    files.folder(&plain);
    assert_eq!(files.found.len(), 2, "{:?}", files.found);

    let hidden = Scan::new(&["nowhere-to-be-found".to_owned()]);
    hidden.assert_clean();
    tokio::time::timeout(Duration::from_secs(30), collector.terminate()).await.unwrap();
}
