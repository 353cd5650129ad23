//! What of a text may be kept as it is, literals and all, to be encrypted: never what is a secret whoever reads it.
//!
//! Nothing tells a password from another literal but what stands around it. So a text that names a secret anywhere, or holds
//! what looks like a stored verifier, is not kept at all, nor is one that the grammar does not accept. Literals that mean
//! something else than they show (escapes, hexadecimal digits) are replaced, and payment cards as everywhere.

use std::borrow::Cow;

use super::json::Json;
use super::scrub::{self, begin_of, is_secret_name, scrub};
use crate::sql::lexer::{Lexer, Token, TokenKind};
use crate::sql::{Analysis, Statement, StatementKind};

/// A text for a record, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawText {
    Keep {
        text: String,
        /// It is not whole.
        cut: bool,
    },
    LeaveOut(LeftOut),
}

/// Why a text is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// The grammar does not accept it.
    Unread,
    /// It may hold one.
    Secret,
}

impl LeftOut {
    pub fn label(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Secret => "secret",
        }
    }
}

/// What a record says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    Sealed { sealed: Sealed, cut: bool },
    LeftOut(LeftOut),
}

/// A text, encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Id of the key.
    pub key: String,
    /// In base64.
    pub text: String,
}

impl Kept {
    pub(super) fn put(&self, json: &mut Json<'_>) {
        match self {
            Self::Sealed { sealed, cut } => {
                json.text("raw_key", &sealed.key).text("raw", &sealed.text);
                if *cut {
                    json.flag("raw_cut", true);
                }
            }
            Self::LeftOut(why) => {
                json.text("raw_left_out", why.label());
            }
        }
    }
}

/// Bytes of a text, at most.
const RAW_MAX: usize = 64 << 10;

impl RawText {
    pub fn of(text: &[u8], analysis: &Analysis) -> Self {
        let read = std::str::from_utf8(text).ok().filter(|_| analysis.failure.is_none());
        let Some(text) = read else { return Self::LeaveOut(LeftOut::Unread) };
        let Some(plain) = without_codes(text) else { return Self::LeaveOut(LeftOut::Secret) };
        if is_secret_name(text) || scrub::holds_verifier(text) || analysis.statements.iter().any(takes_secrets) {
            return Self::LeaveOut(LeftOut::Secret);
        }
        let scrubbed = scrub(&plain);
        let kept = begin_of(&scrubbed, RAW_MAX);
        Self::Keep { text: kept.to_owned(), cut: kept.len() < scrubbed.len() }
    }
}

/// Whether a statement's literals may be secrets though nothing calls them so: values of settings, options of roles, servers
/// and subscriptions, arguments of functions that encrypt and connect, and those of statements prepared elsewhere.
fn takes_secrets(statement: &Statement) -> bool {
    use StatementKind::{Administer, AlterSystem, CopyProgram, Execute, Import, Set, SetLocal, Unknown};
    let is_asked = |name: &Vec<String>| {
        name.last().is_some_and(|name| {
            SECRET_FUNCTIONS.contains(&name.as_str()) || name.starts_with("pgp_") || name.starts_with("dblink")
        })
    };
    matches!(statement.kind, Set | SetLocal | AlterSystem | Administer | CopyProgram | Execute | Import | Unknown)
        || statement.functions.iter().any(is_asked)
}

/// What takes a password or key; those of pgcrypto among them.
const SECRET_FUNCTIONS: [&str; 8] =
    ["set_config", "crypt", "gen_salt", "digest", "hmac", "encrypt", "decrypt", "encrypt_iv"];

/// The text with `?` for literals that have to be decoded. `None`: a name has to be, or its literals, put together
/// as the server does with those on several lines, and as whoever hides something may, name a secret or hold a verifier.
fn without_codes(text: &str) -> Option<Cow<'_, str>> {
    let mut out = String::new();
    let (mut done, mut joined) = (0, String::new());
    for Token { kind, start, end } in Lexer::new(text.as_bytes()) {
        let word = &text[start..end];
        let replaced = match kind {
            TokenKind::UnicodeString | TokenKind::HexString | TokenKind::BitString => "?",
            TokenKind::EscapeString if word.contains('\\') => "?",
            TokenKind::String | TokenKind::EscapeString | TokenKind::DollarString => {
                let content = word.trim_start_matches(['E', 'e']);
                joined.extend(content.chars().filter(|char| !matches!(char, '\'' | '$') && !char.is_whitespace()));
                continue;
            }
            // A name that has to be decoded may be a secret's.
            TokenKind::UnicodeIdent | TokenKind::Invalid => return None,
            _ => continue,
        };
        out.push_str(&text[done..start]);
        out.push_str(replaced);
        done = end;
    }
    if is_secret_name(&joined) || scrub::holds_verifier(&joined) {
        return None;
    }
    if done == 0 {
        return Some(Cow::Borrowed(text));
    }
    out.push_str(&text[done..]);
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::grammar;

    fn of(text: &str) -> String {
        match RawText::of(text.as_bytes(), &grammar::read(text.as_bytes())) {
            RawText::Keep { text, cut } => format!("{text}{}", if cut { "..." } else { "" }),
            RawText::LeaveOut(why) => why.label().to_owned(),
        }
    }

    #[test]
    fn literals_stay_and_secrets_never_do() {
        let card = "4111111111111111";
        for (text, kept) in [
            ("SELECT * FROM t WHERE name = 'Alice' -- why", "SELECT * FROM t WHERE name = 'Alice' -- why"),
            ("INSERT INTO t VALUES ('4111 1111 1111 1111', 7)", "INSERT INTO t VALUES ('[card]', 7)"),
            ("SELECT E'it\\'s', 'x'", "SELECT ?, 'x'"),
            ("SELECT E'\\064111111111111111', X'34', B'1', U&'\\0034', E'a'", "SELECT ?, ?, ?, ?, E'a'"),
            ("UPDATE u SET U&\"p\\0061ssword\" = 'hunter2'", "secret"),
            ("SET app.jwt = 'hunter2'", "secret"),
            ("EXECUTE login('bob', 'hunter2')", "secret"),
            ("SELECT set_config('app.jwt', 'hunter2', false)", "secret"),
            ("SELECT id FROM u WHERE h = crypt('hunter2', h)", "secret"),
            ("SELECT public.pgp_sym_encrypt(note, 'hunter2') FROM u", "secret"),
            ("CREATE SUBSCRIPTION s CONNECTION 'host=a pass=hunter2' PUBLICATION p", "secret"),
            ("BEGIN; INSERT INTO t VALUES ('x'); COMMIT", "BEGIN; INSERT INTO t VALUES ('x'); COMMIT"),
            ("UPDATE u SET h = $$md50123456789abcdef$$ || $$0123456789abcdef$$", "secret"),
            ("ALTER ROLE r PASSWORD E'hunter2'", "secret"),
            ("ALTER ROLE r PASSWORD $$hunter2$$", "secret"),
            ("CREATE USER MAPPING FOR u SERVER s OPTIONS (\"pass\" 'x', password 'hunter2')", "secret"),
            ("INSERT INTO u (n, passwd) VALUES ('a', 'hunter2')", "secret"),
            ("UPDATE u SET h = 'SCRAM-SHA-256$4096:a$b:c'", "secret"),
            ("UPDATE u SET h = 'SCRAM-SHA-'\n'256$4096:a$b:c'", "secret"),
            ("UPDATE u SET h = 'md50123456789abcdef0123456789abcdef'", "secret"),
            ("UPDATE u SET h = 'md50123456789abcdef'\n'0123456789abcdef'", "secret"),
            ("SELECT dblink('host=a pass'\n'word=hunter2')", "secret"),
            ("SELECT 'postgres://bob:hunter2@db/x'", "SELECT 'postgres://bob:[secret]@db/x'"),
            ("SELECT 'it''s hunter2", "unread"),
            ("ALTER ROLE r PASSWRD 'hunter2'", "unread"),
        ] {
            assert_eq!(of(text), kept, "{text}");
        }
        assert_eq!(of(&format!("SELECT '{card}'")), "SELECT '[card]'");
        let long = of(&format!("SELECT '{}'", "é".repeat(RAW_MAX)));
        assert!(long.len() <= RAW_MAX + 3 && long.ends_with("..."));
    }
}
