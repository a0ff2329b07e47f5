//! Bytes, tokens, white space, and where a header field ends (RFC 3261 §7.3.1, §25.1). The parser, the framer and the
//! salvage all find the end of a field here, so that they can't disagree about it.

use memchr::memchr2;

/// A range of the message's bytes. Messages are shorter than 4 GiB ([`super::Limits`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub at: u32,
    pub end: u32,
}

impl Span {
    pub fn new(at: usize, end: usize) -> Span {
        Span { at: at as u32, end: end as u32 }
    }

    /// Where `part`, a piece of `whole`, stands in it; an empty span if it is none of it.
    pub fn of(whole: &[u8], part: &[u8]) -> Span {
        match (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize) {
            Some(at) if at + part.len() <= whole.len() => Span::new(at, at + part.len()),
            _ => Span::default(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.at == self.end
    }

    pub fn read(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.at as usize..self.end as usize).unwrap_or_default()
    }

    /// Without linear white space on either side.
    pub fn trimmed(bytes: &[u8], at: usize, end: usize) -> Span {
        let raw = trim_end(bytes.get(at..end).unwrap_or_default());
        let end = at + raw.len();
        Span::new(end - trim_start(raw).len(), end)
    }
}

const TOKEN: u8 = 1;
const LWS: u8 = 2;
/// Ends the name of a parameter.
const NAME_END: u8 = 4;
/// Ends an unquoted value of a parameter.
const VALUE_END: u8 = 8;
/// May stand in a host's name (the underscore that some name machines with is let through).
const HOST: u8 = 16;

/// What each byte is (RFC 3261 §25.1).
#[allow(clippy::indexing_slicing)] // computed when compiled
static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0u8;
    loop {
        table[byte as usize] = match byte {
            b'-' | b'.' | b'_' => TOKEN | HOST,
            b'!' | b'%' | b'*' | b'+' | b'`' | b'\'' | b'~' => TOKEN,
            b' ' | b'\t' | b'\r' | b'\n' => LWS | NAME_END | VALUE_END,
            b';' | b'"' | b',' => NAME_END | VALUE_END,
            b'=' => NAME_END,
            _ if byte.is_ascii_alphanumeric() => TOKEN | HOST,
            _ => 0,
        };
        if byte == 255 {
            break table;
        }
        byte += 1;
    }
};

fn is(byte: u8, class: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|found| found & class != 0)
}

/// How many bytes at the start of `bytes` are not of this class.
fn until(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|byte| is(*byte, class)).unwrap_or(bytes.len())
}

/// How many bytes at the start of `bytes` are of this class.
fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|byte| !is(*byte, class)).unwrap_or(bytes.len())
}

/// How many bytes of a `token` `bytes` begins with.
pub(in crate::sip) fn token_len(bytes: &[u8]) -> usize {
    run(bytes, TOKEN)
}

/// How many bytes of a host's name or an IPv4 address `bytes` begins with.
pub(in crate::sip) fn host_len(bytes: &[u8]) -> usize {
    run(bytes, HOST)
}

/// How many bytes of a parameter's name `bytes` begins with: more than a `token`, because URIs have wider names.
pub(super) fn param_name_len(bytes: &[u8]) -> usize {
    until(bytes, NAME_END)
}

/// How many bytes of an unquoted parameter value `bytes` begins with. Branches and tags are long: they are looked at in pieces
/// in which nothing may end them.
pub(super) fn param_value_len(bytes: &[u8]) -> usize {
    let (pieces, _) = bytes.as_chunks::<16>();
    let may_end = |byte| (byte <= b' ') | (byte == b'"') | (byte == b',') | (byte == b';');
    let seen = 16 * pieces.iter().take_while(|piece| !any(&piece[..], may_end)).count();
    seen + until(bytes.get(seen..).unwrap_or_default(), VALUE_END)
}

/// Not empty, and nothing in it that ends a URI, a line or a string for some reader.
pub fn is_plain_uri(uri: &[u8]) -> bool {
    !uri.is_empty()
        && !any(uri, |byte| {
            (byte <= b' ') | (byte == 0x7f) | (byte == b'<') | (byte == b'>') | (byte == b'"')
        })
}

/// One of the bytes is so. Looks at all of them without a branch, which the compiler turns into vectors.
pub(super) fn any(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |found, byte| found | is_so(*byte))
}

/// A `token`, all of it.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_len(bytes) == bytes.len()
}

/// Linear white space, line ends of folds included.
pub(super) fn is_lws(byte: u8) -> bool {
    is(byte, LWS)
}

pub(in crate::sip) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    bytes
}

pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// Splits after `len` bytes, or as far as there are any.
pub(in crate::sip) fn split(bytes: &[u8], len: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(len).unwrap_or((bytes, b""))
}

/// Length of the quoted-string that `bytes` begins with, both quotes included; `None` if it does not end.
pub(in crate::sip) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let found = at + memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes.get(found) {
            Some(b'"') => return Some(found + 1),
            _ => at = found + 2,
        }
    }
}

/// Digits only, no sign, no overflow.
pub(in crate::sip) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, digit| {
        let value = digit.wrapping_sub(b'0');
        if value > 9 { None } else { sum.checked_mul(10)?.checked_add(u64::from(value)) }
    })
}

/// What [`field_end`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum FieldEnd {
    /// The value ends at `.0` (its CRLF), the next line begins at `.1`.
    At(usize, usize),
    /// Not to be told yet: look again from `.0` when there are more bytes.
    More(usize),
    /// A CR or LF that stands alone (RFC 3261 §7: lines end with CRLF and nothing else).
    Bare(usize),
}

/// Looks for the end of the line, folds included (§7.3.1), that goes on at `from`. Needs to see the byte behind CRLF.
pub(in crate::sip) fn field_end(bytes: &[u8], mut from: usize) -> FieldEnd {
    loop {
        let Some(found) = bytes.get(from..).and_then(|rest| memchr2(b'\r', b'\n', rest)) else {
            return FieldEnd::More(bytes.len());
        };
        let at = from + found;
        match bytes.get(at..).unwrap_or_default() {
            [b'\r', b'\n', b' ' | b'\t', ..] => from = at + 3,
            [b'\r', b'\n', _, ..] => return FieldEnd::At(at, at + 2),
            [b'\r', b'\n'] | [b'\r'] => return FieldEnd::More(at),
            _ => return FieldEnd::Bare(at),
        }
    }
}

/// Length of the header name that `line` begins with, and of all up to and with the colon (§7.3.1: blanks may stand
/// before it). `None`: empty, not a token, or no colon.
pub(in crate::sip) fn name_len(line: &[u8]) -> Option<(usize, usize)> {
    let name = token_len(line);
    let mut behind = line.get(name..)?;
    while let [b' ' | b'\t', rest @ ..] = behind {
        behind = rest;
    }
    (name > 0 && behind.first() == Some(&b':')).then_some((name, line.len() - behind.len() + 1))
}
