//! Policies are read anew while `turnpike run` runs: all of them or none.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use turnpike::base::Transport;

use crate::drain::signal;
use crate::harness::*;
use crate::running::Running;

/// Numbers of this prefix are not there, and nobody may call more than twice an hour.
fn policy(refused: &str) -> String {
    format!(
        r#"
policy: house
applies_to: calls
rules:
  - {{ name: not there, when: {{ to: ["{refused}*"] }}, then: reject 404 }}
  - {{ name: seldom, count: {{ per: source, new_calls: 2/hour }}, over: reject 486 }}
tests:
  - {{ name: a test, given: {{ to: "{refused}1" }}, expect: not there }}
"#
    )
}

fn turnpike(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_turnpike")).args(arguments).output().unwrap()
}

fn write(folder: &Path, file: &str, text: &str) {
    std::fs::write(folder.join(file), text).unwrap();
}

/// Every call, until the test is over.
fn declines(pbx: &Udp) {
    let mut buffer = [0; 65_536];
    while let Ok((length, edge)) = pbx.socket.recv_from(&mut buffer) {
        let request = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if request.starts_with("INVITE ") {
            let decline = answer(&request, "603 Decline", pbx.addr(), "");
            pbx.socket.send_to(decline.as_bytes(), edge).unwrap();
        }
    }
}

#[test]
fn policies_are_read_anew_by_a_command_and_by_sighup_and_a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let pbx = Udp::at("127.0.0.5", nowhere);
    let pbx_at = pbx.addr();
    std::thread::spawn(move || declines(&pbx));
    let config = format!(
        r#"
name: reloaded
data_dir: ./data
admin: {{ listen: "127.0.0.1:0" }}
zones:
  office: {{ trust: full, admit: any, networks: ["127.0.0.5/32"], media: {{ anchor: never }} }}
  outside: {{ trust: none, admit: any, networks: ["127.0.0.2/32"], media: {{ anchor: never }} }}
listeners:
  inside: {{ zone: office, bind: "udp://127.0.0.1:0" }}
  outside: {{ zone: outside, bind: "udp://127.0.0.1:0" }}
pbx: {{ zone: office, hosts: ["sip:{}"] }}
routes:
  - {{ name: calls, from: outside, send_to: pbx }}
policies: ["house.yaml"]
"#,
        pbx_at
    );
    write(dir.path(), "turnpike.yaml", &config);
    write(dir.path(), "house.yaml", &policy("6"));
    let mut node = Running::start(dir.path(), Stdio::null());
    let (admin, edge) = (format!("http://{}", node.admin()), node.listener("outside"));
    let phone = Udp::at("127.0.0.2", edge);
    let reload = || turnpike(&["reload", "--admin", &admin]);
    let call = |number: &str| {
        let invite = request("INVITE", &format!("sip:{number}@{edge}"), Transport::Udp, phone.addr());
        phone.send(&invite);
        let is_its = |answer: &String| values(answer, "Call-ID") == values(&invite, "Call-ID");
        status(&std::iter::repeat_with(|| phone.receive_final()).find(is_its).unwrap())
    };
    assert_eq!(call("61"), 404);
    assert_eq!(call("71"), 603, "the PBX's own answer");

    write(dir.path(), "house.yaml", &policy("7").replace("reject 404", "rejekt 404"));
    let refused = reload();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(told.contains("house.yaml:5:") && told.contains("the policies of before are in force"), "{told}");
    assert_eq!(call("61"), 404);

    write(dir.path(), "house.yaml", &policy("7"));
    let reloaded = reload();
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert_eq!(String::from_utf8(reloaded.stdout).unwrap(), "in force: policies: 1, tests passed: 1\n");
    assert_eq!((call("71"), call("61")), (404, 603));
    assert_eq!(call("62"), 486, "the call before is still counted");

    write(dir.path(), "house.yaml", &policy("62"));
    write(dir.path(), "turnpike.yaml", &config.replace("reloaded", "another"));
    let told = reload();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("turnpike.yaml is not what it was at the start"), "{told}");
    assert_eq!(call("62"), 404);

    write(dir.path(), "house.yaml", &policy("63"));
    signal(&node, "HUP");
    eventually("SIGHUP does the same", || call("63") == 404);
}
