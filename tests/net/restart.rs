//! `turnpike run`, killed without a word and started again on the same folder.

use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use turnpike::base::Transport;

use crate::calls::{Call, audio, rtp, sdp};
use crate::harness::*;
use crate::running::Running;

/// Its listeners, inside and outside.
type At = [SocketAddr; 2];

/// Starts it with its listeners at these addresses and its media at these ports; where the listeners really are.
fn run(folder: &Path, pbx: SocketAddr, ports: &RangeInclusive<u16>, [inside, outside]: At) -> (Running, At) {
    let config = format!(
        r#"
name: restarted
data_dir: ./data
zones:
  office: {{ trust: full, admit: any, networks: ["{ip}/32"] }}
  internet: {{ trust: none, admit: registered }}
listeners:
  inside: {{ zone: office, bind: "udp://{inside}" }}
  outside: {{ zone: internet, bind: "udp://{outside}" }}
pbx: {{ zone: office, hosts: ["sip:{pbx}"] }}
routes:
  - {{ name: phones, from: internet, send_to: pbx }}
relay:
  addresses: {{ office: {{ bind: 127.0.0.1 }}, internet: {{ bind: 127.0.0.1 }} }}
  ports: {first}-{last}
policies: []
"#,
        ip = pbx.ip(),
        first = ports.start(),
        last = ports.end(),
    );
    std::fs::write(folder.join("turnpike.yaml"), config).unwrap();
    let mut node = Running::start(folder, Stdio::null());
    let at = ["inside", "outside"].map(|name| node.listener(name));
    (node, at)
}

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// The phone registers; the Contact that the PBX has of it.
fn register(phone: &Udp, pbx: &Udp) -> String {
    let register = request("REGISTER", "sip:example.com", Transport::Udp, phone.addr());
    phone.send(&register.replace("To: <sip:example.com>", "To: <sip:tester@example.com>"));
    let seen = pbx.receive_request("REGISTER");
    let contact = values(&seen, "Contact")[0].to_string();
    let own = format!("Contact: <sip:far@{}>", pbx.addr());
    let accepted =
        answer(&seen, "200 OK", pbx.addr(), "").replace(&own, &format!("Contact: {contact};expires=300"));
    pbx.send(&accepted);
    assert!(phone.receive_final().starts_with("SIP/2.0 200"));
    contact
}

/// Something of this name is in the folder that the node keeps.
fn is_written(folder: &Path, journal: &str) -> bool {
    std::fs::metadata(folder.join("data").join(journal)).is_ok_and(|file| file.len() > 0)
}

/// Nothing tells a phone on UDP that the edge was gone: it must be served as before.
#[test]
fn a_registered_phone_calls_and_is_called_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut pbx = Udp::at("127.0.0.5", ANYWHERE);
    let ports = ports();
    let (node, at) = run(dir.path(), pbx.addr(), &ports, [ANYWHERE; 2]);
    pbx.to = at[0];
    let phone = Udp::at("127.0.0.2", at[1]);
    let contact = register(&phone, &pbx);
    eventually("the registration is written down", || is_written(dir.path(), "registrations.journal"));
    drop(node);

    let (_node, again) = run(dir.path(), pbx.addr(), &ports, at);
    assert_eq!(at, again);
    phone.send(&request("MESSAGE", "sip:100@example.com", Transport::Udp, phone.addr()));
    pbx.receive_request("MESSAGE");
    let uri = contact.trim_start_matches('<').trim_end_matches('>');
    pbx.send(&request("MESSAGE", uri, Transport::Udp, pbx.addr()));
    let came = phone.receive_request("MESSAGE");
    assert!(came.starts_with(&format!("MESSAGE sip:tester@{} ", phone.addr())), "{came}");
}

/// The call goes on as if nothing had happened: media both ways at the same ports, and BYE.
#[test]
fn a_call_goes_on_after_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut pbx = Udp::at("127.0.0.5", ANYWHERE);
    let ports = ports();
    let (node, at) = run(dir.path(), pbx.addr(), &ports, [ANYWHERE; 2]);
    pbx.to = at[0];
    let phone = Udp::at("127.0.0.2", at[1]);
    register(&phone, &pbx);
    let media = |ip: &str| {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        socket
    };
    let (ours, theirs) = (media("127.0.0.2"), media("127.0.0.5"));
    let (offer, accepted) = (sdp(ours.local_addr().unwrap()), sdp(theirs.local_addr().unwrap()));
    let call = Call::up(phone, pbx, &offer, &accepted);
    let (facing_us, facing_them) = (audio(&call.ok), audio(&call.invite));
    let heard_both_ways = |number: u8| {
        for (from, to, at) in [(&ours, &theirs, facing_us), (&theirs, &ours, facing_them)] {
            // What comes before the ports are open again is lost, as on any bad day.
            eventually("heard", || {
                let mut heard = [0; 200];
                from.send_to(&rtp(number), at).unwrap();
                to.recv(&mut heard).is_ok() && heard[..172] == rtp(number)
            });
        }
    };
    heard_both_ways(1);
    eventually("the call is written down", || is_written(dir.path(), "calls.journal"));
    drop(node);

    let (_node, again) = run(dir.path(), call.callee.addr(), &ports, at);
    assert_eq!(at, again);
    heard_both_ways(2);
    call.hang_up();
    let cdrs = dir.path().join("data/cdr.jsonl");
    eventually("it is recorded", || std::fs::read_to_string(&cdrs).is_ok_and(|text| text.ends_with("}\n")));
    let cdr: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&cdrs).unwrap()).unwrap();
    assert_eq!((&cdr["end"], &cdr["user"]), (&"bye from caller".into(), &"tester".into()), "{cdr}");
    assert!(cdr["media"][0]["from_caller"]["packets"].as_u64() >= Some(1), "{cdr}");
}
