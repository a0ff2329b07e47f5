//! Every kind of offer towards every treatment: what the called side is shown, what the caller is answered, what the relay does.

use super::*;

fn run(offer: &str, b: Srtp, expected: [&str; 3]) {
    let mut call = call(Srtp::Pass, b);
    let shown = call.offer(Side::A, offer);
    let reply = answer_to(&shape(&shown), PBX, 5000);
    let answer = call.answer(Side::B, &reply);
    assert_eq!([&*shape(&shown), &*shape(&answer), &*legs(&call)], expected, "{shown}\n{answer}");
    let translated = legs(&call) != "pass | pass";
    for foreign in [ALFA, "AA:AA"] {
        assert!(!translated || !shown.contains(foreign), "the caller's keys are for us: {shown}");
    }
    for foreign in [BRAVO, "BB:BB"] {
        assert!(!translated || !answer.contains(foreign), "the called side's keys are for us: {answer}");
    }
    if !translated {
        assert_eq!(shown, relayed(offer, PHONE, 4000, RB, 40000), "nothing else is touched");
        assert_eq!(answer, relayed(&reply, PBX, 5000, RA, 40000));
    }
}

macro_rules! cases {
    ($($name:ident: $offer:expr, $srtp:ident => $shown:literal, $answer:literal, $legs:literal;)*) => { $(
        #[test]
        fn $name() {
            run(&$offer, Srtp::$srtp, [$shown, $answer, $legs]);
        }
    )* };
}

fn plain_offer() -> String {
    plain(PHONE, 4000)
}

fn best_effort_offer() -> String {
    best_effort(PHONE, 4000, ALFA)
}

fn sdes_offer() -> String {
    sdes(PHONE, 4000, ALFA)
}

fn dtls_offer() -> String {
    dtls(PHONE, 4000, "AA", "actpass")
}

cases! {
    plain_towards_pass: plain_offer(), Pass => "RTP/AVP", "RTP/AVP", "pass | pass";
    plain_towards_off: plain_offer(), Off => "RTP/AVP", "RTP/AVP", "pass | pass";
    plain_towards_sdes: plain_offer(), Sdes => "RTP/SAVP crypto:1 crypto:2 crypto:3", "RTP/AVP", "pass | sdes";
    plain_towards_dtls: plain_offer(), Dtls => "UDP/TLS/RTP/SAVPF fingerprint actpass mux", "RTP/AVP", "pass | dtls-server";
    plain_towards_optional: plain_offer(), Optional => "RTP/AVP crypto:1 crypto:2 crypto:3", "RTP/AVP", "pass | sdes";
    plain_towards_required: plain_offer(), Required => "RTP/SAVP crypto:1 crypto:2 crypto:3", "RTP/AVP", "pass | sdes";

    best_effort_towards_pass: best_effort_offer(), Pass => "RTP/AVP crypto:1", "RTP/AVP crypto:1", "pass | pass";
    best_effort_towards_off: best_effort_offer(), Off => "RTP/AVP", "RTP/AVP crypto:1", "sdes | pass";
    best_effort_towards_sdes: best_effort_offer(), Sdes => "RTP/SAVP crypto:1 crypto:2 crypto:3", "RTP/AVP crypto:1", "sdes | sdes";
    best_effort_towards_dtls: best_effort_offer(), Dtls => "UDP/TLS/RTP/SAVPF fingerprint actpass mux", "RTP/AVP crypto:1", "sdes | dtls-server";
    best_effort_towards_optional: best_effort_offer(), Optional => "RTP/AVP crypto:1", "RTP/AVP crypto:1", "pass | pass";
    best_effort_towards_required: best_effort_offer(), Required => "RTP/SAVP crypto:1 crypto:2 crypto:3", "RTP/AVP crypto:1", "sdes | sdes";

    sdes_towards_pass: sdes_offer(), Pass => "RTP/SAVP crypto:1", "RTP/SAVP crypto:1", "pass | pass";
    sdes_towards_off: sdes_offer(), Off => "RTP/AVP", "RTP/SAVP crypto:1", "sdes | pass";
    sdes_towards_sdes: sdes_offer(), Sdes => "RTP/SAVP crypto:1", "RTP/SAVP crypto:1", "pass | pass";
    sdes_towards_dtls: sdes_offer(), Dtls => "UDP/TLS/RTP/SAVPF fingerprint actpass mux", "RTP/SAVP crypto:1", "sdes | dtls-server";
    sdes_towards_optional: sdes_offer(), Optional => "RTP/AVP crypto:1 crypto:2 crypto:3", "RTP/SAVP crypto:1", "sdes | sdes";
    sdes_towards_required: sdes_offer(), Required => "RTP/SAVP crypto:1", "RTP/SAVP crypto:1", "pass | pass";

    dtls_towards_pass: dtls_offer(), Pass => "UDP/TLS/RTP/SAVPF fingerprint actpass mux", "UDP/TLS/RTP/SAVPF fingerprint active mux", "pass | pass";
    dtls_towards_off: dtls_offer(), Off => "RTP/AVP mux", "UDP/TLS/RTP/SAVPF fingerprint passive mux", "dtls-server | pass";
    dtls_towards_sdes: dtls_offer(), Sdes => "RTP/SAVP crypto:1 crypto:2 crypto:3 mux", "UDP/TLS/RTP/SAVPF fingerprint passive mux", "dtls-server | sdes";
    dtls_towards_dtls: dtls_offer(), Dtls => "UDP/TLS/RTP/SAVPF fingerprint actpass mux", "UDP/TLS/RTP/SAVPF fingerprint active mux", "pass | pass";
    dtls_towards_optional: dtls_offer(), Optional => "RTP/AVP crypto:1 crypto:2 crypto:3 mux", "UDP/TLS/RTP/SAVPF fingerprint passive mux", "dtls-server | sdes";
    dtls_towards_required: dtls_offer(), Required => "UDP/TLS/RTP/SAVPF fingerprint actpass mux", "UDP/TLS/RTP/SAVPF fingerprint active mux", "pass | pass";
}

/// An answer without keys is good enough for `optional`.
#[test]
fn who_is_optional_may_answer_plain() {
    for (offer, answered, expected) in [
        (plain_offer(), "RTP/AVP", "pass | pass"),
        (sdes_offer(), "RTP/SAVP crypto:1", "sdes | pass"),
        (dtls_offer(), "UDP/TLS/RTP/SAVPF fingerprint passive mux", "dtls-server | pass"),
    ] {
        let mut call = call(Srtp::Pass, Srtp::Optional);
        call.offer(Side::A, &offer);
        assert_eq!(shape(&call.answer(Side::B, &plain(PBX, 5000))), answered);
        assert_eq!(legs(&call), expected);
    }
}

/// A best-effort offer of who may not be heard in plain is not left to what the far end makes of it.
#[test]
fn best_effort_of_who_must_encrypt_is_answered_with_keys_even_by_a_plain_far_end() {
    for theirs in [Srtp::Sdes, Srtp::Dtls, Srtp::Required] {
        for others in [Srtp::Pass, Srtp::Off, Srtp::Optional] {
            let mut call = call(theirs, others);
            call.offer(Side::A, &best_effort_offer());
            assert_eq!(shape(&call.answer(Side::B, &plain(PBX, 5000))), "RTP/AVP crypto:1");
            assert_eq!(legs(&call), "sdes | pass");
        }
    }
}

/// `off` on both sides: what can be plain is.
#[test]
fn best_effort_of_who_speaks_plain_only_is_answered_plain() {
    let mut call = call(Srtp::Off, Srtp::Off);
    assert_eq!(shape(&call.offer(Side::A, &best_effort_offer())), "RTP/AVP");
    assert_eq!(shape(&call.answer(Side::B, &plain(PBX, 5000))), "RTP/AVP");
    assert_eq!(legs(&call), "pass | pass");
}

/// RFC 8643 with a fingerprint: nobody but us decides, and a plain far end sees none of it.
#[test]
fn best_effort_by_fingerprint_is_plain_where_it_does_not_pass() {
    let offer = plain_offer() + &fingerprint("AA") + "a=setup:actpass\r\n";
    let mut off = call(Srtp::Pass, Srtp::Off);
    assert_eq!(shape(&off.offer(Side::A, &offer)), "RTP/AVP");
    assert_eq!(shape(&off.answer(Side::B, &plain(PBX, 5000))), "RTP/AVP");
    let mut pass = call(Srtp::Pass, Srtp::Pass);
    assert_eq!(pass.offer(Side::A, &offer), relayed(&offer, PHONE, 4000, RB, 40000));
}

#[test]
fn an_offer_that_waits_for_its_answer_lets_nothing_pass_that_way() {
    for (b, expected) in [(Srtp::Sdes, "pass | sdes-later"), (Srtp::Dtls, "pass | dtls-later")] {
        let mut call = call(Srtp::Pass, b);
        call.offer(Side::A, &plain_offer());
        assert_eq!(legs(&call), expected);
    }
}

#[test]
fn a_late_offer_is_translated_the_other_way_round() {
    let mut call = call(Srtp::Required, Srtp::Off);
    let shown = call.offer(Side::B, &plain(PBX, 5000));
    assert_eq!(shape(&shown), "RTP/SAVP crypto:1 crypto:2 crypto:3");
    assert_eq!(shape(&call.answer(Side::A, &sdes(PHONE, 4000, ALFA))), "RTP/AVP");
    assert_eq!(legs(&call), "sdes | pass");
    assert_eq!(keys(&call, Side::A), (ALFA.into(), key_in(&shown, 1)));
}

#[test]
fn feedback_profiles_stay_what_they_are() {
    let mut call = call(Srtp::Pass, Srtp::Off);
    assert_eq!(shape(&call.offer(Side::A, &sdes_offer().replace("SAVP", "SAVPF"))), "RTP/AVPF");
    assert_eq!(shape(&call.answer(Side::B, &plain(PBX, 5000))), "RTP/SAVPF crypto:1");
}

#[test]
fn fax_and_data_channels_pass_as_they_are() {
    let fax = include_str!("../samples/t38.sdp").replace("m=audio 0 RTP/AVP 0\n", "");
    let mut with_fax = call(Srtp::Required, Srtp::Off);
    let shown = with_fax.offer(Side::B, &fax);
    assert!(shown.contains("m=image 40000 udptl t38") && !shown.contains("crypto"), "{shown}");
    let data = format!(
        "{}m=application 4002 UDP/DTLS/SCTP webrtc-datachannel\r\n{}a=setup:actpass\r\n",
        dtls_offer(),
        fingerprint("CC")
    );
    let shown = call(Srtp::Pass, Srtp::Off).offer(Side::A, &data);
    assert!(!shown.contains("AA:AA") && shown.contains("CC:CC"), "{shown}");
}
