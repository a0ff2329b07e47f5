//! Call records of a node, as they stand in `cdr.jsonl`.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{Failed, Told, Traffic};
use crate::edge::explain::{Recorded, recorded};
use crate::edge::settings::Settings;
use crate::observe::cdr::Record;
use crate::policy::deck::Money;
use crate::policy::replay::Call;

/// Adds the records of a file.
pub fn read(path: &Path, edge: &Settings, traffic: &mut Traffic) -> Result<(), Failed> {
    let in_file = |error: &dyn fmt::Display| Failed::Other(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| in_file(&error))?;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| in_file(&error))?;
        let record: Record = serde_json::from_str(&line)
            .map_err(|error| in_file(&format!("line {number} is no call record: {error}")))?;
        let call = Recorded {
            party: &record.from_party,
            listener: &record.listener,
            source: record.source,
            user: record.user.as_deref(),
            agent: record.agent.as_deref(),
            from: &record.from,
            to: &record.to,
            to_party: &record.to_party,
        };
        let Some(known) = recorded(call, edge) else {
            traffic.left_out += 1;
            continue;
        };
        let (started, ended) = (record.started.0, record.ended.0);
        let answered = record.answered.map(|answered| answered.0);
        let told = Told {
            call_id: record.call_id.into(),
            from: record.from.into(),
            to: record.to.into(),
            was_refused: record.refusal.is_some(),
            spend: record.spend.map(|spend| Money((spend * 1e6).round() as u64)),
        };
        traffic.calls.push((told, Call { known, started, answered, ended, login_failed: false }));
    }
    Ok(())
}
