//! §5 to §7: the shape of a message; §14.5 to §14.7: what seals it.

use turnpike::stun::{Class, Hash, Key, Malformed, Message, Type};

use super::{binding, parse};

fn malformed(wire: &[u8]) -> Malformed {
    Message::parse(wire).expect_err("malformed")
}

/// A request with these bytes for attributes.
fn raw(attributes: &[u8]) -> Vec<u8> {
    let mut wire = binding(Class::Request, |_| {});
    wire.extend(attributes);
    wire[2..4].copy_from_slice(&(attributes.len() as u16).to_be_bytes());
    wire
}

#[test]
fn s5_the_first_two_bits_are_zero_and_the_cookie_is_there() {
    let good = binding(Class::Request, |_| {});
    for (at, value) in [(0, 0x40), (0, 0x80), (0, 0xc0), (4, 0x20), (7, 0x43)] {
        let mut wire = good.clone();
        wire[at] = value;
        assert_eq!(malformed(&wire), Malformed::NotStun);
    }
    assert_eq!(malformed(&good[..19]), Malformed::NotStun);
    assert_eq!(malformed(b""), Malformed::NotStun);
}

#[test]
fn s5_the_length_is_true_and_a_multiple_of_four() {
    let mut longer = binding(Class::Request, |_| {});
    longer.extend([0; 4]);
    assert_eq!(malformed(&longer), Malformed::Length);
    let mut shorter = binding(Class::Request, |_| {});
    shorter[3] = 4;
    assert_eq!(malformed(&shorter), Malformed::Length);
    assert_eq!(malformed(&raw(&[0x80, 0x22, 0])), Malformed::Length);
}

#[test]
fn s14_an_attribute_may_not_reach_beyond_the_end() {
    assert_eq!(malformed(&raw(&[0, 6, 0, 5, b'a', b'b', b'c', b'd'])), Malformed::Overrun);
    assert_eq!(malformed(&raw(&[0, 6, 0xff, 0xff])), Malformed::Overrun);
    assert!(Message::parse(&raw(&[0, 6, 0, 0])).is_ok());
}

#[test]
fn s14_padding_is_zero_and_ignored() {
    let wire = binding(Class::Request, |w| {
        w.put(Type::USERNAME, b"a");
    });
    assert_eq!(&wire[20..], [0, 6, 0, 1, b'a', 0, 0, 0]);
    let padded_otherwise = raw(&[0, 6, 0, 1, b'a', b'x', b'y', b'z']);
    assert_eq!(parse(&padded_otherwise).username(), Ok(Some("a")));
}

#[test]
fn s14_the_first_of_its_type_wins() {
    let wire = binding(Class::Request, |w| {
        w.put(Type::USERNAME, b"first").put(Type::USERNAME, b"second");
    });
    assert_eq!(parse(&wire).username(), Ok(Some("first")));
}

#[test]
fn s14_unknown_types_of_the_lower_half_are_listed_once() {
    let wire = binding(Class::Request, |w| {
        for kind in [0x7fff, 0x8fff, 0x0006, 0x0003, 0x7fff] {
            w.put(Type(kind), b"");
        }
    });
    let unknown: Vec<Type> = parse(&wire).unknown_required(Type::OF_STUN).collect();
    assert_eq!(unknown, [Type(0x7fff), Type(0x0003)]);
}

#[test]
fn s14_5_what_follows_message_integrity_does_not_count() {
    let key = Key::short_term("secret");
    for hash in [Hash::Sha1, Hash::Sha256] {
        let wire = binding(Class::Request, |w| {
            w.add_integrity(&key, hash)
                .put(Type::USERNAME, b"mallory")
                .put(Type(0x7fff), b"")
                .add_fingerprint();
        });
        let message = parse(&wire);
        assert!(message.check_integrity(&key) && message.check_fingerprint());
        assert_eq!(message.username(), Ok(None));
        assert_eq!(message.unknown_required(Type::OF_STUN).count(), 0);
    }
}

#[test]
fn s14_5_the_length_in_the_hmac_ends_with_the_attribute() {
    let key = Key::short_term("secret");
    let alone = binding(Class::Request, |w| {
        w.put(Type::USERNAME, b"alice").add_integrity(&key, Hash::Sha1);
    });
    let followed = binding(Class::Request, |w| {
        w.put(Type::USERNAME, b"alice").add_integrity(&key, Hash::Sha1).add_fingerprint();
    });
    assert_eq!(alone[20..], followed[20..alone.len()]);
    assert!(parse(&followed).check_integrity(&key));
}

#[test]
fn s14_6_a_truncated_hmac_sha256_is_wrong() {
    let key = Key::short_term("secret");
    let whole = binding(Class::Request, |w| {
        w.add_integrity(&key, Hash::Sha256);
    });
    assert!(parse(&whole).check_integrity(&key));
    for length in [0, 4, 16, 28] {
        let truncated = binding(Class::Request, |w| {
            w.put(Type::MESSAGE_INTEGRITY_SHA256, &whole[24..24 + length]);
        });
        assert!(!parse(&truncated).check_integrity(&key), "{length}");
    }
}

#[test]
fn s14_7_fingerprint_is_last_and_checked() {
    let mut wire = binding(Class::Request, |w| {
        w.put(Type::USERNAME, b"alice").add_fingerprint();
    });
    assert!(parse(&wire).check_fingerprint());
    wire[25] ^= 1;
    assert!(!parse(&wire).check_fingerprint());
    let not_last = binding(Class::Request, |w| {
        w.add_fingerprint().put(Type::USERNAME, b"alice");
    });
    assert_eq!(malformed(&not_last), Malformed::AfterFingerprint);
    let of_wrong_length = binding(Class::Request, |w| {
        w.put(Type::FINGERPRINT, b"");
    });
    assert!(!parse(&of_wrong_length).check_fingerprint());
}
