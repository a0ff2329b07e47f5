//! What a section says of its media security, written anew: profile, keys or fingerprint, and what hangs on them.

use std::fmt;

use super::attribute::lines_that;
use super::ice_lines::session_slot;
use super::rewrite::{Splice, Splices, Text};
use super::{Media, MediaEdit, Section, Session, Span};

/// What to write of media security into one `m=` section: nothing that it says of it stays.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keying {
    /// The transport protocol of `m=`: `RTP/AVP`, `RTP/SAVP`, `UDP/TLS/RTP/SAVPF`, …
    pub protocol: String,
    /// Lines without their ends: `a=crypto:…` (secret), or `a=fingerprint:…` and `a=setup:…`; none for plain RTP.
    pub lines: Vec<Vec<u8>>,
    /// Whether `a=rtcp-mux` is to stand there; `None`: as it is.
    pub rtcp_mux: Option<bool>,
    /// For a section without `a=mid`.
    pub mid: Option<Vec<u8>>,
}

/// A key is never printed.
impl fmt::Debug for Keying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keying({}, {} lines)", self.protocol, self.lines.len())
    }
}

impl MediaEdit {
    /// How the section will be keyed, if that is changed.
    pub(super) fn keying(&self) -> Option<&Keying> {
        match self {
            MediaEdit::Relay { keying, .. } => keying.as_deref(),
            MediaEdit::Keep | MediaEdit::WithoutIce | MediaEdit::Reject => None,
        }
    }
}

pub(super) fn section<'e>(
    session: &Session<'_>,
    media: &Media<'_>,
    section: &Section,
    own: &'e Keying,
    splices: &mut Splices<'e>,
) {
    splices.push(Splice { at: section.protocol, new_line: false, text: Text::Line(own.protocol.as_bytes()) });
    let within = Span { start: section.port.end, end: section.end };
    let slot = lines_that(session.body, within, says_keys).next().map_or(section.end, |line| line.start);
    splices.extend(own.lines.iter().map(|line| Splice::line_at(slot, Text::Line(line))));
    splices.extend(lines_that(session.body, within, says_keys).map(Splice::without));
    if let Some(mid) = own.mid.as_deref().filter(|_| media.mid.is_none()) {
        splices.push(Splice::line_at(section.end, Text::Mid(mid)));
    }
    match own.rtcp_mux {
        Some(true) if !media.rtcp_mux => {
            let line = Text::Attribute { name: "rtcp-mux", value: "" };
            splices.push(Splice::line_at(section.end, line));
        }
        Some(false) => splices.extend(lines_that(session.body, within, is_rtcp_mux).map(Splice::without)),
        _ => {}
    }
}

/// The session's keys hold for every section that has none, and go unless one that we leave alone may live on them. So does its
/// bundle: what shares a transport shares its keys (RFC 9143 §9.2), and each section has its own here.
pub(super) fn session_level(session: &Session<'_>, edits: &[MediaEdit], splices: &mut Splices<'_>) {
    let (mut any, mut needed) = (false, false);
    for (index, media) in session.media.iter().enumerate().filter(|(_, media)| media.port != 0) {
        match edits.get(index).and_then(MediaEdit::keying) {
            Some(_) => any = true,
            None => needed |= media.is_dtls() || !media.is_udp(),
        }
    }
    if !any {
        return;
    }
    let within = Span { start: 0, end: session_slot(session) };
    if !needed {
        splices.extend(lines_that(session.body, within, says_keys).map(Splice::without));
    }
    splices.extend(lines_that(session.body, within, is_bundle).map(Splice::without));
}

/// SDES (RFC 4568), DTLS (RFC 8122, RFC 4145, RFC 8842), MIKEY (RFC 4567), and what negotiates between them (RFC 5939).
fn says_keys(line: &[u8]) -> bool {
    let names: [&[u8]; 10] = [
        b"crypto:",
        b"fingerprint:",
        b"setup:",
        b"tls-id:",
        b"connection:",
        b"key-mgmt:",
        b"tcap:",
        b"acap:",
        b"pcfg:",
        b"acfg:",
    ];
    line.strip_prefix(b"a=").is_some_and(|line| names.iter().any(|name| line.starts_with(name)))
}

/// RFC 5761, and RFC 8858.
fn is_rtcp_mux(line: &[u8]) -> bool {
    matches!(line.trim_ascii_end(), b"a=rtcp-mux" | b"a=rtcp-mux-only")
}

fn is_bundle(line: &[u8]) -> bool {
    line.starts_with(b"a=group:BUNDLE")
}
