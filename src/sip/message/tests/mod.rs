//! Tests of the message, by subject.

mod body;
mod edit;
mod parse;
mod properties;
mod salvage;
mod torture;

use bytes::Bytes;

use super::*;

/// A request with everything that a proxy touches.
const INVITE: &[u8] = b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
Via: SIP/2.0/TCP client.atlanta.example.com:5060;rport;branch=z9hG4bK74bf9\r\n\
v: SIP/2.0/UDP a.example.com;branch=z9hG4bK1, SIP / 2.0 / TLS [2001:db8::1]:5061\r\n ;branch=z9hG4bK2\r\n\
Max-Forwards: 70\r\n\
Route: <sip:edge.example.com;lr>, \"odd, \\\" name\" <sip:b.example.com;x=1,2>;p=\"a,b\"\r\n\
Route: <sip:c.example.com;lr>\r\n\
f: Alice <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
To : Bob <sip:bob@biloxi.example.com>\r\n\
Call-ID: 3848276298220188511@atlanta.example.com\r\n\
CSeq: 2 INVITE\r\n\
X-Odd:\t \xff\xfe caf\xc3\xa9 \r\n  folded \r\n\
P-Asserted-Identity: <sip:x@y>\r\n\
m: <sip:alice@client.atlanta.example.com;transport=tcp>\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 4\r\n\
\r\n\
v=\0\n";

fn parsed(bytes: &[u8]) -> Message {
    Message::parse(Bytes::copy_from_slice(bytes), &Limits::default()).unwrap()
}

fn refused(bytes: &[u8]) -> Malformed {
    Message::parse(Bytes::copy_from_slice(bytes), &Limits::default()).unwrap_err()
}

/// The INVITE with `from` replaced by `to`, which must stand in it once.
fn with(from: &str, to: &str) -> Vec<u8> {
    let at = memchr::memmem::find(INVITE, from.as_bytes()).expect(from);
    [&INVITE[..at], to.as_bytes(), &INVITE[at + from.len()..]].concat()
}
