//! An export beside one stream of the same query.
//!
//! ```sh
//! cargo bench --bench export              # a million rows
//! cargo bench --bench export 10000000     # more
//! ```
//!
//! It starts a real ClickHouse and fills `events` with eligible rows, and a tenth as many that are not, with texts of 174
//! bytes on average. Then, in turn: the training view's rows are streamed into one file with `FORMAT Parquet`, as
//! `clickhouse-client` would, from the view that everybody reads and from the one with a range; and a dataset is made of them, checks
//! and all. All with the same columns and compression; files are fsynced. The least time of each counts, and the least CPU
//! time of ClickHouse, which says more on a busy machine.

// A measurement that cannot go on fails, and it prints what it has measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::cast_precision_loss)] // Figures are printed with a few digits.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use assent::{
    clickhouse::{Client, Options},
    export::{IdRange, Scope, Selection, Source, build, create, record::Recorder, verify},
};

mod shared;

use shared::{Server, start};

/// Each is timed so often.
const ROUNDS: usize = 3;
/// Rows of one insert.
const INSERT_ROWS: usize = 500_000;

fn main() {
    // `cargo bench` passes `--bench`, and `cargo test --benches` does not: then a few are enough to see that it runs.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::args().skip(1).find_map(|argument| argument.replace('_', "").parse().ok());
    let rows: usize = asked.unwrap_or(if whole { 1_000_000 } else { 20_000 });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(rows));
}

async fn measure(rows: usize) {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&dir.path().join("clickhouse")).await;
    fill(&server, rows).await;
    let options = Options {
        url: server.server.url(),
        database: "assent".to_owned(),
        user: "default".to_owned(),
        password: "".into(),
        insert_timeout: Duration::from_secs(600),
        query_timeout: Duration::from_secs(600),
    };
    let selection = Selection {
        scope: Scope::FirstParty,
        from_day: "2026-03-01".parse().unwrap(),
        to_day: "2026-03-03".parse().unwrap(),
    };
    let ranged = selection.rows(IdRange::ALL);
    let (columns, _) = ranged.split_once(" FROM ").unwrap();
    let whole = format!(
        "{columns} FROM training_first_party WHERE toDate(received_at) BETWEEN '2026-03-01' AND '2026-03-03'"
    );
    let build = build::Options {
        source: Source::new(&options).unwrap(),
        recorder: Some(Recorder::new(&options).unwrap()),
        max_shard_bytes: 128 << 20,
    };
    let names = [
        "one stream of training_first_party",
        "one stream of the view with a range",
        "assent export",
        "assent export verify",
    ];
    let (mut least, mut cpu) = ([f64::INFINITY; 4], [f64::INFINITY; 4]);
    let mut bytes = [0; 4];
    for round in 0..ROUNDS {
        let file = dir.path().join("one.parquet");
        for (n, sql) in [&whole, &ranged].into_iter().enumerate() {
            let (begun, cpu_before) = (Instant::now(), server.cpu());
            bytes[n] = stream(&options, sql, &file).await;
            least[n] = least[n].min(begun.elapsed().as_secs_f64());
            cpu[n] = cpu[n].min(server.cpu() - cpu_before);
        }
        let out = dir.path().join(format!("set-{round}"));
        let (begun, cpu_before) = (Instant::now(), server.cpu());
        let report = create(&build, selection, &out).await.unwrap();
        least[2] = least[2].min(begun.elapsed().as_secs_f64());
        cpu[2] = cpu[2].min(server.cpu() - cpu_before);
        assert_eq!(report.manifest.rows, rows as u64);
        bytes[2] = report.manifest.bytes;
        let (begun, cpu_before) = (Instant::now(), server.cpu());
        let verified = verify(&build.source, &out, &dir.path().join("list.parquet")).await.unwrap();
        least[3] = least[3].min(begun.elapsed().as_secs_f64());
        cpu[3] = cpu[3].min(server.cpu() - cpu_before);
        assert_eq!(verified.revoked, 0);
        std::fs::remove_dir_all(&out).unwrap();
    }
    println!("{rows} rows\n\n| | s | rows a second | CPU s of ClickHouse | MB |\n|---|---|---|---|---|");
    for (((name, seconds), cpu), bytes) in names.iter().zip(least).zip(cpu).zip(bytes) {
        let (rate, mb) = (rows as f64 / seconds, bytes as f64 / 1e6);
        println!("| {name} | {seconds:.1} | {rate:.0} | {cpu:.1} | {mb:.0} |");
    }
    server.server.stop().await;
}

async fn stream(options: &Options, sql: &str, file: &Path) -> u64 {
    let client = Client::new(options).unwrap().without_compression();
    let settings = [
        ("output_format_parquet_compression_method", "zstd"),
        ("output_format_parquet_row_group_size", "100000"),
    ];
    let mut pieces = client.query_stream(sql, &[], "Parquet", &settings).unwrap();
    let mut file = File::create(file).unwrap();
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await.unwrap() {
        file.write_all(&piece).unwrap();
        bytes += piece.len() as u64;
    }
    file.sync_all().unwrap();
    bytes
}

async fn fill(server: &Server, rows: usize) {
    server.client.execute("INSERT INTO redaction_rules (version, digest) VALUES ('r1', 'd')").await.unwrap();
    for (scope, reason, rows) in [("first_party", "granted", rows), ("none", "denied", rows / 10)] {
        for from in (0..rows).step_by(INSERT_ROWS) {
            let rows = INSERT_ROWS.min(rows - from);
            server
                .client
                .execute(&format!(
                    "INSERT INTO events (training_scope, eligibility_reason, consent_state, consent_source,
                         consent_version, policy_version, policy_digest, jurisdiction, received_at, occurred_at,
                         sealed_at, tenant, subject_id, event_id, session_id, interaction_id, feature, model,
                         client_name, client_version, platform, event_type, language, text, redactions,
                         redaction_version)
                     SELECT '{scope}', '{reason}', 'granted', 'user_setting', 1, 'terms-1', 'digest-1', 'DE',
                         toDateTime64('2026-03-01 12:00:00', 6, 'UTC') + toIntervalDay(number % 3) AS at, at, at,
                         'acme', reinterpretAsUUID(sipHash128(number % 20000)), generateUUIDv7(number),
                         hex(sipHash64(number)), toString(generateUUIDv4()), ['compose', 'reply', 'note'][number % 3 + 1],
                         'quill-2', 'editor-web', '4.18', 'web', 'typed_text', ['en', 'de', 'fr'][number % 3 + 1],
                         arrayStringConcat(arrayMap(it -> ['the', 'meeting', 'has', 'been', 'moved', 'to', 'another',
                             'room', 'please', 'answer', 'before', 'noon', 'thanks', 'for', 'everything', 'see',
                             'you', 'there', 'tomorrow', 'regards'][sipHash64(number, it) % 20 + 1], range(31)), ' '),
                         map('EMAIL', toUInt16(number % 3)), 'r1'
                     FROM numbers({from}, {rows})"
                ))
                .await
                .unwrap();
        }
    }
}
