//! Calls outlast the node, and connections do not: carriers are dialled again, phones are found where they have registered since.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use smallvec::SmallVec;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use turnpike::base::{ListenerId, Transport, TrunkId};
use turnpike::edge::settings::{Host, Listener, Party, Route, RouteThen, Target, TlsPeer, Trunk, Verify};
use turnpike::net::settings::{ListenerWeb, PeerTrust, TurnListener};
use turnpike::net::{Node, NodeSettings};
use turnpike::stun::Method;

use crate::calls::{Call, anchored, in_dialog, sdp};
use crate::harness::*;
use crate::turn::{self, relay_ip, with_turn};
use crate::turn_client::{TurnClient, Wire};

const TLS: ListenerId = ListenerId(2);

/// A node that is started again on the same folder, at the same ports of an address that nobody else takes ports of.
struct Restarted<C> {
    change: C,
    dir: tempfile::TempDir,
    node: Node,
}

impl<C: Fn(&mut NodeSettings)> Restarted<C> {
    fn new(change: C) -> Restarted<C> {
        static LAST: AtomicU8 = AtomicU8::new(1);
        let [high, low] = (std::process::id() as u16).to_be_bytes();
        let own = IpAddr::V4(Ipv4Addr::new(127, high | 1, low, LAST.fetch_add(1, Ordering::Relaxed)));
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(dir.path());
        change(&mut settings);
        for listener in &mut settings.edge.listeners {
            listener.bind.set_ip(own);
            listener.advertise = format!("{own}:0").into();
        }
        let node = Node::start(settings).unwrap();
        Restarted { change, dir, node }
    }

    fn at(&self, listener: &str) -> SocketAddr {
        self.node.listener(listener).unwrap()
    }

    /// Every connection ends; nothing is said in any call.
    fn stop(self) -> Stopped<C> {
        assert_eq!(self.node.status().unwrap().edge.answered_calls, 1);
        let (listeners, turn) = (self.node.listeners().to_vec(), self.node.turn_listeners().to_vec());
        Stopped { change: self.change, dir: self.dir, listeners, turn }
    }

    fn restart(self) -> Restarted<C> {
        self.stop().start()
    }
}

struct Stopped<C> {
    change: C,
    dir: tempfile::TempDir,
    listeners: Vec<Listener>,
    turn: Vec<TurnListener>,
}

impl<C: Fn(&mut NodeSettings)> Stopped<C> {
    fn start(self) -> Restarted<C> {
        let Stopped { change, dir, listeners, turn } = self;
        let mut settings = settings(dir.path());
        change(&mut settings);
        settings.edge.listeners = listeners;
        settings.net.turn.iter_mut().for_each(|settings| settings.listeners.clone_from(&turn));
        let node = Node::start(settings).unwrap();
        Restarted { change, dir, node }
    }
}

/// It is sent again and again from before the first socket is bound; the first answer is not that there is no such call.
#[test]
fn a_bye_that_comes_while_the_node_starts_finds_its_call() {
    let mut callee = Udp::at("127.0.0.5", "127.0.0.1:9".parse().unwrap());
    let at = callee.addr();
    let node = Restarted::new(|settings| with_pbx(settings, Transport::Udp, at));
    callee.to = node.at("udp");
    let call = Call::up(Udp::new(node.at("udp")), callee, "", "");
    let bye = in_dialog(&call.ok, "BYE", 2, call.caller.addr());
    let stopped = node.stop();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let mut buffer = [0; 65_536];
            call.caller.socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            eventually("an answer", || {
                call.caller.send(&bye);
                call.caller.socket.recv(&mut buffer).is_ok()
            });
            status(std::str::from_utf8(&buffer).unwrap())
        });
        scope.spawn(|| {
            let bye = call.callee.receive_request("BYE");
            call.callee.send(&answer(&bye, "200 OK", call.callee.addr(), ""));
        });
        let _node = stopped.start();
        assert_eq!(first.join().unwrap(), 200);
    });
}

/// Says the same until somebody is there to answer it.
struct Persistent {
    socket: UdpSocket,
    to: SocketAddr,
    said: Vec<u8>,
}

impl Wire for Persistent {
    fn send(&mut self, message: &[u8]) {
        self.said = message.to_vec();
    }

    fn receive(&mut self, _: Duration) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_000];
        let mut length = 0;
        eventually("an answer", || {
            self.socket.send_to(&self.said, self.to).unwrap();
            length = self.socket.recv(&mut buffer).unwrap_or(0);
            // RFC 8489 §5: the transaction id. What was said before has more answers than one.
            length > 0 && buffer[8..20] == self.said[8..20]
        });
        Some(buffer[..length].to_vec())
    }
}

#[test]
fn a_turn_client_that_comes_while_the_node_starts_gets_no_port_of_a_call() {
    let mut callee = Udp::at("127.0.0.5", "127.0.0.1:9".parse().unwrap());
    let (at, first) = (callee.addr(), *ports().start());
    let node = Restarted::new(|settings| {
        with_pbx(settings, Transport::Udp, at);
        anchored(settings, relay_ip());
        with_turn(settings, 2, turn::settings());
        // As many as the call has.
        settings.relay.ports = first..=first + 3;
    });
    callee.to = node.at("udp");
    let to = node.node.turn_listener("turn").unwrap();
    let media = sdp("127.0.0.1:9".parse().unwrap());
    let _call = Call::up(Udp::new(node.at("udp")), callee, &media, &media);
    let socket = UdpSocket::bind((relay_ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut client = TurnClient::new(Persistent { socket, to, said: Vec::new() }, "alice", "alice");
    let stopped = node.stop();
    std::thread::scope(|scope| {
        let answer =
            scope.spawn(|| client.ask(Method::ALLOCATE, |writer| _ = writer.put_requested_transport(17)));
        let node = stopped.start().node;
        assert_eq!(answer.join().unwrap().code(), 508, "RFC 8656 §7.2: no port is free");
        assert_eq!(node.status().unwrap().edge.relay.pairs, 1, "the call has its own again");
    });
}

/// A carrier that is called over TLS.
struct Carrier {
    listener: TcpListener,
    shown: Arc<ServerConfig>,
    pem: String,
}

type Connection = StreamOwned<ServerConnection, TcpStream>;

impl Carrier {
    fn new() -> Carrier {
        let made = rcgen::generate_simple_self_signed(["sbc.acme.test".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let shown = ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.3:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Carrier { listener, shown: shown.into(), pem: made.cert.pem() }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The node dials.
    fn accept(&self) -> Connection {
        let mut accepted = None;
        eventually("the carrier is dialled", || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (tcp, _) = accepted.unwrap();
        tcp.set_nonblocking(false).unwrap();
        tcp.set_read_timeout(Some(DEADLINE)).unwrap();
        StreamOwned::new(ServerConnection::new(self.shown.clone()).unwrap(), tcp)
    }

    /// The answer to a request that came in.
    fn answer(&self, stream: &mut Connection, request: &str) {
        let contact = format!("<sip:far@{}>", self.addr());
        let tls = format!("<sip:far@{};transport=tls>", self.addr());
        let accepted = answer(request, "200 OK", self.addr(), "").replace(&contact, &tls);
        stream.write_all(accepted.as_bytes()).unwrap();
    }
}

/// The PBX calls out by this carrier.
fn with_carrier(settings: &mut NodeSettings, carrier: &Carrier) {
    let ca = settings.net.data_dir.join("acme.pem");
    fs::write(&ca, &carrier.pem).unwrap();
    settings.edge.tls_peers.push(TlsPeer { server_name: "sbc.acme.test".into(), verify: Verify::Name });
    settings.net.tls_peers.push(PeerTrust { ca: Some(ca), certificate: None });
    let host = Target {
        uri: format!("sip:{};transport=tls", carrier.addr()).into(),
        host: Host::Ip(carrier.addr().ip()),
        port: Some(carrier.addr().port()),
        transport: Some(Transport::Tls),
        secure: false,
        priority: 0,
        weight: 0,
        tls: (settings.edge.tls_peers.len() - 1) as u16,
        ways: SmallVec::from_iter([(Transport::Tls, TLS)]),
    };
    let accept_from = vec![carrier.addr().ip().into()];
    let acme = Trunk { hosts: vec![host], accept_from, ..trunk(settings, "acme") };
    settings.edge.trunks.push(acme);
    settings.edge.routes.insert(
        0,
        Route {
            name: "out".into(),
            from: vec![Party::Pbx],
            to: Vec::new(),
            then: RouteThen::SendTo(vec![Party::Trunk(TrunkId(0))]),
            failover: None,
            emergency: false,
        },
    );
}

#[test]
fn a_carrier_over_tls_is_dialled_again_for_what_the_pbx_has_to_say() {
    let carrier = Carrier::new();
    let mut pbx = Udp::at("127.0.0.5", "127.0.0.1:9".parse().unwrap());
    let at = pbx.addr();
    let node = Restarted::new(|settings| {
        with_pbx(settings, Transport::Udp, at);
        with_carrier(settings, &carrier);
    });
    pbx.to = node.at("udp");
    pbx.send(&request("INVITE", &format!("sip:+49301234@{}", pbx.to), Transport::Udp, pbx.addr()));
    let mut stream = carrier.accept();
    let invite = read_message(&mut stream);
    carrier.answer(&mut stream, &invite);
    let ok = pbx.receive_final();
    assert_eq!(status(&ok), 200, "{ok}");
    pbx.send(&in_dialog(&ok, "ACK", 1, pbx.addr()));
    assert!(read_message(&mut stream).starts_with("ACK "));

    let _node = node.restart();
    assert!(try_read_message(&mut stream).is_none(), "the old connection has ended without a word");
    pbx.send(&in_dialog(&ok, "INVITE", 2, pbx.addr()));
    let mut stream = carrier.accept();
    let again = read_message(&mut stream);
    assert!(again.starts_with("INVITE "), "{again}");
    carrier.answer(&mut stream, &again);
    let accepted = pbx.receive_final();
    assert_eq!(status(&accepted), 200, "{accepted}");
    pbx.send(&in_dialog(&ok, "ACK", 2, pbx.addr()));
    assert!(read_message(&mut stream).starts_with("ACK "));
    pbx.send(&in_dialog(&ok, "BYE", 3, pbx.addr()));
    let bye = read_message(&mut stream);
    assert!(bye.starts_with("BYE "), "over the connection that there is: {bye}");
    assert_eq!(values(&bye, "Call-ID"), values(&invite, "Call-ID"));
    carrier.answer(&mut stream, &bye);
    let last = pbx.receive_final();
    assert_eq!((status(&last), values(&last, "CSeq")[0]), (200, "3 BYE"), "{last}");
}

/// A phone in a browser.
struct Browser(WebSocket<TcpStream>);

impl Browser {
    const AT: &str = "192.0.2.1:9";

    fn connect(to: SocketAddr) -> Browser {
        let mut upgrade = format!("ws://{to}/").into_client_request().unwrap();
        upgrade.headers_mut().insert("sec-websocket-protocol", "sip".parse().unwrap());
        Browser(tungstenite::client(upgrade, tcp(to)).unwrap().0)
    }

    fn send(&mut self, text: String) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// The next message that begins like this.
    fn receive(&mut self, start: &str) -> String {
        loop {
            let message = self.0.read().unwrap().into_text().unwrap().to_string();
            if message.starts_with(start) {
                return message;
            }
        }
    }

    fn answer(&mut self, request: &str) {
        self.send(answer(request, "200 OK", Browser::AT.parse().unwrap(), ""));
    }

    /// Registers as `user`; the Contact that the PBX has of it.
    fn register(&mut self, user: &str, pbx: &Udp) -> String {
        let register = request("REGISTER", "sip:example.com", Transport::Ws, Browser::AT.parse().unwrap());
        self.send(register.replace("To: <sip:example.com>", &format!("To: <sip:{user}@example.com>")));
        let seen = pbx.receive_request("REGISTER");
        let contact = values(&seen, "Contact")[0].to_owned();
        let own = format!("Contact: <sip:far@{}>", pbx.addr());
        let bound = format!("Contact: {contact};expires=300");
        pbx.send(&answer(&seen, "200 OK", pbx.addr(), "").replace(&own, &bound));
        self.receive("SIP/2.0 200");
        contact
    }
}

#[test]
fn a_browser_that_has_registered_again_is_told_that_the_call_is_over() {
    let mut pbx = Udp::at("127.0.0.5", "127.0.0.1:9".parse().unwrap());
    let at = pbx.addr();
    let node = Restarted::new(|settings| {
        with_pbx(settings, Transport::Udp, at);
        with_websockets(settings, ListenerWeb { path: "/".into(), origins: Vec::new() });
    });
    pbx.to = node.at("udp");
    let mut phone = Browser::connect(node.at("ws"));
    let contact = phone.register("tester", &pbx);
    let uri = contact.split(['<', '>']).nth(1).unwrap();
    pbx.send(&request("INVITE", uri, Transport::Udp, pbx.addr()));
    let invite = phone.receive("INVITE ");
    phone.answer(&invite);
    let ok = pbx.receive_final();
    assert_eq!(status(&ok), 200, "{ok}");
    pbx.send(&in_dialog(&ok, "ACK", 1, pbx.addr()));
    phone.receive("ACK ");

    let node = node.restart();
    assert!(phone.0.read().is_err() || phone.0.read().is_err(), "its connection has ended");
    let (mut other, mut phone) = (Browser::connect(node.at("ws")), Browser::connect(node.at("ws")));
    other.register("mallory", &pbx);
    phone.register("tester", &pbx);
    pbx.send(&in_dialog(&ok, "BYE", 2, pbx.addr()));
    let bye = phone.receive("BYE ");
    assert_eq!(values(&bye, "Call-ID"), values(&invite, "Call-ID"));
    phone.answer(&bye);
    let last = pbx.receive_final();
    assert_eq!((status(&last), values(&last, "CSeq")[0]), (200, "2 BYE"), "{last}");
}
