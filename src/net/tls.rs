//! TLS 1.2 and 1.3 (rustls, aws-lc-rs): what we show on a listener, and how strictly we look at a peer (RFC 5922).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError as Reason, ClientConfig, DistinguishedName, RootCertStore, ServerConfig};

use super::certificates::{OwnCertificate, OwnCertificates};
use crate::edge::settings::{TlsPeer, Verify};

/// TLS settings that cannot be used.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("CA file {}: {reason}. It must hold certificates in PEM form", file.display())]
    Ca { file: PathBuf, reason: String },
    #[error(
        "this system has no trusted CA certificates: install the package ca-certificates, or name a file: tls: {{ ca: FILE }}"
    )]
    NoSystemCa,
    #[error("'{0}' is neither a host name nor an address, so no certificate can be checked against it")]
    Name(Arc<str>),
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// How to call one TLS peer.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// SNI, and the name to check.
    pub server_name: ServerName<'static>,
    /// The rest.
    pub config: Arc<ClientConfig>,
}

/// What is spoken on a SIP listener, for clients that negotiate it (ALPN): the registered name, and what LiveKit says instead.
pub(super) const SIP: &[&[u8]] = &[b"sip/2", b"sip"];

/// What is spoken before WebSocket is (RFC 7118).
pub(super) const WEB: &[&[u8]] = &[b"http/1.1"];

/// A listener's side: these certificates; with `client_ca` only clients whose certificate that CA has signed.
///
/// A client that negotiates nothing is served. RFC 7301 §3.2: one that offers only what is not `spoken` is refused, so that a
/// browser that was lured here never gets to talk to a phone's port under our name; where nothing is listed, all are served.
pub(super) fn server(
    certificates: OwnCertificates,
    client_ca: Option<&Path>,
    spoken: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(Arc::new(AnyPurpose::new(file, provider)?)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = spoken.iter().map(|name| name.to_vec()).collect();
    // Tickets, not a table of sessions: nothing to fill up.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// Our side towards a peer that we call.
pub(super) fn client(
    peer: &TlsPeer,
    ca: Option<&Path>,
    certificate: Option<Arc<OwnCertificate>>,
) -> Result<Client, TlsError> {
    let server_name = ServerName::try_from(peer.server_name.to_string())
        .map_err(|_| TlsError::Name(peer.server_name.clone()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match peer.verify {
        Verify::Name => chain_verifier(ca, provider.clone())?,
        Verify::Chain => Arc::new(AnyName(chain_verifier(ca, provider.clone())?)),
        Verify::None => Arc::new(Anyone(provider.signature_verification_algorithms)),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match certificate {
        Some(own) => builder.with_client_cert_resolver(own),
        None => builder.with_no_client_auth(),
    };
    Ok(Client { server_name, config: Arc::new(config) })
}

/// Our side towards a web server, as a browser has it; with `ca` only one whose certificate that has signed.
pub(super) fn web_client(host: &str, ca: Option<&Path>) -> Result<Client, TlsError> {
    client(&TlsPeer { server_name: host.into(), verify: Verify::Name }, ca, None)
}

/// The names of a certificate that was verified: DNS names, and the hosts of SIP URIs (RFC 5922 §7.1).
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    let uris = certificate.valid_uri_names().filter_map(|uri| uri.strip_prefix("sip:"));
    certificate.valid_dns_names().chain(uris).map(str::to_owned).collect()
}

fn chain_verifier(
    ca: Option<&Path>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let roots = match ca {
        Some(file) => roots_from(file)?,
        None => system_roots()?,
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| TlsError::Rustls(rustls::Error::General(error.to_string())))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoSystemCa) } else { Ok(roots) }
}

fn roots_from(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| ca_error(file, error))? {
        let certificate = certificate.map_err(|error| ca_error(file, error))?;
        roots.add(certificate).map_err(|error| ca_error(file, error))?;
    }
    if roots.is_empty() { Err(ca_error(file, "no certificate in it")) } else { Ok(roots) }
}

fn ca_error(file: &Path, reason: impl ToString) -> TlsError {
    TlsError::Ca { file: file.to_owned(), reason: reason.to_string() }
}

/// `client_ca`: signed by one of these CAs, for whatever purpose. Public CAs certify servers alone now (the browsers' rules, 2026), and a
/// carrier such as Microsoft Teams shows the one certificate that it has in both roles.
#[derive(Debug)]
struct AnyPurpose {
    clients: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyPurpose {
    fn new(client_ca: &Path, provider: Arc<CryptoProvider>) -> Result<AnyPurpose, TlsError> {
        let roots = Arc::new(roots_from(client_ca)?);
        let algorithms = provider.signature_verification_algorithms;
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider)
            .build()
            .map_err(|error| ca_error(client_ca, error))?;
        Ok(AnyPurpose { clients, roots, algorithms })
    }
}

impl ClientCertVerifier for AnyPurpose {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.clients.verify_client_cert(end_entity, intermediates, now) {
            Err(rustls::Error::InvalidCertificate(
                Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. },
            )) => {
                let leaf = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(
                    &leaf,
                    &self.roots,
                    intermediates,
                    now,
                    algorithms,
                )?;
                Ok(ClientCertVerified::assertion())
            }
            verdict => verdict,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients.verify_tls12_signature(message, certificate, signature)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients.verify_tls13_signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

/// `verify: chain`: signed by a CA that we trust, whatever its name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: everything else was in order.
            Err(rustls::Error::InvalidCertificate(
                Reason::NotValidForName | Reason::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// `verify: none`: whoever holds the key of the certificate that is shown.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}
