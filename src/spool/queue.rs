//! The way into the spool: a queue bounded in bytes, in front of the one writer.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Position,
    store::{Store, guard},
};

/// An append that did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk or the spool's limit is reached. It passes when delivery has caught up, or when
    /// somebody makes room.
    #[error("the spool is full; it takes more once delivered segments are removed or the disk has room")]
    Full,
    /// Too much waits in memory. It passes within a few commits.
    #[error("too much waits for the spool's next commit; try again shortly")]
    QueueFull,
    /// It can never be written.
    #[error("the item has {bytes} bytes and the most that can be written at once is {max_bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The disk failed, and the writer has ended. Whether this item is on the disk is not known.
    #[error("the spool can no longer be written: {0}")]
    Poisoned(Arc<str>),
    /// The writer was closed.
    #[error("the spool is closed")]
    Closed,
}

/// How many items are about to be appended, as far as who appends them can tell. A commit waits a little for them
/// while they are more than it holds. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Expected(Arc<AtomicUsize>);

impl Expected {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub fn one_more(&self) -> Coming {
        self.0.fetch_add(1, Ordering::Relaxed);
        Coming(Arc::clone(&self.0))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// An item that is [expected](Expected).
#[derive(Debug)]
pub struct Coming(Arc<AtomicUsize>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An item, and who waits for it.
pub(super) struct Pending<T> {
    pub(super) item: T,
    /// What it counts for in the queue.
    pub(super) bytes: usize,
    pub(super) done: oneshot::Sender<Result<Position, AppendError>>,
}

/// Why the writer wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// There is work.
    Items,
    /// The time it asked for has come.
    Due,
    /// Something was released.
    Nudged,
    /// There will be no more work.
    Closed,
}

/// How soon it is noticed that items are no longer expected, of which none came.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

struct State<T> {
    items: VecDeque<Pending<T>>,
    /// Of what waits, and of what the writer has taken and not answered.
    bytes: usize,
    nudged: bool,
    ended: Option<AppendError>,
    /// The writer waits for items.
    waited_for: bool,
    /// The writer has nothing to do.
    #[cfg(test)]
    resting: bool,
}

/// The queue.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
    max_bytes: usize,
    expected: Expected,
    #[cfg(test)]
    rests: Condvar,
}

impl<T> Queue<T> {
    pub(super) fn new(max_bytes: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            nudged: false,
            ended: None,
            waited_for: false,
            #[cfg(test)]
            resting: false,
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            max_bytes,
            expected: Expected::default(),
            #[cfg(test)]
            rests: Condvar::new(),
        }
    }

    fn push(&self, pending: Pending<T>) -> Result<(), AppendError> {
        let mut state = guard(&self.state);
        if let Some(ended) = &state.ended {
            return Err(ended.clone());
        }
        if pending.bytes > self.max_bytes - state.bytes {
            return Err(AppendError::QueueFull);
        }
        state.bytes += pending.bytes;
        state.items.push_back(pending);
        #[cfg(test)]
        {
            state.resting = false;
        }
        let wake = std::mem::take(&mut state.waited_for);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for work, and moves it to `into`, which is empty.
    pub(super) fn wait(&self, into: &mut VecDeque<Pending<T>>, due: Option<Instant>) -> Wake {
        let mut state = guard(&self.state);
        loop {
            if !state.items.is_empty() {
                std::mem::swap(&mut state.items, into);
                return Wake::Items;
            }
            if state.ended.is_some() {
                return Wake::Closed;
            }
            if std::mem::take(&mut state.nudged) {
                return Wake::Nudged;
            }
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Wake::Due;
            }
            #[cfg(test)]
            self.rest(&mut state);
            state.waited_for = true;
            let Some(left) = left else {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Moves what waits to `into`, which is empty. If nothing does, it waits for items as long as more of them are
    /// expected than the `gathered` ones, and until `until` at most.
    pub(super) fn wait_for_more(&self, into: &mut VecDeque<Pending<T>>, gathered: usize, until: Instant) {
        let mut state = guard(&self.state);
        loop {
            if !state.items.is_empty() {
                return std::mem::swap(&mut state.items, into);
            }
            let left = until.saturating_duration_since(Instant::now());
            if state.ended.is_some() || self.expected.count() <= gathered || left.is_zero() {
                return;
            }
            // An item that was expected and does not come wakes nobody.
            let left = left.min(LOOK_AGAIN);
            state.waited_for = true;
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// So many bytes are answered for.
    pub(super) fn settle(&self, bytes: usize) {
        guard(&self.state).bytes -= bytes;
    }

    /// Lets the writer look whether there is something to give back.
    pub(super) fn nudge(&self) {
        let mut state = guard(&self.state);
        state.nudged = true;
        #[cfg(test)]
        {
            state.resting = false;
        }
        drop(state);
        self.wake.notify_one();
    }

    #[cfg(test)]
    fn rest(&self, state: &mut State<T>) {
        state.resting = true;
        self.rests.notify_all();
    }

    /// Waits until the writer has done all that it has to do, or has ended.
    #[cfg(test)]
    pub(super) fn wait_until_resting(&self) {
        let working = |state: &mut State<T>| !state.resting && state.ended.is_none();
        drop(self.rests.wait_while(guard(&self.state), working).unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes nothing more; what waits is still written.
    pub(super) fn close(&self) {
        guard(&self.state).ended.get_or_insert(AppendError::Closed);
        self.wake.notify_one();
    }

    /// Takes nothing more, and refuses what waits.
    pub(super) fn poison(&self, reason: &str) {
        let error = AppendError::Poisoned(reason.into());
        let refused = {
            let mut state = guard(&self.state);
            state.ended = Some(error.clone());
            #[cfg(test)]
            self.rest(&mut state);
            state.bytes = 0;
            std::mem::take(&mut state.items)
        };
        for pending in refused {
            // Whoever waited may be gone.
            let _ = pending.done.send(Err(error.clone()));
        }
    }

    fn ended(&self) -> Option<AppendError> {
        guard(&self.state).ended.clone()
    }
}

/// Appends items to the spool. Clones share one queue.
pub struct Appender<T> {
    queue: Arc<Queue<T>>,
    store: Arc<Store>,
    item_bytes: fn(&T) -> usize,
    max_item_bytes: usize,
}

impl<T> Clone for Appender<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), store: Arc::clone(&self.store), ..*self }
    }
}

impl<T> fmt::Debug for Appender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appender").finish_non_exhaustive()
    }
}

impl<T> Appender<T> {
    /// What an item takes in memory besides its own bytes, so that not even empty ones come free.
    const OVERHEAD_BYTES: usize = size_of::<Pending<T>>();

    pub(super) fn new(
        queue: Arc<Queue<T>>,
        store: Arc<Store>,
        item_bytes: fn(&T) -> usize,
        max_item_bytes: usize,
    ) -> Self {
        let max_item_bytes = max_item_bytes.min(queue.max_bytes.saturating_sub(Self::OVERHEAD_BYTES));
        Self { queue, store, item_bytes, max_item_bytes }
    }

    /// Appends one item; resolves when the commit that holds it is durable as the
    /// [policy](super::FsyncPolicy) says, with the position where that commit ends. A dropped future
    /// does not take the item back.
    ///
    /// # Errors
    /// See [`AppendError`]. Nothing was written, except that [`AppendError::Poisoned`] cannot know.
    pub async fn append(&self, item: T) -> Result<Position, AppendError> {
        let bytes = (self.item_bytes)(&item);
        if bytes > self.max_item_bytes {
            return Err(AppendError::TooLarge { bytes, max_bytes: self.max_item_bytes });
        }
        if self.store.is_over_limit() {
            return Err(self.queue.ended().unwrap_or(AppendError::Full));
        }
        let (done, durable) = oneshot::channel();
        self.queue.push(Pending { item, bytes: bytes + Self::OVERHEAD_BYTES, done })?;
        durable.await.unwrap_or_else(|_| {
            // The writer dropped the item without an answer, which only a panic makes it do.
            Err(self.queue.ended().unwrap_or_else(|| AppendError::Poisoned("its writer panicked".into())))
        })
    }

    /// Where to say that items are about to be appended.
    #[must_use]
    pub fn expected(&self) -> Expected {
        self.queue.expected.clone()
    }

    /// What an item counts for, about what it takes on the disk.
    #[must_use]
    pub fn item_bytes(&self, item: &T) -> usize {
        (self.item_bytes)(item)
    }

    /// Whether an append has a chance: the writer is there, and there is room. After something
    /// was refused for want of room, this asks the disk.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.queue.ended().is_none() && !self.store.is_full()
    }

    /// Why the writer has ended, if a fault ended it.
    #[must_use]
    pub fn poisoned(&self) -> Option<String> {
        match self.queue.ended() {
            Some(AppendError::Poisoned(reason)) => Some(reason.to_string()),
            _ => None,
        }
    }
}
