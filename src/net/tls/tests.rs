use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SignatureAlgorithm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Files {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test root");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `<cn>.pem` and `<cn>.key`, with the subject's common names and one DNS name.
    fn issue(
        &self,
        file: &str,
        common_names: &[&str],
        algorithm: &'static SignatureAlgorithm,
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![file.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        certificate.der().clone()
    }

    fn client_tls(&self, mode: ClientTlsMode) -> ClientTls {
        self.issue("server.test", &["server"], &rcgen::PKCS_ECDSA_P256_SHA256);
        ClientTls {
            mode,
            cert: self.path("server.test.pem"),
            key: self.path("server.test.key"),
            client_ca: Some(self.path("ca.pem")),
            server_name_tenant: false,
            version_min: TlsVersion::V12,
        }
    }

    fn server_tls(&self, mode: ServerTlsMode, certificate: Option<&str>) -> ServerTls {
        ServerTls {
            mode,
            ca: Some(self.path("ca.pem")),
            cert: certificate.map(|name| self.path(&format!("{name}.pem"))),
            key: certificate.map(|name| self.path(&format!("{name}.key"))),
        }
    }
}

/// Both sides of a handshake over memory; the server's bytes already read are `head`.
async fn shake(
    acceptor: &Acceptor,
    connector: &Connector,
    host: &str,
) -> (Result<Stream, TlsError>, Result<Stream, TlsError>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::join!(
        acceptor.accept(Stream::Memory(ours), BytesMut::new()),
        connector.connect(Stream::Memory(theirs), host)
    )
}

#[tokio::test]
async fn bytes_pass_and_both_sides_bind_to_the_same_channel() {
    let files = Files::new();
    let acceptor = Acceptor::new(&files.client_tls(ClientTlsMode::Require)).unwrap();
    let connector = Connector::new(&files.server_tls(ServerTlsMode::VerifyFull, None)).unwrap();
    let (server, client) = shake(&acceptor, &connector, "server.test").await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    client.write_all(b"over").await.unwrap();
    client.flush().await.unwrap();
    let mut bytes = [0; 4];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"over");
    let (server, client) = (server.tls_info().unwrap(), client.tls_info().unwrap());
    assert_eq!(server.end_point.as_deref().unwrap().len(), 32);
    assert_eq!(server.end_point, client.end_point);
    assert_eq!((server.version, server.alpn, &server.peer_cn), ("TLSv1.3", Alpn::Postgresql, &None));
}

#[tokio::test]
async fn full_verification_checks_chain_and_name() {
    let files = Files::new();
    let acceptor = Acceptor::new(&files.client_tls(ClientTlsMode::Allow)).unwrap();
    let verifying = Connector::new(&files.server_tls(ServerTlsMode::VerifyFull, None)).unwrap();
    assert!(shake(&acceptor, &verifying, "other.test").await.1.is_err());
    assert!(shake(&acceptor, &verifying, "127.0.0.1").await.1.is_err());
    let mut bundled = files.server_tls(ServerTlsMode::VerifyFull, None);
    bundled.ca = None;
    assert!(shake(&acceptor, &Connector::new(&bundled).unwrap(), "server.test").await.1.is_err());
    for mode in [ServerTlsMode::Prefer, ServerTlsMode::Require] {
        let lax = Connector::new(&files.server_tls(mode, None)).unwrap();
        assert!(shake(&acceptor, &lax, "other.test").await.1.is_ok());
    }
}

#[tokio::test]
async fn client_certificates_are_verified_and_name_their_owner() {
    let files = Files::new();
    files.issue("ann", &["ann"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let strangers = Files::new();
    strangers.issue("ann", &["ann"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let with = Connector::new(&files.server_tls(ServerTlsMode::Require, Some("ann"))).unwrap();
    let without = Connector::new(&files.server_tls(ServerTlsMode::Require, None)).unwrap();
    let foreign = Connector::new(&strangers.server_tls(ServerTlsMode::Require, Some("ann"))).unwrap();
    for (mode, anonymous_may) in [(ClientTlsMode::Allow, true), (ClientTlsMode::VerifyClient, false)] {
        let acceptor = Acceptor::new(&files.client_tls(mode)).unwrap();
        let named = shake(&acceptor, &with, "server.test").await.0.unwrap();
        assert_eq!(named.tls_info().unwrap().peer_cn.as_deref(), Some("ann"));
        assert_eq!(shake(&acceptor, &without, "server.test").await.0.is_ok(), anonymous_may);
        assert!(shake(&acceptor, &foreign, "server.test").await.0.is_err());
    }
}

#[test]
fn only_a_single_plain_common_name_counts() {
    let files = Files::new();
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    assert_eq!(common_name(&files.issue("a", &["ann"], algorithm)).as_deref(), Some("ann"));
    assert_eq!(common_name(&files.issue("b", &[], algorithm)), None);
    assert_eq!(common_name(&files.issue("c", &["ann\0bob"], algorithm)), None);
    assert_eq!(common_name(&files.issue("d", &[""], algorithm)), None);
}

#[test]
fn channel_binding_hashes_by_the_signature() {
    let key = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let signed = |key: KeyPair| CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().der().clone();
    let p256 = signed(key(&rcgen::PKCS_ECDSA_P256_SHA256));
    assert_eq!(end_point(&p256).unwrap()[..], Sha256::digest(&p256)[..]);
    let p384 = signed(key(&rcgen::PKCS_ECDSA_P384_SHA384));
    assert_eq!(end_point(&p384).unwrap()[..], Sha384::digest(&p384)[..]);
    assert_eq!(end_point(&signed(key(&rcgen::PKCS_ED25519))), None);
    assert_eq!(end_point(&CertificateDer::from(vec![1, 2, 3])), None);
}

#[tokio::test]
async fn bytes_of_a_direct_handshake_that_were_read_are_given_to_tls() {
    let files = Files::new();
    let acceptor = Acceptor::new(&files.client_tls(ClientTlsMode::Allow)).unwrap();
    let connector = Connector::new(&files.server_tls(ServerTlsMode::Require, None)).unwrap();
    let (mut ours, theirs) = tokio::io::duplex(64 * 1024);
    let accept = async {
        let mut received = BytesMut::zeroed(7);
        ours.read_exact(&mut received).await.unwrap();
        assert_eq!(received[0], 0x16);
        acceptor.accept(Stream::Memory(ours), received).await
    };
    let (server, client) = tokio::join!(accept, connector.connect(Stream::Memory(theirs), "server.test"));
    assert!(server.is_ok() && client.is_ok());
}

#[tokio::test]
async fn garbage_is_no_handshake_and_quiet_streams_are_known() {
    let files = Files::new();
    let acceptor = Acceptor::new(&files.client_tls(ClientTlsMode::Allow)).unwrap();
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f plain bytes").await.unwrap();
    drop(theirs);
    assert!(matches!(acceptor.accept(Stream::Memory(ours), BytesMut::new()).await, Err(TlsError::Handshake(_))));

    let connector = Connector::new(&files.server_tls(ServerTlsMode::Require, None)).unwrap();
    let (server, client) = shake(&acceptor, &connector, "server.test").await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    assert!(server.is_quiet() && client.is_quiet());
    server.write_all(b"x").await.unwrap();
    server.flush().await.unwrap();
    assert!(!client.is_quiet());
    drop(client);
    assert!(!server.is_quiet());
}

#[test]
fn files_that_cannot_serve_are_named() {
    let files = Files::new();
    let tls = files.client_tls(ClientTlsMode::Allow);
    let missing = ClientTls { cert: files.path("none.pem"), ..tls.clone() };
    assert!(Acceptor::new(&missing).unwrap_err().to_string().contains("none.pem"));
    let no_certificate = ClientTls { cert: tls.key.clone(), ..tls.clone() };
    assert!(Acceptor::new(&no_certificate).unwrap_err().to_string().contains("holds no certificate"));
    files.issue("other", &["other"], &rcgen::PKCS_ECDSA_P256_SHA256);
    let crossed = ClientTls { key: files.path("other.key"), ..tls.clone() };
    assert!(matches!(Acceptor::new(&crossed), Err(TlsError::Config(_))));
    let no_ca = ClientTls { client_ca: None, mode: ClientTlsMode::VerifyClient, ..tls };
    assert!(matches!(Acceptor::new(&no_ca), Err(TlsError::Config(_))));
    let half = ServerTls { key: None, ..files.server_tls(ServerTlsMode::Require, Some("other")) };
    assert!(matches!(Connector::new(&half), Err(TlsError::Config(_))));
}
