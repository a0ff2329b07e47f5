//! From bytes to a [`Message`]: everything that has to hold before anyone may rely on it (ATTACKS.md).

use bytes::Bytes;
use memchr::{memchr, memchr2};

use super::element::Elements;
use super::index::{Field, Index};
use super::read::{cseq, name_addr, via};
use super::salvage::is_clean;
use super::scan::{Span, any, is_lws, number, quoted_len};
use super::start::{self, Start};
use super::{CSeq, Limits, Malformed, Message, Method, Name, NameAddr, Via};

/// Where the parts of an address stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AddressSpans {
    display: Span,
    uri: Span,
    params: Span,
    tag: Option<Span>,
}

impl AddressSpans {
    fn of(bytes: &[u8], address: &NameAddr<'_>) -> Self {
        let span = |part| Span::of(bytes, part);
        AddressSpans {
            display: span(address.display),
            uri: span(address.uri),
            params: span(address.params),
            tag: address.tag.map(span),
        }
    }
    pub(super) fn read(self, bytes: &[u8]) -> NameAddr<'_> {
        NameAddr {
            display: self.display.read(bytes),
            uri: self.uri.read(bytes),
            params: self.params.read(bytes),
            tag: self.tag.map(|tag| tag.read(bytes)),
        }
    }
}

/// Where the parts of a Via stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ViaSpans {
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
    branch: Option<Span>,
}

impl ViaSpans {
    fn of(bytes: &[u8], via: &Via<'_>) -> Self {
        let span = |part| Span::of(bytes, part);
        ViaSpans {
            transport: span(via.transport),
            host: span(via.host),
            port: via.port,
            params: span(via.params),
            branch: via.branch.map(span),
        }
    }
    pub(super) fn read(self, bytes: &[u8]) -> Via<'_> {
        Via {
            transport: self.transport.read(bytes),
            host: self.host.read(bytes),
            port: self.port,
            params: self.params.read(bytes),
            branch: self.branch.map(|branch| branch.read(bytes)),
        }
    }
}

/// Where the method in CSeq stands, and the number.
#[derive(Clone, Copy, Debug)]
pub(super) struct CSeqSpans {
    number: u32,
    method: Method,
    method_span: Span,
}

impl CSeqSpans {
    fn of(bytes: &[u8], cseq: &CSeq<'_>) -> Self {
        CSeqSpans {
            number: cseq.number,
            method: cseq.method,
            method_span: Span::of(bytes, cseq.method_bytes),
        }
    }
    /// The method is the last word, whatever the number is.
    fn salvage(bytes: &[u8], value: &[u8]) -> Self {
        let method_bytes = value.rsplit(|byte| is_lws(*byte)).next().unwrap_or_default();
        let number = cseq(value).map_or(0, |cseq| cseq.number);
        CSeqSpans::of(bytes, &CSeq { number, method: Method::from_bytes(method_bytes), method_bytes })
    }
    pub(super) fn read(self, bytes: &[u8]) -> CSeq<'_> {
        CSeq { number: self.number, method: self.method, method_bytes: self.method_span.read(bytes) }
    }
}

/// The headers that every message has (RFC 3261 §8.1.1), read once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mandatory {
    pub via: ViaSpans,
    pub from: AddressSpans,
    pub to: AddressSpans,
    pub call_id: Span,
    pub cseq: CSeqSpans,
}

impl Mandatory {
    /// As much as can be read; `None` without Via or CSeq, or if anything there is not clean.
    pub(super) fn salvage(bytes: &[u8], index: &Index) -> Option<Mandatory> {
        let clean = |field: &Field| {
            let value = Span { at: field.name_span.end, end: field.next };
            is_clean(value.read(bytes)) && field.value.at < field.value.end
        };
        if !index.fields().iter().all(clean) {
            return None;
        }
        let value = |name| index.first(name).map_or(Span::default(), |(_, field)| field.value);
        let address =
            |name| name_addr(value(name).read(bytes)).map(|address| AddressSpans::of(bytes, &address));
        let (first_via, _) = index.first(Name::Via)?;
        let top_via = Elements::new(bytes, index.fields(), Name::Via, first_via).next()?;
        let via = via(top_via.value).map(|via| ViaSpans::of(bytes, &via));
        let (_, cseq) = index.first(Name::CSeq)?;
        Some(Mandatory {
            via: via.unwrap_or_default(),
            from: address(Name::From).unwrap_or_default(),
            to: address(Name::To).unwrap_or_default(),
            call_id: value(Name::CallId),
            cseq: CSeqSpans::salvage(bytes, cseq.value.read(bytes)),
        })
    }
}

impl Message {
    /// [`Message::parse`] into an index that was used before. It stays in `scratch` if the bytes are malformed, and
    /// comes back from [`Message::into_scratch`] if not.
    pub fn parse_with(mut bytes: Bytes, limits: &Limits, scratch: &mut Index) -> Result<Message, Malformed> {
        if bytes.len() > limits.message.min(u32::MAX as usize) {
            return Err(too_large(&bytes, limits));
        }
        let (start, headers) = start::read(&bytes, limits)?;
        let head_end = scratch.read(&bytes, headers, limits)?;
        check_nul(&bytes, headers, head_end, scratch.fields())?;
        let mandatory = mandatory(&bytes, scratch)?;
        if let Start::Request { method_span, .. } = start {
            check_request(&bytes, scratch, method_span, &mandatory)?;
        }
        let end = body_end(&bytes, scratch, head_end + 2)?;
        bytes.truncate(end);
        Ok(Message { bytes, index: std::mem::take(scratch), start, head_end: head_end as u32, mandatory })
    }
}

/// More than the limit: 414 if the start line alone is, 513 if it is the header section, 413 if it is the body.
pub(in crate::sip) fn too_large(bytes: &[u8], limits: &Limits) -> Malformed {
    let head = bytes.get(..limits.message).unwrap_or(bytes);
    match memchr(b'\n', head) {
        None => Malformed { status: 414, reason: "Request-URI Too Long", at: head.len() },
        Some(line) if line > limits.uri.saturating_mul(2) => {
            Malformed { status: 414, reason: "Request-URI Too Long", at: line }
        }
        Some(_) if memchr::memmem::find(head, b"\r\n\r\n").is_none() => {
            Malformed { status: 513, reason: "Message Too Large", at: head.len() }
        }
        Some(_) => Malformed { status: 413, reason: "Request Entity Too Large", at: head.len() },
    }
}

/// NUL may stand in a header in one form only: as a quoted-pair inside a quoted-string (RFC 3261 §25.1). Anywhere else
/// it would end the string for some readers.
fn check_nul(bytes: &[u8], headers: usize, head_end: usize, fields: &[Field]) -> Result<(), Malformed> {
    let head = bytes.get(..head_end).unwrap_or_default();
    let Some(at) = memchr(0, head) else { return Ok(()) };
    if at < headers {
        return Err(Malformed::bad("NUL byte", at));
    }
    match fields.iter().find(|field| !nul_is_quoted(field.value.read(bytes))) {
        Some(field) => Err(Malformed::bad("NUL byte", field.value.at as usize)),
        None => Ok(()),
    }
}

/// Sees quotes and angle brackets as [`Elements`] does: what is fine here is fine when other elements have gone.
fn nul_is_quoted(mut value: &[u8]) -> bool {
    if !value.contains(&0) {
        return true;
    }
    while let Some(at) = memchr2(b'"', b'<', value) {
        let (before, rest) = value.split_at_checked(at).unwrap_or_default();
        let is_quote = rest.first() == Some(&b'"');
        let len = if is_quote { quoted_len(rest) } else { memchr(b'>', rest).map(|at| at + 1) };
        let Some((inside, behind)) = len.and_then(|len| rest.split_at_checked(len)) else { return false };
        let mut pair = false;
        let has_bare = inside.iter().any(|byte| {
            let is_bare = *byte == 0 && !pair;
            pair = is_quote && *byte == b'\\' && !pair;
            is_bare
        });
        if has_bare || before.contains(&0) {
            return false;
        }
        value = behind;
    }
    !value.contains(&0)
}

/// RFC 3261 §8.1.1: To, From, CSeq, Call-ID and Via have to be there and be readable. Every Via is read: what we pass
/// on, the next element reads.
fn mandatory(bytes: &[u8], index: &Index) -> Result<Mandatory, Malformed> {
    let field =
        |name, missing| index.first(name).map(|(_, field)| field.value).ok_or(Malformed::bad(missing, 0));
    let address = |span: Span, reason| {
        let address = name_addr(span.read(bytes)).ok_or(Malformed::bad(reason, span.at as usize))?;
        Ok(AddressSpans::of(bytes, &address))
    };
    let (first_via, _) = index.first(Name::Via).ok_or(Malformed::bad("Missing Via", 0))?;
    let mut top_via = None;
    for element in Elements::new(bytes, index.fields(), Name::Via, first_via) {
        let via = via(element.value).ok_or(Malformed::bad("Malformed Via", element.at))?;
        top_via.get_or_insert(ViaSpans::of(bytes, &via));
    }
    let via = top_via.ok_or(Malformed::bad("Missing Via", 0))?;
    let from = address(field(Name::From, "Missing From")?, "Malformed From")?;
    let to = address(field(Name::To, "Missing To")?, "Malformed To")?;
    let call_id = field(Name::CallId, "Missing Call-ID")?;
    if call_id.is_empty() || any(call_id.read(bytes), |byte| (byte <= b' ') | (byte == 0x7f)) {
        return Err(Malformed::bad("Malformed Call-ID", call_id.at as usize));
    }
    let span = field(Name::CSeq, "Missing CSeq")?;
    let cseq = cseq(span.read(bytes)).ok_or(Malformed::bad("Malformed CSeq", span.at as usize))?;
    Ok(Mandatory { via, from, to, call_id, cseq: CSeqSpans::of(bytes, &cseq) })
}

/// What holds for requests only: CSeq names the method (§8.1.1.5), Max-Forwards is 0 to 255 (§20.22).
fn check_request(bytes: &[u8], index: &Index, method: Span, mandatory: &Mandatory) -> Result<(), Malformed> {
    if mandatory.cseq.method_span.read(bytes) != method.read(bytes) {
        return Err(Malformed::bad("CSeq does not match the method", mandatory.cseq.method_span.at as usize));
    }
    if let Some((_, field)) = index.first(Name::MaxForwards)
        && number(field.value.read(bytes)).is_none_or(|hops| hops > 255)
    {
        return Err(Malformed::bad("Malformed Max-Forwards", field.value.at as usize));
    }
    Ok(())
}

/// Where the body ends (§18.3): at Content-Length; without one, with the datagram. A transfer coding is not SIP
/// (§7.4.2), and whoever obeys one sees another message than we do.
fn body_end(bytes: &[u8], index: &Index, body: usize) -> Result<usize, Malformed> {
    if let Some((_, field)) = index.first(Name::TransferEncoding) {
        return Err(Malformed::bad("Transfer-Encoding is not SIP", field.name_span.at as usize));
    }
    let Some((_, field)) = index.first(Name::ContentLength) else { return Ok(bytes.len()) };
    let length = content_length(field.value.read(bytes), field.value.at as usize)?;
    match body.checked_add(length) {
        Some(end) if end <= bytes.len() => Ok(end),
        _ => Err(Malformed::bad("Content-Length exceeds the body", field.value.at as usize)),
    }
}

/// Reads Content-Length: digits, nothing else (§20.14). The framer reads it here too.
pub(in crate::sip) fn content_length(value: &[u8], at: usize) -> Result<usize, Malformed> {
    number(value)
        .and_then(|length| usize::try_from(length).ok())
        .ok_or(Malformed::bad("Malformed Content-Length", at))
}
