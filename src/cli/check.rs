//! `turnpike check`: reads everything that `run` would read, and says what is wrong and what to type.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use super::check_trunk;
use crate::config::diagnose::Severity;
use crate::config::{self, Compiled, Report, policy};
use crate::policy::Policy;

/// Arguments of `turnpike check`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// The config file; the policies that it names are checked with it
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Other files: policies (in which `--config` says what trunks, zones and listeners there are), or configs
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    trunk: check_trunk::TrunkArgs,
}

/// Prints what it read to standard output and what is wrong to standard error; fails if there is an error.
pub fn run(args: Args) -> ExitCode {
    let mut outcome = Outcome::default();
    let config = args.config.as_deref().and_then(|path| outcome.config(path));
    for path in &args.files {
        if is_policy(path) {
            outcome.policies(std::slice::from_ref(path), config.as_ref());
        } else {
            outcome.config(path);
        }
    }
    let read = outcome.finish();
    config.as_ref().and_then(|config| args.trunk.run(config)).unwrap_or(read)
}

/// A policy file says so itself: it has the key `policy`.
fn is_policy(path: &Path) -> bool {
    let text = config::read_text(path).unwrap_or_default();
    config::parse(path, &text).is_ok_and(|root| root.has_key("policy"))
}

/// What was found so far.
#[derive(Default)]
struct Outcome {
    report: Report,
}

impl Outcome {
    /// A config and its policies.
    fn config(&mut self, path: &Path) -> Option<Compiled> {
        match config::load(path, &config::process_environment) {
            Ok(mut compiled) => {
                println!("{}: {}", path.display(), contents(&compiled));
                self.report.append(std::mem::take(&mut compiled.report));
                self.policies(&compiled.policies, Some(&compiled));
                Some(compiled)
            }
            Err(report) => {
                self.report.append(report);
                None
            }
        }
    }

    fn policies(&mut self, paths: &[PathBuf], config: Option<&Compiled>) {
        let names = config.map(|c| c.names.clone()).unwrap_or_default();
        match policy::load(paths, &names, Instant::now()) {
            Ok(loaded) => {
                for ((path, policy), untested) in paths.iter().zip(&loaded.policies).zip(&loaded.untested) {
                    println!(
                        "{}: policy `{}`, {}, {}",
                        path.display(),
                        policy.name,
                        some(policy.rules.len(), "rule"),
                        coverage(policy, untested)
                    );
                }
                if !paths.is_empty() {
                    println!("{} passed", some(loaded.tests, "test"));
                }
                self.report.append(loaded.report);
            }
            Err(report) => self.report.append(report),
        }
    }

    fn finish(self) -> ExitCode {
        eprint!("{}", self.report);
        let count = |severity| self.report.problems().filter(|p| p.severity == severity).count();
        let errors = count(Severity::Error);
        let not_yet = count(Severity::NotYet);
        let warnings = count(Severity::Warning);
        if errors > 0 {
            eprintln!("{}", some(errors, "error"));
            return ExitCode::FAILURE;
        }
        if not_yet > 0 {
            println!("correct, but `turnpike run` refuses {}: not supported yet", some(not_yet, "thing"));
        } else if warnings > 0 {
            println!("correct, with {}", some(warnings, "warning"));
        } else {
            println!("correct");
        }
        ExitCode::SUCCESS
    }
}

fn contents(compiled: &Compiled) -> impl Display {
    let edge = &compiled.edge;
    let turn = compiled.net.turn.as_ref().map_or(0, |turn| turn.listeners.len());
    let parts = [
        some(edge.zones.len(), "zone"),
        some(edge.listeners.len(), "listener"),
        some(turn, "TURN listener"),
        some(edge.trunks.len(), "trunk"),
        some(edge.routes.len(), "route"),
        some(compiled.policies.len(), "policy file"),
    ];
    parts.join(", ")
}

/// Which rules the tests of a policy reach.
fn coverage(policy: &Policy, untested: &[Arc<str>]) -> String {
    let name = |rule: &Arc<str>| {
        let of_policy = rule.strip_prefix(&*policy.name).and_then(|rest| rest.strip_prefix(" / "));
        format!("`{}`", of_policy.unwrap_or(rule))
    };
    match untested {
        [] => "all tested".to_owned(),
        some => format!("no test reaches {}", some.iter().map(name).collect::<Vec<_>>().join(", ")),
    }
}

/// "1 rule", "2 rules".
fn some(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
