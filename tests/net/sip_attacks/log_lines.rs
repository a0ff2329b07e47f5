//! CVE-2021-1000004: what strangers write must not look like a line of the log's own, nor steer the terminal that it is read on.

use std::io::Write;
use std::net::SocketAddr;

use turnpike::base::Transport;

use super::TRANSPORTS;
use crate::harness::*;
use crate::running::Running;
use crate::tls;

/// A node that writes its log here; where it listens, by transport.
fn run(folder: &std::path::Path, format: &str) -> (Running, [SocketAddr; 3]) {
    let config = format!(
        r#"
name: logs
data_dir: ./data
zones:
  office: {{ trust: full, admit: any, networks: ["127.0.0.9/32"], media: {{ anchor: never }} }}
  internet: {{ trust: none, admit: any, media: {{ anchor: never }} }}
certificates: {{ demo: {{ self_signed: [localhost] }} }}
listeners:
  inside: {{ zone: office, bind: "udp://127.0.0.1:0" }}
  outside_udp: {{ zone: internet, bind: "udp://127.0.0.1:0" }}
  outside_tcp: {{ zone: internet, bind: "tcp://127.0.0.1:0" }}
  outside_tls: {{ zone: internet, bind: "tls://127.0.0.1:0", certificate: demo }}
pbx: {{ zone: office, hosts: ["sip:127.0.0.9:5060"] }}
routes: [{{ name: nothing, from: internet, reject: 404 }}]
policies: []
logging: {{ format: {format}, level: trace }}
"#
    );
    std::fs::write(folder.join("turnpike.yaml"), config).unwrap();
    let mut node = Running::start(folder, std::fs::File::create(folder.join("log")).unwrap());
    let listens = TRANSPORTS.map(|transport| node.listener(&format!("outside_{}", transport.uri_param())));
    // Nobody reads further, and it has nothing more to say there but its log, if it logs there.
    let mut out = node.out.take().unwrap();
    std::thread::spawn({
        let path = folder.join("said");
        move || std::io::copy(&mut out, &mut std::fs::File::create(path).unwrap())
    });
    (node, listens)
}

#[test]
fn what_strangers_write_does_not_steer_a_log() {
    for format in ["text", "json"] {
        let dir = tempfile::tempdir().unwrap();
        let (node, listens) = run(dir.path(), format);
        for (transport, to) in TRANSPORTS.into_iter().zip(listens) {
            let via = "127.0.0.1:9".parse().unwrap();
            for odd in ["\x1b[2J\x1b]0;owned\x07", "%0d%0aINFO forged", "\u{9b}31m", "\u{202e}", "\x7f\x08"] {
                let text =
                    request("INVITE", &format!("sip:200%1b%5b2J%0aINFO%20forged@{to}"), transport, via);
                let text = text.replace("<sip:tester@127.0.0.1>", &format!("\"{odd}\" <sip:seen@127.0.0.1>"));
                let text =
                    text.replacen("Contact:", &format!("User-Agent: {odd}\r\nSubject: {odd}\r\nContact:"), 1);
                for text in [text.replacen("Call-ID: call", &format!("Call-ID: call{odd}"), 1), text] {
                    // Whatever it is answered, or nothing where a stream breaks off.
                    match transport {
                        Transport::Udp => Udp::new(to).send(&text),
                        Transport::Tcp => {
                            let mut stream = tcp(to);
                            stream.write_all(text.as_bytes()).unwrap();
                            try_read_message(&mut stream);
                        }
                        _ => {
                            let mut stream = tls::connect_to_demo(to, &dir.path().join("data"));
                            stream.write_all(text.as_bytes()).unwrap();
                            try_read_message(&mut stream);
                        }
                    }
                }
            }
            Udp::new(listens[0]).assert_served();
        }
        let log =
            || ["log", "said"].map(|file| std::fs::read(dir.path().join(file)).unwrap_or_default()).concat();
        eventually("the log speaks of them", || {
            String::from_utf8_lossy(&log()).matches("INVITE").count() > 10
        });
        drop(node);
        let log = String::from_utf8(log()).unwrap();
        let is_odd = |c: &char| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}');
        let odd = log.lines().find(|line| line.chars().any(|c| is_odd(&c)));
        assert_eq!(odd, None, "{format}");
        assert!(!log.lines().any(|line| line.starts_with("INFO forged")));
        assert!(log.contains("u{9b}31m") && log.contains("INFO forged"), "it says what was written: {log}");
    }
}
