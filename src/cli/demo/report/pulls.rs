//! What an ML role may pull and what it may not.

use anyhow::Context as _;

use super::Scope;
use crate::cli::{
    demo::{
        layout::Page,
        queries,
        roles::{Access, ROLES, Role, Tried, Verdict},
    },
    terminal::{GREEN, RED},
};

pub(super) async fn write(scope: &Scope<'_>, page: &mut Page) -> anyhow::Result<()> {
    page.section("What an ML role may pull, and what it may not");
    let mut missing = Vec::new();
    for role in &ROLES {
        let access = role
            .try_out(scope.target.server)
            .await
            .with_context(|| format!("cannot query as {}", role.user))?;
        let rows = match access {
            Access::Tried(tried) => {
                write_tried(page, role, &tried);
                tried.rows
            }
            Access::NoSuchUser => {
                missing.push(role.user);
                let rows = queries::count(scope.target.clickhouse, role.view)
                    .await
                    .with_context(|| format!("cannot read {}", role.view))?;
                page.paragraph(&format!("{}: {rows} rows", role.view));
                rows
            }
        };
        let stored = queries::count_in_scope(scope.target.clickhouse, role.scope)
            .await
            .context("cannot count the rows of a scope")?;
        page.note(&format!(
            "{stored} rows were written with at least this scope; {} of them are by people who have said no since, \
             and are out of the view at once.",
            stored.saturating_sub(rows)
        ));
        page.gap();
    }
    if missing.is_empty() {
        page.note("Asked over HTTP as those users; the answers are the server's. Rows of earlier runs are counted too.");
    } else {
        page.note(&format!(
            "This server has no users {} without a password, so the views were read as {:?}. \
             schemas/users.d has the roles to grant.",
            missing.join(" and "),
            scope.target.server.user
        ));
    }
    Ok(())
}

fn write_tried(page: &mut Page, role: &Role, tried: &Tried) {
    page.heading(&format!("as {}", role.user));
    page.labelled("may", Some(GREEN), &format!("SELECT … FROM {}: {} rows", role.view, tried.rows));
    if let Some(row) = &tried.sample {
        page.labelled("such as", None, &format!("{} in {}: {}", row.feature, row.language, row.text));
    }
    for (table, verdict) in &tried.beyond {
        match verdict {
            Verdict::Refused(words) => {
                page.labelled("may not", Some(RED), &format!("SELECT … FROM {table}: ACCESS_DENIED: {words}"));
            }
            Verdict::Answered(rows) => page.labelled(
                "can",
                Some(RED),
                &format!("SELECT … FROM {table}: {rows} rows. It should not: see schemas/users.d for the roles as shipped."),
            ),
        }
    }
}
