//! A decision in words: every rule that was looked at, in order, and why it spoke or did not. Words are made when somebody
//! asks, from what the deciding engine itself wrote down.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::country::Country;
use super::feed::Subject;
use super::matcher::{Asked, Matcher};
use super::settings::{Mode, Rule};
use super::trail::{Outcome, Rules, Seen, Step};
use super::written::shown;
use super::{Action, Engine, Facts, Stage, relay};
use crate::base::{ListenerId, Now, UnixTime};

/// What the config calls zones, listeners and trunks, each at the index of its id.
#[allow(missing_docs)]
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub zones: Vec<Arc<str>>,
    pub listeners: Vec<Arc<str>>,
    pub trunks: Vec<Arc<str>>,
    pub roles: Vec<Arc<str>>,
}

/// One decision. Its JSON is an interface: the names are written down here and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// When, in UTC.
    pub at: String,
    /// What was asked; missing where a budget ended a call in the middle.
    pub request: Option<Request>,
    /// Every rule that was looked at, in order; missing where it was too long ago.
    pub looked: Option<Vec<Looked>>,
    /// `permitted`, `refused`, `banned`, `banned user`, `emergency`, `hung up`, `not asked`.
    pub decision: String,
    /// The rule; empty if there is none.
    pub rule: String,
    /// What the caller gets.
    pub gets: String,
    /// What the edge itself refused the request for, whatever policy said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_by_edge: Option<String>,
}

/// What was known of the request.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub stage: String,
    pub method: String,
    pub source: String,
    pub party: String,
    pub zone: Option<String>,
    pub listener: Option<String>,
    pub tls: bool,
    pub user: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// Of the called number.
    pub country: Option<String>,
    /// Of the source.
    pub source_country: Option<String>,
    pub agent: Option<String>,
    /// At `routes`: the one that would take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// At `relay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// At `relay`: whom the client wants to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Policy and rule.
    pub rule: String,
    /// The policy's file.
    pub file: String,
    /// The rule's line.
    pub line: usize,
    /// Its policy only says what it would do.
    pub audit: bool,
    /// It speaks.
    pub spoke: bool,
    /// Why it does, or does not.
    pub why: Vec<String>,
    /// What it says if it speaks.
    pub says: String,
}

impl Explanation {
    /// Nothing stands against it.
    pub fn is_permission(&self) -> bool {
        matches!(self.decision.as_str(), "permitted" | "emergency")
    }

    /// One of `routes`.
    pub fn is_about_a_trunk(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.trunk.is_some())
    }
}

impl Engine {
    /// What this engine decides about a request, in words. Counts it like any other: for an engine that is made to be asked.
    pub fn explain(&mut self, facts: &Facts<'_>, names: &Names, now: Now) -> Explanation {
        if let Ok(permit) = self.decide(facts, now) {
            self.release(permit.gauges, Duration::ZERO, now);
        }
        let decided =
            Decided { rules: &self.rules, steps: Some(&self.trail.steps), outcome: self.trail.outcome };
        self.in_words(Some(facts), &decided, now.unix, names)
    }

    /// The same before a byte of it is read; none if nobody is asked then.
    pub fn explain_packet(
        &mut self,
        source: IpAddr,
        listener: ListenerId,
        names: &Names,
        now: Now,
    ) -> Option<Explanation> {
        let facts = Facts { listener, ..Facts::of_source(Stage::Packets, source) };
        self.speaks_before_parsing(source).then(|| self.explain(&facts, names, now))
    }

    /// Remembers the last decision as one about this call. `admitted`: whoever made it was let in, so that it is not
    /// pushed out by strangers.
    pub fn keep(&mut self, call_id: &str, facts: Option<&Facts<'_>>, admitted: bool, now: Now) {
        let name = self.identity(call_id);
        let past = if admitted { &mut self.past } else { &mut self.strangers };
        past.keep(name, &self.trail, &self.rules, facts, now.unix);
        self.last_kept = Some((name, admitted));
    }

    /// The edge refused the request for a reason of its own.
    pub fn refused_by_edge(&mut self, call_id: &str, reason: Arc<str>, status: u16, now: Now) {
        let name = self.identity(call_id);
        let (past, strangers) = (&mut self.past, &mut self.strangers);
        let kept = match self.last_kept {
            // Nearly always: policy has just been asked. Nothing is searched then.
            Some((last, true)) if last == name => past.newest(name),
            Some((last, false)) if last == name => strangers.newest(name),
            _ => {
                if past.newest(name).is_none() && strangers.newest(name).is_none() {
                    self.trail.begin();
                    strangers.keep(name, &self.trail, &self.rules, None, now.unix);
                }
                let both = [past.newest(name), strangers.newest(name)].into_iter().flatten();
                both.max_by_key(|kept| kept.at)
            }
        };
        if let Some(kept) = kept {
            kept.refused = Some((reason, status));
        }
    }

    /// What was decided about this call, oldest first; nothing if it is not known, or too long ago.
    pub fn why(&self, call_id: &str, names: &Names) -> Vec<Explanation> {
        let name = self.identity(call_id);
        let mut found: Vec<_> = [&self.past, &self.strangers]
            .into_iter()
            .flat_map(|past| past.of(name).map(|kept| (kept, past.steps(kept))))
            .collect();
        found.sort_by_key(|(kept, _)| kept.at);
        let told = found.into_iter().map(|(kept, steps)| {
            let facts = kept.facts.as_ref().map(|brief| brief.facts());
            let decided = Decided { rules: &kept.rules, steps: steps.as_deref(), outcome: kept.outcome };
            let words = self.in_words(facts.as_ref(), &decided, kept.at, names);
            match &kept.refused {
                None => words,
                Some((reason, status)) => {
                    let gets = if *status == 0 { NOTHING.to_owned() } else { status.to_string() };
                    Explanation { gets, refused_by_edge: Some(reason.to_string()), ..words }
                }
            }
        });
        told.collect()
    }

    fn in_words(
        &self,
        facts: Option<&Facts<'_>>,
        decided: &Decided<'_>,
        at: UnixTime,
        names: &Names,
    ) -> Explanation {
        let Decided { rules, steps, outcome } = *decided;
        let asked = facts.map(|facts| Asked::at(facts, self.geo.as_ref(), &self.feeds, at));
        let looked = steps.map(|steps| {
            let same_rule = steps.chunk_by(|one, next| one.rule == next.rule);
            same_rule.filter_map(|steps| looked(rules, steps, asked.as_ref(), names)).collect()
        });
        let rule = |index: u32| rules.get(index as usize).map(|(_, rule)| rule);
        let (decision, rule) = match outcome {
            Outcome::NotAsked => ("not asked", None),
            Outcome::Default => ("permitted", None),
            Outcome::Permitted(index) => ("permitted", rule(index)),
            Outcome::Refused(index) => ("refused", rule(index)),
            Outcome::HungUp(index) => ("hung up", rule(index)),
            Outcome::Banned => ("banned", None),
            Outcome::BannedUser => ("banned user", None),
            Outcome::Emergency => ("emergency", None),
        };
        let answer = || match rule.and_then(|rule| rule.answer.action()) {
            Some(Action::Reject { status, reason }) => Some(format!("{status} {reason}")),
            Some(Action::Challenge) => Some("a question for its password (401 or 407)".to_owned()),
            Some(Action::Drop | Action::Ban(_)) | None => None,
        };
        let gets = match outcome {
            Outcome::Refused(_) if facts.is_some_and(|facts| facts.stage == Stage::Routes) => {
                // The request has been taken up: it is answered in any case.
                let rejects =
                    matches!(rule.and_then(|rule| rule.answer.action()), Some(Action::Reject { .. }));
                let answer = answer().filter(|_| rejects).unwrap_or_else(|| "403 Forbidden".to_owned());
                format!("{answer}, if nobody else of its route takes the call")
            }
            _ if facts.is_some_and(|facts| facts.stage == Stage::Routes) => {
                "what this trunk answers".to_owned()
            }
            Outcome::Refused(_) if facts.is_some_and(|facts| facts.stage == Stage::Relay) => {
                let method = facts.map_or("", |facts| facts.method);
                let action = rule.and_then(|rule| rule.answer.action());
                match action.and_then(|action| relay::status(&action, method)) {
                    Some(486) => "486 Allocation Quota Reached".to_owned(),
                    Some(508) => "508 Insufficient Capacity".to_owned(),
                    Some(_) => "403 Forbidden".to_owned(),
                    None => NOTHING.to_owned(),
                }
            }
            Outcome::Default | Outcome::Permitted(_)
                if facts.is_some_and(|facts| facts.stage == Stage::Relay) =>
            {
                "what it asks for, if its role allows it".to_owned()
            }
            _ if facts.is_some_and(|facts| facts.stage == Stage::Packets) && outcome == Outcome::Default => {
                "it is read".to_owned()
            }
            Outcome::NotAsked | Outcome::Default | Outcome::Permitted(_) | Outcome::Emergency => {
                "what it asks for, if there is a route".to_owned()
            }
            Outcome::Banned => NOTHING.to_owned(),
            Outcome::BannedUser => "403 Forbidden".to_owned(),
            Outcome::HungUp(_) => "BYE on both legs".to_owned(),
            Outcome::Refused(_) => answer().unwrap_or_else(|| NOTHING.to_owned()),
        };
        Explanation {
            at: time(at, &TimeZone::UTC).unwrap_or_default(),
            request: asked.as_ref().map(|asked| Request::new(asked, names)),
            looked,
            decision: decision.to_owned(),
            rule: rule.map(|rule| rule.name.to_string()).unwrap_or_default(),
            gets,
            refused_by_edge: None,
        }
    }
}

/// What is to be put into words: the rules that were in force, what was seen of them, and how it ended.
struct Decided<'d> {
    rules: &'d Rules,
    /// None: nobody remembers.
    steps: Option<&'d [Step]>,
    outcome: Outcome,
}

fn looked(rules: &Rules, steps: &[Step], asked: Option<&Asked<'_>>, names: &Names) -> Option<Looked> {
    let (mode, rule) = rules.get(steps.first()?.rule as usize)?;
    let limits = rule.count.iter().flat_map(|count| &count.limits).collect::<Vec<_>>();
    let mut why: Vec<String> = Vec::new();
    let mut spoke = false;
    let mut is_met = true;
    for Step { seen, .. } in steps {
        match *seen {
            Seen::Unmet(index) => {
                is_met = false;
                why.extend(told(rule, index.into(), "does not hold", asked, names));
            }
            Seen::Uncounted => why.push("its `count` counts no such request".to_owned()),
            Seen::Limit { limit, used, over } => {
                let Some(limit) = limits.get(usize::from(limit)) else { continue };
                let verb = if over { "is reached" } else { "is not reached" };
                why.push(format!("`{limit}` {verb}: {}", limit.amount(used)));
                spoke |= over;
            }
            Seen::Spoke => spoke = true,
            Seen::Met => why.push("it asks for a password, and one has been shown".to_owned()),
            Seen::Spent => {
                spoke = true;
                why.push("the call cannot pay on: its budget is spent".to_owned());
            }
        }
    }
    if spoke && is_met {
        let held = (0..rule.when.len()).filter_map(|index| told(rule, index, "holds", asked, names));
        why.splice(0..0, held);
    }
    let answer = &rule.answer;
    let file = rule.written.place.file.to_string();
    let line = rule.written.place.line;
    let (rule, says) = (rule.name.to_string(), answer.to_string());
    Some(Looked { rule, file, line, audit: *mode == Mode::Audit, spoke, why, says })
}

const NOTHING: &str = "no answer at all";

/// "`to: not $home` does not hold: to is +4930".
fn told(rule: &Rule, index: usize, verb: &str, asked: Option<&Asked<'_>>, names: &Names) -> Option<String> {
    let fact = rule.when.get(index)?.matcher.fact(asked?, names);
    Some(match rule.written.when.get(index) {
        Some(written) => format!("`{written}` {verb}: {fact}"),
        None => format!("a condition {verb}: {fact}"),
    })
}

impl Matcher {
    /// What the request has of that which this looks at.
    fn fact(&self, asked: &Asked<'_>, names: &Names) -> String {
        let facts = asked.facts;
        let named = |what: &str, value: Option<&str>| match value {
            Some(value) => format!("{what} is {value}"),
            None => format!("{what} is not known"),
        };
        match self {
            Matcher::To(_) | Matcher::Feed(Subject::To, _) => named("to", asked.to.as_deref()),
            Matcher::From(_) | Matcher::Feed(Subject::From, _) => named("from", asked.from.as_deref()),
            Matcher::User(_) | Matcher::Feed(Subject::User, _) => named("user", asked.user.as_deref()),
            Matcher::Country(_) => match asked.to.as_deref().and_then(Country::of_number) {
                Some(country) => format!("the called number is in {country}"),
                None => "the called number is in no country".to_owned(),
            },
            Matcher::SourceCountry(_) => match asked.source_country {
                Some(country) => format!("the source is in {country}"),
                None => "nobody knows in which country the source is".to_owned(),
            },
            Matcher::Source(_) | Matcher::Feed(Subject::Source, _) => format!("source is {}", asked.source),
            Matcher::Party(_) => format!("party is {}", asked.party()),
            Matcher::Role(_) => match facts.role {
                Some(role) => named("role", names.roles.get(usize::from(role)).map(|name| &**name)),
                None => "it has no role".to_owned(),
            },
            Matcher::Peer(_) | Matcher::Feed(Subject::Peer, _) => match facts.peer {
                Some(peer) => format!("peer is {peer}"),
                None => "it is about no peer".to_owned(),
            },
            Matcher::Trunk(_) => match facts.trunk_in_question() {
                Some(trunk) => named("trunk", names.trunks.get(usize::from(trunk.0)).map(|name| &**name)),
                None => "it comes from no trunk".to_owned(),
            },
            Matcher::Zone(_) => named("zone", names.zones.get(usize::from(facts.zone.0)).map(|name| &**name)),
            Matcher::Listener(_) => {
                named("listener", names.listeners.get(usize::from(facts.listener.0)).map(|name| &**name))
            }
            Matcher::Agent(_) => named("agent", facts.agent),
            Matcher::Method(_) => named("method", Some(facts.method)),
            Matcher::Tls(_) => if facts.tls { "it came over TLS" } else { "it came without TLS" }.to_owned(),
            Matcher::Time(windows) => {
                let zone = windows.first().map_or(TimeZone::UTC, |window| window.zone.clone());
                format!("it is {}", time(asked.at, &zone).unwrap_or_default())
            }
            Matcher::LongerThan(_) => match facts.talked {
                Some(talked) => format!("it has lasted {}", shown(talked)),
                None => "it is not answered yet".to_owned(),
            },
            // All look at the same.
            Matcher::AnyOf(several) => several.first().map_or_else(String::new, |one| one.fact(asked, names)),
        }
    }
}

/// `Mon 2026-03-02 23:00:00 Europe/Berlin`
fn time(at: UnixTime, zone: &TimeZone) -> Option<String> {
    let timestamp = Timestamp::from_second(i64::try_from(at.0.as_secs()).ok()?).ok()?;
    let name = zone.iana_name().unwrap_or("UTC");
    Some(format!("{} {name}", timestamp.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S")))
}

impl Request {
    fn new(asked: &Asked<'_>, names: &Names) -> Request {
        let facts = asked.facts;
        let name = |names: &[Arc<str>], id: u16| names.get(usize::from(id)).map(|name| name.to_string());
        let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let party = match facts.trunk {
            Some(trunk) => name(&names.trunks, trunk.0).map(|name| format!("trunk {name}")),
            None => None,
        };
        Request {
            stage: facts.stage.to_string(),
            method: facts.method.to_owned(),
            source: asked.source.to_string(),
            party: party.unwrap_or_else(|| asked.party().to_string()),
            zone: name(&names.zones, facts.zone.0),
            listener: name(&names.listeners, facts.listener.0),
            tls: facts.tls,
            user: owned(&asked.user),
            from: owned(&asked.from),
            to: owned(&asked.to),
            country: asked.to.as_deref().and_then(Country::of_number).map(|country| country.to_string()),
            source_country: asked.source_country.map(|country| country.to_string()),
            agent: facts.agent.map(str::to_owned),
            trunk: facts.trunk_out.and_then(|trunk| name(&names.trunks, trunk.0)),
            role: facts.role.and_then(|role| name(&names.roles, role)),
            peer: facts.peer.map(|peer| peer.to_string()),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { stage, method, source, party, .. } = self;
        match method.as_str() {
            // Before parsing nobody knows whose they are.
            "" => write!(f, "bytes from {source} (unread")?,
            method if stage == "relay" => write!(f, "{method} from {source} (TURN")?,
            method => write!(f, "{method} from {source} ({party}")?,
        }
        for (what, name) in [("zone", &self.zone), ("listener", &self.listener)] {
            if let Some(name) = name {
                write!(f, ", {what} {name}")?;
            }
        }
        write!(f, "{}), asked at stage {stage}", if self.tls { ", TLS" } else { "" })?;
        match &self.trunk {
            Some(trunk) => writeln!(f, " about trunk {trunk}")?,
            None => writeln!(f)?,
        }
        let (user, from, to) = (("user", &self.user), ("from", &self.from), ("to", &self.to));
        let countries = [("country", &self.country), ("source_country", &self.source_country)];
        let others = [("agent", &self.agent), ("role", &self.role), ("peer", &self.peer)];
        let known = [user, from, to].into_iter().chain(countries).chain(others);
        let known: Vec<_> = known
            .filter_map(|(what, value)| Some(format!("{what} {}", printable(value.as_deref()?))))
            .collect();
        if known.is_empty() { Ok(()) } else { writeln!(f, "  {}", known.join(", ")) }
    }
}

/// What came from the wire, as a terminal may see it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.at)?;
        if let Some(request) = &self.request {
            write!(f, "{request}")?;
        }
        let mut file = "";
        match &self.looked {
            None => writeln!(f, "what was looked at is forgotten: newer calls have taken its room")?,
            Some(looked) => {
                for rule in looked {
                    if rule.file != file {
                        file = &rule.file;
                        writeln!(f, "{file}")?;
                    }
                    write!(f, "{rule}")?;
                }
            }
        }
        write!(f, "decision: {}", self.decision)?;
        if !self.rule.is_empty() {
            write!(f, " by \"{}\"", self.rule)?;
        }
        writeln!(f)?;
        if let Some(reason) = &self.refused_by_edge {
            writeln!(f, "the edge itself refuses: {reason}")?;
        }
        writeln!(f, "the caller gets: {}", self.gets)
    }
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Looked { rule, line, says, .. } = self;
        let verb = match (self.spoke, self.audit) {
            (false, _) => "is silent",
            (true, false) => "SPEAKS",
            (true, true) => "would speak (audit)",
        };
        write!(f, "  {line:>4}  {rule}: {verb}")?;
        writeln!(f, "{}", if self.spoke { format!(", says {says}") } else { String::new() })?;
        for why in &self.why {
            writeln!(f, "          {}", printable(why))?;
        }
        Ok(())
    }
}
