//! Messages that want to be answered elsewhere, too often, too much, or that are none.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// Answers to strangers that one source gets at once, and how long the next one takes (`turn::credentials`).
const CHALLENGES: (usize, Duration) = (200, Duration::from_millis(10));
/// Ethernet, IPv4, UDP, and the frame's check sequence.
const HEADERS: usize = 14 + 20 + 8 + 4;

const REQUESTS: [Method; 6] = [
    Method::BINDING,
    Method::ALLOCATE,
    Method::REFRESH,
    Method::CREATE_PERMISSION,
    Method::CHANNEL_BIND,
    Method::CONNECT,
];

#[test]
fn strangers_are_answered_once_and_with_at_most_twice_their_bytes() {
    let attacked = Attacked::new();
    let spare = |writer: &mut Writer<'_>| _ = writer.put_requested_transport(17);
    for method in REQUESTS {
        for request in [message(Class::Request, method, 1, |_| ()), message(Class::Request, method, 2, spare)]
        {
            let stranger = attacked.socket_at("127.0.0.66");
            stranger.send(&request).unwrap();
            let said = answer(&stranger);
            assert!(
                said.len() + HEADERS <= 2 * (request.len() + HEADERS),
                "{method:?}: {} bytes",
                said.len()
            );
            settle_beside(&attacked);
            assert_eq!(answers_waiting(&stranger), 0, "{method:?}");
        }
    }
    attacked.still_serves();
}

#[test]
fn a_flood_from_one_source_is_answered_so_often_and_no_more() {
    let attacked = Attacked::new();
    let began = Instant::now();
    let flooder = attacked.socket_at("127.0.0.66");
    let mut answered = 0;
    for n in 0..3000 {
        flooder.send(&message(Class::Request, Method::ALLOCATE, 1, |_| ())).unwrap();
        if n % 50 == 49 {
            settle_beside(&attacked);
            answered += answers_waiting(&flooder);
        }
    }
    let due = began.elapsed().as_secs_f64() / CHALLENGES.1.as_secs_f64();
    assert!(answered <= CHALLENGES.0 + due as usize + 1, "{answered} answers");
    attacked.still_serves();
}

/// RESPONSE-ADDRESS, CHANGE-REQUEST, CHANGED-ADDRESS, SOURCE-ADDRESS, RESPONSE-PORT (RFC 3489, RFC 5780).
#[test]
fn requests_to_answer_elsewhere_are_420_and_nothing_arrives_there() {
    let attacked = Attacked::new();
    let trap = Trap::on(&["127.0.0.2", "127.0.0.66"]);
    let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), trap.port);
    let mut thief = attacked.client_at("127.0.0.66", "thief", "thief");
    thief.allocate();
    for kind in [0x0002, 0x0003, 0x0027].map(Type) {
        let fill = |writer: &mut Writer<'_>| match kind {
            Type(0x0002) => _ = writer.put_address(kind, elsewhere),
            Type(0x0027) => _ = writer.put(kind, &[(trap.port >> 8) as u8, trap.port as u8, 0, 0]),
            _ => _ = writer.put(kind, &[0, 0, 0, 6]),
        };
        let stranger = attacked.socket_at("127.0.0.66");
        stranger.send(&message(Class::Request, Method::BINDING, 1, fill)).unwrap();
        assert_eq!(code(&answer(&stranger)), 420, "{kind:?}");
        for method in [Method::BINDING, Method::REFRESH, Method::CREATE_PERMISSION] {
            assert_eq!(thief.ask(method, fill).code(), 420, "{kind:?}");
        }
    }
    settle(&mut thief);
    trap.assert_empty();
    attacked.still_serves();
}

/// Two servers that answer each other's answers never stop (CVE-2024-2169).
#[test]
fn answers_and_errors_are_never_answered() {
    let attacked = Attacked::new();
    let other_server = attacked.socket_at("127.0.0.66");
    for class in [Class::Success, Class::Error, Class::Indication] {
        for method in REQUESTS.into_iter().chain([Method::DATA, Method::SEND]) {
            other_server.send(&message(class, method, 1, |_| ())).unwrap();
            other_server
                .send(&message(class, method, 1, |writer| _ = writer.put_u32(Type(0x7fff), 1)))
                .unwrap();
        }
    }
    settle_beside(&attacked);
    assert_eq!(answers_waiting(&other_server), 0);
    attacked.still_serves();
}

#[test]
fn what_is_padded_is_padded_with_zeros_and_no_version_is_told() {
    let attacked = Attacked::new();
    let mut thief = attacked.allocated_both("thief");
    let stranger = attacked.socket_at("127.0.0.66");
    let mut said = vec![thief.ask(Method::CREATE_PERMISSION, |_| ()).0];
    said.push(thief.ask(Method::REFRESH, |writer| _ = writer.put(Type(0x7ffe), &[1])).0);
    for method in REQUESTS {
        stranger
            .send(&message(Class::Request, method, 1, |writer| _ = writer.put(Type(0x7ffe), &[1])))
            .unwrap();
        said.push(answer(&stranger));
    }
    for bytes in said {
        let message = Message::parse(&bytes).unwrap();
        for attribute in message.attributes() {
            assert_ne!(attribute.kind, Type::SOFTWARE);
            let end = attribute.value.as_ptr() as usize - bytes.as_ptr() as usize + attribute.value.len();
            let padding = &bytes[end..end.next_multiple_of(4)];
            assert!(padding.iter().all(|byte| *byte == 0), "{attribute:?}: {padding:?}");
        }
    }
    attacked.still_serves();
}

#[test]
fn broken_messages_are_dropped_or_400() {
    let attacked = Attacked::new();
    let stranger = attacked.socket_at("127.0.0.66");
    let good = message(Class::Request, Method::ALLOCATE, 1, |writer| {
        writer.put_requested_transport(17).put(Type::USERNAME, b"alice");
    });
    let mut broken: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    // Every length that the header and each attribute could claim.
    for (at, claims) in [(2, 0..=255), (22, 0..=255), (30, 0..=255)] {
        for claim in claims {
            let mut bytes = good.clone();
            bytes[at + 1] = claim;
            bytes[at] = if claim % 3 == 0 { 0xff } else { 0 };
            broken.push(bytes);
        }
    }
    broken.extend([
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 65_000],
        vec![0x16, 3, 1, 2, 0],
        vec![0xff; 1500],
    ]);
    for bytes in &broken {
        stranger.send(bytes).unwrap();
    }
    settle_beside(&attacked);
    stranger.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    while let Ok(n) = stranger.recv(&mut buffer) {
        assert!([400, 401, 420].contains(&code(&buffer[..n])), "{:?}", &buffer[..n]);
    }
    attacked.still_serves();
}

#[test]
fn channel_data_that_lies_about_its_length_reaches_nobody() {
    let attacked = Attacked::new();
    let (bob, bob_addr) = turn::peer();
    let socket = attacked.socket_at("127.0.0.1");
    let mut alice = TurnClient::new(socket.try_clone().unwrap(), "alice", "alice");
    alice.allocate();
    assert_eq!(alice.bind(0x4000, bob_addr), 0);
    for lie in [
        &[0x40, 0, 0, 200, 1, 2, 3, 4][..],
        &[0x40, 0, 0xff, 0xff, 1, 2, 3, 4],
        &[0x40, 0, 0],
        &[0x40],
        &[0x40, 1, 0, 4, 1, 2, 3, 4],
        &[0x4f, 0xff, 0, 4, 1, 2, 3, 4],
        &[0x50, 0, 0, 4, 1, 2, 3, 4],
        &[0x7f, 0xff, 0, 4, 1, 2, 3, 4],
    ] {
        socket.send(lie).unwrap();
    }
    settle(&mut alice);
    bob.set_nonblocking(true).unwrap();
    Trap { port: bob_addr.port(), sockets: vec![bob] }.assert_empty();
    attacked.still_serves();
}

#[test]
fn after_a_flood_of_garbage_honest_clients_are_served() {
    let attacked = Attacked::new();
    let mut alice = attacked.allocated_both("alice");
    let stranger = attacked.socket_at("127.0.0.66");
    let mut rng = StdRng::seed_from_u64(3478);
    let good = message(Class::Request, Method::ALLOCATE, 1, |writer| _ = writer.put_requested_transport(17));
    let mut garbage = vec![0; 60_000];
    for n in 0..20_000 {
        let length = rng.next_u32() as usize % if n % 100 == 0 { garbage.len() } else { 600 };
        rng.fill_bytes(&mut garbage[..length]);
        if n % 2 == 0 {
            let cut = good.len().min(length);
            garbage[..cut].copy_from_slice(&good[..cut]);
        }
        let _ = stranger.send(&garbage[..length]);
        if n % 100 == 99 {
            settle(&mut alice);
        }
    }
    attacked.still_serves();
}

/// Everything that any client has said until now has been seen to (there is one worker).
fn settle_beside(attacked: &Attacked) {
    let mut beside = attacked.client_at("127.0.0.201", "alice", "alice");
    beside.allocate();
    settle(&mut beside);
    assert_eq!(beside.refresh(0), 0);
}
