//! Answers that nobody asked for, or not those who give them.

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;

use super::{Attacked, TRANSPORTS, drain};
use crate::harness::*;

const HERE: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 66];

/// The office is where the PBX is, and nowhere else.
fn attacked(admit: Admit) -> Attacked {
    Attacked::with(admit, |settings| {
        settings.edge.zones[1].networks = vec!["127.0.0.1/32".parse().unwrap()];
    })
}

#[test]
fn an_answer_to_a_guessed_branch_or_to_a_via_of_its_senders_goes_nowhere() {
    let attacked = attacked(Admit::Any);
    let victim = attacked.victim.local_addr().unwrap();
    for transport in TRANSPORTS {
        let ours = format!("SIP/2.0/UDP {}", attacked.node.listener("inside").unwrap());
        let letters = "a".repeat(39);
        for via in [
            format!("{ours};branch=z9hG4bK{letters}"),
            format!("{ours};branch=z9hG4bK{letters}\r\nVia: SIP/2.0/UDP {victim};branch=z9hG4bKv"),
            format!("SIP/2.0/UDP {victim};branch=z9hG4bKv;received={};rport={}", victim.ip(), victim.port()),
            format!("{ours};branch=z9hG4bK{letters};maddr={}\r\nVia: SIP/2.0/UDP {victim}", victim.ip()),
            ours.clone(),
        ] {
            for (line, method) in [
                ("200 OK", "INVITE"),
                ("100 Trying", "INVITE"),
                ("401 Unauthorized", "REGISTER"),
                ("200 OK", "OPTIONS"),
            ] {
                let text = format!(
                    "SIP/2.0 {line}\r\nVia: {via}\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: c\r\n\
                     CSeq: 1 {method}\r\nContact: <sip:b@{victim}>\r\nContent-Length: 0\r\n\r\n"
                );
                let told = attacked.say(transport, text);
                assert_eq!((told.answers, told.closed), (vec![], false), "{via} over {transport:?}");
                attacked.nothing_left();
            }
        }
    }
    attacked.still_serves();
}

/// Who has read a request on its way knows its branch, and still cannot answer it.
#[test]
fn a_right_branch_from_another_source_or_transport_is_no_answer() {
    let attacked = attacked(Admit::Any);
    let inside = attacked.node.listener("inside").unwrap();
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(HERE, transport);
        for method in ["INVITE", "MESSAGE"] {
            phone.send(&phone.request(method, &format!("sip:200@{}", phone.to), "tester"));
            let seen = attacked.next_at_pbx(method);
            let forged = answer(&seen, "200 OK", "127.0.0.66:5060".parse().unwrap(), "");
            let stranger = Udp::at("127.0.0.66", inside);
            stranger.send(&forged);
            stranger.send(&forged.replacen("200 OK", "603 Decline", 1));
            for over in TRANSPORTS {
                // Of the PBX's own address, but it was asked elsewhere.
                for ip in [HERE, ELSEWHERE] {
                    let mut stranger = attacked.peer(ip, over);
                    stranger.send(&forged);
                    assert_eq!(stranger.heard(), [""; 0]);
                }
            }
            assert_eq!(phone.heard(), [""; 0], "{method} over {transport:?}");
            // The PBX may answer from another port.
            let other_port = Udp::new(inside);
            other_port.send(&answer(&seen, "486 Busy Here", attacked.pbx.addr(), ""));
            phone.expect("SIP/2.0 486");
            assert_eq!(drain(&stranger.socket), [""; 0]);
            attacked.recorded();
        }
    }
    attacked.still_serves();
}

/// CVE-2021-41158: who is called asks the caller for a password.
#[test]
fn a_phone_does_not_ask_the_pbx_for_a_password() {
    let attacked = attacked(Admit::Registered);
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(HERE, transport);
        let contact = phone.register(&attacked, "alice");
        for (method, line, field) in [
            ("INVITE", "401 Unauthorized", "WWW-Authenticate"),
            ("MESSAGE", "407 Proxy Authentication Required", "Proxy-Authenticate"),
            ("MESSAGE", "403 Forbidden", "WWW-Authenticate"),
        ] {
            let pbx = &attacked.pbx;
            pbx.send(&request(method, &contact, Transport::Udp, pbx.addr()));
            let seen = phone.expect(method);
            let challenge = format!("{field}: Digest realm=\"carrier.example\", nonce=\"1\"\r\nContact:");
            phone.send(&answer(&seen, line, phone.addr, "").replacen("Contact:", &challenge, 1));
            let told = pbx.receive_final();
            assert_eq!((status(&told), told.contains("Digest")), (403, false), "{told}");
        }
        attacked.recorded();
    }
    attacked.still_serves();
}

/// RFC 3325 §5: what it says of itself is not what somebody who knows says of it.
#[test]
fn what_a_phone_asserts_in_a_response_is_stripped() {
    let attacked = attacked(Admit::Registered);
    let pbx = &attacked.pbx;
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(HERE, transport);
        let contact = phone.register(&attacked, "alice");
        for method in ["MESSAGE", "INVITE"] {
            pbx.send(&request(method, &contact, Transport::Udp, pbx.addr()));
            let seen = phone.expect(method);
            let says = "p-asserted-identity : <sip:boss@127.0.0.1>\r\nRemote-Party-ID:\r\n <sip:boss@127.0.0.1>\r\nX-Auth-User: boss\r\nContact:";
            phone.send(&answer(&seen, "200 OK", phone.addr, "").replacen("Contact:", says, 1));
            let told = pbx.receive_final();
            assert_eq!((status(&told), told.contains("boss")), (200, false), "{told}");
        }
        attacked.recorded();
    }
    attacked.still_serves();
}

#[test]
fn a_phone_speaks_in_no_other_users_name() {
    let attacked = attacked(Admit::Registered);
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(HERE, transport);
        phone.register(&attacked, "alice");
        attacked.recorded();
        let to = format!("sip:200@{}", phone.to);
        for method in ["INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER"] {
            phone.send(&phone.request(method, &to, "boss"));
            assert_eq!(status(&phone.expect("SIP/2.0 ")), 403);
            attacked.nothing_left();
        }
        let says =
            "P-Asserted-Identity: <sip:boss@127.0.0.1>\r\nRemote-Party-ID: <sip:boss@127.0.0.1>\r\nContact:";
        phone.send(&phone.request("MESSAGE", &to, "alice").replacen("Contact:", says, 1));
        let seen = attacked.next_at_pbx("MESSAGE");
        assert!(!seen.contains("boss"), "{seen}");
        attacked.recorded();
    }
    attacked.still_serves();
}
