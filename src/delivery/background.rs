//! Work on rows that are durable already, and can wait: one thread of a lower priority, so that requests that
//! come in while an insert is prepared are not kept waiting by it.
//!
//! Reading, sealing and joining the rows of an insert is tens of milliseconds of a processor, once a second or
//! oftener. On threads like those that answer clients, the answers of just then take as much longer
//! (docs/performance.md). One thread is enough for a million rows a second in small requests, of which it has the most to do.

use std::{io, sync::mpsc, thread};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

/// How much lower the priority is: nice values are added up, and each takes a fifth of the weight.
const NICENESS: i32 = 5;
/// What may wait: delivery asks for one thing at a time, and goes on when it is done.
const QUEUE: usize = 8;
/// The highest nice value there is.
const NICEST: i32 = 19;

type Work = Box<dyn FnOnce() + Send>;

/// The thread that was to do the work has ended, for something that it did panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread that prepares inserts has panicked")]
pub struct WorkerPanicked;

/// The thread. It ends when this is dropped and all work is done.
#[derive(Debug)]
pub(super) struct Background(mpsc::SyncSender<Work>);

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no room for another thread.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, work) = mpsc::sync_channel::<Work>(QUEUE);
        thread::Builder::new().name("delivery".to_owned()).spawn(move || {
            step_back();
            work.iter().for_each(|work| work());
        })?;
        Ok(Self(sender))
    }

    /// Has something done behind what was asked for before, and waits for it.
    ///
    /// # Errors
    /// It, or something before it, panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkerPanicked> {
        let (done, result) = oneshot::channel();
        let work = Box::new(move || {
            // Whoever asked may be gone.
            let _ = done.send(work());
        });
        self.0.send(work).map_err(|_| WorkerPanicked)?;
        result.await.map_err(|_| WorkerPanicked)
    }
}

/// Lowers the priority of this thread. On Linux alone: elsewhere it would be the whole process's.
fn step_back() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let lowered = getpriority_process(None)
        .and_then(|niceness| setpriority_process(None, (niceness + NICENESS).min(NICEST)));
    if let Err(error) = lowered {
        tracing::debug!(%error, "inserts are prepared at the priority of all else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_in_order_at_a_lower_priority() {
        let background = Background::start().unwrap();
        let (first, second) = tokio::join!(
            background.run(|| thread::sleep(std::time::Duration::from_millis(20))),
            background.run(|| (thread::current().name().map(str::to_owned), getpriority_process(None)))
        );
        first.unwrap();
        let (name, niceness) = second.unwrap();
        assert_eq!(name.as_deref(), Some("delivery"));
        if cfg!(target_os = "linux") {
            let own = getpriority_process(None).unwrap();
            assert_eq!(niceness.unwrap(), (own + NICENESS).min(NICEST));
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_to_whoever_waits_and_to_all_after() {
        let background = Background::start().unwrap();
        assert_eq!(background.run(|| panic!("on purpose")).await, Err::<(), _>(WorkerPanicked));
        assert_eq!(background.run(|| 1).await, Err(WorkerPanicked));
    }
}
