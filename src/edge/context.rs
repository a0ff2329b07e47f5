//! Response contexts (RFC 3261 §16.7): for each request that was carried, where it may go, what came back, and where
//! its answers go. Which answer is the best is [`ResponseContext`]'s business.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::call::CallId;
use super::health::TargetId;
use super::identify::Who;
use super::in_dialog::Membership;
use super::offer_answer::Exchange;
use super::received::Request;
use super::refusal::Refusal;
use super::settings::Failover;
use crate::base::{ListenerId, TimerId, Transport, ZoneId};
use crate::policy::Permit;
use crate::relay::Side;
use crate::sip::message::Message;
use crate::sip::proxy::response_context::ResponseContext;
use crate::sip::proxy::validate::Valid;
use crate::sip::transaction::{ClientId, Destination, ServerId};

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
#[expect(clippy::large_enum_variant, reason = "one per context, which is boxed")]
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
    /// The 2xx that were sent, for their retransmissions: To tag and bytes.
    pub accepted: SmallVec<[(Bytes, Bytes); 1]>,
}

impl Context {
    /// Which attempt this client transaction is.
    pub fn attempt_of(&self, client: ClientId) -> Option<usize> {
        self.attempts.iter().position(|attempt| *attempt == Some(client))
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
    /// A health probe.
    Probe(TargetId),
    /// Nobody: our own BYE.
    Bye,
}

/// All response contexts, and which client transaction belongs to whom.
#[derive(Debug, Default)]
pub struct Contexts {
    contexts: FxHashMap<ServerId, Box<Context>>,
    waiting: FxHashMap<ClientId, Waiting>,
}

impl Contexts {
    /// A request is carried; or its context comes back from [`Self::take`].
    pub fn put(&mut self, server: ServerId, context: Box<Context>) {
        self.contexts.insert(server, context);
    }

    /// Takes one out to work with it; the caller puts it back unless its server transaction is gone.
    pub fn take(&mut self, server: ServerId) -> Option<Box<Context>> {
        self.contexts.remove(&server)
    }

    /// Who waits for this client transaction.
    pub fn waiting(&self, client: ClientId) -> Option<Waiting> {
        self.waiting.get(&client).copied()
    }

    /// From now on `who` does.
    pub fn wait(&mut self, client: ClientId, who: Waiting) {
        self.waiting.insert(client, who);
    }

    /// The client transaction is gone.
    pub fn forget_client(&mut self, client: ClientId) {
        self.waiting.remove(&client);
    }
}
