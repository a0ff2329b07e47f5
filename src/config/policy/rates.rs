//! `rates:`: a rate deck, one prefix on each line: `prefix,price per minute,connect fee,increment`.

use super::files::{FileId, Files};
use crate::config::diagnose::Problems;
use crate::config::read::{At, Wrong};
use crate::policy::deck::{Deck, Money, Tariff};

/// The deck in a file; what is wrong with it is told there.
pub fn deck(files: &mut Files, id: FileId) -> Deck {
    let mut deck = Deck::default();
    let lines = files.entries(id);
    let Some(problems) = files.problems(id) else { return deck };
    for (index, line) in lines.iter().enumerate() {
        // A table's first line may say what stands in its columns.
        if index == 0 && !line.value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '"')) {
            continue;
        }
        match row(&line.value) {
            Ok((prefix, tariff)) => add(&mut deck, prefix, tariff, line, problems),
            Err(wrong) => problems.error(line.at, wrong.what, wrong.help),
        }
    }
    deck
}

fn add(deck: &mut Deck, prefix: &str, tariff: Tariff, line: &At<String>, problems: &mut Problems) {
    if let Some(before) = deck.insert(prefix, tariff)
        && before != tariff
    {
        let what = format!("prefix {prefix} has another price further up");
        problems.error(line.at, what, "keep the line that is right");
    }
}

const ROW: &str = "write `prefix,price per minute,connect fee,increment`, such as `4420,0.012,0,60/1`; the last two may be left out";

fn row(line: &str) -> Result<(&str, Tariff), Wrong> {
    let mut columns = line.split([',', ';']).map(|column| column.trim().trim_matches('"'));
    let prefix = columns.next().unwrap_or_default();
    let digits = prefix.strip_prefix('+').unwrap_or(prefix);
    if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::new(format!("`{prefix}` is no prefix of a number"), ROW));
    }
    let per_minute = columns.next().ok_or_else(|| Wrong::new("a prefix without a price", ROW))?;
    let per_minute = money(per_minute)?;
    let connect = columns.next().filter(|fee| !fee.is_empty()).map_or(Ok(Money::default()), money)?;
    let increment = columns.next().filter(|increment| !increment.is_empty()).unwrap_or("60/60");
    let (first, next) = seconds(increment).ok_or_else(|| {
        Wrong::new(format!("`{increment}` is no increment"), "write seconds: `60/1`, `1/1`, `30/6` or `60`")
    })?;
    match columns.next() {
        Some(extra) => Err(Wrong::new(format!("what is `{extra}`?"), ROW)),
        None => Ok((prefix, Tariff { per_minute, connect, first, next })),
    }
}

fn money(text: &str) -> Result<Money, Wrong> {
    text.parse().map_err(|_| {
        Wrong::new(format!("`{text}` is no price"), "write digits and a point, such as `0.0125`; no currency")
    })
}

/// `60/1`: a minute at once, then each second; `60`: each minute.
fn seconds(text: &str) -> Option<(u32, u32)> {
    let (first, next) = text.split_once('/').unwrap_or((text, text));
    let (first, next) = (first.trim().parse().ok()?, next.trim().parse().ok()?);
    (next > 0).then_some((first, next))
}
