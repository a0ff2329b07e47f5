//! `numbers:` of a zone.

use super::super::raw;
use super::super::read::At;
use super::Context;
use crate::policy::dial_plan::DialPlan;

/// Six digits are still an extension or a service such as 116117.
const SHORTEST: u16 = 7;

/// Of one zone.
pub(super) fn dial_plan(cx: &mut Context<'_>, numbers: &raw::DialPlan) -> DialPlan {
    let country =
        digits(cx, &numbers.country, "country code", "write it without `+` and zeros, such as `\"49\"`");
    if country.starts_with('0') || country.len() > 3 {
        let what = format!("`{country}` is no country code");
        cx.problems.error(numbers.country.at, what, "write it without `+` and zeros, such as `\"49\"`");
    }
    let prefix = "write what is dialled in front of the number, such as `\"0\"`";
    let national = numbers.national.as_ref().map(|national| digits(cx, national, "prefix", prefix));
    let mut international: Vec<Box<str>> = match &numbers.international {
        Some(prefixes) => prefixes.iter().map(|p| digits(cx, p, "prefix", prefix)).collect(),
        // E.164 recommends 00; the countries of +1 dial 011.
        None if &*country == "1" => vec!["011".into()],
        None => vec!["00".into()],
    };
    // 0011 is no 00 with a number behind it.
    international.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    let area = numbers.area.as_ref().map(|area| match area.value.as_str() {
        "none" => Box::default(),
        _ => {
            digits(cx, area, "area code", "write it without the national prefix, such as `\"30\"`, or `none`")
        }
    });
    let shortest = usize::from(numbers.shortest.unwrap_or(SHORTEST));
    DialPlan { country, national, international, area, shortest }
}

fn digits(cx: &mut Context<'_>, typed: &At<String>, kind: &str, help: &str) -> Box<str> {
    if !typed.value.bytes().all(|b| b.is_ascii_digit()) {
        cx.problems.error(typed.at, format!("`{}` is no {kind}", typed.value), help);
    }
    typed.value.as_str().into()
}
