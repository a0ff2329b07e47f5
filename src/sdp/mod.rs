//! SDP (RFC 8866) as lines that are ours to change or not ours to touch: an editor, not a model.

use std::net::{IpAddr, SocketAddr};

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
    /// Default destination for RTP (its own `c=` or the session's); `None` where the host is a name or missing.
    pub rtp: Option<SocketAddr>,
    /// Where RTCP goes: `a=rtcp` (RFC 3605), else RTP's port + 1.
    pub rtcp: Option<SocketAddr>,
    /// 0 means rejected or disabled: left untouched.
    pub port: u16,
    /// RTP payload types in `m=` (RTP profiles only).
    pub payload_types: Vec<u8>,
    /// `a=rtcp-mux` is there.
    pub rtcp_mux: bool,
    /// ICE: both `ice-ufrag` and `ice-pwd` hold for this section (own or session level).
    pub ice: bool,
    /// Hold or not.
    pub direction: Direction,
    /// `a=mid`.
    pub mid: Option<&'s [u8]>,
}

/// A parsed body: line spans over the original.
#[derive(Clone, Debug)]
pub struct Session<'s> {
    body: &'s [u8],
    media: Vec<Media<'s>>,
}

/// What to write into one `m=` section.
#[derive(Clone, Debug)]
pub enum MediaEdit {
    /// Leave it as it is (port 0, unknown media, not anchored).
    Keep,
    /// Our relayed address as the default destination, and, where `candidate` says so, as a `typ relay` candidate per
    /// component with the same address (DESIGN.md §4).
    Relay {
        /// For `m=` and `c=`.
        rtp: SocketAddr,
        /// For `a=rtcp`; the section's `a=rtcp` is rewritten if present, added if the port is not RTP's + 1.
        rtcp: SocketAddr,
        /// Append `a=candidate … typ relay`.
        candidate: bool,
    },
}

impl<'s> Session<'s> {
    /// Reads a body with CRLF, LF or mixed line ends, in time proportional to its length.
    pub fn parse(body: &'s [u8]) -> Result<Session<'s>, SdpError> {
        let _ = body;
        todo!()
    }
    /// The `m=` sections in order.
    pub fn media(&self) -> &[Media<'s>] {
        &self.media
    }
    /// Host of `o=`.
    pub fn origin_host(&self) -> Option<IpAddr> {
        let _ = self.body;
        todo!()
    }
    /// Writes the body with `edits` (one per section) applied; every line that they do not own stays byte for byte.
    /// Applying the same edits to the result changes nothing (idempotent).
    pub fn rewrite(&self, edits: &[MediaEdit], out: &mut Vec<u8>) {
        let _ = (edits, out);
        todo!()
    }
}
