//! Credentials that are guessed, borrowed or stolen.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use turnpike::base::UnixTime;
use turnpike::stun::{Hash, Key};
use turnpike::turn::credentials::{Ephemeral, SharedSecret};

use super::*;

/// Guesses that one source has at once, and how long the next one takes (`turn::credentials`).
const GUESSES: (usize, Duration) = (20, Duration::from_secs(3));

/// A request signed by `user` with a password.
fn signed(user: &str, password: &str, nonce: &str, method: Method) -> Vec<u8> {
    message(Class::Request, method, 7, |writer| {
        writer.put_requested_transport(17);
        writer.put(Type::USERNAME, user.as_bytes()).put(Type::REALM, REALM.as_bytes());
        writer.put(Type::NONCE, nonce.as_bytes());
        writer.add_integrity(&Key::md5(user, REALM, password), Hash::Sha1);
    })
}

/// The nonce that the server gives this socket.
fn nonce_of(socket: &UdpSocket) -> String {
    socket.send(&message(Class::Request, Method::ALLOCATE, 1, |_| ())).unwrap();
    let challenge = answer(socket);
    Message::parse(&challenge).unwrap().nonce().unwrap().unwrap().to_owned()
}

fn ask(socket: &UdpSocket, request: &[u8]) -> Vec<u8> {
    socket.send(request).unwrap();
    answer(socket)
}

#[test]
fn guessing_is_throttled_per_source_and_nobody_is_locked_out() {
    let attacked = Attacked::new();
    // Alice is on the line, behind the same address as the one who guesses her password.
    let mut alice = attacked.client_at("127.0.0.66", "alice", "alice");
    alice.allocate();
    let began = Instant::now();
    let guesser = attacked.socket_at("127.0.0.66");
    let nonce = nonce_of(&guesser);
    for n in 0..200 {
        guesser.send(&signed("alice", &format!("guess {n}"), &nonce, Method::ALLOCATE)).unwrap();
    }
    settle(&mut alice);
    let answered = answers_waiting(&guesser);
    let due = began.elapsed().as_secs_f64() / GUESSES.1.as_secs_f64();
    assert!(answered <= GUESSES.0 + due as usize + 1, "{answered} guesses were answered");
    assert!(answered > 0);
    // The right password does not help any more, from there.
    guesser.send(&signed("alice", "alice", &nonce, Method::ALLOCATE)).unwrap();
    settle(&mut alice);
    assert_eq!(answers_waiting(&guesser), 0);
    // Elsewhere Alice comes in, and so does everybody else.
    attacked.client_at("127.0.0.67", "alice", "alice").allocate();
    attacked.still_serves();
}

/// Whoever can forge a source cannot spend its owner's guesses: without an answer there is no nonce.
#[test]
fn guesses_in_the_name_of_another_source_cost_it_nothing() {
    let attacked = Attacked::new();
    let mut victim = attacked.client_at("127.0.0.68", "alice", "alice");
    let forger = attacked.socket_at("127.0.0.68");
    let foreign = nonce_of(&attacked.socket_at("127.0.0.66"));
    for nonce in [foreign.as_str(), "", "made up"] {
        for _ in 0..60 {
            forger.send(&signed("alice", "guess", nonce, Method::ALLOCATE)).unwrap();
        }
    }
    victim.allocate();
    attacked.still_serves();
}

#[test]
fn an_unknown_user_and_a_wrong_password_are_told_the_same() {
    let attacked = Attacked::new();
    let told = |user: &str| {
        let socket = attacked.socket_at("127.0.0.66");
        let nonce = nonce_of(&socket);
        let answer = ask(&socket, &signed(user, "wrong", &nonce, Method::ALLOCATE));
        let message = Message::parse(&answer).unwrap();
        let kinds: Vec<Type> = message.attributes().map(|attribute| attribute.kind).collect();
        (code(&answer), answer.len(), kinds)
    };
    assert_eq!(told("alice"), told("nobody"));
    assert_eq!(told("alice").0, 401);
    attacked.still_serves();
}

#[test]
fn the_nonce_of_another_client_is_no_good() {
    let attacked = Attacked::new();
    let nonce = nonce_of(&attacked.socket_at("127.0.0.67"));
    for ip in ["127.0.0.66", "127.0.0.67"] {
        let answer = ask(&attacked.socket_at(ip), &signed("alice", "alice", &nonce, Method::ALLOCATE));
        assert_eq!(code(&answer), 438, "from another port of {ip}");
    }
    for made_up in ["", "0123456789abcdef", &nonce[..nonce.len() - 1], &"x".repeat(700)] {
        let answer =
            ask(&attacked.socket_at("127.0.0.66"), &signed("alice", "alice", made_up, Method::ALLOCATE));
        assert!([438, 401, 400].contains(&code(&answer)), "{made_up}");
    }
    attacked.still_serves();
}

#[test]
fn a_request_that_was_changed_on_its_way_is_401() {
    let attacked = Attacked::new();
    let socket = attacked.socket_at("127.0.0.66");
    let nonce = nonce_of(&socket);
    let good = signed("alice", "alice", &nonce, Method::ALLOCATE);
    for at in 20..good.len() {
        // Within a value: what is left is well formed, and its integrity is wrong.
        let value = Message::parse(&good).unwrap().attributes().any(|attribute| {
            let start = attribute.value.as_ptr() as usize - good.as_ptr() as usize;
            (start..start + attribute.value.len()).contains(&at)
        });
        let mut bad = good.clone();
        bad[at] ^= 1;
        if value && at < good.len() - 24 {
            socket.send(&bad).unwrap();
        }
    }
    let mut honest = attacked.client_at("127.0.0.67", "alice", "alice");
    honest.allocate();
    settle(&mut honest);
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    while let Ok(n) = socket.recv(&mut buffer) {
        assert!([400, 401, 438].contains(&code(&buffer[..n])), "{:?}", &buffer[..n]);
    }
    attacked.still_serves();
}

#[test]
fn an_allocation_of_another_user_is_neither_refreshed_nor_deleted() {
    let attacked = Attacked::new();
    let socket = attacked.socket_at("127.0.0.1");
    let mut alice = TurnClient::new(socket.try_clone().unwrap(), "alice", "alice");
    let (_bob, bob_addr) = turn::peer();
    alice.allocate();
    // The same five-tuple: whoever shares a machine or a connection.
    let mut other = TurnClient::new(socket, "thief", "thief");
    assert_eq!(other.refresh(0), 441);
    assert_eq!(other.refresh(600), 441);
    assert_eq!(other.permit(bob_addr), 441);
    assert_eq!(other.bind(0x4000, bob_addr), 441);
    assert_eq!(alice.refresh(600), 0);
    attacked.still_serves();
}

#[test]
fn expired_and_forged_short_lived_credentials_are_401() {
    let attacked = Attacked::with_turn(|turn| {
        turn.accounts.secrets = [SharedSecret::new(b"the secret")].into_iter().collect()
    });
    let code_of = |secret: &[u8], ago: u64, lifetime: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(ago);
        let lifetime = Duration::from_secs(lifetime);
        let Ephemeral { username, password, .. } =
            SharedSecret::new(secret).issue("mallory", lifetime, UnixTime(now));
        let mut client = attacked.client_at("127.0.0.66", &username, &password);
        client.ask(Method::ALLOCATE, |writer| _ = writer.put_requested_transport(17)).code()
    };
    assert_eq!(code_of(b"the secret", 0, 3600), 0);
    assert_eq!(code_of(b"the secret", 3600, 3500), 401);
    assert_eq!(code_of(b"another secret", 0, 3600), 401);
    attacked.still_serves();
}
