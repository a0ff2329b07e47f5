//! A decision allocates nothing in the common case. What does: a call that a budget may end with an alert (whose it is must be
//! remembered), a budget's account of a call, and an alert itself.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

use std::net::IpAddr;
use std::time::{Duration, Instant};

use turnpike::base::{NodeKey, Now, UnixTime};
use turnpike::config::compiled::Names;
use turnpike::config::policy::load;
use turnpike::policy::settings::{Capacity, Settings};
use turnpike::policy::{Engine, Facts, Stage};

#[path = "support/counting.rs"]
mod counting;

use counting::allocations;

const POLICY: &str = r#"
policy: house
applies_to: [registrations, calls]
lists: { home: ["+49", "+43"], premium: ["+882", "+979", "+49900"] }
rules:
  - { name: emergency, when: { to: ["110", "112"] }, then: allow everywhere }
  - { name: scanners, when: { agent: ["friendly-scanner*", "sipvicious*"] }, then: drop }
  - { name: nets, when: { source: [198.51.100.0/24, 2001:db8::/32] }, then: reject 403 }
  - { name: premium, when: { to: $premium }, then: reject 403 }
  - { name: night, when: { to: not $home, time: "20:00-07:00 Europe/Berlin" }, then: reject 403 }
  - { name: one phone, count: { per: user, calls_at_once: 2, new_calls: 10/min burst 4 }, over: reject 486 }
  - { name: pace, count: { per: source, requests: 20/s burst 600 }, over: drop }
"#;

fn engine() -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("house.yaml");
    std::fs::write(&file, POLICY).unwrap();
    let policies = load(&[file], &Names::default(), Instant::now()).unwrap().policies;
    let capacity = Capacity { keys: 1_024, windows: 1_024, ..Capacity::default() };
    let settings = Settings { policies, never_ban: Vec::new(), geo: None, feeds: Vec::new(), capacity };
    Engine::new(settings, &NodeKey::new([5; 16]))
}

fn request(stage: Stage, method: &'static str, to: &'static str) -> Facts<'static> {
    Facts {
        source_proven: true,
        method,
        user: Some("201"),
        from: Some("201"),
        to: Some(to),
        agent: Some("Yealink SIP-T54W 96.86.0.100"),
        tls: true,
        ..Facts::of_source(stage, IpAddr::from([203, 0, 113, 7]))
    }
}

#[test]
fn a_decision_allocates_nothing_in_the_common_case() {
    let start = Instant::now();
    let mut seconds = 0;
    let mut engine = engine();
    for (facts, permitted) in [
        (request(Stage::Registrations, "REGISTER", "+4930201"), true),
        (request(Stage::Calls, "MESSAGE", "+4930202"), true),
        (request(Stage::Calls, "INVITE", "+493012345678"), true),
        (request(Stage::Calls, "INVITE", "+8821612345"), false),
    ] {
        let mut decide = || {
            seconds += 60;
            let elapsed = Duration::from_secs(seconds);
            let now = Now {
                instant: start + elapsed,
                unix: UnixTime(Duration::from_secs(1_772_492_400) + elapsed),
            };
            let decided = engine.decide(&facts, now);
            assert_eq!(decided.is_ok(), permitted, "{} {:?}", facts.method, facts.to);
            if let Ok(permit) = decided {
                engine.release(permit.gauges, Duration::ZERO, now);
            }
        };
        decide();
        assert_eq!(allocations(decide), 0, "{} {:?}", facts.method, facts.to);
    }
}
