//! SIP over WebSocket (RFC 7118), and the WebSocket row of ATTACKS.md.

use std::io::{Read, Write};
use std::net::TcpStream;

use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use turnpike::base::Transport;
use turnpike::net::Node;
use turnpike::net::settings::ListenerWeb;

use crate::harness::*;

const OURS: &str = "https://phone.example.com";

/// A node with a WebSocket listener at `/sip`, for pages of [`OURS`].
fn web_node() -> (Node, tempfile::TempDir) {
    node(|settings| {
        with_websockets(settings, ListenerWeb { path: "/sip".into(), origins: vec![OURS.into()] });
    })
}

fn upgrade(node: &Node, path: &str, origin: Option<&str>, protocol: Option<&str>) -> Request {
    let url = format!("ws://{}{path}", node.listener("ws").unwrap());
    let mut request = url.into_client_request().unwrap();
    let mut set = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    };
    set("origin", origin);
    set("sec-websocket-protocol", protocol);
    request
}

fn connect(node: &Node) -> WebSocket<TcpStream> {
    let request = upgrade(node, "/sip", Some(OURS), Some("sip"));
    let (socket, response) = tungstenite::client(request, tcp(node.listener("ws").unwrap())).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
    socket
}

fn ask(node: &Node, socket: &mut WebSocket<TcpStream>) -> u16 {
    let question = options(Transport::Ws, "192.0.2.1:9".parse().unwrap(), node.listener("ws").unwrap());
    socket.send(Message::text(question)).unwrap();
    status(socket.read().unwrap().to_text().unwrap())
}

#[test]
fn one_message_is_one_sip_message_in_text_or_binary() {
    let (node, _dir) = web_node();
    let mut socket = connect(&node);
    assert_eq!(ask(&node, &mut socket), 200);
    let question = options(Transport::Ws, "192.0.2.1:9".parse().unwrap(), node.listener("ws").unwrap());
    socket.send(Message::binary(question.clone().into_bytes())).unwrap();
    assert_eq!(status(socket.read().unwrap().to_text().unwrap()), 200);
    // RFC 7118 §5: in two fragments.
    let (head, tail) = question.as_bytes().split_at(50);
    socket.get_mut().write_all(&frame(0x01, head)).unwrap();
    socket.get_mut().write_all(&frame(0x80, tail)).unwrap();
    assert_eq!(status(socket.read().unwrap().to_text().unwrap()), 200);
}

#[test]
fn keep_alives_of_both_kinds_are_answered() {
    let (node, _dir) = web_node();
    let mut socket = connect(&node);
    socket.send(Message::text("\r\n\r\n")).unwrap();
    assert_eq!(socket.read().unwrap().to_text().unwrap(), "\r\n");
    socket.send(Message::Ping("alive?".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("alive?".into()));
    assert_eq!(ask(&node, &mut socket), 200);
}

#[test]
fn several_answers_each_have_a_frame() {
    let (node, _dir) = web_node();
    let mut socket = connect(&node);
    let question = || options(Transport::Ws, "192.0.2.1:9".parse().unwrap(), node.listener("ws").unwrap());
    let many: Vec<u8> = (0..20).flat_map(|_| frame(0x81, question().as_bytes())).collect();
    socket.get_mut().write_all(&many).unwrap();
    for _ in 0..20 {
        assert_eq!(status(socket.read().unwrap().to_text().unwrap()), 200);
    }
}

#[test]
fn a_closed_socket_is_forgotten() {
    let (node, _dir) = web_node();
    let mut socket = connect(&node);
    assert_eq!(ask(&node, &mut socket), 200);
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    eventually("no connection", || node.status().unwrap().connections == 0);
}

#[test]
fn only_our_pages_may_and_only_for_sip() {
    let (node, _dir) = web_node();
    let cases = [
        ("/sip", Some("https://evil.example"), Some("sip"), 403),
        ("/sip", None, Some("sip"), 403),
        ("/sip", Some(OURS), None, 400),
        ("/sip", Some(OURS), Some("mqtt, sippy"), 400),
        ("/", Some(OURS), Some("sip"), 404),
    ];
    for (path, origin, protocol, expected) in cases {
        let request = upgrade(&node, path, origin, protocol);
        match tungstenite::client(request, tcp(node.listener("ws").unwrap())) {
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                assert_eq!(answer.status(), expected, "{path} {origin:?} {protocol:?}");
            }
            other => panic!("{path} {origin:?} {protocol:?}: {:?}", other.map(|_| ())),
        }
    }
    assert_eq!(ask(&node, &mut connect(&node)), 200);
}

#[test]
fn what_is_no_upgrade_gets_400_and_nothing_behind_it_is_read() {
    let (node, _dir) = web_node();
    let hidden = options(Transport::Ws, "192.0.2.1:9".parse().unwrap(), node.listener("ws").unwrap());
    let upgrade = format!(
        "GET /sip HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: {OURS}\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    );
    let cases = [
        // CVE-2026-2833: bytes behind the upgrade.
        [upgrade.as_bytes(), &frame(0x81, hidden.as_bytes())].concat(),
        upgrade.replace("13", "8").into_bytes(),
        upgrade.replace("GET", "POST").into_bytes(),
        hidden.clone().into_bytes(),
    ];
    for case in cases {
        let mut stream = tcp(node.listener("ws").unwrap());
        stream.write_all(&case).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.is_empty(), "{answer}");
        assert!(!answer.contains("SIP/2.0"), "{answer}");
    }
    assert_eq!(ask(&node, &mut connect(&node)), 200);
}

#[test]
fn frames_against_the_rules_close_with_the_code_of_the_rfc() {
    let (node, _dir) = web_node();
    let question = options(Transport::Ws, "192.0.2.1:9".parse().unwrap(), node.listener("ws").unwrap());
    let mut unmasked = vec![0x81, 126];
    unmasked.extend((question.len() as u16).to_be_bytes());
    unmasked.extend(question.as_bytes());
    let huge = [&[0x81, 0xff][..], &(1u64 << 63).to_be_bytes(), &[0; 4]].concat();
    let cases = [
        ("a control frame of 126 bytes", frame(0x89, &[b'x'; 126]), CloseCode::Protocol),
        ("a lone continuation", frame(0x80, question.as_bytes()), CloseCode::Protocol),
        ("an unmasked frame", unmasked, CloseCode::Protocol),
        ("a length of 2^63", huge, CloseCode::Size),
        ("a reserved bit", frame(0xc1, question.as_bytes()), CloseCode::Protocol),
        ("a message beyond the limit", frame(0x81, &[b'x'; 70_000]), CloseCode::Size),
        ("text that is none", frame(0x81, b"OPTIONS \xff\xfe"), CloseCode::Invalid),
    ];
    for (what, bytes, expected) in cases {
        let mut socket = connect(&node);
        // Behind it stands what must not be read.
        let _ = socket.get_mut().write_all(&[bytes, frame(0x81, question.as_bytes())].concat());
        match socket.read() {
            Ok(Message::Close(Some(close))) => assert_eq!(close.code, expected, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(ask(&node, &mut connect(&node)), 200);
}

/// A message that begins and does not end is not waited for (slow-loris).
#[test]
fn half_a_frame_is_cut_off() {
    let (node, _dir) = node(|settings| {
        settings.edge.listeners[1].transport = Transport::Ws;
        settings.net.web[1] = Some(ListenerWeb { path: "/".into(), origins: Vec::new() });
        settings.net.patience.message = std::time::Duration::from_secs(1);
    });
    let request = format!("ws://{}/", node.listener("tcp").unwrap()).into_client_request().unwrap();
    let mut request = request;
    request.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
    let (mut socket, _) = tungstenite::client(request, tcp(node.listener("tcp").unwrap())).unwrap();
    socket.get_mut().write_all(&frame(0x81, &[b'x'; 100])[..50]).unwrap();
    eventually("it is gone", || node.status().unwrap().connections == 0);
    assert!(socket.read().is_err());
}

/// A masked frame of a client (RFC 6455 §5.2) with this first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    // The mask of all zeroes changes nothing.
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
