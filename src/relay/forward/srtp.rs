//! What becomes of a packet of a pair one of whose legs is SRTP: it is unprotected, and protected for the other leg if that is
//! SRTP too, in place. A packet that is not authentic latches nothing and goes nowhere.

use std::ops::Range;
use std::time::Instant;

use super::dtls::{DtlsLeg, Terms};
use super::{Arrived, Pair, Reason, Verdict};
use crate::media::dtls::Keys;
use crate::media::latch::LegCrypto;
use crate::media::packet;
use crate::media::srtp::{Inbound, MasterKey, Milestone, Milestones, Outbound, Refused, Rollover, TAILROOM};
use crate::relay::leg_counters::SrtpSoFar;
use crate::relay::row::Kind;
use crate::relay::{Component, SavedLeg, Side};

/// Both directions of one leg, or of one of its components.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    inbound: Option<Inbound>,
    outbound: Option<Outbound>,
}

impl Contexts {
    /// The keys of a DTLS association count from now on.
    pub fn begin(&mut self, keys: &Keys, now: Instant) {
        self.set_inbound(&keys.inbound, now);
        self.set_outbound(&keys.outbound, Rollover::Restarts);
    }

    /// Goes on after a restart.
    fn resume(&mut self, saved: &SavedLeg, life: u8) {
        if let Some(inbound) = &mut self.inbound {
            inbound.resume(&saved.inbound);
        }
        if let Some(outbound) = &mut self.outbound {
            outbound.resume(&saved.outbound, life);
        }
    }

    fn set_inbound(&mut self, key: &MasterKey, now: Instant) {
        match &mut self.inbound {
            Some(context) => context.rekey(key, now),
            none => *none = Some(Inbound::new(key)),
        }
    }

    fn set_outbound(&mut self, key: &MasterKey, rollover: Rollover) {
        match &mut self.outbound {
            Some(context) => context.rekey(key, rollover),
            none => *none = Some(Outbound::new(key)),
        }
    }
}

/// How one leg is protected, and was. Contexts (about 12 kB each) stay when the leg goes over to something else: were it SRTP
/// again under the same key, no key stream may be used twice (RFC 3711 §9.1).
#[derive(Debug, Default)]
pub(super) struct Protection {
    by: Keying,
    sdes: Option<Box<Contexts>>,
    dtls: Option<Box<DtlsLeg>>,
}

/// Where its keys come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Keying {
    /// It has none.
    #[default]
    Nothing,
    Sdes,
    Dtls,
}

impl Protection {
    fn set(&mut self, crypto: &LegCrypto, now: Instant) {
        match crypto {
            LegCrypto::Pass => self.by = Keying::Nothing,
            LegCrypto::Sdes { inbound, outbound } => {
                self.by = Keying::Sdes;
                let contexts = self.sdes.get_or_insert_default();
                if let Some(key) = inbound {
                    contexts.set_inbound(key, now);
                }
                if let Some(key) = outbound {
                    // RFC 4568 §7.1.4, RFC 3711 §3.3.1: the packets are numbered on.
                    contexts.set_outbound(key, Rollover::Continues);
                }
            }
            LegCrypto::Dtls { role, fingerprints } => {
                self.by = Keying::Dtls;
                let terms = Terms { role: *role, fingerprints: fingerprints.clone() };
                match &mut self.dtls {
                    Some(dtls) => dtls.set(terms, now),
                    none => *none = Some(Box::new(DtlsLeg::new(terms))),
                }
            }
        }
    }

    /// Goes on after a restart.
    pub fn resume(&mut self, saved: &SavedLeg, life: u8, now: Instant) {
        for component in [Component::Rtp, Component::Rtcp] {
            let (peer, keys) = (saved.latched[component as usize], &saved.keys[component as usize]);
            if let (Some(dtls), Some(peer), Some(keys)) = (self.dtls_mut(), peer, keys) {
                dtls.resume(component, peer, keys, now);
            }
            if let Some(contexts) = self.contexts(component) {
                contexts.resume(saved, life);
            }
        }
    }

    /// False for plain RTP, and what passes unread.
    #[inline]
    pub fn is_used(&self) -> bool {
        self.by != Keying::Nothing
    }

    /// `None` before there are keys.
    #[inline]
    fn contexts(&mut self, component: Component) -> Option<&mut Contexts> {
        match self.by {
            Keying::Nothing => None,
            Keying::Sdes => self.sdes.as_deref_mut(),
            Keying::Dtls => self.dtls.as_mut()?.contexts(component),
        }
    }

    /// If the leg does DTLS-SRTP.
    pub fn dtls(&self) -> Option<&DtlsLeg> {
        self.dtls.as_deref().filter(|_| self.by == Keying::Dtls)
    }

    /// The same.
    pub fn dtls_mut(&mut self) -> Option<&mut DtlsLeg> {
        self.dtls.as_deref_mut().filter(|_| self.by == Keying::Dtls)
    }
}

/// Whose a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// [`Pair::forward`]'s.
    Plain,
    /// [`Pair::forward_ice`]'s.
    Ice,
    /// [`Pair::forward_srtp`]'s.
    Srtp,
    /// [`Pair::take_dtls`]'s.
    Dtls,
}

impl Pair {
    /// How `side`'s packets are protected from now on. A key that has not changed keeps its context, an endpoint that has not
    /// changed its association.
    pub fn set_crypto(&mut self, side: Side, crypto: &LegCrypto, now: Instant) {
        self.srtp[side as usize].set(crypto, now);
        if self.srtp[side as usize].is_used() {
            self.counters.leg(side).begin_srtp();
        }
        self.tell_keys(side);
    }

    /// True if one of the sides is SRTP.
    #[inline]
    pub fn does_srtp(&self) -> bool {
        self.srtp.iter().any(Protection::is_used)
    }

    /// Who is to be asked about `packet`, which came to `side`.
    #[inline]
    pub fn way(&self, side: Side, packet: &[u8]) -> Way {
        let does_ice = self.does_ice();
        if !self.does_srtp() {
            return if does_ice { Way::Ice } else { Way::Plain };
        }
        match packet.first() {
            // RFC 7983 §7.
            Some(0..=3) if does_ice && packet::is_stun(packet) => Way::Ice,
            Some(20..=63) if self.srtp[side as usize].by == Keying::Dtls => Way::Dtls,
            _ => Way::Srtp,
        }
    }

    /// As [`Pair::forward`], for the packet at `place` in `bytes`; where it stands afterwards, as it leaves, is written there. The
    /// [`TAILROOM`] bytes before it are free.
    pub fn forward_srtp(&mut self, arrived: &Arrived, bytes: &mut [u8], place: &mut Range<usize>) -> Verdict {
        self.translate(arrived, bytes, place).unwrap_or_else(Verdict::Drop)
    }

    fn translate(
        &mut self,
        arrived: &Arrived,
        bytes: &mut [u8],
        place: &mut Range<usize>,
    ) -> Result<Verdict, Reason> {
        let packet = bytes.get_mut(place.clone()).ok_or(Reason::Payload)?;
        let admitted = self.admit(arrived, packet)?;
        let protection = &mut self.srtp[arrived.side as usize];
        if protection.is_used() {
            let inbound =
                protection.contexts(arrived.component).and_then(|contexts| contexts.inbound.as_mut());
            let inbound = inbound.ok_or(Reason::Authentication)?;
            let opened = match admitted.kind {
                Kind::Media => inbound.unprotect_rtp(packet, arrived.now),
                Kind::Rtcp => inbound.unprotect_rtcp(packet, arrived.now),
            };
            place.end = place.start + opened.map_err(reason)?;
            if let Some(milestone) = inbound.take_milestone() {
                self.tell_passed(arrived.side, |srtp| &srtp.inbound, milestone);
            }
        }
        self.listen(arrived, admitted.kind, bytes.get(place.clone()).unwrap_or_default());
        self.take(arrived, admitted);
        let exit = self.exit_of(arrived, admitted.kind);
        let verdict = self.leave(arrived, exit)?;
        let protection = &mut self.srtp[arrived.side.other() as usize];
        if protection.is_used() {
            let outbound = protection.contexts(exit).and_then(|contexts| contexts.outbound.as_mut());
            let outbound = outbound.ok_or(Reason::Undeliverable)?;
            *place = protect(outbound, admitted.kind, bytes, place.clone()).map_err(reason)?;
            if let Some(milestone) = outbound.take_milestone() {
                self.tell_passed(arrived.side.other(), |srtp| &srtp.outbound, milestone);
            }
        }
        Ok(verdict)
    }

    fn tell_passed(&self, side: Side, of: fn(&SrtpSoFar) -> &Milestones, milestone: Milestone) {
        if let Some(srtp) = self.counters.leg(side).srtp() {
            of(srtp).pass(milestone);
            self.counters.revise();
        }
    }
}

fn reason(refused: Refused) -> Reason {
    match refused {
        Refused::Authentication | Refused::Unencrypted => Reason::Authentication,
        Refused::Replayed => Reason::Replay,
        Refused::Malformed | Refused::Sources | Refused::Exhausted | Refused::NoRoom => Reason::Payload,
    }
}

/// It grows to the front: right behind it another one may stand that waits for its turn.
fn protect(
    outbound: &mut Outbound,
    kind: Kind,
    bytes: &mut [u8],
    place: Range<usize>,
) -> Result<Range<usize>, Refused> {
    let start = place.start.checked_sub(TAILROOM).ok_or(Refused::NoRoom)?;
    let (len, end) = (place.len(), place.end);
    let buffer = bytes.get_mut(start..end).ok_or(Refused::NoRoom)?;
    buffer.copy_within(TAILROOM.., 0);
    let len = match kind {
        Kind::Media => outbound.protect_rtp(buffer, len),
        Kind::Rtcp => outbound.protect_rtcp(buffer, len),
    }?;
    Ok(start..start + len)
}

#[cfg(test)]
mod tests;
