//! Carriers that ask who we are.

use turnpike::edge::event::Event;
use turnpike::edge::settings::Auth;
use turnpike::sip::digest::{Credentials, Secret};

use super::ua::{Leg, answer, header, headers, request, response, sdp};
use super::world::{Actor, World};

const PASSWORD: &str = "tango";
const CHALLENGE: &str = "Digest realm=\"acme.example\", nonce=\"n1\", qop=\"auth\", algorithm=MD5";

fn secret() -> Secret {
    Secret::Password(PASSWORD.into())
}

/// A world in which the first carrier knows us.
fn world() -> World {
    World::with(|settings| {
        settings.trunks[0].auth = Some(Auth { username: "acct42".into(), secret: secret() });
    })
}

fn challenge(request: &str, status: &str, challenge: &str) -> String {
    let name = if status.starts_with("407") { "Proxy-Authenticate" } else { "WWW-Authenticate" };
    response(request, status, "x", &format!("{name}: {challenge}\r\n"), "")
}

fn cseq(message: &str) -> u32 {
    header(message, "CSeq").split(' ').next().unwrap().parse().unwrap()
}

/// Whether the credentials of this request are right; their count.
fn login(request: &str, name: &str) -> (bool, Option<u32>) {
    let value = header(request, name).as_bytes();
    let credentials = Credentials::parse(value).expect("credentials");
    let method = request.split(' ').next().unwrap();
    assert_eq!(credentials.uri, super::ua::request_uri(request).as_bytes(), "RFC 7616 §3.4.6");
    (
        credentials.verify(&secret(), method.as_bytes(), b"") && credentials.user == b"acct42",
        credentials.count,
    )
}

#[test]
fn a_carrier_that_asks_is_answered_and_the_pbx_hears_nothing_of_it() {
    for status in ["401 Unauthorized", "407 Proxy Authentication Required"] {
        let name = if status.starts_with("407") { "Proxy-Authorization" } else { "Authorization" };
        let mut world = world();
        let (pbx, acme) = (Actor::pbx(), Actor::carrier());
        let invite = request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", &sdp("10.20.0.20", 7_000));
        world.send(&pbx, &invite);
        let first = world.expect(&acme, "INVITE");
        assert!(headers(&first, name).is_empty());
        world.send(&acme, challenge(&first, status, CHALLENGE));
        let came = world.take(&acme);
        let [ack, second] = &came[..] else { panic!("{came:#?}") };
        assert!(ack.starts_with("ACK ") && second.starts_with("INVITE "), "{came:#?}");
        assert_eq!((login(second, name), cseq(second)), ((true, Some(1)), cseq(&first) + 1));
        assert_ne!(header(&first, "Via"), header(second, "Via"), "a new transaction");
        assert_eq!(super::ua::body(&first), super::ua::body(second), "the same offer, the same ports");
        world.send(&acme, answer(&acme, second, "200 OK", "b", &sdp("198.51.100.1", 4_000)));
        let came = world.expect(&pbx, "SIP/2.0 200");
        assert_eq!(
            header(&came, "CSeq"),
            header(&invite, "CSeq"),
            "what the PBX has asked is what is answered"
        );
        let mut a = Leg::caller(&pbx, &invite, &came);
        world.send(&pbx, a.request("ACK", ""));
        let ack = world.expect(&acme, "ACK");
        assert_eq!(cseq(&ack), cseq(second));

        // The carrier asks again at the BYE, with a new nonce.
        world.send(&pbx, a.request("BYE", ""));
        let bye = world.expect(&acme, "BYE");
        assert_eq!((login(&bye, name), cseq(&bye)), ((true, Some(2)), cseq(second) + 1), "beforehand");
        world.send(&acme, challenge(&bye, status, &CHALLENGE.replace("n1\"", "n2\", stale=true")));
        let bye = world.expect(&acme, "BYE");
        assert_eq!((login(&bye, name), cseq(&bye)), ((true, Some(1)), cseq(second) + 2));
        world.send(&acme, response(&bye, "200 OK", "b", "", ""));
        world.expect(&pbx, "SIP/2.0 200");
        world.assert_clean();
    }
}

#[test]
fn a_wrong_password_is_told_and_the_next_carrier_takes_the_call() {
    let mut world = world();
    let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    let first = world.expect(&acme, "INVITE");
    world.send(&acme, challenge(&first, "401 Unauthorized", CHALLENGE));
    let second = world.expect(&acme, "INVITE");
    world.send(&acme, challenge(&second, "401 Unauthorized", &CHALLENGE.replace("n1", "n2")));
    let third = world.expect(&bravo, "INVITE");
    assert!(
        headers(&third, "Authorization").is_empty(),
        "our password at one carrier is nothing for another"
    );
    world.send(&bravo, response(&third, "486 Busy Here", "b", "", ""));
    world.expect(&pbx, "SIP/2.0 486");
    let told =
        world.events.iter().any(|event| matches!(event, Event::LoginRefused { trunk } if &**trunk == "acme"));
    assert!(told);
    world.assert_clean();
}

#[test]
fn a_challenge_that_nobody_can_answer_is_no_loop() {
    for unknown in ["Basic realm=\"x\"", "Digest realm=\"x\", nonce=\"1\", algorithm=AKAv1-MD5"] {
        let mut world = world();
        let (pbx, acme, bravo) = (Actor::pbx(), Actor::carrier(), Actor::second_carrier());
        world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
        let first = world.expect(&acme, "INVITE");
        world.send(&acme, challenge(&first, "401 Unauthorized", unknown));
        let next = world.expect(&bravo, "INVITE");
        world.send(&bravo, response(&next, "486 Busy Here", "b", "", ""));
        world.expect(&pbx, "SIP/2.0 486");
        world.assert_clean();
    }
}

#[test]
fn of_several_challenges_the_first_that_can_be_answered_is() {
    let mut world = world();
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
    let first = world.expect(&acme, "INVITE");
    let both = format!(
        "Digest realm=\"a\", nonce=\"z\", algorithm=X\r\nWWW-Authenticate: {}",
        CHALLENGE.replace("MD5", "SHA-256")
    );
    world.send(&acme, challenge(&first, "401 Unauthorized", &both));
    let second = world.expect(&acme, "INVITE");
    assert!(header(&second, "Authorization").contains("algorithm=SHA-256"));
    assert_eq!(login(&second, "Authorization"), (true, Some(1)));
    world.send(&acme, response(&second, "486 Busy Here", "b", "", ""));
    world.assert_clean();
}

#[test]
fn the_next_call_answers_beforehand() {
    let mut world = world();
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    for count in 1..=3 {
        world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""));
        let mut seen = world.expect(&acme, "INVITE");
        if count == 1 {
            world.send(&acme, challenge(&seen, "407 Proxy Authentication Required", CHALLENGE));
            seen = world.expect(&acme, "INVITE");
        }
        assert_eq!(login(&seen, "Proxy-Authorization"), (true, Some(count)), "RFC 7616 §3.4: counted on");
        world.send(&acme, response(&seen, "486 Busy Here", "b", "", ""));
        world.expect(&pbx, "SIP/2.0 486");
    }
    world.assert_clean();
}
