//! ICE on both sides: who may speak follows from the passwords in offer and answer (DESIGN.md §4, append).

use super::*;

const PBX: &str = "10.20.0.20";

fn with_ice(host: &str, port: u16, name: &str) -> String {
    let pwd = name.repeat(6);
    session(host, &format!("m=audio {port} RTP/AVP 0\na=ice-ufrag:{name}\na=ice-pwd:{pwd}\n"))
}

fn appended() -> Call {
    let Sides { a, b } = phone_and_pbx();
    Call::new(Sides { a: SideSettings { ice_append: true, ..a }, b: SideSettings { ice_append: true, ..b } })
}

fn ice(call: &Call, side: Side) -> Option<(String, String, Option<String>)> {
    let ice = call.relay.rules(0, side).ice.as_ref()?;
    let remote = ice.remote_ufrag.as_deref().map(str::to_owned);
    Some((ice.local.ufrag.to_string(), ice.local.pwd.reveal().to_owned(), remote))
}

fn names(local: &str, remote: Option<&str>) -> Option<(String, String, Option<String>)> {
    Some((local.to_owned(), local.repeat(6), remote.map(str::to_owned)))
}

#[test]
fn each_leg_opens_to_checks_under_the_password_of_the_other_side() {
    let mut call = appended();
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    assert_eq!(ice(&call, Side::B), names("alfa", None), "the answerer may check before its answer");
    assert_eq!(ice(&call, Side::A), None);
    call.answer(Side::B, &with_ice(PBX, 5000, "bravo"));
    assert_eq!(ice(&call, Side::A), names("bravo", Some("alfa")));
    assert_eq!(ice(&call, Side::B), names("alfa", Some("bravo")));
}

#[test]
fn an_answer_without_ice_leaves_strict_latching() {
    let mut call = appended();
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    call.answer(Side::B, &audio(PBX, 5000));
    assert_eq!((ice(&call, Side::A), ice(&call, Side::B)), (None, None));
}

#[test]
fn a_side_that_was_shown_no_candidate_of_ours_is_not_asked_for_checks() {
    let Sides { a, b } = phone_and_pbx();
    let mut call = Call::new(Sides { a: SideSettings { ice_append: true, ..a }, b });
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    call.answer(Side::B, &with_ice(PBX, 5000, "bravo"));
    assert_eq!((ice(&call, Side::A), ice(&call, Side::B)), (None, None));
}

/// RFC 8839 §4.4.1.1.1.
#[test]
fn an_ice_restart_brings_the_new_passwords_with_its_answer() {
    let mut call = appended();
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    call.answer(Side::B, &with_ice(PBX, 5000, "bravo"));
    call.offer(Side::A, &with_ice(PHONE, 4000, "anew"));
    assert_eq!(
        ice(&call, Side::B),
        names("alfa", Some("bravo")),
        "until it is answered, what was agreed holds"
    );
    call.answer(Side::B, &with_ice(PBX, 5000, "bnew"));
    assert_eq!(ice(&call, Side::A), names("bnew", Some("anew")));
    assert_eq!(ice(&call, Side::B), names("anew", Some("bnew")));
    assert_eq!((call.relay.opened, call.relay.closed), (1, 0), "the ports stay");
}
