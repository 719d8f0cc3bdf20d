//! Days of the calendar and moments in UTC: as much as a blog needs.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// Days from 1 March of year 0, where leap days come last in their year, to 1 January 1970.
const EPOCH: u64 = 719_468;

/// A day of the Gregorian calendar, 0001-01-01 or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Date {
    // In this order, so that the derived order is that of time.
    year: u64,
    month: u64,
    day: u64,
}

impl Date {
    /// `1 July 2026`.
    pub(crate) fn long(self) -> String {
        format!("{} {} {}", self.day, self.month_name(), self.year)
    }

    /// `Wed, 01 Jul 2026 00:00:00 GMT`, the form of RSS (RFC 5322 §3.3 with a four-digit year).
    pub(crate) fn rfc_5322(self) -> String {
        let short = self.month_name().get(..3).unwrap_or_default();
        format!("{}, {:02} {short} {:04} 00:00:00 GMT", self.weekday(), self.day, self.year)
    }

    fn month_name(self) -> &'static str {
        usize::try_from(self.month - 1).ok().and_then(|i| MONTHS.get(i)).copied().unwrap_or_default()
    }

    fn weekday(self) -> &'static str {
        // 0000-03-01 was a Wednesday.
        usize::try_from((self.days() + 3) % 7).ok().and_then(|i| WEEKDAYS.get(i)).copied().unwrap_or_default()
    }

    /// Days since 0000-03-01.
    fn days(self) -> u64 {
        let year = if self.month < 3 { self.year - 1 } else { self.year };
        let month = (self.month + 9) % 12;
        year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + self.day - 1
    }

    /// The inverse of [`days`](Self::days), by the algorithm of Howard Hinnant (`civil_from_days`).
    fn from_days(days: u64) -> Self {
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let march_based = (5 * day + 2) / 153;
        let month = if march_based < 10 { march_based + 3 } else { march_based - 9 };
        Self { year: era * 400 + year + u64::from(month < 3), month, day: day - (153 * march_based + 2) / 5 + 1 }
    }
}

/// `2026-07-01`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a date such as 2026-07-01, got {text:?}");
        let mut parts = text.split('-').map(|part| part.parse().ok());
        let (Some(Some(year)), Some(Some(month)), Some(Some(day)), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(expected());
        };
        // 31 April and other days that are not, and spellings that are not ours, do not come back as they went in.
        let in_range = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let date = Self { year, month, day };
        if in_range && Self::from_days(date.days()).to_string() == text { Ok(date) } else { Err(expected()) }
    }
}

/// This moment, as [`rfc_3339`].
pub(crate) fn now() -> String {
    rfc_3339(SystemTime::now())
}

/// A moment as RFC 3339 has it, in UTC, to the millisecond: `2026-07-01T12:30:05.250Z`.
fn rfc_3339(moment: SystemTime) -> String {
    // A clock before 1970 shows 1970: a wrong line in a footer, not a failed page.
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let date = Date::from_days(seconds / 86_400 + EPOCH);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_that_exist_are_read_and_no_others() {
        for good in ["2026-07-01", "2024-02-29", "2000-02-29", "0001-01-01"] {
            assert_eq!(good.parse::<Date>().unwrap().to_string(), good);
        }
        for bad in ["", "2026-7-1", "2026-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-04-31", "1-1-1-1"] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
    }

    #[test]
    fn days_are_written_for_people_and_feeds() {
        let date: Date = "2026-07-01".parse().unwrap();
        assert_eq!(date.long(), "1 July 2026");
        assert_eq!(date.rfc_5322(), "Wed, 01 Jul 2026 00:00:00 GMT");
        assert_eq!("1970-01-01".parse::<Date>().unwrap().rfc_5322(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn moments_are_rfc_3339() {
        let at = |secs, millis: u32| rfc_3339(UNIX_EPOCH + Duration::new(secs, millis * 1_000_000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 7), "2000-02-28T23:59:59.007Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
    }
}
