//! Parse, a proxy's edit and the new bytes allocate nothing once index and output have been used before.

use bytes::BytesMut;
use turnpike::sip::framing::{Frame, Framer};
use turnpike::sip::message::{Index, Limits, Message};

#[path = "support/counting.rs"]
mod counting;
#[path = "support/proxy_edit.rs"]
mod proxy_edit;

use counting::allocations;

#[test]
fn parse_edit_write_allocates_nothing() {
    let bytes = proxy_edit::invite("X-More: 1\r\n", &"b".repeat(300));
    let limits = Limits::default();
    let mut scratch = Index::default();
    let mut out = Vec::new();
    let mut work = || {
        let message = Message::parse_with(bytes.clone(), &limits, &mut scratch).unwrap();
        out.clear();
        proxy_edit::proxy_edit(&message, &mut out);
        scratch = message.into_scratch();
    };
    assert!(allocations(&mut work) > 0, "the first run fills index and output, or nothing is counted");
    assert_eq!(allocations(&mut work), 0);
    // A malformed message does not cost the index.
    assert!(Message::parse_with(bytes.slice(..500), &limits, &mut scratch).is_err());
    let again = || drop(Message::parse_with(bytes.clone(), &limits, &mut scratch).unwrap());
    assert_eq!(allocations(again), 0);
}

#[test]
fn a_message_is_framed_into_memory_of_its_own_size_and_the_buffer_stays_where_it_is() {
    let bytes = proxy_edit::invite("", "");
    let mut buffer = BytesMut::with_capacity(4096);
    buffer.extend_from_slice(&bytes);
    let place = buffer.as_ptr();
    let mut framer = Framer::default();
    match framer.next(&mut buffer, &Limits::default()) {
        // What a transaction keeps for half a minute must not keep the buffer of a connection.
        Ok(Some(Frame::Message(message))) => assert!(message == bytes && message.as_ptr() != place),
        other => panic!("{other:?}"),
    }
    buffer.reserve(4096);
    assert_eq!(buffer.as_ptr(), place);
}
