//! What a record says of the values of a Bind.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::json::{Json, put_number, put_string};
use super::scrub::{scrub, scrub_to};

/// The key of the log's hashes of values. Without it a hash cannot be found by trying values.
#[derive(Clone)]
pub struct HashKey(Hmac<Sha256>);

/// What a record tells of a text: enough to know it again, for who has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextMark {
    /// Bytes.
    pub length: u64,
    /// Absent where the text is too long to be hashed for its length's sake.
    pub hash: Option<[u8; 16]>,
}

impl TextMark {
    /// Of a text that nobody reads, however long.
    pub fn of_length(length: usize) -> Self {
        Self { length: length as u64, hash: None }
    }

    /// Appends `length` and `hash`.
    pub(super) fn put(&self, json: &mut Json<'_>) {
        json.number("length", self.length);
        if let Some(hash) = &self.hash {
            json.hex("hash", hash);
        }
    }
}

impl HashKey {
    pub fn new(key: [u8; 32]) -> Self {
        Self(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length"))
    }

    /// A key of its own for texts, where configuration has none for values: made of another secret.
    pub fn derived(secret: &[u8]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(b"pgwarden: texts of statements");
        Self::new(mac.finalize().into_bytes().into())
    }

    pub fn mark(&self, text: &[u8]) -> TextMark {
        TextMark { length: text.len() as u64, hash: Some(self.of(text)) }
    }

    /// HMAC-SHA-256, the first 16 bytes.
    fn of(&self, value: &[u8]) -> [u8; 16] {
        let mut mac = self.0.clone();
        mac.update(value);
        let bytes = mac.finalize().into_bytes();
        std::array::from_fn(|index| bytes[index])
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

/// What a record says of a value; the strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Show {
    /// Type and length.
    Omit,
    /// A keyed hash, too.
    Hash,
    /// The value, scrubbed.
    Clear,
}

/// The values of a Bind, and what may be said of them.
#[derive(Clone, Copy)]
pub struct Parameters<'a> {
    /// What follows the names in the Bind, as far as it is here.
    pub values: &'a [u8],
    /// Type oids of the Parse, four bytes each; 0 where the server is to find out.
    pub types: &'a [u8],
    /// By number, from 1.
    pub policy: &'a dyn Fn(u16) -> Show,
    pub key: Option<&'a HashKey>,
}

/// Values that a record lists, at most.
const LISTED_MAX: usize = 64;
/// Bytes of a value in clear, at most.
const CLEAR_MAX: usize = 256;

impl fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters").field("length", &self.values.len()).finish_non_exhaustive()
    }
}

impl Parameters<'_> {
    /// Appends `parameters` (a list), `parameters_count`, and `parameters_cut` where not all are listed.
    pub(super) fn put(&self, json: &mut Json<'_>) {
        let Some((formats, values)) = formats(self.values) else { return };
        let Some((count, values)) = values.split_first_chunk::<2>() else { return };
        let count = usize::from(u16::from_be_bytes(*count));
        if count == 0 {
            return;
        }
        json.number("parameters_count", count as u64);
        let listed = Listed { rest: values, left: count.min(LISTED_MAX) };
        let mut shown = 0;
        json.array("parameters", listed.enumerate(), |out, (index, value)| {
            shown += 1;
            let format = match formats {
                [high, low] => [*high, *low],
                all => all.get(index * 2..index * 2 + 2).and_then(|code| code.try_into().ok()).unwrap_or([0, 0]),
            };
            let oid = self.types.get(index * 4..index * 4 + 4).and_then(|oid| oid.try_into().ok());
            self.put_value(
                out,
                (self.policy)(index as u16 + 1),
                oid.map_or(0, u32::from_be_bytes),
                format == [0, 1],
                value,
            );
        });
        if shown < count {
            json.flag("parameters_cut", true);
        }
    }

    fn put_value(&self, out: &mut Vec<u8>, show: Show, oid: u32, binary: bool, value: Option<&[u8]>) {
        out.extend_from_slice(b"{\"type\":");
        put_number(out, u64::from(oid));
        out.extend_from_slice(if binary { b",\"format\":\"binary\"" } else { b",\"format\":\"text\"" });
        let Some(value) = value else {
            out.extend_from_slice(b",\"null\":true}");
            return;
        };
        out.extend_from_slice(b",\"length\":");
        put_number(out, value.len() as u64);
        match (show, self.key) {
            (Show::Hash, Some(key)) => {
                let mut hash = Vec::new();
                Json::new(&mut hash).hex("hash", &key.of(value)).done();
                out.push(b',');
                out.extend_from_slice(&hash);
            }
            (Show::Clear, _) => {
                if let Some(text) = readable(value, oid, binary) {
                    out.extend_from_slice(b",\"value\":");
                    put_string(out, &text);
                }
            }
            (Show::Omit | Show::Hash, _) => {}
        }
        out.push(b'}');
    }
}

/// A value as text, scrubbed and bounded; `None` for what cannot be read, and so not be scrubbed.
fn readable(value: &[u8], oid: u32, binary: bool) -> Option<String> {
    const BOOL: u32 = 16;
    const BYTEA: u32 = 17;
    const INT8: u32 = 20;
    const INT2: u32 = 21;
    const INT4: u32 = 23;
    /// "char", name, text, json, unknown, bpchar, varchar.
    const TEXTS: [u32; 7] = [18, 19, 25, 114, 705, 1042, 1043];
    let number = match oid {
        BYTEA => return None,
        _ if !binary => return readable_text(std::str::from_utf8(value).ok()?),
        oid if TEXTS.contains(&oid) => return readable_text(std::str::from_utf8(value).ok()?),
        BOOL => i64::from(*value == [1]),
        INT2 => i16::from_be_bytes(value.try_into().ok()?).into(),
        INT4 => i32::from_be_bytes(value.try_into().ok()?).into(),
        INT8 => i64::from_be_bytes(value.try_into().ok()?),
        _ => return None,
    };
    Some(scrub(&number.to_string()).into_owned())
}

/// Bytes written as hexadecimal digits could be a text that is not to be seen.
fn readable_text(text: &str) -> Option<String> {
    if text.contains("\\x") {
        return None;
    }
    let mut shown = scrub_to(text, CLEAR_MAX);
    if text.len() > CLEAR_MAX {
        shown.push('…');
    }
    Some(shown)
}

/// The format codes of a Bind's parameters, two bytes each, and what follows them. One code stands for all.
fn formats(values: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = values.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*count)) * 2)
}

/// Values with their lengths, as far as they are here.
struct Listed<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Listed<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.rest = rest;
            return Some(None);
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(value))
    }
}
