//! The feed.

use std::borrow::Cow;
use std::fmt::{self, Write};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum_isr::Render;

use crate::Site;
use crate::error::AppError;
use crate::posts::Post;

/// Readers ask often; the newest posts are enough for them.
const ITEMS: usize = 20;

/// `/feed.xml`: RSS 2.0 with the summaries of the newest posts.
pub(crate) async fn feed(render: Render, State(site): State<Site>) -> Result<Response, AppError> {
    let list = site.list().await?;
    let posts = site.posts(list.get(..list.len().min(ITEMS)).unwrap_or_default()).await?;
    let xml = rss(&site.origin, &posts);
    tracing::info!(path = "/feed.xml", reason = ?render.reason(), "rendered");
    Ok(([(header::CONTENT_TYPE, "application/rss+xml; charset=utf-8")], xml).into_response())
}

fn rss(origin: &str, posts: &[Post]) -> String {
    let mut xml = String::new();
    // Writing to a String does not fail.
    let _ = write_channel(&mut xml, &escape(origin), posts);
    xml
}

fn write_channel(xml: &mut String, origin: &str, posts: &[Post]) -> fmt::Result {
    writeln!(xml, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(xml, r#"<rss version="2.0" xmlns:atom="http://www.w3.org/2005/Atom"><channel>"#)?;
    writeln!(xml, "<title>Marginalia</title><link>{origin}/</link>")?;
    writeln!(xml, r#"<atom:link href="{origin}/feed.xml" rel="self" type="application/rss+xml"/>"#)?;
    writeln!(xml, "<description>Notes on pages that are rendered once</description><language>en</language>")?;
    // The newest post's day and not the time of this render: a feed without news stays the same, and so does its ETag.
    if let Some(newest) = posts.first() {
        writeln!(xml, "<pubDate>{}</pubDate>", newest.date.rfc_5322())?;
    }
    for post in posts {
        let link = format!("{origin}/posts/{}", post.slug);
        writeln!(xml, "<item><title>{}</title>", escape(&post.title))?;
        writeln!(xml, r#"<link>{link}</link><guid isPermaLink="true">{link}</guid>"#)?;
        writeln!(xml, "<pubDate>{}</pubDate>", post.date.rfc_5322())?;
        for tag in &post.tags {
            writeln!(xml, "<category>{}</category>", escape(&tag.name))?;
        }
        // Readers take a description for HTML, so text is escaped once as such and once more as XML.
        writeln!(xml, "<description>{}</description></item>", escape(&escape(&post.summary)))?;
    }
    writeln!(xml, "</channel></rss>")
}

/// Text as XML 1.0 may contain it. Most control characters cannot be there even as references (§2.2): they are dropped.
fn escape(text: &str) -> Cow<'_, str> {
    let allowed = |c: char| !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    if text.chars().all(|c| allowed(c) && !matches!(c, '&' | '<' | '>' | '"' | '\'')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars().filter(|&c| allowed(c)) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_what_xml_forbids_is_dropped() {
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("<a href='x'>\"&\u{7}\u{ffff}"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }

    #[test]
    fn a_feed_without_posts_is_a_feed() {
        let xml = rss("http://127.0.0.1:1", &[]);
        assert!(xml.starts_with("<?xml") && xml.trim_end().ends_with("</channel></rss>"), "{xml}");
    }
}
