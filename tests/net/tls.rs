//! TLS on listeners.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use turnpike::base::Transport;
use turnpike::net::settings::CertificateSource;

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
