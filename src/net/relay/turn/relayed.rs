//! The relayed sockets of a worker's allocations, and those that wait for the holder of a reservation token.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use slab::Slab;

use super::listening::{LISTENS, Listening};
use crate::base::{PeerAddr, RelayedAddr, should_shrink};
use crate::net::relay::directory::{Directory, Home};
use crate::net::relay::pools::{Pools, Taken};
use crate::net::relay::token::Ready;
use crate::net::settings::TurnAddress;
use crate::net::udp::{keep_undelivered, set_dont_fragment};
use crate::relay::RelayAddress;
use crate::stun::Family;
use crate::turn::FiveTuple;
use crate::turn::sockets::{OpenError, Opened, Port, RelaySocket, RelaySocketId, RelaySockets};

/// Bits of a [`RelaySocketId`] that say in which slot the socket is; those above are never the same twice.
pub(super) const SLOT: u32 = 24;
/// Set in the id of a reserved socket, which no worker hears.
const RESERVED: u64 = 1 << 63;

/// What all workers share: a reserved socket may be opened by another worker than the one that bound it.
#[derive(Clone, Default)]
pub(in crate::net::relay) struct Reserve(Arc<Mutex<Reserved>>);

#[derive(Default)]
struct Reserved {
    last: u64,
    sockets: HashMap<RelaySocketId, Bound>,
}

/// A socket on a port that is taken from its pool.
struct Bound {
    socket: UdpSocket,
    addr: RelayedAddr,
    taken: Taken,
}

/// What the sockets are made of.
pub(in crate::net::relay) struct Grounds {
    /// This worker's number in the directory.
    pub worker: usize,
    pub addresses: Vec<TurnAddress>,
    pub pools: Arc<Pools>,
    pub directory: Arc<Directory>,
    pub reserve: Reserve,
    pub registry: Registry,
}

/// The sockets of one worker.
pub(in crate::net::relay) struct RelayedSockets {
    pub(super) grounds: Grounds,
    open: Slab<(RelaySocketId, Bound)>,
    /// Of TCP allocations.
    pub(super) listening: Slab<(RelaySocketId, Listening)>,
    pub(super) serial: u64,
}

impl RelayedSockets {
    pub fn new(grounds: Grounds) -> RelayedSockets {
        RelayedSockets { grounds, open: Slab::new(), listening: Slab::new(), serial: 0 }
    }

    /// The socket of this name.
    #[inline]
    pub fn get(&self, id: RelaySocketId) -> Option<&UdpSocket> {
        let (there, bound) = self.open.get(slot_of(id))?;
        (*there == id).then_some(&bound.socket)
    }

    /// The socket in a slot, and its name.
    #[inline]
    pub fn in_slot(&self, slot: usize) -> Option<(RelaySocketId, &UdpSocket)> {
        self.open.get(slot).map(|(id, bound)| (*id, &bound.socket))
    }

    /// Hears a socket from now on.
    fn hear(&mut self, bound: Bound) -> Result<RelaySocket, OpenError> {
        let entry = self.open.vacant_entry();
        let slot = entry.key();
        let fd = bound.socket.as_raw_fd();
        let token = Ready::Relayed(slot).token();
        if let Err(error) = self.grounds.registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
            tracing::warn!(%error, "a relayed socket cannot be watched: raise fs.epoll.max_user_watches");
            self.grounds.give_back(bound);
            return Err(OpenError::PortsExhausted);
        }
        self.serial += 1;
        let id = RelaySocketId(self.serial << SLOT | slot as u64);
        let addr = bound.addr;
        entry.insert((id, bound));
        self.grounds.directory.enter(addr.0, self.grounds.worker, Home::Relayed(slot));
        Ok(RelaySocket { id, addr })
    }
}

impl RelaySockets for RelayedSockets {
    fn open(&mut self, client: FiveTuple, family: Family, port: Port) -> Result<Opened, OpenError> {
        let Some(address) = choose(&self.grounds.addresses, client.client.0.ip(), family) else {
            return Err(OpenError::Family);
        };
        if port == Port::Tcp {
            return Ok(Opened { socket: self.listen(address)?, reserved: None });
        }
        if port == Port::EvenAndNext {
            let (even, next) = self.grounds.bind_pair(address)?;
            let socket = match self.hear(even) {
                Ok(socket) => socket,
                Err(error) => {
                    self.grounds.give_back(next);
                    return Err(error);
                }
            };
            return Ok(Opened { socket, reserved: Some(self.grounds.reserve.put(next)) });
        }
        let bound = self.grounds.bind_one(address, port == Port::Even)?;
        Ok(Opened { socket: self.hear(bound)?, reserved: None })
    }

    fn open_reserved(&mut self, reserved: RelaySocket) -> Result<RelaySocket, OpenError> {
        let bound = self.grounds.reserve.take(reserved.id).ok_or(OpenError::PortsExhausted)?;
        self.hear(bound)
    }

    fn is_open_tcp(&self, peer: PeerAddr) -> bool {
        self.grounds.directory.listens(peer.0)
    }

    fn close(&mut self, socket: RelaySocketId) {
        if let Some(bound) = self.grounds.reserve.take(socket) {
            return self.grounds.give_back(bound);
        }
        if socket.0 & LISTENS != 0 {
            return self.stop_listening(socket);
        }
        let slot = slot_of(socket);
        if self.open.get(slot).is_some_and(|(id, _)| *id == socket) {
            let (_, bound) = self.open.remove(slot);
            self.grounds.directory.remove(bound.addr.0);
            self.grounds.give_back(bound);
            if should_shrink(self.open.len(), self.open.capacity()) {
                self.open.shrink_to_fit();
            }
        }
    }
}

impl Grounds {
    fn bind_one(&self, address: RelayAddress, even: bool) -> Result<Bound, OpenError> {
        let bound = self.pools.bind_one(address.bind, even);
        let (taken, socket) = bound.map_err(|_| OpenError::PortsExhausted)?;
        Ok(Bound::new(address, socket, taken))
    }

    /// An even port and the next.
    fn bind_pair(&self, address: RelayAddress) -> Result<(Bound, Bound), OpenError> {
        let bound = self.pools.bind_pair(address.bind);
        let (taken, [even, next]) = bound.map_err(|_| OpenError::PortsExhausted)?;
        let after = Taken { port: taken.port + 1, ..taken };
        Ok((Bound::new(address, even, taken), Bound::new(address, next, after)))
    }

    /// Closes the socket first: until then the port cannot be bound again.
    fn give_back(&self, Bound { socket, taken, .. }: Bound) {
        drop(socket);
        self.pools.give_back_one(taken);
    }
}

impl Bound {
    /// Without these options the socket still relays, so that one that the kernel does not know is no reason to refuse.
    fn new(address: RelayAddress, socket: UdpSocket, taken: Taken) -> Bound {
        let _ = keep_undelivered(&socket, taken.bind.is_ipv6());
        let _ = set_dont_fragment(&socket, false);
        Bound { socket, addr: RelayedAddr((address.advertise, taken.port).into()), taken }
    }
}

impl Reserve {
    fn put(&self, bound: Bound) -> RelaySocket {
        let mut reserved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.last += 1;
        let socket = RelaySocket { id: RelaySocketId(RESERVED | reserved.last), addr: bound.addr };
        reserved.sockets.insert(socket.id, bound);
        socket
    }

    fn take(&self, id: RelaySocketId) -> Option<Bound> {
        if id.0 & RESERVED == 0 {
            return None;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sockets.remove(&id)
    }
}

pub(super) fn slot_of(id: RelaySocketId) -> usize {
    (id.0 & ((1 << SLOT) - 1)) as usize
}

/// The relay address that a client is given: one of its zone, or one for anybody, or the first of the family.
fn choose(addresses: &[TurnAddress], client: IpAddr, family: Family) -> Option<RelayAddress> {
    let client = client.to_canonical();
    let of_family = || addresses.iter().filter(|address| Family::of(address.address.bind) == family);
    let theirs = |address: &&TurnAddress| address.networks.iter().any(|network| network.contains(client));
    of_family()
        .find(theirs)
        .or_else(|| of_family().find(|address| address.networks.is_empty()))
        .or_else(|| of_family().next())
        .map(|address| address.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_given_an_address_of_its_zone_then_one_for_anybody_then_the_first() {
        let address = |ip: &str, networks: &[&str]| TurnAddress {
            address: RelayAddress { bind: ip.parse().unwrap(), advertise: ip.parse().unwrap() },
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        };
        let mut addresses = vec![
            address("192.0.2.1", &["10.0.0.0/8"]),
            address("2001:db8::1", &["fd00::/8"]),
            address("192.0.2.2", &["172.16.0.0/12", "100.64.0.0/10"]),
            address("192.0.2.3", &[]),
        ];
        let chosen = |addresses: &[TurnAddress], client: &str, family| {
            choose(addresses, client.parse().unwrap(), family).map(|address| address.bind.to_string())
        };
        let v4 = |addresses: &[TurnAddress], client| chosen(addresses, client, Family::V4).unwrap();
        assert_eq!(v4(&addresses, "10.1.1.1"), "192.0.2.1");
        assert_eq!(v4(&addresses, "::ffff:100.64.1.1"), "192.0.2.2");
        assert_eq!(v4(&addresses, "203.0.113.1"), "192.0.2.3");
        assert_eq!(chosen(&addresses, "10.1.1.1", Family::V6).unwrap(), "2001:db8::1");
        addresses.pop();
        assert_eq!(v4(&addresses, "203.0.113.1"), "192.0.2.1");
        addresses.remove(1);
        assert_eq!(chosen(&addresses, "fd00::1", Family::V6), None);
    }
}
