//! Asks the rules in order: within a policy the first that speaks decides, and any policy can refuse.

mod in_call;
mod routes;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::alert::{Alert, Alerts, Spoken};
use super::ban::Bans;
use super::counter::{Counters, Holds, SavedCounters};
use super::country::Country;
use super::deck::{Deck, Tariff};
use super::feed::{Feed, FeedId};
use super::geo::Geo;
use super::hits::Listed;
use super::matcher::Asked;
use super::number;
use super::relay::{self, RefusedAtRelay};
use super::settings::{Answer, Capacity, Limit, Mode, Policy, Rule, Settings, Verdict, Written};
use super::trail::{Outcome, Past, Rules, Seen, Trail};
use super::trial::Counted;
use super::{Action, Facts, GaugeHold, Known, Login, Note, Permit, Refusal, Sealed, Stage};
use crate::base::ban::Banned;
use crate::base::{ListenerId, NodeKey, Now};

/// All policies, their counters and bans. One per shard.
#[derive(Debug)]
pub struct Engine {
    stages: [Vec<Asking>; Stage::COUNT],
    /// All rules and defaults, as [`Numbered`] names them.
    pub(super) rules: Rules,
    /// All policies, also disabled ones.
    pub(super) listed: Vec<Listed>,
    /// Rules with `failed_logins`, which count outside any stage.
    login_rules: Vec<(Mode, Numbered)>,
    /// Rules that hang up, by their identity.
    pub(super) ending: HashMap<u64, Numbered>,
    pub(super) counters: Counters,
    /// What audited policies count, apart: not even a full table of theirs may change an outcome.
    pub(super) audit_counters: Counters,
    bans: Bans,
    /// Only if a rule asks for it.
    pub(super) geo: Option<Geo>,
    pub(super) feeds: Arc<[Feed]>,
    notes: VecDeque<Note>,
    pub(super) refused_at_relay: VecDeque<RefusedAtRelay>,
    alerts: Alerts,
    pub(super) note_capacity: usize,
    by_default: Arc<str>,
    banned: Arc<str>,
    banned_user: Arc<str>,
    pub(super) trail: Trail,
    /// Decisions about calls of those who are admitted, whom no stranger pushes out.
    pub(super) past: Past,
    pub(super) strangers: Past,
    /// The name of the last one, and whether he was admitted.
    pub(super) last_kept: Option<(u64, bool)>,
}

/// Calls whose decisions can be asked about.
const PAST: usize = 10_000;
const STRANGERS: usize = 2_000;

/// A rule with its names.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    /// That of its name, so that what it counted is still its own after a restart.
    id: u64,
    /// Its place in [`Engine::rules`].
    index: u32,
    rule: Arc<Rule>,
}

/// A policy as it is asked at one stage: only the rules that can speak there.
#[derive(Debug)]
struct Asking {
    mode: Mode,
    rules: Vec<Numbered>,
    default: Numbered,
    deck: Option<Arc<Deck>>,
}

/// What is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Saved {
    counters: SavedCounters,
    audit_counters: SavedCounters,
}

impl Engine {
    /// Nothing counted, nobody banned. `key` keeps strangers from choosing where their counters lie.
    pub fn new(settings: Settings, key: &NodeKey) -> Engine {
        let Settings { policies, never_ban, geo, feeds, capacity } = settings;
        let room = |mode| capacity.for_rules(policies.iter().filter(|policy| policy.mode == mode));
        let (enforced, audited) = (room(Mode::Enforce), room(Mode::Audit));
        let mut engine = Engine {
            stages: Default::default(),
            rules: Rules::default(),
            listed: Vec::new(),
            login_rules: Vec::new(),
            ending: HashMap::new(),
            counters: Counters::new(enforced, key),
            audit_counters: Counters::new(audited, key),
            bans: Bans::new(capacity.bans, never_ban.into_iter().collect()),
            geo: geo.filter(|_| policies.iter().any(Policy::asks_for_source_country)),
            feeds: feeds.into(),
            notes: VecDeque::new(),
            refused_at_relay: VecDeque::new(),
            note_capacity: capacity.notes,
            alerts: Alerts::new(capacity.notes),
            by_default: "default".into(),
            banned: "banned".into(),
            banned_user: "banned user".into(),
            trail: Trail::default(),
            past: Past::new(PAST),
            strangers: Past::new(STRANGERS),
            last_kept: None,
        };
        for policy in policies {
            engine.add(policy);
        }
        engine.trail.number(engine.rules.len());
        engine
    }

    /// Other policies are in force from now on. What was counted goes on under rules of the same names, bans last, live calls hold what
    /// they hold, and what was decided is explained by the rules of then. [`Settings::never_ban`] stays as it was.
    pub fn replace(&mut self, policies: Settings, key: &NodeKey) {
        let former = std::mem::replace(self, Engine::new(policies, key));
        self.counters.take_over(former.counters);
        self.audit_counters.take_over(former.audit_counters);
        for (index, (_, rule)) in self.rules.iter().enumerate() {
            let known = former.rules.iter().position(|(_, known)| known.name == rule.name);
            self.trail.set_hits(index, known.map_or(0, |known| former.trail.hits(known)));
        }
        (self.bans, self.notes, self.alerts) = (former.bans, former.notes, former.alerts);
        self.refused_at_relay = former.refused_at_relay;
        (self.past, self.strangers, self.last_kept) = (former.past, former.strangers, former.last_kept);
    }

    /// No policy at all: every request gets a [`Permit`]. For tests, and for a config without `policies`.
    pub fn allow_all() -> Engine {
        Engine::new(Settings::default(), &NodeKey::new([0; 16]))
    }

    fn add(&mut self, policy: Policy) {
        let Policy { name, mode, stages, rules, default, deck, place } = policy;
        if mode == Mode::Disabled {
            return self.listed.push(Listed { name, mode, stages, rules: 0..0, default: None });
        }
        let first = self.rules.len();
        let written = Written { place, when: Vec::new() };
        let mut at_the_end = |answer| {
            let (name, written) = (format!("{name} / default").into(), written.clone());
            self.number(mode, Rule { name, when: Vec::new(), count: None, answer, written })
        };
        let (default, silence) = (at_the_end(default), at_the_end(Answer::ALLOW));
        let rules: Vec<_> = rules.into_iter().map(|rule| self.number(mode, rule)).collect();
        let login_rules = rules.iter().filter(|numbered| numbered.rule.counts_logins());
        self.login_rules.extend(login_rules.map(|numbered| (mode, numbered.clone())));
        let ending = rules.iter().filter(|numbered| numbered.rule.answer.hang_up);
        self.ending.extend(ending.map(|numbered| (numbered.id, numbered.clone())));
        // Those two come first, of which one is no rule of the file.
        let listed = first + 2..self.rules.len();
        self.listed.push(Listed { name, mode, stages: stages.clone(), rules: listed, default: Some(first) });
        for stage in stages {
            let rules = rules.iter().filter(|numbered| numbered.rule.can_speak_at(stage)).cloned().collect();
            if let Some(asked) = self.stages.get_mut(stage as usize) {
                // `default: reject` is for requests: before parsing it would drop the world, in a call end every one.
                let says = stage != Stage::InCall && default.rule.can_speak_at(stage);
                let default = if says { &default } else { &silence };
                asked.push(Asking { mode, rules, default: default.clone(), deck: deck.clone() });
            }
        }
    }

    /// What a name is known by.
    pub(super) fn identity(&self, name: &str) -> u64 {
        self.counters.identity(name)
    }

    fn number(&mut self, mode: Mode, rule: Rule) -> Numbered {
        let id = self.identity(&rule.name);
        // A file of 1 MiB holds fewer.
        let index = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        let rule = Arc::new(rule);
        Arc::make_mut(&mut self.rules).push((mode, Arc::clone(&rule)));
        Numbered { id, index, rule }
    }

    /// Asks every policy of the facts' stage, in the order of the files.
    ///
    /// # Errors
    /// The first refusal; then nothing is held, and whatever was taken on the way has been given back.
    pub fn decide(&mut self, facts: &Facts<'_>, now: Now) -> Result<Permit, Refusal> {
        let asked = Asked::new(facts, self.geo.as_ref(), &self.feeds, now);
        self.trail.begin();
        if self.bans.holds(asked.source, now) && self.is_bannable(&asked) {
            self.trail.outcome = Outcome::Banned;
            return Err(Refusal { action: Action::Drop, rule: Arc::clone(&self.banned), alert: false });
        }
        if facts.emergency {
            self.trail.outcome = Outcome::Emergency;
            return Ok(Permit { rule: "emergency".into(), gauges: GaugeHold::default(), _sealed: Sealed });
        }
        if self.is_banned_user(facts, now) {
            self.trail.outcome = Outcome::BannedUser;
            let action = Action::Reject { status: 403, reason: "Forbidden".into() };
            return Err(Refusal { action, rule: Arc::clone(&self.banned_user), alert: false });
        }
        self.ask_policies(&asked, now)
    }

    /// Of one whom no ban stops.
    fn ask_policies(&mut self, asked: &Asked<'_>, now: Now) -> Result<Permit, Refusal> {
        let facts = asked.facts;
        let mut hold = GaugeHold::default();
        let mut permitted_by = Arc::clone(&self.by_default);
        self.counters.begin();
        self.audit_counters.begin();
        self.trail.outcome = Outcome::Default;
        let policies = std::mem::take(&mut self.stages);
        let outcome = self.ask_all(&policies, asked, &mut hold, &mut permitted_by, now);
        self.stages = policies;
        match outcome {
            Ok(()) => {
                hold.country = asked.to.as_deref().and_then(Country::of_number);
                if facts.is_call() && (self.speaks_in_call() || self.alerts_in_call()) {
                    hold.known = Some(Box::new(Known {
                        stage: Stage::InCall,
                        login: Login::Settled,
                        ..Known::from(facts)
                    }));
                } else if facts.method == relay::ALLOCATE && self.alerts_in_call() {
                    hold.known = Some(Box::new(Known::from(facts)));
                }
                Ok(Permit { rule: permitted_by, gauges: hold, _sealed: Sealed })
            }
            Err(refusal) => {
                self.release(hold, Duration::ZERO, now);
                if refusal.action == Action::Challenge {
                    // It comes again, with a password, and then it counts.
                    self.counters.take_back();
                    self.audit_counters.take_back();
                }
                Err(refusal)
            }
        }
    }

    fn ask_all(
        &mut self,
        policies: &[Vec<Asking>; Stage::COUNT],
        asked: &Asked<'_>,
        hold: &mut GaugeHold,
        permitted_by: &mut Arc<str>,
        now: Now,
    ) -> Result<(), Refusal> {
        for policy in policies.get(asked.facts.stage as usize).into_iter().flatten() {
            if hold.tariff.is_none() && asked.facts.is_priced() {
                hold.tariff = policy.deck.as_ref().and_then(|deck| deck.price(asked.to.as_deref()?));
            }
            let mut taken = Holds::new();
            let Numbered { rule: spoke, index, .. } = self.ask(policy, asked, &mut taken, now);
            let enforced = policy.mode == Mode::Enforce;
            let verdict = spoke.answer.verdict.as_ref().filter(|verdict| !verdict.is_met_by(asked.facts));
            if let Some(Verdict::Refuse(action)) = verdict {
                // Who is refused, or would have been, holds none of the gauges that were taken on the way.
                self.counters(policy.mode).release(taken, Duration::ZERO, now);
                if enforced {
                    self.trail.outcome = Outcome::Refused(*index);
                    return Err(self.refuse(spoke, action, asked, now));
                }
                self.note(spoke, Some(action.clone()), Some(asked.facts), now);
                continue;
            }
            if !enforced {
                hold.audited.extend(taken);
                continue;
            }
            hold.enforced.extend(taken);
            if *index != policy.default.index {
                *permitted_by = Arc::clone(&spoke.name);
                self.trail.outcome = Outcome::Permitted(*index);
            }
            if spoke.answer.verdict == Some(Verdict::AllowEverywhere) {
                break;
            }
        }
        Ok(())
    }

    /// What the first policy with a deck that knows a price for such a call says.
    pub(super) fn price(&self, facts: &Facts<'_>) -> Option<Tariff> {
        let to = number::normalise(facts.to?);
        let stages = [Stage::Calls, Stage::Routes].map(|stage| self.stages.get(stage as usize));
        let mut decks = stages.into_iter().flatten().flatten().filter_map(|policy| policy.deck.as_ref());
        decks.find_map(|deck| deck.price(&to))
    }

    fn counters(&mut self, mode: Mode) -> &mut Counters {
        if mode == Mode::Audit { &mut self.audit_counters } else { &mut self.counters }
    }

    /// The rule of this policy that decides.
    fn ask<'p>(&mut self, policy: &'p Asking, asked: &Asked<'_>, hold: &mut Holds, now: Now) -> &'p Numbered {
        for numbered in &policy.rules {
            let Numbered { id, index, rule } = numbered;
            let Engine { counters, audit_counters, trail, .. } = self;
            let unmet = (0..).zip(&rule.when).find(|(_, condition)| !condition.holds(asked));
            let counters = if policy.mode == Mode::Audit { audit_counters } else { counters };
            let speaks = match (unmet, &rule.count) {
                (Some((condition, _)), _) => {
                    trail.saw(*index, Seen::Unmet(condition));
                    false
                }
                (None, Some(count)) => {
                    counters.exceeded(*id, count, asked, hold, now, |seen| trail.saw(*index, seen))
                }
                (None, None) => true,
            };
            if !speaks {
                continue;
            }
            match &rule.answer.verdict {
                Some(verdict) if verdict.is_met_by(asked.facts) => trail.saw(*index, Seen::Met),
                Some(_) => {
                    trail.saw(*index, Seen::Spoke);
                    return numbered;
                }
                None => {
                    trail.saw(*index, Seen::Spoke);
                    self.note(rule, None, Some(asked.facts), now);
                }
            }
        }
        self.trail.saw(policy.default.index, Seen::Spoke);
        &policy.default
    }

    fn refuse(&mut self, rule: &Rule, action: &Action, asked: &Asked<'_>, now: Now) -> Refusal {
        let Answer { ban, ban_user, alert, .. } = rule.answer;
        if let (Some(length), Some(user)) = (ban_user, asked.facts.proven_user()) {
            self.bans.ban_by_rule(Banned::User(user.into()), length, &rule.name, now);
        }
        let mut action = action.clone();
        if let Some(length) = ban
            && asked.facts.source_proven
            && self.is_bannable(asked)
        {
            self.bans.ban_by_rule(Banned::source(asked.source), length, &rule.name, now);
            if action == Action::Drop {
                action = Action::Ban(length);
            }
        }
        if alert {
            self.alerts.push(&rule.name, Spoken::Refused(action.clone()), Some(asked.facts), now);
        }
        Refusal { action, rule: Arc::clone(&rule.name), alert }
    }

    /// DESIGN §6, a ban must not be a weapon: whoever we cannot do without is out of its reach.
    fn is_bannable(&self, asked: &Asked<'_>) -> bool {
        !asked.facts.from_pbx && asked.facts.trunk.is_none() && !self.bans.spares(asked.source)
    }

    /// Also of who only says that he is this user. The users of the PBX and of carriers are others, whatever their names.
    fn is_banned_user(&self, facts: &Facts<'_>, now: Now) -> bool {
        let is_ours = !facts.from_pbx && facts.trunk.is_none();
        is_ours && facts.user.is_some_and(|user| self.bans.holds_user(user, now))
    }

    /// Who is banned; ask [`Bans::poll_change`] after each [`Self::decide`].
    pub fn bans(&mut self) -> &mut Bans {
        &mut self.bans
    }

    pub(super) fn speaks_at(&self, stage: Stage) -> bool {
        self.stages.get(stage as usize).is_some_and(|policies| !policies.is_empty())
    }

    /// True if there is something to save that was not there at the last [`Self::save`].
    pub fn has_changed(&self) -> bool {
        self.counters.has_changed || self.audit_counters.has_changed
    }

    /// What must not be forgotten in a restart.
    pub fn save(&mut self, now: Now) -> Saved {
        Saved { counters: self.counters.save(now), audit_counters: self.audit_counters.save(now) }
    }

    /// Goes on where an earlier run with the same node key stopped.
    pub fn restore(&mut self, saved: Saved, now: Now) {
        self.counters.restore(saved.counters, now);
        self.audit_counters.restore(saved.audit_counters, now);
    }

    pub(super) fn take_again(&mut self, enforced: Holds, audited: Holds) -> (Holds, Holds) {
        (self.counters.take_again(enforced), self.audit_counters.take_again(audited))
    }

    /// Before parsing: bans and `packets` rules. True: drop it. Asked per datagram and per new connection. Whoever may
    /// not be banned is not dropped here either.
    pub fn refuses_packet(&mut self, source: IpAddr, listener: ListenerId, now: Now) -> bool {
        if self.bans.spares(source) {
            return false;
        }
        if self.bans.holds(source, now) {
            return true;
        }
        if !self.has_packet_rules() {
            return false;
        }
        let facts = Facts { listener, ..Facts::of_source(Stage::Packets, source) };
        let asked = Asked::new(&facts, self.geo.as_ref(), &self.feeds, now);
        self.trail.begin();
        match self.ask_policies(&asked, now) {
            Ok(permit) => {
                self.release(permit.gauges, Duration::ZERO, now);
                false
            }
            Err(_) => true,
        }
    }

    /// Has to be asked before parsing about more than bans.
    pub fn has_packet_rules(&self) -> bool {
        self.speaks_at(Stage::Packets)
    }

    pub(super) fn speaks_before_parsing(&self, source: IpAddr) -> bool {
        self.has_packet_rules() && !self.bans.spares(source)
    }

    /// The call is over: what it held is given back. `answered_for`: how long people talked; zero if nobody answered.
    pub fn release(&mut self, hold: GaugeHold, answered_for: Duration, now: Now) {
        self.counters.release(hold.enforced, answered_for, now);
        self.audit_counters.release(hold.audited, answered_for, now);
    }

    /// Somebody's credentials were wrong (a 401/407/403 to a request that carried some): feeds `failed_logins`.
    pub fn login_failed(&mut self, source: IpAddr, user: Option<&str>, now: Now) {
        let facts = Facts { user, ..Facts::of_source(Stage::Registrations, source) };
        let asked = Asked::new(&facts, self.geo.as_ref(), &self.feeds, now);
        for (mode, Numbered { id, rule, .. }) in &self.login_rules {
            let counters = if *mode == Mode::Audit { &mut self.audit_counters } else { &mut self.counters };
            if let Some(count) = &rule.count {
                counters.login_failed(*id, count, &asked, now);
            }
        }
    }

    /// A feed was fetched: from now on rules look there. Nothing that was counted is lost.
    pub fn refresh(&mut self, id: FeedId, feed: Feed) {
        let mut feeds = self.feeds.to_vec();
        if let Some(known) = feeds.get_mut(id.0) {
            *known = feed;
        }
        self.feeds = feeds.into();
    }

    /// What to log besides the outcome; ask after each [`Self::decide`] and [`Self::refuses_packet`].
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// Whom to tell of what; ask after each [`Self::decide`], [`Self::refuses_packet`] and [`Self::go_on`].
    pub fn poll_alert(&mut self) -> Option<Alert> {
        self.alerts.pop()
    }

    fn note(&mut self, rule: &Rule, would: Option<Action>, facts: Option<&Facts<'_>>, now: Now) {
        if rule.answer.alert {
            let spoken = would.clone().map_or(Spoken::Alone, Spoken::WouldHave);
            self.alerts.push(&rule.name, spoken, facts, now);
        }
        if self.notes.len() < self.note_capacity {
            self.notes.push_back(Note { rule: Arc::clone(&rule.name), would, alert: rule.answer.alert });
        }
    }

    /// The rules that spoke in the last decision, by name.
    pub(super) fn spoke(&self) -> Vec<Arc<str>> {
        let spoke = self.trail.steps.iter().filter(|step| matches!(step.seen, Seen::Spoke | Seen::Met));
        spoke
            .filter_map(|step| self.rules.get(step.rule as usize))
            .map(|(_, rule)| rule.name.clone())
            .collect()
    }

    /// For tests in policy files: as if `given` had been counted before for everyone whom `facts` concern.
    pub(super) fn preset(&mut self, facts: &Facts<'_>, given: &Counted, now: Now) {
        let asked = Asked::new(facts, self.geo.as_ref(), &self.feeds, now);
        for policy in self.stages.get(facts.stage as usize).into_iter().flatten() {
            for Numbered { id, rule, .. } in &policy.rules {
                if let Some(count) = &rule.count {
                    self.counters.preset(*id, count, &asked, given, now);
                }
            }
        }
    }

    /// True if no call holds anything.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.counters.live_gauges() + self.audit_counters.live_gauges() == 0
    }
}

impl Capacity {
    /// Tables that none of the rules uses take no room.
    fn for_rules<'p>(self, policies: impl Iterator<Item = &'p Policy>) -> Capacity {
        let counts = policies.flat_map(|policy| &policy.rules).filter_map(|rule| rule.count.as_ref());
        let mut needed = Capacity { keys: 1, windows: 1, budgets: 1, last_called: 1, ..self };
        for limit in counts.flat_map(|count| &count.limits) {
            if let Some(rate) = limit.rate() {
                let remembers = matches!(limit, Limit::New(..));
                needed.keys = if rate.is_paced() || remembers { self.keys } else { needed.keys };
                needed.windows = if rate.has_window() { self.windows } else { needed.windows };
            }
            match limit {
                Limit::Minutes(_) | Limit::Spend(_) | Limit::Bytes(_) => needed.budgets = self.budgets,
                Limit::SequentialNumbers(_) => needed.last_called = self.last_called,
                _ => {}
            }
        }
        needed
    }
}

impl Rule {
    /// True if this rule is asked at this stage: everything in it is known there and its answer can be given there.
    pub fn can_speak_at(&self, stage: Stage) -> bool {
        self.when.iter().all(|condition| condition.is_known_at(stage))
            && self.count.as_ref().is_none_or(|count| count.counts_at(stage))
            && match stage {
                Stage::Packets => self.answer.is_silent(),
                Stage::Relay => !self.answer.asks_for_a_password(),
                _ => true,
            }
    }

    fn counts_logins(&self) -> bool {
        self.count.iter().flat_map(|c| &c.limits).any(|l| matches!(l, Limit::FailedLogins(_)))
    }
}

#[cfg(test)]
mod tests;
