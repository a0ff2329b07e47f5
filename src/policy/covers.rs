//! Rules that nobody will ever hear, because one above decides whenever they would speak. What is said here is true; that nothing is
//! said proves nothing.

use super::Stage;
use super::matcher::{Condition, Matcher};
use super::settings::Rule;

impl Rule {
    /// True if this rule decides whenever `later`, which stands below it in a policy of these stages, would be asked and hold.
    pub fn silences(&self, later: &Rule, stages: &[Stage]) -> bool {
        let decides = self.count.is_none() && self.answer.verdict.is_some();
        let is_heard = |stage: &&Stage| later.can_speak_at(**stage);
        decides
            && stages.iter().filter(is_heard).all(|stage| self.can_speak_at(*stage))
            && self.when.iter().all(|wide| later.when.iter().any(|narrow| wide.follows_from(narrow)))
    }
}

impl Condition {
    /// True if this holds wherever `other` holds.
    fn follows_from(&self, other: &Condition) -> bool {
        match (self.negated, other.negated) {
            (false, false) => self.matcher.covers(&other.matcher),
            (true, true) => other.matcher.covers(&self.matcher),
            _ => false,
        }
    }
}

impl Matcher {
    /// True if whatever fits `other` fits this.
    fn covers(&self, other: &Matcher) -> bool {
        match (self, other) {
            (wide, Matcher::AnyOf(each)) => each.iter().all(|narrow| wide.covers(narrow)),
            (Matcher::AnyOf(each), narrow) => each.iter().any(|wide| wide.covers(narrow)),
            (Matcher::To(wide), Matcher::To(narrow))
            | (Matcher::From(wide), Matcher::From(narrow))
            | (Matcher::User(wide), Matcher::User(narrow)) => wide.covers(narrow),
            (Matcher::Country(wide), Matcher::Country(narrow))
            | (Matcher::SourceCountry(wide), Matcher::SourceCountry(narrow)) => all_in(wide, narrow),
            (Matcher::Source(wide), Matcher::Source(narrow)) => wide.covers(narrow),
            (Matcher::Peer(wide), Matcher::Peer(narrow)) => wide.covers(narrow),
            (Matcher::Role(wide), Matcher::Role(narrow)) => all_in(wide, narrow),
            (Matcher::Party(wide), Matcher::Party(narrow)) => all_in(wide, narrow),
            (Matcher::Trunk(wide), Matcher::Trunk(narrow)) => all_in(wide, narrow),
            (Matcher::Zone(wide), Matcher::Zone(narrow)) => all_in(wide, narrow),
            (Matcher::Listener(wide), Matcher::Listener(narrow)) => all_in(wide, narrow),
            (Matcher::Agent(wide), Matcher::Agent(narrow)) => all_in(wide, narrow),
            (Matcher::Method(wide), Matcher::Method(narrow)) => all_in(wide, narrow),
            (Matcher::Time(wide), Matcher::Time(narrow)) => all_in(wide, narrow),
            (Matcher::Tls(wide), Matcher::Tls(narrow)) => wide == narrow,
            (Matcher::LongerThan(wide), Matcher::LongerThan(narrow)) => wide <= narrow,
            (Matcher::Feed(subject, id), Matcher::Feed(same, one)) => (subject, id) == (same, one),
            _ => false,
        }
    }
}

fn all_in<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    narrow.iter().all(|item| wide.contains(item))
}
