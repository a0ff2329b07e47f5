//! Whatever bytes arrive: the parser does not panic; a message that it takes leaves unchanged when nothing is edited, and
//! reads the same after the edits that a proxy makes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use turnpike::sip::message::{Edit, Limits, Message, Name, StartLine};

const NAMES: [Name; 12] = [
    Name::Via,
    Name::From,
    Name::To,
    Name::CallId,
    Name::CSeq,
    Name::Contact,
    Name::Route,
    Name::RecordRoute,
    Name::MaxForwards,
    Name::Supported,
    Name::ContentType,
    Name::Other,
];

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let _ = Message::salvage(data, &limits);
    let Ok(message) = Message::parse(Bytes::copy_from_slice(data), &limits) else { return };
    read_everything(&message);

    let mut same = Vec::new();
    Edit::new(&message).write(&mut same);
    assert_eq!(same, message.bytes()[..], "no edit, no change");

    let StartLine::Request { .. } = message.start() else { return };
    let mut edit = Edit::new(&message);
    edit.set_request_uri(b"sip:600@192.0.2.1");
    edit.add_above(Name::Via, b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKfuzz");
    edit.add_above(Name::RecordRoute, b"<sip:192.0.2.2;lr>");
    edit.set(Name::MaxForwards, b"69");
    if let Some(route) = message.elements(Name::Route).next() {
        edit.remove(route);
    }
    edit.remove_all(Name::PAssertedIdentity);
    edit.set_body(b"v=0\r\n");
    let mut forwarded = Vec::new();
    edit.write(&mut forwarded);
    if forwarded.len() > limits.message {
        return;
    }
    match Message::parse(forwarded.into(), &limits) {
        Ok(forwarded) => {
            assert_eq!(forwarded.call_id(), message.call_id());
            assert_eq!(forwarded.cseq(), message.cseq());
            assert_eq!(forwarded.body(), b"v=0\r\n");
            assert_eq!(forwarded.top_via().branch(), Some(&b"z9hG4bKfuzz"[..]));
        }
        // Our own lines may be the one header field, or the few bytes, too many.
        Err(error) => assert!(matches!(error.status, 400 | 413 | 513) && at_a_limit(&message), "{error}"),
    }
});

fn at_a_limit(message: &Message) -> bool {
    let lines = message.bytes().split(|byte| *byte == b'\n').count();
    lines >= Limits::default().headers || message.bytes().len() + 256 > Limits::default().message
}

/// Every reader on every header: none may panic.
fn read_everything(message: &Message) {
    for name in NAMES {
        for element in message.elements(name) {
            let _ = (element.name_addr().map(|a| a.tag().is_some()), element.via().map(|v| v.branch().is_some()));
            let _ = element.number();
        }
    }
    let _ = (message.start(), message.method_bytes(), message.top_via().branch(), message.from().tag(), message.to().tag());
}
