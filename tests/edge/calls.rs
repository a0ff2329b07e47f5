//! Calls that succeed, each way.

pub use super::play::{establish, hang_up, register};
use super::ua::{self, Leg, answer, body, header, headers, request, request_uri, sdp};
use super::world::{Actor, World};

#[test]
fn a_registered_phone_calls_the_pbx() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(
        &phone,
        "INVITE",
        "sip:100@sip.example.com:5061;transport=tls",
        "alice",
        "",
        &sdp("192.168.1.5", 5_004),
    );
    world.send(&phone, &invite);
    world.expect(&phone, "SIP/2.0 100");
    let seen = world.expect(&pbx, "INVITE");

    assert_eq!(request_uri(&seen), "sip:100@10.20.0.20", "our address becomes the PBX's");
    assert_eq!(header(&seen, "Max-Forwards"), "69");
    let vias = headers(&seen, "Via");
    assert_eq!(vias.len(), 2);
    assert!(vias[0].starts_with("SIP/2.0/UDP 10.20.0.5:5060;branch=z9hG4bK"), "{}", vias[0]);
    assert!(vias[1].contains("received=192.0.2.7") && vias[1].contains("rport=49152"), "{}", vias[1]);
    let routes = headers(&seen, "Record-Route");
    assert_eq!(routes.len(), 2, "double: TLS outside, UDP inside (RFC 5658)");
    assert!(
        routes[0].contains("@10.20.0.5:5060;transport=udp;lr")
            && routes[1].contains("@sip.example.com:5061;transport=tls;lr")
    );
    assert!(
        body(&seen).contains("c=IN IP4 10.20.0.5\r\n") && !body(&seen).contains("192.168.1.5\r\nt="),
        "{seen}"
    );

    let ok = answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000));
    world.send(&pbx, answer(&pbx, &seen, "180 Ringing", "b", ""));
    world.expect(&phone, "SIP/2.0 180");
    world.send(&pbx, &ok);
    let came = world.expect(&phone, "SIP/2.0 200");
    assert_eq!(headers(&came, "Via").len(), 1);
    assert!(body(&came).contains("c=IN IP4 203.0.113.10\r\n"), "{came}");
    assert_eq!(world.status().answered_calls, 1);

    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    let ack = world.expect(&pbx, "ACK");
    assert!(headers(&ack, "Route").is_empty(), "both our Routes are taken off: {ack}");
    assert_eq!(request_uri(&ack), a.target);
    hang_up(&mut world, &mut a, &pbx);

    let cdr = world.cdrs()[0].clone();
    assert_eq!((cdr.status, cdr.end, &*cdr.from, &*cdr.to), (200, "bye from caller", "alice", "100"));
    assert_eq!((&*cdr.from_party, &*cdr.to_party, &*cdr.route), ("internet", "pbx", "phones"));
    world.assert_clean();
}

#[test]
fn the_pbx_calls_a_registered_phone_and_hangs_up() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    let invite = request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", &sdp("10.20.0.20", 7_000));
    world.send(&pbx, &invite);
    let seen = world.expect(&phone, "INVITE");
    assert_eq!(request_uri(&seen), "sip:alice@192.0.2.7:49152;transport=tls", "the phone's own contact");
    assert!(body(&seen).contains("c=IN IP4 203.0.113.10\r\n"));
    let ok = answer(&phone, &seen, "200 OK", "b", &sdp("192.168.1.5", 5_004));
    world.send(&phone, &ok);
    let came = world.expect(&pbx, "SIP/2.0 200");
    assert!(body(&came).contains("c=IN IP4 10.20.0.5\r\n"));
    let mut a = Leg::caller(&pbx, &invite, &came);
    world.send(&pbx, a.request("ACK", ""));
    world.expect(&phone, "ACK");
    hang_up(&mut world, &mut a, &phone);
    assert_eq!(world.cdrs()[0].end, "bye from caller");
    world.assert_clean();
}
