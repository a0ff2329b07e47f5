//! Counters behind `count:`: rates, budgets and gauges, each under a key of the rule and of whom it counts.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use super::Stage;
use super::matcher::Asked;
use super::settings::{Capacity, Count, Limit, Per, Rate};
use super::table::{Remembered, Table};
use super::trial::Counted;
use crate::base::{NodeKey, Now};

/// All counters of an engine. Time is in nanoseconds since its first use.
#[derive(Debug)]
pub(super) struct Counters {
    hash_keys: (u64, u64),
    epoch: Option<Instant>,
    rates: Table<Tat>,
    budgets: Table<Spent>,
    gauges: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    gauge_capacity: usize,
}

/// Theoretical arrival time of the generic cell rate algorithm (ITU-T I.371 §A): when the key owes nothing any more.
#[derive(Clone, Copy, Debug, Default)]
struct Tat(u64);

impl Remembered for Tat {
    fn idle_at(&self) -> u64 {
        self.0
    }
}

/// What a key spent in the window that ends at `until`.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    until: u64,
    used: u64,
}

impl Remembered for Spent {
    fn idle_at(&self) -> u64 {
        self.until
    }
}

/// What one call holds of one rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    /// One of `calls_at_once`.
    Gauge(u64),
    /// Its minutes will be booked here, in a window of this many nanoseconds.
    Budget(u64, u64),
}

pub(super) type Holds = SmallVec<[Held; 4]>;

impl Counters {
    pub fn new(capacity: Capacity, key: &NodeKey) -> Self {
        let bytes = key.mac("policy counters", &[]);
        Counters {
            hash_keys: (bytes as u64, (bytes >> 64) as u64),
            epoch: None,
            rates: Table::new(capacity.keys),
            budgets: Table::new(capacity.keys),
            gauges: HashMap::default(),
            gauge_capacity: capacity.gauges,
        }
    }

    /// True if a limit of `count` is exceeded, and then nothing is counted: who is refused does not make it last. Else
    /// the request counts, and what it holds until its call ends goes to `hold`.
    pub fn exceeded(
        &mut self,
        rule: u32,
        count: &Count,
        asked: &Asked<'_>,
        hold: &mut Holds,
        now: Now,
    ) -> bool {
        let Some(key) = self.key(rule, count.per, asked) else { return false };
        let at = self.since_epoch(now);
        let counting = || count.limits.iter().filter(|limit| limit.counts(asked));
        if counting().any(|limit| self.is_over(limit, key, at)) {
            return true;
        }
        for limit in counting() {
            self.charge(limit, key, at, hold);
        }
        false
    }

    fn is_over(&self, limit: &Limit, key: u64, at: u64) -> bool {
        let key = limit.key(key);
        match limit {
            Limit::CallsAtOnce(most) => match self.gauges.get(&key) {
                Some(live) => live >= most,
                None => *most == 0 || self.gauges.len() >= self.gauge_capacity,
            },
            Limit::NewCalls(rate)
            | Limit::Requests(rate)
            | Limit::Packets(rate)
            | Limit::FailedLogins(rate) => self.rates.get(key).0.saturating_sub(at) > rate.tolerance(),
            Limit::Minutes(budget) => {
                let spent = self.budgets.get(key);
                let used = if at < spent.until { spent.used } else { 0 };
                used >= nanos(budget.talk)
            }
        }
    }

    fn charge(&mut self, limit: &Limit, key: u64, at: u64, hold: &mut Holds) {
        let key = limit.key(key);
        match limit {
            Limit::CallsAtOnce(_) => {
                *self.gauges.entry(key).or_default() += 1;
                hold.push(Held::Gauge(key));
            }
            Limit::NewCalls(rate) | Limit::Requests(rate) | Limit::Packets(rate) => {
                self.spend(key, *rate, 1, at);
            }
            // Counted when the login fails, booked when the call ends.
            Limit::FailedLogins(_) => {}
            Limit::Minutes(budget) => hold.push(Held::Budget(key, nanos(budget.per))),
        }
    }

    /// Somebody's credentials were wrong. What is over the limit already does not get deeper into it.
    pub fn login_failed(&mut self, rule: u32, count: &Count, asked: &Asked<'_>, now: Now) {
        let Some(key) = self.key(rule, count.per, asked) else { return };
        let at = self.since_epoch(now);
        for limit in &count.limits {
            if let Limit::FailedLogins(rate) = limit
                && !self.is_over(limit, key, at)
            {
                self.spend(limit.key(key), *rate, 1, at);
            }
        }
    }

    fn spend(&mut self, key: u64, rate: Rate, events: u32, at: u64) {
        let due = self.rates.get(key).0.max(at);
        self.rates.set(key, Tat(due.saturating_add(rate.spacing().saturating_mul(events.into()))));
    }

    /// The call is over, or never was.
    pub fn release(&mut self, holds: Holds, answered_for: Duration, now: Now) {
        let at = self.since_epoch(now);
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
                Held::Budget(_, _) if answered_for.is_zero() => {}
                Held::Budget(key, window) => self.book(key, window, answered_for, at),
            }
        }
    }

    fn book(&mut self, key: u64, window: u64, talk: Duration, at: u64) {
        let spent = match self.budgets.get(key) {
            open if at < open.until => open,
            _ => Spent { until: at.saturating_add(window), used: 0 },
        };
        self.budgets.set(key, Spent { used: spent.used.saturating_add(nanos(talk)), ..spent });
    }

    /// Keys with live calls.
    #[cfg(test)]
    pub fn live_gauges(&self) -> usize {
        self.gauges.len()
    }

    /// For tests in policy files (`given: { calls_at_once: 2 }`): as if that much had been counted before.
    pub fn preset(&mut self, rule: u32, count: &Count, asked: &Asked<'_>, given: &Counted, now: Now) {
        let Some(key) = self.key(rule, count.per, asked) else { return };
        let at = self.since_epoch(now);
        for limit in &count.limits {
            let Some(amount) = given.of(limit) else { continue };
            let key = limit.key(key);
            match limit {
                Limit::CallsAtOnce(_) => drop(self.gauges.insert(key, amount)),
                Limit::NewCalls(rate)
                | Limit::Requests(rate)
                | Limit::Packets(rate)
                | Limit::FailedLogins(rate) => self.spend(key, *rate, amount, at),
                Limit::Minutes(budget) => {
                    let talk = Duration::from_secs(60).saturating_mul(amount);
                    self.book(key, nanos(budget.per), talk, at);
                }
            }
        }
    }

    /// Whom the rule counts; none: it does not count this request.
    fn key(&self, rule: u32, per: Per, asked: &Asked<'_>) -> Option<u64> {
        let mut hasher = SipHasher13::new_with_keys(self.hash_keys.0, self.hash_keys.1);
        hasher.write_u32(rule);
        match (per, asked.user.as_deref()) {
            (Per::User, Some(user)) => {
                hasher.write_u8(1);
                hasher.write(user.as_bytes());
            }
            (Per::Source, _) | (Per::User, None) => write_address(&mut hasher, asked.source, 32),
            (Per::SourceNetwork, _) => write_address(&mut hasher, asked.source, 24),
            (Per::Trunk, _) => hasher.write_u16(asked.facts.trunk?.0),
            (Per::DestinationPrefix, _) => hasher.write(destination_prefix(asked.to.as_deref()?).as_bytes()),
            (Per::All, _) => {}
        }
        Some(hasher.finish())
    }

    fn since_epoch(&mut self, now: Now) -> u64 {
        let epoch = *self.epoch.get_or_insert(now.instant);
        nanos(now.instant.saturating_duration_since(epoch))
    }
}

impl Limit {
    /// True if this limit counts such a request: calls begin with an INVITE, packets before parsing.
    fn counts(&self, asked: &Asked<'_>) -> bool {
        let is_for_calls = matches!(self, Limit::CallsAtOnce(_) | Limit::NewCalls(_) | Limit::Minutes(_));
        self.counts_at(asked.facts.stage) && (!is_for_calls || asked.facts.method == "INVITE")
    }

    /// True if it can count anything at this stage.
    pub(super) fn counts_at(&self, stage: Stage) -> bool {
        match self {
            Limit::CallsAtOnce(_) | Limit::NewCalls(_) | Limit::Minutes(_) => stage == Stage::Calls,
            Limit::Packets(_) => stage == Stage::Packets,
            Limit::Requests(_) | Limit::FailedLogins(_) => stage != Stage::Packets,
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
        };
        of_rule ^ kind.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

impl Rate {
    /// Nanoseconds from one event to the next at the rate.
    fn spacing(&self) -> u64 {
        (nanos(self.per) / u64::from(self.events.max(1))).max(1)
    }

    /// How far ahead of the rate a key may be when one more comes.
    fn tolerance(&self) -> u64 {
        self.spacing().saturating_mul(u64::from(self.burst.saturating_sub(1)))
    }
}

/// Digits of a called number that name its country and network.
const DESTINATION_DIGITS: usize = 5;

fn destination_prefix(number: &str) -> &str {
    let digits = DESTINATION_DIGITS + usize::from(number.starts_with('+'));
    number.get(..digits).unwrap_or(number)
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

/// 584 years fit.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
