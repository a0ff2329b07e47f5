//! The hosts that requests are sent to: where they are, and in which order they are tried.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::health::Health;
use super::identify::Speaker;
use super::settings::{Party, Probing, Settings, Target};
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
    /// [`Target::host_and_port`], which every call asks for.
    pub host_and_port: Box<str>,
    /// Whose.
    pub owner: Owner,
    /// Of the owner.
    pub zone: ZoneId,
    /// How it is asked whether it lives, if it is.
    pub probing: Option<Probing>,
    /// Where it is, by rank; none while its name is not found.
    servers: SmallVec<[(Server, Health); 2]>,
    /// What was told last.
    up: bool,
}

/// What became of a request to a server.
#[derive(Clone, Copy, Debug)]
pub enum Tried {
    /// It answered.
    Took,
    /// It wants none for so long.
    Rests(Duration),
    /// It was silent, or cannot be reached.
    Failed,
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
    /// The ways to it: good ones first, then by rank.
    pub fn ways(&self, now: Instant) -> impl Iterator<Item = Way> {
        self.sorted(now, |_| 0).into_iter()
    }

    /// The same; among equals lots are drawn (RFC 2782).
    pub fn drawn_ways(&self, now: Instant, rng: &mut Rng) -> SmallVec<[Way; 2]> {
        self.sorted(now, |server| lot(server.weight, rng))
    }

    /// All ways to it, whether good or not, as the records stand.
    pub fn all_ways(&self) -> SmallVec<[Way; 2]> {
        self.servers.iter().filter_map(|(server, _)| self.way(server)).collect()
    }

    fn sorted(&self, now: Instant, mut lot: impl FnMut(&Server) -> u64) -> SmallVec<[Way; 2]> {
        let mut servers: SmallVec<[_; 2]> = self.servers.iter().collect();
        if servers.len() > 1 {
            servers.sort_by_cached_key(|(server, health)| (!health.is_good(now), server.rank, lot(server)));
        }
        servers.into_iter().filter_map(|(server, _)| self.way(server)).collect()
    }

    fn way(&self, server: &Server) -> Option<Way> {
        let Server { remote, transport, .. } = *server;
        let listener = self.target.listener(transport)?;
        let tls = if transport == Transport::Tls { self.target.tls } else { u16::MAX };
        Some(Way { to: Destination::Address { listener, transport, remote, tls }, transport, listener })
    }

    fn is_at(&self, ip: IpAddr) -> bool {
        self.servers.iter().any(|(server, _)| server.remote.ip() == ip)
    }

    fn has_good(&self, now: Instant) -> bool {
        self.servers.iter().any(|(_, health)| health.is_good(now))
    }

    fn health_at(&mut self, to: &Destination) -> Option<&mut Health> {
        let Destination::Address { remote: at, transport: over, .. } = to else { return None };
        let found = |over: Transport| {
            self.servers.iter().position(|(server, _)| (server.remote, server.transport) == (*at, over))
        };
        // What came over TCP for its size alone says the same of the server.
        let index = found(*over).or_else(|| found(Transport::Udp).filter(|_| *over == Transport::Tcp));
        self.servers.get_mut(index?).map(|(_, health)| health)
    }

    /// True once, if what it is now has not been told.
    fn is_news(&mut self, now: Instant) -> Option<bool> {
        let up = self.has_good(now);
        (std::mem::replace(&mut self.up, up) != up).then_some(up)
    }
}

/// Every configured host.
#[derive(Debug)]
pub struct Targets {
    states: Vec<TargetState>,
    pbx_addresses: Vec<IpAddr>,
}

impl Targets {
    /// All are up until a probe says otherwise; names wait for [`Self::located`].
    pub fn new(settings: &Settings) -> Targets {
        let state = |target: &Target, owner, zone, probing| TargetState {
            target: target.clone(),
            host_and_port: target.host_and_port().into(),
            owner,
            zone,
            probing,
            servers: target.server().into_iter().map(|server| (server, Health::default())).collect(),
            up: true,
        };
        let pbx = settings.pbx.iter().flat_map(|pbx| {
            pbx.hosts.iter().map(move |target| state(target, Owner::Pbx, pbx.zone, pbx.health))
        });
        let trunks = settings.trunks.iter().enumerate().flat_map(|(index, trunk)| {
            let owner = Owner::Trunk(TrunkId(index as u16));
            trunk.hosts.iter().map(move |target| state(target, owner, trunk.zone, trunk.health))
        });
        let mut targets = Targets { states: pbx.chain(trunks).collect(), pbx_addresses: Vec::new() };
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

    /// The DNS was asked (again). What is known of servers that stay is kept.
    pub fn located(&mut self, wanted: &Wanted, servers: &[Server]) {
        for state in self.states.iter_mut().filter(|state| state.target.wanted().as_ref() == Some(wanted)) {
            let known = std::mem::take(&mut state.servers);
            let health = |server: &Server| {
                let same = |(other, _): &&(Server, Health)| {
                    (other.remote, other.transport) == (server.remote, server.transport)
                };
                known.iter().find(same).map(|(_, health)| health.clone()).unwrap_or_default()
            };
            state.servers = servers.iter().map(|server| (*server, health(server))).collect();
        }
        self.collect_pbx_addresses();
    }

    /// The hosts of a party in the order in which they are tried: those that are good first, by priority, and among equals by
    /// weight as RFC 2782 draws lots. The others stay in the list: if all are bad, trying is better than not.
    pub fn in_order(&self, party: Party, now: Instant, rng: &mut Rng) -> SmallVec<[TargetId; 4]> {
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
            Some((!state.has_good(now), trunk, state.target.priority, lot(state.target.weight, rng)))
        });
        hosts
    }

    /// This probe is out.
    pub fn probing(&mut self, id: TargetId, to: &Destination, probe: ClientId) {
        if let Some(health) = self.get_mut(id).and_then(|state| state.health_at(to)) {
            health.probe = Some(probe);
        }
    }

    /// The probes of a host that are still out count as unanswered. `Some` if that changed whether it is up.
    pub fn overdue(&mut self, id: TargetId, now: Instant) -> Option<bool> {
        let state = self.get_mut(id)?;
        let down_after = state.probing?.down_after.max(1);
        for (_, health) in state.servers.iter_mut().filter(|(_, health)| health.probe.is_some()) {
            health.probed(false, down_after);
        }
        state.is_news(now)
    }

    /// A probe of this server was answered. `Some` if that changed whether the host is up.
    pub fn probe_answered(
        &mut self,
        id: TargetId,
        to: &Destination,
        alive: bool,
        now: Instant,
    ) -> Option<bool> {
        let state = self.get_mut(id)?;
        let down_after = state.probing?.down_after.max(1);
        state.health_at(to)?.probed(alive, down_after);
        state.is_news(now)
    }

    /// This probe got no answer; an older one than the last was counted when that went out. `Some` as above.
    pub fn probe_unanswered(
        &mut self,
        id: TargetId,
        to: &Destination,
        probe: ClientId,
        now: Instant,
    ) -> Option<bool> {
        let health = self.get_mut(id)?.health_at(to)?;
        if health.probe == Some(probe) { self.probe_answered(id, to, false, now) } else { None }
    }

    /// What became of a request to a server. `Some` if that changed whether the host is up.
    pub fn tried(&mut self, id: TargetId, to: &Destination, outcome: Tried, now: Instant) -> Option<bool> {
        let state = self.get_mut(id)?;
        let health = state.health_at(to)?;
        match outcome {
            Tried::Took => health.took(),
            Tried::Rests(length) => health.rests(now, length),
            Tried::Failed => health.failed(now),
        }
        state.is_news(now)
    }

    /// Where a server that is spoken to over UDP takes connections: where its records (RFC 3263) say, else at the same port.
    pub fn stream_address(&self, remote: SocketAddr) -> SocketAddr {
        let is_it = |state: &&TargetState| state.servers.iter().any(|(server, _)| server.remote == remote);
        let servers = self.states.iter().filter(is_it).flat_map(|state| &state.servers);
        let mut streams = servers
            .filter(|(server, _)| server.transport == Transport::Tcp && server.remote.ip() == remote.ip());
        streams.next().map_or(remote, |(server, _)| server.remote)
    }

    /// A server that is spoken to over UDP may take a request over TCP, as far as we know.
    pub fn takes_streams(&self, remote: SocketAddr, now: Instant) -> bool {
        let mut servers = self.states.iter().flat_map(|state| &state.servers);
        !servers.any(|(server, health)| server.remote == remote && !health.takes_streams(now))
    }

    /// It took no connection.
    pub fn no_streams(&mut self, remote: SocketAddr, now: Instant) {
        let servers = self.states.iter_mut().flat_map(|state| &mut state.servers);
        for (_, health) in servers.filter(|(server, _)| server.remote == remote) {
            health.no_streams(now);
        }
    }

    /// Requests go to this server before those that are not good.
    pub fn is_good(&self, id: TargetId, to: &Destination, now: Instant) -> bool {
        self.get(id).is_some_and(|state| {
            let at = |server: &Server| state.way(server).is_some_and(|way| way.to == *to);
            state.servers.iter().any(|(server, health)| at(server) && health.is_good(now))
        })
    }

    /// A host stands for this server.
    pub fn has_server(&self, remote: SocketAddr) -> bool {
        self.states.iter().flat_map(|state| &state.servers).any(|(server, _)| server.remote == remote)
    }

    /// No connection was made to this address: what is spoken to over UDP, and takes streams there, takes none.
    pub fn no_stream_at(&mut self, address: SocketAddr, now: Instant) {
        let servers = self.states.iter().flat_map(|state| &state.servers).map(|(server, _)| *server);
        let udp = servers.filter(|server| server.transport == Transport::Udp);
        let refusing: Vec<_> = udp.filter(|server| self.stream_address(server.remote) == address).collect();
        refusing.iter().for_each(|server| self.no_streams(server.remote, now));
    }

    /// Name and health of every host, for `status`.
    pub fn report(&self) -> Vec<(Arc<str>, bool)> {
        self.states.iter().map(|state| (state.target.uri.clone(), state.up)).collect()
    }

    fn collect_pbx_addresses(&mut self) {
        let pbx = self.states.iter().filter(|state| state.owner == Owner::Pbx);
        let servers = pbx.flat_map(|state| &state.servers);
        self.pbx_addresses = servers.map(|(server, _)| server.remote.ip().to_canonical()).collect();
    }
}

/// A draw whose smallest value wins with a chance in proportion to the weight (an exponential variate of that rate).
/// As bits, which order like the positive numbers that they are.
fn lot(weight: u16, rng: &mut Rng) -> u64 {
    let uniform = (f64::from(rng.next_u32()) + 1.0) / (f64::from(u32::MAX) + 2.0);
    (-uniform.ln() / (f64::from(weight) + 0.001)).to_bits()
}
