//! TLS to targets: whom the node believes (RFC 5922), and that it calls nobody else.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use turnpike::base::Transport;
use turnpike::edge::settings::Verify;

use crate::harness::*;

struct Certificate {
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: String,
}

fn certificate(name: &str) -> Certificate {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    Certificate { der: made.cert.der().clone(), key, pem: made.cert.pem() }
}

/// A PBX that shows this certificate, to one connection, and is busy. True if an INVITE reached it.
fn pbx(shown: &Certificate) -> (SocketAddr, JoinHandle<bool>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.der.clone()], shown.key.clone_key())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() {
            if connection.complete_io(&mut tcp).is_err() {
                return false;
            }
        }
        let mut stream = StreamOwned::new(connection, tcp);
        let Some(invite) = try_read_message(&mut stream) else { return false };
        stream.write_all(answer(&invite, "486 Busy Here", addr, "").as_bytes()).unwrap();
        let _ = try_read_message(&mut stream); // the ACK
        true
    });
    (addr, thread)
}

/// The status of a call to a PBX that shows `shown`, when the node expects "localhost" and trusts `ca`.
fn called(shown: &Certificate, ca: &Certificate, verify: Verify) -> u16 {
    let (addr, reached) = pbx(shown);
    let write = |folder: &Path| {
        let file = folder.join("ca.pem");
        fs::write(&file, &ca.pem).unwrap();
        file
    };
    let (node, _dir) = node(|settings| {
        with_pbx(settings, Transport::Tls, addr);
        settings.edge.tls_peers[0].verify = verify;
        settings.net.tls_peers[0].ca = Some(write(&settings.net.data_dir));
    });
    let udp = Udp::new(node.listener("udp").unwrap());
    let status = udp.ask(&request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr()));
    drop(node);
    assert_eq!(reached.join().unwrap(), status == 486, "{status}");
    status
}

#[test]
fn only_a_target_that_can_prove_itself_is_called() {
    let (right, wrong_name, other) =
        (certificate("localhost"), certificate("pbx.example"), certificate("localhost"));
    for (shown, ca, verify, reached) in [
        (&right, &right, Verify::Name, true),
        (&wrong_name, &wrong_name, Verify::Name, false),
        (&right, &other, Verify::Name, false),
        (&wrong_name, &wrong_name, Verify::Chain, true),
        (&right, &other, Verify::Chain, false),
        (&wrong_name, &other, Verify::None, true),
    ] {
        let status = called(shown, ca, verify);
        assert_eq!(status == 486, reached, "{verify:?}: {status}");
        assert!(reached || status >= 500, "{verify:?}: {status}");
    }
}

#[test]
fn a_target_that_never_shakes_hands_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (node, _dir) = node(|settings| {
        with_pbx(settings, Transport::Tls, silent.local_addr().unwrap());
        settings.edge.tls_peers[0].verify = Verify::None;
        settings.edge.pbx.as_mut().unwrap().failover.after = DEADLINE;
        settings.net.patience.handshake = Duration::from_millis(100);
    });
    let udp = Udp::new(node.listener("udp").unwrap());
    let start = Instant::now();
    let status = udp.ask(&request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr()));
    assert!(status >= 500, "{status}");
    assert!(start.elapsed() < DEADLINE / 2, "by the handshake's time-out, not by the call's");
    assert_eq!(node.status().unwrap().connections, 0);
}
