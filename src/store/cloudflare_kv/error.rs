//! Why the service did not do something, without the token.

use std::error::Error;
use std::fmt;

use crate::store::error::{StoreError, StoreErrorKind as Kind};

/// So many characters of what the service says are kept.
const MOST_SAID: usize = 500;

/// The code of a key that is not there.
pub(super) const NO_SUCH_KEY: i64 = 10_009;

/// Codes about who asks: no or another token, or one that may not.
const NOT_ALLOWED: [i64; 4] = [9_103, 9_106, 9_109, 10_000];

/// What says who asks. It is in no error, no log and no `Debug`.
#[derive(Clone)]
pub(super) struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Token {
    /// A text of the service or of the client, for people: short, on one line, without the token.
    pub(super) fn tell(&self, text: &str) -> String {
        let clean = if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "…") };
        let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
        let mut told: String = clean.chars().take(MOST_SAID + 1).map(shown).collect();
        if let Some((cut, _)) = told.char_indices().nth(MOST_SAID) {
            told.truncate(cut);
            told.pop();
            told.push('…');
        }
        told
    }

    /// The client could not ask, or was not answered.
    pub(super) fn unanswered(&self, error: reqwest::Error) -> StoreError {
        let kind = if error.is_timeout() {
            Kind::TimedOut
        } else if error.is_builder() {
            Kind::Internal
        } else {
            Kind::Unavailable
        };
        // The key is in the address, and an account's id.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut next = error.source();
        for _ in 0..8 {
            let Some(source) = next else { break };
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        StoreError::new(kind, self.tell(&text))
    }

    /// The service has refused; what it said: codes, and a text.
    pub(super) fn refused(&self, status: u16, codes: &[i64], said: &str) -> StoreError {
        let not_allowed = codes.iter().any(|code| NOT_ALLOWED.contains(code));
        let kind = match status {
            300..=399 | 401 | 403 | 404 | 405 => Kind::Denied,
            200..=299 if not_allowed => Kind::Denied,
            413 => Kind::TooLarge,
            408 | 504 => Kind::TimedOut,
            // With 200: it has not done it, whatever the status says.
            200..=299 | 425 | 429 | 500.. => Kind::Unavailable,
            _ => Kind::Internal,
        };
        StoreError::new(kind, self.tell(&format!("the service said {status}: {said}")))
    }
}

/// A setting that cannot be: what was expected and what came, without secrets.
pub(super) fn setting(problem: impl Into<String>) -> StoreError {
    StoreError::new(Kind::Denied, problem.into())
}

/// An answer that the service should not have given.
pub(super) fn corrupt(problem: impl Into<String>) -> StoreError {
    StoreError::new(Kind::Corrupt, problem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R47
    #[test]
    fn what_a_service_says_is_short_and_without_the_token() {
        let token = Token("secret-token".to_owned());
        let told = token.tell(&format!("no\nsecret-token {}", "é".repeat(1_000)));
        assert!(told.starts_with("no … éé") && told.ends_with("é…"), "{told}");
        assert_eq!(told.chars().count(), 500);
        assert_eq!(token.tell(&"x".repeat(500)), "x".repeat(500));
        // The token is not cut in two by the limit.
        let late = token.tell(&format!("{}secret-token", "x".repeat(495)));
        assert!(!late.contains("secre"), "{late}");
        assert_eq!(format!("{token:?}"), "…");
    }

    #[test]
    fn an_answer_has_a_kind() {
        let token = Token(String::new());
        for (status, codes, kind) in [
            (200, &[][..], Kind::Unavailable),
            (200, &[10_000], Kind::Denied),
            (302, &[], Kind::Denied),
            (400, &[], Kind::Internal),
            (401, &[], Kind::Denied),
            (403, &[], Kind::Denied),
            (404, &[10_013], Kind::Denied),
            (413, &[], Kind::TooLarge),
            (429, &[], Kind::Unavailable),
            (500, &[], Kind::Unavailable),
            (504, &[], Kind::TimedOut),
            (530, &[], Kind::Unavailable),
        ] {
            assert_eq!(token.refused(status, codes, "so").kind(), kind, "{status} {codes:?}");
        }
    }
}
