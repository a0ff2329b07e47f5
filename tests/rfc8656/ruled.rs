//! What the node's rules may say besides roles: the server asks, obeys, tells what is relayed, and forgets nothing that they hold.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use turnpike::base::ban::Banned;
use turnpike::stun::{ErrorCode, Method, Type};
use turnpike::turn::FiveTuple;
use turnpike::turn::forward::{Reason, Verdict};
use turnpike::turn::rules::{Leave, No, Question, Rules, Wish};

use crate::world::{CALLS, INTERNET, World, addr, udp, wants_udp};

const CLIENT: &str = "198.51.100.2:5000";
const PEER: &str = "203.0.113.77:9";

/// What the rules say and have seen.
#[derive(Default)]
struct Seen {
    /// The answer to everything but what is said below.
    no: Mutex<Option<No>>,
    wishes: Mutex<Vec<Wish>>,
    /// Held for allocations now.
    held: AtomicUsize,
    /// Told so far.
    relayed: AtomicU64,
    /// So many bytes end an allocation.
    most: AtomicU64,
    refused_source: Mutex<Option<IpAddr>>,
}

struct Ruled(Arc<Seen>);

struct Held(Arc<Seen>);

impl Rules for Ruled {
    fn refuses_packet(&self, _listener: u16, source: IpAddr) -> bool {
        *self.0.refused_source.lock().unwrap() == Some(source)
    }

    fn ask(&self, question: &Question<'_>) -> Result<Option<Box<dyn Leave>>, No> {
        self.0.wishes.lock().unwrap().push(question.wish);
        if let Some(no) = *self.0.no.lock().unwrap() {
            return Err(no);
        }
        if question.wish != Wish::Allocate {
            return Ok(None);
        }
        self.0.held.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Box::new(Held(self.0.clone()))))
    }
}

impl Leave for Held {
    fn relayed(&mut self, bytes: u64) -> bool {
        self.0.relayed.store(bytes, Ordering::Relaxed);
        bytes < self.0.most.load(Ordering::Relaxed)
    }

    fn ended(&mut self, bytes: u64) {
        self.0.relayed.store(bytes, Ordering::Relaxed);
    }

    fn counts_bytes(&self) -> bool {
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

fn ruled() -> (World, Arc<Seen>) {
    let (mut world, seen) = (World::new(), Arc::new(Seen::default()));
    seen.most.store(u64::MAX, Ordering::Relaxed);
    world.server.set_rules(Box::new(Ruled(seen.clone())));
    (world, seen)
}

impl Seen {
    fn say(&self, no: impl Into<Option<No>>) {
        *self.no.lock().unwrap() = no.into();
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn wishes(&self) -> Vec<Wish> {
        std::mem::take(&mut *self.wishes.lock().unwrap())
    }
}

fn peer(ip: &str) -> Wish {
    Wish::Peer(ip.parse().unwrap())
}

#[test]
fn a_refused_allocation_leaves_nothing_behind() {
    let (mut world, seen) = ruled();
    let phone = world.phone(udp(CLIENT), INTERNET);
    for code in [ErrorCode::FORBIDDEN, ErrorCode::ALLOCATION_QUOTA_REACHED] {
        seen.say(No::Answer(code));
        assert_eq!(world.code(&phone, Method::ALLOCATE, wants_udp), code.0);
    }
    seen.say(No::Silence);
    let request = crate::world::signed(&phone, Method::ALLOCATE, world.id(), wants_udp);
    assert!(world.hand_in(phone.from, &request).is_none());
    assert_eq!(world.server.counters().dropped(Reason::Policy), 1);
    assert_eq!((world.books.held(), world.server.allocations().len()), (0, 0));
    seen.say(None);
    assert_eq!(world.code(&phone, Method::ALLOCATE, wants_udp), 0);
    assert_eq!(seen.held(), 1);
}

/// RFC 8656 §7.2: a retransmission is the same request, and asked about once.
#[test]
fn the_same_request_again_is_asked_about_once() {
    let (mut world, seen) = ruled();
    let phone = world.phone(udp(CLIENT), INTERNET);
    let request = crate::world::signed(&phone, Method::ALLOCATE, world.id(), wants_udp);
    for _ in 0..3 {
        assert_eq!(world.hand_in(phone.from, &request).unwrap().code(), 0);
    }
    assert_eq!((seen.wishes(), seen.held()), (vec![Wish::Allocate], 1));
}

#[test]
fn what_is_held_is_given_back_however_an_allocation_ends_and_if_it_never_begins() {
    let (mut world, seen) = ruled();
    type End = fn(&mut World, FiveTuple);
    let ends: [End; 4] = [
        |world, client| world.server.handle_closed(client),
        |world, _| world.wait(601),
        |world, _| {
            let user = Banned::User(INTERNET.into());
            world.server.ban(user.clone(), None, world.now.instant);
            world.server.lift_ban(&user);
        },
        |world, client| {
            let phone = world.phone(client, INTERNET);
            assert_eq!(world.refresh(&phone, 0), 0);
        },
    ];
    for end in ends {
        let (phone, _) = world.allocated(CLIENT, INTERNET);
        assert_eq!(seen.held(), 1);
        end(&mut world, phone.from);
        while world.server.poll_output().is_some() {}
        assert_eq!((seen.held(), world.server.allocations().len()), (0, 0));
    }
    // More than the role allows: the rules said yes, the role says no.
    for port in 0..9 {
        let phone = world.phone(udp(&format!("198.51.100.2:{}", 6000 + port)), INTERNET);
        let code = world.code(&phone, Method::ALLOCATE, wants_udp);
        assert_eq!(code, if port < 8 { 0 } else { 486 });
    }
    assert_eq!(seen.held(), 8);
}

#[test]
fn peers_are_asked_about_each_once_and_as_what_they_are() {
    let (mut world, seen) = ruled();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    seen.wishes();
    let code = world.code(&phone, Method::CREATE_PERMISSION, |writer| {
        for peer in ["203.0.113.7:1", "203.0.113.8:1", "203.0.113.7:2"] {
            writer.put_xor_address(Type::XOR_PEER_ADDRESS, addr(peer));
        }
    });
    assert_eq!((code, seen.wishes()), (0, vec![peer("203.0.113.7"), peer("203.0.113.8")]));
    // NAT64: an IPv4 address by another name.
    world.permit(&phone, "[64:ff9b::203.0.113.9]:1");
    assert_eq!(seen.wishes(), [peer("203.0.113.9")]);
    let code = world.code(&phone, Method::CREATE_PERMISSION, |writer| {
        for host in 1..=5 {
            writer.put_xor_address(Type::XOR_PEER_ADDRESS, addr(&format!("203.0.113.{host}:1")));
        }
    });
    assert_eq!((code, seen.wishes()), (508, vec![]), "more than can be held are not even asked about");
    seen.say(No::Answer(ErrorCode::FORBIDDEN));
    assert_eq!((world.permit(&phone, PEER), world.bind(&phone, 0x4000, PEER)), (403, 403));
    assert_eq!(world.send(&phone, PEER, b"x"), Verdict::Drop(Reason::NoPermission));
}

/// Roles come first and last.
#[test]
fn rules_open_nothing() {
    let (mut world, _) = ruled();
    let (phone, _) = world.allocated(CLIENT, CALLS);
    assert_eq!(world.permit(&phone, PEER), 403);
}

#[test]
fn who_may_keep_it_no_longer_loses_it_at_the_end_of_its_lifetime_and_may_end_it() {
    let (mut world, seen) = ruled();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    seen.say(No::Answer(ErrorCode::ALLOCATION_QUOTA_REACHED));
    assert_eq!(world.refresh(&phone, 600), 486);
    assert_eq!(world.server.allocations().len(), 1);
    seen.wishes();
    assert_eq!(world.refresh(&phone, 0), 0);
    assert_eq!(seen.wishes(), [], "nobody is asked about an end");
}

#[test]
fn rules_are_told_every_second_what_is_relayed_and_end_it_in_time() {
    let (mut world, seen) = ruled();
    seen.most.store(1_500, Ordering::Relaxed);
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.permit(&phone, PEER), 0);
    let told = || seen.relayed.load(Ordering::Relaxed);
    for round in 1..=7 {
        world.send(&phone, PEER, &[0; 100]);
        world.peer_sends(relayed, PEER, &[0; 100]).unwrap();
        assert_eq!(told(), 200 * (round - 1));
        world.wait(1);
        assert_eq!(told(), 200 * round);
    }
    world.send(&phone, PEER, &[0; 150]);
    assert_eq!(world.server.allocations().len(), 1, "nobody has looked");
    world.wait(1);
    assert_eq!((world.server.allocations().len(), told(), seen.held()), (0, 1_550, 0));
    assert_eq!(world.server.poll_timeout(), None, "no reading is left");
    assert_eq!(world.code(&phone, Method::ALLOCATE, wants_udp), 0);
    world.permit(&phone, PEER);
    world.send(&phone, PEER, &[0; 70]);
    world.server.handle_closed(phone.from);
    assert_eq!(told(), 70, "of the rest they are told at its end");
}

#[test]
fn what_is_refused_unread_says_so_and_what_a_client_relays_is_not_asked_about() {
    let (mut world, seen) = ruled();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.bind(&phone, 0x4000, PEER), 0);
    *seen.refused_source.lock().unwrap() = Some(addr(CLIENT).ip());
    assert!(matches!(world.channel_data(&phone, 0x4000, b"x"), Verdict::ToPeer { .. }));
    assert!(matches!(world.send(&phone, PEER, b"x"), Verdict::ToPeer { .. }));
    let now = world.now;
    for packet in [&[0; 20][..], b"\x00\x03", b"", b"\xff"] {
        assert_eq!(world.server.handle_client(phone.from, packet, now), Verdict::Drop(Reason::Policy));
    }
    let refresh = crate::world::signed(&phone, Method::REFRESH, world.id(), |_| ());
    assert!(world.hand_in(phone.from, &refresh).is_none());
    let elsewhere = addr(CLIENT).ip();
    assert_eq!(world.server.refuses(0, elsewhere, now.instant), Some(Reason::Policy));
    world.server.ban(Banned::source(elsewhere), None, now.instant);
    assert_eq!(world.server.refuses(0, elsewhere, now.instant), Some(Reason::Banned));
}
