//! Ports that unanswered calls hold (FreePBX 665).

use std::time::Instant;

use super::*;
use crate::harness::{answer, request, status, values, with_body};

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
        let (mut ringing, mut refusal, start) = (Vec::new(), None, Instant::now());
        while refusal.is_none() {
            let invite = invite();
            phone.send(&invite);
            eventually("a pair, or a refusal", || {
                refusal = refusal.take().or_else(|| final_answer(&phone, &invite));
                refusal.is_some() || edge.node.status().unwrap().edge.relay.pairs > ringing.len()
            });
            if refusal.is_none() {
                let invite = pbx.receive_request("INVITE");
                pbx.send(&answer(&invite, "180 Ringing", pbx.addr(), ""));
                ringing.push(invite);
                continue;
            }
            assert_eq!(refusal.as_deref().map(status), Some(503));
            if ringing.is_empty() {
                // The relay's thread has yet to close what the last round held.
                assert!(start.elapsed() < DEADLINE, "nothing is given back");
                refusal = None;
            }
        }
        assert!(ringing.len() <= 4, "{}", ringing.len());
        for invite in ringing {
            pbx.send(&answer(&invite, "486 Busy Here", pbx.addr(), ""));
        }
        eventually("given back", || edge.node.status().unwrap().edge.relay.pairs == 0);
    }
    edge.assert_served();
}

/// What has come already; answers to other INVITEs are sent again, since nobody acknowledges them.
fn final_answer(phone: &Udp, invite: &str) -> Option<String> {
    let mut buffer = [0; 2_000];
    phone.socket.set_nonblocking(true).unwrap();
    let mut come = std::iter::from_fn(|| {
        let len = phone.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..len].to_vec()).unwrap())
    });
    let is_ours = |message: &String| values(message, "Call-ID") == values(invite, "Call-ID");
    let answer = come.find(|message| status(message) >= 200 && is_ours(message));
    phone.socket.set_nonblocking(false).unwrap();
    answer
}
