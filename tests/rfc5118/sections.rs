//! §4. Nobody here has IPv6: what an address means to the PBX or the caller passes as it stands.

use super::torture::Fate::{Forwarded, Refused};
use super::torture::{Outcome, message, send, with_line};
use super::ua::{body, headers, request, request_uri, sdp};
use super::world::Actor;

fn register(uri: &str) -> Outcome {
    send(message("REGISTER", uri, |text| {
        let text = with_line(&text, "To: <sip:them@pbx.example>");
        let text = with_line(&text, "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKsix");
        with_line(&text, "Contact: \"Them\" <sip:them@[2001:db8::1]>")
    }))
}

#[test]
fn s4_1_valid_message_with_an_ipv6_reference() {
    let outcome = register("sip:[2001:db8::10]");
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[
        "Contact: \"Them\" <sip:them@[2001:db8::1]>\r\n",
        "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKsix",
    ]);
}

#[test]
fn s4_2_invalid_message_with_an_ipv6_reference() {
    for uri in ["sip:2001:db8::10", "sip:[2001:db8::10", "sip:2001:db8::10]", "sip:[2001:db8::10]junk"] {
        assert_eq!(register(uri).fate, Refused(400), "{uri}");
    }
}

/// Within the brackets the last group is a part of the address, whatever the sender meant by it.
#[test]
fn s4_3_port_ambiguous_in_a_sip_uri() {
    assert_eq!(register("sip:[2001:db8::10:5070]").fate, Forwarded);
}

#[test]
fn s4_4_port_unambiguous_in_a_sip_uri() {
    assert_eq!(register("sip:[2001:db8::10]:5070").fate, Forwarded);
}

/// With the brackets and, as RFC 3261's grammar had it, without. The answer goes to the source all the same, which is what
/// `received` then says.
#[test]
fn s4_5_ipv6_reference_delimiters_in_the_via_header() {
    for received in ["[2001:db8::9:255]", "2001:db8::9:255"] {
        let via = format!("Via: SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKsix");
        let outcome = send(message("OPTIONS", "sip:100@pbx.example", |text| with_line(&text, &via)));
        assert_eq!(outcome.fate, Forwarded, "{received}");
        assert!(headers(&outcome.text(), "Via")[1].contains("received=198.51.100.1"), "{received}");
    }
}

#[test]
fn s4_6_ipv6_addresses_in_a_session_description() {
    let offer = sdp("2001:db8::20", 6_000).replace("IP4", "IP6");
    let outcome = send(request(&Actor::carrier(), "INVITE", "sip:100@[2001:db8::10]", "them", "", &offer));
    assert_eq!(outcome.fate, Forwarded);
    let text = outcome.text();
    assert!(body(&text).contains("c=IN IP4 10.20.0.5\r\n"), "the PBX is shown the relay of its zone: {text}");
    assert_eq!(request_uri(&text), "sip:100@10.20.0.20", "an address is nobody's domain");
}

#[test]
fn s4_7_multiple_ip_addresses_in_sip_header_fields() {
    let rest = "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKb\r\n\
                Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bKc;received=192.0.2.200\r\n";
    let outcome = send(message("MESSAGE", "sip:100@pbx.example", |text| {
        let text = with_line(&text, "Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKa");
        text.replacen("Max-Forwards", &format!("{rest}Max-Forwards"), 1)
    }));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&["[2001:db8::9:1]:6050;branch=z9hG4bKa", rest]);
}

#[test]
fn s4_8_multiple_ip_addresses_in_sdp() {
    let offer = "v=0\r\no=them 1 1 IN IP4 host.example.com\r\ns=-\r\nt=0 0\r\nm=audio 22334 RTP/AVP 0\r\nc=IN IP4 198.51.100.9\r\n\
                 m=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:107 H263-1998/90000\r\n";
    let outcome = send(request(&Actor::carrier(), "INVITE", "sip:100@pbx.example", "them", "", offer));
    assert_eq!(outcome.fate, Forwarded);
    let text = outcome.text();
    assert_eq!(
        body(&text).matches("c=IN IP4 10.20.0.5\r\n").count(),
        2,
        "each stream has a relayed address: {text}"
    );
    assert!(!body(&text).contains("2001:db8::1"), "{text}");
}

#[test]
fn s4_9_ipv4_mapped_ipv6_addresses() {
    let offer = sdp("::ffff:198.51.100.9", 6_000).replace("IP4", "IP6");
    let text = request(&Actor::carrier(), "INVITE", "sip:100@pbx.example", "them", "", &offer);
    let contact = "Contact: \"Desk\" <sip:them@[::ffff:198.51.100.1]>";
    let vias = "Via: SIP/2.0/UDP [::ffff:198.51.100.1]:19823;branch=z9hG4bKa\r\n\
                Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKb";
    let outcome = send(with_line(&with_line(&text, contact), vias));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[
        contact,
        "[::ffff:198.51.100.1]:19823;branch=z9hG4bKa",
        "[::ffff:192.0.2.2];branch=z9hG4bKb\r\n",
    ]);
    assert!(body(&outcome.text()).contains("c=IN IP4 10.20.0.5\r\n"), "{}", outcome.text());
}

/// RFC 5954 mended the grammar that let a third colon in.
#[test]
fn s4_10_ipv6_reference_bug_in_the_abnf_of_rfc_3261() {
    let options = |uri: &str| send(message("OPTIONS", uri, |text| text)).fate;
    assert_eq!(options("sip:100@[2001:db8:::192.0.2.1]"), Refused(400));
    assert_eq!(options("sip:100@[2001:db8::192.0.2.1]"), Forwarded);
}
