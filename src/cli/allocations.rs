//! `turnpike allocations`.

use std::process::ExitCode;

use super::ask::Whom;
use crate::admin::AllocationsReport;

/// Arguments of `turnpike allocations`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(args: Args) -> ExitCode {
    match args.whom.ask::<AllocationsReport>("/turn/allocations") {
        Ok(report) => {
            let report = match &args.user {
                Some(user) => report.of_user(user),
                None => report,
            };
            super::show(&report, args.json)
        }
        Err(code) => code,
    }
}
