//! What the edge is told: names resolved, nothing optional that it would have to look up. `config::compile` builds it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::base::{ListenerId, NodeKey, Transport, TrunkId, ZoneId};
use crate::policy::dial_plan::DialPlan;
use crate::relay::{RelayAddress, RelayAddresses};
use crate::sip::digest::{Algorithm, Secret};
use crate::sip::locate::{Server, Wanted};

/// Everything.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the node, in tokens, logs, metrics and CDRs.
    pub name: Arc<str>,
    /// Seals branches and tokens.
    pub key: NodeKey,
    /// Indexed by [`ZoneId`].
    pub zones: Vec<Zone>,
    /// Indexed by [`ListenerId`].
    pub listeners: Vec<Listener>,
    /// The PBX, if any.
    pub pbx: Option<Pbx>,
    /// Indexed by [`TrunkId`].
    pub trunks: Vec<Trunk>,
    /// Read from the top; the first that fits is taken.
    pub routes: Vec<Route>,
    /// Who may log in where a zone says `admit: authenticated`.
    pub users: Users,
    /// TLS peer settings that [`crate::sip::transaction::Destination`] indexes.
    pub tls_peers: Vec<TlsPeer>,
    /// Capacities.
    pub limits: Limits,
}

impl Settings {
    /// The zone of that index.
    pub fn zone(&self, id: ZoneId) -> Option<&Zone> {
        self.zones.get(usize::from(id.0))
    }

    /// Every zone.
    pub fn zone_ids(&self) -> impl Iterator<Item = ZoneId> {
        (0..).map(ZoneId).take(self.zones.len())
    }

    /// The zone of that name.
    pub fn zone_named(&self, name: &str) -> Option<ZoneId> {
        self.zone_ids().find(|id| self.zone(*id).is_some_and(|zone| *zone.name == *name))
    }

    /// The trunk of that name.
    pub fn trunk_named(&self, name: &str) -> Option<(TrunkId, &Trunk)> {
        (0..).map(TrunkId).zip(&self.trunks).find(|(_, trunk)| *trunk.name == *name)
    }

    /// The listener of that name in that zone.
    pub fn listener_named(&self, name: &str, zone: ZoneId) -> Option<(ListenerId, &Listener)> {
        let is_it = |listener: &Listener| *listener.name == *name && listener.zone == zone;
        (0..).map(ListenerId).zip(&self.listeners).find(|(_, listener)| is_it(listener))
    }

    /// The listener of that index.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(usize::from(id.0))
    }

    /// The zone's TCP listener, where it can be called back from `remote`.
    pub fn tcp_listener(&self, zone: ZoneId, remote: SocketAddr) -> Option<ListenerId> {
        let faces = |listener: &Listener| {
            (listener.zone, listener.transport) == (zone, Transport::Tcp)
                && listener.bind.is_ipv4() == remote.is_ipv4()
        };
        Some(ListenerId(u16::try_from(self.listeners.iter().position(faces)?).ok()?))
    }

    /// What the zones are shown of the relay.
    pub fn relay_addresses(&self) -> impl Iterator<Item = RelayAddress> {
        self.zones.iter().filter_map(|zone| zone.relay).flat_map(|relay| relay.iter())
    }

    /// Addresses of this machine, as far as listeners and relay name them.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let relayed = self.relay_addresses().flat_map(|relay| [relay.bind, relay.advertise]);
        let bound = self.listeners.iter().map(|listener| listener.bind.ip());
        let advertised = self.listeners.iter().filter_map(|listener| Some(listener.advertised()?.ip()));
        relayed.chain(bound).chain(advertised).filter(|ip| !ip.is_unspecified())
    }

    /// Trunks of a zone that a password is asked for, and whose.
    pub fn trunks_by_password(&self, zone: ZoneId) -> impl Iterator<Item = (TrunkId, &Arc<str>)> {
        let of_zone = (0..).zip(&self.trunks).filter(move |(_, trunk)| trunk.zone == zone);
        of_zone.filter_map(|(at, trunk)| Some((TrunkId(at), trunk.accept_user.as_ref()?)))
    }

    /// The trunk of that index.
    pub fn trunk(&self, id: TrunkId) -> Option<&Trunk> {
        self.trunks.get(usize::from(id.0))
    }
}

/// A network with a level of trust.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name.
    pub name: Arc<str>,
    /// How far it is trusted.
    pub trust: Trust,
    /// It sees nothing of how other zones are built.
    pub hides_topology: bool,
    /// Nor the Call-IDs that other zones make, which often hold an address.
    pub hides_call_ids: bool,
    /// Who may speak.
    pub admit: Admit,
    /// Sources that belong to it; empty: any.
    pub networks: Vec<IpNetwork>,
    /// Relayed addresses it is shown; `None`: calls to or from it are not anchored.
    pub relay: Option<RelayAddresses>,
    /// Media settings of this zone.
    pub media: Media,
    /// How numbers are dialled there; `None`: policy sees them as they come.
    pub dial_plan: Option<Arc<DialPlan>>,
    /// Session timers of calls to and from it, if it asks for them.
    pub session_timer: Option<SessionTimer>,
}

#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    None,
    Peer,
    Full,
}

/// What a zone asks of those who are neither trunk nor PBX.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    Registered,
    Authenticated,
    Trunks,
    Any,
}

/// Media settings, merged from `relay.media`, the zone's and the trunk's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// What becomes of ICE towards this side, and of what it says of ICE.
    pub ice: Ice,
    /// Which media security the endpoints of this side speak with us.
    pub srtp: Srtp,
    /// Whether media goes through the relay.
    pub anchor: Anchor,
    /// What becomes of SDP that cannot be rewritten: signed, encrypted, or hidden in some other way.
    pub sealed_bodies: SealedBodies,
    /// A call without media for this long is ended on both legs.
    pub idle_timeout: Duration,
}

/// `sealed_bodies:` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedBodies {
    /// 488 or 493.
    Refuse,
    /// It passes, where both sides' settings say so, and media does not go through the relay.
    Pass,
}

/// `ice:` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ice {
    /// As `append`; where the other side does no ICE, as `terminate`.
    Auto,
    /// It passes, and our candidate is added.
    Append,
    /// The same, and no other candidate passes, in either direction.
    RelayOnly,
    /// It ends at us: we are an ICE-lite agent towards an endpoint that does it.
    Terminate,
    /// There is none, and what the side says of it counts for nothing.
    Strip,
}

impl Ice {
    /// The two endpoints may do ICE with one another.
    pub fn may_pass(self) -> bool {
        matches!(self, Ice::Auto | Ice::Append | Ice::RelayOnly)
    }

    /// We may answer the endpoint's checks ourselves.
    pub fn may_terminate(self) -> bool {
        matches!(self, Ice::Auto | Ice::Terminate)
    }
}

/// `srtp:` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Srtp {
    /// Left to the two ends.
    Pass,
    /// Plain RTP.
    Off,
    /// SRTP with keys in SDP.
    Sdes,
    /// SRTP with keys by DTLS.
    Dtls,
    /// SRTP if the endpoint can, else plain RTP.
    Optional,
    /// SRTP of either kind.
    Required,
}

impl Srtp {
    /// Plain RTP of this side's endpoint is refused.
    pub fn is_demanded(self) -> bool {
        matches!(self, Srtp::Sdes | Srtp::Dtls | Srtp::Required)
    }
}

/// `anchor:` in the configuration.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Always,
    /// Only where the two sides are in different zones, or one is behind NAT.
    WhenNeeded,
    Never,
}

/// Users whose passwords we check ourselves. The names are the configuration's, so nobody aims at a bucket.
#[derive(Clone, Debug, Default)]
pub struct Users {
    /// Stands in every challenge.
    pub realm: Arc<str>,
    secrets: FxHashMap<Arc<str>, Secret>,
    all_know_sha256: bool,
}

impl Users {
    /// Each with what is known of the password, for this realm.
    pub fn new(realm: &str, secrets: impl IntoIterator<Item = (Arc<str>, Secret)>) -> Users {
        let secrets: FxHashMap<_, _> = secrets.into_iter().collect();
        let all_know_sha256 = secrets.values().all(|secret| secret.knows(Algorithm::Sha256));
        Users { realm: realm.into(), secrets, all_know_sha256 }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Name and secret.
    pub fn get(&self, name: &str) -> Option<(&Arc<str>, &Secret)> {
        self.secrets.get_key_value(name)
    }

    /// What every user can be asked in, the strongest first: a phone answers the first that it knows, and who is asked must not depend on
    /// the user (ATTACKS.md: enumeration).
    pub fn algorithms(&self) -> &'static [Algorithm] {
        match self.all_know_sha256 {
            true => &[Algorithm::Sha256, Algorithm::Md5],
            false => &[Algorithm::Md5],
        }
    }
}

/// Where we listen, and how we name ourselves there.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Its zone.
    pub zone: ZoneId,
    /// Its transport.
    pub transport: Transport,
    /// The bound address; port 0 is replaced by the real one before the edge starts.
    pub bind: SocketAddr,
    /// Host (and port) in Via, Record-Route, Contact: `advertise`, else the bind address.
    pub advertise: Arc<str>,
}

impl Listener {
    /// The address that it advertises, if that is no name.
    pub fn advertised(&self) -> Option<SocketAddr> {
        self.advertise.parse().ok()
    }
}

/// A host that requests are sent to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The URI as typed.
    pub uri: Arc<str>,
    /// Host part: an address, or a name that `net/` keeps located ([`crate::edge::Edge::handle_located`]).
    pub host: Host,
    /// As typed; `None`: what the DNS says, else the transport's default.
    pub port: Option<u16>,
    /// As typed, or what RFC 3263 §4.1 says of a URI with an address or a port; `None`: the DNS says it.
    pub transport: Option<Transport>,
    /// A SIPS URI.
    pub secure: bool,
    /// Lower first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
    /// Index into [`Settings::tls_peers`]; `u16::MAX` if TLS is not spoken to it.
    pub tls: u16,
    /// What may be spoken to it, the best liked first, and the listener whose address and zone then face it. Chosen by
    /// `config::compile`: same zone; same transport if there is one, else for UDP none is an error, for TCP and TLS any of the
    /// zone.
    pub ways: SmallVec<[(Transport, ListenerId); 3]>,
}

impl Target {
    /// As it stands in a Request-URI; the port only where it was typed and is not the transport's own.
    pub fn host_and_port(&self) -> String {
        let host = match &self.host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.to_string(),
        };
        match self.port {
            Some(port) if port != self.spoken().default_port() => format!("{host}:{port}"),
            _ => host,
        }
    }

    /// Where it is, if the URI says that itself.
    pub fn server(&self) -> Option<Server> {
        let Host::Ip(ip) = self.host else { return None };
        let transport = self.spoken();
        let port = self.port.unwrap_or(transport.default_port());
        Some(Server { remote: SocketAddr::new(ip, port), transport, rank: 0, weight: 0 })
    }

    /// What to ask the DNS, if it must be asked.
    pub fn wanted(&self) -> Option<Wanted> {
        let Host::Name(name) = &self.host else { return None };
        let supported = self.ways.iter().map(|(transport, _)| *transport).collect();
        let (port, transport, secure) = (self.port, self.transport, self.secure);
        Some(Wanted { name: name.clone(), port, transport, secure, supported })
    }

    /// The listener that faces it.
    pub fn listener(&self, transport: Transport) -> Option<ListenerId> {
        self.ways.iter().find(|(way, _)| *way == transport).map(|(_, listener)| *listener)
    }

    fn spoken(&self) -> Transport {
        self.transport.unwrap_or(if self.secure { Transport::Tls } else { Transport::Udp })
    }
}

/// An address, or a name to resolve.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// As is.
    Ip(IpAddr),
    /// Located as RFC 3263 says.
    Name(Arc<str>),
}

/// The PBX behind.
#[derive(Clone, Debug)]
pub struct Pbx {
    /// Its zone.
    pub zone: ZoneId,
    /// Tried in order.
    pub hosts: Vec<Target>,
    /// Health by OPTIONS.
    pub health: Option<Probing>,
    /// When to go on to the next host.
    pub failover: Failover,
}

/// OPTIONS probes.
#[derive(Clone, Copy, Debug)]
pub struct Probing {
    /// Interval.
    pub options_every: Duration,
    /// Unanswered ones until it counts as down.
    pub down_after: u32,
}

/// A carrier.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Its name.
    pub name: Arc<str>,
    /// Its zone.
    pub zone: ZoneId,
    /// Where calls to it go; empty: it only calls in.
    pub hosts: Vec<Target>,
    /// Nobody else may speak as this trunk.
    pub accept_from: Vec<IpNetwork>,
    /// Only who shows a certificate with one of these names may, in lower case; empty: certificates do not matter.
    pub accept_names: Vec<Arc<str>>,
    /// Who shows this user's password speaks as this trunk too, wherever in the zone it comes from.
    pub accept_user: Option<Arc<str>>,
    /// Calls at once, both directions.
    pub calls_at_once: Option<u32>,
    /// New calls per interval.
    pub new_calls: Option<(u32, Duration)>,
    /// Media settings.
    pub media: Media,
    /// What is changed in messages to it and from it.
    pub rules: TrunkRules,
    /// Our name and password there.
    pub auth: Option<Auth>,
    /// How its hosts are asked whether they live, if they are.
    pub health: Option<Probing>,
    /// How often we register with it; only with `auth`.
    pub register: Option<Duration>,
    /// Session timers of its calls; `None`: the zone's.
    pub session_timer: Option<SessionTimer>,
}

/// That sessions expire unless they are refreshed (RFC 4028), in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// They are asked to expire after this long, or sooner where the ends want that.
    pub expires: u32,
    /// Never sooner than this; at least 90.
    pub shortest: u32,
}

/// Our name and password at a carrier.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The name.
    pub username: Arc<str>,
    /// The password.
    pub secret: Secret,
}

/// What a trunk's rules change.
#[derive(Clone, Debug, Default)]
pub struct TrunkRules {
    /// How the carrier is told who calls.
    pub caller_id: Option<CallerId>,
    /// On numbers that go to the carrier; the first that matches rewrites.
    pub outbound: Vec<NumberRule>,
    /// On called numbers that come from it.
    pub inbound: Vec<NumberRule>,
    /// Names, or their beginnings with a `*` behind, of header fields that pass in neither direction.
    pub remove: Vec<Box<[u8]>>,
    /// Header fields, name and value, of requests to the carrier.
    pub add: Vec<(Box<str>, Box<str>)>,
}

/// How a carrier is told who calls.
#[derive(Clone, Copy, Debug)]
pub struct CallerId {
    /// Where it looks.
    pub header: CallerIdHeader,
    /// As `+` and digits, or not at all.
    pub e164: bool,
}

/// Header field that carries the caller's number.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerIdHeader {
    PAssertedIdentity,
    PPreferredIdentity,
    RemotePartyId,
    From,
}

/// One rewriting of a number.
#[derive(Clone, Debug)]
pub struct NumberRule {
    /// What it must contain.
    pub pattern: regex_lite::Regex,
    /// What stands there instead; `$1` is the first group.
    pub replace: Box<str>,
}

/// When the next host is tried.
#[derive(Clone, Debug)]
pub struct Failover {
    /// Statuses that move on; default 503.
    pub statuses: Vec<u16>,
    /// No answer at all (not even 100) for this long moves on; default 4 s.
    pub after: Duration,
}

/// Who a request comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The PBX.
    Pbx,
    /// Any trunk (in `from`).
    AnyTrunk,
    /// This trunk.
    Trunk(TrunkId),
    /// Anyone in this zone.
    Zone(ZoneId),
}

/// One line of the routing table.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// Who; empty: everyone.
    pub from: Vec<Party>,
    /// Patterns on the called number or user: exact, or a prefix with `*` at the end; empty: all.
    pub to: Vec<Arc<str>>,
    /// Its calls are exempt from every limit: trunks' limits, policies' limits and rules, our own capacity.
    pub emergency: bool,
    /// What then.
    pub then: RouteThen,
    /// Overrides the PBX's or trunks' default.
    pub failover: Option<Failover>,
}

/// What a route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteThen {
    /// To these, in order.
    SendTo(Vec<Party>),
    /// Refuse with this status.
    Reject(u16),
}

/// How to treat a TLS peer that we call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsPeer {
    /// SNI and the name that the certificate must carry.
    pub server_name: Arc<str>,
    /// How strictly.
    pub verify: Verify,
}

/// `tls: { verify: … }`.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    Name,
    Chain,
    None,
}

/// Capacities: what happens when they are full has a status code and a test.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Transactions of each kind: 503.
    pub transactions: usize,
    /// Calls: 503.
    pub calls: usize,
    /// Registered contacts: 503.
    pub registrations: usize,
    /// Unanswered calls of one source that is neither trunk nor PBX: 503 (ATTACKS.md: ports exhausted by unanswered INVITEs).
    pub unanswered_per_source: usize,
    /// An answered call is ended on both legs after this long: where no media tells us, a lost BYE must not leave it
    /// behind for ever.
    pub call_lifetime: Duration,
    /// Ceiling that Max-Forwards is lowered to.
    pub max_forwards: u32,
    /// Of one message.
    pub message: crate::sip::message::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            transactions: 200_000,
            calls: 100_000,
            registrations: 100_000,
            unanswered_per_source: 200,
            call_lifetime: Duration::from_secs(12 * 3600),
            max_forwards: 70,
            message: Default::default(),
        }
    }
}
