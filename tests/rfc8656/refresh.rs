//! RFC 8656 §8.2: receiving a Refresh request; §5: who may.

use turnpike::stun::{Family, Method, Type};
use turnpike::turn::server::{Freed, Output};

use crate::world::{INTERNET, OTHER, World, signed, udp};

const CLIENT: &str = "198.51.100.1:5000";

#[test]
fn s8_2_refresh_gives_a_new_life() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    world.wait(599);
    let answer = world.ask(&phone, Method::REFRESH, |w| _ = w.put_u32(Type::LIFETIME, 1200));
    assert_eq!((answer.code(), answer.lifetime()), (0, 1200));
    world.wait(1199);
    assert_eq!(world.server.allocations().len(), 1);
    world.wait(1);
    world.assert_empty();
}

#[test]
fn s8_2_without_lifetime_it_is_the_default() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.ask(&phone, Method::REFRESH, |_| ()).lifetime(), 600);
}

#[test]
fn s8_2_lifetime_zero_deletes() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    let answer = world.ask(&phone, Method::REFRESH, |w| _ = w.put_u32(Type::LIFETIME, 0));
    assert_eq!((answer.code(), answer.lifetime()), (0, 0));
    world.assert_empty();
    assert_eq!(world.refresh(&phone, 0), 437);
}

#[test]
fn s8_2_without_an_allocation_it_is_437() {
    let mut world = World::new();
    let phone = world.phone(udp(CLIENT), INTERNET);
    assert_eq!(world.refresh(&phone, 600), 437);
}

#[test]
fn s8_2_a_family_it_has_not_is_443() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    for lifetime in [0, 600] {
        let code = world.code(&phone, Method::REFRESH, |w| {
            w.put_u32(Type::LIFETIME, lifetime);
            w.put_family(Type::REQUESTED_ADDRESS_FAMILY, Family::V6);
        });
        assert_eq!(code, 443);
    }
}

#[test]
fn s8_2_one_family_of_two_is_deleted_alone() {
    let mut world = World::new();
    let phone = world.allocated_both(CLIENT);
    assert_eq!(world.permit(&phone, "192.0.2.1:9"), 0);
    assert_eq!(world.bind(&phone, 0x4000, "[2001:db8:1::1]:9"), 0);
    let code = world.code(&phone, Method::REFRESH, |w| {
        w.put_u32(Type::LIFETIME, 0);
        w.put_family(Type::REQUESTED_ADDRESS_FAMILY, Family::V6);
    });
    assert_eq!(code, 0);
    assert_eq!(world.books.held(), 1);
    assert!(world.ports.lock().unwrap().open.values().all(|addr| addr.is_ipv4()));
    assert_eq!(world.permit(&phone, "[2001:db8:1::1]:9"), 443);
    assert_eq!(world.permit(&phone, "192.0.2.1:9"), 0);
    world.refresh(&phone, 0);
    world.assert_empty();
}

#[test]
fn s8_2_each_family_has_its_own_life() {
    let mut world = World::new();
    let phone = world.allocated_both(CLIENT);
    let code = world.code(&phone, Method::REFRESH, |w| {
        w.put_u32(Type::LIFETIME, 1800);
        w.put_family(Type::REQUESTED_ADDRESS_FAMILY, Family::V4);
    });
    assert_eq!(code, 0);
    world.wait(600);
    assert_eq!((world.books.held(), world.server.allocations().len()), (1, 1));
    world.wait(1200);
    world.assert_empty();
}

#[test]
fn s5_another_user_is_441_and_changes_nothing() {
    let mut world = World::new();
    let (_, _) = world.allocated(CLIENT, INTERNET);
    let thief = world.phone(udp(CLIENT), OTHER);
    assert_eq!(world.refresh(&thief, 0), 441);
    assert_eq!(world.permit(&thief, "192.0.2.1:9"), 441);
    assert_eq!(world.bind(&thief, 0x4000, "192.0.2.1:9"), 441);
    assert_eq!(world.server.allocations().len(), 1);
}

#[test]
fn s5_a_stale_nonce_is_438_with_a_new_one() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.refresh(&phone, 3600), 0);
    world.now = world.now.after(std::time::Duration::from_secs(3599));
    let id = world.id();
    let _ = world.hand_in(phone.from, &signed(&phone, Method::REFRESH, id, |_| ()));
    world.wait(3600);
    let id = world.id();
    let answer = world.hand_in(phone.from, &signed(&phone, Method::REFRESH, id, |_| ())).unwrap();
    assert_eq!(answer.code(), 438);
    assert!(answer.message().has(Type::NONCE));
}

#[test]
fn s3_2_what_is_not_refreshed_expires_and_is_told() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    world.wait(600);
    let Some(Output::Freed { user, client, why, .. }) = world.server.poll_output() else {
        panic!("not told")
    };
    assert_eq!((&*user, client, why), (INTERNET, phone.from, Freed::Expired));
    world.assert_empty();
}

#[test]
fn s3_2_a_closed_connection_frees_the_allocation() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    world.server.handle_closed(phone.from);
    world.server.handle_closed(phone.from);
    world.assert_empty();
}
