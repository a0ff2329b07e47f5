//! RFC 3261 by section: what each says, asked of the machines from outside.

mod dialog;
mod proxy;
mod transaction;

use std::net::SocketAddr;

use turnpike::base::{ClientAddr, FlowId, ListenerId, Transport};
use turnpike::sip::message::{Limits, Message};
use turnpike::sip::transaction::Source;

/// Reads a message typed with bare line ends.
fn message(text: &str) -> Message {
    let text = text.trim_start().replace('\n', "\r\n");
    Message::parse(text.into(), &Limits::default()).expect("a message")
}

/// A request with the headers that every request has; `more` are further header lines, each with its line end.
fn request(method: &str, uri: &str, via: &str, more: &str) -> Message {
    message(&format!(
        "{method} {uri} SIP/2.0\nVia: {via}\nFrom: <sip:alice@atlanta.example>;tag=a1\n\
         To: <sip:bob@biloxi.example>\nCall-ID: call@pc33\nCSeq: 7 {method}\n{more}Content-Length: 0\n\n"
    ))
}

/// The same message with another method, as ACK and CANCEL are to their INVITE.
fn as_method(invite: &Message, method: &str) -> Message {
    let text = String::from_utf8(invite.bytes().to_vec()).expect("text").replace("INVITE", method);
    Message::parse(text.into(), &Limits::default()).expect("a message")
}

fn source(transport: Transport) -> Source {
    let remote = ClientAddr(SocketAddr::from(([192, 0, 2, 4], 40_000)));
    Source { flow: FlowId(1), listener: ListenerId(0), transport, remote }
}
