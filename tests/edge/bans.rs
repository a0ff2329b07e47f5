//! Bans by people while calls are live: whom they hit, and whom not.

use std::time::Duration;

use super::play::{establish, register};
use super::ua::{self, request, response, sdp};
use super::world::{Actor, INTERNET, World};
use turnpike::base::ListenerId;
use turnpike::base::ban::Banned;
use turnpike::edge::settings::{Party, Route, RouteThen};

fn ban(world: &mut World, who: &str, hang_up: bool) -> usize {
    let banned: Banned = who.parse().unwrap();
    let (ban, ended) = world.edge.ban(banned, None, "by a test", hang_up, world.now).unwrap();
    assert_eq!(ban.reason, "by a test");
    world.collect();
    ended
}

fn call(phone: &Actor, user: &str) -> String {
    request(phone, "INVITE", "sip:100@example.com", user, "", &sdp("192.0.2.7", 4_000))
}

#[test]
fn a_banned_user_begins_nothing_and_live_calls_go_on_unless_they_are_hung_up() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(7, "192.0.2.7:5061"), Actor::pbx());
    register(&mut world, &phone, "201");
    establish(&mut world, &phone, &pbx, &call(&phone, "201"));
    let live = world.edge.calls(world.now);
    assert_eq!((&*live[0].from, &*live[0].to, live[0].to_party.as_deref()), ("201", "100", Some("pbx")));

    assert_eq!(ban(&mut world, "user:201", false), 0);
    assert_eq!(world.status().answered_calls, 1);
    assert_eq!(world.ports.lock().unwrap().banned, [("user:201".parse().unwrap(), None)], "TURN is told");
    world.send(&phone, call(&phone, "201"));
    world.expect(&phone, "SIP/2.0 403");
    assert_eq!(&*world.refused()[0].rule, "banned user");
    assert!(world.take(&pbx).is_empty(), "the PBX hears nothing of it");

    world.pass(Duration::from_secs(5));
    assert_eq!(world.edge.calls(world.now)[0].talked, Duration::from_secs(5));
    assert_eq!(ban(&mut world, "user:201", true), 1);
    for actor in [&phone, &pbx] {
        let bye = world.expect(actor, "BYE");
        world.send(actor, response(&bye, "200 OK", "", "", ""));
    }
    let cdr = world.cdrs()[0].clone();
    assert_eq!((cdr.end, cdr.hung_up_by.as_deref()), ("hung up by policy", Some("banned")));

    assert!(world.edge.lift_ban(&"user:201".parse().unwrap(), world.now).is_some());
    world.collect();
    assert!(world.ports.lock().unwrap().banned.is_empty(), "TURN is told that, too");
    establish(&mut world, &phone, &pbx, &call(&phone, "201"));
}

#[test]
fn a_call_that_rings_is_taken_back_from_whoever_is_banned_by_network() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(7, "192.0.2.7:5061"), Actor::pbx());
    register(&mut world, &phone, "201");
    world.send(&phone, call(&phone, "201"));
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, response(&seen, "180 Ringing", "b", "", ""));
    world.take(&phone);

    assert_eq!(ban(&mut world, "198.51.100.0/24", true), 0, "those are others");
    assert_eq!(ban(&mut world, "192.0.2.0/24", true), 1);
    world.expect(&phone, "SIP/2.0 403");
    world.expect(&pbx, "CANCEL");
    assert!(world.edge.refuses_packet(phone.address().ip(), ListenerId(0), world.now));
    assert!(world.edge.calls(world.now).is_empty());
}

#[test]
fn nobody_reaches_a_banned_user_until_the_ban_is_lifted() {
    let inward = Route {
        name: "inward".into(),
        from: vec![Party::Pbx],
        to: Vec::new(),
        then: RouteThen::SendTo(vec![Party::Zone(INTERNET)]),
        failover: None,
        emergency: false,
    };
    let mut world = World::with(|settings| settings.routes.insert(0, inward));
    let (phone, pbx) = (Actor::tls_phone(7, "192.0.2.7:5061"), Actor::pbx());
    let contact = register(&mut world, &phone, "201");
    let invite = || request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", &sdp("10.20.0.20", 7_000));
    ban(&mut world, "user:201", false);
    world.send(&pbx, invite());
    world.expect(&pbx, "SIP/2.0 480 Temporarily Unavailable");
    assert_eq!(&*world.refused()[0].rule, "called user is banned");
    assert!(world.take(&phone).is_empty(), "it does not ring");
    let by_route = request(&pbx, "INVITE", "sip:201@10.20.0.5", "100", "", &sdp("10.20.0.20", 7_000));
    world.send(&pbx, by_route);
    world.expect(&pbx, "SIP/2.0 480");
    let refresh = request(&phone, "REGISTER", "sip:example.com", "201", "", "");
    world.send(&phone, refresh.replace("To: <sip:", "To: <sip:201@"));
    world.expect(&phone, "SIP/2.0 403");

    world.edge.lift_ban(&"user:201".parse().unwrap(), world.now);
    world.collect();
    establish(&mut world, &pbx, &phone, &invite());
    register(&mut world, &phone, "201");
}
