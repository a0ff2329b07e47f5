//! `turnpike replay`.

mod capture;
mod changes;
mod records;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crate::base::{NodeKey, UnixTime};
use crate::config::{self, Report, policy};
use crate::policy::Engine;
use crate::policy::deck::Money;
use crate::policy::replay::{Call, replay};
use changes::Changes;

/// Arguments of `turnpike replay`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The calls: call records of a node (cdr.jsonl), or captures of SIP over UDP and TCP (pcap, pcapng); several files are one
    /// stretch of time
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    cdr: Vec<PathBuf>,
    /// The rules: policy files, or folders of them; the config's, if nothing is said
    #[arg(long, value_name = "FILE", num_args = 1..)]
    policy: Vec<PathBuf>,
    /// The config file: who is who, and how numbers are dialled
    #[arg(long, short, value_name = "FILE", default_value = "turnpike.yaml")]
    config: PathBuf,
    /// Calls before this moment are only counted, so that budgets and rates stand as they would: "2026-03-02 00:00", or with a
    /// time zone behind it
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Plays the calls of CDR files and captures to the rules, and prints what would change.
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

/// What is to be played.
#[derive(Default)]
struct Traffic {
    /// In no order.
    calls: Vec<(Told, Call)>,
    /// Calls from a trunk or zone that the config does not have.
    left_out: usize,
    /// What could not be read, and what was taken for granted.
    notes: Vec<String>,
}

/// What the report says of a call besides.
#[derive(Default)]
struct Told {
    call_id: Box<str>,
    from: Box<str>,
    to: Box<str>,
    /// By a policy.
    was_refused: bool,
    /// What it cost.
    spend: Option<Money>,
}

fn changes(args: &Args) -> Result<Changes, Failed> {
    let config = config::load(&args.config, &config::process_environment).map_err(Failed::Report)?;
    let paths = if args.policy.is_empty() { config.policies.clone() } else { files(&args.policy)? };
    let policies = policy::load(&paths, &config.names, Instant::now()).map_err(Failed::Report)?;
    let from = args.from.as_deref().map(moment).transpose()?;
    let key = NodeKey::new([0; 16]);
    let mut engine = Engine::new(policies.settings(&config), &key);
    let edge = config.edge.with_key(key);
    let mut traffic = Traffic::default();
    for path in &args.cdr {
        match capture::open(path)? {
            Some(packets) => capture::read(packets, path, &edge, &mut traffic)?,
            None => records::read(path, &edge, &mut traffic)?,
        }
    }
    let mut changes = Changes::of(traffic.left_out, traffic.notes);
    let (told, calls): (Vec<Told>, Vec<Call>) = traffic.calls.into_iter().unzip();
    let played = replay(&mut engine, &calls, Instant::now());
    for ((told, call), played) in told.iter().zip(&calls).zip(played) {
        match from {
            Some(from) if call.started < from => changes.count_before(),
            _ => changes.count(told, call, &played),
        }
    }
    Ok(changes)
}

fn moment(text: &str) -> Result<UnixTime, Failed> {
    policy::moment(text).map_err(|wrong| Failed::Other(format!("--from: {}: {}", wrong.what, wrong.help)))
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

#[cfg(test)]
mod tests;
