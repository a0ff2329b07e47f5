//! `GET /calls`, `GET /calls/CALL-ID`: live calls.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::Context;
use super::answer::{as_json, error, unavailable};
use crate::edge::live::LiveCall;
use crate::observe::rfc3339;
use crate::policy::deck::Money;
use crate::sip::message::escape_for_log;

/// Live calls, the oldest first.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallsReport {
    pub node: String,
    pub calls: Vec<CallReport>,
}

/// One of them. What stands in its record under the same name means the same there.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallReport {
    pub call_id: String,
    pub from: String,
    pub to: String,
    pub from_party: String,
    /// Missing while nobody has been asked to take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_party: Option<String>,
    pub source: SocketAddr,
    pub target: String,
    pub route: String,
    pub rule: String,
    /// RFC 3339, as the next.
    pub started: String,
    /// Missing while it rings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// Seconds, up to now.
    pub talked: u64,
    /// Up to now; missing if no policy has a price for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

pub(super) async fn list(State(context): State<Context>) -> Response {
    match context.node.calls().await {
        Ok(calls) => as_json(StatusCode::OK, &CallsReport::new(&context.name, calls)),
        Err(stopped) => unavailable(stopped),
    }
}

/// More than one, if a call comes back to us under the same Call-ID: through a PBX that is a proxy itself.
pub(super) async fn one(State(context): State<Context>, Path(call_id): Path<String>) -> Response {
    let mut calls = match context.node.calls().await {
        Ok(calls) => calls,
        Err(stopped) => return unavailable(stopped),
    };
    calls.retain(|call| *call.call_id == *call_id);
    if calls.is_empty() {
        let help = "no call of this Call-ID is live: `turnpike why` tells of those that are over";
        return error(StatusCode::NOT_FOUND, help);
    }
    as_json(StatusCode::OK, &CallsReport::new(&context.name, calls))
}

impl CallsReport {
    /// Of the node `name`.
    pub fn new(name: &str, mut calls: Vec<LiveCall>) -> CallsReport {
        calls.sort_by_key(|call| call.started);
        CallsReport { node: name.to_owned(), calls: calls.iter().map(CallReport::from).collect() }
    }
}

impl From<&LiveCall> for CallReport {
    fn from(call: &LiveCall) -> CallReport {
        CallReport {
            call_id: call.call_id.to_string(),
            from: call.from.to_string(),
            to: call.to.to_string(),
            from_party: call.from_party.to_string(),
            to_party: call.to_party.as_ref().map(|party| party.to_string()),
            source: call.source.0,
            target: call.target.to_string(),
            route: call.route.to_string(),
            rule: call.rule.to_string(),
            started: rfc3339(call.started),
            answered: call.answered.map(rfc3339),
            talked: call.talked.as_secs(),
            spend: call.spend.map(|Money(millionths)| millionths as f64 / 1e6),
            country: call.country.map(|country| country.to_string()),
        }
    }
}

/// A table for people.
impl fmt::Display for CallsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.calls.is_empty() {
            return writeln!(f, "no live calls");
        }
        let [from, to, by, since, talked, spend] = ["from", "to", "by way of", "since", "talked", "spend"];
        writeln!(f, "{from:<16} {to:<18} {by:<24} {since:<24} {talked:>8} {spend:>9}  Call-ID")?;
        self.calls.iter().try_for_each(|call| write!(f, "{call}"))
    }
}

/// One row. Strangers may have written anything into their names.
impl fmt::Display for CallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |text: &str| escape_for_log(text.as_bytes()).to_string();
        let (from, to, call_id) = (plain(&self.from), plain(&self.to), plain(&self.call_id));
        let by = format!("{} > {}", self.from_party, self.to_party.as_deref().unwrap_or("?"));
        let talked = match self.answered {
            Some(_) => clock(Duration::from_secs(self.talked)),
            None => "rings".to_owned(),
        };
        let spend = self.spend.map(|spend| format!("{spend:.2}")).unwrap_or_default();
        writeln!(f, "{from:<16} {to:<18} {by:<24} {:<24} {talked:>8} {spend:>9}  {call_id}", self.started)
    }
}

fn clock(talked: Duration) -> String {
    let seconds = talked.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ClientAddr, UnixTime};
    use crate::policy::country::Country;

    #[test]
    fn live_calls_are_told_to_people_and_machines() {
        let at = |seconds: u64| UnixTime(Duration::from_secs(1_790_000_000 + seconds));
        let talking = LiveCall {
            call_id: "a/b@192.0.2.7".into(),
            from: "201".into(),
            to: "+44207".into(),
            source: ClientAddr("192.0.2.7:5061".parse().unwrap()),
            from_party: "phones".into(),
            to_party: Some("acme".into()),
            target: "sip:198.51.100.1".into(),
            route: "out".into(),
            rule: "toll fraud / abroad".into(),
            started: at(5),
            answered: Some(at(9)),
            talked: Duration::from_millis(3_723_900),
            spend: Some(Money(1_240_000)),
            country: Some(Country(*b"GB")),
        };
        let ringing = LiveCall {
            call_id: "c".into(),
            from: "evil\u{1b}[2J".into(),
            started: at(1),
            to_party: None,
            answered: None,
            talked: Duration::ZERO,
            spend: None,
            country: None,
            ..talking.clone()
        };
        let report = CallsReport::new("edge-1", vec![talking, ringing]);
        let json = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<CallsReport>(&json).unwrap(), report);
        insta::assert_snapshot!(format!("{report}\n{json}"));
        let none = CallsReport::new("edge-1", Vec::new());
        assert_eq!(none.to_string(), "no live calls\n");
    }
}
