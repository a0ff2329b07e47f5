//! A socket with what it speaks: TCP, or TLS over it. Never waits.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ServerConfig;

use super::frames::LONGEST_MESSAGE;
use super::spare::Spare;
use super::tls::{LONGEST_RECORD, Tls};
use crate::turn::totals::Closed;

/// Bytes read in one system call.
pub(super) const READ: usize = 64 * 1024;
/// Room for what a read brings and what the one before left.
pub(in crate::net::relay) const ROOM: usize = LONGEST_MESSAGE + READ;
/// The same for TLS records, before they are opened.
pub(super) const RECORDS: usize = LONGEST_RECORD + READ;

/// Why a connection has ended.
#[derive(Debug, thiserror::Error)]
pub(in crate::net::relay) enum Ended {
    #[error("the peer closed it")]
    Peer,
    #[error("what came is not TURN")]
    Garbage,
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    #[error("broken: {0}")]
    Broken(io::Error),
    /// One of our deadlines has passed.
    #[error("{0}")]
    Overdue(&'static str),
    #[error("its source was banned")]
    Banned,
    #[error("an answer for a peer that has not read the ones before it")]
    Full,
}

impl Ended {
    /// As what it is counted; that the peer left, or the network broke, is nobody's fault.
    pub fn counted(&self) -> Option<Closed> {
        match self {
            Ended::Peer | Ended::Broken(_) => None,
            Ended::Garbage => Some(Closed::Garbage),
            Ended::Tls(_) => Some(Closed::Tls),
            Ended::Overdue(_) => Some(Closed::Overdue),
            Ended::Banned => Some(Closed::Banned),
            Ended::Full => Some(Closed::Full),
        }
    }
}

/// What one look at the socket brought.
#[derive(Debug)]
pub(in crate::net::relay) struct Arrived {
    /// So much stands in the room, with what was left there before.
    pub bytes: usize,
    /// Something arrived.
    pub any: bool,
    /// There may be more: look again.
    pub more: bool,
    /// Behind all that.
    pub ended: Option<Ended>,
}

/// What the peer took of what there is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// It took something.
    pub any: bool,
    /// It took everything.
    pub all: bool,
}

/// One connection, as far as bytes go.
pub(super) struct Wire {
    socket: TcpStream,
    /// Most connections of a node are of one kind or the other, and TLS is large.
    tls: Option<Box<Tls>>,
    /// A message whose rest has not arrived.
    partial: Vec<u8>,
    /// What the socket has not taken.
    outgoing: Vec<u8>,
}

impl Wire {
    /// Just accepted; `tls` if the listener is one for TLS.
    pub fn new(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> Result<Wire, rustls::Error> {
        let tls = tls.map(|config| Tls::new(config).map(Box::new)).transpose()?;
        Ok(Wire { socket, tls, partial: Vec::new(), outgoing: Vec::new() })
    }

    /// For the poll.
    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// It speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The TLS handshake is not done.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Something has begun to arrive and is not whole.
    pub fn has_begun(&self) -> bool {
        !self.partial.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_begun())
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.outgoing.len()
    }

    /// Bytes of buffers that it holds.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        let of_tls = self.tls.as_ref().map_or(0, |tls| tls.held());
        self.partial.capacity() + of_tls + self.outgoing.capacity()
    }

    /// Reads once, up to `most` bytes of the socket's. What [`Self::keep`] was given and what arrived stands in `room` then,
    /// which holds [`ROOM`] bytes; TLS uses `records`, which holds [`RECORDS`].
    pub fn read(&mut self, room: &mut [u8], records: &mut [u8], most: usize) -> Arrived {
        let most = most.min(READ);
        let kept = self.partial.len();
        let Some((front, rest)) = room.split_at_mut_checked(kept) else { return Arrived::nothing() };
        front.copy_from_slice(&self.partial);
        let arrived = match &mut self.tls {
            None => receive(&mut self.socket, rest.get_mut(..most).unwrap_or_default()),
            Some(tls) => {
                let cut = tls.put_partial(records);
                let stretch = records.get_mut(cut..cut + most).unwrap_or_default();
                let mut arrived = receive(&mut self.socket, stretch);
                let stream = records.get_mut(..cut + arrived.bytes).unwrap_or_default();
                arrived.bytes = 0;
                let outcome = tls.open(stream, &mut self.outgoing, |content| {
                    let end = arrived.bytes + content.len();
                    if let Some(room) = rest.get_mut(arrived.bytes..end) {
                        room.copy_from_slice(content);
                        arrived.bytes = end;
                    }
                });
                arrived.ended = match outcome {
                    Ok(false) => arrived.ended,
                    Ok(true) => Some(Ended::Peer),
                    Err(error) => Some(Ended::Tls(error)),
                };
                arrived
            }
        };
        Arrived { bytes: kept + arrived.bytes, ..arrived }
    }

    /// Keeps what could not be used of what was read: a message whose rest has not arrived.
    pub fn keep(&mut self, rest: &[u8]) {
        self.partial.clear();
        self.partial.extend_from_slice(rest);
    }

    /// Queues a message. Over TLS it has a record of its own: there are clients (coturn's) that take each for one message.
    pub fn push(&mut self, message: &[u8], spare: &mut Spare) -> Result<(), Ended> {
        spare.lend(&mut self.outgoing);
        match &mut self.tls {
            None => self.outgoing.extend_from_slice(message),
            Some(tls) => tls.seal(message, &mut self.outgoing).map_err(Ended::Tls)?,
        }
        Ok(())
    }

    /// Writes what the socket takes.
    pub fn write(&mut self, spare: &mut Spare) -> Result<Taken, Ended> {
        let mut any = false;
        while !self.outgoing.is_empty() {
            match self.socket.write(&self.outgoing) {
                Ok(0) => return Err(Ended::Broken(ErrorKind::WriteZero.into())),
                Ok(n) if n == self.outgoing.len() => {
                    spare.take_back(&mut self.outgoing);
                    any = true;
                }
                Ok(n) => {
                    self.outgoing.drain(..n);
                    any = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Taken { any, all: false }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Ended::Broken(error)),
            }
        }
        Ok(Taken { any, all: true })
    }

    /// Tells the peer that nothing more comes, while it may go on itself. False: it has to take other things first.
    pub fn end_writing(&mut self, spare: &mut Spare) -> Result<bool, Ended> {
        if let Some(tls) = &mut self.tls {
            tls.end(&mut self.outgoing);
        }
        if !self.write(spare)?.all {
            return Ok(false);
        }
        // Who is gone already need not be told.
        let _ = self.socket.shutdown(Shutdown::Write);
        Ok(true)
    }

    /// Tells a TLS peer that this is the end, and why if it is TLS that failed.
    pub fn say_good_bye(&mut self, spare: &mut Spare) {
        if let Some(tls) = &mut self.tls {
            tls.end(&mut self.outgoing);
            // Who does not hear it sees the connection closed all the same.
            let _ = self.write(spare);
        }
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.partial.shrink_to_fit();
        if let Some(tls) = &mut self.tls {
            tls.shrink();
        }
    }
}

impl Arrived {
    fn nothing() -> Arrived {
        Arrived { bytes: 0, any: false, more: false, ended: None }
    }
}

fn receive(socket: &mut TcpStream, room: &mut [u8]) -> Arrived {
    match socket.read(room) {
        Ok(0) => Arrived { ended: Some(Ended::Peer), ..Arrived::nothing() },
        // Of a stream, less than was asked for is all that there is (epoll(7)).
        Ok(bytes) => Arrived { bytes, any: true, more: bytes == room.len(), ended: None },
        Err(error) if error.kind() == ErrorKind::WouldBlock => Arrived::nothing(),
        Err(error) if error.kind() == ErrorKind::Interrupted => Arrived { more: true, ..Arrived::nothing() },
        Err(error) => Arrived { ended: Some(Ended::Broken(error)), ..Arrived::nothing() },
    }
}
