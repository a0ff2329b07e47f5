//! Real sockets on loopback. Nothing sleeps: each wait ends with what is waited for, or fails after five seconds.

mod dtls_srtp;
mod restart;

use super::*;
use rand::SeedableRng;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(5);

fn here(ip: IpAddr) -> RelayAddress {
    RelayAddress { bind: ip, advertise: ip }
}

/// An address of this process's own in 127.0.0.0/8: the ports of other test runs are not in the way.
fn loopback() -> IpAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high, middle, low).into()
}

/// A relay that does at once what it is asked.
struct Prompt(UdpRelay);

impl Prompt {
    fn open(&mut self, a: RelayAddress, b: RelayAddress) -> Result<OpenPair, OpenError> {
        let opened = self.0.open(a, b);
        self.0.flush();
        opened
    }

    fn reopen(&mut self, ip: IpAddr, saved: &SavedPair) -> Result<OpenPair, OpenError> {
        let opened = self.0.reopen(here(ip), here(ip), saved);
        self.0.flush();
        opened
    }

    fn set_leg(&mut self, pair: PairId, side: Side, rules: LegRules) {
        self.0.set_leg(pair, side, rules);
        self.0.flush();
    }

    fn close(&mut self, pair: PairId) {
        self.0.close(pair);
        self.0.flush();
    }
}

impl std::ops::Deref for Prompt {
    type Target = UdpRelay;

    fn deref(&self) -> &UdpRelay {
        &self.0
    }
}

impl std::ops::DerefMut for Prompt {
    fn deref_mut(&mut self) -> &mut UdpRelay {
        &mut self.0
    }
}

fn relay(ports: std::ops::RangeInclusive<u16>) -> Prompt {
    relay_on(&[loopback()], ports)
}

/// Each test has ports of its own: they run at the same time.
fn relay_on(binds: &[IpAddr], ports: std::ops::RangeInclusive<u16>) -> Prompt {
    relay_that_shows(Certificate::generate().unwrap(), binds, ports)
}

fn relay_that_shows(
    certificate: Certificate,
    binds: &[IpAddr],
    ports: std::ops::RangeInclusive<u16>,
) -> Prompt {
    let (settings, addresses) = (Settings { ports, workers: 2 }, binds.iter().copied().map(here));
    Prompt(UdpRelay::start(settings, addresses, certificate, None).unwrap())
}

fn phone(ip: IpAddr) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

fn rules(rtp: SocketAddr) -> LegRules {
    LegRules { rtp: Some(rtp), payload_types: vec![0], rtp_only: true, ..LegRules::default() }
}

fn rtp(sequence: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, sequence];
    packet.resize(172, sequence);
    packet
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer).expect("a packet within five seconds");
    (buffer[..len].to_vec(), from)
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn both_ways(ip: IpAddr, ports: std::ops::RangeInclusive<u16>) {
    let mut relay = relay_on(&[ip], ports);
    let ((alice, alice_addr), (bob, bob_addr)) = (phone(ip), phone(ip));
    let address = here(ip);
    let pair = relay.open(address, address).unwrap();
    assert_eq!(relay.owner_of(pair.a.rtp().0), Some(Owner::Pair));
    assert_eq!(relay.owner_of(pair.b.rtcp().0), Some(Owner::Pair));
    assert_eq!(pair.a.rtp().0.port() % 2, 0);
    assert_eq!(pair.a.rtcp().0.port(), pair.a.rtp().0.port() + 1);
    relay.set_leg(pair.id, Side::A, LegRules { send_before_latch: true, ..rules(alice_addr) });
    relay.set_leg(pair.id, Side::B, rules(bob_addr));

    bob.send_to(&rtp(1), pair.b.rtp().0).unwrap();
    assert_eq!(receive(&alice), (rtp(1), pair.a.rtp().0));
    for sequence in 2..60 {
        alice.send_to(&rtp(sequence), pair.a.rtp().0).unwrap();
    }
    for sequence in 2..60 {
        assert_eq!(receive(&bob), (rtp(sequence), pair.b.rtp().0));
    }

    let (stranger, stranger_addr) = phone(ip);
    stranger.send_to(&rtp(99), pair.a.rtp().0).unwrap();
    let refused = &pair.counters.a.refused_source;
    wait_until("the stranger is counted", || refused.load(Ordering::Relaxed) == 1);
    alice.send_to(&rtp(61), pair.a.rtp().0).unwrap();
    assert_eq!(receive(&bob).0, rtp(61), "nothing of the stranger's came before");

    let count = |counters: &SideCounters| {
        (counters.packets.load(Ordering::Relaxed), counters.bytes.load(Ordering::Relaxed))
    };
    wait_until("packets are counted", || count(&pair.counters.a) == (59, 59 * 172));
    assert_eq!(count(&pair.counters.b), (1, 172));
    let totals = relay.worker_counters();
    assert_eq!(totals.iter().map(|worker| count(worker).0).sum::<u64>(), 60);
    let (a, b) = (pair.counters.leg(Side::A), pair.counters.leg(Side::B));
    assert_eq!((a.quality.read().rtp, b.quality.read().rtp), (59, 1));
    assert_eq!((a.stranger.get(), b.stranger.get()), (Some(stranger_addr), None));
}

#[test]
fn media_goes_both_ways_over_ipv4_and_a_stranger_is_refused() {
    both_ways(loopback(), 21000..=21099);
}

#[test]
fn media_goes_both_ways_over_ipv6_and_a_stranger_is_refused() {
    both_ways("::1".parse().unwrap(), 21000..=21099);
}

/// A check from `from` to `to` (RFC 8445 §7.2.2).
fn check(from: &str, to: &crate::ice::Credentials) -> Vec<u8> {
    numbered_check(7, from, to)
}

fn numbered_check(number: u8, from: &str, to: &crate::ice::Credentials) -> Vec<u8> {
    use crate::stun::{Class, Hash, Key, Method, TransactionId, Type, Writer};
    let mut bytes = Vec::new();
    Writer::begin(&mut bytes, Class::Request, Method::BINDING, TransactionId([number; 12]))
        .put(Type::USERNAME, format!("{}:{from}", to.ufrag).as_bytes())
        .put(Type::USE_CANDIDATE, &[])
        .add_integrity(&Key::short_term(to.pwd.reveal()), Hash::Sha1)
        .add_fingerprint();
    bytes
}

#[test]
fn an_ice_endpoint_is_answered_and_heard_and_nobody_else() {
    let mut relay = relay(21400..=21499);
    let (browser, _) = phone(loopback());
    let ((stranger, _), (pbx, pbx_addr)) = (phone(loopback()), phone(loopback()));
    let pair = relay.open(here(loopback()), here(loopback())).unwrap();
    let ours = crate::ice::Credentials::generate(&mut rand::rngs::StdRng::seed_from_u64(1));
    let ice =
        crate::ice::Settings { local: ours.clone(), remote_ufrag: Some("them".into()), terminated: true };
    let open_to_all = LegRules { rtp: None, sip_source: Some(loopback()), ..rules(pbx_addr) };
    relay.set_leg(pair.id, Side::A, LegRules { ice: Some(ice), stun_and_dtls: true, ..open_to_all });
    relay.set_leg(pair.id, Side::B, LegRules { send_before_latch: true, ..rules(pbx_addr) });

    stranger.send_to(&rtp(1), pair.a.rtp().0).unwrap();
    stranger
        .send_to(
            &check("them", &crate::ice::Credentials::read(b"them", &[b'x'; 22]).unwrap()),
            pair.a.rtp().0,
        )
        .unwrap();
    browser.send_to(&check("them", &ours), pair.a.rtp().0).unwrap();
    let (answer, from) = receive(&browser);
    let answer = crate::stun::Message::parse(&answer).unwrap();
    assert_eq!(from, pair.a.rtp().0);
    assert_eq!(answer.xor_mapped_address().unwrap(), Some(browser.local_addr().unwrap()));
    pbx.send_to(&rtp(2), pair.b.rtp().0).unwrap();
    assert_eq!(receive(&browser), (rtp(2), pair.a.rtp().0));
    stranger.send_to(&rtp(3), pair.a.rtp().0).unwrap();
    browser.send_to(&rtp(4), pair.a.rtp().0).unwrap();
    assert_eq!(receive(&pbx), (rtp(4), pair.b.rtp().0), "nothing of the stranger's came before");
    wait_until("the stranger is counted", || pair.counters.a.refused_source.load(Ordering::Relaxed) == 3);
    assert_eq!(pair.counters.b.packets.load(Ordering::Relaxed), 1, "our answer is not the PBX's packet");
}

/// DESIGN.md §4, "How a check travels": a phone behind a NAT is found when its own check comes, and hears at once what the other
/// side has asked meanwhile. The newest check alone was kept, and media was not.
#[test]
fn a_check_waits_until_the_other_leg_has_latched() {
    let mut relay = relay(21500..=21599);
    let ((alice, _), (bob, _)) = (phone(loopback()), phone(loopback()));
    let pair = relay.open(here(loopback()), here(loopback())).unwrap();
    let named =
        |name: &str| crate::ice::Credentials::read(name.as_bytes(), name.repeat(6).as_bytes()).unwrap();
    let leg = |me: &str, peer| LegRules {
        ice: Some(crate::ice::Settings {
            local: named(peer),
            remote_ufrag: Some(me.into()),
            terminated: false,
        }),
        stun_and_dtls: true,
        send_before_latch: false,
        ..rules("192.0.2.1:9".parse().unwrap())
    };
    relay.set_leg(pair.id, Side::A, leg("alfa", "bravo"));
    relay.set_leg(pair.id, Side::B, leg("bravo", "alfa"));

    let newest = numbered_check(2, "alfa", &named("bravo"));
    alice.send_to(&numbered_check(1, "alfa", &named("bravo")), pair.a.rtp().0).unwrap();
    alice.send_to(&newest, pair.a.rtp().0).unwrap();
    alice.send_to(&rtp(1), pair.a.rtp().0).unwrap();
    let lost = &pair.counters.a.undeliverable;
    wait_until("media found nobody", || lost.load(Ordering::Relaxed) == 1);
    let asked = numbered_check(3, "bravo", &named("alfa"));
    bob.send_to(&asked, pair.b.rtp().0).unwrap();
    assert_eq!(receive(&bob), (newest, pair.b.rtp().0));
    assert_eq!(receive(&alice), (asked, pair.a.rtp().0));
    bob.send_to(&rtp(2), pair.b.rtp().0).unwrap();
    assert_eq!(receive(&alice), (rtp(2), pair.a.rtp().0));
    alice.send_to(&rtp(3), pair.a.rtp().0).unwrap();
    assert_eq!(receive(&bob), (rtp(3), pair.b.rtp().0), "nothing came twice");
    let relayed = &pair.counters.a.packets;
    wait_until("the check is counted as what it is", || relayed.load(Ordering::Relaxed) == 2);
    assert_eq!(lost.load(Ordering::Relaxed), 1);
}

/// DESIGN.md §4: "no second component when mux is agreed; extras freed after the answer".
#[test]
fn with_rtcp_mux_there_is_no_second_component_until_it_is_wanted_again() {
    let ip = loopback();
    let mut relay = relay(30_900..=30_907);
    let ((alice, alice_addr), (bob, bob_addr)) = (phone(ip), phone(ip));
    let pair = relay.open(here(ip), here(ip)).unwrap();
    let to_bob = LegRules { send_before_latch: true, rtcp: Some(bob_addr), ..rules(bob_addr) };
    relay.set_leg(pair.id, Side::B, to_bob);
    let of_alice = |rtcp_mux| LegRules { rtcp_mux, rtcp: Some(alice_addr), ..rules(alice_addr) };
    let bound = || UdpSocket::bind(pair.a.rtcp().0).is_err();
    relay.set_leg(pair.id, Side::A, of_alice(true));
    wait_until("the socket for RTCP is closed", || !bound());
    let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    alice.send_to(&report, pair.a.rtp().0).unwrap();
    assert_eq!(receive(&bob), (report.to_vec(), pair.b.rtcp().0), "towards who does not mux");
    assert_eq!(relay.usage().ports_taken, 4, "nobody else gets the port");

    relay.set_leg(pair.id, Side::A, of_alice(false));
    bob.set_nonblocking(true).unwrap();
    let mut heard = [0; 16];
    wait_until("it is heard there again", || {
        alice.send_to(&report, pair.a.rtcp().0).unwrap();
        bob.recv(&mut heard).is_ok()
    });
    relay.close(pair.id);
    wait_until("nothing is left", || relay.usage().ports_taken == 0 && !bound());
}

#[test]
fn ports_are_free_again_after_close_and_full_is_an_error() {
    let mut relay = relay(21100..=21107);
    let open = |relay: &mut Prompt| relay.open(here(loopback()), here(loopback()));
    let (first, second) = (open(&mut relay).unwrap(), open(&mut relay).unwrap());
    assert_eq!(open(&mut relay).unwrap_err(), OpenError::PortsExhausted);
    assert_eq!(relay.usage(), RelayUsage { pairs: 2, ports_taken: 8, ports_total: 8 });
    assert!(UdpSocket::bind(first.a.rtp().0).is_err());

    relay.close(first.id);
    relay.close(first.id);
    assert_eq!(relay.owner_of(first.a.rtp().0), None);
    assert_eq!(relay.owner_of(second.a.rtp().0), Some(Owner::Pair));
    assert_eq!(relay.usage().ports_taken, 4);
    wait_until("the worker has closed it", || open(&mut relay).is_ok());
    assert_eq!(relay.usage().pairs, 2);
    relay.set_leg(first.id, Side::A, rules(first.a.rtp().0));

    drop(relay);
    for addr in [first.a.rtp().0, first.b.rtcp().0, second.a.rtcp().0] {
        UdpSocket::bind(addr).unwrap();
    }
}

/// ATTACKS.md, RTP bleed and inject: not even the same phone's packets of its last call get into the next one on the same ports.
#[test]
fn a_port_that_rested_brings_nothing_of_its_last_call_into_the_next() {
    let mut relay = relay(21120..=21127);
    relay.pools.let_rest(2);
    let ((alice, alice_addr), (bob, bob_addr)) = (phone(loopback()), phone(loopback()));
    let call = |relay: &mut Prompt| {
        let pair = relay.open(here(loopback()), here(loopback())).unwrap();
        relay.set_leg(pair.id, Side::A, LegRules { send_before_latch: true, ..rules(alice_addr) });
        relay.set_leg(pair.id, Side::B, LegRules { send_before_latch: true, ..rules(bob_addr) });
        pair
    };
    let ports_of = |pair: &OpenPair| {
        let mut ports = [pair.a.rtp().0, pair.b.rtp().0];
        ports.sort_unstable();
        ports
    };
    let old = call(&mut relay);
    alice.send_to(&rtp(1), old.a.rtp().0).unwrap();
    assert_eq!(receive(&bob), (rtp(1), old.b.rtp().0));
    let goes_on = || {
        for sequence in 2..60 {
            alice.send_to(&rtp(sequence), old.a.rtp().0).unwrap();
            alice.send_to(&rtp(sequence), old.b.rtp().0).unwrap();
        }
    };
    relay.close(old.id);
    goes_on();
    wait_until("its sockets rest", || relay.pools.at_rest() == 2);
    assert_eq!(relay.usage(), RelayUsage { pairs: 0, ports_taken: 0, ports_total: 8 });
    assert_eq!(relay.owner_of(old.a.rtp().0), None);
    goes_on();
    // What was relayed before the worker closed it.
    bob.set_nonblocking(true).unwrap();
    while bob.recv(&mut [0; 200]).is_ok() {}
    bob.set_nonblocking(false).unwrap();

    let new = call(&mut relay);
    assert_eq!(ports_of(&new), ports_of(&old));
    assert_eq!((relay.pools.at_rest(), relay.usage().ports_taken), (0, 4));
    alice.send_to(&rtp(200), new.a.rtp().0).unwrap();
    assert_eq!(receive(&bob), (rtp(200), new.b.rtp().0));
    bob.send_to(&rtp(201), new.b.rtp().0).unwrap();
    assert_eq!(receive(&alice), (rtp(201), new.a.rtp().0));
    for counters in [&new.counters.a, &new.counters.b] {
        wait_until("both are counted", || counters.read().packets == 1);
        assert_eq!(counters.read().refused(), 0);
    }
}

#[test]
fn few_sockets_rest_and_their_ports_are_there_for_whoever_needs_them() {
    let mut relay = relay(21130..=21149);
    relay.pools.let_rest(2);
    let all: Vec<_> = (0..5).map(|_| relay.open(here(loopback()), here(loopback())).unwrap()).collect();
    all.iter().for_each(|pair| relay.close(pair.id));
    assert_eq!(relay.usage(), RelayUsage { pairs: 0, ports_taken: 0, ports_total: 20 });
    let is_bound = |port: &u16| UdpSocket::bind((loopback(), *port)).is_err();
    // Two pairs of sockets on each of two workers.
    wait_until("the others are closed", || (21130..=21149).filter(is_bound).count() == 8);
    assert_eq!((relay.pools.at_rest(), relay.usage().ports_taken), (4, 0));

    let _allocations: Vec<_> = (0..20).map(|_| relay.pools.bind_one(loopback(), false).unwrap()).collect();
    assert_eq!((relay.pools.at_rest(), relay.usage().ports_taken), (0, 20));
    assert_eq!(relay.open(here(loopback()), here(loopback())).unwrap_err(), OpenError::PortsExhausted);
}

/// A TURN client may want them, and nobody may call for hours.
#[test]
fn ports_of_a_closed_pair_are_given_back_though_no_other_is_opened() {
    let mut relay = relay(21110..=21113);
    let pair = relay.open(here(loopback()), here(loopback())).unwrap();
    assert!(relay.pools.bind_one(loopback(), false).is_err());
    relay.close(pair.id);
    assert_eq!(relay.usage().ports_taken, 0);
    wait_until("the worker has given them back", || relay.pools.bind_one(loopback(), false).is_ok());
}

#[test]
fn a_port_that_another_process_has_is_passed_over() {
    let _theirs: Vec<_> =
        [21200, 21203, 21204].map(|port| UdpSocket::bind((loopback(), port)).unwrap()).into();
    let mut relay = relay(21200..=21209);
    let pair = relay.open(here(loopback()), here(loopback())).unwrap();
    let mut ports = [pair.a.rtp().0.port(), pair.b.rtp().0.port()];
    ports.sort_unstable();
    assert_eq!(ports, [21206, 21208]);
    assert_eq!(relay.open(here(loopback()), here(loopback())).unwrap_err(), OpenError::CannotBind);
}

#[test]
fn an_address_that_is_not_ours_cannot_be_bound_and_costs_no_port() {
    let foreign = here("192.0.2.1".parse().unwrap());
    let mut relay = relay_on(&[loopback(), foreign.bind], 21300..=21303);
    assert_eq!(relay.usage(), RelayUsage { pairs: 0, ports_taken: 0, ports_total: 8 });
    for _ in 0..5 {
        assert_eq!(relay.open(here(loopback()), foreign).unwrap_err(), OpenError::CannotBind);
    }
    relay.open(here(loopback()), here(loopback())).unwrap();
}

/// ICMP "port unreachable" for what is sent to a phone that has gone.
#[test]
fn a_phone_that_is_gone_does_not_stop_the_worker() {
    let mut relay = relay(21500..=21599);
    let ((alice, alice_addr), (bob, bob_addr)) = (phone(loopback()), phone(loopback()));
    let pair = relay.open(here(loopback()), here(loopback())).unwrap();
    relay.set_leg(pair.id, Side::A, rules(alice_addr));
    relay.set_leg(pair.id, Side::B, LegRules { send_before_latch: true, ..rules(bob_addr) });
    drop(bob);
    for sequence in 0..20 {
        alice.send_to(&rtp(sequence), pair.a.rtp().0).unwrap();
    }
    let packets = &pair.counters.a.packets;
    wait_until("all are relayed", || packets.load(Ordering::Relaxed) == 20);
    let bob = UdpSocket::bind(bob_addr).unwrap();
    bob.send_to(&rtp(1), pair.b.rtp().0).unwrap();
    alice.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(receive(&alice).0, rtp(1));
}

/// DESIGN.md §4: SDES on one leg, plain RTP on the other.
#[test]
fn an_srtp_phone_and_a_plain_trunk_hear_each_other_and_bad_packets_change_nothing() {
    use crate::media::srtp::{Inbound, MasterKey, Outbound, Suite, TAILROOM};
    use crate::relay::LegCrypto;

    let mut relay = relay(23300..=23309);
    let ((phone, phone_addr), (trunk, trunk_addr)) = (phone(loopback()), phone(loopback()));
    let address = here(loopback());
    let pair = relay.open(address, address).unwrap();
    let [theirs, ours] = [1, 2].map(|seed| MasterKey::new(Suite::AesCm128HmacSha1_80, &[seed; 30]).unwrap());
    let crypto = LegCrypto::Sdes { inbound: Some(theirs.clone()), outbound: Some(ours.clone()) };
    relay.set_leg(pair.id, Side::A, LegRules { crypto, ..rules(phone_addr) });
    relay.set_leg(pair.id, Side::B, LegRules { send_before_latch: true, ..rules(trunk_addr) });
    let (mut sends, mut hears) = (Outbound::new(&theirs), Inbound::new(&ours));
    // One sender.
    let plain = |sequence| {
        let mut packet = rtp(sequence);
        packet[8..12].fill(1);
        packet
    };
    let mut protected = |sequence| {
        let mut packet = plain(sequence);
        packet.resize(172 + TAILROOM, 0);
        let len = sends.protect_rtp(&mut packet, 172).unwrap();
        packet.truncate(len);
        packet
    };

    let good = protected(1);
    for n in 0..100 {
        let mut bad = good.clone();
        bad[n + 12] ^= 1;
        phone.send_to(if n % 2 == 0 { &bad } else { &bad[..172] }, pair.a.rtp().0).unwrap();
    }
    wait_until("bad packets are counted", || {
        let counted = pair.counters.a.read();
        counted.refused_authentication == 100 && counted.refused() == 100
    });
    for sequence in 1..60 {
        let packet = if sequence == 1 { good.clone() } else { protected(sequence) };
        phone.send_to(&packet, pair.a.rtp().0).unwrap();
        assert_eq!(receive(&trunk), (plain(sequence), pair.b.rtp().0), "nothing bad came before");
        trunk.send_to(&plain(sequence), pair.b.rtp().0).unwrap();
        let (mut packet, from) = receive(&phone);
        assert_eq!((packet.len(), from), (182, pair.a.rtp().0));
        let len = hears.unprotect_rtp(&mut packet, Instant::now()).unwrap();
        assert_eq!(packet[..len], plain(sequence));
    }
}
