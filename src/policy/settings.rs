//! What the engine is told: policies with every name resolved. `config::policy` builds it from YAML.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::deck::{Deck, Money};
use super::feed::Feed;
use super::geo::Geo;
use super::matcher::{Condition, Matcher};
use super::{Action, Facts, Login, Stage};

/// All policies, in the order in which they are asked.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In the order of the files.
    pub policies: Vec<Policy>,
    /// Never banned, and never dropped unread: `never_ban` of the config, and the addresses of the PBX and the trunks.
    pub never_ban: Vec<IpNetwork>,
    /// Lists that change while we run, as they stand at the start; each at the index of its id.
    pub feeds: Vec<Feed>,
    /// Where sources are; none: no rule that asks for it holds.
    pub geo: Option<Geo>,
    /// How much is remembered.
    pub capacity: Capacity,
}

/// How much is remembered at most.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Keys of rates that pace, and what is known to each; full: the one idle for longest is forgotten.
    pub keys: usize,
    /// Keys of rates that hold in every interval, likewise.
    pub windows: usize,
    /// Keys of budgets, likewise.
    pub budgets: usize,
    /// Keys whose last called number is remembered, likewise.
    pub last_called: usize,
    /// Keys with live calls; full: whoever would need another is over the limit.
    pub gauges: usize,
    /// Banned sources; full: the ban that ends first is lifted.
    pub bans: usize,
    /// Notes not yet fetched; full: new ones are lost.
    pub notes: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity {
            keys: 1 << 18,
            windows: 1 << 18,
            budgets: 1 << 16,
            last_called: 1 << 16,
            gauges: 200_000,
            bans: 100_000,
            notes: 256,
        }
    }
}

/// One file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `policy:`.
    pub name: Arc<str>,
    /// `mode:`.
    pub mode: Mode,
    /// `applies_to:`.
    pub stages: Vec<Stage>,
    /// `rules:`, in their order.
    pub rules: Vec<Rule>,
    /// `default:`, when no rule speaks.
    pub default: Answer,
    /// `rates:`, which price the calls that it looks at.
    pub deck: Option<Arc<Deck>>,
    /// Of `default:`, or of the name if nothing is said.
    pub place: Place,
}

impl Policy {
    pub(super) fn asks_for_source_country(&self) -> bool {
        let mut conditions = self.rules.iter().flat_map(|rule| &rule.when);
        let mut limits =
            self.rules.iter().filter_map(|rule| rule.count.as_ref()).flat_map(|count| &count.limits);
        conditions.any(|condition| matches!(condition.matcher, Matcher::SourceCountry(_)))
            || limits.any(|limit| matches!(limit, Limit::New(New::SourceCountry, _)))
    }
}

/// Whether a policy's word counts.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    Audit,
    Disabled,
}

/// One rule: speaks if all of `when` holds and, if it counts, its limit is exceeded.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Policy and rule, as in log, metric and CDR: "toll fraud / never premium or satellite".
    pub name: Arc<str>,
    /// `when:`; empty: always.
    pub when: Vec<Condition>,
    /// `count:`.
    pub count: Option<Count>,
    /// `then:`, or `over:` of a rule that counts.
    pub answer: Answer,
    /// As people know it.
    pub written: Written,
}

/// Where something is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, as the config names it.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: usize,
}

/// A rule as it is written, for whoever asks why it spoke or did not.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Where.
    pub place: Place,
    /// For each of [`Rule::when`]: `to: not $home`.
    pub when: Vec<Arc<str>>,
}

/// What a rule says when it speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The decision; none (`alert` alone): the next rule is asked.
    pub verdict: Option<Verdict>,
    /// Ban the source for this long, if it may be banned.
    pub ban: Option<Duration>,
    /// Ban the user for this long, if it is certain that it is he.
    pub ban_user: Option<Duration>,
    /// Tell somebody.
    pub alert: bool,
    /// `hang_up`: the rule's budget ends live calls too; in a call, it ends.
    pub hang_up: bool,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This policy has nothing against it.
    Allow,
    /// No policy is asked any more.
    AllowEverywhere,
    /// No. (`ban` alone is [`Action::Drop`] with [`Answer::ban`].)
    Refuse(Action),
}

impl Verdict {
    /// It asks for a password that was shown, or that this one is not asked for.
    pub(super) fn is_met_by(&self, facts: &Facts<'_>) -> bool {
        matches!(self, Verdict::Refuse(Action::Challenge)) && facts.login != Login::Unasked
    }
}

impl Answer {
    /// `allow`.
    pub const ALLOW: Answer =
        Answer { verdict: Some(Verdict::Allow), ban: None, ban_user: None, alert: false, hang_up: false };

    /// TURN has its own passwords, and has asked for them.
    pub(super) fn asks_for_a_password(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Refuse(Action::Challenge)))
    }

    /// What it does to a request that it refuses.
    pub(super) fn action(&self) -> Option<Action> {
        match &self.verdict {
            Some(Verdict::Refuse(action)) => Some(action.clone()),
            _ => None,
        }
    }

    /// True for what can be said before parsing: everything but an answer in SIP.
    pub(super) fn is_silent(&self) -> bool {
        !matches!(&self.verdict, Some(Verdict::Refuse(Action::Reject { .. } | Action::Challenge)))
    }
}

impl Count {
    /// True if it can count anything at this stage.
    pub(super) fn counts_at(&self, stage: Stage) -> bool {
        let of_calls = [Per::From, Per::Trunk, Per::DestinationPrefix, Per::Country];
        self.limits.iter().any(|limit| limit.counts_at(stage))
            && (stage != Stage::Relay || !of_calls.contains(&self.per))
    }
}

/// `count:`: several limits under one key. The rule speaks if one of them is exceeded.
#[derive(Clone, Debug)]
pub struct Count {
    /// What is counted separately.
    pub per: Per,
    /// Each at most once.
    pub limits: Vec<Limit>,
    /// What `spend` reckons with.
    pub deck: Option<Arc<Deck>>,
}

/// `per:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// One IPv4 address, or an IPv6 /64 (what one customer has).
    Source,
    /// Its /24, or /64.
    SourceNetwork,
    /// The user; of a request without one, its source.
    User,
    /// The number or name in From; a request without one is not counted.
    From,
    /// The trunk; a request that comes from none is not counted.
    Trunk,
    /// The called number up to its fifth digit: country and network.
    DestinationPrefix,
    /// The country of the called number; a call to a number of none is not counted.
    Country,
    /// Everything together.
    All,
}

/// One limit of a `count:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Calls from INVITE to their end.
    CallsAtOnce(u32),
    /// INVITEs that begin a call.
    NewCalls(Rate),
    /// Requests of any method.
    Requests(Rate),
    /// Datagrams and new connections, before parsing.
    Packets(Rate),
    /// Wrong credentials ([`super::Engine::login_failed`]).
    FailedLogins(Rate),
    /// Time that answered calls took.
    Minutes(Budget),
    /// What answered calls cost.
    Spend(Allowance),
    /// Answered calls that ended within `under`.
    ShortCalls {
        /// So many.
        rate: Rate,
        /// Shorter than this.
        under: Duration,
    },
    /// Calls to a number close to the one before.
    SequentialNumbers(Rate),
    /// Calls or registrations with something that this key has not had for [`REMEMBERED`].
    New(New, Rate),
    /// TURN allocations from their beginning to their end.
    AllocationsAtOnce(u32),
    /// TURN allocations that begin.
    NewAllocations(Rate),
    /// Payload that allocations relay, and media that calls do, in both directions.
    Bytes(Volume),
}

/// `5 GB/day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// How many bytes in `per`.
    pub bytes: u64,
    /// The window, which slides.
    pub per: Duration,
}

/// What can be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum New {
    /// `new_countries`: the country of the called number.
    Country,
    /// `new_source_countries`: the country that it comes from.
    SourceCountry,
    /// `new_sources`: where it comes from, by /24 or /64.
    Source,
}

/// What has not been seen for so long is new.
pub const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// `10/min burst 4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// How many in `per`; at least 1.
    pub events: u32,
    /// The interval; longer than zero.
    pub per: Duration,
    /// How many at once; at least 1.
    pub burst: u32,
}

/// `60/day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How much talk in `per`.
    pub talk: Duration,
    /// The window, which slides.
    pub per: Duration,
}

/// `20.00/day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How much in `per`.
    pub money: Money,
    /// The window, which slides.
    pub per: Duration,
}
