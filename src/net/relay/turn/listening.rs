//! The relayed sockets of TCP allocations (RFC 6062 §5.1): they listen, and connections to peers begin at their ports.

use std::io;
use std::net::SocketAddr;

use mio::Interest;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::relayed::{Grounds, RelayedSockets, SLOT, slot_of};
use crate::base::{PeerAddr, RelayedAddr};
use crate::net::relay::pools::Taken;
use crate::net::relay::token::Ready;
use crate::relay::RelayAddress;
use crate::turn::sockets::{OpenError, RelaySocket, RelaySocketId};

/// Set in the id of a socket that listens.
pub(super) const LISTENS: u64 = 1 << 62;

/// A socket that listens on a port that is taken from its pool.
pub(super) struct Listening {
    socket: TcpListener,
    addr: RelayedAddr,
    taken: Taken,
}

impl RelayedSockets {
    /// Opens one.
    pub(super) fn listen(&mut self, address: RelayAddress) -> Result<RelaySocket, OpenError> {
        let bound = self.grounds.pools.bind_tcp(address.bind);
        let (taken, socket) = bound.map_err(|_| OpenError::PortsExhausted)?;
        let mut socket = TcpListener::from_std(socket);
        let entry = self.listening.vacant_entry();
        let token = Ready::Knock(entry.key()).token();
        if let Err(error) = self.grounds.registry.register(&mut socket, token, Interest::READABLE) {
            tracing::warn!(%error, "a relayed socket cannot be watched: raise fs.epoll.max_user_watches");
            drop(socket);
            self.grounds.pools.give_back_one(taken);
            return Err(OpenError::PortsExhausted);
        }
        self.serial += 1;
        let id = RelaySocketId(LISTENS | self.serial << SLOT | entry.key() as u64);
        let addr = RelayedAddr((address.advertise, taken.port).into());
        entry.insert((id, Listening { socket, addr, taken }));
        self.grounds.directory.listen(addr.0, self.grounds.worker);
        Ok(RelaySocket { id, addr })
    }

    /// Closes one.
    pub(super) fn stop_listening(&mut self, id: RelaySocketId) {
        let slot = slot_of(id);
        if self.listening.get(slot).is_some_and(|(there, _)| *there == id) {
            let (_, Listening { socket, addr, taken }) = self.listening.remove(slot);
            self.grounds.directory.remove(addr.0);
            drop(socket);
            self.grounds.pools.give_back_one(taken);
        }
    }

    /// A peer that wants to connect to the socket in a slot.
    pub fn accept(&self, slot: usize) -> io::Result<(RelaySocketId, TcpStream, PeerAddr)> {
        let (id, listening) = self.listening.get(slot).ok_or(io::ErrorKind::WouldBlock)?;
        let (socket, peer) = listening.socket.accept()?;
        Ok((*id, socket, PeerAddr(self.grounds.shown(peer))))
    }

    /// Begins a connection from a relayed address to `peer`.
    pub fn connect(&self, from: RelaySocketId, peer: PeerAddr) -> io::Result<TcpStream> {
        let (_, listening) =
            self.listening.get(slot_of(from)).filter(|(id, _)| *id == from).ok_or(io::ErrorKind::NotFound)?;
        let from = SocketAddr::new(listening.taken.bind, listening.taken.port);
        let socket = Socket::new(Domain::for_address(from), Type::STREAM, Some(Protocol::TCP))?;
        if from.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        // RFC 6062 §5.2: from the relayed address, where we listen already.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&from.into())?;
        match socket.connect(&self.grounds.real(peer.0).into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

impl Grounds {
    /// A relayed address of ours as others know it: its own socket may have another, which is translated one to one.
    fn shown(&self, peer: SocketAddr) -> SocketAddr {
        let others = self.addresses.iter().filter(|other| other.address.bind == peer.ip());
        let mut shown = others.map(|other| SocketAddr::new(other.address.advertise, peer.port()));
        shown.find(|shown| self.directory.listens(*shown)).unwrap_or(peer)
    }

    /// Where such an address really is.
    fn real(&self, peer: SocketAddr) -> SocketAddr {
        let own = self.addresses.iter().find(|own| own.address.advertise == peer.ip());
        match own.filter(|_| self.directory.listens(peer)) {
            Some(own) => SocketAddr::new(own.address.bind, peer.port()),
            None => peer,
        }
    }
}
