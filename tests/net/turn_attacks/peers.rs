//! Where a thief with good credentials wants to go.

use turnpike::base::Transport;
use turnpike::edge::settings::Listener;

use super::*;
use crate::harness::{Dead, options};
use crate::turn_client::Received;

/// What stands for a loopback address (A of 127.0.0.2, of ::1), or for one inside, in every spelling.
pub(super) const INSIDE: [&str; 46] = [
    "127.0.0.2",
    "127.0.0.7",
    "127.255.255.254",
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.0.1",
    "169.254.169.254",
    "192.0.0.192",
    "168.63.129.16",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "100::1",
    "ff02::1",
    "::ffff:127.0.0.2",
    "::ffff:127.0.0.1",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::127.0.0.2",
    "::10.0.0.1",
    "::ffff:0:127.0.0.2",
    "64:ff9b::127.0.0.2",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::7f00:2",
    "2002:7f00:2::1",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:7f00:2::1",
    "2001:0:808:808::80ff:fffd",
    "2001:db8::5efe:127.0.0.2",
    "2001:db8::200:5efe:10.0.0.1",
    "fe80::5efe:127.0.0.2",
];

pub(super) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[test]
fn peers_inside_are_403_in_every_spelling_and_get_nothing() {
    let attacked = Attacked::with_turn(|turn| turn.capacity.permissions = 100);
    let trap = Trap::on(&["127.0.0.2", "127.0.0.1", "127.0.0.7", "127.255.255.254", "::1"]);
    let mut thief = attacked.allocated_both("thief");
    for ip in INSIDE {
        let peer = at(ip, trap.port);
        assert_eq!(thief.bind(0x4000, peer), 403, "{ip}");
        assert_eq!(thief.permit(peer), 403, "{ip}");
        thief.send(peer, b"reached");
        thief.send_on(0x4000, b"reached");
    }
    settle(&mut thief);
    trap.assert_empty();
    // It does catch what a role allows.
    let mut alice = attacked.client("alice");
    alice.allocate();
    assert_eq!(alice.permit(at("127.0.0.2", trap.port)), 0);
    alice.send(at("127.0.0.2", trap.port), b"reached");
    settle(&mut alice);
    assert_eq!(trap.sockets[0].recv(&mut [0; 64]).unwrap(), 7);
    attacked.still_serves();
}

#[test]
fn several_peers_of_which_one_is_inside_are_all_refused() {
    let attacked = Attacked::new();
    let mut thief = attacked.client("thief");
    thief.allocate();
    let answer = thief.ask(Method::CREATE_PERMISSION, |writer| {
        writer.put_xor_address(Type::XOR_PEER_ADDRESS, at("192.0.2.1", 9));
        writer.put_xor_address(Type::XOR_PEER_ADDRESS, at("127.0.0.2", 9));
    });
    assert_eq!(answer.code(), 403);
    attacked.still_serves();
}

/// The relay's own addresses are loopback addresses here, and peers may be relayed addresses of ours: no other port of theirs.
#[test]
fn what_else_runs_on_the_relays_own_addresses_gets_nothing() {
    let attacked = Attacked::new();
    let trap = Trap::on(&["127.0.0.1", "::1"]);
    for user in ["thief", "caller"] {
        let mut client = attacked.allocated_both(user);
        for ip in ["127.0.0.1", "::1"] {
            let peer = at(ip, trap.port);
            assert_ne!(client.bind(0x4000, peer), 0, "{user} {ip}");
            client.permit(peer);
            client.send(peer, b"reached");
            client.send_on(0x4000, b"reached");
        }
        settle(&mut client);
    }
    trap.assert_empty();
    attacked.still_serves();
}

/// A port of the relay's range that is nobody's relayed address: somebody else's socket may be there.
#[test]
fn a_relay_port_that_we_have_not_opened_gets_nothing() {
    let attacked = Attacked::new();
    let mut caller = attacked.client("caller");
    let own = caller.allocate();
    let free = (own.port() / 100 * 100..).find_map(|port| UdpSocket::bind(("127.0.0.1", port)).ok()).unwrap();
    let peer = free.local_addr().unwrap();
    free.set_nonblocking(true).unwrap();
    caller.permit(peer);
    caller.bind(0x4000, peer);
    caller.send(peer, b"reached");
    caller.send_on(0x4000, b"reached");
    settle(&mut caller);
    Trap { port: peer.port(), sockets: vec![free] }.assert_empty();
    attacked.still_serves();
}

/// Listeners on one address and on all of them; `alice` may reach any loopback address, but no listener.
#[test]
fn our_own_listeners_are_403_and_do_not_hear_it() {
    let admin = Dead::new(Transport::Tcp);
    for bind in ["127.0.0.1:0", "127.0.0.3:0", "0.0.0.0:0"] {
        let attacked = Attacked::with(|settings| {
            settings.admin = Some(admin.at);
            settings.edge.listeners.iter_mut().for_each(|listener| listener.bind = bind.parse().unwrap());
        });
        let listeners = attacked.node.listeners().iter().map(|listener: &Listener| listener.bind);
        let mut addrs: Vec<SocketAddr> = listeners.chain([attacked.turn(), admin.at]).collect();
        for addr in addrs.clone().iter().filter(|addr| addr.ip().is_unspecified()) {
            addrs.extend(["127.0.0.1", "127.0.0.99"].map(|ip| at(ip, addr.port())));
        }
        let sip = *addrs.iter().rfind(|addr| addr.port() == addrs[0].port()).unwrap(); // the UDP one
        for user in ["alice", "thief", "caller"] {
            let mut client = attacked.allocated_both(user);
            for addr in &addrs {
                assert_eq!(client.bind(0x4000, *addr), 403, "{user} {addr} on {bind}");
            }
            client.permit(sip);
            let ask = options(Transport::Udp, sip, sip);
            client.send(sip, ask.as_bytes());
            settle(&mut client);
            // Whoever hears OPTIONS answers in turn.
            Udp::new(sip).assert_served();
            settle(&mut client);
            assert_eq!(client.receive_within(AT_ONCE), None, "{user} spoke to {sip} on {bind}");
        }
    }
}

#[test]
fn a_relay_loop_does_not_grow() {
    let attacked = Attacked::new();
    let (mut a, mut b) = (attacked.client("thief"), attacked.client("thief"));
    let (at_a, at_b) = (a.allocate(), b.allocate());
    for (client, own, other) in [(&mut a, at_a, at_b), (&mut b, at_b, at_a)] {
        assert_eq!((client.bind(0x4000, own), client.bind(0x4001, other)), (0, 0));
    }
    a.send_on(0x4000, b"to itself");
    assert_eq!(a.receive(), Received::Channel(0x4000, b"to itself".to_vec()));
    a.send_on(0x4001, b"to the other");
    assert_eq!(b.receive(), Received::Channel(0x4001, b"to the other".to_vec()));
    settle(&mut a);
    settle(&mut b);
    assert_eq!((a.receive_within(AT_ONCE), b.receive_within(AT_ONCE)), (None, None), "once, and no more");
    attacked.still_serves();
}

#[test]
fn stolen_credentials_of_a_calls_role_reach_nothing() {
    let attacked = Attacked::new();
    let trap = Trap::on(&["127.0.0.2", "127.0.0.1", "::1"]);
    let mut stolen = attacked.allocated_both("caller");
    for ip in ["127.0.0.2", "127.0.0.1", "::1", "192.0.2.1", "8.8.8.8", "2001:db8::1"] {
        let peer = at(ip, trap.port);
        assert_eq!(stolen.bind(0x4000, peer), 403, "{ip}");
        stolen.permit(peer);
        stolen.send(peer, b"reached");
        stolen.send_on(0x4000, b"reached");
    }
    settle(&mut stolen);
    trap.assert_empty();
    attacked.still_serves();
}

/// What a stranger sends to a relayed address reaches nobody: it has no permission.
#[test]
fn a_stranger_who_finds_a_relayed_address_reaches_nobody() {
    let attacked = Attacked::new();
    let (mut alice, (_bob, bob_addr)) = (attacked.client("alice"), turn::peer());
    let relayed = alice.allocate();
    assert_eq!(alice.permit(bob_addr), 0);
    let stranger = UdpSocket::bind("127.0.0.66:0").unwrap();
    for _ in 0..100 {
        stranger.send_to(b"let me in", relayed).unwrap();
    }
    settle(&mut alice);
    assert_eq!(alice.receive_within(AT_ONCE), None);
    attacked.still_serves();
}

/// Another port of the same address is another five-tuple: it can neither use nor end what is not its own.
#[test]
fn a_neighbour_behind_the_same_address_cannot_speak_for_a_client() {
    let attacked = Attacked::new();
    let (mut alice, (bob, bob_addr)) = (attacked.client("alice"), turn::peer());
    alice.allocate();
    assert_eq!(alice.bind(0x4000, bob_addr), 0);
    let mut neighbour = attacked.client("thief");
    neighbour.send_on(0x4000, b"reached");
    neighbour.send(bob_addr, b"reached");
    assert_eq!(neighbour.refresh(0), 437);
    neighbour.allocate();
    settle(&mut neighbour);
    bob.set_nonblocking(true).unwrap();
    Trap { port: bob_addr.port(), sockets: vec![bob] }.assert_empty();
    assert_eq!(alice.refresh(600), 0);
    attacked.still_serves();
}
