//! Routed → Anchored: whether media goes through the relay, and what the SDP of a message becomes if it does.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::anchor::{CallMedia, Scope, SideSettings, Sides};
use super::call::{Call, CallId, Leg};
use super::context::{Context, Errand, Hop};
use super::event::Event;
use super::identify::Speaker;
use super::offer_answer::{Carrier, Part};
use super::refusal::Refusal;
use super::settings::{Anchor, Ice, Media, SealedBodies, Settings, Srtp, Trust};
use super::topology::Viewer;
use super::{Edge, trickling};
use crate::base::{Transport, ZoneId};
use crate::relay::Side;
use crate::sdp::{self, Session, View};
use crate::sip::message::{Message, Sealed, sdp_part};

/// A request that may leave for this hop, with its body as it must be there.
#[derive(Debug)]
pub struct Anchored {
    /// Where it goes.
    pub hop: Hop,
    /// The body, where it differs from the one received.
    pub body: Option<Vec<u8>>,
}

impl Edge {
    /// Routed → Anchored, for one hop of a request. The offer of a first INVITE is rewritten anew for each hop: the next
    /// one may stand in another zone.
    pub(super) fn anchor(&mut self, context: &mut Context, hop: Hop) -> Result<Anchored, Refusal> {
        let message = &context.request.message;
        let body = match &mut context.errand {
            Errand::Call { call, exchange } => {
                self.open_media(*call);
                let Some(held) = self.calls.get_mut(*call) else { return Err(Refusal::NoSuchCall) };
                held.exchange = Default::default();
                let (part, begun) =
                    held.exchange.request(Side::A, message.cseq().number, carrier(message, b""));
                *exchange = begun;
                self.rewrite_sdp(*call, Side::A, part, b"", message)?
            }
            Errand::InCall { call, from, .. } if let Some(range) = trickling::fragment(message) => {
                self.pass_trickled(*call, *from, range, message)
            }
            Errand::InCall { call, from, exchange } => {
                let (call, from) = (*call, *from);
                let Some(held) = self.calls.get_mut(call) else { return Err(Refusal::NoSuchCall) };
                // It goes to another hop than before.
                if held.exchange.failed(exchange) {
                    held.roll_back(&mut *self.relay);
                }
                let tag = callee_tag(held, message);
                let (part, begun) = held.exchange.request(from, message.cseq().number, carrier(message, tag));
                *exchange = begun;
                if part == Part::LetFall {
                    held.roll_back(&mut *self.relay);
                }
                self.rewrite_sdp(call, from, part, tag, message)?
            }
            Errand::Register(_) | Errand::Standalone => None,
        };
        Ok(Anchored { hop, body })
    }

    /// The call's media between its two legs as they are now; none if it need not go through the relay.
    fn open_media(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.close_media(&mut *self.relay);
        let Some(b) = &call.b else { return };
        if is_anchored(&self.settings, &call.a, b) == Some(true) {
            let sides = sides(&self.settings, &self.allowed, &self.own, &call.a, b);
            call.media = sides.map(|sides| Box::new(CallMedia::new(sides)));
        }
    }

    /// Rewrites the SDP of a call's message, sent by `from`; `None` where it stays as it is. `tag` is the To tag of the
    /// dialog on the called side.
    pub(super) fn rewrite_sdp(
        &mut self,
        id: CallId,
        from: Side,
        part: Part,
        tag: &[u8],
        message: &Message,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let range = match (part, sdp_part(message)) {
            (Part::Nothing | Part::LetFall, _) | (_, Ok(None)) => return Ok(None),
            (Part::Glare, _) => return Err(Refusal::OfferPending),
            (Part::Overlap, _) => return Err(Refusal::OfferUnanswered),
            (_, Ok(Some(range))) => range,
            (_, Err(sealed)) => return self.pass_sealed(id, part, sealed).map(|()| None),
        };
        let Some(call) = self.calls.get_mut(id) else { return Ok(None) };
        let body = message.body();
        let (Some(before), Some(sdp), Some(behind)) =
            (body.get(..range.start), body.get(range.clone()), body.get(range.end..))
        else {
            return Ok(None);
        };
        let Some(media) = &mut call.media else {
            let shown = self.unanchored(id, from, sdp).map(|sdp| [before, &sdp, behind].concat());
            self.name_peers(id, from, part, tag, sdp);
            return Ok(shown);
        };
        let mut out = std::mem::take(&mut self.body);
        out.clear();
        out.extend_from_slice(before);
        let (relay, rng) = (&mut *self.relay, &mut *self.rng);
        match part {
            Part::Offer => media.offer(from, sdp, relay, rng, &mut out)?,
            Part::Answer(is_final) => media.answer(from, tag, is_final, sdp, relay, &mut out)?,
            _ => media.copy(from, sdp, relay, &mut out)?,
        }
        out.extend_from_slice(behind);
        self.name_peers(id, from, part, tag, sdp);
        Ok(Some(out))
    }

    /// SDP whose media does not go through the relay, for a zone that must not see who wrote it. Its addresses of media are needed there.
    fn unanchored(&self, id: CallId, from: Side, sdp: &[u8]) -> Option<Vec<u8>> {
        let call = self.calls.get(id)?;
        let (leg, other) = (call.leg(from)?, call.leg(from.other())?);
        if !Viewer::from(leg).is_hidden_from(Viewer::from(other), &self.settings) {
            return None;
        }
        let relay = self.settings.zone(other.zone)?.relay;
        // Without an address of ours one that means nothing, as RFC 8829 §5.2.1 has it.
        let origin = relay.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |relay| relay.first().advertise);
        let mut out = Vec::with_capacity(sdp.len() + 16);
        sdp::show(sdp, &View::with_origin(origin), &mut out);
        Some(out)
    }

    /// A body that cannot be rewritten. It passes where no media is anchored; and if both sides' settings say so, no media
    /// of the call is, as long as none has been: two ends of which one alone knows our relayed address hear nothing.
    fn pass_sealed(&mut self, id: CallId, part: Part, sealed: Sealed) -> Result<(), Refusal> {
        let Some(call) = self.calls.get(id) else { return Ok(()) };
        let Some(media) = &call.media else { return Ok(()) };
        let may_pass = |leg: &Leg| {
            media_of(&self.settings, leg)
                .is_some_and(|media| media.sealed_bodies == SealedBodies::Pass && media.srtp == Srtp::Pass)
        };
        if part != Part::Offer
            || media.has_begun()
            || !may_pass(&call.a)
            || !call.b.as_ref().is_some_and(may_pass)
        {
            return Err(Refusal::SealedBody(sealed));
        }
        if let Some(call) = self.calls.get_mut(id) {
            call.close_media(&mut *self.relay);
        }
        Ok(())
    }

    /// TURN clients may reach what this offer or answer names. One that cannot be read names nothing.
    fn name_peers(&mut self, id: CallId, from: Side, part: Part, tag: &[u8], sdp: &[u8]) {
        if !self.relay.serves_turn() {
            return;
        }
        let (Some(call), Ok(session)) = (self.calls.get_mut(id), Session::parse(sdp)) else { return };
        let was_full = call.peers.is_full();
        let (peers, relay) = (&mut call.peers, &mut *self.relay);
        match part {
            Part::Offer => peers.offer(from, &session, relay),
            Part::Answer(is_final) => peers.answer(from, tag, is_final, &session, relay),
            _ => return,
        }
        if peers.is_full() && !was_full {
            let call_id = call.call_id.clone();
            self.tell(Event::CallPeersFull { call_id });
        }
    }
}

/// What a message of a call means for its offers and answers; `tag` is the callee's.
pub(super) fn carrier<'m>(message: &Message, tag: &'m [u8]) -> Carrier<'m> {
    let has_sdp = !matches!(sdp_part(message), Ok(None));
    Carrier { method: message.method(), tag, has_sdp }
}

/// The tag that names the dialog of a request: the callee's.
pub(super) fn callee_tag<'m>(call: &Call, request: &'m Message) -> &'m [u8] {
    let tag = match call.sender(request) {
        Some((_, Side::B)) => request.from().tag(),
        _ => request.to().tag(),
    };
    tag.unwrap_or_default()
}

/// Media of a call between these goes through the relay.
fn is_anchored(settings: &Settings, a: &Leg, b: &Leg) -> Option<bool> {
    let (a_media, b_media) = (media_of(settings, a)?, media_of(settings, b)?);
    let needed = a.zone != b.zone || a.trust == Trust::None || b.trust == Trust::None;
    // Security that a side is promised is no matter of the other side's `anchor: never`.
    let translates = a_media.srtp != Srtp::Pass || b_media.srtp != Srtp::Pass;
    Some(match (a_media.anchor, b_media.anchor) {
        _ if translates => true,
        (Anchor::Never, _) | (_, Anchor::Never) => false,
        (Anchor::Always, _) | (_, Anchor::Always) => true,
        (Anchor::WhenNeeded, Anchor::WhenNeeded) => needed,
    })
}

/// How the two sides of an anchored call are to be treated; `None`: the relay has no address for one.
pub(super) fn sides(
    settings: &Settings,
    allowed: &[Arc<[ipnetwork::IpNetwork]>],
    own: &Arc<[IpAddr]>,
    a: &Leg,
    b: &Leg,
) -> Option<Sides> {
    let (a_media, b_media) = (media_of(settings, a)?, media_of(settings, b)?);
    let side = |leg: &Leg, other: &Leg, media: Media| {
        Some(SideSettings {
            relay: settings.zone(leg.zone)?.relay?.preferring(leg.address),
            sip_source: (leg.speaker == Speaker::Stranger || leg.trust == Trust::None).then_some(leg.address),
            untrusted: leg.trust == Trust::None,
            own: own.clone(),
            ice: media.ice,
            ice_on_request: matches!(leg.speaker, Speaker::Trunk(_))
                && leg.transport == Transport::Udp
                && matches!(media.ice, Ice::Auto | Ice::Terminate),
            shows: match leg.trust {
                _ if a.zone == b.zone => Scope::Link,
                Trust::None | Trust::Peer => Scope::Private,
                Trust::Full => Scope::Global,
            },
            hides_origin: Viewer::from(leg).is_hidden_from(Viewer::from(other), settings),
            srtp: media.srtp,
            allowed: allowed_in(allowed, leg.zone),
        })
    };
    Some(Sides { a: side(a, b, a_media)?, b: side(b, a, b_media)? })
}

pub(super) fn media_of(settings: &Settings, leg: &Leg) -> Option<Media> {
    match leg.speaker {
        Speaker::Trunk(id) => Some(settings.trunk(id)?.media),
        _ => Some(settings.zone(leg.zone)?.media),
    }
}

fn allowed_in(allowed: &[Arc<[ipnetwork::IpNetwork]>], zone: ZoneId) -> Arc<[ipnetwork::IpNetwork]> {
    allowed.get(usize::from(zone.0)).cloned().unwrap_or_default()
}
