//! What stands in headers. Strangers are let in here, so that the PBX sees what is left of it.

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;

use super::{Attacked, TRANSPORTS};

#[test]
fn identity_headers_of_strangers_are_stripped_in_any_spelling() {
    let attacked = Attacked::new(Admit::Any);
    let lies: String = [
        "p-asserted-identity: <sip:boss@example.com>",
        "P-Asserted-Identity: <sip:a@x>, <tel:+49boss>",
        "P-Preferred-Identity : <sip:boss@example.com>",
        "REMOTE-PARTY-ID\t: <sip:boss@example.com>;privacy=off",
        "Diversion:\r\n <sip:boss@example.com>\r\n\t;reason=unconditional",
        "History-Info: <sip:boss@example.com>;index=1",
        "X-Authenticated-User: boss",
        "X-TRUSTED: boss",
    ]
    .iter()
    .map(|line| format!("{line}\r\n"))
    .collect();
    for transport in TRANSPORTS {
        let text = attacked.request("MESSAGE", transport);
        attacked.say(transport, text.replace("Contact:", &format!("{lies}X-Ticket: 4711\r\nContact:")));
        let seen = attacked.next_at_pbx("MESSAGE");
        assert!(!seen.contains("boss") && seen.contains("X-Ticket: 4711\r\n"), "{seen}");
        attacked.recorded();
    }
    attacked.still_serves();
}

#[test]
fn bare_line_ends_and_nul_never_leave() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        for bare in ["\r", "\n", "\0", "\n\r", "\r\0\n"] {
            for line in [
                format!("X-Note: a{bare}P-Asserted-Identity: <sip:boss@example.com>"),
                format!("X{bare}P-Asserted-Identity: <sip:boss@example.com>"),
            ] {
                let text = attacked
                    .request("MESSAGE", transport)
                    .replace("Contact:", &format!("{line}\r\nContact:"));
                let told = attacked.say(transport, text);
                let refused = told.statuses();
                assert!(matches!(refused[..], [] | [400]), "{bare:?} over {transport:?}: {refused:?}");
                attacked.nothing_left();
            }
        }
    }
    attacked.still_serves();
}

#[test]
fn what_there_is_one_of_twice_is_400() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        for line in [
            "To: <sip:other@example.com>",
            "t: <sip:other@example.com>",
            "From: <sip:other@example.com>;tag=2",
            "Call-ID: another",
            "i: another",
            "CSeq: 2 MESSAGE",
            "Max-Forwards: 69",
            "Content-Length: 0",
        ] {
            let text =
                attacked.request("MESSAGE", transport).replace("Contact:", &format!("{line}\r\nContact:"));
            let told = attacked.say(transport, text);
            assert_eq!((told.statuses(), told.closed), (vec![400], transport != Transport::Udp), "{line}");
            attacked.nothing_left();
        }
    }
    attacked.still_serves();
}

#[test]
fn odd_headers_are_read_as_rfc_3261_reads_them_or_refused() {
    let attacked = Attacked::new(Admit::Any);
    for transport in TRANSPORTS {
        let good = || attacked.request("MESSAGE", transport);
        for text in [
            good().replace("CSeq: 1 ", "CSeq: 2147483648 "),
            good().replace("CSeq: 1 ", "CSeq: 4294967297 "),
            good().replace("127.0.0.1:9;", "127.0.0.1:99999;"),
            good().replace("Contact:", ": empty\r\nContact:"),
            good().replace("Contact:", "no colon\r\nContact:"),
            good().replace("Max-Forwards: 70", "Max-Forwards: 256"),
        ] {
            assert_eq!(attacked.say(transport, &text).statuses(), [400], "{text}");
            attacked.nothing_left();
        }
        for text in [
            good().replace("Call-ID:", "Call-ID  \t :"),
            good().replace(";tag=", &format!(";tag={}", "t".repeat(2_000))),
            good().replace("z9hG4bK", &format!("z9hG4bK{}", "b".repeat(2_000))),
        ] {
            assert_eq!(attacked.say(transport, &text).statuses(), [0; 0], "{text}");
            attacked.next_at_pbx("MESSAGE");
        }
        // Sent again, since the PBX does not answer.
        attacked.recorded();
    }
    attacked.still_serves();
}
