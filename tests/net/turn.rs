//! TURN over UDP, against a running node: real sockets on loopback. The rules themselves are in tests/rfc8656.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use turnpike::net::settings::{TurnAddress, TurnListener, TurnSettings, TurnTransport};
use turnpike::net::{Node, NodeSettings};
use turnpike::relay::RelayAddress;
use turnpike::turn::credentials::{self, Keys, RoleId, User};
use turnpike::turn::peers::Peers;
use turnpike::turn::quota::{Capacity, Role};

use crate::harness::{DEADLINE, node};
use crate::turn_client::{Received, TurnClient};

const REALM: &str = "test";

/// A TURN server with one listener, `turn`, and two users who have their names as passwords: `alice` may reach 127.0.0.0/8,
/// `caller` what calls name.
pub fn settings() -> TurnSettings {
    let role = |peers| Role {
        allocations: 100,
        bandwidth: None,
        lifetime: Duration::from_secs(3600),
        peers,
        deny: Vec::new(),
        tcp: false,
    };
    let user = |(role, name): (u16, &str)| User {
        name: name.into(),
        keys: Keys::of_password(name, REALM, name),
        role: RoleId(role),
    };
    let here = "127.0.0.1".parse().unwrap();
    TurnSettings {
        listeners: vec![TurnListener {
            name: "turn".into(),
            bind: "127.0.0.1:0".parse().unwrap(),
            advertise: "127.0.0.1:0".into(),
            transport: TurnTransport::Udp,
            certificate: None,
        }],
        accounts: credentials::Settings {
            realm: REALM.into(),
            users: [(0, "alice"), (1, "caller")].map(user).into(),
            secrets: Default::default(),
            short_lived_role: RoleId(1),
        },
        credentials_lifetime: Duration::from_secs(3600),
        roles: [Peers::Networks(vec!["127.0.0.0/8".parse().unwrap()]), Peers::Calls]
            .map(|peers| Arc::new(role(peers)))
            .into(),
        capacity: Capacity { allocations: 1000, permissions: 16, channels: 16, ..Capacity::default() },
        addresses: vec![TurnAddress {
            address: RelayAddress { bind: here, advertise: here },
            networks: Arc::new([]),
        }],
        alternates: Vec::new(),
    }
}

/// A node with this TURN server, on relay ports that no other test of this process has.
pub fn turn_node(workers: usize, change: impl FnOnce(&mut TurnSettings)) -> (Node, tempfile::TempDir) {
    turn_node_with(workers, change, |_| ())
}

/// The same, with what is around it changed as well.
pub fn turn_node_with(
    workers: usize,
    change: impl FnOnce(&mut TurnSettings),
    around: impl FnOnce(&mut NodeSettings),
) -> (Node, tempfile::TempDir) {
    static FIRST: AtomicU16 = AtomicU16::new(50_000);
    let first = FIRST.fetch_add(100, Ordering::Relaxed);
    node(|settings| {
        settings.relay.ports = first..=first + 99;
        settings.relay.workers = workers;
        let mut turn = self::settings();
        change(&mut turn);
        settings.net.turn = Some(turn);
        around(settings);
    })
}

pub fn client(node: &Node, user: &str) -> TurnClient {
    TurnClient::over_udp(node.turn_listener("turn").unwrap(), user, user)
}

/// A peer, on an address that is not the relay's.
pub fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

pub fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 65_536];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..n].to_vec(), from)
}

#[test]
fn data_goes_both_ways_by_indication_and_by_channel() {
    for workers in [1, 2] {
        let (node, _dir) = turn_node(workers, |_| ());
        let (mut alice, (bob, bob_addr)) = (client(&node, "alice"), peer());
        let relayed = alice.allocate();
        assert!((50_000..60_000).contains(&relayed.port()));
        assert_eq!(alice.permit(bob_addr), 0);
        for size in [0, 1, 2, 3, 4, 172, 1400, 8000] {
            let data = vec![size as u8; size];
            alice.send(bob_addr, &data);
            assert_eq!(receive(&bob), (data.clone(), relayed));
            bob.send_to(&data, relayed).unwrap();
            assert_eq!(alice.receive(), Received::Data(bob_addr, data));
        }
        assert_eq!(alice.bind(0x4001, bob_addr), 0);
        for n in 0..100 {
            alice.send_on(0x4001, &[n; 172]);
            bob.send_to(&[n; 160], relayed).unwrap();
        }
        for n in 0..100 {
            assert_eq!(receive(&bob), (vec![n; 172], relayed));
            assert_eq!(alice.receive(), Received::Channel(0x4001, vec![n; 160]));
        }
    }
}

#[test]
fn when_the_node_stops_every_port_is_free() {
    let (node, _dir) = turn_node(2, |_| ());
    let listener = node.turn_listener("turn").unwrap();
    let relayed: Vec<SocketAddr> = (0..3).map(|_| client(&node, "alice").allocate()).collect();
    assert!(relayed.iter().all(|addr| UdpSocket::bind(addr).is_err()));
    drop(node);
    for addr in relayed.into_iter().chain([listener]) {
        UdpSocket::bind(addr).unwrap();
    }
}
