//! What was asked of the collectors and what they answered, in the time of this one process.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use assent::consent::{ConsentScope, ConsentState};
use uuid::Uuid;

/// A point in time, by this process's monotonic clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Duration);

impl Moment {
    /// What has not ended.
    pub(crate) const NEVER: Self = Self(Duration::MAX);
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NEVER { f.write_str("never") } else { write!(f, "{:.4}s", self.0.as_secs_f64()) }
    }
}

/// Says what time it is.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Moment {
        Moment(self.0.elapsed())
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// OK came in then.
    Acknowledged(Moment),
    /// It failed in a way that lets a client try again, and may have taken effect: UNAVAILABLE, or a
    /// collector that was killed. Whoever worked on it has ended.
    Failed(Moment),
    /// No answer: somebody may be working on it still.
    None,
    /// It was refused and had no effect, which no good request may be.
    Refused(String),
}

impl Answer {
    pub(crate) fn acknowledged(&self) -> Option<Moment> {
        match self {
            Self::Acknowledged(at) => Some(*at),
            _ => None,
        }
    }

    /// When nobody worked on it any more, at the latest.
    pub(crate) fn ended(&self) -> Moment {
        match self {
            Self::Acknowledged(at) | Self::Failed(at) => *at,
            Self::None | Self::Refused(_) => Moment::NEVER,
        }
    }
}

/// A change of consent. A retry is a change of its own; one under the same request id began when
/// the first did.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) user: u32,
    pub(crate) scope: ConsentScope,
    pub(crate) state: ConsentState,
    pub(crate) via: usize,
    pub(crate) began: Moment,
    pub(crate) answer: Answer,
}

impl Change {
    /// A denial, or the taking back of an answer: where silence means no, both are a "no".
    pub(crate) fn is_no(&self) -> bool {
        self.state != ConsentState::Granted
    }
}

/// One request with an event in it.
#[derive(Clone, Debug)]
pub(crate) struct Try {
    pub(crate) via: usize,
    pub(crate) began: Moment,
    pub(crate) answer: Answer,
}

/// An event and every request that it was in.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) user: u32,
    pub(crate) tries: Vec<Try>,
}

impl Event {
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.tries.iter().any(|tried| tried.answer.acknowledged().is_some())
    }
}

/// All that was asked and answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) changes: Vec<Change>,
    pub(crate) events: HashMap<Uuid, Event>,
}

impl History {
    /// Takes in what another actor did.
    pub(crate) fn extend(&mut self, other: Self) {
        self.changes.extend(other.changes);
        self.events.extend(other.events);
    }

    /// Each person's changes, in the order in which they began.
    pub(crate) fn changes_by_user(&self) -> HashMap<u32, Vec<&Change>> {
        let mut by_user: HashMap<u32, Vec<&Change>> = HashMap::new();
        for change in &self.changes {
            by_user.entry(change.user).or_default().push(change);
        }
        for changes in by_user.values_mut() {
            changes.sort_by_key(|change| change.began);
        }
        by_user
    }
}
