//! What the stages cost that every event goes through, each on its own, on one thread.
//!
//! ```sh
//! cargo bench --bench stages                     # all of them
//! cargo bench --bench stages -- redact/english   # those whose name holds this
//! ```
//!
//! A name is `stage/what`, and what is measured is a set of 64 inputs; the figures to read are the throughputs,
//! in bytes and in elements. Texts are made up, and the same in every run (`texts.rs`): `short` ones have 20 to
//! 240 bytes, `medium` ones up to 1,000 and `long` ones 4 KiB; `clean` ones hold no personal data, and `telling`
//! ones do. Criterion keeps the figures of the last run and says what has changed.

// A measurement that cannot go on fails.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use assent::{
    event::{RawText, RawUserId, Tenant},
    pipeline::{PseudonymKey, Pseudonymiser, Redactor},
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

mod texts;

use texts::{Language, Size};

/// A typical author: one whose id does not occur in the texts.
const AUTHOR: &str = "user-48213";

criterion_group!(stages, redact, pseudonymise);
criterion_main!(stages);

/// Taking personal data out of one text: every kind, and the author's id.
fn redact(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("redact");
    let redactor = Redactor::new();
    let author = RawUserId::new(AUTHOR.to_owned());
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
                    bencher.iter_batched(
                        || set.iter().cloned().map(RawText::new).collect::<Vec<_>>(),
                        |set| {
                            let redact = |text| redactor.redact_evidence(black_box(text), &author);
                            set.into_iter().map(redact).collect::<Vec<_>>()
                        },
                        BatchSize::SmallInput,
                    );
                });
            }
        }
    }
    group.finish();
}

/// The pseudonym of one person, by what tenants take for ids.
fn pseudonymise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pseudonymise");
    let pseudonymiser = Pseudonymiser::new(&PseudonymKey::generate().unwrap());
    let tenant = Tenant::new("acme");
    for (kind, ids) in [
        ("handle", user_ids(|n| format!("user-{n}"))),
        ("uuid", user_ids(|n| uuid::Uuid::from_u128(u128::from(n) << 64 | 0x4000_8000).to_string())),
        ("email", user_ids(|n| format!("firstname.lastname.{n}@department.example.com"))),
    ] {
        group.throughput(Throughput::ElementsAndBytes {
            elements: ids.len() as u64,
            bytes: ids.iter().map(|id| id.expose().len() as u64).sum(),
        });
        group.bench_function(kind, |bencher| {
            bencher.iter(|| {
                for id in &ids {
                    black_box(pseudonymiser.subject(&tenant, black_box(id)));
                }
            });
        });
    }
    group.finish();
}

/// As many as there are texts in a set.
fn user_ids(id: impl Fn(u64) -> String) -> Vec<RawUserId> {
    (0..64).map(|n| RawUserId::new(id(n * 7_919))).collect()
}
