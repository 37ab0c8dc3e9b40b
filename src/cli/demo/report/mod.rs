//! What landed where, for a person at a terminal. One file per section, in the order of the page.

use super::{Target, bundle::Bundle, layout::Page, send::Sent};
use crate::ingress::client::Client;

mod acceptance;
mod landed;
mod next;
mod people;
mod pulls;
mod redaction;

/// What every section may look at.
pub(super) struct Scope<'a> {
    pub(super) target: &'a Target<'a>,
    pub(super) bundle: &'a Bundle,
    pub(super) sent: &'a Sent,
    pub(super) collector: &'a Client,
}

/// Writes the whole page, and hands each section to `show` when it is ready.
///
/// # Errors
/// ClickHouse or the collector does not answer a question.
pub(super) async fn write(
    scope: &Scope<'_>,
    page: &mut Page,
    mut show: impl FnMut(String),
) -> anyhow::Result<()> {
    landed::write(scope, page).await?;
    show(page.take());
    redaction::write(scope, page).await?;
    show(page.take());
    acceptance::write(scope, page).await?;
    show(page.take());
    pulls::write(scope, page).await?;
    show(page.take());
    people::write(scope, page).await?;
    show(page.take());
    next::write(scope.target, page);
    show(page.take());
    Ok(())
}
