//! Connections that the node opens.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use turnpike::base::Transport;
use turnpike::edge::settings::Target;

use crate::harness::*;

fn call(udp: &Udp) -> String {
    request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr())
}

#[test]
fn a_target_that_refuses_the_connection_is_known_at_once() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let dead = Dead::new(transport);
        let (node, dir) = node(|settings| {
            with_pbx(settings, transport, dead.at);
            trust_own(settings);
        });
        let udp = Udp::new(node.listener("udp").unwrap());
        let start = Instant::now();
        let status = udp.ask(&call(&udp));
        assert!((500..600).contains(&status), "{status}");
        assert!(start.elapsed().as_secs() < 3, "not before the fail-over time");
        drop(dir);
    }
}

#[test]
fn a_closed_udp_port_is_known_at_once() {
    for ip in ["127.0.0.1", "::1"] {
        let closed = Dead::on(ip, Transport::Udp);
        let (node, _dir) = node(|settings| {
            settings.edge.listeners[0].bind.set_ip(closed.at.ip());
            with_pbx(settings, Transport::Udp, closed.at);
        });
        let udp = Udp::new(node.listener("udp").unwrap());
        // Silence would be 408. Twice: what ICMP said of the first call must not be in the way of the second.
        for _ in 0..2 {
            assert_eq!(udp.ask(&call(&udp)), 503, "{ip}");
        }
        udp.assert_served();
    }
}

#[test]
fn the_next_host_takes_the_call_when_the_first_ones_udp_port_is_closed() {
    let (first, second) = (Dead::new(Transport::Udp), Udp::new("127.0.0.1:9".parse().unwrap()));
    let (node, _dir) = node(|settings| {
        with_pbx(settings, Transport::Udp, first.at);
        let pbx = settings.edge.pbx.as_mut().unwrap();
        let next = Target { port: Some(second.addr().port()), priority: 1, ..pbx.hosts[0].clone() };
        pbx.hosts.push(next);
        // Silence would never get there: the client gives up before.
        pbx.failover.after = 2 * DEADLINE;
    });
    let udp = Udp::new(node.listener("udp").unwrap());
    for _ in 0..2 {
        udp.send(&call(&udp));
        let invite = second.receive_request("INVITE");
        let busy = answer(&invite, "486 Busy Here", second.addr(), "");
        second.socket.send_to(busy.as_bytes(), udp.to).unwrap();
        assert_eq!(status(&udp.receive_final()), 486);
        second.receive_request("ACK");
    }
}

/// A PBX on UDP, and the node's call with an offer that a datagram has no room for.
fn large_call(pbx: &Udp) -> (turnpike::net::Node, tempfile::TempDir, Udp) {
    let (node, dir) = node(|settings| {
        with_pbx(settings, Transport::Udp, pbx.addr());
        settings.edge.pbx.as_mut().unwrap().failover.after = 2 * DEADLINE;
    });
    let udp = Udp::new(node.listener("udp").unwrap());
    udp.send(&with_body(&call(&udp), &"a=x-note:large\r\n".repeat(100)));
    (node, dir, udp)
}

#[test]
fn rfc_3261_18_1_1_what_outgrows_a_datagram_goes_over_tcp() {
    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind(stream.local_addr().unwrap()).unwrap();
    let pbx = Udp { socket, to: stream.local_addr().unwrap() };
    let (_node, _dir, udp) = large_call(&pbx);
    let mut stream = accept(&stream);
    let invite = read_message(&mut stream);
    assert!(invite.contains("Via: SIP/2.0/TCP ") && invite.contains(";transport=tcp;lr"), "{invite}");
    stream.write_all(answer(&invite, "486 Busy Here", pbx.addr(), "").as_bytes()).unwrap();
    assert_eq!(status(&udp.receive_final()), 486);
}

#[test]
fn rfc_3261_18_1_1_and_as_a_datagram_after_all_where_tcp_is_refused() {
    let pbx = Udp::new("127.0.0.1:9".parse().unwrap());
    let (_node, _dir, udp) = large_call(&pbx);
    let invite = pbx.receive_request("INVITE");
    assert!(invite.len() > 1_300 && invite.contains("Via: SIP/2.0/UDP "), "{invite}");
    pbx.socket.send_to(answer(&invite, "486 Busy Here", pbx.addr(), "").as_bytes(), udp.to).unwrap();
    assert_eq!(status(&udp.receive_final()), 486);
}

/// Where the system has no CA certificates, `verify: name` needs a file: any will do for these tests.
fn trust_own(settings: &mut turnpike::net::NodeSettings) {
    let ca = settings.net.data_dir.join("ca.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, made.cert.pem()).unwrap();
    for trust in &mut settings.net.tls_peers {
        trust.ca = Some(ca.clone());
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

#[test]
fn a_connection_to_a_target_is_opened_once_and_used_again() {
    let pbx = TcpListener::bind("127.0.0.1:0").unwrap();
    let (node, _dir) = node(|settings| with_pbx(settings, Transport::Tcp, pbx.local_addr().unwrap()));
    let udp = Udp::new(node.listener("udp").unwrap());
    let mut answering = None;
    for _ in 0..3 {
        udp.send(&call(&udp));
        let stream = answering.get_or_insert_with(|| accept(&pbx));
        let mut invite = read_message(stream);
        // The ACK of the call before.
        if invite.starts_with("ACK ") {
            invite = read_message(stream);
        }
        assert!(invite.starts_with("INVITE "), "{invite}");
        stream.write_all(answer(&invite, "486 Busy Here", pbx.local_addr().unwrap(), "").as_bytes()).unwrap();
        assert_eq!(status(&udp.receive_final()), 486);
    }
    pbx.set_nonblocking(true).unwrap();
    assert!(pbx.accept().is_err(), "a second connection");
    // The target goes away and comes back: the next call opens a new one.
    drop(answering);
    eventually("no connection", || node.status().unwrap().connections == 0);
    pbx.set_nonblocking(false).unwrap();
    udp.send(&call(&udp));
    assert!(read_message(&mut accept(&pbx)).starts_with("INVITE "));
}
