//! DESIGN.md §4, first table (leg A / leg B → what is done): one test for each row, SDP in, SDP out, and what the relay is told.
//!
//! Variants of the rows (forks, restarts, refusals) are in `ice`; how a check travels, packet by packet, in
//! `relay::forward::ice` (`a_check_goes_through_and_its_answer_comes_back_to_who_asked` and its neighbours), and over sockets in
//! `net::media_attacks`. That what arrives on Ra leaves from Rb: `net::relay::tests`.

use turnpike::relay::{LegCrypto, LegRules};
use turnpike::sdp::Session;

use super::samples::sample;
use super::*;

const PBX: &str = "10.20.0.20";

/// A phone's call to the office, under these settings of the two zones, and what either is shown.
fn exchange(phone: Ice, office: Ice, offer: &str, answer: &str) -> (Call, String, String) {
    let Sides { a, b } = phone_and_pbx();
    let sides = Sides { a: SideSettings { ice: phone, ..a }, b: SideSettings { ice: office, ..b } };
    let mut call = Call::new(sides);
    let (offer, answer) = (call.offer(Side::A, offer), call.answer(Side::B, answer));
    (call, offer, answer)
}

/// Without ICE's lines, and without what says where media goes.
fn rest(body: &str) -> Vec<&str> {
    let is_ours = |line: &str| ["m=", "c=", "a=rtcp:"].iter().any(|name| line.starts_with(name));
    body.lines().filter(|line| !is_ours(line) && !is_ice(line)).collect()
}

fn is_ice(line: &str) -> bool {
    ["a=ice-", "a=candidate:", "a=end-of-candidates"].iter().any(|name| line.starts_with(name))
}

/// Foundation, component, priority, and the rest of each candidate.
fn candidates(body: &str) -> Vec<(&str, &str, u32, String)> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let read = |line| {
        let fields: Vec<&str> = str::split(line, ' ').collect();
        (fields[0], fields[1], fields[3].parse().unwrap(), fields[4..].join(" "))
    };
    lines.map(read).collect()
}

/// Name and password of the first section.
fn credentials(body: &str) -> (&str, &str) {
    let value = |name| body.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    (value("a=ice-ufrag:"), value("a=ice-pwd:"))
}

/// Whose name and password opens a leg, and what its endpoint goes by.
fn opens_to(rules: &LegRules) -> ((&str, &str), &str) {
    let ice = rules.ice.as_ref().unwrap();
    ((&ice.local.ufrag, ice.local.pwd.reveal()), ice.remote_ufrag.as_deref().unwrap())
}

/// The default destination of the first section.
fn default(body: &str) -> String {
    Session::parse(body.as_bytes()).unwrap().media()[0].rtp.unwrap().to_string()
}

#[test]
fn ice_and_ice_all_that_is_theirs_stays_and_our_candidate_comes_last() {
    let (offer, answer) = (sample("chrome"), sample("asterisk-webrtc-answer"));
    let (call, offered, answered) = exchange(Ice::Auto, Ice::Auto, &offer, &answer);
    for (before, after, shown, components) in [(&offer, &offered, RB, 2), (&answer, &answered, RA, 1)] {
        assert_eq!(rest(before), rest(after), "fingerprint, setup, mid, BUNDLE and all");
        assert_eq!(credentials(before), credentials(after));
        let (theirs, all) = (candidates(before), candidates(after));
        assert_eq!(theirs, all[..theirs.len()], "theirs stay");
        let ours = &all[theirs.len()..];
        assert_eq!(ours.len(), components, "one for each component that they have");
        for (index, (foundation, component, priority, at)) in ours.iter().enumerate() {
            assert_eq!(*component, (index + 1).to_string());
            assert_eq!(*at, format!("{shown} {} typ relay raddr 0.0.0.0 rport 9", 40_000 + index));
            assert!(
                priority >> 24 == 0 && theirs.iter().all(|their| their.2 > *priority),
                "type preference 0"
            );
            assert!(theirs.iter().all(|their| their.0 != *foundation), "a foundation of its own");
        }
        assert_eq!(default(after), format!("{shown}:40000"), "RFC 8839 §4.2.5: the default is a candidate");
    }
    let (a, b) = (call.relay.rules(0, Side::A), call.relay.rules(0, Side::B));
    assert_eq!(opens_to(a), (credentials(&answer), credentials(&offer).0), "checks of A are meant for B");
    assert_eq!(opens_to(b), (credentials(&offer), credentials(&answer).0));
    for rules in [a, b] {
        assert!(rules.stun_and_dtls && !rules.ice.as_ref().unwrap().terminated, "and go on to it");
        assert!(matches!(rules.crypto, LegCrypto::Pass), "DTLS and SRTP pass unread");
    }
}

/// Kinds, families and spellings of addresses: `shown`.
#[test]
fn ice_and_ice_private_link_local_and_mdns_candidates_stay_in_a_zone_of_full_trust() {
    for (shows, expected) in [(Scope::Global, 2), (Scope::Link, 6)] {
        let Sides { a, b } = phone_and_pbx();
        let mut call = Call::new(Sides { a, b: SideSettings { shows, ..b } });
        let offered = call.offer(Side::B, &sample("asterisk-ice"));
        let theirs = candidates(&offered).into_iter().filter(|(.., at)| !at.contains(" typ relay "));
        assert_eq!(theirs.count(), expected, "the server-reflexive ones go: {offered}");
    }
    let Sides { a, b } = phone_and_pbx();
    let mut call = Call::new(Sides { a: SideSettings { shows: Scope::Private, ..a }, b });
    let offered = call.offer(Side::A, &sample("safari"));
    assert!(!offered.contains(".local ") && offered.contains(" typ srflx "), "{offered}");
}

#[test]
fn ice_and_ice_relay_only_leaves_no_candidate_but_ours() {
    let (offer, answer) = (sample("chrome"), sample("asterisk-webrtc-answer"));
    for (phone, office) in [(Ice::RelayOnly, Ice::Auto), (Ice::Auto, Ice::RelayOnly)] {
        let (call, offered, answered) = exchange(phone, office, &offer, &answer);
        for (before, after, shown) in [(&offer, &offered, RB), (&answer, &answered, RA)] {
            assert_eq!((rest(before), credentials(before)), (rest(after), credentials(after)));
            let all = candidates(after);
            assert!(
                all.iter().all(|(.., at)| at.starts_with(shown) && at.contains(" typ relay ")),
                "{after}"
            );
            assert_eq!(default(after), format!("{shown}:40000"));
        }
        assert_eq!(opens_to(call.relay.rules(0, Side::A)).0, credentials(&answer));
    }
}

#[test]
fn ice_and_none_terminate() {
    let (offer, answer) = (sample("linphone-ice"), sample("asterisk-answer"));
    let (call, offered, answered) = exchange(Ice::Auto, Ice::Auto, &offer, &answer);
    assert_eq!(credentials(&offer), credentials(&offered), "who knows what the answerer can");
    assert!(answered.contains("\r\na=ice-lite\r\n"), "RFC 8839 §5.3: {answered}");
    let ours: Vec<_> = candidates(&answered).into_iter().map(|(.., at)| at).collect();
    assert_eq!(ours, [format!("{RA} 40000 typ host"), format!("{RA} 40001 typ host")]);
    assert_eq!(default(&answered), format!("{RA}:40000"));
    assert_eq!(rest(&answer), rest(&answered));
    let (a, b) = (call.relay.rules(0, Side::A), call.relay.rules(0, Side::B));
    assert_eq!(
        opens_to(a),
        (credentials(&answered), credentials(&offer).0),
        "a name and password of our own"
    );
    assert!(a.ice.as_ref().unwrap().terminated);
    assert!(b.ice.is_none() && !b.stun_and_dtls, "plain towards B: strict latching, and no STUN");
    assert_eq!(b.rtp.unwrap().to_string(), default(&answer));
}

#[test]
fn none_and_none_anchor() {
    let (offer, answer) = (audio(PHONE, 4000), audio(PBX, 5000));
    let (call, offered, answered) = exchange(Ice::Auto, Ice::Auto, &offer, &answer);
    assert_eq!(offered, relayed(&offer, PHONE, 4000, RB, 40_000), "c= and m= only");
    assert_eq!(answered, relayed(&answer, PBX, 5000, RA, 40_000));
    for (side, rtp) in [(Side::A, format!("{PHONE}:4000")), (Side::B, format!("{PBX}:5000"))] {
        let rules = call.relay.rules(0, side);
        assert_eq!(
            (rules.rtp, &rules.payload_types[..]),
            (rtp.parse().ok(), &[0, 101][..]),
            "strict latching"
        );
        assert!(rules.rtp_only && !rules.stun_and_dtls && rules.ice.is_none());
    }
}

#[test]
fn an_appended_offer_and_a_plain_answer_go_on_as_anchor() {
    let (offer, answer) = (sample("linphone-ice"), sample("asterisk-answer"));
    let (call, offered, answered) = exchange(Ice::Append, Ice::Append, &offer, &answer);
    assert!(candidates(&offered).iter().any(|(.., at)| at.starts_with(&format!("{RB} 40000 typ relay"))));
    assert_eq!(default(&offered), format!("{RB}:40000"), "it works for who knows no ICE");
    assert!(!answered.lines().any(is_ice), "{answered}");
    assert_eq!(default(&answered), format!("{RA}:40000"));
    let a = call.relay.rules(0, Side::A);
    assert!(a.ice.is_none());
    assert_eq!((a.rtp, a.sip_source), (default(&offer).parse().ok(), Some(ip(PHONE))), "latched as ever");
}

/// That a trunk over UDP is such a side: `edge::trunks::a_carrier_over_udp_is_offered_no_candidates`.
#[test]
fn towards_a_plain_udp_trunk_no_candidate_is_sent_and_who_does_ice_is_answered_by_us() {
    let (offer, answer) = (sample("linphone-ice"), sample("cisco-cube-answer"));
    let Sides { a, b } = phone_and_pbx();
    let mut call = Call::new(Sides { a, b: SideSettings { ice_on_request: true, ..b } });
    let (offered, answered) = (call.offer(Side::A, &offer), call.answer(Side::B, &answer));
    assert!(!offered.lines().any(is_ice), "{offered}");
    assert_eq!(rest(&offer), rest(&offered));
    assert_eq!(opens_to(call.relay.rules(0, Side::A)).0, credentials(&answered));
    assert!(call.relay.rules(0, Side::A).ice.as_ref().unwrap().terminated);
}

/// `auto` is decided by the answer, each answer by itself.
#[test]
fn the_offer_goes_out_appended_and_the_answer_decides() {
    let mut call = Call::phone_to_pbx();
    let offered = call.offer(Side::A, &sample("linphone-ice"));
    assert!(candidates(&offered).iter().any(|(.., at)| at.contains(" typ relay ")));
    let announcement = call.early("announcement", &sample("asterisk-answer"));
    assert!(announcement.contains("a=ice-lite"), "{announcement}");
    assert!(call.relay.rules(0, Side::A).ice.as_ref().unwrap().terminated);
    let picked_up = call.answer(Side::B, &sample("linphone-ice-answer"));
    assert_eq!(credentials(&picked_up), credentials(&sample("linphone-ice-answer")));
    assert!(!call.relay.rules(0, Side::A).ice.as_ref().unwrap().terminated);
}

/// `srtp: off` or `sdes` towards a DTLS offer. More of it: `srtp`.
#[test]
fn where_the_far_legs_settings_rule_out_the_offered_media_security_ice_ends_at_us_at_once() {
    for (srtp, protocol, key) in [(Srtp::Off, "RTP/AVP", false), (Srtp::Sdes, "RTP/SAVP", true)] {
        let Sides { a, b } = phone_and_pbx();
        let mut call = Call::new(Sides { a, b: SideSettings { srtp, ..b } });
        let offered = call.offer(Side::A, &sample("chrome"));
        assert!(!offered.lines().any(is_ice) && !offered.contains("a=fingerprint:"), "{offered}");
        assert!(offered.contains(&format!("m=audio 40000 {protocol}")), "{offered}");
        assert_eq!(offered.contains("a=crypto:"), key, "{offered}");
        let keyed = sample("yealink-answer").replace("192.168.60.32", PBX);
        let answered = call.answer(Side::B, &if key { keyed } else { sample("asterisk-answer") });
        assert!(answered.contains("a=ice-lite\r\n") && answered.contains("a=fingerprint:"), "{answered}");
        assert!(answered.contains("m=audio 40000 UDP/TLS/RTP/SAVPF "), "as it was offered: {answered}");
        let (a, b) = (call.relay.rules(0, Side::A), call.relay.rules(0, Side::B));
        assert!(a.ice.as_ref().unwrap().terminated && matches!(a.crypto, LegCrypto::Dtls { .. }));
        assert_eq!(matches!(b.crypto, LegCrypto::Sdes { .. }), key);
    }
}
