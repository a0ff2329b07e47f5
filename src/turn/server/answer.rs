//! From a request to its answer: who asks, may they, what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use super::allocate::Asked;
use super::{Output, Server};
use crate::base::{Now, PeerAddr};
use crate::stun::{ErrorCode, Message, Method, Type, Writer};
use crate::turn::FiveTuple;
use crate::turn::connection::{ConnectionId, Reply};
use crate::turn::credentials::{Denied, Granted};
use crate::turn::forward::Reason;
use crate::turn::request::{Request, unknown_required};
use crate::turn::rules::{No, Wish};
use crate::turn::sockets::RelaySockets;

/// What came of a request.
enum Success {
    /// This allocation stands.
    Allocated(usize),
    /// It lives for this long.
    Refreshed(Duration),
    /// There is nothing more to say.
    Done,
    /// The client's connection carries the data of this one from now on.
    Bound(ConnectionId),
    /// There is nothing to say yet.
    Later,
}

impl<S: RelaySockets> Server<S> {
    /// Answers a request to one of the TURN methods.
    pub(super) fn answer(&mut self, client: FiveTuple, message: &Message<'_>, now: Now) {
        match self.credentials.authenticate(message, client.source(), now) {
            Ok(granted) => self.answer_user(client, message, granted, now),
            Err(Denied::Refuse(code)) => {
                let mut bytes = Vec::new();
                self.counters.count_refused(code);
                self.credentials.refuse(message, code, client.client, now, &mut bytes);
                self.outputs.push_back(Output::Send { to: client, bytes });
            }
            Err(Denied::Silence) => {}
        }
    }

    fn answer_user(&mut self, client: FiveTuple, message: &Message<'_>, granted: Granted, now: Now) {
        let reply = Reply::to(message, granted.key.clone(), granted.hash);
        let outcome = self.perform(client, message, granted, &reply, now);
        let bytes = match &outcome {
            Ok(Success::Later) => return,
            Ok(success) => reply.success(|writer| self.write_success(writer, client, success)),
            Err(No::Silence) => return self.counters.count_dropped(Reason::Policy),
            Err(No::Answer(code)) => {
                self.counters.count_refused(*code);
                reply.error(*code, |writer| self.write_error(writer, client, message, *code))
            }
        };
        self.outputs.push_back(Output::Send { to: client, bytes });
        if let Ok(Success::Bound(connection)) = outcome {
            self.outputs.push_back(Output::Bound { connection, client });
        }
    }

    fn perform(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        granted: Granted,
        reply: &Reply,
        now: Now,
    ) -> Result<Success, No> {
        // RFC 8489 §6.3.1: after authentication, before all else.
        if unknown_required(message).next().is_some() {
            return Err(ErrorCode::UNKNOWN_ATTRIBUTE.into());
        }
        if self.bans.holds_user(&granted.user, now.instant) {
            return Err(ErrorCode::FORBIDDEN.into());
        }
        match message.method() {
            Method::ALLOCATE => self.perform_allocate(client, message, granted, now),
            Method::CONNECTION_BIND => Ok(self.perform_connection_bind(client, message, &granted.user)?),
            _ => self.perform_on_allocation(client, message, &granted, reply, now),
        }
    }

    fn perform_allocate(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        granted: Granted,
        now: Now,
    ) -> Result<Success, No> {
        let role = self.settings.roles.get(usize::from(granted.role.0)).ok_or(ErrorCode::FORBIDDEN)?.clone();
        let left = granted.left(now);
        let (transaction, user) = (message.transaction_id(), granted.user.clone());
        let mut asked = Asked { client, transaction, user, role, left, leave: None };
        if let Some(before) = self.allocated_before(&asked) {
            return Ok(Success::Allocated(before?));
        }
        let Request::Allocate { wanted, lifetime } = Request::read(message)? else {
            return Err(ErrorCode::BAD_REQUEST.into());
        };
        asked.leave = self.ask_rules(client, &granted, Wish::Allocate)?;
        Ok(Success::Allocated(self.allocate(asked, wanted, lifetime, now.instant)?))
    }

    /// RFC 6062 §5.4.
    fn perform_connection_bind(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        user: &str,
    ) -> Result<Success, ErrorCode> {
        let Request::ConnectionBind { connection } = Request::read(message)? else {
            return Err(ErrorCode::BAD_REQUEST);
        };
        // RFC 6062 §5.4: only over TCP or TLS; §4.3: on a connection of its own.
        if !client.is_stream() || self.by_client.contains_key(&client) {
            return Err(ErrorCode::BAD_REQUEST);
        }
        let worker = self.settings.place.owner(connection);
        if worker != self.settings.place.worker {
            let request = message.bytes().to_vec();
            self.outputs.push_back(Output::HandOver { client, worker, request });
            return Ok(Success::Later);
        }
        self.connection_bind(client, user, connection).map(|()| Success::Bound(connection))
    }

    fn perform_on_allocation(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        granted: &Granted,
        reply: &Reply,
        now: Now,
    ) -> Result<Success, No> {
        let slot = self.owned(client, &granted.user)?;
        let instant = now.instant;
        match Request::read(message)? {
            Request::Refresh { lifetime, family } => {
                if lifetime != Some(Duration::ZERO) {
                    self.ask_rules(client, granted, Wish::Refresh)?;
                }
                let granted = self.refresh(slot, lifetime, family, granted.left(now), instant)?;
                Ok(Success::Refreshed(granted))
            }
            Request::CreatePermission { peers } => {
                self.ask_of_peers(client, granted, peers.iter().map(SocketAddr::ip))?;
                self.create_permission(slot, &peers, instant)?;
                Ok(Success::Done)
            }
            Request::ChannelBind { number, peer } => {
                self.ask_of_peers(client, granted, [peer.ip()])?;
                self.channel_bind(slot, number, peer, instant)?;
                Ok(Success::Done)
            }
            Request::Connect { peer } => {
                self.ask_of_peers(client, granted, [peer.ip()])?;
                self.connect(slot, PeerAddr(peer), reply.clone(), instant)?;
                Ok(Success::Later)
            }
            Request::Allocate { .. } | Request::ConnectionBind { .. } => Err(ErrorCode::BAD_REQUEST.into()),
        }
    }

    fn write_success(&self, writer: &mut Writer<'_>, client: FiveTuple, success: &Success) {
        match *success {
            Success::Allocated(slot) => {
                let Some(allocation) = self.allocations.get(slot) else { return };
                for relayed in &allocation.row.relayed {
                    writer.put_xor_address(Type::XOR_RELAYED_ADDRESS, relayed.socket.addr.0);
                }
                put_lifetime(writer, allocation.birth.lifetime);
                if let Some(token) = allocation.birth.token {
                    writer.put(Type::RESERVATION_TOKEN, &token);
                }
                if let Some((family, code)) = allocation.birth.refused {
                    writer.put_address_error(family, code);
                }
                writer.put_xor_address(Type::XOR_MAPPED_ADDRESS, client.client.0);
            }
            Success::Refreshed(lifetime) => put_lifetime(writer, lifetime),
            Success::Done | Success::Bound(_) | Success::Later => {}
        }
    }

    fn write_error(
        &self,
        writer: &mut Writer<'_>,
        client: FiveTuple,
        message: &Message<'_>,
        code: ErrorCode,
    ) {
        if code == ErrorCode::UNKNOWN_ATTRIBUTE {
            writer.put_unknown(unknown_required(message));
        }
        if code == ErrorCode::TRY_ALTERNATE
            && let Some(alternate) = self.alternate(client)
        {
            writer.put_address(Type::ALTERNATE_SERVER, alternate);
        }
    }

    /// RFC 8489 §14.15, RFC 5389 §15.11: an alternate is of the family that the client came with.
    pub(super) fn alternate(&self, client: FiveTuple) -> Option<SocketAddr> {
        let alternates = self.alternates.as_deref().unwrap_or_default();
        alternates.iter().copied().find(|alternate| alternate.is_ipv4() == client.client.0.is_ipv4())
    }
}

fn put_lifetime(writer: &mut Writer<'_>, lifetime: Duration) {
    writer.put_u32(Type::LIFETIME, u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX));
}
