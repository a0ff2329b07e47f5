//! An allocation (RFC 8656 §3.2): its row in the packet path, and what only requests touch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::base::{RelayedAddr, TimerId};
use crate::stun::{ErrorCode, Family, TransactionId};

use super::FiveTuple;
use super::connection::ConnectionId;
use super::forward::{Relayed, Row, Traffic};
use super::quota::{ReservationToken, Role};
use super::rules::Leave;

/// RFC 8656 §3.2: ten minutes, unless asked for more.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// What the answer to an Allocate says besides the addresses: kept for its retransmissions (RFC 8656 §7.2).
#[derive(Clone, Debug)]
pub struct Birth {
    /// Of the request.
    pub transaction: TransactionId,
    /// As it was granted.
    pub lifetime: Duration,
    /// Of the next port.
    pub token: Option<ReservationToken>,
    /// The family that could not be had, and why.
    pub refused: Option<(Family, ErrorCode)>,
}

/// An allocation.
pub struct Allocation {
    /// What the packet path needs.
    pub row: Row,
    /// Whose it is.
    pub user: Arc<str>,
    /// What they may do.
    pub role: Arc<Role>,
    /// Its relayed transport addresses listen for TCP connections (RFC 6062).
    pub tcp: bool,
    /// With its peers; only of a TCP allocation.
    pub connections: SmallVec<[ConnectionId; 2]>,
    /// How it began.
    pub birth: Birth,
    /// What the node's rules have counted it for.
    pub leave: Option<Box<dyn Leave>>,
    /// When they are told what it has relayed.
    pub reading: Option<TimerId>,
    /// The timer for what expires first, and when it fires; late refreshes let it fire in vain.
    pub timer: Option<(TimerId, Instant)>,
}

/// What there is to tell people of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Whose it is.
    pub user: Arc<str>,
    /// From where.
    pub client: FiveTuple,
    /// Its relayed transport addresses.
    pub relayed: SmallVec<[RelayedAddr; 2]>,
    /// Until it goes, unless it is refreshed.
    pub left: Duration,
    /// Peer addresses that it may talk to.
    pub permissions: usize,
    /// Channels that are bound.
    pub channels: usize,
    /// What its client sent.
    pub to_peers: Traffic,
    /// What its client was sent.
    pub to_client: Traffic,
}

impl Allocation {
    /// Bytes of payload that it has relayed, in both directions.
    pub fn carried(&self) -> u64 {
        self.row.to_peers.traffic.bytes.saturating_add(self.row.to_client.traffic.bytes)
    }

    /// What there is to tell people.
    pub fn listed(&self, now: Instant) -> Listed {
        let row = &self.row;
        let last = row.relayed.iter().map(|relayed| relayed.expires).max();
        Listed {
            user: self.user.clone(),
            client: row.client,
            relayed: row.relayed.iter().map(|relayed| relayed.socket.addr).collect(),
            left: last.map_or(Duration::ZERO, |last| last.saturating_duration_since(now)),
            permissions: row.permissions.len(),
            channels: row.channels.len(),
            to_peers: row.to_peers.traffic,
            to_client: row.to_client.traffic,
        }
    }

    /// When the first of all that it holds expires.
    pub fn first_expiry(&self) -> Option<Instant> {
        let relayed = self.row.relayed.iter().map(|relayed| relayed.expires).min();
        [relayed, self.row.permissions.first_expiry(), self.row.channels.first_expiry()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The relayed addresses of `family`, or all.
    pub fn of_family(&self, family: Option<Family>) -> impl Iterator<Item = &Relayed> {
        self.row.relayed.iter().filter(move |relayed| family.is_none_or(|family| is_of(relayed, family)))
    }

    /// Gives the relayed addresses of `family`, or all, a new life.
    pub fn refresh(&mut self, family: Option<Family>, expires: Instant) {
        for relayed in &mut self.row.relayed {
            if family.is_none_or(|family| is_of(relayed, family)) {
                relayed.expires = expires;
            }
        }
    }
}

fn is_of(relayed: &Relayed, family: Family) -> bool {
    Family::of(relayed.socket.addr.0.ip()) == family
}

/// RFC 8656 §7.2, §8.2: what was asked for, cut to the role's longest, but not below the default unless that is longer
/// than the longest. With short-lived credentials, which end in `left`, no longer than those, but again not below the
/// default: an allocation outlives them by no more than ten minutes.
pub fn granted_lifetime(asked: Option<Duration>, role: &Role, left: Option<Duration>) -> Duration {
    let default = DEFAULT_LIFETIME.min(role.lifetime);
    let longest = left.map_or(role.lifetime, |left| left.min(role.lifetime));
    asked.map_or(default, |asked| asked.min(longest).max(default))
}
