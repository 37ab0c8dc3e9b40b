//! One insert, tried until ClickHouse has taken it or has refused it for good.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{backoff::Backoff, pace::Pace, split::RowRange};
use crate::{
    clickhouse::{Client, Error, ErrorClass, columns},
    telemetry,
};

/// The table of events.
pub(super) const TABLE: &str = "events";
/// The pause before the second try.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The same when ClickHouse has said that it is overloaded: it needs time more than it needs tries.
const FIRST_BACKOFF_OVERLOADED: Duration = Duration::from_secs(1);

/// What is inserted.
pub(super) struct Insert {
    /// Where the plan starts that it is of.
    pub(super) plan: u64,
    /// Which of its rows these are.
    pub(super) rows: RowRange,
    pub(super) token: String,
    /// Blocks in the `Native` format.
    pub(super) body: Bytes,
}

/// How it ended.
pub(super) enum Outcome {
    Confirmed,
    Refused(Error),
}

impl Insert {
    /// Tries for ever what is transient or of unknown outcome: the same bytes under the same token,
    /// so that ClickHouse keeps one of the tries.
    pub(super) async fn carry_out(
        self,
        client: Client,
        pace: Arc<Pace>,
        max_backoff: Duration,
    ) -> (Self, Outcome) {
        let mut backoff = Backoff::new(FIRST_BACKOFF, max_backoff);
        let _in_flight = telemetry::insert_begun();
        loop {
            let started = Instant::now();
            let body = self.body.clone();
            let token = &self.token;
            #[cfg(feature = "mutations")]
            let token = &crate::mutation::of_token(token);
            let tried = client.insert_native(TABLE, columns::INSERT_COLUMNS, body, token, &[]).await;
            let Err(error) = tried else {
                telemetry::inserted(started.elapsed());
                pace.confirmed();
                return (self, Outcome::Confirmed);
            };
            let outcome = match error.class() {
                ErrorClass::Permanent => {
                    telemetry::insert_failed("refused");
                    return (self, Outcome::Refused(error));
                }
                ErrorClass::Transient => "transient",
                ErrorClass::Ambiguous => "unknown",
            };
            telemetry::insert_failed(outcome);
            if error.is_overload() {
                pace.overloaded();
                backoff.at_least(FIRST_BACKOFF_OVERLOADED);
            }
            let pause = backoff.next();
            tracing::warn!(%error, outcome, ?pause, "an insert did not go through; the same again after a pause");
            tokio::time::sleep(pause).await;
        }
    }
}
