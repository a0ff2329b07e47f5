//! The "SDP and media" rows of docs/attacks.md over real sockets, against a running node: a phone of a zone without trust calls
//! the PBX, and strangers do what they can. After each attack the edge answers OPTIONS and serves an honest TURN client.

mod destinations;
mod exhaustion;
mod ice;
mod latching;
mod malformed;
mod srtp;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use turnpike::base::{ListenerId, Transport, ZoneId};
use turnpike::edge::settings::{Listener, Media, Trust, Zone};
use turnpike::net::{Node, NodeSettings};
use turnpike::relay::{RelayAddress, Traffic};
use turnpike::stun::Method;

use crate::calls::{Call, audio, rtp, sdp};
use crate::harness::{DEADLINE, Udp, eventually, node, with_pbx};
use crate::turn;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where strangers send from, and where a victim listens.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));

/// A node between phones and a PBX that is played by the test.
struct Edge {
    node: Node,
    _dir: tempfile::TempDir,
    pbx: Option<Udp>,
}

impl Edge {
    /// `phones`, `office`: what the two zones say of media.
    fn new(change: impl FnOnce(&mut Media, &mut Media)) -> Edge {
        Edge::with(change, |_| ())
    }

    fn with(change: impl FnOnce(&mut Media, &mut Media), more: impl FnOnce(&mut NodeSettings)) -> Edge {
        let pbx = Udp::new("127.0.0.1:9".parse().unwrap());
        let (node, dir) = node(|settings| {
            turn::with_turn(settings, 1, turn::settings());
            phones_and_office(settings, pbx.addr());
            let [phones, office] = &mut settings.edge.zones[..] else { unreachable!() };
            change(&mut phones.media, &mut office.media);
            more(settings);
        });
        let pbx = Udp { to: node.listener("inside").unwrap(), ..pbx };
        Edge { node, _dir: dir, pbx: Some(pbx) }
    }

    /// A phone's SIP.
    fn phone(&self) -> Udp {
        Udp::new(self.node.listener("udp").unwrap())
    }

    /// A phone calls the PBX, which answers.
    fn call(&mut self, offer: &str, answer: &str) -> Call {
        Call::up(self.phone(), self.pbx.take().unwrap(), offer, answer)
    }

    fn media(&self) -> Traffic {
        self.node.status().unwrap().media
    }

    /// Packets that were dropped for what they were, or whose.
    fn refused(&self) -> u64 {
        let media = self.media();
        media.refused_source + media.refused_payload + media.refused_authentication + media.refused_replay
    }

    /// Others are still served, and nothing is left of the call.
    fn assert_served(&self) {
        self.phone().assert_served();
        eventually("no pair is left", || self.node.status().unwrap().edge.relay.pairs == 0);
        let mut alice = turn::client(&self.node, "alice");
        // Where calls had all ports, the relay's thread may have yet to close them.
        eventually("an allocation", || {
            let answer = alice.ask(Method::ALLOCATE, |writer| {
                writer.put_requested_transport(17);
            });
            answer.code() == 0
        });
    }
}

/// Phones are in zone 0, with the listener `udp`; the PBX is in a zone of its own, behind the listener `inside`.
pub fn phones_and_office(settings: &mut NodeSettings, pbx: SocketAddr) {
    with_pbx(settings, Transport::Udp, pbx);
    let edge = &mut settings.edge;
    let relay = RelayAddress { bind: turn::relay_ip(), advertise: turn::relay_ip() };
    edge.zones[0].relay = Some(relay.into());
    edge.zones[0].media.anchor = turnpike::edge::settings::Anchor::Always;
    edge.zones.push(Zone { name: "office".into(), ..edge.zones[0].clone() });
    edge.zones[0].trust = Trust::None;
    let inside = Listener { name: "inside".into(), zone: ZoneId(1), ..edge.listeners[0].clone() };
    edge.listeners.push(inside);
    let pbx = edge.pbx.as_mut().unwrap();
    pbx.zone = ZoneId(1);
    pbx.hosts[0].ways = [(Transport::Udp, ListenerId(3))].into_iter().collect();
    settings.net.listeners.push(None);
    settings.net.web.push(None);
}

/// An endpoint's media sockets.
struct Endpoint {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl Endpoint {
    fn new() -> Endpoint {
        Endpoint { rtp: socket(HERE), rtcp: socket(HERE) }
    }

    fn sdp(&self) -> String {
        sdp(addr(&self.rtp)) + &format!("a=rtcp:{}\r\n", addr(&self.rtcp).port())
    }
}

fn socket(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

fn addr(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().unwrap()
}

/// What comes next, and from where.
fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    turn::receive(socket)
}

/// Nothing has come.
fn assert_silent(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    let came = socket.recv_from(&mut [0; 2_000]);
    assert!(came.is_err(), "{came:?} came to {}", addr(socket));
    socket.set_nonblocking(false).unwrap();
}

/// The relayed addresses that a message's SDP shows, for RTP and RTCP.
fn shown(message: &str) -> [SocketAddr; 2] {
    let rtp = audio(message);
    [rtp, SocketAddr::new(rtp.ip(), rtp.port() + 1)]
}

/// A sender report (RFC 3550 §6.4.1) of the source of [`rtp`].
fn rtcp(number: u8) -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6, 0, 0, 0, 7];
    report.resize(28, number);
    report
}

/// What strangers send: what looks like the stream, RTCP that ends it, another payload type, DTLS, STUN and nonsense.
fn ammunition() -> Vec<Vec<u8>> {
    let goodbye = vec![0x81, 203, 0, 1, 0, 0, 0, 7];
    let mut video = rtp(1).to_vec();
    video[1] = 96;
    let mut hello = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 48];
    hello.resize(73, 1);
    let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    binding.resize(20, 9);
    let nonsense = b"GET / HTTP/1.1\r\n\r\n".to_vec();
    vec![rtp(2).to_vec(), rtcp(2), rtp(200).to_vec(), goodbye, video, hello, binding, nonsense]
}

/// Strangers, each with a socket of its own, who must never be sent anything.
struct Strangers(Vec<UdpSocket>);

impl Strangers {
    fn at(places: &[IpAddr]) -> Strangers {
        Strangers(places.iter().map(|ip| socket(*ip)).collect())
    }

    /// Every stranger sends all that there is to every address; how many packets that were.
    fn spray(&self, to: &[SocketAddr]) -> u64 {
        let mut sent = 0;
        for (stranger, to) in self.0.iter().flat_map(|stranger| to.iter().map(move |to| (stranger, to))) {
            for packet in ammunition() {
                stranger.send_to(&packet, to).unwrap();
                sent += 1;
            }
        }
        sent
    }

    fn assert_silent(&self) {
        self.0.iter().for_each(assert_silent);
    }
}

/// Media goes both ways, each packet to who it is for and no other, while `disturb` is done between them.
fn assert_talk(
    (phone, facing_phone): (&Endpoint, [SocketAddr; 2]),
    (pbx, facing_pbx): (&Endpoint, [SocketAddr; 2]),
    mut disturb: impl FnMut(),
) {
    for number in 0..20 {
        disturb();
        let (speech, report) = (rtp(number).to_vec(), rtcp(number));
        phone.rtp.send_to(&speech, facing_phone[0]).unwrap();
        assert_eq!(receive(&pbx.rtp), (speech.clone(), facing_pbx[0]));
        pbx.rtp.send_to(&speech, facing_pbx[0]).unwrap();
        assert_eq!(receive(&phone.rtp), (speech, facing_phone[0]));
        phone.rtcp.send_to(&report, facing_phone[1]).unwrap();
        assert_eq!(receive(&pbx.rtcp), (report.clone(), facing_pbx[1]));
        pbx.rtcp.send_to(&report, facing_pbx[1]).unwrap();
        assert_eq!(receive(&phone.rtcp), (report, facing_phone[1]));
    }
    for socket in [&phone.rtp, &phone.rtcp, &pbx.rtp, &pbx.rtcp] {
        assert_silent(socket);
    }
}

/// Waits until as many packets are refused.
fn refused(edge: &Edge, expected: u64) {
    eventually("all are refused", || edge.refused() >= expected);
    assert_eq!(edge.refused(), expected);
}
