//! Requests that have outgrown a datagram (RFC 3261 §18.1.1): they go to a UDP host over TCP, where our zone has a TCP listener that the host can
//! call back on, and as a datagram after all where the host takes no connection.

use super::Edge;
use super::context::{Context, Errand, Hop, Place};
use super::identify::Speaker;
use crate::base::{Now, Transport};
use crate::sip::transaction::Destination;

/// "within 200 bytes of the path MTU, or larger than 1300 bytes and the path MTU is unknown".
const LARGEST_DATAGRAM: usize = 1_300;

/// What our credentials add, when a request is challenged and goes again the same way.
const CREDENTIALS: usize = 400;

/// Why a request that went over TCP for its size alone does not arrive there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// The connection was refused, or could not be made.
    Refused,
    /// No answer came over it, or it is still being made: a firewall may swallow it.
    Silent,
}

impl Edge {
    /// The hop over TCP, if that is how `len` bytes have to go.
    pub(super) fn tcp_instead(&self, context: &Context, hop: &Hop, len: usize, now: Now) -> Option<Hop> {
        let Destination::Address { remote, transport: Transport::Udp, .. } = hop.to else { return None };
        let challenge_awaited =
            self.login_towards(context, hop.place).is_some_and(|trunk| !self.is_logged_in(trunk));
        let room = LARGEST_DATAGRAM - if challenge_awaited { CREDENTIALS } else { 0 };
        if len <= room || !self.is_host(context, hop) || !self.targets.takes_streams(remote, now.instant) {
            return None;
        }
        let listener = self.settings.tcp_listener(hop.zone, remote)?;
        let transport = Transport::Tcp;
        let remote = self.targets.stream_address(remote);
        let to = Destination::Address { listener, transport, remote, tls: u16::MAX };
        let tried = context.hops.iter().take(context.attempts.len()).any(|before| before.to == to);
        (!tried).then_some(Hop { to, transport, listener, ..*hop })
    }

    /// The same for an ACK with an answer in it. Nothing tells whether it arrived, but the next one for the same 2xx goes as a datagram if this one
    /// found no connection: so it must be a server of which that is remembered.
    pub(super) fn tcp_for_ack(&self, context: &Context, hop: &Hop, len: usize, now: Now) -> Option<Hop> {
        let Destination::Address { remote, .. } = hop.to else { return None };
        self.tcp_instead(context, hop, len, now).filter(|_| self.targets.has_server(remote))
    }

    /// A phone is reached over its flow and nowhere else; the PBX and trunks have addresses.
    fn is_host(&self, context: &Context, hop: &Hop) -> bool {
        match (hop.place, context.errand.call_and_side()) {
            (Place::Target(_), _) => true,
            (Place::Leg, Some((call, side))) => {
                let leg = self.calls.get(call).and_then(|call| call.leg(side));
                leg.is_some_and(|leg| leg.speaker != Speaker::Stranger)
            }
            (Place::Leg | Place::Binding(_), _) => false,
        }
    }

    /// The hop that is tried next is this one, over TCP.
    pub(super) fn take_stream(&mut self, context: &mut Context, tcp: Hop) {
        if let Some(hop) = context.hops.get_mut(context.attempts.len()) {
            context.datagram = Some(std::mem::replace(hop, tcp));
        }
        let leg = self.called_leg(&tcp);
        if let Errand::Call { call, .. } = context.errand
            && let Some(call) = self.calls.get_mut(call)
        {
            call.b = leg;
        }
    }

    /// The hop that was tried last does not take the request. True if that is for the TCP that its size asked for: then it goes as a datagram
    /// too, and for a while so do others. "the element SHOULD retry the request, using UDP" where the connection was refused; where it was
    /// silent, other hosts come first.
    pub(super) fn back_to_datagram(&mut self, context: &mut Context, why: NoStream, now: Now) -> bool {
        let Some(hop) = context.datagram.take() else { return false };
        let at = match why {
            NoStream::Refused => context.attempts.len(),
            NoStream::Silent => context.hops.len(),
        };
        context.hops.insert(at, hop);
        context.responses.one_more_target();
        if let Destination::Address { remote, .. } = hop.to {
            self.targets.no_streams(remote, now.instant);
        }
        true
    }
}
