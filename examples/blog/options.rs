//! What the command line and the environment say.

use std::path::PathBuf;
use std::time::Duration;

use crate::kept::Kept;

const USAGE: &str = "usage: cargo run --example blog -- [serve [--seeds DIR] | export DIR] [--port N] [--posts DIR] \
                     [--name NAME] [--fresh SECONDS] [--store DIR | --redis URL]";

/// Short, so that a change can be watched.
const FRESH: Duration = Duration::from_secs(10);

/// What was rendered for an export is to be new when the first visitor comes.
const FRESH_EXPORT: Duration = Duration::from_secs(3_600);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Answers requests. `seeds`: an export whose pages its first visitors get.
    Serve { seeds: Option<PathBuf> },
    /// Renders all pages to files.
    Export { folder: PathBuf },
}

/// How this run was asked to be.
#[derive(Debug)]
pub(crate) struct Options {
    /// `serve`, unless it is `export`.
    pub(crate) command: Command,
    /// `--fresh`: how long pages are fresh. Else ten seconds, or an hour where there is an export.
    pub(crate) fresh: Duration,
    /// `--port`, else the variable `PORT`, else 3000. 0 lets the system choose.
    pub(crate) port: u16,
    /// `--posts`, else the folder beside this file.
    pub(crate) posts: PathBuf,
    /// `--name`: what pages say who rendered them. Else the address.
    pub(crate) name: Option<String>,
    /// `--store` or `--redis`, else memory alone.
    pub(crate) kept: Kept,
    /// The variable `BLOG_TOKEN`: what whoever invalidates from outside has to show. Empty is as good as none.
    pub(crate) token: Option<String>,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// A sentence for the terminal when something cannot be understood.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let token = std::env::var("BLOG_TOKEN").ok().filter(|token| !token.is_empty());
        Ok(Self { token, ..Self::parse(std::env::args().skip(1), std::env::var("PORT").ok())? })
    }

    fn parse(args: impl Iterator<Item = String>, port: Option<String>) -> Result<Self, String> {
        let mut args = args.peekable();
        let mut command = Command::Serve { seeds: None };
        let mut fresh = None;
        match args.next_if(|arg| !arg.starts_with('-')).as_deref() {
            None | Some("serve") => {}
            Some("export") => {
                let folder = args.next().ok_or_else(|| format!("export needs a folder; {USAGE}"))?.into();
                command = Command::Export { folder };
            }
            Some(other) => return Err(format!("unknown command {other:?}; {USAGE}")),
        }
        let mut port = port.unwrap_or_else(|| "3000".to_owned());
        let mut posts = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/blog/posts"));
        let (mut name, mut kept) = (None, Kept::Memory);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value; {USAGE}"));
            match arg.as_str() {
                "--port" => port = value()?,
                "--posts" => posts = value()?.into(),
                "--seeds" if matches!(command, Command::Serve { seeds: None }) => {
                    command = Command::Serve { seeds: Some(value()?.into()) };
                }
                "--fresh" => {
                    let seconds = value()?;
                    let parsed = seconds.parse().ok().filter(|seconds| *seconds > 0);
                    let parsed = parsed.ok_or_else(|| format!("expected seconds above 0, got {seconds:?}; {USAGE}"))?;
                    fresh = Some(Duration::from_secs(parsed));
                }
                "--name" => name = Some(value()?),
                "--store" | "--redis" if kept != Kept::Memory => {
                    return Err(format!("expected one --store or one --redis, got another {arg}; {USAGE}"));
                }
                "--store" => kept = Kept::Folder(value()?.into()),
                "--redis" => kept = Kept::Redis(value()?),
                _ => return Err(format!("unknown argument {arg:?}; {USAGE}")),
            }
        }
        let port = port.parse().map_err(|_| format!("expected a port from 0 to 65535, got {port:?}; {USAGE}"))?;
        let fresh = fresh.unwrap_or(if command == (Command::Serve { seeds: None }) { FRESH } else { FRESH_EXPORT });
        Ok(Self { command, fresh, port, posts, name, kept, token: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], port: Option<&str>) -> Result<Options, String> {
        Options::parse(args.iter().map(ToString::to_string), port.map(str::to_owned))
    }

    #[test]
    fn an_argument_beats_the_environment_which_beats_the_default() {
        assert_eq!(parse(&[], None).unwrap().port, 3000);
        assert_eq!(parse(&[], Some("4000")).unwrap().port, 4000);
        assert_eq!(parse(&["--port", "5000"], Some("4000")).unwrap().port, 5000);
    }

    #[test]
    fn a_command_comes_first() {
        let command = |args: &[&str]| parse(args, None).map(|options| (options.command, options.fresh));
        let (serve, folder) = (Command::Serve { seeds: None }, || "dist".into());
        assert_eq!(command(&["--port", "1"]), Ok((serve.clone(), FRESH)));
        assert_eq!(command(&["serve", "--fresh", "5"]), Ok((serve, Duration::from_secs(5))));
        let seeded = Command::Serve { seeds: Some(folder()) };
        assert_eq!(command(&["serve", "--seeds", "dist"]), Ok((seeded, FRESH_EXPORT)));
        assert_eq!(command(&["export", "dist"]), Ok((Command::Export { folder: folder() }, FRESH_EXPORT)));
        for args in [&["exprot"][..], &["export"], &["export", "a", "--seeds", "b"], &["--fresh", "0"], &["--fresh"]] {
            assert!(command(args).unwrap_err().contains("usage"), "{args:?}");
        }
    }

    #[test]
    fn pages_are_kept_in_one_place() {
        assert_eq!(parse(&[], None).unwrap().kept, Kept::Memory);
        assert_eq!(parse(&["--store", "a"], None).unwrap().kept, Kept::Folder("a".into()));
        assert_eq!(parse(&["--redis", "redis://a"], None).unwrap().kept, Kept::Redis("redis://a".into()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for args in
            [&["--port"][..], &["--port", "65536"], &["--prot", "1"], &["--store"], &["--store", "a", "--redis", "b"]]
        {
            assert!(parse(args, None).unwrap_err().contains("usage"), "{args:?}");
        }
    }
}
