//! Markdown to HTML.

use std::collections::HashMap;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::slug::slugify;

/// Renders `CommonMark` with GFM's tables and strikethrough, and footnotes.
///
/// Raw HTML comes out as text and links lead to the web only: whoever can write a post can then not write a script.
pub(crate) fn to_html(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_SMART_PUNCTUATION;
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, options).map(translate).collect();
    name_headings(&mut events);
    let mut page = String::with_capacity(markdown.len() * 3 / 2);
    html::push_html(&mut page, events.into_iter());
    page
}

fn translate(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: harmless(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: harmless(dest_url), title, id })
        }
        // The stylesheet shows the language in the corner of the block.
        Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
            let language: String =
                info.chars().take_while(|&c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '#')).collect();
            Event::Html(format!("<pre data-language=\"{language}\" tabindex=\"0\"><code>").into())
        }
        Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => Event::Html("<pre tabindex=\"0\"><code>".into()),
        Event::End(TagEnd::CodeBlock) => Event::Html("</code></pre>\n".into()),
        event => event,
    }
}

/// Keeps links to the web, to mail and within the site; others (`javascript:`, `data:`) lead nowhere.
fn harmless(url: CowStr<'_>) -> CowStr<'_> {
    let scheme = url.split(['/', '?', '#']).next().and_then(|start| start.split_once(':')).map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if !["http", "https", "mailto"].contains(&scheme.to_ascii_lowercase().as_str()) => "#".into(),
        _ => url,
    }
}

/// Gives headings an `id`, so that one can link to them, and tables a frame that scrolls on narrow screens.
fn name_headings(events: &mut Vec<Event<'_>>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut out = Vec::with_capacity(events.len());
    // Where the current heading starts, and its text so far.
    let mut heading: Option<(usize, String)> = None;
    for event in events.drain(..) {
        match (&event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some((out.len(), String::new())),
            (Event::Text(text) | Event::Code(text), Some((_, title))) => title.push_str(text),
            (Event::End(TagEnd::Heading(_)), _) => {
                if let Some((at, title)) = heading.take()
                    && let Some(Event::Start(Tag::Heading { id, .. })) = out.get_mut(at)
                {
                    *id = Some(unique(&mut seen, &slugify(&title)).into());
                }
            }
            _ => {}
        }
        match event {
            Event::Start(Tag::Table(_)) => {
                out.push(Event::Html(
                    "<div class=\"table\" role=\"group\" aria-label=\"Table\" tabindex=\"0\">".into(),
                ));
                out.push(event);
            }
            Event::End(TagEnd::Table) => {
                out.push(event);
                out.push(Event::Html("</div>\n".into()));
            }
            _ => out.push(event),
        }
    }
    *events = out;
}

/// `setup`, then `setup-2`: an `id` names one element of a page.
fn unique(seen: &mut HashMap<String, usize>, slug: &str) -> String {
    let slug = if slug.is_empty() { "section" } else { slug };
    let count = seen.entry(slug.to_owned()).or_default();
    *count += 1;
    if *count == 1 { slug.to_owned() } else { format!("{slug}-{count}") }
}

#[cfg(test)]
mod tests {
    use super::to_html;

    #[test]
    fn raw_html_comes_out_as_text() {
        let page = to_html("a <b onclick=x>b</b>\n\n<script>alert(1)</script>\n\n```a\"><script>\n<i>\n```\n");
        assert!(!page.contains("<script") && !page.contains("<b ") && !page.contains("<i>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    }

    #[test]
    fn links_lead_to_the_web_or_nowhere() {
        for bad in ["javascript:alert(1)", "JavaScript:x", "data:text/html,x", "java&#10;script:x"] {
            let page = to_html(&format!("[x]({bad}) ![x]({bad})"));
            assert!(page.contains("href=\"#\"") && page.contains("src=\"#\""), "{page}");
        }
        for good in ["/posts/a?b=c:d", "#a:b", "https://example.com/a:b", "mailto:a@example.com", "a/b"] {
            assert!(to_html(&format!("[x]({good})")).contains(&format!("href=\"{good}\"")), "{good}");
        }
    }

    #[test]
    fn headings_can_be_linked_to() {
        let page = to_html("## The `key`\n\n## The key\n\n## …\n");
        for id in ["\"the-key\"", "\"the-key-2\"", "\"section\""] {
            assert!(page.contains(id), "{page}");
        }
    }
}
