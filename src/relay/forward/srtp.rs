//! What becomes of a packet of a pair one of whose legs is SRTP: it is unprotected, and protected for the other leg if that is
//! SRTP too, in place. A packet that is not authentic latches nothing and goes nowhere.

use std::ops::Range;
use std::time::Instant;

use super::{Arrived, Pair, Reason, Verdict};
use crate::media::latch::LegCrypto;
use crate::media::packet;
use crate::media::srtp::{Inbound, Outbound, Refused, Rollover, TAILROOM};
use crate::relay::Side;
use crate::relay::row::Kind;

/// Both directions of one leg. They stay when the leg goes over to plain RTP: were it SRTP again under the same key, no key
/// stream may be used twice (RFC 3711 §9.1).
#[derive(Debug, Default)]
pub(super) struct Contexts {
    inbound: Option<Inbound>,
    outbound: Option<Outbound>,
    in_use: bool,
}

impl Pair {
    /// How `side`'s packets are protected from now on. A key that has not changed keeps its context.
    pub fn set_crypto(&mut self, side: Side, crypto: &LegCrypto, now: Instant) {
        let contexts = &mut self.srtp[side as usize];
        let (inbound, outbound) = match crypto {
            LegCrypto::Sdes { inbound, outbound } => (inbound, outbound),
            LegCrypto::Dtls { .. } => {
                *contexts = Some(Box::new(Contexts { in_use: true, ..Contexts::default() }));
                return;
            }
            LegCrypto::Pass => {
                if let Some(contexts) = contexts {
                    contexts.in_use = false;
                }
                return;
            }
        };
        let contexts = contexts.get_or_insert_default();
        contexts.in_use = true;
        match (&mut contexts.inbound, inbound) {
            (Some(context), Some(key)) => context.rekey(key, now),
            (context @ None, Some(key)) => *context = Some(Inbound::new(key)),
            (_, None) => {}
        }
        match (&mut contexts.outbound, outbound) {
            // RFC 4568 §7.1.4, RFC 3711 §3.3.1: the packets are numbered on.
            (Some(context), Some(key)) => context.rekey(key, Rollover::Continues),
            (context @ None, Some(key)) => *context = Some(Outbound::new(key)),
            (_, None) => {}
        }
    }

    /// True if one of the sides is SRTP: what is not a STUN check is then for [`Self::forward_srtp`].
    #[inline]
    pub fn does_srtp(&self) -> bool {
        self.srtp.iter().flatten().any(|contexts| contexts.in_use)
    }

    /// True if [`Self::forward_srtp`] is to be asked about `packet`.
    #[inline]
    pub fn is_for_srtp(&self, packet: &[u8]) -> bool {
        self.does_srtp() && !(self.does_ice() && packet::is_stun(packet))
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
        if let Some(contexts) = contexts_in_use(&mut self.srtp, arrived.side) {
            let inbound = contexts.inbound.as_mut().ok_or(Reason::Authentication)?;
            let opened = match admitted.kind {
                Kind::Media => inbound.unprotect_rtp(packet, arrived.now),
                Kind::Rtcp => inbound.unprotect_rtcp(packet, arrived.now),
            };
            place.end = place.start + opened.map_err(reason)?;
        }
        self.listen(arrived, admitted.kind, bytes.get(place.clone()).unwrap_or_default());
        self.take(arrived, admitted);
        let verdict = self.leave(arrived, self.exit_of(arrived, admitted.kind))?;
        if let Some(contexts) = contexts_in_use(&mut self.srtp, arrived.side.other()) {
            let outbound = contexts.outbound.as_mut().ok_or(Reason::Undeliverable)?;
            *place = protect(outbound, admitted.kind, bytes, place.clone()).map_err(reason)?;
        }
        Ok(verdict)
    }
}

fn reason(refused: Refused) -> Reason {
    match refused {
        Refused::Authentication | Refused::Unencrypted => Reason::Authentication,
        Refused::Replayed => Reason::Replay,
        Refused::Malformed | Refused::Sources | Refused::Exhausted | Refused::NoRoom => Reason::Payload,
    }
}

fn contexts_in_use(srtp: &mut [Option<Box<Contexts>>; 2], side: Side) -> Option<&mut Contexts> {
    srtp[side as usize].as_deref_mut().filter(|contexts| contexts.in_use)
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
