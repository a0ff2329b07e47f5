//! Alerts to a webhook that fails, answers, goes away and comes back, and a node that restarts meanwhile.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use turnpike::base::Transport;
use turnpike::config::secret::Secret;
use turnpike::net::Node;
use turnpike::net::settings::{Webhook, Website};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use crate::harness::*;
use crate::web_server::{self, Authority, WebServer};

/// What was posted: the signature and the body.
type Posted = (String, String);

/// A web server that fails as often as it is told to, and remembers what it has been sent.
struct Receiver {
    at: SocketAddr,
    failing: Arc<Mutex<u32>>,
    failed: Arc<Mutex<Vec<Posted>>>,
    taken: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    fn start(failing: u32) -> Receiver {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let receiver = Receiver {
            at,
            failing: Arc::new(Mutex::new(failing)),
            failed: Arc::default(),
            taken: Arc::default(),
        };
        let Receiver { failing, failed, taken, .. } = &receiver;
        let (failing, failed, taken) = (failing.clone(), failed.clone(), taken.clone());
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                let posted = read(&mut BufReader::new(stream.try_clone().unwrap()));
                let mut failing = failing.lock().unwrap();
                let status = if *failing > 0 { "500 Oh" } else { "204 Yes" };
                // In turn it answers with an error, and not at all.
                if *failing % 2 == 0 {
                    let _ = stream
                        .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
                }
                if *failing > 0 {
                    failed.lock().unwrap().push(posted)
                } else {
                    taken.lock().unwrap().push(posted)
                }
                *failing = failing.saturating_sub(1);
            }
        });
        receiver
    }

    fn wait_for(&self, taken: usize) -> Vec<Value> {
        eventually("taken", || self.taken.lock().unwrap().len() >= taken);
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }
}

fn read(stream: &mut impl BufRead) -> Posted {
    let (mut signature, mut length) = (String::new(), 0);
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "turnpike-signature" => signature = value.to_owned(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (signature, String::from_utf8(body).unwrap())
}

/// Refuses everybody, and tells of it.
fn started(data_dir: &Path, receiver: SocketAddr, every: Duration) -> Node {
    let url = format!("http://{receiver}/alerts").parse().unwrap();
    started_at(data_dir, Website { url, ca: None, patience: DEADLINE }, every)
}

fn started_at(data_dir: &Path, at: Website, every: Duration) -> Node {
    let mut settings = settings(data_dir);
    let refuse = Verdict::Refuse(Action::Reject { status: 403, reason: "No".into() });
    settings.policy.policies = vec![Policy {
        name: "toll".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![Rule {
            name: "toll / nobody".into(),
            when: Vec::new(),
            count: None,
            answer: Answer { verdict: Some(refuse), alert: true, ..Answer::default() },
            written: Default::default(),
        }],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    }];
    settings.net.webhook = Some(Webhook { at, secret: Some(Secret::new("north".into())), every });
    Node::start(settings).unwrap()
}

fn knock(node: &Node, times: usize) {
    let udp = Udp::new(node.listener("udp").unwrap());
    for _ in 0..times {
        let message = request("MESSAGE", &format!("sip:+8821234567@{}", udp.to), Transport::Udp, udp.addr());
        assert_eq!(udp.ask(&message), 403);
    }
}

#[test]
fn an_alert_is_sent_until_it_is_taken_and_those_that_follow_are_summed_up() {
    let receiver = Receiver::start(2);
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), receiver.at, Duration::from_secs(1));
    let before = Instant::now();
    knock(&node, 5);
    let told = receiver.wait_for(1);
    assert_eq!(receiver.failed.lock().unwrap().len(), 2);
    let (failed, taken) =
        (receiver.failed.lock().unwrap()[0].clone(), receiver.taken.lock().unwrap()[0].clone());
    assert_eq!(failed, taken, "the same again, with the same id");
    assert!(taken.0.starts_with("sha256=") && taken.0.len() == 7 + 64, "{}", taken.0);
    let first = &told[0];
    for (key, value) in [
        ("what", "refused"),
        ("name", "toll / nobody"),
        ("node", "test"),
        ("answer", "rejected with 403 No"),
        ("source", "127.0.0.1"),
        ("to", "+8821234567"),
        ("method", "MESSAGE"),
    ] {
        assert_eq!(first[key], value, "{first}");
    }
    assert!(
        !first["call_id"].as_str().unwrap().is_empty() && first["text"].as_str().unwrap().contains("toll")
    );
    let told = receiver.wait_for(2);
    assert_eq!(told[0]["count"].as_u64().unwrap() + told[1]["count"].as_u64().unwrap(), 5, "{told:?}");
    assert_ne!(told[0]["id"], told[1]["id"]);
    assert!(before.elapsed() >= Duration::from_secs(1), "the sum waits for its time");
}

#[test]
fn what_was_not_taken_is_sent_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Dead::new(Transport::Tcp);
    let node = started(dir.path(), nobody.at, Duration::from_secs(60));
    knock(&node, 3);
    drop(node);
    let kept = std::fs::read_to_string(dir.path().join("alerts.json")).unwrap();
    assert!(kept.contains("toll / nobody"), "{kept}");

    let receiver = Receiver::start(0);
    let node = started(dir.path(), receiver.at, Duration::from_secs(60));
    let told = receiver.wait_for(2);
    assert_eq!((told[0]["count"].as_u64(), told[1]["count"].as_u64()), (Some(1), Some(2)), "{told:?}");
    drop(node);
    assert!(!dir.path().join("alerts.json").exists(), "nothing is left to say");
}

/// Over https the webhook must be who it says; until it is, nothing is lost.
#[test]
fn an_alert_is_told_to_nobody_but_the_right_server() {
    let (ours, other) = (Authority::new(), Authority::new());
    let web = WebServer::secure(&other.sign("localhost"));
    web.publish("/alerts", web_server::answer("204 Yes", ""));
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, ours.pem()).unwrap();
    let url = format!("https://localhost:{}/alerts", web.at.port()).parse().unwrap();
    let node =
        started_at(dir.path(), Website { url, ca: Some(ca), patience: DEADLINE }, Duration::from_secs(60));
    knock(&node, 1);
    web.wait_for_connections(1);
    for wrong in [ours.sign("hooks.example"), ours.sign_expired("localhost")] {
        web.show(&wrong);
        web.wait_for_connections(1);
    }
    assert!(web.asked().is_empty(), "nobody else has heard of it");
    // Where it is sent is ours to say, not the server's.
    web.publish("/alerts", web_server::answer("307 Moved\r\nLocation: /elsewhere", ""));
    web.show(&ours.sign("localhost"));
    web.wait_until_asked("/alerts", 1);
    web.publish("/alerts", web_server::answer("204 Yes", ""));
    web.wait_until_asked("/alerts", 2);
    eventually("it has been taken", || !dir.path().join("alerts.json").exists());
    drop(node);
    assert_eq!(web.count("/elsewhere"), 0);
    let asked = web.asked();
    let bodies: Vec<_> = asked.iter().map(|(_, body)| serde_json::from_str::<Value>(body).unwrap()).collect();
    assert!(
        bodies.iter().all(|body| body["id"] == bodies[0]["id"]),
        "the same until it is taken: {bodies:?}"
    );
    assert!(!dir.path().join("alerts.json").exists(), "it has been taken");
}

#[test]
fn a_webhook_that_never_answers_is_given_up_and_tried_again() {
    let web = WebServer::start();
    web.publish("/alerts", "\0".into());
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://{}/alerts", web.at).parse().unwrap();
    let at = Website { url, ca: None, patience: Duration::from_millis(200) };
    let node = started_at(dir.path(), at, Duration::from_secs(60));
    knock(&node, 1);
    web.wait_until_asked("/alerts", 2);
    web.publish("/alerts", web_server::answer("200 OK", ""));
    web.wait_until_asked("/alerts", 3);
    drop(node);
    assert!(!dir.path().join("alerts.json").exists(), "it has been taken");
}

#[test]
fn a_ban_by_hand_is_told_once_and_not_again_after_a_restart() {
    let receiver = Receiver::start(0);
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), receiver.at, Duration::from_secs(60));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let banned = "203.0.113.7".parse().unwrap();
    let ban = node.handle().ban(banned, Some(Duration::from_secs(3600)), "noise".into(), false);
    runtime.block_on(ban).unwrap().unwrap();
    let told = receiver.wait_for(1);
    for (key, value) in [("what", "banned"), ("name", "noise"), ("source", "203.0.113.7")] {
        assert_eq!(told[0][key], value, "{told:?}");
    }
    drop(node);
    let node = started(dir.path(), receiver.at, Duration::from_secs(60));
    knock(&node, 1);
    let told = receiver.wait_for(2);
    assert_eq!((told.len(), &told[1]["what"]), (2, &Value::from("refused")), "{told:?}");
}

/// The receiver is down while more comes than is kept: what is newest reaches it when it is back, in order.
#[test]
fn a_full_queue_is_sent_from_its_oldest_on_when_the_receiver_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let waiting: Vec<_> = (0..1_000)
        .map(|number| serde_json::json!({ "since": since, "body": format!("{{\"id\":\"{number}\"}}") }))
        .collect();
    std::fs::write(dir.path().join("alerts.json"), serde_json::to_vec(&waiting).unwrap()).unwrap();
    let nobody = Dead::new(Transport::Tcp);
    let node = started(dir.path(), nobody.at, Duration::from_secs(60));
    knock(&node, 1);
    drop(node);
    let receiver = Receiver::start(0);
    let _node = started(dir.path(), receiver.at, Duration::from_secs(60));
    let told = receiver.wait_for(1_000);
    assert_eq!((told.len(), &told[0]["id"], &told[998]["id"]), (1_000, &"1".into(), &"999".into()));
    assert_eq!(told[999]["name"], "toll / nobody");
}
