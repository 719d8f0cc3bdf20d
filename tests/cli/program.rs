//! The program `axum-isr`.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// For what does take time: far longer than it does.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|problem| panic!("{problem}: {:?} {:?}", self.out, self.err))
    }

    /// In what is for programs, or in what is for people.
    pub fn says(&self, text: &str) -> bool {
        self.out.contains(text) || self.err.contains(text)
    }
}

/// Runs it, with nothing in its environment but what is given.
pub async fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, variables: &[(&str, &str)]) -> Ended {
    ended(start(args, variables)).await
}

pub fn start<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_axum-isr"));
    command.args(args).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

pub async fn ended(program: Child) -> Ended {
    let output = tokio::time::timeout(PATIENCE, program.wait_with_output()).await.expect("it ends").unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
