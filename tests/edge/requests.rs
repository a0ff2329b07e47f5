//! What phones and PBXs also send: other methods, other bodies, strict routers, spirals, and what no proxy forwards.

use super::calls::{establish, hang_up, register};
use super::ua::{self, Leg, answer, body, header, headers, request, request_uri, response, sdp};
use super::world::{Actor, World};

fn registered() -> (World, Actor, Actor, String) {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    (world, phone, pbx, ua::uri_in(&contact).to_string())
}

fn in_call() -> (World, Leg, Leg) {
    let (mut world, phone, pbx, _) = registered();
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    let (a, b) = establish(&mut world, &phone, &pbx, &invite);
    (world, a, b)
}

#[test]
fn every_method_passes_within_a_call_both_ways() {
    let (mut world, mut a, mut b) = in_call();
    for method in ["INFO", "MESSAGE", "REFER", "SUBSCRIBE", "NOTIFY", "OPTIONS", "UPDATE", "FROBNICATE"] {
        let (phone, pbx) = (a.actor, b.actor);
        for (from, to) in [(&mut a, pbx), (&mut b, phone)] {
            let text = from.request(method, "");
            world.send(&from.actor, &text);
            let seen = world.expect(&to, method);
            assert_eq!(headers(&seen, "Route"), [""; 0]);
            world.send(&to, response(&seen, "202 Accepted", "", "", ""));
            world.expect(&from.actor, "SIP/2.0 202");
        }
    }
    assert_eq!(world.status().answered_calls, 1, "none of them ends it");
    hang_up(&mut world, &mut a, &b.actor);
    world.assert_clean();
}

#[test]
fn a_message_passes_outside_of_calls_and_leaves_nothing() {
    let (mut world, phone, pbx, contact) = registered();
    for (from, to, uri, user) in
        [(phone, pbx, "sip:100@example.com", "alice"), (pbx, phone, contact.as_str(), "100")]
    {
        world.send(&from, request(&from, "MESSAGE", uri, user, "", ""));
        let seen = world.expect(&to, "MESSAGE");
        assert!(headers(&seen, "Record-Route").is_empty(), "it makes no dialog");
        world.send(&to, response(&seen, "200 OK", "m", "", ""));
        world.expect(&from, "SIP/2.0 200");
    }
    assert_eq!(world.status().calls, 0);
    world.assert_clean();
}

#[test]
fn a_fax_goes_on_through_the_relay() {
    let (mut world, mut a, b) = in_call();
    let fax = |address: &str, port: u16| {
        format!(
            "v=0\r\no=- 1 2 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=image {port} udptl t38\r\na=T38FaxVersion:0\r\n"
        )
    };
    let text = a.request("INVITE", &fax("192.0.2.7", 5_006));
    world.send(&a.actor, text);
    let seen = world.expect(&b.actor, "INVITE");
    assert!(
        body(&seen).contains("c=IN IP4 10.20.0.5\r\n") && !body(&seen).contains("m=image 5006"),
        "{seen}"
    );
    world.send(&b.actor, answer(&b.actor, &seen, "200 OK", "", &fax("10.20.0.20", 7_006)));
    let came = world.expect(&a.actor, "SIP/2.0 200");
    assert!(body(&came).contains("c=IN IP4 203.0.113.10\r\n") && body(&came).contains("udptl t38"));
    world.send(&a.actor.clone(), a.request("ACK", ""));
    assert!(world.open_rules().iter().all(|(_, rules)| !rules.rtp_only));
    world.take(&b.actor);
    hang_up(&mut world, &mut a, &b.actor);
    world.assert_clean();
}

#[test]
fn streams_that_are_off_stay_off_and_take_no_ports() {
    let (mut world, phone, pbx, _) = registered();
    let offer = sdp("192.168.1.5", 5_004) + "m=video 0 RTP/AVP 96\r\nm=audio 5010 RTP/AVP 8\r\n";
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &offer);
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    assert!(body(&seen).contains("m=video 0 RTP/AVP 96\r\n"));
    assert!(!body(&seen).contains("5010") && !body(&seen).contains("c=IN IP4 192.168.1.5"), "{seen}");
    assert_eq!(world.status().relay.pairs, 2);
    let answered = sdp("10.20.0.20", 7_000) + "m=video 0 RTP/AVP 96\r\nm=audio 0 RTP/AVP 8\r\n";
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &answered));
    let came = world.expect(&phone, "SIP/2.0 200");
    assert!(body(&came).contains("m=video 0 RTP/AVP 96\r\nm=audio 0 RTP/AVP 8\r\n"), "{came}");
    assert_eq!(world.status().relay.pairs, 1, "what the answer refuses is freed");
    let mut a = Leg::caller(&phone, &invite, &came);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn a_body_that_is_no_sdp_passes_byte_for_byte() {
    let (mut world, phone, pbx, _) = registered();
    let isup = "\u{1}\u{10}c=IN IP4 192.168.1.5\r\n";
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", isup)
        .replace("application/sdp", "application/isup;version=itu-t92+");
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    assert_eq!(body(&seen), isup);
    world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
    world.assert_clean();
}

#[test]
fn strict_routers_on_either_side_are_obeyed() {
    let (mut world, phone, pbx, _) = registered();
    // RFC 3261 §16.12.1.1: a Record-Route without lr is a strict router, here one behind each of us.
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    let invite =
        invite.replacen("\r\nMax-Forwards", "\r\nRecord-Route: <sip:old.phones.example>\r\nMax-Forwards", 1);
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    let ok = answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000));
    let ok = ok.replacen("\r\nRecord-Route", "\r\nRecord-Route: <sip:10.20.0.20>\r\nRecord-Route", 1);
    world.send(&pbx, &ok);
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = Leg::caller(&phone, &invite, &came);
    a.routes.remove(0);
    world.send(&phone, a.request("ACK", ""));
    let ack = world.expect(&pbx, "ACK");
    assert_eq!(request_uri(&ack), "sip:10.20.0.20", "it expects itself in the Request-URI");
    assert_eq!(headers(&ack, "Route"), [format!("<{}>", a.target)]);
    // The phone's side as a strict router would send it: our Record-Route as the Request-URI, the target last.
    let mut strict = a.clone();
    let ours = ua::uri_in(&strict.routes.remove(0)).to_string();
    strict.routes.push(format!("<{}>", std::mem::replace(&mut strict.target, ours)));
    world.send(&phone, strict.request("INFO", ""));
    let info = world.expect(&pbx, "INFO");
    assert_eq!(request_uri(&info), "sip:10.20.0.20");
    assert_eq!(headers(&info, "Route"), [format!("<{}>", a.target)]);
    a.cseq = strict.cseq;
    let mut b = Leg::callee(&pbx, &seen, &ok);
    b.routes = headers(&seen, "Record-Route").iter().map(|route| route.to_string()).collect();
    world.send(&pbx, b.request("INFO", ""));
    let info = world.expect(&phone, "INFO");
    assert_eq!(request_uri(&info), "sip:old.phones.example");
    assert_eq!(headers(&info, "Route"), [format!("<{}>", b.target)]);
    // What we say ourselves obeys them too.
    world.fall_silent();
    assert_eq!(request_uri(&world.expect(&phone, "BYE")), "sip:old.phones.example");
    assert_eq!(request_uri(&world.expect(&pbx, "BYE")), "sip:10.20.0.20");
    world.assert_clean();
}

#[test]
fn a_call_that_comes_back_for_another_phone_is_a_spiral_and_one_that_comes_back_as_it_was_a_loop() {
    let (mut world, phone, pbx, _) = registered();
    let other = Actor::tls_phone(2, "192.0.2.8:49152");
    let bob = register(&mut world, &other, "bob");
    let invite = request(&phone, "INVITE", "sip:bob@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    let via = "SIP/2.0/UDP 10.20.0.20:5060;branch=z9hG4bKproxied";
    let spiral = seen.replacen("Via:", &format!("Via: {via}\r\nVia:"), 1);
    let looped = spiral.replacen("z9hG4bKproxied", "z9hG4bKlooped", 1);
    let looped = looped.replacen(request_uri(&seen), "sip:bob@example.com", 1);
    // From the PBX it would go another way, if there were one (RFC 5393 §4.2.1).
    world.send(&pbx, &looped);
    world.expect(&pbx, "SIP/2.0 404");
    world.send(&phone, looped.replacen("z9hG4bKlooped", "z9hG4bKagain", 1));
    world.expect(&phone, "SIP/2.0 482");
    let spiral = spiral.replacen(request_uri(&seen), ua::uri_in(&bob), 1);
    let spiral = spiral.replacen("Record-Route", "Record-Route: <sip:10.20.0.20;lr>\r\nRecord-Route", 1);
    world.send(&pbx, &spiral);
    let rings = world.expect(&other, "INVITE");
    assert_eq!(headers(&rings, "Record-Route").len(), 5);
    let ok = answer(&other, &rings, "200 OK", "b", &sdp("192.0.2.8", 6_004));
    world.send(&other, &ok);
    let back = world.expect(&pbx, "SIP/2.0 200");
    world.send(&pbx, back.replacen(&format!("Via: {}\r\n", header(&back, "Via")), "", 1));
    let came = world.expect(&phone, "SIP/2.0 200");
    assert_eq!(world.status().answered_calls, 2, "each pass is a call of its own");
    let mut a = Leg::caller(&phone, &invite, &came);
    for method in ["ACK", "BYE"] {
        world.send(&phone, a.request(method, ""));
        let seen = world.expect(&pbx, method);
        assert_eq!(headers(&seen, "Route").len(), 3);
        let first = format!("Route: {}\r\n", header(&seen, "Route"));
        let passed = seen.replacen(&first, "", 1).replacen("Via:", &format!("Via: {via}{method}\r\nVia:"), 1);
        world.send(&pbx, passed);
        let arrived = world.expect(&other, method);
        if method == "BYE" {
            world.send(&other, response(&arrived, "200 OK", "", "", ""));
            let back = world.expect(&pbx, "SIP/2.0 200");
            world.send(&pbx, back.replacen(&format!("Via: {}\r\n", header(&back, "Via")), "", 1));
            world.expect(&phone, "SIP/2.0 200");
        }
    }
    world.assert_clean();
}

#[test]
fn what_no_proxy_forwards_is_refused_by_its_number() {
    let (mut world, phone, pbx, _) = registered();
    let good = request(&phone, "INVITE", "sip:100@example.com", "alice", "", "");
    for (bad, status) in [
        (good.replace("Max-Forwards: 70", "Max-Forwards: 0"), "483 Too Many Hops"),
        (good.replace("\r\nContact", "\r\nProxy-Require: gruu, x-new\r\nContact"), "420 Bad Extension"),
        (
            good.replace("INVITE sip:100@example.com", "INVITE im:100@example.com"),
            "416 Unsupported URI Scheme",
        ),
        (good.replace("\r\nContact", "\r\nMax-Breadth: 0\r\nContact"), "440 Max-Breadth Exceeded"),
    ] {
        world.send(&phone, &bad);
        let refused = world.expect(&phone, &format!("SIP/2.0 {status}"));
        if status.starts_with("420") {
            assert_eq!(header(&refused, "Unsupported"), "gruu, x-new");
        }
    }
    world.expect_nothing(&pbx);
    world.assert_clean();
}

#[test]
fn a_large_max_forwards_is_lowered() {
    let (mut world, phone, pbx, _) = registered();
    let text = request(&phone, "MESSAGE", "sip:100@example.com", "alice", "", "");
    world.send(&phone, text.replace("Max-Forwards: 70", "Max-Forwards: 255"));
    assert_eq!(header(&world.expect(&pbx, "MESSAGE"), "Max-Forwards"), "70");
    world.send(&phone, text.replace("Max-Forwards: 70\r\n", "").replace("z9hG4bKtest", "z9hG4bKwithout"));
    assert_eq!(header(&world.expect(&pbx, "MESSAGE"), "Max-Forwards"), "70");
}

/// RFC 5393 §5.3.3: whoever forks behind us is held to a limit, whatever the caller says.
#[test]
fn breadth_is_added_where_there_is_none_and_lowered_where_there_is_too_much() {
    let (mut world, phone, pbx, _) = registered();
    for (line, expected) in [
        ("", "60"),
        ("Max-Breadth: 1\r\n", "1"),
        ("Max-Breadth: 4000\r\n", "60"),
        ("Max-Breadth: x\r\n", "60"),
        ("Max-Breadth: 7\r\nMax-Breadth: 9\r\n", "7"),
    ] {
        world.send(&phone, request(&phone, "MESSAGE", "sip:100@example.com", "alice", line, ""));
        assert_eq!(headers(&world.expect(&pbx, "MESSAGE"), "Max-Breadth"), [expected], "{line}");
    }
}

/// RFC 5393 §5.3.3.1: hops are tried one after another, so each may have all the breadth that came.
#[test]
fn breadth_passes_whole_to_one_hop_at_a_time() {
    let (mut world, phone, pbx, _) = registered();
    let extra = "Max-Breadth: 3\r\n";
    world.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "alice", extra, ""));
    let seen = world.expect(&pbx, "INVITE");
    assert_eq!(header(&seen, "Max-Breadth"), "3");
    world.expect_nothing(&Actor::second_pbx());
    world.send(&pbx, response(&seen, "503 Service Unavailable", "b", "", ""));
    world.take(&pbx);
    assert_eq!(header(&world.expect(&Actor::second_pbx(), "INVITE"), "Max-Breadth"), "3");
}
