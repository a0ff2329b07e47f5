//! Times of the day and week, in a time zone: `mon-fri 20:00-07:00 Europe/Berlin`.

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::base::UnixTime;

/// A window of the day on some days of the week. One that ends before it begins goes over midnight, and belongs to the
/// day on which it begins: `fri 22:00-06:00` holds at 05:00 on Saturday.
#[derive(Clone, Debug)]
pub struct Window {
    /// By [`Weekday::to_monday_zero_offset`].
    pub days: [bool; 7],
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
        let (day, time) = (local.date().weekday(), local.time());
        if self.from < self.to {
            return self.on(day) && self.from <= time && time < self.to;
        }
        (self.on(day) && self.from <= time) || (self.on(day.previous()) && time < self.to)
    }

    fn on(&self, day: Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).ok().and_then(|i| self.days.get(i)).is_some_and(|on| *on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};

    fn window(days: [bool; 7], from: Time, to: Time) -> Window {
        Window { days, from, to, zone: TimeZone::get("Europe/Berlin").unwrap() }
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
}
