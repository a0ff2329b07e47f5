//! What a trunk's rules change, seen from both sides.

use turnpike::edge::settings::{CallerId, CallerIdHeader, NumberRule, TrunkRules};

use super::ua::{header, request, request_uri, response};
use super::world::{Actor, World};

fn rule(pattern: &str, replace: &str) -> NumberRule {
    NumberRule { pattern: regex_lite::Regex::new(pattern).expect("pattern"), replace: replace.into() }
}

/// A world whose first carrier has these rules.
fn world(rules: TrunkRules) -> World {
    World::with(move |settings| settings.trunks[0].rules = rules.clone())
}

/// What the carrier sees of a call by the PBX with these further header fields.
fn seen_by_carrier(rules: TrunkRules, from: &str, more: &str) -> String {
    let mut world = world(rules);
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    world.send(&pbx, with(request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", from, "", ""), more));
    world.expect(&acme, "INVITE")
}

/// A message with further header fields.
fn with(message: String, more: &str) -> String {
    message.replacen("Max-Forwards:", &format!("{more}Max-Forwards:"), 1)
}

#[test]
fn a_number_goes_out_as_the_carrier_wants_it() {
    let rules =
        TrunkRules { outbound: vec![rule(r"^\+49", "0"), rule(r"^\+", "00")], ..TrunkRules::default() };
    let seen = seen_by_carrier(rules, "100", "");
    assert_eq!(request_uri(&seen), "sip:0301234@198.51.100.1", "the first that matches, and no other");
}

#[test]
fn a_group_stands_where_the_replacement_says() {
    let rules = TrunkRules { outbound: vec![rule(r"^\+49(\d+)$", "#31#$1")], ..TrunkRules::default() };
    assert_eq!(request_uri(&seen_by_carrier(rules, "100", "")), "sip:%2331%23301234@198.51.100.1");
}

#[test]
fn a_number_comes_in_as_the_pbx_wants_it() {
    let mut world = world(TrunkRules { inbound: vec![rule(r"^\+49", "0")], ..TrunkRules::default() });
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    world.send(&carrier, request(&carrier, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", ""));
    let seen = world.expect(&pbx, "INVITE");
    assert!(request_uri(&seen).starts_with("sip:0301234@"), "{seen}");
    assert!(header(&seen, "To").contains("+49301234"), "To says who was called first, and stays");
}

#[test]
fn a_carrier_is_told_who_calls_where_it_looks_for_it() {
    let by = |header, e164| TrunkRules {
        caller_id: Some(CallerId { header, e164 }),
        outbound: vec![rule("^0([1-9])", "+49$1")],
        ..TrunkRules::default()
    };
    let asserted = "P-Asserted-Identity: <sip:030777@pbx.example>\r\n";
    let seen = seen_by_carrier(by(CallerIdHeader::PAssertedIdentity, true), "100", asserted);
    assert!(header(&seen, "P-Asserted-Identity").starts_with("<sip:+4930777@"), "{seen}");
    assert_eq!(seen.matches("P-Asserted-Identity").count(), 1);
    let seen = seen_by_carrier(by(CallerIdHeader::RemotePartyId, true), "0049301", "");
    assert!(header(&seen, "Remote-Party-ID").starts_with("<sip:+49301@"), "{seen}");
    let seen = seen_by_carrier(by(CallerIdHeader::PAssertedIdentity, true), "100", "");
    assert!(!seen.contains("P-Asserted-Identity"), "an extension is no number that a carrier knows");
    let seen = seen_by_carrier(by(CallerIdHeader::PAssertedIdentity, false), "100", "");
    assert!(header(&seen, "P-Asserted-Identity").starts_with("<sip:100@"), "{seen}");
    let seen = seen_by_carrier(by(CallerIdHeader::PAssertedIdentity, false), "anonymous", "");
    assert!(!seen.contains("P-Asserted-Identity"), "who wants to be nobody is nobody");
}

#[test]
fn a_from_that_is_rewritten_comes_back_as_it_was() {
    let caller_id = Some(CallerId { header: CallerIdHeader::From, e164: true });
    let mut world = world(TrunkRules { caller_id, ..TrunkRules::default() });
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let invite = request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "0049301", "", "");
    world.send(&pbx, &invite);
    let seen = world.expect(&acme, "INVITE");
    assert!(header(&seen, "From").contains("sip:+49301@"), "{seen}");
    world.send(&acme, response(&seen, "486 Busy Here", "x", "", ""));
    let came = world.expect(&pbx, "SIP/2.0 486");
    assert_eq!(header(&came, "From"), header(&invite, "From"));
}

#[test]
fn header_fields_are_removed_both_ways_and_added_towards_the_carrier() {
    let rules = TrunkRules {
        remove: vec![b"X-*"[..].into(), b"subject"[..].into()],
        add: vec![("X-Edge".into(), "edge-1".into())],
        ..TrunkRules::default()
    };
    let mut world = world(rules);
    let (pbx, acme) = (Actor::pbx(), Actor::carrier());
    let more = "X-Queue: sales\r\nS: hello\r\nAccept: application/sdp\r\n";
    world.send(&pbx, with(request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "100", "", ""), more));
    let seen = world.expect(&acme, "INVITE");
    assert!(!seen.contains("X-Queue") && !seen.contains("hello") && seen.contains("Accept:"), "{seen}");
    assert_eq!(header(&seen, "X-Edge"), "edge-1");
    world.send(&acme, response(&seen, "486 Busy Here", "x", "X-Switch: 7\r\n", ""));
    assert!(!world.expect(&pbx, "SIP/2.0 486").contains("X-Switch"));

    world.send(&acme, with(request(&acme, "INVITE", "sip:+49301234@203.0.113.11", "+4930999", "", ""), more));
    let seen = world.expect(&pbx, "INVITE");
    assert!(!seen.contains("X-Queue") && !seen.contains("X-Edge"), "{seen}");
}
