//! TCP allocations (RFC 6062), against a running node: real sockets on loopback. The rules themselves are in tests/rfc6062.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use turnpike::net::Node;
use turnpike::net::settings::TurnSettings;
use turnpike::stun::{Method, Type};
use turnpike::turn::quota::Role;

use crate::harness::{DEADLINE, read_to_close, tcp};
use crate::turn::turn_node;
use crate::turn_client::{Received, TurnClient, Wire};
use crate::turn_stream::{Stream, Tls, over_tcp, over_tls};
use crate::turn_streams::{demo, listeners};

/// More than is read at a time.
const PIECE: usize = 256 * 1024;
const MEGABYTE: usize = 1 << 20;

/// A node where alice may have TCP allocations.
fn node(workers: usize, change: impl FnOnce(&mut Role)) -> (Node, tempfile::TempDir) {
    turn_node(workers, |turn: &mut TurnSettings| {
        listeners(turn);
        let mut role = (*turn.roles[0]).clone();
        role.tcp = true;
        change(&mut role);
        turn.roles[0] = Arc::new(role);
    })
}

/// How a client comes.
#[derive(Clone, Copy, Debug)]
enum Over {
    Tcp,
    Tls,
}

const BOTH: [Over; 2] = [Over::Tcp, Over::Tls];

impl Over {
    fn client(self, node: &Node, dir: &Path) -> TurnClient {
        match self {
            Over::Tcp => TurnClient::new(over_tcp(node.turn_listener("tcp").unwrap()), "alice", "alice"),
            Over::Tls => {
                TurnClient::new(over_tls(node.turn_listener("tls").unwrap(), demo(dir)), "alice", "alice")
            }
        }
    }

    /// A new connection, bound to `connection`.
    fn data(self, node: &Node, dir: &Path, connection: u32) -> Data {
        self.eager_data(node, dir, connection, b"")
    }

    /// The same; `eager` is sent right behind the ConnectionBind.
    fn eager_data(self, node: &Node, dir: &Path, connection: u32, eager: &'static [u8]) -> Data {
        match self {
            Over::Tcp => {
                let stream = over_tcp(node.turn_listener("tcp").unwrap());
                let Stream { stream, received, .. } = bound(stream, connection, eager);
                Data { pipe: Pipe::Tcp(stream), early: received }
            }
            Over::Tls => {
                let stream = over_tls(node.turn_listener("tls").unwrap(), demo(dir));
                let Stream { stream, received, .. } = bound(stream, connection, eager);
                Data { pipe: Pipe::Tls(Box::new(stream)), early: received }
            }
        }
    }
}

/// Writes something right behind its second message: the first is answered with a challenge.
struct Eager<S> {
    stream: Stream<S>,
    behind: [&'static [u8]; 2],
}

impl<S: Read + Write + Send> Wire for Eager<S> {
    fn send(&mut self, message: &[u8]) {
        let [now, later] = self.behind;
        self.behind = [later, b""];
        self.stream.stream.write_all(&[message, now].concat()).unwrap();
    }

    fn receive(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.stream.receive(patience)
    }
}

fn bound<S: Read + Write + Send + 'static>(
    stream: Stream<S>,
    connection: u32,
    eager: &'static [u8],
) -> Stream<S> {
    let shared = Arc::new(Mutex::new(Eager { stream, behind: [b"", eager] }));
    let mut client = TurnClient::new(shared.clone(), "alice", "alice");
    let answer = client.ask(Method::CONNECTION_BIND, |writer| {
        writer.put_u32(Type::CONNECTION_ID, connection);
    });
    assert_eq!(answer.code(), 0, "{answer:?}");
    drop(client);
    let Eager { stream, .. } = Arc::into_inner(shared).unwrap().into_inner().unwrap();
    stream.socket.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A client data connection.
struct Data {
    pipe: Pipe,
    /// What came right behind the answer.
    early: Vec<u8>,
}

enum Pipe {
    Tcp(TcpStream),
    Tls(Box<Tls>),
}

impl Data {
    fn write(&mut self, bytes: &[u8]) {
        match &mut self.pipe {
            Pipe::Tcp(stream) => stream.write_all(bytes).unwrap(),
            Pipe::Tls(stream) => stream.write_all(bytes).unwrap(),
        }
    }

    /// Says that nothing more comes: RFC 8446 §6.1 lets the other side go on.
    fn end(&mut self) {
        match &mut self.pipe {
            Pipe::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Pipe::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        }
    }

    fn receive(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes).unwrap();
        bytes
    }
}

impl Read for Data {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.pipe {
            _ if !self.early.is_empty() => {
                let n = self.early.as_slice().read(buffer)?;
                self.early.drain(..n);
                Ok(n)
            }
            Pipe::Tcp(stream) => stream.read(buffer),
            Pipe::Tls(stream) => stream.read(buffer),
        }
    }
}

/// A peer that listens.
fn peer() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A peer that sends back what it gets, up to its end and that too; whoever connected to it.
fn echo(listener: TcpListener) -> JoinHandle<SocketAddr> {
    std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        from
    })
}

/// A peer that takes one connection.
fn taking(listener: TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// No two of its kilobytes are alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ ((at >> 10) * 37)) as u8).collect()
}

#[test]
fn a_megabyte_comes_back_unharmed_and_an_end_is_passed_on() {
    for (over, workers) in BOTH.into_iter().flat_map(|over| [(over, 1), (over, 3)]) {
        let (node, dir) = node(workers, |_| ());
        let mut alice = over.client(&node, dir.path());
        let relayed = alice.allocate_tcp();
        let (listener, addr) = peer();
        let peer = echo(listener);
        let connection = alice.connect(addr).unwrap();
        assert_eq!(alice.connect(addr), Err(446));
        let mut data = over.data(&node, dir.path(), connection);
        let sent = pattern(MEGABYTE);
        for piece in sent.chunks(PIECE) {
            data.write(piece);
            assert_eq!(crc32fast::hash(&data.receive(piece.len())), crc32fast::hash(piece));
        }
        data.end();
        assert_eq!(read_to_close(&mut data), b"");
        assert_eq!(peer.join().unwrap(), relayed, "it comes from the relayed address");
    }
}

#[test]
fn a_peer_with_a_permission_connects_and_what_it_sent_at_once_arrives() {
    for (over, workers) in BOTH.into_iter().flat_map(|over| [(over, 1), (over, 3)]) {
        let (node, dir) = node(workers, |_| ());
        let mut alice = over.client(&node, dir.path());
        let relayed = alice.allocate_tcp();
        let mut stranger = tcp(relayed);
        assert_eq!(read_to_close(&mut stranger), b"", "without a permission it is closed at once");
        assert_eq!(alice.permit("127.0.0.1:9".parse().unwrap()), 0);
        let mut bob = tcp(relayed);
        bob.write_all(b"early").unwrap();
        let Received::Attempt(from, connection) = alice.receive() else { panic!("something else") };
        assert_eq!(from, bob.local_addr().unwrap());
        let mut data = over.data(&node, dir.path(), connection);
        assert_eq!(data.receive(5), b"early");
        bob.write_all(b", and later").unwrap();
        assert_eq!(data.receive(11), b", and later");
        bob.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_close(&mut data), b"");
        data.write(b"the other way goes on");
        data.end();
        assert_eq!(read_to_close(&mut bob), b"the other way goes on");
    }
}

#[test]
fn whichever_worker_takes_the_connection_it_comes_to_the_one_that_has_the_peer() {
    let (node, dir) = node(4, |_| ());
    for over in BOTH {
        let mut alice = over.client(&node, dir.path());
        alice.allocate_tcp();
        let mut all = Vec::new();
        for n in 0..12u8 {
            let (listener, addr) = peer();
            let peer = echo(listener);
            let connection = alice.connect(addr).unwrap();
            let mut data = over.eager_data(&node, dir.path(), connection, b"not waiting for the answer");
            data.write(&[n; 100]);
            all.push((n, peer, data));
        }
        for (n, peer, mut data) in all {
            assert_eq!(data.receive(26), b"not waiting for the answer");
            assert_eq!(data.receive(100), [n; 100]);
            data.end();
            assert_eq!(read_to_close(&mut data), b"");
            peer.join().unwrap();
        }
    }
}

#[test]
fn two_clients_of_ours_reach_each_other() {
    for workers in [1, 3] {
        let (node, dir) = node(workers, |_| ());
        let (mut alice, mut other) =
            (Over::Tcp.client(&node, dir.path()), Over::Tls.client(&node, dir.path()));
        let (here, there) = (alice.allocate_tcp(), other.allocate_tcp());
        assert_eq!(other.permit(here), 0);
        let from_here = alice.connect(there).unwrap();
        let Received::Attempt(from, from_there) = other.receive() else { panic!("something else") };
        assert_eq!(from, here);
        let mut one = Over::Tcp.data(&node, dir.path(), from_here);
        let mut two = Over::Tls.data(&node, dir.path(), from_there);
        one.write(b"to the other");
        assert_eq!(two.receive(12), b"to the other");
        two.write(b"and back");
        assert_eq!(one.receive(8), b"and back");
    }
}

#[test]
fn both_sides_talk_at_once_in_small_pieces_and_no_byte_is_lost() {
    let (node, dir) = node(2, |_| ());
    let (mut alice, mut other) = (Over::Tcp.client(&node, dir.path()), Over::Tcp.client(&node, dir.path()));
    let (here, there) = (alice.allocate_tcp(), other.allocate_tcp());
    assert_eq!(other.permit(here), 0);
    let from_here = alice.connect(there).unwrap();
    let Received::Attempt(_, from_there) = other.receive() else { panic!("something else") };
    let ends = [from_here, from_there].map(|connection| Over::Tcp.data(&node, dir.path(), connection));
    let sent = pattern(4 * MEGABYTE);
    std::thread::scope(|scope| {
        for mut end in ends {
            let Pipe::Tcp(stream) = &end.pipe else { panic!("not TCP") };
            let mut writer = stream.try_clone().unwrap();
            let sent = &sent;
            scope.spawn(move || {
                sent.chunks(1400).for_each(|piece| writer.write_all(piece).unwrap());
                writer.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let arrived = read_to_close(&mut end);
                assert_eq!((arrived.len(), crc32fast::hash(&arrived)), (sent.len(), crc32fast::hash(sent)));
            });
        }
    });
}

#[test]
fn an_end_that_is_gone_takes_the_other_along() {
    for over in BOTH {
        let (node, dir) = node(2, |_| ());
        let mut alice = over.client(&node, dir.path());
        alice.allocate_tcp();
        let begin = |alice: &mut TurnClient| {
            let (listener, addr) = peer();
            let connection = alice.connect(addr).unwrap();
            (taking(listener), over.data(&node, dir.path(), connection))
        };
        // The client's.
        let (mut bob, data) = begin(&mut alice);
        drop(data);
        assert_eq!(read_to_close(&mut bob), b"");
        // The peer's.
        let (bob, mut data) = begin(&mut alice);
        drop(bob);
        assert_eq!(read_to_close(&mut data), b"");
        // The allocation.
        let (mut bob, mut data) = begin(&mut alice);
        assert_eq!(alice.refresh(0), 0);
        assert_eq!((read_to_close(&mut bob), read_to_close(&mut data)), (vec![], vec![]));
    }
}

#[test]
fn who_does_not_read_slows_the_sender_down_and_loses_nothing() {
    for over in BOTH {
        let (node, dir) = node(1, |_| ());
        let mut alice = over.client(&node, dir.path());
        alice.allocate_tcp();
        let (listener, addr) = peer();
        let connection = alice.connect(addr).unwrap();
        let (mut bob, mut data) = (taking(listener), over.data(&node, dir.path(), connection));
        // Towards the client, until nothing moves any more: what is on the way fits the kernel's buffers and one piece.
        let piece = pattern(64 * 1024);
        let mut sent = 0;
        bob.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        while sent < 256 * MEGABYTE {
            match bob.write(&piece[sent % piece.len()..]) {
                Ok(n) => sent += n,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sent < 256 * MEGABYTE, "it never ends");
        bob.shutdown(Shutdown::Write).unwrap();
        let arrived = read_to_close(&mut data);
        assert_eq!(arrived.len(), sent);
        assert!(arrived.chunks(piece.len()).all(|chunk| *chunk == piece[..chunk.len()]));
    }
}

#[test]
fn the_bandwidth_of_the_role_holds_for_streams() {
    let (node, dir) = node(1, |role| role.bandwidth = Some(200_000));
    let mut alice = Over::Tcp.client(&node, dir.path());
    alice.allocate_tcp();
    let (listener, addr) = peer();
    let connection = alice.connect(addr).unwrap();
    let (mut bob, mut data) = (taking(listener), Over::Tcp.data(&node, dir.path(), connection));
    let sent = pattern(PIECE);
    let began = Instant::now();
    bob.write_all(&sent).unwrap();
    assert_eq!(data.receive(PIECE), sent);
    // A burst of a quarter of a second, and the rest at the rate.
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn a_peer_that_refuses_is_447_and_our_own_listeners_403() {
    let (node, dir) = node(1, |_| ());
    let mut alice = Over::Tcp.client(&node, dir.path());
    alice.allocate_tcp();
    let (listener, addr) = peer();
    drop(listener);
    assert_eq!(alice.connect(addr), Err(447));
    for name in ["tcp", "tls", "turn"] {
        assert_eq!(alice.connect(node.turn_listener(name).unwrap()), Err(403), "{name}");
    }
    assert_eq!(alice.connect("169.254.169.254:80".parse().unwrap()), Err(403));
}

#[test]
fn it_is_off_unless_a_role_allows_it() {
    let (node, dir) = node(1, |role| role.tcp = false);
    let mut alice = Over::Tls.client(&node, dir.path());
    let answer = alice.ask(Method::ALLOCATE, |writer| {
        writer.put_requested_transport(6);
    });
    assert_eq!(answer.code(), 403);
}
