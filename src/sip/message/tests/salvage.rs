use super::*;

fn salvaged(bytes: &[u8]) -> Option<Message> {
    Message::salvage(bytes, &Limits::default())
}

#[test]
fn a_malformed_request_can_be_refused() {
    let broken = with("Content-Length: 4", "Content-Length: -4\r\nTo: <sip:second@example.com>\r\nno colon");
    let error = refused(&broken);
    let mut out = Vec::new();
    response(&salvaged(&broken).unwrap(), error.status, error.reason, Some(b"tag1"), &[], &mut out);
    parsed(&out);
    insta::assert_snapshot!(String::from_utf8(out).unwrap().replace('\r', ""));
}

#[test]
fn what_cannot_be_read_is_still_given_back() {
    for (from, to) in [
        ("2 INVITE", "36893488147419103232 INVITE"),
        ("com:5060", "com:99999"),
        ("Alice <", "\"Alice <"),
        ("INVITE sip:", "INVITE  sip:"),
        ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
        ("X-Odd:", "X-Odd\r\nbare\rCR:"),
    ] {
        let broken = with(from, to);
        let message = salvaged(&broken).expect(to);
        refused(&broken);
        assert_eq!((message.method(), message.body()), (Method::Invite, &b""[..]));
        let mut out = Vec::new();
        response(&message, 400, "Bad Request", Some(b"t"), &[], &mut out);
        let lines = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.lines()
                .filter(|line| line.starts_with("CSeq") || line.starts_with("Call"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(lines(&out), lines(&broken));
    }
}

#[test]
fn no_answer_goes_to_these() {
    let ack = String::from_utf8_lossy(INVITE).replace("INVITE", "ACK");
    assert!(salvaged(ack.as_bytes()).is_none());
    assert!(salvaged(&with("2 INVITE", "2 ACK")).is_none());
    assert!(salvaged(&with("INVITE sip:bob@biloxi.example.com SIP/2.0", "SIP/2.0 700 x")).is_none());
    assert!(salvaged(&with("Call-ID: 3", "Call-ID: \r3")).is_none());
    assert!(salvaged(&with("Alice <", "Alice\0<")).is_none());
    assert!(salvaged(&with("Alice <", "Alice\n<")).is_none());
    assert!(salvaged(&with("CSeq: 2 INVITE", "X: y")).is_none());
    assert!(salvaged(&with("CSeq: 2 INVITE", "CSeq:")).is_none());
    assert!(salvaged(b"").is_none());
    assert!(salvaged(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_none());
}
