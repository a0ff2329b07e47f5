//! Writing: the body is copied, and the spans that are ours are replaced.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smallvec::SmallVec;

use super::candidate::{Candidate, candidates};
use super::ice_lines::{ice_lines, session_ice_lines, session_slot};
use super::{Host, IceEdit, Media, MediaEdit, Section, Session, Span, keying};
use crate::ice::Credentials;

/// One place of the body that is written anew.
pub(super) struct Splice<'e> {
    pub(super) at: Span,
    /// A line that was not there: it brings its line end.
    pub(super) new_line: bool,
    pub(super) text: Text<'e>,
}

pub(super) enum Text<'e> {
    Nothing,
    Port(u16),
    Connection(IpAddr),
    Rtcp {
        port: u16,
        host: Option<IpAddr>,
    },
    Candidate {
        foundation: Foundation,
        component: u8,
        address: SocketAddr,
    },
    HostCandidate {
        component: u8,
        address: SocketAddr,
    },
    Attribute {
        name: &'static str,
        value: &'e str,
    },
    Mid(&'e [u8]),
    /// Of this section alone.
    Bundle(&'e [u8]),
    /// As it is.
    Line(&'e [u8]),
}

pub(super) type Splices<'e> = SmallVec<[Splice<'e>; 12]>;

pub(super) fn rewrite(session: &Session<'_>, edits: &[MediaEdit], out: &mut Vec<u8>) {
    let mut splices = Splices::new();
    let inherited = session_connection(session, edits, &mut splices);
    let mut foundation = None;
    for ((media, section), edit) in session.media.iter().zip(&session.sections).zip(edits) {
        let (rtp, rtcp, ice, keying) = match edit {
            // RFC 3264 §6: of a refused stream all but the port is ignored.
            MediaEdit::Reject if media.port != 0 => {
                splices.push(Splice { at: section.port, new_line: false, text: Text::Port(0) });
                strip(session, section, &mut splices);
                continue;
            }
            MediaEdit::WithoutIce => {
                strip(session, section, &mut splices);
                continue;
            }
            MediaEdit::Relay { rtp, rtcp, ice, keying } if media.port != 0 => {
                (*rtp, *rtcp, ice, keying.as_deref())
            }
            _ => continue,
        };
        splices.push(Splice { at: section.port, new_line: false, text: Text::Port(rtp.port()) });
        own_connection(media, section, rtp.ip(), inherited, &mut splices);
        own_rtcp(media, section, rtp, rtcp, &mut splices);
        match ice {
            IceEdit::Keep => {}
            IceEdit::Append { .. } | IceEdit::RelayOnly => {
                let foundation = *foundation.get_or_insert_with(|| Foundation::unused_in(session));
                let shown = Shown { rtp, rtcp, ice };
                own_candidates(session, media, section, &shown, foundation, &mut splices);
            }
            IceEdit::Strip => strip(session, section, &mut splices),
            IceEdit::Lite(own) => {
                let rtcp_mux = keying.and_then(|own| own.rtcp_mux).unwrap_or(media.rtcp_mux);
                let rtcp = (media.is_rtp() && !rtcp_mux).then_some(rtcp);
                lite(session, section, (rtp, rtcp), own, &mut splices);
                strip(session, section, &mut splices);
            }
        }
        if let Some(own) = keying {
            keying::section(session, media, section, own, &mut splices);
        }
    }
    session_ice(session, edits, &mut splices);
    keying::session_level(session, edits, &mut splices);
    // A new line comes before the line at whose start it is put; stable, so several keep the order in which they were made.
    splices.sort_by_key(|splice| (splice.at.start, splice.at.end));
    emit(session.body, &splices, out);
}

/// What a section without `c=` will inherit.
#[derive(Clone, Copy)]
enum Inherited {
    /// This host, ours or as it stood.
    Ip(IpAddr),
    /// Nothing, or a name.
    Other,
}

/// The session's `c=` becomes ours unless a section that we leave alone lives on it, or it puts the call on hold. It is
/// ours also where no section needs it: it would show an address that is not for the other side.
fn session_connection(session: &Session<'_>, edits: &[MediaEdit], splices: &mut Splices<'_>) -> Inherited {
    let Some(connection) = session.connection else { return Inherited::Other };
    let stands = connection.host.ip().map_or(Inherited::Other, Inherited::Ip);
    let (mut first, mut first_inheriting) = (None, None);
    for (index, (media, section)) in session.media.iter().zip(&session.sections).enumerate() {
        let inherits = section.connection.is_none();
        match edits.get(index) {
            Some(MediaEdit::Relay { rtp, .. }) if media.port != 0 => {
                if inherits && media.is_held_by_address() {
                    return stands;
                }
                first = first.or(Some(rtp.ip()));
                first_inheriting = first_inheriting.or(inherits.then_some(rtp.ip()));
            }
            Some(MediaEdit::Reject) => {}
            _ if inherits && media.port != 0 => return stands,
            _ => {}
        }
    }
    let Some(ip) = first_inheriting.or(first) else { return stands };
    // A hold that no section inherits is still not ours to lift (RFC 3264 §8.4).
    if connection.host.ip().is_some_and(|host| host.is_unspecified()) && first_inheriting.is_none() {
        return stands;
    }
    splices.push(Splice { at: connection.line, new_line: false, text: Text::Connection(ip) });
    Inherited::Ip(ip)
}

fn own_connection(
    media: &Media<'_>,
    section: &Section,
    ip: IpAddr,
    inherited: Inherited,
    splices: &mut Splices<'_>,
) {
    // RFC 3264 §8.4: on hold the address stays unspecified, in our family; only the port is ours.
    let ip = match media.rtp.filter(|_| media.is_held_by_address()) {
        Some(held) if held.is_ipv4() == ip.is_ipv4() => return,
        Some(_) => unspecified_like(ip),
        None => ip,
    };
    match (section.connection, inherited) {
        (Some(connection), _) => {
            splices.push(Splice { at: connection.line, new_line: false, text: Text::Connection(ip) });
        }
        (None, Inherited::Ip(host)) if host == ip => {}
        (None, _) => splices.push(Splice::line_at(section.connection_slot, Text::Connection(ip))),
    }
}

fn unspecified_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn own_rtcp(
    media: &Media<'_>,
    section: &Section,
    rtp: SocketAddr,
    rtcp: SocketAddr,
    splices: &mut Splices<'_>,
) {
    let elsewhere = (rtcp.ip() != rtp.ip()).then_some(rtcp.ip());
    match section.rtcp {
        Some(line) => {
            let host = match line.host {
                // On hold here too.
                Some(Host::Ip(ip)) if ip.is_unspecified() && media.is_held_by_address() => {
                    Some(unspecified_like(rtcp.ip()))
                }
                Some(_) => Some(rtcp.ip()),
                None => elsewhere,
            };
            splices.push(Splice {
                at: line.line,
                new_line: false,
                text: Text::Rtcp { port: rtcp.port(), host },
            });
        }
        // RFC 3605 §2.1: needed where RTCP is not on the next port up.
        None if media.is_rtp() && (elsewhere.is_some() || rtp.port().checked_add(1) != Some(rtcp.port())) => {
            splices.push(Splice::line_at(section.end, Text::Rtcp { port: rtcp.port(), host: elsewhere }));
        }
        None => {}
    }
}

/// What stands for a section's media, and for which of its candidates.
struct Shown<'e> {
    rtp: SocketAddr,
    rtcp: SocketAddr,
    ice: &'e IceEdit,
}

impl Shown<'_> {
    /// Ours stands for this candidate.
    fn replaces(&self, candidate: &Candidate<'_>) -> bool {
        match self.ice {
            IceEdit::RelayOnly => true,
            IceEdit::Append { instead_of } => {
                candidate.udp().is_some_and(|address| instead_of.contains(&address))
            }
            IceEdit::Keep | IceEdit::Strip | IceEdit::Lite(_) => false,
        }
    }
}

/// One relay candidate per component (RFC 8839 §5.1), unless it stands there already; those that it stands for go.
fn own_candidates(
    session: &Session<'_>,
    media: &Media<'_>,
    section: &Section,
    shown: &Shown<'_>,
    foundation: Foundation,
    splices: &mut Splices<'_>,
) {
    let Shown { rtp, rtcp, .. } = *shown;
    let slot = section.candidate_slot.unwrap_or(section.end);
    let (mut has_rtp, mut has_rtcp, mut two_components) = (false, false, false);
    for candidate in candidates(session.body, section) {
        let component = candidate.component();
        let is_ours = match component {
            Some(1) => candidate.is_ours(priority(1), rtp),
            Some(2) => candidate.is_ours(priority(2), rtcp),
            _ => false,
        };
        has_rtp |= is_ours && component == Some(1);
        has_rtcp |= is_ours && component == Some(2);
        two_components |= component == Some(2);
        if !is_ours && shown.replaces(&candidate) {
            splices.push(Splice::without(candidate.line));
        }
    }
    if !has_rtp {
        splices.push(Splice::line_at(slot, Text::Candidate { foundation, component: 1, address: rtp }));
    }
    // RFC 8839 §4.2.1.2 and RFC 5761 §5.1.3: an offerer that falls back to two ports names both components; an answer
    // with rtcp-mux has one, and so has what is no RTP.
    let two_components = two_components || (media.is_rtp() && !media.rtcp_mux);
    if two_components && rtcp != rtp && !has_rtcp {
        splices.push(Splice::line_at(slot, Text::Candidate { foundation, component: 2, address: rtcp }));
    }
}

/// The number in our foundation `relay<number>`: the least that is above every other of that form in the body, since
/// equal foundations would claim an equal base (RFC 8445 §5.1.1.3).
#[derive(Clone, Copy)]
pub(super) struct Foundation(u64);

impl Foundation {
    const NAME: &'static [u8] = b"relay";

    fn unused_in(session: &Session<'_>) -> Foundation {
        let taken = session.sections.iter().flat_map(|section| candidates(session.body, section));
        let number = |candidate: Candidate<'_>| {
            let digits = std::str::from_utf8(candidate.foundation().strip_prefix(Self::NAME)?).ok()?;
            digits.parse::<u32>().ok()
        };
        Foundation(taken.filter_map(number).map(|n| u64::from(n) + 1).max().unwrap_or(0))
    }
}

/// No ICE line of the section stays.
fn strip(session: &Session<'_>, section: &Section, splices: &mut Splices<'_>) {
    splices.extend(ice_lines(session.body, section).map(Splice::without));
}

/// What an ICE-lite agent says in a section (RFC 8839 §4.2.1.1, §5.4): its credentials and one host candidate per component,
/// where the first ICE line stood.
fn lite<'e>(
    session: &Session<'_>,
    section: &Section,
    (rtp, rtcp): (SocketAddr, Option<SocketAddr>),
    own: &'e Credentials,
    splices: &mut Splices<'e>,
) {
    let slot = ice_lines(session.body, section).next().map_or(section.end, |line| line.start);
    let mut put = |text| splices.push(Splice::line_at(slot, text));
    put(Text::Attribute { name: "ice-ufrag:", value: &own.ufrag });
    put(Text::Attribute { name: "ice-pwd:", value: own.pwd.reveal() });
    put(Text::HostCandidate { component: 1, address: rtp });
    if let Some(rtcp) = rtcp.filter(|rtcp| *rtcp != rtp) {
        put(Text::HostCandidate { component: 2, address: rtcp });
    }
}

/// What the session says of ICE holds for every section, and goes where one must not say it. RFC 8839 §5.3: `a=ice-lite` is said
/// for the session; RFC 8445 §10: so is `ice2`.
fn session_ice(session: &Session<'_>, edits: &[MediaEdit], splices: &mut Splices<'_>) {
    let live = || {
        let sections = session.media.iter().zip(edits).filter(|(media, _)| media.port != 0);
        sections.filter_map(|(_, edit)| match edit {
            MediaEdit::Relay { ice, .. } => Some(ice),
            MediaEdit::Keep | MediaEdit::WithoutIce | MediaEdit::Reject => None,
        })
    };
    if live().any(|ice| matches!(ice, IceEdit::Lite(_))) {
        let slot = session_ice_lines(session).next().map_or(session_slot(session), |line| line.start);
        splices.push(Splice::line_at(slot, Text::Attribute { name: "ice-lite", value: "" }));
        splices.push(Splice::line_at(slot, Text::Attribute { name: "ice-options:", value: "ice2" }));
    }
    if edits.contains(&MediaEdit::WithoutIce)
        || live().any(|ice| matches!(ice, IceEdit::Strip | IceEdit::Lite(_)))
    {
        splices.extend(session_ice_lines(session).map(Splice::without));
    }
}

impl<'e> Splice<'e> {
    pub(super) fn line_at(slot: usize, text: Text<'e>) -> Splice<'e> {
        Splice { at: Span { start: slot, end: slot }, new_line: true, text }
    }

    /// `line`, with its line end, goes.
    pub(super) fn without(line: Span) -> Splice<'e> {
        Splice { at: line, new_line: false, text: Text::Nothing }
    }
}

fn emit(body: &[u8], splices: &[Splice<'_>], out: &mut Vec<u8>) {
    out.reserve(body.len() + 64 * splices.len());
    let mut at = 0;
    for Splice { at: span, new_line, text } in splices {
        out.extend_from_slice(body.get(at..span.start).unwrap_or_default());
        at = span.end;
        let before = body.get(..span.start).unwrap_or_default();
        match (new_line, out.ends_with(b"\n")) {
            (false, _) => text.emit(out),
            (true, true) => {
                text.emit(out);
                out.extend_from_slice(line_end(before));
            }
            (true, false) => {
                out.extend_from_slice(line_end(before));
                text.emit(out);
            }
        }
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    // A body that ends without a line end does so afterwards.
    if !body.ends_with(b"\n") && out.ends_with(b"\n") {
        out.truncate(out.len() - line_end(out).len());
    }
}

/// The line end of the line before, or of the first one where that has none.
fn line_end(before: &[u8]) -> &'static [u8] {
    let last = match before.strip_suffix(b"\n") {
        Some(line) => Some(line),
        None => memchr::memchr(b'\n', before).and_then(|end| before.get(..end)),
    };
    match last {
        Some(line) if !line.ends_with(b"\r") => b"\n",
        _ => b"\r\n",
    }
}

impl Text<'_> {
    fn emit(&self, out: &mut Vec<u8>) {
        match *self {
            Text::Nothing => {}
            Text::Port(port) => push_number(out, port.into()),
            Text::Connection(ip) => {
                out.extend_from_slice(b"c=IN IP");
                push_family_and_ip(out, ip);
            }
            Text::Rtcp { port, host } => {
                out.extend_from_slice(b"a=rtcp:");
                push_number(out, port.into());
                if let Some(ip) = host {
                    out.extend_from_slice(b" IN IP");
                    push_family_and_ip(out, ip);
                }
            }
            Text::Candidate { foundation, component, address } => {
                out.extend_from_slice(b"a=candidate:");
                out.extend_from_slice(Foundation::NAME);
                push_number(out, foundation.0);
                out.push(b' ');
                push_number(out, component.into());
                out.extend_from_slice(b" udp ");
                push_number(out, priority(component).into());
                out.push(b' ');
                push_ip(out, address.ip());
                out.push(b' ');
                push_number(out, address.port().into());
                // Whose relay it is, is not shown (RFC 8839 §5.1: an agent that hides it writes the unspecified address).
                out.extend_from_slice(match address {
                    SocketAddr::V4(_) => b" typ relay raddr 0.0.0.0 rport 9".as_slice(),
                    SocketAddr::V6(_) => b" typ relay raddr :: rport 9",
                });
            }
            Text::HostCandidate { component, address } => {
                out.extend_from_slice(b"a=candidate:1 ");
                push_number(out, component.into());
                out.extend_from_slice(b" udp ");
                push_number(out, (126 << 24) + u64::from(priority(component)));
                out.push(b' ');
                push_ip(out, address.ip());
                out.push(b' ');
                push_number(out, address.port().into());
                out.extend_from_slice(b" typ host");
            }
            Text::Attribute { name, value } => {
                out.extend_from_slice(b"a=");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(value.as_bytes());
            }
            Text::Mid(mid) => {
                out.extend_from_slice(b"a=mid:");
                out.extend_from_slice(mid);
            }
            Text::Bundle(mid) => {
                out.extend_from_slice(b"a=group:BUNDLE ");
                out.extend_from_slice(mid);
            }
            Text::Line(line) => out.extend_from_slice(line),
        }
    }
}

/// RFC 8445 §5.1.2.1 with type preference 0 (every direct path is better) and the highest local preference; a host
/// candidate's type preference is 126.
fn priority(component: u8) -> u32 {
    (65_535 << 8) + (256 - u32::from(component))
}

fn push_family_and_ip(out: &mut Vec<u8>, ip: IpAddr) {
    out.extend_from_slice(if ip.is_ipv4() { b"4 " } else { b"6 " });
    push_ip(out, ip);
}

fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            push_number(out, a.into());
            for octet in [b, c, d] {
                out.push(b'.');
                push_number(out, octet.into());
            }
        }
        // Writing to a Vec does not fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut rest, mut first) = (number, digits.len());
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        first -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}
