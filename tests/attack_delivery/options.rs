//! What can be set from outside, and how to say so.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// How much is attacked. The defaults are for every run of the tests; `just attack-delivery` asks for more.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// All randomness comes from it.
    pub(crate) seed: u64,
    /// How many collectors are killed with kill -9, or asked to end.
    pub(crate) kills: u64,
    /// How often ClickHouse is killed with kill -9.
    pub(crate) clickhouse_kills: u64,
    /// How long ways are rough, in seconds.
    pub(crate) seconds: u64,
    /// What spools while ClickHouse is away.
    pub(crate) spool_bytes: u64,
    /// How many events are sent twice at the same time.
    pub(crate) twins: u64,
}

impl Options {
    /// `DELIVERY_SEED`, `DELIVERY_KILLS`, `DELIVERY_CLICKHOUSE_KILLS`, `DELIVERY_SECONDS`,
    /// `DELIVERY_SPOOL_BYTES`, `DELIVERY_TWINS`.
    pub(crate) fn from_env() -> Self {
        Self {
            seed: variable("DELIVERY_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)),
            kills: variable("DELIVERY_KILLS").unwrap_or(8),
            clickhouse_kills: variable("DELIVERY_CLICKHOUSE_KILLS").unwrap_or(2),
            seconds: variable("DELIVERY_SECONDS").unwrap_or(3),
            spool_bytes: variable("DELIVERY_SPOOL_BYTES").unwrap_or(16 << 20),
            twins: variable("DELIVERY_TWINS").unwrap_or(1_000),
        }
    }

    /// A generator for one scenario, so that it is the same whichever others run.
    pub(crate) fn rng(&self, scenario: &str) -> fastrand::Rng {
        let salt = scenario.bytes().fold(0_u64, |salt, byte| salt.wrapping_mul(31).wrapping_add(byte.into()));
        fastrand::Rng::with_seed(self.seed ^ salt)
    }

    /// Where a scenario that found something puts the collectors' logs.
    pub(crate) fn logs(&self, scenario: &str) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("attack-delivery-{}-{scenario}", self.seed))
    }
}

/// How to do it again.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, kills, clickhouse_kills, seconds, spool_bytes, twins } = self;
        write!(
            f,
            "DELIVERY_SEED={seed} DELIVERY_KILLS={kills} DELIVERY_CLICKHOUSE_KILLS={clickhouse_kills} \
             DELIVERY_SECONDS={seconds} DELIVERY_SPOOL_BYTES={spool_bytes} DELIVERY_TWINS={twins} \
             cargo test -p assent --test attack_delivery"
        )
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    let Ok(value) = text.parse() else { panic!("{name}={text} is not a number") };
    Some(value)
}
