//! What `net/` does for the server when it comes to TCP: the world of RFC 8656, with connections.

use std::net::SocketAddr;

use turnpike::base::ban::Banned;
use turnpike::base::{FlowId, PeerAddr};
use turnpike::stun::{Class, Message, Method, Type, Writer};
use turnpike::turn::connection::ConnectionId;
use turnpike::turn::server::Output;
use turnpike::turn::sockets::RelaySocketId;
use turnpike::turn::{Carrier, FiveTuple};

use crate::world::{Answer, Phone, World, addr, key, signed, udp};

/// A client that comes over TCP or TLS.
pub fn tcp(text: &str) -> FiveTuple {
    FiveTuple { flow: FlowId(0x1_0000 + u64::from(addr(text).port())), carrier: Carrier::Stream, ..udp(text) }
}

pub fn wants_tcp(writer: &mut Writer<'_>) {
    writer.put_requested_transport(6);
}

impl World {
    /// A user loses all that they have.
    pub fn banned_for_a_moment(&mut self, user: &str) {
        let banned = Banned::User(user.into());
        self.server.ban(banned.clone(), None, self.now.instant);
        self.server.lift_ban(&banned);
    }

    /// A phone with a TCP allocation, and its relayed address.
    pub fn tcp_allocated(&mut self, from: &str, user: &'static str) -> (Phone, SocketAddr) {
        let phone = self.phone(tcp(from), user);
        let answer = self.ask(&phone, Method::ALLOCATE, wants_tcp);
        assert_eq!(answer.code(), 0);
        let relayed = answer.relayed();
        (phone, relayed)
    }

    /// All that the server wants done.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.server.poll_output()).collect()
    }

    /// A signed request, and what comes of it.
    pub fn start(
        &mut self,
        phone: &Phone,
        method: Method,
        fill: impl FnOnce(&mut Writer<'_>),
    ) -> Vec<Output> {
        let id = self.id();
        let request = signed(phone, method, id, fill);
        self.server.handle_client(phone.from, &request, self.now);
        self.outputs()
    }

    /// Connect, which is refused with this code; 0: it is under way.
    pub fn connect_code(&mut self, phone: &Phone, peer: &str) -> u16 {
        match &self.start_connect(phone, peer)[..] {
            [Output::Connect { .. }] => 0,
            [answer] => told(answer, phone).code(),
            other => panic!("{other:?}"),
        }
    }

    pub fn start_connect(&mut self, phone: &Phone, peer: &str) -> Vec<Output> {
        self.start(phone, Method::CONNECT, |w| _ = w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(peer)))
    }

    /// Connect, as far as the SYN.
    pub fn connecting(&mut self, phone: &Phone, peer: &str) -> ConnectionId {
        let outputs = self.start_connect(phone, peer);
        let [Output::Connect { connection, .. }] = outputs[..] else { panic!("{outputs:?}") };
        connection
    }

    /// Connect, as far as its success.
    pub fn connected(&mut self, phone: &Phone, peer: &str) -> ConnectionId {
        let connection = self.connecting(phone, peer);
        self.server.handle_connected(connection, self.now.instant);
        let outputs = self.outputs();
        assert_eq!(told(&outputs[0], phone).connection_id(), connection);
        connection
    }

    /// ConnectionBind from a new connection of `user`: its code, which is its only output but for the binding.
    pub fn bind_data(&mut self, from: &str, user: &'static str, connection: ConnectionId) -> u16 {
        let phone = self.phone(tcp(from), user);
        let outputs = self.start(&phone, Method::CONNECTION_BIND, |w| {
            w.put_u32(Type::CONNECTION_ID, connection.0);
        });
        let code = told(&outputs[0], &phone).code();
        match &outputs[1..] {
            [] => assert_ne!(code, 0),
            [Output::Bound { connection: bound, client }] => {
                assert_eq!((*bound, *client, code), (connection, phone.from, 0));
            }
            other => panic!("{other:?}"),
        }
        code
    }

    /// A connection that is bound to the client's connection from `data`.
    pub fn bound(&mut self, phone: &Phone, peer: &str, data: &str) -> ConnectionId {
        let connection = self.connected(phone, peer);
        assert_eq!(self.bind_data(data, phone.user, connection), 0);
        connection
    }

    /// A peer connects to a relayed address: whether it may stay, and what the client is told.
    pub fn peer_connects(&mut self, relayed: SocketAddr, peer: &str) -> (Option<ConnectionId>, Vec<Output>) {
        let open = self.ports.lock().unwrap().open.clone();
        let (id, _) = open.iter().find(|(_, addr)| **addr == relayed).expect("an open relayed socket");
        let peer = PeerAddr(addr(peer));
        let accepted = self.server.handle_accepted(RelaySocketId(*id), peer, self.now.instant);
        (accepted, self.outputs())
    }
}

/// The answer that goes to `phone`, signed.
pub fn told(output: &Output, phone: &Phone) -> Answer {
    let Output::Send { to, bytes } = output else { panic!("{output:?}") };
    assert_eq!(*to, phone.from);
    let answer = Answer { bytes: bytes.clone() };
    assert!(answer.message().check_integrity(&key(phone.user)), "the answer is not signed");
    answer
}

/// The ConnectionAttempt that goes to `phone`: which connection, and whose.
pub fn attempt(output: &Output, phone: &Phone) -> (ConnectionId, SocketAddr) {
    let Output::Send { to, bytes } = output else { panic!("{output:?}") };
    assert_eq!(*to, phone.from);
    let message = Message::parse(bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::CONNECTION_ATTEMPT));
    let id = message.connection_id().unwrap().expect("CONNECTION-ID");
    (ConnectionId(id), message.xor_peer_address().unwrap().expect("XOR-PEER-ADDRESS"))
}

impl Answer {
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId(self.message().connection_id().unwrap().expect("CONNECTION-ID"))
    }
}
