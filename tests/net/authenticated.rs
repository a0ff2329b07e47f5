//! `admit: authenticated` on real sockets: UDP and TLS in front, a PBX that records behind.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use turnpike::base::{Transport, ZoneId};
use turnpike::edge::settings::{Admit, Party, Trust, Users, Zone};
use turnpike::net::NodeSettings;
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};
use turnpike::sip::digest::{Asked, Challenge, Secret};

use crate::harness::*;
use crate::tls::connect_to_demo;

pub const REALM: &str = "turnpike";

/// Whoever comes by TLS or the second UDP listener has to know alice's password; the PBX is in the first zone.
fn guarded(settings: &mut NodeSettings, pbx: SocketAddr) {
    with_pbx(settings, Transport::Udp, pbx);
    let edge = &mut settings.edge;
    let outside = Zone {
        name: "outside".into(),
        trust: Trust::None,
        admit: Admit::Authenticated,
        ..edge.zones[0].clone()
    };
    edge.zones.push(outside);
    let mut phones = edge.listeners[0].clone();
    (phones.name, phones.zone) = ("phones".into(), ZoneId(1));
    edge.listeners[2].zone = ZoneId(1);
    edge.listeners.push(phones);
    settings.net.listeners.push(None);
    settings.net.web.push(None);
    edge.users = Users::new(REALM, [(Arc::from("alice"), Secret::of_password("alice", REALM, "wonderland"))]);
    edge.routes[0].from = vec![Party::Zone(ZoneId(1))];
}

/// The same request as a phone sends it when it was asked.
pub fn logged_in(text: &str, challenged: &str, password: &str, count: u32) -> String {
    let method = text.split(' ').next().unwrap();
    let (asks, answers) = match status(challenged) {
        401 => ("WWW-Authenticate", "Authorization"),
        _ => ("Proxy-Authenticate", "Proxy-Authorization"),
    };
    let challenge = Challenge::parse(values(challenged, asks)[0].as_bytes()).unwrap();
    let uri = text.split(' ').nth(1).unwrap().as_bytes();
    let asked = Asked { method: method.as_bytes(), uri, body: b"", count, cnonce: 5 };
    let value = challenge.answer("alice", &Secret::Password(password.into()), &asked).unwrap();
    let value = String::from_utf8(value).unwrap();
    text.replacen("branch=z9hG4bK", &format!("branch=z9hG4bKn{count}"), 1).replacen(
        "Call-ID",
        &format!("{answers}: {value}\r\nCall-ID"),
        1,
    )
}

fn texts(transport: Transport, via: SocketAddr) -> [String; 2] {
    ["REGISTER", "MESSAGE"].map(|method| {
        let text = request(method, "sip:alice@127.0.0.1", transport, via);
        text.replace("<sip:tester@127.0.0.1>", "<sip:alice@127.0.0.1>")
    })
}

/// Asked, answered wrongly, answered rightly: the PBX sees the last alone, and no credentials.
fn is_guarded(
    pbx: &Udp,
    [register, message]: [String; 2],
    mut ask: impl FnMut(&str),
    mut hear: impl FnMut() -> String,
) {
    for (text, expected) in [(register, 401), (message, 407)] {
        ask(&text);
        let challenged = hear();
        assert_eq!(status(&challenged), expected, "{challenged}");
        ask(&logged_in(&text, &challenged, "guess", 1));
        assert_eq!(status(&hear()), expected);
        ask(&logged_in(&text, &challenged, "wonderland", 2));
        let mut buffer = [0; 65_536];
        let (n, from) = pbx.socket.recv_from(&mut buffer).unwrap();
        let seen = String::from_utf8(buffer[..n].to_vec()).unwrap();
        assert!(!seen.contains("uthorization"), "{seen}");
        assert!(seen.starts_with(text.split(' ').next().unwrap()), "{seen}");
        pbx.socket.send_to(answer(&seen, "200 OK", pbx.addr(), "").as_bytes(), from).unwrap();
        assert_eq!(status(&hear()), 200);
    }
}

#[test]
fn over_udp_the_pbx_sees_nobody_without_a_password() {
    let pbx = Udp::new("127.0.0.1:9".parse().unwrap());
    let (node, _dir) = node(|settings| guarded(settings, pbx.addr()));
    let phone = Udp::new(node.listener("phones").unwrap());
    is_guarded(&pbx, texts(Transport::Udp, phone.addr()), |text| phone.send(text), || phone.receive());
}

#[test]
fn over_tls_the_pbx_sees_nobody_without_a_password() {
    let pbx = Udp::new("127.0.0.1:9".parse().unwrap());
    let (node, dir) = node(|settings| guarded(settings, pbx.addr()));
    let mut stream = connect_to_demo(node.listener("tls").unwrap(), dir.path());
    let via = stream.sock.local_addr().unwrap();
    let stream = std::cell::RefCell::new(&mut stream);
    is_guarded(
        &pbx,
        texts(Transport::Tls, via),
        |text| stream.borrow_mut().write_all(text.as_bytes()).unwrap(),
        || read_message(&mut **stream.borrow_mut()),
    );
}

/// The same where the zone asks nobody, and a rule of policy does.
#[test]
fn a_rule_asks_for_a_password_where_the_zone_asks_nobody() {
    let pbx = Udp::new("127.0.0.1:9".parse().unwrap());
    let asks = Rule {
        name: "abroad / ask".into(),
        written: Default::default(),
        when: Vec::new(),
        count: None,
        answer: Answer { verdict: Some(Verdict::Refuse(Action::Challenge)), ..Answer::default() },
    };
    let (node, _dir) = node(|settings| {
        guarded(settings, pbx.addr());
        settings.edge.zones[1].admit = Admit::Any;
        settings.policy.policies.push(Policy {
            name: "abroad".into(),
            place: Default::default(),
            mode: Mode::Enforce,
            stages: vec![Stage::Registrations, Stage::Calls],
            rules: vec![asks],
            default: Answer::ALLOW,
            deck: None,
        });
    });
    let phone = Udp::new(node.listener("phones").unwrap());
    is_guarded(&pbx, texts(Transport::Udp, phone.addr()), |text| phone.send(text), || phone.receive());
}
