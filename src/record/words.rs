//! What a text says, without its literals: encoded once for all texts of one shape.

use std::borrow::Cow;
use std::sync::Arc;

use crate::sql::lexer::{Lexer, TokenKind};
use crate::sql::{Analysis, Failure, Relation, RelationUsage, Statement, fingerprints};

use super::json::{Json, put_string};
use super::keywords::is_keyword;
use super::{Phrase, scrub};

/// A text's part of a record: kinds, fingerprints, the text with each literal replaced by `?`, relations, functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Arc<Phrase>);

/// Bytes of a text without its literals, at most.
const TEXT_MAX: usize = 8 << 10;
/// Names in a list, at most.
const NAMES_MAX: usize = 64;
/// Bytes of a name, at most; PostgreSQL's own have 63.
const NAME_MAX: usize = 256;
/// A text that the grammar does not accept is told by its length alone where it is longer.
const UNREAD_MAX: usize = 64 << 10;
/// Bytes of `$65535`.
const PARAMETER_MAX: usize = 6;

impl Words {
    pub fn of(text: &[u8], analysis: &Analysis) -> Self {
        let mut out = Vec::with_capacity(text.len() + 256);
        let mut json = Json::new(&mut out);
        let statements = &analysis.statements;
        json.array("statements", statements.iter().take(NAMES_MAX), |out, it| put_string(out, it.kind.label()));
        json.array("fingerprints", fingerprints(text, analysis, NAMES_MAX).iter(), |out, it| {
            put_string(out, &format!("{it:016x}"));
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
        let normalised = match &analysis.failure {
            None => normalise(text, Accepted::ByGrammar),
            Some(Failure::Encoding) => None,
            // Not accepted by the grammar because it is too long to be read: no more is it read here.
            Some(Failure::Syntax { .. } | Failure::TooComplex) if text.len() > UNREAD_MAX => None,
            Some(Failure::Syntax { .. } | Failure::TooComplex) => normalise(text, Accepted::ByLexer),
        };
        if let Some(normalised) = &normalised {
            json.text("text", &normalised.text);
        }
        if normalised.is_none_or(|normalised| normalised.cut) {
            json.flag("text_cut", true);
        }
        let mut lists = Lists { json: &mut json, cut: false };
        lists.relations("reads", statements, |usage| usage == RelationUsage::Read);
        lists.relations("writes", statements, |usage| {
            matches!(
                usage,
                RelationUsage::Insert | RelationUsage::Update | RelationUsage::Delete | RelationUsage::Merge
            )
        });
        lists.relations("names", statements, |usage| {
            matches!(usage, RelationUsage::Lock | RelationUsage::Define | RelationUsage::Name)
        });
        lists.put("functions", statements.iter().flat_map(|it| &it.functions).map(|name| name.join(".")));
        if lists.cut || statements.len() > NAMES_MAX {
            json.flag("names_cut", true);
        }
        Self(Phrase::new(out))
    }

    pub fn phrase(&self) -> &Arc<Phrase> {
        &self.0
    }

    /// Members, with a comma behind the last.
    pub(super) fn members(&self) -> &[u8] {
        self.0.members()
    }
}

struct Lists<'a, 'b> {
    json: &'a mut Json<'b>,
    /// One of them is not whole.
    cut: bool,
}

impl Lists<'_, '_> {
    fn relations(&mut self, name: &str, statements: &[Statement], wanted: impl Fn(RelationUsage) -> bool) {
        let qualified = |relation: &Relation| match &relation.schema {
            Some(schema) => format!("{schema}.{}", relation.name),
            None => relation.name.clone(),
        };
        let relations = statements.iter().flat_map(|it| &it.relations).filter(|it| wanted(it.usage)).map(qualified);
        self.put(name, relations);
    }

    /// Names, each once; nothing where there are none.
    fn put(&mut self, name: &str, items: impl Iterator<Item = String>) {
        let mut found: Vec<String> = Vec::new();
        for item in items {
            if !found.contains(&item) {
                if found.len() == NAMES_MAX {
                    self.cut = true;
                    break;
                }
                found.push(item);
            }
        }
        if !found.is_empty() {
            self.json.array(name, &found, |out, item| put_string(out, &scrub::scrub_to(item, NAME_MAX)));
        }
    }
}

/// What has accepted a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepted {
    ByGrammar,
    /// Nothing tells a name from a value here.
    ByLexer,
}

struct Normalised {
    text: String,
    cut: bool,
}

/// The text without comments, with one blank for any white space, and `?` for each literal. A text that the grammar does not
/// accept keeps only SQL's own words and symbols. `None`: the lexer does not accept it either.
fn normalise(text: &[u8], accepted: Accepted) -> Option<Normalised> {
    let text = std::str::from_utf8(text).ok()?;
    let mut out = String::with_capacity(text.len().min(TEXT_MAX));
    let (mut space, mut cut) = (false, false);
    let mut values = Values::Start;
    for token in Lexer::new(text.as_bytes()) {
        match token.kind {
            TokenKind::Invalid => return None,
            TokenKind::Space | TokenKind::Comment => {
                space = true;
                continue;
            }
            _ if out.len() > TEXT_MAX + scrub::MARGIN => {
                cut = true;
                if accepted == Accepted::ByGrammar {
                    break;
                }
                // The rest is read for what the lexer does not accept.
                continue;
            }
            _ => {}
        }
        if std::mem::take(&mut space) && !out.is_empty() {
            out.push(' ');
        }
        let word = &text[token.start..token.end];
        values = values.after(token.kind, word, accepted);
        put(&mut out, token.kind, word, accepted, values.is_value());
    }
    let scrubbed = scrub::scrub_sql(&out);
    let text = scrub::begin_of(&scrubbed, TEXT_MAX).to_owned();
    let cut = cut || text.len() < scrubbed.len();
    Some(Normalised { text, cut })
}

fn put(out: &mut String, kind: TokenKind, word: &str, accepted: Accepted, is_value: bool) {
    match kind {
        TokenKind::Integer
        | TokenKind::Number
        | TokenKind::String
        | TokenKind::EscapeString
        | TokenKind::DollarString
        | TokenKind::UnicodeString
        | TokenKind::BitString
        | TokenKind::HexString
        | TokenKind::Invalid => out.push('?'),
        // What it means takes decoding; relations and functions are listed by their real names.
        TokenKind::UnicodeIdent => out.push_str("U&\"?\""),
        TokenKind::QuotedIdent if accepted == Accepted::ByLexer || is_value => out.push_str("\"?\""),
        TokenKind::QuotedIdent if matches!(scrub::scrub(word.trim_matches('"')), Cow::Owned(_)) => {
            out.push_str("\"?\"");
        }
        TokenKind::Ident if accepted == Accepted::ByLexer && !is_keyword(word) => out.push('?'),
        TokenKind::Ident if is_value && !is_harmless_value(word) => out.push('?'),
        TokenKind::Param if word.len() > PARAMETER_MAX => out.push_str("$?"),
        TokenKind::Ident | TokenKind::QuotedIdent | TokenKind::Param | TokenKind::Symbol => out.push_str(word),
        TokenKind::Space | TokenKind::Comment => {}
    }
}

/// Where words may be values: behind `SET name TO`, and behind names of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    /// A statement begins, or nothing is known of this place.
    Start,
    /// There was UPDATE: what is SET may be columns.
    Update,
    /// The name of what is SET.
    Setting { of_column: bool },
    /// From here to the statement's end.
    All,
    /// The next word, behind a secret's name and perhaps a sign.
    Next,
    /// This word.
    This,
}

impl Values {
    fn after(self, kind: TokenKind, word: &str, accepted: Accepted) -> Self {
        let is_word = matches!(kind, TokenKind::Ident | TokenKind::QuotedIdent);
        let is = |other: &str| kind == TokenKind::Ident && word.eq_ignore_ascii_case(other);
        let is_secret = is_word && scrub::is_secret_name(word);
        match self {
            _ if word == ";" => Self::Start,
            Self::All => Self::All,
            _ if is_secret && accepted == Accepted::ByLexer => Self::All,
            Self::Setting { of_column: false } if word == "=" || is("to") => Self::All,
            Self::Setting { of_column: false } if is_word || word == "." => self,
            Self::Setting { of_column: true } if !is_secret && (is_word || word == ".") => self,
            Self::Start if is("set") => Self::Setting { of_column: false },
            Self::Update if is("set") => Self::Setting { of_column: true },
            Self::Next if matches!(word, "=" | ":=" | "=>" | "(") => Self::Next,
            Self::Next if is_word && !is_keyword(word) => Self::This,
            Self::Start | Self::Update | Self::Setting { .. } | Self::Next | Self::This if is_secret => Self::Next,
            Self::Start | Self::Update | Self::Setting { .. } | Self::Next | Self::This if is("update") => Self::Update,
            Self::Update => Self::Update,
            Self::Start | Self::Setting { .. } | Self::Next | Self::This => Self::Start,
        }
    }

    fn is_value(self) -> bool {
        matches!(self, Self::All | Self::This)
    }
}

fn is_harmless_value(word: &str) -> bool {
    ["on", "off", "true", "false", "default", "utf8", "iso", "utc", "to"].iter().any(|it| word.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::grammar;

    fn shown(text: &str) -> String {
        let analysis = grammar::read(text.as_bytes());
        let accepted = if analysis.failure.is_none() { Accepted::ByGrammar } else { Accepted::ByLexer };
        normalise(text.as_bytes(), accepted).map_or_else(|| "-".to_owned(), |normalised| normalised.text)
    }

    #[test]
    fn literals_comments_and_white_space_go() {
        for (text, expected) in [
            ("SELECT  a\n FROM t WHERE b = 'x' AND c > 1.5 -- why", "SELECT a FROM t WHERE b = ? AND c > ?"),
            ("select $1, E'a\\'b', $$x$$, U&'a', b'1', x'f' /* s */ ;", "select $1, ?, ?, ?, ?, ? ;"),
            ("select \"A b\", U&\"x\"", "select \"A b\", U&\"?\""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn words_that_are_values_go() {
        for (text, expected) in [
            ("SET app.token TO hunter2", "SET app.token TO ?"),
            ("set local x = 'a', b, on", "set local x = ?, ?, on"),
            ("set role bob", "set role bob"),
            ("alter role r set x to hunter2; select a = b from t", "alter role r set x to ?; select a = b from t"),
            ("alter role r password 'it''s'", "alter role r password ?"),
            ("alter table t set (fillfactor = 70)", "alter table t set (fillfactor = ?)"),
            ("alter table t set schema s", "alter table t set schema s"),
            ("update t set a = b where c = d", "update t set a = b where c = d"),
            ("update t set password = $1, a = b where id = 1", "update t set password = $1, a = b where id = ?"),
            ("update t set password = a where b", "update t set password = ? where b"),
            (
                "insert into t (a) values (1) on conflict do update set a = b",
                "insert into t (a) values (?) on conflict do update set a = b",
            ),
            ("select password from users", "select password from users"),
            ("explain (analyze, token hunter2) select 1", "explain (analyze, token ?) select ?"),
            ("create publication p with (secret = hunter2, a = b)", "create publication p with (secret = ?, a = b)"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_text_that_the_grammar_refuses_keeps_only_sql_s_own_words() {
        for (text, expected) in [
            ("selec * from invoices where id = 1", "? * from ? where ? = ?"),
            ("alter role r password hunter2", "alter role ? ? ?"),
            ("alter role r password trusted; select", "alter role ? ? ?; select"),
            ("alter role r password \"hunter2\"", "alter role ? ? \"?\""),
            ("insert into t values ('o'hunter2')", "-"),
            ("alter role r password 'it's hunter2' x", "-"),
            ("create user r passwrd 'hunter2' 'hunter2'", "create user ? ? ? ?"),
            ("select $a$ hunter2", "-"),
            ("select \"hunter2", "-"),
        ] {
            assert_eq!(shown(text), expected);
        }
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
