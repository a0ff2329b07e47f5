//! `admit: authenticated`: we ask for the password ourselves.

use std::sync::Arc;
use std::time::Duration;

use turnpike::edge::settings::{Admit, Users};
use turnpike::policy::settings::{Answer, Count, Limit, Mode, Per, Policy, Rate, Rule, Verdict};
use turnpike::policy::{Action, Stage};
use turnpike::sip::digest::{Asked, Challenge, Secret};

use super::calls::hang_up;
use super::ua::{self, Leg, answer, cancel_of, header, headers, request, response, sdp};
use super::world::{Actor, World};

pub const REALM: &str = "example.com";
pub const PASSWORD: &str = "wonderland";

fn users(names: &[&str]) -> Users {
    let secret = |name: &str| (Arc::from(name), Secret::of_password(name, REALM, PASSWORD));
    Users::new(REALM, names.iter().map(|name| secret(name)))
}

/// Phones outside have to know a password.
fn world() -> World {
    World::with(|settings| {
        settings.zones[0].admit = Admit::Authenticated;
        settings.users = users(&["alice", "bob"]);
    })
}

fn phone() -> Actor {
    Actor::tls_phone(1, "192.0.2.7:49152")
}

fn register_text(phone: &Actor, user: &str) -> String {
    request(phone, "REGISTER", "sip:example.com", user, "Expires: 300\r\n", "")
        .replace("To: <sip:example.com>", &format!("To: <sip:{user}@example.com>"))
}

fn invite_text(phone: &Actor, user: &str) -> String {
    request(phone, "INVITE", "sip:100@example.com", user, "", &sdp("192.168.1.5", 5_004))
}

fn message_text(phone: &Actor, user: &str) -> String {
    request(phone, "MESSAGE", "sip:100@example.com", user, "", "")
}

/// The phone's MESSAGE has reached the PBX, which answers it.
#[track_caller]
fn delivered(world: &mut World, phone: &Actor) {
    let seen = world.expect(&Actor::pbx(), "MESSAGE");
    world.send(&Actor::pbx(), response(&seen, "200 OK", "m", "", ""));
    world.expect(phone, "SIP/2.0 200");
}

/// What a phone does when it is asked: the same request, a new branch, the next CSeq, credentials.
pub struct Login<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub count: u32,
    /// Which of the offered challenges it answers.
    pub choice: usize,
}

pub const ALICE: Login<'_> = Login { user: "alice", password: PASSWORD, count: 1, choice: 0 };

impl Login<'_> {
    fn credentials(&self, text: &str, challenged: &str) -> String {
        let (asked, answers) = match challenged.starts_with("SIP/2.0 401") {
            true => ("WWW-Authenticate", "Authorization"),
            false => ("Proxy-Authenticate", "Proxy-Authorization"),
        };
        let value = headers(challenged, asked)[self.choice];
        let challenge = Challenge::parse(value.as_bytes()).expect("a challenge");
        let (method, uri) =
            (text.split(' ').next().expect("well-formed").as_bytes(), ua::request_uri(text).as_bytes());
        let asked = Asked { method, uri, body: ua::body(text).as_bytes(), count: self.count, cnonce: 7 };
        let value = challenge.answer(self.user, &Secret::Password(self.password.into()), &asked);
        format!("{answers}: {}\r\n", String::from_utf8(value.expect("known")).expect("well-formed"))
    }

    pub fn answer(&self, text: &str, challenged: &str) -> String {
        again(&text.replacen("Call-ID:", &format!("{}Call-ID:", self.credentials(text, challenged)), 1))
    }
}

/// The same in a transaction of its own.
pub fn again(text: &str) -> String {
    let cseq = header(text, "CSeq");
    let (number, method) = cseq.split_once(' ').expect("well-formed");
    let next = format!("CSeq: {} {method}", number.parse::<u32>().expect("well-formed") + 1);
    text.replace(&format!("CSeq: {cseq}"), &next).replacen("branch=z9hG4bK", "branch=z9hG4bKx", 1)
}

/// The phone's first request, and the challenge that came.
#[track_caller]
pub fn challenged(world: &mut World, phone: &Actor, text: &str) -> String {
    world.send(phone, text);
    let came = world.take(phone);
    assert_eq!(came.len(), 1, "{came:#?}");
    let status = if text.starts_with("REGISTER") { "SIP/2.0 401 " } else { "SIP/2.0 407 " };
    assert!(came[0].starts_with(status), "{}", came[0]);
    world.expect_nothing(&Actor::pbx());
    came[0].clone()
}

#[test]
fn a_phone_registers_and_calls_with_a_password_and_the_pbx_sees_none_of_it() {
    let (mut world, phone, pbx) = (world(), phone(), Actor::pbx());
    let text = register_text(&phone, "alice");
    let asked = challenged(&mut world, &phone, &text);
    let offered: Vec<&str> = headers(&asked, "WWW-Authenticate");
    assert!(
        offered[0].contains("algorithm=SHA-256,") && offered[1].contains("algorithm=MD5,"),
        "{offered:?}"
    );
    world.send(&phone, ALICE.answer(&text, &asked));
    let seen = world.expect(&pbx, "REGISTER");
    assert!(headers(&seen, "Authorization").is_empty(), "{seen}");
    let contact = header(&seen, "Contact").to_string();
    world.send(&pbx, response(&seen, "200 OK", "r", &format!("Contact: {contact};expires=300\r\n"), ""));
    world.expect(&phone, "SIP/2.0 200");
    assert_eq!(world.status().registrations, 1);

    let invite = invite_text(&phone, "alice");
    let asked = challenged(&mut world, &phone, &invite);
    world.send(&phone, ua::ack_of(&asked));
    let invite = Login { choice: 1, ..ALICE }.answer(&invite, &asked);
    world.send(&phone, &invite);
    world.expect(&phone, "SIP/2.0 100");
    let seen = world.expect(&pbx, "INVITE");
    assert!(headers(&seen, "Proxy-Authorization").is_empty(), "{seen}");
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 200");
    let mut a = Leg::caller(&phone, &invite, &came);
    // RFC 3261 §22.1: the ACK repeats the credentials.
    let repeated = format!("Proxy-Authorization: {}\r\nCall-ID:", header(&invite, "Proxy-Authorization"));
    world.send(&phone, a.request("ACK", "").replacen("Call-ID:", &repeated, 1));
    let ack = world.expect(&pbx, "ACK");
    assert!(headers(&ack, "Proxy-Authorization").is_empty(), "{ack}");
    hang_up(&mut world, &mut a, &pbx);
    assert_eq!(&*world.cdrs()[0].from, "alice");
    assert!(world.refused().is_empty(), "to be asked is no refusal: {:?}", world.refused());
    world.assert_clean();
}

#[test]
fn everything_outside_dialogs_is_asked_for_a_password_statelessly() {
    let (mut world, phone) = (world(), phone());
    for method in ["INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "OPTIONS", "NOTIFY", "INFO"] {
        let text = request(&phone, method, "sip:100@example.com", "alice", "", "");
        challenged(&mut world, &phone, &text);
    }
    assert_eq!((world.status().server_transactions, world.edge.poll_timeout()), (0, None));
    let invite = invite_text(&phone, "alice");
    world.send(&phone, &invite);
    world.take(&phone);
    world.send(&phone, cancel_of(&invite));
    world.expect(&phone, "SIP/2.0 481");
    world.expect_nothing(&Actor::pbx());
}

#[test]
fn the_pbx_calls_a_phone_that_registered_with_a_password() {
    let (mut world, phone, pbx) = (world(), phone(), Actor::pbx());
    let text = register_text(&phone, "alice");
    let asked = challenged(&mut world, &phone, &text);
    world.send(&phone, ALICE.answer(&text, &asked));
    let seen = world.expect(&pbx, "REGISTER");
    let contact = header(&seen, "Contact").to_string();
    world.send(&pbx, response(&seen, "200 OK", "r", &format!("Contact: {contact};expires=300\r\n"), ""));
    world.take(&phone);
    world.send(&pbx, request(&pbx, "INVITE", ua::uri_in(&contact), "100", "", &sdp("10.20.0.20", 7_000)));
    world.expect(&phone, "INVITE");
}

#[test]
fn the_pbx_may_ask_for_a_password_of_its_own() {
    let (mut world, phone, pbx) = (world(), phone(), Actor::pbx());
    let text = register_text(&phone, "alice");
    let asked = challenged(&mut world, &phone, &text);
    let second = ALICE.answer(&text, &asked);
    world.send(&phone, &second);
    let seen = world.expect(&pbx, "REGISTER");
    let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"1\"\r\n";
    world.send(&pbx, response(&seen, "401 Unauthorized", "r", challenge, ""));
    let both = world.expect(&phone, "SIP/2.0 401");
    assert_eq!(headers(&both, "WWW-Authenticate"), ["Digest realm=\"pbx\", nonce=\"1\""]);
    let ours = Login { count: 2, ..ALICE }.credentials(&text, &asked);
    let theirs =
        "Authorization: Digest username=\"alice\", realm=\"pbx\", nonce=\"1\", uri=\"x\", response=\"y\"\r\n";
    let third = again(&again(&text)).replacen("Call-ID:", &format!("{theirs}{ours}Call-ID:"), 1);
    world.send(&phone, third);
    let seen = world.expect(&pbx, "REGISTER");
    assert_eq!(format!("Authorization: {}\r\n", header(&seen, "Authorization")), theirs);
    assert_eq!(headers(&seen, "Authorization").len(), 1);
}

/// `users` may be there for TURN alone, and the PBX's realm is often the same.
#[test]
fn where_the_pbx_asks_credentials_pass_whatever_their_realm() {
    let mut world = World::with(|settings| settings.users = users(&["alice"]));
    let phone = phone();
    let theirs = "Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"1\", uri=\"x\", response=\"y\"\r\n";
    world.send(&phone, register_text(&phone, "alice").replacen("Call-ID:", &format!("{theirs}Call-ID:"), 1));
    let seen = world.expect(&Actor::pbx(), "REGISTER");
    assert_eq!(format!("Authorization: {}\r\n", header(&seen, "Authorization")), theirs);
}

#[test]
fn who_has_shown_a_password_speaks_for_himself_only() {
    let (mut world, phone) = (world(), phone());
    for text in [
        register_text(&phone, "bob"),
        register_text(&phone, "alice").replace("To: <sip:alice@", "To: <sip:bob@"),
        register_text(&phone, "anonymous"),
        invite_text(&phone, "bob"),
        invite_text(&phone, "Alice"),
    ] {
        let asked = challenged(&mut world, &phone, &text);
        world.send(&phone, ALICE.answer(&text, &asked));
        world.expect(&phone, "SIP/2.0 403");
        world.expect_nothing(&Actor::pbx());
    }
    assert!(world.refused().iter().all(|refused| &*refused.rule == "caller is not the registered user"));
    let text = invite_text(&phone, "anonymous");
    let asked = challenged(&mut world, &phone, &text);
    world.send(&phone, ALICE.answer(&text, &asked));
    world.expect(&Actor::pbx(), "INVITE");
}

#[test]
fn an_answer_is_good_once_and_its_nonce_for_a_while_and_for_its_source() {
    let (mut world, phone) = (world(), phone());
    let text = message_text(&phone, "alice");
    let asked = challenged(&mut world, &phone, &text);
    let right = ALICE.answer(&text, &asked);
    world.send(&phone, &right);
    delivered(&mut world, &phone);
    let stale = challenged(&mut world, &phone, &again(&right));
    assert!(header(&stale, "Proxy-Authenticate").ends_with(", stale=true"), "a replay: {stale}");
    world.send(&phone, Login { count: 2, ..ALICE }.answer(&again(&text), &asked));
    delivered(&mut world, &phone);

    let thief = Actor::tls_phone(2, "192.0.2.66:40000");
    let stolen = Login { count: 3, ..ALICE }.answer(&again(&again(&text)), &asked);
    let stale = challenged(&mut world, &thief, &stolen);
    assert!(header(&stale, "Proxy-Authenticate").ends_with(", stale=true"), "{stale}");
    world.pass(Duration::from_secs(301));
    let text = message_text(&phone, "alice");
    let late = Login { count: 4, ..ALICE }.answer(&text, &asked);
    let stale = challenged(&mut world, &phone, &late);
    assert!(header(&stale, "Proxy-Authenticate").ends_with(", stale=true"), "{stale}");
    world.send(&phone, ALICE.answer(&text, &stale));
    delivered(&mut world, &phone);
    assert!(world.refused().is_empty());
}

#[test]
fn after_a_restart_what_was_answered_before_is_not_answered_again() {
    let (mut before, phone) = (world(), phone());
    let text = invite_text(&phone, "alice");
    let asked = challenged(&mut before, &phone, &text);
    let right = ALICE.answer(&text, &asked);
    before.send(&phone, &right);
    before.expect(&Actor::pbx(), "INVITE");
    before.pass(Duration::from_secs(1));
    let mut after = world();
    after.now = before.now;
    after.edge.start(after.now);
    let stale = challenged(&mut after, &phone, &right);
    assert!(header(&stale, "Proxy-Authenticate").ends_with(", stale=true"), "{stale}");
}

#[test]
fn an_answer_for_another_uri_or_another_request_is_none() {
    let (mut world, phone) = (world(), phone());
    let text = invite_text(&phone, "alice");
    let asked = challenged(&mut world, &phone, &text);
    let right = ALICE.answer(&text, &asked);
    for wrong in [
        right.replace("INVITE sip:100@", "INVITE sip:+882999@"),
        right.replace("100@example.com", "+882999@example.com"),
        right.replace("qop=auth, nc=00000001, cnonce", "x"),
        right.replace("algorithm=SHA-256", "algorithm=SHA-512-256"),
        right.replace("realm=\"example.com\"", "realm=\"elsewhere\""),
        right.replace("username=\"alice\"", "username=\"bob\""),
        right.replace("INVITE", "MESSAGE"),
    ] {
        challenged(&mut world, &phone, &wrong);
    }
    world.send(&phone, right);
    world.expect(&Actor::pbx(), "INVITE");
}

#[test]
fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let (mut world, phone) = (world(), phone());
    let mut answers = Vec::new();
    for (user, password) in [("alice", "wrong"), ("nobody", "wrong"), ("nobody", PASSWORD)] {
        for text in [register_text(&phone, "x"), invite_text(&phone, "x")] {
            let asked = challenged(&mut world, &phone, &text);
            let tried = Login { user, password, ..ALICE }.answer(&text, &asked);
            let came = challenged(&mut world, &phone, &tried);
            let nonce = |text: &str| text.split("nonce=\"").nth(1).expect("well-formed")[..32].to_string();
            let ids = ["Via", "From", "To", "Call-ID"].map(|name| header(&came, name).to_string());
            answers.push(ids.iter().fold(came.replace(&nonce(&came), "N"), |text, id| text.replace(id, "")));
        }
    }
    assert!(answers.chunks(2).all(|pair| pair == &answers[..2]), "{answers:#?}");
    assert!(!answers.concat().contains("stale"));
    let refused = world.refused();
    assert_eq!(refused.len(), 6);
    assert!(refused.iter().all(|refused| &*refused.rule == "wrong password"), "{refused:?}");
}

#[test]
fn where_a_user_has_no_sha_256_everybody_is_asked_for_md5() {
    let mut world = world_of_ha1();
    let phone = phone();
    let asked = challenged(&mut world, &phone, &register_text(&phone, "carol"));
    assert_eq!(headers(&asked, "WWW-Authenticate").len(), 1);
    assert!(header(&asked, "WWW-Authenticate").contains("algorithm=MD5"));
    let text = register_text(&phone, "carol");
    world.send(&phone, Login { user: "carol", ..ALICE }.answer(&text, &asked));
    world.expect(&Actor::pbx(), "REGISTER");
}

fn world_of_ha1() -> World {
    World::with(|settings| {
        settings.zones[0].admit = Admit::Authenticated;
        let Secret::Hashed { md5, .. } = Secret::of_password("carol", REALM, PASSWORD) else {
            unreachable!()
        };
        let carol = ("carol".into(), Secret::Hashed { md5, sha256: None });
        let alice = ("alice".into(), Secret::of_password("alice", REALM, PASSWORD));
        settings.users = Users::new(REALM, [carol, alice]);
    })
}

/// Tries passwords for alice; is the right one let in after so many wrong ones?
fn guesses(world: &mut World, thief: &Actor, wrong: usize) -> bool {
    let text = message_text(thief, "alice");
    let asked = challenged(world, thief, &text);
    for count in 1..=wrong as u32 {
        let tried = Login { password: "guess", count, ..ALICE }.answer(&message_text(thief, "alice"), &asked);
        challenged(world, thief, &tried);
    }
    let text = message_text(thief, "alice");
    world.send(thief, Login { count: wrong as u32 + 1, ..ALICE }.answer(&text, &asked));
    let came = world.take(&Actor::pbx());
    came.iter().for_each(|seen| world.send(&Actor::pbx(), response(seen, "200 OK", "m", "", "")));
    world.take(thief);
    !came.is_empty()
}

#[test]
fn guessing_is_slowed_down_and_locks_nobody_else_out() {
    let mut world = world();
    let (owner, thief) = (phone(), Actor::tls_phone(2, "198.18.0.1:40000"));
    assert!(guesses(&mut world, &owner, 0), "the owner");
    assert!(!guesses(&mut world, &thief, 20), "the right password behind twenty wrong ones is not looked at");
    assert!(guesses(&mut world, &owner, 2), "the owner's own source");
    for n in 2..30 {
        let other = Actor::tls_phone(n + 100, &format!("198.18.0.{n}:40000"));
        assert!(!guesses(&mut world, &other, 1), "a user is guessed at from many addresses: one try each");
    }
    let reconnected = Actor::tls_phone(500, "192.0.2.7:50000");
    assert!(guesses(&mut world, &reconnected, 1), "the owner on a new connection");
    let moved = Actor::tls_phone(501, "192.0.2.200:50000");
    assert!(guesses(&mut world, &moved, 0), "the owner in another place");
    world.pass(Duration::from_secs(120));
    assert!(guesses(&mut world, &thief, 0), "it is a brake, not a ban");
}

/// With this rule alone; alice is the only user.
fn world_under(stages: Vec<Stage>, rule: Rule) -> World {
    let policy = Policy {
        name: "policy".into(),
        mode: Mode::Enforce,
        stages,
        rules: vec![rule],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    };
    let mut settings = super::world::settings();
    settings.zones[0].admit = Admit::Authenticated;
    settings.users = users(&["alice"]);
    World::under(policy, settings)
}

/// Over UDP too: an answer to a nonce of ours shows that the source is not forged.
#[test]
fn policy_counts_wrong_passwords_and_bans_who_guesses() {
    let rate = Rate { events: 5, per: Duration::from_secs(600), burst: 5 };
    let guessing = Rule {
        name: "floods / guessing".into(),
        when: Vec::new(),
        count: Some(Count { per: Per::Source, limits: vec![Limit::FailedLogins(rate)], deck: None }),
        answer: Answer {
            verdict: Some(Verdict::Refuse(Action::Drop)),
            ban: Some(Duration::from_secs(3_600)),
            ..Answer::default()
        },
        written: Default::default(),
    };
    let mut world = world_under(vec![Stage::Registrations, Stage::Calls], guessing);
    let (thief, owner) = (Actor::udp_phone("198.18.0.1:5060"), Actor::udp_phone("192.0.2.7:5060"));
    let asked = challenged(&mut world, &thief, &register_text(&thief, "alice"));
    let mut answered = 0;
    for count in 1..=20 {
        let guess = Login { password: "guess", count, ..ALICE };
        world.send(&thief, guess.answer(&register_text(&thief, "alice"), &asked));
        answered += world.take(&thief).len();
    }
    assert!((4..=6).contains(&answered), "{answered}");
    let listener = thief.source.listener;
    assert!(world.edge.refuses_packet(thief.address().ip(), listener, world.now), "banned");
    assert!(!world.edge.refuses_packet(owner.address().ip(), listener, world.now));
    let text = register_text(&owner, "alice");
    let asked = challenged(&mut world, &owner, &text);
    world.send(&owner, ALICE.answer(&text, &asked));
    world.expect(&Actor::pbx(), "REGISTER");
}

#[test]
fn a_rule_bans_the_user_whose_password_was_shown_and_nobody_whom_a_stranger_names() {
    let refused = Verdict::Refuse(Action::Reject { status: 403, reason: "Forbidden".into() });
    let answer =
        Answer { verdict: Some(refused), ban_user: Some(Duration::from_secs(3_600)), ..Answer::default() };
    let stolen = Rule {
        name: "toll / stolen".into(),
        when: Vec::new(),
        count: None,
        answer,
        written: Default::default(),
    };
    let mut world = world_under(vec![Stage::Calls], stolen);
    let (thief, owner) = (Actor::udp_phone("198.18.0.1:5060"), Actor::tls_phone(8, "192.0.2.7:5061"));
    let text = invite_text(&thief, "alice");
    let asked = challenged(&mut world, &thief, &text);
    world.send(&thief, Login { password: "guess", ..ALICE }.answer(&text, &asked));
    world.take(&thief);
    assert!(world.edge.bans(world.now).is_empty(), "whoever names alice bans nobody");

    let asked = challenged(&mut world, &thief, &text);
    world.send(&thief, ALICE.answer(&text, &asked));
    world.expect(&thief, "SIP/2.0 403");
    let [ban] = world.edge.bans(world.now).try_into().unwrap();
    assert_eq!((ban.banned.to_string(), &*ban.reason), ("user:alice".to_owned(), "toll / stolen"));
    let text = register_text(&owner, "alice");
    let asked = challenged(&mut world, &owner, &text);
    world.send(&owner, ALICE.answer(&text, &asked));
    world.expect(&owner, "SIP/2.0 403");
    assert!(world.take(&Actor::pbx()).is_empty());
}

#[test]
fn a_forged_source_is_sent_few_challenges_and_small_ones() {
    let mut world = world();
    let victim = Actor::udp_phone("192.0.2.99:5060");
    let text = register_text(&victim, "alice");
    world.send(&victim, &text);
    let answer = world.expect(&victim, "SIP/2.0 401");
    assert!(answer.len() <= 2 * text.len(), "{} bytes for {}", answer.len(), text.len());
    let answered = |world: &mut World, actor: &Actor| {
        (0..500).for_each(|_| world.send(actor, register_text(actor, "alice")));
        world.take(actor).len()
    };
    assert_eq!(answered(&mut world, &victim), 199);
    assert_eq!(answered(&mut world, &Actor::udp_phone("192.0.2.100:5060")), 200);
    assert_eq!(answered(&mut world, &phone()), 500, "who has shaken hands is no victim");
    world.expect_nothing(&Actor::pbx());
}
