//! The media addresses that a call has named: while it lives, TURN clients of the role `peers: calls` may reach them
//! (DESIGN.md §5). An offer's count at once, an answer's from the first provisional response on, forks beside each other;
//! the final answer closes what neither it nor its offer names.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::anchor::destination::is_public;
use super::call::FORKS_MAX;
use crate::base::PeerAddr;
use crate::relay::{Relay, Side};
use crate::sdp::{self, Session};

/// Most addresses of one call that are open at once.
pub const CALL_PEERS_MAX: usize = 64;

/// Addresses, by their place in [`CallPeers::addresses`].
type Set = u64;

/// Those of one call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CallPeers {
    /// At most [`CALL_PEERS_MAX`]; a place that is in no set is free.
    addresses: Vec<SocketAddr>,
    /// What the relay was told to open.
    #[serde(skip)]
    open: Set,
    settled: Exchange,
    /// From an offer to its final answer.
    pending: Option<Box<Exchange>>,
    full: bool,
}

/// Those of one call as they outlast a restart.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedPeers(CallPeers);

/// What an offer and its answers name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Exchange {
    from: Option<Side>,
    offered: Set,
    answers: SmallVec<[Answer; 1]>,
}

/// Of one (early) dialog.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    tag: Box<[u8]>,
    is_final: bool,
    named: Set,
}

impl Exchange {
    fn answered(&self) -> Set {
        self.answers.iter().fold(0, |all, answer| all | answer.named)
    }

    fn all(&self) -> Set {
        self.offered | self.answered()
    }

    fn of(&self, side: Side) -> Set {
        if self.from == Some(side) { self.offered } else { self.answered() }
    }
}

impl CallPeers {
    /// An offer from `from`: what it names is open beside what held. The one before is over if it was answered; if not, it is
    /// replaced.
    pub fn offer(&mut self, from: Side, sdp: &Session<'_>, relay: &mut dyn Relay) {
        if let Some(before) = self.pending.take()
            && !before.answers.is_empty()
        {
            self.settled = *before;
        }
        let offered = self.named_in(sdp, from, relay);
        self.pending = Some(Box::new(Exchange { from: Some(from), offered, answers: SmallVec::new() }));
        self.tell(relay);
    }

    /// An answer from `from` in the dialog of `tag`.
    pub fn answer(
        &mut self,
        from: Side,
        tag: &[u8],
        is_final: bool,
        sdp: &Session<'_>,
        relay: &mut dyn Relay,
    ) {
        let named = self.named_in(sdp, from, relay);
        let exchange = match &mut self.pending {
            Some(pending) => pending,
            // Another fork answers finally, too; anything else is a copy of what is known.
            None if is_final => &mut self.settled,
            None => return,
        };
        if exchange.from != Some(from.other()) {
            return;
        }
        exchange.answers.retain(|answer| *answer.tag != *tag && (answer.is_final || !is_final));
        if exchange.answers.len() < FORKS_MAX {
            exchange.answers.push(Answer { tag: tag.into(), is_final, named });
        }
        if is_final && let Some(done) = self.pending.take() {
            self.settled = *done;
        }
        self.tell(relay);
    }

    /// What `from` trickles (RFC 8840) after its offer, or after its answer in the dialog of `tag`, counts as if it had stood there.
    pub fn trickle(&mut self, from: Side, tag: &[u8], fragment: &[u8], relay: &mut dyn Relay) {
        let mut named = 0;
        for address in sdp::trickled(fragment).filter_map(|candidate| candidate.udp()) {
            named |= self.set_of(address, named, relay);
        }
        let exchange = self.pending.as_deref_mut().unwrap_or(&mut self.settled);
        if exchange.from == Some(from) {
            exchange.offered |= named;
        } else if let Some(answer) = exchange.answers.iter_mut().find(|answer| *answer.tag == *tag) {
            answer.named |= named;
        }
        self.tell(relay);
    }

    /// The dialog of `tag`, one of several that answered, is over.
    pub fn forget_answer(&mut self, tag: &[u8], relay: &mut dyn Relay) {
        self.settled.answers.retain(|answer| *answer.tag != *tag);
        self.tell(relay);
    }

    /// The pending offer was refused: what held before holds again.
    pub fn roll_back(&mut self, relay: &mut dyn Relay) {
        self.pending = None;
        self.tell(relay);
    }

    /// As they are, but for an offer that waits for its answer: what held before it is saved.
    pub fn save(&self) -> SavedPeers {
        let answered = self.pending.as_deref().filter(|pending| !pending.answers.is_empty());
        let settled = answered.unwrap_or(&self.settled).clone();
        SavedPeers(CallPeers { addresses: self.addresses.clone(), settled, ..CallPeers::default() })
    }

    /// The same after a restart.
    pub fn restore(saved: SavedPeers, relay: &mut dyn Relay) -> CallPeers {
        let SavedPeers(mut peers) = saved;
        peers.addresses.truncate(CALL_PEERS_MAX);
        peers.tell(relay);
        peers
    }

    /// All are closed. Twice does nothing.
    pub fn close(&mut self, relay: &mut dyn Relay) {
        (self.settled, self.pending) = Default::default();
        self.tell(relay);
    }

    /// Something that was named found no room.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Opens and closes until what is open is what is named.
    fn tell(&mut self, relay: &mut dyn Relay) {
        let named = self.named();
        for (place, address) in self.addresses.iter().enumerate() {
            let bit = 1 << place;
            match (self.open & bit != 0, named & bit != 0) {
                (false, true) => relay.open_call_peer(PeerAddr(*address)),
                (true, false) => relay.close_call_peer(PeerAddr(*address)),
                _ => {}
            }
        }
        self.open = named;
    }

    /// What a body names for media over UDP: default destinations and candidates, where they are addresses and no names.
    /// Private ones are left out whoever names them (`turn/peers` denies them to every client of this role), and so are our
    /// own (they are open to it as it is).
    fn named_in(&mut self, sdp: &Session<'_>, from: Side, relay: &dyn Relay) -> Set {
        let mut named = 0;
        for (index, media) in
            sdp.media().iter().enumerate().filter(|(_, media)| media.port != 0 && media.is_udp())
        {
            // RFC 3264 §8.4: on hold the old way, a side is still where it was.
            if media.is_held_by_address() {
                let pending = self.pending.as_ref().map_or(0, |pending| pending.of(from));
                named |= self.settled.of(from) | pending;
            }
            let default = (!media.is_without_default()).then_some([media.rtp, media.rtcp]);
            let candidates = sdp.candidates(index).map(|candidate| candidate.udp());
            for address in default.into_iter().flatten().chain(candidates).flatten() {
                named |= self.set_of(address, named, relay);
            }
        }
        named
    }

    /// The address as a set; empty if it may not be reached, or if there is no place for it. `taken`: besides those that are
    /// open or named.
    fn set_of(&mut self, address: SocketAddr, taken: Set, relay: &dyn Relay) -> Set {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let may_be_open = address.port() != 0 && is_public(address.ip()) && relay.owner_of(address).is_none();
        if may_be_open { self.place_of(address, taken) } else { 0 }
    }

    /// Its place, as a set; empty if there is none.
    fn place_of(&mut self, address: SocketAddr, taken: Set) -> Set {
        if let Some(place) = self.addresses.iter().position(|known| *known == address) {
            return 1 << place;
        }
        let taken = taken | self.open | self.named();
        let free = self.addresses.iter_mut().enumerate().find(|(place, _)| taken & (1 << place) == 0);
        if let Some((place, stale)) = free {
            *stale = address;
            return 1 << place;
        }
        if self.addresses.len() == CALL_PEERS_MAX {
            self.full = true;
            return 0;
        }
        if self.addresses.is_empty() {
            // RTP and RTCP of one side: what a call with a PBX in a private network names.
            self.addresses.reserve_exact(2);
        }
        self.addresses.push(address);
        1 << (self.addresses.len() - 1)
    }

    fn named(&self) -> Set {
        self.settled.all() | self.pending.as_ref().map_or(0, |pending| pending.all())
    }
}

#[cfg(test)]
mod tests;
