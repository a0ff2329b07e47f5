//! A SIP message as a header index over the bytes that arrived: nothing is copied, nothing is normalised, and what
//! leaves differs from what came only where an [`Edit`] says so (RFC 3261 §16.6).

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod body;
mod edit;
mod element;
mod escape;
mod index;
mod name;
mod parse;
mod read;
mod respond;
mod salvage;
mod scan;
mod start;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

use super::uri::Uri;

pub use body::{Sealed, is_media_type, part_of_type, readable_parts, sdp_part};
pub use edit::Edit;
pub use element::Elements;
pub use escape::escape_for_log;
pub use index::Index;
pub use read::{param, params_of};
pub use respond::{reason_phrase, response, response_to};

use name::same_name;
use parse::Mandatory;
pub(in crate::sip) use parse::{content_length, too_large};
use scan::Span;
pub use scan::is_plain_uri;
pub(in crate::sip) use scan::{FieldEnd, field_end, host_len, name_len, number};
pub(in crate::sip) use scan::{quoted_len, split, token_len, trim_start};
use start::Start;
pub use start::request_uri_at;

/// Limits on what is read; each has a status code of its own (ATTACKS.md: 64 kB header, 5,000 headers, 1 MB URI).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whole message, bytes: 413 above it.
    pub message: usize,
    /// Header fields: 400 above it.
    pub headers: usize,
    /// Request-URI, bytes: 414 above it.
    pub uri: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: 65_535, headers: 256, uri: 2_048 }
    }
}

/// Header names that Turnpike reads, compact forms folded in (RFC 3261 §7.3.3). Everything else is `Other` and passes
/// byte for byte.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    Via,
    From,
    To,
    CallId,
    CSeq,
    MaxForwards,
    Contact,
    Route,
    RecordRoute,
    Path,
    ContentLength,
    ContentType,
    ContentDisposition,
    Expires,
    Supported,
    Require,
    ProxyRequire,
    Authorization,
    ProxyAuthorization,
    UserAgent,
    Server,
    RetryAfter,
    Reason,
    PAssertedIdentity,
    PPreferredIdentity,
    RemotePartyId,
    Diversion,
    Privacy,
    Event,
    ReferTo,
    Replaces,
    SessionExpires,
    MinSe,
    RSeq,
    RAck,
    Timestamp,
    TransferEncoding,
    MaxBreadth,
    Other,
}

/// A request's method (RFC 3261 §7.1): the ones that Turnpike treats by name, and any other token.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Prack,
    Update,
    Info,
    Message,
    Subscribe,
    Notify,
    Refer,
    Publish,
    /// Read it from [`Message::method_bytes`].
    Other,
}

/// Why bytes are not a message, with the answer they earn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason} (byte {at})")]
pub struct Malformed {
    /// 400, 413, 414, 505 or 513.
    pub status: u16,
    /// Said in the answer's reason phrase and in the log. Never quotes the input.
    pub reason: &'static str,
    /// Where in the input.
    pub at: usize,
}

/// A parsed message: the bytes as they came and the index over them. Cloning copies the index; keep one owner.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    index: Index,
    start: Start,
    /// Where the empty line behind the headers stands.
    head_end: u32,
    mandatory: Mandatory,
}

/// Says what it is and how long, not what stands in it: that may be credentials.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status().map(|status| format!(" {status}")).unwrap_or_default();
        write!(f, "Message({}{status}, {} bytes)", escape_for_log(self.method_bytes()), self.bytes.len())
    }
}

impl Malformed {
    fn bad(reason: &'static str, at: usize) -> Malformed {
        Malformed { status: 400, reason, at }
    }
}

/// The first line (RFC 3261 §7.1, §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'m> {
    /// `METHOD uri SIP/2.0`
    Request {
        /// The method.
        method: Method,
        /// The Request-URI as it stands.
        uri: &'m [u8],
    },
    /// `SIP/2.0 status reason`
    Response {
        /// 100 to 699.
        status: u16,
        /// The reason phrase as it stands.
        reason: &'m [u8],
    },
}

/// One element of a header: a whole field's value, or one of the comma-separated values on its line (RFC 3261 §7.3.1).
/// Knows where it stands, so that an [`Edit`] can replace or remove just that.
#[derive(Clone, Copy, Debug)]
pub struct Element<'m> {
    /// The bytes, without surrounding white space. May contain folded line ends.
    pub value: &'m [u8],
    /// Index of the header field in the message.
    pub field: usize,
    /// Offset of `value` in the message.
    pub at: usize,
}

/// `name-addr` or `addr-spec` with parameters (RFC 3261 §20.10): From, To, Contact, Route, Record-Route, Path.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'m> {
    /// Display name as it stands, quotes included; empty if none.
    pub display: &'m [u8],
    /// The URI between the angle brackets, or the bare one.
    pub uri: &'m [u8],
    /// Header parameters (behind the URI), `;` first.
    pub params: &'m [u8],
    tag: Option<&'m [u8]>,
}

/// One Via value (RFC 3261 §20.42).
#[derive(Clone, Copy, Debug)]
pub struct Via<'m> {
    /// `UDP`, `TCP`, … as it stands.
    pub transport: &'m [u8],
    /// sent-by host, brackets of an IPv6 reference kept.
    pub host: &'m [u8],
    /// sent-by port.
    pub port: Option<u16>,
    /// Parameters, `;` first.
    pub params: &'m [u8],
    branch: Option<&'m [u8]>,
}

/// CSeq (RFC 3261 §20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'m> {
    /// Below 2^31.
    pub number: u32,
    /// The method as read.
    pub method: Method,
    /// The method as it stands.
    pub method_bytes: &'m [u8],
}

impl Message {
    /// Reads one whole message (a datagram, or what [`crate::sip::framing`] cut from a stream): checks start line,
    /// header syntax, the mandatory headers of RFC 3261 §8.1.1 being there exactly once, CSeq agreeing with the method,
    /// Content-Length agreeing with the body (bytes of a datagram behind Content-Length are cut off), limits.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Message, Malformed> {
        Message::parse_with(bytes, limits, &mut Index::default())
    }
    /// Gives the index back for the next [`Message::parse_with`].
    pub fn into_scratch(self) -> Index {
        self.index
    }
    /// The bytes as received, without what a datagram carried behind Content-Length.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
    /// The start line.
    pub fn start(&self) -> StartLine<'_> {
        match self.start {
            Start::Request { method, uri, .. } => StartLine::Request { method, uri: uri.read(&self.bytes) },
            Start::Response { status, reason } => {
                StartLine::Response { status, reason: reason.read(&self.bytes) }
            }
        }
    }
    /// The Request-URI of a request.
    pub fn request_uri(&self) -> Option<&[u8]> {
        self.request_uri_span().map(|uri| uri.read(&self.bytes))
    }
    /// The parts of the Request-URI, if it is one of ours and not broken ([`Uri::parse`]).
    pub fn uri(&self) -> Option<Uri<'_>> {
        match self.start {
            Start::Request { parts, .. } => Some(parts?.read(&self.bytes)),
            Start::Response { .. } => None,
        }
    }
    fn request_uri_span(&self) -> Option<Span> {
        match self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }
    /// The method of a request; of a response, the one in CSeq.
    pub fn method(&self) -> Method {
        match self.start {
            Start::Request { method, .. } => method,
            Start::Response { .. } => self.cseq().method,
        }
    }
    /// The method's bytes; of a response, those in CSeq.
    pub fn method_bytes(&self) -> &[u8] {
        match self.start {
            Start::Request { method_span, .. } => method_span.read(&self.bytes),
            Start::Response { .. } => self.cseq().method_bytes,
        }
    }
    /// Status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }
    /// First field of that name, its whole value.
    pub fn header(&self, name: Name) -> Option<Element<'_>> {
        self.index.first(name).map(|(number, field)| self.element(number, field))
    }
    /// Every field, in order: name as it stands, and whole value.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Element<'_>)> {
        let fields = self.index.fields().iter().enumerate();
        fields.map(|(number, field)| (field.name_span.read(&self.bytes), self.element(number, field)))
    }
    /// The name of the field that an element stands in.
    pub fn name_of(&self, element: Element<'_>) -> Name {
        self.index.fields().get(element.field).map_or(Name::Other, |field| field.name)
    }
    /// All elements of that name over all its lines, split at commas that are outside quotes and angle brackets. Only
    /// for names whose value is a list: an Authorization has commas of another kind.
    pub fn elements(&self, name: Name) -> Elements<'_> {
        let fields = self.index.fields();
        let first = self.index.first(name).map_or(fields.len(), |(number, _)| number);
        Elements::new(&self.bytes, fields, name, first)
    }
    /// First field whose name is these bytes (any case, compact form too): for names without a [`Name`].
    pub fn header_named(&self, name: &[u8]) -> Option<Element<'_>> {
        self.headers().find(|(found, _)| same_name(found, name)).map(|(_, element)| element)
    }
    /// Topmost Via.
    pub fn top_via(&self) -> Via<'_> {
        self.mandatory.via.read(&self.bytes)
    }
    /// Call-ID as it stands.
    pub fn call_id(&self) -> &[u8] {
        self.mandatory.call_id.read(&self.bytes)
    }
    /// CSeq.
    pub fn cseq(&self) -> CSeq<'_> {
        self.mandatory.cseq.read(&self.bytes)
    }
    /// From.
    pub fn from(&self) -> NameAddr<'_> {
        self.mandatory.from.read(&self.bytes)
    }
    /// To.
    pub fn to(&self) -> NameAddr<'_> {
        self.mandatory.to.read(&self.bytes)
    }
    /// The body, Content-Length bytes of it.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.body_at()..).unwrap_or_default()
    }
    /// Where `part`, a slice that this message lent out, stands in it: for [`Edit::replace_span`].
    pub fn offset_of(&self, part: &[u8]) -> Option<usize> {
        let at = (part.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        (at + part.len() <= self.bytes.len()).then_some(at)
    }

    fn body_at(&self) -> usize {
        (self.head_end as usize + 2).min(self.bytes.len())
    }

    fn element<'m>(&'m self, field: usize, entry: &index::Field) -> Element<'m> {
        Element { value: entry.value.read(&self.bytes), field, at: entry.value.at as usize }
    }
}
