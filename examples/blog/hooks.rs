//! What calls from outside: a CMS, a deployment; and people who want to see what is cached.

use std::error::Error;

use axum::Router;

use crate::Site;

/// Where the dashboard is.
#[cfg(feature = "admin")]
const DASHBOARD: &str = "/_isr";

/// The dashboard, and with a token from the environment the hook, which is off without one. For the dashboard alone there is
/// a new token each time, which the second says.
#[cfg(feature = "admin")]
pub(crate) fn router(token: Option<&str>) -> Result<(Router<Site>, String), Box<dyn Error>> {
    use axum_isr::admin::{self, AdminConfig};

    let hook = match token {
        Some(token) => Router::new().nest("/hooks/revalidate", admin::revalidation_router(token)?),
        None => Router::new(),
    };
    let (token, shown) = match token {
        Some(token) => (token.to_owned(), "the one in BLOG_TOKEN".to_owned()),
        None => random().map(|token| (token.clone(), token))?,
    };
    let admin = admin::router(AdminConfig::new(&token)).map_err(|problem| format!("BLOG_TOKEN: {problem}"))?;
    let router = hook.nest(DASHBOARD, admin);
    Ok((router, format!("{DASHBOARD}   the token is {shown}")))
}

/// 128 bits of the system's randomness.
#[cfg(feature = "admin")]
fn random() -> Result<String, Box<dyn Error>> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|problem| problem.to_string())?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(not(feature = "admin"))]
pub(crate) fn router(token: Option<&str>) -> Result<(Router<Site>, String), Box<dyn Error>> {
    match token {
        Some(_) => Err("BLOG_TOKEN needs the feature admin: cargo run --example blog --features admin".into()),
        None => Ok((Router::new(), "  (with --features admin)".to_owned())),
    }
}
