//! Calls through a node with real sockets.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipnetwork::IpNetwork;
use turnpike::base::{ListenerId, Transport, ZoneId};
use turnpike::edge::settings::{Anchor, Listener};
use turnpike::net::NodeSettings;
use turnpike::relay::{RelayAddress, RelayAddresses};

use crate::harness::*;

/// A call that was answered; both ends speak UDP.
pub struct Call {
    pub caller: Udp,
    pub callee: Udp,
    /// As the callee got it.
    pub invite: String,
    /// As the caller got it.
    pub ok: String,
}

impl Call {
    /// Calls `callee`, which answers.
    pub fn up(caller: Udp, callee: Udp, offer: &str, accepted: &str) -> Call {
        let uri = format!("sip:200@{}", caller.to);
        let invite = with_body(&request("INVITE", &uri, Transport::Udp, caller.addr()), offer);
        caller.send(&invite);
        let invite = callee.receive_request("INVITE");
        callee.send(&answer(&invite, "200 OK", callee.addr(), accepted));
        let ok = caller.receive_final();
        assert_eq!(status(&ok), 200, "{ok}");
        let call = Call { caller, callee, invite, ok };
        call.caller.send(&call.request("ACK", 1));
        call.callee.receive_request("ACK");
        call
    }

    /// A request of the caller's in the dialog.
    fn request(&self, method: &str, cseq: u32) -> String {
        in_dialog(&self.ok, method, cseq, self.caller.addr())
    }

    /// The caller hangs up.
    pub fn hang_up(&self) {
        self.caller.send(&self.request("BYE", 2));
        let bye = self.callee.receive_request("BYE");
        self.callee.send(&answer(&bye, "200 OK", self.callee.addr(), ""));
        assert_eq!(status(&self.caller.receive_final()), 200);
    }
}

/// A request in the dialog that this 2xx made, from its caller over UDP.
pub fn in_dialog(ok: &str, method: &str, cseq: u32, caller: SocketAddr) -> String {
    let contact = values(ok, "Contact")[0].trim_matches(['<', '>']);
    let mut request = request(method, contact, Transport::Udp, caller);
    for name in ["From", "To", "Call-ID"] {
        request = request.replace(values(&request, name)[0], values(ok, name)[0]);
    }
    let routes: Vec<_> = values(ok, "Record-Route").iter().flat_map(|v| v.split(',')).rev().collect();
    request = request.replace("Contact:", &format!("Route: {}\r\nContact:", routes.join(",")));
    request.replace(&format!("CSeq: 1 {method}"), &format!("CSeq: {cseq} {method}"))
}

pub fn sdp(media: SocketAddr) -> String {
    let ip = media.ip();
    let version = if ip.is_ipv4() { 4 } else { 6 };
    format!(
        "v=0\r\no=- 1 1 IN IP{version} {ip}\r\ns=-\r\nc=IN IP{version} {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
        media.port()
    )
}

/// Where an SDP wants its audio.
pub fn audio(message: &str) -> SocketAddr {
    let behind = |prefix: &str| {
        let line = message.lines().find_map(|line| line.strip_prefix(prefix)).unwrap();
        line.split(' ').next().unwrap().to_owned()
    };
    let ip = if message.contains("c=IN IP4 ") { behind("c=IN IP4 ") } else { behind("c=IN IP6 ") };
    SocketAddr::new(ip.parse().unwrap(), behind("m=audio ").parse().unwrap())
}

/// All media through relayed addresses on `ip`.
pub fn anchored(settings: &mut NodeSettings, ip: IpAddr) {
    settings.edge.zones[0].relay = Some(RelayAddress { bind: ip, advertise: ip }.into());
    settings.edge.zones[0].media.anchor = Anchor::Always;
}

fn on_ipv6(settings: &mut NodeSettings) {
    for listener in &mut settings.edge.listeners {
        listener.bind = "[::1]:0".parse().unwrap();
        listener.advertise = "[::1]:0".into();
    }
}

/// G.711, 20 ms.
pub fn rtp(number: u8) -> [u8; 172] {
    let mut packet = [0xd5; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, number, 0, 0, number, 0, 0, 0, 0, 7]);
    packet
}

#[test]
fn a_call_goes_through_and_its_media_is_counted_while_it_lasts() {
    for ip in ["127.0.0.1", "::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let mut callee = Udp::at(&ip.to_string(), SocketAddr::new(ip, 9));
        let (node, _dir) = node(|settings| {
            if ip.is_ipv6() {
                on_ipv6(settings);
            }
            anchored(settings, ip);
            with_pbx(settings, Transport::Udp, callee.addr());
        });
        callee.to = node.listener("udp").unwrap();
        let media = || {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        };
        let (ours, theirs) = (media(), media());
        let (offer, accepted) = (sdp(ours.local_addr().unwrap()), sdp(theirs.local_addr().unwrap()));
        let call = Call::up(Udp::new(callee.to), callee, &offer, &accepted);
        let (facing_us, facing_them) = (audio(&call.ok), audio(&call.invite));
        assert_ne!(facing_us, theirs.local_addr().unwrap(), "not through the relay");
        for number in 0..10 {
            ours.send_to(&rtp(number), facing_us).unwrap();
            let mut heard = [0; 200];
            let (n, from) = theirs.recv_from(&mut heard).unwrap();
            assert_eq!((&heard[..n], from), (&rtp(number)[..], facing_them));
        }
        media().send_to(&rtp(11), facing_us).unwrap();
        ours.send_to(b"no RTP", facing_us).unwrap();
        let counted = || node.status().unwrap().media;
        eventually("counted", || counted().refused_source == 1 && counted().refused_payload == 1);
        assert_eq!((counted().packets, counted().bytes), (10, 1_720));
        assert_eq!(node.status().unwrap().edge.answered_calls, 1);
        call.hang_up();
        eventually("nothing left", || node.status().unwrap().edge.relay.pairs == 0);
        assert_eq!(counted().packets, 10);
    }
}

/// DESIGN.md §4: "T.38 (`m=image udptl`) | relayed without RTP checks"; counted like everything else.
#[test]
fn a_fax_goes_through_and_is_counted() {
    let ip: IpAddr = "127.0.0.1".parse().unwrap();
    let mut callee = Udp::new(SocketAddr::new(ip, 9));
    let (node, _dir) = node(|settings| {
        anchored(settings, ip);
        with_pbx(settings, Transport::Udp, callee.addr());
    });
    callee.to = node.listener("udp").unwrap();
    let [ours, theirs] = [(); 2].map(|()| UdpSocket::bind((ip, 0)).unwrap());
    theirs.set_read_timeout(Some(DEADLINE)).unwrap();
    let fax = |media: &UdpSocket| {
        sdp(media.local_addr().unwrap()).replace("m=audio", "m=image").replace("RTP/AVP 0", "udptl t38")
    };
    let call = Call::up(Udp::new(callee.to), callee, &fax(&ours), &fax(&theirs));
    let at = |message: &str| audio(&message.replace("m=image", "m=audio"));
    // UDPTL (T.38): a sequence number, a T.30 indicator, no redundancy.
    let packet = [0, 1, 1, 6, 0, 0];
    ours.send_to(&packet, at(&call.ok)).unwrap();
    let mut heard = [0; 200];
    let (n, from) = theirs.recv_from(&mut heard).unwrap();
    assert_eq!((&heard[..n], from), (&packet[..], at(&call.invite)));
    eventually("it is counted", || node.status().unwrap().media.packets == 1);
    call.hang_up();
}

/// DESIGN.md §4: one relayed address pair serves a stream, and its sides may be of different families.
#[test]
fn an_ipv4_and_an_ipv6_endpoint_talk_either_way() {
    let [four, six]: [IpAddr; 2] = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
    for (from, to) in [(four, six), (six, four)] {
        let mut callee = Udp::at(&to.to_string(), SocketAddr::new(to, 9));
        let (node, _dir) = node(|settings| {
            let both = [four, six].map(|ip| RelayAddress { bind: ip, advertise: ip });
            let zone = &mut settings.edge.zones[0];
            (zone.relay, zone.media.anchor) = (RelayAddresses::new(both), Anchor::Always);
            with_pbx(settings, Transport::Udp, callee.addr());
            let listeners = &mut settings.edge.listeners;
            let (bind, advertise) = ("[::1]:0".parse().unwrap(), "[::1]:0".into());
            listeners.push(Listener { name: "udp6".into(), bind, advertise, ..listeners[0].clone() });
            settings.net.listeners.push(None);
            settings.net.web.push(None);
            let facing = ListenerId(if to.is_ipv6() { 3 } else { 0 });
            settings.edge.pbx.as_mut().unwrap().hosts[0].ways[0].1 = facing;
        });
        let listener = |ip: IpAddr| node.listener(if ip.is_ipv6() { "udp6" } else { "udp" }).unwrap();
        callee.to = listener(to);
        let media = |ip: IpAddr| {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        };
        let (ours, theirs) = (media(from), media(to));
        let (offer, accepted) = (sdp(ours.local_addr().unwrap()), sdp(theirs.local_addr().unwrap()));
        let call = Call::up(Udp::new(listener(from)), callee, &offer, &accepted);
        let (facing_us, facing_them) = (audio(&call.ok), audio(&call.invite));
        assert_eq!((facing_us.ip(), facing_them.ip()), (from, to));
        for number in 0..10 {
            for (sender, at, receiver, seen_as) in
                [(&ours, facing_us, &theirs, facing_them), (&theirs, facing_them, &ours, facing_us)]
            {
                sender.send_to(&rtp(number), at).unwrap();
                let mut heard = [0; 200];
                let (n, came_from) = receiver.recv_from(&mut heard).unwrap();
                assert_eq!((&heard[..n], came_from), (&rtp(number)[..], seen_as));
            }
        }
        call.hang_up();
        eventually("nothing left", || node.status().unwrap().edge.relay.pairs == 0);
        eventually("all are counted", || node.status().unwrap().media.packets == 20);
    }
}

/// A packet to the address goes to its listener, every other to the wildcard's, and each answers for itself.
#[test]
fn a_listener_on_an_address_stands_beside_one_on_the_wildcard() {
    let settings = |settings: &mut NodeSettings, port: u16| {
        let mut strict = settings.edge.zones[0].clone();
        strict.name = "strict".into();
        strict.networks = vec!["192.0.2.0/24".parse::<IpNetwork>().unwrap()];
        settings.edge.zones.push(strict);
        settings.edge.listeners[0].bind = SocketAddr::from(([127, 0, 0, 1], port));
        settings.edge.listeners.push(Listener {
            name: "wildcard".into(),
            zone: ZoneId(1),
            transport: Transport::Udp,
            bind: SocketAddr::from(([0, 0, 0, 0], port)),
            advertise: format!("127.0.0.2:{port}").into(),
        });
        settings.net.listeners.push(None);
    };
    let free = *ports().start();
    let (node, _dir) = node(|all| settings(all, free));
    for (to, expected) in [([127, 0, 0, 1], 200), ([127, 0, 0, 2], 403)] {
        let to = SocketAddr::from((to, free));
        let udp = Udp::new(to);
        udp.send(&options(Transport::Udp, udp.addr(), to));
        let mut said = [0; 2_000];
        let (n, from) = udp.socket.recv_from(&mut said).unwrap();
        assert_eq!(status(std::str::from_utf8(&said[..n]).unwrap()), expected, "{to}");
        // From the wildcard's socket the kernel chooses the source address: 127.0.0.1.
        assert_eq!(from, SocketAddr::from(([127, 0, 0, 1], free)));
    }
    let second = tempfile::tempdir().unwrap();
    let mut same = crate::harness::settings(second.path());
    settings(&mut same, free);
    let error = turnpike::net::Node::start(same).err().unwrap().to_string();
    assert!(error.contains("ss -lunpt"), "{error}");
    node.shutdown(Duration::ZERO);
}
