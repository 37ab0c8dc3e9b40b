//! How many instructions the stages take that every event goes through: what `stages` times, counted. Where the clock
//! is noisy, a count still says which stage has become dearer, and by how much.
//!
//! ```sh
//! just bench-instructions                          # all of them
//! just bench-instructions '*decode*'               # those whose name matches
//! just bench-instructions --callgrind-limits=ir=1% # fails when one takes 1 % more than in the run before
//! ```
//!
//! Valgrind counts, so this needs it, and `gungraun-runner` of the library's version, which the recipe installs. The
//! inputs are those of `stages`, made before the counting begins; a count is for all of them, which is for 500 events where
//! nothing else is said. docs/performance.md has the figures.

// A measurement that cannot go on fails.
#![allow(clippy::unwrap_used)]
// What the macros make: an exit code among it, with nothing to drain.
#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

use std::hint::black_box;

use assent::{
    consent::{Policy, decide as decide_on},
    delivery::{EventEncoder, EventEncoders, frame::Frame},
    event::{RawText, RawUserId, Redacted, Tenant},
    ingress::request::CollectRequest,
    pipeline::{Limits, Redactor, Validator},
    spool::GroupEncoder as _,
};
use bytes::Bytes;
use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use prost::Message as _;

#[path = "../stages/events.rs"]
mod events;
#[path = "../stages/inputs.rs"]
mod inputs;
// `stages` times more of them.
#[allow(dead_code)]
#[path = "../stages/texts.rs"]
mod texts;

use events::{EVENTS, NOW};
use inputs::{AUTHOR, UserId, batch};
use texts::{Language, Size};

main!(
    // Instructions alone: the simulated cache is of no machine that this runs on.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = stages
);
library_benchmark_group!(name = stages, benchmarks = count);

/// One stage and its input.
type Stage = Box<dyn FnMut()>;

/// A short text of 64.
const SHORT: Size = Size::ALL[0];
/// A long one.
const LONG: Size = Size::ALL[2];

#[library_benchmark]
#[bench::decode(setup = decode)]
#[bench::validate(setup = validate)]
#[bench::decide_granted(args = (0), setup = decide)]
#[bench::decide_denied(args = (1), setup = decide)]
#[bench::decide_silence(args = (2), setup = decide)]
#[bench::pseudonymise_handle(args = (inputs::USER_IDS[0].1), setup = pseudonymise)]
#[bench::pseudonymise_uuid(args = (inputs::USER_IDS[1].1), setup = pseudonymise)]
#[bench::pseudonymise_email(args = (inputs::USER_IDS[2].1), setup = pseudonymise)]
#[bench::redact_english_short_clean(args = (texts::clean(Language::English, SHORT)), setup = redact)]
#[bench::redact_english_short_telling(args = (texts::telling(Language::English, SHORT)), setup = redact)]
#[bench::redact_english_long_clean(args = (texts::clean(Language::English, LONG)), setup = redact)]
#[bench::redact_russian_short_clean(args = (texts::clean(Language::Russian, SHORT)), setup = redact)]
#[bench::redact_russian_short_telling(args = (texts::telling(Language::Russian, SHORT)), setup = redact)]
#[bench::redact_russian_long_clean(args = (texts::clean(Language::Russian, LONG)), setup = redact)]
#[bench::redact_japanese_short_clean(args = (texts::clean(Language::Japanese, SHORT)), setup = redact)]
#[bench::redact_japanese_short_telling(args = (texts::telling(Language::Japanese, SHORT)), setup = redact)]
#[bench::redact_japanese_long_clean(args = (texts::clean(Language::Japanese, LONG)), setup = redact)]
#[bench::encode_columns(setup = encode_columns)]
#[bench::encode_compressed(setup = encode_compressed)]
#[bench::frame_of_1_request(args = (500), setup = frame)]
#[bench::frame_of_50_requests(args = (10), setup = frame)]
#[bench::frame_of_500_requests(args = (1), setup = frame)]
#[bench::frame_read(setup = frame_read)]
#[bench::pipeline(setup = pipeline)]
#[bench::everything(setup = everything)]
fn count(mut stage: Stage) -> Stage {
    stage();
    // Its input is dropped when nobody counts.
    stage
}

/// A stage that has run once: what is built on first use, and kept, is no event's.
fn warm(mut stage: impl FnMut() + 'static) -> Stage {
    stage();
    Box::new(stage)
}

/// The bytes of a request to events that borrow from it.
fn decode() -> Stage {
    let request = request();
    warm(move || {
        black_box(request.events().unwrap());
    })
}

/// Every rule of the contract.
fn validate() -> Stage {
    let (validator, tenant) = (Validator::new(Limits::default()), tenant());
    let received = request().events().unwrap();
    warm(move || {
        for event in &received {
            black_box(validator.validate(tenant, black_box(event.clone()), NOW).unwrap());
        }
    })
}

/// A decision for each event, with the person's consent at hand.
fn decide(who: usize) -> Stage {
    let (policy, facts) = (Policy::builtin(), inputs::facts());
    let (_, consent) = inputs::consents()[who].clone();
    warm(move || {
        for _ in 0..EVENTS {
            black_box(decide_on(black_box(&consent), &policy, black_box(&facts)));
        }
    })
}

/// The pseudonyms of 64 people.
fn pseudonymise(id: UserId) -> Stage {
    let (pseudonymiser, tenant, ids) = (inputs::pseudonymiser(), tenant(), inputs::user_ids(id));
    warm(move || {
        for id in &ids {
            black_box(pseudonymiser.subjects(tenant, RawUserId::new(black_box(id))));
        }
    })
}

/// Taking personal data out of 64 texts.
fn redact(texts: Vec<String>) -> Stage {
    let (redactor, tenant, author) = (Redactor::new(), tenant(), RawUserId::new(AUTHOR));
    warm(move || {
        for text in &texts {
            black_box(redactor.redact_evidence(tenant, RawText::new(black_box(text)), author));
        }
    })
}

/// Redacted events to columns.
fn encode_columns() -> Stage {
    let (encoders, redacted) = (EventEncoders::new("bench"), redacted());
    warm(move || {
        black_box(batch(&encoders, black_box(&redacted)));
    })
}

/// To columns, to a block, and compressed.
fn encode_compressed() -> Stage {
    let (encoders, redacted) = (EventEncoders::new("bench"), redacted());
    warm(move || {
        black_box(batch(&encoders, black_box(&redacted)).finish());
    })
}

/// The same for requests of so many events, and the frame of a commit of them all.
fn frame(events: usize) -> Stage {
    let (encoders, mut encoder) = (EventEncoders::new("bench"), EventEncoder::new("bench"));
    let redacted = redacted();
    warm(move || {
        for events in redacted.chunks(events) {
            encoder.push(batch(&encoders, events).finish());
        }
        black_box(encoder.finish());
    })
}

/// Reading the frame of one request back.
fn frame_read() -> Stage {
    let mut encoder = EventEncoder::new("bench");
    encoder.push(batch(&EventEncoders::new("bench"), &redacted()).finish());
    let payload = Bytes::from(encoder.finish());
    warm(move || {
        black_box(Frame::parse(black_box(&payload)).unwrap());
    })
}

/// All stages from the bytes of a request to redacted events.
fn pipeline() -> Stage {
    let (pipeline, request, tenant) = (inputs::pipeline(), request(), tenant());
    warm(move || {
        pipeline.run(tenant, request.events().unwrap(), NOW, |event| {
            black_box(event);
        });
    })
}

/// And on to the frame, as a request goes through the collector.
fn everything() -> Stage {
    let (pipeline, request, tenant) = (inputs::pipeline(), request(), tenant());
    let (encoders, mut encoder) = (EventEncoders::new("bench"), EventEncoder::new("bench"));
    warm(move || {
        let mut batch = encoders.encoder();
        pipeline.run(tenant, request.events().unwrap(), NOW, |event| batch.push(event));
        encoder.push(batch.finish());
        black_box(encoder.finish());
    })
}

/// The request. It stays for good, so that its events may borrow from it.
fn request() -> &'static CollectRequest {
    Box::leak(Box::new(CollectRequest::new(events::request().encode_to_vec().into())))
}

fn tenant() -> &'static Tenant {
    Box::leak(Box::new(Tenant::new("acme")))
}

/// Its events, when they have gone through the stages.
fn redacted() -> Vec<Redacted<'static>> {
    let (pipeline, mut redacted) = (Box::leak(Box::new(inputs::pipeline())), Vec::new());
    pipeline.run(tenant(), request().events().unwrap(), NOW, |event| redacted.push(event.clone()));
    redacted
}
