//! Both endpoints do ICE (DESIGN.md §4: how a check travels in append mode), and strangers race them: RTP bleed and inject,
//! forged checks, a ClientHello (CVE-2023-49786, CVE-2023-51443).

use turnpike::stun::{Class, Hash, Key, Message, Method, TransactionId, Type, Writer};

use super::*;

const PHONE: &str = "alfa";
const OFFICE: &str = "bravo";

fn password(name: &str) -> String {
    name.repeat(6)
}

fn with_ice(endpoint: &Endpoint, name: &str) -> String {
    endpoint.sdp() + &format!("a=ice-ufrag:{name}\r\na=ice-pwd:{}\r\n", password(name))
}

/// A check of `from` to `to` (RFC 8445 §7.2.2), under a password.
fn check(number: u8, from: &str, to: &str, password: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::begin(&mut bytes, Class::Request, Method::BINDING, TransactionId([number; 12]))
        .put(Type::USERNAME, format!("{to}:{from}").as_bytes())
        .put_u32(Type::PRIORITY, 16_777_215)
        .put(Type::USE_CANDIDATE, &[])
        .add_integrity(&Key::short_term(password), Hash::Sha1)
        .add_fingerprint();
    bytes
}

/// The answer of the endpoint that is called `by`.
fn success(check: &[u8], by: &str, mapped: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    Writer::success(&mut bytes, &Message::parse(check).unwrap())
        .put_xor_address(Type::XOR_MAPPED_ADDRESS, mapped)
        .add_integrity(&Key::short_term(&password(by)), Hash::Sha1)
        .add_fingerprint();
    bytes
}

/// A check goes out through one relayed address, and its answer comes back through the same.
fn assert_checked(from: (&UdpSocket, SocketAddr, &str), to: (&UdpSocket, SocketAddr, &str), number: u8) {
    let asked = check(number, from.2, to.2, &password(to.2));
    from.0.send_to(&asked, from.1).unwrap();
    assert_eq!(receive(to.0), (asked.clone(), to.1), "unread and unbroken");
    let answered = success(&asked, to.2, to.1);
    to.0.send_to(&answered, to.1).unwrap();
    assert_eq!(receive(from.0), (answered, from.1), "symmetric, so valid");
}

/// Checks that are not the endpoint's: guessed passwords, turned names, no integrity.
fn forged(strangers: &Strangers, to: &[SocketAddr]) -> u64 {
    let guessed = password("guess");
    let checks = [
        check(200, PHONE, OFFICE, &guessed),
        check(201, OFFICE, PHONE, &guessed),
        check(202, PHONE, PHONE, &guessed),
        check(203, "", "", &guessed),
        success(&check(1, PHONE, OFFICE, &password(OFFICE)), "guess", to[0]),
    ];
    let mut sent = 0;
    for (stranger, to) in strangers.0.iter().flat_map(|stranger| to.iter().map(move |to| (stranger, to))) {
        for check in &checks {
            stranger.send_to(check, to).unwrap();
            sent += 1;
        }
    }
    sent
}

#[test]
fn only_the_endpoints_that_checked_are_heard_and_a_stranger_gets_and_injects_nothing() {
    let mut edge = Edge::new(|_, _| ());
    let (phone, office) = (Endpoint::new(), Endpoint::new());
    let call = edge.call(&with_ice(&phone, PHONE), &with_ice(&office, OFFICE));
    let (facing_phone, facing_office) = (shown(&call.ok), shown(&call.invite));
    let ports = [facing_phone, facing_office].concat();
    let strangers = Strangers::at(&[ELSEWHERE, HERE]);

    let mut expected = strangers.spray(&ports) + forged(&strangers, &ports);
    // Not even the endpoints themselves, from where their SDP says: they have proved nothing yet.
    phone.rtp.send_to(&rtp(0), facing_phone[0]).unwrap();
    office.rtp.send_to(&rtp(0), facing_office[0]).unwrap();
    expected += 2;
    refused(&edge, expected);
    [&phone.rtp, &phone.rtcp, &office.rtp, &office.rtcp].into_iter().for_each(assert_silent);

    for (number, component) in [(1, 0), (3, 1)] {
        let socket = |endpoint: &'static str| match (endpoint, component) {
            (PHONE, 0) => (&phone.rtp, facing_phone[0], PHONE),
            (PHONE, _) => (&phone.rtcp, facing_phone[1], PHONE),
            (_, 0) => (&office.rtp, facing_office[0], OFFICE),
            (_, _) => (&office.rtcp, facing_office[1], OFFICE),
        };
        assert_checked(socket(PHONE), socket(OFFICE), number);
        assert_checked(socket(OFFICE), socket(PHONE), number + 1);
    }
    assert_talk((&phone, facing_phone), (&office, facing_office), || {
        expected += strangers.spray(&ports) + forged(&strangers, &ports);
    });
    refused(&edge, expected);
    strangers.assert_silent();

    // From Wi-Fi to mobile: its check takes its media along, and where it was is a stranger's.
    let moved = Endpoint::new();
    assert_checked((&moved.rtp, facing_phone[0], PHONE), (&office.rtp, facing_office[0], OFFICE), 5);
    moved.rtp.send_to(&rtp(100), facing_phone[0]).unwrap();
    assert_eq!(receive(&office.rtp).0, rtp(100));
    office.rtp.send_to(&rtp(101), facing_office[0]).unwrap();
    assert_eq!(receive(&moved.rtp), (rtp(101).to_vec(), facing_phone[0]));
    assert_silent(&phone.rtp);
    call.hang_up();
    edge.assert_served();
}

/// DESIGN.md §4: where a phone's address proves nothing, a check for it waits until its own has come.
#[test]
fn a_check_waits_for_a_phone_that_has_not_shown_where_it_is() {
    let mut edge = Edge::new(|_, _| ());
    let (phone, office) = (Endpoint::new(), Endpoint::new());
    let call = edge.call(&with_ice(&phone, PHONE), &with_ice(&office, OFFICE));
    let (facing_phone, facing_office) = (shown(&call.ok)[0], shown(&call.invite)[0]);
    for number in [1, 2] {
        let asked = check(number, OFFICE, PHONE, &password(PHONE));
        office.rtp.send_to(&asked, facing_office).unwrap();
    }
    // It comes behind them, and for media nobody waits.
    office.rtp.send_to(&rtp(0), facing_office).unwrap();
    eventually("both checks are read", || edge.media().undeliverable == 1);
    let asked = check(3, PHONE, OFFICE, &password(OFFICE));
    phone.rtp.send_to(&asked, facing_phone).unwrap();
    assert_eq!(receive(&office.rtp), (asked, facing_office));
    let (waited, from) = receive(&phone.rtp);
    assert_eq!((waited, from), (check(2, OFFICE, PHONE, &password(PHONE)), facing_phone), "the newest");
    assert_silent(&phone.rtp);
    call.hang_up();
    edge.assert_served();
}

/// ICE / none: we answer the phone's checks, and the PBX hears of no STUN.
#[test]
fn a_phone_that_does_ice_talks_to_a_pbx_that_does_none_and_a_stranger_to_neither() {
    let mut edge = Edge::new(|_, _| ());
    let (phone, office) = (Endpoint::new(), Endpoint::new());
    let call = edge.call(&with_ice(&phone, PHONE), &office.sdp());
    let (facing_phone, facing_office) = (shown(&call.ok), shown(&call.invite));
    let value = |name| call.ok.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let (ours, password) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    let ports = [facing_phone, facing_office].concat();
    let strangers = Strangers::at(&[ELSEWHERE, HERE]);
    let mut expected = strangers.spray(&ports) + forged(&strangers, &ports);
    refused(&edge, expected);

    for (number, (socket, to)) in (1..).zip([(&phone.rtp, facing_phone[0]), (&phone.rtcp, facing_phone[1])]) {
        socket.send_to(&check(number, PHONE, &ours, &password), to).unwrap();
        let (answered, from) = receive(socket);
        let answered = Message::parse(&answered).unwrap();
        assert!(from == to && answered.check_integrity(&Key::short_term(&password)));
        assert_eq!(answered.xor_mapped_address().unwrap(), Some(addr(socket)));
    }
    assert_talk((&phone, facing_phone), (&office, facing_office), || {
        expected += strangers.spray(&ports) + forged(&strangers, &ports);
    });
    refused(&edge, expected);
    strangers.assert_silent();
    call.hang_up();
    edge.assert_served();
}
