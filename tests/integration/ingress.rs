//! The wire: rejections, limits, compression, streams, health, reflection, listeners.

use std::time::{Duration, SystemTime};

use assent::ingress::proto::{
    self, CollectRequest, FeedbackAction, LanguagePreference, RejectionReason, SuggestionFeedback,
    SuggestionShown, TypedText, collector_service_client::CollectorServiceClient, event::Payload,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, codec::CompressionEncoding, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::harness::{Database, Setup, channel, event};

async fn raw_client(grpc: &str) -> CollectorServiceClient<Channel> {
    CollectorServiceClient::new(channel(grpc).await.unwrap())
}

#[tokio::test]
async fn each_broken_rule_is_named_and_the_good_events_are_taken() {
    let database = Database::new().await;
    let collector =
        Setup::new(&database).config("[ingress]\nmax_events_per_request = 30\n").start_ready().await;
    let feedback = |action: i32, rating| {
        Payload::SuggestionFeedback(SuggestionFeedback {
            suggestion_id: "s".to_owned(),
            action,
            rating,
            ..SuggestionFeedback::default()
        })
    };
    let at = |offset: i64| {
        let now = SystemTime::now();
        let time = if offset >= 0 {
            now + Duration::from_secs(offset.unsigned_abs())
        } else {
            now - Duration::from_secs(offset.unsigned_abs())
        };
        Some(time.into())
    };
    let set = |change: fn(&mut proto::Event)| event("ann").with(change).build();
    let accepted: i32 = FeedbackAction::Accepted.into();
    let bad: Vec<(proto::Event, RejectionReason)> = vec![
        (set(|it| it.event_id.clear()), RejectionReason::InvalidEventId),
        (set(|it| it.event_id = "7".to_owned()), RejectionReason::InvalidEventId),
        (set(|it| it.user_id.clear()), RejectionReason::InvalidUserId),
        (set(|it| it.user_id = "u".repeat(257)), RejectionReason::InvalidUserId),
        (set(|it| it.session_id = "ann@example.com".to_owned()), RejectionReason::InvalidSessionId),
        (set(|it| it.interaction_id = "a b".to_owned()), RejectionReason::InvalidInteractionId),
        (
            event("ann").payload(Payload::SuggestionShown(SuggestionShown::default())).build(),
            RejectionReason::InvalidSuggestionId,
        ),
        (set(|it| it.payload = None), RejectionReason::MissingPayload),
        (
            event("ann")
                .payload(Payload::TypedText(TypedText {
                    language: "not a tag".to_owned(),
                    ..TypedText::default()
                }))
                .build(),
            RejectionReason::InvalidLanguage,
        ),
        (
            event("ann").payload(Payload::LanguagePreference(LanguagePreference::default())).build(),
            RejectionReason::InvalidLanguage,
        ),
        (event("ann").payload(feedback(0, 0)).build(), RejectionReason::UnknownEnumValue),
        (event("ann").payload(feedback(99, 0)).build(), RejectionReason::UnknownEnumValue),
        (event("ann").payload(feedback(accepted, 2)).build(), RejectionReason::InvalidRating),
        (event("ann").text(&"x".repeat((64 << 10) + 1)).build(), RejectionReason::TextTooLong),
        (set(|it| it.occurred_at = None), RejectionReason::TimeOutOfRange),
        (event("ann").with(|it| it.occurred_at = at(360)).build(), RejectionReason::TimeOutOfRange),
        (event("ann").with(|it| it.occurred_at = at(-31 * 86_400)).build(), RejectionReason::TimeOutOfRange),
        (set(|it| it.jurisdiction = "Germany".to_owned()), RejectionReason::InvalidJurisdiction),
        (set(|it| it.feature = "ann@example.com".to_owned()), RejectionReason::InvalidField),
    ];
    // Good ones between the bad ones, and at the very edge of what is allowed.
    let good = [
        event("ann").text(&"x".repeat(64 << 10)).build(),
        event("ann").with(|it| it.occurred_at = at(290)).build(),
        event("ann").with(|it| it.occurred_at = at(-30 * 86_400 + 60)).build(),
        event("ann").payload(feedback(accepted, -1)).build(),
    ];
    let mut events = vec![good[0].clone()];
    events.extend(bad.iter().map(|(event, _)| event.clone()));
    events.extend_from_slice(&good[1..]);
    // Up to the limit, and two more.
    while events.len() < 32 {
        events.push(event("ann").build());
    }
    let answer = collector.client().await.collect(events.clone()).await.unwrap();
    let reasons: Vec<_> = answer.rejected.iter().map(|it| (it.index as usize, it.reason())).collect();
    let mut expected: Vec<_> = bad.iter().enumerate().map(|(at, (_, reason))| (at + 1, *reason)).collect();
    expected.extend([(30, RejectionReason::TooManyEvents), (31, RejectionReason::TooManyEvents)]);
    assert_eq!(reasons, expected);
    assert_eq!(answer.accepted, 30 - 19);
    for rejected in &answer.rejected {
        assert!(!rejected.message.is_empty() && !rejected.message.contains("ann@"), "{rejected:?}");
        assert_eq!(rejected.event_id, events[rejected.index as usize].event_id);
    }
    database.wait_for_rows(11).await;
    assert_eq!(database.count("events").await, 11);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_as_a_whole() {
    let database = Database::new().await;
    let config = "[ingress]\nmax_request_bytes = \"64KiB\"\nmax_text_bytes = \"32KiB\"\n";
    let collector = Setup::new(&database).config(config).start_ready().await;
    let mut client = raw_client(&collector.grpc).await;
    let events = |n: usize| CollectRequest {
        events: (0..n).map(|_| event("ann").text(&"x".repeat(30_000)).build()).collect(),
    };
    assert_eq!(client.collect(events(2)).await.unwrap().into_inner().accepted, 2);
    // Neither plain nor as a compressed bomb.
    for mut client in [client.clone(), client.send_compressed(CompressionEncoding::Gzip)] {
        let refused = client.collect(events(100)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        let requests = tokio_stream::iter([events(1), events(100)]);
        let mut answers = client.collect_stream(requests).await.unwrap().into_inner();
        assert_eq!(answers.next().await.unwrap().unwrap().accepted, 1);
        assert_eq!(answers.next().await.unwrap().unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn gzip_and_zstd_are_spoken_both_ways() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client =
            raw_client(&collector.grpc).await.send_compressed(encoding).accept_compressed(encoding);
        let request = CollectRequest { events: (0..50).map(|_| event("ann").build()).collect() };
        let answer = client.collect(request).await.unwrap();
        assert_eq!(answer.into_inner().accepted, 50);
    }
    database.wait_for_rows(100).await;
}

#[tokio::test]
async fn a_stream_answers_each_request_in_order_and_keeps_going_after_a_bad_event() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let mut client = raw_client(&collector.grpc).await;
    let requests: Vec<_> = (0..60_usize)
        .map(|n| {
            let mut events: Vec<_> = (0..=n % 3).map(|_| event("ann").build()).collect();
            if n == 30 {
                events.push(event("").build());
            }
            CollectRequest { events }
        })
        .collect();
    let mut answers = client.collect_stream(tokio_stream::iter(requests.clone())).await.unwrap().into_inner();
    let mut rows = 0;
    for (n, request) in requests.iter().enumerate() {
        let answer = answers.next().await.unwrap().unwrap();
        assert_eq!(answer.rejected.len(), usize::from(n == 30));
        assert_eq!(answer.accepted as usize + answer.rejected.len(), request.events.len());
        rows += u64::from(answer.accepted);
    }
    assert!(answers.next().await.is_none());
    database.wait_for_rows(rows).await;
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let mut client = ServerReflectionClient::new(channel(&collector.grpc).await.unwrap());
    let ask = |message| {
        tokio_stream::iter([ServerReflectionRequest { host: String::new(), message_request: Some(message) }])
    };
    let mut answers = client
        .server_reflection_info(ask(MessageRequest::ListServices(String::new())))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.next().await.unwrap().unwrap().message_response
    else {
        panic!("another answer")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["assent.v1.CollectorService", "assent.v1.ConsentService", "grpc.health.v1.Health"] {
        assert!(names.contains(&service), "{names:?}");
    }
    let symbol = MessageRequest::FileContainingSymbol("assent.v1.Event".to_owned());
    let mut answers = client.server_reflection_info(ask(symbol)).await.unwrap().into_inner();
    assert!(matches!(
        answers.next().await.unwrap().unwrap().message_response,
        Some(MessageResponse::FileDescriptorResponse(_))
    ));
}

#[tokio::test]
async fn bad_consent_requests_are_invalid_arguments_that_name_the_field() {
    use proto::{ConsentScope, ConsentState, SetConsentRequest};
    let database = Database::new().await;
    let collector = Setup::new(&database).start_ready().await;
    let client = collector.client().await;
    let good = crate::harness::change("ann", ConsentScope::FirstParty, ConsentState::Granted);
    let broken: Vec<(&str, SetConsentRequest)> = vec![
        ("user_id", SetConsentRequest { user_id: String::new(), ..good.clone() }),
        ("scope", SetConsentRequest { scope: 0, ..good.clone() }),
        ("scope", SetConsentRequest { scope: 9, ..good.clone() }),
        ("state", SetConsentRequest { state: 0, ..good.clone() }),
        ("source", SetConsentRequest { source: proto::ConsentSource::PolicyDefault.into(), ..good.clone() }),
        ("jurisdiction", SetConsentRequest { jurisdiction: "Mars".to_owned(), ..good.clone() }),
        ("policy_version", SetConsentRequest { policy_version: "a@example.com".to_owned(), ..good.clone() }),
        ("evidence", SetConsentRequest { evidence: "x".repeat(5000), ..good.clone() }),
        ("actor", SetConsentRequest { actor: "x".repeat(300), ..good.clone() }),
    ];
    for (field, request) in broken {
        let error = client.set_consent(request).await.unwrap_err();
        let assent::ingress::client::ClientError::Status(status) = error else { panic!("{error}") };
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert!(status.message().starts_with(field), "{field}: {}", status.message());
    }
    assert_eq!(database.count("consent_changes").await, 0);
}

#[tokio::test]
async fn nothing_listens_beyond_loopback_without_keys_and_tls() {
    let database = Database::new().await;
    let setup = Setup::new(&database);
    let refused = setup.command(&["serve", "--grpc-addr", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("ingress.grpc_addr") && said.contains("insecure_no_auth"), "{said}");
}

#[tokio::test]
async fn tls_is_spoken_with_the_configured_certificate() {
    use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
    let database = Database::new().await;
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&cert, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let config = format!(
        "[ingress.tls]\ncert_file = {:?}\nkey_file = {:?}\n",
        cert.display().to_string(),
        key.display().to_string()
    );
    let collector = Setup::new(&database).config(&config).start().await;
    let port = collector.grpc.rsplit(':').next().unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certified.cert.pem()));
    let secure = Endpoint::from_shared(format!("https://localhost:{port}"))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let request = CollectRequest { events: vec![event("ann").build()] };
    let answer = CollectorServiceClient::new(secure).collect(request.clone()).await.unwrap();
    assert_eq!(answer.into_inner().accepted, 1);
    // Plain text gets nowhere.
    if let Ok(plain) = channel(&collector.grpc).await {
        CollectorServiceClient::new(plain).collect(request).await.unwrap_err();
    }
}
