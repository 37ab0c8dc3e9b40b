//! Delivery's memory on disk: how far it has come, and the insert that it is about to make.
//!
//! The plan of an insert is durable before the insert is sent. Whatever happens then (a kill, a lost
//! reply), the next try sends the same rows, sealed the same way, under the same token, and
//! ClickHouse keeps one of the two. Deciding anew after a restart could put a row whose author
//! changed their mind in between into a second partition, where the token does not reach.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::spool::{Position, fs::write_atomically};

/// The layout's version.
const VERSION: u32 = 1;

/// Delivery's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// The spool that the positions are of.
    pub spool_id: Option<Uuid>,
    /// Everything before it is in ClickHouse, or in quarantine.
    pub cursor: u64,
    /// The insert under way, if any. It starts at the cursor.
    pub plan: Option<Plan>,
}

/// An insert, so described that it can be repeated to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Where its first frame starts.
    pub start: u64,
    /// Where its last frame ends.
    pub end: u64,
    /// The column `sealed_at` of all its rows, in microseconds since the epoch.
    pub sealed_at: i64,
    /// The rows whose scope the seal narrowed, counted from the first row of the plan.
    pub narrowed: Vec<Narrowed>,
}

/// A row that the seal narrowed: its number, `training_scope` and `eligibility_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Narrowed(pub u32, pub i8, pub i8);

impl Plan {
    /// The token that ClickHouse deduplicates by. It depends on the position in the spool alone.
    #[must_use]
    pub fn token(&self, spool_id: Uuid) -> String {
        format!("{spool_id}:{}-{}", self.start, self.end)
    }
}

/// State that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("delivery's state {path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there and is not what was written.
    #[error(
        "delivery's state {path} is damaged: {message}; remove it to deliver the whole spool again \
         (rows count once by their event id)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The file cannot be written.
    #[error("delivery's state {path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file that holds the state.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The file in a spool's folder.
    #[must_use]
    pub fn in_dir(spool_dir: &Path) -> Self {
        Self { path: spool_dir.join("delivery.json") }
    }

    /// Reads it; the beginning, if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn load(&self) -> Result<State, StateError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::beginning()),
            Err(source) => return Err(StateError::Read { path: self.path.clone(), source }),
        };
        let damaged = |message: String| StateError::Damaged { path: self.path.clone(), message };
        let state: State = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if state.version != VERSION {
            return Err(damaged(format!("it has version {}, not {VERSION}", state.version)));
        }
        if state.plan.as_ref().is_some_and(|plan| plan.start != state.cursor || plan.end <= plan.start) {
            return Err(damaged("its plan does not start at its cursor".to_owned()));
        }
        Ok(state)
    }

    /// Writes it, durably and whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store(&self, state: &State) -> Result<(), StateError> {
        let failed = |source| StateError::Write { path: self.path.clone(), source };
        let text = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        write_atomically(&self.path, &text).map_err(failed)
    }
}

impl State {
    /// Nothing delivered yet.
    #[must_use]
    pub const fn beginning() -> Self {
        Self { version: VERSION, spool_id: None, cursor: 0, plan: None }
    }

    /// The lowest position that was never handed out, so far as delivery knows.
    #[must_use]
    pub fn min_next(&self) -> Position {
        Position(self.plan.as_ref().map_or(self.cursor, |plan| plan.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned() -> State {
        State {
            cursor: 100,
            spool_id: Some(Uuid::nil()),
            plan: Some(Plan { start: 100, end: 250, sealed_at: 7, narrowed: vec![Narrowed(3, 0, 7)] }),
            ..State::beginning()
        }
    }

    #[test]
    fn it_is_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        assert_eq!(file.load().unwrap(), State::beginning());
        file.store(&planned()).unwrap();
        assert_eq!(file.load().unwrap(), planned());
        assert_eq!(planned().min_next(), Position(250));
    }

    #[test]
    fn damage_is_an_error_and_not_a_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        for text in ["", "{}", "{\"version\":2,\"spool_id\":null,\"cursor\":0,\"plan\":null}"] {
            std::fs::write(&file.path, text).unwrap();
            assert!(matches!(file.load(), Err(StateError::Damaged { .. })), "{text}");
        }
        let mut torn = planned();
        torn.cursor = 99;
        file.store(&torn).unwrap();
        assert!(matches!(file.load(), Err(StateError::Damaged { .. })));
    }

    #[test]
    fn the_token_depends_on_the_position_alone() {
        let plan = planned().plan.unwrap();
        let mut other = plan.clone();
        other.sealed_at = 8;
        other.narrowed.clear();
        assert_eq!(plan.token(Uuid::nil()), other.token(Uuid::nil()));
    }
}
