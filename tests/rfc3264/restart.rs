//! Media of a call whose node has been killed and started anew: the same ports, the same rules, the same words.

use proptest::prelude::*;
use proptest::sample::select;
use turnpike::edge::anchor::{Lost, SavedMedia};
use turnpike::relay::{LegCrypto, LegRules, OpenError, PairId};

use super::samples::{EXCHANGES, Zone, sample};
use super::*;

const PBX: &str = "10.20.0.20";

/// As it is read from the disk.
fn kept(call: &Call) -> SavedMedia {
    serde_json::from_slice(&serde_json::to_vec(&call.media.save()).unwrap()).unwrap()
}

/// After a restart, with random numbers of its own.
fn restarted(call: &Call, sides: Sides) -> (Call, Option<Lost>) {
    restarted_on(FakeRelay::default(), call, sides)
}

fn restarted_on(mut relay: FakeRelay, call: &Call, sides: Sides) -> (Call, Option<Lost>) {
    let (media, lost) = CallMedia::restore(kept(call), sides, &mut relay);
    (Call { media, relay, rng: rand::SeedableRng::seed_from_u64(5) }, lost)
}

/// Of each pair, by its ports: addresses, and both sides' rules, keys and all.
fn legs(call: &Call) -> Vec<String> {
    let leg = |id: PairId, side| {
        let rules = call.relay.rules(id.0, side);
        let LegRules { crypto, ice, .. } = rules;
        let keys = match crypto {
            LegCrypto::Sdes { inbound, outbound } => [inbound, outbound]
                .map(|key| key.as_ref().map(|key| format!("{:?}", key.key_and_salt())))
                .map(Option::unwrap_or_default)
                .concat(),
            LegCrypto::Pass | LegCrypto::Dtls { .. } => String::new(),
        };
        let password = ice.as_ref().map(|ice| ice.local.pwd.reveal().to_owned());
        format!("{rules:?} {keys} {password:?}")
    };
    let pair = |id: PairId| {
        let pair = &call.relay.open[&id];
        (pair.a, pair.b, leg(id, Side::A), leg(id, Side::B))
    };
    call.media.pairs().map(pair).map(|pair| format!("{pair:#?}")).collect()
}

fn srtp() -> impl Strategy<Value = Srtp> {
    select(vec![Srtp::Pass, Srtp::Off, Srtp::Sdes, Srtp::Dtls, Srtp::Optional, Srtp::Required])
}

fn ice() -> impl Strategy<Value = Ice> {
    select(vec![Ice::Auto, Ice::Append, Ice::RelayOnly, Ice::Terminate, Ice::Strip])
}

proptest! {
    /// Whatever was agreed on, the legs are the same ones, and who repeats his offer is told the same as without a restart.
    #[test]
    fn what_was_agreed_on_outlasts_a_restart(
        exchange in select(EXCHANGES.to_vec()),
        (a_ice, b_ice) in (ice(), ice()),
        (a_srtp, b_srtp) in (srtp(), srtp()),
    ) {
        let side = |ice, srtp| SideSettings { srtp, ..Zone::Phones.side(ice) };
        let sides = Sides { a: side(a_ice, a_srtp), b: side(b_ice, b_srtp) };
        let mut call = Call::new(sides.clone());
        let (offer, answer) = (sample(exchange.offer), sample(exchange.answer));
        let agreed = call.try_offer(Side::A, &offer).is_ok()
            && call.try_answer(Side::B, "t", true, &answer).is_ok();
        prop_assume!(agreed);
        let (mut again, lost) = restarted(&call, sides);
        prop_assert_eq!(lost, None);
        prop_assert_eq!(legs(&again), legs(&call));
        // What is new gets the same ports and keys here and there.
        again.relay.opened = call.relay.opened;
        call.rng = rand::SeedableRng::seed_from_u64(5);
        prop_assert_eq!(again.offer(Side::A, &offer), call.offer(Side::A, &offer));
        prop_assert_eq!(again.try_answer(Side::B, "t", true, &answer), call.try_answer(Side::B, "t", true, &answer));
        again.close();
        prop_assert!(again.relay.open.is_empty());
    }
}

#[test]
fn an_offer_that_nobody_has_answered_is_forgotten() {
    let mut call = Call::established();
    let before = legs(&call);
    call.offer(Side::A, &session(PHONE, "m=audio 4100 RTP/AVP 0\nm=video 4102 RTP/AVP 96\n"));
    let (mut again, lost) = restarted(&call, phone_and_pbx());
    assert_eq!((lost, legs(&again)), (None, before));
    assert_eq!(again.relay.open.len(), 1);
    again.roll_back();
    assert_eq!(again.relay.open.len(), 1, "there is nothing to go back to");
}

#[test]
fn one_side_that_was_answered_in_an_unreliable_18x_alone_goes_on() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(PHONE, 4000));
    call.early("t", &audio(PBX, 5000));
    let (again, _) = restarted(&call, phone_and_pbx());
    assert_eq!(legs(&again), legs(&call));
}

#[test]
fn a_port_that_is_taken_leaves_the_stream_without_media_until_it_is_offered_again() {
    let call = Call::established();
    let (other, _) = restarted(&call, phone_and_pbx());
    let (mut again, lost) = restarted_on(other.relay, &call, phone_and_pbx());
    let at = format!("{RA}:40000").parse().unwrap();
    assert_eq!(lost, Some(Lost { at, why: Some(OpenError::PortTaken) }));
    assert_eq!(
        lost.unwrap().to_string(),
        "no media at 203.0.113.10:40000: the relay port is taken by somebody else"
    );
    assert!(again.media.pairs().next().is_none());
    let offer = audio(PHONE, 4000);
    assert_ne!(again.offer(Side::A, &offer), offer);
    again.answer(Side::B, &audio(PBX, 5000));
    assert_eq!(again.media.pairs().count(), 1, "at another port");
}

#[test]
fn an_address_that_is_the_zones_no_more_is_not_bound() {
    let call = Call::established();
    let moved = Sides { b: side("10.20.0.6"), ..phone_and_pbx() };
    let (again, lost) = restarted(&call, moved);
    let at = format!("{RB}:40000").parse().unwrap();
    assert_eq!(lost, Some(Lost { at, why: None }));
    assert!(again.relay.open.is_empty());
}

#[test]
fn counts_go_on() {
    use std::sync::atomic::Ordering::Relaxed;
    let call = Call::established();
    let count = |call: &Call, packets| {
        let id = call.media.pairs().next().unwrap();
        call.relay.open[&id].counters.a.packets.store(packets, Relaxed);
    };
    count(&call, 50);
    let (again, _) = restarted(&call, phone_and_pbx());
    count(&again, 3);
    let (third, _) = restarted(&again, phone_and_pbx());
    count(&third, 1);
    assert_eq!(third.media.streams()[0].a.packets, 54);
}

/// For the journal: thousands of these are written, and read at the start.
#[test]
fn what_is_kept_of_a_call_is_small_and_nothing_secret_is_printed() {
    let key = |letter: &str| letter.repeat(40);
    let secure = |host, port, letter: &str| {
        let line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}\r\n", key(letter));
        let ice = format!("a=ice-ufrag:name\r\na=ice-pwd:{}\r\n", key("s"));
        audio(host, port).replace("RTP/AVP", "RTP/SAVP") + &line + &ice
    };
    let plain = Call::established();
    let sides = phone_and_pbx();
    let mut call = Call::new(Sides { b: SideSettings { srtp: Srtp::Sdes, ..sides.b }, ..sides });
    call.offer(Side::A, &secure(PHONE, 4000, "a"));
    call.answer(Side::B, &secure(PBX, 5000, "b"));
    for (call, most) in [(&plain, 2000), (&call, 4000)] {
        let saved = kept(call);
        let size = serde_json::to_vec(&saved).unwrap().len();
        assert!(size < most, "{size} bytes");
        let printed = format!("{saved:?}");
        assert!(!printed.contains(&key("s")), "{printed}");
    }
}
