//! Two connections, a client's and a peer's: the bytes of each go to the other as they are (RFC 6062 §5.4). What one side does
//! not take is not read from the other: little is held, and the kernels slow the sender down. An end is passed on when all
//! that stands before it has been taken, and the other way goes on.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use mio::net::TcpStream;

use crate::net::relay::streams::{Connection, Ended, Streams};
use crate::turn::connection::Way;

/// Bytes that are read at a time: no more are held for a side that does not take them, but for what TLS had begun.
const PIECE: usize = 64 * 1024;
/// Pieces that go one way before others have their turn.
const TURNS: usize = 4;

/// What the rules of the role say about bytes.
pub(super) trait Police {
    /// How many may pass now; `Err`: none before then.
    fn room(&self, way: Way, now: Instant) -> Result<usize, Instant>;
    /// So many have passed.
    fn streamed(&mut self, way: Way, bytes: usize, now: Instant);
}

/// How one way stands after a look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// One of the two sockets has to say something first.
    Waits,
    /// It has had its turns, and there may be more.
    HasMore,
    /// Its role lets nothing through before then.
    Paused(Instant),
    /// Both ways have ended.
    Over,
}

/// How far the end of one side is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// It goes on.
    #[default]
    Open,
    /// It has come, and is not passed on yet.
    Come,
    /// The other side knows.
    PassedOn,
}

pub(super) struct Splice {
    pub client: Connection,
    peer: TcpStream,
    /// From the client, for the peer. (What is for the client waits in its connection.)
    held: Vec<u8>,
    of_client: End,
    of_peer: End,
    /// Each way will be looked at again, whatever the sockets say.
    is_scheduled: [bool; 2],
}

impl Splice {
    pub fn new(client: Connection, peer: TcpStream) -> Splice {
        Splice {
            client,
            peer,
            held: Vec::new(),
            of_client: End::Open,
            of_peer: End::Open,
            is_scheduled: [false; 2],
        }
    }

    /// Moves what can be moved one way; `scratch` is memory to do it in.
    pub fn pump(
        &mut self,
        way: Way,
        streams: &mut Streams,
        police: &mut impl Police,
        scratch: &mut [u8],
        now: Instant,
    ) -> Result<Pumped, Ended> {
        for _ in 0..TURNS {
            let taken = match way {
                Way::ToPeer => self.flush_to_peer()?,
                Way::ToClient => streams.transmit(&mut self.client)?,
            };
            if !taken || !self.pass_end_on(way, streams)? {
                return Ok(Pumped::Waits);
            }
            if self.is_over() {
                return Ok(Pumped::Over);
            }
            if self.source(way) != End::Open {
                return Ok(Pumped::Waits);
            }
            let most = match police.room(way, now) {
                Ok(0) => return Ok(Pumped::Waits),
                Ok(most) => most.min(PIECE),
                Err(later) => return Ok(Pumped::Paused(later)),
            };
            let moved = match way {
                Way::ToPeer => self.read_client(streams, scratch, most)?,
                Way::ToClient => self.read_peer(streams, scratch, most)?,
            };
            police.streamed(way, moved.unwrap_or_default(), now);
            if moved.is_none() && self.source(way) == End::Open {
                return Ok(Pumped::Waits);
            }
        }
        Ok(Pumped::HasMore)
    }

    /// Something is held that a side has not taken: it will say when it takes more.
    pub fn holds(&self, way: Way) -> bool {
        match way {
            Way::ToPeer => !self.held.is_empty() || self.of_client == End::Come,
            Way::ToClient => self.client.holds() || self.of_peer == End::Come,
        }
    }

    /// Sets it; what it was.
    pub fn set_scheduled(&mut self, way: Way, scheduled: bool) -> bool {
        let [to_peer, to_client] = &mut self.is_scheduled;
        std::mem::replace(if way == Way::ToPeer { to_peer } else { to_client }, scheduled)
    }

    fn source(&self, way: Way) -> End {
        match way {
            Way::ToPeer => self.of_client,
            Way::ToClient => self.of_peer,
        }
    }

    fn is_over(&self) -> bool {
        (self.of_client, self.of_peer) == (End::PassedOn, End::PassedOn)
    }

    /// Reads from the client and writes to the peer what it takes at once. `None`: there is nothing now.
    fn read_client(
        &mut self,
        streams: &mut Streams,
        scratch: &mut [u8],
        most: usize,
    ) -> Result<Option<usize>, Ended> {
        let arrived = streams.receive(&mut self.client, scratch, most);
        match arrived.ended {
            None => {}
            Some(Ended::Peer) => self.of_client = End::Come,
            Some(broken) => return Err(broken),
        }
        // TLS may have something to say itself.
        streams.transmit(&mut self.client)?;
        let arrived_bytes = scratch.get(..arrived.bytes).unwrap_or_default();
        let taken = write(&mut self.peer, arrived_bytes)?;
        self.held.extend_from_slice(arrived_bytes.get(taken..).unwrap_or_default());
        Ok((arrived.any || arrived.more || arrived.bytes > 0).then_some(arrived.bytes))
    }

    fn read_peer(
        &mut self,
        streams: &mut Streams,
        scratch: &mut [u8],
        most: usize,
    ) -> Result<Option<usize>, Ended> {
        match self.peer.read(scratch.get_mut(..most).unwrap_or_default()) {
            Ok(0) => {
                self.of_peer = End::Come;
                Ok(Some(0))
            }
            Ok(bytes) => {
                streams.push(&mut self.client, scratch.get(..bytes).unwrap_or_default())?;
                streams.transmit(&mut self.client)?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Some(0)),
            Err(error) => Err(Ended::Broken(error)),
        }
    }

    /// True if nothing is held any more.
    fn flush_to_peer(&mut self) -> Result<bool, Ended> {
        let taken = write(&mut self.peer, &self.held)?;
        if taken == self.held.len() {
            // Who waits for the next bytes holds no memory.
            self.held = Vec::new();
        } else {
            self.held.drain(..taken);
        }
        Ok(self.held.is_empty())
    }

    /// False: the other side has not heard of it yet.
    fn pass_end_on(&mut self, way: Way, streams: &mut Streams) -> Result<bool, Ended> {
        match (way, self.of_client, self.of_peer) {
            (Way::ToPeer, End::Come, _) => {
                // Who is gone already need not be told.
                let _ = self.peer.shutdown(Shutdown::Write);
                self.of_client = End::PassedOn;
            }
            (Way::ToClient, _, End::Come) => {
                if !streams.end_writing(&mut self.client)? {
                    return Ok(false);
                }
                self.of_peer = End::PassedOn;
            }
            _ => {}
        }
        Ok(true)
    }
}

/// How many of `bytes` the socket takes.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize, Ended> {
    let mut taken = 0;
    while taken < bytes.len() {
        match socket.write(bytes.get(taken..).unwrap_or_default()) {
            Ok(0) => return Err(Ended::Broken(ErrorKind::WriteZero.into())),
            Ok(n) => taken += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Ended::Broken(error)),
        }
    }
    Ok(taken)
}
