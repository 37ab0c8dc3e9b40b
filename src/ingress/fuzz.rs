//! Requests of any content, on their way into a frame.

use std::sync::{Arc, LazyLock};

use prost::Message as _;

use super::{proto, wire};
use crate::{
    clickhouse::columns,
    consent::{ConsentState, EligibilityReason, Source, TrainingScope},
    delivery::{EventEncoder, frame::Frame},
    event::{Micros, Stamp, SubjectId, Tenant},
    pipeline::{ConsentFacts, ConsentView, Limits, Pipeline, PseudonymKey, Pseudonymiser, Redactor},
    spool::GroupEncoder as _,
};

/// Says yes to everything, so that every row has a record for the seal.
struct Yes;

impl ConsentView for Yes {
    fn decide(&self, _: &SubjectId, _: &ConsentFacts<'_>, _: Micros) -> Stamp {
        Stamp {
            training_scope: TrainingScope::Affiliates,
            reason: EligibilityReason::Granted,
            state: ConsentState::Granted,
            source: Source::UserSetting,
            consent_version: 1,
            policy_version: "fuzz".into(),
            policy_digest: "00".into(),
        }
    }
}

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

/// Takes a request through the pipeline and into a frame. Nothing panics; each event is accepted or
/// rejected; and the frame holds those that were accepted, in their order.
pub fn request(input: &[u8]) {
    let Ok(request) = proto::CollectRequest::decode(input) else { return };
    let events = request.events.len();
    let received = request.events.into_iter().map(wire::received).collect();
    let outcome = PIPELINE.run(&Tenant::new("acme"), received, NOW);
    assert_eq!(outcome.accepted.len() + outcome.rejected.len(), events);
    for rejection in outcome.rejected {
        assert!((rejection.index as usize) < events);
        let _ = wire::rejected(rejection).encode_to_vec();
    }
    if outcome.accepted.is_empty() {
        return;
    }
    let ids: Vec<_> = outcome.accepted.iter().map(|event| event.context.event_id).collect();
    let mut encoder = EventEncoder::new("fuzz");
    encoder.push(outcome.accepted);
    let frame = Frame::parse(&encoder.finish().into()).expect("a frame of our own");
    assert_eq!(frame.rows() as usize, ids.len());
    assert_eq!(frame.blocks.iter().map(|block| block.seal.iter().count()).sum::<usize>(), ids.len());
    let native = frame.blocks.iter().map(|block| block.native(&block.scopes, &block.reasons, 0));
    let native = native.collect::<Result<Vec<_>, _>>().expect("blocks of our own").concat();
    let rows = columns::describe_rows(&native).expect("a block of our own");
    assert_eq!(rows.iter().map(|row| row.event_id).collect::<Vec<_>>(), ids);
}
