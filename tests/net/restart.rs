//! `turnpike run`, killed without a word and started again on the same folder.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use turnpike::base::Transport;

use crate::harness::*;

/// A process that is killed, not stopped, when the test is through with it.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it with its outer listener at `outside`; where that really is.
fn run(folder: &Path, pbx: SocketAddr, outside: SocketAddr) -> (Killed, SocketAddr) {
    let config = format!(
        r#"
name: restarted
data_dir: ./data
zones:
  office: {{ trust: full, admit: any, networks: ["{ip}/32"], media: {{ anchor: never }} }}
  internet: {{ trust: none, admit: registered, media: {{ anchor: never }} }}
listeners:
  inside: {{ zone: office, bind: "udp://127.0.0.1:0" }}
  outside: {{ zone: internet, bind: "udp://{outside}" }}
pbx: {{ zone: office, hosts: ["sip:{pbx}"] }}
routes:
  - {{ name: phones, from: internet, send_to: pbx }}
policies: []
"#,
        ip = pbx.ip(),
    );
    let file = folder.join("turnpike.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike"));
    command.args(["run", "--config"]).arg(&file).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Killed(command.spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let listens: Vec<String> = lines.filter(|line| line.contains("udp://")).take(2).collect();
    let at = listens.iter().find(|line| line.contains("outside")).expect("it says where it listens");
    let at = at.split_whitespace().next().unwrap().strip_prefix("udp://").unwrap();
    (child, at.parse().unwrap())
}

/// Nothing tells a phone on UDP that the edge was gone: it must be served as before.
#[test]
fn a_registered_phone_calls_and_is_called_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = "127.0.0.1:9".parse().unwrap();
    let pbx = Udp::at("127.0.0.5", nowhere);
    let (node, at) = run(dir.path(), pbx.addr(), "127.0.0.1:0".parse().unwrap());
    let phone = Udp::at("127.0.0.2", at);
    let register = request("REGISTER", "sip:example.com", Transport::Udp, phone.addr());
    phone.send(&register.replace("To: <sip:example.com>", "To: <sip:tester@example.com>"));
    let seen = pbx.receive_request("REGISTER");
    let contact = values(&seen, "Contact")[0].to_string();
    let own = format!("Contact: <sip:far@{}>", pbx.addr());
    let accepted =
        answer(&seen, "200 OK", pbx.addr(), "").replace(&own, &format!("Contact: {contact};expires=300"));
    pbx.socket.send_to(accepted.as_bytes(), sent_by(&seen)).unwrap();
    assert!(phone.receive_final().starts_with("SIP/2.0 200"));
    let journal = dir.path().join("data/registrations.journal");
    eventually("the registration is written down", || std::fs::metadata(&journal).unwrap().len() > 0);
    drop(node);

    let (_node, again) = run(dir.path(), pbx.addr(), at);
    assert_eq!(at, again);
    phone.send(&request("MESSAGE", "sip:100@example.com", Transport::Udp, phone.addr()));
    let edge = sent_by(&pbx.receive_request("MESSAGE"));
    let uri = contact.trim_start_matches('<').trim_end_matches('>');
    let message = request("MESSAGE", uri, Transport::Udp, pbx.addr());
    pbx.socket.send_to(message.as_bytes(), edge).unwrap();
    let came = phone.receive_request("MESSAGE");
    assert!(came.starts_with(&format!("MESSAGE sip:tester@{} ", phone.addr())), "{came}");
}

/// Where the edge waits for the answer.
fn sent_by(request: &str) -> SocketAddr {
    let via = values(request, "Via")[0].strip_prefix("SIP/2.0/UDP ").unwrap();
    via.split(';').next().unwrap().parse().unwrap()
}
