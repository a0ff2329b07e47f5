//! Calls on a network that loses, repeats and reorders, by seed: nobody panics, and when all is over nobody is left in
//! a call, at the edge or at either end, and nothing is left behind. A seed that failed once stays in the list.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use turnpike::policy::Engine;

use super::calls::register;
use super::ends::cancel_of;
use super::ua::{self, Leg, answer, header, request, response, sdp};
use super::world::{Actor, World, settings};

mod crash;

const CALLS: usize = 20;
const PHONES: usize = 4;
const PBX: usize = PHONES;
const CARRIER: usize = PHONES + 2;

/// A user agent with just the timers that keep it from getting lost: it repeats until it is heard.
struct Agent {
    actor: Actor,
    contact: String,
    /// What is repeated, by what ends that, and until when.
    repeated: HashMap<String, (String, Instant)>,
    /// Last response by branch and method.
    answered: HashMap<String, String>,
    /// Own INVITEs by Call-ID: the text, and whether a provisional response came.
    calling: HashMap<String, (String, bool)>,
    /// Who acknowledges which re-INVITE.
    re_inviting: HashMap<String, Leg>,
    /// INVITEs that wait for their answer.
    ringing: HashMap<String, String>,
    legs: HashMap<String, Leg>,
}

enum What {
    AtEdge(usize, String),
    At(usize, String),
    Repeat(usize, String, Duration),
    Call(usize, usize),
    Answer(usize, String),
    Cancel(usize, String),
    Ask(usize, String, &'static str),
}

struct Storm {
    world: World,
    rng: StdRng,
    agents: Vec<Agent>,
    agenda: BTreeMap<(Instant, u64), What>,
    serial: u64,
    /// Until then nothing reaches the edge.
    deaf_until: Instant,
}

/// Each carrier takes as many calls as there are.
fn world(seed: u64) -> World {
    let mut settings = settings();
    settings.trunks.iter_mut().for_each(|trunk| trunk.calls_at_once = Some(CALLS as u32));
    World::seeded(seed, Engine::allow_all(), settings)
}

fn key_of(text: &str) -> String {
    let branch = header(text, "Via").split("branch=").nth(1).and_then(|rest| rest.split(';').next());
    let method = header(text, "CSeq").split(' ').nth(1).unwrap_or("");
    format!("{} {method}", branch.unwrap_or(""))
}

/// What the ACK of a final response to INVITE ends.
fn final_key(text: &str) -> String {
    format!("{} {}", header(text, "Call-ID"), header(text, "CSeq").split(' ').next().unwrap_or(""))
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut world = world(seed);
        let mut actors: Vec<Actor> =
            (0..PHONES).map(|i| Actor::udp_phone(&format!("192.0.2.{}:5060", 10 + i))).collect();
        let mut contacts: Vec<String> =
            (0..PHONES).map(|i| register(&mut world, &actors[i], &format!("user{i}"))).collect();
        actors.extend([Actor::pbx(), Actor::second_pbx(), Actor::carrier(), Actor::second_carrier()]);
        contacts.resize(actors.len(), String::new());
        let agent = |(actor, contact)| Agent {
            actor,
            contact,
            repeated: HashMap::new(),
            answered: HashMap::new(),
            calling: HashMap::new(),
            re_inviting: HashMap::new(),
            ringing: HashMap::new(),
            legs: HashMap::new(),
        };
        let agents = actors.into_iter().zip(contacts).map(agent).collect();
        let (rng, deaf_until) = (StdRng::seed_from_u64(seed), world.now.instant);
        Storm { world, rng, agents, agenda: BTreeMap::new(), serial: 0, deaf_until }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn later(&mut self, milliseconds: u64, what: What) {
        self.serial += 1;
        self.agenda.insert((self.world.now.instant + Duration::from_millis(milliseconds), self.serial), what);
    }

    /// Some time between now and then.
    fn within(&mut self, milliseconds: u64, what: What) {
        let delay = self.rng.random_range(1..milliseconds);
        self.later(delay, what);
    }

    /// The network: 0, 1 or 2 copies, each with its own delay.
    fn travel(&mut self, message: impl Fn() -> What) {
        let copies = if self.chance(12) { 0 } else { 1 + usize::from(self.chance(10)) };
        (0..copies).for_each(|_| self.within(400, message()));
    }

    fn transmit(&mut self, agent: usize, text: &str) {
        self.travel(|| What::AtEdge(agent, text.into()));
    }

    fn repeat(&mut self, agent: usize, key: String, text: &str) {
        let until = self.world.now.instant + Duration::from_secs(32);
        self.agents[agent].repeated.insert(key.clone(), (text.into(), until));
        self.transmit(agent, text);
        self.later(500, What::Repeat(agent, key, Duration::from_millis(500)));
    }

    /// Until nothing is on its way and nobody has anything to do.
    fn run(&mut self, mut after_step: impl FnMut(&mut Storm)) {
        for _ in 0..CALLS {
            let pbx = PBX + usize::from(self.chance(20));
            let (phone, carrier) = (self.rng.random_range(0..PHONES), CARRIER + usize::from(self.chance(50)));
            let (from, to) =
                [(phone, PBX), (pbx, phone), (carrier, PBX), (pbx, CARRIER)][self.rng.random_range(0..4)];
            self.within(60_000, What::Call(from, to));
        }
        while let Some(((at, _), _)) = self.agenda.first_key_value().map(|(key, what)| (*key, what)) {
            let due = self.world.edge.poll_timeout().filter(|due| *due < at).unwrap_or(at);
            self.world.pass(due.saturating_duration_since(self.world.now.instant));
            if due == at
                && let Some((_, what)) = self.agenda.pop_first()
            {
                self.step(what);
            }
            for (to, text) in std::mem::take(&mut self.world.mail) {
                let agent = self.agents.iter().position(|agent| agent.actor.is_at(&to)).expect("somebody");
                self.travel(|| What::At(agent, text.clone()));
            }
            after_step(self);
        }
    }

    fn step(&mut self, what: What) {
        match what {
            What::AtEdge(..) if self.world.now.instant < self.deaf_until => {}
            What::AtEdge(agent, text) => {
                let actor = self.agents[agent].actor;
                self.world.send(&actor, text);
            }
            What::At(agent, text) if text.starts_with("SIP/2.0") => self.response_at(agent, &text),
            What::At(agent, text) => self.request_at(agent, &text),
            What::Repeat(agent, key, interval) => self.again(agent, key, interval),
            What::Call(from, to) => self.call(from, to),
            What::Answer(agent, call_id) => {
                if let Some(invite) = self.agents[agent].ringing.remove(&call_id) {
                    let ok = self.reply(agent, &invite, "200 OK");
                    let leg = Leg::callee(&self.agents[agent].actor, &invite, &ok);
                    self.pick_up(agent, leg, header(&invite, "Subject") == "callee ends");
                }
            }
            What::Cancel(agent, call_id) => match self.agents[agent].calling.get(&call_id) {
                Some((invite, true)) => {
                    let cancel = cancel_of(invite);
                    self.repeat(agent, key_of(&cancel), &cancel);
                }
                // RFC 3261 §9.1: not before a provisional response.
                Some((_, false)) => self.later(500, What::Cancel(agent, call_id)),
                None => {}
            },
            What::Ask(agent, call_id, method) => self.ask(agent, &call_id, method),
        }
    }

    fn call(&mut self, from: usize, to: usize) {
        let uri = match to {
            CARRIER => "sip:+49301234@10.20.0.5".into(),
            PBX => "sip:100@example.com".into(),
            phone => ua::uri_in(&self.agents[phone].contact).to_string(),
        };
        let user = if from < PHONES { format!("user{from}") } else { "200".into() };
        let ends = ["Subject: caller ends\r\n", "Subject: callee ends\r\n"][self.rng.random_range(0..2)];
        let actor = self.agents[from].actor;
        let body =
            if self.chance(90) { sdp(&actor.address().ip().to_string(), 5_004) } else { String::new() };
        let invite = request(&actor, "INVITE", &uri, &user, ends, &body);
        let call_id = header(&invite, "Call-ID").to_string();
        self.agents[from].calling.insert(call_id.clone(), (invite.clone(), false));
        self.repeat(from, key_of(&invite), &invite);
        if self.chance(25) {
            self.within(9_000, What::Cancel(from, call_id));
        }
    }

    /// From now on this end is in a call; `ends`: it is the one that hangs up.
    fn pick_up(&mut self, agent: usize, leg: Leg, ends: bool) {
        let call_id = leg.call_id.clone();
        self.agents[agent].legs.insert(call_id.clone(), leg);
        for method in ["INFO", "INVITE", "UPDATE"] {
            if self.chance(25) {
                self.within(15_000, What::Ask(agent, call_id.clone(), method));
            }
        }
        if ends {
            self.within(20_000, What::Ask(agent, call_id, "BYE"));
        }
    }

    fn ask(&mut self, agent: usize, call_id: &str, method: &'static str) {
        // RFC 3261 §15: the callee does not hang up before its 2xx was acknowledged.
        if self.agents[agent].repeated.contains_key(&format!("{call_id} 1")) {
            return self.later(500, What::Ask(agent, call_id.into(), method));
        }
        let Some(leg) = self.agents[agent].legs.get_mut(call_id) else { return };
        let body =
            if method == "INVITE" || method == "UPDATE" { sdp("192.0.2.10", 5_006) } else { String::new() };
        let text = leg.request(method, &body);
        let leg = leg.clone();
        match method {
            "BYE" => drop(self.agents[agent].legs.remove(call_id)),
            "INVITE" => drop(self.agents[agent].re_inviting.insert(key_of(&text), leg)),
            _ => {}
        }
        self.repeat(agent, key_of(&text), &text);
    }

    fn again(&mut self, agent: usize, key: String, interval: Duration) {
        let Some((text, until)) = self.agents[agent].repeated.get(&key).cloned() else { return };
        if self.world.now.instant < until {
            self.transmit(agent, &text);
            let interval = (interval * 2).min(Duration::from_secs(4));
            return self.later(interval.as_millis() as u64, What::Repeat(agent, key, interval));
        }
        self.agents[agent].repeated.remove(&key);
        // RFC 3261 §13.3.1.4: no ACK came.
        if text.starts_with("SIP/2.0 200") {
            self.ask(agent, header(&text, "Call-ID"), "BYE");
        }
    }

    /// Answers a request, and keeps answering so.
    fn reply(&mut self, agent: usize, request: &str, status: &str) -> String {
        let actor = self.agents[agent].actor;
        let has_body = status.starts_with("200") && header(request, "CSeq").ends_with("INVITE")
            || request.starts_with("UPDATE");
        let body = if has_body { sdp(&actor.address().ip().to_string(), 7_000) } else { String::new() };
        let text = answer(&actor, request, status, &format!("tag{agent}"), &body);
        self.agents[agent].answered.insert(key_of(request), text.clone());
        if request.starts_with("INVITE") && !status.starts_with('1') {
            self.repeat(agent, final_key(&text), &text);
        } else {
            self.transmit(agent, &text);
        }
        text
    }

    fn request_at(&mut self, agent: usize, text: &str) {
        let call_id = header(text, "Call-ID").to_string();
        if text.starts_with("ACK") {
            self.agents[agent].repeated.remove(&final_key(text));
            return;
        }
        if let Some(last) = self.agents[agent].answered.get(&key_of(text)).cloned() {
            return self.transmit(agent, &last);
        }
        let is_known = self.agents[agent].legs.contains_key(&call_id);
        let status = if is_known { "200 OK" } else { "481 Call/Transaction Does Not Exist" };
        match text.split(' ').next() {
            Some("INVITE") if !header(text, "To").contains(";tag=") => self.ring(agent, text, call_id),
            Some("CANCEL") => {
                self.reply(agent, text, "200 OK");
                if let Some(invite) = self.agents[agent].ringing.remove(&call_id) {
                    self.reply(agent, &invite, "487 Request Terminated");
                }
            }
            Some("BYE") => {
                self.reply(agent, text, status);
                self.agents[agent].legs.remove(&call_id);
            }
            _ => drop(self.reply(agent, text, status)),
        }
    }

    fn ring(&mut self, agent: usize, invite: &str, call_id: String) {
        match self.rng.random_range(0..100) {
            0..10 => drop(self.reply(agent, invite, "486 Busy Here")),
            10..20 => drop(self.reply(agent, invite, "503 Service Unavailable")),
            fate => {
                // Until then every copy of the INVITE counts as the first.
                self.agents[agent]
                    .answered
                    .insert(key_of(invite), response(invite, "100 Trying", "", "", ""));
                self.agents[agent].ringing.insert(call_id.clone(), invite.into());
                if fate >= 35 {
                    self.reply(agent, invite, "180 Ringing");
                }
                self.within(12_000, What::Answer(agent, call_id));
            }
        }
    }

    fn response_at(&mut self, agent: usize, text: &str) {
        let (key, call_id) = (key_of(text), header(text, "Call-ID").to_string());
        let status: u16 = text.get(8..11).and_then(|status| status.parse().ok()).expect("status");
        // RFC 3261 §12.2.1.2: the other side knows of no dialog any more. (A CANCEL is in none.)
        if matches!(status, 408 | 481) && !key.ends_with("CANCEL") {
            self.agents[agent].legs.remove(&call_id);
        }
        if !key.ends_with("INVITE") {
            if status >= 200 {
                self.agents[agent].repeated.remove(&key);
            }
            return;
        }
        self.agents[agent].repeated.remove(&key);
        match status {
            ..200 => {
                if let Some((_, heard)) = self.agents[agent].calling.get_mut(&call_id) {
                    *heard = true;
                }
            }
            200..300 => self.accepted(agent, text, &key, call_id),
            _ => {
                self.transmit(agent, &ua::ack_of(text));
                if !self.agents[agent].re_inviting.contains_key(&key) {
                    self.agents[agent].calling.remove(&call_id);
                }
            }
        }
    }

    /// A 2xx to INVITE, the first or a later copy: it is acknowledged each time.
    fn accepted(&mut self, agent: usize, text: &str, key: &str, call_id: String) {
        if let Some(leg) = self.agents[agent].re_inviting.get(key) {
            let ack = leg.clone().request("ACK", "");
            return self.transmit(agent, &ack);
        }
        let answered = format!("2xx {call_id}");
        let known = self.agents[agent].answered.get(&answered).cloned();
        let invite =
            known.clone().or_else(|| self.agents[agent].calling.remove(&call_id).map(|(text, _)| text));
        let Some(invite) = invite else { return };
        let leg = Leg::caller(&self.agents[agent].actor, &invite, text);
        let body = if ua::body(&invite).is_empty() { sdp("192.0.2.10", 5_004) } else { String::new() };
        let ack = leg.clone().request("ACK", &body);
        self.transmit(agent, &ack);
        if known.is_none() {
            self.agents[agent].answered.insert(answered, invite.clone());
            self.pick_up(agent, leg, header(&invite, "Subject") == "caller ends");
        }
    }
}

/// How many calls were answered.
fn weather(seed: u64, relay_pairs: usize) -> usize {
    let mut storm = Storm::new(seed);
    storm.world.ports.lock().expect("lock").capacity = relay_pairs;
    storm.run(|_| {});
    let in_call: Vec<_> = storm.agents.iter().flat_map(|agent| agent.legs.keys()).collect();
    assert!(in_call.is_empty(), "seed {seed}: still in a call: {in_call:?}");
    assert_eq!(
        storm.world.status().answered_calls,
        0,
        "seed {seed}: the edge holds a call that nobody is in"
    );
    storm.world.pass(Duration::from_secs(300));
    storm.world.assert_clean();
    let cdrs = storm.world.cdrs();
    assert!(cdrs.len() <= CALLS, "seed {seed}: one CDR a call");
    cdrs.iter().filter(|cdr| cdr.answered.is_some()).count()
}

#[test]
fn after_the_storm_nothing_is_left() {
    let answered: usize = (0..50).map(|seed| weather(seed, 100)).sum();
    assert!(answered > 50 * CALLS / 2, "{answered} calls were answered");
}

#[test]
fn after_the_storm_with_few_ports_nothing_is_left() {
    let answered: usize = (100..110).map(|seed| weather(seed, 2)).sum();
    assert!(answered > 10, "{answered} calls were answered");
}
