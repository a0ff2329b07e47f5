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

    pub fn read(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.at as usize..self.end as usize).unwrap_or_default()
    }

    /// Without linear white space on either side.
    pub fn trimmed(bytes: &[u8], at: usize, end: usize) -> Span {
        let raw = bytes.get(at..end).unwrap_or_default();
        let at = at + (raw.len() - trim_start(raw).len());
        Span::new(at, at + trim(raw).len())
    }
}

/// The characters of a `token` (RFC 3261 §25.1), a bit each: bytes 0 to 63 in the first word, 64 to 127 in the second.
const TOKEN: [u64; 2] = {
    let (mut low, mut high) = (0u64, 0u64);
    let mut byte = 0u8;
    while byte < 128 {
        let is_token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        if is_token && byte < 64 {
            low |= 1 << byte;
        } else if is_token {
            high |= 1 << (byte - 64);
        }
        byte += 1;
    }
    [low, high]
};

fn is_token_byte(byte: u8) -> bool {
    let [low, high] = TOKEN;
    match byte {
        0..64 => low >> byte & 1 == 1,
        64..128 => high >> (byte - 64) & 1 == 1,
        _ => false,
    }
}

/// How many bytes of a `token` `bytes` begins with.
pub(super) fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(bytes.len())
}

/// A `token`, all of it.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_len(bytes) == bytes.len()
}

/// Linear white space, line ends of folds included.
pub(super) fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(super) fn trim_start(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().take_while(|byte| is_lws(**byte)).count();
    bytes.get(blank..).unwrap_or_default()
}

pub(super) fn trim_end(bytes: &[u8]) -> &[u8] {
    let blank = bytes.iter().rev().take_while(|byte| is_lws(**byte)).count();
    bytes.get(..bytes.len() - blank).unwrap_or_default()
}

pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// Splits after `len` bytes, or as far as there are any.
pub(super) fn split(bytes: &[u8], len: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(len).unwrap_or((bytes, b""))
}

/// Length of the quoted-string that `bytes` begins with, both quotes included; `None` if it does not end.
pub(super) fn quoted_len(bytes: &[u8]) -> Option<usize> {
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
pub(super) fn number(digits: &[u8]) -> Option<u64> {
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
    let blank = line.iter().skip(name).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (name > 0 && line.get(name + blank) == Some(&b':')).then_some((name, name + blank + 1))
}
