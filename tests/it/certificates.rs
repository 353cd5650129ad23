//! Certificates made on the spot: a root, a server's and a client's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

/// PEM files in a directory of their own: `ca.pem`, and `<name>.pem` with `<name>.key` for each name issued.
pub struct Certificates {
    pub directory: tempfile::TempDir,
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "root of a test");
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("readable for a server");
        fs::write(directory.path().join("ca.pem"), root.pem()).expect("write");
        Self { directory, root }
    }

    /// A certificate with this common name, good for `localhost` and 127.0.0.1.
    pub fn issue(&self, name: &str) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.root).expect("a certificate");
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("write");
        let file = self.path(&format!("{name}.key"));
        fs::write(&file, key.serialize_pem()).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("secret");
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}
