//! Phones register at the PBX through us.

use std::time::Duration;

use super::calls::register;
use super::ua::{self, header, headers, request, response};
use super::world::{Actor, World};
use turnpike::base::FlowId;
use turnpike::edge::SavedBinding;
use turnpike::edge::event::Event;

fn register_text(phone: &Actor, user: &str, extra: &str) -> String {
    request(phone, "REGISTER", "sip:example.com", user, extra, "")
        .replace("To: <sip:example.com>", &format!("To: <sip:{user}@example.com>"))
}

#[test]
fn the_pbx_sees_our_contact_and_path_and_the_phone_its_own() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    world.send(&phone, register_text(&phone, "alice", "Supported: outbound\r\n"));
    let seen = world.expect(&pbx, "REGISTER");
    assert!(ua::uri_in(header(&seen, "Contact")).starts_with("sip:alice@10.20.0.5:5060;tp="), "{seen}");
    assert!(header(&seen, "Path").starts_with("<sip:10.20.0.5:5060;lr;tp="));
    assert_eq!(headers(&seen, "Supported"), ["outbound, path"]);
    assert_eq!(ua::request_uri(&seen), "sip:example.com");
    world.send(
        &pbx,
        response(
            &seen,
            "401 Unauthorized",
            "r",
            "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"1\"\r\n",
            "",
        ),
    );
    let challenge = world.expect(&phone, "SIP/2.0 401");
    assert_eq!(header(&challenge, "WWW-Authenticate"), "Digest realm=\"pbx\", nonce=\"1\"");
    assert_eq!(world.status().registrations, 0);
    register(&mut world, &phone, "alice");
    assert_eq!(world.status().registrations, 1);
    assert!(
        world
            .events
            .iter()
            .any(|event| matches!(event, Event::Registered { user, .. } if &**user == "alice"))
    );
    world.assert_clean();
}

#[test]
fn a_registration_ends_by_time_by_wish_and_with_its_connection() {
    for end in ["time", "wish", "star", "connection"] {
        let mut world = World::new();
        let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
        register(&mut world, &phone, "alice");
        match end {
            "time" => world.pass(Duration::from_secs(301)),
            "wish" | "star" => {
                let text = register_text(&phone, "alice", "Expires: 0\r\n");
                let own = header(&text, "Contact").to_string();
                let text = if end == "star" { text.replace(&own, "*") } else { text };
                world.send(&phone, text);
                let seen = world.expect(&pbx, "REGISTER");
                world.send(&pbx, response(&seen, "200 OK", "r", "", ""));
                world.expect(&phone, "SIP/2.0 200");
            }
            _ => {
                world.edge.handle_flow_closed(FlowId(1), world.now);
                world.collect();
            }
        }
        assert_eq!(world.status().registrations, 0, "{end}");
        assert!(world.events.iter().any(|event| matches!(event, Event::Unregistered { .. })), "{end}");
        world.assert_clean();
    }
}

#[test]
fn a_dead_flow_is_430_and_a_contact_that_never_was_404() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    world.edge.handle_flow_closed(FlowId(1), world.now);
    world.collect();
    world.send(&pbx, request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", ""));
    world.expect(&pbx, "SIP/2.0 430");
    let unknown = "sip:alice@10.20.0.5:5060;tp=caaaaaaaaaaaaaaaaaaaaaaaaaa";
    world.send(&pbx, request(&pbx, "INVITE", unknown, "100", "", ""));
    world.expect(&pbx, "SIP/2.0 404");
    world.assert_clean();
}

#[test]
fn a_phone_that_reconnects_keeps_its_contact_at_the_pbx() {
    let mut world = World::new();
    let (before, after) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::tls_phone(2, "192.0.2.7:49153"));
    let pbx = Actor::pbx();
    let seen: Vec<String> = [before, after]
        .iter()
        .map(|phone| {
            let text = register_text(phone, "alice", "Expires: 300\r\n");
            let own = header(&text, "Contact").to_string();
            world.send(phone, text.replace(&own, &format!("{own};+sip.instance=\"<urn:uuid:1>\";reg-id=1")));
            let seen = world.expect(&pbx, "REGISTER");
            let contact = header(&seen, "Contact").to_string();
            world.send(
                &pbx,
                response(&seen, "200 OK", "r", &format!("Contact: {contact};expires=300\r\n"), ""),
            );
            world.expect(phone, "SIP/2.0 200");
            contact
        })
        .collect();
    assert_eq!(ua::uri_in(&seen[0]), ua::uri_in(&seen[1]));
    assert_eq!(world.status().registrations, 1);
    world.edge.handle_flow_closed(FlowId(1), world.now);
    assert_eq!(world.status().registrations, 1, "the old connection takes nothing with it");
    world.send(&pbx, request(&pbx, "MESSAGE", ua::uri_in(&seen[0]), "100", "", ""));
    world.expect(&after, "MESSAGE");
}

/// RFC 5626 §5.1, §5.4; RFC 5627 §5.
#[test]
fn outbound_and_gruu_pass_between_phone_and_registrar() {
    for (transport, phone) in
        [("tls", Actor::tls_phone(1, "192.0.2.7:49152")), ("udp", Actor::udp_phone("192.0.2.7:5060"))]
    {
        let (mut world, pbx) = (World::new(), Actor::pbx());
        let instance = "+sip.instance=\"<urn:uuid:0c67446e-f1a1-11d9-94d3-000a95a0e128>\";reg-id=1";
        let text = register_text(&phone, "alice", "Supported: path, outbound, gruu\r\nExpires: 300\r\n");
        let own = header(&text, "Contact").to_string();
        world.send(&phone, text.replace(&own, &format!("{own};{instance}")));
        let seen = world.expect(&pbx, "REGISTER");
        let contact = header(&seen, "Contact").to_string();
        assert!(contact.ends_with(&format!(">;{instance}")), "{contact}");
        assert!(header(&seen, "Path").ends_with(";ob>"), "{seen}");
        let gruu = "pub-gruu=\"sip:alice@example.com;gr=urn:uuid:0c67446e\";temp-gruu=\"sip:t7x@example.com;gr\";expires=300";
        let extra = format!("Require: outbound\r\nContact: {contact};{gruu}\r\n");
        world.send(&pbx, response(&seen, "200 OK", "r", &extra, ""));
        let came = world.expect(&phone, "SIP/2.0 200");
        assert_eq!(header(&came, "Contact"), format!("{own};{instance};{gruu}"));
        assert_eq!(header(&came, "Require"), "outbound");
        // We give no UDP flow up by time, so there is nothing to promise.
        let expected: &[&str] = if transport == "tls" { &["120"] } else { &[] };
        assert_eq!(headers(&came, "Flow-Timer"), expected);
        assert!(headers(&came, "Path").is_empty());
    }
}

#[test]
fn a_phone_behind_another_proxy_or_without_reg_id_has_no_flow_of_ours() {
    let (mut world, phone, pbx) = (World::new(), Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let plain = register_text(&phone, "alice", "Supported: outbound\r\n");
    let own = header(&plain, "Contact").to_string();
    let numbered = plain.replace(&own, &format!("{own};+sip.instance=\"<urn:uuid:1>\";reg-id=1"));
    let behind =
        numbered.replacen("Max-Forwards", "Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKa\r\nMax-Forwards", 1);
    for text in [plain, behind.replacen("branch=z9hG4bK", "branch=z9hG4bKother", 1)] {
        world.send(&phone, text);
        let seen = world.expect(&pbx, "REGISTER");
        assert!(!header(&seen, "Path").contains(";ob"), "{seen}");
    }
}

#[test]
fn a_phone_whose_flow_dies_while_it_rings_is_430_for_the_pbx_and_no_longer_registered() {
    let (mut world, phone, pbx) = (World::new(), Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    let invite = request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", "");
    world.send(&pbx, &invite);
    world.expect(&phone, "INVITE");
    world.edge.handle_flow_closed(FlowId(1), world.now);
    world.collect();
    let failed = world.expect(&pbx, "SIP/2.0 430");
    world.send(&pbx, ua::ack_of(&failed));
    assert_eq!(world.status().registrations, 0);
    world.assert_clean();
}

/// Twenty thousand phones, every tenth of them refreshed, are found by their contact, and leave nothing behind.
#[test]
fn twenty_thousand_phones_are_registered_and_called() {
    const PHONES: u64 = 20_000;
    let (mut world, pbx) = (World::new(), Actor::pbx());
    let phone = |n: u64| Actor::tls_phone(n + 1, &format!("198.18.{}.{}:5061", n / 250, n % 250 + 1));
    let mut contacts = Vec::new();
    for n in (0..PHONES).chain((0..PHONES).step_by(10)) {
        contacts.push(register(&mut world, &phone(n), &format!("user{n}")));
        world.all.clear();
        world.events.clear();
    }
    assert_eq!(world.status().registrations as u64, PHONES);
    world.pass(Duration::from_secs(100));
    for n in [0, 1, PHONES / 2, PHONES - 1] {
        world.send(&pbx, request(&pbx, "MESSAGE", ua::uri_in(&contacts[n as usize]), "100", "", ""));
        let seen = world.expect(&phone(n), "MESSAGE");
        world.send(&phone(n), response(&seen, "200 OK", "m", "", ""));
    }
    (0..PHONES / 2).for_each(|n| world.edge.handle_flow_closed(FlowId(n + 1), world.now));
    assert_eq!(world.status().registrations as u64, PHONES / 2);
    world.pass(Duration::from_secs(301));
    assert_eq!(world.status().registrations, 0);
    world.assert_clean();
}

#[test]
fn a_full_table_of_registrations_is_503_and_a_refresh_passes() {
    let mut world = World::with(|settings| settings.limits.registrations = 2);
    let pbx = Actor::pbx();
    let phone = |n: u64| Actor::tls_phone(n, &format!("192.0.2.{n}:5061"));
    register(&mut world, &phone(1), "alice");
    register(&mut world, &phone(2), "bob");
    world.send(&phone(3), register_text(&phone(3), "carol", ""));
    let refused = world.expect(&phone(3), "SIP/2.0 503");
    assert_eq!(header(&refused, "Retry-After"), "10");
    world.expect_nothing(&pbx);
    register(&mut world, &phone(1), "alice");
    assert_eq!(world.status().registrations, 2);
}

#[test]
fn options_to_us_is_answered_by_us() {
    let mut world = World::new();
    let stranger = Actor::udp_phone("192.0.2.66:5060");
    world.send(&stranger, request(&stranger, "OPTIONS", "sip:sip.example.com", "x", "", ""));
    world.expect(&stranger, "SIP/2.0 200");
    world.expect_nothing(&Actor::pbx());
    world.assert_clean();
}

#[test]
fn a_subscription_is_carried_and_its_notify_finds_back() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let subscribe = request(&phone, "SUBSCRIBE", "sip:100@example.com", "alice", "Event: presence\r\n", "");
    world.send(&phone, &subscribe);
    let seen = world.expect(&pbx, "SUBSCRIBE");
    let ok = ua::answer(&pbx, &seen, "202 Accepted", "s", "");
    world.send(&pbx, &ok);
    let came = world.expect(&phone, "SIP/2.0 202");
    let mut notifier = ua::Leg::callee(&pbx, &seen, &ok);
    let notify = notifier.request("NOTIFY", "");
    world.send(&pbx, notify);
    let got = world.expect(&phone, "NOTIFY");
    world.send(&phone, response(&got, "200 OK", "", "", ""));
    world.expect(&pbx, "SIP/2.0 200");
    let mut subscriber = ua::Leg::caller(&phone, &subscribe, &came);
    let refresh = subscriber.request("SUBSCRIBE", "");
    world.send(&phone, &refresh);
    world.expect(&pbx, "SUBSCRIBE");
    let thief = Actor::tls_phone(2, "192.0.2.99:40000");
    let stolen = subscriber.request("SUBSCRIBE", "");
    world.send(&thief, &stolen);
    world.expect(&thief, "SIP/2.0 403");
    let smuggled = subscriber.request("INVITE", "");
    world.send(&phone, &smuggled);
    world.expect(&phone, "SIP/2.0 481");
}

/// What a node writes down of its registrations is enough for the next one, and what has changed since is said once.
#[test]
fn phones_over_udp_are_still_registered_after_a_restart() {
    let (phone, pbx) = (Actor::udp_phone("192.0.2.7:5060"), Actor::pbx());
    let (over_tls, moved) = (Actor::tls_phone(1, "192.0.2.8:49152"), Actor::udp_phone("192.0.2.9:5060"));
    let mut world = World::new();
    let contact = register(&mut world, &phone, "alice");
    register(&mut world, &over_tls, "bob");
    register(&mut world, &moved, "carol");
    let first = world.edge.save_registrations();
    assert_eq!(first.iter().filter(|(_, saved)| saved.is_some()).count(), 2, "{first:?}");
    assert!(world.edge.save_registrations().is_empty());
    world.pass(Duration::from_secs(100));
    world.send(&moved, register_text(&moved, "carol", "Expires: 0\r\n"));
    let seen = world.expect(&pbx, "REGISTER");
    world.send(&pbx, response(&seen, "200 OK", "r", "", ""));
    let second = world.edge.save_registrations();
    let [(gone, None)] = &second[..] else { panic!("{second:?}") };
    let left: Vec<_> = first.into_iter().filter(|(key, saved)| key != gone && saved.is_some()).collect();
    let written = serde_json::to_string(&left).unwrap();

    let mut later = World::new();
    later.now = world.now;
    let read: Vec<(u64, SavedBinding)> = serde_json::from_str(&written).unwrap();
    assert_eq!(later.edge.restore_registrations(read.clone(), later.now), 1);
    later.send(&pbx, request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", ""));
    let invite = later.expect(&phone, "INVITE");
    later.send(&phone, response(&invite, "486 Busy Here", "b", "", ""));
    later.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "alice", "", ""));
    later.expect(&pbx, "INVITE");
    // Nobody else may call for it, and it is registered for as long as it was before.
    let stranger = Actor::udp_phone("192.0.2.10:5060");
    later.send(&stranger, request(&stranger, "INVITE", "sip:100@example.com", "alice", "", ""));
    later.expect(&stranger, "SIP/2.0 403");
    later.pass(Duration::from_secs(201));
    assert_eq!(later.status().registrations, 0);

    // Long after, or under a config without that listener, there is nothing to put back.
    let mut late = World::new();
    late.now = world.now.after(Duration::from_secs(201));
    assert_eq!(late.edge.restore_registrations(read.clone(), late.now), 0);
    let mut other = World::with(|settings| {
        settings.listeners.iter_mut().for_each(|listener| listener.name = "another".into());
    });
    assert_eq!(other.edge.restore_registrations(read.clone(), other.now), 0);
    let mut full = World::with(|settings| settings.limits.registrations = 0);
    assert_eq!(full.edge.restore_registrations(read, full.now), 0);
}
