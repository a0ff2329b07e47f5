//! The admin listener.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use turnpike::admin::settings::{AdminSettings, Token};
use turnpike::admin::{
    Admin, AdminError, AllocationsReport, BadAnswer, BanReport, BansReport, CallReport, CallsReport,
    PoliciesReport, StatusReport, WhyReport,
};
use turnpike::base::Transport;
use turnpike::net::Node;
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::settings::{Answer, Mode, Place, Policy, Rule, Verdict, Written};
use turnpike::policy::{Action, Stage};
use turnpike::relay::RelayAddress;

use crate::harness::*;
use crate::turn::{client, peer, turn_node};

fn get(to: SocketAddr, path: &str, header: &str) -> (u16, String) {
    ask(to, &format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{header}\r\n"))
}

fn post(to: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    ask(to, &format!("{head}\r\n{body}"))
}

fn delete(to: SocketAddr, path: &str) -> (u16, String) {
    ask(to, &format!("DELETE {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n"))
}

fn ask(to: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = tcp(to);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Of a node that was not started from files.
fn listener(settings: AdminSettings, node: &Node) -> Result<Admin, AdminError> {
    let reload = std::sync::Arc::new(|| Err("there is no file".to_owned()));
    Admin::start(settings, "test".into(), node.handle().clone(), reload)
}

fn settings(listen: &str, token: Option<&str>) -> AdminSettings {
    let token = token.map(|token| Token::new(token.into()));
    AdminSettings { listen: listen.parse().unwrap(), token, patience: DEADLINE }
}

#[test]
fn status_and_metrics_tell_what_is_live() {
    let here = IpAddr::from([127, 0, 0, 1]);
    let (node, _dir) = node(|settings| {
        settings.edge.zones[0].relay = Some(RelayAddress { bind: here, advertise: here }.into());
    });
    let admin = listener(settings("127.0.0.1:0", None), &node).unwrap();
    let mut open = tcp(node.listener("tcp").unwrap());
    assert_served(&mut open);
    assert_eq!(get(admin.addr(), "/healthz", ""), (200, "ok\n".into()));
    let (status, body) = get(admin.addr(), "/status", "");
    assert_eq!(status, 200);
    let report: StatusReport = serde_json::from_str(&body).unwrap();
    assert_eq!((report.node.as_str(), report.connections), ("test", 1));
    assert_eq!((report.relay_ports_taken, report.relay_ports_total), (0, 100), "before the first call");
    let (status, metrics) = get(admin.addr(), "/metrics", "");
    assert_eq!(status, 200);
    assert!(metrics.contains("turnpike_connections{node=\"test\"} 1"), "{metrics}");
    assert_eq!(get(admin.addr(), "/nothing", "").0, 404);
    drop(node);
    assert_eq!(get(admin.addr(), "/healthz", "").0, 503);
}

#[test]
fn a_token_is_asked_for_and_nobody_outside_is_let_in_without() {
    let (node, _dir) = node(|_| {});
    let start = |settings| listener(settings, &node);
    assert!(matches!(start(settings("0.0.0.0:0", None)), Err(AdminError::Open(_))));
    let admin = start(settings("127.0.0.1:0", Some("s3cret"))).unwrap();
    assert_eq!(get(admin.addr(), "/status", "").0, 401);
    assert_eq!(get(admin.addr(), "/status", "Authorization: Bearer guess\r\n").0, 401);
    assert_eq!(get(admin.addr(), "/status", "Authorization: Bearer s3cret\r\n").0, 200);
    assert_eq!(get(admin.addr(), "/healthz", "").0, 200);
    assert_eq!(get(admin.addr(), "/metrics", "").0, 200, "for Prometheus beside it");
    let outside = start(settings("0.0.0.0:0", Some("s3cret"))).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], outside.addr().port()));
    assert_eq!(get(at, "/metrics", "").0, 401);
    assert_eq!(get(at, "/metrics", "Authorization: Bearer s3cret\r\n").0, 200);
}

#[test]
fn why_a_call_was_refused_is_told_to_those_who_may_ask() {
    let refuse = Verdict::Refuse(Action::Reject { status: 403, reason: "Not from here".into() });
    let satellites = Matcher::To(std::sync::Arc::new(["+882"].into_iter().collect()));
    let never = Rule {
        name: "toll / never".into(),
        when: vec![Condition { negated: false, matcher: satellites }],
        count: None,
        answer: Answer { verdict: Some(refuse), ..Answer::default() },
        written: Written {
            place: Place { file: "toll.yaml".into(), line: 7 },
            when: vec!["to: $satellites".into()],
        },
    };
    let (node, _dir) = node(|settings| {
        settings.policy.policies.push(Policy {
            name: "toll".into(),
            mode: Mode::Enforce,
            stages: vec![Stage::Calls],
            rules: vec![never],
            default: Answer::ALLOW,
            deck: None,
            place: Place::default(),
        });
    });
    let start = |token| listener(settings("127.0.0.1:0", token), &node);
    let (open, guarded) = (start(None).unwrap(), start(Some("s3cret")).unwrap());
    let mut phone = tcp(node.listener("tcp").unwrap());
    let call = request("INVITE", "sip:+8821612345@127.0.0.1", Transport::Tcp, phone.local_addr().unwrap());
    let call = call.replace("Call-ID: ", "Call-ID: a/b?");
    phone.write_all(call.as_bytes()).unwrap();
    let answer = read_message(&mut phone);
    assert!(answer.starts_with("SIP/2.0 403 Not from here\r\n"), "{answer}");
    assert!(!answer.contains("toll") && !answer.contains("never"), "a stranger learns nothing: {answer}");
    let call_id = values(&call, "Call-ID")[0];
    let path = format!("/calls/{}/why", call_id.replace('/', "%2F").replace('?', "%3F"));
    let report = || serde_json::from_str::<WhyReport>(&get(open.addr(), &path, "").1).unwrap();
    assert_eq!(report().call_id, call_id);
    let [decision] = report().decisions.try_into().unwrap();
    assert_eq!((decision.decision.as_str(), decision.rule.as_str()), ("refused", "toll / never"));
    let [looked] = decision.looked.unwrap().try_into().unwrap();
    assert_eq!((looked.file.as_str(), looked.line, looked.spoke), ("toll.yaml", 7, true));
    assert_eq!(looked.why, ["`to: $satellites` holds: to is +8821612345"]);
    let unknown: WhyReport = serde_json::from_str(&get(open.addr(), "/calls/nobody/why", "").1).unwrap();
    assert!(unknown.decisions.is_empty() && unknown.to_string().contains("knows nothing of a call nobody"));
    assert_eq!(get(guarded.addr(), &path, "").0, 401);
    assert_eq!(get(guarded.addr(), &path, "Authorization: Bearer s3cret\r\n").0, 200);

    let policies: PoliciesReport = serde_json::from_str(&get(open.addr(), "/policies", "").1).unwrap();
    let [toll] = policies.policies.try_into().unwrap();
    assert_eq!(
        (&*toll.policy, &*toll.mode, &toll.stages[..]),
        ("toll", "enforce", &["calls".to_owned()][..])
    );
    let rules: Vec<_> = toll.rules.iter().map(|rule| (&*rule.rule, rule.hits, rule.line)).collect();
    assert_eq!(rules, [("toll / never", 1, 7), ("toll / default", 0, 0)]);
    assert_eq!(get(guarded.addr(), "/policies", "").0, 401);
    let (_, metrics) = get(open.addr(), "/metrics", "");
    let hits = r#"turnpike_policy_hits_total{node="test",rule="toll / never",mode="enforce"} 1"#;
    assert!(metrics.contains(hits) && metrics.contains(r#"turnpike_bans{node="test"} 0"#), "{metrics}");
}

#[test]
fn live_calls_are_listed_and_end_with_a_ban_that_hangs_up() {
    let pbx = Udp::at("127.0.0.9", SocketAddr::from(([127, 0, 0, 1], 9)));
    let (node, _dir) = node(|settings| with_pbx(settings, Transport::Udp, pbx.addr()));
    let start = |token| listener(settings("127.0.0.1:0", token), &node);
    let (open, guarded) = (start(None).unwrap(), start(Some("s3cret")).unwrap());
    let calls = || serde_json::from_str::<CallsReport>(&get(open.addr(), "/calls", "").1).unwrap().calls;
    assert!(calls().is_empty());
    let phone = Udp::at("127.0.0.2", node.listener("udp").unwrap());
    let invite = request("INVITE", "sip:100@127.0.0.1", Transport::Udp, phone.addr());
    phone.send(&invite.replace("Call-ID: ", "Call-ID: a/b?"));
    let pbx = Udp { to: phone.to, ..pbx };
    let seen = pbx.receive_request("INVITE");
    let [rings]: [CallReport; 1] = calls().try_into().unwrap();
    assert_eq!((&*rings.from, &*rings.to, &rings.answered, rings.talked), ("tester", "100", &None, 0));
    assert_eq!((rings.source, &*rings.from_party), (phone.addr(), "lab"));
    pbx.send(&answer(&seen, "200 OK", pbx.addr(), ""));
    assert_eq!(status(&phone.receive_final()), 200);
    let [talks]: [CallReport; 1] = calls().try_into().unwrap();
    assert!(talks.answered.is_some() && talks.call_id.starts_with("a/b?"), "{talks:?}");

    let path = format!("/calls/{}", talks.call_id.replace('/', "%2F").replace('?', "%3F"));
    let (found, one) = get(open.addr(), &path, "");
    assert_eq!((found, serde_json::from_str::<CallsReport>(&one).unwrap().calls.len()), (200, 1));
    let (missing, why) = get(open.addr(), "/calls/nobody", "");
    assert_eq!(missing, 404);
    assert!(why.contains("turnpike why"), "{why}");
    assert_eq!((get(guarded.addr(), "/calls", "").0, get(guarded.addr(), &path, "").0), (401, 401));

    let (_, told) = post(open.addr(), "/bans", r#"{"banned": "127.0.0.2", "for": "1m", "hang_up": true}"#);
    assert_eq!(serde_json::from_str::<BanReport>(&told).unwrap().hung_up, Some(1));
    for side in [&phone, &pbx] {
        side.receive_request("BYE");
    }
    assert!(calls().is_empty());
}

#[test]
fn who_relays_over_turn_is_told_to_those_who_may_ask() {
    let (node, _dir) = turn_node(2, |_| ());
    let start = |token| listener(settings("127.0.0.1:0", token), &node);
    let (open, guarded) = (start(None).unwrap(), start(Some("s3cret")).unwrap());
    let listing = || {
        let (status, body) = get(open.addr(), "/turn/allocations", "");
        assert_eq!(status, 200);
        serde_json::from_str::<AllocationsReport>(&body).unwrap()
    };
    assert!(listing().allocations.is_empty());
    let (mut alice, (_bob, bob_addr)) = (client(&node, "alice"), peer());
    let relayed = alice.allocate();
    client(&node, "caller").allocate();
    assert_eq!(alice.permit(bob_addr), 0);
    let report = listing();
    assert_eq!(report.users.iter().map(|user| &*user.user).collect::<Vec<_>>(), ["alice", "caller"]);
    let hers = &report.of_user("alice").allocations[0];
    assert_eq!((&*hers.transport, &hers.relayed[..], hers.permissions), ("udp", &[relayed][..], 1));
    assert!((1..=600).contains(&hers.seconds_left));
    let (_, status) = get(open.addr(), "/status", "");
    let status: StatusReport = serde_json::from_str(&status).unwrap();
    assert_eq!(status.turn.unwrap().allocations, 2);
    assert_eq!(get(guarded.addr(), "/turn/allocations", "").0, 401);
    assert_eq!(get(guarded.addr(), "/turn/allocations", "Authorization: Bearer s3cret\r\n").0, 200);
    drop(node);
    assert_eq!(get(open.addr(), "/turn/allocations", "").0, 503);
}

fn bans(admin: &Admin) -> Vec<BanReport> {
    let (status, body) = get(admin.addr(), "/bans", "");
    assert_eq!(status, 200);
    serde_json::from_str::<BansReport>(&body).unwrap().bans
}

/// 127.0.0.2 and the like are other machines than 127.0.0.1, as far as bans go.
#[test]
fn a_ban_holds_from_the_answer_on_and_after_a_crash() {
    let (first, dir) = node(|_| {});
    let admin = listener(settings("127.0.0.1:0", None), &first).unwrap();
    let at = first.listener("udp").unwrap();
    let (noisy, neighbour, other) =
        (Udp::at("127.0.0.2", at), Udp::at("127.0.0.3", at), Udp::at("127.1.0.1", at));
    for anyone in [&noisy, &neighbour, &other] {
        anyone.assert_served();
    }
    assert!(bans(&admin).is_empty());
    let (status, told) =
        post(admin.addr(), "/bans", r#"{"banned": "127.0.0.2", "for": "1h", "reason": "noise"}"#);
    assert_eq!(status, 201);
    let told: BanReport = serde_json::from_str(&told).unwrap();
    assert_eq!((&*told.banned, &*told.reason, told.hung_up), ("127.0.0.2", "noise", None));
    assert!(told.until.as_ref().unwrap() > &told.since);
    let (status, _) = post(admin.addr(), "/bans", r#"{"banned": "user:201"}"#);
    assert_eq!(status, 201);
    // What a node that is killed now leaves behind.
    let left = tempfile::tempdir().unwrap();
    std::fs::copy(dir.path().join("bans.json"), left.path().join("bans.json")).unwrap();

    let mut again = crate::harness::settings(left.path());
    again.policy.never_ban = vec!["127.1.0.1/32".parse().unwrap()];
    let second = turnpike::net::Node::start(again).unwrap();
    let admin = listener(settings("127.0.0.1:0", None), &second).unwrap();
    let kept = bans(&admin);
    assert_eq!(kept.iter().map(|ban| &*ban.banned).collect::<Vec<_>>(), ["127.0.0.2", "user:201"]);
    assert_eq!((&kept[0].reason, &kept[0].since), (&told.reason, &told.since));
    assert_eq!(kept[1].until, None);
    let at = second.listener("udp").unwrap();
    let [noisy, neighbour] = ["127.0.0.2", "127.0.0.3"].map(|ip| Udp::at(ip, at));
    noisy.send(&options(turnpike::base::Transport::Udp, noisy.addr(), at));
    neighbour.assert_served();
    noisy.socket.set_nonblocking(true).unwrap();
    assert!(noisy.socket.recv(&mut [0; 100]).is_err(), "dropped before the neighbour was answered");

    let (status, why) = post(admin.addr(), "/bans", r#"{"banned": "127.1.0.0/16"}"#);
    assert_eq!(status, 409);
    assert!(why.contains("never_ban"), "{why}");
    assert_eq!(post(admin.addr(), "/bans", r#"{"banned": "127.0.0.0/24"}"#).0, 201);
    let (status, why) = delete(admin.addr(), "/bans/127.0.0.3");
    assert_eq!(status, 404);
    assert!(why.contains("it lies in 127.0.0.0/24"), "{why}");
    assert_eq!(delete(admin.addr(), "/bans/127.0.0.0%2F24").0, 200);
    assert_eq!(delete(admin.addr(), "/bans/127.0.0.2").0, 200);
    assert_eq!(delete(admin.addr(), "/bans/user%3A201").0, 200);
    assert!(bans(&admin).is_empty());
    noisy.socket.set_nonblocking(false).unwrap();
    noisy.assert_served();
}

#[test]
fn whatever_is_wrong_with_a_request_is_said_in_json() {
    let (node, _dir) = node(|_| {});
    let admin = listener(settings("127.0.0.1:0", None), &node).unwrap();
    let to = admin.addr();
    let long = format!(r#"{{"banned": "user:1", "reason": "{}"}}"#, "x".repeat(501));
    let huge = format!(r#"{{"banned": "user:{}"}}"#, "x".repeat(20_000));
    for (answer, expected, word) in [
        (post(to, "/bans", ""), 400, "EOF"),
        (post(to, "/bans", "{"), 400, "EOF"),
        (post(to, "/bans", "[]"), 400, "send such as"),
        (post(to, "/bans", "{}"), 400, "missing field `banned`"),
        (post(to, "/bans", r#"{"banned": 7}"#), 400, "invalid type"),
        (post(to, "/bans", r#"{"banned": "203.0.113"}"#), 400, "`203.0.113` is nobody"),
        (post(to, "/bans", r#"{"banned": "user:1\u0000"}"#), 400, "nobody"),
        (post(to, "/bans", r#"{"banned": "user:1", "for": "1"}"#), 400, "for: `1` is no duration"),
        (post(to, "/bans", r#"{"banned": "user:1", "for": "0s"}"#), 400, "a duration of nothing"),
        (post(to, "/bans", r#"{"banned": "user:1", "until": "1h"}"#), 400, "unknown field `until`"),
        (post(to, "/bans", &long), 400, "reason: at most"),
        (post(to, "/bans", &huge), 413, "length limit"),
        (delete(to, "/bans/201"), 400, "`201` is nobody"),
        (delete(to, "/bans/user%3A9"), 404, "user:9 is not banned"),
        (delete(to, "/bans"), 405, "method"),
        (delete(to, "/status"), 405, "method"),
        (get(to, "/bans/user%3A9", ""), 405, "method"),
        (get(to, "/ban", ""), 404, "nothing of this name"),
    ] {
        let (status, body) = answer;
        assert_eq!(status, expected, "{body}");
        let told: BadAnswer = serde_json::from_str(&body).unwrap();
        assert!(told.error.contains(word), "{word}: {told:?}");
    }
    assert!(bans(&admin).is_empty());
}

/// ATTACKS of a page that the administrator's browser shows: what it can send without a token changes nothing and tells nothing.
#[test]
fn a_web_page_can_do_nothing_through_the_administrators_browser() {
    let (node, _dir) = node(|_| {});
    let start = |token| listener(settings("127.0.0.1:0", token), &node);
    let (open, guarded) = (start(None).unwrap(), start(Some("s3cret")).unwrap());
    let to = open.addr();
    let body = r#"{"banned": "user:201"}"#;
    let send = |to: SocketAddr, method: &str, host: &str, headers: &str| {
        let length = body.len();
        ask(
            to,
            &format!(
                "{method} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
            ),
        )
    };
    let (here, json) = (&*to.to_string(), "Content-Type: application/json\r\n");
    // A form, or fetch() in mode no-cors.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        assert_eq!(send(to, "POST /bans", here, &format!("Content-Type: {kind}\r\n")).0, 415, "{kind}");
    }
    assert_eq!(send(to, "POST /bans", here, "").0, 415);
    // A browser that did not ask first; and one that does is told nothing that lets it go on.
    let origin = "Origin: https://evil.example\r\n";
    assert_eq!(send(to, "POST /bans", here, &format!("{json}{origin}")).0, 403);
    assert_eq!(send(to, "DELETE /bans/user%3A201", here, origin).0, 403);
    let mut stream = tcp(to);
    write!(
        stream,
        "OPTIONS /bans HTTP/1.1\r\nHost: {here}\r\nConnection: close\r\n{origin}Access-Control-Request-Method: POST\r\n\r\n"
    )
    .unwrap();
    let mut preflight = String::new();
    stream.read_to_string(&mut preflight).unwrap();
    assert!(
        !preflight.starts_with("HTTP/1.1 2") && !preflight.to_lowercase().contains("access-control-allow")
    );
    // DNS rebinding: its own name means us by now.
    for path in ["GET /status", "GET /bans", "POST /bans", "DELETE /bans/user%3A201", "GET /turn/allocations"]
    {
        assert_eq!(send(to, path, "evil.example:8080", json).0, 403, "{path}");
    }
    assert!(bans(&open).is_empty());
    assert_eq!(send(to, "POST /bans", "localhost:8080", json).0, 201);
    // Where there is a token it is all that counts.
    let token = format!("{json}{origin}Authorization: Bearer s3cret\r\n");
    assert_eq!(send(guarded.addr(), "POST /bans", "edge.example", &token).0, 201);
    assert_eq!(send(guarded.addr(), "POST /bans", here, json).0, 401);
    assert_eq!(send(guarded.addr(), "DELETE /bans/user%3A201", here, "").0, 401);
}

/// Slow-loris: whoever says nothing, or too little at a time, or wants no answer, is cut off, and others are served meanwhile.
#[test]
fn a_client_that_is_slow_is_cut_off() {
    let (node, _dir) = node(|_| {});
    let short = AdminSettings { patience: Duration::from_millis(300), ..settings("127.0.0.1:0", None) };
    let admin = listener(short, &node).unwrap();
    let body = "POST /bans HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{";
    for said in ["", "GET /healthz HTTP/1.1\r\nHost:", body] {
        let mut stream = tcp(admin.addr());
        stream.write_all(said.as_bytes()).unwrap();
        assert_eq!(get(admin.addr(), "/healthz", ""), (200, "ok\n".into()));
        assert_eq!(String::from_utf8(read_to_close(&mut stream)).unwrap(), "", "no answer to half a request");
    }
    let mut dribbling = tcp(admin.addr());
    dribbling.write_all(b"GET /healthz HTTP/1.1\r\nX: ").unwrap();
    dribbling.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    eventually("cut off though bytes come", || {
        let written = dribbling.write_all(b"x");
        let read = dribbling.read(&mut [0]);
        written.is_err() || !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
}

#[test]
fn connections_of_one_source_are_capped_and_others_are_served() {
    let (node, _dir) = node(|_| {});
    let admin = listener(settings("127.0.0.1:0", None), &node).unwrap();
    let mut held: Vec<_> = (0..40).map(|_| tcp_from([127, 0, 0, 66], admin.addr())).collect();
    held.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    eventually("all but 32 are closed", || {
        held.retain_mut(|stream| {
            stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        held.len() <= 32
    });
    assert_eq!(held.len(), 32);
    assert_eq!(get(admin.addr(), "/healthz", "").0, 200);
    drop(held);
    eventually("the places are free again", || {
        let mut stream = tcp_from([127, 0, 0, 66], admin.addr());
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        let mut answer = String::new();
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    });
}
