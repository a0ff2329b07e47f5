//! The edge in a world without sockets and clocks: what it sends lands in mailboxes, time passes when a test says so.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use smallvec::SmallVec;
use turnpike::base::ban::Banned;
use turnpike::base::{
    ClientAddr, FlowId, ListenerId, NodeKey, Now, PeerAddr, Transport, TrunkId, UnixTime, ZoneId,
};
use turnpike::edge::event::{Cdr, Event, Refused, Unheard};
use turnpike::edge::settings::*;
use turnpike::edge::{Edge, Output, Status};
use turnpike::media::quality::Measured;
use turnpike::policy;
use turnpike::policy::settings::Policy;
use turnpike::relay::{
    LegRules, OpenError, OpenPair, Owner, PairCounters, PairId, Relay, RelayAddress, RelayUsage, SavedPair,
    Side, SideAddrs,
};
use turnpike::sdp::dtls::{Fingerprint, Hash};
use turnpike::sip::transaction::{Destination, Source};

pub const INTERNET: ZoneId = ZoneId(0);
pub const OFFICE: ZoneId = ZoneId(1);
pub const CARRIERS: ZoneId = ZoneId(2);
pub const PHONES_TLS: ListenerId = ListenerId(0);
pub const PHONES_UDP: ListenerId = ListenerId(1);
pub const INSIDE: ListenerId = ListenerId(2);
pub const CARRIER_UDP: ListenerId = ListenerId(3);
/// Only in worlds that add it.
pub const INSIDE_TCP: ListenerId = ListenerId(4);
/// As above.
pub const CARRIER_TCP: ListenerId = ListenerId(5);

/// Someone with an address who speaks SIP to the edge.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    pub source: Source,
}

impl Actor {
    fn new(flow: u64, listener: ListenerId, transport: Transport, remote: &str) -> Actor {
        let remote = ClientAddr(remote.parse().expect("address"));
        Actor { source: Source { flow: FlowId(flow), listener, transport, remote } }
    }
    pub fn tls_phone(flow: u64, remote: &str) -> Actor {
        Actor::new(flow, PHONES_TLS, Transport::Tls, remote)
    }
    pub fn udp_phone(remote: &str) -> Actor {
        Actor::new(1_000_000, PHONES_UDP, Transport::Udp, remote)
    }
    pub fn pbx() -> Actor {
        Actor::new(1_000_001, INSIDE, Transport::Udp, "10.20.0.20:5060")
    }
    pub fn second_pbx() -> Actor {
        Actor::new(1_000_002, INSIDE, Transport::Udp, "10.20.0.21:5060")
    }
    pub fn carrier() -> Actor {
        Actor::new(1_000_003, CARRIER_UDP, Transport::Udp, "198.51.100.1:5060")
    }
    pub fn second_carrier() -> Actor {
        Actor::new(1_000_004, CARRIER_UDP, Transport::Udp, "192.0.2.65:5060")
    }
    /// The same, on a connection that we opened from this listener.
    pub fn over_tcp(&self, listener: ListenerId) -> Actor {
        let flow = FlowId(self.source.flow.0 + 1_000_000);
        Actor { source: Source { flow, listener, transport: Transport::Tcp, ..self.source } }
    }
    pub fn address(&self) -> SocketAddr {
        self.source.remote.0
    }
    pub fn transport(&self) -> Transport {
        self.source.transport
    }
    pub fn is_at(&self, to: &Destination) -> bool {
        match to {
            Destination::Flow(flow) => *flow == self.source.flow,
            Destination::Address { listener, transport, remote, .. } => {
                (*listener, *transport, *remote) == (self.source.listener, self.transport(), self.address())
            }
        }
    }
}

/// What the relay was told, for tests to look at.
#[derive(Debug, Default)]
pub struct Ports {
    pub open: HashMap<PairId, OpenPair>,
    pub rules: HashMap<(PairId, bool), LegRules>,
    next: u16,
    /// Pairs that were opened again after a restart.
    pub reopened: u64,
    pub capacity: usize,
    /// What was bound, pair after pair: side A's, side B's.
    pub binds: Vec<IpAddr>,
    /// Relayed addresses that TURN clients got from us.
    pub allocations: Vec<SocketAddr>,
    /// Media addresses that live calls have named, and how many did.
    pub call_peers: BTreeMap<SocketAddr, usize>,
    /// Who is banned, and until when.
    pub banned: Vec<(Banned, Option<Instant>)>,
}

impl Ports {
    fn open_at(&mut self, id: PairId, [a, b]: [(RelayAddress, u16); 2], counters: PairCounters) -> OpenPair {
        let side = |(at, port): (RelayAddress, u16)| SideAddrs::new(at.advertise, port);
        let pair = OpenPair { id, a: side(a), b: side(b), counters: Arc::new(counters) };
        let twice = self.open.insert(pair.id, pair.clone());
        assert!(twice.is_none(), "a pair is opened once");
        pair
    }
}

struct FakeRelay(Arc<Mutex<Ports>>);

impl Relay for FakeRelay {
    fn open(&mut self, a: RelayAddress, b: RelayAddress) -> Result<OpenPair, OpenError> {
        let mut ports = self.0.lock().expect("lock");
        if ports.open.len() >= ports.capacity {
            return Err(OpenError::PortsExhausted);
        }
        ports.binds.extend([a.bind, b.bind]);
        let first = loop {
            let first = 40_000 + ports.next % 5_000 * 4;
            ports.next = ports.next.wrapping_add(1);
            // One of before a restart may have it.
            if !ports.open.values().any(|pair| pair.a.rtp().0.port() == first) {
                break first;
            }
        };
        let id = PairId(u64::from(ports.next));
        Ok(ports.open_at(id, [(a, first), (b, first + 2)], PairCounters::default()))
    }
    fn reopen(&mut self, a: RelayAddress, b: RelayAddress, saved: &SavedPair) -> Result<OpenPair, OpenError> {
        let mut ports = self.0.lock().expect("lock");
        let [at_a, at_b] = [Side::A, Side::B].map(|side| saved.side(side).rtp);
        if ports.open.values().any(|pair| pair.a.rtp().0 == at_a || pair.b.rtp().0 == at_b) {
            return Err(OpenError::PortTaken);
        }
        ports.binds.extend([a.bind, b.bind]);
        ports.reopened += 1;
        let id = PairId(1 << 32 | ports.reopened);
        Ok(ports.open_at(id, [(a, at_a.port()), (b, at_b.port())], saved.counters()))
    }
    fn set_leg(&mut self, pair: PairId, side: Side, rules: LegRules) {
        let mut ports = self.0.lock().expect("lock");
        assert!(ports.open.contains_key(&pair), "rules for a pair that is not open");
        ports.rules.insert((pair, side == Side::A), rules);
    }
    fn close(&mut self, pair: PairId) {
        assert!(self.0.lock().expect("lock").open.remove(&pair).is_some(), "a pair is closed once");
    }
    fn owner_of(&self, addr: SocketAddr) -> Option<Owner> {
        let ports = self.0.lock().expect("lock");
        let has = |pair: &&OpenPair| pair.a.rtp().0 == addr || pair.b.rtp().0 == addr;
        let pair = ports.open.values().any(|pair| has(&pair)).then_some(Owner::Pair);
        pair.or(ports.allocations.contains(&addr).then_some(Owner::Allocation))
    }
    fn serves_turn(&self) -> bool {
        true
    }
    fn open_call_peer(&mut self, peer: PeerAddr) {
        *self.0.lock().expect("lock").call_peers.entry(peer.0).or_default() += 1;
    }
    fn close_call_peer(&mut self, peer: PeerAddr) {
        let mut ports = self.0.lock().expect("lock");
        let open =
            ports.call_peers.get_mut(&peer.0).expect("a call's peer is closed as often as it was opened");
        *open -= 1;
        if *open == 0 {
            ports.call_peers.remove(&peer.0);
        }
    }
    fn ban(&mut self, banned: &Banned, until: Option<Instant>) {
        self.0.lock().expect("lock").banned.push((banned.clone(), until));
    }
    fn lift_ban(&mut self, banned: &Banned) {
        self.0.lock().expect("lock").banned.retain(|(known, _)| known != banned);
    }
    fn dtls_fingerprint(&self) -> Fingerprint {
        Fingerprint::new(Hash::Sha256, &[0xf1; 32]).expect("32 bytes")
    }
    fn usage(&self) -> RelayUsage {
        let ports = self.0.lock().expect("lock");
        RelayUsage {
            pairs: ports.open.len(),
            ports_taken: 4 * ports.open.len(),
            ports_total: 4 * ports.capacity,
        }
    }
}

/// The world.
pub struct World {
    pub edge: Edge,
    pub now: Now,
    pub mail: Vec<(Destination, String)>,
    pub events: Vec<Event>,
    pub ports: Arc<Mutex<Ports>>,
    /// Whose media comes while time passes.
    pub speakers: Vec<Side>,
    /// Everything that was ever sent.
    pub all: Vec<(Destination, String)>,
}

fn target(uri: &str, remote: &str, priority: u16, listener: ListenerId) -> Target {
    let remote: SocketAddr = remote.parse().expect("address");
    Target {
        uri: uri.into(),
        host: Host::Ip(remote.ip()),
        port: Some(remote.port()),
        transport: Some(Transport::Udp),
        secure: false,
        priority,
        weight: 1,
        tls: u16::MAX,
        ways: SmallVec::from_iter([(Transport::Udp, listener)]),
    }
}

pub fn media() -> Media {
    Media {
        ice: Ice::Auto,
        srtp: Srtp::Pass,
        anchor: Anchor::Always,
        sealed_bodies: SealedBodies::Refuse,
        idle_timeout: Duration::from_secs(60),
    }
}

/// Phones outside, PBX inside, two carriers: the shape of the annotated example.
pub fn settings() -> Settings {
    let relay = |ip: &str| {
        let ip: IpAddr = ip.parse().expect("address");
        Some(RelayAddress { bind: ip, advertise: ip }.into())
    };
    let zone = |name: &str, trust, admit, networks: &[&str], ip: &str| Zone {
        name: name.into(),
        trust,
        hides_topology: false,
        hides_call_ids: false,
        admit,
        networks: networks.iter().map(|network| network.parse().expect("network")).collect(),
        relay: relay(ip),
        media: media(),
        dial_plan: None,
        session_timer: None,
    };
    let listener = |name: &str, zone, transport, bind: &str, advertise: &str| Listener {
        name: name.into(),
        zone,
        transport,
        bind: bind.parse().expect("address"),
        advertise: advertise.into(),
    };
    let trunk = |name: &str, hosts: Vec<Target>, network: &str| Trunk {
        name: name.into(),
        zone: CARRIERS,
        hosts,
        accept_from: vec![network.parse().expect("network")],
        calls_at_once: None,
        new_calls: None,
        media: media(),
        accept_names: Vec::new(),
        accept_user: None,
        rules: TrunkRules::default(),
        auth: None,
        register: None,
        session_timer: None,
        health: None,
    };
    let route = |name: &str, from: Vec<Party>, to: &[&str], send_to: Vec<Party>| Route {
        name: name.into(),
        from,
        to: to.iter().map(|pattern| (*pattern).into()).collect(),
        then: RouteThen::SendTo(send_to),
        emergency: false,
        failover: None,
    };
    let (acme, bravo) = (Party::Trunk(TrunkId(0)), Party::Trunk(TrunkId(1)));
    let outbound = Failover { statuses: vec![408, 500, 503], after: Duration::from_secs(4) };
    Settings {
        name: "edge-test".into(),
        key: NodeKey::new([7; 16]),
        zones: vec![
            zone("internet", Trust::None, Admit::Registered, &[], "203.0.113.10"),
            zone("office", Trust::Full, Admit::Any, &["10.20.0.0/16"], "10.20.0.5"),
            zone("carriers", Trust::Peer, Admit::Trunks, &[], "203.0.113.11"),
        ],
        listeners: vec![
            listener("phones_tls", INTERNET, Transport::Tls, "203.0.113.10:5061", "sip.example.com:5061"),
            listener("phones_udp", INTERNET, Transport::Udp, "203.0.113.10:5060", "203.0.113.10:5060"),
            listener("inside", OFFICE, Transport::Udp, "10.20.0.5:5060", "10.20.0.5:5060"),
            listener("carriers", CARRIERS, Transport::Udp, "203.0.113.11:5060", "203.0.113.11:5060"),
        ],
        pbx: Some(Pbx {
            zone: OFFICE,
            hosts: vec![
                target("sip:10.20.0.20:5060", "10.20.0.20:5060", 0, INSIDE),
                target("sip:10.20.0.21:5060", "10.20.0.21:5060", 1, INSIDE),
            ],
            health: None,
            failover: Failover { statuses: vec![503], after: Duration::from_secs(4) },
        }),
        trunks: vec![
            trunk(
                "acme",
                vec![target("sip:sip1.acme.example", "198.51.100.1:5060", 0, CARRIER_UDP)],
                "198.51.100.0/28",
            ),
            trunk(
                "bravo",
                vec![target("sip:sbc.bravo.example", "192.0.2.65:5060", 0, CARRIER_UDP)],
                "192.0.2.64/28",
            ),
        ],
        routes: vec![
            Route {
                failover: Some(outbound),
                ..route("outbound", vec![Party::Pbx], &["+*"], vec![acme, bravo])
            },
            route("inbound", vec![Party::AnyTrunk], &[], vec![Party::Pbx]),
            route("phones", vec![Party::Zone(INTERNET)], &[], vec![Party::Pbx]),
            Route { then: RouteThen::Reject(404), ..route("nothing else", vec![], &[], vec![]) },
        ],
        tls_peers: vec![],
        users: Users::default(),
        limits: Limits::default(),
    }
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    /// A world whose settings differ.
    pub fn with(change: impl FnOnce(&mut Settings)) -> World {
        let mut settings = settings();
        change(&mut settings);
        World::ruled_by(policy::Engine::allow_all(), settings)
    }

    /// A world with one policy.
    pub fn under(policy: Policy, settings: Settings) -> World {
        let policies = policy::Settings { policies: vec![policy], ..Default::default() };
        World::ruled_by(policy::Engine::new(policies, &NodeKey::new([1; 16])), settings)
    }

    /// A world with policies.
    pub fn ruled_by(policy: policy::Engine, settings: Settings) -> World {
        World::seeded(1, policy, settings)
    }

    /// The same, with other dice: no two runs of a node mint the same tokens.
    pub fn seeded(seed: u64, policy: policy::Engine, settings: Settings) -> World {
        let ports = Arc::new(Mutex::new(Ports { capacity: 100, ..Ports::default() }));
        let relay = Box::new(FakeRelay(ports.clone()));
        World { ports, ..World::with_relay(relay, seed, policy, settings) }
    }

    /// A world with another relay than the one that tests look into.
    pub fn with_relay(relay: Box<dyn Relay>, seed: u64, policy: policy::Engine, settings: Settings) -> World {
        let rng = Box::new(rand::rngs::StdRng::seed_from_u64(seed));
        let edge = Edge::new(Arc::new(settings), policy, relay, rng);
        let now = Now { instant: Instant::now(), unix: UnixTime(Duration::from_secs(1_800_000_000)) };
        let speakers = vec![Side::A, Side::B];
        World { edge, now, mail: vec![], events: vec![], ports: Arc::default(), speakers, all: vec![] }
    }

    /// The actor's message arrives.
    pub fn send(&mut self, from: &Actor, text: impl AsRef<str>) {
        let bytes = Bytes::copy_from_slice(text.as_ref().as_bytes());
        self.edge.handle_message(&from.source, bytes, self.now);
        self.collect();
    }

    pub fn collect(&mut self) {
        while let Some(output) = self.edge.poll_output() {
            match output {
                Output::Send { to, bytes } => {
                    let text = String::from_utf8(bytes.to_vec()).expect("text");
                    self.all.push((to, text.clone()));
                    self.mail.push((to, text));
                }
                Output::Event(event) => self.events.push(event),
                Output::Close(_) => {}
            }
        }
    }

    /// Takes everything that has arrived at the actor.
    pub fn take(&mut self, actor: &Actor) -> Vec<String> {
        let (mine, rest) = std::mem::take(&mut self.mail).into_iter().partition(|(to, _)| actor.is_at(to));
        self.mail = rest;
        let mine: Vec<(Destination, String)> = mine;
        mine.into_iter().map(|(_, text)| text).collect()
    }

    /// Takes the one message that has arrived at the actor and begins like this; drops what else came.
    #[track_caller]
    pub fn expect(&mut self, actor: &Actor, start: &str) -> String {
        let came = self.take(actor);
        match came.iter().find(|text| text.starts_with(start)) {
            Some(text) => text.clone(),
            None => {
                panic!("no `{start}` at {}; came: {came:#?}; elsewhere: {:#?}", actor.address(), self.mail)
            }
        }
    }

    /// Nothing has arrived at the actor.
    #[track_caller]
    pub fn expect_nothing(&mut self, actor: &Actor) {
        let came = self.take(actor);
        assert!(came.is_empty(), "at {}: {came:#?}", actor.address());
    }

    /// Time passes; timers fire on the way.
    pub fn pass(&mut self, by: Duration) {
        let end = self.now.instant + by;
        while let Some(due) = self.edge.poll_timeout().filter(|due| *due <= end) {
            let step = due.saturating_duration_since(self.now.instant);
            self.now = self.now.after(step);
            self.speak();
            self.edge.handle_timeout(self.now);
            self.collect();
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.instant));
    }

    /// Who may speak on the pairs that are open: true for side A.
    pub fn open_rules(&self) -> Vec<(bool, LegRules)> {
        let ports = self.ports.lock().expect("lock");
        let open = ports.rules.iter().filter(|((pair, _), _)| ports.open.contains_key(pair));
        open.map(|((_, is_a), rules)| (*is_a, rules.clone())).collect()
    }

    /// A packet of RTP comes from everybody who speaks.
    pub fn speak(&mut self) {
        for pair in self.ports.lock().expect("lock").open.values() {
            for side in &self.speakers {
                pair.counters.side(*side).packets.fetch_add(1, Relaxed);
                pair.counters.side(*side).bytes.fetch_add(172, Relaxed);
                let quality = &pair.counters.leg(*side).quality;
                quality.store(&Measured { rtp: quality.read().rtp + 1, ..Measured::default() });
            }
        }
    }

    /// Nobody speaks, until silence has ended the calls whose `idle_timeout` is 60 s.
    pub fn fall_silent(&mut self) {
        self.speakers.clear();
        self.pass(Duration::from_secs(60));
    }

    /// What the relay counts of the only pair that is open.
    pub fn counters(&self) -> Arc<PairCounters> {
        let ports = self.ports.lock().expect("lock");
        assert_eq!(ports.open.len(), 1);
        ports.open.values().next().expect("one").counters.clone()
    }

    /// Who was not heard, and why.
    pub fn unheard(&self) -> Vec<&Unheard> {
        let unheard = self.events.iter().filter_map(|event| match event {
            Event::Unheard { unheard, .. } => Some(unheard),
            _ => None,
        });
        unheard.collect()
    }

    /// Media addresses that live calls have named.
    pub fn call_peers(&self) -> Vec<String> {
        self.ports.lock().expect("lock").call_peers.keys().map(SocketAddr::to_string).collect()
    }

    pub fn status(&self) -> Status {
        self.edge.status()
    }

    pub fn refused(&self) -> Vec<&Refused> {
        self.events
            .iter()
            .filter_map(|event| if let Event::Refused(refused) = event { Some(refused) } else { None })
            .collect()
    }

    /// Records of calls that policy refused.
    pub fn refused_calls(&self) -> Vec<&Cdr> {
        self.events
            .iter()
            .filter_map(|event| if let Event::CallRefused(cdr) = event { Some(&**cdr) } else { None })
            .collect()
    }

    pub fn why(&self, call_id: &str) -> Vec<turnpike::policy::explain::Explanation> {
        self.edge.why(call_id)
    }

    pub fn cdrs(&self) -> Vec<&Cdr> {
        self.events
            .iter()
            .filter_map(|event| if let Event::CallEnded(cdr) = event { Some(&**cdr) } else { None })
            .collect()
    }

    /// After the longest of RFC 3261's timers nothing is left.
    #[track_caller]
    pub fn assert_clean(&mut self) {
        self.pass(Duration::from_secs(70));
        let status = self.status();
        assert_eq!((status.server_transactions, status.client_transactions), (0, 0), "transactions left");
        assert_eq!((status.calls, status.answered_calls), (0, 0), "calls left");
        assert_eq!(status.relay.pairs, 0, "ports left");
        assert_eq!(self.call_peers(), [""; 0], "addresses that calls named");
        assert_eq!(self.edge.poll_timeout().filter(|_| status.registrations == 0), None, "timers left");
    }
}
