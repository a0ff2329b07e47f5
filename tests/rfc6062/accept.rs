//! RFC 6062 §5.3: receiving a TCP connection on a relayed transport address.

use turnpike::turn::forward::Reason;
use turnpike::turn::server::Output;

use crate::net::attempt;
use crate::world::{TCP, World, addr};

const CLIENT: &str = "198.51.100.1:5000";
const PEER: &str = "192.0.2.1:9000";

#[test]
fn s5_3_with_a_permission_the_client_is_told_who_it_is() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    world.permit(&phone, "192.0.2.1:1");
    let (accepted, outputs) = world.peer_connects(relayed, PEER);
    assert_eq!(attempt(&outputs[0], &phone), (accepted.unwrap(), addr(PEER)));
    assert_eq!(outputs.len(), 1);
    assert_eq!(world.bind_data("198.51.100.1:5001", TCP, accepted.unwrap()), 0);
}

#[test]
fn s5_3_without_a_permission_it_is_closed_at_once_and_nobody_is_told() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    assert_eq!(world.peer_connects(relayed, PEER), (None, vec![]));
    assert_eq!(world.server.counters().dropped(Reason::NoPermission), 1);
    world.permit(&phone, "192.0.2.1:1");
    world.wait(300);
    assert_eq!(world.peer_connects(relayed, PEER), (None, vec![]), "it has expired");
    assert_eq!(world.books.peer_connections(), 0);
}

#[test]
fn s5_3_nobody_binds_in_thirty_seconds_and_it_is_closed() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    world.permit(&phone, PEER);
    let connection = world.peer_connects(relayed, PEER).0.unwrap();
    world.wait(29);
    assert!(world.outputs().is_empty());
    world.wait(1);
    assert_eq!(world.outputs(), [Output::Disconnect { connection }]);
    assert_eq!(world.bind_data("198.51.100.1:5001", TCP, connection), 400);
}

#[test]
fn beyond_the_capacity_it_is_closed_at_once() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    world.permit(&phone, PEER);
    for port in 1..=3 {
        assert!(world.peer_connects(relayed, &format!("192.0.2.1:{port}")).0.is_some());
    }
    assert_eq!(world.peer_connects(relayed, "192.0.2.1:4"), (None, vec![]));
    assert_eq!(world.connect_code(&phone, PEER), 508);
}

#[test]
fn an_allocation_that_is_over_takes_no_connection() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    world.permit(&phone, PEER);
    world.refresh(&phone, 600);
    // The clock has moved on, and the server has not been told before the peer comes.
    let open = world.ports.lock().unwrap().open.clone();
    world.now = world.now.after(std::time::Duration::from_secs(600));
    let (id, _) = open.iter().find(|(_, addr)| **addr == relayed).unwrap();
    let socket = turnpike::turn::sockets::RelaySocketId(*id);
    let peer = turnpike::base::PeerAddr(addr(PEER));
    assert_eq!(world.server.handle_accepted(socket, peer, world.now.instant), None);
}
