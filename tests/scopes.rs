//! Deployment scopes: where the id comes from.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;

use axum_isr::{ConfigError, Isr};

fn scope(deployment: Option<&str>, build: Option<&str>) -> Result<String, ConfigError> {
    let builder = deployment.into_iter().fold(Isr::builder(), axum_isr::IsrBuilder::deployment_id);
    let builder = build.into_iter().fold(builder, axum_isr::IsrBuilder::build_id);
    Ok(builder.build()?.stats().scope)
}

/// What the test below sees in a process of its own.
#[test]
fn child() {
    let told = |name| std::env::var(name).ok();
    if told("SCOPE_TEST").is_none() {
        return;
    }
    match scope(told("EXPLICIT").as_deref(), told("BUILD").as_deref()) {
        Ok(scope) => println!("<{scope}>"),
        Err(problem) => println!("<{problem}>"),
    }
}

/// R30, R31, R33: the id is read once, when the handle is built, and `Stats` shows it: the explicit one, else the
/// environment's, else the build's; an explicit empty one means none.
#[test]
fn the_environment_is_asked_where_nothing_was_said() {
    for (env, expected) in [
        (&[][..], "<>"),
        (&[("ISR_DEPLOYMENT_ID", "env-d"), ("ISR_BUILD_ID", "env-b")][..], "<env-d>"),
        (&[("ISR_DEPLOYMENT_ID", ""), ("ISR_BUILD_ID", "env-b")], "<env-b>"),
        (&[("ISR_DEPLOYMENT_ID", "env-d"), ("EXPLICIT", "d")], "<d>"),
        (&[("ISR_DEPLOYMENT_ID", "env-d"), ("EXPLICIT", "")], "<>"),
        (&[("ISR_DEPLOYMENT_ID", "env-d"), ("BUILD", "b")], "<env-d>"),
        (&[("ISR_BUILD_ID", "env-b"), ("BUILD", "b")], "<b>"),
        (&[("ISR_DEPLOYMENT_ID", "a b")], "<ISR_DEPLOYMENT_ID: expected [A-Za-z0-9_-]+, got \"a b\">"),
        (&[("BUILD", "1.0")], "<build_id: expected [A-Za-z0-9_-]+, got \"1.0\">"),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env_remove("ISR_DEPLOYMENT_ID")
            .env_remove("ISR_BUILD_ID")
            .env("SCOPE_TEST", "1")
            .envs(env.iter().copied())
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains(expected), "{env:?}: {output}");
    }
}
