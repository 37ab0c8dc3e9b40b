//! What can be set from outside, and how to say so.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// How one attack is made.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// All randomness comes from it.
    pub(crate) seed: u64,
    /// How long the faults last.
    pub(crate) seconds: u64,
    /// How many people there are.
    pub(crate) users: u32,
    /// How many attacks, each with the seed after the last one's.
    pub(crate) rounds: u64,
    /// How long a change of consent has its time already and cannot be read yet.
    pub(crate) commit: Duration,
    /// A safeguard that the collectors go without.
    pub(crate) mutation: Option<&'static str>,
}

impl Options {
    /// `ATTACK_SEED`, `ATTACK_SECONDS`, `ATTACK_USERS`, `ATTACK_ROUNDS`.
    pub(crate) fn from_env() -> Self {
        Self {
            seed: variable("ATTACK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)),
            seconds: variable("ATTACK_SECONDS").unwrap_or(12),
            users: variable("ATTACK_USERS").unwrap_or(300),
            rounds: variable("ATTACK_ROUNDS").unwrap_or(1),
            commit: Duration::from_millis(300),
            mutation: None,
        }
    }

    /// The same with a seed of its own.
    pub(crate) fn with_seed(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// Where the collectors' logs are put when there are findings.
    pub(crate) fn logs(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("attack-{}", self.seed))
    }

    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The generator that all others are forked from.
    pub(crate) fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }
}

/// How to do it again.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, seconds, users, mutation, .. } = self;
        write!(
            f,
            "ATTACK_SEED={seed} ATTACK_SECONDS={seconds} ATTACK_USERS={users} cargo test -p assent --test attack"
        )?;
        match mutation {
            None => f.write_str(" -- consent_holds"),
            Some(mutation) => write!(f, " --features mutations -- mutations::{mutation}"),
        }
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    let Ok(value) = text.parse() else { panic!("{name}={text} is not a number") };
    Some(value)
}
