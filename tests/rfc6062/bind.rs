//! RFC 6062 §5.4: receiving a ConnectionBind request.

use std::time::Duration;

use turnpike::stun::{Method, Type};
use turnpike::turn::connection::{ConnectionId, Place, Way};
use turnpike::turn::server::{Output, Settings};

use crate::net::{tcp, told};
use crate::world::{TCP, World, udp};

const CLIENT: &str = "198.51.100.1:5000";
const DATA: &str = "198.51.100.1:5001";
const PEER: &str = "192.0.2.1:9000";

#[test]
fn s5_4_the_connection_is_bound_after_the_answer() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connected(&phone, PEER);
    // `bind_data` sees to the order.
    assert_eq!(world.bind_data(DATA, TCP, connection), 0);
}

#[test]
fn s5_4_over_datagrams_it_is_400() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connected(&phone, PEER);
    let data = world.phone(udp(DATA), TCP);
    let code =
        world.code(&data, Method::CONNECTION_BIND, |w| _ = w.put_u32(Type::CONNECTION_ID, connection.0));
    assert_eq!(code, 400);
    assert_eq!(world.bind_data(DATA, TCP, connection), 0, "it is still there");
}

#[test]
fn s5_4_without_an_id_or_with_a_broken_one_it_is_400() {
    let mut world = World::new();
    let data = world.phone(tcp(DATA), TCP);
    assert_eq!(world.code(&data, Method::CONNECTION_BIND, |_| ()), 400);
    assert_eq!(world.code(&data, Method::CONNECTION_BIND, |w| _ = w.put(Type::CONNECTION_ID, &[1; 3])), 400);
}

#[test]
fn s5_4_an_id_that_is_nobodys_is_400() {
    let mut world = World::new();
    assert_eq!(world.bind_data(DATA, TCP, ConnectionId(7)), 400);
}

#[test]
fn s5_4_one_that_is_still_being_made_or_is_bound_already_is_400() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connecting(&phone, PEER);
    assert_eq!(world.bind_data(DATA, TCP, connection), 400);
    world.server.handle_connected(connection, world.now.instant);
    world.outputs();
    assert_eq!(world.bind_data(DATA, TCP, connection), 0);
    assert_eq!(world.bind_data("198.51.100.1:5002", TCP, connection), 400);
}

#[test]
fn s4_3_on_a_control_connection_it_is_400() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connected(&phone, PEER);
    assert_eq!(world.bind_data(CLIENT, TCP, connection), 400);
    assert_eq!(world.server.allocations().len(), 1);
}

#[test]
fn s5_4_data_is_policed_by_the_role_and_counted() {
    let slow = |settings: &mut Settings| {
        let role = &mut settings.roles[4];
        *role =
            std::sync::Arc::new(turnpike::turn::quota::Role { bandwidth: Some(64_000), ..(**role).clone() });
    };
    let mut world = World::with(slow);
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.bound(&phone, PEER, DATA);
    let mut passed = 0;
    for way in [Way::ToPeer, Way::ToClient] {
        while let Ok(room) = world.server.room(connection, way, world.now.instant) {
            world.server.streamed(connection, way, room.min(10_000), world.now.instant);
            passed += room.min(10_000) as u64;
        }
    }
    assert!(passed <= 2 * 24_000, "{passed}");
    let again = world.server.room(connection, Way::ToPeer, world.now.instant).unwrap_err();
    assert!(again > world.now.instant && again < world.now.instant + Duration::from_millis(100));
    assert!(world.server.room(connection, Way::ToPeer, again).is_ok());
    let row = &world.server.allocations().next().unwrap().row;
    assert_eq!(row.to_peers.traffic.bytes + row.to_client.traffic.bytes, passed);
}

#[test]
fn a_connection_of_another_worker_is_handed_over_with_its_request() {
    let place = |worker| move |settings: &mut Settings| settings.place = Place { worker, of: 3 };
    let (mut owner, mut other) = (World::with(place(2)), World::with(place(0)));
    let (phone, _) = owner.tcp_allocated(CLIENT, TCP);
    let connection = owner.connected(&phone, PEER);
    // The kernel gave the client's second connection to another worker, which asks who it is.
    let data = other.phone(tcp(DATA), TCP);
    let bind = |w: &mut turnpike::stun::Writer<'_>| _ = w.put_u32(Type::CONNECTION_ID, connection.0);
    let outputs = other.start(&data, Method::CONNECTION_BIND, bind);
    let [Output::HandOver { client, worker: 2, request }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(*client, data.from);
    // The owner takes the nonce of its neighbour.
    owner.server.handle_client(*client, request, owner.now);
    let outputs = owner.outputs();
    assert_eq!(told(&outputs[0], &data).code(), 0);
    assert_eq!(outputs[1..], [Output::Bound { connection, client: data.from }]);
    other.assert_empty();
}

#[test]
fn nobody_is_handed_over_before_they_have_shown_who_they_are() {
    let mut world = World::with(|settings| settings.place = Place { worker: 0, of: 2 });
    let mut data = world.phone(tcp(DATA), TCP);
    data.user = crate::world::OTHER;
    let id = world.id();
    let mut request = crate::world::signed(&data, Method::CONNECTION_BIND, id, |w| {
        w.put_u32(Type::CONNECTION_ID, 1);
    });
    let last = request.len() - 1;
    request[last] ^= 1;
    assert_eq!(world.hand_in(data.from, &request).unwrap().code(), 401);
}
