//! What never happens to connections with peers, whatever clients, peers and the kernel do and in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use turnpike::base::PeerAddr;
use turnpike::stun::{Method, Type};
use turnpike::turn::connection::ConnectionId;
use turnpike::turn::server::Output;

use crate::net::{tcp, wants_tcp};
use crate::world::{TCP, TCP_CALLS, World, addr};

#[derive(Clone, Debug)]
enum Step {
    Allocate { phone: usize },
    Refresh { phone: usize, seconds: u32 },
    Permit { phone: usize, peer: usize },
    Connect { phone: usize, peer: usize },
    PeerConnects { relayed: usize, peer: usize },
    KernelAnswers { nth: usize, well: bool },
    Bind { nth: usize, user: usize, port: u16 },
    Closed { port: u16 },
    Call { peer: usize, opens: bool },
    Wait { seconds: u64 },
}

const USERS: [&str; 2] = [TCP, TCP_CALLS];
const PEERS: [&str; 4] = ["192.0.2.1:9000", "192.0.2.1:9001", "192.0.2.2:9000", "10.0.0.1:22"];

fn phone_at(n: usize) -> &'static str {
    ["198.51.100.1:1", "198.51.100.1:2"][n]
}

fn steps() -> impl Strategy<Value = Step> {
    let (two, peer, port) = (0..2usize, 0..PEERS.len(), 10..14u16);
    prop_oneof![
        2 => two.clone().prop_map(|phone| Step::Allocate { phone }),
        1 => (two.clone(), prop_oneof![Just(0), Just(700)])
            .prop_map(|(phone, seconds)| Step::Refresh { phone, seconds }),
        3 => (two.clone(), peer.clone()).prop_map(|(phone, peer)| Step::Permit { phone, peer }),
        6 => (two.clone(), peer.clone()).prop_map(|(phone, peer)| Step::Connect { phone, peer }),
        4 => (two.clone(), peer.clone()).prop_map(|(relayed, peer)| Step::PeerConnects { relayed, peer }),
        6 => (0..6usize, any::<bool>()).prop_map(|(nth, well)| Step::KernelAnswers { nth, well }),
        6 => (0..6usize, two, port.clone()).prop_map(|(nth, user, port)| Step::Bind { nth, user, port }),
        2 => port.prop_map(|port| Step::Closed { port }),
        4 => (peer, any::<bool>()).prop_map(|(peer, opens)| Step::Call { peer, opens }),
        2 => prop_oneof![Just(1u64), Just(29), Just(30), Just(300)].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// What the kernel and the network know: which connections there are, and which clients' connections carry them.
#[derive(Default)]
struct Kernel {
    connections: BTreeMap<u32, (PeerAddr, bool)>,
    carriers: BTreeMap<u16, u32>,
    calls: BTreeMap<usize, u32>,
}

impl Kernel {
    fn nth(&self, nth: usize) -> Option<ConnectionId> {
        self.connections.keys().nth(nth).map(|id| ConnectionId(*id))
    }

    fn is_called(&self, peer: PeerAddr) -> bool {
        self.calls.iter().any(|(named, calls)| addr(PEERS[*named]) == peer.0 && *calls > 0)
    }

    fn see(&mut self, world: &mut World) {
        for output in world.outputs() {
            match output {
                Output::Connect { connection, to, .. } => {
                    assert!(!to.0.ip().to_string().starts_with("10."), "reached inside");
                    assert!(self.connections.insert(connection.0, (to, false)).is_none(), "named twice");
                }
                Output::Bound { connection, client } => {
                    assert!(self.connections.contains_key(&connection.0), "bound to nothing");
                    let before = self.carriers.insert(client.client.0.port(), connection.0);
                    assert_eq!(before, None, "one connection carries two");
                }
                Output::Disconnect { connection } => {
                    assert!(self.connections.remove(&connection.0).is_some(), "closed twice");
                    self.carriers.retain(|_, carried| *carried != connection.0);
                }
                _ => {}
            }
        }
    }
}

fn step(world: &mut World, kernel: &mut Kernel, step: Step) {
    match step {
        Step::Allocate { phone } => {
            let phone = world.phone(tcp(phone_at(phone)), USERS[phone]);
            world.start_quietly(&phone, Method::ALLOCATE, wants_tcp);
        }
        Step::Refresh { phone, seconds } => {
            let phone = world.phone(tcp(phone_at(phone)), USERS[phone]);
            world.start_quietly(&phone, Method::REFRESH, |w| _ = w.put_u32(Type::LIFETIME, seconds));
        }
        Step::Permit { phone, peer } => {
            let phone = world.phone(tcp(phone_at(phone)), USERS[phone]);
            let peer = addr(PEERS[peer]);
            world.start_quietly(&phone, Method::CREATE_PERMISSION, |w| {
                w.put_xor_address(Type::XOR_PEER_ADDRESS, peer);
            });
        }
        Step::Connect { phone, peer } => {
            let phone = world.phone(tcp(phone_at(phone)), USERS[phone]);
            let peer = addr(PEERS[peer]);
            world.start_quietly(&phone, Method::CONNECT, |w| {
                _ = w.put_xor_address(Type::XOR_PEER_ADDRESS, peer)
            });
        }
        Step::PeerConnects { relayed, peer } => {
            let open: Vec<u64> = world.ports.lock().unwrap().open.keys().copied().collect();
            let Some(id) = open.get(relayed) else { return };
            let (socket, peer) = (turnpike::turn::sockets::RelaySocketId(*id), PeerAddr(addr(PEERS[peer])));
            // The kernel makes no second connection between the same two addresses.
            if kernel.connections.values().any(|(other, _)| *other == peer) {
                return;
            }
            if let Some(id) = world.server.handle_accepted(socket, peer, world.now.instant) {
                kernel.connections.insert(id.0, (peer, true));
            }
        }
        Step::KernelAnswers { nth, well } => {
            let Some(id) = kernel.nth(nth) else { return };
            let known = kernel.connections.get_mut(&id.0).unwrap();
            if well && !known.1 {
                known.1 = true;
                world.server.handle_connected(id, world.now.instant);
            } else if !well {
                world.server.handle_disconnected(id);
            }
        }
        Step::Bind { nth, user, port } => {
            if kernel.carriers.contains_key(&port) {
                return;
            }
            let id = kernel.nth(nth).map_or(7, |id| id.0);
            let phone = world.phone(tcp(&format!("198.51.100.1:{port}")), USERS[user]);
            world.start_quietly(&phone, Method::CONNECTION_BIND, |w| _ = w.put_u32(Type::CONNECTION_ID, id));
        }
        Step::Closed { port } => world.server.handle_closed(tcp(&format!("198.51.100.1:{port}"))),
        Step::Call { peer, opens } => {
            let named = PeerAddr(addr(PEERS[peer]));
            let calls = kernel.calls.entry(peer).or_default();
            if opens {
                *calls += 1;
                world.server.open_call_peer(named);
            } else {
                *calls = calls.saturating_sub(1);
                world.server.close_call_peer(named);
            }
        }
        Step::Wait { seconds } => world.wait(seconds),
    }
    kernel.see(world);
}

impl World {
    /// Hands a request in and leaves what comes of it to others.
    fn start_quietly(
        &mut self,
        phone: &crate::world::Phone,
        method: Method,
        fill: impl FnOnce(&mut turnpike::stun::Writer<'_>),
    ) {
        let id = self.id();
        let request = crate::world::signed(phone, method, id, fill);
        self.server.handle_client(phone.from, &request, self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_books_the_kernel_and_the_calls_agree_and_nothing_is_left(
        steps in prop::collection::vec(steps(), 1..120),
    ) {
        let mut world = World::new();
        let mut kernel = Kernel::default();
        for next in steps {
            step(&mut world, &mut kernel, next);
            prop_assert_eq!(world.books.peer_connections(), kernel.connections.len());
            prop_assert_eq!(world.server.counters().read().peer_connections, kernel.connections.len() as u64);
            for allocation in world.server.allocations().filter(|allocation| *allocation.user == *TCP_CALLS) {
                for id in &allocation.connections {
                    let (peer, _) = kernel.connections[&id.0];
                    prop_assert!(kernel.is_called(peer), "{} after its call", peer.0);
                }
            }
        }
        world.wait(3600);
        kernel.see(&mut world);
        prop_assert!(kernel.connections.is_empty() && kernel.carriers.is_empty());
        world.assert_empty();
    }
}
