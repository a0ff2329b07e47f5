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
        // Copied: what is kept of it for half a minute must not keep the whole buffer.
        let bytes = Bytes::copy_from_slice(buffer.get(..message).unwrap_or_default());
        buffer.advance(message);
        Ok(Some(Frame::Message(bytes)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP h\r\nX: y\r\n z\r\n";

    /// All frames as text, and the error that ended them.
    fn frames(bytes: &[u8], piece: usize, limits: &Limits) -> (Vec<String>, Option<Malformed>) {
        let (mut framer, mut buffer, mut frames) = (Framer::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            buffer.extend_from_slice(piece);
            loop {
                match framer.next(&mut buffer, limits) {
                    Ok(Some(Frame::Message(bytes))) => {
                        frames.push(String::from_utf8_lossy(&bytes).into_owned())
                    }
                    Ok(Some(other)) => frames.push(format!("{other:?}")),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    }

    fn error(bytes: &str) -> Option<(u16, &'static str)> {
        let all = frames(bytes.as_bytes(), bytes.len(), &Limits::default());
        // However the bytes arrive, the result is the same.
        assert_eq!(all, frames(bytes.as_bytes(), 1, &Limits::default()));
        all.1.map(|error| (error.status, error.reason))
    }

    #[test]
    fn messages_and_keep_alives_in_pieces_of_any_size() {
        let one = format!("{HEAD}Content-Length : \r\n 5\r\n\r\n\r\n\r\nx");
        let two = format!("{HEAD}l: 0\r\n\r\n");
        let stream = format!("{one}\r\n\r\n{two}\r\n{two}\r\n\r\n\r\n\r\n");
        for piece in 1..stream.len() {
            let (frames, error) = frames(stream.as_bytes(), piece, &Limits::default());
            assert_eq!(frames, [&one, "Ping", &two, "Pong", &two, "Ping", "Ping"], "{piece}");
            assert_eq!(error, None);
        }
    }

    #[test]
    fn a_length_that_is_in_doubt_ends_the_stream() {
        let head = |lines: &str| format!("{HEAD}{lines}\r\nbody");
        assert_eq!(error(&head("")), Some((400, "Missing Content-Length")));
        assert_eq!(error(&head("l: 4\r\nContent-Length: 4\r\n")), Some((400, "Duplicate Content-Length")));
        assert_eq!(error(&head("l: -4\r\nl: 4\r\n")), Some((400, "Malformed Content-Length")));
        assert_eq!(error(&head("l: 4 4\r\n")), Some((400, "Malformed Content-Length")));
        assert_eq!(error(&head("l: 4\r\n\t4\r\n")), Some((400, "Malformed Content-Length")));
        assert_eq!(error(&head("l:\r\n")), Some((400, "Malformed Content-Length")));
        assert_eq!(error(&head("l: 99999999999999999999\r\n")), Some((400, "Malformed Content-Length")));
        assert_eq!(error(&head("l: 18446744073709551615\r\n")), Some((413, "Request Entity Too Large")));
        assert_eq!(
            error(&head("Transfer-encoding: chunked\r\nl: 4\r\n")),
            Some((400, "Transfer-Encoding is not SIP"))
        );
        assert_eq!(error(&head("Y: a\rb\r\nl: 4\r\n")), Some((400, "Bare CR or LF")));
        assert_eq!(error(&head("Y: a\nl: 4\r\n")), Some((400, "Bare CR or LF")));
        assert_eq!(error(&HEAD.replace('\r', "")), Some((400, "Bare CR or LF")));
    }

    #[test]
    fn nothing_grows_beyond_the_limit() {
        let limits = Limits { message: 1_000, ..Limits::default() };
        let status = |bytes: &str| {
            // However it is cut, never more than the limit and one piece lie in the buffer.
            let of_piece = |piece| frames(bytes.as_bytes(), piece, &limits).1.map(|error| error.status);
            assert_eq!(of_piece(1), of_piece(300));
            of_piece(1)
        };
        assert_eq!(status(&format!("{HEAD}l: 900\r\n\r\n{}", "b".repeat(900))), None);
        assert_eq!(status(&format!("{HEAD}l: 990\r\n\r\n")), Some(413));
        assert_eq!(status(&format!("{HEAD}X: {}", "x".repeat(2_000))), Some(513));
        assert_eq!(status(&format!("{HEAD}{}", "X: x\r\n".repeat(2_000))), Some(513));
        assert_eq!(status(&format!("INVITE sip:{}", "x".repeat(2_000))), Some(414));
    }

    #[test]
    fn what_is_refused_can_still_be_answered() {
        let mut buffer = BytesMut::from(
            "OPTIONS sip:a SIP/2.0\r\nl: 1\r\nl: 2\r\nVia: SIP/2.0/TCP h\r\nf: <sip:a>\r\nt: <sip:a>\r\ni: 1\r\n\
             CSeq: 1 OPTIONS\r\n\r\n",
        );
        assert!(Framer::default().next(&mut buffer, &Limits::default()).is_err());
        assert!(super::super::message::Message::salvage(&buffer, &Limits::default()).is_some());
    }
}
