//! From a number as it is dialled in one place to E.164, the one form in which policies compare numbers.

use std::borrow::Cow;

/// What people and machines in one zone dial in front of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPlan {
    /// Country code: `49`.
    pub country: Box<str>,
    /// In front of a number of the same country: `0`; none: there is no such prefix.
    pub national: Option<Box<str>>,
    /// In front of a country code: `00`, `011`.
    pub international: Vec<Box<str>>,
    /// What a number without any prefix belongs behind: `30`; empty: it is a whole national number; none: it stays.
    pub area: Option<Box<str>>,
    /// Numbers with fewer digits are extensions, emergency numbers and the like, and stay.
    pub shortest: usize,
}

/// E.164 §6.1: country code and all.
const LONGEST: usize = 15;

impl DialPlan {
    /// `number`, as [`super::number::normalise`] gives it, in E.164; as it is if this plan does not say what it is.
    pub fn e164<'n>(&self, number: &'n str) -> Cow<'n, str> {
        let dialled = match number.strip_prefix('+') {
            // No country code begins with 0: `+00882` is somebody's 00882.
            Some(behind) if behind.starts_with('0') => behind,
            Some(_) => return Cow::Borrowed(number),
            None => number,
        };
        self.subscriber(dialled).map_or(Cow::Borrowed(number), Cow::Owned)
    }

    fn subscriber(&self, dialled: &str) -> Option<String> {
        if dialled.len() < self.shortest || !dialled.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let abroad = self.international.iter().find_map(|prefix| dialled.strip_prefix(&**prefix));
        let home = || self.national.as_deref().and_then(|prefix| dialled.strip_prefix(prefix));
        let number = match (abroad, home()) {
            (Some(number), _) => format!("+{number}"),
            (None, Some(number)) => format!("+{}{number}", self.country),
            (None, None) => format!("+{}{}{dialled}", self.country, self.area.as_deref()?),
        };
        let is_number = number.len() <= 1 + LONGEST && !number.starts_with("+0");
        is_number.then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(country: &str, national: Option<&str>, international: &[&str], area: Option<&str>) -> DialPlan {
        DialPlan {
            country: country.into(),
            national: national.map(Into::into),
            international: international.iter().map(|prefix| (*prefix).into()).collect(),
            area: area.map(Into::into),
            shortest: 7,
        }
    }

    #[test]
    fn what_is_dialled_in_one_place_is_one_number_everywhere() {
        let berlin = plan("49", Some("0"), &["00"], Some("30"));
        let office = plan("49", Some("0"), &["00"], None);
        let new_york = plan("1", Some("1"), &["011"], Some(""));
        let rome = plan("39", None, &["00"], Some(""));
        for (plan, dialled, number) in [
            (&berlin, "+493012345", "+493012345"),
            (&berlin, "00493012345", "+493012345"),
            (&berlin, "03012345", "+493012345"),
            (&berlin, "1234567", "+49301234567"),
            (&berlin, "0088216123456", "+88216123456"),
            (&berlin, "+0088216123456", "+88216123456"),
            (&berlin, "112", "112"),
            (&berlin, "201", "201"),
            (&berlin, "116117", "116117"),
            (&berlin, "*98#1234567", "*98#1234567"),
            (&berlin, "alice", "alice"),
            (&berlin, "000123456", "000123456"),
            (&berlin, "00491234567890123456", "00491234567890123456"),
            (&office, "1234567", "1234567"),
            (&new_york, "12125550100", "+12125550100"),
            (&new_york, "2125550100", "+12125550100"),
            (&new_york, "01188216123456", "+88216123456"),
            (&new_york, "911", "911"),
            (&rome, "0669812345", "+390669812345"),
            (&rome, "0088216123456", "+88216123456"),
        ] {
            assert_eq!(plan.e164(dialled), number, "{dialled}");
        }
    }

    proptest! {
        #[test]
        fn what_is_e164_stays_so(dialled in "[+]?[0-9*#a]{0,18}") {
            let berlin = plan("49", Some("0"), &["00"], Some("30"));
            let once = berlin.e164(&dialled);
            prop_assert_eq!(berlin.e164(&once), &*once);
        }
    }
}
