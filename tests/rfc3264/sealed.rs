//! Bodies that are not for us to rewrite: signed, encrypted, encoded, with more than one SDP (`sealed_bodies`).

use turnpike::edge::settings::{Anchor, SealedBodies, Settings};
use turnpike::relay::Side;

use super::play::register;
use super::scene::{PBX, PHONE, Scene, audio};
use super::ua::{self, body, header, request, response};
use super::world::{Actor, World};

/// Content-Type and body.
type Body = (&'static str, String);

fn signed(sdp: &str) -> Body {
    let text = format!(
        "--s\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--s\r\nContent-Type: application/pkcs7-signature\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nMIIB\r\n--s--\r\n"
    );
    ("multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=s", text)
}

fn encrypted() -> Body {
    ("application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", "MIIBinary".into())
}

fn twice(sdp: &str) -> Body {
    let part = format!("--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n");
    ("multipart/alternative; boundary=b", format!("{part}{part}--b--"))
}

fn base64() -> Body {
    let head = "Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n";
    ("multipart/mixed; boundary=b", format!("--b\r\n{head}\r\ndj0w\r\n--b--"))
}

/// A message with this body.
fn with(message: &str, (content_type, text): &Body) -> String {
    let (head, _) = message.split_once("\r\n\r\n").unwrap();
    let kept = head.lines().filter(|line| !line.starts_with("Content-"));
    let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
    format!("{kept}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

fn pass(settings: &mut Settings) {
    settings.zones.iter_mut().for_each(|zone| zone.media.sealed_bodies = SealedBodies::Pass);
}

fn calling(change: impl FnOnce(&mut Settings)) -> (World, Actor, Actor, String) {
    let mut world = World::with(change);
    let (phone, pbx) = (Actor::tls_phone(1, &format!("{PHONE}:49152")), Actor::pbx());
    register(&mut world, &phone, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &audio(PHONE, 4000));
    (world, phone, pbx, invite)
}

#[test]
fn a_sealed_offer_is_refused() {
    let sdp = audio(PHONE, 4000);
    let cases = [
        (signed(&sdp), "488", "sealed body / signed"),
        (encrypted(), "493", "sealed body / encrypted"),
        (twice(&sdp), "488", "sealed body / more than one session description"),
        (base64(), "488", "sealed body / encoded"),
        (("multipart/mixed", sdp.clone()), "488", "sealed body / broken multipart"),
    ];
    for (body, status, rule) in cases {
        let (mut world, phone, pbx, invite) = calling(|_| {});
        world.send(&phone, with(&invite, &body));
        world.expect(&phone, &format!("SIP/2.0 {status}"));
        world.expect_nothing(&pbx);
        assert_eq!(&*world.refused()[0].rule, rule);
        assert_eq!(world.status().relay.pairs, 0);
        world.assert_clean();
    }
}

#[test]
fn a_sealed_offer_in_mid_call_is_refused_and_the_call_goes_on() {
    for change in [|_: &mut Settings| {}, pass] {
        let mut call = Scene::ringing_with(change, "", &audio(PHONE, 4000));
        call.accept(&audio(PBX, 5000));
        let before = format!("{:?}", call.rules());
        for (from, who) in [(Side::A, call.phone), (Side::B, call.pbx)] {
            let leg = if from == Side::A { call.a() } else { call.b() };
            let update = leg.request("UPDATE", &audio(PHONE, 4100));
            call.world.send(&who, with(&update, &signed(&audio(PHONE, 4100))));
            call.expect_at(from, "SIP/2.0 488");
        }
        assert_eq!((call.pairs(), format!("{:?}", call.rules())), (1, before));
        call.agree(Side::B, "UPDATE", &audio(PBX, 5000), &audio(PHONE, 4000));
        call.end();
    }
}

/// The offer named the relay, so an answer that cannot would be half a call: the callee is hung up.
#[test]
fn a_sealed_answer_ends_the_call() {
    for change in [|_: &mut Settings| {}, pass] {
        let (mut world, phone, pbx, invite) = calling(change);
        world.send(&phone, &invite);
        let seen = world.expect(&pbx, "INVITE");
        let ok = ua::answer(&pbx, &seen, "200 OK", "t", &audio(PBX, 5000));
        world.send(&pbx, with(&ok, &signed(&audio(PBX, 5000))));
        world.expect(&phone, "SIP/2.0 488");
        let bye = world.expect(&pbx, "BYE");
        world.send(&pbx, response(&bye, "200 OK", "", "", ""));
        assert_eq!(&*world.refused()[0].rule, "sealed body / signed");
        assert_eq!((world.status().calls, world.status().relay.pairs), (0, 0));
        world.assert_clean();
    }
}

/// `sealed_bodies: pass`: byte for byte, and so is what answers it; media goes past the relay.
#[test]
fn a_sealed_offer_passes_where_both_sides_say_so() {
    for sealed in [signed(&audio(PHONE, 4000)), encrypted(), twice(&audio(PHONE, 4000)), base64()] {
        let (mut world, phone, pbx, invite) = calling(pass);
        let invite = with(&invite, &sealed);
        world.send(&phone, &invite);
        let seen = world.expect(&pbx, "INVITE");
        assert_eq!((header(&seen, "Content-Type"), body(&seen)), (sealed.0, &*sealed.1));
        world.send(&pbx, ua::answer(&pbx, &seen, "200 OK", "t", &audio(PBX, 5000)));
        let came = world.expect(&phone, "SIP/2.0 200");
        assert_eq!(body(&came), audio(PBX, 5000));
        assert_eq!((world.status().answered_calls, world.status().relay.pairs), (1, 0));
        let mut leg = ua::Leg::caller(&phone, &invite, &came);
        world.send(&phone, leg.request("ACK", ""));
        super::play::hang_up(&mut world, &mut leg, &pbx);
        world.assert_clean();
    }
}

#[test]
fn one_side_alone_does_not_let_it_pass() {
    for zone in [0, 1] {
        let (mut world, phone, pbx, invite) =
            calling(|settings| settings.zones[zone].media.sealed_bodies = SealedBodies::Pass);
        world.send(&phone, with(&invite, &signed(&audio(PHONE, 4000))));
        world.expect(&phone, "SIP/2.0 488");
        world.expect_nothing(&pbx);
    }
}

/// Where nothing has to be rewritten, nothing is read; and what is no offer or answer concerns nobody.
#[test]
fn what_is_not_ours_passes() {
    let (mut world, phone, pbx, invite) = calling(|settings| settings.zones[0].media.anchor = Anchor::Never);
    let sealed = signed(&audio(PHONE, 4000));
    world.send(&phone, with(&invite, &sealed));
    assert_eq!(body(&world.expect(&pbx, "INVITE")), sealed.1);

    let mut call = Scene::established(&audio(PHONE, 4000), &audio(PBX, 5000));
    let info = call.a().request("INFO", "x");
    call.world.send(&call.phone.clone(), with(&info, &encrypted()));
    assert_eq!(body(&call.expect_at(Side::B, "INFO")), encrypted().1);
    let pidf = signed("<presence/>").1.replace("application/sdp", "application/pidf+xml");
    let update = call.a().request("UPDATE", "x");
    call.world.send(&call.phone.clone(), with(&update, &(signed("").0, pidf.clone())));
    assert_eq!(body(&call.expect_at(Side::B, "UPDATE")), pidf, "signed, but no SDP");
}
