//! Media pairs on a worker: their sockets, both sides, and what is counted about them.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::directory::{Directory, Home};
use super::path::{Outlet, Step};
use super::pools::socket;
use super::token::{PairSocket, Ready};
use crate::base::{RelayedAddr, TimerId, Timers};
use crate::net::udp::Sent;
use crate::relay::forward::{Arrived, Handshakes, Pair, Reason, Said, Verdict, Way};
use crate::relay::{Component, LegRules, PairCounters, PairId, SavedLeg, Side, SideAddrs, SideCounters};

/// The four sockets of a pair, by side, then component. None for RTCP where that shares RTP's port (RFC 5761).
pub(super) type Sockets = [[Option<UdpSocket>; 2]; 2];

/// What a worker is given to serve.
pub(super) struct NewPair {
    pub id: PairId,
    pub sockets: Sockets,
    /// By side: the sockets rested on this worker, and are in its poll.
    pub rested: [bool; 2],
    /// By side.
    pub shown: [SideAddrs; 2],
    pub counters: Arc<PairCounters>,
    /// By side: what is to hold again when its first rules are set.
    pub saved: [Option<Box<SavedLeg>>; 2],
}

/// The pairs of a worker.
pub(super) struct Pairs {
    /// Boxed: the slab has room for up to twice as many as it ever held, and moves all when it grows.
    open: Slab<Box<OpenPair>>,
    slots: FxHashMap<PairId, usize>,
    /// Counters of all its pairs, also the closed ones.
    totals: Arc<SideCounters>,
    /// To the check that is being answered.
    answer: Vec<u8>,
    /// Our relay addresses, as advertised.
    own: Arc<[IpAddr]>,
    /// With endpoints that do DTLS-SRTP.
    handshakes: Handshakes,
    /// Of those, by slot.
    timers: Timers<usize>,
    /// Slots of pairs that may have something to say, each once.
    talking: Vec<usize>,
}

struct OpenPair {
    new: NewPair,
    pair: Pair,
    dtls: Dtls,
}

/// What is kept of a pair's DTLS associations.
#[derive(Default)]
struct Dtls {
    /// Armed for then.
    timer: Option<(TimerId, Instant)>,
    is_talking: bool,
    /// The log says of each pair once what is wrong.
    is_logged: bool,
}

impl Pairs {
    pub fn new(totals: Arc<SideCounters>, own: Arc<[IpAddr]>, handshakes: Handshakes) -> Pairs {
        Pairs {
            open: Slab::new(),
            slots: FxHashMap::default(),
            totals,
            answer: Vec::new(),
            own,
            handshakes,
            timers: Timers::default(),
            talking: Vec::new(),
        }
    }

    /// Serves a pair from now on, as the directory of `worker` says.
    pub fn open(&mut self, new: NewPair, registry: &Registry, directory: &Directory, worker: usize) {
        let entry = self.open.vacant_entry();
        let slot = entry.key();
        for side in [Side::A, Side::B] {
            let rested = new.rested[side as usize];
            for component in [Component::Rtp, Component::Rtcp] {
                let socket = PairSocket { slot, side, component };
                if let Some(opened) = &new.sockets[side as usize][component as usize] {
                    watch(opened, socket, rested, registry);
                }
                directory.keep_promise(shown(&new, side, component).0, worker, Home::Pair(socket));
            }
        }
        self.slots.insert(new.id, slot);
        let pair = Pair::new(self.own.clone(), new.counters.clone());
        entry.insert(Box::new(OpenPair { new, pair, dtls: Dtls::default() }));
    }

    /// New rules for one side.
    pub fn set_leg(&mut self, id: PairId, side: Side, rules: LegRules, registry: &Registry, now: Instant) {
        let Some(slot) = self.slots.get(&id).copied() else { return };
        let Some(open) = self.open.get_mut(slot) else { return };
        open.pair.set_crypto(side, &rules.crypto, now);
        open.serve_rtcp(PairSocket { slot, side, component: Component::Rtcp }, !rules.rtcp_mux, registry);
        open.pair.set_leg(side, rules);
        if let Some(saved) = open.new.saved[side as usize].take() {
            open.pair.resume(side, &saved, now);
        }
        open.let_talk(slot, &mut self.talking);
    }

    /// Its sockets, which are still in the poll; closing them takes them out.
    pub fn close(&mut self, id: PairId) -> Sockets {
        let slot = self.slots.remove(&id);
        let Some(closed) = slot.and_then(|slot| self.open.try_remove(slot)) else {
            return Sockets::default();
        };
        if let Some((timer, _)) = closed.dtls.timer {
            self.timers.cancel(timer);
        }
        closed.new.sockets
    }

    pub fn socket(&self, socket: PairSocket) -> Option<&UdpSocket> {
        let open = self.open.get(socket.slot)?;
        open.new.sockets[socket.side as usize][socket.component as usize].as_ref()
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
        let verdict = match open.pair.way(at.side, packet) {
            Way::Plain => open.pair.forward(&arrived, packet),
            Way::Srtp => open.pair.forward_srtp(&arrived, bytes, &mut place),
            Way::Ice => {
                self.answer.clear();
                let verdict = open.pair.forward_ice(&arrived, packet, &mut self.answer);
                // Now there may be somewhere to send a ClientHello to, or a check that waits.
                open.let_talk(at.slot, &mut self.talking);
                verdict
            }
            Way::Dtls => {
                let verdict = open.pair.take_dtls(&arrived, packet, &self.handshakes);
                open.let_talk(at.slot, &mut self.talking);
                verdict
            }
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

    // ---- DTLS ----

    /// When [`Self::handle_timeout`] is wanted.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        if self.talking.is_empty() { self.timers.next_due() } else { Some(now) }
    }

    /// Lets the associations talk whose time has come. Then [`Self::next_said`].
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(slot) = self.timers.pop(now) {
            let Some(open) = self.open.get_mut(slot) else { continue };
            open.dtls.timer = None;
            open.pair.handle_dtls_timeout(now);
            open.let_talk(slot, &mut self.talking);
        }
    }

    /// The next packet of an association, or check that need not wait any longer: it is put into `bytes` from `start` on.
    pub fn next_said(&mut self, bytes: &mut [u8], start: usize, now: Instant) -> Option<Step> {
        while let Some(slot) = self.talking.last().copied() {
            if let Some(step) = self.release_check(slot, bytes, start, now) {
                return Some(step);
            }
            let said = self.open.get_mut(slot).filter(|open| open.dtls.is_talking).map(|open| {
                let said = open.pair.poll_dtls(&self.handshakes, now);
                (said, open)
            });
            match said {
                Some((Some(Said::Packet { side, exit, packet }), open)) => {
                    let from = PairSocket { slot, side, component: exit.component };
                    let place = start..start + packet.len();
                    let Some(room) = bytes.get_mut(place.clone()) else { continue };
                    room.copy_from_slice(&packet);
                    return Some(open.leave(Outlet::Answer(from), from, exit.to, exit.ours, place));
                }
                Some((Some(trouble), open)) => open.complain(&trouble, &self.totals),
                Some((None, open)) => {
                    open.dtls.is_talking = false;
                    open.arm(slot, &mut self.timers);
                    self.talking.pop();
                }
                // It was closed.
                None => {
                    self.talking.pop();
                }
            }
        }
        None
    }

    fn release_check(&mut self, slot: usize, bytes: &mut [u8], start: usize, now: Instant) -> Option<Step> {
        let open = self.open.get_mut(slot).filter(|open| open.pair.holds_check())?;
        let (side, length, exit) = open.pair.release_check(bytes.get_mut(start..)?, now)?;
        let from = PairSocket { slot, side: side.other(), component: exit.component };
        Some(open.leave(Outlet::Pair(from), from, exit.to, exit.ours, start..start + length))
    }

    // ---- counters ----

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
        for counters in [open.new.counters.side(at.side), &self.totals] {
            add(dropped(counters, reason), 1);
        }
    }

    /// Counts what left from a socket, of `queued` packets.
    pub fn count(&mut self, from: PairSocket, queued: usize, sent: Sent) {
        let Some(open) = self.open.get_mut(from.slot) else { return };
        let lost = queued.saturating_sub(sent.datagrams);
        for counters in [open.new.counters.side(from.side.other()), &self.totals] {
            add(&counters.packets, sent.datagrams);
            add(&counters.bytes, sent.bytes);
            add(&counters.undeliverable, lost);
        }
    }
}

impl OpenPair {
    /// DESIGN.md §4: no second component when mux is agreed. Its port stays the pair's own, for an offer that wants it again.
    fn serve_rtcp(&mut self, at: PairSocket, wanted: bool, registry: &Registry) {
        let [rtp, rtcp] = &mut self.new.sockets[at.side as usize];
        if !wanted {
            *rtcp = None;
        } else if rtcp.is_none()
            && let Some(rtp) = rtp
        {
            match bind_above(rtp) {
                Ok(socket) => {
                    watch(&socket, at, false, registry);
                    *rtcp = Some(socket);
                }
                Err(error) => {
                    tracing::warn!(%error, "a port of relay.ports is in use by another process: there will be no RTCP");
                }
            }
        }
    }

    /// It may have something to say.
    fn let_talk(&mut self, slot: usize, talking: &mut Vec<usize>) {
        let may_say = self.pair.does_dtls() || self.pair.holds_check();
        if may_say && !std::mem::replace(&mut self.dtls.is_talking, true) {
            talking.push(slot);
        }
    }

    /// Makes its timer fire when its associations want it.
    fn arm(&mut self, slot: usize, timers: &mut Timers<usize>) {
        let due = self.pair.dtls_timeout();
        if self.dtls.timer.map(|(_, at)| at) == due {
            return;
        }
        if let Some((timer, _)) = self.dtls.timer.take() {
            timers.cancel(timer);
        }
        self.dtls.timer = due.map(|due| (timers.set(due, slot), due));
    }

    /// Counts what is wrong with its associations; the log says it once.
    fn complain(&mut self, trouble: &Said, totals: &SideCounters) {
        let side = match trouble {
            Said::Failed { side, .. } | Said::Full(side) | Said::Packet { side, .. } => *side,
        };
        let relayed = shown(&self.new, side, Component::Rtp);
        let is_new = !std::mem::replace(&mut self.dtls.is_logged, true);
        if let Said::Failed { failure, peer, .. } = trouble {
            for counters in [self.new.counters.side(side), totals] {
                add(&counters.dtls_failed, 1);
            }
            if is_new {
                tracing::warn!(%relayed, %peer, "no media by DTLS-SRTP: {failure}");
            }
        } else if is_new {
            tracing::warn!(%relayed, "too many DTLS handshakes are under way: this one waits for the others");
        }
    }

    /// By which way a packet leaves.
    fn leave(&self, by: Outlet, from: PairSocket, to: SocketAddr, ours: bool, packet: Range<usize>) -> Step {
        if ours {
            let from = shown(&self.new, from.side, from.component);
            return Step::ToOwn { by, from, to: RelayedAddr(to), packet, or_leaves: true };
        }
        Step::Leave { by, to, packet }
    }
}

/// `again`: it is in the poll already, under another token.
fn watch(socket: &UdpSocket, at: PairSocket, again: bool, registry: &Registry) {
    let (fd, token) = (socket.as_raw_fd(), Ready::Pair(at).token());
    let watched = match again {
        true => registry.reregister(&mut SourceFd(&fd), token, Interest::READABLE),
        false => registry.register(&mut SourceFd(&fd), token, Interest::READABLE),
    };
    if let Err(error) = watched {
        tracing::warn!(%error, "a media socket cannot be watched: raise fs.epoll.max_user_watches");
    }
}

/// RFC 3550 §11: RTCP's port is the next one up.
fn bind_above(rtp: &UdpSocket) -> io::Result<UdpSocket> {
    let mut addr = rtp.local_addr()?;
    addr.set_port(addr.port() | 1);
    socket(addr)
}

fn shown(pair: &NewPair, side: Side, component: Component) -> RelayedAddr {
    let shown = &pair.shown[side as usize];
    match component {
        Component::Rtp => shown.rtp(),
        Component::Rtcp => shown.rtcp(),
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::media::dtls::Certificate;

    /// As few as tests need.
    pub fn handshakes() -> Handshakes {
        Handshakes::new(Arc::new(Certificate::generate().unwrap()), 2)
    }
}
