use super::*;

#[test]
fn reads_what_a_proxy_needs() {
    let message = parsed(INVITE);
    assert_eq!(message.method(), Method::Invite);
    assert_eq!(message.request_uri(), Some(&b"sip:bob@biloxi.example.com"[..]));
    assert_eq!(message.top_via().branch(), Some(&b"z9hG4bK74bf9"[..]));
    assert_eq!(message.top_via().port, Some(5060));
    assert_eq!(param(message.top_via().params, b"RPORT"), Some(&b""[..]));
    let vias: Vec<_> = message.elements(Name::Via).map(|via| via.via().unwrap().host).collect();
    assert_eq!(vias, [&b"client.atlanta.example.com"[..], b"a.example.com", b"[2001:db8::1]"]);
    let routes: Vec<_> = message.elements(Name::Route).map(|route| route.name_addr().unwrap().uri).collect();
    assert_eq!(
        routes,
        [&b"sip:edge.example.com;lr"[..], b"sip:b.example.com;x=1,2", b"sip:c.example.com;lr"]
    );
    assert_eq!(message.from().tag(), Some(&b"9fxced76sl"[..]));
    assert_eq!(message.from().display, b"Alice");
    assert_eq!(message.to().tag(), None);
    assert_eq!(message.call_id(), b"3848276298220188511@atlanta.example.com");
    assert_eq!(message.cseq(), CSeq { number: 2, method: Method::Invite, method_bytes: b"INVITE" });
    assert_eq!(message.header(Name::MaxForwards).unwrap().number(), Some(70));
    assert_eq!(message.header_named(b"x-odd").unwrap().value, b"\xff\xfe caf\xc3\xa9 \r\n  folded");
    assert_eq!(message.header_named(b"contact").unwrap().value, message.header(Name::Contact).unwrap().value);
    assert_eq!(message.body(), b"v=\0\n");
    assert!(message.content_type_is(b"application/sdp"));
    assert_eq!(sdp_part(&message), Ok(Some(0..4)));
}

#[test]
fn refuses_with_the_status_that_fits() {
    let cases: &[(u16, &str, &str, &str)] = &[
        (400, "To : Bob", "T: x\r\nTo : Bob", "Duplicate To"),
        (400, "f: Alice", "From: <sip:x@y>;tag=1\r\nf: Alice", "Duplicate From"),
        (400, "Call-ID: ", "i: 1\r\nCall-ID: ", "Duplicate Call-ID"),
        (400, "CSeq: ", "CSeq: 2 INVITE\r\nCSeq: ", "Duplicate CSeq"),
        (400, "Max-Forwards: 70", "Max-Forwards: 70\r\nMAX-forwards: 70", "Duplicate Max-Forwards"),
        (400, "Content-Length: 4", "Content-Length: 4\r\nl: 4", "Duplicate Content-Length"),
        (400, "Content-Length: 4", "Content-Length: 5", "Content-Length exceeds the body"),
        (400, "Content-Length: 4", "Content-Length: -1", "Malformed Content-Length"),
        (400, "Content-Length: 4", "Content-Length: +4", "Malformed Content-Length"),
        (400, "Content-Length: 4", "Content-Length: 4, 4", "Malformed Content-Length"),
        (400, "Content-Length: 4", "Content-Length:", "Malformed Content-Length"),
        (400, "Content-Length: 4", "Content-Length: 18446744073709551620", "Malformed Content-Length"),
        (400, "Content-Length: 4", "Content-Length: 18446744073709551615", "Content-Length exceeds the body"),
        (400, "Max-Forwards", "Transfer-Encoding: chunked\r\nMax-Forwards", "Transfer-Encoding is not SIP"),
        (400, "Max-Forwards: 70", "Max-Forwards: 300", "Malformed Max-Forwards"),
        (400, "Max-Forwards: 70", "Max-Forwards: 7 0", "Malformed Max-Forwards"),
        (400, "Alice <", "Alice\r <", "Bare CR or LF"),
        (400, "Alice <", "Alice\n <", "Bare CR or LF"),
        (400, "Alice <", "Alice\0 <", "NUL byte"),
        (400, "Alice <", "\"Alice\0\" <", "NUL byte"),
        (400, "Alice <", "\\\0Alice <", "NUL byte"),
        (400, "Route: <sip:edge", "Route: <\">\\\0\" <sip:edge", "NUL byte"),
        (400, "SIP/2.0\r\nVia", "SIP/2.0\nVia", "Bare CR or LF"),
        (400, "2 INVITE", "2147483648 INVITE", "Malformed CSeq"),
        (400, "2 INVITE", "2 BYE", "CSeq does not match the method"),
        (400, "2 INVITE", "2 invite", "CSeq does not match the method"),
        (400, "2 INVITE", "2INVITE", "Malformed CSeq"),
        (400, "com:5060", "com:99999", "Malformed Via"),
        (400, "]:5061", "]:65536", "Malformed Via"),
        (400, "z9hG4bK74bf9", "z9hG4bK74bf9;;", "Malformed Via"),
        (400, "z9hG4bK74bf9", "z9hG4bK74bf9;branch=2", "Malformed Via"),
        (400, "Max-Forwards:", ": x\r\nMax-Forwards:", "Malformed header name"),
        (400, "Max-Forwards:", "Max Forwards:", "Malformed header name"),
        (400, "Max-Forwards: 70", "Max-Forwards", "Malformed header name"),
        (400, "INVITE sip:", "INVITE  sip:", "Malformed request line"),
        (400, "com SIP/2.0", "com  SIP/2.0", "Malformed request line"),
        (400, "com SIP/2.0\r", "com SIP/2.0 \r", "Malformed start line"),
        (400, "sip:bob@biloxi.example.com SIP", "<sip:bob@biloxi.example.com> SIP", "Malformed request line"),
        (400, "com SIP/2.0", "com HTTP/1.1", "Malformed start line"),
        (505, "com SIP/2.0", "com SIP/7.0", "SIP Version Not Supported"),
        (400, "Alice <", "Bell, Alexander <", "Malformed From"),
        (400, "Alice <", "\"Alice <", "Malformed From"),
        (400, "tag=9fxced76sl", "tag=1;tag=2", "Malformed From"),
        (400, "To : Bob <sip:bob@biloxi.example.com>", "To: sip:a,sip:b", "Malformed To"),
        (400, "To : Bob <sip:bob@biloxi.example.com>", "To: sip:a?x=y", "Malformed To"),
        (400, "To : Bob <sip:bob@biloxi.example.com>", "X: y", "Missing To"),
        (400, "Call-ID: 3848276298220188511@", "Call-ID: 1 2@", "Malformed Call-ID"),
        (
            400,
            "Content-Type: application/sdp",
            "Content-Type: a/b\r\nc: application/sdp",
            "Duplicate Content-Type",
        ),
    ];
    for (status, from, to, reason) in cases {
        let error = refused(&with(from, to));
        assert_eq!((error.status, error.reason), (*status, *reason), "{from:?} -> {to:?}");
    }
}
