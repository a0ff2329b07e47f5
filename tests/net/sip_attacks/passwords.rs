//! Where a password is asked for: who has none, who guesses, and who has seen one answered.

use std::sync::Arc;

use turnpike::edge::settings::{Admit, Users};
use turnpike::sip::digest::Secret;

use super::{Attacked, Peer, TRANSPORTS};
use crate::authenticated::{REALM, logged_in};
use crate::harness::*;

const HERE: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 66];

fn attacked() -> Attacked {
    Attacked::with(Admit::Authenticated, |settings| {
        let secret = Secret::of_password("alice", REALM, "wonderland");
        settings.edge.users = Users::new(REALM, [(Arc::from("alice"), secret)]);
    })
}

/// What this one is asked.
fn challenged(peer: &mut Peer, text: &str) -> String {
    peer.send(text);
    let told = peer.expect("SIP/2.0 ");
    assert_eq!(status(&told), if text.starts_with("REGISTER") { 401 } else { 407 }, "{text}{told}");
    told
}

fn message(peer: &Peer) -> String {
    peer.request("MESSAGE", "sip:alice@127.0.0.1", "alice")
}

/// Knows the right password and says so, behind so many wrong ones. True: the PBX has seen the request.
fn logs_in(attacked: &Attacked, peer: &mut Peer, guesses: u32) -> bool {
    let text = message(peer);
    let asked = challenged(peer, &text);
    for count in 1..=guesses {
        challenged(peer, &logged_in(&text, &asked, "guess", count));
        attacked.nothing_left();
    }
    peer.send(&logged_in(&text, &asked, "wonderland", guesses + 1));
    if guesses >= 20 {
        return status(&peer.expect("SIP/2.0 ")) == 200;
    }
    let seen = attacked.next_at_pbx("MESSAGE");
    assert!(!seen.contains("Authorization"), "{seen}");
    attacked.pbx.send(&answer(&seen, "200 OK", attacked.pbx.addr(), ""));
    peer.expect("SIP/2.0 200");
    true
}

#[test]
fn who_knows_no_password_is_asked_for_one_in_the_same_words_whoever_he_says_he_is() {
    let attacked = attacked();
    for transport in TRANSPORTS {
        for method in "REGISTER INVITE MESSAGE SUBSCRIBE REFER PUBLISH NOTIFY INFO FROBNICATE".split(' ') {
            let answers = ["alice", "nobody"].map(|user| {
                let mut peer = attacked.peer(ELSEWHERE, transport);
                let text = peer.request(method, &format!("sip:{user}@127.0.0.1"), user);
                let told = challenged(&mut peer, &text);
                assert!(told.len() <= 2 * text.len(), "{told}");
                assert_eq!(peer.heard(), [""; 0], "it is said once");
                let own = ["Via", "From", "To", "Call-ID"].map(|name| values(&told, name)[0].to_owned());
                let bare = own.iter().fold(told, |told, own| told.replace(own, ""));
                let nonce = bare.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
                bare.replace(nonce, "")
            });
            assert_eq!(answers[0], answers[1], "{method} over {transport:?}");
            attacked.nothing_left();
        }
    }
    assert_eq!(attacked.node.status().unwrap().edge.server_transactions, 0);
    attacked.still_serves();
}

#[test]
fn guessing_gets_nowhere_and_keeps_nobody_else_out() {
    for transport in TRANSPORTS {
        let attacked = attacked();
        assert!(logs_in(&attacked, &mut attacked.peer(HERE, transport), 0));
        attacked.recorded();
        let mut thief = attacked.peer(ELSEWHERE, transport);
        assert!(
            !logs_in(&attacked, &mut thief, 20),
            "the right one behind twenty wrong ones is not looked at"
        );
        attacked.nothing_left();
        assert!(logs_in(&attacked, &mut attacked.peer(HERE, transport), 1), "the owner mistypes it once");
        attacked.recorded();
        attacked.still_serves();
    }
}

#[test]
fn an_answer_that_was_seen_on_its_way_is_worth_nothing() {
    let attacked = attacked();
    for transport in TRANSPORTS {
        let mut owner = attacked.peer(HERE, transport);
        let text = message(&owner);
        let asked = challenged(&mut owner, &text);
        let right = logged_in(&text, &asked, "wonderland", 1);
        owner.send(&right);
        let seen = attacked.next_at_pbx("MESSAGE");
        attacked.pbx.send(&answer(&seen, "200 OK", attacked.pbx.addr(), ""));
        owner.expect("SIP/2.0 200");
        attacked.recorded();
        let again = |n: u8| right.replacen("branch=z9hG4bK", &format!("branch=z9hG4bKagain{n}"), 1);
        challenged(&mut owner, &again(1));
        for over in TRANSPORTS {
            let mut thief = attacked.peer(ELSEWHERE, over);
            let via = |transport: turnpike::base::Transport| format!("SIP/2.0/{} ", transport.via());
            let stolen = again(2).replacen(&via(transport), &via(over), 1);
            challenged(&mut thief, &stolen);
            // For a request of his own.
            challenged(&mut thief, &stolen.replace("MESSAGE", "PUBLISH").replacen("again2", "again3", 1));
            challenged(
                &mut thief,
                &stolen.replacen("sip:alice@", "sip:+882@", 1).replacen("again2", "again4", 1),
            );
        }
        attacked.nothing_left();
    }
    attacked.still_serves();
}
