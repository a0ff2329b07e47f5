//! §14, and RFC 8656 §18, RFC 6062 §6.2: values, well-formed and not.

use turnpike::stun::{BadAttribute, Class, ErrorCode, Family, Icmp, PasswordAlgorithm, Type, Writer};

use super::{binding, parse};

fn with(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    binding(Class::Success, write)
}

/// A message with one attribute of this value.
fn one(kind: Type, value: &[u8]) -> Vec<u8> {
    with(|w| {
        w.put(kind, value);
    })
}

#[test]
fn what_is_written_by_name_is_read_by_name() {
    let v4 = "192.0.2.7:4242".parse().unwrap();
    let v6 = "[2001:db8::7]:4242".parse().unwrap();
    let wire = with(|w| {
        w.put_xor_address(Type::XOR_MAPPED_ADDRESS, v4).put_xor_address(Type::XOR_RELAYED_ADDRESS, v6);
        w.put_xor_address(Type::XOR_PEER_ADDRESS, v4).put_xor_address(Type::XOR_PEER_ADDRESS, v6);
        w.put_address(Type::ALTERNATE_SERVER, v6).put_error(ErrorCode::STALE_NONCE, "Stale Nonce");
        w.put_unknown([Type(3), Type(0x7fff)]).put_channel_number(0x4001).put_u32(Type::LIFETIME, 600);
        w.put_family(Type::REQUESTED_ADDRESS_FAMILY, Family::V6)
            .put_requested_transport(17)
            .put_even_port(true);
        w.put_family(Type::ADDITIONAL_ADDRESS_FAMILY, Family::V6).put(Type::DONT_FRAGMENT, b"");
        w.put_address_error(Family::V6, ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED).put(Type::DATA, b"data!");
        w.put_icmp(Icmp { kind: 3, code: 4, data: 1400 }).put_u32(Type::CONNECTION_ID, 7);
        w.put(Type::RESERVATION_TOKEN, b"reserved").put_password_algorithm(PasswordAlgorithm::Sha256);
        w.put_password_algorithms(&[PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5]);
    });
    let m = parse(&wire);
    assert_eq!(m.xor_mapped_address(), Ok(Some(v4)));
    assert_eq!(m.xor_relayed_address(), Ok(Some(v6)));
    assert_eq!(m.xor_peer_address(), Ok(Some(v4)));
    assert_eq!(m.xor_peer_addresses().collect::<Vec<_>>(), [Ok(v4), Ok(v6)]);
    assert_eq!(m.alternate_server(), Ok(Some(v6)));
    assert_eq!(m.error_code(), Ok(Some((ErrorCode::STALE_NONCE, "Stale Nonce"))));
    assert_eq!(m.unknown_attributes().unwrap().unwrap().collect::<Vec<_>>(), [Type(3), Type(0x7fff)]);
    assert_eq!(m.channel_number(), Ok(Some(0x4001)));
    assert_eq!(m.lifetime(), Ok(Some(600)));
    assert_eq!(m.requested_address_family(), Ok(Some(Some(Family::V6))));
    assert_eq!(m.additional_address_family(), Ok(Some(Some(Family::V6))));
    assert_eq!(m.requested_transport(), Ok(Some(17)));
    assert_eq!(m.even_port(), Ok(Some(true)));
    assert_eq!(m.dont_fragment(), Ok(true));
    assert_eq!(m.address_error_code(), Ok(Some((Some(Family::V6), ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED))));
    assert_eq!(m.data(), Some(&b"data!"[..]));
    assert_eq!(m.icmp(), Ok(Some(Icmp { kind: 3, code: 4, data: 1400 })));
    assert_eq!(m.connection_id(), Ok(Some(7)));
    assert_eq!(m.reservation_token(), Ok(Some(*b"reserved")));
    assert_eq!(m.password_algorithm(), Ok(Some(Some(PasswordAlgorithm::Sha256))));
    let listed: Vec<_> = m.password_algorithms().unwrap().unwrap().collect();
    assert_eq!(listed, [Some(PasswordAlgorithm::Sha256), Some(PasswordAlgorithm::Md5)]);
}

#[test]
fn what_is_not_there_is_not_an_error() {
    let wire = with(|_| {});
    let m = parse(&wire);
    assert_eq!(m.username(), Ok(None));
    assert_eq!(m.lifetime(), Ok(None));
    assert_eq!(m.dont_fragment(), Ok(false));
    assert_eq!(m.data(), None);
}

#[test]
fn s14_2_addresses_of_wrong_family_or_length_are_bad() {
    for value in [
        &b""[..],
        &[0, 1, 0, 0],
        &[0, 1, 0, 0, 1, 2, 3],
        &[0, 3, 0, 0, 1, 2, 3, 4],
        &[0, 2, 0, 0, 1, 2, 3, 4],
    ] {
        let wire = one(Type::XOR_PEER_ADDRESS, value);
        assert_eq!(parse(&wire).xor_peer_address(), Err(BadAttribute(Type::XOR_PEER_ADDRESS)), "{value:?}");
    }
}

#[test]
fn s14_3_a_username_is_utf8_and_up_to_763_bytes_are_read() {
    assert!(parse(&one(Type::USERNAME, &[b'a'; 763])).username().is_ok());
    assert!(parse(&one(Type::USERNAME, &[b'a'; 764])).username().is_err());
    assert!(parse(&one(Type::USERNAME, b"\xff")).username().is_err());
}

#[test]
fn s14_8_an_error_code_is_between_300_and_699() {
    let code = |class, number| {
        parse(&one(Type::ERROR_CODE, &[0, 0, class, number])).error_code().map(|e| e.unwrap().0)
    };
    assert_eq!(code(3, 0), Ok(ErrorCode(300)));
    assert_eq!(code(6, 99), Ok(ErrorCode(699)));
    for (class, number) in [(2, 99), (7, 0), (4, 100)] {
        assert!(code(class, number).is_err(), "{class} {number}");
    }
}

#[test]
fn s14_11_password_algorithms_have_parameters_that_fit() {
    let with_parameters = one(Type::PASSWORD_ALGORITHMS, &[0, 9, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 0, 1, 0, 0]);
    let listed: Vec<_> = parse(&with_parameters).password_algorithms().unwrap().unwrap().collect();
    assert_eq!(listed, [None, Some(PasswordAlgorithm::Md5)]);
    assert!(parse(&one(Type::PASSWORD_ALGORITHMS, &[0, 1, 0, 9])).password_algorithms().is_err());
    assert!(parse(&one(Type::PASSWORD_ALGORITHM, b"")).password_algorithm().is_err());
}

#[test]
fn values_of_fixed_length_have_it() {
    for length in [0, 3, 5, 8] {
        let value = &[0; 8][..length];
        assert!(parse(&one(Type::LIFETIME, value)).lifetime().is_err());
        assert!(parse(&one(Type::CHANNEL_NUMBER, value)).channel_number().is_err());
        assert!(parse(&one(Type::REQUESTED_TRANSPORT, value)).requested_transport().is_err());
        assert!(parse(&one(Type::REQUESTED_ADDRESS_FAMILY, value)).requested_address_family().is_err());
    }
    assert!(parse(&one(Type::DONT_FRAGMENT, b"x")).dont_fragment().is_err());
    assert!(parse(&one(Type::EVEN_PORT, b"")).even_port().is_err());
    assert!(parse(&one(Type::RESERVATION_TOKEN, b"short")).reservation_token().is_err());
    assert!(parse(&one(Type::USERHASH, b"short")).userhash().is_err());
    assert!(parse(&one(Type::ICMP, b"short")).icmp().is_err());
    assert!(parse(&one(Type::UNKNOWN_ATTRIBUTES, b"odd")).unknown_attributes().is_err());
}
