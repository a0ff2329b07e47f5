//! `turnpike policies`.

use std::process::ExitCode;

use super::ask::Whom;
use crate::admin::PoliciesReport;

/// Arguments of `turnpike policies`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(args: Args) -> ExitCode {
    match args.whom.ask::<PoliciesReport>("/policies") {
        Ok(report) => super::show(&report, args.json),
        Err(code) => code,
    }
}
