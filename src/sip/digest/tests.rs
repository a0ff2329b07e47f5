use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::{NodeKey, UnixTime};

fn password(text: &str) -> Secret {
    Secret::Password(text.into())
}

/// RFC 7616 §3.9.1: the same request under both algorithms.
const EXAMPLES: [(&str, &str); 2] = [
    ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
];

fn example(algorithm: &str, response: &str) -> String {
    format!(
        "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm={algorithm}, \
         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
         cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    )
}

#[test]
fn the_examples_of_rfc_7616() {
    for (algorithm, response) in EXAMPLES {
        let value = example(algorithm, response);
        let credentials = Credentials::parse(value.as_bytes()).unwrap();
        assert_eq!((credentials.user, credentials.count), (&b"Mufasa"[..], Some(1)));
        assert!(credentials.verify(&password("Circle of Life"), b"GET", b""), "{algorithm}");
        assert!(!credentials.verify(&password("Circle of Lice"), b"GET", b""));
        assert!(!credentials.verify(&password("Circle of Life"), b"POST", b""));
    }
}

#[test]
fn a_known_ha1_will_do() {
    let (_, response) = EXAMPLES[1];
    let value = example("MD5", response);
    let ha1 = Md5::digest(b"Mufasa:http-auth@example.org:Circle of Life");
    let secret = Secret::Hashed { md5: ha1.into(), sha256: None };
    assert!(Credentials::parse(value.as_bytes()).unwrap().verify(&secret, b"GET", b""));
    let (_, response) = EXAMPLES[0];
    let value = example("SHA-256", response);
    assert!(!Credentials::parse(value.as_bytes()).unwrap().verify(&secret, b"GET", b""), "not known");
}

/// RFC 2617 §3.5 without qop, the way of RFC 2069, which old registrars still speak.
#[test]
fn without_qop() {
    let challenge =
        b"Digest realm=\"biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc\"";
    let challenge = Challenge::parse(challenge).unwrap();
    let asked = Asked { method: b"REGISTER", uri: b"sip:biloxi.com", body: b"", count: 1, cnonce: 7 };
    let answer = challenge.answer("bob", &password("zanzibar"), &asked).unwrap();
    let text = String::from_utf8(answer.clone()).unwrap();
    assert!(
        text.contains("opaque=\"5ccc\"") && !text.contains("nc=") && !text.contains("algorithm"),
        "{text}"
    );
    let credentials = Credentials::parse(&answer).unwrap();
    assert_eq!(credentials.count, None);
    assert!(credentials.verify(&password("zanzibar"), b"REGISTER", b""));
}

#[test]
fn what_we_answer_we_would_accept() {
    for (algorithm, qop) in [
        ("", ", qop=\"auth\""),
        (", algorithm=MD5", ", qop=\"auth-int,auth\""),
        (", algorithm=md5-sess", ", qop=\"auth-int\""),
        (", algorithm=SHA-256", ", qop=\"auth\""),
        (", algorithm=SHA-256-sess", ", qop=\"auth, auth-int\""),
        (", algorithm=SHA-512-256", ""),
    ] {
        let value = format!("digest  realm=\"a \\\"b\\\" c\",nonce=\"n,1\" , stale = TRUE{algorithm}{qop}");
        let challenge = Challenge::parse(value.as_bytes()).unwrap();
        assert!(challenge.stale);
        let asked =
            Asked { method: b"INVITE", uri: b"sip:bob@biloxi.com", body: b"v=0", count: 0x2a, cnonce: 99 };
        let answer = challenge.answer("alice", &password("secret"), &asked).unwrap();
        let credentials = Credentials::parse(&answer).unwrap();
        let right = |secret: &str, body: &[u8]| credentials.verify(&password(secret), b"INVITE", body);
        assert!(right("secret", b"v=0") && !right("Secret", b"v=0"), "{value}");
        assert_eq!(right("secret", b"v=1"), !qop.ends_with("\"auth-int\""), "{value}");
        assert_eq!(credentials.count, (!qop.is_empty()).then_some(0x2a));
    }
}

#[test]
fn what_cannot_be_answered() {
    for value in [
        "Basic realm=\"a\"",
        "Digest",
        "Digestrealm=\"a\", nonce=\"b\"",
        "Digest realm=\"a\"",
        "Digest nonce=\"a\"",
        "Digest realm=\"a\", nonce=\"\"",
        "Digest realm=\"a\", nonce=\"b\", algorithm=AKAv1-MD5",
        "Digest realm=\"a\", nonce=\"b\", qop=\"mutual\"",
        "Digest realm=\"a\", nonce=\"b\", algorithm=MD5-sess",
        "Digest realm=\"a\", realm=\"c\", nonce=\"b\"",
        "Digest realm=\"a, nonce=\"b\"",
    ] {
        assert_eq!(Challenge::parse(value.as_bytes()), None, "{value}");
    }
    let long = format!("Digest realm=\"a\", nonce=\"{}\"", "n".repeat(600));
    assert_eq!(Challenge::parse(long.as_bytes()), None);
}

#[test]
fn broken_credentials() {
    let good = example("MD5", EXAMPLES[1].1);
    for (from, to) in [
        ("nc=00000001, ", ""),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=+0000001"),
        ("qop=auth", "qop=auth2"),
        ("username=\"Mufasa\"", "username=\"Mufasa\", username=\"Scar\""),
        ("Digest", "Bearer"),
        ("response=", "answer="),
    ] {
        let value = good.replacen(from, to, 1);
        let accepted = Credentials::parse(value.as_bytes())
            .is_some_and(|credentials| credentials.verify(&password("Circle of Life"), b"GET", b""));
        assert!(!accepted, "{from} → {to}");
    }
}

#[test]
fn a_nonce_is_good_for_its_source_and_time() {
    let nonces = Nonces::new(NodeKey::new([1; 16]), Duration::from_secs(300));
    let at = |seconds| UnixTime(Duration::from_secs(seconds));
    let [here, there]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
    let nonce = nonces.mint(here, 5, at(1_000));
    assert!(matches!(nonces.recognise(nonce.as_bytes(), here, at(1_300)), Presented::Fresh(_)));
    assert!(matches!(
        nonces.recognise(nonce.as_bytes(), "::ffff:192.0.2.1".parse().unwrap(), at(1_000)),
        Presented::Fresh(_)
    ));
    assert_eq!(nonces.recognise(nonce.as_bytes(), here, at(1_301)), Presented::Stale);
    assert_eq!(nonces.recognise(nonce.as_bytes(), there, at(1_000)), Presented::Stale);
    let other = Nonces::new(NodeKey::new([2; 16]), Duration::from_secs(300));
    assert_eq!(other.recognise(nonce.as_bytes(), here, at(1_000)), Presented::Foreign);
    for foreign in [&b""[..], b"x", b"zz00000000000000000000000000zzzz", &nonce.as_bytes()[1..]] {
        assert_eq!(nonces.recognise(foreign, here, at(1_000)), Presented::Foreign);
    }
    assert_ne!(nonce, nonces.mint(here, 6, at(1_000)));
}

#[test]
fn an_answer_is_good_once() {
    let mut replays = Replays::new(2);
    assert!(replays.accept(10, 1) && replays.accept(10, 3));
    assert!(!replays.accept(10, 3) && !replays.accept(10, 2) && replays.accept(10, 4));
    assert!(replays.accept(11, 1) && replays.accept(12, 1), "full: the oldest goes");
    assert!(!replays.accept(10, 5), "it is forgotten, so nothing can be told of it");
    assert!(!replays.accept(9, 1), "older than what is forgotten");
    assert!(!replays.accept(12, 1) && replays.accept(13, 1));
}

#[test]
fn a_secret_is_never_printed() {
    assert_eq!(format!("{:?}", password("hunter2")), "Secret(…)");
}

proptest! {
    #[test]
    fn no_bytes_upset_the_readers(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Challenge::parse(&value);
        let _ = Credentials::parse(&value);
        let digest = [b"Digest ", &value[..]].concat();
        let _ = Challenge::parse(&digest);
        let _ = Credentials::parse(&digest);
    }
}
