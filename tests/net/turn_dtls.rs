//! TURN over DTLS, against a running node: real sockets on loopback.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use turnpike::net::Node;
use turnpike::net::settings::{CertificateSource, TurnListener, TurnSettings, TurnTransport};
use turnpike::stun::{Class, Method, TransactionId, Writer};

use crate::dtls_client::{begin, over_dtls};
use crate::harness::{DEADLINE, eventually};
use crate::turn::{peer, receive, talks_both_ways, turn_node_with};
use crate::turn_client::{TurnClient, Wire};

/// Beside the one for UDP: `dtls` with the demo certificate.
pub fn listeners(turn: &mut TurnSettings) {
    turn.listeners.push(TurnListener {
        name: "dtls".into(),
        bind: "127.0.0.1:0".parse().unwrap(),
        advertise: "127.0.0.1:0".into(),
        transport: TurnTransport::Dtls,
        certificate: Some(0),
    });
}

fn node(workers: usize) -> (Node, tempfile::TempDir) {
    turn_node_with(workers, listeners, |_| ())
}

fn alice(node: &Node) -> TurnClient {
    TurnClient::new(over_dtls(node.turn_listener("dtls").unwrap()), "alice", "alice")
}

#[test]
fn data_goes_both_ways_by_indication_and_by_channel() {
    for workers in [1, 2] {
        let (node, _dir) = node(workers);
        talks_both_ways(alice(&node));
    }
}

/// RFC 6347 §4.1.1: a datagram may hold several records.
#[test]
fn several_messages_may_come_in_one_datagram() {
    let (node, _dir) = node(1);
    let mut dtls = over_dtls(node.turn_listener("dtls").unwrap());
    let binding = |number: u8| {
        let mut wire = Vec::new();
        Writer::begin(&mut wire, Class::Request, Method::BINDING, TransactionId([number; 12]));
        wire
    };
    let asked: Vec<Vec<u8>> = (0..6).map(binding).collect();
    dtls.send_together(&asked.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for number in 0..6 {
        let answer = dtls.receive(DEADLINE).unwrap();
        let message = turnpike::stun::Message::parse(&answer).unwrap();
        assert_eq!(message.transaction_id(), TransactionId([number; 12]));
        assert_eq!(message.xor_mapped_address(), Ok(Some(dtls.socket.local_addr().unwrap())));
    }
}

#[test]
fn an_allocation_ends_with_its_association() {
    let (node, _dir) = node(2);
    let mut alice = alice(&node);
    let relayed = alice.allocate();
    assert!(UdpSocket::bind(relayed).is_err());
    drop(alice);
    eventually("the port is free", || UdpSocket::bind(relayed).is_ok());
}

/// RFC 6347 §4.2.8: a client that lost its association, and has its port still.
#[test]
fn a_client_that_comes_anew_has_no_allocation() {
    let (node, _dir) = node(2);
    let before = over_dtls(node.turn_listener("dtls").unwrap());
    let socket = before.socket.try_clone().unwrap();
    let mut alice = TurnClient::new(before, "alice", "alice");
    let relayed = alice.allocate();
    let mut anew = TurnClient::new(begin(socket), "alice", "alice");
    assert_eq!(anew.refresh(600), 437);
    eventually("the old port is free", || UdpSocket::bind(relayed).is_ok());
    anew.allocate();
}

#[test]
fn one_source_has_so_many_associations_and_connections() {
    let (node, _dir) =
        turn_node_with(2, listeners, |settings| settings.net.capacity.connections_per_source = 2);
    let (_first, second) = (alice(&node), over_dtls(node.turn_listener("dtls").unwrap()));
    let mut third = begin(UdpSocket::bind("127.0.0.1:0").unwrap());
    third.socket.connect(node.turn_listener("dtls").unwrap()).unwrap();
    assert!(third.wait(DEADLINE, |third| third.is_refused));
    drop(second);
    eventually("a free place", || {
        let mut fourth = begin(UdpSocket::bind("127.0.0.1:0").unwrap());
        fourth.socket.connect(node.turn_listener("dtls").unwrap()).unwrap();
        fourth.wait(DEADLINE, |fourth| fourth.is_refused || fourth.is_connected) && fourth.is_connected
    });
}

/// ATTACKS.md: reflection, half-open DTLS, garbage on the TURN port.
#[test]
fn whoever_has_not_shown_that_the_address_is_theirs_gets_little_and_costs_nothing() {
    let (node, _dir) = turn_node_with(1, listeners, |settings| {
        // Not even one half-open association more.
        settings.net.capacity.connections_per_source = 1;
    });
    let to = node.turn_listener("dtls").unwrap();
    for _ in 0..50 {
        let mut stranger = begin(UdpSocket::bind("127.0.0.1:0").unwrap());
        stranger.socket.connect(to).unwrap();
        let asked = stranger.say_bytes();
        stranger.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let answered = stranger.socket.recv(&mut [0; 65_536]).unwrap();
        assert!(answered <= asked, "{answered} for {asked}");
    }
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut request = Vec::new();
    Writer::begin(&mut request, Class::Request, Method::BINDING, TransactionId([7; 12]));
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &request, &[22, 0xfe, 0xfd], &[23; 1500], &[0x40; 200], b""]
    {
        stranger.send_to(garbage, to).unwrap();
    }
    alice(&node).allocate();
    stranger.set_nonblocking(true).unwrap();
    assert_eq!(stranger.recv(&mut [0; 1500]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn who_does_not_allocate_is_said_good_bye() {
    let (node, _dir) = turn_node_with(1, listeners, |settings| {
        settings.net.patience.message = Duration::from_millis(500);
    });
    let mut stranger = over_dtls(node.turn_listener("dtls").unwrap());
    assert!(stranger.wait(DEADLINE, |stranger| stranger.is_closed));
}

#[test]
fn a_renewed_certificate_serves_the_next_handshake_and_open_associations_go_on() {
    let files = tempfile::tempdir().unwrap();
    let (chain, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    renew();
    let (node, _dir) = turn_node_with(1, listeners, |settings| {
        settings.net.certificates[0].source =
            CertificateSource::Files { chain: chain.clone(), key: key.clone() };
    });
    let to = node.turn_listener("dtls").unwrap();
    let shown = || over_dtls(to).certificate.take().unwrap();
    let on_disk = || CertificateDer::from_pem_file(&chain).unwrap().to_vec();
    let mut old = alice(&node);
    let relayed = old.allocate();
    assert_eq!(shown(), on_disk());
    let before = std::fs::metadata(&chain).unwrap().modified().unwrap();
    eventually("a new modification time", || {
        renew();
        std::fs::metadata(&chain).unwrap().modified().unwrap() != before
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.handle().reload()).unwrap();
    eventually("the new certificate", || shown() == on_disk());
    let (bob, bob_addr) = peer();
    assert_eq!(old.permit(bob_addr), 0);
    old.send(bob_addr, b"still here");
    assert_eq!(receive(&bob), (b"still here".to_vec(), relayed));
}

#[test]
fn a_certificate_of_a_kind_that_dtls_cannot_use_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let made = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(&chain, made.pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let mut settings = crate::harness::settings(dir.path());
    settings.net.certificates[0].source = CertificateSource::Files { chain, key };
    let mut turn = crate::turn::settings();
    listeners(&mut turn);
    settings.net.turn = Some(turn);
    let error = Node::start(settings).err().unwrap().to_string();
    assert!(error.contains("'demo': DTLS needs an ECDSA key"), "{error}");
}
