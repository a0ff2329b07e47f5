//! Offers and answers wherever they travel (RFC 6337), through the whole edge: offers that cross, that are refused or
//! given up at every point, early dialogs, SDP where none belongs.

use std::time::Duration;

use turnpike::edge::settings::{Ice, Settings, Srtp};
use turnpike::relay::{LegCrypto, LegRules, Side};

use super::scene::{PBX, PHONE, Scene, TO_PBX, TO_PHONE, audio, session, shown};
use super::ua::{self, body, header, headers};
use super::world::{INTERNET, OFFICE};

fn talking() -> Scene {
    Scene::established(&audio(PHONE, 4000), &audio(PBX, 5000))
}

fn offer_of(side: Side, port: u16) -> String {
    audio(if side == Side::A { PHONE } else { PBX }, port)
}

/// RFC 3261 §14.1, §14.2, RFC 3311 §5.2: both offer at once, by re-INVITE or UPDATE. Who comes second hears 491 from us;
/// its far end, which waits for an answer of its own, may refuse the first offer, too. Then either is free to try again.
#[test]
fn offers_that_cross() {
    for (first, second) in [(Side::A, Side::B), (Side::B, Side::A)] {
        for (by, back_by) in
            [("INVITE", "INVITE"), ("INVITE", "UPDATE"), ("UPDATE", "INVITE"), ("UPDATE", "UPDATE")]
        {
            for both_fail in [true, false] {
                let mut call = talking();
                let asked = call.ask(first, by, &offer_of(first, 4100));
                call.ask_in_vain(second, back_by, &offer_of(second, 5100));
                let crossed = call.expect_at(second, "SIP/2.0 491");
                assert!(headers(&crossed, "Retry-After").is_empty(), "{crossed}");
                if back_by == "INVITE" {
                    call.acknowledge_ours(second, &crossed);
                }
                if both_fail {
                    let came = call.reply(first, &asked, "491 Request Pending", "");
                    if by == "INVITE" {
                        call.acknowledge_failure(first, &asked, &came);
                    }
                } else {
                    call.reply(first, &asked, "200 OK", &offer_of(second, 5000));
                    if by == "INVITE" {
                        call.acknowledge(first);
                    }
                }
                let (asked, came) =
                    call.agree(second, back_by, &offer_of(second, 5100), &offer_of(first, 4100));
                assert!(asked.contains("m=audio 4000") && came.contains("m=audio 4000"), "{asked}{came}");
                call.agree(first, by, &offer_of(first, 4200), &offer_of(second, 5200));
                let expected = if first == Side::A { (4200, 5200) } else { (5200, 4200) };
                assert_eq!(call.media_goes_to(Side::A).unwrap(), format!("{PHONE}:{}", expected.0));
                assert_eq!(call.media_goes_to(Side::B).unwrap(), format!("{PBX}:{}", expected.1));
                assert_eq!(call.pairs(), 1);
                call.end();
            }
        }
    }
}

/// RFC 3261 §14.2, RFC 3311 §5.2: a second offer of the same side before the first one's answer: 500, try again later.
#[test]
fn a_second_offer_of_the_same_side() {
    let mut call = talking();
    let asked = call.ask(Side::A, "INVITE", &audio(PHONE, 4100));
    call.ask_in_vain(Side::A, "UPDATE", &audio(PHONE, 4200));
    let refused = call.expect_at(Side::A, "SIP/2.0 500");
    assert!(header(&refused, "Retry-After").parse::<u32>().unwrap() <= 10);
    call.reply(Side::A, &asked, "200 OK", &audio(PBX, 5000));
    call.acknowledge(Side::A);
    assert_eq!(call.media_goes_to(Side::A).unwrap(), format!("{PHONE}:4100"));
    call.end();
}

/// What a re-INVITE has met when it fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    Nothing,
    Ringing,
    UnreliableAnswer,
}

/// RFC 3261 §14.1: it is as if it had not been made, however it ends.
#[test]
fn a_re_invite_that_fails_at_any_point_leaves_the_call_as_it_was() {
    let more = |host: &str, port: u16| {
        session(host, &format!("m=audio {port} RTP/AVP 8\nm=video {} RTP/AVP 96\n", port + 2))
    };
    for point in [Point::Nothing, Point::Ringing, Point::UnreliableAnswer] {
        for status in [
            "488 Not Acceptable Here",
            "491 Request Pending",
            "422 Session Interval Too Small",
            "503 Busy",
            "603 Decline",
            "cancel",
            "silence",
        ] {
            let mut call = talking();
            let before = format!("{:?}", call.rules());
            let asked = call.ask(Side::A, "INVITE", &more(PHONE, 4100));
            assert_eq!(call.pairs(), 2);
            match point {
                Point::Nothing => {}
                Point::Ringing => drop(call.reply(Side::A, &asked, "180 Ringing", "")),
                Point::UnreliableAnswer => {
                    let early = call.reply(Side::A, &asked, "183 Session Progress", &more(PBX, 5100));
                    assert_eq!(body(&early), shown(&more(PBX, 5100), TO_PHONE, &[40_000, 40_004]));
                }
            }
            match status {
                "cancel" => {
                    call.cancel(&asked);
                }
                "silence" if point == Point::Nothing => {
                    call.world.pass(Duration::from_secs(33));
                    call.expect_at(Side::A, "SIP/2.0 408");
                }
                "silence" => {
                    // Timer C (RFC 3261 §16.6 step 11).
                    call.world.pass(Duration::from_secs(200));
                    call.world.take(&call.pbx.clone());
                    call.world.pass(Duration::from_secs(40));
                    let came = call.world.take(&call.phone.clone());
                    assert!(came.iter().any(|text| text.starts_with("SIP/2.0 408")), "{point:?}: {came:?}");
                }
                status => {
                    let came = call.reply(Side::A, &asked, status, "");
                    call.acknowledge_failure(Side::A, &asked, &came);
                }
            }
            assert_eq!(call.pairs(), 1, "{point:?}, {status}");
            assert_eq!(format!("{:?}", call.rules()), before, "{point:?}, {status}");
            call.world.take(&call.pbx.clone());
            call.agree(Side::B, "INVITE", &audio(PBX, 5200), &audio(PHONE, 4200));
            assert_eq!(call.media_goes_to(Side::B).unwrap(), format!("{PBX}:5200"));
            call.end();
        }
    }
}

/// RFC 6141 §3: an answer in a reliable 18x holds, also if the re-INVITE fails afterwards.
#[test]
fn what_a_reliable_183_has_agreed_outlives_the_re_invite() {
    let mut call = talking();
    let asked = call.ask(Side::A, "INVITE", &audio(PHONE, 4100));
    let early = ua::answer(&call.pbx, &asked, "183 Session Progress", "", &audio(PBX, 5100));
    let early = early.replacen("\r\nContact", "\r\nRequire: 100rel\r\nRSeq: 1\r\nContact", 1);
    call.world.send(&call.pbx.clone(), early);
    call.expect_at(Side::A, "SIP/2.0 183");
    let prack = call.ask(Side::A, "PRACK", "");
    call.reply(Side::A, &prack, "200 OK", "");
    let came = call.reply(Side::A, &asked, "488 Not Acceptable Here", "");
    call.acknowledge_failure(Side::A, &asked, &came);
    assert_eq!(call.media_goes_to(Side::A).unwrap(), format!("{PHONE}:4100"));
    call.agree(Side::A, "UPDATE", &audio(PHONE, 4000), &audio(PBX, 5000));
    assert_eq!((call.media_goes_to(Side::A).unwrap(), call.pairs()), (format!("{PHONE}:4000"), 1));
    call.end();
}

/// How far a first INVITE has come.
#[derive(Clone, Copy, Debug)]
enum Early {
    Sent,
    Ringing,
    UnreliableAnswer,
    Acknowledged,
    OfferInPrack,
    Updated,
    OfferInUpdate,
    TwoDialogs,
}

impl Early {
    const ALL: [Early; 8] = [
        Early::Sent,
        Early::Ringing,
        Early::UnreliableAnswer,
        Early::Acknowledged,
        Early::OfferInPrack,
        Early::Updated,
        Early::OfferInUpdate,
        Early::TwoDialogs,
    ];

    /// A call that has come so far.
    fn call(self) -> Scene {
        let mut call = Scene::ringing(&audio(PHONE, 4000));
        match self {
            Early::Sent => {}
            Early::Ringing => drop(call.respond("180 Ringing", "t", "", "")),
            Early::UnreliableAnswer => drop(call.respond("183 Session Progress", "t", "", &audio(PBX, 5000))),
            Early::TwoDialogs => {
                call.respond("183 Session Progress", "s", "", &audio(PBX, 5000));
                call.respond("183 Session Progress", "t", "", &audio(PBX, 5002));
            }
            Early::Acknowledged | Early::OfferInPrack | Early::Updated | Early::OfferInUpdate => {
                call.respond_reliably("t", &audio(PBX, 5000));
                let in_prack = matches!(self, Early::OfferInPrack);
                let prack = call.ask(Side::A, "PRACK", if in_prack { VIDEO_TOO } else { "" });
                if in_prack {
                    assert_eq!(call.pairs(), 2);
                    return call;
                }
                call.reply(Side::A, &prack, "200 OK", "");
                if matches!(self, Early::Updated) {
                    call.agree(Side::A, "UPDATE", VIDEO_TOO, &VIDEO_TOO.replace(PHONE, PBX));
                    call.agree(Side::B, "UPDATE", &audio(PBX, 5000), &audio(PHONE, 4000));
                }
                if matches!(self, Early::OfferInUpdate) {
                    call.ask(Side::B, "UPDATE", &VIDEO_TOO.replace(PHONE, PBX));
                }
            }
        }
        call
    }
}

const VIDEO_TOO: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
                         m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 96\r\n";

/// Whatever was offered and opened by then, the end of the first INVITE frees it at once.
#[test]
fn failure_and_cancel_at_every_point_of_the_first_invite_free_everything() {
    for early in Early::ALL {
        for status in ["486 Busy Here", "488 Not Acceptable Here", "603 Decline", "cancel", "gone"] {
            let mut call = early.call();
            assert!(call.pairs() > 0);
            match status {
                "cancel" => call.cancel(&call.seen.clone()),
                // The connection of the caller is closed.
                "gone" => {
                    call.world.edge.handle_flow_closed(call.phone.source.flow, call.world.now);
                    call.world.collect();
                    call.terminate(&call.seen.clone());
                }
                status => {
                    let refused = ua::response(&call.seen, status, "t", "", "");
                    call.world.send(&call.pbx.clone(), refused);
                    call.expect_at(Side::A, &format!("SIP/2.0 {}", &status[..3]));
                }
            }
            let left = call.world.status();
            assert_eq!((left.calls, left.relay.pairs), (0, 0), "{early:?}, {status}");
            assert_eq!(call.world.call_peers(), [""; 0], "{early:?}, {status}");
            call.world.assert_clean();
        }
    }
}

/// An offer in a PRACK or an UPDATE of an early dialog that is refused takes back nothing but itself.
#[test]
fn a_refused_offer_in_an_early_dialog() {
    for (from, method) in [(Side::A, "PRACK"), (Side::A, "UPDATE"), (Side::B, "UPDATE")] {
        let mut call = Early::Ringing.call();
        call.respond_reliably("t", &audio(PBX, 5000));
        let before = format!("{:?}", call.rules());
        if method == "UPDATE" {
            let prack = call.ask(Side::A, "PRACK", "");
            call.reply(Side::A, &prack, "200 OK", "");
        }
        let offer = if from == Side::A { VIDEO_TOO.to_owned() } else { VIDEO_TOO.replace(PHONE, PBX) };
        let asked = call.ask(from, method, &offer);
        assert_eq!(call.pairs(), 2);
        call.reply(from, &asked, "488 Not Acceptable Here", "");
        assert_eq!((call.pairs(), format!("{:?}", call.rules())), (1, before.clone()), "{method}");
        call.respond("200 OK", "t", "", "");
        call.ask(Side::A, "ACK", "");
        assert_eq!(format!("{:?}", call.rules()), before);
        call.end();
    }
}

/// RFC 3261 §13.2.1: a 200 that repeats what its reliable 18x answered changes nothing, even after an UPDATE has changed
/// the call; and it shows the relay, not the PBX.
#[test]
fn a_200_that_repeats_an_answer_changes_nothing() {
    for from in [Side::A, Side::B] {
        let mut call = Early::Acknowledged.call();
        call.agree(from, "UPDATE", &offer_of(from, 6000), &offer_of(from.other(), 6002));
        let agreed = format!("{:?}", call.rules());
        let came = call.respond("200 OK", "t", "", &audio(PBX, 5000));
        assert_eq!(came, shown(&audio(PBX, 5000), TO_PHONE, &[40_000]));
        call.ask(Side::A, "ACK", "");
        assert_eq!(format!("{:?}", call.rules()), agreed);
        call.end();
    }
}

/// A branch that was not there when the others talked is still heard when it wins.
#[test]
fn another_branch_wins_after_an_early_update() {
    for from in [Side::A, Side::B] {
        let mut call = Early::Acknowledged.call();
        call.agree(from, "UPDATE", &offer_of(from, 6000), &offer_of(from.other(), 6002));
        let came = call.accept_in("winner", &audio("10.20.0.31", 7000), "");
        assert_eq!(came, shown(&audio("10.20.0.31", 7000), TO_PHONE, &[40_000]));
        assert_eq!(call.media_goes_to(Side::B).unwrap(), "10.20.0.31:7000");
        assert_eq!(call.pairs(), 1);
        call.end();
    }
}

/// SDP where neither an offer nor an answer belongs shows the relay all the same.
#[test]
fn sdp_where_none_belongs_shows_no_address_of_the_other_side() {
    let mut call = talking();
    let agreed = format!("{:?}", call.rules());
    let asked = call.ask(Side::A, "UPDATE", "");
    let came = call.reply(Side::A, &asked, "200 OK", &audio(PBX, 5500));
    assert_eq!(body(&came), shown(&audio(PBX, 5500), TO_PHONE, &[40_000]));
    let (_, _) = call.agree(Side::A, "INVITE", &audio(PHONE, 4000), &audio(PBX, 5000));
    let ack = call.ask(Side::A, "ACK", &audio(PHONE, 4500));
    assert_eq!(body(&ack), shown(&audio(PHONE, 4500), TO_PBX, &[40_002]));
    assert_eq!(format!("{:?}", call.rules()), agreed);
    call.end();
}

/// An ACK without the answer that it owes lets the offer fall.
#[test]
fn a_late_offer_that_the_ack_does_not_answer() {
    let mut call = talking();
    let before = format!("{:?}", call.rules());
    let asked = call.ask(Side::A, "INVITE", "");
    let came = call.reply(Side::A, &asked, "200 OK", &VIDEO_TOO.replace(PHONE, PBX));
    assert!(body(&came).contains("m=video 40004"));
    call.acknowledge(Side::A);
    assert_eq!((call.pairs(), format!("{:?}", call.rules())), (1, before));
    call.agree(Side::A, "UPDATE", &audio(PHONE, 4100), &audio(PBX, 5000));
    call.end();
}

/// "ports, credentials, keys stay unless the peer changed its own; 488/491 rolls back", where they are ours: the phone's
/// SRTP and its ICE end at the relay.
#[test]
fn a_refused_offer_takes_no_key_and_no_credential_with_it() {
    let change = |settings: &mut Settings| {
        let media = &mut settings.zones[usize::from(INTERNET.0)].media;
        (media.srtp, media.ice) = (Srtp::Sdes, Ice::Terminate);
        settings.zones[usize::from(OFFICE.0)].media.srtp = Srtp::Off;
    };
    let offer = |key: &str, ufrag: &str| {
        session(
            PHONE,
            &format!(
                "m=audio 4000 RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\n\
                 a=ice-ufrag:{ufrag}xxxx\na=ice-pwd:{ufrag}xxxxxxxxxxxxxxxxxxxxxxx\n"
            ),
        )
    };
    let plain = session(PBX, "m=audio 5000 RTP/AVP 0\n");
    let mut call = Scene::ringing_with(change, "", &offer("AAEC", "u"));
    let first = call.accept(&plain);
    let (a, _) = call.rules().remove(0);
    assert!(matches!(a.crypto, LegCrypto::Sdes { inbound: Some(_), outbound: Some(_) }), "{a:?}");
    assert!(a.ice.as_ref().is_some_and(|ice| ice.terminated));
    let before = call.rules();
    for (method, status) in
        [("INVITE", "488 Not Acceptable Here"), ("INVITE", "491 Request Pending"), ("UPDATE", "504 Time-out")]
    {
        call.refuse(Side::A, method, &offer("AQEC", "w"), status);
        assert!(is_same(&call.rules()[0].0, &before[0].0), "{method}, {status}");
    }
    // What is ours stays, and so what the phone is shown, until it changes its own.
    let (_, came) = call.agree(Side::A, "INVITE", &offer("AAEC", "u"), &plain);
    assert_eq!(came, first);
    assert!(is_same(&call.rules()[0].0, &before[0].0));
    let (_, came) = call.agree(Side::A, "INVITE", &offer("AQEC", "w"), &plain);
    assert!(!is_same(&call.rules()[0].0, &before[0].0));
    assert_eq!(came.contains("m=audio 40000 "), first.contains("m=audio 40000 "));
    call.end();
}

/// Keys and credentials, which no Debug shows.
fn is_same(one: &LegRules, other: &LegRules) -> bool {
    let keys = |rules: &LegRules| match &rules.crypto {
        LegCrypto::Sdes { inbound, outbound } => Some((inbound.clone(), outbound.clone())),
        _ => None,
    };
    keys(one) == keys(other) && one.ice == other.ice && one.rtp == other.rtp
}

/// An answer in mid-call that cannot be rewritten: who offered hears 488, and the call is as it was.
#[test]
fn an_answer_that_cannot_be_read_withdraws_the_offer() {
    for (from, method) in [(Side::A, "INVITE"), (Side::B, "INVITE"), (Side::A, "UPDATE"), (Side::B, "UPDATE")]
    {
        let mut call = talking();
        let before = format!("{:?}", call.rules());
        let host = if from == Side::A { PHONE } else { PBX };
        let asked = call.ask(from, method, &VIDEO_TOO.replace(PHONE, host));
        assert_eq!(call.pairs(), 2);
        let replier = if from == Side::A { call.pbx } else { call.phone };
        call.world.send(&replier, ua::answer(&replier, &asked, "200 OK", "", "this is no sdp\r\n"));
        let came = call.expect_at(from, "SIP/2.0 488");
        if method == "INVITE" {
            call.expect_at(from.other(), "ACK");
            call.acknowledge_ours(from, &came);
        }
        let (phone, pbx) = (call.phone, call.pbx);
        call.world.expect_nothing(&phone);
        call.world.expect_nothing(&pbx);
        assert_eq!((call.pairs(), format!("{:?}", call.rules())), (1, before), "{from:?}, {method}");
        call.agree(from.other(), "UPDATE", &offer_of(from.other(), 6000), &offer_of(from, 6002));
        call.end();
    }
}
