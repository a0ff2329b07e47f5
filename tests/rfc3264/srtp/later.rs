//! Keys over re-INVITE, forks and refused offers.

use super::*;

/// An encrypted phone in a call with a plain PBX, and the key that it got from us.
fn phone_and_plain_pbx() -> (Call, String) {
    let mut call = call(Srtp::Pass, Srtp::Off);
    call.offer(Side::A, &sdes(PHONE, 4000, ALFA));
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!(keys(&call, Side::A), (ALFA.into(), key_in(&answer, 1)));
    let ours = key_in(&answer, 1);
    (call, ours)
}

/// RFC 4568 §7.1.4.
#[test]
fn our_key_stays_while_the_peer_keeps_its_own() {
    let (mut call, ours) = phone_and_plain_pbx();
    call.offer(Side::A, &(sdes(PHONE, 4000, ALFA) + "a=sendonly\r\n"));
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!(key_in(&answer, 1), ours);
    assert_eq!(keys(&call, Side::A), (ALFA.into(), ours));
}

#[test]
fn a_new_key_of_the_peer_brings_a_new_one_of_ours() {
    let (mut call, ours) = phone_and_plain_pbx();
    call.offer(Side::A, &sdes(PHONE, 4000, BRAVO));
    assert_eq!(keys(&call, Side::A), (ALFA.into(), ours.clone()), "until it is answered");
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    assert_ne!(key_in(&answer, 1), ours);
    assert_eq!(keys(&call, Side::A), (BRAVO.into(), key_in(&answer, 1)));
}

#[test]
fn a_refused_re_offer_leaves_the_keys_of_before() {
    let (mut call, ours) = phone_and_plain_pbx();
    call.offer(Side::A, &sdes(PHONE, 4000, BRAVO));
    call.roll_back();
    assert_eq!(keys(&call, Side::A), (ALFA.into(), ours));
}

#[test]
fn the_other_sides_re_offer_shows_the_key_in_use_and_no_other() {
    let (mut call, ours) = phone_and_plain_pbx();
    let hold = call.offer(Side::B, &(plain(PBX, 5000) + "a=sendonly\r\n"));
    assert_eq!((shape(&hold), key_in(&hold, 1)), ("RTP/SAVP crypto:1".into(), ours.clone()));
    assert_eq!(shape(&call.answer(Side::A, &sdes(PHONE, 4000, ALFA))), "RTP/AVP");
    assert_eq!(keys(&call, Side::A), (ALFA.into(), ours));
}

#[test]
fn a_re_offer_to_who_took_the_second_line_offers_the_same_lines_again() {
    let mut call = call(Srtp::Pass, Srtp::Sdes);
    let gcm = "YnJhdm9icmF2b2JyYXZvYnJhdm9icmF2b2JyYQ==";
    let reply = plain(PBX, 5000).replace("RTP/AVP", "RTP/SAVP") + &crypto(2, "AEAD_AES_128_GCM", gcm);
    let shown = call.offer(Side::A, &plain(PHONE, 4000));
    call.answer(Side::B, &reply);
    assert_eq!(keys(&call, Side::B), (gcm.into(), key_in(&shown, 2)));
    let again = call.offer(Side::A, &plain(PHONE, 4000));
    assert_eq!(again, shown);
    call.answer(Side::B, &reply);
    assert_eq!(keys(&call, Side::B), (gcm.into(), key_in(&shown, 2)));
}

#[test]
fn each_fork_has_its_own_keys_and_the_caller_is_told_one() {
    let mut call = call(Srtp::Pass, Srtp::Optional);
    let shown = call.offer(Side::A, &sdes(PHONE, 4000, ALFA));
    let x = call.early("x", &best_effort(PBX, 5000, BRAVO));
    assert_eq!(keys(&call, Side::B), (BRAVO.into(), key_in(&shown, 1)));
    let y = call.early("y", &plain("10.20.0.21", 6000));
    assert_eq!(legs(&call), "sdes | pass", "this one cannot");
    assert_eq!(key_in(&x, 1), key_in(&y, 1));
    assert_eq!(call.early("x", &best_effort(PBX, 5000, BRAVO)), x, "the same bytes again");
    let last = call.try_answer(Side::B, "y", true, &plain("10.20.0.21", 6000)).unwrap();
    assert_eq!((last, legs(&call)), (y, "sdes | pass".into()));
    call.try_answer(Side::B, "x", true, &best_effort(PBX, 5000, BRAVO)).unwrap();
    assert_eq!(keys(&call, Side::B).0, BRAVO);
    call.media.forget_answer(b"x", &mut call.relay);
    assert_eq!(legs(&call), "sdes | pass", "the other one stands");
}

#[test]
fn a_stream_of_another_transport_gets_other_keys() {
    let (mut call, ours) = phone_and_plain_pbx();
    let off = sdes(PHONE, 4000, ALFA).replace(" 4000 ", " 0 ");
    call.offer(Side::A, &off);
    call.answer(Side::B, &plain(PBX, 5000).replace(" 5000 ", " 0 "));
    assert_eq!(call.relay.closed, 1);
    call.offer(Side::A, &sdes(PHONE, 4000, ALFA));
    assert_ne!(key_in(&call.answer(Side::B, &plain(PBX, 5000)), 1), ours, "no key stream twice");
}

#[test]
fn after_a_fax_the_voice_is_encrypted_again() {
    let (mut call, _) = phone_and_plain_pbx();
    let fax = |host: &str| session(host, "m=image 4180 udptl t38\n");
    call.offer(Side::B, &fax(PBX));
    call.answer(Side::A, &fax(PHONE));
    assert_eq!(legs(&call), "pass | pass");
    call.offer(Side::A, &sdes(PHONE, 4000, ALFA));
    call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!((legs(&call), call.relay.opened), ("sdes | pass".into(), 1));
}

#[test]
fn where_one_stream_is_translated_ice_does_not_pass() {
    let ice = "a=ice-ufrag:alfa\r\na=ice-pwd:alfaalfaalfaalfaalfaalfa\r\n\
               a=candidate:1 1 udp 2130706431 198.51.100.23 4000 typ host\r\n";
    for (a_ice, answered) in
        [(Ice::Auto, true), (Ice::Append, false), (Ice::RelayOnly, false), (Ice::Strip, false)]
    {
        let sides = phone_and_pbx();
        let a = SideSettings { ice: a_ice, ..sides.a };
        let b = SideSettings { srtp: Srtp::Off, ..sides.b };
        let mut call = Call::new(Sides { a, b });
        let shown = call.offer(Side::A, &(sdes(PHONE, 4000, ALFA) + ice));
        assert!(!shown.contains("a=ice") && !shown.contains("a=candidate"), "{shown}");
        let with_ice = plain(PBX, 5000) + "a=ice-ufrag:bravo\r\na=ice-pwd:bravobravobravobravobravo\r\n";
        let answer = call.answer(Side::B, &with_ice);
        assert_eq!((answer.contains("a=ice-lite"), answer.contains("bravo")), (answered, false), "{answer}");
        let rules = call.relay.rules(0, Side::A);
        assert_eq!(rules.ice.is_some(), answered);
        assert!(!rules.stun_and_dtls);
    }
}
