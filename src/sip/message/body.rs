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
        self.header(Name::ContentType).is_some_and(|element| is_type(element.value, media_type))
    }
}

/// Where in [`Message::body`] the SDP stands: all of it, or the first `application/sdp` part of a multipart body.
pub fn sdp_part(message: &Message) -> Option<Range<usize>> {
    let content_type = message.header(Name::ContentType)?;
    find_sdp(content_type.value, message.body(), 0, 0)
}

/// `base` is where `body` stands in the message's body.
fn find_sdp(content_type: &[u8], body: &[u8], base: usize, depth: usize) -> Option<Range<usize>> {
    if is_type(content_type, b"application/sdp") {
        return Some(base..base + body.len());
    }
    let (media_type, params) = media_type(content_type);
    if depth == DEEPEST
        || !media_type.split_at_checked(10).is_some_and(|(top, _)| top.eq_ignore_ascii_case(b"multipart/"))
    {
        return None;
    }
    let boundary = param(params, b"boundary")?;
    let boundary =
        boundary.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(boundary);
    Parts::new(body, boundary)?.find_map(|part| {
        let (content_type, at) = part_head(body.get(part.clone())?)?;
        find_sdp(content_type, body.get(part.start + at..part.end)?, base + part.start + at, depth + 1)
    })
}

/// Media type and parameters (`;` first).
fn media_type(content_type: &[u8]) -> (&[u8], &[u8]) {
    let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
    let (media_type, params) = split(content_type, end);
    (trim(media_type), params)
}

fn is_type(content_type: &[u8], wanted: &[u8]) -> bool {
    // White space may stand around the slash (RFC 3261 §25.1, SLASH).
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
    fn new(body: &'b [u8], boundary: &'b [u8]) -> Option<Self> {
        // RFC 2046 §5.1.1: 1 to 70 characters.
        if boundary.is_empty() || boundary.len() > 70 {
            return None;
        }
        let mut parts = Parts { body, finder: memmem::Finder::new(boundary), at: 0 };
        let (_, first) = parts.delimiter()?;
        parts.at = first?;
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
        let (end, next) = self.delimiter()?;
        let part = self.at..end;
        self.at = next.unwrap_or(self.body.len());
        Some(part)
    }
}

/// A part's Content-Type, and where its content begins. `None` if it has none, or if its content is encoded.
fn part_head(part: &[u8]) -> Option<(&[u8], usize)> {
    let mut content_type = None;
    let mut at = 0;
    while !part.get(at..)?.starts_with(b"\r\n") {
        let line = part.get(at..)?;
        let (name, colon) = name_len(line)?;
        let FieldEnd::At(end, next) = field_end(part, at + colon) else { return None };
        let value = trim(part.get(at + colon..end)?);
        let (name, _) = split(line, name);
        if Name::from_bytes(name) == Name::ContentType {
            content_type.get_or_insert(value);
        } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding")
            && ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain))
        {
            return None;
        }
        at = next;
    }
    Some((content_type?, at + 2))
}
