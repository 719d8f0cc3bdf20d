//! How a run ends that does not end well.

use std::process::ExitCode;

use crate::output::{escaped, told};

/// The exit codes besides 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Failed = 1,
    Usage = 2,
    OutOfReach = 3,
    BrokenOff = 130,
}

/// What went wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    problem: String,
    hint: Option<String>,
}

impl Failure {
    /// The problem is escaped and cut when it is told.
    pub(crate) fn new(code: Code, problem: impl Into<String>) -> Self {
        Self { code, problem: problem.into(), hint: None }
    }

    pub(crate) fn usage(problem: impl Into<String>) -> Self {
        Self::new(Code::Usage, problem)
    }

    /// What to do next.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// On the standard error, without secrets.
    pub(crate) fn tell(&self) -> ExitCode {
        eprintln!("error: {}", told(&self.problem));
        if let Some(hint) = &self.hint {
            eprintln!("  {}", escaped(hint));
        }
        ExitCode::from(self.code as u8)
    }
}

/// On the standard error.
pub(crate) fn warn(problem: &str) {
    eprintln!("warning: {}", told(problem));
}
