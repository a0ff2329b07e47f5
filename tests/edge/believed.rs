//! Whom we believe: who asks for a password, who says who calls, and what a transfer leads to (docs/attacks.md).

use turnpike::base::TrunkId;
use turnpike::edge::settings::{Admit, Host, Party, Route, RouteThen, Settings, Trust};
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::number::NumberSet;
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use super::calls::{establish, hang_up, register};
use super::ua::{self, header, headers, request, response, sdp};
use super::world::{Actor, INTERNET, World, settings};

/// Phones call abroad without the PBX.
fn phones_call_carriers(settings: &mut Settings) {
    let abroad = Route {
        name: "abroad".into(),
        from: vec![Party::Zone(INTERNET)],
        to: vec!["+*".into()],
        then: RouteThen::SendTo(vec![Party::Trunk(TrunkId(0))]),
        ..settings.routes[2].clone()
    };
    settings.routes.insert(0, abroad);
}

/// Bravo has a host with a name, as carriers do.
fn named_bravo(settings: &mut Settings) {
    let mut host = settings.trunks[1].hosts[0].clone();
    host.host = Host::Name("sbc.bravo.example".into());
    settings.trunks[1].hosts.push(host);
}

fn challenge(status: u16, realm: &str) -> String {
    let field = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    format!("{field}: Digest realm=\"{realm}\", nonce=\"1\"\r\n")
}

/// An answer comes from whom we have asked: the live ones are in `net::sip_attacks::answers`.
#[test]
fn another_server_of_the_same_carrier_may_answer_and_nobody_else() {
    let mut world = World::new();
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let at = |actor: Actor, remote: &str| {
        let remote = turnpike::base::ClientAddr(remote.parse().expect("address"));
        Actor { source: turnpike::sip::transaction::Source { remote, ..actor.source } }
    };
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    let seen = world.expect(&acme, "INVITE");
    world.take(&pbx);
    for (number, stranger) in
        [Actor::second_carrier(), at(acme, "198.51.100.99:5060"), at(Actor::pbx(), "198.51.100.1:5060")]
            .into_iter()
            .enumerate()
    {
        world.send(&stranger, response(&seen, "180 Ringing", &format!("n{number}"), "", ""));
        world.expect_nothing(&pbx);
    }
    world.send(&at(acme, "198.51.100.7:40000"), response(&seen, "180 Ringing", "b", "", ""));
    world.expect(&pbx, "SIP/2.0 180");
}

#[test]
fn a_carrier_asks_the_pbx_for_a_password_and_in_no_other_carriers_name() {
    for (realm, passes) in [
        ("asterisk", true),
        ("acme.example", true),
        ("sbc.bravo.example", false),
        ("BRAVO.example", false),
        ("avo.example", true),
    ] {
        let mut world = World::with(named_bravo);
        let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
        world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
        let seen = world.expect(&acme, "INVITE");
        world.take(&pbx);
        world.send(
            &acme,
            response(&seen, "407 Proxy Authentication Required", "x", &challenge(407, realm), ""),
        );
        if passes {
            assert!(world.expect(&pbx, "SIP/2.0 407").contains(realm));
        } else {
            // The next one takes the call.
            let seen = world.expect(&bravo, "INVITE");
            world.send(&bravo, response(&seen, "486 Busy Here", "y", "", ""));
            assert!(headers(&world.expect(&pbx, "SIP/2.0 486"), "Proxy-Authenticate").is_empty());
        }
    }
}

#[test]
fn a_phone_is_asked_by_the_pbx_alone_and_carriers_see_no_digest_of_its_password() {
    let mut world = World::with(phones_call_carriers);
    let (phone, pbx, acme) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx(), Actor::carrier());
    register(&mut world, &phone, "alice");
    let knows = "Proxy-Authorization: Digest username=\"alice\", realm=\"pbx\", nonce=\"1\", uri=\"x\", response=\"y\"\r\n\
                 Authorization: Digest username=\"alice\", realm=\"pbx\", nonce=\"1\", uri=\"x\", response=\"y\"\r\n";
    world.send(&phone, request(&phone, "INVITE", "sip:+49301234@example.com", "alice", knows, ""));
    let seen = world.expect(&acme, "INVITE");
    assert!(!seen.contains("Digest"), "{seen}");
    world.take(&phone);
    world.send(&acme, response(&seen, "401 Unauthorized", "x", &challenge(401, "pbx"), ""));
    let refused = world.expect(&phone, "SIP/2.0 403");
    assert!(!refused.contains("Digest"), "{refused}");
    assert_eq!(&*world.refused()[0].rule, "challenge from outside");

    world.send(&phone, request(&phone, "MESSAGE", "sip:100@example.com", "alice", knows, ""));
    let seen = world.expect(&pbx, "MESSAGE");
    assert_eq!(headers(&seen, "Authorization").len(), 1);
    world.send(&pbx, response(&seen, "407 Proxy Authentication Required", "x", &challenge(407, "pbx"), ""));
    assert!(world.expect(&phone, "SIP/2.0 407").contains("realm=\"pbx\""));
}

#[test]
fn a_phone_asks_nobody_within_a_call_either() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    let (mut a, mut b) = establish(&mut world, &phone, &pbx, &invite);
    let info = b.request("INFO", "");
    world.send(&pbx, info);
    let seen = world.expect(&phone, "INFO");
    world.send(&phone, response(&seen, "401 Unauthorized", "", &challenge(401, "carrier"), ""));
    assert!(!world.expect(&pbx, "SIP/2.0 403").contains("Digest"));
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn a_carrier_does_not_call_in_the_name_of_one_of_our_users() {
    let mut world = World::new();
    let (phone, pbx, acme) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx(), Actor::carrier());
    register(&mut world, &phone, "alice");
    let call = |from: &str, extra: &str| {
        let text = request(&acme, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", extra, "");
        text.replace("<sip:+4930999@example.com>", from)
    };
    let pai = |uri: &str| format!("P-Asserted-Identity: \"Boss\" <{uri}>\r\n");
    for text in [
        call("<sip:alice@10.20.0.20>", ""),
        call("<sip:%61lice@SIP.example.com:5061>", ""),
        call("<sips:alice@203.0.113.10>", ""),
        call("<sip:+4930999@acme.example>", &pai("sip:alice@10.20.0.21")),
        call(
            "<sip:+4930999@acme.example>",
            "P-Asserted-Identity: <tel:+4930999>, <sip:alice@203.0.113.11;user=phone>\r\n",
        ),
        call("<sip:+4930999@acme.example>", "Remote-Party-ID: <sip:alice@10.20.0.20>;party=calling\r\n"),
    ] {
        world.send(&acme, &text);
        world.expect(&acme, "SIP/2.0 403");
        world.expect_nothing(&pbx);
    }
    assert!(world.refused().iter().all(|refused| &*refused.rule == "caller is not the registered user"));
    for text in [
        call("<sip:alice@acme.example>", ""),
        call("<sip:bob@10.20.0.20>", ""),
        call("<sip:+4930999@10.20.0.20>", ""),
    ] {
        world.send(&acme, &text);
        world.expect(&pbx, "INVITE");
    }
}

/// A zone may be trusted and still ask each phone who it is.
#[test]
fn a_phone_that_is_asked_who_it_is_asserts_nothing_whatever_its_zone() {
    for (trust, admit, believed) in [
        (Trust::None, Admit::Any, false),
        (Trust::Peer, Admit::Registered, false),
        (Trust::Full, Admit::Registered, false),
        (Trust::Full, Admit::Any, true),
    ] {
        let mut world = World::with(|settings| {
            (settings.zones[0].trust, settings.zones[0].admit) = (trust, admit);
        });
        let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
        let contact = register(&mut world, &phone, "alice");
        let says = "P-Asserted-Identity: <sip:boss@example.com>\r\n";
        world.send(&phone, request(&phone, "MESSAGE", "sip:100@example.com", "alice", says, ""));
        assert_eq!(world.expect(&pbx, "MESSAGE").contains("boss"), believed, "{trust:?} {admit:?}");
        world.send(&pbx, request(&pbx, "MESSAGE", ua::uri_in(&contact), "100", "", ""));
        let seen = world.expect(&phone, "MESSAGE");
        world.send(&phone, response(&seen, "200 OK", "b", says, ""));
        assert_eq!(world.expect(&pbx, "SIP/2.0 200").contains("boss"), believed && trust == Trust::Full);
    }
}

fn no_satellites() -> World {
    let mut satellites = NumberSet::default();
    satellites.insert("+882");
    let rule = Rule {
        name: "toll fraud / never satellite".into(),
        when: vec![Condition { negated: false, matcher: Matcher::To(satellites.into()) }],
        count: None,
        answer: Answer {
            verdict: Some(Verdict::Refuse(Action::Reject { status: 403, reason: "Not permitted".into() })),
            ..Answer::default()
        },
        written: Default::default(),
    };
    let policy = Policy {
        name: "toll fraud".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![rule],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    };
    World::under(policy, settings())
}

/// However the PBX or a phone was brought to place it, each call is asked for itself.
#[test]
fn what_a_transfer_a_replacement_or_a_forwarding_leads_to_passes_policy_again() {
    let mut world = no_satellites();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    let refused = |world: &mut World, by: &Actor, uri: &str, user: &str, extra: &str| {
        world.take(by);
        world.send(by, request(by, "INVITE", uri, user, extra, ""));
        world.expect(by, "SIP/2.0 403 Not permitted");
        for carrier in [Actor::carrier(), Actor::second_carrier()] {
            world.expect_nothing(&carrier);
        }
        assert_eq!(&*world.refused().last().expect("one").rule, "toll fraud / never satellite");
    };
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.0.2.7", 5_004));
    let (mut a, mut b) = establish(&mut world, &phone, &pbx, &invite);
    // A phone transfers its call, and the PBX does as it is told.
    let refer = "Refer-To: <sip:+88216123@example.com>\r\nContact";
    world.send(&phone, a.request("REFER", "").replacen("Contact", refer, 1));
    let seen = world.expect(&pbx, "REFER");
    world.send(&pbx, response(&seen, "202 Accepted", "", "", ""));
    world.expect(&phone, "SIP/2.0 202");
    refused(&mut world, &pbx, "sip:+88216123@10.20.0.5", "100", "Referred-By: <sip:alice@example.com>\r\n");
    // The PBX transfers the phone.
    world.send(&pbx, b.request("REFER", "").replacen("Contact", refer, 1));
    let seen = world.expect(&phone, "REFER");
    world.send(&phone, response(&seen, "202 Accepted", "", "", ""));
    world.expect(&pbx, "SIP/2.0 202");
    refused(
        &mut world,
        &phone,
        "sip:+88216123@example.com",
        "alice",
        "Referred-By: <sip:100@example.com>\r\n",
    );
    // A phone would take over a call with a call of its own.
    let replaces = format!("Replaces: {};to-tag=b;from-tag=a\r\n", header(&invite, "Call-ID"));
    refused(&mut world, &phone, "sip:+88216123@example.com", "alice", &replaces);
    hang_up(&mut world, &mut a, &pbx);
    // Outside of calls the PBX is asked, and asks us.
    let refer = request(
        &phone,
        "REFER",
        "sip:100@example.com",
        "alice",
        "Refer-To: <sip:+88216123@example.com>\r\n",
        "",
    );
    world.send(&phone, &refer);
    world.expect(&pbx, "REFER");
    refused(&mut world, &pbx, "sip:+88216123@10.20.0.5", "alice", "");
    // A phone forwards its calls.
    let invite = request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", "");
    world.send(&pbx, &invite);
    let seen = world.expect(&phone, "INVITE");
    let moved = "Contact: <sip:+88216123@example.com>\r\n";
    world.send(&phone, response(&seen, "302 Moved Temporarily", "b", moved, ""));
    assert_eq!(header(&world.expect(&pbx, "SIP/2.0 302"), "Contact"), "<sip:+88216123@example.com>");
    refused(&mut world, &pbx, "sip:+88216123@10.20.0.5", "100", "Diversion: <sip:alice@example.com>\r\n");
    assert_eq!(world.status().calls, 0);
}
