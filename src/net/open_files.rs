//! Every relayed port takes a file descriptor: how many the settings may need, and how many we may have.

use std::collections::HashSet;
use std::net::IpAddr;

use super::udp;
use crate::edge::settings::Settings;
use crate::relay;

/// Listeners, pollers, files, and some connections. (When those run out, `stream::accept` says so.)
const OTHERS: u64 = 1_024;

/// Raises the limit as far as it goes, and warns if that is not enough for all relayed ports to be in use at once.
pub(super) fn raise(edge: &Settings, relay: &relay::Settings) {
    let needed = needed(edge, relay);
    match udp::raise_open_files() {
        Ok(limit) if limit >= needed => {}
        Ok(limit) => tracing::warn!(
            limit,
            needed,
            "too few open files for all of relay.ports: set LimitNOFILE={needed} (systemd) or `ulimit -Hn {needed}`, \
             or calls will fail before the ports are used up"
        ),
        Err(error) => tracing::warn!(%error, needed, "the limit of open files is not known"),
    }
}

/// With every port of every relay address in use.
fn needed(edge: &Settings, relay: &relay::Settings) -> u64 {
    let zones = edge.zones.iter().filter_map(|zone| zone.relay);
    let addresses = zones.map(|relay| relay.bind).collect::<HashSet<IpAddr>>().len();
    addresses as u64 * relay.ports.len() as u64 + OTHERS
}
