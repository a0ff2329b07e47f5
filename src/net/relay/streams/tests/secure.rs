//! TLS.

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::world::client_config;
use super::*;

/// coturn's client takes whatever one read brings for one message, and a read brings a record at most.
#[test]
fn every_message_has_a_record_of_its_own() {
    let mut world = World::new();
    let client = world.connect_tls();
    let mut client = world.allocated(client);
    let (to, packet) = (world.only().client, on_channel(&[7; 172]));
    let before = client.records;
    for _ in 0..50 {
        world.streams.send(to, &packet, Cargo::Media);
    }
    world.end_round();
    world.until(&mut client, |_, client| client.received.len() == 50 * packet.len());
    assert_eq!(client.records - before, 50);
    let longest = on_channel(&[7; 20_000]);
    world.streams.send(to, &longest, Cargo::Media);
    world.end_round();
    world.until(&mut client, |_, client| client.received.len() == 50 * packet.len() + longest.len());
}

#[test]
fn records_may_be_cut_anywhere_and_hold_anything() {
    let mut world = World::new();
    let client = world.connect_tls();
    let mut client = world.allocated(client);
    world.messages.clear();
    let stream: Vec<u8> = (0..20).flat_map(|n| on_channel(&vec![n; usize::from(n) * 7])).collect();
    // Messages across records, and records across segments.
    for (record, content) in stream.chunks(33).enumerate() {
        let tls = client.tls.as_mut().unwrap();
        tls.writer().write_all(content).unwrap();
        let mut sealed = Vec::new();
        tls.write_tls(&mut sealed).unwrap();
        for piece in sealed.chunks(1 + record % 40) {
            client.socket.write_all(piece).unwrap();
            world.round();
        }
    }
    world.until(&mut client, |_, client| client.received == stream);
    assert_eq!(world.messages.len(), 20);
}

#[test]
fn both_versions_and_a_hello_in_pieces() {
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let mut config = client_config(versions);
        Arc::get_mut(&mut config).unwrap().max_fragment_size = Some(64);
        let mut world = World::new();
        let client = Client::new(world.tls, Some(config));
        let mut client = world.allocated(client);
        client.send(&on_channel(&[7; 500]));
        world.until(&mut client, |_, client| client.received == on_channel(&[7; 500]));
    }
}

#[test]
fn keys_may_be_changed_at_any_time() {
    let mut world = World::new();
    let client = world.connect_tls();
    let mut client = world.allocated(client);
    let to = world.only().client;
    for n in 0..20 {
        // We have something to say while half of the key update is here.
        let tls = client.tls.as_mut().unwrap();
        tls.refresh_traffic_keys().unwrap();
        let mut sealed = Vec::new();
        tls.write_tls(&mut sealed).unwrap();
        let (half, rest) = sealed.split_at(sealed.len() / 2);
        client.socket.write_all(half).unwrap();
        world.settle();
        world.streams.send(to, &on_channel(&[n; 4]), Cargo::Media);
        world.end_round();
        client.socket.write_all(rest).unwrap();
        client.send(&on_channel(&[n; 8]));
        world.until(&mut client, |_, client| client.received.ends_with(&on_channel(&[n; 8])));
    }
    assert_eq!(client.received.len(), 20 * (8 + 12));
}

#[test]
fn a_second_handshake_is_a_short_one() {
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let (mut world, config) = (World::new(), client_config(versions));
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let client = Client::new(world.tls, Some(config.clone()));
            let client = world.allocated(client);
            // (With another key exchange than the client guessed, TLS 1.3 takes a round trip more.)
            assert_eq!(client.tls.unwrap().handshake_kind(), Some(expected));
        }
    }
}

/// RFC 7301 is not spoken: what is offered, `stun.turn` (RFC 7443) or what a browser may think of, changes nothing.
#[test]
fn whatever_alpn_is_offered() {
    for alpn in [&b"stun.turn"[..], b"http/1.1"] {
        let mut config = client_config(&[&TLS13]);
        Arc::get_mut(&mut config).unwrap().alpn_protocols = vec![alpn.to_vec()];
        let mut world = World::new();
        let client = Client::new(world.tls, Some(config));
        let client = world.allocated(client);
        assert_eq!(client.tls.unwrap().alpn_protocol(), None);
    }
}

/// A ClientHello that knows nothing newer than `minor`, with one cipher suite and no extensions.
fn hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]); // random
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]); // no session, one suite, no compression
    let mut hello = vec![0x16, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

#[test]
fn an_old_version_is_refused_with_an_alert_and_garbage_is_closed() {
    let mut world = World::new();
    for bytes in [hello(2), b"GET / HTTP/1.1\r\n\r\n".to_vec(), request(1)] {
        let mut stranger = Client::new(world.tls, None);
        stranger.send(&bytes);
        world.until(&mut stranger, |_, client| client.is_closed);
        // RFC 8446 §6: a fatal alert, and nothing more.
        assert!(stranger.received.starts_with(&[0x15, 3, 3, 0, 2, 2]) && stranger.received.len() == 7);
    }
    let client = world.connect_tls();
    world.allocated(client);
    assert_eq!(world.count(Closed::Tls), 3);
}

#[test]
fn handshakes_have_their_turns_and_then_media() {
    let mut world = World::new();
    let client = world.connect_tls();
    let mut client = world.allocated(client);
    let mut flood: Vec<_> =
        (0..3 * HANDSHAKES).map(|_| Client::new(world.tls, Some(client_config(&[&TLS13])))).collect();
    for other in &mut flood {
        other.pump();
    }
    world.until(&mut client, |world, _| world.streams.connections.len() > HANDSHAKES + 1);
    let is_waiting = |world: &World| !world.streams.postponed.is_empty();
    world.until(&mut client, |world, _| is_waiting(world));
    client.send(&on_channel(b"1234"));
    world.until(&mut client, |_, client| client.received == on_channel(b"1234"));
    for other in &mut flood {
        world.until(other, |_, other| !other.tls.as_ref().unwrap().is_handshaking());
    }
}

#[test]
fn a_handshake_message_that_is_too_long_is_refused() {
    let mut world = World::new();
    let mut stranger = Client::new(world.tls, None);
    // A ClientHello of 60,000 bytes, in records of 1,000.
    let mut bytes = vec![0x16, 3, 1, 3, 0xe8, 1, 0, 0xea, 0x60];
    bytes.resize(5 + 1000, 7);
    for _ in 0..60 {
        if stranger.socket.write_all(&bytes).is_err() {
            break;
        }
        world.round();
        bytes = vec![0x16, 3, 1, 3, 0xe8];
        bytes.resize(5 + 1000, 7);
    }
    world.until(&mut stranger, |_, client| client.is_closed);
    assert_eq!(world.closed.len(), 1);
}
