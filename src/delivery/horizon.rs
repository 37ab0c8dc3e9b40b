//! How far the spool may be sealed: the place that the watermark of consent has passed.

use std::{pin::Pin, sync::Arc, time::Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Options;
#[cfg(feature = "mutations")]
use crate::mutation;
use crate::{
    consent::Replica,
    spool::{Position, Reader},
    telemetry,
};

/// A wait for the next such place.
pub(super) type Next = Pin<Box<dyn Future<Output = Position> + Send>>;

/// What it takes to find the place.
#[derive(Clone)]
pub(super) struct Horizon {
    pub(super) options: Options,
    pub(super) reader: Arc<Reader>,
    pub(super) replica: Replica,
    pub(super) held_since: watch::Sender<Option<Instant>>,
    pub(super) finish: CancellationToken,
}

impl Horizon {
    /// Waits until there are rows beyond `from` that may be sealed, and says how far they go. It never
    /// resolves when none come.
    pub(super) fn next(&self, from: Position) -> Next {
        let this = self.clone();
        Box::pin(async move {
            this.reader.wait_durable_past(from).await;
            this.gather(from).await;
            // Everything up to here was received before this moment.
            let until = this.reader.durable_end();
            let received_by = Instant::now();
            this.held_since.send_replace(Some(received_by));
            this.wait_for_watermark(received_by).await;
            this.held_since.send_replace(None);
            telemetry::consent_held(received_by.elapsed());
            until
        })
    }

    /// Waits for company for rows that are there, until there are enough of them or they are old
    /// enough.
    async fn gather(&self, from: Position) {
        let enough = Position(from.0.saturating_add(self.options.max_bytes));
        tokio::select! {
            () = self.reader.wait_durable_past(enough) => {}
            () = tokio::time::sleep(self.options.max_age) => {}
            () = self.finish.cancelled() => {}
        }
    }

    /// Waits until the view of consent shows all that was acknowledged before `received_by`.
    pub(super) async fn wait_for_watermark(&self, received_by: Instant) {
        #[cfg(feature = "mutations")]
        if mutation::active() == Some(mutation::Mutation::NoWatermarkWait) {
            return;
        }
        self.replica.request_refresh();
        let mut watermark = self.replica.watermark();
        // The sender lives in the replica that this holds, so waiting cannot fail.
        let _ = watermark.wait_for(|at| at.is_some_and(|at| at >= received_by)).await;
    }
}
