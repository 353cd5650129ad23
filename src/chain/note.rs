//! Signed notes: a text, an empty line, and a line for each signature.
//!
//! Reading is strict: the bytes of a note are the only ones that stand for it. A note that was read is not verified yet.

use std::fmt::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use thiserror::Error;

use super::key::{KeyId, PublicKey, SigningKey, is_name};

/// A text and what claims to have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Ends with a newline.
    text: String,
    signatures: Vec<Signature>,
}

/// A signature's line, unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub name: String,
    pub id: KeyId,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteError {
    #[error("not a signed note: it is a text, an empty line, and lines of signatures")]
    Form,
    #[error("the note is larger than {NOTE_MAX} bytes")]
    TooLarge,
    #[error("the note has more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    #[error("no known key has signed the note")]
    Unsigned,
    #[error("the signature of key {0} is not one of this text")]
    Signature(KeyId),
}

/// Largest note, in bytes; a checkpoint has about 400.
const NOTE_MAX: usize = 64 << 10;

const SIGNATURES_MAX: usize = 16;

/// What a signature's line begins with: an em dash and a space.
const MARK: &str = "\u{2014} ";

impl Note {
    /// Signs a text.
    ///
    /// # Errors
    /// `Form`: it is empty, does not end with a newline, or holds control characters.
    pub fn sign(text: String, keys: &[&SigningKey]) -> Result<Self, NoteError> {
        if !is_text(&text) {
            return Err(NoteError::Form);
        }
        let sign = |key: &&SigningKey| Signature {
            name: key.public().name().to_owned(),
            id: key.public().id(),
            bytes: key.sign(text.as_bytes()),
        };
        let signatures = keys.iter().map(sign).collect();
        Ok(Self { text, signatures })
    }

    /// Reads a note. Nothing about it is known to be true until it is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > NOTE_MAX {
            return Err(NoteError::TooLarge);
        }
        let all = std::str::from_utf8(bytes).map_err(|_| NoteError::Form)?;
        let middle = all.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = (&all[..=middle], &all[middle + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        if !is_text(text) {
            return Err(NoteError::Form);
        }
        if lines.split('\n').count() > SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        let signatures: Option<Vec<Signature>> = lines.split('\n').map(signature).collect();
        Ok(Self { text: text.to_owned(), signatures: signatures.ok_or(NoteError::Form)? })
    }

    /// The keys among `known` that have signed it, at least one.
    ///
    /// # Errors
    /// `Signature`: a line claims to be a known key's and is not; a note with such a line proves nothing.
    /// `Unsigned`: no line is of a known key.
    pub fn verify<'k>(&self, known: &'k [PublicKey]) -> Result<Vec<&'k PublicKey>, NoteError> {
        let mut signers: Vec<&PublicKey> = Vec::new();
        for signature in &self.signatures {
            let of = |key: &&PublicKey| key.id() == signature.id && key.name() == signature.name;
            let Some(key) = known.iter().find(of) else { continue };
            if !key.verify(self.text.as_bytes(), &signature.bytes) {
                return Err(NoteError::Signature(key.id()));
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }

    /// What is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        f.write_char('\n')?;
        for Signature { name, id, bytes } in &self.signatures {
            writeln!(f, "{MARK}{name} {}", BASE64_STANDARD.encode([&id.0, bytes.as_slice()].concat()))?;
        }
        Ok(())
    }
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && !text.chars().any(|c| c.is_ascii_control() && c != '\n')
}

fn signature(line: &str) -> Option<Signature> {
    let (name, signature) = line.strip_prefix(MARK)?.split_once(' ')?;
    let bytes = BASE64_STANDARD.decode(signature).ok()?;
    let (id, bytes) = bytes.split_first_chunk()?;
    (is_name(name) && !bytes.is_empty()).then(|| Signature {
        name: name.to_owned(),
        id: KeyId(*id),
        bytes: bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    /// From the documentation of Go's note package.
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const SIGNED: &str = "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("audit.example/log", [seed; 32]).expect("a key")
    }

    #[test]
    fn the_note_of_gos_documentation_verifies_and_is_signed_alike() {
        let public: PublicKey = PUBLIC.parse().expect("a key");
        let note = Note::parse(format!("{TEXT}{SIGNED}").as_bytes()).expect("a note");
        assert_eq!(note.text(), TEXT);
        assert_eq!(note.verify(std::slice::from_ref(&public)), Ok(vec![&public]));
        let key = SigningKey::parse(&Secret::new(PRIVATE)).expect("a key");
        assert_eq!(Note::sign(TEXT.to_owned(), &[&key]).expect("a note"), note);
        assert_eq!(note.to_string(), format!("{TEXT}{SIGNED}"));
    }

    #[test]
    fn a_note_of_two_keys_verifies_elsewhere_with_either() {
        use signed_note::{StandardVerifier, VerifierList};
        let (old, new) = (key(1), key(2));
        let note = Note::sign("a\nb\n".to_owned(), &[&old, &new]).expect("a note");
        for known in [&old, &new] {
            let verifier = StandardVerifier::new(&known.public().to_string()).expect("their verifier");
            let theirs = signed_note::Note::from_bytes(note.to_string().as_bytes()).expect("their note");
            let (verified, unknown) = theirs.verify(&VerifierList::new(vec![Box::new(verifier)])).expect("verified");
            assert_eq!((verified.len(), unknown.len()), (1, 1));
            assert_eq!(note.verify(&[known.public().clone()]), Ok(vec![known.public()]));
        }
        assert_eq!(note.verify(&[key(3).public().clone()]), Err(NoteError::Unsigned));
        assert_eq!(note.verify(&[]), Err(NoteError::Unsigned));
    }

    #[test]
    fn one_wrong_bit_is_not_the_note() {
        let (key, other) = (key(1), key(2));
        let known = [key.public().clone(), other.public().clone()];
        let right = Note::sign("origin\n5\n".to_owned(), &[&key]).expect("a note").to_string().into_bytes();
        assert!(Note::parse(&right).expect("a note").verify(&known).is_ok());
        for at in 0..right.len() {
            for bit in 0..8 {
                let mut wrong = right.clone();
                wrong[at] ^= 1 << bit;
                let verified = Note::parse(&wrong).and_then(|note| note.verify(&known).map(drop));
                assert!(verified.is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn what_is_read_is_what_would_be_written() {
        let note = Note::sign("a\n\nb\n".to_owned(), &[&key(1)]).expect("a note");
        let text = note.to_string();
        assert_eq!(Note::parse(text.as_bytes()), Ok(note));
        let wrong = [
            text.trim_end().to_owned(),
            format!("{text}\n"),
            text.replace('\n', "\r\n"),
            text.replace("— ", "- "),
            text.replace("— ", "—  "),
            text.replace("=\n", "\n"),
            text.replace('b', "b\t"),
            text.replace("\n\n—", "\n—"),
            "a\n\n".to_owned(),
            String::new(),
        ];
        for wrong in wrong {
            assert_eq!(Note::parse(wrong.as_bytes()), Err(NoteError::Form), "{wrong:?}");
        }
        assert_eq!(Note::sign("no newline".to_owned(), &[]), Err(NoteError::Form));
        assert_eq!(Note::parse(&vec![b'a'; NOTE_MAX + 1]), Err(NoteError::TooLarge));
        let line = text.rsplit_once("\n\n").expect("two parts").1;
        let many = format!("a\n\n{}", line.repeat(SIGNATURES_MAX + 1));
        assert_eq!(Note::parse(many.as_bytes()), Err(NoteError::TooManySignatures));
    }
}
