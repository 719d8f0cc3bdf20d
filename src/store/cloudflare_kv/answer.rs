//! What the service says, in JSON and within bounds.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::error::{NO_SUCH_KEY, Token, corrupt};
use crate::store::error::StoreError;

/// A status, and so much of what came with it as was wanted.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Problem>,
    #[serde(default = "no_result")]
    result: Option<T>,
    #[serde(default)]
    result_info: Option<Info>,
}

fn no_result<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    cursor: Option<String>,
}

/// What is kept with a value: the version of an entry, the number of a log's last change, the epoch.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) v: Option<String>,
    pub(super) s: Option<u64>,
    pub(super) e: Option<String>,
}

/// What somebody else has put there is none of ours.
fn lenient<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Metadata, D::Error> {
    let any = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(any).unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) name: String,
    /// Seconds since the Unix epoch.
    #[serde(default)]
    pub(super) expiration: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) metadata: Metadata,
}

#[derive(Deserialize)]
struct Alone(#[serde(deserialize_with = "lenient")] Metadata);

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    unsuccessful_keys: Vec<String>,
}

/// A page of a list, and where the next one begins.
pub(super) struct Page {
    pub(super) keys: Vec<Listed>,
    pub(super) cursor: Option<String>,
}

impl Answer {
    fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// It did not do it: why.
    fn refused(&self, token: &Token, errors: &[Problem]) -> StoreError {
        let codes: Vec<i64> = errors.iter().map(|problem| problem.code).collect();
        let said = if errors.is_empty() {
            String::from_utf8_lossy(&self.body).into_owned()
        } else {
            let said: Vec<_> = errors.iter().map(|Problem { code, message }| format!("{code} {message}")).collect();
            said.join(", ")
        };
        token.refused(self.status, &codes, &said)
    }

    fn read<T: DeserializeOwned>(&self, token: &Token) -> Result<Envelope<T>, StoreError> {
        let read: Result<Envelope<T>, _> = serde_json::from_slice(&self.body);
        match read {
            Ok(envelope) if envelope.success && self.is_good() => Ok(envelope),
            Ok(envelope) => Err(self.refused(token, &envelope.errors)),
            Err(_) if !self.is_good() => Err(self.refused(token, &self.problems())),
            Err(problem) => {
                // With what there is in place of a result, it may still say that it has failed.
                let errors = self.problems();
                if errors.is_empty() { Err(unreadable(token, &problem)) } else { Err(self.refused(token, &errors)) }
            }
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let read: Result<Envelope<IgnoredAny>, _> = serde_json::from_slice(&self.body);
        read.map(|envelope| envelope.errors).unwrap_or_default()
    }

    /// Whether it says that there is nothing under a key. Another 404 is about something else: an account, a namespace, a
    /// gateway that is not one.
    fn is_absence(&self) -> bool {
        self.status == 404 && self.problems().iter().any(|problem| problem.code == NO_SUCH_KEY)
    }

    /// A value.
    pub(super) fn value(self, token: &Token) -> Result<Option<Vec<u8>>, StoreError> {
        if self.status == 200 {
            return Ok(Some(self.body));
        }
        if self.is_absence() {
            return Ok(None);
        }
        Err(self.refused(token, &self.problems()))
    }

    pub(super) fn metadata(&self, token: &Token) -> Result<Option<Metadata>, StoreError> {
        if self.is_absence() {
            return Ok(None);
        }
        let envelope = self.read::<Alone>(token)?;
        Ok(Some(envelope.result.map(|Alone(metadata)| metadata).unwrap_or_default()))
    }

    /// That it is done.
    pub(super) fn done(&self, token: &Token) -> Result<(), StoreError> {
        self.read::<IgnoredAny>(token).map(|_| ())
    }

    /// What is removed may have been gone.
    pub(super) fn removed(&self, token: &Token) -> Result<(), StoreError> {
        if self.is_absence() { Ok(()) } else { self.done(token) }
    }

    pub(super) fn page(&self, token: &Token) -> Result<Page, StoreError> {
        let envelope = self.read::<Vec<Listed>>(token)?;
        let keys = envelope.result.ok_or_else(|| corrupt("expected a list of keys, got none"))?;
        let cursor = envelope.result_info.and_then(|info| info.cursor).filter(|cursor| !cursor.is_empty());
        Ok(Page { keys, cursor })
    }

    /// The keys that were not written.
    pub(super) fn not_written(&self, token: &Token) -> Result<Vec<String>, StoreError> {
        let envelope = self.read::<Written>(token)?;
        Ok(envelope.result.map(|written| written.unsuccessful_keys).unwrap_or_default())
    }
}

fn unreadable(token: &Token, problem: &serde_json::Error) -> StoreError {
    corrupt(token.tell(&format!("expected an answer of the KV API in JSON: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::error::StoreErrorKind as Kind;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec() }
    }

    fn token() -> Token {
        Token("secret".to_owned())
    }

    /// R44
    #[test]
    fn what_did_not_succeed_is_a_failure_whatever_its_status() {
        let kind = |status, body| answer(status, body).done(&token()).map_err(|problem| problem.kind());
        assert_eq!(kind(200, r#"{"success":true,"errors":[],"result":null}"#), Ok(()));
        assert_eq!(kind(200, r#"{"success":true}"#), Ok(()));
        assert_eq!(kind(200, r#"{"success":false,"errors":[{"code":1,"message":"no"}]}"#), Err(Kind::Unavailable));
        assert_eq!(kind(200, r#"{"success":false}"#), Err(Kind::Unavailable));
        assert_eq!(kind(500, r#"{"success":true}"#), Err(Kind::Unavailable));
        for garbage in ["", "<html>", "{}", "[1]", "null", "{\"success\":1}"] {
            assert_eq!(kind(200, garbage), Err(Kind::Corrupt), "{garbage}");
        }
        assert_eq!(kind(200, r#"{"success":false,"errors":[{"code":10000}],"result":[]}"#), Err(Kind::Denied));
    }

    #[test]
    fn only_a_key_that_is_not_there_is_absent() {
        let value = |status, body| answer(status, body).value(&token()).map_err(|problem| problem.kind());
        let absent = r#"{"success":false,"errors":[{"code":10009,"message":"key not found"}]}"#;
        assert_eq!(value(404, absent), Ok(None));
        assert_eq!(value(200, ""), Ok(Some(Vec::new())));
        for elsewhere in
            [r#"{"success":false,"errors":[{"code":10013,"message":"namespace not found"}]}"#, "<html>", ""]
        {
            assert_eq!(value(404, elsewhere), Err(Kind::Denied), "{elsewhere}");
        }
        assert_eq!(value(206, "a part"), Err(Kind::Unavailable));
        assert_eq!(value(410, absent), Err(Kind::Internal));
    }

    #[test]
    fn a_list_is_read_whatever_others_have_put_there() {
        let body = r#"{"success":true,"result":[
            {"name":"a","expiration":9,"metadata":{"v":"1","x":[]}},
            {"name":"b","metadata":"text"},{"name":"c","metadata":null},{"name":"d"},{"name":"e","metadata":{"s":-1}}],
            "result_info":{"count":5,"cursor":"more"}}"#;
        let page = answer(200, body).page(&token()).expect("a page");
        assert_eq!((page.keys.len(), page.cursor.as_deref()), (5, Some("more")));
        assert_eq!(page.keys[0].metadata.v.as_deref(), Some("1"));
        assert!(page.keys[1..].iter().all(|listed| listed.metadata == Metadata::default()));
        let last = r#"{"success":true,"result":[],"result_info":{"cursor":""}}"#;
        assert_eq!(answer(200, last).page(&token()).expect("a page").cursor, None);
        assert!(answer(200, r#"{"success":true,"result":null}"#).page(&token()).is_err());
    }

    /// R47
    #[test]
    fn an_error_says_what_the_service_said_but_not_the_token() {
        let said = r#"{"success":false,"errors":[{"code":7,"message":"bad secret"},{"code":8,"message":"x"}]}"#;
        let problem = answer(400, said).done(&token()).expect_err("it failed");
        assert!(problem.chain().ends_with("the service said 400: 7 bad …, 8 x"), "{}", problem.chain());
        let html = answer(502, "<html>secret</html>").done(&token()).expect_err("it failed");
        assert!(html.chain().ends_with("502: <html>…</html>"), "{}", html.chain());
    }
}
