//! Comma-separated values (RFC 3261 §7.3.1): one after the other over all lines of a name.

use memchr::memchr3;

use super::index::Field;
use super::scan::{Span, quoted_len};
use super::{Element, Name};

/// Where the value that goes on at the start of `bytes` ends: at a comma outside quotes and angle brackets, or `None`.
/// A quote or bracket that does not close swallows the rest, which then fails to parse as one value.
fn comma(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        let found = memchr3(b',', b'"', b'<', rest)?;
        let tail = rest.get(found..)?;
        at += found;
        match tail.first()? {
            b',' => return Some(at),
            b'"' => at += quoted_len(tail)?,
            _ => at += memchr::memchr(b'>', tail)? + 1,
        }
    }
}

/// See [`super::Message::elements`].
#[derive(Clone, Debug)]
pub struct Elements<'m> {
    bytes: &'m [u8],
    fields: &'m [Field],
    name: Name,
    field: usize,
    /// What is left of the present field's value.
    rest: Option<(usize, usize)>,
}

impl<'m> Elements<'m> {
    /// `field` is the first field to look at.
    pub(super) fn new(bytes: &'m [u8], fields: &'m [Field], name: Name, field: usize) -> Self {
        let mut elements = Elements { bytes, fields, name, field, rest: None };
        elements.open();
        elements
    }

    /// Goes to the next field of the name that has a value, beginning with the present one.
    fn open(&mut self) {
        self.rest = None;
        while let Some(field) = self.fields.get(self.field) {
            if field.name == self.name && field.value.at < field.value.end {
                self.rest = Some((field.value.at as usize, field.value.end as usize));
                return;
            }
            self.field += 1;
        }
    }
}

impl<'m> Iterator for Elements<'m> {
    type Item = Element<'m>;

    fn next(&mut self) -> Option<Element<'m>> {
        let (at, end) = self.rest?;
        let field = self.field;
        let raw_end = match comma(self.bytes.get(at..end)?) {
            Some(found) => {
                self.rest = Some((at + found + 1, end));
                at + found
            }
            None => {
                self.field += 1;
                self.open();
                end
            }
        };
        let span = Span::trimmed(self.bytes, at, raw_end);
        Some(Element { value: span.read(self.bytes), field, at: span.at as usize })
    }
}
