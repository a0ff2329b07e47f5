//! One connection of a client: what waits for it, and how long we wait.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::frames::Follows;
use super::wire::{Ended, Taken, Wire};
use crate::net::places::Place;
use crate::net::settings::Patience;
use crate::turn::FiveTuple;

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Shaking hands (TLS).
    Handshake,
    /// Without an allocation.
    Stranger,
    /// With one.
    Client,
    /// It had one: what it still sends on channels is dropped and no reason to close.
    Former,
}

/// A connection.
pub(in crate::net::relay) struct Connection {
    pub client: FiveTuple,
    pub(super) wire: Wire,
    /// To be closed at the end of the round.
    pub(super) ended: Option<Ended>,
    /// The end that stands behind what was read.
    pub(super) ends: Option<Ended>,
    /// It carries no more messages: it goes elsewhere at the end of the round.
    pub(super) leaves: bool,
    /// There is something to do for it at the end of the round.
    pub(super) is_marked: bool,
    /// It is read in the next round.
    pub(super) is_postponed: bool,
    /// The peer has closed its side: the end stands behind what is left to read.
    pub(super) has_hung_up: bool,
    stage: Stage,
    /// When it came to this stage, or last sent a whole message.
    heard: Instant,
    /// A message began to arrive then, and none was whole since.
    begun: Option<Instant>,
    /// The peer has not taken a byte since then.
    blocked: Option<Instant>,
    _place: Place,
}

impl Connection {
    /// Just accepted.
    pub(super) fn new(client: FiveTuple, wire: Wire, place: Place, now: Instant) -> Connection {
        let stage = if wire.is_handshaking() { Stage::Handshake } else { Stage::Stranger };
        Connection {
            client,
            wire,
            ended: None,
            ends: None,
            leaves: false,
            is_marked: false,
            is_postponed: false,
            has_hung_up: false,
            stage,
            heard: now,
            begun: None,
            blocked: None,
            _place: place,
        }
    }

    /// What may be read from it.
    pub(super) fn follows(&self) -> Follows {
        match self.stage {
            _ if self.is_done() => Follows::Nothing,
            Stage::Client | Stage::Former => Follows::Messages,
            Stage::Handshake | Stage::Stranger => Follows::Requests,
        }
    }

    /// For the poll.
    pub fn socket(&mut self) -> &mut TcpStream {
        self.wire.socket()
    }

    /// Something waits to be written.
    pub fn holds(&self) -> bool {
        self.wire.waiting() > 0
    }

    /// Nothing more is read from it here.
    pub(super) fn is_done(&self) -> bool {
        self.leaves || self.ended.is_some()
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.stage == Stage::Handshake
    }

    /// An allocation was made, or is gone.
    pub(super) fn set_allocated(&mut self, allocated: bool, now: Instant) {
        self.come_to(if allocated { Stage::Client } else { Stage::Former }, now);
    }

    fn come_to(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.heard = now;
    }

    /// It was read; what is left of it begins a message, or is nothing. `messages` were whole.
    pub(super) fn keep(&mut self, rest: &[u8], messages: usize, now: Instant) {
        self.wire.keep(rest);
        if self.stage == Stage::Handshake && !self.wire.is_handshaking() {
            self.come_to(Stage::Stranger, now);
        }
        if messages > 0 {
            self.heard = now;
        }
        self.begun = match self.begun {
            since @ Some(_) if self.wire.has_begun() && messages == 0 => since,
            _ => self.wire.has_begun().then_some(now),
        };
    }

    /// It was written to.
    pub(super) fn has_written(&mut self, taken: Taken, now: Instant) {
        self.blocked = match self.blocked {
            _ if taken.all => None,
            since @ Some(_) if !taken.any => since,
            _ => Some(now),
        };
    }

    /// The socket takes no more: it will say when it does.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Which of our deadlines has passed. A client with an allocation may be silent for as long as that lives (RFC 8656 §8).
    pub(super) fn overdue(&self, patience: &Patience, now: Instant) -> Option<&'static str> {
        let without = matches!(self.stage, Stage::Stranger | Stage::Former);
        let over = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let limits = [
            (Some(self.heard).filter(|_| self.is_handshaking()), patience.handshake, "no handshake"),
            (Some(self.heard).filter(|_| without), patience.message, "no allocation"),
            (self.begun, patience.message, "a message began and did not end"),
            (self.blocked, patience.write, "the peer does not read"),
        ];
        limits.into_iter().find_map(|(since, limit, why)| over(since?, limit).then_some(why))
    }
}
