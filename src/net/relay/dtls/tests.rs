//! With dimpl's client at the other end, a clock that is set by hand, and no socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};

use super::hello::Hello;
use super::*;
use crate::net::settings::{Capacity, Certificate, CertificateSource};

const ALICE: &str = "192.0.2.1:5000";
const BOB: &str = "192.0.2.2:5000";

type Sent = Vec<(SocketAddr, Vec<u8>)>;

impl Outbound for Sent {
    fn send(&mut self, _: usize, to: SocketAddr, datagram: &[u8]) {
        self.push((to, datagram.to_vec()));
    }
}

/// The server's side.
struct Server {
    associations: Associations,
    /// Whether it sends back what it is sent.
    echoes: bool,
    messages: Vec<(FiveTuple, Vec<u8>)>,
    now: Instant,
    _dir: tempfile::TempDir,
}

impl Server {
    fn new(capacity: Capacity) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let source = CertificateSource::SelfSigned { names: vec!["localhost".into()] };
        let certificate = Certificate { name: "demo".into(), source };
        let certificate = Arc::new(OwnCertificate::load(&certificate, dir.path()).unwrap());
        let settings = Settings {
            places: Places::new(capacity),
            patience: Patience::default(),
            certificates: vec![Some(certificate)],
        };
        let now = Instant::now();
        let associations = Associations::new(settings, [7; 32], Arc::default(), now).unwrap();
        Server { associations, echoes: false, messages: Vec::new(), now, _dir: dir }
    }

    /// Receives a datagram; what is sent back to its source.
    fn receive(&mut self, from: &str, datagram: &[u8]) -> Vec<Vec<u8>> {
        let Server { associations, echoes, messages, now, .. } = self;
        let (from, mut out) = (from.parse().unwrap(), Sent::new());
        associations.handle_datagram(0, from, datagram, *now, &mut out);
        let (mut room, mut at) = (datagram.to_vec(), 0);
        while let Some((client, length)) = associations.next_message(&mut room[at..], *now, &mut out) {
            let message = &room[at..at + length];
            messages.push((client, message.to_vec()));
            if *echoes {
                associations.send(client, message, &mut out);
            }
            at += length;
        }
        answers(out, from)
    }

    /// Lets time pass; what is sent to `to`.
    fn wait(&mut self, time: Duration, to: &str) -> Vec<Vec<u8>> {
        self.now += time;
        let mut out = Sent::new();
        self.associations.handle_timeout(self.now, &mut out);
        answers(out, to.parse().unwrap())
    }

    /// Sends a message to a client.
    fn send(&mut self, to: FiveTuple, message: &[u8]) -> Vec<Vec<u8>> {
        let mut out = Sent::new();
        self.associations.send(to, message, &mut out);
        answers(out, to.client.0)
    }

    fn closed(&self, why: Closed) -> u64 {
        self.associations.counters.read().closed().find(|(of, _)| *of == why).unwrap().1
    }

    fn open(&self) -> usize {
        assert_eq!(self.associations.by_client.len(), self.associations.associations.len());
        assert_eq!(self.associations.counters.connections.get(), self.associations.associations.len() as u64);
        self.associations.associations.len()
    }
}

fn answers(out: Sent, to: SocketAddr) -> Vec<Vec<u8>> {
    assert!(out.iter().all(|(whom, _)| *whom == to), "only {to} is answered");
    out.into_iter().map(|(_, datagram)| datagram).collect()
}

/// A client, and what it has read.
struct Client {
    dtls: Dtls,
    is_connected: bool,
    is_closed: bool,
    messages: Vec<Vec<u8>>,
}

impl Client {
    fn new(now: Instant) -> Client {
        let config = Config::builder().require_client_certificate(false).build().unwrap();
        Client::with(config, now)
    }

    fn with(config: Config, now: Instant) -> Client {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let certificate =
            DtlsCertificate { certificate: certificate.der().to_vec(), private_key: key.serialize_der() };
        let mut dtls = Dtls::new_12(Arc::new(config), certificate, now);
        dtls.set_active(true);
        dtls.handle_timeout(now).unwrap();
        Client { dtls, is_connected: false, is_closed: false, messages: Vec::new() }
    }

    /// What it has to send.
    fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let (mut buffer, mut datagrams) = (vec![0; 65_536], Vec::new());
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(datagram) => datagrams.push(datagram.to_vec()),
                Output::ApplicationData(message) => self.messages.push(message.to_vec()),
                Output::Connected => self.is_connected = true,
                Output::CloseNotify => self.is_closed = true,
                Output::Timeout(_) => return datagrams,
                _ => {}
            }
        }
    }

    fn receive(&mut self, datagrams: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        for datagram in datagrams {
            self.dtls.handle_packet(&datagram).unwrap();
        }
        self.datagrams()
    }

    /// To and fro until both are silent.
    fn talk(&mut self, server: &mut Server, from: &str) {
        let mut to_server = self.datagrams();
        while !to_server.is_empty() {
            let to_client = to_server.iter().flat_map(|datagram| server.receive(from, datagram)).collect();
            to_server = self.receive(to_client);
        }
    }

    fn send(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        self.dtls.send_application_data(message).unwrap();
        self.datagrams()
    }
}

fn connected(server: &mut Server, from: &str) -> Client {
    let mut client = Client::new(server.now);
    client.talk(server, from);
    assert!(client.is_connected);
    client
}

#[test]
fn messages_pass_both_ways_and_close_notify_ends_it() {
    let mut server = Server::new(Capacity::default());
    let mut client = connected(&mut server, ALICE);
    assert_eq!(server.open(), 1);
    server.echoes = true;
    for message in [&b"one"[..], b"", &[7; 1400], &[8; 1 << 14]] {
        for datagram in client.send(message) {
            let answer = server.receive(ALICE, &datagram);
            assert_eq!(answer.len(), 1);
            client.receive(answer);
        }
        assert_eq!(server.messages.last().unwrap().1, message);
        assert_eq!(client.messages.last().unwrap(), message);
    }
    let five_tuple = server.messages[0].0;
    assert_eq!((five_tuple.client.0, five_tuple.carrier), (ALICE.parse().unwrap(), Carrier::Dtls));
    client.dtls.close().unwrap();
    let good_bye = client.datagrams();
    let answer = server.receive(ALICE, &good_bye[0]);
    assert_eq!(answer.len(), 1, "RFC 5246 §7.2.1: close_notify is answered with one");
    client.receive(answer);
    assert!(client.is_closed);
    assert_eq!((server.open(), server.associations.next_closed()), (0, Some(five_tuple)));
    assert_eq!(server.associations.next_closed(), None);
    assert!(server.receive(ALICE, &good_bye[0]).is_empty());
}

/// RFC 6347 §4.2.1; ATTACKS.md: reflection, half-open DTLS.
#[test]
fn nothing_is_kept_for_whoever_has_not_shown_the_cookie() {
    let mut server = Server::new(Capacity::default());
    let mut client = Client::new(server.now);
    let hello = client.datagrams().remove(0);
    for port in 1..200 {
        let victim = format!("198.51.100.7:{port}");
        let answer = server.receive(&victim, &hello);
        assert_eq!(answer.len(), 1);
        assert!(answer[0].len() <= hello.len(), "{} for {}", answer[0].len(), hello.len());
    }
    assert_eq!((server.open(), server.associations.next_due()), (0, None));
    // The cookie of one address is no good at another, nor is that of another ClientHello or of long ago.
    let request = server.receive(ALICE, &hello);
    let with_cookie = client.receive(request).remove(0);
    for (time, from) in [(0, BOB), (0, "192.0.2.1:5001"), (61, ALICE)] {
        server.wait(Duration::from_secs(time), from);
        let answer = server.receive(from, &with_cookie);
        assert_eq!(answer.len(), 1);
        assert!(answer[0].len() <= with_cookie.len());
        assert_eq!(server.open(), 0);
    }
    let mut other = with_cookie.clone();
    other[13 + 12 + 2] ^= 1; // its random
    assert!(server.receive(ALICE, &other)[0].len() <= other.len());
    assert_eq!(server.open(), 0);
}

#[test]
fn a_cookie_is_good_for_a_while() {
    let mut server = Server::new(Capacity::default());
    let mut client = Client::new(server.now);
    let request = server.receive(ALICE, &client.datagrams()[0]);
    let with_cookie = client.receive(request);
    server.wait(Duration::from_secs(30), ALICE);
    let flight = server.receive(ALICE, &with_cookie[0]);
    assert_eq!(server.open(), 1);
    // RFC 6347 §4.2.1: the answers have the number of what they answer.
    let sequence = Hello::read(&with_cookie[0]).unwrap().sequence;
    assert_eq!(flight[0][5..11], sequence);
}

#[test]
fn a_lost_flight_is_sent_again() {
    let mut server = Server::new(Capacity::default());
    let mut client = Client::new(server.now);
    let request = server.receive(ALICE, &client.datagrams()[0]);
    let with_cookie = client.receive(request);
    let lost = server.receive(ALICE, &with_cookie[0]);
    let due = server.associations.next_due().unwrap();
    let again = server.wait(due - server.now, ALICE);
    assert_eq!(again.len(), lost.len());
    let to_server = client.receive(again);
    let mut to_client: Vec<_> = to_server.iter().flat_map(|one| server.receive(ALICE, one)).collect();
    // The final flight is lost too: the client repeats its own.
    assert!(!std::mem::take(&mut to_client).is_empty());
    for _ in 0..3 {
        server.wait(Duration::from_secs(3), ALICE);
        client.dtls.handle_timeout(server.now).unwrap();
        client.talk(&mut server, ALICE);
    }
    assert!(client.is_connected);
}

#[test]
fn the_same_hello_twice_is_one_handshake() {
    let mut server = Server::new(Capacity::default());
    let mut client = Client::new(server.now);
    let request = server.receive(ALICE, &client.datagrams()[0]);
    let with_cookie = client.receive(request);
    let flight = server.receive(ALICE, &with_cookie[0]);
    server.receive(ALICE, &with_cookie[0]);
    assert_eq!((server.open(), server.associations.serial), (1, 1));
    let to_server = client.receive(flight);
    let to_client = to_server.iter().flat_map(|one| server.receive(ALICE, one)).collect();
    client.receive(to_client);
    assert!(client.is_connected);
}

#[test]
fn who_does_not_finish_the_handshake_is_forgotten() {
    let mut server = Server::new(Capacity::default());
    let mut client = Client::new(server.now);
    let request = server.receive(ALICE, &client.datagrams()[0]);
    let with_cookie = client.receive(request);
    server.receive(ALICE, &with_cookie[0]);
    let (start, mut resent) = (server.now, 0);
    while let Some(due) = server.associations.next_due() {
        resent += server.wait(due - server.now, ALICE).len();
    }
    assert_eq!(server.open(), 0);
    assert_eq!(server.now - start, Patience::default().handshake);
    assert!((1..10).contains(&resent), "{resent}");
    assert_eq!(server.associations.next_closed(), None, "the TURN server never heard of it");
}

#[test]
fn a_stranger_may_not_linger_and_a_client_may() {
    let mut server = Server::new(Capacity::default());
    let (mut stranger, mut client) = (connected(&mut server, ALICE), connected(&mut server, BOB));
    server.receive(BOB, &client.send(b"allocate")[0]);
    let five_tuple = server.messages[0].0;
    server.associations.set_allocated(five_tuple, true, server.now);
    let patience = Patience::default().message;
    let good_bye = server.wait(patience, ALICE);
    stranger.receive(good_bye);
    assert!(stranger.is_closed);
    assert_eq!(server.open(), 1);
    assert!(server.associations.next_closed().is_some_and(|who| who != five_tuple));
    server.wait(patience * 1000, BOB);
    assert_eq!((server.open(), server.associations.next_due()), (1, None));
    server.associations.set_allocated(five_tuple, false, server.now);
    assert!(server.wait(patience / 2, BOB).is_empty());
    server.receive(BOB, &client.send(b"again")[0]);
    assert!(server.wait(patience / 2, BOB).is_empty(), "it was heard since");
    let good_bye = server.wait(patience, BOB);
    client.receive(good_bye);
    assert!(client.is_closed);
    assert_eq!((server.open(), server.associations.next_closed()), (0, Some(five_tuple)));
}

/// RFC 6347 §4.2.8: a client that was restarted, and has its port again.
#[test]
fn who_comes_again_replaces_itself() {
    let mut server = Server::new(Capacity::default());
    let mut before = connected(&mut server, ALICE);
    server.receive(ALICE, &before.send(b"before")[0]);
    let mut after = Client::new(server.now);
    let request = server.receive(ALICE, &after.datagrams()[0]);
    // Anyone can say that much with a forged source: the old one lives.
    assert_eq!((server.open(), server.associations.next_closed()), (1, None));
    let with_cookie = after.receive(request);
    let flight = server.receive(ALICE, &with_cookie[0]);
    assert_eq!(server.associations.next_closed(), Some(server.messages[0].0));
    let to_server = after.receive(flight);
    let to_client = to_server.iter().flat_map(|one| server.receive(ALICE, one)).collect();
    after.receive(to_client);
    server.receive(ALICE, &after.send(b"after")[0]);
    assert_eq!(server.open(), 1);
    assert_ne!(server.messages[0].0, server.messages[1].0, "not the same allocation");
    // What is said to the old one reaches nobody.
    assert!(server.send(server.messages[0].0, b"late").is_empty());
}

#[test]
fn places_are_limited_and_given_back() {
    let mut server = Server::new(Capacity { connections_per_source: 2, ..Capacity::default() });
    let _one = connected(&mut server, "192.0.2.1:1");
    let mut two = connected(&mut server, "192.0.2.1:2");
    let mut three = Client::new(server.now);
    let request = server.receive("192.0.2.1:3", &three.datagrams()[0]);
    let with_cookie = three.receive(request);
    let answer = server.receive("192.0.2.1:3", &with_cookie[0]);
    assert_eq!(answer[0][..3], [21, 0xfe, 0xfd], "an alert");
    assert_eq!((server.open(), server.closed(Closed::TooMany)), (2, 1));
    connected(&mut server, BOB);
    two.dtls.close().unwrap();
    server.receive("192.0.2.1:2", &two.datagrams()[0]);
    connected(&mut server, "192.0.2.1:3");
}

#[test]
fn a_client_without_a_common_cipher_suite_is_told_so() {
    let mut server = Server::new(Capacity::default());
    let mut client = Client::new(server.now);
    let mut hello = client.datagrams().remove(0);
    // Its cipher suites, of which there is none that anybody knows.
    let suites = 13 + 12 + 2 + 32 + 1 + 1;
    let count = usize::from(hello[suites + 1]);
    for suite in hello[suites + 2..suites + 2 + count].chunks_mut(2) {
        suite.copy_from_slice(&[0xc0, 0x13]);
    }
    let request = server.receive(ALICE, &hello);
    let cookie = &request[0][request[0].len() - 32..];
    let second = with_cookie(&hello, cookie);
    let answer = server.receive(ALICE, &second);
    assert_eq!(answer, [[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]]);
    assert_eq!(server.open(), 0);
}

#[test]
fn a_client_of_dtls_1_0_is_told_that_it_is_too_old() {
    let mut server = Server::new(Capacity::default());
    let mut hello = Client::new(server.now).datagrams().remove(0);
    hello[13 + 12 + 1] = 0xff;
    let answer = server.receive(ALICE, &hello);
    assert_eq!(answer, [[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 70]]);
    assert_eq!(server.open(), 0);
}

/// A client's second ClientHello, from its first.
fn with_cookie(first: &[u8], cookie: &[u8]) -> Vec<u8> {
    let at = 13 + 12 + 2 + 32 + 1;
    let mut second = [&first[..at], &[cookie.len() as u8], cookie, &first[at + 1..]].concat();
    for length in [11, 13 + 2, 13 + 10] {
        let was = u16::from_be_bytes([second[length], second[length + 1]]);
        second[length..length + 2].copy_from_slice(&(was + cookie.len() as u16).to_be_bytes());
    }
    second[13 + 5] = 1; // message_seq
    second
}

#[test]
fn garbage_and_replays_change_nothing() {
    let mut server = Server::new(Capacity::default());
    let mut client = connected(&mut server, ALICE);
    let datagram = client.send(b"once").remove(0);
    server.receive(ALICE, &datagram);
    server.receive(ALICE, &datagram);
    for at in 0..datagram.len() {
        let mut forged = client.send(b"forged").remove(0);
        forged[at] ^= 0x40;
        server.receive(ALICE, &forged);
        server.receive(ALICE, &datagram[..at]);
    }
    // Plaintext that anyone could send: a fatal alert, a handshake message, data.
    for kind in [21, 22, 23] {
        let alert = [kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
        server.receive(ALICE, &alert);
    }
    assert_eq!(server.messages.iter().filter(|(_, message)| message == b"once").count(), 1);
    assert_eq!(server.messages.len(), 1);
    server.receive(ALICE, &client.send(b"twice")[0]);
    assert_eq!((server.messages.len(), server.open()), (2, 1));
    assert!(server.receive(BOB, &datagram).is_empty());
}

/// Several messages in one datagram, several answers to them, and an answer to someone else meanwhile.
#[test]
fn answers_go_out_behind_the_messages_that_they_answer() {
    let mut server = Server::new(Capacity::default());
    let mut client = connected(&mut server, ALICE);
    for message in [b"1", b"2", b"3"] {
        client.dtls.send_application_data(message).unwrap();
    }
    let datagrams = client.datagrams();
    assert_eq!(datagrams.len(), 1);
    server.echoes = true;
    let answers = server.receive(ALICE, &datagrams[0]);
    client.receive(answers);
    assert_eq!(client.messages, [b"1", b"2", b"3"]);
}

#[test]
fn what_is_too_long_for_a_record_is_dropped_and_counted() {
    let mut server = Server::new(Capacity::default());
    let mut client = connected(&mut server, ALICE);
    server.receive(ALICE, &client.send(b"hello")[0]);
    let five_tuple = server.messages[0].0;
    assert!(server.send(five_tuple, &[0; (1 << 14) + 1]).is_empty());
    assert_eq!(server.associations.counters.dropped(Reason::TooLong), 1);
    assert_eq!(server.send(five_tuple, &[0; 1 << 14]).len(), 1);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever becomes of a handshake's datagrams, the next client is served.
    #[test]
    fn a_mangled_handshake_harms_nobody_else(
        changes in proptest::collection::vec((0_usize..12, 0_usize..1300, proptest::num::u8::ANY, 0_u8..4), 1..8)
    ) {
        let mut server = Server::new(Capacity::default());
        let mut client = Client::new(server.now);
        let (mut to_server, mut seen) = (client.datagrams(), 0);
        for _ in 0..6 {
            let mut to_client = Vec::new();
            for mut datagram in std::mem::take(&mut to_server) {
                let mut times = 1;
                for (which, at, byte, what) in &changes {
                    if *which == seen && let Some(old) = datagram.get_mut(*at) {
                        match what {
                            0 => times = 2,
                            1 => times = 0,
                            2 => *old = *byte,
                            _ => datagram.truncate(*at),
                        }
                    }
                }
                seen += 1;
                for _ in 0..times {
                    to_client.extend(server.receive(ALICE, &datagram));
                }
            }
            server.wait(Duration::from_millis(900), ALICE).into_iter().for_each(|again| to_client.push(again));
            for datagram in to_client {
                let _ = client.dtls.handle_packet(&datagram);
            }
            to_server = client.datagrams();
        }
        connected(&mut server, BOB);
    }
}
