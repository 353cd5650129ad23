//! Whatever clients send, a record is a line, a line is a record, and every record is of something that happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::{Book, files, stop};
use crate::kit::say;
use crate::talk::*;

#[path = "../../../src/record/documented.rs"]
#[allow(dead_code)]
mod documented;

/// What would end a line or a string, begin a record, or be taken for another place by who reads it.
const PIECES: [&[u8]; 24] = [
    b"\"}\n{\"seq\":0,\"v\":1,\"kind\":\"login\",\"user\":\"forged\",\"forged\":true}\n",
    b"\",\"user\":\"forged\",\"x\":\"",
    b"\\\",\"user\":\"forged\"",
    b"\\u0022,\\u0022user\\u0022:\\u0022forged",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"\x0b\x0c\x1c\x1d\x1e\x1f",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xa9",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"\x1b[2J\x1b[31mforged\x1b[0m",
    b"\x1b]0;forged\x07",
    b"\x7f\x08\x08\x08",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\x8a",
    b"\\",
    b"\"",
    b"'",
];

const LOGINS: usize = 25;

/// Bytes of one's own making, a NUL among them where that may be.
fn nasty(random: &mut StdRng, nul: bool) -> Vec<u8> {
    let mut out = b"x".to_vec();
    for _ in 0..random.random_range(1..6) {
        out.extend_from_slice(PIECES.choose(random).expect("some"));
        if nul && random.random_bool(0.1) {
            out.push(0);
        }
        if random.random_bool(0.03) {
            out.resize(out.len() + random.random_range(1..200_000), b'y');
        }
    }
    out
}

fn quoted(quote: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![quote];
    for byte in bytes {
        out.push(*byte);
        if *byte == quote {
            out.push(quote);
        }
    }
    out.push(quote);
    out
}

fn sql(random: &mut StdRng) -> Vec<u8> {
    let nul = random.random_bool(0.1);
    let bytes = nasty(random, nul);
    match random.random_range(0..8) {
        0 => [b"SELECT ".to_vec(), quoted(b'\'', &bytes)].concat(),
        1 => [b"SELECT 1 AS ".to_vec(), quoted(b'"', &bytes)].concat(),
        2 => [b"SELECT 1 FROM ".to_vec(), quoted(b'"', &bytes), b".".to_vec(), quoted(b'"', &bytes)].concat(),
        3 => [b"/* ".to_vec(), bytes, b" */ SELECT 1".to_vec()].concat(),
        4 => [b"SELECT $a$".to_vec(), bytes, b"$a$".to_vec()].concat(),
        5 => [b"SET application_name TO ".to_vec(), quoted(b'\'', &bytes)].concat(),
        6 => [b"SELECT ".to_vec(), quoted(b'"', &bytes), b"('a')".to_vec()].concat(),
        _ => bytes,
    }
}

fn startup_bytes(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        body.extend(part.iter().filter(|byte| **byte != 0));
        body.push(0);
    }
    body.push(0);
    say::untagged(&body)
}

#[test]
fn no_text_of_a_client_breaks_a_record_or_makes_one() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let book = Book::new();
    let rig = book.setup("parameters = \"clear\"").server_line("statement_size_max = \"64KiB\"").start();
    let (mut logins, mut queries) = (0, 0);
    for _ in 0..500 {
        if logins == LOGINS {
            break;
        }
        let [name, reason] = [0, 1].map(|_| nasty(&mut random, false));
        // A blank ends an option, and a backslash escapes one.
        let escaped = |byte: &u8| {
            if matches!(byte, b' ' | b'\\' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) {
                vec![b'\\', *byte]
            } else {
                vec![*byte]
            }
        };
        let options = [b"-c pgwarden.reason=".to_vec(), reason.iter().flat_map(escaped).collect()].concat();
        let mut client = Talk::open(rig.address());
        let database = rig.database().as_bytes();
        let pairs: [(&[u8], &[u8]); 4] =
            [(b"user", b"alice"), (b"database", database), (b"application_name", &name), (b"options", &options)];
        client.send(&startup_bytes(&pairs));
        if client.authenticate("").is_err() {
            // Somebody else's name, and a database that nobody has.
            let mut stranger = Talk::open(rig.address());
            stranger.send(&startup_bytes(&[(b"user", &name), (b"database", &reason)]));
            assert!(stranger.authenticate("").is_err());
            continue;
        }
        logins += 1;
        for _ in 0..12 {
            let text = sql(&mut random);
            let messages = match random.random_range(0..3) {
                0 | 1 => {
                    // One with a NUL inside is no message: it ends the session.
                    queries += usize::from(!text.contains(&0));
                    message(b'Q', &[&text[..], &[0]].concat())
                }
                _ => {
                    let statement: Vec<u8> = nasty(&mut random, false).into_iter().take(200).collect();
                    let name = [&statement[..], &[0]].concat();
                    let value = nasty(&mut random, true);
                    let length = u32::try_from(value.len()).expect("short").to_be_bytes();
                    let parse = message(b'P', &[&name[..], b"SELECT $1::text\0", &[0, 0]].concat());
                    let values = [&[0, 0, 0, 1][..], &length, &value, &[0, 0]].concat();
                    let bind = message(b'B', &[b"\0", &name[..], &values].concat());
                    [parse, bind, execute("", 0), message(b'P', &[b"\0", &text[..], &[0, 0, 0]].concat()), sync()]
                        .concat()
                }
            };
            let said = client.try_send(&messages).map(|()| client.try_until_ready()).unwrap_or_default();
            if !said.rsplit(' ').next().is_some_and(|last| last.starts_with("Z(")) {
                break;
            }
        }
    }
    let records = stop(&rig, &book);
    documented::assert_known(&records);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &records {
        *kinds.entry(record["kind"].as_str().expect("a kind")).or_default() += 1;
        let user = record["user"].as_str().unwrap_or_default();
        assert!(record["kind"] == "login_failed" || matches!(user, "" | "alice"), "{record}");
    }
    let asked = records.iter().filter(|it| it["message"] == "query" && it["kind"] != "outcome").count();
    println!("{kinds:?}, {queries} queries");
    assert!(queries > 100 && logins == LOGINS, "{queries} queries of {logins} logins");
    assert_eq!((kinds["login"], asked), (logins, queries));
    assert_eq!((kinds["start"], kinds["stop"], kinds["disconnect"]), (1, 1, logins));
    for path in files(&book.log(), "log") {
        for line in fs::read_to_string(path).expect("UTF-8").split_terminator('\n') {
            let is_plain =
                |char: char| !char.is_control() && !matches!(char, '\u{2028}' | '\u{2029}' | '\u{202e}' | '\u{feff}');
            assert!(line.chars().all(is_plain), "{line:?}");
            let Once = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }
}

/// An object without a name that is there twice.
struct Once;

impl<'de> serde::Deserialize<'de> for Once {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Once;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("{name} is there twice")));
                    }
                }
                Ok(Once)
            }
        }
        from.deserialize_map(Names)
    }
}
