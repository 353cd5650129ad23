//! When: UTC for people, a monotonic count for order.

use super::json::{PAIRS, put_number};

/// A moment, as the caller's clocks have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Microseconds since 1970-01-01 UTC. A clock that is set back shows.
    pub unix_us: u64,
    /// Microseconds since the process began; never goes back.
    pub mono_us: u64,
}

impl At {
    /// Appends `"time":"2026-11-24T02:20:00.123456Z","mono":123456,`.
    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"time\":\"");
        put_time(out, self.unix_us);
        out.extend_from_slice(b"\",\"mono\":");
        put_number(out, self.mono_us);
        out.push(b',');
    }
}

/// Appends RFC 3339 with microseconds.
fn put_time(out: &mut Vec<u8>, unix_us: u64) {
    let (seconds, micros) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (at, pair) in [
        (0, year / 100),
        (2, year),
        (5, month),
        (8, day),
        (11, second / 3600),
        (14, second / 60 % 60),
        (17, second % 60),
        (20, micros / 10_000),
        (22, micros / 100),
        (24, micros),
    ] {
        text[at..at + 2].copy_from_slice(&PAIRS[(pair % 100) as usize]);
    }
    out.extend_from_slice(&text);
}

/// The date of a day since 1970-01-01, by the Gregorian calendar: years are counted from March, so that a leap day is a
/// year's last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_to_the_microsecond() {
        for (unix_us, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999999Z"),
            (1_764_000_000_123_456, "2025-11-24T16:00:00.123456Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            let mut out = Vec::new();
            put_time(&mut out, unix_us);
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        }
    }
}
