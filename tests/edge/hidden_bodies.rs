//! Topology hiding beyond header fields: bodies that name hosts and calls, SDP that is not relayed, and carriers of one zone.

use turnpike::base::TrunkId;
use turnpike::edge::settings::{Anchor, Host, Party, Route, RouteThen, Settings};

use super::calls::{establish, hang_up, register};
use super::topology::hiding;
use super::ua::{self, answer, body, header, headers, request, request_uri, response, sdp};
use super::world::{Actor, CARRIERS, INTERNET, World};

/// A message with this body instead of none.
pub fn with_content(text: &str, media_type: &str, body: &str) -> String {
    let content = format!("Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    text.replacen("Content-Length: 0\r\n\r\n", &content, 1)
}

/// What a PBX at `host` tells of a ringing phone, of registrations, of a mailbox and of a transfer.
pub fn told_by(host: &str, call_id: &str) -> [(&'static str, String); 4] {
    [
        (
            "application/dialog-info+xml",
            format!(
                "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"0\" \
                 entity=\"sip:100@{host}\">\r\n<dialog id=\"7\" call-id=\"{call_id}\" local-tag=\"a\" remote-tag=\"b\">\
                 <remote><identity display=\"Bob\">sip:200@{host}:5060</identity><target uri='sip:200@{host}:5060;ob'/></remote>\
                 </dialog></dialog-info>\r\n"
            ),
        ),
        (
            "application/reginfo+xml",
            format!(
                "<reginfo version='1'><registration aor=\"sip:100@{host}\"><contact callid='{call_id}'>\
                 <uri>sip:100@{host}:5070</uri></contact></registration></reginfo>"
            ),
        ),
        (
            "application/simple-message-summary",
            format!("Messages-Waiting: yes\r\nMessage-Account: sip:*97@{host}\r\nVoice-Message: 2/8\r\n"),
        ),
        (
            "message/sipfrag;version=2.0",
            format!("SIP/2.0 503 {host} is down\r\nContact: <sip:{host}>\r\nCall-ID: {call_id}\r\n"),
        ),
    ]
}

/// RFC 4235: a phone that watches another one learns which call rings there, and picks it up (RFC 3891).
#[test]
fn a_watched_call_is_named_as_the_watcher_knows_it_and_can_be_picked_up() {
    let mut world = hiding(&["topology", "call_id"]);
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    let inner = "55aa@10.20.0.20:5060";
    for (media_type, told) in told_by("10.20.0.20", inner) {
        let mixed = format!(
            "--x\r\nContent-Type: text/plain\r\n\r\n10.20.0.0?\r\n--x\r\nContent-Type: {media_type}\r\n\r\n{told}\r\n--x--\r\n"
        );
        for (outer, text) in [(media_type, &told), ("multipart/mixed;boundary=x", &mixed)] {
            let notify = request(&pbx, "NOTIFY", ua::uri_in(&contact), "100", "Event: dialog\r\n", "");
            world.send(&pbx, with_content(&notify, outer, text));
            let seen = world.expect(&phone, "NOTIFY");
            assert!(!seen.contains("10.20.0.20"), "{seen}");
            assert_eq!(header(&seen, "Content-Length"), body(&seen).len().to_string());
            assert_eq!(
                seen.contains("10.20.0.0?"),
                outer != media_type,
                "what people write to each other stays"
            );
            if media_type.contains("dialog-info") {
                assert!(seen.contains("<target uri='sip:200@sip.example.com;ob'/>"), "{seen}");
                let outside =
                    seen.split("call-id=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("one");
                let event = format!("Event: dialog;call-id=\"{outside}\";to-tag=a\r\n");
                let asks = format!("{event}Replaces: {outside};to-tag=a;from-tag=b\r\n");
                world.send(
                    &phone,
                    request(&phone, "INVITE", "sip:200@sip.example.com:5061", "alice", &asks, ""),
                );
                let seen = world.expect(&pbx, "INVITE");
                assert_eq!(header(&seen, "Replaces"), format!("{inner};to-tag=a;from-tag=b"));
                assert_eq!(header(&seen, "Event"), format!("dialog;call-id=\"{inner}\";to-tag=a"));
            }
        }
    }
    // Without `call_id` a Call-ID stays whole, so that it still names its call.
    let mut world = hiding(&["topology"]);
    let contact = register(&mut world, &phone, "alice");
    let notify = request(&pbx, "NOTIFY", ua::uri_in(&contact), "100", "Event: dialog\r\n", "");
    let [(media_type, told), ..] = told_by("10.20.0.20", inner);
    world.send(&pbx, with_content(&notify, media_type, &told));
    let seen = world.expect(&phone, "NOTIFY");
    assert_eq!(seen.matches("10.20.0.20").count(), 1, "{seen}");
    assert!(seen.contains(&format!("call-id=\"{inner}\"")), "{seen}");
}

#[test]
fn a_redirection_to_a_call_names_it_as_its_receiver_knows_it() {
    let mut world = hiding(&["topology", "call_id"]);
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    world.send(&phone, request(&phone, "INVITE", "sip:100@sip.example.com:5061", "alice", "", ""));
    let seen = world.expect(&pbx, "INVITE");
    let moved = "Contact: <sip:+4930@example.com?Replaces=55aa%4010.20.0.20%3Bto-tag%3Da>\r\n";
    world.send(&pbx, response(&seen, "302 Moved", "b", moved, ""));
    let told = world.expect(&phone, "SIP/2.0 302");
    let target = ua::uri_in(header(&told, "Contact")).to_string();
    assert!(!told.contains("10.20.0.20") && target.starts_with("sip:+4930@example.com?Replaces="), "{told}");
    let replaces = target.split("Replaces=").nth(1).expect("one").replace("%3B", ";").replace("%3D", "=");
    let asks = format!("Replaces: {replaces}\r\n");
    world.send(&phone, request(&phone, "INVITE", "sip:+4930@example.com", "alice", &asks, ""));
    assert_eq!(header(&world.expect(&pbx, "INVITE"), "Replaces"), "55aa@10.20.0.20;to-tag=a");
}

/// Media goes from end to end, so its addresses must be seen; who wrote the SDP need not.
#[test]
fn sdp_that_is_not_relayed_does_not_say_who_wrote_it() {
    for has_relay in [true, false] {
        let mut world = World::with(|settings| {
            settings.zones[usize::from(INTERNET.0)].hides_topology = true;
            settings.zones[usize::from(INTERNET.0)].media.anchor = Anchor::Never;
            if !has_relay {
                settings.zones[usize::from(INTERNET.0)].relay = None;
            }
        });
        let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
        register(&mut world, &phone, "alice");
        let invite =
            request(&phone, "INVITE", "sip:100@sip.example.com:5061", "alice", "", &sdp("192.0.2.7", 5_004));
        world.send(&phone, &invite);
        let seen = world.expect(&pbx, "INVITE");
        assert_eq!(body(&seen), body(&invite), "the inside may see the outside");
        let answered = sdp("198.51.100.30", 7_000)
            .replace("o=- 1 1 IN IP4 198.51.100.30", "o=pbx7 1 1 IN IP4 10.20.0.20");
        world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &answered));
        let came = world.expect(&phone, "SIP/2.0 200");
        let origin = if has_relay { "203.0.113.10" } else { "0.0.0.0" };
        assert_eq!(
            body(&came),
            answered.replace("pbx7 1 1 IN IP4 10.20.0.20", &format!("- 1 1 IN IP4 {origin}"))
        );
        assert_eq!(header(&came, "Content-Length"), body(&came).len().to_string());
    }
}

/// RFC 3261 §11.2 and §21.4.26: nobody relays media for it.
#[test]
fn sdp_that_begins_no_media_is_not_shown() {
    let mut world = hiding(&["topology"]);
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    for (method, status) in [("OPTIONS", "200 OK"), ("INVITE", "488 Not Acceptable Here")] {
        world.send(&phone, request(&phone, method, "sip:100@sip.example.com:5061", "alice", "", ""));
        let seen = world.expect(&pbx, method);
        world.send(&pbx, response(&seen, status, "b", "", &sdp("10.20.0.20", 7_000)));
        let told = world.expect(&phone, &format!("SIP/2.0 {status}"));
        assert_eq!((body(&told), header(&told, "Content-Length")), ("", "0"));
        assert!(headers(&told, "Content-Type").is_empty() && !told.contains("10.20.0.20"), "{told}");
    }
}

/// Calls of one carrier's go to the other one, without the PBX.
fn transit(settings: &mut Settings) {
    let [acme, bravo] = [0, 1].map(|trunk| Party::Trunk(TrunkId(trunk)));
    let route =
        Route { from: vec![acme], then: RouteThen::SendTo(vec![bravo]), ..settings.routes[1].clone() };
    settings.routes.insert(0, route);
    settings.zones[usize::from(CARRIERS.0)].hides_topology = true;
    let mut named = settings.trunks[0].hosts[0].clone();
    (named.host, named.priority) = (Host::Name("sip1.acme.example".into()), 1);
    settings.trunks[0].hosts.push(named);
}

#[test]
fn carriers_of_one_zone_do_not_see_each_other() {
    let mut world = World::with(transit);
    let (acme, bravo, pbx) = (Actor::carrier(), Actor::second_carrier(), Actor::pbx());
    let extra = "User-Agent: acme\r\nDiversion: <sip:+49@sip1.acme.example>\r\nRecord-Route: <sip:core.acme.example;lr>\r\n";
    let invite =
        request(&acme, "INVITE", "sip:+4930@203.0.113.11", "+4940", extra, &sdp("198.51.100.1", 5_004));
    let invite = invite.replace("<sip:+4940@example.com>", "<sip:+4940@198.51.100.7>");
    world.send(&acme, &invite);
    let seen = world.expect(&bravo, "INVITE");
    assert!(!seen.contains("acme.example") && !seen.contains("198.51.100."), "{seen}");
    assert_eq!(headers(&seen, "Via").len(), 1);
    let ok = answer(&bravo, &seen, "200 OK", "b", &sdp("192.0.2.65", 7_000));
    world.send(&bravo, &ok);
    let came = world.expect(&acme, "SIP/2.0 200");
    assert!(!came.contains("192.0.2.65"), "{came}");
    let mut a = ua::Leg::caller(&acme, &invite, &came);
    // Its own proxy has taken itself off.
    a.routes.retain(|route| !route.contains("core.acme.example"));
    world.send(&acme, a.request("ACK", ""));
    assert_eq!(request_uri(&world.expect(&bravo, "ACK")), "sip:callee@192.0.2.65:5060;transport=udp");
    let mut b = ua::Leg::callee(&bravo, &seen, &ok);
    let info = b.request("INFO", "");
    world.send(&bravo, info);
    let info = world.expect(&acme, "INFO");
    assert_eq!(headers(&info, "Route"), ["<sip:core.acme.example;lr>"]);
    assert!(!info.contains("192.0.2.65"), "{info}");
    world.send(&acme, response(&info, "200 OK", "", "Server: acme on 198.51.100.1\r\n", ""));
    assert!(!world.expect(&bravo, "SIP/2.0 200").contains("acme"));
    hang_up(&mut world, &mut a, &bravo);
    // By way of the PBX, which tells who has called, and each sees its own name.
    let says = "Diversion: <sip:+49@sip1.acme.example>\r\nHistory-Info: <sip:+49@198.51.100.7>;index=1, <sip:+1@192.0.2.65>;index=2\r\n";
    world.send(&pbx, request(&pbx, "INVITE", "sip:+4950@10.20.0.5", "100", says, ""));
    let seen = world.expect(&acme, "INVITE");
    assert_eq!(header(&seen, "Diversion"), "<sip:+49@sip1.acme.example>");
    assert!(seen.contains("198.51.100.7") && !seen.contains("192.0.2.65"), "{seen}");
    world.send(&acme, response(&seen, "503 Down", "x", "", ""));
    let seen = world.expect(&bravo, "INVITE");
    assert!(!seen.contains("acme.example") && !seen.contains("198.51.100."), "{seen}");
    assert!(header(&seen, "History-Info").contains("192.0.2.65"), "{seen}");
    // Within a call of each with the PBX nothing is changed that a zone of its own would not have.
    let mut world = hiding(&["topology"]);
    let invite = request(&bravo, "INVITE", "sip:+4930@203.0.113.11", "+4940", "", &sdp("192.0.2.65", 5_004));
    let (mut a, _) = establish(&mut world, &bravo, &pbx, &invite);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}
