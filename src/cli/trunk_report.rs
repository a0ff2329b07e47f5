//! What was seen of a live trunk, demand by demand: pass or fail, and what to do about it. Pure: [`crate::net::probe`] looked.

use std::fmt::{self, Display};
use std::io::{self, ErrorKind};

use rustls::{AlertDescription, CertificateError as Reason};

use crate::base::Transport;
use crate::edge::settings::{Srtp, Trunk};
use crate::net::probe::{Answer, Dry, HostSeen, Queried, ServerSeen};
use crate::sdp::Session;
use crate::sip::message::{Message, Name, StartLine};
use crate::sip::uri::Uri;

/// All that a trunk must do for calls to work.
pub(super) struct TrunkReport {
    name: String,
    demands: Vec<Demand>,
}

/// One of them.
struct Demand {
    /// A host or a server, where it is the first of it.
    of: Option<String>,
    what: &'static str,
    verdict: Verdict,
}

enum Verdict {
    Pass(String),
    Fail(Failure),
    /// What came before failed, or nobody asked for it.
    NotTried(&'static str),
}

struct Failure {
    what: String,
    help: String,
}

fn fail(what: impl Display, help: impl Display) -> Verdict {
    Verdict::Fail(Failure { what: what.to_string(), help: help.to_string() })
}

impl TrunkReport {
    /// Judges what was seen. `advertise` is what we call ourselves there.
    pub fn new(trunk: &Trunk, hosts: &[HostSeen], wants_call: bool, advertise: &str) -> TrunkReport {
        let mut report = TrunkReport { name: trunk.name.to_string(), demands: Vec::new() };
        for host in hosts {
            let of = Some(host.uri.to_string());
            if host.located {
                report.demands.push(Demand { of, what: "DNS", verdict: dns(host) });
            }
            for seen in &host.servers {
                report.server(seen, trunk, advertise);
            }
        }
        let called = hosts.iter().flat_map(|host| &host.servers).find_map(|server| server.call.as_ref());
        let (call, media) = match called {
            Some(dry) => (call(dry, trunk), media(dry, trunk)),
            None if wants_call => {
                (Verdict::NotTried("no server answered"), Verdict::NotTried("no server answered"))
            }
            None => {
                let add = "add --call NUMBER: it rings there for a moment";
                (Verdict::NotTried(add), Verdict::NotTried(add))
            }
        };
        report.demands.push(Demand { of: Some("a call".to_owned()), what: "INVITE", verdict: call });
        report.demands.push(Demand { of: None, what: "media", verdict: media });
        report
    }

    fn server(&mut self, seen: &ServerSeen, trunk: &Trunk, advertise: &str) {
        let transport = seen.server.transport;
        let of = format!("{}://{}", transport.scheme(), seen.server.remote);
        let mut push = |of, what, verdict| self.demands.push(Demand { of, what, verdict });
        let mut of = Some(of);
        if transport.is_reliable() {
            push(of.take(), "TCP", reached(&seen.reached));
        } else if seen.reached.is_err() {
            push(of.take(), "UDP", reached(&seen.reached));
        }
        if transport == Transport::Tls {
            let verdict = match &seen.tls {
                None => Verdict::NotTried("no connection"),
                Some(Ok(tls)) => {
                    Verdict::Pass(format!("{}, certificate for {}", tls.version, listed(&tls.names)))
                }
                Some(Err(error)) => handshake(error, trunk),
            };
            push(of.take(), "TLS", verdict);
        }
        let verdict = match &seen.options {
            None => Verdict::NotTried("no connection"),
            Some(answer) => options(answer, transport, advertise),
        };
        push(of.take(), "OPTIONS", verdict);
        if let Some(queried) = &seen.registered {
            push(None, "REGISTER", registered(queried, transport, advertise));
        }
    }

    /// Something must be done.
    pub fn has_failures(&self) -> bool {
        self.failures() > 0
    }

    fn failures(&self) -> usize {
        self.demands.iter().filter(|demand| matches!(demand.verdict, Verdict::Fail(_))).count()
    }
}

impl Display for TrunkReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "trunk {}", self.name)?;
        for Demand { of, what, verdict } in &self.demands {
            if let Some(of) = of {
                writeln!(f, "  {of}")?;
            }
            match verdict {
                Verdict::Pass(seen) => writeln!(f, "    pass  {what:<8} {seen}")?,
                Verdict::NotTried(why) => writeln!(f, "    -     {what:<8} {why}")?,
                Verdict::Fail(Failure { what: wrong, help }) => {
                    writeln!(f, "    FAIL  {what:<8} {wrong}\n          help: {help}")?;
                }
            }
        }
        match self.failures() {
            0 => writeln!(f, "nothing failed"),
            1 => writeln!(f, "1 demand failed"),
            many => writeln!(f, "{many} demands failed"),
        }
    }
}

fn dns(host: &HostSeen) -> Verdict {
    let places = host.servers.iter().map(|seen| {
        let server = &seen.server;
        format!("{} {}", server.transport.via(), server.remote)
    });
    let places: Vec<_> = places.collect();
    if places.is_empty() {
        let help = "compare the name with what the carrier gave you; `dig NAME`, `dig _sip._udp.NAME SRV`. If other names are not \
                    found either, name your resolver: `dns: { servers: [\"10.20.0.2:53\"] }`";
        return fail("no name server knows where this host is", help);
    }
    Verdict::Pass(places.join(", "))
}

fn reached(outcome: &io::Result<()>) -> Verdict {
    let Err(error) = outcome else { return Verdict::Pass("connected".to_owned()) };
    let help = match error.kind() {
        ErrorKind::ConnectionRefused => {
            "nothing listens there: compare port and `;transport=` with what the carrier gave you"
        }
        ErrorKind::TimedOut => {
            "let your firewall, and the carrier's, pass TCP from here to this address and port"
        }
        ErrorKind::AddrNotAvailable => "bind the zone's listener to an address that this machine has",
        _ => "look at this machine's routes: `ip route get ADDRESS`",
    };
    fail(error, help)
}

/// What rustls says, if it was that.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn handshake(error: &io::Error, trunk: &Trunk) -> Verdict {
    let Some(tls) = tls_error(error) else {
        let help = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                "it accepts connections and says nothing: is TLS spoken on this port?"
            }
            _ => {
                "it hung up in the handshake: is TLS spoken on this port, and does the carrier know your address?"
            }
        };
        return fail(format_args!("no handshake: {error}"), help);
    };
    let host = trunk.hosts.first().map(|host| host.host_and_port()).unwrap_or_default();
    match tls {
        rustls::Error::InvalidCertificate(reason) => match reason {
            Reason::NotValidForName => fail(
                "its certificate is for another name",
                format_args!(
                    "write the host by the name in its certificate instead of `{host}`, or `tls: {{ verify: chain }}`"
                ),
            ),
            Reason::NotValidForNameContext { expected, presented } => fail(
                format_args!("its certificate is for {}, not for {}", bare(presented), expected.to_str()),
                "write the host by a name that its certificate has, or `tls: { verify: chain }`",
            ),
            // A CA of the same name with another key is as unknown.
            Reason::UnknownIssuer | Reason::BadSignature => fail(
                "its certificate is signed by nobody that we trust",
                "name the carrier's CA: `tls: { ca: tls/carrier-ca.pem }`; if it is a public one, the carrier forgets to send its \
                 intermediate certificate",
            ),
            Reason::Expired | Reason::ExpiredContext { .. } => fail(
                "its certificate has expired",
                "tell the carrier; look at this machine's clock too: `date`",
            ),
            Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
                fail("its certificate is not valid yet", "look at this machine's clock: `date`")
            }
            other => fail(format_args!("its certificate: {other:?}"), "tell the carrier"),
        },
        rustls::Error::AlertReceived(alert) => refused_by_alert(*alert),
        rustls::Error::InvalidMessage(_) => {
            fail("what it says is not TLS", "compare port and `;transport=` with what the carrier gave you")
        }
        other => fail(other, "the carrier must speak TLS 1.2 or 1.3"),
    }
}

fn refused_by_alert(alert: AlertDescription) -> Verdict {
    let what = format!("it refuses us: {alert:?}");
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure => fail(
            what,
            "it wants to see a certificate of ours (mTLS), or no cipher is common: `tls: { certificate: public }`",
        ),
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::AccessDenied => fail(
            what,
            "it does not take our certificate: it must be of a CA that the carrier trusts, with all intermediates, in date, and for \
             the name that the carrier knows",
        ),
        _ => fail(what, "ask the carrier which TLS versions and names it takes"),
    }
}

/// A connection that broke behind the handshake: in TLS 1.3 a refusal of our certificate comes then.
fn broken(error: &io::Error) -> Verdict {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => refused_by_alert(*alert),
        _ if error.kind() == ErrorKind::ConnectionRefused => fail(
            "nothing listens there (ICMP says so)",
            "compare port and `;transport=` with what the carrier gave you",
        ),
        _ => fail(
            format_args!("the connection broke: {error}"),
            "carriers hang up on addresses and names that they do not know: have yours added",
        ),
    }
}

/// As on its first line.
fn status_line(message: &Message) -> String {
    match message.start() {
        StartLine::Response { status, reason } => format!("{status} {}", printable(reason)),
        StartLine::Request { .. } => String::new(),
    }
}

/// What a stranger wrote, fit for a terminal.
fn printable(text: &[u8]) -> String {
    let clean =
        String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(120).collect::<String>();
    clean.trim().to_owned()
}

fn silence(transport: Transport) -> &'static str {
    if transport.is_reliable() {
        "the carrier takes connections and ignores us: have your address, and the name that you advertise, added"
    } else {
        "let your firewall pass UDP both ways, and have your address added: carriers ignore those that they do not know"
    }
}

fn options(answer: &Answer, transport: Transport, advertise: &str) -> Verdict {
    let response = match answer {
        Answer::Silence => return fail("no answer", silence(transport)),
        Answer::Broken(error) => return broken(error),
        Answer::Response(response) => response,
    };
    let line = status_line(response);
    match response.status().unwrap_or_default() {
        200..300 => Verdict::Pass(line),
        401 | 407 => Verdict::Pass(format!(
            "{line}: it lives, and asks for a password, which health checks do not give"
        )),
        403 => fail(
            line,
            format_args!(
                "the carrier does not know us: it sees `{advertise}` in Contact (the listener's `advertise`) and our address; \
                          have it add those, or write `advertise` as it knows us"
            ),
        ),
        503 => fail(
            line,
            "the carrier is out of service there, or has switched you off: health checks count it as down",
        ),
        _ => Verdict::Pass(format!("{line}: any answer is a sign of life")),
    }
}

/// Whether the registrar knows our account. Nothing was registered, and nobody's registration ended.
fn registered(queried: &Queried, transport: Transport, advertise: &str) -> Verdict {
    let response = match &queried.answer {
        Answer::Silence => return fail("no answer", silence(transport)),
        Answer::Broken(error) => return broken(error),
        Answer::Response(response) => response,
    };
    let line = status_line(response);
    match response.status().unwrap_or_default() {
        200..300 => {
            let password =
                if queried.gave_password { "the password is right" } else { "no password was asked" };
            Verdict::Pass(format!("{line}: {password}; {}", bindings(response, transport, advertise)))
        }
        401 | 407 if queried.gave_password => {
            fail(line, "the carrier refuses our name or password: correct `auth: { username, password }`")
        }
        401 | 407 => fail(
            line,
            "it asks in a way that cannot be answered (MD5 and SHA-256 can): ask the carrier for digest authentication",
        ),
        403 => fail(
            line,
            "the carrier knows this account and does not let it register: have it enabled, and our address added if it may come \
             from one alone",
        ),
        404 => fail(
            line,
            "the carrier has no such account at this host: correct `auth: { username }`, or the host in `hosts`",
        ),
        405 | 501 => fail(
            line,
            "this host is no registrar: remove `register`, or name the carrier's registrar in `hosts`",
        ),
        400 => {
            Verdict::NotTried("it does not say who is registered (400); the node's log says whether it is")
        }
        500..600 => fail(line, "the carrier failed or is full: try again, then ask it"),
        _ => fail(line, "ask the carrier what it demands of a REGISTER"),
    }
}

/// Who is registered, and whether that is us.
fn bindings(response: &Message, transport: Transport, advertise: &str) -> String {
    let contacts = response.elements(Name::Contact).filter_map(|contact| Some(contact.name_addr().ok()?.uri));
    let contacts: Vec<_> = contacts.collect();
    let ours = |uri: &&[u8]| {
        Uri::parse(uri).is_some_and(|uri| {
            let (host, port) =
                (String::from_utf8_lossy(uri.host), uri.port.unwrap_or(transport.default_port()));
            format!("{host}:{port}").eq_ignore_ascii_case(advertise)
                || uri.port.is_none() && host.eq_ignore_ascii_case(advertise)
        })
    };
    match (contacts.len(), contacts.iter().any(ours)) {
        (0, _) => "nobody is registered now".to_owned(),
        (_, true) => format!("`{advertise}` is registered"),
        (many, false) => {
            format!("`{advertise}` is not registered, but {many} other{}", if many == 1 { "" } else { "s" })
        }
    }
}

fn call(dry: &Dry, trunk: &Trunk) -> Verdict {
    let response = match &dry.answer {
        Answer::Silence => {
            return fail(
                "no answer",
                "OPTIONS is answered and INVITE is not: ask the carrier whether calls are allowed",
            );
        }
        Answer::Broken(error) => return broken(error),
        Answer::Response(response) => response,
    };
    let line = status_line(response);
    if dry.left_ringing {
        return fail(
            format_args!("{line}, and nothing confirms that our CANCEL ended it"),
            "hang up there if it still rings, and ask the carrier about CANCEL",
        );
    }
    match response.status().unwrap_or_default() {
        100..200 => Verdict::Pass(format!("{line}, then cancelled")),
        200..300 => Verdict::Pass(format!("{line}, then hung up")),
        480 | 486 | 487 | 600 | 603 => Verdict::Pass(format!("{line}: the call got there")),
        401 | 407 if dry.gave_password => {
            fail(line, "the carrier refuses our name or password: correct `auth: { username, password }`")
        }
        401 | 407 => fail(line, "add `auth: { username: \"…\", password: \"env:…\" }` to the trunk"),
        403 => {
            let unregistered = trunk.auth.is_some() && trunk.register.is_none();
            let or =
                if unregistered { "; or it wants us registered: `register: { every: 300s }`" } else { "" };
            fail(
                line,
                format_args!(
                    "the carrier forbids this caller, this destination or our address: name one of your numbers with --caller{or}"
                ),
            )
        }
        404 | 410 | 416 | 484 | 485 | 604 => fail(
            line,
            "the carrier does not know this number as it is written: most want `+`, country code and number (--call +4930123456)",
        ),
        415 | 488 | 606 => fail(line, refused_media(trunk.media.srtp)),
        408 | 504 => fail(line, "the carrier did not reach the callee: call another number"),
        500..600 => fail(line, "the carrier failed or is full: try again, then ask it"),
        _ => fail(line, "ask the carrier what it demands of an INVITE"),
    }
}

fn refused_media(srtp: Srtp) -> &'static str {
    match srtp {
        Srtp::Pass | Srtp::Off => "it takes no plain RTP: `media: { srtp: sdes }`",
        Srtp::Optional => "it takes no optional encryption: `media: { srtp: sdes }`, or `off`",
        Srtp::Sdes | Srtp::Required => {
            "it takes no SRTP with keys in SDP: `media: { srtp: off }`, or switch SRTP on at the carrier"
        }
        Srtp::Dtls => "it takes no DTLS-SRTP: `media: { srtp: sdes }`, or `off`",
    }
}

/// What the callee's side would speak.
fn media(dry: &Dry, trunk: &Trunk) -> Verdict {
    let Answer::Response(response) = &dry.answer else { return Verdict::NotTried("no answer") };
    if response.status() >= Some(300) {
        return Verdict::NotTried("no answer with SDP");
    }
    let body = response.body();
    let session = Session::parse(body).ok();
    let Some(audio) =
        session.as_ref().and_then(|session| session.media().iter().find(|m| m.kind == b"audio"))
    else {
        return Verdict::NotTried("it rang without SDP, so nothing is known");
    };
    let codecs: Vec<String> = audio.payload_types.iter().map(|payload| codec(*payload, body)).collect();
    let suites: Vec<String> =
        lines(body, "a=crypto:").filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).collect();
    let protected = if audio.is_dtls() {
        "DTLS-SRTP".to_owned()
    } else if suites.is_empty() {
        "plain RTP".to_owned()
    } else {
        format!("SRTP ({})", suites.join(", "))
    };
    let seen = format!("{}; {protected}", listed(&codecs));
    let plain = suites.is_empty() && !audio.is_dtls();
    if audio.port == 0 || codecs.is_empty() {
        return fail(
            seen,
            "the carrier takes none of PCMU, PCMA, G722, G729 and Opus: ask it which codecs it has",
        );
    }
    if plain && trunk.media.srtp.is_demanded() {
        return fail(
            seen,
            "the trunk says `srtp` and the carrier answers in the clear: switch SRTP on there, or write `srtp: off`",
        );
    }
    Verdict::Pass(seen)
}

/// Values of the lines that begin so.
fn lines<'b>(body: &'b [u8], start: &'static str) -> impl Iterator<Item = String> + 'b {
    let lines = body.split(|byte| *byte == b'\n');
    lines.filter_map(move |line| Some(printable(line.strip_prefix(start.as_bytes())?)))
}

/// A payload type's name: as the body maps it, else as RFC 3551 §6 does.
fn codec(payload: u8, body: &[u8]) -> String {
    let start = format!("{payload} ");
    let mapped = lines(body, "a=rtpmap:").find_map(|line| line.strip_prefix(&start).map(str::to_owned));
    let name = mapped.as_deref().and_then(|mapped| mapped.split('/').next());
    match (name, payload) {
        (Some(name), _) => name.to_owned(),
        (None, 0) => "PCMU".to_owned(),
        (None, 3) => "GSM".to_owned(),
        (None, 8) => "PCMA".to_owned(),
        (None, 9) => "G722".to_owned(),
        (None, 18) => "G729".to_owned(),
        (None, other) => format!("payload type {other}"),
    }
}

/// rustls writes names as `DnsName("sip.example.com")`.
fn bare(presented: &[String]) -> String {
    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    listed(&presented.iter().map(bare).collect::<Vec<_>>())
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
}
