//! The packet path of a worker: from a socket, through a verdict, to the next socket. What is received is sent on from where
//! it stands in one [`Batch`]; what leaves from one socket after the other is sent in one call.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use super::pairs::Pairs;
use super::streams::{self, Cargo, Cut};
use super::token::{PairSocket, Ready};
use super::turn::Turn;
use crate::base::{Now, PeerAddr};
use crate::net::udp::{Batch, Slot};
use crate::turn::FiveTuple;
use crate::turn::channel_data::{HEADROOM, TAILROOM};
use crate::turn::sockets::RelaySocketId;

/// Datagrams received per system call.
pub(super) const BATCH: usize = 32;
/// Datagrams that are gathered, perhaps from many sockets, before they are sent on.
const SLOTS: usize = 3 * BATCH;
/// Longer datagrams are dropped: jumbo frames fit.
const DATAGRAM: usize = 9216;
/// Batches read from one socket before the others get their turn.
pub(super) const TURNS: usize = 4;

// What is read from a stream has room there as well.
const _: () = assert!(HEADROOM + streams::ROOM + TAILROOM <= SLOTS * DATAGRAM);

/// From which socket a packet leaves through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// A media pair's.
    Pair(PairSocket),
    /// The one of a TURN listener for datagrams.
    Listener(usize),
    /// An allocation's.
    Relayed(RelaySocketId),
}

/// What happens next to a packet, which stands in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it was dropped and counted, or it was a request.
    Done,
    /// It leaves through the kernel.
    Leave { from: Outlet, to: SocketAddr, packet: Range<usize> },
    /// It goes to a TURN client.
    ToClient { client: FiveTuple, message: Range<usize> },
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
    /// When this round began.
    pub now: Now,
    /// Where packets stand. Whoever receives into it by other means than [`Self::read`] calls [`Self::send_all`] first, and
    /// leaves [`HEADROOM`] free before and [`TAILROOM`] behind.
    pub batch: Batch,
    /// From where leaves what is queued in the batch, and how much that is.
    run: Option<(Outlet, usize)>,
}

impl PacketPath {
    pub fn new(pairs: Pairs, turn: Option<Turn>, now: Now) -> PacketPath {
        let slot = Slot { headroom: HEADROOM, datagram: DATAGRAM, tailroom: TAILROOM };
        PacketPath { pairs, turn, now, batch: Batch::with_room(SLOTS, slot), run: None }
    }

    /// Reads what has arrived on a socket, and queues or sends it on.
    pub fn read(&mut self, ready: Ready) -> Looked {
        match (ready, &mut self.turn) {
            (Ready::Accept(listener), Some(turn)) => {
                turn.streams().accept(listener, self.now.instant);
                Looked::default()
            }
            // What it has left after its turns is served from [`Self::begin_round`].
            (Ready::Stream(slot), _) => Looked { packets: self.read_stream(slot), unfinished: false },
            _ => self.read_datagrams(ready),
        }
    }

    fn read_datagrams(&mut self, ready: Ready) -> Looked {
        let mut looked = Looked::default();
        for _ in 0..TURNS {
            if self.batch.capacity() - self.batch.len() < BATCH {
                self.send_all();
            }
            let Some(socket) = socket(&self.pairs, self.turn.as_ref(), ready) else { return looked };
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
        self.carry(step);
    }

    /// When [`Self::finish_round`] is wanted if nothing arrives.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.turn.as_mut()?.poll_timeout()
    }

    /// Lets expire what is due, answers and sends all that waits.
    pub fn finish_round(&mut self) {
        self.send_all();
        if let Some(turn) = &mut self.turn {
            turn.handle_timeout(self.now.instant);
            turn.finish_round(self.now.instant);
        }
    }

    /// Sends all that is queued; what was received is forgotten.
    pub fn send_all(&mut self) {
        self.flush();
        self.batch.clear();
    }

    fn judge(&mut self, ready: Ready, slot: usize) {
        let (Some(source), place) = (self.batch.source(slot), self.batch.place(slot)) else { return };
        let instant = self.now.instant;
        let step = match (ready, &mut self.turn, place) {
            (Ready::Pair(at), _, place) => self.pairs.forward(at, source, self.batch.bytes(), place),
            (Ready::Listener(listener), Some(turn), Some(packet)) => {
                turn.handle_datagram(listener, source, self.batch.bytes(), packet, self.now)
            }
            (Ready::Relayed(slot), Some(turn), Some(packet)) => {
                turn.handle_relayed(slot, PeerAddr(source), self.batch.bytes_mut(), packet, instant)
            }
            _ => Step::Done,
        };
        self.carry(step);
    }

    fn carry(&mut self, step: Step) {
        match step {
            Step::Done => {}
            Step::Leave { from, to, packet } => self.queue(from, to, packet),
            Step::ToClient { client, message } => {
                let Some(turn) = &mut self.turn else { return };
                match turn.outlet(client) {
                    Some(outlet) => self.queue(outlet, client.client.0, message),
                    None => {
                        let message = self.batch.bytes().get(message).unwrap_or_default();
                        turn.send(client, message, Cargo::Media);
                    }
                }
            }
        }
    }

    fn queue(&mut self, from: Outlet, to: SocketAddr, packet: Range<usize>) {
        if self.run.is_some_and(|(outlet, _)| outlet != from) {
            self.flush();
        }
        if self.batch.queue(packet.clone(), Some(to)).is_err() {
            self.flush();
            let _ = self.batch.queue(packet, Some(to));
        }
        self.run = Some((from, self.run.map_or(1, |(_, queued)| queued + 1)));
    }

    fn flush(&mut self) {
        let Some((from, queued)) = self.run.take() else { return };
        let Some(socket) = outlet_socket(&self.pairs, self.turn.as_ref(), from) else {
            return self.batch.clear_queue();
        };
        let sent = self.batch.flush(&socket);
        match (from, &mut self.turn) {
            (Outlet::Pair(socket), _) => self.pairs.count(socket, queued, sent, self.now.instant),
            (_, Some(turn)) => turn.count_lost(queued.saturating_sub(sent.datagrams)),
            (_, None) => {}
        }
    }
}

fn socket<'a>(pairs: &'a Pairs, turn: Option<&'a Turn>, ready: Ready) -> Option<BorrowedFd<'a>> {
    match ready {
        Ready::Pair(socket) => pairs.socket(socket).map(AsFd::as_fd),
        Ready::Listener(listener) => turn?.listener(listener).map(AsFd::as_fd),
        Ready::Relayed(slot) => turn?.relayed_in(slot).map(AsFd::as_fd),
        _ => None,
    }
}

fn outlet_socket<'a>(pairs: &'a Pairs, turn: Option<&'a Turn>, outlet: Outlet) -> Option<BorrowedFd<'a>> {
    match outlet {
        Outlet::Pair(socket) => pairs.socket(socket).map(AsFd::as_fd),
        Outlet::Listener(listener) => turn?.listener(listener).map(AsFd::as_fd),
        Outlet::Relayed(socket) => turn?.relayed(socket).map(AsFd::as_fd),
    }
}
