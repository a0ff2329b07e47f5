use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What the client got itself from our TURN server.
const ALLOCATION: &str = "203.0.113.9:5000";

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("IN IP4 0.0.0.0".to_owned()),
        (1..4u8, any::<u8>()).prop_map(|(a, b)| format!("IN IP4 10.0.{a}.{b}")),
        (1..=0xffffu16).prop_map(|n| format!("IN IP6 2001:db8::{n:x}")),
        Just("IN IP4 phone.example.com".to_owned()),
    ]
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[abikz]=[ -~]{0,30}".prop_filter("not ours", |line| !is_ours(line) && !line.starts_with("a=rtcp:")),
        1 => address().prop_map(|host| format!("c={host}")),
        1 => (0..60_000u32, proptest::option::of(address()))
            .prop_map(|(port, host)| format!("a=rtcp:{port} {}", host.unwrap_or_default()).trim_end().to_owned()),
        1 => (0..3u8, 1..3u8, "(relay[0-9]{0,3}|[a-z0-9]{1,8})")
            .prop_map(|(n, component, foundation)| format!("a=candidate:{foundation} {component} UDP 1 10.0.0.{n} 4000 typ host")),
        1 => (1..3u8).prop_map(|component| format!("a=candidate:t {component} udp 9 {ALLOCATION} typ relay raddr 0.0.0.0 rport 9")
            .replace(":5000", " 5000")),
        1 => prop_oneof![Just("a=ice-lite"), Just("a=end-of-candidates"), Just("a=remote-candidates:1 10.0.0.1 4000")].prop_map(str::to_owned),
        1 => prop_oneof![Just("a=ice-ufrag:u"), Just("a=ice-pwd:p"), Just("a=rtcp-mux"), Just("a=inactive")].prop_map(str::to_owned),
    ]
}

fn section() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        Just("audio {} RTP/AVP 0 8"),
        Just("image {} udptl t38"),
        Just("video {} UDP/TLS/RTP/SAVPF 96")
    ];
    let port = prop_oneof![1 => Just(0u16), 1 => Just(9), 5 => 1024..60_000u16];
    (head, port, vec(line(), 0..8)).prop_map(|(head, port, lines)| {
        std::iter::once(format!("m={}", head.replace("{}", &port.to_string())))
            .chain(lines)
            .collect::<Vec<_>>()
            .join("\n")
    })
}

fn body() -> impl Strategy<Value = String> {
    let end = prop_oneof![Just("\n"), Just("\r\n")];
    (vec(line(), 0..5), vec(section(), 0..5), end, any::<bool>()).prop_map(
        |(lines, sections, end, trailing)| {
            let all: Vec<String> = std::iter::once("v=0".to_owned()).chain(lines).chain(sections).collect();
            let body = all.join("\n").replace('\n', end);
            if trailing { body + end } else { body }
        },
    )
}

fn edit() -> impl Strategy<Value = MediaEdit> {
    let own = crate::ice::Credentials::read(b"ours", &[b'p'; 22]).unwrap();
    let ice = prop_oneof![
        Just(IceEdit::Keep),
        Just(IceEdit::Append { instead_of: vec![ALLOCATION.parse().unwrap()] }),
        Just(IceEdit::RelayOnly),
        Just(IceEdit::Strip),
        Just(IceEdit::Lite(own)),
    ];
    let relayed = (1..4u8, any::<bool>(), 0..3u16, ice).prop_map(|(host, v6, gap, ice)| {
        let ip = if v6 { format!("[2001:db8:ffff::{host}]") } else { format!("203.0.113.{host}") };
        let rtp: SocketAddr = format!("{ip}:61000").parse().unwrap();
        MediaEdit::Relay { rtp, rtcp: SocketAddr::new(rtp.ip(), 61_000 + gap), ice, keying: None }
    });
    prop_oneof![
        1 => Just(MediaEdit::Keep),
        1 => Just(MediaEdit::WithoutIce),
        1 => Just(MediaEdit::Reject),
        4 => relayed
    ]
}

fn is_ours(line: &str) -> bool {
    line.starts_with("m=") || line.starts_with("c=")
}

/// Lines that none of the edits may touch; an `m=` without its port.
fn foreign(body: &[u8], edits: &[MediaEdit]) -> Vec<String> {
    let ices = || {
        edits.iter().filter_map(|edit| if let MediaEdit::Relay { ice, .. } = edit { Some(ice) } else { None })
    };
    let no_candidates = ices().any(|ice| *ice == IceEdit::RelayOnly);
    let refused = edits.iter().any(|edit| matches!(edit, MediaEdit::Reject | MediaEdit::WithoutIce));
    let no_ice = refused || ices().any(|ice| matches!(ice, IceEdit::Strip | IceEdit::Lite(_)));
    let is_ice = |line: &str| {
        let line = line.strip_prefix("a=").unwrap_or_default();
        let candidate = line.starts_with("candidate:");
        let other = ["ice-", "remote-candidates:", "end-of-candidates"];
        (candidate && (no_candidates || no_ice))
            || (no_ice && other.iter().any(|name| line.starts_with(name)))
    };
    let lines = String::from_utf8(body.to_vec()).unwrap();
    let ours = |line: &&str| {
        !line.starts_with("c=")
            && !line.starts_with("a=rtcp:")
            && !line.contains(" typ relay raddr ")
            && !is_ice(line)
    };
    let without_port = |line: &str| match line.strip_prefix("m=") {
        Some(media) => {
            media.split(' ').enumerate().filter(|(index, _)| *index != 1).map(|(_, field)| field).collect()
        }
        None => line.to_owned(),
    };
    lines.split('\n').map(|line| line.trim_end_matches('\r')).filter(ours).map(without_port).collect()
}

proptest! {
    #[test]
    fn rewriting_is_idempotent_and_touches_only_what_is_ours(body in body(), edits in vec(edit(), 0..5)) {
        let Ok(session) = Session::parse(body.as_bytes()) else { return Ok(()) };
        let mut once = Vec::new();
        session.rewrite(&edits, &mut once);
        let twice = rewrite_bytes(&once, &edits);
        prop_assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice));
        prop_assert_eq!(foreign(body.as_bytes(), &edits), foreign(&once, &edits));
        let after = Session::parse(&once).unwrap();
        for (index, ((before, after), edit)) in session.media().iter().zip(after.media()).zip(&edits).enumerate() {
            match edit {
                MediaEdit::Relay { rtp, ice, .. } if before.port != 0 => {
                    let session = Session::parse(&once).unwrap();
                    let candidates = || session.candidates(index).filter_map(|c| c.udp());
                    match ice {
                        IceEdit::Keep => {}
                        IceEdit::Append { instead_of } => prop_assert!(!candidates().any(|at| instead_of.contains(&at))),
                        IceEdit::RelayOnly | IceEdit::Lite(_) => prop_assert!(candidates().all(|at| at.ip() == rtp.ip())),
                        IceEdit::Strip => prop_assert!(session.candidates(index).next().is_none() && !after.ice),
                    }
                    prop_assert!(!matches!(ice, IceEdit::Lite(_)) || after.ice);
                    prop_assert_eq!(after.port, rtp.port());
                    if !before.is_held_by_address() {
                        prop_assert_eq!(after.rtp, Some(*rtp));
                    }
                    prop_assert_eq!(before.is_held_by_address(), after.is_held_by_address());
                }
                MediaEdit::Reject => prop_assert_eq!(after.port, 0),
                MediaEdit::WithoutIce => {
                    let session = Session::parse(&once).unwrap();
                    prop_assert!(session.candidates(index).next().is_none() && !after.ice);
                }
                _ => prop_assert_eq!((before.port, before.rtp, before.rtcp), (after.port, after.rtp, after.rtcp)),
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..300), edits in vec(edit(), 0..3)) {
        let body = [b"v=0\r\n".as_slice(), &body].concat();
        if let Ok(session) = Session::parse(&body) {
            session.rewrite(&edits, &mut Vec::new());
        }
    }

    #[test]
    fn a_mutated_offer_is_read_or_refused(sample in 0..SAMPLES.len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = SAMPLES[sample].1.as_bytes().to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(session) = Session::parse(&body) {
            let edits = relay_all(SAMPLES[sample].1, true);
            let mut once = Vec::new();
            session.rewrite(&edits, &mut once);
            prop_assert_eq!(&rewrite_bytes(&once, &edits), &once);
        }
    }
}
