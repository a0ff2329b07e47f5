//! Times of the day and week, in a time zone: `mon-fri 20:00-07:00 Europe/Berlin`; and public holidays.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use crate::base::UnixTime;

/// A window of the day on some days. One that ends before it begins goes over midnight, and belongs to the
/// day on which it begins: `fri 22:00-06:00` holds at 05:00 on Saturday.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// By [`jiff::civil::Weekday::to_monday_zero_offset`].
    pub days: [bool; 7],
    /// Whether it holds on these holidays, whatever weekday they are; none: they are days like any other.
    pub holidays: Option<(bool, Arc<Holidays>)>,
    /// First moment.
    pub from: Time,
    /// First moment after it; equal to `from`: the whole day.
    pub to: Time,
    /// Where that clock hangs.
    pub zone: TimeZone,
}

impl Window {
    /// True if the wall clock in the window's zone stands in it. Summer time is the zone's affair.
    pub fn contains(&self, at: UnixTime) -> bool {
        let Ok(seconds) = i64::try_from(at.0.as_secs()) else { return false };
        let Ok(timestamp) = Timestamp::from_second(seconds) else { return false };
        let local = self.zone.to_datetime(timestamp);
        let (day, time) = (local.date(), local.time());
        if self.from < self.to {
            return self.on(day) && self.from <= time && time < self.to;
        }
        let began_yesterday = || day.yesterday().is_ok_and(|yesterday| self.on(yesterday));
        (self.on(day) && self.from <= time) || (time < self.to && began_yesterday())
    }

    fn on(&self, day: Date) -> bool {
        match &self.holidays {
            Some((holds, holidays)) if holidays.contains(day) => *holds,
            _ => {
                let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).ok();
                weekday.and_then(|i| self.days.get(i)).is_some_and(|on| *on)
            }
        }
    }
}

/// Public holidays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holidays {
    once: BTreeSet<Date>,
    /// Month and day.
    yearly: BTreeSet<(i8, i8)>,
}

impl Holidays {
    /// True if `day` is one.
    pub fn contains(&self, day: Date) -> bool {
        self.once.contains(&day) || self.yearly.contains(&(day.month(), day.day()))
    }
}

/// One line of a list of holidays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holiday {
    /// Moves with Easter or the moon.
    Once(Date),
    /// On this month and day.
    Yearly(i8, i8),
}

impl FromIterator<Holiday> for Holidays {
    fn from_iter<I: IntoIterator<Item = Holiday>>(days: I) -> Self {
        let mut holidays = Holidays::default();
        for day in days {
            match day {
                Holiday::Once(date) => holidays.once.insert(date),
                Holiday::Yearly(month, day) => holidays.yearly.insert((month, day)),
            };
        }
        holidays
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};

    fn window(days: [bool; 7], from: Time, to: Time) -> Window {
        Window { days, holidays: None, from, to, zone: TimeZone::get("Europe/Berlin").unwrap() }
    }

    /// 2026-03-02 is a Monday.
    fn berlin(month: i8, day: i8, hour: i8, minute: i8) -> UnixTime {
        let local = date(2026, month, day).at(hour, minute, 0, 0);
        let zoned = local.to_zoned(TimeZone::get("Europe/Berlin").unwrap()).unwrap();
        UnixTime(std::time::Duration::from_secs(zoned.timestamp().as_second().try_into().unwrap()))
    }

    #[test]
    fn over_midnight() {
        let night = window([true; 7], time(20, 0, 0, 0), time(7, 0, 0, 0));
        for (hour, minute, inside) in
            [(19, 59, false), (20, 0, true), (0, 0, true), (6, 59, true), (7, 0, false)]
        {
            assert_eq!(night.contains(berlin(3, 2, hour, minute)), inside, "{hour}:{minute}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let mut days = [false; 7];
        days[4] = true;
        let friday_night = window(days, time(22, 0, 0, 0), time(6, 0, 0, 0));
        assert!(friday_night.contains(berlin(3, 6, 23, 0)));
        assert!(friday_night.contains(berlin(3, 7, 5, 0)), "Saturday morning");
        assert!(!friday_night.contains(berlin(3, 6, 5, 0)), "Friday morning");
        assert!(!friday_night.contains(berlin(3, 7, 23, 0)));
    }

    #[test]
    fn equal_ends_mean_the_whole_day() {
        let weekend = window([false, false, false, false, false, true, true], Time::MIN, Time::MIN);
        assert!(weekend.contains(berlin(3, 7, 0, 0)) && weekend.contains(berlin(3, 8, 23, 59)));
        assert!(!weekend.contains(berlin(3, 9, 0, 0)));
    }

    #[test]
    fn summer_time_is_the_zones_affair() {
        let office = window([true; 7], time(9, 0, 0, 0), time(17, 0, 0, 0));
        for month in [3, 7] {
            assert!(office.contains(berlin(month, 2, 9, 0)) && !office.contains(berlin(month, 2, 8, 59)));
        }
    }

    #[test]
    fn holidays_are_days_of_their_own() {
        let holidays =
            [Holiday::Once(date(2026, 3, 2)), Holiday::Yearly(3, 4)].into_iter().collect::<Holidays>();
        let on = |days, holds| Window {
            holidays: Some((holds, Arc::new(holidays.clone()))),
            ..window(days, time(22, 0, 0, 0), time(6, 0, 0, 0))
        };
        let (workdays, closed) =
            (on([true, true, true, true, true, false, false], false), on([false; 7], true));
        // Monday and Wednesday are holidays.
        for (day, hour, works) in
            [(2, 23, false), (3, 5, false), (3, 23, true), (4, 5, true), (4, 23, false), (5, 5, false)]
        {
            let at = berlin(3, day, hour, 0);
            assert_eq!((workdays.contains(at), closed.contains(at)), (works, !works), "{day}. {hour}:00");
        }
    }
}
