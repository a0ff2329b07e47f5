//! The relay with sockets: pairs are opened here, on the edge's thread, and served by worker threads.
//!
//! ```text
//!   edge ── open, set_leg, close ──▶ mailbox + doorbell ──▶ worker (poll, recvmmsg, verdict, sendmmsg)
//!        ◀──────── Idle (EventSink) ──────────────────────┘
//! ```

mod pace;
mod sockets;
mod worker;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mio::{Poll, Waker};
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng, TryRng};
use rustc_hash::FxHashMap;

use crate::base::{PeerAddr, RelayedAddr};
use crate::relay::ports::PortPool;
use crate::relay::{
    LegRules, OpenError, OpenPair, Owner, PairCounters, PairId, Relay, RelayAddress, RelayEvent, RelayUsage,
    Settings, Side, SideAddrs, SideCounters,
};
use worker::{Command, DOORBELL, Ends, Worker};

/// Told what happens, on a worker's thread: it must not block.
pub type EventSink = Box<dyn FnMut(RelayEvent) + Send>;

/// Commands that wait for one worker. It takes all of them at least once a round, so whoever finds it full waits for
/// milliseconds.
const MAILBOX: usize = 1024;
/// Ports tried for one side when others have bound them.
const BIND_ATTEMPTS: usize = 32;

/// [`Relay`] with UDP sockets. Dropping it closes every pair and joins the workers.
pub struct UdpRelay {
    rng: StdRng,
    workers: Vec<WorkerHandle>,
    /// By bind address.
    pools: FxHashMap<IpAddr, PortPool>,
    open: FxHashMap<PairId, Open>,
    /// Pairs that workers have been told to close.
    closing: FxHashMap<PairId, [Taken; 2]>,
    /// Closed by a worker; at most as many as `closing`.
    closed: Receiver<PairId>,
    /// Advertised addresses of the open pairs.
    ours: FxHashMap<SocketAddr, PairId>,
    last_id: u64,
}

/// What is kept of an open pair.
struct Open {
    worker: usize,
    ports: [Taken; 2],
    shown: [SideAddrs; 2],
}

/// An even port and its twin, taken from a pool.
#[derive(Clone, Copy)]
struct Taken {
    bind: IpAddr,
    port: u16,
}

/// This end of a worker.
struct WorkerHandle {
    /// `None` once it is told to stop.
    mailbox: Option<SyncSender<Command>>,
    rung: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    totals: Arc<SideCounters>,
    pairs: usize,
}

impl UdpRelay {
    /// Starts the workers; pairs can be opened on the bind addresses `binds`. Fails if the system has no random numbers,
    /// threads or pollers left.
    pub fn start(
        settings: Settings,
        binds: impl IntoIterator<Item = IpAddr>,
        events: EventSink,
    ) -> io::Result<UdpRelay> {
        let mut seed = <StdRng as SeedableRng>::Seed::default();
        SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
        let events = Arc::new(Mutex::new(events));
        let (closed_sender, closed) = channel();
        let mut workers = Vec::new();
        for number in 0..settings.workers.max(1) {
            workers.push(WorkerHandle::start(number, &settings, events.clone(), closed_sender.clone())?);
        }
        let mut rng = StdRng::from_seed(seed);
        let mut pools = FxHashMap::default();
        for bind in binds {
            pools.entry(bind).or_insert_with(|| PortPool::new(settings.ports.clone(), &mut rng));
        }
        Ok(UdpRelay {
            rng,
            workers,
            pools,
            open: FxHashMap::default(),
            closing: FxHashMap::default(),
            closed,
            ours: FxHashMap::default(),
            last_id: 0,
        })
    }

    /// Counters of each worker since its start, for metrics: packets of all its pairs and sides.
    pub fn worker_counters(&self) -> Vec<Arc<SideCounters>> {
        self.workers.iter().map(|worker| worker.totals.clone()).collect()
    }

    /// Takes a port pair of `bind`'s pool and binds it.
    fn bind(&mut self, bind: IpAddr) -> Result<(Taken, [UdpSocket; 2]), OpenError> {
        let pool = self.pools.get_mut(&bind).ok_or(OpenError::CannotBind)?;
        for _ in 0..BIND_ATTEMPTS {
            let port = pool.take(&mut self.rng).ok_or(OpenError::PortsExhausted)?;
            match sockets::bind(bind, port) {
                Ok(sockets) => return Ok((Taken { bind, port }, sockets)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::warn!(%bind, port, "a media port is in use by another process: relay.ports overlaps");
                    pool.quarantine(port);
                }
                Err(error) => {
                    pool.give_back(port);
                    tracing::warn!(%bind, port, %error, "a media port cannot be bound: {}", advice(&error));
                    return Err(OpenError::CannotBind);
                }
            }
        }
        Err(OpenError::CannotBind)
    }

    fn give_back(&mut self, taken: Taken) {
        if let Some(pool) = self.pools.get_mut(&taken.bind) {
            pool.give_back(taken.port);
        }
    }

    /// Ports whose sockets a worker has closed go back to their pools.
    fn collect_closed(&mut self) {
        while let Ok(pair) = self.closed.try_recv() {
            for taken in self.closing.remove(&pair).into_iter().flatten() {
                self.give_back(taken);
            }
        }
    }
}

/// What an administrator can do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n, LimitNOFILE=)",
        Some(libc::EADDRNOTAVAIL) => {
            "relay.addresses must name an address of this machine (see `ip address`)"
        }
        Some(libc::EACCES) => "relay.ports must be above 1023",
        _ => "check relay.addresses and relay.ports",
    }
}

impl Relay for UdpRelay {
    fn open(&mut self, a: RelayAddress, b: RelayAddress) -> Result<OpenPair, OpenError> {
        self.collect_closed();
        let (taken_a, sockets_a) = self.bind(a.bind)?;
        let (taken_b, sockets_b) = self.bind(b.bind).inspect_err(|_| self.give_back(taken_a))?;
        self.last_id += 1;
        let id = PairId(self.last_id);
        let counters = Arc::new(PairCounters::default());
        let least = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.pairs);
        let worker = least.map_or(0, |(number, _)| number);
        let command = Command::Open(id, [sockets_a, sockets_b], counters.clone());
        if !self.workers[worker].tell(command) {
            self.give_back(taken_a);
            self.give_back(taken_b);
            return Err(OpenError::CannotBind);
        }
        self.workers[worker].pairs += 1;
        let shown = [shown(a, taken_a.port), shown(b, taken_b.port)];
        self.ours.extend(shown.iter().flat_map(|side| [(side.rtp.0, id), (side.rtcp.0, id)]));
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
        for side in open.shown {
            self.ours.remove(&side.rtp.0);
            self.ours.remove(&side.rtcp.0);
        }
        let worker = &mut self.workers[open.worker];
        worker.pairs -= 1;
        worker.tell(Command::Close(pair));
        self.closing.insert(pair, open.ports);
        self.collect_closed();
    }

    fn owner_of(&self, addr: SocketAddr) -> Option<Owner> {
        self.ours.get(&addr).copied().map(Owner::Pair)
    }

    // The TURN server is not on the workers yet.
    fn open_call_peer(&mut self, _peer: PeerAddr) {}

    fn close_call_peer(&mut self, _peer: PeerAddr) {}

    fn revoke_user(&mut self, _user: &str) {}

    /// The ports of a pair that was closed a moment ago count as free.
    fn usage(&self) -> RelayUsage {
        RelayUsage {
            pairs: self.open.len(),
            ports_taken: 4 * self.open.len(),
            ports_total: self.pools.values().map(PortPool::total).sum(),
        }
    }
}

fn shown(address: RelayAddress, port: u16) -> SideAddrs {
    let at = |port| RelayedAddr(SocketAddr::new(address.advertise, port));
    SideAddrs { rtp: at(port), rtcp: at(port + 1) }
}

impl WorkerHandle {
    fn start(
        number: usize,
        settings: &Settings,
        events: Arc<Mutex<EventSink>>,
        closed: std::sync::mpsc::Sender<PairId>,
    ) -> io::Result<WorkerHandle> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), DOORBELL)?;
        let (sender, mailbox) = sync_channel(MAILBOX);
        let rung = Arc::new(AtomicBool::new(false));
        let totals = Arc::new(SideCounters::default());
        let ends = Ends { mailbox, rung: rung.clone(), closed, events, totals: totals.clone() };
        let worker = Worker::new(poll, ends, settings.idle_timeout);
        let thread = std::thread::Builder::new().name(format!("relay-{number}")).spawn(move || {
            if let Err(error) = worker.run() {
                tracing::error!(%error, "relay worker {number} has stopped: restart turnpike");
            }
        })?;
        Ok(WorkerHandle { mailbox: Some(sender), rung, waker, thread: Some(thread), totals, pairs: 0 })
    }

    /// False if the worker is gone.
    fn tell(&self, command: Command) -> bool {
        let told = self.mailbox.as_ref().is_some_and(|mailbox| mailbox.send(command).is_ok());
        self.ring();
        told
    }

    /// One system call for all commands that are put into the mailbox before the worker looks.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a relay worker cannot be woken: restart turnpike");
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.mailbox = None;
        self.ring();
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
