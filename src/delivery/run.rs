//! The loop.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{sync::watch, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery, DeliveryError, Handle, Options,
    batch::{Batch, Limits},
    quarantine,
    state::{Plan, State, StateFile},
};
#[cfg(feature = "mutations")]
use crate::mutation;
use crate::{
    clickhouse::{Client, Error, ErrorClass, columns},
    consent::{PolicyStore, Replica},
    event::Micros,
    spool::{Position, Reader},
    telemetry,
};

/// The pause before the second try of an insert.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The table of events.
const TABLE: &str = "events";

/// How an insert ended.
enum Inserted {
    Confirmed,
    Refused(Error),
}

impl Delivery {
    /// Puts delivery together, where its state says that it was.
    ///
    /// # Errors
    /// The state is that of another spool.
    pub fn new(
        options: Options,
        client: Client,
        reader: Arc<Reader>,
        file: StateFile,
        mut state: State,
        replica: Replica,
        policies: Arc<PolicyStore>,
    ) -> Result<Self, DeliveryError> {
        let spool_id = reader.spool_id();
        if state.spool_id.is_some_and(|known| known != spool_id) {
            return Err(DeliveryError::OtherSpool);
        }
        state.spool_id = Some(spool_id);
        let (cursor, _) = watch::channel(Position(state.cursor));
        Ok(Self {
            options,
            client,
            reader,
            file,
            state,
            replica,
            policies,
            cursor,
            held_since: watch::Sender::new(None),
            finish: CancellationToken::new(),
            finished: CancellationToken::new(),
            one_by_one_until: 0,
        })
    }

    /// A handle to watch and to end it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            cursor: self.cursor.subscribe(),
            held_since: self.held_since.subscribe(),
            finish: self.finish.clone(),
            finished: self.finished.clone(),
        }
    }

    /// Runs until [`Handle::finish`] is called and all that is durable is delivered.
    ///
    /// # Errors
    /// The disk fails. ClickHouse's faults are tried again for ever.
    pub async fn run(mut self) -> Result<(), DeliveryError> {
        let _finished = self.finished.clone().drop_guard();
        if let Some(plan) = self.state.plan.clone() {
            self.repeat(plan).await?;
        }
        loop {
            let finishing = self.finish.is_cancelled();
            let cursor = Position(self.state.cursor);
            if self.reader.durable_end() <= cursor {
                if finishing {
                    return Ok(());
                }
                tokio::select! {
                    () = self.reader.wait_durable_past(cursor) => self.gather(cursor).await,
                    () = self.finish.cancelled() => {}
                }
                continue;
            }
            // Everything up to here was received before this moment.
            let until = self.reader.durable_end();
            let received_by = Instant::now();
            self.held_since.send_replace(Some(received_by));
            self.wait_for_watermark(received_by).await;
            self.held_since.send_replace(None);
            telemetry::consent_held(received_by.elapsed());
            while self.state.cursor < until.0 {
                self.deliver_next(until).await?;
            }
            if !finishing {
                self.gather(Position(self.state.cursor)).await;
            }
        }
    }

    /// Waits for company for rows that are there, until there are enough of them or they are old
    /// enough.
    async fn gather(&self, cursor: Position) {
        let enough = Position(cursor.0.saturating_add(self.options.max_bytes));
        tokio::select! {
            () = self.reader.wait_durable_past(enough) => {}
            () = tokio::time::sleep(self.options.max_age) => {}
            () = self.finish.cancelled() => {}
        }
    }

    /// Waits until the view of consent shows all that was acknowledged before `received_by`.
    async fn wait_for_watermark(&self, received_by: Instant) {
        #[cfg(feature = "mutations")]
        if mutation::active() == Some(mutation::Mutation::NoWatermarkWait) {
            return;
        }
        self.replica.request_refresh();
        let mut watermark = self.replica.watermark();
        // The sender lives in the replica that this holds, so waiting cannot fail.
        let _ = watermark.wait_for(|at| at.is_some_and(|at| at >= received_by)).await;
    }

    /// Repeats the insert that was under way when the process ended.
    async fn repeat(&mut self, plan: Plan) -> Result<(), DeliveryError> {
        tracing::info!(start = plan.start, end = plan.end, "repeating the insert that was under way");
        let batch = self.read(Position(plan.start), Position(plan.end), Limits::NONE).await?;
        if batch.end.0 != plan.end {
            return Err(DeliveryError::PlanMismatch { start: plan.start, end: plan.end });
        }
        self.carry_out(batch, plan).await
    }

    async fn read(&self, start: Position, until: Position, limits: Limits) -> Result<Batch, DeliveryError> {
        let reader = Arc::clone(&self.reader);
        spawn_blocking(move || Batch::read(&reader, start, until, limits)).await?
    }

    async fn deliver_next(&mut self, until: Position) -> Result<(), DeliveryError> {
        let one_by_one = self.state.cursor < self.one_by_one_until;
        let limits = Limits {
            max_frames: if one_by_one { 1 } else { usize::MAX },
            max_rows: self.options.max_rows,
            max_bytes: self.options.max_bytes,
        };
        let batch = self.read(Position(self.state.cursor), until, limits).await?;
        if batch.frames.is_empty() {
            // Nothing but damage that the reader has put into quarantine.
            return self.advance(until).await;
        }
        let policies = self.policies.versions();
        let now = Micros::now();
        let narrowed = batch.seal(|record| {
            let policy = policies.at(record.received_at.unwrap_or(now));
            self.replica.decide_for_seal(policy, record)
        });
        let plan = Plan { start: batch.start.0, end: batch.end.0, sealed_at: now.0, narrowed };
        self.state.plan = Some(plan.clone());
        self.store().await?;
        self.carry_out(batch, plan).await
    }

    async fn carry_out(&mut self, batch: Batch, plan: Plan) -> Result<(), DeliveryError> {
        let rows = u64::from(batch.rows);
        let body = batch.body(&plan);
        let started = Instant::now();
        let narrowed = plan.narrowed.len() as u64;
        match self.insert(&plan, body.clone()).await {
            Inserted::Confirmed => {
                telemetry::delivered(rows, narrowed, started.elapsed().as_secs_f64());
                tracing::debug!(rows, narrowed, elapsed = ?started.elapsed(), "inserted");
                self.advance(batch.end).await
            }
            Inserted::Refused(error) if batch.frames.len() > 1 => {
                tracing::warn!(%error, rows, "an insert was refused; looking for the frame that is to blame");
                self.one_by_one_until = plan.end;
                self.state.plan = None;
                self.store().await
            }
            Inserted::Refused(error) => {
                self.put_aside(&plan, rows, &body, &error).await?;
                self.advance(batch.end).await
            }
        }
    }

    /// Inserts until ClickHouse has confirmed, or refused for good.
    async fn insert(&self, plan: &Plan, body: Bytes) -> Inserted {
        let token = plan.token(self.reader.spool_id());
        let mut backoff = FIRST_BACKOFF;
        loop {
            let tried =
                self.client.insert_native(TABLE, columns::INSERT_COLUMNS, body.clone(), &token, &[]).await;
            let Err(error) = tried else { return Inserted::Confirmed };
            let outcome = match error.class() {
                ErrorClass::Permanent => {
                    telemetry::insert_failed("refused");
                    return Inserted::Refused(error);
                }
                ErrorClass::Transient => "transient",
                ErrorClass::Ambiguous => "unknown",
            };
            telemetry::insert_failed(outcome);
            let pause = jittered(backoff);
            tracing::warn!(%error, outcome, ?pause, "an insert did not go through; the same again after a pause");
            tokio::time::sleep(pause).await;
            backoff = (backoff * 2).min(self.options.max_backoff);
        }
    }

    async fn put_aside(
        &self,
        plan: &Plan,
        rows: u64,
        body: &Bytes,
        error: &Error,
    ) -> Result<(), DeliveryError> {
        let dir = self.options.quarantine_dir.clone();
        let (start, end, body) = (plan.start, plan.end, body.clone());
        let (code, message) = (error.code(), error.to_string());
        let kept = spawn_blocking(move || {
            let refused = quarantine::Refused {
                start,
                end,
                rows,
                body: &body,
                table: TABLE,
                columns: columns::INSERT_COLUMNS,
                code,
                message: &message,
            };
            quarantine::keep(&dir, &refused)
        })
        .await?
        .map_err(|source| DeliveryError::Quarantine { path: self.options.quarantine_dir.clone(), source })?;
        telemetry::quarantined(rows);
        tracing::error!(%error, rows, file = %kept.display(), "ClickHouse refused rows for good; they are in quarantine");
        Ok(())
    }

    /// Makes it durable that everything before `to` is done with, and gives its space back.
    async fn advance(&mut self, to: Position) -> Result<(), DeliveryError> {
        self.state.cursor = to.0;
        self.state.plan = None;
        self.store().await?;
        self.cursor.send_replace(to);
        let reader = Arc::clone(&self.reader);
        if let Err(error) = spawn_blocking(move || reader.release(to)).await? {
            tracing::error!(%error, "delivered segments of the spool cannot be removed");
        }
        Ok(())
    }

    async fn store(&self) -> Result<(), DeliveryError> {
        let (file, state) = (self.file.clone(), self.state.clone());
        Ok(spawn_blocking(move || file.store(&state)).await??)
    }
}

/// Half of the pause to all of it, so that collectors which failed together do not come back
/// together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    pause / 2 + pause / 2 * u32::try_from(random).unwrap_or(0) / 1_000
}
