//! Logins, of which nothing is kept: what says so is in the browser, and signed.

use std::time::Duration;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::token::{Token, same};
use crate::clock::WallTime;
use crate::key::hex;

/// Signs logins and knows them again, in every process that has the same token.
///
/// A session is `<expiry>.<MAC>`: seconds since the Unix epoch in decimal, and the HMAC-SHA-256 of that text in hexadecimal.
/// There is one spelling of each.
pub(super) struct Sessions {
    mac: Hmac<Sha256>,
    life: Duration,
}

impl Sessions {
    pub(super) fn new(token: &Token, life: Duration) -> Self {
        Self { mac: token.key("axum-isr admin session v1"), life }
    }

    /// How long a login lasts.
    pub(super) fn life(&self) -> Duration {
        self.life
    }

    pub(super) fn begin(&self, now: WallTime) -> String {
        self.signed(secs(now).saturating_add(self.life.as_secs()))
    }

    /// Whether one of us made it, and its time is not over.
    pub(super) fn is_valid(&self, session: &[u8], now: WallTime) -> bool {
        let text = std::str::from_utf8(session).unwrap_or_default();
        let Some(expiry) = text.split('.').next().and_then(|expiry| expiry.parse().ok()) else {
            return false;
        };
        same(self.signed(expiry).as_bytes(), session) && secs(now) < expiry
    }

    fn signed(&self, expiry: u64) -> String {
        let mut mac = self.mac.clone();
        mac.update(expiry.to_string().as_bytes());
        format!("{expiry}.{}", hex(&mac.finalize().into_bytes()))
    }
}

fn secs(time: WallTime) -> u64 {
    time.0 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_700_000_000_000_000);

    fn sessions(token: &str) -> Sessions {
        Sessions::new(&Token::new(token, 1).expect("a token"), Duration::from_secs(60))
    }

    fn at(secs: u64) -> WallTime {
        WallTime(NOW.0 + secs * 1_000_000)
    }

    #[test]
    fn a_session_lasts_as_long_as_it_says() {
        let (mine, same_token) = (sessions("a"), sessions("a"));
        let session = mine.begin(NOW);
        assert!(session.starts_with("1700000060.") && session.len() == 11 + 64, "{session}");
        for (secs, expected) in [(0, true), (59, true), (60, false), (1_000_000, false)] {
            assert_eq!(same_token.is_valid(session.as_bytes(), at(secs)), expected, "{secs}");
        }
        assert!(!sessions("b").is_valid(session.as_bytes(), NOW));
        // Of a process with a longer life, or with a clock that runs ahead.
        let later = mine.begin(at(1_000));
        assert!(mine.is_valid(later.as_bytes(), NOW));
    }

    /// Every bit counts, and there is one spelling.
    #[test]
    fn what_was_changed_is_no_session() {
        let mine = sessions("a");
        let session = mine.begin(NOW);
        for bit in 0..session.len() * 8 {
            let mut forged = session.clone().into_bytes();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!mine.is_valid(&forged, NOW), "bit {bit}");
        }
        for cut in 0..session.len() {
            assert!(!mine.is_valid(&session.as_bytes()[..cut], NOW), "{cut} bytes");
        }
        let (expiry, mac) = session.split_once('.').expect("two parts");
        let upper = mac.to_uppercase();
        for forged in [
            format!("+{session}"),
            format!("0{session}"),
            format!(" {session}"),
            format!("{session} "),
            format!("{session}."),
            format!("{session}{session}"),
            format!("{expiry}.{upper}"),
            format!("{expiry}9.{mac}"),
            format!("{}.{mac}", u128::MAX),
            format!("{expiry}..{mac}"),
            format!(".{mac}"),
            format!("-1.{mac}"),
        ] {
            assert!(!mine.is_valid(forged.as_bytes(), NOW), "{forged}");
        }
        assert!(!mine.is_valid(b"\xff\xfe", NOW));
    }
}
