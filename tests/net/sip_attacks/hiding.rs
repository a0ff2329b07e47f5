//! What an outsider may learn of the inside: nothing that the PBX says of its hosts, its software and its calls.

use turnpike::edge::settings::Admit;

use super::{Attacked, Peer, TRANSPORTS};
use crate::calls::sdp;
use crate::harness::*;

/// Wherever the PBX may name its own network.
const TELLS: &str = "User-Agent: asterisk7\r\nServer: asterisk7\r\nP-Asserted-Identity: <sip:200@10.20.0.20:5062>\r\n\
    Diversion: <sip:200@asterisk7.intern>\r\nCall-Info: <http://10.20.0.20/x.png>\r\nWarning: 399 asterisk7 \"at 10.20.0.20\"\r\n\
    Reason: Q.850;cause=16;text=\"by 10.20.0.20\"\r\nX-Seen: 10.20.0.20\r\n";

#[track_caller]
fn shows_no_inside(attacked: &Attacked, text: &str) {
    let listens = format!(":{}", attacked.pbx.addr().port());
    for inside in ["10.20.0", "asterisk7", &listens] {
        assert!(!text.contains(inside), "{inside} in:\n{text}");
    }
}

/// The PBX asks the phone, which says yes; what it saw.
fn asked_by_pbx(
    attacked: &Attacked,
    phone: &mut Peer,
    contact: &str,
    method: &str,
    body: [&str; 2],
) -> String {
    let pbx = &attacked.pbx;
    let text = request(method, contact, turnpike::base::Transport::Udp, pbx.addr());
    let text = text.replacen("Contact:", &format!("{TELLS}Contact:"), 1);
    let text = text.replace("Call-ID: call-", "Call-ID: 10.20.0.20-");
    let [media_type, body] = body;
    let content = format!("Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    pbx.send(&text.replacen("Content-Length: 0\r\n\r\n", &content, 1));
    let seen = phone.expect(method);
    phone.send(&answer(&seen, "200 OK", phone.addr, ""));
    let came = pbx.receive_final();
    assert_eq!(values(&came, "Call-ID"), values(&text, "Call-ID"), "the PBX knows it by its own name");
    seen
}

#[test]
fn nothing_of_the_inside_is_seen_outside() {
    let attacked = Attacked::with(Admit::Registered, |settings| {
        let outside = &mut settings.edge.zones[0];
        (outside.hides_topology, outside.hides_call_ids) = (true, true);
    });
    for transport in TRANSPORTS {
        let mut phone = attacked.peer([127, 0, 0, 1], transport);
        let contact = phone.register(&attacked, "alice");
        let invite = phone.request("INVITE", &format!("sip:200@{}", phone.to), "alice");
        phone.send(&with_body(&invite, &sdp("127.0.0.1:40000".parse().unwrap())));
        let seen = attacked.next_at_pbx("INVITE");
        let told = sdp("127.0.0.1:41000".parse().unwrap());
        let origin = told.lines().find(|line| line.starts_with("o=")).unwrap();
        let told = told.replace(origin, "o=asterisk7 1 1 IN IP4 10.20.0.20");
        let ok = answer(&seen, "200 OK from 10.20.0.20", attacked.pbx.addr(), &told);
        attacked.pbx.send(&ok.replacen("Contact:", &format!("{TELLS}Contact:"), 1));
        let ok = phone.expect("SIP/2.0 200");
        shows_no_inside(&attacked, &ok);
        for (method, body) in [
            ("MESSAGE", ["text/plain", "hello"]),
            (
                "NOTIFY",
                [
                    "application/dialog-info+xml",
                    "<dialog call-id=\"1@10.20.0.20\" entity='sip:1@asterisk7.intern'/>",
                ],
            ),
            ("NOTIFY", ["application/simple-message-summary", "Message-Account: sip:*97@10.20.0.20\r\n"]),
            ("NOTIFY", ["message/sipfrag", "SIP/2.0 200 OK\r\nServer: asterisk7\r\n"]),
        ] {
            let seen = asked_by_pbx(&attacked, &mut phone, &contact, method, body);
            shows_no_inside(&attacked, &seen);
        }
        attacked.recorded();
    }
    attacked.still_serves();
}
