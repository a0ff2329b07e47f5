//! TCP: framing, keep-alives, and UDP beside it.

use std::io::{Read, Write};

use turnpike::base::Transport;

use crate::harness::*;

#[test]
fn udp_is_answered_and_keep_alives_are_not() {
    let (node, _dir) = node(|_| {});
    let udp = Udp::new(node.listener("udp").unwrap());
    for keep_alive in ["\r\n\r\n", "\0\0\0\0", ""] {
        udp.send(keep_alive);
    }
    udp.assert_served();
}

#[test]
fn a_message_may_arrive_in_pieces_and_two_at_once() {
    let (node, _dir) = node(|_| {});
    let to = node.listener("tcp").unwrap();
    let mut stream = tcp(to);
    let ask = || options(Transport::Tcp, "127.0.0.1:9".parse().unwrap(), to);
    for piece in ask().as_bytes().chunks(7) {
        stream.write_all(piece).unwrap();
    }
    assert_eq!(status(&read_message(&mut stream)), 200);
    stream.write_all(format!("{}\r\n{}", ask(), ask()).as_bytes()).unwrap();
    assert_eq!(status(&read_message(&mut stream)), 200);
    assert_eq!(status(&read_message(&mut stream)), 200);
}

/// RFC 5626 §4.4.1.
#[test]
fn a_ping_is_answered_with_a_pong() {
    let (node, _dir) = node(|_| {});
    let mut stream = tcp(node.listener("tcp").unwrap());
    let mut pong = [0; 2];
    for _ in 0..3 {
        stream.write_all(b"\r\n\r\n").unwrap();
        stream.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"\r\n");
    }
    assert_served(&mut stream);
}

#[test]
fn when_the_peer_closes_the_connection_is_forgotten() {
    let (node, _dir) = node(|_| {});
    let mut stream = tcp(node.listener("tcp").unwrap());
    assert_served(&mut stream);
    assert_eq!(node.status().unwrap().connections, 1);
    drop(stream);
    eventually("no connection", || node.status().unwrap().connections == 0);
}

/// Nothing behind a message that cannot be read is looked at: it may be a part of it (ATTACKS.md: two Content-Length, a
/// second request hidden in a body).
#[test]
fn a_malformed_request_is_answered_and_ends_the_stream() {
    let (node, _dir) = node(|_| {});
    let to = node.listener("tcp").unwrap();
    let ask = || options(Transport::Tcp, "127.0.0.1:9".parse().unwrap(), to);
    let twice = |name: &str, line: &str| ask().replace(name, &format!("{line}\r\n{name}"));
    for (malformed, expected) in [
        (twice("Content-Length", "l: 7"), 400),
        (twice("CSeq", "CSeq: 2 OPTIONS"), 400),
        (ask().replace("Content-Length: 0", "Content-Length: -1"), 400),
        (ask().replace("Content-Length: 0", "Content-Length: 99999999"), 413),
        (ask().replace("Content-Length: 0\r\n", ""), 400),
        (ask().replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
    ] {
        let mut stream = tcp(to);
        stream.write_all(format!("{malformed}{}", ask()).as_bytes()).unwrap();
        let said = String::from_utf8(read_to_close(&mut stream)).unwrap();
        assert_eq!(status(&said), expected, "{malformed}");
        assert_eq!(said.matches("SIP/2.0 ").count(), 1, "{said}");
    }
}
