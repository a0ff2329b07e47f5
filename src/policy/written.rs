//! Settings in the words in which policies are written.

use std::fmt;
use std::time::Duration;

use super::deck::Money;
use super::matcher::Party;
use super::settings::{Answer, Limit, New, Rate, Verdict};
use super::{Action, Stage};

/// `90s`, `2h`, `30day`: as policies write it.
pub fn shown(length: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let seconds = length.as_secs();
    let unit = UNITS.into_iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{}ms", length.as_millis()),
        |(name, unit)| format!("{}{name}", seconds / unit),
    )
}

/// Of a rate: `min` for 1 min.
fn window(length: Duration) -> String {
    let text = shown(length);
    match text.strip_prefix('1') {
        Some(unit) if unit.starts_with(|first: char| first.is_ascii_alphabetic()) => unit.to_owned(),
        _ => text,
    }
}

/// `5 GB`: in the largest unit in which it is a whole number.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    let unit = UNITS.into_iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{} {name}", bytes / unit))
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rate { events, per, burst } = self;
        write!(f, "{events}/{}", window(*per))?;
        if burst == events { Ok(()) } else { write!(f, " burst {burst}") }
    }
}

/// As policies write it.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::CallsAtOnce(most) => write!(f, "calls_at_once: {most}"),
            Limit::NewCalls(rate) => write!(f, "new_calls: {rate}"),
            Limit::Requests(rate) => write!(f, "requests: {rate}"),
            Limit::Packets(rate) => write!(f, "packets: {rate}"),
            Limit::FailedLogins(rate) => write!(f, "failed_logins: {rate}"),
            Limit::Minutes(budget) => {
                write!(f, "minutes: {}/{}", budget.talk.as_secs() / 60, window(budget.per))
            }
            Limit::Spend(allowance) => write!(f, "spend: {}/{}", allowance.money, window(allowance.per)),
            Limit::ShortCalls { rate, under } => write!(f, "short_calls: {rate} under {}", shown(*under)),
            Limit::SequentialNumbers(rate) => write!(f, "sequential_numbers: {rate}"),
            Limit::New(New::Country, rate) => write!(f, "new_countries: {rate}"),
            Limit::New(New::SourceCountry, rate) => write!(f, "new_source_countries: {rate}"),
            Limit::New(New::Source, rate) => write!(f, "new_sources: {rate}"),
            Limit::AllocationsAtOnce(most) => write!(f, "allocations_at_once: {most}"),
            Limit::NewAllocations(rate) => write!(f, "new_allocations: {rate}"),
            Limit::Bytes(volume) => write!(f, "bytes: {}/{}", size(volume.bytes), window(volume.per)),
        }
    }
}

impl Limit {
    /// So much of it, in words.
    pub(super) fn amount(&self, used: u64) -> String {
        match self {
            Limit::CallsAtOnce(_) | Limit::AllocationsAtOnce(_) => format!("{used} live"),
            Limit::Bytes(_) => format!("{used} bytes relayed"),
            Limit::Minutes(_) => format!("{}.{:02} min spent", used / 60_000, used % 60_000 / 600),
            Limit::Spend(_) => format!("{} spent", Money(used)),
            _ => format!("{used} counted"),
        }
    }
}

/// As policies write it.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.verdict {
            Some(Verdict::Allow) => Some("allow".to_owned()),
            Some(Verdict::AllowEverywhere) => Some("allow everywhere".to_owned()),
            Some(Verdict::Refuse(Action::Reject { status, reason })) => {
                Some(format!("reject {status} \"{reason}\""))
            }
            Some(Verdict::Refuse(Action::Challenge)) => Some("challenge".to_owned()),
            Some(Verdict::Refuse(Action::Drop | Action::Ban(_))) => Some("drop".to_owned()),
            None => None,
        };
        let ban = self.ban.map(|length| format!("ban {}", shown(length)));
        let ban_user = self.ban_user.map(|length| format!("ban user {}", shown(length)));
        let hang_up = self.hang_up.then(|| "hang_up".to_owned());
        let alert = self.alert.then(|| "alert".to_owned());
        let parts: Vec<_> = [verdict, ban, ban_user, hang_up, alert].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Party::Phones => "phones",
            Party::Pbx => "pbx",
            Party::Trunks => "trunks",
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Packets => "packets",
            Stage::Registrations => "registrations",
            Stage::Calls => "calls",
            Stage::Routes => "routes",
            Stage::Relay => "relay",
            Stage::InCall => "in_call",
        })
    }
}
