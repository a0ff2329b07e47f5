//! OPTIONS to the hosts of the PBX and of trunks, so that a call finds a live one at once.

use super::context::{Context, Hop, Place, Waiting};
use super::event::Event;
use super::targets::{TargetId, Tried, Way};
use super::{Edge, Timer};
use crate::base::Now;
use crate::sip::locate::{Server, Wanted};
use crate::sip::message::Message;
use crate::sip::proxy::branch::{Branch, LoopHash};
use crate::sip::proxy::forward::via;
use crate::sip::transaction::{ClientId, Destination};

impl Edge {
    /// First verb of an edge's life: registrations with carriers and health probes begin. Without it the edge carries calls, but asks
    /// nobody.
    pub fn start(&mut self, now: Now) {
        self.authentication.start(now);
        for trunk in self.trunk_registrations.trunks() {
            self.register_trunk(trunk, now);
        }
        for id in self.targets.iter().map(|(id, _)| id).collect::<Vec<TargetId>>() {
            self.probe(id, now);
        }
        self.settle(now);
    }

    /// The DNS was asked (again) where the hosts are that `wanted` describes; empty: they cannot be found.
    pub fn handle_located(&mut self, wanted: &Wanted, servers: &[Server], _now: Now) {
        self.targets.located(wanted, servers);
    }

    /// Sends the next probes to a host, one to each of its servers. Those that are still out by now count as unanswered.
    pub(super) fn probe(&mut self, id: TargetId, now: Now) {
        let Some(state) = self.targets.get(id) else { return };
        let (Some(probing), ways) = (state.probing, state.all_ways()) else { return };
        self.timers.set(now.instant + probing.options_every, Timer::Probe(id));
        let news = self.targets.overdue(id, now.instant);
        self.tell_health(id, news);
        for way in ways {
            match self.send_probe(id, &way, now) {
                Some(client) => {
                    self.contexts.wait(client, Waiting::Probe(id, way.to));
                    self.targets.probing(id, &way.to, client);
                }
                None => self.host_tried(id, &way.to, Tried::Failed, now),
            }
        }
    }

    fn send_probe(&mut self, id: TargetId, way: &Way, now: Now) -> Option<ClientId> {
        let number = self.rng.next_u64();
        let state = self.targets.get(id)?;
        let Way { to, transport, listener } = *way;
        let sent_by = &self.settings.listener(listener)?.advertise;
        let branch = Branch::mint(&self.settings.key, number, LoopHash(number));
        let via = via(transport, sent_by, &branch);
        let via = String::from_utf8_lossy(&via);
        let target = format!("sip:{}", state.host_and_port);
        // Carriers that know us by name look for it in Contact and From: it is the one that the listener advertises.
        let bytes = format!(
            "OPTIONS {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:turnpike@{sent_by}>;tag={number:x}\r\n\
             To: <{target}>\r\nCall-ID: probe-{number:x}@{name}\r\nCSeq: 1 OPTIONS\r\n\
             Contact: <sip:{sent_by};transport={over}>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n",
            name = self.settings.name,
            over = transport.uri_param(),
        );
        let request = Message::parse(bytes.into(), &self.settings.limits.message).ok()?;
        self.transactions.send_request(request, to, transport, now.instant)
    }

    /// Any answer is a sign of life, but one that says "not now".
    pub(super) fn probe_answered(&mut self, id: TargetId, to: Destination, status: u16, now: Now) {
        if status >= 200 {
            let news = self.targets.probe_answered(id, &to, status != 503, now.instant);
            self.tell_health(id, news);
        }
    }

    /// Timer F fired, or it could not be sent.
    pub(super) fn probe_unanswered(&mut self, id: TargetId, to: Destination, probe: ClientId, now: Now) {
        let news = self.targets.probe_unanswered(id, &to, probe, now.instant);
        self.tell_health(id, news);
    }

    /// What became of a request that was sent to a hop: the next ones profit from it.
    pub(super) fn hop_tried(&mut self, context: &Context, index: usize, outcome: Tried, now: Now) {
        if let Some(Hop { to, place: Place::Target(id), .. }) = context.hops.get(index) {
            self.host_tried(*id, to, outcome, now);
        }
    }

    fn host_tried(&mut self, id: TargetId, to: &Destination, outcome: Tried, now: Now) {
        let news = self.targets.tried(id, to, outcome, now.instant);
        self.tell_health(id, news);
    }

    fn tell_health(&mut self, id: TargetId, news: Option<bool>) {
        if let (Some(up), Some(state)) = (news, self.targets.get(id)) {
            self.tell(Event::TargetHealth { target: state.target.uri.clone(), up });
        }
    }
}
