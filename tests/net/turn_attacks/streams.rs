//! Over TCP and TLS: connections that say nothing, too little, too much or nonsense.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use socket2::{Domain, Socket, Type as SocketType};

use super::peers::{INSIDE, at};
use super::*;
use crate::harness::{DEADLINE, eventually, read_to_close, tcp};
use crate::turn_client::Wire;
use crate::turn_stream::{over_tcp, over_tls};

impl Attacked {
    fn stream_listener(&self, name: &str) -> SocketAddr {
        self.node.turn_listener(name).unwrap()
    }

    /// Honest clients over TCP and TLS are served too.
    fn still_serves_streams(&self) {
        let demo = turn_streams::demo(self.dir.path());
        for mut alice in [
            TurnClient::new(over_tcp(self.stream_listener("tcp")), "alice", "alice"),
            TurnClient::new(over_tls(self.stream_listener("tls"), demo), "alice", "alice"),
        ] {
            alice.allocate();
            assert_eq!(alice.refresh(0), 0);
        }
        self.still_serves();
    }
}

fn connect_from(ip: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, SocketType::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(ip.parse().unwrap(), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn broken_messages_over_tcp_close_the_connection_or_are_400() {
    let attacked = Attacked::new();
    let request = message(Class::Request, Method::ALLOCATE, 1, |writer| {
        writer.put_requested_transport(17).put(Type::USERNAME, b"alice");
    });
    let overrun = |at: usize| {
        let mut bytes = request.clone();
        bytes[at..at + 2].copy_from_slice(&[0xff, 0xf0]);
        // As much as it claims, so that it is read and not waited for.
        bytes.resize(if at == 2 { 20 + 0xfff0 } else { bytes.len() }, 0);
        bytes
    };
    let mut without_cookie = request.clone();
    without_cookie[4] = 0;
    for said in [
        overrun(2),
        overrun(22),
        overrun(30),
        without_cookie,
        b"GET / HTTP/1.1\r\nHost: turn\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0xff; 70_000],
        vec![0x80; 100],
    ] {
        let mut stranger = tcp(attacked.stream_listener("tcp"));
        let _ = stranger.write_all(&said);
        let _ = stranger.shutdown(std::net::Shutdown::Write);
        let told = read_to_close(&mut stranger);
        assert!(told.is_empty() || [400, 401, 420].contains(&code(&told)), "{told:02x?}");
    }
    attacked.still_serves_streams();
}

#[test]
fn channel_data_that_lies_about_its_length_over_tcp_reaches_nobody() {
    let attacked = Attacked::new();
    let (bob, bob_addr) = turn::peer();
    for lie in [&[0x40, 0, 0xff, 0xff, 1, 2, 3, 4][..], &[0x40, 1, 0, 4, 1, 2, 3, 4], &[0x7f, 0xff, 0, 0]] {
        let wire = over_tcp(attacked.stream_listener("tcp"));
        let mut raw = wire.stream.try_clone().unwrap();
        let mut thief = TurnClient::new(wire, "alice", "alice");
        thief.allocate();
        assert_eq!(thief.bind(0x4000, bob_addr), 0);
        raw.write_all(lie).unwrap();
        attacked.still_serves_streams();
    }
    bob.set_nonblocking(true).unwrap();
    Trap { port: bob_addr.port(), sockets: vec![bob] }.assert_empty();
}

/// Half-open: TCP without a word, TLS without or with half a hello, STUN that does not end.
#[test]
fn half_open_connections_do_not_last() {
    let attacked = Attacked::with(|settings| {
        settings.net.patience.handshake = Duration::from_secs(1);
        settings.net.patience.message = Duration::from_secs(1);
        settings.net.patience.idle = Duration::from_secs(3);
    });
    let half = message(Class::Request, Method::ALLOCATE, 1, |writer| _ = writer.put_requested_transport(17));
    let hello = b"\x16\x03\x01\x00\x60\x01\x00\x00\x5c\x03\x03half a hello";
    let silent: Vec<TcpStream> = ["tcp", "tls"]
        .into_iter()
        .flat_map(|name| (0..20).map(move |n| (name, n)))
        .map(|(name, n)| {
            let mut stream = tcp(attacked.stream_listener(name));
            let said: &[u8] = match (name, n % 2) {
                (_, 0) => b"",
                ("tcp", _) => &half[..14],
                _ => hello,
            };
            stream.write_all(said).unwrap();
            stream
        })
        .collect();
    attacked.still_serves_streams();
    for mut stream in silent {
        read_to_close(&mut stream);
    }
    attacked.still_serves_streams();
}

#[test]
fn connections_of_one_source_are_capped_and_others_are_served() {
    let attacked = Attacked::with(|settings| settings.net.capacity.connections_per_source = 10);
    let mut held = Vec::new();
    for name in ["tcp", "tls"] {
        held.extend((0..30).map(|_| connect_from("127.0.0.66", attacked.stream_listener(name))));
    }
    held.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    eventually("all but ten are closed", || {
        held.retain_mut(|stream| {
            stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        held.len() <= 10
    });
    assert_eq!(held.len(), 10);
    attacked.still_serves_streams();
}

/// A client whose peer floods it, and who reads nothing.
#[test]
fn a_client_that_never_reads_is_cut_off_or_loses_its_own_packets() {
    let attacked = Attacked::with(|settings| settings.net.capacity.outbound_bytes = 32 * 1024);
    let deaf = Socket::new(Domain::IPV4, SocketType::STREAM, None).unwrap();
    deaf.set_recv_buffer_size(1).unwrap();
    deaf.connect(&attacked.stream_listener("tcp").into()).unwrap();
    let (bob, bob_addr) = turn::peer();
    let mut alice = TurnClient::new(Raw(TcpStream::from(deaf)), "alice", "alice");
    let relayed = alice.allocate();
    assert_eq!(alice.bind(0x4000, bob_addr), 0);
    for round in 0..100 {
        for _ in 0..50 {
            bob.send_to(&[0; 1400], relayed).unwrap();
        }
        if round % 10 == 0 {
            attacked.still_serves_streams();
        }
    }
    drop(alice);
    eventually("its allocation is gone", || UdpSocket::bind(relayed).is_ok());
    attacked.still_serves_streams();
}

/// One message per read: enough for a client that asks little.
struct Raw(TcpStream);

impl Wire for Raw {
    fn send(&mut self, message: &[u8]) {
        self.0.write_all(message).unwrap();
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut header = [0; 20];
        self.0.read_exact(&mut header).ok()?;
        let mut message = header.to_vec();
        message.resize(20 + usize::from(u16::from_be_bytes([header[2], header[3]])), 0);
        self.0.read_exact(&mut message[20..]).ok()?;
        Some(message)
    }
}

#[test]
fn whoever_resets_leaves_nothing_behind() {
    let attacked = Attacked::new();
    for _ in 0..20 {
        let wire = over_tcp(attacked.stream_listener("tcp"));
        let socket = Socket::from(wire.stream.try_clone().unwrap());
        let mut thief = TurnClient::new(wire, "thief", "thief");
        thief.allocate();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    eventually("nothing is left", || {
        let status = attacked.node.status().unwrap();
        status.turn.unwrap().allocations == 0
    });
    attacked.still_serves_streams();
}

/// RFC 6062 without a role that allows it: no connection is made, and nobody can connect to a relayed address.
#[test]
fn tcp_relaying_is_off_unless_a_role_allows_it() {
    let attacked = Attacked::new();
    let trap = TcpListener::bind("127.0.0.2:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let mut alice = TurnClient::new(over_tcp(attacked.stream_listener("tcp")), "alice", "alice");
    let code = alice.ask(Method::ALLOCATE, |writer| _ = writer.put_requested_transport(6)).code();
    assert_eq!(code, 403);
    let relayed = alice.allocate();
    let connect = |writer: &mut Writer<'_>| {
        _ = writer.put_xor_address(Type::XOR_PEER_ADDRESS, trap.local_addr().unwrap())
    };
    assert_ne!(alice.ask(Method::CONNECT, connect).code(), 0);
    assert!(TcpStream::connect(relayed).is_err());
    assert_eq!(trap.accept().map(|_| ()).unwrap_err().kind(), ErrorKind::WouldBlock);
    attacked.still_serves_streams();
}

/// With a role that allows it the rules for peers are the same: no connection arrives inside, nor at a listener of ours.
#[test]
fn a_role_that_may_relay_tcp_reaches_nothing_inside() {
    let attacked = Attacked::with_turn(|turn| {
        let thief = turn.roles.last_mut().unwrap();
        *thief = Arc::new(Role { tcp: true, ..(**thief).clone() });
    });
    let traps = ["127.0.0.2", "127.0.0.1", "::1"].map(|ip| {
        let trap = TcpListener::bind((ip, 0)).unwrap();
        trap.set_nonblocking(true).unwrap();
        trap
    });
    let trapped: Vec<SocketAddr> = traps.iter().map(|trap| trap.local_addr().unwrap()).collect();
    let ours = ["tcp", "tls"]
        .into_iter()
        .flat_map(|name| [attacked.node.listener(name).unwrap(), attacked.stream_listener(name)]);
    let inside = INSIDE.map(|ip| at(ip, trapped[0].port()));
    let peers: Vec<SocketAddr> = trapped.iter().copied().chain(ours).chain(inside).collect();
    for family in [Family::V4, Family::V6] {
        let mut thief = TurnClient::new(over_tcp(attacked.stream_listener("tcp")), "thief", "thief");
        let allocated = thief.ask(Method::ALLOCATE, |writer| {
            writer.put_requested_transport(6).put_family(Type::REQUESTED_ADDRESS_FAMILY, family);
        });
        assert_eq!(allocated.code(), 0, "{family:?}");
        for peer in &peers {
            let connect = |writer: &mut Writer<'_>| _ = writer.put_xor_address(Type::XOR_PEER_ADDRESS, *peer);
            let code = thief.ask(Method::CONNECT, connect).code();
            assert!(code == 403 || code == 443 && Family::of(peer.ip()) != family, "{peer}: {code}");
        }
        settle(&mut thief);
    }
    for trap in &traps {
        assert_eq!(trap.accept().map(|_| ()).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    attacked.still_serves_streams();
}
