//! The rows "SIP from strangers" of docs/attacks.md over real sockets, each over UDP, TCP and TLS: strangers do what they can, and a PBX
//! behind records what comes. After each attack the edge answers OPTIONS and serves an honest TURN client.

mod answers;
mod carriers;
pub mod dialogs;
mod framing;
mod headers;
mod hiding;
mod log_lines;
mod passwords;
mod relaying;
mod scanners;

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;
use turnpike::net::{Node, NodeSettings};

use crate::harness::*;
use crate::media_attacks::phones_and_office;
use crate::{tls, turn};

pub const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// A node between strangers and a PBX that records.
pub struct Attacked {
    pub node: Node,
    dir: tempfile::TempDir,
    pub pbx: Udp,
    /// What the PBX has got already: nobody answers most of it, so after half a second it comes again (RFC 3261 §17.1.2.2).
    seen: RefCell<HashSet<String>>,
    /// A host of somebody else's where nothing may arrive.
    victim: UdpSocket,
}

/// What a stranger was told.
struct Told {
    answers: Vec<String>,
    /// The connection was closed before anything behind the attack was answered.
    closed: bool,
}

impl Told {
    fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| status(answer)).filter(|status| *status != 100).collect()
    }
}

impl Attacked {
    /// `admit`: what is asked of strangers.
    pub fn new(admit: Admit) -> Attacked {
        Attacked::with(admit, |_| ())
    }

    pub fn with(admit: Admit, change: impl FnOnce(&mut NodeSettings)) -> Attacked {
        let pbx = Udp::new("127.0.0.1:9".parse().unwrap());
        let (node, dir) = node(|settings| {
            turn::with_turn(settings, 1, turn::settings());
            phones_and_office(settings, pbx.addr());
            settings.edge.zones[0].admit = admit;
            change(settings);
        });
        let pbx = Udp { to: node.listener("inside").unwrap(), ..pbx };
        let victim = UdpSocket::bind("127.0.0.66:0").unwrap();
        Attacked { node, dir, pbx, seen: RefCell::default(), victim }
    }

    fn listener(&self, transport: Transport) -> SocketAddr {
        self.node.listener(transport.uri_param()).unwrap()
    }

    /// A request to our own address, of a kind that would be forwarded.
    fn request(&self, method: &str, transport: Transport) -> String {
        let to = self.listener(transport);
        request(method, &format!("sip:200@{to}"), transport, "127.0.0.1:9".parse().unwrap())
    }

    /// A stranger says this on a flow of its own; what it is told, once all that comes of it has left.
    fn say(&self, transport: Transport, attack: impl AsRef<[u8]>) -> Told {
        let told = self.told(transport, attack.as_ref());
        // What the first answer's round has sent from other listeners has left before the next answer.
        Udp::new(self.listener(Transport::Udp)).assert_served();
        told
    }

    /// What is answered until OPTIONS behind the attack are answered.
    fn told(&self, transport: Transport, attack: &[u8]) -> Told {
        let to = self.listener(transport);
        let last = options(transport, "127.0.0.1:9".parse().unwrap(), to);
        let call_id = values(&last, "Call-ID")[0];
        let is_last = |answer: &str| values(answer, "Call-ID") == [call_id];
        let mut answers = Vec::new();
        if transport == Transport::Udp {
            let stranger = Udp::new(to);
            stranger.socket.send_to(attack, to).unwrap();
            stranger.send(&last);
            loop {
                let answer = stranger.receive();
                if is_last(&answer) {
                    return Told { answers, closed: false };
                }
                answers.push(answer);
            }
        }
        let mut stream: Box<dyn Stream> = match transport {
            Transport::Tls => {
                let ca = self.dir.path().join("certificates/demo.pem");
                Box::new(tls::connect(to, &ca, &[&rustls::version::TLS13]))
            }
            _ => Box::new(tcp(to)),
        };
        // Closed in the middle of a long one, it cannot be written to the end.
        let _ = stream.write_all(&[attack, last.as_bytes()].concat());
        let _ = stream.flush();
        while let Some(answer) = try_read_message(&mut stream) {
            if is_last(&answer) {
                return Told { answers, closed: false };
            }
            answers.push(answer);
        }
        Told { answers, closed: true }
    }

    /// Somebody outside with this address, on a flow of his own.
    pub fn peer(&self, ip: [u8; 4], transport: Transport) -> Peer {
        let to = self.listener(transport);
        let ca = self.dir.path().join("certificates/demo.pem");
        let (wire, addr) = match transport {
            Transport::Udp => {
                let udp = Udp::at(&std::net::Ipv4Addr::from(ip).to_string(), to);
                let addr = udp.addr();
                (Wire::Udp(udp), addr)
            }
            Transport::Tls => {
                let stream = tls::over(tcp_from(ip, to), &ca, &[&rustls::version::TLS13]);
                let addr = stream.sock.local_addr().unwrap();
                (Wire::Stream(Box::new(stream)), addr)
            }
            _ => {
                let stream = tcp_from(ip, to);
                let addr = stream.local_addr().unwrap();
                (Wire::Stream(Box::new(stream)), addr)
            }
        };
        Peer { wire, transport, addr, to }
    }

    /// What the PBX has got, each once.
    pub fn recorded(&self) -> Vec<String> {
        let mut came = drain(&self.pbx.socket);
        came.retain(|text| self.seen.borrow_mut().insert(text.clone()));
        came
    }

    /// The same, when something must come.
    pub fn next_at_pbx(&self, method: &str) -> String {
        loop {
            let request = self.pbx.receive_request(method);
            if self.seen.borrow_mut().insert(request.clone()) {
                return request;
            }
        }
    }

    /// Neither the PBX nor the victim has got anything.
    #[track_caller]
    fn nothing_left(&self) {
        assert_eq!((self.recorded(), drain(&self.victim)), (vec![], vec![]));
    }

    /// Others are served.
    pub fn still_serves(&self) {
        Udp::new(self.listener(Transport::Udp)).assert_served();
        turn::client(&self.node, "alice").allocate();
    }
}

/// A phone, or somebody who would like to be one.
pub struct Peer {
    wire: Wire,
    pub transport: Transport,
    pub addr: SocketAddr,
    pub to: SocketAddr,
}

enum Wire {
    Udp(Udp),
    Stream(Box<dyn Stream>),
}

impl Peer {
    pub fn send(&mut self, text: &str) {
        match &mut self.wire {
            Wire::Udp(udp) => udp.send(text),
            Wire::Stream(stream) => {
                stream.write_all(text.as_bytes()).unwrap();
                stream.flush().unwrap();
            }
        }
    }

    fn receive(&mut self) -> String {
        match &mut self.wire {
            Wire::Udp(udp) => udp.receive(),
            Wire::Stream(stream) => {
                let head = read_message(stream);
                let mut body = vec![0; values(&head, "Content-Length")[0].parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                head + &String::from_utf8(body).unwrap()
            }
        }
    }

    /// The next one that begins like this; provisional answers and ACKs before it are passed over.
    #[track_caller]
    pub fn expect(&mut self, start: &str) -> String {
        loop {
            let came = self.receive();
            if came.starts_with(start) {
                return came;
            }
            assert!(
                ["SIP/2.0 1", "ACK "].iter().any(|passed| came.starts_with(passed)),
                "no `{start}`, but {came}"
            );
        }
    }

    /// What has come until now, 100 (Trying) aside.
    fn heard(&mut self) -> Vec<String> {
        let ask = options(self.transport, self.addr, self.to);
        let call_id = values(&ask, "Call-ID")[0];
        self.send(&ask);
        let mut came = Vec::new();
        loop {
            let next = self.receive();
            if values(&next, "Call-ID") == [call_id] {
                came.retain(|text: &String| !text.starts_with("SIP/2.0 100"));
                return came;
            }
            came.push(next);
        }
    }

    /// A request of this one's in the name of `user`.
    pub fn request(&self, method: &str, uri: &str, user: &str) -> String {
        let text = request(method, uri, self.transport, self.addr);
        text.replace("<sip:tester@", &format!("<sip:{user}@"))
    }

    /// Registers `user` with the PBX; the Contact that the PBX has seen.
    pub fn register(&mut self, attacked: &Attacked, user: &str) -> String {
        let uri = format!("sip:{user}@127.0.0.1");
        let text = self.request("REGISTER", &uri, user).replace("Contact:", "Expires: 300\r\nContact:");
        self.send(&text);
        let seen = attacked.next_at_pbx("REGISTER");
        let contact = values(&seen, "Contact")[0];
        let accepted = answer(&seen, "200 OK", attacked.pbx.addr(), "");
        let ours = values(&accepted, "Contact")[0];
        attacked.pbx.send(&accepted.replace(ours, &format!("{contact};expires=300")));
        self.expect("SIP/2.0 200");
        contact.split(['<', '>']).nth(1).unwrap().to_owned()
    }
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// What waits on a socket; on loopback, what was sent is there.
fn drain(socket: &UdpSocket) -> Vec<String> {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 65_536];
    let mut came = Vec::new();
    loop {
        match socket.recv(&mut buffer) {
            Ok(n) => came.push(String::from_utf8_lossy(&buffer[..n]).into_owned()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                socket.set_nonblocking(false).unwrap();
                return came;
            }
        }
    }
}
