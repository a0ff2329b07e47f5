//! From a request to its answer: who asks, may they, what came of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::allocate::Asked;
use super::{Output, Server};
use crate::base::Now;
use crate::stun::{ErrorCode, Message, Method, Type, Writer};
use crate::turn::FiveTuple;
use crate::turn::credentials::{Denied, Granted};
use crate::turn::request::{KNOWN, Request};
use crate::turn::sockets::RelaySockets;

/// What came of a request.
enum Success {
    /// This allocation stands.
    Allocated(usize),
    /// It lives for this long.
    Refreshed(Duration),
    /// There is nothing more to say.
    Done,
}

impl<S: RelaySockets> Server<S> {
    /// Answers a request to one of the TURN methods.
    pub(super) fn answer(&mut self, client: FiveTuple, message: &Message<'_>, now: Now) {
        let mut bytes = Vec::new();
        match self.credentials.authenticate(message, client.source(), now) {
            Ok(granted) => self.answer_user(client, message, &granted, now, &mut bytes),
            Err(Denied::Refuse(code)) => {
                self.counters.count_refused(code);
                self.credentials.refuse(message, code, client.client, now, &mut bytes)
            }
            Err(Denied::Silence) => return,
        }
        self.outputs.push_back(Output::Send { to: client, bytes });
    }

    fn answer_user(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        granted: &Granted,
        now: Now,
        bytes: &mut Vec<u8>,
    ) {
        let mut writer = match self.perform(client, message, granted, now.instant) {
            Ok(success) => {
                let mut writer = Writer::success(bytes, message);
                self.write_success(&mut writer, client, success);
                writer
            }
            Err(code) => {
                self.counters.count_refused(code);
                let mut writer = Writer::error(bytes, message, code, code.reason());
                self.write_error(&mut writer, client, message, code);
                writer
            }
        };
        writer.add_integrity(&granted.key, granted.hash);
        if message.has_fingerprint() {
            writer.add_fingerprint();
        }
    }

    fn perform(
        &mut self,
        client: FiveTuple,
        message: &Message<'_>,
        granted: &Granted,
        now: Instant,
    ) -> Result<Success, ErrorCode> {
        // RFC 8489 §6.3.1: after authentication, before all else.
        if message.unknown_required(KNOWN).next().is_some() {
            return Err(ErrorCode::UNKNOWN_ATTRIBUTE);
        }
        if message.method() == Method::ALLOCATE {
            let role =
                self.settings.roles.get(usize::from(granted.role.0)).ok_or(ErrorCode::FORBIDDEN)?.clone();
            let asked =
                Asked { client, transaction: message.transaction_id(), user: granted.user.clone(), role };
            if let Some(before) = self.allocated_before(&asked) {
                return before.map(Success::Allocated);
            }
            let Request::Allocate { wanted, lifetime } = Request::read(message)? else {
                return Err(ErrorCode::BAD_REQUEST);
            };
            return self.allocate(asked, wanted, lifetime, now).map(Success::Allocated);
        }
        let slot = self.owned(client, &granted.user)?;
        match Request::read(message)? {
            Request::Refresh { lifetime, family } => {
                self.refresh(slot, lifetime, family, now).map(Success::Refreshed)
            }
            Request::CreatePermission { peers } => {
                self.create_permission(slot, &peers, now).map(|()| Success::Done)
            }
            Request::ChannelBind { number, peer } => {
                self.channel_bind(slot, number, peer, now).map(|()| Success::Done)
            }
            Request::Allocate { .. } => Err(ErrorCode::BAD_REQUEST),
        }
    }

    fn write_success(&self, writer: &mut Writer<'_>, client: FiveTuple, success: Success) {
        match success {
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
            Success::Done => {}
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
            writer.put_unknown(message.unknown_required(KNOWN));
        }
        if code == ErrorCode::TRY_ALTERNATE
            && let Some(alternate) = self.alternate(client)
        {
            writer.put_address(Type::ALTERNATE_SERVER, alternate);
        }
    }

    /// RFC 8489 §14.15: an alternate is of the family that the client came with.
    pub(super) fn alternate(&self, client: FiveTuple) -> Option<SocketAddr> {
        let alternates = self.alternates.as_deref().unwrap_or_default();
        alternates.iter().copied().find(|alternate| alternate.is_ipv4() == client.client.0.is_ipv4())
    }
}

fn put_lifetime(writer: &mut Writer<'_>, lifetime: Duration) {
    writer.put_u32(Type::LIFETIME, u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX));
}
