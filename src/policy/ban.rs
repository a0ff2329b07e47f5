//! Bans with who said so, and when: by rules, and by people. DESIGN §6: a ban must not be a weapon, so whoever the config
//! relies on is out of reach of all of them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::network::NetworkSet;
use crate::base::Now;
use crate::base::ban::{self, Banned};

/// A ban as people see it, and as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Who.
    pub banned: Banned,
    /// Policy and rule, or somebody's words.
    pub reason: String,
    /// Since when, in seconds of Unix time.
    pub since: u64,
    /// Until when; missing: until somebody lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Why somebody is not banned; says what to do.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBanned {
    #[error(
        "{0} holds addresses that cannot be banned: those of `never_ban`, of zones with `trust: full`, of the PBX or of a trunk. \
         Ban smaller networks beside them"
    )]
    ReliedOn(Banned),
    #[error(
        "there are {0} bans that only you can end, which is all that fit: lift some with `turnpike ban rm`"
    )]
    Full(usize),
}

/// What became of somebody, for whoever else serves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BanChange {
    /// Somebody or a rule has banned them, until then; `None`: until somebody lifts it.
    Banned(Ban, Option<Instant>),
    /// They are banned still, by an earlier run.
    Restored(Banned, Option<Instant>),
    /// They no longer are.
    Lifted(Banned),
}

/// As in [`Ban`].
#[derive(Debug)]
struct Word {
    reason: Arc<str>,
    since: u64,
    until: Option<u64>,
}

impl Word {
    fn new(reason: &Arc<str>, length: Option<Duration>, now: Now) -> Word {
        // Rounded up: after a restart it lasts no shorter.
        let until = length.map(|length| (now.unix.0 + length + Duration::from_nanos(999_999_999)).as_secs());
        Word { reason: reason.clone(), since: now.unix.0.as_secs(), until }
    }
}

/// All bans.
#[derive(Debug)]
pub struct Bans {
    table: ban::Bans<Word>,
    capacity: usize,
    never: NetworkSet,
    changes: VecDeque<BanChange>,
    has_changed: bool,
}

impl Bans {
    /// Nobody is banned, and those of `never` never are.
    pub fn new(capacity: usize, never: NetworkSet) -> Bans {
        Bans {
            table: ban::Bans::new(capacity),
            capacity,
            never,
            changes: VecDeque::new(),
            has_changed: false,
        }
    }

    /// Whoever the config relies on: neither banned, nor dropped unread.
    pub fn spares(&self, source: IpAddr) -> bool {
        self.never.contains(source)
    }

    /// True while a ban of this source lasts. Asked per packet.
    pub fn holds(&self, source: IpAddr, now: Now) -> bool {
        self.table.holds(source, now.instant)
    }

    /// True while a ban of this user lasts.
    pub fn holds_user(&self, user: &str, now: Now) -> bool {
        self.table.holds_user(user, now.instant)
    }

    /// How many bans last.
    pub fn count(&self, now: Now) -> usize {
        self.table.iter(now.instant).count()
    }

    /// A rule bans for so long. A ban that lasts longer already stays as it is.
    pub(super) fn ban_by_rule(&mut self, banned: Banned, length: Duration, rule: &Arc<str>, now: Now) {
        let Some(until) = now.instant.checked_add(length) else { return };
        let known = self.table.get(&banned, now.instant);
        if known.is_none_or(|known| known.until.is_some_and(|known| known < until)) {
            let word = Word::new(rule, Some(length), now);
            self.changes.push_back(BanChange::Banned(shown(banned.clone(), &word), Some(until)));
            self.set(banned, Some(until), word, now);
        }
    }

    /// Somebody bans; without a length until they lift it. What was said of the same one before holds no longer.
    pub fn ban(
        &mut self,
        banned: Banned,
        length: Option<Duration>,
        reason: &str,
        now: Now,
    ) -> Result<Ban, NotBanned> {
        self.may_ban(&banned)?;
        let until = length.and_then(|length| now.instant.checked_add(length));
        if self.table.is_full() && self.table.get(&banned, now.instant).is_none() {
            return Err(NotBanned::Full(self.capacity));
        }
        let word = Word::new(&reason.into(), length, now);
        let shown = shown(banned.clone(), &word);
        self.changes.push_back(BanChange::Banned(shown.clone(), until));
        self.set(banned, until, word, now);
        Ok(shown)
    }

    fn may_ban(&self, banned: &Banned) -> Result<(), NotBanned> {
        match banned {
            Banned::Network(network) if self.never.overlaps(*network) => {
                Err(NotBanned::ReliedOn(banned.clone()))
            }
            _ => Ok(()),
        }
    }

    fn set(&mut self, banned: Banned, until: Option<Instant>, word: Word, now: Now) {
        self.table.insert(banned, until, word, now.instant);
        self.has_changed = true;
    }

    /// Ends a ban. None: there was none of exactly this one.
    pub fn lift(&mut self, banned: &Banned, now: Now) -> Option<Ban> {
        let known = self.table.get(banned, now.instant)?;
        let lifted = shown(banned.clone(), &known.word);
        self.table.remove(banned);
        self.changes.push_back(BanChange::Lifted(banned.clone()));
        self.has_changed = true;
        Some(lifted)
    }

    /// All that last.
    pub fn list(&self, now: Now) -> Vec<Ban> {
        self.table.iter(now.instant).map(|(banned, ban)| shown(banned, &ban.word)).collect()
    }

    /// The same, if something has changed since this was last asked.
    pub fn save(&mut self, now: Now) -> Option<Vec<Ban>> {
        std::mem::take(&mut self.has_changed).then(|| self.list(now))
    }

    /// Goes on with bans of an earlier run. The time between counts; whom the config relies on by now is free.
    pub fn restore(&mut self, saved: Vec<Ban>, now: Now) {
        for Ban { banned, reason, since, until } in saved {
            let left =
                until.map(|until| Duration::from_secs(until).checked_sub(now.unix.0).unwrap_or_default());
            let ends = left.and_then(|left| now.instant.checked_add(left));
            if self.may_ban(&banned).is_ok() && left.is_none_or(|left| !left.is_zero()) {
                self.changes.push_back(BanChange::Restored(banned.clone(), ends));
                self.set(banned, ends, Word { reason: reason.into(), since, until }, now);
            }
        }
        self.has_changed = false;
    }

    /// What has changed since, for whoever else serves sources and users.
    pub fn poll_change(&mut self) -> Option<BanChange> {
        self.changes.pop_front()
    }
}

fn shown(banned: Banned, word: &Word) -> Ban {
    Ban { banned, reason: word.reason.as_ref().into(), since: word.since, until: word.until }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::UnixTime;

    fn at(seconds: u64) -> Now {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let start = *START.get_or_init(Instant::now);
        let elapsed = Duration::from_secs(seconds);
        Now { instant: start + elapsed, unix: UnixTime(Duration::from_secs(1_800_000_000) + elapsed) }
    }

    fn banned(text: &str) -> Banned {
        text.parse().unwrap()
    }

    fn bans() -> Bans {
        Bans::new(3, ["10.20.0.0/16".parse().unwrap()].into_iter().collect())
    }

    #[test]
    fn whom_the_config_relies_on_is_out_of_reach() {
        let mut bans = bans();
        for relied_on in ["10.20.3.4", "10.20.0.0/16", "10.0.0.0/8", "0.0.0.0/0", "10.20.3.0/24"] {
            let told = bans.ban(banned(relied_on), None, "", at(0));
            assert_eq!(told, Err(NotBanned::ReliedOn(banned(relied_on))), "{relied_on}");
        }
        assert!(bans.ban(banned("10.21.0.0/16"), None, "", at(0)).is_ok());
        let left = Ban { banned: banned("10.20.3.4"), reason: "".into(), since: 1, until: None };
        bans.restore(vec![left], at(0));
        assert!(!bans.holds("10.20.3.4".parse().unwrap(), at(0)), "the config has changed since");
    }

    #[test]
    fn a_rule_does_not_shorten_a_ban_and_a_person_may() {
        let mut bans = bans();
        let rule = Arc::from("scanners / known names");
        let hour = Duration::from_secs(3_600);
        bans.ban_by_rule(banned("192.0.2.1"), hour, &rule, at(0));
        bans.ban_by_rule(banned("192.0.2.1"), hour / 2, &rule, at(10));
        let ends = |bans: &Bans| bans.list(at(10))[0].until;
        assert_eq!(ends(&bans), Some(1_800_003_600));
        bans.ban(banned("192.0.2.1"), Some(hour / 60), "mine", at(10)).unwrap();
        assert_eq!(ends(&bans), Some(1_800_000_070));
        bans.ban(banned("192.0.2.1"), None, "mine", at(10)).unwrap();
        bans.ban_by_rule(banned("192.0.2.1"), hour, &rule, at(10));
        assert_eq!(ends(&bans), None);
    }

    #[test]
    fn bans_are_kept_until_they_end_or_are_lifted() {
        let mut earlier = bans();
        earlier.ban(banned("192.0.2.0/24"), Some(Duration::from_secs(60)), "noise", at(0)).unwrap();
        earlier.ban(banned("user:201"), None, "stolen", at(0)).unwrap();
        earlier.ban(banned("192.0.2.9"), Some(Duration::from_secs(5)), "brief", at(0)).unwrap();
        let saved = earlier.save(at(1)).unwrap();
        assert_eq!(earlier.save(at(1)), None, "nothing new");
        let json = serde_json::to_string(&saved).unwrap();

        let mut later = bans();
        later.restore(serde_json::from_str(&json).unwrap(), at(30));
        assert_eq!(later.list(at(30)).len(), 2);
        assert!(later.holds("192.0.2.7".parse().unwrap(), at(59)) && later.holds_user("201", at(10_000)));
        assert!(!later.holds("192.0.2.7".parse().unwrap(), at(60)));
        let told = std::iter::from_fn(|| later.poll_change()).count();
        assert_eq!(told, 2, "TURN serves them no more either");
        assert_eq!(later.save(at(60)), None, "the file says so already");
        assert_eq!(later.lift(&banned("user:201"), at(60)).unwrap().reason, "stolen");
        assert_eq!(later.poll_change(), Some(BanChange::Lifted(banned("user:201"))));
        assert_eq!(later.save(at(60)), Some(Vec::new()));
        assert_eq!(later.lift(&banned("192.0.2.0/24"), at(60)), None, "over by itself");
    }

    #[test]
    fn full_of_what_only_people_can_end() {
        let mut bans = bans();
        for user in ["user:1", "user:2", "user:3"] {
            bans.ban(banned(user), None, "", at(0)).unwrap();
        }
        for length in [None, Some(Duration::from_secs(60))] {
            assert_eq!(bans.ban(banned("user:4"), length, "", at(0)), Err(NotBanned::Full(3)));
        }
        assert!(bans.ban(banned("user:3"), None, "another reason", at(0)).is_ok());
    }
}
