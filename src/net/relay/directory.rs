//! Who has which relayed transport address: a table of all ports for each relay address, written when a socket opens and
//! closes, read by anyone without a lock.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::token::PairSocket;
use crate::relay::Owner;

/// Where in its worker a relayed address is at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// It is a media pair's.
    Pair(PairSocket),
    /// It is an allocation's: the relayed socket in this slot.
    Relayed(usize),
}

/// Bits for the index of a home, with its kind; those above it are the worker's number, plus one.
const INDEX: u32 = 24;
/// The worker knows of it but has not yet said where.
const NOWHERE: u32 = (1 << INDEX) - 1;
/// It listens for TCP connections: no packet is for it.
const LISTENS: u32 = NOWHERE - 1;

/// The tables of all relay addresses, as advertised.
pub(super) struct Directory(Vec<(IpAddr, Box<[AtomicU32]>)>);

impl Directory {
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Directory {
        let mut tables: Vec<(IpAddr, Box<[AtomicU32]>)> = Vec::new();
        for address in addresses {
            if !tables.iter().any(|(ip, _)| *ip == address) {
                tables.push((address, (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect()));
            }
        }
        Directory(tables)
    }

    /// The relay addresses.
    pub fn addresses(&self) -> Arc<[IpAddr]> {
        self.0.iter().map(|(ip, _)| *ip).collect()
    }

    /// True if one of the sockets of this process has it.
    pub fn is_open(&self, addr: SocketAddr) -> bool {
        self.entry(addr).is_some_and(|entry| entry.load(Ordering::Relaxed) != 0)
    }

    /// Whose it is, if it is one of this process.
    pub fn owner_of(&self, addr: SocketAddr) -> Option<Owner> {
        let entry = self.entry(addr)?.load(Ordering::Relaxed);
        let is_of_pair = || match entry & NOWHERE {
            // Only sockets of pairs are promised.
            NOWHERE => true,
            LISTENS => false,
            index => matches!(Home::from_index(index), Home::Pair(_)),
        };
        (entry != 0).then(|| if is_of_pair() { Owner::Pair } else { Owner::Allocation })
    }

    /// Which worker takes packets for it, and where; no home in the moment before the worker has it.
    #[inline]
    pub fn find(&self, addr: SocketAddr) -> Option<(usize, Option<Home>)> {
        let entry = self.entry(addr)?.load(Ordering::Relaxed);
        let worker = (entry >> INDEX).checked_sub(1)?;
        let index = entry & NOWHERE;
        let home = || (index != NOWHERE).then(|| Home::from_index(index));
        (index != LISTENS).then(|| (worker as usize, home()))
    }

    /// True if a TCP allocation of this process listens there.
    pub fn listens(&self, addr: SocketAddr) -> bool {
        self.entry(addr).is_some_and(|entry| entry.load(Ordering::Relaxed) & NOWHERE == LISTENS)
    }

    /// `worker` will have it in a moment, as a socket of a pair.
    pub fn promise(&self, addr: SocketAddr, worker: usize) {
        self.write(addr, place(worker) | NOWHERE);
    }

    /// It is where it was promised, unless it was given up meanwhile.
    pub fn keep_promise(&self, addr: SocketAddr, worker: usize, home: Home) {
        if let Some(entry) = self.entry(addr) {
            let (promised, kept) = (place(worker) | NOWHERE, place(worker) | home.index());
            let _ = entry.compare_exchange(promised, kept, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// `worker` has it.
    pub fn enter(&self, addr: SocketAddr, worker: usize, home: Home) {
        self.write(addr, place(worker) | home.index());
    }

    /// `worker` has it, and listens there for TCP connections.
    pub fn listen(&self, addr: SocketAddr, worker: usize) {
        self.write(addr, place(worker) | LISTENS);
    }

    /// Nobody has it.
    pub fn remove(&self, addr: SocketAddr) {
        self.write(addr, 0);
    }

    fn write(&self, addr: SocketAddr, value: u32) {
        if let Some(entry) = self.entry(addr) {
            entry.store(value, Ordering::Relaxed);
        }
    }

    #[inline]
    fn entry(&self, addr: SocketAddr) -> Option<&AtomicU32> {
        let (_, table) = self.0.iter().find(|(ip, _)| *ip == addr.ip())?;
        table.get(usize::from(addr.port()))
    }
}

fn place(worker: usize) -> u32 {
    (worker as u32 + 1) << INDEX
}

impl Home {
    fn index(self) -> u32 {
        let (kind, index) = match self {
            Home::Pair(socket) => (0, socket.index()),
            Home::Relayed(slot) => (1, slot),
        };
        (index << 1 | kind) as u32 & NOWHERE
    }

    fn from_index(index: u32) -> Home {
        let (kind, index) = (index & 1, (index >> 1) as usize);
        if kind == 0 { Home::Pair(PairSocket::from_index(index)) } else { Home::Relayed(index) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{Component, Side};

    #[test]
    fn an_address_is_found_where_it_is_and_only_while_it_is_there() {
        let directory =
            Directory::new(["192.0.2.1", "2001:db8::1", "192.0.2.1"].map(|ip| ip.parse().unwrap()));
        let pair = Home::Pair(PairSocket { slot: 9, side: Side::B, component: Component::Rtcp });
        let v4: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        let v6: SocketAddr = "[2001:db8::1]:65535".parse().unwrap();
        assert_eq!(directory.find(v4), None);
        directory.promise(v4, 0);
        assert!(directory.is_open(v4));
        assert_eq!(directory.find(v4), Some((0, None)));
        directory.keep_promise(v4, 0, pair);
        assert_eq!(directory.find(v4), Some((0, Some(pair))));
        directory.enter(v6, 254, Home::Relayed(70_000));
        assert_eq!(directory.find(v6), Some((254, Some(Home::Relayed(70_000)))));
        directory.listen(v6, 254);
        assert!(directory.is_open(v6) && directory.listens(v6) && !directory.listens(v4));
        assert_eq!(directory.find(v6), None, "no packet is for it");
        directory.remove(v4);
        assert!(!directory.is_open(v4));
        directory.keep_promise(v4, 0, pair);
        assert_eq!(directory.find(v4), None, "closed before the worker had it");
        assert!(!directory.is_open("192.0.2.2:40000".parse().unwrap()));
    }
}
