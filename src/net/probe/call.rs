//! What a trunk is asked: OPTIONS, who is registered, and a call that is cancelled as soon as it is known what it would be like.

use std::io;
use std::time::{Duration, Instant};

use super::line::Line;
use super::{Answer, Us};
use crate::edge::escaped_user;
use crate::edge::settings::{CallerIdHeader, Srtp};
use crate::sdp::crypto;
use crate::sip::digest::{Asked, Challenge};
use crate::sip::message::{Message, Name};

/// RFC 3261 §17.1.1.1: T1.
const T1: Duration = Duration::from_millis(500);
/// Payload types of the offer: what carriers speak.
const OFFERED: &str = "0 8 9 18 96 101";
const CODECS: &str = "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:18 G729/8000\r\n\
                      a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n";

/// What became of the dry call.
#[derive(Debug)]
pub struct Dry {
    /// What it was answered: the final response, or the last provisional one where it was cancelled.
    pub answer: Answer,
    /// We were asked for our password, and gave it.
    pub gave_password: bool,
    /// It rang, and whoever rang was not stopped by our CANCEL or BYE as far as we heard.
    pub left_ringing: bool,
}

/// What became of the question who is registered.
#[derive(Debug)]
pub struct Queried {
    /// What it was answered last.
    pub answer: Answer,
    /// We were asked for our password, and gave it.
    pub gave_password: bool,
}

impl Dry {
    fn over(answer: Answer, gave_password: bool) -> Dry {
        Dry { answer, gave_password, left_ringing: false }
    }
}

/// A dialog that may come to be.
struct Talk<'t> {
    us: &'t Us<'t>,
    /// Request-URI.
    uri: String,
    /// URI of From.
    from: String,
    to: String,
    /// A carrier that knows us by name looks for it in Contact, as in the node's own requests.
    has_contact: bool,
    call_id: String,
    tag: String,
    cseq: u32,
}

impl<'t> Talk<'t> {
    fn new(us: &'t Us<'t>, uri: String) -> Talk<'t> {
        let (call_id, tag) = (format!("check-{:016x}", rand::random::<u64>()), random());
        let from = format!("sip:{}@{}", us.user(), us.advertise);
        Talk { us, from, to: format!("<{uri}>"), uri, has_contact: true, call_id, tag, cseq: 1 }
    }

    /// `more`: header fields, each with its end; then an empty line and the body.
    fn request(&self, method: &str, branch: &str, line: &Line, more: &str, body: &str) -> Vec<u8> {
        let Talk { us: Us { advertise, .. }, uri, from, to, call_id, tag, cseq, .. } = self;
        let transport = line.transport;
        let contact = if self.has_contact {
            format!(
                "Contact: <sip:{}@{advertise};transport={}>\r\n",
                self.us.user(),
                transport.to_ascii_lowercase()
            )
        } else {
            String::new()
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {advertise};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
             From: <{from}>;tag={tag}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             {contact}{more}Content-Length: {length}\r\n\r\n{body}",
            length = body.len(),
        )
        .into_bytes()
    }
}

fn random() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// OPTIONS, as health checks send it.
pub(super) fn options(line: &mut Line, us: &Us<'_>, host: &str, patience: Duration) -> Answer {
    let talk = Talk::new(us, format!("sip:{host}"));
    let request = talk.request("OPTIONS", &random(), line, "Accept: application/sdp\r\n", "");
    let asked = ask(line, &talk, &request, patience, |message| message.status() >= Some(200));
    match asked {
        Ok(Some(response)) => Answer::Response(Box::new(response)),
        Ok(None) => Answer::Silence,
        Err(error) => Answer::Broken(error),
    }
}

/// RFC 3261 §10.2.3: a REGISTER without Contact changes nothing, so whoever is registered stays so; it is answered with the bindings that
/// there are, once it is known who asks.
pub(super) fn query(line: &mut Line, us: &Us<'_>, host: &str, patience: Duration) -> Queried {
    let mut talk = Talk::new(us, format!("sip:{host}"));
    // As the node registers: with the name of its account.
    let account = us.auth.map_or("turnpike", |auth| &auth.username);
    talk.from = format!("sip:{}@{host}", escaped_user(account));
    talk.to = format!("<{}>", talk.from);
    talk.has_contact = false;
    let mut queried = Queried { answer: Answer::Silence, gave_password: false };
    let mut login = String::new();
    loop {
        let request = talk.request("REGISTER", &random(), line, &login, "");
        let response = match ask(line, &talk, &request, patience, |message| message.status() >= Some(200)) {
            Ok(Some(response)) => response,
            Ok(None) => return Queried { answer: Answer::Silence, ..queried },
            Err(error) => return Queried { answer: Answer::Broken(error), ..queried },
        };
        let answers = credentials(us, &talk, "REGISTER", &response, "").filter(|_| !queried.gave_password);
        queried.answer = Answer::Response(Box::new(response));
        let Some(credentials) = answers else { return queried };
        login = credentials;
        queried.gave_password = true;
        talk.cseq += 1;
    }
}

/// Sends a request until a response is enough, which is returned; else the last one that came.
fn ask(
    line: &mut Line,
    talk: &Talk<'_>,
    request: &[u8],
    patience: Duration,
    enough: impl Fn(&Message) -> bool,
) -> io::Result<Option<Message>> {
    let deadline = Instant::now() + patience;
    let (mut pause, mut last) = (T1, None);
    line.send(request)?;
    loop {
        // Over UDP a request is sent again until something comes.
        let again = line.is_lossy() && last.is_none();
        let until = if again { deadline.min(Instant::now() + pause) } else { deadline };
        match line.response(&talk.call_id, until)? {
            Some(response) if response.cseq().number != talk.cseq => {}
            Some(response) if enough(&response) => return Ok(Some(response)),
            Some(response) => last = Some(response),
            None if Instant::now() >= deadline => return Ok(last),
            None => {
                line.send(request)?;
                pause *= 2;
            }
        }
    }
}

/// The answer is decided: it is final, or its SDP says what the media would be.
fn is_decided(message: &Message) -> bool {
    message.status() >= Some(200) || !message.body().is_empty()
}

/// Calls, and cancels as soon as the callee's media is known, or rings for as long as our patience lasts.
pub(super) fn dry(line: &mut Line, us: &Us<'_>, host: &str, callee: &str, patience: Duration) -> Dry {
    let mut talk = Talk::new(us, format!("sip:{callee}@{host}"));
    let offer = offer(us, line);
    let mut more =
        String::from("Content-Type: application/sdp\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n");
    if let (Some(caller), Some(name)) = (us.caller, asserted(us)) {
        more += &format!("{name}: <sip:{caller}@{}>\r\n", us.advertise);
    }
    let mut gave_password = false;
    loop {
        let branch = random();
        let request = talk.request("INVITE", &branch, line, &more, &offer);
        let response = match ask(line, &talk, &request, patience, is_decided) {
            Ok(Some(response)) => response,
            Ok(None) => return Dry::over(Answer::Silence, gave_password),
            Err(error) => return Dry::over(Answer::Broken(error), gave_password),
        };
        match response.status() {
            Some(401 | 407) if !gave_password => {
                acknowledge(line, &mut talk, &branch, &response);
                let Some(credentials) = credentials(us, &talk, "INVITE", &response, &offer) else {
                    return Dry::over(Answer::Response(Box::new(response)), false);
                };
                gave_password = true;
                more += &credentials;
                talk.to = format!("<{}>", talk.uri);
                talk.cseq += 1;
            }
            _ => {
                let stopped = end(line, &mut talk, &branch, &response, patience);
                let answer = Answer::Response(Box::new(response));
                return Dry { answer, gave_password, left_ringing: !stopped };
            }
        }
    }
}

/// The header that tells a carrier who calls, besides From.
fn asserted(us: &Us<'_>) -> Option<&'static str> {
    match us.header? {
        CallerIdHeader::PAssertedIdentity => Some("P-Asserted-Identity"),
        CallerIdHeader::PPreferredIdentity => Some("P-Preferred-Identity"),
        CallerIdHeader::RemotePartyId => Some("Remote-Party-ID"),
        CallerIdHeader::From => None,
    }
}

/// The header field that answers a challenge (RFC 3261 §22.2, §22.3), if we have a password for it.
fn credentials(us: &Us<'_>, talk: &Talk<'_>, method: &str, response: &Message, body: &str) -> Option<String> {
    let (asks, answers) = match response.status() {
        Some(401) => ("WWW-Authenticate", "Authorization"),
        Some(407) => ("Proxy-Authenticate", "Proxy-Authorization"),
        _ => return None,
    };
    let challenges = response.headers().filter(|(name, _)| name.eq_ignore_ascii_case(asks.as_bytes()));
    let challenge = challenges.filter_map(|(_, element)| Challenge::parse(element.value)).next()?;
    let (method, uri, body) = (method.as_bytes(), talk.uri.as_bytes(), body.as_bytes());
    let asked = Asked { method, uri, body, count: 1, cnonce: rand::random() };
    let auth = us.auth?;
    let value = challenge.answer(&auth.username, &auth.secret, &asked)?;
    Some(format!("{answers}: {}\r\n", String::from_utf8_lossy(&value)))
}

/// Ends what `response` has begun: ACK for a refusal, CANCEL while it rings, ACK and BYE where somebody has answered. False: nobody
/// said that it is over.
fn end(line: &mut Line, talk: &mut Talk<'_>, branch: &str, response: &Message, patience: Duration) -> bool {
    match response.status() {
        Some(100..200) => {
            // RFC 3261 §9.1: same Request-URI, Call-ID, To, From and number as the INVITE, and its branch.
            let cancel = talk.request("CANCEL", branch, line, "", "");
            let is_final =
                |message: &Message| message.status() >= Some(200) && message.cseq().method_bytes == b"INVITE";
            match ask(line, talk, &cancel, patience, is_final) {
                Ok(Some(last)) if is_final(&last) => end(line, talk, branch, &last, patience),
                _ => false,
            }
        }
        Some(200..300) => hang_up(line, talk, response, patience),
        _ => {
            acknowledge(line, talk, branch, response);
            true
        }
    }
}

/// RFC 3261 §17.1.1.3: the ACK for a refusal, with the To of the response.
fn acknowledge(line: &mut Line, talk: &mut Talk<'_>, branch: &str, response: &Message) {
    talk.to = to_of(response);
    let ack = talk.request("ACK", branch, line, "", "");
    // It is over for us, whether this arrives or not.
    let _ = line.send(&ack);
}

/// RFC 3261 §13.2.2.4 and §15.1.1, in the dialog that the response has made (§12.1.2).
fn hang_up(line: &mut Line, talk: &mut Talk<'_>, response: &Message, patience: Duration) -> bool {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let contact = response.elements(Name::Contact).next().map(|element| text(element.value));
    if let Some((_, uri)) = contact.as_deref().and_then(|contact| contact.split_once('<')) {
        talk.uri = uri.split('>').next().unwrap_or(uri).to_owned();
    }
    talk.to = to_of(response);
    let mut routes: Vec<_> = response
        .elements(Name::RecordRoute)
        .map(|element| format!("Route: {}\r\n", text(element.value)))
        .collect();
    routes.reverse();
    let routes = routes.concat();
    let ack = talk.request("ACK", &random(), line, &routes, "");
    let _ = line.send(&ack);
    talk.cseq += 1;
    let bye = talk.request("BYE", &random(), line, &routes, "");
    let is_final = |message: &Message| message.status() >= Some(200);
    matches!(ask(line, talk, &bye, patience, is_final), Ok(Some(last)) if is_final(&last))
}

fn to_of(response: &Message) -> String {
    let to = response.header(Name::To).map(|element| element.value).unwrap_or_default();
    String::from_utf8_lossy(to).into_owned()
}

/// An offer of what the trunk's `srtp` says that it speaks. Nobody listens there: the call does not live until then.
fn offer(us: &Us<'_>, line: &Line) -> String {
    let ip = us.media.unwrap_or(line.local.ip());
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let profile = match us.srtp {
        Srtp::Pass | Srtp::Off | Srtp::Optional => "RTP/AVP",
        Srtp::Sdes | Srtp::Required => "RTP/SAVP",
        Srtp::Dtls => "UDP/TLS/RTP/SAVPF",
    };
    let mut sdp = format!(
        "v=0\r\no=- {} 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio 40000 {profile} {OFFERED}\r\n{CODECS}",
        rand::random::<u32>()
    );
    match us.srtp {
        Srtp::Pass | Srtp::Off => {}
        Srtp::Optional | Srtp::Sdes | Srtp::Required => {
            for (tag, suite) in (1..).zip(["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"]) {
                let mut written = Vec::new();
                crypto::write(tag, suite, &rand::random::<[u8; 30]>(), &mut written);
                sdp += &format!("{}\r\n", String::from_utf8_lossy(&written));
            }
        }
        Srtp::Dtls => {
            let fingerprint: Vec<_> = rand::random::<[u8; 32]>().iter().map(|b| format!("{b:02X}")).collect();
            let fingerprint = fingerprint.join(":");
            sdp += &format!("a=setup:actpass\r\na=fingerprint:sha-256 {fingerprint}\r\na=rtcp-mux\r\n");
        }
    }
    sdp
}
