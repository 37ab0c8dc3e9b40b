//! What the tests share.

mod balancer;
mod collector;
mod message;
mod proxy;
mod server;

use std::{future::Future, time::Duration};

pub(crate) use balancer::Balancer;
pub(crate) use collector::{Collector, Setup, binary, channel};
pub(crate) use message::{EventBuilder, change, event};
pub(crate) use proxy::{Fault, Proxy};
pub(crate) use server::{Database, shared_server};

/// How long anything may take that is waited for. Far more than it needs, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);

/// Looks until something is there.
///
/// # Panics
/// When it is not there in time.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("not in {} s: {what}", PATIENCE.as_secs()),
    }
}
