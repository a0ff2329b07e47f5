//! A node on loopback, and clients that give up after a while.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use socket2::{Domain, Socket, Type};

use turnpike::base::{ListenerId, NodeKey, Transport, ZoneId};
use turnpike::edge::settings::{
    Admit, Anchor, Failover, Host, Ice, Limits, Listener, Media, Party, Pbx, Route, RouteThen, SealedBodies,
    Settings, Srtp, Target, TlsPeer, Trunk, TrunkRules, Trust, Users, Verify, Zone,
};
use turnpike::net::settings::{
    Capacity, Certificate, CertificateSource, ListenerTls, ListenerWeb, NetSettings, Patience, PeerTrust,
};
use turnpike::net::{Node, NodeSettings};
use turnpike::observe::settings::Numbers;

/// Longer than anything here takes on a busy machine; nothing waits for it unless a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Three listeners (udp, tcp, tls) in a zone whose phones may call; the PBX is behind `udp`.
pub fn settings(data_dir: &Path) -> NodeSettings {
    let listener = |name: &str, transport| Listener {
        name: name.into(),
        zone: ZoneId(0),
        transport,
        bind: "127.0.0.1:0".parse().unwrap(),
        advertise: "127.0.0.1:0".into(),
    };
    let media = Media {
        ice: Ice::Auto,
        srtp: Srtp::Pass,
        anchor: Anchor::Never,
        sealed_bodies: SealedBodies::Refuse,
        idle_timeout: Duration::from_secs(60),
    };
    let edge = Settings {
        name: "test".into(),
        key: NodeKey::new([7; 16]),
        zones: vec![Zone {
            name: "lab".into(),
            trust: Trust::Full,
            hides_topology: false,
            hides_call_ids: false,
            admit: Admit::Any,
            networks: Vec::new(),
            relay: None,
            media,
            dial_plan: None,
            session_timer: None,
        }],
        listeners: vec![
            listener("udp", Transport::Udp),
            listener("tcp", Transport::Tcp),
            listener("tls", Transport::Tls),
        ],
        pbx: None,
        trunks: Vec::new(),
        routes: vec![Route {
            name: "phones".into(),
            from: Vec::new(),
            to: Vec::new(),
            then: RouteThen::SendTo(vec![Party::Pbx]),
            failover: None,
            emergency: false,
        }],
        tls_peers: Vec::new(),
        users: Users::default(),
        limits: Limits::default(),
    };
    let demo = CertificateSource::SelfSigned { names: vec!["localhost".into(), "127.0.0.1".into()] };
    NodeSettings {
        edge,
        policy: turnpike::policy::Settings {
            policies: Vec::new(),
            never_ban: Vec::new(),
            geo: None,
            feeds: Vec::new(),
            capacity: Default::default(),
        },
        relay: turnpike::relay::Settings { ports: ports(), workers: 1 },
        net: NetSettings {
            feeds: Vec::new(),
            webhook: None,
            dns: Vec::new(),
            data_dir: data_dir.to_owned(),
            certificates: vec![Certificate { name: "demo".into(), source: demo }],
            listeners: vec![None, None, Some(ListenerTls { certificates: vec![0], client_ca: None })],
            web: vec![None, None, None],
            tls_peers: Vec::new(),
            turn: None,
            capacity: Capacity::default(),
            patience: Patience::default(),
        },
        admin: None,
        numbers: Numbers::Full,
    }
}

/// Sends the node's calls to `remote`.
pub fn with_pbx(settings: &mut NodeSettings, transport: Transport, remote: SocketAddr) {
    let tls = if transport == Transport::Tls {
        settings.edge.tls_peers.push(TlsPeer { server_name: "localhost".into(), verify: Verify::Name });
        settings.net.tls_peers.push(PeerTrust { ca: None, certificate: None });
        (settings.edge.tls_peers.len() - 1) as u16
    } else {
        u16::MAX
    };
    settings.edge.pbx = Some(Pbx {
        zone: ZoneId(0),
        hosts: vec![Target {
            uri: format!("sip:{remote};transport={}", transport.uri_param()).into(),
            host: Host::Ip(remote.ip()),
            port: Some(remote.port()),
            transport: Some(transport),
            secure: false,
            priority: 0,
            weight: 0,
            tls,
            ways: SmallVec::from_iter([(transport, ListenerId(0))]),
        }],
        health: None,
        failover: Failover { statuses: vec![503], after: Duration::from_secs(4) },
    });
}

/// A trunk of the first zone that nobody is told by, and that has no hosts.
pub fn trunk(settings: &NodeSettings, name: &str) -> Trunk {
    Trunk {
        name: name.into(),
        zone: ZoneId(0),
        hosts: Vec::new(),
        accept_from: Vec::new(),
        accept_names: Vec::new(),
        accept_user: None,
        calls_at_once: None,
        new_calls: None,
        media: settings.edge.zones[0].media,
        rules: TrunkRules::default(),
        auth: None,
        register: None,
        session_timer: None,
        health: None,
    }
}

/// One more listener of the first zone, `ws`, for WebSockets.
pub fn with_websockets(settings: &mut NodeSettings, web: ListenerWeb) {
    settings.edge.listeners.push(Listener {
        name: "ws".into(),
        zone: ZoneId(0),
        transport: Transport::Ws,
        bind: "127.0.0.1:0".parse().unwrap(),
        advertise: "127.0.0.1:0".into(),
    });
    settings.net.listeners.push(None);
    settings.net.web.push(Some(web));
}

/// A hundred ports that nobody else has: no other process of these tests takes from the same block, and the system gives none of
/// them to who asks for any port (it begins at 32768).
pub fn ports() -> RangeInclusive<u16> {
    const BLOCK: u16 = 2_000;
    static FIRST: OnceLock<(u16, Option<UdpSocket>)> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (first, _held) = FIRST.get_or_init(|| {
        let held =
            |n| Some((10_000 + BLOCK * n, Some(UdpSocket::bind(("127.255.255.254", 9_900 + n)).ok()?)));
        // So many processes at once that they must share.
        (0..11).find_map(held).unwrap_or((10_000 + BLOCK * (std::process::id() % 11) as u16, None))
    });
    let next = NEXT.fetch_add(1, Ordering::Relaxed) % u32::from(BLOCK / 100);
    let first = first + 100 * next as u16;
    first..=first + 99
}

/// An address where nobody listens, for as long as this lives: it keeps the port from everybody else, the node's own listeners too.
pub struct Dead {
    pub at: SocketAddr,
    _held: Socket,
}

impl Dead {
    pub fn new(transport: Transport) -> Dead {
        Dead::on("127.0.0.1", transport)
    }

    pub fn on(ip: &str, transport: Transport) -> Dead {
        let any = SocketAddr::new(ip.parse().unwrap(), 0);
        let kind = if transport == Transport::Udp { Type::DGRAM } else { Type::STREAM };
        let held = Socket::new(Domain::for_address(any), kind, None).unwrap();
        held.bind(&any.into()).unwrap();
        let at = held.local_addr().unwrap();
        if transport == Transport::Udp {
            // It hears nobody but itself: all others are told that the port is closed.
            held.connect(&at).unwrap();
        }
        Dead { at: at.as_socket().unwrap(), _held: held }
    }
}

/// A node with these settings changed, and the folder that it lives in.
pub fn node(change: impl FnOnce(&mut NodeSettings)) -> (Node, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    change(&mut settings);
    (Node::start(settings).unwrap(), dir)
}

/// A request with a branch and a Call-ID of its own.
pub fn request(method: &str, uri: &str, transport: Transport, via: SocketAddr) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let n = NUMBER.fetch_add(1, Ordering::Relaxed);
    let transport = transport.via();
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {via};branch=z9hG4bKtest{n}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:tester@127.0.0.1>;tag=from{n}\r\n\
         To: <{uri}>\r\n\
         Call-ID: call-{n}\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:tester@{via}>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// OPTIONS to the node itself.
pub fn options(transport: Transport, via: SocketAddr, to: SocketAddr) -> String {
    request("OPTIONS", &format!("sip:{to}"), transport, via)
}

/// A UDP client of the node, or a far end that the node calls.
pub struct Udp {
    pub socket: UdpSocket,
    pub to: SocketAddr,
}

impl Udp {
    pub fn new(to: SocketAddr) -> Udp {
        Udp::at(if to.is_ipv4() { "127.0.0.1" } else { "::1" }, to)
    }

    pub fn at(ip: &str, to: SocketAddr) -> Udp {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Udp { socket, to }
    }

    pub fn addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub fn send(&self, message: &str) {
        self.socket.send_to(message.as_bytes(), self.to).unwrap();
    }

    pub fn receive(&self) -> String {
        let mut buffer = [0; 65_536];
        let n = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    /// Status of the final answer to a request.
    pub fn ask(&self, request: &str) -> u16 {
        self.send(request);
        status(&self.receive_final())
    }

    /// The next final answer.
    pub fn receive_final(&self) -> String {
        loop {
            let answer = self.receive();
            if status(&answer) >= 200 {
                return answer;
            }
        }
    }

    /// The next request of this method; others before it are passed over.
    pub fn receive_request(&self, method: &str) -> String {
        loop {
            let message = self.receive();
            if message.starts_with(&format!("{method} ")) {
                return message;
            }
        }
    }

    /// The node answers OPTIONS.
    pub fn assert_served(&self) {
        assert_eq!(self.ask(&options(Transport::Udp, self.addr(), self.to)), 200);
    }
}

/// An answer with what it must repeat of the request, a Contact and a tag of its own, and a body if there is one.
pub fn answer(request: &str, status: &str, contact: SocketAddr, sdp: &str) -> String {
    let kept = ["Via:", "Record-Route:", "From:", "To:", "Call-ID:", "CSeq:"];
    let mut answer = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().filter(|line| kept.iter().any(|name| line.starts_with(name))) {
        answer += line;
        answer += if line.starts_with("To:") && !line.contains(";tag=") { ";tag=far\r\n" } else { "\r\n" };
    }
    answer += &format!("Contact: <sip:far@{contact}>\r\nContent-Length: 0\r\n\r\n");
    with_body(&answer, sdp)
}

/// A message without a body, with one.
pub fn with_body(message: &str, sdp: &str) -> String {
    if sdp.is_empty() {
        return message.to_owned();
    }
    let length = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    message.replace("Content-Length: 0\r\n\r\n", &length)
}

/// Values of a header field.
pub fn values<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    message.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

/// Status of a response.
pub fn status(response: &str) -> u16 {
    let status = response.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3));
    status.unwrap_or_else(|| panic!("no response: {response:?}")).parse().unwrap()
}

/// A TCP client of the node.
pub fn tcp(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A client that calls from this address.
pub fn tcp_from(ip: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Reads one message without a body.
pub fn read_message(stream: &mut impl Read) -> String {
    try_read_message(stream).expect("closed")
}

/// The same; `None` if the connection ends before.
pub fn try_read_message(stream: &mut impl Read) -> Option<String> {
    let mut message = Vec::new();
    let mut byte = [0];
    while !message.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        message.push(byte[0]);
    }
    Some(String::from_utf8(message).unwrap())
}

/// Asks with OPTIONS on an open connection.
pub fn assert_served(stream: &mut TcpStream) {
    let options = options(Transport::Tcp, stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    stream.write_all(options.as_bytes()).unwrap();
    assert_eq!(status(&read_message(stream)), 200);
}

/// Reads until the node has closed the connection; what it said before. Fails if it stays open.
pub fn read_to_close(stream: &mut impl Read) -> Vec<u8> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => said,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => said,
        Err(error) => panic!("still open: {error}"),
    }
}

/// Waits until `reached`, or fails.
pub fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5)); // between polls
    }
}

/// What nodes of this process have logged as warnings until now. Ask once before the node starts, too.
pub fn warnings() -> String {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    struct Into(Arc<Mutex<Vec<u8>>>);
    impl Write for Into {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(line);
            Ok(line.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = LOG.get_or_init(|| {
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let into = log.clone();
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        let lines = lines.with_writer(move || Into(into.clone())).finish();
        tracing::subscriber::set_global_default(lines).unwrap();
        log
    });
    String::from_utf8_lossy(&log.lock().unwrap()).into_owned()
}
