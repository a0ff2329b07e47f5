//! A relay without sockets that remembers what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use turnpike::base::PeerAddr;
use turnpike::base::ban::Banned;
use turnpike::relay::{
    LegRules, OpenError, OpenPair, Owner, PairCounters, PairId, Relay, RelayAddress, RelayUsage, SavedPair,
    Side, SideAddrs,
};
use turnpike::sdp::dtls::{Fingerprint, Hash};

/// Opens pairs from port 40000 up, the same port numbers on both sides.
#[derive(Default)]
pub struct FakeRelay {
    pub open: BTreeMap<PairId, OpenPair>,
    pub rules: BTreeMap<(PairId, char), LegRules>,
    pub opened: u64,
    pub closed: u64,
    /// Relayed addresses that TURN clients got from us.
    pub allocations: BTreeSet<SocketAddr>,
    /// Pairs that may be open at once.
    pub capacity: Option<usize>,
}

impl FakeRelay {
    pub fn rules(&self, pair: u64, side: Side) -> &LegRules {
        let side = if side == Side::A { 'a' } else { 'b' };
        self.rules.get(&(PairId(pair), side)).expect("rules were set")
    }

    fn open_at(&mut self, a: RelayAddress, b: RelayAddress, ports: [u16; 2]) -> OpenPair {
        let id = PairId(self.opened);
        self.opened += 1;
        let addrs = |address: RelayAddress, port| SideAddrs::new(address.advertise, port);
        let [port_a, port_b] = ports;
        let counters = PairCounters::default().into();
        let pair = OpenPair { id, a: addrs(a, port_a), b: addrs(b, port_b), counters };
        self.open.insert(id, pair.clone());
        pair
    }
}

impl Relay for FakeRelay {
    fn open(&mut self, a: RelayAddress, b: RelayAddress) -> Result<OpenPair, OpenError> {
        if self.capacity.is_some_and(|capacity| self.open.len() >= capacity) {
            return Err(OpenError::PortsExhausted);
        }
        let port = 40_000 + 2 * self.opened as u16;
        Ok(self.open_at(a, b, [port, port]))
    }

    fn reopen(&mut self, a: RelayAddress, b: RelayAddress, saved: &SavedPair) -> Result<OpenPair, OpenError> {
        let ports = [Side::A, Side::B].map(|side| saved.side(side).rtp.port());
        let has = |pair: &OpenPair| [pair.a.rtp().0.port(), pair.b.rtp().0.port()] == ports;
        if self.open.values().any(has) { Err(OpenError::PortTaken) } else { Ok(self.open_at(a, b, ports)) }
    }

    fn set_leg(&mut self, pair: PairId, side: Side, rules: LegRules) {
        assert!(self.open.contains_key(&pair), "rules for a pair that is not open");
        self.rules.insert((pair, if side == Side::A { 'a' } else { 'b' }), rules);
    }

    fn close(&mut self, pair: PairId) {
        assert!(self.open.remove(&pair).is_some(), "closed twice, or never open");
        self.closed += 1;
    }

    fn owner_of(&self, addr: SocketAddr) -> Option<Owner> {
        let has = |pair: &&OpenPair| {
            [pair.a, pair.b].iter().any(|side| side.rtp().0 == addr || side.rtcp().0 == addr)
        };
        let pair = self.open.values().any(|pair| has(&pair)).then_some(Owner::Pair);
        pair.or(self.allocations.contains(&addr).then_some(Owner::Allocation))
    }

    fn serves_turn(&self) -> bool {
        true
    }
    fn open_call_peer(&mut self, _peer: PeerAddr) {}

    fn close_call_peer(&mut self, _peer: PeerAddr) {}

    fn ban(&mut self, _: &Banned, _until: Option<Instant>) {}
    fn lift_ban(&mut self, _: &Banned) {}

    fn dtls_fingerprint(&self) -> Fingerprint {
        Fingerprint::new(Hash::Sha256, &[0xf1; 32]).expect("32 bytes")
    }

    fn usage(&self) -> RelayUsage {
        RelayUsage { pairs: self.open.len(), ..RelayUsage::default() }
    }
}
