//! Counters for Prometheus. Labels are bounded: names from the configuration, and words of our own.

mod audio;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::base::Transport;
use crate::edge::Status;
use crate::edge::event::Event;
use crate::policy::hits::PolicyHits;
use crate::policy::settings::Mode;
use crate::relay::Traffic;
use crate::turn::totals::{Relayed, Totals};
use audio::Audio;

/// Distinct values of the label `rule`; further ones are counted as "other".
const RULES: usize = 200;
/// Upper bounds of the call setup times counted, seconds.
const SETUP_SECONDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0];

/// All metrics of the node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    refused: Family<[(&'static str, Arc<str>); 1], Counter>,
    hung_up: Family<[(&'static str, Arc<str>); 1], Counter>,
    rules: Mutex<HashSet<Arc<str>>>,
    answered: Counter,
    setup_seconds: Histogram,
    ended: Family<Word, Counter>,
    malformed: Family<Word, Counter>,
    registered: Counter,
    target_up: Family<[(&'static str, Arc<str>); 1], Gauge>,
    trunk_registered: Family<[(&'static str, Arc<str>); 1], Gauge>,
    cdrs_lost: Counter,
    /// Alerts on their way to the webhook.
    pub alerts: Alerts,
    connections_refused: Family<Word, Counter>,
    tls_failures: Counter,
    received: Bytes,
    sent: Bytes,
    media: Media,
    audio: Audio,
    turn: Turn,
    policy_hits: Family<[(&'static str, Arc<str>); 2], Counter>,
    bans: Gauge,
    live: Live,
}

/// Alerts on their way to the webhook.
#[derive(Debug)]
pub struct Alerts {
    /// Taken.
    pub sent: Counter,
    /// Attempts that failed.
    pub failed: Counter,
    /// Nobody will hear of.
    pub dropped: Counter,
    /// Not yet taken.
    pub waiting: Gauge,
}

/// A label whose values are our own words.
type Word = [(&'static str, &'static str); 1];

/// One counter for each of the transports that this build speaks.
#[derive(Debug)]
struct Bytes {
    udp: Counter,
    tcp: Counter,
    tls: Counter,
}

/// What the relay workers count: set when somebody asks.
#[derive(Debug)]
struct Media {
    packets: Counter,
    bytes: Counter,
    dtls_failed: Counter,
    dropped: Family<Word, Counter>,
}

/// What the TURN server counts: set when somebody asks.
#[derive(Debug)]
struct Turn {
    allocations: Gauge,
    permissions: Gauge,
    channels: Gauge,
    connections: Gauge,
    peer_connections: Gauge,
    packets: Family<Word, Counter>,
    bytes: Family<Word, Counter>,
    refused: Family<[(&'static str, u16); 1], Counter>,
    dropped: Family<Word, Counter>,
    closed: Family<Word, Counter>,
}

/// What is live: set when somebody asks.
#[derive(Debug)]
struct Live {
    transactions: Family<Word, Gauge>,
    calls: Gauge,
    answered_calls: Gauge,
    registrations: Gauge,
    relay_pairs: Gauge,
    relay_ports_taken: Gauge,
    relay_ports_total: Gauge,
    connections: Gauge,
}

impl Metrics {
    /// All at zero; the node's name is a label of each.
    pub fn new(node: &str) -> Metrics {
        let node = [("node".into(), node.to_owned().into())].into_iter();
        let mut registry = Registry::with_prefix_and_labels("turnpike", node);
        let r = &mut registry;
        let received = add(r, "sip_received_bytes", "SIP that arrived, keep-alives included");
        let sent = add(r, "sip_sent_bytes", "SIP that was queued to be sent");
        let setup_seconds = Histogram::new(SETUP_SECONDS);
        r.register("call_setup_seconds", "From INVITE to its 200", setup_seconds.clone());
        Metrics {
            refused: add(r, "requests_refused", "Requests refused, by rule"),
            rules: Mutex::default(),
            hung_up: add(r, "calls_hung_up", "Live calls that a policy ended, by rule"),
            answered: add(r, "calls_answered", "Calls answered"),
            setup_seconds,
            ended: add(r, "calls_ended", "Calls that are over, by how they ended"),
            malformed: add(r, "malformed", "What arrived and was no SIP message, by why"),
            registered: add(r, "registrations_made", "Registrations that succeeded through us"),
            target_up: add(r, "target_up", "1: the target answers; 0: it is left out"),
            trunk_registered: add(
                r,
                "trunk_registered",
                "1: we are registered with the carrier; 0: we should be",
            ),
            cdrs_lost: add(r, "cdrs_lost", "CDRs that could not be written"),
            alerts: Alerts::new(r),
            connections_refused: add(r, "connections_refused", "Connections closed at once, by why"),
            tls_failures: add(r, "tls_handshakes_failed", "Handshakes with TLS clients that failed"),
            received: Bytes::new(&received),
            sent: Bytes::new(&sent),
            media: Media::new(r),
            audio: Audio::new(r),
            turn: Turn::new(r),
            policy_hits: add(
                r,
                "policy_hits",
                "How often each rule spoke; in mode audit, would have decided",
            ),
            bans: add(r, "bans", "Sources, networks and users that are banned"),
            live: Live::new(r),
            registry,
        }
    }

    /// Counts an event.
    pub fn observe(&self, event: &Event) {
        match event {
            Event::Refused(refused) => {
                self.refused.get_or_create(&[("rule", self.rule_label(&refused.rule))]).inc();
            }
            Event::Answered { setup, .. } => {
                self.answered.inc();
                self.setup_seconds.observe(setup.as_secs_f64());
            }
            Event::CallEnded(cdr) => {
                self.ended.get_or_create(&[("end", cdr.end)]).inc();
                self.audio.observe(cdr);
            }
            Event::HungUp { hang_up, .. } => {
                self.hung_up.get_or_create(&[("rule", self.rule_label(&hang_up.rule))]).inc();
            }
            Event::Unheard { unheard, .. } => self.audio.observe_unheard(unheard),
            Event::Registered { .. } => {
                self.registered.inc();
            }
            Event::TargetHealth { target, up } => {
                self.target_up.get_or_create(&[("target", target.clone())]).set(i64::from(*up));
            }
            Event::TrunkRegistered { trunk, registered } => {
                let gauge = self.trunk_registered.get_or_create(&[("trunk", trunk.clone())]);
                gauge.set(i64::from(*registered));
            }
            Event::Malformed { reason, .. } => {
                self.malformed.get_or_create(&[("reason", *reason)]).inc();
            }
            Event::Unregistered { .. }
            | Event::Banned(_)
            | Event::LoginRefused { .. }
            | Event::CallPeersFull { .. }
            | Event::Note(_)
            | Event::CallRefused(_)
            | Event::Alert { .. }
            | Event::Message(_) => {}
        }
    }

    /// Rules have names from the configuration, so there are few; but a metric must not trust that.
    fn rule_label(&self, rule: &Arc<str>) -> Arc<str> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if rules.contains(rule) {
            return rule.clone();
        }
        if rules.len() == RULES {
            return "other".into();
        }
        rules.insert(rule.clone());
        rule.clone()
    }

    /// Bytes of SIP arrived.
    pub fn received(&self, transport: Transport, bytes: usize) {
        self.received.add(transport, bytes);
    }

    /// Bytes of SIP were queued to be sent.
    pub fn sent(&self, transport: Transport, bytes: usize) {
        self.sent.add(transport, bytes);
    }

    /// A connection was closed at once.
    pub fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// A TLS client did not get through its handshake.
    pub fn handshake_failed(&self) {
        self.tls_failures.inc();
    }

    /// A CDR could not be written; how many that makes.
    pub fn cdr_lost(&self) -> u64 {
        self.cdrs_lost.inc() + 1
    }

    /// How often each rule of the policies spoke, and how many bans last.
    pub fn set_policy(&self, policies: &[PolicyHits], bans: usize) {
        self.bans.set(bans as i64);
        let mut hits = BTreeMap::<[Arc<str>; 2], u64>::new();
        for policy in policies {
            let mode: Arc<str> = if policy.mode == Mode::Audit { "audit".into() } else { "enforce".into() };
            for rule in policy.rules.iter().filter(|rule| rule.hits > 0) {
                *hits.entry([self.rule_label(&rule.name), mode.clone()]).or_default() += rule.hits;
            }
        }
        for ([rule, mode], hits) in hits {
            set(&self.policy_hits.get_or_create(&[("rule", rule), ("mode", mode)]), hits);
        }
    }

    /// Everything in OpenMetrics text form; `live` is what is live now, `media` what was relayed up to now.
    pub fn text(&self, live: &Status, connections: usize, media: &Traffic, turn: Option<&Totals>) -> String {
        self.live.set(live, connections);
        self.media.set(media);
        if let Some(turn) = turn {
            self.turn.set(turn);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Makes a metric and registers it.
fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Bytes {
    fn new(family: &Family<Word, Counter>) -> Bytes {
        let counter = |transport: Transport| family.get_or_create_owned(&[("transport", transport.scheme())]);
        Bytes { udp: counter(Transport::Udp), tcp: counter(Transport::Tcp), tls: counter(Transport::Tls) }
    }

    fn add(&self, transport: Transport, bytes: usize) {
        let counter = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp | Transport::Ws => &self.tcp,
            Transport::Tls | Transport::Wss => &self.tls,
        };
        counter.inc_by(bytes as u64);
    }
}

impl Alerts {
    fn new(r: &mut Registry) -> Alerts {
        Alerts {
            sent: add(r, "alerts_sent", "Alerts that the webhook has taken"),
            failed: add(r, "alerts_failed", "Attempts to send an alert that failed; each is tried again"),
            dropped: add(
                r,
                "alerts_dropped",
                "Alerts that nobody will hear of: too many, too old, or refused by the webhook",
            ),
            waiting: add(r, "alerts_waiting", "Alerts that the webhook has not taken yet"),
        }
    }
}

impl Media {
    fn new(r: &mut Registry) -> Media {
        Media {
            packets: add(r, "media_packets", "Media packets relayed"),
            bytes: add(r, "media_bytes", "Their bytes (UDP payload)"),
            dtls_failed: add(r, "media_dtls_failed", "DTLS handshakes of calls that led to no media"),
            dropped: add(
                r,
                "media_dropped_packets",
                "Dropped: from a stranger (source), not valid media of the call (payload), SRTP under another key \
                 (authentication) or seen before (replay), far end not known yet or its socket full (undeliverable)",
            ),
        }
    }

    fn set(&self, media: &Traffic) {
        set(&self.dtls_failed, media.dtls_failed);
        set(&self.packets, media.packets);
        set(&self.bytes, media.bytes);
        for (reason, dropped) in [
            ("source", media.refused_source),
            ("payload", media.refused_payload),
            ("authentication", media.refused_authentication),
            ("replay", media.refused_replay),
            ("undeliverable", media.undeliverable),
        ] {
            set(&self.dropped.get_or_create(&[("reason", reason)]), dropped);
        }
    }
}

impl Turn {
    fn new(r: &mut Registry) -> Turn {
        Turn {
            allocations: add(r, "turn_allocations", "Live allocations"),
            permissions: add(r, "turn_permissions", "Their permissions"),
            channels: add(r, "turn_channels", "Their channels"),
            connections: add(r, "turn_connections", "TCP, TLS and DTLS connections of clients"),
            peer_connections: add(r, "turn_peer_connections", "TCP connections with peers (RFC 6062)"),
            packets: add(r, "turn_packets", "Packets relayed, by direction"),
            bytes: add(r, "turn_bytes", "Their bytes (payload)"),
            refused: add(r, "turn_requests_refused", "Requests refused, by error code"),
            dropped: add(r, "turn_dropped_packets", "Packets dropped, by why"),
            closed: add(r, "turn_connections_closed", "Connections of clients that we closed, by why"),
        }
    }

    fn set(&self, turn: &Totals) {
        let gauge = |gauge: &Gauge, value: u64| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(&self.allocations, turn.allocations);
        gauge(&self.permissions, turn.permissions);
        gauge(&self.channels, turn.channels);
        gauge(&self.connections, turn.connections);
        gauge(&self.peer_connections, turn.peer_connections);
        for (direction, Relayed { packets, bytes }) in
            [("to_peers", turn.to_peers), ("to_clients", turn.to_clients)]
        {
            let label = [("direction", direction)];
            set(&self.packets.get_or_create(&label), packets);
            set(&self.bytes.get_or_create(&label), bytes);
        }
        for (code, requests) in turn.refused() {
            set(&self.refused.get_or_create(&[("code", code.0)]), requests);
        }
        for (reason, packets) in turn.dropped() {
            set(&self.dropped.get_or_create(&[("reason", reason.name())]), packets);
        }
        for (why, connections) in turn.closed() {
            set(&self.closed.get_or_create(&[("reason", why.name())]), connections);
        }
    }
}

/// What others have counted.
fn set(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

impl Live {
    fn new(r: &mut Registry) -> Live {
        Live {
            transactions: add(r, "transactions", "Live transactions, by kind"),
            calls: add(r, "calls", "Live calls"),
            answered_calls: add(r, "calls_talking", "Live calls that were answered"),
            registrations: add(r, "registrations", "Phones that are registered through us"),
            relay_pairs: add(r, "relay_pairs", "Streams being relayed"),
            relay_ports_taken: add(r, "relay_ports_taken", "Relay ports in use"),
            relay_ports_total: add(r, "relay_ports_total", "Relay ports configured"),
            connections: add(r, "connections", "Open connections"),
        }
    }

    fn set(&self, live: &Status, connections: usize) {
        let set = |gauge: &Gauge, value: usize| {
            gauge.set(value as i64);
        };
        set(&self.transactions.get_or_create(&[("kind", "server")]), live.server_transactions);
        set(&self.transactions.get_or_create(&[("kind", "client")]), live.client_transactions);
        set(&self.calls, live.calls);
        set(&self.answered_calls, live.answered_calls);
        set(&self.registrations, live.registrations);
        set(&self.relay_pairs, live.relay.pairs);
        set(&self.relay_ports_taken, live.relay.ports_taken);
        set(&self.relay_ports_total, live.relay.ports_total);
        set(&self.connections, connections);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClientAddr, ListenerId, UnixTime};
    use crate::edge::event::Refused;
    use crate::policy::hits::RuleHits;
    use crate::policy::settings::Place;
    use crate::stun::ErrorCode;
    use crate::turn::forward::Reason;
    use crate::turn::totals::Counters;
    use std::time::Duration;

    fn refused(rule: &str) -> Event {
        Event::Refused(Refused {
            at: UnixTime(Duration::ZERO),
            rule: rule.into(),
            status: 403,
            source: ClientAddr("192.0.2.1:5060".parse().unwrap()),
            listener: ListenerId(0),
            method: "INVITE".into(),
            call_id: "a".into(),
            to: "1".into(),
            alert: false,
        })
    }

    #[test]
    fn a_refusal_is_counted_under_its_rule() {
        let metrics = Metrics::new("edge-1");
        metrics.observe(&refused("toll fraud / never premium"));
        metrics.observe(&refused("toll fraud / never premium"));
        metrics.received(Transport::Tls, 700);
        let media = Traffic { packets: 9, refused_payload: 2, ..Traffic::default() };
        let counted = Counters::default();
        counted.allocations.add(7);
        counted.to_clients.pass(160);
        counted.count_dropped(Reason::NoPermission);
        counted.count_refused(ErrorCode::UNAUTHENTICATED);
        let rule = |name: &str, hits| RuleHits { name: name.into(), place: Place::default(), hits };
        let rules = vec![rule("toll fraud / abroad", 12), rule("toll fraud / never", 0)];
        let audited = PolicyHits { name: "toll fraud".into(), mode: Mode::Audit, stages: vec![], rules };
        metrics.set_policy(&[audited], 3);
        let live = Status { calls: 3, ..Status::default() };
        let text = metrics.text(&live, 5, &media, Some(&counted.read()));
        for line in [
            r#"turnpike_requests_refused_total{node="edge-1",rule="toll fraud / never premium"} 2"#,
            r#"turnpike_sip_received_bytes_total{node="edge-1",transport="tls"} 700"#,
            r#"turnpike_media_packets_total{node="edge-1"} 9"#,
            r#"turnpike_media_dropped_packets_total{node="edge-1",reason="payload"} 2"#,
            r#"turnpike_turn_allocations{node="edge-1"} 7"#,
            r#"turnpike_turn_bytes_total{node="edge-1",direction="to_clients"} 160"#,
            r#"turnpike_turn_dropped_packets_total{node="edge-1",reason="no_permission"} 1"#,
            r#"turnpike_turn_requests_refused_total{node="edge-1",code="401"} 1"#,
            r#"turnpike_calls{node="edge-1"} 3"#,
            r#"turnpike_connections{node="edge-1"} 5"#,
            r#"turnpike_policy_hits_total{node="edge-1",rule="toll fraud / abroad",mode="audit"} 12"#,
            r#"turnpike_bans{node="edge-1"} 3"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn labels_are_bounded() {
        let metrics = Metrics::new("edge-1");
        for i in 0..1_000 {
            metrics.observe(&refused(&format!("rule {i}")));
        }
        let text = metrics.text(&Status::default(), 0, &Traffic::default(), None);
        assert_eq!(
            text.lines().filter(|l| l.starts_with("turnpike_requests_refused_total")).count(),
            RULES + 1
        );
        assert!(text.contains(r#"rule="other"} 800"#), "{text}");
    }
}
