//! Topology hiding: nothing of the inside is seen outside, and everything still routes.

use super::calls::{establish, hang_up, register};
use super::ua::{self, Leg, answer, header, headers, request, request_uri, response, sdp};
use super::world::{Actor, INTERNET, World};

fn hiding() -> World {
    World::with(|settings| settings.zones[usize::from(INTERNET.0)].hides_topology = true)
}

#[track_caller]
fn shows_no_inside(text: &str) {
    for inside in ["10.20.0", "pbx.corp", "Asterisk"] {
        assert!(!text.contains(inside), "{inside} in:\n{text}");
    }
}

#[test]
fn a_phone_that_is_called_sees_nothing_of_the_pbx_and_reaches_it() {
    let mut world = hiding();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    let extra = "User-Agent: Asterisk\r\nP-Asserted-Identity: <sip:100@10.20.0.20:5060>\r\nRecord-Route: <sip:10.20.0.20;lr>\r\n";
    let invite = request(&pbx, "INVITE", ua::uri_in(&contact), "100", extra, &sdp("10.20.0.20", 7_000));
    let invite = invite.replace("<sip:100@example.com>", "<sip:100@10.20.0.20>");
    world.send(&pbx, &invite);
    let seen = world.expect(&phone, "INVITE");
    shows_no_inside(&seen);
    assert_eq!((headers(&seen, "Via").len(), headers(&seen, "Record-Route").len()), (1, 1));
    let ok = answer(&phone, &seen, "200 OK", "b", &sdp("192.0.2.7", 5_004));
    world.send(&phone, &ok);
    let came = world.expect(&pbx, "SIP/2.0 200");
    assert_eq!(header(&came, "From"), header(&invite, "From"));
    assert!(header(&came, "To").starts_with(header(&invite, "To")));
    assert_eq!(ua::uri_in(headers(&came, "Record-Route")[1]), "sip:10.20.0.20;lr");
    assert!(headers(&came, "Via").len() == 1 && header(&came, "Via").contains("10.20.0.20:5060"));
    let mut a = Leg::caller(&pbx, &invite, &came);
    // The PBX's proxy has taken itself off.
    assert!(a.routes.remove(0).contains("10.20.0.20"));
    world.send(&pbx, a.request("ACK", ""));
    shows_no_inside(&world.expect(&phone, "ACK"));
    let mut b = Leg::callee(&phone, &seen, &ok);
    let text = b.request("INFO", "");
    world.send(&phone, text);
    let info = world.expect(&pbx, "INFO");
    assert_eq!(request_uri(&info), "sip:100@10.20.0.20:5060;transport=udp");
    assert_eq!(headers(&info, "Route"), ["<sip:10.20.0.20;lr>"]);
    world.send(&pbx, response(&info, "200 OK", "", "Server: Asterisk\r\n", ""));
    shows_no_inside(&world.expect(&phone, "SIP/2.0 200"));
    hang_up(&mut world, &mut b, &pbx);
    world.assert_clean();
    // The call is gone with a restart; what its Contact hides is not.
    let mut later = hiding();
    register(&mut later, &phone, "alice");
    later.send(&phone, request(&phone, "MESSAGE", &b.target, "alice", "", ""));
    assert_eq!(request_uri(&later.expect(&pbx, "MESSAGE")), "sip:100@10.20.0.20");
}

#[test]
fn a_phone_that_calls_sees_nothing_of_the_pbx() {
    let mut world = hiding();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    let (mut a, _) = establish(&mut world, &phone, &pbx, &invite);
    assert_eq!(a.routes.len(), 1);
    for text in [&a.target, &a.routes[0]] {
        shows_no_inside(text);
    }
    let text = a
        .request("REFER", "")
        .replace("Contact:", &format!("Refer-To: <{}?Replaces=x>\r\nContact:", a.target));
    world.send(&phone, text);
    let refer = world.expect(&pbx, "REFER");
    assert_eq!(header(&refer, "Refer-To"), "<sip:callee@10.20.0.20:5060;transport=udp?Replaces=x>");
    world.send(&pbx, response(&refer, "202 Accepted", "", "", ""));
    world.expect(&phone, "SIP/2.0 202");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}
