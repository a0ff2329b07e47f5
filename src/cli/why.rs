//! `turnpike why`.

use std::process::ExitCode;

use super::ask::{Whom, segment};
use crate::admin::WhyReport;

/// Arguments of `turnpike why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The call's Call-ID, as in the log and the CDR
    #[arg(value_name = "CALL-ID")]
    call_id: String,
    #[command(flatten)]
    whom: Whom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(args: Args) -> ExitCode {
    match args.whom.ask::<WhyReport>(&format!("/calls/{}/why", segment(&args.call_id))) {
        Ok(report) => super::show(&report, args.json),
        Err(code) => code,
    }
}
