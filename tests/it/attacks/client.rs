//! An attacker's session: sends anything, keeps every byte that comes back.

use std::time::Duration;

use pgwarden::config::{SealKey, Secret};
use pgwarden::seal::{Sealer, Session};
use pgwarden::tenant::{KeyType, TenantKey};

use crate::kit::wire::ServerError;
use crate::kit::{Login, Message, Reply, Wire, say};

/// How a text is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Simple,
    /// Parse, Bind, Describe, Execute, Sync.
    Extended,
    /// All statements up to the next connection in one Query.
    Whole,
}

/// How a statement ended, the milder first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It ran, and did no harm.
    Harmless,
    /// The database's own error.
    Failed,
    /// The proxy refused it.
    Refused,
}

/// Straight to the database: the tenant's context is entered as the proxy would.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: &'static str,
    pub tenant: &'static str,
}

/// For any one answer.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    login: Login,
    entry: Option<Entry>,
    wire: Option<Wire>,
    /// Why the last login was refused.
    pub refused: Option<ServerError>,
    /// Everything that came, over all connections.
    pub heard: Vec<Message>,
    /// Everything that was sent.
    pub said: Vec<u8>,
    /// What else it did that it must not.
    pub harm: Vec<String>,
}

impl Client {
    pub fn new(login: Login, entry: Option<Entry>) -> Self {
        let mut client =
            Self { login, entry, wire: None, refused: None, heard: Vec::new(), said: Vec::new(), harm: Vec::new() };
        client.reconnect();
        client
    }

    /// Another connection; a refused login leaves none.
    pub fn reconnect(&mut self) {
        self.end();
        let mut wire = self.login.dial().expect("connect");
        wire.patience(PATIENCE);
        wire.send(&self.login.startup());
        let welcome = wire.authenticate(&self.login.user, &self.login.password);
        self.heard.append(&mut wire.greeting.clone());
        if let Err(error) = welcome {
            self.refused = Some(error);
            return;
        }
        if let Some(entry) = &self.entry {
            enter(&mut wire, entry);
        }
        self.wire = Some(wire);
    }

    pub fn is_open(&self) -> bool {
        self.wire.is_some()
    }

    /// Of its BackendKeyData.
    pub fn pid(&self) -> i32 {
        self.wire.as_ref().and_then(|wire| wire.key.as_ref()).map_or(0, |key| key.pid)
    }

    /// Says goodbye.
    pub fn end(&mut self) {
        if let Some(wire) = self.wire.take() {
            wire.terminate();
        }
    }

    /// Goes without a word.
    pub fn drop_line(&mut self) {
        self.wire = None;
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
        if let Some(wire) = &mut self.wire
            && wire.try_send(bytes).is_err()
        {
            self.wire = None;
        }
    }

    /// Everything up to a ReadyForQuery or the end; a COPY that waits for data gets none.
    pub fn hear(&mut self) -> Reply {
        let mut messages = Vec::new();
        while let Some(wire) = &mut self.wire {
            match wire.try_read() {
                Ok(Some(message)) => {
                    let tag = message.tag;
                    messages.push(message);
                    if tag == b'Z' {
                        break;
                    }
                    if tag == b'G' {
                        let stop = [say::copy_fail("no"), say::sync()].concat();
                        self.send(&stop);
                    }
                }
                Ok(None) | Err(_) => self.wire = None,
            }
        }
        self.heard.extend_from_slice(&messages);
        Reply(messages)
    }

    /// One text; `\c` is a new connection.
    pub fn ask(&mut self, way: Way, sql: &str) -> Reply {
        if sql == "\\c" {
            self.reconnect();
            return Reply(Vec::new());
        }
        let bytes = match way {
            Way::Simple | Way::Whole => say::query(sql),
            Way::Extended => [
                say::parse("", sql, &[]),
                say::bind("", "", &[]),
                say::describe_portal(""),
                say::execute("", 0),
                say::sync(),
            ]
            .concat(),
        };
        self.raw(&bytes)
    }

    /// Bytes as they are, and what comes up to one ReadyForQuery.
    pub fn raw(&mut self, bytes: &[u8]) -> Reply {
        self.send(bytes);
        let reply = self.hear();
        if reply.0.iter().any(|message| message.tag == b'G') {
            // Which Syncs were skipped depends on the protocol's state.
            self.listen(Duration::from_millis(200));
        }
        reply
    }

    /// Everything that still comes: a Sync of its own marks the end.
    pub fn settle(&mut self) -> Vec<Message> {
        self.send(&say::sync());
        self.hear().0
    }

    /// Everything that comes before it is quiet for this long; for conversations whose end is not known.
    pub fn listen(&mut self, quiet: Duration) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(wire) = &mut self.wire {
            wire.patience(quiet);
            match wire.try_read() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => self.wire = None,
                Err(_) => {
                    wire.patience(PATIENCE);
                    break;
                }
            }
        }
        self.heard.extend_from_slice(&messages);
        messages
    }

    /// A script of texts; what became of it.
    pub fn run(&mut self, way: Way, steps: &[String]) -> Outcome {
        let texts: Vec<String> = match way {
            Way::Simple | Way::Extended => steps.to_vec(),
            Way::Whole => {
                let connections = steps.split(|step| step == "\\c");
                let whole = connections.map(|steps| steps.join("; ")).collect::<Vec<_>>();
                whole.join("\u{1}\\c\u{1}").split('\u{1}').map(str::to_owned).collect()
            }
        };
        texts.iter().map(|text| outcome(&self.ask(way, text))).max().unwrap_or(Outcome::Harmless)
    }

    /// The values of a query's rows: `a|b;c|d`, or the error.
    pub fn values(&mut self, sql: &str) -> String {
        let reply = self.ask(Way::Simple, sql);
        if let Some(error) = reply.errors().first() {
            return format!("{} {}", error.sqlstate, error.message);
        }
        let text = |row: Vec<Option<String>>| {
            row.into_iter().map(|value| value.unwrap_or_else(|| "~".to_owned())).collect::<Vec<_>>().join("|")
        };
        reply.rows().into_iter().map(text).collect::<Vec<_>>().join(";")
    }

    /// What was heard of another's secrets and not said before: words.
    pub fn stolen(&self, own: &str) -> Vec<String> {
        let heard: Vec<u8> = self.heard.iter().flat_map(|message| [&message.body[..], &[0]].concat()).collect();
        stolen(&heard, &self.said, own)
    }
}

/// Words of `heard` that hold a secret, in one of the ways in which bytes are written, and that `said` does not hold.
pub fn stolen(heard: &[u8], said: &[u8], own: &str) -> Vec<String> {
    let (heard, said) = (heard.to_ascii_lowercase(), said.to_ascii_lowercase());
    let own = format!("secret-t{own}-");
    let mut words = Vec::new();
    // As text, reversed, in hexadecimal (of both cases), in base64 at each of its three offsets.
    for form in ["secret", "terces", "736563726574", "534543524554", "u0vdukvu", "nfq1jfvc", "trunsrvq"] {
        let form = form.as_bytes();
        let starts = heard.windows(form.len()).enumerate().filter(|(_, window)| *window == form);
        for (start, _) in starts {
            let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-' || **byte == b'_';
            let length = heard[start..].iter().take_while(is_word).count();
            let word = &heard[start..start + length];
            if !word.starts_with(own.as_bytes()) && !said.windows(word.len()).any(|window| window == word) {
                words.push(String::from_utf8_lossy(word).into_owned());
            }
        }
    }
    words.dedup();
    words
}

pub fn outcome(reply: &Reply) -> Outcome {
    let of = |error: &ServerError| {
        let refused = error.fields.get(&'D').is_some_and(|detail| detail.starts_with("Refused by pgwarden"));
        if refused { Outcome::Refused } else { Outcome::Failed }
    };
    reply.errors().iter().map(of).max().unwrap_or(Outcome::Harmless)
}

/// Enters a tenant as the proxy does; the token travels as a parameter.
fn enter(wire: &mut Wire, entry: &Entry) {
    let nonce: i64 = wire.query("SELECT pgwarden.hello()").ok().value().parse().expect("a number");
    let pid: i32 = wire.query("SELECT pg_backend_pid()").ok().value().parse().expect("a number");
    let sealer = Sealer::new(&SealKey { epoch: 1, hex: Secret::new(entry.key) }).expect("a key");
    let tenant = TenantKey::parse(KeyType::Int, entry.tenant).expect("a key of a tenant");
    let mac = sealer.token(&tenant, Session { pid, nonce, turn: 1 });
    let parameters: [Option<&[u8]>; 4] = [Some(b"1"), Some(entry.tenant.as_bytes()), Some(b"1"), Some(&mac)];
    let messages = [
        say::parse("", "SELECT pgwarden.enter($1, $2, $3, $4)", &[]),
        say::bind_formats("", "", &[0, 0, 0, 1], &parameters, &[]),
        say::execute("", 0),
        say::sync(),
    ];
    wire.send(&messages.concat());
    assert_eq!(wire.reply().ok().value(), entry.tenant);
}

#[test]
fn secrets_are_found_in_every_form() {
    let found = |heard: &str| stolen(heard.as_bytes(), b"SELECT 'My-Secrets-mine'", "1").len();
    for heard in
        ["x SECRET-T2-101 y", "101-2T-TERCES", "\\x5345435245542d5432", "U0VDUkVULVQyLTEwMQ==", "eFNFQ1JFVC1UMi0x"]
    {
        assert_eq!(found(heard), 1, "{heard}");
    }
    for heard in ["own-t1-1", "secret-t1-x", "SECRETS-mine", "sekret"] {
        assert_eq!(found(heard), 0, "{heard}");
    }
}
