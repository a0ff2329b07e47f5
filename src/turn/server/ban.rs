//! Who may no longer: users and sources that are banned.

use std::net::IpAddr;
use std::time::Instant;

use super::{Freed, Server};
use crate::base::ban::Banned;
use crate::turn::allocation::Allocation;
use crate::turn::sockets::RelaySockets;

impl<S: RelaySockets> Server<S> {
    /// A source or a user is banned: their allocations are gone at once, and until then the source's requests are dropped
    /// and the user gets no other (403). The packet path asks nothing: without an allocation there is nothing to relay.
    pub fn ban(&mut self, banned: Banned, until: Option<Instant>, now: Instant) {
        match &banned {
            Banned::Network(_) => self.free_where(|a| banned.covers(a.row.client.client.0.ip())),
            Banned::User(name) => self.free_where(|a| a.user == *name),
        }
        self.bans.insert(banned, until, (), now);
    }

    /// A ban is over before its time.
    pub fn lift_ban(&mut self, banned: &Banned) {
        self.bans.remove(banned);
    }

    /// True while a ban of `source` lasts.
    pub(super) fn is_banned(&self, source: IpAddr, now: Instant) -> bool {
        self.bans.holds(source, now)
    }

    fn free_where(&mut self, is_gone: impl Fn(&Allocation) -> bool) {
        let theirs = |(slot, allocation): (usize, &Allocation)| is_gone(allocation).then_some(slot);
        let slots: Vec<usize> = self.allocations.iter().filter_map(theirs).collect();
        for slot in slots {
            self.free(slot, Freed::Revoked);
        }
    }
}
