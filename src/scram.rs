//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides, and stored verifiers. Pure: nonces and salts come from the caller.
//!
//! RFC 5802, RFC 7677, and PostgreSQL's reading of them: the user name inside SCRAM is ignored, no authorization
//! identity, no extensions. Every message is bounded before it is read, secrets are compared in constant time, and a
//! server's iteration count is bounded, for it decides how long we compute.
//! <https://www.postgresql.org/docs/15/sasl-authentication.html>.

use std::fmt;
use std::num::NonZeroU32;

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

mod client;
mod server;

pub use client::{ClientExchange, ClientFinal, ClientKeys, ServerFirst};
pub use server::{MockSecret, Proof, ServerExchange};

pub const MECHANISM: &str = "SCRAM-SHA-256";
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// One SCRAM message, at most (bytes); PostgreSQL's own bound (PG_MAX_SASL_MESSAGE_LENGTH).
pub const MESSAGE_MAX: usize = 1024;

/// Iterations of verifiers made here, and of PostgreSQL's by default.
pub const ITERATIONS_DEFAULT: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");

/// Most iterations that a server may ask us for: about a third of a second of one core.
pub const ITERATIONS_MAX: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");

/// Salt of verifiers made here (bytes), as PostgreSQL's.
pub const SALT_LENGTH: usize = 16;

/// Longest salt that is taken, in a verifier or from a server (bytes).
const SALT_MAX: usize = 256;

/// Random bytes in a nonce of ours; base64 makes 24 characters of them.
pub const NONCE_LENGTH: usize = 18;

/// Length of every key and proof: SHA-256.
const KEY_LENGTH: usize = 32;

type Key = [u8; KEY_LENGTH];

/// What is wrong with a peer's SCRAM message, or with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScramError {
    /// Not shaped as the RFC has it; says which part.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    #[error("client requires an unsupported SCRAM extension")]
    Extension,
    #[error("unsupported SCRAM channel-binding type")]
    BindingType,
    /// The client saw no -PLUS though we offer it: somebody took it out on the way.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    #[error("SCRAM channel binding check failed")]
    Binding,
    #[error("SCRAM nonce does not match")]
    Nonce,
    /// The proof is wrong, or the user is unknown: on purpose the same.
    #[error("SCRAM proof does not match")]
    Proof,
    #[error("the server's SCRAM signature does not match")]
    ServerSignature,
    #[error("the server asks for more SCRAM iterations than {ITERATIONS_MAX}")]
    Iterations,
    #[error("the server answered with a SCRAM error")]
    ServerError,
}

/// The two mechanisms, which differ in channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    Plus,
}

impl Mechanism {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            MECHANISM => Some(Self::Plain),
            MECHANISM_PLUS => Some(Self::Plus),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => MECHANISM,
            Self::Plus => MECHANISM_PLUS,
        }
    }
}

/// A stored verifier: enough to check a password, not enough to log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    stored_key: Key,
    server_key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifierError {
    #[error("not of the form SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")]
    Form,
    #[error("the iteration count is not a number from 1 to 2147483647")]
    Iterations,
    #[error("the salt is not base64 of 1 to 256 bytes")]
    Salt,
    #[error("a key is not base64 of 32 bytes")]
    Key,
}

impl Verifier {
    /// Reads the form of `pg_authid.rolpassword`.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix("SCRAM-SHA-256$").ok_or(VerifierError::Form)?;
        let (head, keys) = rest.split_once('$').ok_or(VerifierError::Form)?;
        let (iterations, salt) = head.split_once(':').ok_or(VerifierError::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Form)?;
        let iterations = decimal(iterations).filter(|count| *count <= i32::MAX as u32);
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| VerifierError::Salt)?;
        if salt.is_empty() || salt.len() > SALT_MAX {
            return Err(VerifierError::Salt);
        }
        Ok(Self {
            iterations: iterations.and_then(NonZeroU32::new).ok_or(VerifierError::Iterations)?,
            salt: salt.into(),
            stored_key: key(stored_key).ok_or(VerifierError::Key)?,
            server_key: key(server_key).ok_or(VerifierError::Key)?,
        })
    }

    /// Makes a verifier of a plain password. Costs `iterations` hashes: milliseconds.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let keys = ClientKeys::derive(password, salt, iterations);
        Self { iterations, salt: salt.into(), stored_key: keys.stored_key(), server_key: keys.server_key() }
    }

    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Whether `password` is the one that this verifier was made of. Costs `iterations` hashes.
    pub fn matches(&self, password: &str) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        self.stored_key.ct_eq(&other.stored_key).into()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        write!(
            f,
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            encode(&self.salt),
            encode(&self.stored_key),
            encode(&self.server_key)
        )
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<verifier>")
    }
}

/// A nonce of printable characters from random bytes.
pub fn nonce(random: [u8; NONCE_LENGTH]) -> String {
    BASE64_STANDARD.encode(random)
}

/// The password as SASLprep (RFC 4013) makes it; as it is where that cannot be done, as PostgreSQL does.
fn prepare(password: &str) -> std::borrow::Cow<'_, str> {
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        Ok(_) | Err(_) => password.into(),
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn hash(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

fn xor(left: &Key, right: &Key) -> Key {
    std::array::from_fn(|i| left[i] ^ right[i])
}

fn key(text: &str) -> Option<Key> {
    // 32 bytes are 44 characters; nothing longer is decoded.
    if text.len() != 44 {
        return None;
    }
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

/// Digits only: no sign, no space, no leading nothing.
fn decimal(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// Splits a message into its attributes, `x=value`, at commas.
struct Attributes<'a> {
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// Bounded, without NUL, UTF-8.
    fn new(message: &'a [u8]) -> Result<Self, ScramError> {
        Ok(Self { rest: Some(message_text(message)?) })
    }

    /// The next attribute, which must have this name.
    fn expect(&mut self, name: char) -> Result<&'a str, ScramError> {
        match self.next()? {
            Some((found, value)) if found == name => Ok(value),
            Some(_) | None => Err(ScramError::Malformed("attribute missing")),
        }
    }

    fn next(&mut self) -> Result<Option<(char, &'a str)>, ScramError> {
        let Some(rest) = self.rest else { return Ok(None) };
        let attribute = match rest.split_once(',') {
            Some((attribute, rest)) => {
                self.rest = Some(rest);
                attribute
            }
            None => {
                self.rest = None;
                rest
            }
        };
        let (name, value) = attribute.split_once('=').ok_or(ScramError::Malformed("no value"))?;
        let mut letters = name.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) if letter.is_ascii_alphabetic() => Ok(Some((letter, value))),
            (Some(_) | None, _) => Err(ScramError::Malformed("attribute name")),
        }
    }
}

fn message_text(message: &[u8]) -> Result<&str, ScramError> {
    if message.is_empty() || message.len() > MESSAGE_MAX {
        return Err(ScramError::Malformed("length"));
    }
    if message.contains(&0) {
        return Err(ScramError::Malformed("NUL"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("encoding"))
}

/// RFC 5802: printable ASCII without a comma, and not empty.
fn check_nonce(nonce: &str) -> Result<&str, ScramError> {
    if !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
        Ok(nonce)
    } else {
        Err(ScramError::Malformed("nonce"))
    }
}

#[cfg(test)]
mod tests;
