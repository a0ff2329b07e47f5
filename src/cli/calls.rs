//! `turnpike calls`.

use std::process::ExitCode;

use super::ask::{Asking, segment};
use crate::admin::CallsReport;

/// Arguments of `turnpike calls`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this one
    #[arg(value_name = "CALL-ID")]
    call_id: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

/// Asks and prints.
pub fn run(args: Args) -> ExitCode {
    let path = match &args.call_id {
        Some(call_id) => format!("/calls/{}", segment(call_id)),
        None => "/calls".to_owned(),
    };
    args.asking.show::<CallsReport>(&path)
}
