//! Flow ids (RFC 5626 §2). An IPv4 UDP flow's id *is* its listener and remote address, so no flood of forged sources
//! can push a phone's flow out of a table; IPv6 addresses do not fit and live in a bounded one; connections count up.
//!
//! What counts up begins at random: a token that this node's key sealed before a restart is still valid after it, and
//! must name no flow then rather than another phone's.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::base::{FlowId, ListenerId};

const UDP_V4: u64 = 1 << 63;
const UDP_V6: u64 = 1 << 62;
/// Bits of a slot in a UDP_V6 id; its serial number stands above them.
const SLOT_BITS: u32 = 24;

/// What a flow id says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// A connection.
    Connection,
    /// A UDP flow.
    Udp { listener: ListenerId, remote: SocketAddr },
    /// A UDP flow that was idle for so long that another took its place.
    Forgotten,
}

/// UDP flows, and the ids of connections.
#[derive(Debug)]
pub(super) struct Flows {
    connections: u64,
    v6: V6Flows,
}

impl Flows {
    /// `capacity` bounds the IPv6 UDP flows; `start` is random.
    pub fn new(capacity: usize, start: u64) -> Flows {
        // Half of the ids are left to count: for longer than any process runs.
        Flows { connections: start & (UDP_V6 / 2 - 1), v6: V6Flows::new(capacity, start >> 1) }
    }

    /// An id for a new connection.
    pub fn connection(&mut self) -> FlowId {
        self.connections += 1;
        FlowId(self.connections)
    }

    /// The id of a UDP flow.
    pub fn udp(&mut self, listener: ListenerId, remote: SocketAddr) -> FlowId {
        match remote {
            SocketAddr::V4(v4) => FlowId(
                UDP_V4
                    | u64::from(listener.0) << 48
                    | u64::from(u32::from(*v4.ip())) << 16
                    | u64::from(v4.port()),
            ),
            SocketAddr::V6(_) => self.v6.id(listener, remote),
        }
    }

    /// The id of a UDP flow, if it has one already: an IPv6 address is not remembered for being asked after.
    pub fn known_udp(&mut self, listener: ListenerId, remote: SocketAddr) -> Option<FlowId> {
        let is_known = remote.is_ipv4() || self.v6.by_remote.contains_key(&(listener, remote));
        is_known.then(|| self.udp(listener, remote))
    }

    /// Reads an id.
    pub fn get(&mut self, FlowId(id): FlowId) -> Flow {
        if id & UDP_V4 != 0 {
            let listener = ListenerId((id >> 48) as u16 & 0x7fff);
            let remote = SocketAddrV4::new(Ipv4Addr::from((id >> 16) as u32), id as u16);
            Flow::Udp { listener, remote: remote.into() }
        } else if id & UDP_V6 != 0 {
            self.v6.get(FlowId(id))
        } else {
            Flow::Connection
        }
    }
}

/// IPv6 UDP flows; when full, a slot that was not used since the hand last passed it makes room (the clock algorithm).
#[derive(Debug)]
struct V6Flows {
    by_remote: HashMap<(ListenerId, SocketAddr), usize>,
    slots: Vec<V6Flow>,
    hand: usize,
    serial: u64,
    capacity: usize,
}

#[derive(Debug)]
struct V6Flow {
    id: FlowId,
    listener: ListenerId,
    remote: SocketAddr,
    used: bool,
}

impl V6Flows {
    fn new(capacity: usize, serial: u64) -> V6Flows {
        let capacity = capacity.clamp(1, 1 << SLOT_BITS);
        V6Flows { by_remote: HashMap::new(), slots: Vec::new(), hand: 0, serial, capacity }
    }

    fn id(&mut self, listener: ListenerId, remote: SocketAddr) -> FlowId {
        if let Some(&slot) = self.by_remote.get(&(listener, remote)) {
            self.slots[slot].used = true;
            return self.slots[slot].id;
        }
        let slot = if self.slots.len() < self.capacity { self.slots.len() } else { self.evict() };
        self.serial += 1;
        let id = FlowId(UDP_V6 | self.serial << SLOT_BITS & (UDP_V6 - 1) | slot as u64);
        let flow = V6Flow { id, listener, remote, used: true };
        match self.slots.get_mut(slot) {
            Some(old) => *old = flow,
            None => self.slots.push(flow),
        }
        self.by_remote.insert((listener, remote), slot);
        id
    }

    fn evict(&mut self) -> usize {
        loop {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let flow = &mut self.slots[slot];
            if !std::mem::take(&mut flow.used) {
                self.by_remote.remove(&(flow.listener, flow.remote));
                return slot;
            }
        }
    }

    fn get(&mut self, id: FlowId) -> Flow {
        let slot = (id.0 & ((1 << SLOT_BITS) - 1)) as usize;
        match self.slots.get_mut(slot) {
            Some(flow) if flow.id == id => {
                flow.used = true;
                Flow::Udp { listener: flow.listener, remote: flow.remote }
            }
            _ => Flow::Forgotten,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(s: &str) -> SocketAddr {
        s.parse().unwrap()
    }

    #[test]
    fn a_udp_flow_is_found_again_by_its_id() {
        let mut flows = Flows::new(8, 0);
        for (listener, remote) in [(0, "0.0.0.0:0"), (7, "192.0.2.1:5060"), (0x7fff, "255.255.255.255:65535")]
        {
            let id = flows.udp(ListenerId(listener), addr(remote));
            assert_eq!(flows.get(id), Flow::Udp { listener: ListenerId(listener), remote: addr(remote) });
        }
        let id = flows.udp(ListenerId(3), addr("[2001:db8::1]:5060"));
        assert_eq!(id, flows.udp(ListenerId(3), addr("[2001:db8::1]:5060")));
        assert_eq!(flows.get(id), Flow::Udp { listener: ListenerId(3), remote: addr("[2001:db8::1]:5060") });
        let stranger = addr("[2001:db8::2]:5060");
        assert_eq!(flows.known_udp(ListenerId(3), addr("[2001:db8::1]:5060")), Some(id));
        assert_eq!(flows.known_udp(ListenerId(3), stranger), None);
        assert_eq!(flows.v6.slots.len(), 1);
        let connection = flows.connection();
        assert_eq!(flows.get(connection), Flow::Connection);
        assert_ne!(connection, flows.connection());
    }

    #[test]
    fn after_a_restart_an_old_id_names_nobody() {
        let v6 = |flows: &mut Flows| flows.udp(ListenerId(0), addr("[2001:db8::1]:5060"));
        let mut before = Flows::new(8, 0x1234_5678_9abc_def0);
        let mut after = Flows::new(8, u64::MAX);
        let old: Vec<_> = (0..1_000).map(|_| before.connection()).collect();
        assert!((0..1_000).all(|_| !old.contains(&after.connection())));
        let new = after.connection();
        assert_eq!(after.get(new), Flow::Connection);
        let old = v6(&mut before);
        assert_ne!(old, v6(&mut after));
        assert_eq!(after.get(old), Flow::Forgotten);
    }

    #[test]
    fn when_full_an_idle_ipv6_flow_makes_room_and_its_id_names_nobody_else() {
        let mut flows = Flows::new(2, u64::MAX);
        let a = flows.udp(ListenerId(0), addr("[2001:db8::a]:1"));
        let b = flows.udp(ListenerId(0), addr("[2001:db8::b]:1"));
        // Everybody was used: the hand goes round once and takes the first.
        let c = flows.udp(ListenerId(0), addr("[2001:db8::c]:1"));
        assert_eq!(flows.get(a), Flow::Forgotten);
        assert_ne!(a, c);
        // `b` was not used since the hand passed it, `c` is new.
        flows.udp(ListenerId(0), addr("[2001:db8::d]:1"));
        assert_eq!(flows.get(b), Flow::Forgotten);
        assert!(matches!(flows.get(c), Flow::Udp { .. }));
        assert_eq!(flows.v6.by_remote.len(), 2);
    }
}
