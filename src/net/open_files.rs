//! Every relayed port and every connection takes a file descriptor: how many the settings may need, and how many we may have.

use std::collections::HashSet;
use std::net::IpAddr;

use super::settings::NetSettings;
use super::udp;
use crate::edge::settings::Settings;
use crate::relay;

/// Listeners, pollers, files, and some SIP connections. (When those run out, `stream::accept` says so.)
const OTHERS: u64 = 1_024;

/// Raises the limit as far as it goes, and warns if that is not enough for all relayed ports, and all connections of TURN
/// clients, to be in use at once.
pub(super) fn raise(edge: &Settings, relay: &relay::Settings, net: &NetSettings) {
    let needed = needed(edge, relay, net);
    match udp::raise_open_files() {
        Ok(limit) if limit >= needed => {}
        Ok(limit) => tracing::warn!(
            limit,
            needed,
            "too few open files for all of relay.ports: set LimitNOFILE={needed} (systemd) or `ulimit -Hn {needed}`, \
             or calls and TURN allocations will fail before the ports are used up"
        ),
        Err(error) => tracing::warn!(%error, needed, "the limit of open files is not known"),
    }
}

/// With every port of every relay address in use, by calls or allocations, and every place of a connection if TURN clients may
/// have them.
fn needed(edge: &Settings, relay: &relay::Settings, net: &NetSettings) -> u64 {
    let turn = net.turn.iter().flat_map(|turn| &turn.addresses).map(|turn| turn.address);
    let addresses =
        edge.relay_addresses().chain(turn).map(|relay| relay.bind).collect::<HashSet<IpAddr>>().len();
    let mut turn_listeners = net.turn.iter().flat_map(|turn| &turn.listeners);
    let takes_connections = turn_listeners.any(|listener| !listener.transport.is_datagram());
    let connections = if takes_connections { net.capacity.connections } else { 0 };
    addresses as u64 * relay.ports.len() as u64 + connections as u64 + OTHERS
}
