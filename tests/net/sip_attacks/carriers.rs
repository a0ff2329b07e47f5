//! Carriers that say too much, who says that he is one, and calls that lead to expensive ones.

use turnpike::base::{ListenerId, Transport, TrunkId};
use turnpike::edge::settings::{Admit, Host, Party, Route, RouteThen, Target, Trunk};
use turnpike::net::NodeSettings;
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::number::NumberSet;
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use super::{Attacked, Peer, TRANSPORTS, drain};
use crate::harness::*;

const PHONE: [u8; 4] = [127, 0, 0, 1];
const CARRIER: [u8; 4] = [127, 0, 0, 77];
const STRANGER: [u8; 4] = [127, 0, 0, 66];

/// Whoever comes from 127.0.0.77 is acme, whose host this is; numbers with `+` are called there.
fn with_carrier(settings: &mut NodeSettings, host: &Udp) {
    let remote = host.addr();
    let target = Target {
        uri: format!("sip:{remote}").into(),
        host: Host::Ip(remote.ip()),
        port: Some(remote.port()),
        transport: Some(Transport::Udp),
        secure: false,
        priority: 0,
        weight: 0,
        tls: u16::MAX,
        ways: [(Transport::Udp, ListenerId(0))].into_iter().collect(),
    };
    let accept_from = vec!["127.0.0.77/32".parse().unwrap()];
    let acme = Trunk { hosts: vec![target], accept_from, ..trunk(settings, "acme") };
    let edge = &mut settings.edge;
    edge.trunks.push(acme);
    let out = Route {
        name: "out".into(),
        to: vec!["+*".into()],
        then: RouteThen::SendTo(vec![Party::Trunk(TrunkId(0))]),
        ..edge.routes[0].clone()
    };
    edge.routes.insert(0, Route { from: vec![Party::Trunk(TrunkId(0))], ..edge.routes[0].clone() });
    edge.routes.insert(1, out);
}

fn attacked(admit: Admit, change: impl FnOnce(&mut NodeSettings)) -> (Attacked, Udp) {
    let host = Udp::at("127.0.0.77", "127.0.0.1:9".parse().unwrap());
    let attacked = Attacked::with(admit, |settings| {
        with_carrier(settings, &host);
        change(settings);
    });
    let to = attacked.listener(Transport::Udp);
    (attacked, Udp { to, ..host })
}

#[test]
fn a_source_that_no_trunk_names_is_no_carrier() {
    let (attacked, _host) = attacked(Admit::Trunks, |_| ());
    for transport in TRANSPORTS {
        for method in "INVITE REGISTER MESSAGE SUBSCRIBE REFER PUBLISH NOTIFY INFO".split(' ') {
            let mut stranger = attacked.peer(STRANGER, transport);
            let says =
                "P-Asserted-Identity: <sip:+4930@127.0.0.77>\r\nVia: SIP/2.0/UDP 127.0.0.77\r\nContact:";
            let text = stranger.request(method, &format!("sip:+4930@{}", stranger.to), "acme");
            stranger.send(&text.replacen("Contact:", says, 1));
            assert_eq!(status(&stranger.expect("SIP/2.0 ")), 403, "{method} over {transport:?}");
            attacked.nothing_left();
        }
        let mut carrier = attacked.peer(CARRIER, transport);
        carrier.send(&carrier.request("MESSAGE", &format!("sip:200@{}", carrier.to), "+4930"));
        attacked.next_at_pbx("MESSAGE");
        attacked.recorded();
    }
    attacked.still_serves();
}

#[test]
fn a_carrier_does_not_call_in_the_name_of_one_of_our_users() {
    let (attacked, _host) = attacked(Admit::Registered, |_| ());
    let mut phone = attacked.peer(PHONE, Transport::Tls);
    phone.register(&attacked, "alice");
    attacked.recorded();
    for transport in TRANSPORTS {
        let mut carrier = attacked.peer(CARRIER, transport);
        let call =
            |carrier: &Peer, user: &str| carrier.request("INVITE", &format!("sip:200@{}", carrier.to), user);
        let asserts = "P-Asserted-Identity: <sip:alice@127.0.0.1>\r\nContact:";
        for text in [
            call(&carrier, "alice"),
            call(&carrier, "%61lice"),
            call(&carrier, "+4930").replacen("Contact:", asserts, 1),
        ] {
            carrier.send(&text);
            assert_eq!(status(&carrier.expect("SIP/2.0 ")), 403, "{text}");
            attacked.nothing_left();
        }
        let honest = call(&carrier, "+4930");
        carrier.send(&honest);
        attacked.next_at_pbx("INVITE");
        attacked.recorded();
    }
    assert_eq!(phone.heard(), [""; 0]);
    attacked.still_serves();
}

/// CVE-2021-41158, the other way: a carrier is called, and would like to know a phone's password.
#[test]
fn a_carrier_asks_no_phone_for_a_password_and_sees_no_digest_of_one() {
    let (attacked, host) = attacked(Admit::Registered, |_| ());
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(PHONE, transport);
        phone.register(&attacked, "alice");
        for (line, field) in [
            ("401 Unauthorized", "WWW-Authenticate"),
            ("407 Proxy Authentication Required", "Proxy-Authenticate"),
        ] {
            let digest =
                "Digest username=\"alice\", realm=\"pbx\", nonce=\"1\", uri=\"x\", response=\"y\"\r\n";
            let knows = format!("Authorization: {digest}Proxy-Authorization: {digest}Contact:");
            let text = phone.request("INVITE", &format!("sip:+4930@{}", phone.to), "alice");
            phone.send(&text.replacen("Contact:", &knows, 1));
            let seen = host.receive_request("INVITE");
            assert!(!seen.contains("Digest"), "{seen}");
            let asks = format!("{field}: Digest realm=\"pbx\", nonce=\"1\"\r\nContact:");
            host.send(&answer(&seen, line, host.addr(), "").replacen("Contact:", &asks, 1));
            let told = phone.expect("SIP/2.0 ");
            let told = if status(&told) < 200 { phone.expect("SIP/2.0 4") } else { told };
            assert_eq!((status(&told), told.contains("Digest")), (403, false), "{told}");
        }
        drain(&host.socket);
        attacked.recorded();
    }
    attacked.still_serves();
}

/// However the PBX or a phone was brought to place it, each call is asked for itself.
#[test]
fn what_a_transfer_or_a_replacement_leads_to_passes_policy_again() {
    let (attacked, host) = attacked(Admit::Registered, |settings| {
        let mut satellites = NumberSet::default();
        satellites.insert("+882");
        let reject = Action::Reject { status: 403, reason: "Not permitted".into() };
        settings.policy.policies.push(Policy {
            name: "toll fraud".into(),
            place: Default::default(),
            mode: Mode::Enforce,
            stages: vec![Stage::Calls],
            rules: vec![Rule {
                name: "toll fraud / never satellite".into(),
                written: Default::default(),
                when: vec![Condition { negated: false, matcher: Matcher::To(satellites.into()) }],
                count: None,
                answer: Answer { verdict: Some(Verdict::Refuse(reject)), ..Answer::default() },
            }],
            default: Answer::ALLOW,
            deck: None,
        });
    });
    let pbx = &attacked.pbx;
    for transport in TRANSPORTS {
        let mut phone = attacked.peer(PHONE, transport);
        phone.register(&attacked, "alice");
        let refer_to = "Refer-To: <sip:+88216123@127.0.0.1>\r\nContact:";
        let refer = phone.request("REFER", &format!("sip:200@{}", phone.to), "alice");
        phone.send(&refer.replacen("Contact:", refer_to, 1));
        let seen = attacked.next_at_pbx("REFER");
        pbx.send(&answer(&seen, "202 Accepted", pbx.addr(), ""));
        phone.expect("SIP/2.0 202");
        // The PBX does as it was told.
        let invite = request("INVITE", &format!("sip:+88216123@{}", pbx.to), Transport::Udp, pbx.addr());
        pbx.send(&invite.replacen("Contact:", "Referred-By: <sip:alice@127.0.0.1>\r\nContact:", 1));
        let told = pbx.receive_final();
        assert!(told.starts_with("SIP/2.0 403 Not permitted"), "{told}");
        let replaces = "Replaces: call-1;to-tag=a;from-tag=b\r\nContact:";
        let text = phone.request("INVITE", &format!("sip:+88216123@{}", phone.to), "alice");
        phone.send(&text.replacen("Contact:", replaces, 1));
        assert!(phone.expect("SIP/2.0 4").starts_with("SIP/2.0 403 Not permitted"));
        assert_eq!(drain(&host.socket), [""; 0]);
        attacked.recorded();
    }
    attacked.still_serves();
}
