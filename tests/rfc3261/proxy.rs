//! §16: validate, route information, forward, responses.

use turnpike::base::{NodeKey, Transport};
use turnpike::sip::message::{Edit, Message, Name, param};
use turnpike::sip::proxy::branch::{Branch, LoopHash};
use turnpike::sip::proxy::forward::{Hop, forward, record_route};
use turnpike::sip::proxy::route_info::{RouteInfo, route_info};
use turnpike::sip::proxy::token::{Token, TokenKind};
use turnpike::sip::proxy::validate::{Invalid, Valid, validate};
use turnpike::sip::uri::Uri;

use crate::{message, request};

const VIA: &str = "SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds;rport";
const ORIGIN: &[u8] = b"internet";
const BOB: &str = "sip:bob@biloxi.example";

fn key() -> NodeKey {
    NodeKey::new([7; 16])
}

fn check(request: &Message) -> Result<Valid, Invalid> {
    validate(request, ORIGIN, &key(), 70, &["path"])
}

fn status(request: &Message) -> u16 {
    check(request).map_or_else(|invalid| invalid.status(), |_| 200)
}

#[test]
fn s16_3_step_2_scheme() {
    let with = |uri: &str| status(&request("INVITE", uri, VIA, "Max-Forwards: 70\n"));
    assert_eq!(with("sip:bob@biloxi.example"), 200);
    assert_eq!(with("SIPS:bob@biloxi.example"), 200);
    assert_eq!(with("tel:+15551234"), 200);
    assert_eq!(with("http://biloxi.example"), 416);
    assert_eq!(with("nobodyKnowsThisScheme:totallyopaquecontent"), 416);
    assert_eq!(with("sip:a@evil@pbx"), 400);
    assert_eq!(with("bob"), 400);
}

#[test]
fn s16_3_step_3_max_forwards() {
    let with = |line: &str| check(&request("INVITE", BOB, VIA, line)).map(|valid| valid.max_forwards);
    assert_eq!(with("Max-Forwards: 70\n"), Ok(69));
    assert_eq!(with("Max-Forwards: 1\n"), Ok(0));
    assert_eq!(with("Max-Forwards: 255\n"), Ok(70), "lowered to the cap");
    assert_eq!(with(""), Ok(70), "§16.6 step 3");
    assert_eq!(with("Max-Forwards: 0\n"), Err(Invalid::TooManyHops));
}

/// What a next hop would have got from us.
fn forwarded(request: &Message, to: &str) -> Message {
    let valid = check(request).expect("valid");
    let route = route_info(request, is_ours);
    let branch = Branch::mint(&key(), 1, valid.loop_hash);
    let mut edit = Edit::new(request);
    let hop = hop(to.as_bytes(), &[], &branch);
    forward(&mut edit, request, &route, &Hop { max_forwards: valid.max_forwards, ..hop });
    written(&edit)
}

fn hop<'a>(uri: &'a [u8], record_route: &'a [&'a [u8]], branch: &'a Branch) -> Hop<'a> {
    Hop { uri, max_forwards: 69, record_route, transport: Transport::Udp, sent_by: "edge.example", branch }
}

fn written(edit: &Edit<'_>) -> Message {
    let mut out = Vec::new();
    edit.write(&mut out);
    Message::parse(out.into(), &Default::default()).expect("what we write can be read")
}

fn is_ours(uri: &Uri<'_>) -> bool {
    matches!(uri.host, b"edge.example" | b"in.edge.example")
}

#[test]
fn s16_3_step_4_a_loop_is_seen_and_a_spiral_is_not() {
    let invite = request("INVITE", BOB, VIA, "Max-Forwards: 70\n");
    let came_back = forwarded(&invite, BOB);
    assert_eq!(check(&came_back), Err(Invalid::Loop));
    // §16.3: "the request is a spiral ... the Request-URI has been changed".
    let retargeted = forwarded(&invite, "sip:bob@192.0.2.9");
    assert!(check(&retargeted).is_ok());
    assert_eq!(check(&forwarded(&retargeted, BOB)), Err(Invalid::Loop), "and back to where it was");
    // RFC 5393 §4.2.1: another sender is routed otherwise, so it is none either.
    assert!(validate(&came_back, b"office", &key(), 70, &["path"]).is_ok());
    // Another node's branches say nothing to us.
    assert!(validate(&came_back, ORIGIN, &NodeKey::new([8; 16]), 70, &[]).is_ok());
}

#[test]
fn rfc5393_5_3_3_max_breadth() {
    assert_eq!(status(&request("INVITE", BOB, VIA, "Max-Breadth: 0\n")), 440);
    assert_eq!(status(&request("INVITE", BOB, VIA, "Max-Breadth: 1\n")), 200);
}

#[test]
fn s16_3_step_5_proxy_require() {
    let invite = request("INVITE", BOB, VIA, "Proxy-Require: path, foo\nProxy-Require: bar\n");
    assert_eq!(check(&invite), Err(Invalid::Extension { unsupported: b"foo, bar".to_vec() }));
    assert_eq!(status(&invite), 420);
    assert_eq!(status(&request("INVITE", BOB, VIA, "Proxy-Require: Path\n")), 200);
    // The order of §16.3: hops before extensions.
    assert_eq!(status(&request("INVITE", BOB, VIA, "Proxy-Require: foo\nMax-Forwards: 0\n")), 483);
}

fn texts<'m>(values: impl IntoIterator<Item = &'m [u8]>) -> Vec<String> {
    values.into_iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

fn remaining(info: &RouteInfo<'_>) -> Vec<String> {
    texts(info.remaining.iter().map(|element| element.value))
}

#[test]
fn s16_4_our_own_route_is_taken_off() {
    let bye = request("BYE", BOB, VIA, "Route: <sip:t1@edge.example;lr>, <sip:p2.example;lr>\n");
    let info = route_info(&bye, is_ours);
    assert_eq!(texts(info.ours.iter().copied()), ["sip:t1@edge.example;lr"]);
    assert_eq!(remaining(&info), ["<sip:p2.example;lr>"]);
    assert_eq!(info.next_route(), Some(&b"sip:p2.example;lr"[..]));
    let out = forwarded(&bye, BOB);
    assert_eq!(texts(out.elements(Name::Route).map(|route| route.value)), ["<sip:p2.example;lr>"]);
}

#[test]
fn rfc5658_both_halves_of_a_double_record_route_are_taken_off_and_no_more() {
    let routes = "Route: <sip:t1@edge.example;lr;r2>\nRoute: <sip:t2@in.edge.example;lr;r2>, <sip:t3@edge.example;lr>\n";
    let bye = request("BYE", BOB, VIA, routes);
    let info = route_info(&bye, is_ours);
    assert_eq!(
        texts(info.ours.iter().copied()),
        ["sip:t1@edge.example;lr;r2", "sip:t2@in.edge.example;lr;r2"]
    );
    assert_eq!(remaining(&info), ["<sip:t3@edge.example;lr>"], "a spiral comes through us once more");
    let single = "Route: <sip:t1@edge.example;lr>, <sip:t3@edge.example;lr>\n";
    assert_eq!(route_info(&request("BYE", BOB, VIA, single), is_ours).ours.len(), 1);
}

#[test]
fn s16_4_a_strict_router_before_us() {
    let routes = "Route: <sip:t2@in.edge.example;lr;r2>, <sip:bob@192.0.2.9:5062>\n";
    let bye = request("BYE", "sip:t1@edge.example;lr;r2", VIA, routes);
    let info = route_info(&bye, is_ours);
    assert_eq!(&*info.uri, b"sip:bob@192.0.2.9:5062");
    assert_eq!(
        texts(info.ours.iter().copied()),
        ["sip:t1@edge.example;lr;r2", "sip:t2@in.edge.example;lr;r2"]
    );
    assert!(info.remaining.is_empty());
    let out = forwarded(&bye, "sip:bob@192.0.2.9:5062");
    assert_eq!(out.request_uri(), Some(&b"sip:bob@192.0.2.9:5062"[..]));
    assert_eq!(out.elements(Name::Route).count(), 0);
    // A domain of ours in the Request-URI is no Record-Route of ours.
    let invite = request("INVITE", "sip:bob@edge.example", VIA, "Route: <sip:p2.example;lr>\n");
    assert_eq!(remaining(&route_info(&invite, is_ours)), ["<sip:p2.example;lr>"]);
}

#[test]
fn s16_4_maddr_that_names_us_is_stripped_and_another_is_left_to_be_refused() {
    let with = |uri: &str| {
        let invite = request("INVITE", uri, VIA, "");
        String::from_utf8_lossy(&route_info(&invite, is_ours).uri).into_owned()
    };
    assert_eq!(
        with("sip:bob@biloxi.example:5070;maddr=edge.example;transport=tcp;user=phone?a=b"),
        "sip:bob@biloxi.example;user=phone?a=b"
    );
    assert_eq!(with("sip:[2001:db8::1];maddr=edge.example"), "sip:[2001:db8::1]");
    assert_eq!(
        with("sip:bob@biloxi.example;maddr=198.51.100.1"),
        "sip:bob@biloxi.example;maddr=198.51.100.1"
    );
}

#[test]
fn s16_6_a_forwarded_request_differs_only_where_it_must() {
    let invite = message(
        "INVITE sip:bob@biloxi.example SIP/2.0\n\
         v: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds;rport\n\
         X-Any:  kept \nf: <sip:alice@atlanta.example>;tag=a1\nTo: <sip:bob@biloxi.example>\nCall-ID: call@pc33\n\
         CSeq: 7 INVITE\nMax-Forwards: 70\nRecord-Route: <sip:p0.example;lr>\nRoute: <sip:t1@edge.example;lr>\n\
         Content-Length: 4\n\nbody",
    );
    let key = key();
    let branch = Branch::mint(&key, 5, LoopHash::of(&key, ORIGIN, &invite));
    let token = Token::seal(&key, TokenKind::Call, 3);
    let outside = record_route(token.as_bytes(), "edge.example", Transport::Tls, false, true, b"");
    let inside = record_route(token.as_bytes(), "in.edge.example:5060", Transport::Udp, false, true, b"");
    let route = route_info(&invite, is_ours);
    let mut edit = Edit::new(&invite);
    forward(&mut edit, &invite, &route, &hop(b"sip:bob@pbx.example", &[&outside, &inside], &branch));
    let mut out = Vec::new();
    edit.write(&mut out);
    insta::assert_snapshot!(String::from_utf8(out).expect("text").replace('\r', ""));
}

#[test]
fn s16_6_step_6_a_strict_router_behind_us() {
    let bye = request(
        "BYE",
        BOB,
        VIA,
        "Route: <sip:t1@edge.example;lr>, <sip:strict.example>, <sip:p3.example;lr>\n",
    );
    let out = forwarded(&bye, BOB);
    assert_eq!(out.request_uri(), Some(&b"sip:strict.example"[..]));
    let routes = texts(out.elements(Name::Route).map(|route| route.value));
    assert_eq!(routes, ["<sip:p3.example;lr>", "<sip:bob@biloxi.example>"]);
}

#[test]
fn s16_6_step_9_a_stream_needs_a_content_length() {
    let bare = message(
        "BYE sip:bob@biloxi.example SIP/2.0\nVia: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bKx\n\
         From: <sip:alice@atlanta.example>;tag=a1\nTo: <sip:bob@biloxi.example>;tag=b1\nCall-ID: call@pc33\n\
         CSeq: 8 BYE\n\n",
    );
    let branch = Branch::mint(&key(), 5, LoopHash::of(&key(), ORIGIN, &bare));
    for (transport, length) in [(Transport::Tls, true), (Transport::Udp, false)] {
        let mut edit = Edit::new(&bare);
        let route = route_info(&bare, is_ours);
        forward(&mut edit, &bare, &route, &Hop { transport, ..hop(BOB.as_bytes(), &[], &branch) });
        let out = written(&edit);
        assert_eq!(out.header(Name::ContentLength).is_some(), length);
        let asks_rport = param(out.top_via().params, b"rport").is_some();
        assert_eq!(asks_rport, transport == Transport::Udp);
    }
}

#[test]
fn s16_6_step_8_the_branch_is_new_each_time_and_the_loop_hash_is_not_about_the_method() {
    let invite = request("INVITE", BOB, VIA, "");
    let cancel = crate::as_method(&invite, "CANCEL");
    let hash = LoopHash::of(&key(), ORIGIN, &invite);
    assert_eq!(hash, LoopHash::of(&key(), ORIGIN, &cancel));
    assert_ne!(
        hash,
        LoopHash::of(&key(), ORIGIN, &request("INVITE", BOB, VIA, "Route: <sip:p1.example;lr>\n"))
    );
    assert_ne!(
        hash,
        LoopHash::of(&key(), ORIGIN, &request("INVITE", BOB, VIA, "Proxy-Authorization: Digest x\n"))
    );
    assert_eq!(
        hash,
        LoopHash::of(
            &key(),
            ORIGIN,
            &request("INVITE", BOB, "SIP/2.0/TCP other.example;branch=z9hG4bKo", "")
        )
    );
    assert_ne!(Branch::mint(&key(), 1, hash), Branch::mint(&key(), 2, hash));
}
