//! What calls from outside: a CMS, a deployment. Nothing without a token.

use std::error::Error;

use axum::Router;

use crate::Site;

#[cfg(feature = "admin")]
pub(crate) fn router(token: Option<&str>) -> Result<Router<Site>, Box<dyn Error>> {
    Ok(match token {
        Some(token) => Router::new().nest("/hooks/revalidate", axum_isr::admin::revalidation_router(token)?),
        None => Router::new(),
    })
}

#[cfg(not(feature = "admin"))]
pub(crate) fn router(token: Option<&str>) -> Result<Router<Site>, Box<dyn Error>> {
    match token {
        Some(_) => Err("BLOG_TOKEN needs the feature admin: cargo run --example blog --features admin".into()),
        None => Ok(Router::new()),
    }
}
