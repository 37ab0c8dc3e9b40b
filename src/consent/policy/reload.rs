//! Brings changed files into force while the collector runs, or refuses them whole.

use std::{sync::Arc, time::Duration};

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    Policy, PolicySet, PolicySetError, PolicyStore,
    archive::{ArchiveError, PolicyArchive},
    source::{Fingerprint, PolicySource, SourceError, Texts},
};
use crate::{event::Micros, telemetry};

/// Files must stay as they are for so long before they are taken: a file that is written in place
/// may look whole before it is.
const SETTLE: Duration = Duration::from_millis(200);

/// Looks after the files of the policy.
pub struct PolicyReloader {
    source: PolicySource,
    store: Arc<PolicyStore>,
    archive: PolicyArchive,
    interval: Duration,
    /// What was last acted upon.
    seen: Seen,
    /// Why the files that were last seen are not loaded.
    refused: Option<String>,
    /// The digest of the version whose coming into force was last told of.
    told: Arc<str>,
}

/// What the files hold, or why they cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Content(Fingerprint),
    Nothing(String),
}

impl Seen {
    fn of(read: &Result<Texts, SourceError>) -> Self {
        match read {
            Ok(texts) => Self::Content(texts.fingerprint()),
            Err(error) => Self::Nothing(error.to_string()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Set(#[from] PolicySetError),
    #[error("no copy of the policy can be made: {0}")]
    Archive(#[from] ArchiveError),
}

impl PolicyReloader {
    /// A reloader for a store that holds what the source held a moment ago, and whose versions are
    /// in the archive.
    #[must_use]
    pub fn new(
        source: PolicySource,
        store: Arc<PolicyStore>,
        archive: PolicyArchive,
        interval: Duration,
    ) -> Self {
        let seen = Seen::Content(store.versions().fingerprint().clone());
        let current = store.current();
        telemetry::policy_invalid(false);
        tell("the policy in force", &current, &store.versions());
        let told = Arc::clone(current.shared_digest());
        Self { source, store, archive, interval, seen, refused: None, told }
    }

    /// Runs until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.pause()) => {}
                () = stop.cancelled() => return,
            }
            self.tell_what_came_into_force();
            self.look().await;
        }
    }

    /// Until the next look, or until the next version comes into force.
    fn pause(&self) -> Duration {
        let now = Micros::now();
        let until_next = self.store.versions().next_after(now).map(|next| next.effective_from().0 - now.0);
        until_next
            .and_then(|micros| u64::try_from(micros).ok())
            .map_or(self.interval, |micros| self.interval.min(Duration::from_micros(micros)))
    }

    fn tell_what_came_into_force(&mut self) {
        let current = self.store.current();
        if *current.shared_digest() != self.told {
            self.told = Arc::clone(current.shared_digest());
            tell("another policy is in force", &current, &self.store.versions());
        }
    }

    async fn look(&mut self) {
        let seen = Seen::of(&self.read().await);
        // What was refused may have become right by itself: its date has come, the disk is well.
        if seen == self.seen && self.refused.is_none() {
            return;
        }
        if seen != self.seen {
            tokio::time::sleep(SETTLE).await;
        }
        let read = self.read().await;
        if Seen::of(&read) != seen {
            // Still being written; the next look will find it whole.
            return;
        }
        match self.load(read).await {
            Ok(()) => {
                self.seen = seen;
                self.refused = None;
                telemetry::policy_reloaded(true);
                telemetry::policy_invalid(false);
                let set = self.store.versions();
                tracing::info!(versions = set.versions().len(), "loaded the policy anew");
                self.tell_what_came_into_force();
            }
            Err(error) => {
                let error = error.to_string();
                if seen != self.seen || self.refused.as_ref() != Some(&error) {
                    telemetry::policy_reloaded(false);
                    telemetry::policy_invalid(true);
                    tracing::error!(
                        error,
                        still_in_force = self.store.current().version(),
                        "the policy was changed and cannot be used; the old one stays in force"
                    );
                }
                self.seen = seen;
                self.refused = Some(error);
            }
        }
    }

    async fn read(&self) -> Result<Texts, SourceError> {
        let source = self.source.clone();
        in_background(move || source.read()).await
    }

    /// Checks the versions, makes copies of them, and puts them into force.
    async fn load(&self, read: Result<Texts, SourceError>) -> Result<(), ReloadError> {
        let archive = self.archive.clone();
        let set = in_background(move || {
            let set = PolicySet::from_texts(read.map_err(PolicySetError::from)?, Micros::now())?;
            // What decides must be found again, so it is copied before it does.
            archive.keep(&set)?;
            Ok::<_, ReloadError>(set)
        })
        .await?;
        self.store.replace(set);
        Ok(())
    }
}

/// Runs what blocks on the disk. A panic in it is passed on.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

fn tell(what: &'static str, policy: &Policy, set: &PolicySet) {
    let next = set.next_after(Micros::now()).map(|next| format!("{} from {}", next.version(), next.since()));
    tracing::info!(
        version = policy.version(),
        digest = policy.digest(),
        since = %policy.since(),
        next,
        "{what}"
    );
}

#[cfg(test)]
mod tests;
