//! The TURN rows of the attack table, against the server alone.

use std::time::Duration;

use turnpike::base::PeerAddr;
use turnpike::base::ban::Banned;
use turnpike::stun::{Class, Method, TransactionId, Type, Writer};
use turnpike::turn::forward::{Reason, Verdict};
use turnpike::turn::server::Freed;
use turnpike::turn::server::Output;

use crate::world::{CALLS, INTERNET, OTHER, TIGHT, World, addr, signed, udp, wants_udp};

const CLIENT: &str = "198.51.100.1:5000";

#[test]
fn peers_inside_are_403_in_every_spelling() {
    let mut world = World::with(|settings| settings.capacity.permissions = 100);
    let phone = world.allocated_both(CLIENT);
    let inside = [
        "127.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "100::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "2001:0:a00:1::",
        "2001:0:808:808::f5ff:fffe",
    ];
    for ip in inside {
        let peer = std::net::SocketAddr::new(ip.parse().unwrap(), 80).to_string();
        assert_eq!(world.permit(&phone, &peer), 403, "{ip}");
        assert_eq!(world.bind(&phone, 0x4000, &peer), 403, "{ip}");
        assert_eq!(world.send(&phone, &peer, b"x"), Verdict::Drop(Reason::NoPermission), "{ip}");
    }
}

#[test]
fn what_a_role_denies_is_403() {
    let mut world = World::with(|settings| {
        let mut role = (*settings.roles[0]).clone();
        role.deny = vec!["192.0.2.0/24".parse().unwrap()];
        settings.roles[0] = role.into();
    });
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.permit(&phone, "192.0.2.1:9"), 403);
    assert_eq!(world.bind(&phone, 0x4000, "192.0.2.1:9"), 403);
    assert_eq!(world.permit(&phone, "192.0.3.1:9"), 0);
}

#[test]
fn our_own_listeners_are_403_or_unreached() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    for listener in ["203.0.113.11:3478", "203.0.113.11:5060", "203.0.113.10:5060"] {
        assert_eq!(world.bind(&phone, 0x4000, listener), 403, "{listener}");
    }
    // A permission is for an address; what is sent is held to the port.
    assert_eq!(world.permit(&phone, "203.0.113.11:9"), 0);
    assert_eq!(world.send(&phone, "203.0.113.11:5060", b"x"), Verdict::Drop(Reason::NoPermission));
    assert!(matches!(world.send(&phone, "203.0.113.11:5062", b"x"), Verdict::ToPeer { .. }));
}

#[test]
fn a_relay_loop_does_not_grow() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    let own = relayed.to_string();
    assert_eq!(world.permit(&phone, &own), 0);
    assert!(matches!(world.send(&phone, &own, b"x"), Verdict::ToOwn { .. }));
    // It comes back to its own client, once; the server makes nothing of it by itself.
    assert!(world.peer_sends(relayed, &own, b"x").is_ok());
    assert!(world.server.poll_output().is_none());
}

#[test]
fn an_unknown_user_and_a_wrong_password_are_told_the_same() {
    let mut world = World::new();
    let mut answers = Vec::new();
    for user in [INTERNET, "nobody"] {
        let mut phone = world.phone(udp(CLIENT), user);
        // Signed with a key that is not theirs.
        let id = world.id();
        let mut request = signed(&phone, Method::ALLOCATE, id, wants_udp);
        let last = request.len() - 1;
        request[last] ^= 1;
        let answer = world.hand_in(phone.from, &request).unwrap();
        let kinds: Vec<Type> = answer.message().attributes().map(|a| a.kind).collect();
        answers.push((answer.code(), answer.bytes.len(), kinds));
        phone.nonce.clear();
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 401);
}

#[test]
fn the_nonce_of_another_client_is_no_good() {
    let mut world = World::new();
    let mut thief = world.phone(udp("198.51.100.66:1"), INTERNET);
    thief.nonce = world.phone(udp(CLIENT), INTERNET).nonce;
    let id = world.id();
    let answer = world.hand_in(thief.from, &signed(&thief, Method::ALLOCATE, id, wants_udp)).unwrap();
    assert_eq!(answer.code(), 438);
    world.assert_empty();
}

#[test]
fn exhaustion_ends_at_the_quota_and_is_given_back() {
    let mut world = World::new();
    let phones: Vec<_> =
        (0..8).map(|n| world.allocated(&format!("198.51.100.1:{}", 6000 + n), INTERNET).0).collect();
    let ninth = world.phone(udp(CLIENT), INTERNET);
    assert_eq!(world.code(&ninth, Method::ALLOCATE, wants_udp), 486);
    let other = world.allocated("198.51.100.2:5000", OTHER).0;
    for phone in phones.iter().chain([&other]) {
        world.server.handle_closed(phone.from);
    }
    world.assert_empty();
}

#[test]
fn a_reservation_counts_against_the_quota() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), TIGHT);
    let code = world.code(&phone, Method::ALLOCATE, |w| {
        wants_udp(w);
        w.put_even_port(true);
    });
    assert_eq!(code, 486);
    world.assert_empty();
}

#[test]
fn stun_answers_and_errors_are_never_answered() {
    let mut world = World::new();
    for class in [Class::Success, Class::Error, Class::Indication] {
        for method in [Method::BINDING, Method::ALLOCATE, Method::REFRESH, Method::DATA] {
            let mut bytes = Vec::new();
            Writer::begin(&mut bytes, class, method, TransactionId([1; 12]));
            let verdict = world.server.handle_client(udp(CLIENT), &bytes, world.now);
            assert_eq!(verdict, Verdict::Drop(Reason::Unasked));
            assert!(world.server.poll_output().is_none());
        }
    }
}

#[test]
fn requests_to_answer_elsewhere_are_420() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    // RESPONSE-ADDRESS, CHANGE-REQUEST, RESPONSE-PORT.
    for kind in [Type(0x0002), Type(0x0003), Type(0x0027)] {
        assert_eq!(world.code(&phone, Method::REFRESH, |w| _ = w.put(kind, &[0; 4])), 420);
    }
}

#[test]
fn garbage_is_dropped_without_an_answer() {
    let mut world = World::new();
    let overrun =
        [0, 3, 0, 8, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 6, 0, 200, 0, 0, 0, 0];
    let huge = vec![0; 65_535];
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &overrun, &huge, &[0x16, 3, 1, 0, 0], &[0x80; 40]] {
        let verdict = world.server.handle_client(udp(CLIENT), bytes, world.now);
        assert_eq!(verdict, Verdict::Drop(Reason::Malformed));
        assert!(world.server.poll_output().is_none());
    }
}

#[test]
fn an_unauthenticated_answer_is_at_most_twice_the_request_on_the_wire() {
    let mut world = World::new();
    let mut bytes = Vec::new();
    wants_udp(&mut Writer::begin(&mut bytes, Class::Request, Method::ALLOCATE, TransactionId([1; 12])));
    let answer = world.hand_in(udp(CLIENT), &bytes).unwrap();
    let on_the_wire = |length: usize| 14 + 20 + 8 + length + 4;
    assert!(on_the_wire(answer.bytes.len()) <= 2 * on_the_wire(bytes.len()), "{}", answer.bytes.len());
}

#[test]
fn stolen_credentials_of_a_calls_role_reach_nothing() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, CALLS);
    for peer in ["8.8.8.8:53", "192.0.2.7:30000", "203.0.113.11:3478", "203.0.113.10:22"] {
        assert_eq!(world.bind(&phone, 0x4000, peer), 403, "{peer}");
    }
    assert_eq!(
        world.permit(&phone, "203.0.113.10:45000"),
        0,
        "but any relayed address of ours, which guards itself"
    );
}

#[test]
fn a_call_opens_its_media_address_and_closes_it_at_once() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated(CLIENT, CALLS);
    let media = PeerAddr(addr("192.0.2.7:30000"));
    world.server.open_call_peer(media);
    assert_eq!(world.bind(&phone, 0x4000, "192.0.2.7:30000"), 0);
    assert_eq!(world.bind(&phone, 0x4001, "192.0.2.7:5060"), 403, "its address is not all its ports");
    assert!(matches!(world.channel_data(&phone, 0x4000, b"x"), Verdict::ToPeer { .. }));
    assert_eq!(world.send(&phone, "192.0.2.7:5060", b"x"), Verdict::Drop(Reason::NoPermission));
    world.server.close_call_peer(media);
    assert_eq!(world.channel_data(&phone, 0x4000, b"x"), Verdict::Drop(Reason::NoChannel));
    assert_eq!(world.send(&phone, "192.0.2.7:30000", b"x"), Verdict::Drop(Reason::NoPermission));
    assert!(world.peer_sends(relayed, "192.0.2.7:30000", b"x").is_err());
    assert_eq!(world.permit(&phone, "192.0.2.7:30000"), 403);
}

#[test]
fn two_calls_with_one_media_address_close_it_with_the_second() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, CALLS);
    let media = PeerAddr(addr("192.0.2.7:30000"));
    world.server.open_call_peer(media);
    world.server.open_call_peer(media);
    assert_eq!(world.permit(&phone, "192.0.2.7:0"), 0);
    world.server.close_call_peer(media);
    assert!(matches!(world.send(&phone, "192.0.2.7:30000", b"x"), Verdict::ToPeer { .. }));
    world.server.close_call_peer(media);
    assert_eq!(world.send(&phone, "192.0.2.7:30000", b"x"), Verdict::Drop(Reason::NoPermission));
}

#[test]
fn who_is_asked_when_a_call_changes_is_remembered_no_longer_than_the_permission() {
    let listed = |world: &World| {
        let state = format!("{:?}", world.server);
        state.split_once("peers: ").unwrap().1.split_once(',').unwrap().0.parse::<usize>().unwrap()
    };
    let mut world = World::new();
    let (first, _) = world.allocated(CLIENT, CALLS);
    let (second, _) = world.allocated("198.51.100.2:5000", CALLS);
    let (other, _) = world.allocated("198.51.100.3:5000", INTERNET);
    let peers = ["192.0.2.7:30000", "192.0.2.8:30000"];
    for peer in peers {
        world.server.open_call_peer(PeerAddr(addr(peer)));
    }
    assert_eq!(world.permit(&first, peers[0]), 0);
    assert_eq!(world.bind(&first, 0x4000, peers[0]), 0);
    assert_eq!(world.permit(&second, peers[0]), 0);
    assert_eq!(world.permit(&second, peers[1]), 0);
    assert_eq!(world.permit(&second, "203.0.113.10:40001"), 0, "ours, where calls change nothing");
    assert_eq!(world.permit(&other, peers[0]), 0, "not for the sake of a call");
    assert_eq!(listed(&world), 3);
    world.server.close_call_peer(PeerAddr(addr(peers[1])));
    assert_eq!(listed(&world), 2);
    assert!(matches!(world.send(&first, peers[0], b"x"), Verdict::ToPeer { .. }));
    assert!(matches!(world.send(&second, peers[0], b"x"), Verdict::ToPeer { .. }));
    world.server.handle_closed(first.from);
    assert_eq!(listed(&world), 1);
    world.wait(300);
    assert_eq!(listed(&world), 0);
}

#[test]
fn a_banned_user_has_nothing_left_at_once() {
    let mut world = World::new();
    world.allocated(CLIENT, INTERNET);
    let (other, _) = world.allocated("198.51.100.2:5000", OTHER);
    let (banned, now) = (Banned::User(INTERNET.into()), world.now.instant);
    world.server.ban(banned.clone(), Some(now + Duration::from_secs(60)), now);
    let Some(Output::Freed { why, .. }) = world.server.poll_output() else { panic!("not told") };
    assert_eq!((why, world.server.allocations().len()), (Freed::Revoked, 1));
    assert_eq!(world.refresh(&other, 600), 0);
    let again = world.phone(udp("198.51.100.3:5000"), INTERNET);
    assert_eq!(world.code(&again, Method::ALLOCATE, wants_udp), 403, "nor gets anything again");
    world.server.lift_ban(&banned);
    world.allocated("198.51.100.3:5000", INTERNET);
}

#[test]
fn a_banned_source_has_nothing_left_and_is_not_answered_until_its_time_is_over() {
    let mut world = World::new();
    let (first, _) = world.allocated("198.51.100.1:5000", INTERNET);
    let (second, _) = world.allocated("198.51.100.1:5001", OTHER);
    let (other, _) = world.allocated("198.51.100.2:5000", INTERNET);
    assert_eq!(world.permit(&first, "192.0.2.7:0"), 0);
    let (source, now) = (addr("198.51.100.1:0").ip(), world.now.instant);
    world.server.ban(Banned::source(source), Some(now + Duration::from_secs(60)), now);
    let freed = std::iter::from_fn(|| world.server.poll_output());
    assert_eq!(freed.filter(|output| matches!(output, Output::Freed { why: Freed::Revoked, .. })).count(), 2);
    assert_eq!(world.server.allocations().len(), 1);
    assert_eq!(world.send(&first, "192.0.2.7:9", b"x"), Verdict::Drop(Reason::NoAllocation));

    for method in [Method::BINDING, Method::ALLOCATE, Method::REFRESH] {
        let mut request = Vec::new();
        Writer::begin(&mut request, Class::Request, method, world.id());
        let verdict = world.server.handle_client(second.from, &request, world.now);
        assert_eq!(verdict, Verdict::Drop(Reason::Banned));
        assert_eq!(world.server.poll_output(), None);
    }
    assert_eq!(world.refresh(&other, 600), 0, "others go on");
    assert!(world.server.refuses(0, source, world.now.instant).is_some());
    world.wait(60);
    assert_eq!(world.server.refuses(0, source, world.now.instant), None);
    world.allocated("198.51.100.1:5002", INTERNET);
}
