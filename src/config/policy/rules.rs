//! Rules: names resolved, answers put together, and what is odd about them told.

use std::sync::Arc;

use super::lists::Lists;
use super::raw;
use super::times;
use super::words::{self, AnswerWord, ShortCallsWord, VolumeWord, YesNo};
use crate::config::compiled::Names;
use crate::config::diagnose::Problems;
use crate::config::read::{At, FromWord, Wrong, did_you_mean};
use crate::config::words::Rate;
use crate::config::yaml::Position;
use crate::policy::deck::Deck;
use crate::policy::feed::Subject;
use crate::policy::matcher::{Condition, Matcher, Party};
use crate::policy::settings::{Answer, Budget, Count, Limit, New, Per, Place, Rule, Verdict, Written};
use crate::policy::window::Holidays;
use crate::policy::written::shown;
use crate::policy::{Action, Stage};

/// Compiles the rules of one policy.
pub struct Compiler<'c> {
    pub policy: &'c str,
    /// As it is shown.
    pub file: Arc<str>,
    pub stages: &'c [Stage],
    pub names: &'c Names,
    pub lists: &'c mut Lists,
    /// Its `rates:`.
    pub deck: Option<Arc<Deck>>,
    /// Its `holidays:`.
    pub holidays: Option<Arc<Holidays>>,
    pub problems: &'c mut Problems,
}

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

/// Names that `expect:` understands as something else than a rule.
pub const RESERVED: [&str; 2] = ["allow", "default"];

impl Compiler<'_> {
    /// All rules.
    pub fn rules(&mut self, raw: &[raw::Rule]) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for (index, typed) in raw.iter().enumerate() {
            self.check_name(typed, raw.get(..index).unwrap_or_default());
            let Some(rule) = self.rule(typed) else { continue };
            if let Some(above) = rules.iter().find(|above| above.silences(&rule, self.stages)) {
                let name = above.name.strip_prefix(&format!("{} / ", self.policy)).unwrap_or(&above.name);
                let help = match above.when.is_empty() {
                    true => format!("`{name}` above always decides; move it down, or give it a `when`"),
                    false => {
                        format!("`{name}` above decides whenever this one could; move this one above it")
                    }
                };
                self.problems.warning(typed.name.at, "this rule is never reached", help);
            }
            rules.push(rule);
        }
        rules
    }

    /// A place in the policy's file.
    pub fn place(&self, at: Position) -> Place {
        Place { file: Arc::clone(&self.file), line: at.line }
    }

    fn check_name(&mut self, typed: &raw::Rule, before: &[raw::Rule]) {
        let At { at, value: name } = &typed.name;
        if RESERVED.contains(&name.as_str()) {
            self.problems.error(
                *at,
                format!("a rule cannot be called `{name}`"),
                "tests could not name it; say what it does",
            );
        }
        if before.iter().any(|other| other.name.value == *name) {
            self.problems.error(
                *at,
                format!("a second rule called `{name}`"),
                "logs could not tell the two apart; rename one",
            );
        }
    }

    fn rule(&mut self, typed: &raw::Rule) -> Option<Rule> {
        let (when, texts) =
            typed.when.as_ref().map(|when| self.when(when)).unwrap_or_default().into_iter().unzip();
        let count = typed.count.read().and_then(|count| self.count(count));
        let answers = self.answers(typed)?;
        let answer = self.answer(&answers.value)?;
        // A count whose every limit is a later issue's never speaks; `run` refuses the file.
        if typed.count.is_there() && count.is_none() {
            return None;
        }
        let name = format!("{} / {}", self.policy, typed.name.value).into();
        let written = Written { place: self.place(typed.name.at), when: texts };
        let rule = Rule { name, when, count, answer, written };
        if !self.stages.is_empty() && !self.stages.iter().any(|stage| rule.can_speak_at(*stage)) {
            let what = "this rule can never speak at the stages that `applies_to` names";
            let help = "before parsing (packets) only source, listener and time are known, `packets` is counted and \
                        drop is answered; calls are counted at `calls` and `routes`, requests at `registrations`, too, allocations and \
                        bytes at `relay`, which knows source, listener, user, role, peer, tls and time";
            self.problems.error(typed.name.at, what, help);
        }
        self.check_hang_up(typed, &rule);
        Some(rule)
    }

    /// A live call ends when its budget is spent, or by the policies that are asked in a call.
    fn check_hang_up(&mut self, typed: &raw::Rule, rule: &Rule) {
        let pays = |limit: &Limit| matches!(limit, Limit::Minutes(_) | Limit::Spend(_) | Limit::Bytes(_));
        let has_budget = rule.count.iter().flat_map(|count| &count.limits).any(pays);
        if rule.answer.hang_up && !has_budget && !self.stages.contains(&Stage::InCall) {
            let what = "`hang_up` has nothing to end here";
            let help = "it goes with the limits `minutes`, `spend` and `bytes`, or with `applies_to: in_call`; a call that \
                        begins is refused with `reject 403`";
            self.problems.error(typed.name.at, what, help);
        }
    }

    /// `then` of a rule that does not count, `over` of one that does.
    fn answers<'r>(&mut self, typed: &'r raw::Rule) -> Option<&'r At<Vec<At<AnswerWord>>>> {
        let raw::Rule { then, over, .. } = typed;
        let (answers, other, help, found) = match typed.count.is_there() {
            false => (then, over, "add `then: reject 403`", "`over` without a `count`: write `then`"),
            true => {
                (over, then, "add `over: reject 486`", "a rule that counts answers with `over`, not `then`")
            }
        };
        if let Some(misplaced) = other.read() {
            return self.odd(
                misplaced.at,
                found,
                "`then` answers what `when` finds, `over` what exceeds `count`",
            );
        }
        if !answers.is_there() && !other.is_there() {
            return self.odd(typed.name.at, "this rule has no answer", help);
        }
        answers.read()
    }

    fn odd<T>(&mut self, at: Position, what: &str, help: &str) -> Option<T> {
        self.problems.error(at, what, help);
        None
    }

    /// One answer from several words: at most one decision, and what goes with it.
    pub fn answer(&mut self, typed: &[At<AnswerWord>]) -> Option<Answer> {
        let mut answer = Answer::default();
        let mut decided: Option<Position> = None;
        for At { at, value } in typed {
            let verdict = match value {
                AnswerWord::Allow => Verdict::Allow,
                AnswerWord::AllowEverywhere => Verdict::AllowEverywhere,
                AnswerWord::Refuse(action) => Verdict::Refuse(action.clone()),
                AnswerWord::Ban(length) => {
                    answer.ban = Some(*length);
                    continue;
                }
                AnswerWord::BanUser(length) => {
                    self.check_ban_of_user(*at);
                    answer.ban_user = Some(*length);
                    continue;
                }
                AnswerWord::Alert => {
                    answer.alert = true;
                    continue;
                }
                AnswerWord::HangUp => {
                    answer.hang_up = true;
                    continue;
                }
            };
            if verdict == Verdict::Refuse(Action::Challenge) {
                self.check_challenge(*at);
            }
            if decided.replace(*at).is_some() {
                return self.odd(
                    *at,
                    "a second decision in one answer",
                    "keep one of allow, reject, challenge, drop",
                );
            }
            answer.verdict = Some(verdict);
        }
        match (&answer.verdict, answer.ban.or(answer.ban_user)) {
            (None, Some(_)) if answer.ban.is_none() => {
                answer.verdict = Some(Verdict::Refuse(words::forbidden()))
            }
            (None, Some(_)) => answer.verdict = Some(Verdict::Refuse(Action::Drop)),
            // Who may not talk on may not begin either.
            (None, None) if answer.hang_up => answer.verdict = Some(Verdict::Refuse(words::forbidden())),
            (Some(Verdict::Allow | Verdict::AllowEverywhere), Some(_)) => {
                let at = decided.unwrap_or_default();
                return self.odd(at, "allowed and banned in one answer", "keep one of the two");
            }
            _ => {}
        }
        Some(answer)
    }

    /// Only who has shown the password is certain to be a user.
    fn check_ban_of_user(&mut self, at: Position) {
        let asks = |stage: &Stage| matches!(stage, Stage::Registrations | Stage::Calls | Stage::Relay);
        if !self.stages.is_empty() && !self.stages.iter().any(asks) {
            self.problems.error(
                at,
                "who the user is, is certain at stages `registrations`, `calls` and `relay` alone",
                "write `applies_to: calls`, or `ban 1h`, which bans the source",
            );
        }
        if self.names.no_users && !self.stages.contains(&Stage::Relay) {
            let what = "`ban user` bans nobody: it takes a user who has shown us the password, and the config asks nobody for one";
            self.problems.warning(
                at,
                what,
                "add `admit: authenticated` to the zone of your phones, and `users`",
            );
        }
    }

    /// Who is asked must be able to answer.
    fn check_challenge(&mut self, at: Position) {
        if self.names.no_users {
            let help =
                "add `users: { realm: example.com, file: users.yaml }` to the config, or write `reject 403`";
            self.problems.error(at, "`challenge` asks for passwords of users, and the config has none", help);
        }
        let asks = |stage: &Stage| matches!(stage, Stage::Registrations | Stage::Calls);
        if !self.stages.is_empty() && !self.stages.iter().any(asks) {
            self.problems.error(
                at,
                "`challenge` can be answered at stages `registrations` and `calls` alone",
                "write `applies_to: calls`, or another answer",
            );
        }
    }

    fn count(&mut self, typed: &raw::Count) -> Option<Count> {
        let per = Per::from_word(&typed.per.value);
        let per = per.map_err(|wrong| self.problems.error(typed.per.at, wrong.what, wrong.help)).ok()?;
        if let (Some(spend), None) = (typed.spend.read(), &self.deck) {
            let help = "add `rates: { file: rates.csv }` to the policy: what a minute to each prefix costs";
            return self.odd(spend.at, "`spend` without prices", help);
        }
        if !typed.has_limit() {
            return self.odd(typed.at, "a `count` without a limit", "add one, such as `new_calls: 10/min`");
        }
        if let (Some(rate), Per::User) = (typed.failed_logins.read(), per) {
            let what = "a stranger who guesses passwords can lock out the owner of the user name";
            self.problems.warning(rate.at, what, "count failed logins per source");
        }
        let limits: Vec<Limit> = [
            typed.calls_at_once.read().map(|most| Limit::CallsAtOnce(*most)),
            typed.new_calls.read().map(|rate| Limit::NewCalls(rate.0)),
            typed.requests.read().map(|rate| Limit::Requests(rate.0)),
            typed.packets.read().map(|rate| Limit::Packets(rate.0)),
            typed.failed_logins.read().map(|rate| Limit::FailedLogins(rate.value.0)),
            typed.minutes.read().map(|Rate { count, per }| {
                Limit::Minutes(Budget { talk: MINUTE.saturating_mul(*count), per: *per })
            }),
            typed.spend.read().map(|allowance| Limit::Spend(allowance.value.0)),
            typed
                .short_calls
                .read()
                .map(|ShortCallsWord(rate, under)| Limit::ShortCalls { rate: *rate, under: *under }),
            typed.sequential_numbers.read().map(|rate| Limit::SequentialNumbers(rate.0)),
            typed.new_countries.read().map(|rate| Limit::New(New::Country, rate.0)),
            typed.new_source_countries.read().map(|rate| Limit::New(New::SourceCountry, rate.value.0)),
            typed.new_sources.read().map(|rate| Limit::New(New::Source, rate.0)),
            typed.allocations_at_once.read().map(|most| Limit::AllocationsAtOnce(*most)),
            typed.new_allocations.read().map(|rate| Limit::NewAllocations(rate.0)),
            typed.bytes.read().map(|VolumeWord(volume)| Limit::Bytes(*volume)),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!limits.is_empty()).then(|| Count { per, limits, deck: self.deck.clone() })
    }

    fn when(&mut self, typed: &raw::When) -> Vec<(Condition, Arc<str>)> {
        let raw::When {
            at: _,
            to,
            from,
            user,
            party,
            trunk,
            zone,
            listener,
            source,
            agent,
            method,
            tls,
            time,
            country,
            source_country,
            longer_than,
            role,
            peer,
        } = typed;
        let names = self.names;
        let holidays = self.holidays.clone();
        let mut conditions = Vec::new();
        let mut add =
            |key: &str, typed: &Option<raw::OneOf>, matcher: &mut dyn FnMut(&[At<String>]) -> Matcher| {
                if let Some(typed) = typed {
                    let condition = Condition { negated: typed.negated, matcher: matcher(&typed.items) };
                    conditions.push((condition, format!("{key}: {typed}").into()));
                }
            };
        // What costs least is asked first.
        add("party", party, &mut |items| Matcher::Party(self.each(items, Party::from_word)));
        add("trunk", trunk, &mut |items| {
            Matcher::Trunk(self.each(items, |n| named("trunk", n, names.trunk(n), &names.trunks)))
        });
        add("zone", zone, &mut |items| {
            Matcher::Zone(self.each(items, |n| named("zone", n, names.zone(n), &names.zones)))
        });
        add("listener", listener, &mut |items| {
            let called = |n: &str| named("listener", n, names.listeners_called(n), &names.listeners);
            Matcher::Listener(self.each(items, called).concat())
        });
        add("role", role, &mut |items| {
            Matcher::Role(self.each(items, |n| named("TURN role", n, names.role(n), &names.roles)))
        });
        add("method", method, &mut |items| {
            Matcher::Method(self.each(items, |m| Ok(m.to_ascii_uppercase().into())))
        });
        add("to", to, &mut |items| self.listed(Subject::To, items));
        add("from", from, &mut |items| self.listed(Subject::From, items));
        add("user", user, &mut |items| self.listed(Subject::User, items));
        add("source", source, &mut |items| self.listed(Subject::Source, items));
        add("peer", peer, &mut |items| self.listed(Subject::Peer, items));
        add("country", country, &mut |items| Matcher::Country(self.lists.countries(items, self.problems)));
        add("source_country", source_country, &mut |items| {
            Matcher::SourceCountry(self.lists.countries(items, self.problems))
        });
        add("time", time, &mut |items| {
            Matcher::Time(self.each(items, |time| times::window(time, holidays.as_ref())))
        });
        add("agent", agent, &mut |items| Matcher::Agent(self.lists.globs(items, self.problems)));
        if let (Some(typed), true) = (source_country, names.no_geoip) {
            let help = "add `geoip: GeoLite2-Country.mmdb` to the config, or whichever database you have";
            self.problems.error(typed.at, "nobody knows where sources are", help);
        }
        if let Some(length) = *longer_than {
            let condition = Condition { negated: false, matcher: Matcher::LongerThan(length) };
            conditions.push((condition, format!("longer_than: {}", shown(length)).into()));
        }
        if let Some(YesNo(tls)) = tls {
            let condition = Condition { negated: false, matcher: Matcher::Tls(*tls) };
            conditions.push((condition, if *tls { "tls: yes".into() } else { "tls: no".into() }));
        }
        conditions
    }

    /// Looks `subject` up in what stands in the policy, and in feeds.
    fn listed(&mut self, subject: Subject, items: &[At<String>]) -> Matcher {
        let (mut any_of, items) = self.lists.feeds(subject, items, self.problems);
        if items.is_empty() && any_of.len() == 1 {
            return any_of.remove(0);
        }
        let own = match subject {
            Subject::To => Matcher::To(self.lists.numbers(&items, self.problems)),
            Subject::From => Matcher::From(self.lists.numbers(&items, self.problems)),
            Subject::User => Matcher::User(self.lists.numbers(&items, self.problems)),
            Subject::Source => Matcher::Source(self.lists.networks(&items, self.problems)),
            Subject::Peer => Matcher::Peer(self.lists.networks(&items, self.problems)),
        };
        if any_of.is_empty() {
            return own;
        }
        any_of.push(own);
        Matcher::AnyOf(any_of)
    }

    fn each<T>(&mut self, items: &[At<String>], read: impl Fn(&str) -> Result<T, Wrong>) -> Vec<T> {
        let mut read_items = Vec::new();
        for At { at, value } in items {
            match read(value) {
                Ok(item) => read_items.push(item),
                Err(wrong) => self.problems.error(*at, wrong.what, wrong.help),
            }
        }
        read_items
    }
}

impl raw::Count {
    fn has_limit(&self) -> bool {
        let raw::Count { at: _, per: _, calls_at_once, new_calls, requests, packets, .. } = self;
        let raw::Count { failed_logins, minutes, spend, short_calls, sequential_numbers, .. } = self;
        let raw::Count { new_countries, new_source_countries, new_sources, .. } = self;
        let raw::Count { allocations_at_once, new_allocations, bytes, .. } = self;
        let rates = [new_calls, requests, packets, sequential_numbers, new_countries, new_sources];
        rates.iter().chain(&[new_allocations]).any(|limit| limit.is_there())
            || [allocations_at_once.is_there(), bytes.is_there()].contains(&true)
            || [failed_logins, new_source_countries].iter().any(|limit| limit.is_there())
            || [calls_at_once.is_there(), minutes.is_there()].contains(&true)
            || [spend.is_there(), short_calls.is_there()].contains(&true)
    }
}

/// A name of the config.
pub fn named<T>(kind: &str, name: &str, known: Option<T>, names: &[std::sync::Arc<str>]) -> Result<T, Wrong> {
    known.ok_or_else(|| {
        let help = did_you_mean(name, names.iter().map(|n| &**n));
        Wrong::new(format!("the config has no {kind} `{name}`"), help)
    })
}
