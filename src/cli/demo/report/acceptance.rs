//! How often suggestions were taken, by feature and language.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::Scope;
use crate::cli::demo::{
    layout::{Cell, Page, bar},
    queries::{self, AcceptanceRow},
};

/// The width of a bar, in columns.
const BAR: usize = 10;

/// Feedback and how much of it took the suggestion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    feedback: u64,
    accepted: u64,
}

impl Tally {
    fn add(&mut self, row: &AcceptanceRow) {
        self.feedback += row.feedback;
        self.accepted += row.accepted;
    }

    /// From 0 to 1; `None` when there is no feedback.
    fn share(self) -> Option<f64> {
        (self.feedback > 0).then(|| self.accepted as f64 / self.feedback as f64)
    }

    fn percent(self) -> String {
        self.share().map_or_else(|| "-".to_owned(), |share| format!("{:.0}%", share * 100.0))
    }
}

pub(super) async fn write(scope: &Scope<'_>, page: &mut Page) -> anyhow::Result<()> {
    let rows = queries::acceptance(scope.target.clickhouse, &scope.sent.run)
        .await
        .context("cannot read the acceptance")?;
    page.section("Acceptance by feature and language");
    let languages: BTreeSet<&str> = rows.iter().map(|row| row.language.as_str()).collect();
    let mut features: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut by_language: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut cells: BTreeMap<(&str, &str), Tally> = BTreeMap::new();
    let mut all = Tally::default();
    for row in &rows {
        features.entry(&row.feature).or_default().add(row);
        by_language.entry(&row.language).or_default().add(row);
        cells.entry((&row.feature, &row.language)).or_default().add(row);
        all.add(row);
    }

    let line = |name: &str, total: Tally, tally: &dyn Fn(&str) -> Tally| {
        let mut line = vec![Cell::new(name)];
        line.extend(languages.iter().map(|language| Cell::number(tally(language).percent())));
        line.push(Cell::number(total.percent()));
        line.push(Cell::new(bar(total.share().unwrap_or_default(), BAR)));
        line.push(Cell::number(total.feedback));
        line
    };
    let mut table: Vec<_> = features
        .iter()
        .map(|(&feature, &total)| {
            line(feature, total, &|language| cells.get(&(feature, language)).copied().unwrap_or_default())
        })
        .collect();
    table.push(line("all", all, &|language| by_language.get(language).copied().unwrap_or_default()));
    let mut headings = vec!["feature"];
    headings.extend(&languages);
    headings.extend(["all", "", "feedback"]);
    page.table(&headings, &table);
    page.gap();
    page.note(
        "Share of feedback that took the suggestion, with or without edits; languages are those of the typed texts.",
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_nothing_are_not_shown_as_zero() {
        assert_eq!(Tally::default().percent(), "-");
        assert_eq!(Tally { feedback: 3, accepted: 2 }.percent(), "67%");
    }
}
