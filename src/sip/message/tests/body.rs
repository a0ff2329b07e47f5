use super::*;

/// The INVITE with this Content-Type and body.
fn with_body(content_type: &str, body: &str) -> Message {
    let message = parsed(INVITE);
    let mut edit = Edit::new(&message);
    edit.set(Name::ContentType, content_type.as_bytes());
    edit.set_body(body.as_bytes());
    let mut out = Vec::new();
    edit.write(&mut out);
    parsed(&out)
}

fn found(content_type: &str, body: &str) -> Result<Option<String>, Sealed> {
    let message = with_body(content_type, body);
    let found = sdp_part(&message)?;
    Ok(found.map(|range| String::from_utf8(message.body()[range].to_vec()).unwrap()))
}

fn sdp(content_type: &str, body: &str) -> Option<String> {
    found(content_type, body).unwrap()
}

fn sealed(content_type: &str, body: &str) -> Sealed {
    found(content_type, body).unwrap_err()
}

#[test]
fn plain_sdp_is_all_of_the_body() {
    for content_type in ["application/sdp", "Application / SDP ;charset=utf-8", "application/SDP"] {
        assert_eq!(sdp(content_type, "v=0\r\n").as_deref(), Some("v=0\r\n"));
    }
    assert_eq!(sdp("application/sdpfrag", "v=0\r\n"), None);
    assert_eq!(sdp("text/plain", "v=0\r\n"), None);
}

#[test]
fn one_part_of_a_multipart_body() {
    let body = "preamble --b\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi --b\r\n--bx\r\n\r\n--b \t\r\n\
                Content-Length: 3\r\nc: application/sdp\r\n folded\r\n\r\n";
    let rest = "v=0\r\no=- --b\r\n\r\n--b--\r\nepilogue";
    let both = format!("{body}{rest}").replace("\r\n folded", ";x=\r\n y");
    assert_eq!(sdp("multipart/mixed;boundary=b", &both).as_deref(), Some("v=0\r\no=- --b\r\n"));
    assert_eq!(
        sdp("Multipart/Alternative; x=y ; Boundary=\"b\"", &both).as_deref(),
        Some("v=0\r\no=- --b\r\n")
    );
    for broken in ["multipart/mixed;boundary=c", "multipart/mixed", "multipart/mixed;boundary=\"\""] {
        assert_eq!(sealed(broken, &both), Sealed::Broken);
    }
    // Cut off before the last delimiter: some would read it, so it counts.
    let cut = both.replace("\r\n--b--", "");
    assert_eq!(sdp("multipart/mixed;boundary=b", &cut).as_deref(), Some("v=0\r\no=- --b\r\n\r\nepilogue"));
    assert_eq!(sdp("multipart/mixed;boundary=b", "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--"), None);
    assert_eq!(sdp("multipart/mixed;boundary=b", "--b--"), None);
}

const SDP: &str = "Content-Type: application/sdp\r\n\r\nv=0";

#[test]
fn a_boundary_may_hold_what_has_to_be_quoted() {
    let body = format!("--a b:c\r\n{SDP}\r\n--a b:c--\r\n");
    assert_eq!(sdp("multipart/mixed; boundary=\"a b:c\"", &body).as_deref(), Some("v=0"));
}

#[test]
fn parts_that_can_be_changed_are_found_and_no_others() {
    let part = |head: &str, text: &str| format!("--a\r\nContent-Type: {head}\r\n\r\n{text}\r\n");
    let inner = "--b\r\nContent-Type: x/two\r\n\r\n2\r\n--b--";
    let body = [
        part("X/One;q=1", "1"),
        part("multipart/mixed;boundary=b", inner),
        part("multipart/signed;boundary=b", inner),
        part("x/coded\r\nContent-Transfer-Encoding: base64", "Mw=="),
        "--a--".into(),
    ]
    .concat();
    let message = with_body("multipart/mixed;boundary=a", &body);
    let found: Vec<_> = readable_parts(&message)
        .into_iter()
        .map(|(media_type, place)| (media_type, &message.body()[place]))
        .collect();
    assert_eq!(found, [(&b"X/One"[..], &b"1"[..]), (b"x/two", b"2")]);
}

#[test]
fn of_two_sdp_parts_nobody_knows_which_one_counts() {
    let early = SDP.replace("\r\n\r\n", "\r\nContent-Disposition: early-session\r\n\r\n");
    let body = format!("--b\r\n{SDP}\r\n--b\r\n{early}\r\n--b--");
    for content_type in ["multipart/mixed;boundary=b", "multipart/alternative;boundary=b"] {
        assert_eq!(sealed(content_type, &body), Sealed::Several);
    }
    let nested = format!(
        "--o\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n{SDP}\r\n--b--\r\n--o\r\n{SDP}\r\n--o--"
    );
    assert_eq!(sealed("multipart/mixed;boundary=o", &nested), Sealed::Several);
}

#[test]
fn what_is_signed_or_encrypted_is_not_rewritten() {
    let signature =
        "Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIB";
    let body = format!("--b\r\n{SDP}\r\n--b\r\n{signature}\r\n--b--");
    let signed = "multipart/signed;protocol=\"application/pkcs7-signature\";micalg=sha-256;boundary=b";
    assert_eq!(sealed(signed, &body), Sealed::Signed);
    let inside = format!("--o\r\nContent-Type: {signed}\r\n\r\n{body}\r\n--o--");
    assert_eq!(sealed("multipart/mixed;boundary=o", &inside), Sealed::Signed);
    let other = body.replace("application/sdp", "application/pidf+xml");
    assert_eq!(sdp(signed, &other), None, "what is signed is no SDP");
    for secret in ["application/pkcs7-mime; smime-type=enveloped-data", "application/x-pkcs7-mime"] {
        assert_eq!(sealed(secret, "MIIB"), Sealed::Encrypted);
    }
    assert_eq!(sealed("multipart/encrypted;boundary=b", &body), Sealed::Encrypted);
}

#[test]
fn an_encoded_part_is_not_sdp_text() {
    let part = |encoding: &str| {
        format!(
            "--b\r\nContent-Transfer-Encoding: {encoding}\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--"
        )
    };
    assert_eq!(sdp("multipart/mixed;boundary=b", &part("BINARY")).as_deref(), Some("v=0"));
    assert_eq!(sealed("multipart/mixed;boundary=b", &part("base64")), Sealed::Encoded);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let open: String = (1..depth)
            .map(|n| format!("--b{}\r\nContent-Type: multipart/mixed;boundary=b{n}\r\n\r\n", n - 1))
            .collect();
        let close: String = (1..depth).rev().map(|n| format!("\r\n--b{n}--")).collect();
        let last = depth - 1;
        format!("{open}--b{last}\r\nContent-Type: application/sdp\r\n\r\nv=0{close}\r\n--b0--")
    };
    assert_eq!(sdp("multipart/mixed;boundary=b0", &nested(4)).as_deref(), Some("v=0"));
    for depth in [5, 1_000] {
        assert_eq!(sealed("multipart/mixed;boundary=b0", &nested(depth)), Sealed::TooDeep);
    }
}

#[test]
fn logs_show_escapes() {
    let shown = escape_for_log(b"a \"b\" \x1b[2J\r\n\0\\ \xff caf\xc3\xa9 \xe2\x80\xae").to_string();
    assert_eq!(shown, "a \"b\" \\u{1b}[2J\\r\\n\\0\\\\ \\xff caf\u{e9} \\u{202e}");
}
