//! The words of consent. Their numbers and names are those of the ClickHouse columns.

/// Who may train on a row: the widest scope that its author's consent covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(i8)]
pub enum TrainingScope {
    /// Nobody.
    #[default]
    None = 0,
    /// The tenant itself.
    FirstParty = 1,
    /// The tenant and its affiliates.
    Affiliates = 2,
}

impl TrainingScope {
    /// The name, as in the column `training_scope`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FirstParty => "first_party",
            Self::Affiliates => "affiliates",
        }
    }

    /// The scope of a number; `None` for any other.
    #[must_use]
    pub const fn from_i8(n: i8) -> Option<Self> {
        match n {
            0 => Some(Self::None),
            1 => Some(Self::FirstParty),
            2 => Some(Self::Affiliates),
            _ => None,
        }
    }
}

/// A scope that a person can answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ConsentScope {
    /// The tenant itself.
    FirstParty = 1,
    /// The tenant's affiliates; worth nothing without `FirstParty`.
    Affiliates = 2,
}

impl ConsentScope {
    /// Both, `FirstParty` first.
    pub const ALL: [Self; 2] = [Self::FirstParty, Self::Affiliates];

    /// The name, as in the ledger and in policy files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstParty => "first_party",
            Self::Affiliates => "affiliates",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// What a person said about a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(i8)]
pub enum ConsentState {
    /// Nothing.
    #[default]
    Unset = 0,
    /// Yes.
    Granted = 1,
    /// No.
    Denied = 2,
}

impl ConsentState {
    /// All of them, in the order of their numbers, which begin at 0.
    pub const ALL: [Self; 3] = [Self::Unset, Self::Granted, Self::Denied];

    /// The name, as in the columns `consent_state` and `state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Granted => "granted",
            Self::Denied => "denied",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Where a consent state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(i8)]
pub enum Source {
    /// Nobody said anything; the policy decides.
    #[default]
    PolicyDefault = 0,
    /// The person.
    UserSetting = 1,
    /// An administrator.
    Admin = 2,
    /// Brought over from another system.
    Import = 3,
    /// A Global Privacy Control signal.
    GpcSignal = 4,
}

impl Source {
    /// All of them, in the order of their numbers, which begin at 0.
    pub const ALL: [Self; 5] =
        [Self::PolicyDefault, Self::UserSetting, Self::Admin, Self::Import, Self::GpcSignal];

    /// The name, as in the columns `consent_source` and `source`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PolicyDefault => "policy_default",
            Self::UserSetting => "user_setting",
            Self::Admin => "admin",
            Self::Import => "import",
            Self::GpcSignal => "gpc_signal",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }
}

/// Why a row has its training scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum EligibilityReason {
    /// The person said yes.
    Granted = 0,
    /// The person said nothing, and the policy takes silence for a yes.
    GrantedByDefault = 1,
    /// The person said no.
    Denied = 2,
    /// The person said nothing, and the policy takes silence for a no.
    UnsetOptIn = 3,
    /// The person said yes to terms that no longer count.
    PolicyOutdated = 4,
    /// A Global Privacy Control signal, which the policy takes for a no.
    GpcSignal = 5,
    /// The collector's view of consent was stale or still loading.
    ConsentUnknown = 6,
    /// Eligible when received, no longer when sealed.
    WithdrawnBeforeWrite = 7,
    /// Eligible when written; the person said no since.
    Withdrawn = 8,
    /// The policy excludes this kind of event, or this feature.
    ExcludedByPolicy = 9,
}

impl EligibilityReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Granted,
        Self::GrantedByDefault,
        Self::Denied,
        Self::UnsetOptIn,
        Self::PolicyOutdated,
        Self::GpcSignal,
        Self::ConsentUnknown,
        Self::WithdrawnBeforeWrite,
        Self::Withdrawn,
        Self::ExcludedByPolicy,
    ];

    /// The name, as in the column `eligibility_reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::GrantedByDefault => "granted_by_default",
            Self::Denied => "denied",
            Self::UnsetOptIn => "unset_opt_in",
            Self::PolicyOutdated => "policy_outdated",
            Self::GpcSignal => "gpc_signal",
            Self::ConsentUnknown => "consent_unknown",
            Self::WithdrawnBeforeWrite => "withdrawn_before_write",
            Self::Withdrawn => "withdrawn",
            Self::ExcludedByPolicy => "excluded_by_policy",
        }
    }

    /// The reason of a number; `None` for any other.
    #[must_use]
    pub fn from_i8(n: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as i8 == n)
    }

    /// Whether a row with this reason may train a model.
    #[must_use]
    pub const fn is_eligible(self) -> bool {
        matches!(self, Self::Granted | Self::GrantedByDefault)
    }
}
