//! Lists that somebody publishes: fetched beside everything else, kept in `data_dir`, swapped under a running node.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use turnpike::base::Transport;
use turnpike::net::settings::FeedSource;
use turnpike::net::{Node, NodeSettings};
use turnpike::policy::feed::{Feed, FeedId, Kind, Subject};
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use crate::harness::*;

/// A web server that gives each path a fixed answer, and remembers who asked for what.
struct Web {
    at: SocketAddr,
    pages: Arc<Mutex<Vec<(&'static str, String)>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start() -> Web {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = Web { at: socket.local_addr().unwrap(), pages: Arc::default(), asked: Arc::default() };
        let (pages, asked) = (web.pages.clone(), web.asked.clone());
        std::thread::spawn(move || {
            for stream in socket.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let path =
                    lines.next().and_then(|l| l.split(' ').nth(1).map(str::to_owned)).unwrap_or_default();
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let page =
                    pages.lock().unwrap().iter().find(|(at, _)| **at == path).map(|(_, page)| page.clone());
                let _ = stream.write_all(page.unwrap_or_else(|| answer("404 Not Found", "")).as_bytes());
                let _ = stream.shutdown(Shutdown::Write);
                asked.lock().unwrap().push(path);
            }
        });
        web
    }

    fn publish(&self, path: &'static str, page: String) {
        let mut pages = self.pages.lock().unwrap();
        pages.retain(|(at, _)| *at != path);
        pages.push((path, page));
    }

    fn wait_until_asked(&self, path: &str, times: usize) {
        poll(|| self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count() >= times);
    }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn poll(mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !reached() {
        assert!(Instant::now() < end, "not reached in time");
        std::thread::yield_now();
    }
}

/// Whoever is on the list at this URL is refused with 403.
fn listed(settings: &mut NodeSettings, url: &str) {
    let refuse = Verdict::Refuse(Action::Reject { status: 403, reason: "Listed".into() });
    settings.policy.policies = vec![Policy {
        name: "lists".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![Rule {
            name: "lists / bad".into(),
            when: vec![Condition { negated: false, matcher: Matcher::Feed(Subject::Source, FeedId(0)) }],
            count: None,
            answer: Answer { verdict: Some(refuse), ..Answer::default() },
            written: Default::default(),
        }],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    }];
    settings.policy.feeds = vec![Feed::empty(Kind::Networks)];
    settings.net.feeds = vec![FeedSource {
        name: "lists / bad".into(),
        url: url.parse().unwrap(),
        refresh: Duration::from_millis(20),
        kind: Kind::Networks,
    }];
}

fn started(data_dir: &Path, url: &str) -> Node {
    let mut settings = settings(data_dir);
    listed(&mut settings, url);
    Node::start(settings).unwrap()
}

/// There is no PBX, so that others hear something else than 403.
fn is_listed(node: &Node) -> bool {
    let udp = Udp::new(node.listener("udp").unwrap());
    udp.ask(&request("MESSAGE", &format!("sip:100@{}", udp.to), Transport::Udp, udp.addr())) == 403
}

#[test]
fn a_list_is_fetched_again_and_again_and_what_is_no_list_changes_nothing() {
    let web = Web::start();
    web.publish("/list", answer("302 Found\r\nLocation: /moved", ""));
    web.publish("/moved", answer("200 OK", "# nobody\n192.0.2.0/24\n"));
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), &format!("http://{}/list", web.at));
    web.wait_until_asked("/moved", 1);
    assert!(!is_listed(&node));

    web.publish("/moved", answer("200 OK", "127.0.0.0/8\n"));
    poll(|| is_listed(&node));

    for page in [
        answer("200 OK", "<html>\nPlease log in\n</html>\n"),
        answer("500 Internal Server Error", "127.0.0.9\n"),
        answer("200 OK", "10.0.0.0/8\n").replace("Content-Length: ", "Content-Length: 9"),
        answer("302 Found\r\nLocation: /moved", ""),
        "HTTP/1.1 200 OK\r\n".to_owned(),
    ] {
        web.publish("/moved", page.clone());
        let before = web.asked.lock().unwrap().len();
        poll(|| web.asked.lock().unwrap().len() > before + 3);
        assert!(is_listed(&node), "the last good list stays: {page}");
    }
    web.publish("/moved", answer("200 OK", ""));
    poll(|| !is_listed(&node));
}

#[test]
fn a_start_waits_for_nobody_and_remembers_the_last_list() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = format!("http://{nobody}/list");
    assert!(!is_listed(&started(dir.path(), &dead)), "there is no copy yet");

    let web = Web::start();
    web.publish("/list", answer("200 OK", "127.0.0.1\n"));
    let url = format!("http://{}/list", web.at);
    let node = started(dir.path(), &url);
    poll(|| is_listed(&node));
    drop(node);
    web.publish("/list", answer("503 Service Unavailable", ""));
    assert!(is_listed(&started(dir.path(), &url)), "the copy counts from the first packet");
    assert!(!is_listed(&started(dir.path(), &dead)), "another URL is another list");
}

#[test]
fn a_list_that_is_too_large_is_not_taken() {
    let web = Web::start();
    web.publish("/list", answer("200 OK", "127.0.0.1\n"));
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), &format!("http://{}/list", web.at));
    poll(|| is_listed(&node));
    web.publish("/list", answer("200 OK", &"# it goes on and on\n".repeat((33 << 20) / 20)));
    let before = web.asked.lock().unwrap().len();
    poll(|| web.asked.lock().unwrap().len() > before + 2);
    assert!(is_listed(&node));
}
