//! §3.1.1: strange and right. All of it passes, and what the edge does not own passes byte for byte.

use super::torture::Fate::{Dropped, Forwarded};
use super::torture::{message, send, send_in, with_line};
use super::ua::{header, headers, request, request_uri, response, sdp};
use super::world::{Actor, World};

#[test]
fn s3_1_1_1_a_short_tortuous_invite() {
    let outcome = send(
        "INVITE sip:100@pbx.example;odd SIP/2.0\r\n\
         tO :\r\n sip:100@pbx.example ;  tag2   = 19n\r\n\
         fRoM   : \"A \\\\\\\"\"       <sip:them@example.com>\r\n  ;\r\n  tag = 98\r\n\
         mAx-FoRwArDs: 0068\r\n\
         I: white.space@here\r\n\
         cseq: 0009\r\n  INVITE\r\n\
         Via  : SIP  /   2.0\r\n /UDP\r\n    198.51.100.1;branch=390odd\r\n\
         s :\r\n\
         NewFangled:   new\r\n continued\r\n\
         Unusual: ;;,,;;,;\r\n\
         v:  SIP  / 2.0  / TCP     b.example.com   ;\r\n  branch  =   z9hG4bK9  ,\r\n SIP  /    2.0   / UDP  192.0.2.9   ; branch=\r\n z1\r\n\
         m:\"Q \\\"\\\"\" <sip:them@198.51.100.1> ; new =\r\n value ;\r\n  second ; q = 0.3\r\n\
         Content-Length   : 0\r\n\r\n",
    );
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[
        "NewFangled:   new\r\n continued\r\n",
        "Unusual: ;;,,;;,;\r\n",
        "I: white.space@here\r\n",
        ";\r\n  tag = 98\r\n",
        "second ; q = 0.3\r\n",
        " branch  =   z9hG4bK9  ,\r\n SIP  /    2.0   / UDP  192.0.2.9   ; branch=\r\n z1\r\n",
    ]);
    assert_eq!(header(&outcome.text(), "Max-Forwards"), "67");
}

#[test]
fn s3_1_1_2_wide_range_of_valid_characters() {
    let method = "!odd-Method0*_+`.%'~";
    let text = message(method, "sip:1_u~(x!y)&a't+b$/?,/;;*:&p!w$d@pbx.example", |text| {
        let text = with_line(
            &text,
            "From: t1~` t2'+_ t3*%!.- <sip:them@example.com>;p''~+*_!.-%=\"\u{440}\";tag=_t~1'+`*%!-.",
        );
        text.replacen("Contact:", "ext-!.%*+_`'~:\u{feff}\u{5927}\r\nContact:", 1)
    });
    let outcome = send(text);
    assert_eq!(outcome.fate, Forwarded);
    assert!(
        outcome
            .text()
            .starts_with(&format!("{method} sip:1_u~(x!y)&a't+b$/?,/;;*:&p!w$d@pbx.example SIP/2.0\r\n"))
    );
    outcome.keeps(&["ext-!.%*+_`'~:\u{feff}\u{5927}\r\n", "p''~+*_!.-%=\"\u{440}\";tag=_t~1'+`*%!-.\r\n"]);
}

#[test]
fn s3_1_1_3_valid_use_of_the_percent_escaping_mechanism() {
    let uri = "sip:sips%3A100%40pbx.example@elsewhere.example";
    let outcome = send(message("INVITE", uri, |text| {
        with_line(&text, "Contact: <sip:th%65m@198.51.100.1;%6C%72;n%61me=v%61lue%25%34%31>")
    }));
    assert_eq!(
        (outcome.fate, request_uri(&outcome.text())),
        (Forwarded, uri),
        "nothing is unescaped on the way"
    );
    outcome.keeps(&["Contact: <sip:th%65m@198.51.100.1;%6C%72;n%61me=v%61lue%25%34%31>\r\n"]);
}

#[test]
fn s3_1_1_4_escaped_nulls_in_uris() {
    let outcome = send(message("MESSAGE", "sip:pbx.example", |text| {
        with_line(&with_line(&text, "To: <sip:nul-%00@pbx.example>"), "Contact: <sip:%00%00@198.51.100.1>")
    }));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&["To: <sip:nul-%00@pbx.example>\r\n", "Contact: <sip:%00%00@198.51.100.1>\r\n"]);
}

#[test]
fn s3_1_1_5_use_of_percent_when_it_is_not_an_escape() {
    let outcome = send(message("MES%53AGE", "sip:100@pbx.example", |text| {
        text.replacen("Contact:", "C%6Fntact: <sip:no-contact@198.51.100.9>\r\nContact:", 1)
    }));
    assert_eq!(outcome.fate, Forwarded);
    assert!(outcome.text().starts_with("MES%53AGE "), "a method of its own, not MESSAGE");
    outcome.keeps(&["C%6Fntact: <sip:no-contact@198.51.100.9>\r\n", " MES%53AGE\r\n"]);
}

#[test]
fn s3_1_1_6_no_lws_between_display_name_and_angle() {
    let line = "From: caller<sip:them@example.com>;tag=323";
    let outcome = send(message("OPTIONS", "sip:100@pbx.example", |text| with_line(&text, line)));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[line]);
}

#[test]
fn s3_1_1_7_long_values_in_header_fields() {
    let long = |what: &str| what.repeat(40);
    let vias: String = (0..40).map(|n| format!("V :  SIP/2.0/TCP h{n}.example.com\r\n")).collect();
    let text = message("INVITE", "sip:100@pbx.example", |text| {
        let text = with_line(&text, &format!("To: \"{}\"<sip:100@pbx.example>", long("proportion ")));
        let text = with_line(&text, &format!("Call-ID: {}", long("very")));
        text.replacen("Contact:", &format!("{}: {}\r\n{vias}Contact:", long("Unknown-"), long("value ")), 1)
    });
    let outcome = send(&text);
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[&vias, header(&text, "To"), header(&text, "Call-ID"), &long("Unknown-")]);
}

#[test]
fn s3_1_1_8_extra_trailing_octets_in_a_udp_datagram() {
    let hidden = message("INVITE", "sip:hidden@pbx.example", |text| text);
    let outcome = send(message("MESSAGE", "sip:100@pbx.example", |text| text) + "\r\n" + &hidden);
    assert_eq!(outcome.fate, Forwarded);
    assert!(!outcome.text().contains("hidden"), "they are no message and do not leave");
}

#[test]
fn s3_1_1_9_semicolon_separated_parameters_in_the_user_part() {
    let uri = "sip:100;par=u%40example.net@pbx.example";
    let outcome = send(message("OPTIONS", uri, |text| text));
    assert_eq!((outcome.fate, request_uri(&outcome.text())), (Forwarded, uri));
}

#[test]
fn s3_1_1_10_varied_and_unknown_transport_types() {
    let vias = "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKa\r\n\
                Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bKb\r\n\
                Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKc\r\n\
                Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bKd\r\n";
    let outcome = send(message("OPTIONS", "sip:100@pbx.example", |text| {
        text.replacen("Max-Forwards", &format!("{vias}Max-Forwards"), 1)
    }));
    assert_eq!(outcome.fate, Forwarded);
    outcome.keeps(&[vias]);
    assert_eq!(headers(&outcome.text(), "Via").len(), 6);
}

#[test]
fn s3_1_1_11_multipart_mime_message() {
    let body =
        b"--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n--b\r\nContent-Type: application/octet-stream\r\n\
                 Content-Transfer-Encoding: binary\r\n\r\n0\x82\x01R\0\r\x06\n\xff\r\n--b--\r\n";
    let head = message("MESSAGE", "sip:100@pbx.example", |text| {
        let length = format!("Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}", body.len());
        text.replacen("Content-Length: 0", &length, 1)
    });
    let outcome = send([head.as_bytes(), body].concat());
    assert_eq!(outcome.fate, Forwarded);
    assert!(outcome.bytes.ends_with(&[b"\r\n\r\n", &body[..]].concat()), "byte for byte, zeroes and all");
}

/// The PBX has been called, and answers with this status line.
fn answered(line: &str) -> String {
    let mut world = World::new();
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    world.send(
        &carrier,
        request(&carrier, "INVITE", "sip:100@pbx.example", "them", "", &sdp("198.51.100.9", 4_000)),
    );
    let seen = world.expect(&pbx, "INVITE");
    world.take(&carrier);
    world.send(&pbx, response(&seen, line, "b", "", ""));
    world.expect(&carrier, &format!("SIP/2.0 {line}\r\n"))
}

/// A response that no request of ours has asked for is nobody's (RFC 3261 §18.1.2).
fn unasked(line: &str) {
    let carrier = Actor::carrier();
    let asked = request(&carrier, "INVITE", "sip:100@pbx.example", "them", "", "");
    assert_eq!(send(response(&asked, line, "b", "", "")).fate, Dropped);
}

#[test]
fn s3_1_1_12_unusual_reason_phrase() {
    let line = "486 = 2**3 * 3**5 \u{43d}\u{43e} \u{441}\u{442}\u{43e} ";
    answered(line);
    unasked(line);
}

#[test]
fn s3_1_1_13_empty_reason_phrase() {
    answered("486 ");
    unasked("200 ");
    let mut world = World::new();
    let carrier = Actor::carrier();
    let asked = request(&carrier, "INVITE", "sip:100@pbx.example", "them", "", "");
    let nothing = send_in(&mut world, &carrier, response(&asked, "100 ", "", "", "").as_bytes());
    assert_eq!(nothing.fate, Dropped);
}
