//! Whom allocations reach: asked when they want to, and again when calls come and go.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::Server;
use crate::base::PeerAddr;
use crate::stun::{ErrorCode, Family};
use crate::turn::allocation::Allocation;
use crate::turn::connection::ConnectionId;
use crate::turn::forward::Row;
use crate::turn::peers::{Peers, Reach};
use crate::turn::sockets::RelaySockets;

impl<S: RelaySockets> Server<S> {
    /// A call that was admitted named this media address: roles of `peers: calls` may reach it.
    pub fn open_call_peer(&mut self, peer: PeerAddr) {
        if self.around.open_call_peer(peer.0) {
            self.reach_changed(peer.0.ip());
        }
    }

    /// Such a call ended, or moved its media. With the last of them every permission for the address is gone at once.
    pub fn close_call_peer(&mut self, peer: PeerAddr) {
        if self.around.close_call_peer(peer.0) {
            self.reach_changed(peer.0.ip());
        }
    }

    /// What calls allow at `ip` has changed: permissions, channels and connections follow.
    fn reach_changed(&mut self, ip: IpAddr) {
        // Whose role denies `ip` has nothing to do with it.
        let reach = self.around.reach(&Peers::Calls, &[], ip);
        let concerned: Vec<usize> =
            self.by_peer.range((ip, 0)..=(ip, usize::MAX)).map(|(_, slot)| *slot).collect();
        for slot in concerned {
            self.end_connections(slot, |peer| peer.0.ip() == ip && !reach.holds(peer.0.port()));
            self.change(slot, |row| {
                row.permissions.set_reach(ip, &reach);
                row.channels.retain(|peer| peer.ip() != ip || reach.holds(peer.port()));
            });
        }
    }

    /// Changes what an allocation is allowed, and with it what the counters say and who is asked when calls change.
    pub(super) fn change(&mut self, slot: usize, with: impl FnOnce(&mut Row)) {
        let Some(Allocation { row, .. }) = self.allocations.get_mut(slot) else { return };
        let (permissions, channels) = (row.permissions.len(), row.channels.len());
        let before: SmallVec<[IpAddr; 4]> = row.permissions.iter().collect();
        with(row);
        self.counters.permissions.change(permissions, row.permissions.len());
        self.counters.channels.change(channels, row.channels.len());
        let after: SmallVec<[IpAddr; 4]> = row.permissions.iter().collect();
        self.unlist_peers(slot, before);
        for ip in after {
            self.list_peer(slot, ip);
        }
    }

    /// What the allocation may reach at `ip`. RFC 8656 §10.2: 443 if it has no relayed address of that family, 403 if
    /// the answer is nothing.
    pub(super) fn reach(&self, allocation: &Allocation, ip: IpAddr) -> Result<Reach, ErrorCode> {
        if allocation.of_family(Some(Family::of(ip))).next().is_none() {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        let reach = self.around.reach(&allocation.role.peers, &allocation.role.deny, ip);
        if reach.is_nothing() { Err(ErrorCode::FORBIDDEN) } else { Ok(reach) }
    }

    /// Ends those connections of an allocation that `which` names.
    pub(super) fn end_connections(&mut self, slot: usize, which: impl Fn(PeerAddr) -> bool) {
        let Some(allocation) = self.allocations.get(slot) else { return };
        let is_meant = |id: &&ConnectionId| self.connections.get(*id).is_some_and(|entry| which(entry.peer));
        let ending: SmallVec<[ConnectionId; 4]> =
            allocation.connections.iter().filter(is_meant).copied().collect();
        for connection in ending {
            self.end_connection(connection);
        }
    }

    /// An allocation has something to do with `ip` that depends on calls.
    pub(super) fn list_peer(&mut self, slot: usize, ip: IpAddr) {
        let role = self.allocations.get(slot).map(|allocation| &allocation.role.peers);
        // At addresses of ours calls open nothing.
        if role == Some(&Peers::Calls) && !self.settings.own.relay_addresses.contains(&ip) {
            self.by_peer.insert((ip, slot));
        }
    }

    /// An allocation may have nothing to do with `ips` any more.
    pub(super) fn unlist_peers(&mut self, slot: usize, ips: impl IntoIterator<Item = IpAddr>) {
        for ip in ips {
            if !self.allocations.get(slot).is_some_and(|allocation| self.has_peer(allocation, ip)) {
                self.by_peer.remove(&(ip, slot));
            }
        }
    }

    fn has_peer(&self, allocation: &Allocation, ip: IpAddr) -> bool {
        let is_there =
            |id: &ConnectionId| self.connections.get(id).is_some_and(|entry| entry.peer.0.ip() == ip);
        allocation.row.permissions.iter().any(|permitted| permitted == ip)
            || allocation.connections.iter().any(is_there)
    }
}
