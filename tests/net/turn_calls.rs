//! Calls of phones that are TURN clients of the node, live: where media goes, who is heard, and what is left afterwards.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use turnpike::base::{ListenerId, Transport, ZoneId};
use turnpike::edge::settings::{Admit, Anchor, Ice, Listener, Trust, Zone};
use turnpike::net::settings::TurnAddress;
use turnpike::net::{Node, NodeSettings};
use turnpike::policy::matcher::{Condition, Glob, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};
use turnpike::relay::RelayAddress;
use turnpike::stun::{Class, Method, TransactionId, Writer};
use turnpike::turn::forward::Reason;
use turnpike::turn::totals::Totals;

use crate::calls::{Call, audio, rtp, sdp};
use crate::harness::{Udp, eventually, node, request, tcp, with_pbx};
use crate::turn::{client, peer, receive, relay_ip, settings, turn_node_with, with_turn};
use crate::turn_client::{Received, TurnClient};
use crate::turn_dtls::listeners;

/// What phones are shown of the relay (a 1:1 NAT): whoever binds it gets what goes there through the kernel.
fn shown_ip() -> IpAddr {
    let IpAddr::V4(bound) = relay_ip() else { unreachable!() };
    let [a, b, c, d] = bound.octets();
    Ipv4Addr::new(a, b ^ 32, c, d).into()
}

/// Phones in a zone without trust, the PBX in one of its own behind another relayed address.
fn phones_and_office(settings: &mut NodeSettings, workers: usize, pbx: SocketAddr) {
    let outside = RelayAddress { bind: relay_ip(), advertise: shown_ip() };
    let mut turn = self::settings();
    turn.addresses = vec![TurnAddress { address: outside, networks: [].into() }];
    with_turn(settings, workers, turn);
    with_pbx(settings, Transport::Udp, pbx);
    let edge = &mut settings.edge;
    edge.zones[0].media.ice = Ice::Auto;
    let inside = RelayAddress { bind: relay_ip(), advertise: relay_ip() };
    edge.zones.push(Zone { name: "office".into(), relay: Some(inside.into()), ..edge.zones[0].clone() });
    let phones = &mut edge.zones[0];
    (phones.trust, phones.admit, phones.relay) = (Trust::None, Admit::Any, Some(outside.into()));
    edge.zones.iter_mut().for_each(|zone| zone.media.anchor = Anchor::WhenNeeded);
    let inside = Listener { name: "inside".into(), zone: ZoneId(1), ..edge.listeners[0].clone() };
    edge.listeners.push(inside);
    let pbx = edge.pbx.as_mut().unwrap();
    pbx.zone = ZoneId(1);
    pbx.hosts[0].ways[0].1 = ListenerId(3);
    settings.net.listeners.push(None);
    settings.net.web.push(None);
}

pub fn totals(node: &Node) -> Totals {
    node.status().unwrap().turn.unwrap()
}

pub fn dropped(node: &Node, reason: Reason) -> u64 {
    totals(node).dropped().find(|(known, _)| *known == reason).unwrap().1
}

/// Somebody at an address that phones are shown for a relayed one: gets what should have stayed in the process.
fn trap(relayed: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(relayed).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn bound(shown: SocketAddr) -> SocketAddr {
    SocketAddr::new(relay_ip(), shown.port())
}

#[test]
fn a_phone_is_heard_from_its_own_allocation_only_and_nothing_takes_the_kernel_in_between() {
    for workers in [1, 2] {
        let callee = Udp::new("127.0.0.1:9".parse().unwrap());
        let (node, _dir) = node(|settings| phones_and_office(settings, workers, callee.addr()));
        let callee = Udp { to: node.listener("inside").unwrap(), ..callee };
        let (mut phone, (bob, bob_addr)) = (client(&node, "caller"), peer());
        let own = phone.allocate();
        assert_eq!(own.ip(), shown_ip());
        let ice = format!(
            "a=ice-ufrag:u\r\na=ice-pwd:p\r\na=candidate:1 1 udp 9 192.168.1.5 4000 typ host\r\n\
             a=candidate:2 1 udp 1 {} {} typ relay raddr 192.168.1.5 rport 4000\r\n",
            own.ip(),
            own.port()
        );
        let named: SocketAddr = "198.51.100.9:5004".parse().unwrap();
        let answer = sdp(bob_addr) + "a=candidate:1 1 udp 1 198.51.100.9 5004 typ host\r\n";
        assert_eq!(phone.permit(named), 403, "nobody has named it yet");
        let caller = Udp::new(node.listener("udp").unwrap());
        let call = Call::up(caller, callee, &(sdp(own) + &ice), &answer);
        let (facing_phone, facing_bob) = (audio(&call.ok), audio(&call.invite));
        assert_eq!((facing_phone.ip(), facing_bob.ip()), (shown_ip(), relay_ip()));
        let relayed: Vec<&str> = call.invite.lines().filter(|line| line.contains(" typ relay ")).collect();
        assert!(
            relayed.len() == 2 && relayed.iter().all(|line| line.contains(&format!(" {} ", relay_ip()))),
            "{relayed:?}"
        );

        let traps = [trap(own), trap(facing_phone)];
        // In the name of the phone's relayed address, and from where its SIP comes: neither latches the leg.
        traps[0].send_to(&rtp(90), bound(facing_phone)).unwrap();
        call.caller.socket.send_to(&rtp(91), bound(facing_phone)).unwrap();
        // In the name of the call's, to the phone.
        assert_eq!(phone.bind(0x4000, facing_phone), 0);
        traps[1].send_to(&rtp(92), bound(own)).unwrap();
        let media = || node.status().unwrap().media;
        eventually("counted", || media().refused_source == 2 && dropped(&node, Reason::NoPermission) == 1);

        for number in 0..10 {
            phone.send_on(0x4000, &rtp(number));
            assert_eq!(receive(&bob), (rtp(number).to_vec(), facing_bob));
            bob.send_to(&rtp(100 + number), facing_bob).unwrap();
            assert_eq!(phone.receive(), Received::Channel(0x4000, rtp(100 + number).to_vec()));
        }
        eventually("counted", || media().packets == 20);
        for trap in traps {
            assert!(trap.recv(&mut [0; 200]).is_err(), "it went through the kernel");
        }

        assert_eq!(phone.bind(0x4001, named), 0);
        assert_eq!((totals(&node).permissions, totals(&node).channels), (2, 2));
        call.hang_up();
        eventually("what the call named is gone", || {
            (totals(&node).permissions, totals(&node).channels) == (1, 1)
        });
        assert_eq!(phone.permit(named), 403);
        phone.send_on(0x4001, &rtp(11));
        phone.send_on(0x4000, &rtp(12));
        eventually("dropped", || {
            dropped(&node, Reason::NoChannel) == 1 && dropped(&node, Reason::Nobody) == 1
        });
        assert_eq!(media().packets, 20);
    }
}

#[test]
fn a_banned_source_loses_its_allocations_and_is_not_answered() {
    let scanners = Rule {
        name: "scanners / names".into(),
        when: vec![Condition {
            negated: false,
            matcher: Matcher::Agent([Glob::new("friendly-scanner*")].into()),
        }],
        count: None,
        answer: Answer {
            verdict: Some(Verdict::Refuse(Action::Drop)),
            ban: Some(Duration::from_secs(3600)),
            ..Answer::default()
        },
        written: Default::default(),
    };
    let policy = Policy {
        name: "scanners".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![scanners],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    };
    let (node, _dir) = turn_node_with(2, listeners, |settings| settings.policy.policies.push(policy));
    let at_scanner = |listener| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(node.turn_listener(listener).unwrap()).unwrap();
        socket
    };
    let (mut scanner, mut other) =
        (TurnClient::new(at_scanner("turn"), "alice", "alice"), client(&node, "alice"));
    scanner.allocate();
    other.allocate();
    assert_eq!(totals(&node).allocations, 2);
    let sip = node.listener("tcp").unwrap();
    let mut stream = tcp(sip);
    assert_eq!(stream.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
    let invite = request("INVITE", &format!("sip:100@{sip}"), Transport::Tcp, stream.local_addr().unwrap());
    let scan = invite.replace("Contact:", "User-Agent: friendly-scanner\r\nContact:");
    std::io::Write::write_all(&mut stream, scan.as_bytes()).unwrap();
    eventually("its allocation is gone", || totals(&node).allocations == 1);
    let mut binding = Vec::new();
    Writer::begin(&mut binding, Class::Request, Method::BINDING, TransactionId([7; 12]));
    let (request, handshake) = (at_scanner("turn"), at_scanner("dtls"));
    request.send(&binding).unwrap();
    eventually("its request is dropped", || dropped(&node, Reason::Banned) == 1);
    handshake.send(&[22, 0xfe, 0xfd, 0]).unwrap();
    eventually("its handshake is dropped", || dropped(&node, Reason::Banned) == 2);
    assert_eq!(other.refresh(600), 0, "others go on");
}
