//! What calls cost: a rate deck, by the longest prefix of the called number.

use std::fmt::{self, Display};
use std::iter::Sum;
use std::ops::Add;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::prefixes::Prefixes;

/// Millionths of whatever currency the deck is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Money(pub u64);

impl Money {
    /// One of the currency: 1.00.
    pub const ONE: Money = Money(1_000_000);

    /// What is left, or nothing.
    pub fn saturating_sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(each: I) -> Money {
        each.fold(Money::default(), Add::add)
    }
}

/// `20`, `20.00`, `0.0085`: digits, and up to six behind the point.
impl FromStr for Money {
    type Err = NoMoney;

    fn from_str(text: &str) -> Result<Money, NoMoney> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(NoMoney);
        }
        let whole: u64 = whole.parse().map_err(|_| NoMoney)?;
        let millionths: u64 = format!("{fraction:0<6}").parse().map_err(|_| NoMoney)?;
        whole.checked_mul(Money::ONE.0).and_then(|m| m.checked_add(millionths)).map(Money).ok_or(NoMoney)
    }
}

/// The text is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMoney;

/// Two digits behind the point, and more where there are more: `0.0085`.
impl Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:06}", self.0 % Money::ONE.0);
        let fraction = fraction.trim_end_matches('0');
        write!(f, "{}.{fraction:0<2}", self.0 / Money::ONE.0)
    }
}

/// What calls to one prefix cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// Price of a minute.
    pub per_minute: Money,
    /// Price of being answered.
    pub connect: Money,
    /// Seconds that are billed at once; 0: none.
    pub first: u32,
    /// Seconds that are billed together after these; at least 1.
    pub next: u32,
}

impl Tariff {
    /// Of a call that was answered for so long; nothing if nobody answered (zero). Started increments are paid in full.
    pub fn cost(&self, talk: Duration) -> Money {
        if talk.is_zero() {
            return Money::default();
        }
        let talk = talk.as_secs() + u64::from(talk.subsec_nanos() > 0);
        let (first, next) = (u64::from(self.first), u64::from(self.next.max(1)));
        let billed = first.saturating_add(talk.saturating_sub(first).div_ceil(next).saturating_mul(next));
        // Carriers round up, and a budget that rounds down is overspent.
        let talk = (u128::from(self.per_minute.0) * u128::from(billed)).div_ceil(60);
        self.connect + Money(u64::try_from(talk).unwrap_or(u64::MAX))
    }

    /// How long a call lasts that costs no more than `money`: the longest talk with such a [`Self::cost`].
    pub fn lasts(&self, money: Money) -> Duration {
        if money < self.connect {
            return Duration::ZERO;
        }
        let for_talk = u128::from(money.saturating_sub(self.connect).0) * 60;
        let Some(billed) = for_talk.checked_div(u128::from(self.per_minute.0)) else { return Duration::MAX };
        let billed = u64::try_from(billed).unwrap_or(u64::MAX);
        let (first, next) = (u64::from(self.first), u64::from(self.next.max(1)));
        let Some(behind_first) = billed.checked_sub(first) else { return Duration::ZERO };
        Duration::from_secs(first + behind_first / next * next)
    }
}

/// No number of a public network is shorter, and no extension longer.
const LONGEST_SHORT_CODE: usize = 6;

/// Prices by prefix.
#[derive(Clone, Debug, Default)]
pub struct Deck {
    tariffs: Prefixes<Tariff>,
    dearest: Option<Tariff>,
}

impl Deck {
    /// Adds a prefix (E.164, with or without `+`); the tariff that it had before is returned.
    pub fn insert(&mut self, prefix: &str, tariff: Tariff) -> Option<Tariff> {
        let price = |tariff: &Tariff| (tariff.per_minute, tariff.connect);
        self.dearest = self.dearest.into_iter().chain([tariff]).max_by_key(price);
        self.tariffs.insert(prefix, tariff)
    }

    /// Of a call to this number (E.164 with `+`), by the longest prefix; none: the deck has no price for it.
    pub fn tariff(&self, number: &str) -> Option<&Tariff> {
        self.tariffs.longest(number)
    }

    /// What a budget must reckon with. A number that the deck does not know costs as much as its dearest: what nobody
    /// has a price for must not be a way around a budget. None for what nobody bills: extensions, short codes, names.
    pub fn price(&self, number: &str) -> Option<Tariff> {
        let digits = number.strip_prefix('+').unwrap_or(number);
        let is_number = digits.len() > LONGEST_SHORT_CODE && digits.bytes().all(|byte| byte.is_ascii_digit());
        if number.starts_with('+') || is_number {
            self.tariff(number).copied().or(self.dearest)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tariff(per_minute: &str, connect: &str, first: u32, next: u32) -> Tariff {
        let money = |text: &str| text.parse().unwrap();
        Tariff { per_minute: money(per_minute), connect: money(connect), first, next }
    }

    #[test]
    fn started_increments_are_paid_in_full() {
        for (tariff, seconds, cost) in [
            (tariff("0.60", "0", 60, 1), 1.0, "0.60"),
            (tariff("0.60", "0", 60, 1), 60.5, "0.61"),
            (tariff("0.60", "0", 60, 60), 61.0, "1.20"),
            (tariff("0.60", "0.05", 1, 1), 30.0, "0.35"),
            (tariff("0.60", "0.05", 30, 6), 31.0, "0.41"),
            (tariff("0.60", "0.05", 30, 6), 0.0, "0.00"),
            (tariff("0.01", "0", 0, 1), 1.0, "0.000167"),
        ] {
            assert_eq!(
                tariff.cost(Duration::from_secs_f64(seconds)).to_string(),
                cost,
                "{seconds} s of {tariff:?}"
            );
        }
    }

    #[test]
    fn what_costs_nothing_lasts() {
        let free = tariff("0", "0.05", 60, 60);
        assert_eq!(free.lasts(Money(49_999)), Duration::ZERO);
        assert_eq!(free.lasts(Money(50_000)), Duration::MAX);
    }

    #[test]
    fn the_longest_prefix_has_the_price() {
        let mut deck = Deck::default();
        deck.insert("49", tariff("0.01", "0", 60, 1));
        deck.insert("+491", tariff("0.10", "0", 60, 1));
        let price = |number| deck.tariff(number).map(|t| t.per_minute.to_string());
        assert_eq!(price("+4930").as_deref(), Some("0.01"));
        assert_eq!(price("+49151").as_deref(), Some("0.10"));
        assert_eq!(price("+4"), None);
        assert_eq!(price("49151"), None);
    }

    #[test]
    fn money_as_typed() {
        for (text, millionths) in
            [("20", 20_000_000), ("20.00", 20_000_000), ("0.0085", 8_500), ("0.000001", 1)]
        {
            assert_eq!(text.parse(), Ok(Money(millionths)));
        }
        for wrong in ["", ".", "1.", ".5", "-1", "1,5", "0.0000001", "99999999999999999999", "20 EUR"] {
            assert_eq!(wrong.parse::<Money>(), Err(NoMoney), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn money_is_read_as_it_is_shown(millionths: u64) {
            prop_assert_eq!(Money(millionths).to_string().parse(), Ok(Money(millionths)));
        }

        #[test]
        fn more_talk_never_costs_less(a in 0u64..10_000, more in 0u64..10_000, first in 0u32..120, next in 1u32..120) {
            let tariff = tariff("0.0731", "0.02", first, next);
            let cost = |ms| tariff.cost(Duration::from_millis(ms * 37));
            prop_assert!(cost(a) <= cost(a + more));
        }

        #[test]
        fn a_call_lasts_until_another_moment_would_cost_more(
            money in 0u64..5_000_000, per_minute in 1u64..900_000, connect in 0u64..90_000, first in 0u32..90, next in 1u32..90,
        ) {
            let (money, per_minute, connect) = (Money(money), Money(per_minute), Money(connect));
            let tariff = Tariff { per_minute, connect, first, next };
            let longest = tariff.lasts(money);
            prop_assert!(longest.is_zero() || tariff.cost(longest) <= money);
            prop_assert!(tariff.cost(longest + Duration::from_millis(1)) > money);
        }
    }
}
