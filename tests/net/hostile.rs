//! Peers that are slow, silent, deaf, too many or talk nonsense (ATTACKS.md: slow-loris, half-open connections, a peer
//! that never reads). Everyone else is served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use socket2::{Domain, Socket, Type};
use turnpike::base::Transport;
use turnpike::net::settings::Capacity;

use crate::harness::*;

#[test]
fn what_is_too_large_gets_an_answer_and_the_connection_is_closed() {
    let (node, _dir) = node(|_| {});
    let to = node.listener("tcp").unwrap();
    let mut stream = tcp(to);
    let large = options(Transport::Tcp, "127.0.0.1:9".parse().unwrap(), to)
        .replace("Content-Length", &format!("X-Large: {}\r\nContent-Length", "a".repeat(70_000)));
    stream.write_all(large.as_bytes()).unwrap();
    let said = String::from_utf8(read_to_close(&mut stream)).unwrap();
    assert_eq!(status(&said), 513, "{said}");
    Udp::new(node.listener("udp").unwrap()).assert_served();
}

#[test]
fn nonsense_is_cut_off() {
    let (node, _dir) = node(|_| {});
    for nonsense in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\u{1}\u{2}\u{3}\r\n\r\n", "OPTIONS sip:a SIP/2.0\r\n\r\n"]
    {
        let mut stream = tcp(node.listener("tcp").unwrap());
        stream.write_all(nonsense.as_bytes()).unwrap();
        let said = read_to_close(&mut stream);
        assert!(said.len() <= nonsense.len() + 400, "{}", String::from_utf8_lossy(&said));
    }
    eventually("no connection", || node.status().unwrap().connections == 0);
}

#[test]
fn one_source_has_so_many_connections_and_no_more() {
    let (node, _dir) = node(|settings| settings.net.capacity.connections_per_source = 3);
    let to = node.listener("tcp").unwrap();
    let mut held: Vec<TcpStream> = (0..3).map(|_| tcp(to)).collect();
    held.iter_mut().for_each(assert_served);
    assert!(read_to_close(&mut tcp(to)).is_empty());
    // Handshakes that are not done count too.
    assert!(read_to_close(&mut tcp(node.listener("tls").unwrap())).is_empty());
    Udp::new(node.listener("udp").unwrap()).assert_served();
    held.pop();
    eventually("a free place", || {
        let mut stream = tcp(to);
        stream.write_all(b"\r\n\r\n").is_ok() && stream.read_exact(&mut [0; 2]).is_ok()
    });
}

#[test]
fn half_open_tls_does_not_last() {
    let (node, _dir) = node(|settings| settings.net.patience.handshake = Duration::from_millis(100));
    let to = node.listener("tls").unwrap();
    let mut silent: Vec<TcpStream> = (0..50).map(|_| tcp(to)).collect();
    Udp::new(node.listener("udp").unwrap()).assert_served();
    for stream in &mut silent {
        assert!(read_to_close(stream).is_empty());
    }
}

#[test]
fn a_message_that_does_not_end_is_not_waited_for() {
    let (node, _dir) = node(|settings| settings.net.patience.message = Duration::from_millis(100));
    let to = node.listener("tcp").unwrap();
    let mut slow = tcp(to);
    let message = options(Transport::Tcp, "127.0.0.1:9".parse().unwrap(), to);
    slow.write_all(&message.as_bytes()[..60]).unwrap();
    assert!(read_to_close(&mut slow).is_empty());
}

#[test]
fn silence_ends_a_connection_and_a_ping_keeps_it() {
    let (node, _dir) = node(|settings| settings.net.patience.idle = Duration::from_millis(1_500));
    let to = node.listener("tcp").unwrap();
    let (mut silent, mut alive) = (tcp(to), tcp(to));
    silent.set_nonblocking(true).unwrap();
    eventually("the silent one is closed", || {
        alive.write_all(b"\r\n\r\n").unwrap();
        alive.read_exact(&mut [0; 2]).unwrap();
        matches!(silent.read(&mut [0]), Ok(0))
    });
    assert_served(&mut alive);
}

/// A client whose receive buffer is as small as the kernel makes it.
fn deaf(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn a_peer_that_does_not_read_is_cut_off_and_harms_nobody() {
    let (node, _dir) = node(|settings| settings.net.capacity.outbound_bytes = 32 * 1024);
    let to = node.listener("tcp").unwrap();
    let mut deaf = deaf(to);
    let writer = std::thread::spawn(move || {
        // Answers pile up until the node has had enough; far fewer than these.
        let batch: String =
            (0..50).map(|_| options(Transport::Tcp, "127.0.0.1:9".parse().unwrap(), to)).collect();
        (0..100_000).any(|_| deaf.write_all(batch.as_bytes()).is_err())
    });
    let udp = Udp::new(node.listener("udp").unwrap());
    while !writer.is_finished() {
        udp.assert_served();
    }
    assert!(writer.join().unwrap(), "it was never cut off");
    eventually("no connection", || node.status().unwrap().connections == 0);
}

#[test]
fn a_deaf_peer_that_asks_little_is_cut_off_by_time() {
    let (node, _dir) = node(|settings| {
        settings.net.patience.write = Duration::from_millis(200);
        settings.net.capacity.outbound_bytes = 64 * 1024 * 1024;
    });
    let to = node.listener("tcp").unwrap();
    let mut deaf = deaf(to);
    let ask = options(Transport::Tcp, "127.0.0.1:9".parse().unwrap(), to);
    let mut asked = 0;
    eventually("cut off", || {
        asked += 1;
        // Each is a transaction of its own.
        let ask = ask.replace("z9hG4bK", &format!("z9hG4bK{asked}-"));
        (0..200).any(|i| deaf.write_all(ask.replace("call-", &format!("{i}-")).as_bytes()).is_err())
    });
}

#[test]
fn three_hundred_half_open_connections_of_one_source_are_its_own_trouble() {
    let (node, _dir) = node(|settings| settings.net.patience.handshake = DEADLINE * 2);
    let to = node.listener("tls").unwrap();
    let limit = Capacity::default().connections_per_source;
    let mut half_open: Vec<TcpStream> = (0..300).map(|_| tcp(to)).collect();
    half_open.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    eventually("all but as many as one source may have are closed", || {
        half_open.retain_mut(
            |stream| matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock),
        );
        half_open.len() <= limit
    });
    assert_eq!(half_open.len(), limit);
    assert_served(&mut tcp_from([127, 0, 0, 2], node.listener("tcp").unwrap()));
    Udp::new(node.listener("udp").unwrap()).assert_served();
    assert!(read_to_close(&mut tcp(node.listener("tcp").unwrap())).is_empty(), "of the same source");
}

#[test]
fn whoever_resets_before_the_answer_leaves_nothing_behind() {
    let (node, _dir) = node(|_| {});
    let to = node.listener("tcp").unwrap();
    for method in ["OPTIONS", "INVITE", "MESSAGE"] {
        for _ in 0..30 {
            let stream = Socket::from(tcp(to));
            let uri = if method == "OPTIONS" { format!("sip:{to}") } else { format!("sip:200@{to}") };
            let ask = request(method, &uri, Transport::Tcp, "127.0.0.1:9".parse().unwrap());
            stream.send(ask.as_bytes()).unwrap();
            stream.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    assert_served(&mut tcp(to));
    eventually("nothing left", || {
        let status = node.status().unwrap();
        (status.connections, status.edge.calls) == (0, 0)
    });
}

#[test]
fn after_a_flood_of_garbage_a_question_is_answered() {
    let (node, _dir) = node(|_| {});
    let udp = Udp::new(node.listener("udp").unwrap());
    let ask = options(Transport::Udp, udp.addr(), udp.to);
    let mut rng: StdRng = SeedableRng::seed_from_u64(5060);
    let mut garbage = vec![0; 60_000];
    for i in 0..20_000 {
        let length = rng.next_u32() as usize % if i % 100 == 0 { garbage.len() } else { 600 };
        rng.fill_bytes(&mut garbage[..length]);
        if i % 2 == 0 {
            // Nearly a request.
            let cut = rng.next_u32() as usize % ask.len();
            garbage[..cut].copy_from_slice(&ask.as_bytes()[..cut]);
        }
        let _ = udp.socket.send_to(&garbage[..length], udp.to);
    }
    // Its own datagram may have been lost in the flood, and answers to garbage that can be answered come first.
    udp.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 65_536];
    eventually("answered", || {
        udp.send(&options(Transport::Udp, udp.addr(), udp.to));
        udp.socket.recv(&mut buffer).is_ok_and(|n| buffer[..n].starts_with(b"SIP/2.0 200 "))
    });
}

/// A port on which connections are never made: its backlog is full.
fn unreachable() -> (SocketAddr, Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let waiting = (0..4).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&addr);
        socket
    });
    (addr.as_socket().unwrap(), listener, waiting.collect())
}

#[test]
fn what_waits_for_a_connection_that_is_not_made_is_bounded() {
    let (pbx, _listener, _waiting) = unreachable();
    let (node, _dir) = node(|settings| {
        with_pbx(settings, Transport::Tcp, pbx);
        settings.edge.pbx.as_mut().unwrap().failover.after = DEADLINE * 2;
        settings.net.patience.connect = DEADLINE * 2;
        settings.net.capacity.outbound_bytes = 16 * 1024;
    });
    let udp = Udp::new(node.listener("udp").unwrap());
    let mut asked = 0;
    loop {
        udp.send(&request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr()));
        asked += 1;
        assert!(asked <= 50, "more than fits waits");
        // 100, or when it has become too much, the end of all that wait.
        if status(&udp.receive()) >= 500 {
            break;
        }
    }
    assert!(asked > 5, "{asked}");
}
