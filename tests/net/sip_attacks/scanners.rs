//! Scanners, by a rule like that of policies/scanners.yaml.

use std::time::Duration;

use turnpike::base::Transport;
use turnpike::edge::settings::Admit;
use turnpike::policy::matcher::{Condition, Glob, Matcher};
use turnpike::policy::settings::{Answer, Mode, Policy, Rule, Verdict};
use turnpike::policy::{Action, Stage};

use super::{Attacked, drain};
use crate::harness::*;

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

    let scanner = Udp::at("127.0.0.3", attacked.listener(Transport::Udp));
    scanner.assert_served();
    let mut stream = tcp_from([127, 0, 0, 3], attacked.listener(Transport::Tcp));
    std::io::Write::write_all(&mut stream, scan(Transport::Tcp).as_bytes()).unwrap();
    eventually("its new connections are closed", || {
        let mut next = tcp_from([127, 0, 0, 3], attacked.listener(Transport::Tcp));
        let ask = options(Transport::Tcp, scanner.addr(), attacked.listener(Transport::Tcp));
        let _ = std::io::Write::write_all(&mut next, ask.as_bytes());
        try_read_message(&mut next).is_none()
    });
    scanner.send(&options(Transport::Udp, scanner.addr(), scanner.to));
    attacked.still_serves();
    assert_eq!(drain(&scanner.socket), [""; 0], "banned on every listener");
    attacked.nothing_left();
}
