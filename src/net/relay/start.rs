//! Starting the workers.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::Poll;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};

use super::TurnWorkers;
use super::directory::Directory;
use super::dtls::{self, Associations};
use super::mailbox::{Mailbox, WorkerHandle};
use super::pairs::Pairs;
use super::path::PacketPath;
use super::pools::Pools;
use super::resting::{self, Resting};
use super::shortcut::shortcuts;
use super::streams::{self, Streams};
use super::turn::{Grounds, Policies, RelayedSockets, Reserve, Turn};
use super::worker::Worker;
use crate::base::NodeKey;
use crate::media::dtls::Certificate;
use crate::net::bind::TurnSocket;
use crate::net::settings::TurnSettings;
use crate::net::shard::now;
use crate::net::udp;
use crate::policy;
use crate::relay::forward::Handshakes;
use crate::relay::{RelayAddress, Settings, SideCounters};
use crate::turn::connection::Place;
use crate::turn::credentials::{Accounts, Credentials};
use crate::turn::peers::Own;
use crate::turn::quota::Books;
use crate::turn::server;
use crate::turn::totals::Counters;

/// DTLS handshakes with endpoints of calls that a worker has under way at once; whoever comes on top is heard when it comes
/// again.
const MOST_HANDSHAKES: usize = 512;
/// The directory names as many.
const MOST_WORKERS: usize = 255;

/// The TURN server that the workers are to serve.
pub struct TurnServer {
    /// What the config says.
    pub settings: TurnSettings,
    /// The sockets of its listeners: for each worker, as many as there are listeners.
    pub(in crate::net) sockets: Vec<Vec<TurnSocket>>,
    /// Of the node.
    pub(in crate::net) key: NodeKey,
    /// Every SIP, TURN and admin listener, as [`Own::listeners`] wants them.
    pub(in crate::net) listeners: Vec<SocketAddr>,
    /// What its DTLS associations are told.
    pub(in crate::net) dtls: dtls::Settings,
    /// What its connections are told.
    pub(in crate::net) streams: streams::Settings,
    /// Of the node.
    pub(in crate::net) policy: policy::Shared,
    /// How many listeners SIP has.
    pub(in crate::net) sip_listeners: usize,
}

/// What was started.
pub(super) struct Started {
    pub workers: Vec<WorkerHandle>,
    /// Of each worker.
    pub totals: Vec<Arc<SideCounters>>,
    pub turn: Option<TurnWorkers>,
    pub pools: Arc<Pools>,
    pub directory: Arc<Directory>,
}

/// What all workers have in common.
struct Common {
    pools: Arc<Pools>,
    directory: Arc<Directory>,
    reserve: Reserve,
    mailboxes: Arc<[Mailbox]>,
    turn: Option<Serving>,
}

/// What the TURN servers of all workers have in common.
struct Serving {
    settings: TurnSettings,
    server: server::Settings,
    accounts: Arc<Accounts>,
    books: Books,
    key: NodeKey,
    dtls: dtls::Settings,
    streams: streams::Settings,
    policies: Policies,
}

/// Starts the workers, which show `certificate` to whom they do DTLS-SRTP with.
pub(super) fn start(
    settings: Settings,
    certificate: &Arc<Certificate>,
    mut addresses: Vec<RelayAddress>,
    turn: Option<TurnServer>,
) -> io::Result<Started> {
    addresses.extend(turn.iter().flat_map(|turn| &turn.settings.addresses).map(|turn| turn.address));
    let binds = addresses.iter().map(|address| address.bind);
    let count = settings.workers.clamp(1, MOST_WORKERS);
    let resting = Resting::new(most_at_rest(&settings, &addresses, count));
    let pools = Arc::new(Pools::new(&settings.ports, binds, resting, seeded()?));
    let directory = Arc::new(Directory::new(addresses.iter().map(|address| address.advertise)));
    let (turn, sockets) = match turn {
        Some(turn) => {
            let (serving, sockets) = Serving::new(turn, &settings, &addresses, count)?;
            (Some(serving), sockets)
        }
        None => (None, Vec::new()),
    };
    let alternates = turn.as_ref().map(|turn| turn.settings.alternates.clone().into());
    let mut ends = Vec::new();
    for _ in 0..count {
        let poll = Poll::new()?;
        let (mailbox, inbox) = Mailbox::new(poll.registry())?;
        ends.push((poll, mailbox, inbox));
    }
    let mailboxes: Arc<[Mailbox]> = ends.iter().map(|(_, mailbox, _)| mailbox.clone()).collect();
    let common = Common {
        pools: pools.clone(),
        directory: directory.clone(),
        reserve: Reserve::default(),
        mailboxes: mailboxes.clone(),
        turn,
    };
    let (mut workers, mut totals, mut counters) = (Vec::new(), Vec::new(), Vec::new());
    let mut sockets = sockets.into_iter();
    let shortcuts = shortcuts(count, &directory)?;
    for (number, ((poll, mailbox, inbox), shortcuts)) in ends.into_iter().zip(shortcuts).enumerate() {
        shortcuts.watch(poll.registry())?;
        let of_pairs = Arc::new(SideCounters::default());
        let handshakes = Handshakes::new(certificate.clone(), MOST_HANDSHAKES);
        let pairs = Pairs::new(of_pairs.clone(), directory.addresses(), handshakes);
        let (turn, of_turn) = common.turn(number, &poll, sockets.next().unwrap_or_default())?.unzip();
        let path = PacketPath::new(pairs, turn, shortcuts, now());
        let worker = Worker::new(poll, inbox, number, directory.clone(), pools.clone(), path);
        workers.push(WorkerHandle::start(number, mailbox, || worker.run())?);
        totals.push(of_pairs);
        counters.extend(of_turn);
    }
    let turn = alternates.map(|alternates| TurnWorkers { mailboxes, counters, alternates });
    Ok(Started { workers, totals, turn, pools, directory })
}

/// How many pairs of sockets may rest on each worker, at each address.
fn most_at_rest(settings: &Settings, addresses: &[RelayAddress], workers: usize) -> usize {
    let binds: HashSet<IpAddr> = addresses.iter().map(|address| address.bind).collect();
    let files = udp::raise_open_files().unwrap_or_default();
    resting::most_at_each(binds.len() * workers, settings.ports.len() / 2, files)
}

impl Serving {
    /// Besides, the sockets of the listeners.
    fn new(
        turn: TurnServer,
        settings: &Settings,
        addresses: &[RelayAddress],
        workers: usize,
    ) -> io::Result<(Serving, Vec<Vec<TurnSocket>>)> {
        let accounts = Arc::new(Accounts::new(turn.settings.accounts.clone(), seeded()?.random()));
        let own = Own {
            listeners: turn.listeners.clone(),
            relay_addresses: addresses.iter().flat_map(|at| [at.bind, at.advertise]).collect(),
            relay_ports: settings.ports.clone(),
        };
        let server = server::Settings {
            roles: turn.settings.roles.clone(),
            capacity: turn.settings.capacity,
            own,
            place: Place { worker: 0, of: workers as u32 },
        };
        let books = Books::new(turn.settings.capacity.allocations);
        let TurnServer { settings, sockets, key, dtls, streams, policy, sip_listeners, .. } = turn;
        let policies = Policies::new(policy, sip_listeners, &settings.listeners);
        Ok((Serving { settings, server, accounts, books, key, dtls, streams, policies }, sockets))
    }
}

impl Common {
    /// The TURN server of a worker, with its listeners in its poll, and what it counts.
    fn turn(
        &self,
        worker: usize,
        poll: &Poll,
        sockets: Vec<TurnSocket>,
    ) -> io::Result<Option<(Turn, Arc<Counters>)>> {
        let Some(serving) = &self.turn else { return Ok(None) };
        let grounds = Grounds {
            worker,
            addresses: serving.settings.addresses.clone(),
            pools: self.pools.clone(),
            directory: self.directory.clone(),
            reserve: self.reserve.clone(),
            registry: poll.registry().try_clone()?,
        };
        let credentials = Credentials::new(serving.accounts.clone(), serving.key.clone());
        let place = Place { worker: worker as u32, ..serving.server.place };
        let mut server = server::Server::new(
            server::Settings { place, ..serving.server.clone() },
            credentials,
            serving.books.clone(),
            RelayedSockets::new(grounds),
            Box::new(seeded()?),
        );
        server.set_rules(Box::new(serving.policies.clone()));
        let registry = poll.registry().try_clone()?;
        let counters = server.counters().clone();
        let now = now().instant;
        let dtls = Associations::new(serving.dtls.clone(), seeded()?.random(), counters.clone(), now);
        let dtls = dtls.map_err(io::Error::other)?;
        let streams = Streams::new(serving.streams.clone(), registry, counters.clone(), now);
        let turn = Turn::new(server, sockets, dtls, streams, self.mailboxes.clone(), poll.registry(), now)?;
        Ok(Some((turn, counters)))
    }
}

fn seeded() -> io::Result<StdRng> {
    let mut seed = <StdRng as SeedableRng>::Seed::default();
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(StdRng::from_seed(seed))
}
