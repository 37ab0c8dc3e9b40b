//! What happened in a scenario, as figures, and whether it was enough to prove anything.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    checker::{Fault, Finding},
    fleet::Fleet,
    history::History,
    rows::Rows,
    way::Way,
};

/// Figures by name, in their order, and which of them may not be too low.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    lines: Vec<(String, u64, Option<u64>)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, figure: u64) {
        self.lines.push((name.to_owned(), figure, None));
    }

    /// With less than that the attack was none.
    pub(crate) fn at_least(&mut self, name: &str, figure: u64, least: u64) {
        self.lines.push((name.to_owned(), figure, Some(least)));
    }

    pub(crate) fn get(&self, name: &str) -> u64 {
        self.lines.iter().find(|(known, ..)| known.trim() == name).map_or(0, |(_, figure, _)| *figure)
    }

    /// What every scenario counts.
    pub(crate) fn of(history: &History, rows: &Rows, findings: &[Finding]) -> Self {
        let mut report = Self::default();
        let of =
            |fits: &[Fault]| findings.iter().filter(move |it| fits.contains(&it.fault)).collect::<Vec<_>>();
        // Of an event that is lost, several places say so.
        let events = |fits: &[Fault]| {
            of(fits).into_iter().map(|it| it.key).collect::<std::collections::HashSet<_>>().len() as u64
        };
        let [lost, doubled] = [&[Fault::Lost][..], &[Fault::CountsTwice, Fault::InsertedTwice]];
        let copies: u64 = rows.stored.values().map(|found| u64::from(found.copies)).sum();
        report.add("events sent", history.events.len() as u64);
        report.at_least("  acknowledged", history.count(|it| it.acknowledged > 0), 100);
        report.add("  of unknown outcome", history.count(|it| it.is_unknown() && !it.is_bad));
        report.add("  refused each time", history.count(|it| it.refused > 0 && it.refused == it.requests));
        report.add("  rejected, as they had to be", history.count(|it| it.rejected > 0));
        report.add("  sent once", history.count(|it| it.requests == 1));
        report.add("  sent to two collectors", history.count(|it| it.collectors.count_ones() > 1));
        report.add("rows", copies);
        report.add("  beyond one an event, of events sent more than once", copies - rows.stored.len() as u64);
        report.add("LOST", events(lost));
        report.add("DOUBLED", events(doubled));
        report.add("OTHER FINDINGS", (findings.len() - of(lost).len() - of(doubled).len()) as u64);
        report
    }

    pub(crate) fn add_fleet(&mut self, fleet: &Fleet) {
        self.add("kill -9 of collectors", fleet.kills);
        self.add("  of some that were starting", fleet.kills_at_start);
    }

    pub(crate) fn add_way(&mut self, way: &Way) {
        self.add("inserts on the way", way.tally.inserts());
        for (name, figure) in way.tally.figures() {
            self.add(&format!("  {name}"), figure);
        }
    }

    /// What happened too seldom.
    pub(crate) fn lacks(&self) -> Vec<String> {
        let lacking =
            self.lines.iter().filter(|(_, figure, least)| least.is_some_and(|least| *figure < least));
        lacking
            .map(|(name, figure, least)| {
                format!("{}: {figure}, of {}", name.trim(), least.unwrap_or_default())
            })
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|(name, figure, _)| writeln!(f, "{figure:>12}  {name}"))
    }
}

/// A line of the table of all scenarios.
#[derive(Clone, Debug, Default)]
struct Line {
    scenario: &'static str,
    figures: [u64; 6],
    took: Duration,
}

const COLUMNS: [&str; 6] = ["acknowledged", "rows", "kills", "faults", "lost", "doubled"];

/// What the scenarios of this process came to so far.
static TABLE: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Adds a scenario's figures, or those of one more round of it, and gives the table as it is now.
pub(crate) fn tabulate(scenario: &'static str, report: &Report, took: Duration) -> String {
    let kills = report.get("kill -9 of collectors")
        + report.get("of some that were starting")
        + report.get("kill -9 of ClickHouse")
        + report.get("SIGTERM");
    let faults =
        ["answers lost", "answers late", "bodies cut", "connections reset", "bodies in dribs and drabs"]
            .iter()
            .map(|name| report.get(name))
            .sum::<u64>()
            + report.get("inserts delivered late");
    let figures = [
        report.get("acknowledged"),
        report.get("rows"),
        kills,
        faults,
        report.get("LOST"),
        report.get("DOUBLED"),
    ];
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    match table.iter_mut().find(|line| line.scenario == scenario) {
        None => table.push(Line { scenario, figures, took }),
        Some(line) => {
            line.figures.iter_mut().zip(figures).for_each(|(sum, more)| *sum += more);
            line.took += took;
        }
    }
    let mut all = Line { scenario: "all", ..Line::default() };
    for line in table.iter() {
        all.figures.iter_mut().zip(line.figures).for_each(|(sum, more)| *sum += more);
        all.took += line.took;
    }
    let head = COLUMNS.map(|name| format!("{name:>13}")).concat();
    let lines: Vec<String> = table
        .iter()
        .chain([&all])
        .map(|line| {
            let figures = line.figures.map(|figure| format!("{figure:>13}")).concat();
            format!("{:<16}{figures}{:>8.1}", line.scenario, line.took.as_secs_f64())
        })
        .collect();
    format!("{:<16}{head}{:>8}\n{}", "scenario", "seconds", lines.join("\n"))
}
