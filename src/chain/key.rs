//! Ed25519 keys in the text forms of signed notes.
//!
//! The public key `NAME+ID+BASE64` says who signed, the secret one begins with `PRIVATE+KEY+`. ID is eight hexadecimal
//! digits, the first bytes of SHA-256 over the name, a newline, 0x01 (Ed25519) and the public key.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use thiserror::Error;

use crate::config::Secret;

/// The first four bytes of a key's hash. It tells keys apart; it is no proof of anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

/// Why a text is not a key. It never holds any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    #[error("not of the form {SECRET}NAME+ID+BASE64")]
    SecretForm,
    #[error("not of the form NAME+ID+BASE64")]
    PublicForm,
    #[error("a key's name is not empty and has no spaces, control characters or plus signs")]
    Name,
    #[error("not an Ed25519 key: 33 bytes of which the first is 1")]
    Algorithm,
    #[error("the key's ID is not that of its name and bytes")]
    Id,
}

/// A key that signs notes. It prints its name and ID only.
pub struct SigningKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// A key that verifies notes. Its text form is its `Display`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: KeyId,
    bytes: [u8; 32],
}

const SECRET: &str = "PRIVATE+KEY+";

/// Type of a signature and its key: Ed25519.
const ALGORITHM: u8 = 0x01;

/// Longest name of a key, in bytes.
const NAME_MAX: usize = 200;

impl SigningKey {
    /// The key of 32 bytes of chance.
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Algorithm)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Algorithm)?;
        Ok(Self { seed, pair, public: PublicKey::new(name, bytes)? })
    }

    /// Reads the text form; a newline at its end is fine.
    pub fn parse(text: &Secret) -> Result<Self, KeyError> {
        let rest = text.expose().trim_end_matches(['\r', '\n']).strip_prefix(SECRET).ok_or(KeyError::SecretForm)?;
        let (name, id, seed) = parts(rest, KeyError::SecretForm)?;
        let key = Self::from_seed(name, seed)?;
        if key.public.id != id { Err(KeyError::Id) } else { Ok(key) }
    }

    /// The text form, without a newline.
    pub fn to_text(&self) -> Secret {
        Secret::new(format!("{SECRET}{}+{}+{}", self.public.name, self.public.id, encoded(&self.seed)))
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.pair.sign(text).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

impl PublicKey {
    fn new(name: &str, bytes: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        let mut context = Context::new(&SHA256);
        context.update(name.as_bytes());
        context.update(&[b'\n', ALGORITHM]);
        context.update(&bytes);
        let hash = context.finish();
        let id = hash.as_ref().first_chunk().copied().expect("SHA-256 gives 32 bytes");
        Ok(Self { name: name.to_owned(), id: KeyId(id), bytes })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.bytes).verify(text, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, self.id, encoded(&self.bytes))
    }
}

/// Reads the text form; a newline at its end is fine.
impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, id, bytes) = parts(text.trim_end_matches(['\r', '\n']), KeyError::PublicForm)?;
        let key = Self::new(name, bytes)?;
        if key.id != id { Err(KeyError::Id) } else { Ok(key) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Whether a text can be a key's name. Spaces and plus signs end names in the text forms.
pub(super) fn is_name(name: &str) -> bool {
    let fits = !name.is_empty() && name.len() <= NAME_MAX;
    fits && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// Name, ID and bytes; the last part may have plus signs of its own.
fn parts(text: &str, form: KeyError) -> Result<(&str, KeyId, [u8; 32]), KeyError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return Err(form) };
    let is_id = id.len() == 8 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = u32::from_str_radix(id, 16).ok().filter(|_| is_id).ok_or(form)?;
    let bytes = BASE64_STANDARD.decode(key).map_err(|_| form)?;
    match bytes.split_first() {
        Some((&ALGORITHM, key)) => {
            Ok((name, KeyId(id.to_be_bytes()), key.try_into().map_err(|_| KeyError::Algorithm)?))
        }
        Some(_) | None => Err(KeyError::Algorithm),
    }
}

fn encoded(key: &[u8; 32]) -> String {
    let mut bytes = [ALGORITHM; 33];
    bytes[1..].copy_from_slice(key);
    BASE64_STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of Go's note package.
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn keys_of_gos_note_package_are_read_and_written() {
        let key = SigningKey::parse(&Secret::new(PRIVATE)).expect("a key");
        assert_eq!(key.public().to_string(), PUBLIC);
        assert_eq!(key.to_text().expose(), PRIVATE);
        assert_eq!(PUBLIC.parse::<PublicKey>().as_ref(), Ok(key.public()));
        assert_eq!(format!("{PUBLIC}\n").parse::<PublicKey>().as_ref(), Ok(key.public()));
        assert_eq!((key.public().name(), key.public().id().to_string().as_str()), ("PeterNeumann", "c74f20a3"));
        assert!(!format!("{key:?}").contains("81, 0a") && !format!("{key:?}").contains("AYEK"));
    }

    #[test]
    fn a_key_of_ours_is_one_to_another_implementation() {
        use signed_note::{Signer as _, StandardSigner, StandardVerifier, Verifier as _};
        let key = SigningKey::from_seed("audit.example/log", [7; 32]).expect("a key");
        let theirs = StandardSigner::new(key.to_text().expose()).expect("their key");
        assert_eq!(theirs.key_id().to_be_bytes(), key.public().id().0);
        assert_eq!(theirs.sign(b"text").expect("a signature"), key.sign(b"text"));
        let verifier = StandardVerifier::new(&key.public().to_string()).expect("their verifier");
        assert!(verifier.verify(b"text", &key.sign(b"text")) && !verifier.verify(b"texts", &key.sign(b"text")));
        assert!(key.public().verify(b"text", &key.sign(b"text")) && !key.public().verify(b"texts", &key.sign(b"text")));
    }

    #[test]
    fn what_is_not_quite_a_key_is_refused() {
        let wrong = [
            (PUBLIC.replace("c74f20a3", "c74f20a4"), KeyError::Id),
            (PUBLIC.replace("Peter", "peter"), KeyError::Id),
            (PUBLIC.replace("c74f20a3", "C74F20A3"), KeyError::PublicForm),
            (PUBLIC.replace("+c74f20a3", ""), KeyError::PublicForm),
            (PUBLIC.replace("+AR", "+BR"), KeyError::Algorithm),
            (PUBLIC.replace("10TW", ""), KeyError::Algorithm),
            (PUBLIC.replace("Peter", "Peter "), KeyError::Name),
            (PUBLIC.replace("PeterNeumann", ""), KeyError::Name),
            (String::new(), KeyError::PublicForm),
        ];
        for (text, error) in wrong {
            assert_eq!(text.parse::<PublicKey>(), Err(error), "{text}");
        }
        let parse = |text: String| SigningKey::parse(&Secret::new(text)).map(|_| ());
        assert_eq!(parse(PUBLIC.to_owned()), Err(KeyError::SecretForm));
        assert_eq!(parse(PRIVATE.replace("c74f20a3", "c74f20a4")), Err(KeyError::Id));
        assert!(SigningKey::from_seed("a+b", [7; 32]).is_err() && SigningKey::from_seed("a\nb", [7; 32]).is_err());
    }
}
