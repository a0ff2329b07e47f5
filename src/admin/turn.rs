//! What `GET /status` says of TURN, and `GET /turn/allocations`. No secret of anybody stands in either.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::net::TurnAllocation;
use crate::sip::message::escape_for_log;
use crate::turn::forward::Traffic;
use crate::turn::totals::{Relayed, Totals};

/// The TURN server in numbers.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnReport {
    pub allocations: u64,
    pub permissions: u64,
    pub channels: u64,
    /// TCP, TLS and DTLS connections of clients.
    pub connections: u64,
    /// TCP connections with peers (RFC 6062).
    pub peer_connections: u64,
    /// Since the start of the node, as the next six.
    pub to_peers_packets: u64,
    pub to_peers_bytes: u64,
    pub to_clients_packets: u64,
    pub to_clients_bytes: u64,
    /// Requests, by error code; codes that nobody got are left out.
    pub refused: BTreeMap<u16, u64>,
    /// Packets, by reason (docs/turn.md); reasons that did not occur are left out.
    pub dropped: BTreeMap<String, u64>,
    /// Connections of clients that we closed, by reason, likewise.
    pub closed: BTreeMap<String, u64>,
}

impl TurnReport {
    pub(super) fn new(totals: &Totals) -> TurnReport {
        let (Relayed { packets, bytes }, to_clients) = (totals.to_peers, totals.to_clients);
        let named = |(name, count): (&str, u64)| (count > 0).then(|| (name.to_owned(), count));
        TurnReport {
            allocations: totals.allocations,
            permissions: totals.permissions,
            channels: totals.channels,
            connections: totals.connections,
            peer_connections: totals.peer_connections,
            to_peers_packets: packets,
            to_peers_bytes: bytes,
            to_clients_packets: to_clients.packets,
            to_clients_bytes: to_clients.bytes,
            refused: totals.refused().filter(|(_, n)| *n > 0).map(|(code, n)| (code.0, n)).collect(),
            dropped: totals.dropped().filter_map(|(reason, n)| named((reason.name(), n))).collect(),
            closed: totals.closed().filter_map(|(why, n)| named((why.name(), n))).collect(),
        }
    }
}

/// Rows of the table for people.
impl fmt::Display for TurnReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: fmt::Arguments<'_>| writeln!(f, "{name:<15} {value}");
        let (allocations, permissions, channels) = (self.allocations, self.permissions, self.channels);
        row(
            "turn",
            format_args!("{allocations} allocations, {permissions} permissions, {channels} channels"),
        )?;
        let (clients, peers) = (self.connections, self.peer_connections);
        row("turn connected", format_args!("{clients} clients (TCP, TLS, DTLS), {peers} peers (TCP)"))?;
        row(
            "turn to peers",
            format_args!("{} packets, {} bytes", self.to_peers_packets, self.to_peers_bytes),
        )?;
        let (packets, bytes) = (self.to_clients_packets, self.to_clients_bytes);
        row("turn to clients", format_args!("{packets} packets, {bytes} bytes"))?;
        let refused = self.refused.iter().map(|(code, requests)| format!("{requests} with {code}"));
        let of = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>()
        };
        for (name, counts) in [
            ("turn refused", refused.collect()),
            ("turn dropped", of(&self.dropped)),
            ("turn closed", of(&self.closed)),
        ] {
            if !counts.is_empty() {
                row(name, format_args!("{}", counts.join(", ")))?;
            }
        }
        Ok(())
    }
}

/// Every allocation of a node, by user.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationsReport {
    pub node: String,
    pub users: Vec<UserReport>,
    pub allocations: Vec<AllocationReport>,
}

/// What one user has.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserReport {
    pub user: String,
    pub allocations: usize,
    pub relayed_addresses: usize,
    pub to_peers: TrafficReport,
    pub to_client: TrafficReport,
}

/// One allocation.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationReport {
    pub user: String,
    pub client: SocketAddr,
    pub transport: String,
    pub relayed: Vec<SocketAddr>,
    /// Until it goes, unless it is refreshed.
    pub seconds_left: u64,
    pub permissions: usize,
    pub channels: usize,
    pub to_peers: TrafficReport,
    pub to_client: TrafficReport,
}

/// One direction.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficReport {
    pub packets: u64,
    /// Of payload.
    pub bytes: u64,
    /// Packets that were not relayed: no permission, no channel, too much.
    pub dropped: u64,
}

impl From<Traffic> for TrafficReport {
    fn from(Traffic { packets, bytes, dropped }: Traffic) -> TrafficReport {
        TrafficReport { packets, bytes, dropped }
    }
}

impl TrafficReport {
    fn add(&mut self, other: TrafficReport) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
    }
}

impl AllocationsReport {
    /// Of the node `name`.
    pub fn new(name: &str, listed: &[TurnAllocation]) -> AllocationsReport {
        let mut allocations: Vec<AllocationReport> = listed.iter().map(AllocationReport::new).collect();
        allocations.sort_by(|a, b| (&a.user, a.client, &a.relayed).cmp(&(&b.user, b.client, &b.relayed)));
        let users = allocations.chunk_by(|a, b| a.user == b.user).map(UserReport::new).collect();
        AllocationsReport { node: name.to_owned(), users, allocations }
    }

    /// Only what `user` has.
    pub fn of_user(mut self, user: &str) -> AllocationsReport {
        self.users.retain(|has| has.user == user);
        self.allocations.retain(|allocation| allocation.user == user);
        self
    }
}

impl UserReport {
    fn new(allocations: &[AllocationReport]) -> UserReport {
        let (mut to_peers, mut to_client) = (TrafficReport::default(), TrafficReport::default());
        for allocation in allocations {
            to_peers.add(allocation.to_peers);
            to_client.add(allocation.to_client);
        }
        UserReport {
            user: allocations.first().map(|first| first.user.clone()).unwrap_or_default(),
            allocations: allocations.len(),
            relayed_addresses: allocations.iter().map(|allocation| allocation.relayed.len()).sum(),
            to_peers,
            to_client,
        }
    }
}

impl AllocationReport {
    fn new(allocation: &TurnAllocation) -> AllocationReport {
        let listed = &allocation.listed;
        AllocationReport {
            user: listed.user.to_string(),
            client: listed.client.client.0,
            transport: allocation.transport.name().to_owned(),
            relayed: listed.relayed.iter().map(|relayed| relayed.0).collect(),
            seconds_left: listed.left.as_secs(),
            permissions: listed.permissions,
            channels: listed.channels,
            to_peers: listed.to_peers.into(),
            to_client: listed.to_client.into(),
        }
    }
}

/// A table for people: each user, and under the name what they have.
impl fmt::Display for AllocationsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.allocations.is_empty() {
            return writeln!(f, "no allocations");
        }
        let [client, over, relayed, left, allowed, sent, received] =
            ["client", "over", "relayed", "left", "allowed", "sent", "received"];
        writeln!(f, "  {client:<22} {over:<4} {relayed:<22} {left:>6} {allowed:<9} {sent:<34} {received}")?;
        let each = self.allocations.chunk_by(|a, b| a.user == b.user);
        for (user, allocations) in self.users.iter().zip(each) {
            writeln!(f, "{user}")?;
            for allocation in allocations {
                write!(f, "{allocation}")?;
            }
        }
        writeln!(
            f,
            "allowed: permissions/channels; sent: by the client; dropped: without a permission, or too much"
        )
    }
}

impl fmt::Display for UserReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.allocations == 1 { "" } else { "s" };
        // Whoever issues short-lived credentials may have written anything into the name.
        let user = escape_for_log(self.user.as_bytes());
        let (sent, received) = (self.to_peers, self.to_client);
        write!(f, "{user}: {} allocation{plural}; sent {sent}; received {received}", self.allocations)
    }
}

/// One row, and one more for a second relayed address.
impl fmt::Display for AllocationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut relayed = self.relayed.iter().map(SocketAddr::to_string);
        let (client, first) = (self.client.to_string(), relayed.next().unwrap_or_default());
        let allowed = format!("{}/{}", self.permissions, self.channels);
        let (left, sent, received) =
            (format!("{} s", self.seconds_left), self.to_peers.to_string(), self.to_client);
        writeln!(
            f,
            "  {client:<22} {:<4} {first:<22} {left:>6} {allowed:<9} {sent:<34} {received}",
            self.transport
        )?;
        relayed.try_for_each(|second| writeln!(f, "  {:<22} {:<4} {second}", "", ""))
    }
}

impl fmt::Display for TrafficReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets, {} bytes", self.packets, self.bytes)?;
        if self.dropped > 0 {
            write!(f, " ({} dropped)", self.dropped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClientAddr, FlowId, RelayedAddr};
    use crate::net::settings::TurnTransport;
    use crate::turn::allocation::Listed;
    use crate::turn::{Carrier, FiveTuple};

    fn allocation(user: &str, client: &str, transport: TurnTransport, relayed: &[&str]) -> TurnAllocation {
        let client = ClientAddr(client.parse().unwrap());
        TurnAllocation {
            transport,
            listed: Listed {
                user: user.into(),
                client: FiveTuple { flow: FlowId(1), listener: 0, client, carrier: Carrier::Udp },
                relayed: relayed.iter().map(|relayed| RelayedAddr(relayed.parse().unwrap())).collect(),
                left: std::time::Duration::from_millis(599_900),
                permissions: 2,
                channels: 1,
                to_peers: Traffic { packets: 50, bytes: 8000, dropped: 1 },
                to_client: Traffic { packets: 49, bytes: 7840, dropped: 0 },
            },
        }
    }

    #[test]
    fn who_relays_is_told_by_user_to_people_and_machines() {
        let listed = [
            allocation("bob\u{1b}[2J", "198.51.100.9:5000", TurnTransport::Tls, &["203.0.113.10:40002"]),
            allocation("alice", "198.51.100.8:5000", TurnTransport::Udp, &["203.0.113.10:40004"]),
            allocation(
                "alice",
                "[2001:db8::7]:5000",
                TurnTransport::Dtls,
                &["203.0.113.10:40006", "[2001:db8::10]:40000"],
            ),
        ];
        let report = AllocationsReport::new("edge-1", &listed);
        let of_bob = report.clone().of_user("bob\u{1b}[2J");
        assert_eq!((of_bob.users.len(), of_bob.allocations.len()), (1, 1));
        let json = serde_json::to_string_pretty(&of_bob).unwrap();
        assert_eq!(serde_json::from_str::<AllocationsReport>(&json).unwrap(), of_bob);
        insta::assert_snapshot!(format!("{report}\n{json}"));
        assert_eq!(report.of_user("mallory").to_string(), "no allocations\n");
    }
}
