//! `a=candidate` lines (RFC 8839 §5.1): read where somebody asks for them, field by field.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::parse::Fields;
use super::{Section, Span};

/// One candidate of a section. Fields are read when they are asked for: most candidates are told from ours by the first few.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'s> {
    /// What follows `a=candidate:`.
    value: &'s [u8],
    /// With its line end.
    pub(super) line: Span,
}

impl<'s> Candidate<'s> {
    /// 1 is RTP, 2 is RTCP (RFC 8839 §5.1).
    pub fn component(&self) -> Option<u16> {
        number(self.fields().nth(1))
    }

    /// Where it is reached over UDP; `None` for TCP, and for a name (mDNS).
    pub fn udp(&self) -> Option<SocketAddr> {
        let mut fields = self.fields().skip(2);
        let is_udp = fields.next()?.eq_ignore_ascii_case(b"udp");
        let _priority = fields.next()?;
        let (ip, port) = (number::<IpAddr>(fields.next())?, number(fields.next())?);
        is_udp.then_some(SocketAddr::new(ip, port))
    }

    pub(super) fn foundation(&self) -> &'s [u8] {
        self.fields().next().unwrap_or_default()
    }

    /// As we write it, whatever the foundation.
    pub(super) fn is_ours(&self, priority: u32, address: SocketAddr) -> bool {
        let mut fields = self.fields().skip(3);
        number(fields.next()) == Some(priority)
            && number(fields.next()) == Some(address.ip())
            && number(fields.next()) == Some(address.port())
            && fields.nth(1) == Some(b"relay")
    }

    fn fields(&self) -> impl Iterator<Item = &'s [u8]> + use<'s> {
        Fields::of(self.value).map(|(_, field)| field)
    }
}

/// Those of one section, in order.
pub(super) fn candidates<'s>(
    body: &'s [u8],
    section: &Section,
) -> impl Iterator<Item = Candidate<'s>> + use<'s> {
    within(body, section.candidates.unwrap_or_default())
}

/// Those in `application/trickle-ice-sdpfrag` (RFC 8840 §9), of whatever section.
pub fn trickled(fragment: &[u8]) -> impl Iterator<Item = Candidate<'_>> {
    within(fragment, Span { start: 0, end: fragment.len() })
}

fn within(body: &[u8], Span { start: mut at, end }: Span) -> impl Iterator<Item = Candidate<'_>> + use<'_> {
    std::iter::from_fn(move || {
        while let Some(rest) = body.get(at..end).filter(|rest| !rest.is_empty()) {
            let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |len| len + 1);
            let (line, start) = (rest.get(..len)?, at);
            at += len;
            if let Some(value) = line.strip_prefix(b"a=candidate:") {
                return Some(Candidate { value: value.trim_ascii_end(), line: Span { start, end: at } });
            }
        }
        None
    })
}

fn number<T: FromStr>(field: Option<&[u8]>) -> Option<T> {
    std::str::from_utf8(field?).ok()?.parse().ok()
}
