//! Who may have something forwarded, and to where.

use std::io::Write;

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;

use super::{Attacked, TRANSPORTS, drain};
use crate::harness::*;

#[test]
fn without_credentials_or_trunk_nothing_is_forwarded() {
    let attacked = Attacked::new(Admit::Registered);
    for transport in TRANSPORTS {
        for method in
            "INVITE MESSAGE SUBSCRIBE REFER PUBLISH NOTIFY INFO BYE PRACK UPDATE CANCEL FROBNICATE".split(' ')
        {
            let told = attacked.say(transport, attacked.request(method, transport));
            let expected = if method == "CANCEL" { 481 } else { 403 };
            assert_eq!(
                (told.statuses(), told.closed),
                (vec![expected], false),
                "{method} over {transport:?}"
            );
        }
        for line in [
            "Replaces: call-1@test;to-tag=a;from-tag=b",
            "Authorization: Digest username=\"alice\", realm=\"pbx\", nonce=\"1\", uri=\"sip:x\", response=\"0\"",
            "Refer-To: <sip:+99912345@198.51.100.1>",
            "P-Asserted-Identity: <sip:boss@example.com>",
        ] {
            let invite =
                attacked.request("INVITE", transport).replace("Contact:", &format!("{line}\r\nContact:"));
            assert_eq!(attacked.say(transport, invite).statuses(), [403], "{line}");
        }
        attacked.nothing_left();
    }
    attacked.still_serves();
}

#[test]
fn a_stranger_does_not_choose_where_a_request_goes() {
    for admit in [Admit::Registered, Admit::Any] {
        let attacked = Attacked::new(admit);
        let victim = attacked.victim.local_addr().unwrap();
        for transport in TRANSPORTS {
            let ours = attacked.listener(transport);
            for (uri, routes) in [
                (format!("sip:200@{victim}"), String::new()),
                (format!("sip:200@{ours};maddr={}", victim.ip()), String::new()),
                (format!("sip:200@{ours}"), format!("Route: <sip:{victim};lr>\r\n")),
                (format!("sip:200@{ours}"), format!("Route: <sip:{ours};lr>, <sip:{victim};lr>\r\n")),
                (format!("sip:200@{ours}"), format!("Route: <sip:{victim}>\r\n")),
                // As a strict router would send it (RFC 3261 §16.4).
                (format!("sip:{ours};lr"), format!("Route: <sip:200@{victim}>\r\n")),
            ] {
                let text = request("MESSAGE", &uri, transport, "127.0.0.1:9".parse().unwrap());
                let text = text.replace("Contact:", &format!("{routes}Contact:"));
                // Nobody answers it behind; that it is refused or has gone to the PBX alone is what counts.
                attacked.say(transport, &text);
                assert_eq!(drain(&attacked.victim), [""; 0], "{text}");
                let seen = attacked.recorded();
                assert_eq!(seen.is_empty(), admit == Admit::Registered, "{text}");
                assert!(seen.iter().all(|seen| values(seen, "Route").is_empty()), "{seen:?}");
                let forged = text.replacen(&format!("To: <{uri}>"), &format!("To: <{uri}>;tag=forged"), 1);
                assert_eq!(
                    attacked.say(transport, forged.replace("z9hG4bK", "z9hG4bKforged")).statuses(),
                    [481]
                );
                attacked.nothing_left();
            }
        }
        attacked.still_serves();
    }
}

#[test]
fn an_answer_goes_to_its_source_alone_and_once() {
    let attacked = Attacked::new(Admit::Registered);
    let victim = attacked.victim.local_addr().unwrap();
    let (ip, port) = (victim.ip(), victim.port());
    for transport in TRANSPORTS {
        for via in [
            format!("{victim}"),
            format!("{victim};received={ip}"),
            format!("{victim};received={ip};rport={port}"),
            format!("{victim};rport"),
            format!("127.0.0.1:9;maddr={ip};rport={port}"),
            format!("{ip}:{port};maddr={ip};ttl=255"),
        ] {
            let text = attacked.request("INVITE", transport).replace("127.0.0.1:9;", &format!("{via};"));
            let told = attacked.say(transport, &text);
            assert_eq!(told.statuses(), [403], "{via} over {transport:?}");
            assert!(told.answers[0].len() < text.len() + 200, "small");
            attacked.nothing_left();
        }
    }
    attacked.still_serves();
}

#[test]
fn hops_are_counted_and_lowered() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        for (line, expected) in [("Max-Forwards: 0", 483), ("Max-Forwards: 70\r\nMax-Breadth: 0", 440)] {
            let text = attacked.request("MESSAGE", transport).replace("Max-Forwards: 70", line);
            assert_eq!(attacked.say(transport, text).statuses(), [expected]);
        }
        attacked.nothing_left();
        let text = attacked.request("MESSAGE", transport).replace("Max-Forwards: 70", "Max-Forwards: 255");
        attacked.say(transport, text);
        let seen = attacked.next_at_pbx("MESSAGE");
        assert_eq!(values(&seen, "Max-Forwards"), ["70"]);
        // The PBX sends it back as it was. From there it has another way (here the same one), so it is no loop yet (RFC 5393 §4.2.1);
        // when the PBX sends it back once more it is, whatever name of ours it is sent to.
        let pbx = &attacked.pbx;
        let send_back = |seen: &str, lap| {
            let via = format!("SIP/2.0/UDP {};branch=z9hG4bKlap{lap}{}", pbx.addr(), transport.via());
            let uri = values(seen, "To")[0].trim_matches(['<', '>']).to_owned();
            let first = seen.lines().next().unwrap();
            let back = seen.replacen(first, &format!("MESSAGE {uri} SIP/2.0"), 1);
            pbx.send(&back.replacen("Via:", &format!("Via: {via}\r\nVia:"), 1));
        };
        send_back(&seen, 1);
        let again = loop {
            let came = attacked.next_at_pbx("MESSAGE");
            if came.contains("lap1") {
                break came;
            }
        };
        assert_eq!(values(&again, "Max-Breadth"), ["60"]);
        send_back(&again, 2);
        let answer = loop {
            let came = attacked.pbx.receive();
            if came.starts_with("SIP/2.0") {
                break came;
            }
        };
        assert_eq!(status(&answer), 482);
        attacked.recorded();
    }
    attacked.still_serves();
}

/// A ClientHello that knows nothing above TLS 1.0.
#[test]
fn an_old_tls_version_gets_an_alert_and_nothing_else() {
    let attacked = Attacked::new(Admit::Registered);
    for version in [0x00, 0x01, 0x02] {
        let mut hello = vec![0x03, version];
        hello.extend([7; 32]);
        hello.extend([0, 0, 4, 0x00, 0x2f, 0x00, 0x35, 1, 0]);
        let mut record = vec![0x16, 0x03, version, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
        record.extend(hello);
        let mut stream = tcp(attacked.listener(Transport::Tls));
        stream.write_all(&record).unwrap();
        let said = read_to_close(&mut stream);
        assert!(said.len() <= 7 && said.first().is_none_or(|first| *first == 0x15), "{said:?}");
    }
    attacked.nothing_left();
    attacked.still_serves();
}
