//! A server with fake relayed sockets and a fake clock, and clients that speak STUN to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use turnpike::base::{ClientAddr, FlowId, NodeKey, Now, PeerAddr, RelayedAddr, UnixTime};
use turnpike::stun::{Class, Family, Hash, Key, Message, Method, TransactionId, Type, Writer};
use turnpike::turn::channel_data::{HEADROOM, TAILROOM};
use turnpike::turn::connection::Place;
use turnpike::turn::credentials::{Accounts, Credentials, Keys, RoleId, SharedSecret, User};
use turnpike::turn::forward::Verdict;
use turnpike::turn::peers::{Own, Peers};
use turnpike::turn::quota::{Books, Capacity, Role};
use turnpike::turn::server::{Output, Server, Settings};
use turnpike::turn::sockets::{OpenError, Opened, Port, RelaySocket, RelaySocketId, RelaySockets};
use turnpike::turn::{Carrier, FiveTuple};

pub const REALM: &str = "example";
pub const RELAY_V4: &str = "203.0.113.10";
pub const RELAY_V6: &str = "2001:db8::10";

/// The relayed sockets that are open: by id, their addresses.
#[derive(Debug, Default)]
pub struct Ports {
    pub open: BTreeMap<u64, SocketAddr>,
    /// Those of them that listen for TCP connections.
    pub tcp: BTreeSet<SocketAddr>,
    pub no_v6: bool,
    pub exhausted: bool,
    next_id: u64,
}

impl Ports {
    fn bind(&mut self, family: Family, port: u16) -> RelaySocket {
        let ip = if family == Family::V4 { RELAY_V4 } else { RELAY_V6 };
        let addr = SocketAddr::new(ip.parse().expect("an address"), port);
        self.next_id += 1;
        self.open.insert(self.next_id, addr);
        RelaySocket { id: RelaySocketId(self.next_id), addr: RelayedAddr(addr) }
    }
}

#[derive(Clone, Default)]
pub struct FakeSockets(pub Arc<Mutex<Ports>>);

impl RelaySockets for FakeSockets {
    fn open(&mut self, _client: FiveTuple, family: Family, port: Port) -> Result<Opened, OpenError> {
        let mut ports = self.0.lock().expect("not poisoned");
        if family == Family::V6 && ports.no_v6 {
            return Err(OpenError::Family);
        }
        if ports.exhausted {
            return Err(OpenError::PortsExhausted);
        }
        let wants_even = matches!(port, Port::Even | Port::EvenAndNext);
        let is_taken = |port: u16| ports.open.values().any(|addr| addr.port() == port);
        let number =
            (40_001..50_000).find(|n| !(is_taken(*n) || wants_even && n % 2 == 1)).expect("a free port");
        let socket = ports.bind(family, number);
        if port == Port::Tcp {
            ports.tcp.insert(socket.addr.0);
        }
        let reserved = (port == Port::EvenAndNext).then(|| ports.bind(family, number + 1));
        Ok(Opened { socket, reserved })
    }

    fn open_reserved(&mut self, reserved: RelaySocket) -> Result<RelaySocket, OpenError> {
        assert!(
            self.0.lock().expect("not poisoned").open.contains_key(&reserved.id.0),
            "reserved and closed"
        );
        Ok(reserved)
    }

    fn is_open_tcp(&self, peer: PeerAddr) -> bool {
        self.0.lock().expect("not poisoned").tcp.contains(&peer.0)
    }

    fn close(&mut self, socket: RelaySocketId) {
        let mut ports = self.0.lock().expect("not poisoned");
        let closed = ports.open.remove(&socket.0).expect("closed once");
        ports.tcp.remove(&closed);
    }
}

/// The roles, in the order of their ids. Their users are named like them.
pub const INTERNET: &str = "internet";
pub const CALLS: &str = "calls";
pub const TIGHT: &str = "tight";
pub const OTHER: &str = "other";
/// These two may have TCP allocations.
pub const TCP: &str = "tcp";
pub const TCP_CALLS: &str = "tcp-calls";
/// Makes and recognises short-lived credentials; their role is that of [`OTHER`].
const SECRET: &[u8] = b"shared";

pub struct World {
    pub server: Server<FakeSockets>,
    pub ports: Arc<Mutex<Ports>>,
    pub books: Books,
    pub now: Now,
    transaction: u64,
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub fn udp(text: &str) -> FiveTuple {
    let client = addr(text);
    FiveTuple {
        flow: FlowId(u64::from(client.port())),
        listener: 0,
        client: ClientAddr(client),
        carrier: Carrier::Udp,
    }
}

/// A client with its nonce, as whom and from where.
#[derive(Clone, Debug)]
pub struct Phone {
    pub from: FiveTuple,
    pub user: &'static str,
    pub nonce: Vec<u8>,
}

/// What was answered: the message, and its error code if it is one.
#[derive(Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).expect("a STUN message")
    }

    pub fn code(&self) -> u16 {
        self.message().error_code().expect("well formed").map_or(0, |(code, _)| code.0)
    }

    pub fn relayed(&self) -> SocketAddr {
        self.message().xor_relayed_address().expect("well formed").expect("XOR-RELAYED-ADDRESS")
    }

    pub fn lifetime(&self) -> u32 {
        self.message().lifetime().expect("well formed").expect("LIFETIME")
    }
}

impl World {
    pub fn new() -> World {
        World::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> World {
        let everyone =
            || Peers::Networks(["0.0.0.0/0", "::/0"].map(|n| n.parse().expect("an address")).to_vec());
        let role = |allocations, lifetime, peers| {
            let lifetime = Duration::from_secs(lifetime);
            Role { allocations, bandwidth: None, lifetime, peers, deny: Vec::new(), tcp: false }
        };
        let with_tcp = |role: Role| Role { tcp: true, ..role };
        let mut settings = Settings {
            roles: [
                role(8, 3600, everyone()),
                role(4, 3600, Peers::Calls),
                role(1, 300, everyone()),
                role(8, 3600, everyone()),
                with_tcp(role(8, 3600, everyone())),
                with_tcp(role(8, 3600, Peers::Calls)),
            ]
            .map(Arc::new)
            .to_vec(),
            capacity: Capacity {
                allocations: 20,
                permissions: 4,
                channels: 3,
                peer_connections: 3,
                all_peer_connections: 5,
            },
            own: Own {
                listeners: vec![addr("203.0.113.11:3478"), addr("203.0.113.11:5060")],
                relay_addresses: vec![
                    RELAY_V4.parse().expect("an address"),
                    RELAY_V6.parse().expect("an address"),
                ],
                relay_ports: 40_000..=49_999,
            },
            place: Place { worker: 0, of: 1 },
        };
        change(&mut settings);
        let user = |(role, name): (usize, &str)| User {
            name: name.to_owned(),
            keys: Keys::of_password(name, REALM, name),
            role: RoleId(role as u16),
        };
        let accounts = Accounts::new(
            turnpike::turn::credentials::Settings {
                realm: REALM.to_owned(),
                users: [INTERNET, CALLS, TIGHT, OTHER, TCP, TCP_CALLS]
                    .into_iter()
                    .enumerate()
                    .map(user)
                    .collect(),
                secrets: [SharedSecret::new(SECRET)].into_iter().collect(),
                short_lived_role: RoleId(3),
            },
            [9; 32],
        );
        let now = Now { instant: Instant::now(), unix: UnixTime(Duration::from_secs(1_700_000_000)) };
        let credentials = Credentials::new(Arc::new(accounts), NodeKey::new([7; 16]));
        let (sockets, books) = (FakeSockets::default(), Books::new(settings.capacity.allocations));
        let ports = sockets.0.clone();
        let rng = Box::new(rand::rngs::StdRng::seed_from_u64(1));
        let server = Server::new(settings, credentials, books.clone(), sockets, rng);
        World { server, ports, books, now, transaction: 0 }
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.server.handle_timeout(self.now.instant);
    }

    pub fn id(&mut self) -> TransactionId {
        self.transaction += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.transaction.to_be_bytes());
        TransactionId(id)
    }

    /// Hands in bytes; the answer that goes back to `from`, if one does.
    pub fn hand_in(&mut self, from: FiveTuple, bytes: &[u8]) -> Option<Answer> {
        self.server.handle_client(from, bytes, self.now);
        let mut answer = None;
        while let Some(output) = self.server.poll_output() {
            if let Output::Send { to, bytes } = output {
                assert_eq!(to, from, "an answer to someone else");
                assert!(answer.replace(Answer { bytes }).is_none(), "two answers");
            }
        }
        answer
    }

    /// A phone that has been challenged and knows its nonce.
    pub fn phone(&mut self, from: FiveTuple, user: &'static str) -> Phone {
        let mut bytes = Vec::new();
        let id = self.id();
        Writer::begin(&mut bytes, Class::Request, Method::REFRESH, id);
        let challenge = self.hand_in(from, &bytes).expect("a challenge");
        assert_eq!(challenge.code(), 401);
        let nonce = challenge.message().nonce().expect("well formed").expect("NONCE").as_bytes().to_vec();
        Phone { from, user, nonce }
    }

    /// A signed request; `fill` adds its attributes.
    pub fn ask(&mut self, phone: &Phone, method: Method, fill: impl FnOnce(&mut Writer<'_>)) -> Answer {
        let id = self.id();
        let request = signed(phone, method, id, fill);
        self.hand_in(phone.from, &request).expect("an answer")
    }

    /// The same, for its error code; 0 is success. Checks that the answer is signed.
    pub fn code(&mut self, phone: &Phone, method: Method, fill: impl FnOnce(&mut Writer<'_>)) -> u16 {
        let answer = self.ask(phone, method, fill);
        assert!(answer.message().check_integrity(&key(phone.user)), "the answer is not signed");
        answer.code()
    }

    /// A phone with an IPv4 allocation, and its relayed address.
    pub fn allocated(&mut self, from: &str, user: &'static str) -> (Phone, SocketAddr) {
        let phone = self.phone(udp(from), user);
        let answer = self.ask(&phone, Method::ALLOCATE, wants_udp);
        assert_eq!(answer.code(), 0);
        let relayed = answer.relayed();
        (phone, relayed)
    }

    /// A phone with an allocation of both families.
    pub fn allocated_both(&mut self, from: &str) -> Phone {
        let phone = self.phone(udp(from), INTERNET);
        let code = self.code(&phone, Method::ALLOCATE, |w| {
            wants_udp(w);
            w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6);
        });
        assert_eq!(code, 0);
        phone
    }

    pub fn permit(&mut self, phone: &Phone, peer: &str) -> u16 {
        self.code(phone, Method::CREATE_PERMISSION, |w| {
            w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(peer));
        })
    }

    pub fn bind(&mut self, phone: &Phone, number: u16, peer: &str) -> u16 {
        self.code(phone, Method::CHANNEL_BIND, |w| {
            w.put_channel_number(number);
            w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(peer));
        })
    }

    pub fn refresh(&mut self, phone: &Phone, seconds: u32) -> u16 {
        self.code(phone, Method::REFRESH, |w| {
            w.put_u32(Type::LIFETIME, seconds);
        })
    }

    /// What becomes of a Send indication.
    pub fn send(&mut self, phone: &Phone, peer: &str, data: &[u8]) -> Verdict {
        let indication = send_indication(addr(peer), data);
        self.server.handle_client(phone.from, &indication, self.now)
    }

    /// What becomes of ChannelData.
    pub fn channel_data(&mut self, phone: &Phone, number: u16, data: &[u8]) -> Verdict {
        let mut message = number.to_be_bytes().to_vec();
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
        self.server.handle_client(phone.from, &message, self.now)
    }

    /// What a peer sends to a relayed address: what the client gets.
    pub fn peer_sends(&mut self, relayed: SocketAddr, peer: &str, data: &[u8]) -> Result<Vec<u8>, Verdict> {
        let open = self.ports.lock().expect("not poisoned").open.clone();
        let (id, _) = open.iter().find(|(_, addr)| **addr == relayed).expect("an open relayed socket");
        let mut buffer = vec![0xaa; HEADROOM];
        buffer.extend(data);
        let payload = HEADROOM..buffer.len();
        buffer.extend([0xaa; TAILROOM]);
        let peer = PeerAddr(addr(peer));
        match self.server.handle_relayed(RelaySocketId(*id), peer, &mut buffer, payload, self.now.instant) {
            Verdict::ToClient { message, .. } => Ok(buffer[message].to_vec()),
            other => Err(other),
        }
    }

    /// That nothing of anybody is left.
    pub fn assert_empty(&mut self) {
        assert_eq!(self.server.allocations().len(), 0);
        assert_eq!(self.books.held(), 0);
        assert_eq!(self.books.reserved(), 0);
        assert_eq!(self.books.peer_connections(), 0);
        assert_eq!(self.server.poll_timeout(), None);
        assert_eq!(format!("{:?}", self.server), format!("{:?}", World::new().server));
        assert!(self.ports.lock().expect("not poisoned").open.is_empty());
    }
}

/// Of a user whose password is their name, or of the holder of short-lived credentials.
pub fn key(user: &str) -> Key {
    let Some((expiry, name)) = user.split_once(':') else { return Key::sha256(user, REALM, user) };
    let expiry = Duration::from_secs(expiry.parse().expect("a number"));
    let issued = SharedSecret::new(SECRET).issue(name, expiry, UnixTime(Duration::ZERO));
    Key::sha256(user, REALM, &issued.password)
}

pub fn wants_udp(writer: &mut Writer<'_>) {
    writer.put_requested_transport(17);
}

pub fn signed(
    phone: &Phone,
    method: Method,
    id: TransactionId,
    fill: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    use turnpike::stun::PasswordAlgorithm::{Md5, Sha256};
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, Class::Request, method, id);
    fill(&mut writer);
    writer.put(Type::USERNAME, phone.user.as_bytes());
    writer.put(Type::REALM, REALM.as_bytes());
    writer.put(Type::NONCE, &phone.nonce);
    writer.put_password_algorithms(&[Sha256, Md5]);
    writer.put_password_algorithm(Sha256);
    writer.add_integrity(&key(phone.user), Hash::Sha256);
    bytes
}

pub fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::begin(&mut bytes, Class::Indication, Method::SEND, TransactionId([3; 12]))
        .put_xor_address(Type::XOR_PEER_ADDRESS, peer)
        .put(Type::DATA, data);
    bytes
}
