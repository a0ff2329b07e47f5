//! Call-IDs, for a zone that must not see those of others: what other zones call a call is sealed on its way there, and what that zone
//! calls one is marked for all others (as a B2BUA has two). Both ways are computed, not remembered, so they outlive a restart, and
//! dialogs that nothing is held of.

use bytes::Bytes;

use super::{addresses, bodies, written};
use crate::base::{ListenerId, NodeKey, ZoneId};
use crate::edge::Edge;
use crate::sip::message::{Edit, Message, Name, param};
use crate::sip::proxy::hidden::{self, Hidden};
use crate::sip::transaction::Source;
use crate::sip::uri::{Uri, unescaped};

/// Fields, and headers in a URI, whose value begins with a Call-ID (RFC 3891, RFC 3911, RFC 4538).
const BEGIN_WITH_ONE: [&[u8]; 3] = [b"Replaces", b"Join", b"Target-Dialog"];

/// A field that lists them (RFC 3261 §20.21).
const LIST: &[u8] = b"In-Reply-To";

/// How one zone calls what others call otherwise.
struct Names<'e> {
    key: &'e NodeKey,
    zone: &'e str,
}

impl Names<'_> {
    fn shown(&self, inside: &[u8]) -> Vec<u8> {
        match hidden::unmark(self.key, self.zone, inside) {
            Some(own) => own.to_vec(),
            None => hidden::seal(self.key, Hidden::CallId, b"", inside),
        }
    }

    fn inside(&self, shown: &[u8]) -> Vec<u8> {
        let opened = hidden::open(self.key, Hidden::CallId, shown);
        opened.unwrap_or_else(|| hidden::mark(self.key, self.zone, shown))
    }
}

impl Edge {
    fn names_in(&self, zone: ZoneId) -> Option<Names<'_>> {
        let zone = self.settings.zone(zone).filter(|zone| zone.hides_call_ids)?;
        Some(Names { key: &self.settings.key, zone: &zone.name })
    }

    /// A message that came by this listener, with the Call-IDs that the other zones know.
    pub(in crate::edge) fn with_inside_call_ids(&self, message: Message, listener: ListenerId) -> Message {
        let zone = self.settings.listener(listener).map(|listener| listener.zone);
        let Some(names) = zone.and_then(|zone| self.names_in(zone)) else { return message };
        let bytes = renamed(&message, &|call_id| names.inside(call_id));
        Message::parse(bytes.into(), &self.settings.limits.message).unwrap_or(message)
    }

    /// A message that is ready to leave, with the Call-IDs that this zone knows.
    pub(in crate::edge) fn with_shown_call_ids(&self, bytes: Bytes, zone: ZoneId) -> Bytes {
        let Some(names) = self.names_in(zone) else { return bytes };
        let message = Message::parse(bytes.clone(), &self.settings.limits.message);
        message.map_or(bytes, |message| renamed(&message, &|call_id| names.shown(call_id)).into())
    }

    /// The Call-ID that this zone knows, where that is another one.
    pub(in crate::edge) fn shown_call_id(&self, call_id: &[u8], zone: ZoneId) -> Option<Vec<u8>> {
        self.names_in(zone).map(|names| names.shown(call_id))
    }

    /// A response of our own to what came by this source.
    pub(in crate::edge) fn answer_with_shown_call_id(&self, bytes: Bytes, source: &Source) -> Bytes {
        match self.settings.listener(source.listener) {
            Some(listener) => self.with_shown_call_ids(bytes, listener.zone),
            None => bytes,
        }
    }
}

/// The message with every Call-ID that a header field names changed.
fn renamed(message: &Message, rename: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut edit = Edit::new(message);
    for (name, element) in message.headers() {
        match message.name_of(element) {
            Name::CallId => edit.replace(element, &rename(element.value)),
            Name::Event => {
                // RFC 4235 §3.2: the one dialog that is asked about.
                let params = memchr::memchr(b';', element.value).and_then(|at| element.value.get(at..));
                let call_id = params.and_then(|params| param(params, b"call-id")).map(unquoted);
                if let Some((call_id, at)) = call_id.and_then(|it| Some((it, message.offset_of(it)?))) {
                    edit.replace_span(at, call_id.len(), &rename(call_id));
                }
            }
            _ if names_some(name) => edit.replace(element, &renamed_value(name, element.value, rename)),
            _ => {}
        }
    }
    // A transfer, and a 3xx that leads to a call that replaces another (RFC 3261 §19.1.5).
    for (_, target) in addresses(message, Name::ReferTo).chain(addresses(message, Name::Contact)) {
        let headers = Uri::parse(target.uri).map(|uri| uri.headers).filter(|headers| !headers.is_empty());
        if let Some((headers, at)) = headers.and_then(|it| Some((it, message.offset_of(it)?))) {
            edit.replace_span(at, headers.len(), &renamed_in_uri(headers, rename));
        }
    }
    bodies::rename_call_ids(&mut edit, message, rename);
    written(&edit, message)
}

/// RFC 4235 §3.2 has it quoted, and some phones have not.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value)
}

fn names_some(field: &[u8]) -> bool {
    field.eq_ignore_ascii_case(LIST) || BEGIN_WITH_ONE.iter().any(|name| field.eq_ignore_ascii_case(name))
}

fn renamed_value(field: &[u8], value: &[u8], rename: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    if field.eq_ignore_ascii_case(LIST) {
        let all: Vec<_> = value.split(|byte| *byte == b',').map(|one| rename(one.trim_ascii())).collect();
        return all.join(&b", "[..]);
    }
    let (call_id, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
    [&rename(call_id.trim_ascii())[..], params].concat()
}

/// RFC 3261 §19.1.1: `name=value&name=value`, escaped.
fn renamed_in_uri(headers: &[u8], rename: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let all: Vec<Vec<u8>> = headers
        .split(|byte| *byte == b'&')
        .map(|header| match memchr::memchr(b'=', header).and_then(|at| header.split_at_checked(at + 1)) {
            Some((name, value)) if names_some(name.strip_suffix(b"=").unwrap_or(name)) => {
                let field = name.strip_suffix(b"=").unwrap_or(name);
                [name, &escaped(&renamed_value(field, &unescaped(value), rename))[..]].concat()
            }
            _ => header.to_vec(),
        })
        .collect();
    all.join(&b"&"[..])
}

/// Everything that is not `unreserved` (§25.1).
fn escaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 16);
    for byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(*byte),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => out.push(*byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper(text: &str) -> String {
        let message = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bKd\r\nFrom: <sip:a@b>;tag=e\r\nTo: <sip:a@b>\r\n\
             Call-ID: first@host\r\nCSeq: 1 OPTIONS\r\n{text}\r\n\r\n"
        );
        let message = Message::parse(message.into(), &Default::default()).expect("a request");
        let out = renamed(&message, &|call_id| call_id.to_ascii_uppercase());
        let out = String::from_utf8(out).expect("text");
        assert!(out.contains("Call-ID: FIRST@HOST\r\n"), "{out}");
        out.split("CSeq: 1 OPTIONS\r\n").nth(1).expect("behind").trim_end().to_string()
    }

    #[test]
    fn call_ids_are_found_wherever_they_stand() {
        assert_eq!(upper("Replaces: a@b ;to-tag=c;from-tag=d"), "Replaces: A@B;to-tag=c;from-tag=d");
        assert_eq!(upper("Target-Dialog: a;local-tag=c"), "Target-Dialog: A;local-tag=c");
        assert_eq!(upper("Join: a"), "Join: A");
        assert_eq!(upper("In-Reply-To: a@b,  c"), "In-Reply-To: A@B, C");
        assert_eq!(
            upper("r: \"X\" <sip:a@b?Subject=a&Replaces=a%40b%3Bto-tag%3Dc&Join=q>;x=y"),
            "r: \"X\" <sip:a@b?Subject=a&Replaces=A%40B%3Bto-tag%3Dc&Join=Q>;x=y"
        );
        assert_eq!(upper("Refer-To: <sip:a@b;c=d>"), "Refer-To: <sip:a@b;c=d>");
        assert_eq!(
            upper("m: <sip:a@b?Replaces=a%3Bx=y>;q=1, <sip:c>"),
            "m: <sip:a@b?Replaces=A%3Bx%3Dy>;q=1, <sip:c>"
        );
        assert_eq!(upper("o: dialog;call-id=\"a@b\";to-tag=c"), "o: dialog;call-id=\"A@B\";to-tag=c");
        assert_eq!(upper("Event: dialog;id=7;call-id=a"), "Event: dialog;id=7;call-id=A");
        assert_eq!(upper("Event: dialog"), "Event: dialog");
        assert_eq!(upper("Subject: a"), "Subject: a");
    }
}
