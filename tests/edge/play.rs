//! What most tests begin and end with: a phone registers, a call is set up, somebody hangs up.

use super::ua::{self, Leg, answer, header, request, response, sdp};
use super::world::{Actor, World};

/// The phone registers as alice; the PBX sees our Contact and accepts for five minutes.
pub fn register(world: &mut World, phone: &Actor, user: &str) -> String {
    let extra = "Expires: 300\r\nSupported: outbound\r\n";
    let text = request(phone, "REGISTER", "sip:example.com", user, extra, "");
    let text = text.replace("To: <sip:example.com>", &format!("To: <sip:{user}@example.com>"));
    world.send(phone, &text);
    let pbx = Actor::pbx();
    let seen = world.expect(&pbx, "REGISTER");
    let contact = header(&seen, "Contact").to_string();
    world.send(&pbx, response(&seen, "200 OK", "r", &format!("Contact: {contact};expires=300\r\n"), ""));
    let accepted = world.expect(phone, "SIP/2.0 200");
    assert_eq!(ua::uri_in(header(&accepted, "Contact")), ua::uri_in(header(&text, "Contact")));
    contact
}

/// An INVITE carried from one end to the other, answered and acknowledged.
pub fn establish(world: &mut World, caller: &Actor, callee: &Actor, invite: &str) -> (Leg, Leg) {
    world.send(caller, invite);
    let seen = world.expect(callee, "INVITE");
    world.expect(caller, "SIP/2.0 100");
    let ok = answer(callee, &seen, "200 OK", "callee", &sdp("10.20.0.20", 7_000));
    world.send(callee, &ok);
    let came = world.expect(caller, "SIP/2.0 200");
    let mut a = Leg::caller(caller, invite, &came);
    let b = Leg::callee(callee, &seen, &ok);
    world.send(caller, a.request("ACK", ""));
    world.expect(callee, "ACK");
    (a, b)
}

/// BYE from one end, answered by the other.
pub fn hang_up(world: &mut World, from: &mut Leg, to: &Actor) {
    let bye = from.request("BYE", "");
    world.send(&from.actor, bye);
    let seen = world.expect(to, "BYE");
    world.send(to, response(&seen, "200 OK", "", "", ""));
    world.expect(&from.actor, "SIP/2.0 200");
}
