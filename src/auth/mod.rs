//! From an accepted socket to an authenticated user: encryption request, startup packet, password or certificate.
//!
//! What a client says about itself decides nothing here but which secret it must prove. The result is a [`LoggedIn`], which
//! only this module can build. A client that proves nothing learns nothing: unknown user, wrong password, expired user and
//! user without a password take the same messages, the same work and the same text.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::BytesMut;
use hashbrown::HashMap;
use thiserror::Error;

use crate::config::{Account, Config, Secret, User, UserSecret};
use crate::net::{Peer, Stream, tls};
use crate::people::{Directories, People};
use crate::scram::{ITERATIONS_DEFAULT, MockSecret, Verifier, VerifierError};
use crate::wire::{CancelKey, ProtocolVersion};

mod error;
mod failures;
mod login;
mod request;

pub use error::LoginError;
pub use failures::FailureLimiter;
pub use login::login;

/// What logins are checked against: one configuration's worth. A reload makes a new one; `failures` lives on.
#[derive(Debug, Clone)]
pub struct LoginContext {
    pub config: Arc<Config>,
    /// Users and tenants that are not in the file.
    pub directories: Directories,
    /// Absent: clients are told that there is no TLS.
    pub tls: Option<Arc<tls::Acceptor>>,
    pub verifiers: Arc<Verifiers>,
    pub failures: Arc<FailureLimiter>,
}

impl LoginContext {
    /// Everybody who may log in.
    fn people(&self) -> People {
        People { config: self.config.clone(), directories: self.directories.clone() }
    }

    /// For a name that has no verifier, in a database.
    fn stand_in(&self, database: &str, name: &str) -> Verifier {
        let directory =
            self.directories.of(database).filter(|directory| directory.users() > self.verifiers.by_user.len());
        let iterations = directory.and_then(|directory| directory.iterations());
        self.verifiers.stand_in(name, iterations)
    }

    /// The server name that a TLS client asks for names its tenant.
    fn tls_names_tenants(&self) -> bool {
        self.config.tls.as_ref().is_some_and(|tls| tls.server_name_tenant)
    }
}

/// How a connection's login ended.
#[derive(Debug)]
pub enum Outcome {
    /// Authenticated, and not yet told so: see [`LoggedIn::pending`].
    Session(Box<LoggedIn>),
    /// A cancel request; the stream is to be closed, without a byte, once the cancel is settled.
    Cancel(CancelKey, Stream),
    /// Refused or gone. The client was told what it may know, and the stream is closed.
    Closed(LoginError),
}

/// An authenticated client.
#[derive(Debug)]
pub struct LoggedIn {
    pub stream: Stream,
    pub peer: Peer,
    pub user: Arc<User>,
    /// What the user works on; absent for the console.
    pub account: Option<Arc<Account>>,
    /// As asked for (default: the user's name), allowed for this user, and existing; may be the console's.
    pub database: Arc<str>,
    /// 3.0 to 3.2; cancel secrets are longer than 4 bytes only from 3.2 on.
    pub protocol: ProtocolVersion,
    /// Settings asked for at startup, those in `options` first, names in lower case, without `application_name`; where
    /// a name appears twice, the later value counts. `client_encoding` is `UTF8` or `SQL_ASCII`.
    pub settings: Vec<(Arc<str>, Arc<str>)>,
    /// Printable ASCII, at most 63 bytes; may be empty. Untrusted.
    pub application_name: Arc<str>,
    pub method: AuthMethod,
    /// The end of the authentication, AuthenticationOk included, not yet written: it goes out with the
    /// ParameterStatus, BackendKeyData and ReadyForQuery that follow.
    pub pending: BytesMut,
    /// What the client sent past its login already: the beginning of its first messages.
    pub received: BytesMut,
    _proof: Proven,
}

/// Only a finished login has one.
#[derive(Debug)]
struct Proven(());

/// What a client proved itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    Scram,
    ScramPlus,
    Certificate,
    Trust,
}

impl AuthMethod {
    pub fn as_str(self) -> &'static str {
        match self {
            AuthMethod::Scram => "scram-sha-256",
            AuthMethod::ScramPlus => "scram-sha-256-plus",
            AuthMethod::Certificate => "certificate",
            AuthMethod::Trust => "trust",
        }
    }
}

/// The verifiers of all users of the file with a password, and stand-ins for everybody else.
#[derive(Debug)]
pub struct Verifiers {
    mock: MockSecret,
    /// Of stand-ins: what most users have, so that they do not stand out.
    iterations: NonZeroU32,
    by_user: HashMap<Arc<str>, Known>,
}

#[derive(Debug)]
struct Known {
    verifier: Verifier,
    /// What it was derived from, where that was a plain password.
    plain: Option<Secret>,
}

/// A verifier in the configuration that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("user \"{user}\": {error}")]
pub struct UnreadableVerifier {
    pub user: Arc<str>,
    pub error: VerifierError,
}

impl Verifiers {
    /// Reads verifiers and derives those of plain passwords (milliseconds each), except the ones that `previous` has.
    ///
    /// `mock` is one secret a process, made at its start.
    pub fn new(config: &Config, mock: &MockSecret, previous: Option<&Self>) -> Result<Self, UnreadableVerifier> {
        let mut by_user = HashMap::new();
        for (name, user) in &config.users {
            let known = match &user.secret {
                None | Some(UserSecret::Trust) => continue,
                Some(UserSecret::Verifier(secret)) => {
                    let verifier = Verifier::parse(secret.expose())
                        .map_err(|error| UnreadableVerifier { user: name.clone(), error })?;
                    Known { verifier, plain: None }
                }
                Some(UserSecret::Plain(secret)) => {
                    let kept = previous
                        .and_then(|previous| previous.by_user.get(name))
                        .filter(|known| known.plain.as_ref() == Some(secret));
                    let verifier = match kept {
                        Some(known) => known.verifier.clone(),
                        None => Verifier::derive(secret.expose(), &mock.salt(name), ITERATIONS_DEFAULT),
                    };
                    Known { verifier, plain: Some(secret.clone()) }
                }
            };
            by_user.insert(name.clone(), known);
        }
        let iterations = most_common(by_user.values().map(|known| known.verifier.iterations()));
        Ok(Self { mock: mock.clone(), iterations: iterations.unwrap_or(ITERATIONS_DEFAULT), by_user })
    }

    fn known(&self, user: &str) -> Option<&Verifier> {
        self.by_user.get(user).map(|known| &known.verifier)
    }

    /// `iterations`: what most users have where these are not most users.
    fn stand_in(&self, user: &str, iterations: Option<NonZeroU32>) -> Verifier {
        self.mock.verifier(user, iterations.unwrap_or(self.iterations))
    }
}

fn most_common(counts: impl Iterator<Item = NonZeroU32>) -> Option<NonZeroU32> {
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for count in counts {
        *seen.entry(count).or_default() += 1;
    }
    seen.into_iter().max_by_key(|(_, times)| *times).map(|(count, _)| count)
}

#[cfg(test)]
mod tests;
