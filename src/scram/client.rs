//! The client's side: we prove to a server that we know a password, and check that it knows it too.

use std::num::NonZeroU32;

use base64::prelude::{BASE64_STANDARD, Engine};
use subtle::ConstantTimeEq;

use super::{
    Attributes, ITERATIONS_MAX, Key, Mechanism, SALT_MAX, ScramError, check_nonce, decimal, hash, hmac, prepare, xor,
};

/// What a password becomes under one salt: deriving it is the slow part, so callers keep it.
#[derive(Clone)]
pub struct ClientKeys {
    client_key: Key,
    server_key: Key,
}

impl ClientKeys {
    /// Costs `iterations` hashes: milliseconds.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let mut salted = Key::default();
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(prepare(password).as_bytes(), salt, iterations.get(), &mut salted);
        Self { client_key: hmac(&salted, &[b"Client Key"]), server_key: hmac(&salted, &[b"Server Key"]) }
    }

    pub(super) fn stored_key(&self) -> Key {
        hash(&self.client_key)
    }

    pub(super) fn server_key(&self) -> Key {
        self.server_key
    }
}

impl std::fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// Waits for the server's first message.
pub struct ClientExchange {
    mechanism: Mechanism,
    nonce: String,
    header: &'static str,
    binding: Vec<u8>,
}

/// The server's first message: what the keys must be derived with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFirst {
    text: String,
    nonce: String,
    pub salt: Box<[u8]>,
    pub iterations: NonZeroU32,
}

/// Waits for the server's final message.
pub struct ClientFinal {
    message: String,
    server_signature: Key,
}

impl ClientExchange {
    /// Chooses a mechanism among those that the server offers. `end_point` is this connection's channel binding, absent
    /// without TLS. `None`: the server offers neither.
    pub fn choose(offered: &[&str], end_point: Option<&[u8]>, nonce: String) -> Option<Self> {
        let offers = |mechanism: Mechanism| offered.contains(&mechanism.name());
        match end_point {
            Some(end_point) if offers(Mechanism::Plus) => Some(Self {
                mechanism: Mechanism::Plus,
                nonce,
                header: "p=tls-server-end-point,,",
                binding: end_point.to_vec(),
            }),
            // We could have bound the channel: saying so lets the server find out that its offer was taken away.
            Some(_) if offers(Mechanism::Plain) => {
                Some(Self { mechanism: Mechanism::Plain, nonce, header: "y,,", binding: Vec::new() })
            }
            None if offers(Mechanism::Plain) => {
                Some(Self { mechanism: Mechanism::Plain, nonce, header: "n,,", binding: Vec::new() })
            }
            Some(_) | None => None,
        }
    }

    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// PostgreSQL takes the user's name from the startup packet; the one in here stays empty.
    pub fn client_first(&self) -> String {
        format!("{}{}", self.header, self.client_first_bare())
    }

    fn client_first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// Reads the server's first message, which is untrusted.
    pub fn read(&self, server_first: &[u8]) -> Result<ServerFirst, ScramError> {
        let mut attributes = Attributes::new(server_first)?;
        let nonce = match attributes.next()? {
            Some(('r', nonce)) => check_nonce(nonce)?,
            Some(('m', _)) => return Err(ScramError::Extension),
            Some(('e', _)) => return Err(ScramError::ServerError),
            Some(_) | None => return Err(ScramError::Malformed("nonce missing")),
        };
        // It must add something of its own.
        if nonce.strip_prefix(&self.nonce).is_none_or(str::is_empty) {
            return Err(ScramError::Nonce);
        }
        let salt = BASE64_STANDARD.decode(attributes.expect('s')?).map_err(|_| ScramError::Malformed("salt"))?;
        if salt.is_empty() || salt.len() > SALT_MAX {
            return Err(ScramError::Malformed("salt"));
        }
        let iterations = decimal(attributes.expect('i')?).and_then(NonZeroU32::new);
        let iterations = iterations.ok_or(ScramError::Malformed("iteration count"))?;
        if iterations > ITERATIONS_MAX {
            return Err(ScramError::Iterations);
        }
        while attributes.next()?.is_some() {}
        let text = String::from_utf8_lossy(server_first).into_owned();
        Ok(ServerFirst { text, nonce: nonce.to_owned(), salt: salt.into(), iterations })
    }

    /// The proof, with keys derived as `first` says.
    pub fn respond(self, first: &ServerFirst, keys: &ClientKeys) -> ClientFinal {
        let mut binding = self.header.as_bytes().to_vec();
        binding.extend(&self.binding);
        let without_proof = format!("c={},r={}", BASE64_STANDARD.encode(binding), first.nonce);
        let bare = self.client_first_bare();
        let parts = [bare.as_bytes(), b",", first.text.as_bytes(), b",", without_proof.as_bytes()];
        let proof = xor(&keys.client_key, &hmac(&keys.stored_key(), &parts));
        ClientFinal {
            message: format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)),
            server_signature: hmac(&keys.server_key, &parts),
        }
    }
}

impl ClientFinal {
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Checks the server's final message: a server that does not know the password cannot sign.
    pub fn finish(self, server_final: &[u8]) -> Result<(), ScramError> {
        let mut attributes = Attributes::new(server_final)?;
        let signature = match attributes.next()? {
            Some(('v', signature)) => super::key(signature).ok_or(ScramError::Malformed("signature"))?,
            Some(('e', _)) => return Err(ScramError::ServerError),
            Some(_) | None => return Err(ScramError::Malformed("signature missing")),
        };
        if bool::from(signature.ct_eq(&self.server_signature)) { Ok(()) } else { Err(ScramError::ServerSignature) }
    }
}
