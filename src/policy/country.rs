//! The country of a number, by the public numbering plans (E.164).

mod plan;

use std::fmt::{self, Display};
use std::sync::LazyLock;

use super::prefixes::Prefixes;

/// ISO 3166-1 alpha-2, in upper case. What belongs to no country has a code of its own from the range that ISO 3166
/// leaves to users (XA to XZ): `XS` satellite, `XN` international networks, `XP` international premium rate, `XF`
/// international freephone and shared cost, `XU` universal personal numbers, `XK` Kosovo as everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Country(pub [u8; 2]);

static PLAN: LazyLock<Prefixes<Country>> = LazyLock::new(|| {
    let mut prefixes = Prefixes::default();
    for (country, of_country) in plan::NUMBERS {
        for prefix in of_country.split(' ') {
            prefixes.insert(prefix, Country(**country));
        }
    }
    prefixes
});

impl Country {
    /// Of a number in E.164 with its `+`. What is none (an extension, 112, a national number) has no country.
    pub fn of_number(number: &str) -> Option<Country> {
        PLAN.longest(number).copied()
    }

    /// From two letters of a country that there is.
    pub fn from_code(code: &str) -> Option<Country> {
        let country = Country(<[u8; 2]>::try_from(code.as_bytes()).ok()?.map(|b| b.to_ascii_uppercase()));
        Country::all().any(|known| known == country).then_some(country)
    }

    /// All that there are.
    pub fn all() -> impl Iterator<Item = Country> {
        let with_numbers = plan::NUMBERS.iter().map(|(country, _)| Country(**country));
        with_numbers.chain(plan::WITHOUT_NUMBERS.iter().map(|country| Country(**country)))
    }
}

impl Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| fmt::Write::write_char(f, char::from(*byte)))
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn country(number: &str) -> String {
        Country::of_number(number).map_or_else(|| "-".to_owned(), |country| country.to_string())
    }

    #[test]
    fn numbers_have_the_country_that_their_plan_says() {
        for (number, expected) in [
            ("+493012345", "DE"),
            ("+12125550100", "US"),
            ("+14165550100", "CA"),
            ("+18765550100", "JM"),
            ("+16585550100", "JM"),
            ("+18095550100", "DO"),
            ("+17875550100", "PR"),
            ("+74951234567", "RU"),
            ("+77271234567", "KZ"),
            ("+442071234567", "GB"),
            ("+441481123456", "GG"),
            ("+441534123456", "JE"),
            ("+441624123456", "IM"),
            ("+447911123456", "GG"),
            ("+447911234567", "GB"),
            ("+390612345678", "IT"),
            ("+390669812345", "VA"),
            ("+4779123456", "SJ"),
            ("+4722123456", "NO"),
            ("+35818123456", "AX"),
            ("+358912345678", "FI"),
            ("+590590123456", "GP"),
            ("+596596123456", "MQ"),
            ("+59994123456", "CW"),
            ("+5997123456", "BQ"),
            ("+262262123456", "RE"),
            ("+262269123456", "YT"),
            ("+212528812345", "EH"),
            ("+61891641234", "CX"),
            ("+61891621234", "CC"),
            ("+870773123456", "XS"),
            ("+881612345678", "XS"),
            ("+8821612345678", "XS"),
            ("+88212345678", "XN"),
            ("+883510012345", "XN"),
            ("+979112345678", "XP"),
            ("+80012345678", "XF"),
            ("+80812345678", "XF"),
            ("+878101234567", "XU"),
            ("+38338123456", "XK"),
            ("+2101234", "-"),
            ("+999", "-"),
            ("112", "-"),
            ("201", "-"),
            ("0301234", "-"),
            ("alice", "-"),
            ("+", "-"),
        ] {
            assert_eq!(country(number), expected, "{number}");
        }
    }

    #[test]
    fn no_prefix_and_no_country_stands_in_the_plan_twice() {
        let mut prefixes = HashSet::new();
        let mut countries = HashSet::new();
        for (country, of_country) in plan::NUMBERS {
            assert!(countries.insert(country), "{:?} twice", Country(**country));
            for prefix in of_country.split(' ') {
                assert!(!prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit()), "{prefix:?}");
                assert!(prefixes.insert(prefix), "{prefix} twice");
            }
        }
        assert!(plan::WITHOUT_NUMBERS.iter().all(|country| countries.insert(country)));
        assert!(countries.iter().all(|country| country.iter().all(u8::is_ascii_uppercase)));
        assert_eq!(Country::from_code("de"), Some(Country(*b"DE")));
        assert_eq!(Country::from_code("UK"), None);
    }
}
