//! When: UTC for people, a monotonic count for order.

use super::json::{Json, PAIRS};

/// A moment, as the caller's clocks have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Microseconds since 1970-01-01 UTC. A clock that is set back shows.
    unix_us: u64,
    /// Microseconds since the process began; never goes back.
    mono_us: u64,
}

/// A second since 1970-01-01 UTC, and as it is written: for the next record of the same second.
#[derive(Debug)]
pub struct Second {
    since: u64,
    text: [u8; SECOND],
}

/// Bytes of `2026-11-24T02:20:00.`.
const SECOND: usize = 20;

const MICROS: u64 = 1_000_000;

impl At {
    /// Microseconds since 1970-01-01 UTC, and since the process began.
    pub fn new(unix_us: u64, mono_us: u64) -> Self {
        Self { unix_us, mono_us }
    }

    /// So many microseconds later.
    pub fn later(self, us: u64) -> Self {
        Self { unix_us: self.unix_us + us, mono_us: self.mono_us + us }
    }

    /// Appends `"time":"2026-11-24T02:20:00.123456Z","mono":123456,`.
    #[inline(always)]
    pub(super) fn put(self, out: &mut Vec<u8>, second: &mut Second) {
        second.become_that_of(self.unix_us / MICROS);
        let mut member = *b"\"time\":\"0000-00-00T00:00:00.000000Z\",";
        let time = member.split_at_mut(8).1;
        time[..SECOND].copy_from_slice(&second.text);
        let micros = self.unix_us % MICROS;
        for (at, pair) in [(0, micros / 10_000), (2, micros / 100 % 100), (4, micros % 100)] {
            time[SECOND + at..SECOND + at + 2].copy_from_slice(&PAIRS[pair as usize]);
        }
        out.extend_from_slice(&member);
        Json::new(out).number("mono", self.mono_us);
    }
}

impl Default for Second {
    fn default() -> Self {
        Self { since: 0, text: *b"1970-01-01T00:00:00." }
    }
}

impl Second {
    fn become_that_of(&mut self, since: u64) {
        if self.since != since {
            *self = Self { since, text: second(since) };
        }
    }
}

/// RFC 3339 up to the point before a fraction.
fn second(seconds: u64) -> [u8; SECOND] {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.";
    for (at, pair) in [
        (0, year / 100),
        (2, year),
        (5, month),
        (8, day),
        (11, second / 3600),
        (14, second / 60 % 60),
        (17, second % 60),
    ] {
        text[at..at + 2].copy_from_slice(&PAIRS[(pair % 100) as usize]);
    }
    text
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
            // Itself, and behind a record of the same second, and of another.
            let mut seen = Second::default();
            for before in [0, unix_us % MICROS, unix_us.min(MICROS + 7)] {
                let mut out = Vec::new();
                At::new(unix_us - before, 5).put(&mut Vec::new(), &mut seen);
                At::new(unix_us - before, 5).later(before).put(&mut out, &mut seen);
                let expected = format!("\"time\":\"{expected}\",\"mono\":{},", before + 5);
                assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
            }
        }
    }
}
