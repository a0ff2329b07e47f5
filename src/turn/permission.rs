//! Permissions (RFC 8656 §9): which peer addresses an allocation may talk to. Few per allocation, so a list.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::peers::Reach;

/// RFC 8656 §9: five minutes from the last CreatePermission or ChannelBind.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// One peer address.
#[derive(Clone, Debug)]
struct Permission {
    ip: IpAddr,
    reach: Reach,
    expires: Instant,
}

/// All of an allocation.
#[derive(Clone, Debug, Default)]
pub struct Permissions(SmallVec<[Permission; 1]>);

impl Permissions {
    /// What is open at `peer`'s address, if that holds its port.
    #[inline]
    pub fn find(&self, peer: SocketAddr, now: Instant) -> Option<&Reach> {
        let permission = self.0.iter().find(|permission| permission.ip == peer.ip())?;
        (permission.expires > now && permission.reach.holds(peer.port())).then_some(&permission.reach)
    }

    /// Installs or refreshes one. The caller has seen to the capacity.
    pub fn install(&mut self, ip: IpAddr, reach: Reach, now: Instant) {
        let expires = now + LIFETIME;
        match self.0.iter_mut().find(|permission| permission.ip == ip) {
            Some(permission) => *permission = Permission { ip, reach, expires },
            None => self.0.push(Permission { ip, reach, expires }),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there would be with `ips`.
    pub fn len_with(&self, ips: &[IpAddr]) -> usize {
        let is_new = |(i, ip): &(usize, &IpAddr)| {
            !self.0.iter().any(|permission| permission.ip == **ip)
                && !ips.iter().take(*i).any(|other| other == *ip)
        };
        self.0.len() + ips.iter().enumerate().filter(is_new).count()
    }

    /// What is open at `ip` has changed; nothing: the permission is gone.
    pub fn set_reach(&mut self, ip: IpAddr, reach: &Reach) {
        self.0.retain(|permission| permission.ip != ip || !reach.is_nothing());
        if let Some(permission) = self.0.iter_mut().find(|permission| permission.ip == ip) {
            permission.reach.clone_from(reach);
        }
    }

    /// Removes what has expired.
    pub fn purge(&mut self, now: Instant) {
        self.0.retain(|permission| permission.expires > now);
    }

    /// Removes those whose peers `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(IpAddr) -> bool) {
        self.0.retain(|permission| keep(permission.ip));
    }

    /// When the first of them expires.
    pub fn first_expiry(&self) -> Option<Instant> {
        self.0.iter().map(|permission| permission.expires).min()
    }

    /// The peer addresses.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().map(|permission| permission.ip)
    }
}
