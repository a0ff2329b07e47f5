//! Whatever the order of offers, answers, forks, refusals and ends, in two calls at once: no pair stays open, none is closed
//! twice ([`FakeRelay`] looks after that), and no stream ever has two.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const DTLS: &str = "audio {} UDP/TLS/RTP/SAVPF 0\na=setup:actpass\na=fingerprint:sha-256 \
    1D:6E:31:6F:B5:46:5E:0C:6C:95:6B:5D:5B:0C:7A:84:83:9A:12:57:91:B5:1C:4B:08:8E:95:B1:9E:4B:53:E5";

#[derive(Clone, Debug)]
enum Step {
    Offer(Side, String),
    Answer(Side, &'static str, bool, String),
    RollBack,
    Forget(&'static str),
    Listen(u64),
    Close,
}

fn body() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just(PHONE),
        Just("10.20.0.20"),
        Just("192.168.1.5"),
        Just("0.0.0.0"),
        Just(RA),
        Just(RB)
    ];
    let port = prop_oneof![Just(0), Just(4000), Just(4002), Just(40000), Just(40002)];
    let kind = prop_oneof![
        2 => Just("audio {} RTP/AVP 0"),
        1 => Just("audio {} RTP/SAVP 0\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9"),
        1 => Just(DTLS),
        1 => Just("image {} udptl t38"),
        1 => Just("message {} TCP/MSRP *"),
    ];
    let section =
        (kind, port).prop_map(|(kind, port)| format!("m={}\n", kind.replace("{}", &port.to_string())));
    let bundle = prop_oneof![Just(""), Just("a=group:BUNDLE 0 1 2\n")];
    let ice = prop_oneof![
        Just(""),
        Just("a=ice-ufrag:alfa\na=ice-pwd:alfaalfaalfaalfaalfaalfa\n"),
        Just("a=ice-lite\na=ice-ufrag:bravo\na=ice-pwd:bravobravobravobravobravo\n"),
    ];
    (host, bundle, ice, vec(section, 0..4)).prop_map(|(host, bundle, ice, sections)| {
        session(host, &format!("{bundle}{ice}{}", sections.concat()))
    })
}

fn step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::A), Just(Side::B)];
    let tag = || prop_oneof![Just("x"), Just("y")];
    prop_oneof![
        4 => (side(), body()).prop_map(|(from, sdp)| Step::Offer(from, sdp)),
        6 => (side(), tag(), any::<bool>(), body()).prop_map(|(from, tag, last, sdp)| Step::Answer(from, tag, last, sdp)),
        1 => Just(Step::RollBack),
        1 => tag().prop_map(Step::Forget),
        1 => (0..100u64).prop_map(Step::Listen),
        1 => Just(Step::Close),
    ]
}

/// What a zone may say of media.
fn media() -> impl Strategy<Value = (Ice, Srtp)> {
    (
        select(vec![Ice::Auto, Ice::Append, Ice::RelayOnly, Ice::Terminate, Ice::Strip]),
        select(vec![Srtp::Pass, Srtp::Off, Srtp::Sdes, Srtp::Dtls, Srtp::Optional, Srtp::Required]),
    )
}

/// Pairs that the call says it holds.
fn held(call: &Call) -> Vec<u64> {
    call.media.pairs().map(|pair| pair.0).collect()
}

proptest! {
    #[test]
    fn no_pair_is_left_open(
        steps in vec((any::<bool>(), step()), 0..40),
        trusted in any::<bool>(),
        ((a_ice, a_srtp), (b_ice, b_srtp)) in (media(), media()),
        capacity in 1..8usize,
    ) {
        let Sides { a, b } = if trusted { Sides { a: side(RA), b: side(RA) } } else { phone_and_pbx() };
        let a = SideSettings { ice: a_ice, srtp: a_srtp, ..a };
        let sides = Sides { a, b: SideSettings { ice: b_ice, srtp: b_srtp, ..b } };
        let (mut call, mut other, start) = (Call::new(sides.clone()), Call::new(sides), Instant::now());
        call.relay.capacity = Some(capacity);
        for (changes, step) in steps {
            if changes {
                std::mem::swap(&mut call.relay, &mut other.relay);
                std::mem::swap(&mut call, &mut other);
            }
            match step {
                Step::Offer(from, sdp) => drop(call.try_offer(from, &sdp)),
                Step::Answer(from, tag, is_final, sdp) => {
                    if let Ok(once) = call.try_answer(from, tag, is_final, &sdp) {
                        prop_assert_eq!(Ok(once), call.try_answer(from, tag, is_final, &sdp), "same in, same out");
                    }
                }
                Step::RollBack => call.roll_back(),
                Step::Forget(tag) => call.media.forget_answer(tag.as_bytes(), &mut call.relay),
                Step::Close => {
                    call.close();
                    prop_assert!(held(&call).is_empty());
                }
                Step::Listen(after) => drop(call.media.listen(start + Duration::from_secs(after))),
            }
            let held = [held(&call), held(&other)].concat();
            let open: BTreeSet<u64> = call.relay.open.keys().map(|pair| pair.0).collect();
            prop_assert_eq!(held.len(), open.len(), "each pair once");
            prop_assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), open, "what is open is known");
        }
        call.close();
        std::mem::swap(&mut call.relay, &mut other.relay);
        other.close();
        prop_assert!(other.relay.open.is_empty());
        prop_assert_eq!(other.relay.opened, other.relay.closed);
    }
}
