//! Real sockets on loopback, the clock by hand.

mod deadlines;
mod secure;
mod world;

use std::io::Write;
use std::net::Shutdown;

use super::*;
use crate::net::settings::Capacity;
use wire::READ;
use world::{Client, World, on_channel, request};

#[test]
fn messages_come_whole_wherever_the_stream_is_cut_and_answers_go_back() {
    let mut world = World::new();
    let mut client = world.connect();
    let mut stream = request(1);
    stream.extend(on_channel(b"12345"));
    stream.extend(request(2));
    for byte in &stream {
        client.send(&[*byte]);
        world.round();
    }
    world.until(&mut client, |_, client| client.received == stream);
    let messages: Vec<_> = world.messages.iter().map(|(_, message)| message.clone()).collect();
    assert_eq!(messages, [request(1), on_channel(b"12345")[..9].to_vec(), request(2)]);
    assert_eq!(world.messages[0].0.client.0, client.socket.local_addr().unwrap());
}

#[test]
fn a_connection_that_is_closed_is_gone_with_its_place() {
    let mut world = World::with(Capacity { connections_per_source: 1, ..Capacity::default() });
    let mut first = world.connect();
    first = world.allocated(first);
    let mut second = world.connect();
    world.until(&mut second, |_, client| client.is_closed);
    assert_eq!(world.count(Closed::TooMany), 1);
    let from = world.only().client;
    drop(first);
    world.until(&mut second, |world, _| world.closed == [from]);
    let third = world.connect();
    world.allocated(third);
    assert_ne!(world.only().client.flow, from.flow, "never used twice");
}

#[test]
fn what_is_not_turn_is_closed_at_once_and_others_are_served() {
    let mut world = World::new();
    let client = world.connect();
    let mut client = world.allocated(client);
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: turn\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"\0\x01\0\x01",
        b"\x40\0\0\x04",
    ] {
        let mut stranger = world.connect();
        stranger.send(garbage);
        world.until(&mut stranger, |_, client| client.is_closed);
        assert!(stranger.received.is_empty());
        client.send(&on_channel(b"1234"));
        world.until(&mut client, |_, client| client.received == on_channel(b"1234"));
        client.received.clear();
    }
    assert_eq!(world.count(Closed::Garbage), 4);
    assert_eq!(world.closed.len(), 4);
}

#[test]
fn a_banned_source_has_no_connections() {
    let mut world = World::new();
    let client = world.connect();
    let mut client = world.allocated(client);
    let source = client.socket.local_addr().unwrap().ip();
    world.streams.ban(&"192.0.2.1".parse().unwrap());
    world.settle();
    assert!(world.closed.is_empty());
    world.streams.ban(&Banned::source(source));
    world.banned = Some(source);
    world.until(&mut client, |world, client| client.is_closed && world.closed.len() == 1);
    let mut again = world.connect();
    world.until(&mut again, |_, client| client.is_closed);
    assert_eq!(world.count(Closed::Banned), 2);
}

#[test]
fn what_is_still_on_its_way_when_the_allocation_ends_closes_nothing() {
    let mut world = World::new();
    let client = world.connect();
    let mut client = world.allocated(client);
    let from = world.only().client;
    world.streams.set_allocated(from, false, world.now);
    client.send(&on_channel(b"late"));
    world.until(&mut client, |_, client| client.received == on_channel(b"late"));
    assert!(world.closed.is_empty());
}

#[test]
fn who_hangs_up_behind_a_request_still_has_its_answer() {
    for secure in [false, true] {
        let mut world = World::new();
        let mut client = if secure { world.connect_tls() } else { world.connect() };
        client.send(&request(1));
        if let Some(tls) = &mut client.tls {
            tls.send_close_notify();
            client.pump();
        }
        client.socket.shutdown(Shutdown::Write).unwrap();
        world.until(&mut client, |_, client| client.is_closed);
        assert_eq!(client.received, request(1));
        assert_eq!(world.closed.len(), 1);
    }
}

#[test]
fn media_for_who_does_not_read_is_dropped_and_an_answer_closes_the_connection() {
    for secure in [false, true] {
        let mut world = World::with(Capacity { outbound_bytes: 64 * 1024, ..Capacity::default() });
        let client = if secure { world.connect_tls() } else { world.connect() };
        let mut client = world.allocated(client);
        let to = world.only().client;
        let packet = on_channel(&[7; 1200]);
        let dropped = |world: &World| world.streams.counters.dropped(Reason::Full);
        while dropped(&world) == 0 {
            for _ in 0..16 {
                world.streams.send(to, &packet, Cargo::Media);
            }
            world.end_round();
        }
        assert!(world.only().is_blocked() && world.only().wire.waiting() <= 66 * 1024);
        // It reads again: all that was not dropped arrives, whole and in order.
        world.until(&mut client, |world, client| {
            let connection = world.streams.connections.iter().next().unwrap().1;
            connection.wire.waiting() == 0 && client.received.len() % packet.len() == 0
        });
        world.until(&mut client, |_, client| client.received.ends_with(&packet));
        assert!(client.received.chunks(packet.len()).all(|chunk| chunk == packet));
        assert!(!world.only().is_blocked());
        // And again it does not. An answer is not something that a client can do without.
        let before = dropped(&world);
        while dropped(&world) == before {
            world.streams.send(to, &packet, Cargo::Media);
            world.end_round();
        }
        world.streams.send(to, &packet, Cargo::Answer);
        world.end_round();
        assert_eq!(world.closed, [to]);
        world.streams.send(to, &packet, Cargo::Answer);
        assert!(world.streams.marked.is_empty(), "nobody is left");
    }
}

#[test]
fn a_flood_of_connections_has_its_turns_and_then_media() {
    let mut world = World::new();
    let client = world.connect();
    let mut client = world.allocated(client);
    let flood: Vec<_> = (0..3 * ACCEPTS).map(|_| world.connect()).collect();
    // Every one of them is in the kernel's queue when connect returns.
    world.round();
    assert_eq!(world.streams.connections.len(), 1 + ACCEPTS);
    assert_eq!(world.streams.next_due(), Some(world.now));
    client.send(&on_channel(b"1234"));
    world.until(&mut client, |world, client| {
        client.received == on_channel(b"1234") && world.streams.connections.len() == 1 + flood.len()
    });
    world.settle();
    assert!(world.streams.postponed.is_empty());
}

#[test]
fn a_connection_that_floods_has_its_turns_and_loses_nothing() {
    let mut world = World::with(Capacity { outbound_bytes: 64 * 1024 * 1024, ..Capacity::default() });
    let client = world.connect();
    let mut client = world.allocated(client);
    world.messages.clear();
    // More than is read in one round, and every byte of it is there already.
    let packet = on_channel(&[7; 1196]);
    let mut sent = 0;
    while client.socket.write(&packet).is_ok_and(|n| n == packet.len())
        && sent < 2 * TURNS * READ / packet.len()
    {
        sent += 1;
    }
    world.until(&mut client, |world, _| world.messages.len() >= sent);
    assert!(world.messages.iter().all(|(_, message)| *message == packet));
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    for secure in [false, true] {
        let mut world = World::new();
        let client = if secure { world.connect_tls() } else { world.connect() };
        let mut client = world.allocated(client);
        let whole = on_channel(&[7; 1000]);
        // A message that is cut leaves its beginning with us for a while.
        for piece in whole.chunks(300) {
            client.send(piece);
            world.settle();
        }
        world.until(&mut client, |_, client| client.received == whole);
        world.pass(Duration::from_secs(2));
        let connection = world.only();
        assert_eq!(connection.wire.held(), 0);
    }
}
