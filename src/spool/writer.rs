//! The one thread that writes: it takes all that waits, writes it as one frame, syncs, and wakes
//! everybody whose item was in it.
//!
//! While a sync is under way, items gather for the next frame; the slower the disk, the larger the
//! commits. When more are [expected](super::Expected) than have gathered, it waits a little for them: they would
//! have to wait for this commit otherwise, and larger frames cost less, here and wherever they go.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    FsyncPolicy, GroupEncoder, Position,
    log::{Broken, Log, LogError},
    queue::{AppendError, Pending, Queue, Wake},
    store::guard,
};

/// A commit of so many items or more is one of many: the next may wait a little, for more to share it.
const BUSY_ITEMS: usize = 8;
/// The least time between two tries to give back for which there was no room.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// How the writer groups and syncs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) fsync: FsyncPolicy,
    pub(super) group_bytes: usize,
    pub(super) max_payload_bytes: usize,
    /// The longest that a commit waits for items that are expected.
    pub(super) gather: Duration,
    /// The least time between the beginnings of two commits while there are many items.
    pub(super) pace: Duration,
    /// How long nothing is appended before a small segment is given back.
    pub(super) idle: Duration,
}

struct Writer<E: GroupEncoder> {
    encoder: E,
    log: Log,
    queue: Arc<Queue<E::Item>>,
    rules: Rules,
    /// Taken from the queue, and not in a group yet.
    backlog: VecDeque<Pending<E::Item>>,
    group: Group,
    /// Before then no commit begins.
    paced_until: Option<Instant>,
    sync_due: Option<Instant>,
    appended_at: Instant,
    /// Nothing is given back before; the disk had no room the last time.
    give_back_not_before: Instant,
}

/// Who waits for the group under way, and what it counts for in the queue.
#[derive(Default)]
struct Group {
    waiting: Vec<oneshot::Sender<Result<Position, AppendError>>>,
    bytes: usize,
}

impl<E: GroupEncoder> Writer<E> {
    fn work(&mut self) -> Result<(), Broken> {
        loop {
            if self.sync_due.is_some_and(|due| due <= Instant::now()) {
                self.sync()?;
            }
            if self.backlog.is_empty() {
                let give_back_due = self.give_back_due();
                let due = [self.sync_due, give_back_due].into_iter().flatten().min();
                match self.queue.wait(&mut self.backlog, due) {
                    Wake::Items => {}
                    Wake::Due if give_back_due.is_some_and(|due| due <= Instant::now()) => {
                        self.give_back()?;
                        continue;
                    }
                    Wake::Due | Wake::Nudged => continue,
                    // Whatever the policy, a clean end loses nothing.
                    Wake::Closed => return self.sync(),
                }
            }
            self.gather();
            let result = self.commit()?;
            self.answer(&result);
        }
    }

    /// When to give back what is delivered; not before all of it is. A large segment goes at once, a
    /// small one when nothing is appended for a while.
    fn give_back_due(&self) -> Option<Instant> {
        if !self.log.is_delivered() {
            return None;
        }
        let idle = if self.log.is_large() { Duration::ZERO } else { self.rules.idle };
        Some(self.appended_at.checked_add(idle)?.max(self.give_back_not_before))
    }

    fn give_back(&mut self) -> Result<(), Broken> {
        if !self.log.give_back()? {
            // On a full disk, somebody else has to make room first.
            let now = Instant::now();
            self.give_back_not_before = now.checked_add(self.rules.idle.max(LEAST_PAUSE)).unwrap_or(now);
        }
        Ok(())
    }

    /// Fills the encoder with what waits and with what is expected, up to a group's size; at least one item.
    fn gather(&mut self) {
        let mut now = Instant::now();
        if let Some(left) = self.paced_until.take().and_then(|until| until.checked_duration_since(now)) {
            thread::sleep(left);
            now += left;
        }
        self.paced_until = now.checked_add(self.rules.pace);
        let until = now.checked_add(self.rules.gather).unwrap_or(now);
        loop {
            if self.backlog.is_empty() {
                self.queue.wait_for_more(&mut self.backlog, self.group.waiting.len(), until);
            }
            let Some(next) = self.backlog.front() else { break };
            let enough = self.encoder.len_bytes().saturating_add(E::item_bytes(&next.item));
            if !self.group.waiting.is_empty() && enough > self.rules.group_bytes {
                break;
            }
            let Some(next) = self.backlog.pop_front() else { break };
            self.group.bytes += next.bytes;
            self.group.waiting.push(next.done);
            self.encoder.push(next.item);
        }
        // Of a few clients that each wait for their answer, none is kept waiting, nor when a lot is there.
        let is_busy = self.group.waiting.len() >= BUSY_ITEMS && self.backlog.is_empty();
        self.paced_until = self.paced_until.filter(|_| is_busy);
    }

    fn commit(&mut self) -> Result<Result<Position, AppendError>, Broken> {
        if self.encoder.is_empty() {
            return Ok(Ok(self.log.end()));
        }
        let payload = self.encoder.finish();
        let max_bytes = self.rules.max_payload_bytes;
        if payload.len() > max_bytes {
            return Ok(Err(if self.group.waiting.len() == 1 {
                AppendError::TooLarge { bytes: payload.len(), max_bytes }
            } else {
                // The encoder's estimates were off by a lot. Nobody knows whose item is to blame,
                // so all may try again, in other company.
                AppendError::QueueFull
            }));
        }
        match self.log.append(&payload) {
            Ok(()) => self.appended_at = Instant::now(),
            Err(LogError::Full) => return Ok(Err(AppendError::Full)),
            Err(LogError::Broken(broken)) => return Err(broken),
        }
        match self.rules.fsync {
            FsyncPolicy::EveryCommit => self.sync()?,
            FsyncPolicy::Interval(interval) => {
                let now = Instant::now();
                self.sync_due.get_or_insert(now.checked_add(interval).unwrap_or(now));
            }
            FsyncPolicy::Never => self.log.publish(),
        }
        Ok(Ok(self.log.end()))
    }

    fn sync(&mut self) -> Result<(), Broken> {
        self.sync_due = None;
        self.log.sync()
    }

    fn answer(&mut self, result: &Result<Position, AppendError>) {
        // First the bytes: who is woken may append again at once.
        self.queue.settle(std::mem::take(&mut self.group.bytes));
        for waiting in self.group.waiting.drain(..) {
            // Whoever waited may be gone.
            let _ = waiting.send(result.clone());
        }
    }

    fn run(mut self, left: &Left) {
        let queue = Arc::clone(&self.queue);
        let _poison_on_panic = PoisonOnPanic(&*queue);
        let Err(Broken { doing, source }) = self.work() else {
            left.take_over(self.log);
            return;
        };
        let reason = format!("{doing} failed: {source}");
        tracing::error!(error = %source, doing, "the spool's disk failed; nothing more is taken");
        queue.poison(&reason);
        let refused = Err(AppendError::Poisoned(reason.into()));
        for waiting in self.group.waiting.drain(..) {
            let _ = waiting.send(refused.clone());
        }
    }
}

struct PoisonOnPanic<'a, T>(&'a Queue<T>);

impl<T> Drop for PoisonOnPanic<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison("its writer panicked");
        }
    }
}

/// The log after the writer has ended cleanly: what is released then is given back too.
#[derive(Debug, Default)]
pub(super) struct Left(Mutex<Option<Log>>);

impl Left {
    fn take_over(&self, log: Log) {
        let mut left = guard(&self.0);
        *left = Some(log);
        // What was released before this lock was taken had nobody to tell.
        if let Err(Broken { doing, source }) = give_back_left(&mut left) {
            tracing::error!(error = %source, doing, "a delivered segment of the spool cannot be given back");
        }
    }

    /// Gives back what is delivered, if the writer has ended; `false` if it has not, or not cleanly.
    pub(super) fn give_back(&self) -> Result<bool, Broken> {
        let mut left = guard(&self.0);
        let has_ended = left.is_some();
        give_back_left(&mut left)?;
        Ok(has_ended)
    }
}

fn give_back_left(left: &mut Option<Log>) -> Result<(), Broken> {
    let Some(log) = left.as_mut().filter(|log| log.is_delivered()) else { return Ok(()) };
    let given_back = log.give_back();
    if given_back.is_err() {
        // As for the writer: nobody knows what is there now.
        *left = None;
    }
    given_back.map(|_| ())
}

/// What others than appenders need of a queue, whatever its items.
pub(super) trait Control: Send + Sync {
    fn close(&self);
    fn nudge(&self);
    #[cfg(test)]
    fn wait_until_resting(&self);
}

impl<T: Send> Control for Queue<T> {
    fn close(&self) {
        self.close();
    }

    fn nudge(&self) {
        self.nudge();
    }

    #[cfg(test)]
    fn wait_until_resting(&self) {
        self.wait_until_resting();
    }
}

/// Holds the writer's thread. Dropping it closes the spool and waits for the thread, which may take
/// one commit.
pub struct WriterHandle {
    queue: Arc<dyn Control>,
    ended: Option<oneshot::Receiver<()>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for WriterHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterHandle").finish_non_exhaustive()
    }
}

impl WriterHandle {
    /// Refuses what comes from now on with [`AppendError::Closed`], writes and syncs what waits,
    /// and ends the writer. It does not wait for appenders to be dropped. Another call, also after
    /// one that was cut short, goes on where that was.
    pub async fn close(&mut self) {
        self.queue.close();
        if let Some(ended) = &mut self.ended {
            // It is never sent: the thread's end drops its sender.
            let _ = ended.await;
        }
        self.ended = None;
        self.join();
    }

    fn join(&mut self) {
        // After a panic the queue is poisoned, and that is how everybody learns of it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.queue.close();
        self.join();
    }
}

/// Starts the writer.
pub(super) fn start<E: GroupEncoder>(
    encoder: E,
    log: Log,
    queue: Arc<Queue<E::Item>>,
    rules: Rules,
    left: Arc<Left>,
) -> io::Result<WriterHandle> {
    let closer: Arc<dyn Control> = queue.clone();
    let (at_end, ended) = oneshot::channel();
    let writer = Writer {
        encoder,
        log,
        queue,
        rules,
        backlog: VecDeque::new(),
        group: Group::default(),
        paced_until: None,
        sync_due: None,
        appended_at: Instant::now(),
        give_back_not_before: Instant::now(),
    };
    let thread = thread::Builder::new().name("spool-writer".to_owned()).spawn(move || {
        let _at_end = at_end;
        writer.run(&left);
    })?;
    Ok(WriterHandle { queue: closer, ended: Some(ended), thread: Some(thread) })
}
