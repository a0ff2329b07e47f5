//! Bodies besides SDP that say who is where: what NOTIFY and PUBLISH tell of dialogs, registrations, presence, conferences, mailboxes and
//! transfers. They are read as text: a host of the inside is one wherever it stands in them.

use std::ops::Range;

use memchr::memmem;

use super::inside::Inside;
use super::{Face, hidden_in};
use crate::sip::message::{Edit, Message, Method, is_media_type, readable_parts};

/// RFC 4235, RFC 3680, RFC 3863 and its forerunners, RFC 4575, RFC 3858, RFC 4662, RFC 3842.
const NAMING_HOSTS: [&[u8]; 10] = [
    b"application/dialog-info+xml",
    b"application/reginfo+xml",
    b"application/pidf+xml",
    b"application/xpidf+xml",
    b"application/cpim-pidf+xml",
    b"application/conference-info+xml",
    b"application/watcherinfo+xml",
    b"application/rlmi+xml",
    b"application/simple-message-summary",
    FRAGMENT,
];

/// RFC 3420.
const FRAGMENT: &[u8] = b"message/sipfrag";

/// Attributes that hold a Call-ID (RFC 4235 §4.1.1, RFC 3680 §5.3).
const OF_CALL_IDS: [&[u8]; 2] = [b"call-id=", b"callid="];

/// Writes our host over those of the inside.
pub(super) fn hide(edit: &mut Edit<'_>, message: &Message, inside: &Inside<'_, '_>, face: &Face<'_>) {
    rewrite(edit, message, |media_type, part, out| {
        let is_fragment = is_media_type(media_type, FRAGMENT);
        // RFC 3515 §2.4.5: it may be a whole response of the inside, and its status line is enough.
        let end = memchr::memchr(b'\n', part).filter(|_| is_fragment && message.method() == Method::Notify);
        let part = end.and_then(|end| part.get(..=end)).unwrap_or(part);
        // As in header fields, a host in a Call-ID is hidden with the Call-ID or not at all.
        let kept = call_ids(part);
        let is_kept =
            |place: &Range<usize>| kept.iter().any(|kept| kept.start <= place.start && place.end <= kept.end);
        let places = inside.places(part).into_iter().filter(|place| !is_kept(place));
        hidden_in(part, places, face.host().as_bytes(), out);
    });
}

/// Changes the Call-IDs in it.
pub(super) fn rename_call_ids(edit: &mut Edit<'_>, message: &Message, rename: &dyn Fn(&[u8]) -> Vec<u8>) {
    rewrite(edit, message, |_, part, out| {
        let mut copied = 0;
        for place in call_ids(part) {
            out.extend_from_slice(part.get(copied..place.start).unwrap_or_default());
            out.extend_from_slice(&rename(part.get(place.clone()).unwrap_or_default()));
            copied = place.end;
        }
        out.extend_from_slice(part.get(copied..).unwrap_or_default());
    });
}

/// Appends each part of these types to the new body as `write` has it, and all else as it is.
fn rewrite(edit: &mut Edit<'_>, message: &Message, write: impl Fn(&[u8], &[u8], &mut Vec<u8>)) {
    // Most bodies are SDP, and not for us.
    if message.body().is_empty() || message.content_type_is(b"application/sdp") {
        return;
    }
    let body = message.body();
    let (mut out, mut copied) = (Vec::new(), 0);
    for (media_type, place) in readable_parts(message) {
        if NAMING_HOSTS.iter().any(|naming| is_media_type(media_type, naming)) {
            out.extend_from_slice(body.get(copied..place.start).unwrap_or_default());
            write(media_type, body.get(place.clone()).unwrap_or_default(), &mut out);
            copied = place.end;
        }
    }
    if copied > 0 {
        out.extend_from_slice(body.get(copied..).unwrap_or_default());
        if out != body {
            edit.set_body(&out);
        }
    }
}

/// Where Call-IDs stand, between the quotes of their attributes.
fn call_ids(xml: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<_> = OF_CALL_IDS
        .iter()
        .flat_map(|name| {
            memmem::find_iter(xml, name).filter_map(move |at| {
                let start = at + name.len() + 1;
                let quote = xml.get(start - 1).filter(|quote| matches!(quote, b'"' | b'\''))?;
                Some(start..start + memchr::memchr(*quote, xml.get(start..)?)?)
            })
        })
        .collect();
    found.sort_unstable_by_key(|place| place.start);
    found
}
