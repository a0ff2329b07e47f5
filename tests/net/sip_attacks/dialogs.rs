//! Requests in dialogs of other people's, with everything right but where they come from.

use std::net::SocketAddr;

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;

use super::{Attacked, Peer, TRANSPORTS};
use crate::harness::*;

const HERE: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 66];

/// All that an end of a call knows, and whoever has read every message of it.
#[derive(Clone)]
pub struct Known {
    from: String,
    to: String,
    call_id: String,
    target: String,
    routes: Vec<String>,
}

impl Known {
    /// What the caller knows.
    pub fn of_caller(ok: &str) -> Known {
        let routes = values(ok, "Record-Route");
        Known::new(ok, ["From", "To"], routes.iter().flat_map(|value| value.split(',')).rev())
    }

    /// What the callee knows.
    fn of_callee(invite: &str, ok: &str) -> Known {
        let routes = values(invite, "Record-Route");
        let to = Known::new(ok, ["To", "From"], routes.iter().flat_map(|value| value.split(',')));
        Known { target: uri_in(values(invite, "Contact")[0]), ..to }
    }

    fn new<'r>(ok: &str, [from, to]: [&str; 2], routes: impl Iterator<Item = &'r str>) -> Known {
        let value = |name| values(ok, name)[0].to_owned();
        Known {
            from: value(from),
            to: value(to),
            call_id: value("Call-ID"),
            target: uri_in(values(ok, "Contact")[0]),
            routes: routes.map(|route| route.trim().to_owned()).collect(),
        }
    }

    /// The next request of this end, sent from there.
    pub fn request(&self, (transport, from): (Transport, SocketAddr), method: &str, cseq: u32) -> String {
        let mut text = request(method, &self.target, transport, from);
        for (name, value) in [("From", &self.from), ("To", &self.to), ("Call-ID", &self.call_id)] {
            let before = format!("{name}: {}\r\n", values(&text, name)[0]);
            text = text.replacen(&before, &format!("{name}: {value}\r\n"), 1);
        }
        let routes: String = self.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        text.replace("CSeq: 1 ", &format!("CSeq: {cseq} ")).replacen(
            "Contact:",
            &format!("{routes}Contact:"),
            1,
        )
    }
}

fn uri_in(value: &str) -> String {
    value.split(['<', '>']).nth(1).unwrap().to_owned()
}

/// A phone calls the PBX, which answers: what each of them knows.
pub fn call(attacked: &Attacked, phone: &mut Peer) -> [Known; 2] {
    let invite = phone.request("INVITE", &format!("sip:200@{}", phone.to), "tester");
    phone.send(&invite);
    let seen = attacked.next_at_pbx("INVITE");
    attacked.pbx.send(&answer(&seen, "200 OK", attacked.pbx.addr(), ""));
    let ok = phone.expect("SIP/2.0 200");
    let caller = Known::of_caller(&ok);
    let ack = caller.request((phone.transport, phone.addr), "ACK", 1);
    phone.send(&ack);
    attacked.next_at_pbx("ACK");
    [caller, Known::of_callee(&seen, &ok)]
}

pub fn hang_up(attacked: &Attacked, phone: &mut Peer, caller: &Known, cseq: u32) {
    let bye = caller.request((phone.transport, phone.addr), "BYE", cseq);
    phone.send(&bye);
    let seen = attacked.next_at_pbx("BYE");
    attacked.pbx.send(&answer(&seen, "200 OK", attacked.pbx.addr(), ""));
    phone.expect("SIP/2.0 200");
}

#[test]
fn right_ids_and_a_stolen_route_are_worth_nothing_elsewhere() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(HERE, transport);
        let known = call(&attacked, &mut phone);
        for over in TRANSPORTS {
            let mut thief = attacked.peer(ELSEWHERE, over);
            for (known, method) in known.iter().flat_map(|known| {
                "BYE INVITE UPDATE INFO REFER PRACK NOTIFY MESSAGE SUBSCRIBE OPTIONS"
                    .split(' ')
                    .map(move |m| (known, m))
            }) {
                thief.send(&known.request((thief.transport, thief.addr), method, 50));
                let told = thief.expect("SIP/2.0 ");
                assert_eq!(status(&told), 403, "{method} over {over:?} into a call over {transport:?}");
                attacked.nothing_left();
            }
            // Nothing is ever answered to an ACK; and a route without the ids names no call.
            let ack = known[0].request((thief.transport, thief.addr), "ACK", 1);
            thief.send(&with_body(&ack, "v=0\r\no=- 1 1 IN IP4 127.0.0.66\r\ns=-\r\nt=0 0\r\n"));
            let strange = Known { call_id: "another".into(), ..known[0].clone() };
            thief.send(&strange.request((thief.transport, thief.addr), "BYE", 50));
            assert_eq!(status(&thief.expect("SIP/2.0 ")), 481);
            attacked.nothing_left();
        }
        assert_eq!(phone.heard(), [""; 0]);
        assert_eq!(attacked.node.status().unwrap().edge.answered_calls, 1, "it goes on");
        hang_up(&attacked, &mut phone, &known[0], 2);
    }
    attacked.still_serves();
}

/// In a UDP packet any address can stand; in a TCP stream words can be read.
#[test]
fn a_call_over_a_better_transport_is_not_spoken_for_over_a_worse_one() {
    let attacked = Attacked::new(Admit::Any);
    for (transport, worse) in
        [(Transport::Tls, &[Transport::Udp, Transport::Tcp][..]), (Transport::Tcp, &[Transport::Udp])]
    {
        let mut phone = attacked.peer(HERE, transport);
        let [caller, _] = call(&attacked, &mut phone);
        for over in worse {
            let mut forger = attacked.peer(HERE, *over);
            forger.send(&caller.request((forger.transport, forger.addr), "BYE", 50));
            assert_eq!(status(&forger.expect("SIP/2.0 ")), 403, "{over:?} into {transport:?}");
            attacked.nothing_left();
        }
        // A phone whose connection broke comes back over another one.
        let mut again = attacked.peer(HERE, transport);
        hang_up(&attacked, &mut again, &caller, 2);
    }
    attacked.still_serves();
}

#[test]
fn nobody_but_the_caller_cancels() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(HERE, transport);
        let invite = phone.request("INVITE", &format!("sip:200@{}", phone.to), "tester");
        phone.send(&invite);
        let seen = attacked.next_at_pbx("INVITE");
        attacked.pbx.send(&answer(&seen, "180 Ringing", attacked.pbx.addr(), ""));
        phone.expect("SIP/2.0 180");
        let cancel = invite.replacen("INVITE", "CANCEL", 1).replace("CSeq: 1 INVITE", "CSeq: 1 CANCEL");
        for over in TRANSPORTS {
            let mut stranger = attacked.peer(ELSEWHERE, over);
            let via = |transport: Transport| format!("SIP/2.0/{} ", transport.via());
            stranger.send(&cancel.replace(&via(transport), &via(over)));
            assert_eq!(status(&stranger.expect("SIP/2.0 ")), 481);
            attacked.nothing_left();
        }
        phone.send(&cancel);
        attacked.next_at_pbx("CANCEL");
        attacked.pbx.send(&answer(&seen, "487 Request Terminated", attacked.pbx.addr(), ""));
        phone.expect("SIP/2.0 200");
        phone.expect("SIP/2.0 487");
        attacked.recorded();
    }
    attacked.still_serves();
}

/// The token that stands in the Contact which the PBX calls.
#[test]
fn a_stolen_contact_reaches_no_phone() {
    let attacked = Attacked::new(Admit::Registered);
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(HERE, transport);
        let contact = phone.register(&attacked, "alice");
        let mut neighbour = attacked.peer(ELSEWHERE, transport);
        for method in ["INVITE", "MESSAGE", "REFER", "NOTIFY", "SUBSCRIBE"] {
            let mut stranger = attacked.peer(ELSEWHERE, transport);
            let asks = stranger.request(method, &contact, "mallory");
            for text in
                [asks.clone(), asks.replace("Contact:", &format!("Route: <{contact};lr>\r\nContact:"))]
            {
                stranger.send(&text.replace("z9hG4bK", &format!("z9hG4bK{}", text.len())));
                assert_eq!(status(&stranger.expect("SIP/2.0 ")), 403);
            }
        }
        // Who is registered reaches the PBX with it, as with anything else.
        neighbour.register(&attacked, "bob");
        let asks = neighbour.request("MESSAGE", &contact, "bob");
        neighbour.send(&asks);
        attacked.next_at_pbx("MESSAGE");
        assert_eq!(phone.heard(), [""; 0]);
        attacked.recorded();
    }
    attacked.still_serves();
}
