//! A run as a picture: what came through and what it cost, beside ClickHouse alone where that was measured; how long
//! clients and readers waited; and what happened over time.

mod panel;
mod svg;

use panel::{Bar, Series, bars, lines, whole};
use svg::{Anchor, Area, Svg};

use crate::report::{Comparison, Cost, Report};

const WIDTH: f64 = 1_000.0;
const MARGIN: f64 = 24.0;
const GAP: f64 = 32.0;
const HEAD: f64 = 78.0;
const ROW: f64 = 190.0;
const COLLECTOR: &str = "#2b6cb0";
const CLICKHOUSE: &str = "#d69e2e";
const ALONE: &str = "#a0aec0";
const GENERATOR: &str = "#cbd5e0";
const WAITING: &str = "#38806b";

/// Draws a run.
pub(crate) fn draw(report: &Report) -> String {
    let over_time = report.delivery.seconds_to_visible.is_some() || report.memory.is_some();
    let height = HEAD + ROW * if over_time { 3.0 } else { 2.0 } + MARGIN;
    let mut svg = Svg::new(WIDTH, height);
    head(&mut svg, report);
    let panel = |column: u8, row: u8| {
        let width = (WIDTH - 2.0 * MARGIN - GAP) / 2.0;
        Area {
            x: MARGIN + f64::from(column) * (width + GAP),
            y: HEAD + ROW * f64::from(row),
            width,
            height: ROW - 16.0,
        }
    };
    let half =
        report.comparison.as_ref().and_then(|it| it.baseline.best()).map(|best| best.rows_per_second / 2.0);
    let half = half.map(|half| (half, "half of the best without a collector"));
    bars(&mut svg, panel(0, 0), "Rows a second, until they can be read", &rows(report), half);
    bars(&mut svg, panel(1, 0), "CPU seconds a million rows", &cpu(report), None);
    let ms = |label: &str, value: f64| Bar {
        label: label.to_owned(),
        value,
        shown: milliseconds(value),
        colour: WAITING,
    };
    let ack = &report.acknowledgement_ms;
    let waiting = [("p50", ack.p50), ("p99", ack.p99), ("p99.9", ack.p99_9), ("max", ack.max)];
    let waiting: Vec<Bar> = waiting.iter().map(|(label, value)| ms(label, *value)).collect();
    bars(&mut svg, panel(0, 1), "Acknowledgement, from when a request was due", &waiting, None);
    let lag = &report.delivery.visible_lag_ms;
    let seal = &report.delivery.seal_lag_ms;
    let after = [
        ("visible, p50", lag.p50),
        ("visible, p99", lag.p99),
        ("sealed, p50", seal.p50),
        ("sealed, p99", seal.p99),
    ];
    let after: Vec<Bar> = after.iter().map(|(label, value)| ms(label, *value)).collect();
    bars(&mut svg, panel(1, 1), "From acknowledged to visible, from received to sealed", &after, None);
    if over_time {
        let points =
            report.delivery.visible_lag_over_time.iter().map(|point| (point.seconds, point.ms)).collect();
        let series = [Series { name: "of the newest row", colour: WAITING, points }];
        lines(&mut svg, panel(0, 2), "From acknowledged to visible, over the run", "ms", &series);
        lines(&mut svg, panel(1, 2), "Resident memory, over the run", "MiB", &memory(report));
    }
    svg.finish()
}

#[allow(clippy::cast_precision_loss, reason = "events of a run are far below 2^53")]
fn head(svg: &mut Svg, report: &Report) {
    let (scenario, machine) = (&report.scenario, &report.machine);
    let title = format!(
        "{}: {}, {} a request, {} connections",
        scenario.name, scenario.rate, scenario.events_per_request, scenario.connections
    );
    svg.text((MARGIN, 30.0), Anchor::Start, "font-size=\"18\" font-weight=\"bold\" fill=\"#222222\"", &title);
    let below = format!(
        "{} events acknowledged, {:.0} bytes each, {:.0} of them text; {}, {} cores, {}, load before {:.1}{}",
        whole(report.sending.acknowledged_events as f64),
        report.sending.bytes_per_event,
        report.sending.text_bytes_per_event,
        machine.processor,
        machine.cores,
        machine.filesystem,
        machine.load_before,
        if report.failures.is_empty() { "" } else { "; FAILED" }
    );
    svg.text((MARGIN, 52.0), Anchor::Start, "fill=\"#555555\"", &below);
}

fn rows(report: &Report) -> Vec<Bar> {
    let bar = |label: String, value: f64, colour| Bar { label, value, shown: whole(value), colour };
    let mut bars = Vec::new();
    if let Some(rows) = report.delivery.rows_per_second {
        bars.push(bar("through the collector".to_owned(), rows, COLLECTOR));
    }
    for load in report.comparison.iter().flat_map(|it| &it.baseline.loads) {
        let label = format!("ClickHouse alone, {} at once", load.parallel_inserts);
        bars.push(bar(label, load.rows_per_second, ALONE));
    }
    bars
}

fn cpu(report: &Report) -> Vec<Bar> {
    let bar = |label: String, value: f64, colour| Bar { label, value, shown: format!("{value:.2}"), colour };
    let mut bars = Vec::new();
    if let Some(processes) = &report.processes {
        let of = |cost: &Cost| cost.cpu_seconds_per_million_rows;
        bars.push(bar("collector".to_owned(), of(&processes.collector), COLLECTOR));
        bars.push(bar("ClickHouse".to_owned(), of(&processes.clickhouse), CLICKHOUSE));
        bars.push(bar("generator".to_owned(), of(&processes.generator), GENERATOR));
    }
    if let Some(Comparison { baseline, .. }) = &report.comparison {
        for load in &baseline.loads {
            if let Some(cpu) = load.clickhouse_cpu_seconds_per_million_rows {
                bars.push(bar(format!("ClickHouse alone, {} at once", load.parallel_inserts), cpu, ALONE));
            }
        }
    }
    bars
}

#[allow(clippy::cast_precision_loss, reason = "memory is far below 2^53 bytes")]
fn memory(report: &Report) -> Vec<Series> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let timeline = || report.memory.iter().flat_map(|memory| &memory.timeline);
    vec![
        Series {
            name: "collector",
            colour: COLLECTOR,
            points: timeline().map(|it| (it.seconds, mib(it.collector_bytes))).collect(),
        },
        Series {
            name: "ClickHouse",
            colour: CLICKHOUSE,
            points: timeline().map(|it| (it.seconds, mib(it.clickhouse_bytes))).collect(),
        },
    ]
}

fn milliseconds(ms: f64) -> String {
    if ms >= 1_000.0 { format!("{:.2} s", ms / 1_000.0) } else { format!("{ms:.1} ms") }
}
