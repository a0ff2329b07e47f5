//! What the edge tells the outside: `observe/` turns it into log lines, metrics and CDRs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::unheard::Unheard;
use crate::base::{ClientAddr, ListenerId, UnixTime};
use crate::media::quality::Measured;
use crate::policy::RefusedAtRelay;
use crate::policy::ban::Ban;
use crate::policy::country::Country;
use crate::policy::deck::Money;
use crate::relay::Side;

/// Something worth telling.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request was refused, by policy or by the edge itself.
    Refused(Refused),
    /// A call was answered.
    Answered {
        /// Its Call-ID, escaped for logs by the reader.
        call_id: Arc<str>,
        /// From INVITE to 200.
        setup: Duration,
    },
    /// A call named more media addresses than [`CALL_PEERS_MAX`](super::CALL_PEERS_MAX); TURN clients cannot reach the others.
    /// Told once a call.
    CallPeersFull {
        /// Its Call-ID, escaped for logs by the reader.
        call_id: Arc<str>,
    },
    /// In a call that was answered, one side is not heard. Told once a call and side.
    Unheard {
        /// Its Call-ID, escaped for logs by the reader.
        call_id: Arc<str>,
        /// Which side, and why.
        unheard: Unheard,
    },
    /// A policy ends a live call.
    HungUp {
        /// Its Call-ID, escaped for logs by the reader.
        call_id: Arc<str>,
        /// The rule.
        hang_up: crate::policy::HangUp,
    },
    /// A call ended, however it ended: one CDR.
    CallEnded(Box<Cdr>),
    /// A policy refused a call of somebody who is known; for the CDRs alone, besides [`Event::Refused`].
    CallRefused(Box<Cdr>),
    /// A phone registered through us.
    Registered {
        /// Address of record's user part.
        user: Arc<str>,
        /// Where it is.
        remote: ClientAddr,
        /// For how long.
        expires: Duration,
    },
    /// Its registration ended or its flow closed.
    Unregistered {
        /// Address of record's user part.
        user: Arc<str>,
    },
    /// A target was marked down or up.
    TargetHealth {
        /// URI as configured.
        target: Arc<str>,
        /// Now up.
        up: bool,
    },
    /// A rule or somebody bans a source, a network or a user. Bans of an earlier run are no news.
    Banned(Ban),
    /// A carrier does not take the name and password of its trunk.
    LoginRefused {
        /// The trunk.
        trunk: Arc<str>,
    },
    /// We are registered with a carrier, or no longer.
    TrunkRegistered {
        /// The trunk.
        trunk: Arc<str>,
        /// Now we are.
        registered: bool,
    },
    /// A policy has something to tell that changed no outcome: `mode: audit`, or a rule that only alerts.
    Note(crate::policy::Note),
    /// A rule with `alert` spoke. Told besides whatever else came of it.
    Alert {
        /// What it tells.
        alert: Box<crate::policy::Alert>,
        /// Of which request; escaped for logs by the reader. Empty: of none that was read.
        call_id: Arc<str>,
    },
    /// Bytes that were no message.
    Malformed {
        /// Where they came in.
        listener: ListenerId,
        /// From whom.
        source: IpAddr,
        /// Why.
        reason: &'static str,
    },
    /// A SIP message in or out, for the ladder of `demo` and for `trace`; only made when asked for.
    Message(Box<LadderMessage>),
}

/// A refusal: its name is the same in log, metric, CDR and `explain`.
#[derive(Clone, Debug)]
pub struct Refused {
    /// When.
    pub at: UnixTime,
    /// Rule or reason by name: "toll fraud / never premium or satellite", "no route", "not registered", …
    pub rule: Arc<str>,
    /// Status sent; 0 if dropped in silence.
    pub status: u16,
    /// Who asked.
    pub source: ClientAddr,
    /// Where.
    pub listener: ListenerId,
    /// Method.
    pub method: Arc<str>,
    /// Call-ID.
    pub call_id: Arc<str>,
    /// Called number or user.
    pub to: Arc<str>,
    /// An alert was asked for.
    pub alert: bool,
}

impl From<RefusedAtRelay> for Refused {
    /// Of a TURN request, which has no Call-ID.
    fn from(refused: RefusedAtRelay) -> Refused {
        let RefusedAtRelay { at, rule, status, client, listener, method, user, alert } = refused;
        let (status, source, call_id) = (status.unwrap_or(0), ClientAddr(client), "".into());
        Refused { at, rule, status, source, listener, method, call_id, to: user, alert }
    }
}

/// One call, when it is over.
#[derive(Clone, Debug)]
pub struct Cdr {
    /// INVITE received.
    pub started: UnixTime,
    /// 200 received.
    pub answered: Option<UnixTime>,
    /// Over.
    pub ended: UnixTime,
    /// Call-ID.
    pub call_id: Arc<str>,
    /// Caller, as in From.
    pub from: Arc<str>,
    /// Called, as in the Request-URI.
    pub to: Arc<str>,
    /// Authenticated or registered user.
    pub user: Option<Arc<str>>,
    /// The caller's User-Agent, cut off.
    pub agent: Option<Arc<str>>,
    /// The listener that it came to.
    pub listener: Arc<str>,
    /// Where the caller is.
    pub source: ClientAddr,
    /// Name of the zone, trunk or "pbx" it came from.
    pub from_party: Arc<str>,
    /// Name of the trunk or "pbx" it went to.
    pub to_party: Arc<str>,
    /// Target that took it, URI as configured.
    pub target: Arc<str>,
    /// Route's name.
    pub route: Arc<str>,
    /// Policy rule that permitted it.
    pub rule: Arc<str>,
    /// Policy rule that refused it.
    pub refusal: Option<Arc<str>>,
    /// Policy rule that ended it.
    pub hung_up_by: Option<Arc<str>>,
    /// What it cost, by the rates of the first policy that has a price for it.
    pub spend: Option<Money>,
    /// Where the called number is.
    pub country: Option<Country>,
    /// Final status (200 for an answered call).
    pub status: u16,
    /// Why it ended: "bye from caller", "bye from callee", "cancelled", "rejected", "no media", "session expired",
    /// "lifetime", "hung up by policy", "drained", "time-out", "not restored", "refused".
    pub end: &'static str,
    /// Per stream and side: how much, and how well.
    pub media: Vec<StreamCdr>,
    /// Sides that were not heard, and why.
    pub unheard: Vec<Unheard>,
}

impl Cdr {
    /// How long people talked; zero if nobody answered.
    pub fn talked(&self) -> Duration {
        self.answered.map_or(Duration::ZERO, |answered| self.ended.talked_since(answered))
    }
}

/// What a stream carries, by the name that SDP has for it (RFC 8866 §8.2.2).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaKind {
    Audio,
    Video,
    Image,
    Text,
    Application,
    Message,
    /// No name that is registered.
    #[default]
    Other,
}

impl MediaKind {
    /// As it stands in SDP.
    pub fn of(name: &[u8]) -> MediaKind {
        use MediaKind::*;
        let known = [Audio, Video, Image, Text, Application, Message];
        known.into_iter().find(|kind| kind.name().as_bytes() == name).unwrap_or_default()
    }

    /// As it stands in CDRs.
    pub fn name(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Image => "image",
            MediaKind::Text => "text",
            MediaKind::Application => "application",
            MediaKind::Message => "message",
            MediaKind::Other => "other",
        }
    }
}

/// A stream in the CDR.
#[allow(missing_docs)]
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StreamCdr {
    pub kind: MediaKind,
    /// From the caller.
    pub a: LegCdr,
    /// From the called side.
    pub b: LegCdr,
}

/// What came from one side of a stream.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct LegCdr {
    /// Relayed to the other side, with RTCP and whatever else.
    pub packets: u64,
    /// Their bytes (UDP payload).
    pub bytes: u64,
    /// Dropped: from strangers, or not what was agreed on.
    pub refused: u64,
    /// How well its RTP came.
    pub measured: Measured,
}

impl StreamCdr {
    /// That side of it.
    pub fn leg(&self, side: Side) -> &LegCdr {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// That side of it, to change.
    pub fn leg_mut(&mut self, side: Side) -> &mut LegCdr {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}

/// One message on the ladder.
#[derive(Clone, Debug)]
pub struct LadderMessage {
    /// When.
    pub at: UnixTime,
    /// True: towards us.
    pub received: bool,
    /// The far end.
    pub remote: String,
    /// Our side.
    pub listener: ListenerId,
    /// The message.
    pub bytes: bytes::Bytes,
}
