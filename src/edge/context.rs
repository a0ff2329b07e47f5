//! Response contexts (RFC 3261 §16.7): for each request that was carried, where it may go, what came back, and where
//! its answers go. Which answer is the best is [`ResponseContext`]'s business.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::call::CallId;
use super::identify::Who;
use super::in_dialog::Membership;
use super::offer_answer::Exchange;
use super::received::Request;
use super::refusal::Refusal;
use super::settings::Failover;
use super::targets::TargetId;
use crate::base::{FlowId, ListenerId, TimerId, Transport, TrunkId, ZoneId, should_shrink};
use crate::policy::Permit;
use crate::relay::Side;
use crate::sip::message::{Message, Method};
use crate::sip::proxy::response_context::ResponseContext;
use crate::sip::proxy::validate::Valid;
use crate::sip::transaction::{ClientId, Destination, ServerId, Source};

/// One place to send a request to.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// Where.
    pub to: Destination,
    /// Over what.
    pub transport: Transport,
    /// Our listener that faces it.
    pub listener: ListenerId,
    /// Its zone.
    pub zone: ZoneId,
    /// What stands there.
    pub place: Place,
}

impl Hop {
    /// It faces the listener and transport that this came by.
    pub fn is_by_the_way_of(&self, source: &Source) -> bool {
        (source.listener, source.transport) == (self.listener, self.transport)
    }
}

/// What stands at the end of a hop. There is no other: a Request-URI, Route or maddr of a stranger names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A configured host.
    Target(TargetId),
    /// A registered contact.
    Binding(u64),
    /// The other end of a dialog.
    Leg,
}

/// Why a request may be forwarded at all.
#[derive(Debug)]
pub enum Warrant {
    /// Policy permits it.
    Permit(#[expect(dead_code, reason = "a proof: to hold it is its use")] Permit),
    /// It belongs to a dialog, and comes from one of its parties.
    Member(Membership),
}

/// What the request is for, so that its responses are understood.
#[derive(Debug)]
pub enum Errand {
    /// The first INVITE of a call.
    Call {
        /// The call.
        call: CallId,
        /// What its SDP started.
        exchange: Exchange,
    },
    /// A request in a call's dialog.
    InCall {
        /// The call.
        call: CallId,
        /// Who sent it.
        from: Side,
        /// What its SDP started.
        exchange: Exchange,
    },
    /// A phone's REGISTER: binding keys and the phone's own contacts, in its order.
    Register(SmallVec<[(u64, Bytes); 1]>),
    /// Anything else.
    Standalone,
}

impl Errand {
    /// The call that it belongs to, and the side that it goes to.
    pub fn call_and_side(&self) -> Option<(CallId, Side)> {
        match self {
            Errand::Call { call, .. } => Some((*call, Side::B)),
            Errand::InCall { call, from, .. } => Some((*call, from.other())),
            Errand::Register(_) | Errand::Standalone => None,
        }
    }
}

/// One carried request.
#[derive(Debug)]
pub struct Context {
    /// As it arrived.
    pub request: Box<Request>,
    /// From whom.
    pub who: Who,
    /// What forwarding needs to know of it.
    pub valid: Valid,
    /// Why it may be forwarded.
    pub warrant: Warrant,
    /// What for.
    pub errand: Errand,
    /// The places that may take it, in order.
    pub hops: SmallVec<[Hop; 2]>,
    /// The attempts so far, by hop.
    pub attempts: SmallVec<[Option<ClientId>; 2]>,
    /// Which response goes back, and when the next hop is tried.
    pub responses: ResponseContext<Box<Message>>,
    /// When to go on to the next.
    pub failover: Failover,
    /// Fires if nothing at all comes back from the hop that is tried.
    pub silence: Option<TimerId>,
    /// Why the last hop failed, if no response says so.
    pub failure: Option<Refusal>,
    /// CANCEL came.
    pub cancelled: bool,
    /// What was sent last, where it may have to be sent again with credentials.
    pub sent: Option<Bytes>,
    /// How often that was done.
    pub challenged: u8,
    /// The hop that is tried goes over TCP for the request's size alone, and has not answered yet: otherwise it would be this one.
    pub datagram: Option<Hop>,
    /// A hop was left before its final answer. Should it answer 2xx after all, somebody must hang it up.
    pub abandoned: bool,
    /// The 2xx to an INVITE that came, by To tag, and what is done when they come again.
    pub successes: SmallVec<[(Bytes, Success); 1]>,
}

/// What became of a 2xx to an INVITE: RFC 6026 §7.1 has each of its retransmissions answered, in the same way.
#[derive(Debug)]
pub enum Success {
    /// It went back, as these bytes.
    Passed(Bytes),
    /// Nobody waits for it: it was acknowledged and hung up by us, with this ACK.
    HungUp(Destination, Bytes),
}

impl Context {
    /// For a request that has not been sent anywhere yet.
    pub fn new(
        request: Box<Request>,
        who: Who,
        valid: Valid,
        warrant: Warrant,
        errand: Errand,
        hops: SmallVec<[Hop; 2]>,
        failover: Failover,
    ) -> Context {
        let is_invite = request.message.method() == Method::Invite;
        Context {
            responses: ResponseContext::new(is_invite, hops.len(), &failover.statuses),
            request,
            who,
            valid,
            warrant,
            errand,
            hops,
            attempts: SmallVec::new(),
            failover,
            silence: None,
            failure: None,
            cancelled: false,
            sent: None,
            challenged: 0,
            datagram: None,
            abandoned: false,
            successes: SmallVec::new(),
        }
    }

    /// Which attempt this client transaction is.
    pub fn attempt_of(&self, client: ClientId) -> Option<usize> {
        self.attempts.iter().position(|attempt| *attempt == Some(client))
    }

    /// Its final answer went back, and nothing that may still come is its business: of an INVITE that could be another
    /// 2xx, and of a hop that was left too soon, that it lives. Its server transaction remembers the answer for another 32
    /// seconds by itself; not to keep all this as long is half of what a call costs in memory.
    pub fn is_done(&self) -> bool {
        self.responses.is_final() && self.request.message.method() != Method::Invite && !self.abandoned
    }

    /// A 2xx to its INVITE went back.
    pub fn has_passed(&self) -> bool {
        self.successes.iter().any(|(_, success)| matches!(success, Success::Passed(_)))
    }

    /// The place that was tried last.
    pub fn current_hop(&self) -> Option<&Hop> {
        self.hops.get(self.attempts.len().checked_sub(1)?)
    }

    /// There is another place to try.
    pub fn has_more(&self) -> bool {
        self.attempts.len() < self.hops.len()
    }
}

/// Who waits for the answers of a client transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// This response context.
    Context(ServerId),
    /// A health probe, of this server of the host.
    Probe(TargetId, Destination),
    /// Our registration with a carrier.
    Register(TrunkId),
    /// Nobody: our own BYE.
    Bye,
}

/// All response contexts, and which client transaction belongs to whom.
#[derive(Debug, Default)]
pub struct Contexts {
    contexts: FxHashMap<ServerId, Box<Context>>,
    waiting: FxHashMap<ClientId, Waiting>,
    /// INVITEs that came over a connection.
    by_connection: FxHashMap<FlowId, SmallVec<[ServerId; 1]>>,
}

impl Contexts {
    /// A request is carried; or its context comes back from [`Self::take`].
    pub fn put(&mut self, server: ServerId, context: Box<Context>) {
        self.contexts.insert(server, context);
    }

    /// One, to look at.
    pub fn get(&self, server: ServerId) -> Option<&Context> {
        self.contexts.get(&server).map(|context| &**context)
    }

    /// Takes one out to work with it; the caller puts it back unless its server transaction is gone.
    pub fn take(&mut self, server: ServerId) -> Option<Box<Context>> {
        self.contexts.remove(&server)
    }

    /// An INVITE came over this connection.
    pub fn came_over(&mut self, flow: FlowId, server: ServerId) {
        self.by_connection.entry(flow).or_default().push(server);
    }

    /// INVITEs that came over this connection and whose contexts are kept.
    pub fn over(&self, flow: FlowId) -> SmallVec<[ServerId; 1]> {
        self.by_connection.get(&flow).cloned().unwrap_or_default()
    }

    /// The server transaction is gone, and the context with it, unless an answer may yet come that must be hung up.
    pub fn server_gone(&mut self, server: ServerId) -> Option<Box<Context>> {
        let context = self.contexts.get(&server)?;
        let flow = context.request.source.flow;
        if let Some(servers) = self.by_connection.get_mut(&flow) {
            servers.retain(|other| *other != server);
            if servers.is_empty() {
                self.by_connection.remove(&flow);
            }
        }
        if context.abandoned && self.is_awaited(context) {
            return None;
        }
        let context = self.contexts.remove(&server);
        if should_shrink(self.contexts.len(), self.contexts.capacity()) {
            self.contexts.shrink_to_fit();
        }
        context
    }

    fn is_awaited(&self, context: &Context) -> bool {
        context.attempts.iter().flatten().any(|client| self.waiting.contains_key(client))
    }

    /// Who waits for this client transaction.
    pub fn waiting(&self, client: ClientId) -> Option<Waiting> {
        self.waiting.get(&client).copied()
    }

    /// From now on `who` does.
    pub fn wait(&mut self, client: ClientId, who: Waiting) {
        self.waiting.insert(client, who);
    }

    /// The client transaction is gone. Who waited for it?
    pub fn forget_client(&mut self, client: ClientId) -> Option<Waiting> {
        let who = self.waiting.remove(&client);
        if should_shrink(self.waiting.len(), self.waiting.capacity()) {
            self.waiting.shrink_to_fit();
        }
        who
    }
}
