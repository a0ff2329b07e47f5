//! Lists that somebody publishes: fetched beside everything else, kept in `data_dir`, swapped under a running node.

use std::path::Path;
use std::time::{Duration, SystemTime};

use turnpike::base::Transport;
use turnpike::config::secret::Secret;
use turnpike::net::settings::{FeedSource, Format, Website};
use turnpike::net::{Node, NodeSettings};
use turnpike::policy::feed::{Feed, FeedId, Kind, Subject};
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use crate::harness::*;
use crate::web_server::{Authority, WebServer, answer};

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
        at: Website { url: url.parse().unwrap(), ca: None, patience: DEADLINE },
        refresh: Duration::from_millis(20),
        kind: Kind::Networks,
        format: Format::Plain,
    }];
}

fn started(data_dir: &Path, url: &str) -> Node {
    started_with(data_dir, url, |_| ())
}

fn started_with(data_dir: &Path, url: &str, change: impl FnOnce(&mut FeedSource)) -> Node {
    let mut settings = settings(data_dir);
    listed(&mut settings, url);
    change(&mut settings.net.feeds[0]);
    Node::start(settings).unwrap()
}

/// There is no PBX, so that others hear something else than 403.
fn is_listed(node: &Node) -> bool {
    let udp = Udp::new(node.listener("udp").unwrap());
    udp.ask(&request("MESSAGE", &format!("sip:100@{}", udp.to), Transport::Udp, udp.addr())) == 403
}

#[test]
fn a_list_is_fetched_again_and_again_and_what_is_no_list_changes_nothing() {
    let web = WebServer::start();
    web.publish("/list", answer("302 Found\r\nLocation: /moved", ""));
    web.publish("/moved", answer("200 OK", "# nobody\n192.0.2.0/24\n"));
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), &format!("http://{}/list", web.at));
    web.wait_until_asked("/moved", 1);
    assert!(!is_listed(&node));

    web.publish("/moved", answer("200 OK", "127.0.0.0/8\n"));
    eventually("listed", || is_listed(&node));

    for page in [
        answer("200 OK", "<html>\nPlease log in\n</html>\n"),
        answer("500 Internal Server Error", "127.0.0.9\n"),
        answer("200 OK", "10.0.0.0/8\n").replace("Content-Length: ", "Content-Length: 9"),
        answer("302 Found\r\nLocation: /moved", ""),
        "HTTP/1.1 200 OK\r\n".to_owned(),
    ] {
        web.publish("/moved", page.clone());
        web.wait_for_connections(4);
        assert!(is_listed(&node), "the last good list stays: {page}");
    }
    web.publish("/moved", answer("200 OK", ""));
    eventually("no longer listed", || !is_listed(&node));
}

#[test]
fn a_start_waits_for_nobody_and_remembers_the_last_list() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Dead::new(Transport::Tcp);
    let dead = format!("http://{}/list", nobody.at);
    assert!(!is_listed(&started(dir.path(), &dead)), "there is no copy yet");

    let web = WebServer::start();
    web.publish("/list", answer("200 OK", "127.0.0.1\n"));
    let url = format!("http://{}/list", web.at);
    let node = started(dir.path(), &url);
    eventually("listed", || is_listed(&node));
    drop(node);
    web.publish("/list", answer("503 Service Unavailable", ""));
    assert!(is_listed(&started(dir.path(), &url)), "the copy counts from the first packet");
    assert!(!is_listed(&started(dir.path(), &dead)), "another URL is another list");
}

#[test]
fn a_list_that_is_too_large_is_not_taken() {
    let web = WebServer::start();
    web.publish("/list", answer("200 OK", "127.0.0.1\n"));
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), &format!("http://{}/list", web.at));
    eventually("listed", || is_listed(&node));
    web.publish("/list", answer("200 OK", &"# it goes on and on\n".repeat((33 << 20) / 20)));
    web.wait_for_connections(3);
    assert!(is_listed(&node));
}

/// For as long as the publisher is not who it says, the last good copy counts, and the log says why.
#[test]
fn over_https_only_the_right_server_of_a_believed_authority_changes_a_list() {
    warnings();
    let (ours, other) = (Authority::new(), Authority::new());
    let good = ours.sign("localhost");
    let web = WebServer::secure(&good);
    web.publish("/list", answer("200 OK", "127.0.0.0/8\n"));
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, ours.pem()).unwrap();
    let node = started_with(dir.path(), &format!("https://localhost:{}/list", web.at.port()), |source| {
        source.name = "lists / over https".into();
        source.at.ca = Some(ca);
    });
    eventually("listed", || is_listed(&node));
    for (bad, why) in [
        (ours.sign("lists.example"), "not valid for name \"localhost\""),
        (other.sign("localhost"), "UnknownIssuer"),
        (ours.sign_expired("localhost"), "certificate expired"),
    ] {
        web.show(&bad);
        // Whoever still saw the good one has its page by then.
        web.wait_for_connections(2);
        web.publish("/list", answer("200 OK", ""));
        web.wait_for_connections(3);
        assert!(is_listed(&node), "{why}");
        eventually(why, || {
            warnings().lines().any(|line| {
                line.contains("lists / over https")
                    && line.contains("the last copy stays in force")
                    && line.contains(why)
            })
        });
    }
    web.show(&good);
    eventually("no longer listed", || !is_listed(&node));
}

#[test]
fn without_an_authority_of_its_own_a_list_is_believed_from_whom_the_system_believes() {
    let web = WebServer::secure(&Authority::new().sign("localhost"));
    web.publish("/list", answer("200 OK", "127.0.0.0/8\n"));
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), &format!("https://localhost:{}/list", web.at.port()));
    eventually("told", || {
        let told = warnings();
        told.contains("UnknownIssuer") || told.contains("no trusted CA certificates")
    });
    assert!(!is_listed(&node) && web.count("/list") == 0);
}

/// RFC 9110 §15.4: a page may move, but nobody leads us out of TLS.
#[test]
fn a_list_over_https_moves_to_https_alone() {
    let authority = Authority::new();
    let (web, plain) = (WebServer::secure(&authority.sign("localhost")), WebServer::start());
    web.publish("/list", answer("301 Moved\r\nLocation: /new", ""));
    let there = format!("https://localhost:{}/there", web.at.port());
    web.publish("/new", answer(&format!("307 Moved\r\nLocation: {there}"), ""));
    web.publish("/there", answer("200 OK", "127.0.0.0/8\n"));
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let url = format!("https://localhost:{}/list", web.at.port());
    let node = started_with(dir.path(), &url, |source| source.at.ca = Some(ca));
    eventually("listed", || is_listed(&node));
    plain.publish("/list", answer("200 OK", ""));
    web.publish("/list", answer(&format!("302 Found\r\nLocation: http://{}/list", plain.at), ""));
    web.wait_for_connections(3);
    assert!(is_listed(&node) && plain.asked().is_empty());
}

/// RFC 9110 §13.1.2.
#[test]
fn a_list_that_has_not_changed_is_not_sent_again() {
    let web = WebServer::start();
    web.publish("/list", answer("200 OK\r\nETag: \"one\"", "127.0.0.0/8\n"));
    let dir = tempfile::tempdir().unwrap();
    let node = started(dir.path(), &format!("http://{}/list", web.at));
    eventually("listed", || is_listed(&node));
    web.wait_until_asked("/list", 2);
    let head = web.asked().pop().unwrap().0.to_ascii_lowercase();
    assert!(
        head.contains("if-none-match: \"one\"\r\n") && head.contains("accept-encoding: identity\r\n"),
        "{head}"
    );

    web.publish("/list", "HTTP/1.1 304 Not Modified\r\nETag: \"one\"\r\n\r\n".into());
    web.wait_for_connections(2);
    let copy = std::fs::read_dir(dir.path().join("lists")).unwrap().next().unwrap().unwrap().path();
    let written = || std::fs::metadata(&copy).unwrap().modified().unwrap();
    let before = SystemTime::now();
    eventually("the copy counts as new", || written() > before);
    assert!(is_listed(&node));
    web.publish("/list", answer("200 OK", ""));
    eventually("no longer listed", || !is_listed(&node));
}

#[test]
fn a_page_that_is_slow_or_compressed_changes_nothing() {
    let web = WebServer::start();
    web.publish("/list", answer("200 OK", "127.0.0.0/8\n"));
    let dir = tempfile::tempdir().unwrap();
    let node = started_with(dir.path(), &format!("http://{}/list", web.at), |source| {
        source.at.patience = Duration::from_millis(300);
    });
    eventually("listed", || is_listed(&node));
    // One that never comes, one that never ends, and one that nobody has asked for like this.
    for page in [
        "\0",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n\0",
        &answer("200 OK\r\nContent-Encoding: gzip", "# no list\n"),
    ] {
        web.publish("/list", page.to_owned());
        web.wait_for_connections(2);
        assert!(is_listed(&node), "{page}");
    }
}

/// A key in the path, pages of which each names the next one, an end, and a limit of requests.
#[test]
fn apiban_is_asked_for_what_is_new_and_its_key_is_told_to_nobody() {
    warnings();
    let web = WebServer::start();
    let page = |addresses: &str, id: &str| {
        answer("200 OK", &format!(r#"{{"ipaddress":[{addresses}],"ID":"{id}"}}"#))
    };
    let nothing = answer("400 Bad Request", r#"{"ipaddress":["no new bans"],"ID":"none"}"#);
    let limit = answer("429 Too Many Requests", r#"{"ipaddress":"rate limit exceeded","ID":"unauthorized"}"#);
    web.publish("/api/k3y0fApiban/banned", page(r#""192.0.2.1","192.0.2.2""#, "100"));
    web.publish("/api/k3y0fApiban/banned/100", limit);
    let dir = tempfile::tempdir().unwrap();
    let apiban = |source: &mut FeedSource| {
        source.name = "lists / apiban".into();
        source.format = Format::Apiban(Secret::new("k3y0fApiban".into()));
    };
    let url = format!("http://{}/api", web.at);
    let node = started_with(dir.path(), &url, apiban);
    let copy = || {
        let file = std::fs::read_dir(dir.path().join("lists")).ok()?.next()?.ok()?.path();
        std::fs::read_to_string(file).ok()
    };
    eventually("the first page counts though the second is refused", || {
        copy().is_some_and(|copy| copy.starts_with("# APIBAN ID 100\n192.0.2.1/32 # "))
    });
    eventually("told", || {
        warnings().lines().any(|line| line.contains("lists / apiban") && line.contains("less often"))
    });
    web.publish("/api/k3y0fApiban/banned/100", page(r#""127.0.0.1""#, "200"));
    web.publish("/api/k3y0fApiban/banned/200", nothing);
    eventually("listed", || is_listed(&node));
    web.wait_until_asked("/api/k3y0fApiban/banned/200", 2);
    assert_eq!(web.count("/api/k3y0fApiban/banned"), 1, "from the beginning only once");

    drop(node);
    let node = started_with(dir.path(), &url, apiban);
    assert!(is_listed(&node), "the copy counts from the first packet");
    web.publish(
        "/api/k3y0fApiban/banned/200",
        answer("403 Forbidden", r#"{"ipaddress":"none","ID":"unauthorized"}"#),
    );
    eventually("told", || warnings().contains("APIBAN does not take the key"));
    assert!(is_listed(&node));
    assert_eq!(web.count("/api/k3y0fApiban/banned"), 1, "the copy says how far it goes");
    assert!(!warnings().contains("k3y0fApiban") && !copy().unwrap().contains("k3y0fApiban"));
}
