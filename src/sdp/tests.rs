use super::*;

fn relay(address: &str, rtcp: u16, candidate: bool) -> MediaEdit {
    let rtp: SocketAddr = address.parse().unwrap();
    MediaEdit::Relay { rtp, rtcp: SocketAddr::new(rtp.ip(), rtcp), candidate }
}

/// Rewrites, and checks on the way that doing it again changes nothing.
fn rewritten(body: &str, edits: &[MediaEdit]) -> String {
    let mut out = Vec::new();
    Session::parse(body.as_bytes()).unwrap().rewrite(edits, &mut out);
    let mut again = Vec::new();
    Session::parse(&out).unwrap().rewrite(edits, &mut again);
    let (out, again) = (String::from_utf8(out).unwrap(), String::from_utf8(again).unwrap());
    assert_eq!(out, again, "not idempotent");
    out
}

#[test]
fn port_and_address_are_ours_and_nothing_else() {
    let body = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\na=x-odd\r\n";
    let want = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8\r\na=x-odd\r\n";
    assert_eq!(rewritten(body, &[relay("203.0.113.10:40000", 40001, false)]), want);
}
