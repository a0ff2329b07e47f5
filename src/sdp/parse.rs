//! Reading: one pass over the lines. Lax about what is not ours, strict about what decides where media goes: an
//! ambiguity there would be read one way by us and another way by the far end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{
    Connection, Direction, Host, Level, MAX_BODY, MAX_MEDIA, Media, RtcpLine, SdpError, Section, Session,
    Span,
};

type Parsed<T> = Result<T, &'static str>;

pub(super) fn parse(body: &[u8]) -> Result<Session<'_>, SdpError> {
    if body.len() > MAX_BODY {
        return Err(SdpError { line: 1, reason: "the body is longer than 65536 bytes" });
    }
    let mut reader = Reader::new(body);
    let (mut at, mut number, mut crs) = (0, 0, 0);
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        number += 1;
        let mut line = rest;
        let mut next = body.len();
        if let Some((before, _)) = memchr::memchr(b'\n', rest).and_then(|len| rest.split_at_checked(len)) {
            next = at + before.len() + 1;
            line = before.strip_suffix(b"\r").unwrap_or(before);
            crs += before.len() - line.len();
        }
        reader.line(line, at, next).map_err(|reason| SdpError { line: number, reason })?;
        at = next;
    }
    if !reader.version {
        return Err(SdpError { line: 1, reason: "the body is empty" });
    }
    // RFC 8866 §9: NUL and a bare CR are in no line; some parsers would end a line there.
    if memchr::memchr(0, body).is_some() || memchr::memchr_iter(b'\r', body).count() != crs {
        return Err(SdpError { line: line_of_forbidden_byte(body), reason: "a NUL, or a CR without LF" });
    }
    Ok(reader.finish())
}

fn line_of_forbidden_byte(body: &[u8]) -> usize {
    let is_forbidden = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        memchr::memchr2(0, b'\r', line).is_some()
    };
    // The last line has no LF: there a CR at its end is a bare one.
    let line = body.split(|c| *c == b'\n').position(is_forbidden);
    line.unwrap_or_else(|| memchr::memchr_iter(b'\n', body).count()) + 1
}

struct Reader<'s> {
    session: Session<'s>,
    version: bool,
    /// A blank line was seen: only more of them may follow.
    blank: bool,
    session_level: Level,
}

impl<'s> Reader<'s> {
    fn new(body: &'s [u8]) -> Reader<'s> {
        let session = Session {
            body,
            origin: None,
            connection: None,
            bundle: false,
            media: Vec::new(),
            sections: Vec::new(),
        };
        Reader { session, version: false, blank: false, session_level: Level::default() }
    }

    /// `line` starts at `start`; the next one at `next`.
    fn line(&mut self, line: &'s [u8], start: usize, next: usize) -> Parsed<()> {
        let span = Span { start, end: start + line.len() };
        if line.is_empty() && self.version {
            self.blank = true;
            return Ok(());
        }
        if self.blank {
            return Err("a blank line inside");
        }
        if !self.version {
            // RFC 8866 §5.1: v= comes first, and 0 is the only version.
            self.version = line == b"v=0";
            return if self.version { Ok(()) } else { Err("the first line is not v=0") };
        }
        match line {
            [b'a', b'=', attribute @ ..] => self.attribute(attribute, span, next)?,
            [b'm', b'=', value @ ..] => self.media(value, start + 2, next)?,
            [b'c', b'=', value @ ..] => self.connection(value, span)?,
            [b'o', b'=', value @ ..] => {
                if self.session.origin.replace(value).is_some() {
                    return Err("a second o=");
                }
            }
            [b'v', b'=', ..] => return Err("a second v="),
            [b'i', b'=', ..] => {
                if let Some(section) = self.session.sections.last_mut()
                    && section.connection_slot == start
                {
                    section.connection_slot = next;
                }
            }
            [b'a'..=b'z', b'=', ..] => {}
            _ => return Err("a line that is not <letter>=<value>"),
        }
        if let Some(section) = self.session.sections.last_mut() {
            section.end = next;
        }
        Ok(())
    }

    /// `m=<kind> <port>[/<count>] <protocol> <format> …` (RFC 8866 §5.14).
    fn media(&mut self, value: &'s [u8], start: usize, next: usize) -> Parsed<()> {
        if self.session.media.len() >= MAX_MEDIA {
            return Err("more than 64 m= lines");
        }
        let mut fields = Fields::of(value);
        let (Some((_, kind)), Some((at, port)), Some((protocol_at, protocol))) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err("m= without kind, port and protocol");
        };
        let digits = match memchr::memchr(b'/', port).and_then(|slash| port.split_at_checked(slash)) {
            // Several ports are for layered multicast (RFC 8866 §5.14); a pair of ours carries one.
            Some((digits, b"/1")) => digits,
            Some(_) => return Err("m= with several ports"),
            None => port,
        };
        let span = |at: usize, field: &[u8]| Span { start: start + at, end: start + at + field.len() };
        let port = port_of(digits).ok_or("m= with a port that is no number up to 65535")?;
        let mut media = Media {
            kind,
            protocol,
            rtp: None,
            rtcp: None,
            port,
            payload_types: Vec::new(),
            rtcp_mux: false,
            ice: false,
            direction: Direction::SendRecv,
            mid: None,
        };
        if port != 0 {
            let first = fields.next().ok_or("m= without a format")?;
            if media.is_rtp() {
                media.payload_types = payload_types(std::iter::once(first).chain(fields))?;
            }
        }
        self.session.media.push(media);
        self.session.sections.push(Section {
            port: span(at, digits),
            protocol: span(protocol_at, protocol),
            connection: None,
            connection_slot: next,
            rtcp: None,
            candidates: None,
            candidate_slot: None,
            end: next,
            level: Level::default(),
        });
        Ok(())
    }

    /// `c=<nettype> <addrtype> <address>` (RFC 8866 §5.7).
    fn connection(&mut self, value: &[u8], line: Span) -> Parsed<()> {
        let mut fields = Fields::of(value).map(|(_, field)| field);
        let (Some(network), Some(family), Some(host), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("c= is not network, family and address");
        };
        let slot = match self.session.sections.last_mut() {
            Some(section) => &mut section.connection,
            None => &mut self.session.connection,
        };
        // Several c= are for layered multicast (RFC 8866 §5.7).
        if slot.is_some() {
            return Err("a second c=");
        }
        *slot = Some(Connection { line, host: host_of(network, family, host)? });
        Ok(())
    }

    fn attribute(&mut self, attribute: &'s [u8], line: Span, next: usize) -> Parsed<()> {
        let mut section = self.session.sections.last_mut();
        let level = match &mut section {
            Some(section) => &mut section.level,
            None => &mut self.session_level,
        };
        match attribute {
            [b's', b'e', b'n', b'd', ..] | [b'r', b'e', b'c', ..] | [b'i', b'n', ..] => {
                level.direction = direction(attribute).or(level.direction);
            }
            [b'i', b'c', b'e', b'-', name @ ..] => {
                level.ice_ufrag |= name.starts_with(b"ufrag:");
                level.ice_pwd |= name.starts_with(b"pwd:");
                level.ice_mismatch |= name == b"mismatch";
                if let Some(section) = section
                    && section.candidates.is_none()
                {
                    section.candidate_slot = Some(next);
                }
            }
            [b'c', rest @ ..] if rest.starts_with(b"andidate:") => {
                if let Some(section) = section {
                    let start = section.candidates.map_or(line.start, |span| span.start);
                    section.candidates = Some(Span { start, end: next });
                    section.candidate_slot = Some(next);
                }
            }
            [b'r', b't', b'c', b'p', rest @ ..] => {
                if let (Some(section), Some(media)) = (section, self.session.media.last_mut()) {
                    match rest {
                        b"-mux" => media.rtcp_mux = true,
                        [b':', value @ ..] if section.rtcp.is_none() => {
                            section.rtcp = Some(rtcp(value, line)?)
                        }
                        [b':', ..] => return Err("a second a=rtcp"),
                        _ => {}
                    }
                }
            }
            [b'm', b'i', b'd', b':', mid @ ..] => {
                if let Some(media) = self.session.media.last_mut() {
                    media.mid = Some(mid);
                }
            }
            [b'g', rest @ ..] if rest.starts_with(b"roup:BUNDLE") => self.session.bundle = true,
            _ => {}
        }
        Ok(())
    }

    /// Gives each section what it inherits from the session.
    fn finish(mut self) -> Session<'s> {
        let session_host = self.session.connection.map(|connection| connection.host);
        for (media, section) in self.session.media.iter_mut().zip(&self.session.sections) {
            let level = section.level;
            media.direction = level.direction.or(self.session_level.direction).unwrap_or(Direction::SendRecv);
            media.ice = (level.ice_ufrag || self.session_level.ice_ufrag)
                && (level.ice_pwd || self.session_level.ice_pwd)
                && !level.ice_mismatch;
            if media.port == 0 {
                continue;
            }
            let host =
                section.connection.map(|connection| connection.host).or(session_host).and_then(Host::ip);
            media.rtp = host.map(|ip| SocketAddr::new(ip, media.port));
            // RFC 3605 §2.1; RFC 3550 §11: the next port up where nothing is said.
            let (rtcp_host, rtcp_port) = match section.rtcp {
                Some(line) => (line.host.map_or(host, Host::ip), Some(line.port)),
                None => (host, media.port.checked_add(1)),
            };
            media.rtcp = rtcp_host.zip(rtcp_port).map(|(ip, port)| SocketAddr::new(ip, port));
        }
        self.session
    }
}

/// The host of `<username> <sess-id> <sess-version> <nettype> <addrtype> <address>` (RFC 8866 §5.2).
pub(super) fn origin_host(value: &[u8]) -> Option<IpAddr> {
    let mut fields = Fields::of(value).skip(3).map(|(_, field)| field);
    host_of(fields.next()?, fields.next()?, fields.next()?).ok().and_then(Host::ip)
}

fn direction(attribute: &[u8]) -> Option<Direction> {
    match attribute {
        b"sendrecv" => Some(Direction::SendRecv),
        b"sendonly" => Some(Direction::SendOnly),
        b"recvonly" => Some(Direction::RecvOnly),
        b"inactive" => Some(Direction::Inactive),
        _ => None,
    }
}

/// `<port> [<nettype> <addrtype> <address>]` (RFC 3605 §2.1).
fn rtcp(value: &[u8], line: Span) -> Parsed<RtcpLine> {
    let mut fields = Fields::of(value).map(|(_, field)| field);
    let port = fields.next().and_then(port_of).ok_or("a=rtcp with a port that is no number up to 65535")?;
    let host = match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (None, ..) => None,
        (Some(network), Some(family), Some(host), None) => Some(host_of(network, family, host)?),
        _ => return Err("a=rtcp is not port, network, family and address"),
    };
    Ok(RtcpLine { line, port, host })
}

/// RTP payload types are 7 bits (RFC 3550 §5.1).
fn payload_types<'f>(fields: impl Iterator<Item = (usize, &'f [u8])>) -> Parsed<Vec<u8>> {
    fields
        .map(|(_, field)| number_of(field).and_then(|n| u8::try_from(n).ok()).filter(|pt| *pt < 128))
        .collect::<Option<Vec<u8>>>()
        .ok_or("m= with a payload type that is no number up to 127")
}

fn host_of(network: &[u8], family: &[u8], host: &[u8]) -> Parsed<Host> {
    if network != b"IN" {
        return Ok(Host::Name);
    }
    // A multicast TTL or count may follow (RFC 8866 §5.7).
    let host = memchr::memchr(b'/', host).and_then(|slash| host.get(..slash)).unwrap_or(host);
    let host = std::str::from_utf8(host).map_err(|_| "an address that is not ASCII")?;
    let ip = match family {
        b"IP4" => Ipv4Addr::from_str(host).ok().map(IpAddr::V4),
        b"IP6" => Ipv6Addr::from_str(host).ok().map(IpAddr::V6),
        _ => return Err("an address family that is neither IP4 nor IP6"),
    };
    match ip {
        Some(ip) => Ok(Host::Ip(ip)),
        None if is_name(host) => Ok(Host::Name),
        None => Err("an address that is neither of its family nor a name"),
    }
}

/// A domain name's last label starts with a letter (RFC 1123 §2.1), so `10.0.0.300` and `fe80::1` are none.
fn is_name(host: &str) -> bool {
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    let top = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    host.bytes().all(legal) && top.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn port_of(digits: &[u8]) -> Option<u16> {
    number_of(digits).and_then(|n| u16::try_from(n).ok())
}

/// One to nine decimal digits.
fn number_of(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |n, c| c.is_ascii_digit().then(|| n * 10 + u32::from(c - b'0')))
}

/// The fields of a value with their offsets. RFC 8866 separates them by one space; phones also write more, and one at
/// the end.
pub(super) struct Fields<'s> {
    value: &'s [u8],
    at: usize,
}

impl<'s> Fields<'s> {
    pub(super) fn of(value: &'s [u8]) -> Fields<'s> {
        Fields { value, at: 0 }
    }
}

impl<'s> Iterator for Fields<'s> {
    type Item = (usize, &'s [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.value.get(self.at..)?;
        let start = self.at + rest.iter().position(|c| *c != b' ')?;
        let rest = self.value.get(start..)?;
        let len = rest.iter().position(|c| *c == b' ').unwrap_or(rest.len());
        self.at = start + len;
        rest.get(..len).map(|field| (start, field))
    }
}
