//! What each method carries passes between a phone over TLS and a PBX over UDP, either way, in calls and outside of them; at the level of
//! the edge alone, with and without topology hiding, that is tests/edge/methods.rs.

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;

use crate::harness::*;
use crate::sip_attacks::dialogs::{Known, call, hang_up};
use crate::sip_attacks::{Attacked, Peer};

/// A method, and what it cannot do without.
const METHODS: [(&str, &str); 8] = [
    ("MESSAGE", "Expires: 60"),
    ("INFO", "Info-Package: dtmf"),
    ("PUBLISH", "SIP-If-Match: 7"),
    ("SUBSCRIBE", "Event: dialog;id=1"),
    ("NOTIFY", "Subscription-State: active;expires=599"),
    ("REFER", "Refer-To: <sip:+4930@example.com?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>"),
    ("UPDATE", "Session-Expires: 1800;refresher=uac"),
    ("OPTIONS", "Accept: application/sdp"),
];
const BODY: &str = "what it says is not for us\r\n";

fn edges() -> [Attacked; 2] {
    [false, true].map(|hides| {
        Attacked::with(Admit::Registered, |settings| settings.edge.zones[0].hides_topology = hides)
    })
}

/// A message without a body, with one and with another header field.
fn carrying(text: &str, line: &str) -> String {
    let content =
        format!("{line}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
    text.replacen("Content-Length: 0\r\n\r\n", &content, 1)
}

#[track_caller]
fn is_whole(seen: &str, line: &str) {
    assert!(
        seen.contains(&format!("\r\n{line}\r\n")) && seen.ends_with(&format!("\r\n\r\n{BODY}")),
        "{seen}"
    );
}

/// The phone's request reaches the PBX, and the answer the phone; each with a body.
fn from_phone(edge: &Attacked, phone: &mut Peer, method: &str, text: &str, line: &str) -> String {
    phone.send(&carrying(text, line));
    let seen = edge.next_at_pbx(method);
    is_whole(&seen, line);
    let answered = answer(&seen, "202 Accepted", edge.pbx.addr(), "");
    edge.pbx.send(&carrying(&answered, "X-Answer: yes"));
    is_whole(&phone.expect("SIP/2.0 202"), "X-Answer: yes");
    seen
}

/// And the other way.
fn from_pbx(edge: &Attacked, phone: &mut Peer, method: &str, text: &str, line: &str) {
    edge.pbx.send(&carrying(text, line));
    let seen = phone.expect(method);
    is_whole(&seen, line);
    phone.send(&carrying(&answer(&seen, "202 Accepted", phone.addr, ""), "X-Answer: yes"));
    let told = edge.pbx.receive_final();
    assert_eq!(status(&told), 202);
    is_whole(&told, "X-Answer: yes");
}

#[test]
fn each_method_passes_outside_of_dialogs() {
    for edge in edges() {
        let mut phone = edge.peer([127, 0, 0, 1], Transport::Tls);
        let contact = phone.register(&edge, "alice");
        for (method, line) in METHODS {
            let text = phone.request(method, &format!("sip:200@{}", phone.to), "alice");
            from_phone(&edge, &mut phone, method, &text, line);
            let text = request(method, &contact, Transport::Udp, edge.pbx.addr());
            from_pbx(&edge, &mut phone, method, &text, line);
        }
        assert_eq!(edge.node.status().unwrap().edge.calls, 0);
        edge.still_serves();
    }
}

#[test]
fn each_method_passes_within_a_call() {
    for edge in edges() {
        let mut phone = edge.peer([127, 0, 0, 1], Transport::Tls);
        phone.register(&edge, "tester");
        let [at_phone, at_pbx] = call(&edge, &mut phone);
        for (cseq, (method, line)) in (2..).zip(METHODS).filter(|(_, (method, _))| *method != "PUBLISH") {
            let text = at_phone.request((phone.transport, phone.addr), method, cseq);
            let seen = from_phone(&edge, &mut phone, method, &text, line);
            assert!(values(&seen, "Route").is_empty(), "{seen}");
            let text = at_pbx.request((Transport::Udp, edge.pbx.addr()), method, cseq);
            from_pbx(&edge, &mut phone, method, &text, line);
        }
        hang_up(&edge, &mut phone, &at_phone, 20);
        edge.still_serves();
    }
}

/// RFC 3262, and RFC 3311 §5: a reliable ringing of either side is acknowledged, and its early dialog updated.
#[test]
fn prack_and_update_pass_before_the_answer() {
    let rings = |text: String| text.replacen("Contact:", "Require: 100rel\r\nRSeq: 42\r\nContact:", 1);
    let early = [("PRACK", "RAck: 42 1 INVITE"), ("UPDATE", "Session-Expires: 1800;refresher=uac")];
    for edge in edges() {
        let mut phone = edge.peer([127, 0, 0, 1], Transport::Tls);
        let contact = phone.register(&edge, "alice");
        let invite = phone.request("INVITE", &format!("sip:200@{}", phone.to), "alice");
        phone.send(&invite.replacen("Contact:", "Supported: 100rel\r\nContact:", 1));
        let seen = edge.next_at_pbx("INVITE");
        assert_eq!(values(&seen, "Supported"), ["100rel"]);
        edge.pbx.send(&rings(answer(&seen, "180 Ringing", edge.pbx.addr(), "")));
        let came = phone.expect("SIP/2.0 180");
        assert_eq!((values(&came, "Require"), values(&came, "RSeq")), (vec!["100rel"], vec!["42"]));
        for (cseq, (method, line)) in (2..).zip(early) {
            let text = Known::of_caller(&came).request((phone.transport, phone.addr), method, cseq);
            from_phone(&edge, &mut phone, method, &text, line);
        }
        edge.pbx.send(&answer(&seen, "486 Busy Here", edge.pbx.addr(), ""));
        phone.expect("SIP/2.0 486");

        let invite = request("INVITE", &contact, Transport::Udp, edge.pbx.addr());
        edge.pbx.send(&invite.replacen("Contact:", "Supported: 100rel\r\nContact:", 1));
        let seen = phone.expect("INVITE");
        phone.send(&rings(answer(&seen, "180 Ringing", phone.addr, "")));
        let came = loop {
            let came = edge.pbx.receive();
            if came.starts_with("SIP/2.0 180") {
                break came;
            }
        };
        for (cseq, (method, line)) in (2..).zip(early) {
            let text = Known::of_caller(&came).request((Transport::Udp, edge.pbx.addr()), method, cseq);
            from_pbx(&edge, &mut phone, method, &text, line);
        }
        phone.send(&answer(&seen, "486 Busy Here", phone.addr, ""));
        assert_eq!(status(&edge.pbx.receive_final()), 486);
        edge.still_serves();
    }
}
