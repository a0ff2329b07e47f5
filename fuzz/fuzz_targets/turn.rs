//! Any bytes as what clients and peers do to a TURN server with fake sockets: nothing panics, nothing leaves to a peer without
//! a permission or to a forbidden one, answers go to who asked, and at the end nothing is left.
//!
//! The input is a list of steps: a byte that says what happens and to whom, one that says how, a length, and bytes.
#![no_main]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use turnpike::base::PeerAddr;
use turnpike::stun::{Class, HEADER, Icmp, Message, Method, Type, Writer};
use turnpike::turn::channel_data::{HEADROOM, TAILROOM};
use turnpike::turn::forward::Verdict;
use turnpike::turn::server::Output;
use turnpike::turn::sockets::RelaySocketId;
use turnpike::turn::{Carrier, FiveTuple};

#[path = "../../tests/rfc8656/world.rs"]
#[allow(dead_code)]
mod world;
use world::{CALLS, INTERNET, Phone, World, addr, key, signed, udp};

const PHONES: [(&str, &str, Carrier); 4] = [
    ("198.51.100.1:5000", INTERNET, Carrier::Udp),
    ("198.51.100.2:5000", CALLS, Carrier::Udp),
    ("198.51.100.1:5001", INTERNET, Carrier::Stream),
    ("[2001:db8::c]:5000", INTERNET, Carrier::Dtls),
];

/// The last three are nobody's peers.
const PEERS: [&str; 8] = [
    "192.0.2.1:9000",
    "192.0.2.2:9000",
    "[2001:db8:1::1]:9000",
    "203.0.113.10:40002",
    "203.0.113.10:40003",
    "10.0.0.1:9000",
    "203.0.113.11:3478",
    "127.0.0.1:9000",
];

const METHODS: [Method; 8] = [
    Method::ALLOCATE,
    Method::REFRESH,
    Method::CREATE_PERMISSION,
    Method::CHANNEL_BIND,
    Method::BINDING,
    Method::CONNECT,
    Method::CONNECTION_BIND,
    Method::SEND,
];

struct Fuzz {
    world: World,
    second: u64,
    /// What a reader of the RFC would remember: until when each client may send to an address, by what it was granted.
    granted: HashMap<(FiveTuple, IpAddr), u64>,
    calls: HashMap<SocketAddr, u32>,
}

impl Fuzz {
    fn step(&mut self, what: u8, how: u8, bytes: &[u8]) {
        let phone = usize::from(what >> 3) % PHONES.len();
        let peer = addr(PEERS[usize::from(how) % PEERS.len()]);
        match what & 7 {
            0 => self.hand_in(five_tuple(phone), bytes),
            1 | 2 => self.ask(phone, METHODS[usize::from(how) % METHODS.len()], bytes),
            3 => self.ask_well(phone, how, bytes),
            4 => self.peer_sends(bytes, peer),
            5 => self.hand_in(five_tuple(phone), &world::send_indication(peer, bytes)),
            6 => self.call(peer, bytes.is_empty()),
            _ if how == 0 => {
                self.world.server.handle_closed(five_tuple(phone));
                self.drain(None);
            }
            _ => self.wait(u64::from(how) * 3),
        }
    }

    /// A request that is signed as it should be, with attributes that may be anything.
    fn ask(&mut self, phone: usize, method: Method, attributes: &[u8]) {
        self.ask_with(phone, method, |w| {
            let mut rest = attributes;
            while let [kind, length, more @ ..] = rest {
                let (value, behind) = more.split_at(usize::from(*length).min(more.len()));
                // All attributes of TURN have their high byte 0x00 or 0x80.
                w.put(Type(u16::from(*kind & 0x3f) | u16::from(*kind & 0x80) << 8), value);
                rest = behind;
            }
        });
    }

    /// One that makes sense, so that there is something to break.
    fn ask_well(&mut self, phone: usize, how: u8, bytes: &[u8]) {
        let method = METHODS[usize::from(how) % 4];
        let mut choices = bytes.iter().copied().chain(std::iter::repeat(how >> 2));
        let mut choose = |n: u8| choices.next().unwrap_or_default() % n;
        let peer = addr(PEERS[usize::from(choose(8))]);
        let (number, family) = (0x4000 + u16::from(choose(4)), choose(4));
        self.ask_with(phone, method, |w| match method {
            Method::ALLOCATE => {
                w.put_requested_transport(17);
                match family {
                    1 => drop(w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, turnpike::stun::Family::V6)),
                    2 => drop(w.put_even_port(number & 1 == 0)),
                    3 => drop(w.put_family(Type::REQUESTED_ADDRESS_FAMILY, turnpike::stun::Family::V6)),
                    _ => {}
                }
            }
            Method::REFRESH => drop(w.put_u32(Type::LIFETIME, u32::from(number - 0x4000) * 500)),
            Method::CREATE_PERMISSION => drop(w.put_xor_address(Type::XOR_PEER_ADDRESS, peer)),
            _ => drop(w.put_channel_number(number).put_xor_address(Type::XOR_PEER_ADDRESS, peer)),
        });
    }

    fn ask_with(&mut self, phone: usize, method: Method, fill: impl FnOnce(&mut Writer<'_>)) {
        let (_, user, _) = PHONES[phone];
        let Phone { from, nonce, .. } = self.world.phone(five_tuple(phone), user);
        let id = self.world.id();
        let request = signed(&Phone { from, user, nonce }, method, id, fill);
        self.hand_in(from, &request);
    }

    fn hand_in(&mut self, from: FiveTuple, bytes: &[u8]) {
        let verdict = self.world.server.handle_client(from, bytes, self.world.now);
        self.judge(from, &verdict, bytes.len());
        self.drain(Some((from, bytes)));
    }

    /// RFC 8656 §9, §12: without a permission nothing leaves.
    fn judge(&self, from: FiveTuple, verdict: &Verdict, length: usize) {
        let (to, payload) = match verdict {
            Verdict::ToPeer { to, payload, .. } => (to.0, payload),
            Verdict::ToOwn { to, payload, .. } => (to.0, payload),
            _ => return,
        };
        assert!(payload.start <= payload.end && payload.end <= length);
        let until = self.granted.get(&(from, to.ip())).copied().unwrap_or_default();
        assert!(until > self.second, "{from:?} sent to {to} without a permission");
        assert!(PEERS[5..].iter().all(|never| addr(never) != to), "sent to {to}");
        let is_of_calls = PHONES.iter().any(|(at, user, _)| addr(at) == from.client.0 && *user == CALLS);
        let is_ours = to.ip() == addr(PEERS[3]).ip();
        assert!(
            !is_of_calls || is_ours || self.calls.get(&to).is_some_and(|calls| *calls > 0),
            "{to}: no call"
        );
    }

    /// Looks at all that the server has to say; `asked` was handed in last.
    fn drain(&mut self, asked: Option<(FiveTuple, &[u8])>) {
        let mut answers = 0;
        while let Some(output) = self.world.server.poll_output() {
            match output {
                Output::Send { to, bytes } => {
                    let answer = Message::parse(&bytes).unwrap();
                    let (from, request) = asked.expect("nobody asked");
                    let request = Message::parse(request).unwrap();
                    assert_eq!((to, answer.transaction_id()), (from, request.transaction_id()));
                    assert_eq!(request.class(), Class::Request);
                    answers += 1;
                    // With Ethernet, IP and UDP, and the check sum behind. To a header alone the challenge is a little more.
                    let on_the_wire = |length: usize| 14 + 20 + 8 + length + 4;
                    let is_signed = PHONES.iter().any(|(_, user, _)| request.check_integrity(&key(user)));
                    let asked = request.bytes().len().max(HEADER + 8);
                    let is_small = on_the_wire(bytes.len()) <= 2 * on_the_wire(asked);
                    assert!(is_signed || is_small || from.carrier != Carrier::Udp, "{}", bytes.len());
                    if answer.class() == Class::Success {
                        self.grant(from, &request);
                    }
                }
                Output::Freed { client, .. } => self.granted.retain(|(owner, _), _| *owner != client),
                _ => {}
            }
        }
        assert!(answers <= 1);
    }

    fn grant(&mut self, client: FiveTuple, request: &Message<'_>) {
        if ![Method::CREATE_PERMISSION, Method::CHANNEL_BIND].contains(&request.method()) {
            return;
        }
        for peer in request.xor_peer_addresses().flatten() {
            self.granted.insert((client, peer.ip()), self.second + 300);
        }
    }

    fn peer_sends(&mut self, bytes: &[u8], peer: SocketAddr) {
        let Some((which, payload)) = bytes.split_first() else { return };
        let open = self.world.ports.lock().unwrap().open.clone();
        let Some(id) = open.keys().nth(usize::from(*which) % open.len().max(1)) else { return };
        let (socket, now) = (RelaySocketId(*id), self.world.now.instant);
        if *which >= 0x80 {
            let icmp = Icmp { kind: *which & 0x0f, code: 1, data: 0 };
            self.world.server.handle_icmp(socket, PeerAddr(peer), icmp, now);
            // Indications have nobody who asked.
            while let Some(output) = self.world.server.poll_output() {
                if let Output::Send { to, .. } = output {
                    assert!(self.granted.contains_key(&(to, peer.ip())));
                }
            }
            return;
        }
        let mut buffer = [&[0xaa; HEADROOM][..], payload, &[0xaa; TAILROOM]].concat();
        let place = HEADROOM..HEADROOM + payload.len();
        let verdict =
            self.world.server.handle_relayed(socket, PeerAddr(peer), &mut buffer, place.clone(), now);
        assert_eq!(&buffer[place], payload);
        if let Verdict::ToClient { client, message } = verdict {
            let until = self.granted.get(&(client, peer.ip())).copied().unwrap_or_default();
            assert!(until > self.second, "{peer} reached {client:?} without a permission");
            assert!(message.end <= buffer.len() && message.len() >= payload.len() + 4);
        }
    }

    fn call(&mut self, peer: SocketAddr, opens: bool) {
        let calls = self.calls.entry(peer).or_default();
        if opens {
            *calls += 1;
            self.world.server.open_call_peer(PeerAddr(peer));
        } else {
            *calls = calls.saturating_sub(1);
            self.world.server.close_call_peer(PeerAddr(peer));
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.world.wait(seconds);
        self.second += seconds;
        self.drain(None);
    }
}

fn five_tuple(phone: usize) -> FiveTuple {
    let (at, _, carrier) = PHONES[phone];
    FiveTuple { carrier, ..udp(at) }
}

fuzz_target!(|input: &[u8]| {
    let world = World::new();
    let mut fuzz = Fuzz { world, second: 0, granted: HashMap::new(), calls: HashMap::new() };
    let mut rest = input;
    while let [what, how, length, more @ ..] = rest {
        let (bytes, behind) = more.split_at(usize::from(*length).min(more.len()));
        fuzz.step(*what, *how, bytes);
        rest = behind;
    }
    let (held, open) = (fuzz.world.books.held(), fuzz.world.ports.lock().unwrap().open.len());
    assert_eq!(held, open, "the books and the sockets agree");
    fuzz.wait(4000);
    fuzz.world.assert_empty();
});
