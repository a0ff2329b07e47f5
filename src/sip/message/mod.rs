//! A SIP message as a header index over the bytes that arrived: nothing is copied, nothing is normalised, and what
//! leaves differs from what came only where an [`Edit`] says so (RFC 3261 §16.6).

use bytes::Bytes;

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

/// A parsed message: the bytes as they came and the index over them. Cheap to clone only by [`Bytes`]; keep one owner.
#[derive(Clone, Debug)]
pub struct Message {
    _bytes: Bytes,
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
        let _ = (bytes, limits);
        todo!()
    }
    /// The bytes as received.
    pub fn bytes(&self) -> &Bytes {
        todo!()
    }
    /// The start line.
    pub fn start(&self) -> StartLine<'_> {
        todo!()
    }
    /// The method of a request; of a response, the one in CSeq.
    pub fn method(&self) -> Method {
        todo!()
    }
    /// The method's bytes; of a response, those in CSeq.
    pub fn method_bytes(&self) -> &[u8] {
        todo!()
    }
    /// Status of a response.
    pub fn status(&self) -> Option<u16> {
        todo!()
    }
    /// First field of that name, its whole value.
    pub fn header(&self, name: Name) -> Option<Element<'_>> {
        let _ = name;
        todo!()
    }
    /// All elements of that name over all its lines, split at commas that are outside quotes and angle brackets.
    pub fn elements(&self, name: Name) -> impl Iterator<Item = Element<'_>> {
        let _ = name;
        std::iter::empty()
    }
    /// First field whose name is these bytes (any case, compact form too): for names without a [`Name`].
    pub fn header_named(&self, name: &[u8]) -> Option<Element<'_>> {
        let _ = name;
        todo!()
    }
    /// Topmost Via.
    pub fn top_via(&self) -> Via<'_> {
        todo!()
    }
    /// Call-ID as it stands.
    pub fn call_id(&self) -> &[u8] {
        todo!()
    }
    /// CSeq.
    pub fn cseq(&self) -> CSeq<'_> {
        todo!()
    }
    /// From.
    pub fn from(&self) -> NameAddr<'_> {
        todo!()
    }
    /// To.
    pub fn to(&self) -> NameAddr<'_> {
        todo!()
    }
    /// The body, Content-Length bytes of it.
    pub fn body(&self) -> &[u8] {
        todo!()
    }
}

impl<'m> Element<'m> {
    /// Reads it as `name-addr`/`addr-spec`.
    pub fn name_addr(&self) -> Result<NameAddr<'m>, Malformed> {
        todo!()
    }
    /// Reads it as a Via value.
    pub fn via(&self) -> Result<Via<'m>, Malformed> {
        todo!()
    }
    /// Reads it as a number (Max-Forwards, Expires, …): digits only, no overflow.
    pub fn number(&self) -> Option<u32> {
        todo!()
    }
}

impl<'m> NameAddr<'m> {
    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'m [u8]> {
        todo!()
    }
}

impl<'m> Via<'m> {
    /// The `branch` parameter.
    pub fn branch(&self) -> Option<&'m [u8]> {
        todo!()
    }
}

/// Value of parameter `name` (any case) in `;a=b;c` (as in [`Via::params`]): `Some(b"")` for one without value.
pub fn param<'m>(params: &'m [u8], name: &[u8]) -> Option<&'m [u8]> {
    let _ = (params, name);
    todo!()
}

/// Changes to one message, kept as span replacements until [`Edit::write`] copies the unchanged bytes around them.
/// Changes may be made in any order; those that overlap are a programming error (debug assertion; the later one wins).
#[derive(Debug)]
pub struct Edit<'m> {
    _message: &'m Message,
}

impl<'m> Edit<'m> {
    /// Starts without changes.
    pub fn new(message: &'m Message) -> Self {
        Edit { _message: message }
    }
    /// Replaces the Request-URI (§16.6 step 2).
    pub fn set_request_uri(&mut self, uri: &[u8]) {
        let _ = uri;
        todo!()
    }
    /// Adds a header line above the first field of that name; where there is none, at the top of the headers.
    /// Several calls stack: the last added ends up on top.
    pub fn add_above(&mut self, name: Name, value: &[u8]) {
        let _ = (name, value);
        todo!()
    }
    /// Adds a header line behind the last field of the message.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let _ = (name, value);
        todo!()
    }
    /// Sets a single-valued header: replaces the first field's value, or appends.
    pub fn set(&mut self, name: Name, value: &[u8]) {
        let _ = (name, value);
        todo!()
    }
    /// Replaces one element.
    pub fn replace(&mut self, element: Element<'m>, value: &[u8]) {
        let _ = (element, value);
        todo!()
    }
    /// Replaces any bytes of the message's head: `at..at+len` are offsets as in [`Element::at`].
    pub fn replace_span(&mut self, at: usize, len: usize, value: &[u8]) {
        let _ = (at, len, value);
        todo!()
    }
    /// Removes one element with its comma; the whole line if it stands alone.
    pub fn remove(&mut self, element: Element<'m>) {
        let _ = element;
        todo!()
    }
    /// Removes every field of that name.
    pub fn remove_all(&mut self, name: Name) {
        let _ = name;
        todo!()
    }
    /// Replaces the body and sets Content-Length to fit.
    pub fn set_body(&mut self, body: &[u8]) {
        let _ = body;
        todo!()
    }
    /// Appends the edited message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}
