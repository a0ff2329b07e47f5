//! Offers and answers (RFC 3264): what DESIGN.md §4 says becomes of them. Its first table stands in `legs`, its second in
//! `situations`, each row a test; what lies behind a row in the files beside. `scene` plays a call through the whole edge,
//! the rest is through a call's media alone.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

mod bundle;
mod diff;
mod early_media;
mod fake_relay;
mod families;
mod hostile;
mod ice;
mod legs;
mod lines;
mod never_leaks;
mod own_relayed;
#[path = "../edge/play.rs"]
#[allow(dead_code)]
mod play;
mod properties;
mod re_invite;
mod restart;
mod samples;
mod scene;
mod sealed;
mod session_timers;
mod shown;
mod situations;
mod srtp;
mod travels;
#[path = "../edge/ua.rs"]
#[allow(dead_code)]
mod ua;
mod vendors;
#[path = "../edge/world.rs"]
#[allow(dead_code)]
mod world;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use fake_relay::FakeRelay;
use turnpike::edge::anchor::{AnchorError, CallMedia, Scope, SideSettings, Sides};
use turnpike::edge::settings::{Ice, Srtp};
use turnpike::relay::{RelayAddress, Side};

/// What phone A is shown.
const RA: &str = "203.0.113.10";
/// What the PBX is shown.
const RB: &str = "10.20.0.5";
/// Where phone A's SIP comes from.
const PHONE: &str = "198.51.100.23";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn side(relay: &str) -> SideSettings {
    SideSettings {
        relay: RelayAddress { bind: ip("0.0.0.0"), advertise: ip(relay) }.into(),
        sip_source: None,
        untrusted: false,
        own: [].into(),
        ice: Ice::Auto,
        ice_on_request: false,
        shows: Scope::Link,
        hides_origin: false,
        srtp: Srtp::Pass,
        allowed: [].into(),
    }
}

fn phone_and_pbx() -> Sides {
    Sides { a: SideSettings { sip_source: Some(ip(PHONE)), untrusted: true, ..side(RA) }, b: side(RB) }
}

/// A call and the relay that it uses.
struct Call {
    media: CallMedia,
    relay: FakeRelay,
    rng: rand::rngs::StdRng,
}

impl Call {
    fn new(sides: Sides) -> Call {
        Call::on(sides, FakeRelay::default())
    }

    fn on(sides: Sides, relay: FakeRelay) -> Call {
        Call { media: CallMedia::new(sides), relay, rng: rand::SeedableRng::seed_from_u64(4) }
    }

    fn phone_to_pbx() -> Call {
        Call::new(phone_and_pbx())
    }

    fn try_offer(&mut self, from: Side, sdp: &str) -> Result<String, AnchorError> {
        let mut out = Vec::new();
        self.media.offer(from, sdp.as_bytes(), &mut self.relay, &mut self.rng, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn offer(&mut self, from: Side, sdp: &str) -> String {
        self.try_offer(from, sdp).unwrap()
    }

    fn try_answer(
        &mut self,
        from: Side,
        tag: &str,
        is_final: bool,
        sdp: &str,
    ) -> Result<String, AnchorError> {
        let mut out = Vec::new();
        self.media.answer(from, tag.as_bytes(), is_final, sdp.as_bytes(), &mut self.relay, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn early(&mut self, tag: &str, sdp: &str) -> String {
        self.try_answer(Side::B, tag, false, sdp).unwrap()
    }

    fn answer(&mut self, from: Side, sdp: &str) -> String {
        self.try_answer(from, "t", true, sdp).unwrap()
    }

    /// A phone's call to the PBX that was answered: pair 0 is open.
    fn established() -> Call {
        let mut call = Call::phone_to_pbx();
        call.offer(Side::A, &audio(PHONE, 4000));
        call.answer(Side::B, &audio("10.20.0.20", 5000));
        call
    }

    fn roll_back(&mut self) {
        self.media.roll_back(&mut self.relay);
    }

    fn close(&mut self) {
        self.media.close(&mut self.relay);
    }
}

fn session(host: &str, sections: &str) -> String {
    let family = if host.contains(':') { 6 } else { 4 };
    let c = format!("IN IP{family} {host}");
    format!("v=0\r\no=- 1 1 {c}\r\ns=-\r\nc={c}\r\nt=0 0\r\n{}", sections.replace('\n', "\r\n"))
}

fn audio(host: &str, port: u16) -> String {
    session(host, &format!("m=audio {port} RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n"))
}

/// The same body with host and first port as the relay writes them.
fn relayed(body: &str, from: &str, port: u16, to: &str, relay_port: u16) -> String {
    let media = body.replacen(&format!(" {port} "), &format!(" {relay_port} "), 1);
    media.replace(&format!("\r\nc=IN IP4 {from}"), &format!("\r\nc=IN IP4 {to}"))
}

#[test]
fn an_offer_and_its_answer_show_each_side_its_own_relayed_address() {
    let mut call = Call::phone_to_pbx();
    let (offer, answer) = (audio(PHONE, 4000), audio("10.20.0.20", 5000));
    assert_eq!(call.offer(Side::A, &offer), relayed(&offer, PHONE, 4000, RB, 40000));
    assert_eq!(call.answer(Side::B, &answer), relayed(&answer, "10.20.0.20", 5000, RA, 40000));
    let (a, b) = (call.relay.rules(0, Side::A), call.relay.rules(0, Side::B));
    assert_eq!((a.rtp, a.rtcp), (format!("{PHONE}:4000").parse().ok(), format!("{PHONE}:4001").parse().ok()));
    assert_eq!((b.rtp, b.rtcp), ("10.20.0.20:5000".parse().ok(), "10.20.0.20:5001".parse().ok()));
    assert_eq!((a.sip_source, b.sip_source), (Some(ip(PHONE)), None));
    assert!(a.rtp_only && a.send_before_latch && b.send_before_latch && !a.stun_and_dtls && !a.rtcp_mux);
    assert_eq!(a.payload_types, [0, 101]);
}

#[test]
fn late_offer() {
    let mut call = Call::phone_to_pbx();
    let (offer, answer) = (audio("10.20.0.20", 5000), audio(PHONE, 4000));
    assert_eq!(call.offer(Side::B, &offer), relayed(&offer, "10.20.0.20", 5000, RA, 40000), "in the 200");
    assert_eq!(call.answer(Side::A, &answer), relayed(&answer, PHONE, 4000, RB, 40000), "in the ACK");
    assert_eq!(call.relay.rules(0, Side::A).rtp, format!("{PHONE}:4000").parse().ok());
}

#[test]
fn an_answer_without_an_offer_is_out_of_place() {
    let mut call = Call::phone_to_pbx();
    assert_eq!(call.try_answer(Side::B, "t", true, &audio(PHONE, 1)), Err(AnchorError::NoOffer));
    call.offer(Side::A, &audio(PHONE, 4000));
    let own = call.try_answer(Side::A, "t", true, &audio(PHONE, 1)).unwrap_err();
    assert_eq!((own.clone(), own.status()), (AnchorError::NoOffer, 400), "nobody answers himself");
}

#[test]
fn a_late_offer_said_again_keeps_its_ports() {
    let mut call = Call::phone_to_pbx();
    let offer = audio("10.20.0.20", 5000);
    let in_18x = call.offer(Side::B, &offer);
    assert_eq!(in_18x, call.offer(Side::B, &offer), "in the 2xx");
    let fork = audio("10.20.0.21", 6000);
    assert_eq!(call.offer(Side::B, &fork), relayed(&fork, "10.20.0.21", 6000, RA, 40000));
    call.answer(Side::A, &audio(PHONE, 4000));
    assert_eq!((call.relay.opened, call.relay.open.len()), (1, 1));
    let more = session("10.20.0.20", "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 96\n");
    call.offer(Side::B, &more);
    call.offer(Side::B, &offer);
    assert_eq!(
        (call.relay.opened, call.relay.open.len()),
        (2, 1),
        "what only the replaced one wanted is freed"
    );
}

#[test]
fn a_late_offer_that_is_let_fall_does_not_block_the_next() {
    let mut call = Call::established();
    call.offer(Side::B, &session("10.20.0.20", "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 96\n"));
    call.offer(Side::A, &audio(PHONE, 4000));
    assert_eq!(call.relay.open.len(), 1);
    call.answer(Side::B, &audio("10.20.0.20", 5000));
    assert_eq!((call.relay.opened, call.relay.open.len()), (2, 1));
}

#[test]
fn a_body_that_is_no_sdp_opens_nothing() {
    let mut call = Call::phone_to_pbx();
    let error = call.try_offer(Side::A, "v=0\r\nm=audio x RTP/AVP 0\r\n").unwrap_err();
    assert_eq!(
        (error.status(), error.to_string()),
        (488, "SDP line 2: m= with a port that is no number up to 65535".into())
    );
    assert_eq!(call.relay.opened, 0);
}

#[test]
fn port_zero_and_media_that_we_cannot_carry_are_untouched() {
    let mut call = Call::phone_to_pbx();
    let body = session(
        "192.0.2.1",
        "m=audio 0 RTP/AVP 0\nm=message 9 TCP/MSRP *\na=path:msrp://192.0.2.1:9/x;tcp\n",
    );
    assert_eq!(call.offer(Side::A, &body), body);
    assert_eq!(call.answer(Side::B, &body), body);
    assert_eq!(call.relay.opened, 0);
}

#[test]
fn an_answer_may_refuse_a_stream_and_its_pair_is_freed() {
    let mut call = Call::phone_to_pbx();
    let video = |port| format!("m=video {port} RTP/AVP 96\n");
    call.offer(Side::A, &session(PHONE, &format!("m=audio 4000 RTP/AVP 0\n{}", video(4002))));
    assert_eq!(call.relay.open.len(), 2);
    let answer = session("10.20.0.20", &format!("m=audio 5000 RTP/AVP 0\n{}", video(0)));
    assert_eq!(call.answer(Side::B, &answer), relayed(&answer, "10.20.0.20", 5000, RA, 40000));
    assert_eq!(call.media.pairs().map(|pair| pair.0).collect::<Vec<_>>(), [0]);
    assert_eq!(call.relay.open.len(), 1);
}

#[test]
fn an_answer_never_lets_a_foreign_address_by() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &session(PHONE, "m=audio 4000 RTP/AVP 0\nm=video 0 RTP/AVP 96\n"));
    let answer =
        call.answer(Side::B, &session("10.20.0.20", "m=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 96\n"));
    assert!(answer.contains("m=video 0 RTP/AVP 96"), "{answer}");
    let more = session("10.20.0.20", &"m=audio 5000 RTP/AVP 0\n".repeat(3));
    assert_eq!(call.try_answer(Side::B, "t", true, &more), Err(AnchorError::TooManyStreams));
}

#[test]
fn t38_is_relayed_without_rtp_checks() {
    let mut call = Call::established();
    let fax = include_str!("samples/t38.sdp").replace("m=audio 0 RTP/AVP 0\n", "");
    let rewritten = call.offer(Side::B, &fax);
    assert!(rewritten.contains("m=image 40000 udptl t38"), "the switch keeps the port: {rewritten}");
    assert!(call.relay.rules(0, Side::A).rtp_only, "until it is answered");
    call.answer(Side::A, &fax.replace("198.51.100.7", PHONE));
    let rules = call.relay.rules(0, Side::B);
    assert!(!rules.rtp_only && rules.payload_types.is_empty());
    assert_eq!(rules.rtp, "198.51.100.7:4180".parse().ok());
}

#[test]
fn ports_exhausted_leaves_nothing_open() {
    let mut call = Call::phone_to_pbx();
    call.relay.capacity = Some(1);
    let two = session(PHONE, "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 96\n");
    assert_eq!(call.try_offer(Side::A, &two).unwrap_err().status(), 503);
    assert!(call.relay.open.is_empty());
    call.offer(Side::A, &audio(PHONE, 4000));
}

#[test]
fn a_call_has_a_capacity() {
    let mut call = Call::phone_to_pbx();
    let many = session(PHONE, &"m=audio 4000 RTP/AVP 0\n".repeat(turnpike::edge::anchor::MAX_PAIRS + 1));
    assert_eq!(call.try_offer(Side::A, &many), Err(AnchorError::TooManyStreams));
    assert_eq!(call.relay.opened, 0);
}

#[test]
fn the_end_frees_all_and_twice_does_nothing() {
    let mut call = Call::established();
    call.offer(Side::A, &session(PHONE, "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 96\n"));
    assert_eq!(call.relay.open.len(), 2);
    call.close();
    assert!(call.relay.open.is_empty());
    assert_eq!(call.media.pairs().count(), 0);
    call.close();
    assert_eq!(call.try_answer(Side::B, "t", true, &audio(PHONE, 1)), Err(AnchorError::NoOffer));
}

#[test]
fn silence_means_every_stream_while_one_should_talk() {
    use std::sync::atomic::Ordering::Relaxed;
    let mut call = Call::phone_to_pbx();
    let two = |host| session(host, "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 96\n");
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let silence = |call: &mut Call, after| call.media.listen(start + second * after).silence;
    call.offer(Side::A, &two(PHONE));
    assert_eq!([0, 100].map(|after| silence(&mut call, after)), [Duration::ZERO; 2], "it rings");
    call.answer(Side::B, &two("10.20.0.20"));
    assert_eq!([100, 130].map(|after| silence(&mut call, after)), [Duration::ZERO, second * 30]);
    call.relay.open[&turnpike::relay::PairId(1)].counters.b.packets.fetch_add(1, Relaxed);
    assert_eq!(
        [131, 140].map(|after| silence(&mut call, after)),
        [Duration::ZERO, second * 9],
        "video flows"
    );
    call.offer(Side::A, &format!("{}a=sendonly\r\n", audio(PHONE, 4000)));
    call.answer(Side::B, &format!("{}a=recvonly\r\n", audio("10.20.0.20", 5000)));
    assert_eq!(
        [150, 500].map(|after| silence(&mut call, after)),
        [Duration::ZERO; 2],
        "hold is no sign of death"
    );
}

#[test]
fn counters_outlive_the_pair() {
    use std::sync::atomic::Ordering::Relaxed;
    let mut call = Call::established();
    let counters = call.relay.open[&turnpike::relay::PairId(0)].counters.clone();
    counters.a.packets.store(7, Relaxed);
    counters.b.refused_source.store(2, Relaxed);
    counters.b.refused_payload.store(1, Relaxed);
    call.close();
    let cdr = call.media.streams();
    assert_eq!((cdr.len(), cdr[0].kind.name()), (1, "audio"));
    assert_eq!((cdr[0].a.packets, cdr[0].b.refused), (7, 3));
}
