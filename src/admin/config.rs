//! What is configured.

use std::fmt;
use std::time::Duration;

use super::access::Access;
use super::session::Sessions;
use super::token::Token;
use crate::error::ConfigError;

/// The shortest token.
const SHORTEST_TOKEN: usize = 16;

/// The longest: what fits into the body of a login.
const LONGEST_TOKEN: usize = 1_024;

/// Default of [`AdminConfig::session`].
const SESSION: Duration = Duration::from_secs(12 * 3_600);

/// The longest life of a login: browsers keep no cookie longer.
const LONGEST_SESSION: Duration = Duration::from_secs(400 * 24 * 3_600);

/// Configures [`router`](super::router). There is no default for the token; setters never fail, the router does.
#[derive(Clone)]
#[must_use]
pub struct AdminConfig {
    token: String,
    session: Duration,
}

/// Nobody sees the token in a log.
impl fmt::Debug for AdminConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig").field("session", &self.session).finish_non_exhaustive()
    }
}

impl AdminConfig {
    /// With the token that callers have to know: 16 to 1,024 characters of visible ASCII without blanks.
    ///
    /// Make it at random (`openssl rand -hex 32`), and read it from where the application has its secrets. A text that
    /// somebody thought of can be guessed, and by who has a cookie of a login as fast as a machine computes digests.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into(), session: SESSION }
    }

    /// How long a login lasts, in whole seconds. Default: 12 h; 1 s to 400 days.
    ///
    /// Logins are signed with the token and kept nowhere: who logs out deletes his own cookie, and another token ends all
    /// logins.
    pub fn session(self, life: Duration) -> Self {
        Self { session: life, ..self }
    }

    pub(super) fn into_access(self) -> Result<Access, ConfigError> {
        let Self { token: text, session: life } = self;
        let token = Token::new(&text, SHORTEST_TOKEN)?;
        if text.len() > LONGEST_TOKEN {
            return Err(ConfigError::new("token", format!("at most {LONGEST_TOKEN} characters"), text.len()));
        }
        if !(Duration::from_secs(1)..=LONGEST_SESSION).contains(&life) {
            return Err(ConfigError::new("session", "1s to 400 days", format_args!("{life:?}")));
        }
        let sessions = Sessions::new(&token, life);
        Ok(Access { token, sessions })
    }
}
