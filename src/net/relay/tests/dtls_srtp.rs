//! DTLS-SRTP over real sockets (DESIGN.md §4, ATTACKS.md).

use super::*;
use crate::media::dtls::{Association, Certificate, Failure, Keys, Output, Role};
use crate::media::srtp::{Inbound, MasterKey, Outbound, Suite, TAILROOM};
use crate::relay::LegCrypto;

/// A phone that does DTLS-SRTP.
struct DtlsPhone {
    socket: UdpSocket,
    address: SocketAddr,
    certificate: Certificate,
    association: Association,
    outcome: Option<Result<Keys, Failure>>,
    sends: Option<Outbound>,
    hears: Option<Inbound>,
}

impl DtlsPhone {
    fn new(role: Role, relay: &UdpRelay) -> DtlsPhone {
        let (socket, address) = phone(loopback());
        let certificate = Certificate::generate().unwrap();
        let mut association = Association::new(&certificate, role, &Suite::ALL, Instant::now());
        association.expect([relay.dtls_fingerprint()]);
        DtlsPhone { socket, address, certificate, association, outcome: None, sends: None, hears: None }
    }

    /// What its SDP says, when it has this role.
    fn rules(&self, role: Role) -> LegRules {
        let ours = if role == Role::Client { Role::Server } else { Role::Client };
        let fingerprints = [self.certificate.fingerprint().clone()].into_iter().collect();
        let crypto = LegCrypto::Dtls { role: Some(ours), fingerprints };
        LegRules { crypto, send_before_latch: true, rtcp_mux: true, ..rules(self.address) }
    }

    /// Shakes hands with the relay until that is so; `lost` says of each packet whether it gets lost.
    fn shake(&mut self, to: SocketAddr, until: impl Fn(&Self) -> bool, mut lost: impl FnMut() -> bool) {
        let deadline = Instant::now() + 3 * PATIENCE;
        while !until(self) {
            assert!(Instant::now() < deadline, "an outcome of the handshake");
            self.shake_once(to, &mut lost);
        }
    }

    /// Says what there is to say, and hears one packet, if one comes soon.
    fn shake_once(&mut self, to: SocketAddr, lost: &mut impl FnMut() -> bool) {
        while let Some(output) = self.association.poll_output() {
            match output {
                Output::Packet(packet) if !lost() => {
                    self.socket.send_to(&packet, to).unwrap();
                }
                Output::Packet(_) => {}
                Output::Keys(keys) => {
                    self.sends = Some(Outbound::new(&keys.outbound));
                    self.hears = Some(Inbound::new(&keys.inbound));
                    self.outcome = Some(Ok(keys));
                }
                Output::Failed(failure) => self.outcome = Some(Err(failure)),
            }
        }
        let mut buffer = [0; 2048];
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        match self.socket.recv_from(&mut buffer) {
            Ok((_, from)) if from != to || lost() => {}
            Ok((n, _)) => self.association.handle_packet(&buffer[..n], Instant::now()),
            Err(_) => self.association.handle_timeout(Instant::now()),
        }
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn sealed(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut sealed = [packet, &[0; TAILROOM]].concat();
        let sends = self.sends.as_mut().expect("keys");
        let len = match packet[1] {
            201 => sends.protect_rtcp(&mut sealed, packet.len()),
            _ => sends.protect_rtp(&mut sealed, packet.len()),
        };
        sealed.truncate(len.unwrap());
        sealed
    }

    fn send(&mut self, packet: &[u8], to: SocketAddr) {
        let sealed = self.sealed(packet);
        self.socket.send_to(&sealed, to).unwrap();
    }

    /// The next packet of media, unsealed; where it is from.
    fn receive(&mut self) -> (Vec<u8>, SocketAddr) {
        loop {
            let (mut packet, from) = receive(&self.socket);
            if packet[0] < 128 {
                // Of the handshake, sent again.
                continue;
            }
            let hears = self.hears.as_mut().expect("keys");
            let len = match packet[1] {
                201 => hears.unprotect_rtcp(&mut packet, Instant::now()),
                _ => hears.unprotect_rtp(&mut packet, Instant::now()),
            };
            packet.truncate(len.expect("sealed for us"));
            return (packet, from);
        }
    }
}

/// Media of one sender.
fn talk(sequence: u16) -> Vec<u8> {
    let mut packet = rtp(7);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[8..12].fill(1);
    packet
}

fn begin(certificate: &str, ports: std::ops::RangeInclusive<u16>) -> Prompt {
    relay_that_shows(Certificate::read(certificate).unwrap(), &[loopback()], ports)
}

/// A DTLS phone on side A, a plain trunk on side B.
struct Call {
    relay: Prompt,
    pair: OpenPair,
    phone: DtlsPhone,
    role: Role,
    trunk: UdpSocket,
    /// Of the packet that was sent last.
    sequence: u16,
    /// What outlasts a restart.
    certificate: String,
    ports: std::ops::RangeInclusive<u16>,
}

impl Call {
    fn new(role: Role, ports: std::ops::RangeInclusive<u16>) -> Call {
        let certificate = Certificate::make().unwrap();
        let mut relay = begin(&certificate, ports.clone());
        let (trunk, _) = phone(loopback());
        let phone = DtlsPhone::new(role, &relay);
        let pair = relay.open(here(loopback()), here(loopback())).unwrap();
        let mut call = Call { relay, pair, phone, role, trunk, sequence: 0, certificate, ports };
        call.set_trunk();
        call
    }

    /// The relay is gone, and the next one opens the pair again.
    fn restart(&mut self) {
        let saved = serde_json::to_string(&self.pair.save()).unwrap();
        let another = relay(23990..=23999);
        drop(std::mem::replace(&mut self.relay, another));
        self.relay = begin(&self.certificate, self.ports.clone());
        let saved = serde_json::from_str(&saved).unwrap();
        let addresses = (self.pair.a, self.pair.b);
        self.pair = self.relay.reopen(loopback(), &saved).unwrap();
        assert_eq!((self.pair.a, self.pair.b), addresses);
        self.set_phone();
        self.set_trunk();
    }

    fn set_trunk(&mut self) {
        let address = self.trunk.local_addr().unwrap();
        let rules = LegRules { send_before_latch: true, ..rules(address) };
        self.relay.set_leg(self.pair.id, Side::B, rules);
    }

    fn set_phone(&mut self) {
        self.relay.set_leg(self.pair.id, Side::A, self.phone.rules(self.role));
    }

    fn shake(&mut self) {
        self.phone.shake(self.pair.a.rtp().0, |phone| phone.outcome.is_some(), || false);
    }

    fn next(&mut self) -> Vec<u8> {
        self.sequence += 1;
        talk(self.sequence)
    }

    fn both_ways(&mut self) {
        for _ in 0..30 {
            let packet = self.next();
            self.phone.send(&packet, self.pair.a.rtp().0);
            assert_eq!(receive(&self.trunk), (packet.clone(), self.pair.b.rtp().0));
            self.trunk.send_to(&packet, self.pair.b.rtp().0).unwrap();
            assert_eq!(self.phone.receive(), (packet, self.pair.a.rtp().0));
        }
    }

    /// We have keys a moment after the phone has: what it sends before that is lost.
    fn wait_for_keys(&mut self) {
        let heard = |counters: &SideCounters| counters.packets.load(Ordering::Relaxed);
        let before = heard(&self.pair.counters.a);
        self.trunk.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        wait_until("the first packet goes through", || {
            let packet = self.next();
            self.phone.send(&packet, self.pair.a.rtp().0);
            // The relay may not have heard the end of the handshake.
            self.phone.shake_once(self.pair.a.rtp().0, &mut || false);
            self.trunk.recv(&mut [0; 2048]).is_ok()
        });
        // Those that came late.
        while self.trunk.recv(&mut [0; 2048]).is_ok() {}
        self.trunk.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(heard(&self.pair.counters.a) > before);
    }

    fn expect_media(&mut self) {
        self.wait_for_keys();
        self.both_ways();
    }
}

#[test]
fn a_phone_that_begins_and_a_plain_trunk_hear_each_other() {
    let mut call = Call::new(Role::Client, 23310..=23319);
    call.set_phone();
    call.shake();
    call.expect_media();
}

#[test]
fn a_phone_that_waits_and_a_plain_trunk_hear_each_other() {
    let mut call = Call::new(Role::Server, 23320..=23329);
    call.set_phone();
    call.shake();
    call.expect_media();
}

/// Nobody shakes hands again, whoever began; and who wants to can.
#[test]
fn a_phone_does_not_notice_a_restart() {
    for (role, ports) in [(Role::Client, 23440..=23449), (Role::Server, 23450..=23459)] {
        let mut call = Call::new(role, ports);
        call.set_phone();
        call.shake();
        call.expect_media();
        let has_keys = |call: &Call| call.pair.save().side(Side::A).keys[0].is_some();
        wait_until("the keys are told", || has_keys(&call));
        for _ in 0..2 {
            call.restart();
            call.both_ways();
            assert!(has_keys(&call));
        }
        assert_eq!(call.pair.counters.a.refused_authentication.load(Ordering::Relaxed), 0);
        if role == Role::Client {
            let fingerprint = call.relay.dtls_fingerprint();
            let phone = &mut call.phone;
            phone.association = Association::new(&phone.certificate, role, &Suite::ALL, Instant::now());
            phone.association.expect([fingerprint]);
            phone.outcome = None;
            call.shake();
            call.expect_media();
        }
    }
}

/// Each end repeats itself when it hears nothing.
#[test]
fn a_handshake_survives_the_loss_of_packets() {
    for role in [Role::Client, Role::Server] {
        let mut call = Call::new(role, 23330..=23339);
        call.set_phone();
        let mut count = 0;
        let lost = || {
            count += 1;
            count % 3 == 1
        };
        call.phone.shake(call.pair.a.rtp().0, |phone| phone.outcome.is_some(), lost);
        call.expect_media();
    }
}

#[test]
fn another_certificate_than_the_sdp_names_never_gets_media() {
    for role in [Role::Client, Role::Server] {
        let mut call = Call::new(role, 23340..=23349);
        let named = DtlsPhone::new(role, &call.relay);
        let rules = LegRules { rtp: Some(call.phone.address), ..named.rules(role) };
        call.relay.set_leg(call.pair.id, Side::A, rules);
        let counters = call.pair.counters.clone();
        let failed = || counters.a.read().dtls_failed == 1;
        call.phone.shake(call.pair.a.rtp().0, |_| failed(), || false);
        wait_until("it is counted", failed);
        for sequence in 1..20 {
            call.phone.socket.send_to(&talk(sequence), call.pair.a.rtp().0).unwrap();
            call.trunk.send_to(&talk(sequence), call.pair.b.rtp().0).unwrap();
        }
        let (a, b) = (&call.pair.counters.a, &call.pair.counters.b);
        wait_until("all are refused", || {
            (a.read().refused_authentication, b.read().undeliverable) == (19, 19)
        });
        assert_eq!((a.read().packets, b.read().packets), (0, 0));
        let totals: u64 = call.relay.worker_counters().iter().map(|worker| worker.read().dtls_failed).sum();
        assert_eq!(totals, 1);
    }
}

/// CVE-2021-41105.
#[test]
fn a_hundred_bad_packets_are_counted_and_the_call_lives() {
    let mut call = Call::new(Role::Client, 23350..=23359);
    call.set_phone();
    call.shake();
    call.expect_media();
    let [good, replay] = [(); 2].map(|()| call.next());
    let (good, sealed) = (call.phone.sealed(&good), call.phone.sealed(&replay));
    call.phone.socket.send_to(&sealed, call.pair.a.rtp().0).unwrap();
    assert_eq!(receive(&call.trunk).0, replay);
    let before = call.pair.counters.a.read();
    for n in 0..100 {
        let mut bad = good.clone();
        bad[n + 12] ^= 1;
        call.phone.socket.send_to(if n % 2 == 0 { &bad } else { &bad[..172] }, call.pair.a.rtp().0).unwrap();
    }
    call.phone.socket.send_to(&sealed, call.pair.a.rtp().0).unwrap();
    wait_until("bad packets are counted", || {
        let now = call.pair.counters.a.read();
        now.refused_authentication == before.refused_authentication + 100
            && now.refused_replay == before.refused_replay + 1
    });
    call.both_ways();
}

#[test]
fn a_browser_is_heard_after_its_check_and_its_handshake_and_nobody_else_is() {
    for role in [Role::Client, Role::Server] {
        let mut call = Call::new(role, 23360..=23369);
        let ours = crate::ice::Credentials::generate(&mut rand::rngs::StdRng::seed_from_u64(1));
        let ice =
            crate::ice::Settings { local: ours.clone(), remote_ufrag: Some("them".into()), terminated: true };
        let rules = LegRules { ice: Some(ice), stun_and_dtls: true, ..call.phone.rules(role) };
        call.relay.set_leg(call.pair.id, Side::A, rules);
        let mut stranger = DtlsPhone::new(Role::Client, &call.relay);
        while let Some(Output::Packet(hello)) = stranger.association.poll_output() {
            stranger.socket.send_to(&hello, call.pair.a.rtp().0).unwrap();
        }
        let refused = &call.pair.counters.a.refused_source;
        wait_until("the stranger is counted", || refused.load(Ordering::Relaxed) > 0);
        call.phone.socket.send_to(&check("them", &ours), call.pair.a.rtp().0).unwrap();
        call.shake();
        call.expect_media();
    }
}

/// RFC 5763 §6.2.
#[test]
fn the_fingerprint_may_come_after_the_handshake() {
    let mut call = Call::new(Role::Client, 23370..=23379);
    let crypto = LegCrypto::Dtls { role: None, fingerprints: Default::default() };
    let rules = LegRules { crypto, ..call.phone.rules(Role::Client) };
    call.relay.set_leg(call.pair.id, Side::A, rules);
    call.shake();
    let packet = call.next();
    call.phone.send(&packet, call.pair.a.rtp().0);
    let refused = &call.pair.counters.a.refused_authentication;
    wait_until("it does not count yet", || refused.load(Ordering::Relaxed) == 1);
    call.set_phone();
    call.expect_media();
}

#[test]
fn an_offer_that_changes_nothing_keeps_the_keys_and_a_new_fingerprint_brings_new_ones() {
    let mut call = Call::new(Role::Client, 23380..=23389);
    call.set_phone();
    call.shake();
    call.expect_media();
    call.set_phone();
    call.both_ways();

    let next = DtlsPhone::new(Role::Client, &call.relay);
    let old = std::mem::replace(&mut call.phone, next);
    call.phone.socket = old.socket;
    call.phone.address = old.address;
    call.set_phone();
    call.shake();
    call.expect_media();
    assert_ne!(old.outcome, call.phone.outcome);
}

/// One port for both on the one side, two on the other.
#[test]
fn reports_find_their_port_where_one_side_has_rtcp_mux_and_the_other_has_not() {
    let mut call = Call::new(Role::Client, 23390..=23399);
    let (trunk_rtcp, trunk_rtcp_addr) = phone(loopback());
    let trunk_rules = LegRules {
        send_before_latch: true,
        rtcp: Some(trunk_rtcp_addr),
        ..rules(call.trunk.local_addr().unwrap())
    };
    call.relay.set_leg(call.pair.id, Side::B, trunk_rules);
    call.set_phone();
    call.shake();
    call.expect_media();
    let report = [0x80, 201, 0, 1, 1, 1, 1, 1];
    call.phone.send(&report, call.pair.a.rtp().0);
    assert_eq!(receive(&trunk_rtcp), (report.to_vec(), call.pair.b.rtcp().0));
    trunk_rtcp.send_to(&report, call.pair.b.rtcp().0).unwrap();
    assert_eq!(call.phone.receive(), (report.to_vec(), call.pair.a.rtp().0));
}

#[test]
fn dtls_on_one_side_and_sdes_on_the_other() {
    let mut call = Call::new(Role::Server, 23400..=23409);
    let [theirs, ours] = [1, 2].map(|seed| MasterKey::new(Suite::AesCm128HmacSha1_80, &[seed; 30]).unwrap());
    let crypto = LegCrypto::Sdes { inbound: Some(theirs.clone()), outbound: Some(ours.clone()) };
    let far = rules(call.trunk.local_addr().unwrap());
    call.relay.set_leg(call.pair.id, Side::B, LegRules { crypto, send_before_latch: true, ..far });
    call.set_phone();
    call.shake();
    call.wait_for_keys();
    let (mut sends, mut hears) = (Outbound::new(&theirs), Inbound::new(&ours));
    for _ in 0..30 {
        let plain = call.next();
        call.phone.send(&plain, call.pair.a.rtp().0);
        let (mut packet, _) = receive(&call.trunk);
        assert_eq!(packet.len(), 182);
        let len = hears.unprotect_rtp(&mut packet, Instant::now()).unwrap();
        assert_eq!(packet[..len], plain);

        let mut packet = [&plain[..], &[0; TAILROOM]].concat();
        let len = sends.protect_rtp(&mut packet, 172).unwrap();
        call.trunk.send_to(&packet[..len], call.pair.b.rtp().0).unwrap();
        assert_eq!(call.phone.receive().0, plain);
    }
}

/// Two calls whose inner legs are each other's relayed addresses: the packets of that handshake stay in the process.
#[test]
fn two_legs_of_ours_shake_hands_with_each_other() {
    let mut relay = relay(23410..=23419);
    let ((alice, alice_addr), (bob, bob_addr)) = (phone(loopback()), phone(loopback()));
    let [first, second] = [(); 2].map(|()| relay.open(here(loopback()), here(loopback())).unwrap());
    let ours = relay.dtls_fingerprint();
    let inner = |rtp: SocketAddr, role| {
        let fingerprints = [ours.clone()].into_iter().collect();
        let crypto = LegCrypto::Dtls { role: Some(role), fingerprints };
        LegRules { crypto, send_before_latch: true, rtcp_mux: true, ..rules(rtp) }
    };
    relay.set_leg(first.id, Side::A, LegRules { send_before_latch: true, ..rules(alice_addr) });
    relay.set_leg(second.id, Side::B, LegRules { send_before_latch: true, ..rules(bob_addr) });
    relay.set_leg(second.id, Side::A, inner(first.b.rtp().0, Role::Server));
    relay.set_leg(first.id, Side::B, inner(second.a.rtp().0, Role::Client));
    bob.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut sequence = 0;
    let mut heard = Vec::new();
    wait_until("alice is heard", || {
        sequence += 1;
        alice.send_to(&talk(sequence), first.a.rtp().0).unwrap();
        let mut buffer = [0; 2048];
        heard = bob.recv(&mut buffer).map_or(Vec::new(), |len| buffer[..len].to_vec());
        !heard.is_empty()
    });
    assert_eq!(heard[12..], talk(0)[12..]);
    bob.send_to(&talk(9), second.b.rtp().0).unwrap();
    assert_eq!(receive(&alice), (talk(9), first.a.rtp().0));
}
