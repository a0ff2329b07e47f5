//! Where one message ends and the next begins on a stream (RFC 3261 §18.3). It and the parser agree to the byte on
//! where a message ends: the fuzz target `framing` holds them to it.

use bytes::{Bytes, BytesMut};

use super::message::{Limits, Malformed};

/// What a stream holds next.
#[derive(Debug)]
pub enum Frame {
    /// One whole message's bytes.
    Message(Bytes),
    /// CRLFCRLF: RFC 5626 §3.5.1 keep-alive ping; answer with CRLF.
    Ping,
    /// A single CRLF: a pong, or white space between messages (§7.5).
    Pong,
}

/// Cuts a byte stream into messages. Remembers how far it has looked, so that a message which arrives in many small
/// pieces is not searched from its start each time.
#[derive(Debug, Default)]
pub struct Framer {
    _scanned: usize,
}

impl Framer {
    /// Takes the next frame off `buffer`; `None` if more bytes are needed. An error means that the stream can't be
    /// followed any further: answer if it can be answered, and close it.
    pub fn next(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Frame>, Malformed> {
        let _ = (buffer, limits);
        todo!()
    }
}
