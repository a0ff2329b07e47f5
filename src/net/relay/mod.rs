//! The relay with sockets: pairs are opened here, on the edge's thread, and served by worker threads. Those also serve TURN.
//!
//! ```text
//!   edge ── open, set_leg, close, flush ──▶ mailbox + doorbell ──▶ worker (poll, recvmmsg, verdict, sendmmsg)
//!        ◀──────── counters (atomics) ───────────────────────────┘
//! ```
//!
//! | module | |
//! |---|---|
//! | `mailbox`, `worker`, `token`, `pace` | a worker's loop, what it is told and what its poll says |
//! | `path` | a packet's way through a worker |
//! | `pairs` | media pairs: what arrives on one side leaves from the other |
//! | `turn` | the TURN server, its clients and its relayed sockets |
//! | `dtls` | TURN clients over DTLS |
//! | `streams` | TURN clients over TCP and TLS |
//! | `peers` | connections with peers of TCP allocations |
//! | `pools`, `resting`, `directory` | shared by all: which ports are free, which rest with their sockets, who has which |
//! | `shortcut` | from one relayed address of ours to another, also between workers |

mod directory;
pub(super) mod dtls;
mod mailbox;
mod pace;
mod pairs;
mod path;
mod peers;
mod pools;
mod resting;
mod shortcut;
mod start;
pub(super) mod streams;
mod token;
mod turn;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::node::TurnAllocation;
use crate::base::PeerAddr;
use crate::base::ban::Banned;
use crate::media::dtls::Certificate;
use crate::relay::{
    LegRules, OpenError, OpenPair, Owner, PairCounters, PairId, Relay, RelayAddress, RelayUsage, SavedLeg,
    SavedPair, Settings, Side, SideAddrs, SideCounters,
};
use crate::sdp::dtls::Fingerprint;
use crate::turn::totals::{Counters, Totals};
use directory::Directory;
use mailbox::{Command, Mailbox, WorkerHandle};
use pairs::NewPair;
use pools::{Opened, Pools, Taken};
use start::Started;
pub use start::TurnServer;

/// [`Relay`] with UDP sockets. Dropping it closes every pair and joins the workers.
pub struct UdpRelay {
    workers: Vec<WorkerHandle>,
    turn: Option<TurnWorkers>,
    totals: Vec<Arc<SideCounters>>,
    pools: Arc<Pools>,
    directory: Arc<Directory>,
    /// For media over DTLS: the workers show the same one.
    certificate: Arc<Certificate>,
    open: FxHashMap<PairId, Open>,
    last_id: u64,
}

/// What is kept of an open pair.
struct Open {
    worker: usize,
    ports: [Taken; 2],
    shown: [SideAddrs; 2],
}

impl UdpRelay {
    /// Starts the workers; pairs can be opened on `addresses`, and `certificate` is shown to whom they do DTLS-SRTP with. Fails if the system has no random numbers, threads or
    /// pollers left.
    pub fn start(
        settings: Settings,
        addresses: impl IntoIterator<Item = RelayAddress>,
        certificate: Certificate,
        turn: Option<TurnServer>,
    ) -> io::Result<UdpRelay> {
        let addresses = addresses.into_iter().collect();
        let certificate = Arc::new(certificate);
        let Started { workers, totals, turn, pools, directory } =
            start::start(settings, &certificate, addresses, turn)?;
        Ok(UdpRelay {
            workers,
            turn,
            totals,
            pools,
            directory,
            certificate,
            open: FxHashMap::default(),
            last_id: 0,
        })
    }

    /// Counters of each worker since its start, for metrics: packets of all its pairs and sides.
    pub fn worker_counters(&self) -> Vec<Arc<SideCounters>> {
        self.totals.clone()
    }

    /// The TURN servers of the workers, if there are any, for those who look at them and drain them.
    pub fn turn(&self) -> Option<TurnWorkers> {
        self.turn.clone()
    }

    /// Tells the TURN servers of all workers, if there are any.
    fn tell_turn(&mut self, command: impl Fn() -> Command) {
        if self.turn.is_some() {
            self.workers.iter_mut().for_each(|worker| _ = worker.tell(command()));
        }
    }
}

/// The TURN servers of all workers, seen from outside. Clones are the same.
#[derive(Clone)]
pub struct TurnWorkers {
    mailboxes: Arc<[Mailbox]>,
    counters: Vec<Arc<Counters>>,
    alternates: Arc<[SocketAddr]>,
}

impl TurnWorkers {
    /// Clients are heard from now on.
    pub fn listen(&self) {
        self.tell(|| Command::Listen);
    }

    /// What they have counted, all together.
    pub fn totals(&self) -> Totals {
        self.counters.iter().map(|counters| counters.read()).sum()
    }

    /// All allocations. A worker that has stopped has none.
    pub async fn allocations(&self) -> Vec<TurnAllocation> {
        let ask = |mailbox: &Mailbox| {
            let (reply, answer) = oneshot::channel();
            mailbox.tell(Command::List(reply));
            answer
        };
        let answers: Vec<_> = self.mailboxes.iter().map(ask).collect();
        let mut all = Vec::new();
        for answer in answers {
            all.extend(answer.await.unwrap_or_default());
        }
        all
    }

    /// New clients are sent elsewhere from now on (RFC 8656 §7.2); allocations that there are live on.
    pub fn drain(&self) {
        self.tell(|| Command::Drain(self.alternates.clone()));
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for mailbox in self.mailboxes.iter() {
            mailbox.tell(command());
        }
    }
}

impl std::fmt::Debug for TurnWorkers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TurnWorkers({})", self.mailboxes.len())
    }
}

impl UdpRelay {
    /// Opens a pair on `addresses`, by side, with the sockets that `bind` finds there for a worker.
    fn open_with(
        &mut self,
        addresses: [RelayAddress; 2],
        bind: impl Fn(&Pools, Side, IpAddr, usize) -> Result<Opened, OpenError>,
        counters: PairCounters,
        saved: [Option<Box<SavedLeg>>; 2],
    ) -> Result<OpenPair, OpenError> {
        let [a, b] = addresses;
        let least = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.pairs);
        let worker = least.map_or(0, |(number, _)| number);
        let of_a = bind(&self.pools, Side::A, a.bind, worker)?;
        let taken_a = of_a.taken;
        let of_b = match bind(&self.pools, Side::B, b.bind, worker) {
            Ok(of_b) => of_b,
            Err(error) => {
                drop(of_a);
                self.pools.give_back_pair(taken_a);
                return Err(error);
            }
        };
        let taken_b = of_b.taken;
        self.last_id += 1;
        let id = PairId(self.last_id);
        let counters = Arc::new(counters);
        let shown = [SideAddrs::new(a.advertise, taken_a.port), SideAddrs::new(b.advertise, taken_b.port)];
        for address in all_of(&shown) {
            self.directory.promise(address, worker);
        }
        let rested = [of_a.rested, of_b.rested];
        let sockets = [of_a.sockets, of_b.sockets].map(|side| side.map(Some));
        let pair = NewPair { id, sockets, rested, shown, counters: counters.clone(), saved };
        if !self.workers[worker].tell(Command::Open(pair)) {
            all_of(&shown).for_each(|address| self.directory.remove(address));
            self.pools.give_back_pair(taken_a);
            self.pools.give_back_pair(taken_b);
            return Err(OpenError::CannotBind);
        }
        self.workers[worker].pairs += 1;
        self.open.insert(id, Open { worker, ports: [taken_a, taken_b], shown });
        let [a, b] = shown;
        Ok(OpenPair { id, a, b, counters })
    }
}

impl Relay for UdpRelay {
    fn open(&mut self, a: RelayAddress, b: RelayAddress) -> Result<OpenPair, OpenError> {
        let bind = |pools: &Pools, _, ip, worker| pools.open_pair(ip, worker);
        self.open_with([a, b], bind, PairCounters::default(), [None, None])
    }

    fn reopen(&mut self, a: RelayAddress, b: RelayAddress, saved: &SavedPair) -> Result<OpenPair, OpenError> {
        let port_of = |side| saved.side(side).rtp.port();
        let legs = [Side::A, Side::B].map(|side| Some(Box::new(saved.side(side).clone())));
        let bind = |pools: &Pools, side, ip, _| pools.bind_pair_at(ip, port_of(side)).map(Opened::fresh);
        self.open_with([a, b], bind, saved.counters(), legs)
    }

    fn set_leg(&mut self, pair: PairId, side: Side, rules: LegRules) {
        if let Some(open) = self.open.get(&pair) {
            self.workers[open.worker].tell(Command::SetLeg(pair, side, rules));
        }
    }

    fn close(&mut self, pair: PairId) {
        let Some(open) = self.open.remove(&pair) else { return };
        for address in all_of(&open.shown) {
            self.directory.remove(address);
        }
        let worker = &mut self.workers[open.worker];
        worker.pairs -= 1;
        self.pools.begin_to_close(&open.ports);
        worker.tell(Command::Close(pair, open.ports));
    }

    fn owner_of(&self, addr: SocketAddr) -> Option<Owner> {
        self.directory.owner_of(addr)
    }

    fn serves_turn(&self) -> bool {
        self.turn.is_some()
    }

    fn open_call_peer(&mut self, peer: PeerAddr) {
        self.tell_turn(|| Command::OpenCallPeer(peer));
    }

    fn close_call_peer(&mut self, peer: PeerAddr) {
        self.tell_turn(|| Command::CloseCallPeer(peer));
    }

    fn ban(&mut self, banned: &Banned, until: Option<Instant>) {
        self.tell_turn(|| Command::Ban(banned.clone(), until));
    }

    fn lift_ban(&mut self, banned: &Banned) {
        self.tell_turn(|| Command::LiftBan(banned.clone()));
    }

    fn dtls_fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint().clone()
    }

    fn flush(&mut self) {
        self.workers.iter_mut().for_each(WorkerHandle::wake);
    }

    /// The ports of a pair that was closed a moment ago count as free.
    fn usage(&self) -> RelayUsage {
        RelayUsage {
            pairs: self.open.len(),
            ports_taken: self.pools.taken(),
            ports_total: self.pools.total(),
        }
    }
}

/// The addresses of both sides.
fn all_of(shown: &[SideAddrs; 2]) -> impl Iterator<Item = SocketAddr> + use<> {
    let [a, b] = *shown;
    [a.rtp(), a.rtcp(), b.rtp(), b.rtcp()].into_iter().map(|address| address.0)
}

#[cfg(test)]
mod tests;
