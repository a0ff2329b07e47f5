//! A relay worker: one thread that owns the sockets of its pairs, both sides, and moves their packets.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::EventSink;
use super::pace::Pace;
use crate::net::udp::Batch;
use crate::relay::forward::{Pair, Reason, Verdict};
use crate::relay::row::Exit;
use crate::relay::{Component, LegRules, PairCounters, PairId, RelayEvent, Side, SideCounters};

/// Rings when there is something in the mailbox; no socket has it.
pub(super) const DOORBELL: Token = Token(usize::MAX);
/// Sockets served per look at the poll; the others are served in the next.
const EVENTS: usize = 1024;
/// Datagrams per system call.
const BATCH: usize = 32;
/// Longer datagrams are dropped: jumbo frames fit.
const DATAGRAM: usize = 9216;
/// Batches read from one socket before the others get their turn.
const TURNS: usize = 4;

/// What the edge's side wants of a worker.
pub(super) enum Command {
    Open(PairId, Sockets, Arc<PairCounters>),
    SetLeg(PairId, Side, LegRules),
    Close(PairId),
}

/// The four sockets of a pair, by side, then component.
pub(super) type Sockets = [[UdpSocket; 2]; 2];

/// What a worker shares with the edge's side.
pub(super) struct Ends {
    pub mailbox: Receiver<Command>,
    /// Set by who puts something into the mailbox.
    pub rung: Arc<AtomicBool>,
    /// Told when a pair's sockets are really closed: only now can its ports be bound again.
    pub closed: Sender<PairId>,
    /// Locked once in a while, never per packet.
    pub events: Arc<Mutex<EventSink>>,
    /// Counters of all its pairs, also the closed ones.
    pub totals: Arc<SideCounters>,
}

pub(super) struct Worker {
    poll: Poll,
    ends: Ends,
    idle_timeout: Duration,
    pairs: Slab<OpenPair>,
    slots: FxHashMap<PairId, usize>,
    batch: Batch,
    /// Sockets that had more than their turns, each once: the poll does not name them again before they are drained.
    unfinished: Vec<Token>,
    /// Empty but while those are served.
    serving: Vec<Token>,
}

struct OpenPair {
    id: PairId,
    sockets: Sockets,
    pair: Pair,
    counters: Arc<PairCounters>,
    /// Or since when it is waited for.
    last_relayed: Instant,
    /// Which of its sockets stand in [`Worker::unfinished`], by side, then component.
    unfinished: [[bool; 2]; 2],
}

impl Worker {
    pub(super) fn new(poll: Poll, ends: Ends, idle_timeout: Duration) -> Worker {
        Worker {
            poll,
            ends,
            idle_timeout,
            pairs: Slab::new(),
            slots: FxHashMap::default(),
            batch: Batch::new(BATCH, DATAGRAM),
            unfinished: Vec::new(),
            serving: Vec::new(),
        }
    }

    /// Works until the other end of the mailbox is dropped.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        // Idle pairs are seen late by no more than an eighth of the time-out.
        let sweep_every = (self.idle_timeout / 8).max(Duration::from_millis(1));
        let mut next_sweep = now + sweep_every;
        loop {
            let timeout = if self.unfinished.is_empty() {
                (!self.pairs.is_empty()).then(|| next_sweep.saturating_duration_since(now))
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => now = Instant::now(),
            }
            // Before the sockets: a packet sent after `set_leg` returned is judged by the new rules. (An answer of the
            // poll about a socket that is closed now costs a look at the one in its slot.)
            if self.ends.rung.swap(false, Ordering::AcqRel) && !self.take_commands(now) {
                return Ok(());
            }
            let mut packets = self.read_unfinished(now);
            for event in &events {
                packets += self.read(event.token(), now);
            }
            if now >= next_sweep {
                self.report_idle(now);
                next_sweep = now + sweep_every;
            }
            pace.after_round(now, packets);
        }
    }

    fn read_unfinished(&mut self, now: Instant) -> usize {
        std::mem::swap(&mut self.unfinished, &mut self.serving);
        let mut packets = 0;
        while let Some(token) = self.serving.pop() {
            if let Some((slot, side, component)) = socket_of(token)
                && let Some(open) = self.pairs.get_mut(slot)
            {
                open.unfinished[side as usize][component as usize] = false;
                packets += self.read(token, now);
            }
        }
        packets
    }

    /// Reads what has arrived on one socket and sends it on; returns how many datagrams that were.
    fn read(&mut self, token: Token, now: Instant) -> usize {
        let Some((slot, side, component)) = socket_of(token) else { return 0 };
        let Some(open) = self.pairs.get_mut(slot) else { return 0 };
        if open.unfinished[side as usize][component as usize] {
            return 0; // It has had its turns in this round.
        }
        let mut packets = 0;
        for _ in 0..TURNS {
            match self.batch.recv(&open.sockets[side as usize][component as usize]) {
                Ok(n) => {
                    packets += n;
                    open.relay(side, component, &mut self.batch, &self.ends.totals, now);
                    if n < self.batch.capacity() {
                        return packets;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return packets,
                // An ICMP error about something sent earlier: nobody's reason to stop.
                Err(_) => {}
            }
        }
        open.unfinished[side as usize][component as usize] = true;
        self.unfinished.push(token);
        packets
    }

    /// False: nobody is at the other end any more.
    fn take_commands(&mut self, now: Instant) -> bool {
        loop {
            match self.ends.mailbox.try_recv() {
                Ok(Command::Open(id, sockets, counters)) => self.open(id, sockets, counters, now),
                Ok(Command::SetLeg(id, side, rules)) => {
                    if let Some(open) = self.slots.get(&id).and_then(|slot| self.pairs.get_mut(*slot)) {
                        open.pair.set_leg(side, rules);
                        open.last_relayed = now;
                    }
                }
                Ok(Command::Close(id)) => {
                    if let Some(slot) = self.slots.remove(&id) {
                        // Closing the descriptors takes them out of the poll, too.
                        drop(self.pairs.remove(slot));
                        let _ = self.ends.closed.send(id);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn open(&mut self, id: PairId, sockets: Sockets, counters: Arc<PairCounters>, now: Instant) {
        let entry = self.pairs.vacant_entry();
        for side in [Side::A, Side::B] {
            for component in [Component::Rtp, Component::Rtcp] {
                let fd = sockets[side as usize][component as usize].as_raw_fd();
                let token = token_of(entry.key(), side, component);
                if let Err(error) =
                    self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)
                {
                    tracing::warn!(%error, "a media socket cannot be watched: raise fs.epoll.max_user_watches");
                }
            }
        }
        self.slots.insert(id, entry.key());
        entry.insert(OpenPair {
            id,
            sockets,
            pair: Pair::default(),
            counters,
            last_relayed: now,
            unfinished: Default::default(),
        });
    }

    fn report_idle(&mut self, now: Instant) {
        for (_, open) in &mut self.pairs {
            if now.duration_since(open.last_relayed) >= self.idle_timeout {
                open.last_relayed = now;
                if let Ok(mut events) = self.ends.events.lock() {
                    events(RelayEvent::Idle(open.id));
                }
            }
        }
    }
}

impl OpenPair {
    /// Sends on what stands in `batch`: a run of datagrams with the same exit in one system call.
    fn relay(
        &mut self,
        side: Side,
        component: Component,
        batch: &mut Batch,
        totals: &SideCounters,
        now: Instant,
    ) {
        let mut tally = Tally::default();
        let mut run: Option<(Exit, usize)> = None;
        for i in 0..batch.len() {
            let verdict = match batch.datagram(i) {
                Some((source, packet)) => self.pair.forward(side, component, source, packet),
                None => Verdict::Drop(Reason::Payload),
            };
            match (verdict, run) {
                (Verdict::Forward(exit), Some((same, _))) if exit == same => continue,
                (_, Some((exit, start))) => self.send(side, exit, batch, start..i, &mut tally),
                _ => {}
            }
            run = match verdict {
                Verdict::Forward(exit) => Some((exit, i)),
                Verdict::Drop(reason) => {
                    tally.drop(reason);
                    None
                }
            };
        }
        if let Some((exit, start)) = run {
            self.send(side, exit, batch, start..batch.len(), &mut tally);
        }
        if tally.packets > 0 {
            self.last_relayed = now;
        }
        tally.add_to(match side {
            Side::A => &self.counters.a,
            Side::B => &self.counters.b,
        });
        tally.add_to(totals);
    }

    fn send(
        &self,
        from: Side,
        exit: Exit,
        batch: &mut Batch,
        range: std::ops::Range<usize>,
        tally: &mut Tally,
    ) {
        let socket = &self.sockets[from.other() as usize][exit.component as usize];
        let all = range.len();
        let sent = batch.send(range, socket, exit.to);
        tally.packets += sent.datagrams as u64;
        tally.bytes += sent.bytes as u64;
        tally.undeliverable += (all - sent.datagrams) as u64;
    }
}

/// What became of one batch.
#[derive(Default)]
struct Tally {
    packets: u64,
    bytes: u64,
    refused_source: u64,
    refused_payload: u64,
    undeliverable: u64,
}

impl Tally {
    fn drop(&mut self, reason: Reason) {
        match reason {
            Reason::Source => self.refused_source += 1,
            Reason::Payload => self.refused_payload += 1,
            Reason::Undeliverable => self.undeliverable += 1,
        }
    }

    /// This thread is the only writer: a load and a store, no locked instruction.
    fn add_to(&self, counters: &SideCounters) {
        let add = |counter: &AtomicU64, n: u64| {
            if n > 0 {
                counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
            }
        };
        add(&counters.packets, self.packets);
        add(&counters.bytes, self.bytes);
        add(&counters.refused_source, self.refused_source);
        add(&counters.refused_payload, self.refused_payload);
        add(&counters.undeliverable, self.undeliverable);
    }
}

fn token_of(slot: usize, side: Side, component: Component) -> Token {
    Token(slot << 2 | (side as usize) << 1 | component as usize)
}

fn socket_of(token: Token) -> Option<(usize, Side, Component)> {
    if token == DOORBELL {
        return None;
    }
    let side = if token.0 & 2 == 0 { Side::A } else { Side::B };
    let component = if token.0 & 1 == 0 { Component::Rtp } else { Component::Rtcp };
    Some((token.0 >> 2, side, component))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of a stranger: what is counted here is how many were looked at.
    #[test]
    fn a_flooded_socket_has_its_turns_and_then_the_others() {
        let (_sender, mailbox) = std::sync::mpsc::channel();
        let ends = Ends {
            mailbox,
            rung: Arc::default(),
            closed: std::sync::mpsc::channel().0,
            events: Arc::new(Mutex::new(Box::new(|_| {}))),
            totals: Arc::default(),
        };
        let now = Instant::now();
        let mut worker = Worker::new(Poll::new().unwrap(), ends, Duration::from_secs(60));
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets = [[bind(), bind()], [bind(), bind()]];
        let flooded = sockets[0][0].local_addr().unwrap();
        worker.open(PairId(1), sockets, Arc::default(), now);
        let stranger = bind();
        for _ in 0..TURNS * BATCH + 5 {
            stranger.send_to(b"flood", flooded).unwrap();
        }
        let token = token_of(0, Side::A, Component::Rtp);
        assert_eq!(worker.read(token, now), TURNS * BATCH);
        assert_eq!(worker.read(token, now), 0, "not twice in a round");
        assert_eq!(worker.unfinished, [token]);
        assert_eq!(worker.read_unfinished(now), 5);
        assert!(worker.unfinished.is_empty() && worker.serving.is_empty());
        let refused = worker.ends.totals.refused_source.load(Ordering::Relaxed);
        assert_eq!(refused, (TURNS * BATCH + 5) as u64);
    }

    #[test]
    fn a_token_says_which_socket() {
        for side in [Side::A, Side::B] {
            for component in [Component::Rtp, Component::Rtcp] {
                assert_eq!(socket_of(token_of(7, side, component)), Some((7, side, component)));
            }
        }
        assert_eq!(socket_of(DOORBELL), None);
    }
}
