//! Users and numbers in URIs, as routes, policy and CDRs read them.

use std::borrow::Cow;

use memchr::memchr;

use crate::sip::message::{Message, StartLine};
use crate::sip::uri::{Scheme, Uri};

/// The Request-URI.
pub fn request_uri(message: &Message) -> &[u8] {
    match message.start() {
        StartLine::Request { uri, .. } => uri,
        StartLine::Response { .. } => b"",
    }
}

/// User part of the Request-URI.
pub fn user(message: &Message) -> Option<Cow<'_, str>> {
    user_of(message.uri()?)
}

/// Who is called: the Request-URI's user, or for REGISTER the To's.
pub fn called(message: &Message) -> Option<Cow<'_, str>> {
    user(message).or_else(|| user_in(message.to().uri))
}

/// User part of From.
pub fn caller(message: &Message) -> Option<Cow<'_, str>> {
    user_in(message.from().uri)
}

/// User or number: %-escapes undone, parameters inside the user part cut off, of `tel:` numbers also the visual
/// separators (RFC 3966 §5.1.1).
pub fn user_in(uri: &[u8]) -> Option<Cow<'_, str>> {
    user_of(Uri::parse(uri)?)
}

/// [`user_in`] of a URI that has been read.
pub fn user_of(uri: Uri<'_>) -> Option<Cow<'_, str>> {
    let user = match uri.user_unescaped()? {
        Cow::Borrowed(user) => String::from_utf8_lossy(until_semicolon(user)),
        Cow::Owned(user) => Cow::Owned(String::from_utf8_lossy(until_semicolon(&user)).into_owned()),
    };
    if uri.scheme == Scheme::Tel && user.contains(['-', '.', '(', ')']) {
        return Some(Cow::Owned(user.replace(['-', '.', '(', ')'], "")));
    }
    Some(user).filter(|user| !user.is_empty())
}

/// User part as it stands, without parameters.
pub fn user_bytes(uri: &[u8]) -> Option<&[u8]> {
    Uri::parse(uri)?.user.map(until_semicolon)
}

/// Host part as it stands.
pub fn host_bytes(uri: &[u8]) -> &[u8] {
    Uri::parse(uri).map_or(b"", |uri| uri.host)
}

/// A user or number as it stands in a URI (RFC 3261 §25.1, `user`).
pub fn escaped_user(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for byte in user.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => out.push(char::from(byte)),
            b'&' | b'=' | b'+' | b'$' | b',' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn until_semicolon(user: &[u8]) -> &[u8] {
    memchr(b';', user).and_then(|at| user.get(..at)).unwrap_or(user)
}

/// Does `pattern` of a route fit: exactly, or as a prefix if it ends in `*`?
pub fn fits(pattern: &str, user: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => user.starts_with(prefix),
        None => user == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_escaped_where_it_must_be() {
        assert_eq!(escaped_user("+49*30"), "+49*30");
        assert_eq!(escaped_user("#31#a@b;c"), "%2331%23a%40b%3Bc");
        assert_eq!(user_bytes(b"sip:+49%3330;npdi@example.com"), Some(&b"+49%3330"[..]));
    }

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!(user_in(b"sip:+49%3330;npdi@example.com").as_deref(), Some("+49330"));
        assert_eq!(user_in(b"tel:+49-(30).123;phone-context=x").as_deref(), Some("+4930123"));
        assert_eq!(user_in(b"sip:example.com"), None);
        assert!(fits("+49*", "+4930") && fits("112", "112") && fits("*", "x") && !fits("112", "1120"));
    }
}
