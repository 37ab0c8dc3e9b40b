//! One insert, tried until ClickHouse has taken it or has refused it for good.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    backoff::Backoff,
    look::{self, LookError},
    pace::Pace,
    split::RowRange,
};
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
    /// It may have been sent before.
    pub(super) is_repeat: bool,
}

/// How it ended.
pub(super) enum Outcome {
    Confirmed,
    Refused(Error),
}

impl Insert {
    /// Tries for ever what is transient or of unknown outcome: the same bytes under the same token,
    /// so that ClickHouse keeps one of the tries. When one may have come through before the one that is
    /// confirmed, the rows are [looked for](look), and what is missing is inserted under a token that nobody has
    /// used before.
    pub(super) async fn carry_out(
        self,
        client: Client,
        pace: Arc<Pace>,
        max_backoff: Duration,
    ) -> (Self, Outcome) {
        let mut backoff = Backoff::new(FIRST_BACKOFF, max_backoff);
        let _in_flight = telemetry::insert_begun();
        let (mut body, mut token) = (self.body.clone(), self.token.clone());
        let mut is_repeat = self.is_repeat;
        loop {
            let started = Instant::now();
            let token_sent = &token;
            #[cfg(feature = "mutations")]
            let token_sent = &crate::mutation::of_token(token_sent);
            let tried =
                client.insert_native(TABLE, columns::INSERT_COLUMNS, body.clone(), token_sent, &[]).await;
            let Err(error) = tried else {
                telemetry::inserted(started.elapsed());
                pace.confirmed();
                if !is_repeat {
                    return (self, Outcome::Confirmed);
                }
                match look::missing(&client, &body).await {
                    Ok(None) => return (self, Outcome::Confirmed),
                    Ok(Some((missing, rows))) => {
                        tracing::error!(
                            rows,
                            token,
                            "ClickHouse knows the token of an insert and has not all of its rows; they are inserted anew"
                        );
                        token = format!("{}:{}", self.token, Uuid::now_v7());
                        body = missing;
                        is_repeat = false;
                    }
                    Err(LookError::Query(error)) => {
                        let pause = backoff.next();
                        tracing::warn!(%error, ?pause, "cannot look whether an insert came through; again after a pause");
                        tokio::time::sleep(pause).await;
                    }
                    Err(LookError::Block(error)) => {
                        tracing::error!(%error, token, "an insert's rows cannot be looked for; ClickHouse is believed");
                        return (self, Outcome::Confirmed);
                    }
                }
                continue;
            };
            let outcome = match error.class() {
                ErrorClass::Permanent => {
                    telemetry::insert_failed("refused");
                    return (self, Outcome::Refused(error));
                }
                ErrorClass::Transient => "transient",
                ErrorClass::Ambiguous => {
                    is_repeat = true;
                    "unknown"
                }
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
