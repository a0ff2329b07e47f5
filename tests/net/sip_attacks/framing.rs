//! Where a message ends, and how long it may be. Strangers are let in here, so that whatever is smuggled past would reach the PBX.

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;

use super::{Attacked, TRANSPORTS};

fn without_length(text: &str, lines: &str) -> String {
    text.replace("Content-Length: 0\r\n", lines)
}

#[test]
fn no_second_request_is_hidden_behind_a_length_that_lies() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        let hidden = attacked.request("INVITE", transport);
        let hidden_length = hidden.len();
        for lines in [
            "Content-Length: 0\r\nContent-Length: 1\r\n".to_owned(),
            format!("Content-Length: {hidden_length}\r\nl: 0\r\n"),
            format!("l: 0\r\nContent-Length : {hidden_length}\r\n"),
            "Content-Length: -1\r\n".into(),
            "Content-Length: +0\r\n".into(),
            "Content-Length: 0x0\r\n".into(),
            "Content-Length: 18446744073709551616\r\n".into(),
            "Content-Length: 4294967296\r\n".into(),
            "Content-Length: 0, 0\r\n".into(),
            "Content-Length: \r\n".into(),
            "Content-Length: 9 9\r\n".into(),
        ] {
            let text = without_length(&attacked.request("MESSAGE", transport), &lines);
            let told = attacked.say(transport, text + &hidden);
            let refused = told.statuses();
            assert!(matches!(refused[..], [400 | 413 | 513]), "{lines:?} over {transport:?}: {refused:?}");
            assert_eq!(told.closed, transport != Transport::Udp, "{lines:?}");
            attacked.nothing_left();
        }
    }
    attacked.still_serves();
}

#[test]
fn a_body_that_looks_like_a_request_stays_a_body_and_what_follows_a_datagram_is_cut_off() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        let hidden = attacked.request("INVITE", transport).replace("call-", "hidden-");
        let lines = format!("Content-Type: message/sip\r\nContent-Length: {}\r\n", hidden.len());
        let chunked = format!("Transfer-Encoding: chunked\r\n{lines}");
        let text = without_length(&attacked.request("MESSAGE", transport), &chunked) + &hidden;
        assert_eq!(attacked.say(transport, text).statuses(), [400], "whose length would count?");
        attacked.nothing_left();
        let text = without_length(&attacked.request("MESSAGE", transport), &lines) + &hidden;
        attacked.say(transport, text);
        let seen = attacked.next_at_pbx("MESSAGE");
        assert!(seen.ends_with(&format!("\r\n\r\n{hidden}")), "{seen}");
        assert!(attacked.recorded().iter().all(|again| again.starts_with("MESSAGE ")));
    }
    let hidden = attacked.request("INVITE", Transport::Udp).replace("call-", "hidden-");
    attacked.say(Transport::Udp, attacked.request("INFO", Transport::Udp) + &hidden);
    assert!(!attacked.next_at_pbx("INFO").contains("hidden-"));
    assert!(attacked.recorded().iter().all(|seen| !seen.contains("hidden-")));
    attacked.still_serves();
}

#[test]
fn a_body_that_does_not_come_to_its_end_is_no_body() {
    let attacked = Attacked::new(Admit::Any);
    let text =
        without_length(&attacked.request("MESSAGE", Transport::Udp), "Content-Length: 500\r\n") + "short";
    assert_eq!(attacked.say(Transport::Udp, text).statuses(), [400]);
    attacked.nothing_left();
    attacked.still_serves();
}

#[test]
fn what_is_too_large_is_refused_with_bounded_memory() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        let good = attacked.request("MESSAGE", transport);
        let uri = good.split(' ').nth(1).unwrap().to_owned();
        let with = |lines: &str| good.replace("Contact:", &format!("{lines}Contact:"));
        let datagram = if transport == Transport::Udp { 40_000 } else { 1_000_000 };
        for (what, text, closes) in [
            ("5,000 headers", with(&"X: y\r\n".repeat(5_000)), true),
            (
                "a long header",
                with(&format!("X: {}\r\n", "a".repeat(datagram.max(64_500)))),
                datagram > 64_500,
            ),
            ("a long URI", good.replacen(&uri, &format!("sip:{}@x", "a".repeat(datagram)), 1), true),
        ] {
            if transport == Transport::Udp && what == "a long header" {
                continue; // no datagram is that large
            }
            let told = attacked.say(transport, &text);
            let refused = told.statuses();
            assert!(
                matches!(refused[..], [] | [400 | 413 | 414 | 513]),
                "{what} over {transport:?}: {refused:?}"
            );
            assert!(!refused.is_empty() || told.closed || transport == Transport::Udp, "{what}");
            assert_eq!(told.closed, closes && transport != Transport::Udp, "{what} over {transport:?}");
            attacked.nothing_left();
        }
    }
    attacked.still_serves();
}

/// Passed as it is, or refused, and soon: 1,000 levels cost no stack.
#[test]
fn mime_nested_a_thousand_deep_harms_nobody() {
    let attacked = Attacked::new(Admit::Any);
    let nested: String = (0..1_000)
        .map(|n| format!("--b{n}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n", n + 1))
        .collect();
    for transport in TRANSPORTS {
        let nested = if transport == Transport::Udp { &nested[..50_000] } else { &nested[..] };
        let lines =
            format!("Content-Type: multipart/mixed;boundary=b0\r\nContent-Length: {}\r\n", nested.len());
        let text = without_length(&attacked.request("INVITE", transport), &lines) + nested;
        let told = attacked.say(transport, text);
        assert!(!told.closed);
        attacked.recorded();
    }
    attacked.still_serves();
}
