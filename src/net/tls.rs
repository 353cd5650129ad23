//! TLS of both sides, by rustls: acceptor for clients, connector for servers, and what a handshake settled.
//!
//! An [`Acceptor`] is built whole from configuration, so that a certificate reload is a new value and never a half-changed
//! one. Session tickets are off, as in PostgreSQL. Plain bytes never cross a handshake: [`Acceptor::accept`] takes bytes that
//! were read already only for a connection that began with TLS.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Stream;
use crate::config::{ClientTls, ClientTlsMode, ServerTls, ServerTlsMode, TlsVersion};

/// The application protocol that direct TLS must name, and that later TLS may.
const ALPN: &[u8] = b"postgresql";

/// What can go wrong with TLS: files at load, or a handshake.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: String },
    #[error("TLS configuration: {0}")]
    Config(String),
    #[error("TLS handshake: {0}")]
    Handshake(#[from] io::Error),
    #[error("\"{0}\" is no host name that a certificate can be checked against")]
    ServerName(Box<str>, #[source] InvalidDnsNameError),
}

/// What a handshake settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The single common name of the client's verified certificate.
    pub peer_cn: Option<Arc<str>>,
    /// The name that a client asked for. Untrusted.
    pub server_name: Option<Arc<str>>,
    /// Channel binding `tls-server-end-point` (RFC 5929): hash of the server's certificate. Absent where the
    /// certificate's signature defines no hash (Ed25519).
    pub end_point: Option<Arc<[u8]>>,
    /// Whether the peers settled on the application protocol `postgresql`.
    pub alpn: Alpn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    Postgresql,
    Absent,
}

/// An encrypted stream.
#[derive(Debug)]
pub struct TlsStream {
    stream: tokio_rustls::TlsStream<Carrier>,
    info: TlsInfo,
}

impl TlsStream {
    pub fn info(&self) -> &TlsInfo {
        &self.info
    }

    /// The stream underneath.
    pub(super) fn carrier(&self) -> &Stream {
        &self.stream.get_ref().0.stream
    }

    pub(super) fn carrier_mut(&mut self) -> &mut Stream {
        &mut self.stream.get_mut().0.stream
    }
}

/// TLS towards clients.
#[derive(Debug, Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    end_point: Option<Arc<[u8]>>,
}

impl Acceptor {
    /// Reads certificate, key and roots.
    pub fn new(tls: &ClientTls) -> Result<Self, TlsError> {
        let chain = certificates(&tls.cert)?;
        let end_point = chain.first().and_then(end_point);
        let provider = provider();
        let versions: &[_] = match tls.version_min {
            TlsVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| TlsError::Config(error.to_string()))?;
        let builder = match &tls.client_ca {
            None if tls.mode == ClientTlsMode::VerifyClient => {
                return Err(TlsError::Config("verify-client needs client_ca".to_owned()));
            }
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
                let verifier = match tls.mode {
                    ClientTlsMode::Allow | ClientTlsMode::Require => verifier.allow_unauthenticated(),
                    ClientTlsMode::VerifyClient => verifier,
                };
                builder.with_client_cert_verifier(
                    verifier.build().map_err(|error| TlsError::Config(format!("client_ca: {error}")))?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(chain, private_key(&tls.key)?)
            .map_err(|error| TlsError::Config(format!("certificate and key: {error}")))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), end_point })
    }

    /// Does the server's side of a handshake. `received` holds bytes of the handshake that were read already: only a
    /// connection that began with TLS has any.
    ///
    /// This is not cancel safe: an abandoned handshake closes the stream.
    pub async fn accept(&self, stream: Stream, received: BytesMut) -> Result<Stream, TlsError> {
        let carrier = Carrier { received, stream };
        let stream = tokio_rustls::TlsAcceptor::from(self.config.clone()).accept(carrier).await?;
        let connection = stream.get_ref().1;
        let info = TlsInfo {
            version: version(connection.protocol_version()),
            peer_cn: connection.peer_certificates().and_then(<[_]>::first).and_then(common_name),
            server_name: connection.server_name().map(Arc::from),
            end_point: self.end_point.clone(),
            alpn: alpn(connection.alpn_protocol()),
        };
        Ok(Stream::Tls(Box::new(TlsStream { stream: stream.into(), info })))
    }
}

/// TLS towards a peer that is no PostgreSQL, whose certificate must be good for its name. `ca`: roots; the public ones
/// without it.
pub fn verifying(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Config(error.to_string()))?;
    let roots = match ca {
        Some(path) => roots(path)?,
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
    };
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// TLS towards one server.
#[derive(Debug, Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
}

impl Connector {
    /// Reads roots, certificate and key.
    pub fn new(tls: &ServerTls) -> Result<Self, TlsError> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Config(error.to_string()))?;
        let builder = match tls.mode {
            ServerTlsMode::Disable | ServerTlsMode::Prefer | ServerTlsMode::Require => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified { provider }))
            }
            ServerTlsMode::VerifyFull => {
                let roots = match &tls.ca {
                    Some(path) => roots(path)?,
                    None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
                };
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| TlsError::Config(format!("certificate and key: {error}")))?,
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) | (None, Some(_)) => {
                return Err(TlsError::Config("a client certificate needs both tls_cert and tls_key".to_owned()));
            }
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self { config: Arc::new(config) })
    }

    /// Does the client's side of a handshake with the server of this name (a host name or an IP address).
    ///
    /// This is not cancel safe: an abandoned handshake closes the stream.
    pub async fn connect(&self, stream: Stream, host: &str) -> Result<Stream, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| TlsError::ServerName(host.into(), error))?;
        let carrier = Carrier { received: BytesMut::new(), stream };
        let stream = tokio_rustls::TlsConnector::from(self.config.clone()).connect(name, carrier).await?;
        let connection = stream.get_ref().1;
        let info = TlsInfo {
            version: version(connection.protocol_version()),
            peer_cn: None,
            server_name: None,
            end_point: connection.peer_certificates().and_then(<[_]>::first).and_then(end_point),
            alpn: alpn(connection.alpn_protocol()),
        };
        Ok(Stream::Tls(Box::new(TlsStream { stream: stream.into(), info })))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn version(version: Option<rustls::ProtocolVersion>) -> &'static str {
    match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        // No other is enabled.
        Some(_) | None => "TLSv1.2",
    }
}

fn alpn(protocol: Option<&[u8]>) -> Alpn {
    if protocol == Some(ALPN) { Alpn::Postgresql } else { Alpn::Absent }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |problem: String| TlsError::File { path: path.to_owned(), problem };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(|error| failed(error.to_string()))?;
    if chain.is_empty() { Err(failed("holds no certificate".to_owned())) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| TlsError::File { path: path.to_owned(), problem: error.to_string() })
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::File { path: path.to_owned(), problem: error.to_string() })?;
    }
    Ok(roots)
}

/// The subject's common name, where there is exactly one and it is plain text.
fn common_name(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    let (name, None) = (names.next()?.as_str().ok()?, names.next()) else { return None };
    if name.is_empty() || name.contains('\0') { None } else { Some(name.into()) }
}

/// RFC 5929, 4.1: the certificate hashed by its signature's own hash, SHA-256 in place of MD5 and SHA-1.
fn end_point(certificate: &CertificateDer<'_>) -> Option<Arc<[u8]>> {
    use x509_parser::signature_algorithm::SignatureAlgorithm;

    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let hash = match SignatureAlgorithm::try_from(&parsed.signature_algorithm).ok()? {
        SignatureAlgorithm::RSASSA_PSS(parameters) => parameters.hash_algorithm_oid().to_id_string(),
        SignatureAlgorithm::RSA
        | SignatureAlgorithm::DSA
        | SignatureAlgorithm::ECDSA
        | SignatureAlgorithm::ED25519
        | SignatureAlgorithm::RSAAES_OAEP(_) => parsed.signature_algorithm.algorithm.to_id_string(),
    };
    let bytes: &[u8] = certificate;
    match hash.as_str() {
        // md5, sha1 and sha256 with RSA; ecdsa with sha1 and sha256; the plain hashes, named by RSASSA-PSS.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2"
        | "1.3.14.3.2.26"
        | "2.16.840.1.101.3.4.2.1" => Some(Sha256::digest(bytes).as_slice().into()),
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" | "2.16.840.1.101.3.4.2.4" => {
            Some(Sha224::digest(bytes).as_slice().into())
        }
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" | "2.16.840.1.101.3.4.2.2" => {
            Some(Sha384::digest(bytes).as_slice().into())
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" | "2.16.840.1.101.3.4.2.3" => {
            Some(Sha512::digest(bytes).as_slice().into())
        }
        _ => None,
    }
}

/// The stream under TLS, and what was read of the handshake before TLS took over.
#[derive(Debug)]
struct Carrier {
    received: BytesMut,
    stream: Stream,
}

impl AsyncRead for Carrier {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.received.len().min(buffer.remaining());
        buffer.put_slice(&self.received[..count]);
        self.received.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for TlsStream {
    /// An end without a closing alert reads as an end: the protocol's own framing tells a cut from a close.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Takes any certificate, as libpq's `prefer` and `require` do; the peer must still hold its key.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
