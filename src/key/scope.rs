//! The deployment scope: what keeps the entries of deployments apart that share a store.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::ConfigError;

/// The ids that were configured; `None` where nobody said anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    pub(crate) deployment: Option<String>,
    pub(crate) build: Option<String>,
}

impl Ids {
    /// The deployment id if one was configured, else the environment's, else the build id, configured or the
    /// environment's: the first that is not empty. An id that was configured as empty hides the environment's, and
    /// means that there is no scope on purpose.
    ///
    /// Without any: none, unless a store is `shared`; then a fingerprint of the executable, because two programs must
    /// not read each other's entries for want of a setting.
    pub(crate) fn scope(self, shared: bool, env: impl Fn(&str) -> Option<OsString>) -> Result<String, ConfigError> {
        let from_env = |name: &'static str| match env(name) {
            None => Ok(String::new()),
            Some(id) => match id.into_string() {
                Ok(id) => checked(name, id),
                Err(id) => Err(refused(name, &id.to_string_lossy())),
            },
        };
        let build = self.build.map(|id| checked("build_id", id)).transpose()?;
        if let Some(id) = self.deployment {
            let id = checked("deployment_id", id)?;
            return Ok(id);
        }
        let id = from_env("ISR_DEPLOYMENT_ID")?;
        if !id.is_empty() {
            return Ok(id);
        }
        if let Some(id) = build {
            // Empty: none on purpose.
            return Ok(id);
        }
        let id = from_env("ISR_BUILD_ID")?;
        if id.is_empty() && shared {
            let executable = std::env::current_exe().and_then(|path| fingerprint(&path));
            return executable.map_err(|problem| {
                ConfigError::new("deployment_id", "an id, since the executable cannot be read", problem)
            });
        }
        Ok(id)
    }
}

/// What somebody chose, here or in the environment: a fingerprint is not among it. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Chosen {
    pub(crate) scope: String,
    pub(crate) build: String,
}

impl Ids {
    /// The ids that may be written where other programs read them.
    pub(crate) fn chosen(&self, env: impl Fn(&str) -> Option<OsString>) -> Result<Chosen, ConfigError> {
        let build = match &self.build {
            Some(id) => id.clone(),
            // Where a deployment id hides it, nobody has checked it.
            None => env("ISR_BUILD_ID")
                .and_then(|id| checked("ISR_BUILD_ID", id.into_string().ok()?).ok())
                .unwrap_or_default(),
        };
        Ok(Chosen { scope: self.clone().scope(false, env)?, build })
    }
}

/// The checksum and the length of a file. Against accidents, not attacks: a digest of an executable with its symbols takes
/// seconds where nothing is optimized.
fn fingerprint(path: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut sum, mut length, mut bytes) = (crc32fast::Hasher::new(), 0_u64, vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            return Ok(format!("exe-{:08x}{:08x}", length & u64::from(u32::MAX), sum.finalize()));
        }
        sum.update(&bytes[..read]);
        length += read as u64;
    }
}

/// An id, if it is one.
pub(crate) fn checked(setting: &'static str, id: String) -> Result<String, ConfigError> {
    let fits = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fits { Ok(id) } else { Err(refused(setting, &id)) }
}

fn refused(setting: &'static str, id: &str) -> ConfigError {
    let shown: String = id.chars().take(64).collect();
    ConfigError::new(setting, "[A-Za-z0-9_-]+", format_args!("{shown:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(deployment: Option<&str>, build: Option<&str>, env: &[(&str, &str)]) -> Result<String, ConfigError> {
        let ids = Ids { deployment: deployment.map(str::to_owned), build: build.map(str::to_owned) };
        ids.scope(false, |name| env.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    /// R30: the first that is not empty, and what an explicit empty id means.
    #[test]
    fn the_first_id_that_is_not_empty() {
        const D: (&str, &str) = ("ISR_DEPLOYMENT_ID", "env-d");
        const B: (&str, &str) = ("ISR_BUILD_ID", "env-b");
        for (deployment, build, env, expected) in [
            (None, None, &[][..], ""),
            (Some("d"), Some("b"), &[D, B][..], "d"),
            (None, Some("b"), &[D, B], "env-d"),
            (None, Some("b"), &[("ISR_DEPLOYMENT_ID", ""), B], "b"),
            (None, Some("b"), &[B], "b"),
            (None, None, &[B], "env-b"),
            (None, None, &[("ISR_DEPLOYMENT_ID", ""), ("ISR_BUILD_ID", "")], ""),
            // On purpose: no scope, whatever the environment says.
            (Some(""), Some("b"), &[D, B], ""),
            (Some(""), None, &[D, B], ""),
            // It hides that of the environment, and the deployment's still counts.
            (None, Some(""), &[B], ""),
            (None, Some(""), &[D, B], "env-d"),
        ] {
            let got = scope(deployment, build, env);
            assert_eq!(got.as_deref(), Ok(expected), "{deployment:?} {build:?} {env:?}");
        }
    }

    /// R31: the error shows the id and the rule, wherever the id comes from.
    #[test]
    fn ids_are_checked() {
        for (result, expected) in [
            (scope(Some("a b"), None, &[]), "deployment_id: expected [A-Za-z0-9_-]+, got \"a b\""),
            (scope(Some("d"), Some("v1.2"), &[]), "build_id: expected [A-Za-z0-9_-]+, got \"v1.2\""),
            (scope(None, None, &[("ISR_DEPLOYMENT_ID", "é")]), "ISR_DEPLOYMENT_ID: expected [A-Za-z0-9_-]+, got \"é\""),
            (scope(None, None, &[("ISR_BUILD_ID", ":")]), "ISR_BUILD_ID: expected [A-Za-z0-9_-]+, got \":\""),
        ] {
            assert_eq!(result.expect_err("refused").to_string(), expected);
        }
        // What is hidden is not read.
        assert_eq!(scope(Some("d"), None, &[("ISR_DEPLOYMENT_ID", "a b")]).as_deref(), Ok("d"));
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt;
            let problem = Ids::default().scope(false, |_| Some(OsString::from_vec(b"\xff".to_vec())));
            assert!(problem.expect_err("refused").to_string().contains("ISR_DEPLOYMENT_ID"));
        }
    }

    /// What is written to a manifest is what somebody said, never a fingerprint.
    #[test]
    fn a_fingerprint_is_not_chosen() {
        let chosen = |deployment: Option<&str>, build: Option<&str>, env: &[(&str, &str)]| {
            let ids = Ids { deployment: deployment.map(str::to_owned), build: build.map(str::to_owned) };
            let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
            let Chosen { scope, build } = ids.chosen(env).expect("good");
            (scope, build)
        };
        let both = |scope: &str, build: &str| (scope.to_owned(), build.to_owned());
        assert_eq!(chosen(None, None, &[]), both("", ""));
        assert_eq!(chosen(Some("d"), Some("b"), &[]), both("d", "b"));
        assert_eq!(chosen(None, Some("b"), &[]), both("b", "b"));
        assert_eq!(chosen(Some(""), None, &[("ISR_BUILD_ID", "b")]), both("", "b"));
        assert_eq!(chosen(Some("d"), None, &[("ISR_BUILD_ID", "b c")]), both("d", ""));
    }

    /// A store without any id: two programs do not share it by accident, and one program does with itself.
    #[test]
    fn a_shared_store_without_an_id_gets_a_fingerprint() {
        let shared = || Ids::default().scope(true, |_| None).expect("readable");
        assert_eq!(shared(), shared());
        assert!(shared().starts_with("exe-") && shared().len() == 20, "{}", shared());
        assert_eq!(checked("it", shared()).as_deref(), Ok(&*shared()));
        let on_purpose = Ids { deployment: Some(String::new()), build: None };
        assert_eq!(on_purpose.scope(true, |_| None).as_deref(), Ok(""));
        let on_purpose = Ids { deployment: None, build: Some(String::new()) };
        assert_eq!(on_purpose.scope(true, |_| None).as_deref(), Ok(""));
        assert!(fingerprint(Path::new("/nowhere")).is_err());
        let other = fingerprint(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path());
        assert_ne!(other.expect("readable"), shared());
    }
}
