//! Hosts that are found by the DNS (RFC 3263), with a name server of the test's own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use turnpike::base::{ListenerId, Transport};
use turnpike::edge::settings::{Host, Target};

use crate::harness::*;

/// Answers what it knows, and says of all else that there is nothing.
struct NameServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start(records: Vec<(&str, RData)>) -> NameServer {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let records: Vec<_> =
            records.into_iter().map(|(owner, data)| Record::from_rdata(name(owner), 60, data)).collect();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = stopped.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stop.load(Ordering::Relaxed) {
                let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(question) = Message::from_vec(&buffer[..n]) else { continue };
                let mut answer = Message::response(question.metadata.id, OpCode::Query);
                for query in &question.queries {
                    answer.add_query(query.clone());
                    let asked = |record: &&Record| {
                        record.name == *query.name() && record.record_type() == query.query_type()
                    };
                    answer.add_answers(records.iter().filter(asked).cloned());
                }
                socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
            }
        });
        NameServer { address, stopped, thread: Some(thread) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn naptr(order: u16, service: &str, replacement: &str) -> RData {
    let bytes = |text: &str| text.as_bytes().into();
    let replacement = Name::from_ascii(replacement).unwrap();
    RData::NAPTR(NAPTR::new(order, 0, bytes("s"), bytes(service), bytes(""), replacement))
}

fn srv(priority: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, 1, port, Name::from_ascii(target).unwrap()))
}

fn loopback() -> RData {
    RData::A(A(Ipv4Addr::LOCALHOST))
}

/// A node whose PBX is `sip:NAME`, to be found by `server`.
fn node_that_asks(
    server: SocketAddr,
    name: &str,
    transport: Option<Transport>,
) -> (turnpike::net::Node, tempfile::TempDir) {
    node(|settings| {
        with_pbx(settings, Transport::Udp, "127.0.0.1:9".parse().unwrap());
        settings.net.dns = vec![server];
        let pbx = settings.edge.pbx.as_mut().unwrap();
        pbx.failover.after = 2 * DEADLINE;
        let ways = [Transport::Udp, Transport::Tcp].map(|way| (way, ListenerId(0)));
        pbx.hosts = vec![Target {
            host: Host::Name(name.into()),
            port: None,
            transport,
            ways: ways.into_iter().collect(),
            ..pbx.hosts[0].clone()
        }];
    })
}

/// Calls until the node knows where to.
fn invite_that_arrives(udp: &Udp, pbx: &Udp) -> String {
    pbx.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let deadline = Instant::now() + DEADLINE;
    let mut buffer = [0; 65_536];
    while Instant::now() < deadline {
        udp.send(&request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr()));
        if let Ok(n) = pbx.socket.recv(&mut buffer) {
            pbx.socket.set_read_timeout(Some(DEADLINE)).unwrap();
            return String::from_utf8(buffer[..n].to_vec()).unwrap();
        }
    }
    panic!("no call came");
}

#[test]
fn naptr_and_srv_lead_to_the_server_and_past_a_dead_one() {
    let pbx = Udp::new("127.0.0.1:9".parse().unwrap());
    let closed = Dead::new(Transport::Udp);
    let server = NameServer::start(vec![
        ("pbx.test.", naptr(10, "SIP+D2U", "_sip._udp.pbx.test.")),
        ("pbx.test.", naptr(5, "SIP+D2X", "_sip._x.pbx.test.")),
        ("_sip._udp.pbx.test.", srv(20, pbx.addr().port(), "b.pbx.test.")),
        ("_sip._udp.pbx.test.", srv(10, closed.at.port(), "a.pbx.test.")),
        ("a.pbx.test.", loopback()),
        ("b.pbx.test.", loopback()),
    ]);
    let (node, _dir) = node_that_asks(server.address, "pbx.test", None);
    let udp = Udp::new(node.listener("udp").unwrap());
    let invite = invite_that_arrives(&udp, &pbx);
    assert!(invite.starts_with("INVITE sip:200@pbx.test"), "the name, not where it was found: {invite}");
}

#[test]
fn without_srv_the_name_is_the_host() {
    // Port 5060 cannot be picked free; that it is asked is seen by who answers with a refusal.
    let server = NameServer::start(vec![("pbx.test.", loopback())]);
    let (node, _dir) = node_that_asks(server.address, "pbx.test", Some(Transport::Tcp));
    let udp = Udp::new(node.listener("udp").unwrap());
    assert_eq!(udp.ask(&request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr())), 503);
    udp.assert_served();
}

#[test]
fn a_name_server_that_says_nothing_blocks_nobody() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (node, _dir) = node_that_asks(silent.local_addr().unwrap(), "pbx.test", None);
    let udp = Udp::new(node.listener("udp").unwrap());
    let begun = Instant::now();
    assert_eq!(udp.ask(&request("INVITE", &format!("sip:200@{}", udp.to), Transport::Udp, udp.addr())), 503);
    assert!(begun.elapsed() < DEADLINE / 2, "it did not wait for the DNS");
    udp.assert_served();
}
