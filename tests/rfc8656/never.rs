//! What never happens, whatever clients do and in whatever order.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use turnpike::base::PeerAddr;
use turnpike::stun::{Family, Method, Type};
use turnpike::turn::forward::Verdict;

use crate::world::{CALLS, INTERNET, Phone, World, addr, udp, wants_udp};

#[derive(Clone, Debug)]
enum Step {
    Allocate { phone: usize, even: bool, both: bool },
    Refresh { phone: usize, seconds: u32 },
    Permit { phone: usize, peer: usize },
    Bind { phone: usize, channel: u16, peer: usize },
    Send { phone: usize, peer: usize },
    ChannelData { phone: usize, channel: u16 },
    Call { peer: usize, opens: bool },
    Closed { phone: usize },
    Wait { seconds: u64 },
}

const PHONES: [(&str, &str); 3] =
    [("198.51.100.1:5000", INTERNET), ("198.51.100.2:5000", CALLS), ("198.51.100.3:5000", CALLS)];

const PEERS: [&str; 7] = [
    "192.0.2.1:9000",
    "192.0.2.1:9001",
    "192.0.2.2:9000",
    "10.0.0.1:9000",
    "[2001:db8:1::1]:9000",
    "203.0.113.10:40002",
    "203.0.113.11:3478",
];

fn steps() -> impl Strategy<Value = Step> {
    let (phone, peer, channel) = (0..PHONES.len(), 0..PEERS.len(), 0x4000..0x4003u16);
    prop_oneof![
        1 => (phone.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(phone, even, both)| Step::Allocate { phone, even, both }),
        1 => (phone.clone(), prop_oneof![Just(0), Just(700), Just(1)])
            .prop_map(|(phone, seconds)| Step::Refresh { phone, seconds }),
        4 => (phone.clone(), peer.clone()).prop_map(|(phone, peer)| Step::Permit { phone, peer }),
        4 => (phone.clone(), channel.clone(), peer.clone())
            .prop_map(|(phone, channel, peer)| Step::Bind { phone, channel, peer }),
        6 => (phone.clone(), peer.clone()).prop_map(|(phone, peer)| Step::Send { phone, peer }),
        4 => (phone.clone(), channel).prop_map(|(phone, channel)| Step::ChannelData { phone, channel }),
        6 => (peer, any::<bool>()).prop_map(|(peer, opens)| Step::Call { peer, opens }),
        1 => phone.prop_map(|phone| Step::Closed { phone }),
        2 => prop_oneof![Just(1u64), Just(30), Just(290), Just(600)].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What a reader of the RFC would remember: until when each phone may send to each address, and which calls are up.
#[derive(Default)]
struct Model {
    second: u64,
    permissions: HashMap<(usize, IpAddr), u64>,
    calls: HashMap<SocketAddr, u32>,
}

impl Model {
    fn permit(&mut self, phone: usize, peer: SocketAddr) {
        self.permissions.insert((phone, peer.ip()), self.second + 300);
    }

    fn may_send(&self, phone: usize, peer: SocketAddr) -> bool {
        let permitted = self.permissions.get(&(phone, peer.ip())).is_some_and(|until| *until > self.second);
        let is_call = self.calls.get(&peer).is_some_and(|calls| *calls > 0);
        let is_ours = peer.ip() == addr("203.0.113.10:0").ip();
        permitted && (PHONES[phone].1 != CALLS || is_call || is_ours)
    }
}

fn step(world: &mut World, model: &mut Model, phones: &[Phone], step: Step) {
    match step {
        Step::Allocate { phone, even, both } => {
            world.code(&phones[phone], Method::ALLOCATE, |w| {
                wants_udp(w);
                if even {
                    w.put_even_port(!both);
                }
                if both {
                    w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
                }
            });
        }
        Step::Refresh { phone, seconds } => {
            if world.refresh(&phones[phone], seconds) == 0 && seconds == 0 {
                model.permissions.retain(|(owner, _), _| *owner != phone);
            }
        }
        Step::Permit { phone, peer } => {
            if world.permit(&phones[phone], PEERS[peer]) == 0 {
                model.permit(phone, addr(PEERS[peer]));
            }
        }
        Step::Bind { phone, channel, peer } => {
            if world.bind(&phones[phone], channel, PEERS[peer]) == 0 {
                model.permit(phone, addr(PEERS[peer]));
            }
        }
        Step::Send { phone, peer } => {
            let verdict = world.send(&phones[phone], PEERS[peer], b"x");
            judge(model, phone, &verdict);
        }
        Step::ChannelData { phone, channel } => {
            let verdict = world.channel_data(&phones[phone], channel, b"x");
            judge(model, phone, &verdict);
        }
        Step::Call { peer, opens: true } => {
            world.server.open_call_peer(PeerAddr(addr(PEERS[peer])));
            *model.calls.entry(addr(PEERS[peer])).or_default() += 1;
        }
        Step::Call { peer, opens: false } => {
            world.server.close_call_peer(PeerAddr(addr(PEERS[peer])));
            let calls = model.calls.entry(addr(PEERS[peer])).or_default();
            *calls = calls.saturating_sub(1);
        }
        Step::Closed { phone } => {
            world.server.handle_closed(phones[phone].from);
            model.permissions.retain(|(owner, _), _| *owner != phone);
        }
        Step::Wait { seconds } => {
            world.wait(seconds);
            model.second += seconds;
        }
    }
    while world.server.poll_output().is_some() {}
    counters_tell_what_is_live(world);
}

fn counters_tell_what_is_live(world: &World) {
    let (mut permissions, mut channels) = (0, 0);
    for allocation in world.server.allocations() {
        permissions += allocation.row.permissions.len() as u64;
        channels += allocation.row.channels.len() as u64;
    }
    let told = world.server.counters().read();
    assert_eq!(told.allocations, world.server.allocations().len() as u64);
    assert_eq!((told.permissions, told.channels), (permissions, channels));
}

fn judge(model: &Model, phone: usize, verdict: &Verdict) {
    let sent_to = match verdict {
        Verdict::ToPeer { to, .. } => to.0,
        Verdict::ToOwn { to, .. } => to.0,
        _ => return,
    };
    assert!(model.may_send(phone, sent_to), "{} sent to {sent_to} without a permission", PHONES[phone].1);
    let forbidden = ["10.0.0.1:9000", "203.0.113.11:3478"].map(addr);
    assert!(!forbidden.contains(&sent_to), "sent to {sent_to}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn nothing_is_sent_without_a_permission_and_nothing_is_left_after_expiry(
        steps in prop::collection::vec(steps(), 1..100),
    ) {
        let mut world = World::new();
        let mut model = Model::default();
        // Most of what can go wrong needs an allocation.
        let begin = (0..PHONES.len()).map(|phone| Step::Allocate { phone, even: false, both: false });
        for next in begin.chain(steps) {
            // Nonces grow stale on the way.
            let phones = PHONES.map(|(from, user)| world.phone(udp(from), user));
            step(&mut world, &mut model, &phones, next);
            let books = (world.books.held(), world.ports.lock().unwrap().open.len());
            prop_assert_eq!(books.0, books.1, "the books and the sockets agree");
        }
        world.wait(3600);
        world.assert_empty();
    }
}
