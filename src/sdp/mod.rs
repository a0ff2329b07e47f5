//! SDP (RFC 8866) as lines that are ours to change or not ours to touch: an editor, not a model.
//!
//! [`Session::parse`] finds the lines that say where media goes and remembers their spans; [`Session::rewrite`] copies
//! the body and replaces those spans. Every other line, known or not, in whatever encoding, passes byte for byte.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod attribute;
mod candidate;
pub mod crypto;
pub mod dtls;
mod ice_lines;
mod keying;
mod parse;
mod rewrite;
mod shown;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

pub use candidate::{Candidate, trickled};
pub use keying::Keying;
pub use shown::{View, show};

/// Longest body that is read, in bytes.
pub const MAX_BODY: usize = 65_536;
/// Most `m=` sections in one body.
pub const MAX_MEDIA: usize = 64;

/// Why a body is not SDP that we can rewrite: the call gets 488 (or 400), see ATTACKS.md.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct SdpError {
    /// 1-based line of the body.
    pub line: usize,
    /// What is wrong; never quotes the input.
    pub reason: &'static str,
}

/// `a=sendrecv` and kin (RFC 8866 §6.7), the session's where the media has none; `c=0.0.0.0` reads as it stands.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

/// What an `m=` section says, as far as the relay needs to know.
#[derive(Clone, Debug)]
pub struct Media<'s> {
    /// `audio`, `video`, `image`, …
    pub kind: &'s [u8],
    /// `RTP/AVP`, `UDP/TLS/RTP/SAVPF`, `udptl`, …
    pub protocol: &'s [u8],
    /// Default destination for RTP (its own `c=` or the session's); `None` where the port is 0, the host is a name or
    /// missing.
    pub rtp: Option<SocketAddr>,
    /// Where RTCP goes: `a=rtcp` (RFC 3605), else RTP's port + 1.
    pub rtcp: Option<SocketAddr>,
    /// 0 means rejected or disabled: left untouched.
    pub port: u16,
    /// RTP payload types in `m=` (RTP profiles only).
    pub payload_types: Vec<u8>,
    /// `a=rtcp-mux` is there.
    pub rtcp_mux: bool,
    /// ICE: both `ice-ufrag` and `ice-pwd` hold for this section (own or session level), and it does not say that ICE failed
    /// (`a=ice-mismatch`, RFC 8839 §4.2.5).
    pub ice: bool,
    /// Hold or not.
    pub direction: Direction,
    /// `a=mid`.
    pub mid: Option<&'s [u8]>,
}

impl Media<'_> {
    /// An RTP profile, over whatever (RFC 8866 §8.2.3, RFC 5764 §8).
    pub fn is_rtp(&self) -> bool {
        self.protocol.starts_with(b"RTP/") || self.protocol.windows(5).any(|part| part == b"/RTP/")
    }

    /// Keyed by DTLS: SRTP (RFC 5764 §8), data channels (RFC 8841 §4.2), UDPTL (RFC 7345 §4).
    pub fn is_dtls(&self) -> bool {
        self.protocol.starts_with(b"UDP/TLS/")
            || self.protocol.starts_with(b"UDP/DTLS/")
            || self.protocol.starts_with(b"DTLS/")
    }

    /// Travels in UDP datagrams, so that a relay of datagrams can carry it.
    pub fn is_udp(&self) -> bool {
        let udp = self.protocol.get(..3).is_some_and(|head| head.eq_ignore_ascii_case(b"udp"));
        udp || self.protocol.starts_with(b"RTP/") || self.protocol.starts_with(b"DTLS/")
    }

    /// Put on hold the old way, by an unspecified address (RFC 3264 §8.4). Port 9 with ICE is no hold: the candidates
    /// are still to come (RFC 8840 §4.1.1).
    pub fn is_held_by_address(&self) -> bool {
        self.rtp.is_some_and(|rtp| rtp.ip().is_unspecified()) && !self.is_without_default()
    }

    /// ICE without a default destination yet (RFC 8840 §4.1.1).
    pub fn is_without_default(&self) -> bool {
        self.ice && self.port == 9
    }
}

/// A parsed body: line spans over the original.
#[derive(Clone, Debug)]
pub struct Session<'s> {
    body: &'s [u8],
    /// Value of `o=`.
    origin: Option<&'s [u8]>,
    /// The session's own `c=`.
    connection: Option<Connection>,
    bundle: bool,
    media: Vec<Media<'s>>,
    /// Where each section's owned lines are; as long as `media`.
    sections: Vec<Section>,
}

/// What to write into one `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaEdit {
    /// Leave it as it is (port 0, unknown media, not anchored).
    Keep,
    /// The same, without its lines of ICE.
    WithoutIce,
    /// Port 0: the stream is refused (RFC 3264 §6), and does no ICE.
    Reject,
    /// Our relayed address as the default destination (DESIGN.md §4).
    Relay {
        /// For `m=` and `c=`.
        rtp: SocketAddr,
        /// For `a=rtcp`; the section's `a=rtcp` is rewritten if present, added if the port is not RTP's + 1. The same
        /// as `rtp` where the section says that both share a port.
        rtcp: SocketAddr,
        /// What becomes of its ICE.
        ice: IceEdit,
        /// What becomes of its media security; `None`: it stays as it is.
        keying: Option<Box<Keying>>,
    },
}

/// What to write of ICE into one `m=` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceEdit {
    /// Its lines stay as they are.
    Keep,
    /// The default destination also stands as a `typ relay` candidate per component.
    Append {
        /// Candidates at these addresses go: ours stand for them.
        instead_of: Vec<SocketAddr>,
    },
    /// The same, and no other candidate stays.
    RelayOnly,
    /// No ICE line stays, nor any that the section would inherit.
    Strip,
    /// We are an ICE-lite agent that goes by these: no other ICE line stays.
    Lite(crate::ice::Credentials),
}

impl<'s> Session<'s> {
    /// Reads a body with CRLF, LF or mixed line ends, in time proportional to its length.
    pub fn parse(body: &'s [u8]) -> Result<Session<'s>, SdpError> {
        parse::parse(body)
    }

    /// The `m=` sections in order.
    pub fn media(&self) -> &[Media<'s>] {
        &self.media
    }

    /// The candidates of the `index`th section, in order.
    pub fn candidates(&self, index: usize) -> impl Iterator<Item = Candidate<'s>> + use<'_, 's> {
        let section = self.sections.get(index).into_iter();
        section.flat_map(|section| candidate::candidates(self.body, section))
    }

    /// Host of `o=`.
    pub fn origin_host(&self) -> Option<IpAddr> {
        self.origin.and_then(parse::origin_host)
    }

    /// `a=group:BUNDLE` is there (RFC 9143): several sections may share one transport.
    pub fn has_bundle(&self) -> bool {
        self.bundle
    }

    /// `a=ice-lite` is there (RFC 8839 §5.3).
    pub fn is_ice_lite(&self) -> bool {
        ice_lines::session_ice_lines(self)
            .filter_map(|line| self.body.get(line.start..line.end))
            .any(|line| line.trim_ascii_end() == b"a=ice-lite")
    }

    /// Writes the body with `edits` (one per section, missing ones are `Keep`) applied; every line that they do not own
    /// stays byte for byte. Applying the same edits to the result changes nothing (idempotent).
    pub fn rewrite(&self, edits: &[MediaEdit], out: &mut Vec<u8>) {
        rewrite::rewrite(self, edits, out);
    }
}

/// A part of the body.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: usize,
    end: usize,
}

/// The host in a `c=` or `a=rtcp` line.
#[derive(Clone, Copy, Debug)]
enum Host {
    Ip(IpAddr),
    /// A domain name, or an address of another network type.
    Name,
}

impl Host {
    fn ip(self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(ip),
            Host::Name => None,
        }
    }
}

/// A `c=` line.
#[derive(Clone, Copy, Debug)]
struct Connection {
    line: Span,
    host: Host,
}

/// An `a=rtcp` line (RFC 3605).
#[derive(Clone, Copy, Debug)]
struct RtcpLine {
    line: Span,
    port: u16,
    /// Only in the long form.
    host: Option<Host>,
}

/// Where the lines of a section are that are ours to change. Line spans exclude the line end; slots are where a new
/// line may start.
#[derive(Clone, Copy, Debug)]
struct Section {
    /// The digits in `m=`.
    port: Span,
    /// The transport protocol in `m=`.
    protocol: Span,
    connection: Option<Connection>,
    /// After `m=` and `i=` (RFC 8866 §5: `c=` follows them).
    connection_slot: usize,
    rtcp: Option<RtcpLine>,
    /// From the first to the last candidate, with what stands between.
    candidates: Option<Span>,
    /// After the last candidate, else after the last ICE line.
    candidate_slot: Option<usize>,
    /// After its last line.
    end: usize,
    level: Level,
}

/// What is said for the session, or for one section, that a section inherits.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    direction: Option<Direction>,
    ice_ufrag: bool,
    ice_pwd: bool,
    ice_mismatch: bool,
}
