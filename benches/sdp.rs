//! The SDP editor: a browser's offer, and bodies of growing length (proportional, no quadratic case).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use turnpike::sdp::{IceEdit, MediaEdit, Session};

const CHROME: &str = include_str!("../tests/rfc3264/samples/chrome.sdp");
const ASTERISK: &str = include_str!("../tests/rfc3264/samples/asterisk.sdp");

fn edit(candidate: bool) -> MediaEdit {
    let (rtp, rtcp) = ("203.0.113.10:40000", "203.0.113.10:40001");
    MediaEdit::Relay {
        rtp: rtp.parse().expect("an address"),
        rtcp: rtcp.parse().expect("an address"),
        ice: if candidate { IceEdit::Append { instead_of: vec![] } } else { IceEdit::Keep },
        keying: None,
    }
}

fn rewrite(body: &[u8], edits: &[MediaEdit], out: &mut Vec<u8>) {
    out.clear();
    Session::parse(body).expect("SDP").rewrite(edits, out);
}

fn offers(c: &mut Criterion) {
    let mut group = c.benchmark_group("sdp");
    for (name, body) in [("chrome", CHROME), ("asterisk", ASTERISK)] {
        let body = body.replace('\n', "\r\n");
        let (edits, mut out) = ([edit(true)], Vec::new());
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("parse", name), |b| {
            b.iter(|| Session::parse(black_box(body.as_bytes())).is_ok())
        });
        group.bench_function(BenchmarkId::new("parse and rewrite", name), |b| {
            b.iter(|| rewrite(black_box(body.as_bytes()), &edits, &mut out));
        });
    }
    group.finish();
}

/// Bodies made of what costs most: candidates, one-letter lines, sections.
fn lengths(c: &mut Criterion) {
    let mut group = c.benchmark_group("sdp length");
    let head = "v=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\n";
    let candidate = "a=candidate:relay0 1 udp 2122260223 192.168.1.40 46243 typ host\n";
    for (name, line) in [("candidates", candidate), ("short lines", "b=\n"), ("blank lines", "\n")] {
        for length in [1_000, 8_000, 64_000] {
            let body = format!("{head}{}", line.repeat((length - head.len()) / line.len()));
            let (edits, mut out) = ([edit(true)], Vec::new());
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(BenchmarkId::new(name, length), |b| {
                b.iter(|| rewrite(black_box(body.as_bytes()), &edits, &mut out));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, offers, lengths);
criterion_main!(benches);
