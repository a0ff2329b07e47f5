//! RFC 5769: sample messages, as bytes, with the secrets that made them.

use turnpike::stun::{Class, Hash, Key, Message, Method, TransactionId, Type, Writer, userhash};

use super::parse;

const SHORT_TERM: &str = "VOkJxbRl1RmTxUk/WvJxBt";

/// Hexadecimal digits, with spaces for the eye.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// §2.1
const REQUEST: &str = "00010058 2112a442 b7e7a701 bc34d686 fa87dfae
    80220010 5354554e 20746573 7420636c 69656e74
    00240004 6e0001ff
    80290008 932ff9b1 51263b36
    00060009 6576746a 3a683676 59202020
    00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2
    80280004 e57a3bcf";

/// §2.2
const IPV4_RESPONSE: &str = "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200008 0001a147 e112a643
    00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
    80280004 c07d4c96";

/// §2.3
const IPV6_RESPONSE: &str = "01010048 2112a442 b7e7a701 bc34d686 fa87dfae
    8022000b 74657374 20766563 746f7220
    00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41
    80280004 c8fb0b4c";

/// §2.4
const LONG_TERM_REQUEST: &str = "00010060 2112a442 78ad3433 c6ad72c0 29da412e
    00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
    0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700
    00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

/// "Matrix" in katakana: the user of §2.4 and of RFC 8489 appendix B.1.
const USER: &str = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";

fn check(message: &Message<'_>, key: &Key) {
    assert!(message.check_integrity(key));
    assert!(message.check_fingerprint());
    assert!(!message.check_integrity(&Key::short_term("wrong")));
}

#[test]
fn s2_1_sample_request() {
    let wire = hex(REQUEST);
    let message = parse(&wire);
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.username(), Ok(Some("evtj:h6vY")));
    assert!(message.has_fingerprint());
    check(&message, &Key::short_term(SHORT_TERM));
}

#[test]
fn s2_2_sample_ipv4_response() {
    let wire = hex(IPV4_RESPONSE);
    let message = parse(&wire);
    assert_eq!((message.class(), message.method()), (Class::Success, Method::BINDING));
    assert_eq!(message.xor_mapped_address(), Ok(Some("192.0.2.1:32853".parse().unwrap())));
    check(&message, &Key::short_term(SHORT_TERM));
}

#[test]
fn s2_3_sample_ipv6_response() {
    let wire = hex(IPV6_RESPONSE);
    let message = parse(&wire);
    let address = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
    assert_eq!(message.xor_mapped_address(), Ok(Some(address)));
    check(&message, &Key::short_term(SHORT_TERM));
}

#[test]
fn s2_4_sample_request_with_long_term_authentication() {
    let wire = hex(LONG_TERM_REQUEST);
    let message = parse(&wire);
    assert_eq!(message.username(), Ok(Some(USER)));
    assert_eq!(message.nonce(), Ok(Some("f//499k954d6OL34oL9FSTvy64sA")));
    assert_eq!(message.realm(), Ok(Some("example.org")));
    check(&message, &Key::md5(USER, "example.org", "TheMatrIX"));
}

/// Of the four, this one pads with zeros, as we do.
#[test]
fn s2_4_is_written_byte_for_byte() {
    let mut wire = Vec::new();
    let id = TransactionId(hex("78ad3433 c6ad72c0 29da412e").try_into().unwrap());
    let mut writer = Writer::begin(&mut wire, Class::Request, Method::BINDING, id);
    writer.put(Type::USERNAME, USER.as_bytes());
    writer.put(Type::NONCE, b"f//499k954d6OL34oL9FSTvy64sA");
    writer.put(Type::REALM, b"example.org");
    writer.add_integrity(&Key::md5(USER, "example.org", "TheMatrIX"), Hash::Sha1);
    assert_eq!(wire, hex(LONG_TERM_REQUEST));
}

/// RFC 8489 appendix B.1. The header of the message printed there announces 156 bytes where 136 follow, and its HMAC was made
/// over that length, so only the hash of the user can be taken from it.
#[test]
fn rfc8489_b_1_userhash() {
    let printed = hex("4a3cf38f ef6992bd a952c678 0417da0f 24819415 569e60b2 05c46e41 407f1704");
    assert_eq!(userhash(USER, "example.org").as_slice(), printed);
}
