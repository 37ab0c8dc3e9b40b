//! Safeguards that can be taken away, so that the attacks on consent (`tests/attack`) and on delivery
//! (`tests/attack_delivery`) can show that they would notice. Compiled with the feature `mutations` alone, which nothing that is shipped has.

use std::{sync::LazyLock, time::Duration};

use crate::consent::ReplicaOptions;

/// Names the safeguard to take away.
pub const VARIABLE: &str = "ASSENT_MUTATION";

/// A safeguard that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Rows are sealed with whatever view of consent is at hand.
    NoWatermarkWait,
    /// The ledger's tail begins where the last refresh began, and misses rows that commit late.
    NoOverlap,
    /// Each try of an insert has a token of its own.
    NoToken,
    /// The plan of an insert is not made durable before it.
    NoPlan,
    /// The cursor is made durable when an insert begins.
    EarlyCursor,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::NoWatermarkWait, Self::NoOverlap, Self::NoToken, Self::NoPlan, Self::EarlyCursor];

    /// Its name in [`VARIABLE`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoWatermarkWait => "no_watermark_wait",
            Self::NoOverlap => "no_overlap",
            Self::NoToken => "no_token",
            Self::NoPlan => "no_plan",
            Self::EarlyCursor => "early_cursor",
        }
    }
}

/// The one that this process was started with.
#[must_use]
pub fn active() -> Option<Mutation> {
    static ACTIVE: LazyLock<Option<Mutation>> = LazyLock::new(|| {
        let name = std::env::var(VARIABLE).ok()?;
        Mutation::ALL.into_iter().find(|mutation| mutation.as_str() == name)
    });
    *ACTIVE
}

/// Says it where nobody can overlook it.
pub fn announce() {
    tracing::error!(
        removed = active().map(Mutation::as_str),
        "this build is for tests: its safeguards can be removed; never give it a person's data"
    );
}

/// The replica's options, without what is to be missing.
#[must_use]
pub fn of_replica(options: ReplicaOptions) -> ReplicaOptions {
    match active() {
        Some(Mutation::NoOverlap) => ReplicaOptions { overlap: Duration::ZERO, ..options },
        _ => options,
    }
}

/// An insert's token, unless each try is to have one of its own.
#[must_use]
pub fn of_token(token: &str) -> String {
    match active() {
        Some(Mutation::NoToken) => uuid::Uuid::now_v7().to_string(),
        _ => token.to_owned(),
    }
}
