//! The names of things in the server.
//!
//! | key | what it is |
//! |---|---|
//! | `{<digest>}<namespace>:<key>` | an entry |
//! | the same and `{put}<random>` | an entry that is being written |
//! | the same and `{lease}`, `{note}` | its lease and the note of its last holder |
//! | `{<namespace>}:ledger` | the ledger: a sorted set |
//! | `{<namespace>}:hint` | the channel for hints |
//!
//! What is in the first braces decides about a cluster's slot: entries are spread, and what belongs to one lies together.
//! A namespace has no colon and a key no braces, so no two things have one name.

use crate::store::item::StoreKey;

/// The names in one namespace.
pub(super) struct Keys {
    namespace: String,
    pub(super) ledger: String,
    pub(super) hint: String,
}

impl Keys {
    pub(super) fn new(namespace: String) -> Self {
        let ledger = format!("{{{namespace}}}:ledger");
        let hint = format!("{{{namespace}}}:hint");
        Self { namespace, ledger, hint }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn entry(&self, key: &StoreKey) -> String {
        format!("{{{}}}{}:{}", key.digest_hex(), self.namespace, key.as_str())
    }
}

/// Where an entry is written before it is moved to its place; `unique` keeps two writers apart.
pub(super) fn temporary(entry: &str, unique: u64) -> String {
    format!("{entry}{{put}}{unique:016x}")
}

pub(super) fn lease(entry: &str) -> String {
    format!("{entry}{{lease}}")
}

pub(super) fn note(entry: &str) -> String {
    format!("{entry}{{note}}")
}
