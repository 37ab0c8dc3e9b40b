//! `assent demo`: the main job on bundled interactions, and what landed where.
//!
//! [`command`] brings up a ClickHouse and a collector as `assent dev` does; [`run`] is a client like
//! any other: everything goes to the collector over gRPC, and what is shown comes out of
//! ClickHouse. The data is in `demo/`.

use std::{net::SocketAddr, path::Path};

use anyhow::Context as _;

use super::terminal::{GREEN, paint, wants_colour};
use crate::{
    clickhouse::{self, Client as ClickHouse},
    ingress::client::Client,
};

mod bundle;
mod command;
mod layout;
mod queries;
mod report;
mod roles;
mod script;
mod send;

pub(super) use command::command;

/// A running collector and the ClickHouse that it writes to.
pub struct Target<'a> {
    /// The collector's gRPC address.
    pub grpc: SocketAddr,
    /// A client of the ClickHouse, as a user who may read everything.
    pub clickhouse: &'a ClickHouse,
    /// How that client connects; the ML roles are tried out in the same way with other users.
    pub server: &'a clickhouse::Options,
    /// Whether the server is one of our own, which ends with the demo.
    pub own_server: bool,
    /// The collector's data folder.
    pub data_dir: &'a Path,
    /// The version of the collector's policy.
    pub policy: &'a str,
}

/// Plays the bundled script and prints what became of it.
///
/// # Errors
/// The collector refuses something, or what it acknowledged does not arrive.
pub async fn run(target: Target<'_>) -> anyhow::Result<()> {
    let colour = wants_colour();
    let bundle = bundle::Bundle::load()?;
    let collector =
        Client::connect(&target.grpc.to_string(), None).await.context("cannot reach the collector")?;
    let done = paint(GREEN, "✓", colour);
    println!("Sending {} interactions to {} over gRPC …", bundle.interactions().count(), target.grpc);
    let mut acts = 0;
    let taken_back = send::take_back_answers(&bundle, &collector).await?;
    if taken_back > 0 {
        println!(
            "  {done} {taken_back} answers from an earlier run taken back, so that the same story can be told again"
        );
    }
    let sent = send::send(&bundle, &collector, target.clickhouse, |scene| {
        acts += 1;
        println!(
            "  {done} act {acts}: {} ({} consent changes, {} events)",
            scene.title,
            scene.consent.len(),
            scene.events()
        );
    })
    .await?;
    println!(
        "  {done} {} events in {} requests, {} consent changes, {} people; all readable after {:.1} s",
        sent.events,
        sent.requests,
        sent.changes(),
        bundle.people.len(),
        sent.took.as_secs_f64()
    );

    let mut page = layout::Page::new(colour);
    let scope = report::Scope { target: &target, bundle: &bundle, sent: &sent, collector: &collector };
    report::write(&scope, &mut page, |section| print!("{section}")).await
}
