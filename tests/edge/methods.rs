//! What each method carries passes as it is, in dialogs and outside of them, either way.

use super::calls::{establish, hang_up, register};
use super::topology::hiding;
use super::ua::{self, Leg, answer, body, header, headers, request, response, sdp};
use super::world::{Actor, World};

/// One world where headers pass as they are, and one where the inside is hidden.
fn worlds() -> [World; 2] {
    [World::new(), hiding(&["topology"])]
}

fn registered(mut world: World) -> (World, Actor, Actor, String) {
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    (world, phone, pbx, ua::uri_in(&contact).to_string())
}

/// A method, what it cannot do without, and an answer with what that cannot do without.
const METHODS: &[(&str, &str, &str, &str)] = &[
    ("MESSAGE", "Expires: 60", "202 Accepted", "Date: Sun, 22 Nov 2026 23:00:00 GMT"),
    ("INFO", "Info-Package: dtmf", "200 OK", "Recv-Info: dtmf"),
    ("PUBLISH", "SIP-If-Match: 7", "200 OK", "SIP-ETag: 8"),
    ("SUBSCRIBE", "Event: dialog;id=1", "200 OK", "Expires: 600"),
    ("NOTIFY", "Subscription-State: active;expires=599", "200 OK", "Allow-Events: dialog"),
    (
        "REFER",
        "Refer-To: <sip:200@pbx.example?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>",
        "202 Accepted",
        "Refer-Sub: false",
    ),
    ("UPDATE", "Session-Expires: 1800;refresher=uac", "200 OK", "Session-Expires: 1800;refresher=uac"),
    ("OPTIONS", "Accept: application/sdp", "200 OK", "Allow: INVITE, PRACK, UPDATE"),
];
const BODY: &str = "v=what it says is not for us\r\n";

/// The request that came, made to carry more; with a body that is no SDP.
fn carrying(text: &str, line: &str) -> String {
    let content =
        format!("{line}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
    text.replacen("Content-Length: 0\r\n\r\n", &content, 1)
}

/// Carried to the other end and answered; what each end saw.
#[track_caller]
fn carried(
    world: &mut World,
    from: &Actor,
    to: &Actor,
    text: &str,
    row: (&str, &str, &str, &str),
) -> [String; 2] {
    let (method, line, status, answered) = row;
    world.send(from, carrying(text, line));
    let seen = world.expect(to, method);
    assert!(seen.contains(&format!("\r\n{line}\r\n")) && body(&seen) == BODY, "{seen}");
    let reply = answer(to, &seen, status, "far", "");
    world.send(to, reply.replacen("Content-Length", &format!("{answered}\r\nContent-Length"), 1));
    let came = world.expect(from, &format!("SIP/2.0 {status}"));
    assert!(came.contains(&format!("\r\n{answered}\r\n")), "{came}");
    [seen, came]
}

#[test]
fn each_method_passes_within_a_call() {
    for world in worlds() {
        let (mut world, phone, pbx, _) = registered(world);
        let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
        let (mut a, mut b) = establish(&mut world, &phone, &pbx, &invite);
        for row in METHODS.iter().filter(|row| row.0 != "PUBLISH") {
            for (from, to) in [(&mut a, pbx), (&mut b, phone)] {
                let text = from.request(row.0, "");
                let [seen, _] = carried(&mut world, &from.actor.clone(), &to, &text, *row);
                assert_eq!(headers(&seen, "Route"), [""; 0]);
            }
        }
        hang_up(&mut world, &mut a, &pbx);
        world.assert_clean();
    }
}

#[test]
fn each_method_passes_outside_of_dialogs() {
    for world in worlds() {
        let (mut world, phone, pbx, contact) = registered(world);
        for row in METHODS {
            for (from, to, uri, user) in
                [(phone, pbx, "sip:100@example.com", "alice"), (pbx, phone, contact.as_str(), "100")]
            {
                let text = request(&from, row.0, uri, user, "", "");
                let [seen, _] = carried(&mut world, &from, &to, &text, *row);
                let begins_a_dialog = matches!(row.0, "SUBSCRIBE" | "REFER");
                assert_eq!(!headers(&seen, "Record-Route").is_empty(), begins_a_dialog, "{}", row.0);
            }
        }
        assert_eq!(world.status().calls, 0);
        world.assert_clean();
    }
}

#[test]
fn subscriptions_of_either_side_go_on_without_a_call() {
    for (method, world) in
        ["SUBSCRIBE", "REFER"].into_iter().flat_map(|method| worlds().map(|world| (method, world)))
    {
        let (mut world, phone, pbx, contact) = registered(world);
        for (from, to, uri, user) in
            [(phone, pbx, "sip:100@example.com", "alice"), (pbx, phone, contact.as_str(), "100")]
        {
            let row = *METHODS.iter().find(|row| row.0 == method).expect("a row");
            let text = request(&from, method, uri, user, "", "");
            let [seen, came] = carried(&mut world, &from, &to, &text, row);
            let mut subscriber = Leg::caller(&from, &text, &came);
            let mut notifier = Leg::callee(&to, &seen, &answer(&to, &seen, row.2, "far", ""));
            for _ in 0..2 {
                let notify = METHODS.iter().find(|row| row.0 == "NOTIFY").expect("a row");
                let text = notifier.request("NOTIFY", "");
                carried(&mut world, &to, &from, &text, *notify);
                let refresh = METHODS.iter().find(|row| row.0 == "SUBSCRIBE").expect("a row");
                let text = subscriber.request("SUBSCRIBE", "");
                carried(&mut world, &from, &to, &text, *refresh);
            }
        }
        world.assert_clean();
    }
}

/// RFC 3262: a reliable provisional answer, its PRACK and the answer to that; then UPDATE in the early dialog (RFC 3311 §5).
#[test]
fn prack_and_update_pass_before_the_answer() {
    for world in worlds() {
        let (mut world, phone, pbx, _) = registered(world);
        let extra = "Supported: 100rel\r\n";
        let invite =
            request(&phone, "INVITE", "sip:100@example.com", "alice", extra, &sdp("192.0.2.7", 5_004));
        world.send(&phone, &invite);
        let seen = world.expect(&pbx, "INVITE");
        assert_eq!(header(&seen, "Supported"), "100rel");
        let rings = answer(&pbx, &seen, "183 Session Progress", "b", &sdp("10.20.0.20", 7_000));
        world.send(&pbx, rings.replacen("\r\nContact", "\r\nRequire: 100rel\r\nRSeq: 42\r\nContact", 1));
        let came = world.expect(&phone, "SIP/2.0 183");
        assert_eq!((header(&came, "Require"), header(&came, "RSeq")), ("100rel", "42"));
        let mut a = Leg::caller(&phone, &invite, &came);
        for (method, line) in
            [("PRACK", "RAck: 42 1 INVITE"), ("UPDATE", "Session-Expires: 1800;refresher=uac")]
        {
            let text = a.request(method, "").replacen("\r\nContact", &format!("\r\n{line}\r\nContact"), 1);
            world.send(&phone, text);
            let seen = world.expect(&pbx, method);
            assert!(seen.contains(&format!("\r\n{line}\r\n")), "{seen}");
            world.send(&pbx, response(&seen, "200 OK", "", "", ""));
            world.expect(&phone, "SIP/2.0 200");
        }
        world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", ""));
        world.expect(&phone, "SIP/2.0 200");
        let ack = a.request("ACK", "").replacen("CSeq: 3 ACK", "CSeq: 1 ACK", 1);
        world.send(&phone, ack);
        world.expect(&pbx, "ACK");
        hang_up(&mut world, &mut a, &pbx);
        world.assert_clean();
    }
}

/// RFC 5627 §4.4, §5.1: who calls from a GRUU puts it into Contact, and who is called by one finds it in the Request-URI.
#[test]
fn a_gruu_in_contact_comes_back_as_the_target() {
    let (mut world, phone, pbx, _) = registered(World::new());
    let gruu = "sip:alice@example.com;gr=urn:uuid:0c67446e-f1a1-11d9-94d3-000a95a0e128";
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    let contact = header(&invite, "Contact").to_string();
    let invite = invite.replace(&contact, &format!("<{gruu}>"));
    let (mut a, mut b) = establish(&mut world, &phone, &pbx, &invite);
    assert!(b.target.contains(";gr=urn:uuid:0c67446e-f1a1-11d9-94d3-000a95a0e128"), "{}", b.target);
    let info = b.request("INFO", "");
    world.send(&pbx, info);
    let seen = world.expect(&phone, "INFO");
    assert_eq!(ua::request_uri(&seen), gruu);
    world.send(&phone, response(&seen, "200 OK", "", "", ""));
    world.expect(&pbx, "SIP/2.0 200");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}
