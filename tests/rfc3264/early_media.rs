//! 18x with SDP, forking, and which answer the relay's rules follow.

use super::*;

const X: &str = "10.20.0.20";
const Y: &str = "10.20.0.21";

#[test]
fn same_sdp_in_183_and_200_is_the_same_bytes() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(PHONE, 4000));
    let answer = audio(X, 5000);
    let early = call.early("t", &answer);
    assert_eq!(early, call.answer(Side::B, &answer));
    assert_eq!(early, call.answer(Side::B, &answer), "a 200 that is sent again");
    assert_eq!(call.relay.opened, 1);
}

#[test]
fn different_sdp_in_200_is_answered_against_the_kept_offer() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(PHONE, 4000));
    call.early("t", &audio(X, 5000));
    let other = audio(Y, 6000);
    assert_eq!(
        call.answer(Side::B, &other),
        relayed(&other, Y, 6000, RA, 40000),
        "the same caller-side port"
    );
    assert_eq!(call.relay.rules(0, Side::B).rtp, format!("{Y}:6000").parse().ok());
    assert_eq!(call.relay.opened, 1);
}

#[test]
fn before_the_answer_the_called_side_may_send_what_the_offer_lists() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(PHONE, 4000));
    let rules = call.relay.rules(0, Side::B);
    assert_eq!((rules.rtp, &rules.payload_types[..]), (None, &[0, 101][..]));
    assert!(rules.rtp_only);
}

#[test]
fn forks_share_the_offer_and_the_latest_early_answer_counts_until_one_is_final() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(PHONE, 4000));
    let heard = |call: &Call| call.relay.rules(0, Side::B).rtp.map(|rtp| rtp.ip());
    let from_x = call.early("x", &audio(X, 5000));
    assert_eq!(heard(&call), Some(ip(X)));
    call.early("y", &audio(Y, 6000));
    assert_eq!(heard(&call), Some(ip(Y)));
    assert_eq!(from_x, call.try_answer(Side::B, "x", true, &audio(X, 5000)).unwrap());
    assert_eq!(heard(&call), Some(ip(X)));
    let late = audio(Y, 6000);
    assert_eq!(call.early("y", &late), relayed(&late, Y, 6000, RA, 40000), "still rewritten");
    assert_eq!(heard(&call), Some(ip(X)), "but not followed");
    assert_eq!(call.relay.opened, 1);
}

#[test]
fn who_picks_up_counts_more_than_a_prackd_announcement() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(PHONE, 4000));
    call.try_answer(Side::B, "announcement", true, &audio(X, 5000)).unwrap();
    call.try_answer(Side::B, "callee", true, &audio(Y, 6000)).unwrap();
    assert_eq!(call.relay.rules(0, Side::B).rtp, format!("{Y}:6000").parse().ok());
}

#[test]
fn a_second_winner_cannot_have_what_the_first_refused() {
    let mut call = Call::phone_to_pbx();
    let both = |host, video| session(host, &format!("m=audio 5000 RTP/AVP 0\nm=video {video} RTP/AVP 96\n"));
    call.offer(Side::A, &both(PHONE, 4002));
    call.try_answer(Side::B, "x", true, &both(X, 0)).unwrap();
    let second = call.try_answer(Side::B, "y", true, &both(Y, 6002)).unwrap();
    assert!(second.contains("m=audio 40000 ") && second.contains("m=video 0 "), "{second}");
}

#[test]
fn a_refused_call_frees_its_ports() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio(PHONE, 4000));
    call.early("t", &audio(X, 5000));
    call.roll_back();
    assert!(call.relay.open.is_empty());
}
