//! §3.3 and §3.4: well-formed, and still not what a proxy or its peers expect.

use super::torture::Fate::{Dropped, Forwarded, Refused};
use super::torture::{Outcome, message, send, with_line};
use super::ua::{header, request, response, sdp};
use super::world::Actor;

fn options(change: impl FnOnce(String) -> String) -> Outcome {
    send(message("OPTIONS", "sip:100@pbx.example", change))
}

fn register(contact: &str) -> Outcome {
    send(message("REGISTER", "sip:pbx.example", |text| with_line(&text, contact)))
}

#[test]
fn s3_3_1_missing_required_header_fields() {
    for name in ["Call-ID", "From", "To", "CSeq"] {
        let text = message("INVITE", "sip:100@pbx.example", |text| text);
        let line = format!("{name}: {}\r\n", header(&text, name));
        let outcome = send(text.replacen(&line, "", 1));
        // RFC 3261 §8.2.6.2: an answer repeats all four, so without one there is none that its sender could match.
        assert!(matches!(outcome.fate, Refused(400) | Dropped), "{name}: {:?}", outcome.fate);
        assert!(outcome.malformed.is_some(), "{name}");
    }
}

#[test]
fn s3_3_2_request_uri_with_an_unknown_scheme() {
    let outcome = send(message("OPTIONS", "nobodyKnowsThisScheme:totallyopaquecontent", |text| text));
    assert_eq!(outcome.fate, Refused(416));
}

#[test]
fn s3_3_3_request_uri_with_a_known_but_atypical_scheme() {
    for uri in ["soap.beep://192.0.2.103:3002", "http://pbx.example/100", "im:100@pbx.example"] {
        assert_eq!(send(message("OPTIONS", uri, |text| text)).fate, Refused(416), "{uri}");
    }
}

#[test]
fn s3_3_4_unknown_uri_schemes_in_header_fields() {
    let lines =
        ["To: <isbn:2983792873>", "From: <http://www.example.com>;tag=3234233", "Contact: <name:John_Smith>"];
    let outcome = send(message("REGISTER", "sip:pbx.example", |text| {
        lines.iter().fold(text, |text, line| with_line(&text, line))
    }));
    assert_eq!(outcome.fate, Forwarded, "the registrar's to refuse");
    outcome.keeps(&lines);
}

#[test]
fn s3_3_5_proxy_require_and_require() {
    let outcome = options(|text| {
        text.replacen(
            "Contact:",
            "Require: noEnd, norEither\r\nProxy-Require: noProxy, norAny\r\nContact:",
            1,
        )
    });
    assert_eq!(outcome.fate, Refused(420));
    assert_eq!(header(&outcome.text(), "Unsupported"), "noProxy, norAny", "Require is for the other end");
    let outcome = options(|text| text.replacen("Contact:", "Require: noEnd\r\nContact:", 1));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&["Require: noEnd\r\n"]);
}

#[test]
fn s3_3_6_unknown_content_type() {
    let body = "<audio>\r\n <pcmu port=\"443\"/>\r\n</audio>\r\n";
    let text = request(&Actor::carrier(), "INVITE", "sip:100@pbx.example", "them", "", body);
    let outcome = send(text.replacen("application/sdp", "application/unknownformat", 1));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&["Content-Type: application/unknownformat\r\n", body]);
}

#[test]
fn s3_3_7_unknown_authorization_scheme() {
    let line = "Authorization: NoOneKnowsThisScheme opaque-data=here\r\n";
    let outcome = send(message("REGISTER", "sip:pbx.example", |text| {
        text.replacen("Contact:", &format!("{line}Contact:"), 1)
    }));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[line]);
}

#[test]
fn s3_3_8_multiple_values_in_single_value_required_fields() {
    for line in [
        "CSeq: 59 OPTIONS",
        "Call-ID: another",
        "To: <sip:other@pbx.example>",
        "From: <sip:other@example.com>;tag=2",
        "Max-Forwards: 5",
    ] {
        assert_eq!(
            options(|text| text.replacen("Contact:", &format!("{line}\r\nContact:"), 1)).fate,
            Refused(400),
            "{line}"
        );
    }
}

#[test]
fn s3_3_9_multiple_content_length_values() {
    for second in ["Content-Length: 1", "l: 7", "Content-Length : 0"] {
        let outcome = options(|text| text.replacen("Contact:", &format!("{second}\r\nContact:"), 1));
        assert_eq!(outcome.fate, Refused(400), "{second}");
    }
}

#[test]
fn s3_3_10_response_with_a_broadcast_via() {
    let asked = request(&Actor::carrier(), "INVITE", "sip:100@pbx.example", "them", "", "");
    let answer = response(&asked, "200 OK", "b", "", &sdp("198.51.100.9", 4_000));
    for host in ["255.255.255.255", "224.2.0.1", "192.0.2.66"] {
        let via = format!(
            "Via: SIP/2.0/UDP 203.0.113.11;branch=z9hG4bKours\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bKa"
        );
        assert_eq!(send(with_line(&answer, &via)).fate, Dropped, "{host}");
    }
}

#[test]
fn s3_3_11_max_forwards_of_zero() {
    assert_eq!(options(|text| with_line(&text, "Max-Forwards: 0")).fate, Refused(483));
}

#[test]
fn s3_3_12_register_with_a_contact_header_parameter() {
    let line = "Contact: sip:+19725552222@198.51.100.1;unknownparam";
    let outcome = register(line);
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[line]);
}

#[test]
fn s3_3_13_register_with_a_url_parameter() {
    let line = "Contact: <sip:+19725552222@198.51.100.1;unknownparam>";
    let outcome = register(line);
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[line]);
}

#[test]
fn s3_3_14_register_with_a_url_escaped_header() {
    let line = "Contact: <sip:them@198.51.100.1?Route=%3Csip:192.0.2.66%3E>";
    let outcome = register(line);
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[line]);
}

#[test]
fn s3_3_15_unacceptable_accept_offering() {
    let offer = sdp("198.51.100.9", 4_000);
    let accept = "Accept: text/nobodyKnowsThis\r\n";
    let outcome = send(request(&Actor::carrier(), "INVITE", "sip:100@pbx.example", "them", accept, &offer));
    assert_eq!(outcome.fate, Forwarded, "what may come back is for the callee to judge");
    outcome.keeps(&[accept]);
}

/// No branch, no tag in From, no Max-Forwards, no Content-Length: the Via, From and Call-ID stand for the branch, over UDP the
/// datagram ends the body, and Max-Forwards is added (RFC 3261 §16.6 step 3, §17.2.3, §18.3).
#[test]
fn s3_4_1_invite_with_rfc_2543_syntax() {
    let offer = sdp("198.51.100.9", 4_000);
    let outcome = send(format!(
        "INVITE sip:100@pbx.example SIP/2.0\r\n\
         Via: SIP/2.0/UDP 198.51.100.1\r\n\
         From: <sip:+13035551111@198.51.100.1;user=phone>\r\n\
         Record-Route: <sip:100@pbx.example;maddr=198.51.100.1>\r\n\
         To: sip:+16505552222@pbx.example;user=phone\r\n\
         Call-ID: old@198.51.100.1\r\n\
         CSeq: 56 INVITE\r\n\
         Content-Type: application/sdp\r\n\r\n{offer}"
    ));
    assert_eq!(outcome.fate, Forwarded);
    let text = outcome.text();
    assert_eq!(header(&text, "Max-Forwards"), "70");
    assert!(header(&text, "Via").contains("branch=z9hG4bK"));
    outcome.keeps(&["From: <sip:+13035551111@198.51.100.1;user=phone>\r\n", "maddr=198.51.100.1>\r\n"]);
}
