//! Ports that unanswered calls hold (FreePBX 665).

use super::*;
use crate::harness::{answer, request, status, with_body};

#[test]
fn unanswered_calls_hold_so_many_ports_and_give_them_back_at_once() {
    let edge = Edge::with(
        |_, _| (),
        |settings| {
            // Room for four calls: a pair has two ports on each side.
            let first = *settings.relay.ports.start();
            settings.relay.ports = first..=first + 15;
        },
    );
    let (phone, pbx) = (edge.phone(), edge.pbx.as_ref().unwrap());
    let uri = format!("sip:200@{}", phone.to);
    let offer = Endpoint::new().sdp();
    let invite = || with_body(&request("INVITE", &uri, Transport::Udp, phone.addr()), &offer);
    for _ in 0..3 {
        let (mut ringing, mut refusal) = (Vec::new(), None);
        while refusal.is_none() {
            phone.send(&invite());
            eventually("a pair, or a refusal", || {
                refusal = refusal.take().or_else(|| final_answer(&phone));
                refusal.is_some() || edge.node.status().unwrap().edge.relay.pairs > ringing.len()
            });
            if refusal.is_none() {
                ringing.push(pbx.receive_request("INVITE"));
            }
        }
        assert_eq!(refusal.map(|refusal| status(&refusal)), Some(503));
        assert!((1..=4).contains(&ringing.len()), "{}", ringing.len());
        for invite in ringing {
            pbx.send(&answer(&invite, "486 Busy Here", pbx.addr(), ""));
            assert_eq!(status(&phone.receive_final()), 486);
        }
        eventually("given back", || edge.node.status().unwrap().edge.relay.pairs == 0);
    }
    edge.assert_served();
}

/// What has come already.
fn final_answer(phone: &Udp) -> Option<String> {
    let mut buffer = [0; 2_000];
    phone.socket.set_nonblocking(true).unwrap();
    let mut come = std::iter::from_fn(|| {
        let len = phone.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    });
    let answer = come.find(|message| status(message) >= 200);
    phone.socket.set_nonblocking(false).unwrap();
    answer
}
