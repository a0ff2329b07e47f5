//! The TURN rows of docs/attacks.md over real sockets, against a running node. Where nothing may arrive, a trap waits. After
//! each attack the edge answers OPTIONS and serves an honest TURN client.

mod credentials;
mod exhaustion;
mod messages;
mod peers;
mod streams;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use turnpike::net::settings::{TurnAddress, TurnSettings};
use turnpike::net::{Node, NodeSettings};
use turnpike::relay::RelayAddress;
use turnpike::stun::{Class, Family, Message, Method, TransactionId, Type, Writer};
use turnpike::turn::credentials::{Keys, RoleId, User};
use turnpike::turn::peers::Peers;
use turnpike::turn::quota::Role;

use crate::harness::Udp;
use crate::turn::{self, REALM};
use crate::turn_client::TurnClient;
use crate::turn_streams;

/// A node that is attacked. Beside `alice` (127.0.0.0/8) and `caller` (`peers: calls`) it knows `thief`, who may reach the whole
/// internet: whatever it is refused, no role allows in passing. Relay addresses are 127.0.0.1 and ::1.
struct Attacked {
    node: Node,
    dir: tempfile::TempDir,
}

impl Attacked {
    fn new() -> Attacked {
        Attacked::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut NodeSettings)) -> Attacked {
        let (node, dir) = turn::turn_node_with(1, add_thief, change);
        Attacked { node, dir }
    }

    fn with_turn(change: impl FnOnce(&mut TurnSettings)) -> Attacked {
        let all = |turn: &mut TurnSettings| {
            add_thief(turn);
            change(turn);
        };
        let (node, dir) = turn::turn_node_with(1, all, |_| ());
        Attacked { node, dir }
    }

    fn turn(&self) -> SocketAddr {
        self.node.turn_listener("turn").unwrap()
    }

    /// A client whose password is its name.
    fn client(&self, user: &str) -> TurnClient {
        turn::client(&self.node, user)
    }

    /// The same, from this address.
    fn client_at(&self, ip: &str, user: &str, password: &str) -> TurnClient {
        TurnClient::new(self.socket_at(ip), user, password)
    }

    /// A socket that says to the server whatever it is told to.
    fn socket_at(&self, ip: &str) -> UdpSocket {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(self.turn()).unwrap();
        socket
    }

    /// A client of `user` with a relayed address of each family.
    fn allocated_both(&self, user: &str) -> TurnClient {
        let mut client = self.client(user);
        let answer = client.ask(Method::ALLOCATE, |writer| {
            writer.put_requested_transport(17).put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
        });
        assert_eq!(answer.code(), 0);
        client
    }

    /// OPTIONS is answered, and an honest client talks to its peer.
    fn still_serves(&self) {
        Udp::new(self.node.listener("udp").unwrap()).assert_served();
        let (mut alice, (bob, bob_addr)) = (self.client_at("127.0.0.200", "alice", "alice"), turn::peer());
        let relayed = alice.allocate();
        assert_eq!(alice.permit(bob_addr), 0);
        alice.send(bob_addr, b"still there?");
        assert_eq!(turn::receive(&bob), (b"still there?".to_vec(), relayed));
        assert_eq!(alice.refresh(0), 0);
    }
}

fn add_thief(settings: &mut TurnSettings) {
    let role = Role { peers: networks(&["0.0.0.0/0", "::/0"]), ..(*settings.roles[0]).clone() };
    settings.roles.push(Arc::new(role));
    settings.accounts.users.push(User {
        name: "thief".into(),
        keys: Keys::of_password("thief", REALM, "thief"),
        role: RoleId(settings.roles.len() as u16 - 1),
    });
    let v6: IpAddr = "::1".parse().unwrap();
    settings
        .addresses
        .push(TurnAddress { address: RelayAddress { bind: v6, advertise: v6 }, networks: Arc::new([]) });
    turn_streams::listeners(settings);
}

fn networks(texts: &[&str]) -> Peers {
    Peers::Networks(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// Everything that the client has said until now has been seen to: its packets are read in order, and what they cause is sent
/// before what the next round causes.
fn settle(client: &mut TurnClient) {
    for _ in 0..2 {
        assert_eq!(client.refresh(600), 0);
    }
}

/// Sockets with one port on several addresses, where nothing may arrive.
struct Trap {
    sockets: Vec<UdpSocket>,
    port: u16,
}

impl Trap {
    fn on(ips: &[&str]) -> Trap {
        loop {
            let first = UdpSocket::bind((ips[0], 0)).unwrap();
            let port = first.local_addr().unwrap().port();
            // One of the others may have the port taken.
            if let Ok(rest) =
                ips[1..].iter().map(|ip| UdpSocket::bind((*ip, port))).collect::<Result<Vec<_>, _>>()
            {
                let sockets: Vec<_> = [first].into_iter().chain(rest).collect();
                sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
                return Trap { sockets, port };
            }
        }
    }

    fn assert_empty(&self) {
        for socket in &self.sockets {
            let mut buffer = [0; 2048];
            let caught = socket.recv_from(&mut buffer);
            assert!(
                caught.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
                "{:?} got {caught:?}",
                socket.local_addr()
            );
        }
    }
}

/// What comes back on a socket within a moment that is long enough unless a test fails.
fn answer(socket: &UdpSocket) -> Vec<u8> {
    socket.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
    let mut buffer = [0; 65_536];
    let n = socket.recv(&mut buffer).unwrap();
    buffer[..n].to_vec()
}

/// How many answers wait on a socket, once everything before has been seen to.
fn answers_waiting(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let count = std::iter::from_fn(|| socket.recv(&mut [0; 2048]).ok()).count();
    socket.set_nonblocking(false).unwrap();
    count
}

fn message(class: Class, method: Method, id: u8, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    fill(&mut Writer::begin(&mut bytes, class, method, TransactionId([id; 12])));
    bytes
}

fn code(answer: &[u8]) -> u16 {
    Message::parse(answer).unwrap().error_code().unwrap().map_or(0, |(code, _)| code.0)
}

/// For what is there already, if ever it comes.
const AT_ONCE: Duration = Duration::from_millis(1);
