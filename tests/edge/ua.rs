//! User agents as text: just enough SIP to be the other side, written without the code under test.

use std::sync::atomic::{AtomicU32, Ordering};

use super::world::Actor;

static SERIAL: AtomicU32 = AtomicU32::new(1);

fn serial() -> u32 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// All values of a header, one per line.
pub fn headers<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let head = text.split("\r\n\r\n").next().unwrap_or(text);
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

#[track_caller]
pub fn header<'t>(text: &'t str, name: &str) -> &'t str {
    headers(text, name).first().copied().unwrap_or_else(|| panic!("no {name} in:\n{text}"))
}

pub fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

pub fn request_uri(text: &str) -> &str {
    text.split(' ').nth(1).unwrap_or("")
}

/// What stands between the angle brackets, or the whole.
pub fn uri_in(value: &str) -> &str {
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(uri, _)| uri)
}

pub fn sdp(address: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )
}

fn via(actor: &Actor) -> String {
    format!("SIP/2.0/{} {};branch=z9hG4bKtest{};rport", actor.transport().via(), actor.address(), serial())
}

fn contact(actor: &Actor, user: &str) -> String {
    format!("<sip:{user}@{};transport={}>", actor.address(), actor.transport().uri_param())
}

fn with_body(mut head: String, body: &str) -> String {
    if !body.is_empty() {
        head.push_str("Content-Type: application/sdp\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    head
}

/// A request outside any dialog, with further header lines.
pub fn request(actor: &Actor, method: &str, uri: &str, from: &str, extra: &str, body: &str) -> String {
    let id = serial();
    let head = format!(
        "{method} {uri} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: <sip:{from}@example.com>;tag=f{id}\r\nTo: <{uri}>\r\n\
         Call-ID: call-{id}@test\r\nCSeq: 1 {method}\r\nContact: {}\r\n{extra}",
        via(actor),
        contact(actor, from),
    );
    with_body(head, body)
}

/// The response of a UAS; `tag` for To, `contact` and `body` where given.
pub fn response(request: &str, status: &str, tag: &str, extra: &str, body: &str) -> String {
    let mut head = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route", "From"] {
        for value in headers(request, name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let to = header(request, "To");
    let tag = if to.contains(";tag=") || tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    head.push_str(&format!(
        "To: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
        header(request, "Call-ID"),
        header(request, "CSeq")
    ));
    head.push_str(extra);
    with_body(head, body)
}

/// A 200 (or other status with Contact and SDP) from this UAS.
pub fn answer(actor: &Actor, request: &str, status: &str, tag: &str, body: &str) -> String {
    response(request, status, tag, &format!("Contact: {}\r\n", contact(actor, "callee")), body)
}

/// The ACK of a non-2xx (RFC 3261 §17.1.1.3).
pub fn ack_of(response: &str) -> String {
    let line = |name| format!("{name}: {}\r\n", header(response, name));
    let names: String = ["Via", "From", "To", "Call-ID"].into_iter().map(line).collect();
    format!("ACK sip:x SIP/2.0\r\n{names}CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n")
}

/// The CANCEL of an INVITE (RFC 3261 §9.1).
pub fn cancel_of(invite: &str) -> String {
    let line = |name| format!("{name}: {}\r\n", header(invite, name));
    let names: String = ["Via", "From", "To", "Call-ID"].into_iter().map(line).collect();
    let (uri, number) = (request_uri(invite), header(invite, "CSeq").replace("INVITE", "CANCEL"));
    format!("CANCEL {uri} SIP/2.0\r\n{names}Max-Forwards: 70\r\nCSeq: {number}\r\nContent-Length: 0\r\n\r\n")
}

/// One end of a dialog.
#[derive(Clone, Debug)]
pub struct Leg {
    pub actor: Actor,
    pub call_id: String,
    pub local: String,
    pub remote: String,
    pub target: String,
    pub routes: Vec<String>,
    pub cseq: u32,
}

impl Leg {
    /// As the caller sees it: its INVITE and the 2xx that came.
    pub fn caller(actor: &Actor, invite: &str, answer: &str) -> Leg {
        let mut routes: Vec<String> =
            headers(answer, "Record-Route").iter().map(|route| route.to_string()).collect();
        routes.reverse();
        Leg {
            actor: *actor,
            call_id: header(invite, "Call-ID").into(),
            local: header(invite, "From").into(),
            remote: header(answer, "To").into(),
            target: uri_in(header(answer, "Contact")).into(),
            routes,
            cseq: 1,
        }
    }

    /// As the callee sees it: the INVITE that came and its own answer.
    pub fn callee(actor: &Actor, invite: &str, answer: &str) -> Leg {
        Leg {
            actor: *actor,
            call_id: header(invite, "Call-ID").into(),
            local: header(answer, "To").into(),
            remote: header(invite, "From").into(),
            target: uri_in(header(invite, "Contact")).into(),
            routes: headers(invite, "Record-Route").iter().map(|route| route.to_string()).collect(),
            cseq: 0,
        }
    }

    /// The next request of this end.
    pub fn request(&mut self, method: &str, body: &str) -> String {
        if method != "ACK" {
            self.cseq += 1;
        }
        let routes: String = self.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let head = format!(
            "{method} {} SIP/2.0\r\nVia: {}\r\n{routes}Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {} {method}\r\nContact: {}\r\n",
            self.target,
            via(&self.actor),
            self.local,
            self.remote,
            self.call_id,
            self.cseq,
            contact(&self.actor, "ua"),
        );
        with_body(head, body)
    }
}
