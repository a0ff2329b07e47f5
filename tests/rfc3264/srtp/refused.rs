//! What is refused with 488, and in which words an administrator reads why.

use super::*;

fn refusal(result: Result<String, AnchorError>) -> (u16, String) {
    let error = result.unwrap_err();
    (error.status(), error.to_string())
}

#[test]
fn plain_from_a_side_that_must_encrypt() {
    for theirs in [Srtp::Sdes, Srtp::Dtls, Srtp::Required] {
        let mut call = call(theirs, Srtp::Pass);
        let why = "SRTP of the caller: plain RTP, where `srtp` asks for SRTP: switch SRTP on in the device, or write \
                   `srtp: optional`";
        assert_eq!(refusal(call.try_offer(Side::A, &plain(PHONE, 4000))), (488, why.into()));
        assert_eq!(call.relay.opened, 0, "no port for it");
    }
}

#[test]
fn a_plain_answer_to_an_offer_with_keys() {
    for (a, b) in [(Srtp::Pass, Srtp::Sdes), (Srtp::Pass, Srtp::Dtls), (Srtp::Pass, Srtp::Required)] {
        let mut call = call(a, b);
        call.offer(Side::A, &plain(PHONE, 4000));
        let (status, why) = refusal(call.try_answer(Side::B, "t", true, &plain(PBX, 5000)));
        assert!(status == 488 && why.starts_with("SRTP of the called side: plain RTP"), "{why}");
    }
    let mut passed = call(Srtp::Required, Srtp::Pass);
    passed.offer(Side::A, &sdes(PHONE, 4000, ALFA));
    assert_eq!(refusal(passed.try_answer(Side::B, "t", true, &plain(PBX, 5000))).0, 488);
}

#[test]
fn an_answer_of_a_kind_that_was_not_offered() {
    let sdes = || sdes(PBX, 5000, BRAVO);
    let dtls = || dtls(PBX, 5000, "BB", "active");
    let fax = session(PBX, "m=image 5000 udptl t38\n");
    for (b, answer) in [
        (Srtp::Off, sdes()),
        (Srtp::Off, dtls()),
        (Srtp::Sdes, dtls()),
        (Srtp::Dtls, sdes()),
        (Srtp::Dtls, fax),
    ] {
        let mut call = call(Srtp::Pass, b);
        // Something that `off` must have translated.
        call.offer(Side::A, &best_effort(PHONE, 4000, ALFA));
        let (status, why) = refusal(call.try_answer(Side::B, "t", true, &answer));
        assert!(status == 488 && why.ends_with("of a kind that was not offered to it"), "{why}");
    }
}

#[test]
fn keys_that_cannot_be_used() {
    let offer = |line: &str| {
        let body = plain(PHONE, 4000).replace("RTP/AVP", "RTP/SAVP") + line;
        refusal(call(Srtp::Pass, Srtp::Off).try_offer(Side::A, &body)).1
    };
    assert!(
        offer(&format!("a=crypto:1 {AES_80} inline:{ALFA}|2^20|1:4\r\n")).contains("(MKI): switch it off")
    );
    assert!(offer("a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\n").contains("no a=crypto line has a suite"));
    assert!(offer("").contains("there is not the one a=crypto line"));
    assert!(offer("a=key-mgmt:mikey AQAFgM\r\n").contains("there is not the one a=crypto line"));
}

#[test]
fn a_best_effort_offer_with_useless_keys_is_answered_plain_if_it_may_be() {
    let offer = plain(PHONE, 4000) + "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\r\n";
    let mut may = call(Srtp::Optional, Srtp::Off);
    assert_eq!(shape(&may.offer(Side::A, &offer)), "RTP/AVP");
    assert_eq!(shape(&may.answer(Side::B, &plain(PBX, 5000))), "RTP/AVP");
    assert_eq!(refusal(call(Srtp::Required, Srtp::Off).try_offer(Side::A, &offer)).0, 488);
}

#[test]
fn certificates_that_cannot_be_told() {
    let without = dtls(PHONE, 4000, "AA", "actpass").replace(&fingerprint("AA"), "");
    let (status, why) = refusal(call(Srtp::Pass, Srtp::Off).try_offer(Side::A, &without));
    assert!(status == 488 && why.ends_with("DTLS-SRTP without an a=fingerprint line"), "{why}");
    let sha1 = format!("a=fingerprint:sha-1 {}\r\n", ["AA"; 20].join(":"));
    let weak = dtls(PHONE, 4000, "AA", "actpass").replace(&fingerprint("AA"), &sha1);
    let (status, why) = refusal(call(Srtp::Pass, Srtp::Off).try_offer(Side::A, &weak));
    assert!(status == 488 && why.contains("SHA-256 or better"), "{why}");
}

#[test]
fn a_refused_answer_moves_nothing_and_another_may_come() {
    let mut call = call(Srtp::Pass, Srtp::Sdes);
    call.offer(Side::A, &plain(PHONE, 4000));
    assert!(call.try_answer(Side::B, "x", false, &plain(PBX, 5000)).is_err());
    assert_eq!(legs(&call), "pass | sdes-later");
    call.answer(Side::B, &sdes(PBX, 5000, BRAVO));
    assert_eq!(legs(&call), "pass | sdes");
}

#[test]
fn a_plain_stream_beside_one_with_keys_is_refused_alone() {
    let mut call = call(Srtp::Required, Srtp::Off);
    let two = sdes(PHONE, 4000, ALFA) + "m=audio 4002 RTP/AVP 0\r\n";
    let shown = call.offer(Side::A, &two);
    assert!(
        shown.contains("m=audio 40000 RTP/AVP 0 101\r\n") && shown.contains("m=audio 0 RTP/AVP 0\r\n"),
        "{shown}"
    );
    let answer = call.answer(Side::B, &(plain(PBX, 5000) + "m=audio 0 RTP/AVP 0\r\n"));
    assert!(answer.contains("m=audio 40000 RTP/SAVP") && answer.contains("m=audio 0 RTP/AVP"), "{answer}");
    assert_eq!((legs(&call), call.relay.opened), ("sdes | pass".into(), 1));
    let insists = call.answer(Side::B, &(plain(PBX, 5000) + "m=audio 5002 RTP/AVP 0\r\n"));
    assert!(insists.contains("m=audio 0 RTP/AVP 0\r\n"), "{insists}");
}

#[test]
fn keys_of_a_second_stream_that_cannot_be_used_refuse_the_offer_and_open_nothing() {
    let mut call = call(Srtp::Required, Srtp::Off);
    let two = sdes(PHONE, 4000, ALFA) + "m=video 4002 RTP/SAVP 96\r\na=crypto:1 NEW inline:AAAA\r\n";
    assert_eq!(refusal(call.try_offer(Side::A, &two)).0, 488);
    assert_eq!(call.relay.opened, 0);
}

#[test]
fn no_key_is_printed() {
    let mut call = call(Srtp::Pass, Srtp::Sdes);
    let shown = call.offer(Side::A, &best_effort(PHONE, 4000, ALFA));
    call.answer(Side::B, &sdes(PBX, 5000, BRAVO));
    let printed = format!("{:?} {:?}", call.media, call.relay.rules);
    for key in [ALFA, BRAVO, "alfaalfa", "bravobravo", &key_in(&shown, 1), &key_in(&shown, 2)] {
        assert!(!printed.contains(key), "{key}");
    }
    // Nor as bytes.
    assert!(!printed.contains("97, 108, 102, 97"), "{printed}");
}
