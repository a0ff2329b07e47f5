//! Carriers that call only who has registered with them.

use std::time::Duration;

use turnpike::edge::event::Event;
use turnpike::edge::settings::Auth;
use turnpike::sip::digest::{Credentials, Secret};

use super::ua::{header, request_uri, response};
use super::world::{Actor, World};

fn secret() -> Secret {
    Secret::Password("tango".into())
}

/// A world that registers with the first carrier every five minutes, and has begun to.
fn world() -> World {
    let mut world = World::with(|settings| {
        settings.trunks[0].auth = Some(Auth { username: "acct42".into(), secret: secret() });
        settings.trunks[0].register = Some(Duration::from_secs(300));
    });
    world.edge.start(world.now);
    world.collect();
    world
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"acme\", nonce=\"n1\", qop=\"auth\"\r\n";

fn ok(register: &str, expires: u32) -> String {
    let contact = header(register, "Contact");
    response(register, "200 OK", "r", &format!("Contact: {contact};expires={expires}\r\n"), "")
}

fn told(world: &World) -> Vec<bool> {
    let told = |event: &Event| match event {
        Event::TrunkRegistered { trunk, registered } => Some((trunk.clone(), *registered)),
        _ => None,
    };
    let all: Vec<_> = world.events.iter().filter_map(told).collect();
    assert!(all.iter().all(|(trunk, _)| &**trunk == "acme"));
    all.into_iter().map(|(_, registered)| registered).collect()
}

fn cseq(message: &str) -> u32 {
    header(message, "CSeq").split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn it_registers_with_digest_and_again_before_what_was_granted_ends() {
    let (mut world, acme) = (world(), Actor::carrier());
    let first = world.expect(&acme, "REGISTER");
    assert_eq!(request_uri(&first), "sip:198.51.100.1", "the host of the trunk");
    assert!(header(&first, "To").contains("acct42@") && header(&first, "Expires") == "600");
    world.send(&acme, response(&first, "401 Unauthorized", "r", CHALLENGE, ""));
    let second = world.expect(&acme, "REGISTER");
    assert!(Credentials::parse(header(&second, "Authorization").as_bytes()).unwrap().verify(
        &secret(),
        b"REGISTER",
        b""
    ));
    assert_eq!((cseq(&second), header(&second, "Call-ID")), (cseq(&first) + 1, header(&first, "Call-ID")));
    world.send(&acme, ok(&second, 100));
    assert_eq!(told(&world), [true]);

    world.pass(Duration::from_secs(79));
    world.expect_nothing(&acme);
    world.pass(Duration::from_secs(2));
    let third = world.expect(&acme, "REGISTER");
    let credentials = header(&third, "Authorization");
    assert_eq!(Credentials::parse(credentials.as_bytes()).unwrap().count, Some(2), "beforehand");
    world.send(&acme, ok(&third, 3_600));
    world.pass(Duration::from_secs(299));
    world.expect_nothing(&acme);
    world.pass(Duration::from_secs(2));
    world.expect(&acme, "REGISTER");
    assert_eq!(told(&world), [true], "no news");
}

#[test]
fn a_silent_or_refusing_carrier_is_asked_more_and_more_slowly() {
    let (mut world, acme) = (world(), Actor::carrier());
    let mut register = world.expect(&acme, "REGISTER");
    let mut pauses = Vec::new();
    for _ in 0..9 {
        world.send(&acme, response(&register, "503 Service Unavailable", "r", "", ""));
        let mut waited = 0;
        register = loop {
            world.pass(Duration::from_secs(1));
            waited += 1;
            assert!(waited < 700, "{pauses:?}");
            if let Some(next) = world.take(&acme).into_iter().find(|text| text.starts_with("REGISTER")) {
                break next;
            }
        };
        pauses.push(waited);
    }
    assert!(pauses.is_sorted() && pauses[0] <= 6 && (600..=601).contains(&pauses[8]), "{pauses:?}");
    assert_eq!(told(&world), [false], "once");
}

#[test]
fn a_wrong_password_is_told() {
    let (mut world, acme) = (world(), Actor::carrier());
    for _ in 0..2 {
        let register = world.expect(&acme, "REGISTER");
        world.send(&acme, response(&register, "401 Unauthorized", "r", CHALLENGE, ""));
    }
    assert!(world.events.iter().any(|event| matches!(event, Event::LoginRefused { .. })));
    world.expect_nothing(&acme);
}

#[test]
fn rfc_3261_10_2_8_an_interval_too_brief_is_made_longer() {
    let (mut world, acme) = (world(), Actor::carrier());
    let register = world.expect(&acme, "REGISTER");
    world.send(&acme, response(&register, "423 Interval Too Brief", "r", "Min-Expires: 3600\r\n", ""));
    let register = world.expect(&acme, "REGISTER");
    assert_eq!(header(&register, "Expires"), "3600");
    world.send(&acme, ok(&register, 3_600));
    assert_eq!(told(&world), [true]);
}
