//! §9 and §17, with RFC 6026: what goes over the wire and what the transaction user is told.

use std::time::{Duration, Instant};

use turnpike::base::{FlowId, Transport};
use turnpike::sip::message::{Message, Name, response};
use turnpike::sip::transaction::{
    ClientId, Destination, Received, ResponseFor, ServerId, TimerValues, TransactionOutput, Transactions,
};

use crate::{as_method, message, request, source};

const BACK: Destination = Destination::Flow(FlowId(1));
const ON: Destination = Destination::Flow(FlowId(2));
const VIA: &str = "SIP/2.0/UDP pc33.atlanta.example:5066;branch=z9hG4bK776asdhds;rport";

/// The layer with its own clock, and what it did as one line each.
struct Bench {
    layer: Transactions,
    start: Instant,
    now: Instant,
    transport: Transport,
}

impl Bench {
    fn new(transport: Transport) -> Bench {
        let now = Instant::now();
        Bench { layer: Transactions::new(TimerValues::default(), 100), start: now, now, transport }
    }

    /// Start lines of what was sent, and the other outputs by name, with the milliseconds since the start.
    fn outputs(&mut self) -> Vec<String> {
        let at = self.now.duration_since(self.start).as_millis();
        std::iter::from_fn(|| self.layer.poll_output())
            .map(|output| match output {
                TransactionOutput::Send { bytes, .. } => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    format!("{at} {}", text.lines().next().unwrap_or_default())
                }
                TransactionOutput::TimedOut(_) => format!("{at} timed out"),
                TransactionOutput::SendFailed(_) => format!("{at} send failed"),
                TransactionOutput::ServerGone(_) | TransactionOutput::ClientGone(_) => format!("{at} gone"),
            })
            .collect()
    }

    fn sent(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.layer.poll_output())
            .filter_map(|output| match output {
                TransactionOutput::Send { bytes, .. } => {
                    Some(Message::parse(bytes, &Default::default()).expect("a message"))
                }
                _ => None,
            })
            .collect()
    }

    /// Runs every timer due within `span`; what came out, one line each.
    fn run(&mut self, span: Duration) -> Vec<String> {
        let end = self.now + span;
        let mut lines = self.outputs();
        while let Some(at) = self.layer.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.layer.handle_timeout(at);
            lines.extend(self.outputs());
        }
        self.now = end;
        lines
    }

    fn receive(&mut self, request: &Message) -> Received {
        self.layer.receive_request(request, &source(self.transport), self.now)
    }

    fn new_server(&mut self, request: &Message) -> ServerId {
        match self.receive(request) {
            Received::New(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn respond(&mut self, id: ServerId, request: &Message, status: u16) {
        let mut out = Vec::new();
        response(request, status, "X", Some(b"b1"), &[], &mut out);
        self.layer.respond(id, status, out.into(), BACK, self.now);
    }

    fn send(&mut self, request: &Message) -> ClientId {
        self.layer.send_request(request.clone(), ON, self.transport, self.now).expect("room")
    }

    /// A response to `request` comes in; true if it goes up.
    fn answer(&mut self, request: &Message, status: u16) -> bool {
        self.answer_with_tag(request, status, "b1")
    }

    fn answer_with_tag(&mut self, request: &Message, status: u16, tag: &str) -> bool {
        let mut out = Vec::new();
        response(request, status, "X", Some(tag.as_bytes()), &[], &mut out);
        let response = Message::parse(out.into(), &Default::default()).expect("a message");
        matches!(self.layer.receive_response(&response, |_| true, self.now), ResponseFor::Client(_))
    }
}

fn invite() -> Message {
    request(
        "INVITE",
        "sip:bob@biloxi.example",
        VIA,
        "Route: <sip:p1.example;lr>\nRoute: <sip:p2.example;lr>\n",
    )
}

fn options() -> Message {
    request("OPTIONS", "sip:bob@biloxi.example", VIA, "")
}

const ALL: Duration = Duration::from_secs(600);

#[test]
fn s17_1_1_2_timers_a_and_b_send_seven_invites_over_udp_and_one_over_tcp() {
    let mut bench = Bench::new(Transport::Udp);
    bench.send(&invite());
    let line = "INVITE sip:bob@biloxi.example SIP/2.0";
    let mut expected: Vec<String> =
        [0, 500, 1500, 3500, 7500, 15_500, 31_500].iter().map(|at| format!("{at} {line}")).collect();
    expected.extend(["32000 timed out".to_owned(), "32000 gone".to_owned()]);
    assert_eq!(bench.run(ALL), expected);

    let mut bench = Bench::new(Transport::Tls);
    bench.send(&invite());
    assert_eq!(bench.run(ALL), [&format!("0 {line}"), "32000 timed out", "32000 gone"]);
}

#[test]
fn s17_1_2_2_timers_e_and_f_send_eleven_requests_over_udp() {
    let mut bench = Bench::new(Transport::Udp);
    bench.send(&options());
    let at: Vec<u64> = vec![0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    let lines = bench.run(ALL);
    let expected: Vec<String> =
        at.iter().map(|at| format!("{at} OPTIONS sip:bob@biloxi.example SIP/2.0")).collect();
    assert_eq!(lines[..11], expected);
    assert_eq!(lines[11..], ["32000 timed out", "32000 gone"]);
}

#[test]
fn s17_1_2_2_in_proceeding_timer_e_is_t2() {
    let mut bench = Bench::new(Transport::Udp);
    let options = options();
    bench.send(&options);
    assert!(bench.answer(&options, 100));
    let lines = bench.run(Duration::from_secs(10));
    let at: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(at, ["0", "500", "4500", "8500"]);
    assert!(bench.answer(&options, 200));
    assert!(!bench.answer(&options, 200), "a retransmission is absorbed");
    assert_eq!(bench.run(ALL), ["15000 gone"]);
}

#[test]
fn s17_1_1_3_ack_of_a_non_2xx_is_made_of_invite_and_response() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = invite();
    bench.send(&invite);
    bench.sent();
    assert!(bench.answer(&invite, 486));
    let acks = bench.sent();
    let [ack] = &acks[..] else { panic!("{acks:?}") };
    assert_eq!(ack.request_uri(), invite.request_uri());
    let values = |message: &Message, name| -> Vec<Vec<u8>> {
        message.elements(name).map(|element| element.value.to_vec()).collect()
    };
    for name in [Name::Via, Name::Route, Name::From, Name::CallId] {
        assert_eq!(values(ack, name), values(&invite, name));
    }
    assert_eq!(ack.to().tag(), Some(&b"b1"[..]));
    assert_eq!((ack.cseq().number, ack.method_bytes()), (7, &b"ACK"[..]));
    // A retransmitted 486 is acknowledged again and goes no further; 32 s after the first it is all over.
    assert!(!bench.answer(&invite, 486));
    assert_eq!(bench.sent()[0].bytes(), ack.bytes());
    assert_eq!(bench.run(ALL), ["32000 gone"]);
}

#[test]
fn s17_1_3_a_response_needs_branch_and_method_of_its_request() {
    let mut bench = Bench::new(Transport::Udp);
    bench.send(&invite());
    let other =
        request("INVITE", "sip:bob@biloxi.example", "SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bKx", "");
    assert!(!bench.answer(&other, 180));
    assert!(!bench.answer(&options(), 200));
    assert!(bench.answer(&invite(), 180));
}

#[test]
fn s17_1_4_a_transport_error_goes_up_at_once() {
    let mut bench = Bench::new(Transport::Udp);
    bench.send(&invite());
    bench.outputs();
    bench.layer.send_failed(ON, bench.now);
    assert_eq!(bench.outputs(), ["0 send failed", "0 gone"]);
}

#[test]
fn s9_1_cancel_waits_for_a_provisional_response() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = invite();
    let id = bench.send(&invite);
    bench.sent();
    bench.layer.cancel(id, bench.now);
    assert!(bench.sent().is_empty());
    assert!(bench.answer(&invite, 100));
    let sent = bench.sent();
    let [cancel] = &sent[..] else { panic!("{sent:?}") };
    let values = |message: &Message, name| -> Vec<Vec<u8>> {
        message.elements(name).map(|element| element.value.to_vec()).collect()
    };
    for name in [Name::Via, Name::Route, Name::From, Name::To, Name::CallId] {
        assert_eq!(values(cancel, name), values(&invite, name), "{name:?}");
    }
    assert_eq!(cancel.request_uri(), invite.request_uri());
    assert_eq!((cancel.cseq().number, cancel.method_bytes()), (7, &b"CANCEL"[..]));
    assert!(!bench.answer(cancel, 200), "the answer to our own CANCEL stays here");
    assert!(bench.answer(&invite, 487));
    assert!(bench.outputs().iter().any(|line| line.contains("ACK ")));
    assert_eq!(bench.run(ALL), ["32000 gone"]);
}

#[test]
fn s9_1_no_cancel_after_a_final_response_and_an_end_without_one() {
    let mut bench = Bench::new(Transport::Tcp);
    let invite = invite();
    let id = bench.send(&invite);
    bench.layer.cancel(id, bench.now);
    assert!(bench.answer(&invite, 200));
    assert_eq!(bench.run(ALL), ["0 INVITE sip:bob@biloxi.example SIP/2.0", "32000 gone"]);

    let mut bench = Bench::new(Transport::Tcp);
    let id = bench.send(&invite);
    bench.answer(&invite, 180);
    bench.layer.cancel(id, bench.now);
    let lines = bench.run(ALL);
    assert_eq!(lines[1..], ["0 CANCEL sip:bob@biloxi.example SIP/2.0", "32000 timed out", "32000 gone"]);
}

#[test]
fn s16_8_timer_c_cancels_and_101_to_199_set_it_back() {
    let mut bench = Bench::new(Transport::Tls);
    let invite = invite();
    bench.send(&invite);
    assert!(bench.answer(&invite, 180));
    bench.outputs();
    assert!(bench.run(Duration::from_secs(180)).is_empty());
    assert!(bench.answer(&invite, 183));
    assert!(bench.run(Duration::from_secs(181)).is_empty(), "Timer C is above three minutes");
    let lines = bench.run(ALL);
    assert_eq!(lines, ["365000 CANCEL sip:bob@biloxi.example SIP/2.0", "397000 timed out", "397000 gone"]);
}

#[test]
fn rfc6026_further_2xx_go_up_for_64_t1() {
    let mut bench = Bench::new(Transport::Tls);
    let invite = invite();
    bench.send(&invite);
    assert!(bench.answer(&invite, 200));
    assert!(bench.answer(&invite, 200));
    assert!(bench.answer_with_tag(&invite, 200, "fork"));
    bench.run(Duration::from_millis(31_999));
    assert!(bench.answer(&invite, 200));
    assert_eq!(bench.run(Duration::from_millis(1)), ["32000 gone"]);
    assert!(!bench.answer(&invite, 200));
}

#[test]
fn s17_2_1_invite_retransmissions_get_the_last_response() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = invite();
    let id = bench.new_server(&invite);
    assert!(matches!(bench.receive(&invite), Received::Absorbed));
    assert!(bench.outputs().is_empty());
    bench.respond(id, &invite, 100);
    bench.respond(id, &invite, 180);
    assert!(matches!(bench.receive(&invite), Received::Absorbed));
    assert_eq!(bench.outputs(), ["0 SIP/2.0 100 X", "0 SIP/2.0 180 X", "0 SIP/2.0 180 X"]);
}

#[test]
fn s17_2_1_timers_g_and_h_repeat_a_failure_until_the_ack() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = invite();
    let id = bench.new_server(&invite);
    bench.respond(id, &invite, 486);
    let at: Vec<String> = bench.run(ALL);
    let expected = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    let mut expected: Vec<String> = expected.iter().map(|at| format!("{at} SIP/2.0 486 X")).collect();
    expected.push("32000 gone".to_owned());
    assert_eq!(at, expected);

    let mut bench = Bench::new(Transport::Udp);
    let id = bench.new_server(&invite);
    bench.respond(id, &invite, 486);
    let ack = as_method(&invite, "ACK");
    assert!(matches!(bench.receive(&ack), Received::Absorbed));
    assert!(matches!(bench.receive(&ack), Received::Absorbed));
    assert_eq!(bench.run(ALL), ["0 SIP/2.0 486 X", "5000 gone"]);
}

#[test]
fn rfc6026_an_accepted_invite_absorbs_invites_and_lets_2xx_and_ack_pass() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = invite();
    let id = bench.new_server(&invite);
    bench.respond(id, &invite, 200);
    assert!(matches!(bench.receive(&invite), Received::Absorbed));
    bench.respond(id, &invite, 200);
    bench.respond(id, &invite, 486);
    assert!(matches!(bench.receive(&as_method(&invite, "ACK")), Received::Ack));
    assert_eq!(bench.run(ALL), ["0 SIP/2.0 200 X", "0 SIP/2.0 200 X", "32000 gone"]);
}

#[test]
fn s17_2_2_non_invite_server_keeps_its_answer_over_udp_and_goes_at_once_over_tcp() {
    let mut bench = Bench::new(Transport::Udp);
    let options = options();
    let id = bench.new_server(&options);
    assert!(matches!(bench.receive(&options), Received::Absorbed));
    bench.respond(id, &options, 200);
    bench.respond(id, &options, 500);
    assert!(matches!(bench.receive(&options), Received::Absorbed));
    assert_eq!(bench.run(ALL), ["0 SIP/2.0 200 X", "0 SIP/2.0 200 X", "32000 gone"]);

    let mut bench = Bench::new(Transport::Tcp);
    let id = bench.new_server(&options);
    bench.respond(id, &options, 200);
    assert_eq!(bench.outputs(), ["0 SIP/2.0 200 X", "0 gone"]);
}

#[test]
fn s17_2_3_sent_by_and_method_are_part_of_the_match() {
    let mut bench = Bench::new(Transport::Udp);
    bench.new_server(&invite());
    let via = |host: &str| format!("SIP/2.0/UDP {host};branch=z9hG4bK776asdhds");
    let from = |host: &str| request("INVITE", "sip:bob@biloxi.example", &via(host), "");
    assert!(matches!(bench.receive(&from("PC33.atlanta.example:5066")), Received::Absorbed));
    assert!(matches!(bench.receive(&from("pc33.atlanta.example:5067")), Received::New(_)));
    assert!(matches!(bench.receive(&from("pc34.atlanta.example:5066")), Received::New(_)));
    assert!(matches!(bench.receive(&options()), Received::New(_)));
}

#[test]
fn s17_2_3_an_rfc_2543_client_is_matched_by_its_headers() {
    for via in ["SIP/2.0/UDP pc33.atlanta.example", "SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK"] {
        let mut bench = Bench::new(Transport::Udp);
        let invite = request("INVITE", "sip:bob@biloxi.example", via, "");
        let id = bench.new_server(&invite);
        assert!(matches!(bench.receive(&invite), Received::Absorbed));
        let other =
            message(&String::from_utf8_lossy(invite.bytes()).replace("\r\n", "\n").replace("7 IN", "8 IN"));
        assert!(matches!(bench.receive(&other), Received::New(_)));
        assert!(
            matches!(bench.receive(&as_method(&invite, "CANCEL")), Received::Cancel(_, found) if found == id)
        );
        bench.respond(id, &invite, 486);
        bench.outputs();
        // "The To tag of the ACK MUST equal the To tag of the response sent".
        let ack =
            |tag: &str| {
                let text = String::from_utf8_lossy(as_method(&invite, "ACK").bytes()).replace("\r\n", "\n");
                message(&text.replace(
                    "To: <sip:bob@biloxi.example>",
                    &format!("To: <sip:bob@biloxi.example>;tag={tag}"),
                ))
            };
        assert!(matches!(bench.receive(&ack("other")), Received::Ack));
        assert!(matches!(bench.receive(&ack("b1")), Received::Absorbed));
    }
}

#[test]
fn s9_2_cancel_finds_its_invite_and_is_answered_on_its_own() {
    let mut bench = Bench::new(Transport::Udp);
    let invite = invite();
    let cancel = as_method(&invite, "CANCEL");
    // Without an INVITE it is a new request, for a 481.
    bench.new_server(&cancel);

    let mut bench = Bench::new(Transport::Udp);
    let id = bench.new_server(&invite);
    let Received::Cancel(own, found) = bench.receive(&cancel) else { panic!() };
    assert_eq!(found, id);
    assert!(matches!(bench.receive(&cancel), Received::Absorbed));
    bench.respond(own, &cancel, 200);
    bench.respond(id, &invite, 487);
    assert_eq!(bench.outputs(), ["0 SIP/2.0 200 X", "0 SIP/2.0 487 X"]);
}

#[test]
fn s16_11_an_ack_that_matches_nothing_goes_up() {
    let mut bench = Bench::new(Transport::Udp);
    assert!(matches!(bench.receive(&as_method(&invite(), "ACK")), Received::Ack));
    assert_eq!(bench.layer.len(), (0, 0));
}
