//! One insert, tried until ClickHouse has taken it or has refused it for good.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{backoff::Backoff, body::Body, pace::Pace, proof, split::RowRange};
use crate::{
    clickhouse::{Client, Error, ErrorClass, columns},
    consent::Replica,
    telemetry,
};

/// The table of events.
pub(super) const TABLE: &str = "events";
/// The pause before the second try.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The same when ClickHouse has said that it is overloaded: it needs time more than it needs tries.
const FIRST_BACKOFF_OVERLOADED: Duration = Duration::from_secs(1);

/// ClickHouse's `ACCESS_DENIED`.
const ACCESS_DENIED: u32 = 497;
/// How often rows are inserted under a new token because they cannot be found. Once is needed after a kill of
/// ClickHouse; if that does not help, it is the look that fails and not the insert.
const MAX_LOSSES: u32 = 2;

/// What is inserted.
pub(super) struct Insert {
    /// Where the plan starts that it is of.
    pub(super) plan: u64,
    /// Which of its rows these are.
    pub(super) rows: RowRange,
    pub(super) token: String,
    /// Sealed blocks.
    pub(super) body: Body,
    /// A try before this may have left the token with ClickHouse.
    pub(super) repeated: bool,
    /// Knows whose rows are not missed.
    pub(super) replica: Replica,
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
        mut self,
        client: Client,
        pace: Arc<Pace>,
        max_backoff: Duration,
    ) -> (Self, Outcome) {
        let mut backoff = Backoff::new(FIRST_BACKOFF, max_backoff);
        let mut losses = 0;
        let mut body = self.body.clone();
        let _in_flight = telemetry::insert_begun();
        loop {
            let failure = match self.once(&client, &body, losses).await {
                Ok(duration) => {
                    telemetry::inserted(duration);
                    pace.confirmed();
                    return (self, Outcome::Confirmed);
                }
                Err(failure) => failure,
            };
            let (error, class) = match failure {
                // What is wrong with a look says nothing about the rows.
                Failure::Look(error) => (error, ErrorClass::Ambiguous),
                Failure::Insert(error) => {
                    let class = error.class();
                    (error, class)
                }
                Failure::Missing(missing) => {
                    telemetry::insert_failed("missing");
                    tracing::error!(
                        token = self.token,
                        "ClickHouse confirmed an insert that it has lost rows of; it gets those once more"
                    );
                    // Under a token that is not known yet; if it is, they are looked for once more.
                    (losses, body) = (losses + 1, missing);
                    continue;
                }
            };
            let outcome = match class {
                ErrorClass::Permanent => {
                    telemetry::insert_failed("refused");
                    return (self, Outcome::Refused(error));
                }
                ErrorClass::Transient => "transient",
                ErrorClass::Ambiguous => {
                    self.repeated = true;
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

    /// One try, and a look for the rows if a try before it may have been the one that took effect. Gives how
    /// long the insert took.
    async fn once(&self, client: &Client, body: &Body, losses: u32) -> Result<Duration, Failure> {
        let token = match losses {
            0 => self.token.clone(),
            _ => format!("{}+{losses}", self.token),
        };
        #[cfg(feature = "mutations")]
        let token = crate::mutation::of_token(&token);
        let started = Instant::now();
        client
            .insert_native(TABLE, columns::INSERT_COLUMNS, body.pieces(), &token, &[])
            .await
            .map_err(Failure::Insert)?;
        let duration = started.elapsed();
        if !self.repeated {
            return Ok(duration);
        }
        let missing = match self.missing(client).await {
            Ok(None) => return Ok(duration),
            Ok(Some(missing)) => missing,
            // They were inserted once more already; another look would say the same.
            Err(error) if error.code() == Some(ACCESS_DENIED) && losses > 0 => return Ok(duration),
            Err(error) if error.code() == Some(ACCESS_DENIED) => {
                tracing::error!(
                    %error,
                    "whether rows are there cannot be looked up, so they are inserted once more and may be there \
                     twice; grant assent_collector what schemas/roles.sql says"
                );
                self.body.clone()
            }
            Err(error) => return Err(Failure::Look(error)),
        };
        if losses == MAX_LOSSES {
            tracing::error!(
                token,
                "rows cannot be found, and were inserted under {losses} new tokens; it is left at that"
            );
            return Ok(duration);
        }
        Err(Failure::Missing(missing))
    }

    /// The rows of it that are not in the table; none if all are there.
    async fn missing(&self, client: &Client) -> Result<Option<Body>, Error> {
        // Of blocks that cannot be read any more nothing can be said, so all of them are missing.
        let Ok(native) = self.body.read().await else { return Ok(Some(self.body.clone())) };
        let Some(missing) = proof::missing(client, TABLE, &native).await? else { return Ok(None) };
        // Rows of somebody who was erased after this was planned may have been removed since: they stay away.
        let left = proof::without_erased(&missing, self.replica.erased()).unwrap_or(missing);
        Ok(if left.is_empty() { None } else { Some(Body::compress(left).await) })
    }
}

/// A try that is not the last one.
enum Failure {
    Insert(Error),
    /// The insert was confirmed, and its rows could not be looked for.
    Look(Error),
    /// The insert was confirmed, and these rows are not there.
    Missing(Body),
}
