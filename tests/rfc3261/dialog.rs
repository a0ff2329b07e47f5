//! §12, §15 from the middle: what is learnt of a dialog, what fits into it, and the BYE that ends a leg.

use turnpike::sip::dialog::{Dialog, DialogState, OutOfDialog, Side};
use turnpike::sip::message::{Message, Name};

use crate::message;

/// Alice behind p1, us with two Record-Route values, p2 and p3 before Bob.
fn invite() -> Message {
    message(
        "INVITE sip:bob@biloxi.example SIP/2.0\nVia: SIP/2.0/TLS p1.example;branch=z9hG4bK1\n\
         Record-Route: <sip:p1.example;lr>, <sip:p0.example;lr>\nFrom: \"Alice\" <sip:alice@atlanta.example>;tag=a1\n\
         To: <sip:bob@biloxi.example>\nCall-ID: call@pc33\nCSeq: 7 INVITE\nContact: <sip:alice@192.0.2.1:5061>\n\
         Content-Length: 0\n\n",
    )
}

fn answer(status: u16, tag: &str, contact: &str) -> Message {
    message(&format!(
        "SIP/2.0 {status} X\nVia: SIP/2.0/TLS p1.example;branch=z9hG4bK1\n\
         Record-Route: <sip:p3.example;lr>, <sip:p2.example;lr>\n\
         Record-Route: <sip:b@edge.example;lr;r2>, <sip:a@edge.example;lr;r2>\n\
         Record-Route: <sip:p1.example;lr>, <sip:p0.example;lr>\nFrom: \"Alice\" <sip:alice@atlanta.example>;tag=a1\n\
         To: <sip:bob@biloxi.example>;tag={tag}\nCall-ID: call@pc33\nCSeq: 7 INVITE\nContact: <{contact}>\n\
         Content-Length: 0\n\n"
    ))
}

fn within(method: &str, cseq: u32, from: &str, to: &str, more: &str) -> Message {
    message(&format!(
        "{method} sip:x@192.0.2.9 SIP/2.0\nVia: SIP/2.0/TLS p1.example;branch=z9hG4bK2\n\
         From: <sip:one@example>;tag={from}\nTo: <sip:other@example>;tag={to}\nCall-ID: call@pc33\n\
         CSeq: {cseq} {method}\n{more}Content-Length: 0\n\n"
    ))
}

fn confirmed() -> Dialog {
    Dialog::new(&invite(), &answer(200, "b1", "sip:bob@192.0.2.9"), 4).expect("a dialog")
}

fn bye(dialog: &Dialog, toward: Side) -> Message {
    let mut out = Vec::new();
    assert!(dialog.bye(toward, 0, b"SIP/2.0/TLS edge.example;branch=z9hG4bK3", None, &mut out));
    Message::parse(out.into(), &Default::default()).expect("a message")
}

#[test]
fn s12_1_what_makes_a_dialog() {
    let invite = invite();
    let state = |status| {
        Dialog::new(&invite, &answer(status, "b1", "sip:bob@192.0.2.9"), 4).map(|dialog| dialog.state())
    };
    assert_eq!(state(100), None);
    assert_eq!(state(183), Some(DialogState::Early));
    assert_eq!(state(200), Some(DialogState::Confirmed));
    assert_eq!(state(486), None);
    let dialog = confirmed();
    assert_eq!((dialog.tag(Side::Caller), dialog.tag(Side::Callee)), (&b"a1"[..], &b"b1"[..]));
    assert_eq!(dialog.target(Side::Caller), Some(&b"sip:alice@192.0.2.1:5061"[..]));
    assert_eq!(dialog.target(Side::Callee), Some(&b"sip:bob@192.0.2.9"[..]));
}

#[test]
fn s12_2_1_1_bye_to_both_sides() {
    let mut dialog = confirmed();
    dialog.follow_request(Side::Caller, &within("UPDATE", 9, "a1", "b1", ""));
    let mut out = Vec::new();
    for (side, reason) in [(Side::Callee, None), (Side::Caller, Some(&b"Q.850;cause=16"[..]))] {
        assert!(dialog.bye(side, 0, b"SIP/2.0/TLS edge.example;branch=z9hG4bK3", reason, &mut out));
    }
    insta::assert_snapshot!(String::from_utf8(out).expect("text").replace('\r', ""));
}

#[test]
fn s12_2_1_1_bye_through_a_strict_router() {
    let invite = String::from_utf8_lossy(invite().bytes())
        .replace("\r\n", "\n")
        .replace("p1.example;lr", "p1.example");
    let response = answer(200, "b1", "sip:bob@192.0.2.9");
    let dialog = Dialog::new(&message(&invite), &response, 4).expect("a dialog");
    let bye = bye(&dialog, Side::Caller);
    assert_eq!(bye.request_uri(), Some(&b"sip:p1.example"[..]));
    let routes: Vec<&[u8]> = bye.elements(Name::Route).map(|route| route.value).collect();
    assert_eq!(routes, [&b"<sip:p0.example;lr>"[..], b"<sip:alice@192.0.2.1:5061>"]);
}

#[test]
fn a_callee_that_keeps_no_record_route_is_sent_to_directly() {
    let bare = message(
        "SIP/2.0 200 OK\nVia: SIP/2.0/TLS p1.example;branch=z9hG4bK1\nFrom: <sip:alice@atlanta.example>;tag=a1\n\
         To: <sip:bob@biloxi.example>;tag=b1\nCall-ID: call@pc33\nCSeq: 7 INVITE\nContact: <sip:bob@192.0.2.9>\n\
         Content-Length: 0\n\n",
    );
    let dialog = Dialog::new(&invite(), &bare, 4).expect("a dialog");
    assert_eq!(bye(&dialog, Side::Callee).elements(Name::Route).count(), 0);
}

#[test]
fn s12_2_2_what_fits_into_a_dialog() {
    let mut dialog = confirmed();
    let check = |dialog: &Dialog, method: &str, cseq, from: &str, to: &str| {
        dialog.check(&within(method, cseq, from, to, ""))
    };
    assert_eq!(check(&dialog, "BYE", 8, "a1", "b1"), Ok(Side::Caller));
    assert_eq!(check(&dialog, "BYE", 1, "b1", "a1"), Ok(Side::Callee), "each side counts on its own");
    assert_eq!(check(&dialog, "BYE", 8, "a1", "guess"), Err(OutOfDialog::Unknown));
    assert_eq!(check(&dialog, "BYE", 6, "a1", "b1"), Err(OutOfDialog::CSeq));
    assert_eq!(check(&dialog, "ACK", 7, "a1", "b1"), Ok(Side::Caller));
    assert_eq!(check(&dialog, "ACK", 8, "a1", "b1"), Err(OutOfDialog::CSeq));
    assert_eq!(
        check(&dialog, "ACK", 1, "b1", "a1"),
        Err(OutOfDialog::CSeq),
        "there was no INVITE from there"
    );
    dialog.follow_request(Side::Callee, &within("INFO", 40, "b1", "a1", ""));
    assert_eq!(check(&dialog, "INFO", 39, "b1", "a1"), Err(OutOfDialog::CSeq));
    assert_eq!((OutOfDialog::Unknown.status(), OutOfDialog::CSeq.status()), (481, 500));
}

#[test]
fn s12_2_2_only_target_refresh_requests_move_the_target() {
    let mut dialog = confirmed();
    let contact = "Contact: <sip:alice@192.0.2.77>\n";
    dialog.follow_request(Side::Caller, &within("INFO", 8, "a1", "b1", contact));
    assert_eq!(dialog.target(Side::Caller), Some(&b"sip:alice@192.0.2.1:5061"[..]));
    dialog.follow_request(Side::Caller, &within("INVITE", 9, "a1", "b1", contact));
    assert_eq!(dialog.target(Side::Caller), Some(&b"sip:alice@192.0.2.77"[..]));
    dialog.follow_response(Side::Callee, &answer(200, "b1", "sip:bob@192.0.2.10"));
    assert_eq!(dialog.target(Side::Callee), Some(&b"sip:bob@192.0.2.10"[..]));
}

#[test]
fn s13_2_2_4_the_2xx_confirms_and_replaces_what_the_early_dialog_had_learnt() {
    let early = message(
        "SIP/2.0 180 Ringing\nVia: SIP/2.0/TLS p1.example;branch=z9hG4bK1\nFrom: <sip:alice@atlanta.example>;tag=a1\n\
         To: <sip:bob@biloxi.example>;tag=b1\nCall-ID: call@pc33\nCSeq: 7 INVITE\nContent-Length: 0\n\n",
    );
    let mut dialog = Dialog::new(&invite(), &early, 4).expect("a dialog");
    assert_eq!(dialog.target(Side::Callee), None);
    assert!(!dialog.bye(Side::Callee, 0, b"SIP/2.0/TLS edge.example;branch=z9hG4bK3", None, &mut Vec::new()));
    dialog.follow_response(Side::Callee, &answer(200, "b1", "sip:bob@192.0.2.9"));
    assert_eq!(dialog.state(), DialogState::Confirmed);
    assert_eq!(bye(&dialog, Side::Callee).elements(Name::Route).count(), 2);
}

#[test]
fn s15_1_1_a_bye_ends_it_unless_it_was_challenged() {
    let mut dialog = confirmed();
    let answer = |status| {
        message(&format!(
            "SIP/2.0 {status} X\nVia: SIP/2.0/TLS p1.example;branch=z9hG4bK2\nFrom: <sip:alice@atlanta.example>;tag=a1\n\
             To: <sip:bob@biloxi.example>;tag=b1\nCall-ID: call@pc33\nCSeq: 8 BYE\nContent-Length: 0\n\n"
        ))
    };
    dialog.follow_response(Side::Callee, &answer(407));
    assert_eq!(dialog.state(), DialogState::Confirmed);
    dialog.follow_response(Side::Callee, &answer(481));
    assert_eq!(dialog.state(), DialogState::Terminated);
}
