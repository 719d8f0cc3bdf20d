//! The command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

const CODES: &str = "\
Exit codes:
  0    done; pages that could not be written are a warning, unless --strict
  1    not done: what was read or asked said no, or (--strict) a page was not written or a row was ignored
  2    wrong usage: an argument or a variable of the environment
  3    out of reach: a store, a server or a site did not answer, or cannot now; worth trying again
  130  broken off with Ctrl-C; what was written stays, a repetition does the rest";

const EXPORT: &str = "\
An export is a folder, its manifest (vinext-prerender.json), or the URL that they are below.

Environment:
  ISR_SEEDS_TOKEN  sent to an https:// export as a bearer token

The exit codes are in `axum-isr --help`.";

const STORE: &str = "\
Environment:
  REDIS_USERNAME, REDIS_PASSWORD              for redis:// and rediss://
  CLOUDFLARE_API_TOKEN                        for cloudflare-kv:ACCOUNT/NAMESPACE
  AXUM_ISR_KV_TOKEN                           for cloudflare-kv:https://GATEWAY
  ISR_SIGNING_KEY                             signs entries, as the site's first signing key does
  ISR_SEEDS_TOKEN                             sent to an https:// export as a bearer token

What is in the store and not older is skipped, so a run that was broken off can be repeated.
The exit codes are in `axum-isr --help`.";

const SITE: &str = "\
The URL is where the site has mounted admin::revalidation_router. It is one step: all that is named, or nothing.

Environment:
  ISR_TOKEN  the router's token

The exit codes are in `axum-isr --help`.";

/// What `--to` may be.
pub(crate) const STORES: &str =
    "redis://HOST, rediss://HOST, disk:FOLDER, cloudflare-kv:ACCOUNT/NAMESPACE or cloudflare-kv:https://GATEWAY";

/// Looks at exports, fills stores with them, and invalidates pages of sites that run.
#[derive(Debug, Parser)]
#[command(name = "axum-isr", version, after_help = CODES)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes the pages of an export into a store, before the version that reads them starts
    Populate(PopulateOptions),
    /// Shows the pages of an export, and what would be ignored
    Inspect(ExportOptions),
    /// Compares the files of an export with the digests of its manifest
    Verify(ExportOptions),
    /// Has a site serve old pages while new ones are rendered
    Revalidate(InvalidateOptions),
    /// Has a site render pages before they are served again
    Expire(InvalidateOptions),
}

#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub(crate) struct ExportOptions {
    /// A folder, a manifest in one, or an https:// URL
    pub(crate) export: String,
    #[command(flatten)]
    pub(crate) report: ReportOptions,
}

/// What becomes of the result.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ReportOptions {
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Whatever is not as it should be is an error, with exit code 1
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Debug, Args)]
#[command(after_help = STORE)]
pub(crate) struct PopulateOptions {
    /// A folder, a manifest in one, or an https:// URL
    #[arg(long, value_name = "EXPORT")]
    pub(crate) from: String,
    #[arg(long, value_name = "STORE", help = STORES)]
    pub(crate) to: String,
    /// The namespace of the store, as the site has it; not for disk: [default: isr]
    #[arg(long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// The deployment whose pages these are [default: what the manifest says]
    #[arg(long, value_name = "ID")]
    pub(crate) deployment_id: Option<String>,
    /// What the site calls a route that the export of another tool has: /posts/:slug=/posts/{id}
    #[arg(long = "route", value_name = "THEIRS=OURS")]
    pub(crate) routes: Vec<String>,
    /// How long the store keeps a page: 30d, 12h, 90m, 600s [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) retention: Option<Duration>,
    /// How many batches are written at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = batches)]
    pub(crate) batches: usize,
    /// How many times what the store could not take is tried again
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// Reads and checks everything, and writes nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) report: ReportOptions,
}

#[derive(Debug, Args)]
#[command(after_help = SITE)]
pub(crate) struct InvalidateOptions {
    /// Pages with this tag; may be repeated
    #[arg(long = "tag", value_name = "TAG", required_unless_present_any = ["paths", "prefixes"])]
    pub(crate) tags: Vec<String>,
    /// The page at this path; may be repeated
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    /// The pages at this path and below; may be repeated
    #[arg(long = "prefix", value_name = "PATH")]
    pub(crate) prefixes: Vec<String>,
    #[arg(long, value_name = "URL", help = "Where the site takes it: https://HOST/hooks/revalidate")]
    pub(crate) url: String,
    /// Allows an http:// URL of another machine: whoever is on the way can read the token
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// How long the site may take: 30s, 2m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

fn batches(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=64).contains(n)).ok_or_else(|| "expected a number from 1 to 64".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time above zero like 30d, 12h, 90m or 600s".to_owned();
    let (number, seconds) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => return Err(expected()),
    };
    let number = number.parse::<u64>().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_can_be_read() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    #[test]
    fn a_time_has_a_unit() {
        for (text, seconds) in [("30d", 2_592_000), ("12h", 43_200), ("90m", 5_400), ("1s", 1)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "d", "0s", "-1s", "1.5h", "1w", "99999999999999999999s", "9999999999999999999d", "1é"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
