//! What it costs that ClickHouse fsyncs before it confirms (ADR 8).
//!
//! ```sh
//! cargo bench --bench durability
//! ```
//!
//! Inserts go in turn into two tables that differ in these settings alone. Medians of wall-clock time, since
//! fsync costs waiting; compare them within one run.

// A measurement that cannot go on fails, and it prints what it has measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Instant;

use assent::clickhouse::{Client, columns};
use uuid::Uuid;

mod shared;

use shared::{Maker, start};

/// What is inserted: how many rows, or a change of consent, and how often.
const CASES: [(&str, Option<usize>, usize); 4] = [
    ("an insert of 500 rows", Some(500), 60),
    ("an insert of 5,000 rows", Some(5_000), 40),
    ("an insert of 50,000 rows", Some(50_000), 16),
    ("a change of consent", None, 100),
];

fn main() {
    // `cargo bench` passes `--bench`, and `cargo test --benches` does not: then a few are enough to see that
    // it runs.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let server = start(dir.path()).await;
        println!("| | without | with | with, without = 1 |\n|---|---|---|---|");
        for (what, rows, inserts) in CASES {
            measure(&server.client, what, rows, if whole { inserts } else { 2 }).await;
        }
        server.server.stop().await;
    });
}

async fn measure(client: &Client, what: &str, rows: Option<usize>, inserts: usize) {
    let like = if rows.is_some() { "events" } else { "consent_changes" };
    for on in [0, 1] {
        for sql in [
            format!("DROP TABLE IF EXISTS t{on}"),
            format!("CREATE TABLE t{on} AS {like}"),
            format!(
                "ALTER TABLE t{on} MODIFY SETTING fsync_after_insert = {on}, fsync_part_directory = {on},
                 min_rows_to_fsync_after_merge = {on}"
            ),
            format!("SYSTEM STOP MERGES t{on}"),
        ] {
            client.execute(&sql).await.unwrap();
        }
    }
    let maker = Maker::new();
    let mut seconds = [Vec::new(), Vec::new()];
    for n in 0..inserts {
        let pieces: Vec<bytes::Bytes> = match rows {
            Some(rows) => {
                let events: Vec<_> = (n * rows..(n + 1) * rows).map(|n| (n, Uuid::now_v7())).collect();
                maker.body(&events, &[])
            }
            None => {
                vec![format!(r#"{{"tenant":"acme","state":"denied","consent_version":{n}}}"#).into()]
            }
        };
        let token = n.to_string();
        // In turn, so that both have the same disk.
        for on in [n % 2, 1 - n % 2] {
            let (table, start) = (format!("t{on}"), Instant::now());
            if rows.is_some() {
                client.insert_native(&table, columns::INSERT_COLUMNS, &pieces, &token, &[]).await.unwrap();
            } else {
                let columns = "(tenant, state, consent_version)";
                client.insert_json(&table, columns, pieces[0].clone(), &token, &[]).await.unwrap();
            }
            seconds[on].push(start.elapsed().as_secs_f64());
        }
    }
    print_ratio(what, &mut seconds);
    let mut merges = [Vec::new(), Vec::new()];
    for (on, merges) in merges.iter_mut().enumerate() {
        client.execute(&format!("SYSTEM START MERGES t{on}")).await.unwrap();
        let start = Instant::now();
        client.execute(&format!("OPTIMIZE TABLE t{on} FINAL")).await.unwrap();
        merges.push(start.elapsed().as_secs_f64());
    }
    print_ratio("the merge of them all", &mut merges);
}

fn print_ratio(what: &str, seconds: &mut [Vec<f64>; 2]) {
    let [without, with] = seconds.each_mut().map(|seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2] * 1e3
    });
    println!("| {what} | {without:.1} ms | {with:.1} ms | {:.2} |", with / without);
}
