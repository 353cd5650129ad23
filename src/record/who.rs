//! Whom a record is about: a session's constants, encoded once.

use std::sync::Arc;

use super::Phrase;
use super::json::Json;
use super::scrub::scrub_to;

/// What is known of a client since its login.
#[derive(Debug, Clone, Copy, Default)]
pub struct Person<'a> {
    /// The session's number; unique while the process lives.
    pub session: u64,
    pub user: &'a str,
    pub tenant: Option<&'a str>,
    pub role: Option<&'a str>,
    pub database: &'a str,
    /// How it proved who it is.
    pub auth: &'a str,
    /// Address and port, or the Unix socket's peer.
    pub client: &'a str,
    /// TLS version; absent without TLS.
    pub tls: Option<&'a str>,
    /// Said by the client, and not believed.
    pub application: &'a str,
    /// Why an operator does what it does, in its own words.
    pub reason: Option<&'a str>,
}

/// A session's constants as members of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    all: Box<[u8]>,
    brief: Box<[u8]>,
}

/// Bytes of a text that a client chose, at most.
const CHOSEN_MAX: usize = 256;

impl Who {
    pub fn new(person: &Person<'_>) -> Self {
        let mut brief = Vec::new();
        Json::new(&mut brief)
            .number("session", person.session)
            .text_if("tenant", person.tenant.unwrap_or_default())
            .text("user", &chosen(person.user));
        let mut all = brief.clone();
        Json::new(&mut all)
            .text_if("role", person.role.unwrap_or_default())
            .text("database", &chosen(person.database))
            .text("auth", person.auth)
            .text("client", person.client)
            .text("tls", person.tls.unwrap_or("none"))
            .text_if("application", &chosen(person.application))
            .text_if("reason", &chosen(person.reason.unwrap_or_default()));
        Self { all: all.into(), brief: brief.into() }
    }

    /// Every member, with a comma behind the last.
    pub(super) fn all(&self) -> &[u8] {
        &self.all
    }

    /// Session, tenant and user.
    pub(super) fn brief(&self) -> &[u8] {
        &self.brief
    }
}

/// A text that a client chose: scrubbed and bounded.
pub(super) fn chosen(text: &str) -> String {
    scrub_to(text, CHOSEN_MAX)
}

/// Who it is, and the server's node that a session's statements go to, encoded once.
#[derive(Debug, Clone)]
pub struct Head(Arc<Phrase>);

impl Head {
    /// `node`: host and port, or a socket's path.
    pub fn new(who: &Who, node: &str) -> Self {
        let mut members = who.all().to_vec();
        Json::new(&mut members).text("node", node);
        Self(Phrase::new(members))
    }

    pub fn phrase(&self) -> &Arc<Phrase> {
        &self.0
    }
}
