//! What is wrong with a policy file, as an administrator is told it. The files that are right stand in `tests/policy.rs`.

use std::time::Instant;

use super::*;
use crate::net::settings::Format;
use crate::policy::dial_plan::DialPlan;
use crate::policy::feed::{FeedId, Kind, Subject};
use crate::policy::matcher::Matcher;

fn names() -> Names {
    let named = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    Names {
        zones: named(&["internet", "carriers", "office"]),
        listeners: named(&["phones_tls", "phones_udp", "turn_udp", "turn_tls"]),
        roles: named(&["phones", "lab"]),
        trunks: named(&["acme", "bravo"]),
        ..Names::default()
    }
}

/// Everything told about a file of this text, beside a list file `list.txt`.
fn told(text: &str, list: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(folder.path().join("list.txt"), list).unwrap();
    let names = Names { no_geoip: true, ..names() };
    let report = match load(&[path], &names, Instant::now()) {
        Ok(loaded) => loaded.report,
        Err(report) => report,
    };
    report.to_string().replace(&format!("{}/", folder.path().display()), "")
}

/// A policy whose one rule is this, with a list called `home`.
fn rule(rule: &str) -> String {
    let lists = "lists: { home: [\"+49\"], bad: [\"10.0.0.0/33\"] }";
    format!("policy: p\napplies_to: calls\n{lists}\nrules:\n  - {rule}\n")
}

fn count(count: &str) -> String {
    rule(&format!("{{ name: r, count: {{ {count} }}, over: reject 486 }}"))
}

fn when(when: &str) -> String {
    rule(&format!("{{ name: r, when: {{ {when} }}, then: drop }}"))
}

fn with_test(test: &str) -> String {
    rule("{ name: never, when: { to: \"+882\" }, then: reject 403 }") + &format!("tests:\n  - {test}\n")
}

/// A rule with this condition, and a list from a URL.
fn feed(when: &str) -> String {
    let lists = "lists: { feed: { url: \"https://example.com/list\" } }";
    format!(
        "policy: p\napplies_to: calls\n{lists}\nrules:\n  - {{ name: r, when: {{ {when} }}, then: drop }}\n"
    )
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_type() {
    let head = "policy: p\napplies_to: calls\n";
    let cases = [
        ("no YAML", "policy: p\nrules: [\n".to_owned()),
        ("nothing", String::new()),
        ("misspelt key", "polcy: p\napplies_to: calls\nrules: []\n".to_owned()),
        ("misspelt stage", "policy: p\napplies_to: [call, registration]\nrules: []\n".to_owned()),
        ("a stage twice", "policy: p\napplies_to: [calls, calls]\nrules: []\n".to_owned()),
        ("misspelt mode", format!("{head}mode: enforced\nrules: []\n")),
        ("misspelt key of a rule", rule("{ name: r, than: drop }")),
        ("misspelt condition", when("form: \"201\"")),
        ("misspelt list", when("to: not $hme")),
        ("misspelt zone", when("zone: internett")),
        ("misspelt trunk", when("trunk: [acme, brvo]")),
        ("misspelt listener", when("listener: phones")),
        ("misspelt party", when("party: phone")),
        ("not before brackets", rule("name: r\n    when:\n      source: not [10.0.0.0/8]\n    then: drop")),
        ("not inside brackets", when("to: [\"+49\", not $home]")),
        ("no network", when("source: [10.0.0.0/8, 10.0.0.256]")),
        ("host bits", when("source: 10.0.0.5/8")),
        ("a list that holds no networks", when("source: $bad")),
        ("no number", when("to: \"+49x\"")),
        ("star in the middle", when("to: \"+49*30\"")),
        ("no zone behind the hours", when("time: \"20:00-07:00\"")),
        ("misspelt zone of time", when("time: \"20:00-07:00 Europe/Berln\"")),
        ("no hours", when("time: \"25:00-07:00 UTC\"")),
        ("neither yes nor no", when("tls: maybe")),
        ("misspelt answer", rule("{ name: r, then: rejct 403 }")),
        ("no status", rule("{ name: r, then: reject 200 }")),
        ("reason cut off at a comma", rule("{ name: r, then: [reject 403 \"No, never\"] }")),
        ("ban without end", rule("{ name: r, then: ban }")),
        ("ban of no length", rule("{ name: r, then: ban forever }")),
        ("ban of a user without end", rule("{ name: r, then: ban user }")),
        (
            "ban of a user who is not known yet",
            "policy: p\napplies_to: packets\nrules:\n  - { name: r, then: ban user 1h }\n".to_owned(),
        ),
        ("two decisions", rule("{ name: r, then: [reject 403, drop] }")),
        ("allowed and banned", rule("{ name: r, then: [allow, ban 1h] }")),
        ("no answer", rule("{ name: r, when: { tls: no } }")),
        ("no answer to a count", rule("{ name: r, count: { per: user, calls_at_once: 2 } }")),
        ("then for over", rule("{ name: r, count: { per: user, calls_at_once: 2 }, then: drop }")),
        ("over without count", rule("{ name: r, over: drop }")),
        ("count without per", count("calls_at_once: 2")),
        ("count per what", count("per: usr, calls_at_once: 2")),
        ("count of nothing", count("per: user")),
        ("no rate", count("per: user, new_calls: 10")),
        ("no burst", count("per: user, new_calls: 10/min burst 0")),
        ("a count that never counts", count("per: source, packets: 10/s")),
        (
            "a fact that is not known yet",
            "policy: p\napplies_to: packets\nrules:\n  - { name: r, when: { agent: x }, then: drop }\n"
                .to_owned(),
        ),
        (
            "two rules of one name",
            rule("{ name: r, when: { tls: no }, then: drop }\n  - { name: r, then: drop }"),
        ),
        ("a reserved name", rule("{ name: allow, then: drop }")),
        ("no list file", format!("{head}lists: {{ l: {{ file: lost.txt }} }}\nrules: []\n")),
        ("test of a misspelt rule", with_test("{ name: t, given: { to: \"+882\" }, expect: nevr }")),
        ("test that fails", with_test("{ name: t, given: { to: \"+881\" }, expect: never }")),
        ("test with a misspelt fact", with_test("{ name: t, given: { too: \"+882\" }, expect: never }")),
        ("misspelt country", when("country: [DE, UK]")),
        ("country of a source without a database", when("source_country: KP")),
        ("no folder", format!("{head}lists: {{ l: {{ folder: lost }} }}\nrules: []\n")),
        ("which holidays", when("time: holidays UTC")),
        ("no day", format!("{head}holidays: [01-01, 02-30]\nrules: []\n")),
        ("no URL", format!("{head}lists: {{ l: {{ url: \"example.com/list\" }} }}\nrules: []\n")),
        (
            "a password in a URL",
            format!("{head}lists: {{ l: {{ url: \"https://me:hunter2@example.com/\" }} }}\nrules: []\n"),
        ),
        (
            "fetched too often",
            format!("{head}lists: {{ l: {{ url: \"https://example.com/\", refresh: 5s }} }}\nrules: []\n"),
        ),
        ("a feed of two kinds", feed("source: $feed, to: $feed")),
        ("a feed of agents", feed("agent: $feed")),
        ("no deck", format!("{head}rates: {{ file: lost.csv }}\nrules: []\n")),
        ("test at no time", with_test("{ name: t, given: { time: noon }, expect: allow }")),
    ];
    let all: Vec<String> =
        cases.iter().map(|(title, text)| format!("--- {title}\n{}", told(text, ""))).collect();
    for (case, (title, _)) in all.iter().zip(&cases) {
        assert!(case.contains("error: "), "{title} is no error:\n{case}");
    }
    insta::assert_snapshot!(all.concat());
}

#[test]
fn budgets_are_tested_in_their_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rates.csv"), "44,0.60,0,1/1\n882,3.00,1.00,60/60\n").unwrap();
    let text = r#"
policy: budgets
applies_to: [calls, in_call]
rates: { file: rates.csv }
rules:
  - { name: day,    count: { per: user, spend: 20.00/day, minutes: 10h/month }, over: [reject 403, hang_up, alert] }
  - { name: short,  count: { per: country, short_calls: 20/h under 6s }, over: reject 403 }
  - { name: row,    count: { per: user, sequential_numbers: 5/10min }, over: reject 403 }
  - { name: hours,  when: { longer_than: 2h }, then: hang_up }
tests:
  - { name: some is left,   given: { user: "201", to: "+4420", spend: 19.95 }, expect: allow }
  - { name: not enough,     given: { user: "201", to: "+8821", spend: 16.01 }, expect: day }
  - { name: just enough,    given: { user: "201", to: "+8821", spend: 16 }, expect: allow }
  - { name: short ones,     given: { to: "+4420", short_calls: 20 }, expect: short }
  - { name: in a row,       given: { user: "201", to: "+4420", sequential_numbers: 5 }, expect: row }
  - { name: a long call,    given: { talked: 3h }, expect: hours }
  - { name: not so long,    given: { talked: 1h }, expect: default }
"#;
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, text.replace("10h/month", "600/month")).unwrap();
    let loaded = load(&[path], &names(), Instant::now()).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!((loaded.policies.len(), loaded.tests), (1, 7));
}

#[test]
fn what_is_wrong_with_a_budget_is_told() {
    let text = r#"
policy: wrong budgets
applies_to: calls
rules:
  - { name: a, count: { per: user, spend: 20.00/day }, over: reject 403 }
  - { name: b, count: { per: user, spend: a lot/day }, over: reject 403 }
  - { name: c, count: { per: user, short_calls: 5/h under nothing }, over: reject 403 }
  - { name: d, count: { per: user, calls_at_once: 2 }, over: hang_up }
  - { name: e, when: { to: "+44" }, then: hang_up }
  - { name: f, when: { longer_than: 2h }, then: reject 403 }
"#;
    insta::assert_snapshot!(told(text, ""));
}

#[test]
fn who_is_asked_for_a_password_must_be_able_to_answer() {
    let asks = |stages: &str| {
        format!(
            "policy: p\napplies_to: {stages}\nrules:\n  - {{ name: r, when: {{ to: \"+\" }}, then: challenge }}\n"
        )
    };
    assert_eq!(told(&asks("calls"), ""), "");
    assert!(
        told(&asks("in_call"), "").contains("can be answered at stages `registrations` and `calls` alone")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, asks("calls")).unwrap();
    let report = load(&[path], &Names { no_users: true, ..names() }, Instant::now()).unwrap_err();
    assert!(report.to_string().contains("add `users: { realm: example.com, file: users.yaml }`"), "{report}");
    let with_tests = asks("calls")
        + "tests:\n  - { name: asked, given: { to: \"+44\" }, expect: r }\n  - { name: not asked, given: { to: \"+44\", party: pbx }, expect: allow }\n";
    assert_eq!(told(&with_tests, ""), "");
}

/// Every word that TURN knows, each rule reached by a test.
#[test]
fn turn_is_ruled_in_the_words_of_the_language() {
    let text = r#"
policy: relay
applies_to: [packets, relay]
lists: { bad: [198.51.100.0/24], inside: [10.0.0.0/8] }
rules:
  - { name: not them, when: { source: $bad }, then: drop }
  - { name: not inside, when: { peer: $inside }, then: [reject 403, alert, ban user 1h] }
  - { name: phones in the open, when: { role: phones, tls: no, listener: turn_udp }, then: reject 403 }
  - { name: thief, when: { user: mallory }, then: reject 403 }
  - { name: lab peers, when: { role: lab, peer: { not: [192.0.2.0/24] } }, then: reject 403 }
  - { name: at once, count: { per: user, allocations_at_once: 3, new_allocations: 10/min burst 4 }, over: reject 486 }
  - { name: bytes, count: { per: user, bytes: 5 GB/day }, over: [reject 486, hang_up, alert] }
tests:
  - { name: a, given: { source: 198.51.100.7, user: alice }, expect: not them }
  - { name: b, given: { peer: 10.1.2.3, user: alice }, expect: not inside }
  - { name: c, given: { user: alice, role: phones, listener: turn_udp }, expect: phones in the open }
  - { name: d, given: { user: alice, role: phones, listener: turn_tls, tls: yes }, expect: default }
  - { name: e, given: { user: mallory, role: phones, tls: yes }, expect: thief }
  - { name: f, given: { user: alice, role: lab, peer: 203.0.113.5 }, expect: lab peers }
  - { name: g, given: { user: alice, role: lab, peer: 192.0.2.5 }, expect: default }
  - { name: "no peer is asked for, so nothing is said of peers", given: { user: alice, role: lab }, expect: default }
  - { name: h, given: { user: alice, allocations_at_once: 3 }, expect: at once }
  - { name: i, given: { user: alice, allocations_at_once: 2 }, expect: default }
  - { name: j, given: { user: alice, new_allocations: 4 }, expect: at once }
  - { name: k, given: { stage: relay, user: alice, bytes: 5 GB }, expect: bytes }
  - { name: l, given: { stage: relay, user: alice, bytes: 4999 MB }, expect: default }
  - { name: m, given: { stage: relay, user: alice, bytes: 5 GB, method: REFRESH }, expect: bytes }
  - { name: "peers are not counted", given: { stage: relay, user: alice, bytes: 5 GB, peer: 192.0.2.5 }, expect: default }
  - { name: n, given: { packets: 0, source: 198.51.100.7 }, expect: not them }
"#;
    assert_eq!(told(text, ""), "");
}

#[test]
fn what_turn_does_not_know_is_told() {
    let asks = |applies_to: &str, rule: &str| {
        let text = format!("policy: p\napplies_to: {applies_to}\nrules:\n  - {rule}\n");
        told(&text, "")
    };
    let cases = [
        asks("relay", "{ name: r, when: { to: \"+49\" }, then: reject 403 }"),
        asks("relay", "{ name: r, when: { zone: office }, then: reject 403 }"),
        asks("relay", "{ name: r, count: { per: trunk, bytes: 1 GB/day }, over: reject 486 }"),
        asks("relay", "{ name: r, count: { per: user, bytes: 1 Gb/day }, over: reject 486 }"),
        asks("relay", "{ name: r, count: { per: user, calls_at_once: 1 }, over: reject 486 }"),
        asks("calls", "{ name: r, when: { peer: 10.0.0.0/8 }, then: reject 403 }"),
        asks("relay", "{ name: r, when: { role: phone }, then: reject 403 }"),
        asks(
            "relay",
            "{ name: r, count: { per: user, allocations_at_once: 1 }, over: [reject 486, hang_up] }",
        ),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn what_is_odd_is_a_warning() {
    let text = r#"
policy: odd
applies_to: calls
rules:
  - { name: guessing, count: { per: user, failed_logins: 5/10min }, over: drop }
  - { name: all, then: allow }
  - { name: too late, when: { to: "+882" }, then: reject 403 }
lists:
  forged: { url: "http://example.com/list" }
  near: { url: "http://127.0.0.1:8080/list" }
"#;
    insta::assert_snapshot!(told(text, ""));
}

/// Only what is certain is told: a rule that another one leaves something to is not.
#[test]
fn a_rule_below_one_that_decides_whenever_it_could_is_a_warning() {
    let text = r#"
policy: odd
applies_to: [registrations, calls]
lists: { home: ["+49", "+43"], feed: { url: "https://example.com/" } }
rules:
  - { name: abroad, when: { to: not $home, party: phones }, then: reject 403 }
  - { name: in one zone only, when: { to: not $home, party: phones, zone: office }, then: reject 404 }
  - { name: other homes, when: { to: { not: [$home, "+41"] }, party: phones }, then: drop }
  - { name: heard - fewer homes, when: { to: not "+49", party: phones }, then: drop }
  - { name: heard - others too, when: { to: not $home }, then: drop }
  - { name: counted, when: { to: "+1" }, count: { per: user, calls_at_once: 1 }, over: drop }
  - { name: heard - below a count, when: { to: "+12" }, then: drop }
  - { name: told, when: { from: "1*" }, then: alert }
  - { name: heard - below an alert, when: { from: "12*" }, then: drop }
  - { name: prefix, when: { user: "2*" }, then: drop }
  - { name: longer prefix, when: { user: ["20", "21*"] }, count: { per: user, calls_at_once: 1 }, over: drop }
  - { name: heard - another prefix, when: { user: ["20", "3*"] }, then: drop }
  - { name: networks, when: { source: [10.0.0.0/8, 192.0.2.0/24, $feed] }, then: drop }
  - { name: network, when: { source: [10.1.0.0/16, $feed] }, then: drop }
  - { name: heard - half, when: { source: [192.0.2.0/23] }, then: drop }
  - { name: countries, when: { country: [DE, AT] }, then: drop }
  - { name: country, when: { country: AT, tls: yes }, then: drop }
  - { name: nights, when: { time: ["20:00-07:00 UTC", "sat UTC"] }, then: drop }
  - { name: night, when: { time: "20:00-07:00 UTC" }, then: drop }
  - { name: heard - another night, when: { time: "20:00-07:00 Europe/Berlin" }, then: drop }
"#;
    let told = told(text, "");
    assert_eq!(told.matches("this rule is never reached").count(), 6, "{told}");
    assert!(!told.contains("heard") && !told.contains("error"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn a_mistake_in_a_list_file_is_told_in_that_file() {
    let text = "policy: p\napplies_to: calls\nlists: { l: { file: list.txt } }\nrules:\n  \
                - { name: r, when: { source: $l }, then: drop }\n";
    insta::assert_snapshot!(told(text, "# bad\n10.0.0.0/8   # private\n\n  192.0.2.300\n"));
}

#[test]
fn a_mistake_in_a_rate_deck_is_told_in_that_file() {
    let text = "policy: p\napplies_to: calls\nrates: { file: list.txt }\nrules: []\n";
    let deck = "prefix,price,connect,increment\n49,0.01,0,60/1  # home\n+4915,0.10\n49,0.02\n4x,1\n43\n44,1 EUR\n\
                45,1,,0/0\n46,1,0,60,x\n47,1,0.05,30/6\n";
    insta::assert_snapshot!(told(text, deck));
}

#[test]
fn mistakes_in_lists_from_a_url_are_told_and_the_key_is_not() {
    let text = r#"policy: p
applies_to: calls
lists:
  no_key: { url: "https://apiban.org/api", format: apiban }
  clear: { url: "https://apiban.org/api", format: apiban, key: k3y }
  no_file: { url: "https://apiban.org/api", format: apiban, key: "file:missing" }
  odd: { url: "https://apiban.org/api", format: apiban, key: "file:list.txt" }
  plain: { url: "https://example.com/list?key=k3y", key: "file:list.txt" }
  unsigned: { url: "https://example.com/list", ca: missing.pem }
  other: { url: "https://example.com/list", format: csv }
rules:
  - { name: r, when: { source: [$no_key, $clear, $no_file, $odd, $plain, $unsigned, $other] }, then: drop }
"#;
    let told = told(text, "k3y/k3y");
    assert!(!told.contains("k3y") || told.contains("***"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn apiban_lists_networks_and_its_key_is_read_where_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "k3y0fApiban\n").unwrap();
    let text = |matcher: &str| {
        format!(
            "policy: p\napplies_to: calls\nlists: {{ bad: {{ url: \"https://apiban.org/api\", format: apiban, key: \"file:key\" }} }}\n\
             rules: [{{ name: r, when: {{ {matcher}: $bad }}, then: drop }}]\n"
        )
    };
    let path = folder.path().join("policy.yaml");
    let load = |matcher| {
        std::fs::write(&path, text(matcher)).unwrap();
        load(std::slice::from_ref(&path), &names(), Instant::now())
    };
    let loaded = load("source").unwrap();
    let [feed] = &loaded.feeds[..] else { panic!("one feed") };
    assert!(matches!(&feed.format, Format::Apiban(key) if key.reveal() == "k3y0fApiban"));
    assert!(!format!("{feed:?}").contains("k3y"));
    let told = load("to").unwrap_err().to_string();
    assert!(told.contains("APIBAN lists networks") && !told.contains("k3y0f"), "{told}");
}

#[test]
fn a_list_from_a_url_is_one_feed_however_often_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| {
        format!(
            r#"
policy: {name}
applies_to: calls
lists: {{ bad: {{ url: "https://example.com/bad?key=1", refresh: 30m }}, numbers: {{ url: "https://example.com/n" }}, unused: {{ url: "https://example.com/" }} }}
rules:
  - {{ name: a, when: {{ source: $bad }}, then: drop }}
  - {{ name: b, when: {{ source: {{ not: [$bad, 10.0.0.0/8] }}, to: $numbers }}, then: drop }}
tests: [{{ name: nothing is fetched for a test, given: {{ source: 192.0.2.1 }}, expect: default }}]
"#
        )
    };
    let paths = ["first", "second"].map(|name| {
        let path = folder.path().join(name);
        std::fs::write(&path, text(name)).unwrap();
        path
    });
    let loaded = load(&paths, &names(), Instant::now()).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.report.is_empty(), "{}", loaded.report);
    let feeds: Vec<_> = loaded.feeds.iter().map(|f| (&*f.name, f.kind, f.refresh.as_secs())).collect();
    let (networks, numbers) = (Kind::Networks, Kind::Numbers);
    assert_eq!(
        feeds,
        [
            ("first / bad", networks, 1800),
            ("first / numbers", numbers, 3600),
            ("second / bad", networks, 1800),
            ("second / numbers", numbers, 3600),
        ]
    );
    assert!(!format!("{feeds:?}").contains("key"));
    let second = &loaded.policies[1].rules[0].when[0].matcher;
    assert!(matches!(second, Matcher::Feed(Subject::Source, FeedId(2))), "{second:?}");
}

/// A folder of blocked networks, as feeds are kept; and countries.
#[test]
fn lists_come_from_folders_and_countries_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("blocked")).unwrap();
    for (name, text) in
        [("a.netset", "# one\n192.0.2.0/24\n"), ("b.netset", "198.51.100.7\n"), (".c", "no network")]
    {
        std::fs::write(folder.path().join("blocked").join(name), text).unwrap();
    }
    let path = folder.path().join("p.yaml");
    let text = r#"
policy: p
applies_to: calls
lists: { blocked: { folder: blocked }, near: [DE, no, AT] }
rules:
  - { name: blocked, when: { source: $blocked }, then: drop }
  - { name: satellite, when: { country: XS }, then: reject 403 }
  - { name: from afar, when: { source_country: { not: [$near, CH] } }, then: reject 403 }
  - { name: abroad, when: { country: { not: [$near, CH] } }, then: reject 403 }
tests:
  - { name: in the first file, given: { source: 192.0.2.9, to: "+4930" }, expect: blocked }
  - { name: in the second, given: { source: 198.51.100.7, to: "+4930" }, expect: blocked }
  - { name: Oslo from Bern, given: { to: "+4722123456", source_country: CH }, expect: allow }
  - { name: Oslo from afar, given: { to: "+4722123456", source_country: FR }, expect: from afar }
  - { name: nobody knows from where, given: { to: "+4722123456" }, expect: from afar }
  - { name: London, given: { to: "+442071234567", source_country: DE }, expect: abroad }
  - { name: Thuraya, given: { to: "+8821612345", source_country: DE }, expect: satellite }
  - { name: an extension is in no country, given: { to: "201", source_country: DE }, expect: abroad }
"#;
    std::fs::write(&path, text).unwrap();
    let loaded = load(&[path], &names(), Instant::now()).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.tests, 8);
    assert!(loaded.report.is_empty(), "{}", loaded.report);
}

#[test]
fn holidays_are_days_that_a_policy_names() {
    let text = r#"
policy: p
applies_to: calls
lists: { german: { file: list.txt } }
holidays: [$german, 2026-04-03]
rules:
  - { name: closed, when: { time: "sat,sun,holidays Europe/Berlin" }, then: reject 480 }
  - { name: office, when: { time: "workdays 08:00-18:00 Europe/Berlin" }, then: allow }
default: reject 403
tests:
  - { name: a day's work, given: { time: "2026-04-02 09:00" }, expect: office }
  - { name: its evening, given: { time: "2026-04-02 20:00" }, expect: default }
  - { name: Good Friday, given: { time: "2026-04-03 09:00" }, expect: closed }
  - { name: a Friday a year later, given: { time: "2027-04-02 09:00" }, expect: office }
  - { name: Labour Day, given: { time: "2028-05-01 09:00" }, expect: closed }
  - { name: New Year comes with Berlin's clock, given: { time: "2026-12-31 23:30 UTC" }, expect: closed }
"#;
    assert_eq!(told(text, "01-01 # New Year\n05-01\n"), "");
}

#[test]
fn tests_state_numbers_as_their_zone_dials_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    let text = r#"
policy: p
applies_to: calls
rules: [{ name: satellite, when: { to: "+882" }, then: reject 403 }, { name: home, when: { to: "+49" }, then: reject 404 }]
tests:
  - { name: as the first zone with numbers dials, given: { to: "0088216123456" }, expect: satellite }
  - { name: at home, given: { to: "(030) 123-456" }, expect: home }
  - { name: in New York, given: { to: "01188216123456", zone: office }, expect: satellite }
  - { name: 00 is nothing there, given: { to: "0088216123456", zone: office }, expect: allow }
  - { name: nothing is said of carriers, given: { to: "0088216123456", zone: carriers }, expect: allow }
"#;
    std::fs::write(&path, text).unwrap();
    let plan = |country: &str, national: &str, international: &str| {
        let international = vec![international.into()];
        let (country, national) = (country.into(), Some(national.into()));
        Some(DialPlan { country, national, international, area: None, shortest: 7 }.into())
    };
    let names = Names { dial_plans: vec![plan("49", "0", "00"), None, plan("1", "1", "011")], ..names() };
    let loaded = load(&[path], &names, Instant::now()).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.tests, 5);
}

#[test]
fn two_files_cannot_share_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.yaml", "b.yaml"].map(|name| folder.path().join(name));
    for path in &paths {
        std::fs::write(path, "policy: p\napplies_to: calls\nrules: []\n").unwrap();
    }
    let report = load(&paths, &names(), Instant::now()).unwrap_err().to_string();
    assert!(report.contains("b.yaml:1:9: error: a second policy called `p`"), "{report}");
}
