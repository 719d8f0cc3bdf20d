//! The names of things in KV.
//!
//! | key | what it is |
//! |---|---|
//! | `<namespace>:k:<key>` | an entry |
//! | `<namespace>:d:<digest>` | an entry whose key is too long for KV, or is not plain ASCII |
//! | `<namespace>:ledger:epoch` | the ledger's epoch, decimal |
//! | `<namespace>:ledger:<writer>` | the marks of one process, 16 hexadecimal digits |
//!
//! A namespace has no colon, so no two things have one name.

use crate::store::item::StoreKey;

/// The longest key that KV takes.
const LONGEST: usize = 512;

/// The longest namespace.
pub(super) const LONGEST_NAMESPACE: usize = 64;

/// The names in one namespace.
pub(super) struct Keys {
    namespace: String,
    /// What all keys of the ledger begin with.
    pub(super) ledger: String,
    pub(super) epoch: String,
}

impl Keys {
    pub(super) fn new(namespace: String) -> Self {
        let ledger = format!("{namespace}:ledger:");
        let epoch = format!("{ledger}epoch");
        Self { namespace, ledger, epoch }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn entry(&self, key: &StoreKey) -> String {
        let text = key.as_str();
        let fits = self.namespace.len() + 3 + text.len() <= LONGEST;
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            format!("{}:k:{text}", self.namespace)
        } else {
            format!("{}:d:{}", self.namespace, key.digest_hex())
        }
    }

    pub(super) fn log(&self, writer: u64) -> String {
        format!("{}{writer:016x}", self.ledger)
    }

    /// Whose log has this name.
    pub(super) fn writer(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.ledger)?;
        let writer = u64::from_str_radix(digits, 16).ok()?;
        (self.log(writer) == name).then_some(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kv_does_not_take_has_its_digest_as_a_name() {
        let keys = Keys::new("isr".to_owned());
        let name = |text: &str| keys.entry(&StoreKey::of(text));
        assert_eq!(name("v1:one:/a%20b?c=d"), "isr:k:v1:one:/a%20b?c=d");
        assert_eq!(name(&"k".repeat(506)).len(), 512);
        for text in ["k".repeat(507), "a b".to_owned(), "é".to_owned(), "a\0b".to_owned()] {
            assert_eq!(name(&text), format!("isr:d:{}", StoreKey::of(&text).digest_hex()));
        }
    }

    #[test]
    fn logs_are_told_from_what_else_is_there() {
        let keys = Keys::new("isr".to_owned());
        assert_eq!(keys.writer(&keys.log(0xABC)), Some(0xABC));
        for name in
            ["isr:ledger:epoch", "isr:ledger:", "isr:ledger:abc", "isr:ledger:+00000000000000a", "other:ledger:0"]
        {
            assert_eq!(keys.writer(name), None, "{name}");
        }
    }
}
