//! Media pairs on a worker: their sockets, both sides, and what is counted about them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::directory::{Directory, Home};
use super::path::{Outlet, Step};
use super::token::{PairSocket, Ready};
use crate::base::RelayedAddr;
use crate::net::udp::Sent;
use crate::relay::forward::{Arrived, Pair, Reason, Verdict};
use crate::relay::{Component, LegRules, PairCounters, PairId, Side, SideAddrs, SideCounters};

/// The four sockets of a pair, by side, then component.
pub(super) type Sockets = [[UdpSocket; 2]; 2];

/// What a worker is given to serve.
pub(super) struct NewPair {
    pub id: PairId,
    pub sockets: Sockets,
    /// By side.
    pub shown: [SideAddrs; 2],
    pub counters: Arc<PairCounters>,
}

/// The pairs of a worker.
pub(super) struct Pairs {
    open: Slab<OpenPair>,
    slots: FxHashMap<PairId, usize>,
    /// Counters of all its pairs, also the closed ones.
    totals: Arc<SideCounters>,
    /// To the check that is being answered.
    answer: Vec<u8>,
    /// Our relay addresses, as advertised.
    own: Arc<[IpAddr]>,
}

struct OpenPair {
    new: NewPair,
    pair: Pair,
    /// Or since when it is waited for.
    last_relayed: Instant,
}

impl Pairs {
    pub fn new(totals: Arc<SideCounters>, own: Arc<[IpAddr]>) -> Pairs {
        Pairs { open: Slab::new(), slots: FxHashMap::default(), totals, answer: Vec::new(), own }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Serves a pair from now on, as the directory of `worker` says.
    pub fn open(
        &mut self,
        new: NewPair,
        registry: &Registry,
        directory: &Directory,
        worker: usize,
        now: Instant,
    ) {
        let entry = self.open.vacant_entry();
        let slot = entry.key();
        for side in [Side::A, Side::B] {
            for component in [Component::Rtp, Component::Rtcp] {
                let socket = PairSocket { slot, side, component };
                let fd = new.sockets[side as usize][component as usize].as_raw_fd();
                let token = Ready::Pair(socket).token();
                if let Err(error) = registry.register(&mut SourceFd(&fd), token, Interest::READABLE) {
                    tracing::warn!(%error, "a media socket cannot be watched: raise fs.epoll.max_user_watches");
                }
                directory.keep_promise(shown(&new, side, component).0, worker, Home::Pair(socket));
            }
        }
        self.slots.insert(new.id, slot);
        let pair = Pair::new(self.own.clone(), new.counters.clone());
        entry.insert(OpenPair { new, pair, last_relayed: now });
    }

    /// New rules for one side; silence counts from now on.
    pub fn set_leg(&mut self, id: PairId, side: Side, rules: LegRules, now: Instant) {
        if let Some(open) = self.slots.get(&id).and_then(|slot| self.open.get_mut(*slot)) {
            open.pair.set_crypto(side, &rules.crypto, now);
            open.pair.set_leg(side, rules);
            open.last_relayed = now;
        }
    }

    /// Closes the sockets, which takes them out of the poll, too. False if there is no such pair.
    pub fn close(&mut self, id: PairId) -> bool {
        let slot = self.slots.remove(&id);
        slot.is_some_and(|slot| self.open.try_remove(slot).is_some())
    }

    /// Those that have relayed nothing for so long; each again when as much time has passed.
    pub fn idle(&mut self, timeout: Duration, now: Instant) -> impl Iterator<Item = PairId> {
        let idle = move |open: &&mut OpenPair| now.duration_since(open.last_relayed) >= timeout;
        self.open.iter_mut().map(|(_, open)| open).filter(idle).map(move |open| {
            open.last_relayed = now;
            open.new.id
        })
    }

    pub fn socket(&self, socket: PairSocket) -> Option<&UdpSocket> {
        let open = self.open.get(socket.slot)?;
        Some(&open.new.sockets[socket.side as usize][socket.component as usize])
    }

    /// True if what comes to the socket may grow, into the headroom before it.
    pub fn may_grow(&self, at: PairSocket) -> bool {
        self.open.get(at.slot).is_some_and(|open| open.pair.does_srtp())
    }

    /// What becomes of a packet that came from `source` to one of the sockets: `place` of `bytes`; `None` if it did not fit
    /// in there.
    #[inline]
    pub fn forward(
        &mut self,
        at: PairSocket,
        source: SocketAddr,
        bytes: &mut [u8],
        place: Option<Range<usize>>,
        now: Instant,
    ) -> Step {
        let Some(open) = self.open.get_mut(at.slot) else { return Step::Done };
        let Some(mut place) = place else { return self.drop(at, Reason::Payload) };
        let packet = bytes.get(place.clone()).unwrap_or_default();
        let arrived = Arrived { side: at.side, component: at.component, source, now };
        let verdict = if open.pair.is_for_srtp(packet) {
            open.pair.forward_srtp(&arrived, bytes, &mut place)
        } else if open.pair.does_ice() {
            self.answer.clear();
            open.pair.forward_ice(&arrived, packet, &mut self.answer)
        } else {
            open.pair.forward(&arrived, packet)
        };
        match verdict {
            Verdict::Forward(exit) => {
                let from = PairSocket { side: at.side.other(), component: exit.component, ..at };
                open.leave(Outlet::Pair(from), from, exit.to, exit.ours, place)
            }
            Verdict::Answer => {
                // It takes the place of what it answers.
                let place = place.start..place.start + self.answer.len();
                let Some(room) = bytes.get_mut(place.clone()) else { return Step::Done };
                room.copy_from_slice(&self.answer);
                open.leave(Outlet::Answer(at), at, source, open.pair.is_own(source.ip()), place)
            }
            Verdict::Done => Step::Done,
            Verdict::Drop(reason) => {
                open.pair.refused(&arrived, reason, bytes.get(place).unwrap_or_default());
                self.drop(at, reason)
            }
        }
    }

    fn drop(&self, at: PairSocket, reason: Reason) -> Step {
        self.count_dropped(at, reason);
        Step::Done
    }

    /// A packet came that is from nobody who may speak, whatever the rules say.
    pub fn refuse(&self, at: PairSocket) {
        self.count_dropped(at, Reason::Source);
    }

    fn count_dropped(&self, at: PairSocket, reason: Reason) {
        let Some(open) = self.open.get(at.slot) else { return };
        for counters in [of_side(&open.new.counters, at.side), &self.totals] {
            add(dropped(counters, reason), 1);
        }
    }

    /// Counts what left from a socket, of `queued` packets.
    pub fn count(&mut self, from: PairSocket, queued: usize, sent: Sent, now: Instant) {
        let Some(open) = self.open.get_mut(from.slot) else { return };
        if sent.datagrams > 0 {
            open.last_relayed = now;
        }
        let lost = queued.saturating_sub(sent.datagrams);
        for counters in [of_side(&open.new.counters, from.side.other()), &self.totals] {
            add(&counters.packets, sent.datagrams);
            add(&counters.bytes, sent.bytes);
            add(&counters.undeliverable, lost);
        }
    }
}

impl OpenPair {
    /// By which way a packet leaves.
    fn leave(&self, by: Outlet, from: PairSocket, to: SocketAddr, ours: bool, packet: Range<usize>) -> Step {
        if ours {
            let from = shown(&self.new, from.side, from.component);
            return Step::ToOwn { by, from, to: RelayedAddr(to), packet, or_leaves: true };
        }
        Step::Leave { by, to, packet }
    }
}

fn shown(pair: &NewPair, side: Side, component: Component) -> RelayedAddr {
    let shown = &pair.shown[side as usize];
    match component {
        Component::Rtp => shown.rtp,
        Component::Rtcp => shown.rtcp,
    }
}

fn of_side(counters: &PairCounters, side: Side) -> &SideCounters {
    match side {
        Side::A => &counters.a,
        Side::B => &counters.b,
    }
}

fn dropped(counters: &SideCounters, reason: Reason) -> &AtomicU64 {
    match reason {
        Reason::Source => &counters.refused_source,
        Reason::Payload => &counters.refused_payload,
        Reason::Authentication => &counters.refused_authentication,
        Reason::Replay => &counters.refused_replay,
        Reason::Undeliverable => &counters.undeliverable,
    }
}

/// This thread is the only writer: a load and a store, no locked instruction.
fn add(counter: &AtomicU64, n: usize) {
    if n > 0 {
        counter.store(counter.load(Ordering::Relaxed) + n as u64, Ordering::Relaxed);
    }
}
