//! Files that the configuration names: certificates, keys, secrets, socket directories.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Checker, Side};
use crate::config::problem::{Place, quoted};

/// Largest certificate, key or secret file.
const FILE_SIZE_MAX: u64 = 4 << 20;

/// Bytes of a Unix socket's path without the final NUL (`sun_path` of unix(7)).
const SOCKET_PATH_MAX: usize = 107;

impl Checker<'_> {
    /// A certificate chain and the key that belongs to its first certificate. `None` has been reported, or is not there.
    pub(super) fn certificate_and_key(
        &mut self,
        cert: Option<&Path>,
        cert_place: Option<&Place>,
        key: Option<&Path>,
        key_place: Option<&Place>,
    ) {
        let chain = cert.zip(cert_place).and_then(|(path, place)| self.certificates(path, place));
        let key = key.zip(key_place).and_then(|(path, place)| Some((self.private_key(path, place)?, place)));
        let (Some(chain), Some((key, key_place))) = (chain, key) else { return };
        let Err(error) = rustls::sign::CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        else {
            return;
        };
        let (expected, hint) = match error {
            rustls::Error::InconsistentKeys(_) => {
                ("the key of the first certificate in cert", "put the server's own certificate first, or name its key")
            }
            _ => ("a certificate and key that TLS can use", "use an RSA, ECDSA (P-256, P-384) or Ed25519 key"),
        };
        self.problem(key_place, Some("another key"), expected, hint);
    }

    /// A file of root certificates.
    pub(super) fn roots(&mut self, path: &Path, place: &Place) {
        let Some(certificates) = self.certificates(path, place) else { return };
        let mut store = rustls::RootCertStore::empty();
        let (_, unusable) = store.add_parsable_certificates(certificates);
        if unusable > 0 {
            let found = format!("{unusable} unreadable certificates in {}", quoted(&path.display().to_string()));
            self.problem(place, Some(&found), "X.509 certificates", "remove or replace the broken ones");
        }
    }

    fn certificates(&mut self, path: &Path, place: &Place) -> Option<Vec<CertificateDer<'static>>> {
        let pem = self.read(path, place)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Some(certificates),
            Ok(_) | Err(_) => {
                let found = format!("{} without one", quoted(&path.display().to_string()));
                let hint = "name a file that begins with -----BEGIN CERTIFICATE-----";
                self.problem(place, Some(&found), "certificates in PEM", hint);
                None
            }
        }
    }

    fn private_key(&mut self, path: &Path, place: &Place) -> Option<PrivateKeyDer<'static>> {
        let pem = self.read(path, place)?;
        self.warn_if_exposed(path, place);
        let key = PrivateKeyDer::from_pem_slice(&pem);
        if key.is_err() {
            let found = format!("{} without one", quoted(&path.display().to_string()));
            let hint = "name a file with -----BEGIN PRIVATE KEY----- (not an encrypted one)";
            self.problem(place, Some(&found), "a private key in PEM", hint);
        }
        key.ok()
    }

    /// A secret's text: the file without one newline at its end.
    pub(super) fn secret_file(&mut self, path: &Path, place: &Place) -> Option<String> {
        let bytes = self.read(path, place)?;
        self.warn_if_exposed(path, place);
        let Ok(mut text) = String::from_utf8(bytes) else {
            let found = format!("other bytes in {}", quoted(&path.display().to_string()));
            self.problem(place, Some(&found), "a file of UTF-8 text", "save it as UTF-8");
            return None;
        };
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Some(text)
    }

    /// Warns when everybody on the machine can read a secret.
    pub(super) fn warn_if_exposed(&mut self, path: &Path, place: &Place) {
        let Ok(mode) = fs::metadata(path).map(|file| file.permissions().mode()) else { return };
        if mode & 0o004 != 0 {
            let found = format!("{} readable by everybody", quoted(&path.display().to_string()));
            self.warn(place, Some(&found), "a file that only its owner can read", "chmod 600 the file");
        }
    }

    /// The directory of a Unix socket. Ours has to be there; the server's may come later.
    pub(super) fn directory_of_socket(&mut self, dir: &Path, port: u16, place: &Place, side: Side) {
        let found = quoted(&dir.display().to_string());
        let socket = dir.join(format!(".s.PGSQL.{port}"));
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_MAX {
            let expected = format!("a socket path of at most {SOCKET_PATH_MAX} bytes, here {length}");
            self.problem(place, Some(&found), &expected, "choose a directory with a shorter path");
        } else if side == Side::Ours && !dir.is_dir() {
            self.problem(
                place,
                Some(&found),
                "a directory that exists",
                "make it, owned by the user that runs pgwarden",
            );
        }
    }

    fn read(&mut self, path: &Path, place: &Place) -> Option<Vec<u8>> {
        match read_bounded(path, FILE_SIZE_MAX) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let found = format!("{}: {}", quoted(&path.display().to_string()), reason(&error));
                let hint = "check the path (relative ones start at the configuration file) and its permissions";
                self.problem(place, Some(&found), "a file that can be read", hint);
                None
            }
        }
    }
}

/// A regular file's bytes, or an error when there are more than `max`.
pub(in crate::config) fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // A FIFO would block for ever at open.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(bytes)
}

/// The error without the system's number.
pub(in crate::config) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
