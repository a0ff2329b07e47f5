//! What is held costs, in bytes that stay allocated: an answered call after the timers of its INVITE have run out, a registered phone, and a TURN
//! allocation.
#![allow(unsafe_code, reason = "counting allocated bytes takes an allocator")]
#![allow(dead_code, reason = "the simulated world has more than this test needs")]

#[path = "rfc8656/world.rs"]
mod turn_world;
#[path = "edge/ua.rs"]
mod ua;
#[path = "edge/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use turnpike::edge::settings::Anchor;
use turnpike::media::dtls::Certificate;
use turnpike::net::relay::UdpRelay;
use turnpike::policy::network::NetworkSet;
use turnpike::relay::{self, LegRules, Relay, RelayAddress, Side};
use turnpike::turn::quota::Role;
use ua::{Leg, answer, request, sdp};
use world::{Actor, World};

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const CALLS: isize = 1_000;
const ALLOCATIONS: isize = 500;

/// Bytes per held call; the fake relay's own tables are among them.
fn held_call(anchor: Anchor) -> isize {
    let mut world =
        World::with(|settings| settings.trunks.iter_mut().for_each(|trunk| trunk.media.anchor = anchor));
    world.ports.lock().expect("lock").capacity = 2_000;
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    let before = LIVE.load(Relaxed);
    for number in 0..CALLS {
        let uri = format!("sip:+49301{number}@203.0.113.11");
        let invite = request(&carrier, "INVITE", &uri, "+4930999", "", &sdp("198.51.100.1", 4_000));
        world.send(&carrier, &invite);
        let seen = world.expect(&pbx, "INVITE");
        world.send(&pbx, answer(&pbx, &seen, "180 Ringing", "b", ""));
        world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
        let came = world.expect(&carrier, "SIP/2.0 200");
        world.send(&carrier, Leg::caller(&carrier, &invite, &came).request("ACK", ""));
        world.expect(&pbx, "ACK");
        // 200 unanswered calls of one source at once are allowed, and none of these is unanswered any more.
        world.pass(Duration::from_millis(10));
        world.all.clear();
        world.events.clear();
    }
    world.pass(Duration::from_secs(40));
    world.mail = Vec::new();
    world.all = Vec::new();
    world.events = Vec::new();
    let status = world.status();
    assert_eq!((status.answered_calls as isize, status.server_transactions), (CALLS, 0));
    (LIVE.load(Relaxed) - before) / CALLS
}

/// Bytes per held allocation with a permission and a channel, and bytes left when all have ended; the fake sockets' own tables
/// are among them.
fn held_allocation() -> (isize, isize) {
    let mut world = turn_world::World::with(|settings| {
        settings.capacity.allocations = ALLOCATIONS as usize;
        settings.roles = settings.roles.iter().map(|role| generous(role)).collect();
    });
    let before = LIVE.load(Relaxed);
    let phones: Vec<_> = (0..ALLOCATIONS)
        .map(|n| {
            let from = format!("198.51.{}.{}:5000", 1 + n / 250, 1 + n % 250);
            let (phone, _) = world.allocated(&from, turn_world::INTERNET);
            assert_eq!(world.bind(&phone, 0x4000, "192.0.2.1:9000"), 0);
            phone
        })
        .collect();
    let held = LIVE.load(Relaxed) - before;
    for phone in &phones {
        assert_eq!(world.refresh(phone, 0), 0);
    }
    drop(phones);
    (held / ALLOCATIONS, LIVE.load(Relaxed) - before)
}

fn generous(role: &Role) -> Arc<Role> {
    Arc::new(Role { allocations: ALLOCATIONS as usize, ..role.clone() })
}

const PAIRS: isize = 100;

/// Bytes per pair of a relay with real sockets: what its worker and its directory keep of a stream.
fn held_pair() -> isize {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let address = RelayAddress { bind: localhost, advertise: localhost };
    let settings = relay::Settings { ports: 26_000..=26_999, workers: 1 };
    let certificate = Certificate::generate().expect("a certificate");
    let mut relay = UdpRelay::start(settings, [address], certificate, None).expect("a relay");
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let before = LIVE.load(Relaxed);
    let pairs: Vec<_> = (0..PAIRS)
        .map(|_| {
            let pair = relay.open(address, address).expect("a pair");
            for (side, rtp) in [(Side::A, "192.0.2.1:4000"), (Side::B, "192.0.2.2:4000")] {
                let rtp = rtp.parse().ok();
                let rules =
                    LegRules { rtp, payload_types: vec![0, 101], rtp_only: true, ..LegRules::default() };
                relay.set_leg(pair.id, side, rules);
            }
            pair
        })
        .collect();
    relay.flush();
    let last = pairs.last().expect("one");
    // Its worker has got to it, and so to all before it, when it has refused a stranger.
    let deadline = Instant::now() + Duration::from_secs(20);
    while last.counters.a.refused_source.load(Relaxed) == 0 {
        assert!(Instant::now() < deadline, "the worker does not get to it");
        stranger.send_to(b"hello", last.a.rtp().0).expect("sent");
        std::thread::yield_now();
    }
    (LIVE.load(Relaxed) - before) / PAIRS
}

const PHONES: u64 = 5_000;

/// Bytes per registered phone.
fn registered_phone() -> isize {
    let (mut world, pbx) = (World::new(), Actor::pbx());
    let before = LIVE.load(Relaxed);
    for n in 0..PHONES {
        let phone = Actor::tls_phone(n + 1, &format!("198.18.{}.{}:5061", n / 250, n % 250 + 1));
        let text =
            request(&phone, "REGISTER", "sip:example.com", &format!("user{n}"), "Expires: 3600\r\n", "");
        world.send(&phone, text.replace("To: <sip:example.com>", &format!("To: <sip:user{n}@example.com>")));
        let seen = world.expect(&pbx, "REGISTER");
        let accepted = format!("Contact: {};expires=3600\r\n", ua::header(&seen, "Contact"));
        world.send(&pbx, ua::response(&seen, "200 OK", "r", &accepted, ""));
        world.expect(&phone, "SIP/2.0 200");
        world.all.clear();
        world.events.clear();
    }
    world.pass(Duration::from_secs(70));
    (world.mail, world.all, world.events) = (Vec::new(), Vec::new(), Vec::new());
    let status = world.status();
    assert_eq!((status.registrations as u64, status.server_transactions), (PHONES, 0));
    (LIVE.load(Relaxed) - before) / PHONES as isize
}

/// Bytes of a list of a million networks, none of which touches another.
fn million_networks() -> isize {
    let before = LIVE.load(Relaxed);
    let networks: NetworkSet = (0..1_000_000u32)
        .filter_map(|n| IpNetwork::new(Ipv4Addr::from_bits(n * 4_294).into(), 32).ok())
        .collect();
    assert!(networks.contains(Ipv4Addr::from_bits(999_999 * 4_294).into()));
    LIVE.load(Relaxed) - before
}

#[test]
fn a_held_call_costs_a_few_kilobytes_and_an_allocation_less() {
    let networks = million_networks();
    println!("a million networks: {networks} bytes");
    assert!(networks < 10_000_000, "{networks} bytes");

    let (held, left) = held_allocation();
    println!("a held allocation: {held} bytes; {left} left of {ALLOCATIONS} when all have ended");
    assert!(held < 1_200, "{held} bytes");
    assert!(left < 60_000, "{left} bytes are not given back");

    let registered = registered_phone();
    println!("a registered phone: {registered} bytes");
    assert!(registered < 700, "{registered} bytes");

    let pair = held_pair();
    println!("a held pair: {pair} bytes in the relay");
    assert!(pair < 4_500, "{pair} bytes");

    let (bare, relayed) = (held_call(Anchor::Never), held_call(Anchor::Always));
    println!("a held call: {bare} bytes without media, {relayed} with media through the (fake) relay");
    assert!(bare < 2_000 && relayed < 5_700, "{bare} and {relayed} bytes");
}
