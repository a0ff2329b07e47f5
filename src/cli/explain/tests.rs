//! What people are told, word for word.

use clap::Parser;

use super::*;

const CONFIG: &str = r#"
name: edge-1
data_dir: data
zones:
  internet: { trust: none, admit: registered, media: { anchor: never }, numbers: { country: "49" } }
  carriers: { trust: peer, admit: trunks, media: { anchor: never } }
  office: { trust: full, admit: any, networks: [10.20.0.0/16], media: { anchor: never } }
listeners:
  phones: { zone: internet, bind: "udp://203.0.113.10:5060" }
  trunks: { zone: carriers, bind: "tcp://198.51.100.10:5060" }
  inside: { zone: office, bind: "udp://10.20.0.5:5060" }
pbx: { zone: office, hosts: ["sip:10.20.0.20"] }
trunks:
  acme: { zone: carriers, accept_from: [192.0.2.0/24] }
  dear: { zone: carriers, hosts: ["sip:198.51.100.20;transport=tcp"] }
  cheap: { zone: carriers, hosts: ["sip:198.51.100.30;transport=tcp"] }
routes:
  - { name: Austria, to: ["+43*"], send_to: [dear, cheap] }
  - { name: Prague, to: ["+420*"], reject: 404 }
  - { name: any carrier, to: ["+4930*"], send_to: [trunks, pbx] }
  - { name: phones, from: pbx, to: ["30*"], send_to: internet }
  - { name: fire brigade, to: ["112"], send_to: pbx, emergency: true }
  - { name: the rest, send_to: pbx }
policies: [policy.yaml, audited.yaml, routes.yaml]
"#;

const POLICY: &str = r#"
policy: house
applies_to: [packets, registrations, calls]
lists:
  home: ["+49", "+43"]
  bad: ["198.51.100.128/25"]
rules:
  - { name: bad networks,  when: { source: $bad }, then: [drop, ban 1h] }
  - { name: scanners,      when: { agent: ["friendly-scanner*"] }, then: drop }
  - { name: registering,   when: { method: REGISTER }, then: allow }
  - { name: look at it,    when: { to: "+43" }, then: alert }
  - { name: never,         when: { to: ["+882", "+881", "+870", "+979", "+878"] }, then: [reject 403 "Not from here", alert] }
  - { name: two at a time, when: { party: phones }, count: { per: user, calls_at_once: 2, new_calls: 10/min burst 4 }, over: reject 486 }
  - { name: trunk pace,    when: { trunk: acme }, count: { per: trunk, new_calls: 20/s }, over: reject 503 }
  - { name: none at all,   when: { to: "0900*" }, count: { per: all, calls_at_once: 0 }, over: reject 480 }
  - { name: the PBX,       when: { party: pbx }, then: allow everywhere }
  - { name: not abroad at night, when: { to: { not: [$home, "201"] }, time: "20:00-07:00 Europe/Berlin" }, then: reject 403 }
  - { name: only over TLS, when: { country: [FR, CH], tls: no }, then: challenge }
  - { name: neighbours,    when: { from: "+44", zone: carriers, listener: trunks }, then: reject 603 }
"#;

const AUDITED: &str = r#"
policy: tomorrow
applies_to: calls
mode: audit
rules:
  - { name: closed, when: { user: "202" }, then: reject 480 "Closed" }
default: reject 404
"#;

const ROUTES: &str = r#"
policy: dear trunks
applies_to: routes
rules:
  - { name: sales only, when: { trunk: dear, user: { not: ["202"] } }, then: drop }
  - { name: two at a time, when: { trunk: cheap }, count: { per: trunk, calls_at_once: 2 }, over: reject 486 }
"#;

fn told(arguments: &str) -> String {
    told_by(CONFIG, arguments)
}

fn told_by(config: &str, arguments: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, text) in [
        ("turnpike.yaml", config),
        ("relay.yaml", RELAY),
        ("secret", "a-secret-of-some-length"),
        ("policy.yaml", &POLICY.replace("challenge", "reject 401")),
        ("audited.yaml", AUDITED),
        ("routes.yaml", ROUTES),
    ] {
        std::fs::write(at(name), text).unwrap();
    }
    let scan = "OPTIONS sip:100@203.0.113.10 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKs\n\
                From: <sip:100@192.0.2.9>;tag=s\nTo: <sip:100@203.0.113.10>\nCall-ID: s\nCSeq: 1 OPTIONS\n\
                User-Agent: friendly-scanner\nMax-Forwards: 70\nContent-Length: 0\n\n";
    let ok = "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKs\nFrom: <sip:100@192.0.2.9>;tag=s\n\
              To: <sip:100@203.0.113.10>;tag=t\nCall-ID: s\nCSeq: 1 OPTIONS\nContent-Length: 0\n\n";
    let texts = [("scan.sip", scan.to_owned()), ("ok.sip", ok.to_owned()), ("no.sip", "no\n".to_owned())];
    let register =
        ("register.sip", scan.replace("OPTIONS", "REGISTER").replace("friendly-scanner", "Yealink"));
    for (name, text) in texts.into_iter().chain([register]) {
        std::fs::write(at(name), text).unwrap();
    }
    let path = |word: &str| match word.strip_suffix(".sip") {
        Some(_) => at(word).display().to_string(),
        None => word.replace('_', " "),
    };
    let line = format!("explain --config {} {arguments}", at("turnpike.yaml").display());
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let args = Line::parse_from(line.split(' ').map(path)).args;
    let told = match foresee(&args) {
        Ok(foreseen) => foreseen.to_string(),
        Err(Untold::Report(report)) => report.to_string(),
        Err(Untold::Other(why)) => format!("error: {why}\n"),
    };
    told.replace(&format!("{}/", folder.path().display()), "")
}

const TURN: &str = r#"
relay:
  addresses: { internet: { bind: 203.0.113.10 } }
  turn:
    realm: turn
    listeners: { udp: "udp://203.0.113.10:3478", open: "tcp://203.0.113.10:3478" }
    credentials: { users: { alice: { password: "file:secret", role: lab } }, shared_secret: "file:secret" }
    roles: { phones: {}, lab: { peers: [0.0.0.0/0] } }
    default_role: phones
"#;

const RELAY: &str = r#"
policy: turn
applies_to: [packets, relay]
rules:
  - { name: bad networks, when: { source: 198.51.100.0/24, listener: udp }, then: drop }
  - { name: kept away, when: { peer: 10.0.0.0/8 }, then: [reject 480, alert] }
  - { name: phones, when: { role: phones, tls: no }, then: reject 403 }
  - { name: none, when: { listener: open }, count: { per: user, allocations_at_once: 0, bytes: 5 GB/day }, over: reject 486 }
"#;

#[test]
fn what_is_decided_about_turn_clients_is_told() {
    let config = CONFIG.replace("[policy.yaml, audited.yaml, routes.yaml]", "[relay.yaml]") + TURN;
    let cases = [
        "--turn --user alice --at 2026-01-05_12:00",
        "--turn --user alice --peer 10.1.2.3 --at 2026-01-05_12:00",
        "--turn --user bob --at 2026-01-05_12:00",
        "--turn --user alice --listener open --at 2026-01-05_12:00",
        "--turn --user alice --source 198.51.100.7 --at 2026-01-05_12:00",
        "--turn --user alice --listener phones",
    ];
    let told = cases.map(|case| format!("--- {case}\n{}", told_by(&config, case)));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn every_rule_that_is_looked_at_is_told() {
    let cases = [
        ("a number on a list", "--call +8821612345 --user 201 --at 2026-01-05_12:00"),
        ("as it is dialled", "--call 008821612345 --user 201 --at 2026-01-05_12:00"),
        ("home by day", "--call +4930 --user 201 --at 2026-01-05_12:00"),
        ("abroad by day", "--call +4420 --user 201 --at 2026-01-05_12:00"),
        ("abroad at night", "--call +4420 --user 201 --at 2026-01-05_23:00"),
        ("night is told in the rule's zone", "--call +4420 --user 201 --at 2026-01-05_06:30"),
        ("to France without TLS", "--call +33123 --user 201 --at 2026-01-05_12:00"),
        ("an alert goes on", "--call +431234 --user 201 --at 2026-01-05_12:00"),
        ("a trunk that others may use", "--call +431234 --user 202 --at 2026-01-05_12:00"),
        ("a route that rejects", "--call +420123 --user 201 --at 2026-01-05_12:00"),
        ("whichever trunk", "--call +4930123 --user 202 --at 2026-01-05_12:00"),
        ("to a phone", "--call 301 --user 201 --listener inside --source 10.20.0.20 --at 2026-01-05_12:00"),
        ("a limit of nothing", "--call 0900123 --user +49 --trunk acme --at 2026-01-05_12:00"),
        ("from a trunk", "--call 201 --user +4420 --trunk acme --at 2026-01-05_12:00"),
        (
            "from the trunk's address",
            "--call 201 --user +4930 --listener trunks --source 192.0.2.7 --at 2026-01-05_12:00",
        ),
        (
            "from nobody's address",
            "--call 201 --user +4930 --listener trunks --source 203.0.113.9 --at 2026-01-05_12:00",
        ),
        ("from a bad network", "--call 201 --user 202 --source 198.51.100.200 --at 2026-01-05_12:00"),
        (
            "from the PBX",
            "--call +8835 --user 201 --listener inside --source 10.20.0.20 --at 2026-01-05_12:00",
        ),
        (
            "from outside the zone",
            "--call 1 --user 201 --listener inside --source 10.99.0.1 --at 2026-01-05_12:00",
        ),
        ("an emergency", "--call 112 --user 201 --at 2026-01-05_23:00"),
        ("whom an audited policy would refuse", "--call +4930 --user 202 --at 2026-01-05_12:00"),
        ("a scanner", "scan.sip --at 2026-01-05_12:00"),
        ("a registration", "register.sip --at 2026-01-05_12:00"),
        ("a response", "ok.sip --at 2026-01-05_12:00"),
        ("no message", "no.sip --at 2026-01-05_12:00"),
        ("no such file", "lost.sip --at 2026-01-05_12:00"),
        ("no such listener", "--call 1 --user 201 --listener phone --at 2026-01-05_12:00"),
        ("no such trunk", "--call 1 --user 201 --trunk bravo --at 2026-01-05_12:00"),
        ("no time", "--call 1 --user 201 --at noon"),
    ];
    for (title, arguments) in cases {
        insta::assert_snapshot!(title.replace(' ', "_").replace('\'', ""), told(arguments), arguments);
    }
}
