//! OPTIONS to the PBX's hosts, so that a call finds a live one at once.

use super::context::Waiting;
use super::event::Event;
use super::health::{Owner, TargetId, Way};
use super::{Edge, Timer};
use crate::base::Now;
use crate::sip::locate::{Server, Wanted};
use crate::sip::message::Message;
use crate::sip::proxy::branch::{Branch, LoopHash};
use crate::sip::proxy::forward::via;
use crate::sip::transaction::ClientId;

impl Edge {
    /// First verb of an edge's life: registrations with carriers and health probes begin. Without it the edge carries calls, but asks
    /// nobody.
    pub fn start(&mut self, now: Now) {
        for trunk in self.trunk_registrations.trunks() {
            self.register_trunk(trunk, now);
        }
        if self.settings.pbx.as_ref().is_some_and(|pbx| pbx.health.is_some()) {
            let hosts = self.targets.iter().filter(|(_, state)| state.owner == Owner::Pbx);
            for id in hosts.map(|(id, _)| id).collect::<Vec<TargetId>>() {
                self.probe(id, now);
            }
        }
        self.settle(now);
    }

    /// The DNS was asked (again) where the hosts are that `wanted` describes; empty: they cannot be found.
    pub fn handle_located(&mut self, wanted: &Wanted, servers: &[Server], _now: Now) {
        self.targets.located(wanted, servers);
    }

    /// Sends the next probe to a host. One that is still out by now counts as unanswered.
    pub(super) fn probe(&mut self, id: TargetId, now: Now) {
        let Some(health) = self.settings.pbx.as_ref().and_then(|pbx| pbx.health) else { return };
        self.timers.set(now.instant + health.options_every, Timer::Probe(id));
        if self.targets.get_mut(id).is_some_and(|state| state.probe.take().is_some()) {
            self.probe_result(id, false);
        }
        match self.send_probe(id, now) {
            Some(client) => {
                self.contexts.wait(client, Waiting::Probe(id));
                if let Some(state) = self.targets.get_mut(id) {
                    state.probe = Some(client);
                }
            }
            None => self.probe_result(id, false),
        }
    }

    fn send_probe(&mut self, id: TargetId, now: Now) -> Option<ClientId> {
        let number = self.rng.next_u64();
        let state = self.targets.get(id)?;
        let Way { to, transport, listener } = state.ways().next()?;
        let sent_by = &self.settings.listener(listener)?.advertise;
        let branch = Branch::mint(&self.settings.key, number, LoopHash(number));
        let via = via(transport, sent_by, &branch);
        let via = String::from_utf8_lossy(&via);
        let target = format!("sip:{}", state.target.host_and_port());
        let bytes = format!(
            "OPTIONS {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:turnpike@{sent_by}>;tag={number:x}\r\n\
             To: <{target}>\r\nCall-ID: probe-{number:x}@{name}\r\nCSeq: 1 OPTIONS\r\nContact: <sip:{sent_by}>\r\n\
             Accept: application/sdp\r\nContent-Length: 0\r\n\r\n",
            name = self.settings.name,
        );
        let request = Message::parse(bytes.into(), &self.settings.limits.message).ok()?;
        self.transactions.send_request(request, to, transport, now.instant)
    }

    /// Any answer is a sign of life, but one that says "not now".
    pub(super) fn probe_answered(&mut self, id: TargetId, status: u16) {
        if status >= 200 {
            self.probe_result(id, status != 503);
        }
    }

    /// Timer F fired, or it could not be sent. An older probe was counted when the next one went out.
    pub(super) fn probe_unanswered(&mut self, id: TargetId, probe: ClientId) {
        if self.targets.get(id).is_some_and(|state| state.probe == Some(probe)) {
            self.probe_result(id, false);
        }
    }

    fn probe_result(&mut self, id: TargetId, answered: bool) {
        if self.targets.probed(id, answered)
            && let Some(state) = self.targets.get(id)
        {
            self.tell(Event::TargetHealth { target: state.target.uri.clone(), up: state.up });
        }
    }
}
