//! The calls that we hold: both legs, the offer/answer exchange and the media between them, and what each call gives
//! back when it ends, however it ends.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::anchor::CallMedia;
use super::call_peers::CallPeers;
use super::event::{StreamCdr, Unheard};
use super::flow::FlowEnd;
use super::identify::{Speaker, Who};
use super::keyed::{KeyedMap, keyed_map, source_key};
use super::offer_answer::OfferAnswer;
use super::registration::Registrations;
use super::settings::Trust;
use super::trunk_login::CseqAhead;
use crate::base::{
    ClientAddr, ListenerId, Now, Rng, TimerId, Transport, TrunkId, UnixTime, ZoneId, should_shrink,
};
use crate::policy::GaugeHold;
use crate::relay::{Relay, Side};
use crate::sip::dialog::{self, Dialog};
use crate::sip::message::Message;
use crate::sip::transaction::{Destination, ServerId};
use crate::sip::uri::Uri;

/// Names a call; stands in its Record-Route token. Not used twice in the life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Where requests towards a leg go: the first that can be reached.
pub type Hops = SmallVec<[Destination; 1]>;

/// One side of a call, as signalling sees it.
#[derive(Clone, Debug)]
pub struct Leg {
    /// What it speaks as.
    pub speaker: Speaker,
    /// Its zone.
    pub zone: ZoneId,
    /// Of the zone.
    pub trust: Trust,
    /// Our listener that faces it.
    pub listener: ListenerId,
    /// What it is reached over.
    pub transport: Transport,
    /// Real address of its SIP.
    pub address: IpAddr,
    /// The flow that its requests come over.
    pub flow: Option<FlowEnd>,
    /// Where requests to it go.
    pub hops: Hops,
    /// Registered user behind it, if it is a phone; or who has shown a password.
    pub user: Option<Arc<str>>,
    /// Its name in CDRs.
    pub name: Arc<str>,
}

impl Leg {
    /// May a request from `from`, identified as `who`, speak for this leg? The PBX and trunks come from their zone and
    /// addresses; a phone over the dialog's flow, from the same address, or over a flow where the PBX has since
    /// accepted a registration of the same user; but never over a transport in whose packets an address is forged or words are read more
    /// easily than in those of the dialog (ATTACKS.md: in-dialog hijack).
    pub fn is_party(&self, from: &FlowEnd, who: &Who, registrations: &Registrations) -> bool {
        if who.zone != self.zone {
            return false;
        }
        match self.speaker {
            Speaker::Pbx => who.speaker == Speaker::Pbx || who.trust == Trust::Full,
            Speaker::Trunk(_) if who.speaker == self.speaker => true,
            // Where it was called it may come from, and where it has shown its password.
            Speaker::Trunk(_) if self.user.is_none() && self.flow.is_some() => false,
            Speaker::Trunk(_) | Speaker::Stranger => {
                let is_there = || {
                    self.address == from.remote.ip()
                        || self.user.is_some()
                            && registrations.on_flow(from).any(|b| Some(&b.user) == self.user.as_ref())
                };
                self.flow == Some(*from) || strength(from.transport) >= strength(self.transport) && is_there()
            }
        }
    }

    /// Where requests to this leg go. A phone is reached over its flow and nowhere else. The PBX and trunks are believed:
    /// over the connection that the call came by if there is one, else to the host that their dialog names (`next_hop`:
    /// their first Route, or their Contact), else to where their SIP comes from.
    pub fn hops_by(&self, next_hop: Option<&[u8]>) -> Hops {
        let mut hops = Hops::new();
        if self.is_at_its_flow() || self.transport.is_reliable() {
            let flow = self.flow.filter(|flow| !flow.is_gone());
            hops.extend(flow.map(|flow| flow.destination()));
        }
        if !self.is_at_its_flow() {
            hops.extend(next_hop.and_then(|uri| self.address_of(uri)));
        }
        if hops.is_empty() {
            hops.clone_from(&self.hops);
        }
        hops
    }

    /// Known by its flow, and not by its address: a phone, or a trunk that has shown a password.
    pub fn is_at_its_flow(&self) -> bool {
        match self.speaker {
            Speaker::Pbx => false,
            Speaker::Trunk(_) => self.user.is_some(),
            Speaker::Stranger => true,
        }
    }

    /// The address that a URI spells out, on this leg's side. A name is not resolved here (RFC 3263 for remote targets
    /// comes with the trunk issue); an address of another transport than the leg's would need its TLS settings.
    fn address_of(&self, uri: &[u8]) -> Option<Destination> {
        let uri = Uri::parse(uri)?;
        let transport = uri.transport().unwrap_or(Transport::Udp);
        let tls = self.hops.iter().find_map(|hop| match hop {
            Destination::Address { tls, .. } => Some(*tls),
            Destination::Flow(_) => None,
        });
        let remote = SocketAddr::new(uri.ip()?, uri.port.unwrap_or(transport.default_port()));
        (transport == self.transport).then(|| Destination::Address {
            listener: self.listener,
            transport,
            remote,
            tls: tls.unwrap_or(u16::MAX),
        })
    }
}

/// How hard it is to speak in somebody else's name over a transport.
fn strength(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp | Transport::Ws => 1,
        Transport::Tls | Transport::Wss => 2,
    }
}

/// A dialog of the call: one per To tag, several if the PBX forks (RFC 3261 §12.1).
#[derive(Clone, Debug)]
pub struct Fork {
    /// Both ends, their CSeq, targets and routes.
    pub dialog: Dialog,
    /// Where requests to its callee go.
    pub hops: Hops,
}

/// The most early dialogs that one INVITE may make.
pub const FORKS_MAX: usize = 16;

/// One call: from a permitted INVITE to its end.
#[derive(Debug)]
pub struct Call {
    /// Its name.
    pub id: CallId,
    /// Call-ID.
    pub call_id: Arc<str>,
    /// The caller's side.
    pub a: Leg,
    /// The called side, once a target was chosen.
    pub b: Option<Leg>,
    /// Its dialogs.
    pub forks: SmallVec<[Fork; 1]>,
    /// The INVITE's server transaction, until its final response.
    pub inviting: Option<ServerId>,
    /// Offers and answers.
    pub exchange: OfferAnswer,
    /// Its media, if it is anchored.
    pub media: Option<Box<CallMedia>>,
    /// What its offers and answers name, anchored or not.
    pub peers: CallPeers,
    /// INVITE received.
    pub started: Now,
    /// 2xx received.
    pub answered: Option<UnixTime>,
    /// Ends the call after `Limits::call_lifetime`.
    pub lifetime: Option<TimerId>,
    /// Ends the call if nobody refreshes its session (RFC 4028).
    pub session_timer: Option<TimerId>,
    /// When that is.
    pub session_ends: Option<UnixTime>,
    /// When what it has paid for runs out.
    pub paying: Option<TimerId>,
    /// The rule that ended it.
    pub hung_up_by: Option<Arc<str>>,
    /// When its media is listened to next.
    pub listening: Option<TimerId>,
    /// Sides of whom it was said that they are not heard.
    pub unheard: Vec<Unheard>,
    /// Policy gauges that it holds.
    pub gauges: GaugeHold,
    /// The trunk that it came from, whose calls it counts among.
    pub trunk_in: Option<TrunkId>,
    /// The trunk that it goes to.
    pub trunk_out: Option<TrunkId>,
    /// Policy rule that permitted it.
    pub rule: Arc<str>,
    /// Route.
    pub route: Arc<str>,
    /// Target that has it now.
    pub target: Arc<str>,
    /// Real source of the INVITE.
    pub source: ClientAddr,
    /// Called user or number.
    pub to: Arc<str>,
    /// Calling user or number.
    pub from: Arc<str>,
    /// What the caller says it is (User-Agent).
    pub agent: Option<Arc<str>>,
    /// Of requests that were sent again with credentials.
    pub cseq_ahead: CseqAhead,
    /// Its route is for emergencies: no limit holds it up.
    pub emergency: bool,
    /// The journal of calls has it,
    pub is_written_down: bool,
    /// and of its media what this revision was ([`CallMedia::revision`]).
    pub media_written_down: u32,
}

impl Call {
    /// How long people have talked; zero if nobody has answered.
    pub fn talked(&self, now: Now) -> Duration {
        self.answered.map_or(Duration::ZERO, |answered| now.unix.talked_since(answered))
    }

    /// The leg on that side.
    pub fn leg(&self, side: Side) -> Option<&Leg> {
        match side {
            Side::A => Some(&self.a),
            Side::B => self.b.as_ref(),
        }
    }

    /// The leg on that side, to change.
    pub fn leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::A => Some(&mut self.a),
            Side::B => self.b.as_mut(),
        }
    }

    /// The dialog that a request belongs to, and who sent it (RFC 3261 §12.2.2).
    pub fn sender(&self, request: &Message) -> Option<(usize, Side)> {
        let found = self.forks.iter().enumerate();
        found.filter_map(|(index, fork)| Some((index, side_of(fork.dialog.sender(request)?)))).next()
    }

    /// A phone's request came over another flow than before (a reconnect): from now on it is reached there.
    pub fn moved(&mut self, side: Side, flow: FlowEnd) {
        let Some(leg) = self.leg_mut(side).filter(|leg| leg.is_at_its_flow() && leg.flow != Some(flow))
        else {
            return;
        };
        leg.address = flow.remote.ip();
        leg.listener = flow.listener;
        leg.transport = flow.transport;
        leg.hops = SmallVec::from_iter([flow.destination()]);
        leg.flow = Some(flow);
        let hops = leg.hops.clone();
        if side == Side::B {
            self.forks.iter_mut().for_each(|fork| fork.hops.clone_from(&hops));
        }
    }

    /// The connection of a phone ended with a restart: it is reached where it has registered since.
    pub fn find_again(&mut self, side: Side, registrations: &Registrations) {
        let Some(leg) = self.leg(side).filter(|leg| leg.flow.is_some_and(|flow| flow.is_gone())) else {
            return;
        };
        let Some(user) = leg.user.as_ref().filter(|_| leg.speaker == Speaker::Stranger) else { return };
        let as_good = registrations.of_user(user).map(|(_, binding)| binding).filter(|binding| {
            binding.zone == leg.zone && strength(binding.flow.transport) >= strength(leg.transport)
        });
        // Of several phones of one user, rather the one that is where this one was.
        let is_elsewhere = |flow: &FlowEnd| flow.remote.ip() != leg.address;
        if let Some(flow) = as_good.map(|binding| binding.flow).min_by_key(is_elsewhere) {
            self.moved(side, flow);
        }
    }

    /// A response in the dialog, sent by that side.
    pub fn follow_response(&mut self, from: Side, response: &Message) {
        let found = self
            .forks
            .iter()
            .position(|fork| fork.dialog.sender(response) == Some(dialog_side(from.other())));
        let Some(index) = found else { return };
        if let Some(fork) = self.forks.get_mut(index) {
            fork.dialog.follow_response(dialog_side(from), response);
        }
        self.refresh_hops(index, from);
    }

    /// The remote target of that side may have changed (RFC 3261 §12.2.1.2).
    pub fn refresh_hops(&mut self, index: usize, side: Side) {
        let Some(fork) = self.forks.get_mut(index) else { return };
        let next_hop = fork.dialog.next_hop(dialog_side(side));
        match (side, &self.b) {
            (Side::A, _) => self.a.hops = self.a.hops_by(next_hop),
            (Side::B, Some(b)) => fork.hops = b.hops_by(next_hop),
            (Side::B, None) => {}
        }
    }

    /// The dialog of this BYE is over; the callee's tag in it.
    pub fn end_dialog(&mut self, bye: &Message) -> Option<Box<[u8]>> {
        let (index, _) = self.sender(bye)?;
        Some(self.forks.remove(index).dialog.tag(dialog::Side::Callee).into())
    }

    /// The pending offer was refused: what held before holds again.
    pub fn roll_back(&mut self, relay: &mut dyn Relay) {
        self.peers.roll_back(relay);
        if let Some(media) = &mut self.media {
            media.roll_back(relay);
        }
    }

    /// One of several dialogs that answered is over.
    pub fn forget_answer(&mut self, tag: &[u8], relay: &mut dyn Relay) {
        self.peers.forget_answer(tag, relay);
        if let Some(media) = &mut self.media {
            media.forget_answer(tag, relay);
        }
    }

    /// Bytes of media that it has relayed, in both directions.
    pub fn relayed(&self) -> u64 {
        self.media.as_ref().map_or(0, |media| media.relayed())
    }

    /// Gives back all that the relay holds for it; what its streams carried.
    pub fn close_media(&mut self, relay: &mut dyn Relay) -> Vec<StreamCdr> {
        self.peers.close(relay);
        let Some(mut media) = self.media.take() else { return Vec::new() };
        let streams = media.streams();
        media.close(relay);
        streams
    }

    /// Some dialog of it is confirmed, or may yet be.
    pub fn is_alive(&self) -> bool {
        self.answered.is_none()
            || self.forks.iter().any(|fork| fork.dialog.state() == dialog::DialogState::Confirmed)
    }

    /// A response to the first INVITE made a dialog, or confirmed one. `record_routes_sent` is how many values
    /// the INVITE left us with.
    pub fn learn(&mut self, invite: &Message, response: &Message, record_routes_sent: usize) {
        let tag = response.to().tag().unwrap_or_default();
        let known = self.forks.iter_mut().find(|fork| fork.dialog.tag(dialog::Side::Callee) == tag);
        if let Some(fork) = known {
            fork.dialog.follow_response(dialog::Side::Callee, response);
        } else if self.forks.len() < FORKS_MAX {
            let dialog = Dialog::new(invite, response, record_routes_sent);
            self.forks.extend(dialog.map(|dialog| Fork { dialog, hops: Hops::new() }));
        }
        let Some(b) = &self.b else { return };
        for fork in self.forks.iter_mut().filter(|fork| fork.dialog.tag(dialog::Side::Callee) == tag) {
            fork.hops = b.hops_by(fork.dialog.next_hop(dialog::Side::Callee));
        }
    }
}

/// Caller's side is A.
pub fn side_of(side: dialog::Side) -> Side {
    match side {
        dialog::Side::Caller => Side::A,
        dialog::Side::Callee => Side::B,
    }
}

/// A is the caller's side.
pub fn dialog_side(side: Side) -> dialog::Side {
    match side {
        Side::A => dialog::Side::Caller,
        Side::B => dialog::Side::Callee,
    }
}

/// All calls of one shard.
#[derive(Debug)]
pub struct Calls {
    /// Boxed: the table has room for up to twice as many as it holds.
    calls: FxHashMap<CallId, Box<Call>>,
    unanswered: KeyedMap<IpAddr, usize>,
    next: u64,
    answered: usize,
    /// What a restart must not forget of them is no longer what was written down.
    changed: FxHashSet<CallId>,
    /// Were written down, and are over.
    ended: Vec<CallId>,
}

impl Calls {
    /// None yet.
    pub fn new(rng: &mut Rng) -> Calls {
        Calls {
            calls: FxHashMap::default(),
            unanswered: keyed_map(rng),
            // A restart must not give a number out again that a token still carries.
            next: rng.next_u64() >> 1,
            answered: 0,
            changed: FxHashSet::default(),
            ended: Vec::new(),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// How many of them are answered.
    pub fn answered(&self) -> usize {
        self.answered
    }

    /// A number for the next call.
    pub fn next_id(&mut self) -> CallId {
        self.next += 1;
        CallId(self.next)
    }

    /// One call.
    pub fn get(&self, id: CallId) -> Option<&Call> {
        self.calls.get(&id).map(|call| &**call)
    }

    /// One call, to change.
    pub fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(&id).map(|call| &mut **call)
    }

    /// Names of all calls.
    pub fn ids(&self) -> Vec<CallId> {
        self.calls.keys().copied().collect()
    }

    /// Unanswered calls of a source.
    pub fn unanswered_of(&self, source: IpAddr) -> usize {
        self.unanswered.get(&source_key(source)).copied().unwrap_or(0)
    }

    /// A call begins.
    pub fn insert(&mut self, call: Box<Call>) {
        *self.unanswered.entry(source_key(call.source.0.ip())).or_default() += 1;
        self.calls.insert(call.id, call);
    }

    /// A call of before a restart goes on.
    pub fn insert_answered(&mut self, call: Box<Call>) {
        self.answered += 1;
        self.next = self.next.max(call.id.0);
        self.calls.insert(call.id, call);
    }

    /// A restart must not forget what has just changed.
    pub fn changed(&mut self, id: CallId) {
        self.changed.insert(id);
    }

    /// What has changed since this was last asked.
    pub fn take_changed(&mut self) -> FxHashSet<CallId> {
        std::mem::take(&mut self.changed)
    }

    /// What has been written down and is over, since this was last asked.
    pub fn take_ended(&mut self) -> Vec<CallId> {
        std::mem::take(&mut self.ended)
    }

    /// It is about to be written down.
    pub fn written_down(&mut self, id: CallId) {
        if let Some(call) = self.get_mut(id) {
            call.is_written_down = true;
            call.media_written_down = call.media.as_ref().map_or(0, |media| media.revision());
        }
    }

    /// It was answered; true for the first time.
    pub fn set_answered(&mut self, id: CallId, at: UnixTime) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        if call.answered.is_some() {
            return false;
        }
        call.answered = Some(at);
        let source = call.source.0.ip();
        self.changed.insert(id);
        self.answered += 1;
        self.one_unanswered_less(source);
        true
    }

    /// It is over.
    pub fn remove(&mut self, id: CallId) -> Option<Box<Call>> {
        let call = self.calls.remove(&id)?;
        if should_shrink(self.calls.len(), self.calls.capacity()) {
            self.calls.shrink_to_fit();
        }
        self.changed.remove(&id);
        if call.is_written_down {
            self.ended.push(id);
        }
        match call.answered {
            Some(_) => self.answered -= 1,
            None => self.one_unanswered_less(call.source.0.ip()),
        }
        Some(call)
    }

    fn one_unanswered_less(&mut self, source: IpAddr) {
        let key = source_key(source);
        if let Some(count) = self.unanswered.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.unanswered.remove(&key);
            }
        }
    }
}
