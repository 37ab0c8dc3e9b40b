//! What ML roles may pull: asked as those roles, so that the server answers and not this program.

use super::queries;
use crate::clickhouse::{Client, Error, Options};

/// ClickHouse's code for "this user may not do that".
const ACCESS_DENIED: u32 = 497;
/// Its codes for a user that it does not know, or not without a password.
const NOT_A_USER: [u32; 4] = [192, 193, 194, 516];

/// A user that the local server has for trying a role out, and what it is for.
pub(super) struct Role {
    pub(super) user: &'static str,
    /// The view that it is to read.
    pub(super) view: &'static str,
    /// The narrowest scope that the view shows.
    pub(super) scope: &'static str,
    /// What it must not read.
    forbidden: &'static [&'static str],
}

/// The two ML roles.
pub(super) const ROLES: [Role; 2] = [
    Role {
        user: "ml_first_party",
        view: "training_first_party",
        scope: "first_party",
        forbidden: &["events", "training_affiliates", "consent_changes"],
    },
    Role {
        user: "ml_affiliates",
        view: "training_affiliates",
        scope: "affiliates",
        forbidden: &["events", "training_first_party", "typed_texts"],
    },
];

/// What the server let a role do.
pub(super) enum Access {
    /// It has the user.
    Tried(Tried),
    /// It does not: not a server of our own.
    NoSuchUser,
}

/// Answers to a role's queries.
pub(super) struct Tried {
    /// How many rows the role's view has.
    pub(super) rows: u64,
    /// One of them.
    pub(super) sample: Option<queries::TrainingRow>,
    /// What it asked for beyond that.
    pub(super) beyond: Vec<(&'static str, Verdict)>,
}

/// How the server answered.
pub(super) enum Verdict {
    /// `ACCESS_DENIED`, with the server's words.
    Refused(String),
    /// With this many rows: the roles are not as shipped.
    Answered(u64),
}

impl Role {
    /// Queries as this role.
    ///
    /// # Errors
    /// The server answered otherwise than with rows, a refusal, or that it does not know the user.
    pub(super) async fn try_out(&self, server: &Options) -> Result<Access, Error> {
        let options =
            Options { user: self.user.to_owned(), password: String::new().into(), ..server.clone() };
        let client = Client::new(&options)?;
        let rows = match queries::count(&client, self.view).await {
            Err(error) if error.code().is_some_and(|code| NOT_A_USER.contains(&code)) => {
                return Ok(Access::NoSuchUser);
            }
            rows => rows?,
        };
        let sample = queries::training_sample(&client, self.view).await?;
        let mut beyond = Vec::with_capacity(self.forbidden.len());
        for &table in self.forbidden {
            let verdict = match queries::count(&client, table).await {
                Ok(rows) => Verdict::Answered(rows),
                Err(error) if error.code() == Some(ACCESS_DENIED) => Verdict::Refused(self.words(&error)),
                Err(error) => return Err(error),
            };
            beyond.push((table, verdict));
        }
        Ok(Access::Tried(Tried { rows, sample, beyond }))
    }

    /// The first sentence of the server's own words, which begin with the user's name.
    fn words(&self, error: &Error) -> String {
        let text = error.to_string();
        let from = text.find(&format!("{}: ", self.user)).unwrap_or_default();
        text[from..].split(". ").next().unwrap_or_default().to_owned()
    }
}
