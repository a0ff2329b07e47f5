//! Rows of ATTACKS.md: each mounts the attack and looks at what came out on every side.

use std::time::Duration;

use super::calls::{establish, hang_up, register};
use super::ua::{self, header, headers, request, response, sdp};
use super::world::{Actor, World};
use turnpike::base::ban::Banned;
use turnpike::edge::event::Event;
use turnpike::policy::matcher::{Condition, Glob, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

#[test]
fn a_stranger_gets_403_once_and_the_pbx_sees_nothing() {
    let methods = "INVITE MESSAGE SUBSCRIBE REFER PUBLISH NOTIFY INFO BYE PRACK UPDATE FROBNICATE";
    for (method, extra) in methods.split(' ').map(|method| (method, "")).chain([
        ("INVITE", "Replaces: call-1@test;to-tag=a;from-tag=b\r\n"),
        (
            "INVITE",
            "Authorization: Digest username=\"alice\", realm=\"pbx\", nonce=\"1\", response=\"0\"\r\n",
        ),
        ("REFER", "Refer-To: <sip:+99912345@198.51.100.1>\r\n"),
        ("OPTIONS", ""),
    ]) {
        let mut world = World::new();
        let (stranger, pbx) = (Actor::udp_phone("192.0.2.66:5060"), Actor::pbx());
        world.send(&stranger, request(&stranger, method, "sip:100@sip.example.com", "mallory", extra, ""));
        world.expect(&stranger, "SIP/2.0 403");
        world.expect_nothing(&pbx);
        assert_eq!(&*world.refused()[0].rule, "not registered", "{method}");
        if method == "INVITE" {
            let [told] = world.why(&world.refused()[0].call_id).try_into().expect("one decision");
            assert_eq!(
                (told.refused_by_edge.as_deref(), told.gets.as_str()),
                (Some("not registered"), "403")
            );
        }
        assert_eq!(world.status().server_transactions, 0, "a stranger leaves nothing behind");
        world.pass(std::time::Duration::from_secs(40));
        world.expect_nothing(&stranger);
        world.assert_clean();
    }
}

#[test]
fn a_source_that_no_trunk_names_is_refused() {
    let mut world = World::new();
    let stranger = Actor {
        source: turnpike::sip::transaction::Source {
            remote: turnpike::base::ClientAddr("198.51.100.99:5060".parse().expect("address")),
            ..Actor::carrier().source
        },
    };
    world.send(&stranger, request(&stranger, "INVITE", "sip:100@x", "m", "", &sdp("192.0.2.1", 4_000)));
    world.expect(&stranger, "SIP/2.0 403");
    world.expect_nothing(&Actor::pbx());
    assert_eq!(&*world.refused()[0].rule, "not a trunk");
    world.assert_clean();
}

#[test]
fn a_forged_to_tag_or_route_opens_no_relay() {
    let mut world = World::new();
    let stranger = Actor::udp_phone("192.0.2.66:5060");
    let victim = "Route: <sip:198.51.100.200:5060;lr>\r\n";
    let invite = request(&stranger, "INVITE", "sip:100@198.51.100.200;maddr=198.51.100.201", "m", victim, "");
    world.send(&stranger, invite.replace("\r\nCall-ID", ";tag=forged\r\nCall-ID"));
    world.expect(&stranger, "SIP/2.0 481");
    for route in ["<sip:dqqqqqqqqqqqqqqqqqqqqqqqqqq@203.0.113.10:5060;lr>", "<sip:00ff@203.0.113.10:5060;lr>"]
    {
        let bye = request(
            &stranger,
            "BYE",
            "sip:100@198.51.100.200",
            "m",
            &format!("Route: {route}\r\n{victim}"),
            "",
        );
        world.send(&stranger, bye.replace("\r\nCall-ID", ";tag=forged\r\nCall-ID"));
        world.expect(&stranger, "SIP/2.0 481");
    }
    let ack = request(&stranger, "ACK", "sip:100@198.51.100.200", "m", victim, "");
    world.send(&stranger, ack);
    world.expect_nothing(&stranger);
    assert!(world.all.iter().all(|(_, text)| text.starts_with("SIP/2.0")), "no request ever left");
    world.assert_clean();
}

#[test]
fn a_registered_phone_cannot_choose_where_its_call_goes() {
    let ours = "<sip:sip.example.com:5061;transport=tls;lr>";
    for (uri, routes) in [
        (
            "sip:100@198.51.100.200;maddr=198.51.100.201",
            format!("Route: {ours}, <sip:198.51.100.200;lr>\r\n"),
        ),
        ("sip:100@198.51.100.200:5080;transport=tcp", String::new()),
        ("sip:100@[2001:db8::200]", "Route: <sip:198.51.100.200>\r\n".into()),
        ("sip:100@sip.example.com:5061;maddr=198.51.100.201", String::new()),
        // As a strict router would send it (RFC 3261 §16.4).
        (
            "sip:sip.example.com:5061;lr",
            "Route: <sip:198.51.100.200;lr>, <sip:100@198.51.100.201>\r\n".into(),
        ),
    ] {
        let mut world = World::new();
        let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
        register(&mut world, &phone, "alice");
        for method in ["INVITE", "MESSAGE", "REFER", "PUBLISH"] {
            world.send(&phone, request(&phone, method, uri, "alice", &routes, ""));
            let seen = world.expect(&pbx, method);
            assert!(headers(&seen, "Route").is_empty());
            let line = seen.lines().next().unwrap_or_default();
            assert!(
                line.contains("10.20.0.20") && !line.contains("maddr") && !line.contains("2001:db8"),
                "{line}"
            );
        }
        world.take(&phone);
        assert!(world.mail.is_empty(), "{:#?}", world.mail);
    }
}

#[test]
fn known_and_unknown_users_get_the_same_answer() {
    let mut world = World::new();
    let phone = Actor::tls_phone(1, "192.0.2.7:49152");
    register(&mut world, &phone, "alice");
    let stranger = Actor::udp_phone("192.0.2.66:5060");
    for method in ["INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"] {
        let answers: Vec<String> = ["alice", "nobody"]
            .iter()
            .map(|user| {
                let text = request(&stranger, method, &format!("sip:{user}@sip.example.com"), "x", "", "");
                world.send(&stranger, &text);
                let came = world.take(&stranger).concat();
                let ids = ["Via", "From", "To", "Call-ID"].map(|name| header(&came, name).to_string());
                ids.iter().fold(came.clone(), |text, id| text.replace(id, ""))
            })
            .collect();
        assert_eq!(answers[0], answers[1], "{method}");
    }
    world.expect_nothing(&phone);
    world.expect_nothing(&Actor::pbx());
}

#[test]
fn unanswered_calls_of_one_source_leave_room_for_others() {
    let mut world = World::with(|settings| settings.limits.unanswered_per_source = 3);
    let (greedy, other) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::tls_phone(2, "192.0.2.8:49152"));
    register(&mut world, &greedy, "alice");
    register(&mut world, &other, "bob");
    for number in 0..10 {
        let uri = format!("sip:{number}@example.com");
        world.send(&greedy, request(&greedy, "INVITE", &uri, "alice", "", &sdp("192.0.2.7", 5_004)));
    }
    assert_eq!((world.status().calls, world.status().relay.pairs), (3, 3));
    let refused = world.take(&greedy).iter().filter(|text| text.starts_with("SIP/2.0 503")).count();
    assert_eq!(refused, 7);
    world.send(&other, request(&other, "INVITE", "sip:100@example.com", "bob", "", ""));
    world.expect(&other, "SIP/2.0 100");
    assert_eq!(world.status().calls, 4);
}

/// All callers of a carrier come from one source, and so do all phones of the PBX.
#[test]
fn a_carrier_and_the_pbx_may_have_any_number_of_calls_ringing() {
    let mut world = World::with(|settings| settings.limits.unanswered_per_source = 1);
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    for number in 0..3 {
        let uri = format!("sip:+4930123{number}@10.20.0.5");
        world.send(&pbx, request(&pbx, "INVITE", &uri, "100", "", ""));
        world.expect(&acme, "INVITE");
        let uri = format!("sip:10{number}@198.51.100.10");
        world.send(&acme, request(&acme, "INVITE", &uri, "+4940123", "", ""));
        world.expect(&pbx, "INVITE");
    }
    assert_eq!(world.status().calls, 6);
}

#[test]
fn a_party_cannot_speak_as_the_other_one() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    let (mut a, b) = establish(&mut world, &phone, &pbx, &invite);
    for (attacker, method) in [(phone, "BYE"), (Actor::carrier(), "BYE"), (phone, "INVITE"), (phone, "REFER")]
    {
        let text = b.clone().request(method, "");
        world.send(&attacker, text);
        world.expect(&attacker, "SIP/2.0 403");
    }
    // An ACK is answered by nobody, and carries no forged answer either.
    let ack = b.clone().request("ACK", &sdp("192.0.2.66", 6_666));
    world.send(&Actor::udp_phone("192.0.2.66:5060"), ack);
    world.expect_nothing(&phone);
    world.expect_nothing(&pbx);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn terminal_codes_and_line_ends_reach_no_event_as_lines_of_their_own() {
    let mut world = World::new();
    let stranger = Actor::udp_phone("192.0.2.66:5060");
    let text = request(&stranger, "INVITE", "sip:%0d%0aforged@sip.example.com", "x", "", "");
    world.send(&stranger, text.replace("call-", "\u{1b}[2J"));
    for bare in ["\r", "\n", "\0"] {
        world.send(&stranger, text.replace("call-", &format!("a{bare}forged")));
    }
    let refused = world.refused();
    assert!(refused.len() <= 1, "a bare CR, LF or NUL is no message: {refused:?}");
    // What is left are control characters that SIP allows nowhere but escaped; `observe` shows them as escapes.
    assert!(refused.iter().all(|refused| !refused.call_id.contains(['\r', '\n', '\0'])));
}

#[test]
fn a_registered_phone_speaks_for_itself_only() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    world.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "boss", "", ""));
    world.expect(&phone, "SIP/2.0 403");
    world.expect_nothing(&pbx);
    assert_eq!(&*world.refused()[0].rule, "caller is not the registered user");
}

#[test]
fn identity_headers_of_strangers_are_stripped_in_any_spelling() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let lies = [
        "p-asserted-identity: <sip:boss@example.com>",
        "P-Asserted-Identity: <sip:a@x>, <tel:+49boss>",
        "P-ASSERTED-SERVICE: boss",
        "P-Preferred-Identity : <sip:boss@example.com>",
        "REMOTE-PARTY-ID\t: <sip:boss@example.com>;privacy=off",
        "Diversion:\r\n <sip:boss@example.com>\r\n\t;reason=unconditional",
        "CC-Diversion: <sip:boss@example.com>",
        "History-Info: <sip:boss@example.com>;index=1",
        "P-Charge-Info: <sip:boss@example.com>",
        "P-Served-User: <sip:boss@example.com>",
        "x-auth-ip: boss",
        "X-Authenticated-User: boss",
        "X-TRUSTED: boss",
        "X-Asserted-Identity: boss",
    ];
    let lies: String = lies.iter().map(|line| format!("{line}\r\n")).collect();
    let kept = "X-Ticket: 4711\r\nPrivacy: id\r\nAuthorization: Digest username=\"alice\"\r\n";
    let extra = format!("{lies}{kept}");
    world.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "alice", &extra, ""));
    let seen = world.expect(&pbx, "INVITE");
    assert!(!seen.contains("boss"), "{seen}");
    assert!(kept.lines().all(|line| seen.contains(line)), "{seen}");
    let says = "P-Asserted-Identity: <sip:boss@example.com>\r\n";
    world.send(&pbx, response(&seen, "180 Ringing", "b", says, ""));
    assert!(world.expect(&phone, "SIP/2.0 180").contains(says), "what the PBX asserts passes");
}

#[test]
fn what_a_phone_asserts_in_a_response_is_stripped_and_a_carriers_word_counts() {
    let mut world = World::new();
    let (phone, pbx, carrier) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx(), Actor::carrier());
    let contact = register(&mut world, &phone, "alice");
    world.send(&pbx, request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", ""));
    let seen = world.expect(&phone, "INVITE");
    let lie = "P-Asserted-Identity: <sip:boss@example.com>\r\n";
    world.send(&phone, response(&seen, "180 Ringing", "b", lie, ""));
    assert!(!world.expect(&pbx, "SIP/2.0 180").contains("boss"));
    world.send(&carrier, request(&carrier, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", lie, ""));
    assert!(world.expect(&pbx, "INVITE").contains("boss"), "trust: peer");
}

#[test]
fn a_response_with_a_guessed_branch_is_dropped() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    world.send(&phone, request(&phone, "INVITE", "sip:100@example.com", "alice", "", ""));
    let seen = world.expect(&pbx, "INVITE");
    world.take(&phone);
    let branch =
        header(&seen, "Via").split("branch=").nth(1).and_then(|rest| rest.split(';').next()).expect("branch");
    let guessed = seen.replace(branch, "z9hG4bKaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    world.send(&pbx, response(&guessed, "200 OK", "evil", "", ""));
    world.expect_nothing(&phone);
    world.send(&pbx, response(&seen, "486 Busy Here", "b", "", ""));
    let busy = world.expect(&phone, "SIP/2.0 486");
    world.send(&phone, ua::ack_of(&busy));
    world.assert_clean();
}

#[test]
fn a_bye_with_the_right_ids_from_elsewhere_is_refused() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &sdp("192.168.1.5", 5_004));
    let (mut a, b) = establish(&mut world, &phone, &pbx, &invite);
    for (attacker, leg) in
        [(Actor::tls_phone(2, "192.0.2.99:40000"), &a), (Actor::tls_phone(2, "192.0.2.99:40000"), &b)]
    {
        for method in ["BYE", "INVITE", "UPDATE"] {
            let mut forged = leg.clone();
            forged.cseq += 10;
            let text = forged.request(method, "");
            world.send(&attacker, text);
            world.expect(&attacker, "SIP/2.0 403");
        }
    }
    world.expect_nothing(&pbx);
    world.expect_nothing(&phone);
    assert_eq!(world.status().answered_calls, 1);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn a_challenge_from_outside_does_not_reach_the_inside() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    let contact = register(&mut world, &phone, "alice");
    world.send(&pbx, request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", ""));
    let seen = world.expect(&phone, "INVITE");
    world.take(&pbx);
    let challenge = "WWW-Authenticate: Digest realm=\"evil\", nonce=\"1\"\r\n";
    world.send(&phone, response(&seen, "401 Unauthorized", "b", challenge, ""));
    let refused = world.expect(&pbx, "SIP/2.0 403");
    assert!(headers(&refused, "WWW-Authenticate").is_empty());
    world.assert_clean();
}

#[test]
fn only_the_caller_cancels() {
    let mut world = World::new();
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", "");
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    world.send(&pbx, response(&seen, "180 Ringing", "b", "", ""));
    let cancel = super::ends::cancel_of(&invite);
    let attacker = Actor::tls_phone(2, "192.0.2.99:40000");
    world.send(&attacker, &cancel);
    world.expect(&attacker, "SIP/2.0 481");
    world.expect_nothing(&pbx);
}

#[test]
fn a_malformed_request_is_400_once_and_goes_nowhere() {
    let mut world = World::new();
    let stranger = Actor::udp_phone("192.0.2.66:5060");
    let good = request(&stranger, "OPTIONS", "sip:sip.example.com", "x", "", "");
    for (bad, answered) in [
        (good.replace("Content-Length: 0", "Content-Length: 0\r\nContent-Length: 1"), true),
        (good.replace("Call-ID:", "Call-ID: twice\r\nCall-ID:"), true),
        (good.replace("CSeq: 1 ", "CSeq: 4294967296 "), true),
        (good.replace("From:", "Nobody:"), true),
        (good.replace("OPTIONS", "ACK").replace("Content-Length: 0", "Content-Length: -1"), false),
        ("\u{1}\u{2}garbage".into(), false),
    ] {
        world.send(&stranger, &bad);
        let came = world.take(&stranger);
        assert_eq!(came.len(), usize::from(answered), "{bad}");
        assert!(came.iter().all(|text| text.starts_with("SIP/2.0 400")), "{came:?}");
    }
    world.expect_nothing(&Actor::pbx());
    world.send(&stranger, &good);
    world.expect(&stranger, "SIP/2.0 200");
    world.assert_clean();
}

#[test]
fn the_relay_hears_of_a_source_that_policy_bans() {
    let agents = Matcher::Agent([Glob::new("friendly-scanner*")].into());
    let scanner = Rule {
        name: "scanners / names".into(),
        when: vec![Condition { negated: false, matcher: agents }],
        count: None,
        answer: Answer {
            verdict: Some(Verdict::Refuse(Action::Drop)),
            ban: Some(Duration::from_secs(60)),
            ..Answer::default()
        },
        written: Default::default(),
    };
    let policy = Policy {
        name: "scanners".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![scanner],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    };
    let mut world = World::under(policy, super::world::settings());
    for (scanner, is_banned) in
        [(Actor::udp_phone("192.0.2.66:5060"), false), (Actor::tls_phone(6, "192.0.2.67:5061"), true)]
    {
        world.send(
            &scanner,
            request(&scanner, "INVITE", "sip:100@example.com", "100", "User-Agent: friendly-scanner\r\n", ""),
        );
        let banned = std::mem::take(&mut world.ports.lock().expect("lock").banned);
        let told = world.events.iter().filter_map(|event| match event {
            Event::Banned(ban) => Some((&ban.banned, &*ban.reason)),
            _ => None,
        });
        let source = Banned::source(scanner.address().ip());
        let expected = is_banned.then_some((&source, "scanners / names"));
        assert_eq!(told.collect::<Vec<_>>(), Vec::from_iter(expected));
        let until = Some(world.now.instant + Duration::from_secs(60));
        let until = (source, until);
        assert_eq!(banned, Vec::from_iter(is_banned.then_some(until)), "who can be forged is not banned");
    }
    assert!(world.refused_calls().is_empty(), "strangers do not fill the disk");
}
