//! ICE in offers and answers (RFC 8839): our relayed address as a candidate beside the endpoint's own.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

use std::net::SocketAddr;

use turnpike::ice::Credentials;
use turnpike::sdp::{IceEdit, MediaEdit, Session};

const CHROME: &str = include_str!("../rfc3264/samples/chrome.sdp");
const RTP: &str = "203.0.113.10:40000";

fn edit(rtp: &str) -> [MediaEdit; 1] {
    edit_with(rtp, IceEdit::Append { instead_of: vec![] })
}

fn edit_with(rtp: &str, ice: IceEdit) -> [MediaEdit; 1] {
    let rtp: SocketAddr = rtp.parse().unwrap();
    [MediaEdit::Relay { rtp, rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1), ice, keying: None }]
}

fn rewritten(body: &str, edits: &[MediaEdit]) -> String {
    let mut out = Vec::new();
    Session::parse(body.as_bytes()).unwrap().rewrite(edits, &mut out);
    String::from_utf8(out).unwrap()
}

fn candidates(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("a=candidate:")).collect()
}

/// Foundation, component, priority, address, port and type of a candidate (RFC 8839 §5.1).
fn fields(candidate: &str) -> [&str; 6] {
    let all: Vec<&str> = candidate.split(' ').collect();
    [all[0], all[1], all[3], all[4], all[5], all[7]]
}

#[test]
fn the_default_destination_is_a_candidate() {
    let out = rewritten(CHROME, &edit(RTP));
    let session = Session::parse(out.as_bytes()).unwrap();
    let media = &session.media()[0];
    for (component, default) in [("1", media.rtp.unwrap()), ("2", media.rtcp.unwrap())] {
        let (ip, port) = (default.ip().to_string(), default.port().to_string());
        let matches = |c: &&&str| fields(c)[1] == component && fields(c)[3] == ip && fields(c)[4] == port;
        assert_eq!(
            candidates(&out).iter().filter(matches).count(),
            1,
            "RFC 8839 §4.2.5: else ICE is dropped"
        );
    }
}

#[test]
fn the_endpoints_own_candidates_stay_and_win_by_priority() {
    let out = rewritten(CHROME, &edit(RTP));
    let (before, after) = (candidates(CHROME), candidates(&out));
    assert_eq!(after[..before.len()], before[..], "ours come last");
    let priority = |candidate: &&str| fields(candidate)[2].parse::<u32>().unwrap();
    let lowest = before.iter().map(priority).min().unwrap();
    assert!(after[before.len()..].iter().all(|ours| priority(ours) < lowest));
    for line in [
        "a=ice-ufrag:khLS",
        "a=ice-pwd:cxLzteJaJBou3DspNaPsJhlQ",
        "a=setup:actpass",
        "a=mid:0",
        "a=group:BUNDLE 0",
    ] {
        assert!(out.contains(&format!("{line}\n")), "{line}");
    }
}

#[test]
fn whose_relay_it_is_is_not_shown() {
    assert!(rewritten(CHROME, &edit(RTP)).contains(" typ relay raddr 0.0.0.0 rport 9\n"));
    let v6 = rewritten(CHROME, &edit("[2001:db8::10]:40000"));
    assert!(v6.contains("2001:db8::10 40000 typ relay raddr :: rport 9\n"));
}

#[test]
fn the_foundation_is_nobody_elses() {
    let taken = CHROME
        .replace("candidate:435653019 ", "candidate:relay0 ")
        .replace("candidate:1853887674 1", "candidate:relay41 1");
    let out = rewritten(&taken, &edit(RTP));
    assert_eq!(candidates(&out).into_iter().filter(|c| c.starts_with("relay42 ")).count(), 2);
}

#[test]
fn another_relays_candidate_is_not_taken_for_ours() {
    let theirs = "a=candidate:relay0 1 udp 16777215 198.51.100.99 40000 typ relay raddr 0.0.0.0 rport 9\n";
    let cascaded = CHROME.replace("a=ice-ufrag", &format!("{theirs}a=ice-ufrag"));
    let out = rewritten(&cascaded, &edit(RTP));
    assert!(out.contains(theirs) && out.contains("relay1 1 udp 16777215 203.0.113.10 40000"), "{out}");
    assert_eq!(rewritten(&out, &edit(RTP)), out, "ours is");
}

#[test]
fn one_component_where_one_is_enough() {
    let ours = |body: &str| {
        candidates(&rewritten(body, &edit(RTP))).into_iter().filter(|c| c.starts_with("relay")).count()
    };
    let answer: String =
        CHROME.lines().filter(|line| !line.contains(" 2 udp ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(ours(&answer), 1, "rtcp-mux and no fall-back to two ports");
    assert_eq!(ours(&answer.replace("a=rtcp-mux\n", "")), 2);
    let data = "v=0\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=ice-ufrag:u\na=ice-pwd:p\n";
    assert_eq!(ours(data), 1, "no RTP, no RTCP");
}

#[test]
fn candidates_still_to_come_are_no_hold() {
    let trickle = "v=0\nt=0 0\nm=audio 9 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP4 0.0.0.0\na=ice-ufrag:u\na=ice-pwd:p\na=x\n";
    let want = "v=0\nt=0 0\nm=audio 40000 RTP/AVP 0\nc=IN IP4 203.0.113.10\na=rtcp:40001 IN IP4 203.0.113.10\na=ice-ufrag:u\n\
                a=ice-pwd:p\na=candidate:relay0 1 udp 16777215 203.0.113.10 40000 typ relay raddr 0.0.0.0 rport 9\n\
                a=candidate:relay0 2 udp 16777214 203.0.113.10 40001 typ relay raddr 0.0.0.0 rport 9\na=x\n";
    assert_eq!(rewritten(trickle, &edit(RTP)), want);
}

#[test]
fn a_relay_candidate_that_ours_stands_for_goes() {
    let got = |component: u8, port: u16| {
        format!(
            "a=candidate:t {component} udp 41819903 203.0.113.9 {port} typ relay raddr 192.0.2.44 rport 52876\n"
        )
    };
    let both = got(1, 5000) + &got(2, 5001);
    let edits = |ports: &[u16]| {
        let at = |port: &u16| SocketAddr::new("203.0.113.9".parse().unwrap(), *port);
        edit_with(RTP, IceEdit::Append { instead_of: ports.iter().map(at).collect() })
    };
    let plain = rewritten(CHROME, &edit(RTP));
    for slot in ["a=candidate:1467250027 1", "a=ice-ufrag"] {
        let offer = CHROME.replacen(slot, &format!("{both}{slot}"), 1);
        assert_eq!(rewritten(&offer, &edits(&[5000, 5001])), plain, "wherever it stands");
        let one = rewritten(&offer, &edits(&[5000]));
        assert_eq!(one.replacen(&got(2, 5001), "", 1), plain, "the other one is somebody else's");
        assert_ne!(one, plain);
    }
    let last = CHROME.to_owned()
        + "m=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.44\na=ice-ufrag:u\na=ice-pwd:p\n"
        + both.trim_end();
    let [first] = edits(&[]);
    let [second] = edits(&[5000, 5001]);
    let out = rewritten(&last, &[first.clone(), second.clone()]);
    assert!(!out.contains("203.0.113.9") && !out.contains("\n\n"), "{out}");
    assert_eq!(rewritten(&out, &[first, second]), out);
}

#[test]
fn candidates_are_read_as_far_as_media_goes() {
    let session = Session::parse(CHROME.as_bytes()).unwrap();
    let read: Vec<_> =
        session.candidates(0).map(|c| (c.component().unwrap(), c.udp().map(|at| at.to_string()))).collect();
    let at = |text: &str| Some(text.to_owned());
    assert_eq!(
        read,
        [
            (1, at("192.168.1.40:46243")),
            (2, at("192.168.1.40:56280")),
            (1, None),
            (1, at("192.0.2.44:52876")),
            (2, at("192.0.2.44:52877")),
        ]
    );
    let mdns = CHROME.replacen("192.168.1.40 46243", "8f4e6d1c.local 46243", 1);
    assert_eq!(Session::parse(mdns.as_bytes()).unwrap().candidates(0).next().and_then(|c| c.udp()), None);
    assert_eq!(session.candidates(1).count(), 0, "there is no such section");
}

/// Every line of ICE there is, for the session and for a section.
const MUCH_ICE: &str = "v=0\no=- 1 1 IN IP4 192.0.2.44\ns=-\nc=IN IP4 192.0.2.44\nt=0 0\na=ice-lite\na=ice-options:trickle\na=x\n\
    a=ice-ufrag:them\nm=audio 4000 RTP/AVP 0\na=icy:1\na=ice-pwd:theirpasswordtheirpassword\n\
    a=candidate:1 1 udp 2130706431 192.0.2.44 4000 typ host\na=rtcp:4001\na=end-of-candidates\n\
    a=remote-candidates:1 192.0.2.45 5000\na=ice-mismatch\na=mid:0\n";

#[test]
fn strip_leaves_no_line_of_ice_and_every_other() {
    let want = "v=0\no=- 1 1 IN IP4 192.0.2.44\ns=-\nc=IN IP4 203.0.113.10\nt=0 0\na=x\nm=audio 40000 RTP/AVP 0\na=icy:1\n\
                a=rtcp:40001\na=mid:0\n";
    assert_eq!(rewritten(MUCH_ICE, &edit_with(RTP, IceEdit::Strip)), want);
    assert_eq!(rewritten(want, &edit_with(RTP, IceEdit::Strip)), want);
}

fn lite() -> [MediaEdit; 1] {
    edit_with(RTP, IceEdit::Lite(Credentials::read(b"ours", b"ourpasswordourpassword").unwrap()))
}

#[test]
fn terminate_says_what_a_lite_agent_says_and_nothing_of_the_other_side() {
    let want = "v=0\no=- 1 1 IN IP4 192.0.2.44\ns=-\nc=IN IP4 203.0.113.10\nt=0 0\na=ice-lite\na=ice-options:ice2\na=x\n\
                m=audio 40000 RTP/AVP 0\na=icy:1\na=ice-ufrag:ours\na=ice-pwd:ourpasswordourpassword\n\
                a=candidate:1 1 udp 2130706431 203.0.113.10 40000 typ host\n\
                a=candidate:1 2 udp 2130706430 203.0.113.10 40001 typ host\na=rtcp:40001\na=mid:0\n";
    assert_eq!(rewritten(MUCH_ICE, &lite()), want);
    assert_eq!(rewritten(want, &lite()), want, "what is ours is not said twice");
}

#[test]
fn terminate_adds_what_a_plain_body_does_not_have() {
    let plain = "v=0\r\nc=IN IP4 192.0.2.44\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp-mux";
    let want = "v=0\r\nc=IN IP4 203.0.113.10\r\na=ice-lite\r\na=ice-options:ice2\r\nm=audio 40000 RTP/AVP 0\r\na=rtcp-mux\r\n\
                a=ice-ufrag:ours\r\na=ice-pwd:ourpasswordourpassword\r\n\
                a=candidate:1 1 udp 2130706431 203.0.113.10 40000 typ host";
    assert_eq!(rewritten(plain, &lite()), want, "one component with rtcp-mux (RFC 5761 §5.1.3)");
    assert_eq!(rewritten(want, &lite()), want);
}

#[test]
fn relay_only_shows_no_candidate_but_ours() {
    let edit = edit_with(RTP, IceEdit::RelayOnly);
    let out = rewritten(CHROME, &edit);
    assert_eq!(candidates(&out).into_iter().map(|c| fields(c)[5]).collect::<Vec<_>>(), ["relay", "relay"]);
    assert!(out.contains("a=ice-ufrag:khLS\n") && !out.contains("192.168.1.40"), "{out}");
    assert_eq!(rewritten(&out, &edit), out);
}

/// RFC 8840 §4.1.1: no more are to come; ours stands before it.
#[test]
fn the_end_of_candidates_stays_and_ours_is_among_them() {
    let out = rewritten(&(CHROME.to_owned() + "a=end-of-candidates\n"), &edit(RTP));
    assert!(out.ends_with("a=end-of-candidates\n"), "{out}");
    let none_of_its_own = "v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=rtcp-mux\na=ice-ufrag:u\na=ice-pwd:p\n\
                           a=ice-options:trickle\na=end-of-candidates\n";
    let out = rewritten(none_of_its_own, &edit(RTP));
    let want = "a=ice-options:trickle\na=candidate:relay0 1 udp 16777215 203.0.113.10 40000 typ relay raddr 0.0.0.0 rport 9\n\
                a=end-of-candidates\n";
    assert!(out.ends_with(want), "{out}");
}

#[test]
fn each_family_is_written_as_it_is() {
    let ice = Credentials::read(b"ours", b"ourpasswordourpassword").unwrap();
    let out = rewritten(CHROME, &edit_with("[2001:db8::10]:40000", IceEdit::Lite(ice)));
    let hosts = candidates(&out);
    assert_eq!(hosts, ["1 1 udp 2130706431 2001:db8::10 40000 typ host"]);
    assert!(out.contains("c=IN IP6 2001:db8::10\n"), "{out}");
}

#[test]
fn a_section_may_lose_its_ice_and_nothing_else() {
    let edits = [MediaEdit::WithoutIce];
    let want = "v=0\no=- 1 1 IN IP4 192.0.2.44\ns=-\nc=IN IP4 192.0.2.44\nt=0 0\na=x\nm=audio 4000 RTP/AVP 0\na=icy:1\n\
                a=rtcp:4001\na=mid:0\n";
    assert_eq!(rewritten(MUCH_ICE, &edits), want);
    assert_eq!(rewritten(want, &edits), want);
    assert!(!rewritten(MUCH_ICE, &[MediaEdit::Reject]).contains("candidate"), "what is refused does no ICE");
}
