//! Media of one call: offers and answers go in, rewritten ones come out, pairs of relayed addresses are opened, told
//! who may speak, and closed. Knows RFC 3264's states, no SIP: the edge says which body is an offer or an answer.

mod clocks;
pub(super) mod destination;
mod hearing;
mod ice;
mod keyed;
mod saved;
mod security;
mod shown;
mod sides;
mod stream;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::settings::{Ice, Srtp};
use crate::relay::{OpenPair, Owner, PairId, Relay, Side};
use crate::sdp::{IceEdit, Media, MediaEdit, SdpError, Session};
use hearing::Hearing;
pub use hearing::{Evidence, Heard, MISSED};
use ice::{CallIce, Towards};
pub use saved::{Lost, SavedMedia};
pub use security::SecurityError;
pub use shown::Scope;
pub use sides::{SideSettings, Sides};
use stream::{Said, Stream, Use, canonical};

/// Most pairs that one call may hold.
pub const MAX_PAIRS: usize = 16;

/// Why an offer or answer could not be rewritten.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    #[error("SDP {0}")]
    Sdp(#[from] SdpError),
    #[error("{0}")]
    Ports(#[from] crate::relay::OpenError),
    #[error("an answer without an offer")]
    NoOffer,
    #[error("SRTP of the {}: {error}", if *.side == Side::A { "caller" } else { "called side" })]
    Srtp {
        /// Whose SDP it is.
        side: Side,
        error: SecurityError,
    },
    #[error("more m= lines than the offer has, or than one call may have")]
    TooManyStreams,
}

impl AnchorError {
    /// 488 for SDP that cannot be read or has not the security that it must have, 503 when no port is free, 400 for an answer out of place.
    pub fn status(&self) -> u16 {
        match self {
            AnchorError::Sdp(_) | AnchorError::TooManyStreams | AnchorError::Srtp { .. } => 488,
            AnchorError::Ports(_) => 503,
            AnchorError::NoOffer => 400,
        }
    }
}

/// The offer that answers are measured against.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Offer {
    from: Side,
    /// To tag of the latest final answer: early answers of other branches of a fork no longer move the rules.
    answered_by: Option<Vec<u8>>,
    /// Final answers of other branches that stand too, until all but one are hung up.
    stand_by: Vec<StandBy>,
}

impl Offer {
    fn new(from: Side) -> Offer {
        Offer { from, answered_by: None, stand_by: Vec::new() }
    }

    /// It was made in an early dialog (RFC 3311 §5.1) by the side that now answers in another one: what the caller has
    /// offered to all of them.
    fn is_of_another_branch(&self, from: Side, tag: &[u8]) -> bool {
        self.from == from && self.answered_by.as_deref().is_some_and(|branch| branch != tag)
    }
}

/// A final answer that another branch of the fork has overtaken.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct StandBy {
    tag: Vec<u8>,
    /// By stream.
    said: Vec<Option<Said>>,
    /// The offerer's ICE ends at us.
    terminates: bool,
}

/// What held before the pending offer.
#[derive(Debug, Default)]
struct Former {
    streams: Vec<Stream>,
    offer: Option<Offer>,
    ice: CallIce,
}

/// The media of one call: streams (m= lines) in order, each with its pair, and the kept offer. Rewriting an answer reads
/// these and nothing else, so every early dialog of a fork is answered against the same offer and the same caller-side
/// ports, and the same bytes come out the same.
#[derive(Debug)]
pub struct CallMedia {
    sides: Sides,
    streams: Vec<Stream>,
    offer: Option<Offer>,
    ice: CallIce,
    /// Set while an offer is pending.
    former: Option<Box<Former>>,
    /// Set once somebody listens.
    hearing: Option<Hearing>,
}

impl CallMedia {
    /// Nothing open yet.
    pub fn new(sides: Sides) -> CallMedia {
        CallMedia {
            sides,
            streams: Vec::new(),
            offer: None,
            ice: CallIce::default(),
            former: None,
            hearing: None,
        }
    }

    /// An offer from `from`; appends the rewritten body for the other side to `out`. Opens pairs for new streams; after
    /// an error all are as they were. The pending offer, if any, is replaced: by the same side's with its ports kept (a
    /// 2xx repeats the offer of its reliable 18x, each fork of a late offer makes its own), while the other side's is
    /// taken as fallen. That offers do not cross (RFC 3261 §14.2) is the caller's to see to.
    pub fn offer(
        &mut self,
        from: Side,
        sdp: &[u8],
        relay: &mut dyn Relay,
        rng: &mut dyn rand::Rng,
        out: &mut Vec<u8>,
    ) -> Result<(), AnchorError> {
        let session = Session::parse(sdp)?;
        if self.offer.as_ref().is_some_and(|pending| pending.from != from) {
            self.roll_back(relay);
        }
        let streams = self.streams_of_offer(from, &session, relay, rng)?;
        let before = std::mem::replace(&mut self.streams, streams);
        let offer = self.offer.replace(Offer::new(from));
        let (theirs, legs) = (self.full_ice(from).cloned(), self.legs_of_offer(from));
        let ice = self.ice.after_offer(from, &self.sides, theirs, legs, rng);
        let ice = std::mem::replace(&mut self.ice, ice);
        match self.former {
            Some(_) => self.free(before, relay),
            None => self.former = Some(Box::new(Former { streams: before, offer, ice })),
        }
        self.tell_relay_of_offer(from, relay);
        let towards = self.ice.in_offer(from.other(), &self.sides);
        self.write(from, &session, &towards, &*relay, out);
        Ok(())
    }

    /// An answer from `from` in the (early) dialog of `tag` (the To tag; the same bytes again give the same rewrite).
    /// `is_final`: 2xx, PRACK'd or ACK: latch rules now follow this dialog alone.
    pub fn answer(
        &mut self,
        from: Side,
        tag: &[u8],
        is_final: bool,
        sdp: &[u8],
        relay: &mut dyn Relay,
        out: &mut Vec<u8>,
    ) -> Result<(), AnchorError> {
        let session = Session::parse(sdp)?;
        if let Some(offer) = &mut self.offer
            && offer.is_of_another_branch(from, tag)
        {
            offer.from = from.other();
        }
        if self.offer.as_ref().is_none_or(|offer| offer.from == from) {
            return Err(AnchorError::NoOffer);
        }
        // RFC 3264 §6: an answer has as many m= lines as the offer. Fewer are read as refused.
        if session.media().len() > self.streams.len() {
            return Err(AnchorError::TooManyStreams);
        }
        let mut keys = self.keys_of_answer(from, &session)?.into_iter();
        let Some(offer) = &mut self.offer else { return Err(AnchorError::NoOffer) };
        // Of two final answers the later counts: a PRACK'd announcement is followed by the 2xx of who picks up.
        let moves_rules = is_final || offer.answered_by.as_deref().is_none_or(|winner| winner == tag);
        if is_final
            && offer.answered_by.as_deref() != Some(tag)
            && let Some(tag) = offer.answered_by.replace(tag.to_vec())
        {
            let said = self.streams.iter().map(|stream| stream.said(from).cloned()).collect();
            offer.stand_by.push(StandBy { tag, said, terminates: self.ice.is_terminated(from.other()) });
        }
        let mut ours = session.media().iter().zip(&self.streams).filter(|(_, stream)| stream.is_ours());
        let does_ice = ours.any(|(media, _)| media.port != 0 && media.ice);
        let towards = self.ice.in_answer(from.other(), &self.sides, does_ice);
        // Before pairs that the answer refuses are closed.
        self.write(from, &session, &towards, &*relay, out);
        if moves_rules {
            self.ice.settle(from.other(), &towards);
            let does_ice_count = self.sides.of(from).ice != Ice::Strip;
            for (index, stream) in self.streams.iter_mut().enumerate() {
                let media = session.media().get(index).filter(|media| media.port != 0);
                let said = media.map(|media| Said::of(media, &session, index, does_ice_count, &*relay));
                let keys = keys.next().flatten();
                stream.set_said(from, said.map(|said| said.with_keys(keys)));
            }
            self.ice.set_theirs(from, self.full_ice(from).cloned());
            if is_final {
                self.settle(&session, relay);
                self.hearing = None;
            }
            self.tell_relay(relay);
        }
        Ok(())
    }

    /// SDP of `from` that is neither offer nor answer: appends it as the other side must see it, as the call stands, and
    /// changes nothing.
    pub fn copy(
        &self,
        from: Side,
        sdp: &[u8],
        relay: &dyn Relay,
        out: &mut Vec<u8>,
    ) -> Result<(), AnchorError> {
        let session = Session::parse(sdp)?;
        if session.media().len() > self.streams.len() {
            return Err(AnchorError::TooManyStreams);
        }
        let towards = self.ice.in_offer(from.other(), &self.sides);
        self.write(from, &session, &towards, relay, out);
        Ok(())
    }

    /// Something was offered, and is pending or agreed.
    pub fn has_begun(&self) -> bool {
        self.offer.is_some()
    }

    /// The dialog of `tag`, one of several that answered, is over: if media followed it, it follows another one now.
    pub fn forget_answer(&mut self, tag: &[u8], relay: &mut dyn Relay) {
        let Some(offer) = &mut self.offer else { return };
        if offer.answered_by.as_deref() != Some(tag) {
            return offer.stand_by.retain(|other| other.tag != tag);
        }
        let Some(StandBy { tag, said, terminates }) = offer.stand_by.pop() else { return };
        offer.answered_by = Some(tag);
        let answerer = offer.from.other();
        self.ice.set_terminated(offer.from, terminates);
        for (stream, said) in self.streams.iter_mut().zip(said) {
            stream.set_said(answerer, said);
        }
        self.ice.set_theirs(answerer, self.full_ice(answerer).cloned());
        self.tell_relay(relay);
    }

    /// The pending offer was refused (488, 491, …): what held before holds again.
    pub fn roll_back(&mut self, relay: &mut dyn Relay) {
        let Some(former) = self.former.take() else { return };
        let pending = std::mem::replace(&mut self.streams, former.streams);
        self.offer = former.offer;
        self.ice = former.ice;
        self.free(pending, relay);
        self.tell_relay(relay);
    }

    /// Frees every pair. Twice does nothing.
    pub fn close(&mut self, relay: &mut dyn Relay) {
        self.free_former(relay);
        for stream in &mut self.streams {
            stream.close(relay);
        }
        self.offer = None;
    }

    /// Pairs of this call.
    pub fn pairs(&self) -> impl Iterator<Item = PairId> + '_ {
        let former = self.former.iter().flat_map(|former| &former.streams);
        let kept = former.filter_map(Stream::pair).filter(|pair| !holds(&self.streams, pair.id));
        self.streams.iter().filter_map(Stream::pair).chain(kept).map(|pair| pair.id)
    }

    /// Counters for the CDR, one per m= line.
    pub fn streams(&self) -> Vec<super::event::StreamCdr> {
        self.streams.iter().map(Stream::cdr).collect()
    }

    /// Bytes of media that it has relayed, in both directions.
    pub fn relayed(&self) -> u64 {
        self.streams.iter().map(Stream::cdr).map(|stream| stream.a.bytes + stream.b.bytes).sum()
    }
}

impl CallMedia {
    /// The streams as the offer wants them: open ones keep their pair (RFC 3264 §8), new ones get one, those that it
    /// disables keep theirs until the answer.
    fn streams_of_offer(
        &self,
        from: Side,
        session: &Session<'_>,
        relay: &mut dyn Relay,
        rng: &mut dyn rand::Rng,
    ) -> Result<Vec<Stream>, AnchorError> {
        let media = session.media();
        let use_of = |(index, media)| self.use_of(from, index, media, &*relay);
        let mut uses: Vec<Use> = media.iter().enumerate().map(use_of).collect();
        if uses.iter().filter(|stream_use| **stream_use == Use::Relayed).count() > MAX_PAIRS {
            return Err(AnchorError::TooManyStreams);
        }
        let mut plans = self.plans(from, session, &mut uses, rng)?.into_iter();
        let mut streams: Vec<Stream> = Vec::with_capacity(media.len());
        let mut opened = Vec::new();
        for (index, (media, stream_use)) in media.iter().zip(uses).enumerate() {
            let before = self.streams.get(index);
            let shown = self.sides.of(from).relay_for(media);
            let fits =
                |pair: &OpenPair| shown.is_none_or(|shown| shown.advertise == pair.side(from).rtp().0.ip());
            let mut stream = Stream::following(before, media, stream_use, fits);
            let (translation, keys) = plans.next().flatten().unzip();
            stream.set_translation(translation);
            if stream_use == Use::Relayed && stream.pair().is_none() {
                let there = before.and_then(|before| before.shown_to(from.other()));
                let facing = |side| match side == from {
                    true => shown.unwrap_or(self.sides.of(side).relay.first()),
                    false => self.sides.of(side).relay_at(there),
                };
                match relay.open(facing(Side::A), facing(Side::B)) {
                    Ok(pair) => {
                        opened.push(pair.id);
                        stream.set_pair(pair);
                    }
                    Err(error) => {
                        opened.into_iter().for_each(|id| relay.close(id));
                        return Err(error.into());
                    }
                }
            }
            let said = (stream_use != Use::Off)
                .then(|| Said::of(media, session, index, self.sides.of(from).ice != Ice::Strip, &*relay));
            stream.set_said(from, said.map(|said| said.with_keys(keys)));
            streams.push(stream);
        }
        Ok(streams)
    }

    /// What is to become of the `index`th stream of an offer.
    fn use_of(&self, from: Side, index: usize, media: &Media<'_>, relay: &dyn Relay) -> Use {
        let has_pair = self.streams.get(index).is_some_and(|stream| stream.pair().is_some());
        if media.port == 0 {
            Use::Off
        } else if !media.is_udp() || (!has_pair && self.reaches_our_relay(from, media, relay)) {
            Use::Direct
        } else {
            Use::Relayed
        }
    }

    /// DESIGN.md §4: another call's relayed address in an offer is not stacked. Only where the other side can reach it as it
    /// stands (it is shown the same address), and where neither side could use that to point media at somebody else's
    /// call; otherwise the two pairs are chained, which always works. A TURN client's is always chained (docs/adr/0009).
    fn reaches_our_relay(&self, from: Side, media: &Media<'_>, relay: &dyn Relay) -> bool {
        let trusted = !self.sides.a.untrusted && !self.sides.b.untrusted;
        let passes = self.sides.a.srtp == Srtp::Pass && self.sides.b.srtp == Srtp::Pass;
        let shown = self.sides.of(from.other()).relay;
        let is_shown = |rtp: SocketAddr| shown.iter().any(|shown| shown.advertise == rtp.ip());
        let is_pair = |rtp| matches!(relay.owner_of(rtp), Some(Owner::Pair));
        trusted && passes && media.rtp.is_some_and(|rtp| is_shown(rtp) && is_pair(rtp))
    }

    /// Appends a body of `from`, offer or answer, as the other side is to see it.
    fn write(
        &self,
        from: Side,
        session: &Session<'_>,
        towards: &Towards,
        relay: &dyn Relay,
        out: &mut Vec<u8>,
    ) {
        let mut body = Vec::new();
        session.rewrite(&self.edits(from, session, towards, relay), &mut body);
        let said = shown::Said { from, towards, body: &body, has_ours: true };
        shown::show(&said, &self.sides, relay, out);
    }

    /// What a side goes by in ICE that could end at us.
    fn full_ice(&self, side: Side) -> Option<&crate::ice::Credentials> {
        self.streams.iter().filter(|stream| stream.is_ours()).find_map(|stream| stream.said(side)?.full_ice())
    }

    /// What to write into its sections.
    fn edits(
        &self,
        from: Side,
        session: &Session<'_>,
        towards: &Towards,
        relay: &dyn Relay,
    ) -> Vec<MediaEdit> {
        let edit = |(index, media): (usize, &Media<'_>)| {
            let stream = self.streams.get(index).filter(|stream| media.port != 0 && stream.is_ours());
            let Some(stream) = stream else { return towards.left_alone() };
            let carrier = self.carrier_of(session, index).and_then(|carrier| self.streams.get(carrier));
            let Some(shown) = carrier.and_then(|carrier| carrier.shown_to(from.other())) else {
                // Offered as disabled, or refused by the answer that won.
                return MediaEdit::Reject;
            };
            let rtp = shown.rtp().0;
            let keying = self.keying(stream, from, index, media, relay).map(Box::new);
            // RFC 8858 §3: a section that says that RTCP has RTP's port means it. Each leg of a translated one is for itself.
            let one_port = media.rtcp_mux && media.rtcp == media.rtp && !media.is_without_default();
            let one_port = one_port && keying.is_none();
            let rtcp = if one_port { rtp } else { shown.rtcp().0 };
            let ice = match towards {
                Towards::Passed { .. } if !media.ice => IceEdit::Keep,
                Towards::Passed { relay_only: true } => IceEdit::RelayOnly,
                Towards::Passed { relay_only: false } => {
                    IceEdit::Append { instead_of: own_candidates(session, index, relay) }
                }
                Towards::Stripped => IceEdit::Strip,
                Towards::Lite(ours) => IceEdit::Lite(ours.clone()),
            };
            MediaEdit::Relay { rtp, rtcp, ice, keying }
        };
        session.media().iter().enumerate().map(edit).collect()
    }

    /// While an offer is pending, a stream that was there before keeps its rules, since media of before still flows
    /// (RFC 3264 §8.3.1), and lets the offer's payload types in besides.
    fn tell_relay_of_offer(&mut self, from: Side, relay: &mut dyn Relay) {
        let own = self.own_addresses();
        let former = self.former.as_deref();
        for (index, stream) in self.streams.iter().enumerate() {
            let before = former.and_then(|former| Some((&former.ice, former.streams.get(index)?)));
            match before.filter(|(_, before)| before.pair().is_some()) {
                Some((ice, before)) => before.widened(stream, from).tell_relay(&self.sides, ice, &own, relay),
                None => stream.tell_relay(&self.sides, &self.ice, &own, relay),
            }
        }
    }

    /// The final answer is here: what it or its offer disabled or bundled is freed.
    fn settle(&mut self, answer: &Session<'_>, relay: &mut dyn Relay) {
        self.free_former(relay);
        for index in 0..self.streams.len() {
            let carrier = self.carrier_of(answer, index);
            let Some(stream) = self.streams.get_mut(index) else { continue };
            match carrier {
                Some(first) if first != index => stream.share(first, relay),
                _ if !stream.is_live() => stream.close(relay),
                _ => {}
            }
        }
    }

    /// Whose pair carries the `index`th stream of an offer or answer. RFC 9143 §7.3: an answer that accepts a bundle
    /// gives its sections one transport, so they are shown one pair, that of the first.
    fn carrier_of(&self, session: &Session<'_>, index: usize) -> Option<usize> {
        let has_pair = |index: &usize| self.streams.get(*index).is_some_and(|stream| stream.pair().is_some());
        let bundled = shared_transport(session, index).filter(has_pair);
        match self.streams.get(index)?.stream_use() {
            Use::Direct => None,
            Use::Shared(first) => bundled.filter(|carrier| *carrier == first),
            Use::Relayed | Use::Off => bundled.or(Some(index)),
        }
    }

    /// What held before the pending offer is over.
    fn free_former(&mut self, relay: &mut dyn Relay) {
        if let Some(former) = self.former.take() {
            self.free(former.streams, relay);
        }
    }

    /// Frees the pairs of `dropped` that nobody holds any more; what they counted goes on in the CDR.
    fn free(&mut self, dropped: Vec<Stream>, relay: &mut dyn Relay) {
        let former = self.former.as_ref().map(|former| former.streams.as_slice()).unwrap_or_default();
        for (index, mut before) in dropped.into_iter().enumerate() {
            let is_held = |pair: &OpenPair| holds(&self.streams, pair.id) || holds(former, pair.id);
            if before.pair().is_some_and(|pair| !is_held(pair)) {
                before.close(relay);
                if let Some(stream) = self.streams.get_mut(index) {
                    stream.inherit_counts(&before);
                }
            }
        }
    }

    fn tell_relay(&self, relay: &mut dyn Relay) {
        let own = self.own_addresses();
        for stream in &self.streams {
            stream.tell_relay(&self.sides, &self.ice, &own, relay);
        }
    }

    /// This call's own relayed addresses: sent to, they would feed the call to itself.
    fn own_addresses(&self) -> Vec<SocketAddr> {
        let pairs = self.streams.iter().filter_map(Stream::pair);
        pairs.flat_map(|pair| [pair.a.rtp().0, pair.a.rtcp().0, pair.b.rtp().0, pair.b.rtcp().0]).collect()
    }
}

/// Candidates of a section that are relayed addresses of ours: ours stands for them, there are never two.
fn own_candidates(session: &Session<'_>, index: usize, relay: &dyn Relay) -> Vec<SocketAddr> {
    let udp = session.candidates(index).filter_map(|candidate| candidate.udp());
    udp.filter(|address| relay.owner_of(canonical(*address)).is_some()).collect()
}

fn holds(streams: &[Stream], id: PairId) -> bool {
    streams.iter().filter_map(Stream::pair).any(|pair| pair.id == id)
}

/// RFC 9143 §7.1: in a bundle, sections with one address share one transport, that of the first of them. (Port 9 is no
/// address, RFC 8840 §4.1.1.)
fn shared_transport(session: &Session<'_>, index: usize) -> Option<usize> {
    let rtp = session.media().get(index)?.rtp.filter(|rtp| rtp.port() != 9)?;
    let first = session.media().iter().position(|media| media.rtp == Some(rtp))?;
    (session.has_bundle() && first < index).then_some(first)
}
