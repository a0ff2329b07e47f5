use std::time::Instant;

use super::*;
use crate::stun::{Class, Method, TransactionId};
use proptest::prelude::*;
use smallvec::SmallVec;

const REALM: &str = "turnpike";
const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Now {
    Now { instant: Instant::now(), unix: UnixTime(Duration::from_secs(1_800_000_000)) }
}

fn source(address: &str) -> Source {
    Source { client: ClientAddr(address.parse().unwrap()), proven: false }
}

fn alice_at() -> Source {
    source("198.51.100.7:5000")
}

fn user(name: &str, password: &str, role: u16) -> User {
    User { name: name.into(), keys: Keys::of_password(name, REALM, password), role: RoleId(role) }
}

fn settings() -> Settings {
    let users = vec![user("alice", "wonderland", 1), user("bob", "builder", 2)];
    Settings { realm: REALM.into(), users, secrets: SmallVec::new(), short_lived_role: RoleId(9) }
}

fn with_secrets(secrets: &[&str]) -> Settings {
    Settings { secrets: secrets.iter().map(|s| SharedSecret::new(s.as_bytes())).collect(), ..settings() }
}

fn credentials(settings: Settings) -> Credentials {
    Credentials::new(Arc::new(Accounts::new(settings, [0x5a; 32])), NodeKey::new([3; 16]))
}

/// What a client sends.
#[derive(Clone)]
struct Client {
    name: Option<String>,
    hash: Option<[u8; 32]>,
    nonce: String,
    listed: Vec<PasswordAlgorithm>,
    chosen: Option<PasswordAlgorithm>,
    key: Key,
    seal: Hash,
}

impl Client {
    fn new(server: &Credentials, name: &str, password: &str, source: Source, now: Now) -> Client {
        Client {
            name: Some(name.into()),
            hash: None,
            nonce: challenge(server, source, now),
            listed: vec![],
            chosen: None,
            key: Key::md5(name, REALM, password),
            seal: Hash::Sha1,
        }
    }

    fn sha256(mut self, name: &str, password: &str) -> Client {
        self.listed = vec![PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];
        self.chosen = Some(PasswordAlgorithm::Sha256);
        self.key = Key::sha256(name, REALM, password);
        self.seal = Hash::Sha256;
        self
    }

    fn request(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut w = Writer::begin(&mut wire, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
        w.put_requested_transport(17);
        if let Some(name) = &self.name {
            w.put(Type::USERNAME, name.as_bytes());
        }
        if let Some(hash) = &self.hash {
            w.put(Type::USERHASH, hash);
        }
        w.put(Type::REALM, REALM.as_bytes()).put(Type::NONCE, self.nonce.as_bytes());
        if !self.listed.is_empty() {
            w.put_password_algorithms(&self.listed);
        }
        if let Some(chosen) = self.chosen {
            w.put_password_algorithm(chosen);
        }
        w.add_integrity(&self.key, self.seal);
        wire
    }

    fn ask(&self, server: &mut Credentials, source: Source, now: Now) -> Result<Granted, Denied> {
        server.authenticate(&Message::parse(&self.request()).unwrap(), source, now)
    }
}

fn bare() -> Vec<u8> {
    let mut wire = Vec::new();
    Writer::begin(&mut wire, Class::Request, Method::ALLOCATE, TransactionId([1; 12]))
        .put_requested_transport(17);
    wire
}

fn challenge(server: &Credentials, source: Source, now: Now) -> String {
    let (request, mut answer) = (bare(), Vec::new());
    let request = Message::parse(&request).unwrap();
    server.refuse(&request, ErrorCode::UNAUTHENTICATED, source.client, now, &mut answer);
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.error_code().unwrap().unwrap().0, ErrorCode::UNAUTHENTICATED);
    assert_eq!(answer.realm().unwrap(), Some(REALM));
    answer.nonce().unwrap().unwrap().to_owned()
}

fn refused(code: ErrorCode) -> Denied {
    Denied::Refuse(code)
}

fn code(outcome: Result<Granted, Denied>) -> u16 {
    match outcome {
        Ok(_) => 200,
        Err(Denied::Refuse(ErrorCode(code))) => code,
        Err(Denied::Silence) => 0,
    }
}

#[test]
fn without_integrity_401_and_with_it_but_less_400() {
    let (now, from) = (now(), alice_at());
    let mut server = credentials(settings());
    let request = bare();
    let denied = server.authenticate(&Message::parse(&request).unwrap(), from, now).unwrap_err();
    assert_eq!(denied, refused(ErrorCode::UNAUTHENTICATED));

    let nonce = challenge(&server, from, now);
    let kinds = [(Type::USERNAME, "alice"), (Type::REALM, REALM), (Type::NONCE, nonce.as_str())];
    for missing in 0..3 {
        let mut wire = Vec::new();
        let mut w = Writer::begin(&mut wire, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
        for (_, (kind, value)) in kinds.iter().enumerate().filter(|(i, _)| *i != missing) {
            w.put(*kind, value.as_bytes());
        }
        w.add_integrity(&Key::md5("alice", REALM, "wonderland"), Hash::Sha1);
        let outcome = server.authenticate(&Message::parse(&wire).unwrap(), from, now);
        assert_eq!(code(outcome), 400, "without {:?}", kinds[missing].0);
    }
}

#[test]
fn md5_and_sha256_are_granted_and_sealed_alike() {
    let (now, from) = (now(), alice_at());
    let mut server = credentials(settings());
    let old = Client::new(&server, "alice", "wonderland", from, now);
    let granted = old.ask(&mut server, from, now).unwrap();
    assert_eq!((&*granted.user, granted.role, granted.hash), ("alice", RoleId(1), Hash::Sha1));
    let new = old.clone().sha256("alice", "wonderland");
    assert_eq!(new.ask(&mut server, from, now).unwrap().hash, Hash::Sha256);
    // RFC 8489 §9.2.4: MD5 key under MESSAGE-INTEGRITY-SHA256 is legal when MD5 was chosen.
    let mixed = Client { seal: Hash::Sha256, ..old };
    assert!(mixed.ask(&mut server, from, now).is_ok());
}

#[test]
fn an_ha1_is_enough_but_offers_no_sha256() {
    // MD5("alice:turnpike:wonderland")
    let ha1 = {
        use md5::{Digest, Md5};
        Md5::digest(b"alice:turnpike:wonderland").into()
    };
    let users = vec![User { name: "alice".into(), keys: Keys::of_ha1(ha1), role: RoleId(1) }];
    let (now, from) = (now(), alice_at());
    let mut server = credentials(Settings { users, ..settings() });
    let client = Client::new(&server, "alice", "wonderland", from, now);
    assert!(client.nonce.starts_with("obMatJos2AAAC"), "{}", client.nonce);
    assert!(client.ask(&mut server, from, now).is_ok());
    assert_eq!(code(client.sha256("alice", "wonderland").ask(&mut server, from, now)), 400);
}

#[test]
fn unknown_user_and_wrong_password_are_answered_alike() {
    let (now, from) = (now(), alice_at());
    let mut server = credentials(settings());
    let mut answers = Vec::new();
    for (name, password) in [("alice", "guess"), ("mallory", "wonderland"), ("", ""), ("1:x", "")] {
        let client = Client::new(&server, name, password, from, now);
        let wire = client.request();
        let message = Message::parse(&wire).unwrap();
        let Err(Denied::Refuse(code)) = server.authenticate(&message, from, now) else { panic!("{name}") };
        let mut answer = Vec::new();
        server.refuse(&message, code, from.client, now, &mut answer);
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn a_nonce_is_bound_to_client_and_hour() {
    let (now, from) = (now(), alice_at());
    let mut server = credentials(settings());
    let client = Client::new(&server, "alice", "wonderland", from, now);
    for elsewhere in ["198.51.100.7:5001", "198.51.100.8:5000", "[2001:db8::7]:5000"] {
        assert_eq!(code(client.ask(&mut server, source(elsewhere), now)), 438);
    }
    // An IPv4 client on a dual-stack socket is the same client.
    assert_eq!(code(client.ask(&mut server, source("[::ffff:198.51.100.7]:5000"), now)), 200);
    for nonce in ["", "obMatJos2AAAD", "obMatJos2AAADAAAAAAAAAAAA", "obMatJos2AAAD????????????", "é"] {
        let forged = Client { nonce: nonce.into(), ..client.clone() };
        assert_eq!(code(forged.ask(&mut server, from, now)), 438, "{nonce}");
    }
    assert_eq!(code(client.ask(&mut server, from, now.after(HOUR))), 200);
    assert_eq!(code(client.ask(&mut server, from, now.after(HOUR + Duration::from_secs(60)))), 438);
    // 256 minutes later the low byte of the minute is the same.
    assert_eq!(code(client.ask(&mut server, from, now.after(Duration::from_secs(256 * 60)))), 438);
}

#[test]
fn a_new_node_key_makes_nonces_stale() {
    let (now, from) = (now(), alice_at());
    let client = Client::new(&credentials(settings()), "alice", "wonderland", from, now);
    let accounts = Arc::new(Accounts::new(settings(), [0; 32]));
    let mut other = Credentials::new(accounts, NodeKey::new([4; 16]));
    assert_eq!(code(client.ask(&mut other, from, now)), 438);
}

#[test]
fn algorithms_cannot_be_bid_down() {
    let (now, from) = (now(), alice_at());
    let mut server = credentials(settings());
    let good = Client::new(&server, "alice", "wonderland", from, now).sha256("alice", "wonderland");
    assert_eq!(code(good.ask(&mut server, from, now)), 200);
    let (md5, sha256) = (PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256);
    let bad: [(Vec<_>, _); 5] = [
        (vec![md5], Some(md5)),
        (vec![md5, sha256], Some(sha256)),
        (vec![sha256, md5, md5], Some(sha256)),
        (vec![sha256, md5], None),
        (vec![], Some(sha256)),
    ];
    for (listed, chosen) in bad {
        let key = Key::md5("alice", REALM, "wonderland");
        let client = Client { listed, chosen, key, ..good.clone() };
        assert_eq!(code(client.ask(&mut server, from, now)), 400);
    }
    // Someone in between struck the offer from the nonce: the nonce is no longer ours.
    let nonce = good.nonce.replacen("AAAD", "AAAA", 1);
    assert_ne!(nonce, good.nonce);
    let stripped = Client { nonce, ..Client::new(&server, "alice", "wonderland", from, now) };
    assert_eq!(code(stripped.ask(&mut server, from, now)), 438);
}

#[test]
fn userhash_finds_the_user() {
    let (now, from) = (now(), alice_at());
    let mut server = credentials(settings());
    let named = Client::new(&server, "bob", "builder", from, now);
    let hashed = Client { name: None, hash: Some(crate::stun::userhash("bob", REALM)), ..named.clone() };
    assert_eq!(&*hashed.ask(&mut server, from, now).unwrap().user, "bob");
    let stranger = Client { hash: Some([9; 32]), ..hashed.clone() };
    assert_eq!(code(stranger.ask(&mut server, from, now)), 401);
    let both = Client { name: named.name, ..hashed };
    assert_eq!(code(both.ask(&mut server, from, now)), 400);
    // Short-lived names have no hash that we could know: then anonymity is not offered.
    assert!(challenge(&server, from, now).starts_with("obMatJos2AAAD"));
    let server = credentials(with_secrets(&["s"]));
    assert!(challenge(&server, from, now).starts_with("obMatJos2AAAB"));
}

#[test]
fn short_lived_credentials_work_until_they_expire() {
    let (now, from) = (now(), alice_at());
    for secret in ["new", "old"] {
        let mut server = credentials(with_secrets(&["new", "old"]));
        let issued = SharedSecret::new(secret.as_bytes()).issue("carol", HOUR / 2, now.unix);
        assert_eq!(issued.username, "1800001800:carol");
        let client = Client::new(&server, &issued.username, &issued.password, from, now);
        let granted = client.ask(&mut server, from, now).unwrap();
        assert_eq!((&*granted.user, granted.role), ("carol", RoleId(9)));
        assert_eq!(granted.expires, Some(UnixTime(Duration::from_secs(1_800_001_800))));
        let sha256 = client.clone().sha256(&issued.username, &issued.password);
        assert!(sha256.ask(&mut server, from, now).is_ok());
        assert_eq!(code(client.ask(&mut server, from, now.after(HOUR / 2))), 401);
    }
    let mut server = credentials(with_secrets(&["new", "old"]));
    let issued = SharedSecret::new(b"stolen").issue("carol", HOUR, now.unix);
    let client = Client::new(&server, &issued.username, &issued.password, from, now);
    assert_eq!(code(client.ask(&mut server, from, now)), 401);
    // The expiry is under the HMAC.
    let issued = SharedSecret::new(b"new").issue("carol", HOUR, now.unix);
    let client = Client::new(&server, "1900000000:carol", &issued.password, from, now);
    assert_eq!(code(client.ask(&mut server, from, now)), 401);
}

#[test]
fn a_user_with_short_lived_credentials_keeps_the_role() {
    let (now, from) = (now(), alice_at());
    let mut server = credentials(with_secrets(&["s"]));
    let issued = SharedSecret::new(b"s").issue("bob", HOUR, now.unix);
    let client = Client::new(&server, &issued.username, &issued.password, from, now);
    let granted = client.ask(&mut server, from, now).unwrap();
    assert_eq!((&*granted.user, granted.role), ("bob", RoleId(2)));
}

#[test]
fn the_password_is_that_of_the_turn_rest_convention() {
    // HMAC-SHA1("north", "1433895918:user"), computed with openssl.
    let secret = SharedSecret::new(b"north");
    let now = UnixTime(Duration::from_secs(1_433_895_918));
    assert_eq!(secret.issue("user", Duration::ZERO, now).password, "/gk4t5tUc08OpM3NjrVjHSFVNmY=");
}

#[test]
fn guessing_ends_in_silence_for_the_guesser_alone() {
    let (now, attacker) = (now(), source("203.0.113.66:4000"));
    let mut server = credentials(settings());
    // The owner sits behind the same address and was right before.
    let owner_at = source("203.0.113.66:6000");
    let owner = Client::new(&server, "alice", "wonderland", owner_at, now);
    assert!(owner.ask(&mut server, owner_at, now).is_ok());
    let guess = Client::new(&server, "alice", "guess", attacker, now);
    let codes: Vec<u16> = (0..40).map(|_| code(guess.ask(&mut server, attacker, now))).collect();
    assert_eq!(codes.iter().filter(|c| **c == 401).count(), 20);
    assert!(codes[20..].iter().all(|c| *c == 0));
    // Even the right password tells the guesser nothing now.
    let lucky = Client::new(&server, "alice", "wonderland", attacker, now);
    assert_eq!(code(lucky.ask(&mut server, attacker, now)), 0);
    assert!(owner.ask(&mut server, owner_at, now).is_ok());
    let elsewhere = alice_at();
    let roaming = Client::new(&server, "alice", "wonderland", elsewhere, now);
    assert!(roaming.ask(&mut server, elsewhere, now).is_ok());
    assert_eq!(code(lucky.ask(&mut server, attacker, now.after(Duration::from_secs(3)))), 200);
}

#[test]
fn a_forged_source_cannot_lock_its_owner_out() {
    let now = now();
    let mut server = credentials(settings());
    let forged = Client::new(&server, "alice", "guess", alice_at(), now);
    let forged = Client { nonce: "obMatJos2AAADAAAAAAAAAAAA".into(), ..forged };
    for _ in 0..1000 {
        let outcome = forged.ask(&mut server, alice_at(), now);
        assert!(matches!(code(outcome), 438 | 0));
    }
    let owner = Client::new(&server, "alice", "wonderland", alice_at(), now);
    assert!(owner.ask(&mut server, alice_at(), now).is_ok());
}

#[test]
fn challenges_to_one_unproven_source_are_few() {
    let now = now();
    let mut server = credentials(settings());
    let request = bare();
    let request = Message::parse(&request).unwrap();
    let mut answered =
        |from: Source| (0..1000).filter(|_| code(server.authenticate(&request, from, now)) == 401).count();
    assert_eq!(answered(source("192.0.2.1:1")), 200);
    assert_eq!(answered(source("192.0.2.1:2")), 0);
    assert_eq!(answered(source("[2001:db8:0:1::1]:1")), 200);
    assert_eq!(answered(source("[2001:db8:0:1::2]:1")), 0, "one /64");
    assert_eq!(answered(Source { proven: true, ..source("192.0.2.1:1") }), 1000);
}

#[test]
fn a_challenge_is_at_most_twice_the_smallest_allocate_on_the_wire() {
    let (now, from) = (now(), alice_at());
    let server = credentials(settings());
    let (request, mut answer) = (bare(), Vec::new());
    server.refuse(
        &Message::parse(&request).unwrap(),
        ErrorCode::UNAUTHENTICATED,
        from.client,
        now,
        &mut answer,
    );
    let on_wire = |stun: &[u8]| stun.len() + 28;
    assert!(on_wire(&answer) <= 2 * on_wire(&request), "{} to {}", on_wire(&request), on_wire(&answer));
}

#[test]
fn secrets_are_not_shown() {
    let now = now();
    let server = credentials(with_secrets(&["hunter2"]));
    let issued = SharedSecret::new(b"hunter2").issue("carol", HOUR, now.unix);
    let shown = format!("{server:?} {issued:?} {:?} {:?}", settings(), with_secrets(&["hunter2"]));
    for secret in ["hunter2", "wonderland", &issued.password] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("SharedSecret(…)") && shown.contains("Key(…)"), "{shown}");
}

proptest! {
    #[test]
    fn no_request_panics(attributes in proptest::collection::vec((0u16..0x30, ".{0,60}"), 0..8), optional in 0x8000u16..0x8003) {
        let now = now();
        let mut server = credentials(with_secrets(&["s"]));
        let mut wire = Vec::new();
        let mut w = Writer::begin(&mut wire, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
        let nonce = challenge(&server, alice_at(), now);
        w.put(Type::NONCE, nonce.as_bytes()).put(Type::REALM, REALM.as_bytes());
        for (kind, value) in &attributes {
            w.put(Type(*kind), value.as_bytes());
        }
        w.put(Type(optional), b"x").add_integrity(&Key::short_term("x"), Hash::Sha1);
        let message = Message::parse(&wire).unwrap();
        prop_assert!(server.authenticate(&message, alice_at(), now).is_err());
    }

    #[test]
    fn what_is_issued_is_granted(secret in proptest::collection::vec(any::<u8>(), 1..80), name in "[^:]{1,40}", seconds in 1u64..100_000) {
        let (now, from) = (now(), alice_at());
        let secret = SharedSecret::new(&secret);
        let mut server = credentials(Settings { secrets: SmallVec::from_iter([secret.clone()]), ..settings() });
        let issued = secret.issue(&name, Duration::from_secs(seconds), now.unix);
        let client = Client::new(&server, &issued.username, &issued.password, from, now);
        let granted = client.ask(&mut server, from, now).unwrap();
        prop_assert_eq!(&*granted.user, name.as_str());
    }
}
