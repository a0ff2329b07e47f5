//! One m= line of a call: its pair, and what either side said of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::edge::event::{MediaKind, StreamCdr};
use crate::ice;
use crate::media::quality::ClockRates;
use crate::relay::{Component, LegCrypto, LegRules, OpenPair, Owner, Relay, Side, SideAddrs};
use crate::sdp::{Candidate, Direction, Media, Session};

use super::ice::CallIce;
use super::saved::SavedStream;
use super::security::{Keys, Translation};
use super::{SideSettings, Sides, clocks, destination};

/// Relayed addresses of its own TURN client that a side may name for one stream: two components, two families, two servers.
const RELAYED_MAX: usize = 8;

/// Of one stream: seldom more than these.
type PayloadTypes = SmallVec<[u8; 16]>;

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Use {
    /// Port 0.
    Off,
    /// Not ours to carry: passes as it is.
    Direct,
    /// Through its own pair.
    Relayed,
    /// Bundled by the final answer: through the pair of that stream (RFC 9143).
    Shared(usize),
}

/// What one side's SDP says of a stream, as far as the relay's rules need it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    /// Where it wants RTP; `None` on hold and where there is no address (yet).
    rtp: Option<SocketAddr>,
    rtcp: Option<SocketAddr>,
    /// Relayed addresses of TURN clients of ours, as candidates.
    relayed: Box<[(Component, SocketAddr)]>,
    payload_types: PayloadTypes,
    clocks: ClockRates,
    is_rtp: bool,
    ice: bool,
    /// Its ICE credentials, if they can be read.
    credentials: Option<Box<ice::Credentials>>,
    /// It never checks (RFC 8445 §2.5).
    ice_lite: bool,
    dtls: bool,
    rtcp_mux: bool,
    on_hold: bool,
    protocol: SmallVec<[u8; 16]>,
    mid: Option<Box<[u8]>>,
    bundled: bool,
    /// Where the stream is translated.
    keys: Option<Box<Keys>>,
}

impl Said {
    /// Of the `index`th section; `with_ice`: what it says of ICE counts.
    pub(super) fn of(
        media: &Media<'_>,
        session: &Session<'_>,
        index: usize,
        with_ice: bool,
        relay: &dyn Relay,
    ) -> Said {
        let reachable = |address: &SocketAddr| !address.ip().is_unspecified() && !media.is_without_default();
        let relayed = session.candidates(index).filter_map(|candidate| {
            let address = canonical(candidate.udp()?);
            let is_allocation = relay.owner_of(address) == Some(Owner::Allocation);
            is_allocation.then_some((component_of(&candidate)?, address))
        });
        // RFC 9143 §9.1: what is bundled travels together, so any section's payload types may turn up.
        let payload_types = if session.has_bundle() && media.is_rtp() {
            union(session.media().iter().map(|media| &*media.payload_types))
        } else {
            PayloadTypes::from_slice(&media.payload_types)
        };
        let does_ice = media.ice && with_ice;
        Said {
            rtp: media.rtp.filter(reachable).map(canonical),
            rtcp: media.rtcp.filter(reachable).map(canonical),
            relayed: relayed.take(RELAYED_MAX).collect(),
            payload_types,
            clocks: clocks::of(session, index),
            is_rtp: media.is_rtp(),
            ice: does_ice,
            credentials: does_ice.then(|| credentials(index, session)).flatten().map(Box::new),
            ice_lite: session.is_ice_lite(),
            dtls: media.is_dtls(),
            rtcp_mux: media.rtcp_mux,
            on_hold: media.is_held_by_address() || media.direction != Direction::SendRecv,
            protocol: SmallVec::from_slice(media.protocol),
            mid: media.mid.map(Box::from),
            bundled: media.mid.is_some_and(|mid| session.bundles(mid)),
            keys: None,
        }
    }

    /// The same, with the keys that were taken from it.
    pub(super) fn with_keys(self, keys: Option<Keys>) -> Said {
        Said { keys: keys.map(Box::new), ..self }
    }

    pub(super) fn keys(&self) -> Option<&Keys> {
        self.keys.as_deref()
    }

    /// The profile, if it is one of RTP.
    pub(super) fn rtp_protocol(&self) -> Option<&[u8]> {
        self.is_rtp.then_some(&*self.protocol)
    }

    pub(super) fn mid(&self) -> Option<&[u8]> {
        self.mid.as_deref()
    }

    pub(super) fn is_bundled(&self) -> bool {
        self.bundled
    }

    pub(super) fn does_rtcp_mux(&self) -> bool {
        self.rtcp_mux
    }

    /// Its ICE credentials, if it checks: only such an endpoint's ICE can end at us, who never check.
    pub(super) fn full_ice(&self) -> Option<&ice::Credentials> {
        self.credentials.as_deref().filter(|_| !self.ice_lite)
    }

    /// RFC 8839 §4.4.1.2.2: when ICE is done, an agent's default destination is the selected candidate, and that may be
    /// peer-reflexive: the address by which the other agent sees it, ours. It has not moved.
    fn stay_at(&mut self, before: Option<&Said>) {
        self.rtp = before.and_then(|before| before.rtp);
        self.rtcp = before.and_then(|before| before.rtcp);
        self.relayed = before.map(|before| before.relayed.clone()).unwrap_or_default();
    }
}

/// One side of a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Leg {
    said: Option<Said>,
    /// The last address that it named for RTP; hold does not forget it.
    named: Option<SocketAddr>,
    /// How often that changed.
    epoch: u32,
}

impl Leg {
    fn set_said(&mut self, said: Option<Said>) {
        if let Some(rtp) = said.as_ref().and_then(|said| said.rtp)
            && self.named.replace(rtp).is_some_and(|before| before != rtp)
        {
            self.epoch += 1;
        }
        self.said = said;
    }
}

/// One m= line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stream {
    kind: MediaKind,
    stream_use: Use,
    /// Of its security; `None`: that passes as it is.
    translation: Option<Box<Translation>>,
    /// Not saved: another one takes its place.
    #[serde(skip)]
    pair: Option<OpenPair>,
    a: Leg,
    b: Leg,
    /// What pairs counted that this line had before.
    past: Option<Box<StreamCdr>>,
}

impl Stream {
    /// The stream of `media` that takes the place of `before` (RFC 3264 §8: the m= lines keep their order), with its pair
    /// if that `fits`.
    pub(super) fn following(
        before: Option<&Stream>,
        media: &Media<'_>,
        stream_use: Use,
        fits: impl Fn(&OpenPair) -> bool,
    ) -> Stream {
        let before_pair =
            before.filter(|_| stream_use == Use::Relayed).and_then(|before| before.pair.clone());
        let pair = before_pair.filter(fits);
        let leg = |side| {
            before.filter(|_| pair.is_some()).map(|before| before.leg(side).clone()).unwrap_or_default()
        };
        Stream {
            kind: MediaKind::of(media.kind),
            stream_use,
            a: leg(Side::A),
            b: leg(Side::B),
            past: before.and_then(|before| before.past.clone()),
            translation: None,
            pair,
        }
    }

    pub(super) fn pair(&self) -> Option<&OpenPair> {
        self.pair.as_ref()
    }

    pub(super) fn set_pair(&mut self, pair: OpenPair) {
        self.pair = Some(pair);
    }

    pub(super) fn translation(&self) -> Option<&Translation> {
        self.translation.as_deref()
    }

    pub(super) fn set_translation(&mut self, translation: Option<Translation>) {
        self.translation = translation.map(Box::new);
    }

    pub(super) fn stream_use(&self) -> Use {
        self.stream_use
    }

    /// It goes through a pair, or did, or may.
    pub(super) fn is_ours(&self) -> bool {
        self.stream_use != Use::Direct
    }

    /// The relayed addresses that `side` is shown.
    pub(super) fn shown_to(&self, side: Side) -> Option<SideAddrs> {
        self.pair.as_ref().map(|pair| pair.side(side))
    }

    pub(super) fn set_said(&mut self, side: Side, mut said: Option<Said>) {
        if let Some(said) = &mut said
            && said.rtp == self.shown_to(side.other()).map(|seen_as| seen_as.rtp().0)
        {
            said.stay_at(self.said(side));
        }
        self.leg_mut(side).set_said(said);
    }

    pub(super) fn said(&self, side: Side) -> Option<&Said> {
        self.leg(side).said.as_ref()
    }

    fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }

    /// Both sides want it.
    pub(super) fn is_live(&self) -> bool {
        self.a.said.is_some() && self.b.said.is_some()
    }

    /// This stream, with what `offer`, its successor, lets in from `from`'s offer besides.
    pub(super) fn widened(&self, offer: &Stream, from: Side) -> Stream {
        let mut wider = self.clone();
        if let (Some(said), Some(offered)) = (&mut wider.leg_mut(from).said, offer.said(from)) {
            said.payload_types = union([&*said.payload_types, &offered.payload_types]);
        }
        wider
    }

    /// The final answer bundled it: its own pair is not needed any more (DESIGN.md §4).
    pub(super) fn share(&mut self, first: usize, relay: &mut dyn Relay) {
        if self.stream_use != Use::Direct {
            self.close(relay);
            self.stream_use = Use::Shared(first);
        }
    }

    /// Frees its pair, if any, and keeps what it counted.
    pub(super) fn close(&mut self, relay: &mut dyn Relay) {
        if self.pair.is_some() {
            self.past = Some(Box::new(self.cdr()));
        }
        if let Some(pair) = self.pair.take() {
            relay.close(pair.id);
        }
    }

    /// Without its pair, of which the counts are kept.
    pub(super) fn save(&self) -> SavedStream {
        let pair = self.pair.as_ref().map(OpenPair::save);
        SavedStream { stream: Stream { past: Some(Box::new(self.cdr())), pair: None, ..self.clone() }, pair }
    }

    pub(super) fn inherit_counts(&mut self, before: &Stream) {
        self.past = before.past.clone();
    }

    /// Tells the relay who may speak on its pair.
    pub(super) fn tell_relay(&self, sides: &Sides, ice: &CallIce, own: &[SocketAddr], relay: &mut dyn Relay) {
        let Some(pair) = &self.pair else { return };
        for side in [Side::A, Side::B] {
            relay.set_leg(pair.id, side, self.leg_rules(side, sides, ice, own, &*relay));
        }
    }

    /// Who may speak on that side.
    pub(super) fn leg_rules(
        &self,
        side: Side,
        sides: &Sides,
        ice: &CallIce,
        own: &[SocketAddr],
        relay: &dyn Relay,
    ) -> LegRules {
        let mut rules = self.rules(side, sides.of(side), own, relay);
        // Where ICE ends at us, or counts for nothing, no STUN crosses the pair.
        rules.stun_and_dtls &= self.translation.is_none() && (ice.passes() || self.is_dtls());
        rules.ice = match ice.lite(side) {
            Some(ours) => terminated(self.said(side), ours),
            None if ice.passes() => ice_of(self.said(side), self.said(side.other())),
            None => None,
        };
        rules
    }

    fn rules(&self, side: Side, settings: &SideSettings, own: &[SocketAddr], relay: &dyn Relay) -> LegRules {
        let (here, there) = (self.said(side), self.said(side.other()));
        let both = || here.into_iter().chain(there);
        let destination = destination::of(here.and_then(|said| said.rtp), settings, own, relay);
        let rtcp = here.and_then(|said| said.rtcp).filter(|rtcp| {
            // `a=rtcp` with a host of its own is believed only of a side that is believed.
            !settings.untrusted || destination.address.is_some_and(|rtp| rtp.ip() == rtcp.ip())
        });
        let is_rtp = here.or(there).is_some_and(|said| said.is_rtp);
        let translation = self.translation();
        let is_dtls = translation.is_some_and(|translation| translation.is_dtls(side));
        // Before the other side has said something, this one has been shown no port of ours: whoever speaks there now, from behind
        // the same NAT perhaps, is a stranger.
        let may_be_elsewhere = there.is_some() && !destination.ours;
        LegRules {
            rtp: destination.address,
            rtcp: destination::of(rtcp, settings, own, relay).address,
            send_before_latch: destination.send_before_latch,
            epoch: self.leg(side).epoch,
            relayed: here.map(|said| said.relayed.to_vec()).unwrap_or_default(),
            sip_source: settings.sip_source.filter(|_| may_be_elsewhere),
            allowed: if may_be_elsewhere { settings.allowed.clone() } else { Arc::default() },
            // RFC 3264 §6.1: a side sends what the other one listed. Phones that number telephone-event differently
            // than the other side also send it under their own number, so both lists count.
            payload_types: match is_rtp {
                true => union(both().map(|said| &*said.payload_types)).into_vec(),
                false => Vec::new(),
            },
            clocks: clocks::heard(here.map(|said| &said.clocks), there.map(|said| &said.clocks)),
            rtp_only: is_rtp,
            stun_and_dtls: both().any(|said| said.ice || said.dtls),
            // RFC 5761 §5.1.1: only when both say so. On a DTLS leg of ours we always do.
            rtcp_mux: here.is_some_and(|said| said.rtcp_mux)
                && (is_dtls || there.is_some_and(|said| said.rtcp_mux)),
            ice: None,
            crypto: translation.map_or(LegCrypto::Pass, |translation| {
                translation.leg(side, here.and_then(Said::keys), self.is_live())
            }),
        }
    }

    fn is_dtls(&self) -> bool {
        [Side::A, Side::B].into_iter().filter_map(|side| self.said(side)).any(|said| said.dtls)
    }

    /// Both sides want to send and to hear. On hold silence is no sign of death.
    pub(super) fn expects_media(&self) -> bool {
        let talks = |side| self.said(side).is_some_and(|said| !said.on_hold);
        self.pair.is_some() && talks(Side::A) && talks(Side::B)
    }

    /// Both sides do ICE.
    pub(super) fn does_ice(&self) -> bool {
        [Side::A, Side::B].into_iter().all(|side| self.said(side).is_some_and(|said| said.ice))
    }

    /// The last address that a side named for RTP.
    pub(super) fn named(&self, side: Side) -> Option<SocketAddr> {
        self.leg(side).named
    }

    /// It is sound, and RTP, so that silence can be told from speech.
    pub(super) fn is_audio(&self) -> bool {
        self.kind == MediaKind::Audio && self.said(Side::A).is_some_and(|said| said.is_rtp)
    }

    /// Packets of any kind that came from that side and went on, and packets of RTP that came from it.
    pub(super) fn heard_from(&self, side: Side) -> (u64, u64) {
        let past = self.past.as_ref().map_or((0, 0), |past| {
            let leg = past.leg(side);
            (leg.packets, leg.measured.rtp)
        });
        let now = self.pair.as_ref().map_or((0, 0), |pair| {
            let packets = pair.counters.side(side).packets.load(Relaxed);
            (packets, pair.counters.leg(side).quality.read().rtp)
        });
        (past.0 + now.0, past.1 + now.1)
    }

    /// Its counters so far.
    pub(super) fn cdr(&self) -> StreamCdr {
        let mut cdr = StreamCdr { kind: self.kind, ..self.past.as_deref().cloned().unwrap_or_default() };
        if let Some(pair) = &self.pair {
            for side in [Side::A, Side::B] {
                let (leg, traffic) = (cdr.leg_mut(side), pair.counters.side(side).read());
                leg.packets += traffic.packets;
                leg.bytes += traffic.bytes;
                leg.refused += traffic.refused();
                leg.measured += pair.counters.leg(side).quality.read();
            }
        }
        cdr
    }
}

/// IPv4-mapped IPv6 is read as the IPv4 that it stands for.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// RFC 8839 §5.1; RTP and RTCP are all that a pair carries.
fn component_of(candidate: &Candidate<'_>) -> Option<Component> {
    match candidate.component()? {
        1 => Some(Component::Rtp),
        2 => Some(Component::Rtcp),
        _ => None,
    }
}

/// RFC 8839 §5.4.
fn credentials(index: usize, session: &Session<'_>) -> Option<ice::Credentials> {
    let mut ufrag = session.inherited(index, "ice-ufrag");
    let mut pwd = session.inherited(index, "ice-pwd");
    ice::Credentials::read(ufrag.next()?, pwd.next()?)
}

/// How the endpoint that said `here` shows that it is there, if both do ICE. The one that answers may be heard before its answer
/// is: it has the offer's password.
fn ice_of(here: Option<&Said>, there: Option<&Said>) -> Option<ice::Settings> {
    let local = ice::Credentials::clone(there?.credentials.as_deref()?);
    let remote_ufrag = match here {
        Some(here) => Some(here.credentials.as_ref()?.ufrag.clone()),
        None => None,
    };
    Some(ice::Settings { local, remote_ufrag, terminated: false })
}

/// How the endpoint that said `here`, whose ICE ends at us, shows that it is there: it may be heard before its answer is. One
/// that does no ICE after all latches as ever.
fn terminated(here: Option<&Said>, ours: &ice::Credentials) -> Option<ice::Settings> {
    let remote_ufrag = match here {
        Some(here) => Some(here.full_ice()?.ufrag.clone()),
        None => None,
    };
    Some(ice::Settings { local: ours.clone(), remote_ufrag, terminated: true })
}

/// Payload types of all, each once.
fn union<'t>(lists: impl IntoIterator<Item = &'t [u8]>) -> PayloadTypes {
    let mut all = PayloadTypes::new();
    for payload_type in lists.into_iter().flatten() {
        if !all.contains(payload_type) {
            all.push(*payload_type);
        }
    }
    all
}
