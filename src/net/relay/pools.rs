//! Ports and their sockets: which are free on each bind address, which rest, and binding one. Shared by the edge's thread (pairs)
//! and the workers (allocations): locked per request, never per packet.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::rngs::StdRng;
use rustc_hash::FxHashMap;
use socket2::{Domain, Protocol, Socket, Type};

use super::pairs::Sockets;
use super::resting::{Rested, Resting};
use crate::relay::OpenError;
use crate::relay::ports::PortPool;

/// What the kernel may hold for one socket: more than a second of HD video, less than what thousands of flooded sockets
/// would need to exhaust a small machine. (It doubles this for its own bookkeeping.)
pub(super) const RECEIVE_BUFFER: usize = 128 * 1024;
/// Connections of peers that the kernel holds until we accept them.
const BACKLOG: i32 = 64;
/// Ports tried when others have bound them.
const BIND_ATTEMPTS: usize = 32;

/// A port of a bind address, taken from its pool; of a pair the even one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub bind: IpAddr,
    pub port: u16,
}

/// The sockets of one side of a pair.
pub(super) struct Opened {
    pub taken: Taken,
    /// For RTP and RTCP.
    pub sockets: [UdpSocket; 2],
    /// They rested on the worker that they are for: they are in its poll already.
    pub rested: bool,
}

/// The pools of all bind addresses.
pub(super) struct Pools(Mutex<Inner>);

struct Inner {
    by_address: FxHashMap<IpAddr, PortPool>,
    /// Ports of pairs that a worker has been told to close.
    closing: usize,
    /// In the eyes of the pools they are taken.
    resting: Resting,
    rng: StdRng,
}

impl Pools {
    /// Each of `binds` has all of `ports`.
    pub fn new(
        ports: &RangeInclusive<u16>,
        binds: impl IntoIterator<Item = IpAddr>,
        resting: Resting,
        mut rng: StdRng,
    ) -> Pools {
        let mut by_address = FxHashMap::default();
        for bind in binds {
            by_address.entry(bind).or_insert_with(|| PortPool::new(ports.clone(), &mut rng));
        }
        Pools(Mutex::new(Inner { by_address, closing: 0, resting, rng }))
    }

    /// An even port of `bind` and the next one, for RTP and RTCP of a pair on `worker`.
    pub fn open_pair(&self, bind: IpAddr, worker: usize) -> Result<Opened, OpenError> {
        let rested = self.open().rested(worker, bind);
        match rested {
            Some(rested) => Ok(rested.wake()),
            None => self.bind_pair(bind).map(Opened::fresh),
        }
    }

    /// An even port of `bind` and the next one, that nobody had a moment ago: for a reservation, or where none rests.
    pub fn bind_pair(&self, bind: IpAddr) -> Result<(Taken, [UdpSocket; 2]), OpenError> {
        self.bind(bind, 2, PortPool::take_pair, pair_of_sockets(bind))
    }

    /// This even port of `bind` and the next one, and no others.
    pub fn bind_pair_at(&self, bind: IpAddr, even: u16) -> Result<(Taken, [UdpSocket; 2]), OpenError> {
        let take = |pool: &mut PortPool, _: &mut dyn rand::Rng| pool.take_pair_at(even).then_some(even);
        self.bind(bind, 2, take, pair_of_sockets(bind)).map_err(|error| match error {
            OpenError::PortsExhausted => OpenError::PortTaken,
            other => other,
        })
    }

    /// One port of `bind`.
    pub fn bind_one(&self, bind: IpAddr, even: bool) -> Result<(Taken, UdpSocket), OpenError> {
        let take = if even { PortPool::take_even } else { PortPool::take_one };
        self.bind(bind, 1, take, |port| socket(SocketAddr::new(bind, port)))
    }

    /// One port of `bind`, for TCP connections.
    pub fn bind_tcp(&self, bind: IpAddr) -> Result<(Taken, TcpListener), OpenError> {
        self.bind(bind, 1, PortPool::take_one, |port| listener(SocketAddr::new(bind, port)))
    }

    /// Both ports of a pair, whose sockets are closed, can be had again.
    pub fn give_back_pair(&self, pair: Taken) {
        self.open().give_back_pair(pair);
    }

    /// The ports of a pair count as free from now on. They are not before [`Self::give_back_closed`].
    pub fn begin_to_close(&self, pair: &[Taken; 2]) {
        self.open().closing += 2 * pair.len();
    }

    /// It is closed on `worker`: its sockets rest. Those that cannot are closed; only then can their ports be bound again.
    pub fn give_back_closed(&self, pair: [Taken; 2], sockets: Sockets, worker: usize, now: Instant) {
        let may_rest = self.open().resting.has_places();
        for (taken, sockets) in pair.into_iter().zip(sockets) {
            match sockets {
                [Some(rtp), Some(rtcp)] if may_rest => {
                    let rested = Rested::new(taken, [rtp, rtcp], now);
                    let mut inner = self.open();
                    inner.closing -= 2;
                    let unwanted = inner.resting.put(worker, rested);
                    drop(inner);
                    self.close(unwanted);
                }
                others => {
                    drop(others);
                    let mut inner = self.open();
                    inner.closing -= 2;
                    inner.give_back_pair(taken);
                }
            }
        }
    }

    /// Sockets need not rest any longer.
    fn close(&self, rested: Vec<Rested>) {
        for Rested { taken, sockets, .. } in rested {
            drop(sockets);
            self.give_back_pair(taken);
        }
    }

    /// Closes all that rest, at one address or everywhere; false if there are none.
    fn close_all(&self, bind: Option<IpAddr>) -> bool {
        let all = self.open().resting.clear(bind);
        let were_any = !all.is_empty();
        self.close(all);
        were_any
    }

    /// A port whose socket is closed can be had again.
    pub fn give_back_one(&self, one: Taken) {
        if let Some(pool) = self.open().by_address.get_mut(&one.bind) {
            pool.give_back_one(one.port);
        }
    }

    /// Ports of all addresses.
    pub fn total(&self) -> usize {
        self.open().by_address.values().map(PortPool::total).sum()
    }

    /// Ports that are handed out.
    pub fn taken(&self) -> usize {
        let inner = self.open();
        let taken: usize = inner.by_address.values().map(PortPool::taken).sum();
        taken.saturating_sub(inner.closing + 2 * inner.resting.len())
    }

    #[cfg(test)]
    pub fn let_rest(&self, most: usize) {
        self.open().resting = Resting::new(most);
    }

    #[cfg(test)]
    pub fn at_rest(&self) -> usize {
        self.open().resting.len()
    }

    /// Takes `count` ports from the one that `take` says on, and binds them; meanwhile, others can have theirs.
    fn bind<S>(
        &self,
        bind: IpAddr,
        count: u16,
        take: impl Fn(&mut PortPool, &mut dyn rand::Rng) -> Option<u16>,
        sockets: impl Fn(u16) -> io::Result<S>,
    ) -> Result<(Taken, S), OpenError> {
        for _ in 0..BIND_ATTEMPTS {
            let mut taken = self.open().take(bind, &take);
            if taken == Err(OpenError::PortsExhausted) && self.close_all(Some(bind)) {
                taken = self.open().take(bind, &take);
            }
            let port = taken?;
            let all = port..=port + (count - 1);
            match sockets(port) {
                Ok(sockets) => return Ok((Taken { bind, port }, sockets)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::warn!(%bind, port, "a relay port is in use by another process: relay.ports overlaps");
                    let mut inner = self.open();
                    all.for_each(|port| inner.quarantine(bind, port));
                }
                Err(error) => {
                    all.for_each(|port| self.give_back_one(Taken { bind, port }));
                    if is_out_of_files(&error) && self.close_all(None) {
                        continue;
                    }
                    tracing::warn!(%bind, port, %error, "a relay port cannot be bound: {}", advice(&error));
                    return Err(OpenError::CannotBind);
                }
            }
        }
        Err(OpenError::CannotBind)
    }

    /// What a thread that panicked left is whole: nothing is done halfway.
    fn open(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    pub fn fresh((taken, sockets): (Taken, [UdpSocket; 2])) -> Opened {
        Opened { taken, sockets, rested: false }
    }
}

impl Inner {
    fn give_back_pair(&mut self, pair: Taken) {
        if let Some(pool) = self.by_address.get_mut(&pair.bind) {
            pool.give_back_pair(pair.port);
        }
    }

    fn rested(&mut self, worker: usize, bind: IpAddr) -> Option<Rested> {
        self.resting.take(worker, bind, &mut self.rng)
    }

    fn quarantine(&mut self, bind: IpAddr, port: u16) {
        if let Some(pool) = self.by_address.get_mut(&bind) {
            pool.quarantine(port);
        }
    }

    fn take(
        &mut self,
        bind: IpAddr,
        take: impl Fn(&mut PortPool, &mut dyn rand::Rng) -> Option<u16>,
    ) -> Result<u16, OpenError> {
        let pool = self.by_address.get_mut(&bind).ok_or(OpenError::CannotBind)?;
        take(pool, &mut self.rng).ok_or(OpenError::PortsExhausted)
    }
}

fn pair_of_sockets(bind: IpAddr) -> impl Fn(u16) -> io::Result<[UdpSocket; 2]> {
    move |port| {
        let twin = port.checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
        Ok([socket(SocketAddr::new(bind, port))?, socket(SocketAddr::new(bind, twin))?])
    }
}

pub(super) fn socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // `[::]` beside `0.0.0.0`, and no source is ever spelled ::ffff:192.0.2.1.
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A connection that ended on this port not long ago does not matter; another's listener does.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    // From now on connections to peers may begin at this port (RFC 6062 §5.2).
    socket.set_reuse_port(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// What an administrator can do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        _ if is_out_of_files(error) => "raise the limit of open files (ulimit -n, LimitNOFILE=)",
        Some(libc::EADDRNOTAVAIL) => {
            "relay.addresses must name an address of this machine (see `ip address`)"
        }
        Some(libc::EACCES) => "relay.ports must be above 1023",
        _ => "check relay.addresses and relay.ports",
    }
}
