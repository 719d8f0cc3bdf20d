//! Looks at exports, fills stores with them, and invalidates pages of sites that run.
//!
//! ```text
//! axum-isr inspect dist                                              what is in an export
//! axum-isr verify dist                                               are its files what its manifest says
//! axum-isr populate --from dist --to redis://10.0.0.1                every page into a store
//! axum-isr revalidate --tag post:42 --url https://blog.example/hooks/revalidate
//! axum-isr expire --path / --url https://blog.example/hooks/revalidate
//! ```
//!
//! Results go to the standard output, as text or (`--json`) as JSON; problems and what to do about them go to the standard
//! error. Credentials are read from the environment alone, and are in no output.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; pages that could not be written are a warning, unless `--strict` |
//! | 1 | not done: what was read or asked said no, or (`--strict`) a page could not be written or a row was ignored |
//! | 2 | wrong usage: an argument or a variable of the environment |
//! | 3 | out of reach: a store, a server or a site did not answer, or said that it cannot now; worth trying again |
//! | 130 | broken off with Ctrl-C; what was written stays, a repetition does the rest |
//!
//! - `options`: the command line; `environment`: secrets.
//! - `export`, `target`: where is read from and written to.
//! - `populate`, `inspect`, `verify`, `invalidate`: the commands.
//! - `failure`: how a run ends; `output`: text for terminals.

mod environment;
mod export;
mod failure;
mod inspect;
mod invalidate;
mod options;
mod output;
mod populate;
mod target;
mod verify;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use futures_util::future::{Either, select};

use failure::{Code, Failure};
use options::{Command, Options};

/// How long what runs on other threads may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return Failure::new(Code::Failed, format!("cannot start: {problem}")).tell(),
    };
    let code = runtime.block_on(async {
        let (run, broken_off) = (std::pin::pin!(run(options.command)), std::pin::pin!(tokio::signal::ctrl_c()));
        match select(run, broken_off).await {
            Either::Left((Ok(()), _)) => ExitCode::SUCCESS,
            Either::Left((Err(failure), _)) => failure.tell(),
            Either::Right((Ok(()), _)) => Failure::new(Code::BrokenOff, "broken off")
                .hint("what was written stays; the same command does the rest")
                .tell(),
            // Without the signal, it goes on.
            Either::Right((Err(_), run)) => run.await.map_or_else(|failure| failure.tell(), |()| ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_timeout(PATIENCE);
    code
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Populate(options) => populate::run(options).await,
        Command::Inspect(options) => inspect::run(options).await,
        Command::Verify(options) => verify::run(options).await,
        Command::Revalidate(options) => invalidate::run("revalidate", options).await,
        Command::Expire(options) => invalidate::run("expire", options).await,
    }
}
