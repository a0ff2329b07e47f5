//! `turnpike replay`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::base::NodeKey;
use crate::config::{self, Report, policy};
use crate::edge::explain::{Recorded, recorded};
use crate::edge::settings::Settings;
use crate::observe::cdr::Record;
use crate::policy::Engine;
use crate::policy::deck::Money;
use crate::policy::replay::{Call, Fate, replay};

/// Arguments of `turnpike replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The calls: call records of a node (cdr.jsonl). Captures (pcap) are not read yet
    #[arg(long, value_name = "FILE")]
    cdr: PathBuf,
    /// The rules: policy files, or folders of them; the config's, if nothing is said
    #[arg(long, value_name = "FILE", num_args = 1..)]
    policy: Vec<PathBuf>,
    /// The config file: who is who, and how numbers are dialled
    #[arg(long, short, value_name = "FILE", default_value = "turnpike.yaml")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An answered call that lasted so long was a good one, as far as a record can say.
const GOOD: Duration = Duration::from_secs(30);
/// So many of the good calls that are hit are listed.
const LISTED: usize = 20;

/// Plays the calls of a CDR file to the rules, and prints what would change.
pub fn run(args: Args) -> ExitCode {
    match changes(&args) {
        Ok(changes) => super::show(&changes, args.json),
        Err(Failed::Report(report)) => {
            eprint!("{report}");
            ExitCode::FAILURE
        }
        Err(Failed::Other(why)) => super::fail(why),
    }
}

enum Failed {
    Report(Report),
    Other(String),
}

fn changes(args: &Args) -> Result<Changes, Failed> {
    let config = config::load(&args.config, &config::process_environment).map_err(Failed::Report)?;
    let paths = if args.policy.is_empty() { config.policies.clone() } else { files(&args.policy)? };
    let policies = policy::load(&paths, &config.names, Instant::now()).map_err(Failed::Report)?;
    let key = NodeKey::new([0; 16]);
    let mut engine = Engine::new(policies.settings(&config), &key);
    let edge = config.edge.with_key(key);
    let (records, mut changes) = read(&args.cdr, &edge)?;
    let calls: Vec<Call> = records.iter().map(|(_, call)| call.clone()).collect();
    let fates = replay(&mut engine, &calls, Instant::now());
    for ((record, call), fate) in records.iter().zip(fates) {
        changes.count(record, call, &fate);
    }
    Ok(changes)
}

/// Folders stand for the policies in them.
fn files(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    let mut files = Vec::new();
    for path in named {
        let pattern = if path.is_dir() { path.join("*.yaml") } else { path.clone() };
        let found = config::glob(&pattern)
            .map_err(|error| Failed::Other(format!("cannot read {}: {error}", path.display())))?;
        if found.is_empty() {
            return Err(Failed::Other(format!("there is no policy at {}", path.display())));
        }
        files.extend(found);
    }
    Ok(files)
}

/// The records that can be played, and what was left out.
fn read(path: &Path, edge: &Settings) -> Result<(Vec<(Record, Call)>, Changes), Failed> {
    let in_file = |error: &dyn fmt::Display| Failed::Other(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| in_file(&error))?;
    let (mut records, mut changes) = (Vec::new(), Changes::default());
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| in_file(&error))?;
        let record: Record = serde_json::from_str(&line)
            .map_err(|error| in_file(&format!("line {number} is no call record: {error}")))?;
        let told = Recorded {
            party: &record.from_party,
            listener: &record.listener,
            source: record.source,
            user: record.user.as_deref(),
            from: &record.from,
            to: &record.to,
        };
        let Some(known) = recorded(told, edge) else {
            changes.left_out += 1;
            continue;
        };
        let (started, ended) = (record.started.0, record.ended.0);
        let answered = record.answered.map(|answered| answered.0);
        records.push((record, Call { known, started, answered, ended }));
    }
    Ok((records, changes))
}

/// What would change.
#[derive(Debug, Default, Serialize)]
struct Changes {
    calls: usize,
    /// From a trunk or zone that the config does not have.
    left_out: usize,
    /// Refused then and now.
    refused_as_before: usize,
    /// Refused then, not any more.
    pass_now: usize,
    /// By rule.
    refused: BTreeMap<String, ByRule>,
    hung_up: BTreeMap<String, ByRule>,
    /// Millionths: of all answered calls, and of what would not have been talked.
    cost: u64,
    saved: u64,
    good_calls_hit: usize,
    /// The first of them.
    good_calls: Vec<Hit>,
}

#[derive(Debug, Default, Serialize)]
struct ByRule {
    calls: usize,
    saved: u64,
    good_calls: usize,
}

#[derive(Debug, Serialize)]
struct Hit {
    call_id: String,
    from: String,
    to: String,
    talked_s: u64,
    rule: String,
    /// Seconds; none: it would not have begun.
    hung_up_after_s: Option<u64>,
}

impl Changes {
    fn count(&mut self, record: &Record, call: &Call, fate: &Fate) {
        self.calls += 1;
        let recorded = record.spend.map_or(Money(0), |spend| Money((spend * 1e6).round() as u64));
        let (rules, rule, saved, after) = match fate {
            Fate::Passes(cost) => {
                self.pass_now += usize::from(record.refusal.is_some());
                self.cost += cost.unwrap_or(recorded).0;
                return;
            }
            Fate::Refused(_) if record.refusal.is_some() => {
                self.refused_as_before += 1;
                return;
            }
            Fate::Refused(rule) => (&mut self.refused, rule, recorded.0, None),
            Fate::HungUp { rule, after, cost } => {
                let saved = recorded.0.saturating_sub(cost.unwrap_or(recorded).0);
                (&mut self.hung_up, rule, saved, Some(after.as_secs()))
            }
        };
        let by_rule = rules.entry(rule.to_string()).or_default();
        by_rule.calls += 1;
        by_rule.saved += saved;
        self.cost += recorded.0;
        self.saved += saved;
        if call.talked() < GOOD {
            return;
        }
        by_rule.good_calls += 1;
        self.good_calls_hit += 1;
        if self.good_calls.len() < LISTED {
            self.good_calls.push(Hit {
                call_id: record.call_id.clone(),
                from: record.from.clone(),
                to: record.to.clone(),
                talked_s: call.talked().as_secs(),
                rule: rule.to_string(),
                hung_up_after_s: after,
            });
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} calls, as if nothing had been counted before the first", self.calls)?;
        if self.left_out > 0 {
            writeln!(
                f,
                "{} more were left out: the config has not the trunk or zone that they came from",
                self.left_out
            )?;
        }
        for (what, rules) in [("refused", &self.refused), ("hung up", &self.hung_up)] {
            let total: usize = rules.values().map(|by_rule| by_rule.calls).sum();
            writeln!(f, "would be {what}: {total}")?;
            for (rule, ByRule { calls, saved, good_calls }) in rules {
                writeln!(f, "  {calls:>6}  {rule}: saves {}; good calls hit: {good_calls}", Money(*saved))?;
            }
        }
        writeln!(
            f,
            "refused then and now: {}; refused then, and not any more: {}",
            self.refused_as_before, self.pass_now
        )?;
        writeln!(f, "money saved: {} of {}", Money(self.saved), Money(self.cost))?;
        let good = GOOD.as_secs();
        writeln!(f, "good calls hit (answered, and {good} s or longer): {}", self.good_calls_hit)?;
        for Hit { call_id, from, to, talked_s, rule, hung_up_after_s } in &self.good_calls {
            let fate = match hung_up_after_s {
                Some(after) => format!("hung up after {after} s"),
                None => "refused".to_owned(),
            };
            writeln!(
                f,
                "  {} to {}, {talked_s} s: {fate} by {rule} ({})",
                from.escape_debug(),
                to.escape_debug(),
                call_id.escape_debug()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
