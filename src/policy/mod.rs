//! Policies: what is known of a request ([`Facts`]) goes in, a [`Permit`] or a [`Refusal`] comes out. Knows no SIP.
//!
//! | file | story |
//! |---|---|
//! | [`settings`] | policies, rules, answers and limits, names resolved; [`written`]: in the language's words |
//! | [`matcher`] | what a rule looks at; [`number`], [`network`], [`window`]: the sets it looks in |
//! | [`country`], [`geo`] | the country of a number and of an address |
//! | [`dial_plan`] | from a number as it is dialled to E.164 |
//! | [`feed`] | lists that change while we run |
//! | [`deck`] | what a call costs; `prefixes`: how a number finds its price and its country |
//! | [`known`] | facts that are kept; `kept_hold`: what a live call holds, over a restart |
//! | [`hits`] | how often each rule spoke |
//! | [`ban`] | who is banned, since when and why |
//! | `counter` | what rules count; `rate`: how many in an interval; `budget`: minutes and money; `table`: their memory |
//! | `engine` | asks the rules in order; `shared`: for several threads |
//! | `relay` | what TURN asks, and how much it relays |
//! | `covers` | rules that nobody will ever hear |
//! | `trail` | what it looked at, of the last calls; [`explain`] says it in words |
//! | [`replay`] | calls of the past under other rules |
//! | [`alert`] | whom rules tell |
//! | [`trial`] | the tests that stand in policy files |

pub mod alert;
pub mod ban;
mod budget;
mod counter;
pub mod country;
mod covers;
pub mod deck;
pub mod dial_plan;
mod engine;
pub mod explain;
pub mod feed;
pub mod geo;
pub mod hits;
mod kept_hold;
mod known;
pub mod matcher;
pub mod network;
pub mod number;
mod prefixes;
mod rate;
pub mod relay;
pub mod replay;
pub mod settings;
mod shared;
mod table;
mod trail;
pub mod trial;
pub mod window;
pub mod written;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{ListenerId, TrunkId, ZoneId};
pub use alert::{Alert, Spoken};
pub use counter::SavedCounters;
use country::Country;
use deck::{Money, Tariff};
pub use engine::{Engine, Saved};
pub use kept_hold::{SavedHold, Where};
pub use known::Known;
pub use relay::RefusedAtRelay;
pub use settings::{Policy, Settings};
pub use shared::Shared;

/// Where in a request's life a policy speaks.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Packets,
    Registrations,
    Calls,
    Routes,
    Relay,
    InCall,
}

impl Stage {
    const COUNT: usize = Stage::InCall as usize + 1;
}

/// How it stands with a password of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nobody has asked for one; [`Action::Challenge`] would.
    Unasked,
    /// It will be asked for one, if no rule has it dropped; its answer is a request of its own. So this one is counted apart.
    Asked,
    /// It has shown one, or is not of those who are asked.
    Settled,
}

/// What is known of a request when policy is asked. Built by `edge/admit`; borrowed from the message.
#[derive(Clone, Debug)]
pub struct Facts<'f> {
    /// Which rules apply.
    pub stage: Stage,
    /// Real source.
    pub source: IpAddr,
    /// False for UDP before any round trip: such a source is dropped, never banned.
    pub source_proven: bool,
    /// How it stands with a password.
    pub login: Login,
    /// The listener that took it.
    pub listener: ListenerId,
    /// Its zone.
    pub zone: ZoneId,
    /// The trunk it speaks as.
    pub trunk: Option<TrunkId>,
    /// It is the PBX.
    pub from_pbx: bool,
    /// Method.
    pub method: &'f str,
    /// Authenticated or registered user; else the From user.
    pub user: Option<&'f str>,
    /// Number or user of From.
    pub from: Option<&'f str>,
    /// Number or user that is called (Request-URI).
    pub to: Option<&'f str>,
    /// User-Agent.
    pub agent: Option<&'f str>,
    /// It came over TLS or WSS.
    pub tls: bool,
    /// An emergency call of somebody who is admitted: no rule holds it up.
    pub emergency: bool,
    /// In a call: for how long it has been answered.
    pub talked: Option<Duration>,
    /// At `routes`: the trunk that would take it.
    pub trunk_out: Option<TrunkId>,
    /// At `relay`: the TURN role, at its index.
    pub role: Option<u16>,
    /// At `relay`: whom the client wants to reach; none: the question is of the allocation itself.
    pub peer: Option<IpAddr>,
}

impl Facts<'_> {
    /// All that is known before parsing; `listener` and `zone` are none that there is.
    pub fn of_source(stage: Stage, source: IpAddr) -> Self {
        Facts {
            stage,
            source,
            source_proven: false,
            login: Login::Settled,
            listener: ListenerId(u16::MAX),
            zone: ZoneId(u16::MAX),
            trunk: None,
            from_pbx: false,
            method: "",
            user: None,
            from: None,
            to: None,
            agent: None,
            tls: false,
            emergency: false,
            talked: None,
            trunk_out: None,
            role: None,
            peer: None,
        }
    }

    /// A user of ours who has just shown us the password. What else names a user may be a stranger's word: From, the To of a
    /// REGISTER, the address of a registered flow; and of a live call nobody remembers which it was.
    fn proven_user(&self) -> Option<&str> {
        let is_ours = !self.from_pbx && self.trunk.is_none();
        let has_shown = self.login == Login::Settled && !matches!(self.stage, Stage::Routes | Stage::InCall);
        self.user.filter(|_| is_ours && has_shown)
    }

    /// What `trunk` means: at `routes` the one that would take the call, elsewhere the one that it comes from.
    fn trunk_in_question(&self) -> Option<TrunkId> {
        if self.stage == Stage::Routes { self.trunk_out } else { self.trunk }
    }

    /// It is a call that may cost something.
    fn is_priced(&self) -> bool {
        matches!(self.stage, Stage::Calls | Stage::Routes) && self.method == "INVITE"
    }

    /// It begins a call.
    fn is_call(&self) -> bool {
        self.stage == Stage::Calls && self.method == "INVITE"
    }
}

/// Proof that policy was asked and said yes. Only [`Engine::decide`] makes one; `forward()` takes one.
#[derive(Debug)]
pub struct Permit {
    /// Name of the rule that said so, or "default".
    pub rule: Arc<str>,
    /// Gauges (`calls_at_once`) that this call holds until it ends.
    pub gauges: GaugeHold,
    _sealed: Sealed,
}

/// Keeps [`Permit`] from being made outside this module.
#[derive(Debug)]
struct Sealed;

/// What a call holds: given back with [`Engine::release`] when it ends, however it ends.
#[must_use = "a gauge that is not given back refuses the owner's next call"]
#[derive(Debug, Default)]
pub struct GaugeHold {
    enforced: counter::Holds,
    audited: counter::Holds,
    /// For the policies that speak in a call, if there are any.
    known: Option<Box<Known>>,
    /// Of the first policy with a deck that knows one.
    tariff: Option<Tariff>,
    country: Option<Country>,
}

impl GaugeHold {
    /// What the call costs after so long a talk; none: no policy has a price for it.
    pub fn cost(&self, talked: Duration) -> Option<Money> {
        self.tariff.map(|tariff| tariff.cost(talked))
    }

    /// Where the called number is.
    pub fn country(&self) -> Option<Country> {
        self.country
    }
}

/// A live call must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HangUp {
    /// Policy and rule.
    pub rule: Arc<str>,
    /// `alert` was among the answers.
    pub alert: bool,
}

/// The answer that a refusal asks for.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Reject { status: u16, reason: Arc<str> },
    Challenge,
    Drop,
    Ban(Duration),
}

/// Policy said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What to do.
    pub action: Action,
    /// Policy and rule, as in log, metric, CDR: "toll fraud / never premium or satellite".
    pub rule: Arc<str>,
    /// `alert` was among the answers.
    pub alert: bool,
}

/// Something to tell people that changed no outcome: what an audited policy would have done, or a rule that only alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Policy and rule.
    pub rule: Arc<str>,
    /// What a policy in `mode: audit` would have done; none: the rule only alerts.
    pub would: Option<Action>,
    /// `alert` was among the answers.
    pub alert: bool,
}
