//! RFC 6062 §5.5, data connection maintenance: what ends a connection with a peer, and what does not.

use turnpike::base::PeerAddr;
use turnpike::stun::{Family, Method, Type};
use turnpike::turn::connection::ConnectionId;
use turnpike::turn::server::{Freed, Output};

use crate::net::{tcp, told, wants_tcp};
use crate::world::{Phone, TCP, TCP_CALLS, World, addr};

const CLIENT: &str = "198.51.100.1:5000";
const DATA: &str = "198.51.100.1:5001";
const PEER: &str = "192.0.2.1:9000";

/// A client with one bound connection and one that waits.
fn busy(world: &mut World) -> (Phone, [ConnectionId; 2]) {
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let bound = world.bound(&phone, PEER, DATA);
    let waiting = world.connected(&phone, "192.0.2.1:9001");
    (phone, [bound, waiting])
}

fn ends(outputs: &[Output]) -> Vec<ConnectionId> {
    let end = |output: &Output| match output {
        Output::Disconnect { connection } => Some(*connection),
        _ => None,
    };
    outputs.iter().filter_map(end).collect()
}

#[test]
fn s5_5_the_clients_end_closes_the_peers() {
    let mut world = World::new();
    let (_, [bound, _]) = busy(&mut world);
    world.server.handle_closed(tcp(DATA));
    assert_eq!(world.outputs(), [Output::Disconnect { connection: bound }]);
    assert_eq!(world.books.peer_connections(), 1);
    assert_eq!(world.server.allocations().len(), 1, "the allocation lives on");
}

#[test]
fn s5_5_the_peers_end_closes_the_clients() {
    let mut world = World::new();
    let (_, [bound, waiting]) = busy(&mut world);
    for connection in [bound, waiting] {
        world.server.handle_disconnected(connection);
        assert_eq!(world.outputs(), [Output::Disconnect { connection }]);
    }
    world.server.handle_disconnected(bound);
    assert!(world.outputs().is_empty(), "once");
}

#[test]
fn s5_5_all_end_when_the_allocation_expires() {
    let mut world = World::new();
    let (phone, all) = busy(&mut world);
    assert_eq!(world.bind_data("198.51.100.1:5002", TCP, all[1]), 0);
    world.wait(599);
    assert!(world.outputs().is_empty());
    world.wait(1);
    assert_eq!(ends(&world.outputs()), all);
    world.assert_empty();
    assert_eq!(world.connect_code(&phone, PEER), 437);
}

#[test]
fn all_end_when_the_client_gives_the_allocation_up() {
    let mut world = World::new();
    let (phone, all) = busy(&mut world);
    let outputs = world.start(&phone, Method::REFRESH, |w| _ = w.put_u32(Type::LIFETIME, 0));
    assert_eq!(ends(&outputs), all);
    world.assert_empty();
}

#[test]
fn all_end_when_the_control_connection_is_closed() {
    let mut world = World::new();
    let (phone, all) = busy(&mut world);
    world.server.handle_closed(phone.from);
    assert_eq!(ends(&world.outputs()), all);
    world.assert_empty();
}

#[test]
fn all_end_when_the_user_may_no_longer() {
    let mut world = World::new();
    let (_, all) = busy(&mut world);
    world.banned_for_a_moment(TCP);
    let outputs = world.outputs();
    assert_eq!(ends(&outputs), all);
    assert!(matches!(outputs.last(), Some(Output::Freed { why: Freed::Revoked, .. })));
    world.assert_empty();
}

#[test]
fn who_waits_for_a_connect_is_told_447_when_the_allocation_ends() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connecting(&phone, PEER);
    let outputs = world.start(&phone, Method::REFRESH, |w| _ = w.put_u32(Type::LIFETIME, 0));
    assert_eq!(told(&outputs[0], &phone).code(), 447);
    assert_eq!(outputs[1], Output::Disconnect { connection });
    assert_eq!(told(outputs.last().unwrap(), &phone).code(), 0);
    world.assert_empty();
}

#[test]
fn those_of_a_family_end_with_it() {
    let mut world = World::new();
    let phone = world.phone(tcp(CLIENT), TCP);
    let code = world.code(&phone, Method::ALLOCATE, |w| {
        wants_tcp(w);
        w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
    });
    assert_eq!(code, 0);
    let v4 = world.connected(&phone, PEER);
    let v6 = world.connected(&phone, "[2001:db8:1::1]:9000");
    let outputs = world.start(&phone, Method::REFRESH, |w| {
        w.put_u32(Type::LIFETIME, 0);
        w.put_family(Type::REQUESTED_ADDRESS_FAMILY, Family::V6);
    });
    assert_eq!(ends(&outputs), [v6]);
    assert_eq!(world.bind_data(DATA, TCP, v4), 0);
}

#[test]
fn a_permission_is_asked_for_once_and_its_expiry_ends_nothing() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    world.permit(&phone, PEER);
    let accepted = world.peer_connects(relayed, PEER).0.unwrap();
    assert_eq!(world.bind_data(DATA, TCP, accepted), 0);
    world.wait(300);
    assert!(world.outputs().is_empty());
    assert_eq!(world.peer_connects(relayed, "192.0.2.1:9001").0, None, "but another needs one again");
}

#[test]
fn a_drain_ends_nothing_and_who_is_here_may_go_on() {
    let mut world = World::new();
    let (phone, _) = busy(&mut world);
    world.server.drain(Vec::new());
    assert!(world.outputs().is_empty());
    assert_eq!(world.connect_code(&phone, "192.0.2.1:9002"), 0);
    let other = world.phone(tcp("198.51.100.2:5000"), TCP);
    assert_eq!(world.code(&other, Method::ALLOCATE, wants_tcp), 508);
}

#[test]
fn a_call_opens_its_peer_and_with_its_end_every_connection_is_gone() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP_CALLS);
    let (other, _) = world.tcp_allocated("198.51.100.2:5000", TCP_CALLS);
    assert_eq!(world.connect_code(&phone, PEER), 403);
    let (peer, second) = (PeerAddr(addr(PEER)), PeerAddr(addr("192.0.2.1:9001")));
    world.server.open_call_peer(peer);
    world.server.open_call_peer(second);
    let bound = world.bound(&phone, PEER, DATA);
    let staying = world.connected(&phone, "192.0.2.1:9001");
    let calling = world.connecting(&other, PEER);
    world.server.close_call_peer(peer);
    let outputs = world.outputs();
    assert_eq!(ends(&outputs), [bound, calling]);
    assert_eq!(told(&outputs[1], &other).code(), 447);
    assert_eq!(world.connect_code(&phone, PEER), 403);
    assert_eq!(world.bind_data("198.51.100.1:5002", TCP_CALLS, staying), 0);
    world.server.close_call_peer(second);
    assert_eq!(ends(&world.outputs()), [staying]);
}
