//! Captures as tools write them: what is in them, and what becomes of it under rules.

use std::net::SocketAddr;

use etherparse::{IpFragOffset, IpHeaders, IpNumber, Ipv4Header, PacketBuilder, UdpHeader};
use proptest::prelude::*;

use crate::cli::replay::tests::told_of;

const PHONE: &str = "198.51.100.7:5062";
const PHONES: &str = "203.0.113.10:5060";
const CARRIER: &str = "192.0.2.1:40000";
const TRUNKS: &str = "198.51.100.10:5060";

const POLICY: &str = r#"
policy: tomorrow
applies_to: [registrations, calls]
rates: { file: rates.csv }
rules:
  - { name: guessing, when: { method: REGISTER }, count: { per: source, failed_logins: 2/h }, over: drop }
  - { name: scanners, when: { agent: friendly-scanner* }, then: drop }
  - { name: satellite, when: { to: "+882" }, then: reject 403 }
  - { name: one at a time, when: { party: phones }, count: { per: user, calls_at_once: 1 }, over: reject 486 }
  - { name: budget, when: { to: "+44" }, count: { per: user, spend: 1.00/day }, over: [reject 403, hang_up] }
"#;

#[derive(Clone, Copy, Debug)]
enum Wire {
    Ethernet,
    Vlan,
    Cooked,
    Cooked2,
    Loopback,
    Raw,
}

impl Wire {
    const ALL: [Wire; 6] =
        [Wire::Ethernet, Wire::Vlan, Wire::Cooked, Wire::Cooked2, Wire::Loopback, Wire::Raw];

    fn link_type(self) -> u32 {
        match self {
            Wire::Ethernet | Wire::Vlan => 1,
            Wire::Cooked => 113,
            Wire::Cooked2 => 276,
            Wire::Loopback => 0,
            Wire::Raw => 101,
        }
    }

    fn frame(self, ip: &[u8]) -> Vec<u8> {
        let kind: [u8; 2] = if ip[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        let before = match self {
            Wire::Ethernet => [&[2; 12][..], &kind].concat(),
            Wire::Vlan => [&[2; 12][..], &[0x81, 0x00, 0, 7], &kind].concat(),
            Wire::Cooked => [&[0; 14][..], &kind].concat(),
            Wire::Cooked2 => [&kind[..], &[0; 18]].concat(),
            Wire::Loopback => vec![2, 0, 0, 0],
            Wire::Raw => Vec::new(),
        };
        [&before, ip].concat()
    }
}

/// Packets of IP, each so many milliseconds after the beginning.
#[derive(Clone, Default)]
struct Tape(Vec<(u64, Vec<u8>)>);

/// 2026-03-02 00:00:00 UTC
const START: u64 = 1_772_409_600;

impl Tape {
    fn udp(&mut self, at: u64, from: &str, to: &str, text: &str) {
        self.0.push((at, udp(from, to, text.as_bytes())));
    }

    fn tcp(&mut self, at: u64, from: &str, to: &str, number: u32, bytes: &[u8]) {
        let (SocketAddr::V4(a), SocketAddr::V4(b)) = (address(from), address(to)) else { panic!("IPv4") };
        let packet =
            PacketBuilder::ipv4(a.ip().octets(), b.ip().octets(), 64).tcp(a.port(), b.port(), number, 1_000);
        let mut whole = Vec::new();
        packet.write(&mut whole, bytes).unwrap();
        self.0.push((at, whole));
    }

    fn pcap(&self, wire: Wire) -> Vec<u8> {
        let mut file =
            [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, wire.link_type()].map(u32::to_le_bytes).concat();
        for (at, ip) in &self.0 {
            let frame = wire.frame(ip);
            let (seconds, micros) = ((START + at / 1_000) as u32, (at % 1_000 * 1_000) as u32);
            let length = frame.len() as u32;
            file.extend([seconds, micros, length, length].map(u32::to_le_bytes).concat());
            file.extend(frame);
        }
        file
    }

    /// The other byte order, and nanoseconds.
    fn pcap_of_another_machine(&self, wire: Wire) -> Vec<u8> {
        let mut file =
            [0xa1b2_3c4du32, 0x0002_0004, 0, 0, 262_144, wire.link_type()].map(u32::to_be_bytes).concat();
        for (at, ip) in &self.0 {
            let frame = wire.frame(ip);
            let (seconds, nanos) = ((START + at / 1_000) as u32, (at % 1_000 * 1_000_000) as u32);
            let length = frame.len() as u32;
            file.extend([seconds, nanos, length, length].map(u32::to_be_bytes).concat());
            file.extend(frame);
        }
        file
    }

    /// With a clock of milliseconds (`if_tsresol` 3).
    fn pcapng(&self, wire: Wire) -> Vec<u8> {
        let block = |kind: u32, body: &[u8]| {
            let padded = [body, &vec![0; body.len().next_multiple_of(4) - body.len()]].concat();
            let length = (padded.len() + 12) as u32;
            [&kind.to_le_bytes()[..], &length.to_le_bytes(), &padded, &length.to_le_bytes()].concat()
        };
        let section = [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        let resolution = [9u16.to_le_bytes(), 1u16.to_le_bytes(), [3, 0], [0, 0], [0, 0], [0, 0]].concat();
        let link = (wire.link_type() as u16).to_le_bytes();
        let interface = [&link[..], &[0, 0], &262_144u32.to_le_bytes(), &resolution].concat();
        let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
        for (at, ip) in &self.0 {
            let (frame, ticks) = (wire.frame(ip), START * 1_000 + at);
            let length = frame.len() as u32;
            let head = [0, (ticks >> 32) as u32, ticks as u32, length, length].map(u32::to_le_bytes).concat();
            file.extend(block(6, &[&head[..], &frame].concat()));
        }
        file
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn udp(from: &str, to: &str, bytes: &[u8]) -> Vec<u8> {
    let (a, b) = (address(from), address(to));
    let mut whole = Vec::new();
    match (a, b) {
        (SocketAddr::V4(a), SocketAddr::V4(b)) => {
            let packet = PacketBuilder::ipv4(a.ip().octets(), b.ip().octets(), 64).udp(a.port(), b.port());
            packet.write(&mut whole, bytes).unwrap();
        }
        (SocketAddr::V6(a), SocketAddr::V6(b)) => {
            let packet = PacketBuilder::ipv6(a.ip().octets(), b.ip().octets(), 64).udp(a.port(), b.port());
            packet.write(&mut whole, bytes).unwrap();
        }
        _ => panic!("one family"),
    }
    whole
}

/// The same datagram in two parts, the second one first.
fn fragments(from: &str, to: &str, bytes: &[u8]) -> [Vec<u8>; 2] {
    let (SocketAddr::V4(a), SocketAddr::V4(b)) = (address(from), address(to)) else { panic!("IPv4") };
    let header = UdpHeader::without_ipv4_checksum(a.port(), b.port(), bytes.len()).unwrap();
    let whole = [&header.to_bytes()[..], bytes].concat();
    let part = |offset: usize, more: bool, part: &[u8]| {
        let length = part.len() as u16;
        let mut ip = Ipv4Header::new(length, 64, IpNumber::UDP, a.ip().octets(), b.ip().octets()).unwrap();
        ip.identification = 77;
        ip.more_fragments = more;
        ip.fragment_offset = IpFragOffset::try_new((offset / 8) as u16).unwrap();
        let mut packet = Vec::new();
        IpHeaders::Ipv4(ip, Default::default()).write(&mut packet).unwrap();
        [packet, part.to_vec()].concat()
    };
    let (head, tail) = whole.split_at(400);
    [part(400, false, tail), part(0, true, head)]
}

/// Extra header lines end in CRLF.
fn request(method: &str, call_id: &str, cseq: u32, from: &str, to: &str, extra: &str) -> String {
    let uri =
        if method == "REGISTER" { "sip:example.com".to_owned() } else { format!("sip:{to}@example.com") };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP c.invalid;branch=z9hG4bK{call_id}{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:{from}@example.com>;tag=f\r\nTo: <sip:{to}@example.com>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:{from}@c.invalid>\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

fn response(status: &str, method: &str, call_id: &str, cseq: u32) -> String {
    format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP c.invalid;branch=z9hG4bK{call_id}{cseq}\r\nFrom: <sip:a@b>;tag=f\r\n\
         To: <sip:c@d>;tag=t\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:c@d>\r\nContent-Length: 0\r\n\r\n"
    )
}

fn bye(call_id: &str) -> String {
    request("BYE", call_id, 9, "a", "b", "")
        .replace("To: <sip:b@example.com>", "To: <sip:b@example.com>;tag=t")
}

const PASSWORD: &str =
    "Authorization: Digest username=\"201\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"0\"\r\n";

/// A day of a small office.
fn day() -> Tape {
    let mut tape = Tape::default();
    let call = |tape: &mut Tape, at: u64, id: &str, from: &str, to: &str, talk: u64| {
        tape.udp(at, PHONE, PHONES, &request("INVITE", id, 1, from, to, ""));
        tape.udp(at + 20, PHONE, PHONES, &request("INVITE", id, 1, from, to, ""));
        tape.udp(at + 50, PHONES, PHONE, &response("180 Ringing", "INVITE", id, 1));
        tape.udp(at + 1_000, PHONES, PHONE, &response("200 OK", "INVITE", id, 1));
        tape.udp(at + 1_050, PHONE, PHONES, &request("ACK", id, 1, from, to, ""));
        tape.udp(at + 1_000 + talk, PHONE, PHONES, &bye(id));
    };
    // A phone registers, as it is asked to.
    tape.udp(0, PHONE, PHONES, &request("REGISTER", "reg", 1, "201", "201", ""));
    tape.udp(10, PHONES, PHONE, &response("401 Unauthorized", "REGISTER", "reg", 1));
    tape.udp(20, PHONE, PHONES, &request("REGISTER", "reg", 2, "201", "201", PASSWORD));
    tape.udp(30, PHONES, PHONE, &response("200 OK", "REGISTER", "reg", 2));
    call(&mut tape, 1_000, "satellite", "201", "0088216123456", 60_000);
    call(&mut tape, 70_000, "dear", "201", "+442071", 300_000);
    call(&mut tape, 400_000, "cheap", "202", "+4930", 40_000);
    // The PBX asks for a password, and gets it.
    tape.udp(500_000, PHONE, PHONES, &request("INVITE", "asked", 1, "203", "+4930", ""));
    tape.udp(500_010, PHONES, PHONE, &response("407 Proxy Authentication Required", "INVITE", "asked", 1));
    tape.udp(500_020, PHONE, PHONES, &request("INVITE", "asked", 2, "203", "+4930", PASSWORD));
    tape.udp(500_030, PHONES, PHONE, &response("486 Busy Here", "INVITE", "asked", 2));
    // Somebody gives up.
    tape.udp(501_000, PHONE, PHONES, &request("INVITE", "cancelled", 1, "203", "+4930", ""));
    tape.udp(502_000, PHONE, PHONES, &request("CANCEL", "cancelled", 1, "203", "+4930", ""));
    // Scanners, and one who guesses passwords.
    tape.udp(
        510_000,
        "198.51.100.66:5060",
        PHONES,
        &request("OPTIONS", "scan", 1, "100", "100", "User-Agent: friendly-scanner\r\n"),
    );
    for guess in 1..6 {
        let at = 520_000 + u64::from(guess) * 100;
        tape.udp(
            at,
            "198.51.100.67:5060",
            PHONES,
            &request("REGISTER", "guess", guess, "201", "201", PASSWORD),
        );
        tape.udp(
            at + 50,
            PHONES,
            "198.51.100.67:5060",
            &response("403 Forbidden", "REGISTER", "guess", guess),
        );
    }
    // A carrier over TCP: in pieces, the second one before the first, one of them twice.
    let invite = request("INVITE", "in", 1, "+442071", "201", "").into_bytes();
    let (one, rest) = invite.split_at(40);
    let (two, three) = rest.split_at(100);
    let number = u32::MAX - 20;
    tape.tcp(600_000, CARRIER, TRUNKS, number, one);
    tape.tcp(600_010, CARRIER, TRUNKS, number.wrapping_add(140), three);
    tape.tcp(600_020, CARRIER, TRUNKS, number.wrapping_add(40), two);
    tape.tcp(600_030, CARRIER, TRUNKS, number.wrapping_add(40), two);
    tape.tcp(601_000, TRUNKS, CARRIER, 5, response("200 OK", "INVITE", "in", 1).as_bytes());
    // It does not end before the capture.
    // A large INVITE that IP had to cut.
    let large = request("INVITE", "large", 1, "204", "+4930", &format!("Subject: {}\r\n", "x".repeat(900)));
    fragments(PHONE, PHONES, large.as_bytes()).into_iter().for_each(|part| tape.0.push((610_000, part)));
    tape.udp(611_000, PHONES, PHONE, &response("404 Not Found", "INVITE", "large", 1));
    // What the edge itself sent to the PBX, somebody's web page, TLS, media, and nonsense on the SIP port.
    tape.udp(620_000, PHONES, "10.20.0.20:5080", &request("INVITE", "out", 1, "201", "202", ""));
    tape.tcp(621_000, PHONE, "203.0.113.10:5061", 1, &[22, 3, 1, 2, 0, 1, 0]);
    tape.tcp(622_000, PHONE, "203.0.113.10:443", 1, b"GET / HTTP/1.1\r\n\r\n");
    tape.udp(623_000, PHONE, "203.0.113.10:20000", "\u{80}\u{0}rtp");
    tape.udp(624_000, PHONE, PHONES, "INVITE nonsense SIP/2.0\r\n\r\n");
    tape.udp(
        625_000,
        "[2001:db8::7]:5060",
        "[2001:db8::10]:5060",
        &request("OPTIONS", "v6", 1, "205", "205", ""),
    );
    tape
}

#[test]
fn a_capture_is_played_whoever_wrote_it() {
    let tape = day();
    let expected = told_of("day.pcap", &tape.pcap(Wire::Ethernet), POLICY);
    insta::assert_snapshot!(expected);
    for wire in Wire::ALL {
        for file in [tape.pcap(wire), tape.pcap_of_another_machine(wire), tape.pcapng(wire)] {
            assert_eq!(told_of("day.pcap", &file, POLICY), expected, "{wire:?}");
        }
    }
}

#[test]
fn what_is_missing_is_told() {
    let mut tape = Tape::default();
    let invite = request("INVITE", "one", 1, "201", "+4930", "");
    tape.tcp(0, CARRIER, TRUNKS, 100, &invite.as_bytes()[..50]);
    // The rest never comes; what does begins in the middle of another message, and then there is a whole one.
    for number in 0..super::streams::AHEAD as u32 {
        tape.tcp(1, CARRIER, TRUNKS, 5_000 + number * 10, b"v=0\r\no=- \r");
    }
    let whole = request("INVITE", "two", 1, "201", "+4930", "");
    tape.tcp(2, CARRIER, TRUNKS, 5_000 + super::streams::AHEAD as u32 * 10, whole.as_bytes());
    let mut file = tape.pcap(Wire::Raw);
    // Cut short: its IP header says more.
    let packet = udp(PHONE, PHONES, request("INVITE", "three", 1, "201", "+4930", "").as_bytes());
    let cut = &packet[..200];
    file.extend([START as u32, 0, 200, packet.len() as u32].map(u32::to_le_bytes).concat());
    file.extend(cut);
    // And the last one is not whole.
    file.extend([START as u32, 0, 900, 900].map(u32::to_le_bytes).concat());
    insta::assert_snapshot!(told_of("torn.pcap", &file, POLICY));
}

#[test]
fn what_is_no_capture_is_told() {
    let strange = Tape::default().pcap(Wire::Raw);
    let mut usb = strange.clone();
    usb[20] = 189;
    usb.extend([START as u32, 0, 4, 4, 0].map(u32::to_le_bytes).concat());
    let told = [
        ("empty.pcap", &strange[..]),
        ("usb.pcap", &usb),
        ("short.pcap", &strange[..10]),
        ("zipped.pcap.gz", &[0x1f, 0x8b, 8, 0]),
    ]
    .map(|(name, bytes)| format!("=== {name}\n{}\n", told_of(name, bytes, POLICY)));
    insta::assert_snapshot!(told.concat());
}

#[test]
fn fragments_and_streams_without_end_take_no_room_without_end() {
    let mut tape = Tape::default();
    for number in 0..3_000u32 {
        let from = format!("198.51.100.7:{}", 1_024 + number);
        let [tail, _] = fragments(&from, PHONES, &[b'x'; 1_000]);
        let mut other = tail;
        other[4..6].copy_from_slice(&(number as u16).to_be_bytes());
        tape.0.push((0, other));
    }
    let told = told_of("flood.pcap", &tape.pcap(Wire::Raw), POLICY);
    assert!(told.contains("fragments of datagrams were left out"), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_captures_are_read_or_refused(at in 24usize..4_000, value: u8, length in 0usize..20_000, kind in 0usize..3) {
        let tape = day();
        let mut file = match kind {
            0 => tape.pcap(Wire::Ethernet),
            1 => tape.pcapng(Wire::Cooked2),
            _ => tape.pcap_of_another_machine(Wire::Vlan),
        };
        if let Some(byte) = file.get_mut(at) {
            *byte = value;
        }
        file.truncate(length.max(24));
        let told = told_of("damaged.pcap", &file, POLICY);
        prop_assert!(told.contains("calls") || told.starts_with("error: "), "{}", told);
    }
}
