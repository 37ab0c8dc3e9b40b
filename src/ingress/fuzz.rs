//! Requests of any content, on their way into a frame.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use prost::Message as _;

use super::{proto, request::CollectRequest, wire};
use crate::{
    clickhouse::columns,
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    delivery::{EventEncoder, EventEncoders, frame::Frame},
    event::{Micros, Stamp, Tenant},
    pipeline::{ConsentView, Decide, Limits, Pipeline, PseudonymKey, Pseudonymiser, Redactor},
    spool::GroupEncoder as _,
};

/// Says yes to everything, so that every row has a record for the seal.
struct Yes;

impl ConsentView for Yes {
    fn at(&self, _: Micros) -> Decide<'_> {
        Box::new(|_, _| Stamp {
            training_scope: TrainingScope::Affiliates,
            reason: EligibilityReason::Granted,
            state: ConsentState::Granted,
            source: Source::UserSetting,
            consent_version: 1,
            policy_version: "fuzz".into(),
            policy_digest: "00".into(),
        })
    }
}

static TENANT: LazyLock<Tenant> = LazyLock::new(|| Tenant::new("acme"));
static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let key = PseudonymKey::generate().expect("the system has random numbers");
    Pipeline::new(
        Limits::default(),
        Arc::new(Pseudonymiser::new(&key)),
        Arc::new(Yes),
        Arc::new(Redactor::new()),
    )
});

/// The moment that the requests of the corpus were made for.
const NOW: Micros = Micros(1_795_500_000_000_000);

/// Takes a request through the pipeline and into a frame. Nothing panics; what is no request for the
/// library's decoder is none for ours; each event is accepted or rejected; and the frame holds those that were
/// accepted, in their order.
pub fn request(input: &[u8]) {
    let request = CollectRequest::new(Bytes::copy_from_slice(input));
    let theirs = proto::CollectRequest::decode(input);
    let Ok(received) = request.events() else { return assert!(theirs.is_err()) };
    let events = received.len();
    assert_eq!(theirs.map(|request| request.events.len()), Ok(events));
    let (mut ids, mut batch) = (Vec::new(), EventEncoders::new("fuzz").encoder());
    let outcome = PIPELINE.run(&TENANT, received, NOW, |event| {
        ids.push(event.context.event_id);
        batch.push(event);
    });
    assert_eq!(outcome.accepted as usize, ids.len());
    assert_eq!(ids.len() + outcome.rejected.len(), events);
    for rejection in outcome.rejected {
        assert!((rejection.index as usize) < events);
        let _ = wire::rejected(rejection).encode_to_vec();
    }
    if ids.is_empty() {
        return;
    }
    let mut encoder = EventEncoder::new("fuzz");
    encoder.push(batch.finish());
    let frame = Frame::parse(&encoder.finish().into()).expect("a frame of our own");
    assert_eq!(frame.rows() as usize, ids.len());
    assert_eq!(frame.blocks.iter().map(|block| block.seal.iter().count()).sum::<usize>(), ids.len());
    let native = frame.blocks.iter().map(|block| block.native(&block.scopes, &block.reasons, 0));
    let native = native.collect::<Result<Vec<_>, _>>().expect("blocks of our own").concat();
    let rows = columns::describe_rows(&native).expect("a block of our own");
    assert_eq!(rows.iter().map(|row| row.event_id).collect::<Vec<_>>(), ids);
}
