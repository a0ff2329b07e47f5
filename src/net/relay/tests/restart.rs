//! The relay is gone, as with the process that had it, and the next one opens the same ports: no signalling, no handshake.

use super::*;
use crate::media::srtp::{Inbound, MasterKey, Outbound, Suite, TAILROOM};
use crate::relay::LegCrypto;

#[test]
fn media_goes_on_over_a_restart_between_the_same_sockets_and_a_stranger_stays_one() {
    let ip = loopback();
    let mut relay = relay_on(&[ip], 22600..=22619);
    let ((alice, alice_addr), (bob, bob_addr)) = (phone(ip), phone(ip));
    // Behind NAT: SDP names nothing that may be reached.
    let nat = LegRules { sip_source: Some(ip), rtp: None, ..rules(alice_addr) };
    let pair = relay.open(here(ip), here(ip)).unwrap();
    relay.set_leg(pair.id, Side::A, nat.clone());
    relay.set_leg(pair.id, Side::B, LegRules { send_before_latch: true, ..rules(bob_addr) });
    alice.send_to(&rtp(1), pair.a.rtp().0).unwrap();
    assert_eq!(receive(&bob), (rtp(1), pair.b.rtp().0));
    wait_until("the latch is told", || pair.save().side(Side::A).latched[0] == Some(alice_addr));
    let saved = pair.save();
    drop(relay);

    let mut relay = relay_on(&[ip], 22600..=22619);
    let again = relay.reopen(ip, &saved).unwrap();
    assert_eq!((again.a, again.b), (pair.a, pair.b));
    let twice = relay.reopen(ip, &saved);
    assert_eq!(twice.map(|pair| pair.id), Err(OpenError::PortTaken));
    let (stranger, _) = phone(ip);
    stranger.send_to(&rtp(9), pair.a.rtp().0).unwrap();
    relay.set_leg(again.id, Side::A, nat);
    relay.set_leg(again.id, Side::B, LegRules { send_before_latch: true, ..rules(bob_addr) });
    bob.send_to(&rtp(2), pair.b.rtp().0).unwrap();
    assert_eq!(receive(&alice), (rtp(2), pair.a.rtp().0), "before she has said a word");
    alice.send_to(&rtp(3), pair.a.rtp().0).unwrap();
    assert_eq!(receive(&bob), (rtp(3), pair.b.rtp().0), "and nothing of the stranger's");
    wait_until("the stranger is counted", || again.counters.a.refused_source.load(Ordering::Relaxed) == 1);
    assert_eq!(relay.usage().ports_taken, 4);

    // The other 16 ports are others'.
    let more: Vec<_> = std::iter::from_fn(|| relay.open(here(ip), here(ip)).ok()).collect();
    let addresses = more.iter().chain([&again]).flat_map(|pair| all_of(&[pair.a, pair.b]));
    let different: std::collections::HashSet<_> = addresses.collect();
    assert_eq!((more.len(), different.len()), (4, 20));
}

/// Three times round, so that the rollover counter is no guess.
#[test]
fn a_phone_that_does_srtp_is_heard_and_hears_after_a_restart() {
    let ip = loopback();
    let key = |seed| MasterKey::new(Suite::AesCm128HmacSha1_80, &[seed; 30]).unwrap();
    let sdes = LegCrypto::Sdes { inbound: Some(key(1)), outbound: Some(key(2)) };
    let ((alice, alice_addr), (bob, bob_addr)) = (phone(ip), phone(ip));
    let set = |relay: &mut Prompt, pair| {
        relay.set_leg(pair, Side::A, LegRules { crypto: sdes.clone(), ..rules(alice_addr) });
        relay.set_leg(pair, Side::B, LegRules { send_before_latch: true, ..rules(bob_addr) });
    };
    let (mut sends, mut hears) = (Outbound::new(&key(1)), Inbound::new(&key(2)));
    let mut both_ways = |pair: &OpenPair, n: u32| {
        let mut packet = rtp(1);
        packet[2..4].copy_from_slice(&(n as u16).to_be_bytes());
        let mut sealed = [&packet[..], &[0; TAILROOM]].concat();
        let len = sends.protect_rtp(&mut sealed, packet.len()).unwrap();
        alice.send_to(&sealed[..len], pair.a.rtp().0).unwrap();
        assert_eq!(receive(&bob).0, packet, "packet {n}");
        bob.send_to(&packet, pair.b.rtp().0).unwrap();
        let (mut sealed, _) = receive(&alice);
        let len = hears.unprotect_rtp(&mut sealed, Instant::now()).expect("sealed for alice");
        assert_eq!(sealed[..len], packet);
    };
    let mut relay = relay_on(&[ip], 22620..=22629);
    let pair = relay.open(here(ip), here(ip)).unwrap();
    set(&mut relay, pair.id);
    (0..200_000).step_by(10_000).for_each(|n| both_ways(&pair, n));
    let saved = || pair.save().side(Side::A).clone();
    wait_until("both rollovers are told", || {
        saved().inbound == saved().outbound && saved().inbound.len() == 1
    });
    let saved = pair.save();
    drop(relay);
    let mut relay = relay_on(&[ip], 22620..=22629);
    let again = relay.reopen(ip, &saved).unwrap();
    set(&mut relay, again.id);
    (200_000..200_050).for_each(|n| both_ways(&again, n));
    assert_eq!(again.counters.a.refused_authentication.load(Ordering::Relaxed), 0);
}
