//! DTLS-SRTP on a leg (RFC 5763, RFC 5764): its endpoint shakes hands with us, and the keys that come of it protect its media.
//!
//! Each component has an association of its own, and with rtcp-mux there is one. A client's begins as soon as there is
//! somewhere to send to, a server's with a ClientHello of a source that is heard. They stay while the SDP says the same of
//! certificate and role (RFC 8842 §4); when it says otherwise, the keys in use are used until there are others, and come back
//! if the offer fails.

mod talk;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::srtp::Contexts;
use super::{Arrived, Pair, Reason, Verdict};
use crate::media::dtls::{Association, Certificate, Failure, Fingerprint, Keys, Output, Role};
use crate::media::packet;
use crate::relay::row::Exit;
use crate::relay::{Component, Side};
use talk::{ClientHello, Talk};

/// When to ask again whether a handshake may begin.
const FULL_RETRY: Duration = Duration::from_millis(250);

/// The handshakes of all pairs of a worker: what they show, and how many may be under way at once.
#[derive(Clone, Debug)]
pub struct Handshakes {
    certificate: Arc<Certificate>,
    most: usize,
    running: Arc<AtomicUsize>,
}

/// One that is under way, until this is dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Handshakes {
    /// None is under way.
    pub fn new(certificate: Arc<Certificate>, most: usize) -> Handshakes {
        Handshakes { certificate, most, running: Arc::default() }
    }

    fn take(&self) -> Option<Place> {
        let take = |running| (running < self.most).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Place(self.running.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a pair's associations have to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// This leaves from `side`'s socket.
    #[allow(missing_docs)]
    Packet { side: Side, exit: Exit, packet: Vec<u8> },
    /// The side's media will not flow.
    #[allow(missing_docs)]
    Failed { side: Side, peer: SocketAddr, failure: Failure },
    /// Too many handshakes are under way to begin one for this side: it will be tried again.
    Full(Side),
}

/// What the SDP says of one leg's handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Ours; `None`: not known yet.
    pub role: Option<Role>,
    /// The endpoint's; none: not known yet.
    pub fingerprints: SmallVec<[Fingerprint; 2]>,
}

impl Terms {
    fn role(&self) -> Role {
        self.role.unwrap_or(Role::Server)
    }

    /// RFC 8842 §4: with these terms the association would be the same one.
    fn go_with(&self, other: &Terms) -> bool {
        let (ours, theirs) = (&self.fingerprints, &other.fingerprints);
        let is_same = ours.len() == theirs.len() && ours.iter().all(|ours| theirs.contains(ours));
        (other.role.is_none() || other.role == Some(self.role()))
            && (ours.is_empty() || theirs.is_empty() || is_same)
    }
}

/// What was agreed on under some terms, or is being agreed on, by component.
#[derive(Debug)]
struct Epoch {
    terms: Terms,
    talks: [Option<Talk>; 2],
}

impl Epoch {
    fn new(terms: Terms) -> Epoch {
        Epoch { terms, talks: [None, None] }
    }

    fn has_keys(&self) -> bool {
        self.talks.iter().flatten().any(|talk| talk.keys.is_some())
    }

    /// What was not known before.
    fn learn(&mut self, terms: Terms) {
        if self.terms.role.is_none() {
            self.terms.role = terms.role;
        }
        if self.terms.fingerprints.is_empty() && !terms.fingerprints.is_empty() {
            self.terms.fingerprints = terms.fingerprints;
            for talk in self.talks.iter_mut().flatten() {
                if let Some(association) = &mut talk.association {
                    association.expect(self.terms.fingerprints.iter().cloned());
                }
            }
        }
    }
}

/// One leg's associations, and the keys in use.
#[derive(Debug)]
pub(super) struct DtlsLeg {
    now: Epoch,
    /// Whose keys are in use while there are none of `now`, or were last.
    before: Option<Epoch>,
    contexts: [Option<Box<Contexts>>; 2],
    /// No handshake could begin: that is yet to be said,
    is_full: bool,
    /// and then it is tried again.
    retry: Option<Instant>,
}

impl DtlsLeg {
    pub fn new(terms: Terms) -> DtlsLeg {
        DtlsLeg {
            now: Epoch::new(terms),
            before: None,
            contexts: Default::default(),
            is_full: false,
            retry: None,
        }
    }

    /// New terms from an offer or answer.
    pub fn set(&mut self, terms: Terms, now: Instant) {
        if self.now.terms.go_with(&terms) {
            return self.now.learn(terms);
        }
        let known = self.before.take_if(|before| before.terms.go_with(&terms));
        let next = known.unwrap_or_else(|| Epoch::new(terms));
        for (contexts, talk) in self.contexts.iter_mut().zip(&next.talks) {
            if let Some(keys) = talk.as_ref().and_then(|talk| talk.keys.as_ref()) {
                contexts.get_or_insert_default().begin(keys, now);
            }
        }
        let last = std::mem::replace(&mut self.now, next);
        if last.has_keys() {
            self.before = Some(last);
        }
    }

    /// Under what the component's packets are protected; `None` before there are keys.
    #[inline]
    pub fn contexts(&mut self, component: Component) -> Option<&mut Contexts> {
        self.contexts[component as usize].as_deref_mut()
    }

    /// What was agreed on under the terms of now, by component.
    fn keys(&self) -> [Option<&Keys>; 2] {
        self.now.talks.each_ref().map(|talk| talk.as_ref()?.keys.as_ref())
    }

    /// What the component had agreed on before a restart, with this peer.
    pub fn resume(&mut self, component: Component, peer: SocketAddr, keys: &Keys, now: Instant) {
        self.now.talks[component as usize] = Some(Talk::resume(peer, keys.clone()));
        self.contexts[component as usize].get_or_insert_default().begin(keys, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let associations = self.now.talks.iter().flatten().filter_map(|talk| talk.association.as_ref());
        associations.filter_map(Association::poll_timeout).chain(self.retry).min()
    }
}

impl Pair {
    /// True if one of the sides does DTLS-SRTP: [`Self::poll_dtls`] is to be asked whenever something happened.
    #[inline]
    pub fn does_dtls(&self) -> bool {
        self.srtp.iter().any(|srtp| srtp.dtls().is_some())
    }

    /// A packet that looks like DTLS came to a leg that does DTLS-SRTP.
    pub fn take_dtls(&mut self, arrived: &Arrived, packet: &[u8], handshakes: &Handshakes) -> Verdict {
        self.hand_over(arrived, packet, handshakes).map_or_else(Verdict::Drop, |()| Verdict::Done)
    }

    fn hand_over(&mut self, arrived: &Arrived, packet: &[u8], handshakes: &Handshakes) -> Result<(), Reason> {
        let Arrived { side, component, source, now } = *arrived;
        let unlatched = self.hears(arrived)?;
        if !packet::is_dtls(packet) {
            return Err(Reason::Payload);
        }
        let does_ice = self.agents[side as usize][component as usize].is_some();
        let is_proved = does_ice || self.legs[side as usize].is_proved(component, source);
        let dtls = self.srtp[side as usize].dtls_mut().ok_or(Reason::Payload)?;
        let terms = &dtls.now.terms;
        let talk = &mut dtls.now.talks[component as usize];
        let hello = ClientHello::read(packet);
        if hello.is_some() && terms.role() == Role::Client {
            return Err(Reason::Payload);
        }
        if let Some(hello) = hello
            && talk.as_ref().is_none_or(|talk| talk.is_renewed_by(&hello, source, unlatched))
        {
            // Its place is free for the new one.
            *talk = None;
            let Some(place) = handshakes.take() else {
                dtls.is_full = true;
                return Err(Reason::Undeliverable);
            };
            *talk = Some(Talk::answer(&handshakes.certificate, terms, source, is_proved, place, now));
        }
        let talk = talk.as_mut().ok_or(Reason::Payload)?;
        if unlatched && talk.peer != source {
            return Err(Reason::Source);
        }
        talk.peer = source;
        talk.take(packet, hello, now);
        Ok(())
    }

    /// The next thing that its associations have to say.
    pub fn poll_dtls(&mut self, handshakes: &Handshakes, now: Instant) -> Option<Said> {
        for side in [Side::A, Side::B] {
            for component in [Component::Rtp, Component::Rtcp] {
                self.begin(side, component, handshakes, now);
                if let Some(said) = self.poll_talk(side, component, now) {
                    return Some(said);
                }
            }
            let dtls = self.srtp[side as usize].dtls_mut();
            if dtls.is_some_and(|dtls| std::mem::take(&mut dtls.is_full)) {
                return Some(Said::Full(side));
            }
        }
        None
    }

    /// When [`Self::handle_dtls_timeout`] is wanted.
    pub fn dtls_timeout(&self) -> Option<Instant> {
        self.srtp.iter().filter_map(|srtp| srtp.dtls()?.poll_timeout()).min()
    }

    /// Time has come. Then [`Self::poll_dtls`].
    pub fn handle_dtls_timeout(&mut self, now: Instant) {
        for srtp in &mut self.srtp {
            let Some(dtls) = srtp.dtls_mut() else { continue };
            dtls.retry = dtls.retry.filter(|retry| *retry > now);
            let talks = dtls.now.talks.iter_mut().flatten();
            for association in talks.filter_map(|talk| talk.association.as_mut()) {
                if association.poll_timeout().is_some_and(|due| due <= now) {
                    association.handle_timeout(now);
                }
            }
        }
    }

    /// Begins as the client, if that is for us and there is somewhere to send to.
    fn begin(&mut self, side: Side, component: Component, handshakes: &Handshakes, now: Instant) {
        let leg = &self.legs[side as usize];
        let Some(dtls) = self.srtp[side as usize].dtls_mut() else { return };
        let talk = &mut dtls.now.talks[component as usize];
        // RFC 5764 §4.1: with rtcp-mux there is one association.
        let is_used = component == Component::Rtp || !self.rows[side as usize].does_rtcp_mux();
        if !is_used || talk.is_some() || dtls.retry.is_some() || dtls.now.terms.role() != Role::Client {
            return;
        }
        let peer = match &self.agents[side as usize][component as usize] {
            Some(agent) => agent.destination(now),
            None => leg.destination(component),
        };
        let Some(peer) = peer else { return };
        let Some(place) = handshakes.take() else {
            dtls.is_full = true;
            dtls.retry = Some(now + FULL_RETRY);
            return;
        };
        *talk = Some(Talk::begin(&handshakes.certificate, &dtls.now.terms, peer, place, now));
    }

    fn poll_talk(&mut self, side: Side, component: Component, now: Instant) -> Option<Said> {
        loop {
            let dtls = self.srtp[side as usize].dtls_mut()?;
            let talk = dtls.now.talks[component as usize].as_mut()?;
            let peer = talk.peer;
            match talk.association.as_mut()?.poll_output()? {
                Output::Packet(packet) => {
                    let Some(to) = self.answer_to(side, component, peer, now) else { continue };
                    let exit = self.exit_to(component, to);
                    return Some(Said::Packet { side, exit, packet });
                }
                Output::Keys(keys) => {
                    talk.place = None;
                    dtls.contexts[component as usize].get_or_insert_default().begin(&keys, now);
                    talk.keys = Some(keys);
                    self.latch_to_peer(side, component, peer);
                    self.tell_keys(side);
                }
                Output::Failed(failure) => {
                    talk.place = None;
                    return Some(Said::Failed { side, peer, failure });
                }
            }
        }
    }

    /// Of these the worker alone knows, and they must outlast a restart.
    pub(super) fn tell_keys(&self, side: Side) {
        let keys = self.srtp[side as usize].dtls().map(DtlsLeg::keys).unwrap_or_default();
        if self.counters.leg(side).srtp().is_some_and(|srtp| srtp.keep_keys(keys)) {
            self.counters.revise();
        }
    }

    /// Where an association's packets go: to where the endpoint is by now; before that is known, to who speaks.
    fn answer_to(
        &self,
        side: Side,
        component: Component,
        peer: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        let leg = &self.legs[side as usize];
        match &self.agents[side as usize][component as usize] {
            Some(agent) => agent.destination(now),
            None => leg.source(component).or_else(|| leg.may_latch(component, peer).then_some(peer)),
        }
    }

    /// Who has the certificate that the SDP names is the one to hear.
    fn latch_to_peer(&mut self, side: Side, component: Component, peer: SocketAddr) {
        let does_ice = self.agents[side as usize][component as usize].is_some();
        let leg = &mut self.legs[side as usize];
        if !does_ice && leg.source(component).is_none() && leg.may_latch(component, peer) {
            leg.latch_to(component, peer);
            self.compile();
        }
    }
}

#[cfg(test)]
mod tests;
