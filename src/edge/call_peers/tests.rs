use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::relay::{LegRules, OpenError, OpenPair, Owner, PairId, RelayAddress, RelayUsage, SavedPair};
use crate::sdp::dtls::{Fingerprint, Hash};

/// What is open, and how many calls opened it.
#[derive(Default)]
struct Opened(BTreeMap<SocketAddr, usize>);

impl Relay for Opened {
    fn open(&mut self, _: RelayAddress, _: RelayAddress) -> Result<OpenPair, OpenError> {
        Err(OpenError::PortsExhausted)
    }
    fn reopen(&mut self, _: RelayAddress, _: RelayAddress, _: &SavedPair) -> Result<OpenPair, OpenError> {
        Err(OpenError::PortsExhausted)
    }
    fn set_leg(&mut self, _: PairId, _: Side, _: LegRules) {}
    fn close(&mut self, _: PairId) {}
    fn owner_of(&self, address: SocketAddr) -> Option<Owner> {
        (address.ip() == at("203.0.113.10:0").ip()).then_some(Owner::Allocation)
    }
    fn serves_turn(&self) -> bool {
        true
    }
    fn open_call_peer(&mut self, peer: PeerAddr) {
        *self.0.entry(peer.0).or_default() += 1;
    }
    fn close_call_peer(&mut self, peer: PeerAddr) {
        let open = self.0.get_mut(&peer.0).expect("closed more often than opened");
        *open -= 1;
        if *open == 0 {
            self.0.remove(&peer.0);
        }
    }
    fn ban(&mut self, _: &crate::base::ban::Banned, _: Option<std::time::Instant>) {}
    fn lift_ban(&mut self, _: &crate::base::ban::Banned) {}
    fn dtls_fingerprint(&self) -> Fingerprint {
        Fingerprint::new(Hash::Sha256, &[0xf1; 32]).expect("32 bytes")
    }
    fn usage(&self) -> RelayUsage {
        RelayUsage::default()
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn audio(host: &str, port: u16) -> String {
    let family = if host.contains(':') { 6 } else { 4 };
    format!("v=0\r\nc=IN IP{family} {host}\r\nm=audio {port} RTP/AVP 0\r\n")
}

#[derive(Default)]
struct Call {
    peers: CallPeers,
    relay: Opened,
}

impl Call {
    fn offer(&mut self, from: Side, sdp: &str) {
        self.peers.offer(from, &Session::parse(sdp.as_bytes()).unwrap(), &mut self.relay);
    }
    fn answer(&mut self, from: Side, tag: &str, is_final: bool, sdp: &str) {
        let sdp = Session::parse(sdp.as_bytes()).unwrap();
        self.peers.answer(from, tag.as_bytes(), is_final, &sdp, &mut self.relay);
    }
    /// The open RTP addresses; their twins are open with them.
    fn open(&self) -> Vec<String> {
        assert!(self.relay.0.values().all(|count| *count == 1), "each once");
        let rtp = self.relay.0.keys().filter(|address| address.port() % 2 == 0);
        rtp.map(SocketAddr::to_string).collect()
    }
}

const ALICE: &str = "192.0.2.1:4000";
const ALICE_MOVED: &str = "192.0.2.1:4100";
const BOB: &str = "198.51.100.1:5000";
const FORK: &str = "198.51.100.2:5000";

fn sdp(address: &str) -> String {
    audio(&at(address).ip().to_string(), at(address).port())
}

#[test]
fn an_offer_counts_at_once_and_an_answer_from_the_first_provisional_one_on() {
    let mut call = Call::default();
    call.offer(Side::A, &sdp(ALICE));
    assert_eq!(call.open(), [ALICE]);
    call.answer(Side::B, "x", false, &sdp(BOB));
    call.answer(Side::B, "y", false, &sdp(FORK));
    assert_eq!(call.open(), [ALICE, BOB, FORK]);
    call.answer(Side::B, "x", true, &sdp(BOB));
    assert_eq!(call.open(), [ALICE, BOB], "who was not chosen is gone");
    call.answer(Side::B, "y", true, &sdp(FORK));
    assert_eq!(call.open(), [ALICE, BOB, FORK], "a second 2xx stands beside the first");
    call.peers.forget_answer(b"y", &mut call.relay);
    assert_eq!(call.open(), [ALICE, BOB]);
    call.peers.close(&mut call.relay);
    call.peers.close(&mut call.relay);
    assert!(call.relay.0.is_empty());
}

#[test]
fn a_re_invite_with_other_addresses_closes_the_old_ones_when_it_is_answered() {
    let mut call = Call::default();
    call.offer(Side::A, &sdp(ALICE));
    call.answer(Side::B, "x", true, &sdp(BOB));
    call.offer(Side::A, &sdp(ALICE_MOVED));
    assert_eq!(call.open(), [ALICE, ALICE_MOVED, BOB]);
    call.peers.roll_back(&mut call.relay);
    assert_eq!(call.open(), [ALICE, BOB], "refused");
    call.offer(Side::A, &sdp(ALICE_MOVED));
    call.answer(Side::B, "x", true, &sdp(BOB));
    assert_eq!(call.open(), [ALICE_MOVED, BOB]);
}

#[test]
fn an_exchange_that_ended_without_a_final_answer_holds() {
    let mut call = Call::default();
    call.offer(Side::A, &sdp(ALICE));
    call.answer(Side::B, "x", false, &sdp(BOB));
    call.offer(Side::B, &sdp(FORK));
    assert_eq!(call.open(), [ALICE, BOB, FORK]);
    call.peers.roll_back(&mut call.relay);
    assert_eq!(call.open(), [ALICE, BOB]);
    call.offer(Side::B, &sdp(FORK));
    call.offer(Side::B, &sdp(BOB));
    assert_eq!(call.open(), [ALICE, BOB], "a late offer said again, otherwise");
}

#[test]
fn a_side_on_hold_by_address_is_where_it_was() {
    let mut call = Call::default();
    call.offer(Side::A, &sdp(ALICE));
    call.answer(Side::B, "x", true, &sdp(BOB));
    call.offer(Side::B, &audio("0.0.0.0", 5000));
    call.answer(Side::A, "x", true, &sdp(ALICE));
    assert_eq!(call.open(), [ALICE, BOB]);
    call.offer(Side::B, &sdp(BOB));
    call.answer(Side::A, "x", true, &audio("0.0.0.0", 4000));
    assert_eq!(call.open(), [ALICE, BOB]);
}

#[test]
fn what_is_named_where_media_goes_by_udp_is_open() {
    let offer = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4009 IN IP4 192.0.2.2\r\n\
                 a=candidate:1 1 udp 1 192.0.2.3 4000 typ host\r\na=candidate:2 1 UDP 1 2001:db8::3 4000 typ host\r\n\
                 a=candidate:3 1 udp 1 192.0.2.4 4000 typ srflx raddr 10.0.0.1 rport 4000\r\n\
                 a=candidate:4 1 udp 1 192.0.2.5 4000 typ prflx raddr 10.0.0.1 rport 4000\r\n\
                 a=candidate:5 1 udp 1 192.0.2.6 4000 typ relay raddr 192.0.2.4 rport 4000\r\n\
                 a=candidate:6 1 tcp 1 192.0.2.7 9 typ host tcptype active\r\n\
                 a=candidate:7 1 udp 1 0f9c.local 4000 typ host\r\n\
                 m=video 0 RTP/AVP 96\r\na=candidate:1 1 udp 1 192.0.2.8 4000 typ host\r\n\
                 m=message 2855 TCP/MSRP *\r\nc=IN IP4 192.0.2.9\r\n\
                 m=audio 9 RTP/AVP 0\r\nc=IN IP4 192.0.2.10\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n";
    let mut call = Call::default();
    call.offer(Side::A, offer);
    let open: Vec<String> = call.relay.0.keys().map(SocketAddr::to_string).collect();
    assert_eq!(
        open,
        [
            "192.0.2.1:4000",
            "192.0.2.2:4009",
            "192.0.2.3:4000",
            "192.0.2.4:4000",
            "192.0.2.5:4000",
            "192.0.2.6:4000",
            "[2001:db8::3]:4000"
        ]
    );
}

#[test]
fn what_is_private_or_ours_is_never_open() {
    for host in [
        "127.0.0.1",
        "10.20.0.20",
        "192.168.1.5",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "203.0.113.10",
    ] {
        let mut call = Call::default();
        call.offer(Side::A, &audio(host, 4000));
        call.answer(Side::B, "x", true, &audio(host, 4000));
        assert!(call.relay.0.is_empty(), "{host}");
    }
}

#[test]
fn a_call_has_a_capacity() {
    let candidates = |ports: std::ops::Range<u16>| -> String {
        let line = |port| format!("a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n");
        sdp(ALICE) + &ports.map(line).collect::<String>()
    };
    let mut call = Call::default();
    call.offer(Side::A, &candidates(4000..4064));
    assert_eq!((call.relay.0.len(), call.peers.is_full()), (CALL_PEERS_MAX, false));
    call.answer(Side::B, "x", true, &sdp(BOB));
    assert_eq!((call.relay.0.len(), call.peers.is_full()), (CALL_PEERS_MAX, true), "the rest is left out");
    call.offer(Side::A, &sdp(ALICE));
    call.answer(Side::B, "x", true, &sdp(BOB));
    assert_eq!(call.open(), [ALICE], "its place was not free yet");
    call.answer(Side::B, "x", true, &sdp(BOB));
    assert_eq!(call.open(), [ALICE, BOB], "now it is");
}

#[test]
fn what_is_trickled_goes_with_the_offer_or_answer_that_it_follows() {
    let line = |address: &str| {
        let at = at(address);
        format!("m=audio 9 RTP/AVP 0\r\na=candidate:1 1 udp 1 {} {} typ host\r\n", at.ip(), at.port())
    };
    let trickle = |call: &mut Call, from, tag: &str, address| {
        call.peers.trickle(from, tag.as_bytes(), line(address).as_bytes(), &mut call.relay);
    };
    let mut call = Call::default();
    trickle(&mut call, Side::A, "x", ALICE_MOVED);
    assert!(call.open().is_empty(), "before any offer");
    call.offer(Side::A, &sdp(ALICE));
    trickle(&mut call, Side::A, "", ALICE_MOVED);
    trickle(&mut call, Side::B, "x", BOB);
    assert_eq!(call.open(), [ALICE, ALICE_MOVED], "nobody has answered");
    call.answer(Side::B, "x", false, &sdp(ALICE));
    trickle(&mut call, Side::B, "x", BOB);
    trickle(&mut call, Side::B, "y", FORK);
    assert_eq!(call.open(), [ALICE, ALICE_MOVED, BOB]);
    call.answer(Side::B, "x", true, &sdp(BOB));
    trickle(&mut call, Side::B, "x", FORK);
    assert_eq!(call.open(), [ALICE, ALICE_MOVED, BOB, FORK]);
    call.offer(Side::B, &sdp(BOB));
    call.answer(Side::A, "x", true, &sdp(ALICE));
    assert_eq!(call.open(), [ALICE, BOB], "the next exchange says all that it means");
    call.peers.close(&mut call.relay);
    assert!(call.relay.0.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Offer(Side, String),
    Answer(Side, &'static str, bool, String),
    Trickle(Side, &'static str, String),
    Forget(&'static str),
    RollBack,
    Close,
}

fn body() -> impl Strategy<Value = String> {
    let hosts = ["192.0.2.1", "192.0.2.2", "0.0.0.0", "10.0.0.1", "203.0.113.10"];
    let candidates = vec(0..80u16, 0..40).prop_map(|ports| {
        let line = |port| format!("a=candidate:1 1 udp 1 192.0.2.3 {} typ host\r\n", 4000 + port);
        ports.into_iter().map(line).collect::<String>()
    });
    (prop::sample::select(hosts.to_vec()), 0..3u16, candidates)
        .prop_map(|(host, port, candidates)| audio(host, port * 2000) + &candidates)
}

fn step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::A), Just(Side::B)];
    let tag = || prop_oneof![Just("x"), Just("y"), Just("z")];
    prop_oneof![
        4 => (side(), body()).prop_map(|(from, sdp)| Step::Offer(from, sdp)),
        6 => (side(), tag(), any::<bool>(), body()).prop_map(|(from, tag, last, sdp)| Step::Answer(from, tag, last, sdp)),
        3 => (side(), tag(), body()).prop_map(|(from, tag, sdp)| Step::Trickle(from, tag, sdp)),
        1 => tag().prop_map(Step::Forget),
        1 => Just(Step::RollBack),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #[test]
    fn what_was_opened_is_closed_once(calls in vec((0..3usize, step()), 0..60)) {
        let mut relay = Opened::default();
        let mut calls_of = [CallPeers::default(), CallPeers::default(), CallPeers::default()];
        for (which, step) in calls {
            let peers = &mut calls_of[which];
            match step {
                Step::Offer(from, sdp) => peers.offer(from, &Session::parse(sdp.as_bytes()).unwrap(), &mut relay),
                Step::Answer(from, tag, last, sdp) => {
                    peers.answer(from, tag.as_bytes(), last, &Session::parse(sdp.as_bytes()).unwrap(), &mut relay);
                }
                Step::Trickle(from, tag, sdp) => {
                    peers.trickle(from, tag.as_bytes(), sdp.as_bytes(), &mut relay);
                }
                Step::Forget(tag) => peers.forget_answer(tag.as_bytes(), &mut relay),
                Step::RollBack => peers.roll_back(&mut relay),
                Step::Close => peers.close(&mut relay),
            }
            let open: u32 = calls_of.iter().map(|peers| peers.open.count_ones()).sum();
            prop_assert_eq!(open as usize, relay.0.values().sum::<usize>(), "what is open is known");
            for peers in &calls_of {
                prop_assert!(peers.addresses.len() <= CALL_PEERS_MAX);
                let distinct: std::collections::BTreeSet<_> = peers.addresses.iter().collect();
                prop_assert_eq!(distinct.len(), peers.addresses.len(), "no address has two places");
            }
        }
        calls_of.iter_mut().for_each(|peers| peers.close(&mut relay));
        prop_assert!(relay.0.is_empty());
    }
}

#[test]
fn after_a_restart_what_was_agreed_on_is_open_again() {
    let mut call = Call::default();
    call.offer(Side::A, &sdp(ALICE));
    call.answer(Side::B, "x", true, &sdp(BOB));
    call.offer(Side::A, &sdp(ALICE_MOVED));
    let saved = serde_json::to_string(&call.peers.save()).unwrap();
    let mut relay = Opened::default();
    let peers = CallPeers::restore(serde_json::from_str(&saved).unwrap(), &mut relay);
    let mut again = Call { peers, relay };
    assert_eq!(again.open(), [ALICE, BOB], "an offer without an answer is forgotten");
    again.offer(Side::A, &sdp(ALICE_MOVED));
    again.answer(Side::B, "x", true, &sdp(BOB));
    assert_eq!(again.open(), [ALICE_MOVED, BOB]);
    again.peers.close(&mut again.relay);
    assert!(again.relay.0.is_empty());
}
