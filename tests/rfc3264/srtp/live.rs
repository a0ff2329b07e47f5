//! The same over real sockets, with the real relay: what one end says, encrypted its way, the other end hears in its own.
//! Nothing sleeps: each wait ends with what is waited for, or fails after ten seconds.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::*;
use turnpike::media::dtls::{Association, Certificate, Keys, Output};
use turnpike::media::srtp::{Inbound, MasterKey, Outbound, Suite};
use turnpike::net::relay::UdpRelay;
use turnpike::relay::{Relay as _, Settings};
use turnpike::sdp::dtls::Fingerprint;

const PATIENCE: Duration = Duration::from_secs(10);

/// An address of this process's own: the ports of other test runs are not in the way.
fn loopback() -> IpAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high, middle, low).into()
}

/// A call whose two endpoints are sockets.
struct Live {
    media: CallMedia,
    relay: UdpRelay,
    rng: rand::rngs::StdRng,
    phone: UdpSocket,
    pbx: UdpSocket,
    /// What outlasts a restart.
    sides: Sides,
    certificate: String,
    ports: std::ops::RangeInclusive<u16>,
}

impl Live {
    fn new(a: Srtp, b: Srtp, ports: std::ops::RangeInclusive<u16>) -> Live {
        let here = RelayAddress { bind: loopback(), advertise: loopback() };
        let side = |srtp| SideSettings { relay: here.into(), srtp, ..side(RB) };
        let sides = Sides { a: side(a), b: side(b) };
        let certificate = Certificate::make().unwrap();
        let socket = || {
            let socket = UdpSocket::bind((loopback(), 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            socket
        };
        Live {
            media: CallMedia::new(sides.clone()),
            relay: begin(&certificate, ports.clone()),
            rng: rand::SeedableRng::seed_from_u64(4),
            phone: socket(),
            pbx: socket(),
            sides,
            certificate,
            ports,
        }
    }

    /// Both exchange `offer` and `answer`, and learn what they are shown, and where to send.
    fn talk(
        &mut self,
        offer: impl Fn(&str, u16) -> String,
        answer: impl Fn(&str, u16) -> String,
    ) -> [(String, SocketAddr); 2] {
        let host = loopback().to_string();
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let (mut shown, mut answered) = (Vec::new(), Vec::new());
        let offer = offer(&host, port(&self.phone));
        self.media.offer(Side::A, offer.as_bytes(), &mut self.relay, &mut self.rng, &mut shown).unwrap();
        let answer = answer(&host, port(&self.pbx));
        self.media.answer(Side::B, b"t", true, answer.as_bytes(), &mut self.relay, &mut answered).unwrap();
        self.relay.flush();
        [answered, shown].map(|body| {
            let body = String::from_utf8(body).unwrap();
            let port = body
                .split(' ')
                .skip_while(|word| !word.ends_with("m=audio"))
                .nth(1)
                .unwrap()
                .parse()
                .unwrap();
            (body, SocketAddr::new(loopback(), port))
        })
    }
}

impl Live {
    /// They talk, the process is killed and started anew, and they talk on: without a word of signalling, or a handshake.
    fn talk_over_a_restart(self, mut a: End, mut b: End) {
        both_talk(&mut a, &mut b);
        let bytes = serde_json::to_vec(&self.media.save()).unwrap();
        let Live { media, relay, sides, certificate, ports, .. } = self;
        drop((media, relay));
        let mut relay = begin(&certificate, ports);
        let (media, lost) = CallMedia::restore(serde_json::from_slice(&bytes).unwrap(), sides, &mut relay);
        relay.flush();
        assert_eq!(lost, None);
        // What was said meanwhile is lost.
        while a.hear().or(b.hear()).is_some() {}
        both_talk(&mut b, &mut a);
        let deadline = Instant::now() + PATIENCE;
        while media.streams()[0].a.packets < 2 {
            assert!(Instant::now() < deadline, "counts of both lives");
        }
    }
}

fn begin(certificate: &str, ports: std::ops::RangeInclusive<u16>) -> UdpRelay {
    let here = RelayAddress { bind: loopback(), advertise: loopback() };
    let settings = Settings { ports, workers: 1 };
    UdpRelay::start(settings, [here], Certificate::read(certificate).unwrap(), None).unwrap()
}

fn rtp(sequence: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, sequence, 0, 0, 0, sequence, 1, 2, 3, 4];
    packet.resize(172, sequence);
    packet
}

/// One who talks: under keys, or in the clear.
struct End {
    socket: UdpSocket,
    to: SocketAddr,
    srtp: Option<(Inbound, Outbound)>,
    /// Of the packet that was said last.
    sequence: u8,
}

impl End {
    fn new(socket: &UdpSocket, to: SocketAddr, keys: Option<Keys>) -> End {
        let srtp = keys.map(|keys| (Inbound::new(&keys.inbound), Outbound::new(&keys.outbound)));
        End { socket: socket.try_clone().unwrap(), to, srtp, sequence: 0 }
    }

    fn say(&mut self) {
        self.sequence += 1;
        let packet = rtp(self.sequence);
        let mut buffer = packet.clone();
        if let Some((_, outbound)) = &mut self.srtp {
            buffer.resize(packet.len() + 64, 0);
            let len = outbound.protect_rtp(&mut buffer, packet.len()).unwrap();
            buffer.truncate(len);
            assert_ne!(buffer[12..packet.len()], packet[12..], "not in the clear");
        }
        self.socket.send_to(&buffer, self.to).unwrap();
    }

    /// The RTP that has come, if any.
    fn hear(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        let (mut len, _) = self.socket.recv_from(&mut buffer).ok()?;
        if !(128..192).contains(&buffer[0]) {
            return None;
        }
        if let Some((inbound, _)) = &mut self.srtp {
            len = inbound.unprotect_rtp(&mut buffer[..len], Instant::now()).unwrap();
        }
        Some(buffer[..len].to_vec())
    }
}

/// What `from` says, `to` hears. The first words may come before the relay has its keys.
fn talks(from: &mut End, to: &mut End) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nothing is heard");
        from.say();
        if let Some(heard) = to.hear() {
            return assert_eq!(heard, rtp(heard[3]));
        }
    }
}

fn both_talk(a: &mut End, b: &mut End) {
    talks(a, b);
    talks(b, a);
}

fn master(base64: &str) -> MasterKey {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    MasterKey::new(Suite::AesCm128HmacSha1_80, &bytes).unwrap()
}

/// Shakes hands on `socket` with the certificate that `body` names, until there are keys.
fn shake(socket: &UdpSocket, to: SocketAddr, mut association: Association, body: &str) -> Keys {
    let line = body.lines().find_map(|line| line.strip_prefix("a=fingerprint:")).unwrap();
    association.expect(Fingerprint::parse(line.as_bytes()));
    let (deadline, mut buffer) = (Instant::now() + PATIENCE, [0; 2048]);
    let mut keys = None;
    loop {
        while let Some(output) = association.poll_output() {
            match output {
                Output::Packet(packet) => _ = socket.send_to(&packet, to).unwrap(),
                Output::Keys(agreed) => keys = Some(agreed),
                Output::Failed(failure) => panic!("{failure}"),
            }
        }
        if let Some(keys) = keys {
            return keys;
        }
        assert!(Instant::now() < deadline, "no keys");
        match socket.recv_from(&mut buffer) {
            Ok((len, _)) => association.handle_packet(&buffer[..len], Instant::now()),
            Err(_) => association.handle_timeout(Instant::now()),
        }
    }
}

#[test]
fn an_encrypted_phone_talks_with_a_plain_pbx() {
    let mut live = Live::new(Srtp::Required, Srtp::Off, 22000..=22039);
    let [(answer, phone_to), (_, pbx_to)] = live.talk(|host, port| sdes(host, port, ALFA), plain);
    let keys = Keys { inbound: master(&key_in(&answer, 1)), outbound: master(ALFA) };
    let ends = (End::new(&live.phone, phone_to, Some(keys)), End::new(&live.pbx, pbx_to, None));
    live.talk_over_a_restart(ends.0, ends.1);
}

/// Our answer says active, so the relay begins.
#[test]
fn a_phone_with_dtls_talks_with_a_plain_pbx() {
    let mut live = Live::new(Srtp::Dtls, Srtp::Off, 22040..=22079);
    let certificate = Certificate::generate().unwrap();
    let line = format!("a=fingerprint:{}\r\n", certificate.fingerprint());
    let offer = |host: &str, port| dtls(host, port, "AA", "passive").replace(&fingerprint("AA"), &line);
    let [(answer, phone_to), (_, pbx_to)] = live.talk(offer, plain);
    let association = Association::new(&certificate, Role::Server, &Suite::ALL, Instant::now());
    let keys = shake(&live.phone, phone_to, association, &answer);
    let ends = (End::new(&live.phone, phone_to, Some(keys)), End::new(&live.pbx, pbx_to, None));
    live.talk_over_a_restart(ends.0, ends.1);
}

/// The side that is called does DTLS, and begins itself; the one that calls sends keys in SDP.
#[test]
fn a_phone_with_sdes_talks_with_one_with_dtls() {
    let mut live = Live::new(Srtp::Sdes, Srtp::Dtls, 22080..=22119);
    let certificate = Certificate::generate().unwrap();
    let line = format!("a=fingerprint:{}\r\n", certificate.fingerprint());
    let reply = |host: &str, port| dtls(host, port, "BB", "active").replace(&fingerprint("BB"), &line);
    let [(answer, phone_to), (shown, pbx_to)] = live.talk(|host, port| sdes(host, port, ALFA), reply);
    let association = Association::new(&certificate, Role::Client, &Suite::ALL, Instant::now());
    let keys = shake(&live.pbx, pbx_to, association, &shown);
    let sdes = Keys { inbound: master(&key_in(&answer, 1)), outbound: master(ALFA) };
    let ends = (End::new(&live.phone, phone_to, Some(sdes)), End::new(&live.pbx, pbx_to, Some(keys)));
    live.talk_over_a_restart(ends.0, ends.1);
}
