//! What a decision costs: 200 rules that all have to be asked, 5 of them counting, as a busy edge has them.
#![allow(missing_docs)]

use std::fmt::Write;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use turnpike::base::ban::Banned;
use turnpike::base::{ListenerId, NodeKey, Now, UnixTime};
use turnpike::config::compiled::Names;
use turnpike::config::policy::load;
use turnpike::policy::matcher::{Condition, Matcher};
use turnpike::policy::network::NetworkSet;
use turnpike::policy::settings::{Answer, Capacity, Mode, Place, Policy, Rule, Settings, Verdict, Written};
use turnpike::policy::{Action, Engine, Facts, Stage};

/// 195 rules of the common kinds, none of which speaks, among 5 that count.
fn two_hundred_rules() -> Settings {
    let mut text = String::from(
        "policy: bench\napplies_to: calls\n\
         lists: { home: [\"+49\", \"+43\", \"+41\", \"+33\", \"+31\"] }\nrules:\n",
    );
    for n in 0..195 {
        let when = match n % 5 {
            0 => format!("to: [\"+88{n}\", \"+97{n}\", \"00{n}*\"]"),
            1 => format!("source: [10.{n}.0.0/16, 192.168.{n}.0/24]"),
            2 => format!("user: [\"9{n}\"], to: not $home"),
            3 => format!("agent: [\"scanner-{n}*\"]"),
            _ => format!("from: [\"+1{n}\"], time: \"20:00-07:00 Europe/Berlin\""),
        };
        let _ = writeln!(text, "  - {{ name: r{n}, when: {{ {when} }}, then: reject 403 }}");
        if n % 40 == 0 {
            let per = ["source", "user", "source/24", "destination_prefix", "all"][n / 40];
            let count = format!("per: {per}, calls_at_once: 100000, new_calls: 60000/s");
            let _ = writeln!(text, "  - {{ name: c{n}, count: {{ {count} }}, over: reject 486 }}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bench.yaml");
    std::fs::write(&path, text).expect("written");
    let policies = load(&[path], &Names::default(), Instant::now()).expect("a policy").policies;
    assert_eq!(policies[0].rules.len(), 200);
    Settings { policies, never_ban: Vec::new(), geo: None, feeds: Vec::new(), capacity: Capacity::default() }
}

fn call() -> Facts<'static> {
    Facts {
        source_proven: true,
        method: "INVITE",
        user: Some("201"),
        from: Some("201"),
        to: Some("+493012345678"),
        agent: Some("Yealink SIP-T54W 96.86.0.100"),
        tls: true,
        ..Facts::of_source(Stage::Calls, IpAddr::from([203, 0, 113, 7]))
    }
}

fn decisions(c: &mut Criterion) {
    let start = Instant::now();
    let now = |elapsed| Now {
        instant: start + elapsed,
        unix: UnixTime(Duration::from_secs(1_772_492_400) + elapsed),
    };
    let mut engine = Engine::new(two_hundred_rules(), &NodeKey::new([5; 16]));
    let mut microseconds = 0;
    c.bench_function("decide: 200 rules, 5 counters", |b| {
        b.iter(|| {
            microseconds += 20;
            let now = now(Duration::from_micros(microseconds));
            let permit = engine.decide(black_box(&call()), now).expect("permitted");
            engine.release(permit.gauges, Duration::ZERO, now);
        })
    });

    let mut source = 0u32;
    c.bench_function("refuses_packet: nobody banned, a flood rule", |b| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("flood.yaml");
        let text = "policy: flood\napplies_to: packets\nrules:\n  - { name: f, count: { per: source, packets: 50/s }, over: drop }\n";
        std::fs::write(&path, text).expect("written");
        let policies = load(&[path], &Names::default(), Instant::now()).expect("a policy").policies;
        let settings = Settings { policies, never_ban: Vec::new(), geo: None, feeds: Vec::new(), capacity: Capacity::default() };
        let mut engine = Engine::new(settings, &NodeKey::new([5; 16]));
        b.iter(|| {
            source = source.wrapping_add(0x9E37_79B9);
            let address = IpAddr::from(source.to_be_bytes());
            engine.refuses_packet(black_box(address), ListenerId(0), now(Duration::ZERO))
        })
    });

    let networks: NetworkSet = (0..1_000_000u32)
        .filter_map(|n| format!("{}/32", std::net::Ipv4Addr::from_bits(n.wrapping_mul(4294))).parse().ok())
        .collect();
    c.bench_function("look-up among a million networks", |b| {
        b.iter(|| {
            source = source.wrapping_add(0x9E37_79B9);
            networks.contains(black_box(IpAddr::from(source.to_be_bytes())))
        })
    });

    let mut engine = Engine::new(dropping(networks), &NodeKey::new([5; 16]));
    let at = now(Duration::ZERO);
    for n in 0..10_000u32 {
        let banned = Banned::source(n.wrapping_mul(429_497).to_be_bytes().into());
        engine.bans().ban(banned, None, "a bench", at).expect("banned");
    }
    c.bench_function("look-up among 10,000 bans", |b| {
        b.iter(|| {
            source = source.wrapping_add(0x9E37_79B9);
            engine.bans().holds(black_box(source.to_be_bytes().into()), at)
        })
    });
    c.bench_function("refuses_packet: a rule with a list of a million networks, 10,000 bans", |b| {
        b.iter(|| {
            source = source.wrapping_add(0x9E37_79B9);
            engine.refuses_packet(black_box(source.to_be_bytes().into()), ListenerId(0), at)
        })
    });
}

fn dropping(networks: NetworkSet) -> Settings {
    let when = vec![Condition { negated: false, matcher: Matcher::Source(Arc::new(networks)) }];
    let answer = Answer { verdict: Some(Verdict::Refuse(Action::Drop)), ..Answer::default() };
    let rule = Rule { name: "bad / networks".into(), when, count: None, answer, written: Written::default() };
    let policy = Policy {
        name: "bad".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Packets],
        rules: vec![rule],
        default: Answer::ALLOW,
        deck: None,
        place: Place::default(),
    };
    Settings { policies: vec![policy], ..Settings::default() }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
