//! From events to alerts: what should wake somebody, in words and as JSON, numbers shown as in the log.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::Sender;

use super::metrics::Metrics;
use super::redact::{Escaped, Redacted};
use super::rfc3339;
use super::settings::Numbers;
use crate::base::UnixTime;
use crate::base::ban::Banned;
use crate::edge::event::Event;
use crate::policy::ban::Ban;
use crate::policy::{self, Action, Spoken, Stage};

/// One alert. The names are an interface: receivers read them.
#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    /// `refused`, `would_refuse`, `hung_up`, `rule`, `banned`, `target_down`, `target_up`, `trunk_down`, `trunk_up`, `login_refused`.
    pub what: &'static str,
    /// The rule, a ban's reason, the trunk or target: what is limited together.
    pub name: String,
    /// When (RFC 3339).
    pub time: String,
    /// For people.
    pub text: String,
    /// What the rule did.
    pub answer: Option<String>,
    /// As in [`policy::Facts`], and likewise the others.
    pub user: Option<String>,
    #[allow(missing_docs)]
    pub source: Option<String>,
    #[allow(missing_docs)]
    pub from: Option<String>,
    #[allow(missing_docs)]
    pub to: Option<String>,
    #[allow(missing_docs)]
    pub method: Option<String>,
    /// As it came, as in the CDR.
    pub call_id: Option<String>,
    /// How often, since this was last told.
    pub count: u64,
}

impl Alert {
    /// One that says no more.
    pub fn of(what: &'static str, name: &str) -> Alert {
        Alert {
            what,
            name: name.to_owned(),
            time: String::new(),
            text: String::new(),
            answer: None,
            user: None,
            source: None,
            from: None,
            to: None,
            method: None,
            call_id: None,
            count: 1,
        }
    }
}

/// Picks alerts out of events and hands them over; never waits.
#[derive(Debug)]
pub(super) struct Alerts {
    numbers: Numbers,
    queue: Sender<Alert>,
    /// Targets and trunks that were said to be down: that they are up again is news.
    down: HashSet<Arc<str>>,
}

impl Alerts {
    pub fn new(numbers: Numbers, queue: Sender<Alert>) -> Alerts {
        Alerts { numbers, queue, down: HashSet::new() }
    }

    pub fn observe(&mut self, event: &Event, at: UnixTime, metrics: &Metrics) {
        let alert = match event {
            Event::Alert { alert, call_id } => Some(self.rule(alert, call_id)),
            Event::TargetHealth { target, up } => {
                let words = if *up { ("target_up", "is up again") } else { ("target_down", "is down") };
                self.health(target, *up, words, at)
            }
            Event::TrunkRegistered { trunk, registered } => {
                let words = if *registered {
                    ("trunk_up", "is registered with the carrier again")
                } else {
                    ("trunk_down", "is not registered with the carrier: it refuses, or does not answer")
                };
                self.health(trunk, *registered, words, at)
            }
            Event::Banned(ban) => Some(self.banned(ban, at)),
            Event::LoginRefused { trunk } => {
                let why = "the carrier refuses our name and password: check `auth` of this trunk";
                Some(plain("login_refused", trunk, why, at))
            }
            _ => None,
        };
        if let Some(alert) = alert
            && let Err(lost) = self.queue.try_send(alert)
        {
            metrics.alerts.dropped.inc_by(lost.into_inner().count);
        }
    }

    fn health(
        &mut self,
        name: &Arc<str>,
        up: bool,
        words: (&'static str, &str),
        at: UnixTime,
    ) -> Option<Alert> {
        let is_news = if up { self.down.remove(name) } else { self.down.insert(name.clone()) };
        is_news.then(|| plain(words.0, name, words.1, at))
    }

    fn rule(&self, alert: &policy::Alert, call_id: &str) -> Alert {
        let policy::Alert { rule, what, at, known, count } = alert;
        let known = known.as_deref();
        let in_call = known.is_some_and(|known| known.stage == Stage::InCall);
        let (what, answer) = match what {
            Spoken::Refused(_) if in_call => ("hung_up", None),
            Spoken::HungUp => ("hung_up", None),
            Spoken::Refused(action) => ("refused", Some(action)),
            Spoken::WouldHave(action) => ("would_refuse", Some(action)),
            Spoken::Alone => ("rule", None),
        };
        let answer = answer.map(Action::to_string);
        let number = |text: &Option<Arc<str>>| text.as_ref().map(|text| self.shown(text));
        let mut alert = Alert {
            what,
            name: rule.to_string(),
            time: rfc3339(*at),
            text: String::new(),
            answer,
            user: known.and_then(|known| number(&known.user)),
            source: known.map(|known| known.source.to_string()),
            from: known.and_then(|known| number(&known.from)),
            to: known.and_then(|known| number(&known.to)),
            method: known.map(|known| Escaped(&known.method).to_string()).filter(|method| !method.is_empty()),
            call_id: (!call_id.is_empty()).then(|| call_id.to_owned()),
            count: *count,
        };
        alert.text = sentence(&alert);
        alert
    }

    fn banned(&self, ban: &Ban, at: UnixTime) -> Alert {
        let (source, user) = match &ban.banned {
            Banned::Network(_) => (Some(ban.banned.to_string()), None),
            Banned::User(name) => (None, Some(self.shown(name))),
        };
        let whom =
            source.clone().or_else(|| user.as_ref().map(|user| format!("user {user}"))).unwrap_or_default();
        let until = match ban.until {
            Some(until) => format!("until {}", rfc3339(UnixTime(Duration::from_secs(until)))),
            None => "until somebody lifts it".to_owned(),
        };
        let reason: Arc<str> = ban.reason.as_str().into();
        Alert { source, user, ..plain("banned", &reason, &format!("{whom} is banned {until}"), at) }
    }

    fn shown(&self, text: &str) -> String {
        Redacted(text, self.numbers).to_string()
    }
}

fn plain(what: &'static str, name: &Arc<str>, why: &str, at: UnixTime) -> Alert {
    Alert { time: rfc3339(at), text: format!("{name}: {why}"), ..Alert::of(what, name) }
}

fn sentence(alert: &Alert) -> String {
    let Alert { what, name, answer, user, source, to, .. } = alert;
    let mut text = match (*what, answer) {
        ("refused", Some(answer)) => format!("{name}: {answer}"),
        ("would_refuse", Some(answer)) => format!("{name} (audit): would have been {answer}"),
        ("hung_up", _) => format!("{name}: a live call was hung up"),
        _ => format!("{name}: look at this"),
    };
    for (word, fact) in [("user", user), ("to", to), ("from source", source)] {
        if let Some(fact) = fact {
            text.push_str(&format!(", {word} {fact}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
