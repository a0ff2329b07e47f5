//! STUN on the SIP UDP port (RFC 5626 §3.5.2, RFC 7983): a phone learns whether its NAT binding is still the same.

use std::io::ErrorKind;
use std::net::SocketAddr;

use turnpike::policy::settings::{Answer, Mode, Policy, Verdict};
use turnpike::policy::{Action, Stage};
use turnpike::stun::{Class, ErrorCode, Message, Method, TransactionId, Type, Writer};

use crate::harness::*;

fn binding(class: Class, id: u8, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut wire = Vec::new();
    fill(&mut Writer::begin(&mut wire, class, Method::BINDING, TransactionId([id; 12])));
    wire
}

fn send(udp: &Udp, wire: &[u8]) {
    udp.socket.send_to(wire, udp.to).unwrap();
}

/// What comes next, in an answer's words.
fn receive(udp: &Udp) -> (Class, u8, Option<SocketAddr>, bool) {
    let mut buffer = [0; 1500];
    let (n, from) = udp.socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, udp.to);
    let message = Message::parse(&buffer[..n]).unwrap();
    assert!(message.check_fingerprint());
    let address = message.xor_mapped_address().unwrap();
    (message.class(), message.transaction_id().0[0], address, message.has_fingerprint())
}

#[test]
fn a_phone_learns_its_address_between_sip_messages() {
    let (node, _dir) = node(|_| {});
    let udp = Udp::new(node.listener("udp").unwrap());
    udp.assert_served();
    send(&udp, &binding(Class::Request, 1, |_| {}));
    assert_eq!(receive(&udp), (Class::Success, 1, Some(udp.addr()), false));
    let sealed = binding(Class::Request, 2, |w| {
        w.add_fingerprint();
    });
    send(&udp, &sealed);
    assert_eq!(receive(&udp), (Class::Success, 2, Some(udp.addr()), true));
    udp.assert_served();
}

/// CVE-2024-2169, and what else begins like STUN: the last request's answer is the first that comes.
#[test]
fn nothing_but_a_good_binding_request_is_answered() {
    let (node, _dir) = node(|_| {});
    let udp = Udp::new(node.listener("udp").unwrap());
    for class in [Class::Indication, Class::Success, Class::Error] {
        send(&udp, &binding(class, 1, |_| {}));
    }
    let mut allocate = Vec::new();
    Writer::begin(&mut allocate, Class::Request, Method::ALLOCATE, TransactionId([2; 12]));
    send(&udp, &allocate);
    let mut forged = binding(Class::Request, 3, |w| {
        w.add_fingerprint();
    });
    forged[10] ^= 1;
    send(&udp, &forged);
    let good = binding(Class::Request, 4, |_| {});
    for end in 1..good.len() {
        send(&udp, &good[..end]);
    }
    for garbage in [&b"\x01\r\nINVITE sip:a@b SIP/2.0\r\n\r\n"[..], &[0, 1], &[3; 600]] {
        send(&udp, garbage);
    }
    send(&udp, &good);
    assert_eq!(receive(&udp), (Class::Success, 4, Some(udp.addr()), false));
}

/// RESPONSE-ADDRESS, CHANGE-REQUEST (RFC 3489) and RESPONSE-PORT (RFC 5780) would aim the answer at someone else.
#[test]
fn the_answer_goes_to_the_source_alone() {
    let (node, _dir) = node(|_| {});
    let udp = Udp::new(node.listener("udp").unwrap());
    let victim = Udp::new(udp.to);
    for kind in [0x0002, 0x0003, 0x0027] {
        let request = binding(Class::Request, 1, |w| {
            w.put_address(Type(kind), victim.addr());
        });
        send(&udp, &request);
        let mut buffer = [0; 1500];
        let n = udp.socket.recv(&mut buffer).unwrap();
        let error = Message::parse(&buffer[..n]).unwrap().error_code().unwrap().unwrap().0;
        assert_eq!(error, ErrorCode::UNKNOWN_ATTRIBUTE);
    }
    assert_silent(&victim);
}

#[test]
fn whom_a_policy_refuses_gets_no_answer() {
    let (node, _dir) = node(|settings| {
        settings.policy.never_ban = vec!["127.0.0.1/32".parse().unwrap()];
        settings.policy.policies = vec![Policy {
            name: "nobody".into(),
            mode: Mode::Enforce,
            stages: vec![Stage::Packets],
            rules: Vec::new(),
            default: Answer { verdict: Some(Verdict::Refuse(Action::Drop)), ..Answer::default() },
            deck: None,
            place: Default::default(),
        }];
    });
    let to = node.listener("udp").unwrap();
    let (refused, welcome) = (Udp::at("127.0.0.2", to), Udp::new(to));
    send(&refused, &binding(Class::Request, 1, |_| {}));
    send(&welcome, &binding(Class::Request, 2, |_| {}));
    assert_eq!(receive(&welcome).1, 2);
    assert_silent(&refused);
}

/// Nothing has come; what was sent before is answered before, so there is nothing to wait for.
fn assert_silent(udp: &Udp) {
    udp.socket.set_nonblocking(true).unwrap();
    assert_eq!(udp.socket.recv(&mut [0; 1500]).unwrap_err().kind(), ErrorKind::WouldBlock);
}
