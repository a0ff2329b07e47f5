//! Candidates that come after offer and answer, in INFO (RFC 8840).

use turnpike::edge::settings::Ice;

use super::calls::{hang_up, register};
use super::ua::{Leg, answer, body, header, request, response, sdp};
use super::world::{Actor, World};

const PWD: &str = "abcdefghijklmnopqrstuv";

fn with_ice(host: &str, port: u16, name: &str) -> String {
    sdp(host, port) + &format!("a=ice-ufrag:{name}\r\na=ice-pwd:{PWD}\r\na=ice-options:trickle\r\n")
}

/// A phone that trickles calls the PBX, which does ICE or not.
fn established(phone_ice: Ice, pbx_does_ice: bool) -> (World, Leg, Leg) {
    let mut world = World::with(|settings| settings.zones[0].media.ice = phone_ice);
    let (phone, pbx) = (Actor::tls_phone(1, "192.0.2.7:49152"), Actor::pbx());
    register(&mut world, &phone, "alice");
    let offer = with_ice("192.0.2.7", 5_004, "alice");
    let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", "", &offer);
    world.send(&phone, &invite);
    let seen = world.expect(&pbx, "INVITE");
    let keeps_trickle = phone_ice != Ice::Terminate;
    assert_eq!(body(&seen).contains("a=ice-options:trickle\r\n"), keeps_trickle, "{seen}");
    let reply = if pbx_does_ice { with_ice("10.20.0.20", 7_000, "pbx1") } else { sdp("10.20.0.20", 7_000) };
    let ok = answer(&pbx, &seen, "200 OK", "b", &reply);
    world.send(&pbx, &ok);
    let came = world.expect(&phone, "SIP/2.0 200");
    assert_eq!(body(&came).contains("a=ice-options:trickle\r\n"), pbx_does_ice && keeps_trickle, "{came}");
    let mut a = Leg::caller(&phone, &invite, &came);
    world.send(&phone, a.request("ACK", ""));
    world.expect(&pbx, "ACK");
    (world, a, Leg::callee(&pbx, &seen, &ok))
}

/// RFC 8840 §9, §10: an INFO with what its sender has gathered so far.
fn info(leg: &mut Leg, name: &str, candidates: &[&str]) -> String {
    let lines: String = candidates.iter().map(|line| format!("a=candidate:{line}\r\n")).collect();
    let fragment = format!(
        "a=ice-ufrag:{name}\r\na=ice-pwd:{PWD}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n{lines}a=end-of-candidates\r\n"
    );
    let head = "Info-Package: trickle-ice\r\nContent-Disposition: Info-Package\r\nContent-Type: application/trickle-ice-sdpfrag\r\n";
    leg.request("INFO", &fragment).replace("Content-Type: application/sdp\r\n", head)
}

fn candidates(message: &str) -> Vec<&str> {
    body(message).lines().filter_map(|line| line.strip_prefix("a=candidate:")).collect()
}

const PUBLIC: &str = "3 1 udp 1694498815 192.0.2.78 6000 typ srflx raddr 192.0.2.7 rport 6000";

#[test]
fn trickled_candidates_pass_as_those_of_the_sdp_do() {
    let (mut world, mut a, mut b) = established(Ice::Auto, true);
    let (phone, pbx) = (a.actor, b.actor);
    let mdns = "1 1 udp 2130706431 0f9c.local 6000 typ host";
    let private = "2 1 udp 2130706431 192.168.1.5 6000 typ host";
    world.send(&phone, info(&mut a, "alice", &[mdns, private, PUBLIC]));
    let seen = world.expect(&pbx, "INFO");
    assert_eq!(candidates(&seen), [private, PUBLIC], "an mDNS name means nothing to the PBX");
    for line in ["a=ice-ufrag:alice\r\n", "m=audio 9 RTP/AVP 0\r\na=mid:0\r\n", "a=end-of-candidates\r\n"] {
        assert!(body(&seen).contains(line), "{seen}");
    }
    assert_eq!(header(&seen, "Content-Length"), body(&seen).len().to_string());
    assert_eq!(header(&seen, "Content-Type"), "application/trickle-ice-sdpfrag");
    world.send(&pbx, response(&seen, "200 OK", "", "", ""));
    world.expect(&phone, "SIP/2.0 200");

    // The PBX's zone is fully trusted. What it got from our own TURN server, or says of us, is not stacked.
    let inside = "1 1 udp 2130706431 10.20.0.20 7000 typ host";
    let ours = "2 1 udp 41819903 203.0.113.10 40000 typ relay raddr 10.20.0.20 rport 7000";
    let mapped = "3 1 udp 1694498815 192.0.2.99 7000 typ srflx raddr 10.20.0.20 rport 7000";
    world.send(&pbx, info(&mut b, "pbx1", &[inside, ours, mapped]));
    let seen = world.expect(&phone, "INFO");
    assert_eq!(candidates(&seen), ["3 1 udp 1694498815 192.0.2.99 7000 typ srflx raddr 0.0.0.0 rport 9"]);
    world.send(&phone, response(&seen, "200 OK", "", "", ""));
    world.expect(&pbx, "SIP/2.0 200");
    hang_up(&mut world, &mut a, &pbx);
    world.assert_clean();
}

#[test]
fn turn_clients_may_reach_what_was_trickled_until_the_call_ends() {
    let (mut world, mut a, mut b) = established(Ice::Auto, true);
    let (phone, pbx) = (a.actor, b.actor);
    let before = world.call_peers();
    for _ in 0..2 {
        world.send(&phone, info(&mut a, "alice", &[PUBLIC, "4 1 udp 1 192.168.1.5 6000 typ host"]));
        let with = [before.clone(), vec!["192.0.2.78:6000".to_owned()]].concat();
        assert_eq!(world.call_peers(), with, "each INFO repeats what came before");
    }
    world.send(&pbx, info(&mut b, "pbx1", &["1 1 udp 1 192.0.2.99 7000 typ srflx raddr 0.0.0.0 rport 9"]));
    assert!(world.call_peers().contains(&"192.0.2.99:7000".to_owned()));
    world.take(&phone);
    world.take(&pbx);
    hang_up(&mut world, &mut a, &pbx);
    assert!(world.call_peers().is_empty());
}

#[test]
fn relay_only_shows_no_trickled_candidate() {
    let (mut world, mut a, b) = established(Ice::RelayOnly, true);
    let (phone, pbx) = (a.actor, b.actor);
    world.send(&phone, info(&mut a, "alice", &[PUBLIC]));
    let seen = world.expect(&pbx, "INFO");
    assert!(candidates(&seen).is_empty() && body(&seen).contains("a=end-of-candidates"), "{seen}");
}

/// The PBX knows no such package, and our lite agent needs no candidate.
#[test]
fn where_ice_ends_at_us_so_does_what_is_trickled() {
    for (phone_ice, pbx_does_ice) in [(Ice::Auto, false), (Ice::Terminate, true)] {
        let (mut world, mut a, b) = established(phone_ice, pbx_does_ice);
        let (phone, pbx) = (a.actor, b.actor);
        let trickled = info(&mut a, "alice", &[PUBLIC]);
        for _ in 0..2 {
            world.send(&phone, &trickled);
            let ok = world.expect(&phone, "SIP/2.0 200");
            assert_eq!(header(&ok, "CSeq"), format!("{} INFO", a.cseq));
            assert_eq!(header(&ok, "To"), a.remote);
            world.expect_nothing(&pbx);
        }
        hang_up(&mut world, &mut a, &pbx);
        world.assert_clean();
    }
}

/// ATTACKS.md: in-dialog hijack.
#[test]
fn nobody_but_a_party_trickles() {
    let (mut world, mut a, _) = established(Ice::Auto, false);
    let stranger = Actor::tls_phone(9, "198.51.100.99:49152");
    let forged = info(&mut a, "alice", &[PUBLIC]);
    world.send(&stranger, forged);
    assert!(world.take(&stranger).iter().all(|text| !text.starts_with("SIP/2.0 200")));
}

#[test]
fn any_other_info_passes_as_it_is() {
    let (mut world, mut a, b) = established(Ice::Auto, false);
    let (phone, pbx) = (a.actor, b.actor);
    let dtmf = a.request("INFO", "Signal=5\r\n").replace("application/sdp", "application/dtmf-relay");
    world.send(&phone, dtmf);
    assert_eq!(body(&world.expect(&pbx, "INFO")), "Signal=5\r\n");
}
