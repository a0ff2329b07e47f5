//! Words of the policy language with a syntax of their own.

use std::time::Duration;

use crate::config::diagnose::Problems;
use crate::config::read::{At, FromWord, Wrong, did_you_mean, words};
use crate::config::words::Rate;
use crate::policy::country::Country;
use crate::policy::deck::Money;
use crate::policy::matcher::Party;
use crate::policy::settings::{self, Allowance, Per, Volume};
use crate::policy::{Action, Stage};

/// `yes` or `no`.
#[derive(Clone, Copy, Debug)]
pub struct YesNo(pub bool);

words!(YesNo, "answer to yes or no", {
    "yes" => YesNo(true), "no" => YesNo(false), "true" => YesNo(true), "false" => YesNo(false),
});

/// One of `applies_to:`.
#[derive(Clone, Copy, Debug)]
pub struct StageWord(pub Stage);

words!(StageWord, "stage", {
    "packets" => StageWord(Stage::Packets),
    "registrations" => StageWord(Stage::Registrations),
    "calls" => StageWord(Stage::Calls),
    "routes" => StageWord(Stage::Routes),
    "relay" => StageWord(Stage::Relay),
    "in_call" => StageWord(Stage::InCall),
});

/// The stages of a policy.
pub fn stages(typed: &[At<StageWord>], problems: &mut Problems) -> Vec<Stage> {
    for (index, stage) in typed.iter().enumerate() {
        if typed.iter().take(index).any(|before| before.value.0 == stage.value.0) {
            problems.error(
                stage.at,
                "this stage stands here twice",
                "remove one: each request is asked once",
            );
        }
    }
    typed.iter().map(|stage| stage.value.0).collect()
}

words!(Party, "party", { "phones" => Party::Phones, "pbx" => Party::Pbx, "trunks" => Party::Trunks });

words!(Per, "key to count by", {
    "source" => Per::Source,
    "source/24" => Per::SourceNetwork,
    "user" => Per::User,
    "from" => Per::From,
    "trunk" => Per::Trunk,
    "destination_prefix" => Per::DestinationPrefix,
    "all" => Per::All,
    "country" => Per::Country,
});

/// `10/min burst 4`; without `burst` all ten may come at once.
#[derive(Clone, Copy, Debug)]
pub struct BurstRate(pub settings::Rate);

impl FromWord for BurstRate {
    fn from_word(text: &str) -> Result<BurstRate, Wrong> {
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst.trim())),
            None => (text, None),
        };
        let Rate { count: events, per } = Rate::from_word(rate.trim())?;
        let burst = match burst {
            Some(burst) => u32::from_word(burst)?,
            None => events,
        };
        if burst == 0 {
            return Err(Wrong::new("a burst of 0 lets nothing through", "write `burst 1` or more"));
        }
        Ok(BurstRate(settings::Rate { events, per, burst }))
    }
}

/// `20.00/day`
#[derive(Clone, Copy, Debug)]
pub struct AllowanceWord(pub Allowance);

impl FromWord for AllowanceWord {
    fn from_word(text: &str) -> Result<AllowanceWord, Wrong> {
        let help = "write so much money in so long, such as `20.00/day`";
        let wrong = || Wrong::new(format!("`{text}` is no budget"), help);
        let (money, per) = text.split_once('/').ok_or_else(wrong)?;
        // The rate of 1 in that window knows how windows are written.
        let Rate { per, .. } = Rate::from_word(&format!("1/{}", per.trim())).map_err(|_| wrong())?;
        Ok(AllowanceWord(Allowance { money: money.trim().parse().map_err(|_| wrong())?, per }))
    }
}

/// `5 GB/day`
#[derive(Clone, Copy, Debug)]
pub struct VolumeWord(pub Volume);

impl FromWord for VolumeWord {
    fn from_word(text: &str) -> Result<VolumeWord, Wrong> {
        let help = "write so many bytes in so long, such as `5 GB/day`";
        let wrong = || Wrong::new(format!("`{text}` is no budget of bytes"), help);
        let (size, per) = text.split_once('/').ok_or_else(wrong)?;
        let SizeWord(bytes) = SizeWord::from_word(size.trim()).map_err(|_| wrong())?;
        let Rate { per, .. } = Rate::from_word(&format!("1/{}", per.trim())).map_err(|_| wrong())?;
        Ok(VolumeWord(Volume { bytes, per }))
    }
}

/// `5 GB`
#[derive(Clone, Copy, Debug)]
pub struct SizeWord(pub u64);

impl FromWord for SizeWord {
    fn from_word(text: &str) -> Result<SizeWord, Wrong> {
        let units =
            [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000), ("B", 1)];
        let bytes = units.iter().find_map(|(unit, bytes)| {
            let count: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            count.checked_mul(*bytes)
        });
        let help = "write a number and one of B, kB, MB, GB, TB, such as `5 GB`";
        bytes.map(SizeWord).ok_or_else(|| Wrong::new(format!("`{text}` is no number of bytes"), help))
    }
}

/// `19.99`, of a test.
#[derive(Clone, Copy, Debug)]
pub struct SpentSoFar(pub Money);

impl FromWord for SpentSoFar {
    fn from_word(text: &str) -> Result<SpentSoFar, Wrong> {
        let wrong = || Wrong::new(format!("`{text}` is no sum of money"), "write it as `19.99`");
        text.parse().map(SpentSoFar).map_err(|_| wrong())
    }
}

/// `20/h under 6s`; without `under`, calls of less than ten seconds are short.
#[derive(Clone, Copy, Debug)]
pub struct ShortCallsWord(pub settings::Rate, pub Duration);

const SHORT: Duration = Duration::from_secs(10);

impl FromWord for ShortCallsWord {
    fn from_word(text: &str) -> Result<ShortCallsWord, Wrong> {
        let (rate, under) = match text.split_once(" under ") {
            Some((rate, under)) => (rate, Duration::from_word(under.trim())?),
            None => (text, SHORT),
        };
        Ok(ShortCallsWord(BurstRate::from_word(rate)?.0, under))
    }
}

/// One answer of `then:`, `over:` or `default:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerWord {
    Allow,
    AllowEverywhere,
    Refuse(Action),
    Ban(Duration),
    BanUser(Duration),
    Alert,
    HangUp,
}

const ANSWERS: [&str; 9] = [
    "allow",
    "allow everywhere",
    "reject 403",
    "challenge",
    "drop",
    "ban 1h",
    "ban user 1h",
    "alert",
    "hang_up",
];

impl FromWord for AnswerWord {
    fn from_word(text: &str) -> Result<AnswerWord, Wrong> {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match (verb, rest.trim()) {
            ("allow", "") => Ok(AnswerWord::Allow),
            ("allow", "everywhere") => Ok(AnswerWord::AllowEverywhere),
            ("reject", what) => reject(what).map(AnswerWord::Refuse),
            ("challenge", "") => Ok(AnswerWord::Refuse(Action::Challenge)),
            ("drop", "") => Ok(AnswerWord::Refuse(Action::Drop)),
            ("ban", "") => Err(Wrong::new("for how long?", "write `ban 1h`")),
            ("ban", "user") => Err(Wrong::new("for how long?", "write `ban user 1h`")),
            ("ban", whom) => match whom.strip_prefix("user ") {
                Some(length) => Duration::from_word(length.trim()).map(AnswerWord::BanUser),
                None => Duration::from_word(whom).map(AnswerWord::Ban),
            },
            ("alert", "") => Ok(AnswerWord::Alert),
            ("hang_up", "") => Ok(AnswerWord::HangUp),
            _ => {
                let help = did_you_mean(text, ANSWERS.into_iter());
                Err(Wrong::new(format!("`{text}` is no answer"), help))
            }
        }
    }
}

/// `403 "Destination not permitted"`; without a reason the one of RFC 3261 §21 stands there.
fn reject(text: &str) -> Result<Action, Wrong> {
    let help = "write a status from 400 to 699 and, if you like, a reason: `reject 403 \"Not permitted\"`";
    let (status, reason) = text.split_once(' ').unwrap_or((text, ""));
    let status: u16 = status
        .parse()
        .ok()
        .filter(|status| (400..700).contains(status))
        .ok_or_else(|| Wrong::new(format!("`{status}` is no status that refuses"), help))?;
    let reason = match reason.trim() {
        "" => usual_reason(status),
        quoted => quoted
            .strip_prefix('"')
            .and_then(|r| r.strip_suffix('"'))
            .filter(|r| !r.contains('"') && !r.contains(char::is_control))
            .ok_or_else(|| {
                Wrong::new("the reason stands in quotes, and between brackets without a comma", help)
            })?,
    };
    Ok(Action::Reject { status, reason: reason.into() })
}

/// What `hang_up` alone says to a call that begins.
pub fn forbidden() -> Action {
    Action::Reject { status: 403, reason: usual_reason(403).into() }
}

fn usual_reason(status: u16) -> &'static str {
    match status {
        403 => "Forbidden",
        404 => "Not Found",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => "Rejected",
    }
}

/// `DE`: a country, or one of the codes for what belongs to none.
pub fn country(text: &str) -> Result<Country, Wrong> {
    Country::from_code(text).ok_or_else(|| {
        let help = "write two letters of ISO 3166, such as `DE` or `GB`; satellite is `XS`, international networks are \
                    `XN`, international premium rate is `XP`";
        Wrong::new(format!("`{text}` is no country"), help)
    })
}
