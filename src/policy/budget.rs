//! Budgets: minutes and money of a sliding window, paid ahead while a call lasts, so that calls at the same time cannot
//! together take more than there is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deck::Tariff;
use super::table::{Remembered, Table};
use crate::base::UnixTime;

/// How many parts a window has. The oldest leaves it as a whole, so nothing is forgotten before its time; what was spent
/// counts for at most a 23rd of the window longer.
const SLOTS: usize = 24;

/// For how long a call is paid ahead while it lasts: what others may find missing for that long.
const AHEAD: Duration = Duration::from_secs(30);

/// A call that cannot pay on is hung up so long before what it paid for ends: the carrier's clock runs a little longer than
/// ours, from the answer that is still on its way to us to the BYE that is still on its way to it.
const GRACE: Duration = Duration::from_secs(2);

/// How a budget counts a call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Meter {
    /// In milliseconds of talk, by the second.
    Talk,
    /// In millionths of the currency.
    Money(Tariff),
}

impl Meter {
    /// What a call of that length takes from the budget.
    fn cost(&self, talk: Duration) -> u64 {
        match self {
            Meter::Talk => whole_seconds(talk).saturating_mul(1_000),
            Meter::Money(tariff) => tariff.cost(talk).0,
        }
    }

    /// How long a call lasts for that much: at the end of a second or of a price's increment.
    fn lasts(&self, amount: u64) -> Duration {
        match self {
            Meter::Talk => Duration::from_secs(amount / 1_000),
            Meter::Money(tariff) => tariff.lasts(super::deck::Money(amount)),
        }
    }
}

fn whole_seconds(talk: Duration) -> u64 {
    talk.as_secs().saturating_add(u64::from(talk.subsec_nanos() > 0))
}

/// What a call must be able to pay for when it begins: less is not worth answering.
const SHORTEST: Duration = Duration::from_secs(5);

/// What one live call has taken from one budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Paid {
    /// The rule whose budget it is.
    pub rule: u64,
    key: u64,
    terms: Terms,
    meter: Meter,
    booked: u64,
    /// Where the last of it is booked.
    slot: u64,
}

/// What one live allocation, or call, has put on one budget of bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    /// The rule whose budget it is.
    pub rule: u64,
    pub key: u64,
    pub terms: Terms,
    /// So much of it is booked.
    pub bytes: u64,
}

/// A limit of a rule: so much in so long.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Terms {
    /// Milliseconds, millionths or bytes.
    pub limit: u64,
    /// The window.
    pub per: Duration,
}

/// The budgets of all keys.
#[derive(Debug)]
pub(super) struct Budgets {
    table: Table<Spent>,
}

/// What a key spent, by parts of its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Spent {
    /// When the window has moved past all of it, in seconds of Unix time.
    idle_at: u64,
    /// Number of the newest slot since 1970.
    newest: u64,
    /// Slot n stands at n modulo [`SLOTS`].
    slots: [u64; SLOTS],
}

impl Remembered for Spent {
    fn idle_at(&self) -> u64 {
        self.idle_at
    }
}

/// A budget as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBudget {
    key: u64,
    spent: Spent,
}

impl Terms {
    fn slot_length(self) -> u64 {
        self.per.as_secs().div_ceil(SLOTS as u64 - 1).max(1)
    }

    fn slot(self, at: UnixTime) -> u64 {
        at.0.as_secs() / self.slot_length()
    }
}

impl Spent {
    /// Moves the window to `slot`. A clock that was set back moves nothing.
    fn move_to(&mut self, slot: u64) {
        for gone in (self.newest + 1..=slot).rev().take(SLOTS) {
            if let Some(amount) = self.at(gone) {
                *amount = 0;
            }
        }
        self.newest = self.newest.max(slot);
    }

    fn at(&mut self, slot: u64) -> Option<&mut u64> {
        self.slots.get_mut(usize::try_from(slot % SLOTS as u64).unwrap_or(0))
    }

    fn total(&self) -> u64 {
        self.slots.iter().fold(0, |sum, amount| sum.saturating_add(*amount))
    }
}

impl Budgets {
    pub fn new(keys: usize) -> Self {
        Budgets { table: Table::new(keys) }
    }

    fn spent(&self, key: u64, terms: Terms, at: UnixTime) -> Spent {
        let mut spent = self.table.get(key);
        spent.move_to(terms.slot(at));
        spent
    }

    /// Books so much; the slot in which it stands.
    fn book(&mut self, key: u64, terms: Terms, amount: u64, at: UnixTime) -> u64 {
        let mut spent = self.spent(key, terms, at);
        let slot = spent.newest;
        if let Some(here) = spent.at(slot) {
            *here = here.saturating_add(amount);
        }
        spent.idle_at = (slot + SLOTS as u64).saturating_mul(terms.slot_length());
        self.table.set(key, spent);
        slot
    }

    /// What has been spent, and whether so much that not even a short call can be paid.
    pub fn stand(&self, key: u64, terms: Terms, meter: &Meter, at: UnixTime) -> (u64, bool) {
        let used = self.spent(key, terms, at).total();
        (used, used >= terms.limit || used.saturating_add(meter.cost(SHORTEST)) > terms.limit)
    }

    /// A call begins: a short one is paid.
    pub fn pay(&mut self, rule: u64, key: u64, terms: Terms, meter: Meter, at: UnixTime) -> Paid {
        let booked = meter.cost(SHORTEST);
        let slot = self.book(key, terms, booked, at);
        Paid { rule, key, terms, meter, booked, slot }
    }

    /// The call has lasted so long: pays on, and says at which length to come again. None: the budget is spent, and the
    /// call must end now if it `must` keep to it; else it goes on, and what it takes is booked all the same.
    pub fn pay_on(
        &mut self,
        paid: &mut Paid,
        talked: Duration,
        must: bool,
        at: UnixTime,
    ) -> Option<Duration> {
        let near = talked.saturating_add(GRACE);
        if paid.meter.lasts(paid.booked) <= near {
            let wanted = paid.meter.cost(talked.saturating_add(AHEAD));
            let left = paid.terms.limit.saturating_sub(self.spent(paid.key, paid.terms, at).total());
            let most = if must { paid.booked.saturating_add(left).min(wanted) } else { wanted };
            // In whole increments: what buys no time is left to others.
            let booked = paid.meter.cost(paid.meter.lasts(most)).min(most);
            if booked > paid.booked {
                paid.slot = self.book(paid.key, paid.terms, booked - paid.booked, at);
                paid.booked = booked;
            }
        }
        let lasts = paid.meter.lasts(paid.booked);
        // What is free lasts for ever.
        (lasts > near).then(|| if lasts == Duration::MAX { lasts } else { lasts - GRACE })
    }

    /// The call is over; `talked` is zero if nobody answered. What it did not use is given back.
    pub fn settle(&mut self, paid: &Paid, talked: Duration, at: UnixTime) {
        let used = if talked.is_zero() { 0 } else { paid.meter.cost(talked) };
        if used > paid.booked {
            self.book(paid.key, paid.terms, used - paid.booked, at);
            return;
        }
        let mut spent = self.spent(paid.key, paid.terms, at);
        if paid.slot + (SLOTS as u64) > spent.newest
            && let Some(there) = spent.at(paid.slot)
        {
            *there = there.saturating_sub(paid.booked - used);
        }
        self.table.set(paid.key, spent);
    }

    /// How many bytes have been relayed, and whether that is all.
    pub fn carried(&self, key: u64, terms: Terms, at: UnixTime) -> (u64, bool) {
        let used = self.spent(key, terms, at).total();
        (used, used >= terms.limit)
    }

    /// It has relayed so many bytes since it began. True: the budget is spent.
    pub fn carry(&mut self, carried: &mut Carried, bytes: u64, at: UnixTime) -> bool {
        let more = bytes.saturating_sub(carried.bytes);
        if more > 0 {
            self.book(carried.key, carried.terms, more, at);
            carried.bytes = bytes;
        }
        self.carried(carried.key, carried.terms, at).1
    }

    /// As if so much had been spent before.
    pub fn preset(&mut self, key: u64, terms: Terms, amount: u64, at: UnixTime) {
        self.book(key, terms, amount, at);
    }

    /// Whatever has not left its window.
    pub fn save(&self, at: UnixTime) -> Vec<SavedBudget> {
        let live = |(_, spent): &(u64, Spent)| spent.idle_at > at.0.as_secs();
        self.table.iter().filter(live).map(|(key, spent)| SavedBudget { key, spent }).collect()
    }

    /// What an earlier run had saved.
    pub fn restore(&mut self, saved: Vec<SavedBudget>) {
        for SavedBudget { key, spent } in saved {
            self.table.set(key, spent);
        }
    }

    /// Goes on with what was spent from others.
    pub fn take_over(&mut self, other: Budgets) {
        self.table.take_over(other.table);
    }

    /// What has been spent, in milliseconds or millionths.
    #[cfg(test)]
    pub fn used(&self, key: u64, terms: Terms, at: UnixTime) -> u64 {
        self.spent(key, terms, at).total()
    }
}

#[cfg(test)]
mod tests;
