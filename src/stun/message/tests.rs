use super::super::*;
use super::{join_type, split_type};
use proptest::prelude::*;

const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

fn request(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut wire = Vec::new();
    write(&mut Writer::begin(&mut wire, Class::Request, Method::ALLOCATE, ID));
    wire
}

#[test]
fn class_and_method_share_the_type() {
    for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
        for method in 0..0x1000 {
            let raw = join_type(class, Method(method));
            assert_eq!(split_type(raw), (class, Method(method)));
            assert_eq!(raw & 0xc000, 0);
        }
    }
    assert_eq!(join_type(Class::Success, Method::CHANNEL_BIND), 0x0109);
    assert_eq!(join_type(Class::Indication, Method::SEND), 0x0016);
}

#[test]
fn nothing_after_integrity_counts() {
    let key = Key::short_term("secret");
    let wire = request(|w| {
        w.put(Type::USERNAME, b"alice").add_integrity(&key, Hash::Sha1);
        w.put(Type::REALM, b"smuggled").add_integrity(&key, Hash::Sha256);
        w.put(Type::NONCE, b"smuggled").add_fingerprint();
    });
    let message = Message::parse(&wire).unwrap();
    assert_eq!(message.attributes().map(|a| a.kind).collect::<Vec<_>>(), [Type::USERNAME]);
    assert_eq!(message.integrity(), Some(Hash::Sha256));
    assert!(message.check_integrity(&key));
    assert!(!message.check_integrity(&Key::short_term("Secret")));
    assert!(message.has_fingerprint() && message.check_fingerprint());
}

#[test]
fn sha1_after_sha256_does_not_count() {
    let (good, bad) = (Key::short_term("good"), Key::short_term("bad"));
    let wire = request(|w| {
        w.add_integrity(&good, Hash::Sha256).add_integrity(&bad, Hash::Sha1);
    });
    let message = Message::parse(&wire).unwrap();
    assert_eq!(message.integrity(), Some(Hash::Sha256));
    assert!(message.check_integrity(&good) && !message.check_integrity(&bad));
}

#[test]
fn a_message_too_long_is_taken_back() {
    let mut wire = vec![0xee; 3];
    let mut writer = Writer::begin(&mut wire, Class::Indication, Method::DATA, ID);
    writer
        .put(Type::DATA, &[0; 65_532])
        .put(Type::USERNAME, b"x")
        .add_integrity(&Key::short_term("x"), Hash::Sha1);
    writer.add_fingerprint();
    assert!(writer.written().is_empty());
    assert_eq!(wire, [0xee; 3]);
}

#[test]
fn sixty_four_attributes_and_no_more() {
    let many = |n| {
        request(|w| {
            for _ in 0..n {
                w.put(Type::DATA, b"");
            }
        })
    };
    assert!(Message::parse(&many(64)).is_ok());
    assert_eq!(Message::parse(&many(65)).unwrap_err(), Malformed::TooManyAttributes);
}

#[test]
fn debug_tells_no_values() {
    let wire = request(|w| {
        w.put(Type::USERNAME, b"alice");
    });
    let shown = format!("{:?} {:?}", Message::parse(&wire).unwrap(), Key::short_term("alice"));
    assert!(!shown.contains("alice"), "{shown}");
}

fn read_everything(message: &Message<'_>) {
    let key = Key::from_bytes(&[0; 16]);
    let _ = (message.username(), message.userhash(), message.realm(), message.nonce(), message.error_code());
    let _ = message.password_algorithms().map(|found| found.map(Iterator::count));
    let _ =
        (message.password_algorithm(), message.unknown_attributes().map(|found| found.map(Iterator::count)));
    let _ = (message.xor_mapped_address(), message.xor_relayed_address(), message.xor_peer_address());
    let _ = (message.xor_peer_addresses().count(), message.alternate_server(), message.channel_number());
    let _ = (message.lifetime(), message.data(), message.requested_address_family());
    let _ = (message.additional_address_family(), message.address_error_code(), message.even_port());
    let _ =
        (message.requested_transport(), message.dont_fragment(), message.reservation_token(), message.icmp());
    let _ =
        (message.connection_id(), message.unknown_required(Type::OF_STUN).count(), format!("{message:?}"));
    let _ = (message.check_integrity(&key), message.check_fingerprint());
}

/// Well-formed attributes of any type, the known ones often.
fn attributes() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let kind = prop_oneof![0..0x30u16, 0x8000..0x8030u16, any::<u16>()];
    proptest::collection::vec((kind, proptest::collection::vec(any::<u8>(), 0..40)), 0..12)
}

proptest! {
    #[test]
    fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&bytes).map(|message| read_everything(&message));
        let _ = demux::stream_frame(&bytes, true);
    }

    #[test]
    fn what_is_written_is_read(attributes in attributes(), password in ".{0,80}", sha256: bool) {
        let key = Key::short_term(&password);
        let hash = if sha256 { Hash::Sha256 } else { Hash::Sha1 };
        let seals = [Type::MESSAGE_INTEGRITY, Type::MESSAGE_INTEGRITY_SHA256, Type::FINGERPRINT];
        let plain: Vec<_> = attributes.into_iter().filter(|(t, _)| !seals.contains(&Type(*t))).collect();
        let wire = request(|w| {
            for (kind, value) in &plain {
                w.put(Type(*kind), value);
            }
            w.add_integrity(&key, hash).add_fingerprint();
        });
        let message = Message::parse(&wire).unwrap();
        let read: Vec<_> = message.attributes().map(|a| (a.kind.0, a.value.to_vec())).collect();
        prop_assert_eq!(read, plain);
        prop_assert!(message.check_integrity(&key) && message.check_fingerprint());
        prop_assert_eq!(demux::stream_frame(&wire, false), demux::Frame::Stun { bytes: &wire, consumed: wire.len() });
        read_everything(&message);
    }

    #[test]
    fn a_flipped_bit_is_noticed(at in 0usize..56, bit in 0u8..8) {
        let key = Key::short_term("secret");
        let mut wire = request(|w| {
            w.put(Type::USERNAME, b"alice").add_integrity(&key, Hash::Sha1).add_fingerprint();
        });
        wire[at] ^= 1 << bit;
        let passes = |message: Message<'_>| message.check_integrity(&key) && message.check_fingerprint();
        prop_assert!(!Message::parse(&wire).is_ok_and(passes));
    }

    #[test]
    fn addresses_come_back(ip: std::net::IpAddr, port: u16) {
        let address = std::net::SocketAddr::new(ip, port);
        let wire = request(|w| {
            w.put_xor_address(Type::XOR_PEER_ADDRESS, address).put_address(Type::ALTERNATE_SERVER, address);
        });
        let message = Message::parse(&wire).unwrap();
        prop_assert_eq!(message.xor_peer_address(), Ok(Some(address)));
        prop_assert_eq!(message.alternate_server(), Ok(Some(address)));
    }
}
