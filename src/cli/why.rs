//! `turnpike why`.

use std::process::ExitCode;

use super::ask::{Asking, segment};
use crate::admin::WhyReport;

/// Arguments of `turnpike why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The call's Call-ID, as in the log and the CDR
    #[arg(value_name = "CALL-ID")]
    call_id: String,
    #[command(flatten)]
    asking: Asking,
}

/// Asks and prints.
pub fn run(args: Args) -> ExitCode {
    args.asking.show::<WhyReport>(&format!("/calls/{}/why", segment(&args.call_id)))
}
