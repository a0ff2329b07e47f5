//! rtcp-mux (RFC 5761), BUNDLE (RFC 9143), ICE and DTLS: what the relay is told, and what is freed.

use super::*;

const PBX: &str = "10.20.0.20";

fn web(host: &str, audio: u16, video: u16, more: &str) -> String {
    let section = |kind, port, payload| {
        format!("m={kind} {port} UDP/TLS/RTP/SAVPF {payload}\na=ice-ufrag:u\na=ice-pwd:p\n{more}")
    };
    session(
        host,
        &format!("a=group:BUNDLE 0 1\n{}{}", section("audio", audio, 111), section("video", video, 96)),
    )
}

#[test]
fn bundled_streams_share_a_pair_and_the_extra_one_is_freed() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &web(PHONE, 4000, 4002, "a=rtcp-mux\n"));
    assert_eq!(call.relay.open.len(), 2, "the answer may refuse the bundle");
    let answer = web(PBX, 5000, 5000, "a=rtcp-mux\n");
    let shown = call.answer(Side::B, &answer);
    assert!(shown.contains("m=audio 40000 ") && shown.contains("m=video 40000 "), "{shown}");
    assert_eq!(call.relay.open.len(), 1);
    assert_eq!(call.relay.rules(0, Side::B).payload_types, [111, 96], "any section's");
    assert_eq!(shown, call.answer(Side::B, &answer));
}

#[test]
fn a_section_that_is_only_for_the_bundle_gets_no_pair() {
    let mut call = Call::phone_to_pbx();
    assert!(call.offer(Side::A, &web(PHONE, 4000, 0, "")).contains("m=video 0 "));
    let shown = call.answer(Side::B, &web(PBX, 5000, 5000, ""));
    assert!(shown.contains("m=video 40000 "), "{shown}");
    assert_eq!(call.relay.opened, 1);
}

#[test]
fn an_answer_without_bundle_keeps_both() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &web(PHONE, 4000, 4002, ""));
    let shown = call.answer(Side::B, &web(PBX, 5000, 5002, "").replace("a=group:BUNDLE 0 1\r\n", ""));
    assert!(shown.contains("m=audio 40000 ") && shown.contains("m=video 40002 "), "{shown}");
    assert_eq!(call.relay.open.len(), 2);
}

#[test]
fn rtcp_mux_only_when_both_agree() {
    for (answered, agreed) in [("a=rtcp-mux\n", true), ("", false)] {
        let mut call = Call::phone_to_pbx();
        call.offer(Side::A, &session(PHONE, "m=audio 4000 RTP/AVP 0\na=rtcp-mux\n"));
        assert!(!call.relay.rules(0, Side::B).rtcp_mux, "not yet");
        call.answer(Side::B, &session(PBX, &format!("m=audio 5000 RTP/AVP 0\n{answered}")));
        assert_eq!(call.relay.rules(0, Side::A).rtcp_mux, agreed);
        assert_eq!(call.relay.rules(0, Side::B).rtcp_mux, agreed);
    }
}

#[test]
fn stun_and_dtls_pass_where_either_is_spoken() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &web(PHONE, 4000, 4002, ""));
    let rules = call.relay.rules(0, Side::B);
    assert!(rules.stun_and_dtls && rules.rtp_only, "before the answer too");
}

#[test]
fn a_plain_section_does_not_slip_into_a_bundle_where_srtp_is_demanded() {
    let crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9\n";
    let body = |host, video| {
        session(
            host,
            &format!(
                "a=group:BUNDLE 0 1\nm=audio 4000 RTP/SAVP 0\n{crypto}m=video {video} RTP/AVP 96\na=bundle-only\n"
            ),
        )
    };
    let Sides { a, b } = phone_and_pbx();
    let mut call = Call::new(Sides { a, b: SideSettings { srtp: Srtp::Sdes, ..b } });
    call.offer(Side::A, &body(PHONE, 0));
    for _ in 0..2 {
        assert_eq!(call.try_answer(Side::B, "t", true, &body(PBX, 4000)).unwrap_err().status(), 488);
    }
    call.answer(Side::B, &body(PBX, 0));
}
