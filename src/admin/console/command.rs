//! The console's language: its own commands, and the few statements that drivers send on their own.
//!
//! Pure: text in, [`Statement`]s or a [`SyntaxError`] out. What is not listed here is refused, never guessed. Names may be
//! plain or in double quotes; unlike in SQL a plain name keeps its case, since it names an entry of the configuration.

use thiserror::Error;

use super::tables::Topic;
use crate::admin::Command;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    Show(Topic),
    /// `SHOW server_version` and the like: a fixed name and what it answers.
    Setting(&'static str),
    /// `SELECT 1` and the like; `column` is the name of its only column.
    Select {
        what: Fixed,
        column: String,
    },
    Command(Command),
    Transaction(Transaction),
    /// Taken, and answered by its tag.
    Acknowledge(Chatter),
}

/// Statements by which drivers and poolers tidy a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chatter {
    Set,
    Reset,
    Unlisten,
    CloseAll,
    DeallocateAll,
    DiscardAll,
}

impl Chatter {
    /// The tag of its CommandComplete.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Reset => "RESET",
            Self::Unlisten => "UNLISTEN",
            Self::CloseAll => "CLOSE CURSOR ALL",
            Self::DeallocateAll => "DEALLOCATE ALL",
            Self::DiscardAll => "DISCARD ALL",
        }
    }
}

/// The values that a SELECT may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    Integer(i32),
    Version,
    CurrentUser,
    CurrentDatabase,
    CurrentSchema,
    BackendPid,
    Void,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction {
    Begin,
    Commit,
    Rollback,
}

/// Why a text is no command. The text is the client's own, cut short.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntaxError {
    #[error("unterminated {0}")]
    Unterminated(&'static str),
    #[error("unknown command \"{0}\"")]
    Unknown(String),
    #[error("\"{0}\" is not supported here")]
    Unsupported(String),
    #[error("unrecognized configuration parameter \"{0}\"")]
    Parameter(String),
    #[error("syntax error at or near \"{0}\"")]
    Unexpected(String),
    #[error("syntax error at end of input")]
    Incomplete,
    #[error("the console speaks UTF8 only")]
    Encoding,
}

/// Reads a whole message: statements parted by semicolons; empty ones vanish.
pub fn parse(text: &str) -> Result<Vec<Statement>, SyntaxError> {
    let tokens = tokens(text)?;
    tokens.split(|token| *token == Token::Semicolon).filter(|part| !part.is_empty()).map(statement).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// As written; keywords compare without case.
    Word(String),
    /// In double quotes: a name, never a keyword.
    Name(String),
    /// In single quotes.
    Text(String),
    Symbol(char),
    Semicolon,
}

impl Token {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn shown(&self) -> String {
        match self {
            Self::Word(text) | Self::Name(text) | Self::Text(text) => text.chars().take(SHOWN_MAX).collect(),
            Self::Symbol(symbol) => symbol.to_string(),
            Self::Semicolon => ";".to_owned(),
        }
    }
}

/// Characters of the client's text that an error repeats.
const SHOWN_MAX: usize = 63;

fn tokens(text: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if rest.starts_with("--") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = skip_comment(rest)?;
        } else if first == '"' || first == '\'' {
            let (content, after) = quoted(rest, first)?;
            found.push(if first == '"' { Token::Name(content) } else { Token::Text(content) });
            rest = after;
        } else if first.is_alphanumeric() || first == '_' {
            let end = word_end(rest);
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            found.push(if first == ';' { Token::Semicolon } else { Token::Symbol(first) });
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(found)
}

/// Comments nest, as in SQL.
fn skip_comment(text: &str) -> Result<&str, SyntaxError> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'/', b'*') => (depth, at) = (depth + 1, at + 2),
            (b'*', b'/') => (depth, at) = (depth - 1, at + 2),
            (_, _) => at += 1,
        }
        if depth == 0 {
            return Ok(&text[at..]);
        }
    }
    Err(SyntaxError::Unterminated("comment"))
}

/// The content of a quoted string, whose quote is doubled inside, and what follows it.
fn quoted(text: &str, quote: char) -> Result<(String, &str), SyntaxError> {
    let mut content = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            content.push(quote);
        } else {
            return Ok((content, &text[at + 1..]));
        }
    }
    Err(SyntaxError::Unterminated(if quote == '"' { "quoted name" } else { "quoted string" }))
}

/// Words hold letters, digits, `_`, `$` and `.`, and a `-` between two of them (`PAUSE my-db`).
fn word_end(text: &str) -> usize {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let joins = c == '-' && chars.peek().is_some_and(|(_, next)| inside(*next));
        if !inside(c) && !joins {
            return at;
        }
    }
    text.len()
}

/// `tokens` is one statement, not empty.
fn statement(tokens: &[Token]) -> Result<Statement, SyntaxError> {
    let (first, rest) = tokens.split_first().ok_or(SyntaxError::Incomplete)?;
    let Token::Word(verb) = first else { return Err(SyntaxError::Unexpected(first.shown())) };
    match verb.to_ascii_uppercase().as_str() {
        "SHOW" => show(rest),
        "SELECT" => select(rest),
        "SET" => set(rest),
        "RELOAD" => end(rest, Statement::Command(Command::Reload)),
        "PAUSE" => Ok(Statement::Command(Command::Pause { database: optional_name(rest)? })),
        "RESUME" => Ok(Statement::Command(Command::Resume { database: optional_name(rest)? })),
        "KILL" => kill(rest),
        "KILL_CLIENT" => Ok(Statement::Command(Command::KillClient { id: client_id(rest)? })),
        "DRAIN" => end(rest, Statement::Command(Command::Shutdown)),
        "SHUTDOWN" => shutdown(rest),
        "BEGIN" | "START" => Ok(Statement::Transaction(Transaction::Begin)),
        "COMMIT" | "END" => Ok(Statement::Transaction(Transaction::Commit)),
        "ROLLBACK" | "ABORT" if rest.iter().any(|token| token.is("TO")) => {
            Err(SyntaxError::Unsupported("SAVEPOINT".into()))
        }
        "ROLLBACK" | "ABORT" => Ok(Statement::Transaction(Transaction::Rollback)),
        "RESET" => Ok(Statement::Acknowledge(Chatter::Reset)),
        "UNLISTEN" => Ok(Statement::Acknowledge(Chatter::Unlisten)),
        "DISCARD" if names(rest, "ALL") => Ok(Statement::Acknowledge(Chatter::DiscardAll)),
        "CLOSE" if names(rest, "ALL") => Ok(Statement::Acknowledge(Chatter::CloseAll)),
        "DEALLOCATE" if names(rest, "ALL") => Ok(Statement::Acknowledge(Chatter::DeallocateAll)),
        _ if UNSUPPORTED.iter().any(|known| verb.eq_ignore_ascii_case(known)) => {
            Err(SyntaxError::Unsupported(verb.to_ascii_uppercase()))
        }
        _ => Err(SyntaxError::Unknown(first.shown())),
    }
}

/// Commands of PgBouncer's console that have no meaning here.
const UNSUPPORTED: [&str; 6] = ["SUSPEND", "DISABLE", "ENABLE", "RECONNECT", "WAIT_CLOSE", "KILL_WAIT"];

fn show(rest: &[Token]) -> Result<Statement, SyntaxError> {
    let Some(first) = rest.first() else { return Ok(Statement::Show(Topic::Help)) };
    let Token::Word(word) = first else { return Err(SyntaxError::Unexpected(first.shown())) };
    if let Some(topic) = Topic::ALL.into_iter().find(|topic| word.eq_ignore_ascii_case(topic.name())) {
        return end(&rest[1..], Statement::Show(topic));
    }
    // SHOW TIME ZONE and SHOW TRANSACTION ISOLATION LEVEL are the two settings with a spelling of their own.
    let name = match rest {
        [a, b] if a.is("TIME") && b.is("ZONE") => "TimeZone".to_owned(),
        [a, b, c] if a.is("TRANSACTION") && b.is("ISOLATION") && c.is("LEVEL") => "transaction_isolation".to_owned(),
        [_] => word.clone(),
        [_, other, ..] => return Err(SyntaxError::Unexpected(other.shown())),
        [] => return Err(SyntaxError::Incomplete),
    };
    match SETTINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
        Some((known, _)) => Ok(Statement::Setting(known)),
        None => Err(SyntaxError::Unknown(format!("SHOW {}", first.shown()))),
    }
}

/// The server version that drivers are told: what they take it for decides which protocol features they use.
pub const SERVER_VERSION: &str = concat!("15.0 (pgwarden ", env!("CARGO_PKG_VERSION"), ")");

/// What `SHOW name` answers; the entries with [`REPORTED`] names are also sent after login.
pub const SETTINGS: [(&str, &str); 20] = [
    ("server_version", SERVER_VERSION),
    ("server_version_num", "150000"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "off"),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("max_identifier_length", "63"),
    ("bytea_output", "hex"),
    ("search_path", "public"),
    ("extra_float_digits", "1"),
    ("statement_timeout", "0"),
];

/// Settings that PostgreSQL reports to each client (<https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-ASYNC>).
pub const REPORTED: [&str; 11] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "is_superuser",
    "default_transaction_read_only",
    "in_hot_standby",
];

/// Settings that drivers set by themselves: taken and without effect, since no answer of the console depends on them.
const SETTABLE: [&str; 20] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "names",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronous_commit",
    "time",
    "timezone",
    "transaction",
];

fn set(rest: &[Token]) -> Result<Statement, SyntaxError> {
    let rest = match rest {
        [scope, rest @ ..] if scope.is("SESSION") || scope.is("LOCAL") => rest,
        rest => rest,
    };
    let Some(Token::Word(name) | Token::Name(name)) = rest.first() else { return Err(SyntaxError::Incomplete) };
    let known = SETTABLE.iter().any(|known| name.eq_ignore_ascii_case(known));
    if !known && !name.eq_ignore_ascii_case("CHARACTERISTICS") {
        return Err(SyntaxError::Parameter(rest[0].shown()));
    }
    if name.eq_ignore_ascii_case("client_encoding") || name.eq_ignore_ascii_case("names") {
        let encoding = rest[1..].iter().rfind(|token| !token.is("TO")).map(Token::shown).unwrap_or_default();
        let utf8 = ["utf8", "utf-8", "unicode", "default"].iter().any(|known| encoding.eq_ignore_ascii_case(known));
        if !utf8 {
            return Err(SyntaxError::Encoding);
        }
    }
    Ok(Statement::Acknowledge(Chatter::Set))
}

fn select(rest: &[Token]) -> Result<Statement, SyntaxError> {
    let (what, column, rest) = match rest {
        [Token::Word(word), after @ ..] if word.bytes().all(|b| b.is_ascii_digit()) => {
            let number = word.parse().map_err(|_| SyntaxError::Unexpected(rest[0].shown()))?;
            (Fixed::Integer(number), "?column?", after)
        }
        [name, Token::Symbol('('), Token::Symbol(')'), after @ ..] => {
            let (what, column) = function(name).ok_or_else(|| SyntaxError::Unsupported(name.shown()))?;
            (what, column, after)
        }
        [name, after @ ..] if name.is("current_user") || name.is("session_user") || name.is("user") => {
            (Fixed::CurrentUser, "current_user", after)
        }
        [name, after @ ..] if name.is("current_schema") => (Fixed::CurrentSchema, "current_schema", after),
        _ => return Err(SyntaxError::Unsupported("SELECT".into())),
    };
    let column = match rest {
        [] => column.to_owned(),
        [keyword, Token::Word(name) | Token::Name(name)] if keyword.is("AS") => name.clone(),
        _ => return Err(SyntaxError::Unsupported("SELECT".into())),
    };
    Ok(Statement::Select { what, column })
}

fn function(name: &Token) -> Option<(Fixed, &'static str)> {
    let Token::Word(name) = name else { return None };
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
        "version" => Some((Fixed::Version, "version")),
        "current_database" => Some((Fixed::CurrentDatabase, "current_database")),
        "current_schema" => Some((Fixed::CurrentSchema, "current_schema")),
        "pg_backend_pid" => Some((Fixed::BackendPid, "pg_backend_pid")),
        "pg_advisory_unlock_all" => Some((Fixed::Void, "pg_advisory_unlock_all")),
        _ => None,
    }
}

/// `KILL 7` closes a client; `KILL "7"` and `KILL name` a database; `KILL` alone everything.
fn kill(rest: &[Token]) -> Result<Statement, SyntaxError> {
    match rest {
        [Token::Word(word)] if word.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(Statement::Command(Command::KillClient { id: client_id(rest)? }))
        }
        rest => Ok(Statement::Command(Command::Kill { database: optional_name(rest)? })),
    }
}

/// Our SHUTDOWN drains; WAIT_FOR_SERVERS is PgBouncer's name for that.
fn shutdown(rest: &[Token]) -> Result<Statement, SyntaxError> {
    match rest {
        [word] if word.is("WAIT_FOR_SERVERS") => Ok(Statement::Command(Command::Shutdown)),
        [word] if word.is("WAIT_FOR_CLIENTS") => Err(SyntaxError::Unsupported("SHUTDOWN WAIT_FOR_CLIENTS".into())),
        rest => end(rest, Statement::Command(Command::Shutdown)),
    }
}

fn optional_name(rest: &[Token]) -> Result<Option<String>, SyntaxError> {
    match rest {
        [] => Ok(None),
        [Token::Word(name) | Token::Name(name)] => Ok(Some(name.clone())),
        [Token::Word(_) | Token::Name(_), other, ..] | [other, ..] => Err(SyntaxError::Unexpected(other.shown())),
    }
}

fn client_id(rest: &[Token]) -> Result<u64, SyntaxError> {
    match rest {
        [] => Err(SyntaxError::Incomplete),
        [Token::Word(word) | Token::Text(word)] => word.parse().map_err(|_| SyntaxError::Unexpected(rest[0].shown())),
        [_, other, ..] | [other] => Err(SyntaxError::Unexpected(other.shown())),
    }
}

fn end(rest: &[Token], statement: Statement) -> Result<Statement, SyntaxError> {
    rest.first().map_or(Ok(statement), |token| Err(SyntaxError::Unexpected(token.shown())))
}

fn names(rest: &[Token], keyword: &str) -> bool {
    matches!(rest, [only] if only.is(keyword))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Statement {
        let mut all = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn commands_take_any_case_comments_and_semicolons() {
        for text in ["SHOW POOLS", "show pools;", " /* a /* b */ ; */ Show -- why;\n Pools ; ;"] {
            assert_eq!(one(text), Statement::Show(Topic::Pools), "{text}");
        }
        assert_eq!(parse("-- ping"), Ok(vec![]));
        assert_eq!(parse(";;"), Ok(vec![]));
        assert_eq!(parse("show pools; reload").unwrap().len(), 2);
    }

    #[test]
    fn names_keep_their_case_and_may_be_quoted() {
        let pause = |name: &str| Statement::Command(Command::Pause { database: Some(name.into()) });
        assert_eq!(one("PAUSE Billing"), pause("Billing"));
        assert_eq!(one("pause my-db.v2;"), pause("my-db.v2"));
        assert_eq!(one("pause \"a;\"\"b -- c\""), pause("a;\"b -- c"));
        assert_eq!(one("pause"), Statement::Command(Command::Pause { database: None }));
        assert_eq!(one("pause x--y"), pause("x"));
    }

    #[test]
    fn kill_takes_a_client_by_number_and_a_database_by_name() {
        assert_eq!(one("KILL 12"), Statement::Command(Command::KillClient { id: 12 }));
        assert_eq!(one("KILL_CLIENT 12"), Statement::Command(Command::KillClient { id: 12 }));
        assert_eq!(one("KILL \"12\""), Statement::Command(Command::Kill { database: Some("12".into()) }));
        assert_eq!(one("KILL"), Statement::Command(Command::Kill { database: None }));
        assert_eq!(refused("KILL_CLIENT"), "syntax error at end of input");
        assert_eq!(refused("KILL_CLIENT abc"), "syntax error at or near \"abc\"");
        assert_eq!(refused("KILL 99999999999999999999999"), "syntax error at or near \"99999999999999999999999\"");
        assert_eq!(refused("KILL a b"), "syntax error at or near \"b\"");
        assert_eq!(one("drain"), Statement::Command(Command::Shutdown));
        assert_eq!(refused("DRAIN billing"), "syntax error at or near \"billing\"");
    }

    #[test]
    fn what_drivers_send_on_their_own_is_taken() {
        assert_eq!(one("SET extra_float_digits = 3"), Statement::Acknowledge(Chatter::Set));
        assert_eq!(one("SET application_name = 'PostgreSQL JDBC Driver'"), Statement::Acknowledge(Chatter::Set));
        assert_eq!(one("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"), Statement::Acknowledge(Chatter::Set));
        assert_eq!(one("set client_encoding to 'UTF8'"), Statement::Acknowledge(Chatter::Set));
        assert_eq!(one("set client_encoding to default"), Statement::Acknowledge(Chatter::Set));
        assert_eq!(one("begin"), Statement::Transaction(Transaction::Begin));
        assert_eq!(one("SHOW TRANSACTION ISOLATION LEVEL"), Statement::Setting("transaction_isolation"));
        assert_eq!(one("show datestyle"), Statement::Setting("DateStyle"));
        let select = |what, column: &str| Statement::Select { what, column: column.into() };
        assert_eq!(one("SELECT 1"), select(Fixed::Integer(1), "?column?"));
        assert_eq!(one("select 1 as \"Up\""), select(Fixed::Integer(1), "Up"));
        assert_eq!(one("select pg_catalog.version()"), select(Fixed::Version, "version"));
        let reset = parse("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;").unwrap();
        assert_eq!(reset.len(), 4);
    }

    #[test]
    fn everything_else_is_refused() {
        assert_eq!(refused("SELECT * FROM pg_class"), "\"SELECT\" is not supported here");
        assert_eq!(refused("SELECT pg_sleep()"), "\"pg_sleep\" is not supported here");
        assert_eq!(refused("SELECT 1 + 1"), "\"SELECT\" is not supported here");
        assert_eq!(refused("drop table x"), "unknown command \"drop\"");
        assert_eq!(refused("SHOW nothing"), "unknown command \"SHOW nothing\"");
        assert_eq!(refused("SHOW POOLS x"), "syntax error at or near \"x\"");
        assert_eq!(refused("SUSPEND"), "\"SUSPEND\" is not supported here");
        assert_eq!(refused("SET pool_size = 3"), "unrecognized configuration parameter \"pool_size\"");
        assert_eq!(refused("set client_encoding = 'latin1'"), "the console speaks UTF8 only");
        assert_eq!(refused("set names"), "the console speaks UTF8 only");
        assert_eq!(refused("rollback to savepoint a"), "\"SAVEPOINT\" is not supported here");
        assert_eq!(refused("'x'"), "syntax error at or near \"x\"");
        assert_eq!(refused("show /* pools"), "unterminated comment");
        assert_eq!(refused("pause \"x"), "unterminated quoted name");
        assert_eq!(refused("/*/"), "unterminated comment");
    }

    #[test]
    fn reported_settings_have_a_value() {
        for name in REPORTED {
            assert!(SETTINGS.iter().any(|(known, _)| *known == name), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}|([a-zA-Z0-9 ;'\"/*().\n-]|SHOW |KILL |PAUSE |SET |SELECT |é){0,40}") {
            let _ = parse(&text);
        }
    }
}
