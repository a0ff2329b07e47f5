//! What the body is, and where in it the SDP stands (RFC 3261 §7.4, RFC 2046 §5.1, RFC 5621).

use std::ops::Range;

use memchr::memmem;

use super::read::param;
use super::scan::{FieldEnd, field_end, name_len, split, trim};
use super::{Message, Name};

/// How deep multiparts may nest before nobody looks for SDP in them.
const DEEPEST: usize = 4;

impl Message {
    /// Content-Type is this media type (any case; parameters ignored).
    pub fn content_type_is(&self, media_type: &[u8]) -> bool {
        self.header(Name::ContentType).is_some_and(|element| is_media_type(element.value, media_type))
    }
}

/// Why a body that holds SDP, or may hold it, is not for us to rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Sealed {
    /// Under a signature, which would no longer be right (RFC 3261 §23.3).
    #[error("signed")]
    Signed,
    /// S/MIME (RFC 3261 §23.3): nobody but the far end can open it.
    #[error("encrypted")]
    Encrypted,
    /// In base64 or the like.
    #[error("encoded")]
    Encoded,
    /// More than one (RFC 3959, or alternatives): which of them the far end goes by is not known.
    #[error("more than one session description")]
    Several,
    /// Multiparts in multiparts in …: nobody looks there.
    #[error("nested too deep")]
    TooDeep,
    /// A multipart body without the boundary that it names.
    #[error("broken multipart")]
    Broken,
}

/// Where in [`Message::body`] the SDP stands: all of it, or one `application/sdp` part of a multipart body.
pub fn sdp_part(message: &Message) -> Result<Option<Range<usize>>, Sealed> {
    part_of_type(message, b"application/sdp")
}

/// The same for another type.
pub fn part_of_type(message: &Message, wanted: &[u8]) -> Result<Option<Range<usize>>, Sealed> {
    let Some(content_type) = message.header(Name::ContentType) else { return Ok(None) };
    find(wanted, content_type.value, message.body(), 0, 0)
}

/// The body, or all parts of a multipart body that are no multiparts themselves: what each is, and where in [`Message::body`] it stands. Not those
/// that nobody but the far end can read or change: signed, encrypted or encoded ones, and those nested too deep.
pub fn readable_parts(message: &Message) -> Vec<(&[u8], Range<usize>)> {
    let mut found = Vec::new();
    if let Some(content_type) = message.header(Name::ContentType) {
        collect(content_type.value, message.body(), 0, 0, &mut found);
    }
    found
}

fn collect<'m>(
    content_type: &'m [u8],
    body: &'m [u8],
    base: usize,
    depth: usize,
    found: &mut Vec<(&'m [u8], Range<usize>)>,
) {
    if !is_multipart(content_type) {
        return found.push((trim(media_type(content_type).0), base..base + body.len()));
    }
    let is_closed =
        [&b"multipart/signed"[..], b"multipart/encrypted"].iter().any(|t| is_media_type(content_type, t));
    if is_closed || depth == DEEPEST {
        return;
    }
    for part in Parts::of(content_type, body).into_iter().flatten() {
        let Some(bytes) = body.get(part.clone()) else { continue };
        let Some(head) = part_head(bytes).filter(|head| !head.is_encoded) else { continue };
        let Some(content) = bytes.get(head.len..) else { continue };
        collect(head.content_type, content, base + part.start + head.len, depth + 1, found);
    }
}

/// `base` is where `body` stands in the message's body.
fn find(
    wanted: &[u8],
    content_type: &[u8],
    body: &[u8],
    base: usize,
    depth: usize,
) -> Result<Option<Range<usize>>, Sealed> {
    if is_media_type(content_type, wanted) {
        return Ok(Some(base..base + body.len()));
    }
    if [&b"application/pkcs7-mime"[..], b"application/x-pkcs7-mime", b"multipart/encrypted"]
        .iter()
        .any(|secret| is_media_type(content_type, secret))
    {
        return Err(Sealed::Encrypted);
    }
    if !is_multipart(content_type) {
        return Ok(None);
    }
    if depth == DEEPEST {
        return Err(Sealed::TooDeep);
    }
    let mut found = None;
    for part in Parts::of(content_type, body).ok_or(Sealed::Broken)? {
        let Some(bytes) = body.get(part.clone()) else { continue };
        let Some(head) = part_head(bytes) else { continue };
        let Some(content) = bytes.get(head.len..) else { continue };
        let inner = find(wanted, head.content_type, content, base + part.start + head.len, depth + 1)?;
        if inner.is_some() && head.is_encoded {
            return Err(Sealed::Encoded);
        }
        if inner.is_some() && found.is_some() {
            return Err(Sealed::Several);
        }
        found = found.or(inner);
    }
    // RFC 1847 §2.1: the signature is over the bytes of the part.
    match found {
        Some(_) if is_media_type(content_type, b"multipart/signed") => Err(Sealed::Signed),
        found => Ok(found),
    }
}

fn is_multipart(content_type: &[u8]) -> bool {
    let (media_type, _) = media_type(content_type);
    let top = media_type.split(|byte| *byte == b'/').next().unwrap_or_default();
    trim(top).eq_ignore_ascii_case(b"multipart")
}

/// Media type and parameters (`;` first).
fn media_type(content_type: &[u8]) -> (&[u8], &[u8]) {
    let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
    let (media_type, params) = split(content_type, end);
    (trim(media_type), params)
}

/// Is this Content-Type that media type? In any case, white space around the slash (RFC 3261 §25.1, SLASH) and parameters aside.
pub fn is_media_type(content_type: &[u8], wanted: &[u8]) -> bool {
    let bare = |byte: &&u8| !super::scan::is_lws(**byte);
    let (found, _) = media_type(content_type);
    found.iter().filter(bare).map(u8::to_ascii_lowercase).eq(wanted.iter().map(u8::to_ascii_lowercase))
}

/// The parts between the delimiter lines of one multipart body.
struct Parts<'b> {
    body: &'b [u8],
    finder: memmem::Finder<'b>,
    /// Where the present part begins.
    at: usize,
}

impl<'b> Parts<'b> {
    /// `None` if there is no boundary, in the Content-Type or in the body.
    fn of(content_type: &'b [u8], body: &'b [u8]) -> Option<Self> {
        let (_, params) = media_type(content_type);
        let boundary = param(params, b"boundary")?;
        let boundary =
            boundary.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(boundary);
        // RFC 2046 §5.1.1: 1 to 70 characters.
        if boundary.is_empty() || boundary.len() > 70 {
            return None;
        }
        let mut parts = Parts { body, finder: memmem::Finder::new(boundary), at: 0 };
        let (_, first) = parts.delimiter()?;
        parts.at = first.unwrap_or(body.len());
        Some(parts)
    }

    /// The next delimiter line: where the part before it ends, where the part behind it begins (none behind the last).
    fn delimiter(&self) -> Option<(usize, Option<usize>)> {
        let mut from = self.at;
        loop {
            let found = from + self.finder.find(self.body.get(from..)?)?;
            let behind = found + self.finder.needle().len();
            from = found + 1;
            let before = self.body.get(..found)?;
            let Some(line) = before.strip_suffix(b"--") else { continue };
            let end = match line.strip_suffix(b"\r\n") {
                Some(part) => part.len(),
                None if line.is_empty() => 0,
                None => continue,
            };
            let tail = self.body.get(behind..)?;
            if tail.starts_with(b"--") {
                return Some((end.max(self.at), None));
            }
            let blanks = tail.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            if tail.get(blanks..)?.starts_with(b"\r\n") {
                return Some((end.max(self.at), Some(behind + blanks + 2)));
            }
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        if self.at >= self.body.len() {
            return None;
        }
        // A last part that is cut off before its delimiter is read by some, so it counts.
        let (end, next) = self.delimiter().unwrap_or((self.body.len(), None));
        let part = self.at..end;
        self.at = next.unwrap_or(self.body.len());
        Some(part)
    }
}

/// What stands above the content of a part.
struct PartHead<'p> {
    content_type: &'p [u8],
    /// In base64 or the like (RFC 2045 §6).
    is_encoded: bool,
    /// Where the content begins.
    len: usize,
}

/// `None` if it has no Content-Type, or no end.
fn part_head(part: &[u8]) -> Option<PartHead<'_>> {
    let (mut content_type, mut is_encoded, mut at) = (None, false, 0);
    while !part.get(at..)?.starts_with(b"\r\n") {
        let line = part.get(at..)?;
        let (name, colon) = name_len(line)?;
        let FieldEnd::At(end, next) = field_end(part, at + colon) else { return None };
        let value = trim(part.get(at + colon..end)?);
        let (name, _) = split(line, name);
        if Name::from_bytes(name) == Name::ContentType {
            content_type.get_or_insert(value);
        } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
            is_encoded =
                ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain));
        }
        at = next;
    }
    Some(PartHead { content_type: content_type?, is_encoded, len: at + 2 })
}
