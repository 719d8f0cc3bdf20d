//! The index, the posts and the tags: the same for everybody, so they stand under the layer.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum_isr::Render;
use serde::Deserialize;

use crate::error::AppError;
use crate::page::Page;
use crate::posts::{self, Post, Tag};
use crate::{Site, markdown};

const POSTS_A_PAGE: usize = 5;

#[derive(Deserialize)]
pub(crate) struct Paging {
    page: Option<String>,
}

impl Paging {
    /// The number asked for, from 1. `?page=01` and the like are no pages: one page, one address.
    fn number(&self) -> Option<usize> {
        let Some(text) = self.page.as_deref() else { return Some(1) };
        text.parse().ok().filter(|&number: &usize| number > 0 && number.to_string() == text)
    }
}

#[derive(Template)]
#[template(path = "index.html", config = "examples/blog/askama.toml")]
struct IndexTemplate<'a> {
    page: &'a Page,
    posts: &'a [Post],
    number: usize,
    last: usize,
}

/// `/`: the posts, five a page, the newest first.
pub(crate) async fn index(
    page: Page,
    render: Render,
    paging: Result<Query<Paging>, QueryRejection>,
    State(site): State<Site>,
) -> Result<Response, AppError> {
    render.tag("posts");
    let posts = posts::all(&site.posts).await?;
    let number = paging.ok().and_then(|paging| paging.number());
    // A blog without posts has a first page all the same.
    let last = posts.len().div_ceil(POSTS_A_PAGE).max(1);
    let Some(number) = number.filter(|&number| number <= last) else { return page.not_found() };
    let from = (number - 1) * POSTS_A_PAGE;
    let shown = posts.get(from..posts.len().min(from + POSTS_A_PAGE)).unwrap_or_default();
    page.html(&IndexTemplate { page: &page, posts: shown, number, last })
}

#[derive(Template)]
#[template(path = "post.html", config = "examples/blog/askama.toml")]
struct PostTemplate<'a> {
    page: &'a Page,
    post: &'a Post,
    /// Made by [`markdown::to_html`], the one place whose output is not escaped again.
    body: String,
    newer: Option<&'a Post>,
    older: Option<&'a Post>,
}

/// `/posts/{slug}`.
pub(crate) async fn post(
    page: Page,
    render: Render,
    slug: Result<Path<String>, PathRejection>,
    State(site): State<Site>,
) -> Result<Response, AppError> {
    // A path that is not UTF-8 names no post.
    let Ok(Path(slug)) = slug else { return page.not_found() };
    let Some(post) = posts::one(&site.posts, &slug).await? else { return page.not_found() };
    render.tag(format!("post:{slug}"));
    // Its neighbours are on the page too, with their titles.
    render.tag("posts");
    let all = posts::all(&site.posts).await?;
    let at = all.iter().position(|other| other.slug == slug);
    let newer = at.and_then(|at| all.get(at.checked_sub(1)?));
    let older = at.and_then(|at| all.get(at + 1));
    page.html(&PostTemplate { page: &page, post: &post, body: markdown::to_html(&post.body), newer, older })
}

#[derive(Template)]
#[template(path = "tags.html", config = "examples/blog/askama.toml")]
struct TagsTemplate<'a> {
    page: &'a Page,
    /// With the number of posts, sorted by slug.
    tags: Vec<(&'a Tag, usize)>,
}

/// `/tags`: all tags.
pub(crate) async fn tags(page: Page, render: Render, State(site): State<Site>) -> Result<Response, AppError> {
    render.tag("posts");
    let posts = posts::all(&site.posts).await?;
    // By slug alone: posts may spell the name of a tag differently, the newest is right.
    let mut tags: BTreeMap<&str, (&Tag, usize)> = BTreeMap::new();
    for tag in posts.iter().flat_map(|post| &post.tags) {
        tags.entry(&tag.slug).or_insert((tag, 0)).1 += 1;
    }
    page.html(&TagsTemplate { page: &page, tags: tags.into_values().collect() })
}

#[derive(Template)]
#[template(path = "tag.html", config = "examples/blog/askama.toml")]
struct TagTemplate<'a> {
    page: &'a Page,
    name: &'a str,
    posts: Vec<&'a Post>,
}

/// `/tags/{tag}`: the posts about one thing.
pub(crate) async fn tag(
    page: Page,
    render: Render,
    wanted: Result<Path<String>, PathRejection>,
    State(site): State<Site>,
) -> Result<Response, AppError> {
    render.tag("posts");
    let Ok(Path(wanted)) = wanted else { return page.not_found() };
    let posts = posts::all(&site.posts).await?;
    let mut name = None;
    let mut tagged = Vec::new();
    for post in &posts {
        if let Some(tag) = post.tags.iter().find(|tag| tag.slug == wanted) {
            name = name.or(Some(tag.name.as_str()));
            tagged.push(post);
        }
    }
    let Some(name) = name else { return page.not_found() };
    page.html(&TagTemplate { page: &page, name, posts: tagged })
}

/// Everything else. The router's fallback is not under the layer: paths that nobody declared are not worth memory.
pub(crate) async fn not_found(page: Page) -> Result<Response, AppError> {
    page.not_found()
}
