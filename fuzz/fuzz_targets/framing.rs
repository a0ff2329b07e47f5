//! The framer and the parser agree to the byte on where a message ends, however the bytes are cut into pieces: what one
//! of them saw as body, the other must not see as the next request.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use turnpike::sip::framing::{Frame, Framer};
use turnpike::sip::message::{Limits, Message, Name};

fuzz_target!(|data: (u8, &[u8])| {
    let (piece, data) = (usize::from(data.0) + 1, data.1);
    let limits = Limits::default();
    let (whole, _) = frames(data, data.len().max(1), &limits);
    let (pieces, _) = frames(data, piece, &limits);
    assert_eq!(whole, pieces, "the cut into pieces of {piece} must not matter");

    // RFC 3261 §18.3: on a stream Content-Length must be there.
    let Ok(message) = Message::parse(Bytes::copy_from_slice(data), &limits) else { return };
    if message.header(Name::ContentLength).is_none() {
        return;
    }
    let first = whole.first().expect("what the parser takes, the framer finds");
    assert_eq!(first, message.bytes(), "parser and framer disagree on the end");
});

/// The messages that the framer finds when `data` arrives `piece` bytes at a time, and whether it gave up.
fn frames(data: &[u8], piece: usize, limits: &Limits) -> (Vec<Bytes>, bool) {
    let (mut framer, mut buffer, mut found) = (Framer::default(), BytesMut::new(), Vec::new());
    for chunk in data.chunks(piece) {
        buffer.extend_from_slice(chunk);
        loop {
            match framer.next(&mut buffer, limits) {
                Ok(Some(Frame::Message(bytes))) => found.push(bytes),
                Ok(Some(Frame::Ping | Frame::Pong)) => {}
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}
