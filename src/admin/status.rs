//! `GET /status`: its JSON is an interface, so its names are written down here and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::turn::TurnReport;
use crate::net::Status;

/// What is live on a node.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    pub node: String,
    pub calls: usize,
    pub answered_calls: usize,
    /// Of those: with a side that is not heard.
    pub unheard_calls: usize,
    pub registrations: usize,
    pub connections: usize,
    pub server_transactions: usize,
    pub client_transactions: usize,
    pub relay_pairs: usize,
    pub relay_ports_taken: usize,
    pub relay_ports_total: usize,
    /// Since the start of the node, as the next six.
    pub media_packets: u64,
    pub media_bytes: u64,
    /// Dropped: from a stranger.
    pub media_refused_source: u64,
    /// Dropped: not valid media of the call.
    pub media_refused_payload: u64,
    /// Dropped: SRTP under another key.
    pub media_refused_authentication: u64,
    /// Dropped: SRTP that was there before.
    pub media_refused_replay: u64,
    /// Dropped: the far end was not known yet, or its socket was full.
    pub media_undeliverable: u64,
    pub targets: Vec<TargetReport>,
    /// Missing if there is no TURN server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnReport>,
}

/// A PBX host or a carrier's.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetReport {
    pub uri: String,
    pub up: bool,
}

impl StatusReport {
    /// Of the node `name`.
    pub fn new(name: &str, live: &Status) -> StatusReport {
        let Status { edge, connections, media, turn } = live;
        let target = |(uri, up): &(std::sync::Arc<str>, bool)| TargetReport { uri: uri.to_string(), up: *up };
        StatusReport {
            node: name.to_owned(),
            calls: edge.calls,
            answered_calls: edge.answered_calls,
            unheard_calls: edge.unheard_calls,
            registrations: edge.registrations,
            connections: *connections,
            server_transactions: edge.server_transactions,
            client_transactions: edge.client_transactions,
            relay_pairs: edge.relay.pairs,
            relay_ports_taken: edge.relay.ports_taken,
            relay_ports_total: edge.relay.ports_total,
            media_packets: media.packets,
            media_bytes: media.bytes,
            media_refused_source: media.refused_source,
            media_refused_payload: media.refused_payload,
            media_refused_authentication: media.refused_authentication,
            media_refused_replay: media.refused_replay,
            media_undeliverable: media.undeliverable,
            targets: edge.targets.iter().map(target).collect(),
            turn: turn.as_ref().map(TurnReport::new),
        }
    }
}

/// A table for people.
impl fmt::Display for StatusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<15} {value}");
        row("node", &self.node)?;
        let (answered, unheard) = (self.answered_calls, self.unheard_calls);
        row("calls", &format_args!("{} ({answered} answered, {unheard} with a side unheard)", self.calls))?;
        row("registrations", &self.registrations)?;
        row("connections", &self.connections)?;
        let (server, client) = (self.server_transactions, self.client_transactions);
        row("transactions", &format_args!("{server} server, {client} client"))?;
        let (pairs, taken, total) = (self.relay_pairs, self.relay_ports_taken, self.relay_ports_total);
        row("relay", &format_args!("{pairs} streams, {taken} of {total} ports"))?;
        row("media", &format_args!("{} packets, {} bytes", self.media_packets, self.media_bytes))?;
        let (strangers, invalid) = (self.media_refused_source, self.media_refused_payload);
        let (unauthentic, replayed) = (self.media_refused_authentication, self.media_refused_replay);
        let undeliverable = self.media_undeliverable;
        row(
            "media dropped",
            &format_args!(
                "{strangers} of strangers, {invalid} invalid, {unauthentic} not authentic, {replayed} replayed, \
                 {undeliverable} undeliverable"
            ),
        )?;
        for target in &self.targets {
            row(if target.up { "target up" } else { "target DOWN" }, &target.uri)?;
        }
        if let Some(turn) = &self.turn {
            write!(f, "{turn}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::ErrorCode;
    use crate::turn::forward::Reason;
    use crate::turn::totals::{Closed, Counters};

    #[test]
    fn people_and_machines_are_told_the_same() {
        let counted = Counters::default();
        counted.allocations.add(4);
        counted.permissions.add(6);
        counted.connections.add(1);
        counted.to_peers.pass(160);
        counted.count_refused(ErrorCode::UNAUTHENTICATED);
        counted.count_refused(ErrorCode::ALLOCATION_QUOTA_REACHED);
        counted.count_dropped(Reason::NoPermission);
        counted.count_closed(Closed::Garbage);
        let live = Status {
            edge: crate::edge::Status {
                calls: 3,
                answered_calls: 2,
                unheard_calls: 1,
                server_transactions: 4,
                client_transactions: 5,
                registrations: 17,
                relay: crate::relay::RelayUsage { pairs: 2, ports_taken: 8, ports_total: 10_000 },
                targets: vec![("sip:10.0.0.1".into(), true), ("sip:10.0.0.2".into(), false)],
            },
            connections: 21,
            media: crate::relay::Traffic {
                packets: 1_000,
                bytes: 172_000,
                refused_source: 3,
                refused_payload: 2,
                refused_authentication: 5,
                refused_replay: 4,
                undeliverable: 1,
                dtls_failed: 1,
            },
            turn: Some(counted.read()),
        };
        let report = StatusReport::new("edge-1", &live);
        let json = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<StatusReport>(&json).unwrap(), report);
        insta::assert_snapshot!(format!("{report}\n{json}"));
    }
}
