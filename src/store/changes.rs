//! What a ledger says.

use bytes::Bytes;

use crate::ledger::{Mark, Place};

/// What noting marks has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The ledger's epoch.
    pub epoch: u64,
    /// The stamp of the marks.
    pub stamp: u64,
}

impl From<Stamped> for Place {
    fn from(Stamped { epoch, stamp }: Stamped) -> Self {
        Self { epoch, stamp }
    }
}

/// A reader's place in a ledger. What is in it is the store's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Bytes);

impl Cursor {
    /// For stores.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// For stores with an exact ledger: a place in it is its epoch and a stamp.
    #[must_use]
    pub fn at(epoch: u64, stamp: u64) -> Self {
        Self::new([epoch.to_be_bytes(), stamp.to_be_bytes()].concat())
    }

    /// What [`at`](Self::at) was given; `None` of another store's cursor, whose reader gets all marks.
    #[must_use]
    pub fn place(&self) -> Option<(u64, u64)> {
        let (epoch, stamp) = self.0.split_first_chunk()?;
        Some((u64::from_be_bytes(*epoch), u64::from_be_bytes(stamp.try_into().ok()?)))
    }

    /// What the store has put in.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a reader has not seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Of the ledger. With another one than the reader knows, it has lost something.
    pub epoch: u64,
    /// What is rendered from now on carries it: the newest stamp of the ledger; zero if it has none. With
    /// [`more`](Self::more), the newest that was returned.
    pub stamp: u64,
    /// The marks and their stamps, oldest first.
    pub marks: Vec<(Mark, u64)>,
    /// Where the reader stands now.
    pub cursor: Cursor,
    /// There are more: ask again, with `cursor`.
    pub more: bool,
}
