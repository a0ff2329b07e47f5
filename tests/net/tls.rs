//! TLS on listeners.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use turnpike::base::Transport;
use turnpike::net::settings::{Certificate, CertificateSource};

use crate::harness::*;

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Trusts only the certificate in `ca`.
pub fn connect(to: SocketAddr, ca: &Path, versions: &[&'static SupportedProtocolVersion]) -> Tls {
    over(tcp(to), ca, versions)
}

/// The same over a connection of the caller's.
pub fn over(stream: TcpStream, ca: &Path, versions: &[&'static SupportedProtocolVersion]) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(connection, stream)
}

/// To a node whose certificate was made on its first start in `dir`.
pub fn connect_to_demo(to: SocketAddr, dir: &Path) -> Tls {
    connect(to, &dir.join("certificates/demo.pem"), &[&rustls::version::TLS13])
}

/// A handshake that offers these protocols (ALPN) and does not look at the certificate's signer; the name asked for, and what
/// was shown and chosen.
fn shake_hands(
    to: SocketAddr,
    name: &'static str,
    offered: &[&str],
) -> std::io::Result<(CertificateDer<'static>, Option<Vec<u8>>)> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut connection = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
    let mut stream = tcp(to);
    connection.complete_io(&mut stream)?;
    let shown = connection.peer_certificates().unwrap()[0].clone().into_owned();
    Ok((shown, connection.alpn_protocol().map(<[u8]>::to_vec)))
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// RFC 6066 §3.
#[test]
fn of_several_certificates_the_one_for_the_name_is_shown_else_the_first() {
    let (node, dir) = node(|settings| {
        let source = CertificateSource::SelfSigned { names: vec!["sip.second.test".into()] };
        settings.net.certificates.push(Certificate { name: "second".into(), source });
        settings.net.listeners[2].as_mut().unwrap().certificates = vec![0, 1];
    });
    let to = node.listener("tls").unwrap();
    let kept = |name: &str| {
        CertificateDer::from_pem_file(dir.path().join(format!("certificates/{name}.pem"))).unwrap()
    };
    for (name, expected) in [
        ("localhost", "demo"),
        ("sip.second.test", "second"),
        ("sip.third.test", "demo"),
        // A client that calls an address asks for no name.
        ("127.0.0.1", "demo"),
    ] {
        assert_eq!(shake_hands(to, name, &[]).unwrap().0, kept(expected), "{name}");
    }
}

/// RFC 7301 §3.2.
#[test]
fn a_client_that_speaks_something_else_than_sip_is_refused_and_one_that_says_nothing_is_not() {
    let (node, _dir) = node(|_| {});
    let to = node.listener("tls").unwrap();
    for (offered, chosen) in [
        (&["sip/2"][..], Some("sip/2")),
        (&["sip"], Some("sip")),
        (&["h2", "sip/2"], Some("sip/2")),
        (&[], None),
    ] {
        let (_, protocol) = shake_hands(to, "localhost", offered).unwrap();
        assert_eq!(protocol.as_deref(), chosen.map(str::as_bytes), "{offered:?}");
    }
    for offered in [&["h2"][..], &["h2", "http/1.1"]] {
        let refused = shake_hands(to, "localhost", offered).unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    }
}

fn assert_served(stream: &mut Tls, to: SocketAddr) {
    let ask = options(Transport::Tls, "127.0.0.1:9".parse().unwrap(), to);
    stream.write_all(ask.as_bytes()).unwrap();
    assert_eq!(status(&read_message(stream)), 200);
}

#[test]
fn a_self_signed_certificate_is_made_and_serves_both_versions() {
    let (node, dir) = node(|_| {});
    let to = node.listener("tls").unwrap();
    let ca = dir.path().join("certificates/demo.pem");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut stream = connect(to, &ca, &[version]);
        assert_served(&mut stream, to);
        stream.write_all(b"\r\n\r\n").unwrap();
        let mut pong = [0; 2];
        stream.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\r\n");
    }
}

#[test]
fn plain_text_on_a_tls_port_is_closed() {
    let (node, _dir) = node(|_| {});
    let to = node.listener("tls").unwrap();
    let mut plain = tcp(to);
    plain.write_all(options(Transport::Tcp, "127.0.0.1:9".parse().unwrap(), to).as_bytes()).unwrap();
    read_to_close(&mut plain);
}

#[test]
fn a_renewed_certificate_serves_the_next_handshake_and_open_connections_go_on() {
    let files = tempfile::tempdir().unwrap();
    let (chain, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    renew();
    let (node, _dir) = node(|settings| {
        settings.net.certificates[0].source =
            CertificateSource::Files { chain: chain.clone(), key: key.clone() };
    });
    let to = node.listener("tls").unwrap();
    let mut old = connect(to, &chain, &[&rustls::version::TLS13]);
    assert_served(&mut old, to);
    let before = std::fs::metadata(&chain).unwrap().modified().unwrap();
    eventually("a new modification time", || {
        renew();
        std::fs::metadata(&chain).unwrap().modified().unwrap() != before
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.handle().reload()).unwrap();
    // The client trusts the new one alone.
    let mut new = connect(to, &chain, &[&rustls::version::TLS13]);
    assert_served(&mut new, to);
    assert_served(&mut old, to);
}
