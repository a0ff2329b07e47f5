//! Requests that have outgrown a datagram (RFC 3261 §18.1.1).

use std::time::Duration;

use turnpike::base::Transport;
use turnpike::edge::settings::{Auth, Host, Listener, Settings};
use turnpike::sip::digest::Secret;
use turnpike::sip::locate::{Server, Wanted};
use turnpike::sip::transaction::Destination;

use super::calls::{hang_up, register};
use super::ua::{Leg, answer, body, header, headers, request, response, sdp, uri_in};
use super::world::{Actor, CARRIER_TCP, CARRIERS, INSIDE_TCP, OFFICE, World};

/// Both zones of hosts have a TCP listener.
fn settings(settings: &mut Settings) {
    let listener = |name: &str, zone, address: &str| Listener {
        name: name.into(),
        zone,
        transport: Transport::Tcp,
        bind: address.parse().unwrap(),
        advertise: address.into(),
    };
    settings.listeners.push(listener("inside_tcp", OFFICE, "10.20.0.5:5060"));
    settings.listeners.push(listener("carriers_tcp", CARRIERS, "203.0.113.11:5060"));
}

fn world() -> (World, Actor) {
    let mut world = World::with(settings);
    let phone = Actor::tls_phone(1, "192.0.2.7:49152");
    register(&mut world, &phone, "alice");
    (world, phone)
}

/// An offer of so many bytes and more.
fn large(bytes: usize) -> String {
    let line = "a=x-note:something that makes an offer large\r\n";
    sdp("192.168.1.5", 5_004) + &line.repeat(bytes / line.len() + 1)
}

fn large_invite(phone: &Actor) -> String {
    request(phone, "INVITE", "sip:100@example.com", "alice", "", &large(1_300))
}

/// Nobody takes the connection that was asked for last.
fn refuse_connection(world: &mut World) {
    let to = world.all.last().map(|(to, _)| *to).unwrap();
    assert!(matches!(to, Destination::Address { transport: Transport::Tcp, .. }), "{to:?}");
    world.edge.handle_send_failed(to, world.now);
    world.collect();
}

#[test]
fn a_large_invite_goes_over_tcp_and_its_call_stays_there() {
    let (mut world, phone) = world();
    let (pbx, stream) = (Actor::pbx(), Actor::pbx().over_tcp(INSIDE_TCP));
    let invite = large_invite(&phone);
    world.send(&phone, &invite);
    let seen = world.expect(&stream, "INVITE");
    assert!(headers(&seen, "Via")[0].starts_with("SIP/2.0/TCP 10.20.0.5:5060;"), "{seen}");
    assert!(headers(&seen, "Record-Route")[0].contains("@10.20.0.5:5060;transport=tcp;lr"), "{seen}");
    world.send(&stream, answer(&stream, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    world.expect(&stream, "ACK");
    hang_up(&mut world, &mut a, &stream);
    world.expect_nothing(&pbx);
    world.assert_clean();
}

#[test]
fn what_fits_into_a_datagram_goes_as_one_as_does_all_where_the_zone_has_no_tcp_listener() {
    let (mut with_tcp, phone) = world();
    with_tcp.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "alice", "", &large(100)));
    let seen = with_tcp.expect(&Actor::pbx(), "INVITE");
    assert!(seen.len() < 1_300, "{}", seen.len());

    let mut without = World::new();
    register(&mut without, &phone, "alice");
    without.send(&phone, large_invite(&phone));
    assert!(without.expect(&Actor::pbx(), "INVITE").len() > 1_300);
}

#[test]
fn where_tcp_is_refused_it_goes_as_a_datagram_at_once_and_so_do_others_for_a_while() {
    let (mut world, phone) = world();
    let (pbx, stream) = (Actor::pbx(), Actor::pbx().over_tcp(INSIDE_TCP));
    let busy = |world: &mut World, invite: &str| {
        world.send(&pbx, response(invite, "486 Busy Here", "b", "", ""));
        world.expect(&phone, "SIP/2.0 486");
    };
    world.send(&phone, large_invite(&phone));
    refuse_connection(&mut world);
    world.expect(&stream, "INVITE");
    let seen = world.expect(&pbx, "INVITE");
    assert!(headers(&seen, "Via")[0].starts_with("SIP/2.0/UDP 10.20.0.5:5060;"), "{seen}");
    assert!(headers(&seen, "Record-Route")[0].contains(";transport=udp;lr"), "{seen}");
    busy(&mut world, &seen);
    assert!(world.status().targets.iter().all(|(_, up)| *up), "the host is not to blame");

    world.send(&phone, large_invite(&phone));
    world.expect_nothing(&stream);
    let seen = world.expect(&pbx, "INVITE");
    busy(&mut world, &seen);

    world.pass(Duration::from_secs(601));
    register(&mut world, &phone, "alice");
    world.send(&phone, large_invite(&phone));
    world.expect(&stream, "INVITE");
}

#[test]
fn a_host_whose_firewall_swallows_tcp_gets_its_datagram_after_the_other_hosts() {
    let (mut world, phone) = world();
    let (first, second) = (Actor::pbx(), Actor::second_pbx());
    world.send(&phone, large_invite(&phone));
    world.expect(&first.over_tcp(INSIDE_TCP), "INVITE");
    world.pass(Duration::from_millis(4_100));
    let seen = world.expect(&second.over_tcp(INSIDE_TCP), "INVITE");
    world.expect_nothing(&first);
    world.send(&second.over_tcp(INSIDE_TCP), response(&seen, "503 Service Unavailable", "x", "", ""));
    let seen = world.expect(&first, "INVITE");
    world.expect_nothing(&second);
    world.send(&first, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&phone, "SIP/2.0 486");
    assert!(world.status().targets.iter().all(|(_, up)| *up));
    world.assert_clean();
}

#[test]
fn what_a_host_says_over_tcp_is_its_answer() {
    let (mut world, phone) = world();
    let (first, second) = (Actor::pbx().over_tcp(INSIDE_TCP), Actor::second_pbx().over_tcp(INSIDE_TCP));
    world.send(&phone, large_invite(&phone));
    let seen = world.expect(&first, "INVITE");
    world.send(&first, response(&seen, "503 Service Unavailable", "x", "Retry-After: 30\r\n", ""));
    let seen = world.expect(&second, "INVITE");
    world.expect_nothing(&Actor::pbx());
    world.send(&second, response(&seen, "486 Busy Here", "b", "", ""));
    world.expect(&phone, "SIP/2.0 486");
    let up = world.status().targets[0].1;
    assert!(!up, "it wants no more for a while, whatever it is spoken to over");
}

#[test]
fn a_reinvite_that_outgrows_a_datagram_takes_the_same_ways() {
    let (mut world, phone) = world();
    let (pbx, stream) = (Actor::pbx(), Actor::pbx().over_tcp(INSIDE_TCP));
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    world.expect(&pbx, "ACK");
    for refused in [false, true] {
        world.send(&phone, a.request("INVITE", &large(1_300)));
        if refused {
            refuse_connection(&mut world);
        }
        let seen = world.expect(&stream, "INVITE");
        assert_eq!(header(&seen, "CSeq"), format!("{} INVITE", a.cseq));
        let (to, seen) = if refused { (&pbx, world.expect(&pbx, "INVITE")) } else { (&stream, seen) };
        world.send(to, answer(to, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
        world.expect(&phone, "SIP/2.0 200");
        world.send(&phone, a.request("ACK", ""));
        world.expect(&pbx, "ACK");
    }
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

/// A late answer (RFC 3261 §13.2.1) that does not fit into a datagram.
#[test]
fn a_large_ack_goes_over_tcp_and_where_that_is_refused_the_next_one_as_a_datagram() {
    let (mut world, phone) = world();
    let (pbx, stream) = (Actor::pbx(), Actor::pbx().over_tcp(INSIDE_TCP));
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", "");
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    let ok = answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000));
    world.send(&pbx, &ok);
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = Leg::caller(&phone, &invite, &came);
    let ack = a.request("ACK", &large(1_300));
    world.send(&phone, &ack);
    let seen = world.expect(&stream, "ACK");
    assert!(headers(&seen, "Via")[0].starts_with("SIP/2.0/TCP 10.20.0.5:5060;"), "{seen}");
    assert_eq!(header(&seen, "Content-Length"), body(&seen).len().to_string());
    refuse_connection(&mut world);
    // It has heard of none, and says so again.
    world.send(&pbx, &ok);
    world.expect(&phone, "SIP/2.0 200");
    world.send(&phone, &ack);
    let seen = world.expect(&pbx, "ACK");
    assert!(headers(&seen, "Via")[0].starts_with("SIP/2.0/UDP 10.20.0.5:5060;"), "{seen}");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn where_the_dns_names_a_port_for_tcp_it_goes_there() {
    let mut world = World::with(|changed| {
        settings(changed);
        let host = &mut changed.trunks[0].hosts[0];
        host.host = Host::Name("acme.example".into());
        (host.port, host.transport) = (None, None);
        host.ways.push((Transport::Tcp, CARRIER_TCP));
    });
    let supported = [Transport::Udp, Transport::Tcp].into_iter().collect();
    let wanted =
        Wanted { name: "acme.example".into(), port: None, transport: None, secure: false, supported };
    let server = |remote: &str, transport, rank| Server {
        remote: remote.parse().unwrap(),
        transport,
        rank,
        weight: 1,
    };
    let servers =
        [server("198.51.100.1:5060", Transport::Udp, 0), server("198.51.100.1:5080", Transport::Tcp, 1)];
    world.edge.handle_located(&wanted, &servers, world.now);
    let pbx = Actor::pbx();
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", &large(1_300)));
    let to = world.mail.iter().find(|(_, text)| text.starts_with("INVITE")).map(|(to, _)| *to).unwrap();
    let Destination::Address { remote, transport, .. } = to else { panic!("{to:?}") };
    assert_eq!((remote.to_string().as_str(), transport), ("198.51.100.1:5080", Transport::Tcp));
}

#[test]
fn room_is_left_for_the_credentials_that_a_carrier_will_ask_for() {
    let mut world = World::with(|changed| {
        settings(changed);
        let secret = Secret::Password("tango".into());
        changed.trunks[0].auth = Some(Auth { username: "acct42".into(), secret });
    });
    let pbx = Actor::pbx();
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", &large(400)));
    let seen = world.expect(&Actor::carrier().over_tcp(CARRIER_TCP), "INVITE");
    assert!((901..1_300).contains(&seen.len()), "{}", seen.len());
}

#[test]
fn a_phone_on_udp_is_reached_over_its_flow_whatever_the_size() {
    let (mut world, _) = world();
    let (phone, pbx) = (Actor::udp_phone("192.0.2.9:5060"), Actor::pbx());
    let binding = register(&mut world, &phone, "bob");
    world.send(&pbx, request(&pbx, "INVITE", uri_in(&binding), "100", "", &large(1_300)));
    assert!(world.expect(&phone, "INVITE").len() > 1_300);
}
