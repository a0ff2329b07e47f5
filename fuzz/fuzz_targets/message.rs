//! Any bytes: reading never panics; what is accepted leaves byte for byte without edits, reads the same again, and stays
//! readable with a proxy's edits.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use turnpike::sip::message::{Edit, Limits, Message, Name, escape_for_log, response_to, sdp_part};
use turnpike::sip::uri::Uri;

/// All names that have lists which a proxy takes elements from.
const LISTS: [Name; 5] = [Name::Via, Name::Route, Name::RecordRoute, Name::Contact, Name::Path];

/// Our own lines may be the one header field, or the few bytes, too many.
const ROOMY: Limits = Limits { message: 1 << 20, headers: 1_000, uri: 1 << 20 };

fn parse(bytes: &[u8]) -> Result<Message, turnpike::sip::message::Malformed> {
    Message::parse(Bytes::copy_from_slice(bytes), &Limits::default())
}

fn written(edit: &Edit<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    edit.write(&mut out);
    out
}

/// Everything that can be read is the same.
fn assert_same(one: &Message, other: &Message) {
    assert_eq!(
        (one.start(), one.method_bytes(), one.body()),
        (other.start(), other.method_bytes(), other.body())
    );
    let headers = |message: &Message| -> Vec<(Vec<u8>, Vec<u8>)> {
        message.headers().map(|(name, element)| (name.to_vec(), element.value.to_vec())).collect()
    };
    assert_eq!(headers(one), headers(other));
    for name in LISTS {
        let values = |message: &Message| message.elements(name).map(|e| e.value.to_vec()).collect::<Vec<_>>();
        assert_eq!(values(one), values(other));
    }
}

/// What a proxy does; `choice` picks which elements go.
fn edited(message: &Message, choice: u64) -> Vec<u8> {
    let mut edit = Edit::new(message);
    edit.set_request_uri(b"sip:fuzz@example.com");
    edit.add_above(Name::RecordRoute, b"<sip:fuzz;lr>");
    edit.add_above(Name::Via, b"SIP/2.0/UDP fuzz;branch=z9hG4bKfuzz");
    if message.status().is_none() {
        edit.set_number(Name::MaxForwards, 69);
    }
    if choice & 1 == 1 {
        edit.stamp_top_via([192, 0, 2, 1].into(), 5060);
    }
    for name in LISTS {
        for (number, element) in message.elements(name).enumerate() {
            if choice >> (number % 60 + 1) & 1 == 1 {
                edit.remove(element);
            }
        }
    }
    edit.remove_listed(&["P-*", "diversion", "s"]);
    edit.append(b"X-Fuzz", b"a\r\nb: c\0");
    match choice & 2 {
        0 => edit.ensure_content_length(),
        _ => edit.set_body(b"fuzz\r\n\r\n"),
    }
    written(&edit)
}

fuzz_target!(|bytes: &[u8]| {
    let _ = escape_for_log(bytes).to_string();
    let _ =
        Uri::parse(bytes).map(|uri| (uri.ip(), uri.transport(), uri.user_unescaped().map(|user| user.len())));
    let message = match parse(bytes) {
        Ok(message) => message,
        Err(error) => {
            assert!(matches!(error.status, 400 | 413 | 414 | 505 | 513));
            if let Some(message) = Message::salvage(bytes, &Limits::default()) {
                let mut out = Vec::new();
                let source = Some(([192, 0, 2, 1], 5060).into());
                response_to(&message, source, error.status, error.reason, Some(b"fuzz"), &[], &mut out);
                // One head and nothing behind it, whatever was in the request.
                assert_eq!(out.windows(4).position(|four| four == b"\r\n\r\n"), Some(out.len() - 4));
                assert!(!out.contains(&0));
            }
            return;
        }
    };
    // Bytes of a datagram behind Content-Length are cut off; nothing else changes.
    let same = written(&Edit::new(&message));
    assert_eq!(&same[..], &message.bytes()[..]);
    assert!(bytes.starts_with(&same));
    assert_same(&message, &parse(&same).unwrap());
    if let Ok(Some(range)) = sdp_part(&message) {
        assert!(message.body().get(range).is_some());
    }
    for name in LISTS {
        for element in message.elements(name) {
            let _ =
                (element.name_addr().map(|address| Uri::parse(address.uri)), element.via(), element.number());
            assert_eq!(message.offset_of(element.value), Some(element.at));
        }
    }
    if message.status().is_none() {
        let mut out = Vec::new();
        response_to(
            &message,
            Some(([192, 0, 2, 1], 5060).into()),
            486,
            "Busy Here",
            Some(b"fuzz"),
            &[],
            &mut out,
        );
        let answer = Message::parse(out.into(), &ROOMY).unwrap();
        assert_eq!((answer.call_id(), answer.cseq()), (message.call_id(), message.cseq()));
        assert!(answer.to().tag().is_some());
    }
    // The choice comes from the input, so that a finding can be repeated.
    let choice = bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let out = edited(&message, choice);
    let again = Message::parse(Bytes::copy_from_slice(&out), &ROOMY)
        .unwrap_or_else(|error| panic!("{error}: {}", escape_for_log(&out)));
    assert_eq!(again.top_via().host, b"fuzz");
    assert!(again.header_named(b"x-fuzz").is_some());
    assert!(again.header_named(b"Subject").is_none());
    assert_eq!(again.call_id(), message.call_id());
});
