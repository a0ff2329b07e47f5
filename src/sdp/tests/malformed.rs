use super::*;

/// Shapes that an edge must survive, each with the line that is to blame. None of them may be read one way here and
/// another way at the far end.
const MALFORMED: [(&str, usize, &str); 38] = [
    ("", 1, "empty"),
    ("\r\n", 1, "v=0"),
    ("o=- 1 1 IN IP4 10.0.0.1\r\nv=0\r\n", 1, "v=0"),
    ("v=1\r\n", 1, "v=0"),
    ("v=0 \r\n", 1, "v=0"),
    ("v=0\r\nv=0\r\n", 2, "second v="),
    ("v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\no=- 1 1 IN IP4 10.0.0.2\r\n", 3, "second o="),
    ("v=0\r\ngarbage\r\n", 2, "<letter>=<value>"),
    ("v=0\r\n m=audio 4000 RTP/AVP 0\r\n", 2, "<letter>=<value>"),
    ("v=0\r\nm =audio 4000 RTP/AVP 0\r\n", 2, "<letter>=<value>"),
    ("v=0\r\nM=audio 4000 RTP/AVP 0\r\n", 2, "<letter>=<value>"),
    ("v=0\r\na", 2, "<letter>=<value>"),
    ("v=0\r\n\r\nm=audio 4000 RTP/AVP 0\r\n", 3, "blank line"),
    ("v=0\r\ns=\0\r\n", 2, "NUL"),
    ("v=0\r\ns=-\rm=audio 4000 RTP/AVP 0\r\n", 2, "CR without LF"),
    ("v=0\r\ns=-\r", 2, "CR without LF"),
    ("v=0\r\ns=-\r\r\n", 2, "CR without LF"),
    ("v=0\r\nm=\r\n", 2, "kind, port and protocol"),
    ("v=0\r\nm=audio\r\n", 2, "kind, port and protocol"),
    ("v=0\r\nm=audio 4000\r\n", 2, "kind, port and protocol"),
    ("v=0\r\nm=audio 4000 RTP/AVP\r\n", 2, "format"),
    ("v=0\r\nm=audio -1 RTP/AVP 0\r\n", 2, "port"),
    ("v=0\r\nm=audio 65536 RTP/AVP 0\r\n", 2, "port"),
    ("v=0\r\nm=audio 4294971296 RTP/AVP 0\r\n", 2, "port"),
    ("v=0\r\nm=audio 4e3 RTP/AVP 0\r\n", 2, "port"),
    ("v=0\r\nm=audio\t4000 RTP/AVP 0 8\r\n", 2, "port"),
    ("v=0\r\nm=audio 4000/2 RTP/AVP 0\r\n", 2, "several ports"),
    ("v=0\r\nm=audio 4000/ RTP/AVP 0\r\n", 2, "several ports"),
    ("v=0\r\nm=audio 4000 RTP/AVP 128\r\n", 2, "payload type"),
    ("v=0\r\nm=audio 4000 RTP/AVP 0 PCMU\r\n", 2, "payload type"),
    ("v=0\r\nc=IN IP4\r\n", 2, "network, family and address"),
    ("v=0\r\nc=IN IP4 10.0.0.1 10.0.0.2\r\n", 2, "network, family and address"),
    ("v=0\r\nc=IN IP4 10.0.0.256\r\n", 2, "neither of its family"),
    ("v=0\r\nc=IN IP4 2001:db8::1\r\n", 2, "neither of its family"),
    ("v=0\r\nc=IN IP6 fe80::1%eth0\r\n", 2, "neither of its family"),
    ("v=0\r\nc=IN IP5 10.0.0.1\r\n", 2, "neither IP4 nor IP6"),
    ("v=0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:x\r\n", 3, "a=rtcp"),
    ("v=0\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001 IN IP4\r\n", 3, "a=rtcp"),
];

#[test]
fn each_names_its_line() {
    for (body, line, reason) in MALFORMED {
        let error = Session::parse(body.as_bytes()).expect_err(body);
        assert_eq!(error.line, line, "{body:?}: {error}");
        assert!(error.reason.contains(reason), "{body:?}: {error}");
    }
}

#[test]
fn two_lines_that_both_say_where_media_goes() {
    for line in ["c=IN IP4 10.0.0.1\r\n", "a=rtcp:4001\r\n"] {
        let body = format!("v=0\r\nm=audio 4000 RTP/AVP 0\r\n{line}{line}");
        assert_eq!(Session::parse(body.as_bytes()).expect_err(line).line, 4);
    }
    assert_eq!(
        Session::parse(b"v=0\r\nc=IN IP4 10.0.0.1\r\nc=IN IP4 10.0.0.1\r\n").expect_err("two").line,
        3
    );
}

#[test]
fn full_means_an_error() {
    let section = "m=audio 4000 RTP/AVP 0\r\n";
    assert!(Session::parse(format!("v=0\r\n{}", section.repeat(MAX_MEDIA)).as_bytes()).is_ok());
    let error =
        Session::parse(format!("v=0\r\n{}", section.repeat(MAX_MEDIA + 1)).as_bytes()).expect_err("full");
    assert_eq!(error, SdpError { line: MAX_MEDIA + 2, reason: "more than 64 m= lines" });
    let long = format!("v=0\r\na={}", "x".repeat(MAX_BODY));
    assert!(Session::parse(&long.as_bytes()[..MAX_BODY]).is_ok());
    assert!(Session::parse(&long.as_bytes()[..=MAX_BODY]).is_err());
}

#[test]
fn oddities_of_real_phones_are_read() {
    for body in [
        "v=0",
        "v=0\r\nm=audio  4000 RTP/AVP 0 8 \r\n",
        "v=0\r\nm=audio 4000/1 RTP/AVP 0\r\n",
        "v=0\r\nm=audio 0 RTP/AVP\r\n",
        "v=0\r\nc=ATM NSAP 47.0091\r\n",
        "v=0\r\nc=IN IP4 224.2.1.1/127\r\n",
        "v=0\r\nc=IN IP4 pbx-1.example.com\r\n",
        "v=0\r\no=\r\ns=\r\nt=\r\n\r\n",
    ] {
        assert!(Session::parse(body.as_bytes()).is_ok(), "{body:?}");
    }
}
