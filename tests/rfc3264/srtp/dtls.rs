//! DTLS-SRTP of ours towards a browser or phone.

use super::*;

const OURS: &str = "F1:F1";

fn value<'b>(body: &'b str, name: &str) -> Option<&'b str> {
    body.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name))
}

/// One that does ICE, the way a browser does.
fn browser(setup: &str) -> String {
    dtls(PHONE, 4000, "AA", setup)
        + "a=mid:audio0\r\na=ice-ufrag:alfa\r\na=ice-pwd:alfaalfaalfaalfaalfaalfa\r\n"
}

fn browser_and_pbx() -> (Call, String) {
    let mut call = call(Srtp::Pass, Srtp::Off);
    call.offer(Side::A, &browser("actpass"));
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    (call, answer)
}

/// A plain PBX has called a browser: what that was offered.
fn pbx_and_browser() -> (Call, String) {
    let mut call = call(Srtp::Dtls, Srtp::Off);
    let shown = call.offer(Side::B, &plain(PBX, 5000));
    (call, shown)
}

#[test]
fn a_browser_is_answered_with_all_that_it_insists_on() {
    let (call, answer) = browser_and_pbx();
    assert_eq!(shape(&answer), "UDP/TLS/RTP/SAVPF fingerprint active mux");
    assert!(answer.contains(OURS) && answer.contains("\r\na=ice-lite\r\n"), "{answer}");
    assert_eq!(value(&answer, "mid:"), Some("audio0"), "{answer}");
    assert_eq!(answer.matches("a=candidate").count(), 1, "one component: {answer}");
    let (a, b) = (call.relay.rules(0, Side::A), call.relay.rules(0, Side::B));
    assert!(a.rtcp_mux && !b.rtcp_mux, "each leg for itself");
    assert!(a.ice.as_ref().is_some_and(|ice| ice.terminated) && b.ice.is_none());
    assert_eq!(legs(&call), "dtls-client | pass");
}

#[test]
fn while_it_rings_nobody_shakes_hands_with_the_caller() {
    let mut call = call(Srtp::Pass, Srtp::Off);
    call.offer(Side::A, &browser("actpass"));
    assert_eq!(legs(&call), "dtls-nobody | pass");
    call.early("x", &plain(PBX, 5000));
    assert_eq!(legs(&call), "dtls-client | pass");
}

#[test]
fn a_mid_that_the_answer_has_stays() {
    let mut call = call(Srtp::Pass, Srtp::Off);
    call.offer(Side::A, &browser("actpass"));
    let answer = call.answer(Side::B, &(plain(PBX, 5000) + "a=mid:other\r\n"));
    assert_eq!((value(&answer, "mid:"), answer.matches("a=mid").count()), (Some("other"), 1), "{answer}");
}

#[test]
fn a_bundle_is_not_shown_to_who_gets_keys_of_its_own() {
    let mut call = call(Srtp::Pass, Srtp::Sdes);
    let bundled =
        browser("actpass").replace("t=0 0\r\n", "t=0 0\r\na=group:LS audio0\r\na=group:BUNDLE audio0\r\n");
    let shown = call.offer(Side::A, &bundled);
    assert!(shown.contains("a=group:LS") && !shown.contains("BUNDLE"), "{shown}");
}

/// RFC 8829 §4.1.1: with `bundlePolicy: max-bundle` a browser takes no body without a bundle.
#[test]
fn who_offers_a_bundle_is_answered_with_a_bundle_of_one() {
    let offer = browser("actpass").replace("t=0 0\r\n", "t=0 0\r\na=group:BUNDLE audio0 video0\r\n");
    let video = offer.split_once("m=audio").unwrap().1.replace("audio0", "video0").replace("4000", "4002");
    let mut call = call(Srtp::Pass, Srtp::Off);
    let shown = call.offer(Side::A, &format!("{offer}m=video{video}"));
    assert!(!shown.contains("BUNDLE"), "each section has its own transport: {shown}");
    let section = plain(PBX, 5002).split_once("m=audio").unwrap().1.to_owned();
    let both = format!("{}m=video{section}", plain(PBX, 5000));
    let answer = call.answer(Side::B, &both);
    assert_eq!(value(&answer, "group:"), Some("BUNDLE audio0"), "{answer}");
    let refused = plain(PBX, 5000).replace("m=audio 5000", "m=audio 0");
    let answer = call.answer(Side::B, &format!("{refused}m=video{section}"));
    assert_eq!(value(&answer, "group:"), Some("BUNDLE video0"), "what is refused is in no bundle: {answer}");
}

#[test]
fn who_offers_no_bundle_is_answered_with_none() {
    let (_, answer) = browser_and_pbx();
    assert_eq!(value(&answer, "group:"), None);
}

#[test]
fn who_says_active_is_answered_passive() {
    let mut call = call(Srtp::Pass, Srtp::Off);
    call.offer(Side::A, &browser("active"));
    assert_eq!(value(&call.answer(Side::B, &plain(PBX, 5000)), "setup:"), Some("passive"));
    assert_eq!(legs(&call), "dtls-server | pass");
}

#[test]
fn what_is_said_for_the_session_counts_and_does_not_pass() {
    let at_session = browser("actpass")
        .replace(&fingerprint("AA"), "")
        .replace("a=setup:actpass\r\n", "")
        .replace("t=0 0\r\n", &format!("t=0 0\r\n{}a=setup:actpass\r\n", fingerprint("AA")));
    let mut call = call(Srtp::Pass, Srtp::Off);
    let shown = call.offer(Side::A, &at_session);
    assert!(!shown.contains("a=fingerprint") && !shown.contains("a=setup"), "{shown}");
    call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!(legs(&call), "dtls-client | pass");
}

#[test]
fn a_browser_that_is_called_is_offered_dtls_and_ice() {
    let (mut call, shown) = pbx_and_browser();
    assert_eq!(shape(&shown), "UDP/TLS/RTP/SAVPF fingerprint actpass mux");
    assert!(shown.contains("\r\na=ice-lite\r\n") && shown.contains(" typ host"), "{shown}");
    assert_eq!((value(&shown, "mid:"), value(&shown, "group:")), (Some("0"), Some("BUNDLE 0")));
    assert_eq!(legs(&call), "dtls-later | pass");
    let answer = call.answer(Side::A, &browser("active"));
    assert_eq!(shape(&answer), "RTP/AVP");
    assert!(!answer.contains("a=ice") && !answer.contains("AA:AA"), "{answer}");
    assert_eq!(legs(&call), "dtls-server | pass");
    let rules = call.relay.rules(0, Side::A);
    assert!(rules.rtcp_mux && !call.relay.rules(0, Side::B).rtcp_mux);
    let ice = rules.ice.as_ref().unwrap();
    assert!(ice.terminated && ice.remote_ufrag.as_deref() == Some("alfa"));
}

#[test]
fn a_phone_with_dtls_and_no_ice_is_offered_ice_and_may_leave_it() {
    let (mut call, _) = pbx_and_browser();
    call.answer(Side::A, &dtls(PHONE, 4000, "AA", "active"));
    assert!(call.relay.rules(0, Side::A).ice.is_none());
    assert_eq!(legs(&call), "dtls-server | pass");
}

#[test]
fn with_ice_strip_dtls_is_offered_without() {
    let sides = phone_and_pbx();
    let a = SideSettings { srtp: Srtp::Dtls, ice: Ice::Strip, ..sides.a };
    let mut call = Call::new(Sides { a, b: SideSettings { srtp: Srtp::Off, ..sides.b } });
    let shown = call.offer(Side::B, &plain(PBX, 5000));
    assert!(!shown.contains("a=ice") && shown.contains(OURS), "{shown}");
}

/// RFC 8842 §5.3: the association stays, so its roles do.
#[test]
fn re_offers_of_either_side_keep_the_association() {
    let (mut call, shown) = pbx_and_browser();
    call.answer(Side::A, &browser("active"));
    let before = format!("{:?}", call.relay.rules(0, Side::A));
    let again = call.offer(Side::A, &browser("actpass"));
    assert_eq!(shape(&again), "RTP/AVP mux");
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!(value(&answer, "setup:"), Some("passive"), "we were the server: {answer}");
    assert_eq!(value(&answer, "ice-ufrag:"), value(&shown, "ice-ufrag:"), "no restart");
    assert_eq!(format!("{:?}", call.relay.rules(0, Side::A)), before);
    let hold = call.offer(Side::B, &(plain(PBX, 5000) + "a=sendonly\r\n"));
    assert_eq!(value(&hold, "setup:"), Some("actpass"));
    assert_eq!(value(&hold, "mid:"), Some("audio0"));
    call.answer(Side::A, &browser("active"));
    assert_eq!(format!("{:?}", call.relay.rules(0, Side::A)), before);
}

#[test]
fn another_certificate_is_another_association() {
    let (mut call, _) = pbx_and_browser();
    call.answer(Side::A, &browser("active"));
    call.offer(Side::A, &browser("actpass").replace("AA:AA", "AB:AB"));
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!(value(&answer, "setup:"), Some("active"), "whoever may choose begins");
    assert_eq!(legs(&call), "dtls-client | pass");
}

#[test]
fn each_fork_has_its_own_certificate() {
    let mut call = call(Srtp::Pass, Srtp::Dtls);
    call.offer(Side::A, &plain(PHONE, 4000));
    let theirs = |call: &Call| match &call.relay.rules(0, Side::B).crypto {
        LegCrypto::Dtls { fingerprints, .. } => fingerprints[0].to_string(),
        other => panic!("{other:?}"),
    };
    call.early("x", &dtls(PBX, 5000, "B1", "active"));
    assert!(theirs(&call).ends_with("B1:B1"));
    call.early("y", &dtls("10.20.0.21", 6000, "B2", "passive"));
    assert!(theirs(&call).ends_with("B2:B2"));
    assert_eq!(legs(&call), "pass | dtls-client");
}

/// Both sides do DTLS, of one it is not asked what it can: nothing is translated, and ICE passes.
#[test]
fn dtls_from_end_to_end_passes_with_its_ice() {
    let mut call = call(Srtp::Dtls, Srtp::Pass);
    let shown = call.offer(Side::A, &browser("actpass"));
    assert!(shown.contains("AA:AA") && shown.contains("a=ice-ufrag:alfa"), "{shown}");
    assert_eq!(legs(&call), "pass | pass");
}

/// Where a browser says that RTCP comes on RTP's port, a far end that muxes nothing is shown the next one.
#[test]
fn each_leg_has_its_own_ports() {
    let one_port = browser("active") + "a=rtcp:4000\r\n";
    let (mut call, _) = pbx_and_browser();
    let answer = call.answer(Side::A, &one_port);
    assert_eq!((shape(&answer), value(&answer, "rtcp:")), ("RTP/AVP".into(), Some("40001")), "{answer}");
}

/// It may be behind NAT: our ClientHello would not reach it.
#[test]
fn a_phone_without_ice_is_left_to_begin() {
    let mut call = call(Srtp::Pass, Srtp::Off);
    call.offer(Side::A, &dtls(PHONE, 4000, "AA", "actpass"));
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!(shape(&answer), "UDP/TLS/RTP/SAVPF fingerprint passive mux");
    assert_eq!(legs(&call), "dtls-server | pass");
    call.offer(Side::A, &dtls(PHONE, 4000, "AA", "actpass"));
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    assert_eq!(value(&answer, "setup:"), Some("passive"), "the association stays");
}
