//! Malformed SDP (AST-2018-002, AST-2018-003 and kin).

use super::*;
use crate::harness::{answer, request, status, with_body};

/// What has hurt others, each with what is the matter; they stand in the body in place of `m=` and what follows, or for the whole.
/// None of them may be read one way here and another way by the PBX.
const SHAPES: [(&str, &str); 17] = [
    ("no body at all but a type", "\r\n"),
    ("a section without a port", "m=audio\r\n"),
    ("a port that is no number", "m=audio port RTP/AVP 0\r\n"),
    ("a negative port", "m=audio -4000 RTP/AVP 0\r\n"),
    ("a port beyond 65535", "m=audio 69536 RTP/AVP 0\r\n"),
    ("a port that wraps", "m=audio 4294971296 RTP/AVP 0\r\n"),
    ("several ports", "m=audio 4000/1000000 RTP/AVP 0\r\n"),
    ("no payload type (AST-2018-002)", "m=audio 4000 RTP/AVP\r\n"),
    ("a payload type beyond 127 (AST-2018-002)", "m=audio 4000 RTP/AVP 4294967295\r\n"),
    ("a payload type that is no number", "m=audio 4000 RTP/AVP 0 %n%n%n\r\n"),
    (
        "two addresses in one section",
        "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.66\r\n",
    ),
    ("an address of the other family", "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 ::1\r\n"),
    ("an address with a part too large", "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 127.0.0.256\r\n"),
    ("a NUL", "m=audio 4000 RTP/AVP 0\r\na=x\0y\r\n"),
    ("a CR that hides a line", "m=audio 4000 RTP/AVP 0\r\na=x\rc=IN IP4 127.0.0.66\r\n"),
    (
        "a blank line, and a second body behind",
        "m=audio 4000 RTP/AVP 0\r\n\r\nv=0\r\nm=audio 4002 RTP/AVP 0\r\n",
    ),
    ("a thousand sections", "m=audio 4000 RTP/AVP 0\r\n"),
];

fn body(shape: &str, lines: &str) -> String {
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
    match shape {
        "no body at all but a type" => lines.to_owned(),
        "a thousand sections" => head.to_owned() + &lines.repeat(1000),
        _ => head.to_owned() + lines,
    }
}

#[test]
fn malformed_offers_are_refused_and_the_pbx_sees_none() {
    let edge = Edge::new(|_, _| ());
    let phone = edge.phone();
    let uri = format!("sip:200@{}", phone.to);
    for (shape, lines) in SHAPES {
        let invite = with_body(&request("INVITE", &uri, Transport::Udp, phone.addr()), &body(shape, lines));
        phone.send(&invite);
        let refusal = phone.receive_final();
        assert!([400, 488].contains(&status(&refusal)), "{shape}: {refusal}");
        eventually("no pair", || edge.node.status().unwrap().edge.relay.pairs == 0);
    }
    assert_silent(&edge.pbx.as_ref().unwrap().socket);
    edge.assert_served();
}

#[test]
fn malformed_answers_end_the_call_on_both_sides_and_leave_nothing() {
    let mut edge = Edge::new(|_, _| ());
    let (phone, pbx) = (edge.phone(), edge.pbx.take().unwrap());
    let uri = format!("sip:200@{}", phone.to);
    let media = Endpoint::new();
    for (shape, lines) in SHAPES {
        phone.send(&with_body(&request("INVITE", &uri, Transport::Udp, phone.addr()), &media.sdp()));
        let invite = pbx.receive_request("INVITE");
        pbx.send(&answer(&invite, "200 OK", pbx.addr(), &body(shape, lines)));
        let refusal = phone.receive_final();
        assert!(status(&refusal) >= 400, "{shape}: {refusal}");
        let bye = pbx.receive_request("BYE");
        pbx.send(&answer(&bye, "200 OK", pbx.addr(), ""));
        eventually("nothing left", || {
            let status = node_status(&edge);
            (status.relay.pairs, status.calls) == (0, 0)
        });
    }
    edge.assert_served();
}

fn node_status(edge: &Edge) -> turnpike::edge::Status {
    edge.node.status().unwrap().edge
}

/// Where nothing has to be rewritten, nothing is read.
#[test]
fn without_a_relay_malformed_sdp_passes_unread() {
    let edge = Edge::new(|phones, office| {
        phones.anchor = turnpike::edge::settings::Anchor::Never;
        office.anchor = turnpike::edge::settings::Anchor::Never;
    });
    let (phone, pbx) = (edge.phone(), edge.pbx.as_ref().unwrap());
    let uri = format!("sip:200@{}", phone.to);
    let sdp = body("", "m=audio 69536 RTP/AVP 4294967295\r\na=fmtp:\r\n");
    phone.send(&with_body(&request("INVITE", &uri, Transport::Udp, phone.addr()), &sdp));
    let invite = pbx.receive_request("INVITE");
    assert!(invite.ends_with(&sdp), "{invite}");
    pbx.send(&answer(&invite, "488 Not Acceptable Here", pbx.addr(), ""));
    assert_eq!(status(&phone.receive_final()), 488);
    edge.assert_served();
}
