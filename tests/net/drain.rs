//! `turnpike run` and its signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use turnpike::base::Transport;

use crate::calls::Call;
use crate::harness::*;

fn signal(child: &Child, name: &str) {
    let killed = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(killed.unwrap().success());
}

/// The caller has an address of its own, for the PBX's speaks as the PBX.
fn config(pbx: std::net::SocketAddr) -> String {
    format!(
        r#"
name: drained
data_dir: ./data
zones:
  lab: {{ trust: full, admit: any, networks: [127.0.0.0/8], media: {{ anchor: never }} }}
listeners:
  inside: {{ zone: lab, bind: "udp://127.0.0.1:0" }}
pbx: {{ zone: lab, hosts: ["sip:{pbx}"] }}
routes:
  - {{ name: calls, from: lab, send_to: pbx }}
policies: []
"#
    )
}

#[test]
fn a_second_signal_ends_the_calls_that_the_first_let_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut callee = Udp::new("127.0.0.1:9".parse().unwrap());
    let file = dir.path().join("turnpike.yaml");
    std::fs::write(&file, config(callee.addr())).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_turnpike"))
        .args(["run", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listens = out.find(|line| line.contains("udp://")).unwrap();
    let at = listens.split_whitespace().next().unwrap().strip_prefix("udp://").unwrap();
    callee.to = at.parse().unwrap();
    let caller = Udp::at("127.0.0.2", callee.to);
    let call = Call::up(caller, callee, "", "");

    signal(&child, "TERM");
    let start = Instant::now();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("draining")));
    let other = Udp::at("127.0.0.2", call.caller.to);
    let invite = request("INVITE", &format!("sip:200@{}", other.to), Transport::Udp, other.addr());
    assert_eq!(other.ask(&invite), 503);
    assert!(child.try_wait().unwrap().is_none(), "the call was not waited for");

    signal(&child, "TERM");
    for end in [&call.caller, &call.callee] {
        let bye = end.receive_request("BYE");
        end.send(&answer(&bye, "200 OK", end.addr(), ""));
    }
    assert!(child.wait().unwrap().success());
    assert!(start.elapsed().as_secs() < 5, "not at once: the grace is 30 s, and Timer K would take 5 s");
}
