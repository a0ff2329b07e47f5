//! Certificates on both sides: who speaks as a trunk by its certificate, and what we show to a carrier that asks (RFC 5922).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use turnpike::base::Transport;
use turnpike::edge::settings::{Admit, Trunk, Verify};
use turnpike::net::settings::{Certificate, CertificateSource};

use crate::harness::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate with this name, as PEM of chain and key.
fn signed(authority: &Authority, name: SanType) -> (String, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![name];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key)
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn der(pem: &str) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(der(pem)).unwrap();
    roots
}

/// A client of the listener that shows this certificate; `None`: none.
fn client(
    to: SocketAddr,
    node_ca: &Path,
    shown: Option<&(String, KeyPair)>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&std::fs::read_to_string(node_ca).unwrap()));
    let config = match shown {
        Some((pem, key)) => builder.with_client_auth_cert(vec![der(pem)], private(key)).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(connection, tcp(to))
}

/// A node whose zone is for trunks alone, and whose TLS listener asks for certificates of this authority.
fn node_for_trunks(authority: &Authority) -> (turnpike::net::Node, tempfile::TempDir) {
    let ca = authority.pem();
    node(|settings| {
        with_pbx(settings, Transport::Udp, "127.0.0.9:9".parse().unwrap());
        let file = settings.net.data_dir.join("carriers-ca.pem");
        std::fs::write(&file, &ca).unwrap();
        settings.net.listeners[2].as_mut().unwrap().client_ca = Some(file);
        settings.edge.zones[0].admit = Admit::Trunks;
        let known_by =
            |name: &str, shown: &str| Trunk { accept_names: vec![shown.into()], ..trunk(settings, name) };
        settings.edge.trunks = vec![known_by("acme", "sip.acme.test"), known_by("bravo", "sbc.bravo.test")];
    })
}

/// What a call over this connection is answered.
fn call(stream: &mut (impl Read + Write), to: SocketAddr) -> u16 {
    let invite = request("INVITE", &format!("sip:200@{to}"), Transport::Tls, "127.0.0.1:9".parse().unwrap());
    stream.write_all(invite.as_bytes()).unwrap();
    loop {
        let answer = read_message(stream);
        if status(&answer) >= 200 {
            return status(&answer);
        }
    }
}

#[test]
fn a_trunk_is_known_by_the_name_of_its_certificate() {
    let authority = authority();
    let (node, dir) = node_for_trunks(&authority);
    let to = node.listener("tls").unwrap();
    let ca = dir.path().join("certificates/demo.pem");
    let uri = SanType::URI("sip:sip.acme.test".try_into().unwrap());
    for name in [dns("sip.acme.test"), dns("SBC.Bravo.test"), uri] {
        let mut stream = client(to, &ca, Some(&signed(&authority, name)));
        assert_eq!(call(&mut stream, to), 503, "it may call; that the PBX is not there is another matter");
    }
    for stranger in ["sip.acme.test.evil.test", "acme.test", "*.acme.test", "localhost"] {
        let mut stream = client(to, &ca, Some(&signed(&authority, dns(stranger))));
        assert_eq!(call(&mut stream, to), 403, "{stranger}");
    }
}

/// Public CAs certify nothing but servers any more (2026), and carriers show what they have.
#[test]
fn a_certificate_for_servers_alone_is_as_good() {
    let authority = authority();
    let (node, dir) = node_for_trunks(&authority);
    let to = node.listener("tls").unwrap();
    let mut params = CertificateParams::new(vec!["sip.acme.test".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let shown = (params.signed_by(&key, &authority).unwrap().pem(), key);
    let mut stream = client(to, &dir.path().join("certificates/demo.pem"), Some(&shown));
    assert_eq!(call(&mut stream, to), 503, "it may call; that the PBX is not there is another matter");
}

#[test]
fn who_shows_none_or_another_authoritys_does_not_get_in() {
    let (ours, others) = (authority(), authority());
    let (node, dir) = node_for_trunks(&ours);
    let to = node.listener("tls").unwrap();
    let ca = dir.path().join("certificates/demo.pem");
    let forged = signed(&others, dns("sip.acme.test"));
    for shown in [None, Some(&forged)] {
        let mut stream = client(to, &ca, shown);
        let ask = options(Transport::Tls, "127.0.0.1:9".parse().unwrap(), to);
        // TLS 1.3 lets a client write before it hears that it is refused.
        let _ = stream.write_all(ask.as_bytes());
        assert!(try_read_message(&mut stream).is_none());
    }
}

/// RFC 5630 has no word for it, but carriers (Microsoft Teams among them) have: they want to see who calls.
#[test]
fn a_carrier_that_asks_for_a_certificate_is_shown_ours() {
    let authority = authority();
    let (pem, key) = signed(&authority, dns("edge.example"));
    let shown_by_pbx = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&authority.pem())), provider.clone())
            .build()
            .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![shown_by_pbx.cert.der().clone()],
            PrivateKeyDer::try_from(shown_by_pbx.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let carrier = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), tcp);
        let invite = read_message(&mut stream);
        let shown = stream.conn.peer_certificates().unwrap()[0].clone();
        stream.write_all(answer(&invite, "486 Busy Here", addr, "").as_bytes()).unwrap();
        let _ = try_read_message(&mut stream);
        shown
    });
    let (node, _dir) = node(|settings| {
        with_pbx(settings, Transport::Tls, addr);
        let (chain, private) = (settings.net.data_dir.join("us.pem"), settings.net.data_dir.join("us.key"));
        std::fs::write(&chain, &pem).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        let source = CertificateSource::Files { chain, key: private };
        settings.net.certificates.push(Certificate { name: "us".into(), source });
        let ca = settings.net.data_dir.join("ca.pem");
        std::fs::write(&ca, shown_by_pbx.cert.pem()).unwrap();
        settings.edge.tls_peers[0].verify = Verify::Name;
        (settings.net.tls_peers[0].ca, settings.net.tls_peers[0].certificate) = (Some(ca), Some(1));
    });
    let udp = Udp::new(node.listener("udp").unwrap());
    assert_eq!(udp.ask(&request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr())), 486);
    drop(node);
    assert_eq!(carrier.join().unwrap(), der(&pem));
}
