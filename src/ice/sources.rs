//! Who has shown to be a leg's endpoint, and which of their addresses media goes to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Addresses of one endpoint that are remembered; the one that was heard longest ago makes room. An agent checks from its
/// host address, through its NAT, and through its own TURN server.
pub const MOST_SOURCES: usize = 4;

/// RFC 7675 §5.1: consent lasts this long. Any packet of an address that has authenticated itself renews it, for older
/// agents keep up an idle pair with indications and media alone (docs/rfc-exceptions.md).
const CONSENT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
struct Source {
    address: SocketAddr,
    /// Of the credentials under which it authenticated itself.
    generation: u32,
    heard: Instant,
    /// When, in the order of this leg's packets, it last sent media or a check that nominates; 0: never.
    chosen: u64,
}

/// The addresses of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The one that authenticated itself last at the end.
    all: SmallVec<[Source; 1]>,
    order: u64,
}

impl Sources {
    /// `address` has authenticated itself.
    pub fn prove(&mut self, address: SocketAddr, generation: u32, nominates: bool, now: Instant) {
        let known =
            self.all.iter().position(|source| source.address == address).map(|at| self.all.remove(at));
        if known.is_none() && self.all.len() >= MOST_SOURCES {
            let oldest = self.all.iter().enumerate().min_by_key(|(_, source)| source.heard).map(|(at, _)| at);
            self.all.remove(oldest.unwrap_or_default());
        }
        let chosen = known.map_or(0, |source| source.chosen);
        self.all.push(Source { address, generation, heard: now, chosen });
        if nominates {
            self.choose(self.all.len() - 1);
        }
    }

    /// Media, or an indication, came from `address`. False: nobody knows it.
    #[inline]
    pub fn heard(&mut self, address: SocketAddr, is_media: bool, now: Instant) -> bool {
        let Some(at) = self.all.iter().position(|source| source.address == address) else { return false };
        let Some(source) = self.all.get_mut(at) else { return false };
        source.heard = now;
        // With one address there is nothing to choose.
        if is_media && self.all.len() > 1 {
            self.choose(at);
        }
        true
    }

    /// RFC 8445 §8.1.1: of several addresses the one that the endpoint nominated, or uses; else the one that checked last. An
    /// ICE restart has its new pair as soon as that is in use, and those of before are forgotten (§9).
    fn choose(&mut self, at: usize) {
        self.order += 1;
        let Some(source) = self.all.get_mut(at) else { return };
        source.chosen = self.order;
        let generation = source.generation;
        self.all.retain(|other| other.generation >= generation);
    }

    /// Nobody has authenticated themselves yet.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Where packets for the endpoint go.
    pub fn destination(&self, now: Instant) -> Option<SocketAddr> {
        let live = |source: &&Source| now.saturating_duration_since(source.heard) < CONSENT;
        // Of equals the last counts: the newest check.
        self.all.iter().filter(live).max_by_key(|source| source.chosen).map(|source| source.address)
    }
}
