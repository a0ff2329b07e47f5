//! RFC 8656 §10.2 CreatePermission and §12.2 ChannelBind.

use turnpike::stun::{Method, Type};
use turnpike::turn::forward::{Reason, Verdict};

use crate::world::{INTERNET, World, addr, udp};

const CLIENT: &str = "198.51.100.1:5000";
const PEER: &str = "192.0.2.1:9000";

#[test]
fn s10_2_without_an_allocation_it_is_437() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), INTERNET);
    assert_eq!(world.permit(&phone, PEER), 437);
    assert_eq!(world.bind(&phone, 0x4000, PEER), 437);
}

#[test]
fn s10_2_without_or_with_a_broken_peer_it_is_400() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.code(&phone, Method::CREATE_PERMISSION, |_| ()), 400);
    let broken: [&[u8]; 4] = [b"", &[0, 1, 0, 9], &[0, 3, 0, 9, 1, 2, 3, 4], &[0, 2, 0, 9, 1, 2, 3, 4]];
    for value in broken {
        let code = world.code(&phone, Method::CREATE_PERMISSION, |w| {
            w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(PEER));
            w.put(Type::XOR_PEER_ADDRESS, value);
        });
        assert_eq!(code, 400);
    }
    assert!(matches!(world.send(&phone, PEER, b"x"), Verdict::Drop(Reason::NoPermission)));
}

#[test]
fn s10_2_a_peer_of_another_family_is_443() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.permit(&phone, "[2001:db8:1::1]:9"), 443);
    assert_eq!(world.bind(&phone, 0x4000, "[2001:db8:1::1]:9"), 443);
}

#[test]
fn s10_2_all_peers_or_none() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    for (bad, expected) in [("10.0.0.1:9", 403), ("[2001:db8:1::1]:9", 443)] {
        let code = world.code(&phone, Method::CREATE_PERMISSION, |w| {
            w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(PEER));
            w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(bad));
        });
        assert_eq!(code, expected);
        assert_eq!(world.send(&phone, PEER, b"x"), Verdict::Drop(Reason::NoPermission));
    }
    let code = world.code(&phone, Method::CREATE_PERMISSION, |w| {
        w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(PEER));
        w.put_xor_address(Type::XOR_PEER_ADDRESS, addr("192.0.2.2:9"));
    });
    assert_eq!(code, 0);
    assert!(matches!(world.send(&phone, PEER, b"x"), Verdict::ToPeer { .. }));
    assert!(matches!(world.send(&phone, "192.0.2.2:1", b"x"), Verdict::ToPeer { .. }));
}

#[test]
fn s10_2_the_port_of_the_peer_does_not_matter() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.permit(&phone, "192.0.2.1:0"), 0);
    assert!(matches!(world.send(&phone, PEER, b"x"), Verdict::ToPeer { .. }));
}

#[test]
fn s10_2_permissions_beyond_the_capacity_are_508() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    for peer in 1..=4 {
        assert_eq!(world.permit(&phone, &format!("192.0.2.{peer}:9")), 0);
    }
    assert_eq!(world.permit(&phone, "192.0.2.5:9"), 508);
    assert_eq!(world.bind(&phone, 0x4000, "192.0.2.5:9"), 508);
    assert_eq!(world.permit(&phone, "192.0.2.4:9"), 0, "a refresh needs no room");
}

#[test]
fn s9_a_permission_lasts_300_seconds_and_can_be_refreshed() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    world.permit(&phone, PEER);
    world.wait(299);
    assert!(matches!(world.send(&phone, PEER, b"x"), Verdict::ToPeer { .. }));
    world.permit(&phone, PEER);
    world.wait(299);
    assert!(world.peer_sends(relayed, PEER, b"x").is_ok());
    world.wait(1);
    assert_eq!(world.send(&phone, PEER, b"x"), Verdict::Drop(Reason::NoPermission));
    assert_eq!(world.peer_sends(relayed, PEER, b"x"), Err(Verdict::Drop(Reason::NoPermission)));
    assert_eq!(world.server.allocations().next().unwrap().row.permissions.iter().count(), 0);
}

#[test]
fn s9_data_does_not_refresh_a_permission() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    world.permit(&phone, PEER);
    for _ in 0..3 {
        world.wait(99);
        world.send(&phone, PEER, b"x");
        world.peer_sends(relayed, PEER, b"x").unwrap();
    }
    world.wait(3);
    assert_eq!(world.send(&phone, PEER, b"x"), Verdict::Drop(Reason::NoPermission));
}

#[test]
fn s12_2_channel_number_and_peer_are_required() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.code(&phone, Method::CHANNEL_BIND, |w| _ = w.put_channel_number(0x4000)), 400);
    let peer_only = world.code(&phone, Method::CHANNEL_BIND, |w| {
        w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(PEER));
    });
    assert_eq!(peer_only, 400);
}

/// Those above 4fff are RFC 5766's (docs/rfc-exceptions.md).
#[test]
fn s12_2_channel_numbers_are_4000_to_7fff() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    for number in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(world.bind(&phone, number, PEER), 400, "{number:#x}");
    }
    assert_eq!(world.bind(&phone, 0x4000, PEER), 0);
    assert_eq!(world.bind(&phone, 0x4fff, "192.0.2.1:9001"), 0);
    assert_eq!(world.bind(&phone, 0x7fff, "192.0.2.1:9002"), 0);
}

#[test]
fn s12_2_a_bound_number_or_peer_takes_no_other() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.bind(&phone, 0x4000, PEER), 0);
    assert_eq!(world.bind(&phone, 0x4000, PEER), 0, "a refresh");
    assert_eq!(world.bind(&phone, 0x4000, "192.0.2.1:9001"), 400, "the number is taken");
    assert_eq!(world.bind(&phone, 0x4001, PEER), 400, "the peer is taken");
}

#[test]
fn s12_2_a_channel_installs_and_refreshes_the_permission() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    world.bind(&phone, 0x4000, PEER);
    assert!(matches!(world.send(&phone, PEER, b"x"), Verdict::ToPeer { .. }));
    world.wait(200);
    world.bind(&phone, 0x4000, PEER);
    world.wait(299);
    assert!(matches!(world.send(&phone, PEER, b"x"), Verdict::ToPeer { .. }));
}

#[test]
fn s12_a_channel_lasts_600_seconds_and_its_permission_300() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    world.refresh(&phone, 3600);
    world.bind(&phone, 0x4000, PEER);
    world.wait(300);
    assert_eq!(world.channel_data(&phone, 0x4000, b"x"), Verdict::Drop(Reason::NoPermission));
    world.permit(&phone, PEER);
    world.wait(299);
    assert!(matches!(world.channel_data(&phone, 0x4000, b"x"), Verdict::ToPeer { .. }));
    world.permit(&phone, PEER);
    world.wait(1);
    assert_eq!(world.channel_data(&phone, 0x4000, b"x"), Verdict::Drop(Reason::NoChannel));
    assert_eq!(world.peer_sends(relayed, PEER, b"x").unwrap()[..2], [0, 0x17], "a Data indication again");
    assert_eq!(world.bind(&phone, 0x4001, PEER), 0, "the peer is free again");
}

#[test]
fn s12_2_channels_beyond_the_capacity_are_508() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    for n in 0..3 {
        assert_eq!(world.bind(&phone, 0x4000 + n, &format!("192.0.2.1:{}", 9000 + n)), 0);
    }
    assert_eq!(world.bind(&phone, 0x4003, "192.0.2.1:9003"), 508);
    assert_eq!(world.bind(&phone, 0x4002, "192.0.2.1:9002"), 0);
}

#[test]
fn s12_2_a_forbidden_peer_is_403() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    for peer in ["10.0.0.1:9", "203.0.113.11:3478", "203.0.113.10:22"] {
        assert_eq!(world.bind(&phone, 0x4000, peer), 403, "{peer}");
    }
}
