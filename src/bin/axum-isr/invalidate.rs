//! Asks a site that runs to invalidate pages.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde::{Deserialize, Serialize};

use crate::environment::{Secret, needed};
use crate::failure::{Code, Failure};
use crate::options::InvalidateOptions;
use crate::output::{print, print_json};

const CONNECT: Duration = Duration::from_secs(5);

/// Of an answer this much is read.
const LONGEST_ANSWER: usize = 64 << 10;

#[derive(Serialize)]
struct Call<'a> {
    tags: &'a [String],
    paths: &'a [String],
    prefixes: &'a [String],
    verb: &'a str,
}

#[derive(Deserialize, Serialize)]
struct Done {
    verb: String,
    marks: usize,
    stamp: u64,
}

pub(crate) async fn run(verb: &str, options: InvalidateOptions) -> Result<(), Failure> {
    let url = checked(&options.url, options.plain_http)?;
    let token = needed("ISR_TOKEN", "the token of the site's revalidation_router")?;
    let call = Call { tags: &options.tags, paths: &options.paths, prefixes: &options.prefixes, verb };
    let done = ask(url, &token, &call, options.timeout).await?;
    if options.json {
        return print_json(&done);
    }
    let Done { marks, stamp, .. } = done;
    print(&format!("{verb}: {marks} marks, stamp {stamp}"))
}

/// Nothing of what is refused is repeated: a password may be in it.
fn checked(url: &str, plain_http: bool) -> Result<Url, Failure> {
    let expected = |more: &str| Failure::usage(format!("--url: expected an https:// URL{more}"));
    let url = Url::parse(url).map_err(|_| expected(", got another text"))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(expected(" without user, query and fragment, got one with them")
            .hint("the token is read from ISR_TOKEN: others can see the command line of a process"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here(&url) || plain_http => Ok(url),
        "http" => Err(expected(", got http://")
            .hint("whoever is on the way could read the token; within a network that you trust: --plain-http")),
        _ => Err(expected(", got another scheme")),
    }
}

/// Whether it is of this machine.
fn is_here(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

async fn ask(url: Url, token: &Secret, call: &Call<'_>, timeout: Duration) -> Result<Done, Failure> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
        .map_err(|_| Failure::usage("ISR_TOKEN: expected visible ASCII without blanks, got something else"))?;
    bearer.set_sensitive(true);
    // Without a default the TLS library panics.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    // What is on this machine is not asked of a proxy of the environment.
    let client = if is_here(&url) { Client::builder().no_proxy() } else { Client::builder() };
    let client = client
        // A redirect would take the token to who knows where.
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .timeout(timeout)
        .user_agent(concat!("axum-isr/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(unanswered)?;
    let body = serde_json::to_vec(call)
        .map_err(|problem| Failure::new(Code::Failed, format!("cannot write the request: {problem}")))?;
    let request = client.post(url).header(AUTHORIZATION, bearer).header(CONTENT_TYPE, "application/json").body(body);
    let answer = request.send().await.map_err(unanswered)?;
    let status = answer.status().as_u16();
    let text = read(answer).await?;
    if status == 200 {
        return serde_json::from_slice(&text).map_err(|_| {
            let text = String::from_utf8_lossy(&text);
            Failure::new(Code::Failed, format!("expected the answer of a revalidation_router, got 200 and {text:?}"))
                .hint("is the router mounted at this URL, without a page in its place?")
        });
    }
    Err(refused(status, &text))
}

/// As far as it is of use, whatever it says of its length.
async fn read(mut answer: Response) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    while text.len() < LONGEST_ANSWER
        && let Some(chunk) = answer.chunk().await.map_err(unanswered)?
    {
        text.extend_from_slice(&chunk[..chunk.len().min(LONGEST_ANSWER - text.len())]);
    }
    Ok(text)
}

fn refused(status: u16, text: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Said {
        error: String,
    }
    let said = serde_json::from_slice::<Said>(text).map(|said| said.error);
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(text).trim().to_owned());
    let colon = if said.is_empty() { "" } else { ": " };
    let (code, hint) = match status {
        300..=399 => (Code::Failed, "redirects are not followed: give the URL that it leads to"),
        400 | 413 => (Code::Failed, "the site says what it expects; at most 1,000 tags, paths and prefixes in 64 KiB"),
        401 | 403 => (Code::Failed, "ISR_TOKEN has to be the token that the site gave to revalidation_router"),
        503 => (Code::OutOfReach, "it may be in effect in one process only; calling again does no harm: try again"),
        408 | 429 | 500.. => (Code::OutOfReach, "calling again does no harm: try again"),
        _ => (Code::Failed, "is admin::revalidation_router mounted at this URL?"),
    };
    Failure::new(code, format!("the site said {status}{colon}{said}")).hint(hint)
}

fn unanswered(problem: reqwest::Error) -> Failure {
    // Nothing was sent then.
    let hint = if problem.is_connect() {
        "nothing is invalidated; is the site there, and can it be reached from here? try again"
    } else {
        "it may be in effect or not; calling again does no harm: try again"
    };
    let problem = problem.without_url();
    let mut text = problem.to_string();
    let mut next = problem.source();
    for _ in 0..8 {
        let Some(source) = next else { break };
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    Failure::new(Code::OutOfReach, format!("the site did not answer: {text}")).hint(hint)
}
