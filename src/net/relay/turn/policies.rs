//! The node's policies, as its TURN servers ask them: the same engine that decides about calls.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::ListenerId;
use crate::net::settings::TurnListener;
use crate::net::shard::now;
use crate::policy::relay::{ALLOCATE, PERMISSION, REFRESH, status};
use crate::policy::{Facts, GaugeHold, Shared};
use crate::stun::ErrorCode;
use crate::turn::rules::{Leave, No, Question, Rules, Wish};

/// What a TURN server needs to ask. Clones ask the same policies.
#[derive(Clone, Debug)]
pub(in crate::net::relay) struct Policies {
    shared: Shared,
    /// Listeners of TURN are numbered behind those of SIP.
    first_listener: usize,
    /// By index of the TURN listener: TLS or DTLS.
    secure: Arc<[bool]>,
}

impl Policies {
    pub fn new(shared: Shared, sip_listeners: usize, listeners: &[TurnListener]) -> Policies {
        let secure = listeners.iter().map(|listener| listener.transport.is_secure()).collect();
        Policies { shared, first_listener: sip_listeners, secure }
    }

    fn listener(&self, listener: u16) -> ListenerId {
        ListenerId(u16::try_from(self.first_listener + usize::from(listener)).unwrap_or(u16::MAX))
    }
}

impl Rules for Policies {
    fn refuses_packet(&self, listener: u16, source: IpAddr) -> bool {
        self.shared.has_packet_rules()
            && self.shared.open().refuses_packet(source.to_canonical(), self.listener(listener), now())
    }

    fn ask(&self, question: &Question<'_>) -> Result<Option<Box<dyn Leave>>, No> {
        if !self.shared.speaks_of_relay() {
            return Ok(None);
        }
        let Question { client, user, role, wish } = *question;
        let (method, peer) = match wish {
            Wish::Allocate => (ALLOCATE, None),
            Wish::Refresh => (REFRESH, None),
            Wish::Peer(peer) => (PERMISSION, Some(peer)),
        };
        let facts = Facts {
            listener: self.listener(client.listener),
            method,
            tls: self.secure.get(usize::from(client.listener)).is_some_and(|secure| *secure),
            role: Some(role.0),
            peer,
            ..Facts::of_turn(client.client.0.ip().to_canonical(), user)
        };
        let (mut engine, now) = (self.shared.open(), now());
        match engine.decide(&facts, now) {
            Ok(permit) if wish == Wish::Allocate => {
                let held = Held {
                    shared: self.shared.clone(),
                    hold: permit.gauges,
                    carried: 0,
                    user: user.into(),
                    client: client.client.0,
                };
                Ok(Some(Box::new(held)))
            }
            Ok(permit) => {
                engine.release(permit.gauges, std::time::Duration::ZERO, now);
                Ok(None)
            }
            Err(refusal) => {
                engine.keep_refused_at_relay(&refusal, &facts, client.client.0, now);
                let status = status(&refusal.action, method);
                Err(status.map_or(No::Silence, |status| No::Answer(ErrorCode(status))))
            }
        }
    }
}

/// What policies hold an allocation for. Dropped with it, however it ends.
struct Held {
    shared: Shared,
    hold: GaugeHold,
    /// What they know of.
    carried: u64,
    user: Arc<str>,
    client: SocketAddr,
}

impl Leave for Held {
    fn counts_bytes(&self) -> bool {
        self.hold.counts_bytes()
    }

    fn relayed(&mut self, bytes: u64) -> bool {
        if bytes == self.carried {
            return true;
        }
        self.carried = bytes;
        let went_on = self.shared.open().relayed(&mut self.hold, bytes, now());
        if let Err(hang_up) = &went_on {
            let Held { user, client, .. } = self;
            tracing::warn!(?user, %client, rule = %hang_up.rule, alert = hang_up.alert, "a policy ends the TURN allocation");
        }
        went_on.is_ok()
    }

    fn ended(&mut self, bytes: u64) {
        if bytes != self.carried {
            self.carried = bytes;
            self.shared.open().relayed_at_last(&mut self.hold, bytes, now());
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let hold = std::mem::take(&mut self.hold);
        self.shared.open().release(hold, std::time::Duration::ZERO, now());
    }
}
