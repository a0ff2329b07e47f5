//! `turnpike calls`.

use std::process::ExitCode;

use super::ask::{Whom, segment};
use crate::admin::CallsReport;

/// Arguments of `turnpike calls`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this one
    #[arg(value_name = "CALL-ID")]
    call_id: Option<String>,
    #[command(flatten)]
    whom: Whom,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(args: Args) -> ExitCode {
    let path = match &args.call_id {
        Some(call_id) => format!("/calls/{}", segment(call_id)),
        None => "/calls".to_owned(),
    };
    match args.whom.ask::<CallsReport>(&path) {
        Ok(report) => super::show(&report, args.json),
        Err(code) => code,
    }
}
