//! The loop: it alone plans inserts, and keeps the state; the inserts themselves are tasks.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use super::{
    Delivery, DeliveryError, Handle, Parts,
    background::Background,
    backoff::Backoff,
    batch::{Batch, Limits},
    horizon::Horizon,
    insert::{Insert, Outcome},
    pace::Pace,
    quarantine::{self, RefusedRows},
    search::Search,
    split::{Refused, RowRange, Split},
    state::{Narrowed, Plan, Progress},
};
use crate::{
    clickhouse::Error,
    event::Micros,
    spool::{self, Position},
    telemetry,
};

/// The pause before a full disk is asked again.
const FIRST_PAUSE_WHEN_FULL: Duration = Duration::from_millis(200);
const LONGEST_PAUSE_WHEN_FULL: Duration = Duration::from_secs(5);

/// Inserts in flight. They are cut short with this.
type Inserts = JoinSet<(Insert, Outcome)>;

impl Delivery {
    /// Puts delivery together, where its state says that it was.
    ///
    /// # Errors
    /// The state is that of another spool.
    pub fn new(parts: Parts) -> Result<Self, DeliveryError> {
        let Parts { options, client, reader, reserve, file, mut state, replica, policies } = parts;
        let spool_id = reader.spool_id();
        if state.spool_id.is_some_and(|known| known != spool_id) {
            return Err(DeliveryError::OtherSpool);
        }
        state.spool_id = Some(spool_id);
        // A full disk may have no room for a folder when it is needed; and what fails now may work then.
        let _ = std::fs::create_dir_all(&options.quarantine_dir);
        let (cursor, _) = watch::channel(Position(state.cursor));
        let horizon = Horizon {
            options: options.clone(),
            reader: Arc::clone(&reader),
            replica: replica.clone(),
            held_since: watch::Sender::new(None),
            finish: CancellationToken::new(),
        };
        Ok(Self {
            pace: Arc::new(Pace::new(options.max_in_flight)),
            background: Background::start().map_err(DeliveryError::Thread)?,
            options,
            client,
            reader,
            file: file.with_reserve(reserve.clone()),
            reserve,
            planned: state.planned(),
            inherited: state.plans.iter().map(|plan| plan.start).collect(),
            stored: None,
            state,
            replica,
            policies,
            cursor,
            horizon,
            under_way: HashSet::new(),
            search: Search::default(),
            finished: CancellationToken::new(),
        })
    }

    /// A handle to watch and to end it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            cursor: self.cursor.subscribe(),
            held_since: self.horizon.held_since.subscribe(),
            finish: self.horizon.finish.clone(),
            finished: self.finished.clone(),
        }
    }

    /// Runs until [`Handle::finish`] is called and all that is durable is delivered.
    ///
    /// # Errors
    /// The disk fails. ClickHouse's faults, and a full disk, are tried again for ever.
    pub async fn run(mut self) -> Result<(), DeliveryError> {
        let _finished = self.finished.clone().drop_guard();
        if !self.state.plans.is_empty() {
            tracing::info!(inserts = self.state.plans.len(), "repeating the inserts that were under way");
        }
        // A kill may have come between the cursor and the removal of what lies before it.
        self.release(Position(self.state.cursor)).await?;
        let finish = self.horizon.finish.clone();
        let mut inserts = Inserts::new();
        let mut sealable = self.planned;
        let mut next = self.horizon.next(sealable);
        loop {
            for insert in self.due(inserts.len(), sealable).await? {
                let (client, pace) = (self.client.clone(), Arc::clone(&self.pace));
                inserts.spawn(insert.carry_out(client, pace, self.options.max_backoff));
            }
            let finishing = finish.is_cancelled();
            if finishing && inserts.is_empty() && self.planned >= self.reader.durable_end() {
                return Ok(());
            }
            tokio::select! {
                Some(ended) = inserts.join_next() => {
                    self.settle(ended?).await?;
                    // One write of the state serves all that have ended.
                    while let Some(ended) = inserts.try_join_next() {
                        self.settle(ended?).await?;
                    }
                }
                until = &mut next => {
                    sealable = until;
                    next = self.horizon.next(until);
                }
                () = finish.cancelled(), if !finishing => {}
            }
        }
    }

    /// The inserts to begin now: those that were begun before, then new ones as far as the spool may
    /// be sealed. Their plans are durable, and what is done is given back to the spool.
    async fn due(&mut self, in_flight: usize, sealable: Position) -> Result<Vec<Insert>, DeliveryError> {
        let mut due = Vec::new();
        while in_flight + due.len() < self.pace.limit() {
            let waiting =
                self.state.plans.iter().position(|plan| {
                    plan.progress != Progress::Done && !self.under_way.contains(&plan.start)
                });
            let begun = match waiting {
                Some(at) => self.begin_again(at).await?,
                None if self.planned < sealable => self.begin_next(sealable).await?,
                None => break,
            };
            if let Some(insert) = begun {
                self.under_way.insert(insert.plan);
                due.push(insert);
            }
        }
        self.save().await?;
        Ok(due)
    }

    /// Plans the next insert; none if only damage comes next.
    async fn begin_next(&mut self, sealable: Position) -> Result<Option<Insert>, DeliveryError> {
        let limits = Limits { max_rows: self.options.max_rows, max_bytes: self.options.max_bytes };
        self.search.note(self.replica.erased(), &self.reader);
        let batch = self.read(self.planned, sealable, limits).await?;
        if batch.is_empty() {
            // The reader has put it into quarantine.
            self.planned = sealable;
            self.move_cursor();
            return Ok(None);
        }
        let (batch, mut plan) = self.plan(batch, None).await?;
        self.planned = batch.end;
        let insert = self.insert(batch, &mut plan, false).await?;
        self.state.plans.push(plan);
        Ok(insert)
    }

    /// Repeats an insert, or goes on with one that was refused.
    async fn begin_again(&mut self, at: usize) -> Result<Option<Insert>, DeliveryError> {
        let mut plan = self.state.plans[at].clone();
        let mut batch = self.read(Position(plan.start), Position(plan.end), Limits::NONE).await?;
        if batch.end.0 > plan.end {
            return Err(DeliveryError::PlanMismatch { start: plan.start, end: plan.end });
        }
        // The program before did not say how many there were; then the end has to tell.
        if plan.rows == 0 && batch.end.0 == plan.end {
            plan.rows = batch.rows;
        }
        if batch.is_empty() {
            plan.progress = Progress::Done;
        } else if batch.rows != plan.rows {
            // Rows were damaged on the disk since the plan was made, so its row numbers mean nothing
            // any more. What is left is decided anew. If the insert had taken effect, the token, which
            // stays the same, keeps these rows from coming twice.
            tracing::error!(
                planned = plan.rows,
                left = batch.rows,
                "rows of an insert that was under way are damaged; the rest of it is delivered"
            );
            self.horizon.wait_for_watermark(Instant::now()).await;
            self.search.note(self.replica.erased(), &self.reader);
            (batch, plan) = self.plan(batch, Some(plan.end)).await?;
        }
        let repeated = self.inherited.remove(&plan.start);
        let insert = self.insert(batch, &mut plan, repeated).await?;
        self.state.plans[at] = plan;
        self.move_cursor();
        Ok(insert)
    }

    async fn read(&self, start: Position, until: Position, limits: Limits) -> Result<Batch, DeliveryError> {
        let reader = Arc::clone(&self.reader);
        self.background.run(move || Batch::read(&reader, start, until, limits)).await?
    }

    /// Seals a batch, up to where it ends unless told otherwise.
    async fn plan(&self, batch: Batch, end: Option<u64>) -> Result<(Batch, Plan), DeliveryError> {
        let (start, end, rows) = (batch.start.0, end.unwrap_or(batch.end.0), batch.rows);
        let (batch, erased) = if self.search.covers(batch.start) {
            let replica = self.replica.clone();
            let searched =
                self.background.run(move || batch.erased(replica.erased()).map(|found| (batch, found)));
            searched.await?.map_err(|source| DeliveryError::Block { start, end, source })?
        } else {
            (batch, Vec::new())
        };
        let dropped: u32 = erased.iter().map(|it| it.len()).sum();
        if dropped > 0 {
            telemetry::erased_from_spool(u64::from(dropped));
            tracing::info!(rows = dropped, of = rows, "rows of people who were erased are dropped");
        }
        let (policies, replica) = (self.policies.versions(), self.replica.clone());
        let sealed = self.background.run(move || {
            let now = Micros::now();
            let narrowed: Vec<Narrowed> = batch.seal(|record| {
                let policy = policies.at(record.received_at.unwrap_or(now));
                replica.decide_for_seal(policy, record)
            });
            (batch, narrowed, now)
        });
        let (batch, narrowed, now) = sealed.await?;
        let plan = Plan { start, end, rows, sealed_at: now.0, narrowed, erased, progress: Progress::Whole };
        Ok((batch, plan))
    }

    /// What to insert of a plan next; none when it is done. `repeated` says that it may have been
    /// inserted before.
    async fn insert(
        &self,
        batch: Batch,
        plan: &mut Plan,
        repeated: bool,
    ) -> Result<Option<Insert>, DeliveryError> {
        let rows = loop {
            let Some(rows) = plan.current() else { return Ok(None) };
            if !plan.left_of(rows).is_empty() {
                break rows;
            }
            plan.settled();
        };
        let (start, end, of_plan) = (plan.start, plan.end, plan.clone());
        let body = self
            .background
            .run(move || batch.body(&of_plan, rows))
            .await?
            .map_err(|source| DeliveryError::Block { start, end, source })?;
        let token = plan.token(self.reader.spool_id(), rows);
        let replica = self.replica.clone();
        Ok(Some(Insert { plan: plan.start, rows, token, body, repeated, replica }))
    }

    /// Takes note of how an insert ended.
    async fn settle(&mut self, (insert, outcome): (Insert, Outcome)) -> Result<(), DeliveryError> {
        self.under_way.remove(&insert.plan);
        let Some(at) = self.state.plans.iter().position(|plan| plan.start == insert.plan) else {
            return Ok(());
        };
        match outcome {
            Outcome::Confirmed => {
                let plan = &mut self.state.plans[at];
                let narrowed = plan.narrowed.iter().filter(|it| insert.rows.contains(it.0)).count();
                let rows: u32 = plan.left_of(insert.rows).iter().map(|it| it.len()).sum();
                telemetry::delivered(u64::from(rows), narrowed as u64);
                tracing::debug!(rows, narrowed, token = insert.token, "inserted");
                plan.settled();
            }
            Outcome::Refused(error) => self.refused(at, &insert, &error).await?,
        }
        self.move_cursor();
        Ok(())
    }

    /// Has a refused insert taken apart, or puts its rows aside when there is no apart.
    async fn refused(&mut self, at: usize, insert: &Insert, error: &Error) -> Result<(), DeliveryError> {
        let plan = &mut self.state.plans[at];
        let put_aside = match &mut plan.progress {
            Progress::Split(split) => split.refused() == Refused::PutAside,
            Progress::Whole if plan.rows > 1 => {
                tracing::warn!(%error, rows = plan.rows, "an insert was refused; looking for the rows that are to blame");
                plan.progress = Progress::Split(Split::of(plan.rows));
                false
            }
            Progress::Whole | Progress::Done => true,
        };
        if put_aside {
            let (start, end) = (plan.start, plan.end);
            let rows = self.state.plans[at].left_of(insert.rows).iter().map(|it| it.len()).sum();
            self.put_aside(start, end, rows, insert, error).await?;
            self.state.plans[at].settled();
        }
        Ok(())
    }

    async fn put_aside(
        &self,
        start: u64,
        end: u64,
        rows: u32,
        insert: &Insert,
        error: &Error,
    ) -> Result<(), DeliveryError> {
        let dir = self.options.quarantine_dir.clone();
        let range = insert.rows;
        let mut backoff = Backoff::new(FIRST_PAUSE_WHEN_FULL, LONGEST_PAUSE_WHEN_FULL);
        // In quarantine they lie as they are without compression, so that anything can read them.
        let body: Arc<[u8]> = insert
            .body
            .read()
            .await
            .map_err(|error| DeliveryError::Block { start, end, source: error.into() })?
            .into();
        let kept = loop {
            let (into, body, reserve) = (dir.clone(), Arc::clone(&body), self.reserve.clone());
            let refused = RefusedRows::new(self.reader.spool_id(), start, end, range, rows, error);
            match spawn_blocking(move || quarantine::keep(&into, Some(&reserve), &refused, &body)).await? {
                Ok(kept) => break kept,
                Err(error) if spool::is_out_of_space(&error) => {
                    wait_for_room(&mut backoff, "refused rows cannot be put into quarantine").await;
                }
                Err(source) => return Err(DeliveryError::Quarantine { path: dir, source }),
            }
        };
        telemetry::quarantined(u64::from(rows));
        tracing::error!(
            %error,
            rows,
            file = %kept.display(),
            "ClickHouse refused rows for good; they are in quarantine, see `assent spool quarantine list`"
        );
        Ok(())
    }

    /// Forgets what is done at the front.
    fn move_cursor(&mut self) {
        let done = self.state.plans.iter().take_while(|plan| plan.progress == Progress::Done).count();
        self.state.plans.drain(..done);
        self.state.cursor = self.state.plans.first().map_or(self.planned.0, |plan| plan.start);
    }

    /// Makes the state durable, and then gives back the space of what is done.
    async fn save(&mut self) -> Result<(), DeliveryError> {
        if self.stored.as_ref() == Some(&self.state) {
            return Ok(());
        }
        let mut backoff = Backoff::new(FIRST_PAUSE_WHEN_FULL, LONGEST_PAUSE_WHEN_FULL);
        loop {
            let (file, state) = (self.file.clone(), self.state.clone());
            #[cfg(feature = "mutations")]
            let state = self.without_safeguard(state);
            match spawn_blocking(move || file.store(&state)).await? {
                Ok(()) => break,
                Err(error) if error.is_out_of_space() => {
                    wait_for_room(&mut backoff, "delivery's state cannot be written").await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.stored = Some(self.state.clone());
        let cursor = Position(self.state.cursor);
        if *self.cursor.borrow() != cursor {
            self.cursor.send_replace(cursor);
            self.release(cursor).await?;
        }
        Ok(())
    }

    /// Gives back the space of what lies before a place.
    async fn release(&self, cursor: Position) -> Result<(), DeliveryError> {
        let (reader, reserve) = (Arc::clone(&self.reader), self.reserve.clone());
        let released = spawn_blocking(move || {
            let released = reader.release(cursor);
            reserve.refill();
            released
        });
        if let Err(error) = released.await? {
            tracing::error!(%error, "delivered segments of the spool cannot be removed");
        }
        Ok(())
    }
}

#[cfg(feature = "mutations")]
impl Delivery {
    /// The state to store, without what is to be missing.
    fn without_safeguard(&self, mut state: super::state::State) -> super::state::State {
        use crate::mutation::{Mutation, active};
        if matches!(active(), Some(Mutation::NoPlan | Mutation::EarlyCursor)) {
            state.plans.clear();
        }
        if active() == Some(Mutation::EarlyCursor) {
            state.cursor = self.planned.0;
        }
        state
    }
}

/// A full disk passes; nothing is lost while it lasts, and nothing is delivered.
async fn wait_for_room(backoff: &mut Backoff, what: &'static str) {
    let pause = backoff.next();
    tracing::error!(?pause, "the disk is full: {what}; delivery goes on when there is room");
    tokio::time::sleep(pause).await;
}

impl Plan {
    /// The part under way is in ClickHouse, or in quarantine.
    fn settled(&mut self) {
        if let Progress::Split(split) = &mut self.progress {
            split.settled();
            if split.current().is_some() {
                return;
            }
        }
        self.progress = Progress::Done;
    }
}

impl RowRange {
    fn contains(self, row: u32) -> bool {
        (self.start..self.end).contains(&row)
    }
}
