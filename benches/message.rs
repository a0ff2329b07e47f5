//! What a message costs: parse, a proxy's edit, and the new bytes. The aim is 1 µs for an INVITE of 900 bytes, and no
//! worse than proportional up to 64 kB, whatever the 64 kB are made of.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone
#![allow(missing_docs)]

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use std::hint::black_box;

use turnpike::sip::framing::Framer;
use turnpike::sip::message::{Edit, Index, Limits, Message, Name};

#[path = "../tests/support/proxy_edit.rs"]
mod proxy_edit;
use proxy_edit::{invite, proxy_edit};

/// INVITEs of nearly 64 kB that put all of it in one place.
fn large() -> Vec<(&'static str, Bytes)> {
    let headers: String = (0..230).map(|n| format!("X-Header-{n}: {}\r\n", "v".repeat(260))).collect();
    let commas = format!("Route: {}<sip:last.example.com;lr>\r\n", "<sip:r;lr>,".repeat(5_700));
    let blanks = format!("Subject:{}x\r\n", "\r\n ".repeat(21_000));
    let quotes = format!("Route: {}<sip:last.example.com;lr>\r\n", "\"\\\"<\" <sip:r;lr>,".repeat(3_500));
    vec![
        ("64 kB body", invite("", &"b".repeat(63_000))),
        ("64 kB in 230 headers", invite(&headers, "")),
        ("64 kB in one header", invite(&format!("X-Long: {}\r\n", "v".repeat(63_000)), "")),
        ("64 kB of Route elements", invite(&commas, "")),
        ("64 kB of quotes", invite(&quotes, "")),
        ("64 kB of folds", invite(&blanks, "")),
    ]
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let limits = Limits::default();
    let mut scratch = Index::default();
    let mut out = Vec::with_capacity(70_000);
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n\
               a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

    let mut messages = vec![("900 B", invite("", sdp))];
    assert!((850..=950).contains(&messages[0].1.len()), "{}", messages[0].1.len());
    messages.extend(large());
    for (name, bytes) in &messages {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("parse", |bencher| {
            bencher.iter(|| {
                let message = Message::parse_with(black_box(bytes.clone()), &limits, &mut scratch).unwrap();
                scratch = black_box(message).into_scratch();
            });
        });
        group.bench_function("parse, edit, write", |bencher| {
            bencher.iter(|| {
                let message = Message::parse_with(black_box(bytes.clone()), &limits, &mut scratch).unwrap();
                out.clear();
                proxy_edit(&message, &mut out);
                black_box(&out);
                scratch = message.into_scratch();
            });
        });
    }

    // Every element removed one by one, as many changes as can be.
    let (_, routes) = messages.iter().find(|(name, _)| name.contains("Route")).unwrap();
    let message = Message::parse(routes.clone(), &limits).unwrap();
    criterion.bench_function("remove 5,700 Route elements", |bencher| {
        bencher.iter(|| {
            let mut edit = Edit::new(&message);
            message.elements(Name::Route).for_each(|element| edit.remove(element));
            out.clear();
            edit.write(&mut out);
        });
    });
    let (_, long) = messages.iter().find(|(name, _)| name.contains("one header")).unwrap();
    criterion.bench_function("frame 64 kB that trickles in 100 bytes at a time", |bencher| {
        bencher.iter(|| {
            let mut framer = Framer::default();
            let mut buffer = bytes::BytesMut::new();
            for piece in long.chunks(100) {
                buffer.extend_from_slice(piece);
                black_box(framer.next(&mut buffer, &limits).unwrap());
            }
        });
    });
    criterion.final_summary();
}
