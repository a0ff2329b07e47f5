//! What can be answered of a request that can't be read (RFC 3261 §8.2: 400, §16.3: 400, 413, 414, 416 …).

use bytes::Bytes;
use memchr::memmem;

use super::index::{Field, Index};
use super::parse::Mandatory;
use super::scan::{Span, is_token, name_len, split};
use super::start::Start;
use super::{Limits, Message, Method, Name};

impl Message {
    /// The Via lines, From, To, Call-ID and CSeq of a malformed request, so that [`super::response`] can refuse it;
    /// nothing else is in the index. `None` where no answer may go out or none would be safe: a response, an ACK,
    /// no Via or CSeq, or a line end or NUL hidden in one of the five. Where one of the others is missing there is
    /// still an answer, without it (RFC 4475 §3.3.1).
    ///
    /// Only good for answering the source it came from: what the typed readers can't read is empty or 0.
    pub fn salvage(bytes: &[u8], limits: &Limits) -> Option<Message> {
        let (bytes, _) = split(bytes, limits.message.min(u32::MAX as usize));
        let line_end = memmem::find(bytes, b"\r\n")?;
        let method_span = Span::new(0, bytes.iter().position(|byte| *byte == b' ')?.min(line_end));
        let method = method_span.read(bytes);
        if !is_token(method) || method == b"ACK" {
            return None;
        }
        let uri = Span::default();
        let start = Start::Request { method: Method::from_bytes(method), method_span, uri, parts: None };
        let index = salvage_fields(bytes, line_end + 2, limits);
        let mandatory = Mandatory::salvage(bytes, &index)?;
        if mandatory.cseq.read(bytes).method == Method::Ack {
            return None;
        }
        let head_end = index.fields().last()?.next;
        let (head, _) = split(bytes, head_end as usize);
        Some(Message { bytes: Bytes::copy_from_slice(head), index, start, head_end, mandatory })
    }
}

/// The whole lines of the five headers, as far as there are any.
fn salvage_fields(bytes: &[u8], mut at: usize, limits: &Limits) -> Index {
    let mut index = Index::default();
    for _ in 0..limits.headers {
        let line = bytes.get(at..).unwrap_or_default();
        let Some(end) = unfolded_end(line) else { break };
        if end == 0 {
            break;
        }
        let next = at + end + 2;
        if let Some((name_len, colon)) = name_len(line) {
            let name = Name::from_bytes(split(line, name_len).0);
            let is_needed = matches!(name, Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq);
            if is_needed && (name == Name::Via || index.first(name).is_none()) {
                let value = Span::trimmed(bytes, at + colon, (at + end).max(at + colon));
                index.push(Field { name, name_span: Span::new(at, at + name_len), value, next: next as u32 });
            }
        }
        at = next;
    }
    index
}

/// Where the line's CRLF stands, folds included.
fn unfolded_end(line: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let end = at + memmem::find(line.get(at..)?, b"\r\n")?;
        match line.get(end + 2) {
            Some(b' ' | b'\t') => at = end + 2,
            _ => return Some(end),
        }
    }
}

/// No CR, LF or NUL in `line` but its CRLF and those of its folds.
pub(super) fn is_clean(line: &[u8]) -> bool {
    let mut rest = line;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        match rest.get(at..) {
            Some(b"\r\n") => return true,
            Some([b'\r', b'\n', b' ' | b'\t', behind @ ..]) => rest = behind,
            _ => return false,
        }
    }
    false
}
