use super::*;
use proptest::prelude::*;

fn peers() -> impl Strategy<Value = SocketAddr> {
    let v4 = any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.into(), port));
    let v6 = any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::new(ip.into(), port));
    prop_oneof![v4, v6]
}

/// A buffer with `payload` where a relayed socket would have put it.
fn received(payload: &[u8]) -> (Vec<u8>, Range<usize>) {
    let mut buffer = vec![0xaa; HEADROOM];
    buffer.extend_from_slice(payload);
    let place = HEADROOM..buffer.len();
    buffer.extend_from_slice(&[0xaa; TAILROOM]);
    (buffer, place)
}

#[test]
fn channel_data_says_the_truth_about_its_length_or_is_dropped() {
    assert_eq!(read_channel_data(&[0x40, 0, 0, 2, 7, 8]), Some((0x4000, 4..6)));
    assert_eq!(read_channel_data(&[0x40, 0, 0, 2, 7, 8, 0, 0]), Some((0x4000, 4..6)));
    assert_eq!(read_channel_data(&[0x4f, 0xff, 0, 0]), Some((0x4fff, 4..4)));
    assert_eq!(read_channel_data(&[0x40, 0, 0, 3, 7, 8]), None, "shorter than it says");
    assert_eq!(read_channel_data(&[0x40, 0, 0, 1, 7, 0, 0, 0, 0]), None, "more than padding follows");
    assert_eq!(read_channel_data(&[0x7f, 0xff, 0, 0]), Some((0x7fff, 4..4)), "as in RFC 5766 §11");
    assert_eq!(read_channel_data(&[0x80, 0, 0, 0]), None);
    assert_eq!(read_channel_data(&[0x40, 0, 0]), None);
}

#[test]
fn channel_data_is_padded_on_a_stream_only_and_leaks_nothing() {
    let (mut buffer, payload) = received(b"12345");
    let sent = write_channel_data(&mut buffer, payload.clone(), 0x4001, false).unwrap();
    assert_eq!(&buffer[sent], b"\x40\x01\x00\x0512345");
    let sent = write_channel_data(&mut buffer, payload, 0x4001, true).unwrap();
    assert_eq!(&buffer[sent], b"\x40\x01\x00\x0512345\0\0\0");
}

#[test]
fn no_room_is_no_panic() {
    let mut small = [0; 8];
    let data = "192.0.2.1:9".parse().unwrap();
    assert_eq!(write_channel_data(&mut small, 0..8, 0x4000, false), None);
    assert_eq!(write_channel_data(&mut small, 4..7, 0x4000, true), Some(0..8));
    assert_eq!(write_channel_data(&mut small, 4..99, 0x4000, true), None);
    assert_eq!(write_data_indication(&mut small, 4..8, data, TransactionId([0; 12])), None);
    let (mut buffer, payload) = received(&[0; 65_535]);
    assert_eq!(write_data_indication(&mut buffer, payload, data, TransactionId([0; 12])), None);
}

#[test]
fn an_unknown_attribute_that_must_be_understood_spoils_a_send_indication() {
    let with = |kind: [u8; 2]| {
        let (mut buffer, payload) = received(b"data");
        let peer = "192.0.2.1:9".parse().unwrap();
        let sent = write_data_indication(&mut buffer, payload, peer, TransactionId([7; 12])).unwrap();
        let mut message = buffer[sent].to_vec();
        message[1] = 0x16;
        message.extend([kind[0], kind[1], 0, 0]);
        let length = (message.len() - 20) as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        read_send_indication(&Message::parse(&message).unwrap())
    };
    assert!(with([0x80, 0x22]).is_some());
    assert!(with([0x00, 0x1a]).is_some_and(|send| send.dont_fragment));
    assert!(with([0x7f, 0xff]).is_none());
    assert!(with([0x00, 0x27]).is_none(), "RESPONSE-PORT");
}

proptest! {
    #[test]
    fn a_data_indication_reads_back(
        payload in prop::collection::vec(any::<u8>(), 0..40),
        peer in peers(),
        transaction in any::<[u8; 12]>(),
    ) {
        let (mut buffer, place) = received(&payload);
        let sent = write_data_indication(&mut buffer, place, peer, TransactionId(transaction)).unwrap();
        let message = &mut buffer[sent];
        prop_assert_eq!(message.len() % 4, 0);
        message[1] = 0x16;
        let send = read_send_indication(&Message::parse(message).unwrap()).unwrap();
        prop_assert_eq!(send.peer, peer);
        prop_assert_eq!(&message[send.data.clone()], &payload[..]);
        prop_assert!(message[send.data.end..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn no_bytes_make_a_reader_panic_or_look_outside(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Some((_, payload)) = read_channel_data(&bytes) {
            prop_assert!(bytes.get(payload).is_some());
        }
        let mut message = vec![0, 0x16, 0, bytes.len() as u8];
        message.extend(MAGIC_COOKIE.to_be_bytes());
        message.extend([0; 12]);
        message.extend(&bytes);
        if let Some(send) = Message::parse(&message).ok().and_then(|message| read_send_indication(&message)) {
            prop_assert!(message.get(send.data).is_some());
        }
    }
}
