//! Events as log lines: a call is `info`, what should wake someone is `warn`, what strangers do is limited per second.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tracing::{debug, info, warn};

use super::redact::{Escaped, Redacted};
use super::settings::Numbers;
use crate::base::{ListenerId, UnixTime};
use crate::edge::event::{Cdr, Event, Refused, Unheard};
use crate::policy;
use crate::sip::transaction::Source;

/// Lines of one kind that strangers can cause in one second; a flood is counted, not written.
const PER_SECOND: u32 = 50;

/// Writes events to the log.
#[derive(Debug)]
pub(super) struct Lines {
    numbers: Numbers,
    /// Their names, by [`ListenerId`].
    listeners: Vec<Arc<str>>,
    packets: Limited,
    refusals: Limited,
    handshakes: Limited,
    targets: Limited,
}

impl Lines {
    pub fn new(numbers: Numbers, listeners: Vec<Arc<str>>) -> Lines {
        let limited = Limited::default;
        Lines {
            numbers,
            listeners,
            packets: limited(),
            refusals: limited(),
            handshakes: limited(),
            targets: limited(),
        }
    }

    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::Refused(refused) => self.refused(refused),
            Event::Answered { call_id, setup } => {
                info!(call_id = %Escaped(call_id), setup_ms = setup.as_millis() as u64, "call answered");
            }
            Event::CallPeersFull { call_id } => {
                let most = crate::edge::CALL_PEERS_MAX;
                info!(call_id = %Escaped(call_id), most, "call names more media addresses than TURN clients may reach");
            }
            Event::Unheard { call_id, unheard } => {
                let Unheard { party, why, text, .. } = unheard;
                warn!(call_id = %Escaped(call_id), %party, why, "{text}");
            }
            Event::HungUp { call_id, hang_up } => {
                warn!(call_id = %Escaped(call_id), rule = %hang_up.rule, alert = hang_up.alert, "a policy ends the call");
            }
            Event::CallEnded(cdr) => self.ended(cdr),
            Event::Registered { user, remote, expires } => {
                info!(user = %self.number(user), %remote, expires_s = expires.as_secs(), "registered");
            }
            Event::Unregistered { user } => info!(user = %self.number(user), "unregistered"),
            Event::LoginRefused { trunk } => {
                warn!(%trunk, "the carrier refuses our name and password: check `auth` of this trunk");
            }
            Event::TrunkRegistered { trunk, registered: true } => {
                info!(%trunk, "registered with the carrier")
            }
            Event::TrunkRegistered { trunk, registered: false } => {
                warn!(%trunk, "not registered with the carrier: it refuses, or does not answer; tried again, more and more slowly");
            }
            Event::TargetHealth { target, up: true } => info!(%target, "target is up"),
            Event::TargetHealth { target, up: false } => warn!(%target, "target is down"),
            Event::Note(note) if note.alert => warn!(rule = %note.rule, would = ?note.would, "policy alert"),
            Event::Note(note) => info!(rule = %note.rule, would = ?note.would, "policy note"),
            Event::Alert { alert, .. } => self.alert(alert),
            Event::Malformed { listener, source, reason } => {
                debug!(listener = self.listener(*listener), %source, reason, "not a SIP message");
            }
            Event::Banned(ban) => {
                debug!(banned = %Escaped(&ban.banned.to_string()), reason = %Escaped(&ban.reason), "banned");
            }
            Event::CallRefused(_) | Event::Message(_) => {}
        }
    }

    /// What was read has a line of its own, which says `alert`.
    fn alert(&mut self, alert: &policy::Alert) {
        let Some(known) = alert.known.as_ref().filter(|known| known.stage == policy::Stage::Packets) else {
            return;
        };
        if let Some(unwritten) = self.packets.admit(alert.at) {
            warn!(rule = %alert.rule, source = %known.source, count = alert.count, unwritten, "packets, alert");
        }
    }

    fn refused(&mut self, refused: &Refused) {
        let Some(unwritten) = self.refusals.admit(refused.at) else { return };
        if unwritten > 0 {
            warn!(unwritten, "more requests were refused than are logged");
        }
        let Refused { rule, status, source, listener, method, call_id, to, alert, .. } = refused;
        let (method, call_id, to) = (Escaped(method), Escaped(call_id), self.number(to));
        let listener = self.listener(*listener);
        if *alert {
            warn!(%rule, status, %source, listener, %method, %call_id, %to, "refused, alert");
        } else {
            info!(%rule, status, %source, listener, %method, %call_id, %to, "refused");
        }
    }

    /// RFC 5922 failures included: the reason is rustls's.
    pub fn handshake_failed(
        &mut self,
        listener: ListenerId,
        remote: SocketAddr,
        error: &io::Error,
        at: UnixTime,
    ) {
        if let Some(unwritten) = self.handshakes.admit(at) {
            info!(listener = self.listener(listener), %remote, %error, unwritten, "handshake failed");
        }
    }

    pub fn target_failed(&mut self, target: &Source, error: &io::Error, at: UnixTime) {
        if let Some(unwritten) = self.targets.admit(at) {
            let Source { remote, transport, .. } = target;
            warn!(%remote, transport = transport.scheme(), %error, unwritten, "connection to a target failed");
        }
    }

    fn ended(&self, cdr: &Cdr) {
        let talked = cdr.talked();
        info!(
            call_id = %Escaped(&cdr.call_id),
            from = %self.number(&cdr.from),
            to = %self.number(&cdr.to),
            from_party = %cdr.from_party,
            to_party = %cdr.to_party,
            route = %cdr.route,
            rule = %cdr.rule,
            status = cdr.status,
            end = cdr.end,
            talked_s = talked.as_secs(),
            "call ended"
        );
    }

    fn listener(&self, ListenerId(index): ListenerId) -> &str {
        self.listeners.get(usize::from(index)).map_or("?", |name| name)
    }

    fn number<'t>(&self, text: &'t str) -> Redacted<'t> {
        Redacted(text, self.numbers)
    }
}

/// Lets so many through per second of the events' own time.
#[derive(Debug, Default)]
struct Limited {
    second: u64,
    written: u32,
    unwritten: u64,
}

impl Limited {
    /// `None`: too many. Else how many were kept back in the seconds before.
    fn admit(&mut self, UnixTime(at): UnixTime) -> Option<u64> {
        if self.second != at.as_secs() {
            self.second = at.as_secs();
            self.written = 0;
        }
        if self.written == PER_SECOND {
            self.unwritten += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_instead_of_written() {
        let mut limited = Limited::default();
        let at = |s| UnixTime(Duration::from_secs(s));
        let written = (0..100_000).filter(|_| limited.admit(at(1_000)).is_some()).count();
        assert_eq!(written, 50);
        assert_eq!(limited.admit(at(1_001)), Some(99_950));
        assert_eq!(limited.admit(at(1_001)), Some(0));
    }
}
