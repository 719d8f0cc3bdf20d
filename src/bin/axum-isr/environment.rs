//! Secrets, which are read from the environment: the command line of a process can be read by others.

use std::env;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;

/// What must not be in any output.
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A secret. It is in no `Debug`.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The variable's value; empty is as good as none.
pub(crate) fn secret(name: &str) -> Result<Option<Secret>, Failure> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => {
            SECRETS.lock().unwrap_or_else(PoisonError::into_inner).push(value.clone());
            Ok(Some(Secret(value)))
        }
        Ok(_) | Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{name}: expected UTF-8, got something else"))),
    }
}

/// The variable's value, which has to be there.
pub(crate) fn needed(name: &str, what: &str) -> Result<Secret, Failure> {
    secret(name)?.ok_or_else(|| {
        Failure::usage(format!("{name}: expected {what} in the environment, got none"))
            .hint(format!("set {name}, from the secrets of your CI or with `read -rs {name}; export {name}`"))
    })
}

/// A text without the secrets that were read: a server may say what it was sent.
pub(crate) fn without_secrets(text: &str) -> String {
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
}
