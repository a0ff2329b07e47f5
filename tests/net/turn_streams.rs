//! TURN over TCP and TLS, against a running node: real sockets on loopback.

use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind};
use turnpike::net::Node;
use turnpike::net::settings::{CertificateSource, TurnListener, TurnSettings, TurnTransport};
use turnpike::stun::{Class, Method, TransactionId, Writer};

use crate::harness::{DEADLINE, eventually, read_to_close, tcp};
use crate::turn::{peer, receive, talks_both_ways, turn_node_with};
use crate::turn_client::{Received, TurnClient, Wire};
use crate::turn_stream::{Stream, Tls, over_tcp, over_tls, trusting};

/// Beside the one for UDP: `tcp`, and `tls` with the demo certificate.
pub fn listeners(turn: &mut TurnSettings) {
    for (name, transport) in [("tcp", TurnTransport::Tcp), ("tls", TurnTransport::Tls)] {
        turn.listeners.push(TurnListener {
            name: name.into(),
            bind: "127.0.0.1:0".parse().unwrap(),
            advertise: "127.0.0.1:0".into(),
            transport,
            certificate: (transport == TurnTransport::Tls).then_some(0),
        });
    }
}

fn node(workers: usize) -> (Node, tempfile::TempDir) {
    turn_node_with(workers, listeners, |_| ())
}

pub fn demo(dir: &Path) -> Arc<ClientConfig> {
    trusting(&dir.join("certificates/demo.pem"))
}

fn alice_over_tcp(node: &Node) -> TurnClient {
    TurnClient::new(over_tcp(node.turn_listener("tcp").unwrap()), "alice", "alice")
}

fn alice_over_tls(node: &Node, dir: &Path) -> TurnClient {
    TurnClient::new(over_tls(node.turn_listener("tls").unwrap(), demo(dir)), "alice", "alice")
}

fn both(node: &Node, dir: &Path) -> [TurnClient; 2] {
    [alice_over_tcp(node), alice_over_tls(node, dir)]
}

#[test]
fn data_goes_both_ways_by_indication_and_by_channel() {
    for workers in [1, 2] {
        let (node, dir) = node(workers);
        both(&node, dir.path()).into_iter().for_each(talks_both_ways);
    }
}

/// In the process, headers and padding are written round packets that stand in the middle of a stream.
#[test]
fn data_goes_from_one_client_to_another() {
    for workers in [1, 3] {
        let (node, dir) = node(workers);
        let [mut plain, mut secure] = both(&node, dir.path());
        let (at_plain, at_secure) = (plain.allocate(), secure.allocate());
        assert_eq!((plain.bind(0x4001, at_secure), secure.permit(at_plain)), (0, 0));
        let sizes = [0, 1, 2, 3, 4, 5, 60, 61, 62, 63, 1200];
        for size in sizes {
            plain.send_on(0x4001, &vec![size as u8; size]);
        }
        for size in sizes {
            assert_eq!(secure.receive(), Received::Data(at_plain, vec![size as u8; size]));
            secure.send(at_plain, &vec![size as u8; size]);
        }
        for size in sizes {
            assert_eq!(plain.receive(), Received::Channel(0x4001, vec![size as u8; size]));
        }
    }
}

#[test]
fn an_allocation_ends_with_its_connection() {
    let (node, dir) = node(1);
    for mut alice in both(&node, dir.path()) {
        let relayed = alice.allocate();
        assert!(UdpSocket::bind(relayed).is_err());
        drop(alice);
        eventually("the port is free", || UdpSocket::bind(relayed).is_ok());
    }
}

#[test]
fn one_source_has_so_many_connections() {
    let (node, dir) =
        turn_node_with(2, listeners, |settings| settings.net.capacity.connections_per_source = 2);
    let [mut first, mut second] = both(&node, dir.path());
    first.allocate();
    let relayed = second.allocate();
    for listener in ["tcp", "tls"] {
        assert!(read_to_close(&mut tcp(node.turn_listener(listener).unwrap())).is_empty());
    }
    drop(second);
    eventually("the place is free", || UdpSocket::bind(relayed).is_ok());
    let mut third = alice_over_tcp(&node);
    third.allocate();
}

#[test]
fn strangers_who_speak_something_else_are_closed_and_others_are_served() {
    let (node, dir) = node(2);
    let [mut plain, mut secure] = both(&node, dir.path());
    let (bob, bob_addr) = peer();
    let clients = [&mut plain, &mut secure].map(|alice| {
        let relayed = alice.allocate();
        assert_eq!(alice.bind(0x4000, bob_addr), 0);
        (alice, relayed)
    });
    let old_hello =
        [&[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    for said in
        [&b"GET / HTTP/1.1\r\nHost: turn\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", &[0xff; 3000], &old_hello]
    {
        for listener in ["tcp", "tls"] {
            let mut stranger = tcp(node.turn_listener(listener).unwrap());
            stranger.write_all(said).unwrap();
            let answer = read_to_close(&mut stranger);
            // Over TLS an alert may say why.
            assert!(
                answer.is_empty() || listener == "tls" && answer.starts_with(&[0x15, 3]),
                "{answer:02x?}"
            );
        }
    }
    for (alice, relayed) in clients {
        alice.send_on(0x4000, b"still here");
        assert_eq!(receive(&bob), (b"still here".to_vec(), relayed));
    }
}

/// A Binding request.
fn binding() -> Vec<u8> {
    let mut request = Vec::new();
    Writer::begin(&mut request, Class::Request, Method::BINDING, TransactionId([7; 12]));
    request
}

#[test]
fn a_session_is_resumed_whichever_worker_has_the_connection() {
    let (node, dir) = node(4);
    let (to, config) = (node.turn_listener("tls").unwrap(), demo(dir.path()));
    let kinds: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = over_tls(to, config.clone());
            stream.send(&binding());
            stream.receive(DEADLINE).unwrap();
            stream.stream.conn.handshake_kind()
        })
        .collect();
    assert_eq!(kinds[0], Some(HandshakeKind::Full));
    assert!(kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
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
    let (node, _dir) = turn_node_with(1, listeners, |settings| {
        settings.net.certificates[0].source =
            CertificateSource::Files { chain: chain.clone(), key: key.clone() };
    });
    let to = node.turn_listener("tls").unwrap();
    let mut old = over_tls(to, trusting(&chain));
    let is_served = |stream: &mut Stream<Tls>| {
        stream.send(&binding());
        assert!(stream.receive(DEADLINE).is_some());
    };
    is_served(&mut old);
    let before = std::fs::metadata(&chain).unwrap().modified().unwrap();
    eventually("a new modification time", || {
        renew();
        std::fs::metadata(&chain).unwrap().modified().unwrap() != before
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(node.handle().reload()).unwrap();
    let renewed = || {
        // The client trusts the new one alone.
        let mut new = over_tls(to, trusting(&chain));
        new.stream.conn.complete_io(&mut new.stream.sock).is_ok()
    };
    eventually("the new certificate", renewed);
    is_served(&mut over_tls(to, trusting(&chain)));
    is_served(&mut old);
}
