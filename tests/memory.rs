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
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

use ipnetwork::IpNetwork;
use turnpike::edge::settings::Anchor;
use turnpike::media::dtls::Certificate;
use turnpike::net::relay::UdpRelay;
use turnpike::policy::Engine;
use turnpike::policy::network::NetworkSet;
use turnpike::relay::{self, RelayAddress};
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

/// Bytes per held call without media.
fn held_call() -> isize {
    let mut world = World::with(|settings| {
        settings.trunks.iter_mut().for_each(|trunk| trunk.media.anchor = Anchor::Never)
    });
    let before = LIVE.load(Relaxed);
    let ends = ["198.51.100.1:4000", "10.20.0.20:7000"].map(|end| end.parse().expect("an address"));
    for number in 0..CALLS {
        answered_call(&mut world, number, ends);
    }
    settle(&mut world, CALLS);
    (LIVE.load(Relaxed) - before) / CALLS
}

/// As many as leave a hash table that has just grown half empty, and need fewer sockets than a process may open.
const RELAYED_CALLS: isize = 120;

/// Bytes per held call whose media goes through the relay, with sockets: all that the edge, the relay and its worker keep of it.
fn relayed_call() -> isize {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let address = RelayAddress { bind: localhost, advertise: localhost };
    let ports = relay::Settings { ports: 26_000..=26_999, workers: 1 };
    let certificate = Certificate::generate().expect("a certificate");
    let relay = UdpRelay::start(ports, [address], certificate, None).expect("a relay");
    let mut settings = world::settings();
    settings.zones.iter_mut().for_each(|zone| zone.relay = Some(address.into()));
    let mut world = World::with_relay(Box::new(relay), 1, Engine::allow_all(), settings);
    let ends = [(); 2].map(|()| UdpSocket::bind((localhost, 0)).expect("a socket"));
    let addresses = ends.each_ref().map(|end| end.local_addr().expect("its address"));
    let before = LIVE.load(Relaxed);
    for number in 0..RELAYED_CALLS {
        let shown = answered_call(&mut world, number, addresses);
        // What went through the worker has told it of the call.
        for (end, shown, other) in [(&ends[0], shown[0], &ends[1]), (&ends[1], shown[1], &ends[0])] {
            end.send_to(&rtp(number), shown).expect("sent");
            other.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
            assert_eq!(other.recv(&mut [0; 100]).expect("it is relayed"), rtp(number).len());
        }
    }
    settle(&mut world, RELAYED_CALLS);
    (LIVE.load(Relaxed) - before) / RELAYED_CALLS
}

/// A call between two ends of media, the carrier's and the PBX's; where each is told to send to.
fn answered_call(world: &mut World, number: isize, [outside, inside]: [SocketAddr; 2]) -> [SocketAddr; 2] {
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    let uri = format!("sip:+49301{number}@203.0.113.11");
    let invite = request(&carrier, "INVITE", &uri, "+4930999", "", &offer(outside));
    world.send(&carrier, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, answer(&pbx, &seen, "180 Ringing", "b", ""));
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &offer(inside)));
    let came = world.expect(&carrier, "SIP/2.0 200");
    world.send(&carrier, Leg::caller(&carrier, &invite, &came).request("ACK", ""));
    world.expect(&pbx, "ACK");
    // 200 unanswered calls of one source at once are allowed, and none of these is unanswered any more.
    world.pass(Duration::from_millis(10));
    world.all.clear();
    world.events.clear();
    [told(&came), told(&seen)]
}

/// What is left of calls when the timers of their INVITEs have run out.
fn settle(world: &mut World, calls: isize) {
    world.pass(Duration::from_secs(40));
    world.mail = Vec::new();
    world.all = Vec::new();
    assert!(world.unheard().is_empty());
    world.events = Vec::new();
    let status = world.status();
    assert_eq!((status.answered_calls as isize, status.server_transactions), (calls, 0));
}

/// Two codecs and the digits, as most phones say it.
fn offer(end: SocketAddr) -> String {
    let audio = sdp(&end.ip().to_string(), end.port()).replace("RTP/AVP 0", "RTP/AVP 0 8 101");
    audio + "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
}

/// Where SDP says that audio is to be sent.
fn told(message: &str) -> SocketAddr {
    let after = |start: &str| {
        let (_, rest) = message.split_once(start).expect("a line of SDP");
        rest.split_ascii_whitespace().next().expect("a word")
    };
    SocketAddr::new(after("c=IN IP4 ").parse().expect("an IP"), after("m=audio ").parse().expect("a port"))
}

/// PCMU of 20 ms; each call has senders of its own.
fn rtp(number: isize) -> Vec<u8> {
    let head = [[0x80, 0, 0, 1], [0; 4], (number as u32).to_be_bytes()];
    [head.as_flattened(), &[0xff; 80]].concat()
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

    let (bare, relayed) = (held_call(), relayed_call());
    println!("a held call: {bare} bytes without media, {relayed} with media through the relay");
    assert!(bare < 2_000 && relayed < 6_000, "{bare} and {relayed} bytes");
}
