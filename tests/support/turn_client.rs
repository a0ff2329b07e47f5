//! A TURN client that blocks: the 401 dance, requests, data both ways. What it speaks over is a [`Wire`].
#![allow(dead_code, reason = "what its own tests need of it")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use turnpike::stun::{Class, Hash, Icmp, Key, Message, Method, TransactionId, Type, Writer};

/// Longer than anything here takes on a busy machine; nothing waits for it unless a test fails.
const DEADLINE: Duration = Duration::from_secs(10);

/// Between a client and the server: carries whole messages, ChannelData with its padding where the wire has it.
pub trait Wire: Send {
    fn send(&mut self, message: &[u8]);
    /// The next message; `None` if none comes within `patience`.
    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>>;
}

/// Over UDP.
impl Wire for UdpSocket {
    fn send(&mut self, message: &[u8]) {
        UdpSocket::send(self, message).expect("sent");
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        self.set_read_timeout(Some(patience)).expect("a timeout");
        let n = self.recv(&mut buffer).ok()?;
        buffer.truncate(n);
        Some(buffer)
    }
}

/// Shared with who goes on where TURN ends.
impl<W: Wire> Wire for Arc<Mutex<W>> {
    fn send(&mut self, message: &[u8]) {
        self.lock().expect("not poisoned").send(message);
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.lock().expect("not poisoned").receive(patience)
    }
}

/// Data that a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// On a channel.
    Channel(u16, Vec<u8>),
    /// By a Data indication.
    Data(SocketAddr, Vec<u8>),
    /// A peer cannot be reached.
    Unreachable(SocketAddr, Icmp),
    /// A peer has connected, and this is the connection's id (RFC 6062).
    Attempt(SocketAddr, u32),
}

/// An answer to a request.
#[derive(Clone, Debug)]
pub struct Answer(pub Vec<u8>);

impl Answer {
    pub fn message(&self) -> Message<'_> {
        Message::parse(&self.0).expect("a STUN message")
    }

    /// Its error code; 0 is success.
    pub fn code(&self) -> u16 {
        self.message().error_code().expect("well formed").map_or(0, |(code, _)| code.0)
    }

    pub fn relayed(&self) -> SocketAddr {
        self.message().xor_relayed_address().expect("well formed").expect("XOR-RELAYED-ADDRESS")
    }
}

/// A client.
pub struct TurnClient {
    wire: Box<dyn Wire>,
    user: String,
    password: String,
    /// What the server said last: realm and nonce.
    challenge: Option<(String, String)>,
    transaction: u64,
    /// Data that came while an answer was waited for.
    early: std::collections::VecDeque<Received>,
}

impl TurnClient {
    pub fn new(wire: impl Wire + 'static, user: &str, password: &str) -> TurnClient {
        let (user, password) = (user.to_owned(), password.to_owned());
        TurnClient {
            wire: Box::new(wire),
            user,
            password,
            challenge: None,
            transaction: 0,
            early: Default::default(),
        }
    }

    /// From an address of `server`'s family on loopback.
    pub fn over_udp(server: SocketAddr, user: &str, password: &str) -> TurnClient {
        let socket = UdpSocket::bind((server.ip(), 0)).expect("a socket");
        socket.connect(server).expect("connected");
        TurnClient::new(socket, user, password)
    }

    /// An allocation of one IPv4 address, which it returns.
    pub fn allocate(&mut self) -> SocketAddr {
        let answer = self.ask(Method::ALLOCATE, |writer| {
            writer.put_requested_transport(17);
        });
        assert_eq!(answer.code(), 0, "{answer:?}");
        answer.relayed()
    }

    /// A TCP allocation of one IPv4 address, which it returns.
    pub fn allocate_tcp(&mut self) -> SocketAddr {
        let answer = self.ask(Method::ALLOCATE, |writer| {
            writer.put_requested_transport(6);
        });
        assert_eq!(answer.code(), 0, "{answer:?}");
        answer.relayed()
    }

    /// Connect: the connection's id, or the error code.
    pub fn connect(&mut self, peer: SocketAddr) -> Result<u32, u16> {
        let answer = self.ask(Method::CONNECT, |writer| {
            writer.put_xor_address(Type::XOR_PEER_ADDRESS, peer);
        });
        answer.message().connection_id().expect("well formed").ok_or(answer.code())
    }

    /// CreatePermission; its error code.
    pub fn permit(&mut self, peer: SocketAddr) -> u16 {
        let fill = |writer: &mut Writer<'_>| {
            writer.put_xor_address(Type::XOR_PEER_ADDRESS, peer);
        };
        self.ask(Method::CREATE_PERMISSION, fill).code()
    }

    /// ChannelBind; its error code.
    pub fn bind(&mut self, number: u16, peer: SocketAddr) -> u16 {
        let fill = |writer: &mut Writer<'_>| {
            writer.put_channel_number(number).put_xor_address(Type::XOR_PEER_ADDRESS, peer);
        };
        self.ask(Method::CHANNEL_BIND, fill).code()
    }

    /// Refresh; its error code.
    pub fn refresh(&mut self, seconds: u32) -> u16 {
        let fill = |writer: &mut Writer<'_>| {
            writer.put_u32(Type::LIFETIME, seconds);
        };
        self.ask(Method::REFRESH, fill).code()
    }

    /// Asks, with the attributes that `fill` adds, as often as the server wants another nonce.
    pub fn ask(&mut self, method: Method, fill: impl Fn(&mut Writer<'_>)) -> Answer {
        for _ in 0..3 {
            let answer = self.ask_once(method, &fill);
            let (code, message) = (answer.code(), answer.message());
            if code != 438 && (code != 401 || self.challenge.is_some()) {
                return answer;
            }
            let realm = message.realm().expect("well formed").expect("REALM");
            let nonce = message.nonce().expect("well formed").expect("NONCE");
            self.challenge = Some((realm.to_owned(), nonce.to_owned()));
        }
        panic!("another nonce, and another");
    }

    fn ask_once(&mut self, method: Method, fill: &impl Fn(&mut Writer<'_>)) -> Answer {
        self.transaction += 1;
        let mut id = [0; 12];
        id[4..].copy_from_slice(&self.transaction.to_be_bytes());
        let mut request = Vec::new();
        let mut writer = Writer::begin(&mut request, Class::Request, method, TransactionId(id));
        fill(&mut writer);
        if let Some((realm, nonce)) = &self.challenge {
            writer.put(Type::USERNAME, self.user.as_bytes());
            writer.put(Type::REALM, realm.as_bytes());
            writer.put(Type::NONCE, nonce.as_bytes());
            writer.add_integrity(&Key::md5(&self.user, realm, &self.password), Hash::Sha1);
        }
        self.wire.send(&request);
        loop {
            let bytes = self.wire.receive(DEADLINE).expect("an answer");
            match Message::parse(&bytes) {
                Ok(message) if message.class() != Class::Indication => {
                    assert_eq!(message.transaction_id(), TransactionId(id), "the answer to something else");
                    return Answer(bytes);
                }
                _ => self.early.push_back(read(&bytes)),
            }
        }
    }

    /// Sends by a Send indication.
    pub fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        self.indicate(peer, data, false);
    }

    /// Sends by a Send indication, perhaps with DONT-FRAGMENT.
    pub fn indicate(&mut self, peer: SocketAddr, data: &[u8], dont_fragment: bool) {
        let mut message = Vec::new();
        let mut writer = Writer::begin(&mut message, Class::Indication, Method::SEND, TransactionId([3; 12]));
        writer.put_xor_address(Type::XOR_PEER_ADDRESS, peer);
        if dont_fragment {
            writer.put(Type::DONT_FRAGMENT, &[]);
        }
        writer.put(Type::DATA, data);
        self.wire.send(&message);
    }

    /// Sends on a channel.
    pub fn send_on(&mut self, channel: u16, data: &[u8]) {
        let mut message = channel.to_be_bytes().to_vec();
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
        self.wire.send(&message);
    }

    /// The next data.
    pub fn receive(&mut self) -> Received {
        self.receive_within(DEADLINE).expect("data within the deadline")
    }

    /// The next data, if any comes in time.
    pub fn receive_within(&mut self, patience: Duration) -> Option<Received> {
        self.early.pop_front().or_else(|| Some(read(&self.wire.receive(patience)?)))
    }
}

fn read(bytes: &[u8]) -> Received {
    if bytes[0] >= 0x40 {
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        return Received::Channel(u16::from_be_bytes([bytes[0], bytes[1]]), bytes[4..4 + length].to_vec());
    }
    let message = Message::parse(bytes).expect("a STUN message");
    assert_eq!(message.class(), Class::Indication);
    let peer = message.xor_peer_address().expect("well formed").expect("XOR-PEER-ADDRESS");
    if message.method() == Method::CONNECTION_ATTEMPT {
        let connection = message.connection_id().expect("well formed").expect("CONNECTION-ID");
        return Received::Attempt(peer, connection);
    }
    assert_eq!(message.method(), Method::DATA);
    match (message.data(), message.icmp().expect("well formed")) {
        (Some(data), None) => Received::Data(peer, data.to_vec()),
        (None, Some(icmp)) => Received::Unreachable(peer, icmp),
        _ => panic!("a Data indication with neither or both"),
    }
}
