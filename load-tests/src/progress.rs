//! What is going on, on stderr: a line now and then, so that logs of a CI run stay readable.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

const INTERVAL: Duration = Duration::from_secs(2);

/// Says what happens next.
pub(crate) fn say(line: &str) {
    // Nothing to be done when stderr is gone.
    let _ = writeln!(std::io::stderr(), "load-tests: {line}");
}

/// Counts of the run, as it goes on.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
}

/// Prints the counts until it is dropped.
pub(crate) struct Lines {
    _task: JoinSet<()>,
}

impl Lines {
    pub(crate) fn start(counters: Arc<Counters>, events: u64) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            let start = Instant::now();
            loop {
                tokio::time::sleep(INTERVAL).await;
                say(&format!(
                    "{:>3} s  {} of {events} events sent, {} acknowledged",
                    start.elapsed().as_secs(),
                    counters.sent.load(Ordering::Relaxed),
                    counters.acknowledged.load(Ordering::Relaxed)
                ));
            }
        });
        // A JoinSet ends its tasks when it is dropped.
        Self { _task: task }
    }
}
