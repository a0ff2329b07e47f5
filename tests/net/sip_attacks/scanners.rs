//! Scanners, by a rule like that of policies/scanners.yaml.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;
use turnpike::policy::matcher::{Condition, Glob, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use super::{Attacked, Stream, drain};
use crate::harness::*;
use crate::tls;

fn no_scanners() -> Policy {
    let agents = Matcher::Agent([Glob::new("friendly-scanner*")].into());
    let ban = Some(Duration::from_secs(60));
    let rule = Rule {
        name: "scanners / names".into(),
        when: vec![Condition { negated: false, matcher: agents }],
        count: None,
        answer: Answer { verdict: Some(Verdict::Refuse(Action::Drop)), ban, ..Answer::default() },
        written: Default::default(),
    };
    Policy {
        name: "scanners".into(),
        mode: Mode::Enforce,
        stages: vec![Stage::Calls],
        rules: vec![rule],
        default: Answer::ALLOW,
        deck: None,
        place: Default::default(),
    }
}

#[test]
fn a_scanner_hears_nothing_and_where_its_address_cannot_be_forged_it_is_banned() {
    let attacked = Attacked::with(Admit::Any, |settings| settings.policy.policies.push(no_scanners()));
    let scan = |transport| {
        let text = attacked.request("INVITE", transport);
        text.replace("Contact:", "User-Agent: friendly-scanner\r\nContact:")
    };
    // Anybody could have said this in another's name.
    let told = attacked.say(Transport::Udp, scan(Transport::Udp));
    assert_eq!(told.answers, [""; 0]);
    attacked.nothing_left();
    attacked.still_serves();

    for (transport, ip) in [(Transport::Tcp, [127, 0, 0, 3]), (Transport::Tls, [127, 0, 0, 4])] {
        let scanner = Udp::at(&Ipv4Addr::from(ip).to_string(), attacked.listener(Transport::Udp));
        scanner.assert_served();
        let to = attacked.listener(transport);
        let connect = || -> Box<dyn Stream> {
            let stream = tcp_from(ip, to);
            match transport {
                Transport::Tls => {
                    let ca = attacked.dir.path().join("certificates/demo.pem");
                    Box::new(tls::over(stream, &ca, &[&rustls::version::TLS13]))
                }
                _ => Box::new(stream),
            }
        };
        let mut stream = connect();
        stream.write_all(scan(transport).as_bytes()).unwrap();
        stream.flush().unwrap();
        eventually("its new connections are closed", || {
            let mut next = connect();
            let _ = next.write_all(options(transport, scanner.addr(), to).as_bytes());
            try_read_message(&mut next).is_none()
        });
        scanner.send(&options(Transport::Udp, scanner.addr(), scanner.to));
        attacked.still_serves();
        assert_eq!(drain(&scanner.socket), [""; 0], "banned on every listener");
        attacked.nothing_left();
    }
}
