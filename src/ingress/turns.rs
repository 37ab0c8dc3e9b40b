//! Requests that have arrived wait here for a processor.
//!
//! Decoding and redacting take milliseconds of a processor's time, and the runtime works on whatever is
//! ready in the order in which it became so. When more comes than can be worked on, the wait would be in
//! the runtime's own queues: nobody could tell how long it is, and a change of consent or a health check would
//! wait behind all of it. So only as many requests are ready at once as there are processors, and the
//! others wait in one queue, of which is known how long it takes:
//!
//! - Once the wait is longer than [`BUSY_AFTER`], the server is *busy*. It is so, too, when much is in flight and
//!   for half a second not one message got from its beginning to its turn within [`SLOW_AFTER`]: then all of them
//!   arrive at once, and none gets done. That clients are slow looks the same, but only if all of them are. Requests of those who take the most
//!   of it are refused then, before their body is read ([`arrival`](super::arrival)).
//! - Nobody waits longer than [`MAX_WAIT`]. What was let in before it got busy and has to wait so long is
//!   refused, which costs much less than to work on it.
//!
//! Who waits here is about to be appended, which the spool is told ([`Expected`]): one commit for many costs less. So
//! that they do wait here, and not unread in their connections, each steps back once for connections to be read.
//!
//! The first is what keeps answers quick; the second is the bound on how slow an answer can be. That queues
//! are to be bounded in time, since nobody knows what a byte will cost on which machine, is the idea of
//! CoDel (K. Nichols, V. Jacobson: "Controlling queue delay", ACM Queue 10(5), 2012).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{spool::Expected, telemetry};

/// A wait that is longer than this is too long to go on as before.
pub(super) const BUSY_AFTER: Duration = Duration::from_millis(250);
/// A message that takes longer than this from its beginning to its turn is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Over which time the fastest message counts.
const PACE_WINDOW: Duration = Duration::from_millis(500);
/// So much may be in flight however slow messages are.
const UNHURRIED_BYTES: u64 = 16 << 20;
/// The longest wait.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(2);

/// The wait was as long as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WaitedTooLong;

/// The queue.
#[derive(Debug)]
pub(super) struct Turns {
    processors: Arc<Semaphore>,
    /// Who waits; all of it is about to be appended.
    waiting: Expected,
    /// Of the last request that got its turn, or was sent away.
    last_wait_micros: AtomicU64,
    pace: Mutex<Pace>,
}

/// How fast messages get from their beginning to their turn.
#[derive(Debug)]
struct Pace {
    since: Instant,
    /// The fastest one since then.
    least: Option<Duration>,
    /// Of the last window in which there was any.
    slow: bool,
}

impl Pace {
    fn at(&mut self, now: Instant) -> &mut Self {
        if now.saturating_duration_since(self.since) >= PACE_WINDOW {
            self.slow = self.least.take().map_or(self.slow, |least| least > SLOW_AFTER);
            self.since = now;
        }
        self
    }

    fn took(&mut self, now: Instant, duration: Duration) {
        let pace = self.at(now);
        pace.least = Some(pace.least.map_or(duration, |least| least.min(duration)));
    }
}

/// A turn. To be dropped when the work begins, which is then done without a break: it is the next one's
/// turn to be ready.
pub(super) type Turn = OwnedSemaphorePermit;

impl Turns {
    pub(super) fn new(processors: usize, waiting: Expected) -> Arc<Self> {
        Arc::new(Self {
            processors: Arc::new(Semaphore::new(processors.max(1))),
            waiting,
            last_wait_micros: AtomicU64::new(0),
            pace: Mutex::new(Pace { since: Instant::now(), least: None, slow: false }),
        })
    }

    /// Whether more comes than can be worked on.
    pub(super) fn is_busy(&self, in_flight_bytes: u64) -> bool {
        let waits = self.waiting.count() > 0
            && Duration::from_micros(self.last_wait_micros.load(Ordering::Relaxed)) > BUSY_AFTER;
        waits || (in_flight_bytes > UNHURRIED_BYTES && self.pace().at(Instant::now()).slow)
    }

    /// A message took so long from its beginning to its turn.
    pub(super) fn took(&self, duration: Duration) {
        self.pace().took(Instant::now(), duration);
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn; first come, first served.
    pub(super) async fn take(self: Arc<Self>) -> Result<Turn, WaitedTooLong> {
        let _waiting = self.waiting.one_more();
        // What has come in on other connections is read first, and counted. How long that takes does not say that
        // there is too much to do: the first text of all builds tables, say.
        tokio::task::yield_now().await;
        let since = Instant::now();
        let turn = tokio::time::timeout(MAX_WAIT, Arc::clone(&self.processors).acquire_owned()).await;
        self.waited(since.elapsed());
        // It is never closed.
        turn.ok().and_then(Result::ok).ok_or(WaitedTooLong)
    }

    fn waited(&self, wait: Duration) {
        telemetry::turn_taken(wait);
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.last_wait_micros.store(micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn the_first_in_the_queue_is_the_next() {
        let turns = Turns::new(1, Expected::default());
        let turn = Arc::clone(&turns).take().await.unwrap();
        let (mut one, mut two) = (Box::pin(Arc::clone(&turns).take()), Box::pin(Arc::clone(&turns).take()));
        for _ in 0..2 {
            // The first time they step back, for what has come in to be read.
            assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending());
        }
        drop(turn);
        assert!(poll!(&mut two).is_pending());
        let turn = one.await.unwrap();
        drop(turn);
        drop(two.await.unwrap());
        assert_eq!(turns.waiting.count(), 0);
    }

    #[tokio::test]
    async fn it_is_busy_while_the_wait_is_long_and_somebody_waits() {
        let turns = Turns::new(1, Expected::default());
        let turn = Arc::clone(&turns).take().await.unwrap();
        let mut waits = Box::pin(Arc::clone(&turns).take());
        assert!(poll!(&mut waits).is_pending());
        assert!(!turns.is_busy(0), "nobody waited long so far");
        turns.waited(BUSY_AFTER * 2);
        assert!(turns.is_busy(0));
        // Who goes away while he waits is out of the queue.
        drop(waits);
        assert!(!turns.is_busy(0));
        drop(turn);
    }

    #[test]
    fn it_is_slow_when_even_the_fastest_of_a_while_was_slow() {
        let start = Instant::now();
        let mut pace = Pace { since: start, least: None, slow: false };
        let window = |n: u32| start + PACE_WINDOW * n;
        pace.took(start, SLOW_AFTER * 3);
        pace.took(start, SLOW_AFTER * 2);
        assert!(!pace.at(start).slow, "the window is not over");
        assert!(pace.at(window(1)).slow);
        // Nothing at all says nothing new.
        assert!(pace.at(window(2)).slow);
        // One fast message among slow ones: it is the others' clients.
        pace.took(window(2), SLOW_AFTER * 9);
        pace.took(window(2), SLOW_AFTER / 9);
        assert!(!pace.at(window(3)).slow);
    }

    #[tokio::test]
    async fn slow_messages_matter_when_much_is_in_flight() {
        let turns = Turns::new(1, Expected::default());
        turns.pace().slow = true;
        assert!(turns.is_busy(UNHURRIED_BYTES + 1));
        assert!(!turns.is_busy(UNHURRIED_BYTES));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let turns = Turns::new(1, Expected::default());
        let _turn = Arc::clone(&turns).take().await.unwrap();
        assert_eq!(Arc::clone(&turns).take().await.unwrap_err(), WaitedTooLong);
    }
}
