//! Partitions with rows and reasons, and what silence meant where.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::Scope;
use crate::cli::{
    demo::{
        layout::{Cell, Page},
        queries::{self, SilenceRow},
    },
    terminal::{GREEN, RED, Style},
};

pub(super) async fn write(scope: &Scope<'_>, page: &mut Page) -> anyhow::Result<()> {
    let rows = queries::partitions(scope.target.clickhouse, &scope.sent.run)
        .await
        .context("cannot read the partitions")?;
    page.section("What landed where: partitions, with rows and reasons");
    let table: Vec<_> = rows
        .iter()
        .map(|row| {
            vec![
                Cell::new(format!("({}, {})", row.scope, row.day)).styled(style_of(&row.scope)),
                Cell::new(&row.reason),
                Cell::number(row.rows),
                Cell::number(row.people),
            ]
        })
        .collect();
    page.table(&["partition of events", "reason", "rows", "people"], &table);
    let total: u64 = rows.iter().map(|row| row.rows).sum();
    page.gap();
    page.note(&format!(
        "{total} rows for {} events: {} of them were sent twice, as a client does that lost an answer, and count once.",
        scope.sent.events, scope.sent.repeated
    ));

    let silence = queries::silence(scope.target.clickhouse, &scope.sent.run)
        .await
        .context("cannot read what silence meant")?;
    page.gap();
    page.heading(&format!("What silence meant under the policy {}:", scope.target.policy));
    for ((reason, scope), places) in by_outcome(&silence) {
        let label = if scope == "none" { "no" } else { "yes" };
        page.labelled(label, Some(style_of(scope)), &format!("{reason} → {scope}: {}", places.join(", ")));
    }
    Ok(())
}

/// Green for what may be trained on.
pub(super) fn style_of(scope: &str) -> Style {
    if scope == "none" { RED } else { GREEN }
}

/// (reason, scope) to "jurisdiction (rows)".
fn by_outcome(rows: &[SilenceRow]) -> BTreeMap<(&str, &str), Vec<String>> {
    let mut outcomes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        outcomes
            .entry((row.reason.as_str(), row.scope.as_str()))
            .or_default()
            .push(format!("{} ({})", row.jurisdiction, row.rows));
    }
    outcomes
}
