//! A running node relays TURN without allocating: counted over all its threads, with real sockets.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

#[path = "support/counting.rs"]
mod counting;
#[path = "support/turn_client.rs"]
mod turn_client;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use turnpike::net::{Node, NodeSettings};
use turnpike::{config, stun};

use turn_client::TurnClient;

const CONFIG: &str = r#"
name: test
data_dir: data
zones: { lab: { trust: full, admit: any, networks: [127.0.0.0/8] } }
listeners: { udp: { zone: lab, bind: "udp://127.0.0.1:0" } }
pbx: { zone: lab, hosts: ["sip:127.0.0.1:9"] }
routes: [ { name: all, from: lab, send_to: pbx } ]
relay:
  addresses: { lab: { bind: 127.0.0.3 } }
  ports: 23000-23099
  workers: 2
  turn:
    realm: test
    listeners: { turn: "udp://127.0.0.3:0" }
    credentials: { users: { alice: { password: "env:PASSWORD", role: all } } }
    roles: { all: { allocations: 100, peers: [127.0.0.0/8] } }
    default_role: all
policies: []
"#;

const ROUNDS: usize = 500;

/// Clients who talk with a peer, by channel and by indication, and with each other.
struct Talk {
    clients: Vec<(UdpSocket, SocketAddr)>,
    peer: UdpSocket,
}

fn node(dir: &std::path::Path) -> Node {
    let path = dir.join("turnpike.yaml");
    std::fs::write(&path, CONFIG).unwrap();
    let password = |name: &str| (name == "PASSWORD").then(|| "alice".to_owned());
    let compiled = config::load(&path, &password).unwrap();
    let policies =
        config::policy::load(&compiled.policies, &compiled.names, std::time::Instant::now()).unwrap();
    Node::start(NodeSettings::new(compiled, policies).unwrap()).unwrap()
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

impl Talk {
    /// Channel 0x4000 is the peer, 0x4001 the next client.
    fn new(listener: SocketAddr) -> Talk {
        let peer = socket();
        let mut clients: Vec<_> = (0..4)
            .map(|_| {
                let socket = socket();
                socket.connect(listener).unwrap();
                let mut client = TurnClient::new(socket.try_clone().unwrap(), "alice", "alice");
                let relayed = client.allocate();
                (socket, client, relayed)
            })
            .collect();
        let relayed: Vec<_> = clients.iter().map(|(_, _, relayed)| *relayed).collect();
        for (n, (_, client, _)) in clients.iter_mut().enumerate() {
            assert_eq!(client.bind(0x4000, peer.local_addr().unwrap()), 0);
            assert_eq!(client.bind(0x4001, relayed[(n + 1) % relayed.len()]), 0);
            assert_eq!(client.bind(0x4002, relayed[(n + 3) % relayed.len()]), 0);
        }
        Talk { clients: clients.into_iter().map(|(socket, _, relayed)| (socket, relayed)).collect(), peer }
    }

    /// Each sends once on each way, and each packet is waited for.
    fn round(&self, indication: &[u8], buffer: &mut [u8]) {
        let mut to_peer = [7; 164];
        to_peer[..4].copy_from_slice(&[0x40, 0, 0, 160]);
        let mut to_next = to_peer;
        to_next[1] = 1;
        for (n, (socket, relayed)) in self.clients.iter().enumerate() {
            for message in [&to_peer[..], indication] {
                socket.send(message).unwrap();
                assert_eq!(self.peer.recv(buffer).unwrap(), 160);
                self.peer.send_to(&buffer[..160], relayed).unwrap();
                assert_eq!(socket.recv(buffer).unwrap(), 164);
            }
            socket.send(&to_next).unwrap();
            let (next, _) = &self.clients[(n + 1) % self.clients.len()];
            assert_eq!(next.recv(buffer).unwrap(), 164);
        }
    }
}

#[test]
fn packets_are_relayed_without_allocation() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    let talk = Talk::new(node.turn_listener("turn").unwrap());
    let mut indication = Vec::new();
    stun::Writer::begin(
        &mut indication,
        stun::Class::Indication,
        stun::Method::SEND,
        stun::TransactionId([1; 12]),
    )
    .put_xor_address(stun::Type::XOR_PEER_ADDRESS, talk.peer.local_addr().unwrap())
    .put(stun::Type::DATA, &[7; 160]);
    let mut buffer = [0; 2048];
    talk.round(&indication, &mut buffer);
    let mut rounds =
        || counting::allocations_of_all(|| (0..ROUNDS).for_each(|_| talk.round(&indication, &mut buffer)));
    // Ten thousand packets, twice: the first time, the node may yet be starting (its DNS client). What else it does now and
    // then, its timers, is allowed a few.
    let allocations = rounds().min(rounds());
    assert!(allocations < ROUNDS / 10, "{allocations}");
}
