//! Policies as an administrator has them: the files that ship with Turnpike and those of the design, read from disk, and
//! what they do to callers, good and bad.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use turnpike::base::{ListenerId, NodeKey, Now, TrunkId, UnixTime};
use turnpike::config::compiled::Names;
use turnpike::config::policy::{Loaded, load};
use turnpike::policy::country::Country;
use turnpike::policy::settings::{Capacity, Settings};
use turnpike::policy::{Action, Engine, Facts, Stage};

fn loaded(files: &[&str]) -> Loaded {
    let paths: Vec<PathBuf> =
        files.iter().map(|file| Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).collect();
    load(&paths, &Names::default(), Instant::now()).unwrap_or_else(|report| panic!("{report}"))
}

const SHIPPED: [&str; 5] = [
    "policies/floods.yaml",
    "policies/fraud-patterns.yaml",
    "policies/relay.yaml",
    "policies/scanners.yaml",
    "policies/toll-fraud.yaml",
];

fn shipped() -> Engine {
    let policies = loaded(&SHIPPED).policies;
    let never_ban = vec!["10.20.0.0/16".parse().expect("a network")];
    let settings =
        Settings { policies, never_ban, geo: None, feeds: Vec::new(), capacity: Capacity::default() };
    Engine::new(settings, &NodeKey::new([3; 16]))
}

/// 2026-03-03, a Tuesday: `hour` o'clock in Berlin (UTC+1), and some seconds.
fn tuesday(start: Instant, hour: u64, seconds: u64) -> Now {
    let since_midnight = Duration::from_secs(hour * 3600 + seconds);
    let midnight = Duration::from_secs(1_772_492_400);
    Now { instant: start + since_midnight, unix: UnixTime(midnight + since_midnight) }
}

fn phone<'f>(user: &'f str, to: &'f str) -> Facts<'f> {
    Facts {
        source_proven: true,
        method: "INVITE",
        user: Some(user),
        from: Some(user),
        to: Some(to),
        agent: Some("Yealink SIP-T54W 96.86.0.100"),
        tls: true,
        ..Facts::of_source(Stage::Calls, IpAddr::from([203, 0, 113, 7]))
    }
}

fn status(engine: &mut Engine, facts: &Facts<'_>, now: Now) -> u16 {
    match engine.decide(facts, now) {
        Ok(permit) => {
            engine.release(permit.gauges, Duration::ZERO, now);
            200
        }
        Err(refusal) => match refusal.action {
            Action::Reject { status, .. } => status,
            Action::Challenge => 401,
            Action::Drop | Action::Ban(_) => 0,
        },
    }
}

#[test]
fn what_ships_loads_passes_its_tests_and_needs_nothing_that_is_not_built() {
    let loaded = loaded(&SHIPPED);
    assert!(loaded.report.is_empty(), "{}", loaded.report);
    assert_eq!((loaded.policies.len(), loaded.tests), (5, 52));
    assert_eq!(loaded.untested, vec![Vec::<std::sync::Arc<str>>::new(); 5], "every rule has a test");
}

#[test]
fn the_designs_example_loads_and_runs_as_it_stands() {
    let loaded = loaded(&["tests/policy/toll-fraud.yaml"]);
    assert_eq!(loaded.tests, 4);
}

#[test]
fn the_load_harness_policy_loads_and_runs() {
    let loaded = loaded(&["tests/policy/edge.yaml"]);
    assert!(loaded.report.is_empty(), "{}", loaded.report);
    let settings = Settings {
        policies: loaded.policies,
        never_ban: Vec::new(),
        geo: None,
        feeds: Vec::new(),
        capacity: Capacity::default(),
    };
    let mut engine = Engine::new(settings, &NodeKey::new([3; 16]));
    let now = tuesday(Instant::now(), 12, 0);
    assert_eq!(status(&mut engine, &phone("201", "100"), now), 200);
    let blocked = Facts { source: IpAddr::from([198, 51, 100, 9]), ..phone("201", "100") };
    assert_eq!(status(&mut engine, &blocked, now), 0);
}

#[test]
fn a_stolen_password_buys_little_and_its_owner_still_calls_home() {
    let (mut engine, start) = (shipped(), Instant::now());
    let night = tuesday(start, 3, 0);
    for (dialled, expected) in [
        ("+8821612345", 403),
        ("%2B8821612345", 403),
        ("+882-16 (12345)", 403),
        ("+8821612345;isub=1", 403),
        ("0088216123456", 403),
        ("+442071234567", 403),
        ("+49301234567", 200),
        ("112", 200),
        ("202", 200),
    ] {
        assert_eq!(status(&mut engine, &phone("201", dialled), night), expected, "{dialled}");
    }
    let noon = tuesday(start, 12, 0);
    let abroad = phone("201", "+442071234567");
    let permit = engine.decide(&abroad, noon).unwrap();
    engine.release(permit.gauges, Duration::from_secs(3600), tuesday(start, 13, 0));
    assert_eq!(status(&mut engine, &abroad, tuesday(start, 13, 1)), 403, "the hour of the day is spent");
    assert_eq!(status(&mut engine, &phone("202", "+442071234567"), tuesday(start, 13, 2)), 200);
    assert_eq!(status(&mut engine, &phone("201", "+4930123"), tuesday(start, 13, 30)), 200);
}

#[test]
fn one_phone_is_one_person_but_trunks_and_the_pbx_are_many() {
    let (mut engine, start) = (shipped(), Instant::now());
    let now = tuesday(start, 12, 0);
    for many in [
        Facts { from_pbx: true, ..phone("+4930100", "+493012345") },
        Facts { trunk: Some(TrunkId(0)), ..phone("anonymous", "+4930100") },
    ] {
        let live: Vec<_> = (0..500).map(|_| engine.decide(&many, now).expect("permitted").gauges).collect();
        live.into_iter().for_each(|hold| engine.release(hold, Duration::ZERO, now));
    }
    let call = phone("201", "+493012345");
    let live: Vec<_> = (0..2).map(|_| engine.decide(&call, now).expect("permitted").gauges).collect();
    assert_eq!(status(&mut engine, &call, now), 486);
    live.into_iter().for_each(|hold| engine.release(hold, Duration::ZERO, now));
    assert_eq!(status(&mut engine, &call, now), 200);
}

#[test]
fn scanners_are_banned_and_a_forged_source_is_not() {
    let (mut engine, start) = (shipped(), Instant::now());
    let now = tuesday(start, 12, 0);
    let scan = Facts { agent: Some("friendly-scanner"), ..phone("100", "100") };
    let victim = IpAddr::from([198, 51, 100, 20]);
    let forged = Facts { source: victim, source_proven: false, ..scan.clone() };
    assert_eq!(status(&mut engine, &forged, now), 0);
    assert!(!engine.refuses_packet(victim, ListenerId(0), now));
    assert_eq!(status(&mut engine, &scan, now), 0);
    assert!(engine.refuses_packet(scan.source, ListenerId(0), tuesday(start, 12, 3600)));
    assert!(!engine.refuses_packet(scan.source, ListenerId(0), tuesday(start, 36, 1)));
}

#[test]
fn a_flood_is_cut_to_size_while_an_office_and_the_relied_on_go_on() {
    let (mut engine, start) = (shipped(), Instant::now());
    let now = tuesday(start, 12, 0);
    let passed = |engine: &mut Engine, source: [u8; 4], packets: usize| {
        (0..packets).filter(|_| !engine.refuses_packet(source.into(), ListenerId(0), now)).count()
    };
    assert_eq!(passed(&mut engine, [203, 0, 113, 9], 50_000), 2000);
    assert_eq!(passed(&mut engine, [203, 0, 113, 10], 1000), 1000, "a neighbour is not concerned");
    assert_eq!(passed(&mut engine, [10, 20, 0, 20], 50_000), 50_000);

    let register = Facts { stage: Stage::Registrations, method: "REGISTER", ..phone("201", "") };
    let answers: Vec<u16> = (0..700).map(|_| status(&mut engine, &register, now)).collect();
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 600);
    assert!(answers.ends_with(&[503; 100]));
}

#[test]
fn password_guessing_ends_for_the_guesser_alone() {
    let (mut engine, start) = (shipped(), Instant::now());
    let now = tuesday(start, 12, 0);
    let guess = Facts { stage: Stage::Registrations, method: "REGISTER", ..phone("201", "") };
    let mut asked = 0;
    while status(&mut engine, &guess, now) == 200 {
        engine.login_failed(guess.source, guess.user, now);
        asked += 1;
    }
    assert_eq!(asked, 60);
    let owner = Facts { source: IpAddr::from([198, 51, 100, 1]), ..guess };
    assert_eq!(status(&mut engine, &owner, now), 200);
}

/// Whatever ships is a list of numbers in E.164, nothing twice or inside another, and says where it is from.
#[test]
fn the_lists_that_ship_hold_prefixes_of_numbers_with_a_source() {
    let premium_and_satellite = "premium-and-satellite.txt";
    for file in std::fs::read_dir("policies/lists").unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        let entries = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let entries: Vec<_> = entries.filter(|entry| !entry.is_empty()).collect();
        assert!(!entries.is_empty() && text.starts_with('#'), "{}", file.display());
        if file.ends_with(premium_and_satellite) {
            continue; // It lists numbers as they are dialled, too, for zones that do not say how.
        }
        for (index, entry) in entries.iter().enumerate() {
            let digits = entry.strip_prefix('+').unwrap_or_default();
            assert!(
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()),
                "{}: {entry}",
                file.display()
            );
            let others = entries.iter().enumerate().filter(|(other, _)| *other != index);
            assert!(
                !others.into_iter().any(|(_, o)| entry.starts_with(o)),
                "{}: {entry} twice",
                file.display()
            );
        }
    }
    let of = |list: &str| std::fs::read_to_string(Path::new("policies/lists").join(list)).unwrap();
    for satellite in of("satellite.txt").lines().filter(|line| line.starts_with('+')) {
        let number = format!("{}00000000", satellite.split_whitespace().next().unwrap());
        assert_eq!(Country::of_number(&number), Some(Country(*b"XS")), "{number}");
    }
    for island in of("nanp-abroad.txt").lines().filter(|line| line.starts_with('+')) {
        let number = format!("{}0000000", &island[..5]);
        let country = Country::of_number(&number).unwrap();
        assert!(![Country(*b"US"), Country(*b"CA")].contains(&country), "{number}");
    }
}
