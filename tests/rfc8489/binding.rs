//! §6.3 and §12: the Binding server, and what it must never do (shared ATTACKS.md).

use std::net::SocketAddr;

use turnpike::base::ClientAddr;
use turnpike::stun::{Class, ErrorCode, Hash, Key, Method, TransactionId, Type, Writer, binding as server};

use super::{binding, parse};

const V4: &str = "198.51.100.9:3478";
const V6: &str = "[2001:db8::9]:3478";

fn answer(wire: &[u8], client: &str) -> Option<Vec<u8>> {
    let client = ClientAddr(client.parse::<SocketAddr>().unwrap());
    let mut out = Vec::new();
    let answered = server::answer(&parse(wire), client, &mut out);
    assert_eq!(answered, !out.is_empty());
    answered.then_some(out)
}

#[test]
fn s12_the_client_learns_its_address() {
    for client in [V4, V6] {
        let wire = answer(&binding(Class::Request, |_| {}), client).unwrap();
        let message = parse(&wire);
        assert_eq!((message.class(), message.method()), (Class::Success, Method::BINDING));
        assert_eq!(message.transaction_id(), TransactionId(*b"transaction!"));
        assert_eq!(message.xor_mapped_address(), Ok(Some(client.parse().unwrap())));
        assert!(!message.has_fingerprint());
        assert_eq!(message.attributes().count(), 1, "no SOFTWARE");
    }
}

#[test]
fn s7_a_fingerprint_is_answered_with_one() {
    let request = binding(Class::Request, |w| {
        w.add_fingerprint();
    });
    let wire = answer(&request, V4).unwrap();
    assert!(parse(&wire).has_fingerprint() && parse(&wire).check_fingerprint());
    let mut wrong = request;
    wrong[10] ^= 1;
    assert_eq!(answer(&wrong, V4), None);
}

/// CVE-2024-2169.
#[test]
fn s6_3_only_requests_are_answered() {
    for class in [Class::Indication, Class::Success, Class::Error] {
        assert_eq!(answer(&binding(class, |_| {}), V4), None);
    }
    let mut other_method = Vec::new();
    Writer::begin(&mut other_method, Class::Request, Method(0x0fff), TransactionId([0; 12]));
    assert_eq!(answer(&other_method, V4), None);
}

/// RESPONSE-ADDRESS and CHANGE-REQUEST of RFC 3489, RESPONSE-PORT of RFC 5780.
#[test]
fn s6_3_1_420_for_what_would_aim_the_answer_elsewhere() {
    for kind in [0x0002, 0x0003, 0x0027] {
        let request = binding(Class::Request, |w| {
            w.put(Type(kind), &[0; 4]);
        });
        let wire = answer(&request, V4).unwrap();
        let message = parse(&wire);
        assert_eq!(message.class(), Class::Error);
        assert_eq!(message.error_code().unwrap().unwrap().0, ErrorCode::UNKNOWN_ATTRIBUTE);
        assert_eq!(message.unknown_attributes().unwrap().unwrap().collect::<Vec<_>>(), [Type(kind)]);
    }
}

#[test]
fn s6_3_1_what_may_be_ignored_is() {
    let request = binding(Class::Request, |w| {
        w.put(Type::SOFTWARE, b"phone").put(Type(0xc057), &[0; 4]).put(Type::USERNAME, b"alice");
        w.add_integrity(&Key::short_term("whatever"), Hash::Sha1);
    });
    assert_eq!(parse(&answer(&request, V4).unwrap()).class(), Class::Success);
}

#[test]
fn no_answer_is_more_than_twice_its_request_on_the_wire() {
    let many_unknown = binding(Class::Request, |w| {
        for kind in 0..64 {
            w.put(Type(0x7000 + kind), b"");
        }
    });
    let sealed = binding(Class::Request, |w| {
        w.add_fingerprint();
    });
    let one_unknown = binding(Class::Request, |w| {
        w.put(Type(0x7000), b"");
    });
    for request in [binding(Class::Request, |_| {}), sealed, one_unknown, many_unknown] {
        for (client, headers) in [(V4, 28), (V6, 48)] {
            let reply = answer(&request, client).unwrap();
            assert!(
                reply.len() + headers <= 2 * (request.len() + headers),
                "{} to {}",
                request.len(),
                reply.len()
            );
        }
    }
}
