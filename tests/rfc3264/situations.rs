//! The second table of DESIGN.md §4 ("situation | behaviour"), row by row, through the whole edge: each test is named
//! after its row and begins with what the row says. What lies behind a row in detail is tested in the files beside this
//! one.

use std::time::Duration;

use turnpike::relay::Side;

use super::play::hang_up;
use super::scene::{PBX, PHONE, Scene, TO_PBX, TO_PHONE, audio, session, shown};
use super::ua::{self, body, header};

/// "same SDP in 183 and 200 | byte-identical rewrite"
#[test]
fn same_sdp_in_183_and_200() {
    let mut call = Scene::ringing(&audio(PHONE, 4000));
    let early = call.respond("183 Session Progress", "t", "", &audio(PBX, 5000));
    assert_eq!(early, shown(&audio(PBX, 5000), TO_PHONE, &[40_000]));
    assert_eq!(call.accept_in("t", &audio(PBX, 5000), ""), early);
    call.end();
}

/// "different SDP in 200 after an unreliable 183 | answered against the kept offer, same caller-side port"
#[test]
fn different_sdp_in_200_after_an_unreliable_183() {
    let mut call = Scene::ringing(&audio(PHONE, 4000));
    call.respond("183 Session Progress", "t", "", &audio("10.20.0.31", 5000));
    assert_eq!(call.media_goes_to(Side::B).unwrap(), "10.20.0.31:5000");
    let other = session(PBX, "m=audio 6000 RTP/AVP 0\na=ptime:30\n");
    assert_eq!(call.accept_in("t", &other, ""), shown(&other, TO_PHONE, &[40_000]));
    assert_eq!((call.media_goes_to(Side::B).unwrap(), call.pairs()), (format!("{PBX}:6000"), 1));
    call.end();
}

/// "forking downstream | the offer side is shared; each To tag has its own answer state; one branch's failure frees
/// only its own"
#[test]
fn forking_downstream() {
    let mut call = Scene::ringing(&audio(PHONE, 4000));
    let branch = |n: u16| audio(&format!("10.20.0.3{n}"), 5000 + n);
    for n in [1, 2] {
        let early = call.respond("183 Session Progress", &format!("branch{n}"), "", &branch(n));
        assert_eq!(early, shown(&branch(n), TO_PHONE, &[40_000]), "one caller-side port for all");
    }
    let mut legs = [1, 2].map(|n| {
        call.accept_in(&format!("branch{n}"), &branch(n), "");
        call.a.clone().unwrap()
    });
    assert_eq!((call.media_goes_to(Side::B).unwrap(), call.pairs()), ("10.20.0.32:5002".into(), 1));
    hang_up(&mut call.world, &mut legs[1], &call.pbx.clone());
    assert_eq!((call.media_goes_to(Side::B).unwrap(), call.pairs()), ("10.20.0.31:5001".into(), 1));
    call.a = Some(legs[0].clone());
    call.end();
}

const SAVP: &str = "m=audio 4000 RTP/SAVP 0\n\
                    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\n";

/// "re-INVITE, UPDATE | ports, credentials, keys stay unless the peer changed its own; 488/491 rolls back"
#[test]
fn re_invite_and_update() {
    let offer = session(PHONE, &format!("{SAVP}{}", ice("u1", "p1")));
    let answer = session(PBX, &format!("{SAVP}{}", ice("v1", "w1")).replace("4000", "5000"));
    let mut call = Scene::established(&offer, &answer);
    let before = call.rules();
    for method in ["INVITE", "UPDATE"] {
        for (from, offer, answer) in [(Side::A, &offer, &answer), (Side::B, &answer, &offer)] {
            let (asked, came) = call.agree(from, method, offer, answer);
            let (to_pbx, to_phone) = if from == Side::A { (&asked, &came) } else { (&came, &asked) };
            assert!(to_pbx.contains("m=audio 40002 ") && to_phone.contains("m=audio 40000 "), "ports stay");
            assert!([to_pbx, to_phone].iter().all(|body| body.contains("inline:AAEC")), "keys stay");
            assert!(to_phone.contains("a=ice-pwd:w1"), "credentials stay");
            assert_eq!(format!("{:?}", call.rules()), format!("{before:?}"));
            for status in ["488 Not Acceptable Here", "491 Request Pending"] {
                let moved = offer.replace("00 RTP/SAVP 0", "00 RTP/SAVP 8").replace(":AAEC", ":AAAA");
                let moved = format!("{moved}m=video 4002 RTP/AVP 96\r\n");
                call.refuse(from, method, &moved, status);
                assert_eq!(format!("{:?}", call.rules()), format!("{before:?}"), "{method} {status}");
                assert_eq!(call.pairs(), 1);
            }
        }
    }
    call.end();
}

/// Attributes of a section; made longer to what RFC 8839 §5.4 asks for.
fn ice(ufrag: &str, pwd: &str) -> String {
    format!("a=ice-ufrag:{ufrag}xx\na=ice-pwd:{pwd}{}\n", "x".repeat(22))
}

/// "hold | `c=0.0.0.0`, `a=sendonly`, `a=inactive`, port kept; relay stays open"
#[test]
fn hold() {
    let mut call = Scene::established(&audio(PHONE, 4000), &audio(PBX, 5000));
    let talking = format!("{:?}", call.rules());
    let at_session =
        |direction: &str| audio(PHONE, 4000).replace("t=0 0\r\n", &format!("t=0 0\r\n{direction}\r\n"));
    let in_section = |host: &str| {
        audio(PHONE, 4000).replace("RTP/AVP 0 101\r\n", &format!("RTP/AVP 0 101\r\nc={host}\r\n"))
    };
    let spellings = [
        audio(PHONE, 4000) + "a=sendonly\r\n",
        audio(PHONE, 4000) + "a=inactive\r\n",
        at_session("a=sendonly"),
        at_session("a=inactive"),
        audio("0.0.0.0", 4000),
        audio("0.0.0.0", 4000) + "a=sendonly\r\n",
        in_section("IN IP4 0.0.0.0"),
        session(PHONE, "m=audio 4000 RTP/AVP 0 101\nc=IN IP6 ::\na=inactive\n"),
    ];
    for hold in spellings {
        for (from, method) in [(Side::A, "INVITE"), (Side::A, "UPDATE")] {
            let (asked, _) = call.agree(from, method, &hold, &(audio(PBX, 5000) + "a=recvonly\r\n"));
            assert!(asked.contains("m=audio 40002 "), "port kept: {asked}");
            let is_by_address = hold.contains("IP4 0.0.0.0\r\nt=") || hold.matches("c=").count() == 2;
            assert_eq!(asked.contains("c=IN IP4 0.0.0.0\r\n"), is_by_address, "{hold} became {asked}");
            let directions = ["sendonly", "inactive", "sendrecv", "recvonly"];
            assert!(directions.iter().all(|word| asked.contains(word) == hold.contains(word)), "{asked}");
            assert_eq!(call.pairs(), 1, "relay stays open");
            call.world.fall_silent();
            assert_eq!(call.world.status().calls, 1, "silence on hold ends no call");
        }
        let (resumed, _) = call.agree(Side::A, "INVITE", &audio(PHONE, 4000), &audio(PBX, 5000));
        assert_eq!(resumed, shown(&audio(PHONE, 4000), TO_PBX, &[40_002]));
        assert_eq!(format!("{:?}", call.rules()), talking);
    }
    call.agree(
        Side::B,
        "INVITE",
        &(audio(PBX, 5000) + "a=sendonly\r\n"),
        &(audio(PHONE, 4000) + "a=recvonly\r\n"),
    );
    assert_eq!((call.pairs(), call.media_goes_to(Side::A).unwrap()), (1, format!("{PHONE}:4000")));
    call.end();
}

/// "ICE restart | only when both ufrag and pwd change; latches reset, ports stay"
#[test]
fn ice_restart() {
    let offer = |ufrag, pwd| session(PHONE, &format!("m=audio 4000 RTP/AVP 0\n{}", ice(ufrag, pwd)));
    let answer = |ufrag, pwd| session(PBX, &format!("m=audio 5000 RTP/AVP 0\n{}", ice(ufrag, pwd)));
    let mut call = Scene::established(&offer("u1", "p1"), &answer("v1", "w1"));
    // What the relay resets its latches by: the name that the endpoint's checks carry, and the password.
    let goes_by = |call: &Scene| {
        let (a, b) = call.rules().remove(0);
        [a, b].map(|rules| format!("{:?}", rules.ice.map(|ice| (ice.remote_ufrag, ice.local.ufrag))))
    };
    let before = goes_by(&call);
    call.agree(Side::A, "INVITE", &offer("u1", "p1"), &answer("v1", "w1"));
    assert_eq!(goes_by(&call), before);
    let (asked, came) = call.agree(Side::A, "INVITE", &offer("u2", "p2"), &answer("v2", "w2"));
    assert!(asked.contains("m=audio 40002 ") && came.contains("m=audio 40000 "), "ports stay");
    assert!(goes_by(&call).iter().zip(&before).all(|(now, before)| now != before));
    call.end();
}

/// "late offer | 200 or reliable 18x carries the offer, ACK or PRACK the answer"
#[test]
fn late_offer() {
    let (offer, answer) = (audio(PBX, 5000), audio(PHONE, 4000));
    let mut call = Scene::ringing("");
    assert_eq!(call.respond("200 OK", "t", "", &offer), shown(&offer, TO_PHONE, &[40_000]));
    for _ in 0..2 {
        let ack = call.ask(Side::A, "ACK", &answer);
        assert_eq!(body(&ack), shown(&answer, TO_PBX, &[40_002]), "sent again, too");
    }
    assert_eq!(call.media_goes_to(Side::A).unwrap(), format!("{PHONE}:4000"));
    call.end();

    let mut call = Scene::ringing("");
    assert_eq!(call.respond_reliably("t", &offer), shown(&offer, TO_PHONE, &[40_000]));
    let prack = call.ask(Side::A, "PRACK", &answer);
    assert_eq!(body(&prack), shown(&answer, TO_PBX, &[40_002]));
    call.reply(Side::A, &prack, "200 OK", "");
    assert_eq!(call.media_goes_to(Side::A).unwrap(), format!("{PHONE}:4000"));
    assert_eq!(call.accept_in("t", &offer, ""), shown(&offer, TO_PHONE, &[40_000]), "said again");
    call.agree(Side::B, "UPDATE", &offer, &answer);
    call.end();
}

/// "multipart body | only the `application/sdp` part changes, the rest byte for byte"
#[test]
fn multipart_body() {
    let rest = "Content-Type: application/pidf+xml\r\nContent-ID: <a@b>\r\n\r\n<pidf>\r\n m=audio 4000 RTP/AVP 0\r\n</pidf>";
    let wrap = |sdp: &str| {
        format!(
            "preamble, m=audio 4000\r\n--un ique\r\n{rest}\r\n--un ique  \r\n\
             Content-Disposition: session;handling=required\r\nContent-Type: application/sdp\r\n\r\n\
             {sdp}\r\n--un ique--\r\nepilogue --un ique\r\n"
        )
    };
    let multipart = |message: String| {
        message.replace(
            "Content-Type: application/sdp\r\nContent-L",
            "Content-Type: multipart/mixed; boundary=\"un ique\"\r\nContent-L",
        )
    };
    let mut call = Scene::established(&audio(PHONE, 4000), &audio(PBX, 5000));
    let update = multipart(call.a().request("UPDATE", &wrap(&audio(PHONE, 4000))));
    call.world.send(&call.phone.clone(), update);
    let seen = call.world.expect(&call.pbx.clone(), "UPDATE");
    assert_eq!(body(&seen), wrap(&shown(&audio(PHONE, 4000), TO_PBX, &[40_002])));
    let ok = multipart(ua::answer(&call.pbx, &seen, "200 OK", "", &wrap(&audio(PBX, 5000))));
    call.world.send(&call.pbx.clone(), ok);
    let came = call.world.expect(&call.phone.clone(), "SIP/2.0 200");
    assert_eq!(body(&came), wrap(&shown(&audio(PBX, 5000), TO_PHONE, &[40_000])));
    for message in [&seen, &came] {
        assert_eq!(header(message, "Content-Length"), body(message).len().to_string());
    }
    call.end();
}

/// "`m=` port 0, unknown media | untouched"
#[test]
fn port_0_and_unknown_media() {
    let msrp = "m=message 7654 TCP/MSRP *\na=accept-types:text/plain\na=path:msrp://192.0.2.7:7654/s;tcp\n";
    let odd = "m=x-odd 4010 TCP/X-ODD 1 2 z\na=anything: goes\n";
    let both = |host: &str, audio: u16, video: u16| {
        session(host, &format!("m=audio {audio} RTP/AVP 0\nm=video {video} RTP/AVP 96\n{msrp}{odd}"))
    };
    let mut call = Scene::established(&both(PHONE, 4000, 0), &both(PBX, 5000, 0));
    // The session's c= is theirs, so the section that we carry has its own.
    let ours = |body: &str, ip: &str, port: u16, line: &str| {
        assert!(body.contains(&format!("m=audio {port} RTP/AVP 0\r\nc=IN IP4 {ip}\r\n{line}")), "{body}");
        assert!(body.ends_with(&format!("{msrp}{odd}").replace('\n', "\r\n")), "{body}");
    };
    let off = "m=video 0 RTP/AVP 96\r\nm=message";
    ours(body(&call.seen.clone()), TO_PBX, 40_002, off);
    ours(body(&call.came.clone()), TO_PHONE, 40_000, off);
    assert_eq!(call.pairs(), 1);
    let (asked, came) = call.agree(Side::A, "INVITE", &both(PHONE, 4000, 4002), &both(PBX, 5000, 5002));
    ours(&asked, TO_PBX, 40_002, "m=video 40006 ");
    ours(&came, TO_PHONE, 40_000, "m=video 40004 ");
    assert_eq!(call.pairs(), 2, "the line is used again");
    call.end();
}

/// "rtcp-mux, BUNDLE | no second component when mux is agreed; extras freed after the answer"
#[test]
fn rtcp_mux_and_bundle() {
    let section = |kind: &str, port: u16, mid: u8, payload: u8| {
        format!("m={kind} {port} RTP/AVP {payload}\na=mid:{mid}\na=rtcp-mux\n{}", ice("u1", "p1"))
    };
    let group = |sdp: String| sdp.replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE 0 1\r\n");
    let both = |host, audio, video| {
        group(session(host, &(section("audio", audio, 0, 111) + &section("video", video, 1, 96))))
    };
    let mut call = Scene::ringing(&both(PHONE, 4000, 4002));
    assert_eq!(call.pairs(), 2, "the answer may refuse the bundle");
    let came = call.accept(&both(PBX, 5000, 5000));
    assert!(came.contains("a=group:BUNDLE 0 1\r\n"), "answers keep the group: {came}");
    let candidates: Vec<&str> = came.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    assert!(candidates.iter().all(|line| line.split(' ').nth(1) == Some("1")), "no second component: {came}");
    assert_eq!(came.matches(" 40000 RTP/AVP ").count(), 2, "one transport: {came}");
    assert_eq!(call.pairs(), 1, "extras freed");
    let (a, b) = call.rules().remove(0);
    assert!(a.rtcp_mux && b.rtcp_mux);
    call.end();
}

/// "our own relayed address in an incoming SDP | recognised, never stacked"
#[test]
fn our_own_relayed_address_in_an_incoming_sdp() {
    let mut call = Scene::ringing(&audio(PHONE, 4000));
    call.world.ports.lock().unwrap().allocations.push("203.0.113.10:45678".parse().unwrap());
    let own = format!(
        "{}{}a=candidate:1 1 udp 2130706431 192.168.1.5 4000 typ host\r\n\
         a=candidate:2 1 udp 16777215 203.0.113.10 45678 typ relay raddr 0.0.0.0 rport 9\r\n",
        audio("203.0.113.10", 45678),
        ice("u1", "p1").replace('\n', "\r\n")
    );
    call.accept(&audio(PBX, 5000));
    let (asked, _) = call.agree(Side::A, "INVITE", &own, &audio(PBX, 5000));
    let relayed: Vec<&str> = asked.lines().filter(|line| line.contains("typ relay")).collect();
    assert!(relayed.iter().all(|line| line.contains(TO_PBX)), "ours stands for it: {asked}");
    let (a, _) = call.rules().remove(0);
    assert_eq!(a.rtp, "203.0.113.10:45678".parse().ok(), "reached as it stands, in the process");
    call.end();
}

/// "T.38 (`m=image udptl`) | relayed without RTP checks"
#[test]
fn t38() {
    let fax = |host, port| {
        session(
            host,
            &format!("m=image {port} udptl t38\na=T38FaxVersion:0\na=T38FaxUdpEC:t38UDPRedundancy\n"),
        )
    };
    let mut call = Scene::established(&audio(PHONE, 4000), &audio(PBX, 5000));
    let speech = format!("{:?}", call.rules());
    // The m= line becomes another, and back.
    let (asked, came) = call.agree(Side::B, "INVITE", &fax(PBX, 5010), &fax(PHONE, 4010));
    assert_eq!(
        (asked, came),
        (shown(&fax(PBX, 5010), TO_PHONE, &[40_000]), shown(&fax(PHONE, 4010), TO_PBX, &[40_002]))
    );
    let (a, b) = call.rules().remove(0);
    assert!(!a.rtp_only && !b.rtp_only && a.payload_types.is_empty() && b.payload_types.is_empty());
    assert_eq!((a.rtp, b.rtp), ("192.0.2.7:4010".parse().ok(), "10.20.0.20:5010".parse().ok()));
    call.agree(Side::B, "INVITE", &audio(PBX, 5000), &audio(PHONE, 4000));
    let (a, _) = call.rules().remove(0);
    assert!(a.rtp_only && a.payload_types == [0, 101], "{speech}");
    // A line of its own beside the audio, which goes off; then back.
    let beside = |host, audio, image| {
        session(host, &format!("m=audio {audio} RTP/AVP 0 101\nm=image {image} udptl t38\n"))
    };
    call.agree(Side::A, "INVITE", &beside(PHONE, 0, 4010), &beside(PBX, 0, 5010));
    let rules = call.rules();
    assert_eq!((rules.len(), rules[0].0.rtp_only), (1, false), "one pair, that of the fax");
    let (asked, _) = call.agree(Side::A, "INVITE", &beside(PHONE, 4000, 0), &beside(PBX, 5000, 0));
    assert!(asked.contains("m=image 0 udptl t38"), "{asked}");
    let rules = call.rules();
    assert_eq!((rules.len(), rules[0].0.rtp_only), (1, true));
    let world = call.end();
    let kinds: Vec<_> = world.cdrs()[0].media.iter().map(|stream| stream.kind.name()).collect();
    assert_eq!(kinds, ["audio", "image"]);
}

/// "end: BYE, CANCEL, failure, session timer, no media for `idle_timeout` | freed, TURN permissions revoked"
#[test]
fn end() {
    let public = || (audio(PHONE, 4000), audio("198.51.100.9", 5000));
    let is_free = |call: &mut Scene, how: &str| {
        let status = call.world.status();
        assert_eq!((status.calls, status.relay.pairs), (0, 0), "{how}");
        assert_eq!(call.world.call_peers(), [""; 0], "TURN permissions, {how}");
        call.world.assert_clean();
    };
    let (offer, answer) = public();
    let established = || {
        let call = Scene::established(&offer, &answer);
        assert_eq!((call.pairs(), call.world.call_peers().len()), (1, 4));
        call
    };
    let mut call = established();
    let mut leg = call.a.clone().unwrap();
    hang_up(&mut call.world, &mut leg, &call.pbx.clone());
    is_free(&mut call, "BYE");

    let mut call = Scene::ringing(&offer);
    assert_eq!((call.pairs(), call.world.call_peers().len()), (1, 2));
    call.cancel(&call.seen.clone());
    is_free(&mut call, "CANCEL");

    let mut call = Scene::ringing(&offer);
    call.world.send(&call.pbx.clone(), ua::response(&call.seen, "486 Busy Here", "t", "", ""));
    is_free(&mut call, "failure");

    let mut call = Scene::ringing_with(|_| {}, "Supported: timer\r\nSession-Expires: 600\r\n", &offer);
    let expires = "Require: timer\r\nSession-Expires: 600;refresher=uac\r\n";
    call.respond("200 OK", "t", expires, &answer);
    assert_eq!((call.pairs(), header(&call.came, "Session-Expires")), (1, "600;refresher=uac"));
    call.ask(Side::A, "ACK", "");
    call.world.pass(Duration::from_secs(599));
    assert_eq!(call.pairs(), 1);
    call.world.pass(Duration::from_secs(1));
    assert_eq!(call.pairs(), 0);
    byes(&mut call);
    is_free(&mut call, "session timer");
    assert_eq!(call.world.cdrs()[0].end, "session expired");

    let mut call = established();
    call.world.fall_silent();
    byes(&mut call);
    is_free(&mut call, "no media");
}

/// Both ends are hung up, and say that they heard it.
fn byes(call: &mut Scene) {
    for end in [call.phone, call.pbx] {
        let bye = call.world.expect(&end, "BYE");
        call.world.send(&end, ua::response(&bye, "200 OK", "", "", ""));
    }
}

/// "SDP that points at a private, loopback, multicast or our own signalling address from an untrusted zone | never a
/// destination for media"
#[test]
fn sdp_that_points_where_it_must_not() {
    let elsewhere = [
        "10.20.0.20",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.1",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
    ];
    for host in elsewhere {
        let mut call = Scene::established(&audio(host, 4000), &audio(PBX, 5000));
        assert_eq!(call.media_goes_to(Side::A), None, "{host}");
        call.agree(Side::B, "INVITE", &audio(PBX, 5000), &audio(host, 4000));
        assert_eq!(call.media_goes_to(Side::A), None, "{host}, in an answer");
        let (a, _) = call.rules().remove(0);
        assert_eq!((a.rtcp, a.send_before_latch), (None, false), "{host}");
        call.end();
    }
    // What listens for SIP there would be sent media.
    for own in ["203.0.113.10:5060", "203.0.113.10:5061", "203.0.113.11:5060"] {
        let (host, port) = own.rsplit_once(':').unwrap();
        let call = Scene::established(&audio(host, port.parse().unwrap()), &audio(PBX, 5000));
        assert_eq!(call.media_goes_to(Side::A), None, "{own}");
        call.end();
    }
}
