//! RFC 4475 from its own files where they are at hand (`TURNPIKE_TORTURE_DIR`), and always by messages of our own that
//! do the same things.

use super::*;

/// Syntactically right: parse, and pass byte for byte.
const VALID: &[&str] = &[
    "badbranch",
    "baddate",
    "bcast",
    "bext01",
    "cparam01",
    "cparam02",
    "dblreq",
    "esc01",
    "esc02",
    "escnull",
    "escruri",
    "intmeth",
    "inv2543",
    "invut",
    "longreq",
    "lwsdisp",
    "mpart01",
    "noreason",
    "novelsc",
    "regaut01",
    "regbadct",
    "regescrt",
    "sdp01",
    "semiuri",
    "transports",
    "unkscm",
    "unksm2",
    "unreason",
    "wsinv",
    "zeromf",
];

/// Status, and whether there is enough of it to answer.
const INVALID: &[(&str, u16, bool)] = &[
    ("badaspec", 400, true),
    ("baddn", 400, true),
    ("badinv01", 400, true),
    ("badvers", 505, true),
    ("bigcode", 400, false),
    ("clerr", 400, true),
    ("insuf", 400, true),
    ("ltgtruri", 400, true),
    ("lwsruri", 400, true),
    ("lwsstart", 400, true),
    ("mcl01", 400, true),
    ("mismatch01", 400, true),
    ("mismatch02", 400, true),
    ("multi01", 400, true),
    ("ncl", 400, true),
    ("quotbal", 400, true),
    ("scalar02", 400, true),
    ("scalarlg", 400, false),
    ("trws", 400, true),
];

#[test]
fn rfc_4475_as_it_stands() {
    let Ok(folder) = std::env::var("TURNPIKE_TORTURE_DIR") else {
        eprintln!("TURNPIKE_TORTURE_DIR is not set: the RFC's own files are not run");
        return;
    };
    let read = |name: &str| std::fs::read(format!("{folder}/rfc4475/{name}.dat")).expect(name);
    for name in VALID {
        let bytes = read(name);
        let message = Message::parse(bytes.clone().into(), &Limits::default()).expect(name);
        let mut out = Vec::new();
        Edit::new(&message).write(&mut out);
        assert!(bytes.starts_with(&out), "{name}");
        // A second request behind the first one in a datagram is cut off.
        assert_eq!(bytes.len() == out.len(), *name != "dblreq", "{name}");
    }
    for (name, status, answerable) in INVALID {
        let bytes = read(name);
        let error = Message::parse(bytes.clone().into(), &Limits::default()).expect_err(name);
        assert_eq!((error.status, *name), (*status, *name));
        assert_eq!(Message::salvage(&bytes, &Limits::default()).is_some(), *answerable, "{name}");
    }
}

#[test]
fn white_space_wherever_the_grammar_has_it() {
    let message = parsed(
        b"INVITE sip:x@example.com;odd SIP/2.0\r\n\
        tO \t:\r\n sip:x@example.com ;  tag  = 19n\r\n\
        fRoM : \"A \\\\\\\"\"   <sip:a@example.com>\r\n  ;\r\n  tag = 98\r\n\
        mAx-FoRwArDs: 0068\r\n\
        I: w@h\r\n\
        cseq: 0009\r\n  INVITE\r\n\
        Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2  :  5070 ;branch=3\r\n\
        s :\r\n\
        NewFangled:   new\r\n continued\r\n \r\n\
        Unusual: ;;,,;;,;\r\n\
        v:  SIP  / 2.0  / TCP   b.example.com ;\r\n branch  =  z9  ,\r\n SIP / 2.0 / UDP 192.0.2.9 ; branch=\r\n z1\r\n\
        m:\"Q \\\"\\\"\" <sip:a@example.com> ; new =\r\n value ;\r\n  second ; q = 0.3\r\n\
        \r\n",
    );
    assert_eq!((message.to().uri, message.to().tag()), (&b"sip:x@example.com"[..], Some(&b"19n"[..])));
    assert_eq!((message.from().display, message.from().tag()), (&b"\"A \\\\\\\"\""[..], Some(&b"98"[..])));
    assert_eq!((message.cseq().number, message.header(Name::MaxForwards).unwrap().number()), (9, Some(68)));
    assert_eq!((message.top_via().transport, message.top_via().port), (&b"UDP"[..], Some(5070)));
    let branches: Vec<_> =
        message.elements(Name::Via).map(|via| via.via().unwrap().branch().unwrap()).collect();
    assert_eq!(branches, [&b"3"[..], b"z9", b"z1"]);
    let contact = message.elements(Name::Contact).next().unwrap().name_addr().unwrap();
    assert_eq!(param(contact.params, b"new"), Some(&b"value"[..]));
    assert_eq!(param(contact.params, b"second"), Some(&b""[..]));
    assert_eq!(param(contact.params, b"Q"), Some(&b"0.3"[..]));
    assert_eq!(message.header_named(b"Subject").unwrap().value, b"");
    assert_eq!(message.header_named(b"unusual").unwrap().value, b";;,,;;,;");
    assert_eq!(message.header_named(b"newfangled").unwrap().value, b"new\r\n continued");
}

#[test]
fn characters_wherever_the_grammar_has_them() {
    let message = parsed(
        b"!odd-Method0*_+`.%'~ sip:u~(x!y)&a't+b$/?,/;;*:&p!w$d(x)@example.com SIP/2.0\r\n\
        Via: SIP/2.0/TCP h.example.com;branch=z9hG4bK-.!%66*_+`'~\r\n\
        To: \"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f\" <sip:u~(x!y)/?,/;;*@example.com>\r\n\
        From: t1~` t2'+_ t3*%!.- <sip:m@example.com>;p''~+*_!.-%=\"\xd1\x80\xd0\xb0\";tag=_t~1'+`*%!-.\r\n\
        Call-ID: i.w%ZK-!.*_+'@w`~)(><:\\/\"][?}{\r\n\
        CSeq: 139122385 !odd-Method0*_+`.%'~\r\n\
        Max-Forwards: 255\r\n\
        ext-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7\xff\r\n\
        Content-Length: 0\r\n\r\n",
    );
    assert_eq!(message.method(), Method::Other);
    assert_eq!(message.method_bytes(), b"!odd-Method0*_+`.%'~");
    assert_eq!(message.to().uri, b"sip:u~(x!y)/?,/;;*@example.com");
    assert_eq!(message.from().tag(), Some(&b"_t~1'+`*%!-."[..]));
    assert_eq!(message.header_named(b"EXT-!.%*+_`'~").unwrap().value, b"\xef\xbb\xbf\xe5\xa4\xa7\xff");
}

#[test]
fn a_response_may_have_an_empty_reason_or_a_strange_one() {
    let with_status = |line: &str| {
        let rest = &INVITE[INVITE.iter().position(|byte| *byte == b'\n').unwrap()..];
        Message::parse([line.as_bytes(), b"\r", rest].concat().into(), &Limits::default())
    };
    for line in ["SIP/2.0 100 ", "sip/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}", "SIP/2.0 699 x  y "] {
        let message = with_status(line).unwrap();
        assert_eq!(message.status(), line[8..11].parse().ok());
        assert_eq!(
            message.start(),
            StartLine::Response { status: message.status().unwrap(), reason: &line.as_bytes()[12..] }
        );
        assert_eq!((message.method(), message.request_uri()), (Method::Invite, None));
    }
    for line in [
        "SIP/2.0 99 x",
        "SIP/2.0 700 x",
        "SIP/2.0 4294967301 x",
        "SIP/2.0 200",
        "SIP/2.0  200 x",
        "SIP/2.0 2 0 x",
    ] {
        assert_eq!(with_status(line).unwrap_err().reason, "Malformed status line", "{line}");
    }
    assert_eq!(with_status("SIP/3.0 200 x").unwrap_err().status, 505);
}
