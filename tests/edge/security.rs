//! Media security through SIP: which call is set up, which is refused, and what the administrator reads.

use turnpike::edge::settings::{Anchor, Srtp};

use super::calls::{establish, hang_up, register};
use super::ua::{answer, body, header, request, response, sdp};
use super::world::{Actor, World};

const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:YWxmYWFsZmFhbGZhYWxmYWFsZmFhbGZhYWxmYWFs\r\n";

fn sdes(address: &str, port: u16) -> String {
    sdp(address, port).replace("RTP/AVP", "RTP/SAVP") + KEY
}

/// `srtp` of the phones' zone and the PBX's.
fn calling(phones: Srtp, office: Srtp) -> (World, Actor, Actor) {
    let mut world = World::with(|settings| {
        settings.zones[0].media.srtp = phones;
        settings.zones[1].media.srtp = office;
        settings.zones[1].media.anchor = Anchor::Never;
    });
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    (world, phone, pbx)
}

fn invite(phone: &Actor, sdp: &str) -> String {
    request(phone, "INVITE", "sip:100@example.com", "alice", "", sdp)
}

#[test]
fn an_encrypted_phone_calls_a_plain_pbx() {
    let (mut world, phone, pbx) = calling(Srtp::Required, Srtp::Off);
    let invite = invite(&phone, &sdes("192.168.1.5", 5_004));
    let (mut a, _) = establish(&mut world, &phone, &pbx, &invite);
    assert_eq!(world.status().relay.pairs, 1, "whatever `anchor: never` of the PBX's zone says");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn each_side_is_shown_keys_of_ours() {
    let (mut world, phone, pbx) = calling(Srtp::Pass, Srtp::Off);
    world.send(&phone, invite(&phone, &sdes("192.168.1.5", 5_004)));
    let seen = world.expect(&pbx, "INVITE");
    assert!(body(&seen).contains(" RTP/AVP 0\r\n") && !body(&seen).contains("crypto"), "{seen}");
    assert_eq!(header(&seen, "Content-Length"), body(&seen).len().to_string());
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "callee", &sdp("10.20.0.20", 7_000)));
    let came = world.expect(&phone, "SIP/2.0 200");
    assert!(body(&came).contains(" RTP/SAVP 0\r\n") && !body(&came).contains(KEY), "{came}");
    assert_eq!(body(&came).matches("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:").count(), 1, "{came}");
}

#[test]
fn a_plain_phone_where_srtp_must_be_is_refused_and_the_log_says_why() {
    let (mut world, phone, pbx) = calling(Srtp::Required, Srtp::Off);
    world.send(&phone, invite(&phone, &sdp("192.168.1.5", 5_004)));
    world.expect(&phone, "SIP/2.0 488");
    world.expect_nothing(&pbx);
    let why = "media / SRTP of the caller: plain RTP, where `srtp` asks for SRTP: switch SRTP on in the device, or write \
               `srtp: optional`";
    assert_eq!(world.refused().iter().map(|refused| &*refused.rule).collect::<Vec<_>>(), [why]);
    world.assert_clean();
}

#[test]
fn a_callee_that_answers_plain_where_srtp_must_be_is_hung_up() {
    let (mut world, phone, pbx) = calling(Srtp::Pass, Srtp::Sdes);
    world.send(&phone, invite(&phone, &sdp("192.168.1.5", 5_004)));
    let seen = world.expect(&pbx, "INVITE");
    assert!(
        body(&seen).contains(" RTP/SAVP 0\r\n") && body(&seen).matches("a=crypto:").count() == 3,
        "{seen}"
    );
    world.send(&pbx, answer(&pbx, &seen, "200 OK", "b", &sdp("10.20.0.20", 7_000)));
    world.expect(&phone, "SIP/2.0 488");
    let bye = world.expect(&pbx, "BYE");
    world.send(&pbx, response(&bye, "200 OK", "", "", ""));
    let refused = world.refused();
    assert!(refused[0].rule.starts_with("media / SRTP of the called side: plain RTP"), "{}", refused[0].rule);
    world.assert_clean();
}

#[test]
fn a_refused_re_invite_leaves_the_call_and_its_keys() {
    let (mut world, phone, pbx) = calling(Srtp::Required, Srtp::Off);
    let invite = invite(&phone, &sdes("192.168.1.5", 5_004));
    let (mut a, _) = establish(&mut world, &phone, &pbx, &invite);
    let before = format!("{:?}", world.open_rules());
    let again = a.request("INVITE", &sdp("192.168.1.5", 5_004));
    world.send(&phone, again);
    world.expect(&phone, "SIP/2.0 488");
    world.expect_nothing(&pbx);
    assert_eq!(format!("{:?}", world.open_rules()), before);
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}
