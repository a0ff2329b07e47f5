//! Client transactions: which machine it is, and what its actions mean.

use std::time::Instant;

use bytes::Bytes;

use super::clock::{Armed, Owner};
use super::machine::{Action, Timer};
use super::{ClientId, Destination, Outgoing, ResponseFor, TransactionOutput, Transactions};
use super::{build, invite_client, non_invite_client};
use crate::base::Transport;
use crate::sip::message::Message;

#[derive(Debug)]
pub(super) struct Client {
    state: ClientState,
    pub(super) to: Destination,
    transport: Transport,
    /// The CANCEL of an INVITE: made here, so nobody above hears of it.
    is_cancel: bool,
    /// Place in the list of its destination.
    pub(super) place: usize,
    /// The INVITE, while an ACK or CANCEL may have to be made from it: it is read only then.
    invite: Option<Bytes>,
    /// What is sent again: the request (UDP only), then the ACK.
    repeated: Bytes,
    armed: Armed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    Invite(invite_client::State),
    NonInvite(non_invite_client::State),
}

/// What happens to a client transaction, before it is told which machine it is.
#[derive(Clone, Copy)]
pub(super) enum ClientEvent {
    Response(u16),
    Cancel,
    Fired(Timer),
    TransportError,
}

impl Client {
    fn step(&mut self, event: ClientEvent) -> &'static [Action] {
        let reliable = self.transport.is_reliable();
        match self.state {
            ClientState::Invite(state) => {
                let (state, actions) = invite_client::step(state, event.for_invite(), reliable);
                self.state = ClientState::Invite(state);
                actions
            }
            ClientState::NonInvite(state) => {
                let Some(event) = event.for_non_invite() else { return &[] };
                let (state, actions) = non_invite_client::step(state, event, reliable);
                self.state = ClientState::NonInvite(state);
                actions
            }
        }
    }

    fn is_terminated(&self) -> bool {
        matches!(
            self.state,
            ClientState::Invite(invite_client::State::Terminated)
                | ClientState::NonInvite(non_invite_client::State::Terminated)
        )
    }

    /// A final response came; what is left is to absorb more of them.
    pub(super) fn is_answered(&self) -> bool {
        use {invite_client::State as Invite, non_invite_client::State as NonInvite};
        match self.state {
            ClientState::Invite(state) => {
                matches!(state, Invite::Completed | Invite::Accepted | Invite::Terminated)
            }
            ClientState::NonInvite(state) => matches!(state, NonInvite::Completed | NonInvite::Terminated),
        }
    }

    fn is_accepted(&self) -> bool {
        self.state == ClientState::Invite(invite_client::State::Accepted)
    }
}

impl ClientEvent {
    fn for_invite(self) -> invite_client::Event {
        use invite_client::Event;
        match self {
            ClientEvent::Response(..=100) => Event::Trying,
            ClientEvent::Response(..200) => Event::Provisional,
            ClientEvent::Response(200..300) => Event::Success,
            ClientEvent::Response(_) => Event::Failure,
            ClientEvent::Cancel => Event::Cancel,
            ClientEvent::Fired(timer) => Event::Fired(timer),
            ClientEvent::TransportError => Event::TransportError,
        }
    }

    fn for_non_invite(self) -> Option<non_invite_client::Event> {
        use non_invite_client::Event;
        Some(match self {
            ClientEvent::Response(..200) => Event::Provisional,
            ClientEvent::Response(_) => Event::Final,
            // §9.1: "A CANCEL request SHOULD NOT be sent to cancel a request other than INVITE."
            ClientEvent::Cancel => return None,
            ClientEvent::Fired(timer) => Event::Fired(timer),
            ClientEvent::TransportError => Event::TransportError,
        })
    }
}

impl Transactions {
    pub(super) fn start_client(
        &mut self,
        request: Outgoing<'_>,
        to: Destination,
        transport: Transport,
        now: Instant,
    ) -> ClientId {
        let Outgoing { bytes: repeated, method, branch } = request;
        debug_assert!(method != b"ACK");
        let key = self.keys.client(branch, method);
        let reliable = transport.is_reliable();
        let is_cancel = method == b"CANCEL";
        let (state, actions, invite) = if method == b"INVITE" {
            let (state, actions) = invite_client::start(reliable);
            (ClientState::Invite(state), actions, Some(repeated.clone()))
        } else {
            let (state, actions) = non_invite_client::start(reliable);
            (ClientState::NonInvite(state), actions, None)
        };
        let armed = Armed::default();
        let client = Client { state, to, transport, is_cancel, place: 0, invite, repeated, armed };
        let number = self.clients.insert(key, client);
        self.peers.add(number, &mut self.clients);
        self.act_client(number, actions, None, now);
        if let Some(client) = self.clients.get_mut(number).filter(|_| reliable) {
            client.repeated = Bytes::new();
        }
        ClientId(number)
    }

    pub(super) fn step_client(
        &mut self,
        number: u64,
        event: ClientEvent,
        response: Option<&Message>,
        now: Instant,
    ) -> ResponseFor {
        let Some(client) = self.clients.get_mut(number) else { return ResponseFor::Nothing };
        let actions = client.step(event);
        let passes_up = actions.contains(&Action::PassUp) && !client.is_cancel;
        self.act_client(number, actions, response, now);
        if passes_up { ResponseFor::Client(ClientId(number)) } else { ResponseFor::Nothing }
    }

    fn act_client(
        &mut self,
        number: u64,
        actions: &'static [Action],
        response: Option<&Message>,
        now: Instant,
    ) {
        let Some(client) = self.clients.get_mut(number) else { return };
        let to = client.to;
        let mut to_cancel = None;
        for action in actions {
            match *action {
                Action::SendRequest => {
                    self.outputs.push_back(TransactionOutput::Send { to, bytes: client.repeated.clone() });
                }
                Action::SendAck => {
                    let invite = client.invite.take().and_then(build::read_own);
                    if let (Some(invite), Some(response)) = (invite, response) {
                        client.repeated = build::ack(&invite, response);
                    }
                    self.outputs.push_back(TransactionOutput::Send { to, bytes: client.repeated.clone() });
                }
                Action::SendCancel => to_cancel = client.invite.clone().and_then(build::read_own),
                Action::TimedOut if client.is_cancel => {}
                Action::TimedOut => self.outputs.push_back(TransactionOutput::TimedOut(ClientId(number))),
                Action::SendFailed if client.is_cancel => {}
                Action::SendFailed => self.outputs.push_back(TransactionOutput::SendFailed(ClientId(number))),
                Action::Start(timer, after) => {
                    self.clock.start(&mut client.armed, Owner::Client(number), timer, after, now);
                }
                Action::Stop(timer) => self.clock.stop(&mut client.armed, timer),
                Action::PassUp => {}
                Action::Answer | Action::Resend => debug_assert!(false, "a server's action"),
            }
        }
        // It stays for another 64*T1, and nothing will be made of the INVITE any more.
        if client.is_accepted() {
            client.invite = None;
            client.repeated = Bytes::new();
        }
        let transport = client.transport;
        if client.is_terminated() {
            self.end_client(number);
        }
        // §9.1: the CANCEL runs in a transaction of its own.
        if let Some(invite) = to_cancel.filter(|_| self.clients.len() < 2 * self.capacity) {
            let branch = invite.top_via().branch().unwrap_or_default();
            let cancel = Outgoing { bytes: build::cancel(&invite), method: b"CANCEL", branch };
            self.start_client(cancel, to, transport, now);
        }
    }

    fn end_client(&mut self, number: u64) {
        self.peers.remove(number, &mut self.clients);
        if let Some(mut client) = self.clients.remove(number) {
            self.clock.stop_all(&mut client.armed);
            if !client.is_cancel {
                self.outputs.push_back(TransactionOutput::ClientGone(ClientId(number)));
            }
        }
    }
}
