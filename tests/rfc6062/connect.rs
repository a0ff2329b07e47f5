//! RFC 6062 §5.2: receiving a Connect request.

use turnpike::base::PeerAddr;
use turnpike::stun::{Class, Method, Type};
use turnpike::turn::server::Output;

use crate::net::{attempt, tcp, told};
use crate::world::{TCP, World, addr};

const CLIENT: &str = "198.51.100.1:5000";
const PEER: &str = "192.0.2.1:9000";

#[test]
fn s5_2_without_an_allocation_it_is_437() {
    let mut world = World::new();
    let phone = world.phone(tcp(CLIENT), TCP);
    assert_eq!(world.connect_code(&phone, PEER), 437);
}

#[test]
fn s5_2_with_a_udp_allocation_it_is_403() {
    let mut world = World::new();
    let phone = world.phone(tcp(CLIENT), TCP);
    assert_eq!(world.code(&phone, Method::ALLOCATE, crate::world::wants_udp), 0);
    assert_eq!(world.connect_code(&phone, PEER), 403);
}

#[test]
fn s5_2_without_or_with_a_broken_peer_it_is_400() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    assert_eq!(world.code(&phone, Method::CONNECT, |_| ()), 400);
    let broken = world.code(&phone, Method::CONNECT, |w| _ = w.put(Type::XOR_PEER_ADDRESS, &[0, 1, 0, 9]));
    assert_eq!(broken, 400);
}

#[test]
fn s5_2_a_peer_against_the_rules_is_403_and_of_another_family_443() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    assert_eq!(world.connect_code(&phone, "10.0.0.1:22"), 403);
    assert_eq!(world.connect_code(&phone, "[2001:db8:1::1]:9000"), 443);
    assert_eq!(world.books.peer_connections(), 0);
}

#[test]
fn s5_2_it_is_made_from_the_relayed_address_and_needs_no_permission() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    let outputs = world.start_connect(&phone, PEER);
    let [Output::Connect { from, to, .. }] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(world.ports.lock().unwrap().open[&from.0], relayed);
    assert_eq!(to, PeerAddr(addr(PEER)));
}

#[test]
fn s5_2_success_comes_when_the_peer_has_answered_and_names_the_connection() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connecting(&phone, PEER);
    world.wait(29);
    assert!(world.outputs().is_empty(), "nothing to say yet");
    world.server.handle_connected(connection, world.now.instant);
    let outputs = world.outputs();
    let answer = told(&outputs[0], &phone);
    assert_eq!((answer.message().class(), answer.message().method()), (Class::Success, Method::CONNECT));
    assert_eq!(answer.connection_id(), connection);
    assert_eq!(outputs.len(), 1);
}

#[test]
fn s5_2_the_answer_carries_a_fingerprint_if_the_request_did() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let id = world.id();
    let mut request = crate::world::signed(&phone, Method::CONNECT, id, |w| {
        w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(PEER));
    });
    append_fingerprint(&mut request);
    world.server.handle_client(phone.from, &request, world.now);
    let outputs = world.outputs();
    let [Output::Connect { connection, .. }] = outputs[..] else { panic!("{outputs:?}") };
    world.server.handle_connected(connection, world.now.instant);
    let outputs = world.outputs();
    let answer = told(&outputs[0], &phone);
    assert!(answer.message().has_fingerprint() && answer.message().check_fingerprint());
}

/// RFC 8489 §14.7.
fn append_fingerprint(message: &mut Vec<u8>) {
    let length = (message.len() - 20 + 8) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32fast::hash(message) ^ 0x5354_554e;
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(crc.to_be_bytes());
}

#[test]
fn s5_2_a_peer_that_is_being_called_is_446() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    world.connecting(&phone, PEER);
    assert_eq!(world.connect_code(&phone, PEER), 446);
    assert_eq!(world.connect_code(&phone, "192.0.2.1:9001"), 0, "another port is another peer");
}

#[test]
fn s5_2_a_peer_whose_connection_waits_or_is_bound_is_446() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connected(&phone, PEER);
    assert_eq!(world.connect_code(&phone, PEER), 446);
    assert_eq!(world.bind_data("198.51.100.1:5001", TCP, connection), 0);
    assert_eq!(world.connect_code(&phone, PEER), 446);
    world.server.handle_disconnected(connection);
    world.outputs();
    assert_eq!(world.connect_code(&phone, PEER), 0, "it may be called again");
}

#[test]
fn s5_2_a_peer_that_has_connected_is_446() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    world.permit(&phone, PEER);
    let (accepted, outputs) = world.peer_connects(relayed, PEER);
    assert_eq!(attempt(&outputs[0], &phone).0, accepted.unwrap());
    assert_eq!(world.connect_code(&phone, PEER), 446);
}

#[test]
fn s5_2_another_allocation_has_its_own_connection_to_the_same_peer() {
    let mut world = World::new();
    let (first, _) = world.tcp_allocated(CLIENT, TCP);
    let (second, _) = world.tcp_allocated("198.51.100.1:5001", TCP);
    world.connecting(&first, PEER);
    assert_eq!(world.connect_code(&second, PEER), 0);
}

#[test]
fn s5_2_a_peer_that_refuses_is_447() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connecting(&phone, PEER);
    world.server.handle_disconnected(connection);
    let outputs = world.outputs();
    assert_eq!(told(&outputs[0], &phone).code(), 447);
    assert_eq!(world.connect_code(&phone, PEER), 0, "it may be called again");
}

#[test]
fn s5_2_a_peer_has_thirty_seconds_to_answer_then_it_is_447() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connecting(&phone, PEER);
    world.wait(29);
    assert!(world.outputs().is_empty());
    world.wait(1);
    let outputs = world.outputs();
    assert_eq!(told(&outputs[0], &phone).code(), 447);
    assert_eq!(outputs[1..], [Output::Disconnect { connection }]);
    // What the kernel says too late means nothing.
    world.server.handle_connected(connection, world.now.instant);
    assert!(world.outputs().is_empty());
}

#[test]
fn s5_2_nobody_binds_in_thirty_seconds_and_it_is_closed() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connecting(&phone, PEER);
    world.wait(20);
    world.server.handle_connected(connection, world.now.instant);
    world.outputs();
    world.wait(29);
    assert!(world.outputs().is_empty(), "counted from the success");
    world.wait(1);
    assert_eq!(world.outputs(), [Output::Disconnect { connection }]);
    assert_eq!(world.bind_data("198.51.100.1:5001", TCP, connection), 400);
    assert_eq!(world.books.peer_connections(), 0);
}

#[test]
fn beyond_the_capacity_of_the_allocation_it_is_508() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connected(&phone, "192.0.2.1:1");
    world.connecting(&phone, "192.0.2.1:2");
    world.connecting(&phone, "192.0.2.1:3");
    assert_eq!(world.connect_code(&phone, "192.0.2.1:4"), 508);
    world.server.handle_disconnected(connection);
    world.outputs();
    assert_eq!(world.connect_code(&phone, "192.0.2.1:4"), 0);
}

#[test]
fn beyond_the_capacity_of_the_node_it_is_508() {
    let mut world = World::new();
    let (first, _) = world.tcp_allocated(CLIENT, TCP);
    let (second, _) = world.tcp_allocated("198.51.100.1:5001", TCP);
    for port in 1..=3 {
        world.connecting(&first, &format!("192.0.2.1:{port}"));
    }
    world.connecting(&second, "192.0.2.1:1");
    world.connecting(&second, "192.0.2.1:2");
    assert_eq!(world.connect_code(&second, "192.0.2.1:3"), 508);
    world.server.handle_closed(first.from);
    world.outputs();
    assert_eq!(world.connect_code(&second, "192.0.2.1:3"), 0);
}
