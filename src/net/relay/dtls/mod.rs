//! TURN clients over DTLS 1.2 (RFC 8656 §2.1, RFC 7350), on the worker whose socket hears them. Sans-IO: datagrams and time
//! in, datagrams and messages out.
//!
//! ```text
//!   ClientHello ──▶ no cookie: HelloVerifyRequest, nothing is kept
//!                   ours:      an association (a place is taken) ──▶ handshake ──▶ stranger ⇄ client
//!   other records ──▶ the association of their source, or nowhere
//! ```
//!
//! Why 1.2 alone: docs/adr/0012.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod association;
mod cookie;
mod hello;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::base::{ClientAddr, FlowId, Timers};
use crate::net::certificates::OwnCertificate;
use crate::net::places::Places;
use crate::net::settings::Patience;
use crate::turn::forward::Reason;
use crate::turn::totals::{Closed, Counters};
use crate::turn::{Carrier, FiveTuple};
use association::{Association, Ended, Said, Stage};
use cookie::Cookies;
use hello::{Hello, Refusal};

/// Any datagram fits.
const BUFFER: usize = 65_536;
/// A flow's id: a serial number above the slot. (The carrier tells it from those of connections.)
const SLOT_BITS: u32 = 24;

/// What [`Associations`] is told.
#[derive(Clone, Debug)]
pub(in crate::net) struct Settings {
    /// By index of the TURN listener: for DTLS.
    pub certificates: Vec<Option<Arc<OwnCertificate>>>,
    pub places: Places,
    pub patience: Patience,
}

/// Where datagrams go.
pub(super) trait Outbound {
    /// Sends one from the socket of `listener`.
    fn send(&mut self, listener: usize, to: SocketAddr, datagram: &[u8]);
}

/// All associations of a worker.
pub(super) struct Associations {
    settings: Settings,
    config: Arc<dimpl::Config>,
    cookies: Cookies,
    associations: Slab<Association>,
    by_client: HashMap<(usize, SocketAddr), usize>,
    timers: Timers<usize>,
    serial: u64,
    /// Datagrams for clients are written here.
    sealed: Vec<u8>,
    /// Whose messages are being read: what is sent to it meanwhile goes out behind them.
    reading: Option<usize>,
    closed: Vec<FiveTuple>,
    counters: Arc<Counters>,
}

impl Associations {
    /// `secret`: of the cookies. Fails if dimpl does not like `patience.handshake`.
    pub fn new(
        settings: Settings,
        secret: [u8; 32],
        counters: Arc<Counters>,
        now: Instant,
    ) -> Result<Self, dimpl::Error> {
        let buffer = if settings.certificates.iter().any(Option::is_some) { BUFFER } else { 0 };
        Ok(Associations {
            config: Arc::new(association::config(settings.patience.handshake)?),
            cookies: Cookies::new(secret, now),
            settings,
            associations: Slab::new(),
            by_client: HashMap::new(),
            timers: Timers::default(),
            serial: 0,
            sealed: vec![0; buffer],
            reading: None,
            closed: Vec::new(),
            counters,
        })
    }

    /// Clients of this listener come here.
    #[inline]
    pub fn serves(&self, listener: usize) -> bool {
        matches!(self.settings.certificates.get(listener), Some(Some(_)))
    }

    /// A datagram on a listener's socket. Then [`Self::next_message`] until there is none.
    pub fn handle_datagram(
        &mut self,
        listener: usize,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        out: &mut impl Outbound,
    ) {
        let known = self.by_client.get(&(listener, from)).copied();
        let association = known.and_then(|slot| self.associations.get_mut(slot));
        match (Hello::read(datagram), association) {
            (Some(hello), association) if association.as_ref().is_none_or(|a| a.random != *hello.random) => {
                self.reading = self.greet(listener, from, &hello, now, out);
            }
            (_, Some(association)) => {
                association.receive(datagram, now);
                self.reading = known;
            }
            (_, None) => self.counters.count_dropped(Reason::Malformed),
        }
    }

    /// The next message in the datagram: from whom, and how many bytes of `room` it has. As much room as the datagram took is
    /// enough for all its messages one behind the other.
    pub fn next_message(
        &mut self,
        room: &mut [u8],
        now: Instant,
        out: &mut impl Outbound,
    ) -> Option<(FiveTuple, usize)> {
        let slot = self.reading?;
        let until = loop {
            let Some(association) = self.associations.get_mut(slot).filter(|found| !found.is_broken()) else {
                break None;
            };
            let to = association.client.client.0;
            match association.poll(room) {
                Said::Message(length) => {
                    association.come_to(association.stage, now);
                    return Some((association.client, length));
                }
                Said::Datagram(length) => {
                    out.send(association.listener, to, room.get(..length).unwrap_or_default());
                }
                // It is no message, then.
                Said::NoRoom => match association.poll(&mut self.sealed) {
                    Said::Datagram(length) => {
                        out.send(association.listener, to, self.sealed.get(..length).unwrap_or_default());
                    }
                    _ => break None,
                },
                Said::Connected => association.come_to(Stage::Stranger, now),
                Said::Nothing => {}
                Said::Closed => {
                    association.ended.get_or_insert(Ended::Peer);
                    break None;
                }
                Said::Until(at) => break Some(at),
            }
        };
        self.reading = None;
        if self.associations.get(slot).is_some_and(|association| association.ended.is_some()) {
            self.remove(slot);
        } else {
            self.arm(slot, until);
        }
        None
    }

    /// Timers that are due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl Outbound) {
        while let Some(slot) = self.timers.pop(now) {
            let Some(association) = self.associations.get_mut(slot) else { continue };
            association.timer = None;
            if association.stage == Stage::Handshake {
                association.handle_timeout(now);
            } else if association.deadline(&self.settings.patience).is_some_and(|due| due <= now) {
                association.close();
                association.ended.get_or_insert(Ended::Overdue);
            }
            self.reading = Some(slot);
            // Nothing was received, so there is no message.
            while self.next_message(&mut [], now, out).is_some() {}
        }
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub fn next_due(&mut self) -> Option<Instant> {
        self.timers.next_due()
    }

    /// Sends a message. Nobody is told if the association is gone.
    pub fn send(&mut self, to: FiveTuple, message: &[u8], out: &mut impl Outbound) {
        let slot = slot_of(to.flow);
        let found = self.associations.get_mut(slot);
        let Some(association) = found.filter(|found| found.client == to) else { return };
        if !association.seal(message) {
            self.counters.count_dropped(Reason::TooLong);
        }
        if self.reading == Some(slot) {
            return;
        }
        while !association.is_broken()
            && let Said::Datagram(length) = association.poll(&mut self.sealed)
        {
            out.send(association.listener, to.client.0, self.sealed.get(..length).unwrap_or_default());
        }
        if association.ended.is_some() {
            self.remove(slot);
        }
    }

    /// The client's allocation was made, or is gone.
    pub fn set_allocated(&mut self, client: FiveTuple, allocated: bool, now: Instant) {
        let slot = slot_of(client.flow);
        let found = self.associations.get_mut(slot);
        if let Some(association) = found.filter(|found| found.client == client) {
            association.come_to(if allocated { Stage::Client } else { Stage::Stranger }, now);
            self.arm(slot, None);
        }
    }

    /// A client whose association is gone.
    pub fn next_closed(&mut self) -> Option<FiveTuple> {
        self.closed.pop()
    }

    /// A ClientHello that belongs to no handshake yet; the association that it begins.
    fn greet(
        &mut self,
        listener: usize,
        from: SocketAddr,
        hello: &Hello<'_>,
        now: Instant,
        out: &mut impl Outbound,
    ) -> Option<usize> {
        let client = ClientAddr(from);
        // RFC 8996: never DTLS 1.0.
        if !hello.is_1_2() {
            out.send(listener, from, &hello.refusal(Refusal::Version));
            return None;
        }
        if !self.cookies.check(listener, client, hello, now) {
            let cookie = self.cookies.make(listener, client, hello, now);
            out.send(listener, from, &hello.verify_request(&cookie));
            return None;
        }
        // RFC 6347 §4.2.8: the address is theirs, so they may begin anew.
        if let Some(slot) = self.by_client.get(&(listener, from)).copied() {
            if let Some(association) = self.associations.get_mut(slot) {
                association.ended = Some(Ended::Replaced);
            }
            self.remove(slot);
        }
        let slot = self.open(listener, client, hello, now);
        if slot.is_none() {
            out.send(listener, from, &hello.refusal(Refusal::Failure));
        }
        slot
    }

    fn open(
        &mut self,
        listener: usize,
        client: ClientAddr,
        hello: &Hello<'_>,
        now: Instant,
    ) -> Option<usize> {
        let Some(place) = self.settings.places.take(Some(client.0.ip())) else {
            self.counters.count_closed(Closed::TooMany);
            return None;
        };
        let certificate = self.settings.certificates.get(listener)?.as_ref()?.for_dtls().ok()?;
        self.serial += 1;
        let entry = self.associations.vacant_entry();
        let slot = entry.key();
        let flow = FlowId(self.serial << SLOT_BITS | slot as u64);
        let of_listener = u16::try_from(listener).unwrap_or(u16::MAX);
        let client = FiveTuple { flow, listener: of_listener, client, carrier: Carrier::Dtls };
        match Association::begin(&self.config, &certificate, listener, client, hello, place, now) {
            Ok(association) => {
                entry.insert(association);
                self.by_client.insert((listener, client.client.0), slot);
                self.counters.connections.add(1);
                tracing::debug!(client = %client.client, "DTLS client");
                Some(slot)
            }
            Err(why) => {
                tracing::debug!(client = %client.client, %why, "DTLS client refused");
                self.counters.count_closed(Closed::Tls);
                None
            }
        }
    }

    /// Makes its timer fire when we or (while it shakes hands) dimpl want to look. One that fires too early may stand: it is
    /// cheaper to look again than to arm another with every message.
    fn arm(&mut self, slot: usize, until: Option<Instant>) {
        let Some(association) = self.associations.get_mut(slot) else { return };
        let until = until.filter(|_| association.stage == Stage::Handshake);
        let Some(due) = until.or_else(|| association.deadline(&self.settings.patience)) else { return };
        if let Some((timer, at)) = association.timer {
            if at <= due {
                return;
            }
            self.timers.cancel(timer);
        }
        association.timer = Some((self.timers.set(due, slot), due));
    }

    fn remove(&mut self, slot: usize) {
        let Some(association) = self.associations.try_remove(slot) else { return };
        if let Some((timer, _)) = association.timer {
            self.timers.cancel(timer);
        }
        let client = association.client;
        self.by_client.remove(&(association.listener, client.client.0));
        let why = association.ended.unwrap_or(Ended::Peer);
        tracing::debug!(client = %client.client, %why, "DTLS client gone");
        self.counters.connections.take(1);
        match why {
            Ended::Peer | Ended::Replaced => {}
            Ended::Overdue => self.counters.count_closed(Closed::Overdue),
            Ended::NothingInCommon | Ended::Failed(_) | Ended::Panicked => {
                self.counters.count_closed(Closed::Tls);
            }
        }
        if association.stage != Stage::Handshake {
            self.closed.push(client);
        }
    }
}

fn slot_of(FlowId(flow): FlowId) -> usize {
    (flow & ((1 << SLOT_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests;
