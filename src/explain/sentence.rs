//! Reasons for people.

use std::fmt::Write as _;
use std::time::Duration;

use super::held::HeldEntry;
use crate::policy::reason::{Failed, Miss, Reason, Regenerated, Stale};
use crate::policy::request::Bypass;
use crate::policy::response::Pass;

/// What would become of a request, and why. `marked`: what was invalidated last of all that hits its page.
pub(super) fn sentence(reason: Reason, entry: Option<&HeldEntry>, marked: Option<&str>) -> String {
    // What was invalidated last, where something was.
    let by = marked.map_or(String::new(), |on| format!(" ({on})"));
    let mut text = match reason {
        Reason::Hit => "Answered from memory: the page is fresh".to_owned() + &left(entry) + ".",
        Reason::Stale(why) => {
            let why = match why {
                Stale::Age => "it is older than its time to revalidate",
                Stale::Invalidated => &format!("it was revalidated on demand{by}"),
                Stale::Unverified => {
                    "the store's ledger could not be asked for too long to know whether it was invalidated"
                }
            };
            match entry.and_then(|entry| entry.retry_in) {
                // It has failed, which follows, or another process renders it.
                Some(_) => format!("Answered from memory with the old page: {why}."),
                None => {
                    format!("Answered from memory with the old page, which is rendered again in the background: {why}.")
                }
            }
        }
        Reason::Miss(Miss::Invalidated) => {
            format!("The visitor waits for the page: {}{by}.", missed(Miss::Invalidated))
        }
        Reason::Miss(why) => format!("The visitor waits for the page: {}.", missed(why)),
        Reason::Bypass(why) => {
            format!("The visitor's own request goes to the handler, without a look: {}.", bypassed(why))
        }
        Reason::Pass(why) => format!("The visitor's own request goes to the handler: {}.", passed(why)),
        Reason::Failed(why) => format!("The page could not be made: {why}."),
        Reason::Regenerated(what) => regenerated(what),
    };
    if let Some(entry) = entry {
        if entry.rendering {
            text += " It is being rendered now.";
        }
        if let Some(error) = &entry.last_error {
            let times = if entry.failures == 1 { "once".to_owned() } else { format!("{} times", entry.failures) };
            // To a string there is no error.
            let _ = write!(text, " To render it again has failed {times}, the last time with {error}");
            text += &entry.retry_in.map_or(".".to_owned(), |wait| format!("; it is tried again in {}.", rough(wait)));
        } else if let (Reason::Stale(_), Some(wait)) = (reason, entry.retry_in) {
            let _ = write!(text, " Another process renders it again; this one looks for it in {}.", rough(wait));
        } else if let Reason::Pass(_) = reason {
            text += &entry.retry_in.map_or(" The next visitor causes another look.".to_owned(), |wait| {
                format!(" It is looked at again in {}.", rough(wait))
            });
        }
    }
    text.trim_end().to_owned()
}

fn left(entry: Option<&HeldEntry>) -> String {
    let Some(HeldEntry { age: Some(age), fresh_for, .. }) = entry else { return String::new() };
    match fresh_for {
        Some(fresh) => format!(", for {} more", rough(fresh.saturating_sub(*age))),
        None => " until it is invalidated".to_owned(),
    }
}

/// With one unit.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1..=119 => format!("{} s", time.as_secs()),
        120..=7_199 => format!("{} min", time.as_secs() / 60),
        7_200..=172_799 => format!("{} h", time.as_secs() / 3_600),
        _ => format!("{} days", time.as_secs() / 86_400),
    }
}

fn missed(why: Miss) -> &'static str {
    match why {
        Miss::Cold => "there is none in memory",
        Miss::Expired => "the one in memory is older than its time to expire",
        Miss::Invalidated => "what is in memory was invalidated on demand",
        Miss::Unknown => "the store's ledger does not know what was invalidated since its page was stored",
        Miss::Damaged => "the store's page is damaged, of another version, or not signed by one of our keys",
        Miss::StoreFailed => "the store could not be asked",
        Miss::Development => "in development mode every request is rendered",
    }
}

fn bypassed(why: Bypass) -> &'static str {
    match why {
        Bypass::NoConfig => "neither the layer nor the request has a RouteConfig",
        Bypass::InvalidConfig => "the route's configuration cannot work; the log says why",
        Bypass::Method => "only GET and HEAD are cached",
        Bypass::Body => "it has a body",
        Bypass::Range => "it has a Range header",
        Bypass::Precondition => "it has If-Match or If-Unmodified-Since",
        Bypass::Upgrade => "it has an Upgrade header",
        Bypass::Dynamic => "the route is never cached (RouteConfig::dynamic, or a time to revalidate of zero)",
        Bypass::KeyTooLong => "more than 1,024 bytes of it would be in the key",
        Bypass::TooManyInputs => "it has more than 32 key inputs",
        Bypass::HeaderValue => "a declared header or cookie is no text",
        Bypass::HostValue => "the host is declared, and it has several, or none that could be one",
        Bypass::Path => "its path does not begin with /",
        Bypass::NestParameters => "the layer stands outside of a nest that has path parameters",
        Bypass::Share => "an extension that is shared with renders panicked when it was cloned",
        Bypass::NoRuntime => "there is no tokio runtime with timers",
        Bypass::Shutdown => "the handle is shutting down",
        Bypass::Inner => "a layer further out has decided already",
        Bypass::Recursion => "it is asked for inside its own render",
    }
}

fn passed(why: Pass) -> &'static str {
    match why {
        Pass::Dynamic => "the handler asked for its visitor (DynamicRequest)",
        Pass::NoStore => "the handler said no_store, or gave its page no time to live",
        Pass::Tags => "the handler named a tag that is none, or too many",
        Pass::SetCookie => "its response sets a cookie",
        Pass::CacheControl => "its response says itself how it may be kept (Cache-Control, Expires, Pragma)",
        Pass::ClearSiteData => "its response has Clear-Site-Data",
        Pass::Vary => "its response has Vary on something that the route does not declare",
        Pass::Nonce => "its Content-Security-Policy has a nonce",
        Pass::ContentRange => "its response is a part of something (Content-Range)",
        Pass::ContentType => "its response is a conversation (events, gRPC)",
        Pass::Trailers => "its body has trailers",
        Pass::Status => "its status is not kept (RouteConfig::statuses lists more)",
        Pass::TooLarge => "its body is larger than max_body_bytes, or than what memory can hold",
        Pass::Capture => "too many bytes were being captured at the same time",
        Pass::Broken => "its body broke, or was not as long as it said",
        Pass::NeedsVisitor => "the handler works with the visitor's request and fails without it",
        Pass::Rewritten => "a layer outside changes the path",
        Pass::Head => "it has a HEAD handler of its own",
        Pass::Waiters => "too many visitors wait for this page",
        Pass::Abandoned => "the render was given up",
        Pass::Overtaken => "page after page was invalidated while it was made",
    }
}

fn regenerated(what: Regenerated) -> String {
    match what {
        Regenerated::Ok => "Rendered again.".to_owned(),
        Regenerated::Unchanged => "Rendered again, and the same as before.".to_owned(),
        Regenerated::Found => "Another process had rendered it again.".to_owned(),
        Regenerated::Elsewhere => "Another process renders it again.".to_owned(),
        Regenerated::NotShared(why) => format!("It may not be shared any more: {}.", passed(why)),
        Regenerated::Failed(Failed::Refused(why)) => {
            format!("What was rendered cannot take its place: {}.", passed(why))
        }
        Regenerated::Failed(why) => format!("To render it again has failed with {why}."),
        Regenerated::Abandoned => "To render it again was given up.".to_owned(),
    }
}
