//! Delivery's memory on disk: how far it has come, and the inserts that it is making.
//!
//! The plan of an insert is durable before the insert is sent. Whatever happens then (a kill, a lost
//! reply), the next try sends the same rows, sealed the same way, under the same token, and
//! ClickHouse keeps one of the two. Deciding anew after a restart could put a row whose author
//! changed their mind in between into a second partition, where the token does not reach.
//!
//! The file is `delivery.json` in the spool's folder, replaced whole each time. A program from before
//! several inserts were in flight wrote version 1, with one plan at most; it is read, and never written.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::split::{RowRange, Split};
use crate::spool::{self, Position, Reserve, fs::write_atomically};

/// The layout's version.
const VERSION: u32 = 2;

/// Delivery's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// The spool that the positions are of.
    pub spool_id: Option<Uuid>,
    /// Everything before it is in ClickHouse, or in quarantine.
    pub cursor: u64,
    /// The inserts from the cursor on that were begun, in the order of their positions. They do not
    /// overlap, and the first one is not done.
    pub plans: Vec<Plan>,
}

/// An insert, so described that it can be repeated to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Where its first frame starts, or the damage before it.
    pub start: u64,
    /// Where its last frame ends.
    pub end: u64,
    /// How many rows it has; 0 if the program that made the plan did not say.
    #[serde(default)]
    pub rows: u32,
    /// The column `sealed_at` of all its rows, in microseconds since the epoch.
    pub sealed_at: i64,
    /// The rows whose scope the seal narrowed, counted from the first row of the plan.
    pub narrowed: Vec<Narrowed>,
    /// Rows that are not inserted, since the person was erased whose they are. They count among `rows`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<RowRange>,
    /// What has come of it.
    #[serde(default)]
    pub progress: Progress,
}

/// What has come of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It goes into one insert, which is not known to have ended.
    #[default]
    Whole,
    /// ClickHouse refused it for good. It goes in by parts, so that the rows to blame are found.
    Split(Split),
    /// All of it is in ClickHouse, or in quarantine.
    Done,
}

/// A row that the seal narrowed: its number, `training_scope` and `eligibility_reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Narrowed(pub u32, pub i8, pub i8);

impl Plan {
    /// The rows to insert next; none when it is done.
    #[must_use]
    pub fn current(&self) -> Option<RowRange> {
        match &self.progress {
            Progress::Whole => Some(self.all()),
            Progress::Split(split) => split.current(),
            Progress::Done => None,
        }
    }

    /// Of some of its rows those that are inserted, as ranges in order.
    #[must_use]
    pub fn left_of(&self, rows: RowRange) -> Vec<RowRange> {
        let mut left = Vec::new();
        let mut start = rows.start;
        for erased in self.erased.iter().filter(|it| it.end > rows.start && it.start < rows.end) {
            left.push(RowRange { start, end: erased.start.max(start) });
            start = erased.end;
        }
        left.push(RowRange { start, end: rows.end });
        left.retain(|it| !it.is_empty());
        left
    }

    /// All of its rows.
    #[must_use]
    pub const fn all(&self) -> RowRange {
        RowRange { start: 0, end: self.rows }
    }

    /// The token that ClickHouse deduplicates by. It depends on the place in the spool alone.
    #[must_use]
    pub fn token(&self, spool_id: Uuid, rows: RowRange) -> String {
        let whole = format!("{spool_id}:{}-{}", self.start, self.end);
        match &self.progress {
            Progress::Split(_) => format!("{whole}:{}-{}", rows.start, rows.end),
            Progress::Whole | Progress::Done => whole,
        }
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
    /// A newer version of this program wrote it.
    #[error(
        "delivery's state {path} has version {version}, and this program knows none above {VERSION}: \
         run the newer program"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
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

impl StateError {
    /// Whether the disk was full, which passes.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        matches!(self, Self::Write { source, .. } if spool::is_out_of_space(source))
    }
}

/// The file that holds the state.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    reserve: Option<Reserve>,
}

impl StateFile {
    /// The file in a spool's folder.
    #[must_use]
    pub fn in_dir(spool_dir: &Path) -> Self {
        Self { path: spool_dir.join("delivery.json"), reserve: None }
    }

    /// The same, written with the room of the spool's reserve if need be: a spool whose state cannot be
    /// written on a full disk would never drain, and the disk would stay full.
    #[must_use]
    pub fn with_reserve(self, reserve: Reserve) -> Self {
        Self { reserve: Some(reserve), ..self }
    }

    /// Reads it; the beginning, if there is none.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or was written by a newer program.
    pub fn load(&self) -> Result<State, StateError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::beginning()),
            Err(source) => return Err(StateError::Read { path: self.path.clone(), source }),
        };
        let damaged = |message: String| StateError::Damaged { path: self.path.clone(), message };
        let unreadable = |error: serde_json::Error| damaged(error.to_string());
        let Versioned { version } = serde_json::from_str(&text).map_err(unreadable)?;
        let state = match version {
            1 => serde_json::from_str::<version_1::State>(&text).map_err(unreadable)?.into(),
            VERSION => serde_json::from_str::<State>(&text).map_err(unreadable)?,
            version if version > VERSION => {
                return Err(StateError::Version { path: self.path.clone(), version });
            }
            version => return Err(damaged(format!("there is no version {version}"))),
        };
        state.check().map_err(|rule| damaged(rule.to_owned()))?;
        Ok(state)
    }

    /// Writes it, durably and whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store(&self, state: &State) -> Result<(), StateError> {
        let failed = |source| StateError::Write { path: self.path.clone(), source };
        let text = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        match &self.reserve {
            Some(reserve) => reserve.write_atomically(&self.path, &text),
            None => write_atomically(&self.path, &text),
        }
        .map_err(failed)
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// One insert at a time, whole or not at all.
mod version_1 {
    use serde::Deserialize;
    use uuid::Uuid;

    use super::Plan;

    #[derive(Deserialize)]
    pub(super) struct State {
        spool_id: Option<Uuid>,
        cursor: u64,
        plan: Option<Plan>,
    }

    impl From<State> for super::State {
        fn from(old: State) -> Self {
            Self {
                spool_id: old.spool_id,
                cursor: old.cursor,
                plans: old.plan.into_iter().collect(),
                ..Self::beginning()
            }
        }
    }
}

impl State {
    /// Nothing delivered yet.
    #[must_use]
    pub const fn beginning() -> Self {
        Self { version: VERSION, spool_id: None, cursor: 0, plans: Vec::new() }
    }

    /// Everything before it belongs to a plan, or is done.
    #[must_use]
    pub fn planned(&self) -> Position {
        Position(self.plans.last().map_or(self.cursor, |plan| plan.end))
    }

    fn check(&self) -> Result<(), &'static str> {
        let mut at = self.cursor;
        for plan in &self.plans {
            if plan.start < at {
                return Err("its plans overlap each other, or what is done");
            }
            if plan.end <= plan.start {
                return Err("a plan ends where it starts");
            }
            if plan.narrowed.iter().any(|it| plan.rows > 0 && it.0 >= plan.rows) {
                return Err("a plan narrows a row that it does not have");
            }
            let in_order = plan.erased.is_sorted_by(|a, b| a.end <= b.start);
            if !in_order || plan.erased.iter().any(|it| it.is_empty() || it.end > plan.rows) {
                return Err("a plan leaves rows out that it does not have");
            }
            if let Progress::Split(split) = &plan.progress
                && !split.is_of(plan.rows)
            {
                return Err("a plan's parts are not parts of it");
            }
            at = plan.end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(start: u64, end: u64) -> Plan {
        Plan {
            start,
            end,
            rows: 10,
            sealed_at: 7,
            narrowed: vec![Narrowed(3, 0, 7)],
            erased: Vec::new(),
            progress: Progress::Whole,
        }
    }

    fn planned() -> State {
        let done = Plan { progress: Progress::Done, ..plan(250, 300) };
        let split = Plan { progress: Progress::Split(Split::of(10)), ..plan(300, 310) };
        State {
            cursor: 100,
            spool_id: Some(Uuid::nil()),
            plans: vec![plan(100, 250), done, split],
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
        assert_eq!(planned().planned(), Position(310));
        assert_eq!(State { cursor: 5, ..State::beginning() }.planned(), Position(5));
    }

    #[test]
    fn that_of_the_program_before_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        let id = Uuid::nil();
        std::fs::write(
            &file.path,
            format!(
                r#"{{"version":1,"spool_id":"{id}","cursor":100,"plan":
                {{"start":100,"end":250,"sealed_at":7,"narrowed":[[3,0,7]]}}}}"#
            ),
        )
        .unwrap();
        let expected = State { plans: vec![Plan { rows: 0, ..plan(100, 250) }], ..planned() };
        assert_eq!(file.load().unwrap(), expected);
        std::fs::write(&file.path, r#"{"version":1,"spool_id":null,"cursor":7,"plan":null}"#).unwrap();
        assert_eq!(file.load().unwrap(), State { cursor: 7, ..State::beginning() });
    }

    #[test]
    fn damage_is_an_error_and_not_a_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        let file = StateFile::in_dir(dir.path());
        for text in ["", "{}", r#"{"version":0,"spool_id":null,"cursor":0,"plans":[]}"#] {
            std::fs::write(&file.path, text).unwrap();
            assert!(matches!(file.load(), Err(StateError::Damaged { .. })), "{text}");
        }
        std::fs::write(&file.path, r#"{"version":3}"#).unwrap();
        assert!(matches!(file.load(), Err(StateError::Version { version: 3, .. })));
        let rows: Rows = |start, end| RowRange { start, end };
        let wrong: [fn(&mut State, Rows); 5 + 2] = [
            |state, rows| state.plans[0].erased = vec![rows(9, 11)],
            |state, rows| state.plans[0].erased = vec![rows(4, 6), rows(5, 7)],
            |state, _| state.cursor = 101,
            |state, _| state.plans[0].end = 100,
            |state, _| state.plans[1].start = 249,
            |state, _| state.plans[0].narrowed[0].0 = 10,
            |state, _| state.plans[2].rows = 9,
        ];
        for change in wrong {
            let mut state = planned();
            change(&mut state, rows);
            file.store(&state).unwrap();
            assert!(matches!(file.load(), Err(StateError::Damaged { .. })), "{state:?}");
        }
    }

    type Rows = fn(u32, u32) -> RowRange;

    #[test]
    fn rows_of_the_erased_are_left_out_of_every_part() {
        let rows = |start, end| RowRange { start, end };
        let plan = Plan { erased: vec![rows(0, 2), rows(4, 5), rows(8, 10)], ..plan(0, 1) };
        assert_eq!(plan.left_of(plan.all()), [rows(2, 4), rows(5, 8)]);
        assert_eq!(plan.left_of(rows(1, 5)), [rows(2, 4)]);
        assert_eq!(plan.left_of(rows(3, 6)), [rows(3, 4), rows(5, 6)]);
        assert_eq!(plan.left_of(rows(8, 10)), []);
        assert_eq!(Plan { erased: Vec::new(), ..plan }.left_of(rows(1, 5)), [rows(1, 5)]);
    }

    #[test]
    fn the_token_depends_on_the_place_alone() {
        let token = |plan: &Plan| plan.token(Uuid::nil(), plan.current().unwrap());
        let whole = plan(100, 250);
        let other = Plan { sealed_at: 8, narrowed: Vec::new(), ..whole.clone() };
        assert_eq!(token(&whole), token(&other));
        let split = Plan { progress: Progress::Split(Split::of(10)), ..whole.clone() };
        assert_ne!(token(&whole), token(&split), "a part is not taken for the whole");
    }
}
