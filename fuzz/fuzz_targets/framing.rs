//! Framer and parser agree to the byte on where a message ends, however the bytes arrive.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use turnpike::sip::framing::{Frame, Framer};
use turnpike::sip::message::{Limits, Malformed, Message, Name};

fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
    Message::parse(Bytes::copy_from_slice(bytes), &Limits::default())
}

/// The frames of `bytes` in pieces whose sizes `seed` draws, and the error that ended them.
fn framed(bytes: &[u8], mut seed: u64) -> (Vec<Frame>, Option<Malformed>) {
    let (mut framer, mut buffer, mut frames) = (Framer::default(), BytesMut::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let most = if seed & 1 << 40 == 0 { 4 } else { 200 };
        let (piece, behind) = rest.split_at((1 + (seed >> 48) as usize % most).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
        loop {
            match framer.next(&mut buffer, &Limits::default()) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn messages(frames: &[Frame]) -> Vec<&Bytes> {
    frames
        .iter()
        .filter_map(|frame| if let Frame::Message(bytes) = frame { Some(bytes) } else { None })
        .collect()
}

fuzz_target!(|input: (u8, &[u8])| {
    let (seed, bytes) = (u64::from(input.0), input.1);
    // What the parser accepts, with Content-Length, ends for the framer at the same byte.
    if let Ok(message) = parse(bytes)
        && message.header(Name::ContentLength).is_some()
    {
        let (frames, error) = framed(message.bytes(), seed);
        assert_eq!((messages(&frames), error), (vec![message.bytes()], None));
        let (frames, _) = framed(bytes, seed);
        assert_eq!(messages(&frames).first(), Some(&message.bytes()));
    }
    // What the framer cuts off, the parser takes whole or not at all; and the sizes of the pieces change nothing.
    let (frames, error) = framed(bytes, seed);
    let (others, other_error) = framed(bytes, !seed);
    assert_eq!((messages(&frames), error), (messages(&others), other_error));
    for frame in messages(&frames) {
        if let Ok(message) = parse(frame) {
            assert_eq!(message.bytes(), frame);
        }
    }
});
