use std::time::Duration;

use super::*;
use crate::stun::Hash;

const A: &str = "192.0.2.1:4000";
const B: &str = "198.51.100.7:5000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn credentials(name: &str) -> Credentials {
    Credentials::read(name.as_bytes(), format!("{name}{name}{name}{name}{name}{name}").as_bytes()).unwrap()
}

/// A leg whose endpoint `alfa` sends its checks to `bravo`.
fn settings(terminated: bool) -> Settings {
    Settings { local: credentials("bravo"), remote_ufrag: Some("alfa".into()), terminated }
}

/// What a check carries besides what every check does.
#[derive(Default)]
struct Extras {
    nominates: bool,
    controlled: bool,
    unknown: bool,
}

fn check(number: u8, username: &str, pwd: &str, extras: Extras) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, Class::Request, Method::BINDING, TransactionId([number; 12]));
    writer.put(Type::USERNAME, username.as_bytes()).put_u32(Type::PRIORITY, 1);
    let role = if extras.controlled { Type::ICE_CONTROLLED } else { Type::ICE_CONTROLLING };
    writer.put(role, &[7; 8]);
    if extras.nominates {
        writer.put(Type::USE_CANDIDATE, &[]);
    }
    if extras.unknown {
        writer.put(Type(0x0033), &[1]);
    }
    writer.add_integrity(&Key::short_term(pwd), Hash::Sha1).add_fingerprint();
    bytes
}

fn good(number: u8) -> Vec<u8> {
    check(number, "bravo:alfa", credentials("bravo").pwd.reveal(), Extras::default())
}

fn nominating(number: u8) -> Vec<u8> {
    let extras = Extras { nominates: true, ..Extras::default() };
    check(number, "bravo:alfa", credentials("bravo").pwd.reveal(), extras)
}

fn hear(agent: &mut Agent, source: &str, bytes: &[u8], now: Instant) -> (Result<Heard, Refused>, Vec<u8>) {
    let mut out = Vec::new();
    let heard = agent.handle_stun(at(source), &Message::parse(bytes).unwrap(), now, &mut out);
    (heard, out)
}

#[test]
fn only_a_check_under_the_right_name_and_password_opens_the_leg() {
    let now = Instant::now();
    let right = credentials("bravo");
    let wrong = [
        check(1, "bravo:alfa", credentials("alfa").pwd.reveal(), Extras::default()),
        check(1, "bravo:other", right.pwd.reveal(), Extras::default()),
        check(1, "alfa:bravo", right.pwd.reveal(), Extras::default()),
        check(1, "bravo", right.pwd.reveal(), Extras::default()),
    ];
    for terminated in [false, true] {
        let mut agent = Agent::new(settings(terminated));
        for bytes in &wrong {
            assert_eq!(hear(&mut agent, A, bytes, now), (Err(Refused::Unauthenticated), vec![]));
        }
        assert!(!agent.hears(at(A), now));
        assert_eq!(agent.destination(now), None);
        let expected = if terminated { Heard::Answered } else { Heard::Forward };
        assert_eq!(hear(&mut agent, A, &good(1), now).0, Ok(expected));
        assert!(agent.hears(at(A), now) && !agent.hears(at(B), now));
        assert_eq!(agent.destination(now), Some(at(A)));
    }
}

#[test]
fn a_forged_fingerprint_an_unsealed_check_and_other_methods_are_nothing() {
    let now = Instant::now();
    let mut agent = Agent::new(settings(true));
    let mut spoilt = good(1);
    *spoilt.last_mut().unwrap() ^= 1;
    assert_eq!(hear(&mut agent, A, &spoilt, now).0, Err(Refused::Malformed));
    let mut bare = Vec::new();
    Writer::begin(&mut bare, Class::Request, Method::BINDING, TransactionId([1; 12]))
        .put(Type::USERNAME, b"bravo:alfa");
    assert_eq!(hear(&mut agent, A, &bare, now), (Err(Refused::Unauthenticated), vec![]));
    let mut allocate = Vec::new();
    Writer::begin(&mut allocate, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
    assert_eq!(hear(&mut agent, A, &allocate, now).0, Err(Refused::Malformed));
}

/// RFC 8445 §7.3.
#[test]
fn a_lite_agent_answers_with_the_mapped_address_sealed() {
    let now = Instant::now();
    let mut agent = Agent::new(settings(true));
    let (_, out) = hear(&mut agent, A, &good(9), now);
    let answer = Message::parse(&out).unwrap();
    assert_eq!((answer.class(), answer.transaction_id()), (Class::Success, TransactionId([9; 12])));
    assert_eq!(answer.xor_mapped_address().unwrap(), Some(at(A)));
    assert!(answer.check_integrity(&Key::short_term(credentials("bravo").pwd.reveal())));
    assert!(answer.has_fingerprint() && answer.check_fingerprint());
}

/// RFC 8445 §6.1.1, §7.3.1.1; RFC 8489 §6.3.1.
#[test]
fn a_lite_agent_is_controlled_and_refuses_what_it_does_not_know() {
    let now = Instant::now();
    let mut agent = Agent::new(settings(true));
    let pwd = credentials("bravo");
    for (extras, code) in [
        (Extras { controlled: true, ..Extras::default() }, 487),
        (Extras { unknown: true, ..Extras::default() }, 420),
    ] {
        let (heard, out) = hear(&mut agent, A, &check(1, "bravo:alfa", pwd.pwd.reveal(), extras), now);
        assert_eq!(heard, Ok(Heard::Answered));
        let answer = Message::parse(&out).unwrap();
        assert_eq!(answer.error_code().unwrap().unwrap().0, ErrorCode(code));
        assert!(answer.check_integrity(&Key::short_term(pwd.pwd.reveal())));
        assert_eq!(agent.destination(now), None);
    }
}

#[test]
fn the_answer_of_the_far_endpoint_goes_to_the_address_that_asked_and_proves_who_answers() {
    let now = Instant::now();
    let mut agent = Agent::new(settings(false));
    hear(&mut agent, A, &good(1), now).0.unwrap();
    hear(&mut agent, B, &good(2), now).0.unwrap();
    let answer = |number: u8, pwd: &str| {
        let request = good(number);
        let request = Message::parse(&request).unwrap();
        let mut out = Vec::new();
        Writer::success(&mut out, &request)
            .add_integrity(&Key::short_term(pwd), Hash::Sha1)
            .add_fingerprint();
        out
    };
    let pwd = credentials("bravo");
    let to = |bytes: Vec<u8>| agent.answered(&Message::parse(&bytes).unwrap());
    assert_eq!(to(answer(1, pwd.pwd.reveal())), Some(at(A)));
    assert_eq!(to(answer(2, pwd.pwd.reveal())), Some(at(B)));
    assert_eq!(to(answer(1, credentials("alfa").pwd.reveal())), None, "sealed by somebody else");
    assert_eq!(to(answer(3, pwd.pwd.reveal())), None, "to a check that nobody sent");
}

#[test]
fn checks_that_wait_for_answers_are_as_many_as_fit() {
    let now = Instant::now();
    let mut agent = Agent::new(settings(false));
    for number in 0..=MOST_CHECKS as u8 {
        hear(&mut agent, A, &good(number), now).0.unwrap();
    }
    assert_eq!(agent.checks.len(), MOST_CHECKS);
    assert_eq!(agent.checks.front().unwrap().transaction, TransactionId([1; 12]));
}

#[test]
fn media_goes_where_the_endpoint_nominated_and_then_where_it_speaks() {
    let now = Instant::now();
    let mut agent = Agent::new(settings(false));
    hear(&mut agent, A, &good(1), now).0.unwrap();
    hear(&mut agent, B, &good(2), now).0.unwrap();
    assert_eq!(agent.destination(now), Some(at(B)), "the newest check");
    hear(&mut agent, A, &nominating(3), now).0.unwrap();
    hear(&mut agent, B, &good(4), now).0.unwrap();
    assert_eq!(agent.destination(now), Some(at(A)), "a check of a spare pair moves nothing");
    assert!(agent.hears(at(B), now));
    assert_eq!(agent.destination(now), Some(at(B)), "it speaks from there");
    hear(&mut agent, A, &nominating(5), now).0.unwrap();
    assert_eq!(agent.destination(now), Some(at(A)), "from Wi-Fi to mobile");
}

/// RFC 7675 §5.1.
#[test]
fn nothing_is_sent_to_an_address_that_fell_silent() {
    let start = Instant::now();
    let mut agent = Agent::new(settings(true));
    hear(&mut agent, A, &good(1), start).0.unwrap();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(agent.destination(after(29)), Some(at(A)));
    assert_eq!(agent.destination(after(30)), None);
    hear(&mut agent, A, &good(2), after(31)).0.unwrap();
    assert!(agent.hears(at(A), after(50)));
    assert_eq!(agent.destination(after(70)), Some(at(A)), "media is a sign of life too");
}

#[test]
fn a_stranger_can_push_out_nobody_and_an_endpoint_has_four_addresses() {
    let start = Instant::now();
    let mut agent = Agent::new(settings(false));
    for port in 1..=5 {
        let source = format!("192.0.2.1:{port}");
        hear(&mut agent, &source, &good(port as u8), start + Duration::from_millis(port)).0.unwrap();
    }
    assert!(!agent.hears(at("192.0.2.1:1"), start), "the one that was silent for longest");
    assert!(agent.hears(at("192.0.2.1:2"), start) && agent.hears(at("192.0.2.1:5"), start));
}

/// RFC 8445 §9.
#[test]
fn an_ice_restart_keeps_the_old_pair_until_the_new_one_is_in_use() {
    let now = Instant::now();
    let mut agent = Agent::new(settings(false));
    hear(&mut agent, A, &nominating(1), now).0.unwrap();
    let charlie = credentials("charlie");
    agent.set(Settings { local: charlie.clone(), remote_ufrag: Some("delta".into()), terminated: false });
    hear(&mut agent, A, &good(2), now).0.unwrap();
    assert!(agent.hears(at(A), now), "under the old password, before the new one is used");

    let new = |extras| check(3, "charlie:delta", charlie.pwd.reveal(), extras);
    hear(&mut agent, B, &new(Extras::default()), now).0.unwrap();
    assert_eq!(hear(&mut agent, A, &good(4), now).0, Err(Refused::Unauthenticated), "the old one is over");
    assert!(agent.hears(at(A), now), "media on the old pair goes on");
    assert_eq!(agent.destination(now), Some(at(A)));
    hear(&mut agent, B, &new(Extras { nominates: true, ..Extras::default() }), now).0.unwrap();
    assert_eq!(agent.destination(now), Some(at(B)));
    assert!(!agent.hears(at(A), now));
}

#[test]
fn learning_the_ufrag_from_the_answer_is_no_restart() {
    let now = Instant::now();
    let mut agent = Agent::new(Settings { remote_ufrag: None, ..settings(false) });
    let early = check(1, "bravo:early", credentials("bravo").pwd.reveal(), Extras::default());
    hear(&mut agent, A, &early, now).0.unwrap();
    agent.set(settings(false));
    assert_eq!(hear(&mut agent, B, &early, now).0, Err(Refused::Unauthenticated));
    assert!(agent.hears(at(A), now));
}

#[test]
fn keep_alives_are_heard_of_those_who_are_known() {
    let now = Instant::now();
    let mut indication = Vec::new();
    Writer::begin(&mut indication, Class::Indication, Method::BINDING, TransactionId([1; 12]));
    for (terminated, heard) in [(false, Heard::Forward), (true, Heard::Taken)] {
        let mut agent = Agent::new(settings(terminated));
        assert_eq!(hear(&mut agent, A, &indication, now).0, Err(Refused::Unasked));
        hear(&mut agent, A, &good(1), now).0.unwrap();
        assert_eq!(hear(&mut agent, A, &indication, now).0, Ok(heard));
    }
}

/// DESIGN.md §4: the newest one, and never under a password of before.
#[test]
fn one_check_waits_until_it_is_released_or_the_far_end_restarts() {
    let mut agent = Agent::new(settings(false));
    assert!(!agent.holds() && agent.release().is_empty());
    assert!(agent.hold(&good(1)) && agent.hold(&good(2)));
    assert!(!agent.hold(&[0; 2000]), "no check is as long");
    assert!(agent.holds());
    assert_eq!(agent.release(), good(2));
    assert!(!agent.holds() && agent.release().is_empty());
    agent.hold(&good(3));
    agent.set(Settings { remote_ufrag: None, ..settings(false) });
    assert!(agent.holds());
    agent.set(Settings { local: credentials("anew"), ..settings(false) });
    assert!(!agent.holds());
    let mut terminated = Agent::new(settings(true));
    assert!(!terminated.hold(&good(1)), "nothing goes on");
}
