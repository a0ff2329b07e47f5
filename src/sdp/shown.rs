//! What of a body another network may see: addresses that it must not learn, or cannot use, are taken out or written over,
//! line by line, in SDP and in what is trickled (RFC 8840 §9).

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::parse::Fields;

/// What may be seen.
pub struct View<'v> {
    /// A candidate at this address; `None`: at a name, or at what cannot be read.
    pub candidate: &'v dyn Fn(Option<SocketAddr>) -> bool,
    /// Each address of an `a=remote-candidates`, or it goes.
    pub remote: &'v dyn Fn(SocketAddr) -> bool,
    /// An address that a candidate is related to.
    pub host: &'v dyn Fn(IpAddr) -> bool,
    /// Stands for every other address that may not be seen, where no media goes to it; `None`: those stay.
    pub instead: Option<IpAddr>,
    /// Stands in `o=` for whatever address or name is there; its user, the session's name and what else is said in words go too.
    pub origin: Option<IpAddr>,
}

/// Attributes besides those of ICE that name addresses, all past the relay: RFC 6947, RFC 7006, RFC 4570, and an early draft
/// of ICE.
const OTHERS: [&[u8]; 4] = [b"altc:", b"ccap:", b"source-filter:", b"alt:"];

/// Appends `body` as far as it may be seen.
pub fn show(body: &[u8], view: &View<'_>, out: &mut Vec<u8>) {
    // Of the section that is read: its port is 0. `None` before the first.
    let mut refused = None;
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |len| len + 1);
        let (line, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        at += len;
        let text = line.trim_ascii_end();
        let end = line.get(text.len()..).unwrap_or_default();
        if text.starts_with(b"m=") {
            refused = Some(has_port_0(text));
        }
        let before = out.len();
        let stays = match text {
            [b'a', b'=', attribute @ ..] => view.attribute(attribute, refused == Some(true), out),
            [b'o', b'=', ..] => view.origin(text, out),
            [b's', b'=', ..] if view.origin.is_some() => {
                out.extend_from_slice(b"s=-");
                true
            }
            // Whom to ask, and where (RFC 8866 §5.4 to §5.6): free text, and the hosts of links and mail.
            [b'i' | b'u' | b'e' | b'p', b'=', ..] => view.origin.is_none(),
            // A section that media goes to, or the session for one, was given an address of ours, or is not ours to change.
            [b'c', b'=', ..] if refused.unwrap_or_else(|| !is_inherited(behind)) => {
                view.host_at(1, text, out)
            }
            _ => true,
        };
        if stays && out.len() == before {
            out.extend_from_slice(line);
        } else if stays {
            out.extend_from_slice(end);
        }
    }
}

impl View<'_> {
    /// All may be seen but who wrote it.
    pub fn with_origin(origin: IpAddr) -> View<'static> {
        let origin = Some(origin);
        View { candidate: &|_| true, remote: &|_| true, host: &|_| true, instead: None, origin }
    }

    /// False: the line goes. What it becomes, if it does not stay as it is, is appended.
    fn attribute(&self, attribute: &[u8], refused: bool, out: &mut Vec<u8>) -> bool {
        if let Some(value) = attribute.strip_prefix(b"candidate:") {
            return self.candidate_line(value, out);
        }
        if let Some(value) = attribute.strip_prefix(b"remote-candidates:") {
            return self.all_remote(value);
        }
        let is_other = OTHERS.iter().any(|name| attribute.starts_with(name));
        // RFC 3605: the address of RTCP, if it is another one.
        let is_rtcp_host = attribute.starts_with(b"rtcp:") && Fields::of(attribute).nth(1).is_some();
        self.instead.is_none() || !(is_other || is_rtcp_host && refused)
    }

    /// RFC 8839 §5.1: foundation, component, transport, priority, address, port, `typ`, type, then names and values.
    fn candidate_line(&self, value: &[u8], out: &mut Vec<u8>) -> bool {
        let mut place = Fields::of(value).skip(4).map(|(_, field)| field);
        let address = place.next().and_then(ip).zip(place.next().and_then(read));
        let address = address.map(|(ip, port)| SocketAddr::new(ip, port));
        if !(self.candidate)(address) {
            return false;
        }
        let unspecified =
            if address.is_some_and(|address| address.is_ipv6()) { b"::".as_slice() } else { b"0.0.0.0" };
        let (start, mut copied, mut related_is_hidden) = (out.len(), 0, false);
        let mut name: &[u8] = b"";
        for (at, field) in Fields::of(value).skip(8) {
            let related = name.eq_ignore_ascii_case(b"raddr");
            // RFC 8839 §5.1: who hides it writes the unspecified address and port 9.
            let instead = match ip(field) {
                Some(ip) => (!(self.host)(ip) && !ip.is_unspecified()).then_some(unspecified),
                None if related || field.ends_with(b".local") => self.instead.map(|_| unspecified),
                None if name.eq_ignore_ascii_case(b"rport") => related_is_hidden.then_some(b"9".as_slice()),
                None => None,
            };
            if let Some(instead) = instead {
                if out.len() == start {
                    out.extend_from_slice(b"a=candidate:");
                }
                out.extend_from_slice(value.get(copied..at).unwrap_or_default());
                out.extend_from_slice(instead);
                copied = at + field.len();
                related_is_hidden |= related;
            }
            name = field;
        }
        if out.len() > start {
            out.extend_from_slice(value.get(copied..).unwrap_or_default());
        }
        true
    }

    /// RFC 8839 §5.2: component, address and port of each.
    fn all_remote(&self, value: &[u8]) -> bool {
        let mut fields = Fields::of(value).map(|(_, field)| field);
        while fields.next().is_some() {
            let address = fields.next().and_then(ip).zip(fields.next().and_then(read));
            if !address.is_some_and(|(ip, port)| (self.remote)(SocketAddr::new(ip, port))) {
                return false;
            }
        }
        true
    }

    /// The network, family and host that begin with the `first` field of an `o=` or `c=`.
    fn host_at(&self, first: usize, text: &[u8], out: &mut Vec<u8>) -> bool {
        let host = Fields::of(text).nth(first + 1);
        if let (Some(instead), Some((at, field))) = (self.instead, host)
            && ip(field).is_some_and(|ip| !self.sees(ip))
            && let Some((family, _)) = Fields::of(text).nth(first)
        {
            out.extend_from_slice(text.get(..family).unwrap_or_default());
            // Writing to a Vec does not fail.
            drop(write!(out, "IP{} {instead}", if instead.is_ipv4() { 4 } else { 6 }));
            out.extend_from_slice(text.get(at + field.len()..).unwrap_or_default());
        }
        true
    }

    /// RFC 8866 §5.2: what stands in the host's place need not be reachable; it makes the origin a unique one. The user there is often
    /// the name of the software.
    fn origin(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(origin) = self.origin else { return self.host_at(4, text, out) };
        let at = |field| Fields::of(text).nth(field).map(|(at, _)| at);
        let numbers = at(1).zip(at(3)).and_then(|(id, network)| text.get(id..network));
        if let Some(numbers) = numbers {
            out.extend_from_slice(b"o=- ");
            out.extend_from_slice(numbers);
            // Writing to a Vec does not fail.
            drop(write!(out, "IN IP{} {origin}", if origin.is_ipv4() { 4 } else { 6 }));
        }
        true
    }

    fn sees(&self, ip: IpAddr) -> bool {
        (self.host)(ip) || ip.is_unspecified() || self.instead == Some(ip)
    }
}

/// Some section that is not refused has no `c=` of its own, among those in `behind`.
fn is_inherited(behind: &[u8]) -> bool {
    let mut inherits = false;
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', behind).chain([behind.len()]) {
        let line = behind.get(start..end).unwrap_or_default();
        start = end + 1;
        if line.starts_with(b"m=") {
            if inherits {
                return true;
            }
            inherits = !has_port_0(line);
        } else if line.starts_with(b"c=") {
            inherits = false;
        }
    }
    inherits
}

fn has_port_0(media: &[u8]) -> bool {
    let port = Fields::of(media).nth(1).map(|(_, port)| port.split(|byte| *byte == b'/').next());
    port.flatten().is_some_and(|port| port.iter().all(|digit| *digit == b'0'))
}

fn ip(field: &[u8]) -> Option<IpAddr> {
    // A TTL or count may follow (RFC 8866 §5.7), or a zone (RFC 4007 §11).
    let field = field.split(|byte| matches!(byte, b'/' | b'%')).next()?;
    let text = std::str::from_utf8(field).ok()?;
    let v4 = || Ipv4Addr::from_str(text).ok().map(IpAddr::V4);
    v4().or_else(|| Ipv6Addr::from_str(text).ok().map(IpAddr::V6)).map(|ip| ip.to_canonical())
}

fn read<T: FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(body: &[u8]) -> Vec<u8> {
        let is_public = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if !v4.is_private());
        let view = View {
            candidate: &|address| address.is_some_and(|address| is_public(address.ip())),
            remote: &|address| is_public(address.ip()),
            host: &is_public,
            instead: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10))),
            origin: None,
        };
        let mut out = Vec::new();
        show(body, &view, &mut out);
        out
    }

    #[test]
    fn a_line_is_read_whatever_ends_it() {
        let hidden = "a=candidate:1 1 udp 1 10.0.0.1 4000 typ host";
        let seen = "a=candidate:1 1 udp 1 192.0.2.1 4000 typ srflx raddr 10.0.0.1 rport 4000";
        let want = "a=candidate:1 1 udp 1 192.0.2.1 4000 typ srflx raddr 0.0.0.0 rport 9";
        for end in ["\r\n", "\n"] {
            let body = format!("{hidden}{end}{seen}{end}{hidden}");
            assert_eq!(shown(body.as_bytes()), format!("{want}{end}").as_bytes());
        }
        assert_eq!(shown(seen.as_bytes()), want.as_bytes());
    }

    #[test]
    fn a_hidden_origin_says_nothing_of_who_wrote_it() {
        let view = View::with_origin(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)));
        let body = "v=0\r\no=FreeSWITCH  17 2 IN IP6 fd00::7\r\ns=on pbx7\r\ni=a\r\nu=http://pbx7/\r\ne=a@pbx7\r\np=1\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\ni=b\r\n";
        let mut out = Vec::new();
        show(body.as_bytes(), &view, &mut out);
        let want = "v=0\r\no=- 17 2 IN IP4 203.0.113.10\r\ns=-\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\n";
        assert_eq!(String::from_utf8_lossy(&out), want);
    }

    #[test]
    fn a_candidate_that_cannot_be_read_goes() {
        for candidate in
            ["", "1", "1 1 udp 1 192.0.2.1", "1 1 udp 1 192.0.2.1 x typ host", "1\t1 udp 1 192.0.2.1 4000"]
        {
            assert_eq!(shown(format!("a=candidate:{candidate}\r\n").as_bytes()), b"", "{candidate}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown_the_same_twice(body in any::<Vec<u8>>()) {
            let once = shown(&body);
            prop_assert_eq!(&shown(&once), &once);
        }

        #[test]
        fn so_are_lines_of_the_right_kind(
            lines in proptest::collection::vec("(a=candidate:|a=remote-candidates:|a=rtcp:|a=altc:|c=IN |o=- |m=a )[ 0-9a-z.:%/]{0,40}\r?\n", 0..8)
        ) {
            let once = shown(lines.concat().as_bytes());
            prop_assert_eq!(&shown(&once), &once);
        }
    }
}
