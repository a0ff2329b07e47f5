//! Whatever the order of offers, answers, refusals and ends: no pair stays open, and no stream ever has two.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Offer(Side, String),
    Answer(Side, &'static str, bool, String),
    RollBack,
    Idle(u64),
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
    let kind =
        prop_oneof![Just("audio {} RTP/AVP 0"), Just("image {} udptl t38"), Just("message {} TCP/MSRP *")];
    let section =
        (kind, port).prop_map(|(kind, port)| format!("m={}\n", kind.replace("{}", &port.to_string())));
    let bundle = prop_oneof![Just(""), Just("a=group:BUNDLE 0 1 2\n")];
    (host, bundle, vec(section, 0..4))
        .prop_map(|(host, bundle, sections)| session(host, &format!("{bundle}{}", sections.concat())))
}

fn step() -> impl Strategy<Value = Step> {
    let side = || prop_oneof![Just(Side::A), Just(Side::B)];
    let tag = prop_oneof![Just("x"), Just("y")];
    prop_oneof![
        4 => (side(), body()).prop_map(|(from, sdp)| Step::Offer(from, sdp)),
        6 => (side(), tag, any::<bool>(), body()).prop_map(|(from, tag, last, sdp)| Step::Answer(from, tag, last, sdp)),
        1 => Just(Step::RollBack),
        1 => (0..4u64).prop_map(Step::Idle),
    ]
}

proptest! {
    #[test]
    fn no_pair_is_left_open(steps in vec(step(), 0..30), trusted in any::<bool>(), capacity in 1..8usize) {
        let sides = if trusted { Sides { a: side(RA), b: side(RA) } } else { phone_and_pbx() };
        let mut call = Call::new(sides);
        call.relay.capacity = Some(capacity);
        for step in steps {
            match step {
                Step::Offer(from, sdp) => drop(call.try_offer(from, &sdp)),
                Step::Answer(from, tag, is_final, sdp) => {
                    if let Ok(once) = call.try_answer(from, tag, is_final, &sdp) {
                        prop_assert_eq!(Ok(once), call.try_answer(from, tag, is_final, &sdp), "same in, same out");
                    }
                }
                Step::RollBack => call.roll_back(),
                Step::Idle(pair) => drop(call.media.handle_relay(RelayEvent::Idle(turnpike::relay::PairId(pair)))),
            }
            let held: Vec<u64> = call.media.pairs().map(|pair| pair.0).collect();
            let open: BTreeSet<u64> = call.relay.open.keys().map(|pair| pair.0).collect();
            prop_assert_eq!(held.len(), open.len(), "each pair once");
            prop_assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), open, "what is open is known");
        }
        call.close();
        prop_assert!(call.relay.open.is_empty());
        prop_assert_eq!(call.relay.opened, call.relay.closed);
    }
}
