//! What the way between a collector and ClickHouse does to one request, from a generator.

use std::time::Duration;

use fastrand::Rng;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A change of consent is written.
    LedgerInsert,
    /// One person's records are read.
    LedgerRead,
    /// The tail of the ledger is read into a collector's view.
    TailRead,
    /// Events are written.
    EventInsert,
    /// The rest: nothing is done to it.
    Other,
}

impl Kind {
    /// Those that are meddled with.
    pub(crate) const ALL: [Self; 4] =
        [Self::LedgerInsert, Self::LedgerRead, Self::TailRead, Self::EventInsert];

    /// Of a request's head. Parameters and settings are in its first line.
    pub(crate) fn of(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head).replace("%20", "+");
        let line = text.lines().next().unwrap_or_default();
        if line.contains("INSERT+INTO+consent_changes") {
            Self::LedgerInsert
        } else if line.contains("INSERT+INTO+events") {
            Self::EventInsert
        } else if line.contains("default_format=RowBinary") {
            Self::TailRead
        } else if line.contains("default_format=JSONEachRow") {
            Self::LedgerRead
        } else {
            Self::Other
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::LedgerInsert => "ledger inserts",
            Self::LedgerRead => "ledger reads",
            Self::TailRead => "tail reads",
            Self::EventInsert => "event inserts",
            Self::Other => "others",
        }
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// Between the head and the body.
    pub(crate) body_late: Option<Duration>,
    /// Before the answer goes on.
    pub(crate) answer_late: Option<Duration>,
    /// The answer is lost, and the connection with it.
    pub(crate) answer_lost: bool,
    /// The connection is cut after so many bytes of the request.
    pub(crate) cut_up: Option<usize>,
    /// After so many bytes of the answer.
    pub(crate) cut_down: Option<usize>,
}

/// How likely faults of one kind of request are, in percent, and how long a delay may be.
struct Odds {
    body_late: u32,
    answer_late: u32,
    lost: u32,
    cut_up: u32,
    cut_down: u32,
    late_ms: u64,
}

const fn odds(kind: Kind) -> Odds {
    match kind {
        // Not for long: the server takes its time over them as well.
        Kind::LedgerInsert => {
            Odds { body_late: 25, answer_late: 8, lost: 3, cut_up: 2, cut_down: 1, late_ms: 600 }
        }
        Kind::LedgerRead => {
            Odds { body_late: 0, answer_late: 10, lost: 1, cut_up: 1, cut_down: 1, late_ms: 400 }
        }
        // A view that is late, as that of a collector far away.
        Kind::TailRead => {
            Odds { body_late: 5, answer_late: 25, lost: 3, cut_up: 2, cut_down: 3, late_ms: 1_500 }
        }
        Kind::EventInsert => {
            Odds { body_late: 8, answer_late: 8, lost: 8, cut_up: 5, cut_down: 2, late_ms: 800 }
        }
        Kind::Other => Odds { body_late: 0, answer_late: 0, lost: 0, cut_up: 0, cut_down: 0, late_ms: 1 },
    }
}

/// A delay beyond the ledger's patience, now and then.
const LONG: (u32, Duration) = (3, Duration::from_millis(3_300));

impl Plan {
    /// What happens to the next request of a connection.
    pub(crate) fn draw(kind: Kind, rng: &mut Rng) -> Self {
        let odds = odds(kind);
        Self {
            body_late: hits(rng, odds.body_late).then(|| delay(rng, odds.late_ms)),
            answer_late: hits(rng, odds.answer_late).then(|| delay(rng, odds.late_ms)),
            answer_lost: hits(rng, odds.lost),
            cut_up: hits(rng, odds.cut_up).then(|| rng.usize(1..2_000)),
            cut_down: hits(rng, odds.cut_down).then(|| rng.usize(1..600)),
        }
    }
}

fn hits(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

fn delay(rng: &mut Rng, up_to_ms: u64) -> Duration {
    let (percent, long) = LONG;
    if hits(rng, percent) { long } else { Duration::from_millis(rng.u64(20..up_to_ms.max(21))) }
}
