//! ICE on both sides: who may speak follows from the passwords in offer and answer (DESIGN.md §4: append, terminate, strip).

use super::*;

const PBX: &str = "10.20.0.20";

fn with_ice(host: &str, port: u16, name: &str) -> String {
    let pwd = name.repeat(6);
    session(host, &format!("m=audio {port} RTP/AVP 0\na=ice-ufrag:{name}\na=ice-pwd:{pwd}\n"))
}

fn call(a_ice: Ice, b_ice: Ice) -> Call {
    let Sides { a, b } = phone_and_pbx();
    Call::new(Sides { a: SideSettings { ice: a_ice, ..a }, b: SideSettings { ice: b_ice, ..b } })
}

fn appended() -> Call {
    call(Ice::Auto, Ice::Auto)
}

/// A phone that does ICE called a PBX that does none.
fn terminated() -> (Call, String) {
    let mut call = appended();
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    let answer = call.answer(Side::B, &audio(PBX, 5000));
    (call, answer)
}

/// The name and password that a body says.
fn said(body: &str) -> Option<(&str, &str)> {
    let value = |name| body.lines().find_map(|line| line.strip_prefix(name));
    Some((value("a=ice-ufrag:")?, value("a=ice-pwd:")?))
}

/// Our own, in the leg's rules, and the name of the endpoint.
fn own(call: &Call, side: Side) -> Option<(String, String, Option<String>)> {
    ice(call, side).filter(|_| call.relay.rules(0, side).ice.as_ref().is_some_and(|ice| ice.terminated))
}

fn owns(body: &str, remote: &str) -> Option<(String, String, Option<String>)> {
    let (ufrag, pwd) = said(body)?;
    Some((ufrag.to_owned(), pwd.to_owned(), Some(remote.to_owned())))
}

fn has_ice(body: &str) -> bool {
    body.contains("a=ice-") || body.contains("candidate")
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
fn an_answer_without_ice_turns_the_offerers_leg_to_terminate() {
    let (call, answer) = terminated();
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"), "{answer}");
    assert_eq!(ice(&call, Side::B), None, "strict latching as ever");
    let host = format!("a=candidate:1 1 udp 2130706431 {RA} 40000 typ host\r\n");
    assert!(answer.contains("\r\na=ice-lite\r\n") && answer.contains(&host), "{answer}");
}

/// DESIGN.md §4: the same SDP in 183 and 200 comes out the same, and each early dialog is answered by itself.
#[test]
fn forks_with_and_without_ice_are_each_answered_as_they_are() {
    let mut call = appended();
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    let plain = call.early("x", &audio(PBX, 5000));
    assert!(plain.contains("a=ice-lite") && own(&call, Side::A).is_some());
    let full = call.early("y", &with_ice(PBX, 6000, "bravo"));
    assert!(!full.contains("a=ice-lite") && full.contains("a=ice-ufrag:bravo"), "{full}");
    assert_eq!(ice(&call, Side::A), names("bravo", Some("alfa")), "media follows the last");
    assert_eq!(call.try_answer(Side::B, "y", true, &with_ice(PBX, 6000, "bravo")), Ok(full));
    assert_eq!(ice(&call, Side::A), names("bravo", Some("alfa")));
    assert_eq!(call.try_answer(Side::B, "x", true, &audio(PBX, 5000)), Ok(plain.clone()), "both pick up");
    assert_eq!(own(&call, Side::A), owns(&plain, "alfa"));
    call.media.forget_answer(b"x", &mut call.relay);
    assert_eq!(ice(&call, Side::A), names("bravo", Some("alfa")), "the other one stands");
}

#[test]
fn where_ice_ends_at_us_offers_of_the_other_side_say_so_and_credentials_stay() {
    let (mut call, answer) = terminated();
    let hold = call.offer(Side::B, &audio(PBX, 5000));
    assert!(hold.contains("a=ice-lite"), "{hold}");
    assert_eq!(said(&hold), said(&answer));
    assert!(!has_ice(&call.answer(Side::A, &with_ice(PHONE, 4000, "alfa"))));
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"));

    let again = call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    assert!(!has_ice(&again), "not before a restart: {again}");
    assert_eq!(said(&call.answer(Side::B, &audio(PBX, 5000))), said(&answer));
}

/// RFC 8839 §4.4.1.1.1.
#[test]
fn a_restart_where_ice_ends_at_us_brings_new_credentials_and_the_choice_anew() {
    let (mut call, answer) = terminated();
    let restart = call.offer(Side::A, &with_ice(PHONE, 4000, "anew"));
    assert!(restart.contains("a=ice-ufrag:anew"), "{restart}");
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"), "until it is answered");
    call.roll_back();
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"), "or refused");
    call.offer(Side::A, &with_ice(PHONE, 4000, "anew"));
    let next = call.answer(Side::B, &audio(PBX, 5000));
    assert_ne!(said(&next), said(&answer));
    assert_eq!(own(&call, Side::A), owns(&next, "anew"));
    assert_eq!((call.relay.opened, call.relay.closed), (1, 0), "the ports stay");
}

#[test]
fn towards_strip_no_line_of_ice_leaves_and_the_offerers_ends_at_us_at_once() {
    let mut call = call(Ice::Auto, Ice::Strip);
    assert!(!has_ice(&call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"))));
    assert_eq!(ice(&call, Side::B), None);
    let answer = call.answer(Side::B, &with_ice(PBX, 5000, "bravo"));
    assert!(!answer.contains("bravo"), "{answer}");
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"));
    assert_eq!(ice(&call, Side::B), None);
}

#[test]
fn sections_that_are_off_or_not_ours_carry_no_ice_where_ice_ends() {
    let candidate = "a=candidate:1 1 udp 2130706431 198.51.100.23 4000 typ host\n";
    let ice = format!("a=ice-ufrag:alfa\na=ice-pwd:{}\n{candidate}", "alfa".repeat(6));
    let rest = format!("m=video 0 RTP/AVP 96\n{ice}m=message 2855 TCP/MSRP *\n{ice}");
    let offer = session(PHONE, &format!("m=audio 4000 RTP/AVP 0\n{ice}{rest}"));
    for (b_ice, stays) in [(Ice::Strip, false), (Ice::Auto, true)] {
        let mut call = call(Ice::Auto, b_ice);
        assert_eq!(
            call.offer(Side::A, &offer).matches("a=ice-ufrag:alfa").count(),
            if stays { 3 } else { 0 }
        );
        // The PBX answers with what it refuses copied from the offer.
        let plain = session(PBX, &format!("m=audio 5000 RTP/AVP 0\n{rest}"));
        let answer = call.answer(Side::B, &plain);
        assert!(answer.contains("a=ice-lite") && !answer.contains("alfa"), "{answer}");
    }
    let shown = call(Ice::Auto, Ice::RelayOnly).offer(Side::A, &offer);
    assert!(
        !shown.contains(" typ host") && shown.contains("m=video 0"),
        "no address of the phone's: {shown}"
    );
}

#[test]
fn what_a_side_with_strip_says_of_ice_counts_for_nothing() {
    let mut call = call(Ice::Strip, Ice::Auto);
    assert!(!has_ice(&call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"))));
    assert!(!has_ice(&call.answer(Side::B, &with_ice(PBX, 5000, "bravo"))));
    assert_eq!((ice(&call, Side::A), ice(&call, Side::B)), (None, None));
    assert!(!call.relay.rules(0, Side::A).stun_and_dtls);
}

/// A PBX that does no ICE calls a phone behind `ice: terminate`: what the phone is offered.
fn offered_terminated() -> (Call, String) {
    let mut call = call(Ice::Auto, Ice::Terminate);
    let offer = call.offer(Side::A, &audio(PBX, 5000));
    (call, offer)
}

#[test]
fn terminate_offers_a_called_endpoint_a_lite_agent_of_ours() {
    let (mut call, offer) = offered_terminated();
    let host = format!("a=candidate:1 1 udp 2130706431 {RB} 40000 typ host\r\n");
    assert!(offer.contains("\r\na=ice-lite\r\n") && offer.contains(&host), "{offer}");
    let (ufrag, pwd) = said(&offer).unwrap();
    assert_eq!(own(&call, Side::B), Some((ufrag.into(), pwd.into(), None)), "it may check before its answer");
    let answer = call.answer(Side::B, &with_ice(PHONE, 4000, "bravo"));
    assert!(!has_ice(&answer), "{answer}");
    assert_eq!(own(&call, Side::B), owns(&offer, "bravo"));
    assert_eq!(ice(&call, Side::A), None);
    assert!(!call.relay.rules(0, Side::A).stun_and_dtls);
}

/// RFC 8839 §4.2.5: `a=ice-mismatch`, with or without credentials, is no ICE either.
#[test]
fn a_called_endpoint_that_does_no_ice_is_plain_to_terminate() {
    let mismatch = with_ice(PHONE, 4000, "bravo") + "a=ice-mismatch\r\n";
    for answer in [audio(PHONE, 4000), audio(PHONE, 4000) + "a=ice-mismatch\r\n", mismatch] {
        let (mut call, _) = offered_terminated();
        assert!(!has_ice(&call.answer(Side::B, &answer)));
        assert_eq!(ice(&call, Side::B), None);
        assert_eq!(call.relay.rules(0, Side::B).rtp, format!("{PHONE}:4000").parse().ok());
        assert!(!has_ice(&call.answer(Side::B, &answer)), "again");
    }
}

#[test]
fn what_terminate_has_offered_holds_until_the_endpoint_restarts() {
    let (mut call, offer) = offered_terminated();
    call.answer(Side::B, &with_ice(PHONE, 4000, "bravo"));
    let again = call.offer(Side::A, &audio(PBX, 5000));
    assert_eq!(said(&again), said(&offer), "the PBX's re-INVITE restarts nothing");
    call.answer(Side::B, &with_ice(PHONE, 4000, "bravo"));
    assert!(!has_ice(&call.offer(Side::B, &with_ice(PHONE, 4000, "bravo"))));
    assert_eq!(said(&call.answer(Side::A, &audio(PBX, 5000))), said(&offer), "nor does the phone's");
    call.offer(Side::B, &with_ice(PHONE, 4000, "bnew"));
    let answer = call.answer(Side::A, &audio(PBX, 5000));
    assert_ne!(said(&answer), said(&offer));
    assert_eq!(own(&call, Side::B), owns(&answer, "bnew"));
    assert_eq!((call.relay.opened, call.relay.closed), (1, 0), "the ports stay");
}

#[test]
fn a_re_invite_answered_without_ice_after_one_with_latches_as_ever() {
    let (mut call, _) = offered_terminated();
    call.answer(Side::B, &with_ice(PHONE, 4000, "bravo"));
    call.offer(Side::A, &audio(PBX, 5000));
    call.answer(Side::B, &audio(PHONE, 4000));
    assert_eq!(ice(&call, Side::B), None);
    assert!(!has_ice(&call.offer(Side::B, &audio(PHONE, 4000))));
    assert!(!has_ice(&call.answer(Side::A, &audio(PBX, 5000))));

    let mut call = appended();
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    call.answer(Side::B, &with_ice(PBX, 5000, "bravo"));
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    let answer = call.answer(Side::B, &audio(PBX, 5000));
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"), "its ICE ends at us now");
    assert_eq!(ice(&call, Side::B), None);
}

#[test]
fn each_fork_that_terminate_rang_is_known_by_its_own_name() {
    let (mut call, offer) = offered_terminated();
    call.early("x", &with_ice(PHONE, 4000, "xray"));
    assert_eq!(own(&call, Side::B), owns(&offer, "xray"));
    call.early("y", &audio(PHONE, 6000));
    assert_eq!(ice(&call, Side::B), None);
    call.try_answer(Side::B, "x", true, &with_ice(PHONE, 4000, "xray")).unwrap();
    assert_eq!(own(&call, Side::B), owns(&offer, "xray"));
    call.try_answer(Side::B, "z", true, &with_ice(PHONE, 7000, "zulu")).unwrap();
    call.media.forget_answer(b"z", &mut call.relay);
    assert_eq!(own(&call, Side::B), owns(&offer, "xray"), "both picked up, one stays");
    call.offer(Side::B, &with_ice(PHONE, 4000, "xray"));
    assert_eq!(said(&call.answer(Side::A, &audio(PBX, 5000))), said(&offer), "which restarts nothing");
}

/// RFC 8839 §4.2.5.
#[test]
fn an_answer_that_says_mismatch_turns_the_offerers_leg_to_terminate() {
    let mut call = appended();
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    let answer = call.answer(Side::B, &(with_ice(PBX, 5000, "bravo") + "a=ice-mismatch\r\n"));
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"), "{answer}");
    assert!(!answer.contains("mismatch") && !answer.contains("bravo"), "{answer}");
    assert_eq!(ice(&call, Side::B), None);
}

/// DESIGN.md §4: towards a plain UDP trunk, never send candidates.
#[test]
fn a_carrier_over_udp_is_offered_ice_only_once_it_has_offered_it() {
    let with_carrier = |ice| {
        let Sides { a, b } = phone_and_pbx();
        Call::new(Sides { a, b: SideSettings { ice, ice_on_request: true, ..b } })
    };
    for ice_setting in [Ice::Auto, Ice::Terminate] {
        let mut call = with_carrier(ice_setting);
        assert!(!has_ice(&call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"))));
        let answer = call.answer(Side::B, &audio(PBX, 5000));
        assert_eq!(own(&call, Side::A), owns(&answer, "alfa"), "the offerer's ends at us");
        assert_eq!(ice(&call, Side::B), None);
    }
    let mut call = with_carrier(Ice::Auto);
    call.offer(Side::B, &with_ice(PBX, 5000, "bravo"));
    let answer = call.answer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    assert!(answer.contains("a=ice-ufrag:alfa"), "{answer}");
    assert!(call.offer(Side::A, &with_ice(PHONE, 4000, "alfa")).contains("a=ice-ufrag:alfa"));
}

#[test]
fn terminate_ends_ice_at_us_also_where_both_do_it() {
    let mut call = call(Ice::Terminate, Ice::Auto);
    assert!(!has_ice(&call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"))));
    let answer = call.answer(Side::B, &audio(PBX, 5000));
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"));

    let mut call = self::call(Ice::Auto, Ice::Terminate);
    let offer = call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    let answer = call.answer(Side::B, &with_ice(PBX, 5000, "bravo"));
    assert_eq!(own(&call, Side::A), owns(&answer, "alfa"));
    assert_eq!(own(&call, Side::B), owns(&offer, "bravo"), "two agents of ours, one towards each");
    assert_ne!(said(&offer), said(&answer));
}

#[test]
fn an_endpoint_that_never_checks_is_plain_to_terminate() {
    let mut call = call(Ice::Terminate, Ice::Auto);
    let lite = with_ice(PHONE, 4000, "alfa").replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n");
    assert!(!has_ice(&call.offer(Side::A, &lite)));
    assert!(!has_ice(&call.answer(Side::B, &audio(PBX, 5000))));
    assert_eq!(ice(&call, Side::A), None);
}

#[test]
fn append_alone_never_terminates() {
    let mut call = call(Ice::Append, Ice::Auto);
    call.offer(Side::A, &with_ice(PHONE, 4000, "alfa"));
    assert!(!has_ice(&call.answer(Side::B, &audio(PBX, 5000))), "the default destination already works");
    assert_eq!((ice(&call, Side::A), ice(&call, Side::B)), (None, None));
}

#[test]
fn relay_only_on_either_side_leaves_no_direct_path_either_way() {
    let host = |host: &str, port, name| {
        with_ice(host, port, name) + &format!("a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n")
    };
    for (a_ice, b_ice) in [(Ice::RelayOnly, Ice::Auto), (Ice::Auto, Ice::RelayOnly)] {
        let mut call = call(a_ice, b_ice);
        let offer = call.offer(Side::A, &host(PHONE, 4000, "alfa"));
        let answer = call.answer(Side::B, &host(PBX, 5000, "bravo"));
        for body in [offer, answer] {
            assert!(!body.contains(" typ host") && body.contains(" typ relay"), "{body}");
        }
        assert_eq!(ice(&call, Side::A), names("bravo", Some("alfa")));
    }
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
