//! What a text says, without its literals: encoded once for all texts of one shape.

use crate::sql::lexer::{Lexer, TokenKind};
use crate::sql::{Analysis, Failure, Relation, RelationUsage, Statement};

use super::json::{Json, put_string};
use super::scrub::scrub;

/// A text's part of a record: kinds, fingerprints, the text with each literal replaced by `?`, relations, functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Box<[u8]>);

/// Bytes of a text without its literals, at most.
const TEXT_MAX: usize = 8 << 10;
/// Names in a list, at most.
const NAMES_MAX: usize = 64;

impl Words {
    pub fn of(text: &[u8], analysis: &Analysis) -> Self {
        let mut out = Vec::with_capacity(text.len() + 256);
        let mut json = Json::new(&mut out);
        let statements = &analysis.statements;
        json.array("statements", statements.iter().take(NAMES_MAX), |out, it| put_string(out, it.kind.label()));
        json.array("fingerprints", statements.iter().take(NAMES_MAX), |out, it| {
            put_string(out, &format!("{:016x}", it.fingerprint));
        });
        if let Some(failure) = &analysis.failure {
            json.text(
                "unread",
                match failure {
                    Failure::Syntax { .. } => "syntax",
                    Failure::TooComplex => "too_complex",
                    Failure::Encoding => "encoding",
                },
            );
        }
        let normalised = normalise(text, analysis.failure.is_some());
        let mut end = normalised.text.len().min(TEXT_MAX);
        while !normalised.text.is_char_boundary(end) {
            end -= 1;
        }
        json.text("text", &normalised.text[..end]);
        if normalised.cut || end < normalised.text.len() {
            json.flag("text_cut", true);
        }
        names(&mut json, "reads", statements, |usage| usage == RelationUsage::Read);
        names(&mut json, "writes", statements, |usage| {
            matches!(
                usage,
                RelationUsage::Insert | RelationUsage::Update | RelationUsage::Delete | RelationUsage::Merge
            )
        });
        names(&mut json, "names", statements, |usage| {
            matches!(usage, RelationUsage::Lock | RelationUsage::Define | RelationUsage::Name)
        });
        let functions = statements.iter().flat_map(|it| &it.functions).map(|name| name.join("."));
        list(&mut json, "functions", functions);
        Self(out.into())
    }

    /// Members, with a comma behind the last.
    pub(super) fn members(&self) -> &[u8] {
        &self.0
    }
}

fn names(json: &mut Json<'_>, name: &str, statements: &[Statement], wanted: impl Fn(RelationUsage) -> bool) {
    let qualified = |relation: &Relation| match &relation.schema {
        Some(schema) => format!("{schema}.{}", relation.name),
        None => relation.name.clone(),
    };
    let relations = statements.iter().flat_map(|it| &it.relations).filter(|it| wanted(it.usage)).map(qualified);
    list(json, name, relations);
}

/// A list of names, each once; nothing where it is empty.
fn list(json: &mut Json<'_>, name: &str, items: impl Iterator<Item = String>) {
    let mut found: Vec<String> = Vec::new();
    for item in items {
        if !found.contains(&item) {
            if found.len() == NAMES_MAX {
                json.flag("names_cut", true);
                break;
            }
            found.push(item);
        }
    }
    if !found.is_empty() {
        json.array(name, &found, |out, item| put_string(out, &scrub(item)));
    }
}

struct Normalised {
    text: String,
    /// The rest could not be told from a literal.
    cut: bool,
}

/// The text without comments, with one blank for any white space, and `?` for each literal.
///
/// `failed`: the grammar did not accept it. Then a quote may stand where none should, and what looks like a word may be the
/// rest of a literal: such a text ends with its first string.
fn normalise(text: &[u8], failed: bool) -> Normalised {
    let Ok(text) = std::str::from_utf8(text) else { return Normalised { text: String::new(), cut: true } };
    let mut out = String::with_capacity(text.len());
    let (mut space, mut cut) = (false, false);
    let mut values = Values::Start;
    for token in Lexer::new(text.as_bytes()) {
        let word = &text[token.start..token.end];
        let is_string = matches!(
            token.kind,
            TokenKind::String
                | TokenKind::EscapeString
                | TokenKind::DollarString
                | TokenKind::UnicodeString
                | TokenKind::BitString
                | TokenKind::HexString
        );
        match token.kind {
            TokenKind::Space | TokenKind::Comment => {
                space = true;
                continue;
            }
            TokenKind::Invalid => {
                cut = true;
                break;
            }
            _ => {}
        }
        if std::mem::take(&mut space) && !out.is_empty() {
            out.push(' ');
        }
        let is_value = values == Values::Value;
        values = values.after(token.kind, word);
        if is_string || matches!(token.kind, TokenKind::Integer | TokenKind::Number) {
            out.push('?');
        } else if is_value && token.kind != TokenKind::Symbol {
            out.push_str(if is_harmless_value(word) { word } else { "?" });
        } else {
            out.push_str(word);
        }
        if failed && is_string {
            cut = true;
            break;
        }
    }
    Normalised { text: scrub(&out).into_owned(), cut }
}

/// Where words are values: `SET name TO word`, also in ALTER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// A statement begins.
    Start,
    /// It begins with SET or ALTER.
    Setting,
    Value,
    Other,
}

impl Values {
    fn after(self, kind: TokenKind, word: &str) -> Self {
        let is = |other: &str| kind == TokenKind::Ident && word.eq_ignore_ascii_case(other);
        match self {
            _ if word == ";" => Self::Start,
            Self::Start if is("set") || is("alter") => Self::Setting,
            Self::Start | Self::Other => Self::Other,
            Self::Setting if word == "=" || is("to") => Self::Value,
            same => same,
        }
    }
}

fn is_harmless_value(word: &str) -> bool {
    ["on", "off", "true", "false", "default", "utf8", "iso", "utc"].iter().any(|it| word.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::grammar;

    fn shown(text: &str) -> String {
        let analysis = grammar::read(text.as_bytes());
        normalise(text.as_bytes(), analysis.failure.is_some()).text
    }

    #[test]
    fn literals_comments_and_white_space_go() {
        for (text, expected) in [
            ("SELECT  a\n FROM t WHERE b = 'x' AND c > 1.5 -- why", "SELECT a FROM t WHERE b = ? AND c > ?"),
            ("select $1, E'a\\'b', $$x$$, U&'a', b'1', x'f' /* s */ ;", "select $1, ?, ?, ?, ?, ? ;"),
            ("SET app.token TO hunter2", "SET app.token TO ?"),
            ("set local x = 'a', b, on", "set local x = ?, ?, on"),
            ("alter role r set x to hunter2; select a = b from t", "alter role r set x to ?; select a = b from t"),
            ("update t set a = b", "update t set a = b"),
            ("alter role r password 'it''s'", "alter role r password ?"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_text_that_the_grammar_refuses_ends_with_its_first_string() {
        for text in [
            "alter role r password 'it's secret' x",
            "create user r passwrd 'secret' 'secret'",
            "select 'a' 'secret",
            "select $a$ secret",
            "select 'secret",
            "select \"secret",
            "insert into t values ('o'secret')",
        ] {
            assert!(!shown(text).contains("secret"), "{text}: {}", shown(text));
        }
        assert_eq!(shown("selec * from invoices"), "selec * from invoices");
    }

    #[test]
    fn names_are_listed_by_what_is_done_to_them() {
        let text = b"insert into s.t select lower(a), count(*) from u join u v on true";
        let words = Words::of(text, &grammar::read(text));
        let mut object = b"{".to_vec();
        object.extend_from_slice(words.members());
        assert_eq!(object.pop(), Some(b','));
        object.push(b'}');
        let object: serde_json::Value = serde_json::from_slice(&object).expect("an object");
        assert_eq!(object["statements"], serde_json::json!(["insert"]));
        assert_eq!(object["writes"], serde_json::json!(["s.t"]));
        assert_eq!(object["reads"], serde_json::json!(["u"]));
        assert_eq!(object["functions"], serde_json::json!(["lower", "count"]));
    }
}
