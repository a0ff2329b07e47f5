//! Requests to an allocation that exists: Refresh (RFC 8656 §8.2), CreatePermission (§10.2), ChannelBind (§12.2).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{Freed, Server};
use crate::stun::{ErrorCode, Family};
use crate::turn::FiveTuple;
use crate::turn::allocation::granted_lifetime;
use crate::turn::channel::Fit;
use crate::turn::peers::Reach;
use crate::turn::sockets::RelaySockets;

impl<S: RelaySockets> Server<S> {
    /// The allocation of `client`, who says to be `user`.
    pub(super) fn owned(&self, client: FiveTuple, user: &str) -> Result<usize, ErrorCode> {
        let slot = *self.by_client.get(&client).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let owner = self.allocations.get(slot).map(|allocation| &*allocation.user);
        // RFC 8656 §5: only who made it may touch it.
        if owner == Some(user) { Ok(slot) } else { Err(ErrorCode::WRONG_CREDENTIALS) }
    }

    /// What it is refreshed to, by credentials that end in `left`; zero: it is gone.
    pub(super) fn refresh(
        &mut self,
        slot: usize,
        lifetime: Option<Duration>,
        family: Option<Family>,
        left: Option<Duration>,
        now: Instant,
    ) -> Result<Duration, ErrorCode> {
        let allocation = self.allocations.get_mut(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        // RFC 8656 §8.2: a family that the allocation has not is 443.
        let concerned = allocation.of_family(family).count();
        if concerned == 0 {
            return Err(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        }
        if lifetime != Some(Duration::ZERO) {
            let granted = granted_lifetime(lifetime, &allocation.role, left);
            allocation.refresh(family, now + granted);
            self.arm(slot);
            return Ok(granted);
        }
        match family {
            Some(family) if concerned < allocation.row.relayed.len() => self.free_family(slot, family),
            _ => self.free(slot, Freed::Client),
        }
        Ok(Duration::ZERO)
    }

    /// RFC 8656 §10.2: all of them or none.
    pub(super) fn create_permission(
        &mut self,
        slot: usize,
        peers: &[SocketAddr],
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let allocation = self.allocations.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        let ips: SmallVec<[IpAddr; 4]> = peers.iter().map(SocketAddr::ip).collect();
        let reaches: SmallVec<[Reach; 4]> =
            ips.iter().map(|ip| self.reach(allocation, *ip)).collect::<Result<_, _>>()?;
        if allocation.row.permissions.len_with(&ips) > self.settings.capacity.permissions {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        self.change(slot, |row| {
            for (ip, reach) in ips.into_iter().zip(reaches) {
                row.permissions.install(ip, reach, now);
            }
        });
        self.arm(slot);
        Ok(())
    }

    /// RFC 8656 §12.2: binds, or refreshes what is bound, and installs or refreshes the permission.
    pub(super) fn channel_bind(
        &mut self,
        slot: usize,
        number: u16,
        peer: SocketAddr,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let allocation = self.allocations.get(slot).ok_or(ErrorCode::ALLOCATION_MISMATCH)?;
        // RFC 6062 has no channels: its connections carry no headers.
        if allocation.tcp {
            return Err(ErrorCode::FORBIDDEN);
        }
        let (row, capacity) = (&allocation.row, self.settings.capacity);
        let fit = row.channels.fit(number, peer);
        if fit == Fit::Conflict {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let reach = self.reach(allocation, peer.ip())?;
        if !reach.holds(peer.port()) {
            return Err(ErrorCode::FORBIDDEN);
        }
        let no_channel = fit == Fit::New && row.channels.len() >= capacity.channels;
        if no_channel || row.permissions.len_with(&[peer.ip()]) > capacity.permissions {
            return Err(ErrorCode::INSUFFICIENT_CAPACITY);
        }
        self.change(slot, |row| {
            row.channels.bind(number, peer, now);
            row.permissions.install(peer.ip(), reach, now);
        });
        self.arm(slot);
        Ok(())
    }
}
