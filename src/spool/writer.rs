//! The one thread that writes: it takes all that waits, writes it as one frame, syncs, and wakes
//! everybody whose item was in it.
//!
//! While a sync is under way, items gather for the next frame; the slower the disk, the larger the
//! commits.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use tokio::sync::oneshot;

use super::{
    FsyncPolicy, GroupEncoder, Position,
    log::{Broken, Log, LogError},
    queue::{AppendError, Pending, Queue, Wake},
};

/// How the writer groups and syncs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) fsync: FsyncPolicy,
    pub(super) group_bytes: usize,
    pub(super) max_payload_bytes: usize,
}

struct Writer<E: GroupEncoder> {
    encoder: E,
    log: Log,
    queue: Arc<Queue<E::Item>>,
    rules: Rules,
    /// Taken from the queue, and not in a group yet.
    backlog: VecDeque<Pending<E::Item>>,
    group: Group,
    sync_due: Option<Instant>,
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
                match self.queue.wait(&mut self.backlog, self.sync_due) {
                    Wake::Items => {}
                    Wake::Due => continue,
                    // Whatever the policy, a clean end loses nothing.
                    Wake::Closed => return self.sync(),
                }
            }
            self.gather();
            let result = self.commit()?;
            self.answer(&result);
        }
    }

    /// Fills the encoder with what waits, up to a group's size; at least one item.
    fn gather(&mut self) {
        loop {
            if self.backlog.is_empty() {
                self.queue.take_more(&mut self.backlog);
            }
            let Some(next) = self.backlog.front() else { return };
            let enough = self.encoder.len_bytes().saturating_add(E::item_bytes(&next.item));
            if !self.group.waiting.is_empty() && enough > self.rules.group_bytes {
                return;
            }
            let Some(next) = self.backlog.pop_front() else { return };
            self.group.bytes += next.bytes;
            self.group.waiting.push(next.done);
            self.encoder.push(next.item);
        }
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
            Ok(()) => {}
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

    fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let _poison_on_panic = PoisonOnPanic(&*queue);
        let Err(Broken { doing, source }) = self.work() else { return };
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

/// What the handle needs of a queue, whatever its items.
trait Close: Send + Sync {
    fn close(&self);
}

impl<T: Send> Close for Queue<T> {
    fn close(&self) {
        self.close();
    }
}

/// Holds the writer's thread. Dropping it closes the spool and waits for the thread, which may take
/// one commit.
pub struct WriterHandle {
    queue: Arc<dyn Close>,
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
) -> io::Result<WriterHandle> {
    let closer: Arc<dyn Close> = queue.clone();
    let (at_end, ended) = oneshot::channel();
    let writer = Writer {
        encoder,
        log,
        queue,
        rules,
        backlog: VecDeque::new(),
        group: Group::default(),
        sync_due: None,
    };
    let thread = thread::Builder::new().name("spool-writer".to_owned()).spawn(move || {
        let _at_end = at_end;
        writer.run();
    })?;
    Ok(WriterHandle { queue: closer, ended: Some(ended), thread: Some(thread) })
}
