//! Where something began, as this process counts and as everybody does who shares its ledger.

use super::view::Generation;

/// A place in a ledger that processes share: no mark up to it hits what began there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) stamp: u64,
}

impl Place {
    /// Whether what is known there includes what is known at another place.
    pub(crate) fn is_at_least(self, other: Self) -> bool {
        self.epoch == other.epoch && self.stamp >= other.stamp
    }
}

/// Where something began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since {
    pub(crate) generation: Generation,
    /// `None`: no ledger is shared, or none has been read so far. What began there is not for others.
    pub(crate) place: Option<Place>,
}

impl Since {
    /// Where what is made from both of them began.
    pub(crate) fn min(self, other: Self) -> Self {
        let place = match (self.place, other.place) {
            (Some(one), Some(other)) if one.epoch == other.epoch => {
                Some(Place { stamp: one.stamp.min(other.stamp), ..one })
            }
            _ => None,
        };
        Self { generation: self.generation.min(other.generation), place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_from_two_began_with_the_first() {
        let since = |generation, place: Option<(u64, u64)>| Since {
            generation: Generation(generation),
            place: place.map(|(epoch, stamp)| Place { epoch, stamp }),
        };
        assert_eq!(since(3, Some((1, 7))).min(since(2, Some((1, 9)))), since(2, Some((1, 7))));
        // Of two epochs, or of none, it is nobody else's.
        assert_eq!(since(3, Some((1, 7))).min(since(4, Some((2, 9)))), since(3, None));
        assert_eq!(since(3, None).min(since(4, Some((2, 9)))), since(3, None));
    }
}
