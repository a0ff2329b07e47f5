//! What a whole call costs the edge, UDP to UDP: INVITE, 100, 180, 200, ACK, BYE, 200 in and out (14 messages), SDP
//! rewritten or not, without sockets. Only time inside the edge is counted.
//!
//! `cargo bench --bench edge_call`

#[path = "../tests/edge/ua.rs"]
#[allow(dead_code)]
mod ua;
#[path = "../tests/edge/world.rs"]
#[allow(dead_code)]
mod world;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use turnpike::edge::settings::Anchor;
use ua::{Leg, answer, request, response, sdp};
use world::{Actor, World};

fn timed(world: &mut World, from: &Actor, text: String, spent: &mut Duration) {
    let bytes = bytes::Bytes::from(text);
    let start = Instant::now();
    world.edge.handle_message(&from.source, bytes, world.now);
    *spent += start.elapsed();
    world.collect();
}

fn call(world: &mut World) -> Duration {
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    let mut spent = Duration::ZERO;
    let body = sdp("198.51.100.1", 4_000);
    let invite = request(&carrier, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", &body);
    timed(world, &carrier, invite.clone(), &mut spent);
    let seen = world.expect(&pbx, "INVITE");
    timed(world, &pbx, response(&seen, "100 Trying", "", "", ""), &mut spent);
    timed(world, &pbx, answer(&pbx, &seen, "180 Ringing", "b", ""), &mut spent);
    timed(world, &pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)), &mut spent);
    let came = world.expect(&carrier, "SIP/2.0 200");
    let mut leg = Leg::caller(&carrier, &invite, &came);
    let ack = leg.request("ACK", "");
    timed(world, &carrier, ack, &mut spent);
    let bye = leg.request("BYE", "");
    timed(world, &carrier, bye, &mut spent);
    let seen = world.expect(&pbx, "BYE");
    timed(world, &pbx, response(&seen, "200 OK", "", "", ""), &mut spent);
    world.take(&carrier);
    world.take(&pbx);
    world.all.clear();
    world.events.clear();
    let end = world.now.after(Duration::from_millis(10));
    let start = Instant::now();
    world.edge.handle_timeout(end);
    spent += start.elapsed();
    world.now = end;
    world.collect();
    spent
}

fn calls(criterion: &mut Criterion) {
    for (name, anchor) in [("signalling alone", Anchor::Never), ("SDP rewritten", Anchor::Always)] {
        let mut world = World::with(|settings| {
            settings.zones.iter_mut().for_each(|zone| zone.media.anchor = anchor);
            settings.trunks.iter_mut().for_each(|trunk| trunk.media.anchor = anchor);
        });
        criterion.bench_function(&format!("call of 14 messages, {name}"), |bencher| {
            bencher.iter_custom(|calls| (0..calls).map(|_| call(&mut world)).sum());
        });
    }
}

criterion_group!(benches, calls);
criterion_main!(benches);
