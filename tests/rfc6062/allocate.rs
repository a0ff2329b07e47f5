//! RFC 6062 §5.1: receiving a TCP Allocation request.

use turnpike::stun::{Family, Method, Type, Writer};
use turnpike::turn::{Carrier, FiveTuple};

use crate::net::{tcp, wants_tcp};
use crate::world::{INTERNET, TCP, TCP_CALLS, World, udp};

const CLIENT: &str = "198.51.100.1:5000";

fn code(world: &mut World, from: FiveTuple, user: &'static str, fill: impl FnOnce(&mut Writer<'_>)) -> u16 {
    let phone = world.phone(from, user);
    world.code(&phone, Method::ALLOCATE, |w| {
        wants_tcp(w);
        fill(w);
    })
}

#[test]
fn s5_1_a_tcp_relayed_address_is_allocated() {
    let mut world = World::new();
    let (phone, relayed) = world.tcp_allocated(CLIENT, TCP);
    assert!(world.ports.lock().unwrap().tcp.contains(&relayed));
    assert!(world.server.allocations().next().unwrap().tcp);
    assert_eq!(world.refresh(&phone, 0), 0);
    world.assert_empty();
}

#[test]
fn s5_1_rule_1_a_role_without_tcp_is_403() {
    let mut world = World::new();
    assert_eq!(code(&mut world, tcp(CLIENT), INTERNET, |_| ()), 403);
    world.assert_empty();
}

#[test]
fn s5_1_rule_1_other_protocols_are_442_also_for_who_may() {
    let mut world = World::new();
    let phone = world.phone(tcp(CLIENT), TCP);
    assert_eq!(world.code(&phone, Method::ALLOCATE, |w| _ = w.put_requested_transport(132)), 442);
}

#[test]
fn s5_1_rule_2_over_datagrams_it_is_400() {
    let mut world = World::new();
    assert_eq!(code(&mut world, udp(CLIENT), TCP, |_| ()), 400);
    let dtls = FiveTuple { carrier: Carrier::Dtls, ..udp(CLIENT) };
    assert_eq!(code(&mut world, dtls, TCP, |_| ()), 400);
    world.assert_empty();
}

#[test]
fn s5_1_rule_3_what_is_for_udp_is_400() {
    let mut world = World::new();
    for kind in [Type::DONT_FRAGMENT, Type::EVEN_PORT, Type::RESERVATION_TOKEN] {
        let code = code(&mut world, tcp(CLIENT), TCP, |w| match kind {
            Type::DONT_FRAGMENT => _ = w.put(kind, b""),
            Type::EVEN_PORT => _ = w.put_even_port(false),
            _ => _ = w.put(kind, &[1; 8]),
        });
        assert_eq!(code, 400, "{kind:?}");
    }
    world.assert_empty();
}

#[test]
fn s5_1_rule_5_the_answer_has_no_reservation_token() {
    let mut world = World::new();
    let phone = world.phone(tcp(CLIENT), TCP);
    let answer = world.ask(&phone, Method::ALLOCATE, wants_tcp);
    assert!(!answer.message().has(Type::RESERVATION_TOKEN));
    assert_eq!(answer.lifetime(), 600);
}

#[test]
fn s5_1_both_families_listen() {
    let mut world = World::new();
    let both = |w: &mut Writer<'_>| _ = w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
    assert_eq!(code(&mut world, tcp(CLIENT), TCP, both), 0);
    assert_eq!(world.ports.lock().unwrap().tcp.len(), 2);
    assert_eq!(world.books.held(), 2);
}

#[test]
fn s5_1_the_quota_of_relayed_addresses_holds_for_tcp_too() {
    let mut world = World::new();
    for port in 1..=8 {
        world.tcp_allocated(&format!("198.51.100.1:{port}"), TCP_CALLS);
    }
    assert_eq!(code(&mut world, tcp(CLIENT), TCP_CALLS, |_| ()), 486);
}

#[test]
fn s4_2_a_tcp_allocation_is_refreshed_and_expires_like_any_other() {
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    world.wait(599);
    assert_eq!(world.refresh(&phone, 600), 0);
    world.wait(600);
    world.assert_empty();
}

#[test]
fn there_are_no_channels_and_no_send_indications_over_tcp() {
    use turnpike::turn::forward::{Reason, Verdict};
    let mut world = World::new();
    let (phone, _) = world.tcp_allocated(CLIENT, TCP);
    assert_eq!(world.bind(&phone, 0x4000, "192.0.2.1:9000"), 403);
    assert_eq!(world.permit(&phone, "192.0.2.1:9000"), 0);
    assert_eq!(world.send(&phone, "192.0.2.1:9000", b"x"), Verdict::Drop(Reason::Unasked));
    assert_eq!(world.channel_data(&phone, 0x4000, b"x"), Verdict::Drop(Reason::NoChannel));
}
