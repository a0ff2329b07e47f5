//! The admin listener.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};

use turnpike::admin::settings::{AdminSettings, Token};
use turnpike::admin::{Admin, AdminError, AllocationsReport, StatusReport, WhyReport};
use turnpike::base::Transport;
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::settings::{Answer, Mode, Place, Policy, Rule, Verdict, Written};
use turnpike::policy::{Action, Stage};
use turnpike::relay::RelayAddress;

use crate::harness::*;
use crate::turn::{client, peer, turn_node};

fn get(to: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let mut stream = tcp(to);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn settings(listen: &str, token: Option<&str>) -> AdminSettings {
    AdminSettings { listen: listen.parse().unwrap(), token: token.map(|token| Token::new(token.into())) }
}

#[test]
fn status_and_metrics_tell_what_is_live() {
    let here = IpAddr::from([127, 0, 0, 1]);
    let (node, _dir) = node(|settings| {
        settings.edge.zones[0].relay = Some(RelayAddress { bind: here, advertise: here }.into());
    });
    let admin = Admin::start(settings("127.0.0.1:0", None), "test".into(), node.handle().clone()).unwrap();
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
    let start = |settings| Admin::start(settings, "test".into(), node.handle().clone());
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
    let start = |token| Admin::start(settings("127.0.0.1:0", token), "test".into(), node.handle().clone());
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
}

#[test]
fn who_relays_over_turn_is_told_to_those_who_may_ask() {
    let (node, _dir) = turn_node(2, |_| ());
    let start = |token| Admin::start(settings("127.0.0.1:0", token), "test".into(), node.handle().clone());
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
