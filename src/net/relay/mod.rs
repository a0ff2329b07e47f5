//! The relay with sockets: pairs are opened here, on the edge's thread, and served by worker threads. Those also serve TURN.
//!
//! ```text
//!   edge ── open, set_leg, close ──▶ mailbox + doorbell ──▶ worker (poll, recvmmsg, verdict, sendmmsg)
//!        ◀──────── Idle (EventSink) ──────────────────────┘
//! ```
//!
//! | module | |
//! |---|---|
//! | `mailbox`, `worker`, `token`, `pace` | a worker's loop, what it is told and what its poll says |
//! | `path` | a packet's way through a worker |
//! | `pairs` | media pairs: what arrives on one side leaves from the other |
//! | `turn` | the TURN server, its clients and its relayed sockets |
//! | `streams` | TURN clients over TCP and TLS |
//! | `pools`, `directory` | shared by all: which ports are free, who has which |
//! | `shortcut` | from one relayed address of ours to another, also between workers |

mod directory;
mod mailbox;
mod pace;
mod pairs;
mod path;
mod pools;
mod shortcut;
pub(super) mod streams;
mod token;
mod turn;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use mio::Poll;
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt, SeedableRng, TryRng};
use rustc_hash::FxHashMap;

use super::bind::TurnSocket;
use super::settings::TurnSettings;
use super::shard::now;
use crate::base::{NodeKey, PeerAddr, RelayedAddr};
use crate::relay::{
    LegRules, OpenError, OpenPair, Owner, PairCounters, PairId, Relay, RelayAddress, RelayEvent, RelayUsage,
    Settings, Side, SideAddrs, SideCounters,
};
use crate::turn::connection::Place;
use crate::turn::credentials::{Accounts, Credentials};
use crate::turn::peers::Own;
use crate::turn::quota::Books;
use crate::turn::server;
use directory::Directory;
use mailbox::{Command, WorkerHandle};
use pairs::{NewPair, Pairs};
use path::PacketPath;
use pools::{Pools, Taken};
use shortcut::shortcuts;
use streams::Streams;
use turn::{Grounds, RelayedSockets, Reserve, Turn};
use worker::Worker;

/// Told what happens, on a worker's thread: it must not block.
pub type EventSink = Box<dyn FnMut(RelayEvent) + Send>;

/// The directory names as many.
const MOST_WORKERS: usize = 255;

/// [`Relay`] with UDP sockets. Dropping it closes every pair and joins the workers.
pub struct UdpRelay {
    workers: Vec<WorkerHandle>,
    serves_turn: bool,
    totals: Vec<Arc<SideCounters>>,
    pools: Arc<Pools>,
    directory: Arc<Directory>,
    open: FxHashMap<PairId, Open>,
    /// Pairs that workers have been told to close.
    closing: FxHashMap<PairId, [Taken; 2]>,
    /// Closed by a worker; at most as many as `closing`.
    closed: Receiver<PairId>,
    /// Advertised addresses of the open pairs.
    of_pairs: FxHashMap<SocketAddr, PairId>,
    last_id: u64,
}

/// What is kept of an open pair.
struct Open {
    worker: usize,
    ports: [Taken; 2],
    shown: [SideAddrs; 2],
}

/// The TURN server that the workers are to serve.
pub struct TurnServer {
    /// What the config says.
    pub settings: TurnSettings,
    /// The sockets of its listeners: for each worker, as many as there are listeners.
    pub(super) sockets: Vec<Vec<TurnSocket>>,
    /// Of the node.
    pub(super) key: NodeKey,
    /// Every SIP, TURN and admin listener, as [`Own::listeners`] wants them.
    pub(super) listeners: Vec<SocketAddr>,
    /// What its connections are told.
    pub(super) streams: streams::Settings,
}

/// What all workers have in common.
struct Common {
    idle_timeout: std::time::Duration,
    pools: Arc<Pools>,
    directory: Arc<Directory>,
    reserve: Reserve,
    turn: Option<Serving>,
}

/// What the TURN servers of all workers have in common.
struct Serving {
    settings: TurnSettings,
    server: server::Settings,
    accounts: Arc<Accounts>,
    books: Books,
    key: NodeKey,
    streams: streams::Settings,
}

impl UdpRelay {
    /// Starts the workers; pairs can be opened on `addresses`. Fails if the system has no random numbers, threads or
    /// pollers left.
    pub fn start(
        settings: Settings,
        addresses: impl IntoIterator<Item = RelayAddress>,
        turn: Option<TurnServer>,
        events: EventSink,
    ) -> io::Result<UdpRelay> {
        let mut rng = seeded()?;
        let mut addresses: Vec<RelayAddress> = addresses.into_iter().collect();
        addresses.extend(turn.iter().flat_map(|turn| &turn.settings.addresses).map(|turn| turn.address));
        let binds = addresses.iter().map(|address| address.bind);
        let pools = Arc::new(Pools::new(&settings.ports, binds, seeded()?));
        let directory = Arc::new(Directory::new(addresses.iter().map(|address| address.advertise)));
        let count = settings.workers.clamp(1, MOST_WORKERS);
        let mut turn_sockets = Vec::new();
        let serves_turn = turn.is_some();
        let turn = turn.map(|turn| {
            turn_sockets = turn.sockets;
            let accounts = Arc::new(Accounts::new(turn.settings.accounts.clone(), rng.random()));
            let own = Own {
                listeners: turn.listeners,
                relay_addresses: addresses.iter().flat_map(|at| [at.bind, at.advertise]).collect(),
                relay_ports: settings.ports.clone(),
            };
            let server = server::Settings {
                roles: turn.settings.roles.clone(),
                capacity: turn.settings.capacity,
                own,
                place: Place { worker: 0, of: count as u32 },
            };
            let books = Books::new(turn.settings.capacity.allocations);
            Serving { settings: turn.settings, server, accounts, books, key: turn.key, streams: turn.streams }
        });
        let common = Common {
            idle_timeout: settings.idle_timeout,
            pools: pools.clone(),
            directory: directory.clone(),
            reserve: Reserve::default(),
            turn,
        };
        let (closed_sender, closed) = channel();
        let (mut workers, mut totals) = (Vec::new(), Vec::new());
        let events = Arc::new(Mutex::new(events));
        let mut turn_sockets = turn_sockets.into_iter();
        for (number, shortcuts) in shortcuts(count, &directory)?.into_iter().enumerate() {
            let poll = Poll::new()?;
            let (mut handle, inbox) =
                WorkerHandle::new(poll.registry(), closed_sender.clone(), events.clone())?;
            let counters = Arc::new(SideCounters::default());
            let turn = common.turn(number, &poll, turn_sockets.next().unwrap_or_default())?;
            shortcuts.watch(poll.registry())?;
            let pairs = Pairs::new(counters.clone(), directory.addresses());
            let path = PacketPath::new(pairs, turn, shortcuts, now());
            let worker =
                Worker::new(poll, inbox, common.idle_timeout, number, common.directory.clone(), path);
            handle.start(number, || worker.run())?;
            workers.push(handle);
            totals.push(counters);
        }
        Ok(UdpRelay {
            workers,
            serves_turn,
            totals,
            pools,
            directory,
            open: FxHashMap::default(),
            closing: FxHashMap::default(),
            closed,
            of_pairs: FxHashMap::default(),
            last_id: 0,
        })
    }

    /// Counters of each worker since its start, for metrics: packets of all its pairs and sides.
    pub fn worker_counters(&self) -> Vec<Arc<SideCounters>> {
        self.totals.clone()
    }

    /// Ports whose sockets a worker has closed go back to their pools.
    fn collect_closed(&mut self) {
        while let Ok(pair) = self.closed.try_recv() {
            for taken in self.closing.remove(&pair).into_iter().flatten() {
                self.pools.give_back_pair(taken);
            }
        }
    }

    /// Tells the TURN servers of all workers, if there are any.
    fn tell_turn(&self, command: impl Fn() -> Command) {
        for worker in self.workers.iter().filter(|_| self.serves_turn) {
            worker.tell(command());
        }
    }
}

impl Common {
    /// The TURN server of a worker, with its listeners in its poll.
    fn turn(&self, worker: usize, poll: &Poll, sockets: Vec<TurnSocket>) -> io::Result<Option<Turn>> {
        let Some(serving) = &self.turn else { return Ok(None) };
        let grounds = Grounds {
            worker,
            addresses: serving.settings.addresses.clone(),
            pools: self.pools.clone(),
            directory: self.directory.clone(),
            reserve: self.reserve.clone(),
            registry: poll.registry().try_clone()?,
        };
        let credentials = Credentials::new(serving.accounts.clone(), serving.key.clone(), now().instant);
        let place = Place { worker: worker as u32, ..serving.server.place };
        let server = server::Server::new(
            server::Settings { place, ..serving.server.clone() },
            credentials,
            serving.books.clone(),
            RelayedSockets::new(grounds),
            Box::new(seeded()?),
        );
        let registry = poll.registry().try_clone()?;
        let counters = server.counters().clone();
        let streams = Streams::new(serving.streams.clone(), registry, counters, now().instant);
        Turn::new(server, sockets, streams, poll.registry()).map(Some)
    }
}

fn seeded() -> io::Result<StdRng> {
    let mut seed = <StdRng as SeedableRng>::Seed::default();
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(StdRng::from_seed(seed))
}

impl Relay for UdpRelay {
    fn open(&mut self, a: RelayAddress, b: RelayAddress) -> Result<OpenPair, OpenError> {
        self.collect_closed();
        let (taken_a, sockets_a) = self.pools.bind_pair(a.bind)?;
        let (taken_b, sockets_b) =
            self.pools.bind_pair(b.bind).inspect_err(|_| self.pools.give_back_pair(taken_a))?;
        self.last_id += 1;
        let id = PairId(self.last_id);
        let counters = Arc::new(PairCounters::default());
        let least = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.pairs);
        let worker = least.map_or(0, |(number, _)| number);
        let shown = [shown(a, taken_a.port), shown(b, taken_b.port)];
        for address in all_of(&shown) {
            self.directory.promise(address, worker);
        }
        let pair = NewPair { id, sockets: [sockets_a, sockets_b], shown, counters: counters.clone() };
        if !self.workers[worker].tell(Command::Open(pair)) {
            all_of(&shown).for_each(|address| self.directory.remove(address));
            self.pools.give_back_pair(taken_a);
            self.pools.give_back_pair(taken_b);
            return Err(OpenError::CannotBind);
        }
        self.workers[worker].pairs += 1;
        self.of_pairs.extend(all_of(&shown).map(|address| (address, id)));
        self.open.insert(id, Open { worker, ports: [taken_a, taken_b], shown });
        let [a, b] = shown;
        Ok(OpenPair { id, a, b, counters })
    }

    fn set_leg(&mut self, pair: PairId, side: Side, rules: LegRules) {
        if let Some(open) = self.open.get(&pair) {
            self.workers[open.worker].tell(Command::SetLeg(pair, side, rules));
        }
    }

    fn close(&mut self, pair: PairId) {
        let Some(open) = self.open.remove(&pair) else { return };
        for address in all_of(&open.shown) {
            self.of_pairs.remove(&address);
            self.directory.remove(address);
        }
        let worker = &mut self.workers[open.worker];
        worker.pairs -= 1;
        worker.tell(Command::Close(pair));
        self.closing.insert(pair, open.ports);
        self.collect_closed();
    }

    fn owner_of(&self, addr: SocketAddr) -> Option<Owner> {
        let allocation = || self.directory.is_open(addr).then_some(Owner::Allocation);
        self.of_pairs.get(&addr).copied().map(Owner::Pair).or_else(allocation)
    }

    fn open_call_peer(&mut self, peer: PeerAddr) {
        self.tell_turn(|| Command::OpenCallPeer(peer));
    }

    fn close_call_peer(&mut self, peer: PeerAddr) {
        self.tell_turn(|| Command::CloseCallPeer(peer));
    }

    fn revoke_user(&mut self, user: &str) {
        let user: Arc<str> = user.into();
        self.tell_turn(|| Command::Revoke(user.clone()));
    }

    fn ban(&mut self, source: IpAddr, until: Instant) {
        self.tell_turn(|| Command::Ban(source, until));
    }

    /// The ports of a pair that was closed a moment ago count as free.
    fn usage(&self) -> RelayUsage {
        let closing = 4 * self.closing.len();
        RelayUsage {
            pairs: self.open.len(),
            ports_taken: self.pools.taken().saturating_sub(closing),
            ports_total: self.pools.total(),
        }
    }
}

fn shown(address: RelayAddress, port: u16) -> SideAddrs {
    let at = |port| RelayedAddr(SocketAddr::new(address.advertise, port));
    SideAddrs { rtp: at(port), rtcp: at(port + 1) }
}

/// The addresses of both sides.
fn all_of(shown: &[SideAddrs; 2]) -> impl Iterator<Item = SocketAddr> + use<> {
    let [a, b] = *shown;
    [a.rtp, a.rtcp, b.rtp, b.rtcp].into_iter().map(|address| address.0)
}

#[cfg(test)]
mod tests;
