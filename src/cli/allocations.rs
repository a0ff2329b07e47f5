//! `turnpike allocations`.

use std::process::ExitCode;

use super::ask::Asking;
use crate::admin::AllocationsReport;

/// Arguments of `turnpike allocations`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    asking: Asking,
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

/// Asks and prints.
pub fn run(Args { asking, user }: Args) -> ExitCode {
    let all = asking.whom.ask::<AllocationsReport>("/turn/allocations");
    asking.print(all.map(|report| match &user {
        Some(user) => report.of_user(user),
        None => report,
    }))
}
