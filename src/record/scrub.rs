//! What never reaches the log, whichever way it comes: card numbers, stored password verifiers, passwords in connection
//! strings.

use std::borrow::Cow;

/// The text with what must not be kept replaced:
/// - digits that pass the Luhn check, 13 to 19 of them with at most one blank, dash, dot, slash or underscore between two:
///   `[card]`,
/// - `SCRAM-SHA-256$…` and `md5` with 32 hexadecimal digits: `[verifier]`,
/// - what follows `password=` or `password:` up to a blank, quote, semicolon or ampersand, and the password of a URL:
///   `[password]`.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut cuts: Vec<Cut> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let cut = match bytes[at] {
            b'0'..=b'9' => card(bytes, at),
            b's' | b'S' | b'm' | b'M' => verifier(bytes, at),
            b'p' | b'P' => password(bytes, at),
            b':' => url_password(bytes, at),
            _ => None,
        };
        match cut {
            Some(cut) => {
                at = cut.end.max(at + 1);
                cuts.push(cut);
            }
            None => at += 1,
        }
    }
    if cuts.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut scrubbed = String::with_capacity(text.len());
    let mut from = 0;
    for Cut { start, end, with } in cuts {
        // Cuts begin and end at ASCII bytes.
        scrubbed.push_str(text.get(from..start).unwrap_or_default());
        scrubbed.push_str(with);
        from = end;
    }
    scrubbed.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(scrubbed)
}

struct Cut {
    start: usize,
    end: usize,
    with: &'static str,
}

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;

/// A card number that begins at this digit. The longest one counts.
fn card(bytes: &[u8], start: usize) -> Option<Cut> {
    let (mut digits, mut ends) = ([0_u8; DIGITS_MAX], [0_usize; DIGITS_MAX]);
    let (mut count, mut at) = (0, start);
    while count < DIGITS_MAX {
        match bytes.get(at) {
            Some(digit @ b'0'..=b'9') => {
                (digits[count], ends[count]) = (digit - b'0', at + 1);
                count += 1;
            }
            Some(b' ' | b'-' | b'.' | b'/' | b'_') if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {}
            _ => break,
        }
        at += 1;
    }
    (DIGITS_MIN..=count).rev().find(|&length| is_luhn(&digits[..length])).map(|length| Cut {
        start,
        end: ends[length - 1],
        with: "[card]",
    })
}

/// The check of ISO/IEC 7812. A row of zeros is no card.
pub(super) fn is_luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| u32::from(if place % 2 == 1 { doubled(digit) } else { digit }))
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|&digit| digit != 0)
}

fn starts_with(bytes: &[u8], at: usize, word: &str) -> bool {
    bytes.get(at..at + word.len()).is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes()))
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[from.min(bytes.len())..].iter().position(|byte| !belongs(*byte)).map_or(bytes.len(), |count| from + count)
}

fn verifier(bytes: &[u8], start: usize) -> Option<Cut> {
    let end = if starts_with(bytes, start, "SCRAM-SHA-256$") {
        run(bytes, start, |byte| byte.is_ascii_alphanumeric() || b"-$:+/=".contains(&byte))
    } else if starts_with(bytes, start, "md5") {
        let end = run(bytes, start + 3, |byte| byte.is_ascii_hexdigit());
        (end - start - 3 >= 32).then_some(end)?
    } else {
        return None;
    };
    Some(Cut { start, end, with: "[verifier]" })
}

/// `password = '…'`, `"password": "…"`, `passwd:…` and the like.
fn password(bytes: &[u8], start: usize) -> Option<Cut> {
    let word = ["password", "passwd", "passphrase", "pwd"].into_iter().find(|word| starts_with(bytes, start, word))?;
    let sign = run(bytes, start + word.len(), |byte| matches!(byte, b' ' | b'"' | b'\'' | b'\\'));
    if !matches!(bytes.get(sign), Some(b'=' | b':')) {
        return None;
    }
    let value = run(bytes, sign + 1, |byte| byte == b' ' || byte == b'>');
    let quote = bytes.get(value).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let end = match quote {
        Some(quote) => run(bytes, value + 1, |byte| byte != quote),
        None => run(bytes, value, |byte| !matches!(byte, b' ' | b'"' | b'\'' | b';' | b'&' | b',' | b')' | b'\n')),
    };
    let start = value + usize::from(quote.is_some());
    (end > start).then_some(Cut { start, end, with: "[password]" })
}

/// `scheme://user:password@host`.
fn url_password(bytes: &[u8], start: usize) -> Option<Cut> {
    if !starts_with(bytes, start, "://") {
        return None;
    }
    let end = run(bytes, start + 3, |byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'"' | b'\''));
    let host = start + 3 + bytes[start + 3..end].iter().rposition(|byte| *byte == b'@')?;
    let colon = start + 3 + bytes[start + 3..host].iter().position(|byte| *byte == b':')?;
    (host > colon + 1).then_some(Cut { start: colon + 1, end: host, with: "[password]" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_go_however_they_are_written() {
        for number in ["4111111111111111", "378282246310005", "5555555555554444", "6011000990139424", "4222222222222"] {
            for separator in ["", " ", "-", ".", "/", "_"] {
                let grouped: Vec<String> =
                    number.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
                let written = grouped.join(separator);
                for text in [
                    written.clone(),
                    format!("a{written}b"),
                    format!("card {written}, {written}!"),
                    format!("é{written}é"),
                ] {
                    let scrubbed = scrub(&text);
                    assert!(scrubbed.contains("[card]"), "{text}");
                    assert!(!scrubbed.contains(&written), "{text} -> {scrubbed}");
                }
            }
        }
        for text in ["411111111111", "1234", "2026-11-24 02:20:00", "0000000000000000", "127.0.0.1:5432"] {
            assert_eq!(scrub(text), text);
        }
        // Wherever it begins.
        assert!(!scrub("74111111111111111").contains("4111111111111111"));
        assert_eq!(scrub("12345678901234567890 4111111111111111").matches("4111111111111111").count(), 0);
    }

    #[test]
    fn verifiers_and_passwords_go() {
        for (text, expected) in [
            ("x SCRAM-SHA-256$4096:c2FsdA==$c3Rv:c2Vydg== y", "x [verifier] y"),
            ("md5d41d8cd98f00b204e9800998ecf8427e", "[verifier]"),
            ("md5 of it", "md5 of it"),
            ("host=a password=secret dbname=b", "host=a password=[password] dbname=b"),
            ("password = 'two words' x", "password = '[password]' x"),
            ("{\"password\": \"secret\"}", "{\"password\": \"[password]\"}"),
            ("postgresql://user:se:cret@host/db", "postgresql://user:[password]@host/db"),
            ("postgresql://host/db", "postgresql://host/db"),
            ("password", "password"),
        ] {
            assert_eq!(scrub(text), expected);
        }
    }
}
