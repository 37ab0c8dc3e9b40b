//! What the stages cost that every event goes through, each on its own, on one thread.
//!
//! ```sh
//! cargo bench --bench stages                     # all of them
//! cargo bench --bench stages -- redact/english   # those whose name holds this
//! ```
//!
//! A name is `stage/what`, and what is measured is a set of 64 inputs, or a request of 500 events (`events.rs`); the
//! figures to read are the throughputs, in bytes and in elements. Texts are made up, and the same in every run (`texts.rs`): `short` ones have 20 to
//! 240 bytes, `medium` ones up to 1,000 and `long` ones 4 KiB; `clean` ones hold no personal data, and `telling`
//! ones do. Criterion keeps the figures of the last run and says what has changed.

// A measurement that cannot go on fails.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use assent::{
    consent::{Policy, decide as decide_on},
    delivery::{EventEncoder, EventEncoders, frame::Frame},
    event::{RawText, RawUserId, Redacted, Tenant},
    ingress::{proto, request::CollectRequest},
    pipeline::{Limits, Redactor, Validator},
    spool::GroupEncoder as _,
};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;

mod events;
mod inputs;
mod texts;

use events::{EVENTS, NOW};
use inputs::{AUTHOR, batch};
use texts::{Language, Size};

criterion_group!(stages, decode, validate, decide, redact, pseudonymise, pipeline, encode, frame);
criterion_main!(stages);

/// Taking personal data out of one text: every kind, and the author's id.
fn redact(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("redact");
    let (redactor, tenant) = (Redactor::new(), Tenant::new("acme"));
    let author = RawUserId::new(AUTHOR);
    for language in Language::ALL {
        for size in Size::ALL {
            for (kind, set) in
                [("clean", texts::clean(language, size)), ("telling", texts::telling(language, size))]
            {
                group.throughput(Throughput::ElementsAndBytes {
                    elements: set.len() as u64,
                    bytes: texts::bytes(&set),
                });
                group.bench_function(format!("{}/{}/{kind}", language.name(), size.name), |bencher| {
                    bencher.iter(|| {
                        for text in &set {
                            black_box(redactor.redact_evidence(
                                &tenant,
                                RawText::new(black_box(text)),
                                author,
                            ));
                        }
                    });
                });
            }
        }
    }
    // Bytes a second must not fall with the length.
    for (kind, piece) in texts::WORST {
        for kib in [1, 8, 64] {
            let text = piece.repeat(kib * 1024 / piece.len());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("worst/{kind}/{kib}KiB"), |bencher| {
                bencher.iter(|| redactor.redact(RawText::new(black_box(&text))).1.is_empty());
            });
        }
    }
    group.finish();
}

/// The pseudonym of one person, by what tenants take for ids.
fn pseudonymise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pseudonymise");
    let pseudonymiser = inputs::pseudonymiser();
    let tenant = Tenant::new("acme");
    for (kind, id) in inputs::USER_IDS {
        let ids = inputs::user_ids(id);
        group.throughput(Throughput::ElementsAndBytes {
            elements: ids.len() as u64,
            bytes: ids.iter().map(|id| id.len() as u64).sum(),
        });
        group.bench_function(kind, |bencher| {
            bencher.iter(|| {
                for id in &ids {
                    black_box(pseudonymiser.subjects(&tenant, RawUserId::new(black_box(id))));
                }
            });
        });
    }
    group.finish();
}

/// The bytes of a request to events that borrow from it, beside what the library makes of the same bytes.
fn decode(criterion: &mut Criterion) {
    let message = Bytes::from(events::request().encode_to_vec());
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::ElementsAndBytes { elements: EVENTS, bytes: message.len() as u64 });
    let request = CollectRequest::new(message.clone());
    group.bench_function("borrowed", |bencher| bencher.iter(|| request.events().unwrap().len()));
    group.bench_function("prost", |bencher| {
        bencher.iter(|| proto::CollectRequest::decode(message.clone()).unwrap().events.len());
    });
    group.finish();
}

/// Every rule of the contract.
fn validate(criterion: &mut Criterion) {
    let request = CollectRequest::new(events::request().encode_to_vec().into());
    let received = request.events().unwrap();
    let (validator, tenant) = (Validator::new(Limits::default()), Tenant::new("acme"));
    let mut group = criterion.benchmark_group("validate");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("events", |bencher| {
        bencher.iter(|| {
            for event in &received {
                black_box(validator.validate(&tenant, black_box(event.clone()), NOW).unwrap());
            }
        });
    });
    group.finish();
}

/// The decision alone, with a person's consent at hand; `consent_replica` measures the look-up.
fn decide(criterion: &mut Criterion) {
    let (policy, facts) = (Policy::builtin(), inputs::facts());
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(1));
    for (name, consent) in inputs::consents() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| decide_on(black_box(&consent), &policy, black_box(&facts)));
        });
    }
    group.finish();
}

/// All stages but decoding, without encoding: what `validate`, `pseudonymise` and `redact` come to together.
fn pipeline(criterion: &mut Criterion) {
    let request = CollectRequest::new(events::request().encode_to_vec().into());
    let (pipeline, tenant) = (inputs::pipeline(), Tenant::new("acme"));
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("without encoding", |bencher| {
        bencher.iter(|| {
            let received = request.events().unwrap();
            pipeline.run(&tenant, received, NOW, |event| {
                black_box(event);
            })
        });
    });
    group.finish();
}

/// Redacted events to columns, to a block, and compressed.
fn encode(criterion: &mut Criterion) {
    let request = CollectRequest::new(events::request().encode_to_vec().into());
    let (pipeline, tenant, mut redacted) = (inputs::pipeline(), Tenant::new("acme"), Vec::new());
    pipeline.run(&tenant, request.events().unwrap(), NOW, |event| redacted.push(event.clone()));
    let encoders = EventEncoders::new("bench");
    let encode = |events: &[Redacted<'_>]| batch(&encoders, events).finish();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("columns", |bencher| bencher.iter(|| batch(&encoders, black_box(&redacted))));
    group.bench_function("columns, compressed", |bencher| bencher.iter(|| encode(black_box(&redacted))));
    group.finish();
}

/// The frame of a commit, of one request of 500 events and of 500 requests of one; and reading it back.
fn frame(criterion: &mut Criterion) {
    let request = CollectRequest::new(events::request().encode_to_vec().into());
    let (pipeline, tenant, mut redacted) = (inputs::pipeline(), Tenant::new("acme"), Vec::new());
    pipeline.run(&tenant, request.events().unwrap(), NOW, |event| redacted.push(event.clone()));
    let (encoders, mut encoder) = (EventEncoders::new("bench"), EventEncoder::new("bench"));
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(EVENTS));
    for (name, size) in [("one request of 500", 500), ("50 requests of 10", 10), ("500 requests of one", 1)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for events in redacted.chunks(size) {
                    encoder.push(batch(&encoders, events).finish());
                }
                encoder.finish()
            });
        });
    }
    encoder.push(batch(&encoders, &redacted).finish());
    let payload = Bytes::from(encoder.finish());
    group.bench_function("read", |bencher| bencher.iter(|| Frame::parse(black_box(&payload)).unwrap()));
    group.finish();
}
