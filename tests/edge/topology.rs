//! Topology hiding: nothing of the inside is seen outside, and everything still routes.

use proptest::prelude::*;
use turnpike::sip::transaction::Destination;

use super::calls::{establish, hang_up, register};
use super::hidden_bodies::{told_by, with_content};
use super::ua::{self, Leg, answer, header, headers, request, request_uri, response, sdp};
use super::world::{Actor, CARRIERS, INSIDE, INTERNET, World};

/// A world where phones and carriers are not to see this of the inside.
pub fn hiding(what: &[&str]) -> World {
    World::with(|settings| {
        for zone in [INTERNET, CARRIERS] {
            let zone = &mut settings.zones[usize::from(zone.0)];
            zone.hides_topology = what.contains(&"topology");
            zone.hides_call_ids = what.contains(&"call_id");
        }
    })
}

#[track_caller]
fn shows_no_inside(text: &str) {
    for inside in ["10.20.0", "pbx.corp", "Asterisk"] {
        assert!(!text.contains(inside), "{inside} in:\n{text}");
    }
}

#[test]
fn a_phone_that_is_called_sees_nothing_of_the_pbx_and_reaches_it() {
    let mut world = hiding(&["topology"]);
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
    let mut later = hiding(&["topology"]);
    register(&mut later, &phone, "alice");
    later.send(&phone, request(&phone, "MESSAGE", &b.target, "alice", "", ""));
    assert_eq!(request_uri(&later.expect(&pbx, "MESSAGE")), "sip:100@10.20.0.20");
}

#[test]
fn a_phone_that_calls_sees_nothing_of_the_pbx() {
    let mut world = hiding(&["topology"]);
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

/// The PBX's half of a transfer: it tells the phone which call to replace, and the phone says so to the PBX.
#[test]
fn a_call_id_of_the_inside_is_another_one_outside_and_still_names_its_call() {
    let mut world = hiding(&["topology", "call_id"]);
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    let invite = request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", &sdp("10.20.0.20", 7_000));
    let invite = invite.replace("@test", "@10.20.0.20");
    let (mut a, mut b) = establish(&mut world, &pbx, &phone, &invite);
    assert_ne!(a.call_id, b.call_id);
    shows_no_inside(&b.call_id);
    // Of its own call, and of one that the phone began, which the PBX knows by another name.
    let own = request(&phone, "INVITE", "sip:200@example.com", "alice", "", &sdp("192.0.2.7", 5_006));
    let (mut own, mut far) = establish(&mut world, &phone, &pbx, &own);
    assert!(far.call_id.starts_with(&own.call_id) && far.call_id != own.call_id, "{}", far.call_id);
    let calls = [&b, &a, &own, &far].map(|leg| leg.call_id.clone());
    for (theirs, ours) in [(&calls[0], &calls[1]), (&calls[2], &calls[3])] {
        let asks = format!(
            "Replaces: {theirs};to-tag=1;from-tag=2\r\nTarget-Dialog: {theirs}\r\nIn-Reply-To: {theirs}, {theirs}\r\n"
        );
        let told = asks.replace(&**theirs, ours);
        let text = request(&phone, "INVITE", "sip:200@example.com", "alice", &asks, &sdp("192.0.2.7", 5_008));
        world.send(&phone, text);
        assert!(world.expect(&pbx, "INVITE").contains(&told), "{told}");
        let text = request(&pbx, "MESSAGE", ua::uri_in(&contact), "100", &told, "");
        world.send(&pbx, text);
        assert!(world.expect(&phone, "MESSAGE").contains(&asks), "{asks}");
        let (asks, told) = (theirs.replace('@', "%40"), ours.replace('@', "%40"));
        let refer_to = |call_id| {
            format!("Refer-To: <sip:+4930@example.com?Replaces={call_id}%3Bto-tag%3D1>\r\nContact:")
        };
        let text = b.request("REFER", "").replace("Contact:", &refer_to(&asks));
        world.send(&phone, text);
        let seen = world.expect(&pbx, "REFER");
        assert!(header(&seen, "Refer-To").contains(&told), "{seen}");
        world.send(&pbx, response(&seen, "202 Accepted", "", "", ""));
        assert_eq!(header(&world.expect(&phone, "SIP/2.0 202"), "Call-ID"), b.call_id);
        let text = a.request("REFER", "").replace("Contact:", &refer_to(&told));
        world.send(&pbx, text);
        let seen = world.expect(&phone, "REFER");
        assert!(header(&seen, "Refer-To").contains(&asks), "{seen}");
        world.send(&phone, response(&seen, "202 Accepted", "", "", ""));
        assert_eq!(header(&world.expect(&pbx, "SIP/2.0 202"), "Call-ID"), a.call_id);
    }
    // What we answer ourselves.
    let text = request(&phone, "OPTIONS", "sip:sip.example.com:5061", "alice", "", "");
    world.send(&phone, &text);
    assert_eq!(header(&world.expect(&phone, "SIP/2.0 200"), "Call-ID"), header(&text, "Call-ID"));
    world.edge.drain(true, world.now);
    world.collect();
    for (leg, actor) in [(&mut a, pbx), (&mut b, phone), (&mut own, phone), (&mut far, pbx)] {
        let byes = world.mail.iter().filter(|(to, text)| actor.is_at(to) && text.starts_with("BYE"));
        assert!(byes.map(|(_, text)| header(text, "Call-ID")).any(|call_id| call_id == leg.call_id));
    }
}

/// What is hidden opens again where nothing is held of a dialog either.
#[test]
fn a_subscription_outlives_a_restart() {
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    for what in [&["topology"][..], &["topology", "call_id"]] {
        let mut world = hiding(what);
        register(&mut world, &phone, "alice");
        let text = request(&phone, "SUBSCRIBE", "sip:100@example.com", "alice", "Event: dialog\r\n", "");
        world.send(&phone, &text);
        let seen = world.expect(&pbx, "SUBSCRIBE");
        let accepted = answer(&pbx, &seen, "200 OK", "n", "").replacen(
            "Via:",
            "Record-Route: <sip:10.20.0.9;lr>\r\nVia:",
            1,
        );
        world.send(&pbx, &accepted);
        let came = world.expect(&phone, "SIP/2.0 200");
        shows_no_inside(&came);
        let (mut subscriber, mut notifier) =
            (Leg::caller(&phone, &text, &came), Leg::callee(&pbx, &seen, &accepted));
        let mut world = hiding(what);
        register(&mut world, &phone, "alice");
        world.send(&pbx, notifier.request("NOTIFY", ""));
        let notify = world.expect(&phone, "NOTIFY");
        shows_no_inside(&notify);
        assert_eq!(header(&notify, "Call-ID"), header(&text, "Call-ID"));
        world.send(&phone, response(&notify, "200 OK", "", "", ""));
        world.expect(&pbx, "SIP/2.0 200");
        world.send(&phone, subscriber.request("SUBSCRIBE", ""));
        let refresh = world.expect(&pbx, "SUBSCRIBE");
        assert_eq!(request_uri(&refresh), "sip:callee@10.20.0.20:5060;transport=udp");
        assert_eq!(headers(&refresh, "Route"), ["<sip:10.20.0.9;lr>"]);
        assert_eq!(header(&refresh, "Call-ID"), header(&seen, "Call-ID"));
    }
}

/// Fields that the inside may write its own hosts into, in requests; the first few in requests alone.
const FIELDS: &[&str] = &[
    "Via: SIP/2.0/UDP HOST:5080;branch=z9hG4bKinner;received=HOST",
    "In-Reply-To: 1",
    "Record-Route: <sip:HOST:5070;lr>",
    "User-Agent: PBX on HOST",
    "Server: PBX on HOST",
    "Warning: 399 HOST \"from HOST\"",
    "P-Asserted-Identity: \"HOST\" <sip:100@HOST:5062>",
    "Remote-Party-ID: <sip:100@HOST>;party=calling",
    "History-Info: <sip:100@HOST?Reason=SIP%3Bcause%3D302>;index=1, <sips:200@HOST:5061>;index=1.1",
    "Diversion: <sip:100@HOST>;reason=unconditional",
    "Referred-By: <sip:100@HOST>",
    "Reply-To: <sip:100@HOST;transport=tcp>",
    "Call-Info: <http://HOST/photo.png>;purpose=icon",
    "Alert-Info: <http://HOST:8088/ring.wav>",
    "Error-Info: <sip:busy@HOST>",
    "Organization: HOST",
    "Path: <sip:HOST;lr>",
    "Service-Route: <sip:HOST;lr>",
    "P-Charging-Vector: icid-value=1;icid-generated-at=HOST;orig-ioi=HOST",
    "Reason: Q.850;cause=16;text=\"by HOST\"",
    "X-Asterisk: sip:100@HOST",
    "X-Seen: <sip:a@b.invalid?X=c%40HOST>",
    "Subject: try HOST",
];
const OF_REQUESTS: usize = 2;

/// A message of the inside that says where it comes from wherever it may.
fn written_inside(text: &str, host: &str, fields: &[usize]) -> String {
    let is_request = !text.starts_with("SIP/2.0");
    let lines = fields.iter().filter(|field| is_request || **field >= OF_REQUESTS);
    let lines: String = lines.map(|field| format!("{}\r\n", FIELDS[*field].replace("HOST", host))).collect();
    let text = text.replace("@10.20.0.20:5060", &format!("@{host}"));
    // Above our own Record-Route in what is answered, below its own Via in what is asked.
    let before = if is_request { "Max-Forwards" } else { "Via" };
    let text = text.replacen(&format!("\r\n{before}"), &format!("\r\n{lines}{before}"), 1);
    let Some((head, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| body.starts_with("v=0")) else {
        return text;
    };
    let told =
        "o=HOST 1 1 IN IP4 HOST\r\ns=HOST\r\ni=at HOST\r\nu=http://HOST/\r\ne=a@HOST".replace("HOST", host);
    let body = body.replace("o=- 1 1 IN IP4 10.20.0.20\r\ns=-", &told);
    let (head, _) = head.rsplit_once("Content-Length").expect("a length");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn is_inside(to: &Destination) -> bool {
    matches!(to, Destination::Address { listener, .. } if *listener == INSIDE)
}

/// One that went inside, wherever the dialog's routes led it.
#[track_caller]
fn take_inside(world: &mut World, start: &str) -> String {
    let found = world.mail.iter().position(|(to, text)| is_inside(to) && text.starts_with(start));
    let found = found.unwrap_or_else(|| panic!("no `{start}` inside: {:#?}", world.mail));
    world.mail.remove(found).1
}

/// A call from one side to the other in which each sends the other what dialogs carry; the inside tells of `host` in all of it.
fn converse(world: &mut World, outside: &Actor, uri: &str, inside_calls: bool, host: &str, fields: &[usize]) {
    let pbx = Actor::pbx();
    let inner = |text: &str| written_inside(text, host, fields);
    let (mut near, mut far, first) = if inside_calls {
        let invite = request(&pbx, "INVITE", uri, "100", "", &sdp("10.20.0.20", 7_000));
        let invite = inner(
            &invite
                .replace("<sip:100@example.com>", &format!("<sip:100@{host}>"))
                .replace("@test", &format!("@{host}")),
        );
        world.send(&pbx, &invite);
        let seen = world.expect(outside, "INVITE");
        let ok = answer(outside, &seen, "200 OK", "b", &sdp("192.0.2.7", 5_004));
        world.send(outside, &ok);
        let came = take_inside(world, "SIP/2.0 200");
        assert_eq!(
            (header(&came, "From"), header(&came, "Call-ID")),
            (header(&invite, "From"), header(&invite, "Call-ID"))
        );
        (Leg::caller(&pbx, &invite, &came), Leg::callee(outside, &seen, &ok), true)
    } else {
        let invite = request(outside, "INVITE", uri, "alice", "", &sdp("192.0.2.7", 5_004));
        world.send(outside, &invite);
        let seen = take_inside(world, "INVITE");
        world.send(&pbx, inner(&answer(&pbx, &seen, "180 Ringing", "b", "")));
        world.expect(outside, "SIP/2.0 180");
        let ok = inner(&answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
        world.send(&pbx, &ok);
        let came = world.expect(outside, "SIP/2.0 200");
        assert_eq!(header(&came, "Call-ID"), header(&invite, "Call-ID"));
        (Leg::callee(&pbx, &seen, &ok), Leg::caller(outside, &invite, &came), false)
    };
    // Its own proxies have taken themselves off by the time that we see a request of the inside.
    near.routes.retain(|route| !route.contains(":5070"));
    if first {
        world.send(&pbx, inner(&near.request("ACK", "")));
        world.expect(outside, "ACK");
    } else {
        world.send(outside, far.request("ACK", ""));
        take_inside(world, "ACK");
    }
    let mut told = told_by(host, &format!("9@{host}")).into_iter();
    for (method, line) in [
        ("INFO", "Info-Package: dtmf".to_string()),
        ("UPDATE", "Supported: timer".into()),
        ("REFER", format!("Refer-To: <sip:300@{host}?Replaces=1%3Bto-tag%3D2>")),
        ("NOTIFY", "Event: dialog".into()),
        ("NOTIFY", "Event: reg".into()),
        ("NOTIFY", "Event: message-summary".into()),
        ("NOTIFY", "Event: refer".into()),
        ("MESSAGE", "Subject: x".into()),
    ] {
        let mut text = near.request(method, "").replacen("\r\nCSeq", &format!("\r\n{line}\r\nCSeq"), 1);
        if method == "NOTIFY" {
            let (media_type, body) = told.next().expect("one for each");
            text = with_content(&text, media_type, &body);
        }
        world.send(&pbx, inner(&text));
        let seen = world.expect(outside, method);
        assert_eq!(ua::uri_in(request_uri(&seen)), near.target);
        world.send(outside, response(&seen, "200 OK", "", "", ""));
        assert_eq!(header(&take_inside(world, "SIP/2.0 200"), "Call-ID"), near.call_id);

        world.send(
            outside,
            far.request(method, "").replacen(
                "\r\nCSeq",
                &format!("\r\n{}\r\nCSeq", line.replace(host, "b.invalid")),
                1,
            ),
        );
        let seen = take_inside(world, method);
        assert!(request_uri(&seen).contains(host), "the inside's own Contact: {seen}");
        assert_eq!(header(&seen, "Call-ID"), near.call_id);
        let reason = format!("200 OK from {host}");
        world.send(&pbx, inner(&response(&seen, &reason, "", "", "")));
        assert_eq!(header(&world.expect(outside, "SIP/2.0 200"), "Call-ID"), far.call_id);
    }
    world.send(outside, far.request("BYE", ""));
    let bye = take_inside(world, "BYE");
    world.send(&pbx, inner(&response(&bye, "200 OK", "", "", "")));
    world.expect(outside, "SIP/2.0 200");
    world.assert_clean();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever address or name the inside writes wherever it may, not one byte of it leaves, and the call goes on.
    #[test]
    fn no_host_of_the_inside_is_seen_outside(
        host in prop_oneof![
            "10\\.20\\.[1-9]\\.[1-9]", "192\\.168\\.7[0-9]\\.7", "\\[fd00:7:[1-9]::77\\]", "100\\.66\\.[1-9]\\.9",
            "pbx[1-9]\\.corp\\.local", "Asterisk-[1-9]\\.intern", "voice[1-9]\\.corp\\.example", "198\\.51\\.99\\.[1-9]7",
        ],
        fields in proptest::sample::subsequence((0..FIELDS.len()).collect::<Vec<_>>(), 0..=FIELDS.len()),
        inside_calls: bool,
        over_carrier: bool,
    ) {
        let mut world = hiding(&["topology", "call_id"]);
        let phone = Actor::tls_phone(1, "192.0.2.7:49152");
        let contact = register(&mut world, &phone, "alice");
        let outside = if over_carrier { Actor::carrier() } else { phone };
        let uri = match (over_carrier, inside_calls) {
            (true, true) => "sip:+4930@example.com",
            (false, true) => ua::uri_in(&contact),
            (_, false) => "sip:100@sip.example.com:5061",
        };
        converse(&mut world, &outside, uri, inside_calls, &host, &fields);
        let inside = host.trim_matches(['[', ']']).to_ascii_lowercase();
        for (to, text) in world.all.iter().filter(|(to, _)| !is_inside(to)) {
            prop_assert!(!text.to_ascii_lowercase().contains(&inside), "{inside} to {to:?}:\n{text}");
            prop_assert!(!text.contains("10.20.0."), "to {to:?}:\n{text}");
        }
    }
}
