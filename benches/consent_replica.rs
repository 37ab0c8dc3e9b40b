//! What the view of consent costs: memory, loading, look-ups and decisions.
//!
//! ```sh
//! cargo bench --bench consent_replica            # ten million people
//! cargo bench --bench consent_replica 1000000    # fewer
//! ```
//!
//! It starts a real ClickHouse, fills the ledger with one row a person, and loads the view from it
//! as a collector does.

// A measurement that cannot go on fails, and it prints what it has measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::cast_precision_loss)] // Figures are printed with a few digits.
#![allow(unsafe_code)] // An allocator is.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    path::Path,
    sync::{
        RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use assent::{
    clickhouse::{
        Client, Options,
        local::{LocalOptions, LocalServer},
        migrations,
    },
    consent::{
        Consent, ConsentScope, ConsentState, EligibilityReason, OVERLAP, Policy, Replica, ReplicaOptions,
        Source, TrainingScope, decide,
    },
    delivery::frame::SealRecord,
    event::{EventType, Jurisdiction, SubjectId},
    pipeline::ConsentFacts,
};
use hashbrown::HashMap;
use tokio_util::sync::CancellationToken;

/// Counts what is allocated, as it was asked for.
struct Counting;

static ALLOCATED_BYTES: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's, as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED_BYTES.fetch_add(size, Ordering::Relaxed);
        ALLOCATED_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The key of the pseudonyms in the ledger.
const KEY_ID: &str = "0123456789abcdef";
/// How many look-ups and decisions are timed.
const LOOK_UPS: u64 = 4_000_000;

fn main() {
    // `cargo bench` passes `--bench`, and `cargo test --benches` does not: then a few are enough to see that
    // it runs.
    let mut arguments = std::env::args().skip(1);
    let whole = std::env::args().any(|argument| argument == "--bench");
    let asked = arguments.find_map(|argument| argument.replace('_', "").parse().ok());
    let subjects: u64 = asked.unwrap_or(if whole { 10_000_000 } else { 10_000 });
    println!("{subjects} subjects, one row each");
    from_memory(subjects);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let replica = runtime.block_on(from_ledger(subjects));
    drop(runtime);
    look_ups(&replica, subjects);
    decisions(&replica, subjects);
}

/// The pseudonym of a number: as good as random, and the same as in [`FILL`].
fn subject(n: u64) -> SubjectId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&int_hash_64(n).to_be_bytes());
    bytes[8..].copy_from_slice(&int_hash_64(!n).to_be_bytes());
    SubjectId::from_bytes(bytes)
}

/// ClickHouse's `intHash64`.
const fn int_hash_64(n: u64) -> u64 {
    let n = n ^ 0x4cf2_d2ba_ae6d_a887;
    let n = (n ^ (n >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let n = (n ^ (n >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    n ^ (n >> 33)
}

/// One row a person, recorded a day ago and before, so that no tail reads them again.
const FILL: &str = "INSERT INTO consent_changes (tenant, subject_id, scope, state, source, policy_version,
        consent_version, jurisdiction, evidence, actor, consent_id, pseudonym_key_id, collector_id, recorded_at)
    SELECT 'acme', reinterpretAsUUID(concat(reinterpretAsFixedString(intHash64(number)),
            reinterpretAsFixedString(intHash64(bitNot(number))))),
        'first_party', if(number % 4 = 0, 'denied', 'granted'), 'user_setting', concat('2026-0', toString(number % 4)),
        1, 'DE', 'settings', 'self', generateUUIDv4(), '0123456789abcdef', 'bench',
        now64(6, 'UTC') - toIntervalDay(1) - toIntervalMillisecond(number)
    FROM numbers(";

fn options() -> ReplicaOptions {
    ReplicaOptions {
        refresh_interval: Duration::from_secs(1),
        max_staleness: Duration::from_secs(5),
        overlap: OVERLAP,
    }
}

fn from_memory(subjects: u64) {
    let before = ALLOCATED_BYTES.load(Ordering::Relaxed);
    let replica = Replica::new(options(), vec![KEY_ID.to_owned()]);
    let started = Instant::now();
    for n in 0..subjects {
        let (scope, state) = (ConsentScope::FirstParty, ConsentState::Granted);
        replica.apply(subject(n), scope, state, Source::UserSetting, "2026-01", 1);
    }
    rate("applied from memory", subjects, started.elapsed());
    let bytes = ALLOCATED_BYTES.load(Ordering::Relaxed) - before;
    println!(
        "memory: {:.2} bytes a subject, all told; it says {:.2} itself",
        per(bytes, subjects),
        per(replica.bytes(), subjects)
    );
    if let Some(kib) = resident_kib() {
        println!(
            "memory: the process has {} MB resident, of which {} MB were asked for",
            kib / 1_000,
            bytes / 1_000_000
        );
    }
    assert_eq!(replica.subjects() as u64, subjects);
}

/// What the system counts, where it says so.
fn resident_kib() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

async fn from_ledger(subjects: u64) -> Replica {
    let dir = tempfile::tempdir().unwrap();
    let executable = Path::new(env!("CARGO_BIN_EXE_assent")).to_owned();
    let server = LocalServer::start(LocalOptions::new(dir.path().to_owned(), executable)).await.unwrap();
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
    client.execute("SYSTEM STOP MERGES consent_changes").await.unwrap();
    client.execute(&format!("{FILL}{subjects})")).await.unwrap();

    let before = ALLOCATED_BYTES.load(Ordering::Relaxed);
    let replica = Replica::new(options(), vec![KEY_ID.to_owned()]);
    let stop = CancellationToken::new();
    let started = Instant::now();
    let task = tokio::spawn(replica.clone().run(client, stop.clone()));
    replica.watermark().wait_for(Option::is_some).await.unwrap();
    rate("loaded from ClickHouse on this machine", subjects, started.elapsed());
    let bytes = ALLOCATED_BYTES.load(Ordering::Relaxed) - before;
    println!("memory: {:.2} bytes a subject, connection and all", per(bytes, subjects));
    stop.cancel();
    task.await.unwrap();
    server.stop().await;
    assert_eq!(replica.subjects() as u64, subjects);
    replica
}

fn look_ups(replica: &Replica, subjects: u64) {
    // Numbers in the order of a hash: random for the memory.
    let any = |n: u64| int_hash_64(n) % subjects;
    let hits: Vec<_> = (0..LOOK_UPS).map(|n| subject(any(n))).collect();
    let misses: Vec<_> = (0..LOOK_UPS).map(|n| subject(subjects + n)).collect();
    for (what, wanted, there) in [("hit", &hits, true), ("miss", &misses, false)] {
        each(&format!("look-up, {what}, random order"), wanted, |subject| {
            assert_eq!(replica.known(&(*subject).into()).version() > 0, there);
        });
    }
    comparison(subjects, &hits);
}

/// What the machine does with a hash map of the same people, in the same minute: its memory is shared with
/// others, and some hours are twice as slow.
fn comparison(subjects: u64, hits: &[SubjectId]) {
    let before = ALLOCATED_BYTES.load(Ordering::Relaxed);
    let shards: Vec<RwLock<HashMap<SubjectId, [u8; 13]>>> = (0..256).map(|_| RwLock::default()).collect();
    let shard_of = |subject: &SubjectId| &shards[usize::from(subject.as_bytes()[15])];
    for subject in (0..subjects).map(subject) {
        shard_of(&subject).write().unwrap().insert(subject, [1; 13]);
    }
    let bytes = ALLOCATED_BYTES.load(Ordering::Relaxed) - before;
    println!("for comparison, hashbrown in 256 shards: {:.2} bytes a subject", per(bytes, subjects));
    each("for comparison, hashbrown: hit, random order", hits, |subject| {
        assert!(shard_of(subject).read().unwrap().get(subject).is_some());
    });
}

fn decisions(replica: &Replica, subjects: u64) {
    let policy = Policy::builtin();
    let facts = ConsentFacts {
        event_type: EventType::TypedText,
        feature: "autocomplete",
        jurisdiction: Jurisdiction::UNKNOWN,
        gpc: false,
    };
    let wanted: Vec<_> = (0..LOOK_UPS).map(|n| subject(int_hash_64(n) % subjects)).collect();
    let consent = Consent::Known(replica.known(&wanted[0].into()));
    each("decide, with consent at hand", &wanted, |_| {
        black_box(decide(black_box(&consent), &policy, &facts));
    });
    let mut record = SealRecord {
        row: 0,
        subject_id: subject(0),
        event_type: EventType::TypedText,
        gpc: false,
        training_scope: TrainingScope::FirstParty,
        reason: EligibilityReason::Granted,
        jurisdiction: Jurisdiction::UNKNOWN,
        feature: "autocomplete",
        received_at: None,
        consent_version: 1,
    };
    each("decide for the seal, its look-up included", &wanted, |subject| {
        record.subject_id = *subject;
        black_box(replica.decide_for_seal(&policy, &record));
    });
}

/// Times something in batches, and prints the median of them and what all but the slowest tenth stay
/// below: whatever else runs on the machine disturbs some batches, and would disturb an average.
fn each(what: &str, subjects: &[SubjectId], mut run: impl FnMut(&SubjectId)) {
    const BATCH: usize = 10_000;
    let mut nanos: Vec<_> = subjects
        .chunks_exact(BATCH)
        .map(|batch| {
            let started = Instant::now();
            batch.iter().for_each(&mut run);
            started.elapsed().as_secs_f64() * 1e9 / BATCH as f64
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!("{what}: {:.0} ns (90 %: {:.0} ns)", nanos[nanos.len() / 2], nanos[nanos.len() * 9 / 10]);
}

fn rate(what: &str, subjects: u64, elapsed: Duration) {
    let millions = subjects as f64 / elapsed.as_secs_f64() / 1e6;
    println!("{what}: {millions:.2} million subjects a second ({:.2} s)", elapsed.as_secs_f64());
}

fn per(bytes: usize, subjects: u64) -> f64 {
    bytes as f64 / subjects as f64
}
