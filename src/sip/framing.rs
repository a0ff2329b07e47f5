//! Where one message ends and the next begins on a stream (RFC 3261 §18.3). It and the parser agree to the byte on
//! where a message ends: the fuzz target `framing` holds them to it.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use bytes::{Buf, Bytes, BytesMut};

use super::message::{FieldEnd, Limits, Malformed, Name, content_length, field_end, name_len, too_large};

/// What a stream holds next.
#[derive(Debug)]
pub enum Frame {
    /// One whole message's bytes.
    Message(Bytes),
    /// CRLFCRLF: RFC 5626 §3.5.1 keep-alive ping; answer with CRLF.
    Ping,
    /// A single CRLF: a pong, or white space between messages (§7.5). Told from half a ping by the byte behind it, so
    /// it may come late; that any byte came shows that the far end lives.
    Pong,
}

/// Cuts a byte stream into messages. Remembers how far it has looked, so that a message which arrives in many small
/// pieces is not searched from its start each time.
#[derive(Debug, Default)]
pub struct Framer {
    /// Where the present line (the start line or a field with its folds) begins.
    line: usize,
    /// Where to go on looking for the line's end.
    scanned: usize,
    /// What Content-Length said; the first thing that was wrong with the length.
    length: Option<Result<usize, Malformed>>,
    /// Length of the whole message, once the head has ended.
    message: Option<usize>,
}

impl Framer {
    /// Takes the next frame off `buffer`; `None` if more bytes are needed. An error means that the stream can't be
    /// followed any further: answer if it can be answered ([`super::message::Message::salvage`] of the buffer, which
    /// is left as it is), and close it.
    pub fn next(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Frame>, Malformed> {
        if self.scanned == 0 {
            match buffer.get(..buffer.len().min(4)).unwrap_or_default() {
                b"\r\n\r\n" => {
                    buffer.advance(4);
                    return Ok(Some(Frame::Ping));
                }
                b"" | b"\r" | b"\r\n" | b"\r\n\r" => return Ok(None),
                [b'\r', b'\n', ..] => {
                    buffer.advance(2);
                    return Ok(Some(Frame::Pong));
                }
                _ => {}
            }
        }
        let message = match self.message {
            Some(message) => message,
            None => match self.head(buffer)? {
                Some(head) => self.whole(buffer, head, limits)?,
                None if buffer.len() > limits.message => return Err(too_large(buffer, limits)),
                None => return Ok(None),
            },
        };
        if buffer.len() < message {
            return Ok(None);
        }
        *self = Framer::default();
        Ok(Some(Frame::Message(buffer.split_to(message).freeze())))
    }

    /// Goes on through the lines of the head; its length, empty line included, once it has ended.
    fn head(&mut self, buffer: &[u8]) -> Result<Option<usize>, Malformed> {
        loop {
            if self.line > 0 && buffer.get(self.line..self.line + 2) == Some(b"\r\n") {
                return Ok(Some(self.line + 2));
            }
            match field_end(buffer, self.scanned) {
                FieldEnd::More(at) => {
                    self.scanned = at;
                    return Ok(None);
                }
                FieldEnd::Bare(at) => return Err(Malformed { status: 400, reason: "Bare CR or LF", at }),
                FieldEnd::At(end, next) => {
                    if self.line > 0 {
                        self.field(buffer.get(..end).unwrap_or_default());
                    }
                    (self.line, self.scanned) = (next, next);
                }
            }
        }
    }

    /// Looks at one header field, the last one in `head`. What is wrong with the length is kept until the head has
    /// ended, so that there is something to answer.
    fn field(&mut self, head: &[u8]) {
        let line = head.get(self.line..).unwrap_or_default();
        if !matches!(line.first().map(u8::to_ascii_lowercase), Some(b'c' | b'l' | b't')) {
            return;
        }
        let Some((name, colon)) = name_len(line) else { return };
        let bad = |reason| Some(Err(Malformed { status: 400, reason, at: self.line }));
        match (Name::from_bytes(line.get(..name).unwrap_or_default()), &self.length) {
            (_, Some(Err(_))) => {}
            (Name::ContentLength, None) => {
                let value = line.get(colon..).unwrap_or_default().trim_ascii();
                self.length = Some(content_length(value, self.line + colon));
            }
            (Name::ContentLength, Some(Ok(_))) => self.length = bad("Duplicate Content-Length"),
            (Name::TransferEncoding, _) => self.length = bad("Transfer-Encoding is not SIP"),
            _ => {}
        }
    }

    /// Length of the whole message whose head is the first `head` bytes (§18.3: a stream needs Content-Length).
    fn whole(&mut self, buffer: &[u8], head: usize, limits: &Limits) -> Result<usize, Malformed> {
        if head > limits.message {
            return Err(too_large(buffer, limits));
        }
        let missing = Malformed { status: 400, reason: "Missing Content-Length", at: head };
        let length = self.length.take().unwrap_or(Err(missing))?;
        match head.checked_add(length).filter(|whole| *whole <= limits.message) {
            Some(whole) => {
                self.message = Some(whole);
                Ok(whole)
            }
            None => Err(Malformed { status: 413, reason: "Request Entity Too Large", at: head }),
        }
    }
}
