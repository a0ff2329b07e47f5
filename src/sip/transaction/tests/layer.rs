//! What the layer leaves behind (nothing), and what it does when it is full.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::base::{ClientAddr, FlowId, ListenerId, Transport};
use crate::sip::message::{Limits, Message};
use crate::sip::transaction::{
    ClientId, Destination, Received, ServerId, Source, TimerValues, TransactionOutput, Transactions,
};

fn source(transport: Transport) -> Source {
    let remote = ClientAddr(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 5060)));
    Source { flow: FlowId(1), listener: ListenerId(0), transport, remote }
}

fn request(method: &str, branch: &str) -> Message {
    read(format!(
        "{method} sip:b@example.net SIP/2.0\r\nVia: SIP/2.0/UDP pc.example.com;branch={branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=a\r\nTo: <sip:b@example.net>\r\nCall-ID: 1@pc\r\n\
         CSeq: 1 {cseq}\r\nContent-Length: 0\r\n\r\n",
        cseq = method
    ))
}

fn response(status: u16, method: &str, branch: &str) -> Message {
    read(format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP pc.example.com;branch={branch}\r\n\
         From: <sip:a@example.com>;tag=a\r\nTo: <sip:b@example.net>;tag=b\r\nCall-ID: 1@pc\r\n\
         CSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    ))
}

fn read(text: String) -> Message {
    Message::parse(text.into(), &Limits::default()).unwrap()
}

fn outputs(layer: &mut Transactions) -> Vec<TransactionOutput> {
    std::iter::from_fn(|| layer.poll_output()).collect()
}

const TO: Destination = Destination::Flow(FlowId(2));

#[test]
fn full_is_told_and_a_cancel_still_gets_in() {
    let now = Instant::now();
    let udp = source(Transport::Udp);
    let mut layer = Transactions::new(TimerValues::default(), 1);
    let Received::New(invite) = layer.receive_request(&request("INVITE", "z9hG4bKa"), &udp, now) else {
        panic!()
    };
    assert!(matches!(layer.receive_request(&request("INVITE", "z9hG4bKb"), &udp, now), Received::Full));
    assert!(matches!(layer.receive_request(&request("CANCEL", "z9hG4bKb"), &udp, now), Received::Full));
    let cancel = layer.receive_request(&request("CANCEL", "z9hG4bKa"), &udp, now);
    assert!(matches!(cancel, Received::Cancel(own, cancelled) if own != invite && cancelled == invite));

    let client = layer.send_request(request("INVITE", "z9hG4bKc"), TO, Transport::Udp, now).unwrap();
    assert!(layer.send_request(request("BYE", "z9hG4bKd"), TO, Transport::Udp, now).is_none());
    outputs(&mut layer);
    layer.receive_response(&response(180, "INVITE", "z9hG4bKc"), |_| true, now);
    layer.cancel(client, now);
    let sent = outputs(&mut layer);
    assert!(matches!(&sent[..], [TransactionOutput::Send { bytes, .. }] if bytes.starts_with(b"CANCEL ")));
    assert_eq!(layer.len(), (2, 2));
}

#[test]
fn a_client_is_answered_by_its_final_response() {
    let now = Instant::now();
    for method in ["INVITE", "BYE"] {
        for (status, answered) in [(100, false), (180, false), (200, true), (404, true)] {
            let mut layer = Transactions::new(TimerValues::default(), 8);
            assert!(layer.all_answered());
            layer.send_request(request(method, "z9hG4bKa"), TO, Transport::Udp, now);
            assert!(!layer.all_answered());
            layer.receive_response(&response(status, method, "z9hG4bKa"), |_| true, now);
            assert_eq!(layer.all_answered(), answered, "{method} {status}");
        }
    }
}

#[test]
fn an_abandoned_request_is_new_again() {
    let now = Instant::now();
    let udp = source(Transport::Udp);
    let mut layer = Transactions::new(TimerValues::default(), 8);
    let invite = request("INVITE", "z9hG4bKa");
    let Received::New(id) = layer.receive_request(&invite, &udp, now) else { panic!() };
    assert!(layer.server_source(id).is_some());
    layer.abandon(id);
    assert!(matches!(outputs(&mut layer)[..], [TransactionOutput::ServerGone(gone)] if gone == id));
    assert!(layer.server_source(id).is_none());
    assert!(matches!(layer.receive_request(&invite, &udp, now), Received::New(again) if again != id));
}

#[test]
fn a_failed_destination_ends_only_what_waits_there() {
    let now = Instant::now();
    let mut layer = Transactions::new(TimerValues::default(), 8);
    let elsewhere = Destination::Flow(FlowId(3));
    let ids: Vec<ClientId> =
        [("OPTIONS", "z9hG4bKa", TO), ("BYE", "z9hG4bKb", TO), ("BYE", "z9hG4bKc", elsewhere)]
            .into_iter()
            .map(|(method, branch, to)| {
                layer.send_request(request(method, branch), to, Transport::Tcp, now).unwrap()
            })
            .collect();
    outputs(&mut layer);
    layer.send_failed(TO, now);
    let failed: Vec<ClientId> = outputs(&mut layer)
        .iter()
        .filter_map(|output| match output {
            TransactionOutput::SendFailed(id) => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(failed, ids[..2]);
    assert_eq!(layer.len(), (0, 1));
    layer.send_failed(elsewhere, now);
    assert_eq!(layer.len(), (0, 0));
}

/// RFC 3261 §18.4, and ATTACKS.md: a forged "port unreachable" has to quote a branch.
#[test]
fn the_beginning_of_a_request_says_whether_it_waits() {
    let now = Instant::now();
    let mut layer = Transactions::new(TimerValues::default(), 8);
    let invite = request("INVITE", "z9hG4bKa");
    let sent = invite.bytes().clone();
    let after_branch = 1 + sent.windows(9).position(|bytes| bytes == b"z9hG4bKa\r").unwrap() + 8;
    layer.send_request(invite, TO, Transport::Udp, now);
    for end in 0..sent.len() {
        assert_eq!(layer.waits_for(&sent[..end], &TO), end >= after_branch, "{end}");
    }
    assert!(!layer.waits_for(&sent, &Destination::Flow(FlowId(3))));
    let text = String::from_utf8(sent.to_vec()).unwrap();
    for (part, forged) in [("z9hG4bKa", "z9hG4bKb"), ("INVITE ", "OPTIONS ")] {
        assert!(!layer.waits_for(text.replacen(part, forged, 1).as_bytes(), &TO), "{forged}");
    }
    let odd = text.replacen(" SIP/2.0\r", ";branch=z9hG4bKb SIP/2.0\r", 1);
    assert!(layer.waits_for(odd.as_bytes(), &TO), "what a phone dials is no Via");
    layer.send_failed(TO, now);
    assert!(!layer.waits_for(text.as_bytes(), &TO), "it waits no more");
}

/// What may happen to a layer, in any order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Request(&'static str, u8),
    Respond(usize, u16),
    Send(&'static str, u8),
    Response(u16, &'static str, u8),
    Cancel(usize),
    Failed,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let method = prop::sample::select(vec!["INVITE", "BYE", "CANCEL", "ACK"]);
    let sent = prop::sample::select(vec!["INVITE", "BYE"]);
    let status = prop::sample::select(vec![100u16, 180, 200, 401, 486, 503, 603]);
    prop_oneof![
        (method.clone(), 0u8..6).prop_map(|(m, b)| Step::Request(m, b)),
        (0usize..8, status.clone()).prop_map(|(i, s)| Step::Respond(i, s)),
        (sent, 0u8..6).prop_map(|(m, b)| Step::Send(m, b)),
        (status, method, 0u8..6).prop_map(|(s, m, b)| Step::Response(s, m, b)),
        (0usize..8).prop_map(Step::Cancel),
        Just(Step::Failed),
        (1u64..40_000).prop_map(Step::Wait),
    ]
}

/// Keeps the ids that are live by what the layer says, and checks that it says each end once.
#[derive(Default)]
struct Seen {
    servers: Vec<ServerId>,
    clients: Vec<ClientId>,
}

impl Seen {
    fn take(&mut self, layer: &mut Transactions) {
        for output in outputs(layer) {
            match output {
                TransactionOutput::ServerGone(id) => {
                    assert!(self.servers.contains(&id), "{id:?} gone twice");
                    self.servers.retain(|live| *live != id);
                }
                TransactionOutput::ClientGone(id) => {
                    assert!(self.clients.contains(&id), "{id:?} gone twice");
                    self.clients.retain(|live| *live != id);
                }
                TransactionOutput::TimedOut(id) | TransactionOutput::SendFailed(id) => {
                    assert!(self.clients.contains(&id), "{id:?} speaks after its end");
                }
                TransactionOutput::Send { .. } => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_left_once_all_timers_ran(
        steps in prop::collection::vec(any_step(), 1..80),
        transport in prop::sample::select(vec![Transport::Udp, Transport::Tls]),
    ) {
        let mut now = Instant::now();
        let mut layer = Transactions::new(TimerValues::default(), 5);
        let mut seen = Seen::default();
        let from = source(transport);
        let branch = |n: u8| format!("z9hG4bK{n}");
        for step in steps {
            match step {
                Step::Request(method, n) => match layer.receive_request(&request(method, &branch(n)), &from, now) {
                    Received::New(id) | Received::Cancel(id, _) => seen.servers.push(id),
                    Received::Absorbed | Received::Ack | Received::Full => {}
                },
                Step::Respond(i, status) => {
                    if let Some(id) = seen.servers.get(i) {
                        layer.respond(*id, status, "response".into(), TO, now);
                    }
                }
                // A branch of ours is never used twice.
                Step::Send(method, n) if layer.clients_have(&branch(n), method) => {}
                Step::Send(method, n) => {
                    seen.clients.extend(layer.send_request(request(method, &branch(n)), TO, transport, now));
                }
                Step::Response(status, method, n) => {
                    layer.receive_response(&response(status, method, &branch(n)), |_| true, now);
                }
                Step::Cancel(i) => {
                    if let Some(id) = seen.clients.get(i) {
                        layer.cancel(*id, now);
                    }
                }
                Step::Failed => layer.send_failed(TO, now),
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    layer.handle_timeout(now);
                }
            }
            seen.take(&mut layer);
            let (servers, clients) = layer.len();
            prop_assert!(servers <= 10 && clients <= 10);
            prop_assert_eq!(servers, seen.servers.len());
        }
        // The transaction user answers everything in the end; then only timers are left.
        for id in seen.servers.clone() {
            layer.respond(id, 500, "response".into(), TO, now);
        }
        while let Some(at) = layer.poll_timeout() {
            layer.handle_timeout(at);
        }
        seen.take(&mut layer);
        prop_assert!(layer.is_empty() && seen.servers.is_empty() && seen.clients.is_empty());
        prop_assert!(layer.holds_nothing());
    }
}
