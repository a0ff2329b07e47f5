//! Start and end of a node.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use turnpike::edge::event::Event;
use turnpike::net::{Node, StartError};

use crate::harness::*;

#[test]
fn a_node_without_calls_stops_at_once_and_frees_its_ports() {
    let (node, _dir) = node(|_| {});
    let (tcp_addr, udp_addr) = (node.listener("tcp").unwrap(), node.listener("udp").unwrap());
    let mut open = tcp(tcp_addr);
    assert_served(&mut open);
    let start = Instant::now();
    node.shutdown(Duration::from_secs(60));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(read_to_close(&mut open).is_empty());
    TcpListener::bind(tcp_addr).unwrap();
    std::net::UdpSocket::bind(udp_addr).unwrap();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(dir.path());
    settings.edge.listeners[1].bind = taken.local_addr().unwrap();
    match Node::start(settings).err() {
        Some(StartError::Bind { name, .. }) => assert_eq!(&*name, "tcp"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn subscribers_see_every_message() {
    let (node, _dir) = node(|_| {});
    let events = node.subscribe(true).unwrap();
    let udp = Udp::new(node.listener("udp").unwrap());
    udp.assert_served();
    let messages: Vec<_> = std::iter::from_fn(|| events.recv_timeout(DEADLINE).ok())
        .filter_map(|event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .take(2)
        .collect();
    assert!(messages[0].received && messages[0].bytes.starts_with(b"OPTIONS "));
    assert!(!messages[1].received && messages[1].bytes.starts_with(b"SIP/2.0 200"));
    assert!(messages[1].remote.ends_with(&udp.addr().to_string()), "{}", messages[1].remote);
}
