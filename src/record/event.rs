//! Records of what is not a statement: logins and their failures, ends, cancels, the console, reloads.

use super::json::Json;
use super::statement::head;
use super::who::chosen;
use super::{At, Who};

/// A client has logged in.
pub fn login(out: &mut Vec<u8>, at: At, who: &Who) {
    head(out, "login", at);
    Json::new(out).members(who.all()).done();
}

/// A login that failed, before there was a session.
#[derive(Debug)]
pub struct LoginFailed<'a> {
    /// As the client said it; absent where it did not come so far.
    pub user: Option<&'a str>,
    pub database: Option<&'a str>,
    pub client: &'a str,
    pub sqlstate: &'a str,
    /// For operators: the client is told less.
    pub error: &'a str,
}

/// Appends the members of a failed login.
pub fn login_failed(out: &mut Vec<u8>, at: At, it: &LoginFailed<'_>) {
    head(out, "login_failed", at);
    Json::new(out)
        .text_if("user", &chosen(it.user.unwrap_or_default()))
        .text_if("database", &chosen(it.database.unwrap_or_default()))
        .text("client", it.client)
        .text("sqlstate", it.sqlstate)
        .text("error", &chosen(it.error))
        .done();
}

/// A session has ended. `messages`: how many records of messages it has.
pub fn disconnect(out: &mut Vec<u8>, at: At, who: &Who, reason: &str, messages: u64) {
    head(out, "disconnect", at);
    Json::new(out).members(who.brief()).text("reason", reason).number("messages", messages).done();
}

/// A cancel request; `session`: whose statement its key is of, if it is anybody's.
pub fn cancel(out: &mut Vec<u8>, at: At, client: &str, session: Option<u64>) {
    head(out, "cancel", at);
    let mut json = Json::new(out);
    json.text("client", client).flag("found", session.is_some());
    if let Some(session) = session {
        json.number("target", session);
    }
    json.done();
}

/// A command of the console.
pub fn console(out: &mut Vec<u8>, at: At, user: &str, client: &str, command: &str) {
    head(out, "console", at);
    Json::new(out).text("user", &chosen(user)).text("client", client).text("command", &chosen(command)).done();
}

/// A key of the configuration that has another value. Secrets are told by name only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Changes listed, at most.
const CHANGES_MAX: usize = 200;

/// The configuration was read again. `error`: it was not taken.
pub fn reload(out: &mut Vec<u8>, at: At, generation: u64, changes: &[Change], error: Option<&str>) {
    head(out, "reload", at);
    let mut json = Json::new(out);
    json.number("generation", generation).flag("taken", error.is_none());
    json.array("changes", changes.iter().take(CHANGES_MAX), |out, change| {
        let mut object = b"{".to_vec();
        let mut json = Json::new(&mut object);
        json.text("key", &chosen(&change.key));
        for (name, value) in [("before", &change.before), ("after", &change.after)] {
            if let Some(value) = value {
                json.text(name, &chosen(value));
            }
        }
        json.done();
        object.push(b'}');
        out.extend_from_slice(&object);
    });
    if changes.len() > CHANGES_MAX {
        json.flag("changes_cut", true);
    }
    json.text_if("error", &chosen(error.unwrap_or_default())).done();
}
