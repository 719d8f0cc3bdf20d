//! What can go wrong on our side, and the page that says so.

use std::error::Error;
use std::fmt;
use std::io;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum_isr::{DataError, InvalidateError};

use crate::page::Page;

/// A page could not be made. Answered with 500, which the cache never keeps: when a good page is there, visitors go on
/// to get that one.
#[derive(Debug)]
pub(crate) enum AppError {
    /// The folder of posts, or a file in it, cannot be read.
    Io(io::Error),
    /// A post is not as it should be.
    Post {
        slug: String,
        problem: String,
    },
    Template(askama::Error),
    /// What a page is made from could not be had.
    Data(DataError),
    /// What has changed could not be expired.
    Invalidation(InvalidateError),
    /// The thread that reads the posts is gone.
    Task(tokio::task::JoinError),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(problem) => write!(f, "cannot read the posts: {problem}"),
            Self::Post { slug, problem } => write!(f, "post {slug}: {problem}"),
            Self::Data(problem) => match problem.source() {
                Some(source) => write!(f, "{problem}: {source}"),
                None => write!(f, "{problem}"),
            },
            Self::Invalidation(problem) => write!(f, "cannot expire what has changed: {problem}"),
            Self::Template(problem) => write!(f, "cannot fill in the template: {problem}"),
            Self::Task(problem) => write!(f, "reading did not end: {problem}"),
        }
    }
}

impl Error for AppError {}

impl From<DataError> for AppError {
    fn from(problem: DataError) -> Self {
        Self::Data(problem)
    }
}

impl From<askama::Error> for AppError {
    fn from(problem: askama::Error) -> Self {
        Self::Template(problem)
    }
}

#[derive(Template)]
#[template(path = "error.html", config = "examples/blog/askama.toml")]
struct ErrorTemplate<'a> {
    page: &'a Page,
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        // The details are for us. Visitors get a page without them.
        tracing::error!(problem = %self, "a page failed");
        let page = ErrorTemplate { page: &Page::failed() }.render();
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        match page {
            Ok(page) => (status, Html(page)).into_response(),
            Err(_) => (status, "This page cannot be shown at the moment.\n").into_response(),
        }
    }
}
