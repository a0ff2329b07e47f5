mod malformed;
mod oracle;
mod properties;

use super::*;

pub(crate) const SAMPLES: [(&str, &str); 7] = [
    ("asterisk", include_str!("../../../tests/rfc3264/samples/asterisk.sdp")),
    ("baresip", include_str!("../../../tests/rfc3264/samples/baresip.sdp")),
    ("chrome", include_str!("../../../tests/rfc3264/samples/chrome.sdp")),
    ("firefox", include_str!("../../../tests/rfc3264/samples/firefox.sdp")),
    ("freeswitch", include_str!("../../../tests/rfc3264/samples/freeswitch.sdp")),
    ("linphone", include_str!("../../../tests/rfc3264/samples/linphone.sdp")),
    ("t38", include_str!("../../../tests/rfc3264/samples/t38.sdp")),
];

fn ice(candidate: bool) -> IceEdit {
    if candidate { IceEdit::Append { instead_of: vec![] } } else { IceEdit::Keep }
}

fn relay(rtp: &str, rtcp_port: u16, candidate: bool) -> MediaEdit {
    let rtp: SocketAddr = rtp.parse().unwrap();
    MediaEdit::Relay { rtp, rtcp: SocketAddr::new(rtp.ip(), rtcp_port), ice: ice(candidate), keying: None }
}

/// One pair per section: 40000, 40002, …
fn relay_all(body: &str, candidate: bool) -> Vec<MediaEdit> {
    let sections = body.matches("m=").count() as u16;
    let rtp = |n| format!("203.0.113.10:{}", 40_000 + 2 * n);
    (0..sections).map(|n| relay(&rtp(n), 40_001 + 2 * n, candidate)).collect()
}

fn rewrite_bytes(body: &[u8], edits: &[MediaEdit]) -> Vec<u8> {
    let mut out = Vec::new();
    Session::parse(body).unwrap().rewrite(edits, &mut out);
    out
}

/// Rewrites, and checks on the way that doing it again changes nothing.
fn rewritten(body: &str, edits: &[MediaEdit]) -> String {
    let out = rewrite_bytes(body.as_bytes(), edits);
    let again = rewrite_bytes(&out, edits);
    let (out, again) = (String::from_utf8(out).unwrap(), String::from_utf8(again).unwrap());
    assert_eq!(out, again, "not idempotent");
    out
}

/// Lines that went and came, the way `diff` shows them: a longest common subsequence stays.
fn diff(before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let mut common = vec![vec![0; after.len() + 1]; before.len() + 1];
    for (old, new) in
        (0..before.len()).rev().flat_map(|old| (0..after.len()).rev().map(move |new| (old, new)))
    {
        common[old][new] = match before[old] == after[new] {
            true => common[old + 1][new + 1] + 1,
            false => common[old + 1][new].max(common[old][new + 1]),
        };
    }
    let (mut old, mut new, mut text) = (0, 0, String::new());
    while old < before.len() || new < after.len() {
        if before.get(old).is_some() && before.get(old) == after.get(new) {
            (old, new) = (old + 1, new + 1);
        } else if new == after.len() || (old < before.len() && common[old + 1][new] >= common[old][new + 1]) {
            text += &format!("-{}\n", before[old]);
            old += 1;
        } else {
            text += &format!("+{}\n", after[new]);
            new += 1;
        }
    }
    text
}

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\n";

#[test]
fn real_offers_change_only_in_the_lines_that_are_ours() {
    for (name, body) in SAMPLES {
        let body = body.replace('\n', "\r\n");
        let edits = relay_all(&body, name == "chrome" || name == "firefox");
        insta::assert_snapshot!(name, diff(&body, &rewritten(&body, &edits)));
    }
}

#[test]
fn what_a_chrome_offer_says() {
    let (_, body) = SAMPLES[2];
    let session = Session::parse(body.as_bytes()).unwrap();
    assert_eq!(session.origin_host(), Some("127.0.0.1".parse().unwrap()));
    assert!(session.has_bundle());
    let [media] = session.media() else { panic!("one section") };
    assert_eq!((media.kind, media.protocol, media.port), (&b"audio"[..], &b"UDP/TLS/RTP/SAVPF"[..], 52876));
    assert_eq!(media.rtp, Some("192.0.2.44:52876".parse().unwrap()));
    assert_eq!(media.rtcp, Some("192.0.2.44:52877".parse().unwrap()));
    assert_eq!(media.payload_types, [111, 63, 9, 0, 8, 13, 110, 126]);
    assert!(media.rtcp_mux && media.ice && media.is_rtp() && media.is_dtls() && media.is_udp());
    assert_eq!((media.direction, media.mid), (Direction::SendRecv, Some(&b"0"[..])));
}

#[test]
fn a_section_inherits_what_the_session_says() {
    let body = format!(
        "{HEAD}c=IN IP6 2001:db8::1\r\nt=0 0\r\na=inactive\r\na=ice-ufrag:u\r\nm=audio 4000 RTP/AVP 0\r\na=ice-pwd:p\r\n\
         m=video 4002 RTP/AVP 96\r\na=recvonly\r\na=rtcp:5000\r\nm=audio 65535 RTP/AVP 0\r\nc=IN IP4 host.example\r\n"
    );
    let session = Session::parse(body.as_bytes()).unwrap();
    let [audio, video, named] = session.media() else { panic!("three sections") };
    assert_eq!(audio.rtcp, Some("[2001:db8::1]:4001".parse().unwrap()));
    assert_eq!((audio.direction, audio.ice), (Direction::Inactive, true));
    assert_eq!(video.rtcp, Some("[2001:db8::1]:5000".parse().unwrap()));
    assert_eq!((video.direction, video.ice), (Direction::RecvOnly, false));
    assert_eq!((named.rtp, named.rtcp, named.port), (None, None, 65535));
}

#[test]
fn the_session_address_is_rewritten_only_when_all_that_live_on_it_are_ours() {
    let body =
        format!("{HEAD}c=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 96\r\n");
    let a = relay("203.0.113.10:40000", 40001, false);
    let b = relay("203.0.113.11:40002", 40003, false);
    let both = rewritten(&body, &[a.clone(), relay("203.0.113.10:40002", 40003, false)]);
    assert_eq!(
        diff(&body, &both),
        "-c=IN IP4 10.0.0.1\n+c=IN IP4 203.0.113.10\n-m=audio 4000 RTP/AVP 0\n-m=video 4002 RTP/AVP 96\n\
         +m=audio 40000 RTP/AVP 0\n+m=video 40002 RTP/AVP 96\n"
    );
    let different = rewritten(&body, &[a.clone(), b]);
    assert!(different.contains("\r\nc=IN IP4 203.0.113.10\r\nt=0 0"));
    assert!(
        different
            .ends_with("m=audio 40000 RTP/AVP 0\r\nm=video 40002 RTP/AVP 96\r\nc=IN IP4 203.0.113.11\r\n")
    );
    let one_kept = rewritten(&body, &[a, MediaEdit::Keep]);
    assert!(one_kept.contains("\r\nc=IN IP4 10.0.0.1\r\nt=0 0"));
    assert!(
        one_kept.ends_with("m=audio 40000 RTP/AVP 0\r\nc=IN IP4 203.0.113.10\r\nm=video 4002 RTP/AVP 96\r\n")
    );
}

#[test]
fn a_session_address_that_nobody_uses_is_not_shown_to_the_other_side() {
    let body = format!("{HEAD}c=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.2\r\n");
    let out = rewritten(&body, &[relay("203.0.113.10:40000", 40001, false)]);
    assert_eq!(out.matches("c=IN IP4 203.0.113.10").count(), 2);
}

#[test]
fn an_address_is_added_where_none_was_said_after_the_title() {
    let body = format!("{HEAD}t=0 0\r\nm=audio 4000 RTP/AVP 0\r\ni=title\r\nb=AS:64\r\n");
    let out = rewritten(&body, &[relay("[2001:db8::7]:40000", 40001, false)]);
    assert!(out.ends_with("m=audio 40000 RTP/AVP 0\r\ni=title\r\nc=IN IP6 2001:db8::7\r\nb=AS:64\r\n"));
}

#[test]
fn hold_by_address_stays_hold() {
    let families = [("c=IN IP4 0.0.0.0", "203.0.113.10:40000"), ("c=IN IP6 ::", "[2001:db8::7]:40000")];
    for (index, (hold, ours)) in families.into_iter().enumerate() {
        let media = |hold: &str| {
            format!("{HEAD}t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n{hold}\r\na=rtcp:4001 {}\r\n", &hold[2..])
        };
        let out = rewritten(&media(hold), &[relay(ours, 40001, false)]);
        assert_eq!(out, media(hold).replace("400", "4000"));
        let session =
            format!("{HEAD}{hold}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001 {}\r\n", &hold[2..]);
        let out = rewritten(&session, &[relay(ours, 40001, false)]);
        assert_eq!(out, session.replace("400", "4000"));
        // Towards an endpoint of the other family, in that one.
        let (other, other_family) = families[1 - index];
        let out = rewritten(&media(hold), &[relay(other_family, 40001, false)]);
        assert_eq!(out, media(other).replace("400", "4000"));
        let out = rewritten(&session, &[relay(other_family, 40001, false)]);
        assert!(out.contains(&format!("RTP/AVP 0\r\n{other}\r\na=rtcp:40001 {}\r\n", &other[2..])), "{out}");
    }
}

#[test]
fn hold_of_one_stream_leaves_the_others() {
    let body = format!(
        "{HEAD}c=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 96\r\nc=IN IP4 10.0.0.1\r\n"
    );
    let out = rewritten(&body, &relay_all(&body, false));
    assert!(out.contains("c=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\nm=video 40002 RTP/AVP 96\r\nc=IN IP4 203.0.113.10\r\n"));
}

#[test]
fn port_zero_and_reject() {
    let body = format!(
        "{HEAD}t=0 0\r\nm=audio 0 RTP/AVP 0\r\nc=IN IP4 10.0.0.1\r\nm=video 4002/1 RTP/AVP 96\r\nc=IN IP4 10.0.0.1\r\n"
    );
    let edits = [relay("203.0.113.10:40000", 40001, true), MediaEdit::Reject];
    assert_eq!(rewritten(&body, &edits), body.replace("4002/1", "0/1"));
    assert_eq!(rewritten(&body, &[MediaEdit::Reject, MediaEdit::Keep]), body);
    assert_eq!(rewritten(&body, &[]), body);
}

#[test]
fn rtcp_keeps_its_form_and_is_added_only_where_the_port_does_not_follow() {
    let with = |rtcp: &str| format!("{HEAD}t=0 0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.1\r\n{rtcp}");
    let edit = |rtcp| [relay("203.0.113.10:40000", rtcp, false)];
    assert!(rewritten(&with("a=rtcp:4007\r\n"), &edit(40001)).ends_with("a=rtcp:40001\r\n"));
    let long = rewritten(&with("a=rtcp:4007 IN IP6 2001:db8::1\r\na=x\r\n"), &edit(40001));
    assert!(long.ends_with("a=rtcp:40001 IN IP4 203.0.113.10\r\na=x\r\n"));
    assert!(!rewritten(&with(""), &edit(40001)).contains("a=rtcp"));
    assert!(rewritten(&with("a=x\r\n"), &edit(40009)).ends_with("a=x\r\na=rtcp:40009\r\n"));
    let elsewhere = MediaEdit::Relay {
        rtp: "203.0.113.10:40000".parse().unwrap(),
        rtcp: "[2001:db8::7]:40001".parse().unwrap(),
        ice: IceEdit::Keep,
        keying: None,
    };
    assert!(rewritten(&with(""), &[elsewhere]).ends_with("a=rtcp:40001 IN IP6 2001:db8::7\r\n"));
    let fax = format!("{HEAD}t=0 0\r\nm=image 4000 udptl t38\r\nc=IN IP4 10.0.0.1\r\n");
    assert!(!rewritten(&fax, &edit(40009)).contains("a=rtcp"), "no RTP, no RTCP");
}

#[test]
fn line_ends_stay_as_they_are() {
    let edits = [relay("203.0.113.10:40000", 40009, true)];
    let lf = rewritten("v=0\nt=0 0\nm=audio 4000 RTP/AVP 0\na=x", &edits);
    assert!(!lf.contains('\r') && !lf.ends_with('\n'));
    assert!(lf.contains("m=audio 40000 RTP/AVP 0\nc=IN IP4 203.0.113.10\na=x\na=rtcp:40009\na=candidate:"));
    let crlf = rewritten("v=0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0", &edits);
    assert!(
        crlf.contains("RTP/AVP 0\r\nc=IN IP4 203.0.113.10\r\na=rtcp:40009\r\na=candidate:")
            && !crlf.ends_with('\n')
    );
    let mixed = rewritten("v=0\nm=audio 4000 RTP/AVP 0\r\na=x\n", &edits);
    assert!(
        mixed.starts_with("v=0\nm=audio 40000 RTP/AVP 0\r\nc=IN IP4 203.0.113.10\r\na=x\na=rtcp:40009\n")
    );
    let blank = rewritten("v=0\r\nm=audio 4000 RTP/AVP 0\r\n\r\n\r\n", &edits);
    assert!(blank.ends_with("rport 9\r\n\r\n\r\n"));
}

#[test]
fn what_we_cannot_read_passes_byte_for_byte() {
    let body = b"v=0\r\nz=\xff\xfe\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.1\r\na=\xc3\x28:\xff\r\nx=\r\na=rtcp-fb:* nack\r\n";
    let out = rewrite_bytes(body, &[relay("203.0.113.10:40000", 40001, false)]);
    let want = b"v=0\r\nz=\xff\xfe\r\nm=audio 40000 RTP/AVP 0\r\nc=IN IP4 203.0.113.10\r\na=\xc3\x28:\xff\r\nx=\r\na=rtcp-fb:* nack\r\n";
    assert_eq!(out, want);
}
