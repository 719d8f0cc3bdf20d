//! The index, the posts and the tags: the same for everybody, so they stand under the layer.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum_isr::Render;
use serde::Deserialize;

use crate::error::AppError;
use crate::library::tag_of;
use crate::page::Page;
use crate::posts::{Listed, Post, Tag};
use crate::slug::is_slug;
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
    paging: Result<Query<Paging>, QueryRejection>,
    State(site): State<Site>,
) -> Result<Response, AppError> {
    let all = site.list().await?;
    let number = paging.ok().and_then(|paging| paging.number());
    // A blog without posts has a first page all the same.
    let last = all.len().div_ceil(POSTS_A_PAGE).max(1);
    let Some(number) = number.filter(|&number| number <= last) else { return page.not_found() };
    let from = (number - 1) * POSTS_A_PAGE;
    let listed = all.get(from..all.len().min(from + POSTS_A_PAGE)).unwrap_or_default();
    page.html(&IndexTemplate { page: &page, posts: &site.posts(listed).await?, number, last })
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
    // A path that is not UTF-8, or longer than a slug, names no post.
    let Some(Path(slug)) = slug.ok().filter(|slug| is_slug(slug)) else { return page.not_found() };
    // Whatever the page is made from tags it already; this one says that it is about the post.
    render.tag(tag_of(&slug));
    let Some(post) = site.post(&slug).await? else { return page.not_found() };
    // Its neighbours are on the page too, with their titles.
    let list = site.list().await?;
    let at = list.iter().position(|other| other.slug == slug);
    let newer = at.and_then(|at| list.get(at.checked_sub(1)?..at)).unwrap_or_default();
    let older = at.and_then(|at| list.get(at + 1..at + 2)).unwrap_or_default();
    let (newer, older) = (site.posts(newer).await?, site.posts(older).await?);
    let body = markdown::to_html(&post.body);
    page.html(&PostTemplate { page: &page, post: &post, body, newer: newer.first(), older: older.first() })
}

#[derive(Template)]
#[template(path = "tags.html", config = "examples/blog/askama.toml")]
struct TagsTemplate<'a> {
    page: &'a Page,
    /// With the number of posts, sorted by slug.
    tags: Vec<(&'a Tag, usize)>,
}

/// `/tags`: all tags.
pub(crate) async fn tags(page: Page, State(site): State<Site>) -> Result<Response, AppError> {
    let list = site.list().await?;
    // By slug alone: posts may spell the name of a tag differently, the newest is right.
    let mut tags: BTreeMap<&str, (&Tag, usize)> = BTreeMap::new();
    for tag in list.iter().flat_map(|post| &post.tags) {
        tags.entry(&tag.slug).or_insert((tag, 0)).1 += 1;
    }
    page.html(&TagsTemplate { page: &page, tags: tags.into_values().collect() })
}

#[derive(Template)]
#[template(path = "tag.html", config = "examples/blog/askama.toml")]
struct TagTemplate<'a> {
    page: &'a Page,
    name: &'a str,
    posts: &'a [Post],
}

/// `/tags/{tag}`: the posts about one thing.
pub(crate) async fn tag(
    page: Page,
    wanted: Result<Path<String>, PathRejection>,
    State(site): State<Site>,
) -> Result<Response, AppError> {
    let Ok(Path(wanted)) = wanted else { return page.not_found() };
    let list = site.list().await?;
    let has = |post: &Listed| post.tags.iter().find(|tag| tag.slug == wanted).map(|tag| tag.name.clone());
    // Posts may spell the name of a tag differently, the newest is right.
    let Some(name) = list.iter().find_map(has) else { return page.not_found() };
    let tagged: Vec<Listed> = list.into_iter().filter(|post| has(post).is_some()).collect();
    page.html(&TagTemplate { page: &page, name: &name, posts: &site.posts(&tagged).await? })
}

/// Everything else. The router's fallback is not under the layer: paths that nobody declared are not worth memory.
pub(crate) async fn not_found(page: Page) -> Result<Response, AppError> {
    page.not_found()
}
