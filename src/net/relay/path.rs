//! The packet path of a worker: from a socket, through a verdict, to the next socket. What is received is sent on from where
//! it stands in one [`Batch`]; what leaves from one socket after the other is sent in one call.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::directory::Home;
use super::pairs::Pairs;
use super::shortcut::{Header, MOST_HOPS, Shortcuts};
use super::streams::{self, Cargo, Cut};
use super::token::{PairSocket, Ready};
use super::turn::Turn;
use crate::base::{Now, PeerAddr, RelayedAddr};
use crate::media::srtp;
use crate::net::udp::{Batch, Sent, Slot, next_icmp, set_dont_fragment};
use crate::turn::FiveTuple;
use crate::turn::channel_data::{self, TAILROOM};
use crate::turn::forward::Reason;
use crate::turn::sockets::RelaySocketId;

/// Datagrams received per system call.
pub(super) const BATCH: usize = 32;
/// Datagrams that are gathered, perhaps from many sockets, before they are sent on.
const SLOTS: usize = 3 * BATCH;
/// Longer datagrams are dropped: jumbo frames fit.
const DATAGRAM: usize = 9216;
/// Free before a packet: SRTP grows to the front at each pair that it goes through, and at the end it gets the header of a
/// TURN message or of a packet for another worker.
const HEADROOM: usize = (MOST_HOPS as usize + 1) * srtp::TAILROOM + channel_data::HEADROOM;
/// ICMP errors read from one socket before its packets get their turn.
const ERRORS: usize = 64;
/// Packets of DTLS handshakes sent in one round.
const SAID: usize = 64;
/// Batches read from one socket before the others get their turn.
pub(super) const TURNS: usize = 4;

// What is read from a stream has room there as well.
const _: () = assert!(HEADROOM + streams::ROOM + TAILROOM <= SLOTS * DATAGRAM);
const _: () = assert!(Header::LEN <= channel_data::HEADROOM);

/// From which socket a packet leaves the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// A media pair's.
    Pair(PairSocket),
    /// A media pair's, with an answer of our own.
    Answer(PairSocket),
    /// The one of a TURN listener for datagrams.
    Listener(usize),
    /// An allocation's, perhaps with the DF bit.
    Relayed { socket: RelaySocketId, dont_fragment: bool },
    /// The way to another worker.
    Worker(usize),
}

/// What happens next to a packet, which stands in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it was dropped and counted, or it was a request.
    Done,
    /// It leaves through the kernel.
    Leave { by: Outlet, to: SocketAddr, packet: Range<usize> },
    /// It goes to a TURN client.
    ToClient { client: FiveTuple, message: Range<usize> },
    /// It goes to whoever of us has a relayed address. If nobody has, it leaves `by` a socket after all, or goes to nobody.
    ToOwn { by: Outlet, from: RelayedAddr, to: RelayedAddr, packet: Range<usize>, or_leaves: bool },
}

/// What one look at a socket brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    pub packets: usize,
    /// It has had its turns, and there may be more: the poll will not name it again before it is drained.
    pub unfinished: bool,
}

/// All that packets touch.
pub(super) struct PacketPath {
    pub pairs: Pairs,
    pub turn: Option<Turn>,
    pub shortcuts: Shortcuts,
    /// When this round began.
    pub now: Now,
    /// Where packets stand. Whoever receives into it by other means than [`Self::read`] calls [`Self::send_all`] first, and
    /// leaves [`HEADROOM`] free before and [`TAILROOM`] behind.
    pub batch: Batch,
    /// From where leaves what is queued in the batch, and how much that is.
    run: Option<(Outlet, usize)>,
}

impl PacketPath {
    pub fn new(pairs: Pairs, turn: Option<Turn>, shortcuts: Shortcuts, now: Now) -> PacketPath {
        let slot = Slot { headroom: HEADROOM, datagram: DATAGRAM, tailroom: TAILROOM };
        PacketPath { pairs, turn, shortcuts, now, batch: Batch::with_room(SLOTS, slot), run: None }
    }

    // ---- what arrives ----

    /// Reads what has arrived on a socket, and queues or sends it on.
    pub fn read(&mut self, ready: Ready) -> Looked {
        match (ready, &mut self.turn) {
            (Ready::Accept(listener), Some(turn)) => {
                turn.accept(listener, self.now.instant);
                Looked::default()
            }
            // What it has left after its turns is served from [`Self::begin_round`].
            (Ready::Stream(slot), _) => Looked { packets: self.read_stream(slot), unfinished: false },
            (Ready::Knock(slot), Some(turn)) => {
                Looked { packets: 0, unfinished: turn.accept_peers(slot, self.now.instant) }
            }
            (Ready::Peer(_) | Ready::Data(_), _) => {
                self.with_scratch(|turn, scratch, now| turn.look_at(ready, scratch, now));
                Looked { packets: 1, unfinished: false }
            }
            _ => self.read_datagrams(ready),
        }
    }

    fn read_datagrams(&mut self, ready: Ready) -> Looked {
        let mut looked = Looked::default();
        for _ in 0..TURNS {
            if self.batch.capacity() - self.batch.len() < BATCH {
                self.send_all();
            }
            let Some(socket) = in_socket(&self.pairs, self.turn.as_ref(), &self.shortcuts, ready) else {
                return looked;
            };
            match self.batch.recv_more(&socket, BATCH) {
                Ok(slots) => {
                    let n = slots.len();
                    looked.packets += n;
                    slots.for_each(|slot| self.judge(ready, slot));
                    if n < BATCH {
                        return looked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return looked,
                // An ICMP error about something sent earlier: nobody's reason to stop.
                Err(_) => {}
            }
        }
        Looked { unfinished: true, ..looked }
    }

    /// Begins a round with the connections that had their turns in the last one; how many packets they brought.
    pub fn begin_round(&mut self) -> usize {
        self.with_scratch(Turn::begin_round);
        let Some(turn) = &mut self.turn else { return 0 };
        let postponed = turn.streams().begin_round(self.now.instant);
        (0..postponed).map(|_| self.read_postponed()).sum()
    }

    fn read_postponed(&mut self) -> usize {
        let ready = self.turn.as_mut().and_then(|turn| turn.streams().next_postponed());
        ready.map_or(0, |ready| self.read(ready).packets)
    }

    /// The poll says that a peer has closed its side of a connection.
    pub fn hung_up(&mut self, ready: Ready) {
        if let (Ready::Stream(slot), Some(turn)) = (ready, &mut self.turn) {
            turn.streams().hung_up(slot);
        }
    }

    /// Reads what has arrived on a connection, and hands its messages on one by one. Returns how many.
    fn read_stream(&mut self, slot: usize) -> usize {
        let mut packets = 0;
        // All of the batch is free then, and again when the messages have left.
        self.send_all();
        for _ in 0..streams::TURNS {
            let Some(turn) = &mut self.turn else { return packets };
            let room = self.batch.bytes_mut().get_mut(HEADROOM..).unwrap_or_default();
            let Some(stretch) = turn.streams().read(slot, room) else { return packets };
            let (mut at, end, before) = (HEADROOM, HEADROOM + stretch.bytes, packets);
            while let Some(cut) = self.cut(slot, at..end) {
                self.handle_client(stretch.client, at..at + cut.message);
                at += cut.consumed;
                packets += 1;
            }
            let Some(turn) = &mut self.turn else { return packets };
            let rest = self.batch.bytes().get(at..end).unwrap_or_default();
            turn.streams().keep(slot, rest, packets - before, self.now.instant);
            self.send_all();
            if !stretch.more {
                return packets;
            }
        }
        if let Some(turn) = &mut self.turn {
            turn.streams().postpone(slot);
        }
        packets
    }

    fn cut(&mut self, slot: usize, stretch: Range<usize>) -> Option<Cut> {
        self.turn.as_mut()?.streams().cut(slot, self.batch.bytes().get(stretch)?)
    }

    /// Here is a packet from this five-tuple: one STUN message, or ChannelData without its padding, somewhere in the bytes of
    /// [`Self::batch`].
    pub fn handle_client(&mut self, client: FiveTuple, packet: Range<usize>) {
        let Some(turn) = &mut self.turn else { return };
        let step = turn.handle_client(client, self.batch.bytes(), packet, self.now);
        self.carry(step, 0);
    }

    /// ICMP has something to say about what left from a socket: an allocation's client is told (RFC 8656 §11.5).
    pub fn take_errors(&mut self, ready: Ready) {
        let (Ready::Relayed(slot), Some(turn)) = (ready, &mut self.turn) else { return };
        for _ in 0..ERRORS {
            let Some(socket) = turn.relayed_in(slot) else { return };
            match next_icmp(socket) {
                Ok(Some((peer, icmp))) => turn.handle_icmp(slot, PeerAddr(peer), icmp, self.now.instant),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }

    /// When [`Self::finish_round`] is wanted if nothing arrives.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let of_turn = self.turn.as_mut().and_then(Turn::poll_timeout);
        self.pairs.poll_timeout(self.now.instant).into_iter().chain(of_turn).min()
    }

    /// Lets expire what is due, answers and sends all that waits.
    pub fn finish_round(&mut self) {
        self.send_all();
        self.pairs.handle_timeout(self.now.instant);
        self.talk();
        if let Some(turn) = &mut self.turn {
            turn.handle_timeout(self.now.instant);
            turn.finish_round(self.batch.bytes_mut(), self.now.instant);
        }
    }

    /// Sends what the associations of pairs have to say. What comes of it in the process, they are told at once.
    fn talk(&mut self) {
        for _ in 0..SAID {
            let bytes = self.batch.bytes_mut();
            let Some(step) = self.pairs.next_said(bytes, HEADROOM, self.now.instant) else { return };
            self.carry(step, 0);
            self.send_all();
        }
    }

    /// Lends the memory of the batch, in which nothing stands then.
    fn with_scratch(&mut self, with: impl FnOnce(&mut Turn, &mut [u8], Instant)) {
        self.send_all();
        if let Some(turn) = &mut self.turn {
            with(turn, self.batch.bytes_mut(), self.now.instant);
        }
    }

    /// What becomes of the datagram in a slot.
    fn judge(&mut self, ready: Ready, slot: usize) {
        let (source, place) = (self.batch.source(slot), self.batch.place(slot));
        if source.is_some_and(|source| self.shortcuts.is_ours(source)) {
            return self.drop_forged(ready);
        }
        let (now, batch) = (self.now, &mut self.batch);
        let step = match (ready, source, place, &mut self.turn) {
            (Ready::Pair(at), Some(source), place, _) => {
                self.pairs.forward(at, source, batch.bytes_mut(), place, now.instant)
            }
            (Ready::Listener(listener), Some(source), Some(datagram), Some(turn))
                if turn.is_sealed(listener) =>
            {
                return self.unseal(listener, source, datagram);
            }
            (Ready::Listener(listener), Some(source), Some(packet), Some(turn)) => {
                turn.handle_datagram(listener, source, batch.bytes(), packet, now)
            }
            (Ready::Relayed(slot), Some(source), Some(packet), Some(turn)) => {
                turn.handle_relayed(slot, PeerAddr(source), batch.bytes_mut(), packet, now.instant)
            }
            (Ready::Shortcut, _, Some(message), _) => return self.take_over(message),
            _ => Step::Done,
        };
        self.carry(step, 0);
    }

    /// From the network, in the name of a relayed address of ours: those speak to each other inside the process.
    fn drop_forged(&mut self, ready: Ready) {
        match (ready, &self.turn) {
            (Ready::Pair(at), _) => self.pairs.refuse(at),
            (_, Some(turn)) => turn.count_dropped(Reason::NoPermission),
            (_, None) => {}
        }
    }

    /// A datagram of DTLS: its messages take its place, one behind the other.
    fn unseal(&mut self, listener: usize, source: SocketAddr, mut place: Range<usize>) {
        let Some(turn) = &mut self.turn else { return };
        let datagram = self.batch.bytes().get(place.clone()).unwrap_or_default();
        turn.handle_sealed(listener, source, datagram, self.now);
        while let Some((client, length)) = self.next_message(place.clone()) {
            let message = place.start..place.start + length;
            // A record takes more room than its message with the padding that may be put behind that.
            place.start = (message.end + TAILROOM).min(place.end);
            self.handle_client(client, message);
        }
    }

    fn next_message(&mut self, room: Range<usize>) -> Option<(FiveTuple, usize)> {
        let room = self.batch.bytes_mut().get_mut(room)?;
        self.turn.as_mut()?.next_message(room, self.now)
    }

    /// What another worker handed over.
    fn take_over(&mut self, message: Range<usize>) {
        let Some((header, packet)) = Header::read(self.batch.bytes(), message) else { return };
        match self.shortcuts.find(header.to) {
            Some(Ok(home)) => {
                let step = self.arrive(home, header.from, packet);
                self.carry(step, header.hops);
            }
            // It was closed, or is elsewhere, since the other looked.
            _ => self.drop_packet(None, Reason::Nobody),
        }
    }

    // ---- what leaves ----

    /// Takes a packet step by step to where it leaves the worker; it has gone through `hops` relayed addresses of ours.
    fn carry(&mut self, mut step: Step, mut hops: u8) {
        loop {
            step = match step {
                Step::Done => return,
                Step::Leave { by, to, packet } => return self.queue(by, Some(to), packet),
                Step::ToClient { client, message } => return self.send_to_client(client, message),
                Step::ToOwn { by, from, to, packet, or_leaves } => match self.shortcuts.find(to) {
                    None if or_leaves => return self.queue(by, Some(to.0), packet),
                    None => return self.drop_packet(Some(by), Reason::Nobody),
                    Some(_) if hops == MOST_HOPS => return self.drop_packet(Some(by), Reason::Loop),
                    Some(home) => {
                        hops += 1;
                        if let Outlet::Pair(socket) = by {
                            let sent = Sent { datagrams: 1, bytes: packet.len() };
                            self.pairs.count(socket, 1, sent);
                        }
                        match home {
                            Ok(home) => self.arrive(home, from, packet),
                            Err(worker) => return self.hand_over(worker, Header { hops, from, to }, packet),
                        }
                    }
                },
            };
        }
    }

    /// A packet has come to one of this worker's relayed addresses from another of ours.
    fn arrive(&mut self, home: Home, from: RelayedAddr, packet: Range<usize>) -> Step {
        match (home, &mut self.turn) {
            (Home::Pair(at), _) => {
                if self.pairs.may_grow(at) {
                    self.keep_headroom(&packet);
                }
                self.pairs.forward(at, from.0, self.batch.bytes_mut(), Some(packet), self.now.instant)
            }
            (Home::Relayed(slot), Some(_)) => {
                self.keep_headroom(&packet);
                let Some(turn) = &mut self.turn else { return Step::Done };
                let bytes = self.batch.bytes_mut();
                turn.handle_relayed(slot, PeerAddr(from.0), bytes, packet, self.now.instant)
            }
            (Home::Relayed(_), None) => Step::Done,
        }
    }

    fn hand_over(&mut self, worker: usize, header: Header, packet: Range<usize>) {
        self.keep_headroom(&packet);
        if let Some(message) = header.write(self.batch.bytes_mut(), packet) {
            self.queue(Outlet::Worker(worker), None, message);
        }
    }

    /// What stands close before a packet out of a stream, or out of a datagram of several, may still be queued: it goes before it
    /// is overwritten.
    fn keep_headroom(&mut self, packet: &Range<usize>) {
        if self.batch.queued_to() + HEADROOM > packet.start {
            self.flush();
        }
    }

    fn send_to_client(&mut self, client: FiveTuple, message: Range<usize>) {
        let Some(turn) = &mut self.turn else { return };
        match turn.outlet(client) {
            Some(outlet) => self.queue(outlet, Some(client.client.0), message),
            None => {
                let message = self.batch.bytes().get(message).unwrap_or_default();
                turn.send(client, message, Cargo::Media);
            }
        }
    }

    fn queue(&mut self, by: Outlet, to: Option<SocketAddr>, packet: Range<usize>) {
        if self.run.is_some_and(|(outlet, _)| outlet != by) {
            self.flush();
        }
        if self.batch.queue(packet.clone(), to).is_err() {
            self.flush();
            let _ = self.batch.queue(packet, to);
        }
        self.run = Some((by, self.run.map_or(1, |(_, queued)| queued + 1)));
    }

    /// Sends all that is queued; what was received is forgotten.
    pub fn send_all(&mut self) {
        self.flush();
        self.batch.clear();
    }

    fn flush(&mut self) {
        let Some((by, queued)) = self.run.take() else { return };
        let turn = self.turn.as_ref();
        let socket = match by {
            Outlet::Pair(socket) | Outlet::Answer(socket) => self.pairs.socket(socket).map(AsFd::as_fd),
            Outlet::Listener(listener) => turn.and_then(|turn| turn.listener(listener)).map(AsFd::as_fd),
            Outlet::Relayed { socket, .. } => turn.and_then(|turn| turn.relayed(socket)).map(AsFd::as_fd),
            Outlet::Worker(worker) => self.shortcuts.to(worker).map(AsFd::as_fd),
        };
        let whole = matches!(by, Outlet::Relayed { dont_fragment: true, .. });
        let sent = match socket {
            Some(socket) if whole => {
                let _ = set_dont_fragment(&socket, true);
                let sent = self.batch.flush(&socket);
                let _ = set_dont_fragment(&socket, false);
                sent
            }
            Some(socket) => self.batch.flush(&socket),
            // Its allocation ended before this could leave.
            None => {
                self.batch.clear_queue();
                Sent::default()
            }
        };
        match by {
            Outlet::Pair(socket) => self.pairs.count(socket, queued, sent),
            _ => (sent.datagrams..queued).for_each(|_| self.drop_packet(None, Reason::Full)),
        }
    }

    fn drop_packet(&mut self, by: Option<Outlet>, reason: Reason) {
        match (by, &self.turn) {
            (Some(Outlet::Pair(socket)), _) => self.pairs.count(socket, 1, Sent::default()),
            (_, Some(turn)) => turn.count_dropped(reason),
            (_, None) => {}
        }
    }
}

/// Where a socket for datagrams is that the poll names.
fn in_socket<'a>(
    pairs: &'a Pairs,
    turn: Option<&'a Turn>,
    shortcuts: &'a Shortcuts,
    ready: Ready,
) -> Option<BorrowedFd<'a>> {
    match ready {
        Ready::Pair(socket) => pairs.socket(socket).map(AsFd::as_fd),
        Ready::Listener(listener) => turn?.listener(listener).map(AsFd::as_fd),
        Ready::Relayed(slot) => turn?.relayed_in(slot).map(AsFd::as_fd),
        Ready::Shortcut => Some(shortcuts.inbox().as_fd()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::Directory;
    use super::super::pairs::NewPair;
    use super::super::pairs::tests::handshakes;
    use super::super::shortcut::shortcuts;
    use super::*;
    use crate::net::shard::now;
    use crate::relay::{Component, LegRules, PairCounters, PairId, Side, SideAddrs};
    use std::net::UdpSocket;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    /// Two pairs whose legs are each other: what came in would go round for ever.
    #[test]
    fn a_circle_of_our_own_addresses_ends() {
        let poll = mio::Poll::new().unwrap();
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets: [_; 2] = [(); 2].map(|()| [[bind(), bind()], [bind(), bind()]]);
        let ip = "127.0.0.1".parse().unwrap();
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let shown =
            sockets.each_ref().map(|pair| pair.each_ref().map(|side| SideAddrs::new(ip, port(&side[0]))));
        let directory = Arc::new(Directory::new(["127.0.0.1".parse().unwrap()]));
        let shortcuts = shortcuts(1, &directory).unwrap().remove(0);
        let mut pairs = Pairs::new(Arc::default(), directory.addresses(), handshakes());
        let counters = [(); 2].map(|()| Arc::new(PairCounters::default()));
        for (n, sockets) in sockets.into_iter().enumerate() {
            let (id, instant) = (PairId(n as u64), now().instant);
            let sockets = sockets.map(|side| side.map(Some));
            shown[n].iter().for_each(|side| directory.promise(side.rtp().0, 0));
            let counters = counters[n].clone();
            let (rested, saved) = ([false; 2], [None, None]);
            let pair = NewPair { id, sockets, rested, shown: shown[n], counters, saved };
            pairs.open(pair, poll.registry(), &directory, 0);
            for side in [Side::A, Side::B] {
                let rtp = Some(shown[1 - n][side as usize].rtp().0);
                pairs.set_leg(
                    id,
                    side,
                    LegRules { rtp, send_before_latch: true, ..LegRules::default() },
                    poll.registry(),
                    instant,
                );
            }
        }
        let mut path = PacketPath::new(pairs, None, shortcuts, now());
        let by = Outlet::Pair(PairSocket { slot: 1, side: Side::A, component: Component::Rtp });
        let (from, to) = (shown[1][0].rtp(), shown[0][0].rtp());
        let packet = HEADROOM..HEADROOM + 20;
        path.carry(Step::ToOwn { by, from, to, packet, or_leaves: true }, 0);
        let all = counters.iter().flat_map(|pair| [&pair.a, &pair.b]);
        let (relayed, lost) = all.fold((0, 0), |(relayed, lost), side| {
            let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            (relayed + count(&side.packets), lost + count(&side.undeliverable))
        });
        assert_eq!((relayed, lost), (u64::from(MOST_HOPS), 1));
    }
}
