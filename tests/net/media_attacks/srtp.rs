//! A phone with SRTP and a plain PBX: what is not authentic latches nothing, passes nowhere and ends no call (CVE-2021-41105).

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use turnpike::edge::settings::Srtp;
use turnpike::media::srtp::{Inbound, MasterKey, Outbound, Suite, TAILROOM};

use super::*;

const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

fn sender(key: &[u8; 30]) -> Outbound {
    Outbound::new(&MasterKey::new(Suite::AesCm128HmacSha1_80, key).unwrap())
}

fn protected(sender: &mut Outbound, number: u8) -> Vec<u8> {
    let mut packet = rtp(number).to_vec();
    let len = packet.len();
    packet.resize(len + TAILROOM, 0);
    let len = sender.protect_rtp(&mut packet, len).unwrap();
    packet.truncate(len);
    packet
}

#[test]
fn what_is_not_authentic_latches_nothing_and_a_hundred_bad_packets_end_no_call() {
    let mut edge = Edge::new(|_, office| office.srtp = Srtp::Off);
    let (phone, office) = (Endpoint::new(), Endpoint::new());
    let key = [3; 30];
    let offer = phone.sdp().replace("RTP/AVP", "RTP/SAVP")
        + &format!("a=crypto:1 {SUITE} inline:{}\r\n", STANDARD.encode(key));
    let call = edge.call(&offer, &office.sdp());
    let (facing_phone, facing_office) = (shown(&call.ok), shown(&call.invite));
    assert!(!call.invite.contains("a=crypto"), "{}", call.invite);
    let ours = call.ok.split("inline:").nth(1).unwrap().split(['\r', '|']).next().unwrap();
    let ours = MasterKey::new(Suite::AesCm128HmacSha1_80, &STANDARD.decode(ours).unwrap()).unwrap();
    let (mut speaks, mut hears, mut forges) = (sender(&key), Inbound::new(&ours), sender(&[4; 30]));

    // Behind the phone's own address, before it has spoken, and 100 under a key of his own.
    let neighbours = Strangers::at(&[ELSEWHERE, HERE]);
    let mut expected = neighbours.spray(&facing_phone);
    for number in 0..100 {
        neighbours.0[1].send_to(&protected(&mut forges, number), facing_phone[0]).unwrap();
    }
    expected += 100;
    refused(&edge, expected);
    office.rtp.send_to(&rtp(0), facing_office[0]).unwrap();
    eventually("nobody to send it to", || edge.media().undeliverable == 1);
    assert_silent(&office.rtp);

    for number in 1..50 {
        let packet = protected(&mut speaks, number);
        phone.rtp.send_to(&packet, facing_phone[0]).unwrap();
        assert_eq!(receive(&office.rtp), (rtp(number).to_vec(), facing_office[0]));
        office.rtp.send_to(&rtp(number), facing_office[0]).unwrap();
        let (mut heard, _) = receive(&phone.rtp);
        let len = hears.unprotect_rtp(&mut heard, Instant::now()).unwrap();
        assert_eq!(heard[..len], rtp(number));
        // Again, mangled, in the clear, and from next door.
        phone.rtp.send_to(&packet, facing_phone[0]).unwrap();
        let mut mangled = protected(&mut speaks, number + 50);
        *mangled.last_mut().unwrap() ^= 1;
        phone.rtp.send_to(&mangled, facing_phone[0]).unwrap();
        phone.rtp.send_to(&rtp(number + 50), facing_phone[0]).unwrap();
        neighbours.0[1].send_to(&packet, facing_phone[0]).unwrap();
        expected += 4;
    }
    refused(&edge, expected);
    assert_silent(&office.rtp);
    neighbours.assert_silent();
    call.hang_up();
    edge.assert_served();
}
