//! Session timers (RFC 4028) pass through as they are where no zone or trunk asks for them, and end what nobody refreshes.

use std::time::Duration;

use turnpike::edge::settings::{SessionTimer, Settings};
use turnpike::relay::Side;

use super::scene::{PBX, PHONE, Scene, audio};
use super::ua::{self, Leg, header, headers, response};

const ASKED: &str = "Supported: timer\r\nSession-Expires: 1800;refresher=uas;x=1\r\nMin-SE: 120\r\n";
const GRANTED: &str = "Require: timer\r\nSession-Expires: 600;refresher=uac\r\n";

/// A call whose 200 says `granted`.
fn call_that_expires(granted: &str) -> Scene {
    let mut call = Scene::ringing_with(|_| {}, ASKED, &audio(PHONE, 4000));
    call.respond("200 OK", "t", granted, &audio(PBX, 5000));
    call.ask(Side::A, "ACK", "");
    call
}

/// Refreshes by a request of `from`, and the 200 says `granted`.
fn refresh(call: &mut Scene, from: Side, method: &str, granted: &str) {
    let asked = call.ask(from, method, "");
    let (asker, replier) = if from == Side::A { (call.phone, call.pbx) } else { (call.pbx, call.phone) };
    let ok = ua::answer(&replier, &asked, "200 OK", "", "").replacen(
        "\r\nContact",
        &format!("\r\n{granted}Contact"),
        1,
    );
    call.world.send(&replier, ok);
    let came = call.world.expect(&asker, "SIP/2.0 200");
    assert_eq!(headers(&came, "Session-Expires").len(), usize::from(!granted.is_empty()));
}

fn lives_for(call: &mut Scene, seconds: u64) {
    call.world.pass(Duration::from_secs(seconds - 1));
    assert_eq!((call.world.status().calls, call.pairs()), (1, 1));
    call.world.pass(Duration::from_secs(1));
    assert_eq!((call.world.status().calls, call.pairs()), (0, 0));
    for end in [call.phone, call.pbx] {
        let bye = call.world.expect(&end, "BYE");
        assert!(header(&bye, "Reason").contains("Session expired"), "{bye}");
        call.world.send(&end, response(&bye, "200 OK", "", "", ""));
    }
    let cdr = call.world.cdrs()[0].clone();
    assert_eq!((cdr.status, cdr.end), (200, "session expired"));
    call.world.assert_clean();
}

#[test]
fn nothing_is_changed_and_nothing_is_added() {
    let call = call_that_expires(GRANTED);
    for name in ["Supported", "Session-Expires", "Min-SE"] {
        assert_eq!(headers(&call.seen, name), headers(&call.invite, name));
    }
    assert_eq!(headers(&call.came, "Session-Expires"), ["600;refresher=uac"]);
    let call = Scene::established(&audio(PHONE, 4000), &audio(PBX, 5000));
    for message in [&call.seen, &call.came] {
        assert!(
            ["Session-Expires", "Min-SE", "Require"].iter().all(|name| headers(message, name).is_empty())
        );
    }
    call.end();
}

#[test]
fn a_session_that_nobody_refreshes_ends_on_both_legs() {
    lives_for(&mut call_that_expires(GRANTED), 600);
}

#[test]
fn the_compact_form_and_less_than_the_shortest() {
    lives_for(&mut call_that_expires("x: 300\r\n"), 300);
    lives_for(&mut call_that_expires("Session-Expires: 5;refresher=uac\r\n"), 90);
}

#[test]
fn either_side_refreshes_it_by_invite_or_update() {
    for (from, method) in [(Side::A, "UPDATE"), (Side::B, "UPDATE")] {
        let mut call = call_that_expires(GRANTED);
        call.world.pass(Duration::from_secs(500));
        refresh(&mut call, from, method, "Session-Expires: 900\r\n");
        lives_for(&mut call, 900);
    }
    let mut call = call_that_expires(GRANTED);
    call.world.pass(Duration::from_secs(500));
    let asked = call.ask(Side::B, "INVITE", &audio(PBX, 5000));
    let ok = ua::answer(&call.phone, &asked, "200 OK", "", &audio(PHONE, 4000));
    call.world.send(&call.phone.clone(), ok.replacen("\r\nContact", &format!("\r\n{GRANTED}Contact"), 1));
    call.expect_at(Side::B, "SIP/2.0 200");
    call.acknowledge(Side::B);
    lives_for(&mut call, 600);
}

/// §7.2: a refresh that is answered without Session-Expires ends the timer.
#[test]
fn a_refresh_may_end_the_timer() {
    let mut call = call_that_expires(GRANTED);
    refresh(&mut call, Side::A, "UPDATE", "");
    call.world.pass(Duration::from_secs(3_600));
    assert_eq!(call.pairs(), 1);
    call.end();
}

/// A refusal refreshes nothing, nor does anything but INVITE and UPDATE.
#[test]
fn what_is_no_refresh() {
    let mut call = call_that_expires(GRANTED);
    call.world.pass(Duration::from_secs(300));
    call.refuse(Side::A, "UPDATE", &audio(PHONE, 4000), "488 Not Acceptable Here");
    refresh(&mut call, Side::A, "INFO", "Session-Expires: 900\r\n");
    lives_for(&mut call, 300);
}

/// §6, §8.1: 422 is between the ends; the caller asks again for longer.
#[test]
fn a_422_passes_with_its_min_se() {
    let mut call = Scene::ringing_with(|_| {}, ASKED, &audio(PHONE, 4000));
    let refused = response(&call.seen, "422 Session Interval Too Small", "t", "Min-SE: 3600\r\n", "");
    call.world.send(&call.pbx.clone(), refused);
    let came = call.expect_at(Side::A, "SIP/2.0 422");
    assert_eq!((header(&came, "Min-SE"), call.pairs()), ("3600", 0));
    call.acknowledge_ours(Side::A, &came);
    let again = call.invite.replace("CSeq: 1", "CSeq: 2").replace("branch=z9hG4bK", "branch=z9hG4bKagain");
    let again = again.replace("Expires: 1800", "Expires: 3600").replace("SE: 120", "SE: 3600");
    call.world.send(&call.phone.clone(), &again);
    call.seen = call.expect_at(Side::B, "INVITE");
    assert_eq!(header(&call.seen, "Min-SE"), "3600");
    call.invite = again;
    call.world.expect(&call.phone.clone(), "SIP/2.0 100");
    call.respond("200 OK", "t", "Session-Expires: 3600;refresher=uas\r\n", &audio(PBX, 5000));
    call.a = Some(Leg { cseq: 2, ..call.a.take().unwrap() });
    call.last_invite[0] = call.invite.clone();
    call.ask(Side::A, "ACK", "");
    lives_for_second(&mut call);
}

fn lives_for_second(call: &mut Scene) {
    call.world.pass(Duration::from_secs(3_599));
    assert_eq!(call.pairs(), 1);
    call.world.pass(Duration::from_secs(1));
    assert_eq!(call.pairs(), 0);
}

/// A call that ended in time leaves no timer.
#[test]
fn a_call_that_ends_before() {
    call_that_expires(GRANTED).end();
}

/// The trunk's or zone's own settings: here those of the PBX's zone.
fn timed(settings: &mut Settings) {
    settings.zones[1].session_timer = Some(SessionTimer { expires: 900, shortest: 300 });
}

/// §8.1: "A proxy MAY insert a Session-Expires header field", "MAY reduce", "MUST NOT ... lower than" Min-SE, "MUST NOT increase".
#[test]
fn a_side_that_asks_for_timers_gets_them() {
    for (said, passed) in [
        ("", "900"),
        ("Supported: timer\r\n", "900"),
        ("Supported: timer\r\nMin-SE: 1200\r\n", "1200"),
        ("Supported: timer\r\nSession-Expires: 1800;refresher=uas;x=1\r\n", "900;refresher=uas;x=1"),
        ("Supported: timer\r\nSession-Expires: 1800\r\nMin-SE: 1200\r\n", "1200"),
        ("Supported: timer\r\nx: 600;refresher=uac\r\n", "600;refresher=uac"),
        ("Session-Expires: 1800\r\n", "900"),
    ] {
        let call = Scene::ringing_with(timed, said, &audio(PHONE, 4000));
        let fields = [headers(&call.seen, "Session-Expires"), headers(&call.seen, "x")].concat();
        assert_eq!(fields, [passed], "{said}");
        assert_eq!(headers(&call.seen, "Min-SE"), headers(&call.invite, "Min-SE"), "{said}");
    }
}

/// §8.1: who knows no 422 has its value raised, and Min-SE with it.
#[test]
fn too_short_a_session_of_one_who_knows_no_timers_is_raised() {
    let call = Scene::ringing_with(timed, "Session-Expires: 120\r\nMin-SE: 90\r\n", &audio(PHONE, 4000));
    assert_eq!(
        (headers(&call.seen, "Session-Expires"), headers(&call.seen, "Min-SE")),
        (vec!["300"], vec!["300"])
    );
}

/// §8.1, §6: 422 with our Min-SE.
#[test]
fn too_short_a_session_is_refused() {
    let mut call =
        Scene::ringing_with(timed, "Supported: timer\r\nSession-Expires: 300\r\n", &audio(PHONE, 4000));
    call.respond("200 OK", "t", "Session-Expires: 300;refresher=uac\r\n", &audio(PBX, 5000));
    call.ask(Side::A, "ACK", "");
    let mut short = call.a.as_mut().unwrap().request("UPDATE", "");
    short = short.replacen("\r\nContact", "\r\nSupported: timer\r\nSession-Expires: 299\r\nContact", 1);
    call.world.send(&call.phone.clone(), short);
    let refused = call.expect_at(Side::A, "SIP/2.0 422 Session Interval Too Small");
    assert_eq!(header(&refused, "Min-SE"), "300");
    assert_eq!(&*call.world.refused()[0].rule, "session expires too soon");
    lives_for(&mut call, 300);
}

/// §8.2: the callee knows nothing of timers, so the caller alone refreshes; and where neither does, none runs.
#[test]
fn a_caller_whose_callee_knows_no_timers_is_told_to_refresh() {
    let timed_call = |said: &str| {
        let mut call = Scene::ringing_with(timed, said, &audio(PHONE, 4000));
        call.respond("200 OK", "t", "", &audio(PBX, 5000));
        call.ask(Side::A, "ACK", "");
        call
    };
    let mut call = timed_call("Supported: 100rel, timer\r\n");
    assert_eq!(
        (headers(&call.came, "Session-Expires"), headers(&call.came, "Require")),
        (vec!["900;refresher=uac"], vec!["timer"])
    );
    lives_for(&mut call, 900);
    let mut call = timed_call("");
    assert!(headers(&call.came, "Session-Expires").is_empty() && headers(&call.came, "Require").is_empty());
    call.world.pass(Duration::from_secs(3_600));
    assert_eq!(call.pairs(), 1);
}
