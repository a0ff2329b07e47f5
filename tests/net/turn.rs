//! TURN over UDP, against a running node: real sockets on loopback. The rules themselves are in tests/rfc8656.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use turnpike::base::Transport;
use turnpike::net::settings::{TurnAddress, TurnListener, TurnSettings, TurnTransport};
use turnpike::net::{Node, NodeSettings, TurnAllocation};
use turnpike::relay::RelayAddress;
use turnpike::stun::{ErrorCode, Method, Type};
use turnpike::turn::credentials::{self, Keys, RoleId, User};
use turnpike::turn::forward::Reason;
use turnpike::turn::peers::Peers;
use turnpike::turn::quota::{Capacity, Role};

use crate::calls::{Call, anchored, audio, rtp, sdp};
use crate::harness::{DEADLINE, Udp, eventually, node, with_pbx};
use crate::turn_client::{Received, TurnClient};

pub const REALM: &str = "test";

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
    let here = relay_ip();
    TurnSettings {
        listeners: vec![TurnListener {
            name: "turn".into(),
            bind: SocketAddr::new(here, 0),
            advertise: format!("{here}:0").into(),
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

/// An address of this process's own in 127.0.0.0/8: the ports of other test runs are not in the way.
pub fn relay_ip() -> IpAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high, middle, low).into()
}

/// A node with this TURN server.
pub fn turn_node(workers: usize, change: impl FnOnce(&mut TurnSettings)) -> (Node, tempfile::TempDir) {
    turn_node_with(workers, change, |_| ())
}

/// The same, with what is around it changed as well.
pub fn turn_node_with(
    workers: usize,
    change: impl FnOnce(&mut TurnSettings),
    around: impl FnOnce(&mut NodeSettings),
) -> (Node, tempfile::TempDir) {
    node(|settings| {
        let mut turn = self::settings();
        change(&mut turn);
        with_turn(settings, workers, turn);
        around(settings);
    })
}

/// Puts a TURN server into a node.
pub fn with_turn(settings: &mut NodeSettings, workers: usize, turn: TurnSettings) {
    settings.relay.workers = workers;
    settings.net.turn = Some(turn);
}

pub fn client(node: &Node, user: &str) -> TurnClient {
    TurnClient::over_udp(node.turn_listener("turn").unwrap(), user, user)
}

/// A peer, on an address that is not the relay's.
pub fn peer() -> (UdpSocket, SocketAddr) {
    peer_at(Ipv4Addr::LOCALHOST.into())
}

fn peer_at(ip: IpAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

pub fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 65_536];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..n].to_vec(), from)
}

/// Data of many lengths, by indication and by channel, from a client to a peer and back.
pub fn talks_both_ways(mut alice: TurnClient) {
    let (bob, bob_addr) = peer();
    let relayed = alice.allocate();
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
        alice.send_on(0x4001, &vec![n; usize::from(n)]);
        bob.send_to(&vec![n; usize::from(n)], relayed).unwrap();
    }
    for n in 0..100 {
        assert_eq!(receive(&bob), (vec![n; usize::from(n)], relayed));
        assert_eq!(alice.receive(), Received::Channel(0x4001, vec![n; usize::from(n)]));
    }
}

#[test]
fn data_goes_both_ways_by_indication_and_by_channel() {
    for workers in [1, 2] {
        let (node, _dir) = turn_node(workers, |_| ());
        let (mut alice, (bob, bob_addr)) = (client(&node, "alice"), peer());
        let relayed = alice.allocate();
        assert_eq!(relayed.ip(), relay_ip());
        assert!((10_000..32_000).contains(&relayed.port()), "{relayed}: not of `ports()`");
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

#[test]
fn one_allocation_reaches_another_of_the_same_and_of_another_worker() {
    let (node, _dir) = turn_node(2, |_| ());
    // The kernel divides clients between the workers by their ports: with so many, both have some.
    let mut clients: Vec<(TurnClient, SocketAddr)> = (0..12)
        .map(|_| {
            let mut client = client(&node, "alice");
            let relayed = client.allocate();
            (client, relayed)
        })
        .collect();
    let relayed: Vec<SocketAddr> = clients.iter().map(|(_, relayed)| *relayed).collect();
    let ways = |n: usize| (0..relayed.len()).filter(move |other| *other != n);
    for (n, (client, _)) in clients.iter_mut().enumerate() {
        ways(n).for_each(|other| assert_eq!(client.bind(0x4000 + other as u16, relayed[other]), 0));
    }
    for (n, (client, _)) in clients.iter_mut().enumerate() {
        ways(n).for_each(|other| client.send_on(0x4000 + other as u16, &[n as u8; 172]));
    }
    for (n, (client, _)) in clients.iter_mut().enumerate() {
        let mut from: Vec<u16> = ways(n)
            .map(|_| match client.receive() {
                Received::Channel(number, data) => {
                    assert_eq!(data, [number as u8; 172]);
                    number - 0x4000
                }
                other => panic!("{other:?}"),
            })
            .collect();
        from.sort_unstable();
        assert_eq!(from, ways(n).map(|other| other as u16).collect::<Vec<_>>());
    }
}

#[test]
fn an_allocation_that_sends_to_itself_hears_itself_once() {
    let (node, _dir) = turn_node(1, |_| ());
    let mut alice = client(&node, "alice");
    let relayed = alice.allocate();
    assert_eq!(alice.permit(relayed), 0);
    alice.send(relayed, b"echo");
    assert_eq!(alice.receive(), Received::Data(relayed, b"echo".to_vec()));
    let (bob, bob_addr) = peer();
    assert_eq!(alice.permit(bob_addr), 0);
    alice.send(bob_addr, b"next");
    assert_eq!(receive(&bob).0, b"next");
}

/// The role names 127.0.0.0/8, so that what is on the relay's own address and no relayed address is reached through the
/// kernel, but for our listeners.
#[test]
fn a_role_that_names_the_relay_address_reaches_what_else_is_there_but_no_listener() {
    let (node, _dir) = turn_node(1, |_| ());
    let (bob, bob_addr) = peer_at(relay_ip());
    let mut alice = client(&node, "alice");
    let relayed = alice.allocate();
    assert_eq!(alice.bind(0x4000, bob_addr), 0);
    alice.send_on(0x4000, b"hello");
    assert_eq!(receive(&bob), (b"hello".to_vec(), relayed));
    bob.send_to(b"back", relayed).unwrap();
    assert_eq!(alice.receive(), Received::Channel(0x4000, b"back".to_vec()));
    for listener in ["udp", "tcp", "tls"].map(|name| node.listener(name).unwrap()) {
        assert_eq!(alice.bind(0x4001, listener), 403);
    }
    assert_eq!(alice.bind(0x4001, node.turn_listener("turn").unwrap()), 403);

    let mut caller = client(&node, "caller");
    caller.allocate();
    assert_eq!(caller.bind(0x4000, bob_addr), 403, "peers: calls reaches relayed addresses and nothing else");
}

#[test]
fn the_client_learns_by_icmp_that_its_peer_is_gone_and_goes_on() {
    let (node, _dir) = turn_node(1, |_| ());
    let (mut alice, (bob, bob_addr)) = (client(&node, "alice"), peer());
    let relayed = alice.allocate();
    let gone = peer().1;
    assert_eq!(alice.permit(gone), 0);
    assert_eq!(alice.bind(0x4000, bob_addr), 0);
    for _ in 0..3 {
        alice.send(gone, b"anybody there?");
        let Received::Unreachable(peer, icmp) = alice.receive() else { panic!("data") };
        assert_eq!((peer, icmp.kind, icmp.code), (gone, 3, 3));
        alice.send_on(0x4000, b"hello");
        assert_eq!(receive(&bob), (b"hello".to_vec(), relayed));
    }
    alice.indicate(bob_addr, &[7; 1400], true);
    alice.indicate(bob_addr, &[8; 1400], false);
    assert_eq!((receive(&bob).0, receive(&bob).0), (vec![7; 1400], vec![8; 1400]));
}

#[test]
fn a_reserved_port_is_the_next_one_and_is_given_to_its_user_on_any_worker() {
    let (node, _dir) = turn_node(2, |_| ());
    for _ in 0..8 {
        let (mut rtp, mut rtcp, (bob, bob_addr)) = (client(&node, "alice"), client(&node, "alice"), peer());
        let answer = rtp.ask(Method::ALLOCATE, |writer| {
            writer.put_requested_transport(17).put_even_port(true);
        });
        let (even, token) = (answer.relayed(), answer.message().reservation_token().unwrap().unwrap());
        assert_eq!(even.port() % 2, 0);
        let answer = rtcp.ask(Method::ALLOCATE, |writer| {
            writer.put_requested_transport(17).put(Type::RESERVATION_TOKEN, &token);
        });
        assert_eq!(answer.relayed(), SocketAddr::new(even.ip(), even.port() + 1));
        for (client, relayed) in [(&mut rtp, even), (&mut rtcp, answer.relayed())] {
            assert_eq!(client.bind(0x4000, bob_addr), 0);
            client.send_on(0x4000, b"hello");
            assert_eq!(receive(&bob), (b"hello".to_vec(), relayed));
            bob.send_to(b"back", relayed).unwrap();
            assert_eq!(client.receive(), Received::Channel(0x4000, b"back".to_vec()));
            assert_eq!(client.refresh(0), 0);
            eventually("the port is closed", || UdpSocket::bind(relayed).is_ok());
        }
    }
}

/// A phone behind a firewall names its relayed address in its offer: its media goes from its allocation into the call's pair
/// of relayed addresses and back, all of them ours, and not through the kernel in between.
#[test]
fn media_goes_from_an_allocation_into_a_call_and_back() {
    for workers in [1, 2] {
        let mut callee = Udp::new("127.0.0.1:9".parse().unwrap());
        let (node, _dir) = node(|settings| {
            with_turn(settings, workers, self::settings());
            anchored(settings, relay_ip());
            with_pbx(settings, Transport::Udp, callee.addr());
        });
        callee.to = node.listener("udp").unwrap();
        let (mut alice, (bob, bob_addr)) = (client(&node, "caller"), peer());
        let relayed = alice.allocate();
        let call = Call::up(Udp::new(callee.to), callee, &sdp(relayed), &sdp(bob_addr));
        let (facing_alice, facing_bob) = (audio(&call.ok), audio(&call.invite));
        assert_eq!(alice.bind(0x4000, facing_alice), 0);
        for number in 0..10 {
            alice.send_on(0x4000, &rtp(number));
            assert_eq!(receive(&bob), (rtp(number).to_vec(), facing_bob));
            bob.send_to(&rtp(100 + number), facing_bob).unwrap();
            assert_eq!(alice.receive(), Received::Channel(0x4000, rtp(100 + number).to_vec()));
        }
        let counted = || node.status().unwrap().media;
        eventually("counted", || counted().packets == 20);
        call.hang_up();
        eventually("nothing left", || node.status().unwrap().edge.relay.pairs == 0);
        alice.send_on(0x4000, &rtp(11));
        bob.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(bob.recv(&mut [0; 200]).is_err(), "the call has ended");
    }
}

/// The media address of the far end, which only the call makes a peer: no packet has to reach it.
#[test]
fn what_a_call_named_is_a_peer_while_the_call_lasts() {
    let mut callee = Udp::new("127.0.0.1:9".parse().unwrap());
    let (node, _dir) = node(|settings| {
        with_turn(settings, 2, self::settings());
        with_pbx(settings, Transport::Udp, callee.addr());
    });
    callee.to = node.listener("udp").unwrap();
    let mut clients: Vec<TurnClient> = (0..6).map(|_| client(&node, "caller")).collect();
    clients.iter_mut().for_each(|client| _ = client.allocate());
    let named: SocketAddr = "192.0.2.7:30000".parse().unwrap();
    assert_eq!(clients[0].permit(named), 403);
    let (_socket, ours) = peer();
    let call = Call::up(Udp::new(callee.to), callee, &sdp(ours), &sdp(named));
    for client in &mut clients {
        assert_eq!(client.permit(named), 0);
    }
    call.hang_up();
    for client in &mut clients {
        eventually("the permission is gone", || client.permit(named) == 403);
    }
}

#[test]
fn what_is_live_and_what_was_relayed_is_seen_from_outside() {
    let (node, _dir) = turn_node(2, |_| ());
    let totals = || node.status().unwrap().turn.unwrap();
    let mut clients: Vec<(TurnClient, SocketAddr)> = (0..6)
        .map(|n| {
            let mut client = client(&node, if n == 0 { "caller" } else { "alice" });
            let relayed = client.allocate();
            (client, relayed)
        })
        .collect();
    let (bob, bob_addr) = peer();
    let (alice, at_alice) = &mut clients[1];
    assert_eq!(alice.bind(0x4000, bob_addr), 0);
    alice.send_on(0x4000, &[1; 100]);
    receive(&bob);
    bob.send_to(&[2; 50], *at_alice).unwrap();
    alice.receive();
    alice.send_on(0x4001, b"no such channel");
    eventually("counted", || totals().dropped().any(|(reason, n)| reason == Reason::NoChannel && n == 1));
    let seen = totals();
    assert_eq!((seen.allocations, seen.permissions, seen.channels), (6, 1, 1));
    assert_eq!((seen.to_peers.packets, seen.to_peers.bytes), (1, 100));
    assert_eq!((seen.to_clients.packets, seen.to_clients.bytes), (1, 50));
    assert!(seen.refused().any(|(code, n)| code == ErrorCode::UNAUTHENTICATED && n == 6));

    let listed = listing(&node);
    assert_eq!(listed.len(), 6);
    assert!(listed.iter().all(|one| one.transport == TurnTransport::Udp));
    let of_alice = listed.iter().find(|one| one.listed.relayed[0].0 == *at_alice).unwrap();
    assert_eq!(&*of_alice.listed.user, "alice");
    assert_eq!((of_alice.listed.permissions, of_alice.listed.channels), (1, 1));
    assert_eq!((of_alice.listed.to_peers.bytes, of_alice.listed.to_client.bytes), (100, 50));
    let text = block_on(node.handle().metrics()).unwrap();
    assert!(text.contains("turn"), "{text}");

    clients.iter_mut().for_each(|(client, _)| assert_eq!(client.refresh(0), 0));
    eventually("all gone", || totals().allocations == 0 && listing(&node).is_empty());
    assert_eq!((totals().permissions, totals().channels), (0, 0));
}

#[test]
fn a_node_that_drains_sends_new_clients_elsewhere_and_serves_the_old_ones() {
    let elsewhere: SocketAddr = "192.0.2.9:3478".parse().unwrap();
    for alternates in [vec![elsewhere], Vec::new()] {
        let mut callee = Udp::new("127.0.0.1:9".parse().unwrap());
        let (node, _dir) = node(|settings| {
            with_turn(settings, 2, TurnSettings { alternates: alternates.clone(), ..self::settings() });
            with_pbx(settings, Transport::Udp, callee.addr());
        });
        callee.to = node.listener("udp").unwrap();
        let (mut alice, (bob, bob_addr)) = (client(&node, "alice"), peer());
        let relayed = alice.allocate();
        // A call keeps the node up.
        let call = Call::up(Udp::new(callee.to), callee, &sdp(bob_addr), &sdp(bob_addr));
        let handle = node.handle().clone();
        let drain = std::thread::spawn(move || block_on(handle.drain(DEADLINE)));
        let mut refused = None;
        eventually("new clients are refused", || {
            let mut newcomer = client(&node, "alice");
            let answer = newcomer.ask(Method::ALLOCATE, |writer| {
                writer.put_requested_transport(17);
            });
            let code = answer.code();
            if code == 0 {
                // Else alice soon has as many as she may, and is refused for that.
                assert_eq!(newcomer.refresh(0), 0);
            }
            refused = Some(answer);
            code != 0
        });
        let refused = refused.unwrap();
        let expected = if alternates.is_empty() { (508, None) } else { (300, Some(elsewhere)) };
        assert_eq!((refused.code(), refused.message().alternate_server().unwrap()), expected);
        assert_eq!(alice.refresh(600), 0);
        assert_eq!(alice.permit(bob_addr), 0);
        alice.send(bob_addr, b"still here");
        assert_eq!(receive(&bob), (b"still here".to_vec(), relayed));
        call.hang_up();
        drain.join().unwrap().unwrap();
    }
}

fn listing(node: &Node) -> Vec<TurnAllocation> {
    block_on(node.handle().turn_allocations()).unwrap()
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
