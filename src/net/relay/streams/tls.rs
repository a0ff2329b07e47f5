//! TLS of one connection (rustls without buffers of its own): records are opened where they were read, and an idle connection
//! holds nothing but its keys.
//!
//! ALPN is not spoken: a client that offers `stun.turn` (RFC 7443) is served like one that offers nothing.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{Error, ServerConfig};

/// RFC 5246 §6.2.3: a record with its header.
pub(super) const LONGEST_RECORD: usize = 5 + (1 << 14) + 2048;
/// What sealing adds to a record at most: header, explicit nonce, content type, tag.
const OVERHEAD: usize = 5 + 8 + 1 + 16;
/// Plaintext in one record.
const FRAGMENT: usize = 1 << 14;

/// The server's end of one connection.
pub(super) struct Tls {
    connection: UnbufferedServerConnection,
    /// What was read and could not be used yet: a record whose rest has not arrived.
    partial: Vec<u8>,
    /// It failed, or we have said good-bye: rustls is not asked for anything more.
    is_over: bool,
}

impl Tls {
    pub fn new(config: Arc<ServerConfig>) -> Result<Tls, Error> {
        Ok(Tls { connection: UnbufferedServerConnection::new(config)?, partial: Vec::new(), is_over: false })
    }

    /// Nobody may speak yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// A record has begun, and its rest has not arrived.
    pub fn has_begun(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Puts what is kept of the stream to the front of `buffer`, for more to be read behind it; its length.
    pub fn put_partial(&self, buffer: &mut [u8]) -> usize {
        let Some(front) = buffer.get_mut(..self.partial.len()) else { return 0 };
        front.copy_from_slice(&self.partial);
        self.partial.len()
    }

    /// Opens the records in `stream`, which begins with what [`Self::put_partial`] put there, and shows their content to
    /// `on_content`. Appends to `sealed` what the handshake has to say. True: the peer has said good-bye (close_notify).
    pub fn open(
        &mut self,
        stream: &mut [u8],
        sealed: &mut Vec<u8>,
        mut on_content: impl FnMut(&[u8]),
    ) -> Result<bool, Error> {
        let mut rest = stream;
        let mut ended = false;
        let outcome = loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let goes_on = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        on_content(record.payload);
                    }
                    Ok(true)
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, sealed).map(|()| true),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(true)
                }
                Ok(ConnectionState::PeerClosed) => {
                    ended = true;
                    Ok(true)
                }
                // More has to arrive first. (Early data is not offered.)
                Ok(_) => Ok(false),
                Err(error) => Err(error),
            };
            rest = std::mem::take(&mut rest).get_mut(discard..).unwrap_or_default();
            match goes_on {
                Ok(true) => {}
                Ok(false) if rest.len() > LONGEST_RECORD => {
                    break Err(Error::General("a handshake message is too long".into()));
                }
                Ok(false) => break Ok(ended),
                Err(error) => break Err(error),
            }
        };
        self.partial.clear();
        self.partial.extend_from_slice(rest);
        outcome.inspect_err(|_| self.fail(sealed))
    }

    /// Appends the alert that says why, if there is one.
    fn fail(&mut self, sealed: &mut Vec<u8>) {
        while self.connection.wants_write() {
            let state = self.connection.process_tls_records(&mut self.partial).state;
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { break };
            if encode(data, sealed).is_err() {
                break;
            }
        }
        self.is_over = true;
    }

    /// Appends `content` to `sealed`: one record, if it fits into one.
    pub fn seal(&mut self, content: &[u8], sealed: &mut Vec<u8>) -> Result<(), Error> {
        if self.is_over {
            return Err(Error::General("TLS is over".into()));
        }
        let mut room = content.len() + (content.len() / FRAGMENT + 1) * OVERHEAD;
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.partial);
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    match with_room(sealed, room, |out| traffic.encrypt(content, out)) {
                        Ok(()) => return Ok(()),
                        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size }))
                            if required_size > room =>
                        {
                            room = required_size;
                        }
                        Err(error) => return Err(Error::General(error.to_string())),
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, sealed)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err(Error::HandshakeNotComplete),
            }
            self.partial.drain(..discard);
        }
    }

    /// Appends our last word (RFC 8446 §6.1: close_notify), unless there was one already or the handshake is not done.
    pub fn end(&mut self, sealed: &mut Vec<u8>) {
        if !self.is_over
            && let Ok(ConnectionState::WriteTraffic(mut traffic)) =
                self.connection.process_tls_records(&mut self.partial).state
        {
            // Who does not hear it sees the connection closed all the same.
            let _ = with_room(sealed, OVERHEAD + 2, |out| traffic.queue_close_notify(out));
        }
        self.is_over = true;
    }

    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Gives memory back that is not in use.
    pub fn shrink(&mut self) {
        self.partial.shrink_to_fit();
    }
}

fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, sealed: &mut Vec<u8>) -> Result<(), Error> {
    let room = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => required_size,
        _ => 0,
    };
    with_room(sealed, room, |out| data.encode(out)).map_err(|error| Error::General(error.to_string()))
}

/// Lets `write` append up to `room` bytes.
fn with_room<E>(
    sealed: &mut Vec<u8>,
    room: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let start = sealed.len();
    sealed.resize(start + room, 0);
    let outcome = write(sealed.get_mut(start..).unwrap_or_default());
    sealed.truncate(start + outcome.as_ref().map_or(0, |written| *written));
    outcome.map(|_| ())
}
