//! What never reaches the log, whichever way it comes: payment card numbers, stored password verifiers, passwords in
//! connection strings, values that are named as secrets.
//!
//! It finds what looks like one, and rather takes too much than too little; what it takes is replaced by `[card]` or
//! `[secret]`.

use std::borrow::Cow;
use std::ops::Range;

/// The text with what must not be kept replaced:
/// - 13 to 19 digits that pass the Luhn check, with up to three blanks, dashes, dots, quotes and the like between two of them:
///   standing alone or glued to anything but digits; in a longer run of digits those that begin as cards do,
/// - `SCRAM-SHA-…$…`, and `md5` with 32 hexadecimal digits,
/// - the value behind `password=`, `"token": "…"`, `PASSWORD '…'` and the like,
/// - the password of a URL.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut found = named_secrets(bytes);
    found.extend(url_secrets(bytes));
    found.extend(verifiers(bytes));
    replaced_cards(replaced(text, found, SECRET))
}

/// The same for SQL whose literals are gone: names of columns in it are not names of secrets.
pub(super) fn scrub_sql(text: &str) -> Cow<'_, str> {
    replaced_cards(replaced(text, verifiers(text.as_bytes()), SECRET))
}

/// At most `max` bytes of the text, scrubbed.
pub(super) fn scrub_to(text: &str, max: usize) -> String {
    // More than is kept, so that what the end of it splits is seen whole.
    let mut scrubbed = scrub(begin_of(text, max + MARGIN)).into_owned();
    let length = begin_of(&scrubbed, max).len();
    scrubbed.truncate(length);
    scrubbed
}

/// At most `max` bytes of the text, in whole characters.
pub(super) fn begin_of(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether a name says that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| memchr::memmem::find(lower.as_bytes(), secret).is_some())
}

/// Whether there is what looks like a stored password verifier, or like the beginning of one.
pub(super) fn holds_verifier(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    !verifiers(text.as_bytes()).is_empty() || memchr::memmem::find(lower.as_bytes(), b"scram-sha-").is_some()
}

/// Bytes looked at behind a cut.
pub(super) const MARGIN: usize = 512;

const CARD: &str = "[card]";
const SECRET: &str = "[secret]";

fn replaced_cards(text: Cow<'_, str>) -> Cow<'_, str> {
    let found = cards(text.as_bytes());
    if found.is_empty() { text } else { Cow::Owned(replaced(&text, found, CARD).into_owned()) }
}

/// Ranges begin and end at characters' bounds.
fn replaced<'a>(text: &'a str, mut found: Vec<Range<usize>>, by: &str) -> Cow<'a, str> {
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_by_key(|range| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for range in found {
        if range.start >= at {
            out.push_str(text.get(at..range.start).unwrap_or_default());
            out.push_str(by);
        }
        at = at.max(range.end);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Cow::Owned(out)
}

/// Ranges of card numbers: 13 to 19 digits with a valid check digit, with or without separators, glued to anything.
fn cards(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut digits: Vec<Digit> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if let Some((value, length)) = digit(&text[at..]) {
            let begins = digits.last().is_none_or(|last| last.end != at);
            digits.push(Digit { value, start: at, end: at + length, begins, ends: false });
            at += length;
            continue;
        }
        let gap = if digits.is_empty() { 0 } else { separator(&text[at..]) };
        if let Some(last) = digits.last_mut() {
            last.ends = true;
        }
        if gap > 0 {
            at += gap;
        } else {
            cards_in(&digits, &mut found);
            digits.clear();
            at += 1;
        }
    }
    if let Some(last) = digits.last_mut() {
        last.ends = true;
    }
    cards_in(&digits, &mut found);
    found
}

struct Digit {
    value: u8,
    start: usize,
    end: usize,
    /// First of a group without separators.
    begins: bool,
    /// Last of one.
    ends: bool,
}

/// The cards among digits that only separators part.
fn cards_in(digits: &[Digit], found: &mut Vec<Range<usize>>) {
    for first in 0..(digits.len() + 1).saturating_sub(DIGITS_MIN) {
        let longest = DIGITS_MAX.min(digits.len() - first);
        let card = (DIGITS_MIN..=longest).rev().find(|length| {
            let window = &digits[first..first + length];
            let stands_alone = window[0].begins && window[length - 1].ends;
            (stands_alone || is_issued(window)) && luhn(window) && !is_zero(window)
        });
        // Any of them may be one, so those that overlap go, too.
        found.extend(card.map(|length| digits[first].start..digits[first + length - 1].end));
    }
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[Digit]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit.value);
            if place % 2 == 0 { value } else { value * 2 - 9 * u32::from(value > 4) }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// No card's number is zero.
fn is_zero(digits: &[Digit]) -> bool {
    digits.iter().all(|digit| digit.value == 0)
}

/// Whether a card can begin like this: what decides inside a longer run of digits, where one window in ten has a valid check
/// digit by chance. Prefixes and lengths as the networks publish them.
fn is_issued(digits: &[Digit]) -> bool {
    let prefix = digits[..4].iter().fold(0u32, |prefix, digit| prefix * 10 + u32::from(digit.value));
    match (prefix / 100, digits.len()) {
        (34 | 37, 15) | (40..=49, 13 | 16 | 19) | (51..=55, 16) => true,
        (30 | 36 | 38 | 39, 14 | 16) => true,
        (35 | 50 | 56..=69 | 81 | 82, 13 | 15..=19) => true,
        (22..=27, 16) => matches!(prefix, 2200..=2204 | 2221..=2720),
        (86 | 97 | 98, 16) => matches!(prefix, 8600 | 9792 | 9860),
        _ => false,
    }
}

/// A decimal digit, ASCII, full width or Arabic, and its bytes.
fn digit(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [byte @ b'0'..=b'9', ..] => Some((byte - b'0', 1)),
        // U+FF10 to U+FF19.
        [0xef, 0xbc, byte @ 0x90..=0x99, ..] => Some((byte - 0x90, 3)),
        // U+0660 to U+0669, U+06F0 to U+06F9.
        [0xd9, byte @ 0xa0..=0xa9, ..] => Some((byte - 0xa0, 2)),
        [0xdb, byte @ 0xb0..=0xb9, ..] => Some((byte - 0xb0, 2)),
        _ => None,
    }
}

/// Bytes of what may part a card's groups: up to three of blanks, dashes, dots and the like, with a digit behind them.
fn separator(text: &[u8]) -> usize {
    let mut at = 0;
    for _ in 0..SEPARATORS_MAX {
        at += match &text[at..] {
            // As escapes of a line's end.
            [b'\\', b'n' | b'r' | b't', ..] => 2,
            [b' ' | b'\t' | b'\n' | b'\r' | b'-' | b'.' | b'_' | b'/' | b'\\' | b'*' | b',' | b'"' | b'\'', ..] => 1,
            // No-break space, soft hyphen, middle dot.
            [0xc2, 0xa0 | 0xad | 0xb7, ..] => 2,
            // U+2000 to U+2015 (spaces, hyphens, dashes), U+202F, U+2212 (minus), U+3000.
            [0xe2, 0x80, 0x80..=0x95 | 0xaf, ..] | [0xe2, 0x88, 0x92, ..] | [0xe3, 0x80, 0x80, ..] => 3,
            _ => break,
        };
    }
    if digit(&text[at..]).is_some() { at } else { 0 }
}

/// Ranges of password verifiers as `pg_authid` has them: `md5` with 32 hexadecimal digits, and `SCRAM-SHA-…$…`.
fn verifiers(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let lower = text.to_ascii_lowercase();
    for start in memchr::memmem::find_iter(&lower, b"md5") {
        let digits = lower[start + 3..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits >= MD5_DIGITS {
            found.push(start..start + 3 + digits);
        }
    }
    let mut at = 0;
    while let Some(start) = find_from(&lower, b"scram-sha-", at) {
        at = start + lower[start..].iter().take_while(|byte| !ends_value(**byte)).count();
        if lower[start..at].contains(&b'$') {
            found.push(start..at);
        }
    }
    found
}

/// Values behind `password=`, `secret:`, `PASSWORD '` and the like.
fn named_secrets(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let lower = text.to_ascii_lowercase();
    for name in SECRET_NAMES {
        let mut at = 0;
        while let Some(start) = find_from(&lower, name, at) {
            at = start + name.len();
            if let Some(value) = value_behind(&lower, at) {
                at = value.end;
                if !is_placeholder(&lower[value.clone()]) {
                    found.push(value);
                }
            }
        }
    }
    found
}

/// The value that belongs to the name before `from`.
fn value_behind(text: &[u8], from: usize) -> Option<Range<usize>> {
    let skip = |at: usize, belongs: fn(u8) -> bool| at + text[at..].iter().take_while(|byte| belongs(**byte)).count();
    // The rest of the name, its quote, the sign.
    let name_end = skip(from, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let sign = skip(name_end, |byte| is_blank(byte) || matches!(byte, b'"' | b'\'' | b'\\'));
    let mut start = skip(sign, |byte| matches!(byte, b'=' | b':' | b'>')).min(sign + 2);
    let quote = if start > sign {
        start = skip(start, |byte| is_blank(byte) || byte == b'\\');
        let quote = text.get(start).copied().filter(|byte| matches!(byte, b'"' | b'\''));
        start += usize::from(quote.is_some());
        quote
    } else {
        // `PASSWORD 'x'`, but not the end of a quoted name.
        let is_apart = text.get(name_end).is_some_and(|byte| is_blank(*byte));
        Some(text[sign - 1]).filter(|byte| is_apart && matches!(byte, b'"' | b'\''))
    };
    let length = match quote {
        Some(quote) => quoted_length(&text[start..], quote),
        None if start > sign => text[start..].iter().take_while(|byte| !ends_value(**byte)).count(),
        None => 0,
    };
    (length > 0).then_some(start..start + length)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn find_from(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(&text[from..], needle).map(|at| from + at)
}

/// Up to the quote that closes a value; doubled and escaped ones are part of it.
fn quoted_length(value: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < value.len() {
        match value[at] {
            b'\\' => at += 2,
            byte if byte == quote && value.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at,
            _ => at += 1,
        }
    }
    value.len()
}

/// Passwords of URLs: between `://user:` and the last `@` before a blank.
fn url_secrets(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(scheme) = find_from(text, b"://", at) {
        let start = scheme + 3;
        let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
        at = text[start..].iter().position(is_end).map_or(text.len(), |length| start + length);
        if let Some(host) = memchr::memrchr(b'@', &text[start..at])
            && let Some(colon) = memchr::memchr(b':', &text[start..start + host])
        {
            found.push(start + colon + 1..start + host);
        }
    }
    found
}

fn is_placeholder(value: &[u8]) -> bool {
    value == b"?"
        || value == b"***"
        || value == SECRET.as_bytes()
        || value.strip_prefix(b"$").is_some_and(|rest| !rest.is_empty() && rest.iter().all(u8::is_ascii_digit))
}

fn ends_value(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"' | b',' | b';' | b'&' | b')' | b'}')
}

/// Digits of a card's number.
pub(super) const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
const SEPARATORS_MAX: usize = 3;
const MD5_DIGITS: usize = 32;

/// Parts of names whose values are secrets, in lower case.
const SECRET_NAMES: [&[u8]; 9] =
    [b"password", b"passwd", b"passphrase", b"pwd", b"secret", b"token", b"api_key", b"apikey", b"private_key"];

#[cfg(test)]
#[path = "scrub_tests.rs"]
mod tests;
