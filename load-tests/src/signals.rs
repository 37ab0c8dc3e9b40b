//! How a run is told to stop.

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::progress::say;

/// Resolves at the first SIGTERM or SIGINT; a second one ends this program at once, and the collector with it.
pub(crate) fn stop_signal(tasks: &mut JoinSet<()>) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (first, stop) = tokio::sync::oneshot::channel();
    tasks.spawn(async move {
        let mut first = Some(first);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match first.take() {
                Some(first) => {
                    say("stopping");
                    // Nobody waits any more when the run is over.
                    let _ = first.send(());
                }
                #[allow(clippy::disallowed_methods, reason = "whoever asks twice wants no waiting")]
                None => std::process::exit(130),
            }
        }
    });
    Ok(async move {
        if stop.await.is_err() {
            // The task ends with the run alone.
            std::future::pending::<()>().await;
        }
    })
}
