//! Who may no longer: a user, or a source that policy has banned.

use std::net::IpAddr;
use std::time::Instant;

use super::{Freed, Server};
use crate::base::ban::banned;
use crate::turn::allocation::Allocation;
use crate::turn::sockets::RelaySockets;

impl<S: RelaySockets> Server<S> {
    /// A user may no longer: all their allocations here are gone at once.
    pub fn revoke(&mut self, user: &str) {
        self.free_where(|allocation| *allocation.user == *user);
    }

    /// Policy has banned `source`: its allocations are gone at once, and until then its requests are dropped. The packet
    /// path asks nothing: without an allocation there is nothing to relay.
    pub fn ban(&mut self, source: IpAddr, until: Instant, now: Instant) {
        self.bans.insert(source, until, now);
        self.free_where(|allocation| banned(allocation.row.client.client.0.ip()) == banned(source));
    }

    /// True while a ban of `source` lasts: its connections are not worth taking.
    pub fn refuses(&self, source: IpAddr, now: Instant) -> bool {
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
