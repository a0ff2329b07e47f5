//! Who may hold how much: roles, and the books that all workers of a node share. The books are opened per request, never
//! per packet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::peers::Peers;
use super::sockets::RelaySocket;

/// What the users of a role may do.
#[derive(Clone, Debug)]
pub struct Role {
    /// Relayed transport addresses at once, per user: one more is a 486. Reservations count, and are as many at most.
    pub allocations: usize,
    /// Bytes of payload per second, per allocation and direction; `None`: no limit.
    pub bandwidth: Option<u64>,
    /// The longest lifetime that an allocation is given.
    pub lifetime: Duration,
    /// Whom they may reach.
    pub peers: Peers,
    /// Whom they may not, though `peers` holds them.
    pub deny: Vec<IpNetwork>,
    /// TCP allocations too (RFC 6062).
    pub tcp: bool,
}

/// What is full when.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Relayed transport addresses of all users, with reserved ones: one more is a 508.
    pub allocations: usize,
    /// Permissions of one allocation: one more is a 508.
    pub permissions: usize,
    /// Channels of one allocation: one more is a 508.
    pub channels: usize,
    /// TCP connections between one allocation and its peers (RFC 6062): one more is a 508, or closed at once if it was the
    /// peer's wish.
    pub peer_connections: usize,
    /// The same, of all allocations of the node.
    pub all_peer_connections: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity {
            allocations: 20_000,
            permissions: 64,
            channels: 64,
            peer_connections: 16,
            all_peer_connections: 10_000,
        }
    }
}

/// RFC 8656 §18.10: eight bytes; nobody can guess them.
pub type ReservationToken = [u8; 8];

/// Why nothing more can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The user holds all that the role allows.
    User,
    /// The node holds all that it can.
    Node,
}

/// The books of a node: who holds how many relayed transport addresses, which are reserved, and how many connections with
/// peers there are. Cloning gives another hand on the same books.
#[derive(Clone, Debug)]
pub struct Books(Arc<Mutex<Pages>>);

#[derive(Debug)]
struct Pages {
    capacity: usize,
    held: usize,
    peer_connections: usize,
    by_user: HashMap<Arc<str>, usize>,
    reserved: HashMap<ReservationToken, (Arc<str>, RelaySocket)>,
}

impl Books {
    /// Nothing is held; `capacity` relayed transport addresses can be.
    pub fn new(capacity: usize) -> Self {
        let pages = Pages {
            capacity,
            held: 0,
            peer_connections: 0,
            by_user: HashMap::new(),
            reserved: HashMap::new(),
        };
        Books(Arc::new(Mutex::new(pages)))
    }

    /// Books `count` more relayed transport addresses to `user`, who may hold `most`.
    pub fn take(&self, user: &Arc<str>, count: usize, most: usize) -> Result<(), Full> {
        let mut pages = self.open();
        let of_user = pages.by_user.get(user).copied().unwrap_or_default();
        if of_user + count > most {
            return Err(Full::User);
        }
        if pages.held + count > pages.capacity {
            return Err(Full::Node);
        }
        pages.held += count;
        *pages.by_user.entry(user.clone()).or_default() += count;
        Ok(())
    }

    /// Gives `count` back.
    pub fn give_back(&self, user: &Arc<str>, count: usize) {
        let mut pages = self.open();
        pages.held = pages.held.saturating_sub(count);
        if let Some(of_user) = pages.by_user.get_mut(user) {
            *of_user = of_user.saturating_sub(count);
            if *of_user == 0 {
                pages.by_user.remove(user);
            }
        }
    }

    /// Keeps a relayed transport address that is already booked to `user` for whoever brings the token.
    pub fn reserve(&self, token: ReservationToken, user: Arc<str>, socket: RelaySocket) {
        self.open().reserved.insert(token, (user, socket));
    }

    /// The address that `user` reserved: once, then it is theirs. Another user's token is no token.
    pub fn redeem(&self, token: ReservationToken, user: &str) -> Option<RelaySocket> {
        let mut pages = self.open();
        pages.reserved.get(&token).filter(|(owner, _)| **owner == *user)?;
        pages.reserved.remove(&token).map(|(_, socket)| socket)
    }

    /// A reservation whose time is over: what to close, if nobody came for it.
    pub fn expire(&self, token: ReservationToken) -> Option<RelaySocket> {
        let (owner, socket) = self.open().reserved.remove(&token)?;
        self.give_back(&owner, 1);
        Some(socket)
    }

    /// Books one more TCP connection with a peer, if there are fewer than `most`.
    pub fn take_peer_connection(&self, most: usize) -> Result<(), Full> {
        let mut pages = self.open();
        if pages.peer_connections >= most {
            return Err(Full::Node);
        }
        pages.peer_connections += 1;
        Ok(())
    }

    /// Gives one back.
    pub fn give_back_peer_connection(&self) {
        let mut pages = self.open();
        pages.peer_connections = pages.peer_connections.saturating_sub(1);
    }

    /// How many TCP connections with peers there are.
    pub fn peer_connections(&self) -> usize {
        self.open().peer_connections
    }

    /// How many relayed transport addresses are held or reserved.
    pub fn held(&self) -> usize {
        self.open().held
    }

    /// How many of them are reserved.
    pub fn reserved(&self) -> usize {
        self.open().reserved.len()
    }

    /// No page is ever left half written, so a reader that panicked has spoilt nothing.
    fn open(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::RelayedAddr;
    use crate::turn::sockets::RelaySocketId;

    fn socket() -> RelaySocket {
        RelaySocket { id: RelaySocketId(1), addr: RelayedAddr("192.0.2.1:40001".parse().unwrap()) }
    }

    #[test]
    fn a_user_is_full_before_the_node_is() {
        let (books, alice, bob) = (Books::new(3), Arc::from("alice"), Arc::from("bob"));
        assert_eq!(books.take(&alice, 2, 2), Ok(()));
        assert_eq!(books.take(&alice, 1, 2), Err(Full::User));
        assert_eq!(books.take(&bob, 2, 2), Err(Full::Node));
        assert_eq!(books.take(&bob, 1, 2), Ok(()));
        books.give_back(&alice, 2);
        books.give_back(&bob, 1);
        assert_eq!(books.held(), 0);
        assert!(books.open().by_user.is_empty());
    }

    #[test]
    fn a_token_is_good_once_and_only_for_its_user() {
        let (books, alice) = (Books::new(9), Arc::<str>::from("alice"));
        books.take(&alice, 1, 9).unwrap();
        books.reserve([1; 8], alice, socket());
        assert_eq!(books.redeem([1; 8], "mallory"), None);
        assert_eq!(books.redeem([2; 8], "alice"), None);
        assert_eq!(books.redeem([1; 8], "alice"), Some(socket()));
        assert_eq!(books.redeem([1; 8], "alice"), None);
        assert_eq!(books.expire([1; 8]), None);
        assert_eq!(books.held(), 1);
    }

    #[test]
    fn a_reservation_nobody_came_for_is_given_back() {
        let (books, alice) = (Books::new(9), Arc::<str>::from("alice"));
        books.take(&alice, 1, 9).unwrap();
        books.reserve([1; 8], alice, socket());
        assert_eq!(books.expire([1; 8]), Some(socket()));
        assert_eq!((books.held(), books.reserved()), (0, 0));
    }
}
