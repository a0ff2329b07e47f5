//! §3.1.2 and §3.2: wrong. A request that cannot be read is told so once and goes nowhere; a response that cannot be read is nobody's.
//! What is wrong in a header that a proxy does not read (RFC 3261 §16.3) is for the other end to judge.

use super::torture::Fate::{Dropped, Forwarded, Refused};
use super::torture::{Outcome, message, send, with_line};
use super::ua::{headers, request, request_uri, response};
use super::world::Actor;

/// An INVITE with this done to it.
fn invite(change: impl FnOnce(String) -> String) -> Outcome {
    send(message("INVITE", "sip:100@pbx.example", change))
}

fn start_line(line: &str) -> Outcome {
    invite(|text| text.replacen("INVITE sip:100@pbx.example SIP/2.0", line, 1))
}

#[track_caller]
fn malformed(outcome: &Outcome, why: &str) {
    assert_eq!((outcome.fate, outcome.malformed), (Refused(400), Some(why)));
}

#[test]
fn s3_1_2_1_extraneous_header_field_separators() {
    malformed(
        &invite(|text| with_line(&text, "Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKa;;,;,,")),
        "Malformed Via",
    );
}

#[test]
fn s3_1_2_2_content_length_larger_than_the_message() {
    assert_eq!(invite(|text| with_line(&text, "Content-Length: 9999")).fate, Refused(400));
}

#[test]
fn s3_1_2_3_negative_content_length() {
    assert_eq!(invite(|text| with_line(&text, "Content-Length: -999")).fate, Refused(400));
}

#[test]
fn s3_1_2_4_request_scalar_fields_with_overlarge_values() {
    for line in ["CSeq: 36893488147419103232 INVITE", "CSeq: 2147483648 INVITE", "Max-Forwards: 300"] {
        assert_eq!(invite(|text| with_line(&text, line)).fate, Refused(400), "{line}");
    }
    // Expires is the registrar's to read (RFC 3261 §10.3).
    let register = message("REGISTER", "sip:pbx.example", |text| {
        text.replacen("Contact:", "Expires: 10000000000000000000\r\nContact:", 1)
    });
    assert_eq!(send(register).fate, Forwarded);
}

#[test]
fn s3_1_2_5_response_scalar_fields_with_overlarge_values() {
    let asked = request(&Actor::carrier(), "INVITE", "sip:100@pbx.example", "them", "", "");
    let answer = response(&asked, "503 Unavailable", "b", "Retry-After: 949302838503028349304023988\r\n", "");
    let outcome = send(with_line(&answer, "CSeq: 9292394834772304023312 INVITE"));
    assert_eq!((outcome.fate, outcome.malformed.is_some()), (Dropped, true));
}

#[test]
fn s3_1_2_6_unterminated_quoted_string_in_a_display_name() {
    malformed(&invite(|text| with_line(&text, "To: \"Mr. J <sip:100@pbx.example>")), "Malformed To");
}

#[test]
fn s3_1_2_7_angle_brackets_around_the_request_uri() {
    assert_eq!(start_line("INVITE <sip:100@pbx.example> SIP/2.0").fate, Refused(400));
}

#[test]
fn s3_1_2_8_embedded_lws_in_the_request_uri() {
    assert_eq!(start_line("INVITE sip:100@pbx.example; lr SIP/2.0").fate, Refused(400));
}

#[test]
fn s3_1_2_9_multiple_sp_in_the_request_line() {
    malformed(&start_line("INVITE  sip:100@pbx.example  SIP/2.0"), "Malformed request line");
}

#[test]
fn s3_1_2_10_sp_at_the_end_of_the_request_line() {
    assert_eq!(start_line("INVITE sip:100@pbx.example SIP/2.0  ").fate, Refused(400));
}

/// §19.1.5 forbids headers in a Request-URI. They are not acted on: the Route within sends it nowhere.
#[test]
fn s3_1_2_11_escaped_headers_in_the_request_uri() {
    let uri = "sip:100@pbx.example?Route=%3Csip:192.0.2.66%3E";
    let outcome = start_line(&format!("INVITE {uri} SIP/2.0"));
    assert_eq!((outcome.fate, request_uri(&outcome.text())), (Forwarded, uri));
    assert!(headers(&outcome.text(), "Route").is_empty());
}

#[test]
fn s3_1_2_12_invalid_time_zone_in_date() {
    let line = "Date: Fri, 01 Jan 2027 16:00:00 EST\r\n";
    let outcome = invite(|text| text.replacen("Contact:", &format!("{line}Contact:"), 1));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[line]);
}

#[test]
fn s3_1_2_13_failure_to_enclose_a_name_addr_uri() {
    let line = "Contact: sip:them@198.51.100.1?Route=%3Csip:192.0.2.66%3E";
    let outcome = send(message("REGISTER", "sip:pbx.example", |text| with_line(&text, line)));
    assert_eq!(outcome.fate, Forwarded, "the registrar's to refuse");
    outcome.keeps(&[line]);
}

#[test]
fn s3_1_2_14_spaces_within_an_addr_spec() {
    let outcome = invite(|text| with_line(&text, "To: \"Odd\" < sip:100 @pbx.example >"));
    assert_eq!(outcome.fate, Refused(400));
}

#[test]
fn s3_1_2_15_non_token_characters_in_a_display_name() {
    malformed(&invite(|text| with_line(&text, "To: Bell, Alexander <sip:100@pbx.example>")), "Malformed To");
}

#[test]
fn s3_1_2_16_unknown_protocol_version() {
    assert_eq!(start_line("INVITE sip:100@pbx.example SIP/7.0").fate, Refused(505));
}

#[test]
fn s3_1_2_17_start_line_and_cseq_method_mismatch() {
    assert_eq!(invite(|text| with_line(&text, "CSeq: 8 OPTIONS")).fate, Refused(400));
}

#[test]
fn s3_1_2_18_unknown_method_with_cseq_method_mismatch() {
    let text = message("NEWMETHOD", "sip:100@pbx.example", |text| with_line(&text, "CSeq: 8 INVITE"));
    assert_eq!(send(text).fate, Refused(400));
}

#[test]
fn s3_1_2_19_overlarge_response_code() {
    let asked = request(&Actor::carrier(), "INVITE", "sip:100@pbx.example", "them", "", "");
    for line in ["4294967301 better not break the receiver", "700 Beyond"] {
        let outcome = send(response(&asked, line, "b", "", ""));
        assert_eq!((outcome.fate, outcome.malformed.is_some()), (Dropped, true), "{line}");
    }
}

/// A branch that is nothing but the magic cookie names no transaction: RFC 3261 §17.2.3 falls back on the older rules, and two
/// requests of two clients are two transactions.
#[test]
fn s3_2_1_missing_transaction_identifier() {
    let line = "Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK";
    let outcome = send(message("OPTIONS", "sip:100@pbx.example", |text| with_line(&text, line)));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&["branch=z9hG4bK;"]);
}
