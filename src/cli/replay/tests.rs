//! Yesterday's calls and tomorrow's rules.

use super::*;

const CONFIG: &str = r#"
name: edge-1
data_dir: data
zones:
  internet: { trust: none, admit: registered, media: { anchor: never }, numbers: { country: "49" } }
  carriers: { trust: peer, admit: trunks, media: { anchor: never } }
listeners:
  phones: { zone: internet, bind: "udp://203.0.113.10:5060" }
  trunks: { zone: carriers, bind: "tcp://198.51.100.10:5060" }
trunks:
  acme: { zone: carriers, accept_from: [192.0.2.0/24] }
routes:
  - { name: fire brigade, to: ["112"], reject: 503, emergency: true }
  - { name: the rest, reject: 404 }
policies: []
"#;

const POLICY: &str = r#"
policy: tomorrow
applies_to: calls
rates: { file: rates.csv }
rules:
  - { name: satellite, when: { to: "+882" }, then: reject 403 }
  - { name: one at a time, when: { party: phones }, count: { per: user, calls_at_once: 1 }, over: reject 486 }
  - { name: budget, when: { to: "+44" }, count: { per: user, spend: 1.00/day }, over: [reject 403, hang_up] }
"#;

/// (Call-ID, user, to, started, answered, ended, refusal, spend) in seconds of a day.
type Made<'m> = (&'m str, &'m str, &'m str, u64, Option<u64>, u64, Option<&'m str>, Option<f64>);

fn line((call_id, user, to, started, answered, ended, refusal, spend): Made<'_>) -> String {
    let at = |seconds: u64| {
        format!("2026-03-02T{:02}:{:02}:{:02}.000Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
    };
    let party = match user {
        "x" => "gone",
        user if user.starts_with('+') => "acme",
        _ => "internet",
    };
    let record = serde_json::json!({
        "node": "edge-1", "call_id": call_id, "started": at(started), "answered": answered.map(at), "ended": at(ended),
        "from": user, "to": to, "source": "203.0.113.7:5060", "from_party": party, "refusal": refusal, "spend": spend,
        "status": 200, "some": "thing new", "agent": (call_id == "dialler").then_some("sipcli/v1.8"),
    });
    format!("{record}\n")
}

fn told(lines: &[Made<'_>], policy: &str) -> String {
    told_from(None, lines, policy)
}

fn told_from(from: Option<&str>, lines: &[Made<'_>], policy: &str) -> String {
    let records: String = lines.iter().copied().map(line).collect();
    told_by(from, "cdr.jsonl", records.as_bytes(), policy)
}

/// Of a file with that name.
pub(super) fn told_of(name: &str, bytes: &[u8], policy: &str) -> String {
    told_by(None, name, bytes, policy)
}

fn told_by(from: Option<&str>, name: &str, bytes: &[u8], policy: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let rates = "44,0.60,0,1/1\n882,3.00,0,1/1\n49,0,0,1/1\n";
    std::fs::create_dir(at("policies")).unwrap();
    for (file, text) in [
        ("turnpike.yaml", CONFIG.as_bytes()),
        ("policies/p.yaml", policy.as_bytes()),
        ("policies/rates.csv", rates.as_bytes()),
        (name, bytes),
    ] {
        std::fs::write(at(file), text).unwrap();
    }
    let args = Args {
        cdr: vec![at(name)],
        policy: vec![at("policies")],
        config: at("turnpike.yaml"),
        from: from.map(str::to_owned),
        json: false,
    };
    let told = match changes(&args) {
        Ok(changes) => changes.to_string(),
        Err(Failed::Report(report)) => report.to_string(),
        Err(Failed::Other(why)) => format!("error: {why}\n"),
    };
    told.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn what_would_change_is_told() {
    let calls: [Made<'_>; 9] = [
        ("long", "201", "004420123456", 0, Some(10), 1_010, None, Some(10.0)),
        ("second", "201", "03012345", 100, Some(105), 110, None, Some(0.0)),
        ("after", "201", "004420123456", 2_000, Some(2_005), 2_035, None, Some(0.3)),
        ("home", "202", "+493012345", 3_000, Some(3_005), 3_500, None, Some(0.0)),
        ("satellite", "203", "0088216123456", 4_000, Some(4_010), 4_070, None, Some(3.0)),
        ("refused before", "203", "+8821612345", 5_000, None, 5_000, Some("old / satellite"), None),
        ("not any more", "203", "+3312345678", 6_000, None, 6_000, Some("old / France"), None),
        ("emergency", "203", "112", 7_000, Some(7_001), 7_500, None, None),
        ("from a carrier", "+4420123456", "201", 8_000, Some(8_001), 8_050, None, None),
    ];
    let others = [("gone", "x", "1", 9, None, 10, None, None)];
    let with_stranger = told(&[calls.as_slice(), &others].concat(), POLICY);
    insta::assert_snapshot!(with_stranger);
}

#[test]
fn rules_about_agents_speak() {
    let policy = POLICY.replace(
        "- { name: satellite, when: { to: \"+882\" }",
        "- { name: dialler, when: { agent: sipcli* }",
    );
    let calls = [
        ("dialler", "201", "+4930", 0, None, 9, None, None),
        ("phone", "202", "+4930", 0, None, 9, None, None),
    ];
    let told = told(&calls, &policy);
    assert!(told.contains("would be refused: 1\n       1  tomorrow / dialler"), "{told}");
}

#[test]
fn calls_before_the_time_are_only_counted() {
    // The first takes all of the budget.
    let calls = [
        ("yesterday", "201", "+4420123456", 0, Some(10), 110, None, Some(1.0)),
        ("today", "201", "+4420123456", 7_200, Some(7_210), 7_250, None, Some(0.4)),
    ];
    let both = told(&calls, POLICY);
    assert!(both.starts_with("2 calls, as if nothing") && both.contains("would be hung up: 1"), "{both}");
    let today = told_from(Some("2026-03-02 01:00"), &calls, POLICY);
    assert!(today.starts_with("1 calls, after 1 earlier ones that were only counted"), "{today}");
    assert!(today.contains("would be refused: 1") && today.contains("would be hung up: 0"), "{today}");
    let wrong = told_from(Some("yesterday"), &calls, POLICY);
    assert!(wrong.contains("--from: `yesterday` is no date and time"), "{wrong}");
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let no_policy = told(&[], "rules: []\n");
    assert!(no_policy.contains("policies/p.yaml:1:1: error"), "{no_policy}");
    assert!(told(&[], POLICY).starts_with("0 calls"));
    let folder = tempfile::tempdir().unwrap();
    let cdr = folder.path().join("cdr.jsonl");
    std::fs::write(&cdr, "no json\n").unwrap();
    let config = folder.path().join("turnpike.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    let args = Args { cdr: vec![cdr], policy: Vec::new(), config, from: None, json: false };
    let Err(Failed::Other(why)) = changes(&args) else { panic!("it is no record") };
    assert!(why.contains("line 1 is no call record"), "{why}");
}
