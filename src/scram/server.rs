//! The server's side: a client proves that it knows the password of a verifier.

use base64::prelude::{BASE64_STANDARD, Engine};
use subtle::ConstantTimeEq;

use super::{
    Attributes, Key, Mechanism, SALT_LENGTH, ScramError, Verifier, check_nonce, hash, hmac, message_text, xor,
};

/// Whether the verifier belongs to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A right proof is accepted.
    Accept,
    /// Every proof is wrong: the user is unknown or may not log in this way, and must not learn it.
    Refuse,
}

/// A secret of this process from which verifiers for unknown users are made: the same name meets the same salt each
/// time, as a real one does.
#[derive(Clone)]
pub struct MockSecret(Key);

impl MockSecret {
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The salt of this user. Verifiers that the process derives itself use it too, so that it tells nothing.
    pub fn salt(&self, user: &str) -> [u8; SALT_LENGTH] {
        *hmac(&self.0, &[b"salt", user.as_bytes()]).first_chunk().expect("a hash is longer than a salt")
    }

    /// A verifier that no password matches.
    pub fn verifier(&self, user: &str, iterations: std::num::NonZeroU32) -> Verifier {
        Verifier {
            iterations,
            salt: self.salt(user).into(),
            stored_key: hmac(&self.0, &[b"stored key", user.as_bytes()]),
            server_key: hmac(&self.0, &[b"server key", user.as_bytes()]),
        }
    }
}

impl std::fmt::Debug for MockSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

/// Waits for the client's final message.
pub struct ServerExchange<'a> {
    verifier: &'a Verifier,
    proof: Proof,
    client_first_bare: String,
    server_first: String,
    /// What `c=` must say: the GS2 header, and the channel binding under it.
    binding: String,
    /// Client's and server's, joined.
    nonce: String,
}

impl<'a> ServerExchange<'a> {
    /// Reads the client's first message and answers it.
    ///
    /// `end_point` is the channel binding that was offered with the -PLUS mechanism; `None` where it was not offered.
    pub fn start(
        client_first: &[u8],
        mechanism: Mechanism,
        end_point: Option<&[u8]>,
        verifier: &'a Verifier,
        proof: Proof,
        nonce: &str,
    ) -> Result<Self, ScramError> {
        let text = message_text(client_first)?;
        let (flag, rest) = text.split_once(',').ok_or(ScramError::Malformed("channel-binding flag"))?;
        let binding = binding(flag, mechanism, end_point)?;
        let (identity, bare) = rest.split_once(',').ok_or(ScramError::Malformed("authorization identity"))?;
        if !identity.is_empty() {
            return Err(match identity.strip_prefix("a=") {
                Some(_) => ScramError::AuthorizationIdentity,
                None => ScramError::Malformed("authorization identity"),
            });
        }
        if bare.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        let mut attributes = Attributes::new(bare.as_bytes())?;
        // The name in the startup packet is the one that counts.
        attributes.expect('n')?;
        let client_nonce = check_nonce(attributes.expect('r')?)?;
        while attributes.next()?.is_some() {}

        let nonce = format!("{client_nonce}{nonce}");
        let server_first = format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&verifier.salt), verifier.iterations);
        Ok(Self { verifier, proof, client_first_bare: bare.to_owned(), server_first, binding, nonce })
    }

    /// The answer to the client's first message.
    pub fn server_first(&self) -> &str {
        &self.server_first
    }

    /// Checks the client's final message; the answer proves to the client that we know the verifier.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ScramError> {
        let text = message_text(client_final)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed("proof"))?;
        let mut attributes = Attributes::new(without_proof.as_bytes())?;
        let binding = attributes.expect('c')?;
        let nonce = attributes.expect('r')?;
        while let Some((name, _)) = attributes.next()? {
            if name == 'm' {
                return Err(ScramError::Extension);
            }
        }
        if !bool::from(nonce.as_bytes().ct_eq(self.nonce.as_bytes())) {
            return Err(ScramError::Nonce);
        }
        if binding != self.binding {
            return Err(ScramError::Binding);
        }
        let proof = super::key(proof).ok_or(ScramError::Malformed("proof"))?;

        let parts =
            [self.client_first_bare.as_bytes(), b",", self.server_first.as_bytes(), b",", without_proof.as_bytes()];
        let client_signature = hmac(&self.verifier.stored_key, &parts);
        let right = hash(&xor(&proof, &client_signature)).ct_eq(&self.verifier.stored_key);
        let server_signature = hmac(&self.verifier.server_key, &parts);
        match (self.proof, bool::from(right)) {
            (Proof::Accept, true) => Ok(format!("v={}", BASE64_STANDARD.encode(server_signature))),
            (Proof::Accept, false) | (Proof::Refuse, _) => Err(ScramError::Proof),
        }
    }
}

/// What the client's `c=` must be, from the flag of its first message.
fn binding(flag: &str, mechanism: Mechanism, end_point: Option<&[u8]>) -> Result<String, ScramError> {
    match (mechanism, flag, end_point) {
        (Mechanism::Plain, "n", _) => Ok(BASE64_STANDARD.encode("n,,")),
        (Mechanism::Plain, "y", None) => Ok(BASE64_STANDARD.encode("y,,")),
        (Mechanism::Plain, "y", Some(_)) => Err(ScramError::Downgrade),
        (Mechanism::Plus, "p=tls-server-end-point", Some(end_point)) => {
            let mut bytes = b"p=tls-server-end-point,,".to_vec();
            bytes.extend(end_point);
            Ok(BASE64_STANDARD.encode(bytes))
        }
        (Mechanism::Plus, flag, Some(_)) if flag.starts_with("p=") => Err(ScramError::BindingType),
        (Mechanism::Plain | Mechanism::Plus, _, _) => Err(ScramError::Malformed("channel-binding flag")),
    }
}
