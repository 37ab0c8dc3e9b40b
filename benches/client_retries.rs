//! What it costs that a client's retry counts once: at inserts, at merges and at reads.
//!
//! ```sh
//! cargo bench --bench client_retries            # a million events
//! cargo bench --bench client_retries 200000     # fewer
//! ```
//!
//! It starts a real ClickHouse and inserts the same events, in turn, into three tables: `events` as it is
//! shipped; the same as a plain `MergeTree`, which keeps every retry; and the shipped one with event ids of
//! version 4, which do not rise with time. One event in fifty is retried in the next insert, half of them after
//! its author said no. Figures are CPU seconds of ClickHouse, so what else the machine does counts little; compare
//! them within one run.

// A measurement that cannot go on fails, and it prints what it has measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(clippy::cast_precision_loss)] // Figures are printed with a few digits.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use assent::clickhouse::columns;
use uuid::Uuid;

mod shared;

use shared::{Maker, Server, start};

/// Events of one insert: what comes in a second at 25,000 a second.
const INSERT_EVENTS: usize = 25_000;
/// One event in so many is retried.
const RETRIED: usize = 50;
/// Each query is timed so often; the least counts.
const READS: usize = 5;

const VARIANTS: [&str; 3] = ["as shipped", "as they come", "ids of version 4"];

fn main() {
    // `cargo bench` passes `--bench`, and `cargo test --benches` does not: then a few are enough to see that
    // it runs.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::args().skip(1).find_map(|argument| argument.replace('_', "").parse().ok());
    let events: usize = asked.unwrap_or(if whole { 1_000_000 } else { 50_000 });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(events.div_ceil(INSERT_EVENTS)));
}

/// An id of version 4.
fn random_id() -> Uuid {
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().build_hasher().finish().to_le_bytes());
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

async fn measure(inserts: usize) {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path()).await;
    let shipped = server.text("SELECT create_table_query AS text FROM system.tables WHERE database = 'assent' AND name = 'events'").await;
    for (table, engine) in [("as_they_come", "MergeTree"), ("random_ids", "ReplacingMergeTree(narrowness)")] {
        let sql = shipped.replace("assent.events", table).replace("ReplacingMergeTree(narrowness)", engine);
        assert_ne!(sql, shipped, "the table is made in another way now");
        server.client.execute(&sql).await.unwrap();
    }
    let tables = ["events", "as_they_come", "random_ids"];
    for table in tables {
        server.client.execute(&format!("SYSTEM STOP MERGES {table}")).await.unwrap();
    }
    let inserted = insert(&server, &tables, inserts).await;

    println!(
        "{} events, {} of them sent twice, {inserts} inserts",
        inserts * INSERT_EVENTS,
        (inserts - 1) * INSERT_EVENTS / RETRIED
    );
    println!("\n| CPU s | {} |", VARIANTS.join(" | "));
    println!("|---|---|---|---|");
    line("inserts", &inserted);
    reads(&server, &tables, "many parts").await;
    let mut merged = [0.0; 3];
    for (table, merged) in tables.iter().zip(&mut merged) {
        server.client.execute(&format!("SYSTEM START MERGES {table}")).await.unwrap();
        let before = server.cpu();
        server.client.execute(&format!("OPTIMIZE TABLE {table} FINAL")).await.unwrap();
        *merged = server.cpu() - before;
    }
    line("merges", &merged);
    reads(&server, &tables, "merged").await;
    let mut bytes = [0.0; 3];
    for (table, bytes) in tables.iter().zip(&mut bytes) {
        let sql = "SELECT sum(bytes_on_disk) AS n FROM system.parts WHERE active AND database = 'assent' AND table = ";
        *bytes = server.number(&format!("{sql}'{table}'")).await as f64 / (inserts * INSERT_EVENTS) as f64;
    }
    line("bytes an event, merged", &bytes);
    server.server.stop().await;
}

/// Inserts into each table in turn, so that whatever else the machine does meets all of them.
async fn insert(server: &Server, tables: &[&str; 3], inserts: usize) -> [f64; 3] {
    let maker = Maker::new();
    let (mut cpu, mut before): ([f64; 3], [Vec<(usize, Uuid)>; 2]) = ([0.0; 3], [Vec::new(), Vec::new()]);
    for insert in 0..inserts {
        let numbers = insert * INSERT_EVENTS..(insert + 1) * INSERT_EVENTS;
        let events = [Uuid::now_v7 as fn() -> Uuid, random_id]
            .map(|id| numbers.clone().map(|n| (n, id())).collect::<Vec<_>>());
        let bodies = [0, 1].map(|of| {
            let retries: Vec<_> = before[of].iter().step_by(RETRIED).copied().collect();
            maker.body(&events[of], &retries)
        });
        for (at, table) in tables.iter().enumerate() {
            let body = &bodies[usize::from(at == 2)];
            let started = server.cpu();
            server
                .client
                .insert_native(table, columns::INSERT_COLUMNS, body, &format!("bench:{insert}"), &[])
                .await
                .unwrap();
            cpu[at] += server.cpu() - started;
        }
        before = events;
    }
    cpu
}

async fn reads(server: &Server, tables: &[&str; 3], state: &str) {
    let all = "sum(cityHash64(*)) AS n";
    for (what, columns, modifier) in
        [("count()", "count() AS n", "FINAL"), ("all columns", all, ""), ("all columns, FINAL", all, "FINAL")]
    {
        let mut cpu = [0.0; 3];
        for (table, cpu) in tables.iter().zip(&mut cpu) {
            // Of a plain MergeTree, nothing is left to choose.
            let modifier = if *table == "as_they_come" { "" } else { modifier };
            *cpu = read(server, &format!("SELECT {columns} FROM {table} {modifier}")).await;
        }
        line(&format!("{what}, {state}"), &cpu);
    }
    let view = read(server, &format!("SELECT {all} FROM training_first_party")).await;
    println!("| `training_first_party`, {state} | {view:.2} | | |");
    let mut rows = [0.0; 3];
    for (table, rows) in tables.iter().zip(&mut rows) {
        let modifier = if *table == "as_they_come" { "" } else { "FINAL" };
        *rows = server.number(&format!("SELECT count() AS n FROM {table} {modifier}")).await as f64;
    }
    println!("| events that are counted, {state} | {} | {} | {} |", rows[0], rows[1], rows[2]);
}

/// CPU seconds of a query, the least of some tries.
async fn read(server: &Server, sql: &str) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..READS {
        let before = server.cpu();
        server.number(sql).await;
        least = least.min(server.cpu() - before);
    }
    least
}

fn line(what: &str, figures: &[f64; 3]) {
    let [first, rest @ ..] = figures;
    let rest = rest.map(|figure| format!("{figure:.2} ({:.2})", figure / first));
    println!("| {what} | {first:.2} | {} |", rest.join(" | "));
}
