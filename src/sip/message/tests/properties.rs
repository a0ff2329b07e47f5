use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::sip::framing::{Frame, Framer};

/// Header lines with any token for a name and any bytes but line ends and NUL for a value, folded here and there.
fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let byte = prop_oneof![9 => any::<u8>().prop_filter("line ends", |b| !matches!(b, b'\r' | b'\n' | 0)), 1 => Just(b' ')];
    let piece = vec(byte, 0..20);
    let value = vec(piece, 1..3).prop_map(|pieces| pieces.join(&b"\r\n\t"[..]));
    vec(("X[A-Za-z0-9.!%*_+`'~-]{0,20}", value), 0..12)
}

fn message_of(headers: &[(String, Vec<u8>)], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        b"OPTIONS tel:+1 SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a>;tag=1\r\nTo: sip:b\r\n".to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b" :");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nl: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// The INVITE with a few bytes changed, left out, doubled or put in.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop_oneof![any::<u8>(), proptest::sample::select(&b"\r\n\0 \t:;,<>\"\\=@0123456789-"[..])];
    vec((0..INVITE.len(), 0..4u8, odd), 0..4).prop_map(|changes| {
        let mut bytes = INVITE.to_vec();
        for (at, kind, byte) in changes {
            let at = at.min(bytes.len() - 1);
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        bytes
    })
}

/// The frames of `bytes` as they come in pieces of these sizes.
fn framed(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Bytes>, Malformed> {
    let (mut framer, mut buffer, mut frames) = (Framer::default(), BytesMut::new(), Vec::new());
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = behind;
        while let Some(frame) = framer.next(&mut buffer, &Limits::default())? {
            if let Frame::Message(message) = frame {
                frames.push(message);
            }
        }
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn any_headers_survive(headers in headers(), body in vec(any::<u8>(), 0..100)) {
        let bytes = message_of(&headers, &body);
        let message = parsed(&bytes);
        prop_assert_eq!(message.body(), &body[..]);
        let found: Vec<_> = message.headers().filter(|(name, _)| name.starts_with(b"X")).collect();
        prop_assert_eq!(found.len(), headers.len());
        for ((name, value), (read, element)) in headers.iter().zip(found) {
            prop_assert_eq!(name.as_bytes(), read);
            prop_assert_eq!(scan::trim(value), element.value);
            prop_assert!(message.header_named(name.to_lowercase().as_bytes()).is_some());
        }
        let mut out = Vec::new();
        Edit::new(&message).write(&mut out);
        prop_assert_eq!(out, bytes);
    }

    #[test]
    fn framer_and_parser_agree(
        bytes in nearly_valid(),
        behind in vec(any::<u8>(), 0..20),
        sizes in vec(1usize..200, 1..10),
    ) {
        let stream = [&bytes[..], &behind].concat();
        let parse = |bytes: &[u8]| Message::parse(Bytes::copy_from_slice(bytes), &Limits::default());
        // What the parser accepts, with Content-Length, the framer cuts off at the same byte …
        if let Ok(message) = parse(&stream)
            && message.header(Name::ContentLength).is_some()
        {
            let frames = framed(&stream, &sizes);
            let whole = message.bytes();
            prop_assert!(matches!(&frames, Ok(frames) if frames.first() == Some(whole)) || frames.is_err());
            let frames = framed(whole, &sizes).expect("nothing behind it that could be wrong");
            prop_assert_eq!(&frames[..], &[whole.clone()][..]);
        }
        // … and of what the framer cuts off, the parser takes all or nothing.
        for frame in framed(&stream, &sizes).unwrap_or_default() {
            if let Ok(message) = parse(&frame) {
                prop_assert_eq!(message.bytes(), &frame);
            }
        }
    }

    #[test]
    fn what_is_salvaged_makes_a_clean_answer(bytes in nearly_valid()) {
        if let Some(message) = Message::salvage(&bytes, &Limits::default()) {
            let mut out = Vec::new();
            response(&message, 400, "Bad Request", Some(b"t"), &[], &mut out);
            prop_assert!(!out.contains(&0));
            prop_assert!(out.ends_with(b"\r\nContent-Length: 0\r\n\r\n"));
            // One header section: the only empty line is the last one, and no line end stands alone.
            prop_assert_eq!(framed(&out, &[7]).map(|frames| frames.len()), Ok(1));
        }
    }
}
