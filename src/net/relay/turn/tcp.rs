//! TCP allocations (RFC 6062) on their worker: what the server wants of connections with peers, and what their sockets say.

use std::io;
use std::time::Instant;

use super::Turn;
use crate::base::{Now, PeerAddr};
use crate::net::relay::mailbox::Command;
use crate::net::relay::peers::{Around, Peers};
use crate::net::relay::streams::{HandedOver, Leaving};
use crate::net::relay::token::Ready;
use crate::turn::connection::ConnectionId;
use crate::turn::sockets::RelaySocketId;

/// Peers accepted on one relayed socket before media goes on.
const ACCEPTS: usize = 16;

impl Turn {
    /// Connects to a peer.
    pub(super) fn connect(&mut self, connection: ConnectionId, from: RelaySocketId, to: PeerAddr) {
        let socket = self.server.sockets().connect(from, to);
        if let Err(error) = socket.and_then(|socket| self.peers.connect(connection, socket)) {
            tracing::debug!(%error, "a connection to a peer cannot be made");
            self.server.handle_disconnected(connection);
        }
    }

    /// Peers want to connect to the relayed socket in a slot. True: there may be more of them.
    pub fn accept_peers(&mut self, slot: usize, now: Instant) -> bool {
        for _ in 0..ACCEPTS {
            let (socket, stream, peer) = match self.server.sockets().accept(slot) {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a peer's connection; raise `ulimit -n` if this goes on");
                    return false;
                }
            };
            if let Some(connection) = self.server.handle_accepted(socket, peer, now)
                && let Err(error) = self.peers.accept(connection, stream)
            {
                tracing::warn!(%error, "a peer's connection cannot be watched: raise fs.epoll.max_user_watches");
                self.server.handle_disconnected(connection);
            }
        }
        true
    }

    /// A socket of a connection with a peer has something to say.
    pub fn look_at(&mut self, ready: Ready, scratch: &mut [u8], now: Instant) {
        let (peers, mut around) = self.peers(scratch, now);
        match ready {
            Ready::Peer(slot) => peers.look_at_peer(slot, &mut around),
            Ready::Data(slot) => peers.look_at_client(slot, &mut around),
            _ => {}
        }
    }

    /// Serves what had its turns in the round before.
    pub fn begin_round(&mut self, scratch: &mut [u8], now: Instant) {
        let (peers, mut around) = self.peers(scratch, now);
        peers.begin_round(&mut around);
    }

    /// Clients' connections that carry no messages any more go where they belong. True if there are any.
    pub(super) fn move_leaving(&mut self, scratch: &mut [u8], now: Instant) -> bool {
        let mut any = false;
        while let Some((connection, leaving)) = self.streams.next_leaving() {
            any = true;
            match (leaving, connection) {
                (Leaving::Bound { connection: id, .. }, Some(client)) => {
                    let (peers, mut around) = self.peers(scratch, now);
                    peers.bind(id, client, &mut around);
                }
                (Leaving::HandedOver { worker, request, .. }, Some(connection)) => {
                    self.hand_over(worker, HandedOver { connection, request });
                }
                // It ended meanwhile, and was closed.
                (_, None) => {}
            }
        }
        any
    }

    fn hand_over(&mut self, worker: u32, connection: HandedOver) {
        let Some(mailbox) = self.mailboxes.get(worker as usize) else { return };
        match mailbox.offer(Command::Adopt(connection)) {
            Some(Command::Adopt(HandedOver { connection, .. })) => self.streams.close(connection),
            _ => self.streams.count_handed_over(),
        }
    }

    /// Serves a client's connection that another worker has accepted, beginning with a request.
    pub fn adopt(&mut self, HandedOver { connection, request }: HandedOver, now: Now) {
        let client = self.streams.adopt(connection, now.instant);
        let length = request.len();
        self.handle_client(client, &request, 0..length, now);
    }

    fn peers<'a>(&'a mut self, scratch: &'a mut [u8], now: Instant) -> (&'a mut Peers, Around<'a>) {
        (&mut self.peers, Around { server: &mut self.server, streams: &mut self.streams, scratch, now })
    }
}
