//! `turnpike run` and its signals.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use turnpike::base::Transport;

use crate::calls::Call;
use crate::harness::*;
use crate::running::Running;

/// As `kill -NAME` does.
pub fn signal(node: &Running, name: &str) {
    let killed = Command::new("kill").args([format!("-{name}"), node.child.id().to_string()]).status();
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
    std::fs::write(dir.path().join("turnpike.yaml"), config(callee.addr())).unwrap();
    let mut node = Running::start(dir.path(), Stdio::piped());
    callee.to = node.listener("inside");
    let caller = Udp::at("127.0.0.2", callee.to);
    let call = Call::up(caller, callee, "", "");

    signal(&node, "TERM");
    let start = Instant::now();
    let mut log = BufReader::new(node.child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("draining")));
    let other = Udp::at("127.0.0.2", call.caller.to);
    let invite = request("INVITE", &format!("sip:200@{}", other.to), Transport::Udp, other.addr());
    assert_eq!(other.ask(&invite), 503);
    assert!(node.child.try_wait().unwrap().is_none(), "the call was not waited for");

    signal(&node, "TERM");
    for end in [&call.caller, &call.callee] {
        let bye = end.receive_request("BYE");
        end.send(&answer(&bye, "200 OK", end.addr(), ""));
    }
    assert!(node.child.wait().unwrap().success());
    assert!(start.elapsed().as_secs() < 5, "not at once: the grace is 30 s, and Timer K would take 5 s");
}
