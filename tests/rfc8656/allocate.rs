//! RFC 8656 §7.2: receiving an Allocate request.

use turnpike::base::FlowId;
use turnpike::stun::{Class, Family, Method, Type, Writer};
use turnpike::turn::{Carrier, FiveTuple};

use crate::world::{CALLS, INTERNET, OTHER, TIGHT, World, addr, key, signed, udp, wants_udp};

const CLIENT: &str = "198.51.100.1:5000";

/// The code of one Allocate from a fresh client.
fn code(world: &mut World, fill: impl FnOnce(&mut Writer<'_>)) -> u16 {
    let phone = world.phone(udp(CLIENT), INTERNET);
    world.code(&phone, Method::ALLOCATE, fill)
}

#[test]
fn s7_2_a_request_without_credentials_is_401_with_realm_and_nonce() {
    let mut world = World::new();
    let mut bytes = Vec::new();
    let id = world.id();
    wants_udp(&mut Writer::begin(&mut bytes, Class::Request, Method::ALLOCATE, id));
    let answer = world.hand_in(udp(CLIENT), &bytes).unwrap();
    assert_eq!(answer.code(), 401);
    assert!(answer.message().has(Type::REALM) && answer.message().has(Type::NONCE));
    world.assert_empty();
}

#[test]
fn s7_2_success_tells_relayed_and_mapped_address_and_lifetime() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, wants_udp);
    let message = answer.message();
    assert_eq!(message.class(), Class::Success);
    assert_eq!(answer.relayed().ip(), addr("203.0.113.10:0").ip());
    assert_eq!(message.xor_mapped_address().unwrap(), Some(addr(CLIENT)));
    assert_eq!(answer.lifetime(), 600);
    assert!(message.check_integrity(&key(INTERNET)));
    assert!(!message.has(Type::RESERVATION_TOKEN) && !message.has(Type::SOFTWARE));
}

#[test]
fn s7_2_a_second_allocate_on_the_five_tuple_is_437() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.code(&phone, Method::ALLOCATE, wants_udp), 437);
    let other = world.phone(udp(CLIENT), OTHER);
    assert_eq!(world.code(&other, Method::ALLOCATE, wants_udp), 437);
    assert_eq!(world.server.allocations().len(), 1);
}

#[test]
fn s7_2_the_same_request_again_has_the_same_answer() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), INTERNET);
    let id = world.id();
    let request = signed(&phone, Method::ALLOCATE, id, |w| {
        wants_udp(w);
        w.put_even_port(true);
    });
    let first = world.hand_in(phone.from, &request).unwrap();
    let second = world.hand_in(phone.from, &request).unwrap();
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(world.server.allocations().len(), 1);
    assert_eq!(world.books.held(), 2);
}

#[test]
fn s7_2_another_flow_of_the_same_address_is_another_five_tuple() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    let from = FiveTuple { flow: FlowId(77), carrier: Carrier::Stream, ..phone.from };
    let phone = world.phone(from, INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, wants_udp);
    assert_ne!(answer.relayed(), relayed);
}

#[test]
fn s7_2_requested_transport_is_required_and_must_be_well_formed() {
    let mut world = World::new();
    assert_eq!(code(&mut world, |_| ()), 400);
    assert_eq!(code(&mut world, |w| _ = w.put(Type::REQUESTED_TRANSPORT, &[17])), 400);
}

#[test]
fn s7_2_any_transport_but_udp_and_tcp_is_442() {
    let mut world = World::new();
    for protocol in [0, 1, 132, 255] {
        assert_eq!(code(&mut world, |w| _ = w.put_requested_transport(protocol)), 442, "{protocol}");
    }
    world.assert_empty();
}

#[test]
fn s7_2_an_unknown_attribute_that_must_be_understood_is_420_and_named() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, |w| {
        wants_udp(w);
        w.put(Type(0x0003), &[0; 4]).put(Type(0x7abc), b"").put(Type(0xfabc), b"");
    });
    assert_eq!(answer.code(), 420);
    let unknown: Vec<Type> = answer.message().unknown_attributes().unwrap().unwrap().collect();
    assert_eq!(unknown, [Type(0x0003), Type(0x7abc)]);
    world.assert_empty();
}

#[test]
fn s7_2_dont_fragment_is_supported() {
    let mut world = World::new();
    let fill = |w: &mut Writer<'_>| {
        wants_udp(w);
        w.put(Type::DONT_FRAGMENT, b"");
    };
    assert_eq!(code(&mut world, fill), 0);
}

#[test]
fn s7_2_reservation_token_excludes_even_port_and_families() {
    let mut world = World::new();
    for kind in [Type::EVEN_PORT, Type::REQUESTED_ADDRESS_FAMILY, Type::ADDITIONAL_ADDRESS_FAMILY] {
        let code = code(&mut world, |w| {
            wants_udp(w);
            w.put(Type::RESERVATION_TOKEN, &[1; 8]);
            match kind {
                Type::EVEN_PORT => _ = w.put_even_port(false),
                kind => _ = w.put_family(kind, Family::V6),
            }
        });
        assert_eq!(code, 400, "{kind:?}");
    }
}

#[test]
fn s7_2_a_token_that_is_no_good_is_508() {
    let mut world = World::new();
    assert_eq!(
        code(&mut world, |w| _ = {
            wants_udp(w);
            w.put(Type::RESERVATION_TOKEN, &[1; 8])
        }),
        508
    );
    assert_eq!(
        code(&mut world, |w| _ = {
            wants_udp(w);
            w.put(Type::RESERVATION_TOKEN, &[1; 7])
        }),
        400
    );
}

#[test]
fn s7_2_requested_address_family_is_obeyed() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, |w| {
        wants_udp(w);
        w.put_family(Type::REQUESTED_ADDRESS_FAMILY, Family::V6);
    });
    assert!(answer.relayed().is_ipv6());
}

#[test]
fn s7_2_a_family_that_is_not_there_is_440() {
    let mut world = World::new();
    world.ports.lock().unwrap().no_v6 = true;
    let family = |value: [u8; 4]| {
        move |w: &mut Writer<'_>| {
            wants_udp(w);
            w.put(Type::REQUESTED_ADDRESS_FAMILY, &value);
        }
    };
    assert_eq!(code(&mut world, family([2, 0, 0, 0])), 440);
    assert_eq!(code(&mut world, family([3, 0, 0, 0])), 440);
    world.assert_empty();
}

#[test]
fn s7_2_both_kinds_of_family_are_400() {
    let mut world = World::new();
    let code = code(&mut world, |w| {
        wants_udp(w);
        w.put_family(Type::REQUESTED_ADDRESS_FAMILY, Family::V4);
        w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
    });
    assert_eq!(code, 400);
}

#[test]
fn s7_2_additional_ipv4_is_400() {
    let mut world = World::new();
    let fill = |w: &mut Writer<'_>| {
        wants_udp(w);
        w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V4);
    };
    assert_eq!(code(&mut world, fill), 400);
}

#[test]
fn s7_2_additional_family_beside_a_reservation_is_400() {
    let mut world = World::new();
    for (reserve, expected) in [(true, 400), (false, 0)] {
        let code = code(&mut world, |w| {
            wants_udp(w);
            w.put_even_port(reserve);
            w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
        });
        assert_eq!(code, expected);
    }
}

#[test]
fn s7_2_additional_family_gives_one_address_of_each() {
    let mut world = World::new();
    world.allocated_both(CLIENT);
    let open: Vec<_> = world.ports.lock().unwrap().open.values().map(|a| a.is_ipv4()).collect();
    assert_eq!(open, [true, false]);
    assert_eq!(world.books.held(), 2);
}

#[test]
fn s7_2_one_family_of_two_is_success_with_address_error_code() {
    let mut world = World::new();
    world.ports.lock().unwrap().no_v6 = true;
    let phone = world.phone(udp(CLIENT), INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, |w| {
        wants_udp(w);
        w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
    });
    assert!(answer.relayed().is_ipv4());
    let (family, code) = answer.message().address_error_code().unwrap().unwrap();
    assert_eq!((family, code.0), (Some(Family::V6), 440));
    assert_eq!(world.books.held(), 1);
}

#[test]
fn s7_2_no_family_of_two_is_an_error() {
    let mut world = World::new();
    world.ports.lock().unwrap().exhausted = true;
    let fill = |w: &mut Writer<'_>| {
        wants_udp(w);
        w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
    };
    assert_eq!(code(&mut world, fill), 508);
    world.assert_empty();
}

#[test]
fn s7_2_even_port_is_even() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, |w| {
        wants_udp(w);
        w.put_even_port(false);
    });
    assert_eq!(answer.relayed().port() % 2, 0);
    assert!(!answer.message().has(Type::RESERVATION_TOKEN));
}

#[test]
fn s7_2_a_reserved_port_is_the_next_and_its_token_good_once() {
    let mut world = World::new();
    let (even, token) = reserve(&mut world, CLIENT);
    let take = |world: &mut World, from: &str, user| {
        let phone = world.phone(udp(from), user);
        world.ask(&phone, Method::ALLOCATE, |w| {
            wants_udp(w);
            w.put(Type::RESERVATION_TOKEN, &token);
        })
    };
    assert_eq!(take(&mut world, "198.51.100.1:5001", OTHER).code(), 508, "another user's token");
    let odd = take(&mut world, "198.51.100.1:5001", INTERNET).relayed();
    assert_eq!(odd.port(), even + 1);
    assert_eq!(take(&mut world, "198.51.100.1:5002", INTERNET).code(), 508, "twice");
}

#[test]
fn s7_2_a_reservation_lasts_thirty_seconds() {
    let mut world = World::new();
    let (_, token) = reserve(&mut world, CLIENT);
    world.wait(29);
    assert_eq!(world.books.reserved(), 1);
    world.wait(1);
    assert_eq!((world.books.reserved(), world.books.held()), (0, 1));
    assert_eq!(world.ports.lock().unwrap().open.len(), 1);
    let phone = world.phone(udp("198.51.100.1:5001"), INTERNET);
    let code = world.code(&phone, Method::ALLOCATE, |w| {
        wants_udp(w);
        w.put(Type::RESERVATION_TOKEN, &token);
    });
    assert_eq!(code, 508);
}

/// Allocates with EVEN-PORT, R = 1: the even port and the token of the next.
fn reserve(world: &mut World, from: &str) -> (u16, [u8; 8]) {
    let phone = world.phone(udp(from), INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, |w| {
        wants_udp(w);
        w.put_even_port(true);
    });
    let token = answer.message().reservation_token().expect("well formed").expect("RESERVATION-TOKEN");
    (answer.relayed().port(), token)
}

#[test]
fn s7_2_lifetime_is_at_least_the_default_and_at_most_the_roles() {
    let mut world = World::new();
    for (user, asked, granted) in [
        (INTERNET, 1, 600),
        (INTERNET, 0, 600),
        (INTERNET, 1800, 1800),
        (INTERNET, u32::MAX, 3600),
        (TIGHT, 1, 300),
        (TIGHT, 900, 300),
    ] {
        let phone = world.phone(udp(CLIENT), user);
        let answer = world.ask(&phone, Method::ALLOCATE, |w| {
            wants_udp(w);
            w.put_u32(Type::LIFETIME, asked);
        });
        assert_eq!(answer.lifetime(), granted, "{user} asked for {asked}");
        world.refresh(&phone, 0);
    }
    world.wait(0);
    world.assert_empty();
}

#[test]
fn s7_2_short_lived_credentials_cap_the_lifetime_but_not_below_the_default() {
    let mut world = World::new();
    // They end 1000 seconds from now, and 100.
    for (user, asked, granted) in [
        ("1700001000:alice", 3600, 1000),
        ("1700001000:alice", 700, 700),
        ("1700000100:alice", 3600, 600),
        ("1700009999:alice", u32::MAX, 3600),
    ] {
        let phone = world.phone(udp(CLIENT), user);
        let ask = |w: &mut Writer<'_>| {
            wants_udp(w);
            w.put_u32(Type::LIFETIME, asked);
        };
        assert_eq!(world.ask(&phone, Method::ALLOCATE, ask).lifetime(), granted, "{user} asked for {asked}");
        let refreshed = world.ask(&phone, Method::REFRESH, |w| _ = w.put_u32(Type::LIFETIME, asked));
        assert_eq!(refreshed.lifetime(), granted, "{user} asked for {asked} again");
        world.refresh(&phone, 0);
    }
    world.assert_empty();
}

#[test]
fn s7_2_an_allocation_outlives_its_short_lived_credentials_by_no_more_than_the_default() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, "1700001000:alice");
    world.wait(599);
    assert_eq!(world.refresh(&phone, 3600), 0);
    world.wait(400);
    assert_eq!(world.refresh(&phone, 3600), 0, "a second before they end");
    world.wait(2);
    let id = world.id();
    let late = world.hand_in(phone.from, &signed(&phone, Method::REFRESH, id, |_| ())).unwrap();
    assert_eq!(late.code(), 401);
    world.wait(597);
    assert_eq!(world.server.allocations().len(), 1);
    world.wait(1);
    world.assert_empty();
}

#[test]
fn s7_2_beyond_the_users_quota_is_486() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, TIGHT);
    let second = world.phone(udp("198.51.100.1:5001"), TIGHT);
    assert_eq!(world.code(&second, Method::ALLOCATE, wants_udp), 486);
    assert_eq!(world.refresh(&phone, 0), 0);
    assert_eq!(world.code(&second, Method::ALLOCATE, wants_udp), 0);
}

#[test]
fn s7_2_beyond_the_capacity_is_508() {
    let mut world = World::with(|settings| settings.capacity.allocations = 2);
    world.allocated("198.51.100.1:5000", INTERNET);
    world.allocated("198.51.100.1:5001", OTHER);
    let third = world.phone(udp("198.51.100.1:5002"), CALLS);
    assert_eq!(world.code(&third, Method::ALLOCATE, wants_udp), 508);
}

#[test]
fn s7_2_no_port_left_is_508_and_books_nothing() {
    let mut world = World::new();
    world.ports.lock().unwrap().exhausted = true;
    assert_eq!(code(&mut world, wants_udp), 508);
    assert_eq!(
        code(&mut world, |w| _ = {
            wants_udp(w);
            w.put_even_port(true)
        }),
        508
    );
    world.assert_empty();
}

#[test]
fn s7_2_a_draining_server_sends_new_clients_to_an_alternate_of_their_family() {
    let mut world = World::new();
    let (old, _) = world.allocated("198.51.100.1:5001", INTERNET);
    world.server.drain(vec![addr("[2001:db8::99]:3478"), addr("203.0.113.99:3478")]);
    let phone = world.phone(udp(CLIENT), INTERNET);
    let answer = world.ask(&phone, Method::ALLOCATE, wants_udp);
    assert_eq!(answer.code(), 300);
    assert_eq!(answer.message().alternate_server().unwrap(), Some(addr("203.0.113.99:3478")));
    assert_eq!(world.refresh(&old, 600), 0, "who is here may stay");
    world.server.drain(Vec::new());
    assert_eq!(world.code(&phone, Method::ALLOCATE, wants_udp), 508);
}
