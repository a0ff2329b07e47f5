//! The hosts that requests are sent to: where they are, whether they answer, and in which order they are tried.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::identify::Speaker;
use super::settings::{Party, Settings, Target};
use crate::base::{ListenerId, Rng, Transport, TrunkId, ZoneId};
use crate::sip::locate::{Server, Wanted};
use crate::sip::transaction::{ClientId, Destination};

/// Names one configured host: PBX hosts first, then the trunks' in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u16);

/// Whose host it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The PBX's.
    Pbx,
    /// A carrier's.
    Trunk(TrunkId),
}

impl From<Owner> for Speaker {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Pbx => Speaker::Pbx,
            Owner::Trunk(trunk) => Speaker::Trunk(trunk),
        }
    }
}

/// One host and what is known of it.
#[derive(Debug)]
pub struct TargetState {
    /// As configured.
    pub target: Target,
    /// Whose.
    pub owner: Owner,
    /// Of the owner.
    pub zone: ZoneId,
    /// Where it is, by rank; none while its name is not found.
    servers: SmallVec<[Server; 2]>,
    /// Answers probes, as far as we know.
    pub up: bool,
    /// Probes in a row without an answer.
    missed: u32,
    /// The probe that is out.
    pub probe: Option<ClientId>,
}

/// One way to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where.
    pub to: Destination,
    /// What is spoken.
    pub transport: Transport,
    /// Our listener that faces it.
    pub listener: ListenerId,
}

impl TargetState {
    /// The ways to it, by rank.
    pub fn ways(&self) -> impl Iterator<Item = Way> + '_ {
        self.servers.iter().filter_map(|server| self.way(server))
    }

    /// The same; among equals lots are drawn (RFC 2782).
    pub fn drawn_ways(&self, rng: &mut Rng) -> SmallVec<[Way; 2]> {
        let mut servers = self.servers.clone();
        if servers.len() > 1 {
            servers.sort_by_cached_key(|server| (server.rank, lot(server.weight, rng)));
        }
        servers.iter().filter_map(|server| self.way(server)).collect()
    }

    fn way(&self, server: &Server) -> Option<Way> {
        let Server { remote, transport, .. } = *server;
        let listener = self.target.listener(transport)?;
        let tls = if transport == Transport::Tls { self.target.tls } else { u16::MAX };
        Some(Way { to: Destination::Address { listener, transport, remote, tls }, transport, listener })
    }

    fn is_at(&self, ip: IpAddr) -> bool {
        self.servers.iter().any(|server| server.remote.ip() == ip)
    }
}

/// Every configured host.
#[derive(Debug)]
pub struct Targets {
    states: Vec<TargetState>,
    pbx_addresses: Vec<IpAddr>,
    down_after: u32,
}

impl Targets {
    /// All are up until a probe says otherwise; names wait for [`Self::located`].
    pub fn new(settings: &Settings) -> Targets {
        let state = |target: &Target, owner, zone| TargetState {
            target: target.clone(),
            owner,
            zone,
            servers: target.server().into_iter().collect(),
            up: true,
            missed: 0,
            probe: None,
        };
        let pbx =
            settings.pbx.iter().flat_map(|pbx| pbx.hosts.iter().map(move |t| state(t, Owner::Pbx, pbx.zone)));
        let trunks = settings.trunks.iter().enumerate().flat_map(|(index, trunk)| {
            let owner = Owner::Trunk(TrunkId(index as u16));
            trunk.hosts.iter().map(move |target| state(target, owner, trunk.zone))
        });
        let health = settings.pbx.as_ref().and_then(|pbx| pbx.health);
        let mut targets = Targets {
            states: pbx.chain(trunks).collect(),
            pbx_addresses: Vec::new(),
            down_after: health.map_or(u32::MAX, |health| health.down_after.max(1)),
        };
        targets.collect_pbx_addresses();
        targets
    }

    /// One host.
    pub fn get(&self, id: TargetId) -> Option<&TargetState> {
        self.states.get(usize::from(id.0))
    }

    /// One host, to change.
    pub fn get_mut(&mut self, id: TargetId) -> Option<&mut TargetState> {
        self.states.get_mut(usize::from(id.0))
    }

    /// All hosts with their names.
    pub fn iter(&self) -> impl Iterator<Item = (TargetId, &TargetState)> {
        self.states.iter().enumerate().map(|(index, state)| (TargetId(index as u16), state))
    }

    /// The hosts of a trunk.
    pub fn of_trunk(&self, trunk: TrunkId) -> impl Iterator<Item = &TargetState> {
        self.states.iter().filter(move |state| state.owner == Owner::Trunk(trunk))
    }

    /// Is this one of the PBX's addresses?
    pub fn is_pbx(&self, ip: IpAddr) -> bool {
        self.pbx_addresses.contains(&ip)
    }

    /// The host of the zone that has this address.
    pub fn of_address(&self, ip: IpAddr, zone: ZoneId) -> Option<TargetId> {
        let is_there = |state: &TargetState| state.zone == zone && state.is_at(ip);
        self.iter().find(|(_, state)| is_there(state)).map(|(id, _)| id)
    }

    /// The DNS was asked (again).
    pub fn located(&mut self, wanted: &Wanted, servers: &[Server]) {
        for state in self.states.iter_mut().filter(|state| state.target.wanted().as_ref() == Some(wanted)) {
            state.servers = SmallVec::from_slice(servers);
        }
        self.collect_pbx_addresses();
    }

    /// The hosts of a party in the order in which they are tried: those that are up first, by priority, and among equals
    /// by weight as RFC 2782 draws lots. Down ones stay in the list: if all are down, trying is better than not.
    pub fn in_order(&self, party: Party, rng: &mut Rng) -> SmallVec<[TargetId; 4]> {
        let owned = |state: &TargetState| match party {
            Party::Pbx => state.owner == Owner::Pbx,
            Party::AnyTrunk => matches!(state.owner, Owner::Trunk(_)),
            Party::Trunk(trunk) => state.owner == Owner::Trunk(trunk),
            Party::Zone(_) => false,
        };
        let mut hosts: SmallVec<[TargetId; 4]> =
            self.iter().filter(|(_, state)| owned(state)).map(|(id, _)| id).collect();
        hosts.sort_by_cached_key(|id| {
            let state = self.get(*id)?;
            let trunk = match (party, state.owner) {
                (Party::AnyTrunk, Owner::Trunk(trunk)) => trunk.0,
                _ => 0,
            };
            Some((!state.up, trunk, state.target.priority, lot(state.target.weight, rng)))
        });
        hosts
    }

    /// The probe that was out got an answer, or none. True if that changed whether the host is up.
    pub fn probed(&mut self, id: TargetId, answered: bool) -> bool {
        let down_after = self.down_after;
        let Some(state) = self.get_mut(id) else { return false };
        state.probe = None;
        state.missed = if answered { 0 } else { state.missed.saturating_add(1) };
        let up = if answered { true } else { state.up && state.missed < down_after };
        std::mem::replace(&mut state.up, up) != up
    }

    /// Name and health of every host, for `status`.
    pub fn report(&self) -> Vec<(Arc<str>, bool)> {
        self.states.iter().map(|state| (state.target.uri.clone(), state.up)).collect()
    }

    fn collect_pbx_addresses(&mut self) {
        let pbx = self.states.iter().filter(|state| state.owner == Owner::Pbx);
        self.pbx_addresses = pbx
            .flat_map(|state| state.servers.iter().map(|server| server.remote.ip().to_canonical()))
            .collect();
    }
}

/// A draw whose smallest value wins with a chance in proportion to the weight (an exponential variate of that rate).
/// As bits, which order like the positive numbers that they are.
fn lot(weight: u16, rng: &mut Rng) -> u64 {
    let uniform = (f64::from(rng.next_u32()) + 1.0) / (f64::from(u32::MAX) + 2.0);
    (-uniform.ln() / (f64::from(weight) + 0.001)).to_bits()
}
