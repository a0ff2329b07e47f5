//! When: windows of time, holidays, the moment of a test.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::base::UnixTime;
use crate::config::read::Wrong;
use crate::policy::window::{Holiday, Holidays, Window};

/// `20:00-07:00 Europe/Berlin`, `mon-fri 08:00-18:00 UTC`, `sat,sun,holidays Europe/Berlin`. `holidays` are the policy's,
/// if it names any.
pub fn window(text: &str, holidays: Option<&Arc<Holidays>>) -> Result<Window, Wrong> {
    let help = "write days, hours or both, and the zone: `mon-fri 08:00-18:00 Europe/Berlin`";
    let mut window = None;
    let mut days = None;
    let mut zone = None;
    for word in text.split_whitespace() {
        if word.contains(':') && window.is_none() {
            window = Some(hours(word).ok_or_else(|| Wrong::new(format!("`{word}` are no hours"), help))?);
        } else if let Some(named) = self::days(word)
            && days.is_none()
        {
            days = Some(named);
        } else if zone.is_none() {
            zone = Some(time_zone(word)?);
        } else {
            return Err(Wrong::new(format!("`{word}` does not belong here"), help));
        }
    }
    if window.is_none() && days.is_none() {
        return Err(Wrong::new(format!("`{text}` names neither hours nor days"), help));
    }
    let zone = zone.ok_or_else(|| {
        Wrong::new("whose clock?", format!("write the zone behind it: `{text} Europe/Berlin`"))
    })?;
    let (from, to) = window.unwrap_or((Time::MIN, Time::MIN));
    let Days { week, on_holidays } = days.unwrap_or(Days { week: [true; 7], on_holidays: None });
    let holidays = match (on_holidays, holidays) {
        (None, _) => None,
        (Some(holds), Some(holidays)) => Some((holds, Arc::clone(holidays))),
        (Some(_), None) => {
            let help = "add `holidays: [01-01, 2026-04-03, $more]` to the policy";
            return Err(Wrong::new("which days are holidays?", help));
        }
    };
    Ok(Window { days: week, holidays, from, to, zone })
}

/// `20:00-07:00`; 24:00 is midnight.
fn hours(text: &str) -> Option<(Time, Time)> {
    let clock = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let two_digits = |t: &str| t.len() <= 2 && t.bytes().all(|b| b.is_ascii_digit());
        let (true, true) = (two_digits(hour), two_digits(minute) && minute.len() == 2) else { return None };
        match (hour.parse().ok()?, minute.parse().ok()?) {
            (24, 0) => Some(Time::MIN),
            (hour, minute) => Time::new(hour, minute, 0, 0).ok(),
        }
    };
    let (from, to) = text.split_once('-')?;
    Some((clock(from)?, clock(to)?))
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

struct Days {
    week: [bool; 7],
    /// None: holidays are days like any other.
    on_holidays: Option<bool>,
}

/// `mon-fri`, `sat,sun`, `fri-mon`; `holidays`, and `workdays`: `mon-fri` without holidays.
fn days(text: &str) -> Option<Days> {
    let day = |name: &str| DAYS.iter().position(|d| d.eq_ignore_ascii_case(name));
    let mut days = Days { week: [false; 7], on_holidays: None };
    for part in text.split(',') {
        let part = match part {
            "holidays" => {
                days.on_holidays = Some(true);
                continue;
            }
            "workdays" => {
                days.on_holidays = days.on_holidays.or(Some(false));
                "mon-fri"
            }
            named => named,
        };
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + 7 - first) % 7;
        for (i, on) in days.week.iter_mut().enumerate() {
            *on |= (i + 7 - first) % 7 <= length;
        }
    }
    Some(days)
}

/// `2026-04-03`, or `12-25` of each year.
pub fn holiday(text: &str) -> Result<Holiday, Wrong> {
    let yearly = || {
        // A leap year has all days.
        let date: Date = format!("2024-{text}").parse().ok().filter(|_| text.len() == 5)?;
        Some(Holiday::Yearly(date.month(), date.day()))
    };
    let once = || text.parse().ok().filter(|_| text.len() == 10).map(Holiday::Once);
    yearly().or_else(once).ok_or_else(|| {
        Wrong::new(format!("`{text}` is no day"), "write `2026-04-03`, or `12-25` for each year's")
    })
}

fn time_zone(name: &str) -> Result<TimeZone, Wrong> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
        let near = known.iter().min_by_key(|zone| strsim::damerau_levenshtein(zone, name));
        let near = near.filter(|zone| strsim::damerau_levenshtein(zone, name) <= 3);
        let help = match near {
            Some(zone) => format!("did you mean `{zone}`?"),
            None => {
                "write a name of the IANA time zone database, such as `Europe/Berlin` or `UTC`".to_owned()
            }
        };
        Wrong::new(format!("`{name}` is no time zone"), help)
    })
}

/// `2026-03-02 23:00`, in `zone` unless one stands behind it.
pub fn moment(text: &str, zone: &TimeZone) -> Result<UnixTime, Wrong> {
    let wrong = || Wrong::new(format!("`{text}` is no date and time"), "write it as `2026-03-02 23:00`");
    let mut words = text.split_whitespace();
    let (Some(date), Some(time)) = (words.next(), words.next()) else { return Err(wrong()) };
    let zone = match words.next() {
        Some(named) => time_zone(named)?,
        None => zone.clone(),
    };
    let local: DateTime = format!("{date}T{time}").parse().map_err(|_| wrong())?;
    let zoned = local.to_zoned(zone).map_err(|_| wrong())?;
    let seconds = u64::try_from(zoned.timestamp().as_second()).map_err(|_| wrong())?;
    Ok(UnixTime(Duration::from_secs(seconds)))
}
