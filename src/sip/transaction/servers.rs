//! Server transactions: which machine it is, and what its actions mean.

use std::time::Instant;

use bytes::Bytes;

use super::clock::{Armed, Owner};
use super::machine::{Action, Timer};
use super::{Destination, ServerId, Source, TransactionOutput, Transactions};
use super::{build, invite_server, key, non_invite_server};
use crate::sip::message::{Message, Method};

#[derive(Debug)]
pub(super) struct Server {
    state: ServerState,
    pub(super) source: Source,
    /// Matched by RFC 2543's rules.
    pub(super) is_rfc2543: bool,
    /// The last response and where it went.
    last: Option<(Bytes, Destination)>,
    armed: Armed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerState {
    Invite(invite_server::State),
    NonInvite(non_invite_server::State),
}

/// What happens to a server transaction, before it is told which machine it is.
#[derive(Clone, Copy)]
pub(super) enum ServerEvent {
    Again,
    Ack,
    Respond(u16),
    Fired(Timer),
}

impl Server {
    pub(super) fn new(request: &Message, source: &Source) -> Server {
        let state = match request.method() {
            Method::Invite => ServerState::Invite(invite_server::State::Proceeding),
            _ => ServerState::NonInvite(non_invite_server::State::Trying),
        };
        let is_rfc2543 = !key::is_rfc3261(request);
        Server { state, source: *source, is_rfc2543, last: None, armed: Armed::default() }
    }

    fn step(&mut self, event: ServerEvent) -> &'static [Action] {
        let reliable = self.source.transport.is_reliable();
        match self.state {
            ServerState::Invite(state) => {
                let (state, actions) = invite_server::step(state, event.for_invite(), reliable);
                self.state = ServerState::Invite(state);
                actions
            }
            ServerState::NonInvite(state) => {
                let Some(event) = event.for_non_invite() else { return &[] };
                let (state, actions) = non_invite_server::step(state, event, reliable);
                self.state = ServerState::NonInvite(state);
                actions
            }
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(
            self.state,
            ServerState::Invite(invite_server::State::Terminated)
                | ServerState::NonInvite(non_invite_server::State::Terminated)
        )
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.state == ServerState::Invite(invite_server::State::Accepted)
    }

    /// Only asked for RFC 2543 clients, so the response is read again rather than its tag kept for everyone.
    pub(super) fn answered_with_tag_of(&self, ack: &Message) -> bool {
        let Some((last, _)) = &self.last else { return false };
        build::read_own(last.clone()).is_some_and(|response| response.to().tag() == ack.to().tag())
    }
}

impl ServerEvent {
    fn for_invite(self) -> invite_server::Event {
        use invite_server::Event;
        match self {
            ServerEvent::Again => Event::Invite,
            ServerEvent::Ack => Event::Ack,
            ServerEvent::Respond(..200) => Event::Provisional,
            ServerEvent::Respond(200..300) => Event::Success,
            ServerEvent::Respond(_) => Event::Failure,
            ServerEvent::Fired(timer) => Event::Fired(timer),
        }
    }

    fn for_non_invite(self) -> Option<non_invite_server::Event> {
        use non_invite_server::Event;
        Some(match self {
            ServerEvent::Again => Event::Request,
            ServerEvent::Ack => return None,
            ServerEvent::Respond(..200) => Event::Provisional,
            ServerEvent::Respond(_) => Event::Final,
            ServerEvent::Fired(timer) => Event::Fired(timer),
        })
    }
}

impl Transactions {
    /// `response` is what the transaction user wants sent.
    pub(super) fn step_server(
        &mut self,
        number: u64,
        event: ServerEvent,
        mut response: Option<(Bytes, Destination)>,
        now: Instant,
    ) {
        let Some(server) = self.servers.get_mut(number) else { return };
        for action in server.step(event) {
            match *action {
                Action::Answer | Action::Resend => {
                    if *action == Action::Answer {
                        server.last = response.take();
                    }
                    if let Some((bytes, to)) = server.last.clone() {
                        self.outputs.push_back(TransactionOutput::Send { to, bytes });
                    }
                }
                Action::Start(timer, after) => {
                    self.clock.start(&mut server.armed, Owner::Server(number), timer, after, now);
                }
                Action::Stop(timer) => self.clock.stop(&mut server.armed, timer),
                _ => debug_assert!(false, "a client's action"),
            }
        }
        if server.is_terminated() {
            self.end_server(number);
        }
    }

    pub(super) fn end_server(&mut self, number: u64) {
        if let Some(mut server) = self.servers.remove(number) {
            self.clock.stop_all(&mut server.armed);
            self.outputs.push_back(TransactionOutput::ServerGone(ServerId(number)));
        }
    }
}
