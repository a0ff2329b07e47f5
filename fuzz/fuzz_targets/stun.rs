//! Any bytes as STUN, as a stream of it, as ChannelData: reading never panics, and what is read, written and cut agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use turnpike::base::ClientAddr;
use turnpike::stun::demux::{Frame, Protocol, on_sip_port, on_turn_port, stream_frame};
use turnpike::stun::{Class, HEADER, Hash, Key, Message, Method, Type, Writer, binding};
use turnpike::turn::channel_data::{
    HEADROOM, TAILROOM, read_channel_data, read_send_indication, write_channel_data, write_data_indication,
};
use turnpike::turn::request::Request;

/// Every reader there is; none panics, and what they give lies in the message.
fn read(message: &Message<'_>) {
    let _ = (message.username(), message.userhash(), message.realm(), message.nonce());
    let _ = (message.password_algorithm(), message.error_code(), message.alternate_server());
    let _ = (message.xor_mapped_address(), message.xor_relayed_address(), message.xor_peer_address());
    let _ = (message.xor_peer_addresses().count(), message.channel_number(), message.lifetime());
    let _ = (message.data(), message.requested_address_family(), message.additional_address_family());
    let _ = (message.address_error_code(), message.even_port(), message.requested_transport());
    let _ = (message.dont_fragment(), message.reservation_token(), message.icmp(), message.connection_id());
    let _ = message.password_algorithms().map(|algorithms| algorithms.map(|list| list.into_iter().count()));
    let _ = message.unknown_attributes().map(|types| types.map(Iterator::count));
    let _ = (message.check_fingerprint(), message.unknown_required(Type::OF_STUN).count());
    let _ = (Request::read(message), format!("{message:?}"));
    assert!(!message.check_integrity(&Key::short_term("nobody knows")) || message.integrity().is_some());
    let length: usize = message.attributes().map(|a| 4 + a.value.len().next_multiple_of(4)).sum();
    assert!(HEADER + length <= message.bytes().len());
    if let Some(send) = read_send_indication(message) {
        assert_eq!(message.bytes().get(send.data), message.data());
    }
}

/// Written again attribute by attribute it says the same, and a seal on it holds.
fn write_again(message: &Message<'_>) {
    let mut wire = Vec::new();
    let mut writer = Writer::begin(&mut wire, message.class(), message.method(), message.transaction_id());
    for attribute in message.attributes() {
        writer.put(attribute.kind, attribute.value);
    }
    let key = Key::short_term("key");
    writer.add_integrity(&key, Hash::Sha256).add_fingerprint();
    // The seals may be more than fits into 64 kB, or into 64 attributes.
    let Ok(again) = Message::parse(&wire) else { return };
    assert!(again.check_integrity(&key) && again.check_fingerprint());
    let said = |message: &Message<'_>| -> Vec<(Type, Vec<u8>)> {
        message.attributes().map(|attribute| (attribute.kind, attribute.value.to_vec())).collect()
    };
    assert_eq!(said(&again), said(message));
}

/// RFC 8489 §12: requests alone are answered, and with no more than twice their size.
fn bind(message: &Message<'_>) {
    let client = ClientAddr(([192, 0, 2, 1], 5000).into());
    let mut wire = Vec::new();
    if !binding::answer(message, client, &mut wire) {
        return assert!(wire.is_empty());
    }
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    let answer = Message::parse(&wire).unwrap();
    assert_eq!(answer.transaction_id(), message.transaction_id());
    assert!(matches!(answer.class(), Class::Success | Class::Error) && answer.check_fingerprint());
    assert!(wire.len() + 28 <= 2 * (message.bytes().len() + 28));
}

/// The pieces of a stream are those of its beginning, too, as far as that goes.
fn cut(bytes: &[u8], channels: bool) {
    let mut rest = bytes;
    loop {
        match stream_frame(rest, channels) {
            Frame::Stun { bytes: message, consumed } | Frame::ChannelData { bytes: message, consumed } => {
                assert!(consumed >= message.len().max(4) && consumed <= rest.len());
                assert!(
                    matches!(stream_frame(&rest[..consumed - 1], channels), Frame::Wants(n) if n <= consumed)
                );
                match on_turn_port(message) {
                    Protocol::ChannelData => assert!(channels && read_channel_data(message).is_some()),
                    Protocol::Stun => assert_eq!(consumed, message.len()),
                    other => panic!("{other:?} is no frame"),
                }
                rest = &rest[consumed..];
            }
            Frame::Wants(whole) => break assert!(whole > rest.len()),
            Frame::Garbage => break,
        }
    }
}

/// A payload with a header in front of it is read as the same payload.
fn wrap(payload: &[u8]) {
    let mut buffer = [&[0xaa; HEADROOM][..], payload, &[0xaa; TAILROOM]].concat();
    let at = HEADROOM..HEADROOM + payload.len();
    for stream in [false, true] {
        let Some(whole) = write_channel_data(&mut buffer, at.clone(), 0x4000, stream) else { continue };
        let (number, inside) = read_channel_data(&buffer[whole.clone()]).unwrap();
        assert_eq!((number, &buffer[whole][inside]), (0x4000, payload));
    }
    let peer = ([192, 0, 2, 7], 9).into();
    let id = turnpike::stun::TransactionId([5; 12]);
    if let Some(whole) = write_data_indication(&mut buffer, at, peer, id) {
        let message = Message::parse(&buffer[whole]).unwrap();
        assert_eq!((message.xor_peer_address(), message.data()), (Ok(Some(peer)), Some(payload)));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let _ = (on_sip_port(bytes), read_channel_data(bytes));
    cut(bytes, false);
    cut(bytes, true);
    wrap(bytes);
    if let Ok(message) = Message::parse(bytes) {
        // RFC 7983: of all methods, those that are in use share the port.
        assert_eq!(on_turn_port(bytes) == Protocol::Stun, bytes[0] <= 3);
        read(&message);
        bind(&message);
        write_again(&message);
    }
});
