//! Waiting for a file lock without holding up a thread that cannot be cancelled.

use std::{
    fs::{File, TryLockError},
    io,
    time::Duration,
};

use tokio::time::Instant;

/// How often a taken lock is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Takes the exclusive lock of an open file; `false` when it was still taken after `patience`
/// (`None`: never gives up). The lock lasts as long as any descriptor of this opening of the file,
/// an inherited one included, and ends with the processes that hold it.
pub(super) async fn acquire(file: &File, patience: Option<Duration>) -> io::Result<bool> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(false);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Polls a future once.
#[cfg(test)]
pub(super) async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
