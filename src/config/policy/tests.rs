//! What is wrong with a policy file, as an administrator is told it. The files that are right stand in `tests/policy.rs`.

use std::time::Instant;

use super::*;

fn names() -> Names {
    let named = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    Names {
        zones: named(&["internet", "carriers", "office"]),
        listeners: named(&["phones_tls", "phones_udp"]),
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
    let report = match load(&[path], &names(), Instant::now()) {
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
fn what_comes_later_is_parsed_and_run_refuses_it() {
    let text = r#"
policy: later
applies_to: [calls, in_call, relay]
lists:
  feed: { url: "https://example.com/bad.txt", refresh: 1h }
rules:
  - { name: a, when: { source_country: [KP], source: $feed }, then: challenge }
  - { name: b, count: { per: country, spend: 20.00/day }, over: [reject 403, hang_up] }
  - { name: c, count: { per: user, short_calls: 5/10min }, over: alert }
tests:
  - { name: cannot be tested yet, given: { to: "1" }, expect: b }
"#;
    insta::assert_snapshot!(told(text, ""));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    std::fs::write(&path, text).unwrap();
    assert!(load(&[path], &names(), Instant::now()).unwrap().runnable().is_err());
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
"#;
    insta::assert_snapshot!(told(text, ""));
}

#[test]
fn a_mistake_in_a_list_file_is_told_in_that_file() {
    let text = "policy: p\napplies_to: calls\nlists: { l: { file: list.txt } }\nrules:\n  \
                - { name: r, when: { source: $l }, then: drop }\n";
    insta::assert_snapshot!(told(text, "# bad\n10.0.0.0/8   # private\n\n  192.0.2.300\n"));
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
