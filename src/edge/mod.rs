//! The transaction user: from a request that arrived to what is sent, in typed phases
//! (`Received → Identified → Permitted → Routed → Anchored → Forwarded`, docs/life-of-a-call.md).

mod admit;
mod agents;
pub mod anchor;
mod anchoring;
mod answer;
mod authenticate;
mod begin;
mod believed;
mod call;
mod call_peers;
mod context;
mod dialog_ends;
mod ending;
pub mod event;
pub mod explain;
mod facts;
mod flow;
mod forward;
mod health;
mod identify;
mod in_dialog;
mod kept_calls;
mod kept_registrations;
mod keyed;
mod ladder;
mod listening;
pub mod live;
mod offer_answer;
mod outgrown;
pub mod overheard;
mod overload;
mod paying;
mod probing;
mod received;
mod record;
mod refusal;
mod registering;
mod registration;
mod respond;
mod route;
mod session_timer;
pub mod settings;
mod targets;
mod topology;
mod trickling;
mod trunk_load;
mod trunk_login;
mod trunk_register;
mod trunk_rules;
mod unheard;
mod uri;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipnetwork::IpNetwork;

use crate::base::{FlowId, ListenerId, Now, Rng, Timers, Transport, TrunkId};
use crate::policy;
use crate::policy::feed::{Feed, FeedId};
use crate::relay::Relay;
use crate::sip::transaction::{Destination, ServerId, TimerValues, Transactions};
use agents::Agents;
use authenticate::Authentication;
use call::{CallId, Calls};
pub use call_peers::CALL_PEERS_MAX;
use context::Contexts;
use ending::End;
use event::Event;
use identify::Certified;
pub use kept_calls::{RestoredCalls, SavedCall};
pub use kept_registrations::SavedBinding;
use ladder::Ladder;
use registration::Registrations;
use settings::Settings;
use targets::{TargetId, Targets};
use topology::Foreign;
use trunk_load::TrunkLoads;
use trunk_login::Logins;
use trunk_register::TrunkRegistrations;
pub use uri::escaped_user;

/// What the edge wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a SIP message.
    Send {
        /// Where.
        to: Destination,
        /// What.
        bytes: Bytes,
    },
    /// Close this connection (after what is queued has been written).
    Close(FlowId),
    /// Tell the outside.
    Event(Event),
}

/// Where the edge stands in its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Takes calls.
    No,
    /// New calls get 503; live ones go on until the grace time is over.
    Draining,
    /// BYE has gone out on both legs of every call.
    Ended,
}

/// What is live, for metrics, `status` and the scenarios' "nothing left behind".
#[allow(missing_docs)]
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub server_transactions: usize,
    pub client_transactions: usize,
    pub calls: usize,
    pub answered_calls: usize,
    /// Of those: with a side that is not heard.
    pub unheard_calls: usize,
    pub registrations: usize,
    pub relay: crate::relay::RelayUsage,
    /// (URI, up)
    pub targets: Vec<(Arc<str>, bool)>,
}

/// What a timer of the edge's own is for. Those of RFC 3261 are in [`Transactions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    /// The hop that is tried gave no sign.
    Silence(ServerId, u32),
    /// A registered contact runs out.
    BindingExpires(u64),
    /// Is anybody there? For an answered call.
    Listen(CallId),
    /// A call has lasted too long.
    CallLifetime(CallId),
    /// What a call has paid for runs out.
    PayOn(CallId),
    /// Nobody has refreshed a call's session.
    SessionExpires(CallId),
    /// The next probe of a host.
    Probe(TargetId),
    /// The next REGISTER to a carrier.
    TrunkRegister(TrunkId),
}

/// The edge of one shard: a pure machine. The phases of a request stand in their own files; here is what they share.
pub struct Edge {
    settings: Arc<Settings>,
    policy: policy::Shared,
    relay: Box<dyn Relay>,
    rng: Rng,
    transactions: Transactions,
    targets: Targets,
    trunks: TrunkLoads,
    logins: Logins,
    trunk_registrations: TrunkRegistrations,
    certified: Certified,
    authentication: Authentication,
    registrations: Registrations,
    calls: Calls,
    agents: Agents,
    contexts: Contexts,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
    drain: Drain,
    /// How long what arrives on each listener may have waited for us.
    waited: Vec<Duration>,
    /// Live calls with a side that is not heard.
    unheard_calls: usize,
    ladder: Ladder,
    /// Makes each branch another one.
    branches: u64,
    /// Networks of each zone, as media legs want them.
    allowed: Vec<Arc<[IpNetwork]>>,
    /// Hosts of others that must not be seen where they are hidden.
    foreign: Vec<Foreign>,
    /// Addresses of this machine, as far as the settings name them.
    own: Arc<[IpAddr]>,
    /// A body that is being rewritten; kept for its memory.
    body: Vec<u8>,
}

impl Edge {
    /// Starts empty. Call [`Self::start`] once the outputs are being read.
    pub fn new(
        settings: Arc<Settings>,
        policy: impl Into<policy::Shared>,
        relay: Box<dyn Relay>,
        mut rng: Rng,
    ) -> Edge {
        Edge {
            transactions: Transactions::new(TimerValues::default(), settings.limits.transactions),
            targets: Targets::new(&settings),
            trunks: TrunkLoads::new(&settings),
            logins: Logins::new(&settings),
            certified: Certified::default(),
            authentication: Authentication::new(&settings, &mut rng),
            trunk_registrations: TrunkRegistrations::new(&settings, &mut rng),
            registrations: Registrations::new(settings.limits.registrations, &mut rng),
            calls: Calls::new(&mut rng),
            agents: Agents::new(&mut rng),
            contexts: Contexts::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            drain: Drain::No,
            waited: vec![Duration::ZERO; settings.listeners.len()],
            unheard_calls: 0,
            ladder: Ladder::default(),
            branches: rng.next_u64(),
            allowed: settings.zones.iter().map(|zone| zone.networks.as_slice().into()).collect(),
            foreign: Foreign::of_all(&settings),
            own: settings.own_addresses().collect(),
            body: Vec::new(),
            settings,
            policy: policy.into(),
            relay,
            rng,
        }
    }

    /// True: drop these bytes unread (bans, `packets` rules). Asked per datagram and per new connection.
    pub fn refuses_packet(&mut self, source: IpAddr, listener: ListenerId, now: Now) -> bool {
        self.policy.open().refuses_packet(source.to_canonical(), listener, now)
    }

    /// A list that policies look in was fetched.
    pub fn refresh_list(&mut self, id: FeedId, feed: Feed) {
        self.policy.open().refresh(id, feed);
    }

    /// Tells what policies have said to TURN clients, whom the relay asks about itself.
    pub fn hear_of_turn(&mut self, now: Now) {
        while let Some(refused) = self.policy.poll_refused_at_relay() {
            self.tell(Event::Refused(refused.into()));
        }
        self.settle(now);
    }

    /// See [`policy::Engine::replace`].
    pub fn replace_policies(&mut self, policies: policy::Settings) {
        self.policy.replace(policies, &self.settings.key);
    }

    /// See [`Transactions::waits_for`].
    pub fn waits_for(&self, beginning: &[u8], to: &Destination) -> bool {
        self.transactions.waits_for(beginning, to)
    }

    /// Sending to `to` failed (refused, no route, queue full).
    pub fn handle_send_failed(&mut self, to: Destination, now: Now) {
        if let Destination::Address { transport: Transport::Tcp, remote, .. } = to {
            self.targets.no_stream_at(remote, now.instant);
        }
        self.transactions.send_failed(to, now.instant);
        self.settle(now);
    }

    /// Next thing to do. What it makes others send meets a relay that knows of it.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.relay.flush();
        if self.outputs.is_empty() {
            // Of requests they have been told already: these are of packets, a batch of them together.
            self.tell_alerts(b"");
        }
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let both = [self.transactions.poll_timeout(), self.timers.next_due()];
        both.into_iter().flatten().min()
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.transactions.handle_timeout(now.instant);
        self.settle(now);
        while let Some(timer) = self.timers.pop(now.instant) {
            match timer {
                Timer::Silence(server, index) => self.no_sign(server, index as usize, now),
                Timer::BindingExpires(key) => self.unregister(key),
                Timer::Listen(id) => self.listen(id, now),
                Timer::CallLifetime(id) => self.hang_up(id, End::Lifetime, now),
                Timer::PayOn(id) => self.pay_on(id, now),
                Timer::SessionExpires(id) => self.hang_up(id, End::SessionExpired, now),
                Timer::Probe(target) => self.probe(target, now),
                Timer::TrunkRegister(trunk) => self.register_trunk(trunk, now),
            }
            self.settle(now);
        }
    }

    /// What is live.
    pub fn status(&self) -> Status {
        let (server_transactions, client_transactions) = self.transactions.len();
        Status {
            server_transactions,
            client_transactions,
            calls: self.calls.len(),
            answered_calls: self.calls.answered(),
            unheard_calls: self.unheard_calls,
            registrations: self.registrations.len(),
            relay: self.relay.usage(),
            targets: self.targets.report(),
        }
    }

    /// True if nothing is left to wait for at the end of a drain: no call, and no request of ours without an answer.
    pub fn is_quiet(&self) -> bool {
        self.calls.len() == 0 && self.transactions.all_answered()
    }

    /// What policy must not forget in a restart, if that has changed since it was last asked for.
    pub fn save_policy(&mut self, now: Now) -> Option<policy::Saved> {
        let mut policy = self.policy.open();
        policy.has_changed().then(|| policy.save(now))
    }

    /// What policy decided about this call, and what it looked at; nothing if it is not known, or too long ago.
    pub fn why(&self, call_id: &str) -> Vec<policy::explain::Explanation> {
        self.policy.open().why(call_id, &facts::names(&self.settings))
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
