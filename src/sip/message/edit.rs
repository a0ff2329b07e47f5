//! Changes to a message as span replacements, and the message with them written out (RFC 3261 §16.6).

use std::fmt::Write as _;
use std::net::IpAddr;

use memchr::memchr3;
use smallvec::SmallVec;

use super::name::{initial, matches_pattern};
use super::read::params_of;
use super::scan::{Span, is_lws};
use super::{Element, Message, Name};

/// `at..end` of the message is replaced by a piece of [`Edit::text`].
#[derive(Clone, Copy, Debug)]
struct Change {
    at: u32,
    end: u32,
    text: Span,
    /// Where it stands among all changes: see [`Edit::push`].
    order: u64,
    /// Set if this removes an element of that field, with its comma.
    element_of: Option<u16>,
}

/// Which of several changes at one place comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A line above; the last added comes first.
    LineAbove,
    /// An element goes.
    Element,
    /// Everything else, in the order of the calls.
    Span,
}

/// Changes to one message, kept as span replacements until [`Edit::write`] copies the unchanged bytes around them.
/// Changes may be made in any order. Of two that replace the same span the later one wins; one that begins inside what
/// another replaces is lost. New text can't make new lines: CR, LF and NUL in it are written as blanks.
#[derive(Debug)]
pub struct Edit<'m> {
    message: &'m Message,
    /// In their order.
    changes: SmallVec<[Change; 16]>,
    text: SmallVec<[u8; 512]>,
}

impl<'m> Edit<'m> {
    /// Starts without changes. Sixteen changes and 512 bytes of new text need no allocation.
    pub fn new(message: &'m Message) -> Self {
        Edit { message, changes: SmallVec::new(), text: SmallVec::new() }
    }
    /// Replaces the Request-URI (§16.6 step 2). Nothing happens to a response.
    pub fn set_request_uri(&mut self, uri: &[u8]) {
        if let Some(span) = self.message.request_uri_span() {
            self.replace_span(span.at as usize, span.end as usize - span.at as usize, uri);
        }
    }
    /// Adds a header line above the first field of that name; where there is none, at the top of the headers.
    /// Several calls stack: the last added ends up on top.
    pub fn add_above(&mut self, name: Name, value: &[u8]) {
        debug_assert!(name != Name::Other, "append a header that has no Name");
        let fields = self.message.index.fields();
        let at = self.message.index.first(name).map(|(_, field)| field).or(fields.first());
        let at = at.map_or(self.message.head_end, |field| field.name_span.at) as usize;
        let text = self.line(name.as_str().as_bytes(), value);
        self.push(Class::LineAbove, at, at, text, None);
    }
    /// Adds a header line behind the last field of the message.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let at = self.message.head_end as usize;
        let text = self.line(name, value);
        self.push(Class::Span, at, at, text, None);
    }
    /// Sets a single-valued header: replaces the first field's value; appends if there is none or it has been removed.
    pub fn set(&mut self, name: Name, value: &[u8]) {
        match self.message.header(name) {
            Some(element) if !self.removes_line(element.field) => self.replace(element, value),
            _ => self.append(name.as_str().as_bytes(), value),
        }
    }
    /// [`Edit::set`] with a number.
    pub fn set_number(&mut self, name: Name, value: u32) {
        let (digits, at) = decimal(value);
        self.set(name, digits.get(at..).unwrap_or_default());
    }
    /// Replaces one element.
    pub fn replace(&mut self, element: Element<'m>, value: &[u8]) {
        self.replace_span(element.at, element.value.len(), value);
    }
    /// Replaces any bytes of the message's head: `at..at+len` are offsets as in [`Element::at`] (see
    /// [`Message::offset_of`]). `len` 0 inserts.
    pub fn replace_span(&mut self, at: usize, len: usize, value: &[u8]) {
        let text = self.text(value);
        self.push(Class::Span, at, at + len, text, None);
    }
    /// Inserts a text made of pieces.
    pub(super) fn insert(&mut self, at: usize, pieces: &[&[u8]]) {
        let start = self.text.len();
        for piece in pieces {
            self.text(piece);
        }
        let text = Span::new(start, self.text.len());
        self.push(Class::Span, at, at, text, None);
    }
    /// Removes one element with its comma; the whole line if no other is left on it.
    pub fn remove(&mut self, element: Element<'m>) {
        let Some(field) = self.message.index.fields().get(element.field) else { return };
        // Behind the element before it, if there is one: its comma goes too. The first one's comma goes in `write`.
        let before = self.message.bytes.get(field.value.at as usize..element.at).unwrap_or_default();
        let blanks = before.iter().rev().take_while(|byte| is_lws(**byte)).count();
        let comma = before.len().saturating_sub(blanks + 1);
        let kept = before.get(..comma).unwrap_or_default();
        let kept = kept.len() - kept.iter().rev().take_while(|byte| is_lws(**byte)).count();
        let at = field.value.at as usize + kept;
        let end = element.at + element.value.len();
        self.push(Class::Element, at, end, Span::default(), Some(element.field as u16));
    }
    /// Removes the whole line that an element stands on.
    pub fn remove_field(&mut self, element: Element<'m>) {
        self.remove_lines(|_, number| number == element.field);
    }
    /// Removes every field of that name.
    pub fn remove_all(&mut self, name: Name) {
        self.remove_lines(|message, number| {
            message.index.fields().get(number).is_some_and(|field| field.name == name)
        });
    }
    /// Removes every field of that name, in any case, long or compact. A pattern that ends in `*` removes every name
    /// that begins like it.
    pub fn remove_named(&mut self, pattern: &[u8]) {
        self.remove_listed(&[pattern]);
    }
    /// Removes every field whose name matches one of the patterns (as in [`Edit::remove_named`]).
    pub fn remove_listed<P: AsRef<[u8]>>(&mut self, patterns: &[P]) {
        let initials = patterns.iter().fold(0, |bits, pattern| bits | initial(pattern.as_ref()));
        self.remove_lines(|message, number| {
            let name = message
                .index
                .fields()
                .get(number)
                .map_or(&b""[..], |field| field.name_span.read(&message.bytes));
            let letter = initial(name);
            let is_it = |pattern: &[u8]| letter & initial(pattern) != 0 && matches_pattern(name, pattern);
            letter & initials != 0 && patterns.iter().any(|pattern| is_it(pattern.as_ref()))
        });
    }
    /// Writes what RFC 3261 §18.2.1 and RFC 3581 §4 have a server add to the top Via: `received` always (a forged one
    /// is overwritten), `rport` if the client asked for it. A Via that can't be read (of a salvaged request) stays.
    pub fn stamp_top_via(&mut self, source: IpAddr, port: u16) {
        let via = self.message.top_via();
        let Some(params_at) = self.message.offset_of(via.params).filter(|_| !via.host.is_empty()) else {
            return;
        };
        let mut received = (params_at + via.params.len(), 0);
        for (name, value) in params_of(via.params).flatten() {
            let (Some(at), Some(value_at)) = (self.message.offset_of(name), self.message.offset_of(value))
            else {
                continue;
            };
            let len = value_at + value.len() - at;
            if name.eq_ignore_ascii_case(b"received") {
                received = (at, len);
            } else if name.eq_ignore_ascii_case(b"rport") {
                let text = self.text.len();
                self.text.extend_from_slice(b"rport=");
                self.push_decimal(port.into());
                self.push(Class::Span, at, at + len, Span::new(text, self.text.len()), None);
            }
        }
        let (at, len) = received;
        let text = self.text.len();
        self.text.extend_from_slice(if len == 0 { b";received=" } else { b"received=" });
        self.push_address(source);
        self.push(Class::Span, at, at + len, Span::new(text, self.text.len()), None);
    }
    /// Replaces the body and sets Content-Length to fit.
    pub fn set_body(&mut self, body: &[u8]) {
        let at = self.text.len();
        self.text.extend_from_slice(body);
        let text = Span::new(at, self.text.len());
        self.push(Class::Span, self.message.body_at(), self.message.bytes.len(), text, None);
        self.set_number(Name::ContentLength, body.len() as u32);
    }
    /// Says how long the body is where nothing says so: a stream needs it (§18.3), a datagram may lack it.
    pub fn ensure_content_length(&mut self) {
        if self.message.header(Name::ContentLength).is_none() {
            self.set_number(Name::ContentLength, self.message.body().len() as u32);
        }
    }

    fn remove_lines(&mut self, gone: impl Fn(&Message, usize) -> bool) {
        for (number, field) in self.message.index.fields().iter().enumerate() {
            if gone(self.message, number) {
                self.push(
                    Class::Span,
                    field.name_span.at as usize,
                    field.next as usize,
                    Span::default(),
                    None,
                );
            }
        }
    }

    fn removes_line(&self, field: usize) -> bool {
        self.message.index.fields().get(field).is_some_and(|field| {
            self.changes.iter().any(|change| change.at <= field.name_span.at && change.end >= field.next)
        })
    }

    fn text(&mut self, value: &[u8]) -> Span {
        let at = self.text.len();
        self.text.extend_from_slice(value);
        if memchr3(b'\r', b'\n', 0, value).is_some() {
            let is_end = |byte: &&mut u8| matches!(**byte, b'\r' | b'\n' | 0);
            self.text.iter_mut().skip(at).filter(is_end).for_each(|byte| *byte = b' ');
        }
        Span::new(at, self.text.len())
    }

    fn line(&mut self, name: &[u8], value: &[u8]) -> Span {
        let Span { at, .. } = self.text(name);
        self.text.extend_from_slice(b": ");
        self.text(value);
        self.text.extend_from_slice(b"\r\n");
        Span { at, end: self.text.len() as u32 }
    }

    fn push_decimal(&mut self, value: u32) {
        let (digits, first) = decimal(value);
        self.text.extend_from_slice(digits.get(first..).unwrap_or_default());
    }

    fn push_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                for (number, octet) in address.octets().into_iter().enumerate() {
                    if number > 0 {
                        self.text.push(b'.');
                    }
                    self.push_decimal(octet.into());
                }
            }
            // Rarer, and its shortest form is better left to the library.
            IpAddr::V6(address) => {
                let _ = write!(Text(&mut self.text), "{address}");
            }
        }
    }

    /// The order sorts by place, then class, then time.
    fn push(&mut self, class: Class, at: usize, end: usize, text: Span, element_of: Option<u16>) {
        let number = self.changes.len() as u64 & 0x3fff_ffff;
        let number = if class == Class::LineAbove { 0x3fff_ffff - number } else { number };
        let order = (at as u64) << 32 | (class as u64) << 30 | number;
        let place = self.changes.partition_point(|change| change.order < order);
        self.changes.insert(place, Change { at: at as u32, end: end as u32, text, order, element_of });
    }

    /// Appends the edited message to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_part(Span::new(0, self.message.bytes.len()), out);
    }

    /// An element as it is with the changes.
    pub fn written(&self, element: Element<'m>) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_part(Span::new(element.at, element.at + element.value.len()), &mut out);
        out
    }

    /// Appends a part of the edited message, with the changes that begin in it.
    pub(super) fn write_part(&self, part: Span, out: &mut Vec<u8>) {
        let bytes = &self.message.bytes[..];
        out.reserve((part.end - part.at) as usize + self.text.len());
        let mut cursor = part.at;
        let begins_in_it = |change: &&Change| (part.at..=part.end).contains(&change.at);
        let mut changes = self.changes.iter().filter(begins_in_it).peekable();
        while let Some(change) = changes.next() {
            let Change { mut at, mut end, text, element_of, .. } = *change;
            if let Some(field) = element_of {
                // What else begins in what goes is lost; an element that is next to it goes with it.
                while let Some(next) =
                    changes.next_if(|next| next.at < end || next.at == end && next.element_of == element_of)
                {
                    end = if next.text.is_empty() { end.max(next.end) } else { end };
                }
                (at, end) = self.with_comma(field, at, end);
            } else if end > at && changes.peek().is_some_and(|next| next.at == at && next.end == end) {
                continue;
            }
            if at < cursor {
                if text.is_empty() {
                    cursor = cursor.max(end);
                }
                continue;
            }
            out.extend_from_slice(bytes.get(cursor as usize..at as usize).unwrap_or_default());
            out.extend_from_slice(text.read(&self.text));
            cursor = end;
        }
        out.extend_from_slice(bytes.get(cursor as usize..part.end as usize).unwrap_or_default());
    }

    /// What goes when the elements at `at..end` of a field go: the whole line if they are all it has; if they are its
    /// first ones, the comma behind them too.
    fn with_comma(&self, field: u16, at: u32, end: u32) -> (u32, u32) {
        let Some(field) = self.message.index.fields().get(usize::from(field)) else { return (at, end) };
        if at > field.value.at {
            return (at, end);
        }
        if end >= field.value.end {
            return (field.name_span.at, field.next);
        }
        let behind = Span { at: end, end: field.value.end }.read(&self.message.bytes);
        let blanks = behind.iter().take_while(|byte| is_lws(**byte) || **byte == b',').count();
        (at, end + blanks as u32)
    }
}

/// The digits of a number, from the returned place on.
fn decimal(mut value: u32) -> ([u8; 10], usize) {
    let mut digits = [b'0'; 10];
    let mut at = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
        at -= 1;
        if value == 0 {
            break;
        }
    }
    (digits, at)
}

/// Writes text to the arena.
struct Text<'t>(&'t mut SmallVec<[u8; 512]>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
