use std::collections::VecDeque;

use smallvec::smallvec;

use super::*;
use crate::ice::{Credentials, Settings};
use crate::media::dtls::{Association, Keys};
use crate::media::srtp::{Inbound, Outbound, Suite, TAILROOM};
use crate::relay::{LegCrypto, LegRules, OpenPair, PairId, SideAddrs};
use crate::stun::{Class, Hash, Key, Method, TransactionId, Type, Writer};
use Component::{Rtcp, Rtp};

const PHONE: &str = "192.0.2.1:4000";
const TRUNK: &str = "198.51.100.1:6000";
const STRANGER: &str = "203.0.113.66:666";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn beside(addr: &str, component: Component) -> SocketAddr {
    let addr = at(addr);
    SocketAddr::new(addr.ip(), addr.port() + component as u16)
}

fn rtp(sequence: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, sequence];
    packet.resize(172, 7);
    packet
}

fn report() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 1, 2, 3, 4]
}

/// A phone's end of one association.
struct Phone {
    certificate: Certificate,
    association: Association,
    /// What it came to.
    result: Option<Result<Keys, Failure>>,
    address: SocketAddr,
}

impl Phone {
    fn new(role: Role, ours: &Certificate, now: Instant) -> Phone {
        let certificate = Certificate::generate().unwrap();
        let mut association = Association::new(&certificate, role, &Suite::ALL, now);
        association.expect([ours.fingerprint().clone()]);
        Phone { certificate, association, result: None, address: at(PHONE) }
    }

    fn keys(&self) -> &Keys {
        self.result.as_ref().expect("an outcome").as_ref().expect("keys")
    }
}

/// A pair between a phone on side A, which does DTLS-SRTP, and a plain trunk on side B.
struct World {
    pair: Pair,
    ours: Arc<Certificate>,
    handshakes: Handshakes,
    now: Instant,
    rules: LegRules,
    /// What our side came to.
    failed: Vec<Failure>,
    full: usize,
}

impl World {
    fn new() -> World {
        let ours = Arc::new(Certificate::generate().unwrap());
        let handshakes = Handshakes::new(ours.clone(), 2);
        let rules = LegRules {
            rtp: Some(at(PHONE)),
            rtcp: Some(beside(PHONE, Rtcp)),
            payload_types: vec![0],
            rtp_only: true,
            send_before_latch: true,
            rtcp_mux: true,
            ..LegRules::default()
        };
        let (pair, now) = (Pair::default(), Instant::now());
        let mut world = World { pair, ours, handshakes, now, rules, failed: Vec::new(), full: 0 };
        let trunk = LegRules {
            rtp: Some(at(TRUNK)),
            rtcp: Some(beside(TRUNK, Rtcp)),
            rtcp_mux: false,
            ..world.rules.clone()
        };
        world.pair.set_leg(Side::B, trunk);
        world
    }

    /// A phone in this role, and the SDP of both.
    fn phone(&mut self, role: Role) -> Phone {
        let phone = Phone::new(role, &self.ours, self.now);
        self.set(Some(other(role)), Some(&phone));
        phone
    }

    /// The SDP says that of us and of the phone.
    fn set(&mut self, role: Option<Role>, phone: Option<&Phone>) {
        let fingerprints = phone.map(|phone| phone.certificate.fingerprint().clone()).into_iter().collect();
        self.set_crypto(LegCrypto::Dtls { role, fingerprints });
    }

    fn set_crypto(&mut self, crypto: LegCrypto) {
        self.pair.set_crypto(Side::A, &crypto, self.now);
        self.pair.set_leg(Side::A, LegRules { crypto, ..self.rules.clone() });
    }

    /// What the phone says, and what the pair does with it.
    fn hear(&mut self, source: SocketAddr, component: Component, packet: &[u8]) -> Verdict {
        assert_eq!(self.pair.way(Side::A, packet), super::super::Way::Dtls);
        let arrived = Arrived { side: Side::A, component, source, now: self.now };
        self.pair.take_dtls(&arrived, packet, &self.handshakes)
    }

    /// What the pair says, with where it goes.
    fn say(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut packets = Vec::new();
        while let Some(said) = self.pair.poll_dtls(&self.handshakes, self.now) {
            match said {
                Said::Packet { side, exit, packet } => {
                    assert_eq!((side, exit.ours), (Side::A, false));
                    packets.push((exit.to, packet));
                }
                Said::Failed { side, failure, .. } => {
                    assert_eq!(side, Side::A);
                    self.failed.push(failure);
                }
                Said::Full(_) => self.full += 1,
            }
        }
        packets
    }

    /// Carries what is there, and what comes of it.
    fn carry(&mut self, phone: &mut Phone, component: Component, lost: &mut impl FnMut() -> bool) {
        let mut to_phone = VecDeque::new();
        loop {
            let address = beside(&phone.address.to_string(), component);
            to_phone.extend(self.say().into_iter().filter(|(to, _)| *to == address));
            while let Some((_, packet)) = to_phone.pop_front() {
                if !lost() {
                    phone.association.handle_packet(&packet, self.now);
                }
            }
            let mut quiet = true;
            while let Some(output) = phone.association.poll_output() {
                quiet = false;
                match output {
                    Output::Packet(packet) if !lost() => {
                        self.hear(address, component, &packet);
                    }
                    Output::Packet(_) => {}
                    Output::Keys(keys) => phone.result = Some(Ok(keys)),
                    Output::Failed(failure) => phone.result = Some(Err(failure)),
                }
            }
            if quiet && to_phone.is_empty() {
                return;
            }
        }
    }

    /// Until both are quiet.
    fn shake(&mut self, phone: &mut Phone) {
        self.carry(phone, Rtp, &mut || false);
    }

    /// Until the phone has come to something, and nothing is waited for.
    fn run(&mut self, phone: &mut Phone, mut lost: impl FnMut() -> bool) {
        self.carry(phone, Rtp, &mut lost);
        let end = self.now + Duration::from_secs(60);
        while let Some(due) =
            self.pair.dtls_timeout().into_iter().chain(phone.association.poll_timeout()).min()
            && self.now < end
        {
            self.now = due.max(self.now);
            self.pair.handle_dtls_timeout(self.now);
            phone.association.handle_timeout(self.now);
            self.carry(phone, Rtp, &mut lost);
        }
    }

    /// What leaves of a packet of media, or why it does not.
    fn send(&mut self, side: Side, component: Component, packet: &[u8]) -> Result<Vec<u8>, Reason> {
        let source = beside(if side == Side::A { PHONE } else { TRUNK }, component);
        let mut bytes = [&[0; TAILROOM], packet].concat();
        let mut place = TAILROOM..bytes.len();
        let arrived = Arrived { side, component, source, now: self.now };
        match self.pair.forward_srtp(&arrived, &mut bytes, &mut place) {
            Verdict::Forward(_) => Ok(bytes[place].to_vec()),
            Verdict::Drop(reason) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    /// Packet `sequence`, and a report, go both ways under these keys.
    fn assert_media(&mut self, keys: &Keys, sequence: u8) {
        let (mut sends, mut hears) = (Outbound::new(&keys.outbound), Inbound::new(&keys.inbound));
        let mut packet = rtp(sequence);
        packet.resize(172 + TAILROOM, 0);
        let len = sends.protect_rtp(&mut packet, 172).unwrap();
        assert_eq!(self.send(Side::A, Rtp, &packet[..len]), Ok(rtp(sequence)));
        let mut packet = self.send(Side::B, Rtp, &rtp(sequence)).unwrap();
        assert_eq!(hears.unprotect_rtp(&mut packet, self.now), Ok(172));
        assert_eq!(packet[..172], rtp(sequence));
    }

    /// No packet leaves, either way.
    fn assert_silence(&mut self) {
        assert_eq!(self.send(Side::A, Rtp, &rtp(1)), Err(Reason::Authentication));
        assert_eq!(self.send(Side::B, Rtp, &rtp(1)), Err(Reason::Undeliverable));
    }
}

fn other(role: Role) -> Role {
    if role == Role::Client { Role::Server } else { Role::Client }
}

#[test]
fn active_or_passive_the_phone_and_the_trunk_hear_each_other() {
    for role in [Role::Client, Role::Server] {
        let mut world = World::new();
        let mut phone = world.phone(role);
        world.assert_silence();
        world.shake(&mut phone);
        world.assert_media(phone.keys(), 2);
        assert_eq!(world.pair.dtls_timeout(), None, "{role:?}");
        assert_eq!(world.pair.legs[0].source(Rtp), Some(at(PHONE)), "it has latched");
    }
}

#[test]
fn lost_packets_are_sent_again_in_time() {
    for role in [Role::Client, Role::Server] {
        for modulus in [2, 3, 5] {
            let mut world = World::new();
            let mut phone = world.phone(role);
            let mut count = 0;
            world.run(&mut phone, || {
                count += 1;
                count % modulus == 1
            });
            world.assert_media(phone.keys(), 2);
        }
    }
}

#[test]
fn a_certificate_that_the_sdp_does_not_name_gets_no_media() {
    for role in [Role::Client, Role::Server] {
        let mut world = World::new();
        let mut phone = Phone::new(role, &world.ours, world.now);
        let named = Phone::new(role, &world.ours, world.now);
        world.set(Some(other(role)), Some(&named));
        world.shake(&mut phone);
        world.assert_silence();
        assert_eq!(world.failed, [Failure::Fingerprint]);
        assert_eq!(world.handshakes.running.load(Ordering::Relaxed), 0);
    }
}

/// RFC 5763 §6.2: the answerer's ClientHello may be quicker than its answer.
#[test]
fn keys_wait_for_the_fingerprint() {
    let mut world = World::new();
    let mut phone = Phone::new(Role::Client, &world.ours, world.now);
    world.set(None, None);
    world.shake(&mut phone);
    assert!(phone.result.is_some(), "it knows ours");
    world.assert_silence();
    world.set(Some(Role::Server), Some(&phone));
    assert_eq!(world.say(), []);
    world.assert_media(phone.keys(), 2);
}

#[test]
fn we_wait_until_it_is_known_that_we_begin() {
    let mut world = World::new();
    world.set(None, None);
    assert_eq!(world.say(), []);
    let mut phone = world.phone(Role::Server);
    world.shake(&mut phone);
    world.assert_media(phone.keys(), 2);
}

/// RFC 8842 §4.
#[test]
fn an_offer_that_says_the_same_keeps_the_keys_and_another_certificate_brings_others() {
    let mut world = World::new();
    let mut phone = world.phone(Role::Client);
    world.shake(&mut phone);
    world.assert_media(phone.keys(), 2);
    for role in [None, Some(Role::Server)] {
        world.set(role, Some(&phone));
        assert_eq!(world.say(), []);
    }
    world.set(None, None);
    world.assert_media(phone.keys(), 3);

    let mut next = world.phone(Role::Client);
    world.assert_media(phone.keys(), 4);
    world.shake(&mut next);
    world.assert_media(next.keys(), 2);
    assert_ne!(next.keys(), phone.keys());

    // As the client, too.
    let mut last = world.phone(Role::Server);
    world.shake(&mut last);
    world.assert_media(last.keys(), 2);
}

#[test]
fn an_offer_that_fails_changes_nothing() {
    for established in [false, true] {
        let mut world = World::new();
        let mut phone = world.phone(Role::Client);
        world.shake(&mut phone);
        world.assert_media(phone.keys(), 2);
        let mut offered = world.phone(Role::Client);
        if established {
            world.shake(&mut offered);
            world.assert_media(offered.keys(), 3);
        }
        world.set(Some(Role::Server), Some(&phone));
        world.assert_media(phone.keys(), 4);
        assert_eq!(world.failed, []);
    }
}

/// RFC 6347 §4.2.8: a PBX that joins two calls shows the same certificate, from the same address.
#[test]
fn an_endpoint_with_the_same_certificate_may_begin_anew() {
    let mut world = World::new();
    let mut phone = world.phone(Role::Client);
    world.shake(&mut phone);
    let old = phone.keys().clone();
    phone.association = Association::new(&phone.certificate, Role::Client, &Suite::ALL, world.now);
    phone.association.expect([world.ours.fingerprint().clone()]);
    world.assert_media(&old, 2);
    world.shake(&mut phone);
    assert_ne!(*phone.keys(), old);
    world.assert_media(phone.keys(), 2);
}

#[test]
fn a_leg_that_was_plain_in_between_goes_on_where_it_was() {
    let mut world = World::new();
    let mut phone = world.phone(Role::Client);
    world.shake(&mut phone);
    world.assert_media(phone.keys(), 2);
    world.set_crypto(LegCrypto::Pass);
    assert!(!world.pair.does_dtls() && world.pair.dtls_timeout().is_none());
    world.set(Some(Role::Server), Some(&phone));
    world.assert_media(phone.keys(), 3);
}

#[test]
fn without_rtcp_mux_rtcp_has_keys_of_its_own() {
    for role in [Role::Client, Role::Server] {
        let mut world = World::new();
        world.rules.rtcp_mux = false;
        let mut phone = world.phone(role);
        let mut of_rtcp = Phone::new(role, &world.ours, world.now);
        world.set_crypto(LegCrypto::Dtls {
            role: Some(other(role)),
            fingerprints: smallvec![
                phone.certificate.fingerprint().clone(),
                of_rtcp.certificate.fingerprint().clone()
            ],
        });
        // As the client we begin with both at once.
        let mut to_rtp = world.say();
        let mut to_rtcp = to_rtp.split_off(to_rtp.iter().take_while(|(to, _)| *to == at(PHONE)).count());
        for (phone, packets) in [(&mut phone, &mut to_rtp), (&mut of_rtcp, &mut to_rtcp)] {
            packets.drain(..).for_each(|(_, packet)| phone.association.handle_packet(&packet, world.now));
        }
        world.shake(&mut phone);
        assert_eq!(world.send(Side::B, Rtcp, &report()), Err(Reason::Undeliverable), "{role:?}");
        world.carry(&mut of_rtcp, Rtcp, &mut || false);
        world.assert_media(phone.keys(), 2);
        let mut packet = report();
        packet.resize(8 + TAILROOM, 0);
        let len = Outbound::new(&of_rtcp.keys().outbound).protect_rtcp(&mut packet, 8).unwrap();
        assert_eq!(world.send(Side::A, Rtcp, &packet[..len]), Ok(report()));
        let mut packet = world.send(Side::B, Rtcp, &report()).unwrap();
        assert_eq!(Inbound::new(&of_rtcp.keys().inbound).unprotect_rtcp(&mut packet, world.now), Ok(8));
    }
}

/// The phone has one port for both, the trunk two.
#[test]
fn a_report_finds_its_port_where_one_side_has_rtcp_mux_and_the_other_has_not() {
    let mut world = World::new();
    let mut phone = world.phone(Role::Client);
    world.shake(&mut phone);
    let mut packet = report();
    packet.resize(8 + TAILROOM, 0);
    let len = Outbound::new(&phone.keys().outbound).protect_rtcp(&mut packet, 8).unwrap();
    let mut bytes = [&[0; TAILROOM], &packet[..len]].concat();
    let mut place = TAILROOM..bytes.len();
    let arrived = Arrived { side: Side::A, component: Rtp, source: at(PHONE), now: world.now };
    let verdict = world.pair.forward_srtp(&arrived, &mut bytes, &mut place);
    let exit = |component, to| Verdict::Forward(Exit { component, to, ours: false });
    assert_eq!(verdict, exit(Rtcp, beside(TRUNK, Rtcp)));
    assert_eq!(bytes[place], report());

    let mut bytes = [&[0; TAILROOM][..], &report()].concat();
    let mut place = TAILROOM..bytes.len();
    let arrived = Arrived { side: Side::B, component: Rtcp, source: beside(TRUNK, Rtcp), now: world.now };
    assert_eq!(world.pair.forward_srtp(&arrived, &mut bytes, &mut place), exit(Rtp, at(PHONE)));
    let hears = &mut Inbound::new(&phone.keys().inbound);
    assert_eq!(hears.unprotect_rtcp(&mut bytes[place], world.now), Ok(8));
}

// ---- strangers ----

/// CVE-2023-49786, without ICE: by the rules of latching.
#[test]
fn a_strangers_handshake_goes_nowhere() {
    let mut world = World::new();
    let mut phone = world.phone(Role::Client);
    let mut stranger = Phone::new(Role::Client, &world.ours, world.now);
    let Some(Output::Packet(hello)) = stranger.association.poll_output() else { panic!("a ClientHello") };
    assert_eq!(world.hear(at(STRANGER), Rtp, &hello), Verdict::Drop(Reason::Source));
    assert_eq!(world.say(), []);
    world.shake(&mut phone);
    assert_eq!(world.hear(at(STRANGER), Rtp, &hello), Verdict::Drop(Reason::Source));
    world.assert_media(phone.keys(), 2);
}

/// Somebody at the SIP source's address (a neighbour behind its NAT) was quicker.
#[test]
fn who_was_quicker_but_is_not_the_phone_does_not_keep_it_out() {
    let mut world = World::new();
    world.rules.sip_source = Some(at(PHONE).ip());
    let mut neighbour = Phone::new(Role::Client, &world.ours, world.now);
    neighbour.address = at("192.0.2.1:666");
    let mut phone = world.phone(Role::Client);
    world.shake(&mut neighbour);
    world.assert_silence();
    world.shake(&mut phone);
    world.assert_media(phone.keys(), 2);
    assert_eq!(world.failed, [Failure::Fingerprint]);
}

/// ATTACKS.md, reflection: the SDP names a victim, and packets come in its name.
#[test]
fn an_address_that_nothing_shows_to_be_the_phones_is_sent_no_more_than_twice_what_came() {
    let mut world = World::new();
    world.rules.send_before_latch = false;
    let mut victim = world.phone(Role::Client);
    let (mut came, mut went) = (0, 0);
    for _ in 0..2000 {
        victim.association.handle_timeout(world.now);
        while let Some(output) = victim.association.poll_output() {
            if let Output::Packet(hello) = output {
                came += hello.len();
                world.hear(at(PHONE), Rtp, &hello);
            }
        }
        world.pair.handle_dtls_timeout(world.now);
        went += world.say().iter().map(|(_, packet)| packet.len()).sum::<usize>();
        assert!(went <= 2 * came, "{went} for {came}");
        world.now += Duration::from_millis(50);
    }
    assert!(went > 0);

    let mut phone = world.phone(Role::Client);
    world.shake(&mut phone);
    world.assert_media(phone.keys(), 2);
}

#[test]
fn nothing_is_sent_to_an_address_that_is_not_proved() {
    let mut world = World::new();
    world.rules.send_before_latch = false;
    world.phone(Role::Server);
    assert_eq!(world.say(), []);
}

// ---- ICE ----

fn check(number: u8, to: &Credentials) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::begin(&mut bytes, Class::Request, Method::BINDING, TransactionId([number; 12]))
        .put(Type::USERNAME, format!("{}:them", to.ufrag).as_bytes())
        .put(Type::USE_CANDIDATE, &[])
        .add_integrity(&Key::short_term(to.pwd.reveal()), Hash::Sha1)
        .add_fingerprint();
    bytes
}

#[test]
fn with_ice_a_handshake_begins_with_a_check() {
    for role in [Role::Client, Role::Server] {
        let mut world = World::new();
        let ours = Credentials::read(b"ours", &[b'x'; 22]).unwrap();
        let ice = Settings { local: ours.clone(), remote_ufrag: Some("them".into()), terminated: true };
        world.rules.ice = Some(ice);
        world.rules.stun_and_dtls = true;
        let mut phone = world.phone(role);
        world.shake(&mut phone);
        assert!(phone.result.is_none(), "{role:?}: what the SDP says is not enough");

        let arrived = Arrived { side: Side::A, component: Rtp, source: at(PHONE), now: world.now };
        let verdict = world.pair.forward_ice(&arrived, &check(1, &ours), &mut Vec::new());
        assert_eq!(verdict, Verdict::Answer);
        world.run(&mut phone, || false);
        world.assert_media(phone.keys(), 2);
        assert_eq!(world.hear(at(STRANGER), Rtp, &[22; 40]), Verdict::Drop(Reason::Source));
    }
}

// ---- capacity ----

#[test]
fn when_too_many_shake_hands_the_next_one_waits_for_its_turn() {
    for role in [Role::Client, Role::Server] {
        let mut world = World::new();
        let places = [(); 2].map(|()| world.handshakes.take().unwrap());
        assert!(world.handshakes.take().is_none());
        let mut phone = world.phone(role);
        world.shake(&mut phone);
        assert!(phone.result.is_none());
        assert_eq!(world.full, 1, "{role:?}");
        drop(places);
        world.run(&mut phone, || false);
        world.assert_media(phone.keys(), 2);
        assert_eq!(world.handshakes.running.load(Ordering::Relaxed), 0, "keys free the place");
    }
}

#[test]
fn a_pair_that_is_closed_gives_its_place_back() {
    let mut world = World::new();
    world.phone(Role::Server);
    assert_eq!(world.say().len(), 1);
    assert_eq!(world.handshakes.running.load(Ordering::Relaxed), 1);
    world.pair = Pair::default();
    assert_eq!(world.handshakes.running.load(Ordering::Relaxed), 0);
}

/// A client of ours must not begin again, and a server of ours answers who does.
#[test]
fn after_a_restart_the_keys_are_in_use_and_nobody_shakes_hands() {
    let kept = |world: &World| world.pair.counters.leg(Side::A).srtp().unwrap().keys();
    for role in [Role::Client, Role::Server] {
        let mut world = World::new();
        let mut phone = world.phone(role);
        world.shake(&mut phone);
        let Some(Ok(keys)) = phone.result.clone() else { panic!("keys") };
        let addresses = SideAddrs::new(at(TRUNK).ip(), at(TRUNK).port());
        let counters = world.pair.counters.clone();
        let saved = OpenPair { id: PairId(1), a: addresses, b: addresses, counters }.save();

        let mut again = World::new();
        again.pair.counters = saved.counters().into();
        again.set(Some(other(role)), Some(&phone));
        again.pair.resume(Side::A, saved.side(Side::A), again.now);
        assert_eq!(again.say(), []);
        assert_eq!(again.pair.dtls_timeout(), None);
        let mut sealed = again.send(Side::B, Rtp, &rtp(1)).unwrap();
        let len = Inbound::new(&keys.inbound).unprotect_rtp(&mut sealed, again.now).unwrap();
        assert_eq!(sealed[..len], rtp(1));
        again.set(Some(other(role)), Some(&phone));
        assert_eq!(again.say(), [], "a re-INVITE that says the same");
        assert!(kept(&again)[0].is_some());

        // Another device has taken the call: with it there is everything to be agreed on.
        let mut other_phone = Phone::new(role, &again.ours, again.now);
        again.set(Some(other(role)), Some(&other_phone));
        assert_eq!(kept(&again), [None, None]);
        again.shake(&mut other_phone);
        assert!(matches!(other_phone.result, Some(Ok(_))));
        let [new, _] = kept(&again);
        assert!(new.is_some() && new.as_ref() != Some(&keys));
    }
}
