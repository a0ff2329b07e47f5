//! The tests that stand in policy files: a request that is made up, what was counted before it, and who should decide.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use super::country::Country;
use super::deck::Money;
use super::geo::Geo;
use super::settings::{Capacity, Limit, Mode, New, Policy, Settings};
use super::{Action, Engine, Facts, Known, Login, Stage, relay};
use crate::base::{NodeKey, Now, UnixTime};

/// One test.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What comes in.
    pub given: Given,
    /// What was counted before.
    pub counted: Counted,
    /// Who should decide.
    pub expect: Expect,
}

/// `given:`.
#[derive(Clone, Debug)]
pub struct Given {
    /// When it comes.
    pub at: UnixTime,
    /// What is known of it.
    pub known: Known,
    /// As if GeoIP said so of its source.
    pub source_country: Option<Country>,
}

impl Given {
    /// A phone somewhere on the internet.
    pub fn new(stage: Stage, at: UnixTime) -> Given {
        let source = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
        let method = match stage {
            Stage::Registrations => "REGISTER",
            Stage::Relay => relay::ALLOCATE,
            _ => "INVITE",
        };
        let facts = Facts { source_proven: true, method, ..Facts::of_source(stage, source) };
        Given { at, known: Known::from(&facts), source_country: None }
    }
}

/// So much of each had been counted, a moment before, for whoever the request concerns.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub calls_at_once: Option<u32>,
    pub new_calls: Option<u32>,
    pub requests: Option<u32>,
    pub packets: Option<u32>,
    pub failed_logins: Option<u32>,
    pub minutes: Option<u32>,
    pub spend: Option<Money>,
    pub short_calls: Option<u32>,
    pub sequential_numbers: Option<u32>,
    pub new_countries: Option<u32>,
    pub new_source_countries: Option<u32>,
    pub new_sources: Option<u32>,
    pub allocations_at_once: Option<u32>,
    pub new_allocations: Option<u32>,
    pub bytes: Option<u64>,
}

impl Counted {
    /// Of that limit, in its units.
    pub(super) fn of(&self, limit: &Limit) -> Option<u64> {
        let events = match limit {
            Limit::CallsAtOnce(_) => self.calls_at_once,
            Limit::NewCalls(_) => self.new_calls,
            Limit::Requests(_) => self.requests,
            Limit::Packets(_) => self.packets,
            Limit::FailedLogins(_) => self.failed_logins,
            Limit::ShortCalls { .. } => self.short_calls,
            Limit::SequentialNumbers(_) => self.sequential_numbers,
            Limit::New(New::Country, _) => self.new_countries,
            Limit::New(New::SourceCountry, _) => self.new_source_countries,
            Limit::New(New::Source, _) => self.new_sources,
            Limit::AllocationsAtOnce(_) => self.allocations_at_once,
            Limit::NewAllocations(_) => self.new_allocations,
            Limit::Bytes(_) => return self.bytes,
            Limit::Minutes(_) => return self.minutes.map(|minutes| u64::from(minutes) * 60_000),
            Limit::Spend(_) => return self.spend.map(|money| money.0),
        };
        events.map(u64::from)
    }
}

/// `expect:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is permitted, whoever says so.
    Allow,
    /// No rule decides, whatever `default:` then says.
    Default,
    /// This rule decides (its full name, as in [`super::settings::Rule::name`]).
    Rule(Arc<str>),
}

/// A test that failed: what came out instead, in words.
pub type Failure = String;

/// Runs one test against its policy alone, as if `mode: enforce` stood there. The rules that spoke, by name.
///
/// # Errors
/// What came out instead.
pub fn run(policy: &Policy, trial: &Trial, epoch: Instant) -> Result<Vec<Arc<str>>, Failure> {
    let policy = Policy { mode: Mode::Enforce, ..policy.clone() };
    let capacity = Capacity { keys: 1, windows: 1, budgets: 1, last_called: 1, ..Capacity::default() };
    let geo = trial.given.source_country.map(Geo::everywhere);
    let settings =
        Settings { policies: vec![policy.clone()], never_ban: Vec::new(), geo, feeds: Vec::new(), capacity };
    let mut engine = Engine::new(settings, &NodeKey::new([0; 16]));
    let now = Now { instant: epoch, unix: trial.given.at };
    let known = &trial.given.known;
    let is_phone = !known.from_pbx && known.trunk.is_none();
    let has_shown = matches!(known.stage, Stage::InCall | Stage::Routes | Stage::Relay);
    let login = if is_phone && !has_shown { Login::Unasked } else { Login::Settled };
    let facts = Facts { login, ..known.facts() };
    engine.preset(&facts, &trial.counted, now);
    let (rule, outcome) = match engine.decide(&facts, now) {
        Ok(permit) => {
            let rule = Arc::clone(&permit.rule);
            engine.release(permit.gauges, std::time::Duration::ZERO, now);
            (rule, "allowed".to_owned())
        }
        Err(refusal) => (refusal.rule, refusal.action.to_string()),
    };
    let passed = match &trial.expect {
        Expect::Allow => outcome == "allowed",
        Expect::Default => !policy.rules.iter().any(|known| known.name == rule),
        Expect::Rule(expected) => rule == *expected,
    };
    if passed { Ok(engine.spoke()) } else { Err(format!("it was {outcome} by \"{rule}\"")) }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Reject { status, reason } => write!(f, "rejected with {status} {reason}"),
            Action::Challenge => f.write_str("challenged"),
            Action::Drop => f.write_str("dropped"),
            Action::Ban(length) => write!(f, "banned for {} s", length.as_secs()),
        }
    }
}
