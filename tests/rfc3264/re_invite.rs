//! Offers in an established call: ports stay, streams come and go, hold, roll-back.

use super::*;

const PBX: &str = "10.20.0.20";

#[test]
fn re_invite_and_update_keep_their_ports() {
    let mut call = Call::established();
    let (offer, answer) = (audio(PHONE, 4010), audio(PBX, 5000));
    assert_eq!(call.offer(Side::A, &offer), relayed(&offer, PHONE, 4010, RB, 40000));
    assert_eq!(call.relay.rules(0, Side::A).rtp.unwrap().port(), 4000, "media still flows as agreed before");
    assert_eq!(call.answer(Side::B, &answer), relayed(&answer, PBX, 5000, RA, 40000));
    assert_eq!(call.relay.rules(0, Side::A).rtp.unwrap().port(), 4010);
    let from_pbx = call.offer(Side::B, &answer);
    assert_eq!(from_pbx, relayed(&answer, PBX, 5000, RA, 40000));
    call.answer(Side::A, &offer);
    assert_eq!((call.relay.opened, call.relay.closed), (1, 0));
}

#[test]
fn while_an_offer_is_pending_old_and_new_payload_types_pass() {
    let mut call = Call::established();
    call.offer(Side::A, &session(PHONE, "m=audio 4000 RTP/AVP 8\n"));
    assert_eq!(call.relay.rules(0, Side::B).payload_types, [0, 101, 8]);
    call.answer(Side::B, &session(PBX, "m=audio 5000 RTP/AVP 8\n"));
    assert_eq!(call.relay.rules(0, Side::B).payload_types, [8]);
}

#[test]
fn a_phone_behind_nat_that_moves_its_port_latches_anew() {
    let mut call = Call::phone_to_pbx();
    call.offer(Side::A, &audio("192.168.1.5", 4000));
    call.answer(Side::B, &audio(PBX, 5000));
    let epoch = call.relay.rules(0, Side::A).epoch;
    call.offer(Side::A, &audio("192.168.1.5", 4000));
    call.answer(Side::B, &audio(PBX, 5000));
    assert_eq!(call.relay.rules(0, Side::A).epoch, epoch);
    call.offer(Side::A, &audio("192.168.1.5", 4010));
    call.answer(Side::B, &audio(PBX, 5000));
    assert_ne!(call.relay.rules(0, Side::A).epoch, epoch);
    assert_eq!(call.relay.rules(0, Side::A).rtp, None);
}

#[test]
fn hold_keeps_the_port_and_the_relay_open() {
    let mut call = Call::established();
    let epoch = call.relay.rules(0, Side::A).epoch;
    for hold in ["a=sendonly", "a=inactive"] {
        let offer = format!("{}{hold}\r\n", audio(PHONE, 4000));
        assert_eq!(call.offer(Side::A, &offer), relayed(&offer, PHONE, 4000, RB, 40000));
        call.answer(Side::B, &audio(PBX, 5000));
    }
    let old_way = audio("0.0.0.0", 4000);
    assert_eq!(call.offer(Side::A, &old_way), relayed(&old_way, "0.0.0.0", 4000, "0.0.0.0", 40000));
    call.answer(Side::B, &audio(PBX, 5000));
    assert_eq!(call.relay.rules(0, Side::A).rtp, None);
    call.offer(Side::A, &audio(PHONE, 4000));
    call.answer(Side::B, &audio(PBX, 5000));
    let rules = call.relay.rules(0, Side::A);
    assert_eq!((rules.rtp, rules.epoch), (format!("{PHONE}:4000").parse().ok(), epoch));
    assert_eq!((call.relay.opened, call.relay.closed), (1, 0));
}

#[test]
fn a_stream_is_added_disabled_and_its_line_used_again() {
    let mut call = Call::established();
    let with = |host: &str, second: &str| session(host, &format!("m=audio 4000 RTP/AVP 0\n{second}\n"));
    let mut agree = |second: &str| {
        let offer = call.offer(Side::A, &with(PHONE, second));
        call.answer(Side::B, &with(PBX, second));
        (offer, call.relay.open.keys().map(|pair| pair.0).collect::<Vec<_>>())
    };
    let (offer, open) = agree("m=video 4002 RTP/AVP 96");
    assert!(offer.contains("m=audio 40000 ") && offer.contains("m=video 40002 "), "{offer}");
    assert_eq!(open, [0, 1]);
    let (offer, open) = agree("m=video 0 RTP/AVP 96");
    assert!(offer.contains("m=video 0 "), "{offer}");
    assert_eq!(open, [0]);
    let (offer, open) = agree("m=text 4004 RTP/AVP 98");
    assert!(offer.contains("m=text 40004 "), "{offer}");
    assert_eq!(open, [0, 2]);
}

#[test]
fn a_refused_offer_leaves_everything_as_it_was() {
    let mut call = Call::established();
    let before = format!("{:?}", call.relay.rules);
    call.offer(Side::B, &session(PBX, "m=audio 6000 RTP/AVP 8\nm=video 6002 RTP/AVP 96\n"));
    assert_eq!(call.media.pairs().count(), 2);
    call.roll_back();
    call.relay.rules.retain(|(pair, _), _| pair.0 == 0);
    assert_eq!(format!("{:?}", call.relay.rules), before);
    assert_eq!(call.relay.open.len(), 1);
    call.roll_back();
    call.answer(Side::B, &audio(PBX, 5000));
    assert_eq!(call.relay.open.len(), 1, "the 200 to the first INVITE may still be sent again");
}

#[test]
fn a_refused_offer_that_wanted_to_end_a_stream_gives_it_back() {
    let mut call = Call::established();
    call.offer(Side::A, &session(PHONE, "m=audio 0 RTP/AVP 0\n"));
    assert_eq!(call.relay.open.len(), 1, "until it is answered");
    assert_eq!(call.media.pairs().count(), 1);
    call.roll_back();
    let again = call.offer(Side::A, &audio(PHONE, 4000));
    assert!(again.contains("m=audio 40000 "));
}

#[test]
fn ports_exhausted_in_a_re_invite_keeps_the_call() {
    let mut call = Call::established();
    call.relay.capacity = Some(1);
    let more = session(PHONE, "m=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 96\n");
    assert_eq!(call.try_offer(Side::A, &more).unwrap_err().status(), 503);
    call.offer(Side::A, &audio(PHONE, 4000));
    call.answer(Side::B, &audio(PBX, 5000));
    assert_eq!((call.relay.opened, call.relay.closed), (1, 0));
}
