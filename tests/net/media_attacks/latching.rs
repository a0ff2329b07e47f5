//! RTP bleed, RTCP bleed and injection on a leg without ICE (CVE-2017-14099, CVE-2025-53399).

use super::*;
use crate::harness::{answer, request, status, values, with_body};

/// From elsewhere, and once the legs have latched, also from behind the phone's own address and the PBX's.
#[test]
fn a_stranger_is_sent_nothing_and_nothing_of_his_is_heard() {
    let mut edge = Edge::new(|_, _| ());
    let (phone, office) = (Endpoint::new(), Endpoint::new());
    let strangers = Strangers::at(&[ELSEWHERE]);
    let call = edge.call(&phone.sdp(), &office.sdp());
    let (facing_phone, facing_office) = (shown(&call.ok), shown(&call.invite));
    let ports = [facing_phone, facing_office].concat();

    let mut expected = strangers.spray(&ports);
    refused(&edge, expected);
    // The PBX has spoken: it is heard, but its phone is not there yet, and nobody else is taken for it.
    office.rtp.send_to(&rtp(0), facing_office[0]).unwrap();
    eventually("undeliverable", || edge.media().undeliverable == 1);
    expected += strangers.spray(&ports);
    refused(&edge, expected);
    strangers.assert_silent();

    phone.rtp.send_to(&rtp(0), facing_phone[0]).unwrap();
    assert_eq!(receive(&office.rtp).0, rtp(0));
    phone.rtcp.send_to(&rtcp(0), facing_phone[1]).unwrap();
    assert_eq!(receive(&office.rtcp).0, rtcp(0));
    let neighbours = Strangers::at(&[ELSEWHERE, HERE]);
    assert_talk((&phone, facing_phone), (&office, facing_office), || expected += neighbours.spray(&ports));
    refused(&edge, expected);
    strangers.assert_silent();
    neighbours.assert_silent();
    call.hang_up();
    edge.assert_served();
}

/// Before the answer, when the offerer's leg knows nobody yet.
#[test]
fn a_stranger_at_a_call_that_rings_gets_nothing_either() {
    let mut edge = Edge::new(|_, _| ());
    let (phone, office) = (Endpoint::new(), Endpoint::new());
    let (caller, callee) = (edge.phone(), edge.pbx.take().unwrap());
    let uri = format!("sip:200@{}", caller.to);
    caller.send(&with_body(&request("INVITE", &uri, Transport::Udp, caller.addr()), &phone.sdp()));
    let invite = callee.receive_request("INVITE");
    let strangers = Strangers::at(&[ELSEWHERE]);
    let facing_office = shown(&invite);
    let mut expected = strangers.spray(&facing_office);
    refused(&edge, expected);
    callee.send(&answer(&invite, "183 Session Progress", callee.addr(), &office.sdp()));
    let early = loop {
        let message = caller.receive();
        if status(&message) == 183 {
            break message;
        }
    };
    expected += strangers.spray(&[shown(&early), facing_office].concat());
    refused(&edge, expected);
    strangers.assert_silent();
    [&phone.rtp, &phone.rtcp, &office.rtp, &office.rtcp].into_iter().for_each(assert_silent);
    callee.send(&answer(&invite, "486 Busy Here", callee.addr(), ""));
    assert_eq!(values(&caller.receive_final(), "CSeq"), ["1 INVITE"]);
    edge.assert_served();
}
