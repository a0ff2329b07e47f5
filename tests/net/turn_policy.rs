//! TURN under policies, against a running node: who is let in, whom they reach, what they hold and how much they relay.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;
use turnpike::base::ban::Banned;
use turnpike::config::compiled::Names;
use turnpike::config::policy::load;
use turnpike::net::Node;
use turnpike::stun::Method;
use turnpike::turn::forward::Reason;

use crate::harness::{eventually, options, tcp_from};
use crate::turn::{block_on, client, peer, receive, turn_node_with};
use crate::turn_calls::{dropped, totals};
use crate::turn_client::{TurnClient, Wire};
use crate::turn_dtls;
use crate::turn_stream::over_tcp;
use crate::turn_streams;

/// A node with TURN over all transports on two workers, and this policy.
fn under(policy: &str) -> (Node, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("p.yaml");
    std::fs::write(&path, policy).unwrap();
    // Those of SIP, and behind them those of TURN.
    let listeners = ["udp", "tcp", "tls", "turn", "tcp", "tls", "dtls"].map(Into::into).to_vec();
    let roles = ["lab", "phones"].map(Into::into).to_vec();
    let names = Names { listeners, roles, ..Names::default() };
    let policies = load(&[path], &names, Instant::now()).unwrap_or_else(|report| panic!("{report}")).policies;
    let all = |turn: &mut _| {
        turn_streams::listeners(turn);
        turn_dtls::listeners(turn);
    };
    turn_node_with(2, all, |settings| settings.policy.policies = policies)
}

fn rules(rules: &str) -> (Node, TempDir) {
    under(&format!("policy: p\napplies_to: [packets, relay]\nrules:\n{rules}"))
}

/// From an address of its own.
fn client_from(ip: &str, node: &Node, user: &str) -> TurnClient {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.connect(node.turn_listener("turn").unwrap()).unwrap();
    TurnClient::new(socket, user, user)
}

fn code_of_allocate(client: &mut TurnClient) -> u16 {
    let answer = client.ask(Method::ALLOCATE, |writer| {
        writer.put_requested_transport(17);
    });
    answer.code()
}

/// How often a rule has spoken.
fn hits(node: &Node, rule: &str) -> u64 {
    let (policies, _) = block_on(node.handle().policy_hits()).unwrap();
    let mut rules = policies.iter().flat_map(|policy| &policy.rules);
    rules.find(|known| &*known.name == rule).unwrap().hits
}

fn is_banned(node: &Node, source: &str) -> bool {
    let banned: Banned = source.parse().unwrap();
    block_on(node.handle().bans()).unwrap().iter().any(|ban| ban.banned == banned)
}

#[test]
fn packets_rules_hold_at_turn_listeners_and_name_them() {
    let (node, _dir) = rules(
        "  - { name: not there, when: { listener: turn, source: 127.0.0.9/32 }, then: drop }\n  \
           - { name: nor there, when: { listener: [tcp, dtls], source: 127.0.0.10/32 }, then: drop }\n",
    );
    let at = |ip: &str, listener| {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(node.turn_listener(listener).unwrap()).unwrap();
        socket
    };
    at("127.0.0.9", "turn").send(b"\0no STUN").unwrap();
    eventually("dropped unread", || dropped(&node, Reason::Policy) == 1);
    at("127.0.0.10", "dtls").send(&[22, 0xfe, 0xfd, 0]).unwrap();
    eventually("no handshake", || dropped(&node, Reason::Policy) == 2);
    let mut closed = tcp_from([127, 0, 0, 10], node.turn_listener("tcp").unwrap());
    assert!(crate::harness::read_to_close(&mut closed).is_empty());
    let mut sip = tcp_from([127, 0, 0, 10], node.listener("tcp").unwrap());
    assert!(crate::harness::read_to_close(&mut sip).is_empty(), "that name is of two listeners");
    assert_eq!((hits(&node, "p / not there"), hits(&node, "p / nor there")), (1, 3));
    client_from("127.0.0.10", &node, "alice").allocate();
    client(&node, "alice").allocate();
    let stream = tcp_from([127, 0, 0, 9], node.turn_listener("tcp").unwrap());
    eventually("another listener", || totals(&node).connections == 1);
    drop(stream);
    let sip = UdpSocket::bind("127.0.0.9:0").unwrap();
    let (from, to) = (sip.local_addr().unwrap(), node.listener("udp").unwrap());
    sip.send_to(options(turnpike::base::Transport::Udp, from, to).as_bytes(), to).unwrap();
    assert!(receive(&sip).0.starts_with(b"SIP/2.0 200"));
}

/// A client that was let in relays as much as it likes; only its requests are counted.
#[test]
fn a_rate_before_parsing_counts_requests_and_not_what_is_relayed() {
    let (node, _dir) =
        rules("  - { name: flood, count: { per: source, packets: 1/h burst 4 }, over: drop }\n");
    let (bob, bob_addr) = peer();
    let mut alice = client_from("127.0.0.11", &node, "alice");
    let relayed = alice.allocate();
    assert_eq!(alice.bind(0x4000, bob_addr), 0);
    for n in 0..50 {
        alice.send_on(0x4000, &[n]);
        assert_eq!(receive(&bob), (vec![n], relayed));
        alice.send(bob_addr, &[n]);
        assert_eq!(receive(&bob), (vec![n], relayed));
    }
    assert_eq!((dropped(&node, Reason::Policy), hits(&node, "p / flood")), (0, 0));
    let noise = UdpSocket::bind("127.0.0.11:0").unwrap();
    for _ in 0..3 {
        noise.send_to(b"!", node.turn_listener("turn").unwrap()).unwrap();
    }
    eventually("the fourth was free", || dropped(&node, Reason::Policy) == 2);
    assert_eq!(hits(&node, "p / flood"), 2);
}

#[test]
fn users_sources_and_peers_are_refused_with_a_name() {
    let (node, _dir) = rules(
        "  - { name: kept away, when: { peer: 127.9.0.0/16 }, then: [reject 403, alert] }\n  \
           - { name: in silence, when: { source: 127.0.0.12/32, listener: turn }, then: drop }\n  \
           - { name: phones only over TLS, when: { role: phones, tls: no }, then: reject 403 }\n",
    );
    let mut alice = client(&node, "alice");
    alice.allocate();
    let (away, here): (SocketAddr, SocketAddr) =
        ("127.9.0.1:5000".parse().unwrap(), "127.8.0.1:5000".parse().unwrap());
    assert_eq!((alice.permit(away), alice.bind(0x4000, away)), (403, 403));
    assert_eq!((alice.permit(here), alice.bind(0x4000, here)), (0, 0));
    assert_eq!(hits(&node, "p / kept away"), 2);
    assert_eq!(code_of_allocate(&mut client(&node, "caller")), 403);
    let mut silent = UdpSocket::bind("127.0.0.12:0").unwrap();
    silent.connect(node.turn_listener("turn").unwrap()).unwrap();
    Wire::send(&mut silent, &[0; 20]);
    eventually("unread", || dropped(&node, Reason::Policy) == 1);
    assert_eq!(hits(&node, "p / phones only over TLS"), 1);
    eventually("it is logged", || {
        let metrics = block_on(node.handle().metrics()).unwrap();
        metrics.contains(r#"rule="p / phones only over TLS""#)
    });
}

#[test]
fn allocations_at_once_are_given_back_however_they_end() {
    let (node, _dir) =
        rules("  - { name: two, count: { per: user, allocations_at_once: 2 }, over: reject 486 }\n");
    let mut caller = client(&node, "caller");
    caller.allocate();
    for round in 0..3 {
        let (mut over_udp, mut third) = (client(&node, "alice"), client(&node, "alice"));
        over_udp.allocate();
        let mut stream = TurnClient::new(over_tcp(node.turn_listener("tcp").unwrap()), "alice", "alice");
        stream.allocate();
        assert_eq!(code_of_allocate(&mut third), 486, "{round}");
        assert_eq!(over_udp.refresh(600), 0);
        // One says so, the other one's connection is cut.
        assert_eq!(over_udp.refresh(0), 0);
        assert_eq!(code_of_allocate(&mut third), 0);
        assert_eq!(third.refresh(0), 0);
        drop(stream);
        eventually("all of hers are gone", || totals(&node).allocations == 1);
    }
    assert_eq!(hits(&node, "p / two"), 3);
}

#[test]
fn a_spent_budget_ends_the_allocation_and_begins_no_other() {
    crate::harness::warnings();
    let (node, _dir) = rules(
        "  - { name: bytes, count: { per: user, bytes: 100 kB/day }, over: [reject 486, hang_up, alert] }\n",
    );
    let (bob, bob_addr) = peer();
    let mut alice = client(&node, "alice");
    let relayed = alice.allocate();
    let mut caller = client(&node, "caller");
    caller.allocate();
    assert_eq!(alice.permit(bob_addr), 0);
    for _ in 0..50 {
        alice.send(bob_addr, &[7; 1000]);
        assert_eq!(receive(&bob).0.len(), 1000);
        bob.send_to(&[7; 1000], relayed).unwrap();
        alice.receive();
    }
    assert_eq!(totals(&node).allocations, 2, "100 kB in both directions, read once a second");
    eventually("it is ended", || totals(&node).allocations == 1);
    assert_eq!(code_of_allocate(&mut client(&node, "alice")), 486);
    assert_eq!(caller.refresh(600), 0, "others go on");
    assert_eq!(hits(&node, "p / bytes"), 2);
    let warned = crate::harness::warnings();
    assert!(warned.contains("a policy ends the TURN allocation") && warned.contains("p / bytes"), "{warned}");
}

/// By a worker; the edge keeps the ban and tells all others.
#[test]
fn a_rule_bans_a_client_from_everywhere() {
    let (node, _dir) =
        rules("  - { name: thief, when: { peer: 127.9.0.0/16 }, then: [reject 403, ban 1h] }\n");
    let mut thief = client_from("127.0.0.13", &node, "alice");
    thief.allocate();
    assert_eq!(thief.permit("127.9.0.1:5000".parse().unwrap()), 403);
    eventually("banned", || is_banned(&node, "127.0.0.13"));
    eventually("freed", || totals(&node).allocations == 0);
    let mut sip = tcp_from([127, 0, 0, 13], node.listener("tcp").unwrap());
    assert!(crate::harness::read_to_close(&mut sip).is_empty());
}

#[test]
fn an_audited_policy_changes_nothing_and_is_counted() {
    let (node, _dir) = under(
        "policy: p\nmode: audit\napplies_to: [packets, relay]\nrules:\n  \
           - { name: nobody, when: { source: 127.0.0.0/8 }, then: reject 403 }\n",
    );
    let mut alice = client(&node, "alice");
    alice.allocate();
    assert_eq!(alice.permit("127.8.0.1:5000".parse().unwrap()), 0);
    assert_eq!(hits(&node, "p / nobody"), 2);
}
