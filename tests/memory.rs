//! What a held call costs: bytes that stay allocated per answered call after the timers of its INVITE have run out.
#![allow(unsafe_code, reason = "counting allocated bytes takes an allocator")]
#![allow(dead_code, reason = "the simulated world has more than this test needs")]

#[path = "edge/ua.rs"]
mod ua;
#[path = "edge/world.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

use turnpike::edge::settings::Anchor;
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

#[test]
fn a_held_call_costs_a_few_kilobytes() {
    let (bare, relayed) = (held_call(Anchor::Never), held_call(Anchor::Always));
    println!("a held call: {bare} bytes without media, {relayed} with media through the (fake) relay");
    assert!(bare < 10_000 && relayed < 10_000, "{bare} and {relayed} bytes");
}
