//! The TURN rows of the attack table that concern TCP.

use turnpike::turn::connection::ConnectionId;

use crate::world::{INTERNET, OTHER, TCP, TCP_CALLS, World};

const CLIENT: &str = "198.51.100.1:5000";
const DATA: &str = "198.51.100.1:5001";
const PEER: &str = "192.0.2.1:9000";

#[test]
fn connect_reaches_nothing_inside_in_any_spelling() {
    let mut world = World::new();
    let phone = world.phone(crate::net::tcp(CLIENT), TCP);
    let code = world.code(&phone, turnpike::stun::Method::ALLOCATE, |w| {
        crate::net::wants_tcp(w);
        w.put_family(turnpike::stun::Type::ADDITIONAL_ADDRESS_FAMILY, turnpike::stun::Family::V6);
    });
    assert_eq!(code, 0);
    let inside = [
        "127.0.0.1:22",
        "0.0.0.0:22",
        "10.0.0.1:22",
        "192.168.0.1:80",
        "100.64.0.1:80",
        "169.254.169.254:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "[::]:22",
        "[::1]:22",
        "[fe80::1]:22",
        "[fd00:ec2::254]:80",
        "[::ffff:127.0.0.1]:22",
        "[::127.0.0.1]:22",
        "[64:ff9b::a9fe:a9fe]:80",
        "[2002:7f00:1::1]:22",
    ];
    for peer in inside {
        assert_eq!(world.connect_code(&phone, peer), 403, "{peer}");
    }
    assert_eq!(world.books.peer_connections(), 0);
}

#[test]
fn connect_reaches_no_listener_of_ours() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    for listener in ["203.0.113.11:3478", "203.0.113.11:5060", "203.0.113.10:5060", "203.0.113.10:22"] {
        assert_eq!(world.connect_code(&phone, listener), 403, "{listener}");
    }
}

#[test]
fn connect_reaches_at_our_relay_addresses_what_a_client_opened_in_tcp_and_nothing_else() {
    let mut world = World::new();
    let (_, udp) = world.allocated("198.51.100.3:5000", INTERNET);
    let (_, tcp) = world.tcp_allocated("198.51.100.2:5000", TCP);
    for user in [TCP, TCP_CALLS] {
        let (phone, _) = world.tcp_allocated(CLIENT, user);
        // The port is the relay's in UDP; whose it is in TCP, nobody knows.
        assert_eq!(world.connect_code(&phone, &udp.to_string()), 403);
        assert_eq!(world.connect_code(&phone, "203.0.113.10:45000"), 403);
        assert_eq!(world.connect_code(&phone, &tcp.to_string()), 0);
        world.server.handle_closed(phone.from);
        world.outputs();
    }
}

#[test]
fn stolen_credentials_of_a_calls_role_connect_to_nothing() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP_CALLS);
    for peer in ["8.8.8.8:53", "192.0.2.7:25", "203.0.113.11:5060"] {
        assert_eq!(world.connect_code(&phone, peer), 403, "{peer}");
    }
}

#[test]
fn a_connection_id_is_not_guessed() {
    let mut world = World::with(|settings| settings.capacity.peer_connections = 100);
    world.banned_for_a_moment(TCP);
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let mut ids: Vec<u32> =
        (0..5).map(|n| world.connected(&phone, &format!("192.0.2.1:{}", 9000 + n)).0).collect();
    ids.sort_unstable();
    // Nothing is counted: two neighbours in 32 bits would be one chance in hundreds of millions.
    assert!(ids.windows(2).all(|pair| pair[1] - pair[0] > 1000), "{ids:?}");
    for guess in (0..64).map(|n| ids[0].wrapping_add(1 + n)) {
        assert_eq!(world.bind_data(DATA, TCP, ConnectionId(guess)), 400);
    }
    assert_eq!(world.books.peer_connections(), 5, "guessing costs nobody their connection");
}

#[test]
fn another_users_connection_bind_is_400_and_takes_nothing_away() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    let connection = world.connected(&phone, PEER);
    for thief in [TCP_CALLS, OTHER] {
        assert_eq!(world.bind_data("198.51.100.66:1", thief, connection), 400);
    }
    assert_eq!(world.bind_data(DATA, TCP, connection), 0);
}

#[test]
fn another_users_connect_is_441() {
    let mut world = World::new();
    world.tcp_allocated(CLIENT, TCP);
    let thief = world.phone(crate::net::tcp(CLIENT), TCP_CALLS);
    assert_eq!(world.connect_code(&thief, PEER), 441);
}

#[test]
fn a_flood_of_connections_from_a_permitted_peer_ends_at_the_capacity_and_is_forgotten() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    world.permit(&phone, PEER);
    let stayed = (1..=1000)
        .filter(|port| world.peer_connects(relayed, &format!("192.0.2.1:{port}")).0.is_some())
        .count();
    assert_eq!(stayed, 3);
    world.wait(30);
    assert_eq!(world.books.peer_connections(), 0);
}
