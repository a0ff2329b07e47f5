//! What a rule looks at (`when:`), one condition per key.

use std::net::IpAddr;
use std::sync::Arc;

use super::country::Country;
use super::feed::{Feed, FeedId, Subject};
use super::geo::Geo;
use super::network::NetworkSet;
use super::number::NumberSet;
use super::window::Window;
use super::{Facts, Stage, number};
use crate::base::{ListenerId, Now, TrunkId, UnixTime, ZoneId};

/// One key of `when:`.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `not`. A fact that is missing is in no list, so `to: not $home` holds for a request that calls nobody.
    pub negated: bool,
    /// What must hold.
    pub matcher: Matcher,
}

/// What can be looked at.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub enum Matcher {
    To(Arc<NumberSet>),
    Country(Arc<[Country]>),
    SourceCountry(Arc<[Country]>),
    From(Arc<NumberSet>),
    User(Arc<NumberSet>),
    Source(Arc<NetworkSet>),
    Party(Vec<Party>),
    Trunk(Vec<TrunkId>),
    Zone(Vec<ZoneId>),
    Listener(Vec<ListenerId>),
    Agent(Arc<[Glob]>),
    Method(Vec<Arc<str>>),
    Tls(bool),
    Time(Vec<Window>),
    /// `longer_than`: the call has been answered for longer.
    LongerThan(std::time::Duration),
    /// The TURN role.
    Role(Vec<u16>),
    /// Whom a TURN client wants to reach.
    Peer(Arc<NetworkSet>),
    /// A list that changes while we run.
    Feed(Subject, FeedId),
    /// One of them: a list of the policy's own and one that changes, under one key.
    AnyOf(Vec<Matcher>),
}

/// Who asks, in the words of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Whoever is neither the PBX nor a trunk.
    Phones,
    /// The PBX.
    Pbx,
    /// Any trunk.
    Trunks,
}

/// The facts in the form in which rules look at them. Made once for a decision.
pub(super) struct Asked<'f> {
    pub facts: &'f Facts<'f>,
    pub source: IpAddr,
    pub to: Option<std::borrow::Cow<'f, str>>,
    pub from: Option<std::borrow::Cow<'f, str>>,
    pub user: Option<std::borrow::Cow<'f, str>>,
    pub at: UnixTime,
    /// Of the source, if a rule asks for it and the database knows.
    pub source_country: Option<Country>,
    /// As they stand now.
    feeds: Arc<[Feed]>,
}

impl<'f> Asked<'f> {
    pub fn new(facts: &'f Facts<'f>, geo: Option<&Geo>, feeds: &Arc<[Feed]>, now: Now) -> Self {
        Asked::at(facts, geo, feeds, now.unix)
    }

    /// The same; rules know no other clock than the wall's.
    pub fn at(facts: &'f Facts<'f>, geo: Option<&Geo>, feeds: &Arc<[Feed]>, at: UnixTime) -> Self {
        let source = facts.source.to_canonical();
        Asked {
            facts,
            source,
            to: facts.to.map(number::normalise),
            from: facts.from.map(number::normalise),
            user: facts.user.map(number::normalise),
            at,
            source_country: geo.and_then(|geo| geo.country(source)),
            feeds: Arc::clone(feeds),
        }
    }

    pub fn party(&self) -> Party {
        match self.facts {
            Facts { from_pbx: true, .. } => Party::Pbx,
            Facts { trunk: Some(_), .. } => Party::Trunks,
            _ => Party::Phones,
        }
    }
}

impl Condition {
    pub(super) fn holds(&self, asked: &Asked<'_>) -> bool {
        // What is said of peers says nothing of the allocation itself, not even turned round.
        (asked.facts.peer.is_some() || !self.matcher.is_of_peers())
            && self.matcher.fits(asked) != self.negated
    }

    /// Before parsing, only the source and the listener are known; how long a call has lasted, only in it.
    pub(super) fn is_known_at(&self, stage: Stage) -> bool {
        self.matcher.is_known_at(stage)
    }
}

impl Matcher {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let in_set = |set: &NumberSet, fact: &Option<_>| fact.as_deref().is_some_and(|n| set.contains(n));
        let facts = asked.facts;
        match self {
            Matcher::To(numbers) => in_set(numbers, &asked.to),
            Matcher::From(numbers) => in_set(numbers, &asked.from),
            Matcher::Country(countries) => {
                asked.to.as_deref().and_then(Country::of_number).is_some_and(|c| countries.contains(&c))
            }
            Matcher::SourceCountry(countries) => asked.source_country.is_some_and(|c| countries.contains(&c)),
            Matcher::User(users) => in_set(users, &asked.user),
            Matcher::Source(networks) => networks.contains(asked.source),
            Matcher::Party(parties) => parties.contains(&asked.party()),
            Matcher::Trunk(trunks) => facts.trunk_in_question().is_some_and(|t| trunks.contains(&t)),
            Matcher::Zone(zones) => zones.contains(&facts.zone),
            Matcher::Listener(listeners) => listeners.contains(&facts.listener),
            Matcher::Agent(globs) => facts.agent.is_some_and(|a| globs.iter().any(|g| g.matches(a))),
            Matcher::Method(methods) => methods.iter().any(|m| **m == *facts.method),
            Matcher::Tls(tls) => facts.tls == *tls,
            Matcher::Time(windows) => windows.iter().any(|w| w.contains(asked.at)),
            Matcher::LongerThan(length) => facts.talked.is_some_and(|talked| talked > *length),
            Matcher::Role(roles) => facts.role.is_some_and(|role| roles.contains(&role)),
            Matcher::Peer(networks) => facts.peer.is_some_and(|peer| networks.contains(peer)),
            Matcher::Feed(subject, feed) => {
                asked.feeds.get(feed.0).is_some_and(|feed| subject.is_in(feed, asked))
            }
            Matcher::AnyOf(matchers) => matchers.iter().any(|matcher| matcher.fits(asked)),
        }
    }

    fn is_of_peers(&self) -> bool {
        match self {
            Matcher::Peer(_) | Matcher::Feed(Subject::Peer, _) => true,
            Matcher::AnyOf(matchers) => matchers.iter().any(Matcher::is_of_peers),
            _ => false,
        }
    }

    fn is_known_at(&self, stage: Stage) -> bool {
        match self {
            Matcher::LongerThan(_) => stage == Stage::InCall,
            Matcher::Role(_) | Matcher::Peer(_) | Matcher::Feed(Subject::Peer, _) => stage == Stage::Relay,
            Matcher::User(_) | Matcher::Method(_) | Matcher::Tls(_) | Matcher::Feed(Subject::User, _) => {
                stage != Stage::Packets
            }
            Matcher::Source(_) | Matcher::SourceCountry(_) | Matcher::Listener(_) | Matcher::Time(_) => true,
            Matcher::Feed(Subject::Source, _) => true,
            Matcher::AnyOf(matchers) => matchers.iter().all(|matcher| matcher.is_known_at(stage)),
            _ => !matches!(stage, Stage::Packets | Stage::Relay),
        }
    }
}

/// A pattern with `*` (anything) and `?` (one character), blind to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[u8]>);

/// No product has a longer name; what comes behind is not looked at.
const LONGEST_AGENT: usize = 256;

impl Glob {
    /// Any text is a pattern.
    pub fn new(pattern: &str) -> Glob {
        Glob(pattern.to_ascii_lowercase().into_bytes().into())
    }

    /// Takes at most pattern × text steps: on a mismatch only the last `*` is tried again.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let text = text.get(..LONGEST_AGENT).unwrap_or(text);
        let (mut p, mut t) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while let Some(byte) = text.get(t) {
            match self.0.get(p) {
                Some(b'*') => {
                    retry = Some((p + 1, t));
                    p += 1;
                }
                Some(wanted) if *wanted == b'?' || *wanted == byte.to_ascii_lowercase() => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((after_star, from)) = retry else { return false };
                    retry = Some((after_star, from + 1));
                    p = after_star;
                    t = from + 1;
                }
            }
        }
        self.0.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("friendly-scanner*", "Friendly-Scanner/1.0", true),
            ("friendly-scanner*", "not a friendly-scanner", false),
            ("*scanner", "friendly-scanner", true),
            ("*ip*li", "sipcli", true),
            ("sip?li", "sipcli", true),
            ("sipcli", "sipcli/v1.8", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), fits, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_hostile_agent_costs_no_more_than_its_length_times_the_patterns() {
        let agent = "a".repeat(64 * 1024);
        assert!(!Glob::new("*a*a*a*a*a*a*a*a*a*a*b").matches(&agent));
    }
}
