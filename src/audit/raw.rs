//! Texts of statements, encrypted under a key of their tenant: whoever destroys the key takes from everybody what they said,
//! and the log, of which the encrypted text is a part, still proves to be whole.
//!
//! A key is a file `TENANT.key` of 64 hexadecimal digits in the configured directory. The proxy only reads it: one that made
//! keys by itself would need to write there, and would make a new key for a tenant whose key was destroyed on purpose. It is
//! looked at every second, so no text is kept under a key that was destroyed longer ago.
//!
//! A text is sealed by AES-256-GCM. The nonce is a counter, under a key that is derived (HKDF-SHA-256) from the tenant's by 16
//! random bytes, drawn anew by every worker for every key that it reads: a nonce repeats only if two of these draws agree, or
//! after 2^64 texts. What is authenticated besides is the log's name, the tenant's, and the key's id: a sealed text that is moved to another tenant or log
//! does not open.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::hkdf::{HKDF_SHA256, Salt};
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;

use crate::chain::KeyId;
use crate::record::Sealed;

/// One worker's keys.
pub(super) struct Sealers {
    directory: PathBuf,
    origin: Arc<str>,
    /// By tenant.
    known: RefCell<HashMap<Arc<str>, Known>>,
}

/// A tenant's key, as of the last look.
struct Known {
    looked: Instant,
    key: Option<(TenantKey, Sealer)>,
    /// That its file cannot be used was told.
    told: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct TenantKey([u8; 32]);

/// Encrypts under a key that nobody else uses.
struct Sealer {
    id: KeyId,
    salt: [u8; SALT],
    key: LessSafeKey,
    next: u64,
    authenticated: Vec<u8>,
}

/// Tenants whose keys are kept in memory, at most; past that all are read again.
const KNOWN_MAX: usize = 10_000;

/// How often a key is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// First byte of what is sealed: how.
const FORM: u8 = 1;

const SALT: usize = 16;
const COUNTER: usize = 8;
const HEAD: usize = 1 + SALT + COUNTER;

const PURPOSE: &[u8] = b"pgwarden raw text 1";

/// Why a text cannot be shown.
#[derive(Debug, Error)]
pub enum RevealError {
    #[error("the record has no text that was kept")]
    None,
    #[error("the text was not kept: it may hold a secret, or was not read ({0})")]
    LeftOut(String),
    #[error("the key of tenant \"{0}\" is gone, and with it the text")]
    KeyGone(String),
    #[error("the key in {} cannot be used: {error}", path.display())]
    Key { path: PathBuf, error: io::Error },
    #[error("the text is sealed by key {sealed}, and the tenant's key now is {found}")]
    OtherKey { sealed: String, found: KeyId },
    #[error("the sealed text does not open: it was changed, or is of another tenant or log")]
    Changed,
}

impl Sealers {
    pub fn new(directory: &Path, origin: &str) -> Self {
        Self { directory: directory.to_path_buf(), origin: origin.into(), known: RefCell::default() }
    }

    /// Whether the tenant has a key.
    pub fn has_key(&self, tenant: &Arc<str>) -> bool {
        self.sealer(&mut self.known.borrow_mut(), tenant).is_some()
    }

    /// The text, sealed for its tenant; absent where that has no key.
    pub fn seal(&self, tenant: &Arc<str>, text: &str) -> Option<Sealed> {
        self.sealer(&mut self.known.borrow_mut(), tenant)?.seal(text)
    }

    /// The tenant's, by its key as of a second ago at most.
    fn sealer<'a>(&self, known: &'a mut HashMap<Arc<str>, Known>, tenant: &Arc<str>) -> Option<&'a mut Sealer> {
        if known.len() >= KNOWN_MAX && !known.contains_key(tenant) {
            known.clear();
        }
        let now = Instant::now();
        let entry = known.entry(tenant.clone()).or_insert_with(|| Known { looked: now, key: None, told: false });
        if entry.key.is_none() && entry.looked == now {
            entry.look(self, tenant);
        }
        if now.saturating_duration_since(entry.looked) >= LOOK {
            entry.looked = now;
            entry.look(self, tenant);
        }
        entry.key.as_mut().map(|(_, sealer)| sealer)
    }
}

impl Known {
    /// Reads the key as it is now: what was derived from it goes on only where it is the same.
    fn look(&mut self, of: &Sealers, tenant: &str) {
        let path = key_path(&of.directory, tenant);
        let told = std::mem::take(&mut self.told);
        match TenantKey::read(&path) {
            Ok(key) if self.key.as_ref().is_some_and(|(known, _)| *known == key) => {}
            Ok(key) => {
                let sealer = Sealer::new(&key, rand::random(), &of.origin, tenant);
                self.key = Some((key, sealer));
            }
            Err(error) => {
                self.key = None;
                self.told = error.kind() != io::ErrorKind::NotFound;
                if self.told && !told {
                    let path = path.display();
                    tracing::warn!(tenant, %path, %error, "a tenant's key cannot be used: its texts are not kept");
                }
            }
        }
    }
}

impl TenantKey {
    fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.mode() & 0o077 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others than its owner may use it: chmod 600"));
        }
        let mut text = String::new();
        file.take(128).read_to_string(&mut text)?;
        let key = super::key_bytes(&text);
        key.map(Self).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "expected 64 hexadecimal digits"))
    }

    fn id(&self) -> KeyId {
        let mut context = Context::new(&SHA256);
        context.update(PURPOSE);
        context.update(&self.0);
        let digest = context.finish();
        KeyId(*digest.as_ref().first_chunk().expect("a digest has 32 bytes"))
    }

    fn derived(&self, salt: &[u8; SALT]) -> LessSafeKey {
        let key = Salt::new(HKDF_SHA256, salt).extract(&self.0);
        let key = key.expand(&[PURPOSE], &AES_256_GCM).expect("the algorithm's own length");
        LessSafeKey::new(UnboundKey::from(key))
    }
}

impl Sealer {
    fn new(key: &TenantKey, salt: [u8; SALT], origin: &str, tenant: &str) -> Self {
        let id = key.id();
        Self { id, salt, key: key.derived(&salt), next: 0, authenticated: authenticated(origin, tenant, id) }
    }

    fn seal(&mut self, text: &str) -> Option<Sealed> {
        let counter = self.next.to_be_bytes();
        self.next = self.next.checked_add(1)?;
        let mut bytes = Vec::with_capacity(HEAD + text.len() + AES_256_GCM.tag_len());
        bytes.push(FORM);
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&counter);
        let mut sealed = text.as_bytes().to_vec();
        self.key.seal_in_place_append_tag(nonce(counter), Aad::from(&*self.authenticated), &mut sealed).ok()?;
        bytes.extend_from_slice(&sealed);
        Some(Sealed { key: self.id.to_string(), text: BASE64_STANDARD.encode(bytes) })
    }
}

fn nonce(counter: [u8; COUNTER]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[12 - COUNTER..].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(nonce)
}

/// No name has a NUL in it.
fn authenticated(origin: &str, tenant: &str, id: KeyId) -> Vec<u8> {
    [PURPOSE, origin.as_bytes(), tenant.as_bytes(), &id.0[..]].join(&0)
}

/// The file of a tenant's key: letters, digits, `_` and `-` stand for themselves, all other bytes as `%XX`.
pub fn key_path(directory: &Path, tenant: &str) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let name = tenant.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") });
    directory.join(format!("{}.key", name.collect::<String>()))
}

/// Makes a tenant's key. Its file and its id.
///
/// # Errors
/// There is one, or it cannot be written.
pub fn make_key(directory: &Path, tenant: &str) -> io::Result<(PathBuf, KeyId)> {
    let path = key_path(directory, tenant);
    let key = TenantKey(rand::random());
    let digits: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(format!("{digits}\n").as_bytes())?;
    file.sync_all()?;
    super::segment::sync_directory(directory)?;
    Ok((path, key.id()))
}

/// The text that a record of the log `origin` keeps.
///
/// # Errors
/// It keeps none, or it does not open.
pub fn reveal(record: &Value, origin: &str, keys: &Path) -> Result<String, RevealError> {
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    if let Some(why) = record["raw_left_out"].as_str() {
        return Err(RevealError::LeftOut(why.to_owned()));
    }
    let (sealed, tenant) = (text("raw"), text("tenant"));
    if sealed.is_empty() {
        return Err(RevealError::None);
    }
    let path = key_path(keys, tenant);
    let key = TenantKey::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RevealError::KeyGone(tenant.to_owned()),
        _ => RevealError::Key { path, error },
    })?;
    if key.id().to_string() != text("raw_key") {
        return Err(RevealError::OtherKey { sealed: text("raw_key").to_owned(), found: key.id() });
    }
    let mut bytes = BASE64_STANDARD.decode(sealed).map_err(|_| RevealError::Changed)?;
    let salt = bytes.get(1..=SALT).and_then(<[u8]>::first_chunk).copied();
    let counter = bytes.get(1 + SALT..HEAD).and_then(<[u8]>::first_chunk).copied();
    let (Some(FORM), Some(salt), Some(counter)) = (bytes.first().copied(), salt, counter) else {
        return Err(RevealError::Changed);
    };
    let authenticated = authenticated(origin, tenant, key.id());
    let opened = key.derived(&salt).open_within(nonce(counter), Aad::from(&*authenticated), &mut bytes, HEAD..);
    let opened = opened.map_err(|_| RevealError::Changed)?;
    String::from_utf8(opened.to_vec()).map_err(|_| RevealError::Changed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(tenant: &str, sealed: &Sealed) -> Value {
        json!({"tenant": tenant, "raw": sealed.text, "raw_key": sealed.key})
    }

    fn now_and_again(sealers: &Sealers, tenant: &str) -> Option<Sealed> {
        for known in sealers.known.borrow_mut().values_mut() {
            known.looked = known.looked.checked_sub(LOOK).expect("some uptime");
        }
        sealers.seal(&tenant.into(), "SELECT 'Alice'")
    }

    #[test]
    fn a_text_opens_with_its_key_for_its_tenant_in_its_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let sealers = Sealers::new(dir.path(), "example.com/audit");
        assert_eq!(sealers.seal(&"acme".into(), "x"), None, "without a key nothing is kept");
        let (path, id) = make_key(dir.path(), "acme").expect("a key");
        make_key(dir.path(), "other").expect("a key");
        assert!(make_key(dir.path(), "acme").is_err(), "nothing is overwritten");
        let sealed = now_and_again(&sealers, "acme").expect("sealed");
        let again = now_and_again(&sealers, "acme").expect("sealed");
        assert_ne!(sealed.text, again.text);
        assert_eq!(sealed.key, id.to_string());
        let shown = |record: &Value, origin| reveal(record, origin, dir.path());
        for sealed in [&sealed, &again] {
            assert_eq!(shown(&record("acme", sealed), "example.com/audit").expect("it opens"), "SELECT 'Alice'");
        }
        assert!(matches!(shown(&record("acme", &sealed), "example.com/other"), Err(RevealError::Changed)));
        let moved = Sealed { key: now_and_again(&sealers, "other").expect("sealed").key, text: sealed.text.clone() };
        assert!(matches!(shown(&record("other", &moved), "example.com/audit"), Err(RevealError::Changed)));
        // Any changed byte.
        let bytes = BASE64_STANDARD.decode(&sealed.text).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = Sealed { text: BASE64_STANDARD.encode(&changed), ..sealed.clone() };
            assert!(matches!(shown(&record("acme", &changed), "example.com/audit"), Err(RevealError::Changed)), "{at}");
        }
        for short in 0..HEAD + 16 {
            let cut = Sealed { text: BASE64_STANDARD.encode(&bytes[..short]), ..sealed.clone() };
            assert!(shown(&record("acme", &cut), "example.com/audit").is_err(), "{short}");
        }
        // With the key goes the text, and nothing is kept from then on.
        std::fs::remove_file(&path).expect("destroyed");
        assert!(matches!(shown(&record("acme", &sealed), "example.com/audit"), Err(RevealError::KeyGone(_))));
        assert_eq!(now_and_again(&sealers, "acme"), None);
        make_key(dir.path(), "acme").expect("another key");
        assert!(matches!(shown(&record("acme", &sealed), "example.com/audit"), Err(RevealError::OtherKey { .. })));
        assert_ne!(now_and_again(&sealers, "acme").expect("sealed").key, sealed.key);
    }

    #[test]
    fn no_nonce_comes_twice_and_no_worker_shares_a_key() {
        let dir = tempfile::tempdir().expect("a directory");
        make_key(dir.path(), "acme").expect("a key");
        let mut seen = std::collections::HashSet::new();
        for _worker in 0..8 {
            let sealers = Sealers::new(dir.path(), "log");
            for _ in 0..50 {
                let sealed = sealers.seal(&"acme".into(), "x").expect("sealed");
                let bytes = BASE64_STANDARD.decode(sealed.text).expect("base64");
                assert!(seen.insert(bytes[..HEAD].to_vec()));
            }
            sealers.known.borrow_mut().clear();
            let sealed = sealers.seal(&"acme".into(), "x").expect("sealed");
            assert!(seen.insert(BASE64_STANDARD.decode(sealed.text).expect("base64")[..HEAD].to_vec()));
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let (path, _) = make_key(dir.path(), "acme").expect("a key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("a mode");
        let sealers = Sealers::new(dir.path(), "log");
        assert_eq!(sealers.seal(&"acme".into(), "x"), None);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        std::fs::write(&path, "abc").expect("no key");
        assert_eq!(now_and_again(&sealers, "acme"), None);
    }

    #[test]
    fn no_tenant_s_name_leads_to_another_file() {
        let file = |tenant: &str| key_path(Path::new("/k"), tenant).display().to_string();
        assert_eq!(file("acme-1_X"), "/k/acme-1_X.key");
        assert_eq!(file("../a.b%é"), "/k/%2E%2E%2Fa%2Eb%25%C3%A9.key");
    }
}
