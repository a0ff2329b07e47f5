//! A running Turnpike, for the command line, the demo and the tests: start it, ask it, stop it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::bind::{bind_all, bind_turn};
use super::certificates::{CertificateError, OwnCertificate, OwnCertificates};
use super::feeds::Fetched;
use super::places::Places;
use super::relay::{TurnServer, TurnWorkers, UdpRelay, dtls, streams};
use super::settings::{FeedSource, NetSettings, TurnListener, TurnSettings, TurnTransport};
use super::signalling::{self, Signalling};
use super::udp::own_addresses;
use super::{alerts, data_dir, feeds, open_files, tls};
use crate::base::ban::Banned;
use crate::base::{Now, Transport};
use crate::config::Compiled;
use crate::config::policy::Loaded;
use crate::edge::Edge;
use crate::edge::event::Event;
use crate::edge::live::LiveCall;
use crate::edge::settings::{Listener, Settings, TlsPeer};
use crate::observe::Observers;
use crate::observe::metrics::Metrics;
use crate::observe::settings::Numbers;
use crate::policy::ban::{Ban, NotBanned};
use crate::policy::explain::Explanation;
use crate::policy::hits::PolicyHits;
use crate::relay::RelayAddress;
use crate::{policy, relay, turn};

/// Commands that wait for the signalling thread.
const COMMANDS: usize = 64;
/// Events that a subscriber may leave unread; further ones it misses.
const SUBSCRIBER_EVENTS: usize = 4_096;

/// Everything a node is made of.
#[derive(Debug)]
pub struct NodeSettings {
    /// For the edge.
    pub edge: Settings,
    /// For its policy engine.
    pub policy: policy::Settings,
    /// For the relay.
    pub relay: relay::Settings,
    /// For the sockets.
    pub net: NetSettings,
    /// Where the admin listener is, if there is one: nobody's peer.
    pub admin: Option<SocketAddr>,
    /// How numbers stand in the log.
    pub numbers: Numbers,
}

impl NodeSettings {
    /// From a config and its policies. The node's key is read from `data_dir`, or made there.
    pub fn new(config: Compiled, policies: Loaded) -> Result<NodeSettings, StartError> {
        let feeds = policies.feeds.clone();
        let policy = policies.settings(&config);
        let Compiled { data_dir, edge, relay, net, admin, logging, .. } = config;
        let net = NetSettings { feeds, ..net };
        let admin = admin.map(|admin| admin.listen);
        let key =
            data_dir::node_key(&data_dir).map_err(|error| StartError::DataDir { path: data_dir, error })?;
        Ok(NodeSettings { edge: edge.with_key(key), policy, relay, net, admin, numbers: logging.numbers })
    }
}

/// Why a node did not start; says what to type.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("listener '{name}': cannot listen on {}://{addr}: {error}: {advice}", transport.scheme())]
    Bind { name: Arc<str>, transport: Transport, addr: SocketAddr, error: io::Error, advice: String },
    #[error("relay.turn listener '{name}': cannot listen on {transport}://{addr}: {error}: {advice}")]
    BindTurn { name: Arc<str>, transport: &'static str, addr: SocketAddr, error: io::Error, advice: String },
    #[error("listener '{0}' has no certificate: add `certificate: NAME` to it")]
    NoCertificate(Arc<str>),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error("data_dir {}: {error}. It must be a folder that this user may write to", path.display())]
    DataDir { path: PathBuf, error: io::Error },
    #[error("the system gave no thread, poller or random numbers: {0}")]
    System(#[from] io::Error),
}

/// What is live.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// In the edge.
    pub edge: crate::edge::Status,
    /// Connections: open, being opened, being closed.
    pub connections: usize,
    /// Media relayed and dropped since the start, also in calls that go on.
    pub media: relay::Traffic,
    /// Of the TURN server, all its workers together; `None` if there is none.
    pub turn: Option<turn::totals::Totals>,
}

/// A TURN allocation, for people to see.
#[derive(Clone, Debug)]
pub struct TurnAllocation {
    /// What its client speaks.
    pub transport: TurnTransport,
    /// All else.
    pub listed: turn::allocation::Listed,
}

/// The node has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// Why the policies of before are in force.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum NotReplaced {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("the system gave no thread to fetch lists: {0}")]
    System(#[from] io::Error),
}

/// What the signalling thread is asked.
pub(super) enum Command {
    Status(oneshot::Sender<Status>),
    Subscribe { subscriber: SyncSender<Event>, messages: bool },
    Drain { grace: Duration, done: oneshot::Sender<()> },
    EndCalls,
    LeaveCalls(oneshot::Sender<()>),
    Reload,
    Policies { policies: Box<policy::Settings>, fetched: Fetched, done: oneshot::Sender<()> },
    Edge(AtEdge),
    KeepBans(oneshot::Sender<()>),
    Stop,
}

/// Something to ask of the edge, or to do to it.
pub(super) type AtEdge = Box<dyn FnOnce(&mut Edge, Now) + Send>;

/// A running node. Dropping it stops it at once, without a word to anybody.
pub struct Node {
    handle: Handle,
    listeners: Vec<Listener>,
    turn_listeners: Vec<TurnListener>,
    thread: Option<JoinHandle<()>>,
    alerts: Option<JoinHandle<()>>,
}

impl Node {
    /// Binds, reads or makes certificates, starts the threads. Returns when the calls of before a restart are taken up again and
    /// messages are read.
    pub fn start(settings: NodeSettings) -> Result<Node, StartError> {
        let NodeSettings { mut edge, mut policy, relay, mut net, admin, numbers } = settings;
        let in_data_dir = |error| StartError::DataDir { path: net.data_dir.clone(), error };
        data_dir::make(&net.data_dir).map_err(in_data_dir)?;
        let (lists, fetched) = feeds::start(std::mem::take(&mut net.feeds), &net.data_dir)?;
        policy.feeds = lists;
        let policy = policy::Shared::from(policy::Engine::new(policy, &edge.key));
        open_files::raise(&edge, &relay, &net);
        let of_turn = net.turn.iter().flat_map(|turn| turn.listeners.iter().map(|listener| &listener.name));
        let names = edge.listeners.iter().map(|listener| &listener.name).chain(of_turn).cloned().collect();
        let mut observers =
            Observers::start(&edge.name, names, numbers, &net.data_dir).map_err(in_data_dir)?;
        let metrics = observers.metrics().clone();
        let alerts = match net.webhook.take() {
            Some(webhook) => {
                let (queue, thread) = alerts::start(webhook, &edge.name, &net.data_dir, metrics.clone())?;
                observers.alert(queue);
                Some(thread)
            }
            None => None,
        };
        let certificates = net
            .certificates
            .iter()
            .map(|certificate| OwnCertificate::load(certificate, &net.data_dir).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let tls_servers = tls_servers(&edge, &net, &certificates)?;
        let tls_clients = tls_clients(&edge, &net, &certificates)?;
        let sockets = bind_all(&mut edge.listeners)?;
        let places = Places::new(net.capacity);
        let turn = match net.turn.take() {
            Some(turn) => {
                let streams = streams::Settings {
                    tls: turn_tls(&turn, &certificates)?,
                    places: places.clone(),
                    outbound_bytes: net.capacity.outbound_bytes,
                    patience: net.patience,
                };
                let dtls = dtls::Settings {
                    certificates: turn_dtls(&turn, &certificates)?,
                    places: places.clone(),
                    patience: net.patience,
                };
                Some(turn_server(turn, &edge, admin, relay.workers, dtls, streams, policy.clone())?)
            }
            None => None,
        };
        let turn_listeners = turn.iter().flat_map(|turn| turn.settings.listeners.clone()).collect();

        let (commands, inbox) = mpsc::channel(COMMANDS);
        let certificate = data_dir::media_certificate(&net.data_dir).map_err(in_data_dir)?;
        let relay = UdpRelay::start(relay, edge.relay_addresses(), certificate, turn)?;
        let turn = relay.turn();
        let listeners = edge.listeners.clone();
        let data_dir = Arc::from(net.data_dir.as_path());
        let signalling = Signalling {
            edge: Arc::new(edge),
            policy,
            relay,
            places,
            net,
            certificates,
            tls_servers,
            tls_clients,
            sockets,
            observers,
            fetched,
            commands: inbox,
        };
        let thread = signalling::start(signalling)?;
        let handle = Handle { commands, metrics, turn, data_dir };
        Ok(Node { handle, listeners, turn_listeners, thread: Some(thread), alerts })
    }

    /// The listeners, with the addresses that they were really given.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Those of the TURN server, likewise.
    pub fn turn_listeners(&self) -> &[TurnListener] {
        &self.turn_listeners
    }

    /// Where the listener of this name is bound.
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|listener| &*listener.name == name).map(|listener| listener.bind)
    }

    /// Where the TURN listener of this name is bound.
    pub fn turn_listener(&self, name: &str) -> Option<SocketAddr> {
        self.turn_listeners.iter().find(|listener| &*listener.name == name).map(|listener| listener.bind)
    }

    /// A way to the node that can be passed around.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What is live. For callers outside of async code.
    pub fn status(&self) -> Result<Status, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.handle.commands.blocking_send(Command::Status(reply)).map_err(|_| Stopped)?;
        answer.blocking_recv().map_err(|_| Stopped)
    }

    /// Every event from now on, with `messages` also every SIP message (for ladders). What is not read in time is lost.
    pub fn subscribe(&self, messages: bool) -> Result<Receiver<Event>, Stopped> {
        let (subscriber, events) = sync_channel(SUBSCRIBER_EVENTS);
        let command = Command::Subscribe { subscriber, messages };
        self.handle.commands.blocking_send(command).map_err(|_| Stopped)?;
        Ok(events)
    }

    /// Takes no new calls, waits up to `grace` for the live ones to end, ends those that are left, and stops. For
    /// callers outside of async code.
    pub fn shutdown(self, grace: Duration) {
        let (done, drained) = oneshot::channel();
        if self.handle.commands.blocking_send(Command::Drain { grace, done }).is_ok() {
            let _ = drained.blocking_recv();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // In async code a blocking send would panic; a full queue means that the thread will look soon.
        while let Err(mpsc::error::TrySendError::Full(_)) = self.handle.commands.try_send(Command::Stop) {
            std::thread::yield_now();
        }
        // Alerts end when nobody is left who could raise one.
        for thread in [self.thread.take(), self.alerts.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

/// A way to a node.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    metrics: Arc<Metrics>,
    turn: Option<TurnWorkers>,
    data_dir: Arc<Path>,
}

impl Handle {
    /// What is live.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Status(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// What policy decided about a call and what it looked at; nothing if the call is not known, or too long ago.
    pub async fn why(&self, call_id: String) -> Result<Vec<Explanation>, Stopped> {
        self.at_edge(move |edge, _| edge.why(&call_id)).await
    }

    async fn at_edge<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Edge, Now) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let what: AtEdge = Box::new(move |edge, now| {
            // Whoever asked may have gone.
            let _ = reply.send(what(edge, now));
        });
        self.commands.send(Command::Edge(what)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// All live calls.
    pub async fn calls(&self) -> Result<Vec<LiveCall>, Stopped> {
        self.at_edge(|edge, now| edge.calls(now)).await
    }

    /// How often each rule spoke, and how many bans last.
    pub async fn policy_hits(&self) -> Result<(Vec<PolicyHits>, usize), Stopped> {
        self.at_edge(|edge, now| edge.policy_hits(now)).await
    }

    /// Everyone who is banned.
    pub async fn bans(&self) -> Result<Vec<Ban>, Stopped> {
        self.at_edge(|edge, now| edge.bans(now)).await
    }

    /// See [`Edge::ban`]. When this returns, the ban is on the disk.
    pub async fn ban(
        &self,
        banned: Banned,
        length: Option<Duration>,
        reason: String,
        hang_up: bool,
    ) -> Result<Result<(Ban, usize), NotBanned>, Stopped> {
        let outcome = self.at_edge(move |edge, now| edge.ban(banned, length, &reason, hang_up, now)).await?;
        self.keep_bans().await?;
        Ok(outcome)
    }

    /// See [`Edge::lift_ban`]. When this returns, the disk has forgotten it too.
    pub async fn lift_ban(&self, banned: Banned) -> Result<Option<Ban>, Stopped> {
        let lifted = self.at_edge(move |edge, now| edge.lift_ban(&banned, now)).await?;
        self.keep_bans().await?;
        Ok(lifted)
    }

    async fn keep_bans(&self) -> Result<(), Stopped> {
        let (done, kept) = oneshot::channel();
        self.commands.send(Command::KeepBans(done)).await.map_err(|_| Stopped)?;
        kept.await.map_err(|_| Stopped)
    }

    /// Metrics in OpenMetrics text form.
    pub async fn metrics(&self) -> Result<String, Stopped> {
        let status = self.status().await?;
        let (policies, bans) = self.policy_hits().await?;
        self.metrics.set_policy(&policies, bans);
        Ok(self.metrics.text(&status.edge, status.connections, &status.media, status.turn.as_ref()))
    }

    /// All TURN allocations.
    pub async fn turn_allocations(&self) -> Result<Vec<TurnAllocation>, Stopped> {
        if self.commands.is_closed() {
            return Err(Stopped);
        }
        match &self.turn {
            Some(turn) => Ok(turn.allocations().await),
            None => Ok(Vec::new()),
        }
    }

    /// Takes no new calls and waits up to `grace` for the live ones to end; ends those that are left. The node still
    /// runs when this returns: drop it then.
    pub async fn drain(&self, grace: Duration) -> Result<(), Stopped> {
        let (done, drained) = oneshot::channel();
        self.commands.send(Command::Drain { grace, done }).await.map_err(|_| Stopped)?;
        drained.await.map_err(|_| Stopped)
    }

    /// For a restart: calls that ring get 503, answered ones stand until the next run takes them up. The node still runs when this
    /// returns: drop it then.
    pub async fn leave_calls(&self) -> Result<(), Stopped> {
        let (done, left) = oneshot::channel();
        self.commands.send(Command::LeaveCalls(done)).await.map_err(|_| Stopped)?;
        left.await.map_err(|_| Stopped)
    }

    /// Cuts the grace of a drain short: BYE goes out on both legs of every call now.
    pub async fn end_calls(&self) -> Result<(), Stopped> {
        self.commands.send(Command::EndCalls).await.map_err(|_| Stopped)
    }

    /// Other policies are in force when this returns, as [`policy::Engine::replace`] says, and their lists are fetched. For callers
    /// outside of async code.
    pub fn replace_policies(
        &self,
        mut policies: policy::Settings,
        feeds: Vec<FeedSource>,
    ) -> Result<(), NotReplaced> {
        let (lists, fetched) = feeds::start(feeds, &self.data_dir)?;
        policies.feeds = lists;
        let (done, replaced) = oneshot::channel();
        let command = Command::Policies { policies: Box::new(policies), fetched, done };
        self.commands.blocking_send(command).map_err(|_| Stopped)?;
        Ok(replaced.blocking_recv().map_err(|_| Stopped)?)
    }

    /// Reads certificates that have changed, opens the CDR file anew.
    pub async fn reload(&self) -> Result<(), Stopped> {
        self.commands.send(Command::Reload).await.map_err(|_| Stopped)
    }

    /// Returns when the node has stopped, for whatever reason.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }
}

/// Binds the TURN server's listeners, and says which addresses are nobody's peers.
fn turn_server(
    mut settings: TurnSettings,
    edge: &Settings,
    admin: Option<SocketAddr>,
    workers: usize,
    dtls: dtls::Settings,
    streams: streams::Settings,
    policy: policy::Shared,
) -> Result<TurnServer, StartError> {
    let sockets = bind_turn(&mut settings.listeners, workers.max(1))?;
    let relayed: Vec<_> =
        edge.relay_addresses().chain(settings.addresses.iter().map(|turn| turn.address)).collect();
    let sip = edge.listeners.iter().map(|listener| (listener.bind, Some(&listener.advertise)));
    let turn = settings.listeners.iter().map(|listener| (listener.bind, Some(&listener.advertise)));
    let listeners = as_peers(sip.chain(turn).chain(admin.map(|admin| (admin, None))), &relayed)?;
    let (key, sip_listeners) = (edge.key.clone(), edge.listeners.len());
    Ok(TurnServer { settings, sockets, key, listeners, dtls, streams, policy, sip_listeners })
}

/// The addresses under which one of `listeners` (as bound, and as advertised) could be named as a peer. A wildcard stands for
/// every address of the machine. Behind 1:1 NAT, what is bound to an address can be reached by the one advertised for it.
fn as_peers<'a>(
    listeners: impl Iterator<Item = (SocketAddr, Option<&'a Arc<str>>)>,
    relayed: &[RelayAddress],
) -> io::Result<Vec<SocketAddr>> {
    let own = own_addresses()?;
    let mut all = Vec::new();
    for (bind, advertised) in listeners {
        let stands_for =
            |ip: IpAddr| ip == bind.ip() || bind.ip().is_unspecified() && ip.is_ipv4() == bind.is_ipv4();
        let behind_nat = relayed.iter().filter(|at| stands_for(at.bind)).map(|at| at.advertise);
        let ips = own.iter().copied().filter(|ip| stands_for(*ip)).chain(behind_nat).chain([bind.ip()]);
        all.extend(ips.map(|ip| SocketAddr::new(ip, bind.port())));
        all.extend(advertised.and_then(|advertised| advertised.parse::<SocketAddr>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// By index of the TURN listener.
fn turn_tls(
    turn: &TurnSettings,
    certificates: &[Arc<OwnCertificate>],
) -> Result<Vec<Option<Arc<rustls::ServerConfig>>>, StartError> {
    let of_tls = turn_certificates(turn, certificates, TurnTransport::Tls)?.into_iter();
    let server = |certificate| tls::server(OwnCertificates::one(certificate), None, &[]);
    Ok(of_tls.map(|certificate| certificate.map(server).transpose()).collect::<Result<_, _>>()?)
}

/// By index of the TURN listener. What DTLS cannot use is said now.
fn turn_dtls(
    turn: &TurnSettings,
    certificates: &[Arc<OwnCertificate>],
) -> Result<Vec<Option<Arc<OwnCertificate>>>, StartError> {
    let of_dtls = turn_certificates(turn, certificates, TurnTransport::Dtls)?;
    for certificate in of_dtls.iter().flatten() {
        certificate.for_dtls()?;
    }
    Ok(of_dtls)
}

/// By index of the TURN listener: of those with this transport.
fn turn_certificates(
    turn: &TurnSettings,
    certificates: &[Arc<OwnCertificate>],
    transport: TurnTransport,
) -> Result<Vec<Option<Arc<OwnCertificate>>>, StartError> {
    let certificate = |listener: &TurnListener| {
        if listener.transport != transport {
            return Ok(None);
        }
        let certificate = listener.certificate.and_then(|index| certificates.get(index));
        certificate.cloned().map(Some).ok_or_else(|| StartError::NoCertificate(listener.name.clone()))
    };
    turn.listeners.iter().map(certificate).collect()
}

fn tls_servers(
    edge: &Settings,
    net: &NetSettings,
    certificates: &[Arc<OwnCertificate>],
) -> Result<Vec<Option<Arc<rustls::ServerConfig>>>, StartError> {
    let server = |(i, listener): (usize, &Listener)| {
        if !matches!(listener.transport, Transport::Tls | Transport::Wss) {
            return Ok(None);
        }
        let missing = || StartError::NoCertificate(listener.name.clone());
        let settings = net.listeners.get(i).and_then(Option::as_ref).ok_or_else(missing)?;
        let shown = settings.certificates.iter().filter_map(|index| certificates.get(*index).cloned());
        let shown = OwnCertificates::new(shown.collect()).ok_or_else(missing)?;
        let spoken = if listener.transport.is_web() { tls::WEB } else { tls::SIP };
        Ok(Some(tls::server(shown, settings.client_ca.as_deref(), spoken)?))
    };
    edge.listeners.iter().enumerate().map(server).collect()
}

fn tls_clients(
    edge: &Settings,
    net: &NetSettings,
    certificates: &[Arc<OwnCertificate>],
) -> Result<Vec<tls::Client>, StartError> {
    let client = |(i, peer): (usize, &TlsPeer)| {
        let trust = net.tls_peers.get(i);
        let ca = trust.and_then(|trust| trust.ca.as_deref());
        let own = trust.and_then(|trust| certificates.get(trust.certificate?)).cloned();
        Ok(tls::client(peer, ca, own)?)
    };
    edge.tls_peers.iter().enumerate().map(client).collect()
}
