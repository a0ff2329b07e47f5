//! RFC 8656 §11 (Send and Data), §11.5 (ICMP), §12.4 to §12.7 (ChannelData).

use turnpike::base::{FlowId, PeerAddr, RelayedAddr};
use turnpike::stun::{Class, ErrorCode, Icmp, Message, Method, TransactionId, Type, Writer};
use turnpike::turn::forward::{Reason, Verdict};
use turnpike::turn::server::Output;
use turnpike::turn::sockets::RelaySocketId;
use turnpike::turn::{Carrier, FiveTuple};

use crate::world::{INTERNET, World, addr, send_indication, udp, wants_udp};

const CLIENT: &str = "198.51.100.1:5000";
const PEER: &str = "192.0.2.1:9000";

/// A phone with a permission for the peer.
fn permitted(world: &mut World) -> (crate::world::Phone, std::net::SocketAddr) {
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    assert_eq!(world.permit(&phone, PEER), 0);
    (phone, relayed)
}

#[test]
fn s11_2_send_leaves_from_the_relayed_address_with_the_payload_alone() {
    let mut world = World::new();
    let (phone, relayed) = permitted(&mut world);
    let indication = send_indication(addr(PEER), b"hello");
    let Verdict::ToPeer { from, to, payload, dont_fragment } =
        world.server.handle_client(phone.from, &indication, world.now)
    else {
        panic!("not sent")
    };
    assert_eq!(world.ports.lock().unwrap().open[&from.0], relayed);
    assert_eq!((to, dont_fragment), (PeerAddr(addr(PEER)), false));
    assert_eq!(&indication[payload], b"hello");
}

#[test]
fn s11_2_dont_fragment_asks_for_the_df_bit() {
    let mut world = World::new();
    let (phone, _) = permitted(&mut world);
    let mut bytes = Vec::new();
    Writer::begin(&mut bytes, Class::Indication, Method::SEND, TransactionId([1; 12]))
        .put(Type::DONT_FRAGMENT, b"")
        .put_xor_address(Type::XOR_PEER_ADDRESS, addr(PEER))
        .put(Type::DATA, b"x");
    let verdict = world.server.handle_client(phone.from, &bytes, world.now);
    assert!(matches!(verdict, Verdict::ToPeer { dont_fragment: true, .. }));
}

#[test]
fn s11_2_an_empty_payload_is_a_payload() {
    let mut world = World::new();
    let (phone, _) = permitted(&mut world);
    assert!(matches!(world.send(&phone, PEER, b""), Verdict::ToPeer { payload, .. } if payload.is_empty()));
}

#[test]
fn s11_2_without_peer_or_data_it_is_dropped_without_a_word() {
    let mut world = World::new();
    let (phone, _) = permitted(&mut world);
    let halves: [fn(&mut Writer<'_>); 2] =
        [|w| _ = w.put_xor_address(Type::XOR_PEER_ADDRESS, addr(PEER)), |w| _ = w.put(Type::DATA, b"x")];
    for fill in halves {
        let mut bytes = Vec::new();
        fill(&mut Writer::begin(&mut bytes, Class::Indication, Method::SEND, TransactionId([1; 12])));
        assert_eq!(
            world.server.handle_client(phone.from, &bytes, world.now),
            Verdict::Drop(Reason::Malformed)
        );
        assert!(world.server.poll_output().is_none());
    }
}

#[test]
fn s11_2_without_allocation_or_permission_it_is_dropped_without_a_word() {
    let mut world = World::new();
    let indication = send_indication(addr(PEER), b"x");
    let stranger = udp("198.51.100.9:1");
    assert_eq!(
        world.server.handle_client(stranger, &indication, world.now),
        Verdict::Drop(Reason::NoAllocation)
    );
    let (phone, _) = permitted(&mut world);
    assert_eq!(world.send(&phone, "192.0.2.2:9000", b"x"), Verdict::Drop(Reason::NoPermission));
    assert_eq!(world.send(&phone, "[2001:db8:1::1]:9", b"x"), Verdict::Drop(Reason::NoAllocation));
    assert!(world.server.poll_output().is_none());
}

#[test]
fn s11_3_a_permitted_peer_reaches_the_client_as_data_indication() {
    let mut world = World::new();
    let (_, relayed) = permitted(&mut world);
    let bytes = world.peer_sends(relayed, PEER, b"hello").unwrap();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::DATA));
    assert_eq!(message.xor_peer_address().unwrap(), Some(addr(PEER)));
    assert_eq!(message.data(), Some(&b"hello"[..]));
    assert_eq!(bytes[bytes.len() - 3..], [0, 0, 0], "padding that says nothing");
    let again = world.peer_sends(relayed, PEER, b"hello").unwrap();
    assert_ne!(Message::parse(&again).unwrap().transaction_id(), message.transaction_id());
}

#[test]
fn s11_3_a_peer_without_permission_reaches_nobody() {
    let mut world = World::new();
    let (_, relayed) = permitted(&mut world);
    let outcome = world.peer_sends(relayed, "192.0.2.2:9000", b"x");
    assert_eq!(outcome, Err(Verdict::Drop(Reason::NoPermission)));
    assert!(world.peer_sends(relayed, "192.0.2.1:1", b"x").is_ok(), "any port of a permitted address may");
}

#[test]
fn s11_5_an_icmp_error_is_told_and_kills_nothing() {
    let mut world = World::new();
    let (phone, relayed) = permitted(&mut world);
    let id = *world.ports.lock().unwrap().open.keys().next().unwrap();
    let icmp = Icmp { kind: 3, code: 4, data: 1400 };
    let now = world.now.instant;
    world.server.handle_icmp(RelaySocketId(id), PeerAddr(addr(PEER)), icmp, now);
    let Some(Output::Send { to, bytes }) = world.server.poll_output() else { panic!("not told") };
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((to, message.class(), message.method()), (phone.from, Class::Indication, Method::DATA));
    assert_eq!(message.xor_peer_address().unwrap(), Some(addr(PEER)));
    assert_eq!(message.icmp().unwrap(), Some(icmp));
    assert!(!message.has(Type::DATA));
    assert!(world.peer_sends(relayed, PEER, b"x").is_ok());
}

#[test]
fn s11_5_other_icmp_and_that_of_strangers_is_not_told() {
    let mut world = World::new();
    permitted(&mut world);
    let id = RelaySocketId(*world.ports.lock().unwrap().open.keys().next().unwrap());
    let now = world.now.instant;
    for (peer, kind) in [(PEER, 0), (PEER, 5), (PEER, 8), ("192.0.2.2:9", 3)] {
        world.server.handle_icmp(id, PeerAddr(addr(peer)), Icmp { kind, code: 0, data: 0 }, now);
        assert!(world.server.poll_output().is_none(), "{peer} {kind}");
    }
}

#[test]
fn s12_6_channel_data_goes_to_the_channels_peer() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    world.bind(&phone, 0x4abc, PEER);
    let verdict = world.channel_data(&phone, 0x4abc, b"hello");
    assert!(
        matches!(verdict, Verdict::ToPeer { to, payload, .. } if to.0 == addr(PEER) && payload == (4..9))
    );
    assert_eq!(world.channel_data(&phone, 0x4abd, b"x"), Verdict::Drop(Reason::NoChannel));
}

#[test]
fn s12_6_channel_data_of_wrong_length_is_dropped() {
    let mut world = World::new();
    let (phone, _) = world.allocated(CLIENT, INTERNET);
    world.bind(&phone, 0x4000, PEER);
    for wrong in [&[0x40, 0, 0, 9, 1][..], &[0x40, 0, 0, 1, 1, 0, 0, 0, 0], &[0x40, 0, 0], &[0x40]] {
        let verdict = world.server.handle_client(phone.from, wrong, world.now);
        assert_eq!(verdict, Verdict::Drop(Reason::Malformed), "{wrong:?}");
    }
}

#[test]
fn s12_7_a_peer_with_a_channel_reaches_the_client_as_channel_data() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated(CLIENT, INTERNET);
    world.bind(&phone, 0x4000, PEER);
    assert_eq!(world.peer_sends(relayed, PEER, b"hello").unwrap(), b"\x40\x00\x00\x05hello");
    assert_eq!(world.peer_sends(relayed, "192.0.2.1:1", b"hello").unwrap()[..2], [0, 0x17], "not its port");
}

#[test]
fn s12_5_on_a_stream_channel_data_is_padded() {
    let mut world = World::new();
    let from = FiveTuple { flow: FlowId(900), carrier: Carrier::Stream, ..udp(CLIENT) };
    let phone = world.phone(from, INTERNET);
    let relayed = world.ask(&phone, Method::ALLOCATE, wants_udp).relayed();
    world.bind(&phone, 0x4000, PEER);
    assert_eq!(world.peer_sends(relayed, PEER, b"hello").unwrap(), b"\x40\x00\x00\x05hello\0\0\0");
}

#[test]
fn one_of_our_relayed_addresses_to_another_stays_in_the_process() {
    let mut world = World::new();
    let (alice, at_alice) = world.allocated(CLIENT, INTERNET);
    let (bob, at_bob) = world.allocated("198.51.100.2:5000", INTERNET);
    assert_eq!(world.permit(&alice, &at_bob.to_string()), 0);
    let Verdict::ToOwn { from, to, payload, or_leaves: false, .. } =
        world.send(&alice, &at_bob.to_string(), b"hello")
    else {
        panic!("it left")
    };
    assert_eq!((from.addr, to, payload.len()), (RelayedAddr(at_alice), RelayedAddr(at_bob), 5));
    let refused = world.peer_sends(at_bob, &at_alice.to_string(), b"hello");
    assert_eq!(refused, Err(Verdict::Drop(Reason::NoPermission)), "bob has not said that he wants it");
    assert_eq!(world.bind(&bob, 0x4000, &at_alice.to_string()), 0);
    let received = world.peer_sends(at_bob, &at_alice.to_string(), b"hello").unwrap();
    assert_eq!(received, b"\x40\x00\x00\x05hello");
}

#[test]
fn what_is_relayed_and_what_is_dropped_is_counted() {
    let mut world = World::new();
    let (phone, relayed) = permitted(&mut world);
    world.send(&phone, PEER, b"12345");
    world.send(&phone, "192.0.2.2:9", b"12345");
    world.peer_sends(relayed, PEER, b"123").unwrap();
    let row = &world.server.allocations().next().unwrap().row;
    let (out, back) = (row.to_peers.traffic, row.to_client.traffic);
    assert_eq!((out.packets, out.bytes, out.dropped), (1, 5, 1));
    assert_eq!((back.packets, back.bytes, back.dropped), (1, 3, 0));
    let totals = world.server.counters().read();
    assert_eq!((totals.to_peers.packets, totals.to_peers.bytes), (1, 5));
    assert_eq!((totals.to_clients.packets, totals.to_clients.bytes), (1, 3));
    assert_eq!(totals.refused().find(|(_, requests)| *requests > 0), Some((ErrorCode::UNAUTHENTICATED, 1)));
    let listed = world.server.listing(world.now.instant);
    assert_eq!((listed.len(), listed[0].permissions, listed[0].left.as_secs()), (1, 1, 600));
    assert_eq!((listed[0].client, listed[0].relayed.as_slice()), (phone.from, &[RelayedAddr(relayed)][..]));
    assert_eq!(world.server.counters().dropped(Reason::NoPermission), 1);
}

#[test]
fn a_role_with_a_bandwidth_is_held_to_it() {
    let mut world = World::with(|settings| {
        let mut role = (*settings.roles[0]).clone();
        role.bandwidth = Some(64_000);
        settings.roles[0] = role.into();
    });
    let (phone, relayed) = permitted(&mut world);
    let sent =
        (0..100).filter(|_| matches!(world.send(&phone, PEER, &[0; 1000]), Verdict::ToPeer { .. })).count();
    assert_eq!(sent, 24, "one burst");
    assert!(world.peer_sends(relayed, PEER, &[0; 1000]).is_ok(), "the way back has its own");
    assert_eq!(world.server.counters().dropped(Reason::Bandwidth), 76);
}
