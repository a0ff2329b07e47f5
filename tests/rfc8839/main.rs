//! ICE in offers and answers (RFC 8839): our relayed address as a candidate beside the endpoint's own.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

use std::net::SocketAddr;

use turnpike::sdp::{MediaEdit, Session};

const CHROME: &str = include_str!("../rfc3264/samples/chrome.sdp");
const RTP: &str = "203.0.113.10:40000";

fn edit(rtp: &str) -> [MediaEdit; 1] {
    let rtp: SocketAddr = rtp.parse().unwrap();
    [MediaEdit::Relay {
        rtp,
        rtcp: SocketAddr::new(rtp.ip(), rtp.port() + 1),
        candidate: true,
        instead_of: vec![],
    }]
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
