//! Counters behind `count:`: rates and gauges, and what is asked of budgets, each under a key of the rule and of whom it
//! counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use super::budget::{Budgets, Carried, Meter, Paid, SavedBudget, Terms};
use super::country::Country;
use super::deck::Deck;
use super::matcher::Asked;
use super::rate::{Rates, SavedRates, nanos};
use super::relay;
use super::settings::{Capacity, Count, Limit, New, Per, REMEMBERED, Rate};
use super::table::{Remembered, Table};
use super::trail::Seen;
use super::trial::Counted;
use super::{Login, Stage};
use crate::base::{NodeKey, Now};

/// All counters of an engine.
#[derive(Debug)]
pub(super) struct Counters {
    hash_keys: (u64, u64),
    /// The first use. From then on time goes as fast as the clock that never goes back, in nanoseconds of Unix time, so that what is
    /// kept over a restart has its place.
    epoch: Option<Now>,
    rates: Rates,
    budgets: Budgets,
    /// The last number that each key called, of rules about sequential numbers.
    last_called: Table<LastCalled>,
    gauges: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    gauge_capacity: usize,
    /// Since the last [`Self::save`].
    pub has_changed: bool,
    /// What the request that is asked about now has added to rates.
    charged: SmallVec<[Charged; 4]>,
}

/// One more at a key's rate, then.
#[derive(Clone, Copy, Debug)]
struct Charged {
    key: u64,
    rate: Rate,
    at: u64,
}

/// A number as digits, and when it was called.
#[derive(Clone, Copy, Debug, Default)]
struct LastCalled {
    number: u64,
    at: u64,
}

impl Remembered for LastCalled {
    fn idle_at(&self) -> u64 {
        self.at
    }
}

/// What one call holds of one rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Held {
    /// One of `calls_at_once`.
    Gauge(u64),
    /// It is counted when it turns out to be short.
    IfShort(Box<IfShort>),
    /// What it takes from a budget.
    Budget(Box<Paid>),
    /// What follows is held for the trunk that the call goes to, and given back if it goes to another one. `priced`: by a rate deck
    /// of `routes`.
    ForTrunk { priced: bool },
    /// What it has relayed so far, of a budget of bytes.
    Bytes(Box<Carried>),
}

/// At which rate's key a call is counted that is shorter than this.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct IfShort {
    key: u64,
    rate: Rate,
    under: Duration,
}

pub(super) type Holds = SmallVec<[Held; 2]>;

impl Counters {
    pub fn new(capacity: Capacity, key: &NodeKey) -> Self {
        let bytes = key.mac("policy counters", &[]);
        Counters {
            hash_keys: (bytes as u64, (bytes >> 64) as u64),
            epoch: None,
            rates: Rates::new(capacity.keys, capacity.windows),
            budgets: Budgets::new(capacity.budgets),
            last_called: Table::new(capacity.last_called),
            gauges: HashMap::default(),
            gauge_capacity: capacity.gauges,
            has_changed: false,
            charged: SmallVec::new(),
        }
    }

    /// Another request is asked about.
    pub fn begin(&mut self) {
        self.charged.clear();
    }

    /// It does not count after all.
    pub fn take_back(&mut self) {
        for Charged { key, rate, at } in self.charged.drain(..) {
            self.rates.take_back(key, rate, at);
        }
    }

    /// True if a limit of `count` is exceeded, and then nothing is counted: who is refused does not make it last. Else
    /// the request counts, and what it holds until its call ends goes to `hold`. `saw` is shown how the limits stand.
    pub fn exceeded(
        &mut self,
        rule: u64,
        count: &Count,
        asked: &Asked<'_>,
        hold: &mut Holds,
        now: Now,
        mut saw: impl FnMut(Seen),
    ) -> bool {
        let counting = || (0..).zip(&count.limits).filter(|(_, limit)| limit.counts(asked));
        let key = self.key(rule, count.per, asked).filter(|_| counting().next().is_some());
        let Some(key) = key else {
            saw(Seen::Uncounted);
            return false;
        };
        let at = self.moment(now);
        let call = Counting { rule, deck: count.deck.as_deref(), asked, at };
        // The same limits hold for who is asked for a password, but he does not use up what he may do with it.
        let is_apart = |limit: &Limit| {
            asked.facts.login == Login::Asked && matches!(limit, Limit::NewCalls(_) | Limit::Requests(_))
        };
        let key = |limit: &Limit| if is_apart(limit) { !key } else { key };
        for (index, limit) in counting() {
            let (used, over) = self.stand(limit, key(limit), &call);
            saw(Seen::Limit { limit: index, used, over });
            if over {
                return true;
            }
        }
        for (_, limit) in counting() {
            self.charge(limit, key(limit), &call, hold);
        }
        false
    }

    /// How much of a limit is used, and whether this request would exceed it.
    fn stand(&self, limit: &Limit, key: u64, call: &Counting<'_>) -> (u64, bool) {
        let key = limit.key(key);
        match limit {
            Limit::CallsAtOnce(most) | Limit::AllocationsAtOnce(most) => match self.gauges.get(&key) {
                Some(live) => (u64::from(*live), live >= most),
                None => (0, *most == 0 || self.gauges.len() >= self.gauge_capacity),
            },
            Limit::NewCalls(rate)
            | Limit::NewAllocations(rate)
            | Limit::Requests(rate)
            | Limit::Packets(rate)
            | Limit::FailedLogins(rate)
            | Limit::ShortCalls { rate, .. }
            | Limit::SequentialNumbers(rate) => self.rates.stand(key, *rate, call.at),
            Limit::New(what, rate) => {
                let is_new = call.news(*what, key).is_some_and(|news| !self.rates.is_known(news, call.at));
                let (used, over) = self.rates.stand(key, *rate, call.at);
                (used, is_new && over)
            }
            Limit::Minutes(_) | Limit::Spend(_) => {
                let priced = limit.terms().zip(call.meter(limit));
                let stand =
                    priced.map(|(terms, meter)| self.budgets.stand(key, terms, &meter, call.asked.at));
                stand.unwrap_or_default()
            }
            Limit::Bytes(_) => {
                limit.terms().map(|terms| self.budgets.carried(key, terms, call.asked.at)).unwrap_or_default()
            }
        }
    }

    fn charge(&mut self, limit: &Limit, key: u64, call: &Counting<'_>, hold: &mut Holds) {
        let key = limit.key(key);
        match limit {
            Limit::CallsAtOnce(_) | Limit::AllocationsAtOnce(_) => {
                *self.gauges.entry(key).or_default() += 1;
                hold.push(Held::Gauge(key));
            }
            Limit::NewCalls(rate)
            | Limit::NewAllocations(rate)
            | Limit::Requests(rate)
            | Limit::Packets(rate) => {
                self.count(key, *rate, 1, call.at);
                self.charged.push(Charged { key, rate: *rate, at: call.at });
            }
            // Counted when the login fails.
            Limit::FailedLogins(_) => {}
            Limit::ShortCalls { rate, under } => {
                hold.push(Held::IfShort(Box::new(IfShort { key, rate: *rate, under: *under })));
            }
            Limit::SequentialNumbers(rate) => self.called(key, *rate, call),
            Limit::New(what, rate) => {
                let Some(news) = call.news(*what, key) else { return };
                if !self.rates.is_known(news, call.at) {
                    self.count(key, *rate, 1, call.at);
                }
                self.rates.know(news, call.at.saturating_add(nanos(REMEMBERED)));
            }
            Limit::Minutes(_) | Limit::Spend(_) => {
                if let (Some(terms), Some(meter)) = (limit.terms(), call.meter(limit)) {
                    self.has_changed = true;
                    let paid = self.budgets.pay(call.rule, key, terms, meter, call.asked.at);
                    hold.push(Held::Budget(Box::new(paid)));
                }
            }
            Limit::Bytes(_) => {
                if let Some(terms) = limit.terms() {
                    hold.push(Held::Bytes(Box::new(Carried { rule: call.rule, key, terms, bytes: 0 })));
                }
            }
        }
    }

    /// A number close to the one that was called before counts; the same one again does not.
    fn called(&mut self, key: u64, rate: Rate, call: &Counting<'_>) {
        let Some(number) = call.asked.to.as_deref().and_then(digits) else { return };
        let last = self.last_called.get(key);
        if (1..=NEIGHBOURS).contains(&number.abs_diff(last.number)) {
            self.count(key, rate, 1, call.at);
        }
        self.last_called.set(key, LastCalled { number, at: call.at });
    }

    /// Somebody's credentials were wrong. What is over the limit already does not get deeper into it.
    pub fn login_failed(&mut self, rule: u64, count: &Count, asked: &Asked<'_>, now: Now) {
        let Some(key) = self.key(rule, count.per, asked) else { return };
        let at = self.moment(now);
        for limit in &count.limits {
            let key = limit.key(key);
            if let Limit::FailedLogins(rate) = limit
                && !self.rates.stand(key, *rate, at).1
            {
                self.count(key, *rate, 1, at);
            }
        }
    }

    fn count(&mut self, key: u64, rate: Rate, events: u32, at: u64) {
        self.has_changed = true;
        self.rates.count(key, rate, events, at);
    }

    /// An answered call has lasted so long: its budgets are paid on. Says at which length to come again, if ever, or the
    /// rule whose budget is spent. `must`: whether a rule's budget ends calls.
    pub fn pay_on(
        &mut self,
        holds: &mut Holds,
        talked: Duration,
        must: impl Fn(u64) -> bool,
        now: Now,
    ) -> Result<Option<Duration>, u64> {
        let mut again: Option<Duration> = None;
        for held in holds {
            let Held::Budget(paid) = held else { continue };
            self.has_changed = true;
            let ends = must(paid.rule);
            match self.budgets.pay_on(paid, talked, ends, now.unix) {
                None if ends => return Err(paid.rule),
                // It has no price that could run out.
                None | Some(Duration::MAX) => {}
                Some(length) => again = Some(again.map_or(length, |sooner| sooner.min(length))),
            }
        }
        Ok(again)
    }

    /// What holds this has relayed so many bytes since it began. The rule whose budget is spent, if it `must` be kept to.
    pub fn relayed(
        &mut self,
        holds: &mut Holds,
        bytes: u64,
        must: impl Fn(u64) -> bool,
        now: Now,
    ) -> Result<(), u64> {
        let mut spent = None;
        for held in holds {
            let Held::Bytes(carried) = held else { continue };
            self.has_changed = true;
            let is_spent = self.budgets.carry(carried, bytes, now.unix);
            spent = spent.or(Some(carried.rule).filter(|rule| is_spent && must(*rule)));
        }
        spent.map_or(Ok(()), Err)
    }

    /// A call of an earlier run goes on. Its budgets and rates are counted where they are kept; what finds no room is not held.
    pub fn take_again(&mut self, mut holds: Holds) -> Holds {
        holds.retain(|held| {
            let Held::Gauge(key) = held else { return true };
            let has_room = self.gauges.len() < self.gauge_capacity || self.gauges.contains_key(key);
            if has_room {
                *self.gauges.entry(*key).or_default() += 1;
            }
            has_room
        });
        holds
    }

    /// The call is over, or never was.
    pub fn release(&mut self, holds: Holds, answered_for: Duration, now: Now) {
        let at = self.moment(now);
        for held in holds {
            match held {
                Held::Gauge(key) => {
                    if let Entry::Occupied(mut live) = self.gauges.entry(key) {
                        match live.get() - 1 {
                            0 => drop(live.remove()),
                            left => *live.get_mut() = left,
                        }
                    }
                }
                Held::IfShort(short) => {
                    let IfShort { key, rate, under } = *short;
                    if !answered_for.is_zero() && answered_for < under {
                        self.count(key, rate, 1, at);
                    }
                }
                Held::Budget(paid) => {
                    self.has_changed = true;
                    self.budgets.settle(&paid, answered_for, now.unix);
                }
                Held::ForTrunk { .. } => {}
                // What was relayed is booked already.
                Held::Bytes(_) => {}
            }
        }
    }

    /// Keys with live calls.
    #[cfg(test)]
    pub fn live_gauges(&self) -> usize {
        self.gauges.len()
    }

    /// For tests in policy files (`given: { calls_at_once: 2 }`): as if that much had been counted before.
    pub fn preset(&mut self, rule: u64, count: &Count, asked: &Asked<'_>, given: &Counted, now: Now) {
        let Some(key) = self.key(rule, count.per, asked) else { return };
        let at = self.moment(now);
        for limit in &count.limits {
            let Some(amount) = given.of(limit) else { continue };
            let key = limit.key(key);
            match limit {
                Limit::CallsAtOnce(_) | Limit::AllocationsAtOnce(_) => {
                    self.gauges.insert(key, u32::try_from(amount).unwrap_or(u32::MAX));
                }
                _ => {
                    if let Some(rate) = limit.rate() {
                        self.count(key, rate, u32::try_from(amount).unwrap_or(u32::MAX), at);
                    }
                    if let Some(terms) = limit.terms() {
                        self.budgets.preset(key, terms, amount, now.unix);
                    }
                }
            }
        }
    }

    /// What must survive a restart: budgets, and rates that are not forgotten at once.
    pub fn save(&mut self, now: Now) -> SavedCounters {
        self.has_changed = false;
        let at = self.moment(now);
        SavedCounters { budgets: self.budgets.save(now.unix), rates: self.rates.save(at) }
    }

    /// Goes on where an earlier run stopped.
    pub fn restore(&mut self, saved: SavedCounters, now: Now) {
        let at = self.moment(now);
        self.budgets.restore(saved.budgets);
        self.rates.restore(saved.rates, at);
    }

    /// Goes on with what others under the same key have counted, and live calls hold.
    pub fn take_over(&mut self, other: Counters) {
        self.epoch = other.epoch;
        self.gauges = other.gauges;
        self.rates.take_over(other.rates);
        self.budgets.take_over(other.budgets);
        self.last_called.take_over(other.last_called);
        self.has_changed = true;
    }

    /// What a rule is known by, whatever stands before it in its file.
    pub fn identity(&self, name: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.hash_keys.0, self.hash_keys.1);
        hasher.write(name.as_bytes());
        hasher.finish()
    }

    /// Whom the rule counts; none: it does not count this request.
    fn key(&self, rule: u64, per: Per, asked: &Asked<'_>) -> Option<u64> {
        let mut hasher = SipHasher13::new_with_keys(self.hash_keys.0, self.hash_keys.1);
        hasher.write_u64(rule);
        match (per, asked.user.as_deref()) {
            (Per::User, Some(user)) => {
                hasher.write_u8(1);
                hasher.write(user.as_bytes());
            }
            (Per::Source, _) | (Per::User, None) => write_address(&mut hasher, asked.source, 32),
            (Per::SourceNetwork, _) => write_address(&mut hasher, asked.source, 24),
            (Per::From, _) => hasher.write(asked.from.as_deref()?.as_bytes()),
            (Per::Trunk, _) => hasher.write_u16(asked.facts.trunk_in_question()?.0),
            (Per::DestinationPrefix, _) => hasher.write(destination_prefix(asked.to.as_deref()?).as_bytes()),
            (Per::Country, _) => hasher.write(&Country::of_number(asked.to.as_deref()?)?.0),
            (Per::All, _) => {}
        }
        Some(hasher.finish())
    }

    fn moment(&mut self, now: Now) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        nanos(epoch.unix.0 + now.instant.saturating_duration_since(epoch.instant))
    }
}

impl Limit {
    /// True if this limit counts such a request: calls begin with an INVITE, packets before parsing. Who may relay no more
    /// may not keep an allocation either.
    fn counts(&self, asked: &Asked<'_>) -> bool {
        let (stage, method) = (asked.facts.stage, asked.facts.method);
        self.counts_at(stage)
            && match self {
                Limit::Requests(_) | Limit::Packets(_) | Limit::FailedLogins(_) => true,
                Limit::New(New::Source | New::SourceCountry, _) => true,
                Limit::Bytes(_) if stage == Stage::Relay => {
                    matches!(method, relay::ALLOCATE | relay::REFRESH)
                }
                Limit::AllocationsAtOnce(_) | Limit::NewAllocations(_) => method == relay::ALLOCATE,
                _ => method == "INVITE",
            }
    }

    /// True if it can count anything at this stage.
    pub(super) fn counts_at(&self, stage: Stage) -> bool {
        match self {
            Limit::Packets(_) => stage == Stage::Packets,
            Limit::Requests(_) => !matches!(stage, Stage::Packets | Stage::InCall),
            Limit::FailedLogins(_) => !matches!(stage, Stage::Packets | Stage::Relay),
            Limit::New(New::Source | New::SourceCountry, _) => {
                matches!(stage, Stage::Registrations | Stage::Calls | Stage::Relay)
            }
            Limit::AllocationsAtOnce(_) | Limit::NewAllocations(_) => stage == Stage::Relay,
            Limit::Bytes(_) => matches!(stage, Stage::Relay | Stage::Calls),
            _ => matches!(stage, Stage::Calls | Stage::Routes),
        }
    }

    /// Of a rate: it.
    pub(super) fn rate(&self) -> Option<Rate> {
        match self {
            Limit::NewCalls(rate)
            | Limit::NewAllocations(rate)
            | Limit::Requests(rate)
            | Limit::Packets(rate)
            | Limit::FailedLogins(rate)
            | Limit::ShortCalls { rate, .. }
            | Limit::SequentialNumbers(rate)
            | Limit::New(_, rate) => Some(*rate),
            _ => None,
        }
    }

    /// Of a budget: what it allows.
    fn terms(&self) -> Option<Terms> {
        match self {
            Limit::Minutes(budget) => {
                let limit = u64::try_from(budget.talk.as_millis()).unwrap_or(u64::MAX);
                Some(Terms { limit, per: budget.per })
            }
            Limit::Spend(allowance) => Some(Terms { limit: allowance.money.0, per: allowance.per }),
            Limit::Bytes(volume) => Some(Terms { limit: volume.bytes, per: volume.per }),
            _ => None,
        }
    }

    /// Limits of one rule share its key, and must not share a counter.
    fn key(&self, of_rule: u64) -> u64 {
        let kind: u64 = match self {
            Limit::CallsAtOnce(_) => 1,
            Limit::NewCalls(_) => 2,
            Limit::Requests(_) => 3,
            Limit::Packets(_) => 4,
            Limit::FailedLogins(_) => 5,
            Limit::Minutes(_) => 6,
            Limit::Spend(_) => 7,
            Limit::ShortCalls { .. } => 8,
            Limit::SequentialNumbers(_) => 9,
            Limit::New(New::Country, _) => 10,
            Limit::New(New::SourceCountry, _) => 11,
            Limit::New(New::Source, _) => 12,
            Limit::AllocationsAtOnce(_) => 13,
            Limit::NewAllocations(_) => 14,
            Limit::Bytes(_) => 15,
        };
        // What was spent in a window of another length, before a restart, says nothing of this one.
        let window = self.terms().map_or(0, |terms| terms.per.as_secs());
        of_rule ^ kind.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ window.wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }
}

/// A request that a rule counts.
struct Counting<'c> {
    rule: u64,
    deck: Option<&'c Deck>,
    asked: &'c Asked<'c>,
    /// In nanoseconds since the first use.
    at: u64,
}

impl Counting<'_> {
    /// How a budget counts this call; none: it costs nothing.
    fn meter(&self, limit: &Limit) -> Option<Meter> {
        match limit {
            Limit::Spend(_) => self.deck?.price(self.asked.to.as_deref()?).map(Meter::Money),
            _ => Some(Meter::Talk),
        }
    }

    /// Where it is remembered that this key has had what the request comes with.
    fn news(&self, what: New, key: u64) -> Option<u64> {
        let mut hasher = SipHasher13::new_with_keys(key, self.rule);
        match what {
            New::Country => hasher.write(&Country::of_number(self.asked.to.as_deref()?)?.0),
            New::SourceCountry => hasher.write(&self.asked.source_country?.0),
            New::Source => write_address(&mut hasher, self.asked.source, 24),
        }
        Some(hasher.finish())
    }
}

/// Digits of a called number that name its country and network.
const DESTINATION_DIGITS: usize = 5;

fn destination_prefix(number: &str) -> &str {
    let digits = DESTINATION_DIGITS + usize::from(number.starts_with('+'));
    number.get(..digits).unwrap_or(number)
}

/// Numbers that lie no further apart are called in sequence: a dialler may skip one or go down.
const NEIGHBOURS: u64 = 9;

fn digits(number: &str) -> Option<u64> {
    number.strip_prefix('+').unwrap_or(number).parse().ok()
}

/// Counters as they are kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCounters {
    budgets: Vec<SavedBudget>,
    rates: SavedRates,
}

/// An IPv4 address up to `v4_bits`; an IPv6 one up to the /64 that one customer has.
fn write_address(hasher: &mut SipHasher13, address: IpAddr, v4_bits: u32) {
    match address {
        IpAddr::V4(v4) => {
            hasher.write_u8(4);
            hasher.write_u32(v4.to_bits() >> (32 - v4_bits));
        }
        IpAddr::V6(v6) => {
            hasher.write_u8(6);
            hasher.write_u64((v6.to_bits() >> 64) as u64);
        }
    }
}

/// The keys of the gauges are hashes under a secret.
#[derive(Debug, Default)]
pub(super) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
