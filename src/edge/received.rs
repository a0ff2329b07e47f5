//! The first phase: a message arrived. Requests meet their transaction, are carried through the phases or refused;
//! responses find who waits for them.

use bytes::Bytes;

use super::believed::may_answer;
use super::context::Waiting;
use super::event::{Event, Refused};
use super::identify::{self, Identified, Speaker};
use super::refusal::Refusal;
use super::{Edge, Output, answer, uri};
use crate::base::{FlowId, Now, Transport};
use crate::policy;
use crate::policy::ban::BanChange;
use crate::sip::message::{Malformed, Message, Method, StartLine};
use crate::sip::transaction::{Destination, Received as Matched, ResponseFor, ServerId, Source};

/// A request and how it came.
#[derive(Debug)]
pub struct Request {
    /// It.
    pub message: Message,
    /// From where.
    pub source: Source,
    /// Its transaction.
    pub server: ServerId,
    /// When.
    pub at: Now,
}

/// A new request, not yet looked at.
#[derive(Debug)]
pub struct Received {
    /// It.
    pub request: Box<Request>,
}

/// A request that is not carried, and why.
#[derive(Debug)]
pub struct Rejected {
    /// It.
    pub request: Box<Request>,
    /// Why.
    pub refusal: Refusal,
}

impl Edge {
    /// One framed message (or datagram) arrived.
    pub fn handle_message(&mut self, source: &Source, bytes: Bytes, now: Now) {
        self.show_received(source, &bytes, now);
        let bytes = self.with_remote_target(bytes);
        match Message::parse(bytes.clone(), &self.settings.limits.message) {
            Ok(message) => match message.start() {
                StartLine::Request { .. } => self.receive_request(message, source, now),
                StartLine::Response { .. } => self.receive_response(message, source, now),
            },
            Err(malformed) => self.handle_malformed(source, malformed, &bytes, now),
        }
        self.settle(now);
    }

    /// A message cannot be read, or a stream not followed; `bytes` is what there is of it. It is answered if it says
    /// whom the answer is for. A stream is closed then: where its next message begins is a guess, and a wrong guess
    /// lets a request in that nobody has seen (ATTACKS.md: a second request hidden in a body).
    pub fn handle_malformed(&mut self, source: &Source, error: Malformed, bytes: &[u8], _now: Now) {
        if let Some(request) = Message::salvage(bytes, &self.settings.limits.message) {
            let (status, reason) = (error.status, error.reason);
            let answer = answer::answer(&request, source, status, reason, &self.settings.key, &[]);
            self.send(answer::way_back(source), answer);
        }
        if source.transport != Transport::Udp {
            self.outputs.push_back(Output::Close(source.flow));
        }
        self.tell(Event::Malformed {
            listener: source.listener,
            source: source.remote.0.ip(),
            reason: error.reason,
        });
    }

    /// The far end of a new connection has shown a certificate with these names, and the listener's CA has signed it.
    pub fn handle_certified(&mut self, flow: FlowId, names: &[String]) {
        self.certified.insert(flow, names, &self.settings);
    }

    /// A connection is gone: its registrations end, what waits for an answer on it fails, and the calls that ring for it
    /// are cancelled. An answered call goes on: its phone may come back over another connection, and if it does not,
    /// the silence of its media ends the call.
    pub fn handle_flow_closed(&mut self, flow: FlowId, now: Now) {
        self.ladder.forget(flow);
        self.certified.remove(flow);
        for key in self.registrations.keys_over(flow) {
            self.unregister(key);
        }
        for invite in self.contexts.over(flow) {
            self.withdraw(invite, now);
        }
        self.transactions.send_failed(Destination::Flow(flow), now.instant);
        self.settle(now);
    }

    fn receive_request(&mut self, message: Message, source: &Source, now: Now) {
        let message = self.reveal(message, source);
        match self.transactions.receive_request(&message, source, now.instant) {
            Matched::Absorbed => {}
            Matched::Ack => self.acknowledge(message, source, now),
            Matched::Cancel(cancel, invite) => self.cancel(message, source, cancel, invite, now),
            Matched::Full => {
                let refusal = Refusal::TransactionsFull;
                let bytes = self.refusal(&message, source, &refusal);
                self.tell_refused(&message, source, &refusal, now);
                self.send(answer::way_back(source), bytes);
            }
            Matched::New(server) => {
                let request = Box::new(Request { message, source: *source, server, at: now });
                if let Err(rejected) = self.carry(Received { request }) {
                    self.refuse(rejected);
                }
            }
        }
    }

    /// Received → Forwarded, or why not.
    fn carry(&mut self, received: Received) -> Result<(), Rejected> {
        let identified = identify::identify(received, &self.settings, &self.targets, &self.certified)?;
        let message = &identified.request.message;
        if message.method() == Method::Cancel {
            return Err(identified.reject(Refusal::NoSuchCall));
        }
        if message.to().tag().is_some() {
            return self.carry_in_dialog(identified);
        }
        if message.method() == Method::Options && uri::user(message).is_none() {
            self.answer_options(identified);
            return Ok(());
        }
        if self.is_shed(&identified) {
            return Err(identified.reject(Refusal::Overloaded));
        }
        let permitted = self.admit(identified)?;
        let routed = self.route(permitted)?;
        self.begin(routed)
    }

    fn receive_response(&mut self, response: Message, source: &Source, now: Now) {
        let response = self.with_inside_call_ids(response, source.listener);
        let Edge { settings, targets, certified, transactions, .. } = self;
        let may_answer = |asked: &_| may_answer(asked, source, settings, targets, certified);
        let ResponseFor::Client(client) = transactions.receive_response(&response, may_answer, now.instant)
        else {
            return;
        };
        match self.contexts.waiting(client) {
            Some(Waiting::Context(server)) => self.respond(server, client, response, now),
            Some(Waiting::Probe(target, to)) => {
                self.probe_answered(target, to, response.status().unwrap_or(0), now);
            }
            Some(Waiting::Register(trunk)) => self.registering_answered(trunk, client, &response, now),
            Some(Waiting::Bye) | None => {}
        }
    }

    /// Says no. To a stranger once and without a transaction, so that nobody can have an answer repeated to a victim
    /// whose address he forged (ATTACKS.md: reflector); its retransmission is a new request.
    pub(super) fn refuse(&mut self, rejected: Rejected) {
        let Rejected { request, refusal } = rejected;
        let now = request.at;
        self.tell_refused(&request.message, &request.source, &refusal, now);
        let Some(status) = refusal.status() else {
            self.transactions.abandon(request.server);
            return;
        };
        let bytes = self.refusal(&request.message, &request.source, &refusal);
        let to = answer::way_back(&request.source);
        let who = identify::who(&request.source, &self.settings, &self.targets, &self.certified);
        if who.is_ok_and(|who| who.speaker != Speaker::Stranger) {
            self.transactions.respond(request.server, status, bytes, to, now.instant);
        } else {
            self.transactions.abandon(request.server);
            self.send(to, bytes);
        }
    }

    /// A keep-alive or a health check of the other side's: answered by us, for it asks about us.
    fn answer_options(&mut self, identified: Identified) {
        let Identified { request, .. } = identified;
        let allow: (&str, &[u8]) =
            ("Allow", b"INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, REFER, NOTIFY, MESSAGE");
        let extra = [allow, ("Accept", b"application/sdp")];
        let bytes = self.answer(&request.message, &request.source, 200, "OK", &extra);
        self.transactions.abandon(request.server);
        self.send(answer::way_back(&request.source), bytes);
    }

    /// Does what the transactions ask for, until they ask for nothing more.
    pub(super) fn settle(&mut self, now: Now) {
        use crate::sip::transaction::TransactionOutput as Asked;
        while let Some(note) = self.policy.poll_note() {
            self.tell(Event::Note(note));
        }
        while let Some(change) = self.policy.poll_ban_change() {
            match change {
                BanChange::Banned(ban, until) => {
                    self.relay.ban(&ban.banned, until);
                    self.tell(Event::Banned(ban));
                }
                BanChange::Restored(banned, until) => self.relay.ban(&banned, until),
                BanChange::Lifted(banned) => self.relay.lift_ban(&banned),
            }
        }
        while let Some(asked) = self.transactions.poll_output() {
            match asked {
                Asked::Send { to, bytes } => self.send(to, bytes),
                Asked::TimedOut(client) => self.attempt_failed(client, Refusal::Silent, now),
                Asked::SendFailed(client) => self.attempt_failed(client, Refusal::NoTarget, now),
                Asked::ServerGone(server) => self.server_gone(server),
                Asked::ClientGone(client) => {
                    let waiting = self.contexts.forget_client(client);
                    if let Some(Waiting::Context(server)) = waiting
                        && self.transactions.server_source(server).is_none()
                    {
                        self.server_gone(server);
                    }
                }
            }
        }
    }

    /// What rules have to tell people, of the request with this Call-ID (none: empty).
    pub(super) fn tell_alerts(&mut self, call_id: &[u8]) {
        while let Some(alert) = self.policy.poll_alert() {
            // What was said to TURN clients meanwhile has nothing to do with it.
            let of_turn = alert.known.as_ref().is_some_and(|known| known.stage == policy::Stage::Relay);
            let call_id = if of_turn { "".into() } else { String::from_utf8_lossy(call_id).into() };
            self.tell(Event::Alert { alert: Box::new(alert), call_id });
        }
    }

    pub(super) fn tell_refused(&mut self, message: &Message, source: &Source, refusal: &Refusal, now: Now) {
        let is_call = message.method() == Method::Invite && message.to().tag().is_none();
        // When there is no time, none is spent on remembering it.
        let is_told =
            !matches!(refusal, Refusal::Policy(_) | Refusal::Overloaded | Refusal::TransactionsFull);
        if is_call && is_told {
            let call_id = String::from_utf8_lossy(message.call_id());
            self.policy.open().refused_by_edge(&call_id, refusal.rule(), refusal.status().unwrap_or(0), now);
        }
        if refusal.is_routine() {
            return;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        self.tell(Event::Refused(Refused {
            at: now.unix,
            rule: refusal.rule(),
            status: refusal.status().unwrap_or(0),
            source: source.remote,
            listener: source.listener,
            method: text(message.method_bytes()),
            call_id: text(message.call_id()),
            to: uri::called(message).map_or_else(|| "".into(), |user| user.into()),
            alert: refusal.alert(),
        }));
    }
}
