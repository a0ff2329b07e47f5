//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), read in place.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::borrow::Cow;
use std::net::IpAddr;

use memchr::{memchr, memchr2};

use super::message::{host_len, is_plain_uri, number, param};
use crate::base::Transport;

/// What kind of URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
}

/// A URI's parts, as they stand (escapes kept).
#[derive(Clone, Copy, Debug)]
pub struct Uri<'u> {
    /// The scheme; any other scheme does not parse (416).
    pub scheme: Scheme,
    /// User part without password; for `tel:` the number. `None` if absent.
    pub user: Option<&'u [u8]>,
    /// Host without port, brackets of an IPv6 reference kept; empty for `tel:`.
    pub host: &'u [u8],
    /// The port.
    pub port: Option<u16>,
    /// Parameters, `;` first; read them with [`crate::sip::message::param`].
    pub params: &'u [u8],
    /// Headers behind `?`.
    pub headers: &'u [u8],
}

impl<'u> Uri<'u> {
    /// Reads it; `None` if it is none of ours or its syntax is broken. `sip:a@evil@pbx`, a port above 65535, and
    /// control characters or blanks inside are broken.
    pub fn parse(uri: &'u [u8]) -> Option<Uri<'u>> {
        if !is_plain_uri(uri) {
            return None;
        }
        match uri {
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', rest @ ..] => sip(Scheme::Sip, rest),
            [b's' | b'S', b'i' | b'I', b'p' | b'P', b's' | b'S', b':', rest @ ..] => sip(Scheme::Sips, rest),
            [b't' | b'T', b'e' | b'E', b'l' | b'L', b':', rest @ ..] => tel(rest),
            _ => None,
        }
    }

    /// Host as an IP address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        // Most names are told by their first letter.
        self.host.first().filter(|first| first.is_ascii_digit() || **first == b'[')?;
        let host = std::str::from_utf8(self.host).ok()?;
        match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
            None => host.parse().ok().map(IpAddr::V4),
        }
    }

    /// The `transport` parameter; also where it says `wss`, as some write it.
    pub fn transport(&self) -> Option<Transport> {
        let value = param(self.params, b"transport")?;
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss]
            .into_iter()
            .find(|transport| value.eq_ignore_ascii_case(transport.scheme().as_bytes()))
    }

    /// The user part with %-escapes undone, as policy and numbers read it.
    pub fn user_unescaped(&self) -> Option<Cow<'u, [u8]>> {
        self.user.map(unescaped)
    }
}

/// A part of a URI with %-escapes undone.
pub fn unescaped(part: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', part).is_none() {
        return Cow::Borrowed(part);
    }
    let mut plain = Vec::with_capacity(part.len());
    let mut rest = part;
    while let Some((byte, behind)) =
        escaped(rest).or_else(|| rest.split_first().map(|(byte, behind)| (*byte, behind)))
    {
        plain.push(byte);
        rest = behind;
    }
    Cow::Owned(plain)
}

/// `%` HEXDIG HEXDIG at the start of `bytes`: the byte it stands for, and what follows.
pub fn escaped(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [b'%', high, low, rest @ ..] = bytes else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    Some(((digit(high)? * 16 + digit(low)?) as u8, rest))
}

/// What stands before and behind the byte at `at`.
fn split_at_byte(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// RFC 3966 §3: global number with `+`, or local number; visual separators allowed.
fn tel(rest: &[u8]) -> Option<Uri<'_>> {
    let (number, params) = rest.split_at_checked(memchr(b';', rest).unwrap_or(rest.len()))?;
    let digits = number.strip_prefix(b"+").unwrap_or(number);
    let is_number = digits
        .iter()
        .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#' | b'-' | b'.' | b'(' | b')'));
    let has_digit = digits.iter().any(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#'));
    (is_number && has_digit && memchr2(b'@', b'?', params).is_none()).then_some(Uri {
        scheme: Scheme::Tel,
        user: Some(number),
        host: b"",
        port: None,
        params,
        headers: b"",
    })
}

/// RFC 3261 §19.1.1: [ user [ `:` password ] `@` ] host [ `:` port ] params [ `?` headers ].
fn sip(scheme: Scheme, rest: &[u8]) -> Option<Uri<'_>> {
    let (user, rest) = match memchr(b'@', rest) {
        Some(at) => {
            let (userinfo, rest) = split_at_byte(rest, at)?;
            let user = userinfo.get(..memchr(b':', userinfo).unwrap_or(userinfo.len()))?;
            (Some(checked_escapes(user).filter(|user| !user.is_empty())?), rest)
        }
        None => (None, rest),
    };
    // An unescaped `@` may stand nowhere else.
    if memchr(b'@', rest).is_some() {
        return None;
    }
    let (host, rest) = rest.split_at_checked(host_or_reference_len(rest)?)?;
    let (port, tail) = match rest.strip_prefix(b":") {
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, tail) = rest.split_at_checked(digits)?;
            (Some(u16::try_from(number(digits)?).ok()?), tail)
        }
        None => (None, rest),
    };
    let (params, headers) = match tail.first() {
        None => (tail, tail),
        Some(b';' | b'?') => match memchr(b'?', tail) {
            Some(at) => split_at_byte(tail, at)?,
            None => (tail, &b""[..]),
        },
        Some(_) => return None,
    };
    Some(Uri { scheme, user, host, port, params, headers })
}

/// Length of the IPv6 reference, the name or the IPv4 address at the start.
fn host_or_reference_len(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'[') {
        return Some(host_len(rest)).filter(|len| *len > 0);
    }
    let len = memchr(b']', rest)? + 1;
    let inner = std::str::from_utf8(rest.get(1..len - 1)?).ok()?;
    inner.parse::<std::net::Ipv6Addr>().is_ok().then_some(len)
}

/// `user`, if every `%` in it begins an escape: one that does not is read in two ways.
fn checked_escapes(user: &[u8]) -> Option<&[u8]> {
    let mut rest = user;
    while let Some(at) = memchr(b'%', rest) {
        (_, rest) = escaped(rest.get(at..)?)?;
    }
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(uri: &str) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Uri::parse(uri.as_bytes()).map_or("-".into(), |uri| {
            let user = uri.user.map_or("-".into(), text);
            let port = uri.port.map_or("-".into(), |port| port.to_string());
            format!(
                "{:?} {user} {} {port} {} {}",
                uri.scheme,
                text(uri.host),
                text(uri.params),
                text(uri.headers)
            )
        })
    }

    #[test]
    fn reads_the_parts() {
        let cases = [
            ("sip:alice@atlanta.example.com", "Sip alice atlanta.example.com -  "),
            (
                "SIPS:alice:secret@a:5061;transport=tcp;lr?Subject=x%20y",
                "Sips alice a 5061 ;transport=tcp;lr Subject=x%20y",
            ),
            ("sip:atlanta.example.com", "Sip - atlanta.example.com -  "),
            ("sip:[2001:db8::9:1]:5070;maddr=[::1]", "Sip - [2001:db8::9:1] 5070 ;maddr=[::1] "),
            ("sip:user;par=u%40example.net@example.com", "Sip user;par=u%40example.net example.com -  "),
            ("sip:u~(x!y)/?,/;;*@example.com?a", "Sip u~(x!y)/?,/;;* example.com -  a"),
            ("sip:null-%00-null@example.com", "Sip null-%00-null example.com -  "),
            ("tel:+1-201-555-0123", "Tel +1-201-555-0123  -  "),
            ("tel:7042;phone-context=example.com", "Tel 7042  - ;phone-context=example.com "),
        ];
        for (uri, parts) in cases {
            assert_eq!(shown(uri), parts, "{uri}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_broken() {
        for uri in [
            "",
            "sip:",
            "sip",
            "alice@a",
            "http://a",
            "nobodyKnowsThisScheme:x",
            "sip:@a",
            "sip::pw@a",
            "sip:a@",
            "sip:a@evil@pbx",
            "sip:a@b;x=c@d",
            "sip:a@b?x=c@d",
            "sip:a@b:",
            "sip:a@b:65536",
            "sip:a@b:+1",
            "sip:a@b:5060x",
            "sip:a@[::1",
            "sip:a@[::1]x",
            "sip:a@[zz]",
            "sip:a@[fe80::1%25eth0]",
            "sip:a@b c",
            "sip:a @b",
            "sip:a\t@b",
            "sip:a@b\r\n",
            "sip:a\0@b",
            "sip:a@b/c",
            "sip:a@b\\c",
            "sip:a@b#c",
            "sip:a@b,c",
            "sip:a@\u{e9}",
            "<sip:a@b>",
            "sip:\"a\"@b",
            "sip:a%4@b",
            "sip:a%zz@b",
            "sip:a%@b",
            "sip:a@::1",
            "tel:",
            "tel:+",
            "tel:-",
            "tel:alice",
            "tel:+1?x",
            "tel:+1@b",
            "tel:1;x=@b",
        ] {
            assert_eq!(shown(uri), "-", "{uri:?}");
        }
    }

    #[test]
    fn address_transport_and_plain_user() {
        let uri = |text: &'static str| Uri::parse(text.as_bytes()).unwrap();
        assert_eq!(uri("sip:a@192.0.2.1").ip(), "192.0.2.1".parse().ok());
        assert_eq!(uri("sip:a@[::ffff:192.0.2.1]:1").ip(), "::ffff:192.0.2.1".parse().ok());
        assert_eq!(uri("sip:a@192.0.2.1.example.com").ip(), None);
        assert_eq!(uri("sip:a@0300.0.2.1").ip(), None);
        assert_eq!(uri("tel:1").ip(), None);
        assert_eq!(uri("sip:a@b;Transport=WsS").transport(), Some(Transport::Wss));
        assert_eq!(uri("sip:a@b;transport=sctp").transport(), None);
        assert_eq!(uri("sip:a@b").transport(), None);
        assert_eq!(uri("sip:%2B49%30@b").user_unescaped().as_deref(), Some(&b"+490"[..]));
        assert_eq!(uri("sip:%2525@b").user_unescaped().as_deref(), Some(&b"%25"[..]));
        assert!(matches!(uri("sip:+49@b").user_unescaped(), Some(Cow::Borrowed(b"+49"))));
        assert_eq!(uri("sip:b").user_unescaped(), None);
    }
}
