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

fn sdp(content_type: &str, body: &str) -> Option<String> {
    let message = with_body(content_type, body);
    sdp_part(&message).map(|range| String::from_utf8(message.body()[range].to_vec()).unwrap())
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
    assert_eq!(sdp("multipart/mixed;boundary=c", &both), None);
    assert_eq!(sdp("multipart/mixed", &both), None);
    assert_eq!(sdp("multipart/mixed;boundary=\"\"", &both), None);
    // Cut off before the last delimiter: not a part.
    assert_eq!(sdp("multipart/mixed;boundary=b", &both.replace("\r\n--b--", "")), None);
}

#[test]
fn an_encoded_part_is_not_sdp_text() {
    let part = |encoding: &str| {
        format!(
            "--b\r\nContent-Transfer-Encoding: {encoding}\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--"
        )
    };
    assert_eq!(sdp("multipart/mixed;boundary=b", &part("BINARY")).as_deref(), Some("v=0"));
    assert_eq!(sdp("multipart/mixed;boundary=b", &part("base64")), None);
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
            .replace("--b0", "--b0")
    };
    assert_eq!(sdp("multipart/mixed;boundary=b0", &nested(4)).as_deref(), Some("v=0"));
    assert_eq!(sdp("multipart/mixed;boundary=b0", &nested(5)), None);
    assert_eq!(sdp("multipart/mixed;boundary=b0", &nested(1_000)), None);
}

#[test]
fn logs_show_escapes() {
    let shown = escape_for_log(b"a \"b\" \x1b[2J\r\n\0\\ \xff caf\xc3\xa9 \xe2\x80\xae").to_string();
    assert_eq!(shown, "a \"b\" \\u{1b}[2J\\r\\n\\0\\\\ \\xff caf\u{e9} \\u{202e}");
}
