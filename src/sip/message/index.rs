//! The header index: where each field's name and value stand, and where each known name stands first.

use super::scan::{FieldEnd, Span, field_end, name_len};
use super::{Limits, Malformed, Name};

/// One header field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub name: Name,
    /// The name's bytes; `at` is where the line begins.
    pub name_span: Span,
    /// The value without white space around it.
    pub value: Span,
    /// Where the next line begins.
    pub next: u32,
}

const ABSENT: u16 = u16::MAX;
/// Most messages have no more fields.
const USUAL: usize = 16;

/// The index of one message. Given back by [`super::Message::into_scratch`] and taken again by
/// [`super::Message::parse_with`], so that reading a message allocates nothing.
#[derive(Clone, Debug)]
pub struct Index {
    fields: Vec<Field>,
    first: [u16; Name::COUNT],
}

impl Default for Index {
    fn default() -> Self {
        Index { fields: Vec::new(), first: [ABSENT; Name::COUNT] }
    }
}

impl Index {
    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.first = [ABSENT; Name::COUNT];
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Number and place of the first field of that name.
    pub(super) fn first(&self, name: Name) -> Option<(usize, &Field)> {
        let number = usize::from(*self.first.get(name as usize)?);
        Some((number, self.fields.get(number)?))
    }

    /// Takes a field in; false if one of that name is there already.
    pub(super) fn push(&mut self, field: Field) -> bool {
        let number = self.fields.len().min(usize::from(ABSENT)) as u16;
        self.fields.push(field);
        match self.first.get_mut(field.name as usize) {
            Some(first) if *first == ABSENT => {
                *first = number;
                true
            }
            _ => false,
        }
    }

    /// Reads the header fields from `at` on; the place of the empty line that ends them.
    pub(super) fn read(&mut self, bytes: &[u8], mut at: usize, limits: &Limits) -> Result<usize, Malformed> {
        self.clear();
        self.fields.reserve(USUAL);
        let most = limits.headers.min(usize::from(ABSENT) - 1);
        loop {
            let line = bytes.get(at..).unwrap_or_default();
            if line.starts_with(b"\r\n") {
                return Ok(at);
            }
            if self.fields.len() == most {
                return Err(Malformed::bad("Too many header fields", at));
            }
            let Some((name_len, colon)) = name_len(line) else {
                return Err(Malformed::bad("Malformed header name", at));
            };
            let (end, next) = match field_end(bytes, at + colon) {
                FieldEnd::At(end, next) => (end, next),
                FieldEnd::More(at) => return Err(Malformed::bad("Header section does not end", at)),
                FieldEnd::Bare(at) => return Err(Malformed::bad("Bare CR or LF", at)),
            };
            let name = Name::from_bytes(line.get(..name_len).unwrap_or_default());
            let is_first = self.push(Field {
                name,
                name_span: Span::new(at, at + name_len),
                value: Span::trimmed(bytes, at + colon, end),
                next: next as u32,
            });
            if !is_first && let Some(reason) = name.duplicate() {
                return Err(Malformed::bad(reason, at));
            }
            at = next;
        }
    }
}
