//! Who keeps us waiting.

use super::world::patience;
use super::*;

const MOMENT: Duration = Duration::from_millis(1);

/// Connects, lets `time` pass but for a moment, and then the moment: the connection is closed then and not before.
fn assert_closed_after(world: &mut World, client: &mut Client, time: Duration) {
    world.until(client, |world, _| world.streams.connections.len() == 1);
    world.settle();
    // The sweep comes round once a second: what is due is seen at the next.
    world.pass(time - MOMENT);
    assert!(world.closed.is_empty());
    world.pass(Duration::from_secs(1));
    world.until(client, |world, client| client.is_closed && world.closed.len() == 1);
}

#[test]
fn a_handshake_that_does_not_begin_or_does_not_end() {
    for hello in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut world = World::new();
        let mut client = Client::new(world.tls, None);
        client.send(hello);
        assert_closed_after(&mut world, &mut client, patience().handshake);
    }
}

#[test]
fn a_stranger_who_says_nothing() {
    let mut world = World::new();
    let mut client = world.connect();
    assert_closed_after(&mut world, &mut client, patience().message);
    let mut world = World::new();
    let mut client = world.connect_tls();
    assert_closed_after(&mut world, &mut client, patience().message);
}

#[test]
fn a_message_that_does_not_end() {
    for secure in [false, true] {
        let mut world = World::new();
        let client = if secure { world.connect_tls() } else { world.connect() };
        let mut client = world.allocated(client);
        // One byte now and then is not progress.
        let message = on_channel(&[7; 1000]);
        let mut pieces = message.chunks(100);
        for _ in 0..4 {
            client.send(pieces.next().unwrap());
            world.settle();
            world.pass(patience().message / 5);
        }
        assert!(world.closed.is_empty());
        world.pass(patience().message / 5);
        world.pass(Duration::from_secs(1));
        world.until(&mut client, |world, client| client.is_closed && world.closed.len() == 1);
    }
}

#[test]
fn a_client_with_an_allocation_may_be_silent_until_it_is_gone() {
    let mut world = World::new();
    let client = world.connect();
    let mut client = world.allocated(client);
    let from = world.only().client;
    for _ in 0..10 {
        world.pass(Duration::from_secs(360));
    }
    assert!(world.closed.is_empty());
    world.streams.set_allocated(from, false, world.now);
    assert_closed_after(&mut world, &mut client, patience().message);
}

#[test]
fn a_peer_that_never_reads() {
    let mut world = World::new();
    let client = world.connect();
    let mut client = world.allocated(client);
    let to = world.only().client;
    while !world.only().is_blocked() {
        world.streams.send(to, &on_channel(&[7; 1200]), Cargo::Media);
        world.end_round();
    }
    world.pass(patience().write - MOMENT);
    assert!(world.closed.is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.closed, [to]);
    client.pump();
}
